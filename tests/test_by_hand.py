"""Training by hand: loss_and_gradients, optimizer.apply and updates of one's own."""

import copy
import functools
import gc
import pickle

import numpy as np
import pytest

import fastnn as fnn
from fastnn import Input, Model, activations, layers, optimizers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    NotCompiledError,
    ShapeError,
    UnknownNameError,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 5)), RNG.normal(size=(30, 3))


def make_model(optimizer, dropout=0.4, dtype="float32"):
    fnn.reset_names()
    fnn.set_seed(3)
    x = Input((5,))
    h = layers.Dense(20, activation="tanh", kernel_regularizer="l2", name="h")(x)
    h = layers.Dropout(dropout)(h)
    model = Model(x, layers.Dense(3, name="y")(h), dtype=dtype)
    model.compile(optimizer, "mse")
    fnn.set_seed(4)
    return model


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optimizers.SGD(0.1),
        lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipvalue=0.01),
        lambda: optimizers.Adam(
            optimizers.schedules.ExponentialDecay(0.01, 2, 0.5), amsgrad=True, clipnorm=0.1
        ),
        lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5, global_clipnorm=0.1),
        lambda: optimizers.Nadam(0.01),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_by_hand_are_those_of_train_on_batch(optimizer, dtype):
    """Bit by bit, with dropout, penalties, clipping, moments and schedules; in turns too."""
    one, other = make_model(optimizer(), dtype=dtype), make_model(optimizer(), dtype=dtype)
    fnn.set_seed(5)
    losses = [one.train_on_batch(X, Y) for _ in range(6)]
    fnn.set_seed(5)
    for step in range(6):
        if step == 3:
            assert other.train_on_batch(X, Y) == losses[3]
            continue
        loss, gradients = other.loss_and_gradients(X, Y)
        assert loss == losses[step]
        other.optimizer.apply(gradients)
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
    resumed = copy.deepcopy(other)  # iterations and moments are the model's
    assert resumed.train_on_batch(X, Y) == one.train_on_batch(X, Y)


def test_outside_training_they_are_what_evaluate_and_gradients_give():
    model = make_model("sgd", dtype="float64")
    weights = RNG.uniform(size=30)
    loss, found = model.loss_and_gradients(X, Y, weights, training=False)
    assert loss == pytest.approx(model.evaluate(X, Y, sample_weight=weights, verbose=0), rel=1e-12)
    expected = model.gradients(X, Y, weights)
    assert list(found) == list(expected) and all(map(np.array_equal, found.values(), expected.values()))


def test_an_update_of_ones_own_by_assign():
    one, other = make_model(optimizers.SGD(0.25), 0.0), make_model("adam", 0.0)
    one.train_on_batch(X, Y)
    for name, gradient in other.loss_and_gradients(X, Y)[1].items():
        parameter = other.parameters[name]
        with pytest.raises(ValueError, match="read-only"):
            parameter.value[...] = 0
        parameter.assign(parameter.value - np.float32(0.25) * gradient)
    for a, b in zip(one.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_frozen_layers_stay():
    model = make_model("sgd")
    model.get_layer("h").trainable = False
    model.compile("adam", "mse")
    _, gradients = model.loss_and_gradients(X, Y)
    assert list(gradients) == ["y/kernel", "y/bias"]
    before = model.get_weights()
    model.optimizer.apply(gradients)
    assert [np.array_equal(a, b) for a, b in zip(before, model.get_weights())] == [True, True, False, False]


def test_the_updater_outlives_what_it_shares():
    """Moments are lent by the engine of a Program that compile replaces."""
    model = make_model("adam")
    for _ in range(3):
        model.optimizer.apply(model.loss_and_gradients(X, Y)[1])
        model.compile("adam", "mse")
        gc.collect()
    assert np.isfinite(model.get_weights()[0]).all()


def test_optimizers_are_pickled_without_their_model():
    model = make_model(optimizers.Adam(0.5))
    assert pickle.loads(pickle.dumps(model.optimizer)).learning_rate == 0.5
    assert copy.deepcopy(model.optimizer).learning_rate == 0.5


def test_errors():
    model = make_model("adam")
    _, gradients = model.loss_and_gradients(X, Y)
    apply, before = model.optimizer.apply, model.get_weights()
    with pytest.raises(ArgumentError, match="got none for \\['y/bias'\\]"):
        apply({k: v for k, v in gradients.items() if k != "y/bias"})
    with pytest.raises(UnknownNameError, match="'y/bais'; did you mean 'y/bias'"):
        apply({**gradients, "y/bais": 0})
    with pytest.raises(ShapeError, match=r"'y/bias' has shape \(3,\), got an array of shape \(4,\)"):
        apply({**gradients, "y/bias": np.zeros(4)})
    with pytest.raises(DataError, match="gradient of 'y/bias' holds NaN"):
        apply({**gradients, "y/bias": [1, np.nan, 2]})
    with pytest.raises(ArgumentTypeError, match="takes gradients by parameter name.*got list"):
        apply(list(gradients.values()))
    with pytest.raises(NotCompiledError, match="Adam.apply needs a model compiled with it"):
        optimizers.Adam().apply(gradients)
    with pytest.raises(ArgumentError, match="is compiled with .*, not with this"):
        optimizers.Adam().apply(gradients, model)
    with pytest.raises(NotCompiledError, match="needs compile.*before loss_and_gradients"):
        Model(model.inputs, model.outputs).loss_and_gradients(X, Y)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert model._engine().engine.iterations == 0


@pytest.mark.parametrize("clip_value", [None, 1.0])
def test_a_net_of_steps_learns_straight_through(clip_value, tmp_path):
    """Its gradient is the one written out by hand with the step's derivative replaced, also after loading."""
    step = functools.partial(activations.step, straight_through=True, clip_value=clip_value)
    model = fnn.Sequential([Input((5,)), layers.Dense(8, activation=step), layers.Dense(3)], dtype="float64")
    model.compile("sgd", "mse")
    model.save(tmp_path / "steps.fnn")
    w, b, v, c = model.get_weights()
    z = X @ w + b
    hidden, dy = (z >= 0) * 1.0, 2 / Y.size
    dy = dy * (hidden @ v + c - Y)
    dz = dy @ v.T * (np.abs(z) <= (clip_value or np.inf))
    assert clip_value is None or 0 < (dz == 0).mean() < 1
    expected = [X.T @ dz, dz.sum(axis=0), hidden.T @ dy, dy.sum(axis=0)]
    for net in (model, fnn.load(tmp_path / "steps.fnn")):
        for got, want in zip(net.gradients(X, Y).values(), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)


def test_a_net_of_steps_alone_has_no_gradient_before_the_last_layer():
    model = fnn.Sequential([Input((5,)), layers.Dense(8, activation="step"), layers.Dense(3)])
    model.compile("sgd", "mse")
    assert [bool(g.any()) for g in model.gradients(X, Y).values()] == [False, False, True, True]
    with pytest.raises(ArgumentError, match=r"clip_value=1 .* needs straight_through=True"):
        activations.step(X, clip_value=1)
    with pytest.raises(ArgumentError, match=r"clip_value must be in \(0, inf\), got 0"):
        activations.step(X, straight_through=True, clip_value=0)
