"""Every family of models: the engine, the learner, rows of trees, finite differences, and kept reference logits."""

import dataclasses
import functools
import json
import pathlib

import families
import jax
import numpy as np
import numpy_grok
import pytest
import small
from safetensors.numpy import load_file

import policy
from policy import Engine, SamplingOptions, Versioned, make_policy
from policy.attention import key_tiles
from policy.transformer import engine_params, to_host
from rl.batch import make_batch
from rl.learner import micro_batch_loss
from rl.types import Batch, Group, Rollout
from verifiers import Outcome, Problem, Verdict

REFERENCE = json.loads((pathlib.Path(__file__).parent / "data" / "reference_families.json").read_text())["cases"]
PROMPTS = [list(range(60, 71)), list(range(80, 97)), list(range(99, 102))]  # 11, 17 and 3 tokens
COLUMNS = 64
# Between them: windows, caps, all norms, rotations whole, in part and none, tied weights, experts. The engines and the
# learners of the others, which take long to compile, are slow tests.
AT_ONCE = {"llama", "gemma2", "gpt2", "phi3", "qwen3-moe", "grok-1"}


def each(names):
    return [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.slow) for name in names]


every_family = pytest.mark.parametrize("name", each(families.CASES))


def run_config(name):
    return small.run_config(model=families.model(name), micro_batch_tokens=COLUMNS)


@functools.cache
def engine(name):
    made = Engine(families.model(name), seed=7, slots=8, prompt_columns=20, max_tokens=9, dtype="float32")
    params = jax.tree.map(jax.numpy.asarray, families.params(name))
    made.load(Versioned(0, to_host(engine_params(params, np.dtype("float32")))))
    return made


def generate(name, prompts):
    made = engine(name)
    for i in prompts:
        made.submit(i, PROMPTS[i], samples=3, index=i)
    done = {}
    while not made.idle:
        done |= dict(made.step())
    return done


@functools.cache
def sampled(name):
    return generate(name, range(3))


@functools.cache
def learner_function(name):
    """(params, a row of 64 columns whose query tiles see two key tiles) -> (loss, sums), gradient."""
    config = run_config(name)
    return jax.jit(jax.value_and_grad(lambda p, row: micro_batch_loss(config, "float32", p, None, row), has_aux=True))


@functools.cache
def group(name, i=0):
    """Samples of a prompt, with rewards; in one of them others wrote some tokens."""
    rollouts = []
    for g, c in enumerate(sampled(name)[i]):
        mask = np.ones(len(c.tokens), bool)
        mask[2:5] = g != 1
        c = dataclasses.replace(c, mask=mask, logprobs=c.logprobs * mask, policy_logprobs=c.policy_logprobs * mask)
        rollouts.append(Rollout(c, Verdict(g / 2, Outcome.CORRECT)))
    return Group(i, Problem(str(i), "", ""), tuple(rollouts))


@functools.cache
def tree_row(name):
    batch, _ = make_batch([group(name)], run_config(name))
    assert batch.tokens.shape == (1, COLUMNS)
    return padded_keys(batch)


def padded_keys(batch):
    """Two key tiles for every query tile, so that one program serves all rows."""
    keys = np.full((*batch.keys.shape[:2], 2), -1, np.int32)
    keys[:, :, : batch.keys.shape[2]] = batch.keys
    return batch._replace(keys=keys)


def plain_row(c, advantage, count):
    """Prompt, completion, padding: one segment, so that nothing of a tree is left."""
    p, n = len(c.prompt), len(c.prompt) + len(c.tokens)
    tokens, segment = np.zeros((1, COLUMNS), np.int32), np.zeros((1, COLUMNS), np.int32)
    tokens[0, :n], segment[0, :n] = np.concatenate([c.prompt, c.tokens]), 1
    facts, mask = np.zeros((3, 1, COLUMNS), np.float32), np.zeros((1, COLUMNS), bool)
    mask[0, p:n] = c.mask
    facts[:, 0, p:n] = c.logprobs, c.policy_logprobs, advantage * c.mask
    position = np.arange(COLUMNS, dtype=np.int32)[None]
    source = np.maximum(position - 1, 0)
    keys = key_tiles(segment, segment)
    return padded_keys(Batch(tokens, mask, *facts, segment, segment, position, source, keys, count))


def assert_same_bits(a, b):
    np.testing.assert_array_equal(a.tokens, b.tokens)
    np.testing.assert_array_equal(a.policy_logprobs, b.policy_logprobs)


@every_family
def test_engine_and_learner_agree(name):
    (_, sums), _ = learner_function(name)(families.params(name), tree_row(name))
    assert 0 < sums["logprob_gap/max"] < 1e-4


@every_family
def test_a_row_depends_on_nothing_but_itself(name):
    for prompts in ([2, 1, 0], [1], [0, 2]):
        for i, completions in generate(name, prompts).items():
            for a, b in zip(sampled(name)[i], completions, strict=True):
                assert_same_bits(a, b)


@every_family
def test_tree_rows_equal_one_completion_per_row(name):
    f, params, row = learner_function(name), families.params(name), tree_row(name)
    (loss, _), tree = f(params, row)
    rollouts = group(name).rollouts
    advantages = run_config(name).advantage(np.array([r.verdict.reward for r in rollouts]))
    total, other = 0.0, jax.tree.map(np.zeros_like, params)
    for r, a in zip(rollouts, advantages, strict=True):
        (part, _), g = f(params, plain_row(r.completion, a, row.count))
        total, other = total + float(part), jax.tree.map(lambda x, y: x + np.asarray(y), other, g)
    assert total == pytest.approx(float(loss), abs=1e-5)
    scale = max(np.abs(x).max() for x in jax.tree.leaves(tree))
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5 * scale)


@every_family
def test_the_gradient_agrees_with_finite_differences(name):
    """For each parameter along a random direction that is not far from its gradient, so that the loss moves."""
    # Weights with which no expert is chosen narrowly: where another one takes its place, the loss jumps.
    f, params, row = learner_function(name), families.params(name, seed=1), tree_row(name)
    row = row._replace(logprobs=row.logprobs + 0.01 * row.mask)  # Away from the kink of the clipped ratio.
    _, gradient = f(params, row)
    rng, step = np.random.default_rng(3), 2e-3
    for module, leaves in gradient.items():
        for leaf, g in leaves.items():
            g = np.asarray(g)
            v = g + rng.normal(0, np.std(g), g.shape).astype(np.float32)
            v /= np.linalg.norm(v) + 1e-12
            ends = []
            for sign in (1, -1):
                moved = params | {module: params[module] | {leaf: params[module][leaf] + sign * step * v}}
                ends.append(float(f(moved, row)[0][0]))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert slope == pytest.approx(float((g * v).sum()), rel=0.02, abs=2e-4), (module, leaf)


# Parity.


@functools.cache
def forward(name):
    made = make_policy(families.config(name), "float32")
    return jax.jit(lambda params, *row: made.head(params, made.hidden(params, *row)).T)


def logits(name, params, tokens):
    """int32 [T] -> float32 [T, V]"""
    row = np.zeros((1, COLUMNS), np.int32)
    row[0, : len(tokens)] = tokens
    segment, position = np.ones_like(row), np.arange(COLUMNS, dtype=np.int32)[None]
    return np.asarray(forward(name)(params, row, segment, segment, position, key_tiles(segment, segment)))[
        : len(tokens)
    ]


@pytest.mark.parametrize("name", families.CASES)
def test_reference_logits(name):
    found = logits(name, families.params(name), families.tokens())
    assert found.std() > 0.5
    np.testing.assert_allclose(found[families.POSITIONS][:, families.PICKED], REFERENCE[name], atol=1e-3)


def test_grok_against_numpy(tmp_path):
    path = policy.export(families.params("grok-1"), families.model("grok-1"), tmp_path / "grok", "float32")
    weights = load_file(path / "model.safetensors")
    expected = numpy_grok.logits(weights, families.described("grok-1"), families.tokens())
    assert np.abs(logits("grok-1", policy.pretrained(path).load(0), families.tokens()) - expected).max() < 1e-3


@pytest.mark.parametrize("name", each(families.PORTED))
def test_transformers_agrees(name, tmp_path):
    """A directory of theirs comes in and goes out bit-equal; logits and greedy text are the same."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    torch = pytest.importorskip("torch", reason="needs torch (the extra `parity`)")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind, content = families.CASES[name]
    theirs = {"Gemma3": transformers.Gemma3TextConfig}.get(kind) or getattr(transformers, kind + "Config")
    made = theirs(**content, attn_implementation="eager", initializer_range=0.3)
    network = getattr(transformers, families.described(name)["architectures"][0])(made).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)  # Norms and biases that do something.
    network.save_pretrained(tmp_path / "theirs")
    definition = policy.tokenizer.as_pretrained(policy.ByteTokenizer()).definition
    (tmp_path / "theirs" / "tokenizer.json").write_text(definition)
    model = policy.pretrained(tmp_path / "theirs")
    assert model.config == families.config(name)
    params = model.load(0)
    with torch.no_grad():
        expected = network(torch.tensor(families.tokens()[None]).long()).logits[0].numpy()
    assert np.abs(logits(name, params, families.tokens()) - expected).max() < 1e-3

    out = policy.export(params, model, tmp_path / "ours", dtype="float32")
    before, after = load_file(tmp_path / "theirs" / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    back = policy.pretrained(out)
    assert back.config == model.config

    made = engine(name)
    made.load(Versioned(1, to_host(engine_params(jax.tree.map(jax.numpy.asarray, params), np.dtype("float32")))))
    made.submit("greedy", PROMPTS[1], options=SamplingOptions(temperature=0.0))
    done = {}
    while not made.idle:
        done |= dict(made.step())
    engine.cache_clear()  # The other tests' parameters are others.
    (completion,) = done["greedy"]
    again = type(network).from_pretrained(out, dtype=torch.float32, attn_implementation="eager")
    prompt = torch.tensor([PROMPTS[1]])
    written = again.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=9, do_sample=False)
    assert completion.tokens.tolist() == written[0, prompt.shape[1] :].tolist()
