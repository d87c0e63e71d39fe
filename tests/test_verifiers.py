"""The plain verifiers, and what importing the package costs."""

import json
import pickle
import subprocess
import sys

import pytest

from verifiers import Outcome, Problem, exact, number


def judge(verifier, gold, completion):
    return verifier(Problem("p/1", "?", gold), completion).outcome.value


@pytest.mark.parametrize(
    ("gold", "completion", "outcome"),
    [
        ("cat", "cat", "correct"), ("cat", " cat\n", "correct"), (4, "4", "correct"), ("cat", "Cat", "incorrect"),
        ("cat", "a cat", "incorrect"), ("cat", "", "unparsed"), ("cat", " \n", "unparsed"), (None, "None", "error"),
        ("cat", "<think>A dog?</think> cat", "correct"), ("cat", "<think>cat", "unparsed"),
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
        r"\boxed{72 \text{ apples}}", r"\boxed{72\,\text{km/h}}", r"The answer is \(72\).", r"\[72\]",
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
        ("", "unparsed"), ("seventy-two", "unparsed"), ("7,2", "unparsed"), ("72,", "unparsed"),
        ("The answer is 72 thousand.", "unparsed"),
        (r"\boxed{72 \text{ million}}", "unparsed"), ("\\boxed{72k}", "unparsed"), ("#### 72 plus tax", "unparsed"),
        ("72 or 73",
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


@pytest.mark.parametrize("gold", ["", "seventy", None, True, [72], {"n": 72}, float("nan"), "1" * 2000, "5 million"])
def test_number_gold_that_is_no_number_is_an_error(gold):
    verdict = number(Problem("p", "", gold), "72")
    assert verdict.outcome is Outcome.ERROR
    assert "no number" in verdict.reason


def test_number_with_separators_and_signs():
    assert judge(number, 1234567, "1,234,567") == "correct"
    assert judge(number, 1234567, r"1{,}234{,}567") == judge(number, 1234567, r"1\,234\,567") == "correct"
    assert judge(number, 1234, r"1\,23") == judge(number, 1234, "1{,}2,34") == "unparsed"
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


def test_the_verifiers_are_functions_whatever_was_imported_and_pickle():
    import verifiers.contract
    import verifiers.mathematics
    import verifiers.plain
    import verifiers.plugins
    import verifiers.pool

    for function in (verifiers.math, verifiers.exact, verifiers.number, verifiers.check, verifiers.load):
        assert callable(function)
        assert pickle.loads(pickle.dumps(function)) is function


def test_importing_verifiers_is_quick_and_light():
    """Quick by the pace at which this machine imports now, whatever runs beside."""
    code = """
import sys, time
start = time.process_time()
import {}
seconds = time.process_time() - start
heavy = {{"jax", "ray", "datasets", "sympy", "mpmath", "numpy", "haiku", "httpx2"}} & set(sys.modules)
print(seconds, *heavy)
"""
    usual = "asyncio, csv, decimal, email.mime.text, http.client, logging.handlers, tarfile, unittest.mock, zipfile"
    took = []
    for _ in range(5):
        seconds = []
        for modules in (usual, "verifiers; verifiers.number(verifiers.Problem('p', '', 72), '72')"):
            command = [sys.executable, "-c", code.format(modules)]
            spent, *heavy = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            assert not heavy
            seconds.append(float(spent))
        took.append(seconds[1] / seconds[0])
    assert min(took) < 2.5, took  # 1.2: 0.07 s and 0.06 s.
