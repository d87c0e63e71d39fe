"""A run small enough for tests: a byte-level policy from nothing that is paid for lower-case letters."""

from __future__ import annotations

import json
import pathlib

import rl
from policy import ByteTokenizer, TransformerConfig, from_scratch
from verifiers import Outcome, Problem, Verdict

MODEL = from_scratch(
    TransformerConfig(
        vocab_size=258, width=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, mlp_width=64, context=64
    ),
    ByteTokenizer(),
)
GOLD = "abcdefgh"  # What preflight tries.
PROBLEMS = [Problem(f"tiny/{i}", f"{i:02d}?", "", "letters", metadata={"solution": GOLD}) for i in range(20)]


def letters(problem: Problem, text: str) -> Verdict:
    """The share of lower-case letters in eight bytes."""
    share = min(sum("a" <= c <= "z" for c in text) / 8, 1.0)
    return Verdict(share, Outcome.CORRECT if share == 1 else Outcome.INCORRECT)


def config(**changes) -> rl.RunConfig:
    fields = {
        "model": MODEL,
        "problems": PROBLEMS[:16],
        "held_out": PROBLEMS[16:],
        "verifiers": {"letters": letters},
        "steps": 4,
        "problems_per_step": 2,
        "group_size": 4,
        "max_tokens": 8,
        "learning_rate": 1e-2,
        "warmup_steps": 0,
        "slots": 8,
        "micro_batch_tokens": 64,
        "dtype": "float32",
        "inline": True,
    }
    return rl.RunConfig(**{**fields, **changes})


def metrics(run: str | pathlib.Path) -> list[dict]:
    """The metrics of a run, all but the times. JSON keeps every bit of a float."""
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]


def kinds(run: str | pathlib.Path) -> list[str]:
    """The kinds of a run's events, in order."""
    path = pathlib.Path(run) / "events.jsonl"
    return [json.loads(line)["kind"] for line in path.read_text().splitlines()] if path.exists() else []
