"""Draws tokens from logits, by one uniform number a row."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

BLOCK = 256  # Tokens of a block: the vocabulary is searched block by block, then within one.


class Sampled(NamedTuple):
    token: jax.Array  # int32 [B]
    logprob: jax.Array  # float32 [B], under the law that was sampled: 0 for a greedy row.
    policy_logprob: jax.Array  # float32 [B], under softmax(logits).


def sample(logits: jax.Array, uniform: jax.Array, temperature: jax.Array) -> Sampled:
    """Samples softmax(logits / temperature) by inversion of its distribution function.

    A row's result depends on nothing but its own logits, uniform number and temperature.

    Args:
      logits: float32 [V, B].
      uniform: float32 [B], in [0, 1).
      temperature: float32 [B]; 0 takes the most likely token (the first of several).
    """
    v = logits.shape[0]
    if v % BLOCK:
        logits = jnp.pad(logits, ((0, -v % BLOCK), (0, 0)), constant_values=-jnp.inf)
    greedy = temperature == 0
    scale = jnp.where(greedy, 1.0, temperature)
    blocks = logits.reshape(-1, BLOCK, logits.shape[1])  # [V / BLOCK, BLOCK, B]
    tops = blocks.max(axis=1)  # [V / BLOCK, B]
    top = tops.max(axis=0)  # [B]
    policy_mass = jnp.exp(blocks - top).sum(axis=1).sum(axis=0)  # [B]

    mass = jnp.exp((blocks - top) / scale).sum(axis=1)  # [V / BLOCK, B]
    reached = jnp.cumsum(mass, axis=0)
    x = uniform * reached[-1]
    drawn_block = jnp.minimum((reached <= x).sum(axis=0), mass.shape[0] - 1)  # [B]
    block = jnp.where(greedy, jnp.argmax(tops, axis=0), drawn_block)
    before = jnp.take_along_axis(reached - mass, block[None], axis=0)[0]
    inside = _take_block(logits, block)  # [BLOCK, B]
    inner = jnp.cumsum(jnp.exp((inside - top) / scale), axis=0)
    # The sums of a block and within it are rounded differently: the last token with any mass bounds the search.
    last = BLOCK - 1 - jnp.argmax((inside > -jnp.inf)[::-1], axis=0)
    drawn = jnp.minimum((inner + before <= x).sum(axis=0), last)
    offset = jnp.where(greedy, jnp.argmax(inside, axis=0), drawn)
    chosen = jnp.take_along_axis(inside, offset[None], axis=0)[0] - top
    logprob = jnp.where(greedy, 0.0, chosen / scale - jnp.log(reached[-1]))
    return Sampled(block * BLOCK + offset, logprob, chosen - jnp.log(policy_mass))


def _take_block(logits: jax.Array, block: jax.Array) -> jax.Array:
    """Rows block[b] * BLOCK .. of column b: [BLOCK, B]."""

    def one(i: jax.Array, column: jax.Array) -> jax.Array:
        return lax.dynamic_slice(logits, (i * BLOCK, column), (BLOCK, 1))[:, 0]

    return jax.vmap(one, out_axes=1)(block, jnp.arange(logits.shape[1]))


def row_keys(seed: int, stream: jax.Array, index: jax.Array, sample_: jax.Array) -> jax.Array:
    """The random key of each row, from (seed, stream, index, sample) alone; raw uint32 [B, 2]."""

    def one(stream: jax.Array, index: jax.Array, sample_: jax.Array) -> jax.Array:
        key = jax.random.key(seed)
        for part in (stream, index, sample_):
            key = jax.random.fold_in(key, part)
        return jax.random.key_data(key)

    return jax.vmap(one)(stream, index, sample_)


def uniforms(keys: jax.Array, position: jax.Array) -> jax.Array:
    """One uniform number a row, from its key and the position of the token to come; float32 [B]."""

    def one(key: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.wrap_key_data(key), position))

    return jax.vmap(one)(keys, position)
