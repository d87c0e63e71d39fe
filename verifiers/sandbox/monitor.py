"""What a running program has used up so far, read from /proc."""

from __future__ import annotations

import os
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")
# More than this between two looks is not counted as idle: the server itself was kept from looking, by a machine
# that stood still for both of them.
_MOST = 0.2  # Seconds.


class Usage(NamedTuple):
    """Over all processes of a program, so far.

    Attributes:
      cpu_s: seconds of CPU.
      idle_s: seconds in which no thread ran and none waited for a core, at least: waits of several threads add up.
      idle_most_s: the same at most: of all waits only those of the thread that waited longest count. A program whose
        threads stand in each other's way cannot pass for one that a busy machine held up.
      memory_mb: resident memory now.
      ready: a thread is ready to run now, or waits for a disk: it does not idle.
    """

    cpu_s: float = 0.0
    idle_s: float = 0.0
    idle_most_s: float = 0.0
    memory_mb: float = 0.0
    ready: bool = False


class Monitor:
    """Looks at one program from time to time.

    The wall time between two looks, less the CPU time and the run-queue delay (linux/Documentation/scheduler/
    sched-stats.rst) that its threads gained, is idle time: the machine's load does not count as the program's.

    Args:
      proc: a descriptor of /proc.
      pidfd: of the program's first process.
      now: when it began, on the clock that `look` is given.
    """

    def __init__(self, proc: int, pidfd: int, now: float):
        self._proc = proc
        self._pid = _number(_read(proc, f"self/fdinfo/{pidfd}"), "Pid:")  # As this /proc counts.
        self._seen = now
        self._threads: dict[str, tuple[float, float]] = {}  # Seconds of CPU and of waiting for a core.
        self._usage = Usage()
        self._idle = _Idle()
        self._idle_most = _Idle()

    def look(self, now: float, *, ended: bool = False) -> Usage:
        """What it has used up by `now`. What cannot be read any more keeps its last value.

        Args:
          now: on the clock of the first look.
          ended: its first process has ended, and is there until somebody waits for it: how long it waited for a core
            at last shows now. The other threads have gone, with all that they did since the last look, so this one adds
            no idle time.
        """
        cpu = memory = 0.0
        ran = waited = longest = 0.0
        ready = False
        for pid in _family(self._proc, self._pid):
            stat = _stat(self._proc, f"{pid}/stat")
            statm = _read(self._proc, f"{pid}/statm").split()
            if len(stat) > 14:  # utime, stime, cutime, cstime
                cpu += sum(map(int, stat[11:15])) / _TICKS
            if len(statm) > 1:
                memory += int(statm[1]) * _PAGE / 2**20
            for thread in _folder(self._proc, f"{pid}/task"):
                ready = ready or _stat(self._proc, f"{pid}/task/{thread}/stat")[:1] in (["R"], ["D"])
                schedstat = _read(self._proc, f"{pid}/task/{thread}/schedstat").split()
                if len(schedstat) > 1:
                    before = self._threads.get(thread, (0.0, 0.0))
                    after = self._threads[thread] = (int(schedstat[0]) / 1e9, int(schedstat[1]) / 1e9)
                    ran += after[0] - before[0]
                    waited += after[1] - before[1]
                    longest = max(longest, after[1] - before[1])
        if self._threads:
            for idle, wait in ((self._idle, waited), (self._idle_most, longest)):
                seconds = now - self._seen - ran - wait
                idle.add(min(seconds, 0.0) if ended else seconds, ready)
        self._seen = now
        self._usage = Usage(max(cpu, self._usage.cpu_s), self._idle.seconds, self._idle_most.seconds, memory, ready)
        return self._usage


class _Idle:
    """Adds up idle time.

    A wait for a core shows when it has ended: what seemed idle while a thread was ready is taken back then.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._unsure = 0.0  # Of them, those since a look at which no thread was ready.

    def add(self, seconds: float, ready: bool) -> None:
        seconds = max(min(seconds, _MOST), -self._unsure)
        self.seconds += seconds
        self._unsure = self._unsure + seconds if ready else 0.0


def held_up(cpu_s: float, idle_s: float, wall_s: float, idle_limit_s: float) -> bool:
    """Whether the machine kept a program, which ran for `cpu_s` and idled for `idle_s` at most, so long as `wall_s`."""
    return idle_s <= idle_limit_s and wall_s - cpu_s - idle_s > wall_s / 10


def _family(proc: int, first: int) -> list[int]:
    found = [first]
    for pid in found:
        for thread in _folder(proc, f"{pid}/task"):
            found += map(int, _read(proc, f"{pid}/task/{thread}/children").split())
    return found


def _stat(proc: int, name: str) -> list[str]:
    """The fields after the name of a process or thread: its state first."""
    return _read(proc, name).rpartition(")")[2].split()


def _number(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), -1)


def _read(proc: int, name: str) -> str:
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return ""
    try:
        return os.read(file, 1 << 16).decode(errors="replace")
    except OSError:
        return ""  # It has gone in between.
    finally:
        os.close(file)


def _folder(proc: int, name: str) -> list[str]:
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return []
    try:
        return os.listdir(folder)
    except OSError:
        return []
    finally:
        os.close(folder)
