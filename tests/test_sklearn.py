"""fastnn.sklearn beside scikit-learn itself: its own checks of estimators, and its Perceptron as the reference."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn as fnn
from fastnn.sklearn import MLPClassifier, MLPRegressor, Perceptron


@parametrize_with_checks([MLPClassifier(), MLPRegressor(), Perceptron()])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_the_constructor_is_that_of_scikit_learn():
    assert Perceptron().get_params() == sklearn.linear_model.Perceptron().get_params()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"fit_intercept": False}, {"eta0": 0.25}, {"penalty": "l2", "alpha": 0.01}, {"penalty": "l1", "alpha": 0.0005},
     {"penalty": "elasticnet", "alpha": 0.001, "l1_ratio": 0.3, "eta0": 0.5}],
)  # fmt: skip
def test_weights_are_those_of_scikit_learn(dtype, classes, arguments, rng):
    """From the same start, with no ties on the way, in the order of the samples."""
    x, y = rng.normal(size=(150, 6)).astype(dtype), rng.integers(0, classes, 150)
    coef, intercept = rng.normal(size=(1 if classes == 2 else classes, 6)), np.zeros(1 if classes == 2 else classes)
    arguments = {"shuffle": False, "tol": None, "max_iter": 7} | arguments
    ours, theirs = Perceptron(warm_start=True, **arguments), sklearn.linear_model.Perceptron(**arguments)
    ours.set_weights(coef.astype(dtype), intercept, range(classes))
    for model, given in ((ours, {}), (theirs, {"coef_init": coef.copy(), "intercept_init": intercept.copy()})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y, **given)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=tolerance)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=tolerance)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


def test_tol_ends_at_the_epoch_of_scikit_learn(rng):
    x = rng.normal(size=(300, 4))
    y = (x.sum(axis=1) > 0) ^ (rng.random(300) < 0.1)
    start = rng.normal(size=(1, 4))
    ours = Perceptron(warm_start=True, shuffle=False).set_weights(start, 0, [False, True])
    theirs = sklearn.linear_model.Perceptron(shuffle=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.fit(x, y), theirs.fit(x, y, coef_init=start.copy(), intercept_init=np.zeros(1))
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-12)


def test_pipelines_and_searches(rng):
    x, y = rng.normal(size=(200, 5)), rng.integers(0, 3, 200)
    x[np.arange(200), y] += 6
    search = GridSearchCV(make_pipeline(StandardScaler(), Perceptron()), {"perceptron__eta0": [0.1, 1.0]}, cv=3)
    assert search.fit(x, np.array(["a", "b", "c"])[y]).best_score_ > 0.95
    assert clone(search.best_estimator_[-1]).get_params()["eta0"] == search.best_params_["perceptron__eta0"]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("penalty", [None, "l1"])
def test_early_stopping_is_that_of_scikit_learn(classes, penalty, rng):
    x, y = rng.normal(size=(300, 6)), rng.integers(0, classes, 300)
    x[np.arange(300), y] += 1.5
    units = 1 if classes == 2 else classes
    coef = rng.normal(size=(units, 6))
    arguments = {"shuffle": False, "early_stopping": True, "validation_fraction": 0.3, "penalty": penalty, "alpha": 1e-3}
    ours, theirs = Perceptron(warm_start=True, **arguments), sklearn.linear_model.Perceptron(**arguments)
    ours.set_weights(coef, np.zeros(units), range(classes)).fit(x, y)
    theirs.fit(x, y, coef_init=coef.copy(), intercept_init=np.zeros(units))
    assert ours.n_iter_ == theirs.n_iter_ > 5
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-12)


def test_a_penalty_leaves_features_out(rng):
    x = rng.normal(size=(300, 40))
    y = x[:, 0] + x[:, 1] > 0
    sparse = Perceptron(penalty="l1", alpha=0.01).fit(x, y)
    assert (sparse.coef_ == 0).sum() > 20 > (Perceptron().fit(x, y).coef_ == 0).sum() and sparse.score(x, y) > 0.9


@pytest.mark.parametrize(
    "given, message",
    [({"penalty": "l3"}, "did you mean 'l2'|one of"), ({"penalty": "l1", "alpha": -1}, "alpha must be"),
     ({"penalty": "elasticnet", "l1_ratio": 2}, "l1_ratio must be"), ({"penalty": "l2", "alpha": 2}, "eta0 \\* alpha"),
     ({"early_stopping": True, "validation_fraction": 1.0}, "validation_fraction must be")],
)  # fmt: skip
def test_arguments_that_cannot_be_used(given, message):
    with pytest.raises(fnn.errors.FastNNError, match=message):
        Perceptron(**given).fit([[0.0], [1.0]], [0, 1])


def test_partial_fit_keeps_no_samples_back():
    with pytest.raises(fnn.errors.ArgumentError, match="early_stopping"):
        Perceptron(early_stopping=True).partial_fit([[0.0], [1.0]], [0, 1], [0, 1])


def test_errors_and_warnings_are_those_of_scikit_learn():
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        Perceptron(tol=None, max_iter=5).fit([[0.0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    with pytest.raises(NotFittedError):
        Perceptron().predict([[0.0]])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        Perceptron().fit([[0.0], [1.0]], [0.5, 1])


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys\nsys.modules['sklearn'] = None\nimport fastnn\n"
        "try: fastnn.sklearn\nexcept fastnn.errors.MissingExtraError as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "fastnn.sklearn needs scikit-learn" in printed and "extra 'sklearn'" in printed
