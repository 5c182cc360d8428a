"""compile_program: gradients of whole models by finite differences, updates, penalties, names, errors."""

import functools
import warnings

import numpy as np
import pytest
from gradcheck import assert_close, numeric_gradient

from fastnn import _core, activations, layers, losses, metrics, optimizers, regularizers
from fastnn.backends import xp
from fastnn.compile import compile_program
from fastnn.errors import ArgumentError, ShapeError, UnknownNameError
from fastnn.graph import trace
from fastnn.registry import reset_names


@pytest.fixture(autouse=True)
def fresh_names():
    reset_names()


def compiled(inputs, outputs, losses=None, **arguments):
    program, params = trace(inputs, outputs, "float64")
    return compile_program(program, params, losses, **arguments)


def random_values(c, rows, seed=0, weighted=True):
    """Random inputs, targets, weights and parameters by tensor id."""
    rng, values = np.random.default_rng(seed), {}
    last = {o.target: o.shape[-1] for o in c.outputs}
    for t in c.program.tensors:
        shape = tuple(rows if d is None else d for d in t.shape)
        if t.kind == "target" and t.type == "int32":
            values[t.id] = rng.integers(0, last[t.id], shape)
        elif t.kind == "target":
            values[t.id] = rng.uniform(0.1, 0.9, shape)
        elif t.kind == "weight" and weighted:
            values[t.id] = rng.uniform(0.5, 2.0, shape)
        elif t.kind in ("input", "param"):
            values[t.id] = rng.normal(0, 0.7, shape)
    return values


def check_gradients(c, rows=5, training=False, **random):
    values = random_values(c, rows)
    options = dict(mode="gradients", training=training, **random)
    known = xp.run(c.program, values, **options)

    def loss():
        return xp.total_loss(c.program, xp.run(c.program, values, "evaluate", training=training, **random))

    roots = c.program.roots_of("grad")
    assert roots
    for root in roots:
        assert_close(known[root.tensor], numeric_gradient(loss, values[root.other]))
    return known


# ---- gradients ----


@pytest.mark.parametrize(
    "activation",
    [
        "linear", "sigmoid", "tanh", "selu", "elu", "gelu", "silu", "mish", "softplus", "softsign", "softmax",
        "log_softmax", "relu", "leaky_relu", "hard_sigmoid",
    ],
)  # fmt: skip
def test_gradients_of_a_small_net(activation):
    x = layers.Input((3,))
    h = layers.Dense(4, activation=activation, bias_initializer="ones")(x)
    y = layers.Dense(2)(h)
    check_gradients(compiled([x], [y], ["mse"]))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    "last, loss",
    [
        ("sigmoid", losses.BinaryCrossentropy),
        ("softmax", losses.CategoricalCrossentropy),
        ("softmax", losses.SparseCategoricalCrossentropy),
    ],
)
def test_gradients_of_crossentropies(last, loss, from_logits):
    x = layers.Input((3,))
    y = layers.Dense(4, activation=None if from_logits else last)(x)
    c = compiled([x], [y], [loss(from_logits=from_logits)])
    assert any(n.op.endswith("_logits") for n in c.program.nodes)
    check_gradients(c)


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "huber", "bce", "categorical_crossentropy", "sparse_categorical_crossentropy"]
)
def test_gradients_of_losses_that_are_not_fused(loss):
    x = layers.Input((3,))
    y = layers.Dense(4, activation="softplus")(x)
    y = layers.Activation("sigmoid")(y) if loss == "bce" else y
    y = layers.Reshape((4,))(layers.Reshape((2, 2))(y))
    c = compiled([x], [y], [loss])
    assert not any(n.op.endswith("_logits") for n in c.program.nodes)
    check_gradients(c)


def test_fused_and_plain_loss_agree():
    x = layers.Input((3,))
    y = layers.Dense(4, activation="softmax")(x)
    fused = compiled([x], [y], ["categorical_crossentropy"])
    plain = compiled([x], [layers.Reshape((4,))(layers.Reshape((2, 2))(y))], ["categorical_crossentropy"])
    one, other = (xp.run(c.program, random_values(c, 6), "gradients") for c in (fused, plain))
    for a, b in zip(fused.program.roots_of("grad"), plain.program.roots_of("grad")):
        assert_close(one[a.tensor], other[b.tensor], 1e-6)


def test_an_output_fused_with_its_loss_and_read_by_other_layers():
    x = layers.Input((3,))
    y = layers.Dense(4, activation="softmax")(x)
    z = layers.Dense(2, activation="tanh")(y)
    check_gradients(
        compiled([x], [y, z], ["sparse_categorical_crossentropy", "mse"], loss_weights=[0.3, 2.0])
    )


def everything_at_once(dtype="float64", **arguments):
    """Two inputs and outputs, shared layers, joins, dropout, penalties, rank 3."""
    a, b = layers.Input((3,), name="a"), layers.Input((3,), name="b")
    shared = layers.Dense(
        4, activation="tanh", kernel_regularizer=regularizers.L1L2(0.02, 0.03), bias_regularizer="l2"
    )
    h = layers.Concatenate()([shared(a), layers.Dropout(0.4)(shared(b)), a])
    h = layers.Multiply()([layers.Dense(6, activation="sigmoid")(h), layers.Dense(6)(h), layers.Dense(6)(h)])
    h = layers.Add()([h, h, layers.Dropout(0.2)(h)])
    grid = layers.Dense(4, activation="silu")(layers.Reshape((3, 2))(h))
    joined = layers.Concatenate(axis=1)([grid, layers.Reshape((-1, 4))(shared(b))])
    y = layers.Dense(3, activation="softmax", name="classes")(joined)
    z = layers.Dense(1, name="value")(layers.Flatten()(joined))
    program, params = trace([a, b], [y, z], dtype)
    arguments = {"loss_weights": [1.0, 0.5]} | arguments
    return compile_program(program, params, ["sparse_categorical_crossentropy", "huber"], **arguments)


def test_gradients_with_everything_at_once():
    c = everything_at_once()
    assert c.penalties == 2 and c.outputs[0].target_shape == (None, 4)
    check_gradients(c, training=True, seed=9, epoch=2, samples=[4, 1, 0, 7, 1 << 33])


def test_many_tensors_joined():
    x = layers.Input((2,))
    y = layers.Concatenate()([layers.Dense(1, activation="tanh")(x) for _ in range(37)])
    c = compiled([x], [y], ["mse"])
    assert c.program.tensors[c.outputs[0].tensor].shape == (None, 37)
    check_gradients(c, rows=2)


@pytest.mark.parametrize("arguments, expected", [
    ({}, 0.0), ({"straight_through": True}, 1.0),
    ({"straight_through": True, "clip_value": 3}, 1.0), ({"straight_through": True, "clip_value": 2.9}, 0.0),
])  # fmt: skip
def test_step_passes_a_gradient_only_straight_through(arguments, expected):
    x = layers.Input((2,))
    y = layers.Activation(functools.partial(activations.step, **arguments))(x)
    c = compiled([x], [y], ["mae"])
    known = xp.run(c.program, {0: np.full((1, 2), 3.0), c.outputs[0].target: np.zeros((1, 2))}, "gradients")
    assert known[c.program.roots_of("grad")[0].tensor].tolist() == [[expected / 2] * 2]


def test_only_gradients_that_someone_asks_for():
    x = layers.Input((3,), dtype="float32")
    frozen = layers.Dense(4, trainable=False)
    y = layers.Dense(2)(frozen(x))
    c = compiled([x], [y], ["mse"], optimizer="sgd")
    assert [c.program.tensors[r.other].name for r in c.program.roots_of("grad")] == [
        "dense_1/kernel",
        "dense_1/bias",
        "input_layer",
    ]
    assert c.updates == 2
    assert not any("dense/kernel.grad" == t.name for t in c.program.tensors)


# ---- updates, penalties, clipping ----


def reference_step(w, g, optimizer, moments, t):
    """The update formulas of Keras 3, written a second time from its documentation."""
    lr, decay = optimizer.learning_rate, optimizer.weight_decay or 0.0
    w = w * (1 - lr * decay)
    if isinstance(optimizer, optimizers.SGD):
        moments["v"] = optimizer.momentum * moments.get("v", 0.0) - lr * g
        return w + (optimizer.momentum * moments["v"] - lr * g if optimizer.nesterov else moments["v"])
    if isinstance(optimizer, optimizers.RMSprop):
        moments["v"] = optimizer.rho * moments.get("v", 0.0) + (1 - optimizer.rho) * g**2
        moments["a"] = optimizer.rho * moments.get("a", 0.0) + (1 - optimizer.rho) * g
        spread = moments["v"] - (moments["a"] ** 2 if optimizer.centered else 0)
        moments["m"] = optimizer.momentum * moments.get("m", 0.0) + lr * g / np.sqrt(
            spread + optimizer.epsilon
        )
        return w - moments["m"]
    moments["m"] = optimizer.beta_1 * moments.get("m", 0.0) + (1 - optimizer.beta_1) * g
    moments["v"] = optimizer.beta_2 * moments.get("v", 0.0) + (1 - optimizer.beta_2) * g**2
    moments["h"] = np.maximum(moments.get("h", 0.0), moments["v"])
    v = moments["h"] if optimizer.amsgrad else moments["v"]
    rate = lr * np.sqrt(1 - optimizer.beta_2**t) / (1 - optimizer.beta_1**t)
    return w - rate * moments["m"] / (np.sqrt(v) + optimizer.epsilon)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(0.1),
        optimizers.SGD(0.1, momentum=0.9),
        optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
        optimizers.RMSprop(0.01),
        optimizers.RMSprop(0.01, momentum=0.8, centered=True),
        optimizers.RMSprop(0.01, centered=True, weight_decay=0.1),
        optimizers.Adam(0.01),
        optimizers.Adam(0.01, amsgrad=True),
        optimizers.AdamW(0.01, weight_decay=0.1),
    ],
    ids=lambda o: o.name,
)
def test_ten_steps_of_each_optimizer(optimizer):
    x = layers.Input((3,))
    c = compiled([x], [layers.Dense(2, activation="tanh")(x)], ["mse"], optimizer=optimizer)
    values, slots = random_values(c, 6), {}
    own, moments = {i: values[i].copy() for i, _ in c.params}, {i: {} for i, _ in c.params}
    grads = {r.other: r.tensor for r in c.program.roots_of("grad")}
    for t in range(1, 11):
        known = xp.run(c.program, values, lr=optimizer.learning_rate, iteration=t, slots=slots)
        for i, _ in c.params:
            own[i] = reference_step(own[i], known[grads[i]], optimizer, moments[i], t)
            values[i] = known[i]
            assert_close(values[i], own[i], 1e-12)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(0.1, momentum=0.9, clipvalue=0.01),
        optimizers.SGD(0.1, nesterov=True, momentum=0.5, global_clipnorm=0.1),
        optimizers.SGD(0.1, weight_decay=0.1, clipnorm=0.05),
    ],
    ids=["clipvalue", "global_clipnorm", "clipnorm"],
)
def test_the_engine_agrees_with_the_plain_functions(optimizer, dtype, tolerance):
    c = everything_at_once(dtype, optimizer=optimizer, metrics=[["accuracy"], None])
    rows, values, slots = 37, random_values(c, 37), {}
    engine = _core.Engine(c.program.text())
    for i, _ in c.params:
        engine.param(i).write(values[i].astype(dtype))
    data = {t.id: values[t.id] for t in c.program.tensors if t.kind in ("input", "target", "weight")}

    def session(mode, epoch=0):
        made = engine.session(mode, rows, training=mode == "gradients", guard=True)
        for tensor, array in data.items():
            made.bind(tensor, array)
        made.begin(rows, rows, seed=3, epoch=epoch)
        assert made.run(-1, -1.0, 0.1) == (1, True)
        made.check()
        return made

    for step in range(1, 4):
        gradients = session("gradients", step)
        known = xp.run(c.program, values, lr=0.1, iteration=step, slots=slots, seed=3, epoch=step)
        for k, root in enumerate(c.program.roots_of("grad")):
            out = np.empty(known[root.tensor].shape, dtype)
            gradients.gradient(k, out)
            assert_close(out, known[root.tensor], tolerance)
        session("train", step)
        values.update({i: known[i] for i, _ in c.params})
        for i, _ in c.params:
            out = np.empty(values[i].shape, dtype)
            engine.param(i).read(out)
            assert_close(out, values[i], tolerance)
    known = xp.run(c.program, values, "evaluate")
    sums = session("evaluate").results()[::2]
    for got, root in zip(sums, c.program.roots_of("loss") + c.program.roots_of("metric")):
        weight = known[root.other] if root.other >= 0 else np.ones(rows)
        expected = (weight * known[root.tensor].reshape(rows, -1).mean(axis=1)).sum()
        assert abs(got - expected) <= 10 * tolerance * abs(expected)


def test_training_lowers_the_loss():
    x = layers.Input((4,))
    y = layers.Dense(3, activation="softmax")(layers.Dense(16, activation="relu")(x))
    c = compiled([x], [y], ["sparse_categorical_crossentropy"], optimizer="adam")
    values, slots = random_values(c, 64), {}
    first = xp.total_loss(c.program, xp.run(c.program, values, "evaluate"))
    for t in range(1, 101):
        known = xp.run(c.program, values, lr=0.01, iteration=t, slots=slots)
        values.update({i: known[i] for i, _ in c.params})
    assert xp.total_loss(c.program, xp.run(c.program, values, "evaluate")) < 0.8 * first


@pytest.mark.parametrize("argument", ["clipvalue", "clipnorm", "global_clipnorm"])
def test_clipping(argument):
    x = layers.Input((3,))
    y = layers.Dense(2)(layers.Dense(4, activation="tanh", kernel_regularizer="l2")(x))
    c = compiled([x], [y], ["mse"], optimizer=optimizers.SGD(1.0, **{argument: 0.05}))
    values = random_values(c, 6)
    known = xp.run(c.program, values, lr=1.0)
    grads = {r.other: known[r.tensor] for r in c.program.roots_of("grad")}
    total = np.sqrt(sum((grads[i] ** 2).sum() for i, _ in c.params))
    for i, _ in c.params:
        g = grads[i]
        if argument == "clipvalue":
            g = np.clip(g, -0.05, 0.05)
        else:
            norm = total if argument == "global_clipnorm" else np.sqrt((g**2).sum())
            g = g * min(1.0, 0.05 / norm)
        assert_close(values[i] - known[i], g, 1e-12)


def test_penalty_of_a_parameter_off_the_way_to_the_loss():
    x = layers.Input((3,))
    a = layers.Dense(2, name="a")(x)
    b = layers.Dense(2, name="b", kernel_regularizer=regularizers.L2(0.5))(x)
    with pytest.warns(UserWarning, match="b/bias"):
        c = compiled([x], [a, b], ["mse", None], optimizer="sgd")
    assert c.updates == 3
    check_gradients(c)


def test_frozen_parameters_have_no_penalty():
    x = layers.Input((3,))
    layer = layers.Dense(2, kernel_regularizer="l2")
    y = layers.Dense(2)(layer(x))
    layer.trainable = False
    assert compiled([x], [y], ["mse"]).penalties == 0


def test_updates_come_last_and_once_a_parameter():
    x = layers.Input((3,))
    shared = layers.Dense(3)
    c = compiled([x], [shared(shared(x))], ["mse"], optimizer="adam")
    ops = [n.op for n in c.program.nodes]
    assert ops[-2:] == ["adam", "adam"] and ops.count("adam") == 2


# ---- targets, weights, names ----


def test_what_to_bind():
    x = layers.Input((3,))
    y = layers.Dense(4, name="y", activation="softmax")(x)
    z = layers.Dense(1, name="z")(x)
    free = layers.Dense(1, name="free")(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        c = compiled(
            [x], [y, z, free], ["sparse_categorical_crossentropy", "mse", None], metrics=[None, ["mae"], None]
        )
    assert [(o.name, o.target_shape, o.target_dtype) for o in c.outputs] == [
        ("y", (None,), "int32"), ("z", (None, 1), "float64"), ("free", None, None),
    ]  # fmt: skip
    assert c.outputs[2].target is None and c.outputs[2].weight is None
    assert c.loss_names == ["y_loss", "z_loss"] and c.metric_names == ["z_mae"]
    assert c.loss_weights == [1.0, 1.0]


@pytest.mark.parametrize(
    "units, loss, op",
    [
        (1, "bce", "binary_accuracy"),
        (1, "mse", "binary_accuracy"),
        (4, "sparse_categorical_crossentropy", "sparse_categorical_accuracy"),
        (4, "categorical_crossentropy", "categorical_accuracy"),
        (4, "bce", "categorical_accuracy"),
    ],
)
def test_accuracy_follows_from_the_output(units, loss, op):
    x = layers.Input((3,))
    c = compiled([x], [layers.Dense(units, activation="sigmoid")(x)], [loss], metrics=[["accuracy"]])
    assert c.metric_names == ["accuracy"]
    assert op in [n.op for n in c.program.nodes]


def test_metric_names():
    x = layers.Input((3,))
    y = layers.Dense(1)(x)
    c = compiled(
        [x], [y], ["mse"],
        metrics=[[
            "mae", "mae", metrics.MeanSquaredError(), metrics.mean_absolute_error,
            metrics.BinaryAccuracy(name="hit"),
        ]],
        weighted_metrics=[["mae", "mse"]],
    )  # fmt: skip
    assert c.metric_names == [
        "mae", "mae_1", "mean_squared_error", "mean_absolute_error", "hit", "weighted_mae", "mse",
    ]  # fmt: skip
    weights = [r.other for r in c.program.roots_of("metric")]
    assert weights == [-1] * 5 + [c.outputs[0].weight] * 2


def test_metrics_of_a_fused_output_read_probabilities():
    x = layers.Input((3,))
    y = layers.Dense(4, activation="softmax")(x)
    c = compiled([x], [y], ["sparse_categorical_crossentropy"], metrics=[["sparse_categorical_crossentropy"]])
    known = xp.run(c.program, random_values(c, 6), "evaluate")
    loss, metric = c.program.roots_of("loss")[0], c.program.roots_of("metric")[0]
    assert_close(known[metric.tensor], known[loss.tensor], 1e-6)


def test_metrics_without_a_loss():
    x = layers.Input((3,))
    c = compiled([x], [layers.Dense(4)(x)], metrics=[["accuracy"]], optimizer="sgd")
    assert c.metric_names == ["accuracy"] and c.updates == 0 and not c.gradients


def test_the_forward_program_stays_as_it_was():
    x = layers.Input((3,))
    program, params = trace([x], [layers.Dense(4)(x)])
    text = program.text()
    compile_program(program, params, ["mse"], optimizer="sgd")
    assert program.text() == text


# ---- errors ----


@pytest.mark.parametrize(
    "loss", ["mse", "bce", "categorical_crossentropy", "sparse_categorical_crossentropy"]
)
def test_loss_of_an_output_without_features(loss):
    x = layers.Input(())
    y = layers.Activation("tanh", name="flat")(x)
    with pytest.raises(ShapeError, match=r"'flat' has shape \(None,\)"):
        compiled([x], [y], [loss])


def test_sparse_loss_needs_two_classes():
    x = layers.Input((3,))
    with pytest.raises(ShapeError, match="at least 2 classes"):
        compiled([x], [layers.Dense(1)(x)], ["sparse_categorical_crossentropy"])


def test_losses_and_metrics_of_two_kinds():
    x = layers.Input((3,))
    with pytest.raises(ArgumentError, match="one kind"):
        compiled([x], [layers.Dense(4)(x)], ["mse"], metrics=[["sparse_categorical_accuracy"]])


def test_one_entry_for_each_output():
    x = layers.Input((3,))
    with pytest.raises(ArgumentError, match="losses needs one entry for each of the 1 outputs, got 2"):
        compiled([x], [layers.Dense(4)(x)], ["mse", "mse"])


def test_unknown_names_suggest_the_nearest():
    x = layers.Input((3,))
    y = layers.Dense(4)(x)
    with pytest.raises(UnknownNameError, match="mean_squared_error"):
        compiled([x], [y], ["mean_square_error"])
    with pytest.raises(UnknownNameError, match="adam"):
        compiled([x], [y], ["mse"], optimizer="adams")
    with pytest.raises(UnknownNameError, match="categorical_accuracy"):
        compiled([x], [y], ["mse"], metrics=[["categoric_accuracy"]])
