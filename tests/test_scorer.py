"""The boundary with user code: whatever a verifier does wrong, nobody is blamed for it."""

import asyncio
import os
import signal
import threading

import numpy as np
import pytest

from policy import Completion
from rl.scorer import Scorer
from verifiers import Outcome, Problem, Verdict


def completion(text: str, finish="stop") -> Completion:
    return Completion(
        prompt=np.array([5], np.int32),
        tokens=np.array([7, 1], np.int32),
        mask=np.ones(2, bool),
        logprobs=np.zeros(2, np.float32),
        policy_logprobs=np.zeros(2, np.float32),
        text=text,
        finish=finish,
        version=3,
    )


def problem(verifier="v") -> Problem:
    return Problem("p/0", "1+1=", "2", verifier)


def same(problem, text):
    right = text == problem.answer
    return Verdict(float(right), Outcome.CORRECT if right else Outcome.INCORRECT)


def outcomes(group):
    return [rollout.verdict.outcome.value for rollout in group.rollouts]


def test_verdicts_stand_beside_their_completions():
    completions = [completion("2"), completion("3")]
    group = Scorer({"v": same}).score(17, problem(), completions)
    assert group.index == 17
    assert group.version == 3
    assert [r.completion for r in group.rollouts] == completions
    assert [r.verdict.reward for r in group.rollouts] == [1.0, 0.0]
    assert all(r.verdict.seconds > 0 for r in group.rollouts)


def test_a_verifier_that_raises_is_asked_again(tmp_path):
    asked = tmp_path / "asked"  # A file: verifiers run in other processes.

    def flaky(problem, text):
        with asked.open("a") as file:
            file.write(text)
        if asked.stat().st_size < 3:
            raise ConnectionError("the sandbox is gone")
        return same(problem, text)

    group = Scorer({"v": flaky}, attempts=3).score(0, problem(), [completion("2")])
    assert asked.read_text() == "222"
    assert outcomes(group) == ["correct"]


def raises(problem, text):
    raise ZeroDivisionError("mine")


def leaves(problem, text):
    raise SystemExit(3)


def dies(problem, text):
    os._exit(5)


def returns_nothing(problem, text): ...


def holds_a_lock(problem, text):
    with LOCK:
        return 1.0


LOCK = threading.Lock()


def returns_what_cannot_be_kept(problem, text):
    return Verdict(1.0, Outcome.CORRECT, info={"x": object()})


@pytest.mark.parametrize(
    ("verifier", "reason"),
    [
        (raises, "ZeroDivisionError: mine"),
        (leaves, "SystemExit: 3"),
        (dies, "The worker that ran it ended itself with exit code 5."),
        (
            returns_nothing,
            "TypeError: A verifier must return a Verdict, a bool or a number in [0, 1], this one returned",
        ),
        (returns_what_cannot_be_kept, "TypeError: Object of type object is not JSON serializable"),
        (lambda problem, text: Verdict(1.0, Outcome.CORRECT, answer=5), "TypeError: A verdict's answer must be text"),  # pyright: ignore
        (lambda problem, text: Verdict(7.0, Outcome.CORRECT), "ValueError: Verdict.reward must lie in [0, 1], got 7.0"),
        (lambda problem: None, "TypeError: "),
        (holds_a_lock, "must be picklable"),
    ],
)
def test_what_a_verifier_does_wrong_is_an_error_and_no_reward(verifier, reason):
    group = Scorer({"v": verifier}).score(0, problem(), [completion("2"), completion("3")])
    assert outcomes(group) == ["error", "error"]
    assert all(r.verdict.reason.startswith("test_scorer.") and reason in r.verdict.reason for r in group.rollouts)
    assert group.scored == ()


def test_a_number_or_a_bool_is_a_verdict():
    group = Scorer({"v": lambda problem, text: len(text) / 4}).score(
        0, problem(), [completion("1"), completion("1234")]
    )
    assert [r.verdict.reward for r in group.rollouts] == [0.25, 1.0]
    assert outcomes(group) == ["incorrect", "correct"]
    group = Scorer({"v": lambda problem, text: text == "2"}).score(0, problem(), [completion("1"), completion("2")])
    assert outcomes(group) == ["incorrect", "correct"]


def test_an_error_costs_one_member():
    def picky(problem, text):
        if text == "bad":
            raise ValueError("no")
        return same(problem, text)

    group = Scorer({"v": picky}).score(0, problem(), [completion("2"), completion("bad"), completion("3")])
    assert outcomes(group) == ["correct", "error", "incorrect"]
    assert [r.completion.text for r in group.scored] == ["2", "3"]


def test_a_completion_that_broke_off_is_not_judged():
    group = Scorer({"v": same}).score(0, problem(), [completion("2", "error"), completion("2")])
    assert outcomes(group) == ["error", "correct"]


def longest_wins(problem, texts):
    best = max(map(len, texts))
    return [Verdict(float(len(t) == best), Outcome.CORRECT if len(t) == best else Outcome.INCORRECT) for t in texts]


def test_a_grader_sees_the_whole_group():
    scorer = Scorer({"v": same}, {"g": longest_wins})
    group = scorer.score(0, problem("g"), [completion("aa"), completion("aaaaaa", "error"), completion("aaaa")])
    assert outcomes(group) == ["incorrect", "error", "correct"]
    assert outcomes(scorer.score(0, problem("v"), [completion("2")])) == ["correct"]


async def gives_up():
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("grader", "reason"),
    [
        (lambda problem, texts: longest_wins(problem, texts)[1:], "ValueError: The grader returned 1 verdicts for 2"),
        (lambda problem, texts: None, "TypeError: "),
        (lambda problem, texts: 1 / 0, "ZeroDivisionError: "),
        (lambda problem, texts: asyncio.run(gives_up()), "CancelledError: "),
    ],
)
def test_a_grader_that_fails_fails_for_all(grader, reason):
    group = Scorer({}, {"g": grader}).score(0, problem("g"), [completion("a"), completion("bb")])
    assert outcomes(group) == ["error", "error"]
    assert all(r.verdict.reason.startswith(reason) for r in group.rollouts)


def test_ctrl_c_is_obeyed_while_a_grader_runs():
    def interrupted(problem, texts):
        signal.raise_signal(signal.SIGINT)
        return longest_wins(problem, texts)

    with pytest.raises(KeyboardInterrupt):
        Scorer({}, {"g": interrupted}).score(0, problem("g"), [completion("a")])


def test_a_grader_is_asked_again_about_all():
    asked = []

    def flaky(problem, texts):
        asked.append(list(texts))
        if len(asked) == 1:
            return [Verdict(1.0, Outcome.CORRECT), Verdict(0.0, Outcome.ERROR, reason="no reply")]
        return longest_wins(problem, texts)

    group = Scorer({}, {"g": flaky}).score(0, problem("g"), [completion("a"), completion("bb")])
    assert asked == [["a", "bb"]] * 2
    assert outcomes(group) == ["incorrect", "correct"]


def test_of_a_graders_replies_the_one_that_judges_most_counts():
    asked = []

    def worse(problem, texts):
        asked.append(list(texts))
        if len(asked) > 1:
            raise ConnectionError("gone")
        return [Verdict(1.0, Outcome.CORRECT), Verdict(0.0, Outcome.ERROR, reason="no reply")]

    group = Scorer({}, {"g": worse}).score(0, problem("g"), [completion("a"), completion("bb")])
    assert len(asked) == 3
    assert outcomes(group) == ["correct", "error"]
