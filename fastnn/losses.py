"""Losses, as functions of arrays and as objects for `compile`, named and defined as in Keras 3.

A loss has one value per row: a row is one sample, or one position of a sample where predictions have more
than two dimensions. The loss of a batch is the sum over all rows of sample weight times value, divided by the
number of rows.
"""

import numpy as np

from .arguments import check_float
from .errors import ArgumentError, DataError, DtypeError, ShapeError, UnknownNameError
from .registry import Configurable, Registry, snake_case


class RowFunction(Configurable):
    """What losses and metrics share: one op that gives one value per row of predictions and targets.

    Attributes
    ----------
    name : str
    sparse : bool
        Whether targets are integer labels, one per row, in place of values of the prediction's shape.
    """

    op = None
    arguments = ()
    sparse = False
    from_logits = False

    def row_op(self):
        """(op, attrs) of the node that computes the values."""
        return f"{self.op}_logits" if self.from_logits else self.op, {
            a: getattr(self, a) for a in self.arguments
        }

    def call(self, y_true, y_pred):
        """Return one value per row.

        Parameters
        ----------
        y_true : array_like
            Of the prediction's shape, or integer labels of shape (...,) or (..., 1) where the function is
            sparse.
        y_pred : array_like, shape (..., features)

        Returns
        -------
        ndarray, shape (...)

        Raises
        ------
        ShapeError, DtypeError, DataError
        """
        from .backends import xp

        op, attrs = self.row_op()
        y_pred = _real(self.name, "y_pred", y_pred)
        if y_pred.ndim == 0 or (self.sparse and y_pred.shape[-1] < 2):
            raise ShapeError(f"{self.name} needs predictions of shape (rows, features), got {y_pred.shape}.")
        y_true = self._labels(y_true, y_pred) if self.sparse else _aligned(self.name, y_true, y_pred)
        out = getattr(xp, op)(y_pred, y_true, **attrs)
        return out[0] if isinstance(out, tuple) else out

    def _labels(self, y_true, y_pred):
        y_true = _real(self.name, "y_true", y_true)
        labels = np.asarray(y_true).astype(np.int64)
        if labels.shape == (*y_pred.shape[:-1], 1):
            labels, y_true = labels[..., 0], y_true[..., 0]
        if labels.shape != y_pred.shape[:-1]:
            raise ShapeError(f"{self.name} needs labels of shape {y_pred.shape[:-1]}, got {labels.shape}.")
        wrong = (labels < 0) | (labels >= y_pred.shape[-1]) | (labels != y_true)
        if wrong.any():
            row = tuple(int(i) for i in np.argwhere(wrong)[0])
            value = float(y_true[row])
            raise DataError(
                f"{self.name} needs integer labels in [0, {y_pred.shape[-1]}), got {value:g} in row {row}.",
                tensor="y_true",
                row=row[0] if row else 0,
                value=value,
            )
        return labels

    def _mean(self, y_true, y_pred, sample_weight):
        """(sum of weight * value, number of rows, sum of weights)."""
        values = np.asarray(self.call(y_true, y_pred), np.float64)
        weights = np.ones_like(values)
        if sample_weight is not None:
            given = np.asarray(_real(self.name, "sample_weight", sample_weight), np.float64)
            if given.shape[:1] != values.shape[:1] and given.ndim:
                raise ShapeError(
                    f"{self.name} needs one sample weight for each of {values.shape[:1]}, got {given.shape}."
                )
            if given.ndim == values.ndim + 1 and given.shape[-1] == 1:
                given = given[..., 0]
            weights = np.broadcast_to(
                given.reshape(given.shape + (1,) * (values.ndim - given.ndim)), values.shape
            )
        return float((values * weights).sum()), values.size, float(weights.sum())


def _real(name, what, array):
    array = array if hasattr(array, "__array_namespace__") else np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{name} needs real numbers as {what}, got an array of {array.dtype}.")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _aligned(name, y_true, y_pred):
    """Targets of the prediction's shape; a last dimension of 1 may be left out or stand in excess."""
    y_true = _real(name, "y_true", y_true)
    if y_true.shape != y_pred.shape and y_true.size == y_pred.size:
        longer, shorter = sorted((y_true.shape, y_pred.shape), key=len, reverse=True)
        if longer == (*shorter, 1):
            y_true = y_true.reshape(y_pred.shape)
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"{name} needs targets of the prediction's shape {y_pred.shape}, got {y_true.shape}."
        )
    return y_true


class Loss(RowFunction):
    """Base of losses.

    Parameters
    ----------
    name : str, optional
    reduction : {"sum_over_batch_size"}
        The mean over the rows; others of Keras's are not supported.
    dtype : None
        Taken for Keras's sake.
    """

    def __init__(self, reduction="sum_over_batch_size", name=None, dtype=None):
        if reduction != "sum_over_batch_size":
            raise ArgumentError(
                f"{type(self).__name__}: reduction must be 'sum_over_batch_size', got {reduction!r}."
            )
        if dtype is not None:
            raise ArgumentError(
                f"{type(self).__name__}: a loss has the dtype of its model, leave dtype out (got {dtype!r})."
            )
        self.reduction, self.name, self.dtype = reduction, name or snake_case(type(self).__name__), None

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the loss of a batch of arrays as a float.

        Parameters
        ----------
        y_true, y_pred : array_like
            See `call`.
        sample_weight : array_like, optional
            One number per sample or per row.
        """
        total, rows, _ = self._mean(y_true, y_pred, sample_weight)
        return total / rows


registry = Registry("loss", Loss)


@registry.alias("mse", "MSE")
class MeanSquaredError(Loss):
    """mean((y_true - y_pred)^2) over the last dimension."""

    op = "squared_error"


@registry.alias("mae", "MAE")
class MeanAbsoluteError(Loss):
    """mean(|y_true - y_pred|) over the last dimension."""

    op = "absolute_error"


@registry.add
class Huber(Loss):
    """e^2 / 2 where |e| <= delta, delta |e| - delta^2 / 2 beyond; e = y_true - y_pred.

    The mean over the last dimension.

    Parameters
    ----------
    delta : float, default 1.0
        Above 0.
    reduction, name, dtype
        See `Loss`.
    """

    op, arguments = "huber", ("delta",)

    def __init__(self, delta=1.0, reduction="sum_over_batch_size", name="huber_loss", dtype=None):
        super().__init__(reduction, name, dtype)
        self.delta = check_float("Huber", "delta", delta, low=0, exclusive=("low",))


def _check_crossentropy(owner, label_smoothing, axis):
    if label_smoothing != 0:
        raise ArgumentError(
            f"{owner}: label_smoothing must be 0, got {label_smoothing!r}; smooth the targets instead."
        )
    if axis != -1:
        raise ArgumentError(f"{owner}: classes stand in the last dimension, axis=-1, got axis={axis!r}.")


class _Crossentropy(Loss):
    def __init__(
        self,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction="sum_over_batch_size",
        name=None,
        dtype=None,
    ):
        super().__init__(reduction, name, dtype)
        _check_crossentropy(type(self).__name__, label_smoothing, axis)
        self.from_logits, self.label_smoothing, self.axis = bool(from_logits), 0.0, -1


@registry.alias("bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
    """Mean over the last dimension of -(t log p + (1 - t) log(1 - p)), p kept within [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool, default False
        Whether predictions are values before the sigmoid. A model whose output is a sigmoid is computed from
        the values before it in either case, which is exact for saturated outputs too.
    label_smoothing : float
        Only 0 is supported.
    axis : int
        Only -1 is supported.
    reduction, name, dtype
        See `Loss`.
    """

    op = "bce"


@registry.add
class CategoricalCrossentropy(_Crossentropy):
    """-sum(t log p) over the last dimension; p is divided by its sum and kept within [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool, default False
        Whether predictions are values before the softmax. A model whose output is a softmax is computed from
        the values before it in either case.
    label_smoothing : float
        Only 0 is supported.
    axis : int
        Only -1 is supported.
    reduction, name, dtype
        See `Loss`.
    """

    op = "cce"


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
        from_logits=False,
        ignore_class=None,
        reduction="sum_over_batch_size",
        axis=-1,
        name="sparse_categorical_crossentropy",
        dtype=None,
    ):
        super().__init__(reduction, name, dtype)
        if ignore_class is not None:
            raise ArgumentError(
                f"SparseCategoricalCrossentropy: ignore_class is not supported, got {ignore_class!r}; "
                "give those rows the sample weight 0."
            )
        _check_crossentropy("SparseCategoricalCrossentropy", 0, axis)
        self.from_logits, self.ignore_class, self.axis = bool(from_logits), None, -1


def mean_squared_error(y_true, y_pred):
    """Return mean((y_true - y_pred)^2) over the last dimension, one value per row."""
    return MeanSquaredError().call(y_true, y_pred)


def mean_absolute_error(y_true, y_pred):
    """Return mean(|y_true - y_pred|) over the last dimension, one value per row."""
    return MeanAbsoluteError().call(y_true, y_pred)


def huber(y_true, y_pred, delta=1.0):
    """Return the values of `Huber`, one per row."""
    return Huber(delta).call(y_true, y_pred)


def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """Return the values of `BinaryCrossentropy`, one per row."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """Return the values of `CategoricalCrossentropy`, one per row."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    """Return the values of `SparseCategoricalCrossentropy`, one per row."""
    return SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis).call(y_true, y_pred)


_FUNCTIONS = {
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    huber: Huber,
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}
serialize, deserialize = registry.serialize, registry.deserialize


def get(identifier):
    """Return the loss for a name, a configuration, a class, an object or a function of this module."""
    return registry.get(_class_of(identifier, _FUNCTIONS, "loss"))


def _class_of(identifier, functions, kind):
    if callable(identifier) and not isinstance(identifier, (type, RowFunction)):
        try:
            return functions[identifier]
        except (KeyError, TypeError):
            name = getattr(identifier, "__name__", repr(identifier))
            raise UnknownNameError.among(kind, name, [f.__name__ for f in functions]) from None
    return identifier
