"""Which tensors a model file must hold, and where each goes in the parameter tree."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from policy.types import TransformerConfig
from policy.wording import some

Shape = tuple[int, ...]
Layout = Mapping[tuple[str, str], tuple[tuple[str, Shape], ...]]  # (module, parameter) -> its parts' names and shapes.
Read = Callable[[str, slice], np.ndarray]  # (name, rows) -> float32 rows of the first axis.

# The names of the parts in a file; {i} is the layer, {e} the expert. Parts of one parameter are joined along the first
# axis. A name that ends with TRANSPOSED is that of a tensor [in, out]; one that ends with "[1/2]" is the second of two
# equal blocks of rows of a tensor.
TRANSPOSED = "^T"
HUGGING_FACE = {
    "embedding": "model.embed_tokens.weight",
    "attention_norm": "model.layers.{i}.input_layernorm.weight",
    "q": "model.layers.{i}.self_attn.q_proj.weight",
    "k": "model.layers.{i}.self_attn.k_proj.weight",
    "v": "model.layers.{i}.self_attn.v_proj.weight",
    "out": "model.layers.{i}.self_attn.o_proj.weight",
    "mlp_norm": "model.layers.{i}.post_attention_layernorm.weight",
    "gate": "model.layers.{i}.mlp.gate_proj.weight",
    "up": "model.layers.{i}.mlp.up_proj.weight",
    "down": "model.layers.{i}.mlp.down_proj.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
}
GGUF = {
    "embedding": "token_embd.weight",
    "attention_norm": "blk.{i}.attn_norm.weight",
    "q": "blk.{i}.attn_q.weight",
    "k": "blk.{i}.attn_k.weight",
    "v": "blk.{i}.attn_v.weight",
    "out": "blk.{i}.attn_output.weight",
    "mlp_norm": "blk.{i}.ffn_norm.weight",
    "gate": "blk.{i}.ffn_gate.weight",
    "up": "blk.{i}.ffn_up.weight",
    "down": "blk.{i}.ffn_down.weight",
    "final_norm": "output_norm.weight",
    "head": "output.weight",
}


def layout(config: TransformerConfig, names: Mapping[str, str] | None = None) -> Layout:
    """The parameter tree of `config`, each parameter with the parts that it is read from; nameless without `names`.

    The part of a stack of experts is [1, out, in]; its tensor has no first axis.
    """
    c = config
    V, D, F, E = c.vocab_size, c.width, c.mlp_width, c.num_experts
    queries, keys = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    tree: dict[tuple[str, str], tuple[tuple[str, Shape], ...]] = {}

    def called(part: str, i: int | None, e: int | None = None) -> str:
        return part if names is None else names[part].format(i=i, e=e)

    def put(module: str, parameter: str, parts: Mapping[str, Shape], i: int | None = None) -> None:
        place = (module if i is None else f"layer_{i}/{module}", parameter)
        tree[place] = tuple((called(part, i), shape) for part, shape in parts.items())

    def norm(name: str, i: int | None = None) -> None:
        put(name, "scale", {name: (D,)}, i)
        if c.layer_norm:
            put(name, "offset", {name + "_offset": (D,)}, i)

    def linear(module: str, shape: tuple[int, int], i: int, bias: bool) -> None:
        put(module, "w", {module: shape}, i)
        if bias:
            put(module, "b", {module + "_bias": shape[:1]}, i)

    put("embedding", "w", {"embedding": (V, D)})
    if c.learned_positions:
        put("positions", "w", {"positions": (c.context, D)})
    for i in range(c.num_layers):
        norm("attention_norm", i)
        qkv = {"qkv": queries + 2 * keys} if names and "qkv" in names else {"q": queries, "k": keys, "v": keys}
        put("qkv", "w", {part: (rows, D) for part, rows in qkv.items()}, i)
        if c.qkv_bias:
            put("qkv", "b", {part + "_bias": (rows,) for part, rows in qkv.items()}, i)
        if c.qk_norm:
            put("query_norm", "scale", {"query_norm": (c.head_dim,)}, i)
            put("key_norm", "scale", {"key_norm": (c.head_dim,)}, i)
        linear("out", (D, queries), i, c.out_bias)
        if c.post_norms:
            norm("attention_post_norm", i)
        norm("mlp_norm", i)
        if c.has_experts(i):
            put("router", "w", {"router": (E, D)}, i)
            W = c.expert_width
            for part, shape in {"gate": (1, W, D), "up": (1, W, D), "down": (1, D, W)}.items():
                tree[f"layer_{i}/experts", part] = tuple((called("expert_" + part, i, e), shape) for e in range(E))
        else:
            if c.gated:
                linear("gate", (F, D), i, c.mlp_bias)
            linear("up", (F, D), i, c.mlp_bias)
            linear("down", (D, F), i, c.mlp_bias)
        if c.post_norms:
            norm("mlp_post_norm", i)
    norm("final_norm")
    if not c.tied_embedding:
        put("head", "w", {"head": (V, D)})
    return tree


class Stored(NamedTuple):
    """How a part of a parameter lies in a file."""

    tensor: str
    shape: Shape  # Of the whole tensor.
    first: int  # The row of the tensor (transposed, where it is) at which the part begins.
    transposed: bool


def stored(part: str, shape: Shape) -> Stored:
    """Where the part `part` of a parameter, an array of `shape`, lies."""
    shape = shape[-2:]  # The tensor of an expert is not stacked.
    if part.endswith(TRANSPOSED):
        return Stored(part.removesuffix(TRANSPOSED), shape[::-1], 0, True)
    if block := re.fullmatch(r"(.+)\[(\d)/(\d)\]", part):
        return Stored(block[1], (shape[0] * int(block[3]), *shape[1:]), shape[0] * int(block[2]), False)
    return Stored(part, shape, 0, False)


def reader(tree: Layout, read: Read) -> Read:
    """Reads rows of the parts of `tree`, given a function that reads rows of the tensors of a file."""
    places = {part: (stored(part, shape), shape) for parts in tree.values() for part, shape in parts}

    def read_part(part: str, rows: slice) -> np.ndarray:
        place, shape = places[part]
        if len(shape) == 3:
            return read(place.tensor, slice(0, shape[1]))[None][rows]
        if place.transposed:
            return read(place.tensor, slice(0, place.shape[0]))[:, rows].T
        return read(place.tensor, slice(place.first + rows.start, place.first + rows.stop))

    return read_part


def fit(
    path: pathlib.Path,
    config: TransformerConfig,
    names: Mapping[str, str],
    found: Mapping[str, Shape],
    ignored: Iterable[str] = (),
) -> Layout:
    """The layout of `config`, if the tensors of a file are those that it needs.

    Raises:
      ValueError: some are missing, not expected, or of another shape: one error that lists them all.
    """
    for what, count in (("layers", config.num_layers), ("experts", config.num_experts)):
        if count > len(found):  # A damaged config must not cost memory.
            raise ValueError(f"{path}: the config has {count} {what}, the weights are {len(found)} tensors.")
    tree = layout(config, names)
    places = [stored(part, shape) for parts in tree.values() for part, shape in parts]
    needed = {place.tensor: place.shape for place in places}
    problems = {
        "missing": sorted(needed.keys() - found.keys()),
        "not expected": sorted(found.keys() - needed.keys() - set(ignored)),
        "of another shape": [
            f"{name} is {list(found[name])}, expected {list(shape)}"
            for name, shape in sorted(needed.items())
            if name in found and tuple(found[name]) != shape
        ],
    }
    if any(problems.values()):
        text = "; ".join(f"{some(names)} {problem}" for problem, names in problems.items() if names)
        raise ValueError(
            f"{path}: the tensors do not fit the model that its config describes: {text}. "
            "Either the file is damaged, or the model uses something that is not supported."
        )
    return tree


def random(config: TransformerConfig, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Random float32 parameters, a pure function of `seed`.

    Normal with standard deviation 0.02; the two projections of a layer that add to the residual stream are
    smaller by sqrt(2 L), so that the stream's variance does not grow with depth (Radford et al., 2019, GPT-2,
    section 2.3). Norms start at one, biases at zero.
    """
    params: dict[str, dict[str, np.ndarray]] = {}
    for number, ((module, parameter), parts) in enumerate(layout(config).items()):
        shape = (sum(shape[0] for _, shape in parts), *parts[0][1][1:])
        if parameter in ("scale", "offset", "b"):
            values = np.full(shape, 1 - config.norm_offset if parameter == "scale" else 0, np.float32)
        else:
            last = module.endswith(("/out", "/down")) or (module.endswith("/experts") and parameter == "down")
            deviation = 0.02 / math.sqrt(2 * config.num_layers) if last else 0.02
            generator = np.random.Generator(np.random.Philox(key=[seed, number]))
            values = generator.standard_normal(shape, np.float32) * np.float32(deviation)
        params.setdefault(module, {})[parameter] = values
    return params
