"""A GGUF file as a model: its config, its tokenizer, its weights under our names."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from policy import layout, rotary
from policy.gguf import GGUF, open_gguf
from policy.streaming import Shardings, stream
from policy.tokenizer import PretrainedTokenizer, added_token, byte_level
from policy.types import Model, Params, TransformerConfig
from policy.wording import short

# Architectures, and what all models of one share.
_ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"architecture": "LlamaForCausalLM"},
    "qwen2": {"architecture": "Qwen2ForCausalLM", "qkv_bias": True},
    "qwen3": {"architecture": "Qwen3ForCausalLM", "qk_norm": True},
}
_NAMES = layout.GGUF | {
    "q_bias": "blk.{i}.attn_q.bias", "k_bias": "blk.{i}.attn_k.bias", "v_bias": "blk.{i}.attn_v.bias",
    "query_norm": "blk.{i}.attn_q_norm.weight", "key_norm": "blk.{i}.attn_k_norm.weight",
}  # fmt: skip
_ROPE_FACTORS = "rope_freqs.weight"
# Keys of an architecture that do not change what the model computes.
_HARMLESS = {"vocab_size", "rope.scaling.original_context_length", "rope.scaling.finetuned"}
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 1, 2, 3, 4, 5  # Kinds of tokens.
_DIGITS = {"F32": 24, "F16": 11, "BF16": 8}  # Binary ones, of a number that is not quantized.
_LEAST = 2.0**-25  # Half of the smallest number of float16.
# How words are split before byte pairs are merged, by `tokenizer.ggml.pre`.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PRE_TOKENIZERS = ("gpt-2", "smollm", "qwen2", "llama-bpe")


def open_file(path: pathlib.Path) -> Model:
    """A GGUF file as a model. Reads the header, and of the weights no more than says whether the head is tied.

    Raises:
      ValueError: it is damaged, or it uses what is not supported.
    """
    file = open_gguf(path)
    config = read_config(file)
    _layout(file, config)
    return Model(path.name, config, _tokenizer(file), functools.partial(load, path, config))


def load(path: pathlib.Path, config: TransformerConfig, seed: int, shardings: Shardings | None = None) -> Params:
    """The weights of a GGUF file as float32. `seed` is not used: nothing is random."""
    del seed
    file = open_gguf(path)
    tree = _layout(file, config)
    permuted = ("attn_q.weight", "attn_k.weight") if file.metadata["general.architecture"] == "llama" else ()

    def read(name: str, rows: slice) -> np.ndarray:
        if not name.endswith(permuted):
            return file.read(name, rows)
        c = config.head_dim
        first, last = rows.start // c, -(-rows.stop // c)  # Whole heads.
        values = _unpermuted(file.read(name, slice(first * c, last * c)), last - first)
        return values[rows.start - first * c : rows.stop - first * c]

    return stream(tree, read, shardings)


def read_config(file: GGUF) -> TransformerConfig:
    """The shape that the metadata describe.

    Raises:
      ValueError: another architecture, a missing or wrong value, or an option that is not implemented.
    """
    architecture = file.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in _ARCHITECTURES:
        near = difflib.get_close_matches(short(architecture), _ARCHITECTURES, 1, cutoff=0.4)
        raise ValueError(
            f"{file.path}: the architecture {short(architecture)} is not supported; supported: "
            f"{', '.join(_ARCHITECTURES)}{f' (the nearest is {near[0]})' if near else ''}. "
            "Its Hugging Face directory may be."
        )
    prefix = architecture + "."
    options = {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}

    def number(key: str, kind: type, default: Any = None) -> Any:
        value = options.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            raise ValueError(
                f"{file.path}: the metadata {prefix}{key} is {short(value)}, expected one {kind.__name__}."
            )
        # The file has float32: 9.999999747378752e-06 is its 1e-5.
        return float(str(np.float32(value))) if kind is float else value

    width, heads = number("embedding_length", int), number("attention.head_count", int)
    head_dim = number("attention.key_length", int, width // max(heads, 1))
    for key in ("attention.value_length", "rope.dimension_count"):
        if (found := number(key, int, head_dim)) != head_dim:
            raise ValueError(f"{file.path}: {prefix}{key} = {found} with heads of {head_dim} is not implemented.")
    tokens = file.metadata.get("tokenizer.ggml.tokens", ())
    fields = {
        "vocab_size": file.tensors["token_embd.weight"].shape[0]
        if "token_embd.weight" in file.tensors
        else len(tokens),
        "width": width,
        "num_layers": number("block_count", int),
        "num_heads": heads,
        "num_kv_heads": number("attention.head_count_kv", int, heads),
        "head_dim": head_dim,
        "mlp_width": number("feed_forward_length", int),
        "context": number("context_length", int),
        "rope_theta": number("rope.freq_base", float, 10_000.0),
        "norm_epsilon": number("attention.layer_norm_rms_epsilon", float),
        "tied_embedding": _tied(file),
    }
    for key, value in options.items():
        off = isinstance(value, (int, float, str)) and value in (0, "none")  # What is off asks for nothing.
        if not off and key not in _HARMLESS:
            raise ValueError(f"{file.path}: the option {prefix}{key} = {str(value)[:100]} is not implemented.")
    try:
        config = TransformerConfig(**_ARCHITECTURES[architecture], **fields)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None
    return dataclasses.replace(config, rope_scaling=_scaling(file, config))


def _scaling(file: GGUF, config: TransformerConfig) -> rotary.Llama3 | None:
    """How Llama 3.1 and later ones scale their frequencies. A file only says what each is divided by."""
    if _ROPE_FACTORS not in file.tensors:
        return None
    found = file.read(_ROPE_FACTORS)
    scaling = rotary.Llama3(max(float(found.max()), 1.0), low=1.0, high=4.0, original=8192)
    plain, scaled = (rotary.angles(config.rope_theta, config.head_dim, 2, how)[1] for how in (None, scaling))
    if found.shape != plain.shape or not np.allclose(found * scaled, plain, rtol=1e-4):
        raise ValueError(f"{file.path}: the factors in {_ROPE_FACTORS} are not those of Llama 3: not implemented.")
    return scaling


def _tied(file: GGUF) -> bool:
    """Whether head and embedding are one matrix, which some files store twice.

    They are where their numbers are equal, but for the rounding of numbers that are not quantized. Of two quantizations
    that cannot be known: they are two matrices then, as the file has them, which is right and only costs memory.
    """
    names = ("token_embd.weight", "output.weight")
    if not all(name in file.tensors for name in names):
        return True
    table, head = (file.tensors[name] for name in names)
    kinds = {table.encoding.name, head.encoding.name}
    if table.shape != head.shape or len(table.shape) != 2 or (len(kinds) > 1 and not kinds <= _DIGITS.keys()):
        return False
    rounding = 2.0 ** -min(_DIGITS[kind] for kind in kinds) if len(kinds) > 1 else 0.0
    some = max(2**20 // table.shape[1], 1)
    for start in range(0, table.shape[0], some):
        x, y = (file.read(name, slice(start, start + some)) for name in names)
        if not np.allclose(x, y, rtol=rounding, atol=_LEAST if rounding else 0.0):
            return False
    return True


def _layout(file: GGUF, config: TransformerConfig) -> layout.Layout:
    """Where each parameter is in the file.

    Raises:
      ValueError: the tensors are not those of the config.
    """
    names, ignored = _NAMES, {_ROPE_FACTORS}
    if config.tied_embedding and "output.weight" in file.tensors and "token_embd.weight" in file.tensors:
        coarse, fine = sorted(("token_embd.weight", "output.weight"), key=lambda name: file.tensors[name].size)
        names, ignored = {**names, "embedding": fine}, {coarse, _ROPE_FACTORS}
    found = {name: tensor.shape for name, tensor in file.tensors.items()}
    return layout.fit(file.path, config, names, found, ignored)


def _unpermuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k, from GGML's rotary order (pairs side by side) to ours (halves of a head). [H C, D]"""
    rows, width = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _tokenizer(file: GGUF) -> PretrainedTokenizer:
    """The tokenizer that the metadata describe, as byte-level BPE.

    Raises:
      ValueError: something is missing, or another kind of tokenizer.
    """
    metadata = {key.removeprefix("tokenizer."): value for key, value in file.metadata.items()}

    def wrong(key: str, problem: str) -> ValueError:
        return ValueError(
            f"{file.path}: the metadata tokenizer.{key} {problem}. "
            "The model's Hugging Face directory, with its tokenizer.json, may be read instead."
        )

    def texts(key: str) -> list[str]:
        value = metadata.get(key)
        if not isinstance(value, list):
            raise wrong(key, "is missing or not a list of texts")
        return value

    if metadata.get("ggml.model") != "gpt2":
        raise wrong("ggml.model", f"is {short(metadata.get('ggml.model'))}; supported: 'gpt2' (byte-level BPE)")
    pre = metadata.get("ggml.pre")
    if pre not in _PRE_TOKENIZERS:
        raise wrong("ggml.pre", f"is {short(pre)}; supported: {', '.join(_PRE_TOKENIZERS)}")
    tokens, merges = texts("ggml.tokens"), texts("ggml.merges")
    if len(set(tokens)) != len(tokens):
        raise wrong("ggml.tokens", "holds a token twice")
    kinds = metadata.get("ggml.token_type")
    if not isinstance(kinds, np.ndarray) or len(kinds) != len(tokens):
        raise wrong("ggml.token_type", f"is missing or has not one number for each of the {len(tokens)} tokens")
    added = [
        added_token(text, i, special=kind != _USER_DEFINED)
        for i, (text, kind) in enumerate(zip(tokens, kinds.tolist(), strict=True))
        if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED)
    ]
    ids: dict[str, int] = {}
    for name in ("bos", "eos", "padding", "unknown", "eot", "eom"):
        if (token := metadata.get(f"ggml.{name}_token_id")) is not None:
            if not isinstance(token, int) or not 0 <= token < len(tokens):
                raise wrong(f"ggml.{name}_token_id", f"is {short(token)}, not one of the {len(tokens)} tokens")
            ids[name] = token
    roles = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    special = {role: tokens[ids[name]] for role, name in roles.items() if name in ids}
    starts = bool(metadata.get("ggml.add_bos_token", pre == "llama-bpe")) and "bos" in ids
    definition = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _split(pre)},
        "post_processor": _starting(tokens[ids["bos"]], ids["bos"]) if starts else None,
        "decoder": byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            # Unused entries only pad the vocabulary.
            "vocab": {text: i for i, text in enumerate(tokens) if kinds[i] != _UNUSED},
            "merges": [merge.split(" ", 1) for merge in merges],
            "ignore_merges": pre == "llama-bpe",
        },
    }
    template = metadata.get("chat_template")
    if template is not None and not isinstance(template, str):
        raise wrong("chat_template", "is no text")
    ends = [ids[name] for name in ("eos", "eot", "eom") if name in ids]
    try:
        return PretrainedTokenizer(json.dumps(definition), ends=ends, template=template, special=special)
    except ValueError as error:
        raise ValueError(f"{file.path}: {str(error)[:500]}") from None


def _split(pre: str) -> list[Mapping[str, Any]]:
    """The steps that split a text into words."""
    if pre == "gpt-2":
        return [byte_level(use_regex=True)]
    if pre == "smollm":
        return [{"type": "Digits", "individual_digits": True}, byte_level(use_regex=True)]
    pattern = _WORDS.replace("{DIGITS}", "{1,3}" if pre == "llama-bpe" else "")
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return [split, byte_level(use_regex=False)]


def _starting(text: str, token: int) -> Mapping[str, Any]:
    """The step that puts the beginning token before a text."""
    first = {"SpecialToken": {"id": text, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, first, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {text: {"id": text, "ids": [token], "tokens": [text]}},
    }
