"""What a config is, as JSON and as hashes, so that a resumed run can tell what has changed."""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import json
import pathlib
import pickle
import site
import sys
import sysconfig
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

_OURS = ("rl", "verifiers", "graders", "policy")
_LIBRARIES = (
    *(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    *site.getsitepackages(), site.getusersitepackages(),
)  # fmt: skip


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that change when `value` does.

    Data counts by content; a function by its source, defaults, closure, and whatever it uses of its modules; an
    object by its class and its fields, or what pickle keeps of it; what a library defines by its name. Paths do not
    count: a run may move.
    """
    canonical = json.dumps(_Description().of(value), sort_keys=True)
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


class _Description:
    """JSON that tells a value from others.

    Functions and classes use one another: each is described where it is met first.
    """

    def __init__(self, above: list[Any] | None = None):
        """
        Args:
          above: what the value lies in, to stop at circles.
        """
        self._above: list[Any] = [] if above is None else above
        self._known: list[types.FunctionType | type] = []

    def of(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if any(value is other for other in self._above):
            return "circle"
        self._above.append(value)
        try:
            return self._inside(value)
        finally:
            self._above.pop()

    def _inside(self, value: Any) -> Any:
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
                return {str(key): self.of(value[key]) for key in sorted(value, key=str)}
            case list() | tuple():
                return [self.of(item) for item in value]
            case set() | frozenset():  # Which have no order: what one item has made known is not known to the next.
                return sorted(json.dumps(_Description(self._above).of(item), sort_keys=True) for item in value)
            case functools.partial():
                return ["partial", self.of(value.func), self.of(value.args), self.of(value.keywords)]
            case types.MethodType():
                return ["method", value.__func__.__qualname__, self.of(value.__self__)]
            case types.FunctionType():
                cells = [self.of(cell.cell_contents) for cell in value.__closure__ or ()]
                return [self._defined(value), self.of(value.__defaults__), self.of(value.__kwdefaults__), cells]
            case type():
                return self._defined(value)
            case types.ModuleType():
                return value.__name__
        kind = self._defined(type(value))
        if dataclasses.is_dataclass(value):
            return [kind, {field.name: self.of(getattr(value, field.name)) for field in dataclasses.fields(value)}]
        inner = inspect.unwrap(value) if callable(value) and not _is_users(type(value).__module__) else value
        if inner is not value:  # Of `jax.jit`, `functools.cache` and their like.
            return [kind, self.of(inner)]
        try:
            reduced = value.__reduce_ex__(4)  # What pickle would keep of it: its class's name, arguments, state, items.
        except (TypeError, ValueError, AttributeError, RuntimeError, pickle.PicklingError):  # It is not to be kept.
            return [kind]
        if isinstance(reduced, str):
            return [kind, reduced]
        items = [list(some) for some in reduced[3:5] if some is not None]
        return [kind, self.of([*reduced[1:3], *items])]

    def _defined(self, value: types.FunctionType | type) -> Any:
        """A function or class of the user's: its source, and what it uses. One of a library's: its name."""
        if not _is_users(value.__module__ or ""):
            return f"{value.__module__}.{value.__qualname__}"
        if any(value is other for other in self._known):
            return ["known", value.__qualname__]
        self._known.append(value)
        try:
            source: list[Any] = [inspect.getsource(value)]
        except (OSError, TypeError):  # Typed at a prompt, or its file is gone.
            source = [value.__qualname__]
            if isinstance(value, types.FunctionType):
                source.append(self._bytecode(value.__code__))
        if isinstance(value, types.FunctionType):
            return [*source, self._used(value.__code__, value.__globals__)]
        functions = [self.of(function) for _, member in sorted(vars(value).items()) for function in _functions(member)]
        return [*source, functions, [self._defined(base) for base in value.__bases__]]

    def _used(self, code: types.CodeType, names: Mapping[str, Any]) -> list[Any]:
        """What the names in the code stand for: data, functions, classes and modules of the user's.

        What the code itself assigns is a count or the like, and no part of the config.
        """
        assigned = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_GLOBAL"}
        used = {}
        for name in sorted({*code.co_names} - assigned):
            value = names.get(name)
            used[name] = self.of(value)
            if isinstance(value, types.ModuleType) and _is_users(value.__name__) and used[name] != "circle":
                self._above.append(value)
                used[name] = self._used(code, vars(value))
                self._above.pop()
        return [used, [self._used(inner, names) for inner in code.co_consts if isinstance(inner, types.CodeType)]]

    def _bytecode(self, code: types.CodeType) -> list[Any]:
        constants = [self._bytecode(x) if isinstance(x, types.CodeType) else self.of(x) for x in code.co_consts]
        return [code.co_code.hex(), list(code.co_names), constants]


def _functions(member: Any) -> list[types.FunctionType]:
    """Those in a member of a class."""
    if isinstance(member, property):
        return [f for f in (member.fget, member.fset) if isinstance(f, types.FunctionType)]
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__
    return [member] if isinstance(member, types.FunctionType) else []


def _is_users(module: str) -> bool:
    """Whether the user wrote the module of this name. That of a library has a version, which is kept."""
    found = sys.modules.get(module)
    file = vars(found).get("__file__") or "" if found else ""
    ours = module.partition(".")[0] in _OURS
    return not (ours or module in sys.builtin_module_names or file.startswith(_LIBRARIES))
