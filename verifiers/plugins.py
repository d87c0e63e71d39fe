"""Finds verifiers by name. The only place in the project where a string becomes code."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pathlib
import sys
import zlib
from types import ModuleType
from typing import Any, cast

from verifiers.types import Verifier

GROUP = "assay.verifiers"  # The entry points that packages declare; ours among them.


def load(name: str) -> Verifier:
    """The verifier called `name`.

    Args:
      name: an installed entry point of the group "assay.verifiers" ("math"), "package.module:attribute", or
        "path/to/file.py:attribute".

    Raises:
      LookupError: nothing of that name exists; the message says what does.
      ValueError: the name is ambiguous or not of these forms, or what it names cannot be called.
    """
    found = attribute(name) if ":" in name else _entry_point(name)
    if not callable(found):
        raise ValueError(f"{name!r} is a {type(found).__name__}, not a function (problem, completion) -> Verdict.")
    return cast(Verifier, found)


def attribute(name: str) -> Any:
    """What "package.module:attribute" or "path/to/file.py:attribute" names. Runs that module.

    Raises:
      LookupError: no such module, file or attribute; the message names the nearest.
      ValueError: `name` is not of these forms.
    """
    place, _, wanted = name.rpartition(":")
    if not place or not wanted.isidentifier():
        raise ValueError(f"Expected 'package.module:attribute' or 'path/to/file.py:attribute', got {name!r}.")
    if place.endswith(".py") or "/" in place:
        module = load_file(place)
    else:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not (place + ".").startswith(error.name + "."):
                raise  # It is there, but something that it imports is not.
            raise LookupError(
                f"No module named {error.name!r}, looked for to find {name!r}: install the package that has it, "
                "or give a path to a file, 'path/to/file.py:attribute'."
            ) from None
    if wanted not in vars(module):
        public = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise LookupError(
            f"{place} has no {wanted!r}.{_nearest(wanted, public)} It has: {', '.join(public) or 'none'}."
        )
    return vars(module)[wanted]


def load_file(path: str | pathlib.Path) -> ModuleType:
    """The module that the Python file at `path` makes; one for each file, however often it is asked for.

    It stands in `sys.modules` under a name of its own, so that its classes work as usual. Another
    process does not find it there: what crosses to one has to be pickled by value.

    Raises:
      LookupError: no such file.
    """
    path = pathlib.Path(path).resolve()
    if not path.is_file() or path.suffix != ".py":
        others = [item.name for item in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise LookupError(f"No Python file {str(path)!r}.{_nearest(path.name, others)}")
    name = f"assay_file_{path.stem}_{zlib.crc32(bytes(path)):08x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # The suffix is ".py".
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    whole = False
    try:
        spec.loader.exec_module(module)
        whole = True
    finally:
        if not whole:
            del sys.modules[name]  # Half a module must not be found by the next who asks.
    return module


def _entry_point(name: str) -> Any:
    from importlib import metadata  # Slow to import, and only needed here.

    installed = metadata.entry_points(group=GROUP)
    # A package that is found twice on the path is one package.
    found = {(entry.value, entry.dist.name if entry.dist else "?"): entry for entry in installed if entry.name == name}
    if not found:
        names = sorted(installed.names)
        raise LookupError(
            f"No verifier named {name!r}.{_nearest(name, names)} Installed: {', '.join(names) or 'none'}. Install a "
            f"package that declares it in the entry point group {GROUP!r}, or give 'package.module:attribute' or "
            "'path/to/file.py:attribute'."
        )
    if len(found) > 1:
        owners = " and ".join(sorted(f"{package} ({value})" for value, package in found))
        raise ValueError(
            f"The verifier {name!r} is declared by {owners}: uninstall one, or name it 'module:attribute'."
        )
    return next(iter(found.values())).load()


def _nearest(name: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
