"""The sandbox's interface, its limits, each just under and just over, and what it refuses."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator

import pytest

import verifiers
from verifiers import Problem, sandbox
from verifiers.sandbox import Limits, languages, levels
from verifiers.sandbox.monitor import Monitor, held_up
from verifiers.sandbox.slot import SlotFailed

ROOT = pathlib.Path(__file__).parent.parent
LEVEL = levels.best()
pytestmark = pytest.mark.skipif(LEVEL == "none", reason=f"no safe level here: {levels.describe()}")
needs_namespaces = pytest.mark.skipif(LEVEL != "namespaces", reason=levels.describe())


@pytest.fixture(scope="module")
def pool():
    with sandbox.Pool(workers=2) as pool:
        yield pool


# The interface.


def test_a_program():
    found = sandbox.run("import sys\nprint(input())\nprint('warning', file=sys.stderr)", stdin=b"7")
    assert (found.status, found.exit_code, found.signal) == ("ok", 0, None)
    assert (found.stdout, found.stderr) == (b"7\n", b"warning\n")
    assert (found.level, found.reason, found.violation) == (LEVEL, "", None)
    assert 0 < found.cpu_s < 3
    assert 0 < found.wall_s < 18
    assert 1 < found.peak_memory_mb < 200


def test_bytes_and_text_are_both_programs(pool):
    assert pool.run(b"print('\xc3\xa9')").stdout == "é\n".encode()
    assert pool.run("print('é')").stdout == "é\n".encode()
    assert pool.run("print(input())", stdin="é").stdout == "é\n".encode()
    assert pool.run("'\ud800'").status == "failed"


def test_a_failed_program_says_where(pool):
    found = pool.run("def f():\n    return 1 / 0\n\nf()")
    assert (found.status, found.exit_code) == ("failed", 1)
    assert found.reason == "ZeroDivisionError: division by zero"
    assert b"    return 1 / 0\n" in found.stderr
    assert str(ROOT).encode() not in found.stderr  # Our own lines are left out.
    assert pool.run("raise SystemExit(7)").exit_code == 7
    assert pool.run("import sys; sys.exit('sorry')").stderr == b"sorry\n"
    assert pool.run("import ctypes; ctypes.string_at(0)").reason == "ended by SIGSEGV"


def test_from_many_threads_and_from_an_event_loop(pool):
    assert [found.stdout for found in pool.map([f"print({i})" for i in range(12)])] == [b"%d\n" % i for i in range(12)]
    found = {}

    def run(i):
        found[i] = sandbox.run(f"print({i})").stdout

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: b"%d\n" % i for i in range(8)}

    async def several():
        return await asyncio.gather(*(sandbox.arun(f"print({i})") for i in range(4)), pool.arun("print(9)"))

    assert [found.stdout for found in asyncio.run(several())] == [b"0\n", b"1\n", b"2\n", b"3\n", b"9\n"]


def test_a_verdict_can_be_had_twice(pool):
    program = "import random\nprint(random.random(), {'a', 'b', 'c'}, hash('x'))"
    assert pool.run(program).stdout == pool.run(program).stdout


@needs_namespaces
def test_files_lie_in_the_working_directory(pool):
    files = {"a.txt": "text", "b/c.bin": b"\0\xff", "helper.py": "x = 5"}
    reading = "print(open('a.txt').read(), open('b/c.bin', 'rb').read(), helper.x)"
    program = f"import sys\nsys.path.insert(0, '')\nimport helper\n{reading}"
    assert pool.run(program, files=files).stdout == b"text b'\\x00\\xff' 5\n"
    assert pool.run("import os; print(os.listdir('.'))").stdout == b"[]\n"
    for name in ("/etc/x", "../x", "a/../../x", "", "a\0b"):
        with pytest.raises(ValueError, match="below the working directory"):
            pool.run("", files={name: b""})


def test_folders_to_import_from(tmp_path):
    """They may lie below folders that nobody else can enter, as those of pytest do."""
    folder = tmp_path / "packages"
    folder.mkdir(mode=0o755)
    (folder / "colleague.py").write_text("answer = 42\n")
    with sandbox.Pool(1, paths=[folder]) as pool:
        found = pool.run(f"import colleague\nprint(colleague.answer, flush=True)\nopen({str(folder / 'x')!r}, 'w')")
        assert found.stdout == b"42\n"
        assert found.status == "failed"
    assert [file.name for file in folder.iterdir()] == ["colleague.py"]
    if os.getuid() == 0:  # Programs run as someone else.
        folder.chmod(0o700)
        with sandbox.Pool(1, paths=[folder]) as pool:
            assert "chmod" in pool.run("print(1)").reason


def test_channels_and_two_jails_for_one_job():
    """`beside` takes no place: with one worker two jails talk to each other."""
    with sandbox.Pool(workers=1) as pool:
        read, write = os.pipe()
        result = os.memfd_create("result")
        with pool.open("import os; os.write(3, b'hello')", channels=[write]) as speaker:
            listening = "import os; os.write(4, os.read(3, 100) + b' heard')"
            with pool.open(listening, channels=[read, result], beside=speaker) as listener:
                os.close(read)
                os.close(write)
                assert listener.wait().status == "ok"
            assert speaker.wait().status == "ok"
        assert os.pread(result, 100, 0) == b"hello heard"
        os.close(result)
        slots = len(pool._all)
        with pool.open("while True: pass") as process:
            process.kill()
            killed = process.wait()
        assert (killed.status, killed.reason) == ("error", "cancelled")
        assert pool.run("print(1)").status == "ok"
        assert len(pool._all) == slots == 2  # A kill costs no slot.


def test_bad_arguments():
    for bad in ({"cpu_s": 0}, {"cpu_s": float("nan")}, {"memory_mb": 1.5}, {"processes": True}, {"wall_s": "1"}):
        with pytest.raises(ValueError, match=f"Limits.{next(iter(bad))}"):
            Limits(**bad)
    with pytest.raises(ValueError, match="no level 'safe'"):
        sandbox.run("", level="safe")
    with pytest.raises(ValueError, match="no language 'cobol'"):
        sandbox.run("", language="cobol")
    with pytest.raises(ValueError, match="workers=0"):
        sandbox.Pool(workers=0)
    pool = sandbox.Pool(workers=1)
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.run("")


# Limits: the same program just under one, and just over it.

MEMORY = "import time\nx = b'x' * ({0} << 20)\nprint(len(x) >> 20)\ntime.sleep(max(0, {0} - 100) / 40)"  # To be seen.
SPIN = "import time\nbegan = time.process_time()\nwhile time.process_time() - began < {0}: pass\nprint('end')"
THREADS = """
import hashlib, threading, time
def work():
    while time.process_time() < {0}: hashlib.sha256(bytes(1 << 20)).digest()
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
FORKS = """
import os, time
for _ in range({0} - 1):
    if os.fork() == 0:
        time.sleep(0.2)
        os._exit(0)
"""
TWO_SPINNERS = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        while time.process_time() < {0} / 2: pass
        os._exit(0)
os.wait()
os.wait()
"""
TWO_BUFFERS = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        buffer = b"x" * ({0} << 19)
        time.sleep({0} / 80)
        os._exit(0)
codes = [os.wait()[1] for _ in range(2)]
assert codes == [0, 0]
"""
NAPS = "import time\nfor _ in range({0}): time.sleep(0.01)"
SLOWLY = "import time\nx = [b'x' * (1 << 20) for _ in range({0})]\ntime.sleep({0} / 100)"
ADDRESSES = "import mmap\nm = mmap.mmap(-1, {0} << 20)\nprint(len(m))"
FILE = "open('x', 'wb').write(bytes(({0} << 20) - 1))"
FILES = "for i in range({0}): open(str(i), 'wb').write(bytes(1 << 20))"

# Program, under, over, limits, what the reason names. Over it by far where time is counted: what a busy machine keeps
# the server from seeing does not count.
UNDER_AND_OVER = {
    "cpu_s": (SPIN, 0.5, 1.3, Limits(cpu_s=1), "cpu_s = 1"),
    "cpu_s_of_threads": (THREADS, 0.5, 1.5, Limits(cpu_s=1), "cpu_s = 1"),
    "idle_s": ("import time\ntime.sleep({0})", 0.3, 9, Limits(idle_s=0.8), "idle_s = 0.8"),
    "idle_s_in_naps": (NAPS, 20, 900, Limits(idle_s=0.8), "idle_s"),
    "wall_s": ("import time\ntime.sleep({0})", 0.3, 9, Limits(wall_s=4), "wall_s = 4"),
    "memory_mb": (MEMORY, 70, 140, Limits(memory_mb=100), "memory_mb = 100"),
    "memory_mb_slowly": (SLOWLY, 70, 140, Limits(memory_mb=100), "memory_mb"),
    "address_mb": (ADDRESSES, 300, 700, Limits(address_mb=512), "memory"),
    "output_kb": ("print('x' * ({0} * 1024 - 1))", 16, 17, Limits(output_kb=16), "output_kb = 16"),
}
IN_NAMESPACES = {
    "file_mb": (FILE, 2, 3, Limits(file_mb=2), "file_mb"),
    "tmp_mb": (FILES, 3, 6, Limits(tmp_mb=4), "tmp_mb"),
    "processes": (FORKS, 4, 5, Limits(processes=4), "processes"),
    "processes_share_cpu_s": (TWO_SPINNERS, 0.4, 2, Limits(cpu_s=1, processes=4), "cpu_s"),
    "processes_share_memory_mb": (TWO_BUFFERS, 60, 240, Limits(memory_mb=130, processes=4), "memory_mb"),
}


def unhurried(pool, program, limits):
    """What comes of it. At `wall_s` a busy machine takes the blame: tried again then."""
    found = pool.run(program, limits=limits)
    for _ in range(9):
        found = pool.run(program, limits=limits) if "too busy" in found.reason else found
    return found


def tried(pool, program, under, over, limits, names):
    found = unhurried(pool, program.format(under), limits)
    assert found.status == "ok", found
    found = unhurried(pool, program.format(over), limits)
    assert found.status == "limit", found
    assert names in found.reason
    assert pool.run("print(1)", limits=limits).status == "ok"
    return found


@pytest.mark.parametrize("name", UNDER_AND_OVER)
def test_a_limit(pool, name):
    tried(pool, *UNDER_AND_OVER[name])


@needs_namespaces
@pytest.mark.parametrize("name", IN_NAMESPACES)
def test_a_limit_of_what_namespaces_give(pool, name):
    tried(pool, *IN_NAMESPACES[name])


WAITING_THREADS = """
import threading
gate = threading.Event()
try:
    for _ in range({0}): threading.Thread(target=gate.wait).start()
finally: gate.set()
"""


@needs_namespaces  # Elsewhere the kernel counts per user, or not at all.
def test_threads_are_limited_and_a_second_process_is_too_many(pool):
    tried(pool, WAITING_THREADS, 120, 140, Limits(), "threads")
    found = pool.run("import os\nos.fork()")
    assert found.status == "limit"
    assert "processes" in found.reason


# Memory that lies in no process: the largest one is then the fork-server.
HIDDEN = """
#include <string.h>
#include <sys/mman.h>
int main() {
    char *memory = mmap(0, 200 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (long at = 0; at < 200 << 20; at += 1 << 20) {
        memset(memory + at, 1, 1 << 20);
        madvise(memory + at, 1 << 20, MADV_DONTNEED);
    }
}"""


def _needs_a_cgroup(pool):
    slot = pool.take()
    pool.put(slot, broken=False)
    if not slot.has_cgroup:
        pytest.skip("only a cgroup sees it")


@pytest.mark.skipif(languages.missing("c") != "", reason="no gcc")
@needs_namespaces
def test_memory_that_no_process_has_is_the_programs(pool):
    _needs_a_cgroup(pool)
    found = pool.run(HIDDEN, language="c", limits=Limits(memory_mb=100))
    assert (found.status, found.reason) == ("limit", "used more than memory_mb = 100")


@pytest.mark.skipif(languages.missing("c") != "", reason="no gcc")
@needs_namespaces
def test_a_worker_of_verifiers_that_goes_first_offers_no_server_of_its(pool):
    """Where memory runs out, the program goes, and not the fork-server, whose end would be nobody's fault."""
    _needs_a_cgroup(pool)
    tests = [{"stdin": "", "stdout": "7"}]
    problem = Problem("p", "", {"mode": "stdio", "language": "c", "limits": {"memory_mb": 100}, "tests": tests})
    with verifiers.Pool(workers=1) as workers:
        ((_, verdict),) = workers.verify([(verifiers.code, problem, HIDDEN)])
    assert verdict.outcome is verifiers.Outcome.LIMIT, verdict.reason


@needs_namespaces
def test_what_one_program_survives_is_not_laid_to_the_next(pool):
    _needs_a_cgroup(pool)
    greedy = "import os\nif os.fork() == 0:\n    bytearray(300 << 20)\n    os._exit(0)\nprint(os.wait()[1])"
    with sandbox.Pool(workers=1) as own:
        for _ in range(20):  # The server may see the memory first, and end the program.
            if (found := own.run(greedy, limits=Limits(memory_mb=100, processes=4))).status != "limit":
                break
        assert (found.status, found.stdout) == ("ok", b"9\n")
        assert own.run("raise SystemExit(3)").status == "failed"


@needs_namespaces
def test_a_forked_child_of_a_program_knows_that_it_has_one_thread(pool):
    forks = """
import os, random, threading
gate = threading.Event()
threading.Thread(target=gate.wait).start()
before = random.getstate()
if os.fork() == 0:
    print(threading.active_count(), random.getstate() == before, flush=True)
    os._exit(0)
os.wait()
gate.set()
"""
    assert pool.run(forks, limits=Limits(processes=8)).stdout == b"1 False\n"


def test_output_is_cut_and_said(pool):
    found = pool.run("import sys\nprint('x' * 3000)\nsys.stderr.write('y' * 3000)", limits=Limits(output_kb=2))
    assert (found.status, found.stdout_truncated, found.stderr_truncated) == ("limit", True, True)
    assert (found.stdout, found.stderr) == (b"x" * 2048, b"y" * 2048)
    found = pool.run("import sys\nsys.stderr.write('y' * 3000)", limits=Limits(output_kb=2))
    assert (found.status, found.stderr_truncated) == ("ok", True)  # Standard error is nobody's answer.


def test_memory_that_is_caught_is_judged_by_its_answer(pool):
    program = "try: x = bytearray(1 << 40)\nexcept MemoryError: pass\n{}print('answer')"
    assert pool.run(program.format("")).status == "ok"
    assert pool.run("x = bytearray(1 << 40)").status == "limit"


@contextlib.contextmanager
def on_one_core(workers: int) -> Iterator[sandbox.Pool]:
    """A pool whose slots run, all on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # The slots' processes inherit it.
    try:
        with sandbox.Pool(workers) as pool:
            for process in [pool.open("") for _ in range(workers)]:
                process.wait()
            yield pool
    finally:
        os.sched_setaffinity(0, before)


def test_idling_is_told_from_waiting_for_a_core():
    """A sleeper shows what it slept, four spinners on one core a twentieth of what they waited: the load is not theirs.

    On a quiet machine 0.01 of 1.8 s; on a busy one now and then as much as the last wait for a core, so the best try
    counts.
    """
    with on_one_core(4) as pool:
        shares = []
        while len(shares) < 8 and min(shares, default=1) > 0.05:
            four = pool.map([SPIN.format(0.6)] * 4, limits=Limits(cpu_s=20, idle_s=0.5, wall_s=60))
            assert [found.status for found in four] == ["ok"] * 4, four
            waited = sum(found.wall_s - found.cpu_s for found in four) / 4
            assert waited > 1  # 4 × 0.6 s on one core.
            shares.append(max(found.idle_s for found in four) / waited)
        assert min(shares) <= 0.05, shares
        with pool.open("import time; time.sleep(900)", limits=Limits(idle_s=900, wall_s=900)) as process:
            while (usage := process.usage()) is not None and usage.idle_s <= 0.75:
                time.sleep(0.05)
            process.kill()
            found = process.wait()
            assert 0.75 < found.idle_s <= found.wall_s, found


def test_signals_that_whoever_started_it_has_blocked_reach_a_program():
    """As Ctrl-C in an actor of Ray's."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        with sandbox.Pool(workers=1) as pool:
            found = pool.run("import signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []))")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert found.stdout == b"set()\n", found


def test_a_busy_machine_is_nobodys_fault():
    """Eight spinners on one core: whoever meets the wall has not used up a limit of his own."""
    with on_one_core(8) as pool:
        found = pool.map([SPIN.format(9)] * 8, limits=Limits(cpu_s=9, idle_s=1, wall_s=1.5))
    assert {execution.status for execution in found} == {"error"}
    assert all("too busy" in execution.reason for execution in found)


# Forty threads that wake at once, wait for each other's core for milliseconds, and sleep for the rest of the time: so
# often that their waits, added up, are longer than the time that passes.
WAKE_TOGETHER = """
import hashlib, threading, time
began = time.thread_time()
hashlib.sha256(bytes(3_000_000)).digest()
data, gate = bytes(int(3_000_000 * 0.00015 / (time.thread_time() - began))), threading.Event()  # 0.15 ms.
def work():
    while gate.wait():
        hashlib.sha256(data).digest()
        time.sleep(0.04)
for _ in range(40): threading.Thread(target=work, daemon=True).start()
while True:
    gate.set()
    time.sleep(0.01)
    gate.clear()
    time.sleep(0.05)
"""


def test_threads_that_wait_for_each_other_are_not_the_machines_fault():
    with on_one_core(1) as pool:
        found = unhurried(pool, WAKE_TOGETHER, Limits(cpu_s=6, idle_s=0.7, wall_s=3))
    assert found.status == "limit", found


def test_a_machine_that_stands_still_is_nobodys_idling():
    """The server stands still as the program's machine would: what it did not see is not idle time."""
    sleep = "import os, time\nos.write(3, b'x')\nos.read(4, 1)\ntime.sleep(3)\nos.write(3, b'x')\nos.read(4, 1)"
    with sandbox.Pool(workers=1) as pool, contextlib.ExitStack() as pipes:
        assert pool.run("print(1)").status == "ok"
        slot = next(iter(pool._all))
        servers = pathlib.Path(f"/proc/{slot._process.pid}/task/{slot._process.pid}/children").read_text().split()
        said, says, hears, heard = *os.pipe(), *os.pipe()
        for file in (said, says, hears, heard):
            pipes.callback(os.close, file)
        with pool.open(sleep, channels=[says, hears], limits=Limits(idle_s=2.5)) as process:
            assert os.read(said, 1)
            for server in servers:
                os.kill(int(server), signal.SIGSTOP)
            os.write(heard, b"x")
            assert os.read(said, 1)  # It has slept for longer than it may, and nobody saw it.
            os.write(heard, b"x")
            for server in servers:
                os.kill(int(server), signal.SIGCONT)
            found = process.wait()
        assert found.status == "ok", found
        assert found.wall_s > 3


class FakeProc:
    """A /proc of one process with threads, each with its state, CPU time and wait for a core in seconds."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._write("self/fdinfo/9", "Pid:\t7\n")
        self.proc = os.open(folder, os.O_RDONLY)

    def threads(self, **threads: tuple[str, float, float]) -> None:
        for number, (state, ran, waited) in enumerate(threads.values()):
            self._write(f"7/task/{7 + number}/stat", f"{7 + number} (a) b) {state} 1 1")
            self._write(f"7/task/{7 + number}/schedstat", f"{int(ran * 1e9)} {int(waited * 1e9)} 5")

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)


@pytest.fixture
def proc(tmp_path):
    fake = FakeProc(tmp_path)
    yield fake
    os.close(fake.proc)


def test_a_wait_for_a_core_is_taken_back_when_it_shows(proc):
    monitor = Monitor(proc.proc, 9, 0.0)
    for i in range(1, 11):
        proc.threads(one=("R", 0.0, 0.0))
        usage = monitor.look(i / 10)
        assert usage.ready
    assert usage.idle_s == pytest.approx(1.0)  # So it seems while it waits.
    proc.threads(one=("S", 0.02, 1.05))
    usage = monitor.look(1.1)
    assert not usage.ready
    assert usage.idle_s == usage.idle_most_s == pytest.approx(0.03)
    proc.threads(one=("S", 0.02, 1.05))
    assert monitor.look(1.2).idle_s == pytest.approx(0.13)


def test_a_wait_that_ends_with_the_program_is_taken_back(proc):
    """On a busy machine the last wait is long; also that of a program that is killed, and needs a core to die."""
    monitor = Monitor(proc.proc, 9, 0.0)
    for i in range(1, 11):
        proc.threads(one=("R", 0.0, 0.0))
        monitor.look(i / 10)
    proc.threads(one=("Z", 0.02, 1.05))
    usage = monitor.look(1.1, ended=True)
    assert usage.idle_s == usage.idle_most_s == pytest.approx(0.03)


def test_the_end_adds_no_idle_time(proc):
    monitor = Monitor(proc.proc, 9, 0.0)
    proc.threads(one=("S", 0.0, 0.0), two=("S", 0.0, 0.0))
    monitor.look(0.1)
    proc.threads(one=("Z", 0.0, 0.0))  # Of the other thread it is not known what it did.
    assert monitor.look(0.25, ended=True).idle_s == pytest.approx(0.1)


def test_a_wait_takes_back_no_sleep(proc):
    monitor = Monitor(proc.proc, 9, 0.0)
    proc.threads(one=("S", 0.0, 0.0), two=("S", 0.0, 0.0))
    assert monitor.look(0.1).idle_s == pytest.approx(0.1)
    proc.threads(one=("R", 0.05, 0.05), two=("R", 0.05, 0.3))  # Together far more than passed.
    assert monitor.look(0.2).idle_s == pytest.approx(0.1)
    proc.threads(one=("S", 0.05, 0.05), two=("S", 0.05, 0.3))
    assert monitor.look(0.3).idle_s == pytest.approx(0.2)


def test_of_threads_that_wait_the_longest_counts_at_most(proc):
    monitor = Monitor(proc.proc, 9, 0.0)
    proc.threads(one=("S", 0.01, 0.03), two=("S", 0.01, 0.04))
    usage = monitor.look(0.1)
    assert usage.idle_s == pytest.approx(0.01)
    assert usage.idle_most_s == pytest.approx(0.04)


def test_a_late_look_counts_little(proc):
    monitor = Monitor(proc.proc, 9, 0.0)
    proc.threads(one=("S", 0.01, 0.0))
    assert monitor.look(5.0).idle_s == pytest.approx(0.2)


def test_held_up_by_the_machine():
    assert held_up(2, 3, 18, 6)
    assert not held_up(2, 7, 18, 6)  # It idled too long by itself.
    assert not held_up(2, 0, 2.1, 6)  # It ran all the time.


# Levels and honesty.


def test_what_a_level_lacks_is_refused_beforehand():
    lacking = [level for level in ("landlock", "seccomp") if not levels.why_not(level)]
    if not lacking:
        pytest.skip("neither landlock nor seccomp here")
    asked = ({"files": {"a": b""}}, {"limits": Limits(processes=2)}, {"language": "c"})
    for level in lacking:
        with sandbox.Pool(1, level) as pool:
            for options in asked:
                found = pool.run("print(1)", **options)
                assert (found.status, found.stdout) == ("error", b"")
                assert f"{level!r}" in found.reason
                assert "namespaces" in found.reason


def test_one_table_says_what_each_level_gives():
    """That each level keeps to it: tests/test_sandbox_containment.py, where a lack must be said."""
    lines = (ROOT / "verifiers" / "sandbox" / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    table = {cells[0].strip("`"): cells[2:] for cells in rows if len(cells) == 5}
    for level in levels.LEVELS:
        features = levels.FEATURES[level]
        given = [{"imports"}, {"files", "tmp"}, {"processes", "languages"}]
        for cell, some in zip(table[level], given, strict=True):
            assert some <= features if cell == "yes" else not some & features, (level, cell)
    assert list(table) == [*levels.LEVELS, "unsafe"]


def test_no_isolation_is_a_refusal_that_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(levels, "why_not", lambda level: f"no {level} on this machine")
    with pytest.raises(sandbox.SandboxUnavailable) as refusal:
        sandbox.Pool()
    for words in ("namespaces: no namespaces on this machine", "landlock:", "seccomp:", "level='unsafe'"):
        assert words in str(refusal.value)
    assert levels.best() == "none"
    assert "no landlock on this machine" in levels.describe()


def test_a_jail_that_does_not_hold_is_refused(monkeypatch):
    """The level is proved by hostile programs, not believed: here the filter lets everything through."""
    monkeypatch.setattr(levels, "_known", {})
    weak = levels._PROOFS | {"prints what a broken jail would": "print('open')"}
    monkeypatch.setattr(levels, "_PROOFS", weak)
    assert "was not contained (open)" in levels.why_not(LEVEL)
    monkeypatch.setattr(levels, "_PROOFS", {})
    assert "was not contained (open)" in levels.why_not(LEVEL)  # It is known.


def test_a_level_that_a_busy_machine_has_not_proved_is_tried_again(monkeypatch):
    def silent(level):
        raise SlotFailed("silent for 60 s")

    monkeypatch.setattr(levels, "_known", {})
    with monkeypatch.context() as busy:
        busy.setattr(levels, "_prove", silent)
        assert levels.why_not(LEVEL) == "silent for 60 s"
    assert levels.why_not(LEVEL) == ""


def test_unsafe_must_be_asked_for_by_name_and_says_so(tmp_path):
    program = f"open({str(tmp_path / 'x')!r}, 'w').write('harm'); print(1)"
    assert sandbox.run(program).status == "failed"
    assert not (tmp_path / "x").exists()
    found = sandbox.run(program, level="unsafe")
    assert (found.status, found.level) == ("ok", "unsafe")
    assert (tmp_path / "x").read_text() == "harm"
    forks = "import os\nif os.fork() == 0: os._exit(0)\nprint(os.wait()[1])"
    assert sandbox.run(forks, level="unsafe", limits=Limits(processes=2)).stdout == b"0\n"
    refused = sandbox.run("print(1)", level="unsafe", files={"a": b""})
    assert (refused.status, "'unsafe'" in refused.reason) == ("error", True)
    verdict = verifiers.code(Problem("p", "", {"tests": ["assert f(1) == 1"]}), "def f(x): return x", level="unsafe")
    assert (verdict.reward, verdict.info["level"]) == (1, "unsafe")


# Sessions.


def test_a_session_keeps_its_variables():
    with sandbox.Session() as session:
        assert session.run("x = 6").stdout == b""
        assert session.run("x * 7").stdout == b"42\n"
        assert session.run("import math\ndef f(n): return math.sqrt(n)").status == "ok"
        assert session.run("print(f(9)); f(16)").stdout == b"3.0\n4.0\n"
        failed = session.run("y = 1\nf('x')")
        assert (failed.status, failed.exit_code) == ("failed", 1)
        assert failed.reason.startswith("TypeError")
        assert b"    f('x')\n" in failed.stderr
        assert session.run("y").stdout == b"1\n"  # What ran before the error, ran.
        assert session.run("def (").reason.startswith("SyntaxError")
        assert session.run("import sys; sys.exit(3)").exit_code == 3
        assert session.run("len('" + "a" * 300_000 + "')").stdout == b"300000\n"
        assert session.run("x").stdout == b"6\n"


def test_a_call_beyond_its_limits_loses_the_state_and_says_so():
    with sandbox.Session(Limits(cpu_s=0.5, idle_s=0.5, output_kb=4)) as session:
        session.run("x = 1")
        flood = session.run("print('x' * 5000)")
        assert (flood.status, flood.stdout_truncated, len(flood.stdout)) == ("limit", True, 4096)
        assert session.run("x").stdout == b"1\n"
        for stalling, limit in (("while True: pass", "cpu_s"), ("import time; time.sleep(9)", "idle_s")):
            stalled = session.run(stalling)
            assert stalled.status == "limit"
            assert limit in stalled.reason
            assert "state is lost" in stalled.reason
            assert session.run("x").reason == "NameError: name 'x' is not defined"
            session.run("x = 1")
        assert session.run("import os; os._exit(0)").status == "failed"
        assert session.run("import ctypes; ctypes.CDLL(None).ptrace(0)").status == "violation"
        assert session.run("1").stdout == b"1\n"


def test_a_session_waits_for_free():
    with sandbox.Session(Limits(idle_s=1)) as session:
        session.run("x = 1")
        time.sleep(2.5)  # The policy thinks; the program does not idle by its own doing.
        assert session.run("x").stdout == b"1\n"


def test_the_total_of_a_session():
    with sandbox.Session(Limits(cpu_s=5, idle_s=5), dataclasses.replace(Limits(), idle_s=2)) as session:
        assert session.run("import time; time.sleep(0.3)").status == "ok"
        assert session.run("import time; time.sleep(9)").status == "limit"
        spent = session.run("print(1)")
        assert (spent.status, spent.stdout) == ("limit", b"")
        assert "total of idle_s = 2" in spent.reason


def test_a_session_that_forges_its_answers_gains_nothing():
    forged = b'{"number": 1, "exit_code": 0}\n'
    with sandbox.Session() as session:
        session.run("x = 1")
        session.run(f"import os; n = os.write(4, {forged * 3!r})")
        assert session.run("print('real')").status in ("ok", "failed")
        session.run(f"import os; n = os.write(4, {b'x' * 9000!r})")
        assert session.run("1 + 1").stdout in (b"2\n", b"")
        for answer in (
            b"[" * 4000,
            b'{"number": 0, "exit_code": %s}' % (b"7" * 4000),
            b'{"number": 0, "exit_code": []}',
        ):
            lost = session.run(f"import os; n = os.write(4, {answer + b'%c' % 10!r})")
            assert (lost.status, session.run("1 + 1").stdout) == ("failed", b"2\n")
            session.run("import os; os._exit(0)")
    with sandbox.Session() as session:
        assert session.run("import sys; sys.exit(-1)").exit_code == 255
        session.run("import os; os.close(3); os.close(4)")
        assert session.run("1 + 1").stdout == b"2\n"


# Languages.

ADD = {
    "c": '#include <stdio.h>\nint main() { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); return 0; }',
    "cpp": "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number); console.log(a + b)",
    "bash": 'read a b; echo "$(echo $((a + b)) | cat)"',
}


@needs_namespaces
@pytest.mark.parametrize("language", ADD)
def test_a_language(pool, language, monkeypatch):
    if languages.missing(language):
        pytest.skip(f"no {languages.missing(language)} here")
    found = pool.run(ADD[language], stdin=b"3 4", language=language)
    assert (found.status, found.stdout) == ("ok", b"7\n"), found
    monkeypatch.delattr(languages, "_compile")  # Once is enough.
    assert pool.run(ADD[language], stdin=b"20 4", language=language).stdout == b"24\n"


DEV_STDIN = {
    "c": '#include <stdio.h>\nint main() { putchar(getc(fopen("/dev/stdin", "r"))); }',
    "javascript": "console.log(require('fs').readFileSync('/dev/stdin', 'utf8'))",
    "bash": "cat /dev/stdin",
}


@needs_namespaces
@pytest.mark.parametrize("language", DEV_STDIN)
def test_input_by_its_name(pool, language):
    """There is no /proc for it to lead to. Most programs in JavaScript read it so."""
    if languages.missing(language):
        pytest.skip(f"no {languages.missing(language)} here")
    for text in (b"7", b"8", b""):
        found = pool.run(DEV_STDIN[language], stdin=text, language=language)
        assert found.status == "ok", found
        assert found.stdout.strip(b"\n\xff") == text
    large = pool.run(DEV_STDIN[language], stdin=b"7" * (3 << 20), language=language, limits=Limits(file_mb=2))
    assert large.status == "failed"  # Not a part of it.


@needs_namespaces
@pytest.mark.skipif(bool(languages.missing("c")), reason="no gcc here")
def test_hostile_c(pool):
    limits = Limits(cpu_s=0.5, memory_mb=64)
    for program, status in {
        "int main() { return 3; }": "failed",
        "int main() {": "failed",
        '#include "/etc/shadow"\nint main() {}': "failed",
        "int main() { for (;;); }": "limit",
        "#include <unistd.h>\nint main() { return fork() != -1; }": "ok",
        "#include <stdlib.h>\nint main() { for (;;) { char *p = calloc(1 << 20, 1); p[9999] = 1; } }": "limit",
        "int main() { return *(volatile int *)0; }": "failed",
        "#include <sys/ptrace.h>\nint main() { return ptrace(PTRACE_TRACEME, 0, 0, 0); }": "violation",
        "#include <sys/socket.h>\nint main() { return socket(AF_INET, SOCK_STREAM, 0) != -1; }": "ok",
    }.items():
        found = pool.run(program, language="c", limits=limits)
        assert found.status == status, (program, found)
    assert pool.run("int main() {", language="c").reason.startswith("does not compile: ")


def test_a_language_without_its_tools_is_nobodys_fault(pool, monkeypatch):
    monkeypatch.setattr(languages, "_found", lambda word: "")
    found = pool.run("", language="bash")
    assert found.status == "error"
    assert "bash" in found.reason


def test_the_doctor_says_the_level():
    from rl.doctor import diagnose

    assert dict(diagnose()[0])["sandbox"].startswith(LEVEL)
