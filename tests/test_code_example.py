"""The example that trains on programs: two updates of the real model, stopped and gone on with in between."""

import dataclasses
import importlib.util
import json
import pathlib

import pytest
import real_model

import rl
import verifiers
from verifiers import Outcome, sandbox

FILE = pathlib.Path(__file__).parent.parent / "examples" / "code.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_code", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        sandbox.shared_pool()
    except sandbox.SandboxUnavailable as error:
        pytest.skip(str(error))
    return module


def test_every_problem_accepts_its_gold_and_no_other(example):
    train, test = example.problems()
    assert len(train) > 100
    assert len(test) > 30
    assert not {p.id.split("/", 2)[2] for p in train} & {p.id.split("/", 2)[2] for p in test}
    for problem, other in zip(train[::7], train[1::7], strict=False):
        assert verifiers.code(problem, problem.metadata["solution"]).outcome is Outcome.CORRECT
        assert verifiers.code(problem, other.metadata["solution"]).outcome is not Outcome.CORRECT
        assert verifiers.code(problem, "def f(x): return None").outcome is Outcome.INCORRECT


@pytest.mark.slow
def test_two_updates_with_a_stop_between(example, tmp_path):
    real_model.smollm2_path()
    config = example.config()
    small = dataclasses.replace(
        config, steps=1, held_out=(), problems_per_step=2, group_size=4, max_tokens=24, slots=8, warmup_steps=0,
        eval_every=0, inline=True,
    )  # fmt: skip
    rl.train(small, path=tmp_path / "run")
    report = rl.train(dataclasses.replace(small, steps=2), resume=tmp_path / "run")
    assert report["steps"] == 2
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert all(0 <= line["reward/mean"] <= 1 for line in lines)
