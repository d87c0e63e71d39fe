"""Worker processes beside this one: what runs there can neither hang nor crash whoever asked for it.

A worker is a fresh Python, started by exec and never a fork of a process that holds JAX. It gets work as pickles from
us, whom it trusts, and answers in JSON, which cannot harm us whatever ran there. `call` runs one function of ours in a
worker that all threads of this process share; `verifiers.Pool` has workers of its own for verifiers.
"""

from __future__ import annotations

import atexit
import collections
import functools
import json
import mmap
import os
import pickle
import queue
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from verifiers.plugins import attribute

if TYPE_CHECKING:
    from collections.abc import Callable

HARD_SECONDS = (
    3.0  # After which a worker is killed. A third of it, and the call is interrupted between two instructions.
)
BEGUN, SINCE = 0, 1  # What a worker shares with its owner: items begun in its life; from when on its time counts.
SHARED_BYTES = 16  # Two numbers of eight bytes, each of which is written at once.
_HEADER = struct.Struct(">I")
_START_SECONDS = 60.0  # A busy machine may take long to start a Python.
_END_SECONDS = 5.0  # A process that has hung up has ended soon after, or does something else.
_LOOK_SECONDS = 60.0  # How often the time that counts is looked at, at least.

inside = False  # Whether this process is a worker. `verifiers.worker` sets it, and
shared: memoryview[float] | None = None  # what a worker shares with its owner, where this is one.


class Broken(RuntimeError):
    """No result: the worker died, ran out of time, or the function raised. The message says which.

    Attributes:
      seconds: that it was waited for where time ran out; else 0.
    """

    def __init__(self, message: str, seconds: float = 0.0):
        super().__init__(message)
        self.seconds = seconds


def call(function: str, *arguments: Any, seconds: float = HARD_SECONDS) -> Any:
    """Runs a function of ours in the shared worker; directly where this process is a worker already.

    Args:
      function: "package.module:name".
      arguments: JSON data.
      seconds: of wall time before the worker is killed; a third of it before the call is interrupted.

    Returns:
      What the function returned: JSON data.

    Raises:
      Broken: there is no result, by no fault of the arguments: a function bounds its own work.
    """
    if inside:
        return bounded(function, json.loads(json.dumps(arguments)), seconds)
    return _shared.call(function, arguments, seconds)


def waits(seconds: float = 0.0) -> None:
    """Says, in a worker, that it waits for something that bounds itself; elsewhere nothing.

    The owner's clock stands still meanwhile, and starts anew when it is over: many steps, each within its limits, may
    take longer than one verdict else.

    Args:
      seconds: for which it will wait at most; 0 when it is over.
    """
    if shared is not None:
        shared[SINCE] = time.monotonic() + seconds  # The same clock in all processes.


def bounded(function: str, arguments: list[Any], seconds: float) -> Any:
    """Runs a function in a worker. It is interrupted after a third of the seconds, and where Python cannot look up
    from a long instruction, the whole process ends when it has computed for all of them. Only in the main thread."""
    soft = seconds / 3

    class Late(BaseException): ...

    def late(number: int, frame: object) -> None:
        raise Late

    run = attribute(function)
    timed = threading.current_thread() is threading.main_thread()
    if timed:
        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, soft)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF, which has no handler.
    try:
        return run(*arguments)
    except Late:
        raise Broken(f"{function} took more than {soft:g} s.") from None
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGALRM, before)


@functools.cache
def _starter(process: int) -> Callable[..., subprocess.Popen]:
    """`subprocess.Popen` in a thread that lives as long as this process: a worker dies with the thread that made it.
    No executor's: those end with the main thread, while others may still judge."""
    asked: queue.SimpleQueue[tuple[tuple, dict, queue.SimpleQueue]] = queue.SimpleQueue()

    def serve() -> None:
        while True:
            arguments, options, told = asked.get()
            try:
                told.put(subprocess.Popen(*arguments, **options))
            except (OSError, subprocess.SubprocessError, MemoryError) as error:
                told.put(error)

    def start(*arguments: Any, **options: Any) -> subprocess.Popen:
        told: queue.SimpleQueue = queue.SimpleQueue()
        asked.put((arguments, options, told))
        if isinstance(started := told.get(), Exception):
            raise started
        return started

    threading.Thread(target=serve, daemon=True, name="assay-starter").start()
    return start


def packed(*message: Any) -> bytes:
    """A message as `Worker.send` sends it."""
    data = pickle.dumps(message)
    return _HEADER.pack(len(data)) + data


class Worker:
    """A worker process and the connection to it, for one thread at a time.

    Raises:
      Broken: it cannot be started.
    """

    def __init__(self, memory_mb: int):
        try:
            self._begin(memory_mb)
        except OSError as error:  # No descriptors, no processes, no memory.
            raise Broken(f"No worker could be started: {error}") from error
        self.has: set[str] = set()  # Verifiers, by id, and functions, by name, that it has got.
        self.served = 0  # Verdicts that have come from it.
        try:
            self.resident_kb: int = self.receive(_START_SECONDS)  # When it was ready.
        except BaseException:  # Ctrl-C, too: nobody else knows the process.
            self.kill()
            raise

    def _begin(self, memory_mb: int) -> None:
        here, there = socket.socketpair()
        here.setblocking(False)
        memory = os.memfd_create("assay-progress", os.MFD_CLOEXEC)
        os.ftruncate(memory, SHARED_BYTES)
        self._shared = memoryview(mmap.mmap(memory, SHARED_BYTES)).cast("d")
        path = [os.path.abspath(entry) for entry in sys.path]
        program = (
            f"import sys; sys.path[:] = {path!r}; "
            f"from verifiers.worker import main; main({there.fileno()}, {memory}, {os.getpid()}, {memory_mb})"
        )
        self._socket = here
        self._poll = select.poll()  # Not select, which knows descriptors below 1024 only.
        self._poll.register(here, select.POLLIN)
        self._buffer = bytearray()
        self._unsent: collections.deque[memoryview] = collections.deque()
        try:
            self._process = _starter(os.getpid())(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=2,  # A verifier that prints is heard, and does not write into a table of ours.
                pass_fds=[there.fileno(), memory],
                env=_environment(),
            )
        finally:
            there.close()
            os.close(memory)

    def send(self, message: bytes) -> None:
        """Sends what `packed` made, as far as it goes; `receive` sends the rest. So none waits for the other to read.

        Raises:
          Broken: the worker is dead.
        """
        self._unsent.append(memoryview(message))
        self._flush()

    def receive(self, seconds: float) -> Any:
        """The next reply: JSON data.

        Raises:
          Broken: the worker died, said what is no JSON, or made no progress for so many seconds: no reply came, and
            nothing ended that it had said it `waits` for. It is dead then.
        """
        began = self._fill(_HEADER.size, time.monotonic(), seconds)
        end = _HEADER.size + _HEADER.unpack_from(self._buffer)[0]
        self._fill(end, began, seconds)
        try:
            reply = json.loads(self._buffer[_HEADER.size : end].decode())
        except (ValueError, RecursionError):
            self.kill()
            raise Broken("The worker that ran it said what is no JSON.") from None
        del self._buffer[:end]
        return reply

    def _fill(self, size: int, began: float, seconds: float) -> float:
        """Reads until the buffer holds so many bytes, and sends what is unsent. Returns from when on time counts."""
        while len(self._buffer) < size:
            left = max(began, self._shared[SINCE]) + seconds - time.monotonic()
            if left <= 0:
                self.kill()
                raise Broken(f"It made no progress for {seconds:g} s.", seconds)
            self._poll.modify(self._socket, select.POLLIN | select.POLLOUT * bool(self._unsent))
            events = sum(event for _, event in self._poll.poll(1000 * min(left, _LOOK_SECONDS)))
            if events & ~select.POLLOUT:  # It is read first: a dead worker's last words may be there.
                try:
                    data = self._socket.recv(1 << 16)
                except OSError:
                    data = b""
                if not data:
                    raise self._dead()
                self._buffer += data
            elif events:
                self._flush()
                began = time.monotonic()  # It reads.
        return began

    def _flush(self) -> None:
        """Sends what can be sent without waiting."""
        try:
            while self._unsent:
                rest = self._unsent[0][self._socket.send(self._unsent[0]) :]
                if rest:
                    self._unsent[0] = rest
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            raise self._dead() from None

    @property
    def begun(self) -> int:
        """How many items it has begun in its life, also those whose verdicts are still with it; of a dead one, too."""
        return int(self._shared[BEGUN])

    def alive(self) -> bool:
        """Whether it has not died since the last reply."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kills the process; whoever waits for a reply finds it dead. From any thread."""
        self._process.kill()

    def _dead(self) -> Broken:
        """Why there is no more connection to the worker, and its end."""
        try:
            code = self._process.wait(_END_SECONDS)  # Before it is killed: then all would have been killed.
        except subprocess.TimeoutExpired:
            how = "closed its connection to us"
        else:
            how = f"was killed by {_signal(-code)}" if code < 0 else f"ended itself with exit code {code}"
        self.kill()
        return Broken(f"The worker that ran it {how}.")

    def kill(self) -> None:
        """Ends the process. May be called twice."""
        self._process.kill()
        self._process.wait()
        self._socket.close()


class _Shared:
    """The worker of `call`: started when it is first needed, and again after each death."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def call(self, function: str, arguments: tuple[Any, ...], seconds: float) -> Any:
        with self._lock:
            if self._worker is None or not self._worker.alive():
                self._worker = Worker(memory_mb=2048)
            worker = self._worker
            try:
                if function not in worker.has:  # Importing what it needs is not counted.
                    worker.send(packed("load", function))
                    worker.receive(_START_SECONDS)
                    worker.has.add(function)
                worker.send(packed("call", function, json.dumps(arguments), seconds))
                reply = worker.receive(seconds)
            except BaseException as error:  # Also Ctrl-C: the reply that still comes is none to the next call.
                worker.kill()
                self._worker = None
                if isinstance(error, Broken):
                    raise Broken(f"{function}: {error}") from None
                raise
        if "error" in reply:
            raise Broken(reply["error"])
        return reply["value"]

    def close(self) -> None:
        if self._worker is not None:
            self._worker.kill()
        self._worker = None


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _environment() -> dict[str, str]:
    """No secrets; the same numbers in every process; no second arithmetic behind sympy's."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ
    }
    return kept | {
        "MPMATH_NOGMPY": "1",
        "SYMPY_GROUND_TYPES": "python",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _forget() -> None:
    """A forked child has a worker of its own, and a lock: a thread that it has not may hold the parent's."""
    global _shared
    _shared = _Shared()


_shared = _Shared()
atexit.register(lambda: _shared.close())
os.register_at_fork(after_in_child=_forget)
