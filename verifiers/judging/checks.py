"""The mode `check`: test code in one jail, the candidate in another, plain data between them; and both in one."""

from __future__ import annotations

import dataclasses
import hashlib
import os

from verifiers.judging import jails
from verifiers.judging.plain_data import dumps, loads
from verifiers.judging.reports import Report, reported
from verifiers.judging.tasks import Task, prelude, remote_names
from verifiers.sandbox.types import CANCELLED, Execution, Limits

ROOM = 1 << 18  # Bytes for the verdict of the tests' jail, and so much for each test:
PER_TEST = 16


def judge(task: Task, program: str, limits: Limits, level: str, *, go_on: bool) -> Report:
    """Runs the tests in a jail of their own. Their verdict leaves on a file that the candidate's jail never has.

    Args:
      go_on: run the tests after one that failed.
    """
    tests = [str(test) for test in task.tests]
    names, modules = remote_names(task)
    seed = hashlib.sha256("\0".join([task.prompt, task.setup, *tests]).encode("utf-8", "surrogatepass")).hexdigest()
    spec = dumps([seed, prelude(task), task.setup, names, modules, tests, go_on])
    # One idles while the other works, which is nobody's fault; who sleeps of its own keeps both waiting.
    patient = {"idle_s": limits.idle_s + limits.cpu_s, "wall_s": limits.wall_s + limits.cpu_s}
    longest = limits.wall_s + 2 * limits.cpu_s + 2  # The candidate may wait long for a core; its own limits see sleep.
    allowed = dataclasses.replace(limits, **patient), dataclasses.replace(limits, idle_s=longest, wall_s=longest)
    to_tests, to_candidate = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    room = ROOM + PER_TEST * len(tests)
    with jails.file(room) as result:
        candidate, tested = jails.two(
            ("serve", dumps([[], program]), (to_candidate[0], to_tests[1])),
            ("run_tests", spec, (to_tests[0], to_candidate[1], result)),
            allowed,
            level,
            close=(*to_tests, *to_candidate),
        )
        frames = jails.frames(result, room)
    return _verdict(frames, len(tests), candidate, tested, (allowed[0].idle_s, allowed[1].idle_s), limits.idle_s)


def _verdict(
    frames: list[bytes],
    count: int,
    candidate: Execution,
    tested: Execution,
    allowed: tuple[float, float],  # Seconds for which each alone may idle, and for which
    idle_s: float,  # both may at once.
) -> Report:
    # Whoever waits for the other idles: the machine's load on the one shows as the other's idling. What both idled at
    # once is their own.
    both = candidate.idle_s + tested.idle_s - candidate.wall_s
    for one, alone in zip((candidate, tested), allowed, strict=True):
        if one.status == "limit" and one.idle_s > alone and both <= idle_s:
            why = f"the machine was too busy: both idled for {max(0.0, both):.1f} s"
            return reported([], count, "", dataclasses.replace(one, status="error", reason=why))
    if candidate.status == "error" and candidate.reason == CANCELLED:  # By us, when the tests were done with it.
        candidate = dataclasses.replace(candidate, status="failed")
    if tested.status != "ok" or not frames:  # Not even the tests came to an end.
        broken = "violation" if tested.status == "violation" else "error"
        blamed = tested if tested.status == "limit" else dataclasses.replace(tested, status=broken)
        return reported([], count, "", candidate if candidate.status in ("error", "limit", "violation") else blamed)
    found = loads(frames[0])
    passed = [kind == "pass" for kind, _ in found]
    why = next((why for kind, why in found if kind != "pass"), "")
    if any(kind == "ours" for kind, _ in found):
        return reported(passed, count, "", dataclasses.replace(tested, status="error", reason=why))
    if all(passed) and len(passed) == count and candidate.status != "violation":
        return reported(passed, count, "", tested)  # What the candidate does once it is done does not count.
    limit = why.startswith(("MemoryError", "the program does not load: MemoryError"))
    return reported(passed[:count], count, why, candidate, limit=limit)


def judge_in_one_process(task: Task, program: str, limits: Limits, level: str) -> Report:
    """Runs program and tests in one process. A program that means to can pass: the verdict is spoofable."""
    request = dumps([[], program, task.setup, list(map(str, task.tests))])
    with jails.file(ROOM) as result:
        execution = jails.one("share_a_process", request, (result,), limits, level)
        frames = jails.frames(result, ROOM)
    try:
        found = [loads(frame) for frame in frames]
        passed = [kind == "pass" for kind, *_ in found[1:]]
        why = next((str(words[-1]) for kind, *words in found if kind not in ("pass", "ready")), "")[:300]
    except (ValueError, TypeError, LookupError, RecursionError):
        passed, why = [], "the program tampered with its verdict"
    count = max(len(task.tests), len(passed))  # Test cases of unittest come on top.
    return reported(passed, count, why, execution, limit=why.startswith("MemoryError"))
