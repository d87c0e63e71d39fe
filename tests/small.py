"""A model and random groups for tests of the policy, the objective and the learner, with nothing left out."""

from __future__ import annotations

import jax
import numpy as np

from policy import ByteTokenizer, Completion, Model, TransformerConfig, Versioned, layout
from policy.transformer import engine_params, to_host
from rl.config import RunConfig
from rl.types import Group, Rollout
from verifiers import Outcome, Problem, Verdict

CONFIG = TransformerConfig(
    vocab_size=258, width=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, mlp_width=48, context=512
)


def load(seed: int, shardings=None):
    """Random weights, large enough that attention and the logits are far from uniform."""
    params = jax.tree.map(lambda p: p * 4 if p.ndim == 2 else p, layout.random(CONFIG, seed))
    return params if shardings is None else jax.device_put(params, shardings)


MODEL = Model("small", CONFIG, ByteTokenizer(), load)


def versioned(version: int = 0, seed: int = 0, dtype: str = "float32") -> Versioned:
    return Versioned(version, to_host(jax.jit(engine_params, static_argnums=1)(load(seed), dtype)))


def always(problem: Problem, completion: str) -> Verdict:
    return Verdict(1.0, Outcome.CORRECT)


def run_config(**overrides) -> RunConfig:
    settings = {
        "model": MODEL,
        "problems": [Problem("p", "2+2=", "4", "always")],
        "verifiers": {"always": always},
        "dtype": "float32",
    }
    return RunConfig(**(settings | overrides))


def completion(prompt: np.ndarray, length: int, rng: np.random.Generator) -> Completion:
    """Random tokens with plausible log-probabilities; in one of three, another wrote the second token."""
    mask = np.ones(length, bool)
    if length > 2 and rng.integers(3) == 0:
        mask[1] = False
    logprobs = np.where(mask, rng.normal(-5.5, 0.3, length), 0).astype(np.float32)
    tokens = rng.integers(0, CONFIG.vocab_size, length).astype(np.int32)
    return Completion(prompt, tokens, mask, logprobs, logprobs, "", "stop", 0)


def groups(n: int = 3, size: int = 4, seed: int = 0, longest: int = 24) -> list[Group]:
    """Groups of random completions; rewards differ, and one member in eight was not scored."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        prompt = rng.integers(0, CONFIG.vocab_size, rng.integers(3, 40)).astype(np.int32)
        rollouts = []
        for g in range(size):
            error = g >= 2 and rng.integers(8) == 0
            verdict = Verdict(0.0, Outcome.ERROR) if error else Verdict(float((g + i) % 2), Outcome.CORRECT)
            rollouts.append(Rollout(completion(prompt, int(rng.integers(1, longest)), rng), verdict))
        made.append(Group(i, Problem(f"p{i}", "", ""), tuple(rollouts)))
    return made


def watch(made, name, told):
    """Tells what each dispatch of one of an engine's compiled functions returns."""
    program = getattr(made._programs, name)

    def watched(*inputs):
        out = program(*inputs)
        told(out)
        return out

    made._programs = made._programs._replace(**{name: watched})
    for part in (*made._banks, *made._blocks):
        part._programs = made._programs
