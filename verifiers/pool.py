"""A pool of worker processes in which verifiers judge: what one of them breaks costs one verdict."""

from __future__ import annotations

import atexit
import collections
import dataclasses
import functools
import hashlib
import itertools
import json
import marshal
import os
import pickle
import queue
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from verifiers.isolated import Broken, Worker, packed
from verifiers.types import Outcome, Problem, Verdict, Verifier, described
from verifiers.worker import PLAIN

BATCH = 256  # Items that a worker is sent at once, at most.
SERVED = 100_000  # Verdicts after which a worker is replaced ...
GROWTH_KB = 512 * 1024  # ... or as soon as it has grown by so much.
CACHED = 20_000  # Verdicts that are remembered, on completions of at most ...
CACHED_CHARACTERS = 8_192
_YIELDED_SECONDS = 1e-5  # To the threads that send what was submitted: Python would let them wait for 5 ms.
_KNOWN = 1_000  # Verifiers whose pickles are remembered.
_CLOSED = "The pool is closed: make a new one."
_NOT_OURS = "This pool belongs to the process that made it: a forked child makes its own."
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_OURS = ("rl", "verifiers", "graders", "policy")
_UNPICKLABLE = (TypeError, ValueError, AttributeError, RecursionError, pickle.PicklingError)

Item = tuple[Verifier, Problem, str]
_Key = tuple[str, bytes, str]  # Of the verifier; the problem, pickled; the completion.


class _Packed(NamedTuple):
    """A verifier as it travels."""

    id: str  # Of what it is when pickled.
    called: str
    data: bytes


@dataclasses.dataclass(eq=False, slots=True)
class _Job:
    """One call of `verify`."""

    results: queue.SimpleQueue[list[tuple[_Task, Verdict]]] = dataclasses.field(default_factory=queue.SimpleQueue)
    gone: bool = False  # Whether nobody waits for the rest.


@dataclasses.dataclass(eq=False, slots=True)
class _Task:
    """One completion to judge."""

    job: _Job
    verifier: _Packed
    key: _Key
    places: list[int]  # In the items of the job: equal completions are judged once.
    spared: bool = False  # Whether a worker has died before it began this one, the first of its batch.


class Pool:
    """Worker processes for verifiers. A context manager; may be used from many threads.

        with verifiers.Pool(workers=2) as pool:
            for i, verdict in pool.verify([(verifiers.math, problem, completion), ...]):
                ...

    A verifier must be picklable; one that is defined in `__main__` or in a file of the user's travels by value. A
    worker has none of this process's environment but PATH, HOME and the like.

    Attributes:
      seconds: of wall time without progress after which a verdict is an `ERROR`, of which `Verdict.seconds` says so.
    """

    def __init__(self, workers: int | None = None, *, seconds: float = 60.0, memory_mb: int = 8192, cache: bool = True):
        """
        Args:
          workers: processes; default: one for each core that this process may use. They start when there is work.
          seconds: of wall time without progress on a verdict; after that its worker is killed and it is an `ERROR`.
            Programs in this machine's sandbox are within limits of their own: the clock stands still while one runs,
            and starts anew when it has ended. So a verifier that runs a program on many tests may take longer.
          memory_mb: address space of a worker.
          cache: whether a completion that was judged before is not judged again. An `ERROR` is never remembered.

        Raises:
          ValueError: a number is not positive.
        """
        workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if not (workers > 0 and seconds > 0 and memory_mb > 0):
            raise ValueError(
                f"Pool: workers ({workers}), seconds ({seconds}) and memory_mb ({memory_mb}) must be positive."
            )
        self._workers, self.seconds, self._memory_mb, self._caches = workers, seconds, memory_mb, cache
        self._changed = threading.Condition()  # Guards what follows.
        self._waiting: collections.deque[_Task] = collections.deque()
        self._threads: list[threading.Thread] = []
        self._resting = 0  # Threads that wait for work.
        self._closed = False
        self._owner = os.getpid()
        self._cache: collections.OrderedDict[_Key, Verdict] = collections.OrderedDict()
        self._alive: list[Worker] = []
        self._known: dict[int, tuple[_Packed, Verifier]] = {}  # By identity, which it keeps while it is here.

    def verify(self, items: Iterable[Item]) -> Iterator[tuple[int, Verdict]]:
        """Judges every item, and yields (its place, its verdict) as they come.

        A verifier that raises, hangs, dies or returns no verdict makes its own item an `ERROR` that says so, and
        harms no other.

        Raises:
          RuntimeError: the pool is closed, or this is a forked child of the process that made it.
        """
        if self._owner != os.getpid():  # Before the lock, which a thread that a child has not may hold.
            raise RuntimeError(_NOT_OURS)
        job = _Job()
        tasks: list[_Task] = []
        same: dict[_Key, _Task] = {}
        verifiers: dict[int, _Packed] = {}
        problems: dict[int, bytes] = {}
        ready: list[tuple[int, Verdict]] = []
        items = list(items)  # Holds the verifiers and the problems, whose identities are keys.
        left = 0
        try:
            for place, (verifier, problem, completion) in enumerate(items):
                try:
                    if (known := verifiers.get(id(verifier))) is None:
                        known = verifiers[id(verifier)] = self._pack(verifier)
                    if (data := problems.get(id(problem))) is None:
                        data = problems[id(problem)] = _packed(problem)
                except _UNPICKLABLE as error:
                    reason = "and its problem must be picklable, to be brought to a worker"
                    ready.append((place, _error(f"{described(verifier)} {reason}: {error}")))
                    continue
                task = _Task(job, known, (known.id, data, completion), [place])
                if self._caches:
                    if (verdict := self._remembered(task.key)) is not None:
                        ready.append((place, verdict))
                        continue
                    if (first := same.setdefault(task.key, task)) is not task:
                        first.places.append(place)
                        continue
                tasks.append(task)
                left += 1
                if len(tasks) == BATCH:  # The workers begin while we prepare the rest.
                    self._submit(tasks)
                    tasks = []
                    time.sleep(_YIELDED_SECONDS)
            self._submit(tasks)
            yield from ready
            while left:
                arrived = job.results.get()
                left -= len(arrived)
                for task, verdict in arrived:
                    if self._caches:
                        self._remember(task.key, verdict)
                    for place in task.places:
                        yield place, verdict
        finally:
            job.gone = True
            if left:
                with self._changed:
                    self._waiting = collections.deque(task for task in self._waiting if not task.job.gone)

    def close(self) -> None:
        """Ends the workers, whatever they are doing. May be called twice; does nothing in a forked child."""
        if self._owner != os.getpid():
            return
        with self._changed:
            self._closed = True
            abandoned, self._waiting = list(self._waiting), collections.deque()
            self._changed.notify_all()
            for worker in self._alive:
                worker.end()
        _deliver(abandoned, [_error(_CLOSED)] * len(abandoned))
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Work for the workers. Each has a thread here.

    def _submit(self, tasks: list[_Task]) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError(_CLOSED)
            self._waiting.extend(tasks)
            wanted = min(self._workers - len(self._threads), -(-len(tasks) // 4) - self._resting)
            for _ in range(wanted if tasks else 0):
                thread = threading.Thread(target=self._serve, daemon=True, name="assay-pool")
                thread.start()
                self._threads.append(thread)
            self._changed.notify_all()

    def _serve(self) -> None:
        """Drives one worker, and replaces it where it dies."""
        worker: Worker | None = None
        while batch := self._take():
            worker = self._run(worker, batch)
        if worker is not None:
            self._end(worker)

    def _take(self) -> list[_Task]:
        """The next batch; empty when the pool is closed."""
        with self._changed:
            self._resting += 1
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._resting -= 1
            return self._share(len(self._waiting))

    def _take_more(self) -> list[_Task]:
        """A batch for a worker that has one; empty where there is hardly enough for the others."""
        with self._changed:
            return self._share(len(self._waiting) - 4 * (self._workers - 1))

    def _share(self, count: int) -> list[_Task]:
        """Of so many that wait, a part: of several workers each gets several, so that they end together."""
        parts = 4 * self._workers if self._workers > 1 else 1
        size = min(BATCH, -(-count // parts))
        return [self._waiting.popleft() for _ in range(size)]

    def _run(self, worker: Worker | None, batch: list[_Task]) -> Worker | None:
        """Has a batch judged, and what comes meanwhile. Returns the worker, if it is as good as before.

        The worker has two batches at a time, so that it need not wait for us. What is left of them when it dies goes
        back, but for the item that it died of.
        """
        sent: collections.deque[_Task] = collections.deque()  # Without a verdict yet.
        batches, worn = 0, False
        try:
            if worker is not None and not worker.alive():  # By none of these.
                self._end(worker)
                worker = None
            if worker is None:
                worker = self._start()
            while batch or sent:
                if batch:
                    worker.send(self._message(worker, batch))
                    sent += batch
                    batches += 1
                batch = self._take_more() if batches < 2 and not worn else []
                if batch:
                    continue
                verdicts, resident_kb = _read(worker.receive(self.seconds), len(sent))
                worker.served += len(verdicts)
                _deliver([sent.popleft() for _ in verdicts], verdicts)
                if resident_kb:  # A batch is done.
                    batches -= 1
                    worn = worker.served >= SERVED or resident_kb - worker.resident_kb >= GROWTH_KB
            if not worn:
                return worker
        except Broken as error:
            tasks = [*sent, *batch]
            # What it had begun last; verdicts on those before may have died with it.
            last = -1 if worker is None else worker.begun - worker.served - 1
            place = max(0, min(last, len(tasks) - 1))
            lost = tasks[place]
            if last < 0 and not lost.spared:  # It had begun none of them, so none is to blame, once.
                lost.spared = True
            else:
                del tasks[place]
                _deliver([lost], [_error(f"{lost.verifier.called}: {error}", error.seconds)])
            self._give_back(tasks)
        if worker is not None:
            self._end(worker)
        return None

    def _message(self, worker: Worker, batch: list[_Task]) -> bytes:
        """A batch as it travels, with the verifiers that the worker has not got."""
        new = {task.verifier.id: task.verifier.data for task in batch if task.verifier.id not in worker.has}
        worker.has |= new.keys()
        return packed("verify", new, [task.key for task in batch])

    def _start(self) -> Worker:
        worker = Worker(self._memory_mb)
        with self._changed:
            self._alive.append(worker)
            if self._closed:
                worker.end()
        return worker

    def _end(self, worker: Worker) -> None:
        worker.kill()
        with self._changed:
            self._alive.remove(worker)

    def _give_back(self, tasks: list[_Task]) -> None:
        with self._changed:
            if not self._closed:
                self._waiting.extendleft(task for task in reversed(tasks) if not task.job.gone)
                self._changed.notify_all()
                return
        _deliver(tasks, [_error(_CLOSED)] * len(tasks))

    # What travels, and what is remembered.

    def _pack(self, verifier: Verifier) -> _Packed:
        with self._changed:
            if (known := self._known.get(id(verifier))) is not None:
                return known[0]
        data = _dumps(verifier)
        found = _Packed(hashlib.sha256(data).hexdigest()[:16], described(verifier), data)
        with self._changed:
            if len(self._known) >= _KNOWN:  # Somebody makes a new one for every call.
                self._known.clear()
            self._known[id(verifier)] = (found, verifier)
        return found

    def _remembered(self, key: _Key) -> Verdict | None:
        with self._changed:
            if (verdict := self._cache.get(key)) is not None:
                self._cache.move_to_end(key)
        return verdict

    def _remember(self, key: _Key, verdict: Verdict) -> None:
        if verdict.trains and len(key[2]) <= CACHED_CHARACTERS:
            with self._changed:
                self._cache[key] = verdict
                if len(self._cache) > CACHED:
                    self._cache.popitem(last=False)


def shared() -> Pool:
    """The pool of this process, for whoever needs no other: one worker for each core, closed when the process ends."""
    return _shared(os.getpid())


@functools.cache
def _shared(process: int) -> Pool:
    pool = Pool()
    atexit.register(pool.close)
    return pool


def user_modules() -> list[ModuleType]:
    """Modules that another process may not be able to import: those of files that nobody installed."""
    installed = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    found = []
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__")
        if not file or name == "__main__" or name.partition(".")[0] in _OURS:
            continue
        if file.endswith(".py") and not file.startswith(installed):
            found.append(module)
    return found


def _dumps(value: object) -> bytes:
    import cloudpickle  # 60 ms that only a pool needs.

    for module in user_modules():
        cloudpickle.register_pickle_by_value(module)
    return cloudpickle.dumps(value)


def _packed(problem: Problem) -> bytes:
    """A problem as bytes. Nearly all are plain data, for which marshal is much faster than pickle."""
    p = problem
    fields: Any = (p.id, p.prompt, p.answer, p.verifier, p.source, p.metadata)
    try:
        data = marshal.dumps(fields)
        if marshal.loads(data) == fields:  # Of NumPy's numbers and arrays it keeps nothing but the bytes.
            return PLAIN + data
    except (ValueError, RecursionError):  # It is no plain data, or arrays were compared, or what holds itself.
        pass
    return _dumps(p)


def _deliver(tasks: list[_Task], verdicts: list[Verdict]) -> None:
    """Tells whoever waits, each once."""
    for job, arrived in itertools.groupby(zip(tasks, verdicts, strict=True), lambda pair: pair[0].job):
        job.results.put(list(arrived))


def _read(reply: Any, most: int) -> tuple[list[Verdict], int]:
    """Verdicts that a worker sent, at most so many; its resident memory in kB at the end of a batch, else 0.

    Raises:
      Broken: it is no such reply.
    """
    try:
        verdicts, resident_kb = [_verdict(*fields) for fields in reply["verdicts"]], int(reply.get("resident_kb", 0))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Broken(f"The worker that ran it sent no verdicts: {type(error).__name__}: {error}") from None
    if len(verdicts) > most:
        raise Broken(f"The worker that ran it sent {len(verdicts)} verdicts where {most} were due.")
    return verdicts, resident_kb


def _verdict(reward: float, outcome: str, answer: str | None, reason: str, kept: str, nanoseconds: int) -> Verdict:
    if not (isinstance(reason, str) and (answer is None or isinstance(answer, str))):
        raise TypeError("an answer and a reason are text")
    try:
        parts, info = json.loads(kept) if kept else ({}, {})
    except (ValueError, RecursionError) as error:
        return _error(f"The parts and the info of the verdict cannot be read: {error}")
    return Verdict(reward, _OUTCOMES[outcome], answer, reason, parts, info, nanoseconds * 1e-9)


def _error(reason: str, seconds: float = 0.0) -> Verdict:
    return Verdict(0.0, Outcome.ERROR, reason=reason[:500], seconds=seconds)
