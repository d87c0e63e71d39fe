"""Means, intervals and pass@k against numbers worked out by hand, and a small simulation of coverage."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_run import SHAPE, make_config, some_groups

import policy
from policy import Completion
from rl.evaluate import Evaluation, compare, draws, evaluate, evaluate_groups, rescore
from rl.run import Run
from rl.types import Group, Rollout
from verifiers import Outcome, Problem, Verdict

NAN = math.nan


def make(rewards, ids=None):
    rewards = np.asarray(rewards, float)
    names = tuple(ids or map(str, range(len(rewards))))
    nothing = tuple(("",) * rewards.shape[1] for _ in rewards)
    return Evaluation(names, rewards, nothing, nothing)


def test_wilson_for_one_right_or_wrong_answer_each():
    # 7 of 10, z = 1.96: (0.7 + 0.19207 ± 1.96 √(0.021 + 0.0096037)) / 1.384146
    mean, low, high, n = make([[1.0]] * 7 + [[0.0]] * 3).interval
    assert (mean, n) == (0.7, 10)
    assert low == pytest.approx(0.3968, abs=5e-5)
    assert high == pytest.approx(0.8922, abs=5e-5)


def test_none_right_is_not_certainty():
    mean, low, high, _ = make([[0.0]] * 96).interval
    assert (mean, low) == (0.0, 0.0)
    assert high == pytest.approx(3.8415 / (96 + 3.8415), abs=1e-4)  # z² / (n + z²)
    assert make([[0.0, 0.0]] * 96).interval == make([[0.0]] * 96).interval


def test_answers_to_one_problem_are_not_problems():
    # Four problems always solved, four never: as sure as eight coins (nearly), not as 8 * 16.
    rewards = [[1.0] * 16] * 4 + [[0.0] * 16] * 4
    _, low, high, n = make(rewards).interval
    assert n == 8
    # Var(mean) = (8 * 0.25 / 7) / 8 = 1/28, so n_eff = 0.25 * 28 = 7; t(7 degrees) = 2.3646.
    t2 = 2.36462**2
    half = math.sqrt(t2) * math.sqrt(0.25 / 7 + t2 / (4 * 49)) / (1 + t2 / 7)
    assert (low, high) == (pytest.approx(0.5 - half, abs=1e-4), pytest.approx(0.5 + half, abs=1e-4))


def test_graded_rewards():
    mean, low, high, _ = make([[0.4], [0.6], [0.5], [0.5]]).interval
    # Var(mean) = (0.02 / 3) / 4 = 1/600, n_eff = 150, t(3) = 3.18245.
    t2 = 3.18245**2
    half = math.sqrt(t2) * math.sqrt(0.25 / 150 + t2 / (4 * 150**2)) / (1 + t2 / 150)
    assert (mean, low, high) == (0.5, pytest.approx(0.5 - half, abs=1e-4), pytest.approx(0.5 + half, abs=1e-4))


def test_what_could_not_be_judged_counts_neither_way():
    evaluation = make([[1.0, NAN], [NAN, NAN], [0.0, 1.0]])
    assert evaluation.errors == 3
    assert evaluation.mean == 0.75
    assert evaluation.summary()["n"] == 2
    assert evaluation.pass_at(1) == 0.75
    assert evaluation.pass_at(2) == 1.0  # Only the last problem has two judged answers.
    nothing = make([[NAN]])
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.pass_at(1))
    assert nothing.interval[1:] == (0.0, 1.0, 0)


def test_one_problem_has_an_interval():
    assert 0 < make([[1.0, 0.0]]).interval.low < 0.5


def test_rewards_that_are_alike_are_no_certainty_whatever_their_rounding():
    for one in ([0.1], [1.0] + [0.0] * 9):  # (0.1 + 0.1 + 0.1) / 3 is not 0.1 in floating point.
        mean, low, high, _ = make([one] * 3).interval
        # Wilson: (0.1 + z²/6 ± z √(0.09/3 + z²/36)) / (1 + z²/3), z = 1.96
        assert (mean, low, high) == pytest.approx((0.1, 0.00683, 0.64237), abs=1e-5)


def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer():
    rewards = np.array([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0.5, 0, 0, 1, 0]])
    for k in range(1, 6):
        subsets = list(itertools.combinations(range(5), k))
        by_hand = np.mean([[any(row[i] == 1 for i in subset) for subset in subsets] for row in rewards])
        assert make(rewards).pass_at(k) == pytest.approx(by_hand)
    assert make(rewards).pass_at(2) == pytest.approx((0.7 + 0 + 1 + 0.4) / 4)
    k: Any
    for k in (6, 0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match=rf"whole number, 1 to 5 \(the answers a problem\), got {k!r}"):
            make(rewards).pass_at(k)


def test_a_comparison_is_paired_by_problem():
    first = make([[0.0], [0.0], [1.0], [1.0]], "abcd")
    second = make([[1.0], [1.0], [1.0], [0.0]], "dcab")  # a 1, b 0, c 1, d 1
    difference = compare(first, second)
    # Differences 1, 0, 0, 0: mean 1/4, standard deviation 1/2, t(3) = 3.18245.
    assert (difference.mean, difference.n) == (0.25, 4)
    assert difference.low == pytest.approx(0.25 - 3.18245 * 0.25, abs=1e-5)
    assert difference.high == 1.0  # In place of 1.0456, which no difference of rewards in [0, 1] is.
    assert compare(first, make([[1.0], [NAN], [1.0], [1.0]], "abcd")).n == 3


@pytest.mark.parametrize(
    ("before", "after", "n", "low", "high"),
    [
        # Of 2 problems none differs: with 97.5 % fewer than 1 - √0.025 = 0.84189 do, by 2 at most.
        (0.0, 1.0, 2, 1 - 2 * 0.84189, 1.0),
        (1.0, 0.0, 2, -1.0, 2 * 0.84189 - 1),
        (0.0, 1.0, 6, 0.08149, 1.0),  # Six of six, as the sign test says: p = 2/64.
        (1.0, 1.0, 100, -0.03622, 0.03622),  # 1 - 0.025^(1/100)
        (0.0, 0.1, 7, 0.1 - 1.1 * 0.40962, 0.1 + 0.9 * 0.40962),  # Their mean differs from 0.1 by rounding.
    ],
)
def test_differences_that_are_alike_are_no_certainty(before, after, n, low, high):
    difference = compare(make([[before]] * n), make([[after]] * n))
    assert difference == pytest.approx((after - before, low, high, n), abs=1e-5)


def test_a_comparison_of_different_problems_is_refused():
    with pytest.raises(ValueError, match="2 problems are in one evaluation only"):
        compare(make([[1.0], [0.0]], "ab"), make([[1.0], [0.0]], "ac"))
    with pytest.raises(ValueError, match="at least 2 problems"):
        compare(make([[1.0]]), make([[1.0]]))


def test_groups_become_an_evaluation():
    evaluation = evaluate_groups(some_groups())
    assert evaluation.ids == ("a/0", "a/1", "a/1")
    np.testing.assert_array_equal(evaluation.rewards, [[1.0, 0.1 + 0.2, NAN]] * 3)
    assert evaluation.outcomes[0] == ("correct", "unparsed", "error")
    assert evaluation.texts[0][0].startswith("text 4")
    assert evaluation.errors == 3
    assert "3 answers could not be judged" in str(evaluation)


def test_an_evaluation_says_why_answers_could_not_be_judged(tmp_path):
    rewards = np.array([[NAN, NAN, 0.0], [NAN, 1.0, NAN]])
    texts, outcomes = (("a", "b", "c"),) * 2, (("error", "error", "incorrect"), ("error", "correct", "error"))
    reasons = (("no key", "once", "wrong"), ("no\nkey", "wrong", "no key"))
    finishes = (("stop", "length", "error"),) * 2
    evaluation = Evaluation(("1", "2"), rewards, texts, outcomes, reasons, finishes)
    assert evaluation.error_reason == "no key"
    assert str(evaluation).endswith("4 answers could not be judged, most often: no key")
    run = Run.create(tmp_path / "run", make_config())
    run.evaluation(3, evaluation)
    back = run.read_evaluation(3)
    assert (back.reasons, back.finishes) == (reasons, finishes)
    file = run.path / "evaluations" / "000003.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["reason", "finish"]), file)  # As they were of old.
    old = run.read_evaluation(3)
    assert old.outcomes == outcomes
    assert old.reasons == old.finishes == (("",) * 3,) * 2
    assert old.error_reason == ""
    assert str(old).endswith("4 answers could not be judged")


def test_draws_hang_on_the_id_and_not_on_the_place():
    problems = [Problem(str(i), "", "") for i in range(100)]
    drawn = draws(problems, 3, 0.5)
    assert [problem for _, problem in drawn] == problems
    assert draws(problems[50:], 3, 0.5) == drawn[50:]
    first, _ = drawn[0]
    assert (first.stream, first.samples, first.temperature) == (1, 3, 0.5)
    assert len({draw.index for draw, _ in drawn}) == 100
    assert all(0 <= draw.index < 2**32 for draw, _ in drawn)


@pytest.mark.parametrize(("n", "k", "a", "b"), [(96, 1, 2, 2), (30, 16, 0.3, 0.3), (30, 4, 0.4, 2.0), (198, 4, 1, 1)])
def test_the_interval_covers_the_truth_95_times_in_100(n, k, a, b):
    random = np.random.default_rng(0)
    hits, trials = 0, 600
    for _ in range(trials):
        difficulty = random.beta(a, b, n)
        interval = make((random.random((n, k)) < difficulty[:, None]).astype(float)).interval
        hits += interval.low <= a / (a + b) <= interval.high
    assert 0.925 <= hits / trials <= 0.975  # 95 % ± 2.8 standard errors of the simulation.


def first_letter(problem, completion):
    right = completion[:1] == problem.answer
    return Verdict(float(right), Outcome.CORRECT if right else Outcome.INCORRECT, answer=completion)


def breaks_on_one(problem, completion):
    if problem.id == "1":
        raise RuntimeError("the verifier is broken")
    return first_letter(problem, completion)


def test_what_is_sampled_hangs_on_the_problem_alone():
    shape = dataclasses.replace(SHAPE, width=16, context=32)
    model = policy.from_scratch(shape, policy.ByteTokenizer())
    problems = [Problem(str(i), "x" * (i + 1), "a", "letter") for i in range(5)]
    some = {"samples": 3, "temperature": 1.0, "max_tokens": 4, "slots": 4}
    whole = evaluate(model, problems, {"letter": breaks_on_one}, **some)
    assert whole.ids == ("0", "1", "2", "3", "4")
    assert whole.rewards.shape == (5, 3)
    assert whole.outcomes[1] == ("error",) * 3
    assert "the verifier is broken" in whole.error_reason
    assert np.isnan(whole.rewards[1]).all()
    assert len({text for texts in whole.texts for text in texts}) > 10
    part = evaluate(model, [problems[4], problems[0]], {"letter": first_letter}, **some)
    assert part.texts == (whole.texts[4], whole.texts[0])


class Brief(policy.ByteTokenizer):
    """Every byte above the middle ends a turn."""

    ends = frozenset(range(128, 258))


@pytest.mark.filterwarnings("ignore:The environment of")
def test_an_environment_answers_in_an_evaluation_too():
    shape = dataclasses.replace(SHAPE, width=16, context=64)
    model = policy.from_scratch(shape, Brief())
    problems = [Problem(str(i), "x" * (i + 1), "a", "letter") for i in range(4)]
    asked = set()

    def tool(problem, tokens, mask):
        asked.add(problem.id)
        if problem.id == "3":
            raise RuntimeError("no tool today")
        return None if (~mask).sum() >= 2 else [70, 71]

    some = {"samples": 4, "temperature": 1.0, "max_tokens": 24, "slots": 8}
    found = evaluate(model, problems, {"letter": first_letter}, environment=tool, **some)
    assert asked == {"0", "1", "2", "3"}
    assert "error" in found.outcomes[3]
    assert "error" in found.finishes[3]
    assert found.texts != evaluate(model, problems, {"letter": first_letter}, **some).texts
    with pytest.raises(ValueError, match="max_turns must be at least 1"):
        evaluate(model, problems, {"letter": first_letter}, environment=tool, max_turns=0, **some)


def test_an_evaluation_that_cannot_be():
    model = policy.from_scratch(SHAPE, policy.ByteTokenizer())
    problem = Problem("0", "x" * 60, "a", "letter")
    judges = {"letter": first_letter}
    with pytest.raises(ValueError, match="no problems to evaluate on"):
        evaluate(model, [], judges)
    with pytest.raises(ValueError, match=r"No verifier for \['letter'\]: there are \['math'\]"):
        evaluate(model, [problem], {"math": first_letter})
    with pytest.raises(ValueError, match="3 greedy samples of a problem are all the same"):
        evaluate(model, [problem], judges, samples=3)
    with pytest.raises(ValueError, match="longer than 32 tokens"):
        evaluate(model, [problem], judges)
    with pytest.raises(ValueError, match="The id '0' appears twice"):
        evaluate(model, [problem, Problem("1", "y", "", "letter"), problem], judges)
    wrong: Any
    for wrong, text in (({"letter": "exact"}, "{'letter': 'exact'}"), (first_letter, "<function first_letter")):
        with pytest.raises(ValueError, match=f"verifiers must be functions by their keys, .* got {text}"):
            evaluate(model, [problem], wrong)
        with pytest.raises(ValueError, match=f"graders must be functions by their keys, .* got {text}"):
            evaluate(model, [problem], judges, graders=wrong)
        with pytest.raises(ValueError, match=f"verifiers must be functions by their keys, .* got {text}"):
            rescore(evaluate_groups(some_groups()), [Problem(id, "", "") for id in ("a/0", "a/1")], wrong)
    for dtype in ("int8", "float16", "float64", "foo"):
        with pytest.raises(ValueError, match=f'^dtype must be "float32", "bfloat16" or None, got {dtype!r}'):
            evaluate(model, [problem], judges, dtype=dtype)


def test_what_has_no_effect_inline_is_said():
    model = policy.from_scratch(dataclasses.replace(SHAPE, context=32), policy.ByteTokenizer())
    problem = Problem("0", "x", "a", "letter")
    with (
        pytest.warns(UserWarning, match="num_scorers=3 has no effect inline"),
        pytest.warns(UserWarning, match="num_workers=2 has no effect inline, where there is one: pass inline=False"),
        pytest.warns(UserWarning, match="threads=7 has no effect inline.*NPROC=7 in the environment"),
    ):
        evaluate(model, [problem], {"letter": first_letter}, max_tokens=1, num_workers=2, num_scorers=3, threads=7)


def scored(problem, *answers):
    """A group of (text, finish, verdict) each."""
    none = np.empty(0, np.int32)
    mask, logprobs = np.empty(0, np.bool_), np.empty(0, np.float32)
    rollouts = [
        Rollout(Completion(none, none, mask, logprobs, logprobs, text, finish, 0), verdict)
        for text, finish, verdict in answers
    ]
    return Group(0, problem, tuple(rollouts))


BROKEN, WRONG = Verdict(0.0, Outcome.ERROR, reason="KeyError: 'API_KEY'"), Verdict(0.0, Outcome.INCORRECT)
TORN = Verdict(0.0, Outcome.ERROR, reason="The completion could not be written to its end.")


def test_answers_are_judged_once_more():
    problems = [Problem(str(i), "Write a word.", "a", "letter") for i in range(3)]
    before = evaluate_groups(
        [
            scored(problems[1], ("an", "stop", BROKEN), ("no", "length", WRONG)),
            scored(problems[0], ("am", "error", TORN), ("ah", "stop", WRONG)),
        ]
    )
    after = rescore(before, problems, {"letter": first_letter})
    assert (after.ids, after.texts, after.finishes) == (before.ids, before.texts, before.finishes)
    np.testing.assert_array_equal(after.rewards, [[1.0, 0.0], [NAN, 1.0]])
    assert after.outcomes == (("correct", "incorrect"), ("error", "correct"))
    assert after.reasons == (("", ""), (TORN.reason, ""))
    again = rescore(after, problems, {"letter": breaks_on_one})
    assert again.outcomes == (("error", "error"), ("error", "correct"))
    assert "the verifier is broken" in again.error_reason
    graded = rescore(before, problems, {}, graders={"letter": lambda problem, texts: [WRONG for _ in texts]})
    assert graded.outcomes == (("incorrect", "incorrect"), ("error", "incorrect"))
    # Where it is not known how completions ended, an error may be one that was torn.
    unknown = dataclasses.replace(before, finishes=())
    assert rescore(unknown, problems, {"letter": first_letter}).outcomes == (
        ("error", "incorrect"), ("error", "correct"),
    )  # fmt: skip


def test_what_cannot_be_judged_once_more():
    problem = Problem("0", "Write a word.", "a", "letter")
    before = evaluate_groups([scored(problem, ("an", "stop", WRONG))])
    judges = {"letter": first_letter}
    with pytest.raises(ValueError, match=r"1 problems of the evaluation are not among the 1 given, e.g. '0': pass all"):
        rescore(before, [Problem("1", "", "", "letter")], judges)
    with pytest.raises(ValueError, match="The id '0' appears twice"):
        rescore(before, [problem, problem], judges)
    with pytest.raises(ValueError, match=r"No verifier for \['letter'\]: there are \['math'\]"):
        rescore(before, [problem], {"math": first_letter})
    with pytest.warns(UserWarning, match="num_scorers=2 has no effect inline"):
        rescore(before, [problem], judges, num_scorers=2)
