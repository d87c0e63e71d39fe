"""Answers that are the gold but for the names of letters: K for C, 2nπ for 2kπ, 4k + 1 for 1 (mod 4), G M for GM."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from verifiers.expressions import Node, holds, unknowns
from verifiers.readings import declared, name_and_values, substituted

_CONSTANT = re.compile("C|[Cc]_[0-9]")  # Of integration.
_LIKE_CONSTANT = re.compile("[cCkKaAbBmD](?:_[0-9])?")


def renamed(golds: Sequence[Node], answers: Sequence[Node], gold: str, answer: str) -> Iterator[tuple[Node, Node]]:
    """Trees to compare instead: of the gold, and of the answer with its free letters called as in the gold.

    Args:
      golds, answers: readings.
      gold, answer: the texts, which may declare letters ("k ∈ ℤ").
    """
    ours, theirs = ({name for tree in trees for name in unknowns(tree)} for trees in (golds, answers))
    if not ours or not theirs:
        return
    if any(_is_product(name, theirs) for name in ours) or any(_is_product(name, ours) for name in theirs):
        golds, answers = [_spelled(tree, theirs) for tree in golds], [_spelled(tree, ours) for tree in answers]
        yield from itertools.product(golds, answers)
    free, other = declared(gold), declared(answer)
    if any(map(_modulus, golds)) != any(map(_modulus, answers)):  # 1 (mod 4) for 4k + 1
        golds, answers = [_as_family(tree) for tree in golds], [_as_family(tree) for tree in answers]
        free, other = free | {"an integer": True}, other | {"an integer": True}
    for tree, said in itertools.product(golds, answers):
        for candidate in _renamings(tree, said, free, other):
            yield tree, candidate


def _renamings(gold: Node, answer: Node, ours: dict[str, bool], theirs: dict[str, bool]) -> Iterator[Node]:
    """The answer with its free letters called what the gold calls its own."""
    known, said = unknowns(gold) - _bound(gold), unknowns(answer) - _bound(answer)
    free = known & set(ours)
    other = said & set(theirs)
    if not free:
        other -= known  # A letter of the gold's is not free to change.
    if not free and not other and holds(gold, {"+", "*"}):
        mine, new = known - said, said - known
        constant = any(all(map(_CONSTANT.fullmatch, names)) for names in (mine, new) if names)
        alike = all(map(_LIKE_CONSTANT.fullmatch, mine | new))
        if constant and alike and any(name[0].islower() for name in known & said):
            free, other = mine, new  # C e^x and K e^x; C_1 and C_2 for A and B
    if not free and not other and "call" in _named_ops(gold) and len(known) == len(said) == 1:
        free = {name for name in known if _LIKE_CONSTANT.fullmatch(min(said))}  # f(x) = kx
    if len(free) != len(other):
        free, other = (free, said - (known - free)) if free else (known - said, other)
    if not 0 < len(free) == len(other) <= 3 or "symbol" in (gold.op, answer.op):
        return  # A letter by itself is what it is called.
    targets = [Node("symbol", (name,)) for name in sorted(free)]
    for names in itertools.permutations(sorted(other)) if free != other else ():
        yield substituted(answer, dict(zip(names, targets, strict=True)))
    if len(free) == 1 and ours.get(targets[0].args[0]):  # k - 1 for k, if the gold says that k is any integer
        negative = Node("negative", (targets[0],))
        for target, shift in itertools.product((targets[0], negative), (-2, -1, 0, 1, 2)):
            value = Node("+", (target, Node("number", (Fraction(shift), 0, 1))))
            yield substituted(answer, {min(other): value})


def _is_product(name: str, letters: set[str]) -> bool:
    """Whether a name, GM, is made of letters that the other answer has by themselves, G M."""
    return len(name) > 1 and name.isalpha() and set(name) <= letters


def _spelled(node: Node, letters: set[str]) -> Node:
    """The tree with products of such letters for their names."""
    if node.op == "mark" and _is_product(node.args[1], letters):
        return Node("*", (_spelled(node.args[0], letters), *(Node("symbol", (letter,)) for letter in node.args[1])))
    if node.op in ("symbol", "text"):
        if node.op == "text" and set(node.args[0]) & set("eiou"):  # "no" and "odd" are words.
            return node
        letterwise = Node("*", tuple(Node("symbol", (letter,)) for letter in node.args[0]))
        return letterwise if _is_product(node.args[0], letters) else node
    return Node(node.op, tuple(_spelled(arg, letters) if isinstance(arg, Node) else arg for arg in node.args))


def _modulus(node: Node) -> bool:
    """Whether a congruence stands in `node`."""
    is_one = node.op == "mark" and node.args[1].startswith("mod ")
    return is_one or any(_modulus(arg) for arg in node.args if isinstance(arg, Node))


def _as_family(node: Node) -> Node:
    """4k + 1 for 1 (mod 4), everywhere in `node`."""
    if node.op == "mark" and node.args[1].startswith("mod "):
        modulus = Node("number", (Fraction(node.args[1].removeprefix("mod ")), 0, 1))
        return Node("+", (Node("*", (modulus, Node("symbol", ("an integer",)))), node.args[0]))
    return Node(node.op, tuple(_as_family(arg) if isinstance(arg, Node) else arg for arg in node.args))


def _bound(node: Node) -> set[str]:
    """x of f(x) = ... and n of a_n = ..., which are no free letters."""
    if node.op == "symbol" and "_" in node.args[0]:
        return set(node.args[0].partition("_")[2])
    if node.op == "call":
        return {name for arg in node.args[1:] for name in unknowns(arg)}
    return {name for arg in node.args if isinstance(arg, Node) for name in _bound(arg)}


def _named_ops(node: Node) -> set[str]:
    """What kinds of names the values of `node` have."""
    items = node.args if node.op in ("list", "set") else (node,)
    return {name.op for item in items if (name := name_and_values(item)[0])}
