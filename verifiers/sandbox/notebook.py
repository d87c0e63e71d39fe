"""Inside the jail of a session: runs pieces of text, one after the other, in one namespace."""

from __future__ import annotations

import json
import os
import sys

from verifiers.sandbox import driver


def serve(_: bytes, channels: tuple[int, ...]) -> None:
    """Reads pieces from the first channel, and answers each on the second when it has run.

    A piece is its length, in 4 bytes, and its text. The answer is a line of JSON: the number of the piece, its exit
    code, and the last line of its traceback.
    """
    requests, answers = channels
    names = driver.fresh_main()
    number = 0
    while length := _read(requests, 4):
        program = _read(requests, int.from_bytes(length, "little"))
        file = f"cell {number}"
        code = driver.guarded(lambda program=program, file=file: driver.interact(program, names, file), program, file)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.write(answers, json.dumps({"number": number, "exit_code": code & 255}).encode() + b"\n")
        number += 1


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(descriptor, size - len(data))
        if not more:
            return b""
        data += more
    return data
