"""Rotary frequencies for long contexts, by hand and against `transformers`."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from model_files import BYTES

import policy
from policy.attention import key_tiles
from policy.rotary import Dynamic, Linear, Llama3, YaRN, angles, rotate, table


def frequencies(scaling, theta=10_000.0, width=8):
    return angles(theta, width, 2, scaling)[1]


def test_plain_and_linear_by_hand():
    np.testing.assert_allclose(frequencies(None), [1, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(frequencies(Linear(4.0)), [0.25, 0.025, 0.0025, 0.00025])
    np.testing.assert_allclose(angles(100.0, 4, 3, None), [[0, 0], [1, 0.1], [2, 0.2]])


def test_llama3_by_hand():
    """Within 1000 positions the four frequencies turn 159, 15.9, 1.59 and 0.159 times."""
    found = frequencies(Llama3(8.0, 1.0, 4.0, 1000))
    smooth = (1000 * 0.01 / (2 * math.pi) - 1) / 3
    np.testing.assert_allclose(found, [1, 0.1, 0.01 * (smooth + (1 - smooth) / 8), 0.001 / 8])


def test_yarn_by_hand():
    """Within 1000 positions 32 turns are at feature 0.697, rounded to 0, and one turn is at 2.2, rounded to 3."""
    found = frequencies(YaRN(4.0, 1000))
    divided = np.array([0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(found, np.array([1, 0.1, 0.01, 0.001]) * (divided / 4 + 1 - divided))
    cos, _ = table(10_000.0, 8, 2, YaRN(4.0, 1000), np.array([0]))
    np.testing.assert_allclose(cos[:, 0], 0.1 * math.log(4) + 1)  # The length of the rotated vectors.
    cos, _ = table(10_000.0, 8, 2, YaRN(4.0, 1000, magnitude=0.5), np.array([0]))
    np.testing.assert_allclose(cos[:, 0], 0.5)


def test_dynamic_by_hand():
    """As without scaling up to 10 positions; at 20 positions the base is theta (2 20 / 10 - 1)^(4 / 2)."""
    found, plain = angles(100.0, 4, 20, Dynamic(2.0, 10)), angles(100.0, 4, 20, None)
    np.testing.assert_array_equal(found[:10], plain[:10])
    np.testing.assert_allclose(found[19], [19, 19 * (100.0 * 3**2) ** -0.5])


def test_rotation_of_a_part_of_a_head():
    x = np.arange(12.0, dtype=np.float32).reshape(2, 6, 1)  # [2 heads, 6 features, 1 column]
    cos, sin = np.full((2, 1), 0.6, np.float32), np.full((2, 1), 0.8, np.float32)
    found = np.asarray(rotate(x, cos, sin))[:, :, 0]
    expected = [0 * 0.6 - 2 * 0.8, 1 * 0.6 - 3 * 0.8, 2 * 0.6 + 0 * 0.8, 3 * 0.6 + 1 * 0.8, 4, 5]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    nothing = np.zeros((0, 1), np.float32)
    np.testing.assert_array_equal(rotate(x, nothing, nothing), x)


@pytest.mark.parametrize(
    ("scaling", "described"),
    [
        (Linear(3.0), {"rope_type": "linear", "factor": 3.0}),
        (
            Llama3(8.0, 1.0, 4.0, 128),
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 128,
            },
        ),
        (YaRN(4.0, 128), {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}),
        (
            YaRN(4.0, 128, 16.0, 2.0, 1.5, False),
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 128,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
                "attention_factor": 1.5,
                "truncate": False,
            },
        ),
    ],
    ids=["linear", "llama3", "yarn", "yarn with options"],
)
def test_transformers_has_the_same_frequencies(scaling, described):
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    config = transformers.LlamaConfig(
        hidden_size=64, num_attention_heads=2, max_position_embeddings=512,
        rope_parameters={"rope_theta": 5000.0, **described},
    )  # fmt: skip
    theirs = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    np.testing.assert_allclose(frequencies(scaling, 5000.0, 32), theirs.inv_freq.numpy(), rtol=1e-5)
    cos, _ = table(5000.0, 32, 2, scaling, np.array([0]))
    np.testing.assert_allclose(cos[:, 0], theirs.attention_scaling, rtol=1e-6)


def test_dynamic_scaling_is_that_of_a_decoder_that_keeps_rotated_keys():
    """`transformers` turns the token at each position by the base of the length up to there."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    torch = pytest.importorskip("torch", reason="needs torch (the extra `parity`)")
    config = transformers.LlamaConfig(
        hidden_size=64, num_attention_heads=2, max_position_embeddings=16,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 5000.0, "factor": 4.0},
    )  # fmt: skip
    theirs = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    cos, sin = table(5000.0, 32, 64, Dynamic(4.0, 16), np.arange(64))
    for position in range(64):
        c, s = theirs(torch.zeros(1, 1, 64), torch.tensor([[position]]))
        np.testing.assert_allclose(cos[:, position], c[0, 0, :16].numpy(), atol=1e-5)
        np.testing.assert_allclose(sin[:, position], s[0, 0, :16].numpy(), atol=1e-5)


def test_dynamic_scaling_in_a_model(tmp_path):
    """Beyond the 16 positions that it is made for: a whole row at once, and `transformers` a token at a time."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    torch = pytest.importorskip("torch", reason="needs torch (the extra `parity`)")
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=258, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=16, initializer_range=0.3, eos_token_id=1,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 5000.0, "factor": 4.0}, attn_implementation="eager",
    )  # fmt: skip
    network = transformers.LlamaForCausalLM(shape).eval()
    network.save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "tokenizer.json").write_text(BYTES.definition)
    model = policy.pretrained(tmp_path / "a")
    assert (model.config.rope_scaling, model.config.context) == (Dynamic(4.0, 16), 64)
    tokens, cache, expected = np.random.default_rng(0).integers(0, 258, (1, 64)), None, []
    with torch.no_grad():
        for t in range(64):
            step = network(torch.tensor(tokens[:, t : t + 1]), past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            expected.append(step.logits[0, 0].numpy())
    segment, position = np.ones((1, 64), np.int32), np.arange(64, dtype=np.int32)[None]
    row = (tokens.astype(np.int32), segment, segment, position, key_tiles(segment, segment))

    def logits(config):
        made = policy.make_policy(config)
        return np.asarray(
            jax.jit(lambda params, *row: made.head(params, made.hidden(params, *row)))(model.load(0), *row)
        ).T

    assert np.abs(logits(model.config) - expected).max() < 1e-3
    plain = dataclasses.replace(model.config, rope_scaling=None)
    assert np.abs(logits(plain) - expected)[16:].max() > 0.1  # It matters.
