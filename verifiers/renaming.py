"""Answers that are the gold but for the names of letters: K for C, 2nπ for 2kπ, 4k + 1 for 1 (mod 4), G M for GM."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from verifiers.clauses import apart, may_hold
from verifiers.expressions import Node, is_congruence, nodes, unknowns
from verifiers.readings import declared, name_and_values, restricted, solved, subjects, substituted

_CONSTANT = re.compile("C|[Cc]_[0-9]")  # Of integration.
_USUAL = re.compile("[ABCDKck](?:_[0-9])?")  # Next to C of the other answer.
_FACTOR = re.compile("[cCkK](?:_[0-9])?")  # f(x) = kx
_LIKE_CONSTANT = re.compile("[cCkKaAbBmD](?:_[0-9])?")
_INDEX = re.compile("[kmn]")  # Integers, where nothing else is said.


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
    whole = _of_integers(golds, other), _of_integers(answers, free)
    if whole != (golds, answers):
        yield from itertools.product(*whole)
    if _are_congruences(golds) != _are_congruences(answers):  # 1 (mod 4) for 4k + 1
        golds, answers = [_as_family(tree) for tree in golds], [_as_family(tree) for tree in answers]
        free, other = free | {"an integer": "Z"}, other | {"an integer": "Z"}
    for tree, said in itertools.product(golds, answers):
        for candidate in _renamings(tree, said, free, other):
            yield tree, candidate


def disagree(golds: Sequence[Node], answers: Sequence[Node], gold: str, answer: str) -> bool:
    """Whether both answers declare a letter, as numbers of different kinds: k ∈ ℤ and k ∈ ℕ. An index may be of any."""
    if not (may_hold(gold) and may_hold(answer)):  # Most answers are numbers.
        return False
    ours, theirs = declared(gold), declared(answer)
    odd = {name for name in ours.keys() & theirs.keys() if apart(ours[name], theirs[name])}
    return bool(odd) and any(odd & unknowns(tree) - _bound(tree) - _named(tree) for tree in (*golds, *answers))


def _of_integers(trees: Sequence[Node], kinds: dict[str, str]) -> list[Node]:
    """The trees where n is an integer, as the other answer says: n > 3 as n > 3, n ∈ ℤ."""
    indices = {name: "Z" for name, kind in kinds.items() if _INDEX.fullmatch(name) and kind[:1] in ("Z", "N")}
    said = [restricted(tree, indices) for tree in trees]
    return [tree if new is tree else solved(new) for tree, new in zip(trees, said, strict=True)]


def _renamings(gold: Node, answer: Node, ours: dict[str, str], theirs: dict[str, str]) -> Iterator[Node]:
    """The answer with its free letters called what the gold calls its own."""
    known, said = unknowns(gold) - _bound(gold), unknowns(answer) - _bound(answer)
    free = (known & set(ours)) - _named(gold)
    other = said - (known - free)  # A letter that is the gold's and not free stays what it is.
    if free and len(other) > len(free):
        other &= set(theirs)
    elif not free:
        free = known - said
        if not _arbitrary(gold, free, {name: theirs.get(name) for name in other}, known & said):
            return
    if not 0 < len(free) == len(other) <= 3 or "symbol" in (gold.op, answer.op):
        return  # A letter by itself is what it is called.
    chosen = sorted(free)
    for names in itertools.permutations(sorted(other)):
        pairs = [(ours.get(new), theirs.get(old)) for new, old in zip(chosen, names, strict=True)]
        if any(one is not None and another is not None and apart(one, another) for one, another in pairs):
            continue
        if free != other:
            yield substituted(answer, {old: Node("symbol", (new,)) for new, old in zip(chosen, names, strict=True)})
        if [kind for kind, _ in pairs] == ["Z"]:  # k - 1 for k, if the gold says that k is any integer
            letter = Node("symbol", tuple(chosen))
            for target, shift in itertools.product((letter, Node("negative", (letter,))), (-2, -1, 0, 1, 2)):
                value = Node("+", (target, Node("number", (Fraction(shift), 0, 1))))
                yield substituted(answer, {names[0]: value})


def _named(node: Node) -> set[str]:
    """The letters that an answer is about: x of x = 2 and of x > 2."""
    name, _ = name_and_values(node)
    return subjects(node) | (unknowns(name) if name else set())


def _arbitrary(gold: Node, ours: set[str], theirs: dict[str, str | None], common: set[str]) -> bool:
    """Whether letters of the gold's are free to be called otherwise though it does not say so.

    Args:
      ours: those that the gold alone has.
      theirs: those that the answer alone has, and of what kind it says that they are; None where it says nothing.
      common: those of both.
    """
    if all(map(_INDEX.fullmatch, ours)) and set(theirs.values()) == {"Z"}:  # x = πk
        return gold.op == "relation" or Node("symbol", ("pi",)) in nodes(gold)
    like = all(_LIKE_CONSTANT.fullmatch(name) if kind is None else not apart(kind, "") for name, kind in theirs.items())
    if "call" in _named_ops(gold) and all(map(_FACTOR.fullmatch, ours)):  # f(x) = kx
        return like
    if not any(name[0].islower() for name in common):  # The variable.
        return False
    if all(map(_CONSTANT.fullmatch, ours)):
        return like
    return all(map(_USUAL.fullmatch, ours)) and all(map(_CONSTANT.fullmatch, theirs))


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


def _are_congruences(trees: Sequence[Node]) -> bool:
    return any(is_congruence(part) for tree in trees for part in nodes(tree))


def _as_family(node: Node) -> Node:
    """4k + 1 for 1 (mod 4), everywhere in `node`."""
    if is_congruence(node):
        modulus = Node("number", (Fraction(node.args[1].removeprefix("mod ")), 0, 1))
        return Node("+", (Node("*", (modulus, Node("symbol", ("an integer",)))), node.args[0]))
    return Node(node.op, tuple(_as_family(arg) if isinstance(arg, Node) else arg for arg in node.args))


def _bound(node: Node) -> set[str]:
    """x of f(x) = ... and n of a_n = ..., which are no free letters."""
    calls = [part for part in nodes(node) if part.op == "call"]
    indices = [part.args[0].partition("_")[2] for part in nodes(node) if part.op == "symbol"]
    return {*"".join(indices)}.union(*(unknowns(arg) for call in calls for arg in call.args[1:]))


def _named_ops(node: Node) -> set[str]:
    """What kinds of names the values of `node` have."""
    items = node.args if node.op in ("list", "set") else (node,)
    return {name.op for item in items if (name := name_and_values(item)[0])}
