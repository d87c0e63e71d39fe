"""A program that damages a GGUF file again and again, and reads it: nothing but a ValueError may come of it."""

import collections
import json
import pathlib
import random
import shutil
import struct
import sys
import tempfile
import time

from policy import from_gguf
from policy.gguf import GGUF, open_gguf

PIECES = [
    struct.pack("<Q", 2**63), struct.pack("<Q", 2**64 - 1), struct.pack("<Q", 2**32), struct.pack("<Q", 0),
    struct.pack("<I", 2**31), bytes(8), b"\xff" * 8, struct.pack("<f", float("nan")), struct.pack("<I", 9),
]  # fmt: skip


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    lines = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def damage(file, size: int, header: int, rng: random.Random) -> str:
    """Changes an open file in place."""
    kind = rng.choice(["flip", "flip", "piece", "shift", "truncate", "data"])
    place = rng.randrange(header) if rng.random() < 0.5 else min(header - 1, int(rng.expovariate(1 / 300)))
    file.seek(place)
    match kind:
        case "flip":
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
        case "piece":
            file.write(rng.choice(PIECES))
        case "shift":  # The rest of the header comes a few bytes later.
            rest = file.read(header - place)
            file.seek(place)
            file.write(rng.randbytes(rng.randrange(1, 9)) + rest)
        case "truncate":
            file.truncate(rng.choice([place, rng.randrange(size)]))
        case "data":
            file.seek(rng.randrange(header, size))
            file.write(rng.randbytes(4))
    file.flush()
    return kind


def read(path: pathlib.Path, whole: bool, rng: random.Random) -> None:
    """All that a user's call reads: the model and its weights; of a large file, a tensor."""
    file: GGUF = open_gguf(path)
    for name in [*file.tensors] if whole else rng.sample([*file.tensors], min(1, len(file.tensors))):
        file.read(name, slice(0, 64) if not whole else slice(None))
    from_gguf.open_file(path)


def main(source: pathlib.Path, seconds: float) -> dict:
    rng = random.Random(0)
    size, header = source.stat().st_size, min(tensor.offset for tensor in open_gguf(source).tensors.values())
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "damaged.gguf"
        shutil.copyfile(source, path)
        first = source.read_bytes()[: header + 64]
        read(path, size < 1 << 20, rng)
        before, end = peak(), time.monotonic() + seconds
        while time.monotonic() < end or outcomes.total() < 100:
            with path.open("r+b") as file:
                kind = damage(file, size, header, rng)
            try:
                read(path, size < 1 << 20, rng)
                outcomes["harmless"] += 1
            except ValueError as error:
                outcomes["refused"] += 1
                if str(path) not in str(error) or len(str(error)) > 2000:
                    raise AssertionError(f"This error does not help: {str(error)[:3000]}") from error
            if kind in ("truncate", "data"):
                shutil.copyfile(source, path)
            else:
                with path.open("r+b") as file:
                    file.write(first)
        return {**outcomes, "grown": peak() - before, "size": size}


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), float(sys.argv[2]))))
