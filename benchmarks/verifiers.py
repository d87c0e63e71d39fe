"""Compares our math verifier with Math-Verify on labelled pairs, and times it on GSM8K's answers.

    python benchmarks/verifiers.py --pairs FILE [--tier core] [--peer PYTHON] [--rounds 3] [--gsm8k DIR]

FILE holds a JSON object a line: gold, prediction, label, and form ("answer": bare; "response": a text to extract from).
Each side judges all pairs in a process of its own, the two in alternation, `rounds` times; the ratio of speed is of
rounds, and its spread is reported. Math-Verify 0.9.0 is installed into a throw-away environment, unless `--peer` names
a Python that has it. DIR holds test.jsonl and example_model_solutions.jsonl of GSM8K: verdicts per second of CPU with
caches off (bare answers, whole texts, lenient), the pool against the same work in this process, and memory.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from typing import Any

PEER = "math-verify[antlr4_13_2]==0.9.0"
SIDES = {
    "ours": """
from verifiers import Problem, equivalent, math_lenient
def judge(row):
    if row["form"] == "answer":
        return equivalent(row["gold"], row["prediction"]).outcome == "correct"
    return math_lenient(Problem("x", "", row["gold"]), row["prediction"]).outcome == "correct"
""",
    "Math-Verify": """
import logging
logging.disable(logging.CRITICAL)
from math_verify import parse, verify
def judge(row):
    answer = row["prediction"]
    if row["form"] == "answer" and "$" not in answer:
        answer = "$" + answer + "$"
    gold = row["gold"] if "$" in row["gold"] or "boxed" in row["gold"] else "$" + row["gold"] + "$"
    return verify(parse(gold), parse(answer))
""",
}  # fmt: skip
MAIN = """
import json, resource, sys, time
rows = [json.loads(line) for line in open(sys.argv[1])]
judge({"gold": "1/2", "prediction": "0.5", "form": "answer"})
found, seconds = [], []
for row in rows:
    began = time.perf_counter()
    found.append(bool(judge(row)))
    seconds.append(time.perf_counter() - began)
print(json.dumps([found, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def judged(side: str, python: str, pairs: pathlib.Path) -> tuple[list[bool], list[float], float]:
    """The verdicts of one side, seconds of each, and the peak of its memory in MB."""
    done = subprocess.run([python, "-c", SIDES[side] + MAIN, str(pairs)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(pairs: pathlib.Path, peer: str, rounds: int) -> None:
    """Prints both sides' accuracy, time and memory."""
    labels = [json.loads(line)["label"] for line in pairs.open()]
    pythons = {"ours": sys.executable, "Math-Verify": peer}
    runs: dict[str, list[Any]] = {side: [] for side in pythons}
    for _ in range(rounds):
        for side, python in pythons.items():
            runs[side].append(judged(side, python, pairs))
    print(f"{len(labels)} pairs{'':14}  accuracy  false accepts  false rejects  mean ms  p50 ms  p99 ms  peak MB")
    for side, results in runs.items():
        found, _, memory = results[0]
        seconds = sorted(second for _, all_seconds, _ in results for second in all_seconds)
        wrong = [(f, label) for f, label in zip(found, labels, strict=True) if f != label]
        accepts = sum(f for f, _ in wrong)
        mean, p50, p99 = statistics.mean(seconds), statistics.median(seconds), seconds[int(0.99 * len(seconds))]
        print(
            f"{side:24}  {1 - len(wrong) / len(labels):8.2%}  {accepts:13}  {len(wrong) - accepts:13}  "
            f"{1e3 * mean:7.2f}  {1e3 * p50:6.2f}  {1e3 * p99:6.1f}  {memory:7.0f}"
        )
    spread([sum(his[1]) / sum(ours[1]) for ours, his in zip(*runs.values(), strict=True)], "faster than Math-Verify")


def spread(ratios: list[float], what: str) -> None:
    """Prints the median ratio and the extremes."""
    print(f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times")


def peer_python() -> Iterator[str]:
    """A throw-away environment with Math-Verify."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
        yield python


def throughput(folder: pathlib.Path, rounds: int) -> None:
    """Prints verdicts per second of CPU on GSM8K, the pool beside this process, and memory after 100,000 verdicts."""
    sys.path.pop(0)  # This folder: this file must not pass for the package.
    import verifiers

    golds = [json.loads(line)["answer"] for line in (folder / "test.jsonl").open()]
    bare = [(verifiers.Problem(str(i), "", gold), "\\boxed{" + gold.rpartition("#### ")[2] + "}")
            for i, gold in enumerate(golds)]  # fmt: skip
    solutions = [json.loads(line) for line in (folder / "example_model_solutions.jsonl").open()]
    texts = [
        (verifiers.Problem(f"{i}/{model}", "", row["ground_truth"].rpartition("A: ")[2]), row[model]["solution"])
        for i, row in enumerate(solutions)
        for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    ]
    kinds: dict[str, tuple[Callable[..., Any], list[Any]]] = {
        "bare answers": (verifiers.math, bare), "whole texts": (verifiers.math_lenient, texts),
    }  # fmt: skip
    for kind, (verify, tasks) in kinds.items():
        rates = []
        for _ in range(rounds):
            began = time.process_time()
            for problem, completion in tasks:
                verify(problem, completion)
            rates.append(len(tasks) / (time.process_time() - began))
        print(f"{kind}: {statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) per CPU second")
    for workers in (1, 2):
        with verifiers.Pool(workers, cache=False) as pool:
            for kind, (verify, items) in kinds.items():
                tasks = [(verify, *item) for item in items]
                list(pool.verify(tasks[:100]))  # Starts the workers.
                ratios, ours = [], []
                for _ in range(rounds):
                    began = time.perf_counter()
                    for _, problem, completion in tasks:
                        verify(problem, completion)
                    middle, cpu = time.perf_counter(), time.process_time()
                    list(pool.verify(tasks))
                    ratios.append((middle - began) / (time.perf_counter() - middle))
                    ours.append(1e6 * (time.process_time() - cpu) / len(tasks))
                print(f"{kind}: this process spends {min(ours):.0f} µs of CPU on a verdict of the pool")
                spread(ratios, f"{kind}: a pool's workers ({workers}) are, beside this process,")
    for i in range(100_000):
        verifiers.math(*bare[i % len(bare)])
    print(f"memory after 100,000 verdicts: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=pathlib.Path)
    parser.add_argument("--tier", help="only pairs of this tier")
    parser.add_argument("--peer", help="a Python that has Math-Verify")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gsm8k", type=pathlib.Path)
    args = parser.parse_args()
    if args.pairs:
        rows = [line for line in args.pairs.open() if not args.tier or json.loads(line).get("tier") == args.tier]
        if not rows:
            parser.error(f"{args.pairs} has no pairs of the tier {args.tier!r}")
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.writelines(rows)
            file.flush()
            for python in [args.peer] if args.peer else peer_python():
                compare(pathlib.Path(file.name), python, args.rounds)
    if args.gsm8k:
        throughput(args.gsm8k, args.rounds)
    if not (args.pairs or args.gsm8k):
        parser.error("nothing to do: give --pairs FILE or --gsm8k DIR")


if __name__ == "__main__":
    main()
