"""Finds the final answer that a completion commits to, and nothing less than that.

A policy trains toward whatever is accepted here, so only an explicit commitment counts: the last closed
`\\boxed{}`, else the last `<answer>x</answer>`, else the last line `#### x`, else the last explicit phrase ("the final
answer is x"). The last number of a chain of thought is not an answer.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from verifiers import dates
from verifiers.notation import FUNCTIONS, MANY

WINDOW = 20_000  # Characters at the end of a completion that are read. An answer comes last.

_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|[ \t]+(?P<bare>-?[0-9]++(?:\.[0-9]++)?+)(?![\w^/]))")  # \boxed 42
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)  # An escaped brace is no brace.
_HASHES = re.compile(r"####[ \t]*:?[ \t]*([^\n]*)")
_PHRASE = re.compile(
    r"(?:(?:\b(?:the|my|our)[ \t]+(?:final[ \t]+|correct[ \t]+)?(?:answers?|(?<=correct[ \t])(?:option|choice))"
    r"|^\#{1,6}[ \t]+(?:final[ \t]+)?answer(?=[ \t]*\n\s{0,4}\S[^\n]{0,80}\s*\Z)(?P<heading>)"
    r"|\bfinal[ \t]+answers?|^[ \t>*_#]*answer)\b[*_]*"
    r"[ \t]*(?:(?:is|are)\b[ \t]*:?|[:=]|(?<=\*\*)(?=\n)|(?(heading)(?=\n)|(?!)))|答案应?(?:[是为][:：]?|[:：]))"
    r"[*_]*[ \t]*(?:\n\s{0,4}(?=[^\s]))?"
    r"(?P<rest>\\\[(?:\\\\|(?!\\[\[\]])[\s\S]){0,600}+\\\]|\$\$[^$]{1,600}+\$\$|(?:(?:\\\[|\$\$)[ \t]*\n)?[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
# Not the point of 3.5. A "!" may be a factorial.
_SENTENCE_END = re.compile(r"\.(?=\s|$)|。|<\||,?\s+(?:because|since)\b|,\s+(?:as|which)\b")
# Possessive: what two of the repetitions could share would take quadratic time.
_GAP = re.compile(  # Between boxes of one list.
    r"(?:[\s$,;/|&]|[a-zA-Z](?:_\{?[0-9]\}?)?\s*+=|\\[()\[\]]|\\q?quad(?![a-z])|\\text\s*\{[^{}]{0,60}\}"
    r"|\b(?:and|or|maybe|perhaps|possibly|also)\b)*+"
)
_PART = re.compile(  # In front of a box that is a part of a formula.
    r"(?:[=$(]\s*-|[+^]|\\(?:cdot|times|sqrt)\s*\{?|\\[dt]?frac\s*(?:\{[^{}]{0,12}\}\s*)?\{)\s*$"
)
_JOINS = re.compile(r"[,;/|&]|quad|\b(?:and|or)\b")
_ADVERBS = re.compile(r"(?:(?:indeed|therefore|thus|hence|then|simply|exactly|equal to|given by)[ ,:]+)+")
_SHORT = 200  # Characters of a text that may be one expression.
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-z]*\}|\\[a-zA-Z]+|\\text\s*\{[^{}]*\}")
_WORD = re.compile(r"[^\W\d_]{2,}|(?<!\S)I(?= [a-z]{2})")
_NAMES = FUNCTIONS | MANY | {"pi", "and", "or"}  # Of functions, and what joins values.
_FORMULA = re.compile(
    r"\$\$(?:\\.|[^$\\])++\$\$|\$(?:\\.|[^$\\\n])++\$|\\\((?:\\\\|(?!\\[()]).){1,500}+\\\)"
    r"|\\\[(?:\\\\|(?!\\[\[\]]).){1,2000}+\\\]",
    re.DOTALL,
)
_NUMBER = re.compile(
    r"[\[(](?:-?[0-9][0-9./]*+,[ ]?)++-?[0-9][0-9./]*+[\])]"
    r"|(?<![\w.:])[0-9]++:[0-9]++(?:[ ]?[aApP]\.?[mM]\b\.?)?"  # 10:30 a.m., 3:2
    r"|(?<![\w.√^:])-?[$£€]?-?√?(?:[0-9]{1,3}(?:[ ][0-9]{3})++(?![0-9/])|[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)"
    r"(?:\.[0-9]++)?(?:[ ]?/[ ]?[0-9]++|[eE][-+]?[0-9]++|[ ][0-9]++/[0-9]++)?+(?:√[0-9]++)?"
    r"(?![\^²³])(?:[ ]?(?:\\?%|percent|°|π))?"
)


class Box(NamedTuple):
    start: int
    end: int
    content: str


def after_thinking(text: str) -> str | None:
    """What follows the policy's thinking; None where the thinking never ended."""
    head, closed, tail = text.rpartition("</think>")
    if "<think>" in tail:
        return None
    return tail if closed else head or text


def conclusion(text: str) -> str | None:
    """The end of what follows the policy's thinking, as far as it is read; None where the thinking never ended."""
    said = after_thinking(text)  # Of all of it: what opens the thinking may stand far from the end.
    return None if said is None else said[-WINDOW:]


def tagged(text: str) -> str | None:
    """What the last closed `<answer>...</answer>` holds; None where there is none."""
    before, closed, _ = text.rpartition("</answer>")
    _, opened, inside = before.rpartition("<answer>")
    return inside.strip() if closed and opened else None


def boxes(text: str) -> list[Box] | None:
    r"""Every `\boxed{...}` and `\boxed 42`, in order; None where one is unclosed or holds another."""
    found, position = [], 0
    while opening := _BOX.search(text, position):
        if opening["bare"]:
            found.append(Box(opening.start(), opening.end(), opening["bare"]))
            position = opening.end()
            continue
        depth, start, position = 1, opening.end(), opening.end()
        while depth:
            brace = _BRACES.search(text, position)
            if brace is None:
                return None
            depth += {"{": 1, "}": -1}.get(brace.group(), 0)
            position = brace.end()
        content = text[start : position - 1]
        if _BOX.search(content):
            return None
        found.append(Box(opening.start(), position, content.strip()))
    return found


def final_answer(text: str) -> str | None:
    r"""The answer that a completion commits to, or None.

    Neighboring boxes joined by a comma, "and" or "or" are one list of answers; otherwise the last box counts,
    unless a "final answer" is stated after it. An unclosed or nested box is no answer, whatever stands beside it, nor
    is the 4 of -\boxed{4}.
    """
    answer = conclusion(text)
    if answer is None:
        return None
    found = boxes(answer)
    if found is None:
        return None
    phrases = list(_PHRASE.finditer(answer))
    if found and not any(p.start() > found[-1].end and "final" in p[0].lower() for p in phrases[-1:]):
        listed = [found[-1]]
        start, end, _ = found[-1]
        if _PART.search(answer[max(0, start - 20) : start]) or answer[end : end + 20].lstrip().startswith("^"):
            return None
        for box in reversed(found[:-1]):
            gap = answer[box.end : listed[0].start]
            if not (_GAP.fullmatch(gap) and _JOINS.search(gap)):
                break
            listed.insert(0, box)
        return ", ".join(box.content for box in listed) or None
    if (tag := tagged(answer)) is not None:
        inside = list(_PHRASE.finditer(tag))
        return (_stated(inside[-1]["rest"]) if inside else tag) or None
    if hashes := _HASHES.findall(answer):
        return hashes[-1].strip() or None
    return _stated(phrases[-1]["rest"]) or None if phrases else None


def last_answer(text: str) -> str | None:
    r"""What a completion says last, for evaluations: `final_answer`, else its last expression or number.

    A short text without prose is one expression. Otherwise the last `$...$`, `\(...\)` or `\[...\]` counts, or a number
    that is written after it. Where a box is unclosed or holds another, nothing does.
    """
    answer = conclusion(text)
    if answer is None or boxes(answer) is None:
        return None
    answer = answer.partition("<|")[0] if answer.lstrip().find("<|") != 0 else answer
    if (explicit := final_answer(answer)) is not None or boxes(answer):
        return explicit
    answer = answer.strip().lstrip("=").strip()
    if len(answer) <= _SHORT and "\n" not in answer and not _is_sentence(answer):
        return answer or None
    formulas = list(_FORMULA.finditer(answer))
    numbers = _NUMBER.findall(answer, formulas[-1].end() if formulas else 0)
    if numbers:
        return numbers[-1].strip()
    if not formulas:
        return None
    listed = [formulas[-1]]
    for formula in reversed(formulas[:-1]):  # "$x = 1$ and $x = 2$" is one list of answers.
        gap = answer[formula.end() : listed[0].start()]
        if not (_GAP.fullmatch(gap) and _JOINS.search(gap)):
            break
        listed.insert(0, formula)
    return ", ".join(formula[0].strip("$") for formula in listed)


def _is_sentence(text: str) -> bool:
    """Whether a short text says a value in words ("it is 42"), rather than being one ("42 apples", "odd $n$")."""
    value = _FORMULA.search(text) or _NUMBER.search(text)
    words = _WORD.findall(_COMMAND.sub(" ", _FORMULA.sub(" ", text)))
    if value is None:
        return len(words) > 4  # "no real solution"
    if len(value[0]) <= 3 and value[0].startswith("$") and len(words) < 2:
        return False
    before = [word for word in _WORD.findall(_COMMAND.sub(" ", text[: value.start()])) if word.lower() not in _NAMES]
    return len(words) > 4 or (bool(before) and dates.read(text) is None)


def _stated(rest: str) -> str:
    """The answer at the start of what follows "the answer is": up to the end of the sentence."""
    while later := _PHRASE.search(rest):  # "Answer: the final answer is 4", "4. No, the answer is 5"
        rest = later["rest"]
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start()] if end else rest
    said = sentence.rpartition(" is ")[2].strip(" \t\n*_")  # "Final answer: the volume is 120"
    return said[opening.end() :] if (opening := _ADVERBS.match(said)) else said


def gold_answer(answer: object) -> str | None:
    r"""The text of a problem's own answer: bare, `$...$`, `\boxed{}`, or a text that ends in `#### n`.

    Numbers are written out; None where there is no text to read (a list, a mapping, true, nothing, and nan, which
    is how tables write nothing).
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return None
    if isinstance(answer, float):
        if not math.isfinite(answer):
            return None
        return f"{answer:.20f}".rstrip("0").rstrip(".") if "e" in repr(answer) else repr(answer)
    if isinstance(answer, int):
        # Python refuses to write integers beyond 4300 digits, and no answer is so long.
        return str(answer) if abs(answer) < 10**4000 else None
    if found := boxes(answer):
        return ", ".join(box.content for box in found)
    if found := _HASHES.findall(answer):
        return found[-1].strip() or None
    return answer.strip() or None
