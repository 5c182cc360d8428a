"""The nets in fastnn, as a user would write them."""

import numpy as np

import fastnn as fnn
from fastnn import layers, optimizers


def version():
    config = fnn.show_config("dicts")
    return f"{config['fastnn']} ({config['active']})"


def build(net, weights):
    """The net as a compiled `fastnn.Sequential` with the given weights."""
    hidden = [layers.Dense(units, activation=net.activation) for units in net.widths[1:-1]]
    last = layers.Dense(net.widths[-1], activation="softmax" if net.classifies else None)
    model = fnn.Sequential([fnn.Input((net.widths[0],)), *hidden, last], dtype=net.dtype)
    model.compile(optimizer=optimizers.Adam(net.learning_rate, epsilon=net.epsilon), loss=net.loss)
    model.set_weights(weights)
    return model


class Trainer:
    """Trains a net by Adam; every side of the comparison has these methods."""

    def __init__(self, net, weights):
        self.net = net
        self.model = build(net, weights)

    def steps(self, x, y):
        """One epoch in the order of the samples; returns the mean loss."""
        return self._fit(x, y, shuffle=False)

    def epoch(self, x, y):
        """One epoch in shuffled order; returns the mean loss."""
        return self._fit(x, y, shuffle=True)

    def _fit(self, x, y, shuffle):
        fitted = self.model.fit(x, y, batch_size=self.net.batch, epochs=1, shuffle=shuffle, verbose=0)
        return fitted.history["loss"][0]


def predictor(net, weights, rows):
    """A function (rows, features) -> (rows, outputs): a frozen model that fills one array."""
    frozen, out = build(net, weights).freeze(), np.empty((rows, net.widths[-1]), net.dtype)
    return lambda x: frozen(x, out=out)
