"""The trees that the text of an answer may mean, with everything that has several spellings in one of them.

A solved inequality is an interval, x ≠ 2 is a union of two, "all real numbers" is (-∞, ∞), 5 ft 6 in is one quantity.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import pi

from verifiers import dates, intervals
from verifiers.clauses import is_closed, may_hold, without_clauses
from verifiers.evaluation import Inexact, Numeric, Rational, Undefined, evaluate
from verifiers.expressions import (
    CARRIED_OUT,
    Node,
    holds,
    is_congruence,
    is_constant,
    negate,
    nodes,
    number,
    parse,
    unknowns,
)
from verifiers.extraction import boxes, gold_answer
from verifiers.measures import parse_unit
from verifiers.notation import MAX_CHARACTERS, TooLarge, Unreadable, normalize

FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "=": "=", "≠": "≠"}
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16,
}  # fmt: skip
_BASED = re.compile(  # 2A_16, (101)_2, 101 (base 2)
    r"[({]?\s*+(?:\\text\{)?([0-9A-Fa-f]{1,200})\s*+[)}]?"
    r"(?:[)}]?\s*+_\{?\(?\s*+(?:\\text\{)?(?:base[ -]?\}?\s*+)?|\s*+(?:\\text\{)?\s*+\(?(?:in )?base[ -]?\}?\s*+)"
    r"([a-z]+|1?[0-9])[\s})]*"
)
_SETS = {  # What is said in words.
    "all real numbers": "ℝ", "all reals": "ℝ", "real numbers": "ℝ", "the real numbers": "ℝ", "empty set": "∅",
    "the empty set": "∅", "there is no solution": "∅", "there are no solutions": "∅",
    "there are no real solutions": "∅", "infinitely many solutions": "infinitely many",
    "there are infinitely many solutions": "infinitely many",
    "no solution": "∅", "no solutions": "∅", "no real solution": "∅", "no real solutions": "∅",
    "dne": "does not exist", "undefined": "does not exist", "none": "∅", "空集": "∅", "无解": "∅",
    "all real x": "ℝ", "all real numbers x": "ℝ",
    "any real number": "ℝ", "every real number": "ℝ", "the set of all real numbers": "ℝ",
}  # fmt: skip
_SIGNED_REALS = re.compile(
    r"(?:the set of )?(?:all |any |every )?(positive|negative|non-?negative|non-?zero) real(?:s| numbers?)?"
)
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_ONE_NUMBER = re.compile(r"(?<=[0-9]),0[0-9]{2}(?![0-9])")  # 1,050 is no list.
_PAIR = re.compile(r"(?:[(\[]|\\\{)\s*[0-9]{1,3}(?:,[0-9]{3})+\s*(?:[)\]]|\\\})")  # (10,200)
_ARTICLE = re.compile(r"\b(?:an?|the) (?=[a-z])")
_SPACES = re.compile(r"\s{2,}")
_AND = re.compile(r"\band\b|\\(?:land|wedge|begin)\b|&")
_ABOUT = re.compile(r"≈|\\(?:approx|sim)")
_COUNTS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60,
    "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100, "thousand": 1000, "million": 10**6,
}  # fmt: skip
_PARTS = {
    "half": 2, "halve": 2, "third": 3, "fourth": 4, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10,
}  # fmt: skip
_KINDS = {"Z", "N", "Q", "P"}  # ℤ, ℕ, ℚ and the primes.
_ANGLES = ("alpha", "beta", "gamma", "theta", "phi", "varphi")


_WRAPPED = re.compile(  # What may stand around the whole of an answer.
    r"\$\$(?P<display>[^$]*)\$\$|\$(?P<math>(?:[^$\\]|\\.)*)\$|\\\((?P<inline>(?:\\\\|(?!\\[()]).)*+)\\\)"
    r"|\\\[(?P<block>(?:\\\\|(?!\\[\[\]]).)*+)\\\]|\*\*(?P<bold>[^*]*)\*\*|\*(?P<slanted>[^*]+)\*|`(?P<code>[^`]*)`"
    r"|``(?P<quote>[^`']*)''|'(?P<quoted>[^']+)'|\"(?P<doubly>[^\"]*)\"|\{(?P<braces>(?:[^{},|]|\{[^{}]*\})*+)\}"
    r"|\\(?:text|mathrm|mbox|text(?:bf|it|rm|normal))\s*\{(?P<text>[^{}\\]*[0-9][^{}\\]*)\}"
    r"|\\(?:math(?:bf|rm|it)|boldsymbol|bm|textbf)\s*\{(?!\s*[RZNQ]\s*\})(?P<style>.*)\}"
    r"|\\(?:displaystyle|therefore)(?![a-zA-Z])(?P<behind>.*)|=(?P<equals>[^=].*)",
    re.DOTALL,
)


@functools.cache
def _lead() -> re.Pattern[str]:
    r"""In front of an answer: "The answer is 5", \text{The maximum is } 5, \text{the point } (1, 2)."""
    things = (
        "maximum|minimum|area|volume|perimeter|length|distance|probability|total|sum|slope|radius|answer|value|"
        "points?|set|interval|vector|line|circle|matrix|equation|ordered pairs?|pairs?|numbers?"
    )
    return re.compile(
        r"(?P<text>\\text\s*\{\s*)?(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|our|my)\s+)?(?:final\s+|correct\s+)?"
        r"(?:answers?|solutions?(?:\s+set)?|results?|values?)\s*(?:(?:is|are)\b:?|:|=)\s*(?(text)\})"
        r"|(?P<all>\\text\s*\{\s*)?(?:for\s+)?all\s+(?:(?:positive|real)\s+)?(?:(?:integers|numbers|reals)\s+)?(?(all)\}\s*)\$?"
        r"(?=[a-zA-Z]\s*(?:[<>≤≥≠]|\\(?:[gl]eq?(?:slant)?|neq?|in|equiv)(?![a-z])))"
        rf"|\\text\s*\{{\s*(?:(?:the|an?)\s+)?(?:{things})\s*\}}\s*(?=[-$\\(\[{{0-9])"
        r"|\\text\s*\{(?![^{}]*\b(?:not|or|no|never|than|least|most|but|false|wrong|incorrect|if|n?either)\b)[^{}\\]{1,60}(?:\s(?:is|are)|:)\s*\}\s*(?=\S)",
        re.IGNORECASE,
    )


def unwrapped(text: str) -> str:
    """An answer without what only shows it: $...$, **...**, "The answer is", the point of its sentence."""
    for _ in range(8):
        text = text.strip()
        if text.endswith("\\"):  # "2\ "
            text = text.rstrip("\\").rstrip()
        if text.endswith(".") and not text.endswith(("..", "m.")):  # 1, 2, ...; 6 p.m.
            text = text[:-1].rstrip()
        if (found := _WRAPPED.fullmatch(text)) and (found["style"] is None or is_closed(found["style"])):
            text = found[str(found.lastgroup)]
        elif lead := _lead().match(text, 0, 100):
            text = text[lead.end() :]
        else:
            break
    return text


def repaired(gold: str) -> str:
    """A gold answer without faults that data have: commands escaped twice, a box that was cut off, a brace missing
    or too many at its end."""
    if "\\" not in gold:
        return gold
    open_braces = len(re.findall(r"(?<!\\)\{", gold)) - len(re.findall(r"(?<!\\)\}", gold))
    if open_braces in (1, 2) and "\\boxed" not in gold:
        gold = gold.rstrip(" $") + "}" * open_braces
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
    said = Node("number", (Fraction(digits), 0, 0)) if digits.isdecimal() else Node("text", (digits,))
    return Node("mark", (said, f"base {base}"))


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


def readings(text: str, *, gold: bool = False) -> list[Node]:
    """The trees that a text may mean: 1,234 is a number, or a list of two; 3:30 a ratio, or a time.

    A decimal that only illustrates a value must be near it (√2 ≈ 1.41), except in a gold answer.
    """
    inner = gold_answer(text)
    if inner is None:
        raise Unreadable("it is empty")
    if _PLAIN.fullmatch(inner):
        return _readings(inner, gold)
    inner = _SPACES.sub(lambda run: "\n" if "\n" in run[0] else " ", inner)  # Else patterns take polynomial time.
    if len(inner) <= MAX_CHARACTERS and (shown := unwrapped(inner)) != inner:
        try:
            return _readings(shown, gold)
        except Unreadable:  # \text{Room 5}
            pass
    return _readings(inner, gold)


@functools.lru_cache(64)
def declared(text: str) -> dict[str, str]:
    """The letters that an answer declares to be free, and of what kind: k of 2kπ, k ∈ ℤ."""
    inner = _SPACES.sub(" ", gold_answer(text) or "")
    return without_clauses(normalize(unwrapped(inner)))[1] if may_hold(inner) else {}


def _readings(inner: str, gold: bool) -> list[Node]:
    if _PLAIN.fullmatch(inner):  # Most answers are nothing but a number.
        return [negate(number(inner[1:])) if inner[0] == "-" else number(inner)]
    moment = dates.read(inner)
    trees = [] if moment is None else [Node("moment", (moment,))]
    if isinstance(moment, dates.Date):  # 2020-03-05 is not 2012.
        return trees
    clean, kinds = without_clauses(normalize(inner))
    if not clean:
        raise Unreadable("it is empty")
    if "," not in clean or _ONE_NUMBER.search(clean):
        separators = (True,)
    else:
        separators = (False,) if _PAIR.fullmatch(clean) else (True, False)
    for thousands in separators:
        try:
            tree = _based(clean) or (_worded(clean) if clean[-1].isalpha() or clean[-1] == "}" else None)
            parsed = tree or parse(clean, thousands=thousands)
            if _ABOUT.search(clean):
                parsed = _illustrated(parsed, gold)
            parsed = restricted(parsed, kinds) if kinds else parsed
            tree = tree or solved(parsed)
        except Unreadable:
            if not trees and thousands is separators[-1]:
                raise
            continue
        if tree not in trees:
            trees.append(tree)
        if joined := _joined(parsed, tree, commas="," in clean and not _AND.search(clean)):
            trees.append(joined)
        if holds(tree, {"matrix"}) and (combined := _combined(tree)) != tree:
            trees.append(combined)
        if common := _common_logarithms(tree):
            trees.append(common)
        if len(tree.args) > 3 and (point := _point(tree)):  # x = y = 1
            trees.append(point)
        if quantity := _total(tree):
            trees.append(quantity)
    return trees


def _illustrated(node: Node, gold: bool) -> Node:
    """The tree without the decimals behind "≈"; one that is far from what stands before it makes an equation."""
    args = tuple(_illustrated(arg, gold) if isinstance(arg, Node) else arg for arg in node.args)
    if node.op != "≈":
        return Node(node.op, args)
    return args[0] if gold or _is_near(*args) else Node("relation", (("=",), *args))


def _is_near(value: Node, decimal: Node) -> bool:
    """Whether a decimal may illustrate a value: 0.67 is 2/3 and 1.4 is √2, cut off or rounded, and 8 is not 7.

    What is no fraction may be 1 % off, since 12π ≈ 37.68 has only taken 3.14 for π. A decimal never counts for more.
    """
    decimal, value = (node.args[0] if node.op == "mark" else node for node in (decimal, value))
    if not is_constant(value):
        return True
    unit = 10.0 ** -decimal.args[1] if decimal.op == "number" else 0.0
    try:
        said = _as_float(decimal)
        exact = [_as_float(reading) for reading in (value, _common_logarithms(value)) if reading]
        inexact = _is_irrational(value)
    except (Inexact, Undefined, TooLarge, ValueError, OverflowError, ZeroDivisionError):
        return True
    scales = (1, 100, 180 / pi)  # Also as a percentage, or in degrees.
    return any(
        abs(number * scale - said) <= max(unit * 0.999999, 0.01 * abs(number * scale) if inexact else 0)
        for number in exact
        for scale in scales
    )


def _as_float(node: Node) -> float:
    field = Numeric(0)
    return field.lib.to_float(evaluate(node, field)[0])


def _is_irrational(node: Node) -> bool:
    try:
        evaluate(node, Rational)
    except Inexact:
        return True
    return False


def _joined(node: Node, tree: Node, *, commas: bool) -> Node | None:
    """(-∞, 1) or (3, ∞) as a union, x ≥ 2 and x < 5 as an interval, x > 0, x ≠ 1; None where `node` is none of them.

    With commas, x < 2, x > 5 is the union: nothing is both.
    """
    bound = node.op == "builder"
    node = node.args[1] if bound else node
    if tree.op != "list":
        return None
    named = [name_and_values(item) for item in tree.args]
    parts = [_pieces(values[0]) for _, values in named]
    found = [part for part in parts if part is not None]
    names = {name for name, _ in named}
    if len(found) < len(parts) or len(names) != 1 or all(values[0].op != "group" for _, values in named):
        return None
    name = names.pop()
    together = intervals.union([piece for part in found for piece in part])
    if node.op == "or":
        return None if name else intervals.tree(together)
    if name is None:
        return None
    both = functools.reduce(intervals.intersection, found)
    if not both and not commas:
        return None
    joined = intervals.tree(both or together)
    return joined if bound else _named(name, joined)


def restricted(node: Node, kinds: dict[str, str]) -> Node:
    """The tree with what clauses say of the letters that it is about: x of x > 0, x ∈ ℤ, but not k of x > kπ, k ∈ ℤ.

    Args:
      node: as it is parsed.
      kinds: of letters ("Z>": positive integers).
    """
    if node.op == "builder":
        return Node("builder", (node.args[0], restricted(node.args[1], kinds)))
    said = []
    for name in sorted(subjects(node) & set(kinds)):
        kind, letter = kinds[name], Node("symbol", (name,))
        sign = "≥" if kind == "N" else kind.lstrip("ZNQP")
        said += [Node("relation", ((sign,), letter, number("0")))] if sign else []
        said += [_named(letter, Node("symbol", (kind[0],)))] if kind[:1] in _KINDS else []
    return Node("list", (*(node.args if node.op == "list" else (node,)), *said)) if said else node


def subjects(node: Node) -> set[str]:
    """The letters that inequalities and equations are about, and not what is only named: x of x > a, and not y = x."""
    if node.op in ("list", "or"):
        return {name for item in node.args for name in subjects(item)}
    if node.op != "relation":
        return set()
    name, _ = name_and_values(said := solved(node))
    if name is None:
        return unknowns(node)
    return unknowns(name) if said.args[0] == ("∈",) else set()


def _kept(items: Sequence[Node]) -> Node | None:
    """x > 0, x ∈ ℤ as x ∈ [1, ∞) ∩ ℤ; None where `items` do not say of one letter where it is and of what kind."""
    named = [name_and_values(item) for item in items]
    kinds = {values[0].args[0] for _, values in named if values[0].op == "symbol"}
    parts = [_pieces(values[0]) for _, values in named if values[0].op != "symbol"]
    found = [part for part in parts if part is not None]
    names = {name for name, _ in named}
    name = names.pop()
    if names or name is None or not kinds or not kinds <= _KINDS or not 0 < len(found) == len(parts):
        return None
    both = functools.reduce(intervals.intersection, found)
    if kinds <= {"Z", "N"}:
        return _named(name, intervals.integers(both))
    return _named(name, Node("∩", (*(Node("symbol", (kind,)) for kind in sorted(kinds)), intervals.tree(both))))


def _pieces(node: Node) -> list[intervals.Piece] | None:
    """The pieces of a set of real numbers; a number is a set of one."""
    return intervals.pieces(node if node.op in ("group", "set", "∪", "∩", "∖") else Node("set", (node,)))


def _named(name: Node, value: Node) -> Node:
    """x ∈ value: what x < 3 says of x."""
    return Node("relation", (("∈",), name, value))


def substituted(node: Node, values: dict[str, Node]) -> Node:
    """The tree with other nodes in place of symbols."""
    if node.op == "symbol":
        return values.get(node.args[0], node)
    return Node(node.op, tuple(substituted(arg, values) if isinstance(arg, Node) else arg for arg in node.args))


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


def solved(node: Node) -> Node:
    """x < 3 is written as x ∈ (-∞, 3), everywhere in `node`."""
    if node.op == "text":
        words = _ARTICLE.sub("", node.args[0].rstrip("."), count=1)
        said = _SETS.get(node.args[0].rstrip("."), words)
        if signed := _SIGNED_REALS.fullmatch(said):
            kind = {"p": "\\R^+", "n": "\\R^-"}[signed[1][0]] if signed[1] in ("positive", "negative") else ""
            return parse(kind or ("\\R^*" if signed[1].endswith("zero") else "\\R_{≥0}"))
        return {"ℝ": intervals.REALS, "all integers": Node("symbol", ("Z",)), "∅": Node("set", ())}.get(
            said, Node("text", (said,))
        )
    if node == Node("symbol", ("DNE",)):
        return Node("text", ("does not exist",))
    if node.op == "builder":  # Its variable is bound: {x | x > 3} is {t | t > 3}.
        inside = solved(node.args[1])
        name, values = name_and_values(inside)
        if name and name.op == "symbol" and name.args != node.args[:1]:  # {y | x > 3}
            return node
        return values[0] if name and name.op == "symbol" and len(values) == 1 else inside
    if node.op == "+" and len(node.args) == 2 and (node.args[0].op, node.args[1].op) == ("group", "negative"):
        node = Node("∖", (node.args[0], node.args[1].args[0])) if node.args[1].args[0].op == "set" else node  # ℝ - {0}
    if node.op in ("∪", "∩", "∖"):
        node = Node(node.op, tuple(solved(item) for item in node.args))
        parts = intervals.pieces(node)
        return node if parts is None else intervals.tree(parts)
    if node.op in ("list", "set"):
        node = Node(node.op, _progression(node.args))
    if node.op in ("list", "or"):
        return _solved_list(node)
    if node.op != "relation":
        return node
    operators, *sides = node.args
    if operators == ("∈",) and is_name(sides[0]):
        return _named(sides[0], solved(sides[1]))
    if len(operators) == 1 and operators[0] in "<>≤≥≠" and is_constant(sides[0]) and sides[1].op == "symbol":
        operators, sides = (FLIPPED[operators[0]],), sides[::-1]
    if len(operators) == 1 and operators[0] in "<>≤≥" and sides[0].op == "negative" and is_constant(sides[1]):
        operators, sides = (FLIPPED[operators[0]],), [sides[0].args[0], Node("negative", (sides[1],))]  # -x > -1
    if operators == ("≠",) and sides[0].op == "symbol" and is_constant(sides[1]):
        rest = _without([sides[1]])
        return _named(sides[0], rest) if rest else node
    if len(operators) == 1 and operators[0] in "<>≤≥" and is_constant(sides[1]) and _is_distance(sides[0]):
        low, high = Node("negative", (sides[1],)), sides[1]  # |x| < 2
        brackets = ("(", ")") if operators[0] in "<>" else ("[", "]")
        inside = Node("group", (*brackets, low, high))
        if operators[0] in "<≤":
            return _named(sides[0].args[1], inside)
        outside = (_below(low, brackets[1]), _above(high, brackets[0]))
        return _named(sides[0].args[1], Node("∪", outside))
    if len(operators) == 1 and operators[0] in "<>≤≥" and sides[0].op == "symbol" and is_constant(sides[1]):
        closing, opening = (")", "(") if operators[0] in "<>" else ("]", "[")
        return _named(sides[0], _below(sides[1], closing) if operators[0] in "<≤" else _above(sides[1], opening))
    if len(operators) == 2 and sides[1].op == "symbol" and sides[1] not in (*nodes(sides[0]), *nodes(sides[2])):
        if set(operators) <= {">", "≥"}:
            operators, sides = tuple(FLIPPED[operator] for operator in operators[::-1]), sides[::-1]
        if set(operators) <= {"<", "≤"}:
            brackets = ("(" if operators[0] == "<" else "[", ")" if operators[1] == "<" else "]")
            return _named(sides[1], Node("group", (*brackets, sides[0], sides[2])))
    return node


def _progression(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """1, 2, 3, …, n as 1, 2, …, n: two terms say the step, and so do more."""
    place = next((at for at, item in enumerate(items) if item == Node("symbol", ("…",))), 0)
    if place < 3 or any(item.op != "number" for item in items[:place]):
        return items
    steps = {after.args[0] - before.args[0] for before, after in itertools.pairwise(items[:place])}
    return (*items[:2], *items[place:]) if len(steps) == 1 else items


def _point(node: Node) -> Node | None:
    """x = 1, y = 2, and x = y = 1, as (x, y) = (1, 2)."""
    values: dict[Node, Node] = {}
    for item in node.args if node.op == "list" else (node,):
        if item.op != "relation" or set(item.args[0]) != {"="} or any(name.op != "symbol" for name in item.args[1:-1]):
            return None
        if values.keys() & set(item.args[1:-1]):  # x = 1, x = 2, y = 3
            return None
        values |= dict.fromkeys(item.args[1:-1], item.args[-1])
    if len(values) < 2 or not all(map(is_constant, values.values())):
        return None
    names = sorted(values, key=lambda name: name.args[0])
    groups = (Node("group", ("(", ")", *items)) for items in (names, (values[name] for name in names)))
    return Node("relation", (("=",), *groups))


def _with_modulus(items: Sequence[Node]) -> Sequence[Node]:
    """n ≡ 0, 1 (mod 4): the modulus is that of all."""
    last = items[-1].args[-1] if items[-1].op == "relation" else items[-1]
    if not is_congruence(last):
        return items
    return [_marked(item, last.args[1]) for item in items]


def _marked(item: Node, mark: str) -> Node:
    if item.op == "relation" and item.args[0] == ("=",):
        return Node("relation", (*item.args[:-1], _marked(item.args[-1], mark)))
    return Node("mark", (item, mark)) if item.op in ("number", "symbol") and item.args[0] != "…" else item


def _below(end: Node, closing: str) -> Node:
    return Node("group", ("(", closing, negate(intervals.INFINITY), end))


def _above(end: Node, opening: str) -> Node:
    return Node("group", (opening, ")", end, intervals.INFINITY))


def _is_distance(node: Node) -> bool:
    """Whether `node` is |x|."""
    return (
        node.op == "function"
        and node.args[0] == "abs"
        and node.args[1].op == "symbol"
        and not is_constant(node.args[1])
    )


def _solved_list(node: Node) -> Node:
    """What stands side by side: x ≠ 1 and x ≠ 2; x < 1 or x > 3; x = 2, -2."""
    first, *others = node.args
    if node.op == "list" and first == Node("relation", (("∈",), *first.args[1:2], intervals.REALS)):
        first, *others = others  # x ∈ ℝ, x ≠ 1
    if node.op == "list" and first.op == "relation" and first.args[0] == ("≠",) and is_name(first.args[1]):
        points = [item.args[2] if item.args[:2] == first.args[:2] else item for item in (first, *others)]
        if all(point.op != "relation" and is_constant(point) for point in points):
            rest = _without(points)
            return _named(first.args[1], rest) if rest else node
    points = [_point(item) for item in node.args]
    if all(point and point.args[1] == points[0].args[1] for point in points if points[0]) and points[0]:
        return Node("list", tuple(point for point in points if point))
    items = tuple(solved(item) for item in _with_modulus(node.args))
    if kept := _kept(items) if node.op == "list" else None:
        return kept
    first, *others = items
    if (
        first.op == "relation"
        and first.args[0] in (("=",), ("∈",))
        and first.args[1].op == "symbol"
        and all(item.op not in ("relation", "symbol", "text") for item in others)
        and len(first.args) == 3
    ):  # x = 2, -2
        items = (first, *(Node("relation", (*first.args[:2], item)) for item in others))
    named = [name_and_values(item) for item in items]
    names, sets = {name for name, _ in named}, [values[0] for _, values in named]
    name = names.pop() if len(names) == 1 else None
    if node.op == "or" and name and name.op == "symbol" and any(item.op in ("group", "∪") for item in sets):
        return _named(
            name,
            solved(Node("∪", tuple(item if item.op in ("group", "∪") else Node("set", (item,)) for item in sets))),
        )
    several = len({name for name, _ in named} - {None}) == len(items)
    if node.op == "or" and (several or all(item.op in ("text", "symbol") for item in items)):
        return Node("or", items)  # x = 2 or y = 3 is no point, "Ann or Bob" not both; but x = 2 or 3 has two solutions.
    return Node("list", items)


def _without(points: Sequence[Node]) -> Node | None:
    """All real numbers but for some points; None where they are no constants."""
    parts = intervals.pieces(Node("set", tuple(points)))
    return None if parts is None else intervals.tree(intervals.complement(parts))


def is_name(node: Node) -> bool:
    """Whether `node` can only be a name for a value: x, f(x), (x, y), a : b, dy/dx, |AB|, sin A, "the area"."""
    if node.op in CARRIED_OUT:  # gcd(4, 6) = 2
        return True
    if node.op == "group":
        return all(is_name(item) for item in node.args[2:])
    if node.op == "*":
        below = [factor.args[0] for factor in node.args if factor.op == "inverse"]
        factors = [part for factor in below for part in (factor.args if factor.op == "*" else (factor,))]
        if len(node.args) == 2 and below and _is_differential(below[0]):
            return _is_differential(node.args[0])
        return bool(below) and all(is_name(factor) for factor in (*factors, *node.args) if factor.op != "inverse")
    if node.op == "function" and node.args[0] == "abs":  # |AB|
        return node.args[1].op == "symbol" and len(node.args[1].args[0]) > 1 and node.args[1].args[0].isupper()
    if node.op == "function" and node.args[0] in ("sin", "cos", "tan", "cot", "sec", "csc"):  # Of an angle.
        return node.args[1].op == "symbol" and (node.args[1].args[0].isupper() or node.args[1].args[0] in _ANGLES)
    return node.op in ("symbol", "call", "text") and node != Node("symbol", ("i",)) and node.args[0] not in ("pi", "e")


def _is_differential(node: Node) -> bool:
    """dy, as it stands in dy/dx."""
    return (
        node.op == "*"
        and len(node.args) == 2
        and node.args[0] == Node("symbol", ("d",))
        and node.args[1].op == "symbol"
    )


def name_and_values(node: Node) -> tuple[Node | None, tuple[Node, ...]]:
    """Splits x = 6 * 7 = 42 into its name and its values, which must all be the answer; x ∈ (0, 1) as well."""
    if node.op != "relation" or (set(node.args[0]) != {"="} and node.args[0] != ("∈",)):
        return None, (node,)
    sides = node.args[1:]
    if node.args[0] == ("∈",):
        return (sides[0], sides[1:]) if is_name(sides[0]) else (None, (node,))
    if is_name(sides[0]):
        return sides[0], sides[1:]
    if is_name(sides[-1]):
        return sides[-1], sides[:-1]
    return None, (node,)


def members(node: Node) -> tuple[Node, ...]:
    """What a list or a set holds; of anything else, itself."""
    return node.args if node.op in ("list", "set") else (node,)
