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
from policy.programs import Programs
from policy.requests import SamplingOptions
from policy.sampling import Law, Sampled, plain_law
from policy.types import Params, TransformerConfig

T = TypeVar("T")


class Start(NamedTuple):
    """A completion that begins."""

    slot: int  # Of the bank.
    place: int  # Of its prompt in the blocks, counted over all.
    columns: int  # Of its prompt.
    names: tuple[int, int, int, int]  # seed, stream, index, sample: its random key.
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

    def start(self, params: Params, starts: Sequence[Start], blocks: Sequence[Block], hidden: jax.Array) -> Sampled:
        """Takes completions into free slots, and samples the first token of each.

        Args:
          blocks: that hold their prompts.
          hidden: float32 [D, N], of the prompts of all blocks.

        Returns:
          Of all slots, [B] each, on the host.
        """
        b, w = self._at.width, self._at.chunk
        source, names = np.zeros(b, np.int32), np.zeros((4, b), np.uint32)
        for start in starts:
            source[start.slot], names[:, start.slot] = start.place, start.names
            self.position[start.slot] = start.columns
            self.set_law(start.slot, start.options)
        slots = [start.slot for start in starts]
        self._keys[slots] = np.asarray(_call(self._programs.keys, *names))[slots]
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
        logits = _call(self._programs.head, params, hidden, source)
        return jax.device_get(_call(self._programs.draw, logits, self._keys, self.position, self._device_law()))

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

    def set_law(self, slot: int, options: SamplingOptions) -> None:
        """How a slot samples from now on."""
        law = self.law
        law.temperature[slot], law.top_k[slot] = options.temperature, min(options.top_k, self._config.vocab_size)
        law.top_p[slot], law.min_p[slot] = options.top_p, options.min_p
        law.forced[slot] = options.forced[0] if options.forced else -1
        if options.banned or law.banned[:, slot].any():
            law.banned[:, slot] = False
            law.banned[list(options.banned), slot] = True
            self._banned = jnp.array(law.banned)

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


def _call(program: Callable[..., Any], *inputs: Any) -> Any:
    """Dispatches a compiled function."""
    with _ONE:
        return program(*inputs)


_ONE = threading.Lock()  # Two threads would compile a new shape twice. What is dispatched computes on without it.
_GREEDY = SamplingOptions(temperature=0)
