"""The examples' verifiers and problems: what counts as following an instruction, and what only looks like it."""

import pathlib

import pytest

import verifiers
from verifiers import Problem
from verifiers.contract import check_golds
from verifiers.plugins import load_file
from verifiers.pool import shared as shared_pool

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
instructions = load_file(EXAMPLES / "instructions.py")
arithmetic = load_file(EXAMPLES / "arithmetic.py")
custom = load_file(EXAMPLES / "custom_verifier.py")

TABLE = {
    "json_two_keys": (
        [
            '{"name": "Cat", "kind": "It purrs."}', '{"kind": "It purrs.", "name": "Cat"}',
            '  {"name":"a","kind":"bc"}\n', '```json\n{"name": "Cat", "kind": "It purrs."}\n```',
            '{"name": "Cat", "kind": 9}', '{"name": "cat", "kind": ["purrs"]}',
        ],
        [
            "", "{}", "[]", '"name, kind"', "null", "name: Cat, kind: purrs", '{"name": "Cat"}',
            '{"name": "", "kind": ""}', '{"name": "Cat", "kind": "..."}', '{"name": "Cat", "name": "Cat"}',
            '{"name": "Cat", "kind": "x", "kind": "y"}', '{"name": "Cat", "kind": "purrs", "color": "red"}',
            '{"name": "Cat", "color": "pet"}', '{"name": null, "kind": "purrs"}',
            '{"name": "Cat", "kind": "purrs"} Enjoy!', 'Sure: {"name": "Cat", "kind": "purrs"}',
            '{"name": "Cat", "kind": "purr', '[["name", "Cat"], ["kind", "purrs"]]', "[" * 100_000,
            '{"name": NaN, "kind": Infinity}', '{"name": {}, "kind": []}', "{'name': 'Cat', 'kind': 'purrs'}",
        ],
    ),
    "few_words": (
        ["Cats are small animals.", "I like cats", "Rain: water that falls from the clouds.", "It's a big red bus!"],
        [
            "", "...", "cats", "cats cats cats cats", "a b c d", "1 2 3 4", "Cats are.",
            "Cats are small animals that live with us and purr.", "Cats-are-small-animals-that-live-with-us-and-purr",
            "Cats_are_small_animals_that_live_with_us_all", "Cats are nice - - - - - -", "Cats are nice 1 2 3 4 5 6",
        ],
    ),
    "two_sentences": (
        ["Cats are small. They purr a lot.", "1. Cats are small.\n2. They purr a lot.",
        '"Cats are small." "They purr a lot."',
         "- Cats are small.\n- They purr a lot.", "Do cats purr? Yes they do!", " I like tea. It is hot and sweet.\n",
        "I ate 3.5 cakes. They were good."],
        [
            "", ".", ". .", "Cats are small.", "Cats are small. They purr a lot", "Cats, they purr. They are small.",
            "Cats are small. Cats are small.", "Cats. Dogs.", "Cats are small. They purr. ", "A b. C d.",
            "1. Cats are small.\n2. They purr", "1. Cats.\n2. They purr.",
            "Cats are small. They purr a lot. I like them.", "Cats are small. They purr a lot. .",
            "one two three. 1 2 3.", "I I I. a a a.",
            "cats cats cats. dogs dogs dogs.", "." * 20_000 + "x", "! ? Cats are small",
            "Cats are small， too. They purr a lot.",
        ],
    ),
    "title": (
        ["<<The Old Cat>>", "Title: <<Rain in May>>", "<<A Cat's Life>>\n",
        "Sure! <<The night of the wolves>> I hope you like it."],
        [
            "", "<<>>", "<< >>", "<<...>>", "<<title>>", "<<Title>>", "<<Your Title Here>>", "<<title of story>>",
            "<Rain in May>", "Rain in May", "<<Rain>>", "<<Rain in May>", "<<Rain in May", "<<<Rain in May>>>",
            "<<Rain in May>> <<Wind in June>>", "<<1 2>>", "<<rain rain>>", "<<Rain\nin May>>", "<<a b>>",
        ],
    ),
    "opening_word": (
        ["Honestly, I like cats a lot.", "Honestly cats are great", " Honestly: they are the best pets."],
        [
            "", "Honestly", "Honestly.", "Honestly honestly honestly honestly", "Honestly, cats.",
            "honestly, I like cats a lot.", "Honestlyness is a good thing", "I honestly like cats a lot.",
            '"Honestly" is the word I start with', "Honestly, a b c d", "Honestly, . . . .", "Honestly, 1 2 3 4",
        ],
    ),
}  # fmt: skip


def problem(kind):
    return next(p for p in instructions.problems("test", ["cats"]) if p.verifier == kind)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, (good, _) in TABLE.items() for text in good])
def test_accepted(kind, text):
    verdict = instructions.KINDS[kind][0](problem(kind), text)
    assert (verdict.outcome, verdict.reward) == ("correct", 1.0), verdict
    assert verdict.reason


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, (_, bad) in TABLE.items() for text in bad])
def test_refused(kind, text):
    verdict = instructions.KINDS[kind][0](problem(kind), text)
    assert verdict.outcome in ("incorrect", "unparsed"), verdict
    assert verdict.reward == 0
    assert 0 < len(verdict.reason) < 300


def test_every_kind_is_in_the_table():
    assert TABLE.keys() == instructions.KINDS.keys()


def test_no_text_satisfies_two_kinds_by_accident():
    accepted = {kind: good for kind, (good, _) in TABLE.items()}
    for kind in ("json_two_keys", "title", "opening_word"):
        for other, texts in accepted.items():
            if other != kind:
                assert not any(instructions.KINDS[kind][0](problem(kind), text).reward for text in texts)


def test_golds_are_accepted_and_problems_are_well_formed():
    train = instructions.problems("train", instructions.TRAINING_TOPICS)
    test = instructions.problems("test", instructions.HELD_OUT_TOPICS)
    assert len(train) >= 300
    assert len(test) == 120
    assert len({p.id for p in (*train, *test)}) == len(train) + len(test)
    for kind, (verifier, *_) in instructions.KINDS.items():
        assert check_golds(verifier, [p for p in (*train, *test) if p.verifier == kind], shared_pool()).findings == ()
    for p in (*train, *test):
        [message] = p.prompt
        assert message["role"] == "user"
        assert "{" not in message["content"]
        assert len(message["content"]) < 130


def test_topics_are_disjoint():
    def stems(topics):
        return {topic.removeprefix("the ").removesuffix("s") for topic in topics}

    train, test = instructions.TRAINING_TOPICS, instructions.HELD_OUT_TOPICS
    assert len(set(train)) == len(train) >= 60
    assert len(set(test)) == len(test) == 24
    assert not stems(train) & stems(test)


def test_arithmetic():
    train, test = arithmetic.problems()
    assert len(train) + len(test) == 90 * 91 // 2 - 1  # All but the one that is shown.
    assert len(test) == 128
    assert verifiers.check(arithmetic.total, test, others=3).findings == ()
    asked = [{p.prompt[-1]["content"] for p in problems} for problems in (train, test)]
    assert not asked[0] & asked[1]
    a, b = test[0].id.rpartition("/")[2].split("+")
    right, swapped = int(a) + int(b), f"What is {b} + {a}?"
    assert test[0].answer == right
    assert swapped not in asked[0]
    for text in (f"{right}", f"{right}.", f"{a} + {b} = {right}", f"{a} + {b} = {right}.", f"= {right}"):
        assert arithmetic.total(test[0], text).reward == 1
    for text in (
        f"{a} + {b}",
        f"{right} = {a} + {b}",
        f"{a} + {b} = {right} = ",
        f"{right} or {right + 1}",
        f"{right + 1}",
        "=",
    ):
        assert arithmetic.total(test[0], text).reward == 0


def test_custom_verifier():
    verifier = verifiers.load(f"{EXAMPLES / 'custom_verifier.py'}:divisors")
    six = Problem("p", "", "1, 2, 3, 6")
    assert [verifier(six, text).outcome.value for text in ("6,3,2,1", "1, 2, 3", "1,2,3,6,7", "1,1,2,3,6", "one",
    "")] == [
        "correct", "incorrect", "incorrect", "incorrect", "unparsed", "unparsed",
    ]  # fmt: skip
    assert verifiers.check(verifier, custom.PROBLEMS, others=3).findings == ()
