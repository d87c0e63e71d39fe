"""Reinforcement learning with verifiable rewards."""

import importlib
import importlib.util
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.advantage import group_centered as group_centered
    from rl.advantage import group_normalized as group_normalized
    from rl.config import RunConfig as RunConfig
    from rl.data import load_problems as load_problems
    from rl.loop import train as train
    from rl.run import Run as Run
    from rl.types import Batch as Batch
    from rl.types import Group as Group
    from rl.types import Rollout as Rollout

# The import name `verifiers` also belongs to another distribution, which could be found instead of ours.
try:
    from verifiers import Verdict as _Verdict  # noqa: F401
except ImportError as _error:
    _spec = importlib.util.find_spec("verifiers")
    _found = pathlib.Path((_spec and _spec.origin) or "a folder without __init__.py")
    if _error.name != "verifiers" and _found.parent.parent == pathlib.Path(__file__).parent.parent:
        raise  # It is ours, and something that it needs is missing.
    raise ImportError(
        f"`import verifiers` found {_found}, which is not the package of assay-rl ({_error}). "
        "Use a fresh environment, or uninstall the other one (`pip uninstall verifiers`) and then reinstall ours "
        "(`pip install --force-reinstall --no-deps assay-rl`)."
    ) from _error

# Not lazy: once loaded, the module rl.evaluate would hide the function of that name.
from rl.evaluate import Evaluation as Evaluation
from rl.evaluate import compare as compare
from rl.evaluate import evaluate as evaluate
from rl.evaluate import rescore as rescore

_LAZY = {  # name: the module that makes it. `import rl` loads neither JAX nor Ray nor datasets (PEP 562).
    "Batch": "rl.types",
    "Group": "rl.types",
    "Rollout": "rl.types",
    "Run": "rl.run",
    "RunConfig": "rl.config",
    "group_centered": "rl.advantage",
    "group_normalized": "rl.advantage",
    "load_problems": "rl.data",
    "train": "rl.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rl' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
