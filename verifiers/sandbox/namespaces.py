"""Namespaces: a root folder, process numbers, a network and users of its own for a fork-server and its programs.

As root, the new root is built with root's rights (it may lie on folders that nobody else can enter, such as a home of
mode 0700), then the rights are dropped, and a user namespace takes over. As an ordinary user the user namespace comes
first. From then on both are the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from verifiers.sandbox import kernel

DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
STDIN = ".stdin"  # Where /dev/stdin leads, below the folder to write to: `driver` puts a copy there.
USER = 1000  # Who the programs think they are. Not 0: tarfile and others would then change owners.
_REST = kernel.NEWPID | kernel.NEWIPC | kernel.NEWUTS | kernel.NEWNET | kernel.NEWCGROUP


def folder_to_write(readable: Iterable[str]) -> str:
    """Where programs may write: /tmp, unless something that they read lies below it."""
    inside = any(os.path.realpath(path).startswith("/tmp/") for path in readable)
    return "/box" if inside else "/tmp"


def drop_user(uid: int) -> None:
    """As root: becomes the user `uid`, whom nobody else is. Where there are no other users (a container that maps only
    one), or no right to change, stays who it is."""
    if os.getuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError:
        return
    kernel.prctl(kernel.SET_DUMPABLE, 1)  # Else /proc/self belongs to root, and the maps cannot be written.


def enter(readable: Iterable[str], tmp: str, uid: int, proc: int) -> None:
    """Moves this process into new namespaces, with `readable` below a root of their own. Its next child is the first
    process there.

    Args:
      readable: absolute paths; those that are not there are left out.
      tmp: where programs may write, for `fresh_tmp`.
      uid: who root becomes first.
      proc: a descriptor of /proc.

    Raises:
      OSError: the kernel, or whoever set this machine up, does not allow it.
    """
    if os.getuid() == 0:
        kernel.unshare(kernel.NEWNS)
        _build_root(readable, tmp)
        drop_user(uid)
        _new_user(kernel.NEWNS | _REST, proc)
    else:
        _new_user(kernel.NEWNS | _REST, proc)
        _build_root(readable, tmp)


def _new_user(others: int, proc: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.NEWUSER | others)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{USER} {uid} 1"), ("gid_map", f"{USER} {gid} 1")):
        file = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(file, text.encode())
        os.close(file)


def _build_root(readable: Iterable[str], tmp: str) -> None:
    kernel.mount(None, "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    # They may lie below the folder where the new root is mounted, so they are opened first.
    sources = [(path, os.open(path, os.O_PATH)) for path in _outermost(readable)]
    links = [(path, os.path.realpath(path)) for path in readable if os.path.realpath(path) != path]
    root = "/tmp"
    kernel.mount("root", root, "tmpfs", kernel.NO_SETUID | kernel.NO_DEVICES, "size=1m,nr_inodes=2048,mode=755")
    for path, source in sources:
        _bind(f"/proc/self/fd/{source}", root + path, folder=os.path.isdir(f"/proc/self/fd/{source}"))
        kernel.read_only(root + path, recursive=True)
        os.close(source)
    for path, target in links:
        if not os.path.lexists(root + path) and os.path.lexists(root + target):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            os.symlink(target, root + path)
    for device in DEVICES:
        _bind(device, root + device, folder=False)
    for folder in (tmp, "/old", "/etc"):
        os.makedirs(root + folder, exist_ok=True)
    if not os.path.lexists(f"{root}/dev/shm"):
        os.symlink(tmp, f"{root}/dev/shm")
    os.symlink(f"{tmp}/{STDIN}", f"{root}/dev/stdin")
    _write(f"{root}/etc/passwd", f"sandbox:x:{USER}:{USER}:sandbox:{tmp}:/bin/sh\n")
    _write(f"{root}/etc/group", f"sandbox:x:{USER}:\n")
    kernel.pivot_root(root, f"{root}/old")
    os.chdir("/")
    kernel.unmount("/old")
    os.rmdir("/old")
    kernel.read_only("/", recursive=False)


def _outermost(paths: Iterable[str]) -> list[str]:
    """The real paths that are there, without those below another of them."""
    kept: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths if os.path.exists(path)}):
        if not any(path.startswith(above.rstrip("/") + "/") for above in kept):
            kept.append(path)
    return kept


def _bind(source: str, target: str, *, folder: bool) -> None:
    os.makedirs(target if folder else os.path.dirname(target), exist_ok=True)
    if not folder:
        _write(target, "")
    kernel.mount(source, target, None, kernel.BIND | kernel.RECURSIVE)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def fresh_tmp(folder: str, megabytes: int) -> None:
    """Mounts an empty folder of so many megabytes, and as many files as fit honest programs."""
    size = f"size={megabytes}m,nr_inodes={64 + 16 * megabytes},mode=1777"
    kernel.mount("tmp", folder, "tmpfs", kernel.NO_SETUID | kernel.NO_DEVICES, size)
