"""What can be found wrong before a step is paid for: prompts without room, verifiers that refuse the right answer."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence

from policy import Model, prompt_tokens
from rl.config import RunConfig
from verifiers import Problem, contract
from verifiers.contract import HANGS, check_golds, golds, late, spread
from verifiers.pool import shared

TRIED = 200  # Problems of a verifier whose gold answers are tried, spread over all of them.
SHOWN = 5  # Examples that a message lists.


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a config, and what to do about it.

    Attributes:
      message: for the person.
      fatal: whether the run must not start; otherwise it is only said.
    """

    message: str
    fatal: bool = True

    def __str__(self) -> str:
        return self.message


def preflight(config: RunConfig, on_event: Callable[..., None] | None = None) -> list[Finding]:
    """Tries everything that can be tried without the policy's weights.

    Every prompt is turned into tokens; ids are compared; and each verifier judges the gold answers of its
    problems, at most `TRIED` of them, which it must accept, and gold answers of others, which it must not.
    One gold of each comes first, so that a verifier that hangs is soon known. Graders are not tried: they may cost
    money.

    Args:
      config: what is tried.
      on_event: called as `on_event("progress", what=..., done=..., of=...)` before each verifier is tried, e.g. a
        `Console`.
    """
    problems = (*config.problems, *config.held_out)
    lengths = _prompt_lengths(config.model, problems)
    return [
        *_length_findings(config, problems, lengths),
        *_id_findings(config),
        *_mesh_findings(config),
        *_verifier_findings(config, on_event),
    ]


def fit(config: RunConfig) -> tuple[RunConfig, int]:
    """The config with the problems that there is room for, and the longest of their prompts, in tokens.

    Raises:
      ValueError: a prompt is empty, or too long and `drop_long` is not set, or none is left.
    """
    room = config.model.config.context - config.max_tokens
    problems = (*config.problems, *config.held_out)
    lengths = _prompt_lengths(config.model, problems)
    if fatal := [finding.message for finding in _length_findings(config, problems, lengths) if finding.fatal]:
        raise ValueError("\n".join(fatal))
    split = len(config.problems)
    fits = [length <= room for length in lengths]
    kept = [problem for problem, fit in zip(problems[:split], fits, strict=False) if fit]
    held_out = [problem for problem, fit in zip(problems[split:], fits[split:], strict=True) if fit]
    longest = max(length for length, fit in zip(lengths, fits, strict=True) if fit)
    if all(fits):
        return config, longest
    return dataclasses.replace(config, problems=kept, held_out=held_out), longest


def longest_prompt(model: Model, problems: Sequence[Problem], max_tokens: int) -> int:
    """The longest prompt, in tokens.

    Raises:
      ValueError: one is empty, or leaves no room for `max_tokens`; lists the first.
    """
    lengths = _prompt_lengths(model, problems)
    if wrong := [*_empty(problems, lengths), *_long(model, problems, lengths, max_tokens)]:
        raise ValueError("\n".join(wrong))
    return max(lengths)


def _prompt_lengths(model: Model, problems: Sequence[Problem]) -> list[int]:
    return [_prompt_length(model, problem) for problem in problems]


def _prompt_length(model: Model, problem: Problem) -> int:
    try:
        return len(prompt_tokens(model.tokenizer, problem.prompt))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        what = f"The prompt of {problem.id!r} cannot be turned into tokens: {problem.prompt!r:.100}"
        raise ValueError(f"{what} ({why})") from error


def _length_findings(config: RunConfig, problems: Sequence[Problem], lengths: list[int]) -> list[Finding]:
    empty = [Finding(message) for message in _empty(problems, lengths)]
    long = _long(config.model, problems, lengths, config.max_tokens)
    room = config.model.config.context - config.max_tokens
    if not any(0 < length <= room for length in lengths[: len(config.problems)]):  # To leave them out would not help.
        return [*empty, *(Finding(f"{message} Nothing is left to learn from.") for message in long)]
    if config.drop_long:
        return [*empty, *(Finding(f"Left out (drop_long): {message}", fatal=False) for message in long)]
    return [*empty, *(Finding(f"{message} Or set drop_long=True to leave them out.") for message in long)]


def _empty(problems: Sequence[Problem], lengths: list[int]) -> list[str]:
    ids = [problem.id for problem, length in zip(problems, lengths, strict=True) if not length]
    return [f"{len(ids)} prompts are empty: {_some(ids)}. A policy needs something to go on."] if ids else []


def _long(model: Model, problems: Sequence[Problem], lengths: list[int], max_tokens: int) -> list[str]:
    room = model.config.context - max_tokens
    if room < 1:
        return [
            f"max_tokens ({max_tokens}) leaves no room for a prompt in the context of {model.config.context} tokens."
        ]
    long = [f"{p.id} ({length} tokens)" for p, length in zip(problems, lengths, strict=True) if length > room]
    if not long:
        return []
    message = (
        f"{len(long)} of {len(problems)} prompts are longer than {room} tokens, which is what the context of "
        f"{model.config.context} leaves beside max_tokens={max_tokens}: {_some(long)}. "
        "Shorten them or lower max_tokens."
    )
    return [message]


def _id_findings(config: RunConfig) -> list[Finding]:
    findings = []
    for name, problems in (("problems", config.problems), ("held_out", config.held_out)):
        if odd := [repr(problem.id) for problem in problems if not _is_text(problem.id)]:
            findings.append(Finding(f"RunConfig.{name} has {len(odd)} ids that are no UTF-8 text: {_some(odd)}."))
        counts = collections.Counter(problem.id for problem in problems)
        if twice := [id for id, count in counts.items() if count > 1]:
            findings.append(
                Finding(f"RunConfig.{name} has {len(twice)} ids more than once: {_some(twice)}. Make them unique.")
            )
    return findings


def _is_text(id: object) -> bool:
    return isinstance(id, str) and id == id.encode(errors="replace").decode()


def _mesh_findings(config: RunConfig) -> list[Finding]:
    """Whether the parameters can be cut as the mesh wants it. How many devices there are, the learner finds out."""
    if not config.mesh:
        return []
    from policy.sharding import bytes_per_device, table
    from policy.transformer import parameter_shapes

    shape = config.model.config
    try:
        bytes_per_device(config.mesh, parameter_shapes(shape), config.sharding or table(shape))
    except ValueError as error:
        return [Finding(f"RunConfig.{'sharding' if config.sharding else 'mesh'}: {error}")]
    return []


def _verifier_findings(config: RunConfig, on_event: Callable[..., None] | None) -> list[Finding]:
    problems = {
        key: [problem for problem in (*config.problems, *config.held_out) if problem.verifier == key]
        for key in config.verifiers
    }
    findings = []
    for key, theirs in problems.items():
        if odd := [message for problem in theirs if (message := _odd_answer(problem))]:
            more = f" So it is with {len(odd) - 1} more of the verifier {key!r}." if len(odd) > 1 else ""
            findings.append(Finding(odd[0] + more))
            problems[key] = []  # They have no golds to try.
    keys = [key for key, theirs in problems.items() if theirs]

    def tell(done: int) -> None:
        if on_event is not None:
            on_event("progress", what="preflight: verifiers tried", done=done, of=len(keys))

    tell(0)
    pool = shared()
    first = [(config.verifiers[key], problems[key][0], golds(problems[key][0])[0]) for key in keys]
    verdicts = dict(pool.verify(first))
    for place, key in enumerate(keys):
        tell(place)
        _, problem, text = first[place]
        if late(verdicts[place], pool):
            wrong: Sequence[contract.Finding] = [contract.Finding(problem.id, HANGS, text, verdicts[place])]
            tried = "one gold"
        else:
            some = spread(problems[key], TRIED)
            report = check_golds(config.verifiers[key], some, pool)
            wrong = report.findings
            tried = f"{report.tried[HANGS]} golds" if HANGS in report.tried else str(len(some))
        if wrong:
            findings.append(_gold_finding(key, wrong, f"{tried} of its {len(problems[key])} problems tried"))
    return findings


def _odd_answer(problem: Problem) -> str:
    """What is wrong with an answer that nobody knows how to write in a completion; "" where nothing is."""
    try:
        golds(problem)
    except ValueError as error:
        return str(error)
    return ""


def _gold_finding(key: str, wrong: Sequence[contract.Finding], tried: str) -> Finding:
    kinds = collections.Counter(finding.what for finding in wrong)
    return Finding(
        f"The verifier {key!r} judges known answers wrongly ({tried}): "
        + ", ".join(f"{count} × {what}" for what, count in kinds.items())
        + "".join(f"\n  {finding}" for finding in wrong[:SHOWN])
        + (f"\n  … and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
        + "\n  Mend the verifier or the answers. Where an answer alone is no completion, give one in "
        + 'Problem.metadata["solution"].'
    )


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
