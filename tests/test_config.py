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
        ({"graders": {"always": small.always}}, r"share the keys \['always'\]"),
        ({"model": "smollm2"}, r"model must be what policy.pretrained\(path\) or .* returns, got 'smollm2'"),
        ({"problems": "gsm8k"}, "problems must be a sequence of verifiers.Problem, got 'gsm8k'"),
        ({"problems": iter([Problem("p", "2+2=", "4", "always")])}, "problems must be a sequence .*, got <list_iter"),
        ({"held_out": [{"prompt": "2+2="}]}, "held_out must be a sequence of verifiers.Problem, got .*2\\+2="),
        ({"held_out": None}, "held_out must be a sequence of verifiers.Problem, got None"),
        ({"verifiers": {"always": "math"}}, "verifiers must be functions by their keys, .* got {'always': 'math'}"),
        ({"verifiers": small.always}, "verifiers must be functions by their keys, .* got <function always"),
        ({"graders": None}, "graders must be functions by their keys, .* got None"),
        ({"advantage": "grpo"}, "advantage must be a function .* got 'grpo'"),
        ({"environment": "tools"}, "environment must be a function or None, got 'tools'"),
        ({"eval_samples": 4}, "eval_samples=4 greedy answers to a problem are all the same: set eval_temperature"),
    ],
)
def test_a_config_that_cannot_be_run(changes, message):
    with pytest.raises(ValueError, match=message):
        small.run_config(**changes)
