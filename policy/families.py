"""Families of models: which keys their config.json has, and what their tensors are called. Both ways.

A family adds to the keys of Llama those of its own.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from policy.config_keys import (
    ATTENTION_BIAS,
    ATTENTION_CAP,
    EQUAL_HEADS,
    EVERY_LAYER,
    EXPERTS,
    FINAL_CAP,
    HEADS,
    LATE_LAYERS,
    MLP_BIAS,
    MULTIPLIERS,
    SHAPE,
    SOME_EXPERTS,
    UNROTATED,
    Fields,
    Group,
    Options,
    mostly_local,
    windows,
)
from policy.layout import HUGGING_FACE, TRANSPOSED
from policy.rope_keys import LOCAL_ROPE, PARTIAL_ROPE, ROPE
from policy.types import TransformerConfig


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
        for group in (SHAPE, *family.groups):
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
    for group in (SHAPE, *family.groups):
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
        Family("LlamaForCausalLM", "llama", (HEADS, ROPE, ATTENTION_BIAS, MLP_BIAS), names=_BIASES),
        Family("MistralForCausalLM", "mistral", (HEADS, ROPE, EVERY_LAYER),
               defaults={"sliding_window": 4096, "num_key_value_heads": 8, "max_position_embeddings": 131072}),
        Family("Qwen2ForCausalLM", "qwen2", (HEADS, ROPE, LATE_LAYERS), {"qkv_bias": True}, _BIASES,
               {"sliding_window": 4096, "max_position_embeddings": 32768}),
        Family("Qwen3ForCausalLM", "qwen3", (HEADS, ROPE, LATE_LAYERS, ATTENTION_BIAS), {"qk_norm": True},
               _HEAD_NORMS | _BIASES,
               {"sliding_window": 4096, "max_position_embeddings": 32768, "head_dim": 128}),
        Family("Qwen3MoeForCausalLM", "qwen3_moe",
               (HEADS, ROPE, windows(lambda options, fields, i: True, switch=True), ATTENTION_BIAS, SOME_EXPERTS),
               {"qk_norm": True},
               _HEAD_NORMS | _BIASES | {"router": _MLP + "gate.weight"}
               | {f"expert_{p}": _MLP + f"experts.{{e}}.{p}_proj.weight" for p in ("gate", "up", "down")},
               {"sliding_window": 4096, "max_position_embeddings": 32768, "num_key_value_heads": 4,
                "moe_intermediate_size": 768, "num_experts_per_tok": 8, "num_local_experts": 128},
               {"num_experts": "num_local_experts"}),
        Family("Gemma2ForCausalLM", "gemma2",
               (HEADS, ROPE, windows(lambda options, fields, i: i % 2 == 0, listed=True), ATTENTION_CAP, FINAL_CAP,
                ATTENTION_BIAS),
               _GEMMA, _FOUR_NORMS | _BIASES,
               _GEMMA_DEFAULTS | {"max_position_embeddings": 8192, "attn_logit_softcapping": 50.0,
                                  "final_logit_softcapping": 30.0},
               {"hidden_activation": "hidden_act"}),
        Family("Gemma3ForCausalLM", "gemma3_text",
               (HEADS, LOCAL_ROPE, windows(mostly_local, listed=True), FINAL_CAP, ATTENTION_BIAS),
               _GEMMA | {"qk_norm": True}, _FOUR_NORMS | _HEAD_NORMS | _BIASES,
               _GEMMA_DEFAULTS | {"max_position_embeddings": 131072, "rope_theta": 1e6, "rope_local_base_freq": 1e4},
               {"hidden_activation": "hidden_act"}),
        Family("SmolLM3ForCausalLM", "smollm3",
               (HEADS, ROPE, UNROTATED, windows(lambda options, fields, i: i in fields["unrotated_layers"], True, True),
                ATTENTION_BIAS, MLP_BIAS),
               names=_BIASES,
               defaults={"rope_theta": 2e6, "num_key_value_heads": 4, "tie_word_embeddings": True,
                         "max_position_embeddings": 32768}),
        Family("Phi3ForCausalLM", "phi3", (HEADS, PARTIAL_ROPE, EVERY_LAYER),
               names={"qkv": _ATTENTION + "qkv_proj.weight", "gate": _MLP + "gate_up_proj.weight[0/2]",
                      "up": _MLP + "gate_up_proj.weight[1/2]"},
               defaults={"rms_norm_eps": 1e-5, "max_position_embeddings": 4096}),
        Family("GPT2LMHeadModel", "gpt2", (EQUAL_HEADS,),
               {"gated": False, "layer_norm": True, "qkv_bias": True, "out_bias": True, "mlp_bias": True,
                "learned_positions": True},
               _GPT2, {"hidden_act": "gelu_new", "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
                       "max_position_embeddings": 1024},
               {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads",
                "n_positions": "max_position_embeddings", "n_inner": "intermediate_size",
                "layer_norm_epsilon": "rms_norm_eps", "activation_function": "hidden_act"}),
        Family("MixtralForCausalLM", "mixtral", (HEADS, ROPE, EVERY_LAYER, EXPERTS), {"renormalized": True},
               {"router": _MIXTRAL + "gate.weight", "expert_gate": _MIXTRAL + "experts.{e}.w1.weight",
                "expert_up": _MIXTRAL + "experts.{e}.w3.weight", "expert_down": _MIXTRAL + "experts.{e}.w2.weight"},
               {"rope_theta": 1e6, "rms_norm_eps": 1e-5, "num_key_value_heads": 8, "num_local_experts": 8,
                "num_experts_per_tok": 2, "max_position_embeddings": 131072},
               {"num_experts": "num_local_experts"}),
        # The names are those of the PyTorch port, hpcai-tech/grok-1; the numbers those of xai-org/grok-1, run.py.
        Family("Grok1ModelForCausalLM", "grok-1", (HEADS, ROPE, EXPERTS, MULTIPLIERS), {"post_norms": True},
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
