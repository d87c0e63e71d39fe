"""Requests of the engine: where they end, what they tell, who answers them, and that none is lost."""

import dataclasses
import functools
import re
import threading

import jax
import numpy as np
import pytest
import small
from test_engine import assert_same_bits, engine, learner_logprobs

import rl
from policy import ByteTokenizer, Engine, SamplingOptions, TransformerConfig, from_scratch, layout
from policy.memory import PAGE
from policy.transformer import engine_params, to_host
from policy.types import Versioned
from rl.types import Draw
from rl.worker import RolloutWorker
from verifiers import Outcome, Problem, Verdict

PROMPT = list(range(20, 28))  # With 24 tokens more it has one page of the cache: each size of the cache is compiled.
LONGER = list(range(20, 40))


class Chatty(ByteTokenizer):
    """Half of all tokens end a turn, so that a random policy takes turns."""

    ends = tuple(range(130, 258))


def run(made, **requests):
    for name, changes in requests.items():
        made.submit(name, changes.pop("prompt", PROMPT), **changes)
    done = {}
    while not made.idle:
        done.update(made.step())
    return {name: completions if len(completions) > 1 else completions[0] for name, completions in done.items()}


def test_the_token_of_the_end_is_in_no_text():
    """Also where the tokenizer does not count it as special; a completion that did not end keeps all."""
    made = chatty()
    done = run(made, a={"samples": 8, "options": SamplingOptions(max_tokens=3)})["a"]
    assert {completion.finish for completion in done} == {"stop", "length"}
    for completion in done:
        spoken = completion.tokens[:-1] if completion.finish == "stop" else completion.tokens
        assert completion.text == ByteTokenizer().decode(spoken)


def chatty(max_tokens=24, **settings):
    model = dataclasses.replace(small.MODEL, tokenizer=Chatty())
    made = Engine(model, seed=7, slots=8, prompt_columns=50, max_tokens=max_tokens, dtype="float32", **settings)
    made.load(small.versioned(3))
    return made


# ------------------------------------------------------------------------------------------------ options


def test_options_of_one_request_change_no_bit_of_another():
    made = engine()
    plain = run(made, a={"samples": 3})["a"]
    mixed = run(
        made,
        b={"options": SamplingOptions(top_p=0.5, banned=(9, 10), stop_strings=("q",)), "samples": 2},
        a={"samples": 3},
        c={"options": SamplingOptions(top_k=2, min_p=0.1, forced=(5, 6, 7), max_tokens=4)},
    )
    for a, b in zip(plain, mixed["a"], strict=True):
        assert_same_bits(a, b)
    assert all(c.finish != "stop" or 1 in c.tokens or "q" in ByteTokenizer().decode(c.tokens) for c in mixed["b"])
    assert not set(np.concatenate([c.tokens for c in mixed["b"]])) & {9, 10}
    c = mixed["c"]
    assert c.tokens[:3].tolist() == [5, 6, 7]
    assert not c.logprobs[:3].any()
    assert len(c.tokens) == 4
    assert c.mask.all()
    assert np.abs(c.policy_logprobs - learner_logprobs(c)).max() < 1e-4


def test_a_request_with_a_seed_is_its_own():
    made = engine()
    seven = run(made, a={"options": SamplingOptions(seed=7)}, b={})
    assert_same_bits(seven["a"], seven["b"])  # 7 is the engine's own.
    eight = run(made, **{f"s{i}": {"options": SamplingOptions(seed=i)} for i in range(8, 16)})
    assert len({c.tokens.tobytes() for c in eight.values()}) == 8
    again = run(made, x={"options": SamplingOptions(seed=9)})["x"]
    assert_same_bits(again, eight["s9"])


def test_a_stop_string_that_spans_tokens_ends_the_text_before_it():
    made = engine()
    free = run(made, a={"options": SamplingOptions(temperature=0)})["a"]
    letters = ByteTokenizer().decode(free.tokens)
    middle = letters[4:7]
    where = letters.index(middle)
    c = run(made, a={"options": SamplingOptions(temperature=0, stop_strings=("never", middle))})["a"]
    assert c.finish == "stop"
    assert c.text == letters[:where]
    assert ByteTokenizer().decode(c.tokens) == letters[: where + 3]
    assert_same_bits(dataclasses.replace(free, **{
        k: getattr(free, k)[: len(c.tokens)] for k in ("tokens", "mask", "logprobs", "policy_logprobs")
    }), c)  # fmt: skip


def test_a_stop_string_is_seen_across_tokens_that_have_no_text():
    first, *rest = ByteTokenizer().encode("END")
    forced = SamplingOptions(forced=(first, *[0] * 9, *rest, 70, 70), stop_strings=("END",), banned=(1,))
    c = run(engine(max_tokens=20), a={"options": forced})["a"]
    assert (c.finish, c.text, len(c.tokens)) == ("stop", "", 12)


def test_a_stop_token_is_kept_and_not_spoken():
    made = engine()
    free = run(made, a={"options": SamplingOptions(temperature=0)})["a"]
    stop = int(free.tokens[5])
    first = free.tokens.tolist().index(stop)
    c = run(made, a={"options": SamplingOptions(temperature=0, stop_tokens=(stop,))})["a"]
    assert c.finish == "stop"
    assert c.tokens.tolist() == free.tokens[: first + 1].tolist()
    assert c.text == ByteTokenizer().decode(free.tokens[:first])


def test_tokens_are_told_as_they_come():
    made, told = engine(), []
    made.submit("a", PROMPT, samples=2, on_token=told.append)
    done, seen = {}, []
    while not made.idle:
        done.update(made.step())
        seen.append(len(told))
    assert seen == list(range(4, 25, 2))  # The first step writes two tokens of each: after the prompt, after the first.
    for sample, c in enumerate(done["a"]):
        mine = [w for w in told if w.sample == sample]
        assert [w.token for w in mine] == c.tokens.tolist()
        assert [w.logprob for w in mine] == c.logprobs.tolist()


def counted(made):
    """The engine, and a list of how many tokens each of its dispatches decodes in a row."""
    steps = []
    small.watch(made, "decode", lambda out: steps.append(int(out[0])))
    return made, steps


def test_several_tokens_come_of_one_dispatch_and_change_no_bit():
    made, steps = counted(engine(slots=8))
    asked = {"a": {}, "b": {"options": SamplingOptions(max_tokens=3)}, "c": {"samples": 3}}
    together = run(made, **asked)
    assert steps == [8, 3]  # The first token comes of the prompt.
    # One at a time where somebody listens, and where a prompt waits for a slot: until b makes room.
    for changes, expected in (({"a": {"on_token": list}}, [1] * 11), ({"d": {"samples": 4}}, [1, 1, 8, 3])):
        steps.clear()
        done = run(made, **asked | changes)
        assert steps == expected
        for name in asked:
            for one, other in zip(np.ravel(together[name]), np.ravel(done[name]), strict=True):
                assert_same_bits(one, other)


def test_a_dispatch_ends_where_all_its_rows_have_ended():
    free = run(engine(), a={})["a"]
    third = int(free.tokens[2])

    class Ends(ByteTokenizer):
        ends = (third,)

    model = dataclasses.replace(small.MODEL, tokenizer=Ends())
    made, steps = counted(Engine(model, seed=7, slots=8, prompt_columns=50, max_tokens=12, dtype="float32"))
    made.load(small.versioned(3))
    assert run(made, a={})["a"].tokens.tolist() == free.tokens[:3].tolist()
    assert steps == [2]


def test_who_is_told_of_a_token_may_cancel():
    made, told = engine(), []
    alone = run(made, b={})["b"]

    def listen(written):
        told.append(written)
        if len(told) == 5:  # The second of three samples, in the middle of a step.
            assert made.cancel("a")

    made.submit("a", PROMPT, samples=3, on_token=listen)
    done = run(made, b={})
    assert set(done) == {"b"}
    assert_same_bits(done["b"], alone)
    assert len(told) == 5


def test_cancellation_frees_at_once_and_twice_is_said():
    made = engine()
    alone = run(made, b={})["b"]
    made.submit("a", PROMPT, samples=20)
    made.submit("b", PROMPT)
    made.step()
    assert made.cancel("a")
    assert not made.cancel("a")
    assert not made.cancel("never")
    done = {}
    while not made.idle:
        done.update(made.step())
    assert set(done) == {"b"}
    assert_same_bits(done["b"][0], alone)
    assert not made.cancel("b")  # It was done already.


def test_a_name_is_taken_while_its_request_lives():
    made = engine()
    made.submit("a", PROMPT)
    with pytest.raises(ValueError, match="'a' is being written already"):
        made.submit("a", PROMPT)


@pytest.mark.filterwarnings("ignore:The environment of", "ignore:The listener of")
def test_ten_thousand_requests_leak_no_slot_and_lose_none():
    """Some with an environment or a listener, some of which fail."""
    config = TransformerConfig(
        vocab_size=258, width=8, num_layers=1, num_heads=1, num_kv_heads=1, head_dim=8, mlp_width=8, context=64
    )
    model = from_scratch(config, Chatty())
    made = Engine(model, seed=0, slots=64, prompt_columns=32, max_tokens=8, dtype="float32")
    made.load(Versioned(0, to_host(engine_params(model.load(0), np.dtype("float32")))))
    rng = np.random.default_rng(0)
    expected, cancelled, done, told = {}, set(), {}, {}

    def answer(name, tokens, mask):
        if name % 5 == 0:
            raise Speechless
        return [60] if mask.all() else None

    def listen(name, written):
        told[name].append(written)
        if name % 4 == 0 and len(told[name]) == 3:
            raise Speechless

    for name in range(10_000):
        length = int(rng.integers(1, 9))
        options = SamplingOptions(
            max_tokens=length, stop_tokens=(int(rng.integers(258)),), temperature=float(rng.integers(2))
        )
        prompt = rng.integers(2, 258, 32 - name % 32).tolist()
        asks, listens = name % 1000 < 50, 25 <= name % 1000 < 75
        if listens:
            told[name] = []
        made.submit(
            name,
            prompt,
            options=options,
            samples=1 + name % 2,
            environment=functools.partial(answer, name) if asks else None,
            on_token=functools.partial(listen, name) if listens else None,
        )
        expected[name] = (length, 1 + name % 2, asks)
        if name % 7 == 0:
            victim = int(rng.integers(name + 1))
            if made.cancel(victim):
                cancelled.add(victim)
            else:
                assert victim in cancelled or victim in done
        if name % 12 == 0:
            for key, completions in made.step():
                assert key not in done
                done[key] = completions
    while not made.idle:
        done.update(made.step())
    assert done.keys() | cancelled == expected.keys()
    assert not done.keys() & cancelled
    for name, completions in done.items():
        length, samples, asks = expected[name]
        assert len(completions) == samples
        assert all(1 <= len(c.tokens) <= length for c in completions)
        if name in told:
            for sample, c in enumerate(completions):
                assert [w.token for w in told[name] if w.sample == sample] == c.tokens.tolist()
        if not asks:
            assert all(c.finish in ("stop", "error") or len(c.tokens) == length for c in completions)
            assert name in told or all(c.finish != "error" for c in completions)
    for names in (told, [name for name in expected if expected[name][2]]):
        finishes = {c.finish for name in names if name in done for c in done[name]}
        assert finishes >= {"stop", "length", "error"}
    assert any(not c.mask.all() for completions in done.values() for c in completions)
    assert made._rows == 2 * [[None] * 32]
    assert not made._alive
    assert not made._waiting
    for bank in made._banks:
        assert not bank.law.top_k.any()
        assert not bank.position.any()


# ------------------------------------------------------------------------------------------------ environments


def echo(tokens, mask):
    """Answers with a colon and the number of tokens so far; stops after three turns."""
    assert len(tokens) == len(mask)
    assert tokens[-1] in Chatty.ends
    turns = int(mask.sum()) and 1 + int((np.diff(mask.astype(int)) == 1).sum())
    return None if turns == 3 else [60, 2 + len(tokens)]


def test_an_environment_appends_tokens_that_the_policy_reads():
    made = chatty()
    c = run(made, a={"prompt": LONGER, "samples": 8, "environment": echo})["a"]
    assert {one.finish for one in c} <= {"stop", "length"}
    assert any(not one.mask.all() for one in c)
    for one in c:
        assert not one.logprobs[~one.mask].any()
        assert not one.policy_logprobs[~one.mask].any()
        for start in np.flatnonzero(np.diff(one.mask.astype(int)) == -1) + 1:
            assert one.tokens[start : start + 2].tolist() == [60, 2 + start]
        gap = np.abs(one.policy_logprobs - learner_logprobs(one))[one.mask]
        assert gap.max() < 1e-4  # What the policy saw is what the learner computes.
        last = np.flatnonzero(~one.mask)[-1] + 1 if not one.mask.all() else 0
        spoken = one.tokens[last:-1] if one.tokens[-1] in Chatty.ends else one.tokens[last:]
        assert one.text == ByteTokenizer().decode(spoken)


def test_forced_tokens_are_those_of_the_first_turn():
    """What is left of them when it ends is dropped: it would have come after the reply, at other places."""
    end, reply = Chatty.ends[0], lambda tokens, mask: [60] if mask.all() else None
    done = run(
        chatty(),
        a={"options": SamplingOptions(forced=(5, end, 6, 7, 8, 9), max_tokens=8, seed=3), "environment": reply},
        b={"options": SamplingOptions(forced=(5, end), max_tokens=8, seed=3), "environment": reply},
    )
    assert_same_bits(done["a"], done["b"])
    assert done["a"].tokens[:3].tolist() == [5, end, 60]
    assert done["a"].mask.tolist() == [True, True, False] + [True] * (len(done["a"].tokens) - 3)
    assert done["a"].logprobs[3]  # It was sampled.


def test_the_text_of_a_listener_that_fails_is_the_policys():
    """Also in the middle of a reply."""
    spoken, heard = ByteTokenizer().encode("Hi"), []

    def listen(written):
        heard.append(written.mask)
        if heard.count(False) == 4:
            raise KeyError("fourth")

    with pytest.warns(UserWarning, match="KeyError: 'fourth'"):
        c = run(
            chatty(),
            a={
                "options": SamplingOptions(forced=(*spoken, Chatty.ends[0])),
                "environment": lambda tokens, mask: ByteTokenizer().encode("THE TOOL"),
                "on_token": listen,
            },
        )["a"]
    assert (c.finish, c.text, c.mask.tolist()) == ("error", "Hi", [True] * 3 + [False] * 4)


def test_who_answers_when_changes_no_bit():
    """Slow answers, other neighbors and another order give the same completions."""
    gate = threading.Event()

    def slow(tokens, mask):
        gate.wait(0.01)
        return echo(tokens, mask)

    a = run(chatty(), a={"samples": 4, "environment": echo})["a"]
    b = run(chatty(), x={"samples": 5}, a={"samples": 4, "environment": slow}, y={"samples": 3})["a"]
    for one, other in zip(a, b, strict=True):
        assert_same_bits(one, other)
        assert one.finish == other.finish


def test_a_row_may_wait_where_a_page_ends():
    """Its last token is the first one of a page, which it has while neighbors go on: nothing that it has is changed."""
    told = threading.Event()

    def waits(tokens, mask):
        assert told.wait(300)
        return [60, 61] if mask.all() else None

    made = chatty()
    forced = SamplingOptions(forced=(*[20] * 12, Chatty.ends[0]))
    made.submit("a", LONGER, options=forced, environment=waits)
    made.submit("b", PROMPT, options=SamplingOptions(banned=Chatty.ends))
    pages = []
    for step in range(22):
        made.step()
        if step >= 11:
            assert made._banks[0].position[0] == len(LONGER) + 12 == PAGE  # It waits.
            pages.append(np.asarray(made._banks[0].cache[0][0])[0])
    assert not made.idle
    assert all((page == pages[0]).all() for page in pages)
    told.set()
    done = {}
    while not made.idle:
        done.update(made.step())
    assert done["a"][0].tokens[12:15].tolist() == [Chatty.ends[0], 60, 61]


def test_turns_are_counted_and_room_is_kept():
    def always(tokens, mask):
        return [60]

    two = run(chatty(), a={"environment": always, "max_turns": 2, "samples": 8})["a"]
    assert "turns" in {c.finish for c in two}
    for c in two:
        assert (np.diff(c.mask.astype(int)) == 1).sum() <= 1
        assert c.mask[-1]  # What nobody answers is not appended.
    many = run(chatty(), a={"environment": lambda tokens, mask: [60] * 23})["a"]
    assert many.finish == "length"
    assert many.mask.all()


@pytest.mark.filterwarnings("ignore:The environment of")
@pytest.mark.parametrize("broken", [lambda t, m: 1 / 0, lambda t, m: [300], lambda t, m: [-1], lambda t, m: [],
                                    lambda t, m: 5, lambda t, m: ["a"], lambda t, m: [[3], [4, 5]]])  # fmt: skip
def test_an_environment_that_fails_is_nobodys_fault(broken):
    done = run(chatty(), a={"environment": broken}, b={})
    assert done["a"].finish == "error"
    assert done["b"].finish in ("stop", "length")


class Speechless(Exception):
    """An error that cannot say what it is, and counts as nothing."""

    def __str__(self):
        raise RuntimeError

    def __len__(self):
        return 0


def fails(*_):
    raise Speechless


def test_an_error_that_cannot_be_told_is_one_all_the_same():
    with pytest.warns(UserWarning, match=r"environment of request 'a' failed: Speechless$"):
        assert run(chatty(), a={"environment": fails})["a"].finish == "error"


@pytest.mark.filterwarnings("error")
def test_where_a_warning_is_an_error_nothing_that_is_finished_is_lost():
    made = chatty()
    made.submit("a", PROMPT, environment=fails)
    made.submit("b", PROMPT, on_token=fails)
    done, warned = {}, 0
    while not made.idle:
        try:
            done.update(made.step())
        except UserWarning:
            warned += 1
    assert {name: completion.finish for name, (completion,) in done.items()} == {"a": "error", "b": "error"}
    assert warned == 2


def test_a_listener_that_fails_ends_its_completion_and_changes_no_bit_of_others():
    alone = run(engine(), b={"samples": 3})["b"]
    heard = []

    def third(written):
        heard.append(written)
        if len(heard) == 3:
            raise KeyError("third")

    with pytest.warns(UserWarning, match="listener of request 'a' failed: KeyError: 'third'"):
        done = run(engine(), a={"on_token": third, "options": SamplingOptions(forced=(5,) * 5)}, b={"samples": 3})
    assert (done["a"].finish, done["a"].tokens.tolist()) == ("error", [5, 5, 5])
    for one, other in zip(alone, done["b"], strict=True):
        assert_same_bits(one, other)


def test_a_cancelled_request_may_wait_for_its_environment():
    made, gate = chatty(), threading.Event()

    def waits(tokens, mask):
        gate.wait(300)
        return [60]

    made.submit("a", PROMPT, environment=waits, samples=8)
    for _ in range(6):
        made.step() if any(row.reply is None for row in made._written()) or not made._written() else None
    assert made.cancel("a")
    gate.set()
    assert made.idle
    assert run(made, b={})["b"].tokens.size


@pytest.mark.filterwarnings("ignore:The environment of")
def test_an_environment_that_hangs_is_left_behind():
    """Its row ends, its neighbors go on, and its thread keeps neither the engine nor the process."""
    before = set(threading.enumerate())
    made, gate = chatty(), threading.Event()

    def hangs(tokens, mask):
        gate.wait()
        return [60]

    alone = run(made, b={"samples": 3, "environment": echo})["b"]
    for _ in range(3):  # More in all than there are slots.
        with pytest.warns(UserWarning, match=r"request 'a' failed: TimeoutError: no reply within 0\.2 s"):
            done = run(
                made,
                a={"samples": 5, "environment": hangs, "reply_seconds": 0.2},
                b={"samples": 3, "environment": echo},
            )
        assert "error" in {c.finish for c in done["a"]}
        assert {c.finish for c in done["a"]} <= {"error", "length"}
        for one, other in zip(alone, done["b"], strict=True):
            assert_same_bits(one, other)
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)
    gate.set()
    with pytest.raises(ValueError, match="reply_seconds must be positive"):
        made.submit("a", PROMPT, reply_seconds=0)


def test_an_environment_may_have_more_time_than_the_clock_goes_on_for():
    gate = threading.Event()

    def slow(tokens, mask):
        gate.wait(0.2)

    assert run(chatty(), a={"environment": slow, "reply_seconds": 1e12})["a"].finish in ("stop", "length")


@pytest.mark.filterwarnings("ignore:The environment of")
def test_an_environment_that_leaves_the_process_leaves_its_row():
    def leaves(tokens, mask):
        raise SystemExit(3)

    assert run(chatty(), a={"environment": leaves})["a"].finish == "error"


@pytest.mark.filterwarnings("ignore:The environment of")
def test_an_environment_for_which_there_is_no_thread_changes_no_bit_of_others(monkeypatch):
    alone = run(chatty(), b={"samples": 3})["b"]
    start = threading.Thread.start

    def limited(thread):
        if thread.name == "environment":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    done = run(chatty(), a={"samples": 3, "environment": echo}, b={"samples": 3})
    assert "error" in {c.finish for c in done["a"]}
    for one, other in zip(alone, done["b"], strict=True):
        assert_same_bits(one, other)


# ------------------------------------------------------------------------------------------------ steps that raise


class Wordless(ByteTokenizer):
    """Cannot say what holds the token 200."""

    def decode(self, tokens):
        if 200 in tokens:
            raise KeyError(200)
        return super().decode(tokens)


POSITIONED = dataclasses.replace(small.CONFIG, learned_positions=True)


def no_number_at_40(version):
    """Parameters whose logits are not finite from position 40 on."""
    tree = jax.tree.map(lambda p: np.array(p * 4 if p.ndim == 2 else p), layout.random(POSITIONED, 0))
    tree["positions"]["w"][40] = np.nan
    return Versioned(version, to_host(engine_params(tree, np.dtype("float32"))))


def interrupt(written):
    if written.token == 201:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "load", "request_", "error"),
    [
        ({"tokenizer": Wordless()}, small.versioned, {"options": SamplingOptions(forced=(9, 200), stop_strings=("?",))},
         KeyError),
        ({}, small.versioned, {"options": SamplingOptions(forced=(9, 9, 201)), "on_token": interrupt},
         KeyboardInterrupt),
        ({"config": POSITIONED}, no_number_at_40, {"prompt": PROMPT * 4}, FloatingPointError),
    ],
    ids=["tokenizer", "interruption", "logits"],
)  # fmt: skip
def test_after_a_step_that_raised_nothing_goes_on_until_parameters_are_loaded(changes, load, request_, error):
    """The rows that had not been written yet lack a token: what they became would be nobody's completion."""
    model = dataclasses.replace(small.MODEL, **changes)
    made = Engine(model, seed=7, slots=8, prompt_columns=32, max_tokens=12, dtype="float32")
    made.load(load(3))
    neighbor = {"samples": 3, "options": SamplingOptions(banned=(1, 200, 201))}
    alone = run(made, b=neighbor)["b"]
    made.submit("short", PROMPT, options=SamplingOptions(max_tokens=1))
    made.submit("b", PROMPT, **neighbor)
    made.submit("a", request_.get("prompt", PROMPT), **{k: v for k, v in request_.items() if k != "prompt"})
    made.submit("c", PROMPT, samples=9)  # Some of them wait.
    done = {}

    def go_on():
        while not made.idle:
            done.update(made.step())

    with pytest.raises(error):
        go_on()
    for call in (made.step, lambda: made.submit("d", PROMPT)):
        with pytest.raises(RuntimeError, match="cancel what is alive, and load parameters"):
            call()
    made.cancel("a")
    with pytest.raises(RuntimeError, match="cancel what is alive"):  # The guilty one's end is not enough.
        made.step()
    with pytest.raises(RuntimeError, match="or cancel them"):
        made.load(load(4))
    assert made.cancel("b")
    assert made.cancel("c")
    made.load(load(4))
    made.submit("b", PROMPT, **neighbor)
    go_on()
    assert done.keys() == {"short", "b"}  # What was finished is not lost.
    assert done["short"][0].version == 3
    for one, other in zip(alone, done["b"], strict=True):
        assert_same_bits(one, other)
        assert other.version == 4


def test_a_listener_cannot_step():
    made = engine()
    alone = run(made, b={"samples": 3})["b"]
    with pytest.warns(UserWarning, match=r"listener of request 'a' failed: RuntimeError: Engine.step: .* only cancel"):
        done = run(made, a={"on_token": lambda written: made.step()}, b={"samples": 3})
    assert (done["a"].finish, len(done["a"].tokens)) == ("error", 1)
    for one, other in zip(alone, done["b"], strict=True):
        assert_same_bits(one, other)


# ------------------------------------------------------------------------------------------------ the worker


def worker(**settings):
    model = dataclasses.replace(small.MODEL, tokenizer=Chatty())
    return RolloutWorker(
        model, seed=1, slots=8, prompt_columns=50, max_tokens=12, dtype="float32", **settings
    )  # fmt: skip


def test_versions_that_live_together_give_what_each_gives_alone():
    versions = [small.versioned(v, seed=v) for v in range(3)]
    problems = [Problem(f"p{i}", f"{i}+{i}=", "", "always") for i in range(9)]
    draws = [Draw(0, i, 3, 1.0) for i in range(9)]
    together = worker()
    later = [together.generate(d, p, versions[i % 3]) for i, (d, p) in enumerate(zip(draws, problems, strict=True))]
    together_done = [one.result() for one in later]
    for v in range(3):
        alone = worker()
        for i in range(v, 9, 3):
            for a, b in zip(alone.generate(draws[i], problems[i], versions[v]).result(), together_done[i], strict=True):
                assert_same_bits(a, b)
                assert a.version == b.version == v


def test_all_who_wait_for_parameters_that_cannot_be_loaded_are_told():
    """The first of them takes the others' requests off the list, too."""
    made = worker()
    later = [made.generate(Draw(0, i, 2, 1.0), Problem("p", "?", ""), Versioned(0, {})) for i in range(3)]
    for one in later:
        with pytest.raises(ValueError, match="embedding/w is missing"):
            one.result()


def groups(made, *asked):
    """What a worker is asked for: (problem's text, parameters) of each group."""
    return [
        made.generate(Draw(0, i, 2, 1.0), Problem(f"p{i}", text, ""), params) for i, (text, params) in enumerate(asked)
    ]


def test_a_prompt_that_is_refused_is_its_own_groups_fault():
    good = small.versioned()
    alone = groups(worker(), ("?", good), ("?", good))[1].result()
    long, beside = groups(made := worker(), ("x" * 65, good), ("?", good))
    for one, other in zip(alone, beside.result(), strict=True):
        assert_same_bits(one, other)
    with pytest.raises(ValueError, match="1 to 64 tokens, got 65"):
        long.result()
    assert len(groups(made, ("?", good))[0].result()) == 2


def test_logits_that_are_not_finite_are_the_fault_of_the_groups_of_their_version():
    params = {
        m: {n: np.full_like(x, np.nan) for n, x in leaves.items()} for m, leaves in small.versioned().params.items()
    }
    good = small.versioned(6)
    alone = groups(worker(), ("?", good), ("?", good), ("?", good))[2].result()
    made = worker()
    first, second, third = groups(made, ("?", Versioned(5, params)), ("?", Versioned(5, params)), ("?", good))
    for one, other in zip(alone, third.result(), strict=True):  # Whose call drives the two before.
        assert_same_bits(one, other)
    for bad in (first, second):
        with pytest.raises(FloatingPointError, match="version 5 are not finite"):
            bad.result()
    (again,) = groups(made, ("?", Versioned(6, params)))  # The same number.
    assert len(again.result()) == 2  # A version has one tree: it is not loaded again.


def test_after_parameters_that_cannot_be_loaded_others_are():
    made = worker()
    first = groups(made, ("?", small.versioned(0)))[0].result()
    with pytest.raises(ValueError, match="embedding/w is missing"):
        groups(made, ("?", Versioned(1, {})))[0].result()
    for one, other in zip(first, groups(made, ("?", small.versioned(0)))[0].result(), strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda: small.load(0), "in float32: layer_0/gate/w is float32 (48, 32), and must be absent"),
        (lambda: small.versioned(dtype="bfloat16").params, "embedding/w is uint16 (258, 32), and must be float32"),
        (lambda: small.versioned().params | {"more": {"w": np.zeros(3)}}, "more/w is float64 (3,), and must be absent"),
    ],
    ids=["the learner's", "another dtype", "too many"],
)
def test_parameters_that_are_not_the_engines_are_refused_and_the_old_ones_stay(params, message):
    """A matrix in bfloat16 would compute in bfloat16, and say nothing."""
    made = engine()
    made.load(small.versioned(3))
    with pytest.raises(ValueError, match=re.escape(message)):
        made.load(Versioned(4, params()))
    made.submit("a", PROMPT)
    while not made.idle:
        made.step()
    assert made.version == 3


def test_a_call_that_is_interrupted_tells_all_who_have_begun(monkeypatch):
    made = worker()
    first, second = groups(made, ("?", small.versioned()), ("?", small.versioned()))
    decode = Engine._decode

    def interrupted(*_):
        monkeypatch.setattr(Engine, "_decode", decode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "_decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.result()
    with pytest.raises(RuntimeError, match="interrupted: generate this group again"):
        second.result()
    assert len(groups(made, ("?", small.versioned()))[0].result()) == 2


@pytest.mark.filterwarnings("error")
def test_a_worker_loses_nothing_where_a_warning_is_an_error():
    first, second = groups(worker(environment=fails), ("?", small.versioned()), ("?", small.versioned()))
    finishes, warned = set(), 0
    for one in (first, second):
        found = None
        while found is None:
            try:
                found = one.result()
            except UserWarning:
                warned += 1
        finishes |= {c.finish for c in found}
    assert "error" in finishes
    assert warned


def tool(problem, tokens, mask):
    """Says the problem's number; breaks on one problem."""
    if problem.id == "p3":
        raise RuntimeError("no tool today")
    return None if (~mask).sum() >= 3 else [2 + ord(problem.id[-1]), 2 + ord("!"), 2 + ord(" ")]


def moody(problem, tokens, mask):
    """The same tool, which breaks on some samples instead."""
    if tokens[0] % 4 == 0:
        raise RuntimeError("not now")
    return tool(dataclasses.replace(problem, id="p0"), tokens, mask)


@pytest.mark.filterwarnings("ignore:The environment of")
def test_a_run_with_a_tool_learns_from_what_the_policy_saw(tmp_path):
    model = dataclasses.replace(small.MODEL, tokenizer=Chatty())
    problems = [Problem(f"p{i}", f"{i}+{i}=", "", "half") for i in range(4)]

    def half(problem, text):
        return Verdict(float(len(text) % 2), Outcome.CORRECT)

    config = rl.RunConfig(
        model=model, problems=problems, verifiers={"half": half}, environment=moody, max_turns=3, steps=2,
        problems_per_step=3, group_size=4, max_tokens=20, slots=8, dtype="float32", micro_batch_tokens=64, inline=True,
    )  # fmt: skip
    rl.train(config, path=tmp_path / "run")
    run = rl.Run(tmp_path / "run")
    assert all(line["logprob_gap/max"] < 1e-4 for line in run.metrics() if line["staleness/max"] == 0)
    rollouts = [r for step in (0, 1) for group in run.groups(step) for r in group.rollouts]
    assert any(not r.completion.mask.all() for r in rollouts)
    broken = [r.verdict.outcome is Outcome.ERROR for r in rollouts]
    assert broken == [r.completion.finish == "error" for r in rollouts]
    assert 0 < sum(broken) < len(broken)


def test_the_worker_says_which_problem_broke_its_environment():
    made = worker(environment=tool)
    with pytest.warns(UserWarning, match=r"environment of request \(0, 'p3'\) failed: RuntimeError: no tool"):
        (c,) = made.generate(Draw(0, 0, 1, 1.0), Problem("p3", "3+3=", ""), small.versioned()).result()
    assert c.finish == "error"
    (c,) = made.generate(Draw(0, 0, 1, 1.0), Problem("p4", "3+3=", ""), small.versioned()).result()
    assert c.finish != "error"
    assert np.isfinite(c.policy_logprobs).all()


@pytest.mark.filterwarnings("ignore:The environment of")
def test_a_worker_does_not_wait_for_ever():
    gone = threading.Event()
    made = worker(environment=lambda problem, tokens, mask: gone.wait(), reply_seconds=0.2)
    (c,) = made.generate(Draw(0, 0, 1, 1.0), Problem("p4", "3+3=", ""), small.versioned()).result()
    gone.set()
    assert c.finish == "error"
    with pytest.raises(ValueError, match=r"RunConfig.reply_seconds must be positive"):
        small.run_config(reply_seconds=0)
