"""The keys of a config.json that say how positions are rotated, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from policy import rotary
from policy.config_keys import GLOBAL, LOCAL, Fields, Group, Options
from policy.types import TransformerConfig

_MOST = 10**6  # A factor; real ones are below 1000. Contexts are multiplied by it.


def _read_rope(options: Options, fields: Fields) -> Fields:
    """`rope_theta` and `rope_scaling`, or `rope_parameters`, where transformers 5 gathers them, by kind of layer."""
    given = options.left.pop("rope_parameters", None) or options.left.pop("rope_scaling", None) or {}
    if not isinstance(given, dict):
        raise ValueError(f"{options.path}: rope_parameters is {given!r}, expected an object.")
    local_theta = options.left.pop("rope_local_base_freq", None)
    if GLOBAL in given:
        local = given.get(LOCAL) or {}
        if not isinstance(local, dict) or _rope_type(local) != "default" or set(given) > {GLOBAL, LOCAL}:
            raise ValueError(f"{options.path}: rope_parameters = {json.dumps(given)[:200]} is not implemented.")
        local_theta = local.get("rope_theta", local_theta)
        given = given[GLOBAL] or {}
        if not isinstance(given, dict):
            raise ValueError(f"{options.path}: {GLOBAL} of rope_parameters is {str(given)[:100]}, expected an object.")
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
        inner.left["factor"] = context / max(original, 1)
    if kind not in ("linear", "dynamic", "yarn", "llama3") or (kind == "dynamic" and original != context):
        raise ValueError(
            f"{inner.path}: the option rope_scaling = {json.dumps(given)[:200]} is not implemented; implemented are "
            "the rope_types default, linear, dynamic, yarn and llama3."
        )
    factor = inner.number("factor", float)
    wrong = ValueError(
        f"{inner.path}: rope_scaling needs a factor of 1 to {_MOST:,}, contexts of at least 1, positive betas and "
        f"low_freq_factor < high_freq_factor; got {json.dumps(given)[:200]}."
    )
    if not 1 <= factor <= _MOST or original < 1:
        raise wrong
    if kind == "linear":
        return rotary.Linear(factor)
    if kind == "dynamic":
        return rotary.Dynamic(factor, original)
    if kind == "llama3":
        low, high = inner.number("low_freq_factor", float), inner.number("high_freq_factor", float)
        if low >= high:
            raise wrong
        return rotary.Llama3(factor, low, high, original)
    magnitude = inner.number("attention_factor", float, 0.0)
    scales = [inner.number(key, float, 0.0) for key in ("mscale", "mscale_all_dim")]
    if not magnitude and all(scales):
        above, below = (0.1 * scale * math.log(factor) + 1 for scale in scales)
        magnitude = above / below
    fast, slow = inner.number("beta_fast", float, 32.0), inner.number("beta_slow", float, 1.0)
    if fast <= 0 or slow <= 0:
        raise wrong
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


ROPE = Group(_read_rope, _write_rope)
