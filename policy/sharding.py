"""How parameters are spread over devices: one table, path pattern -> PartitionSpec, over a mesh of four axes.

    data    rows of a batch; parameters are copies.
    fsdp    rows of a batch too; a parameter is cut along it where it rests, and whole where it is used
            (Zhao et al., 2023, arXiv:2304.11277).
    tensor  features, heads and vocabulary; activations are cut too (Shoeybi et al., 2019, arXiv:1909.08053).
    expert  rows of a batch, and the experts of a mixture (Lepikhin et al., 2020, arXiv:2006.16668).

The model says nothing of devices. `shardings` places its tree; in a jitted function, `gathered` says that a parameter
is used whole along `fsdp`, and `by_rows` that a row is computed where it lies; XLA does the rest. A weight is
[out, in]; a stack of experts is [E, out, in].
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from policy.experts import Part
from policy.products import Matrix, masters
from policy.types import Params, TransformerConfig
from policy.wording import some

AXES = ("data", "fsdp", "tensor", "expert")
ROW_AXES = ("data", "fsdp", "expert")
BATCH = PartitionSpec(ROW_AXES)  # Of arrays [B, ..]: rows are spread over all three.

Shape = tuple[int, ...]
Table = Sequence[tuple[str, PartitionSpec]]  # Patterns of "module/parameter", matched whole.

_P = PartitionSpec
# The rules that xAI published with Grok-1 (github.com/xai-org/grok-1, model.py), for weights [out, in] and our axes:
# its "data" is `fsdp` here, its "model" is `tensor`.
GROK_1: Table = (
    (r"embedding/w", _P(None, ("fsdp", "tensor"))),
    (r"layer_\d+/qkv/w", _P("tensor", "fsdp")),
    (r"layer_\d+/out/w", _P("fsdp", "tensor")),
    (r"layer_\d+/router/w", _P(None, "fsdp")),
    (r"layer_\d+/experts/(gate|up)", _P(None, "tensor", "fsdp")),
    (r"layer_\d+/experts/down", _P(None, "fsdp", "tensor")),
    (r".*norm/scale", _P()),
)


def table(config: TransformerConfig) -> Table:
    """The rules for the parameters that a model of this shape has.

    A product's first matrix gives its output features to `tensor`, its second takes its input features from there, so
    that each pair needs one sum over the axis.
    """
    c = config
    rules = [
        (r"(embedding|head)/w", _P("tensor", "fsdp")),
        (r"layer_\d+/(qkv|gate|up)/w", _P("tensor", "fsdp")),
        (r"layer_\d+/(out|down)/w", _P("fsdp", "tensor")),
        (r".*norm/(scale|offset)", _P()),
    ]
    if c.learned_positions:
        rules.append((r"positions/w", _P(None, "fsdp")))
    if c.qkv_bias or c.mlp_bias:
        rules.append((r"layer_\d+/(qkv|gate|up)/b", _P("tensor")))
    if c.out_bias or c.mlp_bias:
        rules.append((r"layer_\d+/(out|down)/b", _P()))
    if c.num_experts:
        rules.append((r"layer_\d+/router/w", _P(None, "fsdp")))
        rules.append((r"layer_\d+/experts/(gate|up)", _P("expert", "tensor", "fsdp")))
        rules.append((r"layer_\d+/experts/down", _P("expert", "fsdp", "tensor")))
    return tuple(rules)


def make_mesh(
    *, data: int = 1, fsdp: int = 1, tensor: int = 1, expert: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh with the axes `AXES` over `devices` (default: all).

    Raises:
      ValueError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = (data, fsdp, tensor, expert)
    if min(sizes) < 1 or math.prod(sizes) != len(devices):
        text = " × ".join(f"{axis} {size}" for axis, size in zip(AXES, sizes, strict=True))
        raise ValueError(f"A mesh of {text} needs {math.prod(sizes)} devices; there are {len(devices)}.")
    # Auto: with Explicit axes, the default of jax.make_mesh, Haiku's own layers do not trace.
    auto = (jax.sharding.AxisType.Auto,) * len(AXES)
    return jax.make_mesh(sizes, AXES, axis_types=auto, devices=devices)


def partition(shapes: Mapping[str, Mapping[str, Any]], table: Table) -> dict[str, dict[str, PartitionSpec]]:
    """The PartitionSpec of every parameter of a tree.

    Args:
      shapes: module -> parameter -> shape, or anything that has a shape.
      table: exactly one of its patterns matches each parameter's path.

    Raises:
      ValueError: a parameter without a rule, or with two; a rule that matches nothing: one error that lists them all.
    """
    used: set[str] = set()
    without, several, short = [], [], []
    specs: dict[str, dict[str, PartitionSpec]] = {}
    for path, shape in _leaves(shapes):
        matching = [(pattern, spec) for pattern, spec in table if re.fullmatch(pattern, path)]
        used |= {pattern for pattern, _ in matching}
        if not matching:
            without.append(path)
        elif len(matching) > 1:
            several.append(f"{path} ({', '.join(pattern for pattern, _ in matching)})")
        else:
            ((_, spec),) = matching
            if len(spec) > len(shape):
                short.append(f"{path} of shape {list(shape)} ({tuple(spec)})")
            module, name = path.rsplit("/", 1)
            specs.setdefault(module, {})[name] = spec
    problems = {
        "parameters that match no rule": without,
        "parameters that match several": several,
        "parameters with fewer axes than their rule": short,
        "rules that match no parameter": [pattern for pattern, _ in table if pattern not in used],
    }
    if any(problems.values()):
        text = "; ".join(f"{problem}: {some(found)}" for problem, found in problems.items() if found)
        raise ValueError(f"The table of shardings does not fit the model. There are {text}.")
    return specs


def shardings(mesh: Mesh, shapes: Mapping[str, Mapping[str, Any]], table: Table) -> dict[str, dict[str, NamedSharding]]:
    """The sharding of every parameter of a tree: for `jax.device_put`, `in_shardings` and `out_shardings`.

    Raises:
      ValueError: the table does not fit the tree (see `partition`), or an axis of a parameter cannot be cut evenly.
    """
    specs = partition(shapes, table)
    _check_even(dict(mesh.shape), shapes, specs)
    return {
        module: {name: NamedSharding(mesh, spec) for name, spec in leaves.items()} for module, leaves in specs.items()
    }


def gathered(params: Params, mesh: Mesh, table: Table) -> dict[str, dict[str, Any]]:
    """The tree as products read it, in a jitted function: whole along `fsdp`, cut along the other axes as it rests.

    Without this, XLA may cut the activations along their features instead of gathering a layer's weights. The
    gradient of a gathered parameter is summed over `fsdp` and cut again.
    """

    def whole(spec: PartitionSpec, x: Any) -> Any:
        if isinstance(x, Matrix):
            return Matrix(whole(spec, x.master), whole(spec, x.w), whole(_swapped(spec, x.wt.ndim), x.wt))
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, _without_fsdp(spec)))

    return _map_specs(whole, params, table)


def by_rows(f: Callable[..., Any], mesh: Mesh, table: Table) -> Callable[..., Any]:
    """`f` of the rows that each place for rows has, on it; in a jitted function.

    Without this, XLA computes over columns of all rows what goes over columns in an order of its own (the tiles of
    attention, of experts, and of the head), on every device, and gathers all that it reads. Along `tensor` XLA cuts
    `f` by itself; along `expert` a stack of experts comes as the device's `Part`.

    Args:
      f: called as f(rows, *trees); returns a tree of arrays.
      mesh: its size along `ROW_AXES` divides the number of rows.
      table: of the trees.

    Returns:
      A function of rows, a tree of arrays [B, ..] or [], and of parameter trees (or None), with the results of all
      places along a new first axis.
    """

    def call(rows: Any, *trees: Any) -> Any:
        trees = tuple(tree and gathered(tree, mesh, table) for tree in trees)
        places = tuple(tree and _map_specs(_along_experts, tree, table) for tree in trees)

        def local(rows: Any, *trees: Any) -> Any:
            parts = (tree and _map_specs(wrapped, tree, table) for tree in trees)
            return jax.tree.map(lambda x: x[None], f(rows, *parts))

        return jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(jax.tree.map(lambda x: BATCH if np.ndim(x) else PartitionSpec(), rows), *places),
            out_specs=BATCH,
            axis_names=set(ROW_AXES),
            check_vma=False,  # `custom_vjp` could not return the same gradient for one row and for a sum over rows.
        )(rows, *trees)

    def wrapped(spec: PartitionSpec, x: Any) -> Any:
        return Part(x) if mesh.shape["expert"] > 1 and tuple(_along_experts(spec, x)) else x

    return call


def _map_specs(f: Callable[[PartitionSpec, Any], Any], tree: Any, table: Table) -> dict[str, dict[str, Any]]:
    """f(spec, leaf) for each parameter, an array or a `Matrix`."""
    specs = partition(masters(tree), table)
    return {module: {name: f(specs[module][name], x) for name, x in leaves.items()} for module, leaves in tree.items()}


def _along_experts(spec: PartitionSpec, x: Any) -> PartitionSpec:
    """Where its first axis is cut; it is all that `jax.shard_map` is told, for XLA sees to `tensor`."""
    return PartitionSpec("expert") if spec and _axes(spec[0]) == ("expert",) else PartitionSpec()


def bytes_per_device(sizes: Mapping[str, int], shapes: Mapping[str, Mapping[str, Any]], table: Table) -> int:
    """What one device holds of a float32 tree, on a mesh with `sizes` (axis -> number of devices; left out is 1)."""
    specs = partition(shapes, table)
    _check_even(sizes, shapes, specs)
    return sum(4 * math.prod(shape) // _parts(sizes, spec) for _, shape, spec in _with(shapes, specs))


def describe(sizes: Mapping[str, int], shapes: Mapping[str, Mapping[str, Any]], table: Table) -> list[tuple[str, str]]:
    """The table with what each rule places on a device in float32, as (pattern, description); the last is the sum."""
    specs = partition(shapes, table)
    _check_even(sizes, shapes, specs)
    lines, whole, total = [], 0, 0
    for pattern, spec in table:
        matching = [shape for path, shape in _leaves(shapes) if re.fullmatch(pattern, path)]
        numbers = sum(map(math.prod, matching))
        each = 4 * numbers // _parts(sizes, spec)
        whole, total = whole + numbers, total + each
        axes = ", ".join("·".join(_axes(entry)) or "–" for entry in spec) or "copied"
        lines.append((pattern, f"({axes}): {len(matching)} of {_size(4 * numbers)}, {_size(each)} a device"))
    mesh = " × ".join(f"{axis} {sizes[axis]}" for axis in AXES if sizes.get(axis, 1) > 1) or "one device"
    parameters = f"{whole:,} parameters, {_size(4 * whole)} in float32; {_size(total)} a device"
    # Masters, gradient and the two moments of Adam.
    return [*lines, (mesh, f"{parameters}, {_size(4 * total)} with gradient and Adam's moments")]


def parse_mesh(text: str) -> dict[str, int]:
    """Axis sizes as they are written on a command line: "fsdp=2,tensor=4".

    Raises:
      ValueError: an unknown axis, one that is named twice, or a size that is no positive number.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in AXES or axis in sizes or not re.fullmatch(r"[1-9]\d{0,5}", size):
            raise ValueError(f'A mesh is written as "fsdp=2,tensor=4" with the axes {", ".join(AXES)}; got {text!r}.')
        sizes[axis] = int(size)
    return sizes


def _leaves(tree: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Shape]]:
    return [
        (f"{module}/{name}", leaf if isinstance(leaf, tuple) else tuple(np.shape(leaf)))
        for module, leaves in tree.items()
        for name, leaf in leaves.items()
    ]


def _with(
    shapes: Mapping[str, Mapping[str, Any]], specs: Mapping[str, Mapping[str, PartitionSpec]]
) -> list[tuple[str, Shape, PartitionSpec]]:
    paths = [path.rsplit("/", 1) for path, _ in _leaves(shapes)]
    return [(path, shape, specs[m][n]) for (path, shape), (m, n) in zip(_leaves(shapes), paths, strict=True)]


def _check_even(sizes: Mapping[str, int], shapes: Any, specs: Any) -> None:
    unknown = {axis for _, _, spec in _with(shapes, specs) for entry in spec for axis in _axes(entry)} - set(AXES)
    if unknown:
        raise ValueError(f"The table of shardings names the axes {sorted(unknown)}; a mesh has {', '.join(AXES)}.")
    problems = [
        f"{path} of shape {list(shape)} along axis {i} by {'·'.join(_axes(entry))} = {_parts(sizes, [entry])}"
        for path, shape, spec in _with(shapes, specs)
        for i, entry in enumerate(spec)
        if shape[i] % _parts(sizes, [entry])
    ]
    if problems:
        raise ValueError(f"Parameters cannot be cut evenly: {some(problems)}. Choose other sizes for the mesh.")


def _axes(entry: Any) -> tuple[str, ...]:
    """The mesh axes of one entry of a PartitionSpec."""
    return () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)


def _parts(sizes: Mapping[str, int], spec: Any) -> int:
    return math.prod(sizes.get(axis, 1) for entry in spec for axis in _axes(entry))


def _swapped(spec: PartitionSpec, axes: int) -> PartitionSpec:
    """Of the transposed matrix."""
    entries = [*spec, *[None] * (axes - len(spec))]
    return PartitionSpec(*entries[:-2], entries[-1], entries[-2])


def _without_fsdp(spec: PartitionSpec) -> PartitionSpec:
    return PartitionSpec(*(tuple(axis for axis in _axes(entry) if axis != "fsdp") or None for entry in spec))


def _size(count: int) -> str:
    power = min(max(count.bit_length() - 1, 0) // 10, 3)
    return f"{count / 1024**power:.1f} {('B', 'KiB', 'MiB', 'GiB')[power]}" if power else f"{count} B"
