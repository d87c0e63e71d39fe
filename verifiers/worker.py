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
from verifiers.types import Outcome, Problem, Verdict, Verifier, as_verdict, described, verdict_to_json

_HEADER = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1
_HELD_SECONDS = 0.005  # For so long verdicts are gathered: to send each alone takes a quarter of a quick one's time.
PLAIN = b"plain:"  # Before the marshalled fields of a problem; a pickle begins otherwise.


def main(descriptor: int, shared: int, parent: int, memory_mb: int) -> None:
    """Serves the process at the other end of the socket `descriptor` until it hangs up or dies.

    It is told of the items that were begun by the memory file `shared`, at once: verdicts may be a moment late.
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
    connection = socket.socket(fileno=descriptor)
    progress = mmap.mmap(shared, isolated.PROGRESS.size)
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
                problem, read = None, b""
                held, since = [], time.monotonic()
                for key, data, completion in items:
                    if time.monotonic() - since > _HELD_SECONDS:
                        _reply(connection, {"verdicts": held})
                        held, since = [], time.monotonic()
                    begun += 1
                    isolated.PROGRESS.pack_into(progress, 0, begun)
                    if isinstance(verifiers[key], bytes):
                        verifiers[key] = _loaded(verifiers[key])
                    if data != read:  # The completions of a problem come one after another.
                        problem, read = _loaded(data), data
                    held.append(_judged(verifiers[key], problem, completion))
                _reply(connection, {"verdicts": held, "resident_kb": _resident_kb()})


def judge(verifier: Verifier, problem: Problem, completion: str) -> Verdict:
    """The verdict of a verifier. Whatever it does wrong is an `ERROR` that names it: foreign code runs here."""
    try:
        return as_verdict(verifier(problem, completion))
    except (Exception, SystemExit) as error:
        reason = f"{described(verifier)}: {type(error).__name__}: {error}"
        return Verdict(0.0, Outcome.ERROR, reason=reason[:500])


def _judged(verifier: Verifier | str, problem: Problem | str | None, completion: str) -> list[Any]:
    """A verdict as JSON data. In place of a verifier or a problem, the reason why there is none.

    Its parts and info are text already: whatever they hold, what is gathered with them can be sent and read, and who
    made them may change them before.
    """
    began = time.perf_counter()
    if isinstance(verifier, str) or not isinstance(problem, Problem):
        reason = verifier if isinstance(verifier, str) else str(problem)
        verdict = Verdict(0.0, Outcome.ERROR, reason=reason)
    else:
        verdict = judge(verifier, problem, completion)
    seconds = time.perf_counter() - began
    *plain, parts, info, _ = verdict_to_json(verdict)
    return [*plain, json.dumps([parts, info]) if parts or info else "", seconds]


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


def _loaded(data: bytes) -> Any:
    """What was pickled, or the reason why it cannot be had here."""
    try:
        return Problem(*marshal.loads(data[len(PLAIN) :])) if data.startswith(PLAIN) else pickle.loads(data)
    except Exception as error:  # To unpickle is to run the code of whoever wrote the verifier.
        return f"It could not be brought into a worker process: {type(error).__name__}: {error}"[:500]


def _reply(connection: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    connection.sendall(_HEADER.pack(len(data)) + data)


def _resident_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024
