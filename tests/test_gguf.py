"""The GGUF reader, against numbers worked out by hand, the `gguf` package, and files that lie."""

import dataclasses
import itertools
import json
import math
import pathlib
import struct
import subprocess
import sys
import tracemalloc

import model_files
import numpy as np
import pytest
from gguf_files import (
    BF16,
    BLOCKS,
    F16,
    F32,
    Q4_0,
    Q4_1,
    Q4_K,
    Q5_0,
    Q5_1,
    Q5_K,
    Q6_K,
    Q8_0,
    gguf,
    random_blocks,
    string,
    tensor_info,
    value,
)
from real_model import smollm2_path

import policy
from policy.gguf import ENCODINGS, open_gguf

HALF = {x: np.float16(x).tobytes() for x in (0.5, -2.0)}
KINDS = np.arange(3, dtype=np.int32)
METADATA = {"name": "a model", "count": 7, "rate": 0.25, "yes": True, "words": ["a", "é", ""], "kinds": KINDS}


def write(path, data: bytes):
    path.write_bytes(data)
    return path


@pytest.fixture
def good() -> bytes:
    return gguf(METADATA, {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.ones(32, np.float32)})


def test_a_file_comes_back(tmp_path, good):
    file = open_gguf(write(tmp_path / "a.gguf", good))
    assert {**file.metadata, "kinds": file.metadata["kinds"].tolist()} == {**METADATA, "kinds": [0, 1, 2]}
    assert list(file.tensors) == ["x", "y"]
    np.testing.assert_array_equal(file.read("x"), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(file.read("x", slice(1, 2)), [[3, 4, 5]])
    assert file.read("y").dtype == np.float32


def test_a_vector_in_blocks(tmp_path):
    raw = HALF[0.5] + bytes([2] * 32)
    file = open_gguf(write(tmp_path / "a.gguf", gguf({}, {"x": ((64,), Q8_0, raw * 2)})))
    np.testing.assert_array_equal(file.read("x"), np.ones(64))
    np.testing.assert_array_equal(file.read("x", slice(32, 64)), np.ones(32))
    with pytest.raises(ValueError, match="rows 1 to 64 of 'x' are not whole blocks of Q8_0"):
        file.read("x", slice(1, None))


def test_the_alignment_of_the_file_is_used(tmp_path):
    x = np.arange(3, dtype=np.float32)
    file = open_gguf(write(tmp_path / "a.gguf", gguf({"general.alignment": 128}, {"x": x, "y": x + 1}, alignment=128)))
    assert file.tensors["x"].offset % 128 == file.tensors["y"].offset % 128 == 0
    np.testing.assert_array_equal(file.read("y"), [1, 2, 3])


# By hand: byte i holds number i in its low half and number i + 16 in its high half.
NIBBLES = bytes(i | (15 - i) << 4 for i in range(16))
UP, DOWN = np.arange(16), 15 - np.arange(16)


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        (F32, struct.pack("<2f", 1.5, -3), [1.5, -3]),
        (F16, HALF[0.5] + HALF[-2.0], [0.5, -2]),
        (BF16, bytes.fromhex("c03f 40c0"), [1.5, -3]),  # 0x3fc0 is 1.5 and 0xc040 is -3: float32's upper halves.
        (Q8_0, HALF[0.5] + bytes([2, 255, *[0] * 30]), [1, -0.5, *[0] * 30]),
        (Q4_0, HALF[-2.0] + NIBBLES, [*(-2 * (UP - 8)), *(-2 * (DOWN - 8))]),
        (Q4_1, HALF[0.5] + HALF[-2.0] + NIBBLES, [*(0.5 * UP - 2), *(0.5 * DOWN - 2)]),
        # The fifth bits 0x00000003: of the first two numbers.
        (Q5_0, HALF[0.5] + b"\3\0\0\0" + NIBBLES, [0, 0.5, *(0.5 * (UP[2:] - 16)), *(0.5 * (DOWN - 16))]),
        # 0x80010000: of the first and the last that lie in high halves.
        (Q5_1, HALF[0.5] + HALF[-2.0] + b"\0\0\1\x80" + NIBBLES, [*(0.5 * UP - 2), 13.5, *(0.5 * DOWN[1:15] - 2), 6]),
        # All q are 2. Group 0: scale 3, least 1. Group 4: scale 53 = 0b11_0101, least 34 = 0b10_0010. Others: 0.
        (
            Q4_K,
            HALF[0.5] + HALF[-2.0] + bytes([3 | 0xC0, 0, 0, 0, 1 | 0x80, 0, 0, 0, 0x25, 0, 0, 0]) + b"\x22" * 128,
            [0.5 * 3 * 2 + 2 * 1] * 32 + [0.0] * 96 + [0.5 * 53 * 2 + 2 * 34] * 32 + [0.0] * 96,
        ),
        # The same with the fifth bit of every number of group 4, whose q are 18 then.
        (
            Q5_K,
            HALF[0.5]
            + HALF[-2.0]
            + bytes([3 | 0xC0, 0, 0, 0, 1 | 0x80, 0, 0, 0, 0x25, 0, 0, 0])
            + b"\x10" * 32
            + b"\x22" * 128,
            [0.5 * 3 * 2 + 2 * 1] * 32 + [0.0] * 96 + [0.5 * 53 * 18 + 2 * 34] * 32 + [0.0] * 96,
        ),
        # Low four bits 1 or 2; high two bits 0, 1, 2, 3 for the four quarters of each half; scales 1, -1 in turn.
        (
            Q6_K,
            b"\x21" * 128 + b"\xe4" * 64 + bytes([1, 255] * 8) + HALF[-2.0],
            np.repeat([-31, 31, -15, 15, 2, -2, 18, -18] * 2, 16) * -2.0,
        ),
    ],
    ids=lambda x: ENCODINGS[x].name if isinstance(x, int) else "",
)
def test_encodings_by_hand(tmp_path, kind, raw, expected):
    path = write(tmp_path / "a.gguf", gguf({}, {"x": ((1, len(expected)), kind, raw)}))
    np.testing.assert_array_equal(open_gguf(path).read("x"), [expected])


@pytest.mark.parametrize("kind", ENCODINGS, ids=lambda kind: ENCODINGS[kind].name)
def test_encodings_against_the_gguf_package(tmp_path, kind):
    quants = pytest.importorskip("gguf.quants", reason="needs the gguf package (the extra `parity`)")
    encoding, rng = ENCODINGS[kind], np.random.default_rng(kind)
    if encoding.elements == 1:  # Any bits are numbers; keep to finite ones.
        raw = rng.standard_normal((64, 4096)).astype({F32: np.float32, F16: np.float16, BF16: np.float32}[kind])
        raw = raw.view(np.uint8) if kind != BF16 else np.ascontiguousarray(raw.view(np.uint16)[:, 1::2]).view(np.uint8)
    else:
        raw = random_blocks(kind, 64 * 4096, rng).reshape(64, -1)
    path = write(tmp_path / "a.gguf", gguf({}, {"x": ((64, 4096), kind, raw.tobytes())}))
    expected = quants.dequantize(raw, quants.GGMLQuantizationType(kind))
    np.testing.assert_array_equal(open_gguf(path).read("x"), expected)


def test_a_file_that_the_gguf_package_wrote(tmp_path):
    package = pytest.importorskip("gguf", reason="needs the gguf package (the extra `parity`)")
    writer = package.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_context_length(512)
    writer.add_token_list(["a", "b"])
    writer.add_token_types([1, 3])
    writer.add_key_value("big", -(2**40), package.GGUFValueType.INT64)
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    writer.add_tensor("x", x)
    q8 = package.GGMLQuantizationType.Q8_0
    packed = package.quants.quantize(x, q8)
    writer.add_tensor("q", packed, raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_gguf(tmp_path / "a.gguf")
    assert file.metadata["general.architecture"] == "llama"
    assert file.metadata["llama.context_length"] == 512
    assert file.metadata["tokenizer.ggml.tokens"] == ["a", "b"]
    assert file.metadata["tokenizer.ggml.token_type"].tolist() == [1, 3]
    assert file.metadata["big"] == -(2**40)
    np.testing.assert_array_equal(file.read("x"), x)
    np.testing.assert_array_equal(file.read("q"), package.quants.dequantize(packed, q8))


def head(tensors: int = 0, metadata: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, metadata)


ROOM = bytes(4096)
KEY = head(metadata=1) + string("k")
ALIGNMENT = head(metadata=1) + string("general.alignment")
ONE = head(tensors=1)
TWO = head(tensors=2) + tensor_info("x", [16], F32, 0)
LIES = {
    "empty": (b"", "empty"),
    "not GGUF": (b"PK\3\4" + ROOM, "magic is b'PK"),
    "version 1": (head(version=1) + ROOM, "version is 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + ROOM, "little-endian"),
    "many tensors": (head(tensors=2**63) + ROOM, "number of tensors has the length 9223372036854775808"),
    "many metadata": (head(metadata=2**40) + ROOM, "number of metadata"),
    "long name": (head(metadata=1) + struct.pack("<Q", 2**62) + ROOM, "name of metadata 0 has the length"),
    "name too long": (head(metadata=1) + string("k" * 257) + value(1) + ROOM, "has 257 characters; names have"),
    "long string": (KEY + struct.pack("<IQ", 8, 2**33) + ROOM, "metadata 'k' has the length"),
    "long array": (KEY + struct.pack("<IIQ", 9, 4, 2**62) + ROOM, "metadata 'k' has the length"),
    "long list": (KEY + struct.pack("<IIQ", 9, 8, 2**61) + ROOM, "metadata 'k' has the length"),
    "nested array": (KEY + struct.pack("<IIQ", 9, 9, 1) + ROOM, "array of type 9"),
    "unknown type": (KEY + struct.pack("<I", 99) + ROOM, "unknown type 99"),
    "not UTF-8": (head(metadata=1) + struct.pack("<Q", 2) + b"\xff\xfe" + ROOM, "not UTF-8"),
    "bad bool": (KEY + struct.pack("<IB", 7, 2) + ROOM, "bool of value 2"),
    "key twice": (head(metadata=2) + (string("k") + value(1)) * 2 + ROOM, "'k' appears twice"),
    "alignment 0": (ALIGNMENT + value(0) + ROOM, "alignment' is 0"),
    "alignment 48": (ALIGNMENT + value(48) + ROOM, "power of two"),
    "alignment huge": (ALIGNMENT + value(2**31) + ROOM, "power of two"),
    "alignment text": (ALIGNMENT + value("32") + ROOM, "power of two"),
    "tensor twice": (TWO + tensor_info("x", [16], F32, 64) + ROOM, "'x' appears twice"),
    "no dimensions": (ONE + tensor_info("x", [], F32, 0) + ROOM, "0 dimensions"),
    "many dimensions": (ONE + tensor_info("x", [1] * 99, F32, 0) + ROOM, "99 dimensions"),
    "dimension 0": (ONE + tensor_info("x", [4, 0], F32, 0) + ROOM, "a dimension is 0"),
    "dimension huge": (ONE + tensor_info("x", [2**63], F32, 0) + ROOM, "truncated or damaged"),
    "overflow": (ONE + tensor_info("x", [2**32, 2**32], F32, 0) + ROOM, "truncated or damaged"),
    "half a block": (ONE + tensor_info("x", [33], Q8_0, 0) + ROOM, "not a multiple of Q8_0's 32"),
    "unsupported type": (ONE + tensor_info("x", [256], 10, 0) + ROOM, "stored as Q2_K; supported are F32"),
    "no such type": (ONE + tensor_info("x", [256], 4, 0) + ROOM, "stored as 4;"),
    "offset past the end": (ONE + tensor_info("x", [4], F32, 2**40) + ROOM, "truncated or damaged"),
    "offset overflow": (ONE + tensor_info("x", [4], F32, 2**64 - 32) + ROOM, "truncated or damaged"),
    "offset unaligned": (ONE + tensor_info("x", [4], F32, 4) + ROOM, "the offset 4, not a multiple"),
    "overlap": (TWO + tensor_info("y", [4], F32, 32) + ROOM, "'y' overlaps tensor 'x'"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), LIES.values(), ids=list(LIES))
def test_a_lying_header_is_one_error_and_little_memory(tmp_path, data, message):
    path = write(tmp_path / "lie.gguf", data)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        open_gguf(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 1 << 20


def test_a_tensor_name_is_never_a_path(tmp_path):
    file = open_gguf(write(tmp_path / "a.gguf", gguf({}, {"../../x": np.ones(3, np.float32)})))
    np.testing.assert_array_equal(file.read("../../x"), [1, 1, 1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


def test_every_truncation_is_a_value_error(tmp_path, good):
    end = len(good) - 96  # Where the last tensor's data begin, less padding: all before it is needed.
    for length in range(end):
        with pytest.raises(ValueError, match=r"cut\.gguf"):
            open_gguf(write(tmp_path / "cut.gguf", good[:length]))


def test_a_file_that_shrinks_and_a_number_that_is_none(tmp_path, good):
    path = write(tmp_path / "a.gguf", good)
    file = open_gguf(path)
    write(path, good[:-4])
    with pytest.raises(ValueError, match="ends inside tensor 'y'"):
        file.read("y")
    write(path, good[:-4] + struct.pack("<f", float("nan")))
    with pytest.raises(ValueError, match="'y' holds NaN or infinity"):
        file.read("y")


ALL_QUANTIZATIONS = dataclasses.replace(
    model_files.CONFIG, width=256, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=64, mlp_width=256
)


def quantized(path):
    """A model in whose file every quantization occurs."""
    rng, kinds = np.random.default_rng(0), itertools.cycle(BLOCKS)
    named = model_files.gguf_tensors(ALL_QUANTIZATIONS)
    for name, x in named.items():
        if x.ndim == 2:
            kind = next(kinds)
            named[name] = (x.shape, kind, random_blocks(kind, x.size, rng).tobytes())
    return model_files.write_gguf(path, model_files.gguf_metadata(ALL_QUANTIZATIONS), named)


def test_a_model_in_all_quantizations(tmp_path):
    path = quantized(tmp_path / "a.gguf")
    file = open_gguf(path)
    assert {tensor.encoding.name for tensor in file.tensors.values()} == {"F32", *(ENCODINGS[k].name for k in BLOCKS)}
    params = policy.pretrained(path).load(0)
    np.testing.assert_array_equal(params["layer_1/up"]["w"], file.read("blk.1.ffn_up.weight"))
    c, keys = ALL_QUANTIZATIONS.head_dim, file.read("blk.1.attn_k.weight")
    # llama.cpp puts the two halves of a head side by side: its rows 0, 2, 4 … are our first half.
    found = params["layer_1/qkv"]["w"][4 * c : 5 * c]
    np.testing.assert_array_equal(found, np.concatenate([keys[0:c:2], keys[1:c:2]]))


# Head and embedding: one matrix or two.


def plain(x, kind):
    """A matrix as a tensor of a file, rounded to the nearest."""
    bits = x.view(np.uint32)
    upper = (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype("<u2")
    return x.shape, kind, {F32: x, F16: x.astype("<f2"), BF16: upper}[kind].tobytes()


def reopened(tmp_path, embedding, head):
    """A model whose file has these two tensors."""
    named = model_files.gguf_tensors(ALL_QUANTIZATIONS) | {"token_embd.weight": embedding, "output.weight": head}
    path = model_files.write_gguf(tmp_path / "a.gguf", model_files.gguf_metadata(ALL_QUANTIZATIONS), named)
    return policy.pretrained(path)


def normal(seed=0):
    """float32 [V, D], with numbers so small that float16 has few digits of them."""
    x = np.random.default_rng(seed).standard_normal((ALL_QUANTIZATIONS.vocab_size, ALL_QUANTIZATIONS.width))
    return (x * 10.0 ** -np.arange(len(x))[:, None].clip(0, 4)).astype(np.float32)


@pytest.mark.parametrize("kinds", itertools.product((F32, F16, BF16), repeat=2), ids=str)
def test_matrices_that_are_not_quantized_are_one_up_to_rounding(tmp_path, kinds):
    x = normal()
    for embedding, head in ((x, x), (x, x * 1.01), (x, x + 0.05 * normal(1))):
        model = reopened(tmp_path, plain(embedding, kinds[0]), plain(head, kinds[1]))
        assert model.config.tied_embedding == (head is x)
    last = x.copy()
    last[-1, np.abs(last[-1]).argmax()] *= 1.02  # One number.
    model = reopened(tmp_path, plain(x, kinds[0]), plain(last, kinds[1]))
    assert not model.config.tied_embedding
    found = model.load(0)
    np.testing.assert_allclose(found["embedding"]["w"], x, rtol=2**-8, atol=2**-24)
    np.testing.assert_allclose(found["head"]["w"], last, rtol=2**-8, atol=2**-24)


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: ENCODINGS[kind].name)
def test_quantized_matrices_are_one_where_they_are_equal(tmp_path, kind):
    rng, shape = np.random.default_rng(kind), (ALL_QUANTIZATIONS.vocab_size, ALL_QUANTIZATIONS.width)
    raw, other = (random_blocks(kind, math.prod(shape), rng) for _ in range(2))
    x = ENCODINGS[kind].decode(raw).reshape(shape)
    one, two = (shape, kind, raw.tobytes()), (shape, kind, other.tobytes())
    assert reopened(tmp_path, one, one).config.tied_embedding
    assert not reopened(tmp_path, one, two).config.tied_embedding
    model = reopened(tmp_path, one, plain(x, F32))  # Which the file has as two.
    assert not model.config.tied_embedding
    np.testing.assert_array_equal(model.load(0)["head"]["w"], x)


@pytest.mark.parametrize(
    ("real", "seconds"),
    [(False, 2), pytest.param(False, 60, marks=pytest.mark.slow), pytest.param(True, 60, marks=pytest.mark.slow)],
)
def test_a_damaged_model_is_refused_or_harmless(tmp_path, real, seconds):
    """In a process of its own, which must neither crash nor grow."""
    path = smollm2_path() if real else quantized(tmp_path / "a.gguf")
    program = pathlib.Path(__file__).parent / "fuzzed.py"
    result = subprocess.run([sys.executable, program, path, str(seconds)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout)
    assert found["refused"] > found["harmless"] / 4 > 0
    assert found["grown"] < 2 * found["size"] + (16 << 20)
