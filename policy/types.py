"""What a policy is, and what it writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import numpy as np

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
    """The shape of a decoder-only transformer of the Llama family.

    Attributes:
      vocab_size: V, rows of the embedding.
      width: D, of the residual stream.
      num_layers: L.
      num_heads: H, of queries.
      num_kv_heads: K, of keys and values; divides H.
      head_dim: width of a head.
      mlp_width: F, of the gated MLP.
      context: the longest sequence, in tokens.
      rope_theta: base of the rotary frequencies.
      norm_epsilon: added to the mean square in RMSNorm.
      tied_embedding: whether the head is the embedding.
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

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type in ("int", "float") and not getattr(self, field.name) > 0:
                raise ValueError(f"TransformerConfig.{field.name} must be positive, got {getattr(self, field.name)!r}.")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads}).")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary embeddings, got {self.head_dim}.")


@dataclasses.dataclass(frozen=True)
class Model:
    """A policy to start from: its shape, its tokenizer, and where its weights come from.

    It is small and picklable: the weights are read by the process that needs them.

    Attributes:
      name: for people, e.g. the file it comes from.
      config: the shape.
      tokenizer: text to tokens and back.
      load: seed -> float32 parameters (a file's, or random ones).
    """

    name: str
    config: TransformerConfig
    tokenizer: Tokenizer
    load: Callable[[int], Params]

    def __post_init__(self) -> None:
        if self.tokenizer.vocab_size > self.config.vocab_size:
            raise ValueError(
                f"The tokenizer of {self.name} has {self.tokenizer.vocab_size} tokens but the model's vocabulary "
                f"has {self.config.vocab_size}: take the tokenizer that belongs to the weights."
            )
