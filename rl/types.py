"""The nouns of the training loop, in the order in which data becomes them.

    Problem -> Completion -> Verdict -> Rollout -> Group -> Batch -> update

Every arrow makes a new value. No field is ever filled in later: whoever holds a `Rollout` holds a proof
that it was scored.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from policy import Completion
from policy.flash import Branches
from verifiers import Problem, Verdict

Array = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Draw:
    """What a rollout worker is asked for: who samples what, and with which randomness.

    The random key of a token is (seed, stream, index, sample, position), so any worker can redo the
    work of any other. In training `stream` is 0 and `index` the place in the problem stream; in an
    evaluation `stream` is 1 and `index` a hash of the problem's id.
    """

    stream: int
    index: int  # uint32
    samples: int  # G
    temperature: float  # 0 is greedy.


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """One scored attempt at one problem."""

    completion: Completion
    verdict: Verdict


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """G rollouts of one problem, all sampled from the same parameters."""

    index: int  # In the problem stream.
    problem: Problem
    rollouts: tuple[Rollout, ...]  # [G]

    @property
    def version(self) -> int:
        return min(rollout.completion.version for rollout in self.rollouts)

    @property
    def scored(self) -> tuple[Rollout, ...]:
        """The rollouts that may train: those whose verdict is not ours to answer for."""
        return tuple(rollout for rollout in self.rollouts if rollout.verdict.trains)


class Batch(NamedTuple):
    """The rows that the learner reads. Position t of every [B, T] array speaks about token t.

    A row holds one or more trees: a prompt once, then its completions. Query q may see key k iff
    k <= q and (segment[k] == segment[q] or segment[k] == prefix[q]).
    """

    tokens: Array  # int32 [B, T]
    mask: Array  # bool [B, T], True where the policy wrote the token and it was scored.
    logprobs: Array  # float32 [B, T], log mu(token); 0 where mask is False.
    policy_logprobs: Array  # float32 [B, T], log softmax(logits) of the sampler; 0 where mask is False.
    advantages: Array  # float32 [B, T]; 0 where mask is False.
    segment: Array  # int32 [B, T], counts from 1 within the row; 0 is padding.
    prefix: Array  # int32 [B, T], the segment of the prompt (a prompt: its own).
    position: Array  # int32 [B, T], goes on from the prompt's length.
    source: Array  # int32 [B, T], the column whose hidden state predicts this token.
    # int32 [B, T / TILE, M], the key tiles that a query tile may see (policy.attention.key_tiles); or the branches of
    # each row, for the flash kernel of a GPU (policy.flash.make_branches).
    keys: Array | Branches
    count: Array  # float32 [], written tokens of the whole update: the denominator of the mean over tokens.
