"""Bounds of CPU time that hold on a busy machine: the best of a few tries counts."""

import time


def within(seconds, call, tries=5):
    """What `call` returns, if one of the tries takes less CPU time: work beside it on the core may double one's."""
    took = []
    for _ in range(tries):
        began = time.process_time()
        result = call()
        took.append(time.process_time() - began)
        if took[-1] < seconds:
            return result
    raise AssertionError(f"CPU seconds: {took}; allowed: {seconds}")
