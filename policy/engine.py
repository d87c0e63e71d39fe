"""The engine: samples many completions of many prompts at once, in banks and blocks of one shape.

Slots decode together, in banks of one size; a slot that finishes is refilled at once. A prompt is computed once for all
its samples. What a row samples depends on (seed, stream, index, sample), on its prompt and on the parameters, in its
last bits on whether its request asks for SEATS samples or more, whose rows read their prompt together, and on
nothing else: not on its slot, its neighbors or the order of arrival. On one backend that holds bit for bit: rows that
are computed together are always as many, a prompt is computed in chunks of fixed columns, and attention takes the
cache page by page (policy.cache).

Letters: B slots of a bank, N prompts of all blocks.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import math
import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from policy.bank import Bank, Block, Crew, Start, first_tokens
from policy.cache import SEATS
from policy.memory import PAGE, PREFIX_BYTES, layout
from policy.prefixes import Prefixes
from policy.programs import FIRST, STEPS, programs
from policy.requests import Reply, SamplingOptions, Written, begin, cut_at, in_words, is_whole, stop_at, told
from policy.sampling import Sampled
from policy.sizes import multiple
from policy.transformer import check_host, fast_dtype, from_host
from policy.types import Completion, Model, Params, Versioned


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
    place: int | None = None  # Of its prompt in the blocks.


@dataclasses.dataclass(slots=True, eq=False)
class _Row:
    """What a slot is writing."""

    request: _Request
    sample: int
    bank: int
    slot: int  # Of the bank.
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
          slots: rows that decode at once, at least; one is two in bfloat16, more are rounded up to a multiple of 8. On
            a CPU multiples of 32 are the fastest.
          prompt_columns: the longest prompt.
          max_tokens: the longest completion.
          dtype: of the matrix products, float32 or bfloat16; default: what the device is fast at.
          prefix_bytes: of the keys and values that are kept of prompts which may begin alike; 0 keeps none.

        Raises:
          ValueError: the context has no room for the prompt and the completion, a number is out of its range, or the
            dtype is another one.
        """
        config, dtype = model.config, fast_dtype() if dtype is None else dtype
        numbers = {"slots": slots, "prompt_columns": prompt_columns, "max_tokens": max_tokens}
        for key, value in (numbers | {"seed": seed, "prefix_bytes": prefix_bytes}).items():
            if not is_whole(value):
                raise ValueError(f"{key} must be an integer, got {value!r}.")
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f'dtype must be "float32", "bfloat16" or None, got {dtype!r}.')
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
        self._config, self._tokenizer, self._seed, self._dtype = config, model.tokenizer, seed, dtype
        self._max_tokens, self._most = max_tokens, min(multiple(prompt_columns, PAGE), config.context - max_tokens)
        self._at = layout(slots=slots, prompt_columns=prompt_columns, max_tokens=max_tokens, dtype=dtype)
        self._programs = programs(config, dtype)
        self._prefixes = Prefixes(prefix_bytes, self._at.chunk)
        self._banks = [Bank(config, self._programs, self._at) for _ in range(self._at.banks)]
        self._blocks: list[Block] = []  # Made when the first prompt comes.
        self._hidden: jax.Array | None = None  # Of the last token of each prompt of the blocks, [D, N].
        self._crew = Crew(max(self._at.banks, self._at.blocks))
        self._rows: list[list[_Row | None]] = [[None] * self._at.width for _ in self._banks]
        self._ends = jnp.array(list(self._tokenizer.ends), jnp.int32)
        self._alive: dict[Hashable, _Request] = {}
        self._waiting: collections.deque[_Request] = collections.deque()
        self._finished: Finished = []  # That `step` has not returned yet.
        self._failures: collections.deque[str] = collections.deque()  # Of foreign code, not told yet.
        self._broken = False  # In the middle of a step, or left there by one that raised: rows may lack a token.
        self._params: Params = {}
        self.version: int | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being written or waits, and `step` has returned all that is finished."""
        return not self._alive and not self._finished

    def load(self, params: Versioned) -> None:
        """Takes parameters, the tree of `transformer.engine_params` on the host.

        After a step that raised, all is made anew.

        Raises:
          RuntimeError: something is being written under other parameters.
          ValueError: the parameters are another model's, or in another dtype.
        """
        if self._alive:
            raise RuntimeError(
                "Engine.load: completions are being written; step until the engine is idle, or cancel them."
            )
        check_host(params.params, self._config, self._dtype)
        self.version, self._params = None, {}  # The old ones go before the new ones come.
        self._params = from_host(params.params)
        self._prefixes.clear()
        if self._broken:  # A thread may compute in its banks still.
            self._waiting.clear()
            self._rows = [[None] * self._at.width for _ in self._banks]
            self._banks = [Bank(self._config, self._programs, self._at) for _ in self._banks]
        for bank in self._banks:  # Also where it did not grow: old parameters may have left what is not finite.
            bank.empty()
        self._blocks = []
        self.version, self._broken = params.version, False

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
          on_token: told each token as it comes, in the thread of `step`; it may cancel requests, and neither submit
            nor step. What it raises gives finish="error".

        Raises:
          ValueError: a prompt that is empty, too long or not of this vocabulary, a name that is taken, a wrong number,
            options that are none, or an environment or a listener that cannot be called.
          RuntimeError: a step is going on, or has raised.
        """
        self._check_whole("submit")
        options = SamplingOptions() if options is None else options
        if not isinstance(options, SamplingOptions):
            raise ValueError(f"options must be SamplingOptions or None, got {options!r:.200} (request {name!r}).")
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
        for key, value in (("environment", environment), ("on_token", on_token)):
            if value is not None and not callable(value):
                raise ValueError(f"{key} must be a function or None, got {value!r} (request {name!r}).")
        for key, value in (("samples", samples), ("max_turns", max_turns), ("stream", stream), ("index", index)):
            if not is_whole(value):
                raise ValueError(f"{key} must be an integer, got {value!r} (request {name!r}).")
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
        for row in self._written():
            if row.request is request:
                self._free(row)
        return True

    def step(self) -> Finished:
        """Fills free slots and decodes a token in each: several, where nothing waits for a slot or is told of each.

        Where all that is alive waits for its environment, so does this.

        Returns:
          The requests that are now complete, each with its completions in the order of their samples.

        Raises:
          FloatingPointError: the logits are not finite. Cancel what is alive, and load other parameters.
          RuntimeError: no parameters are loaded, a listener calls it, or the last step raised, whatever it was: some
            rows may lack a token then, so that none goes on. Cancel what is alive, and load parameters.
        """
        if self.version is None:
            raise RuntimeError("Engine.step: load parameters first.")
        self._check_whole("step")
        self._broken = True
        self._resume()
        self._fill()
        self._gather()
        rows = self._written()
        if live := [row for row in rows if row.reply is None]:
            self._decode(live)
        elif waiting := {row.reply: row.deadline for row in rows if row.reply is not None}:
            left = min(waiting.values()) - time.monotonic()
            limit = min(max(left, 0.0), _LONGEST_WAIT)
            concurrent.futures.wait(waiting, limit, return_when=concurrent.futures.FIRST_COMPLETED)
            self._resume()
        self._broken = False
        while self._failures:  # Now that all rows are in order: a warning may be an error.
            warnings.warn(self._failures.popleft(), stacklevel=2)
        finished, self._finished = self._finished, []
        return finished

    def _check_whole(self, method: str) -> None:
        if self._broken:
            raise RuntimeError(
                f"Engine.{method}: a step is going on (a listener may only cancel), or one has raised, which leaves no "
                "completion whole: cancel what is alive, and load parameters."
            )

    def _written(self) -> list[_Row]:
        """What the slots hold."""
        return [row for rows in self._rows for row in rows if row is not None]

    def _gather(self) -> None:
        """Where nothing waits for a slot: moves what is written into fewer banks, and gives back pages.

        Bits do not depend on it. A step reads all pages of a bank, in use or not.
        """
        rows = self._written()
        if self._waiting or max((row.request.max_tokens - len(row.tokens) for row in rows), default=0) < WORTH_MOVING:
            return
        banks = sorted((i for i in range(len(self._banks)) if any(self._rows[i])), key=lambda i: len(self._used(i)))
        if len(banks) > 1 and 4 * len(rows) <= 3 * self._at.width * (len(banks) - 1):
            giver, taker = banks[0], banks[1]
            free = [slot for slot, row in enumerate(self._rows[taker]) if row is None]
            given = self._used(giver)
            if len(given) <= len(free):
                slots = dict(zip(given, free, strict=False))
                self._banks[taker].take_over(self._banks[giver], slots)
                for row in [row for row in rows if row.bank == giver]:
                    self._rows[giver][row.slot] = None
                    row.bank, row.slot = taker, slots[row.slot]
                    self._rows[taker][row.slot] = row
        for i in range(len(self._banks)):
            if self._used(i):
                self._banks[i].shrink()

    def _used(self, bank: int) -> list[int]:
        """The slots of a bank that hold a completion."""
        return [slot for slot, row in enumerate(self._rows[bank]) if row is not None]

    def _decode(self, live: list[_Row]) -> None:
        """Decodes as many tokens of the rows `live` as may come before the host has a say."""
        one = (
            self._waiting  # For a slot.
            or len(live) < len(self._written())  # An environment may answer.
            or any(row.pending or row.request.on_token is not None for row in live)
            or any((bank.law.forced >= 0).any() for bank in self._banks)
        )
        left = np.zeros((len(self._banks), self._at.width), np.int32)
        for row in live:
            left[row.bank, row.slot] = 1 if one else min(row.request.max_tokens - len(row.tokens), STEPS)
        at_work = [i for i in range(len(self._banks)) if left[i].any()]

        def decode(i: int) -> tuple[int, Sampled]:
            return self._banks[i].decode(self._params, left[i], self._used(i), self._ends)

        for i, (steps, sampled) in zip(
            at_work, self._crew.all([functools.partial(decode, i) for i in at_work]), strict=True
        ):
            rows = [row for row in live if row.bank == i]
            for step in range(steps):
                going = [row for row in rows if self._holds(row) and not row.reply]
                slots = [row.slot for row in going]
                self._banks[i].position[slots] += 1
                self._write(going, Sampled(*(x[step, slots] for x in sampled)))

    def _resume(self) -> None:
        """Goes on with the rows whose environment has answered."""
        for row in self._written():
            if row.reply is None:
                continue
            request, reply = row.request, row.reply
            if reply.done():
                error = reply.exception()
            elif row.deadline <= time.monotonic():
                error = TimeoutError(f"no reply within {request.reply_seconds:g} s")
            else:
                continue
            appended = None if error is not None else reply.result()
            row.reply = None
            if error is not None:
                self._failures.append(f"The environment of request {request.name!r} failed: {in_words(error)}")
                self._end(row, "error")
            elif appended is None:
                self._end(row, "stop")
            elif row.turns == request.max_turns:
                self._end(row, "turns")
            elif len(row.tokens) + len(appended) >= request.max_tokens:
                self._end(row, "length")
            else:
                row.pending.extend(appended)

    def _fill(self) -> None:
        """Puts waiting samples into free slots, each with its first token."""
        while self._waiting and any(None in rows for rows in self._rows):
            if self._waiting[0].place is None:
                self._prefill()
            taken: list[_Row] = []
            for bank, slot in [
                (i, j) for i, rows in enumerate(self._rows) for j, row in enumerate(rows) if row is None
            ]:
                if not self._waiting or self._waiting[0].place is None:
                    break
                request = self._waiting[0]
                row = self._rows[bank][slot] = _Row(request, request.started, bank, slot)
                request.started += 1
                taken.append(row)
                if request.started == len(request.completions):
                    self._waiting.popleft()
            self._start(taken)

    def _prefill(self) -> None:
        """Computes the next prompts, as many as the blocks hold; equal ones once.

        A prompt whose first chunks are kept begins after them.
        """
        assert self.version is not None
        n = self._at.blocks * self._at.rows
        places: dict[bytes, int] = {}  # Of the next prompts: the blocks take turns.
        requests: list[_Request] = []
        prompts: list[list[np.ndarray]] = [[] for _ in range(self._at.blocks)]
        for request in self._waiting:
            name = request.prompt.tobytes()
            if len(places) == n and name not in places:
                break
            if name not in places:
                block = prompts[len(places) % self._at.blocks]
                places[name] = len(places) % self._at.blocks * self._at.rows + len(block)
                block.append(request.prompt)
            requests.append(request)
        if not self._blocks:
            pad = self._tokenizer.pad
            self._blocks = [Block(self._config, self._programs, self._at, pad) for _ in range(self._at.blocks)]
        calls = []
        for block, some in zip(self._blocks, prompts, strict=True):
            known = [self._prefixes.find(self.version, prompt) for prompt in some]
            calls += [functools.partial(block.compute, self._params, some, known)] if some else []
        hidden = self._crew.all(calls)
        self._hidden = jnp.concatenate(hidden + hidden[:1] * (self._at.blocks - len(hidden)), axis=1)
        for request in requests:
            request.place = places[request.prompt.tobytes()]
        for block, some in zip(self._blocks, prompts, strict=True):
            for row, prompt in enumerate(some):
                self._keep(block, row, prompt)

    def _keep(self, block: Block, row: int, prompt: np.ndarray) -> None:
        """Keeps the whole chunks of a prompt."""
        assert self.version is not None
        w = self._at.chunk
        if self._at.chunks == 1 or not self._prefixes.room:  # No prompt goes on after a whole chunk.
            return
        for i in range(len(prompt) // w):
            known = prompt[: (i + 1) * w]
            if not self._prefixes.holds(self.version, known):
                self._prefixes.keep(self.version, known, block.chunk(row, i))

    def _start(self, taken: list[_Row]) -> None:
        starts: list[Start] = []
        for row in taken:
            request, options = row.request, row.request.options
            assert request.place is not None
            seed = self._seed if options.seed is None else options.seed
            names = seed, request.stream, request.index, row.sample
            shares = len(request.completions) >= SEATS  # The request decides, so that bits depend on nothing else.
            starts.append(Start(row.slot, request.place, request.prompt, shares, names, options))
        groups = [range(i, min(i + FIRST, len(taken))) for i in range(0, len(taken), FIRST)]

        def first(group: range) -> tuple[np.ndarray, Sampled]:
            assert self._hidden is not None
            mine = [starts[i] for i in group]
            return first_tokens(self._config, self._programs, self._params, self._hidden, mine)

        firsts = self._crew.all([functools.partial(first, group) for group in groups])
        keys = np.concatenate([keys for keys, _ in firsts])

        def start(bank: int) -> None:
            mine = [i for i, row in enumerate(taken) if row.bank == bank]
            self._banks[bank].start([starts[i] for i in mine], keys[mine], self._blocks)

        self._crew.all([functools.partial(start, bank) for bank in {row.bank for row in taken}])
        for group, (_, sampled) in zip(groups, firsts, strict=True):
            self._write([taken[i] for i in group], Sampled(*(x[: len(group)] for x in sampled)))

    def _write(self, rows: list[_Row], sampled: Sampled) -> None:
        """Appends the token of each row; frees the slots that are done."""
        if not np.isfinite(sampled.policy_logprob).all():
            raise FloatingPointError(
                f"The logits of version {self.version} are not finite: the policy has diverged. "
                "Lower the learning rate, or go back to an earlier checkpoint."
            )
        for row, token, logprob, policy_logprob in zip(rows, *(x.tolist() for x in sampled), strict=True):
            if not self._holds(row):  # Whoever was told of a token has cancelled the request.
                continue
            if row.pending:  # What was sampled after another's token is not read.
                self._append(row, row.pending.popleft(), False, 0.0, 0.0)
                if not row.pending:
                    row.turn = len(row.tokens)
                continue
            self._append(row, token, True, logprob, policy_logprob)
            if self._holds(row):
                self._after(row)

    def _append(self, row: _Row, token: int, mask: bool, logprob: float, policy_logprob: float) -> None:
        row.tokens.append(token)
        row.mask.append(mask)
        row.logprobs.append(logprob)
        row.policy_logprobs.append(policy_logprob)
        bank, forced = self._banks[row.bank], row.request.options.forced
        bank.token[row.slot] = token
        n = len(row.tokens)
        bank.law.forced[row.slot] = forced[n] if n < len(forced) and not row.turns else -1
        request = row.request
        if request.on_token is None:
            return
        error = told(request.on_token, Written(row.sample, token, mask, logprob))
        if error is not None and self._holds(row):
            self._failures.append(f"The listener of request {request.name!r} failed: {in_words(error)}")
            self._end(row, "error")

    def _after(self, row: _Row) -> None:
        """What follows the policy's token: the end of its turn, the end of the completion, or nothing."""
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
        elif ended or len(row.tokens) == request.max_tokens:
            self._end(row, "stop" if ended else "length")

    def _end(self, row: _Row, finish: Literal["stop", "length", "turns", "error"]) -> None:
        request = row.request
        request.completions[row.sample] = self._completion(row, finish)
        self._free(row)
        done = [completion for completion in request.completions if completion is not None]
        if len(done) == len(request.completions):
            del self._alive[request.name]
            self._finished.append((request.name, done))

    def _free(self, row: _Row) -> None:
        self._rows[row.bank][row.slot] = None
        self._banks[row.bank].free(row.slot)

    def _holds(self, row: _Row) -> bool:
        """Whether the row is in its slot still."""
        return self._rows[row.bank][row.slot] is row

    def _completion(self, row: _Row, finish: Literal["stop", "length", "turns", "error"]) -> Completion:
        assert self.version is not None
        options, written = row.request.options, zip(row.tokens[row.turn :], row.mask[row.turn :], strict=True)
        turn = [token for token, mask in written if mask]  # Another's tokens may have begun to come.
        # The token of the end is in no text, also where the tokenizer does not count it as special.
        ended = turn and (turn[-1] in options.stop_tokens or turn[-1] in self._tokenizer.ends)
        spoken = turn[:-1] if ended else turn
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


WORTH_MOVING = 32  # Tokens that a completion may still write, at least, where pages are moved for it.
_LONGEST_WAIT = 86_400.0  # Seconds; the system's clock has an end, after which to wait is an error.
