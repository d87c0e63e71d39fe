"""The number of threads decides the bits, the number of cores does not."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def digest(cores, threads):
    done = subprocess.run(
        [sys.executable, HERE / "threaded.py"],
        env={**os.environ, "NPROC": str(threads)},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_one_core_and_two_give_the_same_bits():
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    assert digest(cores, 2) == digest(cores[:1], 2)
