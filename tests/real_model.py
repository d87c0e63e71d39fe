"""The real model, for the tests that need it."""

import functools
import os
import pathlib
from unittest import mock

import pytest

import policy

ENVIRONMENT = dict(os.environ)  # A test that changes it may be the first to ask.


@functools.cache
def _path() -> pathlib.Path | str:
    try:
        with mock.patch.dict(os.environ, ENVIRONMENT, clear=True):
            return policy.smollm2()
    except OSError as error:
        return str(error)


def smollm2_path() -> pathlib.Path:
    """SmolLM2-135M-Instruct as a GGUF file; skips the test where it cannot be had, and fails it in CI."""
    path = _path()
    if isinstance(path, str):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs SmolLM2: {path}")
    return path
