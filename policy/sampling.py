"""Draws tokens from logits, by one uniform number a row, under a law that each row chooses for itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from policy.sizes import multiple

Array = Any  # Of jax or, on the host, of numpy.
BLOCK = 256  # Tokens of a block: the vocabulary is searched block by block, then within one.
GROUP = 16  # Tokens of a group, in the search for the greatest logits.
LEADERS = 64  # The greatest logits of a row, which are sorted.
PASSES, NEAR = 10, 256  # Of a bisection over all logits at a time, and the groups that it shall leave.


class Law(NamedTuple):
    """What each row samples from: softmax(logits / temperature) over the tokens that are kept.

    Banned tokens are not kept. Of the others, with p their tempered and renormalized probabilities, those are kept
    that are among the `top_k` most likely, and whose more likely companions have less than `top_p` of the mass of
    these `top_k`, and whose p is at least `min_p` of the greatest (Holtzman et al., 2020, arXiv:1904.09751; Fan et
    al., 2018, arXiv:1805.04833; Nguyen et al., 2024, arXiv:2407.01082). Tokens of equal logits are kept together.
    """

    temperature: Array  # float32 [B]; 0 takes the most likely token (the first of several).
    top_k: Array  # int32 [B]; 0 keeps all.
    top_p: Array  # float32 [B], in (0, 1]; 1 keeps all.
    min_p: Array  # float32 [B], in [0, 1]; 0 keeps all.
    forced: Array  # int32 [B], the token to take whatever the logits say; -1: none.
    banned: Array  # bool [V rounded up to BLOCK, B].


class Sampled(NamedTuple):
    token: jax.Array  # int32 [B]
    logprob: jax.Array  # float32 [B], under the law that was sampled: 0 for a greedy or forced row.
    policy_logprob: jax.Array  # float32 [B], under softmax(logits).


def plain_law(rows: int, vocab_size: int, temperature: float = 0.0) -> Law:
    """The law of `rows` rows that keep every token, as arrays of the host."""
    return Law(
        temperature=np.full(rows, temperature, np.float32),
        top_k=np.zeros(rows, np.int32),
        top_p=np.ones(rows, np.float32),
        min_p=np.zeros(rows, np.float32),
        forced=np.full(rows, -1, np.int32),
        banned=np.zeros((multiple(vocab_size, BLOCK), rows), bool),
    )


def sample(logits: Array, uniform: Array, law: Law) -> Sampled:
    """Samples each row's law by inversion of its distribution function.

    A row's result depends on nothing but its own logits, uniform number and law. Where no row truncates, nothing
    is computed for truncation.

    Args:
      logits: float32 [V, B].
      uniform: float32 [B], in [0, 1).
      law: of B rows.
    """
    law = jax.tree.map(jnp.asarray, law)
    v = logits.shape[0]
    if v % BLOCK:
        logits = jnp.pad(logits, ((0, -v % BLOCK), (0, 0)), constant_values=-jnp.inf)
    greedy = law.temperature == 0
    scale = jnp.where(greedy, 1.0, law.temperature)
    blocks = logits.reshape(-1, BLOCK, logits.shape[1])  # [V / BLOCK, BLOCK, B]
    banned = law.banned.reshape(blocks.shape)
    all_tops = lax.optimization_barrier(blocks.max(axis=1))  # [V / BLOCK, B]; read once, for both maxima.
    policy_top = all_tops.max(axis=0)  # [B]
    policy_mass = jnp.exp(blocks - policy_top).sum(axis=1).sum(axis=0)  # [B]

    bans = jnp.any(law.banned)
    tops = lax.cond(bans, lambda: jnp.where(banned, -jnp.inf, blocks).max(axis=1), lambda: all_tops)
    top = tops.max(axis=0)  # [B], of the tokens that are not banned
    cut = _cut(blocks, banned, top, scale, law)  # [B]
    narrowed = bans | jnp.any(cut > -jnp.inf)
    kept = lax.cond(narrowed, lambda: jnp.where((blocks >= cut) & ~banned, blocks, -jnp.inf), lambda: blocks)
    mass = jnp.exp((kept - top) / scale).sum(axis=1)  # [V / BLOCK, B]
    reached = jnp.cumsum(mass, axis=0)
    x = uniform * reached[-1]
    # Sums are rounded, and those of many blocks may rise where nothing is added (XLA:CPU adds in a tree). So the block
    # is one with mass, and its token one that is kept: the next one, or else the last.
    drawn_block = _next((reached <= x).sum(axis=0), mass > 0)  # [B]
    block = jnp.where(greedy, jnp.argmax(tops, axis=0), drawn_block)
    block = jnp.where(law.forced >= 0, law.forced // BLOCK, block)
    before = jnp.take_along_axis(reached - mass, block[None], axis=0)[0]
    inside = _take_block(logits, block)  # [BLOCK, B]
    allowed = (inside >= cut) & ~_take_block(law.banned, block) & (inside > -jnp.inf)
    inner = jnp.cumsum(jnp.exp((jnp.where(allowed, inside, -jnp.inf) - top) / scale), axis=0)
    drawn = _next((inner + before <= x).sum(axis=0), allowed)
    offset = jnp.where(greedy, jnp.argmax(jnp.where(allowed, inside, -jnp.inf), axis=0), drawn)
    offset = jnp.where(law.forced >= 0, law.forced % BLOCK, offset)
    chosen = jnp.take_along_axis(inside, offset[None], axis=0)[0]
    certain = greedy | (law.forced >= 0)
    logprob = jnp.where(certain, 0.0, (chosen - top) / scale - jnp.log(reached[-1]))
    return Sampled(block * BLOCK + offset, logprob, chosen - policy_top - jnp.log(policy_mass))


def _next(place: jax.Array, allowed: jax.Array) -> jax.Array:
    """The first place from `place` [B] on that is allowed, bool [N, B], or else the last one that is: [B]."""
    last = len(allowed) - 1 - jnp.argmax(allowed[::-1], axis=0)
    on = jnp.arange(len(allowed))[:, None] >= jnp.minimum(place, last)
    return jnp.argmax(allowed & on, axis=0)


def _cut(blocks: jax.Array, banned: jax.Array, top: jax.Array, scale: jax.Array, law: Law) -> jax.Array:
    """The least logit that each row keeps, [B]: -inf in rows that keep all."""
    everything = jnp.full(top.shape, -jnp.inf)

    def truncated() -> jax.Array:
        leaders = _leaders(jnp.where(banned, -jnp.inf, blocks))  # [LEADERS, B]
        least = jnp.take_along_axis(leaders, jnp.clip(law.top_k - 1, 0, len(leaders) - 1)[None], axis=0)[0]
        least = jnp.where(law.top_k > 0, least, -jnp.inf)
        beyond = law.top_k > len(leaders)

        def of_top_k() -> jax.Array:
            return _greatest(blocks, jnp.where(banned, 0.0, 1.0), everything, leaders[-1], law.top_k, beyond)

        found = lax.cond(jnp.any(beyond), of_top_k, lambda: everything)
        least = jnp.where(beyond, found, least)

        def of_top_p() -> jax.Array:
            mass = jnp.exp((jnp.where((blocks >= least) & ~banned, blocks, -jnp.inf) - top) / scale)
            wanted = law.top_p * mass.sum(axis=1).sum(axis=0)
            reached = jnp.cumsum(jnp.where(leaders >= least, jnp.exp((leaders - top) / scale), 0), axis=0) >= wanted
            cut = jnp.take_along_axis(leaders, jnp.argmax(reached, axis=0)[None], axis=0)[0]
            beyond = (law.top_p < 1) & ~reached[-1]
            low = top - 40 * scale  # What is less likely is lost in the rounding of the mass.
            found = lax.cond(
                jnp.any(beyond), lambda: _greatest(blocks, mass, low, leaders[-1], wanted, beyond), lambda: everything
            )
            return jnp.where(law.top_p < 1, jnp.maximum(jnp.where(beyond, found, cut), least), least)

        return lax.cond(jnp.any(law.top_p < 1), of_top_p, lambda: least)

    least = lax.cond(jnp.any((law.top_k > 0) | (law.top_p < 1)), truncated, lambda: everything)
    return jnp.maximum(least, jnp.where(law.min_p > 0, top + scale * jnp.log(law.min_p), everything))


def _leaders(logits: jax.Array) -> jax.Array:
    """The greatest logits of each row in falling order, [LEADERS, B], of [V / BLOCK, BLOCK, B].

    They are in the groups with the greatest tops. To sort all logits takes a hundred times as long.
    """
    groups = logits.reshape(-1, GROUP, logits.shape[2])
    found = _take_groups(groups, groups.max(axis=1), LEADERS)
    return lax.top_k(found.reshape(-1, found.shape[2]).T, LEADERS)[0].T


def _take_groups(groups: jax.Array, order: jax.Array, count: int) -> jax.Array:
    """The `count` groups that come first in `order` [V / GROUP, B], or all: [V / GROUP, GROUP, B] -> [.., GROUP, B]."""
    _, which = lax.top_k(order.T, min(count, len(order)))
    return jnp.take_along_axis(groups, which.T[:, None], axis=0)


def _greatest(
    logits: jax.Array, weight: jax.Array, low: jax.Array, high: jax.Array, wanted: jax.Array, rows: jax.Array
) -> jax.Array:
    """A c with sum(weight where logits >= c) >= wanted that keeps the fewest logits, for each of `rows`; else -inf.

    By bisection: over all logits, until few groups hold one between the bounds or no number is left between these;
    then over those groups.

    Args:
      logits: float32 [V / BLOCK, BLOCK, B].
      weight: as large.
      low, high: float32 [B]; `low` keeps enough, what is above `high` does not.
      wanted: [B].
      rows: bool [B].
    """
    groups = logits.reshape(-1, GROUP, logits.shape[2])

    def near(low: jax.Array, high: jax.Array) -> jax.Array:
        return ((groups >= low) & (groups < high)).any(axis=1)  # [V / GROUP, B]

    def narrow(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        low, high, rows = state

        def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bounds
            middle = low + (high - low) / 2
            enough = _total(logits, weight, middle) >= wanted
            return jnp.where(rows & enough, middle, low), jnp.where(rows & ~enough, middle, high)

        low, high = lax.fori_loop(0, PASSES, halve, (low, high))
        middle = low + (high - low) / 2
        return low, high, rows & (near(low, high).sum(axis=0) > NEAR) & (low < middle) & (middle < high)

    floor = jnp.where(jnp.isfinite(logits), logits, jnp.inf).min(axis=1).min(axis=0)
    start = jnp.maximum(low, floor), jnp.nextafter(high, jnp.inf), rows
    low, high, _ = lax.while_loop(lambda state: jnp.any(state[2]), narrow, start)
    order = near(low, high).astype(jnp.float32)
    inside = _take_groups(groups, order, NEAR)
    inside_weight = jnp.where(inside < high, _take_groups(weight.reshape(groups.shape), order, NEAR), 0.0)
    return _bisect(inside, inside_weight, low, high, wanted - _total(logits, weight, high), rows)


def _total(logits: jax.Array, weight: jax.Array, least: jax.Array) -> jax.Array:
    """The weight of the logits that are no less, [B]."""
    return jnp.where(logits >= least, weight, 0.0).sum(axis=1).sum(axis=0)


def _bisect(
    logits: jax.Array, weight: jax.Array, low: jax.Array, high: jax.Array, wanted: jax.Array, rows: jax.Array
) -> jax.Array:
    """`_greatest` by bisection of floats as ordered integers, where `high` does not keep enough."""

    def step(bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        enough = _total(logits, weight, _float(middle)) >= wanted
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    def unfinished(bounds: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.any(bounds[0] + 1 < bounds[1])

    start = _ordered(low)
    found, _ = lax.while_loop(unfinished, step, (start, jnp.where(rows, _ordered(high), start + 1)))
    return jnp.where(rows, _float(found), -jnp.inf)


def _ordered(x: jax.Array) -> jax.Array:
    """Integers in the order of the floats."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _float(ordered: jax.Array) -> jax.Array:
    """The inverse of `_ordered`."""
    return lax.bitcast_convert_type(jnp.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered), jnp.float32)


def _take_block(x: jax.Array, block: jax.Array) -> jax.Array:
    """Rows block[b] * BLOCK .. of column b: [BLOCK, B]."""

    def one(i: jax.Array, column: jax.Array) -> jax.Array:
        return lax.dynamic_slice(x, (i * BLOCK, column), (BLOCK, 1))[:, 0]

    return jax.vmap(one, out_axes=1)(block, jnp.arange(x.shape[1]))


def row_keys(seed: Array, stream: Array, index: Array, sample_: Array) -> jax.Array:
    """The random key of each row, from (seed, stream, index, sample) alone, uint32 [B] each; raw uint32 [B, 2]."""

    def one(seed: jax.Array, *names: jax.Array) -> jax.Array:
        key = jax.random.key(seed)
        for name in names:
            key = jax.random.fold_in(key, name)
        return jax.random.key_data(key)

    return jax.vmap(one)(seed, stream, index, sample_)


def uniforms(keys: Array, position: Array) -> jax.Array:
    """One uniform number a row, from its key and the position of the token to come; float32 [B]."""

    def one(key: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.wrap_key_data(key), position))

    return jax.vmap(one)(keys, position)
