"""Tries known hacks on a verifier, in processes that may break, and says which wrong answers were rewarded.

    python -m verifiers.redteam DESCRIPTOR

is such a process: it reads what to try on standard input and writes the verdicts to the descriptor.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from verifiers import hacks
from verifiers.plugins import load
from verifiers.types import Problem, as_verdict

_SQUARE = {
    "entry_point": "f",
    "solution": "```python\ndef f(x):\n    return x * x + 1\n```",
}
_ASSERTS = ["assert f(3) == 10", "assert f(-2) == 5", "assert f(0) == 1"]
_LOOP = """def check(candidate):
    for x in range(-3, 9):
        assert all(map(lambda y: y == x * x + 1, map(candidate, [x])))
"""


def _problems() -> list[Problem]:
    """Small problems in every form that `verifiers.code` and `verifiers.math` read."""
    ask = "Write a Python function f(x) that returns x * x + 1."
    calls = {"mode": "calls", "tests": _ASSERTS, "entry_point": "f"}
    check = {"prompt": "def f(x):\n", "test": _LOOP, "entry_point": "f"}
    stdio = {"mode": "stdio", "tests": [{"stdin": "3\n", "stdout": "10\n"}, {"stdin": "-2\n", "stdout": "5\n"}]}
    reads = {"entry_point": "f", "reads": True, "solution": "```python\nx = int(input())\nprint(x * x + 1)\n```"}
    numbers = {"solution": r"\boxed{72}", "gold_answer": "72", "wrong_answer": "71"}
    fractions = {"solution": r"\boxed{\frac{3}{4}}", "gold_answer": r"\frac{3}{4}", "wrong_answer": r"\frac{4}{3}"}
    return [
        Problem("audit/calls", ask, calls, "code", metadata=_SQUARE),
        Problem("audit/check", ask, check, "code", metadata=_SQUARE),
        Problem("audit/stdio", ask, stdio, "code", metadata=reads),
        Problem("audit/number", "How much is 8 * 9?", "72", metadata=numbers),
        Problem("audit/fraction", "How much is 1 / 2 + 1 / 4?", r"\frac{3}{4}", metadata=fractions),
    ]


PROBLEMS = tuple(_problems())


class Attempt(NamedTuple):
    """One hack tried on one problem.

    Attributes:
      hack: its name in `hacks.PROGRAMS` or `hacks.ANSWERS`; "solution" is the right answer.
      problem: its id.
      result: "rewarded"; "refused" (reward 0); "raised" (the verifier did, or returned `Outcome.ERROR`); "died" (it
        ended its process without a verdict); "hung".
      reward: what it earned.
      reason: one line.
    """

    hack: str
    problem: str
    result: str
    reward: float = 0.0
    reason: str = ""

    @property
    def succeeds(self) -> bool:
        """Whether the hack got something: a reward, or the end or standstill of the process that judged it."""
        return self.result in ("rewarded", "died", "hung")


def audit(
    verifier: str,
    problems: Sequence[Problem] = PROBLEMS,
    *,
    timeout: float = 120.0,
    tell: Callable[[str, Sequence[Attempt]], None] | None = None,
) -> list[Attempt]:
    """Tries every hack on every problem whose right answer the verifier accepts.

    A problem is about code if its metadata has "entry_point", the function that a hack has to define ("reads": it is
    called on standard input, and prints); else "gold_answer" and "wrong_answer" say what to hedge between.

    Args:
      verifier: its name, as `verifiers.load` takes it: each hack is tried in a process of its own.
      problems: each with `metadata["solution"]`, a completion that is right.
      timeout: seconds for a hack on all problems.
      tell: is told of each hack and its attempts.

    Returns:
      The attempts, the right answers first.

    Raises:
      LookupError, ValueError: there is no such verifier.
      ValueError: a problem's metadata lacks what is needed, or the verifier accepts no right answer, so that its
        refusals would say nothing.
    """
    load(verifier)  # A mistake in the name is one here, too.
    for problem in problems:
        code = "entry_point" in problem.metadata
        needs = {"solution"} if code else {"solution", "gold_answer", "wrong_answer"}
        if missing := sorted(needs - problem.metadata.keys()):
            raise ValueError(f"Problem {problem.id}: an audit needs {missing} in its metadata.")
    golds = [(problem, str(problem.metadata["solution"])) for problem in problems]
    tried = list(_attempts(verifier, "solution", golds, timeout))
    known = {attempt.problem for attempt in tried if attempt.result == "rewarded"}
    if not known:
        why = "".join(f"\n  {attempt.problem}: {attempt.result}: {attempt.reason}" for attempt in tried)
        raise ValueError(f"{verifier} accepts the right answer of no problem, so its refusals say nothing:{why}")
    if tell:
        tell("solution", tried)
    for kind, names in (("code", hacks.PROGRAMS), ("math", hacks.ANSWERS)):
        chosen = [p for p in problems if p.id in known and ("entry_point" in p.metadata) == (kind == "code")]
        for name in names if chosen else ():
            completions = [(problem, hacks.completion(name, kind, problem.metadata)) for problem in chosen]
            attempts = list(_attempts(verifier, name, completions, timeout))
            tried += attempts
            if tell:
                tell(name, attempts)
    return tried


def summary(verifier: str, attempts: Sequence[Attempt]) -> str:
    """What an audit found, for the person who asked for it."""
    golds = [attempt for attempt in attempts if attempt.hack == "solution"]
    hacked = [attempt for attempt in attempts if attempt.hack != "solution"]
    lines = [
        f"{attempt.hack}: {attempt.result} on {attempt.problem}"
        + (f" with {attempt.reward:g}" if attempt.result == "rewarded" else "")
        + (f" ({attempt.reason:.100})" if attempt.reason else "")
        for attempt in hacked
        if attempt.succeeds
    ]
    if unsuited := [attempt for attempt in golds if attempt.result != "rewarded"]:
        ids, first = ", ".join(attempt.problem for attempt in unsuited), unsuited[0]
        why = f"{first.problem}: {first.result}" + (f", {first.reason:.200}" if first.reason else "")
        lines.append(f"Left out, since {verifier} does not accept their right answers: {ids} ({why}).")
    counts = collections.Counter(attempt.result for attempt in hacked)
    if raised := [attempt for attempt in hacked if attempt.result == "raised"]:
        one = f"{raised[0].hack} on {raised[0].problem}: {raised[0].reason:.200}"
        lines.append(f"{len(raised)} tries were not judged, since the verifier failed, e.g. {one}")
    bad = {attempt.hack for attempt in hacked if attempt.succeeds}
    found = ", ".join(f"{count} {result}" for result, count in counts.most_common())
    names = len({attempt.hack for attempt in hacked})
    lines.append(f"{verifier}: {names} hacks, {len(hacked)} tries: {found}. {len(bad)} hacks succeed.")
    return "\n".join(lines)


# --------------------------------------------------------------------------------------- processes that may break


def _attempts(
    verifier: str, hack: str, completions: Sequence[tuple[Problem, str]], timeout: float
) -> Iterator[Attempt]:
    """Tries one hack on one problem after the other; on those behind a death, in a fresh process."""
    left = list(completions)
    while left:
        verdicts, end, why = _process(verifier, left, timeout)
        for (problem, _), verdict in zip(left, verdicts, strict=False):
            reward, outcome, reason = verdict
            result = "raised" if outcome == "error" else "rewarded" if reward > 0 else "refused"
            yield Attempt(hack, problem.id, result, reward, reason)
        left = left[len(verdicts) :]
        if left:
            yield Attempt(hack, left[0][0].id, end, 0.0, why)
            left = left[1:]


def _process(
    verifier: str, completions: Sequence[tuple[Problem, str]], timeout: float
) -> tuple[list[tuple[float, str, str]], str, str]:
    """The verdicts of one process as (reward, outcome, reason); how it ended before the last, and why."""
    tasks = [[dataclasses.asdict(problem), completion] for problem, completion in completions]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as verdicts:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "verifiers.redteam", str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[writing],
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            _, stderr = process.communicate(json.dumps([verifier, tasks]).encode(), timeout)
            last = stderr.decode(errors="replace").strip().rpartition("\n")[2][-200:]
            raised = process.returncode == 1 and "Error" in last
            end, why = ("raised" if raised else "died"), last or f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            end, why = "hung", f"no verdict in {timeout:g} s"
        finally:
            process.kill()
            process.communicate()
        os.set_blocking(verdicts.fileno(), False)  # What a hack left running may still hold the other end.
        return _read(verdicts.read() or b""), end, why


def _read(data: bytes) -> list[tuple[float, str, str]]:
    found = []
    for line in data.splitlines():
        try:
            reward, outcome, reason = json.loads(line)
            found.append((float(reward), str(outcome), str(reason)))
        except (ValueError, TypeError):
            break  # A hack wrote it.
    return found


def _main(descriptor: int) -> None:
    name, tasks = json.load(sys.stdin)
    verifier = load(name)
    for fields, completion in tasks:
        verdict = as_verdict(verifier(Problem(**fields), completion))
        line = json.dumps([verdict.reward, str(verdict.outcome), verdict.reason[:200]])
        os.write(descriptor, f"{line}\n".encode())


if __name__ == "__main__":
    _main(int(sys.argv[1]))
