"""Layers that bring activations to a common scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import initializers, regularizers
from ..arguments import check_float, check_int
from ..errors import ArgumentError, ShapeError
from ..graph import emit
from .base import Layer, registry

if TYPE_CHECKING:
    from .._typing import Any, Named


class _Normalizing(Layer):
    """What normalisation over the last dimension shares: gamma and beta, of one number a feature."""

    def __init__(
        self,
        axis,
        epsilon: float,
        center: bool,
        scale,
        beta_initializer: Named,
        gamma_initializer: Named,
        beta_regularizer: Named,
        gamma_regularizer: Named,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = _one_axis(self, axis)
        self.epsilon = check_float(self._label, "epsilon", epsilon, low=0)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.gamma = self.beta = None

    def build(self, shape) -> None:
        self._needs_one(shape)
        self._needs_rank(2, shape)
        _check_last(self, self.axis, shape)
        if self.scale:
            self.gamma = self.add_weight(
                shape[-1:], self.gamma_initializer, self.gamma_regularizer, name="gamma"
            )
        if self.center:
            self.beta = self.add_weight(shape[-1:], self.beta_initializer, self.beta_regularizer, name="beta")

    def _check(self, x):
        self._needs_one(x)
        self._needs_rank(2, x.shape)
        _check_last(self, self.axis, x.shape)
        if self.weights and x.shape[-1:] != self.weights[0].shape:
            raise ShapeError(
                f"{self._label} expects inputs of {self.weights[0].size} features, got {x.shape}."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
        }


@registry.add
class BatchNormalization(_Normalizing):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, per feature (Ioffe and Szegedy, arXiv:1502.03167).

    In training, mean and variance (that of the population) are those of the batch, over all dimensions but
    the last, and the running statistics follow them: moving = momentum moving + (1 - momentum) batch.
    Otherwise, and always while the layer is frozen (``trainable = False``), the running statistics are used.
    `Model.freeze` folds the layer into a product that it follows.

    Parameters
    ----------
    axis : int, default -1
        Only the last dimension is supported.
    momentum : float, default 0.99
        In [0, 1].
    epsilon : float, default 1e-3
    center, scale : bool, default True
        Whether beta and gamma exist.
    beta_initializer, gamma_initializer : str or Initializer, default "zeros" and "ones"
    moving_mean_initializer, moving_variance_initializer : str or Initializer, default "zeros" and "ones"
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint, renorm, renorm_clipping, synchronized
        Not supported.
    renorm_momentum : float
        Without meaning, as `renorm` is not supported.
    name, trainable, dtype
        See `Layer`.

    Attributes
    ----------
    gamma, beta : Parameter or None
        Shape (features,).
    moving_mean, moving_variance : Parameter
        Shape (features,); not trainable.

    Notes
    -----
    Setting `trainable` counts at the next `compile`, as everywhere. Sample weights do not count in the
    statistics. Only `fit` and `train_on_batch` move the running statistics, not ``model(x, training=True)``.
    """

    def __init__(
        self,
        axis=-1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale=True,
        beta_initializer: Named = "zeros",
        gamma_initializer: Named = "ones",
        moving_mean_initializer: Named = "zeros",
        moving_variance_initializer: Named = "ones",
        beta_regularizer: Named = None,
        gamma_regularizer: Named = None,
        beta_constraint: Named = None,
        gamma_constraint: Named = None,
        renorm=False,
        renorm_clipping=None,
        renorm_momentum=0.99,
        synchronized=False,
        **kwargs,
    ) -> None:
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, **kwargs,
        )  # fmt: skip
        self._refuse(
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
            renorm=renorm,
            renorm_clipping=renorm_clipping,
            synchronized=synchronized,
        )
        self.momentum = check_float(self._label, "momentum", momentum, low=0, high=1)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.moving_mean = self.moving_variance = None

    def build(self, shape) -> None:
        super().build(shape)
        self.moving_mean = self.add_weight(
            shape[-1:], self.moving_mean_initializer, trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            shape[-1:], self.moving_variance_initializer, trainable=False, name="moving_variance"
        )

    def call(self, x):
        self._check(x)
        mean, variance = self.moving_mean, self.moving_variance
        if self.trainable:
            of_batch = emit("batch_moments", x)
            for moving, now in zip((mean, variance), of_batch):
                x.builder.on_train(moving, now, self.momentum)
            mean, variance = (emit("in_training", a, b) for a, b in zip(of_batch, (mean, variance)))
        factor = x.builder.emit("rsqrt", x.builder.emit("affine", variance, scale=1, shift=self.epsilon))
        if self.gamma is not None:
            factor = emit("multiply", factor, self.gamma)
        y = emit("multiply", emit("subtract", x, mean), factor)
        return y if self.beta is None else emit("bias_add", y, self.beta)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


@registry.add
class LayerNormalization(_Normalizing):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, per sample (Ba et al., arXiv:1607.06450).

    Mean and variance (that of the population) are those of the last dimension, in training and otherwise.

    Parameters
    ----------
    axis : int, default -1
        Only the last dimension is supported.
    epsilon : float, default 1e-3
    center, scale : bool, default True
        Whether beta and gamma exist.
    beta_initializer, gamma_initializer : str or Initializer, default "zeros" and "ones"
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint
        Not supported.
    name, trainable, dtype
        See `Layer`.

    Attributes
    ----------
    gamma, beta : Parameter or None
        Shape (features,).
    """

    def __init__(
        self,
        axis=-1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale=True,
        beta_initializer: Named = "zeros",
        gamma_initializer: Named = "ones",
        beta_regularizer: Named = None,
        gamma_regularizer: Named = None,
        beta_constraint: Named = None,
        gamma_constraint: Named = None,
        **kwargs,
    ) -> None:
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, **kwargs,
        )  # fmt: skip
        self._refuse(beta_constraint=beta_constraint, gamma_constraint=gamma_constraint)

    def call(self, x):
        self._check(x)
        y, _ = emit("layer_norm", x, epsilon=self.epsilon)
        if self.gamma is not None:
            y = emit("multiply", y, self.gamma)
        return y if self.beta is None else emit("bias_add", y, self.beta)


@registry.add
class UnitNormalization(Layer):
    """x / max(sqrt(sum(x^2)), 1e-12): samples of length 1.

    Parameters
    ----------
    axis : int or sequence of int, default -1
        Dimensions that the sum runs over, the batch being 0 and not among them.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, axis=-1, **kwargs) -> None:
        super().__init__(**kwargs)
        several = isinstance(axis, (list, tuple))
        checked = [check_int(self._label, "axis", a) for a in (axis if several else [axis])]
        self.axis = checked if several else checked[0]
        self.built = True

    def call(self, x):
        self._needs_one(x)
        rank, axes = x.ndim, self.axis if isinstance(self.axis, list) else [self.axis]
        summed = {a + rank if a < 0 else a for a in axes}
        if not summed <= set(range(1, rank)):
            raise ArgumentError(
                f"{self._label}: axis must name dimensions after the batch of {x.shape}, got {self.axis}."
            )
        shape = tuple(1 if i in summed else d for i, d in enumerate(x.shape))
        return unit_length(x, shape, 1e-12)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


def unit_length(x, shape, epsilon):
    """x divided by its length, at least `epsilon`, over the dimensions that are 1 in `shape`."""
    total = emit("sum_to", emit("square", x), shape=shape)
    least = x.builder.emit("full", value=epsilon**2, shape=())
    return emit("multiply", x, emit("rsqrt", emit("maximum", total, least)))


def _one_axis(layer, axis):
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        axis = axis[0]
    return check_int(layer._label, "axis", axis)


def _check_last(layer, axis, shape):
    if axis not in (-1, len(shape) - 1):
        raise ArgumentError(
            f"{layer._label}: axis must be the last dimension of {shape}, -1, got {axis}; "
            "bring that dimension to the end first."
        )
