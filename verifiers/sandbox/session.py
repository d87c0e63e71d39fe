"""A Python that keeps its variables from one call to the next: a tool for rollouts of several turns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import time

from verifiers.sandbox.monitor import Usage, held_up
from verifiers.sandbox.pool import Pool, Process
from verifiers.sandbox.slot import SlotFailed
from verifiers.sandbox.types import CANCELLED, DEFAULT, Execution, Limits

TOTAL = Limits(cpu_s=60, idle_s=60, wall_s=180, output_kb=8192)
_FOREVER = 1e9  # Seconds: between the calls a session waits for whoever calls.
_LOOK_EVERY = 0.1


class Session:
    """A stateful Python in the sandbox.

        with Session() as session:
            session.run("x = 6")
            session.run("x * 7").stdout  # b"42\\n": the value of a last expression is shown

    It starts with the first call. When a call uses up a limit, commits a violation or ends the interpreter, the state
    is lost, the execution's reason says so, and the next call starts with an empty one. A session takes one of its
    pool's workers for as long as it lives.

    Args:
      limits: of each call. Memory, address space, files and processes hold for the whole session.
      total: of all calls together (CPU, idle and wall seconds, output); then every call is a `limit`.
      level: see `Pool`.
      pool: where it runs: a pool of its own with one worker, which is closed with it, where it is None.

    Raises:
      SandboxUnavailable: no isolation can be had here.
    """

    def __init__(
        self, limits: Limits = DEFAULT, total: Limits = TOTAL, *, level: str = "auto", pool: Pool | None = None
    ):
        self.limits = limits
        self.total = total
        self._own = pool is None
        self._pool = Pool(workers=1, level=level) if pool is None else pool
        self._process: Process | None = None
        self._pipes: tuple[int, int] = (-1, -1)  # Where pieces are written, where answers are read.
        self._number = 0
        self._seen = [0, 0]  # Bytes of stdout and stderr that were handed out.
        self._spent = {"cpu_s": 0.0, "idle_s": 0.0, "wall_s": 0.0, "output_kb": 0.0}

    def run(self, code: str | bytes) -> Execution:
        """Runs a piece of text. `failed` where it raises, and the session goes on."""
        level = self._pool.level
        for name, spent in self._spent.items():
            if spent >= getattr(self.total, name):
                reason = f"the session has used up its total of {name} = {getattr(self.total, name):g}"
                return Execution("limit", level=level, reason=reason)
        data = code.encode("utf-8", "surrogatepass") if isinstance(code, str) else bytes(code)
        try:
            if self._process is None:
                self._start()
            return self._call(data)
        except SlotFailed as error:
            self._end()
            return Execution("error", level=level, reason=f"the sandbox failed, the session's state is lost: {error}")
        except BaseException:  # Ctrl-C, say: the answer that still comes would be taken for the next one's.
            self._end()
            raise

    def _start(self) -> None:
        requests, pieces = os.pipe()
        answers, answered = os.pipe()
        # The fork-server holds the limits that never start anew; those of a call are looked after here.
        left = max(1.0, self.total.cpu_s - self._spent["cpu_s"])
        output = max(self.total.output_kb, self.limits.output_kb)
        limits = dataclasses.replace(self.limits, cpu_s=left, idle_s=_FOREVER, wall_s=_FOREVER, output_kb=output)
        try:
            self._process = self._pool.open(
                b"", entry="verifiers.sandbox.notebook:serve", channels=(requests, answered), limits=limits
            )
        except BaseException:  # Ctrl-C, too: nobody else knows the descriptors.
            os.close(pieces)
            os.close(answers)
            raise
        finally:
            os.close(requests)
            os.close(answered)
        self._pipes = (pieces, answers)
        self._number = 0
        self._seen = [0, 0]

    def _call(self, code: bytes) -> Execution:
        assert self._process is not None
        process, (pieces, answers) = self._process, self._pipes
        before = process.usage()
        if before is None:
            return self._ended(process, self._spent["cpu_s"], 0.0, 0.0, "")
        began = time.monotonic()
        poller = select.poll()
        poller.register(answers, select.POLLIN)
        unsent = memoryview(len(code).to_bytes(4, "little") + code)
        os.set_blocking(pieces, False)
        answer = b""
        used_up = ""
        cpu = idle = 0.0
        while not used_up:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                unsent = unsent[os.write(pieces, unsent) :] if unsent else unsent
            wall = time.monotonic() - began
            if poller.poll(1 if unsent else _LOOK_EVERY * 1000):
                more = os.read(answers, 4096)
                answer += more
                if not more or b"\n" in answer or len(answer) > 4096:
                    break
            usage = process.usage() if wall > _LOOK_EVERY else before
            if usage is None:
                break
            cpu, idle = usage.cpu_s - before.cpu_s, usage.idle_s - before.idle_s
            spent = {"cpu_s": cpu, "idle_s": idle, "wall_s": wall}
            for name, value in spent.items():
                most = min(getattr(self.limits, name), getattr(self.total, name) - self._spent[name])
                if value > most and not (name == "idle_s" and usage.ready):
                    used_up = used_up or name
            if used_up == "wall_s" and held_up(cpu, usage.idle_most_s - before.idle_most_s, wall, self.limits.idle_s):
                used_up = "the machine"
        wall = time.monotonic() - began
        after = None if used_up else process.usage()
        if after is None or not answer:
            return self._ended(process, before.cpu_s, wall, max(0.0, idle), used_up)
        return self._answered(process, answer, before, after, wall)

    def _answered(self, process: Process, answer: bytes, before: Usage, after: Usage, wall: float) -> Execution:
        cpu, idle = after.cpu_s - before.cpu_s, max(0.0, after.idle_s - before.idle_s)
        try:
            said = json.loads(answer)
            fits = said["number"] == self._number and type(said["exit_code"]) is int and said["exit_code"] in range(256)
        except (ValueError, KeyError, TypeError, RecursionError):
            fits, said = False, {}
        if not fits:  # Someone else wrote on the channel: the state is worth nothing.
            return self._ended(process, before.cpu_s, wall, idle, "answer")
        self._number += 1
        texts, truncated = self._outputs(process)
        self._spend(cpu, idle, wall, sum(map(len, texts)))
        last = texts[1].rstrip().rpartition(b"\n")[2][:200].decode(errors="replace")
        code = said["exit_code"]
        status, reason = ("ok", "") if code == 0 else ("failed", last or f"exit code {code}")
        if truncated[0]:
            status, reason = "limit", f"wrote more than output_kb = {self.limits.output_kb}"
        return Execution(
            status,
            exit_code=code,
            stdout=texts[0],
            stderr=texts[1],
            stdout_truncated=truncated[0],
            stderr_truncated=truncated[1],
            cpu_s=cpu,
            wall_s=wall,
            level=self._pool.level,
            reason=reason,
        )

    def _outputs(self, process: Process) -> tuple[list[bytes], list[bool]]:
        """What was written since the last call, and whether more than is handed out."""
        most = self.limits.output_kb * 1024
        texts, truncated = [], []
        for i in (0, 1):
            whole = process.size(stderr=bool(i))
            texts.append(process.output(self._seen[i], most, stderr=bool(i)))
            truncated.append(whole - self._seen[i] > most)
            self._seen[i] = whole
        return texts, truncated

    def _ended(self, process: Process, cpu_before: float, wall: float, idle: float, used_up: str) -> Execution:
        """The interpreter has ended, or is ended now."""
        if used_up or not _ends_itself(process):
            process.kill()
        texts, truncated = self._outputs(process)
        execution = process.wait()
        self._end()
        cpu = max(0.0, execution.cpu_s - cpu_before)
        self._spend(cpu, idle, wall, sum(map(len, texts)))
        status, reason = execution.status, execution.reason or "the interpreter has ended"
        if used_up == "answer":
            status, reason = "failed", "something wrote where the session answers"
        elif used_up == "the machine":
            status, reason = "error", f"the machine was too busy: {wall:.1f} s passed"
        elif execution.reason == CANCELLED and not used_up:
            status, reason = "failed", "the interpreter answers no more"
        elif used_up:
            status, reason = "limit", f"used more than {used_up} = {getattr(self.limits, used_up):g}, or the total"
        return dataclasses.replace(
            execution,
            status="failed" if status == "ok" else status,
            stdout=texts[0],
            stderr=texts[1],
            stdout_truncated=truncated[0],
            stderr_truncated=truncated[1],
            cpu_s=cpu,
            wall_s=wall,
            reason=f"{reason}; the session's state is lost",
        )

    def _spend(self, cpu: float, idle: float, wall: float, output: int) -> None:
        for name, value in (("cpu_s", cpu), ("idle_s", idle), ("wall_s", wall), ("output_kb", output / 1024)):
            self._spent[name] += value

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with process:
                pass
            for descriptor in self._pipes:
                os.close(descriptor)

    def close(self) -> None:
        """Ends it. A second time does nothing."""
        self._end()
        if self._own:
            self._pool.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ends_itself(process: Process) -> bool:
    """Whether it ends within a second. One that is ending closes its channels first."""
    for _ in range(100):
        if process.usage() is None:
            return True
        time.sleep(0.01)
    return False
