"""What we promised ourselves about habits, checked on every file of the library."""

import ast
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(p for package in ("verifiers", "policy", "graders", "rl") for p in (ROOT / package).rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Where foreign code is called; the last of them inside a jail.
MAY_CATCH_ANYTHING = {
    "policy/requests.py",
    "rl/batch.py",
    "rl/configfile.py",
    "rl/scorer.py",
    "verifiers/worker.py",
    "verifiers/sandbox/driver.py",
    "verifiers/judging/inside.py",
}
MAY_RUN_TEXT = {"verifiers/sandbox/driver.py", "verifiers/judging/inside.py"}  # Inside a jail.
MAY_PRINT = {"rl/cli.py", "rl/console.py"}
BRITISH = (
    r"behaviour|colour|neighbour|favour|honour|(normal|optim|initial|token|serial|real|general|organ)is(e|i|a)(?!t)"
)
# Words that say nothing.
HOLLOW = r"\bdelv(e|ing)\b|seamless|cutting.edge|game.chang|\bleverag(e|es|ing)\b|\butiliz"


def name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def where(path: pathlib.Path, node: ast.AST) -> str:
    return f"{name(path)}, line {getattr(node, 'lineno', '?')}"


def nodes(path: pathlib.Path, *kinds: type) -> list:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


@pytest.mark.parametrize("path", [*FILES, *EXAMPLES, *TESTS], ids=name)
def test_a_module_says_what_it_is_for(path):
    assert not re.search(r"util|common|misc|helper", path.stem), "name the file after what it holds"
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{name(path)}: say in a sentence what the module is for"
    first = docstring.split("\n\n")[0]
    assert first.rstrip().endswith((".", ":", "?")), f"{name(path)}: a sentence ends: {first!r}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_is_public_is_described(path):
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["NamedTuple"]:
            continue  # Its fields say it.
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{where(path, node)}: {node.name} has no docstring"


@pytest.mark.parametrize("path", [*FILES, *EXAMPLES], ids=name)
def test_errors_are_not_swallowed(path):
    for handler in nodes(path, ast.ExceptHandler):
        caught = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else {"everything"}
        passes_on = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
        if caught & {"everything", "Exception", "BaseException"} and not passes_on:
            assert name(path) in MAY_CATCH_ANYTHING, f"{where(path, handler)}: name what is caught, or raise it again"


@pytest.mark.parametrize("path", [*FILES, *EXAMPLES], ids=name)
def test_objects_are_not_probed(path):
    for call in nodes(path, ast.Call):
        if isinstance(call.func, ast.Name):
            assert call.func.id != "hasattr", f"{where(path, call)}: ask the type, not the object"
            assert call.func.id != "getattr" or len(call.args) == 2, (
                f"{where(path, call)}: getattr with a default probes"
            )
            runs = call.func.id in ("eval", "exec")
            assert not runs or name(path) in MAY_RUN_TEXT, f"{where(path, call)}: text does not become code"
            if call.func.id == "print":
                assert name(path) in MAY_PRINT or path in EXAMPLES, f"{where(path, call)}: a library does not print"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_inherited_but_protocols_and_modules(path):
    allowed = {"Protocol", "NamedTuple", "StrEnum", "Enum", "Module", "Extension"}  # The last: of jinja2's grammar.
    for node in nodes(path, ast.ClassDef):
        for base in node.bases:
            text = ast.unparse(base)
            fine = text.split(".")[-1].split("[")[0] in allowed or text.endswith(("Error", "Exception", "Interrupt"))
            assert fine, f"{where(path, node)}: {node.name} inherits from {text}"


def tracked() -> list[pathlib.Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / file for file in listed.stdout.split("\0") if file]
    return [path for path in paths if path.suffix in (".py", ".md", ".toml", ".txt", "") and path.is_file()]


def test_words():
    for path in tracked():
        if path.name in ("test_house_rules.py", "LICENSE"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            place = f"{name(path)}, line {number}: {line.strip()}"
            assert not re.search(HOLLOW, line, re.IGNORECASE), place
            assert not re.search(BRITISH, line, re.IGNORECASE), f"American spelling: {place}"
            assert not re.search(r"\b(TODO|FIXME|XXX)\b", line), f"do it, or open an issue: {place}"
            assert not re.search("[\U0001f300-\U0001faff]", line) or path.parent.name == "tests", place
