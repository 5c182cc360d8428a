"""Layers, one row each: shapes, parameters, configurations, errors; and what their arguments can be."""

import functools
import json
import math
import pickle

import numpy as np
import pytest
from gradcheck import assert_close

from fastnn import (
    activations,
    initializers,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
    regularizers,
    schedules,
    seeds,
)
from fastnn import errors as errors_module
from fastnn.backends import xp
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    DtypeError,
    FastNNError,
    GraphError,
    ShapeError,
    UnknownNameError,
)
from fastnn.graph import trace
from fastnn.registry import auto_name, reset_names


@pytest.fixture(autouse=True)
def fresh_names():
    reset_names()


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Layer, shapes of its inputs without the batch, number of parameters, shape of its output, its function of
# (inputs, parameters).
CONTRACTS = [
    (lambda: layers.Dense(5), [(3,)], 20, (5,), lambda x, w, b: x @ w + b),
    (lambda: layers.Dense(5, use_bias=False), [(3,)], 15, (5,), lambda x, w: x @ w),
    (lambda: layers.Dense(5, activation="tanh"), [(2, 3)], 20, (2, 5), lambda x, w, b: np.tanh(x @ w + b)),
    (lambda: layers.Dense(1), [(2, 2, 2, 2, 2, 2, 3)], 4, (2, 2, 2, 2, 2, 2, 1), lambda x, w, b: x @ w + b),
    (lambda: layers.Activation("relu"), [(3,)], 0, (3,), lambda x: np.maximum(x, 0)),
    (lambda: layers.Activation("linear"), [(3,)], 0, (3,), lambda x: x),
    (lambda: layers.Dropout(0.5), [(3,)], 0, (3,), lambda x: x),
    (lambda: layers.Dropout(0), [(3,)], 0, (3,), lambda x: x),
    (lambda: layers.Flatten(), [(2, 3)], 0, (6,), lambda x: x.reshape(len(x), 6)),
    (lambda: layers.Flatten(), [()], 0, (1,), lambda x: x[:, None]),
    (lambda: layers.Flatten(), [(4,)], 0, (4,), lambda x: x),
    (lambda: layers.Reshape((3, -1)), [(2, 6)], 0, (3, 4), lambda x: x.reshape(len(x), 3, 4)),
    (lambda: layers.Reshape((12,)), [(2, 6)], 0, (12,), lambda x: x.reshape(len(x), 12)),
    (lambda: layers.Concatenate(), [(2,), (3,)], 0, (5,), lambda x, y: np.concatenate([x, y], 1)),
    (lambda: layers.Concatenate(axis=1), [(2, 3), (4, 3)], 0, (6, 3), lambda x, y: np.concatenate([x, y], 1)),
    (
        lambda: layers.Concatenate(axis=-2),
        [(2, 3), (4, 3)],
        0,
        (6, 3),
        lambda x, y: np.concatenate([x, y], 1),
    ),
    (lambda: layers.Add(), [(3,), (3,), (3,)], 0, (3,), lambda x, y, z: x + y + z),
    (lambda: layers.Multiply(), [(3,), (3,)], 0, (3,), lambda x, y: x * y),
    (lambda: layers.ReLU(), [(3,)], 0, (3,), lambda x: np.maximum(x, 0)),
    (lambda: layers.ReLU(negative_slope=0.1), [(3,)], 0, (3,), lambda x: np.where(x > 0, x, 0.1 * x)),
    (lambda: layers.LeakyReLU(), [(3,)], 0, (3,), lambda x: np.where(x > 0, x, 0.3 * x)),
    (lambda: layers.ELU(0.5), [(3,)], 0, (3,), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    (lambda: layers.Softmax(), [(3,)], 0, (3,), softmax),
]


@pytest.mark.parametrize("make, shapes, count, out, function", CONTRACTS)
def test_contract(make, shapes, count, out, function):
    layer = make()
    xs = [layers.Input(s) for s in shapes]
    y = layer(xs if len(xs) > 1 else xs[0])
    assert y.shape == (None, *out) and layer.count_params() == count
    assert layer.output is y and (layer.input is xs[0] if len(xs) == 1 else layer.input == xs)

    program, params = trace(xs, [y], "float64")
    rng = np.random.default_rng(1)
    values = {i: rng.normal(size=(4, *s)) for i, s in enumerate(shapes)}
    weights = {i: rng.normal(size=p.shape) for i, p in params}
    known = xp.run(program, values | weights, "predict")
    assert_close(known[program.roots[0].tensor], function(*values.values(), *weights.values()), 1e-14)

    config = json.loads(json.dumps(layers.serialize(layer)))
    again = layers.deserialize(config)
    assert type(again) is type(layer) and layers.serialize(again) == config


@pytest.mark.parametrize(
    "make, shapes, message",
    [
        (
            lambda: layers.Dense(5, name="h"),
            [()],
            r"Dense 'h' expects inputs of at least 2 dimensions.*got \(None,\)",
        ),
        (
            lambda: layers.Add(name="h"),
            [(3,), (4,)],
            r"Add 'h' expects tensors whose shapes broadcast, got \(None, 3\), \(None, 4\)",
        ),
        (lambda: layers.Multiply(name="h"), [(3,), (3, 2)], "Multiply 'h' expects tensors whose shapes broad"),
        (lambda: layers.Concatenate(name="h"), [(3, 2), (4, 3)], "agree in every dimension but 2"),
        (lambda: layers.Concatenate(name="h"), [(3,), (4, 3)], "agree in every dimension but 1"),
        (
            lambda: layers.Concatenate(axis=0, name="h"),
            [(3,), (3,)],
            "axis must name a dimension after the batch",
        ),
        (
            lambda: layers.Concatenate(axis=2, name="h"),
            [(3,), (3,)],
            "axis must name a dimension after the batch",
        ),
        (lambda: layers.Reshape((5, 2), name="h"), [(3, 4)], r"\(12 elements\) the shape \(5, 2\)"),
        (lambda: layers.Reshape((5, -1), name="h"), [(3, 4)], r"\(12 elements\) the shape \(5, -1\)"),
        (lambda: layers.Dense(5, name="h"), [(3,), (4,)], "'h' takes one tensor, got a list of 2"),
        (lambda: layers.Add(name="h"), [(3,)], "'h' takes a list of tensors"),
    ],
)
def test_shapes_that_do_not_fit(make, shapes, message):
    xs = [layers.Input(s) for s in shapes]
    with pytest.raises(ValueError, match=message) as caught:
        make()(xs if len(xs) > 1 else xs[0])
    assert isinstance(caught.value, FastNNError)


def test_a_layer_called_again_checks_its_features():
    layer = layers.Dense(5, name="h1")
    layer(layers.Input((784,)))
    with pytest.raises(ShapeError, match=r"Dense 'h1' expects inputs of 784 features, got \(None, 783\)"):
        layer(layers.Input((783,)))


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda: layers.Dense(0), ArgumentError),
        (lambda: layers.Dense(2.5), ArgumentTypeError),
        (lambda: layers.Dense(True), ArgumentTypeError),
        (lambda: layers.Dense(2, activation="rellu"), UnknownNameError),
        (lambda: layers.Dense(2, activation=3), ArgumentTypeError),
        (lambda: layers.Dense(2, kernel_initializer="glorot"), UnknownNameError),
        (lambda: layers.Dense(2, kernel_regularizer="L3"), UnknownNameError),
        (lambda: layers.Dense(2, name="a/b"), ArgumentError),
        (lambda: layers.Dense(2, name=7), ArgumentError),
        (lambda: layers.Dense(2, dtype="int8"), DtypeError),
        (lambda: layers.Dropout(1.0), ArgumentError),
        (lambda: layers.Dropout(-0.1), ArgumentError),
        (lambda: layers.Dropout("0.5"), ArgumentTypeError),
        (lambda: layers.Dropout(0.5, noise_shape=(1, 2)), ArgumentError),
        (lambda: layers.Reshape((-1, -1)), ShapeError),
        (lambda: layers.Reshape((0,)), ShapeError),
        (lambda: layers.Flatten(data_format="channels_first"), ArgumentError),
        (lambda: layers.ReLU(max_value=6), ArgumentError),
        (lambda: layers.ReLU(negative_slope=-1), ArgumentError),
        (lambda: layers.Input(), ArgumentError),
        (lambda: layers.Input(64), ArgumentError),
        (lambda: layers.Input((None, 3)), ShapeError),
        (lambda: layers.Input((0,)), ShapeError),
        (lambda: layers.Input((1,) * 8), ShapeError),
        (lambda: layers.Input((3,), dtype="complex64"), DtypeError),
        (lambda: regularizers.L2(-1), ArgumentError),
        (lambda: regularizers.L1(float("nan")), ArgumentError),
        (lambda: initializers.VarianceScaling(0), ArgumentError),
        (lambda: initializers.RandomUniform(1, 0), ArgumentError),
        (lambda: optimizers.SGD(momentum=1.5), ArgumentError),
        (lambda: optimizers.SGD(-1), ArgumentError),
        (lambda: optimizers.SGD(clipnorm=1, clipvalue=1), ArgumentError),
        (lambda: optimizers.SGD(clipnorm=0), ArgumentError),
        (lambda: optimizers.SGD(decay=0.1), UnknownNameError),
        (lambda: optimizers.Adam(use_ema=True), ArgumentError),
        (lambda: optimizers.Adam(beta_1=1.0), ArgumentError),
        (lambda: optimizers.AdamW(weight_decay=None), ArgumentTypeError),
        (lambda: losses.Huber(0), ArgumentError),
        (lambda: losses.MeanSquaredError(reduction="sum"), ArgumentError),
        (lambda: losses.CategoricalCrossentropy(label_smoothing=1.5), ArgumentError),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=0), ArgumentError),
        (lambda: losses.LossFunctionWrapper(3), ArgumentTypeError),
        (lambda: losses.get(3), ArgumentTypeError),
        (lambda: metrics.get("accurcy"), UnknownNameError),
        (lambda: schedules.PiecewiseConstantDecay([3, 2], [1, 2, 3]), ArgumentError),
        (lambda: schedules.PiecewiseConstantDecay([3], [1]), ArgumentError),
        (lambda: schedules.CosineDecay(0.1, 0), ArgumentError),
        (lambda: seeds.set_seed(-1), ArgumentError),
        (lambda: activations.softmax(np.zeros((2, 2, 2)), axis=1), ArgumentError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()


def test_layers_are_called_on_symbolic_tensors():
    with pytest.raises(ArgumentTypeError, match="give arrays to a Model"):
        layers.Dense(2)(np.zeros((3, 4)))
    with pytest.raises(GraphError, match="at least one tensor"):
        layers.Add()([])
    with pytest.raises(GraphError, match="where they begin"):
        layers.Input((3,)).call.layer(layers.Input((3,)))


def test_names_count_up():
    x = layers.Input((3,))
    assert [layers.Dense(1).name for _ in range(3)] == ["dense", "dense_1", "dense_2"]
    assert layers.LeakyReLU().name == "leaky_re_lu" and layers.ReLU().name == "re_lu"
    assert layers.Input((3,)).name == "input_layer_1" and x.name == "input_layer"
    layer = layers.Dense(1, name="mine")
    layer(x)
    assert [w.name for w in layer.weights] == ["mine/kernel", "mine/bias"]
    reset_names()
    assert auto_name("dense") == "dense"


# ---- parameters ----


def test_weights_read_and_written():
    layer = layers.Dense(2)
    with pytest.raises(GraphError, match="no parameters yet"):
        layer.count_params()
    layer(layers.Input((3,)))
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 2) and kernel.dtype == np.float32 and not bias.any()
    assert abs(kernel).max() <= math.sqrt(6 / 5)
    assert (layer.kernel.value == kernel).all()
    with pytest.raises(ValueError):
        layer.kernel.value[0, 0] = 1
    layer.set_weights([kernel + 1, np.array([1, 2])])
    assert (layer.bias.value == [1, 2]).all()
    with pytest.raises(ShapeError, match="2 weights, got 1"):
        layer.set_weights([kernel])
    with pytest.raises(ShapeError, match=r"'dense/bias' has shape \(2,\)"):
        layer.set_weights([kernel, np.zeros(3)])
    assert (layer.kernel.value == kernel + 1).all()
    with pytest.raises(ShapeError):
        layer.kernel.assign(np.zeros((2, 3)))
    with pytest.raises(DtypeError):
        layer.kernel.assign(np.full((3, 2), "a"))


def test_a_model_gives_parameters_its_dtype():
    x = layers.Input((3,))
    drawn, assigned = layers.Dense(2, kernel_initializer=initializers.RandomNormal(seed=1)), layers.Dense(2)
    y = assigned(drawn(x))
    single = drawn.kernel.value
    assigned.kernel.assign(np.full((2, 2), 0.1))
    trace([x], [y], "float64")
    assert drawn.kernel.value.dtype == np.float64
    assert (drawn.kernel.value.astype(np.float32) == single).all() and (drawn.kernel.value != single).any()
    assert (assigned.kernel.value == np.float32(0.1)).all()


class Store:
    """Stands in for the engine's store of one parameter."""

    dtype = "float32"

    def write(self, array):
        self.array = array.copy()

    def read(self, out):
        out[...] = self.array


def test_a_store_holds_the_value_once_it_is_attached():
    layer = layers.Dense(2)
    x = layers.Input((3,))
    y = layer(x)
    before, store = layer.kernel.value, Store()
    layer.kernel.attach(store)
    assert (store.array == before).all() and (layer.kernel.value == before).all()
    layer.kernel.assign(before + 1)
    assert (store.array == before + 1).all()
    layer.kernel.attach(Store())
    assert layer.kernel._storage is store
    with pytest.raises(DtypeError, match="belongs to a model of float32"):
        trace([x], [y], "float64")


def test_trainable():
    layer = layers.Dense(2)
    layer(layers.Input((3,)))
    assert len(layer.trainable_weights) == 2 and not layer.non_trainable_weights
    layer.trainable = False
    assert not layer.trainable_weights and len(layer.non_trainable_weights) == 2
    layer.trainable = True
    assert len(layer.trainable_weights) == 2


def test_a_layer_of_one_s_own():
    class Scale(layers.Layer):
        def build(self, shape):
            self.bias = self.add_weight(shape[-1:], "ones", trainable=False)

        def call(self, x):
            from fastnn.graph import emit

            return emit("bias_add", x, self.bias)

    layer = Scale()
    x = layers.Input((3,))
    program, params = trace([x], [layer(x)])
    assert params[0][1].name == "scale/weight" and not params[0][1].trainable
    layer.trainable = True
    assert not params[0][1].trainable
    with pytest.raises(UnknownNameError):
        layers.serialize(layer)


def test_dropout_keys():
    x = layers.Input((3,))
    h = layers.Dropout(0.5)(layers.Dropout(0.5)(x))
    shared = layers.Dropout(0.5, seed=3)
    y = layers.Dropout(0.5, seed=4)(shared(shared(h)))
    program, _ = trace([x], [y])
    keys = [int(program.attrs(n)["key"]) for n in program.nodes]
    assert keys[:2] == [0, 1] and keys[2] == keys[3] != keys[4] and min(keys[2:]) >= 1 << 15


# ---- activations, initializers, schedules, losses on arrays ----


@pytest.mark.parametrize("name", sorted(activations._FUNCTIONS))
def test_activation_by_name_on_arrays_and_tensors(name):
    function = activations.get(name)
    assert activations.get(function) is function and activations.serialize(function) == name
    x = np.array([[-1.0, 0.5]], np.float32)
    assert function(x).dtype == np.float32
    assert_close(function([[-1, 1]]), function(np.array([[-1.0, 1.0]])), 0)
    y = function(layers.Input((2,)))
    assert y.shape == (None, 2)


def test_activations_with_arguments():
    half = functools.partial(activations.leaky_relu, negative_slope=0.5)
    config = layers.serialize(layers.Dense(2, activation=half))
    assert config["config"]["activation"] == {"name": "leaky_relu", "negative_slope": 0.5}
    again = layers.deserialize(json.loads(json.dumps(config)))
    assert again.activation(np.array([-2.0])).tolist() == [-1.0]
    y = activations.leaky_relu(layers.Input((2,)), 0.25)
    assert y.call.layer.get_config()["activation"] == {"name": "leaky_relu", "negative_slope": 0.25}
    assert activations.get("swish") is activations.silu
    with pytest.raises(UnknownNameError, match="'relu'"):
        activations.get("relo")
    with pytest.raises(DtypeError):
        activations.relu(np.array(["a"]))


@pytest.mark.parametrize(
    "name, bound, deviation",
    [
        ("glorot_uniform", math.sqrt(6 / 500), math.sqrt(2 / 500)),
        ("he_uniform", math.sqrt(6 / 300), math.sqrt(2 / 300)),
        ("lecun_uniform", math.sqrt(3 / 300), math.sqrt(1 / 300)),
        ("glorot_normal", 2 * math.sqrt(2 / 500) / 0.8796, math.sqrt(2 / 500)),
        ("he_normal", 2 * math.sqrt(2 / 300) / 0.8796, math.sqrt(2 / 300)),
        ("lecun_normal", 2 * math.sqrt(1 / 300) / 0.8796, math.sqrt(1 / 300)),
        ("random_uniform", 0.05, 0.1 / math.sqrt(12)),
        ("random_normal", math.inf, 0.05),
        ("truncated_normal", 0.1, 0.05 * 0.8796),
    ],
)
def test_initializer_statistics(name, bound, deviation):
    seeds.set_seed(5)
    values = initializers.get(name)((300, 200), "float64")
    assert abs(values).max() <= bound * 1.0001
    assert abs(values.mean()) < 0.02 * deviation and abs(values.std() / deviation - 1) < 0.02


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 2, 4)])
def test_orthogonal(shape):
    w = initializers.Orthogonal(gain=2.0, seed=0)(shape, "float64").reshape(-1, shape[-1])
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    assert_close(gram, 4 * np.eye(min(w.shape)), 1e-12)
    with pytest.raises(ShapeError):
        initializers.Orthogonal()((3,))


def test_seeds_decide_the_draws():
    def draw():
        seeds.set_seed(11)
        return [layers.Dense(3, kernel_initializer="he_normal") for _ in range(2)]

    first, second = draw(), draw()
    for layer in (*first, *second):
        layer(layers.Input((4,)))
    assert all((a.kernel.value == b.kernel.value).all() for a, b in zip(first, second))
    assert (first[0].kernel.value != first[1].kernel.value).any()
    fixed = initializers.GlorotUniform(seed=3)
    assert (fixed((4, 4)) == fixed((4, 4))).all() and (fixed((4, 4)) == fixed.clone()((4, 4))).all()


def test_initializers_given_as_values_and_functions():
    x, values = layers.Input((2,)), np.arange(6.0).reshape(2, 3)
    layer = layers.Dense(
        3, kernel_initializer=values, bias_initializer=lambda shape, dtype: np.full(shape, 7, dtype)
    )
    layer(x)
    assert (layer.kernel.value == values).all() and (layer.bias.value == 7).all()
    assert layer.get_config()["kernel_initializer"] is None
    wrong = layers.Dense(4, kernel_initializer=values)
    wrong(x)
    with pytest.raises(ShapeError, match="must give shape"):
        wrong.get_weights()


@pytest.mark.parametrize(
    "table",
    [initializers, regularizers, losses, metrics, optimizers, schedules],
    ids=lambda m: m.__name__.rsplit(".", 1)[-1],
)
def test_configurations_round_trip(table):
    extra = {
        "ExponentialDecay": (0.1, 10, 0.5), "InverseTimeDecay": (0.1, 10, 0.5), "CosineDecay": (0.1, 10),
        "PiecewiseConstantDecay": ([3], [1, 2]), "PolynomialDecay": (0.1, 10), "WarmUp": (0.1, 10),
        "StepDecay": (0.1, 10), "CosineDecayRestarts": (0.1, 10), "OneCycle": (0.1, 10),
        "SensitivityAtSpecificity": (0.5,), "SpecificityAtSensitivity": (0.5,), "PrecisionAtRecall": (0.5,),
        "RecallAtPrecision": (0.5,), "ConfusionMatrix": (3,),
    }  # fmt: skip
    if table in (losses, metrics):
        name = f"Traced{table.registry.base.__name__}"
        given = table.MeanSquaredError(), (None, 2), None, (None, 2), "float32"
        extra[name] = getattr(table, name).of(*given).get_config().values()
    if table is regularizers:
        made = regularizers.get(lambda w: ops.sum(ops.square(w)))
        made.meet((2, 3))
        extra["TracedRegularizer"] = made.get_config().values()
    for cls in set(table.registry._classes.values()):
        made = cls(*extra.get(cls.__name__, ()))
        config = json.loads(json.dumps(table.serialize(made)))
        assert json.loads(json.dumps(table.serialize(table.deserialize(config)))) == config
        assert type(table.get(config)) is cls and repr(made).startswith(cls.__name__)


def test_optimizer_with_a_schedule():
    optimizer = optimizers.Adam(schedules.ExponentialDecay(0.1, 10, 0.5))
    assert_close(optimizer.learning_rates(10, 3), 0.1 * 0.5 ** (np.array([10, 11, 12]) / 10), 1e-15)
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert isinstance(again.learning_rate, schedules.ExponentialDecay)
    again.learning_rate = 0.5
    assert again.learning_rates(0, 3) == 0.5


@pytest.mark.parametrize(
    "schedule, expected",
    [
        (schedules.ExponentialDecay(0.1, 4, 0.5), {0: 0.1, 4: 0.05, 6: 0.1 * 0.5**1.5}),
        (schedules.ExponentialDecay(0.1, 4, 0.5, staircase=True), {3: 0.1, 4: 0.05, 7: 0.05}),
        (schedules.InverseTimeDecay(0.1, 4, 2.0), {0: 0.1, 2: 0.05, 4: 0.1 / 3}),
        (schedules.InverseTimeDecay(0.1, 4, 2.0, staircase=True), {3: 0.1, 4: 0.1 / 3}),
        (schedules.PiecewiseConstantDecay([2, 5], [1.0, 0.5, 0.1]), {0: 1.0, 2: 1.0, 3: 0.5, 5: 0.5, 6: 0.1}),
        (schedules.PolynomialDecay(0.1, 10, 0.02, power=2), {0: 0.1, 5: 0.08 / 4 + 0.02, 10: 0.02, 99: 0.02}),
        (schedules.PolynomialDecay(0.1, 10, 0.0, cycle=True), {0: 0.1, 10: 0.0, 15: 0.025, 20: 0.0}),
        (schedules.CosineDecay(0.1, 10, alpha=0.2), {0: 0.1, 5: 0.06, 10: 0.02, 50: 0.02}),
        (
            schedules.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=4),
            {0: 0.0, 2: 0.05, 4: 0.1, 9: 0.05, 14: 0.0},
        ),
    ],
)
def test_schedules(schedule, expected):
    steps = np.array(list(expected))
    np.testing.assert_allclose(schedule(steps), list(expected.values()), rtol=1e-14, atol=1e-17)
    assert schedule(int(steps[0])) == schedule(steps)[0] and isinstance(schedule(0), float)


def test_losses_and_metrics_on_arrays():
    y, p = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    assert losses.mean_squared_error(y, p).tolist() == [0.25, 0.5]
    assert losses.MeanSquaredError()(y, p) == 0.375
    assert losses.MeanSquaredError()(y, p, sample_weight=[1, 3]) == (0.25 + 1.5) / 2
    assert losses.mean_squared_error([1, 2], [[1.5], [2.0]]).tolist() == [0.25, 0.0]
    assert_close(losses.sparse_categorical_crossentropy([[1], [0]], p + 0.5), -np.log([0.5, 0.75]), 1e-12)
    logits = np.array([[2.0, -1.0]])
    assert_close(
        losses.CategoricalCrossentropy(from_logits=True)([[1, 0]], logits), math.log1p(math.exp(-3)), 1e-14
    )
    accuracy = metrics.BinaryAccuracy()
    assert accuracy(y, p) == 0.5
    accuracy.update_state(y[:1], y[:1])
    assert_close(accuracy.result(), 2 / 3, 1e-15)
    accuracy.reset_state()
    assert accuracy.result() == 0.0
    with pytest.raises(ShapeError, match=r"prediction's shape \(2, 2\), got \(2, 3\)"):
        losses.mean_squared_error(np.zeros((2, 3)), p)
    with pytest.raises(DataError, match="got 2 in row") as caught:
        losses.sparse_categorical_crossentropy([0, 2], p)
    assert (caught.value.row, caught.value.value) == (1, 2.0)
    with pytest.raises(DataError, match="got 0.5"):
        metrics.sparse_categorical_accuracy([0.5, 1], p)


# ---- errors ----


@pytest.mark.parametrize(
    "error", [e for e in vars(errors_module).values() if isinstance(e, type)], ids=lambda e: e.__name__
)
def test_errors_pickle_and_have_a_built_in_base(error):
    made = error("said so")
    for name in ("row", "step", "errno"):
        if hasattr(made, name):
            setattr(made, name, 3)
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is error and str(again) == "said so" and again.args == made.args
    assert all(
        getattr(again, n) == getattr(made, n)
        for n in ("row", "step", "epoch", "errno", "filename")
        if hasattr(made, n)
    )
    builtin = [b for b in error.__mro__ if b.__module__ == "builtins"]
    assert issubclass(error, FastNNError) and (error is FastNNError or builtin[0] is not Exception)
