"""Reads Hugging Face directories: config.json, safetensors, tokenizer.json and their companions."""

from __future__ import annotations

import functools
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from policy.layout import HUGGING_FACE, Layout, fit
from policy.safetensors_files import Tensors, read_json
from policy.safetensors_files import open_directory as open_weights
from policy.streaming import Shardings, stream
from policy.tokenizer import PretrainedTokenizer
from policy.types import Model, Params, TransformerConfig

ARCHITECTURES = ("LlamaForCausalLM",)
# Keys of config.json that do not change what the model computes, or are read elsewhere.
_HARMLESS = {
    "architectures", "model_type", "torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range",
    "bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp", "is_llama_config", "output_attentions",
    "output_hidden_states", "return_dict", "id2label", "label2id", "problem_type", "chunk_size_feed_forward",
    "unsloth_version",
}  # fmt: skip
# Options, and the values of them that are what we compute.
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "partial_rotary_factor": (1.0,),
    "rope_scaling": ({"type": "default"}, {"rope_type": "default"}),
}


def open_model(path: pathlib.Path, name: str | None = None) -> Model:
    """A Hugging Face directory as a model, called `name` (default: as the directory). Reads headers, not weights.

    Raises:
      ValueError: something is missing, damaged or not supported.
    """
    described = read_json(path / "config.json")
    config = read_config(path / "config.json", described)
    _layout(open_weights(path), config)
    return Model(name or path.name, config, _tokenizer(path, described), functools.partial(load, path, config))


def load(path: pathlib.Path, config: TransformerConfig, seed: int, shardings: Shardings | None = None) -> Params:
    """The weights of a Hugging Face directory as float32. `seed` is not used: nothing is random."""
    del seed
    weights = open_weights(path)
    return stream(_layout(weights, config), weights.read, shardings)


def _layout(weights: Tensors, config: TransformerConfig) -> Layout:
    """Where each parameter is; ValueError where the tensors are not those that `config` needs."""
    found = {name: tensor.shape for name, tensor in weights.tensors.items()}
    tied = {"lm_head.weight"} if config.tied_embedding else set()  # Some files store a tied matrix twice.
    buffers = {name for name in found if name.endswith("rotary_emb.inv_freq")}  # Follows from the config.
    return fit(weights.path, config, HUGGING_FACE, found, tied | buffers)


def read_config(path: pathlib.Path, described: Mapping[str, Any]) -> TransformerConfig:
    """The shape that a config.json describes.

    Raises:
      ValueError: another architecture, a wrong value, or an option that is not implemented.
    """
    names = described.get("architectures")
    if not isinstance(names, list) or not set(names) & set(ARCHITECTURES):
        raise ValueError(f"{path}: the architecture {names!r} is not supported; supported: {', '.join(ARCHITECTURES)}.")
    rope = described.get("rope_parameters") or {}  # transformers 5 gathers the rotary options here.
    if not isinstance(rope, dict):
        raise ValueError(f"{path}: rope_parameters is {rope!r}, expected an object.")
    flat = {key: value for key, value in described.items() if key != "rope_parameters"}
    flat |= {key: value for key, value in rope.items() if key not in ("rope_type", "type")}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ValueError(f"{path}: rope_parameters = {rope!r} is not implemented; only the rope_type 'default' is.")

    def number(key: str, kind: type, default: Any = None) -> Any:
        value = flat.pop(key, None)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            raise ValueError(f"{path}: {key} is {value!r}, expected {'an integer' if kind is int else 'a number'}.")
        return value

    width, heads = number("hidden_size", int), number("num_attention_heads", int)
    fields = {
        "vocab_size": number("vocab_size", int),
        "width": width,
        "num_layers": number("num_hidden_layers", int),
        "num_heads": heads,
        "num_kv_heads": number("num_key_value_heads", int, heads),
        "head_dim": number("head_dim", int, width // max(heads, 1)),
        "mlp_width": number("intermediate_size", int),
        "context": number("max_position_embeddings", int, 2048),
        "rope_theta": float(number("rope_theta", float, 10_000.0)),
        "norm_epsilon": float(number("rms_norm_eps", float, 1e-6)),
        "tied_embedding": flat.pop("tie_word_embeddings", False) is True,
    }
    for key, value in flat.items():
        # What is off (None, False, 0, empty) asks for nothing. Whatever else is unknown may change the model.
        if not value or key in _HARMLESS or key.startswith(("_", "transformers.")) or value in _OPTIONS.get(key, ()):
            continue
        raise ValueError(
            f"{path}: the option {key} = {json.dumps(value)[:100]} is not implemented. "
            "If it does not change what the model computes, delete it from the file."
        )
    try:
        return TransformerConfig(**fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _tokenizer(path: pathlib.Path, described: Mapping[str, Any]) -> PretrainedTokenizer:
    if not (path / "tokenizer.json").is_file():
        raise ValueError(f"{path} has no tokenizer.json, the one form of tokenizer that is supported.")
    config, generation = (
        read_json(path / name) if (path / name).is_file() else {}
        for name in ("tokenizer_config.json", "generation_config.json")
    )
    special = {key: _text(value) for key, value in config.items() if re.fullmatch(r"[a-z]+_token", key) and value}
    template = config.get("chat_template")
    if isinstance(template, list):  # Several, by name.
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    if (path / "chat_template.jinja").is_file():
        template = (path / "chat_template.jinja").read_text(encoding="utf-8")
    definition = (path / "tokenizer.json").read_text(encoding="utf-8")
    ends = generation.get("eos_token_id", described.get("eos_token_id"))
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    try:
        return PretrainedTokenizer(definition, ends=ends, template=template, special=special)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _text(token: Any) -> str:
    """A special token of tokenizer_config.json: its text, or an object that holds it."""
    return token["content"] if isinstance(token, dict) else token
