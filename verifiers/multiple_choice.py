"""The verifier of multiple-choice questions: which letter the completion commits to."""

from __future__ import annotations

import re
import unicodedata

from verifiers.extraction import conclusion, final_answer
from verifiers.types import Outcome, Problem, Verdict

_WRAPPED = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|bf|rm)\s*\{([^{}]*)\}")
_ONE = re.compile(
    r"(?:(?i:option|choice|answer)\s+)?(?:\((?P<in>[A-Za-z])\)|(?P<bare>[A-Za-z])(?=$|[\s.):,/&|]))"
    r"(?P<rest>.*)",
    re.DOTALL,
)
_LABELED = re.compile(r"(?:^|[\s(,/&|])\(?[A-Za-z][.):](?=\s|$)|\([A-Za-z]\)")  # "(B)", "B)", "B."
_JOINED = r"[/&|]|,(?!\s+(?:because|since|as|for)\b)"
# Behind a bare letter, "C or", "C D"; behind a labeled one, whose text may begin with "A", "I and II" or "Not", only a
# letter that stands alone: "C. or D", "C) D)".
_AND_ANOTHER = re.compile(rf"\s*(?:{_JOINED}|\b(?:or|and|but|not)\b|[A-Z]\b)", re.IGNORECASE)
_ALONE = (
    r"\(?[A-Z](?=\s*$|[).:](?:\s|$)|\s+(?:because|since)\b|\s*(?:[,/&|]|\b(?:or|and|but|not)\b)\s*\(?[A-Z](?![A-Z]))"
)
_LABELED_AND_ANOTHER = re.compile(
    rf"[).:]*\s*(?:{_JOINED}|(?:or|and|but|not)\b(?:\s+\w+){{0,2}}?\s+{_ALONE}|{_ALONE})", re.IGNORECASE
)
_BECAUSE = re.compile(r",?\s+(?:because|since|as|for)\b", re.IGNORECASE)
_DELIMITERS = re.compile(r"\\[()\[\]]")
_MARKS = " \t\r\n*_`$\"'"
_MAX_LENGTH = 1000  # Characters of an answer: an option may be written out behind its letter.


def choice(problem: Problem, completion: str) -> Verdict:
    r"""Correct iff the completion commits to the problem's letter, and to no other.

    The answer is the whole completion where that is an option ("C", "(C)", "C. 42"), else what a closed `\boxed{}`,
    a line `#### C` or an explicit phrase ("The answer is C") holds. The last letter of a text is not an answer.

    Args:
      problem: `answer` is one letter, "C".
      completion: what the policy wrote.
    """
    gold = problem.answer
    if not isinstance(gold, str) or not re.fullmatch(r"\(?[A-Za-z]\)?", gold.strip()):
        return Verdict(
            0, Outcome.ERROR, reason=f"the problem's answer must be one letter, such as 'C', got {gold!r:.60}"
        )
    letter = gold.strip().strip("()").upper()
    whole = conclusion(completion)
    said, found = whole, None if whole is None else read_option(whole)
    if found is None and (said := final_answer(completion)) is not None:
        found = read_option(said)
    if found is None or said is None:
        why = "no final answer was given" if said is None else f"the answer is no option: {said.strip()!r:.60}"
        return Verdict(0, Outcome.UNPARSED, None if said is None else said.strip()[:200], why)
    if len(found) > 1:
        return Verdict(0, Outcome.INCORRECT, said.strip()[:200], f"several answers: {said.strip()!r:.60}")
    if found == letter:
        return Verdict(1, Outcome.CORRECT, found, "the same letter")
    return Verdict(0, Outcome.INCORRECT, found, f"expected {letter}, got {found}")


def read_option(text: str) -> str | None:
    """The letter that `text` is, in upper case; "??" where it hedges; None if it is no option."""
    if len(text) > _MAX_LENGTH:
        return None
    text = unicodedata.normalize("NFKC", _WRAPPED.sub(r"\1", _DELIMITERS.sub(" ", text))).strip(_MARKS)
    one = _ONE.fullmatch(text.rstrip(". " + _MARKS))
    if one is None:
        return None
    letter, rest = one["in"] or one["bare"], one["rest"].strip(_MARKS)
    labeled = one["in"] or one["rest"][:1] in (".", ")", ":")
    if rest and ((_LABELED_AND_ANOTHER if labeled else _AND_ANOTHER).match(one["rest"]) or _LABELED.search(rest)):
        return "??"
    # "C. text", "C) text", "(C) text", "C because ..."; "a banana" is no option.
    if rest.strip(".):") and not (labeled or _BECAUSE.match(one["rest"])):
        return None
    return letter.upper()
