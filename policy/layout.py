"""Which tensors a model file must hold, and where each goes in the parameter tree."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from policy.types import TransformerConfig

Shape = tuple[int, ...]
Layout = Mapping[tuple[str, str], tuple[tuple[str, Shape], ...]]  # (module, parameter) -> its parts' names and shapes.

# The names of the parts in a file; {i} is the layer. Parts of one parameter are joined along the first axis.
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


def layout(config: TransformerConfig, names: Mapping[str, str]) -> Layout:
    """The parameter tree of `config`, each parameter with the tensors that it is read from."""
    V, D, F = config.vocab_size, config.width, config.mlp_width
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    tree: dict[tuple[str, str], tuple[tuple[str, Shape], ...]] = {
        ("embedding", "w"): ((names["embedding"], (V, D)),),
    }
    for i in range(config.num_layers):
        parts: dict[tuple[str, str], dict[str, Shape]] = {
            ("attention_norm", "scale"): {"attention_norm": (D,)},
            ("qkv", "w"): {"q": (queries, D), "k": (keys, D), "v": (keys, D)},
            ("out", "w"): {"out": (D, queries)},
            ("mlp_norm", "scale"): {"mlp_norm": (D,)},
            ("gate", "w"): {"gate": (F, D)},
            ("up", "w"): {"up": (F, D)},
            ("down", "w"): {"down": (D, F)},
        }
        for (module, parameter), sources in parts.items():
            named = tuple((names[part].format(i=i), shape) for part, shape in sources.items())
            tree[f"layer_{i}/{module}", parameter] = named
    tree["final_norm", "scale"] = ((names["final_norm"], (D,)),)
    if not config.tied_embedding:
        tree["head", "w"] = ((names["head"], (V, D)),)
    return tree


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
    if config.num_layers > len(found):  # A damaged config must not cost memory.
        raise ValueError(f"{path}: the config has {config.num_layers} layers, the weights are {len(found)} tensors.")
    tree = layout(config, names)
    needed = {name: shape for parts in tree.values() for name, shape in parts}
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
        text = "; ".join(f"{_some(names)} {problem}" for problem, names in problems.items() if names)
        raise ValueError(
            f"{path}: the tensors do not fit the model that its config describes: {text}. "
            "Either the file is damaged, or the model uses something that is not supported."
        )
    return tree


def assemble(tree: Layout, read: Callable[[str], np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Reads every parameter: float32 arrays, weights [out, in]."""
    params: dict[str, dict[str, np.ndarray]] = {}
    for (module, parameter), parts in tree.items():
        arrays = [read(name) for name, _ in parts]
        params.setdefault(module, {})[parameter] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return params


def random(config: TransformerConfig, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Random float32 parameters, a pure function of `seed`.

    Normal with standard deviation 0.02; the two projections of a layer that add to the residual stream are
    smaller by sqrt(2 L), so that the stream's variance does not grow with depth (Radford et al., 2019, GPT-2,
    section 2.3). Norms start at one.
    """
    params: dict[str, dict[str, np.ndarray]] = {}
    for number, ((module, parameter), parts) in enumerate(layout(config, HUGGING_FACE).items()):
        shape = (sum(shape[0] for _, shape in parts), *parts[0][1][1:])
        if parameter == "scale":
            values = np.ones(shape, np.float32)
        else:
            deviation = 0.02 / math.sqrt(2 * config.num_layers) if module.endswith(("/out", "/down")) else 0.02
            generator = np.random.Generator(np.random.Philox(key=[seed, number]))
            values = generator.standard_normal(shape, np.float32) * np.float32(deviation)
        params.setdefault(module, {})[parameter] = values
    return params


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
