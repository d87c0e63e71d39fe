"""Which pages of the cache belong to which slots, on the host."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from policy.cache import NOBODY, SEATS, Pages, Seats


class _Store:
    """The pages of a cache, of which the lowest free one is taken first.

    Attributes:
      count: pages; it grows where none is free. For each size the decode step is compiled, and a step reads all
        pages, in use or not.
      peak: the most pages that were taken at once.
    """

    def __init__(self, count: int, more: int, most: int):
        """
        Args:
          count: pages to begin with, all taken.
          more: pages of a growth, at least.
          most: pages at most.
        """
        self.count = self.peak = count
        self._more, self._most = more, most
        self._free: list[int] = []

    @property
    def used(self) -> int:
        return self.count - len(self._free)

    def grow(self) -> None:
        count = min(self.count + max(self._more, self.count // 4, 4), self._most)
        self._free += range(self.count, count)
        self.count = count

    def take(self) -> int:
        if not self._free:
            self.grow()
        page = heapq.heappop(self._free)
        self.peak = max(self.peak, self.used)
        return page

    def give(self, page: int) -> None:
        heapq.heappush(self._free, page)

    def trim(self, count: int) -> None:
        """Lets go of the free pages from `count` on, where none from there on is taken."""
        self.count = max(self.used, min(self.count, count))
        self._free = sorted(page for page in self._free if page < self.count)  # Which is a heap.


class PageTable:
    """A slot keeps its first page for good; the others come and go."""

    def __init__(self, slots: int, most: int, columns: int, count: int = 0):
        """
        Args:
          slots: B.
          most: pages of a slot.
          columns: Q, of a page.
          count: of pages, where there are more than slots: what one that grew could have come to.
        """
        self._columns = columns
        self._store = _Store(slots, slots, slots * most)  # A page a slot, and one more a slot at a time.
        self._used = np.ones(slots, np.int32)  # Pages of each slot.
        self._first = np.zeros(slots, np.int32)  # The first column of each slot's pages.
        self._table = np.tile(np.arange(slots, dtype=np.int32)[:, None], (1, most))
        self._owner = np.zeros(slots * most, np.int32)
        self._start = np.full(slots * most, NOBODY, np.int32)
        self._owner[:slots], self._start[:slots] = np.arange(slots), 0
        while self.count < min(count, slots * most):
            self._store.grow()

    @property
    def count(self) -> int:
        """N, pages of the cache."""
        return self._store.count

    @property
    def used(self) -> int:
        """Pages that hold something, or are a slot's first."""
        return self._store.used

    @property
    def peak(self) -> int:
        """The most that were used at once."""
        return self._store.peak

    def begin(self, slot: int, column: int) -> None:
        """Makes a slot's first page begin at a column, a multiple of Q; what comes before it others keep."""
        self._first[slot] = self._start[slot] = column

    def reach(self, slot: int, column: int) -> None:
        """Gives a slot the pages up to `column`; where too few are free, `count` grows, and the cache must."""
        first = self._first[slot]
        while first + self._used[slot] * self._columns <= column:
            page = self._store.take()
            self._owner[page], self._start[page] = slot, first + self._used[slot] * self._columns
            self._table[slot, self._used[slot]] = page
            self._used[slot] += 1

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
            self._store.give(page)
        self._table[slot, 1:] = slot
        self._used[slot] = 1
        self.begin(slot, 0)

    def trim(self, count: int) -> None:
        """Makes a table that has only taken pages, and given none back, as small as `count`, or as it can be."""
        self._store.trim(count)

    def page(self, slot: int, column: int) -> int:
        """Where a column of a slot is."""
        return int(self._table[slot, (column - self._first[slot]) // self._columns])

    def arrays(self) -> Pages:
        """As the compiled functions take them."""
        return Pages(self._owner[: self.count], self._start[: self.count], self._table, self._first)


class SeatTable:
    """Pages of prompts, each of which some slots read: those that sample the same prompt."""

    def __init__(self, slots: int, most: int, columns: int):
        """
        Args:
          slots: B.
          most: pages of a prompt.
          columns: Q, of a page.
        """
        self._slots, self._most, self._columns = slots, most, columns
        self._store = self._new_store()
        self._reader = np.zeros((slots * most, SEATS), np.int32)
        self._start = np.full(slots * most, NOBODY, np.int32)
        self._table = np.zeros((slots, most), np.int32)
        self._tables: list[_Table] = []

    def _new_store(self) -> _Store:
        return _Store(0, self._slots // 2, self._slots * self._most)

    @property
    def count(self) -> int:
        """Pages, 0 until somebody sits down."""
        return self._store.count

    @property
    def needed(self) -> int:
        """Pages of a table that grew to hold what is in use."""
        store = self._new_store()
        while store.count < self._store.used:
            store.grow()
        return store.count

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
            table = _Table(prompt, [self._store.take() for _ in range(pages)], [None] * SEATS)
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
                        self._store.give(page)
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

    def trim(self, count: int) -> None:
        """As `PageTable.trim`."""
        self._store.trim(count)

    def page(self, slot: int, column: int) -> int:
        """Where a column of a slot's prompt is."""
        return int(self._table[slot, column // self._columns]) // SEATS

    def arrays(self) -> Seats:
        """As the compiled functions take them."""
        return Seats(self._reader[: self.count], self._start[: self.count], self._table)


class _Table(NamedTuple):
    prompt: bytes
    pages: list[int]
    slots: list[int | None]  # On its seats.
