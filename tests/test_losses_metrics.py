"""Losses and metrics: values and gradients against Keras 3 and PyTorch, functions of one's own, tallies, files."""

import subprocess
import sys

import numpy as np
import pytest
from golden.store import Reader

import fastnn as fnn
from fastnn import layers, losses, metrics, ops
from fastnn.errors import ArgumentError, ArgumentTypeError, ShapeError

GOLDEN = Reader("losses")
WEIGHTS = GOLDEN.get("given", next(c["data"] for c in GOLDEN.cases if c["kind"] == "weights"))
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def of_kind(kind):
    cases = [case for case in GOLDEN.cases if case["kind"] == kind]
    return [pytest.param(case, id=f"{case['class']} {case['config']}") for case in cases]


def relative(a, b):
    """max|a - b| / max|b|; where b is 0 throughout, max|a|."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return np.abs(a - b).max() / (np.abs(b).max() or 1.0)


def given(case):
    y_true, y_pred = (GOLDEN.get("given", where) for where in case["data"])
    return (y_true.astype(np.int64) if y_true.ndim == 1 else y_true), y_pred


def identity(features, dtype="float64", **settings):
    """A model that gives back its input, compiled."""
    x = layers.Input((features,))
    model = fnn.Model(x, layers.Reshape((features,))(x), dtype=dtype)
    model.compile("sgd", **settings)
    return model


@pytest.mark.parametrize("case", of_kind("loss"))
def test_loss_of_arrays_against_golden_values(case):
    y_true, y_pred = given(case)
    loss = getattr(losses, case["class"])(**case["config"])
    assert relative(loss.call(y_true, y_pred), GOLDEN.get("values", case["rows"])) <= 1e-12
    function = getattr(losses, loss.name.removesuffix("_loss"))
    assert relative(function(y_true, y_pred, **case["config"]), GOLDEN.get("values", case["rows"])) <= 1e-12


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", of_kind("loss"))
def test_loss_and_its_gradient_against_golden_values(case, dtype):
    y_true, y_pred = given(case)
    loss = getattr(losses, case["class"])(**case["config"])
    model = identity(y_pred.shape[1], dtype, loss=loss)
    weights = None if case["class"] in ("Dice", "Tversky") else WEIGHTS
    rows = {} if weights is not None else {"batch_size": "full"}
    got = model.evaluate(y_pred, y_true, sample_weight=weights, verbose=0, **rows)
    assert relative(got, GOLDEN.get("values", case["loss"])) <= TOLERANCE[dtype]
    _, gradient = model.gradients(y_pred, y_true, sample_weight=weights, with_inputs=True)
    assert relative(gradient, GOLDEN.get("values", case["gradient"])) <= TOLERANCE[dtype]


@pytest.mark.parametrize("case", of_kind("metric"))
def test_metric_of_arrays_against_golden_values(case):
    y_true, y_pred = given(case)
    metric = getattr(metrics, case["class"])(**case["config"])
    for key, weights in (("plain", None), ("weighted", WEIGHTS)):
        metric.reset_state()
        for at in np.array_split(np.arange(len(y_pred)), 4):
            metric.update_state(y_true[at], y_pred[at], None if weights is None else weights[at])
        assert relative(metric.result(), GOLDEN.get("values", case[key])) <= 1e-12


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", of_kind("metric"))
def test_metric_in_the_engine_against_golden_values(case, dtype):
    y_true, y_pred = given(case)
    plain, weighted = (getattr(metrics, case["class"])(**case["config"]) for _ in range(2))
    model = identity(
        y_pred.shape[1], dtype, metrics=[plain, "mae"] if y_true.ndim > 1 else [plain], weighted_metrics=[weighted]
    )
    assert model.metrics_names[1] == plain.name and model.metrics_names[-1] == f"weighted_{plain.name}"
    got = model.evaluate(y_pred, y_true, sample_weight=WEIGHTS, batch_size=5, verbose=0)
    assert relative(got[1], GOLDEN.get("values", case["plain"])) <= TOLERANCE[dtype]
    assert relative(got[-1], GOLDEN.get("values", case["weighted"])) <= TOLERANCE[dtype]
