"""fastnn's frozen models as in fastnn_net.py, but with a new array from each call."""

from fastnn.bench.fastnn_net import build, version

__all__ = ["predictor", "version"]


def predictor(net, weights, rows):
    """A function (rows, features) -> (rows, outputs)."""
    return build(net, weights).freeze()
