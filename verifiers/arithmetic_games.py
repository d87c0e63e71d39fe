"""The verifier of countdown and the 24 game: an expression of given numbers that is worth a target.

The expression is read by a grammar of its own and computed in fractions; nothing of it is ever run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from verifiers.extraction import conclusion, final_answer
from verifiers.types import Outcome, Problem, Verdict

MAX_LENGTH = 1000  # Characters of an expression.
MAX_NUMBERS = 100
_MAX_DIGITS = 30
_MAX_DEPTH = 50

_TAG = re.compile(r"<answer>([^<]*)</answer>\s*\Z")
_WRITTEN = [
    (re.compile(r"\\(?:left|right)\b|\\[,;:! ()\[\]]|[$`]"), " "),
    (re.compile(r"^\s*\*\*([^*]+(?:\*[^*]+)*)\*\*(?=[\s.]*(?:=|\Z))|\*\*[\s.]*\Z"), r"\1"),  # Bold type, and no power.
    (re.compile(r"\\(?:times|cdot)\b|[×·⋅∗]"), "*"),
    (re.compile(r"\\div\b|[÷∕]"), "/"),
    (re.compile(r"[−–]"), "-"),
]
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9]+)|(?P<sign>[-+*/()]))")


class _UnreadableError(Exception):
    pass


class _TooLargeError(Exception):
    pass


class _Game(NamedTuple):
    numbers: Counter[int]
    target: Fraction
    all: bool


def countdown(problem: Problem, completion: str) -> Verdict:
    r"""Correct iff the answer is an expression of the problem's numbers, each used as allowed, worth the target.

    The operations are + - * / and brackets. The answer is the whole completion where that is an expression, else what
    `<answer>` at the end, a closed `\boxed{}`, `####` or an explicit phrase holds; "= target" may follow it.

    Args:
      problem: `answer` is `{"numbers": [3, 8, 3, 8], "target": 24, "use": "exactly_once"}`, or "at_most_once".
      completion: what the policy wrote.
    """
    game = _game(problem.answer)
    if isinstance(game, str):
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer: {game}"[:300])
    said, why = _said(completion), "no final answer was given"
    if said is None:
        return Verdict(0, Outcome.UNPARSED, reason=why)
    shown = said.strip()[:200]
    try:
        value, used, claimed = _read(said)
    except _UnreadableError as error:
        return Verdict(0, Outcome.UNPARSED, shown, f"no expression: {error}"[:200])
    except _TooLargeError as error:
        return Verdict(0, Outcome.LIMIT, shown, str(error))
    if extra := used - game.numbers:
        return Verdict(0, Outcome.INCORRECT, shown, f"uses {_listed(extra)}, which is not there (so often)")
    if game.all and used != game.numbers:
        return Verdict(0, Outcome.INCORRECT, shown, f"does not use {_listed(game.numbers - used)}")
    if value is None:
        return Verdict(0, Outcome.INCORRECT, shown, "divides by zero")
    if claimed is not None and claimed != value:
        return Verdict(0, Outcome.INCORRECT, shown, f"is worth {value!s:.40}, and says {claimed!s:.40}")
    if value == game.target:
        return Verdict(1, Outcome.CORRECT, shown, "worth the target")
    return Verdict(0, Outcome.INCORRECT, shown, f"is worth {value!s:.40}, not {game.target!s:.40}")


def _game(answer: Any) -> _Game | str:
    """The game, or why there is none."""
    if not isinstance(answer, Mapping) or not answer.keys() >= {"numbers", "target", "use"}:
        return f"must have 'numbers', 'target' and 'use', got {answer!r:.80}"
    numbers, target, use = answer["numbers"], answer["target"], answer["use"]
    if use not in ("at_most_once", "exactly_once"):
        return f"'use' must be 'at_most_once' or 'exactly_once', got {use!r:.40}"
    if not isinstance(numbers, list | tuple) or not 1 <= len(numbers) <= MAX_NUMBERS:
        return f"'numbers' must be a list of 1 to {MAX_NUMBERS} whole numbers, got {numbers!r:.60}"
    for number in (*numbers, target):
        if isinstance(number, bool) or not isinstance(number, int) or abs(number) >= 10**_MAX_DIGITS:
            return f"'numbers' and 'target' must be whole numbers, got {number!r:.60}"
    if min(numbers) < 0:
        return f"'numbers' must not be negative, got {min(numbers)}"
    return _Game(Counter(numbers), Fraction(target), use == "exactly_once")


def _listed(numbers: Counter[int]) -> str:
    return ", ".join(map(str, sorted(numbers.elements())))[:80]


def _said(completion: str) -> str | None:
    text = conclusion(completion)
    if text is None:
        return None
    if tagged := _TAG.search(text):
        return tagged[1]
    if len(text) <= MAX_LENGTH:
        try:
            _read(text)
        except (_UnreadableError, _TooLargeError):
            pass
        else:
            return text
    return final_answer(completion) or (text if len(text) <= MAX_LENGTH and _is_sum(text) else None)


def _is_sum(text: str) -> bool:
    """Whether `text` is made of the signs of an expression: too deep a one, say."""
    return bool(re.fullmatch(r"[-+*/()0-9\s=]*[0-9][-+*/()0-9\s=]*", text))


def _read(text: str) -> tuple[Fraction | None, Counter[int], Fraction | None]:
    """The worth of an expression (None: it divides by zero), the numbers in it, and what it says it is worth."""
    if len(text) > MAX_LENGTH:
        raise _TooLargeError(f"an expression of {len(text)} characters, more than {MAX_LENGTH}")
    for pattern, spelling in _WRITTEN:
        text = pattern.sub(spelling, text)
    for _ in range(_MAX_DEPTH):  # From the innermost out.
        text, count = _FRACTION.subn(r"((\1)/(\2))", text)
        if not count:
            break
    text = text.strip().rstrip(". ")
    left, equals, right = text.partition("=")
    reader = _Reader(_tokens(left))
    value = reader.sum()
    if reader.at != len(reader.tokens):
        raise _UnreadableError(f"{reader.peek()!r} in an odd place")
    claimed = None
    if equals:
        if not re.fullmatch(r"\s*-?\s*[0-9]{1,30}\s*", right):
            raise _UnreadableError(f"{right.strip()!r:.40} behind the =")
        claimed = Fraction(int(right.replace(" ", "")))
    return value, reader.used, claimed


def _tokens(text: str) -> list[str]:
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _UnreadableError(f"{text[at : at + 20]!r}")
        if len(found[0].strip()) > _MAX_DIGITS:
            raise _TooLargeError(f"a number of more than {_MAX_DIGITS} digits")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[str]):
        self.tokens, self.at, self.depth = tokens, 0, 0
        self.used: Counter[int] = Counter()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else "the end"

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def sum(self) -> Fraction | None:
        value = self.product()
        while self.peek() in "+-":
            minus = self.take() == "-"
            term = self.product()
            if value is not None:
                value = None if term is None else value - term if minus else value + term
        return value

    def product(self) -> Fraction | None:
        value = self.factor()
        while self.peek() in "*/":
            divides = self.take() == "/"
            factor = self.factor()
            if value is not None:
                value = (
                    None
                    if factor is None or (divides and not factor)
                    else value / factor
                    if divides
                    else value * factor
                )
        return value

    def factor(self) -> Fraction | None:
        token = self.take()
        if token.isdigit():
            self.used[int(token)] += 1
            return Fraction(int(token))
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _TooLargeError(f"an expression more than {_MAX_DEPTH} brackets deep")
        if token == "-":
            value = self.factor()
            value = None if value is None else -value
        elif token == "(":
            value = self.sum()
            if self.take() != ")":
                raise _UnreadableError("a bracket that does not close")
        else:
            raise _UnreadableError(f"{token!r} in an odd place")
        self.depth -= 1
        return value
