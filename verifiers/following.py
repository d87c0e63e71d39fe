"""The verifier of instructions: whether a completion follows all that the prompt asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from verifiers import instructions, json_texts
from verifiers.extraction import after_thinking
from verifiers.types import Outcome, Problem, Verdict

MAX_LENGTH = 100_000  # Characters of a completion, all of which are read.


def ifeval(problem: Problem, completion: str) -> Verdict:
    """Correct iff what follows the thinking follows every instruction of IFEval that the problem names.

    Args:
      problem: `answer` is `{"instruction_id_list": ["punctuation:no_comma", ...], "kwargs": [{}, ...]}`, as in the
        published data (Zhou et al., 2023, arXiv:2311.07911).
      completion: what the policy wrote.

    Returns:
      A verdict whose `parts` hold each instruction, 1 or 0; the reward is 1 only for all.
    """
    return _judge(problem, completion, loose=False)


def ifeval_loose(problem: Problem, completion: str) -> Verdict:
    """As `ifeval`, but an instruction is also followed if it is without the first line, the last line, or asterisks.

    So an introduction ("Sure, here it is:") does no harm. For evaluations: a policy in training would learn to
    write one.
    """
    return _judge(problem, completion, loose=True)


def _judge(problem: Problem, completion: str, *, loose: bool) -> Verdict:
    try:
        asked = _asked(problem.answer)
    except instructions.BadInstructionError as error:
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer: {error}"[:500])
    if len(completion) > MAX_LENGTH:
        why = f"the completion has {len(completion)} characters, more than {MAX_LENGTH}"
        return Verdict(0, Outcome.LIMIT, reason=why)
    text = after_thinking(completion)
    if text is None or not text.strip():
        return Verdict(0, Outcome.UNPARSED, reason="nothing stands after the thinking" if completion else "empty")
    if "</think>" in completion:
        text = text.lstrip()
    texts = list(_variants(text)) if loose else [text]
    parts: dict[str, float] = {}
    try:
        for name, arguments in asked:
            key = name
            while key in parts:  # A prompt may ask for two numbers of sentences.
                key += "'"
            parts[key] = float(any(instructions.follows(name, arguments, variant) for variant in texts))
    except json_texts.TooLargeError as error:
        return Verdict(0, Outcome.LIMIT, reason=str(error))
    failed = [name for name, value in parts.items() if not value]
    if failed:
        return Verdict(0, Outcome.INCORRECT, text[:200], f"does not follow {', '.join(failed)}"[:300], parts)
    return Verdict(1, Outcome.CORRECT, text[:200], f"follows all {len(parts)} instructions", parts)


def _asked(answer: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(answer, Mapping) or not answer.keys() >= {"instruction_id_list", "kwargs"}:
        raise instructions.BadInstructionError(
            f"needs 'instruction_id_list' and 'kwargs', lists of one length, got {answer!r:.80}"
        )
    names, arguments = answer["instruction_id_list"], answer["kwargs"]
    if not _is_list(names) or not _is_list(arguments) or not names or len(names) != len(arguments):
        raise instructions.BadInstructionError(
            f"'instruction_id_list' and 'kwargs' must be lists of one length, not empty, got {answer!r:.80}"
        )
    return [(name, instructions.checked(name, given)) for name, given in zip(names, arguments, strict=True)]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _variants(text: str) -> Iterable[str]:
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return dict.fromkeys([*cut, *(part.replace("*", "") for part in cut)])
