"""Shows a policy with a tool: it writes Python, reads what the program printed, and answers.

    assay train examples/tools.py

SmolLM2-135M-Instruct multiplies numbers that it cannot multiply in its head. When a turn of it holds a program, the
program runs in the sandbox and its output is appended as tokens. The conversation is never made anew from text, so
what the policy saw is what it is trained on; the tool's tokens have mask False and are not trained on.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import rl
from verifiers import Outcome, Problem, Verdict, sandbox

if TYPE_CHECKING:
    from policy import Tokenizer

SYSTEM = (
    "You can run Python. Write a program between ```python and ``` and end your message; "
    "what it prints comes back. Then answer with the number alone."
)
LIMITS = sandbox.Limits(cpu_s=2, idle_s=2, output_kb=4)
MOST_LETTERS = 200  # Of an output that the policy reads.


@dataclasses.dataclass(frozen=True)
class PythonTool:
    """An environment: runs the program in the policy's last turn. It remembers nothing, so it may be asked twice."""

    tokenizer: Tokenizer

    def __call__(self, problem: Problem, tokens: np.ndarray, mask: np.ndarray) -> Sequence[int] | None:
        written_by_others = np.flatnonzero(~mask)
        turn = tokens[written_by_others[-1] + 1 if len(written_by_others) else 0 :]
        program = re.search(r"```python\n(.*?)```", self.tokenizer.decode(turn.tolist()), re.DOTALL)
        return self.tokenizer.encode(reply(output(program[1]))) if program else None


def output(program: str) -> str:
    """What a program printed, or how it failed."""
    execution = sandbox.run(program, limits=LIMITS)
    if execution.status == "error":  # The sandbox's fault, not the policy's: the completion counts for nobody.
        raise RuntimeError(execution.reason)
    text = execution.stdout.decode(errors="replace") + execution.reason  # Empty where nothing failed.
    return text.strip()[:MOST_LETTERS].replace("<|", "< |")  # A program must not speak for the user.


def reply(text: str) -> str:
    """A user's turn in SmolLM2's template, after which the policy speaks."""
    return f"\n<|im_start|>user\nIt printed: {text}<|im_end|>\n<|im_start|>assistant\n"


def answers(problem: Problem, completion: str) -> Verdict:
    """The last turn must be the number; a program alone is worth something where it is one."""
    if completion.strip().rstrip(".") == problem.answer:
        return Verdict(1.0, Outcome.CORRECT, answer=problem.answer)
    number = re.search(r"-?\d+\D*$", completion)
    if number is None:
        return Verdict(0.0, Outcome.UNPARSED, reason="no number")
    right = re.findall(r"-?\d+", completion)[-1] == problem.answer
    return Verdict(0.5 if right else 0.0, Outcome.INCORRECT, reason="more than the number" if right else "wrong")


def problems(count: int, seed: int) -> list[Problem]:
    """Products of numbers with three digits."""
    rng = random.Random(seed)
    made = {}
    while len(made) < count:
        a, b = rng.randint(100, 999), rng.randint(100, 999)
        ask = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": f"What is {a} * {b}?"})
        made[a, b] = Problem(f"product/{a}x{b}", ask, str(a * b), "answers", metadata={"solution": str(a * b)})
    return list(made.values())


def config() -> rl.RunConfig:
    """What `assay train` runs."""
    import policy

    model = policy.pretrained(policy.smollm2())
    every = problems(300, seed=0)
    return rl.RunConfig(
        model=model,
        problems=every[:250],
        held_out=every[250:],
        verifiers={"answers": answers},
        environment=PythonTool(model.tokenizer),
        max_turns=3,
        max_tokens=160,
        steps=20,
    )


if __name__ == "__main__":
    rl.train(config())
