"""The nouns of the sandbox: what a program may use up, what came of it, and the refusal to run it."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use up. Beyond any of them its status is `limit`.

    Attributes:
      cpu_s: seconds of CPU, summed over its threads and processes.
      idle_s: seconds in which it neither ran nor waited for a core: it slept, or waited for itself.
      wall_s: seconds on the clock. A program that the machine's load brought here is an `error`, any other a `limit`.
      memory_mb: resident memory. Held by a cgroup where there is one, else looked at ten times a second.
      address_mb: address space of each process: threads with stacks of 512 MB must fit.
      output_kb: standard output. Of standard error, the first `output_kb` are kept.
      file_mb: the largest file.
      tmp_mb: all files together. Only the level `namespaces` has a folder to write to.
      processes: 1 allows 128 threads and no second process; n > 1 allows n processes and threads together.

    Raises:
      ValueError: a limit is not a positive number.
    """

    cpu_s: float = 6
    idle_s: float = 6
    wall_s: float = 18
    memory_mb: int = 512
    address_mb: int = 2048
    output_kb: int = 1024
    file_mb: int = 8
    tmp_mb: int = 16
    processes: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            seconds = field.name.endswith("_s")
            if isinstance(value, bool) or not isinstance(value, (int, float) if seconds else int):
                kind = "number of seconds" if seconds else "whole number"
                raise ValueError(f"Limits.{field.name} must be a {kind}, got {value!r}.")
            if not (value > 0 and math.isfinite(value) and value < 1 << 40):
                raise ValueError(f"Limits.{field.name} must be positive and below 2**40, got {value!r}.")


DEFAULT = Limits()
CANCELLED = "cancelled"  # The reason of an `error` that whoever started the program asked for.


@dataclasses.dataclass(frozen=True, slots=True)
class Execution:
    """What came of one program.

    Attributes:
      status: "ok" (exit code 0), "failed" (another exit code, or a signal), "limit" (it used up a limit),
        "violation" (it made a system call that no honest program makes, and was killed), "error" (ours: the
        sandbox failed, lacks what was asked for, or the machine was too busy; nobody is blamed).
      exit_code: None where a signal ended it.
      signal: the number of the signal that ended it.
      stdout: what it wrote, at most `output_kb`.
      stderr: what it wrote there, at most `output_kb`.
      stdout_truncated: whether there was more.
      stderr_truncated: whether there was more.
      cpu_s: seconds of CPU, over all its threads and processes.
      wall_s: seconds on the clock.
      idle_s: of them, those in which it neither ran nor waited for a core, at most; looked at ten times a second.
      peak_memory_mb: the largest resident memory of a process of it.
      violation: what it did, where the status is "violation".
      level: the isolation it ran under: "namespaces", "landlock", "seccomp", "unsafe" or "remote".
      reason: one line for the person reading, where the status is not "ok".
    """

    status: str
    exit_code: int | None = None
    signal: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    cpu_s: float = 0.0
    wall_s: float = 0.0
    idle_s: float = 0.0
    peak_memory_mb: float = 0.0
    violation: str | None = None
    level: str = ""
    reason: str = ""


class SandboxUnavailable(RuntimeError):
    """No isolation that is asked for can be had here: nothing was run. The message says what is missing."""
