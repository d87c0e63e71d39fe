"""Problems from files, rows and the hub; the stream's order and where it resumes."""

import datetime
import decimal
import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl.data import load_problems, stream
from verifiers import Problem

PROBLEMS = [Problem(str(i), f"{i}?", str(i)) for i in range(7)]
ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "007?", "answer": "007"}]


def take(count, **kwargs):
    return list(itertools.islice(stream(PROBLEMS, **kwargs), count))


def test_an_epoch_holds_every_problem_once_and_epochs_differ():
    drawn = take(21, seed=3)
    assert [index for index, _ in drawn] == list(range(21))
    epochs = [[p.id for _, p in drawn[i : i + 7]] for i in (0, 7, 14)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(p.id for p in PROBLEMS)] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert take(7, seed=4) != drawn[:7]


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 20, 700])
def test_the_stream_resumes_exactly(start):
    assert take(9, seed=3, start=start) == take(start + 9, seed=3)[start:]


def test_the_order_is_the_same_on_every_machine():
    assert [p.id for _, p in take(14, seed=0)] == list("02154365324106")


def test_no_problems_is_an_error():
    with pytest.raises(ValueError, match="no problems"):
        next(stream([], seed=0))


def write(path, kind):
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    elif kind == "csv":
        path.write_text("question,answer\n1+1?,2\n007?,007\n")
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_files_are_read_as_written(tmp_path, kind):
    path = tmp_path / "sums" / f"train.{kind}"
    path.parent.mkdir()
    write(path, kind)
    problems = load_problems(path, prompt="question", answer="answer", verifier="exact")
    assert [(p.id, p.prompt, p.answer, p.verifier) for p in problems] == [
        ("sums/train/0", "1+1?", "2", "exact"),
        ("sums/train/1", "007?", "007", "exact"),
    ]
    assert problems[1].source == {"dataset": "sums/train", "split": "train", "row": 1}


def test_types_are_not_guessed(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"q": "x", "a": "2024-01-01"}\n{"q": "y", "a": {"k": [1, null]}}\n')
    assert [p.answer for p in load_problems(tmp_path / "a.jsonl", prompt="q", answer="a")] == [
        "2024-01-01",
        {"k": [1, None]},
    ]


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    write(path, kind)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [p.prompt for p in load_problems(path, prompt="question", answer="answer")] == ["1+1?", "007?"]


def test_functions_of_the_row_make_prompts_answers_and_ids():
    [problem] = load_problems(
        [{"n": 3}],
        prompt=lambda row: [{"role": "user", "content": f"{row['n']}?"}],
        answer=lambda row: row["n"],
        id=lambda row: f"n{row['n']}",
        name="counting",
        metadata=lambda row: {"gold": f"It is {row['n']}."},
    )
    assert problem.metadata == {"gold": "It is 3."}
    assert (problem.id, problem.prompt, problem.answer) == ("n3", [{"role": "user", "content": "3?"}], 3)
    assert problem.source is not None
    assert problem.source["dataset"] == "counting"


def test_limit_takes_the_first_rows_and_reads_no_further(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"q": "x", "a": "1"}\nnot JSON\n')
    assert len(load_problems(tmp_path / "a.jsonl", prompt="q", answer="a", limit=1)) == 1


def test_gsm8k(shared):
    problems = load_problems(
        shared("gsm8k/test.jsonl"), prompt="question", answer=lambda row: row["answer"].split("####")[1].strip()
    )
    assert len(problems) == 1319
    assert (problems[0].id, problems[0].answer) == ("gsm8k/test/0", "18")


def bad(source, match, error: type[Exception] = ValueError, prompt="question", **kwargs):
    with pytest.raises(error, match=match):
        load_problems(source, prompt=prompt, answer="answer", **kwargs)


def test_a_missing_column_names_those_there_are_and_the_nearest():
    bad(
        ROWS,
        r"no column 'qestion' for the prompt: it has \['answer', 'question'\]. Did you mean 'question'\?",
        prompt="qestion",
    )
    bad(ROWS, "no column 'key' for the id", id="key")


@pytest.mark.parametrize("path", ["missing.jsonl", "./missing", "/no/such/place", "a/b/c", "~/missing.csv"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(path):
    bad(path, "There is no file", FileNotFoundError)


@pytest.mark.parametrize("limit", [-1, 0, "3", 1.5, True])
def test_a_limit_is_a_number_of_rows(limit):
    bad(ROWS, f"limit must be a whole number of rows, at least 1, or None for all, got {limit!r}", limit=limit)


def test_a_folder_that_is_no_dataset_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"  # It holds files of many kinds.
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"question": "x", "answer": "1"}\n')
    (folder / "b.jsonl").write_text('{"step": 3}\n')
    bad(str(folder), f"^The folder {folder} is no dataset .*: give the path of a .jsonl, .json, .csv or .parquet file")


def test_the_hub_out_of_reach_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    bad("no-such-owner/no-such-dataset", "is no local file, and", FileNotFoundError)


def test_broken_files_name_the_place(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "x", "answer": "1"}\n{"question": \n')
    bad(tmp_path / "a.jsonl", r"a.jsonl, line 2 is not JSON: Expecting value \(column 14\)\.$")
    (tmp_path / "a.jsonl").write_text('{"question": "x", "answer": "1"}\n{"question": "y')
    bad(tmp_path / "a.jsonl", r"a.jsonl, line 2 is not JSON: Unterminated string starting at \(column 14\)\.$")
    (tmp_path / "b.json").write_text('{"question": "x"}\n{"question": "y"}\n')
    bad(tmp_path / "b.json", "name it .jsonl")
    (tmp_path / "c.json").write_text('{"question": "x"}')
    bad(tmp_path / "c.json", "must hold an array of objects, got dict")
    (tmp_path / "d.parquet").write_text("question")
    bad(tmp_path / "d.parquet", "d.parquet is not a whole Parquet file")
    pq.write_table(pa.Table.from_pylist(ROWS * 1000), tmp_path / "h.parquet")
    data = bytearray((tmp_path / "h.parquet").read_bytes())
    data[8:40] = bytes(32)
    (tmp_path / "h.parquet").write_bytes(data)
    bad(tmp_path / "h.parquet", "h.parquet is not a whole Parquet file")
    (tmp_path / "e.xlsx").write_text("question")
    bad(tmp_path / "e.xlsx", r"ends in '.xlsx': the endings that can be read are \['.csv'")
    (tmp_path / "f.jsonl").write_bytes(b'{"question": "\xff"}\n')
    bad(tmp_path / "f.jsonl", "is not UTF-8 text")
    (tmp_path / "g.jsonl").write_text("")
    bad(tmp_path / "g.jsonl", "has no rows")
    (tmp_path / "i.json").write_bytes(b'[{"question": "\xff"}]')
    bad(tmp_path / "i.json", "i.json is not UTF-8 text")


@pytest.mark.parametrize(
    ("value", "message"),
    [("1" * 5000, "a whole number has more than 4300 digits"), ("[" * 10**5 + "]" * 10**5, "are nested too deep")],
)
def test_values_that_python_cannot_read_name_the_place(tmp_path, value, message):
    row = f'{{"question": "x", "answer": {value}}}'
    (tmp_path / "a.jsonl").write_text(f'{{"question": "x", "answer": "1"}}\n{row}\n')
    bad(tmp_path / "a.jsonl", f"a.jsonl, line 2 cannot be read: .*{message}: write .* as text, in quotes")
    (tmp_path / "a.json").write_text(f"[{row}]")
    bad(tmp_path / "a.json", f"a.json cannot be read: .*{message}: write .* as text, in quotes")


def test_a_csv_row_that_does_not_fit_the_header_is_refused(tmp_path):
    file = tmp_path / "a.csv"
    for row in ("How many?,3,000", "How many?"):  # The gold would be 3, and nothing.
        file.write_text(f"question,answer\n1+1?,2\n{row}\n")
        bad(file, "a.csv, line 3: the row has not the 2 cells of the header. Put text that holds commas")
    file.write_text(f"question,answer\n{'x' * 200_000},2\n")
    bad(file, r"a.csv, line 2: field larger than field limit \(131072\).* A .jsonl file has no such limits")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('1+1=,"2\n2+2=,4\n3+3=,6\n', "unexpected end of data.*write each of them twice"),  # It was one row of three.
        ('"say "hi" to me",2\n', "line 2: ',' expected after '\"'"),
    ],
)
def test_a_lone_quote_in_a_csv_file_is_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(f"question,answer\n{text}")
    bad(tmp_path / "a.csv", message)


def test_a_column_of_a_csv_file_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer,answer\n1+1=,2,3\n")
    bad(tmp_path / "a.csv", "two columns of one name: question, answer, answer")


@pytest.mark.parametrize("answer", [decimal.Decimal("1.5"), datetime.date(2026, 1, 2), b"72", {1, 2}])
def test_an_answer_that_is_no_json_is_refused(tmp_path, answer):
    bad([{"question": "x", "answer": answer}], rf"row 0 of rows is .*\({type(answer).__name__}\): it must be text")
    if not isinstance(answer, set):
        pq.write_table(pa.Table.from_pylist([{"question": "x", "answer": answer}]), tmp_path / "a.parquet")
        bad(tmp_path / "a.parquet", "lambda row: str")
        path = tmp_path / "a.parquet"
        [problem] = load_problems(path, prompt="question", answer=lambda row: str(row["answer"]), verifier="v")
        assert problem.answer == str(answer)


def test_metadata_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text('question,answer,metadata\n1+1=,2,"{""solution"": ""2""}"\n')
    bad(
        tmp_path / "a.csv",
        "must be an object with named values.*use a .jsonl file",
        metadata=lambda row: row["metadata"],
    )


def test_rows_that_make_no_problems():
    bad([["x", "1"]], "row 0 of rows is not an object")
    bad([{"question": 5, "answer": 1}], "The prompt of row 0 of rows is 5")
    bad([{"question": [{"role": "user"}], "answer": 1}], "a list of messages")
    bad(
        [{"question": "a", "answer": 1, "key": "k"}, {"question": "b", "answer": 2, "key": "k"}],
        "id 'k' appears twice",
        id="key",
    )
