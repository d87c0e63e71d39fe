"""Which pages of the cache belong to which slots, on the host."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from policy.cache import NOBODY, SEATS, Pages, Seats


def larger(count: int, slots: int, most: int) -> int:
    """The size of a cache of `count` pages after the next growth.

    Each size is compiled, and each page is read in each step, used or not.
    """
    return min(count + max(slots // 2, count // 4, 4), slots * most)


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
        self._first = np.zeros(slots, np.int32)  # The first column of each slot's pages.
        self._table = np.tile(np.arange(slots, dtype=np.int32)[:, None], (1, most))
        self._owner = np.zeros(slots * most, np.int32)
        self._start = np.full(slots * most, NOBODY, np.int32)
        self._owner[:slots], self._start[:slots] = np.arange(slots), 0
        self._free: list[int] = []
        while self.count < min(count, slots * most):
            self._grow()

    @property
    def used(self) -> int:
        """Pages that hold something, or are a slot's first."""
        return self.count - len(self._free)

    def begin(self, slot: int, column: int) -> None:
        """Makes a slot's first page begin at a column, a multiple of Q; what comes before it others keep."""
        self._first[slot] = self._start[slot] = column

    def reach(self, slot: int, column: int) -> None:
        """Gives a slot the pages up to `column`; where too few are free, `count` grows, and the cache must."""
        first = self._first[slot]
        while first + self._used[slot] * self._columns <= column:
            if not self._free:
                self._grow()
            page = heapq.heappop(self._free)
            self._owner[page], self._start[page] = slot, first + self._used[slot] * self._columns
            self._table[slot, self._used[slot]] = page
            self._used[slot] += 1

    def _grow(self) -> None:
        more = larger(self.count, self._slots, self._most)
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
            self.begin(here, other._first[there])
            self.reach(here, int(self._first[here] + (n - 1) * self._columns))
            pages += zip(other._table[there, :n].tolist(), self._table[here, :n].tolist(), strict=True)
        return pages

    def free(self, slot: int) -> None:
        """Takes back what the slot has besides its first page."""
        for page in self._table[slot, 1 : self._used[slot]].tolist():
            self._owner[page], self._start[page] = 0, NOBODY
            heapq.heappush(self._free, page)
        self._table[slot, 1:] = slot
        self._used[slot] = 1
        self.begin(slot, 0)

    def page(self, slot: int, column: int) -> int:
        """Where a column of a slot is."""
        return int(self._table[slot, (column - self._first[slot]) // self._columns])

    def arrays(self) -> Pages:
        """As the compiled functions take them."""
        return Pages(self._owner[: self.count], self._start[: self.count], self._table, self._first)


class SeatTable:
    """Pages of prompts, each of which some slots read: those that sample the same prompt.

    Attributes:
      count: pages, 0 until somebody sits down.
    """

    def __init__(self, slots: int, most: int, columns: int):
        """
        Args:
          slots: B.
          most: pages of a prompt.
          columns: Q, of a page.
        """
        self.count = 0
        self._slots, self._most, self._columns = slots, most, columns
        self._reader = np.zeros((slots * most, SEATS), np.int32)
        self._start = np.full(slots * most, NOBODY, np.int32)
        self._table = np.zeros((slots, most), np.int32)
        self._free: list[int] = []
        self._tables: list[_Table] = []

    @property
    def needed(self) -> int:
        """Pages of a table that grew to hold what is in use."""
        count = 0
        while count < self.count - len(self._free):
            count = larger(count, self._slots, self._most)
        return count

    def sit(self, slot: int, prompt: bytes, pages: int) -> list[tuple[int, int]]:
        """Gives a slot the pages of a prompt, those of a table with a free seat, or new ones.

        Args:
          prompt: its name.
          pages: that it fills, at least one.

        Returns:
          (column, page) of the new pages; `count` may have grown, and the cache must.
        """
        new: list[tuple[int, int]] = []
        table = next((table for table in self._tables if table.prompt == prompt and None in table.slots), None)
        if table is None:
            table = _Table(prompt, [self._take() for _ in range(pages)], [None] * SEATS)
            self._tables.append(table)
            for i, page in enumerate(table.pages):
                self._start[page] = i * self._columns
                new.append((i * self._columns, page))
        seat = table.slots.index(None)
        table.slots[seat] = slot
        self._reader[table.pages, seat] = slot
        self._table[slot, : len(table.pages)] = np.array(table.pages) * SEATS + seat
        return new

    def leave(self, slot: int) -> None:
        """Takes back a slot's seat, if it has one, and the pages that nobody reads any more."""
        for table in self._tables:
            if slot in table.slots:
                table.slots[table.slots.index(slot)] = None
                if not any(other is not None for other in table.slots):
                    self._tables.remove(table)
                    self._start[table.pages] = NOBODY
                    for page in table.pages:
                        heapq.heappush(self._free, page)
                return

    def adopt(self, other: SeatTable, slots: Mapping[int, int]) -> list[tuple[int, int]]:
        """Seats slots as slots of another table are.

        Args:
          slots: of the other table, and those here.

        Returns:
          (page there, page here) of each.
        """
        pages: list[tuple[int, int]] = []
        for table in other._tables:
            for there in table.slots:
                if there is not None and there in slots:
                    new = self.sit(slots[there], table.prompt, len(table.pages))
                    pages += [(table.pages[column // self._columns], page) for column, page in new]
        return pages

    def arrays(self) -> Seats:
        """As the compiled functions take them."""
        return Seats(self._reader[: self.count], self._start[: self.count], self._table)

    def _take(self) -> int:
        if not self._free:
            more = larger(self.count, self._slots, self._most)
            self._free += range(self.count, more)
            self.count = more
        return heapq.heappop(self._free)


class _Table(NamedTuple):
    prompt: bytes
    pages: list[int]
    slots: list[int | None]  # On its seats.
