"""Reads a mathematical answer into a tree. Nothing that is read is ever executed.

    text -> (notation: normalize, tokenize) -> tokens -> (recursive descent) -> Node

Every reading is bounded in characters, tokens and depth, so no input can hang it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

from verifiers.notation import UNIT_LETTERS, Token, TooLarge, Unreadable, tokenize

MAX_DEPTH = 60
MAX_DIGITS = 1000
RELATIONS = {"=", "<", ">", "≤", "≥", "≠", "∈"}
_LABEL = re.compile(r"(?:[^0-9]|\^-?[0-9])*(?:(?<=[a-z])[0-9])?")  # "square units", "m s^-2", and not ", 6"
_OPERATION = re.compile(r"(?:squared|cubed|factorial|plus|minus)\b")  # "5 squared" is no 5 of anything.
_MAGNITUDES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
               "tenths": Fraction(1, 10), "hundredths": Fraction(1, 100), "thousandths": Fraction(1, 1000)}  # fmt: skip
_CONSTANTS = frozenset({"pi", "e", "∞"})
_HEDGE = re.compile(r"\b(?:or|and|not|but|maybe|perhaps|either|wrong|incorrect|false)\b|\?")
_FUNCTION_LETTERS = frozenset({*"fghFGHPQW", "Phi"})


class Node(NamedTuple):
    """One operation of an expression.

    number(value, places, significant) · symbol(name) · text(words) · function(name, *args) · call(symbol, *args) ·
    +(*terms) · *(*factors) · inverse(x) · negative(x) · ^(base, exponent) · ±(x) · ∓(x) ·
    mark(value, label): a unit, "%", "°", a base or "mod 5" ·
    group(open, close, *items): a tuple, an interval, or the sizes of a box ·
    set(*items) · builder(name, condition): {x | x > 2} ·
    ≈(value, decimal): √2 ≈ 1.41 · list(*items) · or(*items) · ∪(*sets) · ∩(*sets) · ∖(a, b) · moment(Date | Time) ·
    matrix(*rows) · relation(operators, *sides) ·
    many(name, *args): gcd, lcm, max, min · sum(variable, low, high, body) · prod(the same) ·
    int(variable, body) · int(variable, low, high, body) · lim(variable, to, side, body) · derivative(variable, body)
    """

    op: str
    args: tuple[Any, ...]


CARRIED_OUT = frozenset({"sum", "prod", "int", "lim", "derivative", "many"})  # Only a gold answer's are, by sympy.


def to_json(node: Node) -> list[Any]:
    """A tree as JSON data."""

    def plain(value: Any) -> Any:
        match value:
            case Node():
                return to_json(value)
            case Fraction():
                return {"fraction": str(value)}
            case tuple():
                return {"tuple": value}
        return value

    return [node.op, *map(plain, node.args)]


def from_json(data: list[Any]) -> Node:
    """The inverse of `to_json`."""

    def made(value: Any) -> Any:
        match value:
            case list():
                return from_json(value)
            case {"fraction": text}:
                return Fraction(text)
            case {"tuple": items}:
                return tuple(items)
        return value

    return Node(data[0], tuple(map(made, data[1:])))


def parse(text: str, *, thousands: bool = True) -> Node:
    """The tree of a normalized text.

    Raises:
      Unreadable: the text is not of the grammar.
      TooLarge: a bound was reached.
    """
    reader = _Reader(tokenize(text, thousands=thousands))
    tree = reader.listed()
    if reader.tokens:
        raise Unreadable(f"{reader.tokens[-1].value!r} in an odd place")
    return tree


def number(text: str) -> Node:
    """A number as it is written. Significant digits: those from the first that is not zero."""
    if len(text) > MAX_DIGITS:
        raise TooLarge(f"a number of {len(text)} digits; at most {MAX_DIGITS} are read")
    places = len(text.partition(".")[2])
    return Node("number", (Fraction(text), places, len(text.replace(".", "").lstrip("0"))))


def negate(node: Node) -> Node:
    """-node, with the sign inside numbers and marks, so that -5 % is a percentage."""
    if node.op == "number":
        return Node("number", (-node.args[0], *node.args[1:]))
    if node.op == "mark":
        return Node("mark", (negate(node.args[0]), node.args[1]))
    return Node("negative", (node,))


class _Reader:
    """Recursive descent over tokens, which are kept in reverse: the next is the last."""

    def __init__(self, tokens: list[Token]):
        self.tokens = tokens[::-1]
        self.depth = 0
        self.bars = 0  # Open "|": the next one closes.
        self.integrals = 0  # Open integrals: "d" and a symbol end them.

    def peek(self, ahead: int = 1) -> str:
        return self.tokens[-ahead].kind if len(self.tokens) >= ahead else ""

    def take(self) -> Token:
        if not self.tokens:
            raise Unreadable("the expression ends too early")
        return self.tokens.pop()

    def accept(self, *kinds: str) -> str:
        return self.take().kind if self.peek() in kinds else ""

    def expect(self, *kinds: str) -> str:
        token = self.take()
        if token.kind not in kinds:
            raise Unreadable(f"expected {' or '.join(kinds)}, found {token.value!r}")
        return token.kind

    def listed(self) -> Node:
        """a, b and c"""
        items, separators, chunks = [self.relation()], set(), [0]
        while separator := self.accept(",", ";", "and", "or"):
            while more := self.accept(",", ";", "and", "or"):
                separator = more if separator in (",", ";") else separator  # "1, 2, and 3", "1 \\quad or \\quad 2"
            separators.add(separator)
            if separator == "or":
                chunks.append(len(items))
            items.append(self.relation())
        if len(items) == 1:
            return items[0]
        if len(chunks) > 1 and len(separators) > 1 and all(item.op == "relation" for item in items):
            parts = [tuple(items[start:end]) for start, end in zip(chunks, [*chunks[1:], None], strict=True)]
            if all(len(part) > 1 for part in parts):  # x = 1, y = 2 or x = 3, y = 4
                return Node("or", tuple(Node("list", part) for part in parts))
        return Node("or" if separators == {"or"} else "list", tuple(items))

    def relation(self) -> Node:
        """a < b = c."""
        self.deeper()
        sides, operators = [self.union()], []
        while operator := self.accept(*RELATIONS, "≈"):
            side = self.union()
            is_named = len(sides) == 1 and sides[0].op == "symbol" and sides[0].args[0] != "pi"  # x ≈ 1.41
            if operator == "≈" and not is_named and _is_decimal(side):
                sides[-1] = Node("≈", (sides[-1], side))
            else:
                operators.append("=" if operator == "≈" else operator)
                sides.append(side)
        self.depth -= 1
        return Node("relation", (tuple(operators), *sides)) if operators else sides[0]

    def union(self) -> Node:
        items = [self.ratio()]
        while operator := self.accept("∪", "∩", "∖"):
            item = self.ratio()
            if operator == "∪":
                items.append(item)
            else:  # Both bind more tightly, to what is next to them.
                items[-1] = Node(operator, (items[-1], item))
        return Node("∪", tuple(items)) if len(items) > 1 else items[0]

    def ratio(self) -> Node:
        """a : b is a/b; of more than two, each is taken relative to the first."""
        items = [self.sum()]
        while self.accept(":"):
            items.append(self.sum())
        if len(items) == 1:
            return items[0]
        if len(items) == 2:
            return Node("*", (items[0], Node("inverse", (items[1],))))
        first = Node("inverse", (items[0],))
        return Node("group", (":", ":", *(Node("*", (item, first)) for item in items[1:])))

    def sum(self) -> Node:
        terms = []
        while True:
            sign = self.accept("+", "-", "±", "∓")
            if terms and not sign:
                return Node("+", tuple(terms)) if len(terms) > 1 else terms[0]
            term = self.product()
            terms.append(negate(term) if sign == "-" else Node(sign, (term,)) if sign in ("±", "∓") else term)

    def product(self) -> Node:
        factors = [self.power()]
        while True:
            operator = self.accept("*", "/")
            if operator:
                negative = False
                while sign := self.accept("+", "-"):
                    negative ^= sign == "-"
                factor = negate(self.power()) if negative else self.power()
                factors.append(Node("inverse", (factor,)) if operator == "/" else factor)
            elif self.peek() == "text" and not any(factor.op == "text" for factor in factors):
                words = []
                while self.peek() == "text" or (self.peek() == "symbol" and self.tokens[-1].value in UNIT_LETTERS):
                    words.append(self.take().value)  # kg m
                if self.accept("^"):  # cm^2
                    words.append("^" + str(self.exponent().args[0]))
                while self.peek() == "/" and self.peek(2) in ("text", "symbol"):  # km/h
                    words[-1] += self.take().value + self.take().value
                    if self.accept("^"):
                        words[-1] += "^" + str(self.exponent().args[0])
                label = " ".join(words)
                while (magnitude := label.partition(" ")[0].lower()) in _MAGNITUDES:  # 5 million dollars
                    factors.append(Node("number", (Fraction(_MAGNITUDES[magnitude]), 0, 0)))
                    label = label.partition(" ")[2]
                if not label:
                    continue
                lower = label.lower()
                if _OPERATION.match(lower) or not _LABEL.fullmatch(lower) or _HEDGE.search(lower):
                    raise Unreadable(f"more than a unit behind the value: {label!r:.40}")
                quantity = Node("mark", (_product(factors), label))
                if self.peek() in ("*", "by") and self.peek(2) == "number" and self.peek(3) == "text":  # 5 ft × 6 ft
                    self.take()
                    self.deeper()
                    side = self.product()
                    self.depth -= 1
                    return Node("group", ("×", "×", quantity, *(side.args[2:] if side.op == "group" else (side,))))
                if self.peek() == "number" and self.peek(2) == "text":  # 5 ft 6 in
                    self.deeper()
                    rest = self.product()
                    self.depth -= 1
                    return Node("list", (quantity, *(rest.args if rest.op == "list" else (rest,))))
                return quantity
            elif self.peek() == "pmod":  # 2 (mod 5)
                self.take()
                modulus = self.argument()
                if modulus.op != "number":
                    raise Unreadable("a modulus that is no number")
                return Node("mark", (_product(factors), f"mod {modulus.args[0]}"))
            elif self.peek(2) == "'" and factors[-1].op == "mark" and factors[-1].args[1] == "°":
                factors[-1] = self.minutes_of_arc(factors[-1])
            elif self.starts_factor():
                if self.mixed_number(factors):
                    continue
                if self.peek() in ("number", "repeating") and not self.is_times(factors[-1]):
                    raise Unreadable("two numbers side by side")
                factors.append(self.power())
            elif len(factors) > 1 and (unit := _unit_fraction(factors[-1])):  # 10 \frac{\text{m}}{\text{s}}
                return Node("mark", (_product(factors[:-1]), unit))
            else:
                return _product(factors)

    def is_times(self, factor: Node) -> bool:
        """Whether a number behind `factor` multiplies it: 3!7!, (x + 1) 2, n 2^{n-2}, 1.5 10^3; but not 2 3."""
        if factor.op == "number":
            return self.tokens[-1].value == "10" and self.peek(2) == "^" and abs(factor.args[0]) < 10
        if factor.op in ("symbol", "*"):
            return self.peek(2) == "^" and not is_number(factor)
        power = factor.op == "^" and not is_number(factor)
        return power or factor.op == "+" or (factor.op == "function" and factor.args[0] != "root")

    def minutes_of_arc(self, degrees: Node) -> Node:
        """30° 15' 20''"""
        parts = [degrees.args[0]]
        for sixtieths, marks in ((60, 1), (3600, 2)):
            if self.peek() == "number" and all(self.peek(2 + i) == "'" for i in range(marks)):
                part = number(self.take().value).args[0] / sixtieths
                self.tokens = self.tokens[:-marks]
                parts.append(Node("number", (part, 0, 0)))
        return Node("mark", (Node("+", tuple(parts)), "°"))

    def mixed_number(self, factors: list[Node]) -> bool:
        r"""1 1/2 and 1\frac{1}{2} are sums, not products."""
        whole = factors[-1]
        if len(factors) > 1 or whole.op != "number" or whole.args[1]:
            return False
        mark: tuple[str, ...] = ()
        if self.peek() == "number" and self.peek(2) == "/" and self.peek(3) == "number":
            top = number(self.take().value)
            self.take()
            bottom = number(self.take().value)
        elif self.peek() == "frac" or (self.peek() == "{" and self.peek(2) == "frac"):
            fraction = self.power()
            if fraction.op == "mark" and fraction.args[1] in ("%", "°"):  # 33 1/3 %
                fraction, mark = fraction.args[0], fraction.args[1:]
            if fraction.op != "*" or any(part.op != "number" for part in (fraction.args[0], fraction.args[1].args[0])):
                factors.append(Node("mark", (fraction, *mark)) if mark else fraction)
                return True
            top, bottom = fraction.args[0], fraction.args[1].args[0]
        else:
            return False
        if not 0 <= top.args[0] < bottom.args[0]:
            raise Unreadable("a mixed number whose fraction is not below one")
        factors[-1] = Node("+", (whole, Node("*", (top, Node("inverse", (bottom,))))))
        if mark:
            factors[-1] = Node("mark", (factors[-1], *mark))
        return True

    def starts_factor(self) -> bool:
        kinds = ("number", "repeating", "symbol", "function", "(", "[", "{", "\\{", "frac", "binom", "lfloor", "lceil",
                 "big", "many")  # fmt: skip
        return self.peek() in (*kinds, "∞", "…", "begin", "boxed", "text") or (self.peek() == "|" and not self.bars)

    def power(self) -> Node:
        self.deeper()
        base = self.postfix(self.atom())
        if self.accept("^"):
            if self.peek() == "text":  # 12^{th}
                base = Node("mark", (base, self.take().value))
            else:
                exponent = self.exponent()
                if exponent == _T and base.op in ("group", "matrix"):
                    base = _transposed(base)
                elif exponent.op == "text":  # 12^{\text{th}}
                    base = Node("mark", (base, exponent.args[0]))
                else:
                    base = Node("^", (base, exponent))
                base = self.postfix(base)
        self.depth -= 1
        return base

    def exponent(self) -> Node:
        negative = self.accept("-", "+") == "-"
        if self.peek() == "number":
            exponent = number(self.take().value)
        elif self.peek() == "{":
            exponent = self.argument()
        else:
            exponent = self.atom()
        if self.accept("^"):  # Powers bind to the right.
            self.deeper()
            exponent = Node("^", (exponent, self.exponent()))
            self.depth -= 1
        return negate(exponent) if negative else exponent

    def postfix(self, node: Node) -> Node:
        for _ in range(4):
            if self.accept("!"):
                node = _double_factorial(node) if self.accept("!") else Node("function", ("factorial", node))
            elif mark := self.accept("%", "°"):
                if node.op == "mark":
                    raise Unreadable(f"{mark} behind {node.args[1]}")
                node = Node("mark", (node, mark))
            else:
                return node
        raise TooLarge("more than three postfix signs in a row")

    def atom(self) -> Node:
        kind, value = self.take()
        if kind == "number":
            if self.accept("_"):
                return Node("mark", (number(value), "base " + self.subscript()))
            return number(value)
        if kind == "repeating":
            return _repeating(value)
        if kind == "symbol" and value == "ℝ":
            return self.reals()
        if kind == "symbol" and value in ("Z", "N") and self.is_marked():
            return self.integers(value)
        if kind == "symbol":
            return self.symbol(value)
        if kind == "text":
            words = [value]
            while self.peek() == "text":
                words.append(self.take().value)
            return Node("text", (" ".join(words).lower(),))
        if kind == "function":
            return self.function(value)
        if kind == "big":
            return self.big(value)
        if kind == "many":
            inside = self.bracket(self.take().kind, "(")
            items = inside.args[2:] if inside.op == "group" else inside.args if inside.op == "set" else ()
            if len(items) < 2:
                raise Unreadable(f"{value} of one number")
            return Node("many", (value, *items))
        if kind == "frac":
            top = self.argument()
            if top == _D and self.peek() == "{" and self.peek(2) == "symbol" and self.peek(3) == "symbol":
                bottom = self.argument()
                if bottom.op == "*" and bottom.args[0] == _D:
                    return Node("derivative", (bottom.args[1].args[0], self.product()))
                return Node("*", (top, Node("inverse", (bottom,))))
            return Node("*", (top, Node("inverse", (self.argument(),))))
        if kind == "binom":
            return Node("function", ("binomial", self.argument(), self.argument()))
        if kind == "boxed":
            return self.argument()
        if kind in ("∞", "…"):
            return Node("symbol", (kind,))
        if kind == "∅":
            return Node("set", ())
        if kind == "begin":
            if value == "cases":
                return self.cases()
            return Node("function", ("determinant", self.matrix())) if value == "vmatrix" else self.matrix()
        if kind in ("lfloor", "lceil"):
            inside = self.relation()
            self.expect("r" + kind[1:])
            return Node("function", ("floor" if kind == "lfloor" else "ceil", inside))
        if kind == "|":
            self.bars += 1
            inside = self.relation()
            self.bars -= 1
            self.expect("|")
            return Node("function", ("abs", inside))
        if kind == "-":
            self.deeper()
            inside = negate(self.atom())
            self.depth -= 1
            return inside
        return self.bracket(kind, value)

    def is_marked(self) -> bool:
        """Whether a sign at the right follows that makes a set of a name: Z^+, and not Z^2."""
        return self.peek() in ("^", "_") and self.peek(3 if self.peek(2) == "{" else 2) in ("+", "*", ">", "≥")

    def marks(self) -> str:
        r"""Takes what stands at the right of the name of a set: ^+, _{>0}, _{\ge 0}, ^*."""
        marks = ""
        while self.peek() in ("^", "_") and self.peek(2) in ("+", "-", "*", ">", "<", "≥", "≤", "≠", "{"):
            self.take()
            braced = self.accept("{")
            while self.peek() in ("+", "-", "*", ">", "<", "≥", "≤", "≠") or (braced and self.peek() == "number"):
                marks += self.take().value
            if braced:
                self.expect("}")
        return marks

    def integers(self, name: str) -> Node:
        r"""\mathbb{Z}^+ and the like, as [1, ∞) ∩ ℤ."""
        marks = self.marks()
        low = {"+": "1", ">0": "1", "≥0": "0", "*": "1" if name == "N" else None}.get(marks)
        if low is None:
            raise Unreadable(f"a part of the integers: {marks!r:.40}")
        above = Node("group", ("[", ")", number(low), Node("symbol", ("∞",))))
        return Node("∩", (above, Node("symbol", ("Z",))))

    def reals(self) -> Node:
        r"""\mathbb{R} and what its marks leave of it."""
        infinity, zero = Node("symbol", ("∞",)), number("0")
        above, below = Node("group", ("(", ")", zero, infinity)), Node("group", ("(", ")", negate(infinity), zero))
        marks = self.marks()
        sets = {
            "": Node("group", ("(", ")", negate(infinity), infinity)), "+": above, ">0": above, "-": below, "<0": below,
            "*": Node("∪", (below, above)), "≠0": Node("∪", (below, above)), "+*": above, "*+": above,
            "≥0": Node("group", ("[", ")", zero, infinity)), "≤0": Node("group", ("(", "]", negate(infinity), zero)),
        }  # fmt: skip
        if marks not in sets:
            raise Unreadable(f"a part of the real numbers: {marks!r:.40}")
        return sets[marks]

    def big(self, name: str) -> Node:
        r"""What stands behind \sum, \prod, \int or \lim, and its bounds."""
        self.deeper()
        if name == "int":
            bounds = []
            if self.accept("_"):
                bounds.append(self.argument())
                self.expect("^")
                bounds.append(self.argument())
            self.integrals += 1
            variable, body = _integrand(self.sum())
            self.integrals -= 1
            node = Node("int", (variable, *bounds, body))
        else:
            self.expect("_")
            self.expect("{")
            variable = self.take()
            if variable.kind != "symbol":
                raise Unreadable(f"{variable.value!r} for a variable")
            self.expect("→" if name == "lim" else "=")
            if name == "lim":
                negative = self.accept("-", "+") == "-"
                to, side = self.postfix(self.atom()), ""
                if self.accept("^"):
                    braced = self.accept("{")
                    side = self.expect("+", "-")
                    if braced:
                        self.expect("}")
                bounds = [negate(to) if negative else to, side]
                self.expect("}")
            else:
                bounds = [self.sum()]
                self.expect("}")
                self.expect("^")
                bounds.append(self.argument())
            node = Node(name, (variable.value, *bounds, self.product()))
        self.depth -= 1
        return _renamed(node, node.args[0], node.args[0] + "'") if node.args[0] in ("i", "e") else node

    def bracket(self, kind: str, value: str) -> Node:
        bars, self.bars = self.bars, 0
        if kind == "\\{" and self.peek() == "symbol" and self.peek(2 if self.peek(2) != "∈" else 4) in ("|", ":"):
            name, among = self.take().value, None  # {x | x > 2}, {x ∈ ℤ | x > 2}
            if self.accept("∈"):
                among = self.take()
            self.take()
            inside = self.listed()
            if among and among.value != "ℝ":
                member = Node("relation", (("∈",), Node("symbol", (name,)), Node("symbol", (among.value,))))
                inside = Node("list", (member, *(inside.args if inside.op == "list" else (inside,))))
            node = Node("builder", (name, inside))
            self.expect("\\}")
        elif kind == "\\{":
            doubled = self.peek() == "{"  # \{{1, 2}\}
            inside = Node("list", ()) if self.peek() == "\\}" else self.listed()
            self.expect("\\}")
            several = inside.op == "list" or (doubled and inside.op == "set")
            node = Node("set", inside.args if several else (inside,))
        elif kind == "{":
            inside = self.listed()
            self.expect("}")
            node = Node("set", inside.args) if inside.op == "list" else inside
        elif kind in ("(", "["):
            inside = self.listed()
            close = self.expect(")", "]")
            several = inside.op in ("list", "or")
            if not several and (kind, close) not in (("(", ")"), ("[", "]")):
                raise Unreadable("brackets that do not match")
            node = Node("group", (kind, close, *inside.args)) if several else inside
        else:
            raise Unreadable(f"{value!r} in an odd place")
        self.bars = bars
        return node

    def symbol(self, name: str) -> Node:
        if self.accept("_"):
            name += "_" + self.subscript()
        while self.accept("'"):
            name += "'"
        if self.peek() == "(" and (name.rstrip("'").partition("_")[0] in _FUNCTION_LETTERS or self.is_named_left()):
            arguments = self.bracket(self.take().kind, "(")
            if arguments.op == "group" and arguments.args[1] != ")":
                raise Unreadable("brackets that do not match")
            items = arguments.args[2:] if arguments.op == "group" else (arguments,)
            return Node("call", (name, *items))
        return Node("symbol", (name,))

    def is_named_left(self) -> bool:
        """Whether "(x, y) =" follows: the left side of a definition such as u(x, y) = ..."""
        ahead = 2
        while self.peek(ahead) in ("symbol", ","):
            ahead += 1
        return ahead > 2 and self.peek(ahead) == ")" and self.peek(ahead + 1) == "="

    def subscript(self) -> str:
        if not self.accept("{"):
            return self.take().value
        parts = []
        while self.peek() != "}":
            token = self.take()
            if token.kind == "{":
                raise Unreadable("a subscript with braces inside")
            parts.append(token.value)
        self.take()
        return "".join(parts)

    def argument(self) -> Node:
        r"""What a command applies to: a group, or the next single sign (\frac12)."""
        self.deeper()
        if self.accept("{"):
            bars, self.bars = self.bars, 0
            node = self.listed()
            self.expect("}")
            self.bars = bars
        elif self.peek() == "number":
            digits = self.take().value
            if len(digits) > 1 and digits[0] != ".":
                self.tokens.append(Token("number", digits[1:]))
                digits = digits[0]
            node = number(digits)
        else:
            node = self.atom()
        self.depth -= 1
        return node

    def function(self, name: str) -> Node:
        exponent = base = None
        if name == "sqrt" and self.accept("["):
            base = self.sum()
            self.expect("]")
        for _ in range(2):
            if name != "sqrt" and self.accept("^"):
                exponent = self.argument()
            elif name != "sqrt" and self.accept("_"):
                base = self.argument()
        if name == "sqrt":
            inside = self.argument()
        elif self.peek() in ("(", "{", "["):
            inside = self.atom()
        else:  # sin 2x: the simple factors that follow
            factors = [self.power()]
            while self.peek() in ("symbol", "frac") and not (self.integrals and self.tokens[-1].value == "d"):
                factors.append(self.power())
            inside = _product(factors)
        if exponent == negate(number("1")):
            return Node("function", ("arc" + name, inside))
        if name == "sqrt":
            node = Node("function", ("root", inside, base or number("2")))
        elif name == "cis":  # cos x + i sin x
            node = Node("^", (Node("symbol", ("e",)), Node("*", (Node("symbol", ("i",)), inside))))
        elif name == "lg":
            below = Node("inverse", (Node("function", ("ln", number("10"))),))
            node = Node("*", (Node("function", ("ln", inside)), below))
        elif base is not None:
            below = Node("inverse", (Node("function", ("ln", base)),))
            node = Node("*", (Node("function", ("ln", inside)), below))
        else:
            node = Node("function", (name, inside))
        return node if exponent is None else Node("^", (node, exponent))

    def matrix(self) -> Node:
        rows: list[list[Node]] = [[]]
        while True:
            rows[-1].append(self.relation())
            separator = self.expect("&", "\\\\", "end")
            if separator == "\\\\" and self.peek() == "end":
                separator = self.take().kind
            if separator == "end":
                return Node("matrix", tuple(Node("group", ("[", "]", *row)) for row in rows))
            if separator == "\\\\":
                rows.append([])

    def cases(self) -> Node:
        """A list: of equations that hold together, or of values and their conditions."""
        rows: list[list[Node]] = [[]]
        while True:
            if self.peek() == "text" and self.tokens[-1].value.lower() in ("if", "for", "when"):
                self.take()
            rows[-1].append(self.relation())
            self.accept(",", ";")
            separator = self.expect("&", "\\\\", "end")
            if separator == "\\\\" and self.peek() == "end":
                separator = self.take().kind
            if separator == "end":
                return Node("list", tuple(Node("group", ("{", "}", *row)) if len(row) > 1 else row[0] for row in rows))
            if separator == "\\\\":
                rows.append([])

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"an expression nested deeper than {MAX_DEPTH}")


def is_number(node: Node) -> bool:
    """Whether `node` is made of numbers alone."""
    return node.op == "number" or (node.op in ("*", "^", "inverse", "negative") and all(map(is_number, node.args)))


def is_congruence(node: Node) -> bool:
    """Whether `node` is a value modulo some number, 1 (mod 4)."""
    return node.op == "mark" and node.args[1].startswith("mod ")


def nodes(node: Node) -> Iterator[Node]:
    """Every node of a tree, in no order to rely on."""
    left = [node]
    while left:
        node = left.pop()
        yield node
        left += [arg for arg in node.args if isinstance(arg, Node)]


def holds(node: Node, ops: Collection[str]) -> bool:
    """Whether a node with one of some `ops` stands in a tree."""
    return any(part.op in ops for part in nodes(node))


def is_constant(node: Node) -> bool:
    """Whether `node` has no variables; i, which may be one, counts as such."""
    return not any(part.op == "symbol" and part.args[0] not in _CONSTANTS for part in nodes(node))


def unknowns(node: Node) -> set[str]:
    """The names of what has no value, with words and units, which may be products of letters."""
    place = {"symbol": 0, "text": 0, "mark": 1}  # Of the name among the arguments.
    return {part.args[place[part.op]] for part in nodes(node) if part.op in place} - _CONSTANTS - {"i"}


_D = Node("symbol", ("d",))
_T = Node("symbol", ("T",))


def _transposed(node: Node) -> Node:
    """A matrix with its rows for columns; a row as a column."""
    rows = [row.args[2:] for row in node.args] if node.op == "matrix" else [node.args[2:]]
    if len({len(row) for row in rows}) > 1:
        raise Unreadable("a matrix with rows of different lengths")
    return Node("matrix", tuple(Node("group", ("[", "]", *column)) for column in zip(*rows, strict=True)))


def _is_decimal(node: Node) -> bool:
    """Whether `node` is a number as it is written behind "≈": 1.41, 58 %, -2.5 × 10^3."""
    while node.op in ("mark", "negative"):
        node = node.args[0]
    return node.op == "number" or (node.op == "*" and all(factor.op in ("number", "^") for factor in node.args))


def _renamed(node: Node, old: str, new: str) -> Node:
    r"""The i of \sum_{i=1}^n is no imaginary unit."""
    return Node(
        node.op,
        tuple(_renamed(a, old, new) if isinstance(a, Node) else new if a == old else a for a in node.args),
    )


def _integrand(node: Node) -> tuple[str, Node]:
    """The variable and the body of what stands behind an integral sign: "x^2 dx", "x + 1 dx", "dx / x"."""
    if node.op == "+":
        variable, last = _integrand(node.args[-1])
        return variable, Node("+", (*node.args[:-1], last))
    if node.op == "negative":
        variable, body = _integrand(node.args[0])
        return variable, Node("negative", (body,))
    factors = list(node.args) if node.op == "*" else [node]
    if len(factors) > 1 and factors[-2] == _D and factors[-1].op == "symbol":
        return factors[-1].args[0], _product(factors[:-2] or [number("1")])
    for place, factor in enumerate(factors):
        if factor.op == "*" and len(factor.args) > 1 and factor != node:
            variable, body = _integrand(factor)
            return variable, _product([*factors[:place], body, *factors[place + 1 :]])
    raise Unreadable("an integral without its differential")


def _double_factorial(node: Node) -> Node:
    """7!! is 7 · 5 · 3 · 1; of what is no small number, only itself."""
    if node.op == "number" and node.args[0].denominator == 1 and 0 <= node.args[0] <= 300:
        return Node("number", (Fraction(prod(range(int(node.args[0]), 1, -2))), 0, 0))
    return Node("function", ("double factorial", node))


def _unit_fraction(node: Node) -> str | None:
    """The label m/s^2 of a fraction of words; None of anything else."""
    if node.op != "*" or len(node.args) != 2 or node.args[1].op != "inverse":
        return None
    names, words = [], 0
    for part in (node.args[0], node.args[1].args[0]):
        unit, power = part.args if part.op == "^" else (part, None)
        if unit.op not in ("text", "symbol") or (power and power.op != "number"):
            return None
        words += unit.op == "text"
        names.append(unit.args[0] + (f"^{power.args[0]}" if power else ""))
    return "/".join(names) if words else None


def _product(factors: list[Node]) -> Node:
    return Node("*", tuple(factors)) if len(factors) > 1 else factors[0]


def _repeating(text: str) -> Node:
    r"""0.1\overline{6} is 15/90."""
    if len(text) > 200:
        raise TooLarge("a repeating decimal of more than 200 signs")
    start, block = text[:-1].split("\\overline{")
    whole, _, places = start.partition(".")
    shift, period = 10 ** len(places), 10 ** len(block) - 1
    value = Fraction(int((whole + places) or 0) * period + int(block), shift * period)
    return Node("number", (value, 0, 0))
