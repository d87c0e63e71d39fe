"""Writes a policy as a Hugging Face directory that other tools load."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from typing import Any, Literal

import numpy as np

from policy.families import family_of, write_config
from policy.layout import HUGGING_FACE, Layout, Stored, layout, stored
from policy.safetensors_files import write
from policy.streaming import joined
from policy.tokenizer import PretrainedTokenizer, as_pretrained
from policy.types import Model, Params, TransformerConfig

_STORED = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def export(
    params: Params,
    model: Model,
    directory: str | os.PathLike[str],
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
    shard_size: int = 5 * 10**9,
) -> pathlib.Path:
    """Writes a Hugging Face directory that `transformers` loads, and returns its path.

    Args:
      params: the parameters, float32, on the host or on devices. One tensor at a time is copied.
      model: what they are the parameters of: its config and tokenizer are written too.
      directory: must not exist, or be empty. It appears complete or not at all.
      dtype: of the stored weights; bfloat16 and float16 round, float32 is exact.
      shard_size: bytes of weights from which on they are written as several files with an index.

    Raises:
      ValueError: the parameters do not fit the config or the dtype, or the tokenizer has no Hugging Face form.
      OSError: the directory is in use or cannot be written.
    """
    directory = pathlib.Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} already exists and is not an empty directory: name another one.")
    if dtype not in _STORED:
        raise ValueError(f"export writes {', '.join(_STORED)}; got {dtype!r}.")
    if shard_size < 1:
        raise ValueError(f"A file of weights must have room for one byte at least, got shard_size {shard_size}.")
    tokenizer = as_pretrained(model.tokenizer)
    described = _described(model.config, tokenizer, dtype)
    sources = _sources(params, layout(model.config, HUGGING_FACE | dict(family_of(model.config).names)))

    def read(name: str) -> np.ndarray:
        parts: list[np.ndarray] = []
        for module, parameter, rows, place in sources[name]:
            values = np.asarray(params[module][parameter][rows])  # JAX would keep the copy of one that is not sliced.
            values = values[0] if values.ndim == 3 else values
            parts.append(values.T if place.transposed else values)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
    try:
        write(temporary, {name: parts[0][3].shape for name, parts in sources.items()}, read, _STORED[dtype], shard_size)
        for name, content in described.items():
            (temporary / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (temporary / "tokenizer.json").write_text(tokenizer.definition, encoding="utf-8")
        temporary.chmod((temporary / "config.json").stat().st_mode | 0o111)  # Made private; others may read the rest.
        os.replace(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # Gone by now, unless something failed.
    return directory


def _sources(params: Params, tree: Layout) -> dict[str, list[tuple[str, str, slice, Stored]]]:
    """Hugging Face name -> its parts, in order: module, parameter, rows of it, and where in the tensor they go."""
    sources: dict[str, list[tuple[str, str, slice, Stored]]] = {}
    for (module, parameter), parts in tree.items():
        found, expected = np.shape(params[module][parameter]), joined(parts)
        if found != expected:
            raise ValueError(f"Parameter {module}/{parameter} is {list(found)}, expected {list(expected)}.")
        begin = 0
        for part, shape in parts:
            place = stored(part, shape)
            sources.setdefault(place.tensor, []).append((module, parameter, slice(begin, begin + shape[0]), place))
            begin += shape[0]
    return sources


def _described(config: TransformerConfig, tokenizer: PretrainedTokenizer, dtype: str) -> dict[str, dict[str, Any]]:
    """The JSON files of a directory, by name."""
    bos = tokenizer.special.get("bos_token")
    tokens = {
        "bos_token_id": bos and tokenizer.token(bos),
        "eos_token_id": list(tokenizer.ends),
        "pad_token_id": tokenizer.pad,
    }
    described = {
        **write_config(config),
        "torch_dtype": dtype,
        **tokens,
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.context,
        "clean_up_tokenization_spaces": False,
        **tokenizer.special,
    }
    if tokenizer.template is not None:
        tokenizer_config["chat_template"] = tokenizer.template
    return {
        "config.json": described,
        "generation_config.json": tokens,
        "tokenizer_config.json": tokenizer_config,
    }
