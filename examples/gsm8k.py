"""Shows the recipe for GSM8K: grade-school word problems, checked by the number that the answer ends in.

    assay train examples/gsm8k.py
    ASSAY_MODEL=~/models/SmolLM2-360M-Instruct assay train examples/gsm8k.py max_tokens=320 num_workers=2

    ASSAY_MODEL      a Hugging Face directory or a .gguf file (default: SmolLM2-135M-Instruct, 93 MB, downloaded once)
    GSM8K            a folder with train.jsonl and test.jsonl (default: ../shared/data/gsm8k beside the repository,
                     and where that is absent openai/gsm8k of the Hugging Face hub)
    GSM8K_HELD_OUT   how many test problems to evaluate on (default: 96; all of them are 1319)

A problem of the data (MIT license):

    question  Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many
              clips did Natalia sell altogether in April and May?
    answer    Natalia sold 48/2 = <<48/2=24>>24 clips in May. [...] #### 72

The model of the default is too small to solve many: take one that solves at least one in ten, so that groups hold
right and wrong answers to compare.
"""

from __future__ import annotations

import os
import pathlib

import rl
import verifiers
from verifiers import Problem

BESIDE = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "gsm8k"


def prompt(row) -> list[dict[str, str]]:
    text = f"{row['question']}\nThink step by step. Then end with one line: #### and the number, nothing else."
    return [{"role": "user", "content": text}]


def problems(split: str, limit: int | None = None) -> list[Problem]:
    folder = os.environ.get("GSM8K") or (BESIDE if BESIDE.is_dir() else None)
    source = pathlib.Path(folder).expanduser() / f"{split}.jsonl" if folder else "openai/gsm8k"
    # The verifier reads what stands after #### in the answer's text.
    return rl.load_problems(
        source,
        name=None if folder else "main",
        split=split,
        prompt=prompt,
        answer="answer",
        verifier="math",
        limit=limit,
    )


def config() -> rl.RunConfig:
    import policy

    return rl.RunConfig(
        model=policy.pretrained(os.environ.get("ASSAY_MODEL") or policy.smollm2()),
        problems=problems("train"),
        held_out=problems("test", limit=int(os.environ.get("GSM8K_HELD_OUT", "96"))),
        verifiers={"math": verifiers.math},
        steps=100,
        problems_per_step=8,
        group_size=8,
        max_tokens=256,
        learning_rate=5e-6,
        drop_uniform=True,  # Most groups of a weak policy are all wrong, and teach nothing.
        max_dropped=400,
        eval_every=20,
        checkpoint_every=10,
    )


if __name__ == "__main__":
    rl.train(config())
