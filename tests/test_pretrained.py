"""Models from files: directories and GGUF files that the tests write, and what must be refused."""

import dataclasses
import json
import pathlib
import pickle
import re

import families
import ml_dtypes
import numpy as np
import numpy_transformer
import pytest
from gguf_files import F16, F32
from model_files import (
    CONFIG,
    TIED,
    assert_equal,
    described,
    gguf_metadata,
    gguf_tensors,
    tensors,
    write_directory,
    write_gguf,
)
from real_model import smollm2_path
from safetensors.numpy import save_file

import policy
from policy import rotary
from policy.families import read_config
from policy.tokenizer import added_token
from policy.transformer import parameter_shapes
from rl.run import is_run

# Hugging Face directories.


def test_a_directory_comes_in(tmp_path):
    weights = tensors()
    model = policy.pretrained(write_directory(tmp_path / "tiny", weights=weights))
    assert (model.name, model.config, model.tokenizer.ends) == ("tiny", CONFIG, (1,))
    params = model.load(0)
    shapes = {module: {name: x.shape for name, x in leaves.items()} for module, leaves in params.items()}
    assert shapes == parameter_shapes(CONFIG)
    layer = "model.layers.1.self_attn."
    qkv = np.concatenate([weights[f"{layer}{part}_proj.weight"] for part in "qkv"])
    np.testing.assert_array_equal(params["layer_1/qkv"]["w"], qkv)
    np.testing.assert_array_equal(params["layer_0/down"]["w"], weights["model.layers.0.mlp.down_proj.weight"])
    np.testing.assert_array_equal(params["head"]["w"], weights["lm_head.weight"])
    assert {x.dtype for leaves in params.values() for x in leaves.values()} == {np.dtype("float32")}


def test_a_model_crosses_processes_without_its_weights(tmp_path):
    model = policy.pretrained(write_directory(tmp_path / "tiny"))
    sent = pickle.dumps(model)
    assert len(sent) < 50_000
    copy = pickle.loads(sent)
    assert copy.config == model.config
    assert_equal(copy.load(0), model.load(0))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_weights(tmp_path, dtype):
    weights = {name: x.astype(dtype) for name, x in tensors().items()}
    params = policy.pretrained(write_directory(tmp_path / "half", weights=weights)).load(0)
    name = "model.layers.0.mlp.up_proj.weight"
    np.testing.assert_array_equal(params["layer_0/up"]["w"], weights[name].astype(np.float32))
    assert params["layer_0/up"]["w"].dtype == np.float32


def test_shards(tmp_path):
    weights = tensors()
    whole = policy.pretrained(write_directory(tmp_path / "whole", weights=weights)).load(0)
    path = write_directory(tmp_path / "shards", weights=weights)
    (path / "model.safetensors").unlink()
    names = {name: f"model-{1 + i % 2:05}-of-00002.safetensors" for i, name in enumerate(weights)}
    for file in set(names.values()):
        save_file({name: weights[name] for name in names if names[name] == file}, path / file)
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert_equal(policy.pretrained(path).load(0), whole)
    for wrong in ("../whole/model.safetensors", "model-00003-of-00003.safetensors", 3):
        index.write_text(json.dumps({"weight_map": names | {"lm_head.weight": wrong}}))
        with pytest.raises(ValueError, match="names the file"):
            policy.pretrained(path)


def test_tied_embedding_stored_twice_and_old_buffers(tmp_path):
    weights = tensors(TIED)
    extra = {"lm_head.weight": weights["model.embed_tokens.weight"]}
    extra["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(3, np.float32)
    model = policy.pretrained(write_directory(tmp_path / "tied", described(TIED), weights | extra))
    assert model.config.tied_embedding
    assert "head" not in model.load(0)


def test_defaults_and_spellings_of_the_config(tmp_path):
    # transformers 5 gathers rotary options; a missing key means what LlamaConfig means by it.
    config = described(
        rope_theta=..., rope_scaling=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        torch_dtype=..., dtype="float32", rms_norm_eps=..., max_position_embeddings=...,
    )  # fmt: skip
    read = policy.pretrained(write_directory(tmp_path / "new", config)).config
    assert read == dataclasses.replace(CONFIG, norm_epsilon=1e-6, context=2048)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["Qwen2MoeForCausalLM"]},
            r"Qwen2MoeForCausalLM.* is not supported.*LlamaForCausalLM.*nearest is Qwen",
        ),
        ({"architectures": ...}, "architecture None is not supported"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor is None"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 8.0}}, "option rope_scaling = .*longrope.*llama3"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0, "alpha": 2}}, "option alpha = 2"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0.5}}, "needs a factor of 1 to"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": "2"}}, "factor is '2', expected a number"),
        ({"partial_rotary_factor": 0.5}, "option partial_rotary_factor = 0.5"),
        ({"attention_bias": True}, "layers.0.self_attn.k_proj.bias"),
        ({"mlp_bias": True}, "layers.0.mlp.down_proj.bias.* missing"),
        ({"mlp_bias": "yes"}, "mlp_bias is 'yes', expected true or false"),
        ({"sliding_window": 4096}, "option sliding_window = 4096"),
        ({"num_local_experts": 8}, "option num_local_experts = 8"),
        ({"hidden_act": "relu2"}, 'option hidden_act = "relu2".*silu'),
        ({"quantization_config": {"bits": 4}}, "option quantization_config"),
        ({"a_new_idea": 3}, "option a_new_idea = 3"),
        ({"hidden_size": "8"}, "hidden_size is '8', expected an integer"),
        ({"num_hidden_layers": ...}, "num_hidden_layers is None"),
        ({"num_hidden_layers": 10**9}, "1000000000 layers, the weights are 21 tensors"),
        ({"num_hidden_layers": 0}, "num_layers must be positive, got 0"),
        ({"num_attention_heads": 0}, "num_heads must be positive"),
        ({"num_key_value_heads": 3}, "multiple of num_kv_heads"),
        ({"vocab_size": 100}, r"embed_tokens\.weight is \[260, 8\], expected \[100, 8\] of another shape"),
        ({"eos_token_id": ...}, "no end token"),
        ({"eos_token_id": 999}, "end token 999 is outside"),
    ],
)  # fmt: skip
def test_configs_that_are_refused(tmp_path, changes, message):
    path = write_directory(tmp_path / "tiny", described(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        policy.pretrained(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("gemma2", {"query_pre_attn_scalar": -1}, "query_pre_attn_scalar is -1.0, expected a positive number"),
        ("gemma3", {"sliding_window_pattern": 0}, "sliding_window_pattern is 0, expected a positive number"),
        ("gemma3", {"sliding_window_pattern": "6"}, "sliding_window_pattern is '6', expected an integer"),
        ("gemma3", {"rope_parameters": {"full_attention": 3}}, "full_attention of rope_parameters is 3, expected an o"),
        (
            "llama",
            {"rope_scaling": {"rope_type": "yarn", "original_max_position_embeddings": 0}},
            "contexts of at least 1",
        ),
        ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2, "beta_fast": 0}}, "positive betas"),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 1e308}}, "a factor of 1 to 1,000,000"),
        (
            "llama",
            {"rope_scaling": {"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 4}},
            "low_freq_factor < high_freq_factor; got .*llama3",
        ),
        ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar is 0.0, expected a positive"),
        ("gemma2", {"head_dim": 0}, "head_dim must be positive"),
        ("qwen2", {"max_window_layers": "1"}, "max_window_layers is '1', expected an integer"),
        ("llama", {"rope_theta": float("inf")}, "rope_theta is inf, expected a finite number"),
        ("llama", {"hidden_size": 10**400}, "hidden_size is 100.*, expected a finite number"),
        ("phi3", {"partial_rotary_factor": 2.0}, "rope_fraction must be at most 1"),
    ],
)
def test_numbers_that_are_refused(case, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_config(pathlib.Path("a/config.json"), families.described(case) | changes)
    assert "a/config.json: " in str(caught.value)


def test_a_null_is_a_key_left_out():
    full = families.described("qwen2") | {"num_hidden_layers": 30, "max_window_layers": None}
    assert read_config(pathlib.Path("config.json"), full).local_layers == (28, 29)


def test_tensors_that_do_not_fit_are_one_error_with_both_sides(tmp_path):
    weights = tensors()
    del weights["model.norm.weight"]
    weights["model.layers.2.mlp.up_proj.weight"] = np.ones((12, 8), np.float32)
    weights["model.layers.0.mlp.up_proj.weight"] = np.ones((8, 12), np.float32)
    with pytest.raises(ValueError, match="do not fit") as caught:
        policy.pretrained(write_directory(tmp_path / "tiny", weights=weights))
    assert "model.norm.weight missing; model.layers.2.mlp.up_proj.weight not expected; " in str(caught.value)
    assert "model.layers.0.mlp.up_proj.weight is [8, 12], expected [12, 8] of another shape" in str(caught.value)


def _tokenizer_config(**content):
    return lambda path: (path / "tokenizer_config.json").write_text(json.dumps(content))


def _ends(ends):
    return lambda path: (path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))


def _truncate(path):
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def _nan(path):
    weights = tensors()
    weights["model.norm.weight"][3] = np.nan
    save_file(weights, path / "model.safetensors")


def _integers(path):
    save_file(tensors() | {"model.norm.weight": np.ones(8, np.int8)}, path / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "config.json").unlink(), r"config\.json is missing"),
        (lambda path: (path / "config.json").write_text("{"), "not readable JSON"),
        (lambda path: (path / "config.json").write_bytes(b"\xff"), "not readable JSON"),
        (lambda path: (path / "config.json").write_text("[]"), "holds a list"),
        (lambda path: (path / "tokenizer.json").unlink(), r"has no tokenizer\.json"),
        (lambda path: (path / "tokenizer.json").write_text("{}"), "Model missing"),
        (lambda path: (path / "model.safetensors").unlink(), r"has no model\.safetensors"),
        (lambda path: (path / "model.safetensors").write_bytes(b"x"), "not a readable safetensors file"),
        (lambda path: (path / "model.safetensors.index.json").write_text("{}"), "has no weight_map"),
        (lambda path: (path / "tokenizer.json").write_bytes(b"\xff"), r"tokenizer\.json: not readable as UTF-8"),
        (_tokenizer_config(eos_token=["a"]), r"tokenizer_config\.json: eos_token is \['a'\], expected a text"),
        (_tokenizer_config(pad_token={"id": 1}), "pad_token is None, expected a text"),
        (_tokenizer_config(chat_template={"a": 1}), "chat_template is {'a': 1}, expected a text"),
        (_tokenizer_config(chat_template=[{"name": "default", "template": 5}]), "chat_template is 5, expected a text"),
        (_ends(["1"]), r"end tokens are \['1'\], expected ids"),
        (_ends(1.5), r"end tokens are \[1\.5\], expected ids"),
        (_truncate, "not a readable safetensors file"),
        (_integers, "'model.norm.weight' is stored as 'I8'; supported: F32, F16, BF16"),
        (_nan, "'model.norm.weight' holds NaN"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_damaged_directories(tmp_path, damage, message):
    path = write_directory(tmp_path / "tiny")
    damage(path)
    with pytest.raises(ValueError, match=message) as caught:
        policy.pretrained(path).load(0)
    assert str(path) in str(caught.value)


def test_end_tokens_and_templates_of_a_directory(tmp_path):
    path = write_directory(tmp_path / "tiny")
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 7]}))
    content = {
        "eos_token": {"content": "<|end|>", "special": True}, "pad_token": "<|pad|>", "model_max_length": 10,
        "chat_template": [{"name": "tools", "template": "no"}, {"name": "default", "template": "{{ eos_token }}a"}],
    }  # fmt: skip
    (path / "tokenizer_config.json").write_text(json.dumps(content))
    tokenizer = policy.pretrained(path).tokenizer
    assert (tokenizer.ends, tokenizer.pad) == ((1, 5, 7), 0)
    assert tokenizer.chat([]) == [1, 99]
    (path / "chat_template.jinja").write_text("b")
    assert policy.pretrained(path).tokenizer.chat([]) == [100]


def test_the_tokenizer_of_another_model(tmp_path):
    small = dataclasses.replace(CONFIG, vocab_size=100)
    path = write_directory(tmp_path / "tiny", described(small), tensors(small))
    with pytest.raises(ValueError, match="of tiny has 258 tokens but the model's vocabulary has 100: take the tok"):
        policy.pretrained(path)


def test_a_special_token_beyond_the_vocabulary(tmp_path):
    """The <image_soft_token> of Gemma 3's text models: it goes, unless something asks for it."""
    exact = dataclasses.replace(CONFIG, vocab_size=258)
    path = write_directory(tmp_path / "tiny", described(exact), tensors(exact))
    plain = json.loads((path / "tokenizer.json").read_text())
    image = added_token("<image>", 258, special=True)
    before = {"SpecialToken": {"id": "<image>", "type_id": 0}}
    starting = {
        "type": "TemplateProcessing",
        "single": [before, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [before, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<image>": {"id": "<image>", "ids": [258], "tokens": ["<image>"]}},
    }

    def opened(token=image, post_processor=None, **content):
        changed = plain | {"added_tokens": [*plain["added_tokens"], token], "post_processor": post_processor}
        (path / "tokenizer.json").write_text(json.dumps(changed))
        (path / "tokenizer_config.json").write_text(json.dumps({"image_token": "<image>", **content}))
        return policy.pretrained(path)

    found = opened(chat_template="{{ messages[0]['content'] }}").tokenizer
    assert (found.vocab_size, found.ends) == (258, (1,))
    assert found.encode("a<image><|end|>") == [*policy.ByteTokenizer().encode("a<image>"), 1]
    assert found.chat([{"role": "user", "content": "<image>"}]) == policy.ByteTokenizer().encode("<image>")
    for changes in (
        {"token": image | {"special": False}, "image_token": None},  # Else its role makes it special.
        {"post_processor": starting},
        {"chat_template": "{{ '<image>' }}"},
        {"pad_token": "<image>"},
        {"eos_token": "<image>"},
    ):
        with pytest.raises(ValueError, match="has 259 tokens but the model's vocabulary has 258"):
            opened(**changes)


def test_a_run_is_no_model(tmp_path):
    (tmp_path / "config.json").write_text('{"fingerprints": {}}')
    assert is_run(tmp_path)
    with pytest.raises(ValueError, match=rf"is a run, not a model: .*`assay export {tmp_path} OUT_DIR`"):
        policy.pretrained(tmp_path)


def test_paths_that_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for nowhere in ("/nowhere/at/all", "models/all.gguf", "../all", "~nobody/all"):  # None is the name of a model.
        with pytest.raises(FileNotFoundError, match=rf"There is no file or directory {re.escape(nowhere)}\.$"):
            policy.pretrained(nowhere)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"neither a \.gguf file nor a Hugging Face directory"):
        policy.pretrained("model.safetensors")


# GGUF files.


def test_a_gguf_file_equals_the_directory(tmp_path):
    model = policy.pretrained(write_gguf(tmp_path / "tiny.gguf"))
    directory = policy.pretrained(write_directory(tmp_path / "tiny"))
    assert (model.name, model.config) == ("tiny.gguf", CONFIG)
    assert_equal(model.load(0), directory.load(0))
    assert (model.tokenizer.ends, model.tokenizer.pad, model.tokenizer.vocab_size) == ((1,), 0, 258)
    assert model.tokenizer.encode("é 12") == policy.ByteTokenizer().encode("é 12")
    assert_equal(pickle.loads(pickle.dumps(model)).load(0), directory.load(0))


@pytest.mark.parametrize("fine", ["token_embd.weight", "output.weight"])
def test_of_a_tied_matrix_stored_twice_the_finer_is_taken(tmp_path, fine):
    named, coarse = gguf_tensors(TIED), {"token_embd.weight", "output.weight"} - {fine}
    table = named["token_embd.weight"]
    named[fine] = (table.shape, F32, table.tobytes())
    named[coarse.pop()] = (table.shape, F16, table.astype(np.float16).tobytes())
    model = policy.pretrained(write_gguf(tmp_path / "tied.gguf", gguf_metadata(TIED), named))
    assert model.config.tied_embedding
    np.testing.assert_array_equal(model.load(0)["embedding"]["w"], table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"general__architecture": "qwen3moe"},
            r"architecture 'qwen3moe' is not supported; supported: llama, qwen2, qwen3 \(the nearest is qwen3\)",
        ),
        ({"general__architecture": "rwkv"}, r"'rwkv' is not supported; supported: llama, qwen2, qwen3\. Its"),
        ({"general__architecture": 3}, "architecture 3 is not supported"),
        ({"general__architecture": "qwen2"}, "qwen2.embedding_length is None, expected one int"),
        ({"llama__block_count": ...}, "llama.block_count is None"),
        ({"llama__attention__head_count_kv": np.array([2, 1], np.int32)}, "llama.attention.head_count_kv is"),
        ({"llama__attention__head_count": 3}, "multiple of num_kv_heads"),
        ({"llama__rope__dimension_count": 4}, "rope.dimension_count = 4 with heads of 6 is not implemented"),
        ({"llama__rope__scaling__type": "yarn"}, "llama.rope.scaling.type = yarn is not implemented"),
        ({"llama__rope__dimension_sections": np.arange(4, dtype=np.int32)}, "llama.rope.dimension_sections = "),
        ({"llama__block_count": 2**31}, "2147483648 layers, the weights are 21 tensors"),
        ({"llama__expert_count": 8}, "llama.expert_count = 8"),
        ({"tokenizer__ggml__model": "llama"}, "tokenizer.ggml.model is 'llama'; supported: 'gpt2'"),
        ({"tokenizer__ggml__pre": "deepseek-llm"}, "tokenizer.ggml.pre is 'deepseek-llm'; supported: gpt-2, smollm"),
        ({"tokenizer__ggml__tokens": ...}, "tokenizer.ggml.tokens is missing"),
        ({"tokenizer__ggml__tokens": ["a"] * 260}, "holds a token twice"),
        ({"tokenizer__ggml__merges": "a b"}, "tokenizer.ggml.merges is missing or not a list"),
        ({"tokenizer__ggml__merges": ["a"]}, "tokenizer"),
        ({"tokenizer__ggml__token_type": np.ones(3, np.int32)}, "one number for each of the 260"),
        ({"tokenizer__ggml__eos_token_id": 260}, "eos_token_id is 260, not one of the 260 tokens"),
        ({"tokenizer__ggml__eos_token_id": ...}, "no end token"),
        ({"tokenizer__chat_template": 3}, "chat_template is no text"),
    ],
)
def test_gguf_metadata_that_is_refused(tmp_path, changes, message):
    path = write_gguf(tmp_path / "tiny.gguf", gguf_metadata(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        policy.pretrained(path)
    assert str(path) in str(caught.value)


def test_a_file_of_the_hub_cache_is_a_link(tmp_path):
    blob = write_gguf(tmp_path / "0123abcd")
    (tmp_path / "tiny.gguf").symlink_to(blob)
    assert policy.pretrained(tmp_path / "tiny.gguf").name == "tiny.gguf"


def test_gguf_options_that_are_off_are_no_options(tmp_path):
    metadata = gguf_metadata(llama__expert_count=0, llama__rope__scaling__type="none")
    assert policy.pretrained(write_gguf(tmp_path / "tiny.gguf", metadata)).config == CONFIG


@pytest.mark.parametrize(
    ("name", "field", "shapes"),
    [
        ("qwen2", "qkv_bias", {"attn_q.bias": 24, "attn_k.bias": 12, "attn_v.bias": 12}),
        ("qwen3", "qk_norm", {"attn_q_norm.weight": 6, "attn_k_norm.weight": 6}),
    ],
)
def test_gguf_of_qwen(tmp_path, name, field, shapes):
    source, rng = tensors(), np.random.default_rng(1)
    named = gguf_tensors() | {
        f"blk.{i}.attn_{part}.weight": source[f"model.layers.{i}.self_attn.{part}_proj.weight"]  # As they are.
        for i in range(2)
        for part in "qk"
    }
    extra = {
        f"blk.{i}.{part}": rng.standard_normal(n).astype(np.float32) for i in range(2) for part, n in shapes.items()
    }
    metadata = {key.replace("llama.", f"{name}."): x for key, x in gguf_metadata(general__architecture=name).items()}
    model = policy.pretrained(write_gguf(tmp_path / "qwen.gguf", metadata, named | extra))
    assert getattr(model.config, field)
    assert model.config.architecture == f"{name.capitalize()}ForCausalLM"
    params = model.load(0)
    expected = np.concatenate([source[f"model.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"])
    np.testing.assert_array_equal(params["layer_1/qkv"]["w"], expected)
    if field == "qkv_bias":
        np.testing.assert_array_equal(
            params["layer_1/qkv"]["b"], np.concatenate([extra[f"blk.1.attn_{part}.bias"] for part in "qkv"])
        )
    else:
        np.testing.assert_array_equal(params["layer_1/key_norm"]["scale"], extra["blk.1.attn_k_norm.weight"])


def test_gguf_of_llama_3_scales_its_frequencies(tmp_path):
    # By hand: within 8192 tokens, the frequencies 1, 1/20, 1/400 turn 1304, 65 and 3.26 times. From 4 turns on they
    # are kept, and at 3.26, (3.26 - 1) / (4 - 1) = 0.753 is kept.
    turns = 8192 / 400 / (2 * np.pi)
    kept = (turns - 1) / 3
    factors = np.array([1, 1, 1 / (kept + (1 - kept) / 32)], np.float32)
    shape = {"llama__rope__freq_base": 8000.0, "llama__attention__key_length": 6}
    named = gguf_tensors() | {"rope_freqs.weight": factors}
    path = write_gguf(tmp_path / "a.gguf", gguf_metadata(**shape), named)
    with pytest.raises(ValueError, match=r"a\.gguf: the factors in rope_freqs\.weight are not those of Llama 3"):
        policy.pretrained(path)  # No frequency is low enough to show that the factor is 32.
    shape["llama__rope__freq_base"] = 8e9
    turns = 8192 / 8e9 ** (1 / 3) / (2 * np.pi)  # 0.65: less than one, as 8192 / 4e6 / (2 pi) is.
    assert turns < 1
    named["rope_freqs.weight"] = np.array([1, 32, 32], np.float32)
    model = policy.pretrained(write_gguf(tmp_path / "a.gguf", gguf_metadata(**shape), named))
    assert model.config.rope_scaling == rotary.Llama3(32.0, 1.0, 4.0, 8192)
    assert_equal(model.load(0), policy.pretrained(write_gguf(tmp_path / "b.gguf")).load(0))
    for wrong in (np.zeros(3), np.full(3, -1), np.array([2, 32, 32]), np.ones(4)):
        named["rope_freqs.weight"] = wrong.astype(np.float32)
        with pytest.raises(ValueError, match=r"rope_freqs\.weight"):
            policy.pretrained(write_gguf(tmp_path / "a.gguf", gguf_metadata(**shape), named))


def test_gguf_tensors_that_do_not_fit(tmp_path):
    named = gguf_tensors()
    named["blk.0.attn_q.bias"] = named.pop("output_norm.weight")
    with pytest.raises(ValueError, match=r"output_norm\.weight missing; blk\.0\.attn_q\.bias not expected"):
        policy.pretrained(write_gguf(tmp_path / "tiny.gguf", named=named))


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", ["12345", "Ġa", "Ġ12"]),
        ("smollm", ["1", "2", "3", "4", "5", "Ġa", "Ġ", "1", "2"]),
        ("qwen2", ["1", "2", "3", "4", "5", "Ġa", "Ġ", "1", "2"]),
        ("llama-bpe", ["123", "45", "Ġa", "Ġ", "12"]),
    ],
)
def test_how_each_pre_tokenizer_splits(tmp_path, pre, words):
    # Every merge that these words could need, so that the tokens are the words.
    merges = ["1 2", "12 3", "4 5", "123 45", "Ġ a", "Ġ 12", "Ġ 1"]
    vocab = [*gguf_metadata()["tokenizer.ggml.tokens"][:258], *(merge.replace(" ", "") for merge in merges)]
    config = dataclasses.replace(CONFIG, vocab_size=len(vocab))
    changes = {
        "tokenizer__ggml__tokens": vocab, "tokenizer__ggml__merges": merges, "tokenizer__ggml__pre": pre,
        "tokenizer__ggml__token_type": np.array([3, 3] + [1] * (len(vocab) - 2), np.int32),
        "tokenizer__ggml__bos_token_id": 0, "tokenizer__ggml__eot_token_id": 2,
    }  # fmt: skip
    path = write_gguf(tmp_path / "a.gguf", gguf_metadata(config, **changes), gguf_tensors(config))
    tokenizer = policy.pretrained(path).tokenizer
    ids = tokenizer.encode("12345 a 12<|end|>")
    starts = [0] if pre == "llama-bpe" else []  # It puts a beginning token first unless told otherwise.
    assert [vocab[token] for token in ids[len(starts) : -1]] == words
    assert (ids[: len(starts)], ids[-1]) == (starts, 1)
    assert tokenizer.ends == (1, 2)


def test_the_real_model(shared):
    model = policy.pretrained(smollm2_path())
    assert model.config == policy.TransformerConfig(
        vocab_size=49152, width=576, num_layers=30, num_heads=9, num_kv_heads=3, head_dim=64, mlp_width=1536,
        context=8192, rope_theta=100_000.0, norm_epsilon=1e-5, tied_embedding=True,
    )  # fmt: skip
    params = model.load(0)
    assert sum(x.size for leaves in params.values() for x in leaves.values()) == 134_515_008
    tokens = model.tokenizer.encode("The capital of France is")
    best = int(np.argmax(numpy_transformer.logits(params, model.config, tokens)[-1]))
    assert model.tokenizer.decode([best]) == " Paris"


# Random weights.


def test_from_scratch_is_a_function_of_the_seed():
    config = dataclasses.replace(CONFIG, width=64, mlp_width=256, num_layers=8)
    model = policy.from_scratch(config, policy.ByteTokenizer())
    params, again, other = model.load(3), pickle.loads(pickle.dumps(model)).load(3), model.load(4)
    assert_equal(params, again)
    shapes = {module: {name: x.shape for name, x in leaves.items()} for module, leaves in params.items()}
    assert shapes == parameter_shapes(config)
    assert not np.array_equal(params["embedding"]["w"], other["embedding"]["w"])
    assert not np.array_equal(params["layer_0/gate"]["w"], params["layer_0/up"]["w"])
    assert params["layer_0/gate"]["w"].std() == pytest.approx(0.02, rel=0.05)
    assert params["layer_0/down"]["w"].std() == pytest.approx(0.02 / 4, rel=0.05)  # sqrt(2 * 8) = 4
    assert (params["final_norm"]["scale"] == 1).all()
