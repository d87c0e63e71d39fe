"""The compiled functions of an engine; engines of one shape in one process share them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax

from policy.cache import copy_pages, grown, taken_page
from policy.sampling import row_keys, sample, uniforms
from policy.transformer import make_policy
from policy.types import TransformerConfig


class Programs(NamedTuple):
    """Jitted. Those that return a cache are given theirs."""

    keys: jax.stages.Wrapped  # policy.sampling.row_keys
    prefill: jax.stages.Wrapped  # (params, tokens [N, W], first [N], last [N], cache) -> hidden [D, N], cache
    copy: jax.stages.Wrapped  # policy.cache.copy_pages
    take: jax.stages.Wrapped  # policy.cache.taken_page
    head: jax.stages.Wrapped  # (params, hidden [D, N], source [B]) -> logits [V, B], of the prompts source[b]
    decode: jax.stages.Wrapped  # (params, token [B], position [B], pages, cache) -> logits [V, B], cache
    draw: jax.stages.Wrapped  # (logits [V, B], keys, position [B] of the token to come, law) -> Sampled
    grow: jax.stages.Wrapped  # policy.cache.grown


@functools.cache
def programs(config: TransformerConfig, dtype: str) -> Programs:
    """The functions of an engine whose products are computed in `dtype`."""
    policy = make_policy(config, dtype)

    def head(params, hidden, source):
        return policy.head(params, hidden[:, source])

    def draw(logits, keys, position, law):
        return sample(logits, uniforms(keys, position), law)

    return Programs(
        keys=jax.jit(row_keys),
        prefill=jax.jit(policy.prefill, donate_argnums=4),
        copy=jax.jit(copy_pages, donate_argnums=0),
        take=jax.jit(taken_page),
        head=jax.jit(head),
        decode=jax.jit(policy.decode, donate_argnums=4),
        draw=jax.jit(draw),
        grow=jax.jit(grown, static_argnums=1),
    )
