"""The compiled functions of an engine; engines of one shape in one process share them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax

from policy.cache import copy_chunks, grown, taken_chunk
from policy.sampling import row_keys, sample, uniforms
from policy.transformer import make_policy
from policy.types import TransformerConfig


class Programs(NamedTuple):
    """Jitted. Those that return a cache are given theirs."""

    keys: jax.stages.Wrapped  # policy.sampling.row_keys
    prefill: jax.stages.Wrapped  # (params, tokens [N, W], first [N], last [N], cache) -> hidden [D, N], cache
    copy: jax.stages.Wrapped  # policy.cache.copy_chunks
    take: jax.stages.Wrapped  # policy.cache.taken_chunk
    first: jax.stages.Wrapped  # (params, hidden [D, N], source [B], keys, position [B], law) -> Sampled
    decode: jax.stages.Wrapped  # (params, cache, token [B], position [B], keys, law, pages) -> Sampled, cache
    grow: jax.stages.Wrapped  # policy.cache.grown


@functools.cache
def programs(config: TransformerConfig, dtype: str) -> Programs:
    """The functions of an engine whose products are computed in `dtype`."""
    policy = make_policy(config, dtype)

    def first(params, hidden, source, keys, position, law):
        """Samples the first token of each slot, after the prompt in row source[slot] of the block."""
        return sample(policy.head(params, hidden[:, source]), uniforms(keys, position), law)

    def decode(params, cache, token, position, keys, law, pages):
        logits, cache = policy.decode(params, token, position, pages, cache)
        return sample(logits, uniforms(keys, position + 1), law), cache

    return Programs(
        keys=jax.jit(row_keys),
        prefill=jax.jit(policy.prefill, donate_argnums=4),
        copy=jax.jit(copy_chunks, donate_argnums=0, static_argnames="width"),
        take=jax.jit(taken_chunk, static_argnames="width"),
        first=jax.jit(first),
        decode=jax.jit(decode, donate_argnums=1),
        grow=jax.jit(grown, static_argnums=1),
    )
