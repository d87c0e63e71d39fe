"""A row's bits are its own: beside long and short neighbors, in any order, whatever pages and prefixes are held."""

import dataclasses
import functools
import threading
import time

import jax
import numpy as np
import pytest
import small
from test_engine import assert_same_bits

from policy import Engine, SamplingOptions, Versioned, layout, make_policy
from policy.attention import key_tiles
from policy.bank import Bank, Crew
from policy.cache import NOBODY, SEATS
from policy.memory import CHUNK, PAGE
from policy.pages import PageTable, SeatTable
from policy.prefixes import Prefixes
from policy.transformer import engine_params, to_host

CONTEXT = 4608
ENDS = tuple(small.MODEL.tokenizer.ends)
CONFIG = dataclasses.replace(small.CONFIG, context=CONTEXT)
EACH = dataclasses.replace(CONFIG, num_kv_heads=CONFIG.num_heads)  # A head of keys for each of queries.
RNG = np.random.default_rng(5)
SYSTEM = RNG.integers(2, 258, 3 * CHUNK + 5).tolist()  # Three chunks and the beginning of a fourth.


def load(config, seed=0):
    return jax.tree.map(lambda p: p * 4 if p.ndim == 2 else p, layout.random(config, seed))


def engine(
    config=CONFIG, *, dtype="float32", slots=8, prompt_columns=4096, max_tokens=200, seed=0, version=3, **settings
):
    made = Engine(
        dataclasses.replace(small.MODEL, config=config), seed=7, slots=slots, prompt_columns=prompt_columns,
        max_tokens=max_tokens, dtype=dtype, **settings,
    )  # fmt: skip
    made.load(versioned(config, version, seed, dtype))
    return made


def roomy(made, *, pages=None, slots=1):
    """The engine with a cache that has room for slots of so many pages, their most by default, before it needs it.

    Each size of the cache is compiled: those on the way to this one are not.
    """
    (bank,) = made._banks
    bank.reach(dict.fromkeys(range(slots), (pages or made._at.pages) * PAGE - 1))
    for slot in range(slots):
        bank.pages.free(slot)
    return made


@functools.cache
def versioned(config, version, seed, dtype):
    return Versioned(version, to_host(jax.jit(engine_params, static_argnums=1)(load(config, seed), dtype)))


def requests():
    """(prompt, tokens, samples): lengths at the edges of chunks and pages, contexts from 1 to 4096, shared prefixes."""
    edges = [1, 31, CHUNK - 1, CHUNK, CHUNK + 1, PAGE - 2, PAGE, PAGE + 1, 2 * PAGE, 5 * CHUNK, 4096]
    rng = np.random.default_rng(6)
    made = [(rng.integers(2, 258, n).tolist(), int(rng.integers(1, 40)), 1 + i % 2) for i, n in enumerate(edges)]
    made += [(SYSTEM + rng.integers(2, 258, n).tolist(), 12, 2) for n in (1, CHUNK - 5, 30, 400)]
    return [*made, (SYSTEM, 150, 3), (SYSTEM[: 3 * CHUNK], 5, 1), (SYSTEM[:CHUNK], 70, 1)]


def crowds():
    """The same for samples enough that they read their prompt together, of prefixes that others have, too."""
    rng = np.random.default_rng(7)
    made = [(SYSTEM + rng.integers(2, 258, n).tolist(), 14, samples) for n, samples in ((30, SEATS), (1, 5), (9, 1))]
    return [*made, (SYSTEM[: 3 * CHUNK], 25, 8), (rng.integers(2, 258, PAGE + 1).tolist(), 6, 6), (SYSTEM, 20, 2)]


def run(made, names, between=1, asked=requests):
    """Submits requests one after the other, with `between` steps from one to the next."""
    done = {}
    for name in names:
        prompt, tokens, samples = asked()[name]
        made.submit(name, prompt, samples=samples, options=SamplingOptions(max_tokens=tokens), index=name)
        for _ in range(between):
            done.update(made.step())
    while not made.idle:
        done.update(made.step())
    return done


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        for one, other in zip(a[name], b[name], strict=True):
            assert_same_bits(one, other)


def test_neighbors_order_pages_and_prefixes_change_no_bit():
    made = engine()
    plain = engine(prefix_bytes=0)
    # The longest first: a cache that is large at once is one that need not be compiled for each size up to there.
    names = sorted(range(len(requests())), key=lambda name: -len(requests()[name][0]))
    together = run(made, names, between=0)
    assert made._prefixes.bytes
    alone = {}
    for name in names:
        alone.update(run(plain, [name]))
    assert made._banks[0].pages.count > plain._banks[0].pages.count > 8  # Both have grown.
    assert_same(together, alone)
    assert not plain._prefixes.bytes
    for seed in range(3):  # Now all prefixes are kept.
        order = np.random.default_rng(seed).permutation(names).tolist()
        assert_same(together, run(made, order, between=seed))
    made._prefixes.clear()
    assert_same(together, run(made, names[::-1], between=2))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_neighbors_order_and_prefixes_change_no_bit_of_rows_that_share_their_prompt(dtype):
    sizes = {"dtype": dtype, "prompt_columns": 4 * CHUNK, "max_tokens": PAGE - 2}  # No pages are given back.
    made, plain = (roomy(engine(**sizes, prefix_bytes=n), pages=4, slots=8) for n in (2**20, 0))
    names = list(range(len(crowds())))
    together = run(made, names, between=0, asked=crowds)
    assert made._banks[0].seats.count
    assert made._prefixes.bytes
    alone = {}
    for name in names:
        alone.update(run(plain, [name], asked=crowds))
    assert_same(together, alone)
    for seed in range(3):  # Now all prefixes are kept.
        order = np.random.default_rng(seed).permutation(names).tolist()
        assert_same(together, run(made, order, between=seed, asked=crowds))
    made._prefixes.clear()
    assert_same(together, run(made, names[::-1], between=2, asked=crowds))


@pytest.mark.parametrize("config", [CONFIG, EACH], ids=["grouped", "each"])
def test_bits_do_not_depend_on_how_far_the_cache_has_grown(config):
    first, names, counts = None, [0, 1, 2, 3], set()
    for pages in (1, 3, 64):  # Up to 2048 columns a slot.
        made = roomy(engine(config, prompt_columns=64, max_tokens=64 * PAGE - 64), pages=pages, slots=8)
        (bank,) = made._banks
        small.watch(made, "decode", lambda out, bank=bank: counts.add(bank.pages.count))
        done = run(made, names, between=1)
        first = first or done
        assert_same(first, done)
    assert len(counts) > 3  # The first one grew on the way.
    assert (min(counts), max(counts)) == (8, 8 * 64)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_prefix_that_is_kept_is_used_and_changes_no_bit(dtype):
    made, fresh = roomy(engine(dtype=dtype)), roomy(engine(dtype=dtype, prefix_bytes=0))
    prompt = np.array(requests()[11][0], np.int32)
    miss = run(made, [11])
    assert len(made._prefixes.find(3, prompt)) == 3
    assert len(made._prefixes.find(3, np.array(SYSTEM[: 2 * CHUNK], np.int32))) == 1  # The last token's is computed.
    assert not made._prefixes.find(4, prompt)
    other = prompt.copy()
    other[CHUNK] += 1
    assert len(made._prefixes.find(3, other)) == 1  # All tokens are compared.
    calls = []
    small.watch(made, "prefill", calls.append)
    assert_same(run(made, [11, 12]), miss | run(fresh, [12]))
    assert len(calls) == 2  # A chunk each, where a miss computes four.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bits_do_not_depend_on_the_bank(dtype):
    """In a bank beside a longer one, which grow apart, alone in the first one, and after all slots were in use."""
    made = engine(dtype=dtype, slots=64, prompt_columns=64, max_tokens=160)
    rng = np.random.default_rng(8)
    asked = [(rng.integers(2, 258, n).tolist(), tokens) for n, tokens in ((40, 150), (33, 20), (5, 60), (64, 30))]

    def sample(names, samples):
        for name in names:
            prompt, tokens = asked[name]
            limit = SamplingOptions(max_tokens=tokens)
            made.submit(name, prompt, samples=samples, options=limit, index=name)
        done, banks = {}, set()
        while not made.idle:
            done.update(made.step())
            banks |= {(row.request.name, row.bank) for row in made._written()}
        return done, banks

    first, banks = sample([0, 1, 2, 3], 16)
    assert banks == {(0, 0), (1, 0), (2, 1), (3, 1)}
    assert made._banks[0].pages.count > made._banks[1].pages.count > 32
    other, banks = sample([3, 2, 1, 0], 16)
    assert banks == {(3, 0), (2, 0), (1, 1), (0, 1)}
    assert_same(first, other)
    for name in range(4):
        alone, banks = sample([name], SEATS)
        assert banks == {(name, 0)}
        assert_same({name: first[name][:SEATS]}, alone)
    refilled, banks = sample([0, 1, 2, 3], 40)
    assert {(1, 0), (1, 1)} <= banks
    assert_same(first, {name: completions[:16] for name, completions in refilled.items()})


def test_a_dispatch_that_fails_waits_for_the_others():
    """An error in one bank is raised when the other one computes no more."""
    crew, going, ended = Crew(2), threading.Event(), []

    def fails():
        assert going.wait(60)
        raise RuntimeError("the first bank")

    def computes():
        going.set()
        time.sleep(0.2)
        ended.append(True)

    with pytest.raises(RuntimeError, match="the first bank"):
        crew.all([fails, computes])
    assert ended == [True]
    assert crew.all([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]


def test_equal_prompts_are_computed_once():
    made, calls = roomy(engine(prompt_columns=64, max_tokens=64), slots=8), []
    alone = run(made, [2, 3])
    small.watch(made, "prefill", calls.append)
    done = {}
    for i in range(40):
        prompt, tokens, samples = requests()[2 + i % 2]
        made.submit(i, prompt, samples=samples, options=SamplingOptions(max_tokens=tokens), index=2 + i % 2)
    while not made.idle:
        done.update(made.step())
    assert len(calls) == 2  # A block each.
    for i in range(40):
        assert_same({0: done[i]}, {0: alone[2 + i % 2]})


def test_new_parameters_see_no_old_prefix():
    made = roomy(engine())
    old = run(made, [13])
    made.load(versioned(CONFIG, 4, 1, "float32"))
    assert made._prefixes.bytes == 0
    new = run(roomy(made), [13])
    assert_same(new, run(roomy(engine(seed=1, version=4, prefix_bytes=0)), [13]))
    assert old[13][0].tokens.tobytes() != new[13][0].tokens.tobytes()
    made.load(versioned(CONFIG, 3, 1, "float32"))  # The same number, other parameters.
    assert_same(new, run(roomy(made), [13]))


def test_kept_prefixes_stay_within_their_room():
    token = 2 * 4 * 2 * 2 * 8
    made = roomy(engine(prefix_bytes=5 * CHUNK * token + 1))
    expected = run(roomy(engine(prefix_bytes=0)), [11, 14, 9, 13])
    for _ in range(2):
        assert_same(expected, run(made, [11, 14, 9, 13]))
        assert made._prefixes.bytes == 5 * CHUNK * token


def test_the_least_recently_used_prefix_goes_first():
    def chunk(n):
        return ((np.zeros((1, 1, 1, n), np.float32), np.zeros((1, 1, n, 1), np.float32)),)

    kept = Prefixes(room=3 * 8 * 4, width=4)
    prompts = {letter: np.full(4, ord(letter), np.int32) for letter in "abcd"}
    longer = {letter: np.full(5, ord(letter), np.int32) for letter in "abcd"}
    for letter in "abc":
        kept.keep(0, prompts[letter], chunk(4))
    assert kept.bytes == 96
    assert len(kept.find(0, longer["a"])) == 1
    kept.keep(0, prompts["d"], chunk(4))
    assert kept.bytes == 96
    assert [letter for letter in "abcd" if kept.find(0, longer[letter])] == ["a", "c", "d"]
    assert not kept.find(0, prompts["a"])  # Its last token must be computed.
    kept.keep(0, np.arange(8, dtype=np.int32), chunk(1000))  # Larger than the room.
    assert kept.bytes == 96
    kept.clear()
    assert kept.bytes == 0
    assert not kept.find(0, longer["a"])


@pytest.mark.parametrize("seed", range(5))
def test_no_page_has_two_owners(seed):
    rng = np.random.default_rng(seed)
    slots, most, columns = 8, 11, 4
    table, held, grown = PageTable(slots, most, columns), np.zeros(slots, int), 0
    for _ in range(400):
        slot = int(rng.integers(slots))
        if rng.integers(3):
            held[slot] = max(held[slot], int(rng.integers(most * columns)))
            before = table.count
            table.reach(slot, held[slot])
            grown += table.count > before
        else:
            table.free(slot)
            held[slot] = 0
        pages = table.arrays()
        used = held // columns + 1
        owned = [page for s in range(slots) for page in pages.table[s, : used[s]].tolist()]
        assert len(set(owned)) == len(owned)
        assert pages.table[:, 0].tolist() == list(range(slots))
        for s in range(slots):
            for i, page in enumerate(pages.table[s, : used[s]].tolist()):
                assert (pages.owner[page], pages.start[page]) == (s, i * columns)
                assert table.page(s, i * columns) == page
        assert (pages.start != NOBODY).sum() == len(owned)
        assert table.count <= slots * most
    assert grown <= 8  # 16, 24, 32, 40, 50, 62, 77, 88.


@pytest.mark.parametrize("seed", range(3))
def test_who_shares_a_prompt_reads_its_pages_and_no_other(seed):
    rng = np.random.default_rng(seed)
    slots, most, columns = 8, 6, 4
    table, sitting = SeatTable(slots, most, columns), {}
    prompts = {name.to_bytes(1, "big"): int(rng.integers(1, most + 1)) for name in range(5)}
    written = {}  # What is in each page.
    for _ in range(400):
        slot = int(rng.integers(slots))
        table.leave(slot)
        sitting.pop(slot, None)
        if rng.integers(3):
            prompt = sitting[slot] = list(prompts)[rng.integers(len(prompts))]
            written |= {page: (prompt, column) for column, page in table.sit(slot, prompt, prompts[prompt])}
        if not rng.integers(20):
            moved, there = SeatTable(slots, most, columns), rng.permutation(slots).tolist()
            pages = moved.adopt(table, {slot: there[slot] for slot in sitting})
            table, written = moved, {here: written[old] for old, here in pages}
            sitting = {there[slot]: prompt for slot, prompt in sitting.items()}
        seats, places = table.arrays(), set()
        for slot, prompt in sitting.items():
            for i, place in enumerate(seats.table[slot, : prompts[prompt]].tolist()):
                page, seat = divmod(place, SEATS)
                assert written[page] == (prompt, i * columns)
                assert (seats.reader[page, seat], seats.start[page]) == (slot, i * columns)
                places.add(place)
        assert len(places) == sum(prompts[prompt] for prompt in sitting.values())
        assert (seats.start != NOBODY).sum() == len({place // SEATS for place in places})
        assert table.count <= slots * most


def test_samples_of_a_prompt_share_its_pages():
    made = engine(slots=64, prompt_columns=256, max_tokens=32)
    made.submit("a", SYSTEM, samples=32, options=SamplingOptions(banned=ENDS))
    made.step()
    bank = made._banks[0]
    whole = len(SYSTEM) // PAGE
    assert bank.pages.count == 32  # A page a slot: what is left of the prompt, and what is written.
    assert bank.pages._first.tolist() == [whole * PAGE] * 32
    assert len(bank.seats._tables) == 32 // SEATS
    assert (bank.seats.arrays().start != NOBODY).sum() == whole * 32 // SEATS
    made.cancel("a")
    assert not bank.seats._tables
    assert (bank.seats.arrays().start == NOBODY).all()
    assert not bank.pages._first.any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_that_move_to_another_bank_keep_their_bits(dtype, monkeypatch):
    """With prompts that are shared and such that are not, bans and forced tokens."""
    rng = np.random.default_rng(9)
    prompts = [rng.integers(2, 258, n).tolist() for n in (40, 64, 100, 7)]

    def sample():
        made = engine(dtype=dtype, slots=64, prompt_columns=128, max_tokens=200)
        for i in range(16):
            limit = 200 if i in (3, 13) else 150 if i % 2 else 20 + i
            options = SamplingOptions(max_tokens=limit, banned=(*ENDS, 7), forced=(5, 6), temperature=0.7 + i / 50)
            made.submit(i, prompts[i % 4], samples=(6, 2, 4, 4)[i % 4], options=options, index=i)
        done = {}
        while not made.idle:
            done.update(made.step())
        return done

    calls = []
    for name in ("take_over", "shrink", "_arrange"):
        method = getattr(Bank, name)
        monkeypatch.setattr(Bank, name, lambda *x, name=name, method=method: calls.append(name) or method(*x))
    gathered = sample()
    assert calls.count("take_over") == 1
    assert calls.count("_arrange") > 1  # A cache shrank, too.
    calls.clear()
    monkeypatch.setattr("policy.engine.WORTH_MOVING", 1000)
    apart = sample()
    assert not calls
    assert_same(apart, gathered)


def test_slots_that_are_all_full_come_to_their_end():
    """More than four fifths of all pages that there may be are in use."""
    made = engine(prompt_columns=4 * PAGE, max_tokens=2 * PAGE)
    for i in range(8):
        options = SamplingOptions(banned=ENDS)
        made.submit(i, RNG.integers(2, 258, 4 * PAGE).tolist(), options=options, index=i)
    done = {}
    while not made.idle:
        done.update(made.step())
    assert made._banks[0].pages.count == 8 * 6
    assert all(len(c.tokens) == 2 * PAGE for (c,) in done.values())


def test_what_bad_parameters_leave_behind_is_not_read():
    made = engine(prompt_columns=4 * PAGE, max_tokens=2 * PAGE)
    good = versioned(CONFIG, 3, 0, "float32")
    bad = Versioned(4, jax.tree.map(lambda p: np.full_like(p, np.nan), good.params))
    for samples in (1, SEATS):
        made.load(bad)
        made.submit("a", SYSTEM[: 4 * PAGE], samples=samples)
        with pytest.raises(FloatingPointError):
            made.step()
        made.cancel("a")
    made.load(good)
    made.submit("a", SYSTEM[: 2 * PAGE], samples=SEATS)
    made.submit("b", SYSTEM[: 4 * PAGE])
    done = {}
    while not made.idle:
        done.update(made.step())
    assert done.keys() == {"a", "b"}


def test_a_new_version_begins_with_as_many_pages_as_the_last_one_needed():
    made = engine(prompt_columns=4 * PAGE, max_tokens=2 * PAGE)
    (bank,) = made._banks
    for version, samples, pages in ((4, 3, 24), (5, 8, 8), (6, 1, 16)):  # 3 x 5 and 5 first pages, 8, 5 and 7.
        made.submit("a", SYSTEM[: 4 * PAGE], samples=samples)
        made.step()
        assert (len(bank.shared) > 0) == (samples == 8)
        made.cancel("a")
        made.load(versioned(CONFIG, version, 0, "float32"))
        assert (bank.pages.count, len(bank.cache[0][0]), bank.seats.count, bank.shared) == (pages, pages, 0, ())


WINDOWED = dataclasses.replace(CONFIG, window=40, local_layers=(0,), rope_theta=20_000.0, attention_cap=5.0)


@pytest.mark.parametrize("config", [CONFIG, WINDOWED], ids=["whole", "windowed"])
def test_engine_and_learner_agree_over_many_pages(config):
    made = roomy(engine(config, prompt_columns=700, max_tokens=80))
    policy = make_policy(config, "float32")
    forward = jax.jit(lambda params, *row: policy.head(params, policy.hidden(params, *row)))
    for length, samples in ((PAGE - 1, 1), (5 * PAGE + 9, 1), (5 * PAGE + 9, SEATS), (6 * PAGE, SEATS + 2)):
        prompt = SYSTEM + (SYSTEM * 4)[: length - len(SYSTEM)] if length > len(SYSTEM) else SYSTEM[:length]
        made.submit(0, prompt, samples=samples)
        done = {}
        while not made.idle:
            done.update(made.step())
        assert bool(made._banks[0].seats.count) == (samples > 1)
        c = done[0][-1]
        tokens = np.concatenate([c.prompt, c.tokens])
        row = np.zeros((1, 768), np.int32)
        row[0, : len(tokens)] = tokens
        segment, position = (np.arange(768) < len(tokens)).astype(np.int32)[None], np.arange(768, dtype=np.int32)[None]
        logits = forward(load(config), row, segment, segment, position, key_tiles(segment, segment))
        logprobs = np.asarray(jax.nn.log_softmax(logits, axis=0))
        theirs = logprobs[c.tokens, np.arange(length - 1, len(tokens) - 1)]
        assert np.abs(c.policy_logprobs - theirs).max() < 1e-4
