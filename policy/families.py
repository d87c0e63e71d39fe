"""Families of models: what their config.json means, and what their tensors are called. Both ways.

A family adds to the keys of Llama those of its own. Every key of a config.json is read, known to change nothing, or
refused: what is not implemented is never ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from policy import rotary
from policy.layout import HUGGING_FACE, TRANSPOSED
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
# Options that may be on, and the values of them that are what we compute.
_OPTIONS: dict[str, tuple[Any, ...]] = {"scale_attn_weights": (True,)}
_ACTIVATIONS = {
    "silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh",
}  # fmt: skip
_LOCAL, _GLOBAL = "sliding_attention", "full_attention"
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


@dataclasses.dataclass(frozen=True)
class Family:
    """One Hugging Face architecture.

    Attributes:
      architecture, model_type: as in config.json.
      groups: the keys that it has.
      fixed: fields that all its models share.
      names: of the parts of parameters.
      defaults: what keys are where config.json leaves them out.
      renamed: its own key -> that of Llama.
    """

    architecture: str
    model_type: str
    groups: tuple[Group, ...]
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read_config(path: pathlib.Path, described: Mapping[str, Any]) -> TransformerConfig:
    """The shape that a config.json describes.

    Raises:
      ValueError: another architecture, a wrong value, or an option that is not implemented.
    """
    family = _family_in(path, described)
    given = {family.renamed.get(key, key): value for key, value in described.items() if value is not None}
    # What is null is off, unless another key's name is the one in use.
    given |= {k: None for k, value in described.items() if value is None and family.renamed.get(k, k) not in given}
    options = Options(path, {**family.defaults, **given})
    fields: Fields = {"architecture": family.architecture, **family.fixed}
    try:
        for group in (_SHAPE, *family.groups):
            fields |= group.read(options, fields)
        options.check()
        return TransformerConfig(**fields)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def write_config(config: TransformerConfig) -> dict[str, Any]:
    """The inverse of `read_config`: what config.json says of the shape.

    Raises:
      ValueError: the architecture cannot express the config.
    """
    family = family_of(config)
    back = {theirs: ours for ours, theirs in family.renamed.items()}
    described: dict[str, Any] = {"architectures": [family.architecture], "model_type": family.model_type}
    for group in (_SHAPE, *family.groups):
        described |= {back.get(key, key): value for key, value in group.write(config).items()}
    found = read_config(pathlib.Path("config.json"), described)
    if found != config:
        wrong = [f.name for f in dataclasses.fields(config) if getattr(found, f.name) != getattr(config, f.name)]
        raise ValueError(
            f"{family.architecture} cannot express {', '.join(f'{k} = {getattr(config, k)!r}' for k in wrong)}: "
            f"set TransformerConfig.architecture to one that can, of {', '.join(FAMILIES)}."
        )
    return described


def family_of(config: TransformerConfig) -> Family:
    """The family whose names a model has.

    Raises:
      ValueError: there is no such architecture.
    """
    if config.architecture not in FAMILIES:
        raise ValueError(_unknown(repr(config.architecture), [config.architecture]))
    return FAMILIES[config.architecture]


def names_in(config: TransformerConfig, found: Iterable[str]) -> dict[str, str]:
    """The names of the parts of parameters in a directory that holds the tensors `found`."""
    names = HUGGING_FACE | dict(family_of(config).names)
    prefix = names["embedding"].split(".")[0] + "."
    if not any(name.startswith(prefix) for name in found):  # Saved without the head's module, as GPT-2 on the hub.
        names = {part: name.removeprefix(prefix) for part, name in names.items()}
    return names


def _family_in(path: pathlib.Path, described: Mapping[str, Any]) -> Family:
    architectures = described.get("architectures")
    for name in architectures if isinstance(architectures, list) else ():
        if isinstance(name, str) and name in FAMILIES:
            return FAMILIES[name]
    raise ValueError(f"{path}: {_unknown(repr(architectures), architectures)}")


def _unknown(text: str, names: Any) -> str:
    given = map(str, names if isinstance(names, list) else ())
    nearest = [near for name in given for near in difflib.get_close_matches(name, FAMILIES, 1, cutoff=0.4)]
    hint = f" (the nearest is {nearest[0]})" if nearest else ""
    return f"the architecture {text} is not supported; supported: {', '.join(FAMILIES)}{hint}."


# Groups of keys.


def _read_shape(options: Options, fields: Fields) -> Fields:
    width, heads = options.number("hidden_size"), options.number("num_attention_heads")
    activation = options.left.pop("hidden_act", None) or "silu"
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"{options.path}: the option hidden_act = {json.dumps(activation)[:100]} is not implemented; "
            f"implemented: {', '.join(_ACTIVATIONS)}."
        )
    layers = options.number("num_hidden_layers")
    return {
        "vocab_size": options.number("vocab_size"),
        "width": width,
        "num_layers": layers,
        "num_heads": heads,
        "num_kv_heads": options.number("num_key_value_heads", int, heads),
        "head_dim": options.number("head_dim", int, width // max(heads, 1)),
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
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_width,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied_embedding,
        "hidden_act": activation,
    }


_SHAPE = Group(_read_shape, _write_shape)


def _read_rope(options: Options, fields: Fields) -> Fields:
    """`rope_theta` and `rope_scaling`, or `rope_parameters`, where transformers 5 gathers them, by kind of layer."""
    given = options.left.pop("rope_parameters", None) or options.left.pop("rope_scaling", None) or {}
    if not isinstance(given, dict):
        raise ValueError(f"{options.path}: rope_parameters is {given!r}, expected an object.")
    local_theta = options.left.pop("rope_local_base_freq", None)
    if _GLOBAL in given:
        local = given.get(_LOCAL) or {}
        if not isinstance(local, dict) or _rope_type(local) != "default" or set(given) > {_GLOBAL, _LOCAL}:
            raise ValueError(f"{options.path}: rope_parameters = {json.dumps(given)[:200]} is not implemented.")
        local_theta = local.get("rope_theta", local_theta)
        given = given[_GLOBAL]
    keys = {key: value for key, value in given.items() if key not in ("rope_type", "type")}
    inner = Options(options.path, keys)
    theta = options.number("rope_theta", float, 10_000.0)
    fraction = options.number("partial_rotary_factor", float, 1.0)
    read = {
        "rope_theta": inner.number("rope_theta", float, theta),
        "rope_fraction": inner.number("partial_rotary_factor", float, fraction),
        "rope_scaling": _scaling(inner, _rope_type(given), fields, given),
        "local_rope_theta": Options(options.path, {"rope_local_base_freq": local_theta}).number(
            "rope_local_base_freq", float, 0.0
        ),
    }
    if isinstance(read["rope_scaling"], rotary.Dynamic):  # Not the context: where it begins to grow.
        read["context"] = int(read["rope_scaling"].factor * fields["context"])
    if read["rope_scaling"] is None:
        options.left.pop("original_max_position_embeddings", None)  # Of a scaling that there is not.
    inner.check()
    return read


def _rope_type(given: Mapping[str, Any]) -> Any:
    return given.get("rope_type", given.get("type", "default"))


def _scaling(inner: Options, kind: Any, fields: Fields, given: Any) -> rotary.Scaling | None:
    context = fields["context"]
    original = inner.number("original_max_position_embeddings", int, context)
    if kind == "default":
        return None
    if kind == "yarn" and inner.left.get("factor") is None:
        inner.left["factor"] = context / original
    if kind not in ("linear", "dynamic", "yarn", "llama3") or (kind == "dynamic" and original != context):
        raise ValueError(
            f"{inner.path}: the option rope_scaling = {json.dumps(given)[:200]} is not implemented; implemented are "
            "the rope_types default, linear, dynamic, yarn and llama3."
        )
    factor = inner.number("factor", float)
    if factor < 1 or original < 1:
        raise ValueError(f"{inner.path}: rope_scaling needs a factor of at least 1, got {json.dumps(given)[:200]}.")
    if kind == "linear":
        return rotary.Linear(factor)
    if kind == "dynamic":
        return rotary.Dynamic(factor, original)
    if kind == "llama3":
        return rotary.Llama3(
            factor, inner.number("low_freq_factor", float), inner.number("high_freq_factor", float), original
        )
    magnitude = inner.number("attention_factor", float, 0.0)
    scales = [inner.number(key, float, 0.0) for key in ("mscale", "mscale_all_dim")]
    if not magnitude and all(scales):
        above, below = (0.1 * scale * math.log(factor) + 1 for scale in scales)
        magnitude = above / below
    fast, slow = inner.number("beta_fast", float, 32.0), inner.number("beta_slow", float, 1.0)
    return rotary.YaRN(factor, original, fast, slow, magnitude, inner.flag("truncate", True))


def _write_rope(config: TransformerConfig) -> dict[str, Any]:
    described: dict[str, Any] = {"rope_theta": config.rope_theta}
    if config.rope_fraction != 1:
        described["partial_rotary_factor"] = config.rope_fraction
    if config.local_rope_theta:
        described["rope_local_base_freq"] = config.local_rope_theta
    match config.rope_scaling:
        case rotary.Linear(factor):
            described["rope_scaling"] = {"rope_type": "linear", "factor": factor}
        case rotary.Dynamic(factor, original):
            described["rope_scaling"] = {"rope_type": "dynamic", "factor": factor}
            described["max_position_embeddings"] = original
        case rotary.Llama3(factor, low, high, original):
            described["rope_scaling"] = {
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }  # fmt: skip
        case rotary.YaRN() as yarn:
            described["rope_scaling"] = {
                "rope_type": "yarn", "factor": yarn.factor, "original_max_position_embeddings": yarn.original,
                "beta_fast": yarn.fast, "beta_slow": yarn.slow, "truncate": yarn.whole,
            } | ({"attention_factor": yarn.magnitude} if yarn.magnitude else {})  # fmt: skip
    return described


_ROPE = Group(_read_rope, _write_rope)


def _read_attention_bias(options: Options, fields: Fields) -> Fields:
    return dict.fromkeys(("qkv_bias", "out_bias"), options.flag("attention_bias"))


_ATTENTION_BIAS = Group(_read_attention_bias, lambda config: {"attention_bias": config.qkv_bias})
_MLP_BIAS = Group(
    lambda options, fields: {"mlp_bias": options.flag("mlp_bias")}, lambda config: {"mlp_bias": config.mlp_bias}
)


def _windows(local: Callable[[Options, Fields, int], bool], switch: bool = False, listed: bool = False) -> Group:
    """The keys of windows.

    Args:
      local: whether a layer has the window, where `layer_types` does not say it.
      switch: whether `use_sliding_window` must be on.
      listed: whether `layer_types` is known.
    """

    def read(options: Options, fields: Fields) -> Fields:
        layers = range(min(fields["num_layers"], _MOST_LAYERS))
        window = options.number("sliding_window", int, 0)
        if switch and not options.flag("use_sliding_window"):
            window = 0
        chosen = [i for i in layers if local(options, fields, i)]
        options.left.pop("max_window_layers", None)
        options.left.pop("sliding_window_pattern", None)
        kinds = options.several("layer_types", str, fields["num_layers"]) if listed else None
        if kinds is not None:
            if set(kinds) - {_LOCAL, _GLOBAL}:
                raise ValueError(f"{options.path}: layer_types has {sorted(set(kinds) - {_LOCAL, _GLOBAL})}.")
            chosen = [i for i, kind in enumerate(kinds) if kind == _LOCAL]
        window = window if chosen else 0
        return {"window": window, "local_layers": tuple(chosen) if window else ()}

    def write(config: TransformerConfig) -> dict[str, Any]:
        described: dict[str, Any] = {"sliding_window": config.window or None}
        if switch:
            described["use_sliding_window"] = bool(config.window)
        if listed:
            kinds = [_LOCAL if i in config.local_layers else _GLOBAL for i in range(config.num_layers)]
            described["layer_types"] = kinds
        return described

    return Group(read, write)


_EVERY_LAYER = _windows(lambda options, fields, i: True)
_LATE_LAYERS = _windows(lambda options, fields, i: i >= options.left.get("max_window_layers", 28), True, True)


def _caps(config: TransformerConfig) -> dict[str, Any]:
    return {
        "attn_logit_softcapping": config.attention_cap or None,
        "final_logit_softcapping": config.logit_cap or None,
        "query_pre_attn_scalar": _scalar(config),
    }


def _scalar(config: TransformerConfig) -> float:
    """The number whose inverse root the scale is; whole, where that says the same."""
    whole = round(config.scale**-2)
    return whole if whole**-0.5 == config.scale else config.scale**-2


def _read_caps(options: Options, fields: Fields) -> Fields:
    scale = options.number("query_pre_attn_scalar", float) ** -0.5
    return {
        "attention_cap": options.number("attn_logit_softcapping", float, 0.0),
        "logit_cap": options.number("final_logit_softcapping", float, 0.0),
        "attention_scale": 0.0 if scale == fields["head_dim"] ** -0.5 else scale,
        "embedding_multiplier": math.sqrt(fields["width"]),
    }


_CAPS = Group(_read_caps, _caps)


def _read_unrotated(options: Options, fields: Fields) -> Fields:
    layers, interval = fields["num_layers"], options.number("no_rope_layer_interval", int, 4)
    rotated = options.several("no_rope_layers", int, layers)
    if rotated is None:
        rotated = [(i + 1) % max(interval, 1) for i in range(min(layers, _MOST_LAYERS))]
    return {"unrotated_layers": tuple(i for i, on in enumerate(rotated) if not on)}


_UNROTATED = Group(
    _read_unrotated,
    lambda config: {"no_rope_layers": [int(i not in config.unrotated_layers) for i in range(config.num_layers)]},
)


def _read_experts(options: Options, fields: Fields) -> Fields:
    width = options.number("moe_intermediate_size", int, fields["mlp_width"])
    step = options.number("decoder_sparse_step", int, 1)
    dense = set(options.several("mlp_only_layers", int) or ())
    dense |= {i for i in range(min(fields["num_layers"], _MOST_LAYERS)) if (i + 1) % max(step, 1)}
    return {
        "num_experts": options.number("num_local_experts"),
        "experts_per_token": options.number("num_experts_per_tok"),
        "expert_width": width,
        "renormalized": options.flag("norm_topk_prob", fields.get("renormalized", False)),
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


_EXPERTS = Group(_read_experts, _write_experts)
_SOME_EXPERTS = Group(_read_experts, _write_some_experts)
_MULTIPLIERS = Group(
    lambda options, fields: {
        "attention_scale": options.number("attn_output_multiplier", float),
        "attention_cap": options.number("max_attn_value", float),
        "embedding_multiplier": options.number("embedding_multiplier_scale", float),
        "output_multiplier": options.number("output_multiplier_scale", float),
    },
    lambda config: {
        "attn_output_multiplier": config.attention_scale,
        "max_attn_value": config.attention_cap,
        "embedding_multiplier_scale": config.embedding_multiplier,
        "output_multiplier_scale": config.output_multiplier,
    },
)


# Names of parts.

_LAYER, _ATTENTION, _MLP = "model.layers.{i}.", "model.layers.{i}.self_attn.", "model.layers.{i}.mlp."
_BIASES = {
    **{f"{part}_bias": f"{_ATTENTION}{part}_proj.bias" for part in "qkv"},
    "out_bias": _ATTENTION + "o_proj.bias",
    **{f"{part}_bias": f"{_MLP}{part}_proj.bias" for part in ("gate", "up", "down")},
}
_HEAD_NORMS = {"query_norm": _ATTENTION + "q_norm.weight", "key_norm": _ATTENTION + "k_norm.weight"}
_FOUR_NORMS = {
    "attention_post_norm": _LAYER + "post_attention_layernorm.weight",
    "mlp_norm": _LAYER + "pre_feedforward_layernorm.weight",
    "mlp_post_norm": _LAYER + "post_feedforward_layernorm.weight",
}
_GPT2 = {
    part: f"transformer.{name}"
    for part, name in {
        "embedding": "wte.weight", "positions": "wpe.weight",
        "attention_norm": "h.{i}.ln_1.weight", "attention_norm_offset": "h.{i}.ln_1.bias",
        "qkv": "h.{i}.attn.c_attn.weight" + TRANSPOSED, "qkv_bias": "h.{i}.attn.c_attn.bias",
        "out": "h.{i}.attn.c_proj.weight" + TRANSPOSED, "out_bias": "h.{i}.attn.c_proj.bias",
        "mlp_norm": "h.{i}.ln_2.weight", "mlp_norm_offset": "h.{i}.ln_2.bias",
        "up": "h.{i}.mlp.c_fc.weight" + TRANSPOSED, "up_bias": "h.{i}.mlp.c_fc.bias",
        "down": "h.{i}.mlp.c_proj.weight" + TRANSPOSED, "down_bias": "h.{i}.mlp.c_proj.bias",
        "final_norm": "ln_f.weight", "final_norm_offset": "ln_f.bias",
    }.items()
}  # fmt: skip
_MIXTRAL, _GROK = _LAYER + "block_sparse_moe.", _LAYER + "moe_block."

_GEMMA = {"activation": "gelu_tanh", "norm_offset": 1.0, "post_norms": True}
_GEMMA_DEFAULTS = {
    "head_dim": 256, "num_key_value_heads": 4, "hidden_act": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 256, "tie_word_embeddings": True, "sliding_window": 4096,
}  # fmt: skip

FAMILIES = {
    family.architecture: family
    for family in (
        Family("LlamaForCausalLM", "llama", (_ROPE, _ATTENTION_BIAS, _MLP_BIAS), names=_BIASES),
        Family("MistralForCausalLM", "mistral", (_ROPE, _EVERY_LAYER),
               defaults={"sliding_window": 4096, "num_key_value_heads": 8, "max_position_embeddings": 131072}),
        Family("Qwen2ForCausalLM", "qwen2", (_ROPE, _LATE_LAYERS), {"qkv_bias": True}, _BIASES,
               {"sliding_window": 4096, "max_position_embeddings": 32768}),
        Family("Qwen3ForCausalLM", "qwen3", (_ROPE, _LATE_LAYERS, _ATTENTION_BIAS), {"qk_norm": True},
               _HEAD_NORMS | _BIASES,
               {"sliding_window": 4096, "max_position_embeddings": 32768, "head_dim": 128}),
        Family("Qwen3MoeForCausalLM", "qwen3_moe",
               (_ROPE, _windows(lambda options, fields, i: True, switch=True), _ATTENTION_BIAS, _SOME_EXPERTS),
               {"qk_norm": True},
               _HEAD_NORMS | _BIASES | {"router": _MLP + "gate.weight"}
               | {f"expert_{p}": _MLP + f"experts.{{e}}.{p}_proj.weight" for p in ("gate", "up", "down")},
               {"sliding_window": 4096, "max_position_embeddings": 32768, "num_key_value_heads": 4,
                "moe_intermediate_size": 768, "num_experts_per_tok": 8, "num_local_experts": 128},
               {"num_experts": "num_local_experts"}),
        Family("Gemma2ForCausalLM", "gemma2",
               (_ROPE, _windows(lambda options, fields, i: i % 2 == 0, listed=True), _CAPS, _ATTENTION_BIAS),
               _GEMMA, _FOUR_NORMS | _BIASES,
               _GEMMA_DEFAULTS | {"max_position_embeddings": 8192, "attn_logit_softcapping": 50.0,
                                  "final_logit_softcapping": 30.0},
               {"hidden_activation": "hidden_act"}),
        Family("Gemma3ForCausalLM", "gemma3_text",
               (_ROPE, _windows(lambda options, fields, i: (i + 1) % options.left.get("sliding_window_pattern", 6) > 0,
                                listed=True),
                _CAPS, _ATTENTION_BIAS),
               _GEMMA | {"qk_norm": True}, _FOUR_NORMS | _HEAD_NORMS | _BIASES,
               _GEMMA_DEFAULTS | {"max_position_embeddings": 131072, "rope_theta": 1e6, "rope_local_base_freq": 1e4},
               {"hidden_activation": "hidden_act"}),
        Family("SmolLM3ForCausalLM", "smollm3",
               (_ROPE, _UNROTATED, _windows(lambda options, fields, i: i in fields["unrotated_layers"], True, True),
                _ATTENTION_BIAS, _MLP_BIAS),
               names=_BIASES,
               defaults={"rope_theta": 2e6, "num_key_value_heads": 4, "tie_word_embeddings": True,
                         "max_position_embeddings": 32768}),
        Family("Phi3ForCausalLM", "phi3", (_ROPE, _EVERY_LAYER),
               names={"qkv": _ATTENTION + "qkv_proj.weight", "gate": _MLP + "gate_up_proj.weight[0/2]",
                      "up": _MLP + "gate_up_proj.weight[1/2]"},
               defaults={"rms_norm_eps": 1e-5, "max_position_embeddings": 4096}),
        Family("GPT2LMHeadModel", "gpt2", (),
               {"gated": False, "layer_norm": True, "qkv_bias": True, "out_bias": True, "mlp_bias": True,
                "learned_positions": True},
               _GPT2, {"hidden_act": "gelu_new", "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
                       "max_position_embeddings": 1024},
               {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads",
                "n_positions": "max_position_embeddings", "n_inner": "intermediate_size",
                "layer_norm_epsilon": "rms_norm_eps", "activation_function": "hidden_act"}),
        Family("MixtralForCausalLM", "mixtral", (_ROPE, _EVERY_LAYER, _EXPERTS), {"renormalized": True},
               {"router": _MIXTRAL + "gate.weight", "expert_gate": _MIXTRAL + "experts.{e}.w1.weight",
                "expert_up": _MIXTRAL + "experts.{e}.w3.weight", "expert_down": _MIXTRAL + "experts.{e}.w2.weight"},
               {"rope_theta": 1e6, "rms_norm_eps": 1e-5, "num_key_value_heads": 8, "num_local_experts": 8,
                "num_experts_per_tok": 2, "max_position_embeddings": 131072},
               {"num_experts": "num_local_experts"}),
        # The names are those of the PyTorch port, hpcai-tech/grok-1; the numbers those of xai-org/grok-1, run.py.
        Family("Grok1ModelForCausalLM", "grok-1", (_ROPE, _EXPERTS, _MULTIPLIERS), {"post_norms": True},
               {"q": _LAYER + "attn.q_proj.weight", "k": _LAYER + "attn.k_proj.weight",
                "v": _LAYER + "attn.v_proj.weight", "out": _LAYER + "attn.o_proj.weight",
                "attention_norm": _LAYER + "pre_attn_norm.scale", "mlp_norm": _LAYER + "pre_moe_norm.scale",
                "attention_post_norm": _LAYER + "post_attn_norm.scale",
                "mlp_post_norm": _LAYER + "post_moe_norm.scale", "final_norm": "model.norm.scale",
                "router": _GROK + "gate.weight", "expert_gate": _GROK + "experts.{e}.linear.weight",
                "expert_up": _GROK + "experts.{e}.linear_v.weight",
                "expert_down": _GROK + "experts.{e}.linear_1.weight"},
               {"hidden_act": "gelu_pytorch_tanh", "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
                "max_position_embeddings": 8192, "num_key_value_heads": 8, "num_local_experts": 8,
                "num_experts_per_tok": 2, "attn_output_multiplier": 0.08838834764831845, "max_attn_value": 30.0,
                "embedding_multiplier_scale": 78.38367176906169, "output_multiplier_scale": 0.5773502691896257},
               {"num_experts": "num_local_experts"}),
    )
}  # fmt: skip
