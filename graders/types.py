"""A grader judges a whole group of completions at once, and may ask a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from verifiers import Problem, Verdict


class Grader(Protocol):
    """`(problem, completions) -> verdicts`, one for each completion, in order.

    It sees the whole group, so that completions can be compared with each other. Where it cannot
    judge (an endpoint is down, a reply makes no sense) it returns `Outcome.ERROR`, never reward 0.
    """

    def __call__(self, problem: Problem, completions: Sequence[str], /) -> Sequence[Verdict]: ...
