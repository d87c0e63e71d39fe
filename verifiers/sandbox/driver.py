"""Runs one program inside its jail: what CPython does at its start and its end, without the 7 ms.

Nothing that happens here is trusted by the judge: the program shares this process.
"""

from __future__ import annotations

import _sitebuiltins
import ast
import atexit
import builtins
import contextlib
import importlib
import io
import json
import linecache
import os
import random
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable

NAME = "main.py"
_streams: list[io.TextIOWrapper] = []  # Standard input, output and error.
_first_streams = (sys.stdin, sys.stdout, sys.stderr)  # Kept: to end them in each child takes time.
# Sees to the threads that a fork lost. The fork-server has none, so for its own children this takes time for nothing;
# a program that forks needs it.
_after_fork = vars(threading)["_after_fork"]
_after_fork_code = _after_fork.__code__


def prepare() -> None:
    """What `site` would have added to the built-in names; once, in the fork-server."""
    sys.executable = os.path.realpath(sys.executable)  # The jail has the interpreter, and no virtual environment.
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    builtins.help = _sitebuiltins._Helper()
    _streams.extend(_standard_streams())
    _after_fork.__code__ = _nothing.__code__


def _nothing() -> None:
    return


def run(entry: str, channels: int) -> None:
    """Runs what the last descriptor holds, and ends this process.

    Args:
      entry: "" for a program, or "module:function" of a harness, which gets the program's bytes and the descriptors
        of its channels.
      channels: how many descriptors the program has besides the first three; they are 3, 4, ...
    """
    _after_fork.__code__ = _after_fork_code
    header, files, program = _unpack(3 + channels)
    for name, mode, content in files:
        folder = os.path.dirname(name)
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
    if any(b"/dev/stdin" in text for text in (program, *(content for _, _, content in files))):
        _provide_dev_stdin()
    if header["argv"]:
        for descriptor in range(3 + channels):
            os.set_inheritable(descriptor, True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores them, and others would inherit that.
        try:
            os.execve(header["argv"][0], header["argv"], os.environ)
        except OSError as error:
            os.write(2, f"{header['argv'][0]}: {error.strerror}\n".encode())
            os._exit(126)
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = _streams
    random.seed(0)  # A verdict can be had a second time.
    sys.argv = [NAME]
    if entry:
        module, _, function = entry.partition(":")
        harness = getattr(importlib.import_module(module), function)
        finish(guarded(lambda: harness(program, tuple(range(3, 3 + channels))), program), {})
    names = fresh_main()
    names["__file__"] = NAME
    finish(guarded(lambda: execute(program, names), program), names)


def _unpack(descriptor: int) -> tuple[dict, list[tuple[str, int, bytes]], bytes]:
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, size, 0)
    while len(data) < size:
        data += os.pread(descriptor, size - len(data), len(data))
    os.close(descriptor)
    at = 4 + int.from_bytes(data[:4], "little")
    header = json.loads(data[4:at]) if at > 4 else {"files": [], "argv": []}
    files = []
    for name, mode, length in header["files"]:
        files.append((name, mode, data[at : at + length]))
        at += length
    return header, files, data[at:]


def _standard_streams() -> list[io.TextIOWrapper]:
    """Of the descriptors 0, 1 and 2, whatever they will be: made once, since it takes as long as a small program."""
    stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "rb", closefd=False)), "utf-8", "surrogateescape")
    stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "wb", closefd=False)), "utf-8", "surrogateescape")
    errors = io.BufferedWriter(io.FileIO(2, "wb", closefd=False))
    return [stdin, stdout, io.TextIOWrapper(errors, "utf-8", "backslashreplace", line_buffering=True)]


def _provide_dev_stdin() -> None:
    """There is no /proc here for /dev/stdin to lead to: it leads to a copy, where files may be written."""
    copy = ""
    with contextlib.suppress(OSError):
        copy = os.readlink("/dev/stdin")
    if copy and os.path.dirname(copy) == os.getcwd():  # Else it is the system's, which leads elsewhere.
        try:
            with open(copy, "wb") as file:
                file.write(os.pread(0, os.fstat(0).st_size, 0))
        except OSError:  # It is larger than a file may be, and a part of the input is worse than none.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)
    original = builtins.open

    def opened(file, *arguments, **keywords):
        return original(0 if file == "/dev/stdin" else file, *arguments, **keywords)

    builtins.open = opened


def fresh_main() -> dict:
    """The names of a new `__main__`."""
    module = types.ModuleType("__main__")
    vars(module)["__builtins__"] = builtins
    sys.modules["__main__"] = module
    return module.__dict__


def execute(program: bytes, names: dict, file: str = NAME) -> None:
    """Runs a program's text in a namespace. Raises whatever it raises."""
    exec(compile(program, file, "exec", dont_inherit=True), names)


def interact(program: bytes, names: dict, file: str) -> None:
    """Runs a program's text in a namespace, and shows the value of a last expression. Raises whatever it raises."""
    tree = ast.parse(program, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec", dont_inherit=True), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), file, "eval", dont_inherit=True), names)
        if value is not None:
            sys.stdout.write(f"{value!r}\n")


def guarded(action: Callable[[], object], program: bytes, file: str = NAME) -> int:
    """Runs `action`, the text `program` of `file`; the exit code that CPython would end with."""
    try:
        action()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException as error:  # The program's, which may raise anything; so may its hooks.
        try:
            text = program.decode("utf-8", "replace")
            linecache.cache[file] = (len(text), None, text.splitlines(True), file)
            trace = error.__traceback__
            while trace and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next  # The lines of ours are nothing to the reader.
            if sys.excepthook is sys.__excepthook__:
                traceback.print_exception(error.with_traceback(trace))  # It knows the program's lines.
            else:
                sys.excepthook(type(error), error, trace)
        except BaseException:  # Of the program's hook, or of what its error prints.
            return 1
        return 1
    return 0


def finish(code: int, names: dict) -> None:
    """Ends this process as CPython does: threads, exit functions, then what is still to be written, and at last the
    `names` of the program: a file that nothing names any more is written."""
    for step in (vars(threading)["_shutdown"], atexit._run_exitfuncs):
        try:
            step()
        except BaseException:  # Exit functions are the program's.
            code = code or 1
    streams = vars(sys)
    for name in ("stdout", "stderr"):
        if not _flushed(streams.get(name)):
            code = code or 120
    if threading.active_count() == 1:  # Else a daemon would see them go.
        streams |= {"stdout": streams.get("__stdout__"), "stderr": streams.get("__stderr__")}
        for name in [name for name in names if type(name) is str and name != "__builtins__"]:
            names[name] = None
    for name in ("__stdout__", "__stderr__"):
        _flushed(streams.get(name))
    os._exit(code & 255)


def _flushed(stream: io.IOBase | None) -> bool:
    """Whether all that was printed there has been written. It may be a thing of the program's, with any methods."""
    try:
        if stream is not None and not (isinstance(stream, io.IOBase) and stream.closed):
            stream.flush()
    except BaseException:  # Of a thing of the program's.
        return False
    return True
