"""A config that cannot be run is refused when it is made, with one clear line."""

import pytest
import small

from verifiers import Problem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "5"}, "steps must be of type int, got '5'"),
        ({"steps": True}, "steps must be of type int, got True"),
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"temperature": 0}, "For greedy evaluation set eval_temperature=0"),
        ({"temperature": float("inf")}, "temperature must be finite"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite, got nan"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"adam_b2": 2.0}, "adam_b2 must be below 1"),
        ({"seed": 2**40}, "seed must be below 4294967296"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"max_dropped": -1}, "max_dropped must be at least 0"),
        ({"dtype": "float16"}, 'must be "float32", "bfloat16" or None'),
        ({"problems": []}, "nothing to learn from"),
        ({"held_out": [Problem("p", "2+2=", "4", "always")]}, "both trained on and held out, e.g. 'p'"),
        ({"verifiers": {}}, r"No verifier for \['always'\]"),
        ({"graders": {"always": None}}, r"share the keys \['always'\]"),
    ],
)
def test_a_config_that_cannot_be_run(changes, message):
    with pytest.raises(ValueError, match=message):
        small.run_config(**changes)
