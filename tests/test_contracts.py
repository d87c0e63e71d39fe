"""What a run promises: the same numbers wherever it runs, whoever dies on the way, and after it was killed."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable

import pytest
import tiny

import rl
from policy import ByteTokenizer, Model
from rl import cluster
from rl.checkpoint import latest
from rl.loop import train

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass
class Deadly:
    """A tokenizer that kills the worker that uses it, but never this process."""

    once: pathlib.Path | None = None  # Kills a worker that is writing, if this file is not there yet.
    word: str = "\0"  # Kills a worker that reads it, always.
    spared: int = dataclasses.field(default_factory=os.getpid)
    vocab_size: int = 258
    pad: int = 0
    ends: tuple[int, ...] = (1,)

    def encode(self, text):
        if self.word in text and os.getpid() != self.spared:
            os.kill(os.getpid(), signal.SIGKILL)
        return ByteTokenizer().encode(text)

    def decode(self, tokens):
        if self.once and os.getpid() != self.spared:
            die_once(self.once, os.getpid())
        return ByteTokenizer().decode(tokens)

    def chat(self, messages):
        return ByteTokenizer().chat(messages)


def die_once(path: pathlib.Path, process: int) -> None:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(process, signal.SIGKILL)


def model(tokenizer) -> Model:
    return dataclasses.replace(tiny.MODEL, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def ray():
    with cluster.start():
        yield


BASE = {"steps": 6, "max_staleness": 2, "eval_every": 3}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The metrics of the run in one process."""
    path = tmp_path_factory.mktemp("inline") / "run"
    train(tiny.config(**BASE), path=path)
    return tiny.metrics(path), [line["mean"] for line in rl.Run(path).evaluations()]


def same_as(path, expected):
    assert tiny.metrics(path) == expected[0]
    assert [line["mean"] for line in rl.Run(path).evaluations()] == expected[1]


def test_sampler_and_learner_agree(expected):
    assert all(0 <= line["logprob_gap/max"] < 1e-4 for line in expected[0] if line["staleness/max"] == 0)


@pytest.mark.parametrize(("workers", "scorers"), [(1, 1), (3, 2)])
def test_the_numbers_do_not_depend_on_who_works(ray, tmp_path, expected, workers, scorers):
    train(tiny.config(**BASE, inline=False, num_workers=workers, num_scorers=scorers), path=tmp_path / "run")
    same_as(tmp_path / "run", expected)
    assert set(tiny.kinds(tmp_path / "run")) == {"checkpoint"}


def test_nor_on_who_dies(ray, tmp_path, expected):
    """A worker and a scorer are killed while they hold groups."""
    tombs = [tmp_path / "worker", tmp_path / "scorer"]

    def letters(problem, text):
        if text != tiny.GOLD and problem.id == "tiny/4":
            die_once(tombs[1], os.getppid())  # The scorer, in whose worker this runs.
        return tiny.letters(problem, text)

    train(
        tiny.config(
            **BASE,
            inline=False,
            num_workers=2,
            num_scorers=2,
            model=model(Deadly(once=tombs[0])),
            verifiers={"letters": letters},
        ),
        path=tmp_path / "run",
    )
    same_as(tmp_path / "run", expected)
    assert all(tomb.exists() for tomb in tombs)
    events = rl.Run(tmp_path / "run").events()
    died = [event["actor"].split()[0] for event in events if event["kind"] == "actor_died"]
    assert sorted(died) == ["scorer", "worker"]
    again = [event["call"].partition("(")[0] for event in events if event["kind"] == "redispatched" and event["deaths"]]
    assert set(again) == {"generate", "score"}  # They were in flight.


def test_a_group_that_kills_its_worker_three_times_ends_the_run_and_is_named(ray, tmp_path):
    problems = [dataclasses.replace(p, prompt=p.prompt + "!" * (p.id == "tiny/5")) for p in tiny.PROBLEMS[:16]]
    with pytest.raises(cluster.Poisoned, match=r"Problem\(id='tiny/5'.* killed its worker 3 times"):
        train(
            tiny.config(steps=8, inline=False, problems=problems, held_out=(), model=model(Deadly(word="!"))),
            path=tmp_path / "run",
        )
    assert tiny.kinds(tmp_path / "run").count("actor_died") == 3
    found = latest(tmp_path / "run")  # What was learned until then is not lost.
    assert found
    assert found.step == len(tiny.metrics(tmp_path / "run")) > 0


SCRIPT = """
    import os, signal, sys
    import tiny
    from rl.loop import Stopped, train

    def console(kind, **fields):
        print(kind, fields.get("step"), flush=True)
        if kind == "step" and fields["step"] == {kill}:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        train(tiny.config(**{changes}), path={path!r}, console=console)
    except Stopped as stopped:
        print(stopped)
        sys.exit(130)
"""


def start(path, changes, kill=None) -> tuple[subprocess.Popen, str]:
    """A run in a process and a process group of its own. Everything that it starts inherits a mark."""
    mark = uuid.uuid4().hex
    script = textwrap.dedent(SCRIPT.format(path=str(path), changes=changes, kill=kill))
    env = {**os.environ, "TINY_MARK": mark, "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=HERE, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    return process, mark


def marked(mark: str) -> list[str]:
    """The processes that carry a mark."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def wait_for(line: str, process: subprocess.Popen) -> None:
    assert process.stdout
    for got in process.stdout:
        if got.startswith(line):
            return
    raise AssertionError(f"The run ended before it said {line!r}: exit code {process.wait()}.")


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, staleness):
    changes = {"steps": 8, "max_staleness": staleness, "checkpoint_every": 1, "eval_every": 4}
    process, _ = start(tmp_path / "run", changes, kill=5)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert len(tiny.metrics(tmp_path / "run")) == 6
    found = latest(tmp_path / "run")
    assert found
    assert found.step == 5 - max(staleness - 1, 0)  # Those after it lacked groups that were in flight.
    assert len(found.groups) == 2 * staleness
    train(tiny.config(**changes), resume=tmp_path / "run")
    train(tiny.config(**changes), path=tmp_path / "whole")
    assert tiny.metrics(tmp_path / "run") == tiny.metrics(tmp_path / "whole")
    means = [[line["mean"] for line in rl.Run(tmp_path / name).evaluations()] for name in ("run", "whole")]
    assert means[0] == means[1]


def test_a_killed_cluster_goes_on_with_the_same_numbers(ray, tmp_path):
    changes = {"steps": 6, "max_staleness": 1, "checkpoint_every": 2, "inline": False}
    process, mark = start(tmp_path / "run", changes, kill=3)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    train(tiny.config(**changes), resume=tmp_path / "run")
    train(tiny.config(**{**changes, "inline": True}), path=tmp_path / "whole")
    assert tiny.metrics(tmp_path / "run") == tiny.metrics(tmp_path / "whole")
    assert not left(lambda: [line for line in marked(mark) if line.startswith("ray::") and "Agent" not in line])


def left(processes: Callable[[], list[str]]) -> list[str]:
    """Those of the processes that stay: a machine may be busy, and the end of one takes the end of another."""
    deadline = time.monotonic() + 120
    while (found := processes()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def test_control_c_stops_cleanly(tmp_path):
    """As a terminal does it: the signal goes to the whole process group. Then the terminal is closed, too."""
    changes = {"steps": 10_000, "max_staleness": 1, "inline": False, "held_out": ()}
    process, mark = start(tmp_path / "run", changes)
    wait_for("step 2", process)
    for number in (signal.SIGINT, signal.SIGHUP):
        os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "stopping None" in output
    step = int(output.split("Stopped after ")[1].split()[0])
    assert output.endswith(
        f"Stopped after {step} of 10000 updates. To go on: rl.train(config, resume='{tmp_path}/run')\n"
    )
    assert len(tiny.metrics(tmp_path / "run")) == step
    found = latest(tmp_path / "run")
    assert found
    assert found.step == step
    assert "actor_died" not in tiny.kinds(tmp_path / "run")
    assert not left(lambda: marked(mark))
