"""The engine: samples many completions of many prompts at once, in blocks of one shape.

A fixed number of slots decodes together; a slot that finishes is refilled at once. A prompt is computed once for all
its samples. What a row samples depends on (seed, stream, index, sample), on its prompt and on the parameters, and on
nothing else: not on its slot, its neighbors or the order of arrival. On one backend that holds bit for bit: rows that
are computed together are always as many, a prompt is computed in chunks of fixed columns, and attention takes the
cache page by page (policy.cache).

Letters: B slots, N prompts of a block, W columns of a chunk, Q columns of a page.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from policy.cache import Cache, empty_cache
from policy.memory import PAGE, PREFIX_BYTES, layout
from policy.pages import PageTable
from policy.prefixes import Prefixes
from policy.programs import STEPS, programs
from policy.requests import Reply, SamplingOptions, Written, begin, cut_at, stop_at
from policy.sampling import Law, Sampled, plain_law
from policy.sizes import multiple
from policy.transformer import fast_dtype, from_host
from policy.types import Completion, Model, Versioned


@dataclasses.dataclass(slots=True, eq=False)
class _Request:
    """A prompt with its samples: waiting, in slots, finished."""

    name: Hashable
    prompt: np.ndarray  # int32 [P]
    options: SamplingOptions
    max_tokens: int
    stream: int
    index: int
    completions: list[Completion | None]
    environment: Reply | None
    reply_seconds: float
    max_turns: int
    on_token: Callable[[Written], None] | None
    started: int = 0
    place: int | None = None  # Its row in the block of prompts.


@dataclasses.dataclass(slots=True, eq=False)
class _Row:
    """What a slot is writing."""

    request: _Request
    sample: int
    tokens: list[int] = dataclasses.field(default_factory=list)
    mask: list[bool] = dataclasses.field(default_factory=list)
    logprobs: list[float] = dataclasses.field(default_factory=list)
    policy_logprobs: list[float] = dataclasses.field(default_factory=list)
    turns: int = 0  # That the policy has ended.
    turn: int = 0  # Where its last one begins.
    pending: collections.deque[int] = dataclasses.field(default_factory=collections.deque)  # To be appended.
    reply: concurrent.futures.Future | None = None  # What the environment will append.
    deadline: float = math.inf  # Of the reply, on the monotonic clock.


Finished = list[tuple[Hashable, list[Completion]]]


class Engine:
    """Holds one version of the parameters, the slots and their cache. Belongs to one thread."""

    def __init__(
        self,
        model: Model,
        *,
        seed: int,
        slots: int,
        prompt_columns: int,
        max_tokens: int,
        dtype: str | None = None,
        prefix_bytes: int = PREFIX_BYTES,
    ):
        """
        Args:
          seed: of all samples, where a request has none of its own.
          slots: rows that decode together, at least; one is two, more are rounded up to a multiple of 8.
          prompt_columns: the longest prompt.
          max_tokens: the longest completion.
          dtype: of the matrix products; default: what the device is fast at.
          prefix_bytes: of the keys and values that are kept of prompts which may begin alike; 0 keeps none.

        Raises:
          ValueError: the context has no room for the prompt and the completion, or a number is out of its range.
        """
        config = model.config
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must be in [0, 2**32), got {seed!r}.")
        if min(slots, prompt_columns, max_tokens) < 1:
            raise ValueError(
                f"slots ({slots}), prompt_columns ({prompt_columns}) and max_tokens ({max_tokens}) must be at least 1."
            )
        if prompt_columns + max_tokens > config.context:
            raise ValueError(
                f"A prompt of {prompt_columns} and a completion of {max_tokens} tokens do not fit the context of "
                f"{config.context} tokens of {model.name}: shorten one of them."
            )
        self._config, self._tokenizer, self._seed = config, model.tokenizer, seed
        self._max_tokens, self._most = max_tokens, min(multiple(prompt_columns, PAGE), config.context - max_tokens)
        self._at = layout(slots=slots, prompt_columns=prompt_columns, max_tokens=max_tokens)
        self._programs = programs(config, dtype or fast_dtype())
        self._prefixes = Prefixes(prefix_bytes, self._at.chunk)
        slots = self._at.slots
        self._empty()
        self._prompts: Cache | None = None  # Of the block.
        self._hidden: jax.Array | None = None  # Of the last token of each prompt of the block, [D, N].
        self._rows: list[_Row | None] = [None] * slots
        self._token = np.zeros(slots, np.int32)
        self._position = np.zeros(slots, np.int32)  # Of the token that is to be decoded.
        self._keys = np.zeros((slots, 2), np.uint32)
        self._law = plain_law(slots, config.vocab_size)
        self._banned = jnp.array(self._law.banned)  # On the device; a copy.
        self._ends = jnp.array(list(self._tokenizer.ends), jnp.int32)
        self._alive: dict[Hashable, _Request] = {}
        self._waiting: collections.deque[_Request] = collections.deque()
        self._params = None
        self.version: int | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being written or waits."""
        return not self._alive

    def load(self, params: Versioned) -> None:
        """Takes parameters, the tree of `transformer.engine_params` on the host.

        Raises:
          RuntimeError: something is being written under other parameters.
        """
        if not self.idle:
            raise RuntimeError("Engine.load: completions are being written; step until the engine is idle.")
        self._params = None  # The old ones go before the new ones come.
        self._params = from_host(params.params)
        self.version = params.version
        self._prefixes.clear()
        if self._pages.count > self._at.slots:
            self._empty()

    def _empty(self) -> None:
        """Makes a cache with a page a slot."""
        self._pages = PageTable(self._at.slots, self._at.pages, PAGE)
        self._cache: Cache = ()  # The old one goes before the new one comes.
        self._cache = empty_cache(self._config, self._at.slots, PAGE)

    def submit(
        self,
        name: Hashable,
        prompt: Sequence[int],
        *,
        samples: int = 1,
        options: SamplingOptions | None = None,
        stream: int = 0,
        index: int = 0,
        environment: Reply | None = None,
        reply_seconds: float = math.inf,
        max_turns: int = 8,
        on_token: Callable[[Written], None] | None = None,
    ) -> None:
        """Asks for `samples` completions of a prompt; `step` returns them under `name`.

        Args:
          name: of the request; no other one that is alive has it.
          prompt: tokens, at least one.
          options: how to sample and where to end.
          stream, index: with the seed and the number of the sample, the random key (uint32).
          environment: asked when a turn of the policy has ended: (tokens, mask) of the completion so far -> tokens to
            append, with which the policy goes on, or None to stop. It runs in a thread of its own, must be
            deterministic, and may be asked twice. What it raises gives finish="error".
          reply_seconds: how long the environment may take for a reply. One that takes longer is left behind, and gives
            finish="error" too; whether that happens depends on the machine's load.
          max_turns: of the policy; one more is finish="turns".
          on_token: told each token as it comes, in the thread of `step`; it may cancel requests.

        Raises:
          ValueError: a prompt that is empty, too long or not of this vocabulary, a name that is taken, or a wrong
            number.
        """
        options = options or SamplingOptions()
        tokens = np.asarray(prompt)
        if name in self._alive:
            raise ValueError(f"A request {name!r} is being written already: give each its own name.")
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise ValueError(f"A prompt must be a sequence of tokens (integers), got {prompt!r:.200}.")
        if not 1 <= len(tokens) <= self._most:
            raise ValueError(f"A prompt must have 1 to {self._most} tokens, got {len(tokens)} (request {name!r}).")
        if tokens.min() < 0 or tokens.max() >= self._config.vocab_size:
            raise ValueError(
                f"Request {name!r} has a token outside the vocabulary of {self._config.vocab_size}: "
                f"{int(tokens.min())}..{int(tokens.max())}."
            )
        for key, value in (("stream", stream), ("index", index)):
            if not 0 <= value < 2**32:
                raise ValueError(f"{key} must be in [0, 2**32), got {value!r} (request {name!r}).")
        if samples < 1 or max_turns < 1:
            raise ValueError(f"samples and max_turns must be at least 1, got {samples} and {max_turns}.")
        if not reply_seconds > 0:
            raise ValueError(f"reply_seconds must be positive (math.inf waits for ever), got {reply_seconds!r}.")
        options.check(self._config.vocab_size, self._max_tokens)
        limit = options.max_tokens or self._max_tokens
        empty: list[Completion | None] = [None] * samples
        tokens = tokens.astype(np.int32)  # A copy: the caller may write on in his.
        request = _Request(
            name, tokens, options, limit, stream, index, empty, environment, reply_seconds, max_turns, on_token
        )  # fmt: skip
        self._alive[name] = request
        self._waiting.append(request)

    def cancel(self, name: Hashable) -> bool:
        """Forgets a request: its slots are free at once and `step` never returns it.

        Returns:
          Whether it was alive; False where it was done already, or never asked for.
        """
        request = self._alive.pop(name, None)
        if request is None:
            return False
        if request.started < len(request.completions):
            self._waiting.remove(request)
        for slot, row in enumerate(self._rows):
            if row is not None and row.request is request:
                self._free(slot)
        return True

    def step(self) -> Finished:
        """Fills free slots and decodes a token in each: several, where nothing waits for a slot or is told of each.

        Where all that is alive waits for its environment, so does this.

        Returns:
          The requests that are now complete, each with its completions in the order of their samples.

        Raises:
          FloatingPointError: the logits are not finite.
        """
        if self.version is None:
            raise RuntimeError("Engine.step: load parameters first.")
        finished = self._resume() + self._fill()
        live = [slot for slot, row in enumerate(self._rows) if row is not None and row.reply is None]
        if live:
            finished += self._decode(live)
        elif waiting := {row.reply: row.deadline for row in self._rows if row is not None and row.reply is not None}:
            left = min(waiting.values()) - time.monotonic()
            limit = min(max(left, 0.0), _LONGEST_WAIT)
            concurrent.futures.wait(waiting, limit, return_when=concurrent.futures.FIRST_COMPLETED)
            finished += self._resume()
        return finished

    def _decode(self, live: list[int]) -> Finished:
        """Decodes as many tokens of the slots `live` as may come before the host has a say."""
        rows, left = [self._row(slot) for slot in live], np.zeros(len(self._rows), np.int32)
        one = (
            self._waiting  # For a slot.
            or any(row is not None and row.reply is not None for row in self._rows)
            or any(row.pending or row.request.on_token is not None for row in rows)
            or (self._law.forced[live] >= 0).any()
        )
        left[live] = 1 if one else [min(row.request.max_tokens - len(row.tokens), STEPS) for row in rows]
        last = self._position + np.maximum(left - 1, 0)
        self._reach({slot: int(last[slot]) for slot, row in enumerate(self._rows) if row is not None})
        steps, sampled, self._cache = self._programs.decode(
            self._params, self._token, self._position, left, self._ends, self._keys, self._device_law(),
            self._pages.arrays(), self._cache,
        )  # fmt: skip
        # Before its inputs change: on a CPU the computation may read them in place.
        steps, sampled = jax.device_get((steps, sampled))
        finished = []
        for i in range(steps):
            going = [slot for slot, row in zip(live, rows, strict=True) if self._rows[slot] is row and not row.reply]
            self._position[going] += 1
            finished += self._write(going, Sampled(*(x[i] for x in sampled)))
        return finished

    def _resume(self) -> Finished:
        """Goes on with the rows whose environment has answered."""
        finished = []
        for slot, row in enumerate(self._rows):
            if row is None or row.reply is None:
                continue
            request, reply = row.request, row.reply
            if reply.done():
                error = reply.exception()
            elif row.deadline <= time.monotonic():
                error = TimeoutError(f"no reply within {request.reply_seconds:g} s")
            else:
                continue
            appended = None if error else reply.result()
            row.reply = None
            if error:
                finished += self._end(slot, "error")
                reason = f"{type(error).__name__}: {error}"[:500]
                warnings.warn(f"The environment of request {request.name!r} failed: {reason}", stacklevel=3)
            elif appended is None:
                finished += self._end(slot, "stop")
            elif row.turns == request.max_turns:
                finished += self._end(slot, "turns")
            elif len(row.tokens) + len(appended) >= request.max_tokens:
                finished += self._end(slot, "length")
            else:
                row.pending.extend(appended)
        return finished

    def _fill(self) -> Finished:
        """Puts waiting samples into free slots, each with its first token."""
        finished = []
        while self._waiting and None in self._rows:
            if self._waiting[0].place is None:
                self._prefill()
            taken: list[int] = []
            for slot in [slot for slot, row in enumerate(self._rows) if row is None]:
                if not self._waiting or self._waiting[0].place is None:
                    break
                request = self._waiting[0]
                self._rows[slot] = _Row(request, request.started)
                request.started += 1
                taken.append(slot)
                if request.started == len(request.completions):
                    self._waiting.popleft()
            finished += self._start(taken)
        return finished

    def _prefill(self) -> None:
        """Computes the next prompts as one block, a chunk of each at a time; equal ones once.

        A prompt whose first chunks are kept begins after them; one that is done computes its last chunk again.
        """
        assert self.version is not None
        n, w = self._at.rows, self._at.chunk
        prompts: dict[bytes, np.ndarray] = {}  # By their places.
        for request in self._waiting:
            name = request.prompt.tobytes()
            if len(prompts) == n and name not in prompts:
                break
            prompts.setdefault(name, request.prompt)
            request.place = list(prompts).index(name)
        if self._prompts is None:
            self._prompts = empty_cache(self._config, n * self._at.chunks, w)
        at, final = np.zeros((2, n), np.int32)  # Chunks.
        for place, prompt in enumerate(prompts.values()):
            known = self._prefixes.find(self.version, prompt)
            for i, chunk in enumerate(known):
                to = np.array([i * n + place], np.int32)
                self._prompts = self._programs.copy(self._prompts, chunk, 1, to, *np.zeros((2, 1), np.int32))
            at[place], final[place] = len(known), (len(prompt) - 1) // w
        for _ in range(int((final - at).max()) + 1):
            tokens, last = np.full((n, w), self._tokenizer.pad, np.int32), np.zeros(n, np.int32)
            for place, prompt in enumerate(prompts.values()):
                chunk = prompt[at[place] * w : (at[place] + 1) * w]
                tokens[place, : len(chunk)], last[place] = chunk, len(chunk) - 1
            self._hidden, self._prompts = self._programs.prefill(self._params, tokens, at * w, last, self._prompts)
            at = np.minimum(at + 1, final)
        for place, prompt in enumerate(prompts.values()):
            self._keep(place, prompt)

    def _keep(self, place: int, prompt: np.ndarray) -> None:
        """Keeps the whole chunks of a prompt of the block."""
        assert self.version is not None
        w = self._at.chunk
        if self._at.chunks == 1 or not self._prefixes.room:  # No prompt goes on after a whole chunk.
            return
        for i in range(len(prompt) // w):
            known = prompt[: (i + 1) * w]
            if not self._prefixes.holds(self.version, known):
                chunk = self._programs.take(self._prompts, i * self._at.rows + place)
                self._prefixes.keep(self.version, known, chunk)

    def _start(self, taken: list[int]) -> Finished:
        n, w = len(self._rows), self._at.chunk
        source = np.zeros(n, np.int32)
        names = np.zeros((4, n), np.uint32)  # seed, stream, index, sample
        copies: list[tuple[int, int, int]] = []  # As `copy_pages` takes them.
        for slot in taken:
            row = self._row(slot)
            request, options = row.request, row.request.options
            assert request.place is not None
            source[slot] = request.place
            seed = self._seed if options.seed is None else options.seed
            names[:, slot] = seed, request.stream, request.index, row.sample
            self._position[slot] = len(request.prompt)
            self._set_law(slot, options)
        keys = np.asarray(self._programs.keys(*names))
        self._keys[taken] = keys[taken]
        self._reach({slot: int(self._position[slot]) - 1 for slot in taken})
        for slot in taken:
            for column in range(0, self._position[slot], PAGE):
                chunk = column // w * self._at.rows + source[slot]
                copies.append((self._pages.page(slot, column), chunk, column % w))
        for some in (copies[i : i + n] for i in range(0, len(copies), n)):
            arrays = np.zeros((3, n), np.int32)
            arrays[:, : len(some)] = np.array(some).T
            self._cache = self._programs.copy(self._cache, self._prompts, len(some), *arrays)
        logits = self._programs.head(self._params, self._hidden, source)
        sampled = self._programs.draw(logits, self._keys, self._position, self._device_law())
        return self._write(taken, jax.device_get(sampled))

    def _reach(self, columns: dict[int, int]) -> None:
        """Gives slots the pages up to a column each."""
        before = self._pages.count
        for slot, column in columns.items():
            self._pages.reach(slot, column)
        if self._pages.count > before:
            cache, self._cache = list(self._cache), ()
            for i in range(len(cache)):  # One after the other, so that only one is there twice.
                k, v = cache[i]
                cache[i] = self._programs.grow(k, self._pages.count), self._programs.grow(v, self._pages.count)
            self._cache = tuple(cache)

    def _set_law(self, slot: int, options: SamplingOptions) -> None:
        law = self._law
        law.temperature[slot], law.top_k[slot] = options.temperature, min(options.top_k, self._config.vocab_size)
        law.top_p[slot], law.min_p[slot] = options.top_p, options.min_p
        law.forced[slot] = options.forced[0] if options.forced else -1
        if options.banned or law.banned[:, slot].any():
            law.banned[:, slot] = False
            law.banned[list(options.banned), slot] = True
            self._banned = jnp.array(law.banned)

    def _device_law(self) -> Law:
        return self._law._replace(banned=self._banned)

    def _write(self, slots: list[int], sampled: Sampled) -> Finished:
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
            if row is None:  # Whoever was told of a token has cancelled the request.
                continue
            if row.pending:  # What was sampled after another's token is not read.
                self._append(slot, row.pending.popleft(), False, 0.0, 0.0)
                if not row.pending:
                    row.turn = len(row.tokens)
                continue
            self._append(slot, int(token[slot]), True, float(logprob[slot]), float(policy_logprob[slot]))
            if self._rows[slot] is row:
                finished += self._after(slot)
        return finished

    def _append(self, slot: int, token: int, mask: bool, logprob: float, policy_logprob: float) -> None:
        row = self._row(slot)
        row.tokens.append(token)
        row.mask.append(mask)
        row.logprobs.append(logprob)
        row.policy_logprobs.append(policy_logprob)
        self._token[slot] = token
        forced = row.request.options.forced
        self._law.forced[slot] = forced[len(row.tokens)] if len(row.tokens) < len(forced) else -1
        if row.request.on_token is not None:
            row.request.on_token(Written(row.sample, token, mask, logprob))

    def _after(self, slot: int) -> Finished:
        """What follows the policy's token: the end of its turn, the end of the completion, or nothing."""
        row = self._row(slot)
        request, options = row.request, row.request.options
        ended = (
            row.tokens[-1] in self._tokenizer.ends
            or row.tokens[-1] in options.stop_tokens
            or stop_at(self._tokenizer, row.tokens[row.turn :], options.stop_strings)
        )
        if ended and request.environment is not None:
            row.turns += 1
            so_far = np.array(row.tokens, np.int32), np.array(row.mask)
            row.reply = begin(request.environment, self._config.vocab_size, *so_far)
            row.deadline = time.monotonic() + request.reply_seconds
            return []
        if ended or len(row.tokens) == request.max_tokens:
            return self._end(slot, "stop" if ended else "length")
        return []

    def _end(self, slot: int, finish: Literal["stop", "length", "turns", "error"]) -> Finished:
        row = self._row(slot)
        request = row.request
        request.completions[row.sample] = self._completion(row, finish)
        self._free(slot)
        done = [completion for completion in request.completions if completion is not None]
        if len(done) < len(request.completions):
            return []
        del self._alive[request.name]
        return [(request.name, done)]

    def _free(self, slot: int) -> None:
        self._rows[slot] = None
        self._position[slot] = 0
        self._pages.free(slot)
        self._set_law(slot, _GREEDY)  # Which costs nothing.

    def _row(self, slot: int) -> _Row:
        row = self._rows[slot]
        assert row is not None
        return row

    def _completion(self, row: _Row, finish: Literal["stop", "length", "turns", "error"]) -> Completion:
        assert self.version is not None
        options, turn = row.request.options, row.tokens[row.turn :]
        spoken = turn[:-1] if turn and turn[-1] in options.stop_tokens else turn
        return Completion(
            prompt=row.request.prompt,
            tokens=np.array(row.tokens, np.int32),
            mask=np.array(row.mask, bool),
            logprobs=np.array(row.logprobs, np.float32),
            policy_logprobs=np.array(row.policy_logprobs, np.float32),
            text=cut_at(self._tokenizer.decode(spoken), options.stop_strings),
            finish=finish,
            version=self.version,
        )


_LONGEST_WAIT = 86_400.0  # Seconds; the system's clock has an end, after which to wait is an error.
_GREEDY = SamplingOptions(temperature=0)
