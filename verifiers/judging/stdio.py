"""The mode `stdio`: text in, text out, compared here, or by the problem's checker in a jail of its own."""

from __future__ import annotations

import dataclasses
import math

from verifiers.judging import jails
from verifiers.judging.plain_data import dumps, loads
from verifiers.judging.reports import Report, reported
from verifiers.judging.tasks import Io, Task
from verifiers.sandbox import levels
from verifiers.sandbox.types import Execution, Limits

_MOST_LIMITS = 3  # Tests that use up a limit, or fail in the time of so many, before the rest is taken to fail, too.


def judge(task: Task, program: str, limits: Limits, level: str, *, go_on: bool) -> Report:
    """Runs the program once for each test.

    Args:
      go_on: run the tests after one that failed.
    """
    passed: list[bool] = []
    decisive, reason, over = None, "", 0
    patience = _MOST_LIMITS * max(limits.cpu_s, limits.idle_s)  # A minute for each answer would be a way out.
    tests = [test for test in task.tests if isinstance(test, Io)]
    for test in tests:
        stdin = test.stdin.encode("utf-8", "surrogatepass")
        execution = jails.program(program, stdin, limits, task.language, level)
        why = "" if execution.status == "ok" else execution.reason
        if not why:
            why, checked = _wrong(task, test, execution, limits, level)
            execution = checked or execution
        if execution.status == "error":
            return reported(passed, len(tests), "", execution)
        passed.append(not why)
        if execution.status == "violation" or decisive is None or (why and not reason):
            decisive, reason = execution, f"test {len(passed)}: {why}"[:300] if why else ""
        over += execution.status == "limit"
        patience -= execution.cpu_s + execution.idle_s if why else 0  # Not wall time, in which the machine is seen.
        if (why and not go_on) or execution.status == "violation" or over == _MOST_LIMITS or patience < 0:
            break
    assert decisive is not None  # There is at least one test.
    return reported(passed, len(tests), reason, decisive)


def same_text(expected: bytes, got: bytes, tolerance: float = 0.0) -> bool:
    """Whether two outputs have the same lines, but for space at the ends of lines and of the text.

    Args:
      tolerance: if any, words that are numbers may differ by so much, absolutely or relatively.
    """
    ours, theirs = (data.rstrip().split(b"\n") for data in (expected, got))
    if len(ours) != len(theirs):
        return False
    if tolerance == 0:
        return all(one.rstrip() == other.rstrip() for one, other in zip(ours, theirs, strict=True))
    return all(
        len(one) == len(other) and all(_close(a, b, tolerance) for a, b in zip(one, other, strict=True))
        for one, other in ((a.split(), b.split()) for a, b in zip(ours, theirs, strict=True))
    )


def _close(expected: bytes, got: bytes, tolerance: float) -> bool:
    if expected == got:
        return True
    try:
        one, other = (float(word.decode("ascii")) if len(word) < 400 else math.nan for word in (expected, got))
    except ValueError:
        return False
    return math.isfinite(one) and abs(one - other) <= tolerance * max(1.0, abs(one))


def _wrong(task: Task, test: Io, execution: Execution, limits: Limits, level: str) -> tuple[str, Execution | None]:
    """What is wrong with an output, if anything; and the checker's execution, where that is what decided."""
    if execution.stdout_truncated:
        return "more output than allowed", None
    expected = test.stdout.encode("utf-8", "surrogatepass")
    if task.checker is None:
        if same_text(expected, execution.stdout, task.tolerance):
            return "", None
        return f"wrote {_shown(execution.stdout)}, expected {_shown(expected)}", None
    got = execution.stdout.decode("utf-8", "replace")
    with jails.file(1 << 12) as result:
        request = dumps([task.checker, test.stdin, got, test.stdout])
        checked = jails.one("run_checker", request, (result,), limits, level)
        frames = jails.frames(result, 1 << 12)
    kind, *words = loads(frames[0]) if checked.status == "ok" and frames else ("wrong", checked.reason)
    if kind == "v" and words[1:] and (lacked := levels.lacked(checked.level, words[1])):
        kind, words = "wrong", [lacked]
    if kind == "v":
        return "" if words[0] is True else f"the checker refuses {_shown(execution.stdout)} {words[1:]}", None
    if checked.status == "limit" or (checked.status == "failed" and checked.signal):
        return f"the checker cannot judge {_shown(execution.stdout)}: {checked.reason}", checked
    why = f"the problem's checker failed: {words[0]}"
    return why, dataclasses.replace(checked, status="error", reason=why)


def _shown(data: bytes) -> str:
    return repr(data[:80].decode("utf-8", "replace"))
