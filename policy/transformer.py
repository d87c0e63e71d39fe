"""The policy: a decoder-only transformer of the Llama family, one Haiku function that samples and learns.

RMSNorm (Zhang & Sennrich, 2019, arXiv:1910.07467), rotary positions (Su et al., 2021, arXiv:2104.09864),
grouped-query attention (Ainslie et al., 2023, arXiv:2305.13245) and SwiGLU (Shazeer, 2020, arXiv:2002.05202).
Activations are features first, [D, N] with one column a token (`policy.products` says why). The learner, the
prefill and the decode step differ only in the attention that they hand to `decoder`.

Letters: D width, N columns, V vocabulary, H heads, K key heads, C head_dim, F mlp_width, L layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax

from policy.attention import HIDDEN, attend, make_tiles, rotary_table, rotate, softmax_over_keys
from policy.products import Matrix, batched_dot, linear, transposed
from policy.types import Array, Params, TransformerConfig

Cache = tuple[tuple[jax.Array, jax.Array], ...]  # Per layer: K [B, K, C, T] and V [B, K, T, C], float32.
Attention = Callable[[jax.Array, Any], tuple[jax.Array, Any]]  # (qkv, layer's state) -> (output, new state)


class Policy(NamedTuple):
    """Pure functions over one parameter tree (cf. `optax.GradientTransformation`).

    `hidden` and `head` serve the learner and read the master tree, whose matrices may be plain float32 arrays or
    `products.Matrix`; `prefill` and `decode` serve the engine and read the tree of `engine_params`.
    """

    # (key) -> random parameters.
    init: Callable[[jax.Array], Params]
    # (params, tokens, segment, prefix, position: int32 [B, T], keys: int32 [B, T / TILE, M]) -> [D, B T].
    hidden: Callable[..., jax.Array]
    # (params, hidden [D, N]) -> float32 logits [V, N].
    head: Callable[[Params, jax.Array], jax.Array]
    # (params, tokens int32 [N, P]) -> hidden [D, N P]; per layer K [N, K, C, P], V [N, K, P, C].
    prefill: Callable[[Params, jax.Array], tuple[jax.Array, Cache]]
    # (params, tokens int32 [B], position int32 [B], cache) -> float32 logits [V, B], cache.
    decode: Callable[[Params, jax.Array, jax.Array, Cache], tuple[jax.Array, Cache]]


def make_policy(config: TransformerConfig, dtype: jnp.dtype | str = jnp.float32) -> Policy:
    """The functions of a transformer whose products are computed in `dtype`, on float32 activations."""
    dtype = jnp.dtype(dtype)

    def pure(f: Callable) -> Any:
        return hk.without_apply_rng(hk.transform(functools.partial(f, config, dtype)))

    hidden, head = pure(_hidden), pure(_head)

    def init(key: jax.Array) -> Params:
        row = jnp.zeros((1, 32), jnp.int32)
        params = hidden.init(key, row, row, row, row, jnp.zeros((1, 1, 1), jnp.int32))
        return params if config.tied_embedding else params | head.init(key, jnp.zeros((config.width, 1)))

    return Policy(init, hidden.apply, head.apply, pure(_prefill).apply, pure(_decode).apply)


def parameter_shapes(config: TransformerConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """Module -> parameter -> shape: what a file of weights must hold."""
    shapes = jax.eval_shape(make_policy(config).init, jax.random.key(0))
    return {module: {name: leaf.shape for name, leaf in leaves.items()} for module, leaves in shapes.items()}


# The parts.


class Linear(hk.Module):
    """y = W x, without a bias."""

    def __init__(self, out: int, name: str):
        super().__init__(name)
        self.out = out

    def __call__(self, x: jax.Array, axis: int = 0) -> jax.Array:  # [in, N], or [N, in] -> [out, N]
        init = hk.initializers.RandomNormal(0.02)
        return linear(hk.get_parameter("w", (self.out, x.shape[axis]), jnp.float32, init), x, axis)


class RMSNorm(hk.Module):
    """x / rms(x) * scale, over the features."""

    def __init__(self, epsilon: float, dtype: jnp.dtype, name: str):
        super().__init__(name)
        self.epsilon, self.dtype = epsilon, dtype

    def __call__(self, x: jax.Array) -> jax.Array:  # float32 [D, N] -> dtype [D, N]
        scale = hk.get_parameter("scale", (x.shape[0],), jnp.float32, jnp.ones)
        return rms_norm(x, scale, self.epsilon, self.dtype)


class Table(hk.Module):
    """One row a token: the embedding; the head, too, where the two are tied."""

    def __init__(self, config: TransformerConfig, name: str = "embedding"):
        super().__init__(name)
        self.config = config

    def __call__(self) -> jax.Array | Matrix:  # [V, D]
        c = self.config
        return hk.get_parameter("w", (c.vocab_size, c.width), jnp.float32, hk.initializers.RandomNormal(0.02))


def decoder(
    config: TransformerConfig,
    dtype: jnp.dtype,
    x: jax.Array,
    attention: Attention,
    states: Any,
    *,
    axis: int = 0,
    joined: bool = False,
) -> tuple[jax.Array, tuple]:
    """All layers.

    Args:
      x: float32 [D, N], the embedded tokens.
      attention: (qkv float32 [(H + 2K) C, N], states[i]) -> output [H C, N] (with axis=1: [N, H C]), new state.
      joined: the gate and the up projection are one product, as in the tree of `engine_params`: faster with few
        columns, slower with many and with gradients.

    Returns:
      The normalized output in `dtype`, [D, N], and the new states.
    """
    c, new = config, []
    norm = functools.partial(RMSNorm, c.norm_epsilon, dtype)
    for i in range(c.num_layers):
        with hk.experimental.name_scope(f"layer_{i}"):
            qkv = Linear((c.num_heads + 2 * c.num_kv_heads) * c.head_dim, "qkv")(norm("attention_norm")(x))
            out, state = attention(qkv, states[i])
            new.append(state)
            x = x + Linear(c.width, "out")(out, axis)
            h = norm("mlp_norm")(x)
            if joined:
                gate, up = jnp.split(Linear(2 * c.mlp_width, "gate_up")(h), 2)
                a = (jax.nn.silu(gate) * up).astype(dtype)
            else:
                a = swiglu(Linear(c.mlp_width, "gate")(h).astype(dtype), Linear(c.mlp_width, "up")(h).astype(dtype))
            x = x + Linear(c.width, "down")(a)
    return norm("final_norm")(x), tuple(new)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def rms_norm(x: jax.Array, scale: jax.Array, epsilon: float, dtype: jnp.dtype) -> jax.Array:
    """x / sqrt(mean(x^2) + epsilon) * scale, over axis 0."""
    return _rms_norm_forward(x, scale, epsilon, dtype)[0]


def _rms_norm_forward(x, scale, epsilon, dtype):
    r = lax.rsqrt(jnp.mean(x * x, axis=0) + epsilon)  # [N]
    return (x * r * scale[:, None]).astype(dtype), (x, r, scale)


def _rms_norm_backward(epsilon, dtype, saved, g):
    x, r, scale = saved
    g = g.astype(jnp.float32)
    gs = g * scale[:, None]
    return gs * r - x * ((gs * x).sum(axis=0) * r**3 / x.shape[0]), (g * x * r).sum(axis=1)


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)


@jax.custom_vjp
def swiglu(gate: jax.Array, up: jax.Array) -> jax.Array:
    """silu(gate) * up. Keeps the sigmoid in the products' dtype: XLA:CPU would keep it in float32."""
    return _swiglu_forward(gate, up)[0]


def _swiglu_forward(gate, up):
    s = jax.nn.sigmoid(gate.astype(jnp.float32)).astype(gate.dtype)
    y = gate.astype(jnp.float32) * s.astype(jnp.float32) * up.astype(jnp.float32)
    return y.astype(gate.dtype), (gate, up, s)


def _swiglu_backward(saved, dy):
    g, u, s, dy = (a.astype(jnp.float32) for a in (*saved, dy))
    dtype = saved[0].dtype
    return (dy * u * (s + g * s * (1 - s))).astype(dtype), (dy * g * s).astype(dtype)


swiglu.defvjp(_swiglu_forward, _swiglu_backward)


@jax.custom_vjp
def embed(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """float32 [V, D], int32 [N] -> float32 [D, N]."""
    return transposed(table[tokens])


def _embed_forward(table, tokens):
    return embed(table, tokens), (tokens, jnp.zeros((table.shape[0], 0)))


def _embed_backward(saved, g):
    tokens, like = saved
    return jnp.zeros((like.shape[0], g.shape[0]), jnp.float32).at[tokens].add(g.T), None


embed.defvjp(_embed_forward, _embed_backward)


# The three uses.


def _hidden(config, dtype, tokens, segment, prefix, position, keys):
    tiles = make_tiles(config, segment, prefix, position, keys)
    table = Table(config)()
    x = embed(table.master if isinstance(table, Matrix) else table, tokens.reshape(-1))

    def attention(qkv: jax.Array, _: None) -> tuple[jax.Array, None]:
        return attend(config, dtype, qkv, tiles), None

    return decoder(config, dtype, x, attention, [None] * config.num_layers)[0]


def _head(config, dtype, hidden):
    return _logits(Table(config, head_table(config))(), hidden)


def head_table(config: TransformerConfig) -> str:
    """The module that holds the head's weight [V, D]."""
    return "embedding" if config.tied_embedding else "head"


def _logits(table: jax.Array | Matrix, hidden: jax.Array) -> jax.Array:
    # The barrier keeps a transpose that follows out of the product (policy.products).
    return lax.optimization_barrier(linear(table, hidden))


def engine_params(params: Params, dtype: jnp.dtype) -> dict[str, dict[str, jax.Array]]:
    """The tree that `prefill` and `decode` read: matrices in `dtype`, gate and up joined to one [2F, D]."""
    tree = {}
    for module, leaves in params.items():
        if module.endswith("/gate"):
            up = params[module.removesuffix("gate") + "up"]["w"]
            tree[module + "_up"] = {"w": jnp.concatenate([leaves["w"], up]).astype(dtype)}
        elif not module.endswith("/up"):
            tree[module] = {name: p.astype(dtype) if p.ndim == 2 else p for name, p in leaves.items()}
    return tree


def to_host(tree: Params) -> dict[str, dict[str, np.ndarray]]:
    """Copies of the arrays of `engine_params` in the host's memory, bfloat16 as uint16, which crosses processes
    without a copy."""

    def plain(x: np.ndarray) -> np.ndarray:
        return x.view(np.uint16) if x.dtype == ml_dtypes.bfloat16 else x

    return {module: {name: plain(np.array(p)) for name, p in leaves.items()} for module, leaves in tree.items()}


def from_host(tree: Params) -> dict[str, dict[str, jax.Array]]:
    """The inverse of `to_host`.

    A bfloat16 embedding stays as its uint16 view too, under "rows": XLA:CPU converts a whole bfloat16 table
    before a gather.
    """

    def typed(x: Array) -> Array:
        return np.asarray(x).view(ml_dtypes.bfloat16) if x.dtype == np.uint16 else x

    typed_tree = {
        module: {name: jnp.asarray(typed(np.asarray(p))) for name, p in leaves.items()}
        for module, leaves in tree.items()
    }
    table = np.asarray(tree["embedding"]["w"])
    return typed_tree | ({"rows": {"w": jnp.asarray(table)}} if table.dtype == np.uint16 else {})


def _rows(config, dtype) -> jax.Array:
    """The table to take embedded tokens from, in the tree of `from_host`."""
    return Table(config, "rows" if dtype == jnp.bfloat16 else "embedding")()  # type: ignore[return-value]


def _embedded(rows: jax.Array, tokens: jax.Array) -> jax.Array:
    """int32 [N] -> float32 [D, N]."""
    x = rows[tokens]
    if x.dtype == jnp.uint16:
        x = lax.bitcast_convert_type(x, jnp.bfloat16)
    return transposed(x.astype(jnp.float32))


def _prefill(config, dtype, tokens):
    c = config
    n, p = tokens.shape
    cos, sin = rotary_table(c, jnp.tile(jnp.arange(p), n))
    bias = jnp.where(jnp.arange(p)[:, None] <= jnp.arange(p), 0.0, HIDDEN)  # [P keys, P queries]
    bias = jnp.broadcast_to(bias, (n, p, p))

    def attention(qkv: jax.Array, _: None):
        x = qkv.reshape(-1, c.head_dim, n * p)  # [H + 2K, C, N P]
        turned = rotate(x[: c.num_heads + c.num_kv_heads], cos, sin)
        q = (turned[: c.num_heads] * c.head_dim**-0.5).astype(dtype)
        q = q.reshape(c.num_kv_heads, -1, c.head_dim, n, p).transpose(3, 0, 2, 1, 4)  # [N, K, C, R, P]
        q = q.reshape(n, c.num_kv_heads, c.head_dim, -1)
        k = turned[c.num_heads :].reshape(c.num_kv_heads, c.head_dim, n, p).transpose(2, 0, 1, 3)  # [N, K, C, P]
        v = x[c.num_heads + c.num_kv_heads :].reshape(c.num_kv_heads, c.head_dim, n, p).transpose(2, 0, 1, 3)
        a = softmax_over_keys(batched_dot(k.swapaxes(2, 3).astype(dtype), q, (3, 2)), bias).astype(dtype)
        o = batched_dot(v.astype(dtype), a, (3, 2)).astype(dtype)  # [N, K, C, R P]
        o = o.reshape(n, c.num_kv_heads, c.head_dim, -1, p).transpose(1, 3, 2, 0, 4).reshape(-1, n * p)
        return o, (k, v.swapaxes(2, 3))

    return decoder(
        c, dtype, _embedded(_rows(c, dtype), tokens.reshape(-1)), attention, [None] * c.num_layers, joined=True
    )


def _decode(config, dtype, tokens, position, cache):
    c = config
    b, t = tokens.shape[0], cache[0][0].shape[3]
    cos, sin = rotary_table(c, position)
    bias = jnp.where(jnp.arange(t) <= position[:, None], 0.0, HIDDEN)[:, None, None]  # [B, 1, 1, T]

    def attention(qkv: jax.Array, kv: tuple[jax.Array, jax.Array]):
        x = qkv.reshape(-1, c.head_dim, b)  # [H + 2K, C, B]
        turned = rotate(x[: c.num_heads + c.num_kv_heads], cos, sin)
        q = turned[: c.num_heads].transpose(2, 0, 1).reshape(b, c.num_kv_heads, -1, c.head_dim) * c.head_dim**-0.5
        new = jnp.concatenate([turned[c.num_heads :], x[c.num_heads + c.num_kv_heads :]]).transpose(2, 0, 1)
        k = _write(kv[0], new[:, : c.num_kv_heads, :, None], position, 3)  # [B, K, C, T]
        v = _write(kv[1], new[:, c.num_kv_heads :, None, :], position, 2)  # [B, K, T, C]
        s = batched_dot(q, k, (3, 2)) + bias  # [B, K, R, T]
        e = jnp.exp(s - s.max(axis=-1, keepdims=True))
        o = batched_dot(e, v, (3, 2)) / e.sum(axis=-1, keepdims=True)  # [B, K, R, C]
        return o.reshape(b, -1), (k, v)

    rows = _rows(c, dtype)
    x, cache = decoder(c, dtype, _embedded(rows, tokens), attention, cache, axis=1, joined=True)
    shared = c.tied_embedding and dtype != jnp.bfloat16  # Haiku would number a second table of the same name.
    return _logits(rows if shared else Table(c, head_table(c))(), x), cache


def _write(cache: jax.Array, new: jax.Array, position: jax.Array, axis: int) -> jax.Array:
    """Writes one column of each slot: cache [B, ..], new with one column, position int32 [B]."""

    def one(cache, new, t):
        return lax.dynamic_update_slice_in_dim(cache, new, t, axis - 1)

    return jax.vmap(one)(cache, new, position)


# What a device is good at.


def fast_dtype() -> str:
    """ "bfloat16" where products in it are fast (accelerators; CPUs with AMX), else "float32"."""
    if jax.default_backend() != "cpu":
        return "bfloat16"
    try:
        with open("/proc/cpuinfo") as file:
            return "bfloat16" if "amx_bf16" in file.read() else "float32"
    except OSError:
        return "float32"
