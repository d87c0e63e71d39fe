"""The keys of a config.json that say how positions are rotated, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from policy import rotary
from policy.config_keys import GLOBAL, LOCAL, Fields, Group, Options
from policy.types import TransformerConfig

_KINDS = ("linear", "dynamic", "yarn", "llama3")
_MOST = 10**6  # A factor; real ones are below 1000. Contexts are multiplied by it.


def _read_rope(options: Options, fields: Fields, partial: bool, local: bool, kinds: Collection[str]) -> Fields:
    """`rope_theta` and `rope_scaling`, or `rope_parameters`, where transformers 5 gathers them, by kind of layer."""
    gathered = options.left.pop("rope_parameters", None)
    given = gathered or options.left.pop("rope_scaling", None) or {}
    if not isinstance(given, dict):
        raise ValueError(f"{options.path}: rope_parameters is {given!r}, expected an object.")
    read: Fields = {}
    if (GLOBAL in given) != (local and bool(gathered)):
        raise ValueError(
            f"{options.path}: rope_parameters = {json.dumps(given)[:200]} is not implemented: in this architecture it "
            f"{'has one object for each kind of layer' if local else 'is one object for all layers'}."
        )
    if local:
        theta = options.left.pop("rope_local_base_freq", None)
        if GLOBAL in given:
            theta, given = _local_theta(options, given, theta), given[GLOBAL] or {}
            if not isinstance(given, dict):
                raise ValueError(
                    f"{options.path}: {GLOBAL} of rope_parameters is {str(given)[:100]}, expected an object."
                )
        found = Options(options.path, {"rope_local_base_freq": theta})
        read["local_rope_theta"] = found.number("rope_local_base_freq", float, 0.0)
    inner = Options(options.path, {key: value for key, value in given.items() if key not in ("rope_type", "type")})
    read["rope_theta"] = inner.number("rope_theta", float, options.number("rope_theta", float, 10_000.0))
    if partial:
        fraction = options.number("partial_rotary_factor", float, 1.0)
        read["rope_fraction"] = inner.number("partial_rotary_factor", float, fraction)
    read["rope_scaling"] = _scaling(inner, _rope_type(given), fields, given, kinds)
    if isinstance(read["rope_scaling"], rotary.Dynamic):  # Not the context: where it begins to grow.
        read["context"] = int(read["rope_scaling"].factor * fields["context"])
    if read["rope_scaling"] is None:
        options.left.pop("original_max_position_embeddings", None)  # Of a scaling that there is not.
    inner.check()
    return read


def _local_theta(options: Options, given: Mapping[str, Any], default: Any) -> Any:
    """The base of local layers, which have no other key."""
    local = given.get(LOCAL) or {}
    if not isinstance(local, dict) or _rope_type(local) != "default" or set(given) > {GLOBAL, LOCAL}:
        raise ValueError(f"{options.path}: rope_parameters = {json.dumps(given)[:200]} is not implemented.")
    others = {key: value for key, value in local.items() if key not in ("rope_type", "type", "rope_theta")}
    Options(options.path, others).check()
    return local.get("rope_theta", default)


def _rope_type(given: Mapping[str, Any]) -> Any:
    return given.get("rope_type", given.get("type", "default"))


def _scaling(inner: Options, kind: Any, fields: Fields, given: Any, kinds: Collection[str]) -> rotary.Scaling | None:
    context = fields["context"]
    original = inner.number("original_max_position_embeddings", int, context)
    if kind == "default":
        return None
    if kind == "yarn" and inner.left.get("factor") is None:
        inner.left["factor"] = context / max(original, 1)
    if kind not in kinds or (kind == "dynamic" and original != context):
        raise ValueError(
            f"{inner.path}: the option rope_scaling = {json.dumps(given)[:200]} is not implemented; implemented for "
            f"this architecture: the rope_types {', '.join(('default', *kinds))}."
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


def _write_rope(config: TransformerConfig, partial: bool, local: bool, kinds: Collection[str]) -> dict[str, Any]:
    """What the architecture has no key for is left out, and so comes back as another config: it is not exported."""
    described: dict[str, Any] = {"rope_theta": config.rope_theta}
    if partial and config.rope_fraction != 1:
        described["partial_rotary_factor"] = config.rope_fraction
    if local and config.local_rope_theta:
        described["rope_local_base_freq"] = config.local_rope_theta
    match config.rope_scaling if kinds else None:
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


def _rope(partial: bool = False, local: bool = False, kinds: Collection[str] = _KINDS) -> Group:
    """The keys of rotation that the architecture's code in `transformers` reads; it ignores the others.

    Args:
      partial: whether `partial_rotary_factor` is read.
      local: whether local layers have a base of their own.
      kinds: the rope_types of `rope_scaling`, those that are implemented here.
    """
    return Group(
        lambda options, fields: _read_rope(options, fields, partial, local, kinds),
        lambda config: _write_rope(config, partial, local, kinds),
    )


ROPE = _rope()
LOCAL_ROPE = _rope(local=True)
PARTIAL_ROPE = _rope(partial=True, kinds=())  # Of Phi-3, which transformers scales by longrope or not at all.
