"""A sandbox elsewhere, behind the interface of `Pool`: SandboxFusion's HTTP API (github.com/bytedance/SandboxFusion).

What a program printed is taken from it, and nothing else: not its verdict, which is an exit code that programs choose.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from verifiers import isolated
from verifiers.sandbox.types import DEFAULT, Execution, Limits

if TYPE_CHECKING:
    import httpx2

LANGUAGES = {"python": "python", "c": "cpp", "cpp": "cpp", "javascript": "nodejs", "bash": "bash"}


class RemotePool:
    """Runs programs on a SandboxFusion server: `run`, `arun` and `map` as `Pool` has them.

    Only `wall_s` and `memory_mb` travel; `output_kb` is applied to what comes back. The server cannot tell idling from
    load: a program that took longer than `wall_s` is a `limit`. It lacks `Pool.open`, and with it everything that needs
    channels.

    Args:
      url: of the server, e.g. "http://127.0.0.1:8080".
      workers: requests at once.
    """

    level = "remote"

    def __init__(self, url: str, workers: int = 8):
        import httpx2

        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"RemotePool needs at least one worker, got workers={workers!r}.")
        self.url = url.rstrip("/")
        self.workers = workers
        self._client: httpx2.Client = httpx2.Client()
        self._threads = concurrent.futures.ThreadPoolExecutor(workers, "assay-remote")

    def run(
        self,
        program: str | bytes,
        *,
        stdin: str | bytes = b"",
        files: Mapping[str, str | bytes] | None = None,
        limits: Limits = DEFAULT,
        language: str = "python",
    ) -> Execution:
        """Runs one program there. An "error" where the server cannot be reached, fails, or says what we do not know."""
        if language not in LANGUAGES:
            raise ValueError(f"There is no language {language!r} there: use {', '.join(map(repr, LANGUAGES))}.")
        try:
            code = _text(program)
        except UnicodeError as error:  # An "error" would cost the program nothing.
            return Execution("failed", level=self.level, reason=f"the program is no UTF-8 text: {error}")
        try:
            request = {
                "code": code,
                "language": LANGUAGES[language],
                "stdin": _text(stdin),
                "compile_timeout": 60,
                "run_timeout": limits.wall_s,
                "memory_limit_MB": limits.memory_mb,
                "files": {name: base64.b64encode(_bytes(content)).decode() for name, content in (files or {}).items()},
            }
        except UnicodeError as error:
            return Execution("error", level=self.level, reason=f"the remote sandbox takes text only: {error}")
        execution = Execution("error", level=self.level)
        for _ in range(2):
            execution = self._attempt(request, limits)
            if execution.status != "error":
                break
        return execution

    def _attempt(self, request: dict[str, Any], limits: Limits) -> Execution:
        import httpx2

        seconds = limits.wall_s + 90
        isolated.waits(seconds)  # What it waits for is within limits of its own.
        try:
            response = self._client.post(f"{self.url}/run_code", json=request, timeout=seconds)
            answer = response.json() if response.status_code == 200 else None
        except (httpx2.HTTPError, ValueError) as error:
            return Execution("error", level=self.level, reason=f"{self.url}: {type(error).__name__}: {error}")
        finally:
            isolated.waits()
        if not isinstance(answer, dict) or answer.get("status") not in ("Success", "Failed"):
            said = answer.get("message") if isinstance(answer, dict) else f"status {response.status_code}"
            return Execution("error", level=self.level, reason=f"{self.url}: the remote sandbox failed: {said}"[:300])
        for phase in ("compile_result", "run_result"):
            result = answer.get(phase)
            if result is not None and (phase == "run_result" or result.get("return_code") != 0):
                return self._execution(result, limits, compiling=phase == "compile_result")
        return Execution("error", level=self.level, reason=f"{self.url}: the answer holds no result")

    def _execution(self, result: dict[str, Any], limits: Limits, *, compiling: bool) -> Execution:
        most = limits.output_kb * 1024
        stdout, stderr = (_bytes(result.get(name) or "") for name in ("stdout", "stderr"))
        code = result.get("return_code")
        last = stderr.rstrip().rpartition(b"\n")[2][:200].decode(errors="replace")
        if result.get("status") == "TimeLimitExceeded":
            status, reason = "limit", f"took longer than wall_s = {limits.wall_s:g}"
        elif result.get("status") not in ("Finished", "Error"):
            status, reason = "error", f"{self.url}: unknown status {result.get('status')!r}"
        elif len(stdout) > most:
            status, reason = "limit", f"wrote more than output_kb = {limits.output_kb}"
        elif code == 0 and not compiling:
            status, reason = "ok", ""
        else:
            ended = f"ended by signal {-code}" if isinstance(code, int) and code < 0 else f"exit code {code}"
            status, reason = "failed", ("does not compile: " if compiling else "") + (last or ended)
        seconds = float(result.get("execution_time") or 0)
        return Execution(
            status,
            exit_code=code if isinstance(code, int) and code >= 0 else None,
            signal=-code if isinstance(code, int) and code < 0 else None,
            stdout=stdout[:most],
            stderr=stderr[:most],
            stdout_truncated=len(stdout) > most,
            stderr_truncated=len(stderr) > most,
            wall_s=seconds,
            idle_s=seconds,  # At most: it does not say how much of it.
            level=self.level,
            reason=reason,
        )

    async def arun(self, program: str | bytes, **options: Any) -> Execution:
        """`run`, without blocking the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self.run(program, **options))

    def map(self, programs: Iterable[str | bytes], **options: Any) -> list[Execution]:
        """`run` on each, `workers` at once; the results in the order of the programs."""
        return list(self._threads.map(lambda program: self.run(program, **options), programs))

    def close(self) -> None:
        """Ends the connections."""
        self._threads.shutdown(wait=False)
        self._client.close()

    def __enter__(self) -> RemotePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(data: str | bytes) -> str:
    """Text that JSON can carry. Raises UnicodeError where there is none."""
    return (data.encode() if isinstance(data, str) else data).decode()


def _bytes(data: str | bytes) -> bytes:
    return data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
