"""Makes reference_families.json, so that the parity of every family is tested where `transformers` is not installed.

    pip install "assay-rl[parity]"
    python tests/data/make_families.py

For each case of tests/families.py it writes the random weights of the case as a Hugging Face directory in float32,
loads that with `transformers.AutoModelForCausalLM` on a CPU with its plain attention (Grok-1, which it does not have:
with tests/numpy_grok.py), and keeps the logits of a few tokens at a few positions of one sequence.
"""

import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.numpy import load_file

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # The cases stand in the tests.

import families  # noqa: E402
import numpy_grok  # noqa: E402

import policy  # noqa: E402


def main() -> None:
    tokens, cases = families.tokens(), {}
    for name in families.CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = policy.export(families.params(name), families.model(name), pathlib.Path(folder) / name, "float32")
            if name in families.PORTED:
                network = transformers.AutoModelForCausalLM.from_pretrained(
                    path, dtype=torch.float32, attn_implementation="eager"
                )
                with torch.no_grad():
                    logits = network(torch.tensor(tokens[None]).long()).logits[0].numpy()
            else:
                weights = load_file(path / "model.safetensors")
                logits = numpy_grok.logits(weights, families.described(name), tokens)
        picked = logits[families.POSITIONS][:, families.PICKED]
        cases[name] = [[round(float(x), 5) for x in row] for row in picked]
    content = {
        "description": "Logits of the cases of tests/families.py; see make_families.py.",
        "transformers": transformers.__version__,
        "positions": families.POSITIONS,
        "tokens": families.PICKED,
        "cases": cases,
    }
    (HERE / "reference_families.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
