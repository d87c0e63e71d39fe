"""The fork-server of one slot: a fresh Python that builds a jail once, then forks a child into it for each program.

    python -s -S -P -B zygote.py CONTROL CONFIG

It is trusted, and never sees the text, the input or the output of a program: descriptors of them come over the socket
CONTROL and are handed on. Three processes: the guard, which outlives the owner by a moment and removes what is left;
the builder, which enters the namespaces; and the server, the first process there.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import time
import types
from collections.abc import Sequence

if __name__ == "__main__":  # Our modules are imported without the packages' fronts, and what those import.
    _sandbox = os.path.dirname(os.path.abspath(__file__))
    for _name, _folder in (("verifiers", os.path.dirname(_sandbox)), ("verifiers.sandbox", _sandbox)):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [_folder]

from verifiers.sandbox import cgroup, driver, kernel, landlock, namespaces, seccomp
from verifiers.sandbox.monitor import Monitor, Usage

# Descriptors: a program's from 0 on, the server's, and those of folders that programs still need.
MOVING, PARKED, KEPT = 300, 400, 600
LOOK_EVERY = 0.1  # Seconds.
MB = 1 << 20
LIMITED = (
    resource.RLIMIT_CPU,
    resource.RLIMIT_STACK,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_SIGPENDING,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_AS,
)
TO_THREADS = 128  # How many threads a program may have that may not start processes.


def interpreter_paths() -> list[str]:
    """What a running Python opens: its own files, and the shared libraries of the system."""
    own = [sys.base_prefix, sys.base_exec_prefix, os.path.dirname(os.__file__), os.path.realpath(sys.executable)]
    own = [path for path in own if path not in ("/usr", "/usr/local", "/")]
    own += [os.path.dirname(os.__file__), *(path for path in sys.path if os.path.isdir(path))]
    libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo"]
    return [*own, *libraries, "/etc/ld.so.cache", "/etc/localtime"]


class Server:
    """Forks children into the jail that it sits in.

    Args:
      control: the socket to the owner.
      config: see `slot.Slot`.
      group: this slot's cgroup, or None.
      tell: where the guard reads the number of this process, if it is another one than the guard started.
    """

    def __init__(self, control: socket.socket, config: dict, group: cgroup.Cgroup | None, tell: int):
        self.config = config
        self.level = config["level"]
        self.group = group
        self.kept = 0
        was_root = os.getuid() == 0
        self.proc = _park(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY))
        self.readable = [*interpreter_paths(), *config["paths"]]
        if self.level == "namespaces":
            self.readable += ["/usr", "/bin", "/sbin", "/etc/alternatives"]
            self.tmp = namespaces.folder_to_write(self.readable)
            os.environ["HOME"] = os.environ["TMPDIR"] = self.tmp
            namespaces.enter(self.readable, self.tmp, config["uid"], self.proc)
            if pid := os.fork():
                os.write(tell, str(pid).encode())
                os._exit(0)
            self.readable += ["/etc/passwd", "/etc/group"]  # Not those of the host.
            self.pid_namespace = _park(os.open("self/ns/pid", os.O_RDONLY, dir_fd=self.proc))
        elif self.level in ("landlock", "seccomp"):
            kept = self._open_unreachable()
            namespaces.drop_user(config["uid"])
            self._go_through(kept)
        os.close(tell)
        if self.level in ("namespaces", "landlock"):
            self._must_read([*sys.path, *config["paths"]])
        # The kernel counts per user, since Linux 5.14 per user of a namespace: this must be the slot's alone.
        version = tuple(int(part) for part in os.uname().release.split(".")[:2])
        self.counts_processes = version >= (5, 14) if self.level == "namespaces" else was_root and os.getuid() != 0
        self.control = socket.socket(fileno=_park(control.detach()))
        self.rules: int | None = None  # Of Landlock.
        self.tmp_mb = 0
        self.tmp_changed = 0
        if self.level == "landlock":
            self.rules = _park(landlock.ruleset(self.readable, (), namespaces.DEVICES))
        self._seal()

    # Where root's Python lies below a folder that only root can enter, it is reached through descriptors of it.

    def _open_unreachable(self) -> dict[str, int]:
        if os.getuid() != 0:
            return {}
        folders = [path for path in {*sys.path, *self.readable} if os.path.isdir(path)]
        return {path: os.open(path, os.O_PATH) for path in folders}

    def _go_through(self, folders: dict[str, int]) -> None:
        moved: dict[str, str] = {}
        for path, descriptor in sorted(folders.items()):
            if not os.access(path, os.R_OK | os.X_OK):
                kept = KEPT + self.kept
                os.dup2(descriptor, kept, inheritable=False)
                moved[path] = f"/proc/self/fd/{kept}"
                self.kept += 1
            os.close(descriptor)
        if not moved:
            return

        def there(path: str) -> str:
            for old in sorted(moved, key=len, reverse=True):
                if path == old or path.startswith(old + "/"):
                    return moved[old] + path[len(old) :]
            return path

        self.readable = [there(path) for path in self.readable]
        sys.path[:] = [there(path) for path in sys.path]
        sys.path_importer_cache.clear()
        for module in list(sys.modules.values()):
            path = vars(module).get("__path__")
            if isinstance(path, list):
                module.__path__ = [there(folder) for folder in path]

    def _must_read(self, paths: Sequence[str]) -> None:
        for path in paths:
            if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):
                raise OSError(f"{path} cannot be read by the user that programs run as: chmod -R o+rX {path}")

    def _seal(self) -> None:
        for limit in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
            resource.setrlimit(limit, (0, 0))
        hard = {limit: resource.getrlimit(limit)[1] for limit in LIMITED}
        self.most = {limit: sys.maxsize if most == resource.RLIM_INFINITY else most for limit, most in hard.items()}
        self.filters = {}
        if self.level == "unsafe":
            return
        if self.level == "namespaces":
            kernel.drop_bounding_set()
            kernel.prctl(kernel.SET_SECUREBITS, kernel.KEEP_NO_ROOT_POWERS)
        kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
        kernel.prctl(kernel.SET_DUMPABLE, 0)
        kernel.install_filter(seccomp.base())
        isolated = self.level == "namespaces"
        opens = self.level != "seccomp"
        self.filters = {
            (many, executes): seccomp.top(
                processes=many, executes=executes, writes=isolated, opens=opens, own_pid_namespace=isolated
            )
            for many, executes in ((False, False), (False, True), (True, True))
        }

    def serve(self) -> None:
        """Until the owner closes the socket."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(self.control, 1 << 16, 16)
            if not message:
                return
            if not descriptors:
                continue  # A question or a cancellation that came after the end.
            request = json.loads(message)
            self._prepare_tmp(request["limits"]["tmp_mb"])
            self.control.sendall(json.dumps(self._run(request, descriptors)).encode())
            if not request["keep"]:
                self._clean_tmp()

    def _prepare_tmp(self, megabytes: int) -> None:
        if self.level == "namespaces" and self.tmp_mb != megabytes:
            self._renew_tmp(megabytes)

    def _clean_tmp(self) -> None:
        """A new /tmp if anything was done to this one."""
        if self.level == "namespaces":
            space = os.statvfs(self.tmp)
            if space.f_files - space.f_ffree > 1 or os.stat(self.tmp).st_ctime_ns != self.tmp_changed:
                self._renew_tmp(self.tmp_mb)

    def _renew_tmp(self, megabytes: int) -> None:
        os.chdir("/")
        if self.tmp_mb:
            kernel.unmount(self.tmp)
        namespaces.fresh_tmp(self.tmp, megabytes)
        os.chdir(self.tmp)
        self.tmp_mb = megabytes
        self.tmp_changed = os.stat(self.tmp).st_ctime_ns
        if self.config["landlock"]:  # Rules hold for the mount that was there when they were made.
            if self.rules is not None:
                os.close(self.rules)
            self.rules = _park(landlock.ruleset(self.readable, [self.tmp], namespaces.DEVICES))

    def _run(self, request: dict, descriptors: Sequence[int]) -> dict:
        limits = request["limits"]
        if self.group:
            self.group.limit(limits["memory_mb"], limits["processes"] + TO_THREADS)
        kills = self._kills()
        started, start = os.pipe2(os.O_CLOEXEC)
        if self.level == "namespaces":
            kernel.unshare(kernel.NEWPID)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._become(request, descriptors, start)
        for descriptor in (*descriptors, start):
            os.close(descriptor)
        if self.level == "namespaces":
            kernel.setns(self.pid_namespace, kernel.NEWPID)
        pidfd = os.pidfd_open(pid)
        killed, usage = self._watch(pidfd, limits, began)
        _, status, used = os.wait4(pid, 0)
        out_of_memory = self.group is not None and self.group.killed()  # Asked each time: it counts from then on.
        wall = time.monotonic() - began
        setup = os.read(started, 500)
        for descriptor in (pidfd, started):
            os.close(descriptor)
        return {
            "status": status,
            "killed": killed,
            "setup": setup.decode(errors="replace"),
            "out_of_memory": out_of_memory and status != 0,
            "machine_out_of_memory": not out_of_memory and status == signal.SIGKILL and self._kills() > kills,
            "cpu_s": max(used.ru_utime + used.ru_stime, usage.cpu_s),
            "wall_s": wall,
            "idle_s": usage.idle_most_s,
            "memory_kb": used.ru_maxrss,
        }

    def _kills(self) -> int:
        """How many processes of this machine the kernel has killed for memory; 0 where it does not say."""
        try:
            file = os.open("vmstat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        except OSError:
            return 0
        try:
            lines = os.read(file, 1 << 16).decode().splitlines()
        finally:
            os.close(file)
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def _watch(self, pidfd: int, limits: dict, began: float) -> tuple[str, Usage]:
        """Waits for the end of a program, and brings it about when a limit is used up."""
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.register(self.control.fileno(), select.POLLIN)
        monitor = None
        usage = Usage()
        killed = ""
        while True:
            ready = [descriptor for descriptor, _ in poller.poll(LOOK_EVERY * 1000)]
            if pidfd in ready:
                return killed, monitor.look(time.monotonic(), ended=True) if monitor else usage
            message = self.control.recv(64) if ready else b"?"
            if message == b"?" and not killed:
                now = time.monotonic()
                monitor = monitor or Monitor(self.proc, pidfd, began)
                usage = monitor.look(now)
                killed = _used_up(usage, limits, now - began)
                if ready:
                    self.control.sendall(json.dumps({"usage": usage}).encode())
            elif message != b"?":
                killed = killed or "cancelled"
            if killed:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not message:
                os._exit(0)  # The owner has gone.

    def _become(self, request: dict, descriptors: Sequence[int], start: int) -> None:
        """In the child: gives up everything, then runs the program. Does not return."""
        try:
            limits = request["limits"]
            many = limits["processes"] > 1
            start = _park(start)
            for i, descriptor in enumerate(descriptors):
                os.dup2(descriptor, MOVING + i)
            for i in range(len(descriptors)):
                os.dup2(MOVING + i, i)
            os.setsid()
            kernel.prctl(kernel.SET_DEATH_SIGNAL, signal.SIGKILL)
            if self.group:
                self._offer_to_the_oom_killer()
            if self.level != "unsafe":
                kernel.drop_capabilities()
            if self.rules is not None:
                landlock.restrict(self.rules)
            os.closerange(len(descriptors), start)
            os.closerange(start + 1, KEPT)
            os.closerange(KEPT + self.kept, 4096)
            self._limit(limits)
            if self.filters:
                kernel.install_filter(seccomp.top_for(self.filters[many, many or request["executes"]], os.getpid()))
            os.write(start, b"ok")
            os.close(start)
        except (OSError, ValueError) as error:
            os.write(start, f"{type(error).__name__}: {error}".encode()[:500])
            os._exit(1)
        driver.run(request["entry"], len(descriptors) - 4)

    def _limit(self, limits: dict) -> None:
        many = limits["processes"] > 1
        # A backstop, by the kernel's ticks, which may run far ahead of the time that the server measures.
        seconds = 2 * math.ceil(limits["cpu_s"]) + 2
        biggest = max(limits["file_mb"] * MB, limits["output_kb"] * 1024 + 1)
        wanted = {
            resource.RLIMIT_CPU: seconds,
            resource.RLIMIT_STACK: 64 * MB,
            resource.RLIMIT_FSIZE: biggest,
            resource.RLIMIT_NOFILE: 256 if many else 64,
            resource.RLIMIT_SIGPENDING: 256,
        }
        if self.counts_processes:
            wanted[resource.RLIMIT_NPROC] = 1 + (limits["processes"] if many else TO_THREADS)
        if not limits["any_address"]:
            wanted[resource.RLIMIT_AS] = limits["address_mb"] * MB
        for limit, value in wanted.items():
            value = min(value, self.most[limit])
            resource.setrlimit(limit, (value, value))

    def _offer_to_the_oom_killer(self) -> None:
        """Rather than the server, which may be the largest: memory need not lie in any process, and among many
        small ones none is large."""
        kernel.prctl(kernel.SET_DUMPABLE, 1)  # Else its own file belongs to root.
        file = os.open("self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.proc)
        os.write(file, b"1000")
        os.close(file)
        kernel.prctl(kernel.SET_DUMPABLE, 0)


def _used_up(usage: Usage, limits: dict, wall: float) -> str:
    """The limit that is used up; "" where none is."""
    if usage.cpu_s > limits["cpu_s"]:
        return "cpu_s"
    if usage.idle_s > limits["idle_s"] and not usage.ready:
        return "idle_s"
    if usage.memory_mb > limits["memory_mb"]:
        return "memory_mb"
    return "wall_s" if wall > limits["wall_s"] else ""


def _park(descriptor: int) -> int:
    """Moves a descriptor out of the way of those of programs."""
    parked = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, PARKED)
    os.close(descriptor)
    return parked


def _guard(owner: int, server: int, group: cgroup.Cgroup | None) -> None:
    """Waits until the server or the owner ends; then sees to it that nothing is left of the server."""
    poller = select.poll()
    pidfd = os.pidfd_open(server)
    for descriptor in (owner, pidfd):
        poller.register(descriptor, select.POLLIN)
    poller.poll()
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(server, 0)
    if group:
        group.remove()


def _leave_the_program_first() -> None:
    """Where memory runs out, the program is to go. A worker of verifiers offers itself, as all in some pods do, and its
    children inherit that: then the server, which may be larger than a program in C, would go in its place."""
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            if int(file.read()) > 0:
                file.seek(0)
                file.write("0")
    except OSError:
        return  # Only root may go below what root has set.


def main() -> None:
    """See above."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Programs inherit it; Ray blocks signals in whoever starts this.
    control = socket.socket(fileno=int(sys.argv[1]))
    config = json.loads(sys.argv[2])
    owner = os.pidfd_open(os.getppid())
    sys.path += config["paths"]
    for name in config["preload"]:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # Not every Python was built with everything.
    for name in config["harnesses"]:
        importlib.import_module(name)
    driver.prepare()
    _leave_the_program_first()
    group = cgroup.create() if config["level"] != "unsafe" else None
    kernel.prctl(kernel.ADOPT_ORPHANS, 1)
    told, tell = os.pipe()
    builder = os.fork()
    if builder:
        control.close()
        os.close(tell)
        with os.fdopen(told) as file:
            pid = file.read()
        if pid:
            os.waitpid(builder, 0)
        _guard(owner, int(pid or builder), group)
        return
    os.close(told)
    os.close(owner)
    try:
        if group:
            group.join()
        server = Server(control, config, group, tell)
    except OSError as error:
        control.sendall(json.dumps({"error": str(error)}).encode())
        return
    gc.collect()
    gc.freeze()
    server.control.sendall(json.dumps({"ready": True, "cgroup": group is not None}).encode())
    server.serve()


if __name__ == "__main__":
    main()
    os._exit(0)
