"""Counts the sentences, words and words in capitals of a text, without data files.

Sentences and words in capitals follow the conventions of NLTK (Bird and Loper, 2004: Punkt, Kiss and Strunk, 2006;
Treebank tokens), by which IFEval counts, from rules alone: a short list of abbreviations stands for Punkt's model.
"""

from __future__ import annotations

import re

# What ends a sentence: with closing quotes and brackets, and then space.
_END = re.compile(r"""[.?!]+["'”’)\]}*_»]*(?=\s)|[。!?।॥؟۔]+["'”’)\]]*""")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘*_]+\Z")
_ABBREVIATIONS = re.compile(
    r"mr|mrs|ms|dr|prof|rev|hon|st|sr|jr|lt|sgt|capt|maj|gov|sen|rep|pres|supt|esq|messrs|mme|mlle|vs|"
    r"viz|cf|al|ca|approx|e\.g|i\.e|etc|inc|ltd|co|corp|bros|dept|univ|assn|ave|blvd|rd|hwy|jan|feb|mar|apr|"
    r"jun|jul|aug|sep|sept|oct|nov|dec|mon|tue|tues|wed|thu|thurs|fri|fig|figs|vol|vols|pp|ed|eds|est|"
    r"u\.s|u\.k|u\.n|a\.m|p\.m|ph\.d|b\.c|a\.d|d\.c|p\.s|p\.p\.s"
)
_CLOSES = re.compile(r"etc|inc|ltd|co|corp|jr|sr|esq|u\.s|u\.k|u\.n|a\.m|p\.m|ph\.d|b\.c|a\.d|d\.c|al")  # May end one.
_STARTERS = re.compile(
    r"the|a|an|this|that|these|those|it|he|she|we|they|i|you|there|here|in|on|at|for|but|and|so|if|when|while|"
    r"however|what|who|why|how|my|our|your|his|her|its|their|as|after|before|to|no|yes|not|one|then"
)
_INITIAL = re.compile(r"[^\W\d_]")

_WORD = re.compile(r"\w+")
_APART = re.compile(r"""[;@#$%&?!*"()\[\]{}<>«»“”„‘’`]|\.{2,}|--|[:,](?!\d)|''""")
_ENDING = re.compile(r"('(?:s|m|d|ll|re|ve)|n't)\.?$", re.IGNORECASE)


def count_words(text: str) -> int:
    r"""Runs of letters, digits and underscores, `\w+`."""
    return sum(1 for _ in _WORD.finditer(text))


def count_sentences(text: str) -> int:
    """Sentences: what ends in ".", "?" or "!" before space, abbreviations and initials apart, and a rest without."""
    text = text.strip()
    count, start = 0, 0
    for end in _END.finditer(text):
        marks = end.group()
        if marks[0] == "." and "?" not in marks and "!" not in marks and not _is_end(text, start, end):
            continue
        count += 1
        start = end.end()
    return count + bool(text[start:].strip())


def _is_end(text: str, start: int, end: re.Match[str]) -> bool:
    if end.group().startswith(".."):  # "Wait ... what"
        return _following(text, end)[:1].isupper()
    found = _LAST_WORD.search(text, max(start, end.start() - 40), end.start())
    word = found.group().lower() if found else ""
    if _ABBREVIATIONS.fullmatch(word):
        after = _following(text, end)
        return bool(_CLOSES.fullmatch(word) and after[:1].isupper() and _STARTERS.fullmatch(after.lower()))
    if _INITIAL.fullmatch(word) and word != "i" and found and found.group().isupper():  # J. Smith
        after = _following(text, end)
        return not after[:1].isupper() or bool(_STARTERS.fullmatch(after.lower()))
    return True


def _following(text: str, end: re.Match[str]) -> str:
    """The word behind the end of a sentence, without marks around it."""
    words = text[end.end() : end.end() + 60].split(maxsplit=1)
    return words[0].strip("\"'“‘(*_[.,;:!?)”’") if words else ""


def capital_words(text: str) -> int:
    """Words without a small letter. A contraction is two words ("CAN'T"), what a hyphen joins is one."""
    count = 0
    for piece in _APART.sub(" ", text).split():
        ending = _ENDING.search(piece)
        parts = (piece[: ending.start()], ending.group()) if ending else (piece,)
        if piece.lower() == "cannot":
            parts = (piece[:3], piece[3:])
        count += sum(part.isupper() for part in parts)
    return count
