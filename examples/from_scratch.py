"""Shows the whole loop in a minute: a tiny byte-level policy learns sums from nothing but right and wrong.

    assay train examples/from_scratch.py

Nothing is downloaded. The policy begins with random weights and writes one random byte after "2+3=". The verifier says
whether it is the right digit, and that is all it ever learns from.
"""

import rl
import verifiers
from policy import ByteTokenizer, TransformerConfig, from_scratch

SHAPE = TransformerConfig(
    vocab_size=ByteTokenizer.vocab_size,
    width=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    mlp_width=128,
    context=64,
)


def config() -> rl.RunConfig:
    sums = [verifiers.Problem(f"sums/{a}+{b}", f"{a}+{b}=", str(a + b), "exact") for a in range(5) for b in range(5)]
    return rl.RunConfig(
        model=from_scratch(SHAPE, ByteTokenizer()),
        problems=sums,
        verifiers={"exact": verifiers.exact},
        steps=120,
        problems_per_step=25,
        group_size=16,
        max_tokens=1,
        learning_rate=2e-3,
        slots=400,
        inline=True,
    )


if __name__ == "__main__":
    rl.train(config())
