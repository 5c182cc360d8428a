"""The perceptron: its rule against a plain loop, its theorem, and what it refuses."""

import _thread
import pickle
import threading
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastnn as fnn
from fastnn import datasets
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    ConvergenceWarning,
    DataError,
    DtypeError,
    NonFiniteLossError,
    NotFittedError,
    ShapeError,
    UnknownNameError,
)

GATE = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
AND, OR, NAND, XOR = (np.array(y) for y in ([0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 0]))


def unconverged(model, x, y):
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        return model.fit(x, y)


def learned_by_hand(x, y, epochs, weights=None, intercept=True):
    """theta, -b and mistakes of the rule as the textbook writes it, samples in order; y counts from 0."""
    classes = y.max() + 1
    units = [1] if classes == 2 else range(classes)
    theta, b, mistakes = np.zeros((len(units), x.shape[1])), np.zeros(len(units)), np.zeros((epochs, len(units)), int)
    weights = np.ones(classes) if weights is None else weights
    for epoch in range(epochs):
        for xi, yi in zip(x, y):
            for k, positive in enumerate(units):
                answer = 1 if theta[k] @ xi - b[k] >= 0 else 0
                error = int(yi == positive) - answer
                theta[k] += weights[yi] * error * xi
                b[k] -= weights[yi] * error * intercept
                mistakes[epoch, k] += error != 0
    return theta, -b, mistakes


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", ">f4"])
@pytest.mark.parametrize("features, classes", [(1, 2), (2, 2), (37, 2), (5, 3), (100, 4)])
@pytest.mark.parametrize("arguments", [{}, {"fit_intercept": False}, {"class_weight": {0: 2, 1: 3}}])
def test_the_rule(dtype, features, classes, arguments, rng):
    x = rng.integers(-4, 5, (50, features))
    y = rng.permutation(np.arange(50) % classes)
    weights = np.array([2.0, 3, 1, 1][:classes]) if "class_weight" in arguments else None
    theta, minus_b, mistakes = learned_by_hand(x, y, 4, weights, arguments.get("fit_intercept", True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        p = fnn.Perceptron(shuffle=False, max_iter=4, **arguments).fit(x.astype(dtype), y)
    assert p.coef_.dtype == ("float32" if dtype in ("float32", ">f4") else "float64")
    np.testing.assert_array_equal(p.coef_, theta)
    np.testing.assert_array_equal(p.intercept_, minus_b)
    np.testing.assert_array_equal(p.mistakes_, mistakes[: p.n_iter_])
    assert p.n_iter_ == 4 or not mistakes[p.n_iter_ - 1].any()
    decision = x @ theta.T + minus_b
    np.testing.assert_array_equal(p.decision_function(x), decision[:, 0] if classes == 2 else decision)
    expected = decision[:, 0] >= 0 if classes == 2 else decision.argmax(axis=1)
    np.testing.assert_array_equal(p.predict(x), expected)
    assert p.score(x, y) == (expected == y).mean()


@given(
    x=arrays(np.int64, st.tuples(st.integers(2, 25), st.integers(1, 4)), elements=st.integers(-5, 5)),
    plane=arrays(np.int64, 5, elements=st.integers(-3, 3)), seed=st.integers(0, 9), eta0=st.sampled_from([1, 0.5, 4]),
)  # fmt: skip
def test_at_most_r_over_gamma_squared_mistakes(x, plane, seed, eta0):
    """Novikoff's bound, in the space where b is the weight of a constant 1; whole numbers, so nothing is rounded."""
    extended = np.column_stack([2 * x, np.ones(len(x), int)])
    u = plane[-extended.shape[1] :]
    u[-1] = 2 * u[-1] + 1  # odd beside even numbers: no sample lies on the plane
    y = extended @ u >= 0
    assume(0 < y.sum() < len(y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = fnn.Perceptron(random_state=seed, eta0=eta0, max_iter=10**6).fit(2 * x, y)
    radius, margin = (extended**2).sum(axis=1).max(), np.abs(extended @ u).min() / np.sqrt((u**2).sum())
    assert p.mistakes_.sum() <= radius / margin**2 * (1 + 1e-12)
    assert p.score(2 * x, y) == 1 and not p.mistakes_[-1].any()


def test_more_than_two_classes_are_separated(rng):
    """One class against the rest is separable here: the classes are the corners of a simplex."""
    y = rng.integers(0, 4, 300)
    x = np.eye(4)[y] * 3 + rng.uniform(-0.7, 0.7, (300, 4))
    p = fnn.Perceptron().fit(x, np.array(list("dbca"))[y])
    assert p.classes_.tolist() == list("abcd") and p.score(x, np.array(list("dbca"))[y]) == 1
    assert p.mistakes_.shape == (p.n_iter_, 4) and p.coef_.shape == (4, 4) and not p.mistakes_[-1].any()


def test_a_tie_is_a_one():
    p = fnn.Perceptron().set_weights([[1, -1]], 0, ["no", "yes"])
    assert p.predict([[2, 2], [1, 2]]).tolist() == ["yes", "no"]
    # From zero, a first sample that is a 1 is no mistake, and one that is a 0 is.
    assert fnn.Perceptron(shuffle=False).fit([[3.0], [-3]], [1, 0]).mistakes_[0] == 1


def test_gates_by_hand_and_learned():
    by_hand = {"and": ([1, 1], -1.5, AND), "or": ([1, 1], -0.5, OR), "nand": ([-1, -1], 1.5, NAND), "majority": ([1, 1], -1, OR)}
    for coef, intercept, y in by_hand.values():
        assert fnn.Perceptron().set_weights(coef, intercept).predict(GATE).tolist() == y.tolist()
        assert fnn.Perceptron().fit(GATE, y).score(GATE, y) == 1
    hidden = [fnn.Perceptron().set_weights(c, i).predict(GATE) for c, i, _ in (by_hand["or"], by_hand["nand"])]
    assert fnn.Perceptron().set_weights([1, 1], -1.5).predict(np.stack(hidden, axis=1)).tolist() == XOR.tolist()


def test_no_line_separates_xor():
    p = unconverged(fnn.Perceptron(max_iter=50), GATE, XOR)
    assert p.n_iter_ == 50 and p.mistakes_[:, 0].all() and p.score(GATE, XOR) < 1
    assert fnn.Perceptron(max_iter=50, tol=1e-3, n_iter_no_change=3).fit(GATE, XOR).n_iter_ < 50  # no warning


def test_partial_fit_is_an_epoch_and_warm_start_goes_on(rng):
    x, y = rng.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    whole = unconverged(fnn.Perceptron(max_iter=3), x, y)
    parts = fnn.Perceptron()
    for _ in range(3):
        parts.partial_fit(x, y, classes=[0, 1])
    warm = fnn.Perceptron(max_iter=1, warm_start=True, shuffle=False)
    again = fnn.Perceptron(max_iter=2, shuffle=False)
    for model in (warm, warm, again):
        unconverged(model, x, y)
    for one, two in ((whole, parts), (warm, again)):
        np.testing.assert_array_equal(one.coef_, two.coef_)
        np.testing.assert_array_equal(one.intercept_, two.intercept_)
    assert parts.n_iter_ == 1 and parts.mistakes_.shape == (1, 1)
    kept, before = parts.coef_, parts.coef_.copy()
    parts.partial_fit(x[::-1], y)
    np.testing.assert_array_equal(kept, before)
    one_class = fnn.Perceptron().partial_fit(x[:1], y[:1], classes=[0, 1, 2])
    assert one_class.coef_.shape == (3, 3) and one_class.coef_[0].tolist() == [0, 0, 0]
    by_hand = fnn.Perceptron(warm_start=True).set_weights([1, 1], -1.5).fit(GATE, AND)
    assert by_hand.mistakes_.tolist() == [[0]] and by_hand.coef_.tolist() == [[1, 1]]


def test_orders_follow_from_the_seed(rng):
    x, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)

    def coef(source):
        return unconverged(fnn.Perceptron(max_iter=2, random_state=source), x, y).coef_.tolist()

    assert coef(0) == coef(0) != coef(1)
    assert coef(np.random.RandomState(5)) == coef(np.random.RandomState(5)) != coef(np.random.RandomState(6))
    assert coef(np.random.default_rng(5)) == coef(np.random.default_rng(5))
    assert coef(None) != coef(None)
    fnn.set_seed(3)
    first = coef(None)
    fnn.set_seed(3)
    assert coef(None) == first


def test_balanced_weights_are_those_of_the_counts(rng):
    x, y = rng.normal(size=(40, 3)), np.arange(40) % 4 == 0
    balanced = unconverged(fnn.Perceptron(class_weight="balanced", max_iter=5), x, y)
    given = unconverged(fnn.Perceptron(class_weight={False: 40 / 60, True: 40 / 20}, max_iter=5), x, y)
    np.testing.assert_array_equal(balanced.coef_, given.coef_)
    ignored = fnn.Perceptron(class_weight={True: 0}).fit(x, y)
    assert not ignored.predict(x[~y]).any()  # only the others count, and they are separable from nothing


def test_layouts_give_the_same_bits(rng):
    x, y = rng.normal(size=(60, 7)), rng.integers(0, 2, 60)
    expected = unconverged(fnn.Perceptron(max_iter=3), x, y)
    wide = np.zeros((120, 14))
    wide[::2, ::2] = x
    for layout in (x.tolist(), wide[::2, ::2], np.asfortranarray(x), x.astype(">f8"), memoryview(x)):
        p = unconverged(fnn.Perceptron(max_iter=3), layout, y.tolist())
        np.testing.assert_array_equal(p.coef_, expected.coef_)
        np.testing.assert_array_equal(p.decision_function(layout), expected.decision_function(x))
    again = pickle.loads(pickle.dumps(expected))
    np.testing.assert_array_equal(again.partial_fit(x, y).coef_, expected.partial_fit(x, y).coef_)


def test_digits():
    x, y = datasets.load_digits()
    p = unconverged(fnn.Perceptron(max_iter=50), x, y)
    assert p.score(x, y) > 0.94 and p.decision_function(x).shape == (1797, 10)


def test_verbose_prints_each_epoch(capsys):
    p = fnn.Perceptron(verbose=1).fit(GATE, AND)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == p.n_iter_ and lines[-1] == f"epoch {p.n_iter_}: 0 mistakes, loss 0"


def test_an_interrupt_keeps_the_weights_of_the_last_epoch():
    p = fnn.Perceptron(max_iter=10**8)
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        p.fit(GATE, XOR)
    timer.join()
    assert 0 < p.n_iter_ == len(p.mistakes_) < 10**8 and p.predict(GATE).shape == (4,)


def test_overflow_is_an_error():
    x = np.float32([[3e38, 1], [3e38, -1]])
    with pytest.raises(NonFiniteLossError, match="range of float32 in epoch 1") as caught:
        fnn.Perceptron(eta0=1e5).fit(x, [0, 1])
    assert caught.value.epoch == 0


FITTED = fnn.Perceptron().fit(GATE, AND)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ArgumentError, r"eta0 must be in \(0, inf\), got 0", lambda: fnn.Perceptron(eta0=0)),
        (ArgumentError, "max_iter must be at least 1, got 0", lambda: fnn.Perceptron(max_iter=0)),
        (ArgumentTypeError, "max_iter must be an integer, got 2.5", lambda: fnn.Perceptron(max_iter=2.5)),
        (ArgumentError, "class_weight must be a dict, 'balanced' or None, got 'even'", lambda: fnn.Perceptron(class_weight="even")),
        (ArgumentTypeError, "random_state must be an integer, got 'a'", lambda: fnn.Perceptron(random_state="a").fit(GATE, AND)),
        (UnknownNameError, "class in class_weight '3'; known are 0, 1", lambda: fnn.Perceptron(class_weight={3: 1}).fit(GATE, AND)),
        (ShapeError, r"X of shape \(n_samples, n_features\), got \(4,\); one sample", lambda: fnn.Perceptron().fit(AND, AND)),
        (ShapeError, r"y of shape \(4,\), a class for each row of X, got \(4, 1\); pass y.ravel", lambda: fnn.Perceptron().fit(GATE, AND[:, None])),
        (ShapeError, r"got \(0, 2\)", lambda: fnn.Perceptron().fit(GATE[:0], AND[:0])),
        (DtypeError, "real numbers", lambda: fnn.Perceptron().fit(GATE.astype(str), AND)),
        (DataError, "got nan at row 2, column 1", lambda: fnn.Perceptron().fit([[0, 1], [1, 2], [3, np.nan]], [0, 1, 1])),
        (DataError, "needs classes in y, got float64", lambda: fnn.Perceptron().fit(GATE, AND + 0.5)),
        (DataError, "at least 2 classes, got 1 class", lambda: fnn.Perceptron().fit(GATE, AND * 0)),
        (NotFittedError, "call fit, partial_fit or set_weights", lambda: fnn.Perceptron().predict(GATE)),
        (ShapeError, r"expects 2 features, got X of shape \(4, 3\)", lambda: FITTED.predict(np.zeros((4, 3)))),
        (ShapeError, r"score needs y of shape \(4,\), got \(3,\)", lambda: FITTED.score(GATE, AND[:3])),
        (ArgumentError, "needs classes", lambda: fnn.Perceptron().partial_fit(GATE, AND)),
        (UnknownNameError, "class in Perceptron.partial_fit's y '2'", lambda: fnn.Perceptron().partial_fit(GATE, AND * 2, [0, 1])),
        (ArgumentError, "has the classes", lambda: pickle.loads(pickle.dumps(FITTED)).partial_fit(GATE, AND, [0, 2])),
        (ArgumentError, "give class_weight as a dict", lambda: fnn.Perceptron(class_weight="balanced").partial_fit(GATE, AND, [0, 1])),
        (ArgumentError, "goes on with the classes", lambda: fnn.Perceptron(warm_start=True).set_weights([1, 1]).fit(GATE, AND * 2)),
        (ShapeError, r"coef of shape \(3, n_features\) for the 3 classes", lambda: fnn.Perceptron().set_weights([1, 1], classes=[0, 1, 2])),
        (ShapeError, r"intercept of shape \(1,\), got \(2,\)", lambda: fnn.Perceptron().set_weights([1, 1], [1, 1])),
        (ArgumentError, "ascending order", lambda: fnn.Perceptron().set_weights([1, 1], classes=[1, 0])),
        (DataError, "finite", lambda: fnn.Perceptron().set_weights([1, np.inf])),
    ],
)  # fmt: skip
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call()
