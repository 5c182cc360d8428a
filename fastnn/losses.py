"""Losses, as functions and as objects for `compile`, named and defined as in Keras 3.

A loss has one value per row: a row is one sample, or one position of a sample where predictions have more
than two dimensions. The loss of a batch is the sum over all rows of sample weight times value, divided by the
number of rows (see `Loss` for another divisor).

Every function here takes arrays, and inside a custom loss or metric the symbolic tensors that these receive.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import ops
from .arguments import check_float
from .errors import ArgumentError, ShapeError
from .registry import Registry, snake_case
from .rows import EPSILON, RowFunction, TracedRows, WrappedRows, object_of

if TYPE_CHECKING:
    from ._typing import Any


class Loss(RowFunction):
    """Base of losses. One's own overrides `call(y_true, y_pred)` with a function of `fastnn.ops`.

    Parameters
    ----------
    name : str, optional
    reduction : {"sum_over_batch_size", "mean_with_sample_weight"}
        The sum of weight times value, divided by the number of rows or by the sum of the weights of the batch;
        others of Keras's are not supported.
    dtype : None
        Taken for Keras's sake.
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: str | None = None,
    ) -> None:
        if reduction not in ("sum_over_batch_size", "mean", "mean_with_sample_weight"):
            raise ArgumentError(
                f"{type(self).__name__}: reduction must be 'sum_over_batch_size' or 'mean_with_sample_weight', "
                f"got {reduction!r}."
            )
        if dtype is not None:
            raise ArgumentError(
                f"{type(self).__name__}: a loss has the dtype of its model, leave dtype out (got {dtype!r})."
            )
        self.reduction, self.name, self.dtype = reduction, name or snake_case(type(self).__name__), None

    def __call__(self, y_true, y_pred, sample_weight=None) -> Any:
        """Return the loss of a batch of arrays as a float.

        Parameters
        ----------
        y_true, y_pred : array_like
            See `call`.
        sample_weight : array_like, optional
            One number per sample or per row.
        """
        total, rows, weights = self._mean(y_true, y_pred, sample_weight)
        return total / (weights if self.reduction == "mean_with_sample_weight" else rows)


registry = Registry("loss", Loss)


# ---- regression ----


class _Plain(Loss):
    """A loss without arguments of its own."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)


@registry.alias("mse", "MSE")
class MeanSquaredError(_Plain):
    """mean((y_true - y_pred)^2) over the last dimension."""

    op = "squared_error"


@registry.alias("mae", "MAE")
class MeanAbsoluteError(_Plain):
    """`mean(|y_true - y_pred|)` over the last dimension."""

    op = "absolute_error"


@registry.alias("mape", "MAPE")
class MeanAbsolutePercentageError(_Plain):
    """`100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))` over the last dimension."""

    def values(self, y_true, y_pred):
        return 100.0 * ops.mean(ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), EPSILON)), axis=-1)


@registry.alias("msle", "MSLE")
class MeanSquaredLogarithmicError(_Plain):
    """mean((log(1 + max(y_true, 1e-7)) - log(1 + max(y_pred, 1e-7)))^2) over the last dimension."""

    def values(self, y_true, y_pred):
        difference = ops.log1p(ops.maximum(y_pred, EPSILON)) - ops.log1p(ops.maximum(y_true, EPSILON))
        return ops.mean(ops.square(difference), axis=-1)


def _check_last_axis(owner, axis):
    if axis != -1:
        raise ArgumentError(f"{owner}: only the last dimension, axis=-1, is supported, got axis={axis!r}.")
    return -1


def _normalized(x):
    """x divided by its length over the last dimension, or by 1e-7 where it is shorter than that."""
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), EPSILON**2))


@registry.add
class CosineSimilarity(Loss):
    """-cos of the angle between y_true and y_pred over the last dimension: -1 for one direction, 0 for zeros.

    Parameters
    ----------
    axis : int
        Only -1 is supported.
    reduction, name, dtype
        See `Loss`.
    """

    def __init__(
        self,
        axis=-1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = _check_last_axis("CosineSimilarity", axis)

    def values(self, y_true, y_pred):
        return -ops.sum(_normalized(y_true) * _normalized(y_pred), axis=-1)


@registry.add
class Huber(Loss):
    """`e^2 / 2` where `|e| <= delta`, `delta |e| - delta^2 / 2` beyond; `e = y_true - y_pred`.

    The mean over the last dimension.

    Parameters
    ----------
    delta : float, default 1.0
        Above 0.
    reduction, name, dtype
        See `Loss`.
    """

    op, arguments = "huber", ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.delta = check_float("Huber", "delta", delta, low=0, exclusive=("low",))


@registry.alias("logcosh")
class LogCosh(_Plain):
    """mean(log(cosh(e))) over the last dimension, as e + softplus(-2 e) - log 2; e = y_pred - y_true."""

    def values(self, y_true, y_pred):
        error = y_pred - y_true
        return ops.mean(error + ops.softplus(-2.0 * error), axis=-1) - math.log(2.0)


@registry.alias("pinball")
class Quantile(Loss):
    """max(q e, (q - 1) e), the mean over the quantiles q; e = y_true - y_pred.

    Its expectation is least where y_pred is the q-th quantile of y_true (Koenker and Bassett, Econometrica
    1978).

    Parameters
    ----------
    quantiles : float or sequence of float, default 0.5
        Each in (0, 1). With several the model has one output feature for each, in this order, and targets
        have one feature, shape (batch, 1).
    reduction, name, dtype
        See `Loss`.
    """

    def __init__(
        self,
        quantiles=0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "quantile",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        given = quantiles if isinstance(quantiles, (list, tuple, np.ndarray)) else [quantiles]
        checked = [
            check_float("Quantile", "each quantile", q, low=0, high=1, exclusive=("low", "high"))
            for q in given
        ]
        if not checked:
            raise ArgumentError("Quantile: quantiles must hold at least one number in (0, 1), got none.")
        self.quantiles = checked if len(checked) > 1 else checked[0]

    def target_shape(self, output_shape):
        return tuple(output_shape) if isinstance(self.quantiles, float) else (*output_shape[:-1], 1)

    def check_shape(self, output, shape):
        super().check_shape(output, shape)
        if isinstance(self.quantiles, list) and shape[-1] != len(self.quantiles):
            raise ShapeError(
                f"{self.name!r} needs one output feature for each of {len(self.quantiles)} quantiles, but "
                f"output {output!r} has shape {shape}."
            )

    def values(self, y_true, y_pred):
        q = self.quantiles
        error = y_true - y_pred
        if isinstance(q, list):
            q = np.array(q, str(y_pred.dtype))
        return ops.mean(ops.maximum(q * error, (q - 1.0) * error), axis=-1)


@registry.alias("gaussian_nll")
class GaussianNegativeLogLikelihood(Loss):
    """(s + (y_true - m)^2 exp(-s)) / 2, the mean over the features; y_pred holds the means m, then s.

    s is the logarithm of the variance, so that any output will do (Nix and Weigend, ICNN 1994).

    Parameters
    ----------
    full : bool, default False
        Whether to add the constant log(2 pi) / 2.
    reduction, name, dtype
        See `Loss`.

    Notes
    -----
    For targets of d features the model has 2 d output features: the d means, then the d values s.
    """

    least = 2

    def __init__(
        self,
        full=False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "gaussian_negative_log_likelihood",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.full = bool(full)

    def target_shape(self, output_shape):
        return (*output_shape[:-1], max(1, output_shape[-1] // 2))

    def check_shape(self, output, shape):
        super().check_shape(output, shape)
        if shape[-1] % 2:
            raise ShapeError(
                f"{self.name!r} needs an even number of output features, means and logarithms of variances, "
                f"but output {output!r} has shape {shape}."
            )

    def values(self, y_true, y_pred):
        count = y_pred.shape[-1] // 2
        mean, spread = y_pred[..., :count], y_pred[..., count:]
        constant = 0.5 * math.log(2 * math.pi) if self.full else 0.0
        return ops.mean(0.5 * (spread + ops.square(y_true - mean) * ops.exp(-spread)) + constant, axis=-1)


# ---- classification ----


class _Crossentropy(Loss):
    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis=-1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        _set_crossentropy(self, from_logits, label_smoothing, axis)

    def smoothed(self, y_true, features):
        return _smooth(self, y_true, features)


def _set_crossentropy(self, from_logits, label_smoothing, axis):
    owner = type(self).__name__
    self.from_logits, self.axis = bool(from_logits), _check_last_axis(owner, axis)
    self.label_smoothing = check_float(owner, "label_smoothing", label_smoothing, low=0, high=1)


def _smooth(self, y_true, features):
    """(1 - label_smoothing) y_true + label_smoothing / classes; two classes where features are binary."""
    smoothing = self.label_smoothing
    if not smoothing:
        return y_true
    return (1.0 - smoothing) * y_true + smoothing / (2 if self.binary else features)


@registry.alias("bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
    """Mean over the last dimension of -(t log p + (1 - t) log(1 - p)), p kept within [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool, default False
        Whether predictions are values before the sigmoid. A model whose output is a sigmoid is computed from
        the values before it in either case, which is exact for saturated outputs too.
    label_smoothing : float, default 0.0
        In [0, 1]: targets are moved so far towards 0.5.
    axis : int
        Only -1 is supported.
    reduction, name, dtype
        See `Loss`.
    """

    op, binary = "bce", True


@registry.add
class CategoricalCrossentropy(_Crossentropy):
    """-sum(t log p) over the last dimension; p is divided by its sum and kept within [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool, default False
        Whether predictions are values before the softmax. A model whose output is a softmax is computed from
        the values before it in either case.
    label_smoothing : float, default 0.0
        In [0, 1]: targets are moved so far towards 1 / classes.
    axis : int
        Only -1 is supported.
    reduction, name, dtype
        See `Loss`.
    """

    op, binary = "cce", False


@registry.add
class SparseCategoricalCrossentropy(Loss):
    """-log p[label]; otherwise as `CategoricalCrossentropy`, with an integer label per row.

    Parameters
    ----------
    from_logits : bool, default False
        Whether predictions are values before the softmax.
    ignore_class : None
        Not supported.
    reduction, axis, name, dtype
        See `Loss`; axis must be -1.
    """

    op, sparse = "scce", True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class=None,
        reduction: str | None = "sum_over_batch_size",
        axis=-1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.ignore_class = _check_ignore_class("SparseCategoricalCrossentropy", ignore_class)
        self.from_logits = bool(from_logits)
        self.axis = _check_last_axis("SparseCategoricalCrossentropy", axis)


def _check_ignore_class(owner, ignore_class):
    if ignore_class is not None:
        raise ArgumentError(
            f"{owner}: ignore_class is not supported, got {ignore_class!r}; give those rows the sample "
            "weight 0."
        )


def _power(x, exponent):
    """x ** exponent for x >= 0; by products for 2, the usual exponent of focal losses."""
    return ops.square(x) if exponent == 2 else ops.power(x, exponent)


@registry.add
class BinaryFocalCrossentropy(Loss):
    """Binary crossentropy times (1 - q)^gamma, q = t p + (1 - t)(1 - p): easy elements count less.

    The mean over the last dimension (Lin et al., arXiv:1708.02002).

    Parameters
    ----------
    apply_class_balancing : bool, default False
        Whether elements are also weighted, by alpha t + (1 - alpha)(1 - t).
    alpha : float, default 0.25
        In [0, 1].
    gamma : float, default 2.0
        At least 0.
    from_logits : bool, default False
        Whether predictions are values before the sigmoid.
    label_smoothing, axis
        See `BinaryCrossentropy`.
    reduction, name, dtype
        See `Loss`.
    """

    binary = True

    def __init__(
        self,
        apply_class_balancing=False,
        alpha=0.25,
        gamma=2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis=-1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        _set_crossentropy(self, from_logits, label_smoothing, axis)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha = check_float("BinaryFocalCrossentropy", "alpha", alpha, low=0, high=1)
        self.gamma = check_float("BinaryFocalCrossentropy", "gamma", gamma, low=0)

    def values(self, y_true, y_pred):
        t = _smooth(self, y_true, y_pred.shape[-1])
        p = ops.sigmoid(y_pred) if self.from_logits else y_pred
        q = ops.clip(p, EPSILON, 1.0 - EPSILON)
        made = -(t * ops.log(q) + (1.0 - t) * ops.log(1.0 - q))
        made = made * _power(1.0 - (t * p + (1.0 - t) * (1.0 - p)), self.gamma)
        if self.apply_class_balancing:
            made = made * (t * self.alpha + (1.0 - t) * (1.0 - self.alpha))
        return ops.mean(made, axis=-1)


@registry.add
class CategoricalFocalCrossentropy(Loss):
    """-sum(alpha (1 - p)^gamma t log p) over the last dimension; p as in `CategoricalCrossentropy`.

    Lin et al., arXiv:1708.02002.

    Parameters
    ----------
    alpha : float or sequence of float, default 0.25
        At least 0; a sequence holds one number for each class.
    gamma : float, default 2.0
        At least 0.
    from_logits : bool, default False
        Whether predictions are values before the softmax.
    label_smoothing, axis
        See `CategoricalCrossentropy`.
    reduction, name, dtype
        See `Loss`.
    """

    binary = False

    def __init__(
        self,
        alpha=0.25,
        gamma=2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis=-1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        _set_crossentropy(self, from_logits, label_smoothing, axis)
        owner = "CategoricalFocalCrossentropy"
        several = isinstance(alpha, (list, tuple, np.ndarray))
        checked = [check_float(owner, "alpha", a, low=0) for a in (alpha if several else [alpha])]
        self.alpha = checked if several else checked[0]
        self.gamma = check_float(owner, "gamma", gamma, low=0)

    def check_shape(self, output, shape):
        super().check_shape(output, shape)
        if isinstance(self.alpha, list) and len(self.alpha) != shape[-1]:
            raise ShapeError(
                f"{self.name!r} has {len(self.alpha)} numbers alpha, one a class, but output {output!r} has "
                f"shape {shape}."
            )

    def values(self, y_true, y_pred):
        t = _smooth(self, y_true, y_pred.shape[-1])
        p = ops.softmax(y_pred) if self.from_logits else y_pred
        p = ops.clip(p / ops.sum(p, axis=-1, keepdims=True), EPSILON, 1.0 - EPSILON)
        alpha = np.array(self.alpha, str(y_pred.dtype)) if isinstance(self.alpha, list) else self.alpha
        return -ops.sum(_power(1.0 - p, self.gamma) * alpha * (t * ops.log(p)), axis=-1)


@registry.alias("kld", "KLD", "kullback_leibler_divergence")
class KLDivergence(_Plain):
    """sum(t log(t / p)) over the last dimension, both kept within [1e-7, 1]."""

    def values(self, y_true, y_pred):
        t, p = ops.clip(y_true, EPSILON, 1.0), ops.clip(y_pred, EPSILON, 1.0)
        return ops.sum(t * ops.log(t / p), axis=-1)


@registry.add
class Poisson(_Plain):
    """mean(y_pred - y_true log(y_pred + 1e-7)) over the last dimension: y_pred is the expected count."""

    def values(self, y_true, y_pred):
        return ops.mean(y_pred - y_true * ops.log(y_pred + EPSILON), axis=-1)


def _signs(y_true):
    """Labels as -1 and 1: a 0 becomes -1."""
    return ops.where(ops.equal(y_true, 0.0), -1.0, y_true)


@registry.add
class Hinge(_Plain):
    """mean(max(1 - t p, 0)) over the last dimension; t is -1 or 1, and a 0 stands for -1."""

    def values(self, y_true, y_pred):
        return ops.mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


@registry.add
class SquaredHinge(_Plain):
    """mean(max(1 - t p, 0)^2) over the last dimension; t is -1 or 1, and a 0 stands for -1."""

    def values(self, y_true, y_pred):
        return ops.mean(ops.square(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)), axis=-1)


@registry.add
class CategoricalHinge(_Plain):
    """max(max((1 - t) p) - sum(t p) + 1, 0) over the last dimension; t is one-hot."""

    def values(self, y_true, y_pred):
        right = ops.sum(y_true * y_pred, axis=-1)
        wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
        return ops.maximum(wrong - right + 1.0, 0.0)


# ---- over the whole batch ----


class _Overlap(Loss):
    """A loss of sums over all elements of the batch: one number, whatever the rows."""

    def __init__(self, name: str | None, reduction: str | None, axis, dtype: str | None) -> None:
        super().__init__(name, reduction, dtype)
        if axis is not None:
            raise ArgumentError(
                f"{type(self).__name__}: sums go over the whole batch, axis=None, got axis={axis!r}."
            )
        self.axis = None


@registry.add
class Dice(_Overlap):
    """1 - 2 sum(t p) / (sum(t) + sum(p) + 1e-7), sums over the whole batch.

    Parameters
    ----------
    reduction, name, dtype
        See `Loss`.
    axis : None
        Others are not supported.

    Notes
    -----
    One number a batch: it takes no sample weights, and what `evaluate` gives depends on the batch size.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis=None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, axis, dtype)

    def values(self, y_true, y_pred):
        both = ops.sum(y_true * y_pred)
        return 1.0 - 2.0 * both / (ops.sum(y_true) + ops.sum(y_pred) + EPSILON)


@registry.add
class Tversky(_Overlap):
    """1 - s / (s + alpha sum(t (1 - p)) + beta sum(p (1 - t)) + 1e-7), s = sum(t p) over the whole batch.

    Salehi et al., arXiv:1706.05721.

    Parameters
    ----------
    alpha, beta : float, default 0.5
        At least 0.
    reduction, name, dtype
        See `Loss`.
    axis : None
        Others are not supported.

    Notes
    -----
    One number a batch: it takes no sample weights, and what `evaluate` gives depends on the batch size.
    """

    def __init__(
        self,
        alpha=0.5,
        beta=0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis=None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, axis, dtype)
        self.alpha = check_float("Tversky", "alpha", alpha, low=0)
        self.beta = check_float("Tversky", "beta", beta, low=0)

    def values(self, y_true, y_pred):
        both = ops.sum(y_true * y_pred)
        missed = ops.sum((1.0 - y_pred) * y_true) * self.alpha
        return 1.0 - both / (both + missed + ops.sum(y_pred * (1.0 - y_true)) * self.beta + EPSILON)


# ---- a user's own ----


class LossFunctionWrapper(WrappedRows, Loss):
    """A function as a loss.

    Parameters
    ----------
    fn : callable
        `fn(y_true, y_pred, **kwargs)`, written with `fastnn.ops`: one value per row, or one number for the
        batch. Attributes `sparse = True` and `target_shape` (a tuple without the batch, or a function of the
        output's shape) say what targets it takes.
    reduction, name, dtype
        See `Loss`; the name is the function's by default.
    **kwargs
        Further arguments of `fn`.
    """

    def __init__(
        self,
        fn,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
        **kwargs,
    ) -> None:
        self.wrap(fn, kwargs)
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)


@registry.add
class TracedLoss(TracedRows, Loss):
    """A user's own loss as a model file keeps it.

    Parameters
    ----------
    program : str
        Text of the Program that computes it from y_true and y_pred.
    constants : list of dict
        The arrays it uses, as `fastnn.traced.pack` describes them.
    name : str
    sparse : bool
        Whether targets are integer labels.
    scalar : bool
        Whether it is one number for the whole batch.
    reduction
        See `Loss`.
    """

    def __init__(
        self, program, constants, name: str | None, sparse=False, scalar=False, reduction: str | None = "sum_over_batch_size"
    ) -> None:
        super().__init__(name, reduction)
        self.restore(program, constants, sparse, scalar)


# ---- functions ----


def mean_squared_error(y_true, y_pred):
    """Return mean((y_true - y_pred)^2) over the last dimension, one value per row."""
    return MeanSquaredError().call(y_true, y_pred)


def mean_absolute_error(y_true, y_pred):
    """Return `mean(|y_true - y_pred|)` over the last dimension, one value per row."""
    return MeanAbsoluteError().call(y_true, y_pred)


def mean_absolute_percentage_error(y_true, y_pred):
    """Return the values of `MeanAbsolutePercentageError`, one per row."""
    return MeanAbsolutePercentageError().call(y_true, y_pred)


def mean_squared_logarithmic_error(y_true, y_pred):
    """Return the values of `MeanSquaredLogarithmicError`, one per row."""
    return MeanSquaredLogarithmicError().call(y_true, y_pred)


def cosine_similarity(y_true, y_pred, axis=-1):
    """Return the values of `CosineSimilarity`, one per row."""
    return CosineSimilarity(axis).call(y_true, y_pred)


def huber(y_true, y_pred, delta=1.0):
    """Return the values of `Huber`, one per row."""
    return Huber(delta).call(y_true, y_pred)


def log_cosh(y_true, y_pred):
    """Return the values of `LogCosh`, one per row."""
    return LogCosh().call(y_true, y_pred)


def quantile(y_true, y_pred, quantiles=0.5):
    """Return the values of `Quantile`, one per row."""
    return Quantile(quantiles).call(y_true, y_pred)


def gaussian_negative_log_likelihood(y_true, y_pred, full=False):
    """Return the values of `GaussianNegativeLogLikelihood`, one per row."""
    return GaussianNegativeLogLikelihood(full).call(y_true, y_pred)


def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """Return the values of `BinaryCrossentropy`, one per row."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def binary_focal_crossentropy(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
):
    """Return the values of `BinaryFocalCrossentropy`, one per row."""
    made = BinaryFocalCrossentropy(apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis)
    return made.call(y_true, y_pred)


def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """Return the values of `CategoricalCrossentropy`, one per row."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def categorical_focal_crossentropy(
    y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1
):
    """Return the values of `CategoricalFocalCrossentropy`, one per row."""
    made = CategoricalFocalCrossentropy(alpha, gamma, from_logits, label_smoothing, axis)
    return made.call(y_true, y_pred)


def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    """Return the values of `SparseCategoricalCrossentropy`, one per row."""
    return SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis).call(y_true, y_pred)


def kl_divergence(y_true, y_pred):
    """Return the values of `KLDivergence`, one per row."""
    return KLDivergence().call(y_true, y_pred)


def poisson(y_true, y_pred):
    """Return the values of `Poisson`, one per row."""
    return Poisson().call(y_true, y_pred)


def hinge(y_true, y_pred):
    """Return the values of `Hinge`, one per row."""
    return Hinge().call(y_true, y_pred)


def squared_hinge(y_true, y_pred):
    """Return the values of `SquaredHinge`, one per row."""
    return SquaredHinge().call(y_true, y_pred)


def categorical_hinge(y_true, y_pred):
    """Return the values of `CategoricalHinge`, one per row."""
    return CategoricalHinge().call(y_true, y_pred)


def dice(y_true, y_pred, axis=None):
    """Return the value of `Dice` for the whole batch."""
    return Dice(axis=axis).call(y_true, y_pred)


def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    """Return the value of `Tversky` for the whole batch."""
    return Tversky(alpha, beta, axis=axis).call(y_true, y_pred)


_FUNCTIONS = {
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    cosine_similarity: CosineSimilarity,
    huber: Huber,
    log_cosh: LogCosh,
    quantile: Quantile,
    gaussian_negative_log_likelihood: GaussianNegativeLogLikelihood,
    binary_crossentropy: BinaryCrossentropy,
    binary_focal_crossentropy: BinaryFocalCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    categorical_focal_crossentropy: CategoricalFocalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    kl_divergence: KLDivergence,
    poisson: Poisson,
    hinge: Hinge,
    squared_hinge: SquaredHinge,
    categorical_hinge: CategoricalHinge,
    dice: Dice,
    tversky: Tversky,
}
serialize, deserialize = registry.serialize, registry.deserialize


def get(identifier):
    """Return the loss for a name, a configuration, a class, an object, or a function of (y_true, y_pred)."""
    return registry.get(object_of(identifier, _FUNCTIONS, LossFunctionWrapper))
