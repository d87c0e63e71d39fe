"""Safetensors files: what comes back, what is refused, and what is written."""

import json
import struct
import time
import tracemalloc

import ml_dtypes
import model_files
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import policy
from policy.safetensors_files import open_directory, open_file, write

X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = np.array([1.5, -2], np.float16)
BF = np.array([[0.1]], ml_dtypes.bfloat16)


def file(path, header, data: bytes = b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def test_a_file_of_the_library_comes_back(tmp_path):
    save_file({"x": X, "y": Y, "z": BF, "empty": np.zeros((0, 3), np.float32)}, tmp_path / "a", {"format": "pt"})
    found = open_file(tmp_path / "a")
    assert {name: t.shape for name, t in found.tensors.items()} == {
        "x": (2, 3),
        "y": (2,),
        "z": (1, 1),
        "empty": (0, 3),
    }
    np.testing.assert_array_equal(found.read("x"), X, strict=True)
    np.testing.assert_array_equal(found.read("x", slice(1, 2)), [[3, 4, 5]])
    np.testing.assert_array_equal(found.read("y"), [1.5, -2])
    assert found.read("z")[0, 0] == np.float32(0.10009765625)  # 0x3dcd, the bfloat16 next to 0.1.
    assert found.read("empty").shape == (0, 3)


def test_a_tensor_that_nobody_needs_may_be_of_any_type(tmp_path):
    """Masks and tables of rotations that follow from the config."""
    mask = np.tril(np.ones((3, 3), bool))
    save_file({"mask": mask, "x": X}, tmp_path / "a")
    found = open_file(tmp_path / "a")
    np.testing.assert_array_equal(found.read("x"), X)
    with pytest.raises(ValueError, match="tensor 'mask' is stored as 'BOOL'; supported: F32, F16, BF16"):
        found.read("mask")
    more = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float64)}
    path = model_files.write_directory(tmp_path / "tiny", weights=model_files.tensors() | more)
    policy.pretrained(path).load(0)


def entry(shape=(2, 3), start=0, stop=24, dtype="F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


TWELVE, ROOM = bytes(12), bytes(24)
LIES = {
    "empty": (b"", "header has 0 bytes, and the file 0"),
    "short": (b"\1\0", "and the file 2"),
    "huge header": (struct.pack("<Q", 2**63) + ROOM, "header has 9223372036854775808 bytes, and the file 32"),
    "header past the end": (struct.pack("<Q", 25) + ROOM, "header has 25 bytes"),
    "no JSON": (b"{", "no JSON object"),
    "not UTF-8": (b'{"\xff": 1}', "no JSON object"),
    "deep": (b"[" * 100_000, "no JSON object"),
    "a list": ([1], "header is a JSON list"),
    "twice": (b'{"x": 1, "x": 1}', "a key appears twice"),
    "no entry": ({"x": 3}, "tensor 'x' is described by 3"),
    "missing key": ({"x": {"dtype": "F32", "shape": []}}, "is described by"),
    "dtype": ({"x": entry(dtype="C64")}, "'x' is stored as 'C64'; supported: F32, F16, BF16"),
    "dtype is a list": ({"x": entry(dtype=[])}, r"stored as \[\]"),
    "shape": ({"x": entry(shape=[2, -3])}, r"shape \[2, -3\]"),
    "shape of bools": ({"x": entry(shape=[True])}, r"shape \[True\]"),
    "shape of floats": ({"x": entry(shape=[2.0, 3])}, r"shape \[2.0, 3\]"),
    "huge dimension": ({"x": entry(shape=[2**63])}, "shape"),
    "overflow": ({"x": entry(shape=[2**32, 2**32])}, "has 24 bytes"),
    "many dimensions": ({"x": entry(shape=[1] * 9)}, "shape"),
    "offsets": ({"x": entry(start=24, stop=0)}, r"data_offsets \[24, 0\]"),
    "size": ({"x": entry(shape=[5])}, r"F32 of shape \[5\], has 24 bytes"),
    "hole": ({"x": entry(shape=[5], start=4)}, "starts at byte 4 of the data, expected 0"),
    "overlap": ({"x": entry(shape=[3], stop=12), "y": entry(shape=[4], start=8)}, "'y' starts at byte 8 .*expected 12"),
    "past the end": ({"x": entry(shape=[7], stop=28)}, "have 28 bytes, the file holds 24: it is truncated"),
    "left over": ({"x": entry(shape=[5], stop=20)}, "have 20 bytes, the file holds 24"),
}


@pytest.mark.parametrize(("header", "message"), LIES.values(), ids=list(LIES))
def test_a_lying_file_is_one_error_and_little_memory(tmp_path, header, message):
    path = tmp_path / "lie.safetensors"
    if isinstance(header, bytes) and header[:1] not in (b"{", b"["):
        path.write_bytes(header)
    else:
        file(path, header, ROOM)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        open_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 1 << 20


def test_a_name_is_never_a_path(tmp_path):
    found = open_file(file(tmp_path / "a", {"../../x": entry()}, X.tobytes()))
    np.testing.assert_array_equal(found.read("../../x"), X)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_shrinks_and_a_number_that_is_none(tmp_path):
    path = file(tmp_path / "a", {"x": entry()}, X.tobytes())
    found = open_file(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="ends inside tensor 'x'"):
        found.read("x")
    assert found.read("x", slice(0, 1)).tolist() == [[0, 1, 2]]
    file(path, {"x": entry()}, X.tobytes()[:-4] + struct.pack("<f", float("inf")))
    with pytest.raises(ValueError, match="'x' holds NaN or infinity"):
        found.read("x")


def damaged(path, good: bytes, rng: np.random.Generator) -> None:
    """Writes `good` with a few bytes changed, cut off or put in."""
    raw = bytearray(good)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(0, len(raw)))
        match rng.integers(4):
            case 0:
                raw[place] ^= 1 << int(rng.integers(8))
            case 1:
                del raw[place + 1 : place + 1 + int(rng.integers(1, 40))]
            case 2:
                raw[place:place] = rng.bytes(int(rng.integers(1, 9)))
            case _:  # A piece of JSON where another was.
                raw[place : place + 1] = rng.choice([b"[", b"]", b"{", b"9999999999", b"-1", b"1e400", b'"', b"null"])
    path.write_bytes(raw)


@pytest.mark.parametrize("seconds", [1.5, pytest.param(60, marks=pytest.mark.slow)])
def test_damage_is_a_value_error_or_harmless(tmp_path, seconds):
    path, rng = tmp_path / "a", np.random.default_rng(0)
    save_file({"x": X, "y": Y, "z": BF}, path, {"format": "pt"})
    good, end, refused, tried = path.read_bytes(), time.monotonic() + seconds, 0, 0
    while time.monotonic() < end or tried < 500:
        tried += 1
        damaged(path, good, rng)
        try:
            found = open_file(path)
            assert {found.read(name).nbytes for name in found.tensors} <= set(range(1024))
        except ValueError as error:
            refused += 1
            assert str(path) in str(error)  # noqa: PT017
    assert refused > 100


# Directories.


def test_shards_and_their_index(tmp_path):
    shapes = {f"t{i}": (i + 1, 4) for i in range(5)}
    values = {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(shapes.items())}
    write(tmp_path, shapes, values.__getitem__, "F32", shard_size=100)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    # Of 16, 32, 48, 64 and 80 bytes: three, one, one.
    assert index["metadata"] == {"total_size": 240}
    assert list(index["weight_map"].values()) == [f"model-0000{i}-of-00003.safetensors" for i in (1, 1, 1, 2, 3)]
    found = open_directory(tmp_path)
    for name, x in values.items():
        np.testing.assert_array_equal(found.read(name), x)
        np.testing.assert_array_equal(load_file(tmp_path / index["weight_map"][name])[name], x)
    names = index["weight_map"]
    for changes, message in [
        (
            {"t1": names["t3"]},
            r"00001-of-.* do not agree. Only in the index: none; only in the file: t1",
        ),
        (
            {"t9": names["t4"]},
            r"00003-of-.* do not agree. Only in the index: t9; only in the file: none",
        ),
        ({"t0": "../a"}, r"names the file '\.\./a'"),
        ({"t0": 3}, "names the file 3"),
        ({"t0": ["x"]}, "names the file"),
    ]:
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names | changes}))
        with pytest.raises(ValueError, match=message):
            open_directory(tmp_path)


@pytest.mark.parametrize(("dtype", "stored"), [("F32", np.float32), ("F16", np.float16), ("BF16", ml_dtypes.bfloat16)])
def test_what_is_written_the_library_reads(tmp_path, dtype, stored):
    x = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    write(tmp_path, {"x": (7, 3), "é": (1,)}, {"x": x, "é": np.ones(1, np.float32)}.__getitem__, dtype, 1 << 30)
    found = load_file(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(found["x"], x.astype(stored), strict=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_what_cannot_be_written(tmp_path):
    for x, message in [
        (np.array([1e5], np.float32), "too large for float16"),
        (np.array([np.nan], np.float32), "Tensor x holds NaN"),
        (np.ones(2, np.float32), r"Tensor x is \[2\], expected \[1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            write(tmp_path, {"x": (1,)}, {"x": x}.__getitem__, "F16", 100)
