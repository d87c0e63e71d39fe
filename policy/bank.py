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

from policy.cache import Cache, KeysValues, empty_cache
from policy.memory import PAGE, Layout
from policy.pages import PageTable, SeatTable
from policy.programs import FIRST, Programs
from policy.requests import SamplingOptions, put_law
from policy.sampling import Law, Sampled, plain_law
from policy.types import Params, TransformerConfig

T = TypeVar("T")


class Start(NamedTuple):
    """A completion that begins."""

    slot: int  # Of the bank.
    place: int  # Of its prompt in the blocks, counted over all.
    prompt: np.ndarray  # int32 [P]
    shares: bool  # Whether it reads the whole pages of its prompt together with others.
    names: tuple[int, int, int, int]  # seed, stream, index, sample: of its random key.
    options: SamplingOptions


class _Copy(NamedTuple):
    """Columns of a prompt that become a page of a bank."""

    slot: int
    place: int  # Of the prompt in the blocks.
    column: int  # The first.


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
          [D, N], of the last token of each prompt, in the dtype of products.
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
      pages, cache: of each slot's own columns.
      seats, shared: pages of prompts that several slots read.
    """

    def __init__(self, config: TransformerConfig, programs: Programs, at: Layout):
        self._config, self._programs, self._at = config, programs, at
        self.token = np.zeros(at.width, np.int32)
        self.position = np.zeros(at.width, np.int32)
        self._keys = np.zeros((at.width, 2), np.uint32)
        self.law = plain_law(at.width, config.vocab_size)
        self._banned = jnp.array(self.law.banned)  # On the device; a copy.
        self._most = at.width * at.pages  # Pages of both caches: what `engine_memory` counts.
        self.pages, self.seats = self._table(0), self._no_seats()
        self.empty()

    def empty(self) -> None:
        """Makes a new cache, as large as the last one had to be: the next one most likely needs as much."""
        self.pages, self.seats = self._table(self.pages.peak), self._no_seats()
        self.cache: Cache = ()  # The old one goes before the new one comes.
        self.shared: Cache = ()
        self.cache = empty_cache(self._config, self.pages.count, PAGE)

    def _table(self, count: int) -> PageTable:
        return PageTable(self._at.width, self._at.pages, PAGE, count)

    def _no_seats(self) -> SeatTable:
        return SeatTable(self._at.width, self._at.pages, PAGE)

    def start(self, starts: Sequence[Start], keys: np.ndarray, blocks: Sequence[Block]) -> None:
        """Takes completions into free slots.

        Args:
          keys: uint32 [starts, 2], their random keys.
          blocks: that hold the prompts, which are copied.
        """
        own: list[_Copy] = []
        shared: list[_Copy] = []
        for start, key in zip(starts, keys, strict=True):
            slot, columns = start.slot, len(start.prompt)
            self.position[slot], self._keys[slot] = columns, key
            self.set_law(slot, start.options)
            whole = columns // PAGE if start.shares else 0
            if whole:
                new = self.seats.sit(slot, start.prompt.tobytes(), whole)
                shared += [_Copy(slot, start.place, column) for column, _ in new]
            self.pages.begin(slot, whole * PAGE)
            self._reach({slot: columns - 1})
            own += [_Copy(slot, start.place, column) for column in range(whole * PAGE, columns, PAGE)]
        self._fit()  # Which may number the pages anew.
        self.cache = self._copied(self.cache, self.pages, own, blocks)
        self.shared = self._copied(self.shared, self.seats, shared, blocks)

    def _copied(
        self, cache: Cache, table: PageTable | SeatTable, copies: Sequence[_Copy], blocks: Sequence[Block]
    ) -> Cache:
        b, w, n = self._at.width, self._at.chunk, self._at.rows
        for i, block in enumerate(blocks):
            mine = [  # As `copy_pages` takes them.
                (table.page(copy.slot, copy.column), copy.column // w * n + copy.place % n, copy.column % w)
                for copy in copies
                if copy.place // n == i
            ]
            for some in (mine[j : j + b] for j in range(0, len(mine), b)):
                arrays = np.zeros((3, b), np.int32)
                arrays[:, : len(some)] = np.array(some).T
                cache = _call(self._programs.copy, cache, block.cache, len(some), *arrays)
        return cache

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
            self.pages.arrays(), self.seats.arrays(), self.cache, self.shared,
        )  # fmt: skip
        # Before its inputs change: on a CPU the computation may read them in place.
        return jax.device_get((steps, sampled))

    def reach(self, columns: Mapping[int, int]) -> None:
        """Gives slots the pages up to a column each."""
        self._reach(columns)
        self._fit()

    def _reach(self, columns: Mapping[int, int]) -> None:
        for slot, column in columns.items():
            self.pages.reach(slot, column)

    def _fit(self) -> None:
        """Makes the caches as large as their tables say, which may take no more than all slots at their longest."""
        if self.pages.count + self.seats.count > self._most:
            self._arrange(self._fewer(), self, {})
        if self.seats.count and not self.shared:
            self.shared = empty_cache(self._config, self.seats.count, PAGE)
        layers, self.cache = list(self.cache), ()
        self.cache = self._grown(layers, self.pages.count)
        layers, self.shared = list(self.shared), ()
        self.shared = self._grown(layers, self.seats.count)

    def _grown(self, layers: list[KeysValues], count: int) -> Cache:
        for i, (k, v) in enumerate(layers):  # One after the other, so that only one is there twice.
            if len(k) < count:
                layers[i] = _call(self._programs.grow, k, count), _call(self._programs.grow, v, count)
        return tuple(layers)

    def take_over(self, other: Bank, slots: Mapping[int, int]) -> None:
        """Takes slots of another bank.

        Args:
          slots: of the other bank, which is empty then, and free ones here.
        """
        for there, here in slots.items():
            for mine, theirs in ((self.token, other.token), (self.position, other.position), (self._keys, other._keys)):
                mine[here] = theirs[there]
            for mine, theirs in zip(self.law, other.law, strict=True):
                mine[..., here] = theirs[..., there]
        if any(other.law.banned[:, there].any() for there in slots):
            self._banned = jnp.array(self.law.banned)
        self._arrange(self.pages.count, other, slots)
        for there in slots:
            other.free(there)
        other.empty()

    def shrink(self) -> None:
        """Gives back pages, where a third of them, or of those of prompts, is free beside some to grow into."""
        fewer = self._fewer()
        count = fewer if 3 * fewer <= 2 * self.pages.count else self.pages.count
        if count < self.pages.count or 3 * self.seats.needed <= 2 * self.seats.count > 0:
            self._arrange(count, self, {})

    def _fewer(self) -> int:
        """Pages for what slots have, and some to grow into."""
        return self._table(self.pages.used * 5 // 4).count

    def _arrange(self, count: int, other: Bank, slots: Mapping[int, int]) -> None:
        """Makes a cache of `count` pages, or more where they do not suffice, of what slots here and there have."""
        pages, seats = self._table(count), self._no_seats()
        kept = {slot: slot for slot in range(self._at.width)}
        own = pages.adopt(self.pages, kept), pages.adopt(other.pages, slots)
        shared = seats.adopt(self.seats, kept), seats.adopt(other.seats, slots)
        if pages.count + seats.count > self._most:
            seats.trim(self._most - pages.used)
            pages.trim(self._most - seats.count)
        layers, self.cache = list(self.cache), ()
        self.cache = self._arranged(layers, other.cache, pages.count, *own)
        layers, self.shared = list(self.shared), ()
        self.shared = self._arranged(layers, other.shared, seats.count, *shared)
        self.pages, self.seats = pages, seats

    def _arranged(
        self,
        layers: list[KeysValues],
        other: Cache,
        count: int,
        mine: list[tuple[int, int]],
        theirs: list[tuple[int, int]],
    ) -> Cache:
        """A cache of pages of these layers and of another cache's: (page there, page of the new one) of each."""
        layers = layers or list(other)
        if not count or not layers:
            return ()
        page, own = np.zeros(count, np.int32), np.ones(count, bool)
        for there, here in mine:
            if there < len(layers[0][0]):  # Else it is new, and nothing is in it.
                page[here] = there
        for there, here in theirs:
            page[here], own[here] = there, False
        for i in range(len(layers)):  # One after the other, so that only one is there twice.
            pair = zip(layers[i], other[i] if theirs else layers[i], strict=True)
            layers[i] = tuple(_call(self._programs.arrange, x, y, page, own) for x, y in pair)  # type: ignore[assignment]
        return tuple(layers)

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
        self.seats.leave(slot)
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
        """What the calls return, in their order; all have ended when it returns, or raises what one of them raised."""
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
      hidden: [D, N], of the prompts.

    Returns:
      Their random keys, uint32 [FIRST, 2], and what was sampled, [FIRST] each, on the host.
    """
    law = plain_law(FIRST, config.vocab_size)
    source, position, names = np.zeros(FIRST, np.int32), np.zeros(FIRST, np.int32), np.zeros((4, FIRST), np.uint32)
    for i, start in enumerate(starts):
        source[i], position[i], names[:, i] = start.place, len(start.prompt), start.names
        put_law(law, i, start.options, config.vocab_size)
    return jax.device_get(_call(programs.first, params, hidden, source, names, position, law))


def _call(program: Callable[..., Any], *inputs: Any) -> Any:
    """Dispatches a compiled function."""
    with _ONE:
        return program(*inputs)


_ONE = threading.Lock()  # Two threads would compile a new shape twice. What is dispatched computes on without it.
_GREEDY = SamplingOptions(temperature=0)
