"""Reads JSON that a model wrote, within bounds."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

MAX_LENGTH = 100_000  # Characters.
MAX_DEPTH = 40  # Brackets inside brackets.
_MAX_DIGITS = 400
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class NotJsonError(ValueError):
    """The text is no JSON; the message says why."""


class TooLargeError(ValueError):
    """The text is too long or too deep to be read."""


def within_bounds(text: str) -> None:
    """Returns if `text` can be given to a JSON parser.

    Raises:
      TooLargeError: it cannot.
    """
    if len(text) > MAX_LENGTH:
        raise TooLargeError(f"{len(text)} characters of JSON, more than {MAX_LENGTH}")
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            raise TooLargeError(f"JSON with more than {MAX_DEPTH} brackets inside each other")


def read(text: str) -> Any:
    """The value that `text` is, by the letter of JSON: no NaN, no infinity, and no key twice in an object.

    Raises:
      NotJsonError: it is none.
      TooLargeError: it is too long, too deep, or holds a number of more than 400 digits.
    """
    within_bounds(text)
    try:
        return json.loads(
            text, parse_constant=_constant, parse_int=_int, parse_float=_float, object_pairs_hook=_distinct
        )
    except json.JSONDecodeError as error:
        raise NotJsonError(f"no JSON: {error}") from None


def _constant(name: str) -> None:
    raise NotJsonError(f"{name} is no JSON")


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise TooLargeError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= _MAX_DIGITS else math.inf
    if not math.isfinite(value):
        raise TooLargeError(f"the number {digits[:20]} is out of range")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise NotJsonError(f"the key {twice!r:.60} stands twice in one object")
    return value
