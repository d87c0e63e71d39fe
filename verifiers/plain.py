"""Answers that are compared as they stand: the same text, or the same number."""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.extraction import after_thinking, conclusion, final_answer, gold_answer
from verifiers.types import Outcome, Problem, Verdict

# ASCII digits only, and commas only between groups of three: "1,23" is no number.
_NUMBER = re.compile(r"([-+]?)\\?\$?([0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?: ?\\?%)?")
_UNIT = re.compile(r"[ ]*[A-Za-z]+(?:[ /]+[A-Za-z]+)*+[ ]*")
# What makes another number of it, or takes it back.
_NO_UNIT = re.compile(
    r"\b(?:or|and|not|to|but|maybe|perhaps|plus|minus|k|(?:hundred|thousand|million|billion|trillion)s?)\b",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox|rm)\s*\{([^{}\\]*)\}")  # 72 \text{ apples}
_SPACES = re.compile(r"\\[,;:! ]|~")
_DELIMITERS = re.compile(r"\\[()\[\]]")
_GROUPS = re.compile(r"(?<=[0-9])(?:\{,\}|\\[,!])(?=[0-9]{3}(?![0-9]))")  # 1{,}000 and 1\,000, as TeX writes 1,000.
_MAX_LENGTH = 1000


def exact(problem: Problem, completion: str) -> Verdict:
    """Correct iff the completion, without thinking and the space around it, is the problem's answer to the letter.

    Args:
      problem: `answer` is a text or a number.
      completion: what the policy wrote.
    """
    answer = (after_thinking(completion) or "").strip()
    gold = problem.answer
    if isinstance(gold, int | float) and not isinstance(gold, bool) and gold == gold:  # nan is a missing answer.
        gold = str(gold)
    if not isinstance(gold, str) or not gold.strip():
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer must be a text, got {gold!r:.80}")
    if not answer:
        return Verdict(
            0, Outcome.UNPARSED, reason="nothing stands after the thinking" if completion.strip() else "empty"
        )
    if answer == gold.strip():
        return Verdict(1, Outcome.CORRECT, answer[:200], "the same text")
    return Verdict(0, Outcome.INCORRECT, answer[:200], f"expected {gold.strip()!r:.80}, got {answer!r:.80}")


def number(problem: Problem, completion: str) -> Verdict:
    r"""Correct iff the completion's final answer is the problem's number, compared exactly.

    The answer is the whole completion where that is a number ("72", "$1,234.50", "72."), else what a closed
    `\boxed{}`, a line `#### n` or an explicit phrase ("the final answer is 72 apples") holds. The last number
    of a text is not an answer: a policy would learn to end on any number.

    Args:
      problem: `answer` is 72, "72", or a text that ends in `#### 72`.
      completion: what the policy wrote.
    """
    text = gold_answer(problem.answer)
    gold = None if text is None else _read(text, unit=True)
    if gold is None:
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer is no number: {problem.answer!r:.80}")
    whole = conclusion(completion)
    answer = None if whole is None else _read(whole, unit=False)
    said = whole
    if answer is None and (said := final_answer(completion)) is not None:
        answer = _read(said, unit=True)
    if answer is None or said is None:
        why = "no final answer was given" if said is None else f"the answer is no number: {said!r:.60}"
        return Verdict(0, Outcome.UNPARSED, None if said is None else said[:200], why)
    said = said.strip()[:200]
    if answer == gold:
        return Verdict(1, Outcome.CORRECT, said, "the same number")
    return Verdict(0, Outcome.INCORRECT, said, f"expected {str(text)!r:.60}, got {said!r:.60}")


def _read(text: str, *, unit: bool) -> Fraction | None:
    """The number that `text` is, exactly, with words behind it if `unit`; None if it is none."""
    text = text.strip()
    if len(text) > _MAX_LENGTH:
        return None
    text = _DELIMITERS.sub("", _SPACES.sub(" ", _WORDS.sub(r"\1", _GROUPS.sub(",", text))))
    text = text.strip(" \t\r\n*$").rstrip(".* ").replace("\u2212", "-")
    found = _NUMBER.match(text)
    if found is None:
        return None
    rest = text[found.end() :].replace("$", "")
    if rest.strip() and not (unit and _UNIT.fullmatch(rest) and not _NO_UNIT.search(rest)):
        return None
    value = Fraction(found[2].replace(",", ""))
    return -value if found[1] == "-" else value
