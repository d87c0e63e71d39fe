"""What a config is, as JSON and as hashes, so that a resumed run can tell what has changed."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import pathlib
import pickle
import sys
import sysconfig
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

_OURS = ("rl", "verifiers", "graders", "policy")
_LIBRARIES = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that change when `value` does.

    Data counts by content, a function by its source (a library's by its name), defaults and closure,
    a dataclass by its fields, another object by what pickle keeps of it. Paths do not count: a run may move.
    """
    canonical = json.dumps(_describe(value, ()), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def fingerprints(config: Any) -> dict[str, str]:
    """The fingerprint of every field of a dataclass."""
    return {field.name: fingerprint(getattr(config, field.name)) for field in dataclasses.fields(config)}


def summary(value: Any) -> Any:
    """`value` for people to read, as JSON: numbers and text as they are, the rest in a few words."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): summary(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [summary(item) for item in value] if len(value) <= 4 and _is_plain(value) else f"<{len(value)} items>"
    if isinstance(value, (types.FunctionType, type)):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, functools.partial):
        name = str(summary(value.func))
        if not name.startswith("verifiers."):  # What others are bound to may be secret.
            return f"{name}(...)"
        return f"{name}({', '.join(f'{key}={summary(item)!r}' for key, item in value.keywords.items())})"
    return f"<{type(value).__qualname__}>"


def _is_plain(values: Any) -> bool:
    return all(isinstance(item, (bool, int, float, str)) for item in values)


def _describe(value: Any, above: tuple[int, ...]) -> Any:
    """JSON that tells `value` from others. `above` holds the ids of what it lies in, to stop at circles."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if id(value) in above:
        return "circle"
    inside = functools.partial(_describe, above=(*above, id(value)))
    match value:
        case enum.Enum():
            return str(value)
        case bytes():
            return hashlib.sha256(value).hexdigest()
        case pathlib.PurePath():
            return "path"
        case np.ndarray() | np.generic():
            return [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
        case Mapping():
            return {str(key): inside(item) for key, item in value.items()}
        case list() | tuple():
            return [inside(item) for item in value]
        case set() | frozenset():
            return sorted(json.dumps(inside(item), sort_keys=True) for item in value)
        case functools.partial():
            return ["partial", inside(value.func), inside(value.args), inside(value.keywords)]
        case types.MethodType():
            return ["method", value.__func__.__qualname__, inside(value.__self__)]
        case types.FunctionType():
            cells = [inside(cell.cell_contents) for cell in value.__closure__ or ()]
            return [_source(value), inside(value.__defaults__), inside(value.__kwdefaults__), cells]
        case type():
            return _source(value)
        case types.ModuleType():
            return value.__name__
    kind = type(value).__qualname__
    if dataclasses.is_dataclass(value):
        return [kind, {field.name: inside(getattr(value, field.name)) for field in dataclasses.fields(value)}]
    try:
        reduced = value.__reduce_ex__(4)  # What pickle would keep of it: its class's name, arguments, state.
    except (TypeError, pickle.PicklingError):
        return [kind]
    return [kind, reduced] if isinstance(reduced, str) else [kind, inside(list(reduced[1:3]))]


def _source(value: types.FunctionType | type) -> str:
    """The source of a function or class of the user's; the name of one of a library's, whose version is kept."""
    module = sys.modules.get(value.__module__)
    file = vars(module).get("__file__") or "" if module else ""
    if value.__module__.partition(".")[0] in _OURS or file.startswith(_LIBRARIES):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):  # Typed at a prompt, or not written in Python.
        code = value.__code__.co_code.hex() if isinstance(value, types.FunctionType) else ""
        return f"{value.__qualname__} {code}"
