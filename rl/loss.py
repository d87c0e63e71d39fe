"""The policy-gradient objective, over the tokens of one micro-batch. Pure functions.

Letters: N columns of the rows, flat; D width; V vocabulary.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from policy.attention import capped
from policy.products import Matrix, dot
from rl.types import Array

CHUNK = 256  # Columns whose logits are computed at once.


class TokenLogprobs(NamedTuple):
    """Facts about the tokens of a micro-batch, float32 [N] each, 0 where mask is False."""

    logprobs: jax.Array  # log softmax(logits / temperature)[token]. Has a gradient; the others have none.
    policy_logprobs: jax.Array  # log softmax(logits)[token].
    entropy: jax.Array  # Of softmax(logits / temperature), in nats.


def token_logprobs(
    table: jax.Array | Matrix,
    hidden: jax.Array,
    tokens: Array,
    source: Array,
    mask: Array,
    *,
    temperature: float,
    cap: float = 0.0,
) -> TokenLogprobs:
    """Log-probabilities of the tokens that mask selects.

    The one place where a token meets the hidden state that predicts it: position t of every array speaks about
    token t, whose distribution is that of column source[t]. Only masked columns are computed, by chunks.

    Args:
      table: the head, float32 [V, D].
      hidden: [D, N].
      tokens, source: int32 [N].
      mask: bool [N].
      temperature: that the tokens were sampled with.
      cap: of the logits (`TransformerConfig.logit_cap`).
    """
    pad = -mask.shape[0] % CHUNK
    order = jnp.argsort(~mask, stable=True)  # Trained columns first, so that the last chunks are empty.
    chosen = jnp.pad(order, (0, pad))
    trained = jnp.pad(mask[order], (0, pad))
    facts: TokenLogprobs = _chunked(temperature, cap, table, hidden[:, source[chosen]], tokens[chosen], trained)
    back = jnp.argsort(order)
    return TokenLogprobs(*(fact[back] for fact in facts))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked(temperature, cap, table, hidden, tokens, mask):
    """As `token_logprobs`, of a multiple of CHUNK tokens, those to compute first; `hidden` is that of their sources."""
    return _chunked_forward(temperature, cap, table, hidden, tokens, mask)[0]


def _chunks(x: jax.Array) -> jax.Array:  # [.., N] -> [N / CHUNK, .., CHUNK]
    return jnp.moveaxis(x.reshape(*x.shape[:-1], -1, CHUNK), -2, 0)


def _flat(x: jax.Array) -> jax.Array:  # The inverse.
    return jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1)


def _chunked_forward(temperature, cap, table, hidden, tokens, mask):
    w = table.w if isinstance(table, Matrix) else table

    def compute(hidden, tokens, mask):
        logits = capped(dot(w, hidden.astype(w.dtype)), cap) / temperature  # [V, CHUNK]
        logits -= logits.max(axis=0)
        e = jnp.exp(logits)
        mass = e.sum(axis=0)
        p = e / mass
        chosen = jnp.take_along_axis(logits, tokens[None], axis=0)[0]
        logprob = chosen - jnp.log(mass)
        entropy = jnp.log(mass) - (p * logits).sum(axis=0)  # -sum p log p
        policy = chosen * temperature - jnp.log(jnp.exp(logits * temperature).sum(axis=0))
        facts = (jnp.where(mask, fact, 0.0) for fact in (logprob, logprob if temperature == 1 else policy, entropy))
        return TokenLogprobs(*facts), p.astype(w.dtype)

    def skip(hidden, tokens, mask):
        zeros = jnp.zeros(CHUNK)
        return TokenLogprobs(zeros, zeros, zeros), jnp.zeros((w.shape[0], CHUNK), w.dtype)

    def chunk(_, inputs):
        return None, lax.cond(inputs[2].any(), compute, skip, *inputs)

    inputs = (_chunks(hidden), _chunks(tokens), _chunks(mask))
    _, (facts, p) = lax.scan(chunk, None, inputs)
    return TokenLogprobs(*(_flat(fact) for fact in facts)), (table, inputs, p)


def _chunked_backward(temperature, cap, saved, gradients):
    table, (hidden, tokens, mask), p = saved
    w, wt = (table.w, table.wt) if isinstance(table, Matrix) else (table, None)

    def compute(dw, hidden, tokens, p, g):
        hit = lax.broadcasted_iota(jnp.int32, p.shape, 0) == tokens
        dlogits = (hit - p.astype(jnp.float32)) * g  # [V, CHUNK]
        if cap:  # Its slope; the logits are computed again rather than kept.
            dlogits *= 1 - jnp.square(jnp.tanh(dot(w, hidden.astype(w.dtype)) / cap))
        dlogits = dlogits.astype(w.dtype)
        dh = dot(w, dlogits, (0, 0)) if wt is None else dot(wt, dlogits)
        return dw + dot(dlogits, hidden.astype(w.dtype), (1, 1)), dh.astype(hidden.dtype)

    def skip(dw, hidden, tokens, p, g):
        return dw, jnp.zeros_like(hidden)

    def chunk(dw, inputs):
        hidden, tokens, mask, p, g = inputs
        g = jnp.where(mask, g, 0.0) / temperature
        return lax.cond(mask.any(), compute, skip, dw, hidden, tokens, p, g)

    inputs = (hidden, tokens, mask, p, _chunks(gradients.logprobs))
    dw, dh = lax.scan(chunk, jnp.zeros(w.shape, jnp.float32), inputs)
    if isinstance(table, Matrix):
        dw = Matrix(dw, jnp.zeros_like(table.w), jnp.zeros_like(table.wt))
    return dw, _flat(dh), None, None


_chunked.defvjp(_chunked_forward, _chunked_backward)


def surrogate(
    logprobs: jax.Array,
    behavior: Array,
    advantages: Array,
    mask: Array,
    count: Array,
    *,
    clip: float,
    reference: Array | None = None,
    kl_coefficient: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """PPO's clipped objective over tokens (Schulman et al., 2017, arXiv:1707.06347, eq. 7).

        L = -1/count sum_t min(r_t A_t, clip(r_t, 1 - eps, 1 + eps) A_t) + beta/count sum_t k3_t,
        r_t = pi(a_t) / mu(a_t)

    The sum runs over all tokens of the update, not over sequences first (DAPO, Yu et al., 2025, arXiv:2503.14476,
    eq. 8). k3 = exp(d) - d - 1 with d = log pi_ref - log pi estimates KL(pi || pi_ref) (GRPO, Shao et al., 2024,
    arXiv:2402.03300, eq. 4).

    Args:
      logprobs: float32 [N], log pi(token), of the law that was sampled.
      behavior: float32 [N], log mu(token).
      advantages: float32 [N].
      mask: bool [N].
      count: float32 [], tokens of the whole update.
      clip: eps.
      reference: float32 [N], log pi_ref(token), or None.
      kl_coefficient: beta.

    Returns:
      The loss, float32 [], and sums over the tokens of this micro-batch, for metrics.
    """
    log_ratio = jnp.where(mask, logprobs - behavior, 0.0)
    ratio = jnp.exp(log_ratio)
    objective = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)
    loss = -jnp.where(mask, objective, 0.0).sum() / count
    clipped = jnp.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip) & mask & (advantages != 0)
    sums = {
        "ratio/clipped": clipped.sum().astype(jnp.float32),
        "kl/behavior": jnp.where(mask, jnp.expm1(log_ratio) - log_ratio, 0.0).sum(),
    }
    if reference is not None:
        d = jnp.where(mask, reference - logprobs, 0.0)
        k3 = jnp.where(mask, jnp.expm1(d) - d, 0.0).sum()
        sums["kl/reference"] = k3
        loss = loss + kl_coefficient * k3 / count
    return loss, sums
