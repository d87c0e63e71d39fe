"""Banks of slots, and blocks of prompts: what is computed in one dispatch, and what the device keeps of it.

On a CPU most operations of a step are too small for several cores: banks that compute at the same time, each in a
thread, keep two cores busy where one large bank keeps little more than one. All banks have one shape, so that a row's
bits do not depend on the bank that it is in; and so have all blocks.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from policy.cache import Cache, empty_cache
from policy.memory import PAGE, Layout
from policy.pages import PageTable
from policy.programs import FIRST, Programs
from policy.requests import SamplingOptions, put_law
from policy.sampling import Law, Sampled, plain_law
from policy.types import Params, TransformerConfig

T = TypeVar("T")


class Start(NamedTuple):
    """A completion that begins."""

    slot: int  # Of the bank.
    place: int  # Of its prompt in the blocks, counted over all.
    columns: int  # Of its prompt.
    names: tuple[int, int, int, int]  # seed, stream, index, sample: of its random key.
    options: SamplingOptions


class Block:
    """Prompts that are computed together."""

    def __init__(self, config: TransformerConfig, programs: Programs, at: Layout, pad: int):
        """
        Args:
          pad: the token that fills up a chunk.
        """
        self._programs, self._at, self._pad = programs, at, pad
        self.cache = empty_cache(config, at.rows * at.chunks, at.chunk)  # Chunk i of row b is its page i * rows + b.

    def compute(self, params: Params, prompts: Sequence[np.ndarray], known: Sequence[Sequence[Cache]]) -> jax.Array:
        """Computes at most as many prompts as the block has rows, a chunk of each at a time.

        Args:
          prompts: int32 [P] each.
          known: the first chunks of each prompt, where they are kept. One that is done computes its last chunk again.

        Returns:
          float32 [D, N], of the last token of each prompt.
        """
        n, w = self._at.rows, self._at.chunk
        at, final = np.zeros((2, n), np.int32)  # Chunks.
        for row, prompt in enumerate(prompts):
            for i, chunk in enumerate(known[row]):
                to = np.array([i * n + row], np.int32)
                self.cache = _call(self._programs.copy, self.cache, chunk, 1, to, *np.zeros((2, 1), np.int32))
            at[row], final[row] = len(known[row]), (len(prompt) - 1) // w
        for _ in range(int((final - at).max()) + 1):
            tokens, last = np.full((n, w), self._pad, np.int32), np.zeros(n, np.int32)
            for row, prompt in enumerate(prompts):
                chunk = prompt[at[row] * w : (at[row] + 1) * w]
                tokens[row, : len(chunk)], last[row] = chunk, len(chunk) - 1
            hidden, self.cache = _call(self._programs.prefill, params, tokens, at * w, last, self.cache)
            at = np.minimum(at + 1, final)
        return jax.block_until_ready(hidden)

    def chunk(self, row: int, i: int) -> Cache:
        """A copy of chunk i of a row."""
        return _call(self._programs.take, self.cache, i * self._at.rows + row)


class Bank:
    """Slots that decode together.

    Attributes:
      token, position: int32 [B], that are to be decoded.
      pages: whose pages of the cache are whose.
      cache: of the bank's slots.
    """

    def __init__(self, config: TransformerConfig, programs: Programs, at: Layout):
        self._config, self._programs, self._at = config, programs, at
        self.token = np.zeros(at.width, np.int32)
        self.position = np.zeros(at.width, np.int32)
        self._keys = np.zeros((at.width, 2), np.uint32)
        self.law = plain_law(at.width, config.vocab_size)
        self._banned = jnp.array(self.law.banned)  # On the device; a copy.
        self.empty()

    def empty(self) -> None:
        """Makes a cache with a page a slot."""
        self.pages = PageTable(self._at.width, self._at.pages, PAGE)
        self.cache: Cache = ()  # The old one goes before the new one comes.
        self.cache = empty_cache(self._config, self._at.width, PAGE)

    def start(self, starts: Sequence[Start], keys: np.ndarray, blocks: Sequence[Block]) -> None:
        """Takes completions into free slots.

        Args:
          keys: uint32 [starts, 2], their random keys.
          blocks: that hold the prompts, which are copied.
        """
        b, w = self._at.width, self._at.chunk
        for start, key in zip(starts, keys, strict=True):
            self.position[start.slot], self._keys[start.slot] = start.columns, key
            self.set_law(start.slot, start.options)
        self.reach({start.slot: start.columns - 1 for start in starts})
        for i, block in enumerate(blocks):
            copies: list[tuple[int, int, int]] = []  # As `copy_pages` takes them.
            for start in starts:
                of, row = divmod(start.place, self._at.rows)
                if of == i:
                    copies += [
                        (self.pages.page(start.slot, column), column // w * self._at.rows + row, column % w)
                        for column in range(0, start.columns, PAGE)
                    ]
            for some in (copies[j : j + b] for j in range(0, len(copies), b)):
                arrays = np.zeros((3, b), np.int32)
                arrays[:, : len(some)] = np.array(some).T
                self.cache = _call(self._programs.copy, self.cache, block.cache, len(some), *arrays)

    def decode(self, params: Params, left: np.ndarray, used: Sequence[int], ends: jax.Array) -> tuple[int, Sampled]:
        """Decodes tokens of each slot.

        Args:
          left: int32 [B], how many at most.
          used: the slots that hold a completion, whether they decode or not.
          ends: int32 [X], tokens after which a slot decodes no more.

        Returns:
          How many steps, and what was sampled in each, [STEPS, B] each, on the host.
        """
        last = self.position + np.maximum(left - 1, 0)
        self.reach({slot: int(last[slot]) for slot in used})
        steps, sampled, self.cache = _call(
            self._programs.decode, params, self.token, self.position, left, ends, self._keys, self._device_law(),
            self.pages.arrays(), self.cache,
        )  # fmt: skip
        # Before its inputs change: on a CPU the computation may read them in place.
        return jax.device_get((steps, sampled))

    def reach(self, columns: Mapping[int, int]) -> None:
        """Gives slots the pages up to a column each."""
        before = self.pages.count
        for slot, column in columns.items():
            self.pages.reach(slot, column)
        if self.pages.count > before:
            cache, self.cache = list(self.cache), ()
            for i in range(len(cache)):  # One after the other, so that only one is there twice.
                k, v = cache[i]
                cache[i] = tuple(_call(self._programs.grow, x, self.pages.count) for x in (k, v))
            self.cache = tuple(cache)

    def take_over(self, other: Bank, slots: Mapping[int, int], used: Sequence[int]) -> None:
        """Takes slots of another bank.

        Args:
          slots: of the other bank, which is empty then, and free ones here.
          used: slots here that hold a completion.
        """
        for there, here in slots.items():
            for mine, theirs in ((self.token, other.token), (self.position, other.position), (self._keys, other._keys)):
                mine[here] = theirs[there]
            for mine, theirs in zip(self.law, other.law, strict=True):
                mine[..., here] = theirs[..., there]
        if any(other.law.banned[:, there].any() for there in slots):
            self._banned = jnp.array(self.law.banned)
        self._arrange(self.pages.count, used, other, slots)
        for there in slots:
            other.free(there)
        other.empty()

    def shrink(self, used: Sequence[int]) -> None:
        """Gives back pages, where a third of them and more is free beside some to grow into.

        Args:
          used: the slots that hold a completion.
        """
        fewer = PageTable(self._at.width, self._at.pages, PAGE, self.pages.used * 5 // 4).count
        if 3 * fewer <= 2 * self.pages.count:
            self._arrange(fewer, used, self, {})

    def _arrange(self, count: int, used: Sequence[int], other: Bank, slots: Mapping[int, int]) -> None:
        """Makes a cache of `count` pages, or more where they do not suffice, of what slots here and there have."""
        pages = PageTable(self._at.width, self._at.pages, PAGE, count)
        mine, theirs = pages.adopt(self.pages, {slot: slot for slot in used}), pages.adopt(other.pages, slots)
        page, own = np.zeros(pages.count, np.int32), np.ones(pages.count, bool)
        for there, here in mine + theirs:
            page[here] = there
        own[[here for _, here in theirs]] = False
        cache, self.cache = list(self.cache), ()
        for i in range(len(cache)):  # One after the other, so that only one is there twice.
            pair = zip(cache[i], other.cache[i] if theirs else cache[i], strict=True)
            cache[i] = tuple(_call(self._programs.arrange, x, y, page, own) for x, y in pair)
        self.cache, self.pages = tuple(cache), pages

    def set_law(self, slot: int, options: SamplingOptions) -> None:
        """How a slot samples from now on."""
        banned = options.banned or self.law.banned[:, slot].any()
        put_law(self.law, slot, options, self._config.vocab_size)
        if banned:
            self._banned = jnp.array(self.law.banned)

    def free(self, slot: int) -> None:
        """Takes back what a slot has."""
        self.position[slot] = 0
        self.pages.free(slot)
        self.set_law(slot, _GREEDY)  # Which costs nothing.

    def _device_law(self) -> Law:
        return self.law._replace(banned=self._banned)


class Crew:
    """Threads in which banks, or blocks, compute at the same time.

    XLA:CPU computes what one thread has dispatched one after the other.
    """

    def __init__(self, most: int):
        """
        Args:
          most: calls at once.
        """
        count = min(most, os.cpu_count() or 1)
        self._threads = concurrent.futures.ThreadPoolExecutor(count, "bank") if count > 1 else None

    def all(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """What the calls return, in their order; none is under way any more when it returns or raises."""
        if self._threads is None or len(calls) == 1:
            return [call() for call in calls]
        futures = [self._threads.submit(call) for call in calls]
        concurrent.futures.wait(futures)
        return [future.result() for future in futures]


def first_tokens(
    config: TransformerConfig,
    programs: Programs,
    params: Params,
    hidden: jax.Array,
    starts: Sequence[Start],
) -> tuple[np.ndarray, Sampled]:
    """Samples the first tokens of at most FIRST completions.

    Args:
      hidden: float32 [D, N], of the prompts.

    Returns:
      Their random keys, uint32 [FIRST, 2], and what was sampled, [FIRST] each, on the host.
    """
    law = plain_law(FIRST, config.vocab_size)
    source, position, names = np.zeros(FIRST, np.int32), np.zeros(FIRST, np.int32), np.zeros((4, FIRST), np.uint32)
    for i, start in enumerate(starts):
        source[i], position[i], names[:, i] = start.place, start.columns, start.names
        put_law(law, i, start.options, config.vocab_size)
    return jax.device_get(_call(programs.first, params, hidden, source, names, position, law))


def _call(program: Callable[..., Any], *inputs: Any) -> Any:
    """Dispatches a compiled function."""
    with _ONE:
        return program(*inputs)


_ONE = threading.Lock()  # Two threads would compile a new shape twice. What is dispatched computes on without it.
_GREEDY = SamplingOptions(temperature=0)
