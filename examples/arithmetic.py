"""Shows a policy learning sums of two-digit numbers from right and wrong alone.

    assay train examples/arithmetic.py

An example in the conversation shows the form of an answer, `25 + 13 = 38`; only what stands after the last "=" is
judged, and a sum is not its own answer. The pairs that it is tested on never occur in training, in either order.
"""

from __future__ import annotations

import itertools
import random

import rl
import verifiers
from verifiers import Problem, Verdict

SHOWN = [{"role": "user", "content": "What is 25 + 13?"}, {"role": "assistant", "content": "25 + 13 = 38"}]


def total(problem: Problem, completion: str) -> Verdict:
    """Whether what stands after the last "=", or all if there is none, is the sum to `verifiers.number`."""
    return verifiers.number(problem, completion.rpartition("=")[2])


def problem(split: str, a: int, b: int) -> Problem:
    question = {"role": "user", "content": f"What is {a} + {b}?"}
    return Problem(f"sums/{split}/{a}+{b}", [*SHOWN, question], a + b, "total")


def problems() -> tuple[list[Problem], list[Problem]]:
    """Sums to train on, and 128 others to test on."""
    pairs = [pair for pair in itertools.combinations_with_replacement(range(10, 100), 2) if pair != (13, 25)]
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
        verifiers={"total": total},
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
