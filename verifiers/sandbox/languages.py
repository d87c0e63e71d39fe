"""Other languages than Python: how a program is compiled and run."""

from __future__ import annotations

from verifiers.sandbox.slot import Job
from verifiers.sandbox.types import Execution


def run(pool, job: Job, language: str) -> Execution:
    """Compiles and runs it."""
    raise NotImplementedError
