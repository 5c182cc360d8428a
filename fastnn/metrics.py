"""Metrics, as functions of arrays and as objects for `compile`. Names and formulas are those of Keras 3.

A metric is the mean of one value per row, or a tally: counts and sums over all rows of a pass, of which it is
a function. Both are computed while the pass runs; what is left for Python is one value at its end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import losses, ops
from .arguments import check_float, check_int
from .errors import ArgumentError, ShapeError
from .graph import Value
from .registry import Registry, snake_case
from .rows import EPSILON, RowFunction, TracedRows, WrappedRows, object_of

if TYPE_CHECKING:
    from ._typing import Any

_LOWEST = -1e10  # Keras 3's stand-in for minus infinity


class Metric(RowFunction):
    """Base of metrics: the mean of one value per row, weighted by sample weights where they are given.

    One's own overrides `call(y_true, y_pred)` with a function of `fastnn.ops`.

    Parameters
    ----------
    name : str, optional
    dtype : None
        Taken for Keras's sake.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        if dtype is not None:
            raise ArgumentError(
                f"{type(self).__name__}: a metric has the dtype of its model, "
                f"leave dtype out (got {dtype!r})."
            )
        self.name, self.dtype = name or snake_case(type(self).__name__), None
        self.reset_state()

    def finish(self, mean):
        """The metric's value, of the mean over all rows."""
        return mean

    def value(self, sums):
        """The metric's value, of the sum of weighted values over all rows, and the sum of weights."""
        total, weight = sums
        return self.finish(float(total / weight) if weight else 0.0)

    def traceable(self):
        return type(self).finish is Metric.finish

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch of arrays in; see `RowFunction.call` for their shapes."""
        total, _, weight = self._mean(y_true, y_pred, sample_weight)
        self._total, self._weight = self._total + total, self._weight + weight

    def result(self):
        """Return the value for everything counted in, as a float; nothing counts as a mean of 0.0."""
        return self.value((self._total, self._weight))

    def reset_state(self):
        """Forget what was counted in."""
        self._total = self._weight = 0.0

    def __call__(self, y_true, y_pred, sample_weight=None) -> Any:
        """`update_state`, then `result`."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


class Tally(Metric):
    """Base of the metrics that are a function of sums over all rows: `value(sums)`."""

    def traceable(self):
        return False

    def columns(self, y_true, y_pred):
        """What is summed, shape (..., sums): for arrays and for symbolic tensors."""
        raise NotImplementedError

    def sums(self, y_true, y_pred, weight=None):
        """The sums over all rows, each times its sample's weight, shape (sums,)."""
        columns = self.columns(y_true, y_pred)
        return _sum_rows(columns if weight is None else columns * _spread(weight, columns.ndim))

    def value(self, sums):
        """The metric, of a sequence of the sums: a float or an array."""
        raise NotImplementedError

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch of arrays in; see `RowFunction.call` for their shapes."""
        y_true, y_pred = self.operands(y_true, y_pred)
        weight = None
        if sample_weight is not None:
            weight = np.asarray(sample_weight, np.float64).reshape(-1)
            if len(weight) != len(y_pred):
                raise ShapeError(
                    f"{self.name} needs one sample weight for each of {(len(y_pred),)}, "
                    f"got {np.shape(sample_weight)}."
                )
        made = np.asarray(self.sums(y_true, y_pred, weight), np.float64)
        self._sums = made if self._sums is None else self._sums + made

    def result(self):
        """Return the value for everything counted in; 0.0 if there is nothing."""
        return 0.0 if self._sums is None else self.value(self._sums.copy())

    def reset_state(self):
        """Forget what was counted in."""
        self._sums = None


def _sum_rows(columns):
    if isinstance(columns, Value):
        return columns.builder.emit("sum_rows", columns)
    return columns.reshape(-1, columns.shape[-1]).sum(axis=0, dtype=np.float64)


def _spread(weight, rank):
    """A weight for each sample as a tensor of this rank."""
    shape = (1,) * (rank - 1)
    if isinstance(weight, Value):
        return weight.builder.emit("reshape", weight, shape=(None, *shape))
    return weight.reshape(-1, *shape)


def _products(a, b):
    """Sums over all rows of each product of a feature of a and one of b, as one row."""
    if isinstance(a, Value):
        made = a.builder.emit("matmul_tn", a, b)
        return made.builder.emit("reshape", made, shape=(math.prod(made.shape),))
    return (a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])).reshape(-1)


def _real(condition, like):
    """A comparison's result as numbers of the type of `like`."""
    return condition if isinstance(condition, Value) else np.asarray(condition).astype(like.dtype)


def _array(values, like):
    return np.array(values, str(like.dtype))


def _ratio(a, b):
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b))), where=b != 0)


def _plain(value):
    """A float for an array of one number."""
    value = np.asarray(value, np.float64)
    return float(value) if value.ndim == 0 else value


_ACCURACIES = ("accuracy", "acc")
registry = Registry("metric", Metric, _ACCURACIES)


# ---- accuracies ----


@registry.add
class Accuracy(Metric):
    """Share of the elements of a row where y_pred equals y_true."""

    def values(self, y_true, y_pred):
        return ops.mean(_real(ops.equal(y_true, y_pred), y_pred), axis=-1)


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

    def __init__(self, name: str | None = "binary_accuracy", dtype: str | None = None, threshold: float = 0.5) -> None:
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


class _TopK(Metric):
    def __init__(self, k: int, name: str | None, dtype: str | None) -> None:
        super().__init__(name, dtype)
        self.k = check_int(type(self).__name__, "k", k, 1)

    def _within(self, marks, y_pred):
        """Whether fewer than k predictions are above the one that is marked."""
        marked = ops.sum(marks * y_pred, axis=-1, keepdims=True)
        above = ops.sum(_real(ops.greater(y_pred, marked), y_pred), axis=-1)
        return _real(ops.less(above, float(self.k)), y_pred)


@registry.add
class TopKCategoricalAccuracy(_TopK):
    """Whether the class of y_true's first maximum is among the k with the largest y_pred; ties count.

    Parameters
    ----------
    k : int, default 5
    name : str, default "top_k_categorical_accuracy"
    dtype : None
    """

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: str | None = None) -> None:
        super().__init__(k, name, dtype)

    def values(self, y_true, y_pred):
        return self._within(ops.one_hot(ops.argmax(y_true, axis=-1), y_pred.shape[-1]), y_pred)


@registry.add
class SparseTopKCategoricalAccuracy(_TopK):
    """Whether the label is among the k classes with the largest y_pred; ties count.

    Parameters
    ----------
    k : int, default 5
    name : str, default "sparse_top_k_categorical_accuracy"
    dtype : None
    from_sorted_ids : bool
        Only False is supported.
    """

    sparse = True

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: str | None = None,
        from_sorted_ids=False,
    ) -> None:
        super().__init__(k, name, dtype)
        if from_sorted_ids:
            raise ArgumentError(
                "SparseTopKCategoricalAccuracy: predictions are scores, from_sorted_ids must be False, "
                f"got {from_sorted_ids!r}."
            )
        self.from_sorted_ids = False

    def values(self, y_true, y_pred):
        return self._within(ops.one_hot(y_true, y_pred.shape[-1]), y_pred)


# ---- losses as metrics ----


class _OfLoss(Metric):
    """The values of a loss, as a metric."""

    loss: type | None = None

    def _loss(self):
        return self.loss()

    def values(self, y_true, y_pred):
        return self._loss().values(y_true, y_pred)


@registry.alias("mse", "MSE")
class MeanSquaredError(Metric):
    """mean((y_true - y_pred)^2)."""

    op = "squared_error"


@registry.add
class RootMeanSquaredError(Metric):
    """The square root of the mean of (y_true - y_pred)^2 over all elements."""

    op = "squared_error"

    def finish(self, mean):
        return math.sqrt(mean)


@registry.alias("mae", "MAE")
class MeanAbsoluteError(Metric):
    """`mean(|y_true - y_pred|)`."""

    op = "absolute_error"


@registry.alias("mape", "MAPE")
class MeanAbsolutePercentageError(_OfLoss):
    """`losses.MeanAbsolutePercentageError` as a metric."""

    loss = losses.MeanAbsolutePercentageError


@registry.alias("msle", "MSLE")
class MeanSquaredLogarithmicError(_OfLoss):
    """`losses.MeanSquaredLogarithmicError` as a metric."""

    loss = losses.MeanSquaredLogarithmicError


@registry.add
class CosineSimilarity(Metric):
    """cos of the angle between y_true and y_pred over the last dimension: 1 for one direction.

    Parameters
    ----------
    name : str, default "cosine_similarity"
    dtype : None
    axis : int
        Only -1 is supported.
    """

    def __init__(self, name: str | None = "cosine_similarity", dtype: str | None = None, axis=-1) -> None:
        super().__init__(name, dtype)
        self.axis = losses.CosineSimilarity(axis).axis

    def values(self, y_true, y_pred):
        return -losses.CosineSimilarity().values(y_true, y_pred)


@registry.alias("logcosh", "log_cosh")
class LogCoshError(_OfLoss):
    """`losses.LogCosh` as a metric.

    Parameters
    ----------
    name : str, default "logcosh"
    dtype : None
    """

    loss = losses.LogCosh

    def __init__(self, name: str | None = "logcosh", dtype: str | None = None) -> None:
        super().__init__(name, dtype)


@registry.add
class Hinge(_OfLoss):
    """`losses.Hinge` as a metric."""

    loss = losses.Hinge


@registry.add
class SquaredHinge(_OfLoss):
    """`losses.SquaredHinge` as a metric."""

    loss = losses.SquaredHinge


@registry.add
class CategoricalHinge(_OfLoss):
    """`losses.CategoricalHinge` as a metric."""

    loss = losses.CategoricalHinge


@registry.alias("kld", "KLD")
class KLDivergence(_OfLoss):
    """`losses.KLDivergence` as a metric."""

    loss = losses.KLDivergence


@registry.add
class Poisson(_OfLoss):
    """`losses.Poisson` as a metric."""

    loss = losses.Poisson


@registry.alias("bce", "BCE")
class BinaryCrossentropy(_OfLoss):
    """`losses.BinaryCrossentropy` as a metric.

    Parameters
    ----------
    name : str, default "binary_crossentropy"
    dtype : None
    from_logits : bool, default False
    label_smoothing : float, default 0
    """

    loss = losses.BinaryCrossentropy

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits, self.label_smoothing = bool(from_logits), label_smoothing
        self._loss()

    def _loss(self):
        return self.loss(self.from_logits, self.label_smoothing)


@registry.add
class CategoricalCrossentropy(_OfLoss):
    """`losses.CategoricalCrossentropy` as a metric.

    Parameters
    ----------
    name : str, default "categorical_crossentropy"
    dtype : None
    from_logits : bool, default False
    label_smoothing : float, default 0
    axis : int
        Only -1 is supported.
    """

    loss = losses.CategoricalCrossentropy

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis=-1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits, self.label_smoothing, self.axis = bool(from_logits), label_smoothing, axis
        self._loss()

    def _loss(self):
        return self.loss(self.from_logits, self.label_smoothing, self.axis)


@registry.add
class SparseCategoricalCrossentropy(_OfLoss):
    """`losses.SparseCategoricalCrossentropy` as a metric.

    Parameters
    ----------
    name : str, default "sparse_categorical_crossentropy"
    dtype : None
    from_logits : bool, default False
    ignore_class : None
        Not supported.
    axis : int
        Only -1 is supported.
    """

    loss, sparse = losses.SparseCategoricalCrossentropy, True

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: str | None = None,
        from_logits: bool = False,
        ignore_class=None,
        axis=-1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits, self.ignore_class, self.axis = bool(from_logits), ignore_class, axis
        self._loss()

    def _loss(self):
        return self.loss(self.from_logits, self.ignore_class, axis=self.axis)


# ---- counts above thresholds ----


class _Counts(NamedTuple):
    """Weighted counts at each threshold: true and false positives, true and false negatives."""

    tp: object
    fp: object
    tn: object
    fn: object

    @property
    def precision(self):
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self):
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self):
        return _ratio(self.tn, self.tn + self.fp)


class _Thresholds(Tally):
    """Counts of elements whose prediction is above each threshold; a target that is not 0 is positive.

    `levels` are the thresholds; `top_k` and `class_id` choose among the classes first.
    """

    levels = (0.5,)
    top_k: int | None = None
    class_id: int | None = None
    label_weights: Any = None
    multi_label = from_logits = False

    def check_shape(self, output, shape):
        super().check_shape(output, shape)
        for what, given, largest in (("class_id", self.class_id, -1), ("top_k", self.top_k, 0)):
            if given is not None and given > shape[-1] + largest:
                raise ShapeError(
                    f"{self.name!r} has {what}={given}, but output {output!r} has {shape[-1]} features."
                )

    def sums(self, y_true, y_pred, weight=None):
        if self.from_logits:
            y_pred = ops.sigmoid(y_pred)
        if self.top_k is not None:
            y_pred = _only_top(y_pred, self.top_k)
        if self.class_id is not None:
            at = slice(self.class_id, self.class_id + 1)
            y_true, y_pred = y_true[..., at], y_pred[..., at]
        if not self.multi_label:
            return self._sums_above(y_true, y_pred, weight)
        labels = [slice(i, i + 1) for i in range(y_pred.shape[-1])]
        return ops.concatenate([self._sums_above(y_true[..., i], y_pred[..., i], weight) for i in labels])

    def _sums_above(self, y_true, y_pred, weight):
        """Weight of the positives above each threshold, the same of the negatives, and of all of both."""
        positive = ops.expand_dims(_real(ops.not_equal(y_true, 0.0), y_pred), -1)
        both = ops.concatenate([positive, 1.0 - positive], axis=-1)
        if self.label_weights is not None and not self.multi_label:
            both = both * _array([[w] for w in self.label_weights], y_pred)
        if weight is not None:
            both = both * _spread(weight, both.ndim)
        levels = self.levels[0] if len(self.levels) == 1 else _array(self.levels, y_pred)
        above = _real(ops.greater(ops.expand_dims(y_pred, -1), levels), y_pred)
        return ops.concatenate([_products(both, above), _sum_rows(both)])

    def counts(self, sums):
        """The `_Counts`, arrays of shape (thresholds,), or (labels, thresholds) where labels count apart."""
        n = len(self.levels)
        sums = sums.reshape(-1, 2 * n + 2) if self.multi_label else sums
        tp, fp, positive, negative = np.split(sums, [n, 2 * n, 2 * n + 1], axis=-1)
        return _Counts(tp, fp, negative - fp, positive - tp)

    def measure(self, counts):
        """What the metric says at each threshold."""
        raise NotImplementedError

    def value(self, sums):
        made = self.measure(self.counts(sums))
        return _plain(made[0] if len(self.levels) == 1 else made)


def _only_top(y_pred, k):
    """y_pred with all but the k largest of a row, the first of equals, replaced by a very low number."""
    left, kept = y_pred, None
    for _ in range(k):
        marks = ops.one_hot(ops.argmax(left, axis=-1), y_pred.shape[-1])
        kept = marks if kept is None else kept + marks
        left = ops.where(marks, 2 * _LOWEST, left)
    return ops.where(kept, y_pred, _LOWEST)


def _checked_levels(owner, thresholds, default):
    """(what was given, the thresholds as a tuple), each in [0, 1]."""
    if thresholds is None:
        return None, (default,)
    several = isinstance(thresholds, (list, tuple, np.ndarray))
    levels = [
        check_float(owner, "each threshold", t, low=0, high=1)
        for t in (thresholds if several else [thresholds])
    ]
    if not levels:
        raise ArgumentError(f"{owner}: thresholds must hold at least one number in [0, 1], got none.")
    return (levels if several else levels[0]), tuple(levels)


class _Count(_Thresholds):
    """Base of the four counts.

    Parameters
    ----------
    thresholds : float or sequence of float, default 0.5
        In [0, 1]; with several the value is an array with one count for each.
    name : str, optional
    dtype : None
    """

    def __init__(self, thresholds=None, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.thresholds, self.levels = _checked_levels(type(self).__name__, thresholds, 0.5)


@registry.add
class TruePositives(_Count):
    __doc__ = (_Count.__doc__ or "").replace("Base of the four counts", "Weight of the positives predicted as such")

    def measure(self, counts):
        return counts.tp


@registry.add
class FalsePositives(_Count):
    __doc__ = (_Count.__doc__ or "").replace("Base of the four counts", "Weight of the negatives predicted positive")

    def measure(self, counts):
        return counts.fp


@registry.add
class TrueNegatives(_Count):
    __doc__ = (_Count.__doc__ or "").replace("Base of the four counts", "Weight of the negatives predicted as such")

    def measure(self, counts):
        return counts.tn


@registry.add
class FalseNegatives(_Count):
    __doc__ = (_Count.__doc__ or "").replace("Base of the four counts", "Weight of the positives predicted negative")

    def measure(self, counts):
        return counts.fn


class _Share(_Thresholds):
    def __init__(
        self,
        thresholds=None,
        top_k=None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        owner = type(self).__name__
        self.top_k = None if top_k is None else check_int(owner, "top_k", top_k, 1)
        self.class_id = None if class_id is None else check_int(owner, "class_id", class_id, 0)
        default = 0.5 if top_k is None else _LOWEST
        self.thresholds, self.levels = _checked_levels(owner, thresholds, default)


@registry.add
class Precision(_Share):
    """Share of the positive predictions that are right: tp / (tp + fp), 0 where there are none.

    Parameters
    ----------
    thresholds : float or sequence of float, default 0.5
        A prediction above it is positive. In [0, 1]; with several the value is an array with one for each.
    top_k : int, optional
        Only the k largest predictions of a row can be positive, and without `thresholds` all of them are.
    class_id : int, optional
        Count this class alone.
    name : str, default "precision"
    dtype : None
    """

    def measure(self, counts):
        return counts.precision


@registry.add
class Recall(_Share):
    """Share of the positives that are predicted as such: tp / (tp + fn), 0 where there are none.

    Parameters
    ----------
    thresholds, top_k, class_id, name, dtype
        See `Precision`.
    """

    def measure(self, counts):
        return counts.recall


class _Best(_Thresholds):
    """Base of the metrics that are the largest one measure gets while another is at least a bound."""

    bound: str
    measures: tuple[str, str]

    def __init__(self, bound, num_thresholds: int, class_id: int | None, name: str | None, dtype: str | None) -> None:
        super().__init__(name, dtype)
        owner = type(self).__name__
        setattr(self, self.bound, check_float(owner, self.bound, bound, low=0, high=1))
        self.num_thresholds = n = check_int(owner, "num_thresholds", num_thresholds, 1)
        self.class_id = None if class_id is None else check_int(owner, "class_id", class_id, 0)
        self.levels = (0.5,) if n == 1 else tuple(i / (n - 1) for i in range(n))

    def value(self, sums):
        counts, (bounded, wanted) = self.counts(sums), self.measures
        good = getattr(counts, bounded) >= getattr(self, self.bound)
        return float(getattr(counts, wanted)[good].max(initial=0.0))


_BEST = """{} at the threshold where it is largest while {} is at least a bound; 0 if that never is.

    Parameters
    ----------
    {} : float
        The bound, in [0, 1].
    num_thresholds : int, default 200
        Evenly from 0 to 1.
    class_id : int, optional
        Count this class alone.
    name : str, optional
    dtype : None
    """


@registry.add
class SensitivityAtSpecificity(_Best):
    __doc__ = _BEST.format("Sensitivity, which is recall,", "specificity, tn / (tn + fp),", "specificity")
    bound, measures = "specificity", ("specificity", "recall")

    def __init__(
        self,
        specificity,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


@registry.add
class SpecificityAtSensitivity(_Best):
    __doc__ = _BEST.format("Specificity, tn / (tn + fp),", "sensitivity, which is recall,", "sensitivity")
    bound, measures = "sensitivity", ("recall", "specificity")

    def __init__(
        self,
        sensitivity,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


@registry.add
class PrecisionAtRecall(_Best):
    __doc__ = _BEST.format("Precision", "recall", "recall")
    bound, measures = "recall", ("recall", "precision")

    def __init__(
        self,
        recall,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)


@registry.add
class RecallAtPrecision(_Best):
    __doc__ = _BEST.format("Recall", "precision", "precision")
    bound, measures = "precision", ("precision", "recall")

    def __init__(
        self,
        precision: int,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)


@registry.add
class AUC(_Thresholds):
    """Area under a curve of two rates, drawn by the thresholds.

    Parameters
    ----------
    num_thresholds : int, default 200
        At least 2: evenly from 0 to 1, the outer ones moved out by 1e-7.
    curve : {"ROC", "PR"}
        "ROC": recall over fp / (fp + tn). "PR": precision over recall.
    summation_method : {"interpolation", "majoring", "minoring"}
        Height of the area between two points: their mean, the larger or the smaller one. Interpolated "PR"
        follows the true curve between the points (Davis and Goadrich, ICML 2006).
    name : str, default "auc"
    dtype : None
    thresholds : sequence of float, optional
        In place of `num_thresholds`, inside [0, 1].
    multi_label : bool, default False
        Whether each feature has an area of its own, of which the mean is taken; otherwise all elements draw
        one curve.
    num_labels : int, optional
        Features, for `multi_label`; known from the model.
    label_weights : sequence of float, optional
        Weight of each feature in the mean, or of its elements in the one curve.
    from_logits : bool, default False
        Whether predictions are values before the sigmoid.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve="ROC",
        summation_method="interpolation",
        name: str | None = None,
        dtype: str | None = None,
        thresholds=None,
        multi_label=False,
        num_labels=None,
        label_weights=None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        for what, value, known in (
            ("curve", curve, ("ROC", "PR")),
            ("summation_method", summation_method, ("interpolation", "majoring", "minoring")),
        ):
            if value not in known:
                raise ArgumentError(f"AUC: {what} must be one of {', '.join(known)}, got {value!r}.")
        self.curve, self.summation_method = curve, summation_method
        self.thresholds = None
        if thresholds is None:
            self.num_thresholds = n = check_int("AUC", "num_thresholds", num_thresholds, 2)
            inner = [i / (n - 1) for i in range(1, n - 1)]
        else:
            inner = sorted(check_float("AUC", "each threshold", t, low=0, high=1) for t in thresholds)
            self.thresholds, self.num_thresholds = inner, len(inner) + 2
        self.levels = (-EPSILON, *inner, 1.0 + EPSILON)
        self.multi_label, self.from_logits = bool(multi_label), bool(from_logits)
        if num_labels is not None and not multi_label:
            raise ArgumentError(f"AUC: num_labels goes with multi_label=True, got {num_labels!r}.")
        self.num_labels = None if num_labels is None else check_int("AUC", "num_labels", num_labels, 1)
        self.label_weights: Any = None
        if label_weights is not None:
            self.label_weights = [check_float("AUC", "each label weight", w, low=0) for w in label_weights]

    def check_shape(self, output, shape):
        super().check_shape(output, shape)
        weights = None if self.label_weights is None else len(self.label_weights)
        for what, given in (("num_labels", self.num_labels), ("label_weights", weights)):
            if given is not None and given != shape[-1]:
                raise ShapeError(
                    f"{self.name!r} has {what} for {given} features, but output {output!r} has {shape[-1]}."
                )

    def value(self, sums):
        counts = self.counts(sums)
        if self.curve == "PR" and self.summation_method == "interpolation":
            area = _interpolated_area(counts)
        else:
            x, y = counts.recall, counts.precision
            if self.curve == "ROC":
                x, y = _ratio(counts.fp, counts.fp + counts.tn), counts.recall
            heights = {
                "interpolation": lambda a, b: (a + b) / 2,
                "majoring": np.maximum,
                "minoring": np.minimum,
            }
            height = heights[self.summation_method](y[..., :-1], y[..., 1:])
            area = ((x[..., :-1] - x[..., 1:]) * height).sum(axis=-1)
        if not self.multi_label:
            return float(area)
        weights = np.ones(len(area)) if self.label_weights is None else np.array(self.label_weights)
        return float(_ratio((area * weights).sum(), weights.sum()))


def _interpolated_area(counts):
    """Area under the precision-recall curve along which tp grows linearly with tp + fp between two points.

    Davis and Goadrich, ICML 2006: with slope s = dtp / dp and b = tp - s p, the area of one piece is
    s (dtp + b log(p' / p)) / (tp + fn).
    """
    tp, p = counts.tp, counts.tp + counts.fp
    dtp, dp = tp[..., :-1] - tp[..., 1:], p[..., :-1] - p[..., 1:]
    slope = _ratio(dtp, np.maximum(dp, 0))
    intercept = tp[..., 1:] - slope * p[..., 1:]
    both = (p[..., :-1] > 0) & (p[..., 1:] > 0)
    growth = np.where(both, _ratio(p[..., :-1], p[..., 1:]), 1.0)
    pieces = slope * (dtp + intercept * np.log(np.where(growth > 0, growth, 1.0)))
    return _ratio(pieces, np.maximum(tp[..., 1:] + counts.fn[..., 1:], 0)).sum(axis=-1)


# ---- other tallies ----


class _TwoDimensional(Tally):
    def check_shape(self, output, shape):
        super().check_shape(output, shape)
        if len(shape) != 2:
            raise ShapeError(
                f"{self.name!r} needs predictions of shape (batch, features), "
                f"but output {output!r} has shape {shape}."
            )


@registry.alias("fbeta_score")
class FBetaScore(_TwoDimensional):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), of each class or over the classes.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        None: an array with one value a class. "macro": their mean; "weighted": their mean by the classes'
        weight in y_true. "micro": one value of the counts of all classes.
    beta : float, default 1.0
        Above 0.
    threshold : float, optional
        In (0, 1]: predictions above it are positive; by default the largest of a row is.
    name : str, default "fbeta_score"
    dtype : None
    """

    def __init__(
        self,
        average=None,
        beta=1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        owner = type(self).__name__
        if average not in (None, "micro", "macro", "weighted"):
            raise ArgumentError(
                f"{owner}: average must be None, 'micro', 'macro' or 'weighted', got {average!r}."
            )
        self.average, self.beta = average, check_float(owner, "beta", beta, low=0, exclusive=("low",))
        self.threshold = None
        if threshold is not None:
            self.threshold = check_float(owner, "threshold", threshold, low=0, high=1, exclusive=("low",))

    def columns(self, y_true, y_pred):
        if self.threshold is None:
            largest = ops.max(y_pred, axis=-1, keepdims=True)
            made = _real(ops.greater_equal(y_pred, largest), y_pred)
            made = made * _real(ops.greater(ops.abs(y_pred), 1e-9), y_pred)  # a row of zeros has no class
        else:
            made = _real(ops.greater(y_pred, self.threshold), y_pred)
        hits = made * y_true
        return ops.concatenate([hits, made - hits, y_true - hits, y_true], axis=-1)

    def value(self, sums):
        tp, fp, fn, weight = sums.reshape(4, -1)
        if self.average == "micro":
            tp, fp, fn = tp.sum(), fp.sum(), fn.sum()
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average == "weighted":
            score = (score * weight / (weight.sum() + EPSILON)).sum()
        return _plain(score if self.average is None else np.mean(score))


@registry.add
class F1Score(FBetaScore):
    """`FBetaScore` with beta = 1: the harmonic mean of precision and recall.

    Parameters
    ----------
    average, threshold, dtype
        See `FBetaScore`.
    name : str, default "f1_score"
    """

    def __init__(
        self,
        average=None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: str | None = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)


@registry.add
class R2Score(_TwoDimensional):
    """1 - sum((y_true - y_pred)^2) / sum((y_true - mean)^2) of each feature, and their mean.

    Parameters
    ----------
    class_aggregation : {"uniform_average", "variance_weighted_average", None}
        How features are averaged; None: an array with one value each.
    num_regressors : int, default 0
        Above 0: the adjusted score, 1 - (1 - r2)(n - 1) / (n - num_regressors - 1).
    name : str, default "r2_score"
    dtype : None

    Notes
    -----
    The spread of y_true comes from its sums and sums of squares, so in float32 targets should not lie far
    from 0 compared with their spread.
    """

    def __init__(
        self,
        class_aggregation="uniform_average",
        num_regressors=0,
        name: str | None = "r2_score",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ArgumentError(
                "R2Score: class_aggregation must be None, 'uniform_average' or 'variance_weighted_average', "
                f"got {class_aggregation!r}."
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = check_int("R2Score", "num_regressors", num_regressors, 0)

    def sums(self, y_true, y_pred, weight=None):
        one = ops.ones_like(y_true[..., :1])
        parts = [y_true, y_true * y_true, ops.square(y_true - y_pred), one]
        columns = ops.concatenate(parts, axis=-1)
        if weight is None:
            return _sum_rows(columns)
        return _sum_rows(ops.concatenate([columns * _spread(weight, columns.ndim), one], axis=-1))

    def value(self, sums):
        features = (len(sums) - 1) // 3
        total, squares, residual = sums[: 3 * features].reshape(3, features)
        weight, rows = sums[3 * features], sums[-1]
        spread = squares - total * _ratio(total, weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = 1 - residual / spread
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = scores.mean()
        elif self.class_aggregation == "variance_weighted_average":
            scores = (spread * scores).sum() / spread.sum()
        count = rows * features  # as Keras 3 counts: every element
        if 0 < self.num_regressors < count - 1:
            scores = 1 - (1 - scores) * (count - 1) / (count - self.num_regressors - 1)
        return _plain(scores)


@registry.add
class ConfusionMatrix(Tally):
    """How often each class was predicted as each: an array (classes, classes), a row for each true class.

    Parameters
    ----------
    num_classes : int
        The output's features; 2 for an output of one feature.
    name : str, default "confusion_matrix"
    dtype : None
    threshold : float, default 0.5
        Above it an output of one feature means class 1. With several features the largest is the class.

    Notes
    -----
    Targets are integer labels or one-hot, as the loss has them.
    """

    sparse = None

    def __init__(
        self,
        num_classes: int,
        name: str | None = "confusion_matrix",
        dtype: str | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(name, dtype)
        self.num_classes = check_int("ConfusionMatrix", "num_classes", num_classes, 2)
        self.threshold = check_float("ConfusionMatrix", "threshold", threshold)

    def check_shape(self, output, shape):
        super().check_shape(output, shape)
        if shape[-1] != self.num_classes and not shape[-1] == 1 < self.num_classes == 2:
            raise ShapeError(
                f"{self.name!r} has num_classes={self.num_classes}, but output {output!r} has shape {shape}."
            )

    def sums(self, y_true, y_pred, weight=None):
        n = self.num_classes
        if y_pred.shape[-1] == 1:
            predicted = _real(ops.greater(y_pred, self.threshold), y_pred)
            y_true = _real(ops.not_equal(y_true, 0.0), y_pred)
            true = ops.concatenate([1.0 - y_true, y_true], axis=-1)
            predicted = ops.concatenate([1.0 - predicted, predicted], axis=-1)
        else:
            label = y_true if y_true.ndim < y_pred.ndim else ops.argmax(y_true, axis=-1)
            true = ops.one_hot(label, n)
            predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), n)
        if weight is not None:
            true = true * _spread(weight, true.ndim)
        return _products(true, predicted)

    def value(self, sums):
        return sums.reshape(self.num_classes, self.num_classes)


# ---- a user's own ----


class MeanMetricWrapper(WrappedRows, Metric):
    """The mean of a function's values.

    Parameters
    ----------
    fn : callable
        `fn(y_true, y_pred, **kwargs)`, written with `fastnn.ops`: one value per row.
    name : str, optional
        The function's by default.
    dtype : None
    **kwargs
        Further arguments of `fn`.
    """

    def __init__(self, fn, name: str | None = None, dtype: str | None = None, **kwargs) -> None:
        self.wrap(fn, kwargs)
        super().__init__(name or getattr(fn, "__name__", None), dtype)


@registry.add
class TracedMetric(TracedRows, Metric):
    """A user's own metric as a model file keeps it; see `losses.TracedLoss` for the arguments."""

    def __init__(self, program, constants, name: str | None, sparse=False, scalar=False) -> None:
        super().__init__(name)
        self.restore(program, constants, sparse, scalar)


# ---- functions ----


def binary_accuracy(y_true, y_pred, threshold=0.5):
    """Return the values of `BinaryAccuracy`, one per row."""
    return BinaryAccuracy(threshold=threshold).call(y_true, y_pred)


def categorical_accuracy(y_true, y_pred):
    """Return 1.0 where both have their first maximum at the same place, else 0.0, one value per row."""
    return CategoricalAccuracy().call(y_true, y_pred)


def sparse_categorical_accuracy(y_true, y_pred):
    """Return 1.0 where y_pred has its first maximum at the label, else 0.0, one value per row."""
    return SparseCategoricalAccuracy().call(y_true, y_pred)


def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """Return the values of `TopKCategoricalAccuracy`, one per row."""
    return TopKCategoricalAccuracy(k).call(y_true, y_pred)


def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5, from_sorted_ids=False):
    """Return the values of `SparseTopKCategoricalAccuracy`, one per row."""
    return SparseTopKCategoricalAccuracy(k, from_sorted_ids=from_sorted_ids).call(y_true, y_pred)


mean_squared_error, mean_absolute_error = losses.mean_squared_error, losses.mean_absolute_error
mean_absolute_percentage_error = losses.mean_absolute_percentage_error
mean_squared_logarithmic_error = losses.mean_squared_logarithmic_error
binary_crossentropy, categorical_crossentropy = losses.binary_crossentropy, losses.categorical_crossentropy
sparse_categorical_crossentropy = losses.sparse_categorical_crossentropy
binary_focal_crossentropy = losses.binary_focal_crossentropy
categorical_focal_crossentropy = losses.categorical_focal_crossentropy
huber, log_cosh, kl_divergence, poisson = losses.huber, losses.log_cosh, losses.kl_divergence, losses.poisson
hinge, squared_hinge, categorical_hinge = losses.hinge, losses.squared_hinge, losses.categorical_hinge

_FUNCTIONS = {
    binary_accuracy: BinaryAccuracy,
    categorical_accuracy: CategoricalAccuracy,
    sparse_categorical_accuracy: SparseCategoricalAccuracy,
    top_k_categorical_accuracy: TopKCategoricalAccuracy,
    sparse_top_k_categorical_accuracy: SparseTopKCategoricalAccuracy,
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    log_cosh: LogCoshError,
    kl_divergence: KLDivergence,
    poisson: Poisson,
    hinge: Hinge,
    squared_hinge: SquaredHinge,
    categorical_hinge: CategoricalHinge,
}
deserialize = registry.deserialize


def get(identifier):
    """Return the metric for a name, a configuration, a class, an object, or a function of (y_true, y_pred).

    "accuracy" and "acc" stay names: which accuracy they are depends on the output, see `resolve`.
    """
    if isinstance(identifier, str) and identifier.lower() in _ACCURACIES:
        return identifier
    return registry.get(object_of(identifier, _FUNCTIONS, MeanMetricWrapper))


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
