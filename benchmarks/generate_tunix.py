"""The side of Tunix in `benchmarks/generate.py`, in a Python of its own: run by it, not by hand.

Reads a case as JSON from its first argument, and then, for each line of its input, generates everything once and prints
the seconds. Random weights; tokens are numbers, and no row ends by itself before its batch's longest.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
from flax import nnx
from tunix.generate.sampler import CacheConfig, Sampler
from tunix.models.llama3.model import Llama3, ModelConfig


class Numbers:
    """A tokenizer of numbers."""

    def encode(self, text, **_):
        return [int(word) for word in text.split()]

    def decode(self, ids, **_):
        return " ".join(str(int(i)) for i in ids)

    def bos_id(self):
        return 1

    def eos_id(self):
        return 2

    def pad_id(self):
        return 0


def main() -> None:
    case = json.loads(sys.argv[1])
    shape, dtype = case["shape"], jnp.dtype(case["dtype"])
    model = Llama3(ModelConfig(**shape, rope_theta=10_000, norm_eps=1e-5, weight_tying=True), rngs=nnx.Rngs(0))
    nnx.update(model, jax.tree.map(lambda x: (x * 0.05 if x.ndim > 1 else x).astype(dtype), nnx.state(model)))
    longest = max(case["steps"])
    sampler = Sampler(
        model, Numbers(), CacheConfig(
            cache_size=case["prompt"] + longest, num_layers=shape["num_layers"], num_kv_heads=shape["num_kv_heads"],
            head_dim=shape["head_dim"],
        ),
    )  # fmt: skip
    batches = [
        [" ".join(map(str, tokens[1:])) for tokens in batch] for batch in case["batches"]
    ]  # It puts `bos` first.
    for _ in sys.stdin:
        began = time.perf_counter()
        for batch, steps in zip(batches, case["steps"], strict=True):
            sampler(
                batch, max_generation_steps=steps, max_prompt_length=case["prompt"], temperature=1.0, top_p=None,
                seed=1, eos_tokens=[shape["vocab_size"] - 1],
            )  # fmt: skip
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
