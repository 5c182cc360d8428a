"""fastnn.ops: values on arrays and traced agree, derivatives against central differences, errors."""

import numpy as np
import pytest

from fastnn import ops
from fastnn.backends import xp
from fastnn.differentiate import differentiate
from fastnn.graph import Builder
from fastnn.layers import Parameter

from gradcheck import assert_close, numeric_gradient

RNG = np.random.default_rng(0)
X = RNG.uniform(0.2, 1.8, (5, 3, 4)) * np.where(RNG.random((5, 3, 4)) < 0.3, -1, 1)  # away from 0 and from 1
W = RNG.uniform(0.3, 1.4, (3, 4))
I = np.array([2, 0, 1, 2, 2])
C = RNG.normal(size=(3, 4))

# Functions of x (B, 3, 4) and w (3, 4) whose results can be broadcast to the shape of x.
SMOOTH = {
    "add": lambda x, w: x + w + 2 + C + ops.add(1, x),
    "subtract": lambda x, w: (2 - x) - (w - x[:, :1]) - 1,
    "multiply": lambda x, w: x * w * x * 3 * (2 * w),
    "divide": lambda x, w: x / w + 1 / x + w / 3 + ops.true_divide(x, w * x),
    "power": lambda x, w: x**2 + x**3 + x**-1 + abs(x) ** w + abs(x) ** 1.7 + 2**x + x**4,
    "roots": lambda x, w: ops.sqrt(w) + ops.rsqrt(abs(x)) + w**0.5 + w**-0.5,
    "exponentials": lambda x, w: ops.exp(x) + ops.expm1(w) + ops.log(abs(x)) * ops.log1p(w),
    "waves": lambda x, w: ops.sin(x) * ops.cos(w) + ops.erf(x),
    "maximum": lambda x, w: ops.maximum(x, w) + ops.minimum(x * w, 0.7) + ops.clip(x, -0.5, 1.1),
    "where": lambda x, w: ops.where(x < w, x * w, w - x) + ops.where(x >= 0.5, 1.0, x),
    "logic": lambda x, w: ops.where(
        ops.logical_and(x > 0, ops.logical_or(x < 1, ops.logical_not(w > 0.9))), x, w * x
    ),
    "compare": lambda x, w: x * (x > w) + x * (x <= w) + x * ops.not_equal(x, w) + x * ops.equal(x, x) + w,
    "sign": lambda x, w: x * ops.sign(x) + ops.floor(3 * x) * w + ops.ceil(3 * w) * x,
    "sum": lambda x, w: ops.sum(x * w, axis=-1, keepdims=True) * x + ops.sum(x, axis=(1, 2), keepdims=True) * w,
    "sum_batch": lambda x, w: ops.sum(x * x, axis=0) * x + ops.sum(x, axis=(0, 2), keepdims=True) * w * x,
    "sum_all": lambda x, w: ops.sum(x * w) * x + ops.sum(w) * w,
    "mean": lambda x, w: ops.mean(x * w, axis=1, keepdims=True) + ops.mean(x) * x + ops.mean(x, axis=0) * w * x,
    "max": lambda x, w: ops.max(x * w, axis=-1, keepdims=True) + ops.min(x, axis=(1, 2), keepdims=True) * w,
    "var": lambda x, w: ops.var(x, axis=-1, keepdims=True) * w + ops.std(x * w, axis=(1, 2), keepdims=True) * x,
    "prod": lambda x, w: ops.prod(x, axis=1, keepdims=True) * w + ops.prod(w, axis=-1, keepdims=True) * x,
    "norm": lambda x, w: ops.norm(x, axis=-1, keepdims=True) * w + ops.norm(x, ord=1, axis=1, keepdims=True) * x,
    "logsumexp": lambda x, w: ops.logsumexp(x * w, axis=-1, keepdims=True) + ops.logsumexp(w, keepdims=True) * x,
    "softmax": lambda x, w: ops.softmax(x * w) * w + ops.log_softmax(x, axis=1) + ops.softmax(w, axis=0) * x,
    "reshape": lambda x, w: ops.reshape(ops.reshape(x, (-1, 12)) ** 2, (-1, 3, 4)) * ops.reshape(w * w, (3, -1)),
    "transpose": lambda x, w: ops.transpose(ops.transpose(x, (0, 2, 1)) @ w, (0, 2, 1))[:, :3] * (w @ ops.transpose(w))[:, :1],
    "dims": lambda x, w: ops.squeeze(ops.expand_dims(x, 2), 2) * ops.expand_dims(w, 0) + ops.swapaxes(x, 1, 2)[:, :3, :1],
    "concatenate": lambda x, w: ops.concatenate([x * x, x * w], axis=2)[:, :, 2:6] * w,
    "stack": lambda x, w: ops.sum(ops.stack([x * w, x * x, w + x], axis=2) ** 2, axis=2),
    "get_item": lambda x, w: x[:, 1:2] * w[..., :1] + x[:, -1, None],
    "split": lambda x, w: ops.concatenate([p * p for p in ops.split(x, 2, axis=2)], axis=-1) * w,
    "take": lambda x, w: ops.take(x, [2, 0, 0, 1], axis=2) * ops.take(w, 1, axis=0),
    "broadcast_to": lambda x, w: ops.broadcast_to(w[:1], (3, 4)) * x + ops.ones_like(x) * w + ops.zeros_like(w),
    "matmul": lambda x, w: x @ ops.transpose(w) @ w + (ops.transpose(w) @ w)[:3] * x,
    "matmul_batch": lambda x, w: (x @ ops.swapaxes(x, 1, 2)) @ x + ops.matmul(np.ones((3, 3)), x * w),
    "vectors": lambda x, w: x * ops.dot(w[0], w[1]) + ops.expand_dims(x @ w[0], -1) * w + x * ops.dot(w, 2.0),
    "activations": lambda x, w: ops.sigmoid(x) + ops.tanh(w) * ops.gelu(x) + ops.silu(x * w) + ops.softplus(w) * x,
    "kinks": lambda x, w: ops.relu(x) + ops.leaky_relu(x, 0.1) + ops.elu(x) * w + ops.selu(x) + ops.hard_sigmoid(x),
    "others": lambda x, w: ops.mish(x) * ops.softsign(w) + ops.gelu(x, approximate=False) + ops.log_softmax(x),
    "cast": lambda x, w: x * ops.cast(x > w, "float32") + w * ops.cast(3 * x, "int32") + x * ops.cast(x, "bool"),
    "numpy": lambda x, w: np.exp(x) + np.float64(2) * x + C * x + np.maximum(x, w) + np.matmul(x, ops.transpose(w)) @ C,
}  # fmt: skip


def _traced(function, dtype="float64"):
    """A Program of sum(c * function(x, w)) over each sample, with gradients by x and w, and its ids."""
    builder = Builder(dtype)
    x = builder.input((None, 3, 4), name="x")
    p = Parameter("w", W.shape, lambda shape, dtype: W, dtype=dtype)
    w = builder.param(p)
    with builder:
        y = function(x, w)
        y = ops.broadcast_to(y, (None, 3, 4))
        rows = ops.sum(y * C, axis=(1, 2))
    program = builder.program
    program.add_root("output", y.id, name="y")
    program.add_root("loss", rows.id, name="loss")
    seed = builder.once("broadcast", builder.once("full", shape=(), value=1.0), shape=(None,))
    gradients, _ = differentiate(builder, [(rows.id, seed.id)], [x.id, w.id])
    for source in (x.id, w.id):
        program.add_root("grad", gradients[source], source)
    program.verify()
    return builder, x.id, w.id, y.id, gradients


@pytest.mark.parametrize("name", SMOOTH)
def test_values_and_derivatives(name):
    """Traced values equal those on arrays, gradients those of central differences of the eager function."""
    function = SMOOTH[name]
    builder, x, w, y, gradients = _traced(function)
    values = {x: X, w: W, **{i: p.value for p, i in builder.params.items() if i != w}}
    known = xp.run(builder.program, values, "gradients") | xp.run(builder.program, values, "predict")
    np.testing.assert_allclose(known[y], np.broadcast_to(function(X, W), X.shape), rtol=1e-12, atol=1e-12)

    def total(a, b):
        return float((np.broadcast_to(function(a, b), X.shape) * C).sum())

    moved_x, moved_w = X.copy(), W.copy()
    assert_close(known[gradients[x]], numeric_gradient(lambda: total(moved_x, W), moved_x))
    assert_close(known[gradients[w]], numeric_gradient(lambda: total(X, moved_w), moved_w))
