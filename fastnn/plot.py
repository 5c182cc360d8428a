"""Pictures of networks and of their training; needs matplotlib, which the extra `plot` brings.

Every function draws on the Axes that it is given, or on those of a new figure of pyplot, and returns them.
Colours are those of Okabe and Ito, which people with colour blindness can tell apart, and what a colour says
a line or a marker says too.
"""

import math

import numpy as np

from .arguments import check_float, check_int
from .data import as_array
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    GraphError,
    MissingExtraError,
    NonFiniteLossError,
    ShapeError,
    UnknownNameError,
)
from .history import History
from .layers.base import Layer
from .model import Model, bytes_text

__all__ = ["architecture", "confusion_matrix", "decision_boundary", "descent", "filters", "learning_curves"]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
_SIGNED = "PuOr"  # from orange by white to purple


def _axes(what, ax, size=None):
    """The Axes to draw on; only where none are given is a figure made, by pyplot and its backend."""
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise MissingExtraError.of(f"plot.{what}", "matplotlib", "plot") from error
    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(figsize=size, layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise ArgumentTypeError(
            f"plot.{what}: ax must be matplotlib Axes, got {type(ax).__name__}; for example "
            "fig, ax = pyplot.subplots()"
        )
    return ax


def _check_model(what, model):
    if not isinstance(model, Model):
        raise ArgumentTypeError(f"plot.{what} takes a fastnn.Model or Sequential, got {type(model).__name__}")
    model._needs_built(f"plot.{what}")


# ---- training ----


def learning_curves(history, metric="loss", ax=None):
    """A loss or metric over the epochs, on the training data and where there are any the validation data.

    Parameters
    ----------
    history : History, or dict of str to History
        What `Model.fit` returned; several by name to compare them.
    metric : str, default "loss"
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Solid lines for training, dashed ones for validation, over epochs counted from 1.

    Raises
    ------
    UnknownNameError
        If a History has no such metric.
    MissingExtraError
        Without matplotlib.
    """
    several = isinstance(history, dict)
    runs = history if several else {"": history}
    for run in runs.values():
        if not isinstance(run, History):
            raise ArgumentTypeError(
                f"plot.learning_curves takes what fit returned, a History, got {type(run).__name__}"
            )
        if metric not in run.history:
            raise UnknownNameError.among("metric", metric, run.history)
    ax = _axes("learning_curves", ax)
    for (name, run), color in zip(runs.items(), _cycle(COLORS)):
        epochs = np.array(run.epoch) + 1
        for key, what, style in ((metric, "training", "-"), (f"val_{metric}", "validation", "--")):
            values = run.history.get(key)
            if not values:
                continue
            if np.ndim(values[0]):
                raise ArgumentError(
                    f"plot.learning_curves draws numbers, but {key!r} is an array of shape "
                    f"{np.shape(values[0])} in each epoch"
                )
            every = max(1, len(epochs) // len(values))  # validation may be rarer than training
            at = epochs[every - 1 :: every][: len(values)]
            label = f"{name}, {what}" if several else what
            ax.plot(at, values, style, color=color, label=label, marker="." if len(values) < 20 else None)
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return ax


def descent(
    model, X, y, parameters=None, runs=None, epochs=50, start=None, limits=None, resolution=50, seed=0,
    ax=None,
):  # fmt: skip
    """The loss of a model over two of its parameters, and the paths that training takes on it.

    Each run is a `fit` of a twin of the model from the same weights: its path is made of the values of the
    two parameters before training and after every update. The loss is the one that `Model.evaluate` gives
    on all data, penalties included. The model itself is not changed.

    Parameters
    ----------
    model : Model
        Compiled with a loss.
    X, y : array_like
        As in `Model.fit`.
    parameters : sequence of two (str, index), optional
        Name of a parameter and place in it: ``(("dense/kernel", (0, 0)), ("dense/bias", 0))``. May be left
        out where the model trains just two numbers.
    runs : dict of str to dict, optional
        By label what `fit` is given, such as ``{"batch": {"batch_size": "full"}}``, and beside that
        "optimizer" (by default the one that the model was compiled with) and "start". By default the same
        on all samples ("batch"), on 32 at a time ("mini-batch") and on one at a time ("stochastic").
    epochs : int, default 50
        Of a run that does not say otherwise.
    start : (float, float), optional
        Where the two parameters begin; by default where they are.
    limits : ((float, float), (float, float)), optional
        The part of the plane to draw; by default around all points with no more loss than at the start.
    resolution : int, default 50
        The loss is computed at resolution x resolution points.
    seed : int, default 0
        Of shuffling and dropout, the same for all runs that do not say otherwise.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With one line for each run, labelled by its name, whose points are those of its path. A run whose
        loss became infinite ends there.

    Raises
    ------
    NotCompiledError
        Without `compile`, or without a loss.
    UnknownNameError
        A parameter that the model does not have.
    ArgumentError, ArgumentTypeError, ShapeError, DataError
        Places outside a parameter; arguments and data as `Model.fit` refuses them.
    MissingExtraError
        Without matplotlib.

    Notes
    -----
    Where the model trains more parameters than these two, all of them move in each run: the paths are then
    seen from above, and the surface is that of the other parameters' values at the start.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Input((1,)), fnn.layers.Dense(1, name="line")])
    >>> model.compile("sgd", "mse")
    >>> X = [[-1.0], [0.0], [1.0]]
    >>> runs = {"SGD": {"optimizer": "sgd"}, "Adam": {"optimizer": fnn.optimizers.Adam(0.1)}}
    >>> ax = fnn.plot.descent(model, X, [-1.0, 1.0, 3.0], runs=runs, start=(0, 0), resolution=20)
    >>> ax.get_xlabel()
    'line/kernel[0, 0]'
    """
    _check_model("descent", model)
    model._needs_loss("plot.descent")
    places = _places(model, parameters)
    runs = _SIZES if runs is None else runs
    if not isinstance(runs, dict) or not runs or not all(isinstance(run, dict) for run in runs.values()):
        raise ArgumentTypeError(
            "plot.descent: runs must be a dict of dicts by label, such as {'batch': {'batch_size': 'full'}}, "
            f"got {runs!r}"
        )
    epochs = check_int("plot.descent", "epochs", epochs, 1)
    resolution = check_int("plot.descent", "resolution", resolution, 2)
    twin = _Twin(model, places, X, y)
    paths = {label: twin.path({"epochs": epochs, "start": start, "seed": seed, **run})
             for label, run in runs.items()}  # fmt: skip
    twin.reset(start)
    (left, right), (low, high) = _limits(limits) if limits is not None else twin.around(paths.values())
    across, up = np.linspace(left, right, resolution), np.linspace(low, high, resolution)
    losses = np.array([[twin.loss((a, b)) for a in across] for b in up])

    ax = _axes("descent", ax, (7, 5.5))
    finite = losses[np.isfinite(losses)]
    least, span = finite.min(), np.ptp(finite) or 1.0
    levels = least + span * np.linspace(0, 1, 22) ** 2  # closer together at the bottom
    ax.contourf(across, up, losses, levels, cmap="Greys", alpha=0.4, zorder=0)
    ax.contour(across, up, losses, levels, colors="0.55", linewidths=0.5, zorder=1)
    for (label, path), color, marker in zip(paths.items(), _cycle(COLORS), _cycle(MARKERS)):
        every = 1 if len(path) <= 60 else [len(path) - 1]
        ax.plot(*path.T, color=color, marker=marker, markevery=every, markersize=4, linewidth=1.3,
                label=label, zorder=3)  # fmt: skip
        ax.plot(*path[-1], marker=marker, color=color, markersize=9, markeredgecolor="white", zorder=4)
    for point in {tuple(path[0]) for path in paths.values()}:
        ax.plot(*point, marker="*", color="black", markersize=14, markeredgecolor="white", zorder=5)
    ax.set(xlim=(left, right), ylim=(low, high), xlabel=_place_text(places[0]), ylabel=_place_text(places[1]))
    ax.legend(frameon=True)
    return ax


_SIZES = {"batch": {"batch_size": "full"}, "mini-batch": {"batch_size": 32}, "stochastic": {"batch_size": 1}}


class _Twin:
    """A copy of a model that is trained and evaluated in its place, seen by two of its parameters."""

    def __init__(self, model, places, x, y):
        from . import io

        self.model, self.x, self.y = io.from_bytes(io.to_bytes(model)), x, y
        self._settings = self.model._settings | {"metrics": None, "weighted_metrics": None}
        self._optimizer = self._settings["optimizer"]
        self._weights = self.model.get_weights()
        self._places = [(self.model.parameters[name], index) for name, index in places]

    def _compile(self, optimizer):
        from . import optimizers

        made = optimizers.get(optimizer)
        if made is optimizer:  # one that may serve another run or the user's own model
            made = optimizers.get(optimizers.serialize(optimizer))
        self.model.compile(**{**self._settings, "optimizer": made})

    def point(self):
        """The two numbers."""
        return [float(parameter.value[index]) for parameter, index in self._places]

    def put(self, point):
        """Set the two numbers."""
        for (parameter, index), number in zip(self._places, point):
            value = np.array(parameter.value)
            value[index] = number
            parameter.assign(value)

    def reset(self, start=None):
        """All weights as they were when the twin was made, but for the two numbers of a start."""
        self.model.set_weights(self._weights)
        if start is not None:
            if np.shape(start) != (2,):
                raise ShapeError(f"plot.descent: start must be two numbers, got {start!r}")
            self.put([check_float("plot.descent", "start", s) for s in start])

    def loss(self, point=None):
        """The loss on all data with the two numbers at a point, or where they are."""
        if point is not None:
            self.put(point)
        made = self.model.evaluate(self.x, self.y, batch_size="full", verbose=0)
        return made[0] if isinstance(made, list) else made

    def path(self, run):
        """The points of one run, (updates + 1, 2)."""
        from .callbacks import LambdaCallback

        run = dict(run)
        optimizer, start = run.pop("optimizer", self._optimizer), run.pop("start")
        self._compile(optimizer)
        self.reset(start)
        points = [self.point()]
        watch = LambdaCallback(on_train_batch_end=lambda batch, logs: points.append(self.point()))
        callbacks = [*(run.pop("callbacks", None) or ()), watch]
        try:
            self.model.fit(self.x, self.y, **{"verbose": 0, "callbacks": callbacks, **run})
        except NonFiniteLossError:
            pass  # the path ends where the loss did
        return np.array([p for p in points if np.isfinite(p).all()])

    def around(self, paths):
        """((left, right), (low, high)) around the points of paths that lose no more than their starts."""
        kept = []
        for path in paths:
            some = path[:: max(1, len(path) // 200)]
            least = self.loss(path[0])
            kept += [path[0], *(p for p in some if self.loss(p) <= least)]
        low, high = np.min(kept, 0), np.max(kept, 0)
        margin = np.maximum(0.15 * (high - low), 0.05 * np.max(high - low) or 0.5)
        return tuple(zip(low - margin, high + margin))


def _places(model, parameters):
    """Two pairs of a parameter's name and a tuple of indices."""
    if parameters is None:
        trained = [p for p in model.weights if p.trainable]
        parameters = [(p.name, index) for p in trained if p.size <= 2 for index in np.ndindex(p.shape)]
        if sum(p.size for p in trained) != 2:
            raise ArgumentError(
                f"plot.descent: parameters are needed, two of the {sum(p.size for p in trained):,} that the "
                "model trains, such as (('dense/kernel', (0, 0)), ('dense/bias', 0))"
            )
    pairs = list(parameters) if isinstance(parameters, (list, tuple)) else []
    if len(pairs) != 2 or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise ArgumentTypeError(
            f"plot.descent: parameters must be two pairs of name and index, got {parameters!r}"
        )
    found = []
    for name, index in pairs:
        shape = model.parameters[name].shape
        index = tuple(
            check_int("plot.descent", "an index", i)
            for i in (index if isinstance(index, (list, tuple)) else (index,))
        )
        if len(index) != len(shape) or any(not 0 <= i < d for i, d in zip(index, shape)):
            raise ArgumentError(f"plot.descent: {index} is no place in {name!r} of shape {shape}")
        found.append((name, index))
    if found[0] == found[1]:
        raise ArgumentError(f"plot.descent: parameters must be two different ones, got {found[0]} twice")
    return found


def _place_text(place):
    name, index = place
    return f"{name}[{', '.join(map(str, index))}]"


def _limits(limits):
    if np.shape(limits) != (2, 2):
        raise ShapeError(f"plot.descent: limits must be ((left, right), (low, high)), got {limits!r}")
    return [[check_float("plot.descent", "limits", v) for v in pair] for pair in limits]


# ---- what a network learnt ----


def filters(model, layer=None, shape=None, count=None, ax=None):
    """The weights of a layer's neurons as pictures, for the first layer in the shape of the input.

    Parameters
    ----------
    model : Model
    layer : str or Layer, optional
        One with a kernel (features, units); by default the first.
    shape : (int, int), optional
        Height and width of a picture; by default the input's, or a square.
    count : int, optional
        How many neurons, the first ones; by default all.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With one image of all pictures in rows, on a common scale around 0: purple above, orange below.

    Raises
    ------
    ShapeError
        If the features do not fill a picture of this shape.
    GraphError
        If the layer has no kernel.
    UnknownNameError, MissingExtraError
        A layer that the model does not have; without matplotlib.
    """
    _check_model("filters", model)
    if layer is None:
        layer = next((one for one in model.layers if _kernel(one) is not None), None)
        if layer is None:
            raise GraphError(f"plot.filters: {model!r} has no layer with a kernel, such as Dense")
    elif not isinstance(layer, Layer):
        layer = model.get_layer(layer)
    kernel = _kernel(layer)
    if kernel is None:
        raise GraphError(
            f"plot.filters: layer {layer.name!r} has no kernel (features, units); choose a Dense"
        )
    weights = kernel.value.T
    features = weights.shape[1]
    if shape is None:
        given = model.inputs[0].shape[1:3]
        side = math.isqrt(features)
        shape = given if len(given) == 2 and math.prod(given) == features else (side, side)
        hint = "; give the shape of a picture, such as shape=(8, 8)"
    else:
        shape, hint = tuple(check_int("plot.filters", "shape", s, 1) for s in shape), ""
    if len(shape) != 2 or math.prod(shape) != features:
        raise ShapeError(f"plot.filters: {features} features do not fill pictures of shape {shape}{hint}")
    if count is not None:
        weights = weights[: check_int("plot.filters", "count", count, 1)]
    height, width = shape
    columns = min(len(weights), max(1, round(math.sqrt(len(weights) * height / width))))
    rows = -(-len(weights) // columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, picture in enumerate(weights.reshape(-1, height, width)):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        sheet[top : top + height, left : left + width] = picture
    ax = _axes("filters", ax)
    most = np.abs(weights).max() or 1.0
    image = ax.imshow(sheet, cmap=_SIGNED, vmin=-most, vmax=most, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="weight")
    ax.set(xticks=[], yticks=[], title=layer.name)
    ax.spines[:].set_visible(False)
    return ax


def _kernel(layer):
    kernel = getattr(layer, "kernel", None)
    return kernel if kernel is not None and len(kernel.shape) == 2 else None


def decision_boundary(model, X, y=None, threshold=0.5, resolution=200, ax=None):
    """What a model of two features says over the plane, and the samples on it.

    Parameters
    ----------
    model : Model, or any object with `predict`
        Of two features. A single output is drawn as shades with the line where it is `threshold`; of several
        the largest is the class; labels that `predict` returns are the classes.
    X : array_like, shape (n, 2)
        They also say which part of the plane is drawn.
    y : array_like, shape (n,) or (n, classes), optional
        Labels, or rows that are one-hot.
    threshold : float, default 0.5
    resolution : int, default 200
        Points on each side.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        If there are not two features, or another number of labels.
    ArgumentTypeError, MissingExtraError
        A model without `predict`; without matplotlib.
    """
    if not callable(getattr(model, "predict", None)):
        raise ArgumentTypeError(
            f"plot.decision_boundary takes a model with predict, got {type(model).__name__}"
        )
    X = as_array(X, "X of plot.decision_boundary")
    if X.ndim != 2 or X.shape[1] != 2 or not len(X):
        raise ShapeError(f"plot.decision_boundary needs X of two features, (n, 2), got {X.shape}")
    if y is not None:
        y = _labels(y)
        if y.shape != (len(X),):
            raise ShapeError(
                f"plot.decision_boundary needs one label for each of {len(X)} samples, got {y.shape}"
            )
    threshold = check_float("plot.decision_boundary", "threshold", threshold)
    resolution = check_int("plot.decision_boundary", "resolution", resolution, 2)
    low, high = X.min(0).astype(float), X.max(0).astype(float)
    margin = np.where(high > low, 0.1 * (high - low), 1.0)
    across, up = (np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin))
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    made = np.asarray(model.predict(grid))
    ax = _axes("decision_boundary", ax)
    picture = {"extent": (across[0], across[-1], up[0], up[-1]), "origin": "lower", "aspect": "auto"}
    if made.dtype.kind == "f" and made.reshape(len(made), -1).shape[1] == 1:
        from matplotlib.colors import LinearSegmentedColormap

        values = made.reshape(resolution, resolution)
        reach = np.abs(values - threshold).max() or 1.0
        shades = LinearSegmentedColormap.from_list("sides", (COLORS[1], "white", COLORS[0]))
        image = ax.imshow(values, cmap=shades, vmin=threshold - reach, vmax=threshold + reach, alpha=0.5,
                          interpolation="bilinear", **picture)  # fmt: skip
        if values.min() < threshold < values.max():
            ax.contour(across, up, values, [threshold], colors="black", linewidths=1.5, zorder=1)
        ax.figure.colorbar(image, ax=ax, label="output")
        classes, colors = np.unique(y) if y is not None else [], (COLORS[1], COLORS[0], *COLORS[2:])
    else:
        from matplotlib.colors import ListedColormap

        said = made.argmax(-1) if made.ndim == 2 else made
        classes, colors = np.unique(said if y is None else np.concatenate([said, y])), COLORS
        code = np.searchsorted(classes, said).reshape(resolution, resolution)
        many = ListedColormap([colors[i % len(colors)] for i in range(len(classes))])
        ax.imshow(code, cmap=many, vmin=-0.5, vmax=len(classes) - 0.5, alpha=0.3, interpolation="nearest",
                  **picture)  # fmt: skip
        for i in range(len(classes) - 1):
            if (code <= i).any() and (code > i).any():
                ax.contour(across, up, code, [i + 0.5], colors="black", linewidths=0.8, zorder=1)
    if y is None:
        ax.scatter(*X.T, s=18, color="black", zorder=2)
    for label, color, marker in zip(classes if y is not None else (), _cycle(colors), _cycle(MARKERS)):
        ax.scatter(*X[y == label].T, s=24, color=color, marker=marker, edgecolor="white", linewidth=0.6,
                   label=str(label), zorder=2)  # fmt: skip
    if y is not None:
        ax.legend(title="class", frameon=True)
    ax.set(xlabel="feature 0", ylabel="feature 1")
    return ax


def confusion_matrix(y_true, y_pred, labels=None, normalize=None, ax=None):
    """How often each class was taken for each.

    Parameters
    ----------
    y_true : array_like, shape (n,) or (n, classes)
        Class indices, or rows that are one-hot.
    y_pred : array_like, shape (n,), (n, 1) or (n, classes)
        Class indices, or what `Model.predict` returns: the largest is the class, of one output above 0.5.
    labels : sequence of str, optional
        Names of the classes 0, 1, ...
    normalize : {"true", "pred", "all"}, optional
        Shares of each true class, of each predicted class or of all in place of counts.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With one image: a row for each true class, a column for each predicted one.

    Raises
    ------
    ShapeError
        If there are not as many predictions as labels.
    ArgumentError, MissingExtraError
        Too few names, or another `normalize`; without matplotlib.
    """
    true, pred = _labels(y_true), _labels(y_pred)
    if true.shape != pred.shape or not len(true):
        raise ShapeError(
            f"plot.confusion_matrix needs as many predictions as labels, at least one, got "
            f"{true.shape} and {pred.shape}"
        )
    if min(true.min(), pred.min()) < 0:
        raise ArgumentError(
            f"plot.confusion_matrix needs class indices from 0, got {min(true.min(), pred.min())}"
        )
    classes = int(max(true.max(), pred.max())) + 1
    names = [str(i) for i in range(classes)] if labels is None else [str(name) for name in labels]
    if len(names) < classes:
        raise ArgumentError(f"plot.confusion_matrix: {classes} classes need as many labels, got {len(names)}")
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (true, pred), 1)
    if normalize not in (None, "true", "pred", "all"):
        raise ArgumentError(
            f"plot.confusion_matrix: normalize must be 'true', 'pred', 'all' or None, got {normalize!r}"
        )
    shown = counts
    if normalize is not None:
        total = {"true": counts.sum(1, keepdims=True), "pred": counts.sum(0), "all": counts.sum()}[normalize]
        shown = counts / np.maximum(total, 1)
    ax = _axes("confusion_matrix", ax, (max(4, 0.55 * len(names) + 1.5), max(3.5, 0.5 * len(names) + 1.2)))
    image = ax.imshow(shown, cmap="Blues", vmin=0)
    for i, j in np.ndindex(shown.shape):
        dark = shown[i, j] > 0.55 * shown.max()
        text = f"{shown[i, j]:.2f}" if normalize else f"{shown[i, j]}"
        ax.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    ax.figure.colorbar(image, ax=ax, label="share" if normalize else "samples")
    at = range(len(names))
    ax.set_xticks(at, names)
    ax.set_yticks(at, names)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def _labels(y):
    """Class indices of labels, one-hot rows or a model's outputs."""
    y = as_array(y, "the labels of a plot")
    if y.ndim == 2 and y.shape[1] > 1:
        return y.argmax(1)
    y = y.reshape(len(y)) if y.ndim == 2 else y
    if y.ndim != 1:
        raise ShapeError(f"labels need the shape (n,) or (n, classes), got {y.shape}")
    if y.dtype.kind == "f":
        whole = bool((y == np.floor(y)).all())
        return y.astype(np.int64) if whole else (y > 0.5).astype(np.int64)
    return y.astype(np.int64)


def _cycle(items):
    while True:
        yield from items


# ---- the network itself ----


def architecture(model, style="layers", ax=None):
    """The network as a graph.

    Parameters
    ----------
    model : Model
    style : {"layers", "neurons"}, default "layers"
        "layers": a box for each call of a layer, with its output's shape, parameters, memory, and operations
        for one sample. "neurons": a circle for each neuron and a line for each weight, the thicker the
        larger, solid and blue above 0, dashed and orange below; for chains of Dense layers of up to 24
        neurons.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    GraphError
        If the network is none that `style` can draw, or has no shape yet.
    ArgumentError, MissingExtraError
        An unknown style; without matplotlib.

    Notes
    -----
    Memory is that of the parameters and of what the layer returns for one sample; operations are counted as
    in `Model.summary`.
    """
    _check_model("architecture", model)
    if style == "layers":
        return _draw_layers(model, ax)
    if style == "neurons":
        return _draw_neurons(model, ax)
    raise ArgumentError(f"plot.architecture: style must be 'layers' or 'neurons', got {style!r}")


_WIDTH, _HEIGHT = 3.6, 0.72  # of a box; levels are 1.25 apart


def _draw_layers(model, ax):
    from .costs import per_call

    size = np.dtype(model.dtype).itemsize
    boxes = [(t.call, [t.name, f"{_shape(t)}"]) for t in model.inputs]
    counted = set()
    for cost in per_call(model):
        layer = cost.call.layer
        kind = type(layer).__name__
        activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
        if activation != "linear":
            kind += f", {activation}"
        params = 0 if layer in counted else sum(p.size for p in layer.weights)  # shared ones count once
        counted.add(layer)
        memory = bytes_text((params + cost.values) * size)
        shapes = " ".join(_shape(t) for t in cost.call.outputs)
        boxes.append((
            cost.call,
            [f"{layer.name} ({kind})", f"{shapes}   {params:,} params",
             f"{memory}   {cost.flops:,} FLOPs a sample"],
        ))  # fmt: skip
    given = {id(t): t.call for t in model.inputs}
    sources = {
        call: [] if i < len(given) else [given.get(id(t), t.call) for t in call.inputs]
        for i, (call, _) in enumerate(boxes)
    }
    level = {}
    for call, _ in boxes:
        level[call] = max((level[s] + 1 for s in sources[call]), default=0)
    place, depth = {}, max(level.values()) + 1
    for at in range(depth):
        row = [call for call, _ in boxes if level[call] == at]
        row.sort(key=lambda c: np.mean([place[s][0] for s in sources[c]] or [0]))
        for i, call in enumerate(row):
            place[call] = ((i - (len(row) - 1) / 2) * (_WIDTH + 0.5), -1.25 * at)
    wide = max(x for x, _ in place.values()) + _WIDTH / 2
    far = [(s, c) for c, _ in boxes for s in sources[c] if level[c] - level[s] > 1]
    sides = [_side(pair, place) for pair in far]
    left, right = (wide + 0.35 * sides.count(side) + 0.2 for side in (-1, 1))
    ax = _axes("architecture", ax, (0.95 * (left + right), 0.95 * (1.25 * depth + 0.2)))

    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path

    arrow = {"arrowstyle": "-|>", "mutation_scale": 11, "color": "0.35", "linewidth": 1.1, "zorder": 1,
             "shrinkA": 0, "shrinkB": 0}  # fmt: skip
    for call, _ in boxes:
        for source in sources[call]:
            if level[call] - level[source] == 1:
                (x0, y0), (x1, y1) = place[source], place[call]
                ends = (x0, y0 - _HEIGHT / 2), (x1, y1 + _HEIGHT / 2)
                ax.add_patch(FancyArrowPatch(*ends, **arrow))
    for i, ((source, call), side) in enumerate(zip(far, sides)):  # round the boxes between
        (x0, y0), (x1, y1), up = place[source], place[call], _HEIGHT / 4
        out = side * (wide + 0.35 * (sides[:i].count(side) + 1))
        corners = [(x0 + side * _WIDTH / 2, y0 - up), (out, y0 - up), (out, y1 + up),
                   (x1 + side * _WIDTH / 2, y1 + up)]  # fmt: skip
        ax.add_patch(FancyArrowPatch(path=Path(corners), **arrow))
    for call, lines in boxes:
        x, y = place[call]
        color = "#E8F1F8" if sources[call] else "#FFF3DC"
        ax.add_patch(FancyBboxPatch(
            (x - _WIDTH / 2 + 0.06, y - _HEIGHT / 2 + 0.06), _WIDTH - 0.12, _HEIGHT - 0.12,
            boxstyle="round,pad=0.06", facecolor=color, edgecolor="0.35", zorder=2,
        ))  # fmt: skip
        for i, line in enumerate(lines):
            drop = (i - (len(lines) - 1) / 2) * 0.21
            ax.text(x, y - drop, line, ha="center", va="center", fontsize=8 if i == 0 else 7,
                    fontweight="bold" if i == 0 else None, zorder=3)  # fmt: skip
    ax.set(xlim=(-left, right), ylim=(-1.25 * (depth - 1) - 0.6, 0.6), title=model.name)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def _side(pair, place):
    """Left (-1) or right (1): where an arrow between two boxes meets fewer others of their rows."""
    met = {
        side: sum(
            y == place[end][1] and side * x > side * place[end][0] for end in pair for x, y in place.values()
        )
        for side in (1, -1)
    }
    return min(met, key=met.get)


def _shape(tensor):
    return f"({', '.join('None' if d is None else str(d) for d in tensor.shape)})"


_NEURONS = 24


def _draw_neurons(model, ax):
    from .graph import calls_between

    chain, tensor = [], model.inputs[0]
    for call in calls_between(model.inputs, model.outputs):
        layer = call.layer
        if _kernel(layer) is not None and [*call.inputs] == [tensor] and len(tensor.shape) == 2:
            chain.append(layer)
        elif layer.weights or [*call.inputs] != [tensor] or call.outputs[0].shape != tensor.shape:
            chain = []
            break
        tensor = call.outputs[0]
    sizes = [*(c.kernel.shape[0] for c in chain[:1]), *(c.kernel.shape[1] for c in chain)]
    if len(model.inputs) > 1 or not chain or max(sizes) > _NEURONS:
        raise GraphError(
            f"plot.architecture: style='neurons' draws chains of Dense layers of up to {_NEURONS} neurons, "
            f"{model._label} is none; use style='layers'"
        )
    ax = _axes("architecture", ax, (1.6 * len(sizes) + 0.8, min(8, 0.45 * max(sizes) + 1.4)))
    place = [[(i * 2.0, (n - 1) / 2 - k) for k in range(n)] for i, n in enumerate(sizes)]
    tall = max(sizes)
    place = [[(x, y * tall / max(len(column), tall / 2)) for x, y in column] for column in place]
    for i, layer in enumerate(chain):
        kernel = layer.kernel.value
        most = np.abs(kernel).max() or 1.0
        for (a, start), (b, end) in _pairs(place[i], place[i + 1]):
            weight = kernel[a, b]
            ax.plot(
                *zip(start, end), color=COLORS[0] if weight >= 0 else COLORS[1],
                linestyle="-" if weight >= 0 else "--", linewidth=0.3 + 2.5 * abs(weight) / most, zorder=1,
            )  # fmt: skip
    names = [model.inputs[0].name, *(layer.name for layer in chain)]
    for column, name in zip(place, names):
        ax.scatter(*zip(*column), s=150, color="white", edgecolor="black", zorder=2)
        ax.text(column[0][0], -tall / 2 - 0.5, name, ha="center", va="top", fontsize=9)
    ax.set(xlim=(-0.8, 2.0 * len(sizes) - 1.2), ylim=(-tall / 2 - 1.2, tall / 2 + 0.3), title=model.name)
    ax.axis("off")
    return ax


def _pairs(left, right):
    for a, start in enumerate(left):
        for b, end in enumerate(right):
            yield (a, start), (b, end)
