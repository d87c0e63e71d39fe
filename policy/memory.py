"""What the engine takes of a device's memory, computed from shapes alone."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from policy.sampling import BLOCK
from policy.transformer import parameter_shapes
from policy.types import TransformerConfig

COLUMNS = 32  # Lengths are multiples of it.
ROWS = 8  # The number of slots, too: the rest of a vector is computed by other instructions, which round otherwise.
PREFILL_ROWS = 8  # Prompts that are computed together.


class EngineMemory(NamedTuple):
    """Bytes."""

    token: int  # Of the cache, for one column of one slot.
    slot: int  # Of the cache.
    cache: int
    parameters: int
    peak: int  # All that is alive at once: parameters, cache, a block of prompts, and what a step computes.


def engine_memory(
    config: TransformerConfig, *, slots: int, prompt_columns: int, max_tokens: int, dtype: str
) -> EngineMemory:
    """The memory of an engine of these sizes, as `policy.Engine` takes them.

    Parameters are counted in the dtype of products, a bfloat16 embedding twice (`transformer.from_host`). A layer with
    experts is counted as wide as the experts of one token.
    """
    c, size = config, 2 if dtype == "bfloat16" else 4
    slots, prompt = round_up(slots, ROWS), round_up(prompt_columns)
    token = 2 * 4 * c.num_layers * c.num_kv_heads * c.head_dim
    slot = token * round_up(prompt + max_tokens)
    parameters = sum(math.prod(shape) * (size if len(shape) > 1 else 4) for shape in _shapes(c))
    parameters += 2 * c.vocab_size * c.width if dtype == "bfloat16" else 0
    n = PREFILL_ROWS * prompt  # Columns of a block of prompts.
    block = n * (token + c.width * size)
    qkv = 4 * n * (c.num_heads + 2 * c.num_kv_heads) * c.head_dim
    attention = 2 * (4 * n * c.num_heads * prompt + qkv)  # Scores and probabilities; before and after rotation.
    mlp = 3 * 4 * n * max(c.mlp_width, c.experts_per_token * c.expert_width)
    logits = 4 * slots * round_up(c.vocab_size, BLOCK)
    steps = max(max(attention, mlp) + 4 * n * c.width, 3 * logits) + logits // 2
    return EngineMemory(token, slot, slot * slots, parameters, parameters + slot * slots + block + steps)


def slots_that_fit(config: TransformerConfig, budget: int, *, prompt_columns: int, max_tokens: int, dtype: str) -> int:
    """The most slots of an engine whose peak is at most `budget` bytes, a multiple of 8; 0 where none fit."""

    def peak(slots: int) -> int:
        sizes = {"prompt_columns": prompt_columns, "max_tokens": max_tokens, "dtype": dtype}
        return engine_memory(config, slots=slots, **sizes).peak

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
def _shapes(config: TransformerConfig) -> list[tuple[int, ...]]:
    return [shape for leaves in parameter_shapes(config).values() for shape in leaves.values()]


def round_up(n: int, multiple: int = COLUMNS) -> int:
    """The next multiple."""
    return -(-n // multiple) * multiple
