"""The policy against `transformers` on the real SmolLM2-135M-Instruct.

Where `transformers` is not installed, against tests/data/reference_logits.json, which it made
(tests/data/make_reference.py says how).
"""

import json
import pathlib

import jax
import numpy as np
import pytest
from numpy_transformer import logits as numpy_logits
from parity_cases import CHATS, GREEDY_TOKENS, TEXTS
from real_model import smollm2_path
from test_tokenizer import ODD

import policy
from policy.attention import TILE, key_tiles
from policy.transformer import engine_params, to_host

REFERENCE = json.loads((pathlib.Path(__file__).parent / "data" / "reference_logits.json").read_text())["cases"]
PROMPTS = (*CHATS, *TEXTS)


@pytest.fixture(scope="module")
def model():
    return policy.pretrained(smollm2_path())


@pytest.fixture(scope="module")
def params(model):
    return jax.device_put(model.load(0))


@pytest.fixture(scope="module")
def logits(model, params):
    """tokens [T] -> float32 logits [T, V] of the policy in float32."""
    made = policy.make_policy(model.config, "float32")

    @jax.jit
    def run(params, tokens, segment, position, keys):
        return made.head(params, made.hidden(params, tokens, segment, segment, position, keys)).T

    def function(tokens):
        columns = 96  # One shape for all prompts.
        assert len(tokens) <= columns
        assert columns % TILE == 0
        row, segment = np.zeros((1, columns), np.int32), np.ones((1, columns), np.int32)
        row[0, : len(tokens)] = tokens  # What follows them they do not see.
        position = np.arange(columns, dtype=np.int32)[None]
        return np.asarray(run(params, row, segment, position, key_tiles(segment, segment)))[: len(tokens)]

    return function


@pytest.fixture(scope="module")
def greedy(model, params):
    """The greedy continuations of the chats: tokens and texts."""
    engine = policy.Engine(
        model, seed=0, slots=len(CHATS), prompt_columns=96, max_tokens=GREEDY_TOKENS, dtype="float32"
    )
    engine.load(policy.Versioned(0, to_host(engine_params(params, np.float32))))
    for i, chat in enumerate(CHATS):
        engine.submit(i, model.tokenizer.chat(chat), options=policy.SamplingOptions(temperature=0), index=i)
    found = {}
    while not engine.idle:
        found |= dict(engine.step())
    return [found[i][0] for i in range(len(CHATS))]


@pytest.fixture(scope="module")
def exported(model, params, tmp_path_factory):
    """`transformers`' tokenizer and network, from the directory that `policy.export` wrote in float32."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    torch = pytest.importorskip("torch", reason="needs torch (the extra `parity`)")
    torch.set_num_threads(1)  # More than one waits on the others where the machine is busy.
    path = policy.export(params, model, tmp_path_factory.mktemp("export") / "smollm2", dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    network = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    return tokenizer, network


# Everywhere.


@pytest.mark.parametrize("case", range(len(PROMPTS)))
def test_reference_logits(case, model, logits):
    reference = REFERENCE[case]
    tokens = policy.prompt_tokens(model.tokenizer, PROMPTS[case])
    assert tokens == reference["tokens"]
    last = logits(tokens)[-1]
    for token, expected in (reference["largest"] | reference["fixed"]).items():
        assert last[int(token)] == pytest.approx(expected, abs=1e-3)
    assert np.argsort(-last)[:5].tolist() == [int(token) for token in reference["largest"]][:5]
    assert last.mean() == pytest.approx(reference["mean"], abs=1e-4)
    assert last.std() == pytest.approx(reference["deviation"], abs=1e-4)


def test_reference_greedy_tokens(greedy):
    assert [completion.tokens.tolist() for completion in greedy] == [case["greedy"] for case in REFERENCE[: len(CHATS)]]
    assert "Paris" in greedy[0].text


# Of |engine's log-probability - learner's| of a sampled token: the mean, the 99th percentile and the greatest.
@pytest.mark.parametrize(("dtype", "bounds"), [("float32", (1e-5, 5e-5, 1e-4)), ("bfloat16", (0.04, 0.25, 0.6))])
def test_sampler_and_learner_agree(dtype, bounds, model, params):
    engine = policy.Engine(model, seed=0, slots=20, prompt_columns=96, max_tokens=48, dtype=dtype)
    engine.load(policy.Versioned(0, to_host(jax.jit(engine_params, static_argnums=1)(params, dtype))))
    for i, chat in enumerate(CHATS):
        engine.submit(i, model.tokenizer.chat(chat), samples=4, index=i)
    done = {}
    while not engine.idle:
        done |= dict(engine.step())
    made = policy.make_policy(model.config, dtype)
    segment, position = np.ones((1, 160), np.int32), np.arange(160, dtype=np.int32)[None]
    rest = segment, segment, position, key_tiles(segment, segment)
    logprobs = jax.jit(lambda params, *row: jax.nn.log_softmax(made.head(params, made.hidden(params, *row)), axis=0))
    gaps = []
    for c in (completion for completions in done.values() for completion in completions):
        row, n = np.zeros((1, 160), np.int32), len(c.prompt) + len(c.tokens)
        row[0, :n] = [*c.prompt, *c.tokens]
        theirs = np.asarray(logprobs(params, row, *rest))[c.tokens, np.arange(len(c.prompt) - 1, n - 1)]
        gaps += np.abs(c.policy_logprobs - theirs).tolist()
    mean, p50, p99, most = np.mean(gaps), np.median(gaps), np.quantile(gaps, 0.99), max(gaps)
    print(f"{dtype}, {len(gaps)} tokens: mean {mean:.2g}, p50 {p50:.2g}, p99 {p99:.2g}, max {most:.2g}")
    assert (mean, p99, most) == tuple(map(min, (mean, p99, most), bounds))


def test_numpy_agrees(model, params, logits):
    tokens = model.tokenizer.encode(TEXTS[0])
    difference = np.abs(numpy_logits(params, model.config, tokens) - logits(tokens))
    assert difference.max() < 1e-3


# With `transformers`.


def test_logits(model, logits, exported):
    torch = pytest.importorskip("torch")
    _, network = exported
    for prompt in PROMPTS:
        tokens = policy.prompt_tokens(model.tokenizer, prompt)
        with torch.no_grad():
            expected = network(torch.tensor([tokens])).logits[0].numpy()
        assert np.abs(logits(tokens) - expected).max() < 1e-3  # At every position, over the whole vocabulary.


def test_greedy_text(model, greedy, exported):
    torch = pytest.importorskip("torch")
    tokenizer, network = exported
    for chat, completion in zip(CHATS, greedy, strict=True):
        # Each token is the network's first choice after those before it: greedy decoding writes this text.
        tokens, written = model.tokenizer.chat(chat), completion.tokens.tolist()
        with torch.no_grad():
            choices = network(torch.tensor([tokens + written])).logits[0].argmax(dim=-1).tolist()
        assert choices[len(tokens) - 1 : -1] == written
        assert len(written) == GREEDY_TOKENS or written[-1] == tokenizer.eos_token_id
        assert completion.text == tokenizer.decode(written, skip_special_tokens=True)
    tokens = torch.tensor([model.tokenizer.chat(CHATS[0])])  # The shortest by its own loop too.
    written = network.generate(tokens, max_new_tokens=GREEDY_TOKENS, do_sample=False)[0, tokens.shape[1] :]
    assert greedy[0].tokens.tolist() == written.tolist()


def test_chat_templates_render_alike(model, exported):
    tokenizer, _ = exported
    chats = [*CHATS, *([{"role": "user", "content": text}] for text in ODD)]
    chats += [[{"role": "system", "content": text}, {"role": "user", "content": text, "name": None}] for text in ODD]
    for chat in chats:
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        assert model.tokenizer.render(chat) == text
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        assert model.tokenizer.chat(chat) == ids


def test_the_exported_tokenizer(model, exported):
    tokenizer, _ = exported
    for text in ODD:
        ids = model.tokenizer.encode(text)
        assert tokenizer(text)["input_ids"] == ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == model.tokenizer.decode(ids)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id) == (2, 2, 1)


@pytest.mark.parametrize("tied", [True, False])
def test_a_small_export_loads_in_transformers(tied, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    torch = pytest.importorskip("torch", reason="needs torch (the extra `parity`)")
    config = policy.TransformerConfig(
        vocab_size=258, width=24, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=10, mlp_width=40, context=64,
        rope_theta=500.0, norm_epsilon=1e-3, tied_embedding=tied,
    )  # fmt: skip
    model = policy.from_scratch(config, policy.ByteTokenizer())
    params = {module: {k: v * 8 for k, v in leaves.items()} for module, leaves in model.load(0).items()}
    path = policy.export(params, model, tmp_path / "out", dtype="bfloat16")
    network, loading = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(loading.values()), loading
    tokens = model.tokenizer.chat(CHATS[0])[:48]
    with torch.no_grad():
        expected = network(torch.tensor([tokens])).logits[0].numpy()
    back = policy.pretrained(path)
    np.testing.assert_allclose(numpy_logits(back.load(0), back.config, tokens), expected, atol=1e-3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    assert tokenizer.apply_chat_template(CHATS[3], add_generation_prompt=True, return_dict=False) == (
        policy.ByteTokenizer().chat(CHATS[3])
    )
    assert network.generation_config.eos_token_id == [1]


def test_a_directory_of_transformers_comes_in(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers (the extra `parity`)")
    torch = pytest.importorskip("torch", reason="needs torch (the extra `parity`)")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=1, max_position_embeddings=128, eos_token_id=[1, 5], initializer_range=0.3,
    )  # fmt: skip
    network = transformers.LlamaForCausalLM(config).eval()
    network.save_pretrained(tmp_path / "theirs", max_shard_size="40KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    (tmp_path / "theirs" / "tokenizer.json").write_text(
        policy.tokenizer.as_pretrained(policy.ByteTokenizer()).definition
    )
    model = policy.pretrained(tmp_path / "theirs")
    tokens = np.random.default_rng(0).integers(0, 300, 40).tolist()
    with torch.no_grad():
        expected = network(torch.tensor([tokens])).logits[0].numpy()
    np.testing.assert_allclose(numpy_logits(model.load(0), model.config, tokens), expected, atol=1e-3)
    assert model.tokenizer.ends == (1, 5)
