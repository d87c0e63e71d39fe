"""Grok-1 in plain NumPy, float64: slow, short, and independent of `policy`.

Written from the published model (xai-org/grok-1, model.py), a sequence and an expert at a time. Weights go by the names
of its PyTorch port, [out, in].
"""

import numpy as np


def logits(weights: dict[str, np.ndarray], config: dict, tokens) -> np.ndarray:
    """tokens int [T] -> logits float64 [T, V]; `config` is a config.json."""
    w = {name: np.asarray(x, np.float64) for name, x in weights.items()}
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    size = config["hidden_size"] // heads
    embedding = w["model.embed_tokens.weight"]
    stream = embedding[np.asarray(tokens)] * config["embedding_multiplier_scale"]
    for i in range(config["num_hidden_layers"]):
        layer = {name.split(".", 3)[3]: x for name, x in w.items() if name.startswith(f"model.layers.{i}.")}
        h = _norm(stream, layer["pre_attn_norm.scale"])
        q, k, v = (h @ layer[f"attn.{x}_proj.weight"].T for x in "qkv")
        out = np.zeros_like(q)
        for head in range(heads):
            mine, theirs = slice(head * size, (head + 1) * size), head // (heads // groups)
            theirs = slice(theirs * size, (theirs + 1) * size)
            scores = _turn(q[:, mine]) @ _turn(k[:, theirs]).T * config["attn_output_multiplier"]
            scores = config["max_attn_value"] * np.tanh(scores / config["max_attn_value"])
            for t in range(len(tokens)):
                out[t, mine] = _softmax(scores[t, : t + 1]) @ v[: t + 1, theirs]
        stream = stream + _norm(out @ layer["attn.o_proj.weight"].T, layer["post_attn_norm.scale"])
        h = _norm(stream, layer["pre_moe_norm.scale"])
        mixed = np.zeros_like(h)
        for t in range(len(tokens)):
            probabilities = _softmax(layer["moe_block.gate.weight"] @ h[t])
            for e in np.argsort(-probabilities)[: config["num_experts_per_tok"]]:
                expert = {x: layer[f"moe_block.experts.{e}.{x}.weight"] for x in ("linear", "linear_v", "linear_1")}
                inner = _gelu(expert["linear"] @ h[t]) * (expert["linear_v"] @ h[t])
                mixed[t] += probabilities[e] * (expert["linear_1"] @ inner)  # Not divided by the sum of the chosen.
        stream = stream + _norm(mixed, layer["post_moe_norm.scale"])
    return _norm(stream, w["model.norm.scale"]) @ embedding.T * config["output_multiplier_scale"]


def _norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + 1e-5) * scale


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _turn(x: np.ndarray) -> np.ndarray:
    """Rotary positions, as x cos + rotate_half(x) sin. [T, size]"""
    size = x.shape[1]
    frequencies = 1 / 10_000 ** (np.arange(0, size, 2) / size)
    phase = np.tile(np.outer(np.arange(len(x)), frequencies), 2)
    half = np.concatenate([-x[:, size // 2 :], x[:, : size // 2]], axis=1)
    return x * np.cos(phase) + half * np.sin(phase)
