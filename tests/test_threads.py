"""The number of threads decides the bits, the number of cores does not."""

import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = str(pathlib.Path(__file__).parent / "threaded.py")


def digest(cores, threads):
    program = (
        f"import os, runpy; os.sched_setaffinity(0, {list(cores)}); runpy.run_path({PROGRAM!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={**os.environ, "NPROC": str(threads)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_one_core_and_two_give_the_same_bits():
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    assert digest(cores, 2) == digest(cores[:1], 2)
