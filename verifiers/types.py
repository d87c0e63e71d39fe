"""The nouns of verification: a problem, the verdict on an answer to it, and the function between them.

This floor imports neither JAX nor Ray: whoever writes a verifier needs only Python, and a child
process that checks an answer starts in milliseconds.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import numbers
import types
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Outcome(enum.StrEnum):
    """What a verifier found. `ERROR` is ours; every other outcome is the policy's, and trains."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNPARSED = "unparsed"  # No answer could be found in the completion.
    LIMIT = "limit"  # A deterministic budget (fuel, CPU seconds, memory) was used up.
    ERROR = "error"  # The verifier failed, or the problem's own answer is no answer: nobody is blamed.


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A question whose answer can be checked.

    Attributes:
      id: unique in its dataset, e.g. "gsm8k/train/17"; logs, provenance and the sampling of evaluations
        key on it.
      prompt: text, or chat messages `[{"role": "user", "content": "..."}, ...]`.
      answer: JSON data, in the form that its verifier reads.
      verifier: a key into the run's verifiers or graders, so that a mixture of tasks is data.
      source: where it comes from (dataset, revision, split, row, license).
      metadata: anything else. `metadata["solution"]`, a completion that must be accepted, is what preflight
        tries when the answer alone is no completion.
    """

    id: str
    prompt: str | Sequence[Mapping[str, str]]
    answer: Any
    verifier: str = "math"
    source: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The judgment on one completion.

    Attributes:
      reward: in [0, 1]; what the learner maximizes. 0 when the outcome is `ERROR`, where it is not used.
      outcome: what was found.
      answer: what was extracted from the completion.
      reason: one line for the person who reads the rollouts.
      parts: named shares of the reward.
      info: bounded JSON for whoever looks closer (failing test, isolation level).
      seconds: the time it took; takes no part in comparison.

    Raises:
      ValueError: the reward is not a number in [0, 1].
    """

    reward: float
    outcome: Outcome
    answer: str | None = None
    reason: str = ""
    parts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = dataclasses.field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        reward = self.reward
        if type(reward) is not float:  # It nearly always is, and verdicts are made by the thousand.
            if not isinstance(reward, numbers.Real):  # NumPy's floats are; its booleans, and text, are not.
                kind = type(reward).__name__
                raise ValueError(f"Verdict.reward must be a number, got {reward!r}, a {kind}: use float().")
            object.__setattr__(self, "reward", float(reward))
        if not 0 <= reward <= 1:  # nan is not.
            raise ValueError(f"Verdict.reward must lie in [0, 1], got {reward!r}: scale the score.")
        if type(self.outcome) is not Outcome:
            object.__setattr__(self, "outcome", Outcome(self.outcome))

    @property
    def trains(self) -> bool:
        """Whether the learner may learn from it: not where the fault is ours."""
        return self.outcome is not Outcome.ERROR


class Verifier(Protocol):
    """`(problem, completion) -> Verdict`. A plain function will do.

    It must be picklable, deterministic and free of side effects. It may raise: the scorer turns an
    exception into `ERROR`, which never becomes reward 0.
    """

    def __call__(self, problem: Problem, completion: str, /) -> Verdict: ...


def as_verdict(value: object) -> Verdict:
    """What a verifier returned, as a verdict that can be kept: a bool is 0 or 1, a number in [0, 1] itself.

    Raises:
      TypeError, ValueError: it is neither, or no JSON.
    """
    if isinstance(value, numbers.Real):
        reward = float(value)  # A bool, too.
        return Verdict(reward, Outcome.CORRECT if reward == 1 else Outcome.INCORRECT)
    if not isinstance(value, Verdict):
        raise TypeError(
            f"A verifier must return a Verdict, a bool or a number in [0, 1], this one returned {value!r:.200}."
        )
    if not isinstance(value.answer, (str, type(None))) or not isinstance(value.reason, str):
        raise TypeError(
            f"A verdict's answer must be text or None and its reason text, got {value.answer!r:.80} and "
            f"{value.reason!r:.80}."
        )
    if value.parts or value.info:
        json.dumps([dict(value.parts), dict(value.info)])  # The run keeps them.
    return value


def verdict_to_json(verdict: Verdict) -> list[Any]:
    """The fields of a verdict, in order, as JSON data."""
    v = verdict
    return [v.reward, v.outcome.value, v.answer, v.reason, dict(v.parts), dict(v.info), v.seconds]


def described(verifier: Verifier) -> str:
    """A verifier for people: the name of the function."""
    match verifier:
        case functools.partial():
            return described(verifier.func)
        case types.FunctionType() | types.MethodType() | type():
            return f"{verifier.__module__}.{verifier.__qualname__}"
    return f"{type(verifier).__module__}.{type(verifier).__qualname__}"
