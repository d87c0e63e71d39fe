"""The loop, in one process: its bound, its drops, its report, and going on after a stop."""

import contextlib
import dataclasses
import errno
import functools
import io
import json
import os
import pathlib
import re
import signal

import jax
import pytest
import tiny

import rl
from rl import loop
from rl.cluster import ActorFailed
from rl.console import Console
from rl.journal import Ended, Stopped
from rl.loop import train
from rl.machine import machine
from rl.scorer import Scorer
from verifiers import Outcome, Verdict


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_staleness_reaches_its_bound_and_never_exceeds_it(tmp_path, staleness):
    train(tiny.config(steps=6, max_staleness=staleness, held_out=()), path=tmp_path / "run")
    ages = [line["staleness/max"] for line in tiny.metrics(tmp_path / "run")]
    assert len(ages) == 6
    assert max(ages) == staleness
    assert ages == [min(step, staleness) for step in range(6)]


def test_a_run_leaves_everything_behind(tmp_path):
    said = []
    report = train(
        tiny.config(steps=3, eval_every=2, checkpoint_every=1),
        path=tmp_path / "run",
        console=lambda kind, **fields: said.append((kind, fields)),
    )
    run = rl.Run(tmp_path / "run")
    assert json.loads((run.path / "report.json").read_text()) == report
    assert report["steps"] == 3
    assert report["seconds"] > 0
    assert report["before"]["n"] == report["after"]["n"] == 4
    assert report["before"]["low"] <= report["before"]["mean"] < report["before"]["high"]
    assert set(report["example"]) == {"problem", "prompt", "before", "after"}
    assert [line["step"] for line in run.evaluations()] == [0, 2, 3]
    assert [line["step"] for line in run.metrics()] == [0, 1, 2]
    groups = run.groups(1)
    assert [group.index for group in groups] == [2, 3]
    assert run.metrics()[1]["reward/mean"] == pytest.approx(
        sum(r.verdict.reward for g in groups for r in g.rollouts) / 8
    )
    saved = sorted(path.name for path in (run.path / "checkpoints").iterdir())
    assert saved[-2:] == ["000002", "000003"]
    assert [kind for kind, _ in said if kind not in ("progress", "checkpoint")] == [
        *["start", "evaluation", "step", "step", "evaluation", "step", "evaluation", "report"]
    ]


@pytest.mark.parametrize("damage", [pathlib.Path.unlink, lambda file: file.write_bytes(b"PAR1")])
def test_a_lost_evaluation_costs_the_example_and_not_the_end_of_the_run(tmp_path, damage):
    train(tiny.config(steps=1), path=tmp_path / "run")
    damage(tmp_path / "run" / "evaluations" / "000000.parquet")
    terminal = io.StringIO()
    report = train(tiny.config(steps=2), resume=tmp_path / "run", console=Console(terminal))
    assert report["example"] is None
    assert json.loads((tmp_path / "run" / "report.json").read_text())["before"]["n"] == report["after"]["n"]
    assert "How sure that is cannot be said: the file of one of the two evaluations is lost" in terminal.getvalue()


def test_reward_climbs(tmp_path):
    report = train(tiny.config(steps=20, problems_per_step=4, group_size=8, slots=32), path=tmp_path / "run")
    lines = tiny.metrics(tmp_path / "run")
    assert lines[-1]["reward/mean"] > lines[0]["reward/mean"] + 0.15
    assert report["after"]["mean"] > report["before"]["mean"] + 0.15


def test_an_unscored_member_costs_no_group_and_counts_as_no_reward(tmp_path):
    def picky(problem, text):
        if sum(map(ord, text)) % 5 == 0:
            raise ConnectionError("no sandbox")
        return tiny.letters(problem, text)

    train(tiny.config(verifiers={"letters": picky}, held_out=(), steps=6), path=tmp_path / "run")
    run = rl.Run(tmp_path / "run")
    assert sum(line["rollouts/errors"] for line in run.metrics()) > 0
    for line in run.metrics():
        scored = [r.verdict.reward for g in run.groups(line["step"]) for r in g.scored]
        assert line["reward/mean"] == pytest.approx(sum(scored) / len(scored))


def test_a_group_with_one_scored_member_is_dropped_and_replaced(tmp_path):
    def broken(problem, text):
        if problem.id in ("tiny/3", "tiny/7") and text != tiny.GOLD:
            raise ConnectionError("no sandbox")
        return tiny.letters(problem, text)

    train(tiny.config(verifiers={"letters": broken}, held_out=(), steps=8), path=tmp_path / "run")
    run = rl.Run(tmp_path / "run")
    dropped = [event for event in run.events() if event["kind"] == "dropped"]
    assert {event["problem"] for event in dropped} == {"tiny/3", "tiny/7"}
    assert "ConnectionError: no sandbox" in dropped[0]["reason"]
    assert sum(line["groups/dropped"] for line in run.metrics()) == len(dropped)
    indices = [group.index for step in range(8) for group in run.groups(step)]
    assert len(indices) == 16
    assert sorted([*indices, *(event["index"] for event in dropped)]) == list(range(16 + len(dropped)))


def test_a_gradient_that_is_not_finite_ends_the_run_with_a_checkpoint_of_what_was_before(tmp_path):
    huge = tiny.config(advantage=lambda rewards: (rewards - rewards.mean()) * 1e38, max_grad_norm=1e38)
    with pytest.raises(FloatingPointError, match="The gradient of update 1 is not finite: lower the learning rate"):
        train(huge, path=tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "000000").is_dir()
    assert rl.Run(tmp_path / "run").evaluations()[0]["step"] == 0


def test_an_advantage_function_that_fails_ends_the_run_with_a_checkpoint(tmp_path):
    calls = []

    def fragile(rewards):
        calls.append(rewards)
        return rewards / (5 - len(calls)) if len(calls) < 5 else 1 // (len(calls) - 5)

    with pytest.raises(ValueError, match=r"RunConfig.advantage failed on the rewards \[0\..*ZeroDivisionError"):
        train(tiny.config(advantage=fragile, held_out=()), path=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000002"]


def test_an_actor_that_cannot_be_replaced_ends_the_run_with_a_checkpoint(tmp_path, monkeypatch):
    class Lost(Scorer):
        def score(self, index, problem, completions):
            if index == 5:
                raise ActorFailed("The scorer 0 could not start: no memory")
            return super().score(index, problem, completions)

    monkeypatch.setattr(loop, "Scorer", Lost)
    with pytest.raises(ActorFailed, match="no memory"):
        train(tiny.config(held_out=()), path=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000002"]


def test_too_many_drops_end_the_run_and_say_why(tmp_path):
    def down(problem, text):
        if text != tiny.GOLD:
            raise ConnectionError("the endpoint is down")
        return tiny.letters(problem, text)

    with pytest.raises(Ended, match=r"21 groups were dropped in step 0.*max_dropped allows 20.*the endpoint is down"):
        train(tiny.config(verifiers={"letters": down}), path=tmp_path / "run")
    with pytest.raises(Ended, match="3 groups were dropped"):
        train(tiny.config(verifiers={"letters": down}, max_dropped=2), path=tmp_path / "other")
    assert (tmp_path / "run" / "checkpoints" / "000000").is_dir()


def test_dynamic_sampling_keeps_only_groups_that_teach(tmp_path):
    def rare(problem, text):
        first = "a" <= text[:1] <= "z"
        return Verdict(float(first), Outcome.CORRECT if first else Outcome.INCORRECT)

    train(
        tiny.config(verifiers={"letters": rare}, drop_uniform=True, held_out=(), max_dropped=100), path=tmp_path / "run"
    )
    run = rl.Run(tmp_path / "run")
    assert sum(line["groups/dropped"] for line in run.metrics()) > 0
    for step in range(4):
        for group in run.groups(step):
            assert len({r.verdict.reward for r in group.rollouts}) == 2


def test_an_update_without_an_advantage_is_skipped_and_said(tmp_path):
    def never(problem, text):
        right = text == tiny.GOLD
        return Verdict(float(right), Outcome.CORRECT if right else Outcome.INCORRECT)

    train(tiny.config(verifiers={"letters": never}, steps=2, max_staleness=1), path=tmp_path / "run")
    assert [line["update/skipped"] for line in tiny.metrics(tmp_path / "run")] == [1.0, 1.0]
    assert tiny.kinds(tmp_path / "run").count("update_skipped") == 2
    train(tiny.config(verifiers={"letters": never}, steps=3, max_staleness=1), resume=tmp_path / "run")
    assert tiny.metrics(tmp_path / "run")[-1]["staleness/max"] == 0  # In updates: there were none.


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_a_stopped_run_goes_on_with_the_same_numbers(tmp_path, staleness):
    config = tiny.config(steps=6, max_staleness=staleness, eval_every=3)
    train(config, path=tmp_path / "whole")

    def interrupt(kind, **fields):
        if kind == "step" and fields["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match=r"Stopped after 4 of 6 updates. To go on: rl.train\(config, resume='.*/run'"):
        train(config, path=tmp_path / "run", console=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert tiny.kinds(tmp_path / "run")[-2:] == ["checkpoint", "stopped"]
    train(config, resume=tmp_path / "run")
    assert tiny.metrics(tmp_path / "run") == tiny.metrics(tmp_path / "whole")
    scores = [[line["mean"] for line in rl.Run(tmp_path / name).evaluations()] for name in ("run", "whole")]
    assert scores[0] == scores[1]


def test_a_closed_terminal_stops_a_run_that_nohup_does_not_keep(tmp_path):
    def closed(kind, **fields):
        if kind == "step" and fields["step"] == 0:
            for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):  # A shell sends it, and the system again.
                os.kill(os.getpid(), number)

    config = tiny.config(steps=3, held_out=())
    with pytest.raises(Stopped, match="Stopped after 1 of 3 updates"):
        train(config, path=tmp_path / "run", console=closed)
    assert tiny.kinds(tmp_path / "run") == ["checkpoint", "stopped"]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(
            config,
            resume=tmp_path / "run",
            console=lambda kind, **fields: kind == "step" and os.kill(os.getpid(), signal.SIGHUP),
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(tiny.metrics(tmp_path / "run")) == 3


def test_signals_that_come_together_stop_a_run_in_any_order(tmp_path):
    """A terminal that is closed right after its Ctrl-C: Python hands over the SIGHUP first."""
    together = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}

    def closed(kind, **fields):
        if kind == "step":
            signal.pthread_sigmask(signal.SIG_BLOCK, together)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, together)

    with pytest.raises(Stopped, match="Stopped after 1 of 3 updates"):
        train(tiny.config(steps=3, held_out=()), path=tmp_path / "run", console=closed)
    assert tiny.kinds(tmp_path / "run") == ["checkpoint", "stopped"]


class Interrupted(io.RawIOBase):
    """A terminal at which Ctrl-C is pressed while the line of the first step is being written."""

    def __init__(self):
        self.said = b""

    def writable(self):
        return True

    def write(self, data):
        pressed = b" 1/3 " in self.said
        self.said += bytes(data)
        if b" 1/3 " in self.said and not pressed:
            os.kill(os.getpid(), signal.SIGINT)
        return len(data)


def test_a_stop_in_the_middle_of_a_line_is_told_after_it(tmp_path):
    terminal = Interrupted()
    with pytest.raises(Stopped, match="Stopped after 1 of 3 updates"):
        train(
            tiny.config(steps=3, held_out=()),
            path=tmp_path / "run",
            console=Console(io.TextIOWrapper(io.BufferedWriter(terminal), encoding="utf-8")),
        )
    assert re.search(rb" 1/3 .*\n  stopping .*Ctrl-C", terminal.said), terminal.said


def test_control_c_ends_a_run_that_is_stopping_at_once(tmp_path):
    def interrupt(kind, **fields):
        if kind == "step":
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as ended:
        train(tiny.config(steps=3, held_out=()), path=tmp_path / "run", console=interrupt)
    assert ended.type is KeyboardInterrupt
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_a_stop_in_the_middle_of_a_step_does_the_step_again(tmp_path):
    """The signal comes while groups of this step and of the step before are being judged."""
    config = tiny.config(steps=5, max_staleness=1, held_out=())
    train(config, path=tmp_path / "whole")
    # Files, since the run's fingerprint covers what a verifier closes over.
    count, told = tmp_path / "judged", tmp_path / "told"

    def letters(problem, text):
        if text != tiny.GOLD:
            with count.open("a") as file:
                file.write(".")
            if count.stat().st_size >= 2 * 4 * 2 + 6:  # Several may see that it has grown beyond: the first one tells.
                with contextlib.suppress(FileExistsError):
                    told.touch(exist_ok=False)
                    os.kill(os.getppid(), signal.SIGTERM)  # Of the process that it judges for.
        return tiny.letters(problem, text)

    changed = tiny.config(steps=5, max_staleness=1, held_out=(), verifiers={"letters": letters})
    with pytest.raises(Stopped):
        train(changed, path=tmp_path / "run")
    assert 0 < len(tiny.metrics(tmp_path / "run")) < 5
    train(changed, resume=tmp_path / "run")
    assert tiny.metrics(tmp_path / "run") == tiny.metrics(tmp_path / "whole")


def test_a_finished_run_can_be_prolonged(tmp_path):
    train(tiny.config(steps=6, max_staleness=1), path=tmp_path / "whole")
    train(tiny.config(steps=3, max_staleness=1), path=tmp_path / "run")
    report = train(tiny.config(steps=6, max_staleness=1), resume=tmp_path / "run")
    assert tiny.metrics(tmp_path / "run") == tiny.metrics(tmp_path / "whole")
    assert report["steps"] == 6
    kept = rl.Run(tmp_path / "run").config  # So that the next `assay train --resume` knows the new length.
    assert kept["overrides"] == {"steps": 6}
    assert kept["fields"]["steps"] == 6
    with pytest.raises(ValueError, match="has done 6 updates already, more than steps=5"):
        train(tiny.config(steps=5, max_staleness=1), resume=tmp_path / "run")
    with pytest.raises(ValueError, match="learning_rate"):
        train(tiny.config(steps=9, max_staleness=1, learning_rate=1e-3), resume=tmp_path / "run")


def test_two_processes_cannot_go_on_with_one_run(tmp_path):
    def console(kind, **fields):
        if kind == "step" and fields["step"] == 1:
            with pytest.raises(ValueError, match=r"Another process is at work on .*/run"):
                train(tiny.config(steps=2), resume=tmp_path / "run")

    train(tiny.config(steps=2), path=tmp_path / "run", console=console)
    train(tiny.config(steps=3), resume=tmp_path / "run")


def other_seed(file, seed):
    """Weights that a file decides."""
    return tiny.MODEL.load(int(file.read_text()))


def test_a_run_goes_on_from_the_weights_that_it_was_started_from_only(tmp_path):
    weights = tmp_path / "weights"
    weights.write_text("1")
    model = dataclasses.replace(tiny.MODEL, load=functools.partial(other_seed, weights))
    train(tiny.config(model=model, steps=1), path=tmp_path / "run")
    train(tiny.config(model=model, steps=2), resume=tmp_path / "run")
    weights.write_text("2")
    run = rl.Run(tmp_path / "run")
    run.record(2, {"a step that was not saved": 1})
    with pytest.raises(ValueError, match=r"run was started from other weights \(fingerprint [0-9a-f]{8}; those of now"):
        train(tiny.config(model=model, steps=3), resume=tmp_path / "run")
    assert len(run.metrics()) == 3  # What cannot go on forgets nothing.
    assert run.config["overrides"] == {"steps": 2}


def test_a_checkpoint_after_damaged_ones_is_kept(tmp_path):
    config = tiny.config(steps=3, held_out=(), checkpoint_every=1)
    train(config, path=tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    (folder / "000003").rename(folder / "000008")  # Of a step that the run will not come to again.
    for name in ("000002", "000008"):
        (folder / name / "params.safetensors").unlink()
    train(dataclasses.replace(config, steps=1), path=tmp_path / "whole")
    (tmp_path / "whole" / "checkpoints" / "000001").rename(folder / "000001")
    with pytest.warns(UserWarning, match="params.safetensors is missing"):
        train(config, resume=tmp_path / "run")
    assert sorted(path.name for path in folder.iterdir()) == ["000002", "000003"]
    train(dataclasses.replace(config, steps=4), resume=tmp_path / "run")  # All that is left is whole.


def test_a_run_without_the_metrics_of_its_steps_does_not_go_on(tmp_path):
    train(tiny.config(held_out=()), path=tmp_path / "run")
    file = tmp_path / "run" / "metrics.jsonl"
    file.write_text("".join(file.read_text().splitlines(True)[:2]))
    with pytest.raises(ValueError, match=r"run/metrics.jsonl lacks lines \(step 2, 3\)"):
        train(tiny.config(held_out=(), steps=5), resume=tmp_path / "run")
    assert rl.Run(tmp_path / "run").config["fields"]["steps"] == 4


def test_what_a_checkpoint_stands_on_is_on_the_disk_before_it(tmp_path, monkeypatch):
    done, fsync, rename = [], os.fsync, os.rename

    def noted_fsync(descriptor):
        done.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path / "run"))
        fsync(descriptor)

    def noted_rename(old, new):
        done.append("renamed")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    train(tiny.config(steps=1), path=tmp_path / "run")
    before = done[: done.index("renamed")]
    assert {"metrics.jsonl", "evaluations.jsonl", "rollouts", "evaluations", "."} <= {*before}
    assert {"rollouts/.000000.parquet.partial", "evaluations/.000001.parquet.partial"} <= {*before}


def test_a_run_that_goes_on_with_other_arithmetic_says_so(tmp_path, monkeypatch):
    def findings(steps):
        said = []
        train(
            tiny.config(steps=steps, held_out=()),
            resume=tmp_path / "run",
            console=lambda kind, **fields: said.append(fields["message"]) if kind == "finding" else None,
        )
        return said

    monkeypatch.setenv("NPROC", "2")
    train(tiny.config(steps=1, held_out=()), path=tmp_path / "run")
    blocks = "8 rows at a time, 4 prompts by up to 64 columns, pages of 32"
    by = f"{blocks}, jaxlib {jax.lib.__version__}, {machine()['cpu']}"
    assert rl.Run(tmp_path / "run").config["arithmetic"] == f"float32, 2 threads, {by}"
    assert findings(2) == []
    monkeypatch.setenv("NPROC", "3")
    [said] = findings(3)
    assert f"was computed with float32, 2 threads, {by}, and goes on with float32, 3 threads, {by}: from" in said
    assert "set dtype= and threads=" in said
    assert tiny.kinds(tmp_path / "run").count("finding") == 1
    monkeypatch.setenv("NPROC", "2")
    monkeypatch.setattr("rl.learner.PAGE", 64)
    assert f"and goes on with float32, 2 threads, {by.replace('of 32', 'of 64')}: from" in findings(4)[0]
    kept = rl.Run(tmp_path / "run").config
    del kept["arithmetic"]  # As in a run of an older version.
    (tmp_path / "run" / "config.json").write_text(json.dumps(kept))
    assert findings(5) == []


def test_a_start_that_fails_says_why_and_leaves_the_directory_that_it_was_given(tmp_path, monkeypatch):
    def no_weights(seed):
        raise ValueError("The file is corrupt.")

    def start():
        with pytest.raises(ValueError, match="The file is corrupt"):
            train(tiny.config(model=dataclasses.replace(tiny.MODEL, load=no_weights)), path=tmp_path / "run")

    (tmp_path / "run").mkdir(mode=0o700)
    number = (tmp_path / "run").stat().st_ino
    start()
    assert (tmp_path / "run").stat().st_ino == number
    assert list((tmp_path / "run").iterdir()) == []
    (tmp_path / "run").rmdir()
    rmdir = os.rmdir

    def busy(path, **options):
        if pathlib.Path(path).name == "run":
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", busy)
    start()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_signal_whose_interruption_is_lost_ends_a_start_all_the_same(tmp_path):
    def load(seed):
        with contextlib.suppress(KeyboardInterrupt):  # As an import may do it.
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_BLOCK, [])  # Where Python sees to it.
        return tiny.MODEL.load(seed)

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # So that a start that does not see to it cannot end the tests.
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tiny.config(model=dataclasses.replace(tiny.MODEL, load=load)), path=tmp_path / "run")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not (tmp_path / "run").exists()


def test_what_cannot_start_leaves_nothing(tmp_path):
    def wrong(problem, text):
        return Verdict(0.0, Outcome.INCORRECT)

    with pytest.raises(ValueError, match="letters"):  # Preflight: the gold answer is refused.
        train(tiny.config(verifiers={"letters": wrong}), path=tmp_path / "run")
    with pytest.raises(ValueError, match="max_tokens"):
        train(tiny.config(max_tokens=64), path=tmp_path / "run")

    def no_weights(seed):
        raise ValueError("The file is corrupt.")

    with pytest.raises(ValueError, match="The file is corrupt"):
        train(tiny.config(model=dataclasses.replace(tiny.MODEL, load=no_weights)), path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="give one of them"):
        train(tiny.config(), path=tmp_path / "run", resume=tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="is not a run"):
        train(tiny.config(), resume=tmp_path / "nowhere")
