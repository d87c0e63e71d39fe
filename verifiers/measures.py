"""Reads the name of a unit and compares two quantities, exactly.

The expression is read here; pint is only ever asked for one name at a time, since it would compute what it is given
(`9**9**8 m` hangs it). Its table is read once a process, in about a second, when the first name is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import threading
from fractions import Fraction
from typing import Any

MAX_LENGTH = 100  # Characters of a unit.
MAX_POWER = 12
_MAX_TERMS = 12

_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-zÅΩμ°%]+)|(?P<number>[-+]?[0-9]+)|(?P<sign>\*\*|[*/^()·]))")
_WRITTEN = [  # LaTeX and unicode, as the grammar spells them.
    (re.compile(r"\\(?:text|textrm|mathrm|rm|mbox|operatorname|unit|si)\b\s*"), " "),
    (re.compile(r"\^?\s*\{?\s*(?:\\circ|\\degree|º|˚)\s*\}?"), "°"),
    (re.compile("([℃℉])"), lambda sign: {"℃": "°C", "℉": "°F"}[sign[0]]),
    (re.compile(r"\{\s*([kMGTmn])\s*\}\s*(?=\\Omega\b|[Ω\u2126])"), r"\1"),  # \text{k}\Omega
    (re.compile(r"\\[Oo]hm(?:s\b)?|\\Omega\b|\u2126"), "Ω"),
    (re.compile(r"\\mu[\s{}]*|\u00b5"), "μ"),  # A prefix, also in \mu\text{F}.
    (re.compile(r"\\AA\b|\u212b"), "Å"),
    (re.compile(r"\\(?:cdot|times)\b|[⋅×∙]"), "·"),
    (re.compile(r"\\[,;:! ]|~"), " "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"(?<=[A-Za-z])-(?=[A-Za-z])"), " "),  # kilowatt-hours
    (re.compile(r"\^\s*\{\s*([-+]?[0-9]+)\s*\}"), r"^\1"),
    (re.compile(r"\\[dt]?frac\s*\{((?:[^{}]|\{[^{}]*\})*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}"), r"(\1)/(\2)"),
    (re.compile(r"°[\s{}]+(?=[CFK]\b)"), "°"),
    (re.compile(r"[{}]"), " "),  # What is left of \text{m/s}^2, which is m/s^2.
]
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_AFTER = {"squared": 2, "cubed": 3}
_NAMES = {  # What people write and pint does not know.
    "%": "percent",
    "°": "degree",
    "°C": "degC",
    "°F": "degF",
    "°K": "kelvin",
    "Kelvins": "kelvin",
    "degrees_celsius": "degC",
    "degree_celsius": "degC",
    "degrees_c": "degC",
    "degree_c": "degC",
    "deg_c": "degC",
    "centigrade": "degC",
    "degrees_centigrade": "degC",
    "degrees_fahrenheit": "degF",
    "degree_fahrenheit": "degF",
    "degrees_f": "degF",
    "degree_f": "degF",
    "deg_f": "degF",
    "degrees_kelvin": "kelvin",
    "hrs": "hour",
    "mins": "minute",
    "secs": "second",
    "yrs": "year",
    "wk": "week",
    "wks": "week",
    "lbs": "pound",
    "ozs": "ounce",
    "fl_oz": "fluid_ounce",
    "AU": "astronomical_unit",
    "rev": "turn",
    "revs": "turn",
    "Ohm": "ohm",
    "Km": "kilometer",
    "KM": "kilometer",
    "Kg": "kilogram",
    "KG": "kilogram",
    "KB": "kilobyte",
    "kmh": "kph",
    "kmph": "kph",
    "sqft": "square_foot",
    "cc": "milliliter",
    "kms": "kilometer",
    "cms": "centimeter",
    "kgs": "kilogram",
}
_WORDS = {"unit", "units", "point", "points", "pi", "pH", "cat", "pat"}  # No units where people write them.
_UNPREFIXED = {"inch", "technical_atmosphere", "hour", "minute", "day", "foot", "mile", "yard"}  # A gin is no Gin.


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """A unit in terms of the base units of pint (meter, gram, second, kelvin, ampere, mole, radian, bit...).

    Attributes:
      dimension: base unit and power, sorted; empty for a pure number such as percent.
      factor: how many base units it is. Exact, but for what involves pi (degrees), which has 50 digits.
      offset: what is added, for degrees Celsius and Fahrenheit.
    """

    dimension: tuple[tuple[str, Fraction], ...]
    factor: Fraction
    offset: Fraction = Fraction(0)

    def base(self, value: Fraction) -> Fraction:
        """`value` of this unit, in base units."""
        return value * self.factor + self.offset


def same(value: Fraction, unit: Unit, other_value: Fraction, other_unit: Unit) -> bool:
    """Whether two quantities are one, exactly: 5 m and 500 cm, not 5 m and 5 s."""
    return unit.dimension == other_unit.dimension and unit.base(value) == other_unit.base(other_value)


@functools.lru_cache(maxsize=4096)
def parse_unit(text: str) -> Unit | None:
    r"""The unit that `text` names ("m/s^2", "square feet", "\text{kg·m}^2", "°C"), or None if it names none.

    Behind a slash, units that stand side by side or are joined by "·" all divide: J/kg·K is J/(kg·K).
    """
    if not text.strip() or len(text) > MAX_LENGTH:
        return None
    for pattern, spelling in _WRITTEN:
        text = pattern.sub(spelling, text)
    text = _RAISED_RUN.sub(lambda run: f"^{run[0].translate(_RAISED)}", text)
    tokens = _tokens(text)
    if tokens is None:
        return None
    try:
        reader = _Reader(tokens)
        unit = reader.product()
    except _NoUnitError:
        return None
    return unit if reader.at == len(tokens) else None


class _NoUnitError(Exception):
    pass


def _tokens(text: str) -> list[tuple[str, str]] | None:
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        kind = str(found.lastgroup)
        if kind == "number" and tokens and tokens[-1][0] == "name" and re.match(r"\s+[0-9]", found[0]):
            return None  # The 2 of "5 ft 2 in" is no power.
        tokens.append((kind, found[kind]))
        at = found.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens of one unit."""

    def __init__(self, tokens: list[tuple[str, str]]):
        self.tokens, self.at, self.terms = tokens, 0, 0

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "")

    def product(self) -> Unit:
        unit, below = self.term(), False
        while True:
            kind, value = self.peek()
            if value in ("/", "per"):
                self.at += 1
                below = True
            elif value == "*":
                self.at += 1
                below = False
            elif value == "·":
                self.at += 1
            elif not (kind == "name" or value == "("):
                return unit
            unit = _times(unit, self.term(), -1 if below else 1)

    def term(self) -> Unit:
        self.terms += 1
        if self.terms > _MAX_TERMS:
            raise _NoUnitError
        kind, value = self.peek()
        if value in _BEFORE and self.peek(1)[0] == "name":
            self.at += 1
            return _power(self.name(), _BEFORE[value])
        if value == "(":
            self.at += 1
            unit = self.product()
            if self.peek()[1] != ")":
                raise _NoUnitError
            self.at += 1
        elif kind == "number" and value == "1" and self.peek(1)[1] == "/":  # 1/s
            self.at += 1
            return Unit((), Fraction(1))
        else:
            unit = self.name()
        return _power(unit, self.exponent())

    def name(self) -> Unit:
        """One name; of two words if pint knows them together ("nautical mile")."""
        kind, value = self.peek()
        if kind != "name" or value == "per":
            raise _NoUnitError
        following = self.peek(1)
        if following[0] == "name" and (unit := _known(f"{value}_{following[1]}")):
            self.at += 2
            return unit
        self.at += 1
        unit = _known(value)
        if unit is None:
            raise _NoUnitError
        return unit

    def exponent(self) -> int:
        kind, value = self.peek()
        if value in _AFTER:
            self.at += 1
            return _AFTER[value]
        if kind == "number":  # m2, s-1
            self.at += 1
        elif value in ("^", "**"):
            bracketed = self.peek(1)[1] == "("
            self.at += 2 if bracketed else 1
            kind, value = self.peek()
            if kind != "number" or (bracketed and self.peek(1)[1] != ")"):
                raise _NoUnitError
            self.at += 2 if bracketed else 1
        else:
            return 1
        if len(value) > 4 or abs(int(value)) > MAX_POWER:
            raise _NoUnitError
        return int(value)


def _power(unit: Unit, power: int) -> Unit:
    if power == 1:
        return unit
    if unit.offset:
        raise _NoUnitError  # Degrees Celsius have no square.
    return Unit(tuple((base, n * power) for base, n in unit.dimension if power), unit.factor**power)


def _times(unit: Unit, other: Unit, sign: int) -> Unit:
    if unit.offset or other.offset:
        raise _NoUnitError
    powers = dict(unit.dimension)
    for base, power in other.dimension:
        powers[base] = powers.get(base, Fraction(0)) + sign * power
    return Unit(tuple(sorted((b, p) for b, p in powers.items() if p)), unit.factor * other.factor**sign)


@functools.lru_cache(maxsize=4096)
def _known(name: str) -> Unit | None:
    """The unit of one name: in its case, as pint has it, or in lower case if it is a word ("Meters")."""
    if name in _WORDS:
        return None
    spelled = [_NAMES.get(name) or _NAMES.get(name.lower(), name)]
    if len(name) > 3:
        spelled.append(name.lower())
    registry, lock = _registry()
    with lock:  # pint fills caches of its own as it goes.
        for spelling in spelled:
            if spelling.replace("_", "").isalpha() and (unit := _defined(registry, spelling)):
                return unit
    return None


def _defined(registry: Any, name: str) -> Unit | None:
    """What pint knows of one name, unless it is logarithmic (dB)."""
    import pint

    try:
        readings = registry.parse_unit_name(name)
        if not readings:
            return None
        prefix, unit, suffix = readings[0]
        # A symbol has no plural: "units" are not micro-nits.
        if prefix and not name.startswith(prefix) and (suffix or unit in _UNPREFIXED):
            return None
        _, units = registry.get_root_units(prefix + unit)
        zero, one, three = (registry.convert(Fraction(x), prefix + unit, units) for x in (0, 1, 3))
    except (pint.PintError, AssertionError, ArithmeticError, TypeError):  # The last: logarithms of fractions.
        return None
    if not all(isinstance(x, int | Fraction) for x in (zero, one, three)) or three - zero != 3 * (one - zero):
        return None
    dimension = {base: Fraction(power) for base, power in registry.Quantity(1, units).unit_items()}
    return Unit(tuple(sorted(dimension.items())), Fraction(one - zero), Fraction(zero))


@functools.cache
def _registry() -> tuple[Any, threading.Lock]:
    import pint

    registry: Any = pint.UnitRegistry  # Its type names float, and takes any.
    return registry(non_int_type=Fraction), threading.Lock()
