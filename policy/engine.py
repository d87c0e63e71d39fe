"""The engine: samples many completions of many prompts at once, in blocks of one shape.

A fixed number of slots decodes together, one token a step; a slot that finishes is refilled at once. A prompt is
computed once for all its samples. What a row samples depends on (seed, stream, index, sample), on its prompt and
on the parameters, and on nothing else: not on its slot, its neighbors or the order of arrival. On one backend
that holds bit for bit, because every dispatch has the same shape.

Letters: B slots, N prompts of a prefill block, P its columns, T columns of the cache.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from policy.sampling import Sampled, row_keys, sample, uniforms
from policy.transformer import Cache, fast_dtype, from_host, make_policy
from policy.types import Completion, Model, TransformerConfig, Versioned

PREFILL_ROWS = 8  # N
COLUMNS = 32  # Lengths are multiples of it.
ROWS = 8  # The number of slots, too: the rest of a vector is computed by other instructions, which round otherwise.


class _Block(NamedTuple):
    """A prefilled block of prompts, kept while samples of them wait for a slot."""

    hidden: jax.Array  # [D, N, P]
    cache: Cache


@dataclasses.dataclass(slots=True)
class _Prompt:
    """A prompt with its samples: waiting, in slots, finished."""

    name: Hashable
    tokens: np.ndarray  # int32 [P]
    temperature: float
    stream: int
    index: int
    completions: list[Completion | None]
    started: int = 0
    block: _Block | None = None
    row: int = 0


@dataclasses.dataclass(slots=True)
class _Row:
    """What a slot is writing."""

    prompt: _Prompt
    sample: int
    tokens: list[int]
    logprobs: list[float]
    policy_logprobs: list[float]


class Engine:
    """Holds one version of the parameters, the slots and their cache."""

    def __init__(
        self, model: Model, *, seed: int, slots: int, prompt_columns: int, max_tokens: int, dtype: str | None = None
    ):
        """
        Args:
          seed: of all samples.
          slots: rows that decode together, at least; rounded up to a multiple of 8.
          prompt_columns: the longest prompt.
          max_tokens: the longest completion.
          dtype: of the matrix products; default: what the device is fast at.

        Raises:
          ValueError: the context has no room for the prompt and the completion.
        """
        config = model.config
        if min(slots, prompt_columns, max_tokens) < 1:
            raise ValueError(
                f"slots ({slots}), prompt_columns ({prompt_columns}) and max_tokens ({max_tokens}) must be at least 1."
            )
        if prompt_columns + max_tokens > config.context:
            raise ValueError(
                f"A prompt of {prompt_columns} and a completion of {max_tokens} tokens do not fit the context of "
                f"{config.context} tokens of {model.name}: shorten one of them."
            )
        self._config, self._tokenizer = config, model.tokenizer
        self._max_tokens = max_tokens
        self._p, slots = _round_up(prompt_columns), _round_up(slots, ROWS)
        self._functions = _compile(config, dtype or fast_dtype(), seed)
        columns = _round_up(self._p + max_tokens)
        k, c = config.num_kv_heads, config.head_dim
        self._cache: Cache = tuple(
            (jnp.zeros((slots, k, c, columns)), jnp.zeros((slots, k, columns, c))) for _ in range(config.num_layers)
        )
        self._rows: list[_Row | None] = [None] * slots
        self._token = np.zeros(slots, np.int32)
        self._position = np.zeros(slots, np.int32)  # Of the token that is to be decoded.
        self._temperature = np.zeros(slots, np.float32)
        self._keys = np.zeros((slots, 2), np.uint32)
        self._waiting: collections.deque[_Prompt] = collections.deque()
        self._params = None
        self.version: int | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being written or waits."""
        return not self._waiting and not any(self._rows)

    def load(self, params: Versioned) -> None:
        """Takes parameters, the tree of `transformer.engine_params` on the host.

        Raises:
          RuntimeError: something is being written under other parameters.
        """
        if not self.idle:
            raise RuntimeError("Engine.load: completions are being written; step until the engine is idle.")
        self._params = from_host(params.params)
        self.version = params.version

    def submit(
        self, name: Hashable, prompt: Sequence[int], *, samples: int, temperature: float, stream: int, index: int
    ) -> None:
        """Asks for `samples` completions of a prompt; `step` returns them under `name`.

        Args:
          prompt: tokens, at least one.
          temperature: 0 is greedy.
          stream, index: with the seed and the number of the sample, the random key (uint32).

        Raises:
          ValueError: a prompt that is empty, too long or not of this vocabulary, or a wrong number.
        """
        tokens = np.asarray(prompt, np.int32)
        if not 1 <= len(tokens) <= self._p:
            raise ValueError(f"A prompt must have 1 to {self._p} tokens, got {len(tokens)} (request {name!r}).")
        if tokens.min() < 0 or tokens.max() >= self._config.vocab_size:
            raise ValueError(
                f"Request {name!r} has a token outside the vocabulary of {self._config.vocab_size}: "
                f"{int(tokens.min())}..{int(tokens.max())}."
            )
        if samples < 1 or not 0 <= temperature < float("inf"):
            raise ValueError(f"samples must be >= 1 and temperature finite and >= 0, got {samples} and {temperature}.")
        self._waiting.append(_Prompt(name, tokens, temperature, stream, index, [None] * samples))

    def step(self) -> list[tuple[Hashable, list[Completion]]]:
        """Fills free slots and decodes one token in each.

        Returns:
          The requests that are now complete, each with its completions in the order of their samples.

        Raises:
          FloatingPointError: the logits are not finite.
        """
        if self.version is None:
            raise RuntimeError("Engine.step: load parameters first.")
        finished = self._fill()
        if any(self._rows):
            sampled, self._cache = self._functions.decode(
                self._params, self._cache, self._token, self._position, self._keys, self._temperature
            )
            sampled = jax.device_get(
                sampled
            )  # Before its inputs change: on a CPU the computation may read them in place.
            live = [slot for slot, row in enumerate(self._rows) if row is not None]
            self._position[live] += 1
            finished += self._write(live, sampled)
        return finished

    def _fill(self) -> list[tuple[Hashable, list[Completion]]]:
        """Puts waiting samples into free slots, each with its first token."""
        finished = []
        while self._waiting and None in self._rows:
            if self._waiting[0].block is None:
                self._prefill()
            block = self._waiting[0].block
            assert block is not None
            taken: list[tuple[int, _Prompt]] = []
            for slot in [slot for slot, row in enumerate(self._rows) if row is None]:
                if not self._waiting or self._waiting[0].block is not block:
                    break
                prompt = self._waiting[0]
                self._rows[slot] = _Row(prompt, prompt.started, [], [], [])
                prompt.started += 1
                taken.append((slot, prompt))
                if prompt.started == len(prompt.completions):
                    self._waiting.popleft()
            finished += self._start(block, taken)
        return finished

    def _prefill(self) -> None:
        """Computes the next prompts, as one block."""
        prompts = [p for p in self._waiting if p.block is None][:PREFILL_ROWS]
        tokens = np.full((PREFILL_ROWS, self._p), self._tokenizer.pad, np.int32)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt.tokens)] = prompt.tokens
        block = _Block(*self._functions.prefill(self._params, tokens))
        for row, prompt in enumerate(prompts):
            prompt.block, prompt.row = block, row

    def _start(self, block: _Block, taken: list[tuple[int, _Prompt]]) -> list[tuple[Hashable, list[Completion]]]:
        slots = np.zeros(len(self._rows), np.int32)
        rows = np.zeros(len(self._rows), np.int32)
        names = np.zeros((3, len(self._rows)), np.uint32)  # stream, index, sample
        for i, (slot, prompt) in enumerate(taken):
            slots[i], rows[i] = slot, prompt.row
            names[:, i] = prompt.stream, prompt.index, self._rows[slot].sample  # type: ignore[union-attr]
        keys = np.asarray(self._functions.keys(*names))
        source, last = np.zeros_like(rows), np.zeros_like(rows)
        for i, (slot, prompt) in enumerate(taken):
            self._keys[slot] = keys[i]
            self._temperature[slot] = prompt.temperature
            self._position[slot] = len(prompt.tokens)
            source[slot], last[slot] = prompt.row, len(prompt.tokens) - 1
        self._cache = self._functions.insert(self._cache, block.cache, slots, rows, len(taken))
        sampled = self._functions.first(
            self._params, block.hidden, source, last, self._keys, self._position, self._temperature
        )
        return self._write([slot for slot, _ in taken], jax.device_get(sampled))

    def _write(self, slots: list[int], sampled: Sampled) -> list[tuple[Hashable, list[Completion]]]:
        """Appends each slot's token; frees the slots that are done."""
        token, logprob, policy_logprob = sampled
        if not np.isfinite(policy_logprob[slots]).all():
            raise FloatingPointError(
                f"The logits of version {self.version} are not finite: the policy has diverged. "
                "Lower the learning rate, or go back to an earlier checkpoint."
            )
        finished = []
        for slot in slots:
            row = self._rows[slot]
            assert row is not None
            row.tokens.append(int(token[slot]))
            row.logprobs.append(float(logprob[slot]))
            row.policy_logprobs.append(float(policy_logprob[slot]))
            self._token[slot] = token[slot]
            stopped = row.tokens[-1] in self._tokenizer.ends
            if stopped or len(row.tokens) == self._max_tokens:
                prompt = row.prompt
                prompt.completions[row.sample] = self._completion(row, stopped)
                self._rows[slot] = None
                self._position[slot] = 0
                done = [c for c in prompt.completions if c is not None]
                if len(done) == len(prompt.completions):
                    finished.append((prompt.name, done))
        return finished

    def _completion(self, row: _Row, stopped: bool) -> Completion:
        assert self.version is not None
        return Completion(
            prompt=row.prompt.tokens,
            tokens=np.asarray(row.tokens, np.int32),
            mask=np.ones(len(row.tokens), bool),
            logprobs=np.asarray(row.logprobs, np.float32),
            policy_logprobs=np.asarray(row.policy_logprobs, np.float32),
            text=self._tokenizer.decode(row.tokens),
            finish="stop" if stopped else "length",
            version=self.version,
        )


class _Functions(NamedTuple):
    keys: jax.stages.Wrapped
    prefill: jax.stages.Wrapped
    insert: jax.stages.Wrapped
    first: jax.stages.Wrapped
    decode: jax.stages.Wrapped


@functools.cache
def _compile(config: TransformerConfig, dtype: str, seed: int) -> _Functions:
    """The jitted functions of an engine; engines of one shape in one process share what was compiled."""
    policy = make_policy(config, dtype)

    def prefill(params, tokens):
        hidden, cache = policy.prefill(params, tokens)
        return hidden.reshape(config.width, *tokens.shape), cache

    def insert(cache, block, slots, rows, n):
        """Copies row rows[i] of the block into slot slots[i], for i < n."""

        def one(i, cache):
            return jax.tree.map(
                lambda to, new: lax.dynamic_update_slice(
                    to, lax.dynamic_slice_in_dim(new, rows[i], 1), (slots[i], 0, 0, 0)
                ),
                cache,
                block,
            )

        return lax.fori_loop(0, n, one, cache)

    def first(params, hidden, source, last, keys, position, temperature):
        """Samples the first token of each slot, after column last[slot] of prompt source[slot]."""
        logits = policy.head(params, hidden[:, source, last])
        return sample(logits, uniforms(keys, position), temperature)

    def decode(params, cache, token, position, keys, temperature):
        logits, cache = policy.decode(params, token, position, cache)
        return sample(logits, uniforms(keys, position + 1), temperature), cache

    return _Functions(
        keys=jax.jit(functools.partial(row_keys, seed)),
        prefill=jax.jit(prefill),
        insert=jax.jit(insert, donate_argnums=0),
        first=jax.jit(first),
        decode=jax.jit(decode, donate_argnums=1),
    )


def _round_up(n: int, multiple: int = COLUMNS) -> int:
    return -(-n // multiple) * multiple
