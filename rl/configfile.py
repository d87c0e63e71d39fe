"""A config from a Python file and `key=value` overrides, with one line for whatever is wrong in them."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rl.config import RunConfig
from rl.run import Run, resume_command
from verifiers import plugins

# Settings of samplers that change the law of a token in ways that the objective does not know.
_TRUNCATIONS = ("top_k", "top_p", "min_p", "typical_p", "repetition_penalty")


class Mistake(ValueError):
    """Something that the user can put right. The message says what."""


def load_config(file: str | pathlib.Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Runs the file's `config()` and replaces the fields in `overrides`.

    Raises:
      Mistake: there is no such file, it cannot be run, it has no `config()`, or that returns no good config.
    """
    if not pathlib.Path(file).is_file():
        raise Mistake(f"There is no file {file}.")
    make = theirs(lambda: vars(plugins.load_file(file)).get("config"), file)
    if not callable(make):
        raise Mistake(f"{file} has no function config(): write one that returns an rl.RunConfig.")
    config = theirs(make, file)
    if not isinstance(config, RunConfig):
        raise Mistake(f"config() in {file} must return an rl.RunConfig, got {type(config).__name__}.")
    try:
        return dataclasses.replace(config, **(overrides or {}))
    except ValueError as error:
        raise Mistake(str(error)) from error


def load_run_config(run: Run, overrides: Mapping[str, Any] | None = None) -> tuple[RunConfig, dict[str, Any]]:
    """The config of a run, made again from the file that it keeps, and its overrides with `overrides` on top.

    Where the original file is still the same it is used, so that paths relative to it are found.

    Raises:
      Mistake: the run was started from Python, or its file cannot be run any more.
    """
    kept, original = run.path / "config.py", run.config["source"]
    if not kept.is_file():
        why = f"its {kept.name} is gone" if original else "it was started from Python"
        raise Mistake(
            f"{run.path} keeps no config file, since {why}: go on with {resume_command(run.path)}, with the config "
            "that it was started with; or name a file that makes that, where the command takes --config."
        )
    same = original and pathlib.Path(original).is_file() and pathlib.Path(original).read_bytes() == kept.read_bytes()
    both = {**run.config["overrides"], **(overrides or {})}
    return load_config(original if same else kept, both), both


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """`["steps=50", "inline=true"]` as `{"steps": 50, "inline": True}`, typed as the fields of `RunConfig`.

    Raises:
      Mistake: no `=`, an unknown field (names the nearest), one that is an object, or a value of another type.
    """
    return dict(_parse_override(text) for text in texts)


def theirs(call: Callable[[], Any], file: str | pathlib.Path) -> Any:
    """What `call` returns. What the code in `file` raises becomes a `Mistake` that names the line."""
    try:
        return call()
    except Exception as error:  # Foreign code.
        raise Mistake(_blame(error, pathlib.Path(file))) from error


def _blame(error: BaseException, file: pathlib.Path) -> str:
    """The place in `file` where an error comes from, and the error, in a line."""
    if isinstance(error, SyntaxError):
        if error.lineno is None:  # Of a file that is no text, Python names neither file nor line.
            return f"{error.filename or file}: {error.msg}. Save it as UTF-8 text."
        parts = (f"{error.filename}, line {error.lineno}", error.msg, (error.text or "").strip())
        return ": ".join(filter(None, parts))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file.resolve())]
    place = f"{file}, line {frames[-1].lineno}" if frames else str(file)
    if isinstance(error, ModuleNotFoundError) and (file.parent / f"{error.name}.py").is_file():
        return (
            f"{place}: a file is loaded alone, without {error.name}.py beside it: install that as a package, or say "
            f"PYTHONPATH={file.parent} in front of the command."
        )
    spoken = isinstance(error, (ValueError, OSError)) or type(error) is LookupError  # They say what is wrong.
    return ": ".join(filter(None, (place, "" if spoken and str(error) else type(error).__name__, str(error))))


def _parse_override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    types = {field.name: str(field.type) for field in dataclasses.fields(RunConfig)}
    if not equals:
        raise Mistake(f"Expected key=value, got {text!r}.")
    if name in _TRUNCATIONS:
        raise Mistake(
            f"{name} is not supported: completions are sampled at a temperature alone, since the objective does not "
            "correct for truncated or penalized sampling. Leave it out; temperature is what can be set."
        )
    if name not in types:
        near = difflib.get_close_matches(name, types, n=1)
        raise Mistake(f"RunConfig has no field {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
    kind, _, optional = types[name].partition(" | ")
    if kind not in _PARSERS:
        raise Mistake(f"{name} is an object, which the command line cannot make: set it in the config file.")
    if optional and value.lower() == "none":
        return name, None
    try:
        return name, _PARSERS[kind](value)
    except ValueError:
        wanted = {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "Mapping[str, int]": "devices along data, fsdp, tensor or expert, as in mesh=fsdp=4,tensor=2,",
        }[kind]
        raise Mistake(f"{name} must be {wanted}{' or none' if optional else ''}, got {value!r}.") from None


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _mesh(text: str) -> dict[str, int]:
    from policy.sharding import parse_mesh  # With it comes JAX.

    return parse_mesh(text)


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": _bool,
    "str": str,
    "Mapping[str, int]": _mesh,
}
