"""Puts the weights of files onto their devices, a tensor at a time.

peak host memory <= what rests on the host's own devices + the largest shard + the largest tensor of a file that is
not read by rows (of an expert, or stored transposed) + a few chunks
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from policy.layout import Layout, Read, Shape
from policy.types import Params

Box = tuple[tuple[int, int], ...]  # A part of an array: from and to, along each axis.
Shardings = Mapping[str, Mapping[str, jax.sharding.Sharding]]

_CHUNK = 1 << 21  # Numbers that are read at once.


def stream(tree: Layout, read: Read, shardings: Shardings | None = None) -> Params:
    """Reads every parameter of `tree`, float32.

    Args:
      tree: which tensors each parameter is read from.
      read: called for a few rows at a time.
      shardings: where the parameters go; each process reads what its devices hold. None: NumPy arrays, whole.
    """
    params: dict[str, dict[str, Any]] = {}
    for (module, name), parts in tree.items():
        if shardings is None:
            values = fill(parts, read, tuple((0, n) for n in joined(parts)))
        else:
            values = place(parts, read, shardings[module][name])
        params.setdefault(module, {})[name] = values
    return params


def joined(parts: Sequence[tuple[str, Shape]]) -> Shape:
    """The shape of a parameter whose parts are joined along the first axis."""
    return (sum(shape[0] for _, shape in parts), *parts[0][1][1:])


def fill(parts: Sequence[tuple[str, Shape]], read: Read, box: Box) -> np.ndarray:
    """A part of a parameter, float32."""
    (first, last), columns = box[0], tuple(slice(*ends) for ends in box[1:])
    values = np.empty([stop - start for start, stop in box], np.float32)
    begin = 0  # Of the part, in the parameter.
    for name, shape in parts:
        step = max(_CHUNK // max(math.prod(shape[1:]), 1), 1)
        for start in range(max(first, begin), min(last, begin + shape[0]), step):
            stop = min(start + step, last, begin + shape[0])
            values[start - first : stop - first] = read(name, slice(start - begin, stop - begin))[:, *columns]
        begin += shape[0]
    return values


def place(parts: Sequence[tuple[str, Shape]], read: Read, sharding: jax.sharding.Sharding) -> jax.Array:
    """A parameter on the devices of `sharding`; this process reads what its own devices hold."""
    shape = joined(parts)
    devices: dict[Box, list[Any]] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        box = tuple(s.indices(n)[:2] for s, n in zip(index or (), shape, strict=True))
        devices.setdefault(box, []).append(device)
    shards: list[jax.Array] = []
    for box, holders in devices.items():
        values = fill(parts, read, box)
        shards += [jax.device_put(values, device) for device in holders]
        jax.block_until_ready(shards)  # Only then the host's copy is let go.
    return jax.make_array_from_single_device_arrays(shape, sharding, shards)
