"""A small config.json of every family, each with the options that its models use, and random weights for it."""

import functools
import pathlib

import jax
import numpy as np

import policy
from policy import layout
from policy.families import read_config
from policy.types import Model, TransformerConfig

_BASE = {
    "vocab_size": 258, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "eos_token_id": 1,
    "bos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
_ONE = {"num_hidden_layers": 1}  # Where layers are alike: compilation takes most of the tests' time.
_SHORT = {"sliding_window": 8}  # Shorter than the prompts of the tests.
_KINDS = ["sliding_attention", "full_attention"]
_LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
_GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 9, "layer_types": _KINDS, **_SHORT}

# Name -> (the start of the names of its classes in `transformers`, its config.json).
CASES = {
    "llama": ("Llama", _BASE | {"rope_scaling": _LLAMA3, "tie_word_embeddings": True}),
    "llama-biases": ("Llama", _BASE | _ONE | {"attention_bias": True, "mlp_bias": True, "rope_scaling": YARN}),
    "mistral": ("Mistral", _BASE | _ONE | _SHORT),
    "qwen2": ("Qwen2", _BASE | _SHORT | {"use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": ("Qwen3", _BASE | _ONE | {"head_dim": 16, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    "gemma2": ("Gemma2", _BASE | _GEMMA | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}),
    "gemma3": (
        "Gemma3",
        _BASE | _GEMMA | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_local_base_freq": 100.0},
    ),
    "smollm3": ("SmolLM3", _BASE | {"no_rope_layers": [1, 0], "tie_word_embeddings": True, "rope_theta": 5000.0}),
    "phi3": ("Phi3", _BASE | _ONE | _SHORT | {"head_dim": 16, "partial_rotary_factor": 0.5}),
    "gpt2": (
        "GPT2",
        {"vocab_size": 258, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 128, "eos_token_id": 1,
         "bos_token_id": 1, "pad_token_id": 0},
    ),
    "mixtral": ("Mixtral", _BASE | _ONE | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": (
        "Qwen3Moe",
        _BASE | {"head_dim": 16, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 24,
                 "mlp_only_layers": [1], "norm_topk_prob": False},
    ),
    "grok-1": (
        "Grok1Model",
        _BASE | {"num_experts": 4, "num_experts_per_tok": 2, "attn_output_multiplier": 0.3, "max_attn_value": 5.0,
                 "embedding_multiplier_scale": 7.0, "output_multiplier_scale": 0.6},
    ),
}  # fmt: skip
PORTED = [name for name in CASES if name != "grok-1"]  # `transformers` has them.
MOE = ["mixtral", "qwen3-moe", "grok-1"]
_CLASSES = {"GPT2": "GPT2LMHeadModel"}


def described(name: str) -> dict:
    """The config.json of a case."""
    kind, content = CASES[name]
    return {"architectures": [_CLASSES.get(kind, kind + "ForCausalLM")], **content}


def config(name: str) -> TransformerConfig:
    return read_config(pathlib.Path(name), described(name))


@functools.cache
def params(name: str, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Random weights, large enough that nothing is close to uniform, zero or one."""
    c = config(name)
    rng = np.random.default_rng(seed)

    def spread(x: np.ndarray) -> np.ndarray:
        return x + rng.normal(0, 0.2, x.shape).astype(np.float32) if x.ndim == 1 else 10 * x

    return jax.tree.map(spread, layout.random(c, seed))


def model(name: str) -> Model:
    return Model(name, config(name), policy.ByteTokenizer(), functools.partial(_load, name))


def _load(name: str, seed: int) -> dict[str, dict[str, np.ndarray]]:
    return params(name, seed)


def tokens(count: int = 40) -> np.ndarray:
    """int32 [count]"""
    return np.random.default_rng(1).integers(0, 258, count).astype(np.int32)


# Of the logits that reference_families.json keeps.
POSITIONS = [0, 7, 8, 23, 39]
PICKED = [0, 1, 60, 128, 257]
