"""The laws that rows sample from: what they keep, how often, and that a row's bits are its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from policy import SamplingOptions
from policy.requests import cut_at, stop_at
from policy.sampling import BLOCK, Law, plain_law, row_keys, sample, uniforms
from policy.tokenizer import ByteTokenizer

V = 600  # Not a multiple of a block.
LOGITS = np.random.default_rng(0).normal(size=V).astype(np.float32) * 2
DRAWS = 4_000
run = jax.jit(sample)


def law(rows=DRAWS, v=V, banned=(), **fields) -> Law:
    made = plain_law(rows, v, 1.0)
    made.banned[list(banned)] = True
    return made._replace(**{k: np.full_like(getattr(made, k), x) for k, x in fields.items()})


def kept_by(p, top_k=0, top_p=1.0, min_p=0.0):
    """The definition, by sorting: which tokens of the probabilities p are kept."""
    order = np.argsort(-p, kind="stable")
    keep = np.zeros(len(p), bool)
    keep[order[: top_k or len(p)]] = True
    mass = np.cumsum(np.where(keep, p, 0)[order]) / p[keep].sum()
    if top_p < 1:
        keep[order[1:][mass[:-1] >= top_p]] = False  # The more likely ones have enough.
    return keep & (p >= min_p * p.max())


LAWS = [
    {},
    {"temperature": 0.5},
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 300},
    {"top_p": 0.9},
    {"top_p": 0.01},
    {"min_p": 0.05},
    {"top_k": 40, "top_p": 0.8, "min_p": 0.02, "temperature": 1.3},
    {"banned": tuple(np.argsort(-LOGITS)[:3]), "top_p": 0.7},
    {"banned": tuple(range(256, 512))},
]


@pytest.mark.parametrize("settings", LAWS, ids=str)
def test_frequencies_are_those_of_the_truncated_softmax(settings):
    settings = dict(settings)
    logits = LOGITS.astype(np.float64)
    logits[list(settings.get("banned", ()))] = -np.inf
    p = np.asarray(jax.nn.softmax(logits / settings.get("temperature", 1.0)), np.float64)
    keep = kept_by(p, **{k: v for k, v in settings.items() if k in ("top_k", "top_p", "min_p")})
    p = np.where(keep, p, 0) / p[keep].sum()
    uniform = (np.arange(DRAWS) + 0.5) / DRAWS  # Evenly spaced: the error is that of the inversion, not of chance.
    out = run(np.tile(LOGITS[:, None], DRAWS), uniform.astype(np.float32), law(**settings))
    token = np.asarray(out.token)
    assert np.abs(np.bincount(token, minlength=V) / DRAWS - p).max() < 4e-4
    np.testing.assert_allclose(np.asarray(out.logprob), np.log(p[token]), atol=2e-5)
    np.testing.assert_allclose(np.asarray(out.policy_logprob), jax.nn.log_softmax(LOGITS)[token], atol=2e-5)


def test_chi_square_of_random_draws():
    """With the keys of the engine, one row per position: a statistic of 26 cells, 25 degrees of freedom."""
    chosen = {"top_k": 26, "temperature": 0.9}
    keys = row_keys(*(np.full(DRAWS, x, np.uint32) for x in (5, 0, 3)), np.arange(DRAWS, dtype=np.uint32))
    uniform = uniforms(keys, np.arange(DRAWS) % 17)
    token = np.asarray(run(np.tile(LOGITS[:, None], DRAWS), uniform, law(**chosen)).token)
    p = np.asarray(jax.nn.softmax(LOGITS / 0.9), np.float64)
    keep = kept_by(p, top_k=26)
    expected = DRAWS * p[keep] / p[keep].sum()
    observed = np.bincount(token, minlength=V)
    assert not observed[~keep].any()
    assert ((observed[keep] - expected) ** 2 / expected).sum() < 52.6  # 0.999 of the distribution.


def test_greedy_takes_the_first_of_the_most_likely_that_is_allowed():
    logits = np.zeros((V, 8), np.float32)
    logits[[300, 400]] = 1
    wanted = law(8, temperature=0)
    wanted.banned[300, 1] = True
    wanted.forced[2] = 599
    out = run(logits, np.full(8, 0.99, np.float32), wanted)
    assert out.token.tolist() == [300, 400, 599, 300, 300, 300, 300, 300]
    assert not np.asarray(out.logprob).any()
    assert out.policy_logprob[2] == out.policy_logprob[0] - 1


def test_no_draw_leaves_what_is_kept():
    """At both ends of the unit interval, for masses that rounding makes inconsistent."""
    edge = np.array([0.0, 1e-38, 0.5, 1 - 2**-24], np.float32)
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(size=(V, 4)).astype(np.float32) * 20
        for settings in ({"top_k": 3}, {"top_p": 0.5}, {"banned": range(0, V, 2)}):
            out = run(logits, edge, law(4, **settings))
            assert np.isfinite(np.asarray(out.logprob)).all()
            for row, token in enumerate(np.asarray(out.token)):
                x = logits[:, row].copy()
                x[list(settings.get("banned", ()))] = -np.inf
                p = np.asarray(jax.nn.softmax(x))
                keep = kept_by(p, **{k: v for k, v in settings.items() if k != "banned"})
                assert keep[token], (seed, settings)
                assert token < V


def test_no_draw_of_a_wide_vocabulary_falls_where_no_mass_is():
    """The running sum over more than 256 blocks may rise where nothing is added: the draws are at these places."""
    blocks, rows = 594, 16
    generator = np.random.default_rng(0)
    some = np.sort(generator.choice(blocks, blocks // 2, replace=False))
    kept = some * BLOCK + generator.integers(0, BLOCK, len(some))
    logits = np.full((blocks * BLOCK, rows), -50, np.float32)
    logits[kept] = generator.normal(size=(len(some), rows))
    mass = np.zeros((blocks, rows), np.float32)
    mass[some] = np.exp(logits[kept] - logits.max(axis=0))
    reached = np.asarray(jax.jit(functools.partial(jnp.cumsum, axis=0))(mass))
    rises = np.diff(reached, axis=0) * (mass[1:] == 0)
    uniform = np.take_along_axis(reached, rises.argmax(axis=0)[None], axis=0)[0] / reached[-1]
    nearest = np.round(uniform * 2**23) / 2**23  # As they are drawn.
    out = run(logits, np.minimum(nearest, 1 - 2**-23).astype(np.float32), law(rows, blocks * BLOCK, top_k=len(kept)))
    assert np.isin(out.token, kept).all()
    assert np.asarray(out.logprob).min() > -20


def test_a_neighbor_that_truncates_changes_no_bit():
    rng = np.random.default_rng(3)
    logits, uniform = rng.normal(size=(V, 16)).astype(np.float32) * 3, rng.random(16).astype(np.float32)
    plain = run(logits, uniform, law(16))
    other = law(16)
    other.top_p[1::4], other.top_k[2::4], other.banned[::3, 3::4] = 0.9, 5, True
    mixed = run(logits, uniform, other)
    moved = jax.tree.map(lambda x: x[..., ::-1], (logits, uniform, other))
    for a, b, c in zip(plain, mixed, run(*moved), strict=True):
        np.testing.assert_array_equal(a[::4], b[::4])
        np.testing.assert_array_equal(b, c[::-1])
    single = run(np.tile(logits[:, 1:2], 16), np.tile(uniform[1:2], 16), law(16, top_p=0.9))
    for b, d in zip(mixed, single, strict=True):
        assert b[1] == d[1]


def test_a_wide_vocabulary_keeps_as_many_as_asked():
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(5000, 8)).astype(np.float32))
    for k in (1, 19, 20, 21, 4999, 5000):
        uniform = np.full(8, 1 - 2**-24, np.float32)
        out = run(logits, uniform, law(8, 5000, top_k=k))
        kept = np.sort(np.asarray(logits), axis=0)[::-1][:k]
        mass = np.log(np.exp(kept - kept[0]).sum(axis=0)) + kept[0]
        np.testing.assert_allclose(out.logprob, np.asarray(logits)[out.token, np.arange(8)] - mass, atol=1e-4)


@pytest.mark.parametrize(
    "settings", [{"top_k": 50}, {"top_k": 400}, {"top_p": 0.3}, {"top_p": 0.95}, {"top_k": 900, "top_p": 0.8}], ids=str
)
def test_every_way_to_the_cut_keeps_what_the_definition_keeps(settings):
    """Peaked rows, flat ones, rows of equal logits (which are kept together) and rows with bans, side by side."""
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(6000, 8)).astype(np.float32)
    logits[:20, 0] += 15  # A few hold all the mass.
    logits[:, 1] *= 20
    logits[:, 2] = 1.25  # All are equal.
    logits[:, 3] = np.round(logits[:, 3] * 2) / 2  # Many are.
    logits[rng.integers(6000, size=3000), 4] = -1e30
    wanted = law(8, 6000, **settings)
    wanted.banned[::2, 5] = True
    for uniform in (0.0, 0.3, 1 - 2**-24):
        out = run(logits, np.full(8, uniform, np.float32), wanted)
        for row in range(8):
            allowed = ~wanted.banned[:6000, row]
            x = np.where(allowed, logits[:, row], -np.inf).astype(np.float64)
            p = np.exp(x - x.max())
            keep = p >= np.sort(p)[::-1][settings.get("top_k", 6000) - 1]
            order = np.argsort(-p, kind="stable")
            mass = np.cumsum(np.where(keep, p, 0)[order])
            least = p[order[np.argmax(mass >= settings.get("top_p", 1.0) * mass[-1] * (1 - 1e-7))]]
            keep &= allowed & ((p >= least) | (settings.get("top_p", 1.0) == 1))
            token = int(out.token[row])
            assert keep[token], (row, uniform)
            mass_kept = np.log(p[keep].sum())
            assert abs(out.logprob[row] - (x[token] - x.max() - mass_kept)) < 2e-4, (row, uniform)


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**32 - 1])
def test_the_key_is_that_of_the_seed(seed):
    made = row_keys(*(np.array([x], np.uint32) for x in (seed, 1, 2, 3)))
    key = functools.reduce(jax.random.fold_in, (1, 2, 3), jax.random.key(np.uint32(seed)))
    np.testing.assert_array_equal(made[0], jax.random.key_data(key))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.5}, "temperature must be finite and >= 0"),
        ({"temperature": float("nan")}, "temperature must be finite"),
        ({"temperature": float("inf")}, "temperature must be finite"),
        ({"temperature": 1e39}, "temperature must be finite"),
        ({"max_tokens": 2.5}, "max_tokens must be an integer, got 2.5"),
        ({"top_k": 1.5}, "top_k must be an integer"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"temperature": 1e-40}, "0 is greedy, else 1e-30 to 1e30"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\] .*, got 0.0"),
        ({"top_p": 1.1}, "top_p must be in"),
        ({"top_p": float("nan")}, "top_p must be in"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"min_p": 1.5}, "min_p must be in"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"top_k": None}, "top_k must be an integer, got None"),
        ({"max_tokens": "5"}, "max_tokens must be an integer, got '5'"),
        ({"temperature": "1"}, "temperature must be a number, got '1'"),
        ({"temperature": None}, "temperature must be a number, got None"),
        ({"top_p": "1"}, "top_p must be a number"),
        ({"min_p": [0.1]}, "min_p must be a number"),
        ({"stop_tokens": 5}, r"stop_tokens must be a tuple of tokens \(integers\), got 5"),
        ({"stop_tokens": np.array(5)}, "stop_tokens must be a tuple of tokens"),
        ({"banned": 5}, "banned must be a tuple of tokens"),
        ({"banned": {5, 6}}, r"banned must be a tuple of tokens \(integers\), got \{5, 6\}"),
        ({"forced": iter([5, 6])}, "forced must be a tuple of tokens"),
        ({"forced": (1.5,)}, r"forced must be a tuple of tokens \(integers\), got \[1.5\] in it"),
        ({"forced": np.zeros((2, 2), int)}, "forced must be a tuple of tokens"),
        ({"forced": "56"}, "forced must be a tuple of tokens"),
        ({"stop_strings": None}, "stop_strings must be a tuple of strings that are not empty, got None"),
        ({"stop_strings": (5,)}, "stop_strings must be a tuple of strings"),
        ({"stop_strings": ("a", "\ud800")}, r"no lone surrogates\), got \['\\ud800'\]"),
        ({"stop_strings": ("",)}, "stop_strings must be a tuple of strings that are not empty"),
        ({"stop_strings": "END"}, "stop_strings must be a tuple"),
        ({"banned": (3, 4), "forced": (4,)}, r"\[4\] are both banned and forced"),
        ({"seed": -1}, "seed must be in"),
        ({"seed": 2**32}, "seed must be in"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SamplingOptions(**options)


def test_sequences_of_options_are_copied():
    banned = [5, 6]
    options = SamplingOptions(
        banned=banned, forced=np.array([7, 8]), stop_tokens=range(2), stop_strings=["a"], top_k=np.int64(3)
    )
    banned.append(9)
    assert options == SamplingOptions(banned=(5, 6), forced=(7, 8), stop_tokens=(0, 1), stop_strings=("a",), top_k=3)
    assert [type(token) for token in options.forced] == [int, int]
    hash(options)


class Long(ByteTokenizer):
    """Its token 258 is a long piece of text."""

    vocab_size = 259

    def decode(self, tokens):
        return "".join("ND and more" if t == 258 else super(Long, self).decode([t]) for t in tokens)


@pytest.mark.parametrize("pads", [0, 7, 8, 9, 40])
def test_stop_strings_span_tokens_without_a_text(pads):
    tokens = [*Long().encode("text E"), *[0] * pads, 258]
    assert stop_at(Long(), tokens, ("END",))
    assert not stop_at(Long(), tokens[:-1], ("END",))
    assert not stop_at(Long(), [*tokens, *[70] * 40], ("END",))


def test_stop_strings_span_tokens_and_characters():
    tokenizer = ByteTokenizer()  # One token a byte: every stop string spans tokens.
    text = "x" * 50 + "wait — END"
    tokens = tokenizer.encode(text)
    stopped = [n for n in range(1, len(tokens) + 1) if stop_at(tokenizer, tokens[:n], ("—", "END"))]
    assert [bytes(t - 2 for t in tokens[:n]).decode() for n in (stopped[0], stopped[-1])] == [text[:-4], text]
    assert not stop_at(tokenizer, tokens, ())
    assert cut_at(text, ("END", "—")) == "x" * 50 + "wait "
    assert cut_at(text, ("no",)) == text
