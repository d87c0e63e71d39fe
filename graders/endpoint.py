"""Asks a model behind an OpenAI-compatible `/chat/completions` endpoint, patiently but not forever."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.utils
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx2

RETRIED = frozenset({408, 409, 425, 429, *range(500, 600)})
MAX_REPLY_BYTES = 1 << 20


class EndpointError(Exception):
    """The endpoint gave no usable reply. Never the policy's fault."""


class _Again(EndpointError):
    """A failure that may pass; `after` is the wait in seconds that the server asks for."""

    def __init__(self, message: str, after: float = 0.0):
        super().__init__(message)
        self.after = after


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model answers, and how long to wait for it. Picklable; holds no connection and no secret.

    Attributes:
      url: the base, to which "/chat/completions" is added, e.g. "http://127.0.0.1:8000/v1".
      model: the name that the endpoint knows.
      key_variable: the environment variable that holds the API key, on the machine that asks. None: no key.
      timeout: seconds that one attempt may be silent.
      deadline: seconds for all attempts and the waits between them. A run asks up to three times (`rl.scorer.Scorer`).
      attempts: at most so many.
      parameters: of sampling, sent as they are.

    Raises:
      ValueError: the URL is no http(s) URL, or carries credentials or a query, or a number is not positive.
    """

    url: str
    model: str
    key_variable: str | None = None
    timeout: float = 30.0
    deadline: float = 120.0
    attempts: int = 5
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"temperature": 0, "max_tokens": 512})

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.username or parts.password:  # It would stand in every repr and log.
            raise ValueError(
                "Endpoint.url must not hold a user or password: put the key into a variable, key_variable=."
            )
        if parts.query or parts.fragment:  # A key often stands there; and the path is added at the end.
            raise ValueError(
                "Endpoint.url must be a base without a query or a fragment; a key belongs in a variable, key_variable=."
            )
        port = parts.netloc.rpartition("]")[2].partition(":")[2]
        sound = self.url.isprintable() and (not port or (port.isdecimal() and int(port) < 65536))
        if parts.scheme not in ("http", "https") or not parts.hostname or not sound:
            raise ValueError(f"Endpoint.url must be like 'http://127.0.0.1:8000/v1', got {self.url!r}.")
        for name in ("timeout", "deadline", "attempts"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Endpoint.{name} must be positive, got {getattr(self, name)!r}.")

    def client(self) -> httpx2.Client:
        """A client to pass to `ask`; close it, or use it in a `with`. May be shared by threads."""
        import httpx2  # Not at the top: most runs ask no model.

        return httpx2.Client(timeout=self.timeout)

    def ask(self, client: httpx2.Client, messages: Sequence[Mapping[str, str]]) -> str:
        """The model's reply. Tries again on 408, 409, 425, 429, 5xx and broken connections, heeding Retry-After.

        Raises:
          EndpointError: no usable reply within the attempts and the deadline.
        """
        end = time.monotonic() + self.deadline
        for attempt in range(1, self.attempts + 1):
            try:
                return self._attempt(client, messages, end)
            except _Again as error:
                wait = max(error.after, random.uniform(0.5, 1) * min(0.5 * 2 ** (attempt - 1), 8.0))
                if attempt == self.attempts or time.monotonic() + wait >= end:
                    raise EndpointError(f"{error} ({attempt} of {self.attempts} attempts)") from None
                time.sleep(wait)
        raise AssertionError("unreachable")

    def _attempt(self, client: httpx2.Client, messages: Sequence[Mapping[str, str]], end: float) -> str:
        import httpx2

        key = self._key()
        # Escaped ASCII, so that a lone surrogate in a policy's text cannot break the request.
        body = json.dumps({"model": self.model, "messages": list(messages), **self.parameters}).encode()
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        url, data = self.url.rstrip("/") + "/chat/completions", bytearray()
        left = max(0.01, min(self.timeout, end - time.monotonic()))
        try:
            with client.stream("POST", url, content=body, headers=headers, timeout=left) as response:
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > MAX_REPLY_BYTES:
                        raise EndpointError(f"{url} replied more than {MAX_REPLY_BYTES} bytes")
                    if time.monotonic() > end:  # The timeout of a client only bounds silence.
                        raise EndpointError(f"{url} did not finish its reply within {self.deadline:g} s")
                status, after = response.status_code, response.headers.get("Retry-After", "")
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _Again(f"{url}: {type(error).__name__}: {error}"[:300]) from None
        text = data.decode(errors="replace")
        if key:  # Whatever is told of the reply must not hold it.
            text = text.replace(key, "[key]")
        if status != 200:
            failure = f"{url} answered {status}: {text[:200]!r}"
            raise _Again(failure, _seconds(after)) if status in RETRIED else EndpointError(failure)
        try:
            choice = json.loads(text)["choices"][0]
            reply, finish = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, RecursionError):
            raise EndpointError(f"{url} replied something else than a chat completion: {text[:200]!r}") from None
        if finish == "length":  # What a judge was about to say is not known; one that still thought has said nothing.
            raise EndpointError(
                f"{url} cut its reply off: raise parameters['max_tokens'], got {self.parameters!r:.100}"
            )
        if not isinstance(reply, str):
            raise EndpointError(f"{url} replied no text: {reply!r:.100}")
        return reply

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key or not key.isascii() or not key.isprintable():  # Such a header would be quoted in an error.
            raise EndpointError(
                f"the environment variable {self.key_variable} holds no API key (it is empty or not ASCII)"
            )
        return key


def _seconds(retry_after: str) -> float:
    """The wait that a Retry-After header asks for: seconds, or a date (RFC 9110, section 10.2.3)."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError, TypeError):
        when = email.utils.parsedate_to_datetime(retry_after)
        return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
    return 0.0
