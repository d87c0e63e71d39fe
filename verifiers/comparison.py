"""Whether two trees say the same, directed by what the gold is: a value, a list, an equation, a quantity, a matrix."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from verifiers import dates
from verifiers.evaluation import BITS, WIDE, Inexact, Numeric, Rational, Residue, Undefined, evaluate
from verifiers.expressions import Node, holds, is_congruence, is_constant, nodes, unknowns
from verifiers.measures import Unit, parse_unit
from verifiers.notation import TooLarge
from verifiers.readings import FLIPPED, members, name_and_values, substituted

_NEAR = range(WIDE)
_FAR = range(WIDE, WIDE + 3)  # |x - 20| is 20 - x wherever x is small.
_ROUNDED_ROUNDS = range(WIDE, WIDE + 30)  # (2n - 1)/5 and (2n - 2)/5, rounded down, differ at every fifth n.
_STEPS = frozenset({"floor", "ceil"})
_KINKS = frozenset({"abs", "root"})
_RADIANS = {"rad", "rads", "radian", "radians"}
_POWERS = {"square units": 2, "sq units": 2, "units ^2": 2, "cubic units": 3, "cu units": 3, "units ^3": 3}


class Comparison:
    """Compares trees, directed by the gold, and counts the work.

    Attributes:
      significant_digits: the fewest with which a decimal that is the correct rounding of an exact value is that value.
      tolerance: relative; 0 is exact.
      work: evaluations of an operation that may still be made; below 0, `TooLarge` is raised.
    """

    def __init__(self, significant_digits: int, tolerance: float, work: int):
        self.significant_digits = significant_digits
        self.tolerance = tolerance
        self.allowed = self.work = work

    def same(self, gold: Node, answer: Node) -> bool:
        self.spend(1)
        if gold == answer:
            return True
        if gold.op == answer.op == "number":
            return self.same_value(gold, answer)
        if "text" in (gold.op, answer.op) and gold.op in ("text", "symbol") and answer.op in ("text", "symbol"):
            return _same_words(gold, answer)
        if gold.op == answer.op == "or":
            return self.matched(list(gold.args), list(answer.args))
        if gold.op in ("list", "set") or answer.op in ("list", "set") or _has_sign(gold) or _has_sign(answer):
            return self.same_collection(gold, answer)
        (gold_name, golds), (name, answers) = name_and_values(gold), name_and_values(answer)
        curve = gold.op == "relation" and not (gold_name and is_constant(golds[0]))  # y = 2x + 1, x + y = 3
        if curve and answer.op == "relation" and self.same_relation(gold, answer):
            return True
        if gold_name or (name and gold.op != "relation"):
            named_alike = gold.op != "relation" or answer.op != "relation" or gold.args[0][0] == answer.args[0][0]
            if gold_name and name and named_alike and not self.same_name(gold_name, name):
                return False  # But x ∈ [0, 1] is I = [0, 1].
            if gold_name and name and is_congruence(golds[-1]) != is_congruence(answers[-1]):
                return False  # n ≡ 1 (mod 3) is not n = 1.
            if gold_name and name and gold_name.op == name.op == "call":  # f(x) = 2x is f(t) = 2t.
                bound = {new.args[0]: Node("symbol", ("another",)) for new in gold_name.args[1:]}
                bound |= {old.args[0]: new for old, new in zip(name.args[1:], gold_name.args[1:], strict=True)}
                answers = tuple(substituted(value, bound) for value in answers)
            if not gold_name and name and gold.op == name.op and _is_choice(gold) and _is_choice(name):
                return False  # B = C, "odd = even"
            worth = [value for value in golds if value.op != "symbol"]  # a = b = 2 says 2, and a = b = c says more.
            if len(golds) > 1 and not worth:
                return False
            return any(self.same_chain(value, answers) for value in worth or golds)
        if "moment" in (gold.op, answer.op):
            return _same_moment(gold, answer)
        if gold.op == "relation" or answer.op == "relation":
            return self.same_relation(gold, answer)
        if gold.op == "mark" or answer.op == "mark":
            return self.same_marked(gold, answer)
        if gold.op == "group" and answer.op == "call" and re.fullmatch("[A-Z]", answer.args[0]):  # P(1, 2), a point
            answer = Node("group", ("(", ")", *answer.args[1:]))
        answer = _vector(answer, gold)
        gold = _vector(gold, answer)
        answer = _vector(answer, gold)
        if gold.op in ("group", "matrix", "∪", "∩", "∖") or answer.op in ("group", "matrix", "∪", "∩", "∖"):
            if gold.op != answer.op or len(gold.args) != len(answer.args):
                return False
            if gold.op in ("∪", "∩"):
                return self.matched(list(gold.args), list(answer.args))
            skip = 2 if gold.op == "group" else 0
            pairs = zip(gold.args[skip:], answer.args[skip:], strict=True)
            return gold.args[:skip] == answer.args[:skip] and all(self.same(g, a) for g, a in pairs)
        return self.same_value(gold, answer)

    def same_chain(self, gold: Node, sides: Sequence[Node]) -> bool:
        """6 * 7 = 42: each side is the gold, and no unit contradicts another (43 min = 43 Hz)."""
        marked = [side for side in sides if side.op == "mark"]
        agree = all(self.same(one, other) for one, other in itertools.pairwise(marked))
        return agree and all(self.same(gold, side) for side in sides)

    def same_name(self, gold: Node, name: Node) -> bool:
        if gold.op == name.op == "call":  # f(x) and f(t)
            arguments = (*gold.args[1:], *name.args[1:])
            same = _stem(gold) == _stem(name) and len(gold.args) == len(name.args)
            letters = all(argument.op == "symbol" and not argument.args[0].isupper() for argument in arguments)
            return gold == name or (same and letters)  # P(A) is not P(B).
        if gold.op == name.op == "group" and set(gold.args) == set(name.args):  # (y, x) is not (x, y).
            return gold == name
        loose = {gold.op, name.op} & {"text", "group"}
        if {gold.op, name.op} == {"call", "symbol"}:  # f(x) and y, y(x) and y
            call, symbol = (gold, name) if gold.op == "call" else (name, gold)
            return call.args[0] == symbol.args[0] or (symbol.args[0] == "y" and (gold is call or call.args[0] == "f"))
        if gold.op == name.op == "symbol":  # x and x_1, not x_1 and x_2
            return gold.args[0] in (name.args[0], _stem(name)) or name.args[0] == _stem(gold)
        return gold == name or bool(loose)

    def same_collection(self, gold: Node, answer: Node) -> bool:
        """Lists and sets, in any order; named or grouped values of a list in the list's order."""
        gold_name, golds = name_and_values(gold)
        name, answers = name_and_values(answer)
        if gold_name and name and not self.same_name(gold_name, name):
            return False
        gold, answer = golds[0], answers[0]
        if len(answers) > 1:
            return all(self.same(gold, value) for value in answers)
        if gold.op == "group" and gold.args[:2] == ("(", ")") and answer.op == "list":  # x = 1, y = 2 for (1, 2)
            values = self.coordinates(gold_name, answer.args)
            if values:
                return self.in_order(gold.args[2:], values)
        if answer.op == "group" and gold.op == "list" and not _has_sign(answer):  # (x, y) = (1, 2) for 1, 2
            answer = Node("list", answer.args[2:]) if answer.args[0] == "(" and answer.args[1] == ")" else answer
            return answer.op == "list" and self.in_order(gold.args, answer.args)
        gold, answer = _listed(gold, answer), _listed(answer, gold)
        left = [tree for item in members(gold) for tree in _alternatives(item)]
        right = [tree for item in members(answer) for tree in _alternatives(item)]
        for items, others in ((left, right), (right, left)):  # p = 3, q = 4 and 3, 4
            names = {_stem(name) for item in items if (name := name_and_values(item)[0])}
            if len(names) == len(items) > 1 and not any(name_and_values(other)[0] for other in others):
                return self.in_order(left, right)
        if answer.op in ("list", "set") and len(right) == 2 > len(left) == 1 and left[0].op not in ("set", "∪"):
            return all(self.same(left[0], item) for item in right)  # 3/2 or 1.5
        if gold.op in ("list", "set") and answer.op in ("list", "set"):
            if sum(item.op == "set" for item in left) != sum(item.op == "set" for item in right):
                return False  # {{1}, {2}} is no {1, 2}.
            once, also = list(dict.fromkeys(left)), list(dict.fromkeys(right))
            if len(once) == len(left) or "set" in (gold.op, answer.op):  # Those of an answer may be left out.
                left, right = once, also
        return self.matched(left, right)

    def coordinates(self, names: Node | None, items: Sequence[Node]) -> list[Node]:
        """The values of "x = 1, y = 2" in the order of `names`, or of the alphabet; none where one has no name."""
        named = [name_and_values(item) for item in items]
        if any(name is None or name.op != "symbol" or len(values) != 1 for name, values in named):
            return []
        found = {name.args[0]: values[0] for name, values in named if name}
        order = [name.args[0] for name in names.args[2:]] if names and names.op == "group" else sorted(found)
        return [found[name] for name in order] if sorted(found) == sorted(order) and len(found) == len(items) else []

    def in_order(self, golds: Any, answers: Any) -> bool:
        return len(golds) == len(answers) and all(self.same(g, a) for g, a in zip(golds, answers, strict=True))

    def matched(self, golds: list[Node], answers: list[Node]) -> bool:
        """Whether each has its own match on the other side, in any order."""
        if len(golds) != len(answers):
            return False
        left = list(answers)
        for gold in golds:
            match = next((index for index, answer in enumerate(left) if self.same(gold, answer)), None)
            if match is None:
                return False
            del left[match]
        return True

    def same_relation(self, gold: Node, answer: Node) -> bool:
        if gold.op != "relation":
            # A chain such as 6 * 7 = 42 states a value if it is true; an unsolved inequality states none.
            return set(answer.args[0]) == {"="} and self.same_chain(gold, answer.args[1:])
        if answer.op != "relation":  # A gold answer may say 6 * 7 = 42.
            values = gold.args[1:]
            return (
                set(gold.args[0]) == {"="} and is_constant(gold) and all(self.same(value, answer) for value in values)
            )
        for operators, *sides in (answer.args, (_flip(answer.args[0]), *answer.args[:0:-1])):
            if tuple(operators) == gold.args[0] and self.in_order(gold.args[1:], sides):
                return True
        if set(gold.args[0]) == set(answer.args[0]) == {"="} and len(gold.args[0]) > 1:
            return self.matched(list(gold.args[1:]), list(answer.args[1:]))  # a = b = c in any order
        if set(gold.args[0]) == set(answer.args[0]) == {"="} and is_constant(gold) and is_constant(answer):
            return all(self.same(gold.args[1], side) for side in (*gold.args[2:], *answer.args[1:]))  # 2 * 21 = 42
        if len(gold.args) != 3 or len(answer.args) != 3:
            return False
        if self.same_up_to_factor(gold, answer):
            return True  # Where the gold is solved for a letter, the answer has to be.
        return name_and_values(gold)[0] is None and self.same_up_to_factor(gold, _cleared(answer))

    def same_up_to_factor(self, gold: Node, answer: Node) -> bool:
        """x + 2y = 3 and 2x + 4y = 6: the differences of the sides have a constant ratio."""
        operator, ratios, ours = answer.args[0][0], [], []
        if operator not in FLIPPED or gold.args[0][0] not in FLIPPED:
            return False
        one, other = (Node("+", (side[0], Node("negative", (side[1],)))) for side in (gold.args[1:], answer.args[1:]))
        try:
            for round in _rounds(one, other):
                field = self.paid(Numeric(round), one, other)
                ours.append(evaluate(one, field))
                ratios.append(field.multiply(ours[-1], field.inverse(evaluate(other, field))))
        except (Inexact, Undefined, ValueError, OverflowError, ZeroDivisionError):
            return False
        if all(field.close(ours[0], value) for value in ours[1:]):
            return False  # 2 = 3 is no multiple of 2 = 4.
        (negative, *_), imaginary = ratios[0]
        if field.magnitude(ratios[0]) < -300:  # Of nothing, or of something huge: any two such ratios look equal.
            return False
        if operator in "<>≤≥" and imaginary != field.lib.fzero:
            return False
        expected = FLIPPED[operator] if negative else operator
        return gold.args[0][0] == expected and all(field.close(ratios[0], ratio) for ratio in ratios[1:])

    def same_marked(self, gold: Node, answer: Node) -> bool:
        """5 cm: a mark on one side only is accepted; two must agree. 50 % may be meant as 50 or as 0.5."""
        if gold.op == answer.op:
            (gold_value, gold_mark), (value, mark) = gold.args, answer.args
            if gold_mark.rstrip("s.") == mark.rstrip("s."):
                return self.same(gold_value, value)
            if "°" in (gold_mark, mark) and gold_mark[:1] == mark[:1]:  # 45 degrees for 45 °C
                return self.same(gold_value, value)
            if "°" in (gold_mark, mark) and {gold_mark, mark} & _RADIANS:
                return self.same_value(*(tree if tree.args[1] == "°" else tree.args[0] for tree in (gold, answer)))
            if "units" in (gold_mark, mark) or _POWERS.get(gold_mark, 0) == _POWERS.get(mark):
                return self.same(gold_value, value)
            units = _unit(_of_units(gold_mark, mark)), _unit(_of_units(mark, gold_mark))
            if units[0] is None or units[1] is None:
                return gold_mark.lower().rstrip("s.") == mark.lower().rstrip("s.") and self.same(gold_value, value)
            if units[0].dimension != units[1].dimension:
                return False
            return self.same_value(_in_base(gold_value, units[0]), _in_base(value, units[1]))
        if "mark" in ((said := _quantity(gold)).op, (found := _quantity(answer)).op) and said.op == found.op:
            return self.same_marked(said, found)
        bare_gold = gold.args[0] if gold.op == "mark" else gold
        bare = answer.args[0] if answer.op == "mark" else answer
        label = gold.args[1] if gold.op == "mark" else answer.args[1]
        return self.same(bare_gold, bare) or (label in ("%", "°") and self.same_value(gold, answer))

    def same_value(self, gold: Node, answer: Node) -> bool:
        """Whether two scalar expressions are equal, in the first arithmetic that has both."""
        for fields in ((Rational,), (Residue(0), Residue(1)), None):
            try:
                if fields is None:
                    equal = self.same_numerically(gold, answer)
                else:
                    equal = all(
                        evaluate(gold, field) == evaluate(answer, self.paid(field, gold, answer)) for field in fields
                    )
            except Inexact:
                continue
            except (Undefined, ValueError, OverflowError, ZeroDivisionError):
                return False
            return equal or self.rounded(gold, answer) or self.near(gold, answer)
        return False

    def same_numerically(self, gold: Node, answer: Node) -> bool:
        """Whether two expressions agree to 250 bits wherever they are compared, with as many more as they lose."""
        if is_constant(gold) and is_constant(answer):
            return self.agree(gold, answer, 0)
        rounds = _rounds(gold, answer)
        if not all(self.agree(gold, answer, round) for round in rounds):
            return False
        if rounds is _ROUNDED_ROUNDS:  # ⌈x⌉ and ⌊x⌋ + 1 differ where x is whole, as what is named n is taken to be.
            whole = {name: Node("symbol", (f"n {name}",)) for name in unknowns(gold) | unknowns(answer)}
            gold, answer = substituted(gold, whole), substituted(answer, whole)
            return all(self.agree(gold, answer, round) for round in _FAR)
        if rounds is not _NEAR or not (_applies(gold, _KINKS) or _applies(answer, _KINKS)):
            return True
        try:
            return all(self.agree(gold, answer, round) for round in _FAR)
        except TooLarge:  # x^x, far out.
            return True

    def agree(self, gold: Node, answer: Node, round: int) -> bool:
        """Whether two expressions have the same value at the point of a round."""
        bits = BITS
        while True:
            field = self.paid(Numeric(round, bits), gold, answer)
            found, other = evaluate(gold, field), evaluate(answer, field)
            if field.is_sure():
                return field.close(found, other)
            bits *= 4

    def near(self, gold: Node, answer: Node) -> bool:
        """Whether two constants differ by no more than the tolerance that was asked for."""
        if not self.tolerance or not (is_constant(gold) and is_constant(answer)):
            return False
        field = self.paid(Numeric(0), gold, answer)
        try:
            expected, found = evaluate(gold, field), evaluate(answer, field)
        except (Inexact, Undefined, ValueError, OverflowError, ZeroDivisionError):
            return False
        zero, negative = field.lib.fzero, field.number(Fraction(-1))
        if expected[1] != zero or found[1] != zero:
            return False
        off = field.lib.mpf_abs(field.add(found, field.multiply(negative, expected))[0])
        allowed = field.multiply(field.number(Fraction(self.tolerance)), expected)[0]
        return field.lib.mpf_le(off, field.lib.mpf_abs(allowed))

    def rounded(self, gold: Node, answer: Node) -> bool:
        """Whether one is a decimal that correctly rounds the other, which is no integer."""
        for decimal, exact in ((answer, gold), (gold, answer)):
            if decimal.op != "number" or (exact.op == "number" and exact.args[1]):
                continue
            value, places, significant = decimal.args
            if not places or significant < self.significant_digits or not is_constant(exact):
                continue
            field = Numeric(0)
            found = evaluate(exact, self.paid(field, exact))
            shifted = field.add(field.multiply(found, field.number(Fraction(10**places))), field.number(Fraction(1, 2)))
            if shifted[1] == field.lib.fzero and field.magnitude(shifted) < 300:
                whole = evaluate(exact, field)[0]
                is_integer = field.lib.mpf_floor(whole, 400, "n") == whole
                rounds = field.lib.to_int(field.lib.mpf_floor(shifted[0], 400, "n"))
                if rounds == value * 10**places and not is_integer:
                    return True
        return False

    def paid(self, field: Any, *nodes: Node) -> Any:
        self.spend(sum(_size(node) for node in nodes) * (field.bits // 100 if isinstance(field, Numeric) else 1))
        return field

    def spend(self, amount: int) -> None:
        self.work -= amount
        if self.work < 0:
            raise TooLarge(f"more than {self.allowed} steps of work")


def _applies(node: Node, functions: frozenset[str]) -> bool:
    """Whether one of some functions is applied in `node`."""
    return any(part.op == "function" and part.args[0] in functions for part in nodes(node))


def _rounds(one: Node, other: Node) -> range:
    """Where two expressions are compared."""
    return _ROUNDED_ROUNDS if _applies(one, _STEPS) or _applies(other, _STEPS) else _NEAR


def _alternatives(node: Node) -> list[Node]:
    """1 ± x is 1 + x and 1 - x. All signs of one expression change together."""
    if not _has_sign(node):
        return [node]
    if node.op == "group":  # (±1, ±2) are four points.
        items = [_alternatives(item) for item in node.args[2:]]
        if len(items) <= 4:
            return [Node("group", (*node.args[:2], *chosen)) for chosen in itertools.product(*items)]
    return [_replace(node, sign) for sign in ("±", "∓")]


def _has_sign(node: Node) -> bool:
    return holds(node, {"±", "∓"})


def _replace(node: Node, positive: str) -> Node:
    args = tuple(_replace(arg, positive) if isinstance(arg, Node) else arg for arg in node.args)
    if node.op in ("±", "∓"):
        return args[0] if node.op == positive else Node("negative", args)
    return Node(node.op, args)


def _same_moment(gold: Node, answer: Node) -> bool:
    """Two dates or times; or an hour, 6 for 6 p.m."""
    if gold.op == answer.op:
        return dates.same(gold.args[0], answer.args[0])
    moment, other = (gold, answer) if gold.op == "moment" else (answer, gold)
    if not isinstance(moment.args[0], dates.Time) or other.op != "number" or other.args[0].denominator > 1:
        return False
    return any(other.args[0] in (at / Fraction(3600), at / Fraction(3600) - 12) for at in moment.args[0].seconds)


def _same_words(gold: Node, answer: Node) -> bool:
    """YES and yes; Alice and Bob, in any order. A letter is no word."""
    if gold.args[0].lower() in ("yes", "no", "true", "false") and re.match(r"\w+[,.;:] ", answer.args[0]):
        return re.split("[,.;:] ", answer.args[0].lower(), maxsplit=1)[0] == gold.args[0].lower()  # Yes, it converges
    ours, theirs = (sorted(re.split(r",? and |, ", node.args[0].lower())) for node in (gold, answer))
    if len(gold.args[0]) == 1 or len(answer.args[0]) == 1:
        return False
    return gold.args[0].lower() == answer.args[0].lower() or (" and " in gold.args[0] and ours == theirs)


def _listed(node: Node, other: Node) -> Node:
    """Ann and Bob, or ACD, next to a list of words or of letters, as such a list."""
    items = other.args if other.op in ("list", "set") else ()
    if node.op == "text" and items and all(item.op == "text" for item in items):
        words = re.split(r",? and |, ", node.args[0])
        return Node("list", tuple(Node("text", (word,)) for word in words))
    letters = items and all(item.op == "symbol" and len(item.args[0]) == 1 for item in items)
    if letters and node.op == "symbol" and node.args[0].isupper():
        return Node("list", tuple(Node("symbol", (letter,)) for letter in node.args[0]))
    return node


def _is_choice(node: Node) -> bool:
    """Whether an answer is one of several words or options, rather than a value or its description."""
    return (node.op == "text" and " " not in node.args[0] and node.args[0] != "answer") or (
        node.op == "symbol" and re.fullmatch("[A-J]", node.args[0]) is not None
    )


def _quantity(node: Node) -> Node:
    """5 m, where m was read as a variable, as a quantity."""
    if node.op == "negative" and (inside := _quantity(node.args[0])).op == "mark":
        return Node("mark", (Node("negative", inside.args[:1]), inside.args[1]))
    if node.op != "*" or not is_constant(node.args[0]) or is_constant(node):
        return node
    first = next(place for place, factor in enumerate(node.args) if not is_constant(factor))
    value = Node("*", node.args[:first]) if first > 1 else node.args[0]
    words = []
    for factor in (part for arg in node.args[first:] for part in (arg.args if arg.op == "*" else (arg,))):
        below = factor.op == "inverse"
        unit = factor.args[0] if below else factor
        power = ""
        if unit.op == "^" and unit.args[1].op == "number":
            unit, power = unit.args[0], f"^{unit.args[1].args[0]}"
        if unit.op not in ("symbol", "text"):
            return node
        words.append(("/" if below else " ") + unit.args[0] + power)
    return Node("mark", (value, "".join(words).strip()))


def _unit(label: str) -> Unit | None:
    """The unit of a label as it is written (mW is no MW), else in lower case ("CM")."""
    label = label.replace(".", "")
    return parse_unit(label) or parse_unit(label.lower())


def _of_units(label: str, other: str) -> str:
    """What "square units" are, next to square meters: the length of `other` is the unit."""
    power = _POWERS.get(label.lower().replace(".", ""))
    unit = _unit(other) if power else None
    return other if unit is not None and [n for _, n in unit.dimension] == [power] else label


def _in_base(value: Node, unit: Unit) -> Node:
    """A quantity in the base units of its dimension, as an expression."""
    factor, offset = (Node("number", (number, 0, 0)) for number in (unit.factor, unit.offset))
    return Node("+", (Node("*", (value, factor)), offset))


def _size(node: Node) -> int:
    return sum(1 for _ in nodes(node))


def _stem(name: Node) -> object:
    """x of x_1, f of f_1(x)."""
    if name.op == "symbol":
        return name.args[0].partition("_")[0]
    return re.sub("_[0-9]+$", "", name.args[0]) if name.op == "call" else name


def _flip(operators: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(FLIPPED.get(operator, operator) for operator in operators[::-1])


def _cleared(node: Node) -> Node:
    """x y = 1 for y = 1/x, which has the same solutions where no letter is both above and below."""
    name, value = node.args[1:]
    factors = list(value.args) if value.op == "*" else [value]
    factors = [part for factor in factors for part in (factor.args if factor.op == "*" else (factor,))]  # 2 · (x/y)
    below = [factor.args[0] for factor in factors if factor.op == "inverse"]
    above = [factor for factor in factors if factor.op != "inverse"]
    letters = {name for factor in below for name in unknowns(factor)}
    if node.args[0] != ("=",) or name.op != "symbol" or not letters or letters & unknowns(Node("*", (name, *above))):
        return node
    return Node("relation", (("=",), Node("*", (name, *below)), Node("*", tuple(above))))


def _coordinates(node: Node, axes: str) -> list[Node] | None:
    """2, -3 of 2i - 3j; None where `node` is no sum of multiples of unit vectors."""
    found: dict[str, list[Node]] = {axis: [] for axis in axes}
    for term in node.args if node.op == "+" else (node,):
        sign = term.op == "negative"
        inside = term.args[0] if sign else term
        factors = inside.args if inside.op == "*" else (inside,)
        along = [factor for factor in factors if factor.op == "symbol" and factor.args[0] in found]
        if len(along) != 1:
            return None
        rest = tuple(factor for factor in factors if factor != along[0])
        value = Node("*", rest) if rest else Node("number", (Fraction(1), 0, 1))
        found[along[0].args[0]].append(Node("negative", (value,)) if sign else value)
    if {axis for axis, terms in found.items() if terms} <= {"i"}:  # That is an imaginary number.
        return None
    return [Node("+", tuple(terms)) if terms else Node("number", (Fraction(0), 0, 0)) for terms in found.values()]


def _vector(node: Node, other: Node) -> Node:
    """A matrix of one column or one row, next to a tuple, is that tuple; [[1, 2], [3, 4]], next to a matrix, is one."""
    if node.op == "matrix" and other.op == "group":
        if len(node.args) == 1:
            return Node("group", ("(", ")", *node.args[0].args[2:]))
        if all(len(row.args) == 3 for row in node.args):
            return Node("group", ("(", ")", *(row.args[2] for row in node.args)))
    if other.op == "matrix" or (other.op == "group" and other.args[:2] == ("(", ")")):
        size = len(other.args) - 2 if other.op == "group" else max(len(other.args), len(other.args[0].args) - 2)
        if size in (2, 3) and (coordinates := _coordinates(node, "ijk"[:size])):
            return Node("group", ("(", ")", *coordinates))
    if node.op == "group" and other.op == "matrix" and all(item.op == "group" for item in node.args[2:]):
        return Node("matrix", tuple(Node("group", ("[", "]", *item.args[2:])) for item in node.args[2:]))
    return node
