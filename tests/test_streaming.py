"""Weights onto devices, a tensor at a time: every cut is right, and the memory is bounded."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from model_files import assert_equal, write_gguf

import policy
from policy import streaming

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize("chunk", [1, 7, 1 << 21])
def test_every_part_of_a_joined_parameter(monkeypatch, chunk):
    monkeypatch.setattr(streaming, "_CHUNK", chunk)
    sources = {"a": np.arange(15.0).reshape(5, 3), "b": 20 + np.arange(3.0).reshape(1, 3)}
    parts = [("a", (5, 3)), ("b", (1, 3))]
    asked = []

    def read(name, rows):
        asked.append(rows.stop - rows.start)
        return sources[name][rows]

    whole = np.concatenate([sources["a"], sources["b"]])
    assert streaming.joined(parts) == (6, 3)
    for top in range(6):
        for bottom in range(top + 1, 7):
            for left, right in [(0, 3), (1, 2), (2, 3)]:
                found = streaming.fill(parts, read, ((top, bottom), (left, right)))
                np.testing.assert_array_equal(found, whole[top:bottom, left:right])
    assert max(asked) == min(max(chunk // 3, 1), 5)
    vector = streaming.fill([("v", (4,))], lambda _, rows: np.arange(4.0)[rows], ((1, 3),))
    np.testing.assert_array_equal(vector, np.array([1, 2], np.float32), strict=True)


@pytest.mark.parametrize("chunk", [1, 33])
def test_a_gguf_file_comes_in_by_a_few_rows(monkeypatch, tmp_path, chunk):
    """Queries and keys lie there in another order, whole heads at a time; here and on a device."""
    model = policy.pretrained(write_gguf(tmp_path / "a.gguf"))
    whole = model.load(0)
    monkeypatch.setattr(streaming, "_CHUNK", chunk)
    assert_equal(model.load(0), whole)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    assert_equal(jax.tree.map(np.asarray, model.load(0, jax.tree.map(lambda _: here, whole))), whole)


@pytest.mark.parametrize(
    ("layers", "vocab", "width", "experts", "least"),
    [(1, 32768, 512, 4, 0.15e9), pytest.param(5, 49152, 1536, 0, 1e9, marks=pytest.mark.slow)],
)
def test_peak_memory_of_a_load_onto_eight_devices(tmp_path, layers, vocab, width, experts, least):
    if not pathlib.Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux's /proc to measure memory")
    if shutil.disk_usage(tmp_path).free < 2 * least:
        pytest.skip(f"needs {2 * least:.0e} bytes of disk in {tmp_path}")
    arguments = [sys.executable, HERE / "streamed.py", tmp_path / "model", *map(str, (layers, vocab, width, experts))]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout)
    assert found["stored"] > least
    assert found["files"] > 1
    assert found["peak"] <= found["held"] + 1.2 * found["largest"]
    assert found["wrote"] <= 1.2 * found["largest"]
    shutil.rmtree(tmp_path / "model")
