"""Shows a policy learning to write small Python functions from whether they pass their tests.

    assay train examples/code.py

Each completion is a program. `verifiers.code` runs it in a sandbox: no network, no files, no neighbors, and the values
that it must return never enter the process that holds it. An example in the conversation shows the form of an answer.
The functions that it is tested on differ from those of the training in their numbers and letters.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import rl
import verifiers
from verifiers import Problem

SHOWN = [
    {"role": "user", "content": "Write a Python function f(x) that returns x plus 1."},
    {"role": "assistant", "content": "```python\ndef f(x):\n    return x + 1\n```"},
]
NUMBERS = [0, 1, 2, 7, 10, 25, -4]
WORDS = ["", "a", "banana", "Tea or coffee", "eel"]
LISTS = [[3, 1, 2], [5], [4, 4, -1, 9], [10, 20, 30]]

# kind: (what the function returns, the same in Python, parameters, arguments to try)
KINDS: dict[str, tuple[str, str, list, list]] = {
    "plus": ("x plus {n}", "x + {n}", list(range(2, 30)), NUMBERS),
    "minus": ("x minus {n}", "x - {n}", list(range(2, 30)), NUMBERS),
    "times": ("x times {n}", "x * {n}", list(range(2, 30)), NUMBERS),
    "remainder": ("the remainder of x divided by {n}", "x % {n}", list(range(2, 20)), NUMBERS),
    "square": ("the square of x, plus {n}", "x * x + {n}", list(range(2, 20)), NUMBERS),
    "larger": ("the larger of x and {n}", "max(x, {n})", list(range(2, 12)), NUMBERS),
    "above": ("True if x is greater than {n}, else False", "x > {n}", list(range(1, 12)), NUMBERS),
    "divisible": ("True if x is divisible by {n}, else False", "x % {n} == 0", list(range(2, 12)), NUMBERS),
    "count": ("how often the letter {n!r} occurs in the text x", "x.count({n!r})", list("abcefnot"), WORDS),
    "append": ("the text x followed by {n!r}", "x + {n!r}", ["!", "?", "...", "abc", "yes", "no"], WORDS),
    "repeat": ("the text x, repeated {n} times", "x * {n}", [2, 3, 4, 5, 6, 7], WORDS),
    "sum": ("the sum of the list x, plus {n}", "sum(x) + {n}", list(range(1, 12)), LISTS),
    "longer": ("True if the list x has more than {n} items, else False", "len(x) > {n}", [0, 1, 2, 3], LISTS),
}
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "plus": lambda x, n: x + n, "minus": lambda x, n: x - n, "times": lambda x, n: x * n,
    "remainder": lambda x, n: x % n, "square": lambda x, n: x * x + n, "larger": lambda x, n: max(x, n),
    "above": lambda x, n: x > n, "divisible": lambda x, n: x % n == 0, "count": lambda x, n: x.count(n),
    "append": lambda x, n: x + n, "repeat": lambda x, n: x * n, "sum": lambda x, n: sum(x) + n,
    "longer": lambda x, n: len(x) > n,
}  # fmt: skip


def problem(split: str, kind: str, n: Any) -> Problem:
    words, python, _, tried = KINDS[kind]
    question = {"role": "user", "content": f"Write a Python function f(x) that returns {words.format(n=n)}."}
    tests = [f"assert f({x!r}) == {FUNCTIONS[kind](x, n)!r}" for x in tried]
    answer = {"mode": "calls", "tests": tests, "entry_point": "f", "limits": {"cpu_s": 2, "idle_s": 2}}
    gold = f"```python\ndef f(x):\n    return {python.format(n=n)}\n```"
    return Problem(f"functions/{split}/{kind}/{n}", [*SHOWN, question], answer, "code", metadata={"solution": gold})


def problems() -> tuple[list[Problem], list[Problem]]:
    """Functions to train on, and a quarter as many others to test on."""
    pairs = [(kind, n) for kind, (_, _, parameters, _) in KINDS.items() for n in parameters]
    random.Random(0).shuffle(pairs)
    few = len(pairs) // 5
    return [problem("train", *pair) for pair in pairs[few:]], [problem("test", *pair) for pair in pairs[:few]]


def config() -> rl.RunConfig:
    import policy

    train, test = problems()
    return rl.RunConfig(
        model=policy.pretrained(policy.smollm2()),
        problems=train,
        held_out=test,
        verifiers={"code": verifiers.code},
        steps=40,
        problems_per_step=8,
        group_size=8,
        max_tokens=48,
        temperature=1.0,
        learning_rate=5e-6,
        warmup_steps=3,
        eval_every=20,
    )


if __name__ == "__main__":
    rl.train(config())
