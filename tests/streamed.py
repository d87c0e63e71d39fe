"""A program on eight virtual devices: writes a model directory, loads it onto them, and says what memory that took."""

import dataclasses
import json
import os
import pathlib
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
from model_files import BYTES

from policy import TransformerConfig, pretrained
from policy.families import family_of, write_config
from policy.layout import HUGGING_FACE, layout
from policy.safetensors_files import open_directory, write
from policy.sharding import make_mesh, shardings, table
from policy.transformer import parameter_shapes


def memory(field: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def forget_peak() -> int:
    """Starts a new measurement of the peak; the memory in use now."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def main(directory: pathlib.Path, layers: int, vocab: int, width: int, experts: int) -> dict:
    config = TransformerConfig(
        vocab_size=vocab, width=width, num_layers=layers, num_heads=12, num_kv_heads=4, head_dim=128,
        mlp_width=4096, context=64, tied_embedding=False,
    )  # fmt: skip
    if experts:
        config = dataclasses.replace(
            config, architecture="MixtralForCausalLM", num_experts=experts, experts_per_token=2, expert_width=4096,
            renormalized=True,
        )  # fmt: skip
    tree = layout(config, HUGGING_FACE | dict(family_of(config).names))
    shapes = {name: shape[-2:] for parts in tree.values() for name, shape in parts}
    largest = 4 * max(int(np.prod(shape)) for shape in shapes.values())
    numbers = {name: i + 1 for i, name in enumerate(shapes)}

    def read(name: str) -> np.ndarray:  # Every row says which it is.
        rows = np.arange(shapes[name][0], dtype=np.float32) / 2**20 + numbers[name]
        return np.broadcast_to(rows.reshape(-1, *[1] * (len(shapes[name]) - 1)), shapes[name])

    directory.mkdir()
    before = forget_peak()
    write(directory, shapes, read, "F32", shard_size=100 << 20)
    wrote = memory("VmHWM") - before
    (directory / "config.json").write_text(json.dumps(write_config(config) | {"eos_token_id": 1}))
    (directory / "tokenizer.json").write_text(BYTES.definition)

    places = shardings(make_mesh(fsdp=4, tensor=2), parameter_shapes(config), table(config))
    jax.block_until_ready(jax.device_put(np.zeros(8), jax.devices()[7]))
    model = pretrained(directory)
    before = forget_peak()
    params = model.load(0, places)
    peak = memory("VmHWM") - before
    leaves = jax.tree.leaves(params)
    held = sum(shard.data.nbytes for x in leaves for shard in x.addressable_shards)

    weights = open_directory(directory)
    for (module, name), parts in tree.items():
        expected = np.concatenate([weights.read(part).reshape(shape) for part, shape in parts])
        np.testing.assert_array_equal(np.asarray(params[module][name]), expected)
        assert params[module][name].sharding == places[module][name]
    return {
        "stored": sum(file.stat().st_size for file in directory.glob("*.safetensors")),
        "files": len(list(directory.glob("*.safetensors"))),
        "largest": largest,
        "held": held,
        "peak": peak,
        "wrote": wrote,
    }


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))))
