"""A run as text for people: a line a step, with the time left, and in the end what was gained."""

from __future__ import annotations

import collections
import errno
import itertools
import math
import os
import shlex
import statistics
import sys
import textwrap
import time
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np

from rl.config import RunConfig
from rl.evaluate import Evaluation, compare
from rl.run import Run

_STEPS_TIMED = 8  # The newest steps, from which the time left is told.
_EXAMPLES = 3  # Of verdicts that changed.


class Console:
    """What `rl.train` tells, as lines of text. On a terminal, what is going on stands below them.

    `Console()` is an argument of `rl.train`; a call is one event, e.g. `console("step", step=3, metrics={...})`.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = sys.stdout if stream is None else stream
        self._live = self._stream.isatty()
        self._config: RunConfig | None = None
        self._path = ""
        self._step_seconds: collections.deque[float] = collections.deque(maxlen=_STEPS_TIMED)
        self._evaluation_began = 0.0
        self._evaluation_seconds = 0.0

    def __call__(self, kind: str, **fields: Any) -> None:
        """Shows one event; one that people need not see is passed over."""
        match kind:
            case "start":
                self._start(**fields)
            case "progress":
                self._progress(**fields)
            case "evaluation":
                self._evaluation(**fields)
            case "step":
                self._step(**fields)
            case "report":
                run = Run(self._path)
                kept = (run.path / "config.py").is_file()
                self._say("\n" + report_text(fields["report"], self._path, gain_text(run), kept))
            case "finding":
                self._say(fields["message"])
            case "dropped":
                self._say(f"  dropped    {fields['problem']}: {one_line(fields['reason'], 100)}")
            case "update_skipped":
                self._say(f"  skipped    update {fields['step'] + 1}: {fields['reason']}")
            case "actor_died":
                self._say(f"  restarting {fields['actor']}: {one_line(fields['reason'], 100)}")
            case "checkpoint":
                self._say(f"  saved      {shortest(fields['path'])}")
            case "stopping":
                self._say("  stopping   with a checkpoint; Ctrl-C now stops at once")

    def _start(self, path: Any, config: RunConfig, step: int) -> None:
        self._config, self._path = config, shortest(str(path))
        P, G = config.problems_per_step, config.group_size
        self._say(f"{config.model.name}: {config.steps} updates of {P} problems × {G} answers, in {self._path}")
        if step:
            self._say(f"  going on   after {step} updates")
        self._wait("  starting   …")

    def _progress(self, what: str, done: int, of: int) -> None:
        if not done:
            self._evaluation_began = time.monotonic()
        self._wait(f"  {what} {done}/{of}")

    def _evaluation(self, step: int, evaluation: Evaluation) -> None:
        self._evaluation_seconds = time.monotonic() - self._evaluation_began
        mean, low, high, n = evaluation.interval
        errors = _unjudged(evaluation)
        if not n:
            self._say(f"  held out   not known after {step} updates: {errors}")
            return
        errors = f"; {errors}" if errors else ""
        self._say(f"  held out   {mean:.3f}  [{low:.3f}, {high:.3f}]  after {step} updates, {n} problems{errors}")

    def _step(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._step_seconds.append(metrics["time/step"])
        steps = self._config.steps if self._config else step + 1
        shown = {"reward": "reward/mean", "entropy": "entropy"}
        values = "".join(f"  {name} {metrics[key]:.3f}" for name, key in shown.items() if key in metrics)
        line = (
            f"{step + 1:>6}/{steps:<4}{values}  {metrics['completion/tokens']:,} tokens  {metrics['time/step']:.1f} s"
        )
        left = self._seconds_left(step + 1)
        self._say(line + (f"  {duration(left)} left" if left else ""))
        self._wait("  sampling   …" if step + 1 < steps else "  finishing  …")

    def _seconds_left(self, done: int) -> float:
        """The steps and evaluations to come, at the pace of the newest ones."""
        if self._config is None:
            return 0.0
        steps, every = self._config.steps, self._config.eval_every
        due = sum(step == steps or (every > 0 and step % every == 0) for step in range(done, steps + 1))
        evaluations = due if self._config.held_out else 0
        return (steps - done) * statistics.median(self._step_seconds) + evaluations * self._evaluation_seconds

    def _say(self, text: str) -> None:
        self._write(("\r\x1b[2K" if self._live else "") + text + "\n")

    def _wait(self, text: str) -> None:
        """Shows what is going on until the next line. Only a terminal can take it back."""
        if self._live:
            self._write("\r\x1b[2K" + text)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            # The reader is gone: Ctrl-C ends `| tee`, too, or a terminal closed. The run must get to its checkpoint.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


def report_text(report: Mapping[str, Any], path: str, gain: str = "", kept: bool = True) -> str:
    """The end of a run: what was gained, a prompt answered before and after, and what to do next.

    Args:
      report: what report.json holds.
      path: of the run.
      gain: a sentence on how sure the gain is.
      kept: whether the run keeps the file that made its config; commands need it.
    """
    lines = [f"{report['steps']} updates in {duration(report['seconds'])}."]
    before, after, example = report.get("before"), report.get("after"), report.get("example")
    if before and after and not (before["n"] and after["n"]):
        lines.append("What was gained is not known: no answer on held-out problems could be judged before or after.")
    elif before and after:
        moved = "rose" if after["mean"] > before["mean"] else "fell" if after["mean"] < before["mean"] else "stayed"
        lines.append(
            f"Mean reward on {after['n']} held-out problems {moved} from {_interval(before)} to {_interval(after)} "
            "(95 % intervals)."
        )
        lines += [gain] if gain else []
    if example:
        prompt = example["prompt"]
        asked = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        lines += ["", f"One of them, {example['problem']}:"]
        for name, text in (("asked", asked), ("before", example["before"]), ("after", example["after"])):
            lines += textwrap.wrap(one_line(text, 400), 100, initial_indent=f"  {name:<8}", subsequent_indent=" " * 10)
    typed, steps = shlex.quote(path), report["steps"] * 2 or 1
    lines += ["", f"The run is in {path}. Next:"]
    if not kept:
        return "\n".join([*lines, f"  rl.train(dataclasses.replace(config, steps={steps}), resume={path!r})   go on"])
    if before:
        lines.append(f"  assay eval {typed} --samples 8       measure it more closely")
    lines.append(f"  assay export {typed} my-model        write it as a Hugging Face directory")
    lines.append(f"  assay train --resume {typed} steps={steps}   go on")
    return "\n".join(lines)


def gain_text(run: Run) -> str:
    """A sentence on how sure the difference between a run's first and last evaluation is; "" where there is none."""
    lines = run.evaluations()
    if len(lines) < 2:
        return ""
    try:
        before, after = (run.read_evaluation(line["step"]) for line in (lines[0], lines[-1]))
    except (OSError, ValueError):
        return "How sure that is cannot be said: the file of one of the two evaluations is lost or damaged."
    try:
        mean, low, high, _ = compare(before, after)
    except ValueError:  # Hardly a problem was judged in both.
        return ""
    if np.array_equal(before.rewards, after.rewards, equal_nan=True):
        return "No problem's mean reward has changed."
    told = "" if low > 0 or high < 0 else ", which may be chance"
    return f"Compared problem by problem: {mean:+.3f} [{low:+.3f}, {high:+.3f}]{told}."


def evaluation_text(evaluation: Evaluation, temperature: float) -> str:
    """An evaluation for people: the mean, its interval, and pass@k for powers of two."""
    mean, low, high, n = evaluation.interval
    k = evaluation.rewards.shape[1]
    how = "one greedy answer each" if temperature == 0 else f"{k} answers each at temperature {temperature:g}"
    why = f"Most often: {one_line(evaluation.error_reason, 300)}" if evaluation.error_reason else ""
    if not n:
        return f"Nothing is known: none of {evaluation.errors} answers could be judged ({how}).\n{why}".rstrip()
    lines = [f"mean      {mean:.3f}  [{low:.3f}, {high:.3f}]  {n} problems, {how}"]
    ladder = sorted({*(2**i for i in range(k.bit_length())), k})
    lines += [f"{f'pass@{i}':<10}{evaluation.pass_at(i):.3f}" for i in ladder if i > 1]
    if evaluation.errors:
        what = f"{evaluation.errors} answers could not be judged; they count neither as right nor as wrong."
        lines.append(f"{what} {why}".rstrip())
    return "\n".join(lines)


def rescored_text(before: Evaluation, now: Evaluation) -> str:
    """What judging the answers of an evaluation once more has changed, for people."""
    lines = [f"before    {_known(before)}", f"now       {_known(now)}"]
    try:
        mean, low, high, n = compare(before, now)
        lines.append(f"change    {mean:+.3f}  [{low:+.3f}, {high:+.3f}]  {n} problems, compared one by one")
    except ValueError as error:  # Hardly a problem was judged both times.
        lines.append(f"change    not known: {error}")
    n, k = before.rewards.shape
    if unknown := sum(
        "error" in pair and "" in pair
        for pair in zip(itertools.chain(*before.outcomes), itertools.chain(*before.finishes), strict=True)
    ):
        lines.append(f"{unknown} errors were not judged: an evaluation of old does not say which texts are whole.")
    ways, examples = collections.Counter[str](), list[str]()
    for i, j in ((i, j) for i in range(n) for j in range(k)):
        old, new = before.rewards[i, j], now.rewards[i, j]
        outcomes = before.outcomes[i][j], now.outcomes[i][j]
        if not (way := _way(old, new) or ("other outcomes" if outcomes[0] != outcomes[1] else "")):
            continue
        ways[way] += 1
        if len(examples) < _EXAMPLES:
            verdicts = " → ".join(
                outcome if math.isnan(reward) else f"{outcome} {reward:g}"
                for outcome, reward in zip(outcomes, (old, new), strict=True)
            )
            reason = now.reasons[i][j] and f" ({one_line(now.reasons[i][j], 100)})"
            examples.append(f"  {before.ids[i]}: {one_line(before.texts[i][j], 80)}\n    {verdicts}{reason}")
    told = ", ".join(f"{count} {way}" for way, count in ways.items())
    return "\n".join([*lines, f"{ways.total()} of {n * k} verdicts changed{told and f': {told}'}.", *examples])


def duration(seconds: float) -> str:
    """ "42 s", "7 min", "1 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def one_line(text: str, most: int) -> str:
    """At most so many characters of a text on one line. What could move a terminal's cursor is spelled out."""
    line = "".join(c if c.isprintable() else "↵" if c == "\n" else repr(c)[1:-1] for c in text)
    return line if len(line) <= most else line[: most - 1] + "…"


def shortest(path: str) -> str:
    """A path as people would type it here."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def _known(evaluation: Evaluation) -> str:
    """The mean with its interval, and how many answers could not be judged, and why."""
    mean, low, high, n = evaluation.interval
    errors = _unjudged(evaluation)
    text = f"{mean:.3f}  [{low:.3f}, {high:.3f}]  {n} problems" if n else "not known"
    return f"{text}, {errors}" if errors else text


def _unjudged(evaluation: Evaluation) -> str:
    """How many answers could not be judged, and why; "" where all could."""
    why = f", most often: {one_line(evaluation.error_reason, 150)}" if evaluation.error_reason else ""
    return f"{evaluation.errors} answers could not be judged{why}" if evaluation.errors else ""


def _way(old: float, new: float) -> str:
    """How a verdict has changed, "" where its reward is the same."""
    if math.isnan(old) or math.isnan(new):
        return "judged now" if not math.isnan(new) else "not judged any more" if not math.isnan(old) else ""
    return "higher" if new > old else "lower" if new < old else ""


def _interval(summary: Mapping[str, float]) -> str:
    return f"{summary['mean']:.3f} [{summary['low']:.3f}, {summary['high']:.3f}]"
