"""Groups in, the rows that the learner reads out: each prompt once, then its completions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from policy.attention import TILE, key_tiles
from policy.sizes import multiple, power_of_two
from rl.config import RunConfig
from rl.types import Batch, Completion, Group

# A tree that waits for its row: a prompt, and some of its completions with their advantages.
Tree = tuple[np.ndarray, list[tuple[Completion, float]]]


class NoAdvantages(ValueError):
    """`RunConfig.advantage` raised, or returned something else. The message says for which rewards."""


def make_batch(groups: Sequence[Group], config: RunConfig) -> tuple[Batch, dict[str, float]]:
    """Lays out the scored completions of `groups` in rows of one length.

    A group whose advantages are all zero has no gradient: it counts in the denominator of the mean over tokens,
    and is left out of the rows (not so where a KL term trains it too). Trees share a row where they fit; a group
    that does not fit is split, its prompt repeated. A completion is never split.

    Args:
      groups: with at least two scored members each.
      config: its `advantage`, `kl_coefficient` and `micro_batch_tokens` are read.

    Returns:
      The batch (without rows where nothing trains) and metrics of it.

    Raises:
      NoAdvantages: the config's function is at fault.
    """
    trees: list[Tree] = []
    count, uniform = 0, 0
    for group in groups:
        scored = group.scored
        advantages = _advantages(config, np.array([r.verdict.reward for r in scored]))
        count += sum(int(r.completion.mask.sum()) for r in scored)
        uniform += not advantages.any()
        if advantages.any() or config.kl_coefficient:
            trees.append(
                (
                    scored[0].completion.prompt,
                    [(r.completion, float(a)) for r, a in zip(scored, advantages, strict=True)],
                )
            )
    length = _row_length(trees, config.micro_batch_tokens)
    rows = _pack(trees, length)
    batch = _lay_out(rows, length, count)
    metrics = {
        "groups/uniform": uniform / max(len(groups), 1),
        "batch/rows": float(len(rows)),
        "batch/fill": float((np.asarray(batch.segment) > 0).mean()) if rows else 0.0,
    }
    return batch, metrics


def _advantages(config: RunConfig, rewards: np.ndarray) -> np.ndarray:
    """float [G] -> float32 [G]."""
    try:
        advantages = np.asarray(config.advantage(rewards.copy()), np.float32)
    except Exception as error:  # Foreign code.
        raise NoAdvantages(
            f"RunConfig.advantage failed on the rewards {rewards.tolist()}: {type(error).__name__}: {error}"
        ) from error
    if advantages.shape != rewards.shape or not np.isfinite(advantages).all():
        raise NoAdvantages(
            f"RunConfig.advantage must return {len(rewards)} finite numbers for the rewards {rewards.tolist()}, "
            f"got {advantages!r}."
        )
    return advantages


def _row_length(trees: Sequence[Tree], wanted: int) -> int:
    """`wanted` columns, or more where one completion with its prompt needs it: then the next power of two."""
    longest = max((len(p) + max(len(c.tokens) for c, _ in members) for p, members in trees), default=1)
    if longest > wanted:
        wanted = power_of_two(longest)
    return multiple(wanted, TILE)


def _pack(trees: Sequence[Tree], length: int) -> list[list[Tree]]:
    """Fills rows in order; a tree begins with a tile, so that a tile sees one prompt, and goes on in the next row
    where it must."""
    rows: list[list[Tree]] = []
    free = 0
    for prompt, members in trees:
        tree: Tree | None = None
        for completion, advantage in members:
            if tree is None:
                free -= free % TILE
            need = len(completion.tokens) + (len(prompt) if tree is None else 0)
            if need > free:
                rows.append([])
                free, tree = length, None
                need = len(completion.tokens) + len(prompt)
            if tree is None:
                tree = (prompt, [])
                rows[-1].append(tree)
            tree[1].append((completion, advantage))
            free -= need
    return rows


def _lay_out(rows: Sequence[Sequence[Tree]], length: int, count: int) -> Batch:
    b = len(rows)
    ints = {name: np.zeros((b, length), np.int32) for name in ("tokens", "segment", "prefix", "position", "source")}
    floats = {name: np.zeros((b, length), np.float32) for name in ("logprobs", "policy_logprobs", "advantages")}
    mask = np.zeros((b, length), bool)
    for row, trees in enumerate(rows):
        for place, segment, prefix, start, before, tokens, member in _segments(trees):
            n = len(tokens)
            ints["tokens"][row, place] = tokens
            ints["segment"][row, place] = segment
            ints["prefix"][row, place] = prefix
            ints["position"][row, place] = np.arange(start, start + n)
            ints["source"][row, place] = [before, *range(place.start, place.stop - 1)][:n]
            if member is not None:
                completion, advantage = member
                mask[row, place] = completion.mask
                floats["logprobs"][row, place] = completion.logprobs
                floats["policy_logprobs"][row, place] = completion.policy_logprobs
                floats["advantages"][row, place] = advantage * completion.mask
    return Batch(
        **ints,
        **floats,
        mask=mask,
        keys=key_tiles(ints["segment"], ints["prefix"]),
        count=np.asarray(max(count, 1), np.float32),
    )


def _segments(trees: Sequence[Tree]) -> Iterator[tuple]:
    """(columns, segment, prefix, first position, column before, tokens, (completion, advantage) or None)."""
    column, segment = 0, 0
    for prompt, members in trees:
        column += -column % TILE
        segment += 1
        prefix = segment
        yield slice(column, column + len(prompt)), segment, prefix, 0, column, prompt, None
        column += len(prompt)
        last = column - 1
        for completion, advantage in members:
            segment += 1
            place = slice(column, column + len(completion.tokens))
            yield place, segment, prefix, len(prompt), last, completion.tokens, (completion, advantage)
            column = place.stop
