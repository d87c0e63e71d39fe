"""The verifier of programs: it runs them in the sandbox, and keeps the expected values out of their reach."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any, Literal

from verifiers.judging import calls, checks, fences, stdio
from verifiers.judging.reports import Report
from verifiers.judging.tasks import NoTaskError, Task, read
from verifiers.sandbox import levels
from verifiers.sandbox.types import DEFAULT, Limits
from verifiers.types import Outcome, Problem, Verdict


def code(
    problem: Problem,
    completion: str,
    *,
    score: Literal["all", "share"] = "all",
    level: str = "auto",
    allow_spoofable: bool = False,
) -> Verdict:
    """Correct iff the program in the completion passes the problem's tests, run in the sandbox.

    The program is the last closed code fence after the thinking, else the whole text; the problem's prompt precedes
    it where it does not define the entry point. The process that holds it never sees an expected value, so whatever
    it says is only a claimed answer. A crash, a syntax error and a forbidden system call are incorrect.

    Args:
      problem: `answer` is `{"mode": "stdio", "tests": [{"stdin": s, "stdout": s}]}`, `{"mode": "calls" | "check",
        "setup": s, "tests": ["assert f(1) == 2", ...], "entry_point": s}` or HumanEval's `{"prompt", "test",
        "entry_point"}`, with optional "limits" (of `sandbox.Limits`), "language" and, for stdio, "checker" or
        "tolerance". Without a mode it is calls if all tests are literal, else check.
      completion: what the policy wrote.
      score: the reward: 1 for all tests and else 0, or the share of tests that pass.
      level: the isolation that is asked for, as in `sandbox.run`; a remote one for the mode stdio only.
      allow_spoofable: judge the mode "inprocess", where program and tests share a process that a program can deceive.
        Not for training.

    Returns:
      A verdict whose `info` names the mode, the isolation level, the number of tests and the first that failed.

    Raises:
      ValueError: `score` is neither.
      SandboxUnavailable: the isolation cannot be had here.
    """
    if score not in ("all", "share"):
        raise ValueError(f"score must be 'all' or 'share', got {score!r:.40}.")
    try:
        task = _task(_key(problem.answer))
        limits = _limits(task.limits)
    except NoTaskError as error:
        return Verdict(0, Outcome.ERROR, reason=str(error)[:300])
    if task.mode == "inprocess" and not allow_spoofable:
        why = "the mode 'inprocess' can be deceived by the program: use 'check', or ask for allow_spoofable=True"
        return Verdict(0, Outcome.ERROR, reason=why)
    found = fences.program(completion)
    if found is None:
        return Verdict(0, Outcome.UNPARSED, reason="the completion holds no program")
    program = found
    if task.prompt and task.entry_point and not fences.defines(found, task.entry_point):
        program = task.prompt + found
    report = _judged(task, program, limits, level, go_on=score == "share")
    return _verdict(task, found, report, share=score == "share")


def _key(answer: Any) -> str:
    try:
        return json.dumps(answer)
    except (TypeError, ValueError, RecursionError) as error:
        raise NoTaskError(f"the problem's answer is no JSON data: {error}") from None


@functools.lru_cache(maxsize=2048)  # The members of a group, and the steps of a run, ask again.
def _task(answer: str) -> Task:
    return read(json.loads(answer))


def _limits(given: Mapping[str, Any]) -> Limits:
    known = [field.name for field in dataclasses.fields(Limits)]
    if unknown := sorted(given.keys() - set(known)):
        raise NoTaskError(f"the problem's limits have unknown names {unknown}; known are {', '.join(known)}")
    try:
        return Limits(**given) if given else DEFAULT
    except ValueError as error:
        raise NoTaskError(f"the problem's limits: {error}") from None


def _judged(task: Task, program: str, limits: Limits, level: str, *, go_on: bool) -> Report:
    """The report; where the sandbox failed, that of a second try, on a fresh slot."""
    report = _tried(task, program, limits, level, go_on=go_on)
    if report.status == "error":
        report = _tried(task, program, limits, level, go_on=go_on)
    return report


def _tried(task: Task, program: str, limits: Limits, level: str, *, go_on: bool) -> Report:
    if task.mode == "stdio":
        return stdio.judge(task, program, limits, level, go_on=go_on)
    if task.mode == "calls":
        return calls.judge(task, program, limits, level)
    if task.mode == "check":
        return checks.judge(task, program, limits, level, go_on=go_on)
    return checks.judge_in_one_process(task, program, limits, level)


def _verdict(task: Task, found: str, report: Report, *, share: bool) -> Verdict:
    execution, count = report.execution, len(report.passed)
    info: dict[str, Any] = {"mode": task.mode, "level": execution.level, "tests": count, "passed": sum(report.passed)}
    if execution.violation:
        info["violation"] = str(execution.violation)[:200]
    if task.mode == "inprocess":
        info["spoofable"] = True
    failed = report.status == "judged" and not all(report.passed)
    lacked = levels.lacked(execution.level, report.why) if failed else ""
    answer, why = found.strip()[:2000], (lacked or report.why or "the program ended before it answered")[:300]
    if report.status == "error" or lacked:
        return Verdict(0, Outcome.ERROR, answer, f"could not be judged: {why}"[:300], info=info)
    if report.failing is not None:
        info["failing"] = report.failing
    passes = sum(report.passed) / count if report.status != "violation" else 0.0
    if report.status == "judged" and passes == 1:
        return Verdict(1, Outcome.CORRECT, answer, f"all {count} tests pass", {"tests": 1.0}, info)
    outcome = Outcome.LIMIT if report.status == "limit" else Outcome.INCORRECT
    return Verdict(passes if share else 0.0, outcome, answer, why, {"tests": passes}, info)
