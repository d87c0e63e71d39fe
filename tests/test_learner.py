"""The objective against slow NumPy, and what must not change it: rows, order, micro-batches, trees."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

import rl
from policy import layout, make_policy
from policy.attention import key_tiles
from policy.products import compute_copies, masters, with_copies
from rl.advantage import group_centered, group_normalized
from rl.batch import make_batch
from rl.learner import Learner, micro_batch_loss
from rl.loss import surrogate, token_logprobs
from rl.types import Batch
from verifiers import Outcome, Verdict


def gradient(config, batch, params, reference=None):
    """Loss and gradient of a whole batch, a micro-batch a row, as the learner adds them up."""
    total, tree = 0.0, jax.tree.map(np.zeros_like, params)
    f = jax.jit(jax.value_and_grad(lambda p, row: micro_batch_loss(config, "float32", p, reference, row)[0]))
    for b in range(len(batch.tokens)):
        loss, g = f(params, Batch(*(jnp.asarray(x[b : b + 1]) for x in batch[:-1]), batch.count))
        total, tree = total + float(loss), jax.tree.map(lambda a, b: a + np.asarray(b), tree, g)
    return total, tree


def assert_same(a, b, tolerance=1e-5):
    scale = max(np.abs(x).max() for x in jax.tree.leaves(a))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance * scale)


# Advantages.


def test_advantages_by_hand():
    rewards = np.array([1.0, 0.0, 0.0, 1.0])  # mean 1/2, population std 1/2
    np.testing.assert_allclose(group_normalized(rewards), np.array([0.5, -0.5, -0.5, 0.5]) / 0.55)
    np.testing.assert_allclose(group_centered(rewards), [0.5, -0.5, -0.5, 0.5])
    for equal in (np.ones(8), np.full(3, 0.1), np.full(6, 0.7)):  # 0.1 and 0.7 are not the means of themselves.
        assert not group_normalized(equal).any()
        assert not group_centered(equal).any()


def test_a_member_that_was_not_scored_is_left_out_of_the_group():
    group = small.groups(1, 4)[0]
    verdicts = [Verdict(1, Outcome.CORRECT), Verdict(0, Outcome.ERROR), Verdict(0, Outcome.INCORRECT)]
    rollouts = tuple(dataclasses.replace(r, verdict=v) for r, v in zip(group.rollouts, verdicts, strict=False))
    group = dataclasses.replace(group, rollouts=rollouts)
    batch, _ = make_batch([group], small.run_config(advantage=group_centered))
    assert set(np.unique(batch.advantages[batch.mask])) == {-0.5, 0.5}  # A zero in its place would give -1/3, 2/3.
    assert batch.count == rollouts[0].completion.mask.sum() + rollouts[2].completion.mask.sum()


# The objective in plain NumPy.


def slow_logits(params, tokens):
    """One sequence at a time, one position at a time: int [T] -> [T, V]."""
    c = small.CONFIG
    x = params["embedding"]["w"][tokens].astype(np.float64)  # [T, D]

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + c.norm_epsilon) * scale

    def rotated(x):  # [T, heads, C]
        half = c.head_dim // 2
        angle = np.arange(len(x))[:, None] * c.rope_theta ** (-np.arange(half) / half)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    for i in range(c.num_layers):
        p = {name: params[f"layer_{i}/{name}"] for name in ("attention_norm", "qkv", "out", "mlp_norm")}
        qkv = norm(x, p["attention_norm"]["scale"]) @ p["qkv"]["w"].T
        q, k, v = np.split(qkv.reshape(len(x), -1, c.head_dim), [c.num_heads, c.num_heads + c.num_kv_heads], axis=1)
        q, k = rotated(q), rotated(k)
        out = np.zeros((len(x), c.num_heads, c.head_dim))
        for t in range(len(x)):
            for h in range(c.num_heads):
                kv = h * c.num_kv_heads // c.num_heads
                scores = k[: t + 1, kv] @ q[t, h] / np.sqrt(c.head_dim)
                weights = np.exp(scores - scores.max())
                out[t, h] = weights / weights.sum() @ v[: t + 1, kv]
        x = x + out.reshape(len(x), -1) @ p["out"]["w"].T
        h = norm(x, p["mlp_norm"]["scale"])
        gate, up = h @ params[f"layer_{i}/gate"]["w"].T, h @ params[f"layer_{i}/up"]["w"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ params[f"layer_{i}/down"]["w"].T
    return norm(x, params["final_norm"]["scale"]) @ params["embedding"]["w"].T


def slow_loss(groups, params, *, clip, temperature, reference=None, beta=0.0):
    """GRPO as written in the papers: nothing is packed, masked or chunked."""

    def logprobs(params, completion):
        p, t = completion.prompt, completion.tokens
        logits = slow_logits(params, np.concatenate([p, t]))[len(p) - 1 : -1] / temperature
        logits -= logits.max(-1, keepdims=True)
        return (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[np.arange(len(t)), t]

    total, count = 0.0, 0
    for group in groups:
        scored = [r for r in group.rollouts if r.verdict.outcome != "error"]
        rewards = np.array([r.verdict.reward for r in scored])
        advantages = (rewards - rewards.mean()) / (np.sqrt(((rewards - rewards.mean()) ** 2).mean()) + 0.05)
        for r, a in zip(scored, advantages, strict=True):
            lp = logprobs(params, r.completion)
            anchor = logprobs(reference, r.completion) if reference else None
            for t in np.flatnonzero(r.completion.mask):
                ratio = np.exp(lp[t] - r.completion.logprobs[t])
                total -= min(ratio * a, np.clip(ratio, 1 - clip, 1 + clip) * a)
                if anchor is not None:
                    total += beta * (np.exp(anchor[t] - lp[t]) - (anchor[t] - lp[t]) - 1)
                count += 1
    return total / count


@pytest.mark.parametrize(("temperature", "beta"), [(1.0, 0.0), (0.7, 0.0), (1.0, 0.3)])
def test_the_objective_agrees_with_numpy(temperature, beta):
    config = small.run_config(temperature=temperature, kl_coefficient=beta, micro_batch_tokens=96)
    params, reference = small.load(0), small.load(1) if beta else None
    groups = small.groups(2, 4)
    batch, _ = make_batch(groups, config)
    assert len(batch.tokens) > 1  # Several rows, so that packing has a part in it.
    loss, _ = gradient(config, batch, params, reference)
    slow = slow_loss(groups, params, clip=config.clip, temperature=temperature, reference=reference, beta=beta)
    assert loss == pytest.approx(slow, abs=1e-5)


def test_the_gradient_agrees_with_finite_differences():
    config = small.run_config(clip=10.0)  # No kink nearby.
    params, groups = small.load(0), small.groups(1, 3)
    _, g = gradient(config, make_batch(groups, config)[0], params)
    for module, name, place in [
        ("layer_0/qkv", "w", (3, 5)),
        ("layer_1/down", "w", (0, 7)),
        ("embedding", "w", (66, 2)),
    ]:
        losses = []
        for step in (1e-4, -1e-4):
            moved = jax.tree.map(np.float64, params)
            moved[module][name][place] += step
            losses.append(slow_loss(groups, moved, clip=10.0, temperature=1.0))
        assert g[module][name][place] == pytest.approx((losses[0] - losses[1]) / 2e-4, rel=2e-3, abs=1e-5)


# What must not matter.


def test_micro_batches_row_order_and_padding_do_not_change_the_gradient():
    params, groups = small.load(0), small.groups(4, 4)
    whole = small.run_config(micro_batch_tokens=2048)
    one_row, _ = make_batch(groups, whole)
    assert len(one_row.tokens) == 1
    loss, tree = gradient(whole, one_row, params)
    for columns, order in ((96, 1), (96, -1), (160, 1), (4096, -1)):
        config = small.run_config(micro_batch_tokens=columns)
        other_loss, other = gradient(config, make_batch(groups[::order], config)[0], params)
        assert other_loss == pytest.approx(loss, abs=1e-6)
        assert_same(tree, other)


def test_tree_rows_equal_one_completion_per_row():
    params, groups = small.load(0), small.groups(3, 4)
    config = small.run_config(micro_batch_tokens=512)
    loss, tree = gradient(config, make_batch(groups, config)[0], params)
    f = jax.jit(jax.value_and_grad(lambda p, row: micro_batch_loss(config, "float32", p, None, row)[0]))
    total, other = 0.0, jax.tree.map(np.zeros_like, params)
    for group in groups:
        advantages = config.advantage(np.array([r.verdict.reward for r in group.scored]))
        for r, a in zip(group.scored, advantages, strict=True):
            row = plain_row(r.completion, a, count=make_batch(groups, config)[0].count)
            part, g = f(params, row)
            total, other = total + float(part), jax.tree.map(lambda x, y: x + np.asarray(y), other, g)
    assert total == pytest.approx(loss, abs=1e-6)
    assert_same(tree, other)


def plain_row(completion, advantage, count, length=64):
    """Prompt, completion, padding: one segment, so that nothing of a tree is left."""
    p, n = len(completion.prompt), len(completion.prompt) + len(completion.tokens)
    tokens, segment = np.zeros((1, length), np.int32), np.zeros((1, length), np.int32)
    tokens[0, :n], segment[0, :n] = np.concatenate([completion.prompt, completion.tokens]), 1
    facts = np.zeros((3, 1, length), np.float32)
    mask = np.zeros((1, length), bool)
    mask[0, p:n] = completion.mask
    facts[:, 0, p:n] = completion.logprobs, completion.policy_logprobs, advantage * completion.mask
    position = np.arange(length, dtype=np.int32)[None]
    source = np.maximum(position - 1, 0)
    return Batch(tokens, mask, *facts, segment, segment, position, source, key_tiles(segment, segment), count)


def test_copies_in_the_dtype_of_the_products_give_the_same_gradient_in_float32():
    params, config = small.load(0), small.run_config()
    batch, _ = make_batch(small.groups(2, 4), config)
    _, tree = gradient(config, batch, params)
    doubled = with_copies(params, jax.jit(compute_copies, static_argnums=1)(params, "float32"))
    row = Batch(*(jnp.asarray(x) for x in batch))
    g = jax.jit(jax.grad(lambda p: micro_batch_loss(config, "float32", p, None, row)[0]))(doubled)
    assert_same(tree, masters(g))


def test_bfloat16_products_are_close_to_float32():
    params, config = small.load(0), small.run_config()
    batch, _ = make_batch(small.groups(2, 4), config)
    row = Batch(*(jnp.asarray(x) for x in batch))
    _, tree = gradient(config, batch, params)
    doubled = with_copies(params, jax.jit(compute_copies, static_argnums=1)(params, jnp.bfloat16))
    g = masters(jax.jit(jax.grad(lambda p: micro_batch_loss(config, "bfloat16", p, None, row)[0]))(doubled))
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (tree, g))
    assert np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


def louder(params):
    return jax.tree.map(lambda p: 4 * p if p.ndim > 1 else p, params)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("experts", [False, True])
def test_the_policy_begins_at_its_reference(dtype, experts):
    """But for rounding: where nothing is to be learned a KL term moves nothing."""
    config = small.run_config(dtype=dtype, kl_coefficient=0.1, advantage=np.zeros_like)
    if experts:
        shape = dataclasses.replace(small.CONFIG, num_experts=4, experts_per_token=2, expert_width=16)
        model = dataclasses.replace(small.MODEL, config=shape, load=lambda seed: louder(layout.random(shape, seed)))
        config = dataclasses.replace(config, model=model)
    metrics = Learner(config).update(make_batch(small.groups(2, 4), config)[0])
    assert metrics["tokens/trained"] > 0
    assert metrics["kl/reference"] < 1e-8  # 2e-6 for a reference with float32 products beside bfloat16,
    assert metrics["gradient/norm"] < 2e-5  # and 2e-4.


def test_on_policy_the_surrogate_has_the_gradient_of_reinforce():
    rng = np.random.default_rng(0)
    logprobs = rng.normal(-2, 1, 12).astype(np.float32)
    advantages, mask = rng.normal(size=12).astype(np.float32), rng.uniform(size=12) > 0.3
    g = jax.grad(lambda lp: surrogate(lp, logprobs, advantages, mask, np.float32(9), clip=0.2)[0])(logprobs)
    np.testing.assert_allclose(g, np.where(mask, -advantages / 9, 0), rtol=1e-6)


def test_clipping_by_hand():
    behavior = np.zeros(4, np.float32)
    logprobs = np.log(np.array([1.5, 1.5, 0.5, 0.5], np.float32))
    advantages = np.array([1, -1, 1, -1], np.float32)
    loss, sums = surrogate(logprobs, behavior, advantages, np.ones(4, bool), np.float32(4), clip=0.2)
    assert float(loss) == pytest.approx(-(1.2 - 1.5 + 0.5 - 0.8) / 4)
    assert sums["ratio/clipped"] == 2


def test_token_logprobs_skip_what_is_not_asked_for():
    rng = np.random.default_rng(0)
    table, hidden = rng.normal(size=(258, 8)).astype(np.float32), rng.normal(size=(8, 700)).astype(np.float32)
    tokens, source = rng.integers(0, 258, 700).astype(np.int32), rng.integers(0, 700, 700).astype(np.int32)
    mask = rng.uniform(size=700) > 0.6
    got = token_logprobs(table, hidden, tokens, source, mask, temperature=0.5)
    logits = (table @ hidden).T[source]
    for value, scaled in ((got.logprobs, logits / 0.5), (got.policy_logprobs, logits)):
        want = jax.nn.log_softmax(scaled)[np.arange(700), tokens]
        np.testing.assert_allclose(value, np.where(mask, want, 0), atol=2e-5)
    p = jax.nn.softmax(logits / 0.5)
    np.testing.assert_allclose(got.entropy, np.where(mask, -(p * jnp.log(p)).sum(-1), 0), atol=2e-5)


def test_a_batch_where_nothing_trains_changes_nothing_and_says_so():
    config = small.run_config(advantage=lambda r: np.zeros_like(r))
    batch, metrics = make_batch(small.groups(2, 4), config)
    assert len(batch.tokens) == 0
    assert metrics["groups/uniform"] == 1
    learner = Learner(config)
    before = learner.params()
    assert learner.update(batch) == {"update/skipped": 1.0}
    jax.tree.map(np.testing.assert_array_equal, before, learner.params())


def test_uniform_groups_count_in_the_mean():
    groups = small.groups(2, 4)
    even = dataclasses.replace(
        groups[1],
        rollouts=tuple(dataclasses.replace(r, verdict=Verdict(1, Outcome.CORRECT)) for r in groups[1].rollouts),
    )
    batch, _ = make_batch([groups[0], even], small.run_config())
    alone, _ = make_batch([groups[0]], small.run_config())
    np.testing.assert_array_equal(batch.tokens, alone.tokens)
    assert batch.count == alone.count + sum(r.completion.mask.sum() for r in even.rollouts)


def test_an_advantage_function_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="must return 4 finite numbers"):
        make_batch(small.groups(1, 4, seed=3)[:1], small.run_config(advantage=lambda r: r[:1]))


def test_an_update_climbs():
    config = small.run_config(learning_rate=1e-2, warmup_steps=0)
    learner, groups = Learner(config), small.groups(2, 4)
    batch, _ = make_batch(groups, config)
    first = learner.update(batch)
    second = learner.update(batch)
    assert second["loss"] < first["loss"]
    assert int(learner.publish().version) == 2


def test_save_and_restore_are_bit_exact(tmp_path):
    config = small.run_config()
    batch, _ = make_batch(small.groups(2, 4), config)
    learner = Learner(config)
    learner.update(batch)
    learner.save(tmp_path)
    other = Learner(dataclasses.replace(config, seed=5))
    other.restore(tmp_path)
    assert learner.update(batch) == other.update(batch)
    jax.tree.map(np.testing.assert_array_equal, learner.params(), other.params())


def test_an_update_that_is_not_finite_is_refused_and_leaves_the_parameters():
    config = small.run_config()
    batch, _ = make_batch(small.groups(2, 4), config)
    learner = Learner(config)
    before = learner.params()
    with pytest.raises(FloatingPointError, match="not finite"):
        learner.update(batch._replace(advantages=np.where(batch.mask, np.nan, 0).astype(np.float32)))
    jax.tree.map(np.testing.assert_array_equal, before, learner.params())


def test_hidden_sees_its_own_tree_and_nothing_else():
    """Changing a sibling or another tree changes no bit of a completion's hidden states."""
    params, config = small.load(0), small.run_config(micro_batch_tokens=512)
    batch, _ = make_batch(small.groups(3, 4), config)
    hidden = jax.jit(make_policy(small.CONFIG).hidden)
    arguments = (batch.segment, batch.prefix, batch.position, batch.keys)
    before = np.asarray(hidden(params, batch.tokens, *arguments))
    segment, prefix = batch.segment[0], batch.prefix[0]
    one = int(segment.max()) // 2
    own = (segment == one) | (segment == prefix[segment == one][0])
    tokens = np.where(own, batch.tokens, (batch.tokens + 1) % 258)
    after = np.asarray(hidden(params, tokens, *arguments))
    np.testing.assert_array_equal(before[:, own], after[:, own])
    assert (before[:, ~own & (segment > 0)] != after[:, ~own & (segment > 0)]).any()


HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize(
    ("sizes", "dtype", "runs"),
    [
        ({"fsdp": 4, "tensor": 2}, "float32", True),
        pytest.param({"fsdp": 2, "expert": 4}, "float32", True, marks=pytest.mark.slow),
        pytest.param({"data": 2, "tensor": 2, "expert": 2}, "bfloat16", False, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_learner_on_a_mesh_learns_what_one_on_a_device_does(sizes, dtype, runs):
    command = [sys.executable, HERE / "meshed.py", json.dumps(sizes), dtype, "runs" if runs else ""]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    alone, spread = found["facts"]
    exact = dtype == "float32"
    assert found["same_start"] is True
    assert alone["gradient/norm"] > 0.1
    assert spread == pytest.approx(alone, rel=1e-5 if exact else 1e-2, abs=1e-5 if exact else 1e-2)
    assert found["difference"] < (1e-6 if exact else 1e-4)
    # Saved on a mesh, gone on with on one device.
    assert found["moved"] is True
    assert abs(found["again"]) < (1e-5 if exact else 1e-2)
    # Each device holds its share of the parameters, and of both moments.
    assert found["held"] == [found["predicted"]] * 8
    assert found["moments"] == [2 * found["predicted"]] * 8
    if runs:
        one, mesh = found["metrics"]["one"], found["metrics"]["mesh"]
        assert len(one) == len(mesh) == 3
        for a, b in zip(one, mesh, strict=True):
            assert b == pytest.approx(a, abs=1e-4)


def test_a_mesh_that_cannot_be(tmp_path):
    for wrong in ({"rows": 2}, {"fsdp": 0}, "fsdp=2", {"fsdp": 2.0}):
        with pytest.raises(ValueError, match=r"RunConfig.mesh must say how many devices each of data, fsdp, tensor"):
            small.run_config(mesh=wrong)
    with pytest.raises(ValueError, match=r"RunConfig.mesh: Parameters cannot be cut evenly: .* by fsdp = 3"):
        rl.train(small.run_config(mesh={"fsdp": 3}, inline=True), path=tmp_path / "run")
    needs = len(jax.devices()) * 2
    with pytest.raises(ValueError, match=rf"needs {needs} devices; there are {needs // 2}\."):
        rl.train(small.run_config(mesh={"fsdp": needs}, inline=True), path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
