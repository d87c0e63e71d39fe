"""Verifiers in worker processes: the same verdicts, and what one of them breaks costs one verdict."""

import contextlib
import datetime
import functools
import os
import pathlib
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc

import numpy as np
import pytest

import verifiers
from verifiers import Outcome, Pool, Problem, Verdict, isolated, math
from verifiers.worker import judge

HERE = pathlib.Path(__file__).parent


def problem(i=72) -> Problem:
    return Problem(f"p/{i}", "?", str(i))


@pytest.fixture(scope="module")
def pool():
    with Pool(workers=2) as pool:
        yield pool


def judged(pool, items):
    verdicts = dict(pool.verify(items))
    assert sorted(verdicts) == list(range(len(items)))
    return [verdicts[i] for i in range(len(items))]


def sleeps(problem, completion):
    time.sleep(100)


def dies(problem, completion):
    os._exit(3)


def killed(problem, completion):
    os.kill(os.getpid(), signal.SIGKILL)


def raises(problem, completion):
    raise KeyError("x")


def interrupts(problem, completion):
    raise KeyboardInterrupt("of mine")


class MyInterrupt(BaseException): ...


def raises_no_exception(problem, completion):
    raise MyInterrupt("of mine")


def killed_by_no_name(problem, completion):
    os.kill(os.getpid(), 40)


def hangs_up():
    for file in range(256):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(file).st_mode):
                os.close(file)


def hangs_up_and_ends(problem, completion):
    hangs_up()
    time.sleep(0.3)  # As a Python does that has much to clear away.
    os._exit(3)


def hangs_up_and_stays(problem, completion):
    hangs_up()
    time.sleep(100)


def greedy(problem, completion):
    return len(bytearray(1 << 40)) > 0


def leaves_a_child(problem, completion):
    os.system("sleep 4 &")  # It has all that can be inherited.
    os._exit(3)


def babbles(words):
    """A verifier that speaks in its worker's stead."""

    def babbling(problem, completion):
        for file in range(256):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(file).st_mode):
                    os.write(file, len(words).to_bytes(4, "big") + words)
        time.sleep(100)

    return babbling


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (raises, "test_pool.raises: KeyError: 'x'"),
        (dies, "test_pool.dies: The worker that ran it ended itself with exit code 3."),
        (killed, "test_pool.killed: The worker that ran it was killed by SIGKILL."),
        (killed_by_no_name, "test_pool.killed_by_no_name: The worker that ran it was killed by signal 40."),
        (hangs_up_and_ends, "The worker that ran it ended itself with exit code 3."),
        (greedy, "test_pool.greedy: MemoryError"),
        (leaves_a_child, "test_pool.leaves_a_child: The worker that ran it ended itself with exit code 3."),
        (babbles(b"abc"), "The worker that ran it said what is no JSON."),
        (babbles(b"\xff"), "The worker that ran it said what is no JSON."),
        (babbles(b"[" * 100_000), "The worker that ran it said what is no JSON."),
        (babbles(b"3"), "The worker that ran it sent no verdicts"),
        (babbles(b'{"verdicts": [[1, "correct", 7, "", "", 1]]}'), "an answer and a reason are text"),
        (babbles(b'{"verdicts": [[1, "right", "", "", "", 1]]}'), "KeyError: 'right'"),
        (babbles(b'{"verdicts": [], "resident_kb": Infinity}'), "OverflowError"),
        (babbles(b'{"verdicts": [%s]}' % b",".join([b'[1, "correct", "", "", "", 1]'] * 99)), "99 verdicts where"),
        (lambda p, c: float("nan"), "Verdict.reward must lie in [0, 1], got nan"),
        (lambda p, c: 1.5, "Verdict.reward must lie in [0, 1], got 1.5"),
        (lambda p, c: None, "must return a Verdict, a bool or a number in [0, 1], this one returned None"),
        (lambda p, c: sys.exit(0), "SystemExit: 0"),
        (interrupts, "test_pool.interrupts: KeyboardInterrupt: of mine"),
        (raises_no_exception, "test_pool.raises_no_exception: MyInterrupt: of mine"),
    ],
)
def test_what_one_item_breaks_harms_no_other(pool, bad, reason):
    one_is_bad(pool, bad, reason, math, "\\boxed{{{}}}")


def one_is_bad(pool, bad, reason, good, completion):
    items = [(good, problem(i), completion.format(i)) for i in range(40)]
    items[17] = (bad, problem(), "anything")
    verdicts = in_time(pool, items)
    assert verdicts[17].outcome is Outcome.ERROR
    assert reason in verdicts[17].reason
    assert all(verdict.outcome == "correct" for i, verdict in enumerate(verdicts) if i != 17)


# Where a pool's time is short, the others' verifier is one that needs next to none, nor anything that must be loaded.


def test_one_item_that_hangs_harms_no_other():
    with Pool(workers=2, seconds=4) as pool:
        one_is_bad(pool, sleeps, "test_pool.sleeps: It made no progress for 4 s.", verifiers.exact, "{}")


def test_a_worker_that_hangs_up_and_goes_on_is_ended(monkeypatch):
    monkeypatch.setattr(isolated, "_END_SECONDS", 0.2)
    with Pool(workers=1) as pool:
        one_is_bad(pool, hangs_up_and_stays, "The worker that ran it closed its connection", verifiers.exact, "{}")


def test_ctrl_c_is_obeyed_where_a_verifier_runs_in_this_process():
    assert judge(raises, problem(), "").outcome is Outcome.ERROR
    with pytest.raises(KeyboardInterrupt):
        judge(interrupts, problem(), "")


class InterruptsWhenItArrives:
    def __reduce__(self):
        return interrupts, (None, "")

    def __call__(self, problem, completion): ...


def test_an_interrupt_while_a_verifier_is_loaded_costs_its_own_verdicts(pool):
    one_is_bad(
        pool, InterruptsWhenItArrives(), "brought into a worker process: KeyboardInterrupt", math, "\\boxed{{{}}}"
    )


class DiesWhenItArrives:
    def __reduce__(self):
        return os._exit, (3,)

    def __call__(self, problem, completion): ...


@pytest.mark.parametrize(("bad", "place"), [(killed, 9), (killed, 10), (killed, 17), (DiesWhenItArrives(), 13)])
def test_a_worker_that_has_two_batches_loses_what_it_died_of_and_no_other(bad, place, monkeypatch):
    monkeypatch.setattr("verifiers.pool.BATCH", 10)
    items = [(math, problem(i), f"\\boxed{{{i}}}") for i in range(40)]
    items[place] = (bad, problem(), "anything")
    with Pool(workers=1) as pool:
        verdicts = judged(pool, items)
    assert [i for i, verdict in enumerate(verdicts) if verdict.outcome != "correct"] == [place]
    assert ": The worker that ran it " in verdicts[place].reason
    assert verdicts[place].reason.startswith(verifiers.types.described(bad))


def test_time_is_of_one_item_also_where_two_batches_are_on_their_way():
    def slow(problem, completion):
        time.sleep(0.15)
        return True

    with Pool(workers=1, seconds=5) as pool:
        assert all(verdict.reward for verdict in judged(pool, [(slow, problem(i), "") for i in range(40)]))


def naps(tests, seconds):
    """A program that sleeps in each of its tests."""
    cases = [{"stdin": str(i), "stdout": str(i)} for i in range(tests)]
    text = f"```python\nimport time\ntime.sleep({seconds})\nprint(input())\n```"
    return verifiers.code, Problem(f"naps/{tests}", "", {"mode": "stdio", "tests": cases}), text


def test_time_does_not_count_while_a_program_runs_within_its_limits():
    def runs_and_hangs(problem, completion):
        assert verifiers.sandbox.run("print(1)").status == "ok"
        time.sleep(100)

    with Pool(workers=2, seconds=2) as pool:
        many, long, hung = judged(pool, [naps(3, 0.8), naps(1, 2.4), (runs_and_hangs, problem(), "")])
    assert many.outcome == long.outcome == "correct"
    assert min(many.seconds, long.seconds) > 2  # Those of the pool.
    assert hung.outcome == "error"
    assert hung.reason.endswith("runs_and_hangs: It made no progress for 2 s.")
    assert hung.seconds == 2


def test_time_without_end():
    with Pool(workers=1, seconds=float("inf")) as pool:
        assert in_time(pool, [(math, problem(), "\\boxed{72}")])[0].outcome == "correct"


def test_a_process_with_many_open_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        with Pool(workers=1) as pool:
            assert in_time(pool, [(math, problem(), "\\boxed{72}")])[0].outcome == "correct"
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def in_time(pool, items, seconds=400.0):
    """`judged`, where it may be that it never ends."""
    verdicts = []
    asking = threading.Thread(target=lambda: verdicts.extend(judged(pool, items)), daemon=True)
    asking.start()
    asking.join(seconds)
    assert not asking.is_alive()
    return verdicts


def test_large_items_with_large_verdicts_block_nobody():
    def echo(problem, completion):
        return Verdict(1, Outcome.CORRECT, answer=completion * problem.metadata["times"])

    text = "x" * (1 << 22)
    large = [(echo, Problem(str(i), "", "", metadata={"times": 1}), text + str(i)) for i in range(12)]
    small = [(echo, Problem(str(i), "", "", metadata={"times": 20_000}), f"{i:05}") for i in range(100)]
    items = small + large + small
    with Pool(workers=1, cache=False) as pool:
        verdicts = in_time(pool, items)
    for verdict, (_, asked, completion) in zip(verdicts, items, strict=True):
        assert len(verdict.answer) == len(completion) * asked.metadata["times"]
        assert verdict.answer.startswith(completion)


def test_a_verdict_that_cannot_be_sent_costs_itself():
    def deep(problem, completion):
        nested = []
        for _ in range(int(completion)):
            nested = [nested]
        return Verdict(1, Outcome.CORRECT, info={"nested": nested})

    depths = [*range(960, 1000), 100_000]  # Around the limit of Python 3.11, and beyond later ones'.
    items = [item for i in depths for item in ((deep, problem(), str(i)), (math, problem(), "\\boxed{72}"))]
    with Pool(workers=1, cache=False) as pool:
        verdicts = in_time(pool, items)
    assert all(verdict.outcome == "correct" for verdict in verdicts[1::2])
    found = [verdict.outcome.value for verdict in verdicts[::2]]
    assert found == sorted(found)
    assert set(found) == {"correct", "error"}


def test_a_verdict_is_what_it_was_when_it_was_given():
    log = []

    def grows(problem, completion):
        verdict = Verdict(1, Outcome.CORRECT, info={"log": log})
        log.append(float("nan") if completion == "nan" else len(log))
        return verdict

    with Pool(workers=1, cache=False) as pool:
        verdicts = judged(pool, [(grows, problem(), text) for text in ("", "nan", "", "")])
    assert [str(verdict.info["log"]) for verdict in verdicts] == ["[0]", "[0, nan]", "[0, nan, 2]", "[0, nan, 2, 3]"]


def test_a_worker_is_replaced_when_it_has_served(monkeypatch):
    monkeypatch.setattr("verifiers.pool.SERVED", 20)
    monkeypatch.setattr("verifiers.pool.BATCH", 10)
    with Pool(workers=1) as pool:
        served = [(lambda p, c: Verdict(1, Outcome.CORRECT, str(os.getpid())), problem(), str(i)) for i in range(100)]
        verdicts = judged(pool, served)
    assert all(verdict.reward for verdict in verdicts)
    assert 2 <= len({verdict.answer for verdict in verdicts}) <= 5


def test_more_items_than_are_sent_at_once(tmp_path):
    log = tmp_path / "log"

    def counts(problem, completion):
        with log.open("a") as file:
            file.write("x")
        return completion == problem.answer

    lock = threading.Lock()
    problems = [problem(i) for i in range(300)]
    items = [(counts, problems[i % 300], str(i % 300 + i % 2)) for i in range(1200)]
    items[500] = (lambda p, c: lock.locked(), problem(), "")
    with Pool(workers=2) as pool:
        verdicts = judged(pool, items)
    assert verdicts.pop(500).outcome is Outcome.ERROR
    assert [verdict.reward for verdict in verdicts] == [float(i % 2 == 0) for i in range(1200) if i != 500]
    assert log.stat().st_size == 300


def test_the_same_verdicts_as_direct_calls(pool):
    texts = ["\\boxed{72}", "#### 71", "", "x" * 100_000, "\\boxed{\ud800}", "\0", "The answer is 72."]
    items = [(verifier, problem(i), text) for verifier in (math, verifiers.number, verifiers.exact)
             for i in (71, 72) for text in texts]  # fmt: skip
    assert judged(pool, items) == [verifier(p, text) for verifier, p, text in items]


@pytest.mark.parametrize("more", [{}, {"when": datetime.date(2026, 1, 1)}], ids=["marshalled", "pickled"])
def test_what_a_verifier_does_to_a_problem_the_next_one_does_not_see(pool, more):
    def counts(problem, completion):
        problem.metadata["seen"].append(completion)
        problem.answer["n"] += 1
        return len(problem.metadata["seen"]) == problem.answer["n"] == 1

    shared = Problem("p", "?", {"n": 0}, metadata={"seen": [], **more})
    assert all(verdict.reward for verdict in judged(pool, [(counts, shared, str(i)) for i in range(40)]))


def test_numpy_in_a_problem_arrives_as_it_was(pool):
    def same(problem, completion):
        return repr((problem.answer, problem.metadata)) == completion

    values = [np.int64(3), np.float64(0.5), np.bool_(True), np.str_("x"), np.arange(3), np.zeros(1), np.zeros(0), b"x"]
    holds_itself: dict = {}
    holds_itself["me"] = holds_itself
    items = [(same, Problem("p", "?", v, metadata={"v": [v]}), repr((v, {"v": [v]}))) for v in [*values, holds_itself]]
    assert all(verdict.reward for verdict in judged(pool, items))


def test_a_number_or_a_bool_is_a_verdict(pool):
    verdicts = judged(pool, [(lambda p, c, value=value: value, problem(), "") for value in (True, False, 0.25, 1)])
    assert [(v.reward, v.outcome.value) for v in verdicts] == [
        (1.0, "correct"), (0.0, "incorrect"), (0.25, "incorrect"), (1.0, "correct"),
    ]  # fmt: skip


def test_partials_closures_and_instances_travel(pool):
    class Judge:
        def __init__(self, wanted):
            self.wanted = wanted

        def __call__(self, problem, completion):
            return completion == self.wanted

    wanted = "closure"
    items = [
        (functools.partial(math, options=verifiers.MathOptions()), problem(), "\\boxed{72}"),
        (lambda p, c: c == wanted, problem(), "closure"),
        (Judge("instance"), problem(), "instance"),
        (lambda p, c: p.metadata["when"].year == 2026, Problem("d", "", "", metadata={"when": DATE}), ""),
    ]
    assert [v.reward for v in judged(pool, items)] == [1.0] * 4


DATE = datetime.date(2026, 1, 1)


def test_what_cannot_travel_is_an_error(pool):
    lock = threading.Lock()
    verdicts = judged(pool, [(lambda p, c: lock.locked(), problem(), ""), (math, problem(), "\\boxed{72}")])
    assert [v.outcome.value for v in verdicts] == ["error", "correct"]
    assert "must be picklable" in verdicts[0].reason
    unreadable = Problem("p", "", "72", metadata={"x": lock})
    [verdict] = judged(pool, [(math, unreadable, "\\boxed{72}")])
    assert "its problem must be picklable" in verdict.reason


def test_equal_completions_are_judged_once_and_errors_never_remembered(tmp_path):
    log = tmp_path / "log"

    def counts(problem, completion):
        with log.open("a") as file:
            file.write("x")
        if completion == "bad" and log.stat().st_size < 4:
            raise ValueError("not yet")
        return completion == "good"

    with Pool(workers=1) as pool:
        items = [(counts, problem(), text) for text in ("good", "good", "bad", "good", "bad")]
        assert [v.outcome.value for v in judged(pool, items)] == ["correct", "correct", "error", "correct", "error"]
        assert log.stat().st_size == 2
        judged(pool, items)  # The good one is known.
        assert log.stat().st_size == 3
        assert [v.outcome.value for v in judged(pool, items)][2] == "incorrect"
        judged(pool, items)
        assert log.stat().st_size == 4
    with Pool(workers=1, cache=False) as pool:
        judged(pool, items)
    assert log.stat().st_size == 9


def test_verdicts_come_one_by_one(tmp_path):
    arrived = tmp_path / "arrived"

    def late(problem, completion):
        while not arrived.exists():
            time.sleep(0.01)
        return True

    with Pool(workers=1, seconds=20) as pool:
        verdicts = []
        for _, verdict in pool.verify([(lambda p, c: time.sleep(0.1) or True, problem(), ""), (late, problem(), "")]):
            verdicts.append(verdict.outcome.value)
            arrived.touch()
    assert verdicts == ["correct", "correct"]


def test_many_threads_at_once(pool):
    results = {}

    def ask(n):
        results[n] = judged(pool, [(math, problem(i), f"\\boxed{{{n}}}") for i in range(30)])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, verdicts in results.items():
        assert [v.reward for v in verdicts] == [float(i == n) for i in range(30)]


def test_who_goes_away_leaves_no_work_behind(tmp_path):
    log = tmp_path / "log"

    def begins(problem, completion):
        with log.open("a") as file:
            file.write("x")
        time.sleep(100)

    with Pool(workers=2, seconds=2) as pool:
        for _ in pool.verify([(verifiers.exact, problem(), "72")] + [(begins, problem(i), "") for i in range(20)]):
            break
        assert judged(pool, [(verifiers.exact, problem(5), "5")])[0].reward == 1.0
    assert not log.exists() or log.stat().st_size <= 4  # Not twenty, two seconds each.


def test_a_worker_that_dies_while_it_rests_costs_nothing():
    with Pool(workers=1) as pool:
        [verdict] = judged(pool, [(lambda p, c: Verdict(1, Outcome.CORRECT, str(os.getpid())), problem(), "")])
        end(int(verdict.answer))
        assert judged(pool, [(math, problem(), "\\boxed{72}")])[0].outcome == "correct"
    worker = isolated.call("os:getpid")
    end(worker)
    assert isolated.call("os:getpid") != worker


def end(process: int) -> None:
    """Kills it, and waits until it is dead."""
    os.kill(process, signal.SIGKILL)
    while pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)


def test_a_worker_that_reads_nothing_costs_no_verdict():
    large = "x" * (1 << 22)
    with Pool(workers=1, seconds=2) as pool:
        [verdict] = judged(pool, [(lambda p, c: Verdict(1, Outcome.CORRECT, str(os.getpid())), problem(), "")])
        os.kill(int(verdict.answer), signal.SIGSTOP)
        wrong, good = in_time(pool, [(verifiers.exact, problem(), large), (verifiers.exact, problem(), "72")])
    assert (wrong.outcome, good.outcome) == ("incorrect", "correct")


def test_a_worker_that_dies_before_it_began_anything_costs_no_verdict_the_first_time(monkeypatch):
    class Killed(subprocess.Popen):
        """While it starts."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            if deaths:
                deaths.pop()
                self.kill()

    monkeypatch.setattr(isolated.subprocess, "Popen", Killed)
    deaths = [1]
    with Pool(workers=1) as pool:
        assert [v.outcome for v in in_time(pool, [(verifiers.exact, problem(), "72")] * 2)] == ["correct"] * 2
    deaths = [1, 2]
    with Pool(workers=1) as pool:
        lost, good = in_time(pool, [(verifiers.exact, problem(), text) for text in ("71", "72")])
    assert (lost.reason, good.outcome) == (
        "verifiers.plain.exact: The worker that ran it was killed by SIGKILL.", "correct"
    )  # fmt: skip


def test_a_worker_that_cannot_be_started_costs_one_verdict_and_no_thread(monkeypatch):
    real = isolated.socket.socketpair

    def refused(*arguments):
        if failures:
            failures.pop()
            raise OSError(24, "Too many open files")
        return real(*arguments)

    monkeypatch.setattr(isolated.socket, "socketpair", refused)
    failures = [1, 2]
    with Pool(workers=1) as pool:
        lost, good = in_time(pool, [(verifiers.exact, problem(), text) for text in ("71", "72")])
        assert "No worker could be started: [Errno 24] Too many open files" in lost.reason
        assert good.outcome == "correct"


def test_threads_still_judge_when_the_main_thread_has_ended(tmp_path):
    script = tmp_path / "ends.py"
    script.write_text(
        textwrap.dedent("""
        import threading, time
        import verifiers
        def slow(problem, completion):
            time.sleep(0.3)
            return True
        def ask():
            items = [(slow, verifiers.Problem(str(i), "", ""), "") for i in range(4)]
            print(sorted(verdict.reward for _, verdict in pool.verify(items)))
        pool = verifiers.Pool(workers=1)
        threading.Thread(target=ask).start()
        time.sleep(0.5)
        """)
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert ended.stdout == "[1.0, 1.0, 1.0, 1.0]\n", ended.stderr


def test_a_forked_child_waits_for_no_call_of_its_parent():
    script = textwrap.dedent("""
        import os, signal, threading, time
        from verifiers import isolated
        isolated.call("math:hypot", 3, 4)
        threading.Thread(target=isolated.call, args=("time:sleep", 1), daemon=True).start()
        time.sleep(0.3)
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
        else:
            signal.alarm(60)
            assert isolated.call("math:hypot", 3, 4) == 5
    """)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_forked_child_has_no_part_in_a_pool_of_its_parent():
    script = textwrap.dedent("""
        import os, signal
        from verifiers import Pool, Problem, math
        items = [(math, Problem("a", "", "72"), r"\\boxed{72}")]
        pool = Pool(workers=1, cache=False)
        assert [verdict.reward for _, verdict in pool.verify(items)] == [1.0]
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
            assert [verdict.reward for _, verdict in pool.verify(items)] == [1.0]
        else:
            signal.alarm(60)
            try:
                list(pool.verify(items))
            except RuntimeError as error:
                assert "a forked child makes its own" in str(error)
                pool.close()
                os._exit(0)
            os._exit(1)
    """)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_verifiers_made_for_one_call_are_not_kept(monkeypatch):
    monkeypatch.setattr("verifiers.pool._KNOWN", 3)
    tracemalloc.start()
    try:
        with Pool(workers=1) as pool:
            for i in range(12):
                large = bytes([i]) * (1 << 20)
                verifier = functools.partial(
                    lambda problem, completion, large: large[0] == int(completion), large=large
                )
                assert judged(pool, [(verifier, problem(), str(i))])[0].reward == 1.0
            kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10 << 20  # Three of them and the last, each as it is and pickled.


def test_a_call_that_python_cannot_interrupt_ends_its_worker(tmp_path):
    file = tmp_path / "one_instruction.py"
    file.write_text("import collections\ndef count(): collections.deque(range(10**11), maxlen=0)\n")

    def stuck(problem, completion):
        return isolated.call(f"{file}:count", seconds=1.5) is None

    with Pool(workers=1) as pool:
        bad, good = judged(pool, [(stuck, problem(), ""), (math, problem(), "\\boxed{72}")])
    assert bad.reason.endswith("stuck: The worker that ran it was killed by SIGPROF.")
    assert good.outcome == "correct"


def test_where_memory_runs_out_a_worker_dies_first(pool):
    def score(problem, completion):
        return pathlib.Path("/proc/self/oom_score_adj").read_text() == "1000\n"

    assert judged(pool, [(score, problem(), "")])[0].reward == 1.0


def test_a_closed_pool(tmp_path):
    begun = tmp_path / "begun"

    def begins(problem, completion):
        begun.touch()
        time.sleep(100)

    def close():
        while not begun.exists():
            time.sleep(0.01)
        pool.close()

    pool = Pool(workers=1)
    answers = pool.verify([(begins, problem(i), "") for i in range(3)])
    closer = threading.Thread(target=close, daemon=True)
    closer.start()
    assert [verdict.outcome.value for _, verdict in answers] == ["error"] * 3
    closer.join()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(pool.verify([(math, problem(), "")]))
    assert list(Pool(workers=1).verify([])) == []


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"seconds": 0}, {"memory_mb": -1}, {"seconds": float("nan")}])
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        Pool(**wrong)


def test_a_worker_has_no_secrets(pool, monkeypatch):
    monkeypatch.setenv("ASSAY_TEST_TOKEN", "secret")
    with Pool(workers=1) as fresh:
        [verdict] = judged(fresh, [(lambda p, c: "ASSAY_TEST_TOKEN" not in os.environ, problem(), "")])
    assert verdict.reward == 1.0


SCRIPT = """
    import os, signal, time
    from verifiers import Pool, Problem, Verdict

    def mine(problem, completion):
        return completion == problem.answer

    def forever(problem, completion):
        while True: pass

    if __name__ == "__main__":
        pool = Pool(workers=2)
        print([v.reward for _, v in pool.verify([(mine, Problem("p", "", "a"), "a")])], flush=True)
        for _ in pool.verify([(mine, Problem("p", "", "b"), "b")] + [(forever, Problem("p", "", "a"), "")] * 2):
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_functions_of_main_work_and_a_killed_owner_leaves_no_worker(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    mark = f"pool-{os.getpid()}-{time.monotonic_ns()}"
    env = {**os.environ, "PYTHONPATH": str(HERE.parent), "HOME": mark}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout == "[1.0]\n"
    deadline = time.monotonic() + 60
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def marked(mark: str) -> list[str]:
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_isolated_calls():
    assert isolated.call("math:hypot", 3, 4) == 5.0
    with pytest.raises(isolated.Broken, match=r"math:sqrt: ValueError"):
        isolated.call("math:sqrt", -1)
    with pytest.raises(isolated.Broken, match=r"time:sleep took more than 2 s"):
        isolated.call("time:sleep", 30, seconds=6)
    with pytest.raises(isolated.Broken, match="os:system: It made no progress for 1 s"):  # C, with no eye on signals.
        isolated.call("os:system", "sleep 9", seconds=1.0)
    with pytest.raises(isolated.Broken, match="exit code 7"):
        isolated.call("os:_exit", 7)
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(isolated.call("math:factorial", n))) for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [1, 1, 2, 6, 24]  # And no death with the thread that came first.
    assert isolated.call("math:factorial", 5) == 120


def test_an_isolated_call_in_a_worker_runs_there(pool):
    def nested(problem, completion):
        return isolated.call("os:getpid") == os.getpid()

    assert judged(pool, [(nested, problem(), "")])[0].reward == 1.0
    assert isolated.call("os:getpid") != os.getpid()


def test_a_verdict_of_a_worker_is_whole(pool):
    def full(problem, completion):
        return Verdict(0.5, Outcome.LIMIT, answer="é\ud800", reason="r", parts={"a": 1.0}, info={"x": [1, {"y": None}]})

    [verdict] = judged(pool, [(full, problem(), "")])
    assert verdict == full(None, None)
    assert verdict.seconds > 0
