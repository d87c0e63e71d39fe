"""Decides whether a completion's final answer is mathematically the problem's answer.

    completion -> final answer -> tree -> compared with the gold's tree, directed by what the gold is

No text of a completion is ever executed, and deterministic bounds on size and work make every verdict quick and
independent of the machine's load.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from fractions import Fraction
from math import gcd
from typing import Literal

from verifiers import isolated
from verifiers.comparison import Comparison
from verifiers.expressions import CARRIED_OUT, Node, from_json, holds, to_json, unknowns
from verifiers.extraction import final_answer, gold_answer, last_answer
from verifiers.measures import parse_unit
from verifiers.multiple_choice import read_option
from verifiers.notation import TooLarge, Unreadable, normalize
from verifiers.readings import (
    FLIPPED,
    name_and_values,
    readings,
    repaired,
    unwrapped,
)
from verifiers.renaming import disagree, renamed
from verifiers.types import Outcome, Problem, Verdict

_GOLD_SECONDS = 15.0  # Of wall time for sympy. Once a problem, and only for what the problem says.

_LETTER = re.compile("[A-J]")
_OPTION = re.compile(  # C, (C), \\textbf{(C)}\\ 42, C) 42, C. 42
    r"(?:\\(?:text|textbf|mathrm|mathbf)\s*\{\s*)?(?:(?:[oO]ption|[cC]hoice)\s+)?(?:(?P<in>\()\s*)?(?P<letter>[A-J])"
    r"(?(in)\s*(?P<close>\))|(?P<mark>\)|\.(?=[\s}]))?)\s*\}?\.?"
    r"(?:(?(close)|(?(mark)|$))(?:\\ |[\s~])*(?P<text>.*))?"
)


_CURRENCIES = {  # Cents are a hundredth of dollars and of euros.
    "dollars": r"\\\$|^\$(?=[0-9][^$]*$)|\b(?:USD|[dD]ollars?)\b", "euros": r"€|\b(?:EUR|[eE]uros?)\b",
    "yen": r"¥|\b[yY]en\b", "rupees": r"₹|\bRs\b|\b[rR]upees?\b", "pounds": r"£|\bGBP\b", "cents": r"¢|\b[cC]ents?\b",
}  # fmt: skip
_THOUSANDS = re.compile(r"[\s$]*[0-9]{1,3}(?:,[0-9]{3})+[\s$.]*")
_PROSE = re.compile(r"[A-Za-z]{2,}|[A-Za-z]|[0-9]+(?:\.[0-9]+)?|[^\sA-Za-z0-9]")
_PROSE_WORD = re.compile(r"(?<![\\a-zA-Z])[A-Za-z]{3,}")
_STOPS = frozenset(  # Words that change nothing: "all odd integers n", "n is odd".
    {"all", "any", "every", "each", "is", "are", "be", "the", "a", "an", "such", "that", "n"}
)
_INTEGERS = frozenset({"integer", "integers", "number", "numbers", "value", "values"})
_OF_INTEGERS = frozenset({"even", "odd", "prime", "primes", "composite", "divisible", "multiple", "multiples"})
_PHRASE = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z][\w.,’'-]*(?: [\w.,’'-]+){0,4}")


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
    options = options or MathOptions()
    option = _OPTION.fullmatch(_shown(gold)) if _LETTER.search(gold) else None  # Most golds are numbers.
    try:
        golds = readings(repaired(option["text"] if option and option["text"] else gold), gold=True)
    except (Unreadable, TooLarge) as error:
        if (phrase := _phrase(gold)) and _phrase(answer) == phrase:
            return Verdict(1, Outcome.CORRECT, (gold_answer(answer) or "")[:200], "the same words")
        if words := _words(gold):  # "Vendor 2", "Mrs. Hilt"
            same, said = _words(answer) == words, (gold_answer(answer) or "")[:200]
            reason = "the same words" if same else f"expected {gold!r:.60}, got {said!r:.60}"
            return Verdict(int(same), Outcome.CORRECT if same else Outcome.INCORRECT, said, reason)
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer {gold!r:.60} cannot be read: {error}")
    said = (gold_answer(answer) or "")[:200]
    comparison = Comparison(options.significant_digits, options.tolerance, options.work)
    try:
        prose = _PROSE_WORD.search(gold) and _PROSE_WORD.search(answer)
        if prose and (phrase := _phrase(answer)) and _phrase(gold) == phrase:
            return Verdict(1, Outcome.CORRECT, said, "the same words")
        if option and option["letter"] in (read_option(answer), read_option(_shown(answer))):
            return Verdict(1, Outcome.CORRECT, said, "the same option")
        answers = readings(answer)
        if _currency().search(gold):
            answers = _in_currency(gold_answer(gold) or "", answers, said)
        elif _currency().search(said) and any(_is_measured(tree, _currencies(said)) for tree in golds):
            answers = []
        if _THOUSANDS.fullmatch(gold) and _THOUSANDS.fullmatch(said):  # 123,456 and 456,123 are no lists.
            golds, answers = golds[:1], answers[:1]
        equal = _equal(comparison, golds, answers, gold, answer) and not disagree(golds, answers, gold, answer)
    except isolated.Broken as error:
        return Verdict(0, Outcome.ERROR, said, f"the problem's answer could not be evaluated: {error}")
    except Unreadable as error:
        return Verdict(0, Outcome.UNPARSED, said, f"the answer cannot be read: {error}")
    except TooLarge as error:
        return Verdict(0, Outcome.LIMIT, said, f"the answer is beyond the bounds: {error}")
    if equal and not any(_has_form(tree, options.form) for tree in answers):
        return Verdict(0, Outcome.INCORRECT, said, f"the value is right, its form is not: {options.form}")
    if equal:
        return Verdict(1, Outcome.CORRECT, said, "equivalent")
    return Verdict(0, Outcome.INCORRECT, said, f"expected {gold!r:.60}, got {said!r:.60}")


def _equal(comparison: Comparison, golds: list[Node], answers: list[Node], gold: str, answer: str) -> bool:
    """Whether a reading of the answer is one of the gold's: as it stands, carried out, solved, or renamed."""
    if any(comparison.same(tree, other) for tree in golds for other in answers):
        return True
    values = [value for tree in golds if (value := _carried_out(tree))]
    if any(comparison.same(value, other) for value in values for other in answers):
        return True
    golds = [*values, *golds]
    solutions = (solution for tree in golds for solution in _solutions(tree))
    if any(comparison.same(solution, other) for solution in solutions for other in answers):
        return True
    return any(comparison.same(tree, other) for tree, other in renamed(golds, answers, gold, answer))


def _words(text: str) -> str | None:
    """A short name or phrase, with what does not change it left out; None where `text` is none."""
    said = _shown(text).replace("\\ ", " ").strip(" .")
    if len(said) > 60 or not _PHRASE.fullmatch(said):
        return None
    return " ".join(re.sub("[.,’']", "", said).lower().split()).removeprefix("the ")


def _phrase(text: str) -> tuple[str, ...] | None:
    """A description, "all odd integers n ≥ 3", without what does not change it; None where `text` is none."""
    said = _shown(text)
    if len(said) > 300:
        return None
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", normalize(said))
    plain = re.sub(r"\\(?:([gl])eq?(?:slant)?)(?![a-z])", lambda m: {"g": "≥", "l": "≤"}[m[1]], plain)
    words = [word.lower() if len(word) > 1 else word for word in _PROSE.findall(plain)]
    stops = _STOPS | _INTEGERS if _OF_INTEGERS.intersection(words) else _STOPS  # Positive numbers are no integers.
    kept = [word for word in words if word not in stops and word not in ".,"]
    has_word = any(len(word) > 2 and word.isalpha() and f"\\{word}" not in plain for word in kept)
    return tuple(word.rstrip("s") for word in kept) if has_word else None


def _shown(text: str) -> str:
    """An answer without what stands around it. Options are short."""
    said = gold_answer(text) or ""
    return unwrapped(said) if len(said) <= 1000 else said


@functools.cache
def _currency() -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _CURRENCIES.items()))


def _in_currency(gold: str, answers: list[Node], answer: str) -> list[Node]:
    """What an answer may mean in the gold's currency: 50 cents are $0.50, and euros no dollars. One may be unsaid."""
    ours, theirs = _currencies(gold), _currencies(answer)
    if not theirs:
        return [tree for tree in answers if not _is_measured(tree, ours)]
    if not ours or ours & theirs:
        return answers
    if "cents" not in ours | theirs or (ours | theirs) - {"cents", "dollars", "euros"}:
        return []
    factor = Node("number", (Fraction(100) if "cents" in ours else Fraction(1, 100), 0, 0))
    values = [tree.args[0] if tree.op == "mark" else tree for tree in answers]
    return [Node("*", (value, factor)) for value in values if value.op not in ("list", "set", "relation")]


def _currencies(text: str) -> set[str]:
    return {str(found.lastgroup) for found in _currency().finditer(text)}


def _is_measured(node: Node, currencies: set[str]) -> bool:
    """Whether a value has a unit that is none of the currencies: 5 %, 5 cm. Pounds may be either."""
    if node.op != "mark" or _currency().search(node.args[1]):
        return False
    if node.args[1].startswith("pound") and "pounds" in currencies:
        return False
    return node.args[1] in ("%", "°") or parse_unit(node.args[1]) is not None


def _carried_out(gold: Node) -> Node | None:
    """A gold answer with its sums, integrals and the like evaluated; None where it has none or has no closed form."""
    return _symbolic("evaluated", gold) if holds(gold, CARRIED_OUT) else None


def _solutions(gold: Node) -> list[Node]:
    """The set of solutions of a gold answer that is an equation or inequality in one unknown, not solved yet."""
    if gold.op != "relation" or len(gold.args[0]) != 1 or gold.args[0][0] not in FLIPPED:
        return []
    names = unknowns(gold)
    if len(names) != 1 or name_and_values(gold)[0] or holds(gold, {"text", "call", "list", "set", "group"}):
        return []
    value = _symbolic("solved", gold)
    if value is None:
        return []
    if value.op in ("group", "∪"):
        return [Node("relation", (("∈",), Node("symbol", (names.pop(),)), value))]
    return [value]


@functools.lru_cache(1024)
def _symbolic(function: str, gold: Node) -> Node | None:
    """What sympy makes of a gold answer, in a worker process. A failure is not remembered."""
    value = isolated.call(f"verifiers.symbolic:{function}", to_json(gold), seconds=_GOLD_SECONDS)
    return None if value is None else from_json(value)


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
