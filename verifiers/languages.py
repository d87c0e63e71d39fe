"""Finds the language of a text, the same one every time.

By langdetect, which defines what IFEval's instructions about languages mean. Its sampling is seeded here, its
global factory stays untouched, and only the start of a text is read.
"""

from __future__ import annotations

import functools
from typing import Any

WINDOW = 10_000  # Characters at the start of a text that are read.


def likely(text: str) -> tuple[str, ...]:
    """The languages that `text` may be in, the likeliest first, as ISO codes; none where it has no letters."""
    return _likely(text[:WINDOW])


def known() -> frozenset[str]:
    """The languages that are told apart, as ISO codes ("de", "zh-cn")."""
    return frozenset(_factory().get_lang_list())


@functools.lru_cache(maxsize=256)
def _likely(text: str) -> tuple[str, ...]:
    from langdetect.lang_detect_exception import LangDetectException

    detector = _factory().create()
    detector.seed = 0
    detector.append(text)
    try:
        return tuple(language.lang for language in detector.get_probabilities())
    except LangDetectException:
        return ()


@functools.cache
def _factory() -> Any:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    return factory
