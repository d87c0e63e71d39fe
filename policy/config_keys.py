"""The keys of a config.json, but those of rotary positions: what they mean for a TransformerConfig, and back.

Every key is read, known to change nothing, or refused: what is not implemented is never ignored. Keys that belong
together are a `Group`; a family has some of them (policy.families).
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from policy.types import TransformerConfig

Fields = dict[str, Any]  # Of TransformerConfig.

# Keys of config.json that do not change what the model computes, or are read elsewhere. Dropout is not used: the
# learner must compute what was sampled. Losses of routers are metrics here.
_HARMLESS = {
    "architectures", "model_type", "torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range",
    "bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp", "is_llama_config", "output_attentions",
    "output_hidden_states", "return_dict", "id2label", "label2id", "problem_type", "chunk_size_feed_forward",
    "unsloth_version", "cache_implementation", "attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop",
    "summary_type", "summary_use_proj", "summary_proj_to_labels", "summary_first_dropout", "summary_activation",
    "task_specific_params", "n_ctx", "output_router_logits", "router_aux_loss_coef", "auto_map",
}  # fmt: skip
# Options whose default is on, and the values of them that are what we compute.
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "scale_attn_weights": (True,), "is_causal": (True,), "partial_rotary_factor": (1, None),
}  # fmt: skip
_ACTIVATIONS = {
    "silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh",
}  # fmt: skip
LOCAL, GLOBAL = "sliding_attention", "full_attention"
_MOST_LAYERS = 4096  # A damaged config must not cost memory.


@dataclasses.dataclass(frozen=True)
class Options:
    """The keys of a config.json that are not read yet."""

    path: pathlib.Path
    left: dict[str, Any]

    def number(self, key: str, kind: type = int, default: Any = None) -> Any:
        value = self.left.pop(key, None)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            expected = "an integer" if kind is int else "a number"
            raise ValueError(f"{self.path}: {key} is {value!r}, expected {expected}.")
        if not abs(value) <= sys.float_info.max:  # NaN, too.
            raise ValueError(f"{self.path}: {key} is {str(value)[:100]}, expected a finite number.")
        return kind(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.left.pop(key, None)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise ValueError(f"{self.path}: {key} is {value!r}, expected true or false.")
        return value

    def several(self, key: str, kind: type, layers: int | None = None) -> list[Any] | None:
        """A list, with one entry for each of `layers`; None where there is none."""
        value = self.left.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(x, kind) and not isinstance(x, bool) for x in value):
            raise ValueError(f"{self.path}: {key} is {str(value)[:100]}, expected a list of {kind.__name__}.")
        if layers is not None and len(value) != layers:
            raise ValueError(f"{self.path}: {key} has {len(value)} entries for {layers} layers.")
        return value

    def check(self) -> None:
        """ValueError where a key is left that asks for something."""
        for key, value in self.left.items():
            # What is off (None, False, 0, empty) asks for nothing. Whatever else is unknown may change the model.
            harmless = key in _HARMLESS or key.startswith(("_", "transformers."))
            if value in _OPTIONS[key] if key in _OPTIONS else not value or harmless:
                continue
            raise ValueError(
                f"{self.path}: the option {key} = {json.dumps(value)[:100]} is not implemented. "
                "If it does not change what the model computes, delete it from the file."
            )


@dataclasses.dataclass(frozen=True)
class Group:
    """Keys of a config.json that belong together.

    Attributes:
      read: takes them from the options, given the fields that are known so far.
      write: the inverse.
    """

    read: Callable[[Options, Fields], Fields]
    write: Callable[[TransformerConfig], dict[str, Any]]


def _read_shape(options: Options, fields: Fields) -> Fields:
    width = options.number("hidden_size")
    activation = options.left.pop("hidden_act", "silu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"{options.path}: the option hidden_act = {json.dumps(activation)[:100]} is not implemented; "
            f"implemented: {', '.join(_ACTIVATIONS)}."
        )
    return {
        "vocab_size": options.number("vocab_size"),
        "width": width,
        "num_layers": options.number("num_hidden_layers"),
        "num_heads": options.number("num_attention_heads"),
        "mlp_width": options.number("intermediate_size", int, None if fields.get("gated", True) else 4 * width),
        "context": options.number("max_position_embeddings", int, 2048),
        "norm_epsilon": options.number("rms_norm_eps", float, 1e-6),
        "tied_embedding": options.flag("tie_word_embeddings"),
        "activation": _ACTIVATIONS[activation],
    }


def _write_shape(config: TransformerConfig) -> dict[str, Any]:
    activation = "gelu_pytorch_tanh" if config.activation == "gelu_tanh" else config.activation
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_width,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied_embedding,
        "hidden_act": activation,
    }


SHAPE = Group(_read_shape, _write_shape)


def _read_heads(options: Options, fields: Fields) -> Fields:
    width, heads = fields["width"], fields["num_heads"]
    return {
        "num_kv_heads": options.number("num_key_value_heads", int, heads),
        "head_dim": options.number("head_dim", int, width // max(heads, 1)),
    }


def _read_equal_heads(options: Options, fields: Fields) -> Fields:
    width, heads, found = fields["width"], fields["num_heads"], _read_heads(options, fields)
    if found["num_kv_heads"] != heads or found["head_dim"] * heads != width:
        raise ValueError(
            f"{options.path}: {heads} heads share a width of {width} here, each with its own keys and values; got "
            f"num_key_value_heads = {found['num_kv_heads']} and head_dim = {found['head_dim']}. The architecture has "
            "neither key: delete them where the file has them."
        )
    return found


HEADS = Group(_read_heads, lambda config: {"num_key_value_heads": config.num_kv_heads, "head_dim": config.head_dim})
EQUAL_HEADS = Group(_read_equal_heads, lambda config: {})


def _read_attention_bias(options: Options, fields: Fields) -> Fields:
    return dict.fromkeys(("qkv_bias", "out_bias"), options.flag("attention_bias"))


ATTENTION_BIAS = Group(_read_attention_bias, lambda config: {"attention_bias": config.qkv_bias})
MLP_BIAS = Group(
    lambda options, fields: {"mlp_bias": options.flag("mlp_bias")}, lambda config: {"mlp_bias": config.mlp_bias}
)


def _layers(fields: Fields) -> range:
    return range(min(fields["num_layers"], _MOST_LAYERS))


def windows(local: Callable[[Options, Fields, int], bool], switch: bool = False, listed: bool = False) -> Group:
    """The keys of windows.

    Args:
      local: whether a layer has the window, where `layer_types` does not say it.
      switch: whether `use_sliding_window` must be on.
      listed: whether `layer_types` is known.
    """

    def read(options: Options, fields: Fields) -> Fields:
        window = options.number("sliding_window", int, 0)
        if switch and not options.flag("use_sliding_window"):
            window = 0
        chosen = [i for i in _layers(fields) if local(options, fields, i)]
        options.left.pop("max_window_layers", None)
        options.left.pop("sliding_window_pattern", None)
        kinds = options.several("layer_types", str, fields["num_layers"]) if listed else None
        if kinds is not None:
            if set(kinds) - {LOCAL, GLOBAL}:
                raise ValueError(f"{options.path}: layer_types has {sorted(set(kinds) - {LOCAL, GLOBAL})}.")
            chosen = [i for i, kind in enumerate(kinds) if kind == LOCAL]
        window = window if chosen else 0
        return {"window": window, "local_layers": tuple(chosen) if window else ()}

    def write(config: TransformerConfig) -> dict[str, Any]:
        described: dict[str, Any] = {"sliding_window": config.window or None}
        if switch:
            described["use_sliding_window"] = bool(config.window)
        if listed:
            kinds = [LOCAL if i in config.local_layers else GLOBAL for i in range(config.num_layers)]
            described["layer_types"] = kinds
        return described

    return Group(read, write)


def _late(options: Options, fields: Fields, i: int) -> bool:
    return i >= _asked(options, "max_window_layers", 28)


def mostly_local(options: Options, fields: Fields, i: int) -> bool:
    """All layers but every sixth, or whichever `sliding_window_pattern` says."""
    period = _asked(options, "sliding_window_pattern", 6)
    if period < 1:
        raise ValueError(f"{options.path}: sliding_window_pattern is {period}, expected a positive number.")
    return (i + 1) % period > 0


def _asked(options: Options, key: str, default: int) -> int:
    """An integer that is asked for once a layer, and so stays among the options."""
    return Options(options.path, {key: options.left.get(key)}).number(key, int, default)


EVERY_LAYER = windows(lambda options, fields, i: True)
LATE_LAYERS = windows(_late, True, True)


def _write_cap(config: TransformerConfig) -> dict[str, Any]:
    return {
        "final_logit_softcapping": config.logit_cap or None,
        "query_pre_attn_scalar": _scalar(config),
    }


def _scalar(config: TransformerConfig) -> float:
    """The number whose inverse root the scale is; whole, where that says the same."""
    whole = round(config.scale**-2)
    return whole if whole and whole**-0.5 == config.scale else config.scale**-2


def _read_cap(options: Options, fields: Fields) -> Fields:
    scalar = options.number("query_pre_attn_scalar", float)
    if scalar <= 0:
        raise ValueError(f"{options.path}: query_pre_attn_scalar is {scalar!r}, expected a positive number.")
    scale = scalar**-0.5
    return {
        "logit_cap": options.number("final_logit_softcapping", float, 0.0),
        "attention_scale": 0.0 if scale == max(fields["head_dim"], 1) ** -0.5 else scale,
        "embedding_multiplier": math.sqrt(fields["width"]),
    }


FINAL_CAP = Group(_read_cap, _write_cap)
ATTENTION_CAP = Group(
    lambda options, fields: {"attention_cap": options.number("attn_logit_softcapping", float, 0.0)},
    lambda config: {"attn_logit_softcapping": config.attention_cap or None},
)


def _read_unrotated(options: Options, fields: Fields) -> Fields:
    interval = options.number("no_rope_layer_interval", int, 4)
    rotated = options.several("no_rope_layers", int, fields["num_layers"])
    if rotated is None:
        rotated = [(i + 1) % max(interval, 1) for i in _layers(fields)]
    return {"unrotated_layers": tuple(i for i, on in enumerate(rotated) if not on)}


UNROTATED = Group(
    _read_unrotated,
    lambda config: {"no_rope_layers": [int(i not in config.unrotated_layers) for i in range(config.num_layers)]},
)


def _read_experts(options: Options, fields: Fields) -> Fields:
    fixed = fields.get("renormalized", False)
    if options.flag("norm_topk_prob", fixed) != fixed:
        raise ValueError(
            f"{options.path}: norm_topk_prob is {json.dumps(not fixed)}, but this architecture has no such key and "
            f"computes as with {json.dumps(fixed)}: delete it from the file, if it is right otherwise."
        )
    return {
        "num_experts": options.number("num_local_experts"),
        "experts_per_token": options.number("num_experts_per_tok"),
        "expert_width": fields["mlp_width"],
    }


def _read_some_experts(options: Options, fields: Fields) -> Fields:
    step = options.number("decoder_sparse_step", int, 1)
    dense = set(options.several("mlp_only_layers", int) or ())
    dense |= {i for i in _layers(fields) if (i + 1) % max(step, 1)}
    return {
        "num_experts": options.number("num_local_experts"),
        "experts_per_token": options.number("num_experts_per_tok"),
        "expert_width": options.number("moe_intermediate_size"),
        "renormalized": options.flag("norm_topk_prob"),
        "dense_layers": tuple(sorted(dense)),
    }


def _write_experts(config: TransformerConfig) -> dict[str, Any]:
    return {"num_local_experts": config.num_experts, "num_experts_per_tok": config.experts_per_token}


def _write_some_experts(config: TransformerConfig) -> dict[str, Any]:
    return _write_experts(config) | {
        "moe_intermediate_size": config.expert_width,
        "norm_topk_prob": config.renormalized,
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(config.dense_layers),
    }


EXPERTS = Group(_read_experts, _write_experts)
SOME_EXPERTS = Group(_read_some_experts, _write_some_experts)
_MULTIPLIERS = {
    "attn_output_multiplier": "attention_scale",
    "max_attn_value": "attention_cap",
    "embedding_multiplier_scale": "embedding_multiplier",
    "output_multiplier_scale": "output_multiplier",
}
MULTIPLIERS = Group(
    lambda options, fields: {field: options.number(key, float) for key, field in _MULTIPLIERS.items()},
    lambda config: {key: getattr(config, field) for key, field in _MULTIPLIERS.items()},
)
