"""Attention by the flash kernel of a GPU: its layout, computed here by XLA; and what would be sent to the GPU."""

import re

import families
import jax
import numpy as np
import pytest
import small

from policy import flash
from policy.flash import available, expressible, make_branches
from rl import learner as room
from rl.batch import make_batch
from rl.learner import Learner, micro_batch_loss
from rl.types import Batch


def by_branches(batch: Batch) -> Batch:
    return batch._replace(keys=make_branches(np.asarray(batch.segment), np.asarray(batch.prefix)))


def test_branches_by_hand():
    # A prompt of two columns with completions of two and one; padding; a segment that stands alone.
    segment = np.array([[1, 1, 2, 2, 3, 0, 4, 4]])
    prefix = np.array([[1, 1, 1, 1, 1, 0, 4, 4]])
    columns, home, prompt = make_branches(segment, prefix)
    assert columns.shape == (1, 4, flash.SHORTEST)
    written = [[int(c) for c in branch if c >= 0] for branch in columns[0]]
    assert written == [[0, 1, 2, 3], [0, 1, 4], [6, 7], []]
    w = flash.SHORTEST
    assert home.tolist() == [[0, 1, 2, 3, w + 2, -1, 2 * w, 2 * w + 1]]
    assert prompt.tolist() == [[True, True, False, False, False, False, True, True]]


@pytest.mark.parametrize("name", ["gemma3", "gpt2"])  # A window in one layer of two, groups of heads; neither.
def test_branches_give_the_loss_and_gradient_of_tiles(name):
    """Rows with several trees, in some of which others wrote tokens; a window shorter than the prompts."""
    config = small.run_config(model=families.model(name), micro_batch_tokens=128)
    batch, _ = make_batch(small.groups(4, 4), config)
    assert (batch.segment == batch.prefix).any(axis=1).all()
    f = jax.jit(jax.value_and_grad(lambda p, rows: micro_batch_loss(config, "float32", p, None, rows)[0]))
    loss, gradient = f(families.params(name), batch)
    other, its_gradient = f(families.params(name), by_branches(batch))
    assert float(other) == pytest.approx(float(loss), abs=1e-5)
    scale = max(np.abs(x).max() for x in jax.tree.leaves(gradient))
    for x, y in zip(jax.tree.leaves(gradient), jax.tree.leaves(its_gradient), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5 * scale)


def test_what_the_kernel_can_express():
    served = {name for name in families.CASES if expressible(families.config(name), "bfloat16")}
    assert set(families.CASES) - served == {"gemma2", "grok-1"}  # A soft cap on scores.
    assert not expressible(families.config("llama"), "float32")
    assert not available()  # These tests run on CPUs.


def test_a_learner_takes_the_kernel_where_there_is_one(monkeypatch):
    """In bfloat16 the update is that of the tiles to the noise of the format."""
    config = small.run_config(dtype="bfloat16")
    batch, _ = make_batch(small.groups(3, 4), config)
    tiles = Learner(config).update(batch)
    laid_out = []
    monkeypatch.setattr(room, "available", lambda: True)
    monkeypatch.setattr(room, "make_branches", lambda *row: laid_out.append(make_branches(*row)) or laid_out[-1])
    branches = Learner(config).update(batch)
    assert len(laid_out) == 1
    for name in ("loss", "entropy", "gradient/norm", "tokens/trained"):
        assert branches[name] == pytest.approx(tiles[name], rel=0.02, abs=1e-3), name
    Learner(small.run_config(dtype="float32")).update(batch)
    assert len(laid_out) == 1


def test_what_is_sent_to_a_gpu(monkeypatch):
    """The learner's gradient, lowered for CUDA without one: the kernel in both directions, and nothing of [W, W]."""
    monkeypatch.setattr(flash, "available", lambda: True)
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91100)
    config = small.run_config(model=families.model("gemma3"), micro_batch_tokens=512)
    batch, _ = make_batch(small.groups(2, 4, longest=300), config)
    batch = by_branches(batch)
    _, _, w = batch.keys.columns.shape
    assert w >= 256
    f = jax.jit(jax.grad(lambda p, rows: micro_batch_loss(config, "bfloat16", p, None, rows)[0]))
    text = f.trace(families.params("gemma3"), batch).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@__cudnn$fmhaSoftmax(") == text.count("@__cudnn$fmhaSoftmaxBackward(") == 2  # Of each layer.
    assert text.count("PADDING_CAUSAL") == 4
    assert len(re.findall(r"sliding_window_length\W+22: 8\b", text)) == 2  # The local layer's, in both directions.
    assert f"{w}x{w}x" not in text
