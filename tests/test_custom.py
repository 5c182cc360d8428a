"""Layers, activations and regularizers of a user's own: weights, gradients, errors, files."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gradcheck import assert_close, numeric_gradient

import fastnn as fnn
from fastnn import Input, Model, Sequential, layers, ops
from fastnn.errors import ArgumentError, ArgumentTypeError, GraphError, ShapeError
from fastnn.layers import Dense

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 2))


class Scale(layers.Layer):
    """x g"""

    def build(self, shape):
        self.g = self.add_weight(shape=shape[-1:], initializer="ones", name="g")

    def call(self, x):
        return x * self.g


class Block(layers.Layer):
    """Sublayers as attributes, in a list and as a model; dropout, running statistics and a constant array."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.steps = [Dense(units, activation="tanh", name="a"), Dense(units, name="b")]
        self.scale, self.drop = Scale(name="s"), layers.Dropout(0.3)
        self.inner = Sequential([Dense(units, name="inner")])
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, x, training=None):
        h = self.scale(self.drop(self.steps[0](x), training=training)) + np.linspace(0, 1, x.shape[-1] + 1)[1]
        return self.norm(self.inner(self.steps[1](h)) + h * np.arange(1.0, 5.0))


def squash(x):
    return ops.tanh(x) * ops.sigmoid(2 * x) + 0.1 * x


def cubic(w):
    return 0.01 * ops.sum(ops.abs(w) ** 3)


def make_model(dtype="float32"):
    fnn.reset_names()
    fnn.set_seed(1)
    x = Input((3,))
    first = Block(4, name="first")
    h = Block(4, name="second")(first(x)) * 2
    y = Dense(2, activation=squash, kernel_regularizer=cubic, name="head")(h)
    model = Model(x, y, dtype=dtype)
    model.compile(fnn.optimizers.Adam(0.01), "mse")
    return model


def test_the_example_of_the_readme():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    example = re.search(r"## Your own layers and losses\n\n```py\n(.*?)```", text, re.S)[1]
    names = {"fnn": fnn, "X": X, "W": Y[:3]}
    exec(example, names)
    target = X[:, :1]
    d = np.abs(target - names["model"].predict(np.c_[X, target]))
    expected = np.where(d < 1, 0.5 * d * d, d - 0.5).mean()
    assert names["model"].evaluate(np.c_[X, target], target, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert names["value"] == pytest.approx(np.tanh(X @ Y[:3]).sum(), rel=1e-12)
    assert names["gradient"].shape == (3, 2)


def test_weights_stand_in_keras_order_under_paths():
    model = make_model()
    of_block = ["a/kernel", "a/bias", "b/kernel", "b/bias", "s/g", "inner/kernel", "inner/bias"]
    of_norm = [f"norm/{w}" for w in ("gamma", "beta", "moving_mean", "moving_variance")]
    expected = [f"{block}/{w}" for block in ("first", "second") for w in of_block + of_norm]
    assert list(model.parameters) == [*expected, "head/kernel", "head/bias"]
    assert len(model.get_weights()) == len(expected) + 2  # arrays in call are no weights
    model.get_layer("first").trainable = False
    assert [w.name for w in model.trainable_weights][0] == "second/a/kernel"


def test_own_weights_come_before_those_of_sublayers():
    class Both(layers.Layer):
        def build(self, shape):
            self.inner = Dense(2, name="inner")
            self.count = self.add_weight((), "zeros", trainable=False, name="count")
            self.g = self.add_weight((), "ones", name="g")

        def call(self, x):
            return self.inner(x) * self.g + self.count

    layer = Both(name="both")
    layer(Input((3,)))
    assert [w.name for w in layer.weights] == ["both/g", "both/count", "both/inner/kernel", "both/inner/bias"]


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_differences(training):
    """Inference and training differ in dropout and in the statistics that normalise."""
    model = make_model("float64")
    fnn.set_seed(5)
    found = model.gradients(X[:6], Y[:6], training=training)
    if training:
        other = model.gradients(X[:6], Y[:6])
        assert not np.allclose(found["first/a/kernel"], other["first/a/kernel"])
        return
    for name in ("first/a/kernel", "second/s/g", "first/norm/gamma", "head/kernel"):
        parameter = model.parameters[name]
        moved = parameter.value.copy()

        def loss():
            parameter.assign(moved)
            return model.evaluate(X[:6], Y[:6], verbose=0)

        assert_close(found[name], numeric_gradient(loss, moved))
        parameter.assign(moved)


def test_training_lowers_the_loss():
    model = make_model()
    targets = np.tanh(X[:, :2])
    before = model.evaluate(X, targets, verbose=0)
    model.fit(X, targets, epochs=60, verbose=0, seed=0)
    assert model.evaluate(X, targets, verbose=0) < 0.5 * before


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained model, its file, and what the model predicts."""
    model = make_model()
    model.fit(X, Y, epochs=2, verbose=0, seed=3)
    path = tmp_path_factory.mktemp("custom") / "model.fnn"
    model.save(path)
    return model, path, model.predict(X)


def test_a_file_needs_no_class(saved):
    """A fresh interpreter without the classes loads, predicts, trains on: the same bits as here."""
    model, path, predicted = saved
    code = (
        "import sys, numpy as np, fastnn as fnn\n"
        f"model = fnn.load({str(path)!r})\n"
        "x, y = np.load(sys.argv[1]), np.load(sys.argv[2])\n"
        "before = model.predict(x)\n"
        "model.fit(x, y, epochs=2, verbose=0, seed=4)\n"
        "np.savez(sys.argv[3], before, *model.get_weights())\n"
        "assert model.get_layer('first').class_name == 'Block'\n"
    )
    files = [str(path.parent / name) for name in ("x.npy", "y.npy", "out.npz")]
    np.save(files[0], X)
    np.save(files[1], Y)
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    before, *weights = np.load(files[2]).values()
    assert np.array_equal(before, predicted)
    here = copy.deepcopy(model)
    for trained in (here, model):
        trained.fit(X, Y, epochs=2, verbose=0, seed=4)
        assert all(map(np.array_equal, trained.get_weights(), weights))


def test_a_loaded_model_keeps_names_and_trainability(saved):
    model, path, _ = saved
    loaded = fnn.load(path)
    assert list(loaded.parameters) == list(model.parameters)
    assert [w.name for w in loaded.trainable_weights] == [w.name for w in model.trainable_weights]
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    twice = Model.from_config(loaded.get_config())
    assert twice.program == Model.from_config(model.get_config()).program
    loaded.save_weights(path.parent / "weights.fnn")
    twice.load_weights(path.parent / "weights.fnn")
    assert all(map(np.array_equal, twice.get_weights(), loaded.get_weights()))


def test_a_shared_layer_of_ones_own_serves_inputs_of_several_shapes(tmp_path):
    class Last(layers.Layer):
        def call(self, xs):
            return (
                ops.concatenate([x[..., -1:] for x in xs], axis=-1) if isinstance(xs, list) else xs[..., -1:]
            )

    a, b = Input((3,), name="a"), Input((5,), name="b")
    last = Last()
    model = Model([a, b], Dense(1)(layers.Concatenate()([last(a), last(b), last([a, b])])))
    x = [RNG.normal(size=(4, 3)), RNG.normal(size=(4, 5))]
    model.save(tmp_path / "m.fnn")
    loaded = fnn.load(tmp_path / "m.fnn")
    assert np.array_equal(loaded.predict(x), model.predict(x))
    with pytest.raises(ShapeError, match=r"was saved for inputs of shape .*\(None, 3\).*got \[\(None, 7\)\]"):
        loaded.get_layer(last.name)(Input((7,)))


def test_a_file_with_a_part_shared_outside_is_refused(tmp_path):
    class Transposed(layers.Layer):
        def __init__(self, kernel):
            super().__init__()
            self.kernel = kernel

        def call(self, x):
            return x @ ops.transpose(self.kernel)

    block, x = Block(4, name="block"), Input((3,))
    model = Model(x, block.inner(block(x)))
    with pytest.raises(
        GraphError, match="share the parameter 'block/inner/kernel', which a file cannot express"
    ):
        model.save(tmp_path / "m.fnn")
    dense = Dense(2, name="coder")
    h = dense(x)
    tied = Model(x, Transposed(dense.kernel)(h))
    tied.compile("sgd", "mse")
    before = tied.evaluate(X, X, verbose=0)
    tied.fit(X, X, epochs=5, verbose=0)
    assert tied.evaluate(X, X, verbose=0) < before
    with pytest.raises(
        GraphError, match="'coder/kernel' is used by a function or layer that it does not belong to"
    ):
        tied.save(tmp_path / "m.fnn")


def test_layers_can_be_called_as_outside_training():
    """training=False: no dropout, and the running statistics stay, in training too; also after loading."""
    x = Input((3,))
    body = Sequential([Input((3,)), layers.BatchNormalization(name="bn"), layers.Dropout(0.5)])
    model = Model(x, Dense(1)(body(x, training=False)))
    model.compile("sgd", "mse")
    model = copy.deepcopy(model)
    assert not any(node.op in ("dropout", "moving_average", "in_training") for node in model.program.nodes)
    with pytest.raises(ArgumentError, match="training must be False or left out, got True"):
        body(x, training=True)


def test_regularizers_of_ones_own(tmp_path):
    class Spread(fnn.regularizers.Regularizer):
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, w):
            return self.rate * ops.var(w)

    x = Input((3,))
    model = Model(x, Dense(2, kernel_regularizer=Spread(0.5), bias_regularizer=cubic)(x), dtype="float64")
    model.compile("sgd", "mse")
    kernel, bias = model.get_weights()
    bias = np.array([0.5, -2.0])
    model.set_weights([kernel, bias])
    penalty = 0.5 * kernel.var() + 0.01 * (np.abs(bias) ** 3).sum()
    error = ((X @ kernel + bias - Y) ** 2).mean()
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(error + penalty, rel=1e-12)
    plain = Model(x, Dense(2)(x), dtype="float64")
    plain.compile("sgd", "mse")
    plain.set_weights([kernel, bias])
    by_penalty = [a - b for a, b in zip(model.gradients(X, Y).values(), plain.gradients(X, Y).values())]
    assert_close(by_penalty[0], (kernel - kernel.mean()) / kernel.size)
    assert_close(by_penalty[1], 0.03 * bias * np.abs(bias))
    model.save(tmp_path / "m.fnn")
    assert fnn.load(tmp_path / "m.fnn").evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert fnn.regularizers.get(cubic)(bias) == pytest.approx(0.01 * (np.abs(bias) ** 3).sum())
    with pytest.raises(ShapeError, match="gives one number for a parameter.*shape \\(3, 2\\)"):
        Model(x, Dense(2, kernel_regularizer=ops.abs)(x)).compile("sgd", "mse")


def test_activations_of_ones_own_work_on_arrays():
    activation = fnn.activations.get(squash)
    expected = np.tanh(X) / (1 + np.exp(-2 * X)) + 0.1 * X
    np.testing.assert_allclose(activation(X), expected, rtol=1e-12)
    Dense(2, activation=activation)(Input((3,)))
    loaded = fnn.activations.get(fnn.activations.serialize(activation))
    np.testing.assert_allclose(loaded(X[:, :2]), expected[:, :2], rtol=1e-12)
    with pytest.raises(ShapeError, match="'squash' was saved for inputs of shape"):
        loaded(X)


class Wrong(layers.Layer):
    def __init__(self, made, **kwargs):
        super().__init__(**kwargs)
        self.made = made

    def call(self, x, training=False):
        return self.made(x, training)


@pytest.mark.parametrize(
    ("made", "error", "match"),
    [
        (
            lambda x, t: x if x > 0 else -x,
            ArgumentTypeError,
            "cannot branch or loop on values. Use ops.where",
        ),
        (lambda x, t: [v for v in x], ArgumentTypeError, "cannot branch or loop on values"),
        (
            lambda x, t: x if t else -x,
            ArgumentTypeError,
            r"Wrong 'w': training has no value.*ops.in_training",
        ),
        (lambda x, t: None, GraphError, "Wrong 'w': call must return a tensor with the batch.*got NoneType"),
        (lambda x, t: ops.sum(x), GraphError, r"Wrong 'w': call must return.*shape \(\)"),
        (lambda x, t: x + ops.sum(x, axis=1), ShapeError, r"Wrong 'w': .*\(B, 3\), \(B\).*keepdims=True"),
        (lambda x, t: ops.max(x, axis=0), ShapeError, r"Wrong 'w': ops.max cannot work over axis 0"),
        (lambda x, t: x @ np.ones((4, 2)), ShapeError, r"ops.matmul cannot multiply \(B, 3\), \(4, 2\)"),
        (lambda x, t: np.arctan(x), ArgumentTypeError, "np.arctan cannot work on symbolic tensors"),
        (lambda x, t: np.median(x), ArgumentTypeError, "np.median cannot work on symbolic tensors"),
        (lambda x, t: x.__setitem__(0, 1), ArgumentTypeError, "cannot be changed in place: use ops.where"),
        (lambda x, t: x + "a", TypeError, "unsupported operand"),
        (lambda x, t: x * np.array(["a"]), ArgumentTypeError, "takes real numbers, got an array of <U1"),
        (lambda x, t: x[1], ShapeError, "the batch is taken whole, got the index 1"),
        (lambda x, t: x[:, ::2], ShapeError, "a slice needs step 1"),
        (lambda x, t: x[:, 5], ShapeError, "axis 1 has the size 3, got the index 5"),
        (lambda x, t: ops.reshape(x, (2, 3)), ShapeError, "begins with None, the batch"),
        (lambda x, t: ops.transpose(x), ShapeError, "is the batch and stays first"),
        (lambda x, t: ops.mean(x, axis=4), ArgumentError, r"axis must be in \[-2, 2\), got 4"),
    ],
)
def test_what_a_trace_cannot_do(made, error, match):
    with pytest.raises(error, match=match):
        Wrong(made, name="w")(Input((3,)))


def test_tensors_do_not_outlive_their_trace():
    kept = []
    Wrong(lambda x, t: kept.append(x) or x * 2, name="w")(Input((3,)))
    with pytest.raises(GraphError, match="belongs to another function's trace"):
        Wrong(lambda x, t: x + kept[0], name="w")(Input((3,)))


class Mix(layers.Layer):
    """Two tensors as two arguments."""

    def call(self, a, b, training=None):
        return a + 2 * b


def test_tensors_are_given_in_order_in_a_list_or_by_name(tmp_path):
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], [Mix()(a, b), Mix()([a, b]), Mix()(a, b=b), Mix()(b=b, a=a)], dtype="float64")
    for made in model.predict([X, -3 * X]):
        np.testing.assert_allclose(made, -5 * X, rtol=1e-14)
    model.save(tmp_path / "m.fnn")
    np.testing.assert_allclose(fnn.load(tmp_path / "m.fnn").predict([X, -3 * X])[0], -5 * X, rtol=1e-14)
    for call in (lambda: Mix(name="w")(a), lambda: Mix(name="w")(a, b, b)):
        with pytest.raises(GraphError, match="Mix 'w' takes 2 tensors, a, b; got [13]"):
            call()
    for call in (lambda: Mix(name="w")(a, c=b), lambda: Dense(2, name="w")(a, mask=None)):
        with pytest.raises(ArgumentTypeError, match="'w' is called on tensors, got the argument '(c|mask)'"):
            call()


class Bare(layers.Layer):
    def __init__(self, weight):
        if weight:
            self.w = self.add_weight((3,))

    def call(self, x):
        return x


@pytest.mark.parametrize("weight", [False, True])
def test_a_forgotten_super_is_named(weight):
    with pytest.raises(GraphError, match=r"Bare.__init__ must call super\(\).__init__\(\)"):
        Bare(weight)(Input((3,)))


def test_parameters_are_arrays_outside_of_a_trace():
    model = Sequential([Input((3,)), Dense(2, name="d")])
    kernel = model.parameters["d/kernel"]
    assert np.array_equal(np.asarray(kernel), kernel.value) and np.array_equal(kernel.numpy(), kernel.value)
    assert np.array(kernel, "float64").dtype == np.float64
    np.testing.assert_allclose(kernel, kernel.value)
    assert np.median(kernel) == np.median(kernel.value) and np.isfinite(kernel).all()
    assert model.variables == model.weights and model.trainable_variables == model.trainable_weights
    assert model.layers[-1].non_trainable_variables == []
    _, gradient = fnn.value_and_grad(lambda x, w: ops.sum(x @ w), argnums=1)(X, kernel)
    np.testing.assert_allclose(gradient, np.repeat(X.sum(0)[:, None], 2, 1), rtol=1e-12)

    class Norm(layers.Layer):
        def build(self, shape):
            self.k = self.add_weight((3,))

        def call(self, x):
            return x * np.asarray(self.k)

    with pytest.raises(ArgumentTypeError, match="has no value while a function is traced"):
        Norm()(Input((3,)))


class Halves(fnn.initializers.Initializer):
    def __call__(self, shape, dtype="float32"):
        return np.full(shape, 0.5, dtype)


def test_initializers_of_ones_own_need_no_file(tmp_path):
    Sequential([Input((3,)), Dense(2, kernel_initializer=Halves())]).save(tmp_path / "m.fnn")
    np.testing.assert_array_equal(fnn.load(tmp_path / "m.fnn").get_weights()[0], np.full((3, 2), 0.5))


BIG = RNG.normal(size=(3, 20_000))


class Spread(layers.Layer):
    def call(self, x):
        return x @ BIG


def test_arrays_of_a_trace_are_saved_exactly_and_briefly(tmp_path):
    """Beside the parameter that holds it, an array costs its bytes in base64, and keeps its precision."""
    x = Input((3,))
    for out in (Spread(name="s")(x), x @ BIG):
        Model(x, out, dtype="float64").save(tmp_path / "m.fnn")
        assert (tmp_path / "m.fnn").stat().st_size < BIG.nbytes * (1 + 4 / 3) + 20_000
        loaded = fnn.load(tmp_path / "m.fnn")
        again = Model(loaded.input, loaded.output, dtype="float64")  # traced anew, from what the file says
        np.testing.assert_allclose(again.predict(X), X @ BIG, rtol=0, atol=1e-14)


def test_a_loaded_layer_is_frozen_as_its_class_would_be(tmp_path):
    """Running statistics stay, dropout does not; and back, also where the layer was saved frozen."""
    make_model().save(tmp_path / "free.fnn")
    model = make_model()
    model.get_layer("first").trainable = False
    model.compile("sgd", "mse")
    model.save(tmp_path / "frozen.fnn")
    for name in ("free.fnn", "frozen.fnn"):
        model = fnn.load(tmp_path / name)
        for trainable in (False, True):
            layer = model.get_layer("first")
            layer.trainable = trainable
            model.compile("sgd", "mse")
            before = layer.get_weights()
            model.fit(3 * X + 1, Y, verbose=0)
            for w, old in zip(layer.weights, before):
                # the bias before a normalisation by the batch has no gradient
                assert np.array_equal(w.value, old) != trainable or "bias" in w.name
            drawn = Model(model.inputs, layer.output)
            assert not np.array_equal(drawn(X, training=True), drawn(X, training=True))


class Augment(layers.Layer):
    """Everything that acts in training only."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.steps = [layers.MixUp(), layers.Dropout(0.5), layers.GaussianNoise(0.5), layers.BatchNormalization()]

    def call(self, x):
        for step in self.steps:
            x = step(x)
        return ops.in_training(x + 1, x) + ops.stop_gradient(x)


def test_a_call_outside_training_stays_one_in_a_file(tmp_path):
    x = Input((3,))
    quiet = Augment(name="quiet")(x, training=False)
    model = Model(x, [quiet, layers.Dropout(0.5)(x)])
    model.save(tmp_path / "m.fnn")
    loaded = fnn.load(tmp_path / "m.fnn")
    for made in (model, loaded):
        still, drawn = made(X, training=True)
        np.testing.assert_array_equal(still, made.predict(X)[0])
        assert not np.array_equal(drawn, X)
    for made in (model, loaded):
        made.compile("sgd", "mse")
        made.fit(X, [X, X], epochs=2, verbose=0, seed=1, shuffle=False)
    for w, v in zip(model.weights, loaded.weights):
        assert np.array_equal(w.value, v.value)
    assert loaded.evaluate(X, [X, X], verbose=0) == model.evaluate(X, [X, X], verbose=0)
