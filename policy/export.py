"""Writes a policy as a Hugging Face directory that other tools load."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from typing import Any, Literal

import numpy as np

from policy.layout import HUGGING_FACE, Layout, layout
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
    places = _places(params, layout(model.config, HUGGING_FACE))

    def read(name: str) -> np.ndarray:
        module, parameter, rows, _ = places[name]
        return np.asarray(params[module][parameter][rows])  # JAX would keep the copy of an array that is not sliced.

    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
    try:
        write(temporary, {name: shape for name, (*_, shape) in places.items()}, read, _STORED[dtype], shard_size)
        for name, content in _described(model.config, tokenizer, dtype).items():
            (temporary / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (temporary / "tokenizer.json").write_text(tokenizer.definition, encoding="utf-8")
        temporary.chmod((temporary / "config.json").stat().st_mode | 0o111)  # Made private; others may read the rest.
        os.replace(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # Gone by now, unless something failed.
    return directory


def _places(params: Params, tree: Layout) -> dict[str, tuple[str, str, slice, tuple[int, ...]]]:
    """Hugging Face name -> where that tensor is: module, parameter, rows of it; and its shape."""
    places: dict[str, tuple[str, str, slice, tuple[int, ...]]] = {}
    for (module, parameter), parts in tree.items():
        found, expected = np.shape(params[module][parameter]), joined(parts)
        if found != expected:
            raise ValueError(f"Parameter {module}/{parameter} is {list(found)}, expected {list(expected)}.")
        begin = 0
        for name, shape in parts:
            places[name] = (module, parameter, slice(begin, begin + shape[0]), shape)
            begin += shape[0]
    return places


def _described(config: TransformerConfig, tokenizer: PretrainedTokenizer, dtype: str) -> dict[str, dict[str, Any]]:
    """The JSON files of a directory, by name."""
    bos = tokenizer.special.get("bos_token")
    tokens = {
        "bos_token_id": bos and tokenizer.token(bos),
        "eos_token_id": list(tokenizer.ends),
        "pad_token_id": tokenizer.pad,
    }
    described = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_width,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied_embedding,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
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
