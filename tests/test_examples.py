"""Every example runs, shrunk: as its file says it is run, on real parts."""

import dataclasses
import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import real_model

import rl
from policy.transformer import fast_dtype

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def load(name):
    """An example as a module, with its config."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_from_scratch_climbs(tmp_path):
    command = [sys.executable, "-m", "rl", "train", EXAMPLES / "from_scratch.py", "--run", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    rewards = [line["reward/mean"] for line in metrics(tmp_path / "run")]
    assert np.mean(rewards[:10]) < 0.1
    assert np.mean(rewards[-10:]) > 0.5
    assert "120 updates" in done.stdout


@pytest.mark.slow
def test_a_step_of_the_main_job(tmp_path):
    """The real model, the real problems: sampler and learner agree, and a policy comes out."""
    real_model.smollm2_path()
    config = load("instructions").config()
    small = dataclasses.replace(
        config, steps=1, held_out=config.held_out[:5], problems_per_step=5, max_tokens=8, warmup_steps=0, inline=True
    )
    report = rl.train(small, path=tmp_path / "run")
    (line,) = metrics(tmp_path / "run")
    assert not line["update/skipped"]
    assert line["logprob_gap/max"] < (1e-4 if fast_dtype() == "float32" else 0.5)
    assert 1 < line["entropy"] < 6
    assert report["before"]["n"] == report["after"]["n"] == 5
    assert (tmp_path / "run" / "report.json").exists()


@pytest.mark.parametrize("name", ["instructions", "arithmetic"])
def test_an_example_is_fit_for_a_run(name):
    real_model.smollm2_path()
    command = [sys.executable, "-m", "rl", "check", EXAMPLES / f"{name}.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ready." in done.stdout


def test_the_held_out_problems_of_the_main_job_are_enough():
    real_model.smollm2_path()
    config = load("instructions").config()
    assert len(config.held_out) >= 96
    topics = [{p.metadata["topic"] for p in problems} for problems in (config.problems, config.held_out)]
    assert not topics[0] & topics[1]


@pytest.mark.slow
def test_gsm8k_starts_steps_and_evaluates(tmp_path, shared, monkeypatch):
    real_model.smollm2_path()
    monkeypatch.setenv("GSM8K", str(shared("gsm8k/train.jsonl").parent))
    monkeypatch.setenv("GSM8K_HELD_OUT", "2")
    config = load("gsm8k").config()
    assert len(config.problems) == 7473
    short = sorted(config.problems, key=lambda p: len(p.prompt[0]["content"]))[:4]
    small = dataclasses.replace(
        config, problems=short, steps=1, problems_per_step=2, group_size=2, max_tokens=8, drop_uniform=False, slots=4,
        inline=True, eval_every=0, checkpoint_every=0,
    )  # fmt: skip
    report = rl.train(small, path=tmp_path / "run")
    assert report["steps"] == 1
    assert report["after"]["n"] == 2


def test_a_verifier_of_ones_own():
    command = [sys.executable, EXAMPLES / "custom_verifier.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    wrong = [line.split()[-1] for line in done.stdout.splitlines() if line[:1].strip() and "time of" not in line]
    assert len(wrong) > 8
    assert set(wrong) == {"0"}, done.stdout


def test_offline_evaluation(monkeypatch, capsys):
    module = load("offline_eval")
    monkeypatch.setattr(sys, "argv", ["offline_eval.py", str(real_model.smollm2_path())])
    few = module.sums(2)
    monkeypatch.setattr(module, "sums", lambda count: few)
    module.main()
    assert "on the same 2 problems" in capsys.readouterr().out
