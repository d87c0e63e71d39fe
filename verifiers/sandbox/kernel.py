"""The calls of the Linux kernel that the standard library lacks, each raising OSError with a name when it fails."""

from __future__ import annotations

import ctypes
import os
import struct

from verifiers.sandbox.syscalls import numbers

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
BIND, RECURSIVE, PRIVATE = 4096, 16384, 1 << 18
NO_SETUID, NO_DEVICES = 2, 4  # Of mount(2), and the same bits of mount_setattr(2).
DETACH = 2
AT_CWD, AT_RECURSIVE = -100, 0x8000
SET_DEATH_SIGNAL, SET_DUMPABLE, DROP_BOUNDING, SET_SECUREBITS, ADOPT_ORPHANS, SET_NO_NEW_PRIVS = 1, 4, 24, 28, 36, 38
KEEP_NO_ROOT_POWERS = 0x2F  # NOROOT, NO_SETUID_FIXUP, each locked, and NO_CAP_AMBIENT_RAISE.

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = numbers()
_long = ctypes.c_ulong


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(name: str, *arguments: object) -> int:
    """The system call of that name. Integers go as 64 bits."""
    values = [_long(value & 0xFFFFFFFFFFFFFFFF) if isinstance(value, int) else value for value in arguments]
    return _checked(_libc.syscall(ctypes.c_long(_numbers[name]), *values), name)


def unshare(flags: int) -> None:
    """Leaves the shared namespaces that `flags` names, for new ones."""
    syscall("unshare", flags)


def setns(descriptor: int, kind: int) -> None:
    """Joins (for NEWPID: lets the next children join) the namespace that `descriptor` shows."""
    syscall("setns", descriptor, kind)


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = _libc.mount(texts[0], texts[1], texts[2], _long(flags), texts[3])
    _checked(result, f"mount {source or kind or ''} on {target}")


def read_only(target: str, *, recursive: bool) -> None:
    """Makes a mount (and those below it) read-only, without devices and without setuid."""
    attributes = struct.pack("=QQQQ", 1 | NO_SETUID | NO_DEVICES, 0, 0, 0)  # struct mount_attr
    path = ctypes.c_char_p(os.fsencode(target))
    syscall("mount_setattr", AT_CWD, path, AT_RECURSIVE if recursive else 0, ctypes.c_char_p(attributes), 32)


def unmount(target: str) -> None:
    """Takes a mount away, at once or as soon as nobody uses it."""
    _checked(_libc.umount2(os.fsencode(target), DETACH), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    """Makes `new` the root of this mount namespace and hangs the old one up at `old`."""
    syscall("pivot_root", ctypes.c_char_p(os.fsencode(new)), ctypes.c_char_p(os.fsencode(old)))


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument."""
    _checked(_libc.prctl(option, _long(value), _long(0), _long(0), _long(0)), f"prctl {option}")


def drop_bounding_set() -> None:
    """No program started from here gets a capability back, whatever its file says. Needs CAP_SETPCAP."""
    for capability in range(64):
        if _libc.prctl(DROP_BOUNDING, _long(capability), _long(0), _long(0), _long(0)) < 0:
            if capability == 0:
                _checked(-1, "drop the bounding set")
            return  # The kernel knows no more.


_HEADER = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))  # struct __user_cap_header_struct, version 3
_NO_CAPABILITIES = ctypes.create_string_buffer(24)


def drop_capabilities() -> None:
    """Gives up every capability of this thread."""
    _checked(_libc.capset(_HEADER, _NO_CAPABILITIES), "capset")


def install_filter(filter: bytes) -> None:
    """Lays a seccomp filter over this thread and what it starts. Needs no_new_privs."""
    steps = ctypes.create_string_buffer(filter, len(filter))
    program = struct.pack("@HP", len(filter) // 8, ctypes.addressof(steps))  # struct sock_fprog
    syscall("seccomp", 1, 0, ctypes.c_char_p(program))
