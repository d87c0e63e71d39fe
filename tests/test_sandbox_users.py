"""The sandbox for whoever runs it: as root and as an ordinary user, with a Python that nobody else can reach."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

from verifiers import sandbox
from verifiers.sandbox import levels

ROOT = pathlib.Path(__file__).parent.parent
USER = 12345  # Nobody's.
# The first is imported beforehand, the others are not; two are compiled, the last one lies in the virtual environment.
PROGRAM = """
import sqlite3, wsgiref.util, _lsprof, _zoneinfo, colleague
print(sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0])
"""
CHECK = """
import sys, sysconfig, types
assert sys.prefix != sys.base_prefix, "a virtual environment"
verifiers = types.ModuleType("verifiers")
verifiers.__path__ = [sys.argv[1]]
sys.modules["verifiers"] = verifiers  # Without its front, which needs sympy.
from verifiers import sandbox
from verifiers.sandbox import levels
for level in levels.LEVELS:
    reason = levels.why_not(level)
    if reason:
        print(level, "missing", reason)
        continue
    with sandbox.Pool(1, level, paths=[sysconfig.get_path("purelib")]) as pool:
        found = pool.run(sys.argv[2] if level != "seccomp" else "import sqlite3\\nprint(42)")
        print(level, found.status, found.stdout.decode().strip(), found.reason)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of mode 0700 with a Python, a virtual environment and our code in it."""
    if os.getuid() != 0:
        pytest.skip("only root can make a home for someone else")
    home = tmp_path_factory.mktemp("homes", numbered=False) / "user"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    stdlib = pathlib.Path(sysconfig.get_path("stdlib"))
    heavy = shutil.ignore_patterns(
        "test", "site-packages", "dist-packages", "config-*", "idlelib", "ensurepip", "lib2to3"
    )
    shutil.copytree(stdlib, home / "python" / "lib" / version, ignore=heavy, symlinks=True)
    for library in pathlib.Path(sys.base_prefix, "lib").glob("libpython3*.so*"):
        shutil.copy(library, home / "python" / "lib")
    (home / "python" / "bin").mkdir()
    shutil.copy(os.path.realpath(sys.executable), home / "python" / "bin" / version)
    shutil.copytree(ROOT / "verifiers", home / "verifiers", ignore=shutil.ignore_patterns("__pycache__"))
    (packages := home / ".venv" / "lib" / version / "site-packages").mkdir(parents=True)
    (packages / "colleague.py").write_text("")
    (home / ".venv" / "bin").mkdir()
    (home / ".venv" / "bin" / version).symlink_to(home / "python" / "bin" / version)
    (home / ".venv" / "pyvenv.cfg").write_text(f"home = {home}/python/bin\n")
    for path in [home, *home.rglob("*")]:
        os.chown(path, USER, USER, follow_symlinks=False)
    home.chmod(0o700)
    for parent in list(home.parents)[:-1]:
        if parent.stat().st_uid == 0 and parent != pathlib.Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return home


def interpreter(home: pathlib.Path) -> tuple[str, dict[str, str]]:
    binary = next((home / ".venv" / "bin").iterdir())
    return str(binary), {"LD_LIBRARY_PATH": str(home / "python" / "lib")}


def checked(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert set(lines) == set(levels.LEVELS), done.stdout
    for level, words in lines.items():
        assert words[:2] == ["ok", "42"] or (words[0] == "missing" and (level == "namespaces" or levels.why_not(level)))


def test_as_an_ordinary_user(home):
    python, environment = interpreter(home)
    command = [python, "-c", CHECK, str(home / "verifiers"), PROGRAM]
    done = subprocess.run(
        command, user=USER, group=USER, extra_groups=[], env=environment, cwd="/", capture_output=True, text=True
    )
    checked(done)


def test_as_an_ordinary_user_in_a_default_container(home):
    python, environment = interpreter(home)
    shutil.copy(ROOT / "tests" / "sandbox_container.py", home / "container.py")
    os.chown(home / "container.py", USER, USER)
    command = [python, str(home / "container.py"), python, "-c", CHECK, str(home / "verifiers"), PROGRAM]
    done = subprocess.run(
        command, user=USER, group=USER, extra_groups=[], env=environment, cwd="/", capture_output=True, text=True
    )
    checked(done)
    assert "namespaces missing" in done.stdout


def test_as_root(home):
    """Programs run as a user who cannot enter the home, and import from it."""
    python, environment = interpreter(home)
    command = [python, "-c", CHECK, str(home / "verifiers"), PROGRAM]
    checked(subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True))


@pytest.mark.skipif(levels.best() == "none", reason=f"no safe level here: {levels.describe()}")
def test_programs_are_nobody():
    with sandbox.Pool(1) as pool:
        found = pool.run("import os\nprint(os.getuid(), os.geteuid(), os.getgid(), os.getgroups())")
        uid, effective, gid, *groups = found.stdout.decode().split()
        assert uid == effective != "0"
        assert gid != "0"
        assert groups in (["[]"], ["[65534]"]) or os.getuid() != 0
        assert "PATH" in pool.run("import os\nprint(list(os.environ))").stdout.decode()
