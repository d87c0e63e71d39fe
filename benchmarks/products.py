"""Times the products of a decode step with weights of eight bits against float32, to know whether they pay here.

    python benchmarks/products.py [--rounds 12]

`widened` stores int8 and computes in float32; `int8` turns activations into int8, too, one scale a column. Each takes
turns over eight weights of one shape, so that they come from memory. Ratios above 1 are faster than float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from policy.products import dot

SHAPES = ((3072, 576), (576, 1536), (2048, 256))  # SmolLM2-135M's gate and up, and down; gate and up of 4 small layers.
WEIGHTS = 8


def widened(w: jax.Array, x: jax.Array) -> jax.Array:
    return dot(w.astype(jnp.float32), x)


def int8(w: jax.Array, x: jax.Array) -> jax.Array:
    scale = jnp.abs(x).max(axis=0) / 127
    product = jax.lax.dot_general(w, jnp.round(x / scale).astype(jnp.int8), (((1,), (0,)), ((), ())),
                                  preferred_element_type=jnp.int32)  # fmt: skip
    return product.astype(jnp.float32) * scale


def chained(product: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    """One after the other, each with an input that waits for the one before."""

    def run(x: jax.Array, weights: list[jax.Array]) -> jax.Array:
        total = jnp.float32(0)
        for w in weights:
            total += product(w, x).sum()
            x += 1e-9 * total
        return total

    return jax.jit(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    random = np.random.default_rng(0)
    for out, features in SHAPES:
        narrow = [jnp.array(random.integers(-127, 128, (out, features)), jnp.int8) for _ in range(WEIGHTS)]
        wide = [w.astype(jnp.float32) for w in narrow]
        for columns in (8, 64):
            x = jnp.array(random.normal(size=(features, columns)), jnp.float32)
            sides = {"float32": (dot, wide), "widened": (widened, narrow), "int8": (int8, narrow)}
            runs = {side: (chained(product), weights) for side, (product, weights) in sides.items()}
            for run, weights in runs.values():
                run(x, weights).block_until_ready()  # Compiles.
            seconds: dict[str, list[float]] = {side: [] for side in runs}
            for _ in range(rounds):
                for side, (run, weights) in runs.items():
                    began = time.perf_counter()
                    run(x, weights).block_until_ready()
                    seconds[side].append(time.perf_counter() - began)
            least = {side: min(times) for side, times in seconds.items()}
            ratios = ", ".join(f"{side} {least['float32'] / least[side]:.2f} times" for side in ("widened", "int8"))
            print(f"[{out}, {features}] x {columns}: float32 {1e3 * least['float32'] / WEIGHTS:.2f} ms; {ratios}")


if __name__ == "__main__":
    main()
