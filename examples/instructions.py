"""Shows a real language model learning to follow instructions that a few lines of Python can check.

    assay train examples/instructions.py

SmolLM2-135M-Instruct is asked for a JSON object, a short answer, two sentences without commas, a title in angle
brackets, or a sentence that starts with a given word. Each of the five verifiers below says whether it was done;
that is all the policy learns from. The topics that it is tested on never occur in training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import rl
from verifiers import Outcome, Problem, Verdict

OPENING = "Honestly"
MOST_WORDS = 8


# ------------------------------------------------------------------------------------------------ verifiers


def json_two_keys(problem: Problem, completion: str) -> Verdict:
    """A JSON object with exactly the two keys that were asked for, and something in both."""
    text = re.sub(r"^```(?:json)?\s*|\s*```$", "", completion.strip())
    try:
        pairs = json.loads(text, object_pairs_hook=list, parse_constant=refuse)
    except (ValueError, RecursionError):
        return unparsed(text, "not JSON")
    # The hook makes objects lists of tuples, so that a key that is given twice is seen.
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        return unparsed(text, "not a JSON object")
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    if sorted(keys) != sorted(problem.answer["keys"]):
        return judged(False, text, f"the keys are {keys}, not {problem.answer['keys']}"[:200])
    full = all(words(value) if isinstance(value, str) else value not in (None, [], False) for value in values)
    return judged(full, text, "two keys, both filled" if full else "a value is empty")


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is Python's, not JSON's")  # NaN, Infinity


def few_words(problem: Problem, completion: str) -> Verdict:
    """An answer of at most so many words, and of at least three different ones."""
    found, most = words(completion), problem.answer["words"]
    if len({word.lower() for word in found}) < 3:
        return unparsed(completion, "fewer than three different words")
    # Whatever spaces separate counts, so that digits and signs are no way around the limit.
    count = max(len(found), len(completion.split()))
    return judged(count <= most, completion, f"{count} words, at most {most} allowed")


def two_sentences(problem: Problem, completion: str) -> Verdict:
    """Exactly two different sentences of at least three different words each, and no comma anywhere."""
    text = completion.strip()
    if any(comma in text for comma in ",，、،"):
        return judged(False, text, "a comma")
    unnumbered = re.sub(r"^\s*[0-9*-]+[.)]?\s+", "", text, flags=re.MULTILINE)  # "1. One sentence.\n2. Another."
    sentences = [" ".join(words(part)).lower() for part in re.split(r"(?<![.!?])[.!?]++[\"”]?(?:\s+|$)", unnumbered)]
    if sentences.pop():
        return judged(False, text, "the last sentence does not end")
    if any(len(set(sentence.split())) < 3 for sentence in sentences):
        return judged(False, text, "a sentence of fewer than three different words")
    good = len(sentences) == len(set(sentences)) == 2
    return judged(good, text, f"{len(sentences)} sentences, {len(set(sentences))} of them different")


def title(problem: Problem, completion: str) -> Verdict:
    """One title of at least two words in << and >>, which is not the placeholder of the prompt."""
    found = re.findall(r"<<([^<>\n]*)>>", completion)
    if len(found) != 1 or completion.count("<") != 2 or completion.count(">") != 2:
        return unparsed(completion, f"{len(found)} titles in << >>, expected one")
    named = [word.lower() for word in words(found[0])]
    if len(set(named)) < 2 or set(named) <= {"your", "the", "a", "my", "title", "here", "of", "story"}:
        return judged(False, completion, f"<<{found[0][:80]}>> is not a title of two words or more")
    return judged(True, completion, "one title")


def opening_word(problem: Problem, completion: str) -> Verdict:
    """A sentence that starts with the given word, and goes on for at least three different others."""
    first, text = problem.answer["word"], completion.strip()
    if not re.match(rf"{re.escape(first)}\b", text):
        return judged(False, text, f"it does not start with {first!r}")
    others = {word.lower() for word in words(text)} - {first.lower()}
    return judged(len(others) >= 3, text, f"{first!r} and {len(others)} other words")


def words(text: str) -> list[str]:
    """Runs of letters; a single letter is a word only where English has it, and a hyphen joins nothing."""
    return [word for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text) if len(word) > 1 or word in "aAI"]


def judged(good: bool, text: str, reason: str) -> Verdict:
    return Verdict(float(good), Outcome.CORRECT if good else Outcome.INCORRECT, text[:200], reason)


def unparsed(text: str, reason: str) -> Verdict:
    return Verdict(0, Outcome.UNPARSED, text[:200], reason)


# ------------------------------------------------------------------------------------------------- problems

# kind: (verifier, the prompt about a topic, the answer that its verifier reads, a completion that is right)
KINDS = {
    "json_two_keys": (
        json_two_keys,
        'Reply with a JSON object about {topic} with exactly two short keys, "name" and "kind".',
        {"keys": ["name", "kind"]},
        '{{"name": "{topic}", "kind": "thing"}}',
    ),
    "few_words": (
        few_words,
        f"Say something about {{topic}} in at most {MOST_WORDS} words.",
        {"words": MOST_WORDS},
        "I often think about {topic}.",
    ),
    "two_sentences": (
        two_sentences,
        "Write 2 short simple sentences about {topic} without commas.",
        {"sentences": 2},
        "I often think about {topic}. It makes me happy.",
    ),
    "title": (
        title,
        "Write a title for a story about {topic}. Put it in double angle brackets, like <<title>>.",
        {},
        "<<The story of {topic}>>",
    ),
    "opening_word": (
        opening_word,
        f'Write one sentence about {{topic}}. Start your reply with the word "{OPENING}".',
        {"word": OPENING},
        f"{OPENING}, I like to think about {{topic}}.",
    ),
}
TRAINING_TOPICS = (  # noqa: SIM905
    "cats, rain, the moon, coffee, bicycles, winter, bees, trains, music, bread, rivers, chess, the desert, honey, "
    "elephants, clouds, gardens, football, apples, volcanoes, lighthouses, pencils, owls, islands, paper, soup, "
    "bridges, penguins, mirrors, snow, tea, dragons, forests, clocks, kites, horses, rice, painting, whales, the wind, "
    "candles, castles, frogs, maps, cheese, robots, butterflies, libraries, swimming, potatoes, stars, wolves, shoes, "
    "glass, farmers, lemons, airplanes, spiders, beaches, guitars, oranges, doctors, windows, mountains"
).split(", ")
HELD_OUT_TOPICS = (  # noqa: SIM905
    "dogs, the sun, chocolate, boats, summer, ants, cars, dancing, milk, lakes, puzzles, the jungle, sugar, lions, "
    "thunder, flowers, tennis, bananas, earthquakes, museums, teachers, pianos, turtles, bakers"
).split(", ")


def problems(split: str, topics: Sequence[str]) -> list[Problem]:
    """Every kind of instruction about every topic."""
    return [
        Problem(
            id=f"instructions/{split}/{kind}/{topic.replace(' ', '_')}",
            prompt=[{"role": "user", "content": prompt.format(topic=topic)}],
            answer=answer,
            verifier=kind,
            metadata={"topic": topic, "solution": gold.format(topic=topic)},
        )
        for topic in topics
        for kind, (_, prompt, answer, gold) in KINDS.items()
    ]


def config() -> rl.RunConfig:
    import policy

    return rl.RunConfig(
        model=policy.pretrained(policy.smollm2()),
        problems=problems("train", TRAINING_TOPICS),
        held_out=problems("test", HELD_OUT_TOPICS),
        verifiers={kind: verifier for kind, (verifier, *_) in KINDS.items()},
        steps=12,
        problems_per_step=8,
        group_size=8,
        max_tokens=32,
        temperature=1.0,
        learning_rate=5e-6,
        warmup_steps=3,
        eval_every=6,
    )


if __name__ == "__main__":
    rl.train(config())
