"""The engine's memory is what is computed, and its compiled programs convert no weight and copy no cache."""

import re
import weakref

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
from policy.transformer import engine_params, from_host
from policy.types import Model

SHAPE = TransformerConfig(
    vocab_size=5120, width=160, num_layers=3, num_heads=3, num_kv_heads=1, head_dim=64, mlp_width=448, context=2048
)


def compile_all(config, dtype, **sizes):
    """Compiled: a decode step of a bank with all its pages, a chunk of a block of prompts, first tokens; and the
    bytes of the parameters."""
    master = jax.eval_shape(make_policy(config).init, jax.random.key(0))
    params = dict(jax.eval_shape(lambda tree: engine_params(tree, jnp.dtype(dtype)), master))
    shape = jax.ShapeDtypeStruct
    if dtype == "bfloat16":
        params["rows"] = {"w": shape((config.vocab_size, config.width), np.uint16)}
    at = layout(dtype=dtype, **sizes)
    slots, n = shape((at.width,), np.int32), shape((at.rows,), np.int32)
    functions = programs(config, dtype)
    pages = PageTable(at.width, at.pages, PAGE)
    for slot in range(at.width):
        pages.reach(slot, at.pages * PAGE - 1)
    assert pages.count == at.width * at.pages
    cache = jax.eval_shape(lambda: empty_cache(config, pages.count, PAGE))
    law, keys = plain_law(at.width, config.vocab_size), shape((at.width, 2), np.uint32)
    ends = shape((2,), np.int32)
    nobody = SeatTable(at.width, at.pages, PAGE).arrays()
    decode = functions.decode.lower(params, slots, slots, slots, ends, keys, law, pages.arrays(), nobody, cache, ())
    eight, named = shape((FIRST,), np.int32), shape((4, FIRST), np.uint32)
    hidden = shape((config.width, at.blocks * at.rows), jnp.dtype(dtype))
    first = functions.first.lower(params, hidden, eight, named, eight, plain_law(FIRST, config.vocab_size))
    prompts = jax.eval_shape(lambda: empty_cache(config, at.rows * at.chunks, at.chunk))
    prefill = functions.prefill.lower(params, shape((at.rows, at.chunk), np.int32), n, n, prompts)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    return decode.compile(), prefill.compile(), first.compile(), size


@pytest.mark.parametrize(
    ("dtype", "slots", "prompt", "more"),
    [
        ("float32", 64, 64, 64),
        ("bfloat16", 16, 256, 32),
        ("float32", 16, 64, 960),
        ("bfloat16", 64, 32, 32),
        ("float32", 1, 64, 64),
        ("bfloat16", 1, 64, 64),
    ],
)
def test_memory_is_what_the_compiled_programs_take(dtype, slots, prompt, more):
    sizes = {"slots": slots, "prompt_columns": prompt, "max_tokens": more}
    decode, prefill, first, parameters = compile_all(SHAPE, dtype, **sizes)
    said = engine_memory(SHAPE, dtype=dtype, prefix_bytes=2**20, **sizes)
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


def converted(text, weights):
    """Where a compiled program makes a float32 array of a weight's shape."""
    shapes = [re.escape(f"f32[{a},{b}]") for m, n in weights for a, b in ((m, n), (n, m))]
    return [line.strip() for line in text.splitlines() for s in shapes if re.search(rf"= {s}\S* [a-z]", line)]


def test_bfloat16_programs_convert_no_weight_and_copy_no_cache():
    """Each of these costs two to six times the step, and comes back silently with a new compiler."""
    slots = 16
    decode, prefill, *_ = compile_all(SHAPE, "bfloat16", slots=slots, prompt_columns=128, max_tokens=32)
    master = jax.eval_shape(make_policy(SHAPE).init, jax.random.key(0))
    tree = jax.eval_shape(lambda tree: engine_params(tree, jnp.dtype("bfloat16")), master)
    weights = {tuple(leaf.shape) for leaf in jax.tree.leaves(tree) if leaf.ndim == 2}
    for compiled in (decode, prefill):
        assert not converted(compiled.as_text(), weights)
        assert f"f32[{SHAPE.context}," not in compiled.as_text()  # A table of all positions of the model.
    table = jax.ShapeDtypeStruct((SHAPE.vocab_size, SHAPE.width), jnp.bfloat16)
    control = jax.jit(lambda table: table.astype(jnp.float32)).lower(table).compile()
    assert converted(control.as_text(), weights)  # The check sees what it is for.
    k, c = SHAPE.num_kv_heads, SHAPE.head_dim
    for compiled, n, columns in ((decode, 5 * slots, PAGE), (prefill, PREFILL_ROWS, 64)):
        for shape in (f"f32[{n},{k},{c},{columns}]", f"f32[{n},{k},{columns},{c}]"):
            copies = re.findall(rf"= {re.escape(shape)}\S* (copy|convert|transpose|select)\(", compiled.as_text())
            assert not copies, (shape, copies)
        assert compiled.memory_analysis().alias_size_in_bytes == n * columns * 2 * 4 * 3 * 64
