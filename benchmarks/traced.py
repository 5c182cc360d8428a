"""Losses written by a user: a training step with a traced copy of a built-in loss beside the built-in's."""

import numpy as np

import fastnn as fnn
from fastnn import layers, losses, ops, optimizers
from fastnn.bench.rounds import clock, interleave, summary

TITLE = "Losses written with fastnn.ops, microseconds a step of 64-64-10 (goal: 1.3 times fastnn's own)"
BATCH, STEPS = 32, 200


def mean_squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def huber(y_true, y_pred):
    d = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(d < 1, 0.5 * d * d, d - 0.5), axis=-1)


def crossentropy(y_true, y_pred):
    p = ops.clip(y_pred / ops.sum(y_pred, axis=-1, keepdims=True), 1e-7, 1 - 1e-7)
    return -ops.sum(y_true * ops.log(p), axis=-1)


def crossentropy_of_logits(y_true, y_pred):
    return -ops.sum(y_true * ops.log_softmax(y_pred), axis=-1)


# name: (built-in, traced copy, last activation)
LOSSES = {
    "mean_squared_error": ("mse", mean_squared_error, None),
    "huber": ("huber", huber, None),
    "categorical_crossentropy, softmax": ("categorical_crossentropy", crossentropy, "softmax"),
    "categorical_crossentropy of logits": (
        losses.CategoricalCrossentropy(from_logits=True), crossentropy_of_logits, None,
    ),
}  # fmt: skip


def trainer(loss, activation):
    """A function that trains for an epoch, and the loss of its model."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH * STEPS, 64), np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, len(x))]
    fnn.set_seed(0)
    last = layers.Dense(10, activation=activation)
    model = fnn.Sequential([fnn.Input((64,)), layers.Dense(64, activation="relu"), last])
    model.compile(optimizers.Adam(1e-4), loss)
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0, seed=0).history["loss"][0]


def run(quick):
    """{loss: row}; raises where a copy does not give the built-in's loss."""
    rows = {}
    for name, (own, copy, activation) in LOSSES.items():
        sides = {"fastnn": trainer(own, activation), "traced": trainer(copy, activation)}
        first, second = (side() for side in sides.values())
        if not abs(first - second) <= 1e-4 * abs(first):
            raise RuntimeError(f"{name}: mean losses of an epoch differ: {first} and {second}")
        clocks = {side: clock(function) for side, function in sides.items()}
        rows[name] = summary(interleave(clocks, 7 if quick else 21, 0.05), 1e-6 * STEPS)
    return rows
