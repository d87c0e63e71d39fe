"""The table of shardings: what it refuses, what it places where, and that a sharded policy computes the same."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import jax
import pytest
import small
from jax.sharding import PartitionSpec as P
from model_files import write_directory

from policy import layout, pretrained
from policy.memory import engine_memory
from policy.sharding import GROK_1, bytes_per_device, describe, make_mesh, parse_mesh, partition, shardings, table
from policy.transformer import fast_dtype, parameter_shapes
from rl.batch import make_batch
from rl.cli import main
from rl.configfile import parse_overrides
from rl.fingerprint import fingerprint
from rl.learner import Learner
from rl.preflight import _mesh_findings

HERE = pathlib.Path(__file__).parent
SHAPES = parameter_shapes(small.CONFIG)
TINY = {"a": {"w": (8, 6)}, "b": {"w": (4,), "scale": (3,)}}


def test_the_table_places_every_parameter():
    specs = partition(SHAPES, table(small.CONFIG))
    assert specs["embedding"]["w"] == P("tensor", "fsdp")
    assert specs["layer_1/down"]["w"] == P("fsdp", "tensor")
    assert specs["layer_0/attention_norm"]["scale"] == P()
    assert {(m, n) for m in specs for n in specs[m]} == {(m, n) for m in SHAPES for n in SHAPES[m]}


EXPERTS = {"num_experts": 4, "experts_per_token": 2, "expert_width": 8}


@pytest.mark.parametrize(
    "changes",
    [
        {"tied_embedding": False, "qk_norm": True, "post_norms": True},
        {"qkv_bias": True},
        {"learned_positions": True, "layer_norm": True, "gated": False}
        | dict.fromkeys(("qkv_bias", "out_bias", "mlp_bias"), True),
        EXPERTS,
        EXPERTS | {"dense_layers": (0,), "qkv_bias": True},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_kind_of_model_has_its_table(changes):
    config = dataclasses.replace(small.CONFIG, **changes)
    specs = partition(layout.random(config, 0), table(config))
    if config.num_experts:
        assert specs["layer_1/experts"]["down"] == P("expert", "fsdp", "tensor")
        assert specs["layer_1/router"]["w"] == P(None, "fsdp")


def test_grok_1_rests_as_xai_published():
    config = dataclasses.replace(small.CONFIG, post_norms=True, **EXPERTS)
    specs = partition(layout.random(config, 0), GROK_1)
    assert specs["embedding"]["w"] == P(None, ("fsdp", "tensor"))
    assert specs["layer_0/experts"]["up"] == P(None, "tensor", "fsdp")
    with pytest.raises(ValueError, match=r"layer_0/gate/w, .*; rules that match no parameter: .*router/w, "):
        partition(SHAPES, GROK_1)


def test_a_run_may_take_other_rules():
    config = dataclasses.replace(small.CONFIG, post_norms=True, num_layers=1, **EXPERTS)
    model = dataclasses.replace(
        small.MODEL, config=config, load=lambda seed, places: jax.device_put(layout.random(config, seed), places)
    )
    run = small.run_config(model=model, mesh={"fsdp": 1}, sharding=GROK_1)
    learner = Learner(run)
    specs = jax.tree.map(lambda x: x.sharding.spec, learner._state.params)
    assert specs == partition(parameter_shapes(config), GROK_1) != partition(parameter_shapes(config), table(config))
    batch, _ = make_batch(small.groups(2, 4), run)
    assert learner.update(batch)["gradient/norm"] > 0
    assert fingerprint(run.sharding) != fingerprint(GROK_1[:-1])
    with pytest.raises(ValueError, match=r"RunConfig.sharding must be pairs of a pattern and .*PartitionSpec"):
        small.run_config(mesh={"fsdp": 1}, sharding=[("embedding/w", "fsdp")])
    with pytest.raises(ValueError, match=r"and there is none: set mesh="):
        small.run_config(sharding=GROK_1)
    (finding,) = _mesh_findings(small.run_config(mesh={"fsdp": 1}, sharding=GROK_1))  # A model without experts.
    assert "RunConfig.sharding: The table of shardings does not fit the model" in finding.message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([("a/w", P()), ("b/w", P())], "There are parameters that match no rule: b/scale."),
        ([("./w", P()), ("b/scale", P()), ("c/w", P())], "There are rules that match no parameter: c/w."),
        ([("./w", P()), ("b/.*", P())], "parameters that match several: b/w (./w, b/.*)."),
        ([("a/w", P()), ("b/w", P("fsdp", "tensor")), ("b/scale", P())],
         "fewer axes than their rule: b/w of shape [4] (('fsdp', 'tensor'))."),
        ([("a", P()), ("w", P()), ("b/.*", P())],
         "parameters that match no rule: a/w; rules that match no parameter: a, w."),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(table, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        partition(TINY, table)


def test_what_a_device_holds_by_hand():
    table = [("a/w", P(("data", "fsdp"), "tensor")), ("b/.*", P())]
    assert bytes_per_device({}, TINY, table) == 4 * (48 + 4 + 3)
    assert bytes_per_device({"data": 2, "fsdp": 2, "tensor": 3}, TINY, table) == 4 * (48 // 12 + 4 + 3)
    with pytest.raises(ValueError, match=r"a/w of shape \[8, 6\] along axis 0 by data·fsdp = 3, a/w .* by tensor = 4"):
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
    assert parse_overrides(["mesh=fsdp=2,tensor=4"]) == {"mesh": {"fsdp": 2, "tensor": 4}}
    assert parse_overrides(["mesh=none"]) == {"mesh": None}
    with pytest.raises(ValueError, match=r"mesh must be devices along data, .*, as in mesh=fsdp=4,tensor=2, or none"):
        parse_overrides(["mesh=rows=2"])
    with pytest.raises(ValueError, match=r"fsdp 3 × tensor 1 × expert 1 needs 3 devices; there are 1\."):
        make_mesh(fsdp=3, devices=jax.devices()[:1])
    mesh = make_mesh(devices=jax.devices()[:1])
    placed = jax.device_put(layout.random(small.CONFIG, 0), shardings(mesh, SHAPES, table(small.CONFIG)))
    assert placed["embedding"]["w"].shape == SHAPES["embedding"]["w"]


def test_the_doctor_prints_the_table(tmp_path, capsys):
    path = write_directory(tmp_path / "model")
    main(["doctor", str(path), "--mesh", "fsdp=2,tensor=2"])
    out = capsys.readouterr().out
    config = pretrained(path).config
    needed = engine_memory(config, slots=64, prompt_columns=32, max_tokens=32, dtype=fast_dtype())
    assert f"engine     {path} in {fast_dtype()}, prompts and completions of 32 tokens: cache " in out
    assert f"64 slots {needed.peak / 2**30:.2f} GiB at the peak" in out
    # head and embedding: 2 x 260 x 8 numbers.
    assert re.search(r"\(embedding\|head\)/w +\(tensor, fsdp\): 2 of 16\.2 KiB, 4\.1 KiB a device", out)
    assert re.search(r"\.\*norm/\(scale\|offset\) +\(copied\): 5 of 160 B, 160 B a device", out)
    assert re.search(r"fsdp 2 × tensor 2 +\d,\d+ parameters, .* a device, .* with gradient and Adam's moments", out)
    assert main(["doctor", str(path), "--mesh", "fsdp=3"]) == 2
    assert re.search(
        r"cannot be cut evenly: .*embedding/w of shape \[260, 8\] along axis 1 by fsdp = 3", capsys.readouterr().err
    )
    assert main(["doctor", str(path), "--mesh", "rows=3"]) == 2
    assert "axes data, fsdp, tensor, expert; got 'rows=3'" in capsys.readouterr().err
    assert main(["doctor", "--mesh", "fsdp=3"]) == 2


def sharded(*arguments) -> dict:
    """What tests/sharded.py finds; logits, loss and gradients are those of one device."""
    command = [sys.executable, HERE / "sharded.py", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout)
    assert max(found["difference"]) < 1e-5
    assert min(found["size"]) > 1e-2
    return found


@pytest.mark.slow
def test_eight_devices_under_the_rules_of_grok_1():
    found = sharded(json.dumps({"fsdp": 4, "tensor": 2}), "grok")
    assert found["held"] == found["gradients"] == [found["predicted"]] * 8
    assert found["moments"] == [2 * found["predicted"]] * 8
    router = 4 * 32 * 4  # Cut along fsdp alone.
    matrices = found["whole"] - found["vectors"] - router
    assert found["predicted"] == matrices // 8 + router // 4 + found["vectors"]


@pytest.mark.parametrize("sizes", [{"fsdp": 4, "tensor": 2}, {"fsdp": 2, "tensor": 2, "expert": 2}], ids=str)
def test_eight_devices_compute_what_one_does(sizes):
    found = sharded(json.dumps(sizes))
    # Each device holds its share of the matrices, and copies of the norms.
    if "expert" in sizes:
        assert (
            found["whole"] / 8 < found["predicted"] < found["whole"] / 4
        )  # Only experts are cut along the third axis.
    else:
        assert found["predicted"] == (found["whole"] - found["vectors"]) // 8 + found["vectors"]
    assert found["held"] == found["gradients"] == [found["predicted"]] * 8
    assert found["moments"] == [2 * found["predicted"]] * 8
    # What a device gathers, in the compiled program: weights along fsdp, and never in a loop.
    shapes = [tuple(shape) for shape in found["gathered"]]
    assert (32, 64 // sizes["tensor"]) in shapes or (64 // sizes["tensor"], 32) in shapes  # Of attention.
    assert found["gathered in loops"] == []
    # Columns of all devices: nothing but logits, in the end, for this test.
    columns = found["columns"]
    assert {shape for shape in shapes if columns in shape} == {(columns, small.CONFIG.vocab_size)}
    # Of four experts a device has two, whole along fsdp; no device ever has all.
    stacks = {shape for shape in shapes if len(shape) == 3}
    assert stacks == ({(2, 32, 8), (2, 8, 32)} if "expert" in sizes else set())
