"""`fastnn.Perceptron` with scikit-learn's base classes."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import perceptron
from ..arguments import check_float
from ..errors import ArgumentError, UnknownNameError

_PENALTIES = (None, "l2", "l1", "elasticnet")
_REALS = (np.float64, np.float32)


class Perceptron(ClassifierMixin, BaseEstimator, perceptron.Perceptron):
    """`fastnn.Perceptron` as an estimator of scikit-learn, with the constructor of its ``Perceptron``.

    It stands wherever an estimator does: in pipelines, searches, ensembles that need no sample weights, with
    data frames. `tol` is 1e-3 as there, so `fit` ends, without a warning, when the loss stands still too.

    Parameters
    ----------
    penalty : {None, "l2", "l1", "elasticnet"}, default None
        What moves weights towards 0 at each sample, mistake or not. `fit` does not end before the loss stands still
        then.
    alpha : float, default 0.0001
        Times `eta0`, the share of itself that a weight loses at a sample ("l2"), or how far it moves ("l1", by
        Tsuruoka, Tsujii and Ananiadou, ACL 2009).
    l1_ratio : float, default 0.15
        The part of "l1" in "elasticnet", in [0, 1].
    fit_intercept : bool, default True
    max_iter : int, default 1000
    tol : float or None, default 1e-3
    shuffle : bool, default True
    verbose : int, default 0
    eta0 : float, default 1.0
        See `fastnn.Perceptron`.
    n_jobs : int, optional
        Changes nothing: all classes are learned in one walk over the samples, on one thread.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default 0
        See `fastnn.Perceptron`.
    early_stopping : bool, default False
        Whether `fit` keeps samples back, and ends when the share of right answers about them was not above the best
        one by `tol` in `n_iter_no_change` epochs in a row. `partial_fit` refuses it.
    validation_fraction : float, default 0.1
        The part that is kept back, in (0, 1), of each class.
    n_iter_no_change : int, default 5
    class_weight : dict, "balanced" or None
        See `fastnn.Perceptron`.
    warm_start : bool, default False

    Attributes
    ----------
    coef_, intercept_, classes_, n_features_in_, n_iter_, mistakes_
        See `fastnn.Perceptron`.
    feature_names_in_ : ndarray of str, shape (n_features,)
        The columns of a data frame that `fit` was given.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastnn.sklearn import Perceptron
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(cross_val_score(make_pipeline(StandardScaler(), Perceptron()), X, y).mean() > 0.8)
    True
    """

    _convergence_warning = ConvergenceWarning

    def __init__(
        self,
        *,
        penalty=None,
        alpha=0.0001,
        l1_ratio=0.15,
        fit_intercept=True,
        max_iter=1000,
        tol=1e-3,
        shuffle=True,
        verbose=0,
        eta0=1.0,
        n_jobs=None,
        random_state=0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        class_weight=None,
        warm_start=False,
    ):
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start

    def _check_arguments(self):
        super()._check_arguments()
        if self.penalty not in _PENALTIES:
            raise UnknownNameError.among("penalty of Perceptron", self.penalty, _PENALTIES)
        check_float("Perceptron", "alpha", self.alpha, low=0)
        if self.penalty == "elasticnet":
            check_float("Perceptron", "l1_ratio", self.l1_ratio, low=0, high=1)
        if self.penalty is not None and self.eta0 * self.alpha > 1:
            raise ArgumentError(f"Perceptron: eta0 * alpha must be at most 1, got {self.eta0 * self.alpha:g}")
        if self.early_stopping:
            check_float(
                "Perceptron", "validation_fraction", self.validation_fraction, low=0, high=1, exclusive=("low", "high")
            )

    def _penalties(self):
        part = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio}[self.penalty]
        whole = 0.0 if self.penalty is None else self.eta0 * self.alpha
        return whole * part, whole * (1 - part)

    def _split(self, labels):
        if not self.early_stopping:
            return None
        splitter = StratifiedShuffleSplit(test_size=self.validation_fraction, random_state=self._state())
        train, held = next(splitter.split(np.zeros((len(labels), 1)), labels))
        return np.sort(train), held

    def _state(self):
        """`random_state` as scikit-learn's splitters take it."""
        given = self.random_state
        return int(given.integers(1 << 32)) if isinstance(given, np.random.Generator) else given

    def partial_fit(self, X, y, classes=None):
        if self.early_stopping:
            raise ArgumentError("Perceptron: partial_fit does not support early_stopping=True")
        return super().partial_fit(X, y, classes)

    partial_fit.__doc__ = perceptron.Perceptron.partial_fit.__doc__

    def _samples_and_classes(self, X, y, reset):
        X, y = validate_data(self, X, y, reset=reset, dtype=_REALS, order="C")
        check_classification_targets(y)
        return X, y

    def _samples(self, X):
        return validate_data(self, X, reset=False, dtype=_REALS, order="C")

    def _check_fitted(self):
        check_is_fitted(self)
