"""Starts the jails that a judgment needs, and reads what they leave behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence

from verifiers.sandbox.shared import runner, shared_pool
from verifiers.sandbox.slot import SlotFailed
from verifiers.sandbox.types import Execution, Limits

_INSIDE = "verifiers.judging.inside"
PATIENCE = 0.5  # Seconds that a candidate has to end, once the tests have.
_FIRST = 1 << 14  # Bytes of a file of messages that are read at first.


def program(text: str, stdin: bytes, limits: Limits, language: str, level: str) -> Execution:
    """What comes of a program by itself."""
    return runner(level).run(_bytes(text), stdin=stdin, limits=limits, language=language)


def one(entry: str, request: bytes, channels: Sequence[int], limits: Limits, level: str) -> Execution:
    """What comes of the function `entry` of `inside` in a jail of its own."""
    pool = shared_pool(level)
    try:
        with pool.open(request, entry=f"{_INSIDE}:{entry}", channels=channels, limits=limits) as process:
            return process.wait()
    except SlotFailed as error:
        return _failed(pool.level, error)


def two(
    first: tuple[str, bytes, Sequence[int]],
    second: tuple[str, bytes, Sequence[int]],
    limits: tuple[Limits, Limits],
    level: str,
    *,
    close: Sequence[int],
) -> tuple[Execution, Execution]:
    """What comes of two jails that talk to each other. The first is ended when the second has ended.

    Args:
      first: function of `inside`, request, channels.
      second: likewise.
      limits: of each.
      close: descriptors that are theirs from now on: an end that stayed open here would keep the other waiting.
    """
    pool = shared_pool(level)
    try:
        entry, request, channels = first
        with pool.open(request, entry=f"{_INSIDE}:{entry}", channels=channels, limits=limits[0]) as serving:
            entry, request, channels = second
            asking = pool.open(request, entry=f"{_INSIDE}:{entry}", channels=channels, limits=limits[1], beside=serving)
            _close(close)
            close = ()
            with asking:
                asked = asking.wait()
            # It sees that nobody asks any more, and ends. If it does not, nobody waits for it.
            impatient = threading.Timer(PATIENCE, serving.kill)
            impatient.start()
            try:
                return serving.wait(), asked
            finally:
                impatient.cancel()
    except SlotFailed as error:
        failed = _failed(pool.level, error)
        return failed, failed
    finally:
        _close(close)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _failed(level: str, error: SlotFailed) -> Execution:
    return Execution("error", level=level, reason=f"the sandbox failed: {error}"[:300])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@contextlib.contextmanager
def file(size: int) -> Iterator[int]:
    """A file in memory of `size` bytes, which neither grows nor shrinks: a jail writes there, we read it afterwards."""
    descriptor = os.memfd_create("result", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        yield descriptor
    finally:
        os.close(descriptor)


def frames(descriptor: int, size: int) -> list[bytes]:
    """The messages in a file: each a length of four bytes and so many bytes. An incomplete one ends them."""
    data = os.pread(descriptor, min(size, _FIRST), 0)  # Most of it is empty.
    found, at = [], 0
    while True:
        length = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + length > len(data):
            data = os.pread(descriptor, size, 0)
            length = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if not length or at + length > len(data):
            break
        found.append(data[at : at + length])
        at += length
    return found
