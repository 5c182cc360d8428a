"""Activations with arguments, as layers."""

from .. import activations
from ..arguments import check_float
from .base import Layer, registry


class _ActivationLayer(Layer):
    """Applies `function` with the attributes named in `arguments`."""

    function = None
    arguments = ()

    def call(self, x):
        self._needs_one(x)
        return self.function(x, **{a: getattr(self, a) for a in self.arguments})

    def get_config(self):
        return {**super().get_config(), **{a: getattr(self, a) for a in self.arguments}}


@registry.add
class ReLU(_ActivationLayer):
    """max(x, 0), with `negative_slope` below.

    Parameters
    ----------
    max_value : None
        Not supported.
    negative_slope : float, default 0.0
    threshold : float
        Only 0.0 is supported.
    name, trainable, dtype
        See `Layer`.
    """

    function = staticmethod(activations.relu)
    arguments = ("max_value", "negative_slope", "threshold")

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        super().__init__(**kwargs)
        activations.relu(0.0, negative_slope, max_value, threshold)  # checks them
        self.max_value, self.negative_slope, self.threshold = max_value, float(negative_slope), threshold
        self.built = True


@registry.add
class LeakyReLU(_ActivationLayer):
    """x for x >= 0, `negative_slope` * x below.

    Parameters
    ----------
    negative_slope : float, default 0.3
    name, trainable, dtype
        See `Layer`.
    """

    function = staticmethod(activations.leaky_relu)
    arguments = ("negative_slope",)

    def __init__(self, negative_slope=0.3, **kwargs):
        super().__init__(**kwargs)
        self.negative_slope = check_float(self._label, "negative_slope", negative_slope)
        self.built = True


@registry.add
class ELU(_ActivationLayer):
    """x for x > 0, `alpha` (exp(x) - 1) below.

    Parameters
    ----------
    alpha : float, default 1.0
    name, trainable, dtype
        See `Layer`.
    """

    function = staticmethod(activations.elu)
    arguments = ("alpha",)

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = check_float(self._label, "alpha", alpha)
        self.built = True


@registry.add
class Softmax(_ActivationLayer):
    """exp(x) / sum(exp(x)) over the last dimension.

    Parameters
    ----------
    axis : int, default -1
        Only the last dimension is supported.
    name, trainable, dtype
        See `Layer`.
    """

    function = staticmethod(activations.softmax)
    arguments = ("axis",)

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.built = True
