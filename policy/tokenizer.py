"""Text to tokens and back: the protocol, a byte-level tokenizer, and the tokenizers of pre-trained models."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jinja2
import jinja2.ext
import jinja2.sandbox
import tokenizers

from policy.wording import short


class Tokenizer(Protocol):
    """What the project asks of a tokenizer. Picklable."""

    vocab_size: int
    pad: int  # Fills what is not used; never read.
    ends: tuple[int, ...]  # Tokens that end a completion.

    def encode(self, text: str) -> list[int]:
        """The tokens of a plain text, as the model's own tokenizer makes them.

        A special token written in the text becomes that token, and a beginning token is put first where
        the model's tokenizer puts one.
        """
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
        return bytes(t - 2 for t in tokens if 2 <= t < self.vocab_size).decode(errors="replace")

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        return self.encode("".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant: ")


class PretrainedTokenizer:
    """The tokenizer and chat template that came with a model.

    Args:
      definition: the text of a `tokenizer.json`.
      ends: ids of the tokens that end a completion, besides special["eos_token"].
      template: the chat template (Jinja), None where the model has none.
      special: texts of special tokens by role ("bos_token", "eos_token", "pad_token", …), which templates read.

    Raises:
      ValueError: the definition is not readable, or an id is outside its vocabulary.
    """

    def __init__(
        self,
        definition: str,
        *,
        ends: Sequence[int] = (),
        template: str | None = None,
        special: Mapping[str, str] | None = None,
    ):
        self._tokenizer = parsed(definition)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.definition = definition
        self.template = template
        self.special = dict(special or {})
        self.vocab_size = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        eos, pad = self.special.get("eos_token"), self.special.get("pad_token")
        if not all(isinstance(token, int) and not isinstance(token, bool) for token in ends):
            raise ValueError(f"The end tokens are {short([*ends], 200)}, expected ids (integers).")
        ids: list[int] = [*ends, self.token(eos)] if eos else [*ends]
        self.ends: tuple[int, ...] = tuple(sorted(set(ids)))
        if not self.ends:
            raise ValueError("The tokenizer has no end token: no completion could ever stop.")
        found = self._tokenizer.token_to_id(pad) if pad else None  # Never read, so it needs no token of its own.
        self.pad = self.ends[0] if found is None else found
        for token in self.ends:
            if not 0 <= token < self.vocab_size:
                raise ValueError(f"The end token {token!r} is outside the tokenizer's {self.vocab_size} tokens.")

    def token(self, text: str) -> int:
        """The id of the token spelled `text`.

        Raises:
          ValueError: there is none.
        """
        token = self._tokenizer.token_to_id(text)
        if token is None:
            raise ValueError(f"The tokenizer has no token {text!r}.")
        return token

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(PretrainedTokenizer, ends=self.ends, template=self.template, special=self.special)
        return make, (self.definition,)

    def encode(self, text: str) -> list[int]:
        return self._encode(text, special=True)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        # The template writes the beginning token itself where the model wants one.
        return self._encode(self.render(messages), special=False)

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The conversation as the template writes it, up to where the policy speaks.

        Text in a message that spells a special token becomes that token, as in `transformers`.

        Raises:
          ValueError: there is no template, or it refuses the messages.
        """
        if self.template is None:
            raise ValueError(
                "The model has no chat template, but a prompt is a conversation. Give prompts as plain text, "
                "take an instruction-tuned model, or put a chat_template.jinja beside its tokenizer.json."
            )
        try:
            # Templates test for missing keys, not for None.
            plain = [{key: value for key, value in message.items() if value is not None} for message in messages]
            # Many templates ask whether tools are none, and what is undefined is not none.
            absent = {"tools": None, "documents": None}
            given = {"messages": plain, "add_generation_prompt": True, **absent, **self.special}
            return _compiled(self.template).render(given)
        except (jinja2.TemplateError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            raise ValueError(f"The chat template refuses the messages {short(messages, 200)}: {error}.") from None

    def _encode(self, text: str, special: bool) -> list[int]:
        try:
            return self._tokenizer.encode(text, add_special_tokens=special).ids
        except TypeError:
            raise ValueError(f"Only text can become tokens (no lone surrogates), got {short(text, 200)}.") from None


def parsed(definition: str) -> tokenizers.Tokenizer:
    """What the text of a `tokenizer.json` defines.

    Raises:
      ValueError: it is not readable.
    """
    try:
        return tokenizers.Tokenizer.from_buffer(definition.encode())
    except ValueError as error:
        raise ValueError(f"The tokenizer definition (tokenizer.json) cannot be read: {error}.") from None


def as_pretrained(tokenizer: Tokenizer) -> PretrainedTokenizer:
    """The same tokenizer in the form that can be written as a `tokenizer.json`.

    Raises:
      ValueError: it is neither a `PretrainedTokenizer` nor a `ByteTokenizer`.
    """
    if isinstance(tokenizer, PretrainedTokenizer):
        return tokenizer
    if not isinstance(tokenizer, ByteTokenizer):
        raise ValueError(f"A {type(tokenizer).__name__} cannot be written as a Hugging Face tokenizer.json.")
    # Byte-level BPE spells each byte as one character: printable ones as themselves, the others from U+0100 on.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = {byte: chr(byte) for byte in printable}
    spelled |= {byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in spelled)}
    pad, end = "<|pad|>", "<|end|>"
    vocab = {pad: tokenizer.pad, end: tokenizer.ends[0]} | {spelled[byte]: byte + 2 for byte in range(256)}
    definition = {
        "version": "1.0",
        "added_tokens": [added_token(token, vocab[token], special=True) for token in (pad, end)],
        "pre_tokenizer": byte_level(use_regex=False),
        "decoder": byte_level(use_regex=False),
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }
    template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    special = {"pad_token": pad, "eos_token": end}
    return PretrainedTokenizer(json.dumps(definition), template=template, special=special)


def added_token(text: str, token: int, *, special: bool) -> dict[str, Any]:
    """An entry of "added_tokens" in a `tokenizer.json`: text that is always one token."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token, "content": text, **flags, "special": special}


def byte_level(*, use_regex: bool) -> dict[str, Any]:
    """The byte-level step of a `tokenizer.json`; `use_regex` also splits words as GPT-2 does."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words for training elsewhere; it renders as its content."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    """Chat templates are code from a model's author: they run in Jinja's sandbox."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(template)


def _to_json(value: Any, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    # Jinja's own filter escapes HTML, which models never saw.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)
