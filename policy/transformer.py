"""The policy: one decoder-only transformer for all families of models, a Haiku function that samples and learns.

What families differ in is in `TransformerConfig`. RMSNorm (Zhang & Sennrich, 2019, arXiv:1910.07467), rotary
positions (Su et al., 2021, arXiv:2104.09864), grouped-query attention (Ainslie et al., 2023, arXiv:2305.13245) and
SwiGLU (Shazeer, 2020, arXiv:2002.05202). Activations are features first, [D, N] with one column a token
(`policy.products` says why). The learner, the prefill and the decode step differ only in the attention that they hand
to `decoder`.

Letters: D width, N columns, V vocabulary, H heads, K key heads, C head_dim, F mlp_width, L layers, E experts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax

from policy.attention import Tiles, attend, capped, make_tiles, rotations
from policy.cache import Cache, Pages, Seats, attend_chunk, attend_pages, page_biases
from policy.experts import RouterSums, Routing, mix, route, router_sums
from policy.flash import Branches, attend_branches
from policy.products import Matrix, from_bits, is_matrix, linear, transposed
from policy.sizes import ROWS, multiple
from policy.types import Array, Params, TransformerConfig

Attention = Callable[[int, jax.Array, Any], tuple[jax.Array, Any]]  # (layer, qkv, its state) -> (output, new state)


class Policy(NamedTuple):
    """Pure functions over one parameter tree (cf. `optax.GradientTransformation`).

    `hidden` and `head` serve the learner and read the master tree, whose matrices may be plain float32 arrays or
    `products.Matrix`; `prefill` and `decode` serve the engine and read the tree of `engine_params`.
    """

    # (key) -> random parameters.
    init: Callable[[jax.Array], Params]
    # (params, tokens, segment, prefix, position: int32 [B, T], keys: int32 [B, T / TILE, M], or `Branches` for the
    # flash kernel of a GPU) -> [D, B T].
    hidden: Callable[..., jax.Array]
    # The same, with the statistics of the routers: -> [D, B T], RouterSums. For models with experts.
    routed: Callable[..., tuple[jax.Array, RouterSums]]
    # (params, hidden [D, N]) -> float32 logits [V, N].
    head: Callable[[Params, jax.Array], jax.Array]
    # A chunk of each of B prompts: (params, tokens int32 [B, W], first column int32 [B], last int32 [B], cache) ->
    # hidden [D, B] of each chunk's column `last`, cache.
    prefill: Callable[[Params, Array, Array, Array, Cache], tuple[jax.Array, Cache]]
    # (params, tokens int32 [B], position int32 [B], pages, seats, cache, the shared pages of prompts or ()) ->
    # float32 logits [V, B], cache.
    decode: Callable[[Params, Array, Array, Pages, Seats, Cache, Cache], tuple[jax.Array, Cache]]


def make_policy(config: TransformerConfig, dtype: jax.typing.DTypeLike = jnp.float32) -> Policy:
    """The functions of a transformer whose products are computed in `dtype`, on float32 activations."""
    dtype = jnp.dtype(dtype)

    def pure(f: Callable) -> Any:
        return hk.without_apply_rng(hk.transform(functools.partial(f, config, dtype)))

    hidden, routed, head = pure(_hidden), pure(_routed), pure(_head)

    def init(key: jax.Array) -> Params:
        row = jnp.zeros((1, 32), jnp.int32)
        params = hidden.init(key, row, row, row, row, jnp.zeros((1, 1, 1), jnp.int32))
        return params if config.tied_embedding else params | head.init(key, jnp.zeros((config.width, 1)))

    return Policy(init, hidden.apply, routed.apply, head.apply, pure(_prefill).apply, pure(_decode).apply)


def parameter_shapes(config: TransformerConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """Module -> parameter -> shape: what a file of weights must hold."""
    shapes = jax.eval_shape(make_policy(config).init, jax.random.key(0))
    return {module: {name: leaf.shape for name, leaf in leaves.items()} for module, leaves in shapes.items()}


# The parts.


class Linear(hk.Module):
    """y = W x, or W x + b."""

    def __init__(self, out: int, name: str, bias: bool = False):
        super().__init__(name)
        self.out, self.bias = out, bias

    def __call__(self, x: jax.Array, axis: int = 0) -> jax.Array:  # [in, N], or [N, in] -> [out, N]
        init = hk.initializers.RandomNormal(0.02)
        y = linear(hk.get_parameter("w", (self.out, x.shape[axis]), jnp.float32, init), x, axis)
        return y + hk.get_parameter("b", (self.out,), jnp.float32, jnp.zeros)[:, None] if self.bias else y


class Norm(hk.Module):
    """x / rms(x) * scale, over the features; or LayerNorm, (x - mean(x)) / deviation(x) * scale + offset."""

    def __init__(self, config: TransformerConfig, dtype: jnp.dtype, name: str):
        super().__init__(name)
        self.config, self.dtype = config, dtype

    def __call__(self, x: jax.Array) -> jax.Array:  # float32 [D, N] -> dtype [D, N]
        c = self.config
        start = hk.initializers.Constant(1 - c.norm_offset)
        scale = hk.get_parameter("scale", (x.shape[0],), jnp.float32, start)
        if c.norm_offset:
            scale = scale + c.norm_offset
        if not c.layer_norm:
            return rms_norm(x, scale, c.norm_epsilon, self.dtype)
        offset = hk.get_parameter("offset", (x.shape[0],), jnp.float32, jnp.zeros)
        x = x - x.mean(axis=0)
        return (x * lax.rsqrt(jnp.mean(x * x, axis=0) + c.norm_epsilon) * scale[:, None] + offset[:, None]).astype(
            self.dtype
        )


class HeadNorm(hk.Module):
    """RMSNorm of each head."""

    def __init__(self, config: TransformerConfig, name: str):
        super().__init__(name)
        self.config = config

    def __call__(self, x: jax.Array) -> jax.Array:  # float32 [heads, C, N]
        c = self.config
        start = hk.initializers.Constant(1 - c.norm_offset)
        scale = hk.get_parameter("scale", (c.head_dim,), jnp.float32, start) + c.norm_offset
        r = lax.rsqrt(jnp.mean(x * x, axis=1, keepdims=True) + c.norm_epsilon)
        return x * r * scale[:, None]


class Table(hk.Module):
    """One row a token: the embedding; the head, too, where the two are tied. Or one row a position."""

    def __init__(self, config: TransformerConfig, name: str = "embedding", rows: int | None = None):
        super().__init__(name)
        self.shape = (rows or config.vocab_size, config.width)

    def __call__(self) -> jax.Array | Matrix:  # [V, D]
        return hk.get_parameter("w", self.shape, jnp.float32, hk.initializers.RandomNormal(0.02))


def decoder(
    config: TransformerConfig,
    dtype: jnp.dtype,
    x: jax.Array,
    attention: Attention,
    states: Any,
    *,
    axis: int = 0,
    joined: bool = False,
    wanted: jax.Array | None = None,
) -> tuple[jax.Array, tuple, list[Routing]]:
    """All layers.

    Args:
      x: float32 [D, N], the embedded tokens.
      attention: (i, qkv float32 [(H + 2K) C, N], states[i]) -> output [H C, N] (with axis=1: [N, H C]), new state.
      joined: the gate and the up projection are one product, as in the tree of `engine_params`: faster with few
        columns, slower with many and with gradients.
      wanted: int32 [X], the columns with which the last layer goes on after its attention; None: all.

    Returns:
      The normalized output in `dtype`, [D, N] or [D, X], the new states, and where layers with experts sent the
      columns.
    """
    c, new, routings = config, [], []
    norm = functools.partial(Norm, c, dtype)
    stream_norm = functools.partial(Norm, c, jnp.float32)  # Of what is added to the stream.
    for i in range(c.num_layers):
        with hk.experimental.name_scope(f"layer_{i}"):
            qkv = Linear((c.num_heads + 2 * c.num_kv_heads) * c.head_dim, "qkv", c.qkv_bias)(norm("attention_norm")(x))
            if c.qk_norm:
                heads = qkv.reshape(-1, c.head_dim, qkv.shape[1])
                q, k, v = jnp.split(heads, [c.num_heads, c.num_heads + c.num_kv_heads])
                heads = jnp.concatenate([HeadNorm(c, "query_norm")(q), HeadNorm(c, "key_norm")(k), v])
                qkv = heads.reshape(qkv.shape)
            out, state = attention(i, qkv, states[i])
            new.append(state)
            if wanted is not None and i == c.num_layers - 1:
                x, out = x[:, wanted], jnp.take(out, wanted, 1 - axis)
            out = Linear(c.width, "out", c.out_bias)(out, axis)
            x = x + (stream_norm("attention_post_norm")(out) if c.post_norms else out)
            h = norm("mlp_norm")(x)
            if c.has_experts(i):
                out, routing = experts(c, h)
                routings.append(routing)
            else:
                out = mlp(c, dtype, h, joined)
            x = x + (stream_norm("mlp_post_norm")(out) if c.post_norms else out)
    x = norm("final_norm")(x)
    return (x if c.output_multiplier == 1 else (x * c.output_multiplier).astype(dtype)), tuple(new), routings


def mlp(config: TransformerConfig, dtype: jnp.dtype, h: jax.Array, joined: bool) -> jax.Array:
    """The MLP of a layer without experts, dtype [D, N] -> float32 [D, N]."""
    c = config
    activation = ACTIVATIONS[c.activation]
    if not c.gated:
        a = activation(Linear(c.mlp_width, "up", c.mlp_bias)(h)).astype(dtype)
    elif joined:
        gate, up = jnp.split(Linear(2 * c.mlp_width, "gate_up", c.mlp_bias)(h), 2)
        a = (activation(gate) * up).astype(dtype)
    else:
        gate, up = Linear(c.mlp_width, "gate", c.mlp_bias)(h), Linear(c.mlp_width, "up", c.mlp_bias)(h)
        gate, up = gate.astype(dtype), up.astype(dtype)
        if c.activation == "silu":
            a = swiglu(gate, up)
        else:
            a = (activation(gate.astype(jnp.float32)) * up.astype(jnp.float32)).astype(dtype)
    return Linear(c.width, "down", c.mlp_bias)(a)


def experts(config: TransformerConfig, h: jax.Array) -> tuple[jax.Array, Routing]:
    """The MLP of a layer with experts, [D, N] -> float32 [D, N], and where the columns were sent."""
    c = config
    routing = route(Linear(c.num_experts, "router")(h), c.experts_per_token, c.renormalized)
    return mix(ACTIVATIONS[c.activation], Experts(c)(), h, routing), routing


class Experts(hk.Module):
    """The stacked matrices of the experts: gate and up [E, F, D], down [E, D, F]."""

    def __init__(self, config: TransformerConfig, name: str = "experts"):
        super().__init__(name)
        self.config = config

    def __call__(self) -> tuple[Any, Any, Any]:
        c, init = self.config, hk.initializers.RandomNormal(0.02)
        wide, narrow = (c.num_experts, c.expert_width, c.width), (c.num_experts, c.width, c.expert_width)
        shapes = {"gate": wide, "up": wide, "down": narrow}
        gate, up, down = (hk.get_parameter(name, shape, jnp.float32, init) for name, shape in shapes.items())
        return gate, up, down


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
}


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def rms_norm(x: jax.Array, scale: jax.Array, epsilon: float, dtype: jnp.dtype) -> jax.Array:
    """x / sqrt(mean(x^2) + epsilon) * scale, over axis 0."""
    return _rms_norm_forward(x, scale, epsilon, dtype)[0]


def _rms_norm_forward(x, scale, epsilon, dtype):
    r = lax.rsqrt(jnp.mean(x * x, axis=0) + epsilon)  # [N]
    return (x * r * scale[:, None]).astype(dtype), (x, r, scale)


def _rms_norm_backward(epsilon, dtype, saved, g):
    x, r, scale = saved
    g = g.astype(jnp.float32)
    gs = g * scale[:, None]
    return gs * r - x * ((gs * x).sum(axis=0) * r**3 / x.shape[0]), (g * x * r).sum(axis=1)


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)


@jax.custom_vjp
def swiglu(gate: jax.Array, up: jax.Array) -> jax.Array:
    """silu(gate) * up. Keeps the sigmoid in the products' dtype: XLA:CPU would keep it in float32."""
    return _swiglu_forward(gate, up)[0]


def _swiglu_forward(gate, up):
    s = jax.nn.sigmoid(gate.astype(jnp.float32)).astype(gate.dtype)
    y = gate.astype(jnp.float32) * s.astype(jnp.float32) * up.astype(jnp.float32)
    return y.astype(gate.dtype), (gate, up, s)


def _swiglu_backward(saved, dy):
    g, u, s, dy = (a.astype(jnp.float32) for a in (*saved, dy))
    dtype = saved[0].dtype
    return (dy * u * (s + g * s * (1 - s))).astype(dtype), (dy * g * s).astype(dtype)


swiglu.defvjp(_swiglu_forward, _swiglu_backward)


@jax.custom_vjp
def embed(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """float32 [V, D], int32 [N] -> float32 [D, N]."""
    return transposed(table[tokens])


def _embed_forward(table, tokens):
    return embed(table, tokens), (tokens, jnp.zeros((table.shape[0], 0)))


def _embed_backward(saved, g):
    tokens, like = saved
    return jnp.zeros((like.shape[0], g.shape[0]), jnp.float32).at[tokens].add(g.T), None


embed.defvjp(_embed_forward, _embed_backward)


# The three uses.


def _hidden(config, dtype, *row):
    return _forward(config, dtype, *row)[0]


def _routed(config, dtype, tokens, segment, *rest):
    hidden, routings = _forward(config, dtype, tokens, segment, *rest)
    return hidden, router_sums(routings, segment.reshape(-1) > 0)


def _forward(config, dtype, tokens, segment, prefix, position, keys):
    def by_tiles(i: int, qkv: jax.Array, tiles: Tiles) -> tuple[jax.Array, None]:
        return attend(config, dtype, qkv, tiles), None

    def by_branches(i: int, qkv: jax.Array, turns: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return attend_branches(config, dtype, i, qkv, turns, keys), None

    x = embed(_master(Table(config)()), tokens.reshape(-1))
    x = _entered(config, x, position.reshape(-1))
    if isinstance(keys, Branches):
        attention, states = by_branches, rotations(config, position.reshape(-1), tokens.shape[1])
    else:
        attention, states = by_tiles, make_tiles(config, segment, prefix, position, keys)
    hidden, _, routings = decoder(config, dtype, x, attention, states)
    return hidden, routings


def _master(table: jax.Array | Matrix) -> jax.Array:
    return table.master if isinstance(table, Matrix) else table


def _entered(config, x, position):
    """The embedded tokens [D, N] as they enter the stream."""
    if config.embedding_multiplier != 1:
        x = x * config.embedding_multiplier
    if config.learned_positions:
        x = x + embed(_master(Table(config, "positions", config.context)()), position)
    return x


def _head(config, dtype, hidden):
    return _logits(config, Table(config, head_table(config))(), hidden)


def head_table(config: TransformerConfig) -> str:
    """The module that holds the head's weight [V, D]."""
    return "embedding" if config.tied_embedding else "head"


def _logits(config, table: jax.Array | Matrix, hidden: jax.Array) -> jax.Array:
    # The barrier keeps a transpose that follows out of the product (policy.products).
    return lax.optimization_barrier(capped(linear(table, hidden), config.logit_cap))


def engine_params(params: Params, dtype: jnp.dtype) -> dict[str, dict[str, jax.Array]]:
    """The tree that `prefill` and `decode` read: matrices in `dtype`, gate and up joined to one [2F, D]."""
    tree = {}
    for module, leaves in params.items():
        if module.endswith("/gate"):
            other = params[module.removesuffix("gate") + "up"]
            module, leaves = module + "_up", {name: jnp.concatenate([p, other[name]]) for name, p in leaves.items()}
        elif module.endswith("/up") and module.removesuffix("up") + "gate" in params:
            continue
        tree[module] = {name: p.astype(dtype) if is_matrix(module, p) else p for name, p in leaves.items()}
    return tree


@functools.cache
def engine_shapes(config: TransformerConfig, dtype: str) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Of the tree of `engine_params`."""
    init = make_policy(config).init
    return jax.eval_shape(lambda: engine_params(init(jax.random.key(0)), jnp.dtype(dtype)))


def check_host(tree: Params, config: TransformerConfig, dtype: str) -> None:
    """
    Raises:
      ValueError: `tree` is not what `to_host` gives of the tree of `engine_params`.
    """

    def kinds(tree: Any) -> dict[str, str]:
        named = {f"{module}/{name}": p for module, leaves in tree.items() for name, p in leaves.items()}
        return {name: f"{p.dtype} {p.shape}" for name, p in named.items()}

    given = kinds(tree)
    wanted = {name: kind.replace("bfloat16", "uint16") for name, kind in kinds(engine_shapes(config, dtype)).items()}
    if given != wanted:
        name = min(name for name, _ in wanted.items() ^ given.items())
        raise ValueError(
            f"The parameters are not those of this model in {dtype}: {name} is {given.get(name, 'missing')}, and must "
            f"be {wanted.get(name, 'absent')}. Take to_host(engine_params(params, {dtype!r})) of policy.transformer."
        )


def to_host(tree: Params) -> dict[str, dict[str, np.ndarray]]:
    """Copies of the arrays of `engine_params` in the host's memory, bfloat16 as uint16, which crosses processes
    without a copy."""

    def plain(x: np.ndarray) -> np.ndarray:
        return x.view(np.uint16) if x.dtype == ml_dtypes.bfloat16 else x

    return {module: {name: plain(np.array(p)) for name, p in leaves.items()} for module, leaves in tree.items()}


def from_host(tree: Params) -> dict[str, dict[str, jax.Array]]:
    """The inverse of `to_host`.

    What is taken from in pieces stays `products.bits`: the stacks of experts, and a second copy of the embedding, under
    "rows".
    """

    def typed(x: np.ndarray) -> Array:
        return x.view(ml_dtypes.bfloat16) if x.dtype == np.uint16 and x.ndim == 2 else x

    typed_tree = {
        module: {name: jnp.asarray(typed(np.asarray(p))) for name, p in leaves.items()}
        for module, leaves in tree.items()
    }
    table = np.asarray(tree["embedding"]["w"])
    return typed_tree | ({"rows": {"w": jnp.asarray(table)}} if table.dtype == np.uint16 else {})


def _rows(config, dtype) -> jax.Array:
    """The table to take embedded tokens from, in the tree of `from_host`."""
    return Table(config, "rows" if dtype == jnp.bfloat16 else "embedding")()  # type: ignore[return-value]


def _embedded(rows: jax.Array, tokens: jax.Array) -> jax.Array:
    """int32 [N] -> float32 [D, N]."""
    return transposed(from_bits(rows[tokens]).astype(jnp.float32))


def _prefill(config, dtype, tokens, first, last, cache):
    c = config
    n, w = tokens.shape
    length = min(cache[0][0].shape[0] // n * cache[0][0].shape[3], c.context)
    position = jnp.minimum(first[:, None] + jnp.arange(w), length - 1).reshape(-1)  # Only padding is beyond.
    turns = rotations(c, position, length)

    def attention(i: int, qkv: jax.Array, kv: tuple[jax.Array, jax.Array]):
        return attend_chunk(c, dtype, i, qkv, turns[i], kv, first)

    x = _entered(c, _embedded(_rows(c, dtype), tokens.reshape(-1)), position)
    ends = jnp.resize(jnp.arange(n) * w + last, (multiple(n, ROWS),))  # The same ones again where n is no multiple.
    x, cache, _ = decoder(c, dtype, x, attention, cache, axis=1, joined=True, wanted=ends)
    return x[:, :n], cache


def _decode(config, dtype, tokens, position, pages, seats, cache, shared):
    c = config
    columns = cache[0][0].shape[3]
    turns = rotations(c, position, pages.table.shape[1] * columns)
    own = page_biases(c, pages.start, pages.owner[:, None], position, columns)
    others = page_biases(c, seats.start, seats.reader, position, columns)

    def attention(i: int, qkv: jax.Array, kv: tuple[jax.Array, jax.Array]):
        of_prompts = shared[i] if shared else None
        return attend_pages(c, qkv, turns[i], (own[i], others[i]), kv, of_prompts, pages, seats, position)

    rows = _rows(c, dtype)
    x = _entered(c, _embedded(rows, tokens), position)
    x, cache, _ = decoder(c, dtype, x, attention, cache, axis=1, joined=True)
    tied = c.tied_embedding and dtype != jnp.bfloat16  # Haiku would number a second table of the same name.
    return _logits(c, rows if tied else Table(c, head_table(c))(), x), cache


# What a device is good at.


def fast_dtype() -> str:
    """ "bfloat16" where products in it are fast (accelerators; CPUs with AMX), else "float32"."""
    if jax.default_backend() != "cpu":
        return "bfloat16"
    try:
        with open("/proc/cpuinfo") as file:
            return "bfloat16" if "amx_bf16" in file.read() else "float32"
    except OSError:
        return "float32"
