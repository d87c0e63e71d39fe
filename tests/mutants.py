"""Small changes to programs that are right, and what the official tests say of them when they are run honestly."""

import ast
import concurrent.futures
import copy
import json
import random
import subprocess
import sys

from verifiers.judging import tasks

_COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
}  # fmt: skip


def _changed(node, choose):
    """Changes one node in place; whether there was something to change."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED:
        node.ops[0] = _COMPARED[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        node.op = _COMPUTED[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) < 1000:
        node.value += choose.choice((-1, 1))
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        node.value = not node.value
    elif isinstance(node, ast.If | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Constant(None) if choose.random() < 0.5 else ast.List([node.value], ast.Load())
    else:
        return False
    return True


def mutants(program: str, count: int, seed: int) -> list[str]:
    """At most `count` programs that differ from `program` in one place."""
    choose, found = random.Random(seed), set()
    tree = tasks.parsed(program)  # Some have escapes of which Python warns.
    places = list(range(len(list(ast.walk(tree)))))
    choose.shuffle(places)
    for place in places:
        changed = copy.deepcopy(tree)
        if _changed(list(ast.walk(changed))[place], choose):
            found.add(ast.unparse(ast.fix_missing_locations(changed)))
        if len(found) == count:
            break
    return sorted(found - {ast.unparse(tree)})


_HARNESS = r"""
import json, os, resource, sys
seconds, sources = json.load(sys.stdin)
for source in sources:
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.dup2(2, 1)
        try:
            exec(compile(source, "official", "exec"), {"__name__": "official"})
        except BaseException:
            os._exit(1)
        os._exit(0)
    print(int(os.waitpid(pid, 0)[1] == 0), flush=True)
"""


def honestly(sources: list[str], seconds: int) -> list[bool]:
    """Whether each program with its tests runs to its end within so many seconds of CPU.

    In forks of a bare Python, two at once: the programs mean no harm.
    """
    halves = [
        subprocess.Popen([sys.executable, "-c", _HARNESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    found: list[bool] = [False] * len(sources)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        texts = threads.map(lambda half: halves[half].communicate(json.dumps([seconds, sources[half::2]]))[0], range(2))
        for half, text in enumerate(texts):
            found[half::2] = [line == "1" for line in text.split()]
    return found
