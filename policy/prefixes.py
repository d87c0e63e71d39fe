"""Chunks of prompts whose keys and values are kept, for prompts that begin alike."""

from __future__ import annotations

import collections

import jax
import numpy as np

from policy.cache import Cache


class Prefixes:
    """The least recently used chunks go where `room` is short.

    A chunk is found by all tokens up to its end, compared one by one, and by the version of the parameters that
    computed it.
    """

    def __init__(self, room: int, width: int):
        """
        Args:
          room: bytes of keys and values.
          width: columns of a chunk.
        """
        self.room, self._width = room, width
        self._chunks: collections.OrderedDict[tuple[int, bytes], Cache] = collections.OrderedDict()
        self.bytes = 0

    def find(self, version: int, prompt: np.ndarray) -> list[Cache]:
        """The first chunks of a prompt, as far as they are kept; the one that holds its last token is not among them.

        Args:
          prompt: int32 [P].
        """
        found = []
        for end in range(self._width, len(prompt), self._width):
            chunk = self._chunks.get(key := (version, prompt[:end].tobytes()))
            if chunk is None:
                break
            self._chunks.move_to_end(key)
            found.append(chunk)
        return found

    def holds(self, version: int, prompt: np.ndarray) -> bool:
        """Whether the chunk that ends with this prompt is kept."""
        return (version, prompt.tobytes()) in self._chunks

    def keep(self, version: int, prompt: np.ndarray, chunk: Cache) -> None:
        """Keeps the chunk that ends with this prompt: pages of its own, with as many columns as a chunk."""
        size = _size(chunk)
        if size > self.room:
            return
        while self.bytes + size > self.room:
            _, old = self._chunks.popitem(last=False)
            self.bytes -= _size(old)
        self._chunks[version, prompt.tobytes()] = chunk
        self.bytes += size

    def clear(self) -> None:
        """Forgets all."""
        self._chunks.clear()
        self.bytes = 0


def _size(chunk: Cache) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(chunk))
