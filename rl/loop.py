"""The training loop: problems in, better parameters out."""

from __future__ import annotations

import collections
import contextlib
import itertools
import math
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from rl import checkpoint, cluster
from rl.batch import NoAdvantages, make_batch
from rl.checkpoint import Checkpoint
from rl.config import RunConfig
from rl.console import Console as Lines
from rl.data import stream
from rl.journal import Console, Crew, Ended, Journal
from rl.journal import Stopped as Stopped
from rl.learner import Learner, NotFinite
from rl.preflight import fit, preflight
from rl.run import Run, compare_config, take_back
from rl.scorer import Scorer
from rl.types import Draw, Group
from rl.worker import RolloutWorker


class Position(NamedTuple):
    """Where the loop begins."""

    step: int  # Updates done, or skipped.
    version: int  # Updates done.
    next_index: int  # The first problem of the stream that was not dispatched.
    flight: list[Group]  # Scored, and not yet trained on; oldest first.


def train(
    config: RunConfig,
    *,
    path: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs `config.steps` updates, or those that are left of them.

    Args:
      config: what the run is.
      path: the directory of a new run. Default: a new one below runs/.
      resume: the directory of a run to go on with, under the same config.
      source: the file that made the config, kept with the run.
      overrides: what the command line changed in it, kept with the run.
      console: told what happens, e.g. `console("step", step=3, metrics={...})`. Kinds: finding, start, progress,
        evaluation, step, dropped, update_skipped, actor_died, redispatched, checkpoint, stopping, stopped, report.
        Default: lines of text on the standard output.

    Returns:
      What report.json holds: "before" and "after" (mean, low, high, n; None without held-out problems), "steps",
      "seconds", "example" (a problem with its answers before and after).

    Raises:
      ValueError, OSError: something is wrong with the config or the paths. Of a new run nothing is left behind.
      Stopped: SIGINT, SIGTERM or SIGHUP came to this process; there is a checkpoint. Ray's processes take Ctrl-C and a
        terminal that closes, but end by a SIGTERM that is sent to all (as `timeout` does without --foreground).
      KeyboardInterrupt: such a signal came while the run was starting. Of a new run nothing is left behind.
      Ended: too many groups had to be dropped; there is a checkpoint.
      NotFinite: a gradient is not finite; there is a checkpoint of the parameters before it.
      NoAdvantages: `config.advantage` failed; there is a checkpoint.
      cluster.Poisoned: a group killed its actor again and again; there is a checkpoint, unless the group was in
        flight when the step began.
      cluster.ActorFailed: an actor died that cannot be replaced; there is a checkpoint, unless it was the learner, or
        groups that were in flight when the step began need that actor.
    """
    console = console or Lines()
    fitted, prompt_columns = fit(config)
    with contextlib.ExitStack() as stack:
        catch_signals = stack.enter_context(_interruptions())
        unless_started = stack.enter_context(contextlib.ExitStack())
        if resume is None:
            _refuse_findings(config, console)
            folder = _new_path(path)
            existed = folder.exists()
            run, last = Run.create(folder, config, source=source, overrides=overrides), None
            unless_started.callback(take_back, run.path, existed)
            stack.enter_context(run.alone())
        else:
            run, last = _reopen(config, path, resume, stack)

        def on_event(kind: str, **fields: Any) -> None:
            run.event(kind, **fields)
            console(kind, **fields)

        if config.inline and config.threads not in (None, int(os.environ.get("NPROC", 0))):
            message = f"threads={config.threads} has no effect inline, where JAX runs already"
            console("finding", message=f"{message}: start Python with NPROC={config.threads} in the environment.")
        console("start", path=run.path, config=config, step=last.step if last else 0)
        here = stack.enter_context(cluster.start(address=config.address, inline=config.inline, on_event=on_event))
        catch_signals()  # Ray has put a handler of its own over ours.
        crew = _spawn(here, fitted, prompt_columns)
        run.pin_weights(cluster.get(crew.learner.call("fingerprint")))
        _compare_arithmetic(run, cluster.get(crew.learner.call("arithmetic")), on_event)
        if last:
            cluster.get(crew.learner.call("restore", last.path))
            run.truncate(last.step)  # Not before it is sure that the run goes on.
            run.prolong(config)
        catch_signals()
        journal = Journal(fitted, run, crew, console, stack.enter_context(_stop_signals(console)))
        unless_started.pop_all()  # From here on a signal leaves a checkpoint.
        try:
            finished = loop(fitted, crew, journal, _position(fitted, run, last))
        except (Ended, NotFinite, NoAdvantages):
            journal.save()
            raise
        except (cluster.Poisoned, cluster.ActorFailed):
            # A checkpoint needs the learner, and what was in flight; without them there is no saving here.
            with contextlib.suppress(cluster.Poisoned, cluster.ActorFailed):
                journal.save()
            raise
        if not finished:
            raise journal.stop()
        return journal.report()


def loop(config: RunConfig, crew: Crew, journal: Journal, begin: Position) -> bool:
    """The updates of a run, with staleness bounded by construction.

    At most (S + 1) P groups are alive: in flight, or kept for this step. So when a group is dispatched in step t,
    fewer than (S + 1) P are alive before it. Groups are taken in the order of their dispatch, and every step keeps P
    of them; one that is dropped lets the others move up. So at most S steps can be filled before its turn comes: it
    is trained on in step t + S at the latest, at most S updates after the parameters that sampled it.

    Returns:
      Whether the run came to its end; False where it was asked to stop.
    """
    P, capacity = config.problems_per_step, (config.max_staleness + 1) * config.problems_per_step
    version, next_index = begin.version, begin.next_index
    flight = collections.deque[cluster.Call](cluster.Done(group) for group in begin.flight)
    problems = stream(config.problems, seed=config.seed, start=next_index)
    params = crew.learner.call("publish")
    for step in itertools.count(begin.step):
        journal.boundary(step, next_index, flight, params)
        if step == config.steps and not journal.stopping():
            return True
        groups: list[Group] = []
        while len(groups) < P:
            while len(flight) + len(groups) < capacity:
                index, problem = next(problems)
                draw = Draw(0, index, config.group_size, config.temperature)
                flight.append(crew.group(draw, index, problem, params))
                next_index = index + 1
            if journal.stopping():
                return False
            group = cluster.get(flight.popleft())
            if journal.keeps(group):
                groups.append(group)
        journal.generated()
        staleness = [version - group.version for group in groups]
        batch, facts = make_batch(groups, config)
        learned = cluster.get(crew.learner.call("update", batch))
        if not learned["update/skipped"]:
            params, version = crew.learner.call("publish"), version + 1
        ages = {"staleness/max": max(staleness), "staleness/mean": float(np.mean(staleness))}
        journal.step(groups, {**ages, **facts, **learned})
    raise AssertionError("unreachable")


def _spawn(here: cluster.Cluster, config: RunConfig, prompt_columns: int) -> Crew:
    threads, devices = config.threads, math.prod((config.mesh or {}).values())
    share = here.gpu_share(devices + config.num_workers)
    if devices > 1 and 0 < share < 1:
        raise ValueError(
            f"RunConfig.mesh wants {devices} GPUs for the learner, and num_workers={config.num_workers} one each: the "
            "cluster has fewer. Make the mesh smaller, or use fewer workers."
        )
    return Crew(
        learner=here.spawn(
            Learner, config, name="learner", stateless=False, threads=threads, accelerator=True, gpus=devices * share
        ),
        workers=here.spawn(
            RolloutWorker,
            config.model,
            seed=config.seed,
            slots=config.slots,
            prompt_columns=prompt_columns,
            max_tokens=config.max_tokens,
            dtype=config.dtype,
            environment=config.environment,
            max_turns=config.max_turns,
            reply_seconds=config.reply_seconds,
            name="worker",
            count=config.num_workers,
            concurrency=config.slots,  # Groups at once: with one sample each they fill the slots.
            threads=threads,
            accelerator=True,
            gpus=share,
        ),
        scorers=here.spawn(Scorer, config.verifiers, config.graders, name="scorer", count=config.num_scorers),
    )


def _refuse_findings(config: RunConfig, console: Console) -> None:
    findings = preflight(config, console)
    if fatal := [finding.message for finding in findings if finding.fatal]:
        raise ValueError("\n".join(fatal))
    for finding in findings:
        console("finding", message=finding.message)


def _new_path(path: str | os.PathLike[str] | None) -> pathlib.Path:
    return pathlib.Path(path or pathlib.Path("runs") / time.strftime("%Y%m%d-%H%M%S")).absolute()


def _reopen(
    config: RunConfig,
    path: str | os.PathLike[str] | None,
    resume: str | os.PathLike[str],
    stack: contextlib.ExitStack,
) -> tuple[Run, Checkpoint]:
    """A run to go on with, and its newest checkpoint."""
    if path is not None:
        raise ValueError(f"A run is new (path={str(path)!r}) or resumed (resume={str(resume)!r}): give one of them.")
    run = Run(pathlib.Path(resume).absolute())
    stack.enter_context(run.alone())
    run.drop_torn_event()
    compare_config(run, config)
    last = checkpoint.latest(run.path)
    if last is None:
        raise ValueError(f"{run.path} has no checkpoint to go on from: start a new run.")
    if last.step > config.steps:
        raise ValueError(
            f"{run.path} has done {last.step} updates already, more than steps={config.steps}: raise steps."
        )
    run.require_metrics(last.step)
    return run, last


def _compare_arithmetic(run: Run, now: str, on_event: Callable[..., None]) -> None:
    """Says where a run goes on with other arithmetic: threads=None and dtype=None depend on the machine."""
    before = run.pin_arithmetic(now)
    if now != before:
        message = (
            f"{run.path} was computed with {before}, and goes on with {now}: from here on its numbers are not those of "
            "a run that was never interrupted. For those, go on on a machine like the first; for the next run, set "
            "dtype= and threads=."
        )
        on_event("finding", message=message)


def _position(config: RunConfig, run: Run, last: Checkpoint | None) -> Position:
    if last is None:
        return Position(0, 0, 0, [])
    skipped = sum(int(metrics["update/skipped"]) for metrics in run.metrics())
    groups = last.read_groups({problem.id: problem for problem in config.problems})
    return Position(last.step, last.step - skipped, last.next_index, groups)


@contextlib.contextmanager
def _interruptions() -> Iterator[Callable[[], None]]:
    """While it lasts, SIGTERM and SIGHUP interrupt as Ctrl-C does, so that what a start has made is taken back.

    The first of them alone does, since they are often sent twice: nothing shall interrupt the clean-up. Yields what
    sets the handlers again, where others have been set, and interrupts if an interruption was lost: what is raised
    during an import, say, may be caught there.
    """
    came: list[int] = []
    # Handlers can be set in the main thread only.
    numbers = _ends() if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.getsignal(number) for number in numbers}

    def handler(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    def catch_signals() -> None:
        for number in numbers:
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt

    try:
        catch_signals()
        yield catch_signals
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _ends() -> list[signal.Signals]:
    """The signals by which others end a process; a SIGHUP that is ignored (nohup) stays so."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGHUP]


@contextlib.contextmanager
def _stop_signals(console: Console) -> Iterator[Callable[[], bool]]:
    """While it lasts, SIGINT, SIGTERM and SIGHUP ask the run to stop; a SIGINT after either of the first two raises.

    The others are often sent twice, by a shell and by the system. Of signals that come together Python hands over the
    lowest number first: a SIGHUP (1) just before a SIGINT (2) may be a terminal that was closed after its Ctrl-C. A
    SIGHUP that is ignored (nohup) stays so.
    """
    came: list[signal.Signals] = []
    told = threading.Event()

    def tell() -> None:
        if not told.is_set():
            told.set()
            try:
                console("stopping", signal=came[0].name)
            except RuntimeError:  # It came in the middle of a print, which cannot begin another: `asked` tells.
                told.clear()

    def handler(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and {signal.SIGINT, signal.SIGTERM} & {*came}:
            raise KeyboardInterrupt
        came.append(signal.Signals(number))
        tell()

    def asked() -> bool:
        if came:
            tell()
        return bool(came)

    if threading.current_thread() is not threading.main_thread():  # Where no handler can be set.
        yield asked
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, *_ends())}
    try:
        yield asked
    finally:
        for number, old in before.items():
            signal.signal(number, old)
