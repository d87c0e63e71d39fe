"""What config.json may say: both ways, and what is refused."""

import dataclasses
import json
import math
import pathlib
import sys

import families
import numpy as np
import pytest
from model_files import BYTES
from safetensors.numpy import load_file, save_file

import policy
from policy import rotary
from policy.families import FAMILIES, read_config, write_config
from policy.tokenizer import PretrainedTokenizer
from policy.transformer import ACTIVATIONS

HERE = pathlib.Path("config.json")
WHOLE = [name for name in families.CASES if name not in ("phi3", "gpt2")]  # They rotate whole heads,
ONE_BASE = [name for name in families.CASES if name not in ("gemma3", "gpt2")]  # in all layers by one base.


def read(name, **changes):
    content = families.described(name) | changes
    return read_config(HERE, {key: value for key, value in content.items() if value is not ...})


@pytest.mark.parametrize("name", families.CASES)
def test_a_config_goes_out_as_it_came_in(name):
    config = families.config(name)
    assert read_config(HERE, json.loads(json.dumps(write_config(config)))) == config


@pytest.mark.parametrize("name", families.CASES)
def test_weights_go_out_as_they_came_in(name, tmp_path):
    """From random ones, through a directory, and through a second one that is the same byte for byte."""
    model = families.model(name)
    first = policy.export(families.params(name), model, tmp_path / "a", dtype="float32")
    back = policy.pretrained(first)
    assert back.config == model.config
    second = policy.export(back.load(0), back, tmp_path / "b", dtype="float32")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_every_family_has_a_case():
    assert {families.config(name).architecture for name in families.CASES} == set(FAMILIES)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("mistral", {"sliding_window": None}, {"window": 0, "local_layers": ()}),
        ("mistral", {"sliding_window": ...}, {"window": 4096}),
        ("qwen2", {"use_sliding_window": False}, {"window": 0, "local_layers": ()}),
        ("qwen2", {"num_hidden_layers": 3}, {"local_layers": (1, 2)}),
        ("qwen2", {"layer_types": ["sliding_attention", "full_attention"]}, {"local_layers": (0,)}),
        ("gemma2", {"layer_types": ..., "num_hidden_layers": 5}, {"local_layers": (0, 2, 4)}),
        ("gemma2", {"attn_logit_softcapping": None}, {"attention_cap": 0.0}),
        ("gemma2", {"attn_logit_softcapping": ...}, {"attention_cap": 50.0}),
        ("gemma2", {"query_pre_attn_scalar": 0.25}, {"attention_scale": 2.0}),
        ("gemma2", {"query_pre_attn_scalar": 16}, {"attention_scale": 0.0}),  # That of head_dim.
        ("gemma3", {"layer_types": ..., "num_hidden_layers": 7}, {"local_layers": (0, 1, 2, 3, 4, 6)}),
        ("gemma3", {"layer_types": ..., "sliding_window_pattern": 2}, {"local_layers": (0,)}),
        ("gemma3", {"sliding_window_pattern": None}, {"local_layers": (0,)}),  # Of layer_types.
        ("gemma3", {"rope_local_base_freq": ...}, {"local_rope_theta": 10_000.0}),
        ("smollm3", {"no_rope_layers": ..., "num_hidden_layers": 9}, {"unrotated_layers": (3, 7)}),
        ("smollm3", {"no_rope_layers": ..., "no_rope_layer_interval": 2}, {"unrotated_layers": (1,)}),
        ("gpt2", {"n_inner": 100}, {"mlp_width": 100}),
        ("gpt2", {"head_dim": 8, "num_key_value_heads": 4}, {"head_dim": 8, "num_kv_heads": 4}),
        ("llama", {"partial_rotary_factor": 1.0, "rope_local_base_freq": None}, {"rope_fraction": 1.0}),
        ("llama", {"partial_rotary_factor": None, "is_causal": True}, {"rope_fraction": 1.0}),
        ("phi3", {"partial_rotary_factor": 0.25}, {"rope_fraction": 0.25}),
        ("phi3", {"rope_parameters": {"partial_rotary_factor": 0.25}}, {"rope_fraction": 0.25}),
        ("gemma3", {"rope_scaling": ..., "rope_parameters": {"full_attention": {}, "sliding_attention":
                    {"rope_type": "default", "rope_theta": 50.0}}}, {"local_rope_theta": 50.0}),
        ("mixtral", {"norm_topk_prob": True}, {"renormalized": True}),
        ("gpt2", {}, {"mlp_width": 128, "num_kv_heads": 4, "tied_embedding": True}),
        ("qwen3-moe", {"mlp_only_layers": ..., "decoder_sparse_step": 2}, {"dense_layers": (0,)}),
        ("qwen3-moe", {"norm_topk_prob": True}, {"renormalized": True}),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, {"rope_scaling": rotary.Dynamic(2.0, 128)}),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, {"context": 256}),
    ],
)  # fmt: skip
def test_what_config_json_means(name, changes, expected):
    config = read(name, **changes)
    assert {key: getattr(config, key) for key in expected} == expected
    assert read_config(HERE, write_config(config)) == config


def test_activations_by_hand():
    x = np.array([-2.0, -0.5, 0.0, 1.5])
    normal = np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in x])
    np.testing.assert_allclose(ACTIVATIONS["gelu"](x), x * normal, atol=1e-6)
    near = 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(ACTIVATIONS["gelu_tanh"](x), x * near, atol=1e-6)
    assert np.abs(x * (near - normal)).max() > 1e-4  # They are not the same.
    np.testing.assert_allclose(ACTIVATIONS["silu"](x), x / (1 + np.exp(-x)), atol=1e-6)
    assert [read("llama", hidden_act=name).activation for name in ("gelu", "gelu_new", "swish")] == [
        "gelu", "gelu_tanh", "silu",
    ]  # fmt: skip


def test_published_configs():
    """Of the real models, as far as they say something special."""
    grok = read_config(HERE, {
        "architectures": ["Grok1ModelForCausalLM"], "vocab_size": 131072, "hidden_size": 6144,
        "intermediate_size": 32768, "num_hidden_layers": 64, "num_attention_heads": 48, "num_key_value_heads": 8,
    })  # fmt: skip
    assert (grok.num_experts, grok.experts_per_token, grok.head_dim, grok.scale) == (8, 2, 128, 0.08838834764831845)
    assert (grok.attention_cap, grok.embedding_multiplier, grok.activation) == (30.0, 78.38367176906169, "gelu_tanh")
    assert grok.post_norms
    assert grok.tied_embedding
    gpt2 = read_config(HERE, {
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "n_ctx": 1024,
        "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "n_embd": 768,
        "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1, "summary_type": "cls_index",
        "summary_proj_to_labels": True, "summary_use_proj": True, "vocab_size": 50257,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    })  # fmt: skip
    assert (gpt2.width, gpt2.mlp_width, gpt2.context) == (768, 3072, 1024)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "not supported; .*nearest is Llama"),
        ("llama", {"architectures": ["Gemma3ForConditionalGeneration"]}, "not supported"),
        ("llama", {"architectures": "LlamaForCausalLM"}, "not supported"),
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types has 1 entries for 2 layers"),
        ("gemma2", {"layer_types": ["full_attention", "chunked_attention"]}, "chunked_attention"),
        ("gemma2", {"hidden_activation": "gelu_fast"}, "gelu_fast"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gemma3", {"rope_scaling": {"rope_type": "yarn2"}}, "yarn2"),
        ("phi3", {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}}, "longrope"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights = false"),
        ("mixtral", {"router_jitter_noise": 0.1}, "router_jitter_noise"),
        ("mixtral", {"num_experts_per_tok": 9}, "1 to 4 experts_per_token"),
        ("qwen3-moe", {"mlp_only_layers": [0, 1]}, "in one layer at least"),
        ("qwen3-moe", {"mlp_only_layers": "all"}, "mlp_only_layers"),
        ("qwen3-moe", {"shared_expert_intermediate_size": 64}, "shared_expert"),
        ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers has 1 entries for 2 layers"),
        ("grok-1", {"max_attn_value": -1.0}, "attention_cap"),
        # What the architecture ignores in `transformers`, although others do not.
        *((name, {"partial_rotary_factor": 0.5}, "option partial_rotary_factor = 0.5") for name in WHOLE),
        *((name, {"rope_local_base_freq": 100.0}, "option rope_local_base_freq = 100.0") for name in ONE_BASE),
        *((name, {"rope_parameters": {"full_attention": {}}}, "is one object for all layers") for name in ONE_BASE),
        ("qwen3", {"rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("gemma3", {"rope_parameters": {"rope_theta": 100.0}}, "has one object for each kind of layer"),
        ("gemma3", {"rope_parameters": {"full_attention": {}, "sliding_attention": {"factor": 2.0}}}, "factor = 2.0"),
        ("gemma3", {"attn_logit_softcapping": 5.0}, "option attn_logit_softcapping = 5.0"),
        ("phi3", {"rope_scaling": families.YARN}, "yarn.*is not implemented; .*this architecture: .*default"),
        ("phi3", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "linear"),
        ("gpt2", {"num_key_value_heads": 2}, "4 heads share a width of 32 here.*num_key_value_heads = 2"),
        ("gpt2", {"head_dim": 16}, "head_dim = 16.*delete them"),
        ("gpt2", {"n_embd": 34}, "head_dim = 8"),
        ("mixtral", {"norm_topk_prob": False}, "norm_topk_prob is false, but .* computes as with true"),
        ("grok-1", {"norm_topk_prob": True}, "norm_topk_prob is true, but .* computes as with false"),
        ("mixtral", {"decoder_sparse_step": 2}, "option decoder_sparse_step = 2"),
        # What is on unless it is switched off.
        ("qwen2", {"is_causal": False}, "option is_causal = false"),
        ("gpt2", {"is_causal": None}, "option is_causal = null"),
        ("llama", {"hidden_act": None}, "option hidden_act = null"),
    ],
)  # fmt: skip
def test_configs_that_are_refused(name, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(name, **changes)
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {"rope_fraction": 0.5}) for name in WHOLE),
        *((name, {"local_rope_theta": 100.0}) for name in ONE_BASE),
        ("gemma3", {"attention_cap": 5.0}),
        ("phi3", {"rope_scaling": rotary.YaRN(4.0, 32)}),
        ("phi3", {"rope_scaling": rotary.Linear(2.0)}),
        ("gpt2", {"num_kv_heads": 2}),
        ("gpt2", {"head_dim": 16}),
        ("mixtral", {"renormalized": False}),
    ],
)  # fmt: skip
def test_what_transformers_would_ignore_is_not_exported(name, changes):
    config = dataclasses.replace(families.config(name), **changes)
    with pytest.raises(ValueError, match=f"{config.architecture} cannot express {next(iter(changes))} = "):
        write_config(config)


@pytest.mark.parametrize("name", [name for name in families.PORTED if name != "gpt2"])
def test_transformers_rotates_in_part_where_we_do(name):
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    torch = pytest.importorskip("torch", reason="needs torch (the extra `parity`)")
    kind, content = families.CASES[name]
    theirs = {"Gemma3": transformers.Gemma3TextConfig}.get(kind) or getattr(transformers, kind + "Config")
    content = {key: value for key, value in content.items() if key != "rope_scaling"}
    module = sys.modules[getattr(transformers, kind + "ForCausalLM").__module__]
    with torch.no_grad():
        made = getattr(module, kind + "RotaryEmbedding")(theirs(**content | {"partial_rotary_factor": 0.5}))
    rotated = {2 * len(buffer) for buffer in made.buffers()}
    assert rotated == {families.config(name).head_dim // (1 if name in WHOLE else 2)}


def test_what_an_architecture_cannot_say_is_not_exported(tmp_path):
    config = dataclasses.replace(families.config("llama"), qk_norm=True)
    model = policy.from_scratch(config, policy.ByteTokenizer())
    with pytest.raises(ValueError, match=r"LlamaForCausalLM cannot express qk_norm = True.*Qwen3ForCausalLM"):
        policy.export(model.load(0), model, tmp_path / "out")
    with pytest.raises(ValueError, match="'NoSuch' is not supported"):
        write_config(dataclasses.replace(config, architecture="NoSuch"))
    assert not (tmp_path / "out").exists()


def test_gpt2_without_the_prefix_of_the_head(tmp_path):
    """As the hub has it, with the buffers of old."""
    path = policy.export(families.params("gpt2"), families.model("gpt2"), tmp_path / "out", dtype="float32")
    stored = load_file(path / "model.safetensors")
    named = {name.removeprefix("transformer."): x for name, x in stored.items()}
    save_file(named | {"h.0.attn.bias": np.ones((1, 1, 8, 8), np.float32)}, path / "model.safetensors")
    back = policy.pretrained(path).load(0)
    for module, leaves in families.params("gpt2").items():
        for name, x in leaves.items():
            np.testing.assert_array_equal(x, back[module][name])


def test_an_expert_that_is_missing(tmp_path):
    path = policy.export(families.params("mixtral"), families.model("mixtral"), tmp_path / "out", dtype="float32")
    stored = load_file(path / "model.safetensors")
    name = "model.layers.0.block_sparse_moe.experts.3.w2.weight"
    save_file({key: x for key, x in stored.items() if key != name}, path / "model.safetensors")
    with pytest.raises(ValueError, match=r"experts\.3\.w2\.weight missing"):
        policy.pretrained(path)


# Chats.

_STARTING = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<bos>": {"id": "<bos>", "ids": [258], "tokens": ["<bos>"]}},
}
TEMPLATES = {
    "llama": "{{ bos_token }}{% for m in messages %}<|start|>{{ m['role'] }}<|stop|>\n\n{{ m['content'] | trim }}"
    "<|eot|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|stop|>\n\n{% endif %}",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "mistral": "{{- bos_token }}{%- for m in messages %}{%- if m['role'] == 'user' %}{{- ' [INST] ' + m['content'] + "
    "' [/INST]' }}{%- else %}{{- ' ' + m['content'] + eos_token }}{%- endif %}{%- endfor %}",
    "chatml": "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}",
}


@pytest.mark.parametrize("family", TEMPLATES)
def test_chats_have_the_ids_of_transformers(family, tmp_path):
    """With a tokenizer that puts a beginning token before every text: the template's own must stay the only one."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    definition = json.loads(BYTES.definition)
    definition["added_tokens"].append(definition["added_tokens"][0] | {"id": 258, "content": "<bos>"})
    definition["post_processor"] = _STARTING
    special = {"bos_token": "<bos>", "eos_token": BYTES.special["eos_token"]}
    ours = PretrainedTokenizer(json.dumps(definition), ends=[1], template=TEMPLATES[family], special=special)
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), chat_template=TEMPLATES[family], **special
    )
    turns = [("user", "Hi  "), ("assistant", "Hé!"), ("user", "2 + 2 = ?\n")]
    for count in (1, 3):
        chat = [{"role": role, "content": text} for role, text in turns[:count]]
        expected = theirs.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
        assert ours.chat(chat) == expected
        assert expected.count(258) == (0 if family == "chatml" else 1)
    assert ours.encode("Hi")[0] == 258  # A plain text does get it.
