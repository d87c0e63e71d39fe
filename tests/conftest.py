"""What several test files share."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent


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
