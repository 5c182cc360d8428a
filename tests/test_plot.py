"""fastnn.plot: what stands in the Axes is what was trained, counted and predicted."""

import subprocess
import sys

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, costs, errors, layers, optimizers, plot

pytest.importorskip("matplotlib")


@pytest.fixture
def ax():
    """Axes of a figure that pyplot knows nothing of."""
    from matplotlib.figure import Figure

    return Figure().subplots()


def line(name="line"):
    """y = kernel x + bias, and data for it."""
    model = fnn.Sequential([fnn.Input((1,)), layers.Dense(1, name=name)], dtype="float64")
    model.set_weights([[[-1.5]], [-1.0]])
    model.compile(optimizers.SGD(0.1), "mse")
    x = np.linspace(-1, 1, 24)[:, None]
    return model, x, 1.5 * x[:, 0] + 0.5 + 0.3 * np.cos(9 * x[:, 0])


KERNEL, BIAS = ("line/kernel", (0, 0)), ("line/bias", 0)


def lines(ax):
    return {artist.get_label(): artist for artist in ax.get_lines() if not artist.get_label().startswith("_")}


# ---- learning curves ----


def test_learning_curves_are_the_history(ax):
    model, x, y = line()
    history = model.fit(x, y, epochs=6, validation_split=0.25, validation_freq=2, verbose=0)
    assert plot.learning_curves(history, ax=ax) is ax
    found = lines(ax)
    assert found["training"].get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert found["training"].get_ydata().tolist() == history.history["loss"]
    assert found["validation"].get_xdata().tolist() == [2, 4, 6]
    assert found["validation"].get_ydata().tolist() == history.history["val_loss"]
    assert ax.get_ylabel() == "loss" and found["validation"].get_linestyle() == "--"


def test_learning_curves_of_several_runs_share_the_axes(ax):
    model, x, y = line()
    runs = {name: model.fit(x, y, epochs=2, verbose=0) for name in ("first", "second")}
    found = lines(plot.learning_curves(runs, ax=ax))
    assert list(found) == ["first, training", "second, training"]
    assert found["second, training"].get_ydata().tolist() == runs["second"].history["loss"]
    assert len({artist.get_color() for artist in found.values()}) == 2


# ---- descent ----


def path_of_fit(arguments, weights=None, **compiled):
    """The two parameters of a line after every update of `fit` itself."""
    model, x, y = line()
    if weights is not None:
        model.set_weights(weights)
    model.compile(**{"optimizer": optimizers.SGD(0.1), "loss": "mse", **compiled})
    points = [[p.item() for p in model.get_weights()]]
    watch = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: points.append([p.item() for p in model.get_weights()])
    )
    model.fit(x, y, verbose=0, callbacks=[watch], **arguments)
    return np.array(points)


def test_the_paths_of_descent_are_those_of_fit(ax):
    model, x, y = line()
    found = lines(plot.descent(model, x, y, epochs=3, resolution=5, ax=ax))
    assert list(found) == ["batch", "mini-batch", "stochastic"]
    for label, rows in (("batch", "full"), ("mini-batch", 32), ("stochastic", 1)):
        want = path_of_fit({"epochs": 3, "batch_size": rows, "seed": 0})
        assert np.array_equal(found[label].get_xydata(), want), label
    assert len(found["stochastic"].get_xydata()) == 1 + 3 * 24
    assert ax.get_xlabel() == "line/kernel[0, 0]" and ax.get_ylabel() == "line/bias[0]"


def test_each_optimizer_takes_its_own_path_from_the_same_start(ax):
    model, x, y = line()
    made = {"momentum": optimizers.SGD(0.05, momentum=0.9), "RMSprop": "rmsprop",
            "Adam": optimizers.Adam(0.1), "LBFGS": "lbfgs"}  # fmt: skip
    runs = {label: {"optimizer": o, "batch_size": "full", "epochs": 4} for label, o in made.items()}
    runs["elsewhere"] = {"start": (2.0, 1.0), "epochs": 4, "batch_size": 8, "seed": 7}
    found = lines(plot.descent(model, x, y, (KERNEL, BIAS), runs, resolution=4, ax=ax))
    for label, optimizer in made.items():
        want = path_of_fit({"epochs": 4, "batch_size": "full", "seed": 0}, optimizer=optimizer)
        assert np.array_equal(found[label].get_xydata(), want), label
    want = path_of_fit({"epochs": 4, "batch_size": 8, "seed": 7}, [[[2.0]], [1.0]])
    assert np.array_equal(found["elsewhere"].get_xydata(), want)


def test_the_surface_is_the_models_own_loss(ax):
    model, x, y = line()
    plot.descent(model, x, y, epochs=1, limits=((-2, 4), (-3, 3)), resolution=4, ax=ax)
    shades = ax.collections[0]
    losses = []
    for b in (-3, -1, 1, 3):
        for a in (-2, 0, 2, 4):
            losses.append(np.mean((a * x[:, 0] + b - y) ** 2))
    assert shades.levels[[0, -1]] == pytest.approx([min(losses), max(losses)], rel=1e-12)
    assert ax.get_xlim() == (-2, 4) and ax.get_ylim() == (-3, 3)


def test_descent_leaves_the_model_alone_and_ends_where_the_loss_does(ax):
    model, x, y = line()
    model.fit(x, y, epochs=1, verbose=0)
    weights, optimizer, history = model.get_weights(), model.optimizer, model.history
    steep = {"steep": {"optimizer": optimizers.SGD(1e100), "batch_size": "full"}}
    path = lines(plot.descent(model, x, y, runs=steep, epochs=9, resolution=3, ax=ax))["steep"].get_xydata()
    assert 2 <= len(path) <= 9 and np.isfinite(path).all()
    assert model.optimizer is optimizer and model.history is history
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights()))


def test_descent_of_a_larger_model_follows_two_of_its_parameters(ax):
    fnn.set_seed(0)
    model = fnn.Sequential([fnn.Input((1,)), layers.Dense(3, "tanh", name="h"), layers.Dense(1, name="o")])
    model.compile("adam", "mse", metrics=["mae"])
    _, x, y = line()
    first = model.get_weights()
    places = (("h/kernel", (0, 2)), ("o/bias", 0))
    found = lines(plot.descent(model, x, y, places, {"r": {}}, epochs=4, resolution=3, ax=ax))
    path = found["r"].get_xydata()
    model.set_weights(first)
    model.fit(x, y, epochs=4, seed=0, verbose=0)
    end = model.parameters["h/kernel"].value[0, 2], model.parameters["o/bias"].value[0]
    assert path[-1].tolist() == [float(e) for e in end]
    assert path[0].tolist() == [float(first[0][0, 2]), 0.0]


# ---- what a network learnt ----


def test_filters_are_the_kernels_columns(ax):
    model = fnn.Sequential([fnn.Input((2, 3)), layers.Flatten(), layers.Dense(4, name="h"), layers.Dense(1)])
    kernel = model.get_layer("h").kernel.value
    sheet = plot.filters(model, ax=ax).images[0].get_array().filled(np.nan)
    assert sheet.shape == (2 + 1 + 2, 3 + 1 + 3)
    assert np.array_equal(sheet[:2, :3], kernel[:, 0].reshape(2, 3))
    assert np.array_equal(sheet[3:, 4:], kernel[:, 3].reshape(2, 3))
    assert np.isnan(sheet[2]).all() and np.isnan(sheet[:, 3]).all()
    low, high = ax.images[0].get_clim()
    assert -low == high == np.abs(kernel).max()


def test_decision_boundary_shades_what_the_model_predicts(ax, rng):
    model = fnn.Sequential([fnn.Input((2,)), layers.Dense(1, activation="sigmoid")])
    model.set_weights([[[4.0], [0.0]], [-2.0]])  # 0.5 at x0 = 0.5
    X = rng.uniform(0, 1, (30, 2))
    y = (X[:, 0] > 0.5).astype(int)
    plot.decision_boundary(model, X, y, resolution=21, ax=ax)
    image = ax.images[0]
    left, right, low, high = image.get_extent()
    corners = np.array([[left, low], [right, low], [left, high], [right, high]])
    shown = np.asarray(image.get_array())[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert shown == pytest.approx(model.predict(corners)[:, 0])
    edge = np.concatenate([p.vertices for c in ax.collections for p in c.get_paths() if c.get_zorder() == 1])
    assert edge[:, 0] == pytest.approx(0.5, abs=1e-2)
    drawn = [c.get_offsets() for c in ax.collections if c.get_label() in ("0", "1")]
    assert np.array_equal(drawn[0], X[y == 0]) and np.array_equal(drawn[1], X[y == 1])


def test_decision_boundary_of_classes_and_of_labels(ax, rng):
    X = rng.normal(size=(20, 2))
    model = fnn.Sequential([fnn.Input((2,)), layers.Dense(3, activation="softmax")])

    class Labels:
        def predict(self, x):
            return np.array(["a", "b", "c"])[model.predict(x).argmax(1)]

    codes = []
    for predictor, y in ((model, model.predict(X)), (Labels(), None)):
        made = plot.decision_boundary(predictor, X, y, resolution=9, ax=ax).images[-1]
        codes.append(np.asarray(made.get_array()))
    left, right, low, high = made.get_extent()
    grid = np.stack(np.meshgrid(np.linspace(left, right, 9), np.linspace(low, high, 9)), -1).reshape(-1, 2)
    assert np.array_equal(codes[0].ravel(), model.predict(grid).argmax(1))
    assert np.array_equal(codes[0], codes[1])


def test_confusion_matrix_counts(ax):
    true, pred = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]
    want = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert plot.confusion_matrix(true, pred, ax=ax).images[0].get_array().tolist() == want
    assert [t.get_text() for t in ax.texts] == [str(n) for row in want for n in row]
    shares = plot.confusion_matrix(np.eye(3)[true], np.eye(3)[pred] * 0.6, ["a", "b", "c"], "true", ax)
    assert np.array_equal(shares.images[1].get_array(), np.array(want) / [[2], [1], [3]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    two = plot.confusion_matrix([0, 1, 1], [[0.2], [0.7], [0.5]], ax=ax).images[2].get_array()
    assert two.tolist() == [[1, 0], [1, 1]]


# ---- the network itself ----


def branched():
    x, extra = fnn.Input((4,), name="x"), fnn.Input((3,), name="extra")
    h = layers.Dense(4, activation="tanh", name="h")(x)
    joined = layers.Concatenate(name="join")([layers.Add(name="skip")([x, h]), extra])
    return fnn.Model([x, extra], layers.Dense(2, activation="softmax", name="out")(joined), name="net")


def test_costs_by_hand():
    """A product of n numbers counts 2 n, a bias and an activation 1 an element, moves nothing."""
    flops = {c.call.layer.name: (c.flops, c.values) for c in costs.per_call(branched())}
    want = {"h": (2 * 4 * 4 + 4 + 4, 4), "skip": (4, 4), "join": (0, 7), "out": (2 * 7 * 2 + 2 + 2, 2)}
    assert flops == want


def test_costs_are_those_outside_training():
    model = fnn.Sequential(
        [fnn.Input((8,)), layers.Dropout(0.5), layers.GaussianNoise(1.0), layers.BatchNormalization(),
         layers.Reshape((4, 2)), layers.Dense(3, use_bias=False)]
    )  # fmt: skip
    assert [c.flops for c in costs.per_call(model)] == [0, 0, 24, 0, 2 * 2 * 12]


def test_summary_names_shapes_parameters_memory_and_operations():
    said = []
    branched().summary(print_fn=said.append)
    text = said[0]
    row = next(line for line in text.splitlines() if line.startswith("h (Dense)"))
    assert row.split() == ["h", "(Dense)", "(None,", "4)", "20", "40"]
    assert "Total params: 36 (144 B)" in text
    assert "For one sample: 76 FLOPs, 68 B of layer outputs" in text
    assert "<th>FLOPs</th>" in branched()._repr_html_() and "<td>40</td>" in branched()._repr_html_()


def test_architecture_names_what_the_summary_does(ax):
    model = branched()
    assert model.plot(ax=ax) is ax
    said = [t.get_text() for t in ax.texts]
    assert {"h (Dense, tanh)", "(None, 4)   20 params", "96 B   40 FLOPs a sample"} <= set(said)
    assert {"x", "extra", "skip (Add)", "join (Concatenate)", "out (Dense, softmax)"} <= set(said)
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    kinds = [type(patch) for patch in ax.patches]
    assert kinds.count(FancyBboxPatch) == 6 and kinds.count(FancyArrowPatch) == 6


def test_architecture_of_a_shared_layer_counts_its_parameters_once(ax):
    shared, x = layers.Dense(3, name="shared"), fnn.Input((3,), name="x")
    plot.architecture(fnn.Model(x, shared(shared(x))), ax=ax)
    params = [t.get_text() for t in ax.texts if "params" in t.get_text()]
    assert params == ["(None, 3)   12 params", "(None, 3)   0 params"]


def test_neurons_and_their_weights(ax):
    model = fnn.Sequential([fnn.Input((2,)), layers.Dense(3, name="h"), layers.Dropout(0.5), layers.Dense(1)])
    model.set_weights([[[1, -2, 0.5], [0.1, 0.2, -4]], np.zeros(3), [[1], [-1], [2]], [0]])
    plot.architecture(model, "neurons", ax=ax)
    weights = [1, 0.1, -2, 0.2, 0.5, -4]
    assert len(ax.get_lines()) == 6 + 3 and [len(c.get_offsets()) for c in ax.collections] == [2, 3, 1]
    drawn = {tuple(np.ravel(a.get_xydata())): a for a in ax.get_lines()}
    first, hidden = (ax.collections[i].get_offsets() for i in (0, 1))
    for j in range(3):
        for i in range(2):
            edge = drawn[tuple(np.ravel([first[i], hidden[j]]))]
            assert edge.get_linestyle() == ("-" if weights[2 * j + i] >= 0 else "--")
            assert edge.get_linewidth() == pytest.approx(0.3 + 2.5 * abs(weights[2 * j + i]) / 4)


# ---- mistakes, and matplotlib itself ----


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda m, x, y: plot.learning_curves(m), errors.ArgumentTypeError, "History, got Sequential"),
        (lambda m, x, y: plot.learning_curves(m.fit(x, y, verbose=0), "acc"), errors.UnknownNameError,
         "'acc'.*loss"),
        (lambda m, x, y: plot.learning_curves(m.fit(x, y, verbose=0), ax=1), errors.ArgumentTypeError,
         "Axes, got int"),
        (lambda m, x, y: plot.descent(m, x, y[:3]), errors.ShapeError, "3"),
        (lambda m, x, y: plot.descent(m, x, y, (("line/kernl", 0), BIAS)), errors.UnknownNameError,
         "line/kernel"),
        (lambda m, x, y: plot.descent(m, x, y, (("line/kernel", 0), BIAS)), errors.ArgumentError,
         r"\(0,\) is no place"),
        (lambda m, x, y: plot.descent(m, x, y, (BIAS, BIAS)), errors.ArgumentError, "two different"),
        (lambda m, x, y: plot.descent(m, x, y, KERNEL), errors.ArgumentTypeError, "two pairs"),
        (lambda m, x, y: plot.descent(m, x, y, runs=["batch"]), errors.ArgumentTypeError, "dict of dicts"),
        (lambda m, x, y: plot.descent(m, x, y, start=1), errors.ShapeError, "start must be two numbers"),
        (lambda m, x, y: plot.descent(m, x, y, limits=(0, 1)), errors.ShapeError, "limits"),
        (lambda m, x, y: plot.filters(fnn.Sequential([fnn.Input((3,)), layers.Dense(2)])), errors.ShapeError,
         r"3 features.*shape=\(8, 8\)"),
        (lambda m, x, y: plot.filters(m, "lin"), errors.UnknownNameError, "'line'"),
        (lambda m, x, y: plot.filters(m, "line", (2, 2)), errors.ShapeError,
         r"1 features do not fill.*\(2, 2\)"),
        (lambda m, x, y: plot.filters(branched(), "skip"), errors.GraphError, "no kernel"),
        (lambda m, x, y: plot.decision_boundary(m, x, y), errors.ShapeError, r"two features.*\(24, 1\)"),
        (lambda m, x, y: plot.decision_boundary(1, x, y), errors.ArgumentTypeError, "predict"),
        (lambda m, x, y: plot.confusion_matrix([0, 1], [0]), errors.ShapeError, "as many predictions"),
        (lambda m, x, y: plot.confusion_matrix([0, 5], [0, 1], ["a"]), errors.ArgumentError, "6 classes"),
        (lambda m, x, y: plot.confusion_matrix([0], [0], normalize="rows"), errors.ArgumentError,
         "normalize"),
        (lambda m, x, y: plot.architecture(m, "boxes"), errors.ArgumentError, "style"),
        (lambda m, x, y: plot.architecture(branched(), "neurons"), errors.GraphError, "style='layers'"),
        (lambda m, x, y: plot.architecture(fnn.Sequential([layers.Dense(2)])), errors.GraphError,
         "input shape"),
        (lambda m, x, y: plot.architecture(m.freeze()), errors.ArgumentTypeError, "fastnn.Model"),
    ],
)  # fmt: skip
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(*line())


def test_descent_needs_compile_and_two_parameters():
    model = branched()
    with pytest.raises(errors.NotCompiledError, match="compile"):
        plot.descent(model, [np.ones((2, 4)), np.ones((2, 3))], [0, 1])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(errors.ArgumentError, match="two of the 36"):
        plot.descent(model, [np.ones((2, 4)), np.ones((2, 3))], [0, 1])


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(errors.MissingExtraError, match=r"plot.confusion_matrix needs matplotlib.*'plot'"):
        plot.confusion_matrix([0], [0])


def test_drawing_imports_matplotlib_late_and_keeps_the_backend():
    script = """
import sys, fastnn as fnn
from fastnn import plot
assert "matplotlib" not in sys.modules
import matplotlib
matplotlib.use("svg")
ax = plot.confusion_matrix([0, 1], [1, 1])
assert matplotlib.get_backend() == "svg" and ax.figure.number == 1
from matplotlib.figure import Figure
given = Figure().subplots()
assert plot.confusion_matrix([0, 1], [1, 1], ax=given) is given
from matplotlib import pyplot
assert pyplot.get_fignums() == [1]
"""
    subprocess.run([sys.executable, "-c", script], check=True)
