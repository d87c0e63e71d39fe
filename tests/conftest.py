"""What several test files share."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# What one test compiles, the others need not, nor the actors that they start, nor the next run of the tests.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


@pytest.fixture(scope="session")
def shared():
    """`shared("gsm8k/train.jsonl")` is that file of the shared data folder; the test skips where it is absent."""
    folder = pathlib.Path(os.environ.get("ASSAY_SHARED", ROOT.parent / "shared")) / "data"

    def find(name: str) -> pathlib.Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"needs {name} of the shared data folder ({folder}; set ASSAY_SHARED)")
        return path

    return find
