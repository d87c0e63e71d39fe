"""Which isolation this machine gives: tried, proved by a few hostile programs, or refused with what is missing."""

from __future__ import annotations

import pathlib
import platform
import re
import sys

from verifiers.sandbox.slot import LEVELS, Job, Slot, SlotFailed
from verifiers.sandbox.types import Limits, SandboxUnavailable

# What each level gives to a program.
FEATURES = {
    "namespaces": frozenset({"imports", "files", "tmp", "processes", "languages"}),
    "landlock": frozenset({"imports"}),
    "seccomp": frozenset(),
    "unsafe": frozenset({"imports", "processes"}),
}

# What an uncaught exception says where a level lacks a feature. A program can raise one of that kind without having
# wanted the feature, and is then not judged either: it could as well have wanted it.
_LACKING = (
    ("tmp", r"PermissionError\b.*\[Errno 13\]"),
    ("tmp", r"FileNotFoundError\b.*No usable temporary directory"),
    ("tmp", r"OperationalError\b.*unable to open database file"),
    ("imports", r"ModuleNotFoundError\b.*No module named '(?P<module>\w+)"),
    ("imports", r"Error\b.*unsupported locale setting"),
)
# What a judge says before the exception; a value that holds such words is a wrong answer as others are.
_RAISED = r"(?:\w+\((?:(?!\) returned ).)*\) raised |the program does not load: |RuntimeError: )?(?:\w+\.)*"

# Each prints "contained" and nothing else where the jail holds.
_PROOFS = {
    "reads a file of the host": """
import os
try: print(open("/etc/shadow").read() and "open" or "open")
except OSError: print("contained")""",
    "writes beside its Python": """
import os
try: open(os.__file__, "ab"); print("open")
except OSError: print("contained")""",
    "opens a socket": """
import socket
try: socket.socket(); print("open")
except OSError: print("contained")""",
    "starts a process": """
import os
try: os.fork(); print("open")
except OSError: print("contained")""",
    "reads the memory of others": """
import os
try: open("/proc/%d/mem" % max(1, os.getppid()), "rb"); print("open")
except OSError: print("contained")""",
    "raises its limits": """
import resource
try: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); print("open")
except (OSError, ValueError): print("contained")""",
}
_known: dict[str, str] = {}  # What `why_not` has found out, by level.
_KILLED = 'import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)\nprint("open")'


def is_remote(level: str) -> bool:
    """Whether it is the URL of a server."""
    return level.startswith(("http://", "https://"))


def choose(level: str) -> str:
    """The level to use: for "auto" the best that holds here.

    Raises:
      SandboxUnavailable: it does not hold here. The message says what is missing and how to enable it.
      ValueError: there is no such level.
    """
    if level == "unsafe":
        return level
    if is_remote(level):
        raise SandboxUnavailable(
            f"A remote sandbox ({level}) runs whole programs only: tests of the mode 'stdio', and no sessions."
        )
    if level not in (*LEVELS, "auto"):
        raise ValueError(f"There is no level {level!r}: use 'auto', {', '.join(map(repr, LEVELS))}, 'unsafe' or a URL.")
    missing = {}
    for tried in LEVELS if level == "auto" else [level]:
        missing[tried] = why_not(tried)
        if not missing[tried]:
            return tried
    reasons = "\n".join(f"  {name}: {reason}" for name, reason in missing.items())
    raise SandboxUnavailable(
        f"No isolation for model-written code{'' if level == 'auto' else f' at the level {level!r}'}:\n{reasons}\n"
        "level='unsafe' runs it without any, with all that this user may do."
    )


def why_not(level: str) -> str:
    """Why a safe level cannot be had here; "" where it can. Tried until it is known, then remembered."""
    if level not in _known:
        reason, known = _try(level)
        if not known:
            return reason
        _known[level] = reason
    return _known[level]


def _try(level: str) -> tuple[str, bool]:
    """Why not, and whether that is known: a machine that was too busy need not be at the next try."""
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}: give the URL of a remote sandbox as the level", True
    if platform.machine() not in ("x86_64", "aarch64"):
        return f"needs x86_64 or aarch64, this is {platform.machine()}", True
    reason, known = "", True
    for _ in range(2):  # A weaker level is no answer to a failure that will not come again.
        try:
            reason, known = _prove(level), True
        except SlotFailed as error:
            reason, known = f"{error}. {_advice(level)}" if error.refused else str(error), error.refused
        if not reason:
            break
    return reason, known


def _prove(level: str) -> str:
    """Why a jail does not hold; "" where it does. Raises SlotFailed where there is none, or its program was not run."""
    slot = Slot(level)
    try:
        for what, program in _PROOFS.items():
            execution = slot.start(Job(program.encode(), limits=Limits(cpu_s=5))).wait()
            if execution.status == "error":
                raise SlotFailed(execution.reason)
            if execution.stdout != b"contained\n":
                found = execution.stdout.decode(errors="replace").strip() or execution.reason
                return f"a program that {what} was not contained ({found})"
        execution = slot.start(Job(_KILLED.encode())).wait()
        if execution.status == "error":
            raise SlotFailed(execution.reason)
        if execution.status != "violation":
            return f"a program that traces others was not killed, but {execution.status}: {execution.reason}"
    finally:
        slot.close()
    return ""


def _advice(level: str) -> str:
    if level == "namespaces":
        for name, bad, advice in (
            ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
            ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this Python",
            ),
        ):
            file = pathlib.Path("/proc/sys", name)
            if file.exists() and file.read_text().strip() == bad:
                return f"/proc/sys/{name} is {bad}: {advice}."
        return (
            "It needs user namespaces, Linux 5.12 or later, and a container that allows unshare and mount (Docker: "
            "--security-opt seccomp=unconfined --cap-add SYS_ADMIN; Kubernetes: hostUsers: false and SYS_ADMIN)."
        )
    if level == "landlock":
        return "It needs Landlock: Linux 5.13 or later, with landlock in the lsm= of the kernel's command line."
    return "It needs seccomp filters (CONFIG_SECCOMP_FILTER) and a container that allows the call seccomp."


def must_offer(level: str, job: Job, language: str = "python") -> None:
    """Refuses what a level lacks, before anything runs.

    Raises:
      SandboxUnavailable: the message names the level and what it lacks.
    """
    asked = {
        "files": ("files", bool(job.files)),
        "processes": ("Limits.processes > 1", job.limits.processes > 1),
        "languages": (f"language={language!r}", language != "python"),
    }
    for feature, (what, wanted) in asked.items():
        if wanted and feature not in FEATURES[level]:
            having = ", ".join(name for name, features in FEATURES.items() if feature in features)
            raise SandboxUnavailable(f"The level {level!r} of this machine's sandbox lacks {what}: it needs {having}.")


def lacked(level: str, said: str) -> str:
    """Why it is the level's doing that a program failed, by what was said of its exception; "" where it is not."""
    for feature, exception in _LACKING if level in LEVELS else ():
        found = None if feature in FEATURES[level] else re.match(_RAISED + exception, said)
        if found and found.groupdict("os").get("module", "os") in sys.stdlib_module_names:  # What is not, no level has.
            having = ", ".join(name for name in LEVELS if feature in FEATURES[name])
            return f"The level {level!r} of this machine's sandbox lacks {feature}, which needs {having}: {said}"
    return ""


def best() -> str:
    """The best safe level here; "none" where there is none."""
    return next((level for level in LEVELS if not why_not(level)), "none")


def describe() -> str:
    """One line for `assay doctor`: the best level, what it gives, and why no better one."""
    level = best()
    above = LEVELS if level == "none" else LEVELS[: LEVELS.index(level)]
    reasons = "".join(f"; not {name}: {why_not(name)}" for name in above)
    gives = ", ".join(sorted(FEATURES.get(level, ())))
    return f"{level}{f' ({gives})' if gives else ''}{reasons}"
