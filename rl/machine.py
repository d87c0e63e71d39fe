"""What this machine is: its processor, and the versions of whatever can change a number."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
from typing import Any


def versions() -> dict[str, str]:
    """The versions of whatever can change a number."""
    names = ("assay-rl", "jax", "jaxlib", "dm-haiku", "optax", "ray", "numpy")
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def machine() -> dict[str, Any]:
    """The processor, and those of its abilities that XLA picks instructions by."""
    flags: set[str] = set()
    model = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        entries = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        entries = {key.strip(): value.strip() for key, value in entries.items()}
        model, flags = entries.get("model name", model), set(entries.get("flags", "").split())
    matter = sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma")))
    return {"cpu": model, "flags": matter, "cores": cores(), "system": platform.platform()}


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not Linux.
        return os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
