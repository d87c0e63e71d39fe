"""Makes reference_logits.json with `transformers`, so that parity is tested where it is not installed.

    pip install "assay-rl[parity]"
    python tests/data/make_reference.py

It takes SmolLM2-135M-Instruct (policy.smollm2), exports it in float32, loads the directory with
`transformers.AutoModelForCausalLM` on a CPU in float32 with its plain attention, and writes for each prompt of
tests/parity_cases.py: its tokens by `apply_chat_template`, and of the logits at its last position the 20
largest, those of a few fixed tokens, the mean and the standard deviation; for each chat also the greedy
continuation. `transformers` reads only the directory; the JAX policy takes no part.
"""

import json
import pathlib
import sys
import tempfile

import torch
import transformers

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # The cases stand in the tests.

from parity_cases import CHATS, FIXED_TOKENS, GREEDY_TOKENS, TEXTS  # noqa: E402

import policy  # noqa: E402


def main() -> None:
    model = policy.pretrained(policy.smollm2())
    with tempfile.TemporaryDirectory() as folder:
        path = policy.export(model.load(0), model, pathlib.Path(folder) / "smollm2", dtype="float32")
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        network = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, attn_implementation="eager"
        )
    cases = []
    for prompt in (*CHATS, *TEXTS):
        if isinstance(prompt, str):
            tokens = tokenizer(prompt)["input_ids"]
        else:
            tokens = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        with torch.no_grad():
            logits = network(torch.tensor([tokens])).logits[0, -1]
        largest = torch.topk(logits, 20)
        case = {
            "tokens": tokens,
            "largest": {str(int(i)): round(float(x), 5) for x, i in zip(*largest, strict=True)},
            "fixed": {str(i): round(float(logits[i]), 5) for i in FIXED_TOKENS},
            "mean": round(float(logits.mean()), 5),
            "deviation": round(float(logits.std(unbiased=False)), 5),
        }
        if not isinstance(prompt, str):
            written = network.generate(torch.tensor([tokens]), max_new_tokens=GREEDY_TOKENS, do_sample=False)
            case["greedy"] = written[0, len(tokens) :].tolist()
        cases.append(case)
    made = {"transformers": transformers.__version__, "torch": torch.__version__, "gguf_sha256": policy.download.SHA256}
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "reference_logits.json").write_text(f'{{"made_with": {json.dumps(made)},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
