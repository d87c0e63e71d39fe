"""The remote sandbox against a server that speaks SandboxFusion's protocol, and runs programs in ours."""

import base64
import http.server
import json
import threading

import pytest
import sandbox_honest

from verifiers import sandbox
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
        limits = Limits(idle_s=asked["run_timeout"], memory_mb=asked["memory_limit_MB"])
        files = {name: base64.b64decode(content) for name, content in asked["files"].items()}
        found = sandbox.run(asked["code"], stdin=asked["stdin"], files=files, limits=limits)
        result = {
            "status": "TimeLimitExceeded" if found.status == "limit" else "Finished",
            "execution_time": found.wall_s,
            "return_code": None if found.status == "limit" else found.exit_code,
            "stdout": found.stdout.decode(),
            "stderr": found.stderr.decode(),
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


def test_what_goes_wrong_there(pool):
    assert pool.run("1/0").reason == "ZeroDivisionError: division by zero"
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
    with RemotePool("http://127.0.0.1:9", workers=1) as nobody:
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
