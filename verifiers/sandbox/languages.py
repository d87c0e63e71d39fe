"""Other languages than Python: how a program is compiled, and what runs it."""

from __future__ import annotations

import collections
import dataclasses
import os
import shutil
import threading
from typing import Protocol

from verifiers.sandbox.slot import Job, Slot, SlotFailed
from verifiers.sandbox.types import Execution, Limits


@dataclasses.dataclass(frozen=True, slots=True)
class Language:
    """Templates. The first word of each is a program of the system; the others are taken as they are.

    Attributes:
      source: the name under which the program's text is found.
      run: what runs it.
      compile: what makes the file "main" of it; empty where nothing need be compiled.
      processes: it needs so many processes and threads.
      any_address: its runtime reserves more address space than it uses.
    """

    source: str
    run: tuple[str, ...]
    compile: tuple[str, ...] = ()
    processes: int = 1
    any_address: bool = False


LANGUAGES = {
    "c": Language("main.c", ("./main",), ("gcc", "-O2", "-std=gnu17", "-o", "main", "main.c", "-lm")),
    "cpp": Language("main.cpp", ("./main",), ("g++", "-O2", "-std=gnu++17", "-o", "main", "main.cpp")),
    "javascript": Language("main.js", ("node", "main.js"), any_address=True),
    "bash": Language("main.sh", ("bash", "main.sh"), processes=32),
}
COMPILING = Limits(cpu_s=30, idle_s=10, wall_s=90, memory_mb=1024, address_mb=4096, file_mb=32, tmp_mb=64, processes=32)
_KEPT = 128  # Compiled programs.
_COPY = b"import os\nwith open('main', 'rb') as file:\n    os.sendfile(3, file.fileno(), 0, 1 << 30)\n"


class Runner(Protocol):
    """What a pool offers to those who run several jobs for one program."""

    level: str
    compiled: Cache

    def take(self) -> Slot:
        """A slot."""
        ...

    def put(self, slot: Slot, *, broken: bool) -> None:
        """Gives it back."""
        ...

    def attempt(self, job: Job) -> Execution:
        """Runs one job, twice where the sandbox fails."""
        ...


class Cache:
    """The last compiled programs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: collections.OrderedDict[tuple[str, bytes], bytes] = collections.OrderedDict()

    def get(self, key: tuple[str, bytes]) -> bytes | None:
        """What was kept under a key."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def keep(self, key: tuple[str, bytes], binary: bytes) -> None:
        """Keeps it, and lets go of the oldest."""
        with self._lock:
            self._found[key] = binary
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)


def find(name: str) -> Language:
    """The templates of a language.

    Raises:
      ValueError: there are none.
    """
    if name not in LANGUAGES:
        raise ValueError(f"There is no language {name!r}: use 'python', {', '.join(map(repr, LANGUAGES))}.")
    return LANGUAGES[name]


def missing(name: str) -> str:
    """The program of this machine that a language lacks; "" where it lacks none."""
    language = find(name)
    words = [template[0] for template in (language.compile, language.run) if template]
    return next((word for word in words if not word.startswith("./") and not _found(word)), "")


def run(runner: Runner, job: Job, name: str) -> Execution:
    """Compiles a program, unless it was compiled before, and runs it. A program that does not compile has failed."""
    language = find(name)
    if missing(name):
        return Execution("error", level=runner.level, reason=f"this machine has no {missing(name)}, for {name}")
    limits = job.limits
    if language.processes > limits.processes:
        limits = dataclasses.replace(limits, processes=language.processes)
    if language.compile:
        binary = runner.compiled.get((name, job.program))
        if binary is None:
            execution, binary = _compile(runner, language, job)
            if execution.status != "ok":
                return dataclasses.replace(execution, reason=_why(execution))
            runner.compiled.keep((name, job.program), binary)
        files = {**job.files, "main": binary}
        room = len(binary) // 2**20 + 1
        limits = dataclasses.replace(limits, tmp_mb=limits.tmp_mb + room, file_mb=max(limits.file_mb, room))
    else:
        files = {**job.files, language.source: job.program}
    return runner.attempt(
        dataclasses.replace(
            job,
            program=b"",
            files=files,
            argv=_command(language.run),
            limits=limits,
            executable=frozenset({"main"}),
            any_address=language.any_address,
        )
    )


def _compile(runner: Runner, language: Language, job: Job) -> tuple[Execution, bytes]:
    execution = Execution("error", level=runner.level)
    files = {**job.files, language.source: job.program}
    compiling = Job(b"", files=files, argv=_command(language.compile), limits=COMPILING, keep=True)
    for _ in range(2):
        slot, binary, broken = None, -1, True
        try:
            slot = runner.take()
            binary = os.memfd_create("main", os.MFD_CLOEXEC)
            running = slot.start(compiling)
            execution = running.wait()
            copied = slot.start(Job(_COPY, channels=(binary,), limits=COMPILING)).wait()
            broken = not running.sound or copied.status == "error"
            if execution.status == "ok" and copied.status != "ok":  # Half a binary would be the program's fault.
                execution = dataclasses.replace(copied, status="error", reason=f"not copied: {copied.reason}")
            if execution.status != "error":
                return execution, os.pread(binary, os.fstat(binary).st_size, 0)
        except (SlotFailed, OSError) as error:
            execution = Execution("error", level=runner.level, reason=f"the sandbox failed: {error}")
        finally:
            if binary >= 0:
                os.close(binary)
            if slot is not None:
                runner.put(slot, broken=broken)
    return execution, b""


def _why(execution: Execution) -> str:
    if execution.status != "failed":
        return execution.reason
    lines = execution.stderr.decode(errors="replace").splitlines()
    return f"does not compile: {next((line for line in lines if 'error' in line), execution.reason)}"


def _found(word: str) -> str:
    """Where a program lies, in the folders that the jail has."""
    return shutil.which(word, path="/usr/local/bin:/usr/bin:/bin") or ""


def _command(template: tuple[str, ...]) -> tuple[str, ...]:
    first = template[0] if template[0].startswith("./") else _found(template[0])
    return (first, *template[1:])
