"""What only sympy can evaluate or solve in a problem's own answer: sums, integrals, limits, equations.

Runs in a worker process only (`verifiers.isolated`). Expressions are built from our tree by sympy's constructors; no
text is ever parsed here, and no completion ever comes here: only what the problem says is evaluated or solved.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy

from verifiers.expressions import CARRIED_OUT, Node, from_json, to_json

MAX_NODES = 400

Json = Any


def evaluated(data: Json) -> Json | None:
    """A tree with every sum, product, integral, limit, derivative, gcd, lcm, max and min carried out.

    Returns:
      The tree of the value, or None where sympy finds none in closed form that our tree can say.
    """
    tree = _bounded(data)
    if tree is None:
        return None
    try:
        return to_json(_replaced(tree))
    except (_Unsaid, ValueError, NotImplementedError, ZeroDivisionError, OverflowError):
        return None


def solved(data: Json) -> Json | None:
    """The solutions of an equation or inequality in one unknown: real ones, and complex ones where they are few.

    Returns:
      A set, an interval or a union, as a tree; None where sympy finds no finite description.
    """
    tree = _bounded(data)
    if tree is None or tree.op != "relation" or len(tree.args[0]) != 1:
        return None
    operator, left, right = tree.args[0][0], tree.args[1], tree.args[2]
    try:
        difference = _expression(_replaced(left)) - _expression(_replaced(right))
        unknowns = sorted(difference.free_symbols, key=str)
        if len(unknowns) != 1:
            return None
        zero = sympy.Integer(0)
        relations = {
            "=": sympy.Eq, "<": sympy.Lt, ">": sympy.Gt, "≤": sympy.Le, "≥": sympy.Ge, "≠": sympy.Ne,
        }  # fmt: skip
        if operator not in relations:
            return None
        relation = relations[operator](difference, zero)
        if operator == "=":
            found = sympy.solveset(relation, unknowns[0], sympy.S.Complexes)
            if isinstance(found, sympy.FiniteSet):
                return to_json(_set(found))
        return to_json(_set(sympy.solveset(relation, unknowns[0], sympy.S.Reals)))
    except (_Unsaid, ValueError, NotImplementedError, ZeroDivisionError, OverflowError, TypeError):
        return None


class _Unsaid(Exception):
    """Our tree has no word for it."""


def _bounded(data: Json) -> Node | None:
    tree = from_json(data)
    return tree if _size(tree) <= MAX_NODES else None


def _size(node: Node) -> int:
    return 1 + sum(_size(a) for a in node.args if isinstance(a, Node))


def _replaced(node: Node) -> Node:
    """The tree with the value in place of each part that is carried out."""
    if node.op in CARRIED_OUT:
        return _tree(_carried_out(node))
    return Node(node.op, tuple(_replaced(a) if isinstance(a, Node) else a for a in node.args))


def _carried_out(node: Node) -> Any:
    op, args = node
    if op == "many":
        functions = {"gcd": sympy.gcd, "lcm": sympy.lcm, "max": sympy.Max, "min": sympy.Min}
        values = [_expression(_replaced(a)) for a in args[1:]]
        return functions[args[0]](values) if args[0] in ("gcd", "lcm") else functions[args[0]](*values)
    variable = sympy.Symbol(args[0])
    value: Any
    parts = [_expression(_replaced(a)) for a in args[1:] if isinstance(a, Node)]
    *bounds, body = parts
    if op == "sum":
        value = sympy.summation(body, (variable, *bounds))
    elif op == "prod":
        value = sympy.product(body, (variable, *bounds))
    elif op == "derivative":
        value = sympy.diff(body, variable)
    elif op == "lim":
        value = (
            sympy.limit(body, variable, bounds[0], args[2] or "+-")
            if bounds[0].is_finite
            else sympy.limit(body, variable, bounds[0])
        )
    else:
        value = sympy.integrate(body, (variable, *bounds) if bounds else variable)
        if not bounds:
            value += sympy.Symbol("C")
    if isinstance(value, sympy.Piecewise):
        value = value.args[0].args[0]  # The case without conditions on other unknowns, or the first.
    if value.has(sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative, sympy.nan, sympy.zoo):
        raise _Unsaid(op)
    return sympy.simplify(value)


def _expression(node: Node) -> Any:
    """A tree as a sympy expression, by constructors."""
    op, args = node
    if op == "number":
        return sympy.Rational(args[0].numerator, args[0].denominator)
    if op == "symbol":
        constants = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "∞": sympy.oo}
        return constants.get(args[0]) or sympy.Symbol(args[0])
    if op == "call":
        return sympy.Function(args[0])(*map(_expression, args[1:]))
    if op == "negative":
        return -_expression(args[0])
    if op == "inverse":
        return 1 / _expression(args[0])
    if op in ("+", "*"):
        return (sympy.Add if op == "+" else sympy.Mul)(*map(_expression, args))
    if op == "^":
        return sympy.Pow(_expression(args[0]), _expression(args[1]))
    if op == "mark" and args[1] in ("%", "°"):
        return _expression(args[0]) * (sympy.Rational(1, 100) if args[1] == "%" else sympy.pi / 180)
    if op in CARRIED_OUT:
        return _carried_out(node)
    if op == "function":
        name, *rest = args[0], *map(_expression, args[1:])
        if name == "root":
            return sympy.real_root(*rest) if rest[0].is_real and rest[1].is_odd else sympy.root(*rest)
        functions = {
            "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
            "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "sinh": sympy.sinh, "cosh": sympy.cosh,
            "tanh": sympy.tanh, "arcsinh": sympy.asinh, "arccosh": sympy.acosh, "arctanh": sympy.atanh,
            "ln": sympy.log, "log": sympy.log, "exp": sympy.exp, "abs": sympy.Abs,
            "floor": sympy.floor, "ceil": sympy.ceiling, "factorial": sympy.factorial, "binomial": sympy.binomial,
        }  # fmt: skip
        if name in functions:
            return functions[name](*rest)
    raise _Unsaid(op)


def _tree(value: Any) -> Node:
    """A sympy expression as a tree."""
    if value.is_Rational:
        return Node("number", (Fraction(int(value.p), int(value.q)), 0, 0))
    constants = {sympy.pi: "pi", sympy.E: "e", sympy.I: "i", sympy.oo: "∞"}
    if value in constants:
        return Node("symbol", (constants[value],))
    if value == -sympy.oo:
        return Node("negative", (Node("symbol", ("∞",)),))
    if value.is_Symbol:
        return Node("symbol", (value.name,))
    if value.is_Add or value.is_Mul:
        return Node("+" if value.is_Add else "*", tuple(map(_tree, value.args)))
    if value.is_Pow:
        base, exponent = value.args
        if exponent.is_Rational and exponent.q > 1:
            root = Node("function", ("root", _tree(base), _tree(sympy.Integer(exponent.q))))
            return root if exponent.p == 1 else Node("^", (root, _tree(sympy.Integer(exponent.p))))
        return Node("inverse", (_tree(base),)) if exponent == -1 else Node("^", (_tree(base), _tree(exponent)))
    if isinstance(value, sympy.exp):
        return Node("^", (Node("symbol", ("e",)), _tree(value.args[0])))
    names = {
        sympy.sin: "sin", sympy.cos: "cos", sympy.tan: "tan", sympy.cot: "cot", sympy.sec: "sec", sympy.csc: "csc",
        sympy.asin: "arcsin", sympy.acos: "arccos", sympy.atan: "arctan", sympy.sinh: "sinh", sympy.cosh: "cosh",
        sympy.tanh: "tanh", sympy.asinh: "arcsinh", sympy.acosh: "arccosh", sympy.atanh: "arctanh",
        sympy.log: "ln", sympy.Abs: "abs", sympy.floor: "floor", sympy.ceiling: "ceil",
        sympy.factorial: "factorial", sympy.binomial: "binomial",
    }  # fmt: skip
    if value.func in names:
        return Node("function", (names[value.func], *map(_tree, value.args)))
    raise _Unsaid(str(value.func))


def _set(value: Any) -> Node:
    """A set of sympy's as a tree."""
    if value == sympy.S.EmptySet:
        return Node("set", ())
    if value == sympy.S.Reals:
        value = sympy.Interval(-sympy.oo, sympy.oo)
    if isinstance(value, sympy.FiniteSet):
        return Node("set", tuple(map(_tree, value.args)))
    if isinstance(value, sympy.Interval):
        brackets = ("(" if value.left_open else "[", ")" if value.right_open else "]")
        return Node("group", (*brackets, _tree(value.start), _tree(value.end)))
    if isinstance(value, sympy.Union):
        return Node("∪", tuple(map(_set, value.args)))
    raise _Unsaid(str(value.func))
