"""The engine agrees with the learner, and a row depends on nothing but itself."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from policy import Engine, SamplingOptions, Versioned, make_policy
from policy.sampling import plain_law, row_keys, sample, uniforms
from policy.transformer import from_host, to_host

# 34, 38, 42, 46, 50 and 20 tokens. With twelve more the first five take two pages of the cache, the last one takes one.
# So an engine whose slots are filled at once has one size of the cache in all these tests: each size is compiled.
PROMPTS = [*(list(range(10 + i, 44 + 5 * i)) for i in range(5)), list(range(15, 35))]


def engine(dtype="float32", slots=6, max_tokens=12, **overrides):
    settings = {"seed": 7, "slots": slots, "prompt_columns": 50, "max_tokens": max_tokens, "dtype": dtype}
    made = Engine(small.MODEL, **(settings | overrides))
    made.load(small.versioned(3, dtype=dtype))
    return made


def generate(made, names, *, samples=4, temperature=1.0):
    for name in names:
        made.submit(name, PROMPTS[name], samples=samples, options=SamplingOptions(temperature=temperature), index=name)
    done = {}
    while not made.idle:
        done.update(made.step())
    return done


def assert_same_bits(a, b):
    np.testing.assert_array_equal(a.tokens, b.tokens)
    np.testing.assert_array_equal(a.logprobs, b.logprobs)
    np.testing.assert_array_equal(a.policy_logprobs, b.policy_logprobs)


@functools.cache
def forward(dtype):
    policy = make_policy(small.CONFIG, dtype)
    return jax.jit(lambda params, *row: policy.head(params, policy.hidden(params, *row)))


def logits(tokens, dtype="float32"):
    """The learner's view of a sequence, as one segment in one row: [V, 64]."""
    row = np.zeros((1, 64), np.int32)
    row[0, : len(tokens)] = tokens
    segment = (np.arange(64) < len(tokens)).astype(np.int32)[None]
    position = np.arange(64, dtype=np.int32)[None]
    keys = np.tile(np.arange(2, dtype=np.int32), (1, 2, 1))  # Both tiles may see both, so that one shape serves all.
    return forward(dtype)(small.load(0), row, segment, segment, position, keys)


def learner_logprobs(completion, dtype="float32", temperature=1.0):
    tokens = np.concatenate([completion.prompt, completion.tokens])
    logprobs = jax.nn.log_softmax(logits(tokens, dtype) / temperature, axis=0)
    p = len(completion.prompt)
    return np.asarray(logprobs)[completion.tokens, np.arange(p - 1, len(tokens) - 1)]


def test_sampler_and_learner_agree_in_float32():
    done = generate(engine(), range(6))
    for completions in done.values():
        for c in completions[:2]:
            assert np.abs(c.policy_logprobs - learner_logprobs(c)).max() < 1e-4
            np.testing.assert_allclose(c.logprobs, c.policy_logprobs, atol=1e-6)  # The temperature is 1.


def test_the_tempered_law_is_the_one_that_was_sampled():
    for c in generate(engine(), [1], samples=8, temperature=0.5)[1]:
        assert np.abs(c.logprobs - learner_logprobs(c, temperature=0.5)).max() < 1e-4
        assert np.abs(c.policy_logprobs - learner_logprobs(c)).max() < 1e-4


def test_sampler_and_learner_agree_in_bfloat16_to_its_noise():
    done = generate(engine("bfloat16"), range(4), samples=2)
    gaps = [np.abs(c.policy_logprobs - learner_logprobs(c, "bfloat16")) for cs in done.values() for c in cs]
    assert np.concatenate(gaps).mean() < 0.1


@pytest.mark.parametrize(("dtype", "slots"), [("float32", 6), ("bfloat16", 6), ("float32", 1)])
def test_a_row_depends_on_nothing_but_itself(dtype, slots):
    """Order of arrival, neighbors, slots and refills change no bit."""
    made = engine(dtype, slots)
    first = generate(made, range(6))
    for names in ([5, 4, 3, 2, 1, 0], [2], [4, 0]):
        for name, completions in generate(made, names).items():
            for a, b in zip(first[name], completions, strict=True):
                assert_same_bits(a, b)
    # Fewer samples of a prompt are the first ones of many; bit for bit, where all rows read their prompt together.
    for a, b in zip(first[3], generate(made, [3], samples=7)[3], strict=False):
        assert_same_bits(a, b)
    if dtype == "float32":
        for a, b in zip(first[3], generate(made, [3], samples=2)[3], strict=False):
            np.testing.assert_array_equal(a.tokens, b.tokens)
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)


def test_engines_of_other_sizes_agree_to_their_rounding():
    """Prompts are computed in blocks of 8 rows, or of as many as there are slots."""
    eight = generate(engine(slots=8), range(6), samples=2)
    for slots in (1, 3, 17):
        for name, completions in generate(engine(slots=slots), range(6), samples=2).items():
            for c, other in zip(completions, eight[name], strict=True):
                np.testing.assert_array_equal(c.tokens, other.tokens)
                np.testing.assert_allclose(c.logprobs, other.logprobs, atol=1e-4)


def test_samples_seeds_and_indices_differ():
    made = engine()
    completions = generate(made, [0], samples=8)[0]
    assert len({c.tokens.tobytes() for c in completions}) == 8
    other = generate(engine(seed=8), [0], samples=8)[0]
    assert all(a.tokens.tobytes() != b.tokens.tobytes() for a, b in zip(completions, other, strict=True))


@pytest.mark.parametrize(("seed", "stream", "index"), [(None, 5, 9), (11, 0, 2**32 - 1)])
def test_a_completion_is_drawn_with_the_numbers_of_its_key_and_positions(seed, stream, index):
    """From the learner's logits: seed, stream, index and sample make the key, and the place of a token its number."""
    made, done = engine(), {}
    options = SamplingOptions(temperature=1.5, seed=seed)
    made.submit("a", PROMPTS[1], samples=3, options=options, stream=stream, index=index)
    while not made.idle:
        done.update(made.step())
    for i, c in enumerate(done["a"]):
        p, n = len(c.prompt), len(c.tokens)
        names = (np.full(n, name, np.uint32) for name in (7 if seed is None else seed, stream, index, i))
        numbers = uniforms(row_keys(*names), np.arange(p, p + n))
        seen = logits(np.concatenate([c.prompt, c.tokens]))[:, p - 1 : p + n - 1]
        drawn = sample(seen, numbers, plain_law(n, small.CONFIG.vocab_size, 1.5))
        np.testing.assert_array_equal(drawn.token, c.tokens)
        np.testing.assert_allclose(drawn.logprob, c.logprobs, atol=1e-4)


def test_greedy_takes_the_most_likely_token_and_is_certain_of_it():
    (c,) = generate(engine(), [5], samples=1, temperature=0.0)[5]
    assert not c.logprobs.any()
    tokens = list(c.prompt)
    for token in c.tokens:
        assert int(jnp.argmax(logits(tokens)[:, len(tokens) - 1])) == token
        tokens.append(int(token))


def test_an_end_token_ends_a_completion_and_is_part_of_it():
    likely = generate(engine(), [5], samples=1, temperature=0.0)[5][0].tokens[3]

    class Ends(type(small.MODEL.tokenizer)):
        ends = (int(likely),)

    made = Engine(
        dataclasses.replace(small.MODEL, tokenizer=Ends()), seed=7, slots=6, prompt_columns=50, max_tokens=12,
        dtype="float32",
    )  # fmt: skip
    made.load(small.versioned(3))
    (c,) = generate(made, [5], samples=1, temperature=0.0)[5]
    assert c.finish == "stop"
    assert c.tokens[-1] == likely
    assert likely not in c.tokens[:-1]
    assert c.version == 3


def test_the_transport_of_bfloat16_is_exact():
    tree = {"embedding": {"w": jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.bfloat16)}}
    there = to_host(tree)
    assert there["embedding"]["w"].dtype == np.uint16
    back = from_host(there)
    np.testing.assert_array_equal(np.asarray(back["embedding"]["w"]), np.asarray(tree["embedding"]["w"]))
    np.testing.assert_array_equal(back["rows"]["w"], there["embedding"]["w"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": []}, "1 to 64 tokens, got 0"),
        ({"prompt": [3] * 65}, "got 65"),
        ({"prompt": [3, 258]}, "outside the vocabulary of 258"),
        ({"prompt": [-1]}, "outside the vocabulary"),
        ({"prompt": [2**40]}, "outside the vocabulary"),
        ({"prompt": np.array([2**32 + 5])}, "outside the vocabulary"),
        ({"prompt": [1.5]}, "a sequence of tokens"),
        ({"prompt": [[3, 4], [5, 6]]}, "a sequence of tokens"),
        ({"stream": -1}, r"stream must be in \[0, 2\*\*32\), got -1"),
        ({"index": 2**32}, "index must be in"),
        ({"samples": 0}, "samples and max_turns must be at least 1"),
        ({"samples": 2.5}, "samples must be an integer, got 2.5"),
        ({"max_turns": 1.5}, "max_turns must be an integer"),
        ({"index": 1.5}, "index must be an integer"),
        ({"on_token": 5}, "on_token must be a function or None, got 5"),
        ({"environment": "tool"}, "environment must be a function or None, got 'tool'"),
        ({"max_turns": 0}, "samples and max_turns must be at least 1"),
        ({"options": SamplingOptions(max_tokens=13)}, "max_tokens is 13, and this engine has room for 12"),
        ({"options": SamplingOptions(forced=(3,) * 5, max_tokens=4)}, "5 forced tokens"),
        ({"options": SamplingOptions(banned=tuple(range(258)))}, "All tokens are banned"),
        ({"options": SamplingOptions(banned=(258,))}, r"banned has tokens outside the vocabulary of 258: \[258\]"),
        ({"options": SamplingOptions(forced=(-1,))}, "forced has tokens outside"),
        ({"options": {}}, r"options must be SamplingOptions or None, got \{\} \(request 'x'\)"),
        ({"options": {"top_k": 5}}, "options must be SamplingOptions or None"),
        ({"options": SamplingOptions(stop_tokens=(300,))}, "stop_tokens has tokens outside"),
    ],
)
def test_a_bad_request_is_refused(changes, message):
    request = {"prompt": [3]} | changes
    with pytest.raises(ValueError, match=message):
        engine().submit("x", request.pop("prompt"), **request)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, r"seed must be in \[0, 2\*\*32\), got -1"),
        ({"seed": 1.5}, "seed must be an integer, got 1.5"),
        ({"slots": 8.5}, "slots must be an integer, got 8.5"),
        ({"max_tokens": "12"}, "max_tokens must be an integer, got '12'"),
        ({"prompt_columns": None}, "prompt_columns must be an integer, got None"),
        ({"prefix_bytes": 1e9}, "prefix_bytes must be an integer"),
        ({"slots": 0}, r"slots \(0\), .* must be at least 1"),
        ({"dtype": "int8"}, 'dtype must be "float32", "bfloat16" or None, got \'int8\''),
        ({"dtype": "float16"}, 'dtype must be "float32"'),
        ({"dtype": ""}, 'dtype must be "float32"'),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        engine(**settings)


def test_a_prompt_is_copied():
    made, prompt = engine(), np.full(5, 30, np.int32)
    made.submit("a", prompt)
    prompt[:] = 40
    done = {}
    while not made.idle:
        done.update(made.step())
    assert done["a"][0].prompt.tolist() == [30] * 5


def test_a_context_without_room_is_refused():
    with pytest.raises(
        ValueError, match=r"A prompt of 510 and a completion of 12 tokens do not fit the context of 512"
    ):
        engine(prompt_columns=510)


def test_new_parameters_wait_until_nothing_is_written():
    made = engine()
    made.submit("x", [3], samples=1)
    with pytest.raises(RuntimeError, match="step until the engine is idle"):
        made.load(small.versioned(4))


def test_logits_that_are_not_finite_are_an_error_and_not_a_sample():
    made = engine()
    params = {
        m: {n: np.full_like(p, np.nan) for n, p in leaves.items()} for m, leaves in small.versioned().params.items()
    }
    made.load(Versioned(9, params))
    made.submit("x", [3], samples=1)
    with pytest.raises(FloatingPointError, match="version 9 are not finite"):
        made.step()
