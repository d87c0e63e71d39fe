"""Every knob of a run, typed, with its default and its meaning."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graders import Grader
from policy import Model
from rl.advantage import group_normalized
from verifiers import Problem, Verifier


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What one run is. Objects and functions, not strings; cross-checked when it is made."""

    # What to learn.
    model: Model  # policy.pretrained(path), or policy.from_scratch(config, tokenizer).
    problems: Sequence[Problem]
    verifiers: Mapping[str, Verifier]
    graders: Mapping[str, Grader] = dataclasses.field(default_factory=dict)
    held_out: Sequence[Problem] = ()  # Evaluated before, during and after; never trained on.

    # How much.
    steps: int = 100
    problems_per_step: int = 8  # P
    group_size: int = 8  # G
    max_tokens: int = 32  # The longest completion.
    temperature: float = 1.0
    seed: int = 0
    # Asked when the policy has ended a turn: (problem, tokens int32 [T] so far, mask bool [T]: True where the policy
    # wrote) -> tokens to append (a tool's, a user's; never trained on), with which the policy goes on, or None to stop.
    # It must be deterministic, may be asked twice, and runs in threads. What it raises is nobody's reward.
    environment: Callable[[Problem, np.ndarray, np.ndarray], Sequence[int] | None] | None = None
    max_turns: int = 8  # Of the policy, where there is an environment.
    reply_seconds: float = 120.0  # That an environment may take for a reply; beyond, the completion is nobody's reward.
    drop_long: bool = False  # Leave out prompts that the context has no room for, instead of refusing the run.

    # How to learn.
    learning_rate: float = 5e-6
    warmup_steps: int = 3  # The learning rate rises linearly over so many updates.
    adam_b1: float = 0.9
    adam_b2: float = 0.95
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    clip: float = 0.2  # Of the ratio, PPO's epsilon.
    kl_coefficient: float = 0.0  # Of the KL to the reference policy, which is the starting point.
    advantage: Callable[[np.ndarray], np.ndarray] = group_normalized  # float [G] rewards -> float [G].
    max_staleness: int = 0  # S. 0 is on-policy; S lets a group be trained up to S updates after its sampling.
    drop_uniform: bool = False  # Dynamic sampling: replace groups whose rewards are all equal.
    max_dropped: int | None = None  # Dropped groups in one step that end the run. Default: 10 P.
    micro_batch_tokens: int = 512  # Columns that the learner computes at once; bounds its memory.

    # What to measure and keep.
    eval_every: int = 0  # Updates between evaluations; 0: only before and after.
    eval_samples: int = 1  # Per held-out problem.
    eval_temperature: float = 0.0  # 0 is greedy.
    checkpoint_every: int = 0  # Updates between checkpoints; 0: only at the end or when stopped.

    # Where to run.
    num_workers: int = 1
    num_scorers: int = 1
    slots: int = 64  # Rows that a worker decodes at once.
    threads: int | None = None  # Of XLA on a CPU, per actor. Default: the cores at hand. Decides the bits.
    dtype: str | None = None  # Of matrix products: "float32" or "bfloat16". Default: what the device is fast at.
    # The learner's devices along each axis (policy.sharding), {"fsdp": 4, "tensor": 2}. Default: one. Decides the bits.
    mesh: Mapping[str, int] | None = None
    # What of a parameter lies where on the mesh: (pattern of its path, PartitionSpec) each, such as Grok-1's own,
    # `policy.sharding.GROK_1`. Default: `policy.sharding.table` of the model's shape.
    sharding: Sequence[tuple[str, Any]] | None = None
    inline: bool = False  # Run everything in this process, one thing after the other: for a debugger.
    address: str | None = None  # Of a running Ray cluster. Default: an own one on this machine.

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, str(field.type), getattr(self, field.name))
        _check_objects(self)
        at_least = {
            "steps": 0, "max_turns": 1, "problems_per_step": 1, "group_size": 2, "max_tokens": 1, "warmup_steps": 0,
            "max_staleness": 0, "micro_batch_tokens": 1, "eval_every": 0, "eval_samples": 1, "checkpoint_every": 0,
            "num_workers": 1, "num_scorers": 1, "slots": 1, "kl_coefficient": 0, "weight_decay": 0,
            "eval_temperature": 0, "seed": 0, "threads": 1, "max_dropped": 0, "adam_b1": 0, "adam_b2": 0,
        }  # fmt: skip
        for name, low in at_least.items():
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise ValueError(f"RunConfig.{name} must be at least {low}, got {value!r}.")
        for name, high in (("adam_b1", 1), ("adam_b2", 1), ("seed", 2**32)):
            if not getattr(self, name) < high:
                raise ValueError(f"RunConfig.{name} must be below {high}, got {getattr(self, name)!r}.")
        for name in ("learning_rate", "max_grad_norm", "clip", "reply_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"RunConfig.{name} must be positive, got {getattr(self, name)!r}.")
        if not self.temperature > 0:
            raise ValueError(
                f"RunConfig.temperature must be positive, got {self.temperature!r}: a greedy policy explores nothing, "
                "and its log-probabilities have no gradient. For greedy evaluation set eval_temperature=0."
            )
        if self.eval_samples > 1 and self.eval_temperature == 0:
            raise ValueError(
                f"RunConfig.eval_samples={self.eval_samples} greedy answers to a problem are all the same: set "
                "eval_temperature, or eval_samples=1."
            )
        check_dtype("RunConfig.dtype", self.dtype)
        if self.mesh is not None:
            _check_mesh(self.mesh)
        if self.sharding is not None:
            _check_sharding(self.sharding, self.mesh)
        if not self.problems:
            raise ValueError("RunConfig.problems is empty: there is nothing to learn from.")
        if both := set(self.verifiers) & set(self.graders):
            raise ValueError(f"Verifiers and graders share the keys {sorted(both)}: a problem's key must name one.")
        keys = set(self.verifiers) | set(self.graders)
        if missing := {problem.verifier for problem in (*self.problems, *self.held_out)} - keys:
            raise ValueError(
                f"No verifier for {sorted(missing)}: RunConfig.verifiers and .graders have {sorted(keys)}. "
                "Add it there, or set Problem.verifier to one of these."
            )
        if both := {p.id for p in self.problems} & {p.id for p in self.held_out}:
            raise ValueError(
                f"{len(both)} problems are both trained on and held out, e.g. {min(both)!r}: "
                "what is trained on cannot be evaluated."
            )


def check_dtype(name: str, value: object) -> None:
    """
    Raises:
      ValueError: it is no type that the policy computes in; names what is called `name`.
    """
    if value not in (None, "float32", "bfloat16"):
        raise ValueError(f'{name} must be "float32", "bfloat16" or None, got {value!r}.')


def check_functions(name: str, value: object) -> None:
    """
    Raises:
      ValueError: it does not hold verifiers or graders by their keys; names what is called `name`.
    """
    if not isinstance(value, Mapping) or not all(callable(function) for function in value.values()):
        raise ValueError(f'{name} must be functions by their keys, {{"key": f}}, got {value!r:.100}.')


def _check_objects(config: RunConfig) -> None:
    """Objects and functions are of the right kind; a name in the place of one is a mistake."""
    if not isinstance(config.model, Model):
        raise ValueError(
            "RunConfig.model must be what policy.pretrained(path) or policy.from_scratch(config, tokenizer) returns, "
            f"got {config.model!r:.100}."
        )
    for name in ("problems", "held_out"):
        value = getattr(config, name)
        if not isinstance(value, Sequence) or not all(isinstance(item, Problem) for item in value):
            raise ValueError(f"RunConfig.{name} must be a sequence of verifiers.Problem, got {value!r:.100}.")
    for name in ("verifiers", "graders"):
        check_functions(f"RunConfig.{name}", getattr(config, name))
    if not callable(config.advantage):
        raise ValueError(f"RunConfig.advantage must be a function [G] -> [G], got {config.advantage!r:.100}.")
    if config.environment is not None and not callable(config.environment):
        raise ValueError(f"RunConfig.environment must be a function or None, got {config.environment!r:.100}.")


def _check_mesh(mesh: Mapping[str, int]) -> None:
    from policy.sharding import AXES  # With it comes JAX.

    if not isinstance(mesh, Mapping) or not all(
        axis in AXES and isinstance(size, int) and size > 0 for axis, size in mesh.items()
    ):
        raise ValueError(
            f'RunConfig.mesh must say how many devices each of {", ".join(AXES)} has, {{"fsdp": 4}}, got {mesh!r}.'
        )


def _check_sharding(rules: Sequence[tuple[str, Any]], mesh: Mapping[str, int] | None) -> None:
    from jax.sharding import PartitionSpec

    if not isinstance(rules, Sequence) or not all(
        isinstance(rule, tuple) and len(rule) == 2 and isinstance(rule[0], str) and isinstance(rule[1], PartitionSpec)
        for rule in rules
    ):
        raise ValueError(
            "RunConfig.sharding must be pairs of a pattern and a jax.sharding.PartitionSpec, as policy.sharding.GROK_1 "
            f"is, got {rules!r:.100}."
        )
    if not mesh:
        raise ValueError('RunConfig.sharding says what lies where on a mesh, and there is none: set mesh={"fsdp": 4}.')


def _check_type(name: str, annotation: str, value: object) -> None:
    """Numbers, flags and names are what they are annotated as; `RunConfig(steps="5")` is a mistake."""
    wanted = {"int": int, "float": (int, float), "bool": bool, "str": str}.get(annotation.removesuffix(" | None"))
    if wanted is None or (value is None and annotation.endswith("None")):
        return
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ValueError(f"RunConfig.{name} must be of type {annotation}, got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"RunConfig.{name} must be finite, got {value!r}.")
