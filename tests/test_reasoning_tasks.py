"""The adapter to reasoning-gym: golds are accepted, scorers run in the sandbox, deceivable ones only if asked for."""

import functools
import pathlib

import pytest

import verifiers
from verifiers.reasoning_tasks import EVALUATING, WITHOUT_GOLD

pytest.importorskip("reasoning_gym", reason="needs the extra 'reasoning'")
from reasoning_gym.factory import DATASETS

judge = functools.partial(verifiers.reasoning_gym, allow_spoofable=True)
NAMES = sorted(set(DATASETS) - WITHOUT_GOLD - {"composite"})


def one(name, seed=5):
    return verifiers.reasoning_gym_problems(name, size=1, seed=seed)[0]


def test_a_hundred_datasets_have_a_gold():
    assert len(NAMES) == 100
    assert set(NAMES) >= EVALUATING


@pytest.mark.parametrize("name", NAMES)
def test_golds_are_accepted_and_garbage_is_not(name):
    problem = one(name)
    verdict = judge(problem, problem.metadata["solution"])
    assert (verdict.outcome, verdict.reward) == ("correct", 1), verdict
    wrong = judge(problem, "<answer>garbage!</answer>")
    assert (wrong.outcome, wrong.reward) == ("incorrect", 0), wrong
    assert judge(problem, "I do not know").outcome == "unparsed"


@pytest.mark.parametrize("name", sorted(EVALUATING))
def test_code_in_an_answer_reaches_nothing(name, tmp_path):
    marker = tmp_path / "marker"
    attack = f"[__import__('pathlib').Path({str(marker)!r}).touch()]"
    judge(one(name), f"<answer>{attack}</answer>")
    judge(one(name), f"<answer>{attack[1:-1]}</answer>")
    assert not marker.exists()


@pytest.mark.parametrize("name", sorted(EVALUATING))
def test_what_can_be_deceived_is_refused_for_training(name):
    verdict = verifiers.reasoning_gym(one(name), one(name).metadata["solution"])
    assert verdict.outcome == "error"
    assert "allow_spoofable" in verdict.reason
    assert judge(one(name), "<answer>1</answer>").info["spoofable"]


def test_a_share_only_where_it_is_asked_for():
    problem = one("fraction_simplification")
    assert judge(problem, "<answer>no</answer>").reward == 0
    assert 0 < judge(problem, "<answer>no</answer>", partial=True).reward < 0.1


def test_bad_problems_are_errors():
    for answer in (None, "5", {"dataset": "gcd"}, {"dataset": "rubiks_cube", "entry": {"answer": None}}):
        problem = verifiers.Problem("x", "?", answer, verifier="reasoning_gym")
        assert judge(problem, "<answer>1</answer>").outcome == "error"
    with pytest.raises(ValueError, match="no dataset 'gdc'"):
        one("gdc")
    with pytest.raises(ValueError, match="no answers of its own"):
        one("rush_hour")
    with pytest.raises(ValueError, match="rejects the settings"):
        verifiers.reasoning_gym_problems("gcd", size=1, seed=0, min_numbers=-1)


def test_a_huge_answer_is_a_limit_and_a_hanging_one_too():
    assert judge(one("gcd"), f"<answer>{'9' * 17_000}</answer>").outcome == "limit"
    assert judge(one("countdown"), "<answer>9**9**9**9</answer>").outcome in ("limit", "incorrect")


def test_the_same_problems_for_the_same_seed():
    assert one("gcd") == one("gcd")
    assert one("gcd") != one("gcd", seed=6)
    assert pathlib.PurePath(one("gcd").id).parts == ("reasoning-gym", "gcd", "5", "0")
