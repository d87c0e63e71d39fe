"""What the engine takes of a device's memory, computed from shapes alone."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax

from policy.experts import most_tiles, tile_columns
from policy.programs import FIRST
from policy.sampling import BLOCK, GROUP, NEAR
from policy.sizes import ROWS, multiple
from policy.transformer import engine_shapes
from policy.types import TransformerConfig

BANK = 32  # Slots of a bank on a CPU, at least; half, where there are two. To read the weights for fewer costs more.
PREFILL_ROWS = 8  # Prompts that are computed at once, at most.
CHUNK = 64  # Columns of a prompt that are computed together.
PAGE = 32  # Columns of a page of the cache. All lengths are multiples of it.
PREFIX_BYTES = 2**28  # Of chunks of prompts that are kept.


class Layout(NamedTuple):
    """The sizes of an engine, from what its caller asked for."""

    banks: int  # Of slots that decode together.
    width: int  # Slots of a bank.
    blocks: int  # Of prompts that are computed together.
    rows: int  # Prompts of a block: no more than slots were asked for.
    chunk: int  # Columns.
    chunks: int  # Of a prompt, at most.
    pages: int  # Of a slot, at most.

    @property
    def slots(self) -> int:
        """Of all banks."""
        return self.banks * self.width


def layout(*, slots: int, prompt_columns: int, max_tokens: int, dtype: str) -> Layout:
    """What an engine makes of the sizes that `policy.Engine` takes."""
    prompt = multiple(prompt_columns, PAGE)
    chunk = min(prompt, CHUNK)
    pages = multiple(prompt + max_tokens, PAGE) // PAGE
    rows = min(slots, PREFILL_ROWS)
    if slots > 1:
        slots = multiple(slots, ROWS)
    elif dtype == "bfloat16":  # A product of one column is a vector's for XLA:CPU, which then converts the weight.
        slots = 2
    banks = blocks = 1
    if jax.default_backend() == "cpu":  # Banks: as many as can be, all of one width.
        most = max(slots // BANK, min(2 * slots // BANK, 2), 1)
        banks = next(n for n in range(most, 0, -1) if n == 1 or slots % (n * ROWS) == 0)
        blocks = 2 if rows == PREFILL_ROWS else 1
    return Layout(banks, slots // banks, blocks, rows // blocks, chunk, -(-prompt // chunk), pages)


class EngineMemory(NamedTuple):
    """Bytes. Samples that share their prompt's pages take less."""

    token: int  # Of the cache, for one column of one slot.
    slot: int  # Of the cache, for a slot that is as long as can be.
    cache: int  # Where all slots are: it begins with a page a slot, and grows where they do not suffice.
    parameters: int
    peak: int  # All that is alive at once: parameters, cache, prompts, kept prefixes, and what a step computes.


def engine_memory(
    config: TransformerConfig,
    *,
    slots: int,
    prompt_columns: int,
    max_tokens: int,
    dtype: str,
    prefix_bytes: int = PREFIX_BYTES,
) -> EngineMemory:
    """The memory of an engine of these sizes, as `policy.Engine` takes them.

    Parameters are counted in the dtype of products, a bfloat16 embedding twice (`transformer.from_host`).
    """
    c, size = config, 2 if dtype == "bfloat16" else 4
    at = layout(slots=slots, prompt_columns=prompt_columns, max_tokens=max_tokens, dtype=dtype)
    token = 2 * 4 * c.num_layers * c.num_kv_heads * c.head_dim
    slot = token * PAGE * at.pages
    parameters = _parameters(c, dtype)
    prompts = at.blocks * at.rows * at.chunks * at.chunk * token
    kept = prefix_bytes // (at.chunk * token) * at.chunk * token if prompt_columns > at.chunk else 0

    n = at.blocks * at.rows * at.chunk  # Columns of a chunk of prompts.
    qkv = 4 * n * (c.num_heads + 2 * c.num_kv_heads) * c.head_dim
    attention = 2 * (4 * n * c.num_heads * at.chunk + qkv)  # Scores and their exponentials; before and after rotation.
    dense = not all(map(c.has_experts, range(c.num_layers)))
    mlp = 3 * 4 * n * c.mlp_width * dense
    prefill = max(attention, mlp, at.blocks * _mixture(c, size, at.rows * at.chunk)) + 4 * n * c.width
    heads = 4 * at.slots * at.pages * c.num_heads  # Of all pages.
    pages = 4 * at.slots * c.vocab_size + heads * (2 * PAGE + 3 * c.head_dim)
    decode = max(_draw(c, at.slots), pages, at.banks * _mixture(c, size, at.width))
    bans = at.slots * multiple(c.vocab_size, BLOCK)
    peak = parameters + slot * at.slots + prompts + kept + max(prefill, decode, at.blocks * _draw(c, FIRST)) + bans
    return EngineMemory(token, slot, slot * at.slots, parameters, peak)


def _mixture(config: TransformerConfig, size: int, columns: int) -> int:
    """The bytes of what a layer with experts computes: columns in tiles, and as many again turned to be gathered."""
    c, k = config, config.experts_per_token
    if not c.num_experts:
        return 0
    q = tile_columns(columns, k, c.num_experts)
    places = most_tiles(columns, k, c.num_experts, q) * q
    return c.width * (places * (2 * size + 3 * 4) + 2 * 4 * columns)


def _draw(config: TransformerConfig, rows: int) -> int:
    """The bytes of logits and of what is computed to sample from them."""
    logits = 4 * rows * multiple(config.vocab_size, BLOCK)
    near = 4 * rows * min(multiple(config.vocab_size, BLOCK), NEAR * GROUP)  # Logits in the search for a cut.
    return 3 * logits + 2 * near


def slots_that_fit(
    config: TransformerConfig,
    budget: int,
    *,
    prompt_columns: int,
    max_tokens: int,
    dtype: str,
    prefix_bytes: int = PREFIX_BYTES,
) -> int:
    """The most slots of an engine whose peak is at most `budget` bytes, a multiple of 8; 0 where none fit."""

    def peak(slots: int) -> int:
        return engine_memory(
            config,
            slots=slots,
            prompt_columns=prompt_columns,
            max_tokens=max_tokens,
            dtype=dtype,
            prefix_bytes=prefix_bytes,
        ).peak

    if peak(ROWS) > budget:
        return 0
    low, high = 1, 2  # In eights. `low` fits.
    while peak(high * ROWS) <= budget:
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if peak(middle * ROWS) <= budget else (low, middle)
    return low * ROWS


@functools.cache
def _parameters(config: TransformerConfig, dtype: str) -> int:
    """The bytes of what `transformer.from_host` gives."""
    again = 2 * config.vocab_size * config.width if dtype == "bfloat16" else 0
    leaves = jax.tree.leaves(engine_shapes(config, dtype))
    return again + sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
