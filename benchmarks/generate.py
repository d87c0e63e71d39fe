"""Times generation: our engine against `transformers.generate`, in alternation, with the roofline of the machine.

    python benchmarks/generate.py [--shape smollm2|four] [--rows 8] [--samples 1] [--tokens 32] \
        [--long-tail] [--rounds 3]

Random weights of one shape on both sides; no row ends by itself. `--samples` shares a prompt among so many rows.
With `--long-tail` lengths are log-normal and there are three requests a slot: the peer decodes static batches to their
longest member. The roofline of a decode step is the larger of its bytes over the bandwidth and its operations over the
best matrix product, both measured here. Without transformers and torch (the extra `parity`), ours runs alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

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


def ours(config: TransformerConfig, options: argparse.Namespace, prompts: np.ndarray, lengths: np.ndarray):
    """A function that generates everything once."""
    tokenizer = ByteTokenizer()
    tokenizer.ends = ()  # type: ignore[misc] # Lengths are given.
    model = from_scratch(config, tokenizer)
    engine = Engine(
        model, seed=0, slots=options.rows, prompt_columns=PROMPT, max_tokens=int(lengths.max()), dtype=options.dtype
    )
    params = jax.jit(engine_params, static_argnums=1)(model.load(0), jnp.dtype(options.dtype))
    engine.load(Versioned(0, to_host(params)))

    def run() -> None:
        for i, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
            limit = SamplingOptions(max_tokens=int(length))
            engine.submit(i, prompt.tolist(), samples=options.samples, options=limit, index=i)
        done = 0
        while not engine.idle:
            done += sum(len(completion.tokens) for _, completions in engine.step() for completion in completions)
        assert done == lengths.sum() * options.samples

    return run


def peer(config: TransformerConfig, options: argparse.Namespace, prompts: np.ndarray, lengths: np.ndarray):
    """The same with `transformers`, in static batches."""
    import torch
    import transformers

    shape = transformers.LlamaConfig(
        vocab_size=config.vocab_size, hidden_size=config.width, num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads, num_key_value_heads=config.num_kv_heads, head_dim=config.head_dim,
        intermediate_size=config.mlp_width, max_position_embeddings=config.context, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    network: Any = transformers.LlamaForCausalLM(shape)
    network = network.to(dtype).eval()
    rows = np.repeat(prompts, options.samples, axis=0)
    longest = np.repeat(lengths, options.samples)

    def run() -> None:
        for start in range(0, len(rows), options.rows):
            batch = torch.tensor(rows[start : start + options.rows], dtype=torch.long)
            n = int(longest[start : start + options.rows].max())
            with torch.no_grad():
                out = network.generate(
                    batch, attention_mask=torch.ones_like(batch), max_new_tokens=n, do_sample=True, top_k=0, top_p=1.0
                )
            assert out.shape[1] == PROMPT + n

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
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch, and slots")
    parser.add_argument("--samples", type=int, default=1, help="of each prompt")
    parser.add_argument("--tokens", type=int, default=32, help="of a completion; with --long-tail, of the longest")
    parser.add_argument("--long-tail", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default=fast_dtype(), choices=["float32", "bfloat16"])
    options = parser.parse_args()
    config, rng = SHAPES[options.shape], np.random.default_rng(0)
    count = max(options.rows // options.samples, 1) * (3 if options.long_tail else 1)
    prompts = rng.integers(2, config.vocab_size, (count, PROMPT))
    lengths = np.full(count, options.tokens)
    if options.long_tail:
        lengths = np.clip(np.exp(rng.normal(np.log(32), 0.8, count)).astype(int), 4, options.tokens)
    useful = int(lengths.sum()) * options.samples
    sides = {"ours": ours(config, options, prompts, lengths)}
    if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
        sides["transformers"] = peer(config, options, prompts, lengths)
    for run in sides.values():
        run()  # Compiles.
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, run in sides.items():
            times[name].append(timed(run))
    print(
        f"{options.shape}, {options.dtype}, {options.rows} slots, {count} prompts x {options.samples} samples, "
        f"{useful} tokens{', long tail' if options.long_tail else ''}; jax {jax.__version__}"
    )
    for name, seconds in times.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{name:<13} {low:7.2f} / {middle:7.2f} / {high:7.2f} s   {useful / middle:7.0f} tokens/s")
    if "transformers" in times:
        ratios = sorted(b / a for a, b in zip(times["ours"], times["transformers"], strict=True))
        print(f"transformers / ours: {ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}")
    seconds, text = roofline(config, options.rows, PROMPT + options.tokens // 2, options.dtype)
    share = seconds * useful / options.rows / statistics.median(times["ours"])
    print(f"roofline of a decode step: {text}\nours reaches {share:.0%} of it (the whole call, prefill included)")


if __name__ == "__main__":
    main()
