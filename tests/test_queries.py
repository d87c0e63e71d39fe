"""The verifier of SQL: what it compares, and what a hostile query cannot do."""

import pathlib
import threading

import pytest
from quick import within

import verifiers
from verifiers.types import Problem

TABLE = "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT, age INT, w REAL); INSERT INTO p VALUES "
ONE = TABLE + "(1,'Ann',30,1.5),(2,'Bob',25,2.5),(3,'Cy',30,0.1);"
TWO = TABLE + "(1,'Dan',40,1.5),(2,'Eve',20,2.5);"
OLD = "SELECT name FROM p WHERE age >= 30"


def judge(completion, query=OLD, databases=(ONE, TWO)):
    return verifiers.sql(Problem("p", "?", {"query": query, "databases": list(databases)}), completion)


def doubled(name):
    """Thirty tables of WITH, each of which reads the one before twice."""
    tables = [f"{name}{n} AS (SELECT 1 FROM {name}{n - 1} x, {name}{n - 1} y)" for n in range(1, 30)]
    return f"WITH {name}0 AS (SELECT 1), {', '.join(tables)} SELECT count(*) FROM {name}29"


COUNTING = "WITH RECURSIVE c(n, x) AS (SELECT 1, 'a' UNION ALL SELECT n + 1, {} FROM c) SELECT {} FROM c"


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("SELECT name FROM p WHERE age > 29", "correct"),
        ("Here:\n```sql\nselect name from p where age > 29;\n```", "correct"),
        ("<think>SELECT 1</think> SELECT name FROM p WHERE age > 29 ORDER BY name DESC -- yes", "correct"),
        ("WITH t AS (SELECT * FROM p), u AS (SELECT t.name FROM t WHERE t.age > 29) SELECT u.name FROM u", "correct"),
        ("SELECT name FROM p WHERE age = 30", "incorrect"),  # Lucky on the first database.
        ("SELECT 'Ann' UNION ALL SELECT 'Cy'", "incorrect"),
        ("SELECT name, age FROM p WHERE age > 29", "incorrect"),
        ("SELECT name FROM p", "incorrect"),
        ("hello", "incorrect"),
        ("SELECT name FROM p; SELECT name FROM p", "incorrect"),
        ("SELECT ?", "incorrect"),
        ("SELECT '\ud800'", "incorrect"),
        ("", "unparsed"),
        ("<think>SELECT 1", "unparsed"),
        ("a" * 1_000_000, "limit"),
        ("SELECT 1" + " " * 3 + "+1" * 6000, "limit"),
    ],
)
def test_verdicts(completion, outcome):
    assert judge(completion).outcome == outcome


@pytest.mark.parametrize(
    ("query", "completion", "outcome"),
    [
        ("SELECT name FROM p ORDER BY age, name", "SELECT name FROM p ORDER BY age, name", "correct"),
        ("SELECT name FROM p ORDER BY age, name", "SELECT name FROM p ORDER BY name", "incorrect"),
        ("SELECT name FROM (SELECT * FROM p ORDER BY id)", "SELECT name FROM p ORDER BY name DESC", "correct"),
        ("SELECT 'order by' FROM p -- ORDER BY", "SELECT 'order by' FROM p", "correct"),
        ("SELECT age FROM p", "SELECT DISTINCT age FROM p", "incorrect"),  # A multiset.
        ("SELECT avg(w) FROM p", "SELECT sum(w) / count(*) FROM p", "correct"),
        ("SELECT 1", "SELECT 1.0", "correct"),
        ("SELECT 1", "SELECT '1'", "incorrect"),
        ("SELECT NULL", "SELECT NULL", "correct"),
        ("SELECT NULL", "SELECT 0", "incorrect"),
        ("SELECT '2020-02-29'", "SELECT date('2020-03-01', '-1 day')", "correct"),
        ("SELECT strftime('%Y', '2020-03-01')", "SELECT '2020' -- date('now')", "correct"),
        ("SELECT 1 UNION SELECT 2", "SELECT value FROM json_each('[2, 1]')", "correct"),
        (
            "SELECT name FROM p WHERE age > 99",
            "SELECT name FROM p WHERE age > 98",
            "correct",
        ),  # No rows, and as many ...
        ("SELECT name FROM p WHERE age > 99", "SELECT name, age FROM p WHERE age > 99", "incorrect"),  # ... columns.
        ("SELECT name FROM p WHERE age > 99", "-- There are none.", "incorrect"),
        ("SELECT name FROM p WHERE age > 99", ";", "incorrect"),
    ],
)
def test_rows(query, completion, outcome):
    assert judge(completion, query).outcome == outcome


def test_a_query_reads_and_nothing_else(tmp_path):
    marker = tmp_path / "marker"
    for completion in (
        f"ATTACH DATABASE '{marker}' AS x",
        f"VACUUM INTO '{marker}'",
        f"SELECT load_extension('{marker}')",
        f"SELECT writefile('{marker}', 'x')",
        "DROP TABLE p",
        "INSERT INTO p VALUES (9, 'x', 99, 1)",
        "CREATE TEMP TABLE t AS SELECT 1",
        "PRAGMA writable_schema = 1",
        "SELECT * FROM pragma_database_list",
        "EXPLAIN SELECT 1",
        "BEGIN",
        "SELECT random()",
        "SELECT CURRENT_TIMESTAMP",
        "SELECT date('now')",
        "SELECT strftime('%Y', 'NOW', '-1 day')",
        "SELECT unixepoch( )",
        "SELECT strftime('%s')",
    ):
        verdict = judge(completion)
        assert verdict.outcome == "incorrect", completion
    assert not marker.exists()
    assert judge("SELECT name FROM p WHERE age > 29").outcome == "correct"  # The database is as it was.


@pytest.mark.parametrize(
    "completion",
    [
        COUNTING.format("x", "n"),
        COUNTING.format("x", "count(*)"),
        COUNTING.format("substr(x || x, 1, 9000)", "* FROM (SELECT DISTINCT n, x FROM c) ORDER BY 2, 1 --"),
        COUNTING.format("x || x", "count(*)"),
        COUNTING.format("iif(length(x) < 9000, x || x, x)", "sum(instr(x, substr(x, 1, 4500) || 'b'))"),
        "SELECT count(*) FROM " + ", ".join(f"p a{n}" for n in range(40)),
        "SELECT group_concat(a.name) FROM " + ", ".join(f"p {letter}" for letter in "abcdefghijklmnopqr"),
        doubled("t"),
        doubled("t").replace("t0", "[a b]").replace(" AS (", "(z) AS/**/("),
    ],
)  # fmt: skip
def test_what_never_ends_is_a_limit(completion):
    verdict = within(2, lambda: judge(completion))
    assert verdict.reward == 0
    assert verdict.trains


@pytest.mark.parametrize(
    "completion",
    [
        "SELECT zeroblob(1000000000)",
        "SELECT printf('%.*c', 1000000000, 'x')",
        "SELECT " + "(" * 4000 + "1" + ")" * 4000,
        "SELECT " + "(SELECT " * 900 + "1" + ")" * 900,
        "SELECT " + "-" * 9000 + "1",
        "SELECT 1 UNION ALL " * 400 + "SELECT 1",
        "SELECT 'a' LIKE '" + "%a" * 4000 + "'",
        "SELECT json_extract('" + "[" * 4000 + "', '$')",
        "SELECT " + "1, " * 3000 + "1",
        "[" * 10_000,
        "WITH " + ", ".join(f"a{n} AS (SELECT 1)" for n in range(450)) + " SELECT 1",
    ],
)
def test_hostile_queries_are_quick(completion):
    verdict = within(0.25, lambda: judge(completion))
    assert verdict.reward == 0
    assert verdict.trains


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "must have 'query' and 'databases'"),
        ({"query": OLD}, "must have 'query' and 'databases'"),
        ({"query": "", "databases": [ONE]}, "'query' must be a query"),
        ({"query": OLD, "databases": []}, "1 to 20"),
        ({"query": OLD, "databases": ONE}, "a list of"),
        ({"query": OLD, "databases": [3]}, "SQL scripts"),
        ({"query": "SELEC", "databases": [ONE]}, "syntax error"),
        ({"query": "-- none", "databases": [ONE]}, "no query"),
        ({"query": "SELECT datetime('now')", "databases": [ONE]}, "name the day"),
        ({"query": "SELECT x FROM p", "databases": [ONE]}, "no such column"),
        ({"query": "DELETE FROM p", "databases": [ONE]}, "not authorized"),
        ({"query": OLD, "databases": ["CREATE"]}, "incomplete input"),
    ],
)
def test_an_answer_that_does_not_parse_is_an_error(answer, why):
    verdict = verifiers.sql(Problem("p", "?", answer), "SELECT 1")
    assert verdict.outcome == "error"
    assert why in verdict.reason


def test_a_script_of_a_problem_writes_no_file(tmp_path):
    path = pathlib.Path(tmp_path / "x.db")
    assert judge("SELECT 1", "SELECT 1", [f"ATTACH DATABASE '{path}' AS x; CREATE TABLE x.t(a)"]).outcome == "error"
    assert not path.exists()


def test_from_several_threads():
    found = []
    threads = [threading.Thread(target=lambda: found.append(judge(OLD).outcome)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["correct"] * 8
