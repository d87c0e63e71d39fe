"""The pools of this process, which `sandbox.run` and verifiers share."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import Any

from verifiers.sandbox.pool import Pool
from verifiers.sandbox.types import DEFAULT, Execution, Limits

_lock = threading.Lock()
_pools: dict[str, Pool] = {}


def shared_pool(level: str = "auto") -> Pool:
    """The pool of this process at a level: made when it is first asked for, closed at exit.

    Raises:
      SandboxUnavailable: the level cannot be had here.
    """
    with _lock:
        if level not in _pools:
            _pools[level] = Pool(level=level)
        return _pools[level]


def run(
    program: str | bytes,
    *,
    stdin: str | bytes = b"",
    files: Mapping[str, str | bytes] | None = None,
    limits: Limits = DEFAULT,
    language: str = "python",
    level: str = "auto",
) -> Execution:
    """Runs one program to its end, isolated from everything.

    Args:
      program: its text.
      stdin: standard input.
      files: name below the working directory → content.
      limits: what it may use up.
      language: "python", "c", "cpp", "javascript" or "bash".
      level: see `Pool`.

    Returns:
      What came of it. Where the level lacks what is asked for, an "error" that names the level.

    Raises:
      SandboxUnavailable: no isolation can be had here, and `level` does not ask for none.
      ValueError: there is no such level or language, or the name of a file leads out of the working directory.
    """
    return shared_pool(level).run(program, stdin=stdin, files=files, limits=limits, language=language)


async def arun(program: str | bytes, *, level: str = "auto", **options: Any) -> Execution:
    """`run`, without blocking the event loop."""
    return await shared_pool(level).arun(program, **options)


def _close() -> None:
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


def _forget() -> None:
    """A forked child has copies of its parent's sockets, and must not use them."""
    global _lock
    _lock = threading.Lock()
    for pool in _pools.values():
        pool.abandon()
    _pools.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
