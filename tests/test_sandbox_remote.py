"""The remote sandbox against a server that speaks SandboxFusion's protocol, and runs programs in ours."""

import base64
import concurrent.futures
import dataclasses
import http.server
import json
import pathlib
import socket
import threading

import pytest
import sandbox_honest
import sandbox_hostile
import test_code

import verifiers
from verifiers import Outcome, hacks, sandbox
from verifiers.sandbox import Limits, levels
from verifiers.sandbox.remote import RemotePool

pytestmark = pytest.mark.skipif(levels.best() == "none", reason=f"no safe level here: {levels.describe()}")
ANSWERS: list = []  # What the server says next, in place of the truth: (HTTP status, body).


class Handler(http.server.BaseHTTPRequestHandler):
    """POST /run_code, as sandbox/server/sandbox_api.py of SandboxFusion documents it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if ANSWERS:
            return self.answer(*ANSWERS.pop(0))
        seconds = asked["run_timeout"]
        limits = Limits(cpu_s=seconds, idle_s=seconds, memory_mb=asked["memory_limit_MB"])
        files = {name: base64.b64decode(content) for name, content in asked["files"].items()}
        found = sandbox.run(asked["code"], stdin=asked["stdin"], files=files, limits=limits)
        result = {
            "status": "TimeLimitExceeded" if found.status == "limit" else "Finished",
            "execution_time": found.wall_s,
            "return_code": None if found.status == "limit" else -found.signal if found.signal else found.exit_code,
            "stdout": found.stdout.decode(errors="replace"),
            "stderr": found.stderr.decode(errors="replace"),
        }
        success = "Success" if found.status == "ok" else "Failed"
        return self.answer(200, {"status": success, "message": "", "compile_result": None, "run_result": result})

    def answer(self, status: int, body: object) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def pool():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with RemotePool(f"http://127.0.0.1:{server.server_port}") as pool:
            yield pool
        server.shutdown()


@pytest.mark.parametrize("case", [case for case in sandbox_honest.ALL if not case.needs], ids=lambda case: case.name)
def test_honest(pool, case):
    found = pool.run(case.program, stdin=case.stdin)
    assert (found.status, found.level) == ("ok", "remote"), found
    assert found.stdout.decode().rstrip("\n") == case.prints


def hostile(pool, case) -> str:
    """What is wrong with what comes of a hostile program; the server says nothing of violations."""
    program = case.program.replace("REPOSITORY", repr(str(pathlib.Path(__file__).parent.parent)))
    limits = dataclasses.replace(case.limits, wall_s=0.3) if "limit" in case.statuses else case.limits
    found = pool.run(program, stdin=case.stdin, limits=limits)
    wanted, says = case.statuses.replace("violation", "failed").split(), case.says.lstrip("!").encode()
    if found.status not in wanted and (found.status, "limit" in wanted) != ("failed", True):
        return f"{case.name}: {found}"
    wrong = found.status == "ok" and says and (says in found.stdout) is case.says.startswith("!")
    return f"{case.name}: {found}" if wrong or found.violation else ""


def test_hostile(pool):
    stalls = {case.name for case in [*sandbox_hostile.STALLS[::4], *sandbox_hostile.MEMORY[::4]]}  # One of four.
    slow = {case.name for case in [*sandbox_hostile.STALLS, *sandbox_hostile.MEMORY]} - stalls
    cases = [case for case in sandbox_hostile.ALL if not case.needs and case.name not in slow]
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        found = threads.map(lambda case: hostile(pool, case), cases)
    assert [wrong for wrong in found if wrong] == []
    assert len(cases) > 100
    assert pool.run("print(6 * 7)").stdout == b"42\n"


@pytest.mark.parametrize("hack", hacks.PROGRAMS)
def test_no_spoof_is_rewarded(pool, hack):
    """What it printed is compared here, and nothing else is asked for."""
    problem, completion = test_code.spoofing(hack, "stdio")
    verdict = verifiers.code(problem, completion, level=pool.url)
    assert (verdict.reward, verdict.info["level"]) == (0, "remote")
    assert verdict.outcome in (Outcome.INCORRECT, Outcome.LIMIT)


def test_its_address_is_a_level(pool):
    assert sandbox.run("print(input())", stdin=b"7", level=pool.url).stdout == b"7\n"
    problem = test_code.stdio(("3\n", "9\n"), ("4\n", "16\n"))
    right = verifiers.code(problem, "n = int(input())\nprint(n * n)", level=pool.url)
    assert (right.outcome, right.info["level"]) == (Outcome.CORRECT, "remote")
    assert verifiers.code(problem, "print(9)", level=pool.url).outcome is Outcome.INCORRECT
    ANSWERS[:] = [(503, b"")] * 4
    assert verifiers.code(problem, "print(9)", level=pool.url).outcome is Outcome.ERROR
    with pytest.raises(sandbox.SandboxUnavailable, match="whole programs only"):
        verifiers.code(test_code.asked("assert f(1) == 1"), "def f(x): return x", level=pool.url)


def test_what_goes_wrong_there(pool):
    assert pool.run("1/0").reason == "ZeroDivisionError: division by zero"
    crashed = pool.run("import ctypes\nctypes.string_at(0)")
    assert (crashed.status, crashed.signal, crashed.reason) == ("failed", 11, "ended by signal 11")
    for no_text in ("x = '\udcff'", b"x = '\xff'"):
        assert pool.run(no_text).status == "failed"  # The program's fault, as it is in a sandbox of ours.
        assert pool.run("print(1)", stdin=no_text).status == "error"
    assert pool.run("import time; time.sleep(9)", limits=Limits(wall_s=0.3)).status == "limit"
    flood = pool.run("print('x' * 3000)", limits=Limits(output_kb=2))
    assert (flood.status, flood.stdout_truncated, len(flood.stdout)) == ("limit", True, 2048)
    assert [found.stdout for found in pool.map(["print(1)", "print(2)"])] == [b"1\n", b"2\n"]
    with pytest.raises(ValueError, match="no language 'cobol'"):
        pool.run("", language="cobol")


def test_what_is_the_servers_fault_is_nobodys(pool):
    wrong = [
        (500, b"oops"),
        (200, b"no JSON"),
        (200, {"status": "SandboxError", "message": "no space"}),
        (200, {"status": "Success", "run_result": None}),
        (200, {"status": "Success", "run_result": {"status": "Unheard"}}),
        (200, [1]),
    ]
    for answer in wrong:
        ANSWERS[:] = [answer, answer]
        found = pool.run("print(1)")
        assert found.status == "error", answer
        assert not ANSWERS  # Tried twice.
    ANSWERS[:] = [(503, b"")]
    assert pool.run("print(1)").stdout == b"1\n"  # The second attempt.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # Bound, not listening: nobody else takes the port, and it refuses.
        with RemotePool(f"http://127.0.0.1:{closed.getsockname()[1]}", workers=1) as nobody:
            assert nobody.run("print(1)").status == "error"


def test_its_own_verdict_is_not_believed(pool):
    """`accepted`, and "Success" with another exit code, change nothing."""
    result = {"status": "Finished", "return_code": 1, "stdout": "5\n", "stderr": "", "execution_time": 0.1}
    ANSWERS[:] = [(200, {"status": "Success", "accepted": True, "compile_result": None, "run_result": result})]
    found = pool.run("print(5)")
    assert (found.status, found.stdout) == ("failed", b"5\n")
    compiling = {"status": "Finished", "return_code": 1, "stdout": "", "stderr": "main.c: error", "execution_time": 0.1}
    ANSWERS[:] = [(200, {"status": "Failed", "compile_result": compiling, "run_result": None})]
    assert pool.run("int main() {", language="c").reason == "does not compile: main.c: error"
