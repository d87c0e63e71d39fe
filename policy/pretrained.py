"""A model to start from: a file's, or a random one."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Callable

import jax

from policy import from_gguf, huggingface, layout
from policy.download import from_hub
from policy.lora import check_fit, merge, read_adapter
from policy.streaming import Shardings
from policy.tokenizer import Tokenizer
from policy.types import Model, Params, TransformerConfig


def pretrained(path: str | os.PathLike[str], *, adapter: str | os.PathLike[str] | None = None) -> Model:
    """A model from a GGUF file, a Hugging Face directory, or the Hugging Face hub.

    Reads config, tokenizer and headers, and checks that the tensors are those of the config. The weights are
    read by `Model.load(seed)`, as float32, in the process that needs them.

    Args:
      path: a `.gguf` file, or a directory with config.json, model.safetensors (or its shards) and tokenizer.json,
        or, where there is no such file, the name of a model of the hub ("organization/model", and "@revision").
      adapter: a directory with a LoRA adapter in PEFT's layout, or its name on the hub; it is merged into the weights.

    Raises:
      FileNotFoundError: there is nothing at a path, and the hub has nothing of that name.
      OSError: the hub cannot be reached.
      ValueError: it is damaged, or the model uses what is not supported.
    """
    model = _open(path)
    if adapter is None:
        return model
    directory = pathlib.Path(adapter).expanduser().absolute()
    if not directory.exists() and (named := _hub_name(adapter)):
        directory = from_hub(*named)
    check_fit(read_adapter(directory), model.config)
    return dataclasses.replace(
        model,
        name=f"{model.name} + {pathlib.Path(adapter).name}",
        load=functools.partial(_merged, model.load, model.config, directory),
    )


def _merged(
    load: Callable[..., Params],
    config: TransformerConfig,
    adapter: pathlib.Path,
    seed: int,
    shardings: Shardings | None = None,
) -> Params:
    return merge(load(seed, shardings), read_adapter(adapter), config)


def _open(path: str | os.PathLike[str]) -> Model:
    found = pathlib.Path(path).expanduser().absolute()  # Not resolved: the hub's cache links to nameless files.
    if found.is_dir():
        return huggingface.open_model(found)
    if found.is_file():
        if found.suffix != ".gguf":
            raise ValueError(
                f"{path} is neither a .gguf file nor a Hugging Face directory. (A directory is named whole.)"
            )
        return from_gguf.open_file(found)
    if named := _hub_name(path):
        return huggingface.open_model(from_hub(*named), name=os.fspath(path))
    raise FileNotFoundError(f"There is no file or directory {path}.")


def _hub_name(path: str | os.PathLike[str]) -> tuple[str, str | None] | None:
    """The name and the revision, if `path` can be read as those of something on the hub."""
    text = os.fspath(path)
    named = re.fullmatch(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", text)
    return (named[1], named[2]) if named and not text.endswith((".gguf", ".safetensors")) else None


def from_scratch(config: TransformerConfig, tokenizer: Tokenizer) -> Model:
    """A model with random weights, which are a pure function of the seed that `Model.load` is given."""
    return Model("from scratch", config, tokenizer, functools.partial(_random, config))


def _random(config: TransformerConfig, seed: int, shardings: Shardings | None = None) -> Params:
    params = layout.random(config, seed)
    return params if shardings is None else jax.device_put(params, shardings)
