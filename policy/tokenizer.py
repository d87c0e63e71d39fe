"""Text to tokens and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Tokenizer(Protocol):
    """What the project asks of a tokenizer. Picklable."""

    vocab_size: int
    pad: int  # Fills what is not used; never read.
    ends: tuple[int, ...]  # Tokens that end a completion.

    def encode(self, text: str) -> list[int]:
        """The tokens of a plain text. Special tokens written in it are text, not control."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, special tokens left out."""
        ...

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of a conversation in the model's own template, up to where the policy speaks."""
        ...


def prompt_tokens(tokenizer: Tokenizer, prompt: str | Sequence[Mapping[str, str]]) -> list[int]:
    """The tokens of a problem's prompt: plain text, or a conversation."""
    return tokenizer.encode(prompt) if isinstance(prompt, str) else tokenizer.chat(prompt)


class ByteTokenizer:
    """One token a byte, for models that start from nothing. 0 pads, 1 ends, byte b is b + 2."""

    pad, ends, vocab_size = 0, (1,), 258

    def encode(self, text: str) -> list[int]:
        return [byte + 2 for byte in text.encode()]

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(t - 2 for t in tokens if t >= 2).decode(errors="replace")

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        return self.encode("".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant: ")
