"""What runs inside the jails: it loads the candidate, answers calls, serves the tests, or runs them.

The file is trusted in the jail of the tests only. Beside a candidate it may be tampered with as the candidate likes:
what it says from there is the candidate's claim. Messages are a length (four bytes, little-endian) and an encoded
value. Foreign code is called here, so here, and nowhere else on this floor, anything may be caught.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

from verifiers.judging.plain_data import NotPlainError, decode, dumps, encode, loads

MOST_AT_ONCE = 16 << 20  # Bytes of one message that the tests' jail reads,
MOST_IN_ALL = 64 << 20  # and of all.
_MUTABLE = (list, dict, set, bytearray)


# ------------------------------------------------------------------------------------ beside the candidate


def answer_calls(request: bytes, channels: Sequence[int]) -> None:
    """Loads the program and writes what each call returns into the file `channels[0]`, which does not grow."""
    (result,) = channels
    prelude, program, calls = loads(request)
    room = os.fstat(result).st_size - 8

    def say(tree: list) -> None:
        nonlocal room
        data = dumps(tree)
        if len(data) + 64 > room:  # So that this can still be said, once.
            data = dumps(["large"])
        room -= len(data) + 4
        _write(result, data)

    namespace = _load([*prelude, program], say)
    for name, args, kwargs in calls:
        try:
            if name not in namespace:
                raise NameError(f"the program does not define {name}")
            value = namespace[name](*[decode(arg) for arg in args], **{key: decode(arg) for key, arg in kwargs})
            say(["v", encode(value, None)])
        except NotPlainError:
            say(["v", ["o", _name(value), bool(value)]])
        except BaseException as error:
            say(_described(error))
    os._exit(0)


def serve(request: bytes, channels: Sequence[int]) -> None:
    """Loads the program and answers what the tests ask through two pipes, until they are done."""
    requests, replies = channels
    prelude, program = loads(request)
    namespace = _load([*prelude, program], lambda tree: _write(replies, dumps(tree)))
    objects: list[Any] = []
    numbers: dict[int, int] = {}

    def refer(value: Any) -> int:
        if id(value) not in numbers:  # Kept alive in `objects`, so that no other gets its id.
            numbers[id(value)] = len(objects)
            objects.append(value)
        return numbers[id(value)]

    def answer(question: list) -> list:
        operation, *rest = question
        if operation == "name":
            return ["v", encode(namespace[rest[0]], refer), []]
        target = objects[rest[0]]
        if operation == "call":
            args = [decode(arg, objects.__getitem__) for arg in rest[1]]
            kwargs = {key: decode(arg, objects.__getitem__) for key, arg in rest[2]}
            given = [*enumerate(args), *kwargs.items()]
            before = {key: encode(arg, refer) for key, arg in given if isinstance(arg, _MUTABLE)}
            value = encode(target(*args, **kwargs), refer)
            after = [[key, encode(arg, refer)] for key, arg in given if key in before]
            return ["v", value, [change for change in after if change[1] != before[change[0]]]]
        if operation == "get":
            return ["v", encode(getattr(target, rest[1]), refer), []]
        if operation == "set":
            setattr(target, rest[1], decode(rest[2], objects.__getitem__))
            return ["v", None, []]
        if operation == "iter":
            return ["v", ["R", refer(iter(target))], []]
        try:
            return ["v", encode(next(target), refer), []]
        except StopIteration:
            return ["end"]

    while (data := _read(requests)) is not None:
        try:
            reply = dumps(answer(loads(data)))
        except BaseException as error:
            reply = dumps(_described(error))
        _write(replies, reply)
    os._exit(0)


def share_a_process(request: bytes, channels: Sequence[int]) -> None:
    """Runs program and tests in one process, which the program can deceive."""
    (result,) = channels
    prelude, program, setup, tests = loads(request)

    def say(tree: list) -> None:
        _write(result, dumps(tree))

    namespace = _load([*prelude, program], say)
    for code in [setup, *tests]:
        try:
            _execute(code, namespace, "tests.py")
            passed, why = True, ""
        except BaseException as error:
            passed, why = False, _line(error)
        if code is setup:
            if not passed:
                say(["fail", why])
                os._exit(0)
        else:
            say(["pass" if passed else "fail", why])
    if "unittest" in sys.modules:
        import unittest

        suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[namespace["__name__"]])
        if suite.countTestCases():
            outcome = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
            wrong = outcome.failures + outcome.errors
            say(["fail" if wrong else "pass", str(wrong[0][1])[-300:] if wrong else ""])
    os._exit(0)


def _load(sources: list, say: Any) -> dict:
    """The namespace that the program makes, once the others have run in it. Says whether it worked."""
    module = types.ModuleType("candidate")
    namespace = vars(module)
    namespace["__builtins__"] = builtins
    sys.modules["candidate"] = module  # Data classes look for their module.
    try:
        for source in sources:
            _execute(source, namespace, "main.py")
    except BaseException as error:
        say(_described(error))
        os._exit(1)
    say(["ready"])
    return namespace


def _described(error: BaseException) -> list:
    return ["e", _name(error), _line(error)]


# ----------------------------------------------------------------------------------------- beside the tests


class HostileReplyInterrupt(BaseException):
    """The candidate's jail died or broke the rules of the talk: no test that is not over can pass."""


class _Peer:
    """The candidate's jail, seen from the tests'."""

    def __init__(self, replies: int, requests: int):
        self.replies, self.requests, self.left = replies, requests, MOST_IN_ALL
        self.known: dict[int, _Remote] = {}
        self.raised: list[BaseException] = []  # Those that could pass for ours.
        self.asked = 0
        self.told = False  # Whether it replied with data, of which a test may have made what cannot cross.

    def receive(self) -> list:
        try:
            data = _read(self.replies, min(MOST_AT_ONCE, self.left))
            if data is None:
                raise HostileReplyInterrupt("the program ended while it was asked")
            self.left -= len(data)
            reply = loads(data)
        except (ValueError, RecursionError, MemoryError) as error:
            raise HostileReplyInterrupt(f"an unreadable reply: {_line(error)}"[:200]) from None
        if not isinstance(reply, list) or not reply:
            raise HostileReplyInterrupt("an unreadable reply")
        return reply

    def ask(self, *question: Any, given: dict | None = None) -> Any:
        data = dumps(question)
        self.asked += 1
        try:
            _write(self.requests, data)
        except OSError:
            raise HostileReplyInterrupt("the program ended while it was asked") from None
        reply = self.receive()
        if reply[0] == "e":
            error = _builtin_exception(reply)
            if isinstance(error, ImportError):
                self.raised.append(error)
            raise error
        if reply[0] == "end" and question[0] == "next":
            raise StopIteration
        try:
            kind, value, changes = reply
            if kind != "v":
                raise ValueError(f"a reply of kind {kind!r:.20}")
            value = decode(value, self.remote)
            changed = [(given[key], decode(new, self.remote)) for key, new in changes] if given else []
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise HostileReplyInterrupt(f"an unreadable reply: {error}"[:200]) from None
        for mine, new in changed:
            _replace(mine, new)
        self.told = self.told or not isinstance(value, _Remote | None)
        return value

    def remote(self, number: int) -> _Remote:
        if type(number) is not int:
            raise ValueError("an object without a number")
        return self.known.setdefault(number, _Remote(self, number))


class _Remote:
    """An object in the candidate's jail. It can be called, iterated, and asked for attributes; it equals only itself.

    It answers no comparison, length, membership or index: an object that answers "equal", or another at each look,
    would pass tests that no plain data passes.
    """

    __slots__ = ("_number", "_peer")

    def __init__(self, peer: _Peer, number: int):
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        peer = self._peer
        named = [[key, encode(arg, _number)] for key, arg in kwargs.items()]
        given = {**dict(enumerate(args)), **kwargs}
        return peer.ask("call", self._number, [encode(arg, _number) for arg in args], named, given=given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("get", self._number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self._number, name, encode(value, _number))

    def __iter__(self) -> Any:
        return self._peer.ask("iter", self._number)

    def __next__(self) -> Any:
        return self._peer.ask("next", self._number)


def run_tests(request: bytes, channels: Sequence[int]) -> None:
    """Runs the tests on the candidate in the other jail, and writes for each whether it passed, and why not."""
    replies, requests, result = channels
    seed, prompt, setup, names, modules, tests, go_on = loads(request)
    importlib.import_module("random").seed(seed)  # What tests choose at random, the candidate does not foresee.
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    namespace = vars(module)
    peer = _Peer(replies, requests)
    found: list[list[str]] = []
    failed = False
    try:
        for name in modules:
            namespace[name] = importlib.import_module(name)
        _execute(prompt, namespace, "prompt.py")
        reply = peer.receive()
        if reply[0] != "ready":
            words = [word for word in reply[1:3] if isinstance(word, str)]
            raise HostileReplyInterrupt(f"the program does not load: {': '.join(words)}"[:300])
        for name in names:
            namespace[name] = _named(peer, name)
        if names:
            namespace.setdefault("candidate", namespace[names[0]])
        _execute(setup, namespace, "setup.py")
        told = peer.told
        for test in tests:
            peer.told = told
            kind, why = _tried(test, namespace, peer)
            found.append([kind, "" if failed else why])  # One is enough, and they take room.
            failed = failed or kind != "pass"
            if kind == "ours" or (kind == "fail" and not go_on):
                break
        if not failed and not peer.told and peer.asked == len(names):  # For names alone.
            found = [["ours", "the tests ask nothing of the program: every program would pass"]]
    except HostileReplyInterrupt as error:
        found.append(["fail", str(error)[:300]])
    except BaseException as error:
        found.append(["ours" if not peer.asked or _is_ours(error, peer) else "fail", _line(error)])
    _write(result, dumps(found))
    os._exit(0)


def run_checker(request: bytes, channels: Sequence[int]) -> None:
    """Runs a problem's `check(stdin, stdout, expected)`, and writes whether it accepts."""
    (result,) = channels
    checker, stdin, stdout, expected = loads(request)
    namespace: dict = {"__name__": "checker", "__builtins__": builtins}
    check = None
    try:
        _execute(checker, namespace, "tests.py")
        check = namespace["check"]
        verdict = check(stdin, stdout, expected)
        if not verdict:  # What `match and ...` returns of an output that does not match is no reward either.
            tree = ["v", False]
        else:
            tree = ["v", True] if verdict is True else ["wrong", f"it returned a {_name(verdict)}"]
    except BaseException as error:  # Most likely the output is such that the checker cannot read it.
        ours = check is None or isinstance(error, ImportError)
        tree = ["wrong", _line(error)] if ours else ["v", False, _line(error)]
    _write(result, dumps(tree))
    os._exit(0)


def _tried(test: str, namespace: dict, peer: _Peer) -> list[str]:
    try:
        _execute(test, namespace, "test.py")
        return ["pass", ""]
    except HostileReplyInterrupt:
        raise
    except BaseException as error:
        return ["ours" if _is_ours(error, peer) else "fail", f"{_line(error)} in {_source_line(error, test)!r}"[:300]]


def _source_line(error: BaseException, test: str) -> str:
    """The last line of the test's code that an exception went through."""
    lines, found, trace = test.splitlines(), "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "test.py" and trace.tb_lineno <= len(lines):
            found = lines[trace.tb_lineno - 1].strip()
        trace = trace.tb_next
    return found[:120]


def _is_ours(error: BaseException, peer: _Peer) -> bool:
    """Whether the tests ask for what the jails cannot do: nothing that a candidate replies leads here. Were a method of
    a list that it returned for an object, passed on by a test, our fault, it would cost the program nothing.
    """
    if isinstance(error, NotPlainError):
        return not peer.told
    return isinstance(error, ImportError) and not any(error is theirs for theirs in peer.raised)


def _named(peer: _Peer, name: str) -> Any:
    """What the candidate calls `name`; what it does not define raises once it is called."""
    try:
        return peer.ask("name", name)
    except KeyError:

        def missing(*args: Any, **kwargs: Any) -> None:
            raise NameError(f"the program does not define {name}")

        return missing


def _number(value: Any) -> int:
    if type(value) is _Remote:
        return object.__getattribute__(value, "_number")
    raise NotPlainError(f"a test passes a {type(value).__name__}, which cannot cross to the program's jail")


def _builtin_exception(reply: list) -> Exception:
    """The exception that the candidate raised, if it is a built-in one. What ends an iteration is none: it would cut
    a loop of the tests short, and all() of nothing is true.
    """
    name, message = (*reply[1:3], "", "")[:2]
    kind = vars(builtins).get(name) if isinstance(name, str) else None
    if (
        not isinstance(kind, type)
        or not issubclass(kind, Exception)
        or issubclass(kind, StopIteration | StopAsyncIteration)
    ):
        return RuntimeError(f"{name}: {message}"[:300])
    try:
        return kind(str(message)[:300])
    except TypeError:
        return RuntimeError(f"{name}: {message}"[:300])


def _replace(mine: Any, new: Any) -> None:
    """What the candidate did to an argument happens to the tests' own object."""
    if type(mine) is not type(new):
        return
    if isinstance(mine, list | bytearray):
        mine[:] = new
    elif isinstance(mine, dict | set):
        mine.clear()
        mine.update(new)


# ------------------------------------------------------------------------------------------------- messages


def _execute(source: str, namespace: dict, name: str) -> None:
    exec(compile(source, name, "exec", dont_inherit=True), namespace)


def _line(error: BaseException) -> str:
    """One line on an exception. Its text is foreign code, too."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("main.py", "tests.py"):
            where = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{_name(error)}{where}: {text}".removesuffix(": ")[:300]


def _name(value: object) -> str:
    return type(value).__name__[:60]


def _read(descriptor: int, most: int = MOST_AT_ONCE) -> bytes | None:
    """One message; None at its end, or where one is longer than allowed."""
    head = _exactly(descriptor, 4)
    if head is None or int.from_bytes(head, "little") > most:
        return None
    return _exactly(descriptor, int.from_bytes(head, "little"))


def _exactly(descriptor: int, count: int) -> bytes | None:
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 16))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    data = len(data).to_bytes(4, "little") + data
    while data:
        data = data[os.write(descriptor, data) :]
