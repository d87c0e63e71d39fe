"""Sizes rounded up, so that compiled shapes are few."""

from __future__ import annotations

ROWS = 8  # An engine's rows come in so many: other instructions, which round otherwise, compute the rest of a vector.


def multiple(n: int, of: int) -> int:
    """The least multiple of `of` that is no less than n."""
    return -(-n // of) * of


def power_of_two(n: int) -> int:
    """The least power of two that is no less than n; 1 where n is 0."""
    return 1 << max(n - 1, 0).bit_length()
