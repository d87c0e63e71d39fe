"""The compiled functions of an engine; engines of one shape in one process share them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from policy.cache import arranged, copy_pages, grown, taken_page
from policy.sampling import Sampled, row_keys, sample, uniforms
from policy.transformer import make_policy
from policy.types import TransformerConfig

STEPS = 8  # Tokens of a row that one dispatch decodes, at most.
FIRST = 8  # Rows whose first tokens are sampled together.


class Programs(NamedTuple):
    """Jitted. Those that return a cache are given theirs."""

    prefill: jax.stages.Wrapped  # (params, tokens [N, W], first [N], last [N], cache) -> hidden [D, N], cache
    copy: jax.stages.Wrapped  # policy.cache.copy_pages
    take: jax.stages.Wrapped  # policy.cache.taken_page
    # (params, hidden [D, N], source [FIRST], names [4, FIRST], position [FIRST], law) -> keys uint32 [FIRST, 2],
    # Sampled: the first tokens of rows whose prompts are source[b], of these names and at these positions.
    first: jax.stages.Wrapped
    # (params, token [B], position [B], left [B], ends [X], keys, law, pages, seats, cache, shared) -> steps, Sampled
    # [STEPS, B], cache: up to left[b] <= STEPS tokens of each row b, the last of which may be one of `ends`.
    decode: jax.stages.Wrapped
    grow: jax.stages.Wrapped  # policy.cache.grown
    arrange: jax.stages.Wrapped  # policy.cache.arranged


@functools.cache
def programs(config: TransformerConfig, dtype: str) -> Programs:
    """The functions of an engine whose products are computed in `dtype`."""
    policy = make_policy(config, dtype)

    def draw(logits, keys, position, law):
        return sample(logits, uniforms(keys, position), law)

    def first(params, hidden, source, names, position, law):
        keys = row_keys(*names)
        return keys, draw(policy.head(params, hidden[:, source]), keys, position, law)

    def decode(params, token, position, left, ends, keys, law, pages, seats, cache, shared):
        def going(state):
            _, _, _, moves, _, _ = state
            return jnp.any(moves)

        def step(state):
            i, token, position, moves, cache, written = state
            logits, cache = policy.decode(params, token, position, pages, seats, cache, shared)
            sampled = draw(logits, keys, position + 1, law)
            written = jax.tree.map(lambda xs, x: lax.dynamic_update_index_in_dim(xs, x, i, 0), written, sampled)
            # A row that does not go on computes its last token again and again, and writes the same column.
            moves &= (i + 1 < left) & ~(sampled.token[:, None] == ends).any(axis=1)
            token, position = jnp.where(moves, sampled.token, token), position + moves
            return i + 1, token, position, moves, cache, written

        b = len(token)
        empty = Sampled(jnp.zeros((STEPS, b), jnp.int32), jnp.zeros((STEPS, b)), jnp.zeros((STEPS, b)))
        steps, *_, cache, written = lax.while_loop(going, step, (0, token, position, left > 0, cache, empty))
        return steps, written, cache

    return Programs(
        prefill=jax.jit(policy.prefill, donate_argnums=4),
        copy=jax.jit(copy_pages, donate_argnums=0),
        take=jax.jit(taken_page),
        first=jax.jit(first),
        decode=jax.jit(decode, donate_argnums=9),
        grow=jax.jit(grown, static_argnums=1),
        arrange=jax.jit(arranged),
    )
