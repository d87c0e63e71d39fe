"""Runs programs that a model wrote where they can harm nothing: no privileges, no network, no files, no neighbors.

    from verifiers import sandbox
    execution = sandbox.run("print(input())", stdin=b"7")        # status "ok", stdout b"7\\n"
    with sandbox.Pool(workers=2) as pool:
        executions = pool.map(["print(1)", "print(2)"])

For those who build on it: a program with channels to whoever judges it.

    Pool.open(program, *, channels=(), entry="", stdin=b"", files=None, limits=Limits(), beside=None) -> Process

starts it and returns at once. It finds `channels` (descriptors: ends of `os.pipe()`, or an `os.memfd_create` that the
judge reads when it has ended) as 3, 4, ... Standard output and error go to memory, so that nobody need drain them.
`Process.wait() -> Execution`, `.kill()`, `.output(at, size)`; it is a context manager that kills. With
`entry="package.module:function"`, of a module listed in `slot.HARNESSES` (imported beforehand: nothing is compiled per
run), the jail calls `function(program, (3, 4, ...))` instead of running the program; `verifiers.sandbox.driver.execute`
runs text in a namespace. `beside=process` starts a second jail for the same job, which takes no place of its own.
`shared_pool()` is the pool of this process.
"""

from verifiers.sandbox.pool import Pool as Pool
from verifiers.sandbox.pool import Process as Process
from verifiers.sandbox.session import Session as Session
from verifiers.sandbox.shared import arun as arun
from verifiers.sandbox.shared import run as run
from verifiers.sandbox.shared import shared_pool as shared_pool
from verifiers.sandbox.types import Execution as Execution
from verifiers.sandbox.types import Limits as Limits
from verifiers.sandbox.types import SandboxUnavailable as SandboxUnavailable
