"""The command line: a run from start to export, every mistake in one clear line, and Ctrl-C."""

import compileall
import dataclasses
import errno
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from quick import slowness
from test_run import make_config

import verifiers
from rl.cli import main
from rl.configfile import parse_overrides
from rl.console import Console, duration, evaluation_text, gain_text, one_line, report_text
from rl.doctor import _memory
from rl.evaluate import Evaluation
from rl.run import Run

CONFIG = '''
"""A policy of a few thousand parameters that learns to write ASCII."""

import policy
import rl
from verifiers import Outcome, Problem, Verdict


def ascii(problem, completion):
    share = sum(character.isascii() for character in completion) / max(1, len(completion))
    return Verdict(share, Outcome.CORRECT if share == 1 else Outcome.INCORRECT)


def config():
    shape = policy.TransformerConfig(
        vocab_size=258, width=32, num_layers=1, num_heads=1, num_kv_heads=1, head_dim=32, mlp_width=8, context=64
    )
    def problem(split, i):
        return Problem(f"{split}/{i}", f"{i}:", "", "ascii", metadata={"solution": "yes"})
    return rl.RunConfig(
        model=policy.from_scratch(shape, policy.ByteTokenizer()),
        problems=[problem("train", i) for i in range(6)],
        held_out=[problem("test", i) for i in range(3)],
        verifiers={"ascii": ascii},
        steps=2,
        problems_per_step=2,
        group_size=16,
        max_tokens=6,
        slots=16,
        inline=True,
    )
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "tiny.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def assay(tmp_path_factory):
    """`assay(*arguments)` runs the command in a process of its own; what XLA has compiled is kept for the next."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }

    def run(*arguments, program=("-m", "rl"), start=subprocess.run):
        command = [sys.executable, *program, *map(str, arguments)]
        return start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | cache)

    return run


@pytest.fixture(scope="module")
def trained(assay, file, tmp_path_factory):
    """A run of two steps, and what the command printed."""
    run = tmp_path_factory.mktemp("runs") / "first"
    done = assay("train", file, "--run", run, "learning_rate=1e-3")
    assert done.returncode == 0, done.stderr
    return run, done.stdout


def call(capsys, *arguments):
    """(exit code, standard output, standard error) of a command."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def mistake(capsys, *arguments):
    """The one message of a command that must end with the code 2 and without a traceback."""
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert err.startswith("assay: ")
    return err.removeprefix("assay: ").rstrip("\n")


def test_help_is_fast_and_loads_nothing_heavy():
    program = (
        "import atexit, runpy, sys, time\n"
        "atexit.register(lambda: print(time.process_time()))\n"
        "sys.argv[1:] = ['--help']\n"
        "runpy.run_module('rl', run_name='__main__')"
    )
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("train", "eval", "rescore", "check", "doctor", "export"))
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"rl.cli", "argparse"} <= loaded
    assert not loaded & {"jax", "ray", "datasets", "sympy", "haiku", "optax", "tokenizers"}
    # Of the processor; 0.3 where nothing else runs: two hardware threads of one core halve each other.
    assert float(done.stdout.split()[-1]) < 1.0 * slowness()


def test_a_run_says_what_happens_and_what_was_gained(trained):
    path, out = trained
    for line in (
        r"from scratch: 2 updates of 2 problems × 16 answers, in ",
        r"  held out   \d\.\d{3}  \[\d\.\d{3}, \d\.\d{3}\]  after 0 updates, 3 problems",
        r" +1/2     reward 0\.\d{3}  entropy \d\.\d{3}  \d+ tokens  \d+\.\d s  .+ left",
        r"  saved      .*/000002",
        r"2 updates in \d+ (s|min)\.",
        r"Mean reward on 3 held-out problems (rose|fell|stayed) from \d\.\d+ \[\d\.\d+, \d\.\d+\] to ",
        r"  asked   0:",
        r"  assay eval \S+ --samples 8",
        r"  assay export \S+ my-model",
        r"  assay train --resume \S+ steps=4",
    ):
        assert re.search(line, out), f"no line like {line!r} in:\n{out}"
    report = json.loads((path / "report.json").read_text())
    assert report["steps"] == 2
    assert report["before"].keys() == report["after"].keys() == {"mean", "low", "high", "n"}


def test_a_run_keeps_the_file_and_the_overrides(trained, file):
    run = Run(trained[0])
    assert (run.path / "config.py").read_text() == CONFIG
    assert run.config["overrides"] == {"learning_rate": 1e-3}
    assert run.config["source"] == str(file)
    assert [line["step"] for line in run.metrics()] == [0, 1]
    assert len(run.groups(1)) == 2


def test_eval_measures_a_run(trained, assay):
    done = assay("eval", trained[0], "--samples", 3, "--limit", 2)
    assert re.fullmatch(
        r"mean      \d\.\d{3}  \[\d\.\d{3}, \d\.\d{3}\]  2 problems, 3 answers each at temperature 1\n"
        r"pass@2    \d\.\d{3}\npass@3    \d\.\d{3}\n",
        done.stdout,
    )
    done = assay("eval", trained[0])  # As the run itself did: greedy, on all.
    last = Run(trained[0]).evaluations()[-1]
    assert f"mean      {last['mean']:.3f}  [{last['low']:.3f}, {last['high']:.3f}]  3 problems, one" in done.stdout


def test_eval_says_why_nothing_could_be_judged(trained, tmp_path, capsys):
    path = written(tmp_path, CONFIG.replace("    share = ", "    raise ZeroDivisionError('mine')\n    share = "))
    code, out, _ = call(capsys, "eval", trained[0], "--config", path)
    assert code == 1
    assert out.startswith("Nothing is known: none of 3 answers could be judged (one greedy answer each).\n")
    assert "ZeroDivisionError: mine" in out


def test_rescore_judges_the_answers_that_a_run_has_kept(trained, tmp_path, capsys):
    run = tmp_path / "copy"
    shutil.copytree(trained[0], run)
    code, out, _ = call(capsys, "rescore", run)
    assert code == 0
    assert out.startswith(f"The answers of {run} after 2 updates, judged once more:\n")
    last = Run(run).evaluations()[-1]
    for name in ("before", "now   "):
        assert f"{name}    {last['mean']:.3f}  [{last['low']:.3f}, {last['high']:.3f}]  3 problems\n" in out
    assert out.endswith("0 of 3 verdicts changed.\n")

    kept = Evaluation(
        ids=("test/0", "test/1", "test/2"),
        rewards=np.array([[0.5, 1.0], [np.nan, np.nan], [0.0, 0.0]]),
        texts=(("aä", "b\nc"), ("d", "e"), ("f", "ä")),
        outcomes=(("incorrect", "correct"), ("error", "error"), ("unparsed", "incorrect")),
        reasons=(("", ""), ("no key", "torn"), ("", "")),
        finishes=(("stop", "stop"), ("stop", "error"), ("stop", "stop")),
    )
    Run(run).evaluation(3, kept)
    judge = "    if problem.id == 'test/0':\n        return Verdict(0, Outcome.INCORRECT, reason='too short')\n"
    path = written(tmp_path, CONFIG.replace("    return Verdict(", f"{judge}    return Verdict("))
    files = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    code, out, _ = call(capsys, "rescore", run, "--config", path, "--step", 3)
    assert code == 0
    _, low, high, _ = kept.interval
    why = "answers could not be judged, most often: "
    assert f"before    0.375  [{low:.3f}, {high:.3f}]  2 problems, 2 {why}no key\n" in out
    assert re.search(rf"^now       0\.500  \[0\.\d+, 0\.\d+\]  3 problems, 1 {why}torn$", out, re.MULTILINE)
    # Of the two that were judged both times: -0.75 and +0.5.
    assert "\nchange    -0.125  [-1.000, +1.000]  2 problems, compared one by one\n" in out
    assert out.splitlines()[4:] == [
        "4 of 6 verdicts changed: 2 lower, 1 judged now, 1 higher.",
        "  test/0: aä",
        "    incorrect 0.5 → incorrect 0 (too short)",
        "  test/0: b↵c",
        "    correct 1 → incorrect 0 (too short)",
        "  test/1: d",
        "    error → correct 1",
    ]
    code, out, _ = call(capsys, "rescore", run, "--config", written(tmp_path, CONFIG, "plain.py"))  # The newest.
    assert code == 0
    assert f"{run} after 3 updates" in out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == files

    Run(run).evaluation(4, dataclasses.replace(kept, finishes=()))  # As it is read from a file of old.
    code, out, _ = call(capsys, "rescore", run, "--config", tmp_path / "plain.py")
    assert code == 0
    assert "\n2 errors were not judged: an evaluation of old does not say which texts are whole.\n" in out

    other = written(tmp_path, CONFIG.replace('problem("test", i)', 'problem("other", i)'), "other.py")
    message = mistake(capsys, "rescore", run, "--config", other)
    assert "3 problems of the evaluation are not among the 3 given" in message
    assert mistake(capsys, "rescore", run, "--step", 1).endswith(
        "keeps no such evaluation; it keeps those after so many updates: [0, 2, 3, 4]."
    )
    assert "is not a run" in mistake(capsys, "rescore", tmp_path / "nothing")


def test_a_run_without_its_config_file_takes_another(trained, capsys, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    (run / "config.py").unlink()
    message = mistake(capsys, "export", run, tmp_path / "out")
    assert "keeps no config file, since its config.py is gone: go on with rl.train(config, resume=" in message
    code, out, _ = call(capsys, "export", run, tmp_path / "out", "--config", pathlib.Path(trained[0]) / "config.py")
    assert code == 0
    assert out.startswith("Wrote the policy after ")


def test_export_says_what_it_cannot_write(trained, capsys, tmp_path):
    code, out, err = call(capsys, "export", trained[0], tmp_path / "out", "--dtype", "float32")
    if code:  # A byte tokenizer has no Hugging Face form.
        assert code == 2
        assert "tokenizer" in err
    else:
        assert "Wrote the policy after 2 updates" in out
        assert (tmp_path / "out" / "model.safetensors").exists()
    (trained[0] / "checkpoints" / "2 of yesterday").mkdir()
    message = mistake(capsys, "export", trained[0], tmp_path / "other", "--step", 1)
    (trained[0] / "checkpoints" / "2 of yesterday").rmdir()
    assert message.endswith("has no such checkpoint; it has those of the steps [2].")


def test_resume_goes_on_where_the_run_stopped(trained, assay, tmp_path, capsys):
    run = tmp_path / "copy"
    shutil.copytree(trained[0], run)
    done = assay("train", "--resume", run, "steps=3")
    assert done.returncode == 0, done.stderr
    assert "  going on   after 2 updates" in done.stdout
    assert [line["step"] for line in Run(run).metrics()] == [0, 1, 2]
    done = assay("train", "--resume", run)  # The run keeps the new length.
    assert done.returncode == 0, done.stderr
    assert "3 updates of 2 problems" in done.stdout
    message = mistake(capsys, "train", "--resume", run, "steps=4", "learning_rate=2e-3")
    assert "learning_rate: 0.001 in the run, 0.002 now" in message
    assert "more than steps=1" in mistake(capsys, "train", "--resume", run, "steps=1")
    (run / "config.py").unlink()
    assert "go on with rl.train(config, resume=" in mistake(capsys, "train", "--resume", run)


def test_ctrl_c_stops_with_a_checkpoint_and_says_how_to_go_on(assay, file, tmp_path):
    run = tmp_path / "run"
    with assay("train", file, "--run", run, "steps=100000", start=subprocess.Popen) as process:
        assert process.stdout is not None
        while "1/100000" not in (line := process.stdout.readline()):
            assert line, "it ended"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert f"To go on: assay train --resume {run}" in err
    assert "Traceback" not in err
    assert "stopping" in out
    assert list(run.glob("checkpoints/0*/state.json"))


@pytest.mark.parametrize(("number", "inline"), [("SIGTERM", True), ("SIGHUP", True), ("SIGTERM", False)])
def test_a_signal_while_a_run_starts_leaves_nothing(assay, tmp_path, number, inline):
    text = CONFIG.replace("return rl.RunConfig(", "made = rl.RunConfig(").replace("inline=True", f"inline={inline}")
    text += f"""
    load = functools.partial(interrupted, os.getpid(), made.model.load)
    return dataclasses.replace(made, model=dataclasses.replace(made.model, load=load))


import dataclasses, functools, os, signal, time

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup it is ignored, and would stay so.


def interrupted(process, load, *arguments):
    os.kill(process, signal.{number})
    os.kill(process, signal.{number})  # A shell sends it, and the system again.
    time.sleep(10)
    return load(*arguments)  # Where the interruption was lost: Python ignores one in a callback of its collector.
"""
    done = assay("train", written(tmp_path, text), "--run", tmp_path / "run")
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("Stopped.\n")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_line_and_no_half_run(assay, file, tmp_path, trained):
    """After `trained`, so that XLA has nothing to keep: a warning that it cannot would be a second line."""

    def train_with_files_of_at_most(size):
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
        program = f"{limit}; import sys, rl.cli; sys.exit(rl.cli.main())"
        # Python caches modules that were edited meanwhile in files that this cuts off, and trips over them for ever.
        compileall.compile_dir(pathlib.Path(verifiers.__file__).parent, quiet=2)
        done = assay("train", file, "--run", tmp_path / "run", program=("-B", "-c", program))
        assert done.returncode == 1
        assert "File too large: '" in done.stderr  # And where.
        assert done.stderr.count("\n") == 1
        return done.stdout

    train_with_files_of_at_most(500)  # Too little for config.json.
    assert not (tmp_path / "run").exists()
    out = train_with_files_of_at_most(30_000)  # Too little for an embedding of 258 * 32 floats.
    assert "2/2" in out
    assert list(tmp_path.glob("run/checkpoints/[0-9]*")) == []
    assert list(tmp_path.glob("run/checkpoints/.*/*")) == []
    assert len(Run(tmp_path / "run").metrics()) == 2


def written(tmp_path, text, name="mine.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def config(:\n", "mine.py, line 1: invalid syntax: def config(:"),
        ("x = 1\n", "mine.py has no function config(): write one that returns an rl.RunConfig."),
        ("config = 3\n", "mine.py has no function config()"),
        ("def config():\n    return 3\n", "config() in {path} must return an rl.RunConfig, got int."),
        (
            "import nothing_of_this_name\n",
            "mine.py, line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        ("\n\ndef config():\n    return nothing\n", "mine.py, line 4: NameError: name 'nothing' is not defined"),
        ("def config():\n    return 1 / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("class Oops(Exception): ...\ndef config():\n    raise Oops('no')\n", "mine.py, line 3: Oops: no"),
        ("def config():\n    next(iter(()))\n", "mine.py, line 2: StopIteration"),
        (
            "import subprocess\ndef config():\n    subprocess.run('false', check=True)\n",
            "mine.py, line 3: CalledProcessError: Command 'false' returned non-zero exit status 1.",
        ),
        (
            "import rl\ndef config():\n    return rl.RunConfig(model=None, problems=[], verifiers={})\n",
            "mine.py, line 3: RunConfig.model must be what policy.pretrained(path) or",
        ),
        ("import rl\ndef config():\n    return rl.RunConfig()\n", "mine.py, line 3: TypeError: "),
        (
            "import policy\ndef config():\n    return policy.pretrained('nowhere.gguf')\n",
            "mine.py, line 3: There is no file or directory nowhere.gguf.",
        ),
        (
            "import rl\ndef config():\n    rl.load_problems([{'q': 1}], prompt='p', answer='a')\n",
            "mine.py, line 3: row 0 of rows has no column 'p' for the prompt: it has ['q'].",
        ),
    ],
)
def test_a_mistake_in_the_config_file_names_the_line(tmp_path, capsys, text, message):
    path = written(tmp_path, text)
    got = mistake(capsys, "train", path)
    assert message.format(path=path) in got
    assert got.count("\n") == 0


@pytest.mark.parametrize("data", [b"x = '\0'\n", CONFIG.encode("utf-16")])
def test_a_config_file_that_is_no_text_is_named(tmp_path, capsys, data):
    path = tmp_path / "mine.py"
    path.write_bytes(data)
    message = mistake(capsys, "train", path)
    assert message.startswith(str(path))
    assert "None" not in message
    assert not message.endswith(": ")


def test_a_config_file_is_loaded_alone(tmp_path, capsys):
    written(tmp_path, "", "neighbor.py")
    path = written(tmp_path, "import neighbor\n")
    said = f"{path}, line 1: a file is loaded alone, without neighbor.py beside it: install that as a package, or say "
    assert mistake(capsys, "train", path) == f"{said}PYTHONPATH={tmp_path} in front of the command."


def test_a_mistake_in_what_was_asked(tmp_path, capsys, file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mistake(capsys, "train", "missing.py") == "There is no file missing.py."
    assert "Name a config file" in mistake(capsys, "train")
    assert "is not a run" in mistake(capsys, "train", "--resume", "nothing")
    assert "name neither" in mistake(capsys, "train", file, "--resume", "nothing")
    assert "Did you mean 'steps'?" in mistake(capsys, "train", file, "step=3")
    assert "RunConfig.temperature must be positive, got 0.0" in mistake(capsys, "train", file, "temperature=0")
    assert "top_p is not supported" in mistake(capsys, "train", file, "top_p=0.9")
    assert "is a file" in mistake(capsys, "train", file, "--run", file)
    assert "is not a run: it has no config.json of one. It is a file." in mistake(capsys, "train", "--resume", file)
    assert "RunConfig.group_size must be at least 2, got 1" in mistake(capsys, "train", file, "group_size=1")
    assert "is not a run" in mistake(capsys, "eval", "nothing")
    assert "There is no file or directory nothing" in mistake(capsys, "eval", "nothing", "--config", file)
    assert "is not a run" in mistake(capsys, "export", "nothing", "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_file_that_is_cut_off(tmp_path, capsys):
    path = written(
        tmp_path,
        "import policy\nMODEL = __file__.replace('.py', '.gguf')\ndef config():\n    policy.pretrained(MODEL)\n",
    )
    path.with_suffix(".gguf").write_bytes(b"GGUF\x03\0\0\0" + bytes([255]) * 16)
    message = mistake(capsys, "train", path, "--run", tmp_path / "run")
    assert re.search(r"mine.py, line 4: \S+mine.gguf: GGUF header", message)
    assert "\n" not in message
    assert not (tmp_path / "run").exists()


def test_a_verifier_that_raises_is_named_before_the_run_begins(tmp_path, capsys):
    path = written(tmp_path, CONFIG.replace("    share = ", "    raise ZeroDivisionError('mine')\n    share = "))
    assert "ZeroDivisionError: mine" in mistake(capsys, "train", path, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_eval_leaves_out_what_the_run_left_out(assay, tmp_path):
    long = "held_out=[problem('test', i) for i in range(3)] + [Problem('long', 'x' * 70, '', 'ascii')],"
    text = CONFIG.replace('held_out=[problem("test", i) for i in range(3)],', f"{long}\n        drop_long=True,")
    text = text.replace(
        "Problem('long', 'x' * 70, '', 'ascii')",
        "Problem('long', 'x' * 70, 'y', 'ascii', metadata={'solution': 'yes'})",
    )
    path = written(tmp_path, text)
    done = assay("train", path, "--run", tmp_path / "run", "steps=0")
    assert "Left out (drop_long): 1 of 10 prompts are longer than 58 tokens" in done.stdout
    done = assay("eval", tmp_path / "run")
    assert "3 problems, one greedy answer each" in done.stdout, done.stderr


def test_eval_has_the_environment_of_the_run(tmp_path, capsys):
    text = CONFIG.replace("inline=True,", "inline=True, environment=tool,").replace("slots=16", "slots=4")
    text = text.replace("policy.ByteTokenizer()", "Brief()")
    text += f"""

class Brief(policy.ByteTokenizer):
    ends = frozenset(range(258))


def tool(problem, tokens, mask):
    with open({str(tmp_path / "asked")!r}, "a") as file:
        file.write(problem.id + chr(10))
    return [70]
"""
    path = written(tmp_path, text)
    assert call(capsys, "train", path, "--run", tmp_path / "run", "steps=0")[0] == 0
    asked = sorted((tmp_path / "asked").read_text().split())
    assert "test/2" in asked
    (tmp_path / "asked").unlink()
    assert call(capsys, "eval", tmp_path / "run")[0] == 0
    assert sorted((tmp_path / "asked").read_text().split()) == asked


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "x"])
@pytest.mark.parametrize("option", ["--samples", "--limit", "--max-tokens"])
def test_a_count_is_at_least_one(option, count, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["eval", "run", f"{option}={count}"])
    assert exit.value.code == 2
    assert f"argument {option}: must be a whole number, at least 1, got '{count}'" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_an_audit_takes_a_positive_time(seconds, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["audit", "exact", f"--timeout={seconds}"])
    assert exit.value.code == 2
    assert f"--timeout: must be a positive number of seconds, got '{seconds}'" in capsys.readouterr().err


def test_a_terminal_that_knows_no_other_letters_does_not_end_a_command(tmp_path, monkeypatch):
    path = written(tmp_path, "def config():\n    raise ValueError('2 × 3')\n")
    ascii = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stderr", ascii)
    assert main(["train", str(path)]) == 2
    ascii.seek(0)
    assert ascii.read().endswith("2 \\xd7 3\n")


def test_a_new_run_needs_a_place_of_its_own(file, trained, capsys):
    assert "holds a run" in mistake(capsys, "train", file, "--run", trained[0])


def test_a_prompt_without_room_and_a_bad_verifier_stop_a_run_before_it_begins(file, tmp_path, capsys):
    assert "6 of 9 prompts" not in mistake(capsys, "train", file, "--run", tmp_path / "r", "max_tokens=64")
    text = CONFIG.replace('{i}:"', '{i}:" + "x" * 70').replace("share == 1", "False")
    path = written(tmp_path, text)
    assert "9 of 9 prompts are longer than 58 tokens" in mistake(capsys, "train", path, "--run", tmp_path / "r")
    path = written(tmp_path, CONFIG.replace("share == 1", "False"), "other.py")
    assert "own gold refused" in mistake(capsys, "train", path, "--run", tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_debug_shows_the_traceback(capsys, tmp_path):
    code, _, err = call(capsys, "train", written(tmp_path, "def config():\n    return 1 / 0\n"), "--debug")
    assert code == 2
    assert "Traceback" in err
    assert "ZeroDivisionError" in err


def test_overrides_are_typed():
    texts = ["steps=50", "learning_rate=1e-5", "inline=True", "threads=none", "threads=2", "dtype=float32", "clip=1"]
    assert parse_overrides(texts) == {
        "steps": 50, "learning_rate": 1e-5, "inline": True, "threads": 2, "dtype": "float32", "clip": 1.0,
    }  # fmt: skip
    assert parse_overrides(["threads=None"]) == {"threads": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top_p=0.9", "top_p is not supported: completions are sampled at a temperature alone, since the objective"),
        ("top_k=5", "top_k is not supported"),
        ("steps", "Expected key=value, got 'steps'."),
        ("steps=many", "steps must be a whole number, got 'many'."),
        ("steps=1.5", "steps must be a whole number, got '1.5'."),
        ("threads=x", "threads must be a whole number or none, got 'x'."),
        ("clip=x", "clip must be a number, got 'x'."),
        ("inline=yes", "inline must be true or false, got 'yes'."),
        ("learnin_rate=1", "RunConfig has no field 'learnin_rate'. Did you mean 'learning_rate'?"),
        ("qqq=1", "RunConfig has no field 'qqq'."),
        ("model=x", "model is an object, which the command line cannot make: set it in the config file."),
        ("problems=x", "problems is an object, which the command line cannot make: set it in the config file."),
    ],
)
def test_overrides_that_are_wrong(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_overrides([text])


def test_check_tries_a_verifier_on_its_problems(tmp_path, capsys):
    problems = tmp_path / "p.jsonl"
    problems.write_text('{"prompt": "1+1?", "answer": "2"}\n{"prompt": "2+2?", "answer": "4"}\n')
    code, out, _ = call(capsys, "check", "exact", "--data", problems)
    assert code == 0
    assert "own gold refused                                 2       0\n" in out
    assert out.endswith("\nexact keeps its contract (2 problems).\n")
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "from verifiers import Outcome, Verdict\n"
        "def never(problem, completion):\n    return Verdict(0.0, Outcome.INCORRECT, reason='no')\n"
        "def breaks(problem, completion):\n    raise KeyError('x')\n"
    )
    code, out, _ = call(capsys, "check", f"{plugin}:never", "--data", problems)
    assert code == 1
    assert "p/0: own gold refused" in out.replace(f"{tmp_path.name}/", "")
    assert out.endswith(":never breaks its contract 2 times (2 problems).\n")
    code, out, _ = call(capsys, "check", f"{plugin}:breaks", "--data", problems, "--limit", 1)
    assert code == 1
    assert "KeyError: 'x'" in out
    assert "Did you mean 'never'?" in mistake(capsys, "check", f"{plugin}:nevr", "--data", problems)
    assert "No verifier named 'exat'" in mistake(capsys, "check", "exat", "--data", problems)
    assert "Name the problems to try it on" in mistake(capsys, "check", "exact")
    assert "no column 'q'" in mistake(capsys, "check", "exact", "--data", problems, "--prompt", "q")
    assert "There is no file" in mistake(capsys, "check", "exact", "--data", tmp_path / "x.jsonl")


def test_check_tries_a_config(file, tmp_path, capsys):
    code, out, _ = call(capsys, "check", file)
    assert (code, out) == (0, f"{file}: 6 problems to learn from, 3 held out: ready.\n")
    path = written(tmp_path, CONFIG.replace("share == 1", "False"))
    code, out, _ = call(capsys, "check", path)
    assert code == 1
    assert "own gold refused" in out
    assert out.endswith("not fit for a run.\n")
    for option in (("--data", "p.jsonl"), ("--limit", 1)):  # They were ignored.
        assert f"name the verifier, {file}:NAME." in mistake(capsys, "check", file, *option)


def test_doctor_names_what_there_is(capsys):
    code, out, _ = call(capsys, "doctor")
    for name in ("versions", "devices", "processor", "threads", "dtype", "memory", "cache", "verifiers"):
        assert re.search(rf"^{name} +\S", out, re.MULTILINE), name
    assert "jaxlib" in out
    # SmolLM2-135M: keys and values of 30 layers of 3 heads of 64 features, in float32; 128 tokens are 4 pages.
    assert "cache 45 KiB a token, 5.6 MiB a slot; 64 slots" in out
    assert out.endswith("All is well.\n" if code == 0 else "found wrong.\n")


def test_another_package_called_verifiers_is_named(tmp_path):
    package = tmp_path / "verifiers"
    package.mkdir()
    (package / "__init__.py").write_text("class Rubric: ...\n")
    done = subprocess.run(
        [sys.executable, "-c", "import rl"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"`import verifiers` found {package / '__init__.py'}, which is not the package of assay-rl" in done.stderr
    assert "pip uninstall verifiers" in done.stderr


def test_rl_stays_callable_once_its_modules_are_loaded():
    import importlib

    import rl

    importlib.import_module("rl.evaluate")
    assert callable(rl.evaluate)
    assert rl.RunConfig.__name__ == "RunConfig"
    assert {"RunConfig", "train", "evaluate", "Run", "load_problems"} <= set(dir(rl))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rl.nothing  # noqa: B018


def test_a_full_disk_says_what_to_do(monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/metrics.jsonl")

    monkeypatch.setattr("rl.cli._doctor", full)
    code, out, err = call(capsys, "doctor")
    assert (code, out) == (1, "")
    assert err == (
        "assay: [Errno 28] No space left on device: 'runs/a/metrics.jsonl'. Make room there, then start again or go on "
        "from the last checkpoint: assay train --resume RUN\n"
    )


def test_a_size_that_no_machine_has_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("rl.cli._doctor", lambda options: np.zeros((1, 10**15)))  # micro_batch_tokens=10**15
    code, _, err = call(capsys, "doctor")
    assert code == 1
    assert re.fullmatch("assay: Unable to allocate .*shape \\(1, 1000000000000000\\).*\n", err)


def test_a_gain_of_which_nothing_is_known_is_not_told(tmp_path):
    """Each evaluation judged two problems, but not the same ones."""
    run = Run.create(tmp_path / "run", make_config())
    for step, judged in enumerate(([0, 1], [2, 3])):
        rewards = np.full((4, 1), np.nan)
        rewards[judged] = 1.0
        run.evaluation(step, Evaluation(tuple("abcd"), rewards, (("",),) * 4, (("",),) * 4))
    assert gain_text(run) == ""


def test_a_gain_of_two_problems_may_be_chance(tmp_path):
    run = Run.create(tmp_path / "run", make_config())
    for step, reward in enumerate((0.0, 1.0)):
        run.evaluation(step, Evaluation(tuple("ab"), np.full((2, 1), reward), (("",),) * 2, (("",),) * 2))
    assert gain_text(run) == "Compared problem by problem: +1.000 [-0.684, +1.000], which may be chance."
    run.evaluation(2, run.read_evaluation(0))
    assert gain_text(run) == "No problem's mean reward has changed."


class Terminal:
    """A stream that says that it is a terminal, and keeps what is written."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("pair", [os.pipe, os.openpty])
def test_a_reader_that_is_gone_does_not_end_a_run(pair):
    """`assay train FILE | tee log`: Ctrl-C ends both; a terminal closes: the run has a checkpoint to save yet."""
    reading, writing = pair()
    with os.fdopen(writing, "w") as stream:
        console = Console(stream)
        os.close(reading)
        for step in range(2):
            console("stopping")
            console("checkpoint", step=step, path=f"checkpoints/00000{step}")


def test_memory_counts_within_a_container(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {2**24} kB\nMemAvailable: {2**23} kB\n")
    assert _memory(tmp_path) == (2**34, 2**33)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("3000000000\n")
    assert _memory(tmp_path) == (2**34, 2**33)
    (group / "memory.max").write_text("4000000000\n")
    assert _memory(tmp_path) == (4_000_000_000, 1_000_000_000)
    (group / "memory.stat").write_text("anon 500000000\ninactive_file 2000000000\n")  # It gives these back.
    assert _memory(tmp_path) == (4_000_000_000, 3_000_000_000)
    assert _memory(tmp_path / "nowhere") is None


def test_a_terminal_sees_what_is_going_on_and_then_the_line():
    terminal = Terminal()
    console = Console(terminal)  # pyright: ignore[reportArgumentType]
    console("progress", what="evaluation", done=3, of=96)
    assert terminal.text == "\r\x1b[2K  evaluation 3/96"
    console("checkpoint", step=3, path="runs/a/checkpoints/000003")
    assert terminal.text.endswith("\r\x1b[2K  saved      runs/a/checkpoints/000003\n")
    console("an event that nobody knows", what=1)


def test_numbers_for_people():
    assert [duration(s) for s in (0.4, 42, 99, 130, 3600, 3900)] == [
        "0 s",
        "42 s",
        "99 s",
        "2 min",
        "1 h 00 min",
        "1 h 05 min",
    ]
    assert one_line("a\nb\x1b[31m\tc", 100) == "a↵b\\x1b[31m\\tc"
    assert one_line("abcdef", 4) == "abc…"
    report = {"before": None, "after": None, "steps": 0, "seconds": 3.0, "example": None}
    assert report_text(report, "r").startswith("0 updates in 3 s.\n\nThe run is in r. Next:")
    assert "  assay export 'my run' my-model" in report_text(report, "my run")
    assert "assay eval" not in report_text(report, "my run")  # It held out no problems.
    from_python = report_text(report, "my run", kept=False)
    assert from_python.endswith("Next:\n  rl.train(dataclasses.replace(config, steps=1), resume='my run')   go on")
    unknown, known = ({"mean": mean, "low": 0.0, "high": 1.0, "n": n} for mean, n in ((None, 0), (0.5, 9)))
    for before, after in ((unknown, known), (known, unknown)):
        told = report_text({**report, "before": before, "after": after}, "r")
        assert "What was gained is not known" in told
        assert "  assay eval r --samples 8" in told
    rewards = np.array([[1.0, np.nan], [0.0, 0.0]])
    evaluation = Evaluation(("a", "b"), rewards, (("", ""),) * 2, (("correct", "error"), ("incorrect",) * 2))
    assert "1 answers could not be judged" in evaluation_text(evaluation, 1.0)
    unjudged = dataclasses.replace(evaluation, rewards=np.full((2, 2), np.nan))
    assert evaluation_text(unjudged, 1.0).startswith("Nothing is known: none of 4 answers could be judged (2 answers")
    terminal = Terminal()
    Console(terminal)("evaluation", step=3, evaluation=unjudged)  # pyright: ignore[reportArgumentType]
    assert "held out   not known after 3 updates: 4 answers could not be judged\n" in terminal.text
