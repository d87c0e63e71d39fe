"""What several test files share."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# What one test compiles, the others need not, nor the actors that they start, nor the next run of the tests.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# They take longest. `make test` gives each worker a file at a time, and none of these shall run alone at the end.
LONGEST = [
    *("test_families.py", "test_contracts.py", "test_learner.py", "test_cluster.py", "test_examples.py"),
    *("test_code_example.py", "test_engine_pages.py", "test_engine.py", "test_engine_requests.py", "test_cli.py"),
    *("test_loop.py", "test_engine_memory.py", "test_sampling.py", "test_math_hostile.py", "test_threads.py"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the longest files first, the others in the order that they had."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="module", autouse=True)
def compiled_programs():
    """Of one test file at a time: each takes hundreds of memory maps, of which Linux gives a process 65,530."""
    yield
    if jax := sys.modules.get("jax"):
        jax.clear_caches()


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
