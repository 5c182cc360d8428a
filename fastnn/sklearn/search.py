"""A search over candidates and folds whose fits run side by side, each on one core."""

import time

import numpy as np
from scipy.stats import rankdata
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.utils import _safe_indexing

from .. import many, progress
from ..errors import ArgumentTypeError
from ..training import check_verbose
from .mlp import _MLP


def search_many(estimator, grid, X, y, cv=None, *, scoring=None, verbose=0):
    """Fit every candidate on every fold as `fastnn.fit_many` trains models: as many at a time as there are cores.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    grid : dict, list of dict, or iterable of candidates
        As for ``GridSearchCV``; or candidates as dicts of arguments, such as a ``ParameterSampler``.
    X, y : array_like
    cv : int, splitter or iterable, optional
        As for ``GridSearchCV``.
    scoring : str or callable, optional
        By default the estimator's `score`.
    verbose : {"auto", 0, 1, 2}, default 0
        As in `fastnn.fit_many`.

    Returns
    -------
    dict of str to ndarray
        ``cv_results_`` of ``GridSearchCV(estimator, grid, cv=cv, scoring=scoring)``: the same keys, and with the
        same `random_state` of the estimator the same scores.

    Raises
    ------
    ArgumentTypeError
        If the estimator is none of those above.
    FastNNError
        What a fit raises; the message begins with the candidate and the fold. The other fits stop.

    Notes
    -----
    The data lie in memory once, and no process is started.
    """
    if not isinstance(estimator, _MLP):
        raise ArgumentTypeError(
            f"search_many needs an MLPClassifier or MLPRegressor, got {type(estimator).__name__}; GridSearchCV takes any"
        )
    check_verbose("search_many", verbose)
    candidates = _candidates(grid)
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    splits = list(splitter.split(X, y))
    scorer = check_scoring(estimator, scoring)
    runs = [
        _Fit(i * len(splits) + k, estimator, parameters, fold, scorer)
        for i, parameters in enumerate(candidates)
        for k, fold in enumerate(splits)
    ]
    for i, run in enumerate(runs):
        run.label = f"candidate {i // len(splits)}, fold {i % len(splits)}"
    many.side_by_side(runs, X, y, progress.make(verbose))
    return _results(candidates, len(splits), runs)


def _candidates(grid):
    if isinstance(grid, dict):
        return list(ParameterGrid(grid))
    given = list(grid)
    lists = all(not isinstance(v, str) and np.ndim(v) for one in given for v in one.values())
    return list(ParameterGrid(given)) if lists else given


class _Fit(many.Run):
    """One candidate on one fold."""

    def __init__(self, position, estimator, parameters, fold, scorer):
        self.estimator = clone(estimator).set_params(**clone(parameters, safe=False))
        super().__init__(position, self.estimator, {"epochs": self.estimator.max_iter})
        self.fold, self.scorer = fold, scorer

    def train(self, x, y, stop):
        self.stop = stop
        train, test = ((_safe_indexing(x, rows), _safe_indexing(y, rows)) for rows in self.fold)
        begun = time.perf_counter()
        with progress.taken_over(self):
            self.estimator.fit(*train)
        fitted = time.perf_counter()
        self.score = self.scorer(self.estimator, *test)
        self.times = fitted - begun, time.perf_counter() - fitted
        self.done, self.loss, self.estimator = self.epochs, self.estimator.loss_, None


def _results(candidates, folds, runs):
    """`cv_results_` of the scores and times of all runs, candidate by candidate."""
    table = np.array([(*run.times, run.score) for run in runs]).reshape(len(candidates), folds, 3)
    results = {}
    for i, name in enumerate(("fit_time", "score_time")):
        results[f"mean_{name}"], results[f"std_{name}"] = table[..., i].mean(axis=1), table[..., i].std(axis=1)
    for name in sorted({name for parameters in candidates for name in parameters}):
        column = np.ma.MaskedArray(np.empty(len(candidates), object), mask=True)
        for i, parameters in enumerate(candidates):
            if name in parameters:
                column[i] = parameters[name]
        results[f"param_{name}"] = column
    results["params"] = candidates
    scores = table[..., 2]
    for k in range(folds):
        results[f"split{k}_test_score"] = scores[:, k]
    results["mean_test_score"], results["std_test_score"] = scores.mean(axis=1), scores.std(axis=1)
    worst_last = np.nan_to_num(-results["mean_test_score"], nan=np.inf)
    results["rank_test_score"] = rankdata(worst_last, method="min").astype(np.int32)
    return results
