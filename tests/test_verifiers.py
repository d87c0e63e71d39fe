"""The plain verifiers, the check of known answers, and what importing the package costs."""

import json
import pickle
import subprocess
import sys

import pytest

import verifiers
from verifiers import Finding, Outcome, Problem, Verdict, check, exact, number


def judge(verifier, gold, completion):
    return verifier(Problem("p/1", "?", gold), completion).outcome.value


@pytest.mark.parametrize(
    ("gold", "completion", "outcome"),
    [
        ("cat", "cat", "correct"), ("cat", " cat\n", "correct"), (4, "4", "correct"), ("cat", "Cat", "incorrect"),
        ("cat", "a cat", "incorrect"), ("cat", "", "unparsed"), ("cat", " \n", "unparsed"), (None, "None", "error"),
        (True, "True", "error"), ("", "x", "error"), (["a"], "a", "error"),
        (float("nan"), "nan", "error"),
    ],
)  # fmt: skip
def test_exact(gold, completion, outcome):
    assert judge(exact, gold, completion) == outcome


@pytest.mark.parametrize(
    "completion",
    [
        "72", " 72.\n", "72.0", "**72**", "$72", "$72$", "+72", "0072", "72.", "\\boxed{72}", "#### 72",
        "The answer is 72.",
        "The answer is 72 apples.", "so 70 + 2\n#### $72", "Final answer: **72**", "\\boxed{72\\%}",
        "The answer is $72.00.",
        "<think>71?</think>72", "\\boxed{72 degrees}", "\\$72",
    ],
)  # fmt: skip
@pytest.mark.parametrize("gold", [72, "72", 72.0, "It is 72.\n#### 72", "$72$", "\\boxed{72}"])
def test_number_accepts(gold, completion):
    assert judge(number, gold, completion) == "correct"


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("73", "incorrect"), ("-72", "incorrect"), ("7.2", "incorrect"), ("72.0001", "incorrect"), ("\\boxed{73}",
        "incorrect"),
        ("72 73", "unparsed"), ("It is 72", "unparsed"), ("71 + 1 = 72", "unparsed"), ("72 apples", "unparsed"),
        ("", "unparsed"), ("seventy-two", "unparsed"), ("7,2", "unparsed"), ("72,", "unparsed"), ("72 or 73",
        "unparsed"),
        ("The answer is 72 or 73.", "unparsed"), ("The answer is 72 not", "unparsed"), ("#### 71\n#### 72 or so",
        "unparsed"),
        ("\\boxed{71, 72}", "unparsed"), ("\\boxed{72", "unparsed"), ("<think>72</think>", "unparsed"), ("<think>72",
        "unparsed"),
        ("٧٢", "unparsed"), ("7²", "unparsed"), ("7_2", "unparsed"), ("0x48", "unparsed"), ("7.2e1", "unparsed"),
        ("1" * 10**6, "unparsed"), ("nan", "unparsed"), ("inf", "unparsed"), ("-", "unparsed"), (".", "unparsed"),
        ("__import__('os').system('x')", "unparsed"), (" " * 10**6 + "7", "incorrect"), ("*" * 10**6, "unparsed"),
    ],
)  # fmt: skip
def test_number_refuses(completion, outcome):
    assert judge(number, 72, completion) == outcome


@pytest.mark.parametrize("gold", ["", "seventy", None, True, [72], {"n": 72}, float("nan"), "1" * 2000])
def test_number_gold_that_is_no_number_is_an_error(gold):
    verdict = number(Problem("p", "", gold), "72")
    assert verdict.outcome is Outcome.ERROR
    assert "no number" in verdict.reason


def test_number_with_separators_and_signs():
    assert judge(number, 1234567, "1,234,567") == "correct"
    assert judge(number, -5, "-5") == judge(number, -5, "\u22125") == "correct"
    assert judge(number, 0.5, ".5") == "correct"
    assert judge(number, 10**30 + 1, str(10**30)) == "incorrect"  # Exact, beyond what a float can tell apart.


def test_number_golds_of_the_data_sets_accept_themselves_only(shared):
    lines = [json.loads(line) for line in shared("gsm8k/train.jsonl").read_text().splitlines()]
    for row in lines:
        gold = row["answer"]
        value = gold.rpartition("####")[2].strip().replace(",", "")
        assert judge(number, gold, value) == "correct"
        assert judge(number, gold, str(float(value) + 1)) == "incorrect"
    for row in json.loads(shared("svamp/SVAMP.json").read_text()):
        assert judge(number, row["Answer"], str(row["Answer"])) == "correct"
        assert judge(number, row["Answer"], str(row["Answer"] - 1)) == "incorrect"


PROBLEMS = [Problem(f"sum/{n}", f"{n} + 1?", str(n + 1), "number") for n in range(20)]


def always(problem, completion):
    return Verdict(1, Outcome.CORRECT)


def never(problem, completion):
    return Verdict(0, Outcome.INCORRECT, reason="never")


def raises(problem, completion):
    raise RuntimeError("out of order")


def test_check_finds_nothing_wrong_with_good_verifiers():
    assert check(number, PROBLEMS, others=5) == []
    assert check(exact, PROBLEMS, others=5) == []
    assert check(verifiers.math, PROBLEMS, others=5) == []  # Accepts the boxed form of the answer.
    assert check(exact, []) == []


def test_check_finds_a_verifier_that_accepts_anything():
    findings = check(always, PROBLEMS, others=3)
    assert {finding.what for finding in findings} == {"another's gold accepted"}
    assert len({finding.problem for finding in findings}) == 20
    assert check(always, PROBLEMS, others=3) == findings  # Deterministic.


def test_check_does_not_count_equal_answers_of_others():
    same = [Problem("a", "", "1/2"), Problem("b", "", "0.5"), Problem("c", "", "\\frac{1}{2}")]
    assert check(verifiers.math, same, others=3) == []


def test_check_finds_a_refused_gold():
    findings = check(never, PROBLEMS[:2])
    assert [finding.problem for finding in findings] == ["sum/0", "sum/1"]
    assert findings[0] == Finding(
        "sum/0", "own gold refused", "\\boxed{1}", Verdict(0, Outcome.INCORRECT, reason="never")
    )
    assert str(findings[0]) == "sum/0: own gold refused: '\\\\boxed{1}' (never)"


def test_check_finds_a_gold_that_is_no_answer():
    [finding] = check(verifiers.math, [Problem("p", "", "\\frac{1}{")])
    assert finding.what == "own gold is no answer"
    assert finding.verdict.outcome == "error"


def test_check_tries_the_gold_of_a_constraint_and_no_others():
    def short(problem, completion):
        good = len(completion.split()) <= problem.answer["words"]
        return Verdict(float(good), Outcome.CORRECT if good else Outcome.INCORRECT)

    problems = [Problem(str(n), "", {"words": n}, metadata={"gold": "two words"}) for n in (1, 2, 3)]
    assert [finding.problem for finding in check(short, problems, others=3)] == ["1"]


def test_check_of_a_verifier_that_raises():
    with pytest.raises(RuntimeError, match="out of order"):
        check(raises, PROBLEMS)

    def guarded(verifier, problem, completion):
        try:
            return verifier(problem, completion)
        except RuntimeError as error:
            return Verdict(0, Outcome.ERROR, reason=str(error))

    findings = check(raises, PROBLEMS, call=guarded)
    assert len(findings) == 20
    assert findings[0].verdict.reason == "out of order"


def test_the_verifiers_are_functions_whatever_was_imported_and_pickle():
    import verifiers.golden
    import verifiers.mathematics
    import verifiers.plain
    import verifiers.plugins

    for function in (verifiers.math, verifiers.exact, verifiers.number, verifiers.check, verifiers.load):
        assert callable(function)
        assert pickle.loads(pickle.dumps(function)) is function


def test_importing_verifiers_is_quick_and_light():
    code = """
import sys, time
start = time.process_time()  # Not of the clock: other tests run beside this one.
import verifiers
seconds = time.process_time() - start
heavy = {"jax", "ray", "datasets", "sympy", "mpmath", "numpy", "haiku", "httpx2"} & set(sys.modules)
verifiers.number(verifiers.Problem("p", "", 72), "72")
print(seconds, *heavy)
"""
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    seconds, *heavy = min(run.stdout for run in runs).split()
    assert not heavy
    assert float(seconds) < 0.15
