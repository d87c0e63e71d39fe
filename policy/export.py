"""Writes a policy as a Hugging Face directory that other tools load."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from typing import Any, Literal

import ml_dtypes
import numpy as np
import safetensors
from safetensors.numpy import save_file

from policy.layout import HUGGING_FACE, Layout, layout
from policy.tokenizer import PretrainedTokenizer, as_pretrained
from policy.types import Model, Params, TransformerConfig


def export(
    params: Params,
    model: Model,
    directory: str | os.PathLike[str],
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> pathlib.Path:
    """Writes a Hugging Face directory that `transformers` loads, and returns its path.

    Args:
      params: the parameters, float32.
      model: what they are the parameters of: its config and tokenizer are written too.
      directory: must not exist, or be empty. It appears complete or not at all.
      dtype: of the stored weights; bfloat16 rounds, float32 is exact.

    Raises:
      ValueError: the parameters do not fit the config, or the tokenizer has no Hugging Face form.
      OSError: the directory is in use or cannot be written.
    """
    directory = pathlib.Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} already exists and is not an empty directory: name another one.")
    if dtype not in ("bfloat16", "float32"):
        raise ValueError(f'export writes "bfloat16" or "float32", got {dtype!r}.')
    tokenizer = as_pretrained(model.tokenizer)
    stored = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float32
    tensors = _tensors(params, layout(model.config, HUGGING_FACE), stored)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
    try:
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        for name, content in _described(model.config, tokenizer, dtype).items():
            (temporary / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (temporary / "tokenizer.json").write_text(tokenizer.definition, encoding="utf-8")
        for file in (temporary, temporary / "model.safetensors"):  # Made private; others may read the rest.
            file.chmod((temporary / "config.json").stat().st_mode | (0o111 if file.is_dir() else 0))
        os.replace(temporary, directory)
    except safetensors.SafetensorError as error:  # A full disk, for one.
        raise OSError(f"{directory}: the weights could not be written: {error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # Gone by now, unless something failed.
    return directory


def _tensors(params: Params, tree: Layout, dtype: Any) -> dict[str, np.ndarray]:
    """The parameters under their Hugging Face names, joined ones split again."""
    tensors: dict[str, np.ndarray] = {}
    for (module, parameter), parts in tree.items():
        values = np.asarray(params[module][parameter])
        shape = (sum(shape[0] for _, shape in parts), *parts[0][1][1:])
        if values.shape != shape:
            raise ValueError(f"Parameter {module}/{parameter} is {list(values.shape)}, expected {list(shape)}.")
        ends = np.cumsum([shape[0] for _, shape in parts])[:-1]
        for (name, _), part in zip(parts, np.split(values, ends), strict=True):
            tensors[name] = np.ascontiguousarray(part.astype(dtype))
    return tensors


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
