"""Programs that try to break out of the sandbox, to harm others, or to stall: each with what must come of it."""

from __future__ import annotations

import dataclasses

from verifiers.sandbox import Limits

# Of time, more than any of them needs on a slow and busy machine; those that stall have less, below.
LIMITS = Limits(cpu_s=2.5, idle_s=2.5, memory_mb=192, address_mb=1024, output_kb=64, file_mb=1, tmp_mb=4)
SEVERAL = dataclasses.replace(LIMITS, processes=16)


@dataclasses.dataclass(frozen=True)
class Hostile:
    """A program and what must come of it.

    Attributes:
      name: what it tries.
      program: its text.
      statuses: one of these, in words.
      says: what it prints, where its status is "ok"; with "!" before it, what it must not print.
      needs: a feature of the level, without which it fails earlier.
      limits: of the run.
      stdin: of the run.
    """

    name: str
    program: str
    statuses: str
    says: str = ""
    needs: str = ""
    limits: Limits = LIMITS
    stdin: bytes = b""


LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nlong = ctypes.c_long\n"


def attempt(action: str, imports: str = "os") -> str:
    """A program that says whether the system let it do something."""
    return f"import {imports}\ntry:\n    {action}\n    print('DONE')\nexcept OSError as error:\n    print('denied')\n"


def syscall(number: int, *arguments: str) -> str:
    """A program that makes a system call of x86_64 and says what came of it."""
    values = "".join(f", {argument}" for argument in arguments)
    return LIBC + f"print('result', libc.syscall(long({number}){values}))\n"


STALLS = [
    Hostile("infinite_loop", "while True: pass", "limit"),
    Hostile(
        "sleep_forever",
        """\
import time
while True: time.sleep(1000)
""",
        "limit",
    ),
    Hostile(
        "naps_in_a_loop",
        """\
import time
while True: time.sleep(0.001)
""",
        "limit",
    ),
    Hostile(
        "swallow_every_signal",
        """\
import signal
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
        "limit",
    ),
    Hostile(
        "swallow_every_exception",
        """\
while True:
    try:
        while True: pass
    except BaseException: pass
""",
        "limit",
    ),
    Hostile(
        "block_every_signal",
        """\
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass
""",
        "limit",
    ),
    Hostile(
        "catastrophic_regex",
        """\
import re
re.match(r'(a+)+$', 'a' * 40 + 'b')
""",
        "limit",
    ),
    Hostile("huge_power", "print(len(str(9 ** 9 ** 9)))", "limit failed"),
    Hostile("huge_shift", "x = 1 << (1 << 40)", "limit"),
    Hostile(
        "huge_factorial",
        """\
import math
math.factorial(10 ** 7)
""",
        "limit",
    ),
    Hostile(
        "thread_that_never_ends",
        """\
import threading, time
threading.Thread(target=time.sleep, args=(999,)).start()
""",
        "limit",
    ),
    Hostile(
        "exit_function_that_never_ends",
        """\
import atexit
@atexit.register
def f():
    while True: pass
""",
        "limit",
    ),
    Hostile(
        "destructor_that_never_ends",
        """\
class A:
    def __del__(self):
        while True: pass
a = A()
del a
""",
        "limit",
    ),
    Hostile(
        "close_everything_and_spin",
        """\
import os
os.closerange(0, 1024)
while True: pass
""",
        "limit",
    ),
    Hostile(
        "stop_itself",
        """\
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
print('on')
""",
        "limit ok",
        "on",
    ),
    Hostile(
        "wait_for_itself",
        """\
import os
r, w = os.pipe()
os.read(r, 1)
""",
        "limit",
    ),
    Hostile(
        "deadlock",
        """\
import threading
lock = threading.Lock()
lock.acquire()
lock.acquire()
""",
        "limit",
    ),
    Hostile(
        "pause",
        """\
import signal
signal.pause()
""",
        "limit",
    ),
    Hostile(
        "iterate_for_ever",
        """\
import itertools
sum(itertools.repeat(1))
""",
        "limit",
    ),
    Hostile(
        "hash_collisions",
        """\
class A:
    def __hash__(self): return 1
    def __eq__(self, o): return False
{A(): 0 for _ in range(10 ** 6)}
""",
        "limit",
    ),
    Hostile("slow_compile", "exec('x = ' + '-' * 200000 + '1')", "limit failed ok"),
]

MEMORY = [
    Hostile(
        "memory_by_bytes",
        """\
x = []
while True: x.append(bytearray(1 << 20))
""",
        "limit",
    ),
    Hostile("memory_at_once", "x = b'x' * (1 << 33)", "limit"),
    Hostile(
        "memory_by_mmap",
        """\
import mmap
x = []
while True:
    m = mmap.mmap(-1, 1 << 24)
    m.write(b'x' * (1 << 24))
    x.append(m)
""",
        "limit failed",
    ),
    Hostile(
        "memory_by_memfd",
        attempt("fd = os.memfd_create('x')\n    while True: os.write(fd, bytes(1 << 20))"),
        "ok",
        "denied",
    ),
    Hostile(
        "memory_by_shared_segments", LIBC + "print('result', libc.shmget(0, long(1 << 30), 0o1600))", "ok", "result -1"
    ),
    Hostile(
        "memory_by_pipes",
        """\
import os
n = 0
try:
    while True:
        r, w = os.pipe()
        os.set_blocking(w, False)
        try:
            while True: n += os.write(w, bytes(65536))
        except BlockingIOError: pass
except OSError: print('stopped', n < 64 << 20)
""",
        "ok",
        "stopped True",
    ),
    Hostile("larger_pipes", attempt("r, w = os.pipe(); fcntl.fcntl(w, 1031, 1 << 20)", "os, fcntl"), "ok", "denied"),
    Hostile(
        "memory_by_stdout",
        """\
import os
try:
    while True: os.write(1, bytes(1 << 20))
except OSError: print('stopped')
""",
        "limit",
    ),
    Hostile(
        "sparse_stdout",
        """\
import os
os.lseek(1, 1 << 40, 0)
os.write(1, b'x')
""",
        "limit",
    ),
    Hostile(
        "locked_memory",
        LIBC
        + """\
m = ctypes.create_string_buffer(1 << 20)
print('result', libc.mlock(m, 1 << 20))
""",
        "ok",
        "result -1",
    ),
    Hostile(
        "decompression_bomb",
        """\
import zlib
d = zlib.compress(bytes(1 << 26))
x = [zlib.decompress(d) for _ in range(100)]
""",
        "limit",
    ),
    Hostile(
        "nested_list",
        """\
x = []
while True: x = [x, x]
""",
        "limit",
    ),
    Hostile(
        "string_doubling",
        """\
x = 'x'
while True: x += x
""",
        "limit",
    ),
    Hostile(
        "thread_bomb",
        """\
import threading, time
try:
    while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
except RuntimeError: print('stopped')
""",
        "ok limit",
        "stopped",
    ),
    Hostile(
        "timer_bomb",
        """\
import ctypes
libc = ctypes.CDLL(None)
t = ctypes.c_void_p()
n = 0
while n < 100000 and libc.timer_create(1, None, ctypes.byref(t)) == 0: n += 1
print('stopped', n < 1000)
""",
        "ok",
        "stopped True",
    ),
    Hostile(
        "descriptor_bomb",
        """\
import os
x = []
try:
    while True: x.append(os.dup(0))
except OSError: print('stopped', len(x) < 256)
""",
        "ok",
        "stopped True",
    ),
    Hostile(
        "epoll_bomb",
        """\
import select
x = []
try:
    while True: x.append(select.epoll())
except OSError: print('stopped', len(x) < 256)
""",
        "ok",
        "stopped True",
    ),
    Hostile(
        "cpython_internals_crash",
        """\
import ctypes
ctypes.pythonapi.PyList_SetItem(ctypes.py_object((1,)), 0, ctypes.py_object(1))
""",
        "failed",
    ),
]

DISK = [
    Hostile(
        "fill_one_file",
        """\
f = open('x', 'wb')
while True:
    f.write(bytes(1 << 20))
    f.flush()
""",
        "limit",
        needs="tmp",
    ),
    Hostile(
        "fill_many_files",
        """\
n = 0
try:
    while True:
        open(str(n), 'wb').write(bytes(1 << 18))
        n += 1
except OSError: print('stopped', n < 20)
""",
        "ok",
        "stopped True",
        needs="tmp",
    ),
    Hostile(
        "fill_inodes",
        """\
n = 0
try:
    while True:
        open(str(n), 'wb').close()
        n += 1
except OSError: print('stopped', n < 1000)
""",
        "ok",
        "stopped True",
        needs="tmp",
    ),
    Hostile(
        "deep_folders",
        """\
import os
n = 0
try:
    while True:
        os.mkdir('d')
        os.chdir('d')
        n += 1
except OSError: print('stopped', n < 1000)
""",
        "ok",
        "stopped True",
        needs="tmp",
    ),
    Hostile(
        "sparse_file",
        """\
import os
f = open('x', 'wb')
os.ftruncate(f.fileno(), 1 << 40)
""",
        "limit failed",
        needs="tmp",
    ),
    Hostile(
        "fallocate",
        """\
import os
f = open('x', 'wb')
os.posix_fallocate(f.fileno(), 0, 1 << 30)
""",
        "limit failed",
        needs="tmp",
    ),
    Hostile(
        "zip_bomb",
        """\
import zipfile
z = zipfile.ZipFile('z', 'w', zipfile.ZIP_DEFLATED)
z.writestr('a', bytes(1 << 27))
z.close()
zipfile.ZipFile('z').extractall()
""",
        "limit failed",
        needs="tmp",
    ),
]

OUTPUT = [
    Hostile(
        "flood_stdout",
        """\
import sys
while True: sys.stdout.write('x' * 65536)
""",
        "limit",
    ),
    Hostile(
        "flood_stderr",
        """\
import sys
while True: sys.stderr.write('x' * 65536)
""",
        "limit failed",
    ),
    Hostile(
        "bytes_that_are_no_text",
        """\
import os
os.write(1, bytes(range(128, 256)) + b'\\xed\\xa0\\x80')
""",
        "ok",
    ),
    Hostile("lone_surrogates", "print('\\ud800')", "ok failed"),
    Hostile(
        "stdout_led_elsewhere",
        """\
import os
os.dup2(os.open('/dev/null', 1), 1)
print('hidden')
""",
        "ok failed",
        "!hidden",
        needs="imports",  # It opens a file.
    ),
    Hostile(
        "write_to_every_descriptor",
        """\
import os
for n in range(3, 1100):
    try: os.write(n, b'{"status": 0}')
    except OSError: continue
    print('WROTE', n)
print('end')
""",
        "ok",
        "!WROTE",
    ),
    Hostile(
        "read_every_descriptor",
        """\
import os
for n in range(3, 1100):
    try: print('READ', n, os.read(n, 10))
    except OSError: continue
print('end')
""",
        "ok",
        "!READ",
    ),
    Hostile("write_on_stdin", attempt("os.write(0, b'x')"), "ok", "denied", stdin=b"input"),
    Hostile("shrink_stdin", attempt("os.ftruncate(0, 0)"), "ok", "denied", stdin=b"input"),
    Hostile("ignores_much_input", "print('done')", "ok", "done", stdin=b"y" * (8 << 20)),
    Hostile(
        "late_output_of_a_thread",
        """\
import threading, time
def f():
    while True: print('late', flush=True); time.sleep(0.01)
threading.Thread(target=f, daemon=True).start()
""",
        "ok",
    ),
    Hostile(
        "claims_a_failed_sandbox",
        """\
import os
os.write(2, b'OSError: the jail could not be closed')
os._exit(1)
""",
        "failed",
    ),
    Hostile(
        "exit_code_125",
        """\
import os
os._exit(125)
""",
        "failed",
    ),
    Hostile(
        "exit_code_256_is_0",
        """\
import sys
sys.exit(256)
""",
        "ok",
    ),
    Hostile(
        "claims_a_violation",
        """\
import os, signal
os.kill(os.getpid(), signal.SIGSYS)
print('on')
""",
        "ok violation",
    ),
    Hostile(
        "exit_inside_threads",
        """\
import os, threading
t = threading.Thread(target=os._exit, args=(3,))
t.start()
t.join()
""",
        "failed",
    ),
]

PROCESSES = [
    Hostile(
        "fork_bomb",
        """\
import os
while True:
    try: os.fork()
    except OSError: print('denied'); break
""",
        "ok",
        "denied",
    ),
    Hostile(
        "fork_bomb_where_processes_are_allowed",
        """\
import os
while True:
    try: os.fork()
    except OSError: pass
""",
        "limit",
        needs="processes",
        limits=SEVERAL,
    ),
    Hostile(
        "memory_bomb_of_many_processes",
        """\
import os, time
for _ in range(8):
    if os.fork() == 0:
        x = b'x' * (64 << 20)
        time.sleep(9)
        os._exit(0)
time.sleep(9)
""",
        "limit",
        needs="processes",
        limits=SEVERAL,
    ),
    Hostile(
        "daemon",
        """\
import os, time
if os.fork() == 0:
    os.setsid()
    while True: time.sleep(1)
print('forked')
""",
        "limit",
    ),
    Hostile(
        "daemon_where_processes_are_allowed",
        """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(1)
    os._exit(0)
print('forked')
""",
        "ok",
        "forked",
        needs="processes",
        limits=SEVERAL,
    ),
    Hostile("start_a_shell", attempt("os.execv('/bin/sh', ['sh', '-c', 'echo PWNED'])"), "ok", "denied"),
    Hostile("start_a_process", attempt("subprocess.run(['id'])", "subprocess"), "ok", "denied"),
    Hostile(
        "setuid_program",
        """\
import subprocess
print(subprocess.run(['su', '-c', 'id'], capture_output=True))
""",
        "ok failed",
        "!uid=0",
        needs="processes",
        limits=SEVERAL,
    ),
    Hostile("vfork", syscall(58), "ok", "result -1"),
    Hostile("clone_a_process", syscall(56, "17", "0", "0", "0", "0"), "ok", "result -1"),
    Hostile(
        "clone3",
        LIBC
        + """\
b = (ctypes.c_uint64 * 11)()
b[4] = 17
print('result', libc.syscall(long(435), ctypes.byref(b), long(88)))
""",
        "ok",
        "result -1",
    ),
    Hostile(
        "kill_the_parent",
        """\
import os, signal
for pid in {os.getppid(), 1, 2, 3} - {os.getpid()}:
    try:
        os.kill(pid, signal.SIGKILL)
        print('KILLED', pid)
    except OSError: pass
print('end')
""",
        "ok",
        "!KILLED",
    ),
    Hostile("kill_everyone", attempt("os.kill(-1, 9)"), "ok", "denied"),
    Hostile("kill_the_group", attempt("os.killpg(0, 9)"), "ok", "denied"),
    Hostile("tkill_others", syscall(200, "os.getppid() or 2", "9"), "ok", "result -1"),
    Hostile(
        "queue_a_signal",
        LIBC
        + """\
b = ctypes.create_string_buffer(128)
print('result', libc.syscall(long(129), os.getppid() or 2, 9, b))
""",
        "ok",
        "result -1",
    ),
    Hostile(
        "signal_by_descriptor",
        attempt("r, w = os.pipe(); fcntl.fcntl(r, 8, os.getppid() or 1)", "os, fcntl"),
        "ok",
        "denied",
    ),
    Hostile("pidfd_of_others", attempt("os.pidfd_open(os.getppid() or 1)"), "ok", "denied"),
    Hostile(
        "limits_of_others",
        attempt("resource.prlimit(1 if os.getpid() != 1 else 2, resource.RLIMIT_CPU)", "os, resource"),
        "ok",
        "denied",
    ),
    Hostile("priority", attempt("os.setpriority(0, 0, -20)"), "ok", "denied"),
    Hostile("real_time_priority", attempt("os.sched_setscheduler(0, 1, os.sched_param(99))"), "ok", "denied"),
    Hostile("all_cores", attempt("os.sched_setaffinity(0, range(2))"), "ok", "denied"),
    Hostile("leave_the_session", attempt("os.setsid()"), "ok", "denied"),
]

PRIVILEGES = [
    Hostile("trace_the_parent", LIBC + "print(libc.ptrace(16, os.getppid() or 1, 0, 0))", "violation"),
    Hostile("trace_itself", LIBC + "print(libc.ptrace(0, 0, 0, 0))", "violation"),
    Hostile("read_foreign_memory", syscall(310, "1", "0", "0", "0", "0", "0"), "violation"),
    Hostile("write_foreign_memory", syscall(311, "1", "0", "0", "0", "0", "0"), "violation"),
    Hostile("chroot", LIBC + "print(libc.chroot(b'/tmp'))", "violation"),
    Hostile("mount", LIBC + "print(libc.mount(b'proc', b'/tmp', b'proc', 0, 0))", "violation"),
    Hostile("bind_mount", LIBC + "print(libc.mount(b'/', b'/tmp', None, 4096, None))", "violation"),
    Hostile("unmount", LIBC + "print(libc.umount2(b'/tmp', 2))", "violation"),
    Hostile("pivot_root", syscall(155, "b'/'", "b'/'"), "violation"),
    Hostile("new_user_namespace", LIBC + "print(libc.unshare(0x10000000))", "violation"),
    Hostile("clone_into_a_user_namespace", syscall(56, "0x10000000 | 17", "0", "0", "0", "0"), "violation"),
    Hostile("join_a_namespace", LIBC + "print(libc.setns(0, 0))", "violation"),
    Hostile("io_uring", syscall(425, "8", "0"), "violation"),
    Hostile("bpf", syscall(321, "0", "0", "0"), "violation"),
    Hostile("userfaultfd", syscall(323, "0"), "violation"),
    Hostile("keyring", syscall(250, "0", "-3", "0"), "violation"),
    Hostile("add_key", syscall(248, "0", "0", "0", "0", "0"), "violation"),
    Hostile("perf_events", syscall(298, "0", "0", "0", "0", "0"), "violation"),
    Hostile("open_by_handle", syscall(304, "0", "0", "0"), "violation"),
    Hostile("kernel_module", syscall(313, "0", "0", "0"), "violation"),
    Hostile("new_mount_interface", syscall(430, "b'tmpfs'", "0"), "violation"),
    Hostile("steal_a_descriptor", syscall(438, "0", "0", "0"), "violation"),
    Hostile("io_ports", syscall(172, "3"), "violation"),
    Hostile("reboot", syscall(169, "0", "0", "0"), "violation"),
    Hostile("x32_system_call", syscall(0x40000000 | 39), "violation"),
    Hostile(
        "32_bit_system_call",
        """\
import ctypes, mmap
m = mmap.mmap(-1, 4096, prot=7)
m.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
print('DONE', f())
""",
        "violation failed",
    ),
    Hostile("become_root", LIBC + "print('result', libc.setuid(0), libc.setresuid(0, 0, 0))", "ok", "result -1 -1"),
    Hostile("take_capabilities", syscall(126, "0", "0"), "ok", "result -1"),
    Hostile(
        "relax_seccomp",
        LIBC + "print('result', libc.prctl(22, 0, 0, 0, 0), libc.syscall(long(317), 0, 0, 0))",
        "ok",
        "result -1 -1",
    ),
    Hostile("outlive_the_server", LIBC + "print('result', libc.prctl(1, 0, 0, 0, 0))", "ok", "result -1"),
    Hostile("become_dumpable", LIBC + "print('result', libc.prctl(4, 1, 0, 0, 0))", "ok", "result -1"),
    Hostile(
        "raise_limits",
        """\
import resource as r
raised = []
for l in (r.RLIMIT_AS, r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE):
    try:
        r.setrlimit(l, (-1, -1))
        raised.append(l)
    except (ValueError, OSError): pass
print('raised', raised)
""",
        "ok",
        "raised []",
    ),
    Hostile(
        "core_dump",
        """\
import resource
print(resource.getrlimit(resource.RLIMIT_CORE))
""",
        "ok",
        "(0, 0)",
    ),
    Hostile("set_the_clock", attempt("time.clock_settime(time.CLOCK_REALTIME, 0)", "time"), "ok", "denied"),
    Hostile("message_queue", LIBC + "print('result', libc.msgget(0, 0o1600))", "ok", "result -1"),
    Hostile("posix_message_queue", syscall(240, "b'x'", "0o102", "0o600", "0"), "ok", "result -1"),
    Hostile("inotify", syscall(294, "0"), "ok", "result -1"),
    Hostile("type_into_the_terminal", LIBC + "print('result', libc.ioctl(0, 0x5412, b'x'))", "ok", "result -1"),
    Hostile("secret_memory", syscall(447, "0"), "ok", "result -1"),
]

FILES = [
    Hostile(
        "read_host_files",
        """\
import os
files = '/etc/shadow /etc/hostname /etc/machine-id /proc/cmdline /proc/1/environ /root/.bashrc /var/log /sys/kernel'
for f in files.split():
    try: print('READ', f, os.listdir(f) if os.path.isdir(f) else open(f).read(9))
    except OSError: pass
print('end')
""",
        "ok",
        "!READ",
    ),
    Hostile(
        "read_the_repository",
        """\
import os
for f in (REPOSITORY, REPOSITORY + '/verifiers/__init__.py', REPOSITORY + '/.git/HEAD'):
    try: print('READ', os.listdir(f) if os.path.isdir(f) else open(f).read(9))
    except OSError: pass
print('end')
""",
        "ok",
        "!READ",
    ),
    Hostile(
        "write_system_files",
        """\
import os, sys
for f in ('/usr/x', os.__file__, '/bin/sh', '/etc/passwd', '/x', '/dev/x', sys.executable):
    try:
        open(f, 'ab').write(b'x')
        print('WROTE', f)
    except OSError: pass
print('end')
""",
        "ok",
        "!WROTE",
    ),
    Hostile(
        "change_system_files",
        """\
import os
acts = [lambda f: os.chmod(f, 0o777), lambda f: os.truncate(f, 0), lambda f: os.rename(f, f + 'x'), os.utime, os.remove]
for act in acts:
    try:
        act(os.__file__)
        print('CHANGED')
    except OSError: pass
print('end')
""",
        "ok",
        "!CHANGED",
    ),
    Hostile(
        "symbolic_links",
        """\
import os
for t in ('/proc/1/root', '/..', '/../../..', '/old', '/root'):
    try:
        os.symlink(t, 'l')
        print('READ', os.listdir('l/home'), os.listdir('l/root'))
    except OSError: pass
    try: os.remove('l')
    except OSError: pass
print('end')
""",
        "ok",
        "!READ",
    ),
    Hostile("hard_links", attempt("os.link(os.__file__, 'x')"), "ok", "denied"),
    Hostile("own_memory_file", attempt("open('/proc/self/mem', 'r+b')"), "ok", "denied"),
    Hostile(
        "environment_of_others",
        """\
import os
try:
    for pid in os.listdir('/proc'):
        if pid.isdigit(): print('READ', open(f'/proc/{pid}/environ').read(9))
except OSError: print('denied')
print('end')
""",
        "ok",
        "!READ",
    ),
    Hostile("descriptors_by_proc", attempt("print('READ', os.listdir('/proc/self/fd'))"), "ok", "denied"),
    Hostile("device_files", attempt("os.mknod('x', 0o60600, os.makedev(254, 0))"), "ok", "denied"),
    Hostile("kernel_memory", attempt("open('/dev/mem', 'rb')"), "ok", "denied"),
    Hostile(
        "block_devices",
        """\
import glob
for f in glob.glob('/dev/*'):
    if f.rpartition('/')[2] not in ('null', 'zero', 'full', 'random', 'urandom'):
        try:
            open(f, 'rb')
            print('OPENED', f)
        except OSError: pass
print('end')
""",
        "ok",
        "!OPENED",
    ),
    Hostile("terminal", attempt("open('/dev/tty')"), "ok", "denied"),
    Hostile(
        "fifo",
        """\
import os
os.mkfifo('f')
open('f').read()
""",
        "limit failed",
    ),
    Hostile(
        "host_environment",
        """\
import os
print(sorted(os.environ))
""",
        "ok",
        "!SECRET",
    ),
    Hostile(
        "command_line",
        """\
import sys
print(sys.argv, sys.orig_argv)
""",
        "ok",
        "!SECRET",
    ),
    Hostile("mapped_system_file", attempt("mmap.mmap(os.open(os.__file__, os.O_RDWR), 0)", "os, mmap"), "ok", "denied"),
    Hostile("attributes", attempt("os.setxattr('.', 'user.x', b'x')"), "ok", "denied"),
]

NETWORK = [
    Hostile("tcp", attempt("socket.create_connection(('127.0.0.1', 22), 1)", "socket"), "ok", "denied"),
    Hostile("tcp_server", attempt("socket.create_server(('127.0.0.1', 0))", "socket"), "ok", "denied"),
    Hostile(
        "udp",
        attempt("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))", "socket"),
        "ok",
        "denied",
    ),
    Hostile("dns", attempt("socket.getaddrinfo('example.com', 80)", "socket"), "ok", "denied"),
    Hostile(
        "unix_socket",
        attempt("socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')", "socket"),
        "ok",
        "denied",
    ),
    Hostile("abstract_socket", attempt("socket.socket(socket.AF_UNIX).bind('\\0x')", "socket"), "ok", "denied"),
    Hostile("vsock", attempt("socket.socket(40, 1).connect((2, 1024))", "socket"), "ok", "denied"),
    Hostile("netlink", attempt("socket.socket(16, 3, 0)", "socket"), "ok", "denied"),
    Hostile("raw_socket", attempt("socket.socket(2, 3, 1)", "socket"), "ok", "denied"),
    Hostile("packet_socket", attempt("socket.socket(17, 3)", "socket"), "ok", "denied"),
    Hostile("internet_socket_pair", attempt("socket.socketpair(2, 1)", "socket"), "ok", "denied"),
    Hostile(
        "url",
        """\
import urllib.request
try:
    urllib.request.urlopen('http://127.0.0.1')
    print('DONE')
except OSError: print('denied')
""",
        "ok",
        "denied",
        needs="imports",
    ),
]

CRASHES = [
    Hostile(
        "segmentation_fault",
        """\
import ctypes
ctypes.string_at(0)
""",
        "failed",
    ),
    Hostile(
        "abort",
        """\
import os
os.abort()
""",
        "failed",
    ),
    Hostile(
        "endless_recursion",
        """\
import sys
sys.setrecursionlimit(10 ** 8)
def f(): return f()
f()
""",
        "failed limit",
    ),
    Hostile(
        "recursion_in_c",
        """\
import sys
sys.setrecursionlimit(10 ** 8)
x = []
for i in range(10 ** 6): x = [x]
print(len(repr(x)))
""",
        "failed limit",
    ),
    Hostile("nested_source", "exec('(' * 100000 + ')' * 100000)", "failed"),
    Hostile(
        "illegal_instruction",
        """\
import ctypes, mmap
m = mmap.mmap(-1, 4096, prot=7)
m.write(b'\\x0f\\x0b')
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
""",
        "failed",
    ),
    Hostile(
        "hostile_pickle",
        """\
import pickle
pickle.loads(b"cos\\nsystem\\n(S'echo PWNED'\\ntR.")
print('end')
""",
        "ok failed",
        "!PWNED",
    ),
    Hostile(
        "hostile_excepthook",
        """\
import sys
sys.excepthook = lambda *a: sys.exit(0)
1 / 0
""",
        "failed",
    ),
    Hostile(
        "exit_code_by_exception",
        """\
class E(SystemExit): pass
raise E('0')
""",
        "failed",
    ),
    Hostile(
        "patched_builtins",
        """\
import builtins, os, sys, io
builtins.open = builtins.print = builtins.exec = builtins.compile = None
os.write(1, b'end')
os._exit = None
sys.stdout = None
""",
        "ok failed",
    ),
    Hostile(
        "patched_modules",
        """\
import sys
sys.modules.clear()
""",
        "ok failed",
    ),
    Hostile(
        "frames_of_the_driver",
        """\
import sys
f = sys._getframe()
while f.f_back: f = f.f_back
print('SECRET' in repr(f.f_globals), 'DATABASE' in repr(f.f_locals))
""",
        "ok",
        "False False",
    ),
    Hostile("syntax_error", "def f(:", "failed"),
    Hostile("null_bytes", "x = 1\0", "failed"),
    Hostile("not_utf_8", "x = '\udcff'", "failed"),
    Hostile(
        "declared_encoding",
        """\
# -*- coding: utf-7 -*-
+AHAAcgBpAG4AdAAoACcAaABpACcAKQ-
""",
        "ok failed",
    ),
    Hostile("empty", "", "ok"),
    Hostile("byte_order_mark", "\ufeffprint('end')", "ok", "end"),
    Hostile("missing_package", "import no_such_package", "failed"),
]

STALLS = [dataclasses.replace(case, limits=dataclasses.replace(LIMITS, cpu_s=0.1, idle_s=0.1)) for case in STALLS]
ALL = [*STALLS, *MEMORY, *DISK, *OUTPUT, *PROCESSES, *PRIVILEGES, *FILES, *NETWORK, *CRASHES]
