"""A cgroup for each slot, where this machine lets us make one: memory and tasks of all that a program starts."""

from __future__ import annotations

import os
import pathlib
import time

_ROOT = pathlib.Path("/sys/fs/cgroup")
_PREFIX = "assay-"
_MB = 1 << 20


class Cgroup:
    """The folders of one cgroup (two in version 1), and open files of it, which stay writable in the jail.

    Args:
      memory: folder of the memory controller.
      tasks: folder of the controller of tasks; None where there is none.
      unified: whether this is version 2.
    """

    def __init__(self, memory: pathlib.Path, tasks: pathlib.Path | None, *, unified: bool):
        self.folders = [memory] if tasks in (None, memory) else [memory, tasks]
        self._most = _open(memory / ("memory.max" if unified else "memory.limit_in_bytes"), os.O_WRONLY)
        self._used = _open(memory / ("memory.current" if unified else "memory.usage_in_bytes"), os.O_RDONLY)
        self._events = _open(memory / ("memory.events" if unified else "memory.oom_control"), os.O_RDONLY)
        self._tasks = None if tasks is None else _open(tasks / "pids.max", os.O_WRONLY)
        swap = memory / "memory.swap.max"
        if unified and swap.exists():
            swap.write_text("0")
        self._base = -1  # Bytes that the fork-server itself takes.
        self._set = (0, 0)
        self._met = _open(memory / ("memory.events.local" if unified else "memory.failcnt"), os.O_RDONLY)
        self._counts = self._count()

    def join(self) -> None:
        """Moves this process in."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def limit(self, memory_mb: int, tasks: int) -> None:
        """Limits the next program. Costs nothing where the last one had the same limits."""
        if self._base < 0:
            self._base = int(os.pread(self._used, 64, 0))
        if (memory_mb, tasks) != self._set:
            os.pwrite(self._most, str(self._base + memory_mb * _MB).encode(), 0)
            if self._tasks is not None:
                os.pwrite(self._tasks, str(tasks + 1).encode(), 0)
            self._set = (memory_mb, tasks)

    def killed(self) -> bool:
        """Whether the kernel has killed a process since the last question, and for this limit: where a limit above
        it was met, or the machine's memory ran out, it is nobody's here."""
        before, self._counts = self._counts, self._count()
        return all(now > then for now, then in zip(self._counts, before, strict=True))

    def _count(self) -> tuple[int, int]:
        """Processes killed; how often the limit was met."""
        lines = os.pread(self._events, 4096, 0).decode().splitlines()
        killed = sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        lines = os.pread(self._met, 4096, 0).decode().splitlines()
        met = sum(int(line.split()[-1]) for line in lines if line.startswith("oom ") or line.isdigit())
        return killed, met

    def remove(self) -> None:
        """Removes the folders, when those inside have ended."""
        for folder in self.folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)


def create() -> Cgroup | None:
    """A new cgroup below our own; None where we may not make one."""
    name = f"{_PREFIX}{os.getpid()}"
    made: list[pathlib.Path] = []
    try:
        lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
        own = {
            kind: path.lstrip("/")
            for _, kinds, path in (line.split(":", 2) for line in lines)
            for kind in kinds.split(",")
        }
        unified = "memory" not in own
        if unified:
            parent = _ROOT / own[""]
            if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
                (parent / "cgroup.subtree_control").write_text("+memory +pids")
            parents = [parent]
        else:
            parents = [_ROOT / kind / own[kind] for kind in ("memory", "pids") if kind in own]
        for parent in parents:
            _sweep(parent)
            (parent / name).mkdir()
            made.append(parent / name)
        tasks = next((folder for folder in made if (folder / "pids.max").exists()), None)
        return Cgroup(made[0], tasks, unified=unified)
    except (OSError, KeyError, ValueError):
        for folder in made:
            folder.rmdir()
        return None


def _sweep(parent: pathlib.Path) -> None:
    """Removes what a guard that was killed could not remove."""
    for folder in parent.glob(_PREFIX + "*"):
        pid = folder.name.removeprefix(_PREFIX)
        if not pathlib.Path("/proc", pid).exists():
            try:
                folder.rmdir()
            except OSError:
                continue  # Another one was faster, or something still runs in it.


def _open(path: pathlib.Path, mode: int) -> int:
    return os.open(path, mode | os.O_CLOEXEC)
