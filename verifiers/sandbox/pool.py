"""Slots for several programs at once: the way by which programs get into the sandbox."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from verifiers.sandbox import languages, levels
from verifiers.sandbox.monitor import Usage
from verifiers.sandbox.slot import Job, Running, Slot, SlotFailed
from verifiers.sandbox.types import DEFAULT, Execution, Limits

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

RUNS_PER_SLOT = 1000  # Then a fresh one takes its place.


class Process:
    """A program that runs in a jail, started by `Pool.open`. A context manager: at the end of the block it is killed.

    Whoever opened it may wait for it, or not; `stdout` and `stderr` need no reader.
    """

    def __init__(self, pool: Pool, slot: Slot, running: Running):
        self._pool = pool
        self._slot: Slot | None = slot
        self._running = running

    def wait(self) -> Execution:
        """What came of it, when it has ended by itself, by its limits or by `kill`.

        Status "error" where the sandbox failed: try once more.
        """
        try:
            execution = self._running.wait()
        except SlotFailed as error:
            self._release(broken=True)
            return Execution("error", level=self._running.slot.level, reason=f"the sandbox failed: {error}")
        except BaseException:  # Ctrl-C, say. A place that is not given back is lost for good.
            self._release(broken=True)
            raise
        self._release(broken=not self._running.sound)
        lacked = levels.lacked(execution.level, execution.reason) if execution.status == "failed" else ""
        return dataclasses.replace(execution, status="error", reason=lacked) if lacked else execution

    def kill(self) -> None:
        """Ends it, if it still runs: its status is then "error", its reason `CANCELLED`."""
        self._running.kill()

    def output(self, at: int = 0, size: int = 1 << 20, *, stderr: bool = False) -> bytes:
        """What it has written so far, from the byte `at` on, at most `size` bytes. Before `wait` only."""
        return self._running.output(at, size, stderr=stderr)

    def size(self, *, stderr: bool = False) -> int:
        """How many bytes it has written so far. Before `wait` only."""
        return self._running.size(stderr=stderr)

    def usage(self) -> Usage | None:
        """Seconds of CPU, seconds idle and megabytes of memory so far; None when it has ended.

        Raises:
          SlotFailed: the fork-server has gone: `wait` says so too.
        """
        return self._running.usage()

    def _release(self, *, broken: bool) -> None:
        if self._slot is not None:
            slot, self._slot = self._slot, None
            self._pool.put(slot, broken=broken)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._slot is not None:
            self.kill()
            self.wait()


class Pool:
    """Runs programs, at most `workers` at once, from any thread.

    Slots are started when they are first needed, and kept. `with Pool(workers=2) as pool: pool.run("print(1)")`.

    Args:
      workers: how many programs run at once; the number of cores, where it is None.
      level: "auto" is the best safe level that this machine gives; "namespaces", "landlock", "seccomp" ask for one;
        "unsafe" isolates nothing.
      paths: folders (a virtual environment's site-packages) that programs may read, and import from.
      preload: modules that programs will find imported.
      python: the interpreter that runs them, 3.11 or later; this one, where it is empty.

    Raises:
      SandboxUnavailable: the level cannot be had. The message says what is missing and how to get it.
      ValueError: `workers` is no positive number, or there is no such level.
    """

    def __init__(
        self,
        workers: int | None = None,
        level: str = "auto",
        *,
        paths: Sequence[str | os.PathLike[str]] = (),
        preload: Sequence[str] = (),
        python: str = "",
    ):
        workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"Pool needs at least one worker, got workers={workers!r}.")
        self.workers = workers
        self._options = {"paths": [os.fspath(path) for path in paths], "preload": list(preload), "python": python}
        self.level = levels.choose(level)
        self._changed = threading.Condition()
        self._idle: list[Slot] = []
        self._all: set[Slot] = set()
        self._busy = 0
        self._closed = False
        self._owner = os.getpid()
        self.compiled = languages.Cache()
        self._threads: ThreadPoolExecutor | None = None

    # Slots.

    def take(self, *, extra: bool = False) -> Slot:
        """A slot, when one is free; for `put` to give back. An extra one takes no place among the workers."""
        with self._changed:
            while not extra and self._busy >= self.workers and not self._closed:
                self._changed.wait()
            self._must_be_open()
            self._busy += not extra
        try:
            slot = self._living() or Slot(self.level, **self._options)
        except BaseException:  # Ctrl-C, too: the place would be lost for good.
            self._gave_back(extra)
            raise
        slot.extra = extra
        with self._changed:
            self._all.add(slot)
        return slot

    def _living(self) -> Slot | None:
        """An idle slot. Those that have died meanwhile are ended: no program loses its try to one of them."""
        while True:
            with self._changed:
                slot = self._idle.pop() if self._idle else None
                if slot is None or not slot.has_ended():
                    return slot
                self._all.discard(slot)
            slot.close()

    def put(self, slot: Slot, *, broken: bool) -> None:
        """Gives a slot back; a broken one is ended."""
        worn = broken or slot.runs >= RUNS_PER_SLOT or self._closed
        with self._changed:
            if worn or len(self._idle) >= 2 * self.workers:
                self._all.discard(slot)
                worn = True
            else:
                self._idle.append(slot)
        self._gave_back(slot.extra)
        if worn:
            slot.close()

    def _gave_back(self, extra: bool) -> None:
        with self._changed:
            self._busy -= not extra
            self._changed.notify()

    def _must_be_open(self) -> None:
        if self._closed:
            raise RuntimeError("This pool is closed: make a new one.")
        if self._owner != os.getpid():
            raise RuntimeError("This pool belongs to the process that made it: a forked child makes its own.")

    # Programs.

    def open(
        self,
        program: str | bytes,
        *,
        channels: Sequence[int] = (),
        entry: str = "",
        stdin: str | bytes = b"",
        files: Mapping[str, str | bytes] | None = None,
        limits: Limits = DEFAULT,
        beside: Process | None = None,
    ) -> Process:
        """Starts a program in a jail and does not wait for it.

        Args:
          program: Python's text, run as `__main__`; or what the harness `entry` reads.
          channels: descriptors (ends of pipes, memory files) that the program finds as 3, 4, ... The caller closes
            his own copies when it suits him.
          entry: "package.module:function", of a module named in `slot.HARNESSES`: it is imported beforehand, and called
            in the jail as `function(program: bytes, channels: tuple[int, ...])` in place of running the program.
          stdin: standard input.
          files: name below the working directory → content.
          limits: what it may use up.
          beside: an open process of the same job. The new one then takes no place among the workers, so that two jails
            that need each other cannot wait for each other.

        Raises:
          SandboxUnavailable: the level lacks what is asked for.
          ValueError: the name of a file leads out of the working directory.
        """
        job = Job(_bytes(program), _bytes(stdin), _files(files), entry=entry, channels=tuple(channels), limits=limits)
        levels.must_offer(self.level, job)
        return self._start(job, extra=beside is not None)

    def _start(self, job: Job, *, extra: bool = False) -> Process:
        slot = self.take(extra=extra)
        try:
            return Process(self, slot, slot.start(job))
        except BaseException:  # Ctrl-C, too: the program may have begun.
            self.put(slot, broken=True)
            raise

    def attempt(self, job: Job) -> Execution:
        """One program; once more on a fresh slot, where the sandbox failed."""
        execution = Execution("error", level=self.level)
        for _ in range(2):
            try:
                execution = self._start(job).wait()
            except SlotFailed as error:
                execution = Execution("error", level=self.level, reason=f"the sandbox failed: {error}")
            if execution.status != "error":
                break
        return execution

    def run(
        self,
        program: str | bytes,
        *,
        stdin: str | bytes = b"",
        files: Mapping[str, str | bytes] | None = None,
        limits: Limits = DEFAULT,
        language: str = "python",
    ) -> Execution:
        """Runs one program to its end. See `sandbox.run`."""
        job = Job(_bytes(program), _bytes(stdin), _files(files), limits=limits)
        if language != "python":
            languages.find(language)
        try:
            levels.must_offer(self.level, job, language)
        except levels.SandboxUnavailable as error:
            return Execution("error", level=self.level, reason=str(error))
        if language == "python":
            return self.attempt(job)
        return languages.run(self, job, language)

    async def arun(self, program: str | bytes, **options: Any) -> Execution:
        """`run`, without blocking the event loop."""
        import asyncio  # Here: `import verifiers` does not wait for it.

        return await asyncio.get_running_loop().run_in_executor(self._executor(), lambda: self.run(program, **options))

    def map(self, programs: Iterable[str | bytes], **options: Any) -> list[Execution]:
        """`run` on each, `workers` at once; the results in the order of the programs."""
        return list(self._executor().map(lambda program: self.run(program, **options), programs))

    def _executor(self) -> ThreadPoolExecutor:
        import concurrent.futures

        with self._changed:
            self._must_be_open()
            if self._threads is None:
                self._threads = concurrent.futures.ThreadPoolExecutor(self.workers, "assay-sandbox")
            return self._threads

    def close(self) -> None:
        """Ends every slot, and what runs in it. In a forked child: lets go of them, since they are the parent's."""
        if self._owner != os.getpid():
            self._abandon()
            return
        with self._changed:
            self._closed = True
            slots, self._all, self._idle = list(self._all), set(), []
            self._changed.notify_all()
        for slot in slots:
            slot.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def _abandon(self) -> None:
        """Without the lock: a thread that a forked child has not may hold it."""
        self._closed = True
        slots, self._all = self._all, set()
        for slot in slots:
            slot.abandon()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)


def _files(files: Mapping[str, str | bytes] | None) -> dict[str, bytes]:
    checked = {}
    for name, content in (files or {}).items():
        if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
            raise ValueError(f"The name of a file must lead to below the working directory, got {name!r}.")
        checked[name] = _bytes(content)
    return checked
