"""Losses and metrics: values and gradients against Keras 3 and PyTorch, one's own, tallies, files."""

import json
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from golden.store import Reader

import fastnn as fnn
from fastnn import io, layers, losses, metrics, ops
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
        y_pred.shape[1],
        dtype,
        metrics=[plain, "mae"] if y_true.ndim > 1 else [plain],
        weighted_metrics=[weighted],
    )
    assert model.metrics_names[1] == plain.name and model.metrics_names[-1] == f"weighted_{plain.name}"
    got = model.evaluate(y_pred, y_true, sample_weight=WEIGHTS, batch_size=5, verbose=0)
    assert relative(got[1], GOLDEN.get("values", case["plain"])) <= TOLERANCE[dtype]
    assert relative(got[-1], GOLDEN.get("values", case["weighted"])) <= TOLERANCE[dtype]


# ---- one's own ----


def smooth_l1(y_true, y_pred):
    d = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(d < 1, 0.5 * d * d, d - 0.5), axis=-1)


SCALES = np.array([1.0, 0.5, 2.0])


def scaled(y_true, y_pred):
    return ops.sum(SCALES * ops.square(y_true - y_pred), axis=-1)


def whole(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


def margin(y_true, y_pred):
    right = ops.sum(ops.one_hot(y_true, 3) * y_pred, axis=-1)
    return ops.max(y_pred, axis=-1) - right


margin.sparse = True


def first_only(y_true, y_pred):
    return ops.abs(y_true[:, 0] - y_pred[:, 0])


first_only.target_shape = (1,)


class Scaled(losses.Loss):
    def __init__(self, factor, name=None):
        super().__init__(name=name)
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * losses.mean_squared_error(y_true, y_pred)


class Largest(metrics.Metric):
    def call(self, y_true, y_pred):
        return ops.max(ops.abs(y_true - y_pred), axis=-1)


OWN = {
    "smooth_l1": (
        smooth_l1,
        lambda t, p: np.where(abs(t - p) < 1, (t - p) ** 2 / 2, abs(t - p) - 0.5).mean(-1),
    ),
    "scaled": (scaled, lambda t, p: (SCALES * (t - p) ** 2).sum(-1)),
    "whole": (whole, lambda t, p: np.full(len(p), ((t - p) ** 2).mean())),
    "margin": (margin, lambda t, p: p.max(-1) - p[np.arange(len(p)), t]),
    "first_only": (first_only, lambda t, p: abs(t[:, 0] - p[:, 0])),
    "Scaled": (Scaled(3.0), lambda t, p: 3 * ((t - p) ** 2).mean(-1)),
}


def own_data(loss, count=40):
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(count, 4)), {"margin": (), "first_only": (1,)}.get(loss, (3,))
    return x, rng.integers(0, 3, count) if loss == "margin" else rng.normal(size=(count, *target)) * 2


def net(dtype="float64", **settings):
    model = fnn.Sequential([layers.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(3)], dtype=dtype)
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    model.compile(settings.pop("optimizer", "adam"), **settings)
    return model


def mean_of(formula, model, x, y):
    return lambda: float(formula(y, model.predict(x, verbose=0)).mean())


@pytest.mark.parametrize("name", OWN)
def test_own_loss_has_the_value_and_gradient_of_its_formula(name):
    loss, formula = OWN[name]
    x, y = own_data(name)
    model = net(loss=loss)
    value = mean_of(formula, model, x, y)
    assert model.evaluate(x, y, batch_size="full", verbose=0) == pytest.approx(value(), rel=1e-12)
    found = model.gradients(x, y)
    for parameter in model.weights:
        start, expected = parameter.value.copy(), np.zeros(parameter.shape)
        for i in np.ndindex(parameter.shape):
            change = np.zeros(parameter.shape)
            change[i] = 1e-6
            parameter.assign(start + change)
            above = value()
            parameter.assign(start - change)
            expected[i] = (above - value()) / 2e-6
        parameter.assign(start)
        assert relative(found[parameter.name], expected) < 1e-7


def test_own_loss_of_a_built_in_formula_trains_like_the_built_in():
    x, y = own_data("smooth_l1")

    def copied(y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    runs = [net(loss=loss).fit(x, y, epochs=4, seed=3, verbose=0).history["loss"] for loss in ("mse", copied)]
    assert runs[1] == pytest.approx(runs[0], rel=1e-12)


def test_own_losses_and_metrics_weigh_samples():
    x, y = own_data("smooth_l1")
    weights = np.random.default_rng(4).uniform(0, 2, len(x))
    model = net(loss=smooth_l1, metrics=[Largest()], weighted_metrics=[Largest("weighed"), scaled])
    loss, plain, weighed, mine = model.evaluate(x, y, sample_weight=weights, verbose=0)
    p = model.predict(x, verbose=0)
    largest = abs(y - p).max(-1)
    assert model.metrics_names == ["loss", "largest", "weighed", "scaled"]
    assert loss == pytest.approx((OWN["smooth_l1"][1](y, p) * weights).mean(), rel=1e-12)
    assert plain == pytest.approx(largest.mean(), rel=1e-12)
    assert weighed == pytest.approx(np.average(largest, weights=weights), rel=1e-12)
    assert mine == pytest.approx(np.average(OWN["scaled"][1](y, p), weights=weights), rel=1e-12)


@pytest.mark.parametrize("loss", [whole, "dice", losses.Tversky()])
def test_a_loss_of_the_whole_batch_takes_no_weights(loss):
    x, y = own_data("smooth_l1")
    model = net(loss=loss)
    with pytest.raises(ArgumentError, match="one number for the whole batch"):
        model.fit(x, y, sample_weight=np.ones(len(x)), verbose=0)
    with pytest.raises(ArgumentError, match="class_weight .* one number for the whole batch"):
        model.fit(x, y, class_weight={0: 2.0}, verbose=0)


@pytest.mark.parametrize(
    "loss, error, message",
    [
        (lambda t, p: np.float64(3), ArgumentTypeError, "must return one value per row.* got float64"),
        (lambda t, p: [p], ArgumentTypeError, "got list"),
        (lambda t, p: ops.mean(p, axis=0), ShapeError, r"or one number, got the shape \(3,\)"),
        (lambda t, p: p if p > 0 else t, ArgumentTypeError, "'<lambda>': .* ops.where"),
        (lambda t, p: t + p[:, :2], ShapeError, r"'<lambda>': ops.add cannot combine"),
        (3, ArgumentTypeError, "given by name"),
        (losses.Quantile([0.1, 0.9]), ShapeError, "one output feature for each of 2 quantiles"),
        (losses.GaussianNegativeLogLikelihood(), ShapeError, "even number"),
        (losses.CategoricalFocalCrossentropy([0.1, 0.9]), ShapeError, "2 numbers alpha"),
    ],
)
def test_mistakes_in_losses(loss, error, message):
    with pytest.raises(error, match=message):
        net(loss=loss)


@pytest.mark.parametrize(
    "metric, error, message",
    [
        (metrics.ConfusionMatrix(4), ShapeError, "num_classes=4"),
        (metrics.Precision(class_id=3), ShapeError, "class_id=3"),
        (metrics.Recall(top_k=4), ShapeError, "top_k=4"),
        (metrics.AUC(multi_label=True, num_labels=2), ShapeError, "num_labels for 2"),
        ("sparse_top_k_categorical_accuracy", ArgumentError, "takes integer labels"),
        (first_only, ArgumentError, r"targets of shape \(None, 1\)"),
        ("precison", fnn.errors.UnknownNameError, "'precision'"),
        (
            type("Kept", (metrics.Metric,), {}),
            ArgumentTypeError,
            r"Kept needs a method call\(y_true, y_pred\)",
        ),
    ],
)
def test_mistakes_in_metrics(metric, error, message):
    with pytest.raises(error, match=message):
        net(loss="mse", metrics=[metric])


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.Quantile([0.5, 1.0]),
        lambda: losses.Quantile([]),
        lambda: losses.CosineSimilarity(axis=0),
        lambda: losses.Dice(axis=1),
        lambda: losses.BinaryFocalCrossentropy(alpha=2),
        lambda: metrics.AUC(num_thresholds=1),
        lambda: metrics.AUC(curve="roc"),
        lambda: metrics.AUC(num_labels=3),
        lambda: metrics.Precision(thresholds=[0.5, 1.5]),
        lambda: metrics.Precision(thresholds=[]),
        lambda: metrics.FBetaScore(average="mean"),
        lambda: metrics.FBetaScore(beta=0.0),
        lambda: metrics.R2Score("mean"),
        lambda: metrics.TopKCategoricalAccuracy(0),
        lambda: metrics.PrecisionAtRecall(1.2),
        lambda: metrics.CategoricalCrossentropy(label_smoothing=2),
    ],
)
def test_arguments_out_of_range(make):
    with pytest.raises(ArgumentError):
        make()


def test_arrays_of_shapes_that_do_not_fit():
    p, y = np.zeros((5, 3)), np.zeros((5, 1))
    with pytest.raises(ShapeError, match="one output feature for each of 2 quantiles"):
        losses.quantile(y, p, [0.1, 0.9])
    with pytest.raises(ShapeError, match="even number"):
        losses.gaussian_negative_log_likelihood(y, p)
    with pytest.raises(ShapeError, match=r"targets of shape \(5, 2\), got \(5, 1\)"):
        losses.gaussian_negative_log_likelihood(y, np.zeros((5, 4)))
    with pytest.raises(ShapeError, match="num_classes=4"):
        metrics.ConfusionMatrix(4)(np.zeros(5, int), p)
    with pytest.raises(ShapeError, match=r"shape \(batch, features\)"):
        metrics.F1Score()(np.zeros((5, 2, 3)), np.zeros((5, 2, 3)))
    with pytest.raises(ShapeError, match="one sample weight for each of"):
        metrics.AUC()(p, p, np.ones(4))
    assert losses.quantile([1.0], [2.0, 0.0], [0.25, 0.75]) == pytest.approx((0.75 + 0.75) / 2)


def test_labels_out_of_range_are_named():
    x, y = own_data("margin")
    y[7] = 3
    with pytest.raises(fnn.errors.DataError, match="integers from 0 to 2, got 3 in row 7"):
        net(loss=margin).evaluate(x, y, verbose=0)


# ---- arrays as metrics ----


def test_confusion_matrix_counts_each_pair_of_classes():
    rng = np.random.default_rng(0)
    p, labels, weights = rng.random((50, 3)), rng.integers(0, 3, 50), rng.integers(1, 5, 50).astype(float)
    plain, weighed = np.zeros((3, 3)), np.zeros((3, 3))
    for label, guess, weight in zip(labels, p.argmax(1), weights):
        plain[label, guess] += 1
        weighed[label, guess] += weight
    for loss, y in (
        ("sparse_categorical_crossentropy", labels),
        ("categorical_crossentropy", np.eye(3)[labels]),
    ):
        model = identity(
            3,
            "float32",
            loss=loss,
            metrics=[metrics.ConfusionMatrix(3)],
            weighted_metrics=[metrics.ConfusionMatrix(3)],
        )
        got = model.evaluate(p, y, batch_size=16, sample_weight=weights, return_dict=True, verbose=0)
        assert (got["confusion_matrix"] == plain).all()
        assert (got["weighted_confusion_matrix"] == weighed).all()
        assert (metrics.ConfusionMatrix(3)(y, p, weights) == weighed).all()
    binary = identity(1, loss="mse", metrics=[metrics.ConfusionMatrix(2)])
    got = binary.evaluate(p[:, :1], labels == 1, return_dict=True, verbose=0)["confusion_matrix"]
    assert got[1, 1] == ((p[:, 0] > 0.5) & (labels == 1)).sum() and got.sum() == 50


def test_history_and_progress_show_metrics_that_are_arrays(capsys):
    x, y = own_data("margin")
    model = net(
        loss=losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[metrics.ConfusionMatrix(3)]
    )
    history = model.fit(x, y, epochs=2, validation_split=0.25, verbose=2)
    counts = history.history["confusion_matrix"], history.history["val_confusion_matrix"]
    assert [[m.sum() for m in column] for column in counts] == [[30, 30], [10, 10]]
    assert "confusion_matrix=array (3, 3)" in repr(history) and "array (3, 3)" in history._repr_html_()
    shown = capsys.readouterr().out
    assert "val_loss" in shown and "confusion" not in shown


@pytest.mark.parametrize(
    "loss, kinds",
    [
        (
            "sparse_categorical_crossentropy",
            [metrics.ConfusionMatrix(4), metrics.SparseTopKCategoricalAccuracy(2)],
        ),
        (
            "categorical_crossentropy",
            [
                metrics.ConfusionMatrix(4),
                metrics.Precision(top_k=2),
                metrics.AUC(label_weights=[1.0, 2.0, 0.5, 3.0]),
                metrics.TopKCategoricalAccuracy(2),
                metrics.CosineSimilarity(),
            ],
        ),
    ],
)
def test_rows_of_three_dimensions_count_one_by_one(loss, kinds):
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(50, 5)), rng.integers(0, 4, (50, 3)), rng.random(50)
    y = y if loss.startswith("sparse") else np.eye(4)[y]
    stack = [layers.Input((5,)), layers.Dense(12), layers.Reshape((3, 4)), layers.Activation("softmax")]
    model = fnn.Sequential(stack, dtype="float64")
    model.compile("sgd", loss, weighted_metrics=kinds)
    got, p = model.evaluate(x, y, sample_weight=weights, batch_size=16, verbose=0), model.predict(
        x, verbose=0
    )
    assert got[0] == pytest.approx(losses.get(loss)(y, p, weights), rel=1e-12)
    for value, metric in zip(got[1:], kinds, strict=True):
        assert relative(value, metric(y, p, weights)) <= 1e-12


def test_sums_do_not_depend_on_the_number_of_threads():
    x, y = own_data("scaled", 500)
    settings = {"loss": scaled, "metrics": ["auc", "r2_score", "f1_score", Largest()]}
    before, runs = fnn.get_num_threads(), []
    try:
        for threads in (1, 2):
            fnn.set_num_threads(threads)
            runs.append(
                net("float32", **settings).fit(x, y, batch_size=200, epochs=2, seed=1, verbose=0).history
            )
    finally:
        fnn.set_num_threads(before)
    assert all(np.array_equal(runs[0][k], runs[1][k]) for k in runs[0])


# ---- several outputs ----


def test_each_output_has_its_own_kinds():
    x = layers.Input((4,))
    outputs = {name: layers.Dense(size, name=name)(x) for name, size in (("a", 3), ("b", 2), ("c", 1))}
    model = fnn.Model(x, outputs, dtype="float64")
    model.compile(
        "sgd",
        loss={"a": margin, "b": losses.GaussianNegativeLogLikelihood(), "c": losses.Quantile(0.9)},
        loss_weights={"a": 1.0, "b": 2.0, "c": 3.0},
        metrics={"a": [metrics.ConfusionMatrix(3), "sparse_categorical_accuracy"], "c": ["r2_score", "mae"]},
    )
    rng = np.random.default_rng(0)
    data = rng.normal(size=(20, 4))
    y = {"a": rng.integers(0, 3, 20), "b": rng.normal(size=20), "c": rng.normal(size=20)}
    got = model.evaluate(data, y, return_dict=True, batch_size=6, verbose=0)
    p = model.predict(data, verbose=0)
    expected = {
        "a": OWN["margin"][1](y["a"], p["a"]).mean(),
        "b": losses.GaussianNegativeLogLikelihood()(y["b"], p["b"]),
        "c": losses.quantile(y["c"], p["c"], 0.9).mean(),
    }
    assert [got[f"{k}_loss"] for k in "abc"] == pytest.approx([expected[k] for k in "abc"], rel=1e-12)
    assert got["loss"] == pytest.approx(expected["a"] + 2 * expected["b"] + 3 * expected["c"], rel=1e-12)
    assert got["a_confusion_matrix"].trace() / 20 == pytest.approx(got["a_sparse_categorical_accuracy"])
    assert got["c_r2_score"] == pytest.approx(metrics.R2Score()(y["c"], p["c"]), rel=1e-10)
    assert got["c_mae"] == pytest.approx(abs(y["c"] - p["c"][:, 0]).mean(), rel=1e-12)


# ---- mixed samples ----


def mixed(loss, **settings):
    model = fnn.Sequential(
        [
            layers.Input((4,)),
            layers.MixUp(alpha=0.5, seed=1),
            layers.Dense(3, "softmax" if loss != "mse" else None),
        ],
        dtype="float64",
    )
    model.set_weights([np.linspace(-1, 1, 12).reshape(4, 3), np.zeros(3)])
    model.compile("sgd", loss=loss, **settings)
    return model


def test_targets_are_mixed_as_the_inputs_are():
    """Of a linear function mixing changes nothing, if inputs and targets are mixed alike."""
    x = np.random.default_rng(0).normal(size=(30, 4))
    model = mixed("mse", metrics=["mae"])
    y = x @ model.get_weights()[0]
    logs = model.fit(x, y, batch_size=8, epochs=2, seed=1, verbose=0).history
    assert max(logs["loss"]) < 1e-25
    assert min(logs["mae"]) > 0.01  # metrics compare with the targets as they were given
    assert model.evaluate(x, y, verbose=0)[1] < 1e-12


def test_labels_are_mixed_as_one_hot_rows():
    x, y = own_data("margin")
    sparse = mixed("sparse_categorical_crossentropy", metrics=["accuracy"])
    dense = mixed("categorical_crossentropy", metrics=["accuracy"])
    logs = [m.fit(x, t, epochs=3, seed=1, verbose=0).history for m, t in ((sparse, y), (dense, np.eye(3)[y]))]
    assert logs[0] == logs[1]
    assert sparse.evaluate(x, y, verbose=0) == dense.evaluate(x, np.eye(3)[y], verbose=0)
    with pytest.raises(ArgumentError, match="'margin' takes integer labels, which cannot be mixed"):
        mixed(margin)


# ---- files ----


@pytest.mark.parametrize("name", OWN)
def test_own_losses_are_saved_as_what_they_emit(name, tmp_path):
    x, y = own_data(name)
    own = OWN[name][0]
    model = net("float32", loss=own, metrics=[Largest() if name == "Scaled" else own])
    model.fit(x, y, epochs=2, seed=5, verbose=0)
    model.save(tmp_path / "own.fnn")
    again = fnn.load(tmp_path / "own.fnn")
    assert again.metrics_names == model.metrics_names
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    runs = [m.fit(x, y, epochs=2, seed=6, verbose=0).history for m in (model, again)]
    assert runs[0] == runs[1]
    assert all((a == b).all() for a, b in zip(model.get_weights(), again.get_weights()))
    again.save(tmp_path / "twice.fnn")
    assert fnn.load(tmp_path / "twice.fnn").evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_a_file_with_an_own_loss_needs_none_of_its_code(tmp_path):
    x, y = own_data("scaled")
    model = net(loss=scaled, metrics=[Largest(), metrics.AUC()])
    model.save(tmp_path / "own.fnn")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    code = (
        "import sys, numpy as np, fastnn as fnn\n"
        "data = np.load(sys.argv[2])\n"
        "m = fnn.load(sys.argv[1])\n"
        "h = m.fit(data['x'], data['y'], epochs=3, seed=1, verbose=0).history\n"
        "print([[v.hex() for v in h[k]] for k in ('loss', 'largest', 'auc')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "own.fnn", tmp_path / "data.npz"],
        capture_output=True,
        text=True,
    )
    history = model.fit(x, y, epochs=3, seed=1, verbose=0).history
    wanted = [[v.hex() for v in history[k]] for k in ("loss", "largest", "auc")]
    assert run.stdout.strip() == str(wanted), run.stderr


def test_what_its_call_does_not_describe_is_not_saved(tmp_path):
    class Rooted(metrics.Metric):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

        def finish(self, mean):
            return mean**0.5

    x, y = own_data("scaled")
    model = net(loss=scaled, metrics=[Rooted(), "root_mean_squared_error"])
    _, mine, built_in = model.evaluate(x, y, verbose=0)
    assert mine == pytest.approx(built_in, rel=1e-12)
    with pytest.raises(ArgumentError, match="Rooted.* cannot be saved.*its `call` alone"):
        model.save(tmp_path / "own.fnn")
    model.save(tmp_path / "own.fnn", include_optimizer=False)
    assert (fnn.load(tmp_path / "own.fnn").predict(x, verbose=0) == model.predict(x, verbose=0)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"constants": []},
        {"constants": [["0x1p0"]]},
        {"constants": [{"dtype": "<f4", "shape": [2], "data": "AAAAAAAAAAA="}]},
        {"constants": [{"dtype": "<f4", "shape": [3], "data": "no base64"}]},
        {"constants": [{"dtype": "<U1", "shape": [], "data": "AAAAAA=="}]},
        {"program": "fastnn-program 1"},
        {"sparse": True},
        {"further": 1},
    ],
)
def test_a_damaged_trace_is_a_typed_error(change):
    model = net(loss=scaled)
    tensors, metadata = io._model_content(model, True)
    settings = json.loads(metadata["compile"])
    settings["loss"][0]["config"].update(change)
    file = BytesIO()
    io.write(file, tensors, metadata | {"compile": json.dumps(settings)})
    with pytest.raises(fnn.errors.FileFormatError, match="describes no valid model"):
        io.from_bytes(file.getvalue())


def test_traced_losses_work_on_arrays_and_check_shapes():
    x, y = own_data("scaled")
    model = net(loss=scaled)
    traced = model._compiled.users["loss"][0]
    again = losses.deserialize(losses.serialize(traced))
    p = model.predict(x, verbose=0)
    assert again(y, p) == pytest.approx(OWN["scaled"][1](y, p).mean(), rel=1e-12)
    with pytest.raises(ShapeError, match="saved for predictions of shape"):
        identity(2, loss=again)
    with pytest.raises(fnn.errors.ProgramError):
        losses.TracedLoss(traced.program, [], "broken")


def test_keras_paths_lead_here():
    from fastnn import keras

    assert keras.losses.KLDivergence is losses.KLDivergence and keras.metrics.AUC is metrics.AUC
    assert keras.Loss is losses.Loss and keras.Metric is metrics.Metric


def test_mean_with_sample_weight_divides_by_the_weights_of_the_batch(rng):
    """And so does the penalty that goes with it: as one batch whose weights and penalty were divided by hand."""
    x, y, w = rng.normal(size=(37, 5)), rng.integers(0, 3, 37), rng.uniform(0.1, 2, 37)

    def made(penalty, reduction):
        dense = layers.Dense(3, "softmax", kernel_regularizer=penalty, name="d")
        model = fnn.Sequential([fnn.Input((5,)), dense], dtype="float64")
        model.compile("sgd", losses.SparseCategoricalCrossentropy(reduction=reduction))
        model.set_weights([np.arange(15).reshape(5, 3) / 10, np.zeros(3)])
        return model

    divided = made(fnn.regularizers.L2PerWeight(0.5), "mean_with_sample_weight")
    by_hand = made(fnn.regularizers.L2(0.5 / w.sum()), "sum_over_batch_size")
    loss, gradients = divided.loss_and_gradients(x, y, w)
    expected, others = by_hand.loss_and_gradients(x, y, w / w.mean())
    np.testing.assert_allclose(loss, expected)
    np.testing.assert_allclose(gradients["d/kernel"], others["d/kernel"])
    again = io.from_bytes(io.to_bytes(divided))
    assert again.loss_and_gradients(x, y, w)[0] == loss
    value = losses.MeanSquaredError(reduction="mean_with_sample_weight")([[0.0], [0.0]], [[1.0], [3.0]], [3.0, 1.0])
    assert value == (3 * 1 + 1 * 9) / 4


def test_an_own_loss_keeps_its_reduction(rng):
    x, y, w = rng.normal(size=(8, 2)), rng.normal(size=(8, 1)), rng.uniform(0.1, 2, 8)

    class Own(losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    values = []
    for loss in (Own(reduction="mean_with_sample_weight"), losses.MeanSquaredError("mean_with_sample_weight")):
        model = fnn.Sequential([fnn.Input((2,)), layers.Dense(1)], dtype="float64")
        model.compile("sgd", loss)
        model.set_weights([np.ones((2, 1)), np.zeros(1)])
        values += [m.evaluate(x, y, sample_weight=w, verbose=0) for m in (model, io.from_bytes(io.to_bytes(model)))]
    np.testing.assert_allclose(values, values[0])
