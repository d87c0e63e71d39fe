"""Whatever is killed, no verdict is lost or doubled, and nothing is left behind; nor is it after many programs."""

import concurrent.futures
import contextlib
import functools
import gc
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

import verifiers
from verifiers import Outcome, Problem, isolated, sandbox
from verifiers.sandbox import Limits, levels, slot

ROOT = pathlib.Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(levels.best() == "none", reason=f"no safe level here: {levels.describe()}")
SAFE = [  # All are collected, whatever was found: processes that test together must agree on what there is.
    pytest.param(level, marks=pytest.mark.skipif(levels.why_not(level) != "", reason=levels.why_not(level)))
    for level in levels.LEVELS
]


def family(pid: int) -> set[tuple[int, str]]:
    """A process and all that came of it, each with the time it began: numbers are given out again."""
    found, pids = set(), [pid]
    for one in pids:
        try:
            began = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[19]
            pids += map(int, pathlib.Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.add((one, began))
    return found


def guards(pool) -> list[int]:
    return [slot._process.pid for slot in tuple(pool._all)]


def servers(pool) -> list[int]:
    children = []
    for pid in guards(pool):
        try:
            children += pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [int(child) for child in children]


def alive(processes: set[tuple[int, str]]) -> set[tuple[int, str]]:
    left = set()
    for pid, began in processes:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[19] == began and fields[0] != "Z":
            left.add((pid, began))
    return left


def cgroups() -> set[str]:
    return {str(path) for path in pathlib.Path("/sys/fs/cgroup").glob("**/assay-*") if path.is_dir()}


def cgroups_of(pids: list[int]) -> set[str]:
    return {path for path in cgroups() if int(path.rpartition("-")[2]) in pids}


def soon(condition, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def end(pid: int) -> None:
    """Kills a process and waits until it and all that came of it are dead."""
    everyone = family(pid)
    os.kill(pid, signal.SIGKILL)
    assert soon(lambda: not alive(everyone))


@pytest.mark.parametrize("level", SAFE)
def test_killing_servers_loses_no_execution_and_doubles_none(level):
    """Each program's answer arrives once and in its place, whoever dies on the way."""
    with sandbox.Pool(workers=2, level=level) as pool:
        pool.map(["print(1)"] * 2)
        stop = threading.Event()
        begun, done, killed = set(), set(), 0

        def run(i):
            begun.add(i)
            execution = pool.run(f"import time\ntime.sleep(0.1)\nprint({i})")
            done.add(i)
            return execution

        def kill():
            """When all programs are done that a server killed before may have had: none is tried a third time."""
            nonlocal killed
            choose, hit = random.Random(0), set()
            while not stop.wait(0.1):
                if hit <= done and len(running := servers(pool)) == 2:
                    end(choose.choice(running))
                    hit = set(begun)
                    killed += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(2) as threads:
                found = list(threads.map(run, range(60)))
        finally:
            stop.set()
            killer.join()
        assert killed >= 1
        assert [execution.stdout for execution in found] == [b"%d\n" % i for i in range(60)]


@pytest.mark.parametrize("level", SAFE)
def test_slots_that_died_while_idle_cost_no_try(level):
    """However many they are: the one try of a program that comes after them has a slot that lives."""
    with sandbox.Pool(workers=2, level=level) as pool:
        for slot in [pool.take(extra=True) for _ in range(4)]:
            pool.put(slot, broken=False)
        for server in servers(pool):
            end(server)
        with pool.open("print(1)") as process:
            assert process.wait().stdout == b"1\n"
        assert len(pool._all) == 1


class Interrupted(BaseException):
    """What a signal raises, as Ctrl-C does."""


@contextlib.contextmanager
def interrupted(seconds):
    """The block is interrupted after so many seconds."""

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_whoever_is_interrupted_gives_his_place_back():
    slow = "import time\ntime.sleep(60)"
    with sandbox.Pool(workers=1) as pool:
        pool.run("print(1)")
        with interrupted(0.5):
            pool.run(slow)
        assert pool._busy == 0
        pool.run("print(1)")
        with interrupted(0.5), pool.open(slow) as process:
            process.wait()
        assert pool._busy == 0
        assert pool.run("print(1)").stdout == b"1\n"


def test_what_was_interrupted_leaves_no_answer_to_the_next_call():
    assert isolated.call("math:hypot", 3, 4) == 5.0
    with interrupted(0.3):
        isolated.call("time:sleep", 0.9)
    assert isolated.call("math:hypot", 6, 8) == 10.0
    with sandbox.Session() as session:
        session.run("x = 1")
        with interrupted(0.5):
            session.run("import time\ntime.sleep(1)\nprint('A')")
        assert session.run("import time\ntime.sleep(1)\nprint('B')").stdout == b"B\n"


def test_without_descriptors_a_program_is_an_error_and_nothing_is_lost():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with sandbox.Pool(workers=1) as pool:
        for fresh in (False, True):
            for spare in range(6):
                pool.put(pool.take(), broken=fresh)
                before, taken = len(os.listdir("/proc/self/fd")), []
                resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
                try:
                    with contextlib.suppress(OSError):
                        while True:
                            taken.append(os.open("/dev/null", os.O_RDONLY))
                    for descriptor in taken[len(taken) - spare :]:
                        os.close(descriptor)
                    del taken[len(taken) - spare :]
                    execution = pool.run("print(1)", stdin=b"x")
                finally:
                    for descriptor in taken:
                        os.close(descriptor)
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert execution.status in ("ok", "error")
                assert pool._busy == 0
                assert pool.run("print(1)").status == "ok"
                assert len(os.listdir("/proc/self/fd")) <= before + 2  # A fork-server: its socket and its log.


def test_a_kill_that_comes_late_meets_no_other_program():
    class Slow:
        """The control socket of a thread that the machine holds up before it sends a kill."""

        def __init__(self, real):
            self.real = real

        def send(self, data):
            time.sleep(0.5 * (data == b"k"))
            return self.real.send(data)

        def __getattr__(self, name):
            return getattr(self.real, name)

    with sandbox.Pool(workers=1) as pool:
        pool.run("print(1)")
        (slot,) = pool._all
        process = pool.open("import time\ntime.sleep(0.3)")
        slot.control = Slow(slot.control)
        killer = threading.Timer(0.1, process.kill)
        killer.start()
        process.wait()
        slot.control = slot.control.real
        with pool.open("import time\ntime.sleep(1)\nprint('innocent')") as innocent:
            assert innocent.wait().stdout == b"innocent\n"
        killer.join()


def test_a_closed_pool_says_that_its_programs_are_gone():
    pool = sandbox.Pool(workers=1)
    process = pool.open("import time\ntime.sleep(60)")
    pool.close()
    assert process.wait().status == "error"


def test_an_answer_about_usage_that_comes_late_is_not_the_end(monkeypatch):
    monkeypatch.setattr(slot, "GRACE", 1.0)
    with sandbox.Session() as session:
        session.run("x = 1")
        (server,) = servers(session._pool)
        os.kill(server, signal.SIGSTOP)
        threading.Timer(2, os.kill, (server, signal.SIGCONT)).start()
        execution = session.run("x")
        assert (execution.status, execution.reason[:19]) == ("error", "the sandbox failed,")
        assert session.run("print(2)").stdout == b"2\n"


@pytest.mark.parametrize("level", SAFE)
def test_a_guard_that_is_killed_is_not_needed_for_the_answer(level):
    program = "import time\ntime.sleep(0.4)\nprint('answer')"
    with sandbox.Pool(workers=1, level=level) as pool, pool.open(program) as process:
        everyone = family(guards(pool)[0])
        os.kill(guards(pool)[0], signal.SIGKILL)
        assert process.wait().stdout == b"answer\n"
    assert soon(lambda: not alive(everyone))


def running(pool) -> list[int]:
    """Of a program that a worker of verifiers judges now: the worker, the guard, the server and the program itself."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for worker in tuple(pool._alive):
            pids = [worker._process.pid]
            for pid in pids:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                    pids += map(int, children[-1:])
            if len(pids) == 4:
                return pids
    raise AssertionError("no worker runs a program")


@pytest.mark.parametrize("level", SAFE)
def test_killing_workers_of_verifiers_and_their_servers_loses_no_verdict_and_doubles_none(level):
    """Below a worker are a guard, its server, and there the program. Each but the program is killed while it is judged.
    A verdict whose worker is killed is an error that says so; asked for again, it is had. Nothing is left behind."""
    judge = functools.partial(verifiers.code, level=level)
    problem = Problem("p", "", {"tests": ["assert f(2) == 4"]})
    texts = [f"import time\ntime.sleep(0.2)\ndef f(x): return x + {2 + i % 2}  # {i}" for i in range(16)]
    kills = {2: 0, 5: 2, 8: 1, 10: 0}  # After so many verdicts, so many generations below the worker.
    with verifiers.Pool(workers=2) as pool:
        found, ended = [], set()
        for place, verdict in pool.verify([(judge, problem, text) for text in texts]):
            found.append((place, verdict))
            if len(found) in kills:
                depth, program = kills[len(found)], running(pool)
                ended |= set() if depth else family(program[0])
                os.kill(program[depth], signal.SIGKILL)
        assert sorted(place for place, _ in found) == list(range(16))
        lost = [place for place, verdict in found if verdict.outcome is Outcome.ERROR]
        assert 1 <= len(lost) <= 2
        assert {verdict.reason for place, verdict in found if place in lost} == {
            "verifiers.programs.code: The worker that ran it was killed by SIGKILL."
        }
        verdicts = dict(found)
        for i, verdict in pool.verify([(judge, problem, texts[place]) for place in lost]):
            verdicts[lost[i]] = verdict
        assert [verdicts[place].reward for place in range(16)] == [1.0, 0.0] * 8
        assert {verdict.info["level"] for verdict in verdicts.values()} == {level}
        assert soon(lambda: not alive(ended))
        everyone = set().union(*(family(worker._process.pid) for worker in pool._alive))
    assert soon(lambda: not alive(everyone))


OWNER = """
import sys, threading, time
sys.path.insert(0, {root!r})
from verifiers import sandbox
pool = sandbox.Pool(workers=2, level={level!r})
limits = sandbox.Limits(cpu_s=60, idle_s=60, wall_s=90)
for program in ("while True: pass", "import time; time.sleep(60)"):
    threading.Thread(target=pool.run, args=(program,), kwargs={{"limits": limits}}, daemon=True).start()
while len(pool._all) < 2: time.sleep(0.01)
{more}
print(*(slot._process.pid for slot in pool._all), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("level", SAFE)
@pytest.mark.parametrize(
    "more", ["", "import os\nif os.fork() == 0: os.read(0, 1); os._exit(0)"], ids=["alone", "forked"]
)
def test_an_owner_that_is_killed_leaves_nothing_behind(level, more):
    """Not even where a child that it forked still holds its sockets."""
    program = OWNER.format(root=str(ROOT), level=level, more=more)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:  # The child that it forked ends with the block, which closes its input.
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert soon(lambda: all(len(family(pid)) >= 3 for pid in pids))  # Guard, server, program, twice.
        everyone = set().union(*map(family, pids))
        owner.kill()
        assert soon(lambda: not alive(everyone)), alive(everyone)
        assert soon(lambda: not cgroups_of(pids))


def test_an_owner_that_ends_leaves_nothing_behind():
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom verifiers import sandbox\n"
        "assert sandbox.run('print(1)').status == 'ok'\n"
        "print(*(slot._process.pid for slot in sandbox.shared_pool()._all), flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert soon(lambda: len(family(pids[0])) == 2)
        everyone = family(pids[0])
        owner.communicate("\n")
    assert owner.returncode == 0
    assert soon(lambda: not alive(everyone))
    assert soon(lambda: not cgroups_of(pids))


@pytest.mark.filterwarnings(r"ignore:os\.fork:RuntimeWarning")  # JAX warns, where an earlier test loaded it.
def test_a_forked_process_has_a_pool_of_its_own():
    mine = sandbox.Pool(workers=1)
    assert mine.run("print(0)").stdout == sandbox.run("print(0)").stdout == b"0\n"
    before, held = guards(sandbox.shared_pool()), guards(mine)
    pid = os.fork()
    if pid == 0:
        fine = sandbox.run("print(2)").stdout == b"2\n" and not set(guards(sandbox.shared_pool())) & set(before)
        sandbox.shared_pool().close()
        try:
            mine.run("print(1)")
        except RuntimeError as error:
            fine = fine and "belongs to the process" in str(error)
        mine.close()  # Which takes nothing from the parent.
        os._exit(0 if fine else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert sandbox.run("print(3)").stdout == b"3\n"
    assert guards(sandbox.shared_pool()) == before
    assert mine.run("print(4)").stdout == b"4\n"
    assert guards(mine) == held
    mine.close()


def test_closing_a_pool_ends_what_runs_in_it():
    pool = sandbox.Pool(workers=1)
    answers: list = []

    def run():
        try:
            answers.append(pool.run("while True: pass", limits=Limits(cpu_s=60, wall_s=90)))
        except RuntimeError as error:
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert soon(lambda: len(pool._all) == 1 and len(family(guards(pool)[0])) == 3)
    everyone = family(guards(pool)[0])
    pool.close()
    thread.join(60)
    assert not thread.is_alive()
    assert "closed" in str(answers[0])
    assert soon(lambda: not alive(everyone))


def flat(count: int, level: str) -> None:
    """Runs many programs, good and bad, and compares what there is of everything before and after."""
    programs = [
        "print(1)",
        "1/0",
        "import ctypes; ctypes.CDLL(None).ptrace(0)",
        "open('x', 'w').write('x' * 9999)" if level == "namespaces" else "print(2)",
        "import threading; threading.Thread(target=print).start()",
        "import os; os._exit(3)",
    ]

    def there() -> tuple[int, int, int, int]:
        everyone = set().union(*map(family, guards(pool)))
        memory = sum(
            int(line.split()[1])
            for pid in {pid for pid, _ in everyone} | {os.getpid()}
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("RssAnon")
        )
        mounts = sum(len(pathlib.Path(f"/proc/{pid}/mounts").read_text().splitlines()) for pid in servers(pool))
        files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in servers(pool)) + len(os.listdir("/proc/self/fd"))
        return len(everyone), mounts, files, memory

    def at_rest() -> tuple[int, int, int, int]:
        """A server takes its /tmp down and makes another one after it has answered."""
        before, now = None, there()
        while before is None or now[:3] != before[:3]:
            time.sleep(0.3)
            before, now = now, there()
        return now

    gc.collect()  # What earlier tests left open.
    with sandbox.Pool(workers=2, level=level) as pool:
        pool.map(programs * 10)
        processes, mounts, files, memory = at_rest()
        groups = len(cgroups_of(guards(pool)))
        found = []
        for first in range(0, count, 600):  # Ten thousand executions would themselves be 20 MB.
            part = [programs[i % len(programs)] for i in range(first, min(first + 600, count))]
            found += [execution.status for execution in pool.map(part)]
        assert set(found) == {"ok", "failed", "violation"}
        assert [i for i in range(count) if (found[i] == "ok") != (i % 6 in (0, 3, 4))] == []
        assert soon(lambda: there()[:3] == (processes, mounts, files))
        assert there()[3] < memory + 20_000  # kB, of all processes together.
        assert len(cgroups_of(guards(pool))) == groups
        pids = guards(pool)
        everyone = set().union(*map(family, pids))
    assert soon(lambda: not alive(everyone))
    assert soon(lambda: not cgroups_of(pids))


@pytest.mark.parametrize("level", SAFE)
def test_nothing_grows(level):
    flat(150, level)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_programs_leave_nothing():
    flat(10_000, levels.best())
