"""HumanEval and MBPP whole: right programs, changed programs, and programs that deceive."""

import concurrent.futures
import itertools
import json
import subprocess
import sys
import time

import mutants
import pytest

import verifiers
from verifiers import Outcome, Problem, hacks, sandbox

QUICK = {"cpu_s": 2, "idle_s": 2}
# Tasks whose right program some machines refuse: 123 sums the divisors of all numbers to 10,000, three seconds of CPU.
SLOW_TASKS = {"mbpp/123"}


@pytest.fixture(scope="module", autouse=True)
def _isolated():
    try:
        sandbox.shared_pool()
    except sandbox.SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def human_eval(shared):
    """Problem, right completion, and the official test as a program to append."""
    rows = map(json.loads, shared("humaneval/HumanEval.jsonl").read_text().splitlines())
    return [
        (
            Problem(row["task_id"], row["prompt"], {key: row[key] for key in ("prompt", "test", "entry_point")}),
            row["canonical_solution"],
            f"\n{row['test']}\ncheck({row['entry_point']})\n",
        )
        for row in rows
    ]


@pytest.fixture(scope="module")
def mbpp(shared):
    rows = map(json.loads, shared("mbpp/mbpp.jsonl").read_text().splitlines())
    return [
        (
            Problem(
                f"mbpp/{row['task_id']}", row["text"], {"setup": row["test_setup_code"], "tests": row["test_list"]}
            ),
            row["code"],
            "\n".join(["", row["test_setup_code"], *row["test_list"]]),
        )
        for row in rows
    ]


def judged(pairs):
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda pair: verifiers.code(*pair), pairs))


def refused(suite, verdicts):
    return {
        problem.id: verdict.reason
        for (problem, *_), verdict in zip(suite, verdicts, strict=True)
        if verdict.outcome is not Outcome.CORRECT
    }


def test_human_eval_is_solved_by_its_solutions(human_eval):
    judged([pair[:2] for pair in human_eval[:4]])  # The slots are there.
    verdicts, bare, seconds = [], 0.0, 0.0
    for first in range(0, 164, 20):  # Each by turns: the load may change meanwhile.
        began = time.perf_counter()
        for _ in range(2):
            subprocess.run([sys.executable, "-c", "import typing, collections"], check=True)
        bare += (time.perf_counter() - began) / 2
        began = time.perf_counter()
        few = judged([(problem, solution) for problem, solution, _ in human_eval[first : first + 20]])
        seconds += (time.perf_counter() - began) / len(few)
        verdicts += few
    assert len(verdicts) == 164
    assert refused(human_eval, verdicts) == {}
    assert seconds < 5 * bare  # Half of it, where nobody else uses two cores.
    # The whole function in a fence is as good as the body alone.
    whole = [(p, f"Sure:\n```python\n{p.answer['prompt']}{solution}\n```") for p, solution, _ in human_eval]
    assert refused(human_eval, judged(whole)) == {}


def test_human_eval_in_two_jails(human_eval):
    few = human_eval[::6]
    verdicts = judged([(Problem(p.id, "", {**p.answer, "mode": "check"}), solution) for p, solution, _ in few])
    assert refused(few, verdicts) == {}
    assert {verdict.info["mode"] for verdict in verdicts} == {"check"}


def test_mbpp_is_solved_by_its_solutions(mbpp):
    verdicts = judged([(problem, solution) for problem, solution, _ in mbpp])
    assert len(verdicts) == 974
    assert refused(mbpp, verdicts).keys() <= SLOW_TASKS


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_mbpp_in_two_jails(mbpp):
    verdicts = judged([(Problem(p.id, "", {**p.answer, "mode": "check"}), solution) for p, solution, _ in mbpp])
    # Task 126 asks for a function `sum`, which test code takes for Python's where nobody names the entry point.
    assert refused(mbpp, verdicts).keys() <= SLOW_TASKS | {"mbpp/126"}


def agreement(suite, each, seed, seconds):
    """Tasks and programs on which we and the official tests disagree; how many were tried, and passed both.

    A changed program may loop for ever: both sides give it `seconds` of CPU, and five times as many where they then
    disagree.
    """
    tried = []
    for number, (problem, solution, official) in enumerate(suite):
        prompt = problem.answer.get("prompt", "")
        for program in mutants.mutants(prompt + solution, each, seed + number):
            tried.append((problem, program, official))
    ours, truths = both_ways(tried, seconds)
    again = [case for case, good, truth in zip(tried, ours, truths, strict=True) if good != truth]
    odd = zip(again, *both_ways(again, 5 * seconds), strict=True)
    return [(case[0].id, case[1], good) for case, good, truth in odd if good != truth], len(ours), sum(ours)


def both_ways(tried, seconds):
    """Of (problem, program, official test): whether we accept the program, whether the official test does."""
    limits = {"limits": {"cpu_s": seconds}}
    verdicts = judged([(Problem(p.id, "", {**p.answer, **limits}), f"```python\n{text}\n```") for p, text, _ in tried])
    assert not [v for v in verdicts if v.outcome is Outcome.ERROR]
    official = mutants.honestly([text + test for _, text, test in tried], seconds)
    return [verdict.outcome is Outcome.CORRECT for verdict in verdicts], official


# With the changed program, the official test of this task changes, too: it calls the helper that was changed. Ours
# calls the problem's own.
OWN_HELPER = {"HumanEval/32", "HumanEval/38", "HumanEval/50"}


def test_changed_programs_are_judged_as_the_official_tests_judge_them(human_eval, mbpp):
    odd, tried, passed = agreement(human_eval[::2], 1, 0, 1)
    more, tried_more, passed_more = agreement(mbpp[::8], 1, 0, 1)
    assert [case for case in odd + more if case[0] not in OWN_HELPER] == []
    assert tried + tried_more >= 180
    assert 0 < passed + passed_more < tried + tried_more


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_changed_programs(human_eval, mbpp):
    odd, tried, passed = agreement(human_eval, 4, 1, 1)
    more, tried_more, passed_more = agreement(mbpp, 2, 2, 1)
    print(f"{tried + tried_more} mutants, {passed + passed_more} pass, disagreements: {odd + more}")
    assert [case for case in odd + more if case[0] not in OWN_HELPER | SLOW_TASKS] == []
    assert tried + tried_more >= 2000


def spoofed(human_eval, chosen):
    """The hacks (task, hack, mode) that were rewarded, or that broke the judge."""
    pairs = []
    for number, hack, mode in chosen:
        problem = human_eval[number][0]
        entry = problem.answer["entry_point"]
        if mode == "stdio":
            answer = {"mode": "stdio", "tests": [{"stdin": "1 2\n", "stdout": f"{entry}\n3\n"}], "limits": QUICK}
        else:
            tests = {key: problem.answer[key] for key in ("prompt", "test", "entry_point")}
            answer = {**tests, "limits": QUICK} | ({"mode": "check"} if mode == "check" else {})
        pairs.append((Problem(problem.id, "", answer), hacks.program(hack, entry, reads=mode == "stdio")))
    verdicts = judged(pairs)
    return [
        (*case, verdict)
        for case, verdict in zip(chosen, verdicts, strict=True)
        if verdict.reward or verdict.outcome not in (Outcome.INCORRECT, Outcome.LIMIT)
    ]


MODES = ("calls", "check", "stdio")


def test_no_spoof_is_rewarded(human_eval):
    """Every task with one hack or another, every hack in every mode on some task."""
    assert len(hacks.PROGRAMS) >= 26
    names = itertools.cycle(hacks.PROGRAMS)
    assert spoofed(human_eval, [(i, next(names), MODES[i % 3]) for i in range(164)]) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_spoof_is_rewarded_on_any_task_in_any_mode(human_eval):
    assert spoofed(human_eval, list(itertools.product(range(164), hacks.PROGRAMS, MODES))) == []
