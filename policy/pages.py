"""Which pages of the cache belong to which slots, on the host."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np

from policy.cache import NOBODY, Pages


class PageTable:
    """A slot keeps its first page for good; the others come and go. The lowest free page is taken first.

    Attributes:
      count: N, pages of the cache.
    """

    def __init__(self, slots: int, most: int, columns: int, count: int = 0):
        """
        Args:
          slots: B.
          most: pages of a slot.
          columns: Q, of a page.
          count: of pages, where there are more than slots: what one that grew could have come to.
        """
        self.count = slots
        self._slots, self._most, self._columns = slots, most, columns
        self._used = np.ones(slots, np.int32)  # Pages of each slot.
        self._table = np.tile(np.arange(slots, dtype=np.int32)[:, None], (1, most))
        self._owner = np.zeros(slots * most, np.int32)
        self._start = np.full(slots * most, NOBODY, np.int32)
        self._owner[:slots], self._start[:slots] = np.arange(slots), 0
        self._free: list[int] = []
        while self.count < count:
            self._grow()

    @property
    def used(self) -> int:
        """Pages that hold something, or are a slot's first."""
        return self.count - len(self._free)

    def reach(self, slot: int, column: int) -> None:
        """Gives a slot the pages up to `column`; where too few are free, `count` grows, and the cache must."""
        while self._used[slot] * self._columns <= column:
            if not self._free:
                self._grow()
            page = heapq.heappop(self._free)
            self._owner[page], self._start[page] = slot, self._used[slot] * self._columns
            self._table[slot, self._used[slot]] = page
            self._used[slot] += 1

    def _grow(self) -> None:
        # Each size is compiled, and each page is read in each step, used or not.
        more = min(self.count + max(self._slots // 2, self.count // 4, 4), self._slots * self._most)
        self._free += range(self.count, more)
        self.count = more

    def adopt(self, other: PageTable, slots: Mapping[int, int]) -> list[tuple[int, int]]:
        """Gives slots as many pages as slots of another table have.

        Args:
          slots: of the other table, and those here.

        Returns:
          (page there, page here) of each.
        """
        pages: list[tuple[int, int]] = []
        for there, here in slots.items():
            n = other._used[there]
            self.reach(here, (n - 1) * self._columns)
            pages += zip(other._table[there, :n].tolist(), self._table[here, :n].tolist(), strict=True)
        return pages

    def free(self, slot: int) -> None:
        """Takes back what the slot has besides its first page."""
        for page in self._table[slot, 1 : self._used[slot]].tolist():
            self._owner[page], self._start[page] = 0, NOBODY
            heapq.heappush(self._free, page)
        self._table[slot, 1:] = slot
        self._used[slot] = 1

    def page(self, slot: int, column: int) -> int:
        """Where a column of a slot is."""
        return int(self._table[slot, column // self._columns])

    def arrays(self) -> Pages:
        """As the compiled functions take them."""
        return Pages(self._owner[: self.count], self._start[: self.count], self._table)
