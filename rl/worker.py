"""The rollout worker: problems in, completions out. It fills its engine with all the groups that it is asked for."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import threading
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from policy import Completion, Engine, Model, SamplingOptions, Versioned, prompt_tokens
from rl.cluster import Later
from rl.types import Draw
from verifiers import Problem

# (problem, tokens int32 [T] after the prompt, mask bool [T]: True where the policy wrote) -> tokens, None to stop.
Environment = Callable[[Problem, np.ndarray, np.ndarray], Sequence[int] | None]
_Done = dict[Hashable, list[Completion] | Exception]

# Of parameters, prompts and logits, and of the device.
_FAILURES = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


@dataclasses.dataclass(frozen=True, slots=True)
class _Request:
    """A group that waits for the engine to hold its parameters."""

    name: Hashable
    params: Versioned
    draw: Draw
    problem: Problem
    prompt: list[int]


class RolloutWorker:
    """Holds an engine. Stateless to its callers: another worker gives the same completions, bit for bit.

    Calls may come from many threads. One of them at a time drives the engine, for all.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int,
        slots: int,
        prompt_columns: int,
        max_tokens: int,
        dtype: str | None = None,
        environment: Environment | None = None,
        max_turns: int = 8,
        reply_seconds: float = math.inf,
    ):
        """
        Args:
          model: its tokenizer turns prompts into tokens; its weights are not read.
          seed: of all samples.
          slots: rows that the engine decodes at once.
          prompt_columns: the longest prompt, in tokens.
          max_tokens: the longest completion.
          dtype: of matrix products; default: what the device is fast at.
          environment: answers the policy's turns.
          max_turns: of the policy.
          reply_seconds: that the environment may take for a reply.
        """
        self._tokenizer = model.tokenizer
        self._engine = Engine(
            model, seed=seed, slots=slots, prompt_columns=prompt_columns, max_tokens=max_tokens, dtype=dtype
        )
        self._environment, self._max_turns, self._reply_seconds = environment, max_turns, reply_seconds
        self._names = itertools.count()
        self._changed = threading.Condition()  # Guards what follows; the engine belongs to whoever drives.
        self._waiting: list[_Request] = []
        self._done: _Done = {}
        self._driven = False
        self._begun: set[Hashable] = set()  # What the engine holds; like the engine, of whoever drives.
        self._loaded: int | None = None  # The version that the engine can go on with.

    def generate(self, draw: Draw, problem: Problem, params: Versioned) -> Later:
        """Begins to sample a group.

        Args:
          draw: how many, how, and with which randomness.
          problem: what to answer.
          params: what to sample from.

        Returns:
          What finishes it: completions [G], in the order of their samples. It raises what keeps this group from them:
          a prompt that is refused, parameters that cannot be loaded, logits that are not finite.
        """
        prompt = prompt_tokens(self._tokenizer, problem.prompt)
        with self._changed:
            name = (next(self._names), problem.id)  # The id is for messages.
            self._waiting.append(_Request(name, params, draw, problem, prompt))
        return Later(lambda: self._finish(name))

    def _finish(self, name: Hashable) -> list[Completion]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: name in self._done or not self._driven)
                if name in self._done:
                    found = self._done.pop(name)
                    if isinstance(found, Exception):
                        raise found
                    return found
                self._driven = True
                requests = self._admissible()
            done: _Done = {}
            try:
                self._drive(requests, done)
            finally:
                with self._changed:
                    self._driven = False
                    self._waiting[:0] = requests  # Where it was interrupted.
                    self._done.update(done)
                    self._changed.notify_all()

    def _admissible(self) -> list[_Request]:
        """Takes from those that wait the groups that may begin now.

        The oldest parameters come first. The engine holds one version at a time: where another one is due it
        runs empty, then changes.
        """
        if not self._waiting:
            return []
        version = min(request.params.version for request in self._waiting)
        if version != self._loaded and self._begun:
            return []
        taken = [request for request in self._waiting if request.params.version == version]
        self._waiting = [request for request in self._waiting if request.params.version != version]
        return taken

    def _drive(self, requests: list[_Request], done: _Done) -> None:
        """Begins the requests, which are taken off the list one by one, and goes on with all that have begun.

        Args:
          done: gets what is finished, and the error of each group that fails: whoever drives is not to suffer from
            another's.
        """
        try:
            while requests:
                request = requests.pop(0)
                self._begun.add(request.name)
                try:
                    self._begin(request)
                except _FAILURES as error:
                    done[request.name] = error
                    self._begun.remove(request.name)
            if self._begun:  # What a step that raised had finished belongs to nobody any more.
                done.update((name, found) for name, found in self._engine.step() if name in self._begun)
                self._begun -= done.keys()
        except _FAILURES as error:
            self._lose(error, done)
        except Warning:  # That is to be an error: the engine is in order.
            raise
        except BaseException:
            self._lose(RuntimeError("Sampling was interrupted: generate this group again."), done)
            raise

    def _begin(self, request: _Request) -> None:
        if self._loaded != request.params.version:
            self._loaded = None
            self._engine.load(request.params)
            self._loaded = request.params.version
        draw = request.draw
        self._engine.submit(
            request.name,
            request.prompt,
            samples=draw.samples,
            options=SamplingOptions(temperature=draw.temperature),
            stream=draw.stream,
            index=draw.index,
            environment=self._environment and functools.partial(self._environment, request.problem),
            max_turns=self._max_turns,
            reply_seconds=self._reply_seconds,
        )

    def _lose(self, error: Exception, done: _Done) -> None:
        """After a step that raised: all that has begun gets its error, and the engine parameters before it goes on."""
        for name in self._begun:
            self._engine.cancel(name)
            done[name] = error
        self._begun.clear()
        self._loaded = None
