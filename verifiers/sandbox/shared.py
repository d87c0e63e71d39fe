"""The pools of this process, which `sandbox.run` and verifiers share."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from verifiers.sandbox import levels
from verifiers.sandbox.pool import Pool
from verifiers.sandbox.types import DEFAULT, Execution, Limits

if TYPE_CHECKING:
    from verifiers.sandbox.remote import RemotePool

_lock = threading.Lock()
_pools: dict[str, Pool] = {}
_servers: dict[str, RemotePool] = {}


def shared_pool(level: str = "auto") -> Pool:
    """The pool of this process at a level: made when it is first asked for, closed at exit.

    Raises:
      SandboxUnavailable: the level cannot be had here.
    """
    with _lock:
        if level not in _pools:
            _pools[level] = Pool(level=level)
        return _pools[level]


def runner(level: str = "auto") -> Pool | RemotePool:
    """What runs whole programs: the pool of this process at a level, or the server whose URL it is."""
    if not levels.is_remote(level):
        return shared_pool(level)
    from verifiers.sandbox.remote import RemotePool  # Here: the others need no HTTP.

    with _lock:
        if level not in _servers:
            _servers[level] = RemotePool(level)
        return _servers[level]


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
      level: see `Pool`; or the URL of a SandboxFusion server, see `remote.RemotePool`.

    Returns:
      What came of it. Where the level lacks what is asked for, an "error" that names the level.

    Raises:
      SandboxUnavailable: no isolation can be had here, and `level` does not ask for none.
      ValueError: there is no such level or language, or the name of a file leads out of the working directory.
    """
    return runner(level).run(program, stdin=stdin, files=files, limits=limits, language=language)


async def arun(program: str | bytes, *, level: str = "auto", **options: Any) -> Execution:
    """`run`, without blocking the event loop."""
    return await runner(level).arun(program, **options)


def _close() -> None:
    with _lock:
        pools = [*_pools.values(), *_servers.values()]
        _pools.clear()
        _servers.clear()
    for pool in pools:
        pool.close()


def _forget() -> None:
    """A forked child has copies of its parent's sockets, and must not use them."""
    global _lock
    _lock = threading.Lock()
    for pool in _pools.values():
        pool.close()
    _pools.clear()
    _servers.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
