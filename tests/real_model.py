"""The real model, for the tests that need it."""

import functools
import pathlib

import pytest

import policy


@functools.cache
def _path() -> pathlib.Path | str:
    try:
        return policy.smollm2()
    except OSError as error:
        return str(error)


def smollm2_path() -> pathlib.Path:
    """SmolLM2-135M-Instruct as a GGUF file; skips the test where it cannot be had."""
    path = _path()
    if isinstance(path, str):
        pytest.skip(f"needs SmolLM2: {path}")
    return path
