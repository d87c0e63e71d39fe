"""What a run writes down while it goes: steps, evaluations, dropped groups, checkpoints, and in the end a report."""

from __future__ import annotations

import collections
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from rl import checkpoint, cluster
from rl.config import RunConfig
from rl.evaluate import draws, evaluate_groups
from rl.run import Run, resume_command
from rl.types import Draw, Group
from verifiers import Outcome, Problem

Console = Callable[..., Any]  # console("step", step=3, metrics={...})


class Ended(RuntimeError):
    """The run cannot go on. The message says why, and what to do."""


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and did so with a checkpoint. The message says how to go on."""


class Crew(NamedTuple):
    """Who does the work."""

    learner: cluster.Pool
    workers: cluster.Pool
    scorers: cluster.Pool

    def group(self, draw: Draw, index: int, problem: Problem, params: cluster.Call) -> cluster.Call:
        """Asks for a scored group, and returns at once. Completions go from worker to scorer directly."""
        return self.scorers.call("score", index, problem, self.workers.call("generate", draw, problem, params))


@dataclasses.dataclass(frozen=True)
class _Boundary:
    """Where a run stands before a step: what a checkpoint must hold beside the learner's state."""

    step: int
    next_index: int
    flight: tuple[cluster.Call, ...]


@dataclasses.dataclass
class _Pending:
    """A checkpoint whose groups in flight have not all arrived."""

    boundary: _Boundary
    partial: pathlib.Path
    score: float | None
    groups: list[Group] = dataclasses.field(default_factory=list)


class Journal:
    """Belongs to one `train`."""

    def __init__(self, config: RunConfig, run: Run, crew: Crew, console: Console, stopping: Callable[[], bool]):
        """
        Args:
          config: what the run is.
          run: where everything is kept.
          crew: asked for evaluations, and to save.
          console: told what happens.
          stopping: whether somebody wants the run to stop.
        """
        self._config, self._run, self._crew, self._console, self.stopping = config, run, crew, console, stopping
        past = run.metrics()
        self._began = time.monotonic() - (past[-1]["time/total"] if past else 0.0)
        self._here = _Boundary(-1, 0, ())
        self._saved = -1  # Step of the newest checkpoint.
        self._pending: list[_Pending] = []
        self._taken: list[Group] = []  # In this step, kept or dropped.
        self._dropped: list[str] = []  # The reasons, in this step.
        self._clock = self._generated = 0.0

    def tell(self, kind: str, **fields: Any) -> None:
        """Something happened that the run's directory should remember."""
        self._run.event(kind, **fields)
        self._console(kind, **fields)

    def boundary(self, step: int, next_index: int, flight: Iterable[cluster.Call], params: cluster.Call) -> None:
        """Before a step, and after the last one: evaluates and saves where it is due.

        Args:
          step: updates so far.
          next_index: the first problem of the stream that was not dispatched.
          flight: the groups in flight, oldest first.
          params: those of now.
        """
        first = self._here.step < 0
        self._here = _Boundary(step, next_index, tuple(flight))
        if first:  # Where a resumed run stands there is a checkpoint already.
            self._saved = step if step else -1
        last = step == self._config.steps
        score = self._evaluate(params) if step == 0 or last or _due(step, self._config.eval_every) else None
        if step != self._saved and (last or _due(step, self._config.checkpoint_every)) and not self.stopping():
            self._begin(score)
        self._taken, self._dropped, self._clock = [], [], time.monotonic()

    def keeps(self, group: Group) -> bool:
        """Whether a group that has arrived is trained on. Every group that is taken comes here, in order.

        Raises:
          Ended: too many groups of this step were dropped.
        """
        for pending in self._pending:
            pending.groups.append(group)
        self._commit_complete()
        self._taken.append(group)
        rewards = {rollout.verdict.reward for rollout in group.scored}
        if len(group.scored) < 2:
            errors = collections.Counter(r.verdict.reason for r in group.rollouts if not r.verdict.trains)
            reason = (
                f"{len(group.scored)} of {len(group.rollouts)} members could be scored: {errors.most_common(1)[0][0]}"
            )
        elif self._config.drop_uniform and len(rewards) == 1:
            reason = f"all rewards are {rewards.pop():g} (drop_uniform)"
        else:
            return True
        self._dropped.append(reason)
        self.tell("dropped", step=self._here.step, index=group.index, problem=group.problem.id, reason=reason)
        limit = self._config.max_dropped
        limit = 10 * self._config.problems_per_step if limit is None else limit
        if len(self._dropped) > limit:
            often, count = collections.Counter(self._dropped).most_common(1)[0]
            raise Ended(
                f"{len(self._dropped)} groups were dropped in step {self._here.step}, and max_dropped allows {limit}. "
                f"Most often ({count} times): {often}. Where the cause lies outside the run (an endpoint, a sandbox), "
                f"mend it and go on: {resume_command(self._run.path)}. Another verifier or other problems, e.g. "
                "without those that are always or never solved, need a new run."
            )
        return False

    def generated(self) -> None:
        """All groups of the step are there."""
        self._generated = time.monotonic()

    def step(self, groups: Sequence[Group], metrics: Mapping[str, Any]) -> None:
        """Keeps a step that is done."""
        now, step = time.monotonic(), self._here.step
        if metrics["update/skipped"]:
            self.tell("update_skipped", step=step, reason="no token had an advantage")
        metrics = {
            **describe(groups),
            "groups/dropped": len(self._dropped),
            "rollouts/errors": sum(len(group.rollouts) - len(group.scored) for group in self._taken),
            **metrics,
            "time/generate": self._generated - self._clock,
            "time/learn": now - self._generated,
            "time/step": now - self._clock,
            "time/total": now - self._began,
            "time/tokens_per_second": sum(_written(group) for group in self._taken) / (now - self._clock),
            "time/verify": sum(r.verdict.seconds for group in self._taken for r in group.rollouts),
        }
        self._run.rollouts(step, groups)
        self._run.record(step, metrics)
        self._console("step", step=step, metrics=metrics)

    def save(self) -> None:
        """Saves where the run stands now, which may be in the middle of a step: that is done again."""
        for pending in self._pending:
            if pending.boundary.step != self._here.step:
                checkpoint.discard(pending.partial)
        self._pending = [pending for pending in self._pending if pending.boundary.step == self._here.step]
        if not self._pending and self._saved != self._here.step:
            self._begin(None)
        self._finish()

    def stop(self) -> Stopped:
        """Saves, and returns what is to be raised."""
        self.save()
        step = self._here.step
        self.tell("stopped", step=step)
        how = resume_command(self._run.path)
        return Stopped(f"Stopped after {step} of {self._config.steps} updates. To go on: {how}")

    def report(self) -> dict[str, Any]:
        """Finishes the last checkpoint and writes what was gained."""
        self._finish()
        lines = self._run.evaluations()
        keys = ("mean", "low", "high", "n")
        before, after = ({key: line[key] for key in keys} for line in (lines[0], lines[-1])) if lines else (None, None)
        report = {
            "before": before,
            "after": after,
            "steps": self._here.step,
            "seconds": time.monotonic() - self._began,
            "example": self._example(lines[0]["step"], lines[-1]["step"]) if lines else None,
        }
        self._run.report(report)
        self._console("report", report=report)
        return report

    def _evaluate(self, params: cluster.Call) -> float | None:
        """The mean reward on the held-out problems; None where none was judged, or the run is to stop."""
        config, step = self._config, self._here.step
        asked = draws(config.held_out, config.eval_samples, config.eval_temperature)
        calls = [self._crew.group(draw, draw.index, problem, params) for draw, problem in asked]
        groups = []
        for done, call in enumerate(calls):
            if self.stopping():
                return None
            self._console("progress", what="evaluation", done=done, of=len(calls))
            groups.append(cluster.get(call))
        if not groups:
            return None
        evaluation = evaluate_groups(groups)
        self._run.evaluation(step, evaluation)
        self._console("evaluation", step=step, evaluation=evaluation)
        return evaluation.summary()["mean"]

    def _begin(self, score: float | None) -> None:
        partial = checkpoint.begin(self._run.path, self._here.step)
        try:
            self._run.sync()  # A checkpoint is not there before all that it comes after.
            cluster.get(self._crew.learner.call("save", partial))
        except (OSError, cluster.ActorFailed):  # A full disk, or no learner.
            checkpoint.discard(partial)
            raise
        self._pending.append(_Pending(self._here, partial, score))
        self._commit_complete()

    def _finish(self) -> None:
        """Waits for the groups that pending checkpoints lack."""
        for pending in self._pending:
            pending.groups = [cluster.get(call) for call in pending.boundary.flight]
        self._commit_complete()

    def _commit_complete(self) -> None:
        while self._pending and len(self._pending[0].groups) >= len(self._pending[0].boundary.flight):
            pending = self._pending.pop(0)
            step = pending.boundary.step
            path = checkpoint.commit(
                pending.partial,
                step=step,
                next_index=pending.boundary.next_index,
                groups=pending.groups,
                score=pending.score,
            )
            self._saved = step
            checkpoint.prune(self._run.path)
            self.tell("checkpoint", step=step, path=str(path))

    def _example(self, first: int, last: int) -> dict[str, Any] | None:
        """A held-out problem with its answer before and after: one that was learned, if there is one."""
        try:
            before, after = (_answers(self._run, step) for step in (first, last))
        except (OSError, ValueError):  # A file is lost or damaged, after which a run can go on well.
            return None
        if not (both := [id for id in before if id in after]):
            return None
        id = max(both, key=lambda id: after[id][0] - before[id][0])
        problem = next(problem for problem in self._config.held_out if problem.id == id)
        return {"problem": id, "prompt": problem.prompt, "before": before[id][1], "after": after[id][1]}


def describe(groups: Sequence[Group]) -> dict[str, float]:
    """Metrics of the groups that a step is trained on. Members that could not be scored are left out."""
    scored = [rollout for group in groups for rollout in group.scored]
    lengths = [int(rollout.completion.mask.sum()) for rollout in scored]
    outcomes = collections.Counter(rollout.verdict.outcome for rollout in scored)
    return {
        "reward/mean": float(np.mean([rollout.verdict.reward for rollout in scored])),
        "reward/solved": float(np.mean([any(r.verdict.reward >= 1 for r in group.scored) for group in groups])),
        "completion/length": float(np.mean(lengths)),
        "completion/tokens": sum(lengths),
        "finish/length": float(np.mean([rollout.completion.finish == "length" for rollout in scored])),
        **{f"outcome/{o.value}": outcomes[o] / len(scored) for o in Outcome if o is not Outcome.ERROR},
    }


def _written(group: Group) -> int:
    """Tokens that the policy wrote."""
    return sum(int(rollout.completion.mask.sum()) for rollout in group.rollouts)


def _due(step: int, every: int) -> bool:
    return every > 0 and step > 0 and step % every == 0


def _answers(run: Run, step: int) -> dict[str, tuple[float, str]]:
    """The reward and the text of the first answer to each problem of an evaluation, where it could be judged."""
    rows = pq.read_table(run.path / "evaluations" / f"{step:06d}.parquet").to_pylist()
    first = (row for row in rows if row["sample"] == 0 and not math.isnan(row["reward"]))
    return {row["problem"]: (row["reward"], row["text"]) for row in first}
