"""How good a policy is on problems it was not trained on: a mean, how sure we are of it, and pass@k.

Answers that were judged can be judged once more, by other verifiers, without sampling anything (`rescore`).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import itertools
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # `import rl` loads this module, and must not load JAX.
    from graders import Grader
    from policy import Completion, Model, Params, Versioned
    from rl.types import Draw, Group
    from rl.worker import Environment
    from verifiers import Problem, Verdict, Verifier

CONFIDENCE = 0.95
_ALIKE = 1e-9  # Means that are nearer to each other differ by rounding only.


class Interval(NamedTuple):
    """A mean and the interval that covers the true one in 95 of 100 evaluations."""

    mean: float
    low: float
    high: float
    n: int  # Problems.


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """K answers to each of N problems, judged.

    Attributes:
      ids: of the problems, [N].
      rewards: float [N, K]; NaN where the verdict was `ERROR`, which says nothing about the policy.
      texts: what was answered, [N][K].
      outcomes: of the verdicts, [N][K].
      reasons: of the verdicts, [N][K]; "" where there is none.
      finishes: how the completions ended (`Completion.finish`), [N][K]; "" where it is not known. One that ended in an
        "error" was not written to its end, and no verifier was asked about it.
    """

    ids: tuple[str, ...]
    rewards: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    outcomes: tuple[tuple[str, ...], ...]
    reasons: tuple[tuple[str, ...], ...] = ()
    finishes: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        nothing = tuple(("",) * len(texts) for texts in self.texts)
        object.__setattr__(self, "reasons", self.reasons or nothing)
        object.__setattr__(self, "finishes", self.finishes or nothing)

    @property
    def errors(self) -> int:
        """Answers that could not be judged. They count neither as right nor as wrong."""
        return int(np.isnan(self.rewards).sum())

    @property
    def error_reason(self) -> str:
        """Why answers could not be judged: the most frequent reason, in one line; "" where none is known."""
        pairs = zip(itertools.chain(*self.reasons), np.isnan(self.rewards).flat, strict=True)
        told = collections.Counter(reason for reason, error in pairs if error and reason)
        return " ".join(told.most_common(1)[0][0].split()) if told else ""

    @property
    def problem_means(self) -> np.ndarray:
        """The mean reward of each problem of which something was judged, float [<= N]."""
        judged = self.rewards[~np.isnan(self.rewards).all(axis=1)]
        return np.nanmean(judged, axis=1) if len(judged) else np.empty(0)

    @property
    def mean(self) -> float:
        """The mean over problems of their mean rewards; NaN where nothing was judged."""
        return float(self.problem_means.mean()) if len(self.problem_means) else math.nan

    @property
    def interval(self) -> Interval:
        """The mean over the problems that these were drawn from, with its 95 % interval.

        Wilson's score interval (Wilson, 1927). With one right-or-wrong answer a problem, n is the number
        of problems. Otherwise answers to one problem resemble each other, so that n is the effective
        number p (1 - p) / Var(mean), the variance taken between problems (Miller, 2024, arXiv:2411.00640)
        and the normal quantile replaced by Student's. Counting each answer as a problem would promise
        two to four times the precision there is.
        """
        means = self.problem_means
        n = len(means)
        if not n:
            return Interval(math.nan, 0.0, 1.0, 0)
        p = float(means.mean())
        single = self.rewards.shape[1] == 1 and bool(np.isin(means, (0.0, 1.0)).all())
        if single or np.ptp(means) < _ALIKE:  # E.g. all wrong: no more is known than from one answer each.
            return Interval(p, *_wilson(p, n, _normal_quantile()), n)
        variance = float(means.var(ddof=1)) / n
        return Interval(p, *_wilson(p, p * (1 - p) / variance, _student_quantile(n - 1)), n)

    def pass_at(self, k: int) -> float:
        """The chance that at least one of k answers is fully right, without bias.

        1 - C(n - c, k) / C(n, k) for c of n right, averaged over problems (Chen et al., 2021,
        arXiv:2107.03374, equation 1). Problems with fewer than k judged answers are left out.

        Raises:
          ValueError: k is not a whole number from 1 to the answers a problem.
        """
        most = self.rewards.shape[1]
        if not isinstance(k, (int, np.integer)) or not 1 <= k <= most:
            raise ValueError(f"k of pass@k must be a whole number, 1 to {most} (the answers a problem), got {k!r}.")
        judged = (~np.isnan(self.rewards)).sum(axis=1)
        right = (self.rewards >= 1).sum(axis=1)  # NaN compares as False.
        chances = [1 - math.comb(n - c, k) / math.comb(n, k) for n, c in zip(judged, right, strict=True) if n >= k]
        return float(np.mean(chances)) if chances else math.nan

    def summary(self) -> dict[str, float | int | None]:
        """{"mean", "low", "high", "n"}, as reports hold it; the mean is None, not NaN, where nothing was judged."""
        return self.interval._asdict() | ({} if len(self.problem_means) else {"mean": None})

    def __str__(self) -> str:
        mean, low, high, n = self.interval
        k = self.rewards.shape[1]
        line = f"mean {mean:.3f} [{low:.3f}, {high:.3f}], {n} problems"
        line += f", pass@{k} {self.pass_at(k):.3f}" if k > 1 else ""
        line += f", {self.errors} answers could not be judged" if self.errors else ""
        return line + (f", most often: {self.error_reason:.200}" if self.error_reason else "")


def compare(first: Evaluation, second: Evaluation) -> Interval:
    """How much better `second` is than `first` on the same problems, with the 95 % interval of the difference.

    Paired by problem: the mean of the differences of the problems' means, and Student's interval around
    it. Where two policies find the same problems hard this is several times as sharp as comparing two
    intervals. Where all the differences are alike, Student's interval would promise certainty; then what
    bounds the mean is how large a share of problems with another difference n problems may fail to show,
    1 - 0.025^(1/n) (Clopper & Pearson, 1934).

    Raises:
      ValueError: they are not evaluations of the same problems, or of fewer than two that were judged.
    """
    if set(first.ids) != set(second.ids):
        odd = sorted(set(first.ids) ^ set(second.ids))
        raise ValueError(
            f"{len(odd)} problems are in one evaluation only, e.g. {odd[0]!r}: evaluate both on the same problems."
        )
    place = {id: i for i, id in enumerate(second.ids)}
    pairs = [(first.rewards[i], second.rewards[place[id]]) for i, id in enumerate(first.ids)]
    judged = [(a, b) for a, b in pairs if not (np.isnan(a).all() or np.isnan(b).all())]
    differences = np.array([np.nanmean(b) - np.nanmean(a) for a, b in judged])
    n = len(differences)
    if n < 2:
        raise ValueError(f"A comparison needs at least 2 problems that were judged in both evaluations, got {n}.")
    mean = float(differences.mean())
    if np.ptp(differences) < _ALIKE:
        unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / n)
        return Interval(mean, mean - unseen * (mean + 1), mean + unseen * (1 - mean), n)
    half = _student_quantile(n - 1) * float(differences.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half), n)  # Rewards lie in [0, 1].


def evaluate_groups(groups: Sequence[Group]) -> Evaluation:
    """What an evaluation makes of scored groups of one size."""
    return Evaluation(
        ids=tuple(group.problem.id for group in groups),
        rewards=np.array([[_reward(rollout.verdict) for rollout in group.rollouts] for group in groups], np.float64),
        texts=tuple(tuple(rollout.completion.text for rollout in group.rollouts) for group in groups),
        outcomes=tuple(tuple(rollout.verdict.outcome.value for rollout in group.rollouts) for group in groups),
        reasons=tuple(tuple(rollout.verdict.reason for rollout in group.rollouts) for group in groups),
        finishes=tuple(tuple(rollout.completion.finish for rollout in group.rollouts) for group in groups),
    )


def draws(problems: Sequence[Problem], samples: int, temperature: float) -> list[tuple[Draw, Problem]]:
    """What to ask of the workers: the randomness of a problem hangs on its id, not on its place."""
    from rl.types import Draw

    return [(Draw(1, _id_hash(problem.id), samples, temperature), problem) for problem in problems]


def evaluate(
    model: Model,
    problems: Sequence[Problem],
    verifiers: Mapping[str, Verifier],
    *,
    graders: Mapping[str, Grader] | None = None,
    params: Params | None = None,
    samples: int = 1,
    temperature: float = 0.0,
    max_tokens: int = 32,
    environment: Environment | None = None,
    max_turns: int = 8,
    reply_seconds: float = 120.0,
    slots: int = 64,
    seed: int = 0,
    dtype: str | None = None,
    threads: int | None = None,
    num_workers: int = 1,
    num_scorers: int = 1,
    inline: bool = True,
) -> Evaluation:
    """Answers every problem `samples` times and judges the answers, without training.

    What is sampled depends on the seed and the problem's id, not on the other problems or on the workers.

    Args:
      model: the shape, the tokenizer and, unless `params` are given, the weights.
      problems: each names one of the verifiers or graders.
      verifiers, graders: by key.
      params: float32 parameters to take in place of the model's.
      samples: K, answers a problem.
      temperature: 0 is greedy.
      max_tokens: the longest answer.
      environment, max_turns, reply_seconds: what answers the policy's turns, how many it has, and how long an
        answer may take, as in `RunConfig`.
      slots: rows that a worker decodes at once.
      seed: of the sampling, and of the weights of a model without a file.
      dtype: of matrix products: "float32", "bfloat16", or what the device is fast at.
      threads: of XLA on a CPU, per actor; inline NPROC in the environment says it, before JAX runs.
      num_workers, num_scorers: actors on Ray; inline there is one of each.
      inline: do it in this process, without Ray.

    Raises:
      ValueError: no problems, an id that appears twice, a key without a verifier, a verifier that is no function, a
        prompt without room, another dtype, or several greedy samples.
    """
    from rl import cluster
    from rl.config import check_dtype
    from rl.preflight import longest_prompt
    from rl.scorer import Scorer
    from rl.worker import RolloutWorker

    graders = {} if graders is None else graders
    if not problems:
        raise ValueError("There are no problems to evaluate on.")
    _by_id(problems)
    _check_judges(problems, verifiers, graders)
    check_dtype("dtype", dtype)
    if samples > 1 and temperature == 0:
        raise ValueError(f"{samples} greedy samples of a problem are all the same: set a temperature, or samples=1.")
    if inline:
        _warn_inline(threads, num_workers=num_workers, num_scorers=num_scorers)
    longest = longest_prompt(model, problems, max_tokens)
    with cluster.start(inline=inline) as here:
        share = here.gpu_share(1 + num_workers)
        weights = here.spawn(_Weights, model, params, seed, dtype, name="weights", accelerator=True, gpus=share).call(
            "publish"
        )
        workers = here.spawn(
            RolloutWorker,
            model,
            seed=seed,
            slots=slots,
            prompt_columns=longest,
            max_tokens=max_tokens,
            dtype=dtype,
            environment=environment,
            max_turns=max_turns,
            reply_seconds=reply_seconds,
            name="worker",
            count=num_workers,
            concurrency=slots,
            threads=threads,
            accelerator=True,
            gpus=share,
        )
        scorers = here.spawn(Scorer, verifiers, graders, name="scorer", count=num_scorers)
        calls = [
            scorers.call("score", draw.index, problem, workers.call("generate", draw, problem, weights))
            for draw, problem in draws(problems, samples, temperature)
        ]
        return evaluate_groups([cluster.get(call) for call in calls])


def rescore(
    evaluation: Evaluation,
    problems: Sequence[Problem],
    verifiers: Mapping[str, Verifier],
    *,
    graders: Mapping[str, Grader] | None = None,
    num_scorers: int = 1,
    inline: bool = True,
) -> Evaluation:
    """Judges the answers of an evaluation once more. Nothing is sampled.

    A completion that was not written to its end stays an error, whatever a verifier would say of its text. So does an
    error of an evaluation that does not say how its completions ended (`finishes`), which may be such a completion.

    Args:
      evaluation: whose answers.
      problems: those of the evaluation, found by their ids; there may be others among them.
      verifiers, graders: by key.
      num_scorers: actors on Ray; inline there is one.
      inline: do it in this process, without Ray.

    Returns:
      The same problems and texts in the same order, with the rewards, outcomes and reasons of now.

    Raises:
      ValueError: a problem of the evaluation is missing, an id appears twice, a key has no verifier, or a verifier is
        no function.
    """
    from rl import cluster
    from rl.scorer import Scorer

    graders = {} if graders is None else graders
    by_id = _by_id(problems)
    if missing := [id for id in evaluation.ids if id not in by_id]:
        raise ValueError(
            f"{len(missing)} problems of the evaluation are not among the {len(by_id)} given, e.g. {missing[0]!r}: "
            "pass all problems whose answers are to be judged, under the ids that they had."
        )
    asked = [by_id[id] for id in evaluation.ids]
    _check_judges(asked, verifiers, graders)
    if inline:
        _warn_inline(num_scorers=num_scorers)
    completions = [
        [_written(*answer) for answer in zip(*answers, strict=True)]
        for answers in zip(evaluation.texts, evaluation.outcomes, evaluation.finishes, strict=True)
    ]
    with cluster.start(inline=inline) as here:
        scorers = here.spawn(Scorer, verifiers, graders, name="scorer", count=num_scorers)
        calls = [scorers.call("score", index, *pair) for index, pair in enumerate(zip(asked, completions, strict=True))]
        judged = evaluate_groups([cluster.get(call) for call in calls])
    kept = zip(judged.finishes, judged.reasons, evaluation.reasons, strict=True)
    reasons = tuple(
        tuple(old if finish == "error" else new for finish, new, old in zip(*row, strict=True)) for row in kept
    )
    return dataclasses.replace(judged, reasons=reasons, finishes=evaluation.finishes)


def _written(text: str, outcome: str, finish: str) -> Completion:
    """A completion of which a scorer needs no more than this."""
    from policy import Completion

    none = np.empty(0, np.int32)
    torn = finish == "error" or (not finish and outcome == "error")
    return Completion(none, none, none.astype(bool), none, none, text, "error" if torn else "stop", version=0)


def _by_id(problems: Sequence[Problem]) -> dict[str, Problem]:
    """
    Raises:
      ValueError: an id appears twice.
    """
    by_id = {problem.id: problem for problem in problems}
    if len(by_id) < len(problems):
        twice, _ = collections.Counter(problem.id for problem in problems).most_common(1)[0]
        raise ValueError(f"The id {twice!r} appears twice: ids, on which the sampling hangs, must be unique.")
    return by_id


def _check_judges(
    problems: Sequence[Problem], verifiers: Mapping[str, Verifier], graders: Mapping[str, Grader]
) -> None:
    """
    Raises:
      ValueError: they are no functions by their keys, or a problem's key is not among them.
    """
    from rl.config import check_functions

    check_functions("verifiers", verifiers)
    check_functions("graders", graders)
    if missing := {problem.verifier for problem in problems} - verifiers.keys() - graders.keys():
        raise ValueError(f"No verifier for {sorted(missing)}: there are {sorted({*verifiers, *graders})}.")


def _warn_inline(threads: int | None = None, **counts: int) -> None:
    """Says what has no effect in this process."""
    if threads is not None and os.environ.get("NPROC") != str(threads):
        said = f"threads={threads} has no effect inline, where JAX runs already: start Python with NPROC={threads} in"
        warnings.warn(f"{said} the environment, or pass inline=False.", stacklevel=3)
    for name, count in counts.items():
        if count > 1:
            warnings.warn(f"{name}={count} has no effect inline, where there is one: pass inline=False.", stacklevel=3)


class _Weights:
    """The parameters that an evaluation samples from."""

    def __init__(self, model: Model, params: Params | None, seed: int, dtype: str | None):
        self._model, self._params, self._seed, self._dtype = model, params, seed, dtype

    def publish(self) -> Versioned:
        import jax
        import jax.numpy as jnp

        from policy import Versioned
        from policy.transformer import engine_params, fast_dtype, to_host

        params = self._model.load(self._seed) if self._params is None else self._params
        dtype = jnp.dtype(self._dtype or fast_dtype())
        return Versioned(0, to_host(jax.jit(functools.partial(engine_params, dtype=dtype))(params)))


def _reward(verdict: Verdict) -> float:
    return verdict.reward if verdict.trains else math.nan


def _id_hash(id: str) -> int:
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:4], "big")


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """The score interval (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) of a share p of n."""
    middle, scale = p + z * z / (2 * n), 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if p == 0 else (middle - half) / scale), (1.0 if p == 1 else (middle + half) / scale)


def _normal_quantile() -> float:
    return 1.959963984540054


def _student_quantile(degrees: int) -> float:
    from scipy.special import stdtrit  # Half a second to load, and `import rl` loads this module.

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
