"""The learner: batches in, new parameters out."""

from __future__ import annotations

import functools
import math
import os
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from policy import Params, Versioned, make_policy
from policy.experts import RouterSums, router_metrics
from policy.flash import available, expressible, make_branches
from policy.memory import CHUNK, PAGE, layout
from policy.products import compute_copies, masters, with_copies
from policy.sharding import BATCH, ROW_AXES, Table, by_rows, make_mesh, shardings, table
from policy.transformer import engine_params, fast_dtype, head_table, parameter_shapes, to_host
from rl.checkpoint import read_tree, write_tree
from rl.config import RunConfig
from rl.loss import surrogate, token_logprobs
from rl.machine import cores, machine, versions
from rl.types import Batch

PEAK = "logprob_gap/max"  # The one that is the greatest of its rows, not their sum.


class NotFinite(FloatingPointError):
    """A gradient is not finite. The message says what to do."""


class LearnerState(NamedTuple):
    """What an update changes."""

    params: Params  # float32 masters
    optimizer: optax.OptState
    version: jax.Array  # int32 [], the number of updates so far


class _Places(NamedTuple):
    """Where everything rests on a mesh."""

    mesh: Mesh
    rules: Table
    params: dict[str, dict[str, NamedSharding]]
    rows: NamedSharding  # Of arrays of a micro-batch, [R, ..].
    everywhere: NamedSharding


class Learner:
    """Holds the parameters and the optimizer's state. The mathematics is in the functions below."""

    def __init__(self, config: RunConfig):
        """
        Raises:
          ValueError: the devices here are not those of `config.mesh`, or the parameters cannot be cut so.
        """
        self._config = config
        self._dtype = config.dtype or fast_dtype()
        self._places = _places(config)
        # On a mesh XLA cuts the tiles; the kernel it could not.
        self._flash = self._places is None and expressible(config.model.config, self._dtype) and available()
        self._functions = _compile(config, self._dtype, self._places)
        if self._places is None:
            params = jax.tree.map(jnp.asarray, config.model.load(config.seed))
        else:
            params = config.model.load(config.seed, self._places.params)
        self._state = self._functions.begin(params)
        self._copies = self._functions.copies(params)
        self._reference = None  # The starting point; kept only where a KL term reads it.
        if config.kl_coefficient:  # In the arithmetic of the policy: else the two would differ from the start.
            reference = jax.tree.map(jnp.copy, params)
            self._reference = with_copies(reference, self._functions.copies(reference))

    def update(self, batch: Batch) -> dict[str, float]:
        """One gradient step over all rows of the batch: a row at a time, or as many as a mesh has places for rows.

        Returns:
          Metrics. An update without a trainable token changes nothing and says so with `update/skipped` 1.

        Raises:
          NotFinite: the gradient is not finite; the parameters are as before.
        """
        f = self._functions
        if not np.asarray(batch.mask).any():
            return {"update/skipped": 1.0}
        if self._flash:
            batch = batch._replace(keys=make_branches(np.asarray(batch.segment), np.asarray(batch.prefix)))
        params = with_copies(self._state.params, self._copies)
        gradients, sums = f.zeros(self._state.params)
        for rows in self._micro_batches(batch):
            gradients, sums = f.accumulate(params, self._reference, gradients, sums, rows)
        norm = float(f.norm(gradients))
        if not math.isfinite(norm):
            raise NotFinite(
                f"The gradient of update {int(self._state.version) + 1} is not finite: lower the learning rate."
            )
        del params
        self._state = f.apply(self._state, gradients)
        self._copies = f.copies(self._state.params)
        sums = jax.device_get(sums)
        routers = sums.pop("router", None)
        k = self._config.model.config.experts_per_token
        return _metrics(sums, batch, norm) | (router_metrics(routers, k) if routers else {})

    def _micro_batches(self, batch: Batch) -> Iterator[Batch]:
        if self._places is None:
            for b in range(len(batch.tokens)):
                yield jax.tree.map(lambda x, b=b: x[b : b + 1] if np.ndim(x) else x, batch)
            return
        places, sizes = self._places, self._places.mesh.shape
        size = math.prod(sizes[axis] for axis in ROW_AXES)
        placed = jax.tree.map(lambda x: places.rows if np.ndim(x) else places.everywhere, batch)
        for b in range(0, len(batch.tokens), size):
            rows = jax.tree.map(lambda x, b=b: _padded(x[b : b + size], size) if np.ndim(x) else x, batch)
            yield jax.device_put(rows, placed)

    def publish(self) -> Versioned:
        """The current parameters for the engines, on the host, in the dtype of the products."""
        return Versioned(int(self._state.version), to_host(self._functions.publish(self._state.params)))

    def fingerprint(self) -> str:
        """8 hexadecimal digits that change when a bit of the parameters does."""
        leaves = jax.tree.leaves(self._state.params)
        return f"{functools.reduce(lambda crc, p: zlib.crc32(np.require(p, requirements='C'), crc), leaves, 0):08x}"

    def arithmetic(self) -> str:
        """What decides the bits where the config leaves it open: "bfloat16, 2 threads, 32 rows at a time, 4 prompts by
        up to 64 columns, pages of 32, jaxlib 0.10.2, Intel(R) ..."."""
        device = jax.devices()[0]
        at = layout(slots=self._config.slots, prompt_columns=CHUNK, max_tokens=1, dtype=self._dtype)
        blocks = f"{at.width} rows at a time, {at.rows} prompts by up to {at.chunk} columns, pages of {PAGE}"
        by = f"{blocks}, jaxlib {versions()['jaxlib']}"
        if device.platform != "cpu":  # There the threads of the host compute nothing.
            return f"{self._dtype}, {by}, {device.device_kind}"
        given = os.environ.get("NPROC", "")  # From which XLA takes them.
        return f"{self._dtype}, {given if given.isdecimal() else cores()} threads, {by}, {machine()['cpu']}"

    def params(self) -> Params:
        """The float32 masters, on the host."""
        return jax.tree.map(np.array, self._state.params)

    def save(self, directory: str | pathlib.Path) -> None:
        """Writes the parameters and the optimizer's state below `directory`."""
        directory = pathlib.Path(directory)
        write_tree(directory / "params.safetensors", self._state.params)
        write_tree(directory / "optimizer.safetensors", (self._state.optimizer, self._state.version))

    def restore(self, directory: str | pathlib.Path) -> None:
        """Goes back to what `save` wrote; bit for bit."""
        directory = pathlib.Path(directory)
        params = read_tree(directory / "params.safetensors", self._state.params)
        optimizer, version = read_tree(
            directory / "optimizer.safetensors", (self._state.optimizer, self._state.version)
        )
        state = LearnerState(params, optimizer, version)
        self._state = jax.tree.map(lambda x, now: jax.device_put(jnp.asarray(x), now.sharding), state, self._state)
        self._copies = self._functions.copies(self._state.params)


def _places(config: RunConfig) -> _Places | None:
    if not config.mesh:
        return None
    sizes: dict[str, Any] = dict(config.mesh)
    mesh = make_mesh(**sizes)
    shape = config.model.config
    rules = config.sharding or table(shape)
    return _Places(
        mesh,
        rules,
        shardings(mesh, parameter_shapes(shape), rules),
        NamedSharding(mesh, BATCH),
        NamedSharding(mesh, PartitionSpec()),
    )


def _padded(x: np.ndarray, rows: int) -> np.ndarray:
    """With empty rows, of which nothing is trained or counted."""
    return np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]), x.dtype)])


class _Functions(NamedTuple):
    begin: jax.stages.Wrapped
    copies: jax.stages.Wrapped
    publish: jax.stages.Wrapped
    zeros: jax.stages.Wrapped
    accumulate: jax.stages.Wrapped
    norm: jax.stages.Wrapped
    apply: jax.stages.Wrapped


def _compile(config: RunConfig, dtype: str, places: _Places | None) -> _Functions:
    optimizer = _optimizer(config)
    # Left to itself, XLA may copy Adam's moments, and gradients, onto every device.
    state_places = gradient_places = None
    if places is not None:
        gradient_places = places.params
        moments = optax.tree.map_params(
            optimizer,
            lambda _, place: place,
            jax.eval_shape(optimizer.init, jax.eval_shape(make_policy(config.model.config).init, jax.random.key(0))),
            places.params,
            transform_non_params=lambda _: places.everywhere,
        )
        state_places = LearnerState._make((places.params, moments, places.everywhere))

    def begin(params: Params) -> LearnerState:
        return LearnerState(params, optimizer.init(params), jnp.int32(0))

    def rows_loss(params, reference, rows: Batch):
        f = functools.partial(micro_batch_loss, config, dtype)
        if places is None:
            return f(params, reference, rows)
        each = by_rows(lambda rows, params, reference: f(params, reference, rows), places.mesh, places.rules)
        loss, sums = each(rows, params, reference)
        return loss.sum(), jax.tree.map(lambda x: x.sum(axis=0), sums) | {PEAK: sums[PEAK].max()}

    def copies(params: Params):
        if dtype == "float32":  # The masters serve: no layout is slow in float32.
            return {module: dict.fromkeys(leaves) for module, leaves in params.items()}
        return compute_copies(params, jnp.dtype(dtype))

    def zeros(params: Params):
        return jax.tree.map(jnp.zeros_like, params), _no_sums(config)

    def accumulate(params, reference, gradients, sums, row: Batch):
        new, row_sums = jax.grad(rows_loss, has_aux=True)(params, reference, row)
        added = jax.tree.map(jnp.add, sums, row_sums) | {PEAK: jnp.maximum(sums[PEAK], row_sums[PEAK])}
        return jax.tree.map(jnp.add, gradients, masters(new)), added

    def apply(state: LearnerState, gradients: Params) -> LearnerState:
        updates, opt_state = optimizer.update(gradients, state.optimizer, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        return LearnerState(params, opt_state, state.version + 1)

    sums_places = None if places is None else places.everywhere
    return _Functions(
        begin=jax.jit(begin, out_shardings=state_places),
        copies=jax.jit(copies),
        publish=jax.jit(functools.partial(engine_params, dtype=jnp.dtype(dtype))),
        zeros=jax.jit(zeros, out_shardings=(gradient_places, sums_places)),
        accumulate=jax.jit(accumulate, donate_argnums=(2, 3), out_shardings=(gradient_places, sums_places)),
        norm=jax.jit(optax.tree.norm),
        apply=jax.jit(apply, donate_argnums=0, out_shardings=state_places),
    )


def micro_batch_loss(config: RunConfig, dtype: str, params, reference, row: Batch):
    """The share of some rows in the loss of the update, and sums for metrics.

    Args:
      params: masters, or `Matrix` leaves; differentiated.
      reference: the parameters of the reference policy, or None.
      row: a batch whose `count` is that of the whole update.
    """
    shape = config.model.config
    policy = make_policy(shape, dtype)
    b, t = row.tokens.shape
    source = (row.source + t * jnp.arange(b)[:, None]).reshape(-1)
    tokens, mask, behavior, sampled, advantages = (
        x.reshape(-1) for x in (row.tokens, row.mask, row.logprobs, row.policy_logprobs, row.advantages)
    )

    def logprobs(tree):
        columns = (row.tokens, row.segment, row.prefix, row.position, row.keys)
        hidden, routers = policy.routed(tree, *columns) if shape.num_experts else (policy.hidden(tree, *columns), None)
        table = tree[head_table(shape)]["w"]
        law = {"temperature": config.temperature, "cap": shape.logit_cap}
        return token_logprobs(table, hidden, tokens, source, mask, **law), routers

    facts, routers = logprobs(params)
    anchor = None if reference is None else jax.lax.stop_gradient(logprobs(reference)[0].logprobs)
    loss, sums = surrogate(
        facts.logprobs,
        behavior,
        advantages,
        mask,
        row.count,
        clip=config.clip,
        reference=anchor,
        kl_coefficient=config.kl_coefficient,
    )
    gap = jnp.where(mask, jnp.abs(facts.policy_logprobs - sampled), 0.0)
    sums |= {
        "loss": loss,
        "entropy": facts.entropy.sum(),
        "logprob_gap/mean": gap.sum(),
        PEAK: gap.max(),
    }
    return loss, sums if routers is None else sums | {"router": jax.lax.stop_gradient(routers)}


def _no_sums(config: RunConfig) -> dict[str, Any]:
    """Where the sums of an update start: zeros."""
    names = ["loss", "entropy", "logprob_gap/mean", PEAK, "ratio/clipped", "kl/behavior"]
    sums: dict[str, Any] = {
        name: jnp.float32(0) for name in (*names, *(["kl/reference"] * bool(config.kl_coefficient)))
    }
    shape = config.model.config
    if layers := sum(shape.has_experts(i) for i in range(shape.num_layers)):
        of_experts = jnp.zeros((layers, shape.num_experts))
        sums["router"] = RouterSums(of_experts, of_experts, jnp.float32(0))
    return sums


def _metrics(sums: dict[str, np.ndarray], batch: Batch, norm: float) -> dict[str, float]:
    """Means over the tokens in the rows: those of groups without an advantage are there only for a KL term."""
    trained = float(np.asarray(batch.mask).sum())
    whole = {"loss", PEAK}
    metrics = {name: float(s) if name in whole else float(s) / trained for name, s in sums.items()}
    return metrics | {"gradient/norm": norm, "tokens/trained": trained, "update/skipped": 0.0}


def _optimizer(config: RunConfig) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101)."""
    if config.warmup_steps:
        # The first update already learns: its rate is one step up from zero.
        rate = optax.linear_schedule(
            config.learning_rate / config.warmup_steps, config.learning_rate, max(config.warmup_steps - 1, 1)
        )
    else:
        rate = config.learning_rate
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adamw(rate, b1=config.adam_b1, b2=config.adam_b2, weight_decay=config.weight_decay),
    )
