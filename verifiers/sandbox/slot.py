"""One fork-server, seen from the judge: started, handed programs one at a time, ended."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from verifiers import isolated
from verifiers.sandbox.monitor import Usage, held_up
from verifiers.sandbox.types import CANCELLED, DEFAULT, Execution, Limits

LEVELS = ("namespaces", "landlock", "seccomp")  # The safe ones, best first.
GRACE = 30.0  # Seconds that a fork-server has to answer, beyond the limits of the program.
# Modules that run inside jails, beside or in place of a program: see `Pool.open`.
HARNESSES = ("verifiers.sandbox.notebook", "verifiers.judging.inside")
# What programs often import. Each module makes every fork dearer, so the list is short.
PRELOAD = """
    abc array base64 bisect calendar cmath collections contextlib copy csv ctypes dataclasses datetime decimal enum
    fractions functools hashlib heapq io itertools json locale math numbers operator pprint queue random re secrets
    shutil signal sqlite3 statistics string struct tempfile textwrap threading time traceback types typing unicodedata
    uuid zlib _strptime inspect encodings.idna encodings.ascii encodings.latin_1
"""
# At the level `seccomp` nothing can be opened: what is not there at the start cannot be imported.
PRELOAD_MORE = """
    argparse ast asyncio binascii bz2 cmd codecs colorsys concurrent.futures.process concurrent.futures.thread
    configparser copyreg difflib dis email.message encodings.cp1252 encodings.utf_16 fileinput fnmatch getopt gettext
    glob graphlib gzip hmac html.parser importlib.resources ipaddress keyword linecache logging lzma mimetypes
    mmap multiprocessing.pool optparse os pathlib pickle pickletools platform plistlib quopri reprlib rlcompleter sched
    selectors shelve shlex socket stringprep symtable sysconfig timeit token tokenize trace unittest urllib.parse
    warnings weakref xml.dom.expatbuilder xml.dom.minidom xml.etree.ElementTree zipfile zoneinfo
"""
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "UV_USE_IO_URING": "0",  # Node.js would try it, and be killed.
}
PASSED_ON = ("LD_LIBRARY_PATH",)  # Some interpreters find their own library by it.
_SANDBOX = pathlib.Path(__file__).resolve().parent
_LIMITS = [field.name for field in dataclasses.fields(Limits)]
_serial = itertools.count()


class SlotFailed(RuntimeError):
    """The fork-server could not be started, or ended, or did not answer.

    `refused` says that the kernel, or whoever set this machine up, does not allow its jail.
    """

    def __init__(self, message: str, *, refused: bool = False):
        super().__init__(message)
        self.refused = refused


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What a jail is to run.

    Attributes:
      program: Python's text, or what a harness reads.
      stdin: standard input.
      files: name below the working directory → content.
      argv: run this instead of Python.
      entry: "module:function" of a harness.
      channels: descriptors that the program has as 3, 4, ...
      limits: what it may use up.
      keep: whether the next program finds its files.
      executable: files that may be executed.
      any_address: no limit of address space, for runtimes that reserve terabytes.
    """

    program: bytes
    stdin: bytes = b""
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    argv: Sequence[str] = ()
    entry: str = ""
    channels: Sequence[int] = ()
    limits: Limits = DEFAULT
    keep: bool = False
    executable: frozenset[str] = frozenset()
    any_address: bool = False


class Slot:
    """A running fork-server.

    Args:
      level: its isolation.
      python: the interpreter; this one, where it is empty.
      paths: folders that programs may read, and import from.
      preload: modules to import beforehand, besides the usual ones.

    Raises:
      SlotFailed: it could not be started.
    """

    def __init__(self, level: str, *, python: str = "", paths: Sequence[str] = (), preload: Sequence[str] = ()):
        self.level = level
        self.runs = 0
        self.extra = False  # Whether it stands beside another, for one job.
        self._log = -1
        try:
            self._begin(python, paths, preload)
        except OSError as error:  # No descriptors, no processes, no memory: in a moment there may be.
            if self._log >= 0:
                os.close(self._log)
            raise SlotFailed(f"the fork-server could not be started: {error}") from None
        try:
            answer = self.receive(GRACE)
            if "error" in answer:
                raise SlotFailed(answer["error"], refused=True)
            self.has_cgroup: bool = answer["cgroup"]
        except BaseException:  # Ctrl-C, too: nobody else knows the fork-server.
            self.close()
            raise

    def _begin(self, python: str, paths: Sequence[str], preload: Sequence[str]) -> None:
        level = self.level
        self._log = os.memfd_create("assay-log", os.MFD_CLOEXEC)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        config = {
            "level": level,
            "uid": 60001 + (os.getpid() * 31 + next(_serial)) % 5000,
            "landlock": level == "namespaces" and _has_landlock(),
            "paths": [os.path.realpath(path) for path in paths],
            "preload": [*(PRELOAD + PRELOAD_MORE * (level == "seccomp")).split(), *preload],
            "harnesses": HARNESSES,
        }
        command = [python or sys.executable, "-s", "-S", "-P", "-B", str(_SANDBOX / "zygote.py")]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), json.dumps(config)],
                pass_fds=[theirs.fileno()],
                env=ENVIRONMENT | {name: os.environ[name] for name in PASSED_ON if name in os.environ},
                cwd="/tmp" if level == "unsafe" else "/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
            )

    def start(self, job: Job) -> Running:
        """Hands it a program. The one before must have ended.

        Raises:
          SlotFailed: it is gone.
        """
        self.runs += 1
        owned: list[int] = []  # Standard input, the outputs, what is to run.
        limits = {name: getattr(job.limits, name) for name in _LIMITS}  # dataclasses.asdict copies deeply.
        request = {
            "limits": limits | {"any_address": job.any_address},
            "entry": job.entry,
            "keep": job.keep,
            "executes": bool(job.argv),
        }
        try:
            owned.append(_sealed(job.stdin) if job.stdin else os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            for name in ("stdout", "stderr"):
                owned.append(os.memfd_create(name, os.MFD_CLOEXEC))
            owned.append(_sealed(_payload(job)))
            socket.send_fds(self.control, [json.dumps(request).encode()], [*owned[:3], *job.channels, owned[3]])
        except BaseException as error:  # Ctrl-C, too: nobody else knows the descriptors.
            for descriptor in owned[1:3]:
                os.close(descriptor)
            if isinstance(error, OSError):
                raise SlotFailed(f"the fork-server could not be given the program: {error}") from None
            raise
        finally:
            for descriptor in (*owned[:1], *owned[3:]):
                os.close(descriptor)
        return Running(self, job, owned[1], owned[2])

    def ask(self) -> None:
        """Asks what the running program has used up; `receive` gives the answer, unless it has ended.

        Raises:
          SlotFailed: it is gone.
        """
        try:
            self.control.send(b"?")
        except OSError as error:
            raise SlotFailed(f"the fork-server has gone: {error}") from None

    def receive(self, seconds: float) -> dict:
        """The next message of the fork-server.

        Raises:
          SlotFailed: it is gone, or silent.
        """
        seconds = min(seconds, 1e6)  # poll(2) counts milliseconds in 31 bits.
        isolated.waits(seconds)  # What it waits for is within limits of its own.
        try:
            self.control.settimeout(seconds)
            message = self.control.recv(1 << 16)
        except TimeoutError:
            raise SlotFailed(f"the fork-server was silent for {seconds:.0f} s") from None
        except OSError as error:
            raise SlotFailed(f"the fork-server has gone: {error}") from None
        finally:
            isolated.waits()
        if not message:
            log = ""
            with contextlib.suppress(OSError):  # Somebody closes it just now.
                size = os.fstat(self._log).st_size
                log = os.pread(self._log, 2000, max(0, size - 2000)).decode(errors="replace").strip()
            raise SlotFailed(f"the fork-server has ended. {log}".strip())
        return json.loads(message)

    def has_ended(self) -> bool:
        """Whether the fork-server has let go of its end of the socket. Never waits."""
        poller = select.poll()
        poller.register(self.control, 0)  # That the other end is closed is always said.
        return bool(poller.poll(0))

    def abandon(self) -> None:
        """In a forked child: lets go of it without a word, since it is the parent's."""
        self.control.close()
        os.close(self._log)
        self._log = -1

    def close(self) -> None:
        """Ends it and all that it started. A second time does nothing."""
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)  # Wakes whoever waits for an answer.
        self.control.close()
        try:
            self._process.wait(10)  # The guard removes the cgroup first.
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        log, self._log = self._log, -1  # First: the pool and whoever waits may close it at once.
        if log >= 0:
            os.close(log)


class Running:
    """A program on its way in a slot."""

    def __init__(self, slot: Slot, job: Job, stdout: int, stderr: int):
        self.slot = slot
        self._job = job
        self._outputs = (stdout, stderr)
        self._execution: Execution | None = None
        self._answer: dict | None = None
        self._seconds = job.limits.wall_s + GRACE
        self.sound = True  # Whether its slot can serve again.
        self._ending = threading.Lock()  # A kill that comes late would meet the next program of the slot.

    def kill(self) -> None:
        """Ends it, if it still runs."""
        with self._ending:
            if self._execution is None:
                self._seconds = GRACE
                with contextlib.suppress(OSError):  # The slot has gone, and the program with it.
                    self.slot.control.send(b"k")

    def output(self, at: int, size: int, *, stderr: bool = False) -> bytes:
        """What it has written so far, from the byte `at` on, at most `size` bytes."""
        return os.pread(self._outputs[stderr], size, at)

    def size(self, *, stderr: bool = False) -> int:
        """How many bytes it has written so far."""
        return os.fstat(self._outputs[stderr]).st_size

    def usage(self) -> Usage | None:
        """What it has used up so far; None when it has ended.

        Raises:
          SlotFailed: the fork-server has gone, or is silent.
        """
        if self._answer is None and self._execution is None:
            self.slot.ask()
            answer = self.slot.receive(GRACE)
            if "usage" in answer:
                return Usage(*answer["usage"])
            self._answer = answer
        return None

    def wait(self) -> Execution:
        """What came of it, when it has ended.

        Raises:
          SlotFailed: the fork-server has gone, or is silent.
        """
        if self._execution is None:
            self.sound = False
            try:
                answer = self._answer
                while answer is None or "usage" in answer:  # Asked for by somebody who has not waited for it.
                    answer = self.slot.receive(self._seconds)
                execution = _judge(answer, self._job.limits, self.slot.level, *self._outputs)
                with self._ending:
                    self._execution = execution
                self.sound = answer["setup"] == "ok" or bool(answer["killed"])
            finally:
                self.discard()
        return self._execution

    def discard(self) -> None:
        """Lets go of its output."""
        for descriptor in self._outputs:
            if descriptor >= 0:
                os.close(descriptor)
        self._outputs = (-1, -1)


def _judge(answer: dict, limits: Limits, level: str, stdout: int, stderr: int) -> Execution:
    most = limits.output_kb * 1024
    sizes = [os.fstat(descriptor).st_size for descriptor in (stdout, stderr)]
    texts = [os.pread(descriptor, most, 0) for descriptor in (stdout, stderr)]
    code = answer["status"]
    by_signal = os.WTERMSIG(code) if os.WIFSIGNALED(code) else None
    status, reason, violation = _status(answer, limits, by_signal, sizes[0] > most, texts[1])
    return Execution(
        status=status,
        exit_code=None if by_signal else os.WEXITSTATUS(code),
        signal=by_signal,
        stdout=texts[0],
        stderr=texts[1],
        stdout_truncated=sizes[0] > most,
        stderr_truncated=sizes[1] > most,
        cpu_s=answer["cpu_s"],
        wall_s=answer["wall_s"],
        idle_s=answer["idle_s"],
        peak_memory_mb=answer["memory_kb"] / 1024,
        violation=violation,
        level=level,
        reason=reason,
    )


# What the last line of an uncaught exception says when a limit stood in the way. A program can say the same without
# having met one, and gains nothing: `limit` earns what `failed` earns.
_SPENT = (
    (b"MemoryError", "memory"),
    (b"OSError: [Errno 12]", "memory"),
    (b"OSError: [Errno 27]", "file_mb"),
    (b"OSError: [Errno 28]", "tmp_mb"),
    (b"OSError: [Errno 24]", "open files"),
    (b"BlockingIOError: [Errno 11]", "processes"),
    (b"RuntimeError: can't start new thread", "threads"),
)


def _status(
    answer: dict, limits: Limits, by_signal: int | None, flooded: bool, stderr: bytes
) -> tuple[str, str, str | None]:
    """Status, reason, violation."""
    killed, cpu = answer["killed"], answer["cpu_s"]
    if by_signal == signal.SIGSYS:
        what = "a system call that no honest program makes"
        return "violation", f"killed for {what}", what
    if killed == "cancelled":
        return "error", CANCELLED, None
    if answer["setup"] != "ok" and not killed:
        return "error", f"the jail could not be closed: {answer['setup'] or 'the child ended early'}", None
    if answer["machine_out_of_memory"] and not killed:
        return "error", "the machine ran out of memory", None
    if killed == "wall_s" and held_up(cpu, answer["idle_s"], answer["wall_s"], limits.idle_s):
        spent = f"{cpu:.1f} s of CPU and {answer['idle_s']:.1f} s idle"
        return "error", f"the machine was too busy: {limits.wall_s:g} s passed, with {spent}", None
    if killed in ("idle_s", "wall_s"):
        what = "idle_s" if answer["idle_s"] > limits.idle_s else killed
        return (
            "limit",
            f"{'idle for' if what == 'idle_s' else 'took'} more than {what} = {getattr(limits, what):g} s",
            None,
        )
    if killed == "cpu_s" or cpu > limits.cpu_s:
        return "limit", f"used more than cpu_s = {limits.cpu_s:g} s", None
    if killed == "memory_mb" or (answer["out_of_memory"] and (by_signal or answer["status"])):
        return "limit", f"used more than memory_mb = {limits.memory_mb}", None
    if flooded:
        return "limit", f"wrote more than output_kb = {limits.output_kb}", None
    if by_signal == signal.SIGXFSZ:
        return "limit", f"wrote a file larger than file_mb = {limits.file_mb}", None
    if by_signal:
        return "failed", f"ended by {_signal_name(by_signal)}", None
    if answer["status"] == 0:
        return "ok", "", None
    last = stderr.rstrip().rpartition(b"\n")[2]
    for start, limit in _SPENT:
        if last.startswith(start):
            return "limit", f"{limit}: {last[:200].decode(errors='replace')}", None
    code = os.WEXITSTATUS(answer["status"])
    return "failed", last[:200].decode(errors="replace") or f"exit code {code}", None


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _payload(job: Job) -> bytes:
    """What `driver` unpacks: the length of a header, the header (none for a mere program), the files, the program."""
    if not job.files and not job.argv:
        return bytes(4) + job.program
    files = [[name, 0o755 if name in job.executable else 0o644, len(content)] for name, content in job.files.items()]
    header = json.dumps({"files": files, "argv": list(job.argv)}).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *job.files.values(), job.program])


def _sealed(data: bytes) -> int:
    """A descriptor from which `data` can be read, and nothing be changed."""
    descriptor = os.memfd_create("assay", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _has_landlock() -> bool:
    from verifiers.sandbox import landlock

    try:
        return landlock.version() >= 1
    except OSError:
        return False
