"""Verifiers made of verifiers. Plain functions that return picklable callables; the parts stay visible in the verdict.

Everywhere: a part whose error could change the reward makes the whole an `ERROR`; the whole is `CORRECT` if all parts
that are rewarded are. Parts are named by keyword, `all_of(right=math, short=short)`, or else after their function.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from verifiers.pool import shared
from verifiers.types import Outcome, Problem, Verdict, Verifier, described
from verifiers.worker import judge

Parts = Mapping[str, Verdict]
Penalty = Callable[[str], float]  # Completion -> the share of the reward that it costs, in [0, 1].


def weighted(**parts: tuple[Verifier, float]) -> Verifier:
    """The weighted mean of the rewards: sum_i w_i r_i / sum_i w_i.

        weighted(right=(verifiers.math, 0.9), form=(boxed, 0.1))

    Raises:
      ValueError: there are no parts, or a weight is not positive and finite.
    """
    if not parts:
        raise ValueError("weighted: name at least one part, e.g. weighted(right=(verifiers.math, 1.0)).")
    for name, (_, weight) in parts.items():
        if not 0 < weight < math.inf:
            raise ValueError(f"weighted: the weight of {name!r} must be positive and finite, got {weight!r}.")
    verifiers = {name: verifier for name, (verifier, _) in parts.items()}
    return functools.partial(_weighted, verifiers, {name: weight for name, (_, weight) in parts.items()})


def all_of(*verifiers: Verifier, **named: Verifier) -> Verifier:
    """The least reward: correct if every part is. One that earns nothing decides, whatever the others do."""
    return functools.partial(_lowest, _named("all_of", verifiers, named), min)


def product(*verifiers: Verifier, **named: Verifier) -> Verifier:
    """The product of the rewards. One that earns nothing decides, whatever the others do."""
    return functools.partial(_lowest, _named("product", verifiers, named), math.prod)


def any_of(*verifiers: Verifier, **named: Verifier) -> Verifier:
    """The greatest reward: correct if one part is. The parts are tried in order, until one earns all there is."""
    return functools.partial(_highest, _named("any_of", verifiers, named))


def gate(form: Verifier, *, then: Verifier) -> Verifier:
    """`then`'s verdict where `form` says correct, else nothing: `form`'s outcome, and `then` is not asked."""
    return functools.partial(_gated, form, then)


def route(by: Callable[[Problem], str], verifiers: Mapping[str, Verifier]) -> Verifier:
    """The verdict of the verifier that `by` picks for the problem. No verifier of that key is an `ERROR`.

    route(lambda problem: problem.metadata["kind"], {"sum": verifiers.number, "proof": proof})
    """
    return functools.partial(_routed, by, dict(verifiers))


def penalty(verifier: Verifier, **penalties: Penalty) -> Verifier:
    """The verifier's reward times (1 - p) for every penalty p. The outcome stays.

    penalty(verifiers.math, length=too_long(2000, 4000), repetition=repeated(4))
    """
    return functools.partial(_penalized, verifier, penalties)


def too_long(soft: int, hard: int) -> Penalty:
    """0 up to `soft` characters, 1 from `hard` on, a straight line in between (DAPO, Yu et al., 2025,
    arXiv:2503.14476, eq. 13, as a factor).

    Raises:
      ValueError: not 0 <= soft < hard.
    """
    if not 0 <= soft < hard:
        raise ValueError(f"too_long: 0 <= soft < hard must hold, got {soft} and {hard}.")
    return functools.partial(_too_long, soft, hard)


def repeated(n: int) -> Penalty:
    """The share of a completion's runs of `n` words that occurred in it before.

    Raises:
      ValueError: n is less than 1.
    """
    if n < 1:
        raise ValueError(f"repeated: n must be at least 1, got {n}.")
    return functools.partial(_repeated, n)


def fallback(
    rule: Verifier, grader: Callable[[Problem, Sequence[str]], Sequence[Verdict]]
) -> Callable[[Problem, Sequence[str]], list[Verdict]]:
    """A grader that asks `grader`, which may be a model, only about what `rule` finds incorrect or unparsed.

    Belongs in `RunConfig.graders`. The rule runs in the pool of this process.
    """
    return functools.partial(_fallback, rule, grader)


# What the callables above do.


def _weighted(verifiers: Mapping[str, Verifier], weights: Mapping[str, float], problem: Problem, text: str) -> Verdict:
    verdicts = {name: judge(verifier, problem, text) for name, verifier in verifiers.items()}
    for name, verdict in verdicts.items():
        if not verdict.trains:
            return _whole(verdicts, 0.0, name)
    reward = sum(weights[name] * verdict.reward for name, verdict in verdicts.items()) / sum(weights.values())
    return _whole(verdicts, min(reward, 1.0), _first_wrong(verdicts))


def _lowest(
    verifiers: Mapping[str, Verifier], combine: Callable[[list[float]], float], problem: Problem, text: str
) -> Verdict:
    verdicts: dict[str, Verdict] = {}
    for name, verifier in verifiers.items():
        verdicts[name] = judge(verifier, problem, text)
        if verdicts[name].trains and verdicts[name].reward == 0:
            return _whole(verdicts, 0.0, name)
    for name, verdict in verdicts.items():
        if not verdict.trains:
            return _whole(verdicts, 0.0, name)
    return _whole(verdicts, combine([verdict.reward for verdict in verdicts.values()]), _first_wrong(verdicts))


def _highest(verifiers: Mapping[str, Verifier], problem: Problem, text: str) -> Verdict:
    verdicts: dict[str, Verdict] = {}
    for name, verifier in verifiers.items():
        verdicts[name] = judge(verifier, problem, text)
        if verdicts[name].trains and verdicts[name].reward == 1:
            return _whole(verdicts, 1.0, name)
    for name, verdict in verdicts.items():
        if not verdict.trains:
            return _whole(verdicts, 0.0, name)
    best = max(verdicts, key=lambda name: verdicts[name].reward)
    return _whole(verdicts, verdicts[best].reward, best)


def _gated(form: Verifier, then: Verifier, problem: Problem, text: str) -> Verdict:
    verdicts = {"form": judge(form, problem, text)}
    if verdicts["form"].outcome is not Outcome.CORRECT:
        return _whole(verdicts, 0.0, "form")
    verdicts["then"] = judge(then, problem, text)
    return _whole(verdicts, verdicts["then"].reward, "then")


def _routed(by: Callable[[Problem], str], verifiers: Mapping[str, Verifier], problem: Problem, text: str) -> Verdict:
    key = by(problem)
    if key not in verifiers:
        raise LookupError(f"route: problem {problem.id} asks for {key!r}, and there are {sorted(verifiers)}.")
    return judge(verifiers[key], problem, text)


def _penalized(verifier: Verifier, penalties: Mapping[str, Penalty], problem: Problem, text: str) -> Verdict:
    verdict = judge(verifier, problem, text)
    costs = {name: penalty(text) for name, penalty in penalties.items()}
    for name, cost in costs.items():
        if not 0 <= cost <= 1:
            raise ValueError(f"penalty: {name!r} must be in [0, 1], got {cost!r}.")
    if not verdict.trains:
        return verdict
    parts = {**verdict.parts, "reward": verdict.reward, **{f"penalty/{name}": cost for name, cost in costs.items()}}
    return Verdict(
        verdict.reward * math.prod(1 - cost for cost in costs.values()),
        verdict.outcome,
        answer=verdict.answer,
        reason=verdict.reason,
        parts=parts,
        info=verdict.info,
    )


def _fallback(
    rule: Verifier,
    grader: Callable[[Problem, Sequence[str]], Sequence[Verdict]],
    problem: Problem,
    texts: Sequence[str],
) -> list[Verdict]:
    found = dict(shared().verify((rule, problem, text) for text in texts))
    verdicts = [found[i] for i in range(len(texts))]
    asked = [i for i, verdict in enumerate(verdicts) if verdict.outcome in (Outcome.INCORRECT, Outcome.UNPARSED)]
    if asked:
        for i, verdict in zip(asked, grader(problem, [texts[i] for i in asked]), strict=True):
            verdicts[i] = verdict
    return verdicts


def _too_long(soft: int, hard: int, text: str) -> float:
    return min(max((len(text) - soft) / (hard - soft), 0.0), 1.0)


def _repeated(n: int, text: str) -> float:
    words = text.split()
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _named(what: str, verifiers: Sequence[Verifier], named: Mapping[str, Verifier]) -> dict[str, Verifier]:
    """Names for the parts; the second of a name gets a number."""
    parts: dict[str, Verifier] = {}
    for verifier in verifiers:
        name = described(verifier).rpartition(".")[2].strip("<>")
        while name in parts or name in named:
            stem, _, number = name.rpartition("_")
            name = f"{stem}_{int(number) + 1}" if stem and number.isdigit() else f"{name}_2"
        parts[name] = verifier
    if not parts and not named:
        raise ValueError(f"{what}: give at least one verifier.")
    return {**parts, **named}


def _first_wrong(verdicts: Parts) -> str:
    """The part that decides the outcome: the first that is not correct, else the first."""
    wrong = (name for name, verdict in verdicts.items() if verdict.outcome is not Outcome.CORRECT)
    return next(wrong, next(iter(verdicts)))


def _whole(verdicts: Parts, reward: float, decisive: str) -> Verdict:
    """The verdict of a composition, with the outcome and the reason of the part that decided it."""
    parts: dict[str, float] = {}
    info: dict[str, Any] = {}
    for name, verdict in verdicts.items():
        parts[name] = verdict.reward
        parts |= {f"{name}/{inner}": share for inner, share in verdict.parts.items()}
        if verdict.info:
            info[name] = dict(verdict.info)
    one = verdicts[decisive]
    reason = f"{decisive}: {one.reason}" if one.reason else decisive
    answer = one.answer if one.answer is not None else next((v.answer for v in verdicts.values() if v.answer), None)
    return Verdict(reward, one.outcome, answer=answer, reason=reason, parts=parts, info=info)
