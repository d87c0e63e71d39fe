"""A program on eight virtual devices: logits, loss and gradients of a sharded policy, beside those of one device."""

import dataclasses
import json
import os
import re
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
import optax
import small
from jax.sharding import NamedSharding, PartitionSpec

from policy import layout, make_policy
from policy.sharding import BATCH, GROK_1, by_rows, bytes_per_device, make_mesh, shardings, table
from rl.batch import make_batch
from rl.learner import micro_batch_loss


def main(sizes: dict[str, int], *, grok: bool) -> dict:
    shape = dataclasses.replace(small.CONFIG, num_layers=1, post_norms=grok)
    if "expert" in sizes or grok:
        shape = dataclasses.replace(shape, num_experts=4, experts_per_token=2, expert_width=16)
    config = small.run_config(micro_batch_tokens=96, model=dataclasses.replace(small.MODEL, config=shape))
    policy, rules = make_policy(shape), GROK_1 if grok else table(shape)
    params = layout.random(shape, 0)
    params = jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x, params)  # So that nothing is close to uniform.
    batch, _ = make_batch(small.groups(12, size=3), config)
    rows = len(batch.tokens) // 8 * 8
    batch = jax.tree.map(lambda x: x[:rows] if np.ndim(x) else x, batch)

    def forward(batch, tree):
        hidden = policy.hidden(tree, batch.tokens, batch.segment, batch.prefix, batch.position, batch.keys)
        return policy.head(tree, hidden).T

    def rows_loss(batch, tree):
        return micro_batch_loss(config, "float32", tree, None, batch)[0]

    def compute(params, batch, spread=lambda f: f):
        def loss(tree):
            return spread(rows_loss)(batch, tree).sum()

        return spread(forward)(batch, params).reshape(-1, shape.vocab_size), *jax.value_and_grad(loss)(params)

    expected = jax.jit(compute)(params, batch)

    mesh = make_mesh(**sizes)
    places = shardings(mesh, params, rules)
    everywhere = NamedSharding(mesh, PartitionSpec())
    row_places = jax.tree.map(lambda x: NamedSharding(mesh, BATCH) if np.ndim(x) else everywhere, batch)
    sharded = jax.jit(
        lambda p, b: compute(p, b, lambda f: by_rows(f, mesh, rules)),
        in_shardings=(places, row_places),
        out_shardings=(everywhere, everywhere, places),
    )
    placed = jax.device_put(params, places)
    program = sharded.lower(placed, batch).compile()
    found = program(placed, jax.device_put(batch, row_places))

    # Adam's moments rest where their parameters do, if that is said.
    optimizer = optax.adam(1e-3)
    moments = optax.tree.map_params(
        optimizer, lambda _, place: place, jax.eval_shape(optimizer.init, params), places,
        transform_non_params=lambda _: everywhere,
    )  # fmt: skip
    state = jax.jit(optimizer.init, out_shardings=moments)(placed)

    def held(tree) -> list[int]:
        return [sum(x.addressable_shards[i].data.nbytes for x in jax.tree.leaves(tree)) for i in range(8)]

    def gathered(text: str) -> list[list[int]]:
        """The shapes of what a device gets from others."""
        shapes = re.findall(r" = \w+\[([\d,]*)\]\S* all-gather\(", text)
        return [[int(n) for n in shape.split(",")] for shape in shapes]

    def largest(tree) -> float:
        return max(float(np.abs(x).max()) for x in jax.tree.leaves(tree))

    difference = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), found, expected)
    loops, _, entry = program.as_text().partition("\nENTRY ")
    return {
        "difference": [largest(x) for x in difference],
        "size": [largest(x) for x in expected],
        "held": held(placed),
        "gradients": held(found[2]),
        "moments": held((state[0].mu, state[0].nu)),
        "predicted": bytes_per_device(sizes, params, rules),
        "whole": sum(x.nbytes for x in jax.tree.leaves(params)),
        "vectors": sum(x.nbytes for x in jax.tree.leaves(params) if x.ndim == 1),
        "rows": rows,
        "gathered": gathered(entry),
        "gathered in loops": gathered(loops),
        "columns": batch.tokens.size,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]), grok=sys.argv[2:] == ["grok"])))
