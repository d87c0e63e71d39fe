"""The trees that the text of an answer may mean, with everything that has several spellings in one of them.

A solved inequality is an interval, x ≠ 2 is a union of two, "all real numbers" is (-∞, ∞), 5 ft 6 in is one quantity.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from verifiers import dates
from verifiers.evaluation import Inexact, Rational, Undefined, evaluate
from verifiers.expressions import Node, negate, number, parse
from verifiers.extraction import boxes, gold_answer
from verifiers.measures import parse_unit
from verifiers.notation import Unreadable, normalize

FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "=": "=", "≠": "≠"}
_INFINITY = Node("symbol", ("∞",))
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16,
}  # fmt: skip
_BASED = re.compile(  # 2A_16, (101)_2, 101 (base 2)
    r"\(?(?:\\text\{)?([0-9A-Fa-f]{1,200})\)?"
    r"(?:\}?\s*_\{?\s*(?:\\text\{)?|\s*(?:\\text\{)?\s*\(?(?:in )?base[ -]?\}?\s*)([a-z]+|1?[0-9])[\s})]*"
)
_SETS = {  # What is said in words.
    "all real numbers": "ℝ", "all reals": "ℝ", "real numbers": "ℝ", "the real numbers": "ℝ", "empty set": "∅",
    "the empty set": "∅", "there is no solution": "∅", "there are no solutions": "∅",
    "there are no real solutions": "∅", "infinitely many solutions": "infinitely many",
    "there are infinitely many solutions": "infinitely many",
    "no solution": "∅", "no solutions": "∅", "no real solution": "∅", "no real solutions": "∅",
    "dne": "does not exist",
}  # fmt: skip
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_ARTICLE = re.compile(r"(?:an?|the) (?=[a-z])")
_COUNTS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60,
    "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100, "thousand": 1000, "million": 10**6,
}  # fmt: skip
_PARTS = {
    "half": 2, "halve": 2, "third": 3, "fourth": 4, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10,
}  # fmt: skip
_REALS = Node("group", ("(", ")", Node("negative", (_INFINITY,)), _INFINITY))


@functools.cache
def _integer() -> re.Pattern[str]:
    """Behind an answer: "..., where k is an integer", "(k ∈ Z)". The letter is free to be another."""
    return re.compile(
        r"(?:[,;]|\\ )?\s*\(?\s*(?:\\text\s*\{)?\s*(?:\b(?:where|with|for (?:any|all|every|some)|and)\b)?\s*\}?\s*"
        r"(?:\b(?:integers?\s+)?\$?(?P<letter>[a-zA-Z])\$?\s*(?:\\in\b|∈|\bis\b|\bin\b|\\text\s*\{\s*(?:is|in)\b)\s*"
        r"(?:\\mathbb\s*\{?[ZN]\}?(?:\^?[+*]|_\{?[0-9+]+\}?)?|ℤ|\\Z|Z\b|an?\s+(?:[a-z-]+\s+)?integer|\bthe integers)"
        r"|\bintegers?\s*\}?\s*\$?(?P<other>[a-zA-Z])\$?)\s*\}?\s*\)?\s*\$?[.]?$"
    )


def repaired(gold: str) -> str:
    """A gold answer without two faults that data have: commands escaped twice, and a box that was cut off."""
    if "\\begin" not in gold:
        gold = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", gold)
    return gold if boxes(gold) is not None else re.sub(r"^[\s$]*\\boxed\s*\{(?!.*\\boxed)", "", gold, flags=re.DOTALL)


def _based(text: str) -> Node | None:
    """2A_16 and 52_{eight}; None where `text` is no such number."""
    found = _BASED.fullmatch(text)
    if found is None:
        return None
    digits, base = found[1].lower(), _BASES.get(found[2]) or (int(found[2]) if found[2].isdecimal() else 0)
    if not 2 <= base <= 16 or any(int(digit, 16) >= base for digit in digits):
        return None
    value = Fraction(digits if digits.isdecimal() else int(digits, base))
    return Node("mark", (Node("number", (value, 0, 0)), f"base {base}"))


def _worded(text: str) -> Node | None:
    """Seven, twenty-one, three hundred and five, two thirds; None where `text` is no number in words."""
    words = re.sub(r"\\text ?\{([^{}]*)\}", r"\1", text[:200]).lower().replace("-", " ").split()
    below = _PARTS.get(words[-1].rstrip("s")) if len(words) == 2 else None
    total, group, last, scale = 0, 0, 0, 10**9
    for word in words[: 1 if below else None]:
        count = _COUNTS.get(word)
        if word == "and" and last >= 100:
            continue
        fits = count is not None and (
            (count >= 1000 and group and count < scale)
            or (count == 100 and 0 < last < 100)
            or (count < 100 and (not last or last >= 100 or (last >= 20 and 0 < count < 10)))
        )
        if count is None or not fits:
            return None
        if count >= 1000:
            total, group, scale = total + group * count, 0, count
        else:
            group = group * 100 if count == 100 else group + count
        last = count
    return Node("number", (Fraction(total + group, below or 1), 0, 0)) if words else None


def readings(text: str) -> list[Node]:
    """The trees that a text may mean: 1,234 is a number, or a list of two; 3:30 a ratio, or a time."""
    inner = gold_answer(text)
    if inner is None:
        raise Unreadable("it is empty")
    if _PLAIN.fullmatch(inner):  # Most answers are nothing but a number.
        return [negate(number(inner[1:])) if inner[0] == "-" else number(inner)]
    moment = dates.read(inner)
    trees = [] if moment is None else [Node("moment", (moment,))]
    integer = _integer().search(inner, 1) if len(inner) < 500 else None
    clean = normalize(inner[: integer.start()] if integer else inner)
    if not clean:
        raise Unreadable("it is empty")
    for thousands in (True, False) if "," in clean else (True,):
        try:
            tree = (
                _based(clean)
                or (_worded(clean) if clean[-1].isalpha() or clean[-1] == "}" else None)
                or _solved(parse(clean, thousands=thousands))
            )
        except Unreadable:
            if not trees and (not thousands or "," not in clean):
                raise
            continue
        if tree not in trees:
            trees.append(tree)
        if _has(tree, "matrix") and (combined := _combined(tree)) != tree:
            trees.append(combined)
        if common := _common_logarithms(tree):
            trees.append(common)
        if integer:  # 2kπ with k ∈ ℤ is 2nπ with n ∈ ℤ.
            letter = integer["letter"] or integer["other"]
            trees.append(substituted(tree, {letter: Node("symbol", ("an integer",))}))
        if quantity := _total(tree):
            trees.append(quantity)
    return trees


def substituted(node: Node, values: dict[str, Node]) -> Node:
    """The tree with other nodes in place of symbols."""
    if node.op == "symbol":
        return values.get(node.args[0], node)
    return Node(node.op, tuple(substituted(arg, values) if isinstance(arg, Node) else arg for arg in node.args))


def _has(node: Node, op: str) -> bool:
    return node.op == op or any(_has(arg, op) for arg in node.args if isinstance(arg, Node))


def _combined(node: Node) -> Node:
    """Multiples and sums of matrices, carried out."""
    if node.op in ("relation", "list", "set", "or"):
        return Node(node.op, tuple(_combined(arg) if isinstance(arg, Node) else arg for arg in node.args))
    if node.op not in ("+", "*", "negative"):
        return node
    args = tuple(map(_combined, node.args))
    matrices = [arg for arg in args if arg.op == "matrix"]
    shapes = {tuple(len(row.args) for row in matrix.args) for matrix in matrices}
    if node.op == "*" and len(matrices) == 1:
        factors = tuple(arg for arg in args if arg.op != "matrix")
        return _entrywise(lambda entry: Node("*", (*factors, entry)), *matrices)
    if node.op == "negative" and matrices:
        return _entrywise(lambda entry: Node("negative", (entry,)), *matrices)
    if node.op == "+" and len(matrices) == len(args) and len(shapes) == 1:
        return _entrywise(lambda *entries: Node("+", entries), *matrices)
    return node


def _entrywise(combine: Callable[..., Node], *matrices: Node) -> Node:
    rows = zip(*(matrix.args for matrix in matrices), strict=True)
    return Node(
        "matrix",
        tuple(
            Node("group", ("[", "]", *(combine(*entries) for entries in zip(*(r.args[2:] for r in row), strict=True))))
            for row in rows
        ),
    )


def _common_logarithms(node: Node) -> Node | None:
    """The tree with base 10 for every logarithm that names none; None where there is none."""
    if node.op == "function" and node.args[0] == "log":
        inside = _common_logarithms(node.args[1]) or node.args[1]
        ten = Node("function", ("ln", Node("number", (Fraction(10), 0, 2))))
        return Node("*", (Node("function", ("ln", inside)), Node("inverse", (ten,))))
    changed = [_common_logarithms(arg) if isinstance(arg, Node) else None for arg in node.args]
    if not any(changed):
        return None
    return Node(node.op, tuple(new or arg for new, arg in zip(changed, node.args, strict=True)))


def with_constants(node: Node, names: dict[str, str]) -> Node:
    """The tree with constants of integration under one name: a term K by itself, and c_1."""
    terms = node.args if node.op == "+" else ()
    alone = {term.args[0] for term in terms if term.op == "symbol"}
    kept = {old: Node("symbol", (new,)) for old, new in names.items() if "_" in old or old in alone}
    if node.op == "relation":
        return Node("relation", (node.args[0], *(with_constants(side, names) for side in node.args[1:])))
    return substituted(node, kept)


def _total(node: Node) -> Node | None:
    """5 ft and 6 in as one quantity, in the last unit; None where `node` is no list of such."""
    if node.op != "list" or not 2 <= len(node.args) <= 4 or any(item.op != "mark" for item in node.args):
        return None
    units = [unit for item in node.args if (unit := parse_unit(item.args[1]))]
    factors = [unit.factor for unit in units]
    if len(units) < len(node.args) or len({unit.dimension for unit in units}) > 1 or any(u.offset for u in units):
        return None
    if any(below >= above for above, below in itertools.pairwise(factors)):
        return None
    scaled = [
        Node("*", (item.args[0], Node("number", (factor / min(factors), 0, 0))))
        for item, factor in zip(node.args, factors, strict=True)
    ]
    return Node("mark", (Node("+", tuple(scaled)), node.args[-1].args[1]))


def _solved(node: Node) -> Node:
    """x < 3 and x ∈ (-∞, 3) are written as that interval, everywhere in `node`."""
    if node.op == "text":
        words = _ARTICLE.sub("", node.args[0].rstrip("."), count=1)
        said = _SETS.get(node.args[0].rstrip("."), words)
        return {"ℝ": _REALS, "∅": Node("set", ())}.get(said, Node("text", (said,)))
    if node == Node("symbol", ("DNE",)):
        return Node("text", ("does not exist",))
    if node.op == "∖" and node.args[0] == _REALS and (rest := _without(members(node.args[1]))):
        return rest
    if node.op in ("list", "or"):
        excluded = [item.args for item in node.args if item.op == "relation" and item.args[0] == ("≠",)]
        if (
            node.op == "list"
            and len(excluded) == len(node.args)
            and len({name for _, name, _ in excluded}) == 1
            and is_name(excluded[0][1])
        ):
            return _without([value for *_, value in excluded]) or node  # x ≠ 1 and x ≠ 2
        items = tuple(_solved(item) for item in node.args)
        first, *others = items
        if (
            first.op == "relation"
            and first.args[0] == ("=",)
            and first.args[1].op == "symbol"
            and all(item.op != "relation" and is_constant(item) for item in (first.args[2], *others))
            and len(first.args) == 3
        ):  # x = 2, -2
            items = (first.args[2], *others)
        if node.op == "or" and all(
            item.op in ("group", "∪") and item != old for item, old in zip(items, node.args, strict=True)
        ):
            return Node("∪", items)
        return Node("list", items)
    if node.op != "relation":
        return node
    operators, *sides = node.args
    if operators == ("∈",) and is_name(sides[0]):
        return sides[1]
    if len(operators) == 1 and operators[0] in "<>≤≥≠" and is_constant(sides[0]) and sides[1].op == "symbol":
        operators, sides = (FLIPPED[operators[0]],), sides[::-1]
    if len(operators) == 1 and operators[0] in "<>≤≥" and sides[0].op == "negative" and is_constant(sides[1]):
        operators, sides = (FLIPPED[operators[0]],), [sides[0].args[0], Node("negative", (sides[1],))]  # -x > -1
    if operators == ("≠",) and sides[0].op == "symbol" and is_constant(sides[1]):
        return _without([sides[1]]) or node
    if len(operators) == 1 and operators[0] in "<>≤≥" and sides[0].op == "symbol" and is_constant(sides[1]):
        if operators[0] in "<≤":
            return Node("group", ("(", ")" if operators[0] == "<" else "]", Node("negative", (_INFINITY,)), sides[1]))
        return Node("group", ("(" if operators[0] == ">" else "[", ")", sides[1], _INFINITY))
    if len(operators) == 2 and sides[1].op == "symbol" and is_constant(sides[0]) and is_constant(sides[2]):
        if set(operators) <= {">", "≥"}:
            operators, sides = tuple(FLIPPED[operator] for operator in operators[::-1]), sides[::-1]
        if set(operators) <= {"<", "≤"}:
            brackets = ("(" if operators[0] == "<" else "[", ")" if operators[1] == "<" else "]")
            return Node("group", (*brackets, sides[0], sides[2]))
    return node


def _without(points: Sequence[Node]) -> Node | None:
    """The real numbers but for some rational points, as a union of intervals."""
    values: dict[Fraction, Node] = {}
    for point in points:
        try:
            values[evaluate(point, Rational)] = point
        except (Inexact, Undefined):
            return None
    ends = [Node("negative", (_INFINITY,)), *(values[key] for key in sorted(values)), _INFINITY]
    intervals = [Node("group", ("(", ")", low, high)) for low, high in itertools.pairwise(ends)]
    return Node("∪", tuple(intervals)) if len(intervals) > 1 else None


def is_constant(node: Node) -> bool:
    """Whether `node` has no variables."""
    constants = ("pi", "e", "∞")
    return (
        node.op != "symbol" or node.args[0] in constants
        if node.op in ("symbol", "call")
        else all(is_constant(arg) for arg in node.args if isinstance(arg, Node))
    )


def is_name(node: Node) -> bool:
    """Whether `node` can only be a name for a value: x, f(x), (x, y), a : b, dy/dx, |AB|, "the area"."""
    if node.op == "group":
        return all(is_name(item) for item in node.args[2:])
    if node.op == "*":
        below = [factor.args[0] for factor in node.args if factor.op == "inverse"]
        factors = [part for factor in below for part in (factor.args if factor.op == "*" else (factor,))]
        return bool(below) and all(is_name(factor) for factor in (*factors, *node.args) if factor.op != "inverse")
    if node.op == "function" and node.args[0] == "abs":  # |AB|
        return node.args[1].op == "symbol" and len(node.args[1].args[0]) > 1 and node.args[1].args[0].isupper()
    return node.op in ("symbol", "call", "text") and node != Node("symbol", ("i",)) and node.args[0] not in ("pi", "e")


def name_and_values(node: Node) -> tuple[Node | None, tuple[Node, ...]]:
    """Splits x = 6 * 7 = 42 into its name and its values, which must all be the answer."""
    if node.op != "relation" or set(node.args[0]) != {"="}:
        return None, (node,)
    sides = node.args[1:]
    if is_name(sides[0]):
        return sides[0], sides[1:]
    if is_name(sides[-1]):
        return sides[-1], sides[:-1]
    return None, (node,)


def members(node: Node) -> tuple[Node, ...]:
    """What a list or a set holds; of anything else, itself."""
    return node.args if node.op in ("list", "set") else (node,)
