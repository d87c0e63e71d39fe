"""Plain data between judge and jail: values as JSON without objects, and a comparison that trusts nothing.

What a jail says is only a claim. It is compared as the JSON that it is: no `==` of a foreign class runs, nothing is
unpickled, and no hash table of hostile values is built. The file imports nothing of ours, since it also runs inside
the jails, where it may be tampered with: only a jail's own claims suffer from that.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
import numbers
from collections.abc import Callable
from typing import Any

DEEPEST = 200  # Nesting of values that cross.
_WORD = 1 << 63  # Larger integers cross in hexadecimal, which reads in linear time.
_TYPES = {
    kind.__name__: kind
    for kind in (
        int,
        float,
        str,
        bool,
        list,
        tuple,
        dict,
        set,
        frozenset,
        bytes,
        bytearray,
        complex,
        object,
        type(None),
    )
}
_BASES = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_MAPPINGS = (dict, collections.OrderedDict, collections.defaultdict, collections.Counter)
_SEQUENCES = {list: "l", tuple: "t", set: "s", frozenset: "z", collections.deque: "q"}
_TIMES = {kind.__name__: kind for kind in (datetime.date, datetime.datetime, datetime.time)}


class NotPlainError(TypeError):
    """A value that is no plain data, and so cannot cross."""


# ------------------------------------------------------------------------------------------------ encoding


def encode(value: Any, refer: Callable[[Any], int] | None = None, depth: int = 0) -> Any:
    """The value as JSON: None, booleans, numbers and text as they are, all else a list that starts with a tag.

    A subclass of a plain type crosses as the plain type.

    Args:
      value: what crosses.
      refer: gives a number to an object that is no plain data; without it such an object cannot cross.
      depth: of the value in what surrounds it.

    Raises:
      NotPlainError: an object is no plain data.
      RecursionError: nested deeper than `DEEPEST`.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -_WORD < value < _WORD else ["i", hex(value)]
    if depth > DEEPEST:
        raise RecursionError(f"values nested deeper than {DEEPEST}")
    depth += 1
    if kind in _SEQUENCES:
        return [_SEQUENCES[kind], *[encode(item, refer, depth) for item in value]]
    if kind in _MAPPINGS:
        return ["d", *[encode(part, refer, depth) for pair in value.items() for part in pair]]
    if kind is bytes or kind is bytearray:
        return ["b" if kind is bytes else "B", value.hex()]
    if kind is complex:
        return ["c", value.real, value.imag]
    if kind is range:
        return ["r", *[encode(part) for part in (value.start, value.stop, value.step)]]
    if kind is type({}.keys()) or kind is type({}.items()):
        return ["s", *[encode(item, refer, depth) for item in value]]
    if kind is decimal.Decimal:
        return ["D", str(value)]
    if kind is fractions.Fraction:
        return ["F", encode(value.numerator), encode(value.denominator)]
    if kind.__name__ in _TIMES and _TIMES[kind.__name__] is kind:
        return ["T", kind.__name__, value.isoformat()]
    if kind is type and _TYPES.get(value.__name__) is value:
        return ["y", value.__name__]
    for base in _BASES:
        if isinstance(value, base):
            return encode(_flat(base, value), refer, depth)
    if isinstance(value, numbers.Integral):  # Such as those of NumPy.
        return encode(int(value))
    if isinstance(value, numbers.Real):
        return float(value)
    if refer is not None:
        return ["R", refer(value)]
    raise NotPlainError(f"{kind.__module__}.{kind.__qualname__} is no plain data")


def _flat(base: type, value: Any) -> Any:
    """The plain value inside an instance of a subclass, whatever the subclass overrides."""
    if base is str:
        return str.__str__(value)
    if base in (int, bool):
        return int.__int__(value)
    if base is float:
        return float.__float__(value)
    if base is complex:
        return complex(complex.__pos__(value))
    if base is dict:
        return dict(dict.items(value))
    if base in (bytes, bytearray):
        return base(base.__getitem__(value, slice(None)))
    return base(base.__iter__(value))


def decode(tree: Any, dereference: Callable[[int], Any] | None = None) -> Any:
    """The value that `encode` made `tree` of. Builds plain data only, and runs no foreign code.

    Raises:
      ValueError, TypeError, LookupError, ArithmeticError: `tree` is no encoded value.
    """
    if not isinstance(tree, list):
        return tree
    tag, *parts = tree
    if tag in ("l", "t", "s", "z", "q"):
        make = {"l": list, "t": tuple, "s": set, "z": frozenset, "q": collections.deque}[tag]
        return make([decode(part, dereference) for part in parts])
    if tag == "d":
        items = [decode(part, dereference) for part in parts]
        return dict(zip(items[::2], items[1::2], strict=True))
    if tag == "R" and dereference is not None:
        return dereference(*parts)
    if tag == "r":
        return range(*[decode(part) for part in parts])
    if tag == "F":  # Of a text such as "1e999999999" Fraction would make a number of so many digits.
        over, under = (decode(part) for part in parts)
        if type(over) is not int or type(under) is not int:
            raise ValueError("a fraction of other things than integers")
        return fractions.Fraction(over, under)
    if tag == "D":
        return decimal.Decimal(*parts)
    if tag == "T":
        return _TIMES[parts[0]].fromisoformat(parts[1])
    if tag == "y":
        return _TYPES[parts[0]]
    return _scalar(tree)


def _scalar(tree: list) -> Any:
    tag, *parts = tree
    if tag == "i":
        return int(parts[0], 16)
    if tag == "c":
        return complex(*parts)
    if tag == "b":
        return bytes.fromhex(*parts)
    if tag == "B":
        return bytearray.fromhex(*parts)
    raise ValueError(f"no encoded value: {tag!r:.40}")


def dumps(tree: Any) -> bytes:
    """An encoded value as ASCII bytes. Lone surrogates in a text survive."""
    return json.dumps(tree, separators=(",", ":"), check_circular=False).encode("ascii")


def loads(data: bytes) -> Any:
    """An encoded value, or whatever else hostile bytes hold, but no JSON object.

    Raises:
      ValueError: it is not JSON, or holds an object.
      RecursionError: it is nested too deeply.
    """
    return json.loads(data.decode("ascii"), object_pairs_hook=_refuse)


def _refuse(pairs: list) -> None:
    raise ValueError("a JSON object is no encoded value")


# ---------------------------------------------------------------------------------------------- comparison


def matches(expected: Any, claimed: Any) -> bool:
    """Whether `claimed`, an encoded value from a jail, equals `expected` as Python's `==` on plain data has it.

    1 == 1.0 == True, a list is no tuple, a set equals a frozenset, the order of a dict does not count. Takes time
    linear in the smaller of the two, but for sets that hold sets.

    Args:
      expected: a literal, ours.
      claimed: JSON of any shape, theirs.
    """
    try:
        return _matches(expected, claimed)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):  # No encoded value.
        return False


def _matches(expected: Any, claimed: Any) -> bool:
    if expected is None or isinstance(expected, str):
        return type(claimed) is type(expected) and claimed == expected
    if isinstance(expected, int | float | complex):
        return _same_number(expected, claimed)
    if not isinstance(claimed, list):
        return False
    tag, *parts = claimed
    if isinstance(expected, bytes | bytearray):
        return tag in ("b", "B") and parts[0] == expected.hex()
    if isinstance(expected, list | tuple):
        if tag != ("l" if isinstance(expected, list) else "t") or len(parts) != len(expected):
            return False
        return all(_matches(one, other) for one, other in zip(expected, parts, strict=True))
    if isinstance(expected, set | frozenset):
        if tag not in ("s", "z") or len(parts) != len(expected):
            return False
        left = dict.fromkeys(expected)
        return all(_take(left, part) is not _ABSENT for part in parts)
    if isinstance(expected, dict):
        if tag != "d" or len(parts) != 2 * len(expected):
            return False
        left = dict(expected)
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            wanted = _take(left, key)
            if wanted is _ABSENT or not _matches(wanted, value):
                return False
        return True
    return False


_ABSENT = object()


def _take(left: dict, claimed: Any) -> Any:
    """Removes the expected key that `claimed` equals, and returns its value; `_ABSENT` if there is none."""
    try:
        return left.pop(_key(claimed), _ABSENT)  # Looks a hostile key up in a table of ours.
    except ValueError:
        for key in left:
            if _matches(key, claimed):
                return left.pop(key)
        return _ABSENT


def _key(claimed: Any) -> Any:
    if isinstance(claimed, list):
        if claimed[0] == "t":
            return tuple([_key(part) for part in claimed[1:]])
        if claimed[0] not in ("i", "c", "b"):
            raise ValueError("not hashed")
        return _scalar(claimed)
    return claimed


def _same_number(expected: complex, claimed: Any) -> bool:
    if isinstance(claimed, int | float):
        return claimed == expected
    if not isinstance(claimed, list):
        return False
    tag, *parts = claimed
    if tag in ("i", "c"):
        return _scalar(claimed) == expected
    if tag == "D":
        return len(parts[0]) <= 400 and decimal.Decimal(parts[0]) == expected
    if tag == "F" and not isinstance(expected, complex):  # A fraction is not reduced here: that would take long.
        over, under = (decode(part) for part in parts)
        if type(over) is not int or type(under) is not int or under <= 0:
            return False
        ratio = expected.as_integer_ratio()
        return over * ratio[1] == under * ratio[0]
    return False


def truth(claimed: Any) -> bool:
    """Whether an encoded value is true as a condition.

    Raises:
      ValueError, TypeError, LookupError, ArithmeticError: it is no encoded value.
    """
    if not isinstance(claimed, list):
        return bool(claimed)
    tag, *parts = claimed
    if tag in ("l", "t", "s", "z", "q", "d"):
        return bool(parts)
    if tag == "o":  # An opaque object, and what it says of itself.
        return parts[1] is True
    if tag in ("y", "T"):
        return True
    if tag == "F":
        return bool(decode(parts[0]))
    return bool(decode(claimed))
