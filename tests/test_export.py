"""Models into Hugging Face directories, and back."""

import dataclasses
import json
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from model_files import CONFIG, TIED, assert_equal, tensors
from safetensors.numpy import load_file

import policy


def test_export_and_back_is_bit_equal(tmp_path):
    config = dataclasses.replace(TIED, vocab_size=258)
    model = policy.from_scratch(config, policy.ByteTokenizer())
    params = model.load(0)
    path = policy.export(params, model, tmp_path / "a" / "out", dtype="float32")
    back = policy.pretrained(path)
    assert back.config == config
    assert_equal(back.load(0), params)
    assert (back.tokenizer.ends, back.tokenizer.pad) == ((1,), 0)
    assert back.tokenizer.chat([{"role": "user", "content": "hé"}]) == model.tokenizer.chat(
        [{"role": "user", "content": "hé"}]
    )
    twice = policy.export(back.load(0), back, tmp_path / "b", dtype="float32")
    for file in path.iterdir():
        assert file.read_bytes() == (twice / file.name).read_bytes(), file.name
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b"]  # No temporary folder stays.


def test_export_rounds_to_bfloat16(tmp_path):
    model = policy.from_scratch(CONFIG, policy.ByteTokenizer())
    params = model.load(0)
    path = policy.export(params, model, tmp_path / "out")
    stored = load_file(path / "model.safetensors")
    assert {x.dtype for x in stored.values()} == {np.dtype(ml_dtypes.bfloat16)}
    assert set(stored) == set(tensors())
    expected = params["layer_1/qkv"]["w"].astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(policy.pretrained(path).load(0)["layer_1/qkv"]["w"], expected.astype(np.float32))


def test_shards_of_float16_and_back(tmp_path):
    model = policy.from_scratch(CONFIG, policy.ByteTokenizer())
    half = jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), model.load(0))
    path = policy.export(jax.device_put(half), model, tmp_path / "out", "float16", shard_size=3000)
    files = sorted(file.name for file in path.glob("*.safetensors"))
    assert files == [f"model-{i:05}-of-{len(files):05}.safetensors" for i in range(1, len(files) + 1)]
    assert len(load_file(path / files[0])) == 1  # The embedding, which alone is larger than a file should be.
    assert all(sum(x.nbytes for x in load_file(path / file).values()) <= 3000 for file in files[1:-1])
    assert json.loads((path / "config.json").read_text())["torch_dtype"] == "float16"
    assert_equal(policy.pretrained(path).load(0), half)


def test_export_that_cannot_be_leaves_nothing(tmp_path):
    model = policy.from_scratch(CONFIG, policy.ByteTokenizer())
    params = model.load(0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty directory"):
        policy.export(params, model, tmp_path / "full")
    with pytest.raises(FileExistsError):
        policy.export(params, model, tmp_path / "full" / "mine")
    with pytest.raises(OSError, match="mine"):
        policy.export(params, model, tmp_path / "full" / "mine" / "out")
    wrong = params | {"head": {"w": params["head"]["w"].T}}
    with pytest.raises(ValueError, match=r"head/w is \[8, 260\], expected \[260, 8\]"):
        policy.export(wrong, model, tmp_path / "out")
    with pytest.raises(ValueError, match="writes bfloat16, float16, float32; got 'int8'"):
        policy.export(params, model, tmp_path / "out", dtype="int8")  # pyright: ignore[reportArgumentType]
    assert (tmp_path / "full" / "mine").read_text() == "keep"
    assert [entry.name for entry in tmp_path.iterdir()] == ["full"]
    huge = params | {"head": {"w": params["head"]["w"] * np.float32(1e8)}}
    with pytest.raises(ValueError, match=r"Tensor lm_head.weight holds .* too large for float16"):
        policy.export(huge, model, tmp_path / "out", "float16")
    with pytest.raises(ValueError, match="room for one byte at least, got shard_size 0"):
        policy.export(params, model, tmp_path / "out", shard_size=0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["full"]
    (tmp_path / "empty").mkdir()
    policy.export(params, model, tmp_path / "empty")


def test_a_disk_that_fills_up_during_export(tmp_path):
    """In a child process whose files may have 64 kB: writing the weights fails half-way."""
    program = """
import resource, signal, sys
import policy
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
config = policy.TransformerConfig(vocab_size=258, width=64, num_layers=2, num_heads=4, num_kv_heads=4, head_dim=16,
                                  mlp_width=256, context=64)
model = policy.from_scratch(config, policy.ByteTokenizer())
params = model.load(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    policy.export(params, model, sys.argv[1])
except OSError as error:
    print("refused:", error)
"""
    target = tmp_path / "out"
    result = subprocess.run([sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=False)
    assert "refused:" in result.stdout, result.stderr
    assert list(tmp_path.iterdir()) == []
