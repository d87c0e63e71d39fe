"""The code verifier on real jails: modes, outcomes, limits, languages, and attacks on what it talks with."""

import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import os
import pathlib
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from test_sandbox_kills import alive, family, soon

import verifiers
from verifiers import Outcome, Problem, hacks, sandbox
from verifiers.judging import checks, jails
from verifiers.sandbox import languages, levels, pool
from verifiers.sandbox.slot import SlotFailed
from verifiers.sandbox.types import Execution

QUICK = {"cpu_s": 1, "idle_s": 1, "wall_s": 20}


@pytest.fixture(scope="module", autouse=True)
def _isolated():
    try:
        sandbox.shared_pool()
    except sandbox.SandboxUnavailable as error:
        pytest.skip(str(error))


def asked(*tests, **more):
    return Problem("p", "", {"tests": list(tests), **more})


def stdio(*pairs, **more):
    return Problem("p", "", {"mode": "stdio", "tests": [{"stdin": a, "stdout": b} for a, b in pairs], **more})


def outcome(problem, program, **options):
    return verifiers.code(problem, program, **options).outcome


def test_literal_calls():
    problem = asked("assert f(1) == 2", "assert f(2) == 3")
    right = verifiers.code(problem, "Like this:\n```python\ndef f(x):\n    return x + 1\n```")
    assert (right.reward, right.outcome, right.reason) == (1, Outcome.CORRECT, "all 2 tests pass")
    assert right.answer == "def f(x):\n    return x + 1"
    assert right.parts == {"tests": 1.0}
    assert right.info == {"mode": "calls", "level": sandbox.shared_pool().level, "tests": 2, "passed": 2}
    wrong = verifiers.code(problem, "def f(x): return 2")
    assert (wrong.reward, wrong.outcome, wrong.info["failing"]) == (0, Outcome.INCORRECT, 1)
    assert wrong.reason == "f(2) returned 2, expected 3"
    json.dumps([dict(wrong.info), wrong.reason])


@pytest.mark.parametrize(
    ("test", "program", "good"),
    [
        ("assert f('<>')", "import re\ndef f(x): return re.match('<', x)", True),
        ("assert f('x')", "import re\ndef f(x): return re.match('<', x)", False),
        ("assert f(1)", "class A:\n def __bool__(s): return False\ndef f(x): return A()", False),
        ("assert f(1) is True", "def f(x): return True", True),
        ("assert f(1) is True", "def f(x): return 1", False),
        ("assert f(1) is None", "def f(x): pass", True),
        ("assert not f(1)", "def f(x): return []", True),
        ("assert f(1) == [1]", "def f(x): return (1,)", False),
        ("assert f(1) == (1, 2)", "import collections as c\ndef f(x): return c.namedtuple('P', 'a b')(1, 2)", True),
        ("assert f(1) == {1: 1}", "from collections import Counter\ndef f(x): return Counter([x])", True),
        ("assert f(1) == [1]", "def f(x):\n    print('debugging ' * 10)\n    return [x]", True),
        ("assert f(1) == 10**30", "def f(x): return 10**30", True),
        ("assert f([2, 1]) == [1, 2]", "def f(x):\n    x.sort()\n    return x", True),
        ("assert f(1) == 3", "import dataclasses as d\n@d.dataclass\nclass A:\n x: int\ndef f(x): return A(3).x", True),
        ("assert f(1) == 1", "if __name__ == '__main__':\n    raise SystemExit\ndef f(x): return x", True),
        ("assert f(1) == 1", "def f(x): return x\nimport sys\nsys.stdout.close()", True),
        ("assert f(k=3) == 3", "def f(*, k): return k", True),
        ("assert sum((1, 2)) == 7", "def sum(x): return 7", True),
    ],
)  # fmt: skip
def test_what_a_call_returns(test, program, good):
    assert (outcome(asked(test), program) is Outcome.CORRECT) is good


def test_tests_that_run_in_a_jail_of_their_own():
    tree = asked(
        "assert height(root) == 2", "assert height(root.left) == 1",
        setup="root = Node(1)\nroot.left = Node(2)",
    )  # fmt: skip
    program = """
class Node:
    def __init__(self, value): self.value, self.left, self.right = value, None, None
def height(node): return 0 if node is None else 1 + max(height(node.left), height(node.right))
"""
    right = verifiers.code(tree, program)
    assert (right.outcome, right.info["mode"]) == (Outcome.CORRECT, "check")
    wrong = verifiers.code(tree, program.replace("1 + max", "max"))
    assert wrong.outcome is Outcome.INCORRECT
    assert wrong.reason == "AssertionError in 'assert height(root) == 2'"
    missing = verifiers.code(tree, "def height(node): return 2")
    assert missing.outcome is Outcome.INCORRECT
    assert "Node" in missing.reason


@pytest.mark.parametrize(
    ("test", "program", "good"),
    [
        ("assert abs(f(1) - 0.33) < 0.01", "def f(x): return 1 / 3", True),
        ("assert list(f(3)) == [0, 1, 2]", "def f(n): yield from range(n)", True),
        ("x = [3, 1]\nf(x)\nassert x == [1, 3]", "def f(x): x.sort()", True),
        ("x = {1}\nf(s=x)\nassert x == {1, 2}", "def f(s): s.add(2)", True),
        ("try:\n    f(-1)\n    assert False\nexcept ValueError as e:\n    assert 'neg' in str(e)",
         "def f(x):\n    if x < 0: raise ValueError('negative')", True),
        ("try:\n    f(-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError", "def f(x): pass", False),
        ("c = Sum(5)\nc.add(2)\nassert c.total == 7",
         "class Sum:\n  def __init__(self, n): self.total = n\n  def add(self, n): self.total += n", True),
        ("g = f(2)\nassert g(3) == 5", "def f(a): return lambda b: a + b", True),
        ("assert f(int) == 'int'", "def f(t): return t.__name__", True),
        ("assert all(map(f, [1, 2]))", "def f(x): raise StopIteration", False),
        ("assert [f(i) for i in range(3)] == [0, 1, 4]", "def f(x): return x * x", True),
        ("assert f(a) is a", "a = object()\ndef f(x): return x", True),
        ("assert LIMIT == 3 and f(1) == 1", "LIMIT = 3\ndef f(x): return x", True),
        ("assert len(f(3)) == 3 and isinstance(f(3), list)", "def f(x): return [0] * x", True),
        ("assert 5 in f(1)", "class A:\n    def __contains__(self, x): return True\ndef f(x): return A()", False),
        ("assert f(1) == f(2)", "class A:\n    def __eq__(self, x): return True\ndef f(x): return A()", False),
        ("assert len(f(1)) > 0", "class A:\n    def __len__(self): return 1\ndef f(x): return A()", False),
        ("assert f(1)[0] == 1", "class A:\n    def __getitem__(self, i): return 1\ndef f(x): return A()", False),
    ],
)  # fmt: skip
def test_what_test_code_can_do(test, program, good):
    verdict = verifiers.code(asked(test, mode="check"), program)
    assert (verdict.outcome is Outcome.CORRECT) is good, verdict


def test_the_candidate_does_not_foresee_what_tests_choose_at_random():
    """Both jails are forked from a Python with the same random numbers."""
    problem = asked("import random\nn = random.randint(0, 10**9)\nassert f(0) == n", mode="check")
    assert outcome(problem, "import random\ndef f(x): return random.randint(0, 10**9)") is Outcome.INCORRECT
    honest = asked("import random\nn = random.randint(0, 10**9)\nassert f(n) == n", mode="check")
    assert outcome(honest, "def f(x): return x") is Outcome.CORRECT


def test_text_in_and_out():
    problem = stdio(("3\n", "9\n"), ("4\n", "16\n"))
    assert outcome(problem, "n = int(input())\nprint(n * n)") is Outcome.CORRECT
    wrong = verifiers.code(problem, "input()\nprint(9)")
    assert (wrong.outcome, wrong.info["failing"], wrong.info["passed"]) == (Outcome.INCORRECT, 1, 1)
    assert wrong.reason == "test 2: wrote '9\\n', expected '16\\n'"
    assert outcome(problem, "n = int(input())\nprint(n * n)\nraise SystemExit(3)") is Outcome.INCORRECT
    # Only the first lines of the answer are no answer, and neither are more.
    assert outcome(stdio(("", "1\n2\n")), "print(1)") is Outcome.INCORRECT
    assert outcome(stdio(("", "1\n2\n")), "print('1\\n2\\n3')") is Outcome.INCORRECT
    assert outcome(stdio(("", "0.3333"), tolerance=1e-3), "print(1/3)") is Outcome.CORRECT


def test_a_checker_of_the_problems_own():
    checker = "def check(stdin, stdout, expected):\n    return sum(map(int, stdout.split())) == int(stdin)"
    problem = stdio(("7", ""), checker=checker)
    assert outcome(problem, "print(3, 4)") is Outcome.CORRECT
    assert outcome(problem, "print(3, 5)") is Outcome.INCORRECT
    assert outcome(problem, "print('three')") is Outcome.INCORRECT  # The checker raises.
    broken = verifiers.code(stdio(("7", ""), checker="def check(*a): return 'yes'"), "print(3, 4)")
    assert broken.outcome is Outcome.ERROR
    assert "it returned a str" in broken.reason


def test_an_output_that_a_checker_does_not_take_is_a_wrong_one_and_a_checker_that_does_not_load_is_ours():
    check = "import json, re, sys\ndef check(stdin, stdout, expected):\n    return {}".format
    for says, output in (
        ("stdout and float(stdout) == 7", ""),  # It returns a text,
        ("(m := re.match('[0-9]+', stdout)) and m[0] == '7'", "x"),  # None,
        ("sys.setrecursionlimit(10**7) or json.loads(stdout) == 7", "[" * 900_000),  # or crashes.
    ):
        problem = stdio(("", "7"), checker=check(says))
        assert outcome(problem, "print(7)") is Outcome.CORRECT
        assert outcome(problem, f"print({output!r})") is Outcome.INCORRECT
    for checker in (
        "def check(",
        "import surely_absent\ndef check(*a): return True",
        "def chekc(*a): return True",
        "def check(*a): import surely_absent",
    ):
        assert outcome(stdio(("", "7"), checker=checker), "print(7)") is Outcome.ERROR, checker


def test_shares_of_tests():
    problem = asked("assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 9", "assert f(4) == 4")
    half = verifiers.code(problem, "def f(x): return x", score="share")
    assert (half.reward, half.outcome, half.parts, half.info["failing"]) == (
        0.75, Outcome.INCORRECT, {"tests": 0.75}, 2,
    )  # fmt: skip
    assert verifiers.code(problem, "def f(x): return x").reward == 0
    pairs = stdio(("1", "1"), ("2", "0"), ("3", "3"))
    assert verifiers.code(pairs, "print(input())", score="share").reward == pytest.approx(2 / 3)
    checks = asked("assert abs(f(1)) == 1", "assert abs(f(2)) == 3", "assert abs(f(3)) == 3")
    assert verifiers.code(checks, "def f(x): return x", score="share").reward == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="'all' or 'share'"):
        verifiers.code(problem, "x", score="some")  # pyright: ignore[reportArgumentType]


def test_tests_that_fail_slowly_are_not_waited_for_one_after_the_other(monkeypatch):
    """With enough of them the verdict would come too late for whoever asked, and cost the program nothing."""
    runs, run = [], jails.program
    monkeypatch.setattr(jails, "program", lambda *asked: runs.append(asked) or run(*asked))
    slow = stdio(*[("", "7")] * 60, limits={"cpu_s": 0.4, "idle_s": 0.4})
    assert outcome(slow, "import time\ntime.sleep(0.2)\nprint(8)", score="share") is Outcome.INCORRECT
    assert 3 <= len(runs) <= 30  # Seven; what a busy machine keeps the server from seeing does not count.
    runs.clear()
    patient = stdio(*[("", "7")] * 16, limits={"cpu_s": 0.4, "idle_s": 0.4})
    assert outcome(patient, "import time\ntime.sleep(0.1)\nprint(7)", score="share") is Outcome.CORRECT
    assert len(runs) == 16


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(:", Outcome.INCORRECT),
        ("I do not know.", Outcome.INCORRECT),
        ("", Outcome.UNPARSED),
        ("<think>def f(x): return x + 1", Outcome.UNPARSED),
        ("raise ValueError", Outcome.INCORRECT),
        ("def g(x): return x", Outcome.INCORRECT),
        ("import ctypes\nctypes.string_at(0)", Outcome.INCORRECT),
        ("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", Outcome.INCORRECT),
        ("def f(x):\n    while True: pass", Outcome.LIMIT),
        ("import time\ntime.sleep(1000)", Outcome.LIMIT),
        ("def f(x): return bytearray(1 << 40)", Outcome.LIMIT),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", Outcome.LIMIT),
        ("def f(x):\n  try:\n    bytearray(1 << 40)\n  except MemoryError:\n    return x + 1", Outcome.CORRECT),
        ("def f(x): return f(x)", Outcome.INCORRECT),
        ("def f(x): raise KeyboardInterrupt", Outcome.INCORRECT),
        ("def f(x): return 'y' * 3_000_000", Outcome.INCORRECT),
        ("def f(x): return x + 1\nx = 'caf\u00e9 \u65e5\u672c'", Outcome.CORRECT),
        ("def f(x): return x + 1\nx = '\ud800'", Outcome.INCORRECT),  # CPython does not compile it either.
        ("def f(x): return x + 1\n\0", Outcome.INCORRECT),
        ("(" * 100_000 + ")" * 100_000, Outcome.INCORRECT),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["calls", "check"])
def test_outcomes(program, expected, mode):
    verdict = verifiers.code(asked("assert f(1) == 2", mode=mode, limits=QUICK), program)
    assert verdict.outcome is expected, verdict
    assert verdict.reward == (expected is Outcome.CORRECT)
    if "ptrace" in program:
        assert verdict.info["violation"]


def test_a_verdict_says_what_happened():
    problem = asked("assert f(1) == 2")
    missing = verifiers.code(problem, "def g(x): return 2")
    assert missing.reason == "f(1) raised NameError: the program does not define f"
    for ends in ("import os\nos._exit(0)", "def f(x):\n    import os\n    os._exit(0)"):
        assert verifiers.code(problem, ends).reason == "the program ended before it answered"


@pytest.mark.parametrize("level", ["landlock", "seccomp"])
def test_what_a_level_lacks_is_not_the_programs_fault(level):
    """Nor the tests'. One that fails for another reason has failed."""
    if levels.why_not(level):
        pytest.skip(levels.why_not(level))
    writes, late = "open('x', 'w').write('2')", "def f(x):\n    open('x', 'w')\n    return x + 1"
    calls, checks = (asked("assert f(1) == 2", mode=mode) for mode in ("calls", "check"))
    tests = asked(f"{writes}\nassert f(1) == 2", mode="check")
    tried = [(calls, writes), (calls, late), (checks, writes), (checks, late), (tests, "def f(x): return 2")]
    check = f"def check(stdin, stdout, expected):\n    {writes}\n    return True"
    tried += [(stdio(("", "2")), f"{writes}\nprint(2)"), (stdio(("", "2"), checker=check), "print(2)")]
    opens = "import sqlite3\ndef f(x): sqlite3.connect('x.db').execute('select 1')"
    for problem, program in [*tried, (calls, opens), (checks, opens)]:
        verdict = verifiers.code(problem, program, level=level)
        assert verdict.outcome is Outcome.ERROR, verdict
        assert f"The level {level!r} of this machine's sandbox lacks tmp, which needs namespaces" in verdict.reason
    says = "def f(x): return 'x) raised PermissionError [Errno 13]'"
    shown = asked("assert f(1) == 2, f(1)", mode="check")
    tried = [(calls, "import numpy"), (calls, "raise OSError(13)"), (calls, says), (shown, says)]
    tried += [(problem, "def f(x): raise PermissionError('no')") for problem in (calls, checks)]
    for problem, program in [*tried, (stdio(("", "2")), "print('x: PermissionError [Errno 13]')")]:
        assert outcome(problem, program, level=level) is Outcome.INCORRECT


def test_a_limit_just_under_and_just_over():
    work = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\ndef f(x): return x"
    problem = asked("assert f(1) == 1", limits={"cpu_s": 2, "idle_s": 1})
    assert outcome(problem, work.format(1.2)) is Outcome.CORRECT
    assert outcome(problem, work.format(3.0)) is Outcome.LIMIT
    assert outcome(problem, "import time\ntime.sleep(0.5)\ndef f(x): return x") is Outcome.CORRECT
    assert outcome(problem, "import time\ntime.sleep(9)\ndef f(x): return x") is Outcome.LIMIT


def test_a_problem_that_is_no_task_is_an_error_of_ours():
    for answer in ("72", {"tests": []}, {"tests": ["assert f(1) == 1"], "limits": {"cpu": 3}}, {"tests": [object()]}):
        verdict = verifiers.code(Problem("p", "", answer), "def f(x): return x")
        assert (verdict.outcome, verdict.reward) == (Outcome.ERROR, 0)
        assert verdict.reason
    verdict = verifiers.code(asked("assert f(1) == 1", limits={"cpu_s": -1}), "def f(x): return x")
    assert "cpu_s" in verdict.reason
    for test in ("import surely_absent\nassert f(1)", "assert f(lambda x: x)", "assert f(object())"):
        verdict = verifiers.code(asked(test, mode="check"), "def f(x): return 1")
        assert verdict.outcome is Outcome.ERROR, verdict
    setup = verifiers.code(asked("assert f(y)", setup="import surely_absent\ny = 1"), "def f(x): return 1")
    assert setup.outcome is Outcome.ERROR, setup
    human_eval = {"prompt": "def f(x):\n", "test": "def check(candidate):\n    pass", "entry_point": "f"}
    for answer in (human_eval, {"tests": ["# Like zero tests."]}, {"tests": ["assert 1 == 1"], "entry_point": "f"}):
        for program in ("def f(x): return x", "f = None"):
            verdict = verifiers.code(Problem("p", "", answer), program)
            assert (verdict.outcome, verdict.reward) == (Outcome.ERROR, 0), verdict
            assert "ask nothing of the program" in verdict.reason
    unknown = verifiers.code(stdio(("", "1"), language="rust"), "fn main() {}")
    assert (unknown.outcome, "one of python, c" in unknown.reason) == (Outcome.ERROR, True)
    # What the candidate does, it answers for.
    assert outcome(asked("assert f(1) == 1", mode="check"), "def f(x): import surely_absent") is Outcome.INCORRECT


def test_tests_in_the_same_process_are_refused_unless_asked_for():
    problem = asked("import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(1), 1)\n    "
                    "def test_two(self): self.assertEqual(f(2), 2)", mode="inprocess")  # fmt: skip
    refused = verifiers.code(problem, "def f(x): return x")
    assert refused.outcome is Outcome.ERROR
    assert "allow_spoofable" in refused.reason
    verdict = verifiers.code(problem, "def f(x): return x", allow_spoofable=True)
    assert (verdict.outcome, verdict.info["spoofable"]) == (Outcome.CORRECT, True)
    assert outcome(problem, "def f(x): return 1", allow_spoofable=True) is Outcome.INCORRECT
    assert outcome(problem, "raise SystemExit", allow_spoofable=True) is Outcome.INCORRECT


LANGUAGES = {
    "c": ("gcc", '#include <stdio.h>\nint main() { int n; scanf("%d", &n); printf("%d\\n", n * n); return 0; }'),
    "cpp": ("g++", "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n * n << std::endl; }"),
    "javascript": ("node", "const n = +require('fs').readFileSync(0, 'utf8'); console.log(n * n);"),
    "bash": ("bash", "read n\necho $((n * n))"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_languages(language):
    tool, program = LANGUAGES[language]
    if not shutil.which(tool):
        pytest.skip(f"needs {tool}")
    if sandbox.shared_pool().level != "namespaces":
        pytest.skip("needs the level namespaces")
    problem = stdio(("3\n", "9\n"), ("12\n", "144\n"), language=language)
    right = verifiers.code(problem, f"```{language}\n{program}\n```")
    assert right.outcome is Outcome.CORRECT, right
    assert outcome(problem, program.replace("n * n", "n * 3")) is Outcome.INCORRECT
    assert outcome(problem, "}{ (((") is Outcome.INCORRECT


# ------------------------------------------------------------------------------- attacks on what the jails say

FRAME = "def frame(data): return len(data).to_bytes(4, 'little') + data\nimport os\n"
ATTACKS = {
    "junk": "os.write({fd}, b'\\xff' * 1000)",
    "four_gigabytes": "os.write({fd}, b'\\xff\\xff\\xff\\xff')",
    "negative_and_zero": "os.write({fd}, b'\\0' * 64)",
    "flood": "for i in range(100): os.write({fd}, b'[' * (1 << 20))",
    "small_frames": "for i in range(100000): os.write({fd}, frame(b'1'))",
    "deep_json": "os.write({fd}, frame(b'[' * 100000))",
    "wide_json": "os.write({fd}, frame(b'[' + b'[],' * 100000 + b'1]'))",
    "an_object": "os.write({fd}, frame(b'{{\"v\": 2}}'))",
    "prebaked": "os.write({fd}, frame(b'[\"ready\"]') + frame(b'[\"v\", true, []]') * 99)",
    "prebaked_pass": 'os.write({fd}, frame(b\'[["pass", ""]]\') * 99)',
    "not_a_list": "os.write({fd}, frame(b'7') * 99)",
    "unknown_kind": "os.write({fd}, frame(b'[\"yes\", 1, []]') * 99)",
    "end_of_iteration": "os.write({fd}, frame(b'[\"end\"]') * 99)",
    "bad_changes": "os.write({fd}, frame(b'[\"v\", 1, [[0, 1], [{{}}, 2], 3]]') * 99)",
    "bad_reference": 'os.write({fd}, frame(b\'["v", ["R", ["R", 1]], []]\') * 99)',
    "decimal_bomb": 'os.write({fd}, frame(b\'["v", ["D", "1E999999999"], []]\') * 99)',
    "fraction_bomb": 'os.write({fd}, frame(b\'["v", ["F", ["F", "1e999999999"], 1]]\') * 99)',
    "fraction_bomb_after_ready": 'os.write({fd}, frame(b\'["ready"]\') + frame(b\'["v", ["F", "1e999999999"]]\') * 99)',
    "range_of_a_bomb": 'os.write({fd}, frame(b\'["v", ["r", ["F", "1e999999999"]], []]\') * 99)',
    "fraction_by_zero": 'os.write({fd}, frame(b\'["v", ["F", 0, 0], []]\') * 99)',
    "hash_bomb": "os.write({fd}, frame(b'[\"v\",[\"s\"' + b''.join(b',%d' % (i * (2**61 - 1)) for i in (1, 2)) + b']]'))",  # noqa: E501
    "not_ascii": 'os.write({fd}, frame(\'["v", "\u00e9"]\'.encode()))',
    "huge_number": "os.write({fd}, frame(b'[\"v\", ' + b'9' * 5000 + b', []]'))",
    "nan_and_infinity": "os.write({fd}, frame(b'[\"v\", NaN, []]') * 9)",
    "half_a_frame": "os.write({fd}, frame(b'[\"v\", 2]')[:-1]); os._exit(0)",
    "exception_that_is_none": 'os.write({fd}, frame(b\'["e", "SystemExit", "0"]\') * 9)',
    "exception_without_words": "os.write({fd}, frame(b'[\"e\"]') * 9)",
    "truncates": "os.ftruncate({fd}, 0)",
    "grows": "os.ftruncate({fd}, 1 << 40)",
    "rewinds": "os.lseek({fd}, 0, 0); os.write({fd}, frame(b'[\"v\", true, []]') * 9)",
    "closes": "os.close({fd})",
    "stops_itself": "os.kill(os.getpid(), 19)",
}


def attacking(attack, mode):
    """A problem, and programs that attack its judge before a call and in one. Wrong in any case: whatever is written,
    it is no answer that would be right."""
    guarded = "\n".join(
        f"try:\n    {ATTACKS[attack].format(fd=fd)}\nexcept OSError: pass"
        for fd in ((3,) if mode == "calls" else (3, 4))
    )
    body = guarded.replace("\n", "\n    ")
    test = "assert all(map(lambda y: y == 2, map(f, [1, 2])))" if mode == "check" else "assert f(1) == 'two'"
    problem = asked(test, "assert f(1) == -12345", mode=mode, limits=QUICK)
    return problem, (f"{FRAME}{guarded}\ndef f(x): return 0", f"{FRAME}def f(x):\n    {body}\n    return 0")


@pytest.mark.parametrize("mode", ["calls", "check"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_protocol_attack(attack, mode):
    problem, programs = attacking(attack, mode)
    for program in programs:
        began = time.process_time()
        verdict = verifiers.code(problem, program)
        assert verdict.outcome in (Outcome.INCORRECT, Outcome.LIMIT), verdict
        assert verdict.reward == 0
        assert time.process_time() - began < 10  # Of ours.
    assert outcome(asked("assert f(1) == 2", mode=mode), "def f(x): return x + 1") is Outcome.CORRECT


@pytest.mark.parametrize("test", ["assert f(1)", "assert not f(1)", "assert f(1) == 3", "assert f(1) is True"])
def test_no_claim_costs_the_judge_time(test):
    bombs = ('["F", "1e999999999"]', '["F", ["F", "1e999999999"], 1]', '["r", ["F", "1e999999999"]]')
    for bomb in (*bombs, '["F", ["F", 1, "1e999999999"], 1]'):
        claim = f'["v", {bomb}]'.encode()
        began = time.process_time()
        forged = f"{FRAME}os.write(3, frame(b'[\"ready\"]') + frame({claim!r}))\nos._exit(0)"
        assert outcome(asked(test, mode="calls"), forged) in (Outcome.CORRECT, Outcome.INCORRECT)  # It may be "true".
        assert time.process_time() - began < 5


@pytest.mark.parametrize("length", [1, 1 << 14, (1 << 14) - 3, (1 << 14) - 6, (1 << 14) - 8, 100_000])
def test_messages_of_any_length_are_read(length):
    messages = [b"x" * length, b"yy", b"z" * length]
    data = b"".join(len(message).to_bytes(4, "little") + message for message in messages)
    for size in (len(data), len(data) + 3, 1 << 20):
        with jails.file(size) as file:
            os.pwrite(file, data, 0)
            assert jails.frames(file, size) == messages
            os.pwrite(file, b"\xff\xff\xff\x7f", len(data) - length - 4)
            assert jails.frames(file, size) == messages[:2]


def test_no_reply_makes_it_the_fault_of_the_tests():
    """An error would cost the program nothing. Each says what the tests' jail cannot take, or did not expect."""
    emoji = "def f(x): raise ValueError('\U0001f600' * 400)"
    many = asked("assert abs(f(1)) == 2", *[f"assert f({i}) == {i}" for i in range(100)])
    assert outcome(many, emoji, score="share") is Outcome.INCORRECT
    wide = FRAME + "data = frame(b'[' + b'[],' * 1_000_000 + b'1]')\nwhile data: data = data[os.write(4, data):]"
    little = asked("assert abs(f(1)) == 2", limits={"address_mb": 100})
    assert outcome(little, wide) in (Outcome.INCORRECT, Outcome.LIMIT)
    twice = """
errors = []
for i in 1, 2:
    try:
        assert f(i) == 2
    except Exception as error:
        errors.append(error)
raise errors[0]"""
    cart = asked("cart = Cart()\nassert total(cart.items) == 3", mode="check")
    assert outcome(cart, "def Cart(): return {}\ndef total(items): return 3") is Outcome.INCORRECT
    assert outcome(cart, "class Cart: items = [3]\ndef total(items): return sum(items)") is Outcome.CORRECT
    ages = asked("assert f(g(5) - g(3)) == 2", mode="check")
    dates = "import datetime\ndef g(x): return datetime.date(2000, 1, x)\ndef f(x): return 2"
    assert outcome(ages, dates) is Outcome.INCORRECT
    program = "kinds = [ValueError, ImportError]\ndef f(x): raise kinds.pop()"
    assert outcome(asked(twice, mode="check"), program) is Outcome.INCORRECT


def test_a_forged_right_answer_is_a_right_answer_and_a_wrong_one_is_wrong():
    """What makes the design safe: a program that writes its claims itself gets what the claims deserve."""
    forge = FRAME + "os.lseek(3, 0, 0)\nos.write(3, frame(b'[\"ready\"]') + frame(b'[\"v\",%d]'))\nos._exit(0)"
    assert outcome(asked("assert f(1) == 2", mode="calls"), forge % 2) is Outcome.CORRECT
    assert outcome(asked("assert f(1) == 2", mode="calls"), forge % 3) is Outcome.INCORRECT


def test_the_next_program_finds_nothing_of_the_one_before():
    problem = asked("assert f(1) == 'clean'")
    leave = "import builtins, sys, json\nbuiltins.left = 1\nsys.left = 1\njson.left = 1\ndef f(x): return 'clean'"
    look = """
import builtins, sys, json
def f(x): return "left" if any("left" in vars(m) for m in (builtins, sys, json)) else "clean"
"""
    assert [outcome(problem, program) for program in (leave, look) * 6] == [Outcome.CORRECT] * 12


# ----------------------------------------------------------------------------------- threads, processes, faults


def _verdict(program):
    return verifiers.code(asked("assert f(2) == 4", "assert f(3) == 9"), program)


PROGRAMS = [f"def f(x): return x * x + {i % 3}" for i in range(24)]
EXPECTED = [Outcome.CORRECT if i % 3 == 0 else Outcome.INCORRECT for i in range(24)]


def test_threads_share_the_pool():
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert [v.outcome for v in threads.map(_verdict, PROGRAMS)] == EXPECTED


def test_two_jails_a_judgment_do_not_wait_for_each_other():
    problem = asked("assert abs(f(2)) == 4")
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        verdicts = list(threads.map(lambda program: verifiers.code(problem, program), PROGRAMS))
    assert [v.outcome for v in verdicts] == EXPECTED


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_processes(method):
    """In a process without JAX: one with its threads must not be forked."""
    script = f"import test_code\nif __name__ == '__main__':\n    test_code.in_worker_processes({method!r})"
    here = pathlib.Path(__file__).parent
    subprocess.run([sys.executable, "-c", script], cwd=here, check=True, timeout=500)


def in_worker_processes(method):
    assert pickle.loads(pickle.dumps(functools.partial(verifiers.code, score="share"))).func is verifiers.code
    _verdict(PROGRAMS[0])  # The parent has a pool of its own, which a fork must not use.
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as processes:
        assert [v.outcome for v in processes.map(_verdict, PROGRAMS[:8])] == EXPECTED[:8]


@pytest.mark.parametrize("mode", ["calls", "check"])
def test_a_slot_that_dies_in_flight_costs_a_retry_and_no_verdict(mode):
    """Fork-servers are killed while programs run in them; each program gets one verdict, and the right one."""
    problem = asked("assert f(2) == 4", "assert f(3) == 9", mode=mode)
    slow = "import time\ntime.sleep(0.1)\n"
    choose, lock = random.Random(0), threading.Lock()
    begun, done, hit, killed = set(), set(), set(), 0

    def judge_and_kill(i):
        """Kills, while the other two threads are in the midst of theirs, whom nobody has killed before."""
        nonlocal hit, killed
        begun.add(i)
        verdict = verifiers.code(problem, slow + PROGRAMS[i % 24])
        done.add(i)
        with lock:
            if hit <= done:
                guard = choose.choice(tuple(sandbox.shared_pool()._all))._process.pid
                everyone = family(guard)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(guard, signal.SIGKILL)
                assert soon(lambda: not alive(everyone))
                hit = set(begun)
                killed += 1
        return verdict

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        verdicts = list(threads.map(judge_and_kill, range(48)))
    assert [v.outcome for v in verdicts] == EXPECTED * 2
    assert killed > 3
    assert [v.outcome for v in map(_verdict, PROGRAMS[:3])] == EXPECTED[:3]


def test_an_error_of_the_sandbox_is_tried_once_more_and_then_said(monkeypatch):
    calls = []
    real = jails.one

    def broken(*args, **kwargs):
        calls.append(1)
        return Execution("error", level="landlock", reason="no slot") if len(calls) in wanted else real(*args, **kwargs)

    monkeypatch.setattr(jails, "one", broken)
    wanted = {1}
    assert _verdict(PROGRAMS[0]).outcome is Outcome.CORRECT
    assert len(calls) == 2
    calls.clear()
    wanted = {1, 2}
    verdict = _verdict(PROGRAMS[0])
    assert (verdict.outcome, len(calls)) == (Outcome.ERROR, 2)
    assert "no slot" in verdict.reason


@pytest.mark.parametrize(
    ("candidate", "tested", "said"),
    [
        ((1.2, 1.3), (0.1, 1.3), "too busy"),  # The tests waited for a core, and the program for them.
        ((0.1, 3.0), (2.9, 3.0), "too busy"),
        ((2.0, 2.1), (2.0, 2.1), "idle for"),  # It slept, and the tests waited for it.
    ],
)
def test_waiting_for_a_jail_that_waits_for_a_core_is_nobodys_fault(candidate, tested, said):
    """Seconds idle and in all of both, of which one is ended for its idling; one second is allowed."""
    ended, fine = {"status": "limit", "reason": "idle for more than idle_s = 1 s"}, {"status": "ok", "reason": ""}
    one, other = (
        Execution(
            **(ended if idle == max(candidate[0], tested[0]) else fine), level="landlock", idle_s=idle, wall_s=wall
        )
        for idle, wall in (candidate, tested)
    )
    report = checks._verdict([], 1, one, other, (1.0, 1.0), 1.0)
    assert (report.execution.status, said in report.execution.reason) == (
        "limit" if said == "idle for" else "error",
        True,
    )


@pytest.mark.skipif(languages.missing("c") != "", reason="no gcc")
def test_a_compiled_program_that_could_not_be_copied_is_nobodys_fault(monkeypatch):
    problem = Problem("c", "", {"mode": "stdio", "language": "c", "tests": [{"stdin": "", "stdout": "7"}]})
    program = '#include <stdio.h>\nint main() { puts("7"); } /* copied */'
    with monkeypatch.context() as broken:
        broken.setattr(languages, "_COPY", b"raise SystemExit(3)")
        assert outcome(problem, program) is Outcome.ERROR
    assert outcome(problem, program) is Outcome.CORRECT


@pytest.mark.skipif(languages.missing("c") != "", reason="no gcc")
def test_a_fork_server_that_cannot_be_started_once_costs_a_compiler_a_try(monkeypatch):
    real, failures = pool.Slot, [1]

    def refused(*arguments, **options):
        if failures:
            raise SlotFailed(f"it was silent {failures.pop()}")
        return real(*arguments, **options)

    monkeypatch.setattr(pool, "Slot", refused)
    with sandbox.Pool(workers=1) as fresh:
        assert fresh.run("int main() { return 0; }", language="c").status == "ok"
    assert not failures


def test_nothing_is_left_open():
    for program in PROGRAMS[:3]:
        _verdict(program)
    open_before = len(os.listdir("/proc/self/fd"))
    for program in PROGRAMS[:9]:
        _verdict(program)
        verifiers.code(asked("assert abs(f(2)) == 4"), program)
        outcome(stdio(("1", "2")), program)
    assert len(os.listdir("/proc/self/fd")) <= open_before + 6  # A slot more may have been started.


def test_no_isolation_is_refused(monkeypatch):
    def unavailable(level="auto"):
        raise sandbox.SandboxUnavailable("no isolation")

    monkeypatch.setattr(jails, "shared_pool", unavailable)
    with pytest.raises(sandbox.SandboxUnavailable):
        _verdict(PROGRAMS[0])


def spoofing(hack, mode):
    """A problem and a hack for it."""
    tests = ["assert f([1, 2], 'x') == [2, 'x']", "assert f([], 3) == [3]"]
    if mode == "stdio":
        problem = stdio(("1\n", "12\n"), ("2\n", "34\n"), limits=QUICK)
    else:
        problem = asked(*tests, mode=mode, entry_point="f", limits=QUICK)
    return problem, hacks.program(hack, "f", reads=mode == "stdio")


@pytest.mark.parametrize("mode", ["calls", "check", "stdio"])
@pytest.mark.parametrize("hack", hacks.PROGRAMS)
def test_spoof(hack, mode):
    verdict = verifiers.code(*spoofing(hack, mode))
    assert verdict.reward == 0
    assert verdict.outcome in (Outcome.INCORRECT, Outcome.LIMIT), verdict
