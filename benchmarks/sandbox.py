"""Times programs in the sandbox against bare `subprocess.run([python, ...])`, in one alternating run.

    python benchmarks/sandbox.py [--rounds 7] [--batch 40] [--level auto] [--suites DIR]

Each round runs a batch of each kind bare and in the sandbox, with one worker and with two, one after the other; the
ratios are of rounds, so that the machine's load cancels, and their spread is reported. Latencies are of single
programs with one worker. `--suites DIR` judges the solutions of HumanEval and MBPP whole, two at a time: DIR holds
humaneval/HumanEval.jsonl and mbpp/mbpp.jsonl.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

sys.path.pop(0)  # This folder, whose verifiers.py is not the package.

from verifiers import Problem, code, sandbox

HEADER = """
import sys, os, math, re, random, heapq, bisect, itertools, functools, collections, string, operator, copy, datetime
from typing import List, Dict, Tuple, Optional
from collections import defaultdict, deque, Counter
from functools import lru_cache
from fractions import Fraction
from decimal import Decimal
"""
MBPP = """
def remove_Occ(s, ch):
    for i in range(len(s)):
        if s[i] == ch:
            s = s[0:i] + s[i + 1:]
            break
    for i in range(len(s) - 1, -1, -1):
        if s[i] == ch:
            s = s[0:i] + s[i + 1:]
            break
    return s
"""
TESTS = ['assert remove_Occ("hello","l") == "heo"', 'assert remove_Occ("abcda","a") == "bcd"']
PROGRAMS = {"print(1)": "print(1)\n", "contest imports": HEADER + "print(1)\n"}


def bare(program: str) -> None:
    """The program in a fresh Python."""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def timed(act: Callable[[str], object], program: str, batch: int, workers: int) -> tuple[float, list[float]]:
    """Seconds for a batch, and for each program of it."""

    def one(_: int) -> float:
        began = time.perf_counter()
        act(program)
        return time.perf_counter() - began

    began = time.perf_counter()
    if workers == 1:
        each = [one(i) for i in range(batch)]
    else:
        with concurrent.futures.ThreadPoolExecutor(workers) as threads:
            each = list(threads.map(one, range(batch)))
    return time.perf_counter() - began, each


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):5.2f} ({min(values):.2f} to {max(values):.2f})"


def compare(kinds: dict[str, tuple[str, Callable, Callable]], rounds: int, batch: int) -> None:
    """Rates, ratios and latencies of each kind of program: what runs, bare, sandboxed."""
    for name, (program, plain, jailed) in kinds.items():
        seconds: dict[tuple[str, int], list[float]] = {}
        latencies: dict[str, list[float]] = {"bare": [], "sandbox": []}
        for _ in range(rounds):
            for workers in (1, 2):
                for kind, act in (("bare", plain), ("sandbox", jailed)):
                    took, each = timed(act, program, batch, workers)
                    seconds.setdefault((kind, workers), []).append(took)
                    if workers == 1:
                        latencies[kind] += each
        print(f"{name}")
        for (kind, workers), took in seconds.items():
            print(f"  {kind:8} {workers} worker{'s' * (workers > 1)}  {spread([batch / s for s in took])} per second")
        for kind, each in latencies.items():
            cut = statistics.quantiles(each, n=100)
            print(f"  {kind:8} latency  p50 {cut[49] * 1e3:.2f} ms, p99 {cut[98] * 1e3:.2f} ms")
        for workers in (1, 2):
            pairs = zip(seconds["bare", workers], seconds["sandbox", workers], strict=True)
            print(f"  faster than bare, {workers}: {spread([slow / fast for slow, fast in pairs])} times")
        pairs = zip(seconds["sandbox", 1], seconds["sandbox", 2], strict=True)
        print(f"  two workers to one: {spread([one / two for one, two in pairs])} times", flush=True)


def suites(folder: pathlib.Path) -> None:
    """Judges every solution of HumanEval and of MBPP, and says how long it took."""
    pairs = {"HumanEval": [], "MBPP": []}
    for line in (folder / "humaneval" / "HumanEval.jsonl").read_text().splitlines():
        row = json.loads(line)
        answer = {name: row[name] for name in ("prompt", "test", "entry_point")}
        pairs["HumanEval"].append((Problem(row["task_id"], "", answer), row["prompt"] + row["canonical_solution"]))
    for line in (folder / "mbpp" / "mbpp.jsonl").read_text().splitlines():
        row = json.loads(line)
        answer = {"setup": row["test_setup_code"], "tests": row["test_list"]}
        pairs["MBPP"].append((Problem(str(row["task_id"]), "", answer), row["code"]))
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda pair: code(*pair), pairs["HumanEval"][:4]))  # Starts the slots.
        for name, some in pairs.items():
            began = time.perf_counter()
            verdicts = list(threads.map(lambda pair: code(*pair), some))
            took = time.perf_counter() - began
            right = sum(verdict.reward == 1 for verdict in verdicts)
            print(f"{name}: {right} of {len(some)} solutions pass, {took:.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--level", default="auto")
    parser.add_argument("--suites", type=pathlib.Path)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores, {sys.version.split()[0]}")
    with sandbox.Pool(workers=2, level=options.level) as pool:
        pool.map(["print(1)"] * 20)

        def jailed(program: str) -> None:
            execution = pool.run(program)
            assert execution.stdout == b"1\n", execution

        problem = Problem("mbpp/11", "", {"mode": "calls", "tests": TESTS, "entry_point": "remove_Occ"})

        def judged(program: str) -> None:
            verdict = code(problem, program, level=pool.level)
            assert verdict.reward == 1, verdict

        def asserted(program: str) -> None:
            bare(program + "\n".join(TESTS))

        kinds = {name: (program, bare, jailed) for name, program in PROGRAMS.items()}
        kinds["MBPP in calls mode"] = (MBPP, asserted, judged)
        print(f"level {pool.level}")
        compare(kinds, options.rounds, options.batch)
    if options.suites:
        suites(options.suites)


if __name__ == "__main__":
    main()
