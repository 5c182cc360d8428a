"""The perceptron: one unit with a step function, learned by its mistakes."""

import sys
import warnings

import numpy as np

from . import _core, seeds
from .arguments import check_float, check_int
from .data import as_array
from .errors import (
    ArgumentError,
    ConvergenceWarning,
    DataError,
    NonFiniteLossError,
    NotFittedError,
    ShapeError,
    UnknownNameError,
)
from .registry import Configurable


class Perceptron(Configurable):
    """Rosenblatt's perceptron: a linear classifier that changes only at its mistakes.

    A unit answers 1 where theta . x - b >= 0, else 0, so a tie is a 1. It sees the samples one by one, and at
    each applies theta <- theta + eta0 (y - answer) x, and the same to -b as the weight of a constant 1. Where a
    line, plane, ... separates the classes with the margin gamma, it makes at most (R / gamma)^2 mistakes, R being
    the length of the longest (x, 1) (Novikoff, 1962), and `fit` ends after the first epoch without one. More than
    two classes are learned one against the rest.

    Parameters
    ----------
    fit_intercept : bool, default True
        Whether to learn b; otherwise it is 0.
    max_iter : int, default 1000
        Most epochs of `fit`.
    tol : float, optional
        Also end when the loss, the mean of abs(theta . x - b) over all samples with 0 where the answer is right, was
        not below the best one by `tol` in `n_iter_no_change` epochs in a row. By default only an epoch without a
        mistake ends `fit` before `max_iter`.
    shuffle : bool, default True
        Whether each epoch takes the samples in an order of its own.
    verbose : int, default 0
        1 prints mistakes and loss of each epoch.
    eta0 : float, default 1.0
        The rule's learning rate. From weights of zero it scales them and changes no answer.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default 0
        Decides the orders; None takes a seed that follows from `fastnn.set_seed`, if that was called.
    n_iter_no_change : int, default 5
        See `tol`.
    class_weight : dict, "balanced" or None
        {class: factor of eta0 at mistakes about its samples}, 1 for those left out; "balanced" is samples /
        (classes * samples of the class).
    warm_start : bool, default False
        Whether `fit` goes on from the weights that are there.

    Attributes
    ----------
    coef_ : ndarray, shape (1, n_features) or (n_classes, n_features)
        theta; float32 for float32 samples, else float64.
    intercept_ : ndarray, shape (1,) or (n_classes,)
        -b.
    classes_ : ndarray, shape (n_classes,)
        With two, the first is the answer 0 and the second the answer 1.
    n_features_in_ : int
    n_iter_ : int
        Epochs of the last `fit` or `partial_fit`.
    mistakes_ : ndarray of int64, shape (epochs, 1) or (epochs, n_classes)
        Mistakes of each unit in each of these epochs; a mistake is one change of weights.

    See Also
    --------
    fastnn.sklearn.Perceptron : The same as an estimator of scikit-learn.

    Notes
    -----
    Names and defaults are those of scikit-learn's ``Perceptron``, but for `tol`, which is 1e-3 there. It has no
    sparse samples and sample weights; penalties and early stopping has `fastnn.sklearn.Perceptron`. In scikit-learn
    a tie is a mistake about either class while learning.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as fnn
    >>> X = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> nand = fnn.Perceptron().fit(X, [1, 1, 1, 0])
    >>> nand.predict(X)
    array([1, 1, 1, 0])

    Weights may also be set by hand, and perceptrons stand on one another:

    >>> either = fnn.Perceptron().set_weights([1, 1], -0.5)
    >>> both = fnn.Perceptron().set_weights([1, 1], -1.5)
    >>> hidden = np.column_stack([either.predict(X), nand.predict(X)])
    >>> both.predict(hidden)  # exclusive or, which one perceptron cannot learn
    array([0, 1, 1, 0])
    """

    _convergence_warning = ConvergenceWarning

    def __init__(
        self,
        *,
        fit_intercept=True,
        max_iter=1000,
        tol=None,
        shuffle=True,
        verbose=0,
        eta0=1.0,
        random_state=0,
        n_iter_no_change=5,
        class_weight=None,
        warm_start=False,
    ):
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.random_state = random_state
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self._check_arguments()

    def set_weights(self, coef, intercept=0.0, classes=(0, 1)):
        """Set the weights by hand, for `predict`, `partial_fit`, or `fit` with `warm_start`.

        Parameters
        ----------
        coef : array_like of float, shape (n_features,) or (1, n_features) or (n_classes, n_features)
            theta.
        intercept : float or array_like of float, default 0
            -b, one for each unit.
        classes : sequence, default (0, 1)
            Two classes for one unit, else one for each; in ascending order.

        Returns
        -------
        self
        """
        name = type(self).__name__
        coef = _real(as_array(coef, f"{name}.set_weights' coef"))
        coef = coef[None] if coef.ndim == 1 else coef
        given, classes = np.asarray(classes), np.unique(classes)
        if not np.array_equal(given, classes):
            raise ArgumentError(f"{name} needs classes once each in ascending order, got {given.tolist()}")
        units = 1 if len(classes) == 2 else len(classes)
        if coef.ndim != 2 or len(coef) != units or coef.shape[1] < 1 or len(classes) < 2:
            raise ShapeError(
                f"{name} needs coef of shape ({units}, n_features) for the {len(classes)} classes {classes.tolist()}, "
                f"got {coef.shape}"
            )
        intercept = np.asarray(intercept, coef.dtype)
        if intercept.shape not in ((), (units,)):
            raise ShapeError(f"{name} needs an intercept of shape ({units},), got {intercept.shape}")
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise DataError(f"{name}.set_weights: coef and intercept must be finite")
        self.coef_, self.intercept_ = coef.copy(), np.broadcast_to(intercept, (units,)).copy()
        self.classes_, self.n_features_in_ = classes, coef.shape[1]
        return self

    def fit(self, X, y):
        """Learn until an epoch passes without a mistake.

        Parameters
        ----------
        X : array_like of float, shape (n_samples, n_features)
            Finite numbers. C-contiguous float32 and float64 are read in place.
        y : array_like, shape (n_samples,)
            Classes: integers, strings or booleans.

        Returns
        -------
        self

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough, as they never are where the classes cannot be separated.

        Raises
        ------
        ShapeError, DtypeError, DataError
            If X is no table of finite numbers, or y does not name a class for each of its rows.
        NonFiniteLossError
            If the numbers became too large for the type.
        KeyboardInterrupt
            By Ctrl-C, at the end of an epoch; the weights are those of then.
        """
        self._check_arguments()
        X, y = self._samples_and_classes(X, y, reset=not (self.warm_start and self._fitted()))
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"{type(self).__name__} needs samples of at least 2 classes, got 1 class: {classes[0]!r}"
            )
        if self.warm_start and self._fitted():
            if not np.array_equal(classes, self.classes_):
                raise ArgumentError(
                    f"{type(self).__name__} with warm_start goes on with the classes {self.classes_.tolist()}, "
                    f"got {classes.tolist()}"
                )
            self._own_weights(X.dtype)
        else:
            self._new_weights(classes, X)
        self._epochs_seen = 0
        converged = self._learn(X, labels, self.max_iter, self._rates(labels, classes))
        if not converged:
            wrong = ", ".join(map(str, self.mistakes_[-1][self.mistakes_[-1] > 0]))
            warnings.warn(
                f"{type(self).__name__} did not converge: the last of {self.n_iter_} epochs over {len(X)} samples still "
                f"had mistakes ({wrong}). If a line can separate the classes, a larger max_iter will find it; if "
                "none can, no number of epochs will.",
                self._convergence_warning,
                stacklevel=2,
            )
        return self

    def partial_fit(self, X, y, classes=None):
        """Learn from these samples, each seen once.

        Parameters
        ----------
        X, y
            As for `fit`.
        classes : sequence, optional
            All classes that there will be; needed at the first call.

        Returns
        -------
        self
        """
        self._check_arguments()
        name, first = type(self).__name__, not self._fitted()
        if first and classes is None:
            raise ArgumentError(f"{name}.partial_fit needs classes, all that there will be, at its first call")
        X, y = self._samples_and_classes(X, y, reset=first)
        if classes is not None:
            classes = np.unique(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ArgumentError(
                    f"{name}.partial_fit has the classes {self.classes_.tolist()}, got {classes.tolist()}"
                )
        known = classes if first else self.classes_
        unknown = np.setdiff1d(y, known)
        if len(unknown):
            raise UnknownNameError.among(f"class in {name}.partial_fit's y", unknown[0], known.tolist())
        if isinstance(self.class_weight, str):
            raise ArgumentError(
                f"{name}.partial_fit cannot know the balance of all samples: give class_weight as a dict, "
                f"got {self.class_weight!r}"
            )
        if first:
            self._new_weights(known, X)
            self._epochs_seen = 0
        else:
            self._own_weights(X.dtype)
        labels = np.searchsorted(known, y)
        self._learn(X, labels, 1, self._rates(labels, known))
        return self

    def decision_function(self, X):
        """theta . x - b of each sample.

        Parameters
        ----------
        X : array_like of float, shape (n_samples, n_features)

        Returns
        -------
        ndarray of the dtype of `coef_`, shape (n_samples,) or (n_samples, n_classes)
        """
        self._check_fitted()
        coef = np.ascontiguousarray(self.coef_)
        X = np.ascontiguousarray(self._samples(X), coef.dtype)
        out = np.empty((len(X), len(coef)), coef.dtype)
        _core.Perceptron(X, coef, np.ascontiguousarray(self.intercept_, coef.dtype)).decide(out)
        return out[:, 0] if len(coef) == 1 else out

    def predict(self, X):
        """The class of each sample: by the sign of the decision, or the one with the largest.

        Parameters
        ----------
        X : array_like of float, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,)
        """
        decision = self.decision_function(X)
        return self.classes_[(decision >= 0).astype(int) if decision.ndim == 1 else decision.argmax(axis=1)]

    def score(self, X, y, sample_weight=None):
        """The share of samples whose class is predicted.

        Parameters
        ----------
        X : array_like of float, shape (n_samples, n_features)
        y : array_like, shape (n_samples,)
        sample_weight : array_like of float, shape (n_samples,), optional

        Returns
        -------
        float
        """
        predicted, y = self.predict(X), np.asarray(y)
        if y.shape != predicted.shape:
            raise ShapeError(f"{type(self).__name__}.score needs y of shape {predicted.shape}, got {y.shape}")
        return float(np.average(predicted == y, weights=sample_weight))

    # ---- what fastnn.sklearn puts scikit-learn's own in place of ----

    def _samples_and_classes(self, X, y, reset):
        """X as a C-contiguous table of finite float32 or float64, y as one class a row."""
        name = type(self).__name__
        X = self._samples(X, reset)
        y = np.asarray(y)
        if y.shape != X.shape[:1]:
            hint = "; pass y.ravel()" if y.shape == (len(X), 1) else ""
            raise ShapeError(f"{name} needs y of shape ({len(X)},), a class for each row of X, got {y.shape}{hint}")
        if y.dtype.kind not in "biuUSO" and not (y.dtype.kind == "f" and (y == np.floor(y)).all()):
            raise DataError(f"{name} needs classes in y, got {y.dtype} that are no whole numbers")
        return X, y

    def _samples(self, X, reset=False):
        name = type(self).__name__
        X = as_array(X, f"{name}'s X")
        if X.ndim != 2 or X.shape[1] < 1 or len(X) < 1:
            hint = "; one sample is X.reshape(1, -1)" if X.ndim == 1 else ""
            raise ShapeError(f"{name} needs X of shape (n_samples, n_features), got {X.shape}{hint}")
        if not reset and X.shape[1] != self.n_features_in_:
            raise ShapeError(f"{name} expects {self.n_features_in_} features, got X of shape {X.shape}")
        X = _real(X)
        _check_finite(X, name)
        return X

    def _check_fitted(self):
        if not self._fitted():
            raise NotFittedError(f"{type(self).__name__} has no weights yet: call fit, partial_fit or set_weights")

    # ---- the rest ----

    def _fitted(self):
        return hasattr(self, "coef_")

    def _check_arguments(self):
        name = type(self).__name__
        check_int(name, "max_iter", self.max_iter, low=1)
        check_int(name, "n_iter_no_change", self.n_iter_no_change, low=1)
        check_float(name, "eta0", self.eta0, low=0, exclusive=("low",))
        if self.tol is not None:
            check_float(name, "tol", self.tol, low=0)
        if self.class_weight is not None and self.class_weight != "balanced" and not hasattr(self.class_weight, "items"):
            raise ArgumentError(f"{name}: class_weight must be a dict, 'balanced' or None, got {self.class_weight!r}")

    def _new_weights(self, classes, X):
        units = 1 if len(classes) == 2 else len(classes)
        self.coef_, self.intercept_ = np.zeros((units, X.shape[1]), X.dtype), np.zeros(units, X.dtype)
        self.classes_, self.n_features_in_ = classes, X.shape[1]

    def _own_weights(self, dtype):
        """Weights that nobody else holds, to be changed in place."""
        self.coef_, self.intercept_ = np.array(self.coef_, dtype, order="C"), np.array(self.intercept_, dtype)

    def _rates(self, labels, classes):
        """float64 (n_classes,): how far a mistake about a sample of each class moves a unit."""
        weights = np.ones(len(classes))
        if isinstance(self.class_weight, str):
            counts = np.bincount(labels, minlength=len(classes))
            weights = len(labels) / (len(classes) * counts)
        elif self.class_weight is not None:
            places = {c: i for i, c in enumerate(classes.tolist())}
            for label, weight in self.class_weight.items():
                if label not in places:
                    raise UnknownNameError.among("class in class_weight", label, places)
                weights[places[label]] = check_float(type(self).__name__, f"class_weight of {label!r}", weight, low=0)
        return self.eta0 * weights

    def _penalties(self):
        """(l1, l2) of one sample."""
        return 0.0, 0.0

    def _split(self, labels):
        """(rows to learn from, rows to judge by), or None where all are learned from."""
        return None

    def _seed(self):
        source = self.random_state
        if source is None:
            return seeds.next_seed()
        if isinstance(source, np.random.Generator):
            return int(source.integers(1 << 63))
        if isinstance(source, np.random.RandomState):
            return int(source.randint(1 << 31))
        return check_int(type(self).__name__, "random_state", source, low=0) % (1 << 64)

    def _learn(self, X, labels, epochs, rates):
        """Run up to so many epochs on the weights in place; whether they ended before or need not go on."""
        units, split, held = len(self.coef_), self._split(labels), None
        if split is not None:
            held = _Held(X[split[1]], labels[split[1]], self)
            X, labels = np.ascontiguousarray(X[split[0]]), labels[split[0]]
        n = len(X)
        bias, order = self.intercept_ if self.fit_intercept else None, np.empty(n, np.int32)
        l1, l2 = self._penalties()
        rule = _core.Perceptron(
            X, self.coef_, bias, labels.astype(np.int32), rates, order if self.shuffle else None, l1, l2,
            np.zeros_like(self.coef_) if l1 else None,
        )  # fmt: skip
        seed = self._seed()
        active, best, stale = np.ones(units, bool), np.full(units, np.inf), np.zeros(units, int)
        history = []
        try:
            for _ in range(epochs):
                mistakes, losses = np.zeros(units, np.int64), np.zeros(units)
                rule.epoch(active, mistakes, losses, seed, self._epochs_seen)
                self._epochs_seen += 1
                history.append(mistakes)
                if not (np.isfinite(losses).all() and np.isfinite(self.coef_).all()):
                    raise NonFiniteLossError(
                        f"{type(self).__name__}: w x + b left the range of {X.dtype} in epoch {len(history)}; scale "
                        "X or lower eta0",
                        epoch=len(history) - 1,
                    )
                losses /= n
                if self.verbose:
                    sys.stdout.write(f"epoch {len(history)}: {mistakes.sum()} mistakes, loss {losses.sum():.6g}\n")
                if not (l1 or l2):  # which move weights without a mistake
                    active &= mistakes > 0
                if held is not None:
                    losses = -held.scores()
                if self.tol is not None:
                    stale = np.where(losses > best - self.tol, stale + 1, 0)
                    best = np.minimum(best, losses)
                    active &= stale < self.n_iter_no_change
                if not active.any():
                    return True
        finally:
            self.n_iter_ = len(history)
            self.mistakes_ = np.array(history, np.int64).reshape(-1, units)
        return False


class _Held:
    """Samples that are kept back."""

    def __init__(self, X, labels, perceptron):
        units = len(perceptron.coef_)
        self._out = np.empty((len(X), units), X.dtype)
        self._rule = _core.Perceptron(np.ascontiguousarray(X), perceptron.coef_, perceptron.intercept_)
        self._wanted = labels[:, None] == (np.arange(units) if units > 1 else 1)

    def scores(self):
        """The share of right answers of each unit."""
        self._rule.decide(self._out)
        return ((self._out >= 0) == self._wanted).mean(axis=0)


def _real(array):
    """C-contiguous and of native float32 or float64: float64 for what is neither."""
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return np.ascontiguousarray(array, np.float32 if single else np.float64)


def _check_finite(X, name):
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.add.reduce(X, axis=None)):  # one pass without a table of booleans
            return
    row, column = np.unravel_index(np.isfinite(X).argmin(), X.shape)
    if not np.isfinite(X[row, column]):
        raise DataError(
            f"{name} needs finite numbers, got {X[row, column]} at row {row}, column {column} of X",
            tensor="X", row=int(row), value=float(X[row, column]),
        )  # fmt: skip
