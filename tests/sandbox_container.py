"""Runs a command as a default Docker container would: its capabilities, and what its seccomp profile refuses.

    python tests/sandbox_container.py COMMAND [ARGUMENT ...]

After the profile of Docker 27 (moby, profiles/seccomp/default.json): no new namespaces, no mounts, no clone3.
"""

import ctypes
import os
import platform
import struct
import sys

REFUSED = {  # Of the calls that the profile gives to containers with CAP_SYS_ADMIN alone, or to none.
    "x86_64": {
        "mount": 165, "umount2": 166, "pivot_root": 155, "unshare": 272, "setns": 308, "bpf": 321, "userfaultfd": 323,
        "perf_event_open": 298, "keyctl": 250, "add_key": 248, "request_key": 249, "open_by_handle_at": 304,
        "kexec_load": 246, "init_module": 175, "finit_module": 313, "swapon": 167, "quotactl": 179, "syslog": 103,
        "fsopen": 430, "fsmount": 432, "fsconfig": 431, "move_mount": 429, "open_tree": 428, "mount_setattr": 442,
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "lookup_dcookie": 212,
    },
    "aarch64": {"mount": 40, "umount2": 39, "pivot_root": 41, "unshare": 97, "setns": 268, "mount_setattr": 442},
}  # fmt: skip
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
# chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write
# setfcap
CAPABILITIES = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))


def profile() -> bytes:
    """The filter, as a BPF program."""

    def step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("=HBBI", code, then, otherwise, value)

    refuse, missing, allow = (step(0x06, value) for value in (0x00050001, 0x00050026, 0x7FFF0000))
    machine = platform.machine()
    steps = [step(0x20, 0)]
    for number in REFUSED[machine].values():
        steps += [step(0x15, number, 0, 1), refuse]
    steps += [step(0x15, CLONE3, 0, 1), missing]
    steps += [step(0x15, CLONE[machine], 0, 3), step(0x20, 16), step(0x45, 0x7E020000, 0, 1), refuse, allow]
    return b"".join(steps)


def enter() -> None:
    """Puts this process, and what it starts, into the container."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result: int) -> None:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    long = ctypes.c_ulong
    if os.getuid() == 0:
        for bit in range(41):
            if not CAPABILITIES >> bit & 1:
                libc.prctl(24, long(bit), long(0), long(0), long(0))
    else:
        must(libc.prctl(38, long(1), long(0), long(0), long(0)))
    text = profile()
    steps = ctypes.create_string_buffer(text, len(text))
    program = struct.pack("@HP", len(text) // 8, ctypes.addressof(steps))
    must(libc.prctl(22, long(2), ctypes.c_char_p(program), long(0), long(0)))
    if os.getuid() == 0:
        low, high = CAPABILITIES & 0xFFFFFFFF, CAPABILITIES >> 32
        header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
        must(libc.capset(header, ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))))


if __name__ == "__main__":
    enter()
    os.execvp(sys.argv[1], sys.argv[1:])
