"""Tries a verifier on the answers that are known: each problem's own gold, and the golds of others."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence

from verifiers.mathematics import equivalent
from verifiers.types import Outcome, Problem, Verdict, Verifier


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A known answer that a verifier judged wrongly.

    Attributes:
      problem: its id.
      what: "own gold refused", "own gold is no answer" (`Outcome.ERROR`) or "another's gold accepted".
      completion: the text that was tried.
      verdict: on that text.
    """

    problem: str
    what: str
    completion: str
    verdict: Verdict

    def __str__(self) -> str:
        why = self.verdict.reason or self.verdict.outcome
        return f"{self.problem}: {self.what}: {self.completion!r:.100} ({why})"


def directly(verifier: Verifier, problem: Problem, completion: str) -> Verdict:
    """Calls the verifier, and lets what it raises pass."""
    return verifier(problem, completion)


def golds(problem: Problem) -> tuple[str, ...]:
    r"""Completions of which the verifier must accept one: `metadata["gold"]`, else the answer, bare and boxed."""
    if "gold" in problem.metadata:
        return (str(problem.metadata["gold"]),)
    answer = problem.answer if isinstance(problem.answer, str) else json.dumps(problem.answer)
    return (answer, f"\\boxed{{{answer}}}")


def check(
    verifier: Verifier,
    problems: Sequence[Problem],
    *,
    others: int = 1,
    seed: int = 0,
    call: Callable[[Verifier, Problem, str], Verdict] = directly,
) -> list[Finding]:
    """Tries every problem's own gold, which must be accepted, and golds of others, which must not be.

    A gold of another problem counts only where the answers differ, and is not tried where a problem has
    `metadata["gold"]`: a constraint ("at most ten words") may rightly accept it.

    Args:
      verifier: what is tried.
      problems: that name this verifier.
      others: golds of other problems to try on each problem.
      seed: of the choice of others.
      call: calls the verifier. The default lets an exception pass; one that returns `Outcome.ERROR` instead
        makes it a finding.

    Returns:
      What was judged wrongly, in the order of the problems; empty if all is well.
    """
    findings = []
    choose = random.Random(seed)
    for problem in problems:
        texts = golds(problem)
        tried = [(text, call(verifier, problem, text)) for text in texts]
        if not any(verdict.outcome is Outcome.CORRECT for _, verdict in tried):
            text, verdict = tried[-1]
            broken = verdict.outcome is Outcome.ERROR
            findings.append(Finding(problem.id, f"own gold {'is no answer' if broken else 'refused'}", text, verdict))
            continue
        if "gold" in problem.metadata:
            continue
        for index in choose.sample(range(len(problems)), min(others, len(problems))):
            other = problems[index]
            if "gold" in other.metadata or not _differ(problem.answer, other.answer):
                continue
            for text in golds(other):
                if (verdict := call(verifier, problem, text)).outcome is Outcome.CORRECT:
                    findings.append(Finding(problem.id, "another's gold accepted", text, verdict))
                    break
    return findings


def _differ(one: object, other: object) -> bool:
    """Whether two answers surely differ: they are not the same data, text or mathematical value."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in (one, other)]
    return one != other and equivalent(*texts).outcome is not Outcome.CORRECT
