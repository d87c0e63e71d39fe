"""Reads Hugging Face directories: config.json, safetensors, tokenizer.json and their companions."""

from __future__ import annotations

import functools
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from policy.families import names_in, read_config
from policy.layout import Layout, fit, reader
from policy.safetensors_files import Tensors, read_json
from policy.safetensors_files import open_directory as open_weights
from policy.streaming import Shardings, stream
from policy.tokenizer import PretrainedTokenizer
from policy.types import Model, Params, TransformerConfig

_BUFFERS = re.compile(r"(rotary_emb\.inv_freq|\.attn\.(bias|masked_bias))$")  # Follow from the config.


def open_model(path: pathlib.Path, name: str | None = None) -> Model:
    """A Hugging Face directory as a model, called `name` (default: as the directory). Reads headers, not weights.

    Raises:
      ValueError: something is missing, damaged or not supported.
    """
    described = read_json(path / "config.json")
    if "fingerprints" in described and "architectures" not in described:
        raise ValueError(
            f"{path} is a run, not a model: write its policy as a model's directory (`assay export {path} OUT_DIR`, "
            "--dtype float32 to lose nothing) and take that."
        )
    config = read_config(path / "config.json", described)
    _layout(open_weights(path), config)
    tokenizer = _tokenizer(path, described, config.vocab_size)
    return Model(name or path.name, config, tokenizer, functools.partial(load, path, config))


def load(path: pathlib.Path, config: TransformerConfig, seed: int, shardings: Shardings | None = None) -> Params:
    """The weights of a Hugging Face directory as float32. `seed` is not used: nothing is random."""
    del seed
    weights = open_weights(path)
    tree = _layout(weights, config)
    return stream(tree, reader(tree, weights.read), shardings)


def _layout(weights: Tensors, config: TransformerConfig) -> Layout:
    """Where each parameter is; ValueError where the tensors are not those that `config` needs."""
    found = {name: tensor.shape for name, tensor in weights.tensors.items()}
    names = names_in(config, found)
    # Some files store a tied matrix twice.
    ignored = {"lm_head.weight"} if config.tied_embedding else set()
    ignored |= {name for name in found if _BUFFERS.search(name)}
    tree = fit(weights.path, config, names, found, ignored)
    weights.require(sorted(found.keys() - ignored))
    return tree


def _tokenizer(path: pathlib.Path, described: Mapping[str, Any], vocab_size: int) -> PretrainedTokenizer:
    if not (path / "tokenizer.json").is_file():
        raise ValueError(f"{path} has no tokenizer.json, the one form of tokenizer that is supported.")
    config, generation = (
        read_json(path / name) if (path / name).is_file() else {}
        for name in ("tokenizer_config.json", "generation_config.json")
    )
    special: dict[str, Any] = {  # Each a text, or an object that holds it.
        key: value.get("content") if isinstance(value, dict) else value
        for key, value in config.items()
        if re.fullmatch(r"[a-z]+_token", key) and value
    }
    template = config.get("chat_template")
    if isinstance(template, list):  # Several, by name.
        named = [entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default"]
        template = named[-1].get("template") if named else None
    for key, value in (*special.items(), ("chat_template", template or "")):
        if not isinstance(value, str):
            raise ValueError(f"{path / 'tokenizer_config.json'}: {key} is {str(value)[:100]}, expected a text.")
    if (path / "chat_template.jinja").is_file():
        template = _read(path / "chat_template.jinja")
    definition = _read(path / "tokenizer.json")
    ends = generation.get("eos_token_id", described.get("eos_token_id"))
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    made = functools.partial(PretrainedTokenizer, ends=ends, template=template, special=special)
    try:
        tokenizer = made(definition)
        return tokenizer if tokenizer.vocab_size <= vocab_size else made(_shortened(tokenizer, vocab_size))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _shortened(tokenizer: PretrainedTokenizer, vocab_size: int) -> str:
    """The definition without the special tokens that the model has no row for, where nothing asks for them.

    Gemma 3's text models come with the tokenizer of those that see images: its <image_soft_token> is the first one
    beyond their vocabulary. Without it, its spelling is plain text.
    """
    definition = json.loads(tokenizer.definition)
    roles = [tokenizer.special.get(role) for role in ("bos_token", "eos_token", "pad_token")]
    added = definition.get("added_tokens") or ()
    written = json.dumps([tokenizer.template, definition.get("post_processor")], ensure_ascii=False)

    def kept(token: Mapping[str, Any]) -> bool:
        wanted = token["id"] in tokenizer.ends or token["content"] in roles or token["content"] in written
        return token["id"] < vocab_size or not token["special"] or wanted

    return json.dumps(definition | {"added_tokens": [*filter(kept, added)]}, ensure_ascii=False)


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as UTF-8: {error}.") from None
