"""Rotary positions (Su et al., 2021, arXiv:2104.09864), and how their frequencies are changed for long contexts."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Linear:
    """Positions are divided by `factor` (Chen et al., 2023, arXiv:2306.15595)."""

    factor: float


@dataclasses.dataclass(frozen=True)
class Dynamic:
    """The base grows with the length, beyond `original` tokens ("NTK-aware" scaling; arXiv:2309.00071, section 3.3).

    A position is rotated as it is when it is the last one: as by a decoder that keeps rotated keys. So a token's keys
    do not depend on what follows it.
    """

    factor: float
    original: int


@dataclasses.dataclass(frozen=True)
class YaRN:
    """Low frequencies are divided by `factor`, high ones are kept (Peng et al., 2023, arXiv:2309.00071, section 3.2).

    Attributes:
      factor: of the lengths.
      original: the context before the extension, in tokens.
      fast, slow: rotations within `original` above which a frequency is kept, and below which it is divided.
      magnitude: cos and sin are multiplied by it; 0: 0.1 log(factor) + 1.
      whole: whether the range between them is rounded to whole features.
    """

    factor: float
    original: int
    fast: float = 32.0
    slow: float = 1.0
    magnitude: float = 0.0
    whole: bool = True


@dataclasses.dataclass(frozen=True)
class Llama3:
    """Wavelengths above `original` / `low` are multiplied by `factor`, those below `original` / `high` are kept."""

    factor: float
    low: float
    high: float
    original: int


Scaling = Linear | Dynamic | YaRN | Llama3


def angles(theta: float, width: int, length: int, scaling: Scaling | None) -> np.ndarray:
    """The angle of each pair of features at each position, float64 [length, width / 2].

    Args:
      theta: base of the frequencies theta^(-2 i / width).
      width: features that are rotated.
    """
    half = width // 2
    position = np.arange(length)[:, None]
    frequency = theta ** (-np.arange(half) / half)
    match scaling:
        case Linear(factor):
            return position * (frequency / factor)
        case Dynamic(factor, original):
            longest = np.maximum(position + 1, original)
            base = theta * (factor * longest / original - (factor - 1)) ** (width / (width - 2))  # [length, 1]
            return position * base ** (-np.arange(half) / half)
        case YaRN():
            return position * _yarn(theta, width, frequency, scaling)
        case Llama3(factor, low, high, original):
            turns = original * frequency / (2 * math.pi)  # Within the original context.
            kept = np.clip((turns - low) / (high - low), 0, 1)
            return position * (frequency * (kept + (1 - kept) / factor))
    return position * frequency


def _yarn(theta: float, width: int, frequency: np.ndarray, scaling: YaRN) -> np.ndarray:
    def feature(turns: float) -> float:  # The place of the frequency with that many turns.
        return width * math.log(scaling.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = feature(scaling.fast), feature(scaling.slow)
    if scaling.whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    divided = np.clip((np.arange(width // 2) - low) / (high - low or 0.001), 0, 1)
    return frequency * (divided / scaling.factor + 1 - divided)


def table(
    theta: float, width: int, length: int, scaling: Scaling | None, position: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """cos and sin of the angles of each position below `length`, [width / 2, N] each.

    From a table: computed on the spot, XLA:CPU fuses them into every layer and computes them anew.
    """
    angle = angles(theta, width, length, scaling)
    magnitude = 1.0
    if isinstance(scaling, YaRN):
        magnitude = scaling.magnitude or 0.1 * math.log(max(scaling.factor, 1.0)) + 1.0
    return tuple(jnp.asarray(magnitude * f(angle), jnp.float32)[position].T for f in (np.cos, np.sin))  # type: ignore[return-value]


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates the two halves of the first 2 R features of each head, x [heads, C, N], cos and sin [R, N]."""
    r = cos.shape[0]
    a, b, rest = x[:, :r], x[:, r : 2 * r], x[:, 2 * r :]
    parts = [a * cos - b * sin, b * cos + a * sin]
    return jnp.concatenate([*parts, rest] if rest.shape[1] else parts, axis=1)
