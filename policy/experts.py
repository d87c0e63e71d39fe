"""A mixture of experts (Shazeer et al., 2017, arXiv:1701.06538) that computes only the experts that are chosen.

Columns are sorted by their expert into tiles of a fixed number of columns, each of one expert, and a loop goes over
the tiles that hold something. A column's product has one shape wherever the column lies, so its bits depend neither
on its neighbors nor on how many columns an expert got. No column is dropped. On a mesh the columns travel to the
experts, never the experts to the columns (`Part`).

Letters: D width, N columns, E experts, k experts a column is sent to, F expert_width, Q columns of a tile, S columns of
all tiles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from policy.products import Matrix, bits, dot, from_bits
from policy.sizes import power_of_two

AXIS = "expert"  # Of the mesh: experts lie along it, and rows of the batch too.

Weight = Any  # jax.Array | Matrix | Part: a stack of them, [E, out, in].
Stacks = tuple[Weight, Weight, Weight]  # gate, up [E, F, D] and down [E, D, F].


class Part(NamedTuple):
    """The experts of a stack that this device has: its part of the first axis, along `AXIS` of the mesh.

    It exists where a function runs once for each device along that axis (`jax.shard_map`).
    """

    w: Any  # Weight [E / devices, out, in]

    # Of the whole stack: Haiku checks a parameter's shape and dtype.
    @property
    def shape(self) -> tuple[int, ...]:
        return (self.w.shape[0] * lax.axis_size(AXIS), *self.w.shape[1:])

    @property
    def dtype(self) -> jnp.dtype:
        return self.w.dtype


class Routing(NamedTuple):
    """Where the columns of a layer are sent."""

    chosen: jax.Array  # int32 [k, N], the most likely expert first.
    gates: jax.Array  # float32 [k, N], what their outputs are multiplied by.
    probabilities: jax.Array  # float32 [E, N]


class RouterSums(NamedTuple):
    """Statistics of the routers, to be added up over micro-batches; layers without experts are left out."""

    chosen: jax.Array  # float32 [L, E], how many columns were sent to each expert.
    probabilities: jax.Array  # float32 [L, E], the sum of their probabilities.
    columns: jax.Array  # float32 [], without padding.


class Plan(NamedTuple):
    """Which column is where in the tiles."""

    column: jax.Array  # int32 [S], the column at each place; any where there is none.
    gate: jax.Array  # float32 [S], its gate; 0 where there is none.
    place: jax.Array  # int32 [k, N], the inverse.
    expert: jax.Array  # int32 [S / Q], of each tile.
    used: jax.Array  # int32 [], tiles that hold something: the first ones.


def route(logits: jax.Array, k: int, renormalized: bool) -> Routing:
    """float32 [E, N] -> the k experts of the greatest softmax(logits).

    Args:
      renormalized: whether the gates of a column sum to one.
    """
    probabilities = jax.nn.softmax(logits, axis=0)
    gates, chosen = lax.top_k(probabilities, k, axis=0)
    if renormalized:
        gates = gates / gates.sum(axis=0)
    return Routing(chosen, gates, probabilities)


def router_sums(routings: list[Routing], there: jax.Array) -> RouterSums:
    """The statistics of some columns; each counts once where `there`, bool [N], is True."""

    def sums(routing: Routing) -> tuple[jax.Array, jax.Array]:
        e = routing.probabilities.shape[0]
        hits = (routing.chosen[:, None] == jnp.arange(e)[:, None]) & there  # [k, E, N]
        return hits.sum(axis=(0, 2), dtype=jnp.float32), (routing.probabilities * there).sum(axis=1)

    chosen, probabilities = zip(*map(sums, routings), strict=True)
    return RouterSums(jnp.stack(chosen), jnp.stack(probabilities), there.sum(dtype=jnp.float32))


def router_metrics(sums: RouterSums, k: int) -> dict[str, float]:
    """What the statistics say, for the log.

    `router/balance_loss` is E sum_e f_e p_e, the mean over the layers, with f the share of the choices that fell on
    an expert and p its mean probability: 1 where all are alike, E where one takes all (Switch, Fedus et al., 2021,
    arXiv:2101.03961, eq. 4). `router/load_max` is the greatest f_e E; `router/unused` the share of experts that got
    nothing.
    """
    columns = max(float(sums.columns), 1.0)
    experts = sums.chosen.shape[1]
    load = jnp.asarray(sums.chosen) / (columns * k) * experts  # [L, E], 1 where all are alike.
    mean = jnp.asarray(sums.probabilities) / columns
    return {
        "router/balance_loss": float((load * mean).sum(axis=1).mean()),
        "router/load_max": float(load.max()),
        "router/unused": float((sums.chosen == 0).mean()),
    }


def tile_columns(columns: int, k: int, experts: int) -> int:
    """Q: about what an expert gets; a power of two from 16, so that vector instructions are full, to 128."""
    return min(max(power_of_two(columns * k // experts), 16), 128)


def most_tiles(columns: int, k: int, experts: int, q: int) -> int:
    """As many as can hold something."""
    return k * columns // q + min(experts, k * columns)


def make_plan(routing: Routing, experts: int, q: int, first_expert: jax.Array | None = None) -> Plan:
    """Sorts the columns by their expert, each expert's tiles beginning anew.

    Args:
      routing: of the columns.
      experts: how many are computed.
      q: columns of a tile.
      first_expert: where there are more, the first of those that are computed; columns of others have their place in
        the last tile, which nothing fills.
    """
    k, n = routing.chosen.shape
    others = first_expert is not None
    tile = jnp.arange(most_tiles(n, k, experts, q) + others)
    expert = routing.chosen.reshape(-1)  # [k N]
    if others:
        expert = expert - first_expert
        expert = jnp.where((expert >= 0) & (expert < experts), expert, experts)
    counts = (expert[:, None] == jnp.arange(experts)).sum(axis=0, dtype=jnp.int32)  # [E]
    starts, ends = jnp.cumsum(counts) - counts, jnp.cumsum(-(-counts // q))  # In sorted order; in tiles.
    first = ends - -(-counts // q)
    order = jnp.argsort(expert, stable=True)
    place = first[expert] * q + jnp.argsort(order) - starts[expert]  # The inverse of the order is a rank.
    if others:
        place = jnp.where(expert < experts, place, (len(tile) - 1) * q)
    mine = jnp.minimum((ends <= tile[:, None]).sum(axis=1), experts - 1)  # The expert of each tile.
    rank = ((tile - first[mine]) * q)[:, None] + jnp.arange(q)  # Of each place among the columns of its expert.
    there = (rank < counts[mine][:, None]).reshape(-1)
    source = order[jnp.where(there, (starts[mine][:, None] + rank).reshape(-1), 0)]
    gate = jnp.where(there, lax.stop_gradient(routing.gates).reshape(-1)[source], 0.0)
    return Plan(source % n, gate, place.reshape(k, n), mine, ends[-1])


Activation = Callable[[jax.Array], jax.Array]


def mix(activation: Activation, weights: Stacks, x: jax.Array, routing: Routing) -> jax.Array:
    """`mixture` of the columns x, [D, N], as they are routed: float32 [D, N].

    With `Part`s every device of the axis has columns of its own. Each computes its experts for the columns of all and
    gets the sum of what all have computed for its own (Lepikhin et al., 2020, arXiv:2006.16668, section 3.2, with
    nothing dropped).
    """
    q = functools.partial(tile_columns, k=routing.chosen.shape[0], experts=weights[0].shape[0])
    if not isinstance(weights[0], Part):
        plan = make_plan(routing, weights[0].shape[0], q(x.shape[1]))
        return mixture(activation, weights, x, routing.gates, plan)
    gate, up, down = (part.w for part in weights)
    x, routing = _gather(x), Routing(*map(_gather, routing))
    count = gate.shape[0]
    plan = make_plan(routing, count, q(x.shape[1]), lax.axis_index(AXIS) * count)
    return _scatter(mixture(activation, (gate, up, down), x, routing.gates, plan))


@jax.custom_vjp
def _gather(x: jax.Array) -> jax.Array:
    """[.., N] of each device -> [.., N devices]. The gradient is summed in float32: XLA:CPU cannot in bfloat16."""
    return lax.all_gather(x, AXIS, axis=1, tiled=True)


def _scatter(y: jax.Array) -> jax.Array:
    """[.., N devices] -> [.., N], the sum of what all have for this device."""
    return lax.psum_scatter(y, AXIS, scatter_dimension=1, tiled=True)


_gather.defvjp(
    lambda x: (_gather(x), jnp.zeros((0,), x.dtype)),
    lambda like, g: (_scatter(g.astype(jnp.float32)).astype(like.dtype),),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def mixture(activation: Activation, weights: Stacks, x: jax.Array, gates: jax.Array, plan: Plan) -> jax.Array:
    """sum over the chosen experts of gate * W_down (activation(W_gate x) * W_up x).

    Args:
      weights: gate, up [E, F, D] and down [E, D, F]; their dtype is that of the products, or uint16, `products.bits`
        of bfloat16.
      x: [D, N].
      gates: float32 [k, N]. The plan has them too, but no gradient flows through it.

    Returns:
      float32 [D, N].
    """
    return _forward(activation, weights, x, gates, plan, keep=False)[0]


def _forward(activation, weights, x, gates, plan: Plan, keep: bool) -> tuple[jax.Array, Any]:
    gate_w, up_w, down_w = (_read(w)[0] for w in weights)
    dtype, q = _dtype(gate_w), plan.column.shape[0] // plan.expert.shape[0]
    inputs = bits(x.astype(dtype))[:, plan.column]  # [D, S]

    def tile(t, carry):
        outputs, kept = carry
        e = plan.expert[t]
        mine = _columns(inputs, t, q)
        pair = [dot(_of(w, e), mine).astype(dtype) for w in (gate_w, up_w)]  # [F, Q]
        y = dot(_of(down_w, e), _gated(activation, *pair))
        return _put(outputs, y, t), [_put(buffer, part, t) for buffer, part in zip(kept, pair, strict=False)]

    buffers = [jnp.zeros((gate_w.shape[1], plan.column.shape[0]), inputs.dtype) for _ in range(2 if keep else 0)]
    start = (jnp.zeros((x.shape[0], plan.column.shape[0])), buffers)
    outputs, kept = lax.fori_loop(0, plan.used, tile, start)
    y = sum(gates[i] * outputs[:, plan.place[i]] for i in range(gates.shape[0]))
    return y, (inputs, outputs, kept)  # type: ignore[return-value]


def _gated(activation: Activation, gate: jax.Array, up: jax.Array) -> jax.Array:
    return (activation(gate.astype(jnp.float32)) * up.astype(jnp.float32)).astype(gate.dtype)


def _keep(activation, weights, x, gates, plan):
    y, saved = _forward(activation, weights, x, gates, plan, keep=True)
    return y, (weights, saved, plan, jnp.zeros((0,), x.dtype))


def _backward(activation, saved, g: jax.Array):
    weights, (inputs, outputs, (gate, up)), plan, like = saved
    stacks = [_read(w) for w in weights]
    dtype, q = _dtype(inputs), plan.column.shape[0] // plan.expert.shape[0]
    dgates = jnp.stack([(g * outputs[:, place]).sum(axis=0) for place in plan.place])
    dy = bits((g[:, plan.column] * plan.gate).astype(dtype))  # [D, S], 0 where there is no column.

    def tile(t, carry):
        (dgate_w, dup_w, ddown_w), dinputs = carry
        e = plan.expert[t]
        mine, dmine = _columns(inputs, t, q), _columns(dy, t, q)
        a, pull = jax.vjp(functools.partial(_gated, activation), _columns(gate, t, q), _columns(up, t, q))
        dgate, dup = pull(_turned_dot(stacks[2], e, dmine).astype(dtype))
        dx = _turned_dot(stacks[0], e, dgate) + _turned_dot(stacks[1], e, dup)
        dweights = (
            dgate_w.at[e].add(dot(dgate, mine, (1, 1))),
            dup_w.at[e].add(dot(dup, mine, (1, 1))),
            ddown_w.at[e].add(dot(dmine, a, (1, 1))),
        )
        return dweights, _put(dinputs, dx, t)

    zeros = tuple(jnp.zeros(w.shape, jnp.float32) for w, _ in stacks)
    dweights, dinputs = lax.fori_loop(0, plan.used, tile, (zeros, jnp.zeros(inputs.shape)))
    dx = sum(dinputs[:, place] for place in plan.place)
    wrapped = tuple(
        Matrix(dw, jnp.zeros_like(w.w), jnp.zeros_like(w.wt)) if isinstance(w, Matrix) else dw
        for w, dw in zip(weights, dweights, strict=True)
    )
    return wrapped, dx.astype(like.dtype), dgates, None  # type: ignore[union-attr]


mixture.defvjp(_keep, _backward)


def _read(w: Weight) -> tuple[jax.Array, jax.Array | None]:
    """`bits` of what products read: the weight, and its transposed copy where it has one (policy.products)."""
    return (bits(w.w), bits(w.wt)) if isinstance(w, Matrix) else (bits(w), None)


def _dtype(x: jax.Array) -> jnp.dtype:
    """Of what has these bits."""
    return jnp.dtype(jnp.bfloat16) if x.dtype == jnp.uint16 else x.dtype


def _turned_dot(stack: tuple[jax.Array, jax.Array | None], e: jax.Array, g: jax.Array) -> jax.Array:
    """W[e]^T g."""
    w, wt = stack
    return dot(_of(w, e), g, (0, 0)) if wt is None else dot(_of(wt, e), g)


def _of(stack: jax.Array, e: jax.Array) -> jax.Array:
    return from_bits(lax.dynamic_index_in_dim(stack, e, 0, keepdims=False))


def _columns(x: jax.Array, t: jax.Array, q: int) -> jax.Array:
    return from_bits(lax.dynamic_slice_in_dim(x, t * q, q, 1))


def _put(buffer: jax.Array, part: jax.Array, t: jax.Array) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(buffer, bits(part), t * part.shape[1], 1)
