"""`verifiers.check`: good verifiers pass, and each kind of bad one is found out."""

import datetime
import decimal
import json
import os
import random
import threading
import time

import numpy as np
import pytest

import verifiers
from verifiers import Finding, Outcome, Pool, Problem, Verdict, check, exact, math, number
from verifiers.contract import check_golds, tricks

PROBLEMS = [Problem(f"sum/{i}", f"What is {i} + {i + 1}?", str(2 * i + 1), "v") for i in range(20)]


@pytest.fixture(scope="module")
def pool():
    with Pool(workers=2, cache=False) as pool:
        yield pool


def always(problem, completion):
    return Verdict(1, Outcome.CORRECT)


def never(problem, completion):
    return Verdict(0, Outcome.INCORRECT, reason="never")


def clauses(report):
    return {finding.what for finding in report.findings}


@pytest.mark.parametrize("verifier", [math, exact])
def test_good_verifiers_pass(pool, verifier):
    report = check(verifier, PROBLEMS, others=5, pool=pool)
    assert report.findings == ()
    assert report.passed
    assert report.tried["own gold refused"] == 20
    assert report.tried["another's gold accepted"] > 50
    assert report.tried["rewarded: a hedge in two boxes"] == 20
    assert len(report.seconds) > 400
    assert "own gold refused                                20       0\n" in str(report)
    assert "time of a verdict: p50 " in str(report)


def test_a_verifier_that_accepts_anything(pool):
    report = check_golds(always, PROBLEMS, pool, others=3)
    assert clauses(report) == {"another's gold accepted"}
    assert len({finding.problem for finding in report.findings}) == 20
    assert check_golds(always, PROBLEMS, pool, others=3).findings == report.findings  # Deterministic.
    report = check(always, PROBLEMS, pool=pool)
    assert {"no answer, and rewarded", "rewarded: the prompt"} < clauses(report)
    assert "… and 10 more" in str(report)  # Of thirteen completions without an answer.


def test_equal_answers_of_others_do_not_count(pool):
    same = [Problem("a", "", "1/2"), Problem("b", "", "0.5"), Problem("c", "", "\\frac{1}{2}")]
    assert check(math, same, others=3, pool=pool).passed


def test_a_refused_gold(pool):
    report = check_golds(never, PROBLEMS[:2], pool)
    assert [finding.problem for finding in report.findings] == ["sum/0", "sum/1"]
    assert report.findings[0] == Finding(
        "sum/0", "own gold refused", "\\boxed{1}", Verdict(0, Outcome.INCORRECT, reason="never")
    )
    assert str(report.findings[0]) == "sum/0: own gold refused: '\\\\boxed{1}' (never)"


def test_a_gold_that_is_no_answer(pool):
    [finding] = check(math, [Problem("p", "", "\\frac{1}{")], pool=pool).findings
    assert finding.what == "own gold is no answer"
    assert finding.verdict.outcome == "error"


def test_a_constraint_is_tried_on_its_solution(pool):
    def short(problem, completion):
        return 0 < len(completion.split()) <= problem.answer["words"]

    problems = [Problem(str(n), "", {"words": n}, metadata={"solution": "two words"}) for n in (1, 2, 3)]
    report = check(short, problems, others=3, pool=pool)
    assert [finding.problem for finding in report.findings if finding.what == "own gold refused"] == ["1"]
    # "half a box", a single word, satisfies them all: no answer to any of them.
    assert clauses(report) == {"own gold refused", "no answer, and rewarded"}


def raises_at_braces(problem, completion):
    if "{{{" in completion:
        raise RecursionError("too deep")
    return math(problem, completion)


def test_a_verifier_that_raises(pool):
    report = check(raises_at_braces, PROBLEMS[:3], pool=pool)
    assert clauses(report) == {"an error on a completion"}
    assert "raises_at_braces: RecursionError: too deep" in report.findings[0].verdict.reason


def moody(problem, completion):
    return random.random()


def own_process(problem, completion):
    verdict = math(problem, completion)
    return Verdict(verdict.reward, verdict.outcome, reason=str(os.getpid()))


@pytest.mark.parametrize("verifier", [moody, own_process])
def test_a_verifier_that_judges_otherwise_the_second_time(pool, verifier):
    assert "another verdict the second time" in clauses(check(verifier, PROBLEMS, pool=pool))


def counts(problem, completion):
    problem.metadata["n"] = problem.metadata.get("n", 0) + 1
    return problem.metadata["n"] == 1 and completion.strip() == problem.answer


def consumes(problem, completion):
    return completion.strip() == str(problem.answer.pop() if problem.answer else None)


def test_a_verifier_that_changes_the_problem(pool):
    report = check(counts, PROBLEMS, pool=pool)
    assert clauses(report) == {"the problem is changed"}
    assert "it changed the problem's metadata: copy what must change" in str(report)
    lists = [Problem(str(i), "?", [i], metadata={"solution": str(i), "when": datetime.date.today()}) for i in range(3)]
    report = check(consumes, lists, pool=pool)
    assert "it changed the problem's answer" in str(report)


def test_a_verifier_that_hangs_is_given_up_on():
    def hangs(problem, completion):
        time.sleep(100)

    def hangs_on_much(problem, completion):
        if len(completion) > 10_000:
            time.sleep(100)
        return exact(problem, completion)

    with Pool(workers=2, seconds=1, cache=False) as pool:
        report = check(hangs, PROBLEMS, pool=pool)
        assert [finding.what for finding in report.findings] == ["no verdict in time, the rest not tried"] * 3
        assert "hangs: It made no progress for 1 s." in str(report)
        report = check(hangs_on_much, PROBLEMS, pool=pool)
        assert [finding.what for finding in report.findings] == ["no verdict in time, the rest not tried"] * 3
        assert report.tried["own gold refused"] == 20
        [one] = check_golds(lambda p, c: p.answer != "1" or time.sleep(100), PROBLEMS[:3], pool, others=0).findings
        assert (one.problem, one.what) == ("sum/0", "own gold is no answer")  # Two are no reason to end.


ODD = [{3}, b"3", np.int64(3), np.arange(2), decimal.Decimal(3), datetime.date(2026, 1, 1), {(1, 2): 3}]


@pytest.mark.parametrize("answer", ODD, ids=repr)
def test_an_answer_that_nobody_knows_how_to_write(pool, answer):
    with pytest.raises(
        ValueError, match=r"^The answer of problem 'odd' is .*: it must be text, a number, or a list or"
    ):
        check(always, [Problem("odd", "?", answer), *PROBLEMS], pool=pool)

    def same(problem, completion):
        return completion == repr(problem.answer)

    shown = Problem("odd", "?", answer, metadata={"solution": repr(answer)})
    assert check(same, [shown, Problem("other", "?", "5", metadata={"solution": "'5'"})], pool=pool).passed


def first_box_or_last(problem, completion):
    return f"\\boxed{{{problem.answer}}}" in completion


def last_word(problem, completion):
    return completion.replace("}", " ").replace("{", " ").split()[-1:] == [problem.answer]


def test_hedges(pool):
    found = clauses(check(first_box_or_last, PROBLEMS, pool=pool))
    assert found >= {"rewarded: a hedge in two boxes", "rewarded: the same, the other way round"}
    assert "rewarded: a hedge in one box" not in found
    assert "rewarded: the same, the other way round" in clauses(check(last_word, PROBLEMS, pool=pool))


def test_look_alikes_are_other_letters():
    assert tricks("105", "7", "?")["look-alikes"] != "\\boxed{105}"
    assert "look-alikes" not in tricks("734", "7", "?")


def test_what_cannot_travel(pool):
    lock = threading.Lock()

    def locked(problem, completion):
        with lock:
            return math(problem, completion)

    report = check(locked, PROBLEMS[:2], pool=pool)
    assert "own gold is no answer" in clauses(report)
    assert "must be picklable" in report.findings[0].verdict.reason


def test_no_problems():
    with pytest.raises(ValueError, match="there are no problems"):
        check(exact, [])


def test_an_own_pool_by_default():
    assert check(number, [Problem("p", "", json.dumps(7)), Problem("q", "", "8")]).tried["own gold refused"] == 2
    assert verifiers.check is check
