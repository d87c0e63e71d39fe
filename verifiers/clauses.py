r"""What stands beside an answer and only says what its letters are: "k \in \mathbb{Z}", "where c is a constant".

Letters that are free to be anything of a kind are free to be called otherwise: 2k\pi, k \in \mathbb{Z} is 2n\pi, n an
integer.
"""

from __future__ import annotations

import functools
import re

_GAP = r"(?:\s|\\text\{|\}(?!\s*\^))*+"  # Possessive, as all repetitions that could share what they match.
_NAME = r"(?:\\(?:alpha|beta|gamma|lambda|mu|theta|phi)(?![a-z])|[a-zA-Z](?![a-zA-Z]))(?:_\{?[a-zA-Z0-9]\}?)?"
_NAMES = rf"(?:{_NAME}(?:{_GAP}(?:,|\band\b){_GAP}{_NAME}){{0,3}}+)"
_SET = r"(?:\\[RZNQC]|\\text\{[RZNQ]\}|[RZNQ])(?![a-zA-Z])(?:\s*[\^_]\s*(?:\{[^{}]*\}|[-+*0-9]))*"
_KIND = (
    r"(?:real|positive|negative|non-?negative|non-?zero|arbitrary|fixed|natural|whole|rational|complex|any|some|all|"
    r"every|each|an?|free|the)\b"
)
_NOUN = r"(?:constants?|numbers?|integers?|reals?|parameters?|scalars?|primes?|values?)\b(?: of integration)?"
_MEMBER = (
    rf"(?:(?:\\in(?![a-z])|∈|\bin\b){_GAP}(?:{_SET}|the integers\b)"
    rf"|\b(?:is|are|being)\b{_GAP}(?:{_KIND}{_GAP}){{0,3}}{_NOUN}"
    rf"|=\s*0\s*,\s*(?:\\pm|±)\s*1\s*,\s*(?:(?:\\pm|±)\s*2\s*,\s*)?…)"
)
_INTEGERS_OR_SO = re.compile(  # ∈ ℕ^*
    r"(?:\\in(?![a-z])|∈|\bin)[\s}]*(?:\\text\{)?\\?([ZNQ])(?![a-zA-Z])|\b(integer|natural|whole|rational|prime)|(=)"
)
_KINDS = {"integer": "Z", "natural": "N", "whole": "N", "rational": "Q", "prime": "P", "=": "Z"}
_SIGNS = (  # Of the numbers of a kind, in words or behind the name of their set.
    (re.compile(r"non-?negative|≥|\\geq?|[ZNQ]\s*_\s*\{?\s*0"), "≥"),
    (re.compile(r"non-?zero|\\?Z\s*\^\s*\{?\s*\*"), "≠"),
    (re.compile(r"positive|[\^_]\s*\{?\s*[+*]|>"), ">"),
    (re.compile(r"negative|[\^_]\s*\{?\s*-|<"), "<"),
)
_HINT = re.compile(r"\\in|∈|for|where|integer|constant|\\pm|…|≥|\\ge")


@functools.cache
def _clause() -> re.Pattern[str]:
    kinds = rf"(?:{_KIND}{_GAP})"
    opening = (
        r"(?<![\s,;|:(])\s*+(?:[,;|:(]|\\text\{|\\mid(?![a-z])|(?=\b(?:where|with|for)\b|\\forall))"
        rf"(?:[\s,;|:(]|\\text\{{)*+(?:\b(?:where|with|for|and|if|such that)\b{_GAP},?{_GAP})?"
    )
    member = rf"(?:\\forall\s*|{kinds}{{0,4}}(?:{_NOUN}{_GAP})?)(?P<members>{_NAMES}){_GAP}{_MEMBER}"  # all k ∈ ℤ
    noun = rf"(?<!and )(?<!,){kinds}{{0,4}}{_NOUN}{_GAP}(?P<nouns>{_NAMES})"  # any integer n
    followed = rf"(?P<followed>{_NAME}){_GAP}{kinds}{{0,3}}{_NOUN}"  # n an integer
    alone = rf"(?P<quantified>(?<=for ){kinds}{{1,3}}|\\forall\s*)(?P<alone>{_NAMES})"  # for all x
    closing = r"(?:\s|\}|\\text\{arbitrary\})*\)?(?=\s*(?:$|[,;]|\\\}|(?:\\text\{)?\s*(?:and|or)\b))"
    return re.compile(f"{opening}(?:{member}|{noun}|{followed}|{alone}){closing}")


@functools.cache
def _range() -> re.Pattern[str]:
    """For all x of some range, at the end."""
    return re.compile(
        r"(?<![,\s])(?:,|\s)*+(?:\\text\{,? ?)?(?:\bfor\b\s*\}?\s*(?:all|any|every|some|each)\b|\\forall(?![a-z]))"
        r"(?:(?!\b(?:and|or)\b|[,;](?!\s*[a-zA-Z]\b)).)*$"
        r"|(?<![,\s]),?\s*+(?:(?:\\text\{\s*)?for\b\s*\}?\s*|\(?)"  # a_n = 2n, n ≥ 1
        r"(?P<index>[nkm])\s*(?:≥|\\geq?(?![a-z])|\\geqslant)\s*[0-3]\s*\)?$"
    )


@functools.cache
def _family() -> re.Pattern[str]:
    return re.compile(rf"(?:\\bigcup(?![a-z])|⋃)\s*_\s*\{{\s*({_NAME})\s*(?:\\in(?![a-z])|∈)\s*{_SET}\s*\}}")


def may_hold(text: str) -> bool:
    """Whether a text is worth a closer look."""
    return len(text) <= 500 and _HINT.search(text) is not None


def without_clauses(text: str) -> tuple[str, dict[str, str]]:
    """A normalized answer without such clauses, and what they say that letters are: "Z" is any integer, "N≥" ..."""
    names: dict[str, str] = {}
    if not may_hold(text):
        return text, names
    kept, at = "", 0
    for found in _clause().finditer(text, 1):
        groups = found.groupdict()
        letters = re.findall(_NAME, next(groups[g] for g in ("members", "nouns", "followed", "alone") if groups[g]))
        before = text[: found.start()]
        if not groups["quantified"] and not all(letter in before for letter in letters):
            continue  # It says something of its own: x = 2, y ∈ ℝ.
        if not is_closed(kept + text[at : found.start()] + text[found.end() :]):
            continue
        kept, at = kept + text[at : found.start()] + " ", found.end()
        names |= dict.fromkeys((letter.lstrip("\\") for letter in letters), _domain(found[0]))
    text = kept + text[at:]
    if found := _range().search(text, 1):
        head = text[: found.start()]
        if is_closed(head) and (not found["index"] or "=" in head or ("for" in found[0] and "for" not in head)):
            text = head
    if "_" in text and (found := _family().search(text)):
        names[found[1]] = _domain(found[0])
        text = text[: found.start()] + text[found.end() :]
    return text.strip().rstrip(" ,;:|\\").strip(), names


def apart(kind: str, other: str) -> bool:
    """Whether two kinds of numbers are not the same: "Z" and "N", but not "N" and "Z>"."""
    one, another = ("N" if kind in ("Z>", "Z≥") else kind[:1].strip("<>≤≥≠") for kind in (kind, other))
    return one != another


def _domain(clause: str) -> str:
    """What kind of numbers a clause is about, and their sign: "Z>" for positive integers, "" for any."""
    found = _INTEGERS_OR_SO.search(clause)
    kind = next(part for part in found.groups() if part) if found else ""
    sign = next((sign for pattern, sign in _SIGNS if pattern.search(clause)), "")
    return _KINDS.get(kind, kind) + sign


def is_closed(text: str) -> bool:
    """Whether every brace of `text` has its partner within."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0
