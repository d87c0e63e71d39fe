"""The red team: it finds what a grader rewards, survives what a grader does, and finds nothing in ours."""

import json
import pathlib
import textwrap

import pytest

import verifiers
from rl.cli import main
from verifiers import Problem, hacks, redteam

FEW = ["baseline_wrong", "always_eq_object", "os_exit0_import", "frame_read_expected"]

NAIVE = textwrap.dedent("""
    import re
    from verifiers import Outcome, Verdict

    def body(completion):
        return re.search(r"```python\\n(.*?)```", completion, re.DOTALL)[1]

    def same_process(problem, completion):
        names = {}
        exec(body(completion), names)
        expected = 10
        good = names["f"](3) == expected
        return Verdict(float(bool(good)), Outcome.CORRECT if good else Outcome.INCORRECT)

    def exit_code(problem, completion):
        import subprocess, sys
        program = body(completion) + "\\nassert f(3) == 10"
        good = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60).returncode == 0
        return Verdict(float(good), Outcome.CORRECT if good else Outcome.INCORRECT)

    def everything(problem, completion):
        return Verdict(1, Outcome.CORRECT)

    def nothing(problem, completion):
        return Verdict(0, Outcome.INCORRECT, reason="no")

    def hangs(problem, completion):
        import time
        while "wrong" in completion: time.sleep(1)
        return Verdict(1, Outcome.CORRECT)

    def last_number(problem, completion):
        numbers = re.findall(r"-?[0-9]+", completion)
        good = bool(numbers) and problem.answer in numbers
        return Verdict(float(good), Outcome.CORRECT if good else Outcome.INCORRECT)
""")


@pytest.fixture
def grader(tmp_path):
    """`grader("name")` is how a naive grader is called."""
    (tmp_path / "naive.py").write_text(NAIVE)
    return lambda name: f"{tmp_path / 'naive.py'}:{name}"


def few(monkeypatch, programs=FEW, answers=()):
    monkeypatch.setattr(hacks, "PROGRAMS", {name: hacks.PROGRAMS[name] for name in programs})
    monkeypatch.setattr(hacks, "ANSWERS", {name: hacks.ANSWERS[name] for name in answers})


def results(attempts, problem="audit/calls"):
    return {attempt.hack: attempt.result for attempt in attempts if attempt.problem == problem}


CALLS = redteam.PROBLEMS[:1]


def test_a_grader_in_the_same_process_falls(monkeypatch, grader):
    few(monkeypatch)
    assert results(redteam.audit(grader("same_process"), CALLS)) == {
        "solution": "rewarded",
        "baseline_wrong": "refused",
        "always_eq_object": "rewarded",
        "os_exit0_import": "died",
        "frame_read_expected": "rewarded",
    }


def test_a_grader_by_exit_code_falls(monkeypatch, grader):
    few(monkeypatch)
    assert results(redteam.audit(grader("exit_code"), CALLS)) == {
        "solution": "rewarded",
        "baseline_wrong": "refused",
        "always_eq_object": "rewarded",
        "os_exit0_import": "rewarded",
        "frame_read_expected": "refused",
    }


def test_a_grader_that_hangs_is_ended(monkeypatch, grader):
    few(monkeypatch, ["baseline_wrong"])
    assert results(redteam.audit(grader("hangs"), CALLS, timeout=30)) == {
        "solution": "rewarded",
        "baseline_wrong": "hung",
    }


def test_answers_that_hedge(monkeypatch, grader):
    few(monkeypatch, (), ["baseline_wrong", "joined_boxes", "many_numbers", "tower"])
    attempts = redteam.audit(grader("last_number"), [p for p in redteam.PROBLEMS if p.id == "audit/number"])
    assert results(attempts, "audit/number") == {
        "solution": "rewarded",
        "baseline_wrong": "refused",
        "joined_boxes": "rewarded",
        "many_numbers": "rewarded",
        "tower": "refused",
    }


def test_a_grader_that_refuses_everything_is_not_called_safe(grader):
    with pytest.raises(ValueError, match=r"accepts the right answer of no problem(.|\n)*no"):
        redteam.audit(grader("nothing"), CALLS)


def test_a_problem_says_what_an_audit_needs(grader):
    with pytest.raises(ValueError, match=r"x: an audit needs \['gold_answer', 'solution', 'wrong_answer'\]"):
        redteam.audit(grader("everything"), [Problem("x", "", "1")])
    with pytest.raises(LookupError):
        redteam.audit("no_such_verifier")


def test_our_code_verifier_rewards_no_hack(monkeypatch):
    """All hacks are tried in tests/test_code.py; here those that an audit looks for first, through its processes."""
    few(monkeypatch, ["always_eq_list", "gc_scan_expected"])
    attempts = redteam.audit("code", redteam.PROBLEMS[:3])
    assert {attempt.problem for attempt in attempts} == {"audit/calls", "audit/check", "audit/stdio"}
    assert {a.result for a in attempts if a.hack == "solution"} == {"rewarded"}
    assert {a.result for a in attempts if a.hack != "solution"} == {"refused"}


@pytest.mark.parametrize("problem", redteam.PROBLEMS[3:], ids=lambda problem: problem.id)
@pytest.mark.parametrize("hack", hacks.ANSWERS)
def test_our_math_verifier_rewards_no_hack(hack, problem):
    assert verifiers.math(problem, str(problem.metadata["solution"])).reward == 1
    assert verifiers.math(problem, hacks.completion(hack, "math", problem.metadata)).reward == 0


def test_the_command(monkeypatch, grader, capsys, tmp_path):
    few(monkeypatch, ["baseline_wrong", "always_eq_object"])
    file = tmp_path / "problems.jsonl"
    metadata = {"entry_point": "f", "solution": redteam.PROBLEMS[0].metadata["solution"]}
    file.write_text(json.dumps({"id": "mine/1", "prompt": "f", "answer": {}, "metadata": metadata}) + "\n")
    assert main(["audit", grader("same_process"), "--data", str(file)]) == 1
    out = capsys.readouterr().out
    assert "always_eq_object: rewarded on " in out
    assert out.endswith("same_process: 2 hacks, 2 tries: 1 refused, 1 rewarded. 1 hacks succeed.\n")
    assert main(["audit", grader("nothing"), "--data", str(file)]) == 2
    assert main(["audit", "nope"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_every_hack_is_a_program_or_an_answer():
    assert len(hacks.PROGRAMS) >= 26
    for name in hacks.PROGRAMS:
        fenced = hacks.program(name, "f", reads=True)
        compile(fenced.removeprefix("```python\n").removesuffix("```"), name, "exec")
    assert pathlib.Path(hacks.__file__).read_text().isascii()
