"""Tokenizers and chat templates: the real one against its official definition, and small ones by hand."""

import datetime
import json
import pathlib
import pickle

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import write_directory
from real_model import smollm2_path

import policy
from policy.tokenizer import PretrainedTokenizer, added_token, as_pretrained

ODD = [
    "", " ", "  \n\n\t\r\n ", "\n", "a  b   c    d", "trailing   ", "\u00a0\u2003x", "\ufeffbom", "a\x00b",
    "0", "12345", "3.14159", "1,000,000", "x2y3", "2026-11-20", "٣٤٥", "１２３", "½ ² ₂", "Ⅷ",
    "naïve café", "e\u0301 é", "straße", "Ελληνικά", "русский", "日本語テキスト", "한국어", "עברית", "العربية", "हिन्दी",
    "😀", "👩‍👩‍👧‍👦", "🇩🇪", "\U0010ffff", "don't can't I'll we've", "DON'T", "snake_case camelCase",
    "<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n", " <|endoftext|> ", "<|im_end", "<|IM_END|>",
    "a<repo_name>b<file_sep>", "<|im_end|><|im_end|>", "```python\nprint(1)\n```", "{\"a\": [1, 2]}", "\\frac{1}{2}",
    "$x^2$", "https://example.org/?q=1&r=2",
]  # fmt: skip
BYTES = as_pretrained(policy.ByteTokenizer())
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def smollm2():
    return policy.pretrained(smollm2_path()).tokenizer


def test_the_real_tokenizer_equals_the_official_one(smollm2, shared):
    official = tokenizers.Tokenizer.from_file(str(shared("smollm2/tokenizer.json")))
    rows = [json.loads(line) for line in shared("gsm8k/test.jsonl").read_text().splitlines()[:1000]]
    texts = ODD + [row[key] for row in rows for key in ("question", "answer")]
    sources = sorted(pathlib.Path(policy.__file__).parent.glob("*.py"))
    texts += [line for path in sources for line in path.read_text().splitlines(keepends=True)]
    texts += [path.read_text() for path in sources]
    assert len(set(texts)) >= 3000
    assert [text for text in texts if smollm2.encode(text) != official.encode(text).ids] == []
    assert [text for text in texts if "<" not in text and smollm2.decode(smollm2.encode(text)) != text] == []
    assert smollm2.vocab_size == official.get_vocab_size()


def test_the_real_chat_template(smollm2):
    text = smollm2.render([{"role": "user", "content": "What is 7+5?"}])
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhat is 7+5?<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = smollm2.chat([{"role": "user", "content": "What is 7+5?"}])
    assert ids[0] == 1  # <|im_start|>, once.
    assert ids[1] != 1
    assert ids.count(1) == 3
    assert ids.count(2) == 2
    assert smollm2.decode(ids).startswith("system\nYou are a helpful")
    own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a<|im_end|>"}]
    assert smollm2.render(own).count("<|im_start|>system") == 1
    assert smollm2.chat(own).count(2) == 3  # As in `transformers`: the text of a special token becomes it.
    assert (smollm2.ends, smollm2.pad, smollm2.special["bos_token"]) == ((2,), 2, "<|im_start|>")


def test_it_survives_a_pickle(smollm2):
    copy = pickle.loads(pickle.dumps(smollm2))
    assert (copy.ends, copy.pad, copy.vocab_size) == (smollm2.ends, smollm2.pad, smollm2.vocab_size)
    assert copy.chat(MESSAGES) == smollm2.chat(MESSAGES)


def byte_tokenizer(**changes) -> PretrainedTokenizer:
    arguments = {"ends": BYTES.ends, "template": BYTES.template, "special": BYTES.special, **changes}
    return PretrainedTokenizer(arguments.pop("definition", BYTES.definition), **arguments)


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_bytes_in_the_form_of_a_pretrained_tokenizer(text):
    ours, theirs = policy.ByteTokenizer(), BYTES
    assert theirs.encode(text) == ours.encode(text)
    assert theirs.decode(theirs.encode(text)) == ours.decode(ours.encode(text)) == text


def test_byte_chat_and_roles_in_both_forms():
    ours, theirs = policy.ByteTokenizer(), BYTES
    messages = [{"role": "system", "content": "é"}, {"role": "user", "content": "hi"}]
    assert theirs.chat(messages) == ours.chat(messages)
    assert (theirs.pad, theirs.ends, theirs.vocab_size) == (ours.pad, ours.ends, ours.vocab_size)
    assert as_pretrained(theirs) is theirs


def test_a_beginning_token_once():
    definition = json.loads(BYTES.definition)
    end = {"SpecialToken": {"id": "<|end|>", "type_id": 0}}  # Here it also begins.
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [end, sequence],
        "pair": [end, sequence, sequence],
        "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [1], "tokens": ["<|end|>"]}},
    }
    special = {"bos_token": "<|end|>"}
    template = "{{ bos_token }}{{ messages[0]['content'] }}"
    tokenizer = byte_tokenizer(definition=json.dumps(definition), special=special, template=template)
    assert tokenizer.encode("a") == [1, 99]
    assert tokenizer.chat([{"role": "user", "content": "a"}]) == [1, 99]
    assert tokenizer.decode([1, 99]) == "a"


def test_what_templates_may_use():
    template = (
        "{%- for m in messages %}\n"
        "    {%- if m.role == 'skip' %}{% continue %}{% endif %}\n"
        "    {%- generation %}{{ m.content | trim }}{% endgeneration %}\n"
        "    {%- if m.tool is defined %}!{% endif %}\n"
        "{%- endfor %}|{{ {'b': '<é>', 'a': 1} | tojson }}|{{ strftime_now('%Y') }}|{{ eos_token }}{{ nothing }}"
    )
    messages = [{"role": "skip", "content": "x"}, {"role": "user", "content": " hi ", "tool": None}]
    year = datetime.datetime.now().year
    text = byte_tokenizer(template=template).render(messages)
    assert text == f'hi|{{"b": "<é>", "a": 1}}|{year}|<|end|>'


def test_there_are_no_tools_or_documents():
    template = "{% if tools is not none or documents is not none %}tools{% endif %}{{ messages[0].content }}"
    assert byte_tokenizer(template=template).render(MESSAGES) == "hi"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('roles must alternate') }}", "refuses the messages .*roles must alternate"),
        ("{% for %}", "refuses"),
        ("{{ 1 // 0 }}", "refuses"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "refuses"),
        ("{{ messages[0].content + 1 }}", "refuses"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "not safely callable|unsafe"),
    ],
)
def test_templates_that_fail(template, message):
    with pytest.raises(ValueError, match=message):
        byte_tokenizer(template=template).chat(MESSAGES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"definition": "{"}, r"tokenizer\.json\) cannot be read"),
        ({"definition": "{}"}, "Model missing"),
        ({"ends": (), "special": {}}, "no end token"),
        ({"ends": (999,)}, "end token 999 is outside the tokenizer's 258"),
        ({"special": {"eos_token": "</s>"}}, "no token '</s>'"),
    ],
)
def test_definitions_that_fail(changes, message):
    with pytest.raises(ValueError, match=message):
        byte_tokenizer(**changes)


def test_all_end_tokens_count_once():
    tokenizer = byte_tokenizer(ends=(5, 1))
    assert tokenizer.ends == (1, 5)
    assert byte_tokenizer(ends=(7,), special={}).pad == 7


def test_text_that_is_no_text():
    with pytest.raises(ValueError, match=r"lone surrogates.*\\ud800"):
        byte_tokenizer().encode("a\ud800")


def test_an_unknown_tokenizer_has_no_file_form():
    with pytest.raises(ValueError, match="object cannot be written"):
        as_pretrained(object())  # pyright: ignore[reportArgumentType]


# What the files beside a tokenizer.json say.

PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast"}
ROLES = {**PLAIN, "eos_token": "<|end|>", "pad_token": "<|pad|>"}
ADDED = added_token("<x>", 258, special=False)
DECODER = {"258": {key: value for key, value in (ADDED | {"special": True}).items() if key != "id"}}
CASES = {  # tokenizer_config.json, other files, tokens added to tokenizer.json -> ids of "a <x>E".
    "nothing": (ROLES, {}, [], [99, 34, 62, 122, 64, 71]),
    "decoder": ({**ROLES, "added_tokens_decoder": DECODER}, {}, [], [99, 34, 258, 71]),
    "decoder, stripping": (
        {**ROLES, "added_tokens_decoder": {"258": DECODER["258"] | {"lstrip": True}}}, {}, [ADDED], [99, 258, 71],
    ),
    "two, the last first": (
        {**ROLES, "added_tokens_decoder": {"259": DECODER["258"], "258": DECODER["258"] | {"content": "<y>"}}}, {}, [],
        [99, 34, 259, 71],
    ),
    "older file": (ROLES, {"added_tokens.json": {"<x>": 258}}, [], [99, 34, 258, 71]),
    "older file says what is known": (
        ROLES, {"added_tokens.json": {"<x>": 258}}, [ADDED | {"lstrip": True, "special": True}], [99, 258, 71],
    ),
    "older file beside a newer one": (
        {**ROLES, "added_tokens_decoder": {}},
        {"added_tokens.json": {"<x>": 258}, "special_tokens_map.json": {"bos_token": "E"}}, [],
        [99, 34, 62, 122, 64, 71],
    ),
    "roles in the older file": (
        PLAIN, {"special_tokens_map.json": {"bos_token": {"content": "E"}, "eos_token": "<|end|>"}}, [],
        [99, 34, 62, 122, 64, 71],
    ),
    "both name it": (
        {**ROLES, "bos_token": "a"}, {"special_tokens_map.json": {"bos_token": "E"}}, [], [99, 34, 62, 122, 64, 71],
    ),
    "additional": ({**ROLES, "additional_special_tokens": ["E", "<x>"]}, {}, [ADDED], [99, 34, 258, 71]),
    "a role of its own": (
        {**ROLES, "add_bos_token": True, "extra_special_tokens": {"image_token": "E"}}, {}, [],
        [99, 34, 62, 122, 64, 71],
    ),
    "an end of the vocabulary": ({**PLAIN, "eos_token": "E"}, {}, [], [99, 34, 62, 122, 64, 71]),
    "an end that is not special": ({**PLAIN, "eos_token": "<x>"}, {}, [ADDED], [99, 34, 258, 71]),
    "a pad of no id": ({**PLAIN, "eos_token": "<|end|>", "pad_token": "[PAD]"}, {}, [], [99, 34, 62, 122, 64, 71]),
}  # fmt: skip
TEXT_OF_ROLES = "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ image_token }}"


def directory(tmp_path, config, files, added) -> pathlib.Path:
    path = write_directory(tmp_path / "tiny")
    definition = json.loads(BYTES.definition)
    definition["added_tokens"] += added
    files = {"tokenizer.json": definition, "tokenizer_config.json": config, **files}
    for name, content in files.items():
        (path / name).write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("case", CASES)
def test_special_tokens_named_beside_the_definition(tmp_path, case):
    *arguments, ids = CASES[case]
    tokenizer = policy.pretrained(directory(tmp_path, *arguments)).tokenizer
    assert tokenizer.encode("a <x>E") == ids
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert (copy.encode("a <x>E"), copy.decode(ids)) == (ids, tokenizer.decode(ids))


@pytest.mark.parametrize("case", CASES)
def test_special_tokens_as_in_transformers(tmp_path, case):
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    config, files, added, ids = CASES[case]
    path = directory(tmp_path, {**config, "chat_template": TEXT_OF_ROLES}, files, added)
    ours, theirs = policy.pretrained(path).tokenizer, transformers.AutoTokenizer.from_pretrained(path)
    for text in ("a <x>E", "E<|end|> <y>x <x> <|pad|>E"):
        assert ours.encode(text) == theirs(text)["input_ids"]
    every = [*range(258), *ids]
    assert ours.decode(every) == theirs.decode(every, skip_special_tokens=True)
    assert ours.render(MESSAGES) == theirs.apply_chat_template(MESSAGES, tokenize=False)


def test_roles_that_other_files_give(tmp_path):
    roles = {"bos_token": "a", "eos_token": "E", "pad_token": "[PAD]"}
    path = directory(tmp_path, {"bos_token": "b"}, {"special_tokens_map.json": roles}, [])
    tokenizer = policy.pretrained(path).tokenizer
    assert (tokenizer.ends, tokenizer.pad, tokenizer.special) == ((1, 71), 1, roles)
    assert tokenizer.decode(tokenizer.encode("aEb")) == "b"


def test_a_token_of_no_id_is_plain_text(tmp_path):
    config = {**ROLES, "unk_token": "<u>", "additional_special_tokens": ["<z>"]}
    tokenizer = policy.pretrained(directory(tmp_path, config, {}, [])).tokenizer
    assert tokenizer.decode(tokenizer.encode("<u><z>")) == "<u><z>"


def test_what_needs_no_other_file_stays_as_written(tmp_path):
    path = directory(tmp_path, ROLES, {"added_tokens.json": {"<x>": 258}}, [ADDED])
    assert policy.pretrained(path).tokenizer.definition == (path / "tokenizer.json").read_text()


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        ({"eos_token": "</s>"}, {}, "name the eos_token '</s>', but none gives it an id"),
        ({"additional_special_tokens": "<z>"}, {}, "additional special tokens are '<z>', expected a list"),
        ({"additional_special_tokens": [3]}, {}, "additional special token is 3, expected a text"),
        ({"added_tokens_decoder": {"259": {"content": "<x>"}}}, {}, "token '<x>' the id 259, .*json it is 258"),
        ({"added_tokens_decoder": {"300": {"content": "<y>"}}}, {}, "token '<y>' the id 300, .*json it is 259"),
        ({"added_tokens_decoder": {"x": {"content": "<y>"}}}, {}, r"tokenizer_config\.json: the added tokens are {'x'"),
        ({"added_tokens_decoder": {"259": {}}}, {}, "token 259 is None, expected a text"),
        ({"added_tokens_decoder": []}, {}, r"added tokens are \[\], expected ids"),
        ({}, {"added_tokens.json": {"E": 5}}, "token 'E' the id 5, .*json it is 71"),
        ({}, {"added_tokens.json": {"<y>": [1]}}, r"added_tokens\.json: the added tokens are {'\[1\]'"),
        (
            {},
            {"special_tokens_map.json": {"bos_token": 5}},
            r"special_tokens_map\.json: bos_token is 5, expected a text",
        ),
        ({}, {"special_tokens_map.json": []}, r"special_tokens_map\.json holds a list"),
    ],
)
def test_special_tokens_that_are_refused(tmp_path, config, files, message):
    path = directory(tmp_path, config, files, [ADDED])
    with pytest.raises(ValueError, match=message) as caught:
        policy.pretrained(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "{% if tools is not none %}T{% endif %}{{ messages[0].content }}",
        "{% if tools is defined %}D{% endif %}{% if tools %}T{% endif %}",
        "{% if documents is none %}A{% else %}B{% endif %}",
        "{{ date_string is defined }}{{ enable_thinking is defined }}{{ add_generation_prompt }}",
    ],
)
def test_templates_find_no_tools(tmp_path, template):
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    path = directory(tmp_path, {**ROLES, "chat_template": template}, {}, [])
    theirs = transformers.AutoTokenizer.from_pretrained(path)
    expected = theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert policy.pretrained(path).tokenizer.render(MESSAGES) == expected
