"""Finds the program in a completion: the last closed code fence, else the whole text."""

from __future__ import annotations

import re

from verifiers.extraction import after_thinking

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<marks>`{3,}|~{3,})(?P<rest>[^\r\n]*)")
_BINDING = re.compile(
    r"^(?:(?:(?:async[ \t]+)?def|class)[ \t]+(?P<defined>\w+)\b|(?P<assigned>\w+)[ \t]*(?::[^=\r\n]*)?=(?!=)"
    r"|(?:from[ \t]+\S+[ \t]+)?import[ \t](?P<imported>[^\r\n;#]*))",
    re.MULTILINE,
)


def program(completion: str) -> str | None:
    """The program that a completion holds; None where the thinking never ended, or nothing but space is there.

    A fence is a line of at least three backticks or tildes; it closes at a line of at least as many of the same
    and nothing else. Its indentation is taken off the lines within.
    """
    text = after_thinking(completion)
    if text is None:
        return None
    fenced = _last_fence(text)
    found = text if fenced is None else fenced
    return found if found.strip() else None


def defines(program: str, name: str) -> bool:
    """Whether a line of the program binds `name` at the top level. Reads the text: parsing hostile text may crash."""
    for found in _BINDING.finditer(program):
        imported = (part.split()[-1:] for part in (found["imported"] or "").split(","))
        if name in (found["defined"], found["assigned"]) or [name] in imported:
            return True
    return False


def _last_fence(text: str) -> str | None:
    found = opening = None
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        fence = _FENCE.match(line)
        if opening is None:
            # A closing fence has no backtick behind it; neither has an opening one: "```x``` is code" is neither.
            if fence and "`" not in fence["rest"]:
                opening, lines = fence, []
        elif fence and fence["marks"].startswith(opening["marks"]) and not fence["rest"].strip():
            indent = opening["indent"]
            found = "".join(line.removeprefix(indent) for line in lines)
            opening = None
        else:
            lines.append(line)
    return found
