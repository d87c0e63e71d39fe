"""The verifier of answers that a regular expression describes. RE2 takes linear time, whatever the pattern."""

from __future__ import annotations

import functools
from typing import Any

from verifiers.extraction import after_thinking
from verifiers.types import Outcome, Problem, Verdict

MAX_LENGTH = 100_000  # Characters of a completion.
MAX_WORK = 40_000_000  # Characters times instructions of the pattern's program.
_MAX_MEMORY = 1 << 20  # Bytes of a compiled pattern: `((a{99}){99}){99}` is refused.


class BadPatternError(ValueError):
    """The text is no regular expression of RE2."""


def regex(problem: Problem, completion: str) -> Verdict:
    """Correct iff the pattern matches the whole of the completion, without the thinking and the space around it.

    Args:
      problem: `answer` is a pattern in the syntax of RE2: no look-ahead, look-behind or backreference. "." matches no
        newline, unless the pattern begins with "(?s)".
      completion: what the policy wrote.
    """
    try:
        if not isinstance(problem.answer, str):
            raise BadPatternError(f"must be a regular expression, got {problem.answer!r:.60}")
        pattern = compiled(problem.answer)
    except BadPatternError as error:
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer: {error}"[:300])
    if len(completion) > MAX_LENGTH or len(completion) * pattern.programsize > MAX_WORK:
        why = f"{len(completion)} characters for a pattern of {pattern.programsize} steps"
        return Verdict(0, Outcome.LIMIT, reason=why)
    text = (after_thinking(completion) or "").strip()
    if not text:
        return Verdict(0, Outcome.UNPARSED, reason="nothing stands after the thinking")
    if pattern.fullmatch(_encodable(text)):
        return Verdict(1, Outcome.CORRECT, text[:200], "the pattern matches")
    return Verdict(0, Outcome.INCORRECT, text[:200], f"{problem.answer!r:.80} does not match {text!r:.80}")


@functools.lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """The compiled pattern, an object of google-re2.

    Raises:
      BadPatternError: it is none.
    """
    import re2

    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    try:
        return re2.compile(_encodable(pattern), options)
    except re2.error as error:
        raise BadPatternError(
            f"{pattern!r:.80} is no regular expression of RE2, which has no look-around and no backreferences: {error}"
        ) from None


def search(pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in `text`.

    Raises:
      BadPatternError: it is none.
    """
    return bool(compiled(pattern).search(_encodable(text)))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # A lone surrogate has no UTF-8, which RE2 reads.
