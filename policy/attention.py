"""Attention over rows that hold trees: a prompt once, then its completions.

    query q sees key k  iff  k <= q  and  (segment[k] == segment[q]  or  segment[k] == prefix[q])
                             and  position[q] - position[k] < window, in a layer with a window

A row is cut into tiles of TILE columns. A query tile gathers only the key tiles in which it may see
something (its own segments', their prompts'), so no work is done between siblings, and takes one softmax
over them. Letters: N tiles of all rows, M key tiles that a query tile sees at most, S = M TILE key columns,
Q = TILE query columns, H heads of queries, K heads of keys and values, R = H / K, C head_dim.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from policy import rotary
from policy.products import batched_dot
from policy.sizes import power_of_two
from policy.types import TransformerConfig

TILE = 32
HIDDEN = -1e30  # Added to a score that must not be seen; finite, so that a row of padding stays finite.


def key_tiles(segment: np.ndarray, prefix: np.ndarray) -> np.ndarray:
    """Which key tiles each query tile may see, on the host.

    Args:
      segment, prefix: int32 [B, T], T a multiple of TILE.

    Returns:
      int32 [B, T / TILE, M], the tiles' places in their row, -1 where there is none. M is a power of two, so
      that compiled shapes are few.
    """
    rows, columns = segment.shape
    n = columns // TILE
    seen = [[_visible(segment[b], prefix[b], i) for i in range(n)] for b in range(rows)]
    longest = max((len(tiles) for row in seen for tiles in row), default=1)
    keys = np.full((rows, n, power_of_two(longest)), -1, np.int32)
    for b in range(rows):
        for i, tiles in enumerate(seen[b]):
            keys[b, i, : len(tiles)] = tiles
    return keys


def _visible(segment: np.ndarray, prefix: np.ndarray, i: int) -> list[int]:
    """The tiles at or before tile i that hold a segment which a query of tile i may see."""
    queries = slice(i * TILE, (i + 1) * TILE)
    wanted = np.union1d(segment[queries], prefix[queries])
    before = np.isin(segment[: (i + 1) * TILE], wanted[wanted > 0]).reshape(i + 1, TILE).any(axis=1)
    return np.flatnonzero(before).tolist()


def rotations(config: TransformerConfig, position: jax.Array, length: int) -> list[tuple[jax.Array, jax.Array]]:
    """cos and sin of the rotary angles for each layer, [R, N] each, of positions below `length`, int32 [N]."""
    c, length = config, min(length, config.context)
    none = jnp.zeros((0, position.shape[0]))
    scaled = local = (none, none)
    if not c.learned_positions:
        scaled = local = rotary.table(c.rope_theta, c.rotated_width, length, c.rope_scaling, position)
        if c.local_rope_theta:
            local = rotary.table(c.local_rope_theta, c.rotated_width, length, None, position)
    layers = [local if i in c.local_layers else scaled for i in range(c.num_layers)]
    return [(none, none) if i in c.unrotated_layers else layer for i, layer in enumerate(layers)]


def biases(config: TransformerConfig, seen: jax.Array, distance: jax.Array) -> list[jax.Array]:
    """What each layer adds to its scores: 0 where the query sees the key, else HIDDEN.

    Args:
      seen: bool, where it does without a window.
      distance: int32, of the query's position from the key's; broadcasts with `seen`.
    """
    everywhere = jnp.where(seen, 0.0, HIDDEN)
    local = jnp.where(seen & (distance < config.window), 0.0, HIDDEN) if config.window else everywhere
    return [local if i in config.local_layers else everywhere for i in range(config.num_layers)]


class Tiles(NamedTuple):
    """What a layer's attention needs to know about the rows. Layers share the arrays."""

    cos: jax.Array  # float32 [R, N Q]
    sin: jax.Array
    keys: jax.Array  # int32 [N, M], key tiles of each query tile, counted over all rows
    bias: jax.Array  # float32 [N, S, Q], 0 where the query sees the key, else HIDDEN
    spread: jax.Array  # float32 [B, n, n M], one-hot: which tile of its row a gathered key tile is


def make_tiles(
    config: TransformerConfig, segment: jax.Array, prefix: jax.Array, position: jax.Array, keys: jax.Array
) -> list[Tiles]:
    """segment, prefix, position int32 [B, T] and keys int32 [B, n, M] -> the tiles of each layer."""
    rows, n, m = keys.shape
    here = jnp.maximum(keys, 0)  # [B, n, M]
    flat = (here + n * jnp.arange(rows)[:, None, None]).reshape(rows * n, m)  # [N, M]
    column = jnp.broadcast_to(jnp.arange(n * TILE), (rows, n * TILE))

    def at_queries(x: jax.Array) -> jax.Array:  # [B, T] -> [N, 1, Q]
        return x.reshape(rows * n, 1, TILE)

    def at_keys(x: jax.Array) -> jax.Array:  # [B, T] -> [N, S, 1]
        return x.reshape(rows * n, TILE)[flat].reshape(rows * n, m * TILE, 1)

    there = jnp.repeat(keys.reshape(rows * n, m) >= 0, TILE, axis=1)[:, :, None]  # [N, S, 1]
    related = (at_keys(segment) == at_queries(segment)) | (at_keys(segment) == at_queries(prefix))
    seen = there & related & (at_keys(column) <= at_queries(column))
    spread = (here.reshape(rows, 1, n * m) == jnp.arange(n)[None, :, None]).astype(jnp.float32)
    turns = rotations(config, position.reshape(-1), n * TILE)
    hidden = biases(config, seen, at_queries(position) - at_keys(position))
    return [Tiles(cos, sin, flat, bias, spread) for (cos, sin), bias in zip(turns, hidden, strict=True)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attend(config: TransformerConfig, dtype: jnp.dtype, qkv: jax.Array, tiles: Tiles) -> jax.Array:
    """Causal attention within each tree.

    The backward pass is written out: autodiff would scatter where a product with a one-hot matrix is an
    order of magnitude faster, and transpose where `policy.products` says why not to.

    Args:
      qkv: float32 [(H + 2K) C, N Q], before rotation.
      dtype: of the products.

    Returns:
      `dtype` [H C, N Q].
    """
    return _attend_forward(config, dtype, qkv, tiles)[0]


def _attend_forward(config: TransformerConfig, dtype, qkv: jax.Array, tiles: Tiles):
    h, k = config.num_heads, config.num_kv_heads
    n, _ = tiles.keys.shape
    x = qkv.reshape(h + 2 * k, config.head_dim, -1)
    turned = rotary.rotate(x[: h + k], tiles.cos, tiles.sin)
    q = _by_tile(config, (turned[:h] * config.scale).astype(dtype), n)  # [N, K, C, R Q]
    keys = _gather_columns(config, turned[h:].astype(dtype), tiles)  # [N, K, S, C]
    values = _gather_columns(config, x[h + k :].astype(dtype), tiles)  # [N, K, S, C]
    scores = capped(batched_dot(keys, q, (3, 2)), config.attention_cap)
    p = softmax_over_keys(scores, tiles.bias).astype(dtype)  # [N, K, S, R Q]
    o = batched_dot(_gather_features(config, x[h + k :].astype(dtype), tiles), p, (3, 2))  # [N, K, C, R Q]
    return _by_column(config, o.astype(dtype)).reshape(-1, o.shape[0] * TILE), (q, keys, values, p, tiles)


def _attend_backward(config: TransformerConfig, dtype, saved, do: jax.Array):
    q, keys, values, p, tiles = saved
    n, _ = tiles.keys.shape
    do = _by_tile(config, do.astype(dtype).reshape(config.num_heads, config.head_dim, -1), n)  # [N, K, C, R Q]
    dp = batched_dot(values, do, (3, 2))  # [N, K, S, R Q]
    pf = p.astype(jnp.float32)
    ds = pf * (dp - (pf * dp).sum(axis=2, keepdims=True))
    if config.attention_cap:  # The slope of the cap; the scores are computed again rather than kept.
        ds *= 1 - jnp.square(jnp.tanh(batched_dot(keys, q, (3, 2)) / config.attention_cap))
    ds = ds.astype(dtype)
    dq = _by_column(config, batched_dot(_turn(keys), ds, (3, 2))) * config.scale  # [H, C, N Q]
    dk = _collect(config, batched_dot(q, ds, (3, 3)), tiles)  # [K, C, N Q]
    dv = _collect(config, batched_dot(do, p, (3, 3)), tiles)
    dqk = rotary.rotate(jnp.concatenate([dq, dk]), tiles.cos, -tiles.sin)
    return jnp.concatenate([dqk, dv]).reshape(-1, n * TILE), None


attend.defvjp(_attend_forward, _attend_backward)


def capped(x: jax.Array, cap: float) -> jax.Array:
    """cap * tanh(x / cap) (Gemma 2, Riviere et al., 2024, arXiv:2408.00118, section 2); x where cap is 0."""
    return cap * jnp.tanh(x / cap) if cap else x


def softmax_over_keys(scores: jax.Array, bias: jax.Array) -> jax.Array:
    """softmax over axis 2 of scores [N, K, S, R Q] + bias [N, S, Q]."""
    n, k, s, rq = scores.shape
    scores = scores.reshape(n, k, s, -1, bias.shape[2]) + bias[:, None, :, None, :]
    e = jnp.exp(scores - scores.max(axis=2, keepdims=True))
    return (e / e.sum(axis=2, keepdims=True)).reshape(n, k, s, rq)


def _by_tile(config: TransformerConfig, x: jax.Array, n: int) -> jax.Array:
    """[H, C, N Q] -> [N, K, C, R Q]: the query heads of a key head side by side."""
    x = x.reshape(config.num_kv_heads, -1, config.head_dim, n, x.shape[2] // n)  # [K, R, C, N, Q]
    return x.transpose(3, 0, 2, 1, 4).reshape(n, config.num_kv_heads, config.head_dim, -1)


def _by_column(config: TransformerConfig, x: jax.Array) -> jax.Array:
    """[N, K, C, R Q] -> [H, C, N Q]."""
    n, r = x.shape[0], config.num_heads // config.num_kv_heads
    x = x.reshape(n, config.num_kv_heads, config.head_dim, r, -1)
    return x.transpose(1, 3, 2, 0, 4).reshape(config.num_heads, config.head_dim, -1)


def _gather_columns(config: TransformerConfig, x: jax.Array, tiles: Tiles) -> jax.Array:
    """[K, C, N Q] -> [N, K, S, C], the key tiles of each query tile."""
    n, m = tiles.keys.shape
    x = x.reshape(config.num_kv_heads, config.head_dim, n, TILE).transpose(2, 0, 3, 1)  # [N, K, Q, C]
    return x[tiles.keys].transpose(0, 2, 1, 3, 4).reshape(n, config.num_kv_heads, m * TILE, config.head_dim)


def _gather_features(config: TransformerConfig, x: jax.Array, tiles: Tiles) -> jax.Array:
    """[K, C, N Q] -> [N, K, C, S]."""
    n, m = tiles.keys.shape
    x = x.reshape(config.num_kv_heads, config.head_dim, n, TILE).transpose(2, 0, 1, 3)  # [N, K, C, Q]
    return x[tiles.keys].transpose(0, 2, 3, 1, 4).reshape(n, config.num_kv_heads, config.head_dim, m * TILE)


def _collect(config: TransformerConfig, d: jax.Array, tiles: Tiles) -> jax.Array:
    """The gradient of gathered tiles, [N, K, C, S], summed back to their columns, [K, C, N Q]."""
    rows, n, nm = tiles.spread.shape
    k, c = config.num_kv_heads, config.head_dim
    d = d.reshape(rows, n, k, c, nm // n, TILE).transpose(0, 1, 4, 2, 3, 5).reshape(rows, nm, k * c * TILE)
    d = lax.dot_general(tiles.spread, d, (((2,), (1,)), ((0,), (0,))))  # [B, n, K C Q]
    return d.reshape(rows * n, k, c, TILE).transpose(1, 2, 0, 3).reshape(k, c, -1)


def _turn(x: jax.Array) -> jax.Array:
    """[N, K, S, C] -> [N, K, C, S], in bfloat16 by a product with the identity (see policy.products)."""
    if x.dtype == jnp.float32:
        return x.swapaxes(2, 3)
    eye = jnp.broadcast_to(jnp.eye(x.shape[3], dtype=x.dtype), (*x.shape[:2], x.shape[3], x.shape[3]))
    return batched_dot(eye, x, (3, 3)).astype(x.dtype)
