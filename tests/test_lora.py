"""LoRA adapters: by hand, against PEFT, and what is refused."""

import json
import pickle

import jax
import numpy as np
import pytest
from model_files import BYTES, CONFIG, TIED, assert_equal, described, tensors, write_directory
from safetensors.numpy import load_file, save_file

import policy
from policy.lora import Adapter, Factors, check_fit, merge, read_adapter, write_adapter

Q = "model.layers.1.self_attn.q_proj"
EMBEDDING = "model.embed_tokens"
RNG = np.random.default_rng(0)


def normal(*shape) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


PARTS = {
    f"base_model.model.{Q}.lora_A.weight": normal(2, 8),
    f"base_model.model.{Q}.lora_B.weight": normal(24, 2),
    f"base_model.model.{EMBEDDING}.lora_embedding_A": normal(2, 260),
    f"base_model.model.{EMBEDDING}.lora_embedding_B": normal(8, 2),
}
OPTIONS = {
    "peft_type": "LORA", "base_model_name_or_path": "a/b", "r": 2, "lora_alpha": 6, "bias": "none",
    "target_modules": ["q_proj", "embed_tokens"], "use_dora": False, "modules_to_save": None, "loftq_config": {},
    "runtime_config": {"ephemeral_gpu_offload": False}, "init_lora_weights": True, "task_type": "CAUSAL_LM",
}  # fmt: skip


def write_parts(path, options=None, parts=None):
    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps(OPTIONS | (options or {})))
    save_file(PARTS if parts is None else parts, path / "adapter_model.safetensors")
    return path


def test_merged_by_hand(tmp_path):
    weights = tensors()
    base = write_directory(tmp_path / "base", weights=weights)
    adapter = write_parts(tmp_path / "adapter")
    model = policy.pretrained(base, adapter=adapter)
    assert model.name == "base + adapter"
    a, b, ea, eb = PARTS.values()
    changed = weights | {
        f"{Q}.weight": weights[f"{Q}.weight"] + 3 * (b @ a),  # s = 6 / 2
        f"{EMBEDDING}.weight": weights[f"{EMBEDDING}.weight"] + 3 * (eb @ ea).T,
    }
    expected = policy.pretrained(write_directory(tmp_path / "expected", weights=changed)).load(0)
    found = pickle.loads(pickle.dumps(model)).load(0)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found, expected)
    np.testing.assert_array_equal(found["layer_0/qkv"]["w"], expected["layer_0/qkv"]["w"])
    # On a device it stays there.
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    placed = model.load(0, jax.tree.map(lambda _: here, expected))
    assert isinstance(placed["layer_1/qkv"]["w"], jax.Array)
    assert_equal(jax.tree.map(np.asarray, placed), found)


def test_ranks_and_factors_of_single_modules(tmp_path):
    options = {"r": 3, "use_rslora": True, "rank_pattern": {"q_proj": 2, f"^{EMBEDDING}": 2}}
    options["alpha_pattern"] = {"layers.1.self_attn.q_proj": 1, "rojections": 5}
    adapter = read_adapter(write_parts(tmp_path / "a", options))
    a, b, ea, eb = PARTS.values()
    np.testing.assert_allclose(adapter.delta(f"{Q}.weight"), b @ a / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(adapter.delta(f"{EMBEDDING}.weight"), (eb @ ea).T * 6 / np.sqrt(2), rtol=1e-5)
    np.testing.assert_allclose(adapter.delta(f"{Q}.weight", slice(5, 7)), (b @ a)[5:7] / np.sqrt(2), rtol=1e-6)
    back = read_adapter(write_adapter(adapter, tmp_path / "b"))
    assert (back.base, back.rank_stabilized) == ("a/b", True)
    for name, factors in adapter.factors.items():
        assert (back.factors[name].alpha, back.factors[name].embedding) == (factors.alpha, factors.embedding)
        np.testing.assert_array_equal(back.delta(name), adapter.delta(name))
    stored = load_file(tmp_path / "b" / "adapter_model.safetensors")
    assert all(np.array_equal(stored[name], x) for name, x in PARTS.items())
    with pytest.raises(FileExistsError):
        write_adapter(adapter, tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type 'LOHA' is not supported; supported: 'LORA'"),
        ({"use_dora": True}, "option use_dora = true"),
        ({"bias": "all"}, 'option bias = "all"'),
        ({"modules_to_save": ["lm_head"]}, "option modules_to_save"),
        ({"init_lora_weights": "pissa"}, 'option init_lora_weights = "pissa"'),
        ({"target_parameters": ["experts.w"]}, "option target_parameters"),
        ({"a_new_idea": [1]}, "option a_new_idea"),
        ({"r": 4}, r"gives model\.\S+ the rank 4, adapter_model.safetensors has 2"),
        ({"lora_alpha": None}, "lora_alpha of .* is None, expected a number"),
        ({"lora_alpha": "6"}, "lora_alpha of .* is '6'"),
        ({"rank_pattern": {"(a+)+b": 3}}, r"pattern '\(a\+\)\+b' in rank_pattern is no name of a module"),
        ({"rank_pattern": [2]}, "rank_pattern is no object"),
    ],
)
def test_configs_that_are_refused(tmp_path, options, message):
    path = write_parts(tmp_path / "a", options)
    with pytest.raises(ValueError, match=message) as caught:
        read_adapter(path)
    assert str(path) in str(caught.value)


def test_files_that_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no directory"):
        read_adapter(tmp_path / "none")
    first = next(iter(PARTS))
    cases = {
        "single": ({name: x for name, x in PARTS.items() if name != first}, "without their other: .*q_proj.lora_B"),
        "bias": (PARTS | {f"base_model.model.{Q}.bias": np.ones(24, np.float32)}, "no LoRA factors: .*q_proj.bias"),
        "prefix": ({name.removeprefix("base_model."): x for name, x in PARTS.items()}, "no LoRA factors: model.model"),
        "shape": (PARTS | {first: normal(3, 8)}, r"q_proj have the shapes \(3, 8\) and \(24, 2\)"),
        "rank 0": (PARTS | {first: normal(0, 8), first.replace("_A", "_B"): normal(24, 0)}, r"shapes \(0, 8\) and"),
        "twice": (
            PARTS
            | {
                first.replace(Q, EMBEDDING): normal(2, 8),
                first.replace(Q, EMBEDDING).replace("_A", "_B"): normal(260, 2),
            },
            "a matrix and of an emb",
        ),
        "none": ({}, "holds no factors"),
        "nan": (PARTS | {first: np.full((2, 8), np.nan, np.float32)}, "holds NaN or infinity"),
    }
    for case, (parts, message) in cases.items():
        path = write_parts(tmp_path / case, parts=parts)
        with pytest.raises(ValueError, match=message):
            read_adapter(path)
    whole = (path := write_parts(tmp_path / "cut")) / "adapter_model.safetensors"
    whole.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(ValueError, match="truncated"):
        read_adapter(path)
    whole.unlink()
    with pytest.raises(ValueError, match=r"no LoRA adapter: it needs adapter_config\.json and adapter_model\.safe"):
        read_adapter(path)


def test_an_adapter_for_another_model(tmp_path):
    base = write_directory(tmp_path / "base")
    other = {
        "base_model.model.model.layers.2.mlp.up_proj": (12, 8),
        "base_model.model.model.layers.0.mlp.up_proj": (16, 8),
    }
    parts = {f"{name}.lora_A.weight": normal(2, shape[1]) for name, shape in other.items()}
    parts |= {f"{name}.lora_B.weight": normal(shape[0], 2) for name, shape in other.items()}
    with pytest.raises(ValueError, match="made for a/b, is for another model") as caught:
        policy.pretrained(base, adapter=write_parts(tmp_path / "a", parts=parts))
    assert "does not have: model.layers.2.mlp.up_proj.weight;" in str(caught.value)
    assert "up_proj.weight is [12, 8], the adapter's factors make [16, 8]" in str(caught.value)
    head = Adapter("", {"lm_head.weight": Factors(normal(1, 8), normal(260, 1), 1.0)})
    check_fit(head, CONFIG)
    with pytest.raises(ValueError, match=r"an unknown model, is .* does not have: lm_head\.weight"):
        merge({}, head, TIED)  # There the head is the embedding.
    table = Adapter("", {"model.embed_tokens.weight": Factors(normal(1, 260), normal(8, 1), 1.0, embedding=True)})
    check_fit(table, CONFIG)
    with pytest.raises(ValueError, match=r"changes model\.embed_tokens\.weight, which is this model's head, too"):
        check_fit(table, TIED)


def test_peft_agrees(tmp_path):
    peft = pytest.importorskip("peft", reason="needs peft (the extra `parity`)")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    base = write_directory(tmp_path / "base", described(rms_norm_eps=1e-5))
    options = peft.LoraConfig(
        r=3, lora_alpha=5, use_rslora=True, rank_pattern={"layers.1.mlp.up_proj": 2}, alpha_pattern={"q_proj": 7},
        target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "embed_tokens", "lm_head"], task_type="CAUSAL_LM",
    )  # fmt: skip

    def load(adapter=None):
        model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        return (
            peft.get_peft_model(model, options) if adapter is None else peft.PeftModel.from_pretrained(model, adapter)
        )

    theirs = load()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    theirs.save_pretrained(tmp_path / "whole", save_embedding_layers=True)
    with pytest.raises(ValueError, match=r"copies of the base's matrices: .*save_embedding_layers=False"):
        read_adapter(tmp_path / "whole")
    theirs.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    ours = policy.pretrained(base, adapter=tmp_path / "adapter")
    # Theirs merged, as a directory; ours merged, of what PEFT wrote; PEFT's, of what we wrote.
    theirs.merge_and_unload().save_pretrained(tmp_path / "merged")
    write_adapter(read_adapter(tmp_path / "adapter"), tmp_path / "written")
    load(tmp_path / "written").merge_and_unload().save_pretrained(tmp_path / "again")
    for folder in ("merged", "again"):
        (tmp_path / folder / "tokenizer.json").write_text((base / "tokenizer.json").read_text())
    found, merged, again = (
        m.load(0) for m in (ours, *map(policy.pretrained, (tmp_path / "merged", tmp_path / "again")))
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-4), found, merged)
    assert_equal(merged, again)
    unmerged = policy.pretrained(base).load(0)
    assert all(np.abs(found[f"layer_{i}/{m}"]["w"] - unmerged[f"layer_{i}/{m}"]["w"]).max() > 0.1
               for i in (0, 1) for m in ("qkv", "out", "up"))  # fmt: skip


def test_peft_agrees_where_weights_are_stored_transposed(tmp_path):
    peft = pytest.importorskip("peft", reason="needs peft (the extra `parity`)")
    transformers = pytest.importorskip("transformers")
    shape = transformers.GPT2Config(
        vocab_size=260, n_embd=8, n_layer=1, n_head=2, n_positions=32, eos_token_id=1, bos_token_id=1
    )
    model = transformers.GPT2LMHeadModel(shape)
    model.save_pretrained(tmp_path / "base")
    options = peft.LoraConfig(
        r=2, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM"
    )
    theirs = peft.get_peft_model(model, options)
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            parameter.data.normal_()
    theirs.save_pretrained(tmp_path / "adapter")
    theirs.merge_and_unload().save_pretrained(tmp_path / "merged")
    for folder in ("base", "merged"):
        (tmp_path / folder / "tokenizer.json").write_text(BYTES.definition)
    ours = policy.pretrained(tmp_path / "base", adapter=tmp_path / "adapter").load(0)
    expected = policy.pretrained(tmp_path / "merged").load(0)
    # The output projection is square: only the table of names says that it is stored transposed.
    assert ours["layer_0/out"]["w"].shape == (8, 8)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), ours, expected)
    assert read_adapter(write_adapter(read_adapter(tmp_path / "adapter"), tmp_path / "written")).transposed
