"""A program on eight virtual devices: runs and single updates of a learner on a mesh, beside those on one device."""

import dataclasses
import json
import os
import pathlib
import sys
import tempfile

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
import small

import rl
from policy import layout
from policy.sharding import bytes_per_device, table
from policy.transformer import parameter_shapes
from rl.batch import make_batch
from rl.learner import Learner
from verifiers import Outcome, Problem, Verdict

STEPS = 3


def half(problem: Problem, text: str) -> Verdict:
    return Verdict(float(len(text) % 2), Outcome.CORRECT)


def config(sizes: dict[str, int] | None, dtype: str, **changes) -> rl.RunConfig:
    shape = small.CONFIG
    if (sizes and "expert" in sizes) or changes.pop("experts", False):
        shape = dataclasses.replace(shape, num_experts=4, experts_per_token=2, expert_width=16)
    model = dataclasses.replace(small.MODEL, config=shape)
    model = dataclasses.replace(model, load=lambda seed, shardings=None: load(shape, seed, shardings))
    problems = [Problem(f"p{i}", f"{i}+{i}=", "", "half") for i in range(4)]
    return rl.RunConfig(
        model=model, problems=problems, verifiers={"half": half}, mesh=sizes, dtype=dtype, steps=STEPS,
        problems_per_step=3, group_size=4, max_tokens=12, slots=8, micro_batch_tokens=64, kl_coefficient=0.1,
        inline=True,
    )  # fmt: skip


def load(shape, seed, shardings):
    params = jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x, layout.random(shape, seed))
    return params if shardings is None else jax.device_put(params, shardings)


def largest(tree) -> float:
    return max(float(np.abs(np.asarray(x)).max()) for x in jax.tree.leaves(tree))


def main(sizes: dict[str, int], dtype: str, *, runs: bool) -> dict:
    experts = "expert" in sizes
    metrics = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, mesh in (("one", None), ("mesh", sizes)) if runs else ():
            path = pathlib.Path(folder) / name
            rl.train(config(mesh, dtype, experts=experts), path=path, console=lambda kind, **fields: None)
            lines = rl.Run(path).metrics()
            metrics[name] = [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]

        alone, spread = Learner(config(None, dtype, experts=experts)), Learner(config(sizes, dtype))
        same_start = alone.fingerprint() == spread.fingerprint()
        batch, _ = make_batch(small.groups(7, size=3), config(sizes, dtype))
        facts = alone.update(batch), spread.update(batch)
        difference = jax.tree.map(lambda a, b: a - b, alone.params(), spread.params())

        saved = pathlib.Path(folder) / "saved"
        saved.mkdir()
        spread.save(saved)
        alone.restore(saved)
        moved = alone.fingerprint() == spread.fingerprint()
        spread.restore(saved)
        again = spread.update(batch)["gradient/norm"] - alone.update(batch)["gradient/norm"]

    def held(tree) -> list[int]:
        return [sum(x.addressable_shards[i].data.nbytes for x in jax.tree.leaves(tree)) for i in range(8)]

    state = spread._state
    shape = config(sizes, dtype).model.config
    scalars = sum(x.nbytes for x in jax.tree.leaves(state.optimizer) if x.ndim == 0)
    return {
        "metrics": metrics,
        "same_start": same_start,
        "facts": facts,
        "difference": largest(difference),
        "moved": moved,
        "again": again,
        "held": held(state.params),
        "moments": [x - scalars for x in held(state.optimizer)],
        "predicted": bytes_per_device(sizes, parameter_shapes(shape), table(shape)),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]), sys.argv[2], runs=sys.argv[3] == "runs")))
