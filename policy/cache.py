"""The cache of keys and values, in pages of columns, and attention over it: a step of decoding, a chunk of a prompt.

A row's columns lie in pages of Q columns, its first ones in its first page. Attention takes each page by itself and
merges pages by their maxima and sums (online softmax: Milakov & Gimelshein, 2018, arXiv:1805.02867). So a row's bits
depend neither on the places of its pages, nor on how many pages there are; and only pages that are in use are read.

Letters: N pages, Q columns of a page, B rows, M pages of a row at most, W columns of a chunk, H heads of queries, K of
keys and values, R = H / K, C head_dim.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from policy.attention import HIDDEN, biases, capped
from policy.products import batched_dot
from policy.rotary import rotate
from policy.types import TransformerConfig

Array = Any  # Of jax or, on the host, of numpy.
KeysValues = tuple[jax.Array, jax.Array]  # Of a layer: K [N, K, C, Q] and V [N, K, Q, C], float32.
Cache = tuple[KeysValues, ...]  # Of all layers.
Rotation = tuple[jax.Array, jax.Array]  # cos and sin, [.., columns] each.


class Pages(NamedTuple):
    """Whose pages are whose."""

    owner: Array  # int32 [N], the row of each page.
    start: Array  # int32 [N], its first column; NOBODY where it is free.
    table: Array  # int32 [B, M], the pages of each row by their columns; any page where there is none yet.
    first: Array  # int32 [B], where they begin: 0, or after the pages of its prompt that the row shares.


class Seats(NamedTuple):
    """Who reads which pages of prompts; there may be none."""

    reader: Array  # int32 [N, SEATS], the rows that read each page; any row where a seat is free.
    start: Array  # int32 [N], its first column; NOBODY where it is free.
    table: Array  # int32 [B, M], the pages of each row by their columns, as page * SEATS + seat.


NOBODY = 1 << 30
SEATS = 4  # Rows that read a page together; more are no faster, and empty ones cost time.


def empty_cache(config: TransformerConfig, pages: int, columns: int) -> Cache:
    """Zeros."""
    k, c = config.num_kv_heads, config.head_dim
    return tuple(
        (jnp.zeros((pages, k, c, columns)), jnp.zeros((pages, k, columns, c))) for _ in range(config.num_layers)
    )


def page_biases(
    config: TransformerConfig, start: jax.Array, rows: jax.Array, position: jax.Array, columns: int
) -> list[jax.Array]:
    """What each layer adds to the scores of a step, [N, X, Q].

    Args:
      start: int32 [N], the first column of each page.
      rows: int32 [N, X], that read each page.
      position: int32 [B], of the new token of each row.
    """
    key, query = (start[:, None] + jnp.arange(columns))[:, None], position[rows][:, :, None]
    return biases(config, key <= query, query - key)


def attend_pages(
    config: TransformerConfig,
    qkv: jax.Array,
    rotation: Rotation,
    bias: tuple[jax.Array, jax.Array],
    kv: KeysValues,
    shared: KeysValues | None,
    pages: Pages,
    seats: Seats,
    position: jax.Array,
) -> tuple[jax.Array, KeysValues]:
    """Writes one new column of each row, and attends to those that are written.

    Args:
      qkv: float32 [(H + 2K) C, B], before rotation.
      rotation: of `position`.
      bias: of this layer, from `page_biases`: of the rows' own pages [N, 1, Q], of the shared ones [N, SEATS, Q].
      kv: this layer's cache.
      shared: its pages of prompts, which several rows read; None where there are none.
      position: int32 [B].

    Returns:
      float32 [B, H C], the layer's cache.
    """
    c, b = config, qkv.shape[1]
    k, v = kv
    columns = k.shape[3]
    x = qkv.reshape(-1, c.head_dim, b)  # [H + 2K, C, B]
    turned = rotate(x[: c.num_heads + c.num_kv_heads], *rotation)
    q = turned[: c.num_heads].transpose(2, 0, 1).reshape(b, c.num_kv_heads, -1, c.head_dim) * c.scale  # [B, K, R, C]
    new = jnp.concatenate([turned[c.num_heads :], x[c.num_heads + c.num_kv_heads :]]).transpose(2, 0, 1)  # [B, 2K, C]
    place, page = position % columns, pages.table[jnp.arange(b), (position - pages.first) // columns]
    k = k.at[page, :, :, place].set(new[:, : c.num_kv_heads])
    v = v.at[page, :, place].set(new[:, c.num_kv_heads :])

    shape = (b, *q.shape[1:3])
    state = jnp.full(shape, HIDDEN), jnp.zeros(shape), jnp.zeros((*shape, c.head_dim))
    if shared is not None:
        part = _attend_shared(config, q, bias[1], shared, seats)
        state = _merged(state, part, seats.table, pages.first // columns)
    part = _attended(config, q[pages.owner], bias[0], (k, v))
    _, total, out = _merged(state, part, pages.table, (position - pages.first) // columns + 1)
    return (out / total[..., None]).reshape(b, -1), (k, v)


Part = tuple[jax.Array, jax.Array, jax.Array]  # Maxima and sums [N, K, R], outputs [N, K, R, C]: of rows, or of pages.


def _attended(config: TransformerConfig, q: jax.Array, bias: jax.Array, kv: KeysValues) -> Part:
    """Attention within each page by itself: q [N, K, R, C], bias [N, 1 or R, Q]."""
    s = capped(batched_dot(q, kv[0], (3, 2)), config.attention_cap) + bias[:, None]  # [N, K, R, Q]
    top = s.max(axis=-1)
    e = jnp.exp(s - top[..., None])
    return top, _sum(e), batched_dot(e, kv[1], (3, 2))


def _attend_shared(config: TransformerConfig, q: jax.Array, bias: jax.Array, kv: KeysValues, seats: Seats) -> Part:
    """The same of all readers of each page: q [B, K, R, C] -> parts of N * SEATS rows."""
    _, k, r, c = q.shape
    n = len(seats.start)
    together = q[seats.reader].transpose(0, 2, 1, 3, 4).reshape(n, k, SEATS * r, c)
    part = _attended(config, together, jnp.repeat(bias, r, axis=1), kv)
    top, sum_, out = (x.reshape(n, k, SEATS, r, *x.shape[3:]).swapaxes(1, 2) for x in part)  # [N, SEATS, K, R, ..]
    return top.reshape(-1, k, r), sum_.reshape(-1, k, r), out.reshape(-1, k, r, c)


def _merged(rows: Part, pages: Part, table: jax.Array, count: jax.Array) -> Part:
    """Merges with each row's part those of its first count[b] pages, table[b], one after the other."""

    def merge(i: jax.Array, state: Part) -> Part:
        best, total, out = state
        top, sum_, o = (x[lax.dynamic_index_in_dim(table, i, 1, keepdims=False)] for x in pages)
        used = (i < count)[:, None, None]
        new = jnp.where(used, jnp.maximum(best, top), best)
        kept, share = jnp.exp(best - new), jnp.where(used, jnp.exp(top - new), 0.0)
        return new, total * kept + share * sum_, out * kept[..., None] + share[..., None] * o

    # A loop, and not a sum over an axis, whose order depends on its length.
    return lax.fori_loop(0, count.max(), merge, rows)


def attend_chunk(
    config: TransformerConfig,
    dtype: jnp.dtype,
    layer: int,
    qkv: jax.Array,
    rotation: Rotation,
    kv: KeysValues,
    first: jax.Array,
) -> tuple[jax.Array, KeysValues]:
    """Writes a chunk of each of B prompts, and attends to the chunks up to it, one after the other.

    Args:
      dtype: of the products.
      qkv: float32 [(H + 2K) C, B W], before rotation.
      rotation: of the positions first[b] + w.
      kv: this layer's cache, a page a chunk; chunk i of row b is its page i * B + b.
      first: int32 [B], the first column of each chunk, a multiple of W.

    Returns:
      `dtype` [B W, H C], the layer's cache.
    """
    c, b = config, first.shape[0]
    w = qkv.shape[1] // b
    x = qkv.reshape(-1, c.head_dim, b * w)  # [H + 2K, C, B W]
    turned = rotate(x[: c.num_heads + c.num_kv_heads], *rotation)
    q = (turned[: c.num_heads] * c.scale).astype(dtype).reshape(c.num_kv_heads, -1, c.head_dim, b, w)
    q = q.transpose(3, 0, 1, 4, 2).reshape(b, c.num_kv_heads, -1, c.head_dim)  # [B, K, R W, C]
    new_k = turned[c.num_heads :].reshape(c.num_kv_heads, c.head_dim, b, w).transpose(2, 0, 1, 3)  # [B, K, C, W]
    new_v = x[c.num_heads + c.num_kv_heads :].reshape(c.num_kv_heads, c.head_dim, b, w).transpose(2, 0, 3, 1)
    kv = _write_chunks(kv, (new_k, new_v), first // w * b + jnp.arange(b))
    query = first[:, None, None] + jnp.arange(w)[:, None]  # [B, W, 1]

    def chunk(i: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        top, total, o = state  # [B, K, R, W], the same, [B, K, R W, C]
        k, v = (lax.dynamic_slice_in_dim(x, i * b, b) for x in kv)  # [B, K, C, W], [B, K, W, C]
        key = i * w + jnp.arange(w)
        bias = biases(c, key <= query, query - key)[layer]  # [B, W, W]
        s = capped(batched_dot(q, k.astype(dtype), (3, 2)), c.attention_cap)
        s = s.reshape(*top.shape, w) + bias[:, None, None]  # [B, K, R, W, W keys]
        new_top = jnp.maximum(top, s.max(axis=-1))
        e = jnp.exp(s - new_top[..., None])
        kept = jnp.exp(top - new_top)
        more = batched_dot(e.astype(dtype).reshape(*q.shape[:3], w), v.astype(dtype), (3, 2))
        return new_top, total * kept + e.sum(axis=-1), o * kept.reshape(*q.shape[:3], 1) + more

    rows = (b, c.num_kv_heads, c.num_heads // c.num_kv_heads, w)
    start = (jnp.full(rows, HIDDEN), jnp.zeros(rows), jnp.zeros(q.shape))
    _, total, o = lax.fori_loop(0, first.max() // w + 1, chunk, start)
    o = (o / total.reshape(*q.shape[:3], 1)).astype(dtype).reshape(*rows, c.head_dim)
    return o.transpose(0, 3, 1, 2, 4).reshape(b * w, -1), kv


def _sum(x: jax.Array) -> jax.Array:
    """Over the last axis, whose length is a power of two, in one order always: XLA:CPU has two kernels for sums, which
    add in different orders, and chooses by the size of the array."""
    while x.shape[-1] > 1:
        x = x[..., : x.shape[-1] // 2] + x[..., x.shape[-1] // 2 :]
    return x[..., 0]


def _write_chunks(kv: KeysValues, new: KeysValues, page: jax.Array) -> KeysValues:
    """Writes [B, ..] into the pages page[b]."""

    def one(i: jax.Array, kv: KeysValues) -> KeysValues:
        k, v = (lax.dynamic_slice_in_dim(x, i, 1) for x in new)
        return (
            lax.dynamic_update_slice_in_dim(kv[0], k, page[i], 0),
            lax.dynamic_update_slice_in_dim(kv[1], v, page[i], 0),
        )

    return lax.fori_loop(0, page.shape[0], one, kv)


def copy_pages(cache: Cache, other: Cache, n: Array, to: Array, page: Array, place: Array) -> Cache:
    """Fills n pages from another cache, whose pages are as large or larger.

    Args:
      to, page, place: int32 [X], X >= n: page to[i] becomes what lies at columns place[i] .. of the other's page[i].
    """

    def one(i: jax.Array, cache: Cache) -> Cache:
        def copy(mine: jax.Array, theirs: jax.Array, axis: int) -> jax.Array:
            at = [page[i], 0, 0, 0]
            at[axis] = place[i]
            new = lax.dynamic_slice(theirs, at, (1, *mine.shape[1:]))
            return lax.dynamic_update_slice_in_dim(mine, new, to[i], 0)

        return tuple((copy(k, ks, 3), copy(v, vs, 2)) for (k, v), (ks, vs) in zip(cache, other, strict=True))

    return lax.fori_loop(0, n, one, cache)


def taken_page(cache: Cache, page: Array) -> Cache:
    """A copy of one page, as a cache of its own."""
    return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, page, 1), cache)


def grown(x: jax.Array, pages: int) -> jax.Array:
    """One array of a cache, with more pages."""
    return jnp.pad(x, ((0, pages - x.shape[0]), (0, 0), (0, 0), (0, 0)))


def arranged(x: jax.Array, y: jax.Array, page: Array, own: Array) -> jax.Array:
    """Pages of two arrays of a cache as one array.

    Args:
      page, own: int32 and bool [N]: page i is page[i] of x where own[i], else that of y.
    """
    return jnp.where(own[:, None, None, None], x[jnp.where(own, page, 0)], y[jnp.where(own, 0, page)])
