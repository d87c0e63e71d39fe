"""Landlock: which files a program may open, without any privilege (linux/Documentation/userspace-api/landlock.rst)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from verifiers.sandbox.kernel import syscall

EXECUTE, WRITE, READ, READ_FOLDER, REMOVE_FOLDER, REMOVE_FILE = 1, 2, 4, 8, 16, 32
MAKE_DEVICES = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11  # Character device, socket, FIFO, block device.
REFER, TRUNCATE, IOCTL = 1 << 13, 1 << 14, 1 << 15  # Known from the interface versions 2, 3 and 5 on.
OF_FILES = EXECUTE | WRITE | READ | TRUNCATE | IOCTL


def version() -> int:
    """The version of the kernel's interface.

    Raises:
      OSError: the kernel has no Landlock, or it is off.
    """
    return syscall("landlock_create_ruleset", None, 0, 1)


def ruleset(readable: Iterable[str], writable: Iterable[str] = (), devices: Iterable[str] = ()) -> int:
    """A descriptor of rules: everything is forbidden but reading and running what lies under `readable`, doing
    anything but making devices under `writable`, and reading and writing `devices`. Paths that are not there are
    left out.

    From version 4 on TCP is forbidden, from version 6 on signals and abstract sockets to the outside.
    """
    known = version()
    rights = (1 << 13) - 1
    rights |= (REFER if known >= 2 else 0) | (TRUNCATE if known >= 3 else 0) | (IOCTL if known >= 5 else 0)
    attributes = struct.pack("=QQQ", rights, 3 if known >= 4 else 0, 3 if known >= 6 else 0)
    size = 8 if known < 4 else 16 if known < 6 else 24
    rules = syscall("landlock_create_ruleset", ctypes.c_char_p(attributes), size, 0)
    os.set_inheritable(rules, False)
    allowed = [(path, EXECUTE | READ | READ_FOLDER) for path in readable]
    allowed += [(path, rights & ~MAKE_DEVICES) for path in writable]
    allowed += [(path, READ | WRITE) for path in devices]
    for path, access in allowed:
        if not os.path.exists(path):
            continue
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            access &= rights if os.path.isdir(path) else rights & OF_FILES
            syscall("landlock_add_rule", rules, 1, ctypes.c_char_p(struct.pack("=Qi", access, descriptor)), 0)
        finally:
            os.close(descriptor)
    return rules


def restrict(rules: int) -> None:
    """Lays the rules over this thread and what it starts, for good. Needs no_new_privs."""
    syscall("landlock_restrict_self", rules, 0)
