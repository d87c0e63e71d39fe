"""The scorer: completions in, a scored group out. What user code breaks here costs a rollout, not a run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

from graders import Grader
from policy import Completion
from rl.types import Group, Rollout
from verifiers import Outcome, Problem, Verdict, Verifier
from verifiers.pool import shared
from verifiers.types import as_verdict


class Scorer:
    """Asks verifiers and graders for verdicts. Nothing that they do wrong becomes reward 0.

    Verifiers run in this process's pool of workers, where they may hang or crash; graders run here.
    """

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
        if not texts:
            return []
        verifier = self._verifiers[problem.verifier]
        verdicts = [_error("It was not tried.")] * len(texts)
        for _ in range(self._attempts):
            open_ = [i for i, verdict in enumerate(verdicts) if not verdict.trains]
            for i, verdict in shared().verify((verifier, problem, texts[i]) for i in open_):
                verdicts[open_[i]] = verdict
        return verdicts

    def _grade(self, problem: Problem, texts: Sequence[str]) -> list[Verdict]:
        """A grader compares the members with each other, so it is asked about all again where one failed.

        Of its replies the one that judges most members counts, the latest of several.
        """
        if not texts:
            return []
        began = time.monotonic()
        best = [_error("It was not tried.")] * len(texts)
        for _ in range(self._attempts):
            try:
                verdicts = [_checked(v) for v in self._graders[problem.verifier](problem, texts)]
                if len(verdicts) != len(texts):
                    raise ValueError(f"The grader returned {len(verdicts)} verdicts for {len(texts)} completions.")
            except KeyboardInterrupt:  # Ctrl-C: graders run in this process.
                raise
            except BaseException as error:  # Foreign code. What test runners and timers raise is no Exception.
                verdicts = [_error(f"{type(error).__name__}: {error}"[:500])] * len(texts)
            best = max(verdicts, best, key=_judged)
            if _judged(best) == len(texts):
                break
        share = (time.monotonic() - began) / len(texts)
        return [dataclasses.replace(verdict, seconds=share) for verdict in best]


def _judged(verdicts: Sequence[Verdict]) -> int:
    return sum(verdict.trains for verdict in verdicts)


def _checked(verdict: object) -> Verdict:
    if not isinstance(verdict, Verdict):
        raise TypeError(f"A grader must return a Verdict for each completion, this one returned {verdict!r:.200}.")
    return as_verdict(verdict)


def _error(reason: str) -> Verdict:
    return Verdict(0.0, Outcome.ERROR, reason=reason)
