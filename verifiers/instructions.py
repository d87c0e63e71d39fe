"""Checks instructions that can be checked by rule: the 25 kinds of IFEval.

Zhou et al., "Instruction-Following Evaluation for Large Language Models" (2023), arXiv:2311.07911. One function a
kind. They accept what the published evaluator accepts, but for three of its habits: where an instruction asks to count
a sign that is no letter, it counts a random letter; keywords are regular expressions; and any text in capitals
passes for English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from verifiers import json_texts, languages, sentences

_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_POSTSCRIPTS = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}
_STARS = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)
_DASHES = re.compile(r"^[^\S\n]*-.*$", re.MULTILINE)
_EMPHASIZED = re.compile(r"\*[^\n*]*\*")
_STRONG = re.compile(r"\*\*[^\n*]*\*\*")
_RULER = re.compile(r"\s?\*\*\*\s?")


class BadInstructionError(ValueError):
    """The problem's own answer names no instruction that can be checked."""


class Kind(NamedTuple):
    check: Callable[..., bool]  # (text, **arguments).
    arguments: Mapping[str, str]  # Name, and what it must be: a key of `_FORMS`.


def follows(instruction: str, arguments: Mapping[str, Any], text: str) -> bool:
    """Whether `text`, which is not empty, follows an instruction with arguments that `checked` has passed.

    Raises:
      json_texts.TooLargeError: it is JSON too deep to be read.
    """
    return bool(text.strip()) and KINDS[instruction].check(text, **arguments)


def checked(instruction: object, arguments: object) -> dict[str, Any]:
    """The arguments of an instruction, once they are seen to be its own and of the right form; null is none.

    Raises:
      BadInstructionError: they are not.
    """
    if not isinstance(instruction, str) or instruction not in KINDS:
        raise BadInstructionError(f"no instruction {instruction!r:.60}; there are: {', '.join(sorted(KINDS))}")
    if not isinstance(arguments, Mapping):
        raise BadInstructionError(f"{instruction} needs a mapping of arguments, got {arguments!r:.60}")
    given = {name: value for name, value in arguments.items() if value is not None}
    wanted = KINDS[instruction].arguments
    if given.keys() != wanted.keys():
        raise BadInstructionError(f"{instruction} takes the arguments {sorted(wanted)}, got {sorted(map(str, given))}")
    for name, value in given.items():
        if not _FORMS[wanted[name]](value):
            raise BadInstructionError(f"{instruction}: {name} must be {wanted[name]}, got {value!r:.60}")
    return given


def _compared(count: int, relation: str, limit: int) -> bool:
    return count < limit if relation == "less than" else count >= limit


def _existence(text: str, keywords: list[str]) -> bool:
    return all(re.search(re.escape(word), text, re.IGNORECASE) for word in keywords)


def _frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _compared(len(re.findall(re.escape(keyword), text, re.IGNORECASE)), relation, frequency)


def _forbidden(text: str, forbidden_words: list[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def _letters(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _compared(text.lower().count(letter.lower()), let_relation, let_frequency)


def _language(text: str, language: str) -> bool:
    likely = languages.likely(text)
    return not likely or likely[0] == language  # Without letters, as the published evaluator has it.


def _sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _compared(sentences.count_sentences(text), relation, num_sentences)


def _words(text: str, num_words: int, relation: str) -> bool:
    return _compared(sentences.count_words(text), relation, num_words)


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    """Parted by ***; only the first and the last may be empty, and then do not count."""
    first, *between = _RULER.split(text)
    last = [between.pop()] if between else []
    if not all(part.strip() for part in between):
        return False
    return sum(bool(part.strip()) for part in (first, *between, *last)) == num_paragraphs


def _nth_paragraph(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Parted by an empty line; the word up to the first mark of punctuation."""
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if not 1 <= nth_paragraph <= count or not parts[nth_paragraph - 1].strip():
        return False
    word = parts[nth_paragraph - 1].split(maxsplit=1)[0].lstrip("'").lstrip('"')
    return count == num_paragraphs and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def _placeholders(text: str, num_placeholders: int) -> bool:
    count = 0
    for line in text.split("\n"):
        at = line.find("[")
        while at >= 0 and (end := line.find("]", at)) >= 0:
            count += 1
            at = line.find("[", end)
    return count >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    pattern = _POSTSCRIPTS.get(postscript_marker)
    text = text.lower()
    return bool(pattern.search(text)) if pattern else postscript_marker.lower() in text


def _bullets(text: str, num_bullets: int) -> bool:
    return len(_STARS.findall(text)) + len(_DASHES.findall(text)) == num_bullets


def _constrained(text: str) -> bool:
    return any(option in text for option in _OPTIONS)


def _highlights(text: str, num_highlights: int) -> bool:
    marked = [part.strip("*") for part in _EMPHASIZED.findall(text)]
    marked += [part[2:-2] for part in _STRONG.findall(text)]
    return sum(bool(part.strip()) for part in marked) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d", text)) >= num_sections


def _json(text: str) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    text = text.removesuffix("```").strip()
    json_texts.within_bounds(text)
    try:
        json.loads(text, parse_int=len)  # A number's digits are nobody's business, and could be many.
    except ValueError:
        return False
    return True


def _title(text: str) -> bool:
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and end >= start + 3 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def _two_responses(text: str) -> bool:
    first, *between = text.split("******")
    last = [between.pop()] if between else []
    if not all(part.strip() for part in between):
        return False
    found = [part.strip() for part in (first, *between, *last) if part.strip()]
    return len(found) == 2 and found[0] != found[1]


def _repeats(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _ends(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _english(text: str) -> bool:
    likely = languages.likely(text.lower())
    return not likely or "en" in likely


def _capitals(text: str) -> bool:
    return text.isupper() and _english(text)


def _lowercase(text: str) -> bool:
    return text.islower() and _english(text)


def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    return _compared(sentences.capital_words(text), capital_relation, capital_frequency)


def _no_comma(text: str) -> bool:
    return "," not in text


_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "a count": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "a text": lambda value: isinstance(value, str) and bool(value.strip()),
    "a list of words": lambda value: isinstance(value, list) and all(isinstance(w, str) and w for w in value),
    "one character": lambda value: isinstance(value, str) and len(value) == 1,
    "'less than' or 'at least'": lambda value: value in ("less than", "at least"),
    "a language code": lambda value: isinstance(value, str) and value in languages.known(),
}
_RELATION = "'less than' or 'at least'"

KINDS: Mapping[str, Kind] = {
    "keywords:existence": Kind(_existence, {"keywords": "a list of words"}),
    "keywords:frequency": Kind(_frequency, {"keyword": "a text", "frequency": "a count", "relation": _RELATION}),
    "keywords:forbidden_words": Kind(_forbidden, {"forbidden_words": "a list of words"}),
    "keywords:letter_frequency": Kind(
        _letters, {"letter": "one character", "let_frequency": "a count", "let_relation": _RELATION}
    ),
    "language:response_language": Kind(_language, {"language": "a language code"}),
    "length_constraints:number_sentences": Kind(_sentences, {"num_sentences": "a count", "relation": _RELATION}),
    "length_constraints:number_paragraphs": Kind(_paragraphs, {"num_paragraphs": "a count"}),
    "length_constraints:number_words": Kind(_words, {"num_words": "a count", "relation": _RELATION}),
    "length_constraints:nth_paragraph_first_word": Kind(
        _nth_paragraph, {"num_paragraphs": "a count", "nth_paragraph": "a count", "first_word": "a text"}
    ),
    "detectable_content:number_placeholders": Kind(_placeholders, {"num_placeholders": "a count"}),
    "detectable_content:postscript": Kind(_postscript, {"postscript_marker": "a text"}),
    "detectable_format:number_bullet_lists": Kind(_bullets, {"num_bullets": "a count"}),
    "detectable_format:constrained_response": Kind(_constrained, {}),
    "detectable_format:number_highlighted_sections": Kind(_highlights, {"num_highlights": "a count"}),
    "detectable_format:multiple_sections": Kind(_sections, {"section_spliter": "a text", "num_sections": "a count"}),
    "detectable_format:json_format": Kind(_json, {}),
    "detectable_format:title": Kind(_title, {}),
    "combination:two_responses": Kind(_two_responses, {}),
    "combination:repeat_prompt": Kind(_repeats, {"prompt_to_repeat": "a text"}),
    "startend:end_checker": Kind(_ends, {"end_phrase": "a text"}),
    "startend:quotation": Kind(_quoted, {}),
    "change_case:english_capital": Kind(_capitals, {}),
    "change_case:english_lowercase": Kind(_lowercase, {}),
    "change_case:capital_word_frequency": Kind(
        _capital_words, {"capital_frequency": "a count", "capital_relation": _RELATION}
    ),
    "punctuation:no_comma": Kind(_no_comma, {}),
}
