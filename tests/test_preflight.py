"""Every fault that can be found before the run: each is made, and its message read."""

import dataclasses
import time

import numpy as np
import pytest
from test_run import SHAPE, exactly, make_config

import policy
import verifiers
from rl.data import load_problems
from rl.preflight import fit, longest_prompt, preflight
from verifiers import Outcome, Problem, Verdict
from verifiers.contract import check_golds, spread
from verifiers.pool import Pool


def refuses(problem, completion):
    return Verdict(0.0, Outcome.INCORRECT, reason="I like nothing")


def accepts(problem, completion):
    return Verdict(1.0, Outcome.CORRECT)


def raises(problem, completion):
    raise ZeroDivisionError("oh")


def returns_nothing(problem, completion): ...


def messages(config):
    return [str(finding) for finding in preflight(config)]


def test_a_good_config_has_no_findings():
    config = make_config(held_out=[Problem("held/0", "9+9=", "18")])
    assert preflight(config) == []
    assert fit(config) == (config, 4)


@pytest.mark.parametrize(
    ("verifier", "what"),
    [
        (refuses, "5 × own gold refused"),
        (accepts, "another's gold accepted"),
        (raises, "own gold is no answer"),
        (returns_nothing, "must return a Verdict"),
    ],
)
def test_a_verifier_that_judges_known_answers_wrongly(verifier, what):
    [message] = messages(make_config(verifiers={"math": verifier}))
    assert "The verifier 'math' judges known answers wrongly (5 of its 5 problems tried)" in message
    assert what in message
    assert "sums/0" in message


def test_what_a_verifier_raises_is_named():
    [message] = messages(make_config(verifiers={"math": raises}))
    assert "ZeroDivisionError: oh" in message


def test_an_answer_that_nobody_knows_how_to_write():
    odd = [Problem(f"odd/{i}", "1+1=", np.int64(2)) for i in range(3)]
    good = Problem("good", "2+2=", "4")
    [message] = messages(make_config(problems=[good, *odd]))
    assert message == (
        f"The answer of problem 'odd/0' is {np.int64(2)!r} (int64): it must be text, a number, or a list or an object "
        'of them. If it must not, give a completion that is right in Problem.metadata["solution"]. So it is with 2 '
        "more of the verifier 'math'."
    )

    def same(problem, completion):
        return completion == f"it is {problem.answer + 0}"

    shown = [dataclasses.replace(problem, metadata={"solution": "it is 2"}) for problem in odd]
    assert messages(make_config(problems=shown, verifiers={"math": same})) == []


def test_a_verifier_that_hangs_is_given_up_on(monkeypatch, tmp_path):
    begun = tmp_path / "begun"

    def hangs(problem, completion):
        with begun.open("a") as file:
            file.write("x")
        time.sleep(100)

    def hangs_on_large(problem, completion):
        if int(problem.answer) > 10:
            time.sleep(100)
        return completion == problem.answer

    keys = {"hangs": hangs, "large": hangs_on_large, "good": verifiers.exact}
    problems = [Problem(f"{key}/{i}", f"{i}+{i}=", str(2 * i), key) for key in keys for i in range(25)]
    told = []
    with Pool(workers=2, seconds=1) as pool:
        monkeypatch.setattr("rl.preflight.shared", lambda: pool)
        config = make_config(problems=problems, verifiers=keys)
        first, second = map(str, preflight(config, lambda kind, **fields: told.append((kind, fields))))
    assert first.startswith(
        "The verifier 'hangs' judges known answers wrongly (one gold of its 25 problems tried): 1 × no verdict in "
        "time, the rest not tried\n  hangs/0: "
    )
    assert "hangs: It made no progress for 1 s." in first
    assert begun.stat().st_size == 1
    assert "The verifier 'large' judges known answers wrongly (" in second
    assert "): 3 × no verdict in time, the rest not tried\n" in second
    assert [(kind, fields["done"], fields["of"]) for kind, fields in told] == [
        ("progress", 0, 3), ("progress", 0, 3), ("progress", 1, 3), ("progress", 2, 3),
    ]  # fmt: skip


def test_many_problems_are_tried_evenly():
    problems = [Problem(str(i), f"{i}+{i}=", str(2 * i)) for i in range(1000)]
    assert [p.id for p in spread(problems, 4)] == ["0", "250", "500", "750"]
    [message] = messages(make_config(problems=problems, verifiers={"math": refuses}))
    assert "200 of its 1000 problems tried" in message
    assert "… and 195 more" in message


def test_ids_that_appear_twice():
    problems = [Problem("a", "1+1=", "2"), Problem("a", "2+2=", "4")]
    assert messages(make_config(problems=problems)) == [
        "RunConfig.problems has 1 ids more than once: a. Make them unique."
    ]


def test_ids_that_no_file_can_hold():
    problems = [Problem("a\ud800", "1+1=", "2"), Problem(17, "2+2=", "4")]  # pyright: ignore[reportArgumentType]
    [message] = messages(make_config(problems=problems))
    assert message == r"RunConfig.problems has 2 ids that are no UTF-8 text: 'a\ud800', 17."


@pytest.mark.parametrize("prompt", ["half an emoji: \ud83d", None, [{"role": "user"}], ["hello"]])
def test_a_prompt_that_makes_no_tokens_is_named(prompt):
    config = make_config(problems=[Problem("good", "1+1=", "2"), Problem("odd", prompt, "3")])
    with pytest.raises(ValueError, match="The prompt of 'odd' cannot be turned into tokens: "):
        fit(config)


LONG = [Problem("long/0", "x" * 40, "1"), Problem("long/1", "x" * 33, "2"), Problem("fits", "x" * 32, "3")]


def test_a_prompt_without_room_is_refused_and_listed():
    config = make_config(problems=LONG)  # A context of 64 tokens, 32 of them for the completion.
    expected = (
        "2 of 3 prompts are longer than 32 tokens, which is what the context of 64 leaves beside max_tokens=32: "
        "long/0 (40 tokens), long/1 (33 tokens). Shorten them or lower max_tokens. "
        "Or set drop_long=True to leave them out."
    )
    assert messages(config) == [expected]
    with pytest.raises(ValueError, match=r"long/0 \(40 tokens\)"):
        fit(config)
    with pytest.raises(ValueError, match=r"long/0 \(40 tokens\)"):
        longest_prompt(config.model, LONG, 32)
    assert longest_prompt(config.model, LONG, 24) == 40


def test_drop_long_drops_and_counts():
    config = make_config(problems=LONG, held_out=[Problem("held", "y" * 50, "4")], drop_long=True)
    [finding] = preflight(config)
    assert not finding.fatal
    assert finding.message.startswith("Left out (drop_long): 3 of 4 prompts are longer")
    fitted, longest = fit(config)
    assert ([p.id for p in fitted.problems], fitted.held_out, longest) == (["fits"], [], 32)
    assert dataclasses.replace(fitted, problems=config.problems, held_out=config.held_out) == config


def test_nothing_left_is_an_error():
    config = make_config(problems=LONG[:2], held_out=[Problem("held", "9+9=", "18")], drop_long=True)
    with pytest.raises(ValueError, match="Nothing is left to learn from"):
        fit(config)
    [finding] = preflight(config)
    assert finding.fatal
    assert "drop_long" not in finding.message
    assert messages(dataclasses.replace(config, drop_long=False)) == [finding.message]


@pytest.mark.parametrize("drop_long", [False, True])
def test_no_room_for_any_prompt(drop_long):
    [finding] = preflight(make_config(max_tokens=64, drop_long=drop_long))
    assert finding.fatal
    assert finding.message == (
        "max_tokens (64) leaves no room for a prompt in the context of 64 tokens. Nothing is left to learn from."
    )


def test_an_empty_prompt_is_refused():
    config = make_config(problems=[Problem("a", "", "1"), Problem("b", "2+2=", "4")])
    assert "1 prompts are empty: a. A policy needs something to go on." in messages(config)
    with pytest.raises(ValueError, match="empty"):
        fit(config)


def test_a_conversation_counts_with_its_template():
    tokenizer = policy.ByteTokenizer()
    model = policy.Model("tiny", SHAPE, tokenizer, lambda seed: {})
    problem = Problem("a", [{"role": "user", "content": "hi"}], "1")
    assert longest_prompt(model, [problem], 1) == len("user: hi\nassistant: ")
    assert preflight(make_config(model=model, problems=[problem], verifiers={"math": exactly})) == []


def test_gsm8k_has_answers_that_the_math_verifier_accepts(shared):
    path = shared("gsm8k/train.jsonl")
    problems = load_problems(path, prompt="question", answer="answer", limit=100)
    with Pool(workers=1) as pool:
        assert check_golds(verifiers.math, problems, pool).passed
