"""Times generation: our engine against `transformers.generate` and Tunix's sampler, with the machine's roofline.

    python benchmarks/generate.py [CASE ...] [--shape smollm2|four] [--dtype float32|bfloat16] [--rounds 3] [--layers 9]
                                  [--tunix PYTHON]

Random weights of one shape on both sides; no row ends by itself. Cases: batches of 1, 8, 32 and 64 distinct prompts and
completions of 32 tokens; `shared`, 8 prompts with 8 samples each; `tail128` and `tail512`, 24 prompts with 8 samples
each on 64 slots, of log-normal lengths from 4 to 128 and to 512: the peers decode static batches of 64 rows, in the
order in which they come, to their longest member. Only tokens that were asked for count. The sides run in turns. PYTHON
is one that has Tunix (pip install google-tunix==0.1.7); it runs beside this process. The roofline of a decode step
is the larger of its bytes over the bandwidth and its operations over the best matrix product, both measured here.
Without transformers and torch (the extra `parity`), ours runs alone. With other work on the machine, give each side one
thread (OMP_NUM_THREADS=1 NPROC=1).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import pathlib
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from policy import ByteTokenizer, Engine, SamplingOptions, TransformerConfig, Versioned, from_scratch
from policy.memory import engine_memory
from policy.transformer import engine_params, fast_dtype, to_host

SHAPES = {
    "smollm2": TransformerConfig(
        vocab_size=49152, width=576, num_layers=30, num_heads=9, num_kv_heads=3, head_dim=64, mlp_width=1536,
        context=8192,
    ),
    "four": TransformerConfig(
        vocab_size=258, width=256, num_layers=4, num_heads=4, num_kv_heads=4, head_dim=64, mlp_width=1024, context=2048
    ),
}  # fmt: skip
PROMPT = 64  # Tokens.


class Case(NamedTuple):
    """What is generated."""

    rows: int  # Slots, and rows of the peer's batches.
    prompts: int
    samples: int  # Of each prompt.
    tokens: int  # Of a completion, or of the longest.
    sigma: float = 0.0  # Of the logarithms of the lengths, around a median of 32; 0: all have `tokens`.

    def lengths(self) -> np.ndarray:
        """Of each completion, [prompts * samples]."""
        count = self.prompts * self.samples
        if not self.sigma:
            return np.full(count, self.tokens)
        drawn = np.exp(np.random.default_rng(0).normal(np.log(32), self.sigma, count)).round().astype(int)
        return np.clip(drawn, 4, self.tokens)


CASES = {
    "batch1": Case(1, 1, 1, 32),
    "batch8": Case(8, 8, 1, 32),
    "batch32": Case(32, 32, 1, 32),
    "batch64": Case(64, 64, 1, 32),
    "shared": Case(64, 8, 8, 32),
    "tail128": Case(64, 24, 8, 128, 0.8),
    "tail512": Case(64, 24, 8, 512, 1.2),
}


def ours(config: TransformerConfig, case: Case, dtype: str, prompts: np.ndarray):
    """A function that generates everything once."""
    tokenizer, lengths = ByteTokenizer(), case.lengths()
    tokenizer.ends = ()  # type: ignore[misc] # Lengths are given.
    model = from_scratch(config, tokenizer)
    engine = Engine(model, seed=0, slots=case.rows, prompt_columns=PROMPT, max_tokens=case.tokens, dtype=dtype)
    params = jax.jit(engine_params, static_argnums=1)(model.load(0), jnp.dtype(dtype))
    engine.load(Versioned(0, to_host(params)))

    def run() -> None:
        together = 1 if case.sigma else case.samples  # Each length is a request of its own.
        for i in range(0, len(lengths), together):
            limit = SamplingOptions(max_tokens=int(lengths[i]))
            engine.submit(i, prompts[i // case.samples].tolist(), samples=together, options=limit, index=i)
        done = 0
        while not engine.idle:
            done += sum(len(completion.tokens) for _, completions in engine.step() for completion in completions)
        assert done == lengths.sum()

    return run


def transformers_side(config: TransformerConfig, case: Case, dtype: str, prompts: np.ndarray):
    """The same with `transformers`, in static batches."""
    import torch
    import transformers

    shape = transformers.LlamaConfig(
        vocab_size=config.vocab_size, hidden_size=config.width, num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads, num_key_value_heads=config.num_kv_heads, head_dim=config.head_dim,
        intermediate_size=config.mlp_width, max_position_embeddings=config.context, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    network: Any = transformers.LlamaForCausalLM(shape)
    network = network.to(torch.bfloat16 if dtype == "bfloat16" else torch.float32).eval()
    rows, lengths = np.repeat(prompts, case.samples, axis=0), case.lengths()

    def run() -> None:
        for start in range(0, len(rows), case.rows):
            batch = torch.tensor(rows[start : start + case.rows], dtype=torch.long)
            n = int(lengths[start : start + case.rows].max())
            with torch.no_grad():
                out = network.generate(
                    batch, attention_mask=torch.ones_like(batch), max_new_tokens=n, do_sample=True, top_k=0, top_p=1.0
                )
            assert out.shape[1] == PROMPT + n

    return run


def tunix_side(config: TransformerConfig, case: Case, dtype: str, prompts: np.ndarray, python: str):
    """The same with Tunix, in a process of its own."""
    rows, lengths = np.repeat(prompts, case.samples, axis=0), case.lengths()
    starts = range(0, len(rows), case.rows)
    work = {
        "shape": {
            "num_layers": config.num_layers, "vocab_size": config.vocab_size, "embed_dim": config.width,
            "hidden_dim": config.mlp_width, "num_heads": config.num_heads, "head_dim": config.head_dim,
            "num_kv_heads": config.num_kv_heads,
        },
        "dtype": dtype, "prompt": PROMPT,
        "batches": [rows[i : i + case.rows].tolist() for i in starts],
        "steps": [int(lengths[i : i + case.rows].max()) for i in starts],
    }  # fmt: skip
    script = pathlib.Path(__file__).with_name("generate_tunix.py")
    process = subprocess.Popen(
        [python, str(script), json.dumps(work)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stdin, stdout = process.stdin, process.stdout

    def run() -> None:
        print(file=stdin, flush=True)
        if not stdout.readline():
            raise SystemExit(f"{python} {script} ended: see above.")

    return run


def roofline(config: TransformerConfig, rows: int, columns: int, dtype: str) -> tuple[float, str]:
    """Seconds of one decode step at the machine's measured limits, and how they come about."""
    memory = engine_memory(config, slots=rows, prompt_columns=columns, max_tokens=1, dtype=dtype)
    stream = jnp.ones(64 * 2**20, jnp.float32)
    total = jax.jit(jnp.sum)
    bandwidth = stream.nbytes / best(lambda: jax.block_until_ready(total(stream)))
    a = jnp.ones((2048, 2048), jnp.dtype(dtype))
    product = jax.jit(lambda a: jnp.dot(a, a, preferred_element_type=jnp.float32))
    rate = 2 * 2048**3 / best(lambda: jax.block_until_ready(product(a)))
    weights = memory.parameters - (2 * config.vocab_size * config.width if dtype == "bfloat16" else 0)
    read = weights + rows * columns * memory.token
    operations = 2 * rows * (weights / (2 if dtype == "bfloat16" else 4) + columns * memory.token / 4)
    by_bytes, by_operations = read / bandwidth, operations / rate
    text = (
        f"{read / 1e6:.0f} MB at {bandwidth / 1e9:.1f} GB/s: {1e3 * by_bytes:.1f} ms; {operations / 1e9:.1f} GFLOP at "
        f"{rate / 1e9:.0f} GFLOP/s: {1e3 * by_operations:.1f} ms"
    )
    return max(by_bytes, by_operations), text


def best(function: Callable[[], object], times: int = 5) -> float:
    function()
    return min(timed(function) for _ in range(times))


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--layers", type=int, help="fewer than the shape has, to be quick")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default=fast_dtype(), choices=["float32", "bfloat16"])
    parser.add_argument("--tunix", metavar="PYTHON", help="measure Tunix, too, with this Python")
    options = parser.parse_args()
    if unknown := sorted(set(options.case) - set(CASES)):
        parser.error(f"unknown cases {unknown}: choose from {', '.join(CASES)}")
    config = SHAPES[options.shape]
    config = dataclasses.replace(config, num_layers=options.layers or config.num_layers)
    print(f"{options.shape}, {config.num_layers} layers, {options.dtype}, jax {jax.__version__}; min / median / max")
    for name in options.case or CASES:
        measure(config, name, options.dtype, options.rounds, options.tunix)


def measure(config: TransformerConfig, name: str, dtype: str, rounds: int, tunix: str | None) -> None:
    """Runs all sides in turns, and prints one case."""
    case = CASES[name]
    prompts = np.random.default_rng(0).integers(2, config.vocab_size, (case.prompts, PROMPT))
    sides = {"ours": ours(config, case, dtype, prompts)}
    if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
        sides["transformers"] = transformers_side(config, case, dtype, prompts)
    if tunix:
        sides["Tunix"] = tunix_side(config, case, dtype, prompts, tunix)
    for run in sides.values():
        run()  # Compiles.
    sides["ours"]()  # And for the cache as large as it has become.
    times: dict[str, list[float]] = {side: [] for side in sides}
    for i in range(rounds):
        for side in list(sides)[:: 1 if i % 2 else -1]:
            times[side].append(timed(sides[side]))
    useful = int(case.lengths().sum())
    print(f"{name}: {case.rows} slots, {case.prompts} prompts x {case.samples} samples, {useful} tokens")
    for side, seconds in times.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"  {side:<13} {low:7.2f} / {middle:7.2f} / {high:7.2f} s   {useful / middle:7.0f} tokens/s")
    for side in list(sides)[1:]:
        ratios = sorted(b / a for a, b in zip(times["ours"], times[side], strict=True))
        print(f"  {side} / ours: {ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}")
    seconds, text = roofline(config, case.rows, PROMPT + useful // case.lengths().size // 2, dtype)
    share = seconds * useful / case.rows / statistics.median(times["ours"])
    print(
        f"  roofline of a decode step: {text}\n  ours: {share:.0%} of it (the whole call, prefill included)", flush=True
    )


if __name__ == "__main__":
    main()
