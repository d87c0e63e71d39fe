"""Groups and problems as rows of a Parquet file, and back without losing a bit."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from policy import Completion
from rl.types import Group, Rollout
from verifiers import Outcome, Problem, Verdict

# One row is one rollout; the rows of a group stand together.
SCHEMA = pa.schema(
    {
        "step": pa.int32(),  # Of the update that the rollout was taken for.
        "index": pa.int64(),  # In the problem stream: a group is the rows that share it.
        "sample": pa.int32(),
        "problem": pa.string(),  # The id.
        "problem_json": pa.string(),  # Prompt, answer, verifier, source, metadata.
        "reward": pa.float64(),
        "outcome": pa.string(),
        "answer": pa.string(),
        "reason": pa.string(),
        "parts": pa.string(),  # JSON
        "info": pa.string(),  # JSON
        "seconds": pa.float64(),
        "version": pa.int32(),
        "finish": pa.string(),
        "text": pa.string(),
        "prompt": pa.list_(pa.int32()),
        "tokens": pa.list_(pa.int32()),
        "mask": pa.list_(pa.bool_()),
        "logprobs": pa.list_(pa.float32()),
        "policy_logprobs": pa.list_(pa.float32()),
    }
)


def write_groups(path: pathlib.Path, step: int, groups: Sequence[Group]) -> None:
    """Writes every rollout of `groups`; the file appears whole or not at all."""
    rows = [_row(step, sample, group) for group in groups for sample in range(len(group.rollouts))]
    write_table(path, pa.Table.from_pylist(rows, SCHEMA))


def read_groups(path: str | pathlib.Path, problems: Mapping[str, Problem] | None = None) -> list[Group]:
    """The groups of a file, in order and exact.

    Args:
      path: a file that `write_groups` wrote.
      problems: by id. One that is not there is made again from its JSON.
    """
    rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    return [_group(list(members), problems or {}) for _, members in itertools.groupby(rows, lambda row: row["index"])]


def write_table(path: pathlib.Path, table: pa.Table) -> None:
    """Writes a Parquet file beside its name, and puts it there when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        pq.write_table(table, partial, compression="zstd", row_group_size=256)
        sync(partial)
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, os.strerror(error.errno or errno.EIO), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk: there also if the power fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def numbered(folder: pathlib.Path) -> Iterator[tuple[int, pathlib.Path]]:
    """(step, file) of the Parquet files in a folder, in order."""
    for file in sorted(folder.glob("[0-9]*.parquet")):
        if file.stem.isdecimal():  # Else it is a copy that the user made.
            yield int(file.stem), file


def _row(step: int, sample: int, group: Group) -> dict[str, Any]:
    problem, rollout = group.problem, group.rollouts[sample]
    completion, verdict = rollout.completion, rollout.verdict
    return {
        "step": step,
        "index": group.index,
        "sample": sample,
        "problem": problem.id,
        "problem_json": problem_json(problem),
        "reward": verdict.reward,
        "outcome": verdict.outcome.value,
        "answer": None if verdict.answer is None else _encodable(verdict.answer),
        "reason": _encodable(verdict.reason),
        "parts": json.dumps(dict(verdict.parts)),
        "info": json.dumps(dict(verdict.info), default=repr),
        "seconds": verdict.seconds,
        "version": completion.version,
        "finish": completion.finish,
        "text": _encodable(completion.text),
        "prompt": completion.prompt,
        "tokens": completion.tokens,
        "mask": completion.mask,
        "logprobs": completion.logprobs,
        "policy_logprobs": completion.policy_logprobs,
    }


def _group(rows: list[dict[str, Any]], problems: Mapping[str, Problem]) -> Group:
    first = rows[0]
    problem = problems.get(first["problem"]) or Problem(id=first["problem"], **json.loads(first["problem_json"]))
    return Group(first["index"], problem, tuple(Rollout(_completion(row), _verdict(row)) for row in rows))


def _completion(row: dict[str, Any]) -> Completion:
    return Completion(
        prompt=np.asarray(row["prompt"], np.int32),
        tokens=np.asarray(row["tokens"], np.int32),
        mask=np.asarray(row["mask"], np.bool_),
        logprobs=np.asarray(row["logprobs"], np.float32),
        policy_logprobs=np.asarray(row["policy_logprobs"], np.float32),
        text=row["text"],
        finish=row["finish"],
        version=row["version"],
    )


def _verdict(row: dict[str, Any]) -> Verdict:
    return Verdict(
        row["reward"],
        Outcome(row["outcome"]),
        answer=row["answer"],
        reason=row["reason"],
        parts=json.loads(row["parts"]),
        info=json.loads(row["info"]),
        seconds=row["seconds"],
    )


def problem_json(problem: Problem) -> str:
    """A problem without its id, as JSON; what is no JSON, be it a key, is written as its repr."""
    fields = {
        "prompt": problem.prompt,
        "answer": problem.answer,
        "verifier": problem.verifier,
        "source": problem.source,
        "metadata": problem.metadata,
    }
    return json.dumps(_as_json(fields))


def _as_json(value: Any) -> Any:
    match value:
        case Mapping():
            return {key if isinstance(key, str) else repr(key): _as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_json(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
    return repr(value)


def _encodable(text: str) -> str:
    """`text`, with lone surrogates (a policy can write them as JSON escapes) spelled out: files hold UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
