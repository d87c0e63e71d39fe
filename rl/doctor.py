"""What this machine has for a run, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys

from policy.types import TransformerConfig
from rl.machine import cores, machine, versions

SMOLLM2 = TransformerConfig(
    vocab_size=49152, width=576, num_layers=30, num_heads=9, num_kv_heads=3, head_dim=64, mlp_width=1536, context=8192
)


def diagnose(
    model: str = "SmolLM2-135M", config: TransformerConfig = SMOLLM2
) -> tuple[list[tuple[str, str]], list[str]]:
    """What there is, as (name, description), and what is wrong, in sentences that say what to do.

    Args:
      model: the name of the one for which the memory of the engine is computed; default: that of the examples.
      config: its shape.
    """
    import verifiers  # rl/__init__.py has made sure that it is ours.
    from policy.download import cache_folder
    from policy.transformer import fast_dtype
    from verifiers.sandbox import levels

    facts: list[tuple[str, str]] = []
    wrong: list[str] = []
    found = versions()
    facts.append(("versions", ", ".join(f"{name} {version}" for name, version in found.items())))
    facts.append(("python", f"{sys.executable} on {platform.platform()}"))
    wrong += [
        f"{name} is not installed: pip install {name}" for name, version in found.items() if version == "not installed"
    ]

    import jax

    try:
        devices = ", ".join(f"{device.device_kind} ({device.platform})" for device in jax.devices())
    except RuntimeError as error:
        devices = "none"
        wrong.append(f"JAX finds no device: {str(error).splitlines()[0]}")
    here = machine()
    facts.append(("devices", devices))
    facts.append(("processor", f"{here['cpu']}, {' '.join(here['flags']) or 'no vector instructions known'}"))
    facts.append(("threads", f"{cores()} (RunConfig.threads sets them, and decides the bits)"))
    facts.append(
        ("dtype", f"{fast_dtype() if devices != 'none' else '?'} (of matrix products, where RunConfig.dtype is None)")
    )
    facts.append(("attention", _attention() if devices != "none" else "?"))
    memory = _memory()
    facts.append(
        ("memory", "unknown" if memory is None else f"{memory[1] / 2**30:.1f} of {memory[0] / 2**30:.1f} GiB free")
    )
    if memory and memory[1] < 3 * 2**30:
        wrong.append(
            "Less than 3 GiB of memory are free: a model of 135 million parameters needs about as much to train."
        )
    dtype = fast_dtype() if devices != "none" else "float32"
    facts.append(("engine", _engine(model, config, memory and memory[1], dtype)))
    free = shutil.disk_usage(".").free
    facts.append(("disk", f"{free / 2**30:.1f} GiB free in {pathlib.Path.cwd()}"))
    if free < 4 * 2**30:
        wrong.append(
            "Less than 4 GiB of disk are free here: a checkpoint of 135 million parameters takes 1.6 GB; three stay."
        )
    if not os.access(".", os.W_OK):
        wrong.append(f"{pathlib.Path.cwd()} cannot be written: start runs elsewhere, or with --run DIR.")
    facts.append(("sandbox", f"{levels.describe()}; for model-written code"))
    facts.append(("cache", str(cache_folder())))
    facts.append(("verifiers", f"{pathlib.Path(verifiers.__file__).parent}, which is ours"))
    wrong += _foreign()
    entries = importlib.metadata.entry_points(group="assay.verifiers")
    facts.append(("plugins", ", ".join(sorted({f"{entry.name} = {entry.value}" for entry in entries})) or "none"))
    return facts, wrong


def _foreign() -> list[str]:
    """Other distributions that own an import name of ours: the next install may overwrite ours, or hide it."""
    owners = importlib.metadata.packages_distributions()
    return [
        f"The distribution {owner!r} also installs the import name {name!r}: uninstall it, then reinstall assay-rl."
        for name in ("rl", "verifiers", "graders", "policy")
        for owner in sorted(set(owners.get(name, ())) - {"assay-rl"})
    ]


def _attention() -> str:
    """Of the learner, on the devices here."""
    from policy.flash import available

    if not available():
        return "in tiles, by XLA's products"
    flag = "--xla_gpu_deterministic_ops=true"
    bits = "" if flag in os.environ.get("XLA_FLAGS", "") else f"; for the same bits each time set XLA_FLAGS={flag}"
    return f"the flash kernel of cuDNN in 16 bits, without a mesh, heads up to 128, no soft cap; else in tiles{bits}"


def _engine(model: str, config: TransformerConfig, free: int | None, dtype: str) -> str:
    """What the engine takes of the memory."""
    from policy.memory import engine_memory, slots_that_fit

    length = min(64, config.context // 2)
    lengths = {"prompt_columns": length, "max_tokens": length, "dtype": dtype}
    needed = engine_memory(config, slots=64, **lengths)
    text = (
        f"{model} in {dtype}, prompts and completions of {length} tokens: "
        f"cache {needed.token / 2**10:.3g} KiB a token, {needed.slot / 2**20:.1f} MiB a slot; "
        f"64 slots {needed.peak / 2**30:.2f} GiB at the peak, weights included"
    )
    return text if free is None else f"{text}; {slots_that_fit(config, free // 2, **lengths)} slots fit half of it"


def _memory(root: pathlib.Path = pathlib.Path("/")) -> tuple[int, int] | None:
    """Total and free bytes, within the limit of a container; None where the system does not say."""
    file = root / "proc/meminfo"
    if not file.is_file():
        return None
    lines = dict(line.split(":", 1) for line in file.read_text().splitlines())
    total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    limit, used, parts = (root / f"sys/fs/cgroup/memory.{name}" for name in ("max", "current", "stat"))
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        most, taken = int(limit.read_text()), int(used.read_text())
        if parts.is_file():  # Files that were read stay in memory while nobody else needs it.
            taken -= int(dict(line.split() for line in parts.read_text().splitlines()).get("inactive_file", 0))
        total, free = min(total, most), min(free, most - taken)
    return total, free
