"""What the code verifier does without a jail: fences, tasks, plain data, comparison of outputs."""

import collections
import concurrent.futures
import datetime
import decimal
import fractions
import gc
import json
import time
import warnings

import pytest
from quick import within

from verifiers.judging import fences, inside, tasks
from verifiers.judging.plain_data import DEEPEST, NotPlainError, decode, dumps, encode, loads, matches, truth
from verifiers.judging.stdio import same_text


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("print(1)\n", "print(1)\n"),
        ("    return 1\n", "    return 1\n"),  # HumanEval's bodies keep their indentation.
        ("Here:\n```python\nprint(1)\n```\nDone.", "print(1)\n"),
        ("```\na\n```\n```py\nb\n```", "b\n"),
        ("```\na\n```\n```py\nb\n", "a\n"),  # The last one that is closed.
        ("```py\nb\n", "```py\nb\n"),
        ("~~~python\nx = '''\n```\n'''\n~~~", "x = '''\n```\n'''\n"),
        ("````md\n```\nno\n```\n````", "```\nno\n```\n"),
        ("1. So:\n   ```python\n   if 1:\n       print(1)\n   ```", "if 1:\n    print(1)\n"),
        ("<think>```py\nwrong\n```</think>```py\nright\n```", "right\n"),
        ("<think>```py\nwrong\n```", None),
        ("", None),
        (" \n\t\n", None),
        ("```python\n\n```", None),
        ("use ```x``` here", "use ```x``` here"),
        ("```python\r\nprint(1)\r\n```\r\n", "print(1)\r\n"),
    ],
)
def test_the_program_is_the_last_closed_fence_else_the_whole_text(completion, program):
    assert fences.program(completion) == program


def test_fences_take_linear_time():
    hostile = ("`" * 300_000, "```\n" * 100_000, "```py\n" + "~" * 300_000, " " * 300_000 + "```", "\n" * 300_000)
    within(3, lambda: [(fences.program(text), fences.defines(text, "f")) for text in hostile])


@pytest.mark.parametrize(
    ("program", "is_defined"),
    [
        ("def f(x): pass", True),
        ("import os\nasync  def f(): pass", True),
        ("f = lambda x: x", True),
        ("f: int = 3", True),
        ("class f: pass", True),
        ("from m import f", True),
        ("from m import g, f", True),
        ("  def f(): pass", False),
        ("def ff(): pass", False),
        ("f == 3", False),
        ("    return f(1)", False),
        ("# def f\ng = f", False),
    ],
)
def test_whether_a_program_defines_the_entry_point(program, is_defined):
    assert fences.defines(program, "f") == is_defined


VALUES = [
    None, True, 0, -5, 2**80, -(2**63), 1.5, float("inf"), "a\ud800\n", b"x\0", bytearray(b"y"), [1, [2, (3,)]], (),
    {1, 2}, frozenset({(1, 2)}), {"a": [1], (1, 2): {}}, 1j, range(1, 9, 2), decimal.Decimal("1.10"),
    fractions.Fraction(1, 3), datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3), collections.deque([1]),
    int, list, type(None),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_data_crosses(value):
    back = decode(loads(dumps(encode(value))))
    assert back == value
    assert type(back) is type(value)


class Point(tuple):
    __slots__ = ()


class Sly(list):
    def __eq__(self, other):
        return True

    __hash__ = None

    def __iter__(self):
        return iter([1, 2, 3])


def test_subclasses_cross_as_what_they_hold():
    assert decode(encode(Point((1, 2)))) == (1, 2)
    assert decode(encode(Sly([7]))) == [7]
    assert decode(encode(collections.Counter("aab"))) == {"a": 2, "b": 1}
    assert decode(encode({1: 2}.keys())) == {1}


def test_what_cannot_cross_is_refused():
    with pytest.raises(NotPlainError):
        encode(object())
    with pytest.raises(NotPlainError):
        encode(lambda: 1)
    deep = []
    for _ in range(DEEPEST + 5):
        deep = [deep]
    with pytest.raises(RecursionError):
        encode(deep)
    loop = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        encode(loop)
    assert encode([object()], lambda _: 7) == ["l", ["R", 7]]


def test_objects_and_depth_in_json_are_refused():
    with pytest.raises(ValueError, match="object"):
        loads(b'{"t": 1}')
    for data in (b"[" * 100_000, b"[" * 5000 + b"]" * 5000):
        with pytest.raises((ValueError, RecursionError)):
            decode(loads(data))


@pytest.mark.parametrize(
    ("expected", "claimed", "same"),
    [
        (1, 1.0, True), (1, True, True), (True, 1, True), (0.0, -0.0, True), (1, "1", False), (None, 0, False),
        ([1], (1,), False), ((1,), [1], False), ([1, [2]], [1, [2]], True), ([], {}, False), ({}, set(), False),
        ({1, 2}, {2, 1}, True), ({1, 2}, frozenset({1, 2}), True), ({1, 2}, [1, 2], False), ({1}, {1, 2}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, True), ({"a": 1}, {"a": 2}, False), ({1: 1}, {True: 1}, True),
        ({1: {2: 3}}, {1: {2: 3}}, True), ({frozenset({1})}, {frozenset({1})}, True),
        ({frozenset({1})}, {frozenset({2})}, False), ({(1, "a"): 1}, {(1.0, "a"): 1}, True),
        (2**100, 2**100, True), (2**100, 2**100 + 1, False), (1, fractions.Fraction(1), True),
        (0.5, fractions.Fraction(1, 2), True), (0.1, decimal.Decimal("0.1"), False), (2, decimal.Decimal(2), True),
        (1j, 1j, True), (1, 1 + 0j, True), (b"a", bytearray(b"a"), True), ("a", b"a", False), ([1], range(1, 2), False),
        (float("inf"), float("inf"), True), (1.0, float("nan"), False), ([None], [None], True),
    ],
)  # fmt: skip
def test_comparison_is_that_of_python(expected, claimed, same):
    assert matches(expected, json.loads(dumps(encode(claimed)))) is same
    assert (expected == claimed) is same  # The table is right.


@pytest.mark.parametrize(
    "claimed",
    [
        [], ["l"], ["t"], ["s"], ["d"], ["d", 1], ["d", 1, 2, 3], ["F", 1, 0], ["F", 0, 0], ["F", "x", 1], ["i"],
        ["i", 3], ["i", "zz"], ["c", 1, 2, 3], ["c", "x", 1], ["b"], ["b", "xyz"], ["b", None], ["D", "1E999999999"],
        ["D", "x"], ["D", None], ["R", 1], ["o", "T", True], [[1]], ["q", 1], ["?"], [None], [{}], {"t": []},
        ["r", 1, 2, 3], ["T", "date", "x"], ["y", "int"], "e", ["z", ["l"]], ["s", ["l", 1]], ["s", []],
        ["d", [], 1], ["l", []], ["D", "9" * 100_000], ["F", ["i", "0x" + "f" * 100_000], ["i", "0x" + "e" * 100_000]],
    ],
)  # fmt: skip
def test_what_is_no_value_equals_nothing_and_breaks_nothing(claimed):
    for expected in (1, 0.5, True, None, "x", [1], (1,), {1}, {1: 2}, b"a", 1j, {(1,)}, {frozenset()}):
        assert matches(expected, claimed) is False


def test_colliding_keys_take_no_time():
    """Multiples of 2**61 - 1 have the hash 0: a table of them takes quadratic time to build."""
    hostile = ["s", *[["i", hex((2**61 - 1) * i)] for i in range(1, 20_001)]]
    assert not within(1, lambda: matches(set(range(20_000)), hostile))


def test_truth_is_that_of_python():
    for value in VALUES:
        assert truth(encode(value)) is bool(value), value
    assert truth(["o", "Match", True]) is True
    assert truth(["o", "Never", False]) is False
    assert truth(["F", ["i", "0x" + "f" * 100_000], 3]) is True


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "same"),
    [
        (b"1\n2\n", b"1\n2", 0, True), (b"1\n2\n", b"1 \n2\t\r\n\n", 0, True), (b"1\n2\n", b"1\n", 0, False),
        (b"1\n2\n", b"1\n2\n3\n", 0, False), (b"1\n2", b"1 2", 0, False), (b"a b", b"a  b", 0, False),
        (b"", b"", 0, True), (b"", b"\n", 0, True), (b"x", b"", 0, False), (b"1\n\n2", b"1\n2", 0, False),
        (b"0.333333", b"0.3333334", 1e-6, True), (b"0.333333", b"0.334", 1e-6, False),
        (b"1e9", b"1000000001", 1e-6, True),
        (b"a 1.0", b"b 1.0", 1e-6, False), (b"1.0", b"nan", 1e-6, False), (b"1 2", b"1", 1e-6, False),
        (b"inf", b"1e999", 1e-6, False), (b"\xff", b"\xfe", 1e-6, False), (b"1\n2", b"1 2", 1e-6, False),
    ],
)  # fmt: skip
def test_outputs_are_compared_line_by_line(expected, got, tolerance, same):
    assert same_text(expected, got, tolerance) is same


def test_the_mode_follows_from_the_tests():
    literal = tasks.read({"tests": ["assert f(1, k=[2]) == 2", "assert not f(2)", "assert f(3) is None, 'why'"]})
    assert literal.mode == "calls"
    assert [(c.function, c.args, c.kwargs, c.relation, c.expected) for c in literal.tests] == [
        ("f", (1,), {"k": [2]}, "==", 2),
        ("f", (2,), {}, "false", None),
        ("f", (3,), {}, "is", None),
    ]
    for test in ("assert f(1) == g(2)", "x = f(1)\nassert x == 2", "assert abs(f(1) - 2) < 1e-6", "assert f(x) == 1"):
        assert tasks.read({"tests": [test]}).mode == "check"
    assert tasks.read({"tests": ["assert f(1) == 2"], "setup": "import math"}).mode == "calls"
    assert tasks.read({"tests": ["assert f(1) == 2"], "setup": "def f(x): return g(x)"}).mode == "check"
    assert tasks.read({"tests": ["assert f(3 * 19, 'a' + 'b') == 2 ** 5"]}).tests[0].args == (57, "ab")
    assert tasks.read({"tests": ["assert f(2 ** 100000) == 1"]}).mode == "check"


def test_human_eval_is_read_as_its_assertions():
    test = "METADATA = {'a': 1}\n\ndef check(candidate):\n    # x\n    assert candidate(1) == 2\n    assert True\n"
    answer = {"prompt": "def f(x):\n", "test": test, "entry_point": "f"}
    task = tasks.read(answer)
    assert task.mode == "calls"
    assert len(task.tests) == 1
    assert tasks.read({**answer, "mode": "check"}).tests == (f"{test}\n\ncheck(f)",)
    assert tasks.read({**answer, "test": "def check(c):\n    assert True\n"}).mode == "check"
    task = tasks.read({**answer, "test": test + "    for x in range(3):\n        assert candidate(x) == x\n"})
    assert task.mode == "check"
    assert task.tests[0].endswith("check(f)")
    assert tasks.remote_names(task) == (["f"], [])


def test_the_names_that_a_test_wants_of_the_candidate():
    task = tasks.read({"setup": "root = Node(1)\nroot.left = Node(2)", "tests": ["assert height(root) == 2"]})
    assert tasks.remote_names(task) == (["Node", "height"], [])
    task = tasks.read({"tests": ["assert size((1,)) == sys.getsizeof((1,)) and len([x for x in (1,)]) == 1"]})
    assert tasks.remote_names(task) == (["size"], ["sys"])
    helper = {"prompt": "def poly(x):\n    return x\n\ndef zero(x):\n", "entry_point": "zero"}
    task = tasks.read({**helper, "tests": ["assert poly(zero(1)) == 0"]})
    assert tasks.remote_names(task) == (["zero"], [])
    assert tasks.remote_names(tasks.read({"tests": ["assert candidate(y) == 1"]})) == (["candidate", "y"], [])


def test_empty_columns_of_a_table_say_nothing():
    columns = {"mode": None, "prompt": None, "test": None, "limits": None, "stdin": None}
    assert tasks.read({**columns, "tests": ["assert f(1) == 2"]}).mode == "calls"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("72", "must be a mapping"),
        ({}, "must be a list of assertions"),
        ({"tests": []}, "no tests"),
        ({"tests": ["  "]}, "no tests"),
        ({"tests": "assert f(1) == 1"}, "must be a list of assertions"),
        ({"tests": ["assert f(1"]}, "no Python"),
        ({"tests": ["assert f(1) == 1"], "mode": "pytest"}, "must be one of stdio, calls, check, inprocess"),
        ({"tests": ["assert f(x) == 1"], "mode": "calls"}, "use 'check'"),
        ({"mode": "stdio", "tests": []}, "at least one"),
        ({"mode": "stdio", "tests": [{"stdin": 1, "stdout": ""}]}, "a test must be"),
        ({"mode": "stdio", "tests": [{"stdin": "", "stdout": ""}], "tolerance": 2}, "tolerance"),
        ({"tests": ["assert f(1) == 1"], "language": "c"}, "must have the mode 'stdio'"),
        ({"tests": ["assert f(1) == 1"], "limits": 3}, "'limits'"),
        ({"tests": ["assert f(1) == 1"], "entrypoint": "f"}, "unknown keys"),
        ({"test": "def check(candidate): assert True"}, "entry_point"),
        ({"test": "x = 1", "entry_point": "f"}, "check"),
        ({"tests": ["assert f(1) == 1"], "setup": 3}, "must be text"),
    ],
)
def test_an_answer_that_is_no_task_is_refused(answer, message):
    with pytest.raises(tasks.NoTaskError, match=message):
        tasks.read(answer)


def test_only_builtin_exceptions_that_end_no_loop_come_back():
    kinds = {name: type(inside._builtin_exception(["e", name, "x"])) for name in dir(__builtins__) if name[0].isupper()}
    for name in ("StopIteration", "StopAsyncIteration", "GeneratorExit", "SystemExit", "KeyboardInterrupt", "print"):
        assert kinds.get(name, RuntimeError) is RuntimeError
    assert type(inside._builtin_exception(["e", "ValueError", "x"])) is ValueError
    assert type(inside._builtin_exception(["e", "UnicodeDecodeError", "x"])) is RuntimeError  # It needs five arguments.
    for odd in (["e"], ["e", None], ["e", ["l"], {}], ["e", "Mine", None, 3]):
        assert type(inside._builtin_exception(odd)) is RuntimeError


def test_escapes_of_which_python_warns_are_no_fault_of_the_tests():
    """A SyntaxWarning from Python 3.12 on, a DeprecationWarning before; warnings are errors in the context."""
    answer = {"tests": [r"assert split('a*b') == re.split('\*', 'a*b')"], "setup": "import re"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tasks.read(answer).tests == tuple(answer["tests"])


def test_threads_may_parse_at_once():
    """Python 3.11 and 3.12 raise SystemErrors where a thread is interrupted while it makes a tree."""

    class Slow:
        def __init__(self):
            self.itself = self  # So that the collector finds it, in the middle of a tree.

        def __del__(self):
            time.sleep(0.002)

    text = "\n".join(f"assert f([{i}, (1, (2, (3, (4, [5]))))]) == [[[1]]] + (2 * (3 + (4 - 5)))" for i in range(20))

    def parse(_):
        gc.disable()
        for _ in range(20):
            Slow()
        gc.enable()
        return len(tasks.parsed(text).body)

    thresholds = gc.get_threshold()
    gc.set_threshold(500)
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            assert list(threads.map(parse, range(100))) == [20] * 100
    finally:
        gc.set_threshold(*thresholds)
