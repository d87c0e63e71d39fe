"""Problems of reasoning-gym and its scorers, which run in the sandbox: nine of them evaluate what the model wrote.

reasoning-gym (Stojanovski et al., 2025, arXiv:2505.24760) is an optional package: `pip install assay-rl[reasoning]`.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import pathlib
import threading
from typing import Any

from verifiers import sandbox
from verifiers.extraction import conclusion, final_answer, tagged
from verifiers.types import Outcome, Problem, Verdict

# These hand the answer to eval or to sympy's parse_expr: an answer can be a program, and choose its own score.
EVALUATING = frozenset(
    {
        "binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication", "puzzle24",
        "simple_integration", "spiral_matrix", "string_insertion",
    }
)  # fmt: skip
WITHOUT_GOLD = frozenset({"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"})
_TUPLES = {"arc_agi", "rearc"}  # Their scorers compare boards of tuples, which JSON has not.
_MAX_ANSWER = 16_000  # Characters.
_SCORER = """
import json, sys
import reasoning_gym
task = json.loads(sys.stdin.buffer.read())
entry = task["entry"]
if task["tuples"]:
    freeze = lambda value: tuple(map(freeze, value)) if isinstance(value, list) else value
    entry["metadata"] = {key: freeze(value) for key, value in entry["metadata"].items()}
score = reasoning_gym.get_score_answer_fn(task["dataset"])
try:
    found = float(score(task["answer"], entry))
except Exception as error:
    found = f"{type(error).__name__}: {error}"[:200]
print(json.dumps(found))
"""


def reasoning_gym(
    problem: Problem, completion: str, *, partial: bool = False, level: str = "auto", allow_spoofable: bool = False
) -> Verdict:
    r"""The score of reasoning-gym's own scorer for the final answer of the completion.

    The answer stands in `<answer>...</answer>`, else where `math` looks for it. It is correct iff the scorer gives 1.

    Args:
      problem: `answer` is `{"dataset": name, "entry": {"question", "answer", "metadata"}}`, as `reasoning_gym_problems`
        makes it.
      completion: what the policy wrote.
      partial: whether the scorer's share (often 0.01 for anything at all) is the reward of an answer that is not
        correct, instead of 0.
      level: the isolation that is asked for, as in `sandbox.run`.
      allow_spoofable: judge the datasets of `EVALUATING`, too, whose scorers a model can deceive. Not for training.

    Returns:
      A verdict; its `info` names the dataset and the isolation level, and says where it is spoofable.

    Raises:
      SandboxUnavailable: the isolation cannot be had here.
      ImportError: reasoning-gym is not installed.
    """
    task = problem.answer
    if not (isinstance(task, dict) and isinstance(task.get("dataset"), str) and isinstance(task.get("entry"), dict)):
        why = f'the problem\'s answer must be {{"dataset": name, "entry": {{...}}}}, got {task!r:.60}'
        return Verdict(0, Outcome.ERROR, reason=why)
    name, entry = task["dataset"], task["entry"]
    if name in WITHOUT_GOLD or entry.get("answer") is None:
        return Verdict(0, Outcome.ERROR, reason=f"the dataset {name!r} has no answer of its own to check against")
    if name in EVALUATING and not allow_spoofable:
        why = f"the scorer of {name!r} evaluates what the model writes, and can be fooled: ask for allow_spoofable=True"
        return Verdict(0, Outcome.ERROR, reason=why)
    whole = conclusion(completion)
    answer = None if whole is None else tagged(whole) or final_answer(completion)
    if answer is None:
        return Verdict(0, Outcome.UNPARSED, reason="no final answer")
    if len(answer) > _MAX_ANSWER:
        return Verdict(0, Outcome.LIMIT, answer[:200], f"an answer of {len(answer)} characters; {_MAX_ANSWER} are read")
    return _scored(name, entry, answer, partial, level)


def _scored(name: str, entry: dict[str, Any], answer: str, partial: bool, level: str) -> Verdict:
    task = {"dataset": name, "entry": entry, "answer": answer, "tuples": name in _TUPLES}
    pool = _pool(level)
    execution = pool.run(_SCORER, stdin=json.dumps(task).encode(), limits=sandbox.Limits(memory_mb=1024))
    said = answer[:200]
    info: dict[str, Any] = {"dataset": name, "level": execution.level}
    if name in EVALUATING:
        info["spoofable"] = True
    if execution.status == "error":
        return Verdict(0, Outcome.ERROR, said, f"the sandbox failed twice: {execution.reason}"[:300], info=info)
    if execution.status == "limit":
        return Verdict(0, Outcome.LIMIT, said, execution.reason[:300], info=info)
    if execution.status != "ok":
        return Verdict(0, Outcome.INCORRECT, said, f"the scorer ended early: {execution.reason}"[:300], info=info)
    try:
        score = json.loads(execution.stdout)
    except ValueError:
        return Verdict(0, Outcome.INCORRECT, said, "the scorer's output is not its own", info=info)
    if not isinstance(score, float):
        return Verdict(0, Outcome.INCORRECT, said, f"the scorer cannot read the answer: {score}"[:300], info=info)
    if name == "game_of_life_halting" and answer.strip().lower() not in ("true", "false"):
        score = 0.0  # Its scorer takes whatever is not "True" for "False".
    parts = {"score": min(max(score, 0.0), 1.0)}
    if score >= 1:
        return Verdict(1, Outcome.CORRECT, said, "the scorer gives 1", parts, info)
    reward = parts["score"] if partial else 0.0
    return Verdict(reward, Outcome.INCORRECT, said, f"the scorer gives {score:.3g}", parts, info)


def reasoning_gym_problems(name: str, *, size: int, seed: int, **config: Any) -> list[Problem]:
    """Problems of one dataset of reasoning-gym, for the verifier `reasoning_gym`.

    Args:
      name: of the dataset ("leg_counting").
      size: how many.
      seed: what they depend on.
      config: the dataset's own settings.

    Raises:
      ValueError: there is no such dataset, it has no answers, or it rejects the settings.
      ImportError: reasoning-gym is not installed.
    """
    _installed()
    import reasoning_gym as package  # type: ignore
    from reasoning_gym.factory import DATASETS  # type: ignore

    if name not in DATASETS:
        raise ValueError(f"reasoning-gym has no dataset {name!r}. It has: {', '.join(sorted(DATASETS))}.")
    if name in WITHOUT_GOLD or name == "composite":
        raise ValueError(f"The dataset {name!r} has no answers of its own, so nothing can be checked against them.")
    try:
        rows = package.create_dataset(name, size=size, seed=seed, **config)
    except (AssertionError, TypeError) as error:
        raise ValueError(f"reasoning-gym's {name!r} rejects the settings: {error}") from None
    problems = []
    for index, row in enumerate(rows):
        entry = json.loads(json.dumps(row))
        problems.append(
            Problem(
                id=f"reasoning-gym/{name}/{seed}/{index}",
                prompt=f"{entry['question']}\n\nGive your final answer as <answer>...</answer>.",
                answer={"dataset": name, "entry": entry},
                verifier="reasoning_gym",
                source={"dataset": "reasoning-gym", "name": name, "seed": seed, "index": index},
                metadata={"solution": f"<answer>{entry['answer']}</answer>"},
            )
        )
    return problems


_lock = threading.Lock()


def _pool(level: str) -> sandbox.Pool:
    with _lock:  # One pool, however many threads ask first.
        return _make_pool(level)


@functools.cache
def _make_pool(level: str) -> sandbox.Pool:
    import atexit

    pool = sandbox.Pool(1, level, paths=[_installed()], preload=["reasoning_gym", "sympy"])
    atexit.register(pool.close)
    return pool


def _installed() -> str:
    """The folder that reasoning-gym and what it needs are installed in."""
    found = importlib.util.find_spec("reasoning_gym")
    if found is None or found.origin is None:
        raise ImportError("reasoning-gym is not installed: pip install 'assay-rl[reasoning]'.")
    return str(pathlib.Path(found.origin).parents[1])
