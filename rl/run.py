"""A run is a directory and nothing else: what it was asked to do, and everything that came of it."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rl.config import RunConfig
from rl.evaluate import Evaluation
from rl.fingerprint import fingerprints, summary
from rl.machine import machine, versions
from rl.records import numbered, read_groups, sync, write_groups, write_table
from rl.types import Group
from verifiers import Problem
from verifiers.sandbox import levels

# What a resumed run may change: how long it goes on, and who does the work where. Nothing that the numbers see.
FREE = frozenset({"steps", "num_workers", "num_scorers", "inline", "address"})


class Run:
    """A run's directory.

        config.py          the file that made the config, word for word
        config.json        every field, its fingerprint, the overrides, versions, the machine
        metrics.jsonl      a line a step; events.jsonl: a line an event; evaluations.jsonl: a line an evaluation
        rollouts/000012.parquet, evaluations/000008.parquet
        checkpoints/000024/
        report.json        what was gained, when it has ended

    Raises:
      FileNotFoundError: there is no run at the path.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        if not is_run(self.path):
            raise FileNotFoundError(f"{self.path} is not a run: it has no config.json of one. {_runs_near(self.path)}")

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        config: RunConfig,
        *,
        source: str | os.PathLike[str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Run:
        """Makes the directory of a new run.

        Args:
          path: where; must not hold anything yet.
          config: what the run is.
          source: the Python file that made the config, kept word for word.
          overrides: what the command line changed in it.

        Raises:
          FileExistsError: there is something at the path.
          OSError: it cannot be written. Nothing is left of it.
        """
        path = pathlib.Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            what = "holds a run" if is_run(path) else "is not empty" if path.is_dir() else "is a file"
            raise FileExistsError(
                f"{path} {what}: a new run needs a directory of its own."
                + (f" To go on with this one: {resume_command(path)}" if is_run(path) else "")
            )
        existed = path.exists()
        made = {
            "fields": {name: summary(value) for name, value in vars(config).items()},
            "fingerprints": fingerprints(config),
            "overrides": dict(overrides or {}),
            "source": None if source is None else str(pathlib.Path(source).absolute()),
            "versions": versions(),
            "machine": machine(),
            "sandbox": levels.best(),  # What model-written code is isolated by, if any is run.
            "created": time.time(),
        }
        try:
            (path / "rollouts").mkdir(parents=True)
            if source is not None:
                shutil.copyfile(source, path / "config.py")
            _write_json(path / "config.json", made)  # Last: it makes the directory a run.
        except BaseException:  # Ctrl-C, too.
            take_back(path, existed)
            raise
        return cls(path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts, no other process on this machine may go on with the run. A kill ends it, too.

        Raises:
          ValueError: another process is at work on it.
        """
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise ValueError(
                f"Another process is at work on {self.path}: wait until it has ended, or stop it."
            ) from None
        try:
            yield
        finally:
            os.close(folder)

    # What is written.

    def record(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Adds the metrics of a step. A float keeps every bit."""
        _append(self.path / "metrics.jsonl", {"step": step, **metrics})

    def event(self, kind: str, **fields: Any) -> None:
        """Notes that something happened, and when: a restart, a checkpoint, a drop."""
        _append(self.path / "events.jsonl", {"time": time.time(), "kind": kind, **fields})

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        """Keeps everything of the groups that a step was trained on."""
        write_groups(self._file("rollouts", step), step, groups)

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        """Keeps an evaluation of the parameters after `step` updates: every answer, and a line of sums."""
        n, k = evaluation.rewards.shape
        columns = {
            "problem": [id for id in evaluation.ids for _ in range(k)],
            "sample": list(range(k)) * n,
            "reward": evaluation.rewards.ravel(),  # NaN where the verdict was an error.
            "outcome": [outcome for row in evaluation.outcomes for outcome in row],
            "text": [text.encode("utf-8", "backslashreplace").decode() for row in evaluation.texts for text in row],
            "reason": [text.encode("utf-8", "backslashreplace").decode() for row in evaluation.reasons for text in row],
            "finish": [finish for row in evaluation.finishes for finish in row],
        }
        write_table(self._file("evaluations", step), pa.table(columns))
        line = {"step": step, "time": time.time(), "samples": k, "errors": evaluation.errors, **evaluation.summary()}
        _append(self.path / "evaluations.jsonl", line)

    def report(self, report: Mapping[str, Any]) -> None:
        """Writes report.json, whole or not at all."""
        _write_json(self.path / "report.json", report)

    def sync(self) -> None:
        """Waits until all lines and files so far are on the disk: there also if the power fails."""
        for name in ("metrics.jsonl", "evaluations.jsonl", "rollouts", "evaluations", "."):
            if (path := self.path / name).exists():
                sync(path)

    # What can be read.

    @property
    def config(self) -> dict[str, Any]:
        """What config.json holds."""
        file = self.path / "config.json"
        kept = _object(file.read_bytes(), str(file))
        if missing := {"fields", "fingerprints", "overrides", "source"} - kept.keys():
            raise ValueError(f"{file} is damaged: it lacks {', '.join(sorted(missing))}.")
        for key in ("fields", "fingerprints", "overrides"):
            if not isinstance(kept[key], dict):
                raise ValueError(f"{file} is damaged: its {key} are no JSON object, but {kept[key]!r:.80}.")
        return kept

    def metrics(self) -> list[dict[str, Any]]:
        return _lines(self.path / "metrics.jsonl")

    def events(self) -> list[dict[str, Any]]:
        return _lines(self.path / "events.jsonl")

    def evaluations(self) -> list[dict[str, Any]]:
        return _lines(self.path / "evaluations.jsonl")

    def groups(self, step: int, problems: Mapping[str, Problem] | None = None) -> list[Group]:
        """The groups that a step was trained on. `problems` by id; others are made again from what was kept."""
        return read_groups(self._file("rollouts", step), problems)

    def read_evaluation(self, step: int) -> Evaluation:
        """The evaluation of the parameters after `step` updates. A file of old has neither reasons nor finishes."""
        rows = pq.read_table(self._file("evaluations", step)).to_pylist()
        by_problem = [list(answers) for _, answers in itertools.groupby(rows, lambda row: row["problem"])]
        return Evaluation(
            ids=tuple(answers[0]["problem"] for answers in by_problem),
            rewards=np.array([[answer["reward"] for answer in answers] for answers in by_problem]),
            texts=tuple(tuple(answer["text"] for answer in answers) for answers in by_problem),
            outcomes=tuple(tuple(answer["outcome"] for answer in answers) for answers in by_problem),
            reasons=tuple(tuple(answer.get("reason", "") for answer in answers) for answers in by_problem),
            finishes=tuple(tuple(answer.get("finish", "") for answer in answers) for answers in by_problem),
        )

    # To go on.

    def prolong(self, config: RunConfig) -> None:
        """Keeps what a resume changes of the fields in `FREE`, so that the next resume need not be told again."""
        kept = self.config
        changed = {name: summary(vars(config)[name]) for name in sorted(FREE)}
        changed = {name: value for name, value in changed.items() if value != kept["fields"][name]}
        if changed:
            kept["fields"] |= changed
            kept["overrides"] |= changed
            _write_json(self.path / "config.json", kept)

    def pin_weights(self, fingerprint: str) -> None:
        """Keeps the fingerprint of the weights that the run starts from; they are its reference policy.

        Raises:
          ValueError: they are not those that the run was started from.
        """
        kept = self.config
        before = kept.setdefault("weights", fingerprint)
        if before != fingerprint:
            raise ValueError(
                f"{self.path} was started from other weights (fingerprint {before}; those of now: {fingerprint}): "
                "put the old ones back, or start a new run."
            )
        _write_json(self.path / "config.json", kept)

    def pin_arithmetic(self, arithmetic: str) -> str:
        """Keeps what the run computes with (`Learner.arithmetic`). Returns what is kept, which may be another."""
        kept = self.config
        if "arithmetic" not in kept:
            _write_json(self.path / "config.json", {**kept, "arithmetic": arithmetic})
        return kept.get("arithmetic", arithmetic)

    def require_metrics(self, step: int) -> None:
        """Refuses to go on after `step` updates where metrics.jsonl has not the lines of all of them.

        Raises:
          ValueError: lines are missing; names their steps.
        """
        missing = sorted({*range(step)} - {line["step"] for line in self.metrics()})
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise ValueError(
                f"{self.path / 'metrics.jsonl'} lacks lines (step {', '.join(map(str, missing[:5]))}{more}), "
                f"and the newest whole checkpoint is that of step {step}: put the file back as it was; or move the "
                f"checkpoints after step {missing[0]} out of {self.path / 'checkpoints'}, to go on from an older one; "
                "or start a new run."
            )

    def truncate(self, step: int) -> None:
        """Forgets the metrics, rollouts and evaluations of `step` and later and the report, which are made again.

        Checkpoints after `step` go too, since going on would take them for newer than its own, and those that were
        begun and not finished.
        """
        for name in ("metrics", "evaluations"):
            path = self.path / f"{name}.jsonl"
            if path.exists():
                kept = [line for line in _lines(path) if line["step"] < step]
                _write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        for name in ("rollouts", "evaluations"):
            for made, file in numbered(self.path / name):
                if made >= step:
                    file.unlink()
        (self.path / "report.json").unlink(missing_ok=True)
        for partial in self.path.glob("checkpoints/.*.partial"):
            shutil.rmtree(partial)
        for path in self.path.glob("checkpoints/[0-9]*"):
            if path.name.isdecimal() and int(path.name) > step:
                shutil.rmtree(path)

    def drop_torn_event(self) -> None:
        """Removes a last event that a kill has torn, so that others can follow. Whole ones did happen, and stay."""
        events = self.path / "events.jsonl"
        if events.exists():
            _write_text(events, "".join(json.dumps(line) + "\n" for line in _lines(events)))

    def _file(self, folder: str, step: int) -> pathlib.Path:
        (self.path / folder).mkdir(exist_ok=True)
        return self.path / folder / f"{step:06d}.parquet"


def take_back(path: pathlib.Path, existed: bool) -> None:
    """Empties the directory of a run that did not start, and removes it, unless it `existed` before.

    What cannot be removed stays (a mount): why the run did not start is what the user must hear of.
    """
    with contextlib.suppress(OSError):
        for item in path.iterdir():
            if item.is_dir():
                shutil.rmtree(item, ignore_errors=True)
            else:
                item.unlink()
        if not existed:
            path.rmdir()


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether there is a run at the path. A model's directory has a config.json too, of another kind."""
    file = pathlib.Path(path) / "config.json"
    # `os.path` counts what may not be looked into as no file; `pathlib` raises.
    return os.path.isfile(file) and '"fingerprints"' in file.read_text(errors="replace")


def resume_command(path: pathlib.Path) -> str:
    """How to go on with a run: from Python, where it keeps no config file."""
    if (path / "config.py").is_file():
        return f"assay train --resume {shlex.quote(str(path))}"
    return f"rl.train(config, resume={str(path)!r})"


def compare_config(run: Run, config: RunConfig) -> None:
    """Refuses to go on with a run under another config, since its numbers would be another run's.

    Raises:
      ValueError: a field other than those in `FREE` has changed; names each, with both values where short.
    """
    before, now = run.config, fingerprints(config)
    changed = [
        name for name in (*now, *(before["fingerprints"].keys() - now.keys()))
        if name not in FREE and before["fingerprints"].get(name) != now.get(name)
    ]  # fmt: skip
    if not changed:
        return
    lines = []
    for name in changed:
        old, new = before["fields"].get(name, "nothing"), summary(vars(config).get(name))
        what = (
            f"{old!r} in the run, {new!r} now"
            if old != new
            else f"{new!r}, whose code, or something that it uses, is another than in the run"
        )
        lines.append(f"  {name}: {what}")
    raise ValueError(
        f"{run.path} cannot go on under another config. Changed:\n" + "\n".join(lines) + "\n"
        f"Only {', '.join(sorted(FREE))} and paths may change. Take the change back, or start a new run."
    )


def _append(path: pathlib.Path, fields: Mapping[str, Any]) -> None:
    """Adds one line. Where the disk is full, what was written of it is taken back."""
    line = (json.dumps(dict(fields), default=_number) + "\n").encode()
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            written = file.write(line)
            while written < len(line):
                written += file.write(line[written:])
        except OSError as error:
            file.truncate(size)
            raise OSError(error.errno, error.strerror, str(path)) from error


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a file, without a last one that a kill has torn."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    lines = [_object(line, f"{path}, line {number}") for number, line in enumerate(whole.splitlines(), 1)]
    for number, line in enumerate(lines, 1):
        if not ("time" in line if path.name == "events.jsonl" else isinstance(line.get("step"), int)):
            raise ValueError(f"{path}, line {number} is damaged: it names no step.")
    return lines


def _object(text: bytes, place: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
      ValueError: it is none.
    """
    try:
        value = json.loads(text)
    except ValueError as error:  # Of bytes that are no text, too.
        raise ValueError(f"{place} is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{place} is damaged: it is no JSON object, but {value!r:.80}.")
    return value


def _write_json(path: pathlib.Path, fields: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(dict(fields), default=_number, indent=2) + "\n")


def _write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _number(value: Any) -> Any:
    """A number of NumPy or JAX as one of Python's, with the same bits."""
    return np.asarray(value).item()


def _runs_near(path: pathlib.Path) -> str:
    """What the reader may have meant."""
    if path.is_file():
        return "It is a file."
    if not path.exists():
        return "There is no such directory." if not path.parent.is_dir() else _list_runs(path.parent)
    return _list_runs(path)


def _list_runs(folder: pathlib.Path) -> str:
    runs = []
    for found in folder.iterdir():
        with contextlib.suppress(OSError):  # One that another user may not read.
            runs += [found.name] if is_run(found) else []
    runs.sort()
    return f"Runs in {folder}: {', '.join(runs[-5:])}." if runs else f"There are no runs in {folder}."
