"""Verifiers found by name: entry points, modules, files, and one clear error for each that is not."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys
import venv
from importlib import metadata

import pytest

import verifiers
from verifiers import Problem
from verifiers.plugins import load_file

ROOT = pathlib.Path(__file__).parent.parent


def test_entry_points_name_our_own():
    assert verifiers.load("math") is verifiers.math
    assert verifiers.load("number") is verifiers.number
    assert verifiers.load("exact") is verifiers.exact


def test_an_installed_package_brings_its_verifier(tmp_path):
    """examples/plugin, in a fresh environment that sees this one's packages."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    [site] = (tmp_path / "env" / "lib").glob("python*/site-packages")
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "assay.pth").write_text("\n".join(paths) + "\n")
    project = shutil.copytree(ROOT / "examples" / "plugin", tmp_path / "plugin")  # A build writes into it.
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", project]
    offline = ["--no-build-isolation", "--no-index"] if importlib.util.find_spec("setuptools") else []
    subprocess.run([*pip, *offline], check=True, timeout=300)
    command = [python, "-m", "rl", "check", "palindrome", "--data", project / "palindromes.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.endswith("palindrome keeps its contract (4 problems).\n"), done.stderr
    listed = subprocess.run([python, "-m", "rl", "doctor"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert "palindrome = assay_palindrome:palindrome" in listed.stdout


def test_module_and_attribute():
    assert verifiers.load("verifiers:number") is verifiers.number
    assert verifiers.load("verifiers.plain:exact") is verifiers.exact


def test_file_and_attribute(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from verifiers import Outcome, Verdict\nclass Bag: pass\n"
        "def yes(problem, completion): return Verdict(1, Outcome.CORRECT, completion)\n"
    )
    verifier = verifiers.load(f"{path}:yes")
    assert verifier(Problem("p", "", "x"), "y").answer == "y"
    assert verifiers.load(f"{path}:yes") is verifier  # The file ran once.
    assert load_file(path).Bag.__module__ in sys.modules
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text("def yes(problem, completion): ...\n")
    assert verifiers.load(f"{other}:yes") is not verifier  # The same name, another file.


def test_a_file_beside_a_module_of_the_same_name(tmp_path):
    path = tmp_path / "json.py"
    path.write_text("def mine(problem, completion): ...\n")
    assert verifiers.load(f"{path}:mine").__module__ != "json"


def write(tmp_path, text):
    path = tmp_path / "plugin.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("maths", LookupError, ["'maths'", "Did you mean 'math'?", "exact", "number", "module:attribute"]),
        ("", LookupError, ["''", "exact"]),
        ("no_such_module:f", LookupError, ["'no_such_module'", "install"]),
        ("verifiers.no_such:f", LookupError, ["'verifiers.no_such'"]),
        ("verifiers:nummber", LookupError, ["'nummber'", "Did you mean 'number'?", "exact"]),
        ("verifiers.plain:Fraction2", LookupError, ["Fraction"]),
        ("nowhere/file.py:f", LookupError, ["nowhere/file.py"]),
        ("nowhere.py:f", LookupError, ["nowhere.py"]),
        ("verifiers:", ValueError, ["'verifiers:'", "module:attribute"]),
        (":f", ValueError, ["':f'"]),
        ("verifiers:a b", ValueError, ["'verifiers:a b'"]),
        ("verifiers.extraction:WINDOW", ValueError, ["int", "not a function"]),
    ],
)
def test_clear_errors(name, error, words):
    with pytest.raises(error) as caught:
        verifiers.load(name)
    for word in words:
        assert word in str(caught.value)


def test_the_nearest_file_and_function_are_named(tmp_path):
    path = write(tmp_path, "def palindrome(problem, completion): ...\n")
    with pytest.raises(LookupError, match="Did you mean 'palindrome'"):
        verifiers.load(f"{path}:palindrom")
    with pytest.raises(LookupError, match=r"Did you mean 'plugin\.py'"):
        verifiers.load(f"{tmp_path}/plugins.py:palindrome")


def test_an_error_inside_a_file_is_its_own_and_leaves_nothing_behind(tmp_path):
    path = write(tmp_path, "import no_such_module_at_all\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
            verifiers.load(f"{path}:f")
    path.write_text("def f(problem, completion): ...\n")
    assert callable(verifiers.load(f"{path}:f"))


def test_a_name_that_two_packages_declare(tmp_path, monkeypatch):
    for package in ("one", "two"):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[assay.verifiers]\ndoubled = {package}.module:f\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(metadata.entry_points(group="assay.verifiers", name="doubled")) == 2
    with pytest.raises(ValueError, match=r"one \(one\.module:f\) and two \(two\.module:f\)"):
        verifiers.load("doubled")
