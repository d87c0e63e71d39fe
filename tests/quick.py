"""Bounds of CPU time that hold on a slow or busy machine: the best of a few tries counts, by the machine's pace."""

import time

USUAL = 0.006  # CPU seconds of the work in `slowness` on the machine for which the bounds are meant.


def slowness():
    """How many times as long as usual some work takes now that is always the same; 1 where it is no longer."""
    began = time.process_time()
    sum(i % 7 for i in range(100_000))
    return max(1.0, (time.process_time() - began) / USUAL)


def within(seconds, call, tries=5):
    """What `call` returns, if one of the tries takes less CPU time, or as much more as the machine is slower now.

    Work beside it on the core may double the time that one takes, and a collection of all garbage may fall into it.
    """
    took = []
    for _ in range(tries):
        began = time.process_time()
        result = call()
        took.append(time.process_time() - began)
        if took[-1] < seconds or took[-1] < seconds * slowness():
            return result
    raise AssertionError(f"CPU seconds: {took}; allowed: {seconds}, on a machine that is not slow")
