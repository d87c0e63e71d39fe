"""The engine's memory is what is computed, and its compiled programs convert no weight and copy no cache."""

import dataclasses
import itertools
import re
import weakref

import families
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from test_engine import assert_same_bits

from policy import ByteTokenizer, Engine, SamplingOptions, TransformerConfig, make_policy
from policy.cache import SEATS, empty_cache
from policy.memory import PAGE, PREFILL_ROWS, engine_memory, layout, slots_that_fit
from policy.pages import PageTable, SeatTable
from policy.programs import FIRST, programs
from policy.sampling import plain_law
from policy.transformer import engine_params, engine_shapes, from_host, to_host
from policy.types import Model

SHAPE = TransformerConfig(
    vocab_size=5120, width=160, num_layers=3, num_heads=3, num_kv_heads=1, head_dim=64, mlp_width=448, context=2048
)
EXPERTS = dataclasses.replace(SHAPE, num_experts=6, experts_per_token=2, expert_width=352)


def compile_all(config, dtype, *, together=0, **sizes):
    """Compiled: a decode step of a bank with all its pages, a chunk of a block of prompts, first tokens; and the
    bytes of the parameters. Each SEATS slots of the bank read `together` pages of a prompt together."""
    params = from_host(to_host(engine_params(make_policy(config).init(jax.random.key(0)), jnp.dtype(dtype))))
    shape = jax.ShapeDtypeStruct
    at = layout(dtype=dtype, **sizes)
    slots, n = shape((at.width,), np.int32), shape((at.rows,), np.int32)
    functions = programs(config, dtype)
    pages, seats = PageTable(at.width, at.pages, PAGE), SeatTable(at.width, at.pages, PAGE)
    for slot in range(at.width):
        if together:
            seats.sit(slot, bytes([slot // SEATS]), together)
        pages.begin(slot, together * PAGE)
        pages.reach(slot, at.pages * PAGE - 1)
    assert pages.count == at.width * (at.pages - together)
    cache = jax.eval_shape(lambda: empty_cache(config, pages.count, PAGE))
    shared = jax.eval_shape(lambda: empty_cache(config, seats.count, PAGE)) if together else ()
    law, keys = plain_law(at.width, config.vocab_size), shape((at.width, 2), np.uint32)
    ends = shape((2,), np.int32)
    tables = pages.arrays(), seats.arrays()
    decode = functions.decode.lower(params, slots, slots, slots, ends, keys, law, *tables, cache, shared)
    eight, named = shape((FIRST,), np.int32), shape((4, FIRST), np.uint32)
    hidden = shape((config.width, at.blocks * at.rows), jnp.dtype(dtype))
    first = functions.first.lower(params, hidden, eight, named, eight, plain_law(FIRST, config.vocab_size))
    prompts = jax.eval_shape(lambda: empty_cache(config, at.rows * at.chunks, at.chunk))
    prefill = functions.prefill.lower(params, shape((at.rows, at.chunk), np.int32), n, n, prompts)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    return decode.compile(), prefill.compile(), first.compile(), size


@pytest.mark.parametrize(
    ("config", "dtype", "slots", "prompt", "more"),
    [
        (SHAPE, "float32", 64, 64, 64),
        (SHAPE, "bfloat16", 16, 256, 32),
        (SHAPE, "float32", 16, 64, 960),
        (SHAPE, "bfloat16", 64, 32, 32),
        (SHAPE, "float32", 1, 64, 64),
        (SHAPE, "bfloat16", 1, 64, 64),
        (EXPERTS, "float32", 16, 64, 64),
        (EXPERTS, "bfloat16", 64, 64, 64),
        (EXPERTS, "bfloat16", 16, 256, 32),
    ],
)
def test_memory_is_what_the_compiled_programs_take(config, dtype, slots, prompt, more):
    sizes = {"slots": slots, "prompt_columns": prompt, "max_tokens": more}
    decode, prefill, first, parameters = compile_all(config, dtype, **sizes)
    said = engine_memory(config, dtype=dtype, prefix_bytes=2**20, **sizes)
    assert said.parameters == parameters
    d, p, s = decode.memory_analysis(), prefill.memory_analysis(), first.memory_analysis()
    at = layout(dtype=dtype, **sizes)
    assert (at.banks, at.blocks) == {1: (1, 1), 16: (1, 2), 64: (2, 2)}[slots]
    assert said.cache == at.banks * d.alias_size_in_bytes
    kept = 2**20 // (64 * said.token) * 64 * said.token if prompt > 64 else 0
    bans = at.slots * SHAPE.vocab_size
    peak = parameters + said.cache + at.blocks * p.alias_size_in_bytes + kept + bans
    together = (at.banks, d), (at.blocks, p), (at.blocks, s)  # All banks may compute at once, or all blocks.
    temporary = [n * x.temp_size_in_bytes for n, x in together]
    logits = 4 * at.slots * SHAPE.vocab_size
    peak += max(temporary[0] + logits, temporary[1], temporary[2])
    assert abs(said.peak / peak - 1) < 0.1, (said, peak, temporary)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "qwen3-moe"])
def test_parameters_are_as_large_as_said(family, dtype):
    """Also where some stay in float32: routers, and positions that are learned."""
    tree = from_host(to_host(engine_params(families.params(family), jnp.dtype(dtype))))
    said = engine_memory(families.config(family), slots=8, prompt_columns=32, max_tokens=8, dtype=dtype)
    assert said.parameters == sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def test_the_cache_is_as_large_as_said():
    made = Engine(
        Model("m", SHAPE, ByteTokenizer(), lambda seed: {}), seed=0, slots=9, prompt_columns=33, max_tokens=40,
        dtype="float32",
    )  # fmt: skip
    said = engine_memory(SHAPE, slots=9, prompt_columns=33, max_tokens=40, dtype="float32")
    (bank,) = made._banks
    bank.reach(dict.fromkeys(range(16), 127))
    assert sum(x.nbytes for x in jax.tree.leaves(bank.cache)) == said.cache == 16 * said.slot
    assert said.slot == 128 * said.token  # 64 columns of the prompt, and 40, up to the next 32.
    assert said.token == 2 * 4 * 3 * 64


def test_the_cache_grows_to_what_was_said_and_no_further():
    made = Engine(
        Model("m", SHAPE, ByteTokenizer(), lambda seed: {}), seed=0, slots=8, prompt_columns=33, max_tokens=600,
        dtype="float32",
    )  # fmt: skip
    said = engine_memory(SHAPE, slots=8, prompt_columns=33, max_tokens=600, dtype="float32")
    (bank,) = made._banks
    for slot in range(8):
        bank.reach({slot: 663})  # 21 pages.
        pages, needed = sum(x.nbytes for x in jax.tree.leaves(bank.cache)) / (PAGE * said.token), 20 * slot + 28
        assert needed <= pages <= 1.25 * needed + 8
    assert pages * PAGE * said.token == said.cache


def until_idle(engine):
    finished = []
    while not engine.idle:
        finished += engine.step()
    return finished


def test_pages_of_slots_and_of_shared_prompts_together_stay_within_what_was_said():
    """Slots full of their own pages, then of prompts that are read together, and both, under one version and more."""
    rng = np.random.default_rng(0)
    sizes = {"slots": 8, "prompt_columns": 4 * PAGE, "max_tokens": PAGE, "dtype": "float32"}
    made, alone = (Engine(small.MODEL, seed=0, **sizes) for _ in range(2))
    said = engine_memory(small.CONFIG, **sizes).cache
    (bank,) = made._banks
    largest = 0
    for version in range(2):
        done, asked = {}, {}
        for i, samples in enumerate([1] * 8 + [SEATS] * 3 + [1, SEATS] * 5):
            prompt = rng.integers(2, 258, int(rng.integers(3 * PAGE, 4 * PAGE + 1))).tolist()
            asked[i] = prompt, samples, SamplingOptions(max_tokens=int(rng.integers(1, PAGE + 1)), banned=(0, 1))
        for engine in made, alone:
            engine.load(small.versioned(version))
        for i, (prompt, samples, options) in asked.items():
            made.submit(i, prompt, samples=samples, options=options, index=i)
        while not made.idle:
            done.update(made.step())
            size = sum(x.nbytes for x in jax.tree.leaves((bank.cache, bank.shared)))
            assert size <= said
            largest = max(largest, size)
        for i, (prompt, samples, options) in asked.items():
            alone.submit(i, prompt, samples=samples, options=options, index=i)
            ((_, completions),) = until_idle(alone)
            for one, other in zip(done[i], completions, strict=True):
                assert_same_bits(one, other)
    assert largest > 0.9 * said


@pytest.mark.parametrize(
    ("slots", "banks", "width"),
    [
        (1, 1, 1),
        (2, 1, 8),
        (9, 1, 16),
        (24, 1, 24),
        (32, 2, 16),
        (48, 2, 24),
        (56, 1, 56),
        (64, 2, 32),
        (72, 1, 72),
        (80, 2, 40),
        (128, 4, 32),
        (1000, 25, 40),
    ],
)
def test_slots_are_cut_into_banks_of_one_width(slots, banks, width):
    at = layout(slots=slots, prompt_columns=64, max_tokens=64, dtype="float32")
    assert (at.banks, at.width, at.slots) == (banks, width, banks * width)
    bfloat16 = layout(slots=slots, prompt_columns=64, max_tokens=64, dtype="bfloat16")
    assert bfloat16 == (at if slots > 1 else at._replace(width=2))


def test_no_chunk_is_kept_that_no_prompt_could_go_on_from():
    made = Engine(small.MODEL, seed=0, slots=8, prompt_columns=PAGE, max_tokens=2, dtype="float32")
    made.load(small.versioned(3))
    made.submit("a", [5] * PAGE)
    while not made.idle:
        made.step()
    assert made._prefixes.bytes == 0  # As `engine_memory` counts.


def test_old_parameters_go_before_new_ones_come(monkeypatch):
    """Two trees at once would be more than the peak that is said."""
    made = Engine(small.MODEL, seed=0, slots=8, prompt_columns=PAGE, max_tokens=2, dtype="float32")
    made.load(small.versioned(3))
    old = weakref.ref(made._params["embedding"]["w"])

    def watched(tree):
        assert old() is None
        return from_host(tree)

    monkeypatch.setattr("policy.engine.from_host", watched)
    made.load(small.versioned(4))
    assert made.version == 4


def test_the_slots_that_fit_fit():
    lengths = {"prompt_columns": 64, "max_tokens": 64, "dtype": "float32"}
    for slots in (8, 16, 72, 1000):
        peak = engine_memory(SHAPE, slots=slots, **lengths).peak
        assert slots_that_fit(SHAPE, peak, **lengths) == slots
        assert slots_that_fit(SHAPE, peak - 1, **lengths) == slots - 8


def weight_shapes(config, dtype):
    """Of all products."""
    leaves = jax.tree.leaves(engine_shapes(config, dtype))
    return {tuple(leaf.shape) for leaf in leaves if leaf.ndim >= 2 and leaf.dtype == dtype}


def made(text, dtype, shape, *operations):
    """Where a compiled program makes an array of a shape, its axes in any order, by one of the operations, or by any
    that computes or moves something."""
    alike = "|".join(re.escape(f"{dtype}[{','.join(map(str, axes))}]") for axes in itertools.permutations(shape))
    pattern = rf"= (?:{alike})\S* (?:{'|'.join(operations) or '[a-z]'})"
    return [line.strip() for line in text.splitlines() if re.search(pattern, line)]


def converted(text, weights):
    """Where a compiled program makes a float32 array of a weight's shape."""
    return [line for shape in weights for line in made(text, "f32", shape)]


MOVES = ("copy\\(", "convert\\(", "transpose\\(", "select\\(")


@pytest.mark.parametrize(("config", "together"), [(SHAPE, 0), (SHAPE, 3), (EXPERTS, 0)])
def test_bfloat16_programs_convert_no_weight_and_copy_no_cache(config, together):
    """Each of these costs two to six times the step, and comes back silently with a new compiler."""
    slots = 16
    sizes = {"slots": slots, "prompt_columns": 128, "max_tokens": 32}
    decode, prefill, *_ = compile_all(config, "bfloat16", together=together, **sizes)
    weights = weight_shapes(config, "bfloat16")
    for compiled in (decode, prefill):
        assert not converted(compiled.as_text(), weights)
        assert f"f32[{SHAPE.context}," not in compiled.as_text()  # A table of all positions of the model.
    for shape in weights:
        control = jax.jit(lambda x: x.astype(jnp.float32)).lower(jax.ShapeDtypeStruct(shape, jnp.bfloat16)).compile()
        assert converted(control.as_text(), {shape})  # The check sees what it is for.
    no_copy_of_a_cache(decode, prefill, slots, together)


@pytest.mark.parametrize(("config", "together"), [(SHAPE, 0), (SHAPE, 3), (EXPERTS, 0)])
def test_float32_programs_move_no_weight_and_copy_no_cache(config, together):
    slots = 16
    sizes = {"slots": slots, "prompt_columns": 128, "max_tokens": 32}
    decode, prefill, *_ = compile_all(config, "float32", together=together, **sizes)
    for compiled in (decode, prefill):
        for shape in weight_shapes(config, "float32"):
            assert not made(compiled.as_text(), "f32", shape, *MOVES)
    no_copy_of_a_cache(decode, prefill, slots, together)


def no_copy_of_a_cache(decode, prefill, slots, together):
    k, c = SHAPE.num_kv_heads, SHAPE.head_dim
    own, shared = (5 - together) * slots, together * slots // SEATS
    for compiled, n, columns in ((decode, own, PAGE), (decode, shared, PAGE), (prefill, PREFILL_ROWS, 64)):
        for shape in ((n, k, c, columns), (n, c, columns)):
            copies = made(compiled.as_text(), "f32", shape, *MOVES)
            assert not n or not copies, (shape, copies)
    for compiled, n, columns in ((decode, own, PAGE), (prefill, PREFILL_ROWS, 64)):
        assert compiled.memory_analysis().alias_size_in_bytes == n * columns * 2 * 4 * 3 * 64
