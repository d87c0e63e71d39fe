"""Decides whether a completion's final answer is mathematically the problem's answer.

    completion -> final answer -> tree -> compared with the gold's tree, directed by what the gold is

No text of a completion is ever executed, and deterministic bounds on size and work make every verdict quick and
independent of the machine's load.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from math import gcd
from typing import Any, Literal

from verifiers import dates, isolated
from verifiers.evaluation import Inexact, Numeric, Rational, Residue, Undefined, evaluate
from verifiers.expressions import CARRIED_OUT, Node, from_json, to_json
from verifiers.extraction import final_answer, gold_answer, last_answer
from verifiers.measures import Unit, parse_unit
from verifiers.multiple_choice import read_option
from verifiers.notation import TooLarge, Unreadable
from verifiers.readings import (
    FLIPPED,
    is_constant,
    members,
    name_and_values,
    readings,
    repaired,
    substituted,
    with_constants,
)
from verifiers.types import Outcome, Problem, Verdict

_GOLD_SECONDS = 15.0  # Of wall time for sympy. Once a problem, and only for what the problem says.

_OPTION = re.compile(  # C, (C), \\textbf{(C)}\\ 42
    r"(?:\\(?:text|textbf|mathrm|mathbf)\s*\{\s*)?(?:(?P<in>\()\s*)?(?P<letter>[A-J])(?(in)\s*\))\s*\}?\.?"
    r"(?:(?(in)|$)(?:\\ |[\s~])*(?P<text>.*))?"
)


_CURRENCIES = {  # Cents are a hundredth of dollars and of euros.
    "dollars": r"\\\$|^\$(?=[0-9][^$]*$)|\b(?:USD|[dD]ollars?)\b", "euros": r"€|\b(?:EUR|[eE]uros?)\b",
    "yen": r"¥|\b[yY]en\b", "rupees": r"₹|\bRs\b|\b[rR]upees?\b", "pounds": r"£|\bGBP\b", "cents": r"¢|\b[cC]ents?\b",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MathOptions:
    """How answers are compared.

    Attributes:
      profile: "strict" takes an explicit final answer only: a closed box, `####`, a phrase. "lenient", for evaluations,
        takes the last expression or number where there is none.
      significant_digits: a decimal that is the correct rounding of an exact value is that value if it has at
        least so many significant digits: with 6, 0.333333 is 1/3 and 0.33 is not. Integers are exact always.
      tolerance: relative; with 0.01, 3.14 is π and 99 is 100. For golds that are measured or rounded. 0: exact.
      form: what the answer must look like beside its value: an integer ("7", no "14/2"), a decimal ("0.5"), a fraction
        of integers in lowest terms ("1/2"); None: anything.
      work: evaluations of an operation that one verdict may cost; beyond, the outcome is `limit`.
    """

    profile: Literal["strict", "lenient"] = "strict"
    significant_digits: int = 6
    tolerance: float = 0.0
    form: Literal["integer", "decimal", "fraction"] | None = None
    work: int = 20_000

    def __post_init__(self) -> None:
        if self.profile not in ("strict", "lenient"):
            raise ValueError(f'MathOptions.profile must be "strict" or "lenient", got {self.profile!r}.')
        if self.form not in (None, "integer", "decimal", "fraction"):
            raise ValueError(f'MathOptions.form must be "integer", "decimal", "fraction" or None, got {self.form!r}.')
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"MathOptions.tolerance must be in [0, 1), got {self.tolerance!r}.")
        if min(self.significant_digits, self.work) < 1:
            digits, work = self.significant_digits, self.work
            raise ValueError(f"MathOptions: significant_digits ({digits}) and work ({work}) must be at least 1.")


def math(problem: Problem, completion: str, *, options: MathOptions | None = None) -> Verdict:
    r"""Correct iff the completion commits to a final answer that equals the problem's.

    Strict: the answer stands in the last closed `\boxed{}`, else after the last `####`, else after an explicit
    phrase ("the final answer is"). A list of several answers to a question with one is wrong, as is 41 = 42.

    Args:
      problem: `answer` is bare, `$...$`, `\boxed{}`, or a text that ends in `#### n`.
      completion: what the policy wrote.
      options: how answers are compared.

    Returns:
      Outcome `unparsed` where no answer was found or read, `limit` where it is beyond the bounds of size and
      work, `error` where the problem's own answer does not parse.
    """
    options = options or MathOptions()
    answer = (final_answer if options.profile == "strict" else last_answer)(completion)
    if answer is None:
        # The gold is read all the same: its fault must not hide behind a policy that never answers.
        gold = equivalent(_text(problem), "0", options=options)
        return gold if gold.outcome is Outcome.ERROR else Verdict(0, Outcome.UNPARSED, reason="no final answer")
    return equivalent(_text(problem), answer, options=options)


def math_lenient(problem: Problem, completion: str, *, options: MathOptions | None = None) -> Verdict:
    """`math` with the lenient profile: for evaluations, where the form of an answer was not asked for."""
    return math(problem, completion, options=dataclasses.replace(options or MathOptions(), profile="lenient"))


def _text(problem: Problem) -> str:
    return gold_answer(problem.answer) or ""


def equivalent(gold: str, answer: str, *, options: MathOptions | None = None) -> Verdict:
    r"""Whether two answers are the same: bare, `$...$`, `\boxed{}`, or a text that ends in `#### n`."""
    option = _OPTION.fullmatch(gold.strip(" $"))
    try:
        golds = readings(repaired(option["text"] if option and option["text"] else gold))
    except (Unreadable, TooLarge) as error:
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer {gold!r:.60} cannot be read: {error}")
    said = (gold_answer(answer) or "")[:200]
    comparison = _Comparison(options or MathOptions())
    try:
        if option and read_option(answer) == option["letter"]:
            return Verdict(1, Outcome.CORRECT, said, "the same option")
        answers = readings(answer)
        if _currency().search(gold):
            answers = _in_currency(gold_answer(gold) or "", answers, said)
        golds = [form for tree in golds for form in _carried_out(tree)]
        if used := _constants(golds):
            answers += [with_constants(tree, used) for tree in answers if not _unknowns(tree) & set(used.values())]
        equal = any(comparison.same(g, a) for g in golds for a in answers) or any(
            comparison.same(solution, a) for g in golds for solution in _solutions(g) for a in answers
        )
    except isolated.Broken as error:
        return Verdict(0, Outcome.ERROR, said, f"the problem's answer could not be evaluated: {error}")
    except Unreadable as error:
        return Verdict(0, Outcome.UNPARSED, said, f"the answer cannot be read: {error}")
    except TooLarge as error:
        return Verdict(0, Outcome.LIMIT, said, f"the answer is beyond the bounds: {error}")
    if equal and not any(_has_form(tree, comparison.options.form) for tree in answers):
        return Verdict(0, Outcome.INCORRECT, said, f"the value is right, its form is not: {comparison.options.form}")
    if equal:
        return Verdict(1, Outcome.CORRECT, said, "equivalent")
    return Verdict(0, Outcome.INCORRECT, said, f"expected {gold!r:.60}, got {said!r:.60}")


@functools.cache
def _currency() -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _CURRENCIES.items()))


def _in_currency(gold: str, answers: list[Node], answer: str) -> list[Node]:
    """What an answer may mean in the gold's currency: 50 cents are $0.50, and euros no dollars. One may be unsaid."""
    ours, theirs = ({str(found.lastgroup) for found in _currency().finditer(text)} for text in (gold, answer))
    if not ours or not theirs or ours & theirs:
        return answers
    if "cents" not in ours | theirs or (ours | theirs) - {"cents", "dollars", "euros"}:
        return []
    factor = Node("number", (Fraction(100) if "cents" in ours else Fraction(1, 100), 0, 0))
    values = [tree.args[0] if tree.op == "mark" else tree for tree in answers]
    return [Node("*", (value, factor)) for value in values if value.op not in ("list", "set", "relation")]


def _constants(golds: list[Node]) -> dict[str, str]:
    """Other names for the constants of integration that a gold answer has: c for C, c_1 for C_1."""
    used = {name for tree in golds for name in _unknowns(tree) if re.fullmatch("C(?:_[0-9])?", name)}
    return {other + name[1:]: name for name in used for other in (("c", "K", "k") if name == "C" else ("c",))}


def _carried_out(gold: Node) -> list[Node]:
    """A gold answer with its sums, integrals and the like evaluated, and as it stands."""
    if not _holds(gold, CARRIED_OUT):
        return [gold]
    value = _symbolic("evaluated", gold)
    return [gold] if value is None else [value, gold]


def _solutions(gold: Node) -> list[Node]:
    """The set of solutions of a gold answer that is an equation or inequality in one unknown, not solved yet."""
    if gold.op != "relation" or len(gold.args[0]) != 1 or gold.args[0][0] not in FLIPPED:
        return []
    unknowns = _unknowns(gold)
    if len(unknowns) != 1 or name_and_values(gold)[0] or _holds(gold, {"text", "call", "list", "set", "group"}):
        return []
    value = _symbolic("solved", gold)
    return [] if value is None else [value]


@functools.lru_cache(1024)
def _symbolic(function: str, gold: Node) -> Node | None:
    """What sympy makes of a gold answer, in a worker process. A failure is not remembered."""
    value = isolated.call(f"verifiers.symbolic:{function}", to_json(gold), seconds=_GOLD_SECONDS)
    return None if value is None else from_json(value)


def _holds(node: Node, ops: Collection[str]) -> bool:
    return node.op in ops or any(_holds(arg, ops) for arg in node.args if isinstance(arg, Node))


def _unknowns(node: Node) -> set[str]:
    if node.op == "symbol":
        return set() if node.args[0] in ("pi", "e", "i", "∞") else {node.args[0]}
    return {name for arg in node.args if isinstance(arg, Node) for name in _unknowns(arg)}


def _has_form(node: Node, form: str | None) -> bool:
    """Whether an answer looks as `MathOptions.form` wants it."""
    _, values = name_and_values(node)
    value = values[-1].args[0] if values[-1].op == "negative" else values[-1]
    if form is None:
        return True
    if form == "fraction":
        if value.op != "*" or len(value.args) != 2 or value.args[1].op != "inverse":
            return False
        parts = (value.args[0].args[0] if value.args[0].op == "negative" else value.args[0], value.args[1].args[0])
        if any(part.op != "number" or part.args[0].denominator != 1 for part in parts):
            return False
        return gcd(*(part.args[0].numerator for part in parts)) == 1 and parts[1].args[0] != 1
    return value.op == "number" and (value.args[1] > 0) == (form == "decimal")


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
    return node.op in ("±", "∓") or any(_has_sign(arg) for arg in node.args if isinstance(arg, Node))


def _replace(node: Node, positive: str) -> Node:
    args = tuple(_replace(arg, positive) if isinstance(arg, Node) else arg for arg in node.args)
    if node.op in ("±", "∓"):
        return args[0] if node.op == positive else Node("negative", args)
    return Node(node.op, args)


class _Comparison:
    """Compares trees, directed by the gold, and counts the work."""

    def __init__(self, options: MathOptions):
        self.options = options
        self.work = options.work

    def same(self, gold: Node, answer: Node) -> bool:
        self.spend(1)
        if gold == answer:
            return True
        if "text" in (gold.op, answer.op) and gold.op in ("text", "symbol") and answer.op in ("text", "symbol"):
            return _same_words(gold, answer)
        if gold.op in ("list", "set") or answer.op in ("list", "set") or _has_sign(gold) or _has_sign(answer):
            return self.same_collection(gold, answer)
        (gold_name, golds), (name, answers) = name_and_values(gold), name_and_values(answer)
        curve = gold.op == "relation" and not (gold_name and is_constant(golds[0]))  # y = 2x + 1, x + y = 3
        if curve and answer.op == "relation" and self.same_relation(gold, answer):
            return True
        if gold_name or (name and gold.op != "relation"):
            if gold_name and name and not self.same_name(gold_name, name):
                return False
            if gold_name and name and gold_name.op == name.op == "call":  # f(x) = 2x is f(t) = 2t.
                bound = {new.args[0]: Node("symbol", ("another",)) for new in gold_name.args[1:]}
                bound |= {old.args[0]: new for old, new in zip(name.args[1:], gold_name.args[1:], strict=True)}
                answers = tuple(substituted(value, bound) for value in answers)
            return all(self.same(golds[0], value) for value in answers)
        if "moment" in (gold.op, answer.op):
            return _same_moment(gold, answer)
        if gold.op == "relation" or answer.op == "relation":
            return self.same_relation(gold, answer)
        if gold.op == "mark" or answer.op == "mark":
            return self.same_marked(gold, answer)
        answer = _vector(answer, gold)
        gold = _vector(gold, answer)
        answer = _vector(answer, gold)
        if gold.op in ("group", "matrix", "∪") or answer.op in ("group", "matrix", "∪"):
            if gold.op != answer.op or len(gold.args) != len(answer.args):
                return False
            if gold.op == "∪":
                return self.matched(list(gold.args), list(answer.args))
            skip = 2 if gold.op == "group" else 0
            pairs = zip(gold.args[skip:], answer.args[skip:], strict=True)
            return gold.args[:skip] == answer.args[:skip] and all(self.same(g, a) for g, a in pairs)
        return self.same_value(gold, answer)

    def same_name(self, gold: Node, name: Node) -> bool:
        if gold.op == name.op == "call":  # f(x) and f(t)
            arguments = (*gold.args[1:], *name.args[1:])
            same = gold.args[0] == name.args[0] and len(gold.args) == len(name.args)
            return gold == name or (same and all(argument.op == "symbol" for argument in arguments))
        if gold.op == name.op == "group" and set(gold.args) == set(name.args):  # (y, x) is not (x, y).
            return gold == name
        loose = {gold.op, name.op} & {"text", "group"}
        if {gold.op, name.op} == {"call", "symbol"}:  # f(x) and y, y(x) and y
            call, symbol = (gold, name) if gold.op == "call" else (name, gold)
            return call.args[0] == symbol.args[0] or (gold is call and symbol.args[0] == "y")
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
        left = [tree for item in members(gold) for tree in _alternatives(item)]
        right = [tree for item in members(answer) for tree in _alternatives(item)]
        for items, others in ((left, right), (right, left)):  # p = 3, q = 4 and 3, 4
            names = {_stem(name) for item in items if (name := name_and_values(item)[0])}
            if len(names) == len(items) > 1 and not any(name_and_values(other)[0] for other in others):
                return self.in_order(left, right)
        if gold.op in ("list", "set") and answer.op in ("list", "set"):
            if sum(item.op == "set" for item in left) != sum(item.op == "set" for item in right):
                return False  # {{1}, {2}} is no {1, 2}.
            left, right = list(dict.fromkeys(left)), list(dict.fromkeys(right))  # Repetitions may be left out.
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
            return set(answer.args[0]) == {"="} and all(self.same(gold, side) for side in answer.args[1:])
        if answer.op != "relation":
            return False
        for operators, *sides in (answer.args, (_flip(answer.args[0]), *answer.args[:0:-1])):
            if tuple(operators) == gold.args[0] and self.in_order(gold.args[1:], sides):
                return True
        if len(gold.args) != 3 or len(answer.args) != 3:
            return False
        return self.same_up_to_factor(gold, answer)

    def same_up_to_factor(self, gold: Node, answer: Node) -> bool:
        """x + 2y = 3 and 2x + 4y = 6: the differences of the sides have a constant ratio."""
        operator, ratios = answer.args[0][0], []
        if operator not in FLIPPED or gold.args[0][0] not in FLIPPED:
            return False
        one, other = (Node("+", (side[0], Node("negative", (side[1],)))) for side in (gold.args[1:], answer.args[1:]))
        try:
            for round in range(3):
                field = self.paid(Numeric(round), one, other)
                ratios.append(field.multiply(evaluate(one, field), field.inverse(evaluate(other, field))))
        except (Inexact, Undefined, ValueError, OverflowError, ZeroDivisionError):
            return False
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
            units = _unit(gold_mark), _unit(mark)
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
        for fields in ((Rational,), (Residue(0), Residue(1)), (Numeric(0), Numeric(1), Numeric(2))):
            try:
                values = []
                for field in fields:
                    self.paid(field, gold, answer)
                    values.append((evaluate(gold, field), evaluate(answer, field)))
            except Inexact:
                continue
            except (Undefined, ValueError, OverflowError, ZeroDivisionError):
                return False
            if isinstance(fields[0], Numeric):
                equal = all(fields[0].close(g, a) for g, a in values)
            else:
                equal = all(g == a for g, a in values)
            return equal or self.rounded(gold, answer) or self.near(gold, answer)
        return False

    def near(self, gold: Node, answer: Node) -> bool:
        """Whether two constants differ by no more than the tolerance that was asked for."""
        if not self.options.tolerance or not (is_constant(gold) and is_constant(answer)):
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
        allowed = field.multiply(field.number(Fraction(self.options.tolerance)), expected)[0]
        return field.lib.mpf_le(off, field.lib.mpf_abs(allowed))

    def rounded(self, gold: Node, answer: Node) -> bool:
        """Whether one is a decimal that correctly rounds the other, which is no integer."""
        for decimal, exact in ((answer, gold), (gold, answer)):
            if decimal.op != "number" or (exact.op == "number" and exact.args[1]):
                continue
            value, places, significant = decimal.args
            if not places or significant < self.options.significant_digits or not is_constant(exact):
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
        self.spend(sum(_size(node) for node in nodes) * (4 if isinstance(field, Numeric) else 1))
        return field

    def spend(self, amount: int) -> None:
        self.work -= amount
        if self.work < 0:
            raise TooLarge(f"more than {self.options.work} steps of work")


def _same_moment(gold: Node, answer: Node) -> bool:
    """Two dates or times; or an hour, 6 for 6 p.m."""
    if gold.op == answer.op:
        return dates.same(gold.args[0], answer.args[0])
    moment, other = (gold, answer) if gold.op == "moment" else (answer, gold)
    if not isinstance(moment.args[0], dates.Time) or other.op != "number":
        return False
    return any(other.args[0] in (at / Fraction(3600), at / Fraction(3600) - 12) for at in moment.args[0].seconds)


def _same_words(gold: Node, answer: Node) -> bool:
    """YES and yes; Alice and Bob, in any order. A letter is no word."""
    ours, theirs = (sorted(re.split(r",? and |, ", node.args[0].lower())) for node in (gold, answer))
    if len(gold.args[0]) == 1 or len(answer.args[0]) == 1:
        return False
    return gold.args[0].lower() == answer.args[0].lower() or (" and " in gold.args[0] and ours == theirs)


def _quantity(node: Node) -> Node:
    """5 m, where m was read as a variable, as a quantity."""
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
        if unit.op != "symbol":
            return node
        words.append(("/" if below else " ") + unit.args[0] + power)
    return Node("mark", (value, "".join(words).strip()))


def _unit(label: str) -> Unit | None:
    """The unit of a label as it is written (mW is no MW), else in lower case ("CM")."""
    label = label.replace(".", "")
    return parse_unit(label) or parse_unit(label.lower())


def _in_base(value: Node, unit: Unit) -> Node:
    """A quantity in the base units of its dimension, as an expression."""
    factor, offset = (Node("number", (number, 0, 0)) for number in (unit.factor, unit.offset))
    return Node("+", (Node("*", (value, factor)), offset))


def _size(node: Node) -> int:
    return 1 + sum(_size(arg) for arg in node.args if isinstance(arg, Node))


def _stem(name: Node) -> object:
    """x of x_1."""
    return name.args[0].partition("_")[0] if name.op == "symbol" else name


def _flip(operators: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(FLIPPED.get(operator, operator) for operator in operators[::-1])


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
