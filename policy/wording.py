"""What errors say of many names, and of long values."""

from __future__ import annotations

from collections.abc import Sequence


def some(names: Sequence[str], most: int = 6) -> str:
    """The first few of many names."""
    return (", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")) or "none"


def short(value: object, most: int = 100) -> str:
    """A value as ASCII, which can be printed wherever it came from, cut off where it is long."""
    text = ascii(value)
    return text if len(text) <= most else text[:most] + "…"
