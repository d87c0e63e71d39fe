"""Verifiers made of verifiers: rewards by hand, outcomes, errors that matter and errors that do not."""

import pickle

import pytest

import verifiers
from verifiers import Outcome, Pool, Problem, Verdict, all_of, any_of, fallback, gate, penalty, product, route, weighted
from verifiers.composition import repeated, too_long

PROBLEM = Problem("p", "?", "72", metadata={"kind": "sum"})
OUTCOMES = {"c": Outcome.CORRECT, "i": Outcome.INCORRECT, "u": Outcome.UNPARSED, "l": Outcome.LIMIT, "e": Outcome.ERROR}


def says(reward, outcome="c", asked=None):
    def verifier(problem, completion):
        if asked is not None:
            asked.append(completion)
        return Verdict(reward, OUTCOMES[outcome], reason=f"says {outcome}")

    return verifier


def raises(problem, completion):
    raise ZeroDivisionError("oh")


RIGHT, WRONG, HALF, LOST, ERROR = says(1), says(0, "i"), says(0.5, "i"), says(0, "u"), says(0, "e")


def short(problem, completion):
    return len(completion) < 30


@pytest.mark.parametrize(
    ("verifier", "reward", "outcome"),
    [
        (weighted(a=(RIGHT, 3), b=(WRONG, 1)), 0.75, "incorrect"),
        (weighted(a=(RIGHT, 3), b=(HALF, 1)), 0.875, "incorrect"),
        (weighted(a=(RIGHT, 0.1), b=(RIGHT, 0.2)), 1.0, "correct"),
        (weighted(a=(RIGHT, 1), b=(LOST, 1)), 0.5, "unparsed"),
        (weighted(a=(RIGHT, 1), b=(ERROR, 1)), 0.0, "error"),
        (weighted(a=(WRONG, 1), b=(raises, 1)), 0.0, "error"),
        (all_of(RIGHT, RIGHT), 1.0, "correct"),
        (all_of(RIGHT, HALF), 0.5, "incorrect"),
        (all_of(RIGHT, ERROR), 0.0, "error"),
        (all_of(ERROR, WRONG), 0.0, "incorrect"),  # Whatever the first would have said.
        (all_of(raises, LOST), 0.0, "unparsed"),
        (product(HALF, HALF, RIGHT), 0.25, "incorrect"),
        (product(ERROR, HALF), 0.0, "error"),
        (product(ERROR, WRONG), 0.0, "incorrect"),
        (any_of(WRONG, RIGHT), 1.0, "correct"),
        (any_of(ERROR, RIGHT), 1.0, "correct"),
        (any_of(ERROR, HALF), 0.0, "error"),
        (any_of(LOST, HALF), 0.5, "incorrect"),
        (any_of(raises), 0.0, "error"),
        (gate(RIGHT, then=HALF), 0.5, "incorrect"),
        (gate(LOST, then=RIGHT), 0.0, "unparsed"),
        (gate(HALF, then=RIGHT), 0.0, "incorrect"),
        (gate(ERROR, then=RIGHT), 0.0, "error"),
        (gate(RIGHT, then=ERROR), 0.0, "error"),
        (gate(WRONG, then=ERROR), 0.0, "incorrect"),
        (route(lambda p: p.metadata["kind"], {"sum": HALF, "proof": RIGHT}), 0.5, "incorrect"),
        (penalty(RIGHT, length=too_long(10, 20)), 0.5, "correct"),
        (penalty(HALF, length=too_long(10, 20), repetition=repeated(1)), 0.125, "incorrect"),
        (penalty(ERROR, length=too_long(10, 20)), 0.0, "error"),
    ],
)
def test_rewards_and_outcomes(verifier, reward, outcome):
    verdict = verifier(PROBLEM, "hello hello ...")  # 15 characters; of its words, none but one occurred before.
    if "repetition" in str(verdict.parts):
        assert verdict.parts["penalty/repetition"] == pytest.approx(1 / 3)
        reward = 0.5 * 0.5 * 2 / 3
    assert verdict.reward == pytest.approx(reward)
    assert verdict.outcome.value == outcome


def test_parts_stay_visible():
    verdict = weighted(right=(verifiers.math, 0.9), form=(all_of(short=short, ends=RIGHT), 0.1))(PROBLEM, "\\boxed{72}")
    assert verdict.parts == {"right": 1.0, "form": 1.0, "form/short": 1.0, "form/ends": 1.0}
    assert verdict.answer == "72"
    verdict = all_of(verifiers.math, short, short)(PROBLEM, "\\boxed{71}")
    assert verdict.parts == {"math": 0.0}
    assert verdict.reason.startswith("math: ")
    verdict = all_of(short, short, verifiers.math)(PROBLEM, "\\boxed{72}")
    assert set(verdict.parts) == {"short", "short_2", "math"}


def test_what_is_not_needed_is_not_asked():
    asked: list[str] = []
    gate(WRONG, then=says(1, asked=asked))(PROBLEM, "x")
    any_of(RIGHT, says(1, asked=asked))(PROBLEM, "x")
    all_of(WRONG, says(1, asked=asked))(PROBLEM, "x")
    assert asked == []


def test_compositions_travel():
    made = penalty(gate(short, then=weighted(right=(verifiers.math, 1.0))), length=too_long(5, 25))
    direct = made(PROBLEM, "\\boxed{72}")
    assert direct.reward == pytest.approx(0.75)
    with Pool(workers=1) as pool:
        assert dict(pool.verify([(made, PROBLEM, "\\boxed{72}")])) == {0: direct}
    again = pickle.loads(pickle.dumps(weighted(right=(verifiers.math, 1.0))))
    assert again(PROBLEM, "\\boxed{72}").reward == 1.0


def test_penalties():
    assert [too_long(10, 20)("x" * n) for n in (0, 10, 15, 20, 99)] == [0, 0, 0.5, 1, 1]
    assert repeated(2)("a b a b a b") == pytest.approx(1 - 2 / 5)
    assert repeated(4)("a b c") == 0
    assert repeated(1)("") == 0


def judge_by_model(problem, texts):
    return [Verdict(1.0, Outcome.CORRECT, reason="the model agrees") for _ in texts]


def rule(problem, completion):
    outcome = OUTCOMES[completion[0]]
    return Verdict(float(outcome is Outcome.CORRECT), outcome, reason="the rule")


def test_a_fallback_asks_about_what_the_rule_refuses():
    asked = []

    def model(problem, texts):
        asked.append(list(texts))
        return judge_by_model(problem, texts)

    grader = fallback(rule, model)
    verdicts = grader(PROBLEM, ["c1", "i1", "u1", "l1", "e1", "i2"])
    assert asked == [["i1", "u1", "i2"]]
    assert [v.reason for v in verdicts] == [
        "the rule", "the model agrees", "the model agrees", "the rule", "the rule", "the model agrees",
    ]  # fmt: skip
    assert [v.outcome.value for v in grader(PROBLEM, ["c", "c"])] == ["correct", "correct"]
    assert len(asked) == 1
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        fallback(rule, lambda problem, texts: [])(PROBLEM, ["i"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: weighted(), "name at least one part"),
        (lambda: weighted(a=(RIGHT, 0)), "the weight of 'a' must be positive and finite, got 0"),
        (lambda: weighted(a=(RIGHT, float("nan"))), "must be positive and finite, got nan"),
        (lambda: all_of(), "all_of: give at least one verifier"),
        (lambda: too_long(20, 10), "0 <= soft < hard"),
        (lambda: repeated(0), "n must be at least 1"),
        (lambda: penalty(RIGHT, odd=lambda text: 2.0)(PROBLEM, ""), "'odd' must be in \\[0, 1\\], got 2.0"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_route_without_a_verifier():
    with pytest.raises(LookupError, match=r"problem p asks for 'sum', and there are \['proof'\]"):
        route(lambda p: p.metadata["kind"], {"proof": RIGHT})(PROBLEM, "")
