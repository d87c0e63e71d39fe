"""The math verifier: what is equal, what is not, what is an answer at all, and what cannot hurt it."""

import dataclasses
import functools
import json

import pytest
from quick import within

from verifiers import MathOptions, Problem, equivalent, math, math_lenient

EQUAL = [
    ("42", "42"), ("42", "42.0"), ("1/2", "0.5"), ("\\frac{1}{2}", "\\dfrac12"), ("-1/3", "\\frac{-1}{3}"),
    ("1234", "1,234"), ("1234", "1\\,234"), ("12345", "12 345"), ("1234.5", "1,234.5"), ("0.5", "50\\%"),
    ("50%", "50"), ("2.5", "2\\frac{1}{2}"), ("5/2", "2 1/2"), ("1/6", "0.1\\overline{6}"), ("1/3", "0.333333"),
    ("3\\times 10^4", "30000"), ("8", "2^3"), ("120", "5!"), ("10", "\\binom{5}{2}"), ("2^{2025}",
    "2 \\cdot 2^{2024}"), ("n(n-1)/2", "\\binom{n}{2}"), ("5", "5\\text{ cm}^2"), ("5", "5 \\text{cm2}"),
    ("\\frac{2004!}{2003!}", "2004"), ("\\sqrt{8}", "2\\sqrt2"), ("\\frac{1}{\\sqrt2}", "\\frac{\\sqrt{2}}{2}"),
    ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"), ("-2", "\\sqrt[3]{-8}"), ("\\sin\\frac{\\pi}{6}", "1/2"), ("√2", "sqrt(2)"),
    ("\\ln 8", "3\\ln 2"), ("\\log_2 8", "3"), ("e^{i\\pi}", "-1"), ("(1+i)^2", "2i"), ("|-3|", "3"),
    ("\\lfloor 7/2 \\rfloor", "3"), ("90^\\circ", "\\frac{\\pi}{2}"), ("90°", "90"), ("45^\\circ", "45 degrees"),
    ("x^2-1", "(x-1)(x+1)"), ("(x+y)^2", "x^2+2xy+y^2"), ("\\frac{x^2-1}{x-1}", "x+1"), ("x^{100}", "x^{99}x"),
    ("2\\sin x\\cos x", "\\sin 2x"), ("x^2+1", "f(x) = x^2 + 1"), ("x = 5", "5"), ("5", "x = 5"), ("5", "5 = x"),
    ("42", "6 \\times 7 = 42"), ("y = 2x+1", "2x - y + 1 = 0"), ("x + 2y = 3", "2x + 4y = 6"), ("5", "$5"),
    ("(1,2)", "(1, 2)"), ("(1,2)", "\\left(1,\\frac42\\right)"), ("1, 2, 3", "3, 1 \\text{ and } 2"), ("5 cm", "5"),
    ("\\{1,2\\}", "\\{2,1\\}"), ("1,2", "\\{2,1\\}"), ("1 \\pm \\sqrt2", "1-\\sqrt2, 1+\\sqrt2"), ("5", "5 apples"),
    ("x < 3", "(-\\infty, 3)"), ("[2,7]", "2 \\le x \\le 7"), ("x \\in [2,7]", "[2,7]"), ("3 > x", "x<3"),
    ("(-\\infty,1)\\cup(2,\\infty)", "x<1 \\text{ or } x>2"), ("2:3", "4:6"), ("1:2:3", "2:4:6"), ("3/4", "3:4"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix} 1 & 2 \\\\ 3 & \\frac82 \\end{bmatrix}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"), ("\\text{no solution}", "no solution"), ("C", "\\text{(C)}"),
    ("Even", "\\text{even}"), ("101_2", "101_{2}"), ("x_1=2, x_2=3", "2, 3"), ("3, 4", "p=3, q=4"),
    ("７２", "72"), ("x²", "x^2"), ("\\boxed{7}", "7"), ("$7$", "7"), ("So it is 7.\n#### 7", "7"), ("∞", "\\infty"),
]  # fmt: skip

UNEQUAL = [
    ("42", "43"), ("42", "-42"), ("12345678", "12345679"), ("1/3", "0.33"), ("1/3", "0.333334"), ("42", "42.000001"),
    ("\\frac{1}{2004!}", "\\frac{1}{2006!}"), ("2^{-99}", "2^{-98}"), ("2^{2025}", "3^{2025}"), ("2^{2025}",
    "2^{2025}+1"),
    ("2", "\\sqrt{2+\\sqrt{2+\\sqrt{2+\\sqrt{2+\\sqrt{2+\\sqrt{2+\\sqrt{2+\\sqrt{2+\\sqrt{2}}}}}}}}}"),
    ("42", "41=42"), ("42", "42=41"), ("3", "1=2=3"), ("42", "41, 42"), ("42", "41 or 42"), ("42", "\\{41, 42\\}"),
    ("42", "42 \\text{ or } 41"), ("42", "42 \\text{ (or 41)}"), ("42", "41 and 42"), ("5 cm", "5 m"), ("1,2",
    "1,2,3"),
    ("1, 2, \\ldots, n", "1, 3, 5, \\ldots, 2n-1"), ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"), ("(1,2)", "(1,2]"),
    ("x", "X"), ("x = 2", "2x = 4"), ("x < 3", "2x < 6"), ("x < 3", "x \\le 3"), ("x < 3", "x > 3"), ("x=2", "y=2"),
    ("x+2y=3", "x+2y=4"), ("x + 2y < 3", "-x - 2y < -3"), ("101_2", "101_3"), ("0", "0/0"), ("5", "5x"), ("p=3, q=4",
    "p=4, q=3"),
    ("12", "(1,2)"), ("12", "1,2"), ("\\text{no solution}", "no"), ("A", "B"), ("\\sqrt2", "1.41"), ("4\\sqrt2", "4"),
    ("x^2-1", "(x-1)^2"), ("\\sin x", "\\cos x"), ("\\pi", "3.14"), ("50%", "5"), ("6", "\\gcd(12, 18)"), ("6",
    "xy = 6"),
    ("7", "\\max(3, 7)"), ("3:4", "4:3"), ("1:2:3", "1:2:4"), ("[1,2]\\cup[3,4]", "[1,2]\\cup[3,5]"), ("6",
    "(2^{61}+2)!"),
    ("\\sqrt{x^2}", "x"), ("3, 4", "p=4, q=3"), ("42", "42 for all x and 41 for y"), ("1", "2^{12200}"),
    ("2^{100000}", "2^{100061}"), ("3", "\\binom{2}{3}"), ("\\binom{n}{2}", "n(n+1)/2"),
    ("5", "5\\text{, 6}"), ("5", "5 \\text{ cm, 6}"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal(gold, answer):
    assert equivalent(gold, answer).outcome == "correct", equivalent(gold, answer)
    assert equivalent(gold, gold).outcome == "correct"


@pytest.mark.parametrize(("gold", "answer"), UNEQUAL)
def test_unequal(gold, answer):
    assert equivalent(gold, answer).outcome in ("incorrect", "unparsed", "limit"), equivalent(gold, answer)


ANSWERED = [
    "so \\boxed{42}.", "\\boxed{41} no, \\boxed{42}", "<think>\\boxed{7}</think> \\boxed{42}", "... #### 42",
    "#### 42\n",
    "The final answer is 42.", "Answer: 42", "**Answer:** $42$", "The answer is $42$. I hope it is correct.",
    "The answer is 42 apples.", "My answer is: 42", "\\boxed{x = 42}", "\\boxed{6 \\cdot 7 = 42}",
    "\\boxed{ 42 \\text{ km}}", "so \\boxed 42.",
    "I first had \\boxed{41}.\nFinal answer: 42", "\\fbox{42}",
    "Final Answer: The volume is 42. I hope it is correct.",
    "## Final Answer\n42", "### Answer\n\n$42$\n", "The final answer is:\n\n\\[\n42\n\\]",
    "The final answer is\n$$\n42\n$$",
    "The answer is 41. No wait, the answer is 42.", "Answer: 40, no: the final answer is 42.",
    "<answer>The answer is 42</answer>", "So the answer is indeed 42.", "\\boxed{\\text{forty-two}}",
]  # fmt: skip
UNANSWERED = [
    "", "42", "it is 42", "so 6 * 7 = 42", "\\boxed{42", "\\boxed{}", "\\boxed{41 \\boxed{42}}",
    "<think>\\boxed{42}</think>",
    "<think>\\boxed{42}", "</think><think>\\boxed{42}", "####", "The answer is", "The answer is !!!", "\\boxed{?}",
    "\\boxed{{}", "\\boxed 42x", "\\boxed 42.5x", "\\boxed{4} and \\boxed 42",
    "The answer is hard. Is it 42?", "\\boxed{\\int_0^1 x}", "{42}", "\\boxed{٤٢}",
]  # fmt: skip


@pytest.mark.parametrize("completion", ANSWERED)
def test_answer_is_found(completion):
    assert math(Problem("p", "", "42"), completion).outcome == "correct", math(Problem("p", "", "42"), completion)


@pytest.mark.parametrize("completion", UNANSWERED)
def test_no_answer(completion):
    verdict = math(Problem("p", "", "42"), completion)
    assert verdict.outcome in ("unparsed", "incorrect")
    assert verdict.reward == 0


def test_a_box_inside_a_formula_is_no_answer():
    for formula in (
        "x = -\\boxed{42}",
        "$-\\boxed{42}$",
        "\\boxed{42}^2",
        "\\sqrt{\\boxed{42}}",
        "\\frac{1}{\\boxed{42}}",
    ):
        assert math(Problem("p", "", "42"), formula).outcome == "unparsed", formula
    for formula in (
        "- \\boxed{42}",
        "$x = \\boxed{42}$",
        "**\\boxed{42}**",
        "6 \\times 7 = \\boxed{42}!",
        "{\\bf \\boxed{42}}",
    ):
        assert math(Problem("p", "", "42"), formula).outcome == "correct", formula


def test_boxes_that_are_one_list():
    assert math(Problem("p", "", "1, 2"), "\\boxed{1} and \\boxed{2}").outcome == "correct"
    assert math(Problem("p", "", "2"), "\\boxed{1} or \\boxed{2}").outcome == "incorrect"
    assert math(Problem("p", "", "2"), "\\boxed{1} or maybe \\boxed{2}").outcome == "incorrect"
    assert math(Problem("p", "", "1, 2"), "$x = \\boxed{1}$ or $x = \\boxed{2}$").outcome == "correct"
    assert math(Problem("p", "", "2"), "$x = \\boxed{1}$ or $x = \\boxed{2}$").outcome == "incorrect"
    assert math(Problem("p", "", "1, 2"), "The answers are 1 and 2.").outcome == "correct"


def test_a_number_is_read_with_its_root_and_pi_and_a_time_whole():
    for gold, completion in (
        ("10:30", "She arrives at 10:30 AM today."),
        ("3:2", "The ratio of the sides is 3:2."),
        ("\\sqrt{2}", "Hence the length is √2."),
        ("25\\pi", "So the area of it is 25π."),
    ):
        assert math_lenient(Problem("p", "", gold), completion).outcome == "correct"
    assert math_lenient(Problem("p", "", "2"), "Hence the length is √2.").outcome == "incorrect"
    assert math_lenient(Problem("p", "", "25"), "So the area of it is 25π.").outcome == "incorrect"
    for gold, completion in (
        ("2", "The ratio of the sides is 3:2."),
        ("10", "So the whole sum equals 2^10."),
        ("10", "So the area of it is 10²."),
        ("2", "So the whole sum equals 2^10."),
    ):
        assert math_lenient(Problem("p", "", gold), completion).outcome != "correct"


@pytest.mark.parametrize(
    "gold", ["", "\\frac{1}{", "((", None, True, [1], "9" * 5000, "\\foo{3}", float("nan"), float("inf")]
)
def test_gold_that_does_not_parse_is_an_error(gold):
    for completion in ("\\boxed{42}", "no answer"):
        verdict = math(Problem("p", "", gold), completion)
        assert verdict.outcome == "error"
        assert "answer" in verdict.reason


@pytest.mark.parametrize("gold", [72, 72.0, "72", "$72$", "\\boxed{72}", "Because 70 + 2 = 72.\n#### 72"])
def test_forms_of_gold(gold):
    assert math(Problem("p", "", gold), "\\boxed{72}").reward == 1.0
    assert math(Problem("p", "", gold), "\\boxed{71}").outcome == "incorrect"


def test_small_float_gold():
    assert math(Problem("p", "", 1e-7), "\\boxed{0.0000001}").outcome == "correct"


def test_space_between_boxes_costs_no_time():
    for between in (" " * 19_000, "$ " * 9_000, " and" + " " * 19_000 + "x", "\\text{" + " " * 19_000, ", \n and "):
        completion = "\\boxed{1}" + between + "\\boxed{2}"
        within(1.0, functools.partial(math, Problem("p", "", "2"), completion))  # Half a minute, were it quadratic.
    for between in (", ", " and ", "$ or $", " \\text{ and } ", "\\) and \\(", " \\quad "):
        assert math(Problem("p", "", "1, 2"), "\\boxed{1}" + between + "\\boxed{2}").reward == 1


def test_options():
    assert equivalent("\\pi", "3.14", options=MathOptions(tolerance=0.01)).outcome == "correct"
    assert equivalent("\\pi", "3.2", options=MathOptions(tolerance=0.01)).outcome == "incorrect"
    assert equivalent("-100", "-99", options=MathOptions(tolerance=0.01)).outcome == "correct"
    assert equivalent("x", "1.001x", options=MathOptions(tolerance=0.01)).outcome == "incorrect"
    assert equivalent("0", "0.001", options=MathOptions(tolerance=0.01)).outcome == "incorrect"
    for form, good, bad in (
        ("integer", ["7", "x=7"], ["14/2", "7.0"]),
        ("decimal", ["0.5", "x = .5"], ["1/2"]),
        ("fraction", ["1/2", "\\frac{1}{2}", "x=\\frac12"], ["0.5", "2/4", "\\frac{0.5}{1}"]),
    ):
        gold = "7" if form == "integer" else "1/2"
        for answer in good:
            assert equivalent(gold, answer, options=MathOptions(form=form)).outcome == "correct", answer
        for answer in bad:
            assert "its form is not" in equivalent(gold, answer, options=MathOptions(form=form)).reason, answer
    for wrong in ({"profile": "loose"}, {"form": "mixed"}, {"tolerance": -1}, {"tolerance": 1.0}, {"work": 0}):
        with pytest.raises(ValueError, match="MathOptions"):
            MathOptions(**wrong)
    assert equivalent("1/3", "0.333", options=MathOptions(significant_digits=3)).outcome == "correct"
    assert equivalent("1/3", "0.332", options=MathOptions(significant_digits=3)).outcome == "incorrect"
    assert equivalent("x+1", "1+x", options=MathOptions(work=3)).outcome == "limit"
    with pytest.raises(dataclasses.FrozenInstanceError):
        MathOptions().work = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "gold", ["42", "\\sqrt2", "x^2+1", "0", "x+2y=3", "x<3", "(1,2)", "3, 7", "\\text{no solution}", "y=\\sqrt{x}+7"]
)
def test_nothing_at_a_pole_or_beyond_all_measure_is_every_answer(gold):
    i = "\\arctan(i)"
    poles = [
        i, f"0{i}", f"1/{i}", f"{i}-{i}", f"e^{{{i}}}", f"\\sec({i})", f"\\sqrt{{{i}}}", "\\arctan(-i)", f"x={i}",
        f"{i}=y", "10^{200}=x", "y=10^{200}", "x=10^{-200}", "\\sec(\\pi/2)=x", "\\tan(\\pi/2)",
    ]  # fmt: skip
    empty = ["0=0", "x=x", "0x=0y"] if gold != "0" else []
    for answer in (*poles, *empty):
        assert equivalent(gold, answer).outcome in ("incorrect", "unparsed", "limit"), answer


def test_labeled_pairs(shared):
    rows = [json.loads(line) for line in shared("math_pairs/dev.jsonl").read_text().splitlines()]
    core = [row for row in rows if row["tier"] == "core"]
    right, false_accepts = 0, []
    for row in core:
        if row["form"] == "answer":
            accepted = equivalent(row["gold"], row["prediction"]).outcome == "correct"
        else:
            problem = Problem(row["id"], "", row["gold"])
            accepted = math_lenient(problem, row["prediction"]).outcome == "correct"
            if not row["label"]:
                assert math(problem, row["prediction"]).outcome != "correct", row
        right += accepted == row["label"]
        if accepted and not row["label"]:
            false_accepts.append(row)
    assert not false_accepts
    assert right / len(core) >= 0.99
