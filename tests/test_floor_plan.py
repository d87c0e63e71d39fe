"""The floor plan: who may import whom, checked on every import of every file. There are no circles.

examples -> rl -> graders -> policy, verifiers
"""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PLAN = {  # What a package may import of ours, and of the libraries that are heavy or decide where code can run.
    "verifiers": {"sympy"},
    "policy": {"jax", "haiku"},
    "graders": {"verifiers", "policy", "jax"},
    "rl": {"verifiers", "policy", "graders", "jax", "haiku", "optax", "datasets"},
    "examples": {"verifiers", "policy", "graders", "rl", "jax"},
}
ONLY = {"rl/cluster.py": {"ray"}}
CONTROLLED = {*PLAN, "jax", "haiku", "optax", "datasets", "ray", "sympy", "torch", "transformers", "gguf"}
FILES = sorted(path for package in PLAN for path in (ROOT / package).rglob("*.py"))


def module_name(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path) for path in FILES}


def imported(path: pathlib.Path) -> set[str]:
    """The modules that a file names in an import, wherever it stands: in a function or for type checks too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}, line {node.lineno}: name the package, no relative imports"
            module = node.module or ""
            names |= {f"{module}.{a.name}" if f"{module}.{a.name}" in MODULES else module for a in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_follow_the_plan(path):
    package = path.relative_to(ROOT).parts[0]
    tops = {name.split(".")[0] for name in imported(path)} & CONTROLLED - {package}
    allowed = PLAN[package] | ONLY.get(str(path.relative_to(ROOT)), set())
    assert tops <= allowed, f"{path.relative_to(ROOT)} may not import {sorted(tops - allowed)}"


def test_there_are_no_circles():
    graph = {name: set() for name in MODULES}
    for path in FILES:
        if path.name != "__init__.py":  # A package's front imports its rooms, and they do not go through it.
            graph[module_name(path)] = imported(path) & MODULES - {module_name(path)}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("A circle: " + " -> ".join(reversed(error.args[1])))


def test_rooms_do_not_go_through_their_own_front():
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        if path.name != "__init__.py":
            assert package not in imported(path), (
                f"{path.relative_to(ROOT)}: import from the module, not from {package}"
            )


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("verifiers", {"jax", "ray", "datasets", "numpy", "haiku"}),
        ("policy", {"ray", "datasets", "optax"}),
        ("graders", {"ray", "datasets", "optax"}),
        ("rl", {"jax", "ray", "datasets", "haiku", "optax", "scipy"}),
        ("rl.cli", {"jax", "ray", "datasets", "haiku", "optax", "scipy", "pyarrow"}),
    ],
)
def test_what_an_import_brings_along(module, without):
    program = f"import sys, {module}; print(*{without!r} & sys.modules.keys())"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split() == []
    )
