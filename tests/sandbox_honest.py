"""Programs of people who mean no harm: what they use must simply work, wherever the level's table says so."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Honest:
    """A program, what it must print, and the feature of the level that it needs."""

    name: str
    program: str
    prints: str
    needs: str = ""
    stdin: bytes = b""


ALL = [
    Honest(
        "asyncio",
        """\
import asyncio
async def f():
    await asyncio.sleep(0.01)
    return 5
print(asyncio.run(f()))
""",
        "5",
    ),
    Honest(
        "asyncio_gather",
        """\
import asyncio
async def f(i):
    await asyncio.sleep(0)
    return i
async def main(): return await asyncio.gather(*map(f, range(3)))
print(asyncio.run(main()))
""",
        "[0, 1, 2]",
    ),
    Honest(
        "threads",
        """\
import threading
r = []
ts = [threading.Thread(target=r.append, args=(i,)) for i in range(8)]
[t.start() for t in ts]
[t.join() for t in ts]
print(sorted(r))
""",
        "[0, 1, 2, 3, 4, 5, 6, 7]",
    ),
    Honest(
        "thread_pool",
        """\
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(32) as e: print(sum(e.map(lambda x: x * x, range(100))))
""",
        "328350",
    ),
    Honest(
        "thread_that_ends_last",
        """\
import threading, time
def f():
    time.sleep(0.05)
    print('late')
threading.Thread(target=f).start()
""",
        "late",
    ),
    Honest(
        "stack_of_512_mb",
        """\
import sys, threading
sys.setrecursionlimit(10 ** 6)
threading.stack_size(512 << 20)
def f(n): return 0 if n == 0 else 1 + f(n - 1)
t = threading.Thread(target=lambda: print(f(50000)))
t.start()
t.join()
""",
        "50000",
    ),
    Honest(
        "deep_recursion",
        """\
import sys
sys.setrecursionlimit(10 ** 6)
def f(n): return 0 if n == 0 else 1 + f(n - 1)
print(f(30000))
""",
        "30000",
    ),
    Honest(
        "queue",
        """\
import queue, threading
q = queue.Queue()
threading.Thread(target=q.put, args=(1,)).start()
print(q.get())
""",
        "1",
    ),
    Honest(
        "input",
        """\
n = int(input())
print(sum(map(int, input().split())))
""",
        "6",
        stdin=b"3\n1 2 3\n",
    ),
    Honest("stdin_open_0", "print(len(open(0).read()))", "12", stdin=b"hello world\n"),
    Honest(
        "stdin_buffer",
        """\
import sys
print(len(sys.stdin.buffer.read().split()))
""",
        "2",
        stdin=b"hello world\n",
    ),
    Honest(
        "stdin_readline",
        """\
import sys
input = sys.stdin.readline
print(int(input()) + 1)
""",
        "42",
        stdin=b"41\n",
    ),
    Honest(
        "stdin_readlines",
        """\
import sys
print([l.strip() for l in sys.stdin.readlines()])
""",
        "['a', 'b']",
        stdin=b"a\nb",
    ),
    Honest(
        "stdin_os_read",
        """\
import io, os
print(io.BytesIO(os.read(0, os.fstat(0).st_size)).readline())
""",
        "b'hello'",
        stdin=b"hello",
    ),
    Honest(
        "stdin_lines",
        """\
import sys
print(sum(int(line) for line in sys.stdin))
""",
        "6",
        stdin=b"1\n2\n3\n",
    ),
    Honest("stdin_dev", "print(open('/dev/stdin').read())", "hello", stdin=b"hello"),
    Honest("stdin_dev_path", "import pathlib\nprint(pathlib.Path('/dev/stdin').read_text())", "x", "tmp", b"x"),
    Honest(
        "stdin_fileinput",
        """\
import fileinput
print(sum(int(line) for line in fileinput.input()))
""",
        "3",
        needs="imports",
        stdin=b"1\n2\n",
    ),
    Honest(
        "stdin_until_eof",
        """\
n = 0
try:
    while True:
        input()
        n += 1
except EOFError: print(n)
""",
        "2",
        stdin=b"a\nb\n",
    ),
    Honest(
        "stdin_empty",
        """\
import sys
print(repr(sys.stdin.read()))
""",
        "''",
    ),
    Honest("stdout_closed", "import sys\nprint(1)\nsys.stdout.close()", "1"),
    Honest("stdout_none", "import sys\nprint(1, flush=True)\nsys.stdout = None", "1"),
    Honest(
        "stdout_put_aside",
        """\
import io, sys
aside, sys.stdout = sys.stdout, io.StringIO()
print(6 * 7)
aside.write(sys.stdout.getvalue())
""",
        "42",
    ),
    Honest(
        "stdout_of_its_own",
        """\
import os, sys
class Out:
    text = ""
    def write(self, text): self.text += text
    def flush(self): os.write(1, self.text.encode()); self.text = ""
sys.stdout = Out()
print(42)
""",
        "42",
    ),
    Honest("stdout_never_closed", "out = open(1, 'w')\nout.write('42')", "42"),
    Honest("destructor_at_the_end", "class A:\n    def __del__(self): print(42)\na = A()", "42"),
    Honest(
        "daemon_at_the_end",
        """\
import threading
x = 42
def work():
    while True: assert x
threading.Thread(target=work, daemon=True).start()
print(x)
""",
        "42",
    ),
    Honest("file_name", "print(__file__[-3:])", ".py"),
    Honest(
        "exit",
        """\
print(1)
exit()
""",
        "1",
    ),
    Honest(
        "quit",
        """\
print(1)
quit(0)
""",
        "1",
    ),
    Honest(
        "sys_exit",
        """\
import sys
print(1)
sys.exit()
""",
        "1",
    ),
    Honest("main_guard", "if __name__ == '__main__': print('main')", "main"),
    Honest(
        "exit_functions",
        """\
import atexit
atexit.register(print, 'bye')
print('hello')
""",
        "hello\nbye",
    ),
    Honest(
        "output_without_a_newline",
        """\
import sys
sys.stdout.write('end')
""",
        "end",
    ),
    Honest("unicode", "print('日本語 🎉 ñ')", "日本語 🎉 ñ"),
    Honest("much_output", "print('x' * 500000)", "x" * 500000),
    Honest(
        "temporary_file",
        """\
import tempfile
with tempfile.TemporaryFile() as f:
    f.write(b'x')
    print(f.tell())
""",
        "1",
        needs="tmp",
    ),
    Honest(
        "temporary_folder",
        """\
import os, tempfile
with tempfile.TemporaryDirectory() as d:
    open(os.path.join(d, 'a'), 'w').write('x')
    print(os.listdir(d))
""",
        "['a']",
        needs="tmp",
    ),
    Honest(
        "write_and_read",
        """\
open('a.txt', 'w').write('x')
print(open('a.txt').read())
""",
        "x",
        needs="tmp",
    ),
    Honest(
        "copy_a_file",
        """\
import shutil
open('a', 'w').write('x')
shutil.copy2('a', 'b')
print(open('b').read())
""",
        "x",
        needs="tmp",
    ),
    Honest(
        "sqlite",
        """\
import sqlite3
c = sqlite3.connect(':memory:')
c.execute('create table t(a)')
print(c.execute('select count(*) from t').fetchone())
""",
        "(0,)",
    ),
    Honest(
        "sqlite_file",
        """\
import sqlite3
c = sqlite3.connect('x.db')
c.execute('create table t(a)')
c.commit()
print(c.execute('select count(*) from t').fetchone())
""",
        "(0,)",
        needs="tmp",
    ),
    Honest(
        "dataclass_and_pickle",
        """\
import dataclasses, pickle
@dataclasses.dataclass
class A: x: int
print(pickle.loads(pickle.dumps(A(3))))
""",
        "A(x=3)",
    ),
    Honest(
        "annotations",
        """\
from __future__ import annotations
from typing import List, get_type_hints
def f(x: List[int]) -> int: return len(x)
print(f([1]), get_type_hints(f)['return'])
""",
        "1 <class 'int'>",
    ),
    Honest(
        "enum",
        """\
import enum
class C(enum.Enum): A = 1
print(C.A)
""",
        "C.A",
    ),
    Honest(
        "alarm",
        """\
import signal
def f(*a): raise TimeoutError
signal.signal(signal.SIGALRM, f)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    for _ in iter(int, 1): pass
except TimeoutError: print('alarm')
""",
        "alarm",
    ),
    Honest(
        "processors",
        """\
import multiprocessing, os
print(os.cpu_count() > 0, multiprocessing.cpu_count() > 0)
""",
        "True True",
    ),
    Honest(
        "seeded_random",
        """\
import random
random.seed(0)
print(random.randint(0, 100))
""",
        "49",
    ),
    Honest(
        "randomness",
        """\
import os, secrets, uuid
print(len(os.urandom(8)), len(secrets.token_hex(4)), len(str(uuid.uuid4())))
""",
        "8 8 36",
    ),
    Honest(
        "now",
        """\
import datetime, time
print(datetime.datetime.now().year > 2000, time.time() > 1e9, time.tzname[0])
""",
        "True True UTC",
    ),
    Honest(
        "zoneinfo",
        """\
import datetime, zoneinfo
print(datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Paris')).utcoffset())
""",
        "1:00:00",
        needs="imports",
    ),
    Honest(
        "strptime",
        """\
import datetime
print(datetime.datetime.strptime('2020-01-02', '%Y-%m-%d').day)
""",
        "2",
    ),
    Honest(
        "mmap",
        """\
import mmap
m = mmap.mmap(-1, 1 << 20)
print(len(m))
""",
        "1048576",
    ),
    Honest(
        "hashes",
        """\
import base64, hashlib, zlib
print(hashlib.sha256(b'').hexdigest()[:4], zlib.crc32(b'a'), base64.b64encode(b'a'))
""",
        "e3b0 3904355907 b'YQ=='",
    ),
    Honest(
        "ctypes",
        """\
import ctypes
print(ctypes.sizeof(ctypes.c_int))
""",
        "4",
    ),
    Honest(
        "decimal",
        """\
from decimal import *
getcontext().prec = 5
print(Decimal(1) / 3)
""",
        "0.33333",
    ),
    Honest(
        "garbage",
        """\
import gc
print(gc.isenabled(), gc.collect() >= 0)
""",
        "True True",
    ),
    Honest(
        "late_import",
        """\
import xml.dom.minidom
print(xml.dom.minidom.parseString('<a/>').documentElement.tagName)
""",
        "a",
    ),
    Honest(
        "rare_import",
        """\
import wsgiref.util
print('found')
""",
        "found",
        needs="imports",
    ),
    Honest(
        "compiled_import",
        """\
import _lsprof, _zoneinfo
print('found')
""",
        "found",
        needs="imports",
    ),
    Honest(
        "unittest",
        """\
import unittest
class T(unittest.TestCase):
    def test(self): self.assertEqual(1, 1)
print(unittest.main(exit=False, argv=['x']).result.wasSuccessful())
""",
        "True",
    ),
    Honest(
        "contest_imports",
        """\
import bisect, collections, functools, heapq, itertools, math, operator, os, random, re, string, sys
from collections import *
print(Counter('aab').most_common(1))
""",
        "[('a', 2)]",
    ),
    Honest(
        "printed_to_stderr",
        """\
import sys
print('debug', file=sys.stderr)
print(1)
""",
        "1",
    ),
    Honest(
        "own_pid",
        """\
import os, signal
os.kill(os.getpid(), 0)
print('alive')
""",
        "alive",
    ),
    Honest(
        "caught_memory_error",
        """\
try: x = bytearray(1 << 40)
except MemoryError: print('caught')
""",
        "caught",
    ),
    Honest(
        "string_hashes_are_fixed",
        """\
print(hash('assay') == hash('assay'), list({'a', 'b', 'c'}) == list({'a', 'b', 'c'}))
""",
        "True True",
    ),
    Honest(
        "long_integers",
        """\
import sys
sys.set_int_max_str_digits(0)
print(len(str(7 ** 10000)))
""",
        "8451",
    ),
    Honest(
        "locale",
        """\
import locale
locale.setlocale(locale.LC_ALL, '')
print(locale.getpreferredencoding())
""",
        "UTF-8",
        needs="imports",
    ),
]
