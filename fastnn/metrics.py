"""Metrics, as functions of arrays and as objects for `compile`. Names and formulas are those of Keras 3."""

from . import losses
from .arguments import check_float
from .errors import ArgumentError
from .losses import RowFunction, _class_of
from .registry import Registry, snake_case


class Metric(RowFunction):
    """Base of metrics: the mean of one value per row, weighted by sample weights where they are given.

    Parameters
    ----------
    name : str, optional
    dtype : None
        Taken for Keras's sake.
    """

    def __init__(self, name=None, dtype=None):
        if dtype is not None:
            raise ArgumentError(
                f"{type(self).__name__}: a metric has the dtype of its model, "
                f"leave dtype out (got {dtype!r})."
            )
        self.name, self.dtype = name or snake_case(type(self).__name__), None
        self.reset_state()

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch of arrays in; see `RowFunction.call` for their shapes."""
        total, _, weight = self._mean(y_true, y_pred, sample_weight)
        self._total, self._weight = self._total + total, self._weight + weight

    def result(self):
        """Return the mean over everything counted in, as a float; 0.0 if there is nothing."""
        return self._total / self._weight if self._weight else 0.0

    def reset_state(self):
        """Forget what was counted in."""
        self._total = self._weight = 0.0

    def __call__(self, y_true, y_pred, sample_weight=None):
        """`update_state`, then `result`."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


_ACCURACIES = ("accuracy", "acc")
registry = Registry("metric", Metric, _ACCURACIES)


@registry.add
class BinaryAccuracy(Metric):
    """Share of the elements of a row where (y_pred > threshold) equals y_true.

    Parameters
    ----------
    name : str, default "binary_accuracy"
    dtype : None
    threshold : float, default 0.5
    """

    op, arguments = "binary_accuracy", ("threshold",)

    def __init__(self, name="binary_accuracy", dtype=None, threshold=0.5):
        super().__init__(name, dtype)
        self.threshold = check_float("BinaryAccuracy", "threshold", threshold)


@registry.add
class CategoricalAccuracy(Metric):
    """Whether y_true and y_pred have their first maximum at the same place."""

    op = "categorical_accuracy"


@registry.add
class SparseCategoricalAccuracy(Metric):
    """Whether y_pred has its first maximum at the label."""

    op, sparse = "sparse_categorical_accuracy", True


@registry.alias("mse", "MSE")
class MeanSquaredError(Metric):
    """mean((y_true - y_pred)^2)."""

    op = "squared_error"


@registry.alias("mae", "MAE")
class MeanAbsoluteError(Metric):
    """mean(|y_true - y_pred|)."""

    op = "absolute_error"


class _Crossentropy(Metric):
    def __init__(self, name=None, dtype=None, from_logits=False):
        super().__init__(name, dtype)
        self.from_logits = bool(from_logits)


@registry.alias("bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
    """`losses.BinaryCrossentropy` as a metric.

    Parameters
    ----------
    name : str, default "binary_crossentropy"
    dtype : None
    from_logits : bool, default False
    """

    op = "bce"


@registry.add
class CategoricalCrossentropy(_Crossentropy):
    """`losses.CategoricalCrossentropy` as a metric.

    Parameters
    ----------
    name : str, default "categorical_crossentropy"
    dtype : None
    from_logits : bool, default False
    """

    op = "cce"


@registry.add
class SparseCategoricalCrossentropy(_Crossentropy):
    """`losses.SparseCategoricalCrossentropy` as a metric.

    Parameters
    ----------
    name : str, default "sparse_categorical_crossentropy"
    dtype : None
    from_logits : bool, default False
    """

    op, sparse = "scce", True


def binary_accuracy(y_true, y_pred, threshold=0.5):
    """Return the values of `BinaryAccuracy`, one per row."""
    return BinaryAccuracy(threshold=threshold).call(y_true, y_pred)


def categorical_accuracy(y_true, y_pred):
    """Return 1.0 where both have their first maximum at the same place, else 0.0, one value per row."""
    return CategoricalAccuracy().call(y_true, y_pred)


def sparse_categorical_accuracy(y_true, y_pred):
    """Return 1.0 where y_pred has its first maximum at the label, else 0.0, one value per row."""
    return SparseCategoricalAccuracy().call(y_true, y_pred)


mean_squared_error, mean_absolute_error = losses.mean_squared_error, losses.mean_absolute_error
binary_crossentropy, categorical_crossentropy = losses.binary_crossentropy, losses.categorical_crossentropy
sparse_categorical_crossentropy = losses.sparse_categorical_crossentropy

_FUNCTIONS = {
    binary_accuracy: BinaryAccuracy,
    categorical_accuracy: CategoricalAccuracy,
    sparse_categorical_accuracy: SparseCategoricalAccuracy,
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}
deserialize = registry.deserialize


def get(identifier):
    """Return the metric for a name, a configuration, a class, an object or a function of this module.

    "accuracy" and "acc" stay names: which accuracy they are depends on the output, see `resolve`.
    """
    if isinstance(identifier, str) and identifier.lower() in _ACCURACIES:
        return identifier
    return registry.get(_class_of(identifier, _FUNCTIONS, "metric"))


def serialize(metric):
    """Return what `get` makes the metric from again."""
    return metric if isinstance(metric, str) else registry.serialize(metric)


def resolve(identifier, shape, sparse):
    """Return the metric for an output, named as Keras 3 names it.

    Parameters
    ----------
    identifier
        See `get`. "accuracy" is binary accuracy for one feature, sparse for integer labels, else categorical.
    shape : tuple
        Of the output.
    sparse : bool or None
        Whether the output's loss takes integer labels; None if it has no loss.
    """
    metric = get(identifier)
    if isinstance(metric, str):
        chosen = (
            BinaryAccuracy
            if shape[-1:] == (1,)
            else SparseCategoricalAccuracy if sparse else CategoricalAccuracy
        )
        return chosen(name=identifier)
    if isinstance(identifier, str):
        metric.name = identifier
    elif not isinstance(identifier, (Metric, dict, type)):
        metric.name = identifier.__name__
    return metric
