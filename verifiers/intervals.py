"""Sets of real numbers as the intervals and points that they are made of, in order: what is joined, cut, left out."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from verifiers.evaluation import Inexact, Numeric, Rational, Undefined, evaluate
from verifiers.expressions import Node
from verifiers.notation import TooLarge

INTEGERS = Node("symbol", ("Z",))
INFINITY = Node("symbol", ("∞",))
REALS = Node("group", ("(", ")", Node("negative", (INFINITY,)), INFINITY))
_SAME = Fraction(1, 2**200)  # Two ends that are nearer are one end.
_UNBOUNDED = Fraction(2**4000)
_MOST_PIECES = 40


class End(NamedTuple):
    """Where a piece begins or ends: just below `value` (side -1), just above it (1)."""

    value: Fraction
    side: int
    written: Node


Piece = tuple[End, End]


def pieces(node: Node) -> list[Piece] | None:
    """The pieces of an interval, a set of numbers, a union or a difference; None where `node` is none of constants."""
    if node.op == "group" and len(node.args) == 4 and node.args[0] in "([" and node.args[1] in ")]":
        low, high = (_value(end) for end in node.args[2:])
        if low is None or high is None or low >= high:
            return None
        return [(End(low, 1 if node.args[0] == "(" else -1, node.args[2]),
                 End(high, -1 if node.args[1] == ")" else 1, node.args[3]))]  # fmt: skip
    if node.op == "set":
        values = [_value(point) for point in node.args]
        if any(value is None or abs(value) == _UNBOUNDED for value in values):
            return None
        return union([(End(v, -1, p), End(v, 1, p)) for v, p in zip(values, node.args, strict=True) if v is not None])
    if node.op not in ("∪", "∩", "∖") or len(node.args) > _MOST_PIECES:
        return None
    parts = [pieces(part) for part in node.args]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    if node.op == "∪":
        return union([piece for part in found for piece in part])
    result = found[0]
    for part in found[1:]:
        result = intersection(result, part if node.op == "∩" else complement(part))
    return result


def union(parts: list[Piece]) -> list[Piece]:
    """The same numbers in pieces that are apart and in order: [1, 2] and (2, 3] are [1, 3]."""
    joined: list[Piece] = []
    for low, high in sorted(parts, key=_order):
        if joined and low[:2] <= joined[-1][1][:2]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high, key=_at))
        else:
            joined.append((low, high))
    return joined


def intersection(one: list[Piece], other: list[Piece]) -> list[Piece]:
    """The numbers that are in both."""
    cuts = [(max(a[0], b[0], key=_at), min(a[1], b[1], key=_at)) for a in one for b in other]
    return [(low, high) for low, high in sorted(cuts, key=_order) if low[:2] < high[:2]]


def complement(parts: list[Piece]) -> list[Piece]:
    """All other real numbers."""
    first, last = End(-_UNBOUNDED, 1, REALS.args[2]), End(_UNBOUNDED, -1, INFINITY)
    ends = [first, *(end for piece in parts for end in piece), last]
    return [(low, high) for low, high in zip(ends[::2], ends[1::2], strict=True) if low[:2] < high[:2]]


def integers(parts: list[Piece]) -> Node:
    """The integers of some pieces: the numbers themselves, or [1, ∞) ∩ ℤ where they are many."""
    runs = [(_rounded(low), _rounded(high)) for low, high in parts]
    runs = union([(low, high) for low, high in runs if low[:2] < high[:2]])
    if sum(high.value - low.value for low, high in runs) > _MOST_PIECES:
        return Node("∩", (tree(runs), INTEGERS))
    values = [Fraction(n) for low, high in runs for n in range(int(low.value), int(high.value))]
    return Node("set", tuple(Node("number", (value, 0, 0)) for value in values))


def _rounded(end: End) -> End:
    """Just below the first integer behind an end."""
    if abs(end.value) == _UNBOUNDED:
        return end
    value = Fraction(ceil(end.value) if end.side < 0 else floor(end.value) + 1)
    return End(value, -1, Node("number", (value, 0, 0)))


def tree(parts: list[Piece]) -> Node:
    """A set of numbers, an interval, or a union of such."""
    if all(low.value == high.value for low, high in parts):
        return Node("set", tuple(low.written for low, _ in parts))
    nodes = [
        Node("set", (low.written,))
        if low.value == high.value
        else Node("group", ("(" if low.side > 0 else "[", ")" if high.side < 0 else "]", low.written, high.written))
        for low, high in parts
    ]
    return Node("∪", tuple(nodes)) if len(nodes) > 1 else nodes[0]


def _at(end: End) -> tuple[Fraction, int]:
    return end[:2]


def _order(piece: Piece) -> tuple[Fraction, int]:
    return piece[0][:2]


def _value(node: Node) -> Fraction | None:
    """Where a constant stands on the line, the same for all spellings of it; None where that is not known."""
    if node == INFINITY:
        return _UNBOUNDED
    if node == Node("negative", (INFINITY,)):
        return -_UNBOUNDED
    try:
        return evaluate(node, Rational)
    except Inexact:
        pass
    except Undefined:
        return None
    field = Numeric(0)
    try:
        real, imaginary = evaluate(node, field)
    except (Inexact, Undefined, TooLarge, ValueError, OverflowError, ZeroDivisionError):
        return None
    if imaginary != field.lib.fzero or not -60 < field.magnitude((real, imaginary)) < 2000:
        return None
    value = Fraction(*field.lib.to_rational(real))
    return round(value / _SAME) * _SAME
