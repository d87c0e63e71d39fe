"""What a policy is, and what it writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import numpy as np

from policy.rotary import Scaling
from policy.tokenizer import Tokenizer

Array = jax.Array | np.ndarray
Params = Mapping[str, Mapping[str, Array]]  # A Haiku tree: {module: {parameter: array}}.


class Versioned(NamedTuple):
    """Parameters and the number of updates that made them. What crosses from learner to workers."""

    version: int
    params: Params


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """What the policy wrote after one prompt.

    In a conversation with tools, `tokens` also holds what others wrote, with `mask` False there.
    """

    prompt: np.ndarray  # int32 [P]
    tokens: np.ndarray  # int32 [T], the end token included: it is an action.
    mask: np.ndarray  # bool [T], True where the policy chose the token.
    logprobs: np.ndarray  # float32 [T], under the law that was sampled (temperature); 0 where mask is False.
    policy_logprobs: np.ndarray  # float32 [T], under softmax(logits); 0 where mask is False.
    text: str  # The policy's last turn, without special tokens.
    finish: Literal["stop", "length", "turns", "error"]
    version: int  # Of the parameters that sampled it.


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """The shape of a decoder-only transformer. With the defaults it is of the Llama family.

    Attributes:
      vocab_size: V, rows of the embedding.
      width: D, of the residual stream.
      num_layers: L.
      num_heads: H, of queries.
      num_kv_heads: K, of keys and values; divides H.
      head_dim: width of a head.
      mlp_width: F, of the MLP of a layer without experts.
      context: the longest sequence, in tokens.
      rope_theta: base of the rotary frequencies.
      norm_epsilon: added to the mean square, or to the variance, in norms.
      tied_embedding: whether the head is the embedding.
      architecture: the Hugging Face architecture whose names `export` writes (policy.families).
      activation: of the MLP; "gelu_tanh" is its approximation by tanh.
      gated: whether the MLP is activation(gate) * up; else activation(up).
      layer_norm: LayerNorm with an offset instead of RMSNorm.
      norm_offset: added to the stored scale of every norm.
      post_norms: norms also after attention and MLP, before they are added to the stream.
      qk_norm: an RMSNorm of each head of queries and keys, before rotation.
      qkv_bias, out_bias, mlp_bias: biases of the projections.
      learned_positions: a table of positions is added to the embedding; nothing is rotated.
      rope_fraction: of each head's width that is rotated.
      rope_scaling: how frequencies are changed for long contexts (policy.rotary).
      unrotated_layers: layers without rotation.
      window: a query of a local layer sees the last `window` positions, its own among them.
      local_layers: layers with that window.
      local_rope_theta: base of the local layers, which are then not scaled; 0: as the others.
      attention_scale: of scores; 0: head_dim^-1/2.
      attention_cap, logit_cap: x becomes cap * tanh(x / cap), for scores and for logits; 0: no cap.
      embedding_multiplier, output_multiplier: of the embedded tokens, of the logits (before their cap).
      num_experts: E, of every layer with experts; 0: there are none.
      experts_per_token: k, the experts of the greatest probability that a token is sent to.
      expert_width: F, of an expert.
      renormalized: whether the probabilities of the chosen experts are divided by their sum.
      dense_layers: layers without experts.
    """

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_width: int
    context: int
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    tied_embedding: bool = True
    architecture: str = "LlamaForCausalLM"
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"
    gated: bool = True
    layer_norm: bool = False
    norm_offset: float = 0.0
    post_norms: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    learned_positions: bool = False
    rope_fraction: float = 1.0
    rope_scaling: Scaling | None = None
    unrotated_layers: tuple[int, ...] = ()
    window: int = 0
    local_layers: tuple[int, ...] = ()
    local_rope_theta: float = 0.0
    attention_scale: float = 0.0
    attention_cap: float = 0.0
    logit_cap: float = 0.0
    embedding_multiplier: float = 1.0
    output_multiplier: float = 1.0
    num_experts: int = 0
    experts_per_token: int = 0
    expert_width: int = 0
    renormalized: bool = False
    dense_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in ("int", "float") and not (value >= 0 if field.default == 0 else value > 0):
                allowed = "positive or 0" if field.default == 0 else "positive"
                raise ValueError(f"TransformerConfig.{field.name} must be {allowed}, got {value!r}.")
            if (
                field.name.endswith("_layers")
                and isinstance(value, tuple)
                and not all(0 <= i < self.num_layers for i in value)
            ):
                raise ValueError(f"{field.name} must be among the {self.num_layers} layers, got {value!r}.")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads}).")
        if self.rope_fraction > 1:
            raise ValueError(f"rope_fraction must be at most 1 (all of a head's width), got {self.rope_fraction!r}.")
        if self.rotated_width % 2 and not self.learned_positions:
            raise ValueError(f"head_dim must be even for rotary embeddings, got {self.rotated_width}.")
        if self.activation not in ("silu", "gelu", "gelu_tanh"):
            raise ValueError(f'activation must be "silu", "gelu" or "gelu_tanh", got {self.activation!r}.')
        if bool(self.window) != bool(self.local_layers):
            raise ValueError(f"A window ({self.window}) needs local_layers ({self.local_layers}), and they need it.")
        if self.num_experts and not (1 <= self.experts_per_token <= self.num_experts and self.expert_width):
            raise ValueError(
                f"{self.num_experts} experts need an expert_width and 1 to {self.num_experts} experts_per_token; "
                f"got {self.expert_width} and {self.experts_per_token}."
            )
        if self.num_experts and (self.mlp_bias or not self.gated or len(set(self.dense_layers)) == self.num_layers):
            raise ValueError("Experts are gated MLPs without biases, in one layer at least.")

    @property
    def rotated_width(self) -> int:
        """How many features of a head are rotated."""
        return int(self.head_dim * self.rope_fraction)

    @property
    def scale(self) -> float:
        """What scores are multiplied by."""
        return self.attention_scale or self.head_dim**-0.5

    def has_experts(self, layer: int) -> bool:
        return bool(self.num_experts) and layer not in self.dense_layers


@dataclasses.dataclass(frozen=True)
class Model:
    """A policy to start from: its shape, its tokenizer, and where its weights come from.

    It is small and picklable: the weights are read by the process that needs them.

    Attributes:
      name: for people, e.g. the file it comes from.
      config: the shape.
      tokenizer: text to tokens and back.
      load: (seed, shardings=None) -> float32 parameters (a file's, or random ones), on the devices of `shardings`
        (`policy.sharding.shardings`), where they are given.
    """

    name: str
    config: TransformerConfig
    tokenizer: Tokenizer
    load: Callable[..., Params]

    def __post_init__(self) -> None:
        if self.tokenizer.vocab_size > self.config.vocab_size:
            raise ValueError(
                f"The tokenizer of {self.name} has {self.tokenizer.vocab_size} tokens but the model's vocabulary "
                f"has {self.config.vocab_size}: take the tokenizer that belongs to the weights."
            )
