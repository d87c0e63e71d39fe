"""The checkers of IFEval's instructions, each kind and each instruction of the published data."""

import functools
import json
import pickle
import threading

import ifeval_answers
import pytest
from quick import within

import verifiers
from verifiers import instructions, languages, sentences
from verifiers.types import Outcome, Problem


def problem(*asked):
    return Problem(
        "p", "?", {"instruction_id_list": [name for name, _ in asked], "kwargs": [given for _, given in asked]}
    )


def follows(name, text, **arguments):
    return instructions.follows(name, instructions.checked(name, arguments), text)


@functools.cache
def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_published_instruction_accepts_one_answer_and_rejects_another(shared):
    count = 0
    for row in rows(shared("ifeval/input_data.jsonl")):
        for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            accepted, rejected = ifeval_answers.built(name, given)
            one = problem((name, given))
            for verifier in (verifiers.ifeval, verifiers.ifeval_loose):
                verdict = verifier(one, accepted)
                assert (verdict.outcome, verdict.reward) == (Outcome.CORRECT, 1.0), (name, given, accepted, verdict)
            verdict = verifiers.ifeval(one, rejected)
            assert verdict.outcome in (Outcome.INCORRECT, Outcome.UNPARSED), (name, given, rejected, verdict)
            count += 1
    assert count == 834


def test_every_prompt_parses_and_rejects_an_empty_answer(shared):
    kinds = set()
    for row in rows(shared("ifeval/input_data.jsonl")):
        one = Problem(str(row["key"]), row["prompt"], row, verifier="ifeval")  # The row itself has the shape.
        assert verifiers.ifeval(one, " \n").outcome == "unparsed"
        verdict = verifiers.ifeval(one, "Yes")
        assert verdict.trains
        assert len(verdict.parts) == len(row["instruction_id_list"])
        kinds |= set(row["instruction_id_list"])
    assert kinds == set(instructions.KINDS)
    assert len(kinds) == 25


def test_all_or_nothing_with_a_part_for_each():
    one = problem(
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}),
        ("length_constraints:number_words", {"num_words": 5, "relation": "less than"}),
    )
    good, bad = verifiers.ifeval(one, "one two three"), verifiers.ifeval(one, "one, two")
    assert (good.reward, bad.reward) == (1, 0)
    assert list(good.parts.values()) == [1, 1, 1]
    assert bad.parts == {
        "punctuation:no_comma": 0,
        "length_constraints:number_words": 0,
        "length_constraints:number_words'": 1,
    }
    assert bad.reason == "does not follow punctuation:no_comma, length_constraints:number_words"


def test_loose_forgives_an_introduction_and_asterisks():
    one = problem(("startend:quotation", {}))
    for text in ('Sure:\n"Yes."', '"Yes."\nThat is all.', 'Sure:\n"Yes."\nThat is all.', '**"Yes."**'):
        assert verifiers.ifeval(one, text).outcome == "incorrect"
        assert verifiers.ifeval_loose(one, text).outcome == "correct"
    assert verifiers.ifeval_loose(one, "Yes.").outcome == "incorrect"


def test_only_what_follows_the_thinking_counts():
    one = problem(("punctuation:no_comma", {}))
    assert verifiers.ifeval(one, "<think>well, yes</think>\n\nYes.").outcome == "correct"
    assert verifiers.ifeval(one, "<think>well yes</think> Yes, sir.").outcome == "incorrect"
    assert verifiers.ifeval(one, "<think>well yes").outcome == "unparsed"
    assert verifiers.ifeval(one, "<think>well yes</think>").outcome == "unparsed"


@pytest.mark.parametrize(
    ("name", "given", "accepted", "rejected"),
    [
        ("keywords:existence", {"keywords": ["mom", "C++"]}, "c++ and Mommy", "c+ and mom"),
        ("keywords:frequency", {"keyword": "war", "frequency": 2, "relation": "at least"}, "WAR, warm", "war"),
        ("keywords:frequency", {"keyword": ".", "frequency": 2, "relation": "less than"}, "abc.", "a. b."),
        ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocks", "a ROCK!"),
        ("keywords:letter_frequency", {"letter": "#", "let_frequency": 4, "let_relation": "at least"}, "####", "###a"),
        ("keywords:letter_frequency", {"letter": "T", "let_frequency": 2, "let_relation": "less than"}, "T", "tT"),
        ("language:response_language", {"language": "de"}, "Das ist ein guter Tag für uns.", "This is a good day."),
        ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "One", "One. Two"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\nA\n***\nB\n***", "A\n***\n***\nB"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "A\n\nB", "A *** B"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "it's so", "it is"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Elm"},
            "A.\n\n\"elm's tree",
            "elm\n\nA",
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "elm"},
            "elm. A\n\nB",
            "elm A\n\nB\n\nC",
        ),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b [c]", "[a] [b\nc]"),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Hi. P. P. S. yes", "Hi. P.S. yes"),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "p.s. yes", "PS yes"),
        ("detectable_content:postscript", {"postscript_marker": "Note:"}, "NOTE: yes", "Note yes"),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "\n\n * a\n- b\n**c**", "* a\n* b\n- c"),
        ("detectable_format:constrained_response", {}, "Well. My answer is no. Sorry", "My answer is No."),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b*", "*a\nb* **"),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "**a**", "** a"),
        (
            "detectable_format:multiple_sections",
            {"section_spliter": "Day", "num_sections": 2},
            "Day 1 a Day2 b",
            "day 1 Day 2",
        ),
        ("detectable_format:json_format", {}, '```\n{"a": 1}\n```', "{'a': 1}"),
        ("detectable_format:json_format", {}, "[1e999999]", "```python\n[1]\n```"),
        ("detectable_format:title", {}, "a <<b>> c", "<<>> <<\n>>"),
        ("combination:two_responses", {}, "******a******b", "a******b******c"),
        ("combination:two_responses", {}, "a\n******\nb\n******\n ", "a****** ******b"),
        ("combination:repeat_prompt", {"prompt_to_repeat": " Say it. "}, "\nsay IT. Yes", "Say it"),
        ("startend:end_checker", {"end_phrase": "The end."}, 'It is THE END." \n', "The end. Bye"),
        ("startend:quotation", {}, ' "a" ', '"'),
        ("change_case:english_capital", {}, "THE SUN IS UP AND THE BIRDS ARE SINGING 24/7!", "The sun"),
        ("change_case:english_lowercase", {}, "the sun is up and the birds are singing 24/7!", "the Sun is up"),
        (
            "change_case:english_lowercase",
            {},
            "the sun is up and the birds are singing in the trees",
            "die kinder gehen jeden morgen in die schule und lernen dort lesen",
        ),
        (
            "change_case:english_capital",
            {},
            "THE SUN IS UP AND THE BIRDS ARE SINGING IN THE TREES",
            "DIE KINDER GEHEN JEDEN MORGEN IN DIE SCHULE UND LERNEN DORT LESEN",
        ),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 3, "capital_relation": "at least"},
            "I CAN'T",
            "I CANt, Ok.",
        ),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 2, "capital_relation": "less than"},
            "A-B x1",
            "A B",
        ),
        ("punctuation:no_comma", {}, "a，b", "a,b"),
    ],
)
def test_a_kind(name, given, accepted, rejected):
    assert follows(name, accepted, **given)
    assert not follows(name, rejected, **given)
    assert not follows(name, " ", **given)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("one", 1),
        ("One. Two! Three? Four", 4),
        ("Mr. Smith met Dr. Jones. They spoke.", 2),
        ("J. K. Rowling wrote it.", 1),
        ("It costs 3.50 dollars.", 1),
        ("We met at 5 p.m. in Rome. It rained.", 2),
        ("We met at 5 p.m. The rain fell.", 2),
        ("Is it 5 p.m.? Rain fell, etc.! It fell.", 3),
        ("Wait... what? No... Yes.", 3),
        ('He said "Stop." She did.', 2),
        ("What?! Really?!", 2),
        ("Fruit, e.g. apples, i.e. food, etc. and more.", 1),
        ("See www.example.com for more.", 1),
        ("So do I. We agree. I said no. It is.", 4),
        ("今日は晴れ。明日は雨。", 2),
    ],
)
def test_sentences(text, count):
    assert sentences.count_sentences(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("NASA and ESA.", 2),
        ("I am A-OK, U.S. citizen", 3),
        ("CAN'T WON'T DON'T", 6),
        ("CANNOT", 2),
        ("3D X2 42 --", 2),
        ("HARALD'S.", 2),
        ("A/B C:D", 3),
        ("*NASA* **ESA**", 2),
        ("Ünïcode ÄÖ", 1),
    ],
)
def test_words_in_capitals(text, count):
    assert sentences.capital_words(text) == count


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "'instruction_id_list' and 'kwargs'"),
        ("punctuation:no_comma", "'instruction_id_list' and 'kwargs'"),
        ({"instruction_id_list": ["punctuation:no_comma"]}, "'instruction_id_list' and 'kwargs'"),
        ({"instruction_id_list": [], "kwargs": []}, "not empty"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "one length"),
        ({"instruction_id_list": "punctuation:no_comma", "kwargs": [{}]}, "lists"),
        ({"instruction_id_list": ["punctuation:no_commas"], "kwargs": [{}]}, "no instruction 'punctuation:no_commas'"),
        ({"instruction_id_list": [["x"]], "kwargs": [{}]}, "no instruction ['x']"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [[]]}, "a mapping of arguments"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"n": 1}]}, "takes the arguments []"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": "mom"}]}, "a list of words"),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": "3", "relation": "at least"}],
            },
            "num_words must be a count, got '3'",
        ),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": 3, "relation": "at most"}],
            },
            "'less than' or 'at least'",
        ),
        (
            {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "klingon"}]},
            "a language code",
        ),
    ],
)
def test_an_answer_that_is_none_is_an_error(answer, why):
    verdict = verifiers.ifeval(Problem("p", "?", answer), "Yes.")
    assert verdict.outcome == "error"
    assert why in verdict.reason


def test_arguments_that_are_null_are_none():
    one = problem(("punctuation:no_comma", {"num_words": None, "keywords": None}))
    assert verifiers.ifeval(one, "Yes.").outcome == "correct"


def test_languages_are_the_same_every_time_and_in_every_thread():
    texts = [text for _, text in sorted(ifeval_answers.LANGUAGES.items())] + ["ok", "hello", "a b c 1 2 3", "12 34"]
    expected = [languages.likely(text) for text in texts]
    found = {}

    def look(name):
        languages._likely.cache_clear()
        found[name] = [languages.likely(text) for text in texts]

    threads = [threading.Thread(target=look, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[n] == expected for n in range(4))
    assert languages.likely("12 34") == ()


@pytest.mark.parametrize(
    "piece",
    ["[", "*", "**a", "<<", " ", "\n", "a", "a. ", ". . ", '"', "{", '"\\', "-\n", "***", "p. p. ", "a@", "字"],
)  # fmt: skip
def test_hostile_texts_are_quick(piece):
    verifiers.ifeval(problem(("language:response_language", {"language": "de"})), "Guten Tag.")  # Loads the profiles.
    given = {
        "num_words": 3, "relation": "at least", "num_sentences": 3, "num_paragraphs": 3, "num_bullets": 3,
        "num_highlights": 3, "num_sections": 3, "num_placeholders": 3, "section_spliter": "SECTION",
        "postscript_marker": "P.P.S", "letter": "a", "let_frequency": 3, "let_relation": "at least", "frequency": 3,
        "keyword": "aa", "keywords": ["ab"], "forbidden_words": ["ab"], "prompt_to_repeat": "aaa", "end_phrase": "aa",
        "language": "de", "first_word": "a", "nth_paragraph": 3, "capital_frequency": 3, "capital_relation": "at least",
    }  # fmt: skip
    text = piece * (100_000 // len(piece))
    for name, kind in instructions.KINDS.items():
        one = problem((name, {key: given[key] for key in kind.arguments}))
        for verifier in (verifiers.ifeval, verifiers.ifeval_loose):
            verdict = within(0.25, functools.partial(verifier, one, text))
            assert verdict.trains, (name, verdict)


def test_a_megabyte_is_a_limit():
    for verifier in (verifiers.ifeval, verifiers.ifeval_loose):
        one = problem(("punctuation:no_comma", {}))
        assert within(0.05, functools.partial(verifier, one, "a" * 1_000_000)).outcome == "limit"


def test_json_too_deep_is_a_limit():
    one = problem(("detectable_format:json_format", {}))
    assert verifiers.ifeval(one, "[" * 20 + "]" * 20).outcome == "correct"
    assert verifiers.ifeval(one, "[" * 10_000 + "]" * 10_000).outcome == "limit"
    assert verifiers.ifeval(one, "1" * 10_000).outcome == "correct"


def test_it_pickles():
    assert pickle.loads(pickle.dumps(verifiers.ifeval_loose)) is verifiers.ifeval_loose
