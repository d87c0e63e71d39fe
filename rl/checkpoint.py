"""Checkpoints that are whole or not there, whose every bit is checked, and that hold the groups in flight.

partial = begin(run, 24)                      # checkpoints/.000024.partial/
write_tree(partial / "learner", state)        # By the learner; any files may stand there.
commit(partial, step=24, ...)                 # Groups, state.json with a checksum of every file; renamed.
latest(run)                                   # The newest whole one.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pathlib
import re
import shutil
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from policy import Params, TransformerConfig, make_policy
from rl.records import read_groups, sync, write_groups
from rl.types import Group
from verifiers import Problem

KEPT = 2  # The newest checkpoints that are kept beside the best one.


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a run goes on from.

    Attributes:
      step: updates done.
      next_index: of the problem stream: the first that was not dispatched.
      path: the directory, with what the learner wrote.
      score: of the policy, e.g. on held-out problems; None where it was not measured.
    """

    step: int
    next_index: int
    path: pathlib.Path
    score: float | None = None

    @property
    def groups(self) -> list[Group]:
        """The scored groups that had been dispatched and not yet trained on, oldest first."""
        return self.read_groups({})

    def read_groups(self, problems: Mapping[str, Problem]) -> list[Group]:
        """`groups`, with the problems of `problems` (by id) where they are there."""
        return read_groups(self.path / "groups.parquet", problems)


def begin(run: str | os.PathLike[str], step: int) -> pathlib.Path:
    """An empty directory for the files of a checkpoint, which nobody takes for one."""
    partial = pathlib.Path(run) / "checkpoints" / f".{step:06d}.partial"
    discard(partial)
    partial.mkdir(parents=True)
    return partial


def discard(partial: pathlib.Path) -> None:
    """Gives up a checkpoint that was begun."""
    shutil.rmtree(partial, ignore_errors=True)


def commit(
    partial: pathlib.Path, *, step: int, next_index: int, groups: Sequence[Group] = (), score: float | None = None
) -> pathlib.Path:
    """Makes a checkpoint of what `begin` began: from now on it is there, also if the power fails.

    Raises:
      OSError: the disk is full. Nothing is left of the checkpoint; those before it stay.
    """
    path = partial.with_name(f"{step:06d}")
    try:
        write_groups(partial / "groups.parquet", step, groups)
        sums = {str(file.relative_to(partial)): _file_sum(file) for file in _files(partial)}
        state = {"step": step, "next_index": next_index, "score": score, "sums": sums}
        (partial / "state.json").write_text(json.dumps(state, indent=2) + "\n")
        for file in (*_files(partial), partial):
            sync(file)
        if path.exists():  # Of a run that went back behind it.
            shutil.rmtree(path)
        os.rename(partial, path)
        sync(path.parent)
    except OSError:
        discard(partial)
        raise
    return path


def latest(run: str | os.PathLike[str]) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole; None where there is none. One that is not is warned of.

    Raises:
      ValueError: there are checkpoints, and none is whole.
    """
    found = _committed(pathlib.Path(run))
    for path in reversed(found):
        try:
            return open_checkpoint(path)
        except ValueError as error:
            warnings.warn(f"{error} Going back to the checkpoint before it.", stacklevel=2)
    if found:
        raise ValueError(f"None of the {len(found)} checkpoints in {run} is whole: the run cannot go on.")
    return None


def open_checkpoint(path: pathlib.Path) -> Checkpoint:
    """Reads a checkpoint's state, and every file once to compare it with its checksum.

    Raises:
      ValueError: it is not a checkpoint, or a file is missing or has changed; names it.
    """
    try:
        state = json.loads((path / "state.json").read_text())
        checkpoint = Checkpoint(state["step"], state["next_index"], path, state["score"])
        sums = state["sums"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no whole checkpoint: its state.json cannot be read ({error!r}).") from error
    for name, expected in sums.items():
        file = path / name
        if not file.is_file() or _file_sum(file) != expected:
            raise ValueError(f"{path} is corrupt: {name} {'has changed' if file.is_file() else 'is missing'}.")
    return checkpoint


def prune(run: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Removes all but the two newest checkpoints and the one with the best score. Returns what it removed."""
    found = _committed(pathlib.Path(run))
    scores = {path: _score(path) for path in found}
    best = max(found, key=lambda path: (scores[path], path), default=None)
    removed = [path for path in found[:-KEPT] if path != best or scores[path] == -np.inf]
    for path in removed:
        shutil.rmtree(path)
    return removed


def write_tree(path: pathlib.Path, tree: Any) -> None:
    """Writes the arrays of a tree to a safetensors file, with a CRC-32 of each.

    Args:
      path: of the file.
      tree: arrays in nested dicts, tuples, NamedTuples and lists. Every dtype keeps its bits.

    Raises:
      OSError: the disk is full. The file is not left half written.
    """
    arrays = {name: np.require(leaf, requirements="C") for name, leaf in _leaves(tree).items()}
    sums = {name: _sum(array) for name, array in arrays.items()}
    try:
        save_file(arrays, path, metadata={"sums": json.dumps(sums)})
        path.chmod(path.parent.stat().st_mode & 0o666)  # It was made for its owner's eyes only.
    except SafetensorError as error:
        path.unlink(missing_ok=True)
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def read_tree(path: pathlib.Path, like: Any) -> Any:
    """The tree that `write_tree` wrote, as NumPy arrays in the structure of `like`.

    Args:
      path: of the file.
      like: a tree of the same structure, of arrays or `jax.ShapeDtypeStruct`s; no value is read.

    Raises:
      ValueError: the file is damaged, or holds another tree; names the arrays.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            sums = json.loads((file.metadata() or {}).get("sums", "{}"))
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}.") from error
    wanted = _leaves(like)
    if wanted.keys() != arrays.keys():
        raise ValueError(
            f"{path} holds another tree. Missing in the file: {sorted(wanted.keys() - arrays.keys())[:5]}; "
            f"not expected there: {sorted(arrays.keys() - wanted.keys())[:5]}."
        )
    for name, array in arrays.items():
        expected = (tuple(wanted[name].shape), np.dtype(wanted[name].dtype))
        if (array.shape, array.dtype) != expected:
            raise ValueError(f"{path}: {name} is {array.dtype} {array.shape}, expected {expected[1]} {expected[0]}.")
        if _sum(array) != sums.get(name):
            raise ValueError(f"{path}: the array {name} is corrupt: its checksum does not match.")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def read_params(path: pathlib.Path, config: TransformerConfig) -> Params:
    """The float32 parameters in a checkpoint's directory.

    Raises:
      ValueError: they are damaged, or of another shape than `config`.
    """
    like = jax.eval_shape(make_policy(config).init, jax.random.key(0))
    return read_tree(path / "params.safetensors", like)


def _leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path, in the tree's order."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _sum(array: np.ndarray) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data)


def _committed(run: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints of a run, oldest first. Partial ones begin with a dot; a user's copy, 000004.bak, is none."""
    found = (path for path in (run / "checkpoints").glob("[0-9]*") if path.name.isdecimal() and path.is_dir())
    return sorted(found, key=lambda path: int(path.name))


def _score(path: pathlib.Path) -> float:
    try:
        score = json.loads((path / "state.json").read_text())["score"]
    except (OSError, ValueError, KeyError):
        return -np.inf
    return -np.inf if score is None or np.isnan(score) else score


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _file_sum(path: pathlib.Path) -> int:
    sum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            sum = zlib.crc32(block, sum)
    return sum
