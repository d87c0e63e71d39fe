"""The verifier of physical quantities: a number and a unit, converted before they are compared."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from verifiers import measures
from verifiers.extraction import WINDOW, after_thinking, final_answer, gold_answer
from verifiers.types import Outcome, Problem, Verdict

_MAX_LENGTH = 300  # Characters of a quantity.
_MAX_DIGITS = 100
_MAX_EXPONENT = 300
_EXACT_DIGITS = 6  # Significant digits from which a rounded number is taken for the exact one.

_GROUPS = re.compile(r"(?<=[0-9])(?:\{,\}|\\,|[\u2009\u202f])(?=[0-9]{3}(?![0-9]))")  # 1{,}000, as TeX writes 1,000.
_WRAPPED = re.compile(r"\s*\\(?:text|textbf|textrm|mathrm|mathbf|mbox|rm)\s*\{([^{}\\]*)\}\s*")
_SPACES = re.compile(r"\\[,;:! ]|~|\\quad\b|[\u00a0\u2009\u202f]")
_NUMBER = re.compile(
    r"(?P<sign>[-+−])?\s*(?:\\[dt]?frac\s*\{(?P<top>[0-9]+)\}\s*\{(?P<bottom>[0-9]+)\}"
    r"|(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:\s*/\s*(?P<over>[0-9]+)(?![0-9.]))?"
    r"(?:[eE](?P<e>[-+]?[0-9]+)(?![0-9.])|\s*(?:\\times|\\cdot|[×x·*])\s*10\s*"
    r"(?:(?:\^|\*\*)\s*(?:\{\s*)?(?P<power>[-+−]?[0-9]+)\s*\}?|(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)))?)"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−", "0123456789-+-")


class _TooLargeError(Exception):
    pass


class _Quantity(NamedTuple):
    value: Fraction
    unit: measures.Unit
    digits: int  # Significant digits as written; 0 for a fraction.


def units(problem: Problem, completion: str, *, tolerance: float = 0.0) -> Verdict:
    r"""Correct iff the completion's final answer is the problem's quantity, in whatever unit: 5 m is 500 cm.

    The number is compared exactly; one with at least 6 significant digits may be the other's rounding (1 mi is
    1.60934 km). A number without its unit is no answer. Nothing but the name of a unit is read by a library.

    Args:
      problem: `answer` is a text such as "9.81 m/s^2", "3\times 10^8 \text{ m/s}" or "25 °C".
      completion: what the policy wrote: a quantity, or a text that ends in `\boxed{}`, `####` or an explicit phrase.
      tolerance: the difference that is allowed, such as 0.01 for measured values, relative to the problem's number in
        its unit.

    Raises:
      ValueError: the tolerance is not in [0, 1).
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must lie in [0, 1), got {tolerance!r}.")
    text = gold_answer(problem.answer)
    try:
        gold = None if text is None else _read(text)
    except _TooLargeError:
        gold = None
    if gold is None:
        why = f"the problem's answer must be a number and a unit that pint knows, got {problem.answer!r:.80}"
        return Verdict(0, Outcome.ERROR, reason=why)
    whole = after_thinking(completion)
    said = whole if whole is not None and len(whole) <= WINDOW else None
    try:
        found = None if said is None else _read(said)
        if found is None and (said := final_answer(completion)) is not None:
            found = _read(said)
    except _TooLargeError as error:
        return Verdict(0, Outcome.LIMIT, str(said).strip()[:200], str(error))
    if found is None or said is None:
        why = "no final answer was given" if said is None else f"no number with a unit: {said.strip()!r:.60}"
        return Verdict(0, Outcome.UNPARSED, None if said is None else said.strip()[:200], why)
    shown = said.strip()[:200]
    if found.unit.dimension != gold.unit.dimension:
        return Verdict(0, Outcome.INCORRECT, shown, f"expected {str(text)!r:.60}, which is of another dimension")
    if _agree(gold, found, tolerance):
        return Verdict(1, Outcome.CORRECT, shown, "the same quantity")
    return Verdict(0, Outcome.INCORRECT, shown, f"expected {str(text)!r:.60}, got {shown!r:.60}")


def _agree(gold: _Quantity, found: _Quantity, tolerance: float) -> bool:
    if measures.same(gold.value, gold.unit, found.value, found.unit):
        return True
    ours, theirs = gold.unit.base(gold.value), found.unit.base(found.value)
    # Of the number as the problem writes it: 1 % of 25 °C is a quarter of a degree, whatever that is in kelvin.
    if tolerance and abs(ours - theirs) <= Fraction(str(float(tolerance))) * abs(gold.value * gold.unit.factor):
        return True
    return any(
        one.digits >= _EXACT_DIGITS and one.value == _rounded((other - one.unit.offset) / one.unit.factor, one.digits)
        for one, other in ((found, ours), (gold, theirs))
    )


def _rounded(value: Fraction, digits: int) -> Fraction:
    """`value`, rounded half away from zero to so many significant digits."""
    if not value:
        return value
    magnitude = len(str(abs(value.numerator))) - len(str(value.denominator))
    if abs(value) >= Fraction(10) ** magnitude:
        magnitude += 1
    scale = Fraction(10) ** (digits - magnitude)
    shifted = abs(value) * scale + Fraction(1, 2)
    rounded = Fraction(shifted.numerator // shifted.denominator) / scale
    return rounded if value > 0 else -rounded


def _read(text: str) -> _Quantity | None:
    """The quantity that `text` is; None if it is none.

    Raises:
      _TooLargeError: its number is beyond all measure.
    """
    if len(text) > _MAX_LENGTH:
        return None
    if wrapped := _WRAPPED.fullmatch(text):  # \text{5 km}
        text = wrapped[1]
    text = _SPACES.sub(" ", _GROUPS.sub(",", text)).strip(" \t\r\n$*").rstrip(". ")
    found = _NUMBER.match(text)
    unit = measures.parse_unit(text[found.end() :].replace("$", " ")) if found else None
    if found is None or unit is None:
        return None
    bottom = found["bottom"] or found["over"] or "1"
    digits = (found["top"] or found["digits"]).replace(",", "")
    exponent = (found["e"] or found["power"] or found["raised"] or "0").translate(_RAISED)
    if max(len(digits), len(bottom)) > _MAX_DIGITS or len(exponent) > 5 or abs(int(exponent)) > _MAX_EXPONENT:
        raise _TooLargeError("a number beyond all measure")
    if not int(bottom):
        return None
    value = Fraction(digits) / int(bottom) * Fraction(10) ** int(exponent)
    significant = 0 if bottom != "1" else len(digits.replace(".", "").lstrip("0"))
    return _Quantity(-value if found["sign"] and found["sign"] != "+" else value, unit, significant)
