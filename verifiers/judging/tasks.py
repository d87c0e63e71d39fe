"""Reads `Problem.answer`: which tests a program must pass, and in which mode they are judged."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from verifiers.sandbox.languages import LANGUAGES

_MODES = ("stdio", "calls", "check", "inprocess")
_KEYS = {
    "mode", "tests", "setup", "entry_point", "prompt", "test", "limits", "language", "checker", "tolerance", "task_id",
}  # fmt: skip

_parsing = threading.RLock()  # What is collected meanwhile may parse, too.


class NoTaskError(ValueError):
    """A problem's answer is no task: what is wrong with it, and what is allowed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Io:
    """Text in, text out."""

    stdin: str
    stdout: str


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """`function(*args, **kwargs)` of literals, and what must hold of its result.

    Attributes:
      relation: "==" or "is" `expected`, or "true" or "false" as a condition.
    """

    function: str
    args: tuple
    kwargs: Mapping[str, Any]
    relation: str
    expected: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What a program must do.

    Attributes:
      mode: "stdio", "calls", "check" or "inprocess".
      tests: `Io` for stdio, `Call` for calls, else test code.
      setup: code that runs before the tests, beside them.
      prompt: code that precedes the program where it does not define the entry point.
      entry_point: the function that is asked for, where the answer names it.
      language: of the program.
      limits: keyword arguments of `sandbox.Limits`.
      checker: stdio: source of `check(stdin, stdout, expected) -> bool`, which compares instead of us.
      tolerance: stdio: largest absolute or relative difference between numbers.
    """

    mode: str
    tests: Sequence[Io] | Sequence[Call] | Sequence[str]
    setup: str = ""
    prompt: str = ""
    entry_point: str | None = None
    language: str = "python"
    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    checker: str | None = None
    tolerance: float = 0.0


def read(answer: Any) -> Task:
    """The task that an answer states.

    Args:
      answer: `{"mode": "stdio", "tests": [{"stdin": s, "stdout": s}]}`, `{"mode": "calls" | "check" | "inprocess",
        "setup": s, "tests": ["assert f(1) == 2"], "entry_point": s}`, or HumanEval's `{"prompt", "test",
        "entry_point"}`; with optional "limits", "language", and for stdio "checker" or "tolerance". Without a mode it
        is calls if all tests are literal, else check.

    Raises:
      NoTaskError: it is none of these, or has no tests.
    """
    if not isinstance(answer, Mapping):
        raise NoTaskError(f"the problem's answer must be a mapping with tests, got {answer!r:.80}")
    answer = {key: value for key, value in answer.items() if value is not None}  # Columns of a table are all there.
    if unknown := sorted(str(key) for key in answer.keys() - _KEYS):
        raise NoTaskError(f"the problem's answer has unknown keys {unknown}; known are {sorted(_KEYS)}")
    mode = answer.get("mode")
    if mode is not None and mode not in _MODES:
        raise NoTaskError(f"the problem's answer has the mode {mode!r:.40}; it must be one of {', '.join(_MODES)}")
    shared = {
        "prompt": _text(answer, "prompt"),
        "setup": _text(answer, "setup"),
        "entry_point": _text(answer, "entry_point") or None,
        "language": _text(answer, "language") or "python",
        "limits": _limits(answer.get("limits")),
    }
    language, known = shared["language"], ("python", *LANGUAGES)
    if language not in known:
        raise NoTaskError(
            f"the problem's answer has the language {language!r:.40}; it must be one of {', '.join(known)}"
        )
    if mode == "stdio":
        return _stdio(answer, shared)
    if language != "python":
        raise NoTaskError(f"tests of the language {language!r:.40} must have the mode 'stdio'")
    if "test" in answer:
        whole, calls = _human_eval(_text(answer, "test"), shared["entry_point"])
        return _function([whole], mode, shared, calls)
    tests = answer.get("tests")
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not all(isinstance(test, str) for test in tests):
        raise NoTaskError(f"'tests' must be a list of assertions, got {tests!r:.80}")
    return _function(tests, mode, shared)


def _text(answer: Mapping, key: str) -> str:
    value = answer.get(key) or ""
    if not isinstance(value, str):
        raise NoTaskError(f"{key!r} of the problem's answer must be text, got {value!r:.80}")
    return value


def _limits(limits: Any) -> Mapping[str, Any]:
    if limits is None:
        return {}
    if not isinstance(limits, Mapping):
        raise NoTaskError(f"'limits' must map names of sandbox.Limits to numbers, got {limits!r:.80}")
    return limits


def _stdio(answer: Mapping, shared: dict) -> Task:
    tests = answer.get("tests")
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not tests:
        raise NoTaskError(f"'tests' must be a list of at least one {{'stdin': s, 'stdout': s}}, got {tests!r:.80}")
    for test in tests:
        if not isinstance(test, Mapping) or not all(isinstance(test.get(key), str) for key in ("stdin", "stdout")):
            raise NoTaskError(f"a test must be {{'stdin': s, 'stdout': s}}, got {test!r:.80}")
    tolerance, checker = answer.get("tolerance") or 0.0, _text(answer, "checker") or None
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < 1 or (tolerance and checker):
        raise NoTaskError(f"'tolerance' must lie in [0, 1), and stand without 'checker', got {tolerance!r:.40}")
    io = tuple(Io(test["stdin"], test["stdout"]) for test in tests)
    return Task("stdio", io, checker=checker, tolerance=float(tolerance), **shared)


def _function(tests: Sequence[str], mode: str | None, shared: dict, calls: Sequence[Call] | None = None) -> Task:
    """The task of tests on a function. `calls` are what the tests consist of, where that is known already."""
    tests = tuple(test for test in tests if test.strip())
    if not tests:
        raise NoTaskError("the problem's answer has no tests: every program would pass")
    imports = all(isinstance(node, ast.Import | ast.ImportFrom) for node in _parse(shared["setup"]).body)
    each = [_calls(_parse(test), test) for test in tests] if calls is None else [calls]
    literal = imports and None not in each
    if mode == "calls" and not literal:
        odd = next((test for test, some in zip(tests, each, strict=True) if some is None), shared["setup"])
        raise NoTaskError(f"mode 'calls' needs tests `assert f(literals) == literal`, got {odd!r:.80}: use 'check'")
    if mode == "calls" or (mode is None and literal):
        return Task("calls", tuple(call for some in each for call in some or ()), **shared)
    return Task(mode or "check", tests, **shared)


def parsed(code: str) -> ast.Module:
    """`ast.parse`, one thread at a time: until Python 3.13 those that parse at once count their depth together, and a
    SystemError comes of it now and then (python/cpython#106905). Silent about an escape like "\\d" in a dataset's code,
    of which Python warns from 3.12 on, and which is a SyntaxError where warnings are errors."""
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _parse(code: str) -> ast.Module:
    try:
        return parsed(code.strip())
    except (SyntaxError, ValueError, RecursionError) as error:
        raise NoTaskError(f"the problem's tests are no Python: {error}: {code!r:.80}") from None


# ------------------------------------------------------------------------------------------ literal tests


def _human_eval(test: str, entry_point: str | None) -> tuple[str, list[Call] | None]:
    """HumanEval's test as code, and as the calls that it consists of, if it is nothing but literal ones."""
    if not entry_point:
        raise NoTaskError("an answer with 'test' must name its 'entry_point'")
    tree = _parse(test)
    checks = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    if len(checks) != 1 or len(checks[0].args.args) != 1:
        raise NoTaskError(f"'test' must define check(candidate), got {test!r:.80}")
    whole = f"{test}\n\ncheck({entry_point})"
    others = [node for node in tree.body if node is not checks[0]]
    # What is said of the test itself, and what is true of every program, asks nothing of this one.
    asked = [node for node in checks[0].body if not _idle(node)]
    if not asked or not all(isinstance(node, ast.Assign) and _value(node.value) is not None for node in others):
        return whole, None
    calls = _calls(ast.Module(asked, []), test)
    if calls is None or any(call.function != checks[0].args.args[0].arg for call in calls):
        return whole, None
    return whole, [dataclasses.replace(call, function=entry_point) for call in calls]


def _idle(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Name)
    )


def _calls(tree: ast.Module, text: str) -> list[Call] | None:
    """The calls that test code consists of; None if it is more than assertions on a function of literals."""
    calls = [_call(node) if isinstance(node, ast.Assert) else None for node in tree.body]
    ellipsis = "..." in text and any(isinstance(n, ast.Constant) and n.value is ... for n in ast.walk(tree))
    if not calls or ellipsis or None in calls:
        return None
    return [call for call in calls if call is not None]


def _call(node: ast.Assert) -> Call | None:
    test, relation, expected = node.test, "true", None
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, relation = test.operand, "false"
    elif isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        relation = "==" if isinstance(test.ops[0], ast.Eq) else "is"
        found = _value(test.comparators[0])
        if found is None or (relation == "is" and found[0] not in (None, True, False)):
            return None
        test, expected = test.left, found[0]
    if not isinstance(test, ast.Call) or not isinstance(test.func, ast.Name):
        return None
    args = [_value(arg) for arg in test.args]
    kwargs = {keyword.arg: _value(keyword.value) for keyword in test.keywords}
    if None in args or None in kwargs or None in kwargs.values():
        return None
    given = {name: value[0] for name, value in kwargs.items() if name and value}
    return Call(test.func.id, tuple(arg[0] for arg in args if arg), given, relation, expected)


def _value(node: ast.expr) -> tuple[Any] | None:
    """What a literal stands for, in a tuple; None if it is none. Sums and products of small numbers are literals."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, RecursionError):
        pass
    if isinstance(node, ast.Tuple | ast.List):
        items = [_value(item) for item in node.elts]
        if None in items:
            return None
        values = [item[0] for item in items if item]
        return (tuple(values) if isinstance(node, ast.Tuple) else values,)
    if isinstance(node, ast.BinOp):
        sides = _value(node.left), _value(node.right)
        return None if sides[0] is None or sides[1] is None else _computed(node.op, sides[0][0], sides[1][0])
    return None


def _computed(operator: ast.operator, left: Any, right: Any) -> tuple[Any] | None:
    if isinstance(left, str) or isinstance(right, str):
        both = isinstance(left, str) and isinstance(right, str) and isinstance(operator, ast.Add)
        return (left + right,) if both else None
    small = 1 << (16 if isinstance(operator, ast.Pow) else 64)
    if not all(type(side) in (int, float) and -small < side < small for side in (left, right)):
        return None
    if isinstance(operator, ast.Pow):
        return (left**right,) if type(left) is type(right) is int and 0 <= right <= 64 else None
    if isinstance(operator, ast.Div):
        return (left / right,) if right else None
    if isinstance(operator, ast.Add):
        return (left + right,)
    if isinstance(operator, ast.Sub):
        return (left - right,)
    return (left * right,) if isinstance(operator, ast.Mult) else None


# ------------------------------------------------------------------------------------------- remote names


def prelude(task: Task) -> str:
    """The prompt as code that can run: where it ends in the head of a function, the function does nothing."""
    try:
        parsed(task.prompt)
        return task.prompt
    except SyntaxError:
        whole = f"{task.prompt.rstrip()}\n    pass\n"
    try:
        parsed(whole)
        return whole
    except SyntaxError:
        return ""


def remote_names(task: Task) -> tuple[list[str], list[str]]:
    """The names that test code uses and does not bind: those of the candidate, and modules.

    A built-in name is Python's unless it is the entry point. A module of the standard library that is not called is
    that module: the official tests find it among the candidate's imports.

    Returns:
      The candidate's names, the entry point first; the modules.
    """
    used, called, bound = set(), set(), set()
    for code in (prelude(task), task.setup, *task.tests):
        for node in ast.walk(_parse(str(code))):
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, ast.alias):
                bound.add((node.asname or node.name).split(".")[0])
            elif isinstance(node, ast.ExceptHandler) and node.name:
                bound.add(node.name)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
    entry = [task.entry_point] if task.entry_point else []
    free = used - bound - {*dir(builtins), *entry}
    modules = (free & sys.stdlib_module_names) - called
    if entry:
        free -= {"candidate"}  # HumanEval's word for the entry point.
    return [*entry, *sorted(free - modules)], sorted(modules)
