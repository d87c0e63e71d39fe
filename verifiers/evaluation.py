"""Computes what an expression is worth: exactly, modulo a prime, or to 100 digits.

Three arithmetics share one fold over the tree. Rational numbers decide most answers. Residues modulo a prime at
random points decide identities of rational functions, however large their values (Schwartz, 1980; Zippel,
1979): two different ones agree with a probability of about degree / 2^127. The rest (roots, logarithms,
trigonometry) is compared to 100 digits at several points.
"""

from __future__ import annotations

import functools
import itertools
import random
from fractions import Fraction
from math import ceil, factorial, floor
from typing import Any

from verifiers.expressions import Node
from verifiers.notation import TooLarge

# (PRIME - 1) / 2 is prime too, so no number has short cycles of powers: modulo 2^61 - 1, 2^61 would be 1.
PRIME = 2**127 - 2721
BITS = 400  # Of precision of the numeric arithmetic, at first.
MOST_BITS = 6400  # Where what was lost may decide: 2^2009 + 1 needs more than 2009 of them.
WIDE = 3  # The first round in which variables are large.
_NOISE = 64  # The last bits of a value, which rounding may have made.
MAX_BITS = 10_000  # Of a numerator or denominator.


_INVERSES = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}


class Inexact(Exception):
    """The value is not of this arithmetic (no fraction, no residue, no number)."""


class Undefined(Exception):
    """The expression has no value, such as 1/0."""


def evaluate(node: Node, field: Any) -> Any:
    """The value of `node` in the arithmetic `field`.

    Raises:
      Inexact: it has none there.
      Undefined: it has none anywhere.
      TooLarge: a bound was reached.
    """
    op, args = node
    if op == "number":
        return field.number(args[0])
    if op in ("symbol", "call"):
        return field.symbol(args[0] if op == "symbol" else repr(node))
    if op == "negative":
        return field.multiply(field.number(Fraction(-1)), evaluate(args[0], field))
    if op == "inverse":
        return field.inverse(evaluate(args[0], field))
    if op in ("+", "*"):
        combine = field.add if op == "+" else field.multiply
        value = evaluate(args[0], field)
        for term in args[1:]:
            value = combine(value, evaluate(term, field))
        return value
    if op == "^":
        base = evaluate(args[0], field)
        exponent = _whole(args[1], field)
        if exponent is not None:
            return field.integer_power(base, exponent)
        return field.power(base, evaluate(args[1], field))
    if op == "mark" and args[1] in ("%", "°"):
        scale = Node("number", (Fraction(1, 100 if args[1] == "%" else 180), 0, 0))
        turn = () if args[1] == "%" else (Node("symbol", ("pi",)),)
        return evaluate(Node("*", (args[0], scale, *turn)), field)
    if op == "function":
        if args[0] == "root":
            if degree := _whole(args[2], field):
                return field.root(evaluate(args[1], field), degree)
            return field.power(evaluate(args[1], field), field.inverse(evaluate(args[2], field)))
        if args[0] == "binomial":
            return _binomial(args[1], args[2], field)
        if args[0] == "factorial" and (whole := _whole(args[1], field)) is not None:
            if whole < 0:
                raise Undefined("the factorial of a negative integer")
            return field.factorial(whole)
        return field.function(args[0], evaluate(args[1], field))
    raise Inexact(op)


def _whole(node: Node, field: Any) -> int | None:
    """The integer that `node` is, or None. Exponents must be known exactly, also modulo a prime.

    Where the caller computes with `Rational` itself, what is not whole has no value there. To say so at once
    keeps the work linear: evaluating `node` a second time would double it with every level of a tower.
    """
    try:
        value = evaluate(node, Rational)
    except (Inexact, Undefined):
        value = None
    if value is not None and value.denominator == 1:
        return value.numerator
    if field is Rational:
        raise Inexact("an exponent, a degree or an argument that is not whole")
    return None


def _binomial(n: Node, k: Node, field: Any) -> Any:
    """n! / (k! (n - k)!), with each argument evaluated once."""
    above, below = _whole(n, field), _whole(k, field)
    if above is not None and below is not None:
        if not 0 <= below <= above:
            raise Undefined("a binomial coefficient outside the triangle")
        factorials = [field.factorial(x) for x in (above, below, above - below)]
    else:
        top, bottom = evaluate(n, field), evaluate(k, field)
        rest = field.add(top, field.multiply(field.number(Fraction(-1)), bottom))
        factorials = [field.function("factorial", x) for x in (top, bottom, rest)]
    return field.multiply(factorials[0], field.inverse(field.multiply(*factorials[1:])))


class Rational:
    """Exact fractions, up to `MAX_BITS`."""

    @staticmethod
    def number(value: Fraction) -> Fraction:
        return value

    @staticmethod
    def symbol(name: str) -> Fraction:
        raise Inexact(name)

    @staticmethod
    def add(a: Fraction, b: Fraction) -> Fraction:
        return _bounded(a + b)

    @staticmethod
    def multiply(a: Fraction, b: Fraction) -> Fraction:
        return _bounded(a * b)

    @staticmethod
    def inverse(a: Fraction) -> Fraction:
        if a == 0:
            raise Undefined("a division by zero")
        return 1 / a

    @staticmethod
    def integer_power(base: Fraction, exponent: int) -> Fraction:
        if base == 0 and exponent <= 0:
            raise Undefined("zero to a power that is not positive")
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * bits > MAX_BITS and abs(base) not in (0, 1):
            raise Inexact("a large power")
        return base ** (exponent if abs(base) not in (0, 1) else 2 - exponent % 2)

    @staticmethod
    def power(base: Fraction, exponent: Fraction) -> Fraction:
        raise Inexact("a fractional power")

    @staticmethod
    def root(value: Fraction, degree: int) -> Fraction:
        raise Inexact("a root")

    @staticmethod
    def factorial(n: int) -> Fraction:
        if n > 1000:
            raise Inexact("a large factorial")
        return Fraction(factorial(n))

    @staticmethod
    def function(name: str, x: Fraction) -> Fraction:
        if name == "abs":
            return abs(x)
        if name in ("floor", "ceil"):
            return Fraction((floor if name == "floor" else ceil)(x))
        raise Inexact(name)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise Inexact("a large fraction")
    return value


class Residue:
    """Integers modulo `PRIME`. Variables, pi and e are random residues: all that counts is the form."""

    def __init__(self, round: int):
        self.round = round

    def number(self, value: Fraction) -> int:
        return value.numerator * self.inverse(value.denominator % PRIME) % PRIME

    def symbol(self, name: str) -> int:
        if name in ("i", "∞", "…"):
            raise Inexact(name)
        return random.Random(f"{name}/{self.round}").randrange(2, PRIME)

    def add(self, a: int, b: int) -> int:
        return (a + b) % PRIME

    def multiply(self, a: int, b: int) -> int:
        return a * b % PRIME

    def inverse(self, a: int) -> int:
        if a == 0:
            raise Undefined("a division by zero")
        return pow(a, -1, PRIME)

    def integer_power(self, base: int, exponent: int) -> int:
        if exponent <= 0 and base == 0:
            raise Undefined("zero to a power that is not positive")
        return pow(base, exponent, PRIME)

    def power(self, base: int, exponent: int) -> int:
        raise Inexact("a power with a variable exponent")

    def root(self, value: int, degree: int) -> int:
        raise Inexact("a root")

    def factorial(self, n: int) -> int:
        if n > 10_000:
            raise TooLarge(f"the factorial of {n:.3g}" if n < 10**300 else "the factorial of a huge number")
        return _factorials()[n]

    def function(self, name: str, x: int) -> int:
        raise Inexact(name)


@functools.cache
def _factorials() -> list[int]:
    """n! modulo `PRIME`, for n up to 10,000."""
    return list(itertools.accumulate(range(1, 10_001), lambda value, n: value * n % PRIME, initial=1))


@functools.cache
def _rounded_factorials(bits: int) -> list[Any]:
    """n! to so many bits and a few more, for n up to 10,000."""
    from mpmath import libmp

    step = functools.partial(libmp.mpf_mul_int, prec=bits + _NOISE, rnd="n")
    return list(itertools.accumulate(range(1, 10_001), step, initial=libmp.fone))


class Numeric:
    """Complex numbers of `bits` bits. Variables are random reals, negative in every third round.

    From round `WIDE` on they are large, and what is named n, m or k is whole: for what is rounded down or up.

    A value is a pair (real, imaginary) of mpmath's raw floats. Its low-level functions take the precision as an
    argument and share no state, so threads cannot disturb each other.

    What is left of a difference when all but its noise cancels out is zero. `lost` says how many bits the worst sum
    has cost so far, by terms that cancel out or that are small beside the others; a result is sure only if that is
    less than `bits` leaves room for.
    """

    def __init__(self, round: int, bits: int = BITS):
        from mpmath import libmp  # Slow to import; most answers are rational.

        self.lib, self.round, self.bits, self.lost = libmp, round, bits, 0

    def number(self, value: Fraction) -> Any:
        self.lost = max(self.lost, value.numerator.bit_length())
        return (self.lib.from_rational(value.numerator, value.denominator, self.bits, "n"), self.lib.fzero)

    def symbol(self, name: str) -> Any:
        lib = self.lib
        if name in ("∞", "…"):
            raise Inexact(name)
        if name in ("pi", "e"):
            return ((lib.mpf_pi if name == "pi" else lib.mpf_e)(self.bits, "n"), lib.fzero)
        if name == "i":
            return (lib.fzero, lib.fone)
        at = random.Random(f"{name}/{self.round}")
        if self.round >= WIDE:
            value = (
                Fraction(at.randrange(10, 10**4))
                if name[:1] in "nmkNM"
                else Fraction(at.randrange(10**7, 10**10), 10**6)
            )
        else:
            value = Fraction(at.randrange(10**5, 3 * 10**6), 10**6)
        return self.number(-value if self.round % 3 == 2 else value)

    def add(self, a: Any, b: Any) -> Any:
        total = self.lib.mpc_add(a, b, self.bits, "n")
        if total == self.lib.mpc_zero or a == self.lib.mpc_zero or b == self.lib.mpc_zero:
            return total
        sizes = self.magnitude(a), self.magnitude(b)
        self.lost = max(self.lost, max(sizes) - min(sizes))
        return self.without_noise(total, max(sizes))

    def without_noise(self, value: Any, size: int) -> Any:
        """`value`, or zero where it is nothing but the rounding of something of 2^size."""
        left = self.magnitude(value)
        self.lost = max(self.lost, size - left)
        return self.lib.mpc_zero if left < size - self.bits + _NOISE else value

    def multiply(self, a: Any, b: Any) -> Any:
        return self.lib.mpc_mul(a, b, self.bits, "n")

    def inverse(self, a: Any) -> Any:
        if a == self.lib.mpc_zero:
            raise Undefined("a division by zero")
        return self.lib.mpc_reciprocal(a, self.bits, "n")

    def integer_power(self, base: Any, exponent: int) -> Any:
        return self.power(base, self.number(Fraction(exponent)))

    def power(self, base: Any, exponent: Any) -> Any:
        if base == self.lib.mpc_zero:
            if exponent[0][0] or exponent[0] == self.lib.fzero:  # Its sign bit.
                raise Undefined("zero to a power that is not positive")
            return base
        if self.magnitude(exponent) > 40 or abs(self.magnitude(base)) > 2**20:
            raise TooLarge("a power that is too large to compute")
        self.lost = max(self.lost, -self.magnitude(exponent))  # It is 1 but for so many bits.
        return self.finite(self.lib.mpc_pow(base, exponent, self.bits, "n"))

    def root(self, value: Any, degree: int) -> Any:
        real, imaginary = value
        negative = imaginary == self.lib.fzero and real[0] and degree % 2
        if negative:  # The real root: that of -8 of degree 3 is -2.
            value = self.lib.mpc_neg(value)
        result = self.power(value, self.number(Fraction(1, degree)))
        return self.lib.mpc_neg(result) if negative else result

    def function(self, name: str, x: Any) -> Any:
        lib = self.lib
        if self.magnitude(x) > {"ln": 2**20, "log": 2**20, "abs": 2**62, "exp": 40}.get(name, 300):
            raise TooLarge(f"an argument of {name} that is too large")
        if x != lib.mpc_zero:
            self.lost = max(self.lost, -2 * self.magnitude(x))
        if name == "factorial":  # Between integers: x! = Gamma(x + 1).
            if self.magnitude(x) > 8 or self.bits > BITS:
                raise TooLarge("the factorial of a number that is not whole, and large or needed to many bits")
            return self.finite(lib.mpc_gamma(self.add(x, lib.mpc_one), self.bits, "n"))
        if name == "abs":
            return (lib.mpc_abs(x, self.bits, "n"), lib.fzero)
        if name in ("floor", "ceil"):
            if x[1] != lib.fzero:
                raise Undefined(f"{name} of a complex number")
            return ((lib.mpf_floor if name == "floor" else lib.mpf_ceil)(x[0], self.bits, "n"), lib.fzero)
        if name in ("ln", "log"):
            if x == lib.mpc_zero:
                raise Undefined("the logarithm of zero")
            return self.without_noise(lib.mpc_log(x, self.bits, "n"), 0)
        if name in _INVERSES:  # sec x = 1 / cos x
            return self.inverse(self.function(_INVERSES[name], x))
        if name in ("arcsec", "arccsc"):
            return self.function({"arcsec": "arccos", "arccsc": "arcsin"}[name], self.inverse(x))
        if name == "arccot":  # π/2 - arctan x
            right = lib.mpc_mul_mpf(self.symbol("pi"), lib.fhalf, self.bits, "n")
            return self.add(right, lib.mpc_neg(self.function("arctan", x)))
        functions = {
            "sin": lib.mpc_sin, "cos": lib.mpc_cos, "tan": lib.mpc_tan, "sinh": lib.mpc_sinh, "cosh": lib.mpc_cosh,
            "tanh": lib.mpc_tanh, "arcsin": lib.mpc_asin, "arccos": lib.mpc_acos, "arctan": lib.mpc_atan,
            "arcsinh": lib.mpc_asinh, "arccosh": lib.mpc_acosh, "arctanh": lib.mpc_atanh, "exp": lib.mpc_exp,
        }  # fmt: skip
        if name not in functions:
            raise Inexact(name)
        value = self.finite(functions[name](x, self.bits, "n"))
        return self.without_noise(value, max(self.magnitude(x), 0)) if name in ("sin", "cos", "tan") else value

    def factorial(self, n: int) -> Any:
        if n > 10_000:
            raise TooLarge("the factorial of a number above 10,000")
        return (_rounded_factorials(self.bits)[n], self.lib.fzero)

    def finite(self, value: Any) -> Any:
        """`value`, unless it is a pole's (arctan i): infinity minus anything would look like zero below."""
        if any(not part[1] and part[2] for part in value):  # libmp's infinities and nan: no mantissa, an exponent.
            raise Undefined("a function at its pole")
        return value

    def magnitude(self, value: Any) -> int:
        """About log2 |value| of a finite value; very negative for zero."""
        return max(part[2] + part[3] if part[1] else -(2**19) for part in value)

    def close(self, a: Any, b: Any) -> bool:
        """Whether two values are equal but for rounding."""
        difference = self.magnitude(self.lib.mpc_sub(a, b, self.bits, "n"))
        return a == b or difference < max(self.magnitude(a), self.magnitude(b)) - self.bits + 150

    def is_sure(self) -> bool:
        """Whether the precision was enough for what was computed."""
        return self.lost < self.bits - 300 or self.bits >= MOST_BITS
