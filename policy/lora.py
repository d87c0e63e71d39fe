"""LoRA adapters in PEFT's layout: read, written, merged into a model's weights.

    W' = W + s B A,   s = alpha / r  (Hu et al., 2021, arXiv:2106.09685)
                   or s = alpha / sqrt(r)  (rsLoRA: Kalajdzievski, 2023, arXiv:2312.03732)

Letters: r rank.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from policy.families import family_of
from policy.layout import HUGGING_FACE, Layout, Stored, layout, reader, stored
from policy.safetensors_files import Tensors, open_file, read_json, write_file
from policy.streaming import fill, joined, place
from policy.types import Params, TransformerConfig
from policy.wording import some

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."  # PEFT wraps the model twice.
_SUFFIXES = {  # The end of a tensor's name -> which factor it is, and whether it is an embedding's.
    ".lora_A.weight": ("a", False), ".lora_B.weight": ("b", False),
    ".lora_embedding_A": ("a", True), ".lora_embedding_B": ("b", True),
}  # fmt: skip
# Keys of adapter_config.json that are read here, or say how the factors were found and not what they do.
_KNOWN = {
    "peft_type", "base_model_name_or_path", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora",
    "fan_in_fan_out", "auto_mapping", "revision", "inference_mode", "task_type", "target_modules", "exclude_modules",
    "layers_to_transform", "layers_pattern", "lora_dropout", "peft_version", "qalora_group_size", "runtime_config",
    "megatron_core",
}  # fmt: skip
# Of these the other values change the base's weights, or train more than the factors.
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "bias": ("none",), "init_lora_weights": (True, "gaussian", "orthogonal", "eva"), "eva_config": ()
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Factors:
    """What is added to one matrix [out, in]: s B A. Of an embedding's table [V, D], B A is the transpose."""

    a: np.ndarray  # float32 [r, in]
    b: np.ndarray  # float32 [out, r]
    alpha: float
    embedding: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA adapter.

    Attributes:
      base: the name of the model that it was trained on, for people.
      factors: by the Hugging Face name of the weight that they are added to.
      rank_stabilized: s = alpha / sqrt(r), not alpha / r.
      transposed: the base stores some weights [in, out], as GPT-2 does; PEFT wants to be told.
    """

    base: str
    factors: Mapping[str, Factors]
    rank_stabilized: bool = False
    transposed: bool = False

    def delta(self, name: str, rows: slice = slice(None), transposed: bool = False) -> np.ndarray:
        """What is added to rows of the weight `name`, float32, as it is stored: an embedding [V, D], others [out, in],
        or [in, out] where `transposed`."""
        f = self.factors[name]
        rank = len(f.a)
        scale = np.float32(f.alpha / (math.sqrt(rank) if self.rank_stabilized else rank))
        return scale * (f.a.T[rows] @ f.b.T if f.embedding or transposed else f.b[rows] @ f.a)


def read_adapter(path: str | os.PathLike[str]) -> Adapter:
    """An adapter from a directory in PEFT's layout: adapter_config.json and adapter_model.safetensors.

    Raises:
      FileNotFoundError: there is no such directory.
      ValueError: something is missing, damaged, or not implemented.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"There is no directory {path}: an adapter is one, with {CONFIG} and {WEIGHTS}.")
    if not (path / CONFIG).is_file() or not (path / WEIGHTS).is_file():
        raise ValueError(f"{path} is no LoRA adapter: it needs {CONFIG} and {WEIGHTS} (adapter_model.bin is not read).")
    described = read_json(path / CONFIG)
    _check_options(path / CONFIG, described)
    pairs = _pairs(open_file(path / WEIGHTS))
    factors: dict[str, Factors] = {}
    for (module, embedding), (a, b) in pairs.items():
        rank = _pattern(path, described, "rank_pattern", module, described.get("r"))
        alpha = _pattern(path, described, "alpha_pattern", module, described.get("lora_alpha"))
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or not a.shape[0]:
            raise ValueError(f"{path / WEIGHTS}: the factors of {module} have the shapes {a.shape} and {b.shape}.")
        if rank != len(a):
            raise ValueError(f"{path}: {CONFIG} gives {module} the rank {rank!r}, {WEIGHTS} has {len(a)}.")
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
            raise ValueError(f"{path / CONFIG}: lora_alpha of {module} is {alpha!r}, expected a number.")
        if f"{module}.weight" in factors:
            raise ValueError(f"{path / WEIGHTS}: {module} has factors of a matrix and of an embedding.")
        factors[f"{module}.weight"] = Factors(a, b, float(alpha), embedding)
    if not factors:
        raise ValueError(f"{path / WEIGHTS} holds no factors.")
    return Adapter(
        str(described.get("base_model_name_or_path") or ""),
        factors,
        described.get("use_rslora") is True,
        described.get("fan_in_fan_out") is True,
    )


def _check_options(path: pathlib.Path, described: Mapping[str, Any]) -> None:
    if described.get("peft_type") != "LORA":
        raise ValueError(f"{path}: the peft_type {described.get('peft_type')!r} is not supported; supported: 'LORA'.")
    for key, value in described.items():
        if value and key not in _KNOWN and value not in _OPTIONS.get(key, ()):
            raise ValueError(f"{path}: the option {key} = {json.dumps(value)[:100]} is not implemented.")


def _pairs(weights: Tensors) -> dict[tuple[str, bool], tuple[np.ndarray, np.ndarray]]:
    """(module, whether it is an embedding) -> its two factors."""
    found: dict[tuple[str, bool], dict[str, str]] = {}
    strange = []
    for name in weights.tensors:
        suffix = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
        if suffix is None or not name.startswith(_PREFIX):
            strange.append(name)
            continue
        factor, embedding = _SUFFIXES[suffix]
        module = name.removeprefix(_PREFIX).removesuffix(suffix)
        found.setdefault((module, embedding), {})[factor] = name
    single = [name for names in found.values() if len(names) == 1 for name in names.values()]
    if any(name.endswith(".base_layer.weight") for name in strange):
        raise ValueError(
            f"{weights.path} holds copies of the base's matrices: {some(strange)}. Save it without them: "
            "save_pretrained(..., save_embedding_layers=False)."
        )
    if strange or single:
        raise ValueError(
            f"{weights.path}: tensors that are no LoRA factors: {some(strange)}; factors without their other: "
            f"{some(single)}."
        )
    return {key: (weights.read(names["a"]), weights.read(names["b"])) for key, names in found.items()}


def _pattern(path: pathlib.Path, described: Mapping[str, Any], key: str, module: str, default: Any) -> Any:
    """The value of the first pattern that names `module`: the whole path ("^…"), or the end of it."""
    patterns = described.get(key) or {}
    if not isinstance(patterns, dict):
        raise ValueError(f"{path / CONFIG}: {key} is no object.")
    for pattern, value in patterns.items():
        if not re.fullmatch(r"\^?[\w.\\]+\$?", pattern):  # PEFT takes any regular expression; a file's are not run.
            raise ValueError(f"{path / CONFIG}: the pattern {pattern[:100]!r} in {key} is no name of a module.")
        name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if module == name or (not pattern.startswith("^") and module.endswith("." + name)):
            return value
    return default


def write_adapter(adapter: Adapter, directory: str | os.PathLike[str]) -> pathlib.Path:
    """Writes an adapter that PEFT loads, in float32, and returns its path.

    Raises:
      FileExistsError: the directory is in use.
      OSError: it cannot be written.
    """
    directory = pathlib.Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} already exists and is not an empty directory: name another one.")
    tensors: dict[str, np.ndarray] = {}
    modules = {name.removesuffix(".weight"): factors for name, factors in adapter.factors.items()}
    for module, f in modules.items():
        for suffix, (factor, embedding) in _SUFFIXES.items():
            if embedding == f.embedding:
                tensors[_PREFIX + module + suffix] = f.a if factor == "a" else f.b
    ranks, alphas = ({module: value(f) for module, f in modules.items()} for value in (_rank, _alpha))
    rank, alpha = (max(set(found.values()), key=list(found.values()).count) for found in (ranks, alphas))
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base or None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {f"^{module}": r for module, r in ranks.items() if r != rank},
        "alpha_pattern": {f"^{module}": a for module, a in alphas.items() if a != alpha},
        "use_rslora": adapter.rank_stabilized,
        "target_modules": sorted(modules),
        "fan_in_fan_out": adapter.transposed,
        "bias": "none",
        "lora_dropout": 0.0,
    }
    directory.mkdir(parents=True, exist_ok=True)
    # The config last: without it, this is no adapter.
    write_file(directory / WEIGHTS, {name: x.shape for name, x in tensors.items()}, tensors.__getitem__, "F32")
    (directory / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return directory


def _rank(factors: Factors) -> int:
    return len(factors.a)


def _alpha(factors: Factors) -> float:
    return int(factors.alpha) if factors.alpha.is_integer() else factors.alpha


def check_fit(adapter: Adapter, config: TransformerConfig) -> None:
    """Makes sure that an adapter is for models of this shape.

    Raises:
      ValueError: it changes weights that the model does not have, or of another shape.
    """
    weights = _weights(_layout(config))
    lacking = sorted(adapter.factors.keys() - weights.keys())
    other = []
    for name in sorted(adapter.factors.keys() & weights.keys()):
        place, factors = weights[name], adapter.factors[name]
        shape = len(factors.b), factors.a.shape[1]
        if (shape[::-1] if factors.embedding or place.transposed else shape) != place.shape:
            other.append(f"{name} is {list(place.shape)}, the adapter's factors make {list(shape)}")
    if lacking or other:
        raise ValueError(
            f"The adapter, made for {adapter.base or 'an unknown model'}, is for another model. Weights that this "
            f"model does not have: {some(lacking)}; of another shape: {some(other)}."
        )
    if config.tied_embedding and (tables := [name for name, factors in adapter.factors.items() if factors.embedding]):
        raise ValueError(
            f"The adapter changes {some(tables)}, which is this model's head, too. It was trained with the head as it "
            "was, and merged it would be another policy: train it without the embedding."
        )


def merge(params: Params, adapter: Adapter, config: TransformerConfig) -> Params:
    """The weights with the adapter's added; arrays on devices stay where they are.

    Raises:
      ValueError: the adapter is for another model.
    """
    check_fit(adapter, config)
    tree = _layout(config)
    weights = _weights(tree)

    def read_tensor(name: str, rows: slice) -> np.ndarray:
        if name in adapter.factors:
            return adapter.delta(name, rows, weights[name].transposed)
        return np.zeros((rows.stop - rows.start, *weights[name].shape[1:]), np.float32)

    read = reader(tree, read_tensor)
    merged = {module: dict(leaves) for module, leaves in params.items()}
    for (module, parameter), parts in tree.items():
        if any(stored(part, shape).tensor in adapter.factors for part, shape in parts):
            old = params[module][parameter]
            if isinstance(old, jax.Array):
                merged[module][parameter] = old + place(parts, read, old.sharding)
            else:
                merged[module][parameter] = old + fill(parts, read, tuple((0, n) for n in joined(parts)))
    return merged


def _layout(config: TransformerConfig) -> Layout:
    return layout(config, HUGGING_FACE | dict(family_of(config).names))


def _weights(tree: Layout) -> dict[str, Stored]:
    """The tensors that a tree is read from, by name."""
    places = [stored(part, shape) for parts in tree.values() for part, shape in parts]
    return {place.tensor: place for place in places}
