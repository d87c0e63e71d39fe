"""Plain classes become actors on a Ray cluster, or objects in this process. The only file that imports Ray.

    with cluster.start(inline=config.inline) as here:
        workers = here.spawn(RolloutWorker, model, count=3, name="worker")
        scorers = here.spawn(Scorer, verifiers, name="scorer")
        completions = workers.call("generate", draw, problem, params)  # Returns at once.
        group = cluster.get(scorers.call("score", index, problem, completions))

A call may be the argument of another: its result goes from actor to actor, not through this process.

Ray restarts nothing here; the pool does. When an actor dies, it is replaced, and what it had not finished
is sent again, together with the calls that were waiting for it. So an actor of a stateless pool must give
the same result for the same call, whoever it is and whatever it did before.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import re
import signal
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from typing import Any

from policy.download import cache_folder
from rl.machine import machine
from verifiers.pool import user_modules

_PACKAGES = ("rl", "verifiers", "graders", "policy")
_ROOT = pathlib.Path(__file__).resolve().parent.parent  # Where the packages lie.
_MAX_DEATHS = 3  # Of the actors that worked on one call.
_GATHER_SECONDS = 0.02  # Sibling calls arrive one after the other; begun work waits so long for them.
_REASON_CHARACTERS = 600
_POLL_SECONDS = 0.2  # Between looks at the actors that nobody waits for.
_TOLD_SECONDS = 10.0  # In which Ray tells of all calls that died with an actor.
# Memory given back to the system is dear to get again: a learner takes and frees gigabytes every update.
_MALLOC = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.arena_max=1"
)

OnEvent = Callable[..., Any]  # on_event("actor_died", actor="worker 1", reason="..."): for the run's log.


class ActorFailed(RuntimeError):
    """An actor could not start, or died and cannot be replaced."""


class Poisoned(RuntimeError):
    """A call killed every actor that worked on it."""


@dataclasses.dataclass(frozen=True)
class Later:
    """What a method returns that has only begun its work. `result()` finishes it.

    Between the two, other calls can begin theirs and share it: a worker decodes many groups at once.
    """

    result: Callable[[], Any]


def start(*, address: str | None = None, inline: bool = False, on_event: OnEvent | None = None) -> Cluster:
    """Starts a Ray cluster on this machine, or joins one, or (inline) does without.

    Where this process has called `ray.init` already, that cluster is used, and left running at the end.

    Args:
      address: of a running cluster. Our packages and the user's own modules are sent to it. Without one,
        a cluster of our own is started: never is another one joined by chance.
      inline: everything happens in this process, one thing after the other, without Ray.
      on_event: told what happens to actors, e.g. `on_event("actor_died", actor="worker 1", reason="...")`.
    """
    return Cluster(address, inline, on_event or (lambda kind, **fields: None))


def get(call: Call) -> Any:
    """Waits for a call and returns its result, or raises what the method raised.

    Raises:
      ActorFailed: an actor could not start, or died and cannot be replaced.
      Poisoned: the call, or one that it waits for, killed three actors.
    """
    return call.result()


class Cluster:
    """Where actors live. A context manager: when it is left, they and an own Ray cluster are gone."""

    def __init__(self, address: str | None, inline: bool, on_event: OnEvent):
        self._inline, self._on_event = inline, on_event
        self._pools: list[Pool] = []
        self._ours = not inline and _connect(address)

    def spawn(
        self,
        cls: type,
        *args: Any,
        name: str,
        count: int = 1,
        concurrency: int = 1,
        threads: int | None = None,
        accelerator: bool = False,
        gpus: float = 0,
        stateless: bool = True,
        **kwargs: Any,
    ) -> Pool:
        """Starts `count` actors, each of which makes `cls(*args, **kwargs)`, and returns without waiting.

        Args:
          cls: a plain class.
          *args: for the class; picklable.
          name: for people.
          count: interchangeable actors. Inline there is one.
          concurrency: calls that an actor runs at once, in threads.
          threads: of XLA on a CPU. Default: the cores at hand. Decides the bits of every product.
          accelerator: whether JAX may see one; else it sees the CPU only.
          gpus: what each actor takes of the cluster's GPUs: whole ones, or a part of one (`gpu_share`).
          stateless: whether another actor may take over; else a death is the end of the pool.
          **kwargs: for the class.
        """
        if self._inline:
            return InlinePool(cls(*args, **kwargs))
        env = _environment(threads, accelerator) | (_compilation_cache() if self._ours else {})
        if 0 < gpus < 1:
            env["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # Else the first actor takes the whole memory.
        pool = RayPool(cls, args, kwargs, name, count, concurrency, env, stateless, self._on_event, gpus)
        self._pools.append(pool)
        return pool

    def gpu_share(self, wanted: int) -> float:
        """What each of `wanted` actors may take of the cluster's GPUs: 1, a part of one, or 0 where there are none.

        A part is one that fits: 3 actors on 2 GPUs take halves, since an actor's part lies on one GPU.
        """
        if self._inline:
            return 0.0
        import ray

        total = int(ray.cluster_resources().get("GPU", 0))
        return 1 / max(1, -(-wanted // total)) if total else 0.0

    def stop(self) -> None:
        """Ends the actors, whatever they are doing. May be called twice."""
        for pool in self._pools:
            pool.stop()
        self._pools.clear()
        if self._ours:
            import ray

            ray.shutdown()
            self._ours = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _connect(address: str | None) -> bool:
    """Connects this process to a cluster. Returns whether it is ours to shut down."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_IGNORE_UNHANDLED_ERRORS": "1", "RAY_enable_worker_prestart": "0"}
    if not address:  # Read when Ray is imported: no clusters of several machines, so it listens on loopback only.
        quiet["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ActorFailed("Ray is not installed: install it, or set RunConfig.inline=True.") from error
    _send_user_modules_by_value()
    if ray.is_initialized():
        return False
    if address:  # Its machines may not have our packages, or not these.
        runtime_env = {"py_modules": [str(_ROOT / package) for package in _PACKAGES]}
    else:
        runtime_env = {"worker_process_setup_hook": _import_from(str(_ROOT))}
    with warnings.catch_warnings():  # JAX warns of forks. These execute another program at once.
        warnings.filterwarnings("ignore", message=r"os\.fork\(\)", category=RuntimeWarning)
        # Processes that are started inherit it. A terminal that closes tells all of them, and the last checkpoint needs
        # them; Ray sees to Ctrl-C alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                runtime_env=runtime_env,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except SystemExit:  # What Ray makes of a SIGTERM.
            raise KeyboardInterrupt from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return True


def _import_from(root: str) -> Callable[[], None]:
    """What a worker process does first: Ray puts the current directory before all else, and whatever lies there."""
    packages = _PACKAGES

    def take_our_packages() -> None:  # Not at the top level, so that it travels by value.
        import importlib

        sys.path.insert(0, root)
        for package in packages:
            importlib.import_module(package)
        sys.path.remove(root)

    return take_our_packages


def _send_user_modules_by_value() -> None:
    """A worker cannot import the user's file, so its functions and classes travel themselves."""
    from ray import cloudpickle

    for module in user_modules():
        cloudpickle.register_pickle_by_value(module)


def _environment(threads: int | None, accelerator: bool) -> dict[str, str]:
    """What must be in an actor's environment before its process starts."""
    env = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", _MALLOC)}
    if threads is not None:
        env["NPROC"] = str(threads)
    if not accelerator:
        env["JAX_PLATFORMS"] = "cpu"
    return env


def _compilation_cache() -> dict[str, str]:
    """Where actors on this machine keep what XLA compiled: the next run, and an actor that replaces another, reuse it.

    Compiled code is of one processor's instructions, so machines that share a home have folders of their own.
    """
    folder = cache_folder() / "xla" / f"{zlib.crc32(repr(machine()['flags']).encode()):08x}"
    wanted = {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30)}
    return {} if "JAX_COMPILATION_CACHE_DIR" in os.environ else wanted


class Done:
    """A call whose result is known."""

    finished = True

    def __init__(self, value: Any):
        self._value = value

    def result(self) -> Any:
        return self._value


class InlinePool:
    """An object in this process that is called like a pool of actors."""

    def __init__(self, instance: object):
        self._instance = instance

    def call(self, method: str, *args: Any) -> InlineCall:
        """Runs the method at once if its arguments are there, else when its result is asked for."""
        return InlineCall(getattr(self._instance, method), args)

    def stop(self) -> None: ...


class InlineCall:
    """A call in this process. Begun work (`Later`) piles up until somebody asks for a result."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]):
        self._begin: Callable[[], Any] | None = lambda: function(
            *(a.result() if isinstance(a, Call) else a for a in args)
        )
        self._value: Any = None
        self.finished = False
        if all(arg.finished for arg in args if isinstance(arg, Call)):
            self._value, self._begin = self._begin(), None
            self.finished = not isinstance(self._value, Later)

    def result(self) -> Any:
        if self._begin:
            self._value, self._begin = self._begin(), None
        if isinstance(self._value, Later):
            self._value = self._value.result()
        self.finished = True
        return self._value


@dataclasses.dataclass(eq=False)
class RayCall:
    """A call to one of a pool's actors: what is needed to send it, and to send it again."""

    pool: RayPool
    method: str
    args: tuple[Any, ...]
    value: Any = None  # Reference to the result; None while the call is not with an actor.
    ack: Any = None  # Reference to nothing, which arrives or fails with the result and costs no transfer.
    actor: str = ""  # Id of the actor that it was sent to.
    deaths: int = 0
    finished: bool = False

    @property
    def upstream(self) -> list[RayCall]:
        return [arg for arg in self.args if isinstance(arg, RayCall)]

    def __str__(self) -> str:
        return f"{self.method}({', '.join(f'{a!r:.80}' for a in self.args if not isinstance(a, RayCall))})"

    def result(self) -> Any:
        import ray
        from ray import exceptions

        while True:
            self._settle()
            try:
                return ray.get(self.value)
            except exceptions.ObjectLostError as error:
                self.pool.redo(self, error)
            except exceptions.RayTaskError as error:
                error.cause.add_note(f"Raised in an actor, where it looked like this:\n{_plain(error)}")
                raise error.cause from None

    def _settle(self) -> None:
        """Returns when the method has returned or raised."""
        import ray

        while not self.finished:
            for pool in _pools(self):
                pool.tend()
            if self.ack is None:  # It waits for a suspect's turn, or for its arguments.
                time.sleep(_POLL_SECONDS)
            elif not self.finished:
                ray.wait([self.ack], timeout=_POLL_SECONDS)


def _pools(call: RayCall) -> list[RayPool]:
    """The pools that a call's result depends on, the farthest first."""
    pools = [pool for upstream in call.upstream for pool in _pools(upstream)]
    return list(dict.fromkeys([*pools, call.pool]))


class RayPool:
    """Interchangeable actors, and the calls that they have not finished."""

    def __init__(
        self,
        cls: type,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str,
        count: int,
        concurrency: int,
        env: dict[str, str],
        stateless: bool,
        on_event: OnEvent,
        gpus: float = 0,
    ):
        import ray

        self.name = name
        self._stateless, self._on_event = stateless, on_event
        options: dict[str, Any] = {
            "num_gpus": gpus,
            "num_cpus": 0,  # Learner, workers and scorers take turns on few cores; none may wait for a place.
            "max_restarts": 0,
            "max_task_retries": 0,
            "max_concurrency": concurrency,
            "allow_out_of_order_execution": stateless,  # A call whose arguments are late holds up nobody.
            "runtime_env": {"env_vars": env},
        }
        host = type(cls.__name__, (_Host,), {})  # By this name it appears among the machine's processes.
        actor: Any = ray.remote(**options)(host)
        made = ray.put((cls, args, kwargs))  # Once, not once an actor: models can be large.
        self._make: Callable[[], Any] = lambda: actor.remote(made)
        handles = [self._make() for _ in range(count)]
        self._actors = {handle._actor_id.hex(): handle for handle in handles}
        self._titles = {id: f"{name} {number}" for number, id in enumerate(self._actors)}
        self._calls: list[RayCall] = []  # Unfinished, in the order in which they were made.

    def call(self, method: str, *args: Any) -> RayCall:
        """Sends a call to the least loaded actor and returns at once."""
        call = RayCall(self, method, args)
        self.tend()
        self._calls.append(call)
        self._send(call)
        return call

    def tend(self) -> None:
        """Sees what has finished; replaces actors that died and sends again what died with them."""
        import ray

        sent = {call.ack: call for call in self._calls if call.ack is not None}
        ready = ray.wait(list(sent), num_returns=len(sent), timeout=0)[0] if sent else []
        while ready:
            for ack in ready:
                self._hear(sent[ack])
            # Ray tells one after the other of the calls that died with an actor. Who sends one of them again before it
            # knows of all may let the culprit go on alone, and kill for the third time what its neighbors wait for.
            left = [call for ack, call in sent.items() if call.ack is ack and not call.finished]
            dead = [call.ack for call in left if call.actor not in self._actors]
            ready = ray.wait(dead, num_returns=len(dead), timeout=_TOLD_SECONDS)[0] if dead else []
        self._calls = [call for call in self._calls if not call.finished]
        for call in self._calls:
            if call.ack is None:
                self._send(call)

    def _hear(self, call: RayCall) -> None:
        """Sees how a call has ended: with a result, with its actor, or for want of an argument."""
        import ray
        from ray import exceptions

        try:
            ray.get(call.ack)
            call.finished = True
        except exceptions.RayActorError as error:  # Before RayTaskError: it is both where an argument was lost.
            self._lose(call, error)
        except exceptions.ObjectLostError as error:
            call.value = call.ack = None
            for upstream in call.upstream:
                upstream.pool.redo(upstream, error)
        except exceptions.RayTaskError:
            call.finished = True  # The method raised: so does `result`.

    def redo(self, call: RayCall, error: Exception) -> None:
        """Forgets a result that was lost with the machine that held it."""
        if not self._stateless:
            raise ActorFailed(f"A result of the {self.name} was lost: {error}") from error
        if call.finished:
            call.value = call.ack = None
            call.finished = False
            self._calls.insert(0, call)

    def stop(self) -> None:
        import ray

        for handle in self._actors.values():
            ray.kill(handle)
        self._actors, self._calls = {}, []

    def _send(self, call: RayCall) -> None:
        if any(upstream.value is None for upstream in call.upstream):
            return  # Its turn comes when they have been sent again.
        # Calls that share an actor die together. After two deaths they go one by one: the third names the culprit.
        suspects = [other for other in self._calls if other.deaths >= _MAX_DEATHS - 1 and other.ack is not None]
        if call.deaths >= _MAX_DEATHS - 1 and suspects:
            return
        if not self._actors:
            raise ActorFailed(f"No {self.name} is left.")
        load = dict.fromkeys(self._actors, 0)
        for other in self._calls:
            if other.ack is not None and other.actor in load:
                load[other.actor] += 1
        call.actor = min(load, key=load.__getitem__)
        args = [
            arg.value if isinstance(arg, RayCall) else arg.result() if isinstance(arg, Call) else arg
            for arg in call.args
        ]
        method = self._actors[call.actor].call.options(num_returns=2)
        call.value, call.ack = method.remote(call.method, *args)

    def _lose(self, call: RayCall, error: Any) -> None:
        """An actor died, and with it this call, or one that it waits for."""
        call.value = call.ack = None
        if error.actor_id == call.actor:
            if call.actor in self._actors:
                self._replace(call.actor, error)
            call.deaths += 1
            if call.deaths >= _MAX_DEATHS:
                raise Poisoned(
                    f"{call} killed its {self.name} {call.deaths} times, so the run cannot go on with it. "
                    f"The last death: {_reason(error)}"
                )
        self._on_event("redispatched", call=str(call), deaths=call.deaths)

    def _replace(self, id: str, error: Any) -> None:
        import ray

        title, handle = self._titles[id], self._actors.pop(id)
        reason = _reason(error)
        self._on_event("actor_died", actor=title, reason=reason)
        if error.actor_init_failed:
            raise ActorFailed(f"The {title} could not start: {reason}") from error
        if not self._stateless:
            raise ActorFailed(f"The {title} died: {reason}") from error
        ray.kill(handle)  # If it was out of reach only, it must not come back.
        new = self._make()
        self._actors[new._actor_id.hex()] = new
        self._titles[new._actor_id.hex()] = title


class _Host:
    """The actor: holds the instance, and runs its methods."""

    def __init__(self, make: tuple[type, tuple[Any, ...], dict[str, Any]]):
        cls, args, kwargs = make
        self._instance = cls(*args, **kwargs)

    def call(self, method: str, *args: Any) -> tuple[Any, None]:
        value = getattr(self._instance, method)(*args)
        if isinstance(value, Later):
            time.sleep(_GATHER_SECONDS)
            value = value.result()
        return value, None


def _reason(error: Any) -> str:
    """Why an actor died, in a line. Of memory Ray tells pages."""
    cause = error.args[0] if error.args else None
    text = " ".join(str(cause.cause if error.actor_init_failed and cause is not None else error).split())
    return text if len(text) <= _REASON_CHARACTERS else f"{text[:_REASON_CHARACTERS]} …"


def _plain(error: Exception) -> str:
    return re.sub(r"\x1b\[\d*m", "", str(error))


Call = Done | InlineCall | RayCall
Pool = InlinePool | RayPool
