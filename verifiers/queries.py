"""The verifier of SQL: the query and the problem's own query are run by SQLite, and their results compared.

A query of a model reads a database in memory and nothing else: an authorizer refuses every statement but SELECT and
the functions that reach out or are random, and steps, rows and bytes are counted.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from verifiers.extraction import after_thinking
from verifiers.judging import fences
from verifiers.types import Outcome, Problem, Verdict

MAX_STEPS = 2_000_000  # Instructions of SQLite's machine, per database.
MAX_ROWS = 10_000  # Of a result.
MAX_LENGTH = 10_000  # Characters of a query.
MAX_DATABASES = 20
MAX_TEXT = 20_000  # Bytes of a value, or of a row.
_MAX_MEMORY = 256 << 20  # Bytes that a query may add to this process.
_MAX_SECONDS = 0.5  # Of CPU: some functions take long over one long text.
_MAX_EXPANSION = 1000
_STRIDE = 200  # Instructions between two looks.
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_TEXT,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 4 * MAX_LENGTH,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 1,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
}
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_FORBIDDEN = {  # They reach out, are random, tell the time, or work long before SQLite counts a step.
    "load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "random", "randomblob", "zeroblob", "printf",
    "format", "current_date", "current_time", "current_timestamp",
}  # fmt: skip
_DATES = {"date": 1, "time": 1, "datetime": 1, "julianday": 1, "unixepoch": 1, "strftime": 2}  # Arguments with a date.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*+'|"(?:[^"]|"")*+"|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z)|--[^\n]*|/\*.*?(?:\*/|\Z)|[\w$]+|\S""",
    re.DOTALL,
)


class _LimitError(Exception):
    pass


class _Answer(NamedTuple):
    query: str
    databases: tuple[str, ...]


class _Result(NamedTuple):
    columns: int
    rows: list[tuple[Any, ...]]


def sql(problem: Problem, completion: str) -> Verdict:
    """Correct iff the query gives the same rows as the problem's own query, on every database.

    Rows are compared as a multiset, in order where the problem's query ends in ORDER BY; columns by number
    and position; real numbers to 10 significant digits. One database lets lucky queries pass: give several, with
    different rows.

    Args:
      problem: `answer` is `{"query": "SELECT ...", "databases": ["CREATE TABLE ...; INSERT ...", ...]}`.
      completion: what the policy wrote: the query is the last closed code fence after the thinking, else all of it.
    """
    answer = _answer(problem.answer)
    if isinstance(answer, str):
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer: {answer}"[:300])
    try:
        expected = _expected(answer)
    except (sqlite3.Error, sqlite3.Warning, _LimitError, ValueError) as error:
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer: {type(error).__name__}: {error}"[:300])
    if len(completion) > 10 * MAX_LENGTH:
        return Verdict(0, Outcome.LIMIT, reason=f"the completion has {len(completion)} characters")
    query = fences.program(completion) if after_thinking(completion) is not None else None
    if query is None:
        return Verdict(0, Outcome.UNPARSED, reason="the completion holds no query")
    query = query.strip()
    shown = query[:2000]
    info = {"databases": len(answer.databases)}
    for at, (script, rows) in enumerate(zip(answer.databases, expected, strict=True)):
        where = f"on database {at + 1} of {len(expected)}"
        try:
            found = _run(script, query)
        except _LimitError as error:
            return Verdict(0, Outcome.LIMIT, shown, f"{error} {where}"[:300], info=info)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            return Verdict(0, Outcome.INCORRECT, shown, f"{error}, {where}"[:300], info=info)
        if found.columns != rows.columns:
            why = f"{found.columns} columns, other than the {rows.columns} expected, {where}"
            return Verdict(0, Outcome.INCORRECT, shown, why, info=info)
        if not _same(rows.rows, found.rows, ordered=_is_ordered(answer.query)):
            why = f"{len(found.rows)} rows, other than the {len(rows.rows)} expected, {where}"
            return Verdict(0, Outcome.INCORRECT, shown, why, info=info)
    return Verdict(1, Outcome.CORRECT, shown, f"the same rows on {len(expected)} databases", info=info)


def _answer(answer: Any) -> _Answer | str:
    """The query and its databases, or why there are none."""
    if not isinstance(answer, Mapping) or not answer.keys() >= {"query", "databases"}:
        return f"must have 'query' and 'databases', got {answer!r:.80}"
    query, databases = answer["query"], answer["databases"]
    if not isinstance(query, str) or not query.strip():
        return f"'query' must be a query, got {query!r:.80}"
    if not isinstance(databases, list | tuple) or not 1 <= len(databases) <= MAX_DATABASES:
        return f"'databases' must be a list of 1 to {MAX_DATABASES} scripts, got {databases!r:.80}"
    if not all(isinstance(script, str) for script in databases):
        return f"'databases' must be SQL scripts, got {databases!r:.80}"
    return _Answer(query, tuple(databases))


@functools.lru_cache(maxsize=32)
def _expected(answer: _Answer) -> list[_Result]:
    return [_run(script, answer.query) for script in answer.databases]


@functools.lru_cache(maxsize=64)
def _database(script: str) -> bytes:
    """The database that a script makes, as the bytes of its file."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.executescript(script)
        return connection.serialize()
    finally:
        connection.close()


def _run(script: str, query: str) -> _Result:
    """What a query finds.

    Raises:
      _LimitError: it used up a limit.
      sqlite3.Error, sqlite3.Warning, ValueError: it is no single query that may be run.
    """
    if len(query) > MAX_LENGTH:
        raise _LimitError(f"a query of {len(query)} characters, more than {MAX_LENGTH},")
    _check_names(query)
    _check_dates(query)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.deserialize(_database(script))
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        for pragma in ("query_only = 1", "trusted_schema = 0", "temp_store = 2", "cache_size = -8192"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # To make them is denied from here on.
        connection.set_authorizer(_allows)
        return _result(connection, query)
    finally:
        connection.close()


def _result(connection: sqlite3.Connection, query: str) -> _Result:
    used, began, started, why = 0, _memory(), time.thread_time(), ""

    def look() -> bool:
        nonlocal used, why
        used += _STRIDE
        if used > MAX_STEPS:
            why = f"more than {MAX_STEPS} steps"
        elif time.thread_time() - started > _MAX_SECONDS:
            why = f"more than {_MAX_SECONDS} s of CPU"
        elif used % (50 * _STRIDE) == 0 and _memory() - began > _MAX_MEMORY:
            why = f"more than {_MAX_MEMORY >> 20} MB"
        return bool(why)

    connection.set_progress_handler(look, _STRIDE)
    rows: list[tuple[Any, ...]] = []
    size = 0
    try:
        cursor = connection.execute(query)
        if cursor.description is None:
            raise ValueError("no query that gives rows")
        for row in cursor:
            rows.append(row)
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if len(rows) > MAX_ROWS or size > _MAX_MEMORY // 16:
                raise _LimitError(f"a result of more than {MAX_ROWS} rows or {_MAX_MEMORY >> 24} MB")
    except sqlite3.OperationalError as error:
        if why:
            raise _LimitError(why) from None
        raise error
    except MemoryError:
        raise _LimitError("out of memory") from None
    except sqlite3.DataError:
        raise _LimitError(f"a value of more than {MAX_TEXT} bytes") from None
    return _Result(len(cursor.description), rows)


def _allows(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    forbidden = action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN
    return sqlite3.SQLITE_OK if action in _ALLOWED and not forbidden else sqlite3.SQLITE_DENY


def _memory() -> int:
    """Resident bytes of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _check_names(query: str) -> None:
    """Refuses tables of WITH that name each other too often: SQLite expands them, and 20 levels of two are 2^20."""
    tokens = _tokens(query)
    names = {name for at, token in enumerate(tokens) if token == "as" and (name := _named(tokens, at)) is not None}
    # "t.id" is a column.
    counts = Counter(token for token, after in itertools.pairwise([*tokens, ""]) if after != ".")
    uses = 1
    for name in names:
        uses *= max(1, counts[name] - 1)
        if uses > _MAX_EXPANSION:
            raise _LimitError(f"tables of WITH that stand for more than {_MAX_EXPANSION}")


def _check_dates(query: str) -> None:
    """Refuses what is another date tomorrow: date('now'), and date() without a date."""
    tokens = _tokens(query)
    for at, token in enumerate(tokens):
        if token in _DATES and tokens[at + 1 : at + 2] == ["("]:
            given = list(itertools.takewhile(lambda word: word != ")", tokens[at + 2 : at + 50]))
            if "now" in given or not given or given.count(",") + 1 < _DATES[token]:
                raise ValueError(f"{token} of the present time, which does not stay the same: name the day")


def _named(tokens: list[str], at: int) -> str | None:
    """The table of WITH that "as" at this place defines: name AS (, name(a, b) AS NOT MATERIALIZED (."""
    after = [token for token in tokens[at + 1 : at + 4] if token not in ("not", "materialized")]
    if after[:1] != ["("]:
        return None
    at -= 1
    if at >= 0 and tokens[at] == ")":
        while at >= 0 and tokens[at] != "(":
            at -= 1
        at -= 1
    return tokens[at] if at >= 0 else None


def _tokens(query: str) -> list[str]:
    """Words, quoted words without their quotes, and signs, in lower case and without comments."""
    found = (token[0] for token in _TOKEN.finditer(query) if not token[0].startswith(("--", "/*")))
    return [token[1:-1].lower() if token[0] in "'\"`[" and len(token) > 1 else token.lower() for token in found]


def _is_ordered(query: str) -> bool:
    """Whether ORDER BY stands outside all brackets."""
    tokens, depth = _tokens(query), 0
    for token, after in itertools.pairwise(tokens):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if not depth and (token, after) == ("order", "by"):
            return True
    return False


def _same(expected: list[tuple[Any, ...]], found: list[tuple[Any, ...]], *, ordered: bool) -> bool:
    if len(expected) != len(found):
        return False
    ours, theirs = ([tuple(map(_value, row)) for row in rows] for rows in (expected, found))
    return ours == theirs if ordered else Counter(ours) == Counter(theirs)


def _value(value: Any) -> Any:
    return float(f"{value:.10g}") if isinstance(value, float) else value
