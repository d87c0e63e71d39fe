"""Shows a policy learning sums of two-digit numbers from right and wrong alone.

    assay train examples/arithmetic.py

The prompt asks for the number only, and the `number` verifier takes nothing else: a completion counts if the whole
of it is the sum. The pairs that it is tested on never occur in training, in either order.
"""

from __future__ import annotations

import itertools
import random

import rl
import verifiers
from verifiers import Problem


def problem(split: str, a: int, b: int) -> Problem:
    question = f"What is {a} + {b}? Reply with the number only."
    return Problem(f"sums/{split}/{a}+{b}", [{"role": "user", "content": question}], a + b, "number")


def problems() -> tuple[list[Problem], list[Problem]]:
    """Sums to train on, and 128 others to test on."""
    pairs = list(itertools.combinations_with_replacement(range(10, 100), 2))
    random.Random(0).shuffle(pairs)
    test, train = pairs[:128], pairs[128:]
    return [problem("train", a, b) for a, b in train], [problem("test", a, b) for a, b in test]


def config() -> rl.RunConfig:
    import policy

    train, test = problems()
    return rl.RunConfig(
        model=policy.pretrained(policy.smollm2()),
        problems=train,
        held_out=test,
        verifiers={"number": verifiers.number},
        steps=60,
        problems_per_step=8,
        group_size=8,
        max_tokens=16,
        temperature=1.0,
        learning_rate=5e-6,
        warmup_steps=3,
        eval_every=20,
    )


if __name__ == "__main__":
    rl.train(config())
