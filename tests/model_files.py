"""Small models as files: Hugging Face directories and GGUF files, right and wrong ones."""

import dataclasses
import json
import pathlib

import numpy as np
from gguf_files import gguf
from safetensors.numpy import save_file

import policy
from policy.tokenizer import as_pretrained

CONFIG = policy.TransformerConfig(
    vocab_size=260, width=8, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=6, mlp_width=12, context=64,
    rope_theta=500.0, norm_epsilon=1e-3, tied_embedding=False,
)  # fmt: skip
TIED = dataclasses.replace(CONFIG, tied_embedding=True)
BYTES = as_pretrained(policy.ByteTokenizer())


def described(config=CONFIG, **changes) -> dict:
    """A config.json as `transformers` 4 writes it. A change to ... leaves the key out."""
    content = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": config.vocab_size,
        "hidden_size": config.width, "num_hidden_layers": config.num_layers, "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads, "head_dim": config.head_dim, "hidden_act": "silu",
        "intermediate_size": config.mlp_width, "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta, "rms_norm_eps": config.norm_epsilon, "attention_bias": False,
        "mlp_bias": False, "attention_dropout": 0.0, "rope_scaling": None, "pretraining_tp": 1, "use_cache": True,
        "tie_word_embeddings": config.tied_embedding, "torch_dtype": "float32", "transformers_version": "4.57.0",
        "eos_token_id": 1, "bos_token_id": None, "initializer_range": 0.02, "_name_or_path": "x", **changes,
    }  # fmt: skip
    return {key: value for key, value in content.items() if value is not ...}


def tensors(config=CONFIG, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under their Hugging Face names."""
    c, rng = config, np.random.default_rng(seed)
    shapes = {"model.embed_tokens.weight": (c.vocab_size, c.width), "model.norm.weight": (c.width,)}
    for i in range(c.num_layers):
        layer = f"model.layers.{i}."
        shapes |= {
            layer + "input_layernorm.weight": (c.width,),
            layer + "self_attn.q_proj.weight": (c.num_heads * c.head_dim, c.width),
            layer + "self_attn.k_proj.weight": (c.num_kv_heads * c.head_dim, c.width),
            layer + "self_attn.v_proj.weight": (c.num_kv_heads * c.head_dim, c.width),
            layer + "self_attn.o_proj.weight": (c.width, c.num_heads * c.head_dim),
            layer + "post_attention_layernorm.weight": (c.width,),
            layer + "mlp.gate_proj.weight": (c.mlp_width, c.width),
            layer + "mlp.up_proj.weight": (c.mlp_width, c.width),
            layer + "mlp.down_proj.weight": (c.width, c.mlp_width),
        }
    if not c.tied_embedding:
        shapes["lm_head.weight"] = (c.vocab_size, c.width)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_directory(path: pathlib.Path, config_json=None, weights=None) -> pathlib.Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(described() if config_json is None else config_json))
    save_file(tensors() if weights is None else weights, path / "model.safetensors")
    (path / "tokenizer.json").write_text(BYTES.definition)
    return path


ROWS = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj"}
ROWS |= {"attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
ROWS |= {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's converter stores q and k of the architecture `llama`."""
    split = weights.reshape(heads, 2, len(weights) // heads // 2, *weights.shape[1:])
    return split.swapaxes(1, 2).reshape(weights.shape)


def gguf_tensors(config=CONFIG) -> dict:
    source = tensors(config)
    named = {
        "token_embd.weight": source["model.embed_tokens.weight"],
        "output_norm.weight": source["model.norm.weight"],
    }
    if not config.tied_embedding:
        named["output.weight"] = source["lm_head.weight"]
    for i in range(config.num_layers):
        for ours, theirs in ROWS.items():
            x = source[f"model.layers.{i}.{theirs}.weight"]
            heads = {"attn_q": config.num_heads, "attn_k": config.num_kv_heads}.get(ours)
            named[f"blk.{i}.{ours}.weight"] = permuted(x, heads) if heads else x
    return named


def gguf_metadata(config=CONFIG, **changes) -> dict:
    """Keys are spelled with __ for a dot. A change to ... leaves the key out."""
    vocab = sorted(BYTES._tokenizer.get_vocab().items(), key=lambda item: item[1])
    kinds = np.array([3, 3] + [1] * 256 + [5] * 2, np.int32)
    content = {
        "general.architecture": "llama", "general.name": "tiny", "llama.block_count": config.num_layers,
        "llama.context_length": config.context, "llama.embedding_length": config.width,
        "llama.feed_forward_length": config.mlp_width, "llama.attention.head_count": config.num_heads,
        "llama.attention.head_count_kv": config.num_kv_heads, "llama.attention.key_length": config.head_dim,
        "llama.attention.value_length": config.head_dim, "llama.rope.dimension_count": config.head_dim,
        "llama.rope.freq_base": config.rope_theta, "llama.attention.layer_norm_rms_epsilon": config.norm_epsilon,
        "llama.vocab_size": config.vocab_size, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [text for text, _ in vocab] + ["[PAD0]", "[PAD1]"], "tokenizer.ggml.merges": [],
        "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.eos_token_id": 1, "tokenizer.ggml.padding_token_id": 0,
    }  # fmt: skip
    content |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in content.items() if value is not ...}


def write_gguf(path: pathlib.Path, metadata=None, named=None) -> pathlib.Path:
    path.write_bytes(gguf(metadata or gguf_metadata(), gguf_tensors() if named is None else named))
    return path


def assert_equal(a, b):
    assert {(module, name) for module in a for name in a[module]} == {(m, name) for m in b for name in b[m]}
    for module, leaves in a.items():
        for name, x in leaves.items():
            np.testing.assert_array_equal(x, b[module][name], strict=True)
