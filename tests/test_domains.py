"""The rule-based verifiers beside math and code: choices, patterns, schemas, countdown, units. Each case by hand."""

import json
import pickle
import threading
from fractions import Fraction

import pytest
from quick import within

import verifiers
from verifiers import measures
from verifiers.types import Problem

GAME = {"numbers": [57, 75, 67], "target": 65, "use": "at_most_once"}
ALL = {"numbers": [3, 3, 8, 8], "target": 24, "use": "exactly_once"}
PERSON = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["a"],
    "additionalProperties": False,
}


def judge(verifier, answer, completion):
    return verifier(Problem("p", "?", answer), completion)


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("C", "correct"),
        (" (C) ", "correct"),
        ("c.", "correct"),
        ("C) 42", "correct"),
        ("C: the cat", "correct"),
        ("C. Vitamin A and B", "correct"),
        ("C. A dog", "correct"),  # Its text begins with what could be a letter, or with "not".
        ("The answer is (C) A large city.", "correct"),
        ("C. I and II only", "correct"),
        ("C) Not enough information", "correct"),
        (r"The answer is \(C\).", "correct"),
        ("option (C)", "correct"),
        ("**C**", "correct"),
        ("$C$", "correct"),
        ("Ｃ", "correct"),
        (r"So \boxed{C}.", "correct"),
        (r"\boxed{\text{(C)}}", "correct"),
        ("I think.\nThe answer is C because it is.", "correct"),
        ("The answer is **(C)**", "correct"),
        ("Answer: C", "correct"),
        ("#### C", "correct"),
        ("<think>B</think>C", "correct"),
        ("B", "incorrect"),
        ("A and C", "incorrect"),
        ("C or D", "incorrect"),
        ("C, D", "incorrect"),
        ("C/D", "incorrect"),
        ("(C) or (D)", "incorrect"),
        ("C) or D)", "incorrect"),
        ("C. A. B.", "incorrect"),
        ("C. D", "incorrect"),
        ("C. or maybe D", "incorrect"),
        ("(C) not D because", "incorrect"),
        ("C. D and E", "incorrect"),
        ("A B C D", "incorrect"),
        ("The answer is C, not B.", "incorrect"),
        (r"\boxed{A}, \boxed{C}", "incorrect"),
        ("С", "unparsed"),  # Cyrillic.
        ("", "unparsed"),
        ("CD", "unparsed"),
        ("not C", "unparsed"),
        ("I think C", "unparsed"),
        ("The answer is a banana", "unparsed"),
        ("<think>C</think>", "unparsed"),
        ("<think>C", "unparsed"),
    ],
)
def test_choice(completion, outcome):
    assert judge(verifiers.choice, "C", completion).outcome == outcome


@pytest.mark.parametrize(
    ("pattern", "completion", "outcome"),
    [
        (r"\d{3}-\d{4}", " 555-1234\n", "correct"),
        (r"\d+", "12a", "incorrect"),
        ("a|ab", "ab", "correct"),
        ("a.b", "a\nb", "incorrect"),
        ("(?s)a.b", "a\nb", "correct"),
        ("é+", "éé", "correct"),
        ("a", "<think>b</think> a", "correct"),
        ("a", "<think>a", "unparsed"),
        (".*", "  ", "unparsed"),
        ("a", "\ud800", "incorrect"),
    ],
)
def test_regex(pattern, completion, outcome):
    assert judge(verifiers.regex, pattern, completion).outcome == outcome


@pytest.mark.parametrize(
    ("schema", "completion", "outcome"),
    [
        (PERSON, '{"a": 1}', "correct"),
        (json.dumps(PERSON), '{"a": 1, "b": "x"}', "correct"),
        (PERSON, 'Here:\n```json\n{"a": 1}\n```\nOk.', "correct"),
        (PERSON, '<think>{}</think>{"a": 1}', "correct"),
        (PERSON, '{"a": 1, "b": "X"}', "incorrect"),
        (PERSON, '{"a": 1, "c": 2}', "incorrect"),
        (PERSON, "[]", "incorrect"),
        (PERSON, 'Here: {"a": 1}', "unparsed"),
        (PERSON, '{"a": 1, "a": 2}', "unparsed"),
        (PERSON, "", "unparsed"),
        (True, "1", "correct"),
        (False, "1", "incorrect"),
        ({"type": "number"}, "NaN", "unparsed"),
        ({"uniqueItems": True}, '[1, true, "1", [1], [true]]', "correct"),
        ({"uniqueItems": True}, '[{"a": 1}, {"a": 1.0}]', "incorrect"),
        ({"multipleOf": 0.01}, "4.35", "correct"),
        ({"multipleOf": 0.01}, "4.355", "incorrect"),
        ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": {"type": "null"}},
         '{"x1": 1, "y": null}', "correct"),
        ({"patternProperties": {"^x": {"type": "integer"}}}, '{"x1": "1"}', "incorrect"),
        ({"additionalProperties": {"type": "null"}}, '{"y": 1}', "incorrect"),
        ({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}, "[1, 2.5]", "incorrect"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}, '["a"]', "incorrect"),
        ({"enum": [{"pattern": "("}]}, '{"pattern": "("}', "correct"),  # Data, no pattern.
        ({"properties": {"pattern": {"type": "string"}}}, '{"pattern": "("}', "correct"),
        ({"pattern": r"^\p{L}+$"}, '"é"', "correct"),  # RE2's, and not Python's.
        ({"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "x"}]}, '{"$ref": "x"}', "correct"),
        ({"$id": "http://a/b", "$defs": {"n": {"$id": "c", "type": "integer"}}, "items": {"$ref": "c"}},
         "[1]", "correct"),
        ({"$defs": {"n": {"type": "integer"}}, "allOf": [{"$ref": "#/$defs/n"}] * 2}, "1", "correct"),
    ],
)  # fmt: skip
def test_json_schema(schema, completion, outcome):
    assert judge(verifiers.json_schema, schema, completion).outcome == outcome


@pytest.mark.parametrize(
    ("game", "completion", "outcome"),
    [
        (GAME, "57 + (75 - 67)", "correct"),
        (GAME, "57 + (75 - 67) = 65", "correct"),
        (GAME, "**57+75-67**", "correct"),
        (GAME, r"So $\boxed{57 + 75 - 67}$", "correct"),
        (GAME, "<think>57</think> <answer>57+75-67</answer>", "correct"),
        (GAME, "The answer is 57 + 75 − 67.", "correct"),
        (ALL, "8/(3-8/3)", "correct"),
        (ALL, r"8 \div \left(3 - 8 \div 3\right)", "correct"),
        (ALL, r"\boxed{\frac{8}{3 - \frac{8}{3}}}", "correct"),
        (ALL, r"\[\frac{8}{3 - \dfrac{8}{3}} = 24\]", "correct"),
        (ALL, "**8/(3-8/3)** = 24", "correct"),
        ({"numbers": [5, 3], "target": 2, "use": "at_most_once"}, "5**-3", "unparsed"),  # A power, no difference.
        ({"numbers": [1, 2], "target": 2, "use": "exactly_once"}, r"\boxed{\frac{2}{1}}", "correct"),
        (GAME, "57 + (75 - 67) = 66", "incorrect"),
        (GAME, "65", "incorrect"),
        (GAME, "57+57", "incorrect"),
        (ALL, "3*8", "incorrect"),  # Not every number.
        (ALL, "3*8*(8-3)/(8-3)", "incorrect"),  # One too often.
        (ALL, "8/(3-3)+8", "incorrect"),
        ({"numbers": [3, 8], "target": 38, "use": "at_most_once"}, "38", "incorrect"),
        (GAME, "9**9**9", "unparsed"),
        (GAME, "57+75-67, 75+57-67", "unparsed"),
        (GAME, "57 + 75 - 67 = 65 = 65", "unparsed"),
        (GAME, "５７+75-67", "unparsed"),
        (GAME, "57.0+75-67", "unparsed"),
        (GAME, "57 75", "unparsed"),
        (GAME, "__import__('os').system('true')", "unparsed"),
        (GAME, "<think>57+75-67</think>", "unparsed"),
        (GAME, "", "unparsed"),
        (GAME, "(" * 400 + "1" + ")" * 400, "limit"),
        (GAME, "-" * 900 + "1", "limit"),
        (GAME, "1" * 900, "limit"),
    ],
)
def test_countdown(game, completion, outcome):
    assert judge(verifiers.countdown, game, completion).outcome == outcome


def test_countdowns_of_the_data_accept_their_solution(shared):
    for line in shared("countdown/countdown_3to4.jsonl").read_text().splitlines()[::4]:
        row = json.loads(line)
        game = {"numbers": row["nums"], "target": row["target"], "use": "at_most_once"}
        assert judge(verifiers.countdown, game, row["solution"]).outcome == "correct", row
        assert judge(verifiers.countdown, {**game, "target": row["target"] + 1}, row["solution"]).reward == 0
        assert judge(verifiers.countdown, game, str(row["target"])).reward == (row["target"] in row["nums"])


@pytest.mark.parametrize(
    ("gold", "completion", "outcome"),
    [
        ("5 m", "500 cm", "correct"),
        ("5 m", "10/2 m", "correct"),
        ("5 m", "5×10⁰ m", "correct"),
        ("25 °C", "298.15 K", "correct"),
        (r"25\,^\circ\text{C}", "77 °F", "correct"),
        ("1 mi", "1.60934 km", "correct"),
        ("1.60934 km", "1 mi", "correct"),
        ("1/3 m", "0.333333 m", "correct"),
        ("9.81 m/s^2", r"So \boxed{9.81\,\text{m/s}^2}.", "correct"),
        ("3e8 m/s", r"The answer is $3 \times 10^{8}$ m/s.", "correct"),
        ("3e8 m/s", "300,000 km/s", "correct"),
        ("4186 J/(kg K)", "4.186 kJ/kg/K", "correct"),
        ("180 degrees", "3.14159 rad", "correct"),
        ("2 m^2", "20000 cm²", "correct"),
        ("2 μF", r"$2\,\mu\text{F}$", "correct"),
        ("4 kΩ", r"4\,\text{k}\Omega", "correct"),
        ("1 AU", "149597870700 m", "correct"),
        ("8 fl oz", "1 cup", "correct"),
        ("20 °C", "20 ℃", "correct"),
        ("20 °C", "20 degrees C", "correct"),
        ("3 kWh", "3 kilowatt-hours", "correct"),
        ("5 km", "5 Km", "correct"),
        ("5 km", r"\boxed{\text{5 km}}", "correct"),
        ("5 km", r"5{,}000 m", "correct"),
        ("62 in", "5 ft 2 in", "unparsed"),  # Not 5 ft²·in.
        ("5 m", "5 cm", "incorrect"),
        ("5 m", "-5 m", "incorrect"),
        ("5 m", "5 s", "incorrect"),
        ("1 mi", "1.61 km", "incorrect"),
        ("1/3 m", "0.33 m", "incorrect"),
        ("5 m", "5", "unparsed"),
        ("5 m", "5 m or 6 m", "unparsed"),
        ("5 m", "5 м", "unparsed"),  # Cyrillic.
        ("5 m", "5/0 m", "unparsed"),
        ("5 m", "9**9**8 m", "unparsed"),
        ("5 m", "5 m**9**9**8", "unparsed"),
        ("5 m", "__import__('os').system('true') m", "unparsed"),
        ("5 m", "1e999999999 m", "limit"),
        ("5 m", "1" * 250 + " m", "limit"),
    ],
)
def test_units(gold, completion, outcome):
    assert judge(verifiers.units, gold, completion).outcome == outcome


def test_units_with_a_tolerance():
    problem = Problem("p", "?", "9.81 m/s^2")
    assert verifiers.units(problem, "9.8 m/s^2", tolerance=0.01).outcome == "correct"
    assert verifiers.units(problem, "9.5 m/s^2", tolerance=0.01).outcome == "incorrect"
    assert verifiers.units(Problem("p", "?", "10 m"), "13 m", tolerance=0.3).outcome == "correct"  # Not in binary.
    warm = Problem("p", "?", "25 °C")
    assert verifiers.units(warm, "25.2 °C", tolerance=0.01).outcome == "correct"
    assert verifiers.units(warm, "298.4 K", tolerance=0.01).outcome == "correct"
    assert verifiers.units(warm, "27 °C", tolerance=0.01).outcome == "incorrect"  # 1 % of 298 K would be 3 degrees.
    with pytest.raises(ValueError, match="tolerance must lie in"):
        verifiers.units(problem, "9.8 m/s^2", tolerance=1.0)


def test_names_of_units():
    meter, second = measures.parse_unit("m"), measures.parse_unit("s")
    assert measures.same(Fraction(5), meter, Fraction(500), measures.parse_unit("centimeters"))
    assert not measures.same(Fraction(5), meter, Fraction(5), second)
    assert measures.parse_unit("km/h").factor == Fraction(5, 18)
    assert measures.parse_unit("square feet").factor == Fraction(3048, 10_000) ** 2
    assert measures.parse_unit("J/kg·K") == measures.parse_unit(r"\frac{\text{J}}{\text{kg} \text{K}}")
    assert measures.parse_unit("°C").offset == Fraction("273.15")
    for text in ("", "apples", "units", "points", "cats", "dB", "9**9**8", "m^999", "/s", "(m", "x", "m" * 99, "°C^2"):
        assert measures.parse_unit(text) is None, text


BAD = [
    (verifiers.choice, (None, "", 3, "CD", ["C"], True)),
    (verifiers.regex, (None, 5, "(", "(?=a)a", r"(a)\1", "((a{99}){99}){99}")),
    (
        verifiers.json_schema,
        (None, 5, "{", {"type": "strin"}, {"$ref": "#"}, {"$ref": "http://example.com/x"}, {"pattern": "(?=a)"},
         {"anyOf": [{"type": "integer"}, {"$ref": "http://example.com/x"}]}, {"items": {"$ref": "#/nowhere"}},
         {"$ref": "http://["}, {"prefixItems": [{}], "$ref": "#/prefixItems/x"}, {"$schema": []}, {"$schema": 5},
         {"$schema": "http://example.com/y"}, {"const": {1, 2}}),
    ),
    (
        verifiers.countdown,
        (None, {"numbers": [1], "target": 1}, {**GAME, "numbers": []}, {**GAME, "numbers": ["1"]},
         {**GAME, "numbers": [True]}, {**GAME, "target": 1.5}, {**GAME, "use": "once"}, {**GAME, "numbers": [-1]}),
    ),
    (verifiers.units, (None, 5, "5", "five m", "5 blorps", "1e999999 m", "5 ft 2 in")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("verifier", "answer"), [(verifier, answer) for verifier, answers in BAD for answer in answers]
)
def test_an_answer_that_does_not_parse_is_an_error(verifier, answer):
    verdict = judge(verifier, answer, "1")
    assert verdict.outcome == "error"
    assert "the problem's answer" in verdict.reason


HOSTILE = ["a" * 1_000_000, "(" * 1_000_000, "\\boxed{" * 150_000, "[" * 90_000, "$" * 50_000, "1" * 90_000,
           "\n" * 90_000,
           "C " * 40_000, "(C) " * 20_000, '{"a":' * 15_000, '"' + "a" * 90_000 + 'b"', "9**9**8 m", "**" * 40_000,
           "[" + "1," * 40_000 + "1]", "the answer is " * 6_000, "<answer>" * 10_000, "```" * 30_000, "-" * 1000,
           "\ud800" * 90_000, "\x00" * 90_000, "1e" * 40_000, "m/" * 45_000,
           "{" + ",".join(f'"k{n}":0' for n in range(8000)) + ',"k7999":0}', "5 " + "m " * 140]  # fmt: skip


@pytest.mark.parametrize(
    ("verifier", "answer"),
    [
        (verifiers.choice, "C"),
        (verifiers.regex, "(a+)+$b"),
        (verifiers.regex, "(?s)(.*)*x"),
        (verifiers.json_schema, PERSON),
        (verifiers.json_schema, {"pattern": "(a+)+$", "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}),
        (verifiers.countdown, GAME),
        (verifiers.units, "5 m"),
    ],
)
def test_hostile_completions_are_quick(verifier, answer):
    judge(verifier, answer, "5 cm")  # What is loaded once.
    for completion in HOSTILE:
        verdict = within(0.25, lambda completion=completion: judge(verifier, answer, completion))
        assert verdict.reward == 0, completion[:20]
        assert verdict.trains, (completion[:20], verdict)
        assert len(json.dumps([verdict.answer, verdict.reason])) < 5000


def test_a_completion_too_deep_for_the_schema_is_a_limit():
    inner = {"properties": {"x": {"$ref": "#"}}}
    for _ in range(12):
        inner = {"allOf": [inner]}
    assert judge(verifiers.json_schema, inner, '{"x": {"x": {}}}').outcome == "correct"
    # At Python's own limit a library of jsonschema's raises what no `except Exception` catches.
    assert judge(verifiers.json_schema, inner, '{"x":' * 39 + "{}" + "}" * 39).outcome == "limit"


def test_a_schema_of_many_patterns_is_quick():
    schema = {"patternProperties": {f"(a|b|{n})*c": {} for n in range(30)}, "additionalProperties": {"type": "integer"}}
    few, many = ("{" + ",".join(f'"k{n}":1' for n in range(count)) + "}" for count in (100, 8000))
    assert judge(verifiers.json_schema, schema, few).outcome == "correct"
    assert within(0.25, lambda: judge(verifiers.json_schema, schema, many)).outcome == "limit"
    slow = "[ab]*a[ab]{900}c"  # RE2 takes a step for each of its instructions and each character.
    for verifier, answer in ((verifiers.regex, slow), (verifiers.json_schema, {"pattern": slow})):
        text = "".join("ab"[n * n % 7 < 3] for n in range(49_000))
        assert within(0.25, lambda v=verifier, a=answer, t=text: judge(v, a, f'"{t}"')).outcome == "limit"


def test_a_schema_that_branches_is_a_limit():
    schema = {"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}], "minItems": 1}
    assert judge(verifiers.json_schema, schema, "[" * 39 + "]" * 39).outcome == "limit"
    assert judge(verifiers.json_schema, {}, "[" * 99 + "]" * 99).outcome == "limit"


@pytest.mark.parametrize(
    "name", ["choice", "regex", "json_schema", "ifeval", "ifeval_loose", "countdown", "units", "sql"]
)
def test_found_by_name_and_pickled(name):
    verifier = verifiers.load(f"verifiers:{name}")
    assert verifier is vars(verifiers)[name]
    assert pickle.loads(pickle.dumps(verifier)) is verifier


def test_from_several_threads():
    found = []

    def look():
        found.append(judge(verifiers.units, "5 m", "16.4042 ft").outcome)
        found.append(judge(verifiers.json_schema, PERSON, '{"a": 1}').outcome)
        found.append(judge(verifiers.regex, "[a-z]+", "abc").outcome)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["correct"] * 24


SAID = [
    (verifiers.number, "4", r"\boxed{4}", "4"),
    (verifiers.exact, "4", "4", "4"),
    (verifiers.math, "4", r"\boxed{4}", r"\boxed{4}"),
    (verifiers.choice, "B", r"\boxed{B}", "B"),
    (verifiers.units, "4 m", r"\boxed{4 m}", "4 m"),
    (verifiers.countdown, GAME, r"\boxed{57+75-67}", "57+75-67"),
]


@pytest.mark.parametrize(("verifier", "answer", "boxed", "bare"), SAID, ids=lambda x: getattr(x, "__name__", ""))
@pytest.mark.parametrize("length", [10, 3_000, 90_000])
def test_of_thinking_only_its_end_matters_however_long_it_is(verifier, answer, boxed, bare, length):
    thinking = "<think>" + "hm " * (length // 3)
    for said in (boxed, bare):
        assert judge(verifier, answer, f"{thinking} maybe {said}").outcome == "unparsed"
    assert judge(verifier, answer, f"{thinking}</think>{bare}").outcome == "correct"
