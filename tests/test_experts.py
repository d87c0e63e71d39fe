"""A mixture of experts against all experts in plain NumPy; what it computes, counted; its statistics."""

import dataclasses
import functools
import re

import families
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from policy import Engine, Versioned
from policy.experts import RouterSums, Routing, make_plan, mixture, route, router_metrics, router_sums, tile_columns
from policy.products import Matrix, compute_copies, masters, with_copies
from policy.transformer import engine_params, to_host
from rl.batch import make_batch
from rl.learner import Learner

D, F = 16, 24
SILU = jax.nn.silu


def weights(experts, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((experts, F, D), (experts, F, D), (experts, D, F))
    return tuple(rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes)


def columns(n, seed=1):
    return np.random.default_rng(seed).normal(size=(D, n)).astype(np.float32)


plan_of = jax.jit(make_plan, static_argnums=(1, 2))


@functools.partial(jax.jit, static_argnums=4)
def mixed(weights, x, gates, chosen, q):
    routing = Routing(chosen, gates, jnp.zeros((weights[0].shape[0], x.shape[1])))
    return mixture(SILU, weights, x, gates, make_plan(routing, weights[0].shape[0], q))


def slow(weights, x, gates, chosen):
    """A column and an expert at a time."""
    gate, up, down = (np.asarray(w, np.float64) for w in weights)
    y = np.zeros((D, x.shape[1]))
    for n in range(x.shape[1]):
        for g, e in zip(gates[:, n], chosen[:, n], strict=True):
            a = gate[e] @ x[:, n]
            y[:, n] += g * (down[e] @ (a / (1 + np.exp(-a)) * (up[e] @ x[:, n])))
    return y


def dense(weights, x, gates, chosen):
    """All experts for all columns, in JAX, for gradients."""
    inner = SILU(jnp.einsum("efd,dn->efn", weights[0], x)) * jnp.einsum("efd,dn->efn", weights[1], x)
    y = jnp.einsum("edf,efn->edn", weights[2], inner)
    share = ((chosen[:, None] == jnp.arange(len(weights[0]))[:, None]) * gates[:, None]).sum(axis=0)  # [E, N]
    return jnp.einsum("edn,en->dn", y, share)


@pytest.mark.parametrize(
    ("n", "experts", "k", "q"),
    [(50, 4, 2, 16), (4, 16, 3, 16)],
    ids=["some experts", "more experts than choices"],
)
def test_values_and_gradients(n, experts, k, q):
    rng = np.random.default_rng(2)
    chosen = np.argsort(rng.normal(size=(experts, n)), axis=0)[:k].astype(np.int32)
    gates = rng.uniform(0.1, 1, (k, n)).astype(np.float32)
    w, x, target = weights(experts), columns(n), columns(n, 5)
    np.testing.assert_allclose(mixed(w, x, gates, chosen, q), slow(w, x, gates, chosen), atol=1e-5)
    found, expected = (
        jax.jit(jax.grad(lambda w, x, gates, f=f: (f(w, x, gates) * target).sum(), (0, 1, 2)))(w, x, gates)
        for f in (lambda *args: mixed(*args, chosen, q), lambda *args: dense(*args, chosen))
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("favorite", [0, 3])
def test_one_expert_may_take_every_column(favorite):
    chosen, gates = np.full((1, 70), favorite, np.int32), np.ones((1, 70), np.float32)
    w, x = weights(4), columns(70)
    np.testing.assert_allclose(mixed(w, x, gates, chosen, 16), slow(w, x, gates, chosen), atol=1e-5)
    plan = plan_of(Routing(chosen, gates, np.zeros((4, 70))), 4, 16)
    assert int(plan.used) == 5  # 70 columns in tiles of 16.
    assert plan.expert[:5].tolist() == [favorite] * 5


def test_a_plan_by_hand():
    """Columns 0 to 4 to experts 1, 0, 1, 1, 3; tiles of two columns."""
    plan = plan_of(Routing(jnp.array([[1, 0, 1, 1, 3]]), jnp.arange(1.0, 6.0)[None], jnp.zeros((4, 5))), 4, 2)
    assert int(plan.used) == 4
    assert plan.expert[:4].tolist() == [0, 1, 1, 3]
    assert plan.place.tolist() == [[2, 0, 3, 4, 6]]
    assert plan.gate[:8].tolist() == [2, 0, 1, 3, 4, 0, 5, 0]  # 0 where no column is.
    assert plan.column[jnp.array([0, 2, 3, 4, 6])].tolist() == [1, 0, 2, 3, 4]


def test_a_plan_of_some_experts_by_hand():
    """Experts 1 and 2 of four, columns 0 to 4 to experts 1, 0, 1, 1, 3: the fourth tile is that of the others."""
    routing = Routing(jnp.array([[1, 0, 1, 1, 3]]), jnp.arange(1.0, 6.0)[None], jnp.zeros((4, 5)))
    plan = jax.jit(lambda first: make_plan(routing, 2, 2, first))(1)
    assert int(plan.used) == 2
    assert plan.expert.shape == (5,)
    assert plan.expert[:2].tolist() == [0, 0]  # Counted from the first of them.
    assert plan.place.tolist() == [[0, 8, 1, 2, 8]]
    assert plan.gate.tolist() == [1, 3, 4, 0, 0, 0, 0, 0, 0, 0]
    assert plan.column[:3].tolist() == [0, 2, 3]


def test_routing_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.1], [0.3, 0.2], [0.2, 0.7]]))  # [3 experts, 2 columns]
    routing = route(logits, 2, renormalized=False)
    assert routing.chosen.tolist() == [[0, 2], [1, 1]]
    np.testing.assert_allclose(routing.gates, [[0.5, 0.7], [0.3, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(route(logits, 2, renormalized=True).gates, [[5 / 8, 7 / 9], [3 / 8, 2 / 9]], rtol=1e-6)


def test_statistics_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.1, 0.9], [0.3, 0.2, 0.05], [0.2, 0.7, 0.05]]))
    sums = router_sums([route(logits, 1, False)], jnp.array([True, True, False]))  # The third column is padding.
    assert sums.chosen.tolist() == [[1, 0, 1]]
    np.testing.assert_allclose(sums.probabilities, [[0.6, 0.5, 0.9]], rtol=1e-6)
    assert sums.columns == 2
    metrics = router_metrics(sums, 1)
    # f = (1/2, 0, 1/2), p = (0.3, 0.25, 0.45): 3 (0.15 + 0 + 0.225)
    assert metrics["router/balance_loss"] == pytest.approx(1.125)
    assert metrics["router/load_max"] == pytest.approx(1.5)
    assert metrics["router/unused"] == pytest.approx(1 / 3)
    even = RouterSums(np.full((2, 4), 5.0), np.full((2, 4), 2.5), np.float32(10))
    assert router_metrics(even, 2) == {"router/balance_loss": 1.0, "router/load_max": 1.0, "router/unused": 0.0}


def flops(text: str) -> tuple[int, int]:
    """Of the products of a compiled program: outside its loop, and in one turn of it."""
    counted = {False: 0, True: 0}
    inside = False
    shapes = dict(re.findall(r"(%[\w.-]+) = \w+\[([\d,]*)\]", text))
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")):
            inside = not line.startswith("ENTRY")
        if found := re.search(r" = \w+\[([\d,]*)\]\S* dot\((%[\w.-]+), .*lhs_contracting_dims=\{([\d,]+)\}", line):
            out, left, axes = (found[1], shapes[found[2]].split(","), found[3])
            size = np.prod([int(left[int(axis)]) for axis in axes.split(",")])
            counted[inside] += 2 * int(np.prod([int(x) for x in out.split(",")])) * int(size)
    return counted[False], counted[True]


def test_only_the_chosen_experts_are_computed():
    """Counted in the compiled program: the products of one tile, as often as tiles hold something."""
    n, experts, k = 64, 8, 2
    rng = np.random.default_rng(0)
    routing = route(jnp.asarray(rng.normal(size=(experts, n)), jnp.float32), k, False)
    q = tile_columns(n, k, experts)
    used = int(plan_of(routing, experts, q).used)
    f = jax.jit(lambda w, x, routing: mixed(w, x, routing.gates, routing.chosen, q))
    outside, turn = flops(f.lower(weights(experts), columns(n), routing).compile().as_text())
    assert (outside, turn) == (0, 3 * 2 * D * F * q)
    useful, everything = (3 * 2 * D * F * n * m for m in (k, experts))
    assert useful <= used * turn <= useful + experts * turn  # At most one tile an expert is not full.
    assert used * turn < everything / 2

    def loss(w, x, routing):
        return jnp.square(mixed(w, x, routing.gates, routing.chosen, q)).sum()

    backward = jax.jit(jax.grad(loss, (0, 1)))
    outside, turn = flops(backward.lower(weights(experts), columns(n), routing).compile().as_text())
    assert outside == 0
    assert turn == 9 * 2 * D * F * q  # Three products forward, six backward: two loops, a turn of each.


def test_copies_in_the_dtype_of_the_products_give_the_same_gradient():
    w, x = dict(zip(("gate", "up", "down"), weights(4), strict=True)), columns(40)
    chosen, gates = np.tile(np.arange(4, dtype=np.int32), 10)[None], np.ones((1, 40), np.float32)
    copies = compute_copies({"experts": w, "router": {"w": w["gate"][0]}}, jnp.float32)
    assert copies["router"]["w"] is None  # A router stays in float32.
    doubled = with_copies({"experts": w}, copies)["experts"]
    assert doubled["gate"].wt.shape == (4, D, F)

    def loss(tree, x):
        return jnp.square(mixed(tuple(tree[name] for name in ("gate", "up", "down")), x, gates, chosen, 16)).sum()

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    plain, other = gradient(w, x), gradient(doubled, x)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(masters(other)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_bfloat16_rows_depend_on_nothing_but_themselves():
    """As tests/test_families.py shows in float32."""
    made = Engine(families.model("mixtral"), seed=7, slots=8, prompt_columns=20, max_tokens=6, dtype="bfloat16")
    params = jax.tree.map(jnp.asarray, families.params("mixtral"))
    published = engine_params(params, jnp.dtype("bfloat16"))
    assert published["layer_0/router"]["w"].dtype == jnp.float32
    assert published["layer_0/experts"]["up"].dtype == jnp.bfloat16
    made.load(Versioned(0, to_host(published)))

    def generate(prompts):
        for i in prompts:
            made.submit(i, list(range(50 + i, 60 + 3 * i)), samples=3, index=i)
        done = {}
        while not made.idle:
            done |= dict(made.step())
        return done

    first = generate(range(3))
    for i, completions in generate([2, 0]).items():
        for a, b in zip(first[i], completions, strict=True):
            np.testing.assert_array_equal(a.tokens, b.tokens)
            np.testing.assert_array_equal(a.policy_logprobs, b.policy_logprobs)


def test_an_update_of_a_mixture_reports_its_routers():
    config = dataclasses.replace(small.run_config(model=families.model("mixtral")), micro_batch_tokens=96)
    learner = Learner(config)
    before = learner.fingerprint()
    metrics = learner.update(make_batch(small.groups(2, 3), config)[0])
    assert learner.fingerprint() != before
    assert 1 <= metrics["router/load_max"] <= 2  # Of 4 experts and two a column.
    assert 0.5 < metrics["router/balance_loss"] < 4
    assert metrics["router/unused"] == 0
    assert {"loss", "entropy", "gradient/norm"} <= metrics.keys()


def test_products_of_experts_stay_in_bfloat16():
    """XLA:CPU turns some silently into float32 (policy.products); in the compiled program."""
    e, n = 4, 256

    def narrow(*shape):
        return jnp.zeros(shape, jnp.bfloat16)

    w = tuple(Matrix(jnp.zeros((e, a, b)), narrow(e, a, b), narrow(e, b, a)) for a, b in ((F, D), (F, D), (D, F)))
    routing = Routing(jnp.zeros((2, n), jnp.int32), jnp.ones((2, n)), jnp.zeros((e, n)))

    def loss(w, x):
        return jnp.square(mixture(SILU, w, x, routing.gates, make_plan(routing, e, 64))).sum()

    text = jax.jit(jax.grad(loss, (0, 1))).lower(w, narrow(D, n)).compile().as_text()
    dtypes = dict(re.findall(r"(%[\w.-]+) = (\w+)\[", text))
    operands = re.findall(r" dot\((%[\w.-]+), (%[\w.-]+)\)", text)
    assert len(operands) == 9
    assert {dtypes[name] for pair in operands for name in pair} == {"bf16"}
    # Nor is a whole stack converted, or what the tiles are taken from and put into.
    assert not re.findall(rf"f32\[{e},\d+,\d+\]\S* convert\(|f32\[(?:{D}|{F}),\d+\]\S* convert\(bf16", text)
