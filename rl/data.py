"""Rows of a dataset as problems, and problems as an endless, seeded, resumable stream."""

from __future__ import annotations

import csv
import difflib
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from verifiers import Problem

Row = Mapping[str, Any]
Field = str | Callable[[Row], Any]  # A column's name, or a function of the row.


def stream(problems: Sequence[Problem], *, seed: int, start: int = 0) -> Iterator[tuple[int, Problem]]:
    """Yields (index, problem) forever, in a new order every epoch.

    The order of epoch e is the argsort of the raw words of Philox (Salmon et al., 2011) under the key
    (seed, e). It depends on nothing else, so a run resumes exactly at `start` without replaying anything.

    Args:
      problems: what an epoch goes through once.
      seed: at least 0.
      start: the index to begin with.
    """
    size = len(problems)
    if not size:
        raise ValueError("There are no problems to stream.")
    first, offset = divmod(start, size)
    for epoch in itertools.count(first):
        # The raw words are stable over NumPy's versions; Generator.permutation is not promised to be.
        words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(size)
        order = np.argsort(words, kind="stable")
        for place in range(offset, size):
            yield epoch * size + place, problems[int(order[place])]
        offset = 0


def load_problems(
    source: str | pathlib.Path | Sequence[Row],
    *,
    prompt: Field,
    answer: Field,
    verifier: str = "math",
    split: str = "train",
    name: str | None = None,
    id: Field | None = None,
    metadata: Callable[[Row], Mapping[str, Any]] | None = None,
    limit: int | None = None,
) -> list[Problem]:
    """Problems from a dataset of the Hugging Face hub, from a local file, or from rows.

    JSON and CSV are read as they are written: a library that guesses types turns the answer "007" into
    7.0, "NA" into nothing and a date into a timestamp. Every cell of a CSV file is text.

    Args:
      source: a name on the hub ("openai/gsm8k"); a .jsonl, .json (an array of objects), .csv or .parquet
        file, or a folder in the hub's layout; or the rows themselves.
      prompt: a column, or a function row -> text or chat messages.
      answer: a column, or a function row -> what the verifier reads.
      verifier: the key of the verifier in the run's config.
      split: of a hub dataset; a file is one split.
      name: of the configuration of a hub dataset ("main").
      id: a column, or a function row -> text, that is unique. Default: the dataset and the row's number.
      metadata: a function row -> whatever else the verifier reads, or {"solution": a completion that is right}.
      limit: take only the first so many rows.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not what its ending says, a folder is no dataset, a column is missing, an answer is no
        JSON data, metadata are no object, an id appears twice, or the limit is no number of rows.
    """
    if limit is not None and (not isinstance(limit, (int, np.integer)) or isinstance(limit, bool) or limit < 1):
        raise ValueError(f"limit must be a whole number of rows, at least 1, or None for all, got {limit!r}.")
    rows, dataset = _rows(source, split, name)
    problems: list[Problem] = []
    for number, row in enumerate(itertools.islice(_decoded(rows, dataset), limit)):
        where = f"row {number} of {dataset}"
        if not isinstance(row, Mapping):
            raise ValueError(f"{where} is not an object with named columns: {row!r:.80}")
        question = _field(row, "prompt", prompt, where)
        gold, more = _field(row, "answer", answer, where), metadata(row) if metadata else {}
        _require(question, gold, more, where)
        problems.append(
            Problem(
                id=f"{dataset}/{number}" if id is None else str(_field(row, "id", id, where)),
                prompt=question,
                answer=gold,
                verifier=verifier,
                source={"dataset": dataset, "split": split, "row": number},
                metadata=more,
            )
        )
    if not problems:
        raise ValueError(f"{dataset} has no rows.")
    if id is not None and len({problem.id for problem in problems}) < len(problems):
        seen: set[str] = set()
        twice = next(p.id for p in problems if p.id in seen or seen.add(p.id))
        raise ValueError(
            f"The id {twice!r} appears twice in {dataset}: ids must be unique. Leave out id= to number the rows."
        )
    return problems


def _decoded(rows: Iterable[Row], dataset: str) -> Iterator[Row]:
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise ValueError(f"{dataset} is not UTF-8 text: {error}.") from error


def _field(row: Row, what: str, field: Field, where: str) -> Any:
    if callable(field):
        return field(row)
    if field not in row:
        columns = [str(name) for name in row]
        near = difflib.get_close_matches(field, columns, n=1)
        raise ValueError(
            f"{where} has no column {field!r} for the {what}: it has {sorted(columns)}."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )
    return row[field]


def _require(prompt: Any, answer: Any, metadata: Any, where: str) -> None:
    """
    Raises:
      ValueError: one of them is not what a problem holds.
    """
    if not _is_prompt(prompt):
        raise ValueError(
            f"The prompt of {where} is {prompt!r:.80}: a prompt is text, or a list of messages "
            '{"role": ..., "content": ...}. Pass prompt=<function of the row> to make one.'
        )
    if not isinstance(metadata, Mapping):
        raise ValueError(
            f"The metadata of {where} is {metadata!r:.80}: it must be an object with named values. Pass "
            "metadata=<function of the row> to make one; a cell of a CSV file is always text, so use a .jsonl file."
        )
    if not _is_data(answer):
        raise ValueError(
            f"The answer of {where} is {answer!r:.80} ({type(answer).__name__}): it must be text, a number, or a "
            "list or an object of them. Pass answer=<function of the row>, such as lambda row: str(row[...])."
        )


def _is_prompt(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return (
        isinstance(value, Sequence)
        and bool(value)
        and all(
            isinstance(m, Mapping) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in value
        )
    )


def _is_data(value: Any) -> bool:
    """Whether it can be written as JSON."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _rows(source: str | pathlib.Path | Sequence[Row], split: str, name: str | None) -> tuple[Iterable[Row], str]:
    """The rows of a source, and what it is called in ids."""
    if not isinstance(source, (str, pathlib.Path)):
        return source, name or "rows"
    path = pathlib.Path(source).expanduser()
    if path.is_file():
        dataset = name or f"{path.resolve().parent.name}/{path.stem}"
        if path.suffix not in _READERS:
            raise ValueError(f"{path} ends in {path.suffix!r}: the endings that can be read are {sorted(_READERS)}.")
        return _READERS[path.suffix](path), dataset
    # A name on the hub is "name" or "owner/name"; anything else can only be meant as a path.
    if not path.is_dir() and (
        isinstance(source, pathlib.Path)
        or path.suffix in _READERS
        or source.startswith((".", "/", "~"))
        or source.count("/") > 1
    ):
        raise FileNotFoundError(f"There is no file {source} (looked for {path.absolute()}).")
    return _hub_rows(str(source), split, name), f"{source}/{split}"


def _hub_rows(source: str, split: str, name: str | None) -> Iterable[Row]:
    # They cost a second, and only this function needs them.
    import datasets
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError, DatasetsError

    try:
        return datasets.load_dataset(source, name, split=split)  # pyright: ignore[reportReturnType]
    except (DatasetNotFoundError, DataFilesNotFoundError) as error:
        raise FileNotFoundError(f"No dataset {source!r}: it is no local file, and not on the hub ({error}).") from error
    except DatasetsError as error:
        what = f"The folder {source} is no dataset" if pathlib.Path(source).is_dir() else f"{source!r} cannot be read"
        why = " ".join(str(error.__cause__ or error).split())
        raise ValueError(f"{what} ({why:.300}): give the path of a .jsonl, .json, .csv or .parquet file.") from error
    except ConnectionError as error:
        raise FileNotFoundError(
            f"{source!r} is no local file, and the Hugging Face hub cannot be reached ({error}): "
            "give the path of a .jsonl, .json, .csv or .parquet file."
        ) from error


def _jsonl_rows(path: pathlib.Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = _from_json(line.rstrip("\n"))
                except json.JSONDecodeError as error:  # Which counts lines of its own.
                    raise ValueError(
                        f"{path}, line {number} is not JSON: {error.msg} (column {error.colno})."
                    ) from error
                except ValueError as error:
                    raise ValueError(f"{path}, line {number} cannot be read: {error}.") from error
                yield row


def _json_rows(path: pathlib.Path) -> Sequence[Row]:
    try:
        rows = _from_json(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}. If it has one object a line, name it .jsonl.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}.") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} must hold an array of objects, got {type(rows).__name__}.")
    return rows


def _from_json(text: str) -> Any:
    """
    Raises:
      json.JSONDecodeError: it is not JSON.
      ValueError: it is, but a number is too long or brackets stand too deep for Python.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # Of an integer of thousands of digits.
        digits = sys.get_int_max_str_digits()
        raise ValueError(f"a whole number has more than {digits} digits: write it as text, in quotes") from error
    except RecursionError as error:
        raise ValueError("its lists or objects are nested too deep: write the value as text, in quotes") from error


def _csv_rows(path: pathlib.Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, strict=True)  # Else a lone quote swallows the rows that follow.
        try:
            names = rows.fieldnames or ()
            if len(set(names)) < len(names):
                raise ValueError(f"{path} has two columns of one name: {', '.join(names)}.")
            for row in rows:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{path}, line {rows.line_num}: the row has not the {len(names)} cells of the "
                        "header. Put text that holds commas or line breaks in double quotes."
                    )
                yield row
        except csv.Error as error:  # Most often a lone quote, or a cell of more than 128 Ki characters.
            raise ValueError(
                f"{path}, line {rows.line_num + 1}: {error}. Put text that holds quotes in double quotes, and write "
                'each of them twice (""). A .jsonl file has no such limits.'
            ) from error


def _parquet_rows(path: pathlib.Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error


_READERS: Mapping[str, Callable[[pathlib.Path], Iterable[Row]]] = {
    ".jsonl": _jsonl_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
