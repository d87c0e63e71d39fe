"""Attention over rows that hold trees, by the flash kernel of an NVIDIA GPU (cuDNN's, which JAX calls).

The kernel knows no trees: what it can leave out without an array of [T, T] is what comes later in a sequence, what
is out of a window, and what is beyond a sequence's length. So each *branch* of a tree, a prompt and one of its
completions, is laid out as a sequence of its own, for attention alone: the rest of the layer computes a prompt once.
A prompt's attention is computed with each of its completions, and costs no [T, T] either (FlashAttention-2, Dao, 2023,
arXiv:2307.08691).

Letters: N columns of all rows, G branches of a row at most, W columns of a branch at most, H heads of queries,
K heads of keys and values, C head_dim.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from policy import rotary
from policy.sizes import power_of_two
from policy.types import Array, TransformerConfig

SHORTEST = 64  # Columns of a branch are a power of two from here on, so that compiled shapes are few.


class Branches(NamedTuple):
    """Where the columns of rows lie when each branch is a sequence. Arrays of the host, or of a device."""

    columns: Array  # int32 [B, G, W], the columns of each branch in its row, -1 beyond its end
    home: Array  # int32 [B, T], the place of G W that a column's output is taken from; -1: padding has none
    prompt: Array  # bool [B, T], whether a column may lie in several branches


def expressible(config: TransformerConfig, dtype: str) -> bool:
    """Whether the kernel can compute this attention: in 16 bits, no soft cap, heads of a multiple of 8 up to 128."""
    return dtype in ("bfloat16", "float16") and not config.attention_cap and config.head_dim in range(8, 129, 8)


def available() -> bool:
    """Whether the devices here have the kernel: NVIDIA's from Ampere (compute capability 8.0) on."""
    device = jax.devices()[0]
    if device.platform == "cpu" or "cuda" not in device.client.platform_version:
        return False
    return float(device.compute_capability) >= 8.0


def make_branches(segment: np.ndarray, prefix: np.ndarray) -> Branches:
    """The branches of rows of trees, on the host.

    Args:
      segment, prefix: int32 [B, T], as in `rl.types.Batch`. A segment that is its own prefix and nobody else's is a
        branch by itself.
    """
    rows = [_branches(s, p) for s, p in zip(segment, prefix, strict=True)]
    g = power_of_two(max(len(row) for row in rows))
    w = max(SHORTEST, power_of_two(max((len(a) + len(b) for row in rows for a, b in row), default=1)))
    columns = np.full((len(rows), g, w), -1, np.int32)
    home = np.full(segment.shape, -1, np.int32)
    for b, row in enumerate(rows):
        for i, (before, own) in enumerate(row):
            branch = np.concatenate([before, own])
            columns[b, i, : len(branch)] = branch
            first = home[b, branch] < 0  # Not what an earlier branch of the same prompt computes.
            home[b, branch[first]] = i * w + np.flatnonzero(first)
    return Branches(columns, home, (segment > 0) & (segment == prefix))


def _branches(segment: np.ndarray, prefix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(the prompt's columns, the completion's) of each branch of a row, [T]."""
    places = {s: np.flatnonzero(segment == s) for s in range(1, segment.max(initial=0) + 1)}
    prompts = {s: int(prefix[columns[0]]) for s, columns in places.items() if len(columns)}
    found = [(places[p], places[s]) for s, p in prompts.items() if p != s]
    with_completions = {p for s, p in prompts.items() if p != s}
    nothing = np.zeros(0, int)
    return found + [(nothing, places[s]) for s, p in prompts.items() if p == s and s not in with_completions]


def attend_branches(
    config: TransformerConfig, dtype: jnp.dtype, layer: int, qkv: jax.Array, turns: tuple, branches: Branches
) -> jax.Array:
    """Causal attention within each tree, as `attention.attend`.

    Args:
      qkv: float32 [(H + 2K) C, N], before rotation.
      dtype: of the products.
      turns: cos and sin of the rotary angles, [R, N] each.

    Returns:
      `dtype` [H C, N]. The same bits each time need XLA_FLAGS=--xla_gpu_deterministic_ops=true: otherwise the kernel's
      backward pass adds in any order.
    """
    h, k = config.num_heads, config.num_kv_heads
    x = qkv.reshape(h + 2 * k, config.head_dim, -1)
    x = jnp.concatenate([rotary.rotate(x[: h + k], *turns), x[h + k :]])
    laid: Any = _lay_out(dtype, x.transpose(2, 0, 1), branches)  # [B G, W, H + 2K, C]
    q, keys, values = jnp.split(laid, [h, h + k], axis=2)
    lengths = (branches.columns >= 0).sum(axis=2, dtype=jnp.int32).reshape(-1)  # [B G]
    out = jax.nn.dot_product_attention(
        q,
        keys,
        values,
        scale=config.scale,
        is_causal=True,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        local_window_size=(config.window - 1, 0) if layer in config.local_layers else None,
        implementation="cudnn" if available() else "xla",  # XLA's makes [W, W]: for tests.
    )
    return _take_home(out, branches).transpose(1, 2, 0).reshape(h * config.head_dim, -1)


# Both ways are gathers, and sums over branches a product: a GPU would scatter in any order.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lay_out(dtype: jnp.dtype, x: jax.Array, branches: Branches) -> jax.Array:
    """float32 [N, heads, C] -> dtype [B G, W, heads, C], 0 beyond a branch's end."""
    return _at_branches(x.astype(dtype), branches)


def _lay_out_forward(dtype, x, branches):
    return _lay_out(dtype, x, branches), branches


def _lay_out_backward(dtype, branches, d):
    b, g, w = branches.columns.shape
    d = jnp.where((branches.columns >= 0).reshape(b * g, w, 1, 1), d, 0)
    root = branches.columns[:, :, 0]
    kin = (root[:, :, None] == root[:, None, :]).astype(dtype)  # [B, G, G], 1 where the prompt is the same
    # Where a prompt lies, its branches lie column by column one above the other.
    total = jnp.einsum("bgh,bhx->bgx", kin, d.reshape(b, g, -1), preferred_element_type=jnp.float32)
    shared = branches.prompt.reshape(-1, 1, 1)
    d = jnp.where(shared, _at_home(total.reshape(d.shape), branches), _at_home(d, branches))
    return d, None


_lay_out.defvjp(_lay_out_forward, _lay_out_backward)


@jax.custom_vjp
def _take_home(x: jax.Array, branches: Branches) -> jax.Array:
    """[B G, W, H, C] -> [N, H, C], 0 in padding."""
    return _at_home(x, branches)


def _take_home_forward(x, branches):
    return _at_home(x, branches), branches


def _take_home_backward(branches, d):
    b, g, w = branches.columns.shape
    home = _at_branches(branches.home.reshape(-1), branches).reshape(b, g * w)
    lives = ((branches.columns.reshape(b, g * w) >= 0) & (home == jnp.arange(g * w))).reshape(b * g, w, 1, 1)
    return jnp.where(lives, _at_branches(d, branches), 0), None


_take_home.defvjp(_take_home_forward, _take_home_backward)


def _at_branches(x: jax.Array, branches: Branches) -> jax.Array:
    """[N, ..] -> [B G, W, ..], what lies at each column of each branch; 0 beyond a branch's end."""
    b, g, w = branches.columns.shape
    here = branches.columns >= 0
    places = jnp.maximum(branches.columns, 0) + jnp.arange(b)[:, None, None] * (x.shape[0] // b)
    return jnp.where(here.reshape(b, g, w, *[1] * (x.ndim - 1)), x[places], 0).reshape(b * g, w, *x.shape[1:])


def _at_home(x: jax.Array, branches: Branches) -> jax.Array:
    """[B G, W, ..] -> [N, ..], what lies where each column is at home; 0 in padding."""
    b, t = branches.home.shape
    here = branches.home >= 0
    places = jnp.maximum(branches.home, 0) + jnp.arange(b)[:, None] * (x.shape[0] * x.shape[1] // b)
    flat = x.reshape(-1, *x.shape[2:])
    return jnp.where(here.reshape(b, t, *[1] * (flat.ndim - 1)), flat[places], 0).reshape(b * t, *flat.shape[1:])
