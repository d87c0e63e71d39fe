"""The mode `calls`: a jail says what functions return, and we compare it with what they must."""

from __future__ import annotations

from typing import Any

from verifiers.judging import jails
from verifiers.judging.plain_data import decode, dumps, encode, loads, matches, truth
from verifiers.judging.reports import Report, reported
from verifiers.judging.tasks import Call, Task
from verifiers.sandbox.types import Limits

ROOM = 1 << 20  # Bytes for what the calls return, and so much for each byte that is expected:
PER_BYTE = 8


def judge(task: Task, program: str, limits: Limits, level: str) -> Report:
    """Runs the program once, with all calls; the expected values stay here."""
    calls = [call for call in task.tests if isinstance(call, Call)]
    asked = [[call.function, [encode(arg) for arg in call.args], _pairs(call)] for call in calls]
    expected = [len(dumps(encode(call.expected))) for call in calls]
    request = dumps([[task.setup], program, asked])
    room = min(ROOM + PER_BYTE * sum(expected), limits.file_mb << 20)
    with jails.file(room) as result:
        execution = jails.one("answer_calls", request, (result,), limits, level)
        frames = jails.frames(result, room)
    if not frames or frames[0] != b'["ready"]':
        name, why = _exception(frames[0]) if frames else ("", "")
        return reported([], len(calls), why, execution, limit=name == "MemoryError")
    passed, reason, memory = [], "", False
    for call, size, frame in zip(calls, expected, frames[1:], strict=False):
        good, why, name = _holds(call, frame, ROOM // 16 + PER_BYTE * size)
        passed.append(good)
        if not good and not reason:
            reason, memory = why, name == "MemoryError"
    return reported(passed, len(calls), reason, execution, limit=memory)


def _pairs(call: Call) -> list:
    return [[name, encode(value)] for name, value in call.kwargs.items()]


def _holds(call: Call, frame: bytes, longest: int) -> tuple[bool, str, str]:
    """Whether what came back is what must; why not; the exception, if it was one."""
    if len(frame) > longest:
        return False, f"{_said(call)} returned {len(frame)} bytes, far more than expected", ""
    try:
        kind, value, *_ = loads(frame)
        if kind != "v":
            name, why = _exception(frame)
            return False, f"{_said(call)} raised {why}", name
        if call.relation == "==":
            good = matches(call.expected, value)
        elif call.relation == "is":
            good = type(value) is type(call.expected) and value == call.expected
        else:
            good = truth(value) is (call.relation == "true")
        return good, "" if good else f"{_said(call)} returned {_shown(value)}, expected {_wanted(call)}", ""
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return False, f"{_said(call)} gave no readable answer", ""


def _exception(frame: bytes) -> tuple[str, str]:
    """The name of an exception, and a line on it."""
    try:
        kind, *words = loads(frame[:4000])
    except (ValueError, TypeError, RecursionError):
        return "", "something unreadable"
    if kind == "large":
        return "", "more data than allowed"
    name, why = [*map(str, words), "", ""][:2]
    return name, why[:300]


def _said(call: Call) -> str:
    args = [repr(arg) for arg in call.args] + [f"{name}={value!r}" for name, value in call.kwargs.items()]
    return f"{call.function}({', '.join(args):.80})"


def _wanted(call: Call) -> str:
    return f"{call.expected!r:.80}" if call.relation in ("==", "is") else f"something {call.relation}"


def _shown(value: Any) -> str:
    text = dumps(value)
    return f"{decode(value)!r:.80}" if len(text) < 400 and b'["o"' not in text else text[:80].decode()
