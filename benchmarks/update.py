"""Times one update of the main job's size on this machine: 8 problems × 8 samples × 32 tokens, SmolLM2-135M's shape.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736 \\
        python benchmarks/update.py [--rounds 3] [--layers 30] [--dtype float32]

Random weights and completions of full length. The learner's step is run in alternation on tree rows (a prompt once,
then its completions) and on rows of one completion each, and the ratio is reported with its spread. GLIBC_TUNABLES is
the setting that the launcher gives its actors; it is read at the start of a process only.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import statistics
import sys
import time

sys.path.pop(0)  # This folder, whose verifiers.py is not the package.

import jax
import numpy as np

from policy import ByteTokenizer, Completion, Engine, TransformerConfig, from_scratch
from policy.transformer import fast_dtype
from rl.batch import make_batch
from rl.config import RunConfig
from rl.learner import Learner
from rl.types import Batch, Group, Rollout
from verifiers import Outcome, Problem, Verdict

SMOLLM2 = TransformerConfig(
    vocab_size=49152,
    width=576,
    num_layers=30,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    mlp_width=1536,
    context=8192,
    rope_theta=1e5,
)
PROMPT = 60  # Tokens: those of examples/instructions.py are 41 to 57.


def groups(config: RunConfig, rng: np.random.Generator) -> list[Group]:
    """P groups of G completions of full length, every group with an advantage."""

    def rollout(prompt: np.ndarray, g: int) -> Rollout:
        n = config.max_tokens
        tokens = rng.integers(0, SMOLLM2.vocab_size, n).astype(np.int32)
        logprobs = np.full(n, -np.log(SMOLLM2.vocab_size), np.float32)
        completion = Completion(prompt, tokens, np.ones(n, bool), logprobs, logprobs, "", "length", 0)
        return Rollout(completion, Verdict(float(g % 2), Outcome.CORRECT if g % 2 else Outcome.INCORRECT))

    made = []
    for i in range(config.problems_per_step):
        prompt = rng.integers(0, SMOLLM2.vocab_size, PROMPT).astype(np.int32)
        rollouts = tuple(rollout(prompt, g) for g in range(config.group_size))
        made.append(Group(i, Problem(str(i), "", ""), rollouts))
    return made


def one_a_row(batch_groups: list[Group], config: RunConfig) -> Batch:
    """The same tokens, each completion with a prompt of its own."""
    single = dataclasses.replace(config, advantage=lambda rewards: np.full_like(rewards, 0.5 - rewards[0]))
    alone = [dataclasses.replace(group, rollouts=(rollout,)) for group in batch_groups for rollout in group.rollouts]
    return make_batch(alone, single)[0]


def timed(function, *arguments) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=SMOLLM2.num_layers)
    parser.add_argument("--dtype", default=fast_dtype(), choices=["float32", "bfloat16"])
    options = parser.parse_args()
    shape = dataclasses.replace(SMOLLM2, num_layers=options.layers)
    model = from_scratch(shape, ByteTokenizer())
    config = RunConfig(
        model=model,
        problems=[Problem("p", "", "", "none")],
        verifiers={"none": lambda problem, text: Verdict(0, Outcome.INCORRECT)},
        dtype=options.dtype,
    )
    rng = np.random.default_rng(0)
    made = groups(config, rng)
    tree, single = make_batch(made, config)[0], one_a_row(made, config)
    learner = Learner(config)
    engine = Engine(model, seed=0, slots=64, prompt_columns=PROMPT, max_tokens=config.max_tokens, dtype=options.dtype)

    def generate() -> None:
        for group in made:
            prompt = group.rollouts[0].completion.prompt
            engine.submit(group.index, prompt, samples=8, index=group.index)
        while not engine.idle:
            engine.step()

    for batch in (tree, single):
        learner.update(batch)  # Compiles.
    engine.load(learner.publish())
    generate()
    times: dict[str, list[float]] = {"tree": [], "single": [], "publish": [], "generate": []}
    for _ in range(options.rounds):
        times["tree"].append(timed(learner.update, tree))
        times["single"].append(timed(learner.update, single))
        times["publish"].append(timed(learner.publish))
        times["generate"].append(timed(generate))
    print(f"{options.layers} layers, {options.dtype}, jax {jax.__version__}, {jax.devices()[0].platform}")
    for name, columns in (("tree", tree.tokens.size), ("single", single.tokens.size), ("publish", 0), ("generate", 0)):
        low, middle, high = min(times[name]), statistics.median(times[name]), max(times[name])
        print(f"{name:<9} {low:6.2f} / {middle:6.2f} / {high:6.2f} s" + (f"  {columns} columns" if columns else ""))
    ratios = sorted(b / a for a, b in zip(times["tree"], times["single"], strict=True))
    print(f"single / tree: {ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f} (min / median / max)")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
