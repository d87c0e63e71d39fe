"""Every fault that can be found before the run: each is made, and its message read."""

import dataclasses

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
    with pytest.raises(ValueError, match="nothing is left to learn from"):
        fit(make_config(problems=LONG[:2], drop_long=True))


def test_no_room_for_any_prompt():
    [finding] = preflight(make_config(max_tokens=64))
    assert finding.fatal
    assert "max_tokens (64) leaves no room for a prompt in the context of 64 tokens" in finding.message


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
