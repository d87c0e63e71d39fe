"""Matrix products that stay fast and small in bfloat16 on a CPU, and are plain products elsewhere.

Activations are features first, [D, N] with one column a token, and a weight [out, in] is the left operand:
XLA:CPU packs the right operand on every call, and wide weights are dear to pack. In bfloat16 a product must
not meet a transpose, neither of a weight nor of an activation: XLA folds the transpose into the product, and
a product with a transposed operand silently runs in float32, several times slower. So the backward pass of
`linear` reads a transposed copy of the weight, which another jitted function made (`compute_copies`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from policy.types import Params


class Matrix(NamedTuple):
    """A weight of the learner: its float32 master, which is differentiated, and what products read."""

    master: jax.Array  # float32 [out, in]
    w: jax.Array  # dtype of the products, [out, in]
    wt: jax.Array  # the same, [in, out]

    # Haiku checks a parameter's shape and dtype.
    @property
    def shape(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.master.shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.master.dtype


def compute_copies(params: Params, dtype: jnp.dtype) -> dict[str, dict[str, tuple[jax.Array, jax.Array] | None]]:
    """(w, w transposed) in `dtype` of every matrix of the tree, None of every vector. Jit it on its own."""

    def copies(module: str, p: Any) -> tuple[jax.Array, jax.Array] | None:
        return (p.astype(dtype), p.swapaxes(-1, -2).astype(dtype)) if is_matrix(module, p) else None

    return {module: {name: copies(module, p) for name, p in leaves.items()} for module, leaves in params.items()}


def is_matrix(module: str, p: Any) -> bool:
    """Whether products read a parameter in their dtype: a matrix, or a stack of them.

    Not a router, which must choose alike in the engine and the learner, and not the table of positions.
    """
    return p.ndim >= 2 and module.rpartition("/")[2] not in ("router", "positions")


def with_copies(params: Any, copies: dict) -> dict[str, dict[str, Any]]:
    """The tree with a `Matrix` for every matrix that has copies."""
    return {
        module: {
            name: p if copies[module][name] is None else Matrix(p, *copies[module][name]) for name, p in leaves.items()
        }
        for module, leaves in params.items()
    }


def masters(tree: dict) -> dict:
    """The float32 masters of a tree with matrices; of its gradient, the gradient."""
    return jax.tree.map(
        lambda p: p.master if isinstance(p, Matrix) else p, tree, is_leaf=lambda p: isinstance(p, Matrix)
    )


def dot(a: jax.Array, b: jax.Array, axes: tuple[int, int] = (1, 0)) -> jax.Array:
    """The product of two matrices over `axes`, accumulated in float32."""
    return lax.dot_general(a, b, (((axes[0],), (axes[1],)), ((), ())), preferred_element_type=jnp.float32)


def batched_dot(a: jax.Array, b: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """The same for arrays of four axes that share their first two; `a` is summed over its last, axes[0] = 3."""
    return lax.dot_general(a, b, (((axes[0],), (axes[1],)), ((0, 1), (0, 1))), preferred_element_type=jnp.float32)


def linear(w: jax.Array | Matrix, x: jax.Array, axis: int = 0) -> jax.Array:
    """W x.

    Args:
      w: [out, in]. A plain weight's dtype is that of the product.
      x: [in, N], or [N, in] with axis=1.

    Returns:
      float32 [out, N].
    """
    if isinstance(w, Matrix):
        return _linear(w, x)
    return dot(w, x.astype(w.dtype), (1, axis))


@jax.custom_vjp
def _linear(w: Matrix, x: jax.Array) -> jax.Array:
    return dot(w.w, x.astype(w.w.dtype))


def _linear_forward(w: Matrix, x: jax.Array):
    x16 = x.astype(w.w.dtype)
    return dot(w.w, x16), (w, x16, jnp.zeros((0,), x.dtype))


def _linear_backward(saved, g: jax.Array):
    w, x, like = saved
    g = g.astype(x.dtype)
    dw = Matrix(dot(g, x, (1, 1)), jnp.zeros_like(w.w), jnp.zeros_like(w.wt))
    return dw, dot(w.wt, g).astype(like.dtype)


_linear.defvjp(_linear_forward, _linear_backward)


def bits(x: jax.Array) -> jax.Array:
    """A bfloat16 array as uint16, any other as it is.

    To be sliced, gathered or updated: XLA:CPU does that in float32, into which it converts the whole array.
    """
    return lax.bitcast_convert_type(x, jnp.uint16) if x.dtype == jnp.bfloat16 else x


def from_bits(x: jax.Array) -> jax.Array:
    """The inverse of `bits`."""
    return lax.bitcast_convert_type(x, jnp.bfloat16) if x.dtype == jnp.uint16 else x


def transposed(x: jax.Array) -> jax.Array:
    """x.T of a float32 matrix by a product with the identity, which is exact.

    A real transpose would pass its layout on to every elementwise operation and product that follows, and
    these then leave the fast path.
    """
    return dot(jnp.eye(x.shape[1], dtype=x.dtype), x, (1, 1))
