"""Activations with arguments, as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import activations, initializers, regularizers
from ..arguments import check_float, check_int
from ..errors import ArgumentError, ShapeError
from ..graph import emit
from .base import Layer, registry

if TYPE_CHECKING:
    from .._typing import Any, Named


class _ActivationLayer(Layer):
    """Applies `function` with the attributes named in `arguments`."""

    function: Callable
    arguments: tuple[str, ...] = ()

    def call(self, x):
        self._needs_one(x)
        return self.function(x, **{a: getattr(self, a) for a in self.arguments})

    def get_config(self) -> dict[str, Any]:
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

    def __init__(self, max_value=None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs) -> None:
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

    def __init__(self, negative_slope: float = 0.3, **kwargs) -> None:
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

    def __init__(self, alpha=1.0, **kwargs) -> None:
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

    def __init__(self, axis=-1, **kwargs) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.built = True


@registry.add
class PReLU(Layer):
    """x for x >= 0, alpha x below, with trained alphas (He et al., arXiv:1502.01852).

    Parameters
    ----------
    alpha_initializer : str or Initializer, default "zeros"
    alpha_regularizer : str or Regularizer, optional
    alpha_constraint : None
        Not supported.
    shared_axes : int or sequence of int, optional
        Dimensions along which one alpha serves all elements, the batch being 0: [1, 2] for one alpha a
        channel of (batch, height, width, channels). By default every element of a sample has its own.
    name, trainable, dtype
        See `Layer`.

    Attributes
    ----------
    alpha : Parameter
        Of a sample's shape, with 1 where it is shared.
    """

    def __init__(
        self,
        alpha_initializer: Named = "zeros",
        alpha_regularizer: Named = None,
        alpha_constraint: Named = None,
        shared_axes=None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self._refuse(alpha_constraint=alpha_constraint)
        if shared_axes is not None:
            shared_axes = shared_axes if isinstance(shared_axes, (list, tuple)) else [shared_axes]
            shared_axes = [check_int(self._label, "shared_axes", a) for a in shared_axes]
        self.shared_axes = shared_axes
        self.alpha = None

    def build(self, shape) -> None:
        self._needs_one(shape)
        self._needs_rank(2, shape)
        sizes = list(shape[1:])
        for axis in self.shared_axes or ():
            if not 1 <= axis < len(shape):
                raise ArgumentError(
                    f"{self._label}: shared_axes must name dimensions after the batch of {shape}, got {axis}."
                )
            sizes[axis - 1] = 1
        self.alpha = self.add_weight(
            tuple(sizes), self.alpha_initializer, self.alpha_regularizer, name="alpha"
        )

    def call(self, x):
        self._needs_one(x)
        fits = len(self.alpha.shape) == x.ndim - 1 and all(
            a in (1, d) for a, d in zip(self.alpha.shape, x.shape[1:])
        )
        if not fits:
            raise ShapeError(
                f"{self._label} expects samples that fit alphas of shape {self.alpha.shape}, got {x.shape}."
            )
        below = emit("multiply", emit("minimum", x, x.builder.emit("full", value=0, shape=())), self.alpha)
        return emit("add", emit("relu", x), below)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "shared_axes": self.shared_axes,
        }
