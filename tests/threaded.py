"""A program that samples and differentiates, and prints a hash of all bits."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from policy import ByteTokenizer, Engine, Model, TransformerConfig, Versioned, layout
from policy.transformer import engine_params, make_policy, to_host

# Wide enough that XLA splits products among threads.
SHAPE = TransformerConfig(
    vocab_size=8192, width=256, num_layers=2, num_heads=8, num_kv_heads=4, head_dim=32, mlp_width=768, context=256
)


def main() -> str:
    params = jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x, layout.random(SHAPE, 0))
    model = Model("threads", SHAPE, ByteTokenizer(), lambda seed: params)
    # All rows have two pages of the cache from the beginning, so that it has one size: each is compiled.
    engine = Engine(model, seed=1, slots=64, prompt_columns=64, max_tokens=8, dtype="float32")
    engine.load(Versioned(0, to_host(jax.jit(engine_params, static_argnums=1)(params, "float32"))))
    for index in range(12):
        engine.submit(index, range(3, 36 + 2 * index), samples=6, index=index)
    digest, done = hashlib.sha256(), {}
    while not engine.idle:
        done.update(engine.step())
    for index in sorted(done):
        for completion in done[index]:
            for part in (completion.tokens, completion.logprobs, completion.policy_logprobs):
                digest.update(part.tobytes())

    row = jnp.arange(256)[None]
    one = jnp.ones_like(row)
    keys = np.tril(np.arange(8)[None] + np.zeros((8, 1), int) + 1) - 1  # Each tile sees those up to it.
    policy = make_policy(SHAPE)

    def loss(tree):
        hidden = policy.hidden(tree, row, one, one, row, jnp.asarray(keys[None], jnp.int32))
        return (policy.head(tree, hidden) ** 2).mean()

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(params)):
        digest.update(np.asarray(gradient).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    print(main())
