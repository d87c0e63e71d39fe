"""The math verifier under attack: hostile text, mutations by the thousand, other seeds of the hash, other threads."""

import functools
import hashlib
import json
import os
import pathlib
import pickle
import random
import subprocess
import sys
import threading

import pytest
from quick import within
from test_math import EQUAL, UNEQUAL

from verifiers import Problem, equivalent, math, math_lenient


def hostile(marker: pathlib.Path) -> list[str]:
    code = f"__import__('os').system('touch {marker}')"
    walk = f"().__class__.__base__.__subclasses__()[0].__init__.__globals__['system']('touch {marker}')"
    power = "9^9^9^9^9^9^9"
    return [
        code, walk, f"\\text{{{code}}}", f'open("{marker}","w")', f"lambda: {code}", f"\\pi {code}", f"[{code}]",
        f"x={code}",
        power, "9^{9^{9^{9}}}", "2^{2^{2^{2^{100}}}}", "(" + power + ")!", "(10^{10})!", "((9!)!)!", "100000!",
        "-9!!!!!!!!",
        "\\binom{10^7}{5\\cdot 10^6}", "\\binom{9^{99}}{3}", "10^{10^{10}}", "\\sqrt{" * 200 + "2" + "}" * 200,
        "1e999999999",
        "\\frac{1}{" * 500 + "2" + "}" * 500, "(" * 10_000, "{" * 10_000 + "}" * 10_000, "[" * 900, "|" * 900,
        "$" * 50_000,
        "9" * 1_000_000, "9," * 400_000, "1+" * 390 + "1", "+".join(f"\\frac{{1}}{{{n}^9}}" for n in range(1, 130)),
        "(x+1)^{10^9}", "x^" * 300 + "x", "-" * 2900 + "1", "1/" * 399 + "7", "\\sin " * 300 + "1",
        "\\sin(10^{10^5})",
        "\\text{" + " " * 2900, "\\text{" * 500, "1 " * 1400, "1 234 " * 400, "^" * 900, "\\boxed{" * 400,
        "\\left" * 600,
        "٤٢", "①", "\x00\x01", "\ud800", "1" + "\u0301" * 900, "\\overline{" + "3" * 900 + "}", "." * 2900,
        "e^{e^{e^{e^9}}}",
        "0.\\overline{" + "3" * 900 + "}", "for all " * 400, ", for all or" * 200, "\\frac" * 500 + "1" * 500,
        "x_" * 800, "x'" * 800,
        "1" + "!" * 900, "\\sqrt2," * 250, "\\log_{" * 100 + "2" + "}" * 100, "\\begin{pmatrix}" * 90, "a_{" * 800,
        "\\ln(" * 28 + "2" + ")" * 28, "2^" * 50 + "x", "9^" * 55 + "9", "2^{" * 18 + "1/2" + "}" * 18,
        "(" * 28 + "x" + "!!!)" * 28, "\\sqrt[" * 25 + "2" + "]{2}" * 25, "\\binom{" * 18 + "5" + "}{1}" * 18,
        "\\binom{" * 18 + "x" + "}{1}" * 18, "9999!+" * 260 + "1", "5" + "\\ " * 1400, "\\[" * 30_000, "⅔" * 900,
        "\\text{m}\\text{s}^" * 3000, "x\\ne 1," * 400, "5" + " " * 490 + "x", "答案：" * 10_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "gold", ["42", "\\sqrt{2}", "x^2+1", ", ".join(f"\\sqrt{{{n}}}" for n in range(2, 30)), "3:30 PM"]
)
def test_hostile_answers_are_judged_quickly_and_never_run(gold, tmp_path):
    marker = tmp_path / "executed"
    problem = Problem("p", "", gold)
    equivalent("\\sqrt2", "1")  # The first use imports mpmath.
    for text in hostile(marker):
        for judge in (
            lambda text: math(problem, text),
            lambda text: math(problem, f"\\boxed{{{text}}}"),
            lambda text: math_lenient(problem, text),
            lambda text: equivalent(gold, text),
        ):
            verdict = within(0.25, functools.partial(judge, text))
            assert verdict.outcome in ("unparsed", "incorrect", "limit"), (text[:60], verdict)
    assert not marker.exists()


def test_hostile_golds_are_errors_or_fair(tmp_path):
    for text in hostile(tmp_path / "executed"):
        assert equivalent(text, "42").outcome in ("error", "incorrect", "limit")


def mutated(text: str, chance: random.Random) -> str:
    """A text with one to four of its parts dropped, doubled, swapped, replaced or cut."""
    alphabet = "0123456789xyzabe+-*/^_{}()[]$\\ ,.;:|!%&'=<>≤√²∞½π°\u200b\ud800"
    commands = [
        "\\frac",
        "\\sqrt",
        "\\boxed{",
        "\\text{",
        "\\sum_{",
        "\\int",
        "\\cup",
        "\\pm",
        "#### ",
        "\\begin{pmatrix}",
    ]
    for _ in range(chance.randrange(1, 5)):
        at, to = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        middle = text[at:to]
        match chance.randrange(6):
            case 0:
                middle = ""
            case 1:
                middle *= 2
            case 2:
                middle = middle[::-1]
            case 3:
                middle = chance.choice(alphabet)
            case 4:
                middle += chance.choice(commands)
            case 5:
                middle = middle[: len(middle) // 2] + chance.choice(alphabet) + middle[len(middle) // 2 :]
        text = (text[:at] + middle + text[to:])[:4000]
    return text


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_mutations_of_real_answers_raise_nothing_and_are_no_errors(count):
    pairs, chance = [*EQUAL, *UNEQUAL], random.Random(count)
    golds = [gold for gold, _ in pairs if equivalent(gold, "0").outcome != "error"]
    for i in range(count):
        text = mutated(chance.choice(pairs)[1], chance)
        problem = Problem("p", "", golds[i % len(golds)])
        judge = (math, math_lenient)[i % 2]
        verdict = judge(problem, f"\\boxed{{{text}}}" if i % 3 else text)
        assert verdict.outcome != "error", (problem.answer, text, verdict)


def test_verdicts_do_not_depend_on_the_thread():
    pairs = [*EQUAL[::4], *UNEQUAL[::4]]
    expected = [equivalent(*pair).outcome.value for pair in pairs]
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(equivalent(*pair).outcome.value for pair in pairs))
    thread.start()
    thread.join()
    assert found == expected
    assert pickle.loads(pickle.dumps(math)) is math


def test_verdicts_do_not_depend_on_the_seed_of_the_hash():
    pairs = [*EQUAL, *UNEQUAL]
    code = (
        "import json, sys, verifiers\n"
        "print(json.dumps([verifiers.equivalent(*pair).outcome for pair in json.load(sys.stdin)]))"
    )
    digests = set()
    for seed in range(10):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-c", code]
        out = subprocess.run(
            command, input=json.dumps(pairs), capture_output=True, text=True, env=environment, check=True
        )
        assert json.loads(out.stdout) == [equivalent(*pair).outcome for pair in pairs]
        digests.add(hashlib.sha256(out.stdout.encode()).hexdigest())
    assert len(digests) == 1


def rows_of(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_gold_of_the_word_problems_is_itself_and_not_its_neighbor(shared):
    answers = [row["answer"] for name in ("test", "train") for row in rows_of(shared(f"gsm8k/{name}.jsonl"))]
    answers += [row["Answer"] for row in json.loads(shared("svamp/SVAMP.json").read_text())]
    answers += [row["target"] for row in rows_of(shared("mawps/test.jsonl"))]
    for answer in answers:
        problem = Problem("p", "", answer)
        said = answer.rpartition("####")[2].replace(",", "") if isinstance(answer, str) else repr(answer)
        assert math(problem, f"#### {said}").outcome == "correct", answer
        for neighbor in (float(said) - 1, float(said) + 1):
            assert math(problem, f"#### {neighbor!r}").outcome == "incorrect", answer


def test_the_labels_of_model_solutions(shared):
    agreed = total = 0
    for row in rows_of(shared("gsm8k/example_model_solutions.jsonl")):
        problem = Problem("p", "", row["ground_truth"].rpartition("A: ")[2])
        for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            verdict = math_lenient(problem, row[model]["solution"])
            agreed += (verdict.outcome == "correct") == row[model]["is_correct"]
            total += 1
    assert total == 5276
    assert agreed / total >= 0.999
