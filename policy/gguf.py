"""Reads GGUF model files: metadata, and tensors as float32.

A file is data from somewhere else, so nothing in it is believed: every count, length, dimension and offset is
checked against the file before it is used. A corrupt, truncated or lying file gives one `ValueError` that
names the file and the field, and never costs more memory than the file's own size allows.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import os
import pathlib
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_HEADER_LIMIT = 64 << 20  # Bytes. Real headers, vocabulary included, have 2 to 15 MiB.
_ALIGNMENT_LIMIT = 1 << 20  # Bytes.
_NAME_LIMIT = 256  # Bytes. Real names have less than 64.
_DIMENSION_LIMIT = 4  # Of one tensor, in GGML.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_COUNT = struct.Struct("<Q")


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a tensor's numbers are stored: blocks of `elements` numbers in `size` bytes."""

    name: str
    elements: int
    size: int
    decode: Callable[[np.ndarray], np.ndarray]  # uint8 [N, size] -> float32 [N, elements]


def _plain(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda blocks: blocks.view(dtype).astype(np.float32)


def _bf16(blocks: np.ndarray) -> np.ndarray:
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _half(blocks: np.ndarray, start: int) -> np.ndarray:
    """The float16 at byte `start` of every block, as float32 [N, 1]."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """uint8 [.., n] as four-bit numbers [.., 2n]: first all low halves, then all high ones."""
    return np.concatenate([packed & 0x0F, packed >> 4], axis=-1)


def _bits(packed: np.ndarray) -> np.ndarray:
    """uint8 [N, 4] as the 32 bits of a little-endian number, uint8 [N, 32]."""
    return np.unpackbits(packed, axis=1, bitorder="little")


def _q8_0(blocks: np.ndarray) -> np.ndarray:  # scale * q
    return blocks[:, 2:].view(np.int8) * _half(blocks, 0)


def _q4_0(blocks: np.ndarray) -> np.ndarray:  # scale * (q - 8)
    return (_nibbles(blocks[:, 2:]).view(np.int8) - np.int8(8)) * _half(blocks, 0)


def _q4_1(blocks: np.ndarray) -> np.ndarray:  # scale * q + least
    values = _nibbles(blocks[:, 4:]) * _half(blocks, 0)
    values += _half(blocks, 2)
    return values


def _q5_0(blocks: np.ndarray) -> np.ndarray:  # scale * (q - 16); the fifth bits stand apart
    q = _nibbles(blocks[:, 6:]) | _bits(blocks[:, 2:6]) << 4
    return (q.view(np.int8) - np.int8(16)) * _half(blocks, 0)


def _q5_1(blocks: np.ndarray) -> np.ndarray:  # scale * q + least
    values = (_nibbles(blocks[:, 8:]) | _bits(blocks[:, 4:8]) << 4) * _half(blocks, 0)
    values += _half(blocks, 2)
    return values


def _q4_k(blocks: np.ndarray) -> np.ndarray:
    return _scaled_groups(blocks, _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32))


def _q5_k(blocks: np.ndarray) -> np.ndarray:  # Bit i of byte j of the fifth bits belongs to number j of group i.
    low = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    high = blocks[:, 16:48, None].transpose(0, 2, 1) >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return _scaled_groups(blocks, low | high << 4)


def _scaled_groups(blocks: np.ndarray, q: np.ndarray) -> np.ndarray:
    """scale * group's scale * q - least * group's least, for 8 groups of 32 numbers: q [N, 8, 32] -> [N, 256].

    A group's two factors have six bits each. Four of each stand whole in the low six bits of bytes 4 to 11; of the
    other four, the low four bits are in bytes 12 to 15, and the high two are the high two of bytes 4 to 11.
    """
    a, b, c = (blocks[:, start : start + 4] for start in (4, 8, 12))
    factor = np.concatenate([a & 63, c & 15 | a >> 6 << 4], axis=1) * _half(blocks, 0)  # [N, 8]
    least = np.concatenate([b & 63, c >> 4 | b >> 6 << 4], axis=1) * _half(blocks, 2)
    values = q * factor[:, :, None]
    values -= least[:, :, None]
    return values.reshape(-1, 256)


def _q6_k(blocks: np.ndarray) -> np.ndarray:  # scale * group's scale * (q - 32), for 16 groups of 16 numbers
    low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    q = (low | high << 4).view(np.int8).reshape(-1, 16, 16) - np.int8(32)
    factor = blocks[:, 192:208].view(np.int8) * _half(blocks, 208)
    return (q * factor[:, :, None]).reshape(-1, 256)


ENCODINGS = {
    0: Encoding("F32", 1, 4, _plain("<f4")),
    1: Encoding("F16", 1, 2, _plain("<f2")),
    2: Encoding("Q4_0", 32, 18, _q4_0),
    3: Encoding("Q4_1", 32, 20, _q4_1),
    6: Encoding("Q5_0", 32, 22, _q5_0),
    7: Encoding("Q5_1", 32, 24, _q5_1),
    8: Encoding("Q8_0", 32, 34, _q8_0),
    12: Encoding("Q4_K", 256, 144, _q4_k),
    13: Encoding("Q5_K", 256, 176, _q5_k),
    14: Encoding("Q6_K", 256, 210, _q6_k),
    30: Encoding("BF16", 1, 2, _bf16),
}
_UNSUPPORTED = {  # So that an error can name them.
    9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in its file. `shape` is row-major, as in NumPy: a matrix is [out, in]."""

    shape: tuple[int, ...]
    encoding: Encoding
    offset: int  # From the start of the file.
    size: int  # Bytes.


@dataclasses.dataclass(frozen=True)
class GGUF:
    """The header of a GGUF file. Tensor data is read where it is asked for.

    Attributes:
      path: the file.
      metadata: strings, numbers, bools, lists of strings, and NumPy arrays of numbers.
      tensors: by name.
    """

    path: pathlib.Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """The tensor `name` as float32, or consecutive rows of it (a slice of its first axis).

        Raises:
          ValueError: the file became shorter, the tensor holds NaN or infinity, or the rows are not whole blocks.
        """
        tensor = self.tensors[name]
        encoding = tensor.encoding
        start, stop, _ = rows.indices(tensor.shape[0])
        shape = (max(stop - start, 0), *tensor.shape[1:])
        before, elements = start * math.prod(shape[1:]), math.prod(shape)
        if before % encoding.elements or elements % encoding.elements:
            raise ValueError(
                f"{self.path}: rows {start} to {stop} of {name!r} are not whole blocks of {encoding.name}."
            )
        size, offset = (n // encoding.elements * encoding.size for n in (elements, before))
        data = np.fromfile(self.path, np.uint8, size, offset=tensor.offset + offset)
        if data.size != size:
            raise ValueError(f"{self.path}: the file ends inside tensor {name!r}: it changed since it was opened.")
        with np.errstate(all="ignore"):  # Damaged numbers are reported below.
            values = encoding.decode(data.reshape(-1, encoding.size))
        if not np.isfinite(values).all():
            raise ValueError(f"{self.path}: tensor {name!r} holds NaN or infinity: the file is damaged.")
        return values.reshape(shape)


def open_gguf(path: str | os.PathLike[str]) -> GGUF:
    """Reads and checks the header of a GGUF file (version 2 or 3, little-endian).

    Raises:
      ValueError: it is no GGUF file, it is damaged, or it uses what is not supported. Names file and field.
      OSError: it cannot be read.
    """
    path = pathlib.Path(path)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ValueError(f"{path}: the file is empty: it is no GGUF file.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Header(path, data).read()


class _Header:
    """A cursor over the header. Every read is checked; `what` names the field in errors."""

    def __init__(self, path: pathlib.Path, data: mmap.mmap):
        self._path, self._data, self._at = path, data, 0
        self._end = min(len(data), _HEADER_LIMIT)

    def read(self) -> GGUF:
        if self._bytes(4, "magic") != b"GGUF":
            raise self._error("magic", f"is {self._data[:4]!r}, not b'GGUF': this is no GGUF file")
        version = self._number("I", "version")
        if version not in (2, 3):
            raise self._error("version", f"is {version}; supported are 2 and 3, little-endian")
        tensor_count = self._count(24, "number of tensors")  # 24: the least bytes that one takes.
        metadata_count = self._count(13, "number of metadata")
        metadata: dict[str, Any] = {}
        for i in range(metadata_count):
            key = self._name(f"name of metadata {i}")
            if key in metadata:
                raise self._error(f"metadata {key!r}", "appears twice")
            metadata[key] = self._value(self._number("I", f"type of {key!r}"), f"metadata {key!r}")
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= _ALIGNMENT_LIMIT or alignment & (alignment - 1):
            raise self._error(
                "metadata 'general.alignment'", f"is {str(alignment)[:100]}, not a power of two in bounds"
            )
        tensors: dict[str, Tensor] = {}
        for i in range(tensor_count):
            name = self._name(f"name of tensor {i}")
            if name in tensors:
                raise self._error(f"tensor {name!r}", "appears twice")
            tensors[name] = self._tensor(name, alignment)
        start = -(-self._at // alignment) * alignment  # Tensor data begins at the next multiple.
        tensors = {name: dataclasses.replace(t, offset=start + t.offset) for name, t in tensors.items()}
        self._check_places(tensors)
        return GGUF(self._path, metadata, tensors)

    def _tensor(self, name: str, alignment: int) -> Tensor:
        what = f"tensor {name!r}"
        dimensions = self._number("I", f"number of dimensions of {what}")
        if not 1 <= dimensions <= _DIMENSION_LIMIT:
            raise self._error(what, f"has {dimensions} dimensions; 1 to {_DIMENSION_LIMIT} are allowed")
        shape = tuple(self._number("Q", f"shape of {what}") for _ in range(dimensions))[::-1]  # Fastest first.
        kind = self._number("I", f"type of {what}")
        offset = self._number("Q", f"offset of {what}")
        if kind not in ENCODINGS:
            supported = ", ".join(encoding.name for encoding in ENCODINGS.values())
            raise self._error(what, f"is stored as {_UNSUPPORTED.get(kind, kind)}; supported are {supported}")
        encoding = ENCODINGS[kind]
        if min(shape) == 0:
            raise self._error(what, f"has shape {shape}: a dimension is 0")
        if shape[-1] % encoding.elements:
            raise self._error(what, f"has rows of {shape[-1]}, not a multiple of {encoding.name}'s {encoding.elements}")
        if offset % alignment:
            raise self._error(what, f"has the offset {offset}, not a multiple of the alignment {alignment}")
        return Tensor(shape, encoding, offset, math.prod(shape) // encoding.elements * encoding.size)

    def _check_places(self, tensors: Mapping[str, Tensor]) -> None:
        """All data lies inside the file, and no tensor lies on another."""
        end, before = 0, ""
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1].offset):
            if tensor.offset + tensor.size > len(self._data):
                raise self._error(
                    f"tensor {name!r}",
                    f"of shape {tensor.shape} needs the bytes {tensor.offset} to {tensor.offset + tensor.size}, "
                    f"but the file has {len(self._data)}: it is truncated or damaged",
                )
            if tensor.offset < end:
                raise self._error(f"tensor {name!r}", f"overlaps tensor {before!r}")
            end, before = tensor.offset + tensor.size, name

    def _value(self, kind: int, what: str) -> Any:
        if kind == _STRING:
            return self._string(what)
        if kind in _SCALARS:
            return self._number(_SCALARS[kind], what)
        if kind != _ARRAY:
            raise self._error(what, f"has the unknown type {kind}")
        kind = self._number("I", f"type of {what}")
        if kind == _STRING:
            return [self._string(what) for _ in range(self._count(8, what))]
        if kind not in _SCALARS:
            raise self._error(what, f"is an array of type {kind}; only arrays of numbers and strings are supported")
        dtype = np.dtype("?" if kind == _BOOL else "<" + _SCALARS[kind])
        count = self._count(dtype.itemsize, what)
        raw = self._bytes(count * dtype.itemsize, what)
        if kind == _BOOL and raw.strip(b"\0\1"):
            raise self._error(what, "holds a bool that is neither 0 nor 1")
        return np.frombuffer(raw, dtype)

    def _number(self, code: str, what: str) -> Any:
        raw = self._bytes(struct.calcsize("<" + code), what)
        if code == "?" and raw not in (b"\0", b"\1"):
            raise self._error(what, f"is a bool of value {raw[0]}")
        return struct.unpack("<" + code, raw)[0]

    def _string(self, what: str) -> str:
        raw = self._bytes(self._count(1, what), what)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self._error(what, f"is not UTF-8: {raw[:40]!r}") from None

    def _name(self, what: str) -> str:
        name = self._string(what)
        if len(name) > _NAME_LIMIT:
            raise self._error(what, f"has {len(name)} characters; names have at most {_NAME_LIMIT}")
        return name

    def _count(self, least: int, what: str) -> int:
        """A count of things of at least `least` bytes each: it must fit in what is left."""
        (count,) = _COUNT.unpack(self._bytes(8, what))
        left = self._end - self._at
        if count * least > left:
            raise self._error(what, f"has the length {count}, which does not fit in the {left} bytes left")
        return count

    def _bytes(self, count: int, what: str) -> bytes:
        if self._at + count > self._end:
            bound = "the file ends" if len(self._data) <= _HEADER_LIMIT else f"the header exceeds {_HEADER_LIMIT} bytes"
            raise self._error(what, f"is cut off: {bound} there")
        self._at += count
        return self._data[self._at - count : self._at]

    def _error(self, what: str, problem: str) -> ValueError:
        return ValueError(f"{self._path}: GGUF header, {what} {problem} (near byte {self._at}).")
