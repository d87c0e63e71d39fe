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
import types
from collections.abc import Mapping
from typing import Any

import numpy as np


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that change when `value` does.

    Data counts by content, a function by its name, source, defaults and closure (not by what it calls),
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
            return [value.__qualname__, _source(value), inside(value.__defaults__), inside(value.__kwdefaults__), cells]
        case type():
            return [value.__qualname__, _source(value)]
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


def _source(value: Any) -> str | None:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):  # Typed at a prompt, or not written in Python.
        return value.__code__.co_code.hex() if isinstance(value, types.FunctionType) else None
