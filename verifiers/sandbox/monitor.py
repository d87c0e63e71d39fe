"""What a running program has used up so far, read from /proc."""

from __future__ import annotations

import os
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")
# A thread's delay becomes visible when it runs again, so one look shows idling that the next takes back. More than
# this is not taken back: many threads at once must not save up for a sleep.
_CREDIT = 0.5  # Seconds.


class Usage(NamedTuple):
    """Over all processes of a program, so far.

    Attributes:
      cpu_s: seconds of CPU.
      idle_s: seconds in which no thread ran and none waited for a core.
      memory_mb: resident memory now.
    """

    cpu_s: float = 0.0
    idle_s: float = 0.0
    memory_mb: float = 0.0


class Monitor:
    """Looks at one program from time to time.

    The wall time between two looks, less the CPU time and the run-queue delay (linux/Documentation/scheduler/
    sched-stats.rst) that all its threads gained, is idle time: the machine's load does not count as the program's.

    Args:
      proc: a descriptor of /proc.
      pidfd: of the program's first process.
      now: when it began, on the clock that `look` is given.
    """

    def __init__(self, proc: int, pidfd: int, now: float):
        self._proc = proc
        self._pid = _number(_read(proc, f"self/fdinfo/{pidfd}"), "Pid:")  # As this /proc counts.
        self._seen = now
        self._busy: dict[str, float] = {}  # Seconds of CPU and of waiting for a core, by thread.
        self._usage = Usage()
        self._credit = 0.0

    def look(self, now: float) -> Usage:
        """What it has used up by `now`. What cannot be read any more keeps its last value."""
        cpu = memory = 0.0
        before = sum(self._busy.values())
        for pid in _family(self._proc, self._pid):
            stat = _read(self._proc, f"{pid}/stat").rpartition(")")[2].split()
            statm = _read(self._proc, f"{pid}/statm").split()
            if len(stat) > 14:  # utime, stime, cutime, cstime
                cpu += sum(map(int, stat[11:15])) / _TICKS
            if len(statm) > 1:
                memory += int(statm[1]) * _PAGE / 2**20
            for thread in _folder(self._proc, f"{pid}/task"):
                schedstat = _read(self._proc, f"{pid}/task/{thread}/schedstat").split()
                if len(schedstat) > 1:
                    self._busy[thread] = (int(schedstat[0]) + int(schedstat[1])) / 1e9
        idle = self._usage.idle_s
        if self._busy:
            idled = now - self._seen - (sum(self._busy.values()) - before) + self._credit
            idle += max(0.0, idled)
            self._credit = min(0.0, max(idled, -_CREDIT))
        self._seen = now
        self._usage = Usage(max(cpu, self._usage.cpu_s), idle, memory)
        return self._usage


def _family(proc: int, first: int) -> list[int]:
    found = [first]
    for pid in found:
        for thread in _folder(proc, f"{pid}/task"):
            found += map(int, _read(proc, f"{pid}/task/{thread}/children").split())
    return found


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
