"""Writes GGUF files byte by byte, right and wrong ones."""

import struct

import numpy as np

F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, BF16 = 0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 30
# Quantization -> numbers of a block, bytes of a block, the bytes at which float16 factors stand in it.
BLOCKS = {
    Q4_0: (32, 18, [0]), Q4_1: (32, 20, [0, 2]), Q5_0: (32, 22, [0]), Q5_1: (32, 24, [0, 2]), Q8_0: (32, 34, [0]),
    Q4_K: (256, 144, [0, 2]), Q5_K: (256, 176, [0, 2]), Q6_K: (256, 210, [208]),
}  # fmt: skip


def random_blocks(kind: int, numbers: int, rng: np.random.Generator) -> np.ndarray:
    """Random bits whose factors are finite: uint8 [blocks, bytes]."""
    elements, size, halves = BLOCKS[kind]
    blocks = rng.integers(0, 256, (numbers // elements, size), dtype=np.uint8)
    for start in halves:
        blocks[:, start : start + 2] = rng.standard_normal((len(blocks), 1)).astype(np.float16).view(np.uint8)
    return blocks


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(x) -> bytes:
    """A metadata value with its type."""
    if isinstance(x, bool):
        return struct.pack("<I?", 7, x)
    if isinstance(x, int):
        return struct.pack("<II", 4, x)
    if isinstance(x, float):
        return struct.pack("<If", 6, x)
    if isinstance(x, str):
        return struct.pack("<I", 8) + string(x)
    if isinstance(x, np.ndarray):
        assert x.dtype == np.int32
        return struct.pack("<IIQ", 9, 5, len(x)) + x.astype("<i4").tobytes()
    return struct.pack("<IIQ", 9, 8, len(x)) + b"".join(string(text) for text in x)


def tensor_info(name: str, dims, kind: int, offset: int) -> bytes:
    """`dims` as in the file, fastest first."""
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(metadata: dict, tensors: dict, *, version: int = 3, alignment: int = 32) -> bytes:
    """A whole file. Tensors: {name: float32 array}, or {name: (shape, kind, bytes)}."""
    infos, data = b"", b""
    for name, tensor in tensors.items():
        if isinstance(tensor, np.ndarray):
            tensor = tensor.shape, F32, tensor.astype("<f4").tobytes()
        shape, kind, raw = tensor
        infos += tensor_info(name, shape[::-1], kind, len(data))
        data += raw + bytes(-len(raw) % alignment)
    pairs = b"".join(string(key) + value(x) for key, x in metadata.items())
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata)) + pairs + infos
    return head + bytes(-len(head) % alignment) + data
