"""A Llama-family transformer in plain NumPy, float64: slow, short, and independent of `policy.transformer`."""

import numpy as np


def logits(params, config, tokens) -> np.ndarray:
    """tokens int [T] -> logits float64 [T, V]. Weights are [out, in]."""
    p = {module: {k: np.asarray(v, np.float64) for k, v in leaves.items()} for module, leaves in params.items()}
    T, H, K, C = len(tokens), config.num_heads, config.num_kv_heads, config.head_dim
    half = C // 2
    angle = np.arange(T)[:, None] * config.rope_theta ** (-np.arange(half) / half)  # [T, C/2]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def norm(x, scale):  # [T, D]
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + config.norm_epsilon) * scale

    def rotate(x):  # [T, heads, C]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    h = p["embedding"]["w"][np.asarray(tokens)]  # [T, D]
    causal = np.where(np.tril(np.ones((T, T), bool)), 0, -np.inf)
    for i in range(config.num_layers):
        layer = {name.split("/")[1]: leaves for name, leaves in p.items() if name.startswith(f"layer_{i}/")}
        x = norm(h, layer["attention_norm"]["scale"]) @ layer["qkv"]["w"].T  # [T, (H + 2K) C]
        q, k, v = (part.reshape(T, -1, C) for part in np.split(x, [H * C, (H + K) * C], axis=1))
        q, k = rotate(q), rotate(k)
        k, v = (np.repeat(x, H // K, axis=1) for x in (k, v))  # One key head serves H / K queries.
        scores = np.einsum("qhc,khc->hqk", q, k) / np.sqrt(C) + causal
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        h = h + np.einsum("hqk,khc->qhc", weights, v).reshape(T, H * C) @ layer["out"]["w"].T
        x = norm(h, layer["mlp_norm"]["scale"])
        gate, up = x @ layer["gate"]["w"].T, x @ layer["up"]["w"].T
        h = h + (gate / (1 + np.exp(-gate)) * up) @ layer["down"]["w"].T
    h = norm(h, p["final_norm"]["scale"])
    return h @ p["embedding" if config.tied_embedding else "head"]["w"].T
