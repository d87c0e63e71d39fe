"""Tokenizers and chat templates: the real one against its official definition, and small ones by hand."""

import datetime
import json
import pathlib
import pickle

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from real_model import smollm2_path

import policy
from policy.tokenizer import PretrainedTokenizer, as_pretrained

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
