"""The scorer: completions in, a scored group out. User code runs here; what it breaks costs a rollout, not a run."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence

from graders import Grader
from policy import Completion
from rl.types import Group, Rollout
from verifiers import Outcome, Problem, Verdict, Verifier


class Scorer:
    """Asks verifiers and graders for verdicts. Nothing that they do wrong becomes reward 0."""

    def __init__(
        self, verifiers: Mapping[str, Verifier], graders: Mapping[str, Grader] | None = None, *, attempts: int = 3
    ):
        """
        Args:
          verifiers: by the key that problems name.
          graders: by the key that problems name, which no verifier has.
          attempts: how often scoring is tried before the verdict is `ERROR`. The completion stays the same.
        """
        self._verifiers, self._graders, self._attempts = dict(verifiers), dict(graders or {}), attempts

    def score(self, index: int, problem: Problem, completions: Sequence[Completion]) -> Group:
        """Judges the completions of one problem.

        Returns:
          A group whose members have the outcome `ERROR` where no verdict could be had, with the reason.
        """
        verdicts = self._grade if problem.verifier in self._graders else self._verify
        judged = iter(verdicts(problem, [c.text for c in completions if c.finish != "error"]))
        broken = _error("The completion could not be written to its end.")
        rollouts = (Rollout(c, broken if c.finish == "error" else next(judged)) for c in completions)
        return Group(index, problem, tuple(rollouts))

    def _verify(self, problem: Problem, texts: Sequence[str]) -> list[Verdict]:
        return [self._verify_one(problem, text) for text in texts]

    def _verify_one(self, problem: Problem, text: str) -> Verdict:
        began = time.monotonic()
        verdict = _error("It was not tried.")
        for _ in range(self._attempts):
            try:
                verdict = _checked(self._verifiers[problem.verifier](problem, text))
            except (Exception, SystemExit) as error:  # Foreign code.
                verdict = _error(_describe(error))
            if verdict.trains:
                break
        return _timed(verdict, time.monotonic() - began)

    def _grade(self, problem: Problem, texts: Sequence[str]) -> list[Verdict]:
        """A grader compares the members with each other, so it is asked about all again where one failed."""
        if not texts:
            return []
        began = time.monotonic()
        verdicts: list[Verdict] = []
        for _ in range(self._attempts):
            try:
                verdicts = [_checked(v) for v in self._graders[problem.verifier](problem, texts)]
                if len(verdicts) != len(texts):
                    raise ValueError(f"The grader returned {len(verdicts)} verdicts for {len(texts)} completions.")
            except (Exception, SystemExit) as error:  # Foreign code.
                verdicts = [_error(_describe(error))] * len(texts)
            if all(verdict.trains for verdict in verdicts):
                break
        share = (time.monotonic() - began) / len(texts)
        return [_timed(verdict, share) for verdict in verdicts]


def _checked(verdict: object) -> Verdict:
    if not isinstance(verdict, Verdict):
        raise TypeError(f"A verifier must return a Verdict, this one returned {verdict!r:.200}.")
    if not isinstance(verdict.answer, (str, type(None))) or not isinstance(verdict.reason, str):
        raise TypeError(
            f"A verdict's answer must be text or None and its reason text, got {verdict.answer!r:.80} and "
            f"{verdict.reason!r:.80}."
        )
    json.dumps([verdict.answer, verdict.reason, dict(verdict.parts), dict(verdict.info)])  # The run keeps them.
    return verdict


def _error(reason: str) -> Verdict:
    return Verdict(0.0, Outcome.ERROR, reason=reason)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _timed(verdict: Verdict, seconds: float) -> Verdict:
    return dataclasses.replace(verdict, seconds=seconds)
