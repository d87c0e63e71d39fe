"""What a request to the engine may ask for, and where its text ends."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import numbers
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from policy.sampling import Law
from policy.tokenizer import Tokenizer

# (tokens int32 [T] after the prompt, mask bool [T]: True where the policy wrote) -> tokens to append, None to stop.
Reply = Callable[[np.ndarray, np.ndarray], Sequence[int] | None]


class Written(NamedTuple):
    """A token of a completion, told as it comes."""

    sample: int  # Which completion of the request.
    token: int
    mask: bool  # Whether the policy wrote it.
    logprob: float  # Under the law that was sampled; 0 where mask is False.


_SLACK = 8  # Tokens before those that may hold a stop string: a decoder treats the first ones of a text differently.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How the completions of one prompt are sampled, and where they end. Checked when it is made.

    Sequences, arrays too, become tuples.

    Attributes:
      temperature: 0 is greedy.
      top_k: keep the k most likely tokens; 0: all.
      top_p: keep the most likely tokens that together have this mass; 1: all.
      min_p: keep tokens at least this likely, relative to the likeliest; 0: all.
      max_tokens: the longest completion, tools' tokens included; None: the engine's.
      stop_tokens: end a turn, besides the tokenizer's own end tokens.
      stop_strings: end a turn where its text holds one, also if it spans tokens. The completion's text ends before
        it; its tokens are kept.
      banned: tokens that are never sampled.
      forced: the first tokens of the policy's first turn, in place of sampled ones; their logprob under the law is 0.
        Those that are left when the turn ends are dropped.
      seed: of this request's samples, uint32; None: the engine's.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    max_tokens: int | None = None
    stop_tokens: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    banned: tuple[int, ...] = ()
    forced: tuple[int, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("stop_tokens", "banned", "forced", "stop_strings"):
            object.__setattr__(self, name, _as_tuple(name, getattr(self, name)))
        for name in ("stop_tokens", "banned", "forced"):
            if wrong := [t for t in getattr(self, name) if not is_whole(t)]:
                raise ValueError(f"{name} must be a tuple of tokens (integers), got {wrong[:5]} in it.")
            object.__setattr__(self, name, tuple(int(t) for t in getattr(self, name)))
        for name in ("temperature", "top_p", "min_p"):
            if not isinstance(value := getattr(self, name), numbers.Real):
                raise ValueError(f"{name} must be a number, got {value!r}.")
        t = self.temperature
        if not (t == 0 or 1e-30 <= t <= 1e30):
            raise ValueError(f"temperature must be finite and >= 0 (0 is greedy, else 1e-30 to 1e30), got {t!r}.")
        for name in ("top_k", "max_tokens", "seed"):
            if not is_whole(value := getattr(self, name)) and (value is not None or name == "top_k"):
                raise ValueError(f"{name} must be an integer, got {value!r}.")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0 (0 keeps all tokens), got {self.top_k!r}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1] (1 keeps all tokens), got {self.top_p!r}.")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must be in [0, 1] (0 keeps all tokens), got {self.min_p!r}.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens!r}.")
        if not all(isinstance(s, str) and s for s in self.stop_strings):
            raise ValueError(f"stop_strings must be a tuple of strings that are not empty, got {self.stop_strings!r}.")
        if wrong := [s for s in self.stop_strings if any("\ud800" <= c <= "\udfff" for c in s)]:
            raise ValueError(f"stop_strings must be text that has an UTF-8 form (no lone surrogates), got {wrong!r}.")
        if both := set(self.banned) & set(self.forced):
            raise ValueError(f"The tokens {sorted(both)} are both banned and forced.")
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in [0, 2**32), got {self.seed!r}.")

    def check(self, vocab_size: int, max_tokens: int) -> None:
        """Whether an engine can serve it.

        Args:
          vocab_size: of the model.
          max_tokens: the longest completion that the engine has room for.

        Raises:
          ValueError: a token is outside the vocabulary, all of them are banned, or there is no room.
        """
        for name in ("stop_tokens", "banned", "forced"):
            if wrong := [t for t in getattr(self, name) if not 0 <= t < vocab_size]:
                raise ValueError(f"{name} has tokens outside the vocabulary of {vocab_size}: {wrong[:5]}.")
        if len(set(self.banned)) == vocab_size:
            raise ValueError("All tokens are banned: at least one must be left to sample.")
        if (self.max_tokens or 0) > max_tokens:
            raise ValueError(
                f"max_tokens is {self.max_tokens}, and this engine has room for {max_tokens}: ask for fewer, or make "
                "an engine with more max_tokens."
            )
        if len(self.forced) > (self.max_tokens or max_tokens):
            raise ValueError(f"{len(self.forced)} forced tokens are more than max_tokens allows.")


def _as_tuple(name: str, value: object) -> tuple[Any, ...]:
    """A copy of a sequence. Sets have no order, and iterators only one reading."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        kind = "strings that are not empty" if name == "stop_strings" else "tokens (integers)"
        raise ValueError(f"{name} must be a tuple of {kind}, got {value!r:.200}.")
    return tuple(value)


def is_whole(value: object) -> bool:
    """Whether it is an integer, of Python or numpy."""
    return isinstance(value, (int, np.integer))


def put_law(law: Law, row: int, options: SamplingOptions, vocab_size: int) -> None:
    """Makes a row of a law, on the host, what the options say; its forced token is the first one."""
    law.temperature[row], law.top_k[row] = options.temperature, min(options.top_k, vocab_size)
    law.top_p[row], law.min_p[row] = options.top_p, options.min_p
    law.forced[row] = options.forced[0] if options.forced else -1
    law.banned[:, row] = False
    law.banned[list(options.banned), row] = True


def ask(environment: Reply, vocab_size: int, tokens: np.ndarray, mask: np.ndarray) -> list[int] | None:
    """What an environment appends.

    Raises:
      ValueError: it is neither None nor tokens. And whatever the environment raises.
    """
    reply = environment(tokens, mask)
    if reply is None:
        return None
    appended = np.asarray(reply)
    if appended.ndim != 1 or appended.dtype.kind not in "iu" or not appended.size:
        raise ValueError(f"An environment must return tokens, one at least, or None; this one returned {reply!r:.200}.")
    if appended.min() < 0 or appended.max() >= vocab_size:
        raise ValueError(f"An environment returned a token outside the vocabulary of {vocab_size}: {reply!r:.200}.")
    return appended.tolist()


def begin(
    environment: Reply, vocab_size: int, tokens: np.ndarray, mask: np.ndarray
) -> concurrent.futures.Future[list[int] | None]:
    """`ask` in a thread of its own, which does not keep the process alive if it never comes back."""
    reply: concurrent.futures.Future[list[int] | None] = concurrent.futures.Future()

    def answer() -> None:
        try:
            reply.set_result(ask(environment, vocab_size, tokens, mask))
        except BaseException as error:  # Of foreign code; the engine reads it.
            reply.set_exception(error)

    try:
        threading.Thread(target=answer, name="environment", daemon=True).start()
    except RuntimeError as error:  # The system has no more threads, and the other rows go on.
        reply.set_exception(error)
    return reply


def told(listener: Callable[[Written], None], written: Written) -> Exception | None:
    """Tells it a token. Returns what it raises: the other rows of the step are not to suffer from it."""
    try:
        listener(written)
    except Exception as error:  # Foreign code.
        return error
    return None


def in_words(error: BaseException) -> str:
    """An error of foreign code, which may fail to say what it is."""
    try:
        return f"{type(error).__name__}: {error}"[:500]
    except Exception:  # Foreign code.
        return type(error).__name__


def stop_at(tokenizer: Tokenizer, turn: Sequence[int], strings: Sequence[str]) -> bool:
    """Whether the last token of a turn completes one of `strings`.

    Only the last tokens are decoded. Nearly every one adds a byte or more; where those that add nothing (special ones,
    padding) leave too little text before the last token's own, more are.
    """
    if not strings:
        return False
    tail = max(len(string.encode()) for string in strings) + _SLACK
    enough = max(map(len, strings)) + _SLACK // 2 + len(tokenizer.decode(turn[-1:]))
    text = tokenizer.decode(turn[-tail:])
    while len(text) < enough and tail < len(turn):
        tail *= 2
        text = tokenizer.decode(turn[-tail:])
    return any(string in text for string in strings)


def cut_at(text: str, strings: Sequence[str]) -> str:
    """`text` up to the first of `strings`."""
    places = [place for place in map(text.find, strings) if place >= 0]
    return text[: min(places)] if places else text
