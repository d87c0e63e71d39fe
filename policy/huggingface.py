"""Reads Hugging Face directories: config.json, safetensors, tokenizer.json and their companions."""

from __future__ import annotations

import functools
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenizers import AddedToken

from policy.families import names_in, read_config
from policy.layout import Layout, fit, reader
from policy.safetensors_files import Tensors, read_json
from policy.safetensors_files import open_directory as open_weights
from policy.streaming import Shardings, stream
from policy.tokenizer import PretrainedTokenizer, parsed
from policy.types import Model, Params, TransformerConfig
from policy.wording import short

_BUFFERS = re.compile(r"(rotary_emb\.inv_freq|\.attn\.(bias|masked_bias))$")  # Follow from the config.
_ROLES = ("bos_token", "eos_token")  # That prompts and completions have. Text that names another one stays plain text.
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def open_model(path: pathlib.Path, name: str | None = None) -> Model:
    """A Hugging Face directory as a model, called `name` (default: as the directory). Reads headers, not weights.

    Raises:
      ValueError: something is missing, damaged or not supported.
    """
    described = read_json(path / "config.json")
    if "fingerprints" in described and "architectures" not in described:
        raise ValueError(
            f"{path} is a run, not a model: write its policy as a model's directory (`assay export {path} OUT_DIR`, "
            "--dtype float32 to lose nothing) and take that."
        )
    config = read_config(path / "config.json", described)
    _layout(open_weights(path), config)
    tokenizer = _tokenizer(path, described, config.vocab_size)
    return Model(name or path.name, config, tokenizer, functools.partial(load, path, config))


def load(path: pathlib.Path, config: TransformerConfig, seed: int, shardings: Shardings | None = None) -> Params:
    """The weights of a Hugging Face directory as float32. `seed` is not used: nothing is random."""
    del seed
    weights = open_weights(path)
    tree = _layout(weights, config)
    return stream(tree, reader(tree, weights.read), shardings)


def _layout(weights: Tensors, config: TransformerConfig) -> Layout:
    """Where each parameter is; ValueError where the tensors are not those that `config` needs."""
    found = {name: tensor.shape for name, tensor in weights.tensors.items()}
    names = names_in(config, found)
    # Some files store a tied matrix twice.
    ignored = {"lm_head.weight"} if config.tied_embedding else set()
    ignored |= {name for name in found if _BUFFERS.search(name)}
    tree = fit(weights.path, config, names, found, ignored)
    weights.require(sorted(found.keys() - ignored))
    return tree


def _tokenizer(path: pathlib.Path, described: Mapping[str, Any], vocab_size: int) -> PretrainedTokenizer:
    if not (path / "tokenizer.json").is_file():
        raise ValueError(f"{path} has no tokenizer.json, the one form of tokenizer that is supported.")
    config, generation = (
        read_json(path / name) if (path / name).is_file() else {}
        for name in ("tokenizer_config.json", "generation_config.json")
    )
    special = _special(path, config)
    template = config.get("chat_template")
    if isinstance(template, list):  # Several, by name.
        named = [entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default"]
        template = named[-1].get("template") if named else None
    if template and not isinstance(template, str):
        raise ValueError(f"{path / 'tokenizer_config.json'}: chat_template is {str(template)[:100]}, expected a text.")
    if (path / "chat_template.jinja").is_file():
        template = _read(path / "chat_template.jinja")
    definition = _read(path / "tokenizer.json")
    ends = generation.get("eos_token_id", described.get("eos_token_id"))
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    roles = {role: token.content for role, token in special.roles.items()}
    made = functools.partial(PretrainedTokenizer, ends=ends, template=template, special=roles)
    try:
        tokenizer = made(_completed(definition, special))
        return tokenizer if tokenizer.vocab_size <= vocab_size else made(_shortened(tokenizer, vocab_size))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class _Special(NamedTuple):
    """The special tokens that the files beside a tokenizer.json name."""

    roles: dict[str, AddedToken]
    others: list[AddedToken]
    numbered: dict[int, AddedToken]  # By the id that they should have.
    older: bool  # From files that do not replace what tokenizer.json says of a token.


def _special(path: pathlib.Path, config: Mapping[str, Any]) -> _Special:
    """What tokenizer_config.json says, or it and two older files: `transformers` reads those in the same case."""
    roles, others = _named(path / "tokenizer_config.json", config)
    if "added_tokens_decoder" in config:
        numbered = _numbered(path / "tokenizer_config.json", config["added_tokens_decoder"])
        return _Special(roles, others, numbered, older=False)
    special, added = (
        read_json(path / name) if (path / name).is_file() else {}
        for name in ("special_tokens_map.json", "added_tokens.json")
    )
    more_roles, more_others = _named(path / "special_tokens_map.json", special)
    roles, others = roles | more_roles, others or more_others
    texts = {token.content for token in (*roles.values(), *others)}
    entries = {str(number): {"content": text, "special": text in texts} for text, number in added.items()}
    return _Special(roles, others, _numbered(path / "added_tokens.json", entries), older=True)


def _named(file: pathlib.Path, content: Mapping[str, Any]) -> tuple[dict[str, AddedToken], list[AddedToken]]:
    """The special tokens with a role, and those without one."""
    others = content.get("extra_special_tokens") or content.get("additional_special_tokens") or []
    # add_bos_token and its like are true or false, and no tokens.
    roles = {key: value for key, value in content.items() if key.endswith("_token") and not isinstance(value, bool)}
    if isinstance(others, dict):  # Roles that only this model has.
        roles, others = roles | others, []
    if not isinstance(others, list):
        raise ValueError(f"{file}: the additional special tokens are {short(others)}, expected a list.")
    return (
        {key: _token(file, key, value, special=True) for key, value in roles.items() if value},
        [_token(file, "an additional special token", value, special=True) for value in others],
    )


def _numbered(file: pathlib.Path, entries: Any) -> dict[int, AddedToken]:
    """The tokens of an object from ids to texts, or to objects that hold them."""
    if not isinstance(entries, dict) or not all(re.fullmatch(r"\d{1,9}", number) for number in entries):
        raise ValueError(f"{file}: the added tokens are {short(entries)}, expected ids (integers) and texts.")
    return {
        int(number): _token(file, f"token {number}", value, special=isinstance(value, dict) and value.get("special"))
        for number, value in entries.items()
    }


def _token(file: pathlib.Path, name: str, value: Any, *, special: Any) -> AddedToken:
    """A token from its text, or from an object that holds it."""
    entry = value if isinstance(value, dict) else {"content": value}
    text = entry.get("content")
    if not isinstance(text, str):
        raise ValueError(f"{file}: {name} is {str(text)[:100]}, expected a text.")
    flags = {flag: bool(entry[flag]) for flag in _FLAGS if flag in entry}
    return AddedToken(text, special=bool(special), **flags)


def _completed(definition: str, special: _Special) -> str:
    """The definition with the special tokens that other files name, added as `transformers` adds them.

    Raises:
      ValueError: it is not readable, the files do not agree on a token's id, or none gives one to a token that
        prompts or completions have.
    """
    tokenizer = parsed(definition)
    before = {token.content: token for token in tokenizer.get_added_tokens_decoder().values()}
    for number, token in sorted(special.numbered.items()):
        known = before.get(token.content)
        if known is None or not special.older:
            token.special |= known is not None and known.special
            tokenizer.add_tokens([token])
        if (found := tokenizer.token_to_id(token.content)) != number:
            raise ValueError(
                f"The files beside tokenizer.json give the token {token.content!r} the id {number}, but with "
                f"tokenizer.json it is {found}. Correct the one that is wrong; ids go on from its last without a gap."
            )
    for role, token in (*special.roles.items(), *((None, token) for token in special.others)):
        number = tokenizer.token_to_id(token.content)
        if number is None:
            if role in _ROLES:
                raise ValueError(
                    f"The files beside tokenizer.json name the {role} {token.content!r}, but none gives it an id. Add "
                    "it to the added_tokens of tokenizer.json, or do not name it."
                )
            continue
        known = tokenizer.get_added_tokens_decoder().get(number)
        if known is None or role:  # What has a role is special, whatever else is said of it.
            tokenizer.add_special_tokens([known or token])
    after = {token.content: token for token in tokenizer.get_added_tokens_decoder().values()}
    return definition if repr(after) == repr(before) else tokenizer.to_str()


def _shortened(tokenizer: PretrainedTokenizer, vocab_size: int) -> str:
    """The definition without the special tokens that the model has no row for, where nothing asks for them.

    Gemma 3's text models come with the tokenizer of those that see images: its <image_soft_token> is the first one
    beyond their vocabulary. Without it, its spelling is plain text.
    """
    definition = json.loads(tokenizer.definition)
    roles = [tokenizer.special.get(role) for role in ("bos_token", "eos_token", "pad_token")]
    added = definition.get("added_tokens") or ()
    written = json.dumps([tokenizer.template, definition.get("post_processor")], ensure_ascii=False)

    def kept(token: Mapping[str, Any]) -> bool:
        wanted = token["id"] in tokenizer.ends or token["content"] in roles or token["content"] in written
        return token["id"] < vocab_size or not token["special"] or wanted

    return json.dumps(definition | {"added_tokens": [*filter(kept, added)]}, ensure_ascii=False)


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as UTF-8: {error}.") from None
