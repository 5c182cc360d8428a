"""fastnn.ops: values on arrays and traced agree, derivatives against central differences, errors."""

import numpy as np
import pytest
from gradcheck import assert_close, numeric_gradient

import fastnn as fnn
from fastnn import Input, Model, _core, errors, layers, ops
from fastnn.backends import xp
from fastnn.differentiate import differentiate
from fastnn.graph import Builder
from fastnn.layers import Parameter

RNG = np.random.default_rng(0)
X = RNG.uniform(0.2, 1.8, (5, 3, 4)) * np.where(RNG.random((5, 3, 4)) < 0.3, -1, 1)  # away from 0 and from 1
W = RNG.uniform(0.3, 1.4, (3, 4))
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
    "logic_operators": lambda x, w: x * ops.cast(((x > 0) & (x < w)) | (w < 0.5), "float64")
    + w * ops.cast((x > 1) ^ ~(w > 1), "float64")
    + x * ops.cast(ops.logical_xor(C, x > 0) & (C > 0), "float64"),
    "sign": lambda x, w: x * ops.sign(x) + ops.floor(3 * x) * w + ops.ceil(3 * w) * x,
    "sum": lambda x, w: (
        ops.sum(x * w, axis=-1, keepdims=True) * x + ops.sum(x, axis=(1, 2), keepdims=True) * w
    ),
    "sum_batch": lambda x, w: ops.sum(x * x, axis=0) * x + ops.sum(x, axis=(0, 2), keepdims=True) * w * x,
    "sum_all": lambda x, w: ops.sum(x * w) * x + ops.sum(w) * w,
    "mean": lambda x, w: (
        ops.mean(x * w, axis=1, keepdims=True) + ops.mean(x) * x + ops.mean(x, axis=0) * w * x
    ),
    "max": lambda x, w: ops.max(x * w, axis=-1, keepdims=True) + ops.min(x, axis=(1, 2), keepdims=True) * w,
    "var": lambda x, w: (
        ops.var(x, axis=-1, keepdims=True) * w + ops.std(x * w, axis=(1, 2), keepdims=True) * x
    ),
    "prod": lambda x, w: ops.prod(x, axis=1, keepdims=True) * w + ops.prod(w, axis=-1, keepdims=True) * x,
    "norm": lambda x, w: (
        ops.norm(x, axis=-1, keepdims=True) * w + ops.norm(x, ord=1, axis=1, keepdims=True) * x
    ),
    "logsumexp": lambda x, w: (
        ops.logsumexp(x * w, axis=-1, keepdims=True) + ops.logsumexp(w, keepdims=True) * x
    ),
    "softmax": lambda x, w: ops.softmax(x * w) * w + ops.log_softmax(x, axis=1) + ops.softmax(w, axis=0) * x,
    "reshape": lambda x, w: (
        ops.reshape(ops.reshape(x, (-1, 12)) ** 2, (-1, 3, 4)) * ops.reshape(w * w, (3, -1))
    ),
    "transpose": lambda x, w: (
        ops.transpose(ops.transpose(x, (0, 2, 1)) @ w, (0, 2, 1))[:, :3] * (w @ ops.transpose(w))[:, :1]
    ),
    "dims": lambda x, w: (
        ops.squeeze(ops.expand_dims(x, 2), 2) * ops.expand_dims(w, 0) + ops.swapaxes(x, 1, 2)[:, :3, :1]
    ),
    "concatenate": lambda x, w: ops.concatenate([x * x, x * w], axis=2)[:, :, 2:6] * w,
    "stack": lambda x, w: ops.sum(ops.stack([x * w, x * x, w + x], axis=2) ** 2, axis=2),
    "get_item": lambda x, w: x[:, 1:2] * w[..., :1] + x[:, -1, None],
    "slice": lambda x, w: ops.slice(x, (0, 1, 2), (-1, 2, 1))[:, :1] * ops.slice(w, (1, 0), (1, 4)) + w,
    "split": lambda x, w: ops.concatenate([p * p for p in ops.split(x, 2, axis=2)], axis=-1) * w,
    "take": lambda x, w: ops.take(x, [2, 0, 0, 1], axis=2) * ops.take(w, 1, axis=0),
    "broadcast_to": lambda x, w: (
        ops.broadcast_to(w[:1], (3, 4)) * x + ops.ones_like(x) * w + ops.zeros_like(w)
    ),
    "matmul": lambda x, w: x @ ops.transpose(w) @ w + (ops.transpose(w) @ w)[:3] * x,
    "matmul_batch": lambda x, w: (x @ ops.swapaxes(x, 1, 2)) @ x + ops.matmul(np.ones((3, 3)), x * w),
    "vectors": lambda x, w: x * ops.dot(w[0], w[1]) + ops.expand_dims(x @ w[0], -1) * w + x * ops.dot(w, 2.0),
    "activations": lambda x, w: (
        ops.sigmoid(x) + ops.tanh(w) * ops.gelu(x) + ops.silu(x * w) + ops.softplus(w) * x
    ),
    "kinks": lambda x, w: (
        ops.relu(x) + ops.leaky_relu(x, 0.1) + ops.elu(x) * w + ops.selu(x) + ops.hard_sigmoid(x)
    ),
    "others": lambda x, w: (
        ops.mish(x) * ops.softsign(w) + ops.gelu(x, approximate=False) + ops.log_softmax(x)
    ),
    "cast": lambda x, w: (
        x * ops.cast(x > w, "float32") + w * ops.cast(3 * x, "int32") + x * ops.cast(x, "bool")
    ),
    "numpy_functions": lambda x, w: np.mean(x * w, axis=-1, keepdims=True) * np.sum(w) + np.where(x < w, x, w)
    + np.concatenate([x[..., :1], x[..., 1:] ** 2], axis=-1) * np.linalg.norm(x, axis=2, keepdims=True)
    + np.reshape(np.transpose(w), (3, 4)) * np.max(x, axis=-1, keepdims=True) + np.clip(x, 0.1, 0.9),
    "numpy": lambda x, w: (
        np.exp(x) + np.float64(2) * x + C * x + np.maximum(x, w) + np.matmul(x, ops.transpose(w)) @ C
    ),
}


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


def _in_c(builder, x, array):
    """The output and the gradients of a traced Program, as the engine computes them."""
    engine = _core.Engine(builder.program.text())
    for parameter, id in builder.params.items():
        engine.param(id).write(np.ascontiguousarray(parameter.value))
    made = [np.empty(X.shape)]
    session = engine.session("predict", len(array))
    session.bind(x, array)
    session.bind(builder.program.roots_of("output")[0].tensor, made[0])
    session.begin(len(array), len(array))
    session.run(-1, -1.0, 0.0)
    session = engine.session("gradients", len(array), guard=True)
    session.bind(x, array)
    session.begin(len(array), len(array))
    session.run(-1, -1.0, 0.0)
    for i, root in enumerate(builder.program.roots_of("grad")):
        made.append(np.empty(array.shape if root.other == x else W.shape))
        session.gradient(i, made[-1])
    session.check()
    return made


@pytest.mark.parametrize("name", SMOOTH)
def test_values_and_derivatives(name):
    """Traced values equal those on arrays, gradients those of central differences of the eager function.

    In array code, and in C.
    """
    function = SMOOTH[name]
    builder, x, w, y, gradients = _traced(function)
    values = {x: X, w: W, **{i: p.value for p, i in builder.params.items() if i != w}}
    known = xp.run(builder.program, values, "gradients") | xp.run(builder.program, values, "predict")
    np.testing.assert_allclose(known[y], np.broadcast_to(function(X, W), X.shape), rtol=1e-12, atol=1e-12)
    made, *found = _in_c(builder, x, X)
    np.testing.assert_allclose(made, known[y], rtol=1e-11, atol=1e-12)
    for source, gradient in zip((x, w), found):
        assert_close(gradient, known[gradients[source]], 1e-11)

    def total(a, b):
        return float((np.broadcast_to(function(a, b), X.shape) * C).sum())

    moved_x, moved_w = X.copy(), W.copy()
    assert_close(known[gradients[x]], numeric_gradient(lambda: total(moved_x, W), moved_x))
    assert_close(known[gradients[w]], numeric_gradient(lambda: total(X, moved_w), moved_w))


# ---- what is not in the table: integers, modes, the functional API ----


def test_integers_become_rows_and_reals():
    labels = np.array([2, 0, 1, 2])
    table = RNG.normal(size=(3, 2))
    i = Input((), dtype="int32")

    class Reads(layers.Layer):
        def build(self, shape):
            self.table = self.add_weight((3, 2), lambda shape, dtype: table, name="table")

        def call(self, i):
            return ops.concatenate(
                [ops.one_hot(i, 4), ops.take(self.table, i, axis=0), ops.expand_dims(i * 0.5, -1)], axis=-1
            )

    made = Model(i, Reads()(i), dtype="float64").predict(labels)
    expected = np.concatenate([np.eye(4)[labels], table[labels], labels[:, None] * 0.5], axis=-1)
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_array_equal(ops.one_hot(labels, 4), np.eye(4)[labels])
    np.testing.assert_array_equal(ops.one_hot(labels[None], 4, axis=1), np.eye(4)[labels].T[None])
    one_hot = Model(i, ops.one_hot(i, 4))
    np.testing.assert_array_equal(one_hot.predict(labels), np.eye(4)[labels])


def test_no_gradient_passes_stop_gradient():
    value, gradient = fnn.value_and_grad(lambda w: ops.sum(w * ops.stop_gradient(w)))(W)
    assert value == pytest.approx((W * W).sum()) and np.array_equal(gradient, W)


def test_in_training_chooses_a_branch_and_the_other_is_not_computed():
    class Choice(layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(shape[-1:], "ones", name="a")
            self.b = self.add_weight(shape[-1:], "ones", name="b")

        def call(self, x):
            return ops.in_training(x * self.a, ops.exp(x) * self.b)

    x = Input((4,))
    model = Model(x, Choice(name="choice")(x), dtype="float64")
    with pytest.warns(UserWarning, match="does not depend on choice/b"):
        model.compile("sgd", "mse")
    data, target = X[:, 0], X[:, 1]
    np.testing.assert_allclose(model.predict(data), np.exp(data), rtol=1e-14)
    np.testing.assert_array_equal(model(data, training=True), data)
    train, infer = model.gradients(data, target, training=True), model.gradients(data, target)
    assert_close(train["choice/a"], (2 * (data - target) * data).sum(axis=0) / data.size)
    assert_close(infer["choice/b"], (2 * (np.exp(data) - target) * np.exp(data)).sum(axis=0) / data.size)
    assert not train["choice/b"].any() and not infer["choice/a"].any()
    engine = model._engine().engine
    sizes = {training: engine.session("gradients", 1000, training).nbytes for training in (True, False)}
    assert sizes[True] < sizes[False]  # exp and its product need no memory where they are not computed


def test_argmax_and_norms():
    for axis in (1, 2, -1):
        made = Model(x := Input((3, 4)), ops.argmax(x, axis=axis)).predict(X)
        np.testing.assert_array_equal(made, np.argmax(X, axis=axis))
    np.testing.assert_allclose(ops.norm(X, axis=1), np.linalg.norm(X, axis=1))
    np.testing.assert_allclose(ops.norm(X, ord=np.inf, axis=1), np.linalg.norm(X, ord=np.inf, axis=1))
    np.testing.assert_allclose(ops.norm(X), np.sqrt((X**2).sum()))


def test_functions_of_symbolic_tensors_are_layers(tmp_path):
    """Named as in Keras 3, and saved by name and arguments."""
    fnn.reset_names()
    x = Input((3, 4))
    h = 2 * x + 1
    h = ops.where(h > [0, 1, 2, 3], h, -h)[:, 1:, None, ..., :2]
    y = ops.concatenate([ops.squeeze(h, axis=2), ops.mean(x, axis=1, keepdims=True)[..., 2:]], axis=1)
    model = Model(x, y @ np.ones((2, 2)), dtype="float64")
    assert [layer.name for layer in model.layers][:4] == ["input_layer", "multiply", "add", "greater"]
    doubled = 2 * X + 1
    chosen = np.where(doubled > [0, 1, 2, 3], doubled, -doubled)[:, 1:, :2]
    expected = np.concatenate([chosen, X.mean(axis=1, keepdims=True)[..., 2:]], axis=1) @ np.ones((2, 2))
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-14)
    model.save(tmp_path / "m.fnn")
    assert np.array_equal(fnn.load(tmp_path / "m.fnn").predict(X), model.predict(X))
    with pytest.raises(errors.UnknownNameError, match="did you mean 'add'"):
        layers.Operation("ad", [])
    assert len({x, y, x}) == 2 and x is not None and (x != None)  # noqa: E711


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: ops.concatenate([x, x[:, :2]], axis=2), errors.ShapeError, "cannot join .* along axis 2"),
        (lambda x: ops.slice(x, (0, 2, 0), (-1, 2, 4)), errors.ShapeError, "axis 1 has the size 3, got the start 2"),
        (lambda x: ops.slice(x, (1, 2, 0), (-1, 1, 4)), errors.ShapeError, "the batch is taken whole"),
        (lambda x: ops.slice(x, (0, 2), (-1, 1)), errors.ArgumentError, "one size for each of 3 dimensions"),
        (lambda x: ops.split(x, 3, axis=2), errors.ShapeError, "4 cannot be cut into 3 equal parts"),
        (lambda x: ops.take(x, [4], axis=2), errors.ArgumentError, r"integers in \[-4, 4\), got \[4\]"),
        (
            lambda x: ops.norm(x, ord=3, axis=1),
            errors.ArgumentError,
            "norms 1, 2 and inf of vectors, got ord=3",
        ),
        (lambda x: ops.squeeze(x, axis=1), errors.ShapeError, "another size than 1 at axis 1"),
        (lambda x: ops.broadcast_to(x, (None, 2, 4)), errors.ShapeError, "cannot repeat"),
        (lambda x: ops.softmax(x, axis=0), errors.ShapeError, "cannot work over axis 0"),
        (lambda x: ops.cast(x, "text"), errors.DtypeError, "'text' is no dtype"),
        (lambda x: ops.expand_dims(x, 0), errors.ShapeError, "is the batch and stays first"),
        (lambda x: ops.sum(x, axis=(1, 1)), errors.ArgumentError, "names one axis twice"),
        (lambda x: ops.stack(x), errors.ArgumentTypeError, "takes a list of tensors"),
        (
            lambda x: ops.add(x, object()),
            errors.ArgumentTypeError,
            "real numbers, got an array of object|takes numbers",
        ),
        (
            lambda x: x + layers.Parameter("w", (4,), None),
            errors.ArgumentTypeError,
            "write a Layer to use parameters",
        ),
        (lambda x: bool(x > 0), errors.ArgumentTypeError, "is symbolic and has no values"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call(Input((3, 4)))


def test_infinities_and_dtypes_among_the_arguments_are_saved(tmp_path):
    x = Input((3, 4))
    y = ops.clip(ops.maximum(x, -np.inf), 0.5, float("inf")) + ops.cast(x > 1, np.float32)
    model = Model(x, y * ops.cast(x > 0, np.dtype("float64")), dtype="float64")
    expected = (np.maximum(X, 0.5) + (X > 1)) * (X > 0)
    model.save(tmp_path / "m.fnn")
    for made in (model, fnn.load(tmp_path / "m.fnn")):
        np.testing.assert_allclose(made.predict(X), expected, rtol=1e-15)
