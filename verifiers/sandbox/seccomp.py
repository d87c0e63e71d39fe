"""The filter of system calls: an allow-list in two layers, as classic BPF programs.

`base` is laid over the fork-server once, before it serves: it allows what any program may do, and the few calls that
the fork-server itself needs. `top` is laid over each program: it is short, since it is compiled on every run, and it
takes away the fork-server's calls, new processes, and signals to others. What honest programs never try kills; what
they may try in good faith is refused with an errno; what nobody needs does not exist (ENOSYS).
"""

from __future__ import annotations

import errno
import platform
import struct

from verifiers.sandbox.syscalls import numbers

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # Offsets in struct seccomp_data.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000


def _names(text: str) -> list[str]:
    return text.split()


OF_PROGRAMS = _names("""
    read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64
    pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise dup dup2 pause nanosleep
    getitimer alarm setitimer getpid gettid sendfile sendto recvfrom sendmsg recvmsg shutdown getsockname
    getpeername setsockopt getsockopt exit exit_group wait4 waitid uname flock fsync fdatasync truncate
    ftruncate getdents getdents64 getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink readlink
    chmod fchmod umask gettimeofday getrlimit setrlimit getrusage sysinfo times getuid getgid geteuid getegid
    getppid getpgrp getgroups getresuid getresgid getpgid getsid rt_sigpending rt_sigtimedwait rt_sigsuspend
    sigaltstack utime statfs fstatfs getpriority sched_getparam sched_getscheduler sched_get_priority_max
    sched_get_priority_min sched_rr_get_interval sched_getaffinity arch_prctl time futex futex_waitv
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 set_tid_address restart_syscall
    fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create
    timerfd_settime timerfd_gettime clock_gettime clock_getres clock_nanosleep utimes openat openat2 open stat
    lstat poll ppoll pselect6 mkdirat futimesat newfstatat unlinkat renameat renameat2 linkat symlinkat
    readlinkat fchmodat faccessat faccessat2 set_robust_list get_robust_list splice tee sync_file_range
    utimensat eventfd eventfd2 fallocate signalfd signalfd4 dup3 pipe2 preadv pwritev preadv2 pwritev2 getcpu
    getrandom membarrier copy_file_range statx rseq close_range mlock munlock fcntl clone fork vfork execve kill
    tgkill rt_sigqueueinfo rt_tgsigqueueinfo prlimit64 setsid setpgid prctl
""")
OF_THE_SERVER = _names("""
    mount umount2 unshare setns pidfd_open pidfd_send_signal capset landlock_create_ruleset landlock_add_rule
    landlock_restrict_self seccomp
""")
KILLED = _names("""
    ptrace process_vm_readv process_vm_writev pivot_root chroot bpf io_uring_setup io_uring_enter
    io_uring_register init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff
    perf_event_open userfaultfd open_by_handle_at iopl ioperm keyctl add_key request_key pidfd_getfd fsopen
    fsmount fsconfig fspick move_mount open_tree mount_setattr acct quotactl
""")
REFUSED = _names("""
    execveat socket connect bind listen accept accept4 memfd_create memfd_secret shmget shmat shmctl semget
    semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink setuid setgid setreuid setregid
    setresuid setresgid setgroups setfsuid setfsgid capget chown lchown fchown fchownat mknod mknodat
    sched_setaffinity sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set personality
    inotify_init inotify_init1 inotify_add_watch fanotify_init name_to_handle_at syslog sethostname
    setdomainname settimeofday clock_settime adjtimex clock_adjtime vhangup modify_ldt set_mempolicy mbind
    migrate_pages move_pages kcmp process_madvise tkill
""")
NOT_SUPPORTED = [f"{prefix}{verb}xattr" for verb in ("set", "get", "list", "remove") for prefix in ("", "l", "f")]

# What changes files by name: Landlock does not know all of it, so where nothing may be written it is refused here.
CHANGES_FILES = _names("""
    creat rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat chmod
    fchmod fchmodat truncate utime utimes utimensat futimesat
""")
OPENS_FILES = _names("""
    open openat openat2 access faccessat faccessat2 stat lstat readlink readlinkat statfs getdents getdents64
    chdir fchdir statx
""")

NEW_NAMESPACES = 0x7E020000 | 0x80  # CLONE_NEWNS … CLONE_NEWNET, and CLONE_NEWTIME.
THREAD = 0x00010000
AF_UNIX = 1
TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5451, 0x5450)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIO*CLEX
PROCESS_QUESTIONS = (15, 16, 3, 38, 39, 0x53564D41)  # PR_SET_NAME, _GET_NAME, _GET_DUMPABLE, *_NO_NEW_PRIVS, _SET_VMA
# F_SETOWN, F_SETSIG and F_SETOWN_EX send signals, F_SETPIPE_SZ takes memory, F_SETLEASE and F_NOTIFY watch others.
FILE_CONTROLS_REFUSED = (8, 10, 15, 1031, 1024, 1026)
_SELF = 0x5E1F5E1F  # Stands for the program's own process id until `top_for` puts it there.


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One instruction; `then` and `otherwise` say how many of the next ones a comparison skips."""
    return struct.pack("=HBBI", code, then, otherwise, value)


def _answer(action: int) -> bytes:
    return _step(RETURN, action)


def _refuse(code: int) -> int:
    return ERRNO | code


def _rule(number: int, body: bytes) -> bytes:
    """`body`, which must answer on every path, for the call of this number."""
    return _step(EQUAL, number, 0, len(body) // 8) + body


def _argument(index: int) -> bytes:
    return _step(LOAD, ARGUMENTS + 8 * index)  # The low half: the kernel reads no more of those that we ask about.


def _if_among(index: int, values: tuple[int, ...], inside: int, outside: int) -> bytes:
    """Answers by whether an argument is one of `values`."""
    return (
        _argument(index) + b"".join(_step(EQUAL, value, 0, 1) + _answer(inside) for value in values) + _answer(outside)
    )


def base(machine: str = "") -> bytes:
    """The lower layer, for the fork-server and all that it starts."""
    machine = machine or platform.machine()
    number = numbers(machine)
    filter = _step(LOAD, ARCHITECTURE) + _step(EQUAL, ARCHITECTURES[machine], 1, 0) + _answer(KILL)
    filter += _step(LOAD, NUMBER)
    if machine == "x86_64":
        filter += _step(AT_LEAST, X32, 0, 1) + _answer(KILL)
    answers = [(OF_PROGRAMS, ALLOW), (OF_THE_SERVER, ALLOW), (KILLED, KILL), (REFUSED, _refuse(errno.EPERM))]
    for names, action in [*answers, (NOT_SUPPORTED, _refuse(errno.ENOTSUP))]:
        filter += b"".join(_rule(number[name], _answer(action)) for name in names if name in number)
    filter += _rule(number["socketpair"], _if_among(0, (AF_UNIX,), ALLOW, _refuse(errno.EPERM)))
    filter += _rule(number["ioctl"], _if_among(1, TERMINAL_QUESTIONS, ALLOW, _refuse(errno.ENOTTY)))
    return filter + _answer(_refuse(errno.ENOSYS))  # clone3 too: glibc then calls clone, whose flags can be seen.


def top(
    machine: str = "", *, processes: bool, executes: bool, writes: bool, opens: bool, own_pid_namespace: bool
) -> bytes:
    """The upper layer, for one program; see `top_for`.

    Args:
      machine: as `platform.machine()` names it.
      processes: whether it may start others.
      executes: whether it may become another program.
      writes: whether it has a folder to write to.
      opens: whether it may open files at all.
      own_pid_namespace: whether the others that it could signal are its own.
    """
    number = numbers(machine)
    denied = _refuse(errno.EPERM)
    filter = _step(LOAD, NUMBER)
    for name in OF_THE_SERVER:
        filter += _rule(number[name], _answer(KILL if name in ("mount", "umount2", "unshare", "setns") else denied))
    refused = [] if writes else CHANGES_FILES
    refused = refused if opens else [*refused, *OPENS_FILES]
    filter += b"".join(_rule(number[name], _answer(_refuse(errno.EACCES))) for name in refused if name in number)
    no_namespaces = _step(ANY_BIT, NEW_NAMESPACES, 0, 1) + _answer(KILL)
    if processes:
        filter += _rule(number["clone"], _argument(0) + no_namespaces + _answer(ALLOW))
    else:
        busy = _answer(_refuse(errno.EAGAIN))  # What the system says at the limit of processes.
        only_threads = _step(ANY_BIT, THREAD, 1, 0) + busy
        filter += _rule(number["clone"], _argument(0) + no_namespaces + only_threads + _answer(ALLOW))
        filter += b"".join(_rule(number[name], busy) for name in ("fork", "vfork") if name in number)
        filter += b"".join(_rule(number[name], _answer(denied)) for name in ("setsid", "setpgid"))
    if not executes:
        filter += _rule(number["execve"], _answer(denied))
    if not (processes and own_pid_namespace):
        for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
            filter += _rule(number[name], _if_among(0, (_SELF,), ALLOW, denied))
    filter += _rule(number["fcntl"], _if_among(1, FILE_CONTROLS_REFUSED, denied, ALLOW))
    filter += _rule(number["prlimit64"], _if_among(0, (0,), ALLOW, denied))
    filter += _rule(number["prctl"], _if_among(0, PROCESS_QUESTIONS, ALLOW, denied))
    return filter + _answer(ALLOW)


def top_for(filter: bytes, pid: int) -> bytes:
    """The upper layer for the program whose process id, as it sees it, is `pid`."""
    return filter.replace(struct.pack("=I", _SELF), struct.pack("=I", pid))
