"""Shows an evaluation from Python: a mean with its interval, pass@k, and two ways to sample compared.

    python examples/offline_eval.py [MODEL]      a Hugging Face directory or a .gguf file

Thirty-two sums, four answers each, at two temperatures; a minute on two CPU cores.
"""

from __future__ import annotations

import random
import re
import sys

import policy
import rl
from verifiers import Outcome, Problem, Verdict


def ends_in_the_sum(problem: Problem, completion: str) -> Verdict:
    numbers = re.findall(r"\d+", completion)
    if not numbers:
        return Verdict(0.0, Outcome.UNPARSED, reason="no number")
    right = int(numbers[-1]) == problem.answer
    return Verdict(float(right), Outcome.CORRECT if right else Outcome.INCORRECT, answer=numbers[-1])


def sums(count: int) -> list[Problem]:
    pairs = random.Random(0).sample([(a, b) for a in range(2, 20) for b in range(2, 20)], count)
    return [
        Problem(f"sums/{a}+{b}", [{"role": "user", "content": f"What is {a} + {b}?"}], a + b, "sum") for a, b in pairs
    ]


def main() -> None:
    model = policy.pretrained(sys.argv[1] if len(sys.argv) > 1 else policy.smollm2())
    problems = sums(32)
    cold, hot = (
        rl.evaluate(model, problems, {"sum": ends_in_the_sum}, samples=4, temperature=temperature, max_tokens=16)
        for temperature in (0.3, 1.0)
    )
    print("temperature 0.3:", cold)
    print("temperature 1.0:", hot)
    mean, low, high, n = rl.compare(hot, cold)
    print(f"0.3 is better by {mean:.3f} [{low:.3f}, {high:.3f}] on the same {n} problems")


if __name__ == "__main__":
    main()
