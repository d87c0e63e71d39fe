"""Reads dates and times of day, in the ways that people write them, and compares them.

A date with a year is another than the same day without one; the name of a weekday says nothing more. A time without
a.m. or p.m. may be either, unless it is beyond 12:59.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

_MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
]  # fmt: skip
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)(?P<rest>[a-z]*)\.?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_DAY, _YEAR = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?", r"(?P<year>[0-9]{4})"
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")
_ORDINAL = re.compile(r"(?<=[0-9])\s*\^\s*\{?\s*(st|nd|rd|th)\b\s*\}?")
_COLON = re.compile(r"\s*(?:\{:\}|\\colon(?![a-z])|:)\s*")
_SPACE = re.compile(r"~|\\[ ,;:]|\$")
MAX_LENGTH = 60


@functools.cache
def _maybe() -> re.Pattern[str]:
    """What every date and every time has."""
    return re.compile(
        r"[0-9]\s*(?::|\{:\}|\\colon)\s*[0-9]{2}|[0-9]\s*(?:\\text\s*\{\s*)?[ap]\.?\s?m\b|noon|midnight|o'clock|[0-9][-/.][0-9]{1,2}[-/.][0-9]|"
        r"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec",
        re.IGNORECASE,
    )


@functools.cache
def _patterns() -> tuple[list[re.Pattern[str]], re.Pattern[str]]:
    """Of dates, and of times. Compiled when the first is asked for."""
    dates = (
        rf"{_WEEKDAY}(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?",  # 5 June 2021
        rf"{_WEEKDAY}{_MONTH}\s+(?:the\s+)?{_DAY}(?:,?\s+{_YEAR})?",  # June 5, 2021
        rf"{_MONTH},?\s+{_YEAR}",  # June 2021
        rf"{_YEAR}-(?P<m>[0-9]{{2}})-{_DAY}",  # 2021-06-05
        rf"{_YEAR}/(?P<m>[0-9]{{1,2}})/{_DAY}",  # 2021/6/5
        rf"{_DAY}\.(?P<m>[0-9]{{1,2}})\.{_YEAR}",  # 5.6.2021, where days come first
        rf"{_DAY}-{_MONTH}-{_YEAR}",  # 5-Jun-2021
        rf"(?P<m>[0-9]{{1,2}})/{_DAY}/{_YEAR}",  # 6/5/2021, as it is written where months come first
    )
    time = (
        r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))?(?::(?P<second>[0-9]{2}))?"
        r"\s*(?P<half>[ap]\.?\s?m\.?|noon|midnight|o'clock)?"
    )
    return [re.compile(pattern) for pattern in dates], re.compile(time)


class Date(NamedTuple):
    year: int | None
    month: int
    day: int | None


class Time(NamedTuple):
    """Seconds since midnight: the one that is meant, or the two that may be."""

    seconds: frozenset[int]


def read(text: str) -> Date | Time | None:
    r"""The date or the time that the whole of `text` is ("\text{June 5, 2021}", "3:30 p.m."), or None."""
    if len(text) > MAX_LENGTH or not _maybe().search(text):
        return None
    plain = _SPACE.sub(" ", _ORDINAL.sub(r"\1", _COLON.sub(":", _TEXT.sub(r" \1 ", text)))).lower()
    plain = re.sub(r"^(?:on|at) (?=[^ ])", "", " ".join(plain.split()).strip("$ ."))
    return _date(plain) or _time(plain)


def _date(text: str) -> Date | None:
    for pattern in _patterns()[0]:
        if found := pattern.fullmatch(text):
            parts = found.groupdict()
            if "m" in parts:
                month = int(parts["m"])
            else:
                name = parts["month"] + parts["rest"]
                month = next(i for i, full in enumerate(_MONTHS, 1) if full.startswith(parts["month"][:3]))
                if parts["rest"] and name != _MONTHS[month - 1]:
                    return None  # "marbles"
            day = int(parts["day"]) if parts.get("day") else None
            if not 1 <= month <= 12 or (day is not None and not 1 <= day <= 31):
                return None
            return Date(int(parts["year"]) if parts.get("year") else None, month, day)
    return None


def _time(text: str) -> Time | None:
    if text in ("noon", "midnight"):
        return Time(frozenset({43_200 if text == "noon" else 0}))
    found = _patterns()[1].fullmatch(text)
    if found is None or (found["minute"] is None and found["half"] is None):
        return None
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    half = (found["half"] or "").replace(".", "").replace(" ", "").replace("o'clock", "")
    if hour > 24 or minute > 59 or second > 59:
        return None
    after = 60 * minute + second
    if half and not 1 <= hour <= 12:
        return Time(frozenset({3600 * hour + after})) if half == "pm" and hour < 24 else None  # 15:30 p.m.
    if half:
        late = half in ("pm", "noon")
        return Time(frozenset({3600 * (hour % 12 + (12 if late else 0)) + after}))
    if 1 <= hour <= 12:
        return Time(frozenset({3600 * (hour % 12) + after, 3600 * (hour % 12 + 12) + after}))
    return Time(frozenset({3600 * (hour % 24) + after}))


def same(one: Date | Time, other: Date | Time) -> bool:
    """Whether two are the same, as far as both say."""
    if isinstance(one, Time) and isinstance(other, Time):
        return bool(one.seconds & other.seconds)
    return one == other
