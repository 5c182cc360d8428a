"""The nets in scikit-learn: MLPClassifier and MLPRegressor, an epoch a call of `partial_fit`."""

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor


def version():
    return sklearn.__version__


def build(net, weights):
    """The net as an estimator with the given weights that has not been trained."""
    outputs = net.widths[-1]
    settings = {
        "hidden_layer_sizes": net.widths[1:-1], "activation": net.activation, "alpha": 0.0,
        "batch_size": net.batch, "learning_rate_init": net.learning_rate,
    }  # fmt: skip
    rows = np.zeros((net.batch, net.widths[0]), net.dtype)
    if net.classifies:
        made = MLPClassifier(**settings, epsilon=net.epsilon)
        made.partial_fit(rows, np.arange(net.batch) % outputs, classes=np.arange(outputs))
    else:
        # Its gradient is that of half the squared error summed over the outputs: Adam sees but epsilon's scale.
        made = MLPRegressor(**settings, epsilon=net.epsilon * outputs / 2)
        y = np.zeros((net.batch, outputs), net.dtype)
        made.partial_fit(rows, y.ravel() if outputs == 1 else y)
    for own, given in zip(made.coefs_ + made.intercepts_, weights[0::2] + weights[1::2]):
        own[...] = given
    del made._optimizer  # the next call starts with fresh moments
    return made


class Trainer:
    """Trains a net by Adam with Keras's constants."""

    def __init__(self, net, weights):
        self.net = net
        self.estimator = build(net, weights)

    def steps(self, x, y):
        """One epoch in the order of the samples; returns the mean loss."""
        return self._fit(x, y, False)

    def epoch(self, x, y):
        """One epoch in shuffled order; returns the mean loss."""
        return self._fit(x, y, True)

    def _fit(self, x, y, shuffle):
        self.estimator.shuffle = shuffle
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        self.estimator.partial_fit(x, y)
        return self.estimator.loss_ * (1 if self.net.classifies else 2)


def predictor(net, weights, rows):
    """A function (rows, features) -> (rows, outputs)."""
    estimator = build(net, weights)
    if net.classifies:
        return estimator.predict_proba
    return lambda x: estimator.predict(x).reshape(len(x), -1)
