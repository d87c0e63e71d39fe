"""A run's directory: exact numbers back, refusals, torn lines, full disks, and what a resume may change."""

import contextlib
import dataclasses
import functools
import importlib
import json
import linecache
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest

import policy
import verifiers
from policy import Completion
from rl.config import RunConfig
from rl.evaluate import Evaluation
from rl.fingerprint import fingerprint, summary
from rl.records import read_groups, write_groups
from rl.run import Run, compare_config
from rl.types import Group, Rollout
from verifiers import Outcome, Problem, Verdict, plugins

SHAPE = policy.TransformerConfig(
    vocab_size=258, width=8, num_layers=1, num_heads=1, num_kv_heads=1, head_dim=8, mlp_width=8, context=64
)


def exactly(problem: Problem, completion: str) -> Verdict:
    right = completion == problem.answer
    return Verdict(float(right), Outcome.CORRECT if right else Outcome.INCORRECT)


def load_nothing(seed):
    raise AssertionError("no test here needs weights")


def make_config(**overrides):
    model = policy.Model("tiny", SHAPE, policy.ByteTokenizer(), load_nothing)
    problems = [Problem(f"sums/{i}", f"{i}+{i}=", str(2 * i)) for i in range(5)]
    return RunConfig(**{"model": model, "problems": problems, "verifiers": {"math": exactly}} | overrides)


def some_groups():
    random = np.random.default_rng(0)
    prompt = [{"role": "user", "content": "1+1?"}]
    problems = [Problem("a/0", prompt, {"value": 2}, source={"row": 0}), Problem("a/1", "2+2?", "4")]
    verdicts = [
        Verdict(1.0, Outcome.CORRECT, answer="2", parts={"format": 0.1}, info={"seen": [1, None]}, seconds=0.25),
        Verdict(0.1 + 0.2, Outcome.UNPARSED, reason="nothing\nfound"),
        Verdict(0.0, Outcome.ERROR, reason="TimeoutError: …"),
    ]
    return [
        Group(
            index=40 + g,
            problem=problem,
            rollouts=tuple(
                Rollout(
                    Completion(
                        prompt=random.integers(0, 258, 5, np.int32),
                        tokens=random.integers(0, 258, t, np.int32),
                        mask=random.random(t) > 0.3,
                        logprobs=-random.random(t, np.float32),
                        policy_logprobs=-random.random(t, np.float32),
                        text=f"text {t} ≠ \x00",
                        finish="stop" if t else "error",
                        version=3,
                    ),
                    verdict,
                )
                for t, verdict in zip((4, 0, 7), verdicts, strict=True)
            ),
        )
        for g, problem in enumerate([problems[0], problems[1], problems[1]])
    ]


def same_group(a, b):
    """Compares two groups to the bit."""
    assert (a.index, a.problem) == (b.index, b.problem)
    for one, other in zip(a.rollouts, b.rollouts, strict=True):
        assert one.verdict == other.verdict
        assert one.verdict.seconds == other.verdict.seconds
        for field in dataclasses.fields(Completion):
            x, y = getattr(one.completion, field.name), getattr(other.completion, field.name)
            if isinstance(x, np.ndarray):
                assert (x.dtype, x.tobytes()) == (y.dtype, y.tobytes()), field.name
            else:
                assert x == y, field.name


def test_groups_come_back_bit_for_bit(tmp_path):
    groups = some_groups()
    write_groups(tmp_path / "g.parquet", 12, groups)
    back = read_groups(tmp_path / "g.parquet", {group.problem.id: group.problem for group in groups})
    for a, b in zip(back, groups, strict=True):
        same_group(a, b)
    assert all(a.problem is b.problem for a, b in zip(back, groups, strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["g.parquet"]


def test_groups_stand_alone_without_the_problems(tmp_path):
    write_groups(tmp_path / "g.parquet", 12, some_groups())
    for a, b in zip(read_groups(tmp_path / "g.parquet"), some_groups(), strict=True):
        same_group(a, b)


def test_text_that_no_file_can_hold_does_not_stop_a_run(tmp_path):
    group = some_groups()[0]
    verdict = Verdict(0.0, Outcome.INCORRECT, answer="\ud800", reason="got \udfff", info={"odd": {1, 2}})
    group = dataclasses.replace(group, rollouts=(dataclasses.replace(group.rollouts[0], verdict=verdict),))
    write_groups(tmp_path / "g.parquet", 0, [group])
    [back] = read_groups(tmp_path / "g.parquet")
    assert back.rollouts[0].verdict.answer == "\\ud800"
    assert back.rollouts[0].verdict.reason == "got \\udfff"


def test_a_problem_that_is_no_json_does_not_stop_a_run(tmp_path):
    group = some_groups()[0]
    odd = {(0, 1): "x", "deep": [{frozenset([2]): {3}}], None: 1, 4: None}
    group = dataclasses.replace(group, problem=dataclasses.replace(group.problem, metadata=odd))
    write_groups(tmp_path / "g.parquet", 0, [group])
    [back] = read_groups(tmp_path / "g.parquet")
    assert back.problem.metadata == {"(0, 1)": "x", "deep": [{"frozenset({2})": "{3}"}], "None": 1, "4": None}


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", make_config())


def test_create_keeps_the_file_word_for_word_and_says_what_it_is(tmp_path):
    source = tmp_path / "mine.py"
    source.write_bytes(b"# \xc3\xa9\r\nx = 1\n")
    run = Run.create(tmp_path / "runs" / "a", make_config(steps=7), source=source, overrides={"steps": 7})
    assert (run.path / "config.py").read_bytes() == source.read_bytes()
    kept = run.config
    assert kept["fields"]["steps"] == 7
    assert kept["fields"]["problems"] == "<5 items>"
    assert kept["overrides"] == {"steps": 7}
    assert kept["fingerprints"].keys() == {field.name for field in dataclasses.fields(RunConfig)}
    assert {"python", "jax", "jaxlib", "ray", "dm-haiku", "optax"} <= kept["versions"].keys()
    assert kept["machine"]["cores"] >= 1
    assert Run(run.path).config == kept


def test_create_refuses_a_directory_that_is_in_use(tmp_path, run):
    with pytest.raises(FileExistsError, match=r"holds a run: .* rl.train\(config, resume="):
        Run.create(run.path, make_config())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="is not empty"):
        Run.create(tmp_path / "other", make_config())
    assert (tmp_path / "other" / "thesis.tex").exists()


def test_create_leaves_nothing_where_it_fails(tmp_path):
    with pytest.raises(FileNotFoundError):
        Run.create(tmp_path / "run", make_config(), source=tmp_path / "missing.py")
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        Run.create(tmp_path / "empty", make_config(), source=tmp_path / "missing.py")
    assert list((tmp_path / "empty").iterdir()) == []


def test_open_says_what_there_is(tmp_path, run):
    with pytest.raises(FileNotFoundError, match=r"is not a run: it has no config.json of one. Runs in .*: run\."):
        Run(tmp_path / "rum")
    with pytest.raises(FileNotFoundError, match="There is no such directory"):
        Run(tmp_path / "a" / "b")


def test_metrics_keep_every_bit(run):
    values = {"a": 0.1 + 0.2, "b": np.float32(0.1), "c": 1e-310, "d": 3, "nan": float("nan"), "e": np.int64(5)}
    run.record(0, values)
    run.record(1, {"a": -0.0})
    first, second = run.metrics()
    assert first["step"] == 0
    assert first["a"].hex() == (0.1 + 0.2).hex()
    assert np.float32(first["b"]) == np.float32(0.1)
    assert (first["c"], first["d"], first["e"]) == (1e-310, 3, 5)
    assert np.isnan(first["nan"])
    assert str(second["a"]) == "-0.0"


def test_a_line_torn_by_a_kill_is_not_there(run):
    run.record(0, {"a": 1})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "a"')
    assert [line["step"] for line in run.metrics()] == [0]
    run.truncate(1)
    run.record(1, {"a": 2})
    assert [line["step"] for line in run.metrics()] == [0, 1]
    run.event("checkpoint")
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"time": 1')
    run.drop_torn_event()
    run.event("stopped")
    assert [event["kind"] for event in run.events()] == ["checkpoint", "stopped"]


def test_a_damaged_file_is_named(run):
    (run.path / "metrics.jsonl").write_text('{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is damaged: "):
        run.metrics()
    for line, what in (('["step"]', "it is no JSON object, but "), ('{"a": 1}', "it names no step")):
        (run.path / "metrics.jsonl").write_text('{"step": 0}\n' + line + "\n")
        with pytest.raises(ValueError, match=rf"metrics.jsonl, line 2 is damaged: {what}"):
            run.metrics()
    (run.path / "metrics.jsonl").write_bytes(b'{"step": 0}\n{"step": 1, "a": "\xff"}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is damaged: 'utf-8' codec"):
        run.metrics()
    (run.path / "config.json").write_text('["fingerprints"]')
    with pytest.raises(ValueError, match=r"config.json is damaged: it is no JSON object, but \['fingerprints'\]"):
        _ = run.config
    (run.path / "config.json").write_text('{"fingerprints": [], "source": null, "fields": {}, "overrides": {}}')
    with pytest.raises(ValueError, match=r"config.json is damaged: its fingerprints are no JSON object, but \[\]"):
        _ = run.config
    (run.path / "config.json").write_text('{"fingerprints": {}, "source": null}')
    with pytest.raises(ValueError, match=r"config.json is damaged: it lacks fields, overrides"):
        _ = run.config
    (run.path / "config.json").write_text('{"fingerprints": {')
    with pytest.raises(ValueError, match=r"config.json is damaged: Expecting"):
        _ = run.config


def test_events_have_a_time_and_a_kind(run):
    run.event("actor_died", actor="worker 1")
    [event] = run.events()
    assert event["kind"] == "actor_died"
    assert event["actor"] == "worker 1"
    assert event["time"] > 1.6e9


def an_evaluation():
    return Evaluation(
        ids=("a", "b"),
        rewards=np.array([[1.0, 0.0], [np.nan, 0.0]]),
        texts=(("x", "y"), ("z", "\ud800")),
        outcomes=(("correct", "incorrect"), ("error", "incorrect")),
    )


def test_evaluations_leave_a_file_and_a_line(run):
    run.evaluation(8, an_evaluation())
    [line] = run.evaluations()
    assert (line["step"], line["mean"], line["n"], line["samples"], line["errors"]) == (8, 0.25, 2, 2, 1)
    import pyarrow.parquet as pq

    rows = pq.read_table(run.path / "evaluations" / "000008.parquet").to_pylist()
    assert [(row["problem"], row["sample"], row["text"]) for row in rows] == [
        ("a", 0, "x"), ("a", 1, "y"), ("b", 0, "z"), ("b", 1, "\\ud800"),
    ]  # fmt: skip
    back = run.read_evaluation(8)
    assert (back.ids, back.outcomes) == (an_evaluation().ids, an_evaluation().outcomes)
    np.testing.assert_array_equal(back.rewards, an_evaluation().rewards)


def test_truncate_forgets_a_step_and_all_after_it(run):
    for step in range(4):
        run.record(step, {"a": step})
        run.rollouts(step, some_groups())
        run.evaluation(step, an_evaluation())
    run.event("stopped")
    half = run.path / "checkpoints" / ".000003.partial"
    half.mkdir(parents=True)
    run.report({"steps": 4})
    run.truncate(2)
    assert not (run.path / "report.json").exists()
    assert [line["step"] for line in run.metrics()] == [0, 1]
    assert [line["step"] for line in run.evaluations()] == [0, 1]
    assert sorted(p.name for p in run.path.glob("*/*.parquet")) == [
        "000000.parquet",
        "000000.parquet",
        "000001.parquet",
        "000001.parquet",
    ]
    assert [event["kind"] for event in run.events()] == ["stopped"]
    assert not half.exists()
    same_group(run.groups(1)[0], some_groups()[0])


def test_truncate_forgets_checkpoints_after_the_step_and_no_copies(run):
    for name in ("000002", "000004", "1000000", "000004.bak"):
        (run.path / "checkpoints" / name).mkdir(parents=True)
    (run.path / "rollouts" / "000004 copy.parquet").touch()
    run.truncate(2)
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["000002", "000004.bak"]
    assert (run.path / "rollouts" / "000004 copy.parquet").exists()


def test_the_steps_that_metrics_lack_are_named(run):
    for step in (0, 1, 3, 4):
        run.record(step, {})
    run.require_metrics(2)
    with pytest.raises(ValueError, match=r"metrics.jsonl lacks lines \(step 2\), .* move the checkpoints after step 2"):
        run.require_metrics(5)
    with pytest.raises(ValueError, match=r"lacks lines \(step 2, 5, 6, 7, 8 and 11 more\)"):
        run.require_metrics(20)


def test_the_config_says_what_a_verifier_is_bound_to():
    """Above all a level of the sandbox that was asked for by name."""
    assert summary(functools.partial(verifiers.code, level="unsafe")) == "verifiers.programs.code(level='unsafe')"
    assert summary(functools.partial(some_groups, key="secret")).endswith("some_groups(...)")


def test_the_report_is_whole_json(run):
    run.report({"before": an_evaluation().summary(), "steps": 3})
    report = json.loads((run.path / "report.json").read_text())
    assert report["before"].keys() == {"mean", "low", "high", "n"}


def test_an_evaluation_of_which_nothing_was_judged_has_no_mean(run):
    unknown = dataclasses.replace(an_evaluation(), rewards=np.full((2, 2), np.nan))
    run.evaluation(0, unknown)
    run.report({"before": unknown.summary()})
    assert run.evaluations()[0]["mean"] is None
    assert json.loads((run.path / "report.json").read_text()) == {
        "before": {"mean": None, "low": 0.0, "high": 1.0, "n": 0}
    }
    assert "NaN" not in (run.path / "report.json").read_text() + (run.path / "evaluations.jsonl").read_text()


def test_resume_lets_only_length_and_workers_change(run):
    compare_config(run, make_config())
    compare_config(run, make_config(steps=500, num_workers=3, num_scorers=2, inline=True))
    with pytest.raises(ValueError, match="learning_rate: 5e-06 in the run, 1e-05 now") as caught:
        compare_config(run, make_config(learning_rate=1e-5, seed=1, steps=5))
    assert "seed: 0 in the run, 1 now" in str(caught.value)
    assert "steps:" not in str(caught.value)


def changed_verifier(problem, completion):
    return Verdict(1.0, Outcome.CORRECT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("problems", [Problem("sums/0", "0+0=", "0")]),
        ("verifiers", {"math": changed_verifier}),
        ("threads", 1),
        ("slots", 8),
        ("advantage", lambda rewards: rewards),
        ("model", policy.Model("tiny", dataclasses.replace(SHAPE, context=32), policy.ByteTokenizer(), load_nothing)),
    ],
)
def test_resume_refuses_what_the_numbers_see(run, field, value):
    with pytest.raises(ValueError, match=f"cannot go on under another config. Changed:\n  {field}"):
        compare_config(run, make_config(**{field: value}))


@dataclasses.dataclass(frozen=True)
class Threshold:
    low: float
    file: pathlib.Path = pathlib.Path("a")


class Plain:
    def __init__(self, value):
        self.value = value


def closure(value):
    return lambda: value


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1, 2], (1, 2), True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
        (1, 1.5, False),
        ("1", 1, False),
        (np.arange(3), np.arange(3), True),
        (np.arange(3), np.arange(3.0), False),
        (Threshold(1.0), Threshold(1.0, pathlib.Path("b")), True),
        (Threshold(1.0), Threshold(2.0), False),
        (Plain(1), Plain(1), True),
        (Plain(1), Plain(2), False),
        (closure(1), closure(1), True),
        (closure(1), closure(2), False),
        (functools.partial(closure, 1), functools.partial(closure, 2), False),
        (exactly, changed_verifier, False),
        ({3, 1}, {1, 3}, True),
        (Outcome.CORRECT, Outcome.ERROR, False),
        (len, len, True),
        (len, abs, False),
    ],
)
def test_fingerprints(one, other, same):
    assert (fingerprint(one) == fingerprint(other)) is same


WRITTEN = {
    "a constant": "ALLOWED = 'ab{}'\ndef make(): return ALLOWED",
    "a helper": "def helper(): return {}\ndef make(): return helper()",
    "a helper's helper": (
        "def low(): return {}\nclass Helper:\n  def __call__(self): return low()\ndef make(): return Helper()()"
    ),
    "a lambda within": "LOW = {}\ndef make(): return (lambda: LOW)()",
    "a method": "class Make:\n  def __call__(self): return {}\nmake = Make()",
    "a dataclass's method": (
        "import dataclasses\n@dataclasses.dataclass\nclass Make:\n  a: int = 1\n  def __call__(self): return {}\n"
        "make = Make()"
    ),
    "a bound method": "class Make:\n  def do(self): return {}\nmake = Make().do",
    "a static method's helper": (
        "def low(): return {}\nclass Make:\n  @staticmethod\n  def do(): return low()\n"
        "  def __call__(self): return self.do()\nmake = Make()"
    ),
    "a base class": "class Base:\n  def do(self): return {}\nclass Make(Base): pass\nmake = Make()",
    "what is cached": "import functools\n@functools.cache\ndef make(): return {}",
    "what is compiled": "import jax\n@jax.jit\ndef make(x): return x + {}",
    "a default": "def make(a={}): return a",
    "a queue": "import collections\nmake = collections.deque([{}])",
}


@pytest.mark.parametrize("source", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_function_counts_with_all_that_it_uses(tmp_path, source):
    def written(number):
        file = tmp_path / f"of_{number}" / "written.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(source.format(number) + "\n")
        return fingerprint(plugins.load_file(file).make)

    assert written(1) == written(1)
    assert written(1) != written(2)


def test_modules_of_the_users_count_with_what_is_used_of_them(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    helper = tmp_path / "written_helper.py"

    def written(text):
        helper.write_text(text)
        importlib.invalidate_caches()
        for name in ("written_helper", "written_user"):
            sys.modules.pop(name, None)
        linecache.clearcache()
        return fingerprint(importlib.import_module("written_user").make)

    (tmp_path / "written_user.py").write_text("import written_helper\ndef make(): return written_helper.low()\n")
    first = written("import written_user\ndef low(): return 1\n")
    assert written("import written_user\nUNUSED = 1\ndef low(): return 1\n") == first
    assert written("import written_user\ndef low(): return 22\n") != first


def test_what_a_function_counts_is_no_part_of_the_config(tmp_path):
    file = tmp_path / "counts.py"
    file.write_text("calls = 0\ndef make():\n  global calls\n  calls += 1\n")
    make = plugins.load_file(file).make
    before = fingerprint(make)
    make()
    assert fingerprint(make) == before


def test_functions_without_a_file_count_by_their_bytecode():
    def typed(text):
        names = {"__name__": "typed"}
        exec(f"def make(): return [x for x in {text}]", names)
        return fingerprint(names["make"])

    assert typed("(1, 'a', 2j, ...)") == typed("(1, 'a', 2j, ...)")
    assert typed("(1, 'a')") != typed("(2, 'a')")


def test_a_fingerprint_is_the_same_in_each_process(tmp_path):
    file = tmp_path / "written.py"
    file.write_text(
        "import logging, threading, numpy\nLOG, LOCK = logging.getLogger('x'), threading.Lock()\n"
        "def make(x): return LOG, LOCK, numpy.linalg, x in {'a', 'b', 'c'}\n"
    )
    script = (
        "import sys\nfrom rl.fingerprint import fingerprint\nfrom verifiers import plugins\n"
        "print(fingerprint([plugins.load_file(sys.argv[1]).make, {'a', 'b', 'c'}]))"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", script, str(file)], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(prints) == 1


def test_a_changed_verifier_is_told_of_where_its_name_is_the_same(tmp_path):
    def config(text):
        file = tmp_path / "mine.py"
        file.write_text(f"ALLOWED = {text!r}\ndef judge(problem, completion): return completion in ALLOWED\n")
        module = plugins.load_file(file)
        del sys.modules[module.__name__]  # Else it would not be run again.
        return make_config(verifiers={"math": module.judge})

    run = Run.create(tmp_path / "run", config("0123456789"))
    compare_config(run, config("0123456789"))
    with pytest.raises(ValueError, match=r"verifiers: .*judge'}, whose code, or something that it uses, is another"):
        compare_config(run, config("0123456789abc"))


def test_a_circle_has_a_fingerprint():
    ring = Plain([])
    ring.value.append(ring)
    assert fingerprint(ring) == fingerprint(ring)


@contextlib.contextmanager
def files_of_at_most(size):
    """The nearest thing to a full disk that needs no rights: no file may grow beyond `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_takes_a_line_back_and_leaves_no_half_file(run):
    run.record(0, {"a": 1})
    run.report({"steps": 0})
    size = (run.path / "metrics.jsonl").stat().st_size
    with files_of_at_most(size + 10):
        with pytest.raises(OSError, match="File too large"):
            run.record(1, {"a": 2})
        with pytest.raises(OSError, match="File too large"):
            run.rollouts(1, some_groups())
        with pytest.raises(OSError, match="File too large"):
            run.report({"steps": 1, "why": "x" * 100})
    assert (run.path / "metrics.jsonl").stat().st_size == size
    assert list((run.path / "rollouts").iterdir()) == []
    assert json.loads((run.path / "report.json").read_text()) == {"steps": 0}
    run.record(1, {"a": 2})
    assert [line["a"] for line in run.metrics()] == [1, 2]


def test_a_full_disk_leaves_no_half_run(tmp_path):
    with files_of_at_most(100), pytest.raises(OSError, match="File too large"):
        Run.create(tmp_path / "run", make_config())
    assert list(tmp_path.iterdir()) == []
