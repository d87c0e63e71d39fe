"""Safetensors files: reads rows of their tensors as float32, and writes tensors one at a time.

As with GGUF files, nothing in a file is believed: every size, shape and offset is checked against the file before it
is used. A corrupt, truncated or lying file gives one `ValueError` that names the file and the tensor.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from policy.wording import short, some

Shape = tuple[int, ...]

DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)}
# Bytes of a number. Files hold other types, too, such as a mask; no weight that is read does.
_SIZES = {name: dtype.itemsize for name, dtype in DTYPES.items()} | {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8,
    "I64": 8, "F64": 8,
}  # fmt: skip
_HEADER_LIMIT = 16 << 20  # Bytes. Real headers have less than 1 MiB.
_DIMENSION_LIMIT = 8
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor lies."""

    file: pathlib.Path
    dtype: str  # A key of `DTYPES`, where it can be read.
    shape: Shape
    offset: int  # Bytes from the start of the file.


@dataclasses.dataclass(frozen=True)
class Tensors:
    """The tensors of one or more files. Their data are read where they are asked for.

    Attributes:
      path: for errors: the file, or the directory.
      tensors: by name.
    """

    path: pathlib.Path
    tensors: Mapping[str, Tensor]

    def read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """The tensor `name` as float32, or consecutive rows of it (a slice of its first axis).

        Raises:
          ValueError: the file became shorter, or the tensor holds NaN or infinity, or is of a type that is not
            supported.
        """
        tensor = self.tensors[name]
        self.require([name])
        dtype = DTYPES[tensor.dtype]
        start, stop, _ = rows.indices(tensor.shape[0]) if tensor.shape else (0, 1, 1)
        shape = (max(stop - start, 0), *tensor.shape[1:]) if tensor.shape else ()
        row = math.prod(tensor.shape[1:])
        size = math.prod(shape)
        stored = np.fromfile(tensor.file, dtype, size, offset=tensor.offset + start * row * dtype.itemsize)
        if stored.size != size:
            raise ValueError(f"{tensor.file}: the file ends inside tensor {name!r}: it changed since it was opened.")
        values = stored.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise ValueError(f"{tensor.file}: tensor {name!r} holds NaN or infinity: the file is damaged.")
        return values.reshape(shape)

    def require(self, names: Iterable[str]) -> None:
        """
        Raises:
          ValueError: a tensor is stored in a type that is not supported.
        """
        for name in names:
            tensor = self.tensors[name]
            if tensor.dtype not in DTYPES:
                supported = ", ".join(DTYPES)
                raise ValueError(
                    f"{tensor.file}: tensor {name!r} is stored as {tensor.dtype!r}; supported: {supported}."
                )


def open_file(path: pathlib.Path) -> Tensors:
    """Reads and checks the header of one file.

    Raises:
      ValueError: it is no safetensors file, it is damaged, or a tensor is stored in a type that is not known.
      OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_LIMIT):
            raise _unreadable(path, f"its header has {length} bytes, and the file {size}")
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, f"its header is no JSON object ({error})") from None
    if not isinstance(header, dict):
        raise _unreadable(path, f"its header is a JSON {type(header).__name__}")
    header.pop("__metadata__", None)
    tensors, places = {}, []
    for name, entry in header.items():
        dtype, shape, (start, stop) = _entry(path, name, entry)
        if stop - start != math.prod(shape) * _SIZES[dtype]:
            raise _unreadable(path, f"tensor {name!r}, {dtype} of shape {list(shape)}, has {stop - start} bytes")
        places.append((start, stop, name))
        tensors[name] = Tensor(path, dtype, shape, 8 + length + start)
    end = 0
    for start, stop, name in sorted(places):
        if start != end:
            raise _unreadable(path, f"tensor {name!r} starts at byte {start} of the data, expected {end}")
        end = stop
    if end != size - 8 - length:
        raise _unreadable(path, f"its tensors have {end} bytes, the file holds {size - 8 - length}: it is truncated")
    return Tensors(path, tensors)


def _entry(path: pathlib.Path, name: str, entry: Any) -> tuple[str, Shape, tuple[int, int]]:
    """dtype, shape and place of one tensor, from the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _unreadable(path, f"tensor {name!r} is described by {short(entry)}")
    dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SIZES:
        raise ValueError(f"{path}: tensor {name!r} is stored as {short(dtype)}; supported: {', '.join(DTYPES)}.")
    if not _sizes(shape) or len(shape) > _DIMENSION_LIMIT:
        raise _unreadable(path, f"tensor {name!r} has the shape {short(shape)}")
    if not _sizes(place) or len(place) != 2 or place[0] > place[1]:
        raise _unreadable(path, f"tensor {name!r} has the data_offsets {short(place)}")
    return dtype, tuple(shape), (place[0], place[1])


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(x) is int and 0 <= x < 1 << 63 for x in value)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key appears twice")
    return content


def _unreadable(path: pathlib.Path, problem: str) -> ValueError:
    return ValueError(f"{path}: not a readable safetensors file: {problem}.")


def open_directory(path: pathlib.Path) -> Tensors:
    """The tensors of a Hugging Face directory: of its model.safetensors, or of the shards that its index names.

    Raises:
      ValueError: there are none, one is damaged, or index and shards do not agree.
    """
    index = path / _INDEX
    if not index.is_file():
        if not (path / _SINGLE).is_file():
            raise ValueError(f"{path} has no {_SINGLE} (pytorch_model.bin and other formats are not read).")
        return open_file(path / _SINGLE)
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index} has no weight_map.")
    for name in names.values():
        if not isinstance(name, str) or pathlib.PurePath(name).name != name or not (path / name).is_file():
            raise ValueError(f"{index} names the file {short(name)}, which is not in {path}.")
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(names.values())):
        held = open_file(path / file).tensors
        listed = {name for name, where in names.items() if where == file}
        if listed != held.keys():
            raise ValueError(
                f"{index} and {file} do not agree. Only in the index: {some(sorted(listed - held.keys()))}; "
                f"only in the file: {some(sorted(held.keys() - listed))}."
            )
        tensors |= held
    return Tensors(path, tensors)


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      ValueError: the file is missing, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: this is no Hugging Face model directory.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable JSON: {error}.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a JSON object.")
    return content


def write(
    directory: pathlib.Path,
    shapes: Mapping[str, Shape],
    read: Callable[[str], np.ndarray],
    dtype: str,
    shard_size: int,
) -> None:
    """Writes tensors into model.safetensors, or into several files with an index where they are more than `shard_size`.

    One tensor at a time is in memory.

    Args:
      directory: where to.
      shapes: of the tensors, by name, in the order in which they are written.
      read: name -> that tensor, in any float type.
      dtype: a key of `DTYPES`, to write them in.
      shard_size: bytes of tensors in one file, at most, unless a single tensor is larger.

    Raises:
      ValueError: a number does not fit `dtype`.
      OSError: the disk is full, for one.
    """
    sizes = {name: math.prod(shape) * DTYPES[dtype].itemsize for name, shape in shapes.items()}
    shards: list[list[str]] = [[]]
    room = shard_size
    for name, size in sizes.items():
        if size > room and shards[-1]:
            shards.append([])
            room = shard_size
        shards[-1].append(name)
        room -= size
    files = [_SINGLE]
    if len(shards) > 1:
        files = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
        index = {
            "metadata": {"total_size": sum(sizes.values())},
            "weight_map": {name: file for file, names in zip(files, shards, strict=True) for name in names},
        }
        (directory / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for file, names in zip(files, shards, strict=True):
        write_file(directory / file, {name: shapes[name] for name in names}, read, dtype)


def write_file(path: pathlib.Path, shapes: Mapping[str, Shape], read: Callable[[str], np.ndarray], dtype: str) -> None:
    """Writes one file; see `write`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * DTYPES[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)  # So that the data are aligned.
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for name, shape in shapes.items():
            values = read(name)
            if values.shape != shape:
                raise ValueError(f"Tensor {name} is {list(values.shape)}, expected {list(shape)}.")
            for part in _converted(name, values, DTYPES[dtype]):
                file.write(part.view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def _converted(name: str, values: np.ndarray, dtype: np.dtype, chunk: int = 1 << 20) -> Iterable[np.ndarray]:
    """The numbers in `dtype`, some at a time."""
    flat = np.ascontiguousarray(values).reshape(-1)
    for start in range(0, flat.size, chunk):
        with np.errstate(over="ignore"):  # Reported below.
            part = flat[start : start + chunk].astype(dtype)
        if not np.isfinite(part).all():
            raise ValueError(f"Tensor {name} holds NaN, infinity, or a number too large for {dtype.name}.")
        yield part
