"""Prediction: microseconds a call, for one sample and for many."""

import numpy as np

from .rounds import interleave, summary

TITLE = "Prediction, microseconds a call (float32, batch {rows})"
ROWS = (1, 1024)


def run(net, sides, quick, rows):
    """One row of the table: `rows` samples predicted by every side."""
    x, _ = net.data(rows)
    weights = net.weights()
    predictors = {name: side.predictor(net, weights, rows) for name, side in sides.items()}
    first, *others = predictors
    want = np.array(predictors[first](x))
    for name in others:
        got = predictors[name](x)
        if not np.abs(got - want).max() <= 1e-4 * np.abs(want).max():
            raise RuntimeError(f"{net.name}: predictions of {first} and {name} differ")
    functions = {name: (lambda f=predict: f(x)) for name, predict in predictors.items()}
    large = net.flops > 1e10
    return summary(interleave(functions, 3 if large and quick else 7, 0.02 if quick else 0.1), 1e-6)
