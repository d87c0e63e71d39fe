"""What the judging of one program came to, whichever the mode."""

from __future__ import annotations

from typing import NamedTuple

from verifiers.sandbox.types import Execution


class Report(NamedTuple):
    """
    Attributes:
      passed: of each test; one that was not reached did not pass.
      status: "judged", "limit" (a budget was used up), "violation", "error" (ours).
      failing: the first test that did not pass, from 0; None if all did, or none was reached.
      why: it did not pass, in a line.
      execution: of the program, that which decided.
    """

    passed: tuple[bool, ...]
    status: str
    failing: int | None
    why: str
    execution: Execution


def reported(passed: list[bool], count: int, why: str, execution: Execution, *, limit: bool = False) -> Report:
    """The report on `count` tests of which `passed` were reached.

    Args:
      limit: a limit was used up, though the execution does not say so: an uncaught MemoryError.
    """
    whole = tuple(passed) + (False,) * (count - len(passed))
    failing = None if all(whole) else whole.index(False)
    status = execution.status
    if status in ("ok", "failed"):
        status = "limit" if limit else "judged"
        if all(whole) and execution.status == "failed":  # It said all that was asked for, and then crashed.
            whole = (False,) * count
    why = why or execution.reason or last_line(execution.stderr)
    return Report(whole, status, failing, "" if all(whole) and status == "judged" else why, execution)


def last_line(stderr: bytes) -> str:
    """What Python says last of an exception."""
    lines = stderr[-2000:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1][-200:] if lines else ""
