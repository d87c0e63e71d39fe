"""The sandbox holds: one suite of hostile and of honest programs at every safe level, and in a default container."""

import concurrent.futures
import itertools
import os
import pathlib
import platform
import subprocess
import sys

import pytest
import sandbox_honest
import sandbox_hostile
import test_code

import verifiers
from verifiers import Outcome, hacks, sandbox
from verifiers.sandbox import levels

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module", params=levels.LEVELS)
def pool(request):
    reason = levels.why_not(request.param)
    if reason:
        pytest.skip(f"no level {request.param} here: {reason}")
    os.environ["SECRET_TOKEN"] = "DATABASE"
    with sandbox.Pool(workers=1, level=request.param) as pool:
        yield pool
    del os.environ["SECRET_TOKEN"]


def left_running(pool) -> list[str]:
    """What runs in the slots of a pool besides their servers."""

    def children(pid: str) -> list[str]:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    servers = [server for slot in pool._all for server in children(str(slot._process.pid))]
    return [child for server in servers for child in children(server)]


@pytest.mark.parametrize("case", sandbox_hostile.ALL, ids=lambda case: case.name)
def test_hostile(pool, case):
    if "libc.syscall(long(" in case.program and platform.machine() != "x86_64":
        pytest.skip("the numbers of its system calls are those of x86_64")
    program = case.program.replace("REPOSITORY", repr(str(ROOT)))
    found = pool.run(program, stdin=case.stdin, limits=case.limits)
    lacks = case.needs and case.needs not in levels.FEATURES[pool.level]
    if lacks and case.limits.processes > 1:
        assert found.status == "error"
        assert pool.level in found.reason  # Refused beforehand, and nobody is blamed.
    elif not lacks or found.status == "ok":
        assert found.status in case.statuses.split(), found
        if found.status == "ok":
            wanted = not case.says.startswith("!")
            assert (case.says.lstrip("!").encode() in found.stdout) is wanted or case.says == "", found
    assert found.cpu_s + found.idle_s < 8  # The rest of the time is the machine's.
    after = pool.run("print(6 * 7)")
    assert (after.status, after.stdout) == ("ok", b"42\n")
    assert not left_running(pool)


@pytest.mark.parametrize("case", sandbox_honest.ALL, ids=lambda case: case.name)
def test_honest(pool, case):
    found = pool.run(case.program, stdin=case.stdin)
    if case.needs and case.needs not in levels.FEATURES[pool.level] and found.status != "ok":
        assert found.status == "error", found  # Nobody is blamed.
        assert f"The level {pool.level!r} of this machine's sandbox lacks" in found.reason
        return
    assert found.status == "ok", found
    assert found.stdout.decode().rstrip("\n") == case.prints


def rewarded(level, tried) -> list:
    """The (name, problem, program) that earned something at a level, or broke the judge."""

    def judged(case):
        name, *asked = case
        verdict = verifiers.code(*asked, level=level)
        fine = verdict.outcome in (Outcome.INCORRECT, Outcome.LIMIT) and not verdict.reward
        return [] if fine and verdict.info["level"] == level else [(name, verdict)]

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        return list(itertools.chain(*threads.map(judged, tried)))


def test_no_spoof_is_rewarded(pool):
    """Each by its name and in every mode: tests/test_code.py."""
    modes = itertools.cycle(["calls", "check", "stdio"])
    assert rewarded(pool.level, [(hack, *test_code.spoofing(hack, next(modes))) for hack in hacks.PROGRAMS]) == []


def test_no_protocol_attack_is_rewarded(pool):
    attacks = []
    for i, name in enumerate(test_code.ATTACKS):  # Those before a call and those in one, in either mode.
        problem, programs = test_code.attacking(name, ["calls", "check"][i % 2])
        attacks.append((name, problem, programs[i // 2 % 2]))
    assert rewarded(pool.level, attacks) == []


def test_nothing_passes_from_one_program_to_the_next(pool):
    leaves = f"secret = '{'MARK' + 'ER'}' * 1000\n"
    # The marker is looked for with all bits turned, so that neither it nor a page just read is found as itself.
    scan = """
import ctypes, os
turned = bytes(range(255, -1, -1))
marker = b"REKRAM"[::-1].translate(turned) * 3
read, write = os.pipe()
libc = ctypes.CDLL(None)
samples = object(), [], {}, "x" * 30, b"x" * 300, "x" * 6000, (1, 2), lambda: 0
hits = pages = 0
for base in {id(sample) & ~0xFFFFF for sample in samples}:
    for address in range(base - (1 << 20), base + (1 << 20), 4096):
        if libc.write(write, ctypes.c_void_p(address), 4096) == 4096:
            pages += 1
            hits += marker in os.read(read, 4096).translate(turned)
print(hits > 0, pages > 50)
try: print(os.listdir("/tmp"))
except OSError: print([])
try: open("/tmp/a", "w").write("x")
except OSError as error: print(error.errno)
"""
    assert pool.run(leaves + scan).stdout.startswith(b"True True\n")  # The scan finds what is there.
    pool.run(leaves + "open('/tmp/secret', 'w').write(secret)")
    pool.run(leaves + "import os\nos.chmod('/tmp', 0)")
    pool.run("import os\nos.mkdir('/tmp/sub')\nos.rmdir('/tmp/sub')")
    lines = pool.run(scan).stdout.decode().splitlines()
    assert lines[:2] == ["False True", "[]"]
    assert len(lines) == (2 if pool.level == "namespaces" else 3)


def test_the_next_program_keeps_its_answer(pool):
    thief = (
        "import os, sys, threading\nsys.stdout.write = lambda text: None\n"
        "threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()\nos.write(1, b'thief')"
    )
    assert pool.run(thief).stdout == b"thief"
    assert pool.run("print('honest')").stdout == b"honest\n"


@pytest.mark.timeout(1800)
@pytest.mark.skipif("ASSAY_IN_CONTAINER" in os.environ, reason="this is the container")
def test_in_a_default_container():
    """Docker's own capabilities and filter: the level is landlock (or seccomp, on kernels without it)."""
    level = next((level for level in ("landlock", "seccomp") if not levels.why_not(level)), None)
    if level is None:
        pytest.skip("no level that needs no namespaces here")
    launcher = [sys.executable, str(ROOT / "tests" / "sandbox_container.py"), sys.executable]
    say = "from verifiers.sandbox import levels; print(levels.choose('auto'))"
    environment = os.environ | {"ASSAY_IN_CONTAINER": "1", "PYTHONPATH": str(ROOT)}
    chosen = subprocess.run([*launcher, "-c", say], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert chosen.stdout.strip() == level, chosen.stderr
    tests = [*launcher, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"[{level}", __file__]
    done = subprocess.run(tests, env=environment, capture_output=True, text=True, cwd=ROOT)
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in last
    assert int(last.split(" passed")[0].split()[-1]) > 200, last
