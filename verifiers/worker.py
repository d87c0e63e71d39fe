"""What runs in a worker process: verifiers, and functions of ours that must be interruptible."""

from __future__ import annotations

import json
import marshal
import mmap
import os
import pickle
import resource
import signal
import socket
import struct
import time
from typing import Any

from verifiers import isolated
from verifiers.plugins import attribute
from verifiers.types import Outcome, Problem, Verdict, Verifier, as_verdict, described

_HEADER = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1
_HELD_NS = 20_000_000  # For so long verdicts are gathered: to send each alone takes longer than many take to make.
PLAIN = b"plain:"  # Before the marshalled fields of a problem; a pickle begins otherwise.


def main(descriptor: int, memory: int, parent: int, memory_mb: int) -> None:
    """Serves the process at the other end of the socket `descriptor` until it hangs up or dies.

    It is told of the items that were begun by the file `memory`, at once: verdicts may be a moment late.
    """
    import ctypes  # Here: this module is imported for `judge`, too.

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It died before.
        return
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # Where memory runs out, a verdict is lost and no run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; our end is his call.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size) if hard == resource.RLIM_INFINITY else (min(size, hard), hard))
    isolated.inside = True
    isolated.shared = shared = memoryview(mmap.mmap(memory, isolated.SHARED_BYTES)).cast("d")
    os.close(memory)
    os.set_inheritable(descriptor, False)  # What a verifier starts and leaves behind does not keep it open.
    connection = socket.socket(fileno=descriptor)
    stream = connection.makefile("rb")
    verifiers: dict[str, Any] = {}  # As pickles until they are needed: one that kills as it is loaded has an item then.
    begun = 0
    _reply(connection, _resident_kb())
    while header := stream.read(_HEADER.size):
        kind, *message = pickle.loads(stream.read(*_HEADER.unpack(header)))
        match kind:
            case "call":
                _reply(connection, _call(*message))
            case "load":
                _reply(connection, _load(message[0]))
            case "verify":
                new, items = message
                verifiers |= new
                held, since = [], time.perf_counter_ns()
                now = since
                for key, data, completion in items:
                    if now - since > _HELD_NS:
                        _reply(connection, {"verdicts": _rows(held)})
                        held, since = [], now
                    begun += 1
                    shared[isolated.BEGUN] = begun
                    if isinstance(verifiers[key], bytes):
                        verifiers[key] = _loaded(verifiers[key])
                    problem = _problem(data)
                    began = time.perf_counter_ns()
                    verdict, kept = _judged(verifiers[key], problem, completion)
                    now = time.perf_counter_ns()
                    held.append((verdict, kept, now - began))
                _reply(connection, {"verdicts": _rows(held), "resident_kb": _resident_kb()})


def judge(verifier: Verifier, problem: Problem, completion: str) -> Verdict:
    """The verdict of a verifier. Whatever it does wrong is an `ERROR` that names it: foreign code runs here."""
    try:
        return as_verdict(verifier(problem, completion))
    except BaseException as error:  # What test runners and timers raise is no Exception.
        if isinstance(error, KeyboardInterrupt) and not isolated.inside:  # Ctrl-C, which a worker does not hear.
            raise
        reason = f"{described(verifier)}: {type(error).__name__}: {error}"
        return Verdict(0.0, Outcome.ERROR, reason=reason[:500])


def _judged(verifier: Verifier | str, problem: Problem | str, completion: str) -> tuple[Verdict, str]:
    """A verdict, and its parts and info as text. In place of a verifier or a problem, the reason why there is none.

    They are text at once: whatever they hold, what is gathered with them can be sent and read, and who made them may
    change them before.
    """
    if isinstance(verifier, str) or isinstance(problem, str):
        reason = verifier if isinstance(verifier, str) else str(problem)
        return Verdict(0.0, Outcome.ERROR, reason=reason), ""
    verdict = judge(verifier, problem, completion)
    kept = json.dumps([dict(verdict.parts), dict(verdict.info)]) if verdict.parts or verdict.info else ""
    return verdict, kept


def _rows(held: list[tuple[Verdict, str, int]]) -> list[tuple[Any, ...]]:
    """Verdicts as JSON data. Their time is a whole number: a float with all its digits costs more than the rest."""
    return [(v.reward, v.outcome, v.answer, v.reason, kept, nanoseconds) for v, kept, nanoseconds in held]


def _load(function: str) -> str:
    """Imports what a function lies in, before its time is counted."""
    try:
        attribute(function)
    except (ImportError, LookupError, ValueError) as error:  # It comes again when the function is called.
        return str(error)
    return ""


def _call(function: str, arguments: str, seconds: float) -> dict[str, Any]:
    """What a function of ours returned, or why it did not."""
    try:
        return {"value": isolated.bounded(function, json.loads(arguments), seconds)}
    except Exception as error:  # It calls sympy, which may raise anything.
        return {"error": f"{function}: {type(error).__name__}: {error}"[:500]}


def _problem(data: bytes) -> Problem | str:
    """A problem, new for each completion: what a verifier does to it, the next one does not see. Or why there is none.

    To read plain data runs no code, and takes half the time.
    """
    if data.startswith(PLAIN):
        return Problem(*marshal.loads(data[len(PLAIN) :]))
    return _loaded(data)


def _loaded(data: bytes) -> Any:
    """What was pickled, or the reason why it cannot be had here."""
    try:
        return pickle.loads(data)
    except BaseException as error:  # To unpickle is to run the code of whoever wrote the verifier.
        return f"It could not be brought into a worker process: {type(error).__name__}: {error}"[:500]


def _reply(connection: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    connection.sendall(_HEADER.pack(len(data)) + data)


def _resident_kb() -> int:
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024
