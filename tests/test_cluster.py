"""Actors: results that flow, exceptions, deaths. Real Ray, real kills."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
import uuid

import numpy as np
import pytest

from rl import cluster
from rl.cluster import ActorFailed, Later, Poisoned

ROOT = pathlib.Path(__file__).parent.parent


class Toy:
    """What a worker might be, without a model."""

    def __init__(self, start: int = 0, fail: bool = False):
        if fail:
            raise ValueError("The toy is broken.")
        self.total = start
        self.begun = []

    def pid(self):
        return os.getpid()

    def title(self):
        return pathlib.Path("/proc/self/cmdline").read_text()

    def environ(self):
        return pathlib.Path("/proc/self/environ").read_bytes().split(b"\0")

    def add(self, *numbers):
        return self.total + sum(numbers)

    def count(self):
        self.total += 1
        return self.total

    def sleepy(self, seconds, value):
        time.sleep(seconds)
        return value

    def wait(self, gate, value):
        """Leaves a mark that it has begun, and returns once the file is there."""
        pathlib.Path(f"{gate}.{value}").touch()
        while not pathlib.Path(gate).exists():
            time.sleep(0.05)
        return value

    def zeros(self, n):
        return np.zeros(n, np.float32)

    def bad(self):
        raise KeyError("my own mistake")

    def die(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)

    def die_once(self, path, value):
        if not pathlib.Path(path).exists():
            pathlib.Path(path).touch()
            self.die()
        return value

    def begin(self, name, others=1):
        """Finishes its work once so many have begun theirs."""
        self.begun.append(name)
        return Later(lambda: self._finish(name, others))

    def _finish(self, name, others):
        while len(self.begun) < others:
            time.sleep(0.01)
        return name, len(self.begun)


@pytest.fixture(scope="module")
def events():
    return []


@pytest.fixture(scope="module")
def here(events):
    with cluster.start(on_event=lambda kind, **fields: events.append((kind, fields))) as here:
        yield here


@pytest.fixture(scope="module", params=["ray", "inline"])
def either(request):
    """A pool of one Toy, in an actor and in this process."""
    if request.param == "inline":
        return cluster.start(inline=True).spawn(Toy, 10, name="toy")
    return request.getfixturevalue("here").spawn(Toy, 10, name="toy", concurrency=8)


def test_a_call_returns_what_the_method_returns(either):
    assert cluster.get(either.call("add", 1, 2)) == 13


def test_a_call_may_be_the_argument_of_another(either):
    first = either.call("add", 1)
    second = either.call("add", first, cluster.Done(100))
    assert cluster.get(second) == 121
    assert cluster.get(first) == 11  # It can still be asked for, and asked again.
    assert cluster.get(first) == 11


def test_an_exception_is_raised_as_itself(either):
    with pytest.raises(KeyError, match="my own mistake"):
        cluster.get(either.call("bad"))


def test_an_exception_of_an_argument_is_raised_as_itself(here):
    toy = here.spawn(Toy, name="toy")
    with pytest.raises(KeyError, match="my own mistake") as caught:
        cluster.get(toy.call("add", toy.call("bad")))
    assert "in bad" in caught.value.__notes__[0]  # Where it happened, over there.


def test_begun_work_is_shared(either):
    calls = [either.call("begin", name, 3) for name in "abc"]
    assert [cluster.get(call)[0] for call in calls] == ["a", "b", "c"]
    assert cluster.get(calls[0])[1] == 3  # All three had begun before the first one was finished.


def test_begun_work_waits_for_its_siblings(monkeypatch):
    """In an actor, whose calls are threads; here they all arrive while the first one waits."""
    arrived = threading.Barrier(3)
    monkeypatch.setattr(cluster, "time", types.SimpleNamespace(sleep=lambda seconds: arrived.wait(300)))
    host = cluster._Host((Toy, (), {}))
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        values = [value for value, _ in threads.map(lambda name: host.call("begin", name), "abc")]
    assert values == [("a", 3), ("b", 3), ("c", 3)]


def test_inline_work_waits_until_it_is_asked_for():
    toy = cluster.start(inline=True).spawn(Toy, name="toy")
    first, second = toy.call("begin", "a"), toy.call("begin", "b")
    after = toy.call("add", toy.call("count"))
    assert not first.finished
    assert after.finished
    assert cluster.get(second) == ("b", 2)


def test_the_environment_is_there_before_the_process_starts(here):
    toy = here.spawn(Toy, name="toy", threads=1)
    assert "ray::Toy" in cluster.get(toy.call("title"))
    env = cluster.get(toy.call("environ"))
    assert b"NPROC=1" in env
    assert b"JAX_PLATFORMS=cpu" in env
    # The C library cuts the setting into its parts where it stands: a proof that it has read it.
    joined = b":".join(env)
    assert b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:" in joined
    assert b"glibc.malloc.arena_max=1" in joined


def test_work_is_spread(here, tmp_path):
    toys = here.spawn(Toy, name="toy", count=2)
    both = [toys.call("wait", tmp_path / "door", n) for n in range(2)]
    begun(tmp_path / "door", 0, 1)  # Each toy takes one at a time.
    (tmp_path / "door").touch()
    assert [cluster.get(call) for call in both] == [0, 1]
    slow = toys.call("wait", tmp_path / "gate", 7)
    assert [cluster.get(toys.call("add", n)) for n in range(4)] == [0, 1, 2, 3]  # None waits behind the slow one.
    assert not slow.finished
    (tmp_path / "gate").touch()
    assert cluster.get(slow) == 7


def begun(gate, *values):
    """Waits until the calls of `Toy.wait` have begun."""
    while not all(pathlib.Path(f"{gate}.{value}").exists() for value in values):
        time.sleep(0.05)


def test_work_that_died_is_done_again(here, events, tmp_path):
    events.clear()
    toys, adders = here.spawn(Toy, name="toy", count=2, concurrency=4), here.spawn(Toy, name="adder")
    kept = toys.call("zeros", 1_000_000)  # A large result outlives the actor that made it.
    cluster.get(adders.call("add"))
    cluster.get(kept)
    victim = cluster.get(toys.call("pid"))
    gate = tmp_path / "gate"
    values = [toys.call("wait", gate, n) for n in range(4)]
    sums = [adders.call("add", value, 100) for value in values]
    begun(gate, *range(4))
    os.kill(victim, signal.SIGKILL)
    gate.touch()
    assert [cluster.get(call) for call in sums] == [100, 101, 102, 103]
    assert cluster.get(kept).sum() == 0
    kinds = [kind for kind, _ in events]
    assert kinds.count("actor_died") == 1
    assert kinds.count("redispatched") >= 2
    assert cluster.get(toys.call("add", 1)) == 1


def test_the_one_who_waits_may_die_too(here, events, tmp_path):
    events.clear()
    toys, adders = here.spawn(Toy, name="toy"), here.spawn(Toy, name="adder")
    victims = [cluster.get(toys.call("pid")), cluster.get(adders.call("pid"))]
    total = adders.call("add", toys.call("wait", tmp_path / "gate", 5), 1)
    begun(tmp_path / "gate", 5)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    (tmp_path / "gate").touch()
    assert cluster.get(total) == 6
    assert sorted(fields["actor"] for kind, fields in events if kind == "actor_died") == ["adder 0", "toy 0"]


def test_a_call_that_kills_every_actor_is_named(here, events):
    events.clear()
    toys = here.spawn(Toy, name="toy", concurrency=8)
    cluster.get(toys.call("pid"))
    calls = [toys.call("sleepy", 0.2, 1), toys.call("die", "culprit"), toys.call("sleepy", 0.2, 2)]
    assert cluster.get(calls[0]) == 1  # Its neighbors survive the third death.
    with pytest.raises(Poisoned, match=r"die\('culprit'\) killed its toy 3 times"):
        cluster.get(calls[1])
    assert [kind for kind, _ in events].count("actor_died") == 3


def test_a_death_that_is_told_of_the_culprit_first_harms_no_neighbor(here, monkeypatch):
    import ray

    def last_only(references, *, num_returns=1, timeout=None, wait=ray.wait):
        ready, rest = wait(references, num_returns=num_returns, timeout=timeout)
        return (ready[-1:], ready[:-1] + rest) if timeout == 0 else (ready, rest)

    toys = here.spawn(Toy, name="toy", concurrency=8)
    cluster.get(toys.call("pid"))
    calls = [toys.call("sleepy", 0.2, 1), toys.call("die", "culprit")]
    monkeypatch.setattr(ray, "wait", last_only)
    assert cluster.get(calls[0]) == 1
    with pytest.raises(Poisoned, match=r"die\('culprit'\) killed its toy 3 times"):
        cluster.get(calls[1])


def test_one_death_is_forgiven(here, tmp_path):
    toys = here.spawn(Toy, name="toy")
    assert cluster.get(toys.call("die_once", str(tmp_path / "died"), 7)) == 7


def test_an_actor_with_a_state_is_not_replaced(here):
    toy = here.spawn(Toy, name="learner", stateless=False)
    assert [cluster.get(toy.call("count")) for _ in range(3)] == [1, 2, 3]
    dead = toy.call("die")
    with pytest.raises(ActorFailed, match="The learner 0 died"):
        cluster.get(dead)


def test_an_actor_that_cannot_start_says_why(here):
    toy = here.spawn(Toy, name="toy", fail=True)
    with pytest.raises(ActorFailed, match=r"The toy 0 could not start: .*The toy is broken\."):
        cluster.get(toy.call("pid"))
    with pytest.raises(ActorFailed, match=r"No toy is left\."):
        toy.call("pid")


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ActorFailed, match="Ray is not installed: install it, or set"):
        cluster.start()
    assert cluster.get(cluster.start(inline=True).spawn(Toy, name="toy").call("add", 1)) == 1


@pytest.mark.skipif(not pathlib.Path("/proc/net/tcp").exists(), reason="reads Linux's list of sockets")
def test_nothing_listens_beyond_loopback():
    script = """
        import os, pathlib, re
        from rl import cluster
        class Toy:
            def pid(self): return os.getpid()
        with cluster.start() as here:
            ours = {str(cluster.get(here.spawn(Toy, name="toy").call("pid"))), str(os.getpid())}
            for folder in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    ours |= {folder.name} if os.environ["MARK"].encode() in (folder / "environ").read_bytes() else set()
                except OSError:
                    continue
            sockets = set()
            for pid in ours:
                try:
                    links = list(pathlib.Path(f"/proc/{pid}/fd").iterdir())
                except OSError:
                    continue
                for link in links:
                    try:
                        sockets |= set(re.findall(r"socket:\\[(\\d+)\\]", os.readlink(link)))
                    except OSError:
                        continue
            for table in ("tcp", "tcp6"):
                file = pathlib.Path("/proc/net") / table
                for line in file.read_text().splitlines()[1:] if file.exists() else []:
                    fields = line.split()
                    if fields[3] == "0A" and fields[9] in sockets:
                        print(fields[1].partition(":")[0])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MARK": uuid.uuid4().hex},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    addresses = done.stdout.split()
    assert len(addresses) >= 3  # The cluster's own servers, and the actor.
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert set(addresses) <= loopback


def test_strangers_in_the_current_directory(tmp_path):
    """A `verifiers` of somebody else's lies where the user works. Also: what is printed, and what is left."""
    (tmp_path / "verifiers.py").write_text("load_environment = None\n")
    script = """
        import json, os, sys
        sys.path.remove("")
        import ray
        from rl import cluster
        from rl.scorer import Scorer
        from verifiers import Problem
        class Toy:
            def pid(self): return os.getpid()
        with cluster.start() as here:
            scorer = here.spawn(Scorer, {}, name="scorer")
            group = cluster.get(scorer.call("score", 7, Problem("p", "", ""), []))
            pid = cluster.get(here.spawn(Toy, name="toy").call("pid"))
            raylet = ray._private.worker._global_node.all_processes["raylet"][0].process.pid
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        with cluster.start() as here:
            scorer = here.spawn(Scorer, {}, name="scorer")
            try:
                cluster.get(scorer.call("score", 7, Problem("p", "", ""), []))
            except cluster.ActorFailed as error:
                print(json.dumps([group.index, pid, raylet, os.environ["RAY_USAGE_STATS_ENABLED"], str(error)]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    index, *pids, usage, refusal = json.loads(done.stdout)  # Nothing else was printed.
    assert index == 7  # An own cluster takes our packages first.
    assert "verifiers.py, which is not the package of assay-rl" in refusal  # The user's cluster does not, and says so.
    assert usage == "0"
    deadline = time.monotonic() + 120  # Where Ray kills its own server, the server's children notice it later.
    while (left := [pid for pid in pids if pathlib.Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def test_what_xla_compiles_is_kept_with_our_other_files_unless_the_user_says_where(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert cluster._compilation_cache()["JAX_COMPILATION_CACHE_DIR"].startswith(str(tmp_path / "xla"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/theirs")
    assert cluster._compilation_cache() == {}
