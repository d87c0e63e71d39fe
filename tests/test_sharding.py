"""The table of shardings: what it refuses, what it places where, and that a sharded policy computes the same."""

import json
import pathlib
import subprocess
import sys

import jax
import pytest
import small
from jax.sharding import PartitionSpec as P

from policy import layout
from policy.sharding import TABLE, bytes_per_device, describe, make_mesh, parse_mesh, partition, shardings
from policy.transformer import parameter_shapes

HERE = pathlib.Path(__file__).parent
SHAPES = parameter_shapes(small.CONFIG)
TINY = {"a": {"w": (8, 6)}, "b": {"w": (4,), "scale": (3,)}}


def test_the_table_places_every_parameter():
    specs = partition(SHAPES, TABLE)
    assert specs["embedding"]["w"] == P("tensor", "fsdp")
    assert specs["layer_1/down"]["w"] == P("fsdp", "tensor")
    assert specs["layer_0/attention_norm"]["scale"] == P()
    assert {(m, n) for m in specs for n in specs[m]} == {(m, n) for m in SHAPES for n in SHAPES[m]}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([("a/w", P()), ("b/w", P())], "b/scale matches no rule"),
        ([("./w", P()), ("b/scale", P()), ("c/w", P())], "the rule c/w matches no parameter"),
        ([("./w", P()), ("b/.*", P())], "b/w matches several rules: ./w, b/"),
        ([("a/w", P()), ("b/.*", P("fsdp", "tensor"))], r"b/w of shape \[4\] has fewer axes than its rule \('fsdp', 'tensor'\)"),
        ([("a", P()), ("w", P()), ("b/.*", P())], "a/w matches no rule; the rule a matches no.*; the rule w matches"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        partition(TINY, table)


def test_what_a_device_holds_by_hand():
    table = [("a/w", P(("data", "fsdp"), "tensor")), ("b/.*", P())]
    assert bytes_per_device({}, TINY, table) == 4 * (48 + 4 + 3)
    assert bytes_per_device({"data": 2, "fsdp": 2, "tensor": 3}, TINY, table) == 4 * (48 // 12 + 4 + 3)
    with pytest.raises(ValueError, match=r"a/w of shape \[8, 6\] along axis 0 by data·fsdp = 3; a/w .* by tensor = 4"):
        bytes_per_device({"fsdp": 3, "tensor": 4}, TINY, table)
    with pytest.raises(ValueError, match=r"names the axes \['rows'\]; a mesh has data, fsdp, tensor, expert"):
        bytes_per_device({}, TINY, [("a/w", P("rows")), ("b/.*", P())])
    described = dict(describe({"fsdp": 2, "tensor": 3}, TINY, table))
    assert described["a/w"] == "(data·fsdp, tensor): 1 of 192 B, 32 B a device"
    assert described["b/.*"] == "(copied): 2 of 28 B, 28 B a device"
    assert described["fsdp 2 × tensor 3"].startswith("55 parameters, 220 B in float32; 60 B a device, 240 B with")


def test_meshes():
    assert parse_mesh("fsdp=2, tensor=4") == {"fsdp": 2, "tensor": 4}
    for wrong in ("", "fsdp", "fsdp=0", "fsdp=2,fsdp=2", "rows=2", "fsdp=-1", "fsdp=2,"):
        with pytest.raises(ValueError, match='A mesh is written as "fsdp=2,tensor=4"'):
            parse_mesh(wrong)
    with pytest.raises(ValueError, match=r"fsdp 3 × tensor 1 × expert 1 needs 3 devices; there are 1\."):
        make_mesh(fsdp=3, devices=jax.devices()[:1])
    mesh = make_mesh(devices=jax.devices()[:1])
    placed = jax.device_put(layout.random(small.CONFIG, 0), shardings(mesh, SHAPES))
    assert placed["embedding"]["w"].shape == SHAPES["embedding"]["w"]


@pytest.mark.parametrize("sizes", [{"fsdp": 4, "tensor": 2}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=str)
def test_eight_devices_compute_what_one_does(sizes):
    result = subprocess.run(
        [sys.executable, HERE / "sharded.py", json.dumps(sizes)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout)
    # Logits, loss, gradients.
    assert max(found["difference"]) < 1e-5
    assert min(found["size"]) > 1e-2
    # Each device holds its share of what is cut, and a copy of the rest: five vectors of 32 here.
    cut = sizes["fsdp"] * sizes["tensor"]
    expected = (found["whole"] - 5 * 32 * 4) // cut + 5 * 32 * 4
    assert found["predicted"] == expected
    assert found["held"] == found["gradients"] == [expected] * 8
    assert found["moments"] == [2 * expected] * 8
    assert found["collectives"]["all-gather"] > 0
