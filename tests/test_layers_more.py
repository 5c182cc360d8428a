"""Normalisation, Embedding, encodings, noise, augmentation, transfer and folding.

What Keras 3 computes stands in tests/golden/layers.npz, made by tests/golden/make_layers.py.
"""

import json

import numpy as np
import pytest
from golden.store import Reader
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn as fnn
from fastnn import layers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    DtypeError,
    FastNNError,
    GraphError,
    ShapeError,
)

KERAS = Reader("layers")
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@pytest.fixture(autouse=True)
def fresh_names():
    fnn.reset_names()


def relative(a, b):
    """max|a - b| / max|b|; where b is 0 throughout, max|a|."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return np.abs(a - b).max() / (np.abs(b).max() or 1.0)


# ---- parity with Keras ----


def build(case, dtype):
    """The model of a case with its weights, and its inputs and target."""
    xs = [KERAS.get("given", where) for where in case["inputs"]]
    integers = case["vocabulary"] is not None
    if integers:
        xs = [x.astype(np.int32) for x in xs]
    inputs = [fnn.Input(x.shape[1:], dtype="int32" if integers else None) for x in xs]
    y = inputs[0]
    if case["join"]:
        kind, config = case["join"]
        y = getattr(layers, kind)(**config)(inputs)
    stack = [getattr(layers, kind)(**config) for kind, config in case["layers"]]
    for layer in stack:
        y = layer(y)
    model = fnn.Model(inputs if len(inputs) > 1 else inputs[0], y, dtype=dtype)
    if case["adapt"]:
        stack[0].adapt(xs[0])
    else:
        model.set_weights([KERAS.get("given", where) for where in case["weights"]])
    model.compile(optimizer=fnn.optimizers.SGD(0.1), loss="mean_squared_error")
    return model, xs if len(xs) > 1 else xs[0], KERAS.get("given", case["target"])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in KERAS.cases])
@pytest.mark.filterwarnings("ignore:The loss does not depend")
def test_against_keras(case, dtype):
    model, x, target = build(case, dtype)
    want = {key: where for key, where in case["expected"].items()}
    got = {"inference": model.predict(x), "training": model(x, training=True)}
    for mode in ("inference", "training"):
        by_weights, by_inputs = model.gradients(x, target, with_inputs=True, training=mode == "training")
        by_inputs = by_inputs if isinstance(by_inputs, list) else [by_inputs]
        got[f"{mode} by weights"] = list(by_weights.values())
        got[f"{mode} by inputs"] = by_inputs if case["vocabulary"] is None else []
    if case["adapt"]:
        want["adapted"] = case["adapted"]
        got["adapted"] = model.get_weights()
    if case["steps"]:
        history = model.fit(x, target, batch_size=len(target), epochs=10, shuffle=False, verbose=0)
        got["losses"], got["after"] = history.history["loss"], model.get_weights()
    assert got.keys() == want.keys()
    # Keras computes where pixels come from in float32, whatever the dtype.
    moved = any(kind.startswith("Random") for kind, _ in case["layers"])
    tolerance = 1e-5 if moved else TOLERANCE[dtype]
    for key, value in got.items():
        values, wheres = (
            (value, want[key]) if isinstance(value, list) and key != "losses" else ([value], [want[key]])
        )
        for v, where in zip(values, wheres, strict=True):
            assert relative(v, KERAS.get(dtype, where)) <= tolerance, key


# ---- BatchNormalization ----


def normalized_net(dtype="float64"):
    x = fnn.Input((4,))
    h = layers.Dense(6, name="h1", use_bias=False)(x)
    h = layers.BatchNormalization(name="bn")(h)
    h = layers.Activation("relu", name="h2")(h)
    model = fnn.Model(x, layers.Dense(3, name="head")(h), dtype=dtype)
    model.compile("sgd", "mse")
    return model


def data(features=4, count=50, outputs=3):
    rng = np.random.default_rng(1)
    return rng.normal(1, 2, size=(count, features)), rng.normal(size=(count, outputs))


def test_running_statistics_follow_the_batches():
    x, y = data(count=48)
    inputs = fnn.Input((4,))
    model = fnn.Model(inputs, layers.BatchNormalization(momentum=0.9, name="bn")(inputs), dtype="float64")
    model.compile("sgd", "mse")
    mean, variance = np.zeros(4), np.ones(4)
    model.fit(x, x, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for batch in [*x.reshape(3, 16, 4)] * 2:
        mean = 0.9 * mean + 0.1 * batch.mean(0)
        variance = 0.9 * variance + 0.1 * batch.var(0)
    assert relative(model.parameters["bn/moving_mean"].value, mean) < 1e-13
    assert relative(model.parameters["bn/moving_variance"].value, variance) < 1e-13


def test_evaluation_and_calls_leave_running_statistics_alone():
    model, (x, y) = normalized_net(), data()
    before = model.parameters["bn/moving_mean"].value
    model.evaluate(x, y)
    model(x, training=True)
    model.gradients(x, y, training=True)
    assert (model.parameters["bn/moving_mean"].value == before).all()
    model.train_on_batch(x, y)
    assert (model.parameters["bn/moving_mean"].value != before).all()


def test_threads_do_not_change_bits():
    x, y = data(count=700)
    results = []
    for threads in (1, 2):
        fnn.reset_names()
        fnn.set_num_threads(threads)
        fnn.set_seed(0)
        model = normalized_net("float32")
        model.fit(x, y, batch_size=350, epochs=3, verbose=0)
        results.append(model.get_weights())
    fnn.set_num_threads(0)
    assert all((a == b).all() for a, b in zip(*results))


def test_a_layer_called_twice_counts_both_batches():
    x = fnn.Input((2,))
    bn = layers.BatchNormalization(momentum=0.5, name="bn")
    model = fnn.Model(x, [bn(x), bn(layers.Rescaling(3.0)(x))], dtype="float64")
    model.compile("sgd", ["mse", "mse"])
    a = np.random.default_rng(0).normal(2, 1, (8, 2))
    model.train_on_batch(a, [a, a])
    assert (
        relative(model.parameters["bn/moving_mean"].value, 0.5 * 0.5 * a.mean(0) + 0.5 * 3 * a.mean(0))
        < 1e-14
    )


def test_a_frozen_layer_uses_and_keeps_its_statistics():
    model, (x, y) = normalized_net(), data()
    model.fit(x, y, epochs=2, verbose=0)
    model.get_layer("bn").trainable = False
    model.compile("sgd", "mse")
    kept = model.get_layer("bn").get_weights()
    assert (model(x, training=True) == model.predict(x)).all()
    model.fit(x, y, epochs=2, verbose=0)
    assert all((a == b).all() for a, b in zip(kept, model.get_layer("bn").get_weights()))
    model.get_layer("bn").trainable = True
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert (model.get_layer("bn").get_weights()[2] != kept[2]).all()


@pytest.mark.parametrize(
    "make, x, error, message",
    [
        (lambda: layers.BatchNormalization(axis=1, name="n"), (3, 4), ArgumentError, "axis must be the last"),
        (lambda: layers.BatchNormalization(renorm=True, name="n"), (3,), ArgumentError, "renorm is not supp"),
        (
            lambda: layers.BatchNormalization(momentum=2, name="n"),
            (3,),
            ArgumentError,
            r"must be in \[0, 1\]",
        ),
        (
            lambda: layers.BatchNormalization(name="n"),
            (),
            ShapeError,
            r"'n' expects inputs of at least 2 dim",
        ),
        (
            lambda: layers.LayerNormalization([1, 2], name="n"),
            (3, 4),
            ArgumentTypeError,
            "must be an integer",
        ),
        (
            lambda: layers.UnitNormalization(0, name="n"),
            (3,),
            ArgumentError,
            "axis must name dimensions after",
        ),
        (
            lambda: layers.PReLU(shared_axes=2, name="n"),
            (3,),
            ArgumentError,
            "shared_axes must name dimensions",
        ),
        (lambda: layers.Embedding(0, 3), (3,), ArgumentError, "input_dim must be at least 1"),
        (lambda: layers.Embedding(5, 3, mask_zero=True), (3,), ArgumentError, "mask_zero is not supported"),
        (lambda: layers.Embedding(5, 3, name="n"), (3,), DtypeError, "'n' expects integers.*dtype='int32'"),
        (lambda: layers.CategoryEncoding(), (3,), ArgumentError, "needs num_tokens"),
        (lambda: layers.CategoryEncoding(3, "tf_idf"), (3,), ArgumentError, "output_mode must be"),
        (lambda: layers.CategoryEncoding(3, name="n"), (3,), DtypeError, "'n' expects integers"),
        (lambda: layers.Normalization(mean=1.0), (3,), ArgumentError, "given together"),
        (
            lambda: layers.Normalization(mean=[1, 2], variance=[1, 2], name="n"),
            (3,),
            ShapeError,
            "must broadcast",
        ),
        (lambda: layers.Normalization(mean=0, variance=-1), (3,), ArgumentError, "at least 0"),
        (lambda: layers.Normalization(0, name="n"), (3,), ArgumentError, "axis must name dimensions after"),
        (lambda: layers.Rescaling([1, 2], name="n"), (3,), ShapeError, "does not fit samples"),
        (lambda: layers.Rescaling("1"), (3,), ArgumentTypeError, "finite numbers"),
        (lambda: layers.GaussianNoise(2), (3,), ArgumentError, r"must be in \[0, 1\]"),
        (lambda: layers.AlphaDropout(1), (3,), ArgumentError, r"must be in \[0, 1\)"),
        (lambda: layers.RandomRotation(0.1, name="n"), (3, 4), ShapeError, "'n' expects pictures"),
        (lambda: layers.RandomRotation((0.1, 0.2, 0.3)), (3, 4, 1), ArgumentError, "a number or two"),
        (
            lambda: layers.RandomRotation(0.1, fill_mode="mirror"),
            (3, 4, 1),
            ArgumentError,
            "fill_mode must be",
        ),
        (
            lambda: layers.RandomRotation(0.1, interpolation="cubic"),
            (3, 4, 1),
            ArgumentError,
            "interpolation",
        ),
        (
            lambda: layers.RandomTranslation(1.5, 0),
            (3, 4, 1),
            ArgumentError,
            r"height_factor must be in \[-1, 1\]",
        ),
        (lambda: layers.RandomZoom(-1.0), (3, 4, 1), ArgumentError, r"height_factor must be in \(-1, 1\]"),
        (lambda: layers.RandomFlip("diagonal"), (3, 4, 1), ArgumentError, "mode must be one of"),
        (lambda: layers.RandomFlip(data_format="channels_first"), (3, 4, 1), ArgumentError, "data_format"),
        (lambda: layers.RandomErasing(fill_value=[1, 2]), (3, 4, 1), ArgumentError, "one number or three"),
        (lambda: layers.RandomErasing(fill_value=[1, 2, 3]), (3, 4, 1), ShapeError, "three channels"),
        (lambda: layers.MixUp(0), (3,), ArgumentError, r"alpha must be in \(0"),
        (lambda: layers.Dot(1), (3,), GraphError, "takes a list of tensors"),
    ],
)
def test_what_does_not_fit(make, x, error, message):
    with pytest.raises(error, match=message) as caught:
        make()(fnn.Input(x))
    assert isinstance(caught.value, FastNNError)


def test_joining_layers_count_their_inputs():
    a, b = fnn.Input((3,)), fnn.Input((4,))
    with pytest.raises(GraphError, match="two tensors, got 3"):
        layers.Subtract()([a, a, a])
    with pytest.raises(ShapeError, match="sums over the axes 1"):
        layers.Dot(1)([a, b])
    with pytest.raises(ShapeError, match="shapes broadcast"):
        layers.Average()([a, b])


# ---- configurations, files ----

EVERY = [
    (lambda: layers.BatchNormalization(momentum=0.5, center=False, gamma_regularizer="l2"), (3,)),
    (lambda: layers.LayerNormalization(epsilon=0.1), (3,)),
    (lambda: layers.UnitNormalization([1, -1]), (3, 2)),
    (lambda: layers.PReLU("ones", shared_axes=[1]), (3, 2)),
    (lambda: layers.Normalization(axis=None), (3,)),
    (lambda: layers.Normalization(mean=[1.0, 2, 3], variance=[1.0, 2, 3], invert=True), (3,)),
    (lambda: layers.Rescaling([0.5, 1, 2], 1), (3,)),
    (lambda: layers.GaussianNoise(0.5, seed=1), (3,)),
    (lambda: layers.GaussianDropout(0.5), (3,)),
    (lambda: layers.AlphaDropout(0.5, seed=3), (3,)),
    (lambda: layers.RandomTranslation(0.2, (-0.1, 0.3), "wrap", seed=2), (4, 5, 3)),
    (lambda: layers.RandomRotation((-0.1, 0.3), "constant", "nearest", fill_value=2), (4, 5, 3)),
    (lambda: layers.RandomZoom(0.2), (4, 5, 3)),
    (lambda: layers.RandomZoom(0.2, (-0.1, 0)), (4, 5, 3)),
    (lambda: layers.RandomFlip("vertical"), (4, 5, 3)),
    (lambda: layers.RandomErasing(0.9, fill_value=[1, 2, 3]), (4, 5, 3)),
    (lambda: layers.RandomErasing((0.5, 1), 0.5, value_range=(0, 1)), (4, 5, 3)),
    (lambda: layers.MixUp(0.4, seed=9), (3,)),
]


@pytest.mark.parametrize("make, shape", EVERY)
def test_a_layer_comes_back_from_its_file(make, shape, tmp_path):
    layer = make()
    model = fnn.Sequential([fnn.Input(shape), layer, layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, *shape)), rng.normal(size=(10, 2))
    model.fit(x, y, batch_size=5, verbose=0, seed=1)
    config = json.loads(json.dumps(layers.serialize(layer)))
    assert layers.serialize(layers.deserialize(config)) == config
    model.save(tmp_path / "m.fnn")
    again = fnn.load(tmp_path / "m.fnn")
    assert (again.predict(x) == model.predict(x)).all()
    for m in (model, again):
        m.fit(x, y, batch_size=5, epochs=2, verbose=0, seed=2)
    assert all((a == b).all() for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


# ---- integers ----


def test_embedding_learns_and_checks_indices():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, size=(200, 3))
    y = (x % 2).sum(1, keepdims=True) * 1.0
    model = fnn.Sequential([layers.Embedding(20, 4), layers.Flatten(), layers.Dense(1)])
    model.compile(fnn.optimizers.Adam(0.05), "mse")
    assert model.fit(x, y, epochs=30, verbose=0).history["loss"][-1] < 0.05
    assert model.input_shape == (None, 3) and model.inputs[0].dtype == "int32"
    for wrong in (20, -1):
        with pytest.raises(DataError, match=str(wrong)):
            model.predict(np.full((1, 3), wrong))
        with pytest.raises(DataError, match=str(wrong)):
            model.freeze()(np.full((1, 3), wrong))
    assert (model.freeze()(x) == model.predict(x)).all() and (
        model.freeze()(x[0]) == model.predict(x[:1])[0]
    ).all()
    table = rng.normal(size=(20, 4)).astype(np.float32)
    inputs = fnn.Input((3,), dtype="int32")
    assert (fnn.Model(inputs, layers.Embedding(20, 4, weights=[table])(inputs)).predict(x) == table[x]).all()


def test_indices_are_checked_where_two_layers_read_them():
    x = fnn.Input((2,), dtype="int32")
    model = fnn.Model(x, [layers.Embedding(9, 2)(x), layers.CategoryEncoding(5)(x)])
    assert model.predict([[0, 4]])[1].tolist() == [[1, 0, 0, 0, 1]]
    with pytest.raises(DataError):
        model.predict([[0, 5]])


# ---- Normalization ----


def test_adapt_from_batches_is_adapt_at_once():
    x = np.random.default_rng(0).normal(1e4, 3, size=(101, 3))
    whole, parts, pairs = layers.Normalization(), layers.Normalization(), layers.Normalization()
    whole.adapt(x)
    parts.adapt([x[:10], x[10:11], x[11:]])
    pairs.adapt((x[i : i + 30], None) for i in range(0, 101, 30))
    for layer in (whole, parts, pairs):
        assert relative(layer.mean.value, x.mean(0)) < 1e-6
        assert relative(layer.variance.value, x.var(0)) < 1e-6
    assert [w.name.split("/")[1] for w in whole.weights] == ["mean", "variance", "count"]
    assert not whole.trainable_weights


@pytest.mark.parametrize(
    "data, error",
    [
        (np.zeros((0, 3)), ArgumentError),
        ([], ArgumentError),
        (np.zeros((4, 2)), ShapeError),
        (np.array([["a"]]), DtypeError),
        ([[1.0, 2.0, 3.0]], ArgumentTypeError),
        (5, ArgumentTypeError),
    ],
)
def test_adapt_refuses(data, error):
    layer = layers.Normalization()
    layer(fnn.Input((3,)))
    with pytest.raises(error):
        layer.adapt(data)
    with pytest.raises(ArgumentError, match="does not adapt"):
        layers.Normalization(mean=0, variance=1).adapt(np.zeros((2, 3)))


# ---- noise ----


def drawn(layer, x, seed=0):
    fnn.set_seed(seed)
    return fnn.Sequential([fnn.Input(x.shape[1:]), layer], dtype="float64")(x, training=True)


def test_noise_has_its_distribution():
    x = np.full((500, 40), 2.0)
    n = x.size
    y = drawn(layers.GaussianNoise(0.5), x) - x
    assert abs(y.mean()) < 5 * 0.5 / n**0.5 and y.std() == pytest.approx(0.5, rel=0.02)
    y = drawn(layers.GaussianDropout(0.2), x)
    assert y.mean() == pytest.approx(2, abs=5 / n**0.5) and y.std() == pytest.approx(2 * 0.5, rel=0.02)
    x = np.random.default_rng(0).normal(size=(500, 40))
    y = drawn(layers.AlphaDropout(0.3), x)
    assert y.mean() == pytest.approx(0, abs=0.05) and y.std() == pytest.approx(1, abs=0.05)
    values, counts = np.unique(y, return_counts=True)
    assert counts.max() / n == pytest.approx(0.3, abs=0.02)
    # a p + b with p = -scale alpha = -1.7580993408473766, rate 0.3, by hand
    p = -1.7580993408473766
    a = (0.7 * (1 + 0.3 * p**2)) ** -0.5
    assert values[counts.argmax()] == pytest.approx(a * p * 0.7, rel=1e-12)


def test_seeds_choose_streams():
    x = np.zeros((4, 5))
    same = [drawn(layers.GaussianNoise(0.5, seed=7), x) for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert (drawn(layers.GaussianNoise(0.5, seed=8), x) != same[0]).all()
    assert (drawn(layers.GaussianNoise(0.5, seed=7), x, seed=1) != same[0]).all()


@pytest.mark.parametrize("make, shape", EVERY[7:])
def test_outside_training_nothing_changes(make, shape):
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    model = fnn.Sequential([fnn.Input(shape), make()])
    assert (model.predict(x) == x).all()
    assert (model(x, training=True) != x).any()
    frozen = model.freeze()
    assert len(frozen.program.nodes) == 1 and (frozen(x) == x).all()


# ---- augmentation ----


def test_flips_mirror_half_of_the_pictures():
    x = np.random.default_rng(0).normal(size=(200, 4, 5, 2))
    for mode, axes in (("horizontal", 2), ("vertical", 1), ("horizontal_and_vertical", (1, 2))):
        y = drawn(layers.RandomFlip(mode), x)
        flipped = np.flip(x, axes)
        mirrored = [(b == c).all() for b, c in zip(y, flipped)]
        kept = [(a == b).all() for a, b in zip(x, y)]
        assert sum(mirrored) + sum(kept) == len(x) and 70 < sum(kept) < 130


def test_draws_fill_their_range():
    ramp = np.broadcast_to(np.arange(41.0)[:, None, None], (300, 41, 3, 1))
    y = drawn(layers.RandomTranslation((-0.1, 0.3), 0, "nearest"), ramp)
    shift = (ramp - y)[:, 20, 1, 0] / 41  # down is positive
    assert -0.1 <= shift.min() < -0.09 and 0.29 < shift.max() <= 0.3


def test_erasing_fills_one_rectangle():
    x = np.full((300, 12, 16, 3), 0.25)
    layer = layers.RandomErasing(
        factor=(1, 1), scale=(0.04, 0.25), fill_value=[0, 0.5, 9], value_range=(0, 1)
    )
    y = drawn(layer, x)
    erased = (y != x).all(-1)
    assert (y[erased] == [0, 0.5, 1]).all()
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert (heights * widths == erased.sum((1, 2))).all()
    # side / length lies in [0.2, 0.5], up to the pixel on which an edge falls
    assert heights.min() >= 12 * 0.2 - 1 and heights.max() <= 12 * 0.5 + 1
    assert widths.min() >= 16 * 0.2 - 1 and widths.max() <= 16 * 0.5 + 1
    assert len(set(widths)) > 3 and erased.any(0)[2:-2, 2:-2].all()
    y = drawn(layers.RandomErasing(factor=0.5, fill_value=0, value_range=(0, 1)), x)
    assert 0.15 < (y != x).any((1, 2, 3)).mean() < 0.35  # the probability is uniform in [0, 0.5]
    noise = drawn(layers.RandomErasing((1, 1), (1, 1)), x)
    assert noise.min() == 0 and noise.max() == 255 and len(np.unique(noise)) > 1000


def test_mixup_mixes_inputs_and_targets_alike():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 64)
    x, onehot = np.eye(3)[labels], np.eye(3)[labels]

    def losses(y, loss):
        fnn.reset_names()
        inputs = fnn.Input((3,))
        model = fnn.Model(inputs, layers.MixUp(1.0)(inputs), dtype="float64")
        model.compile(fnn.optimizers.SGD(0.0), loss)
        return model.fit(x, y, epochs=3, verbose=0, seed=5).history["loss"], model

    # Where the prediction is the mixed input, it is the mixed target: without mixing alike this is not 0.
    zero, model = losses(onehot, "mse")
    assert max(zero) < 1e-30
    mixed = model(x, training=True)
    assert ((mixed > 0.01) & (mixed < 0.99)).any()
    dense, _ = losses(onehot, "categorical_crossentropy")
    sparse, _ = losses(labels, "sparse_categorical_crossentropy")
    assert sparse == pytest.approx(dense, rel=1e-12) and min(dense) > 0.01


def test_mixup_evaluates_without_mixing():
    x = np.eye(3)
    inputs = fnn.Input((3,))
    model = fnn.Model(inputs, layers.Softmax()(layers.MixUp()(inputs)))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    plain = fnn.Model(inputs, layers.Softmax()(inputs))
    plain.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert model.evaluate(x, [0, 1, 1]) == pytest.approx(plain.evaluate(x, [0, 1, 1]), rel=1e-6)


def test_augmentation_does_not_depend_on_batches_or_threads():
    x = np.random.default_rng(0).normal(size=(30, 6, 6, 1))
    results = []
    for threads, rows in ((1, 30), (2, 30), (2, 7)):
        fnn.set_num_threads(threads)
        fnn.set_seed(3)
        stack = [
            layers.RandomRotation(0.2),
            layers.RandomZoom(0.3),
            layers.RandomErasing(),
            layers.RandomFlip(),
        ]
        model = fnn.Sequential([fnn.Input((6, 6, 1)), *stack])
        model.compile("sgd", "mse")
        results.append(model.fit(x, x, batch_size=rows, verbose=0, shuffle=False, seed=1).history["loss"][0])
    fnn.set_num_threads(0)
    assert results[0] == results[1] and results[2] == pytest.approx(results[0], rel=1e-5)


def test_a_run_goes_on_after_a_crash(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random((70, 6, 6, 1)), rng.integers(0, 3, 70)

    class Crash(fnn.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            if self.batches == 7:
                raise RuntimeError

    def run(*more, **arguments):
        fnn.reset_names()
        fnn.set_seed(4)
        augmented = [layers.RandomRotation(0.1), layers.MixUp(0.4), layers.RandomErasing(), layers.Flatten()]
        hidden = [layers.GaussianNoise(0.1), layers.Dense(8), layers.BatchNormalization(), layers.PReLU()]
        model = fnn.Sequential(
            [fnn.Input((6, 6, 1)), *augmented, *hidden, layers.Dense(3, activation="softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        checkpoint = fnn.callbacks.Checkpoint(tmp_path / "run.ckpt", every_steps=3)
        model.fit(
            x, y, epochs=3, batch_size=16, verbose=0, seed=3, callbacks=[checkpoint, *more], **arguments
        )
        return model.get_weights()

    whole = run()
    (tmp_path / "run.ckpt").unlink()
    with pytest.raises(RuntimeError):
        run(Crash())
    resumed = run(resume=tmp_path / "run.ckpt")
    assert all((a == b).all() for a, b in zip(whole, resumed, strict=True))


# ---- transfer ----


def test_a_frozen_body_under_a_new_head():
    model, (x, y) = normalized_net("float32"), data()
    model.fit(x, y, epochs=3, verbose=0)
    body = fnn.Model(model.inputs, model.get_layer("h2").output)
    body.trainable = False
    kept = body.get_weights()
    features = body.predict(x)
    top = fnn.Sequential([body, layers.Dense(2, name="top")])
    top.compile("adam", "mse")
    assert [p.name for p in top.trainable_weights] == ["top/kernel", "top/bias"]
    history = top.fit(x, y[:, :2], epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert all((a == b).all() for a, b in zip(kept, body.get_weights()))
    assert (body.predict(x) == features).all()
    body.trainable = True
    top.compile("adam", "mse")
    top.fit(x, y[:, :2], verbose=0)
    assert all((a != b).any() for a, b in zip(kept, body.get_weights()))


def test_a_body_called_outside_training_keeps_its_statistics():
    model, (x, y) = normalized_net("float32"), data()
    model.fit(x, y, epochs=2, verbose=0)
    body = fnn.Model(model.inputs, model.get_layer("h2").output)
    inputs = fnn.Input((4,))
    h = body(layers.MixUp(1.0)(inputs, training=False), training=False)
    top = fnn.Model(inputs, layers.Dense(3, name="top")(h))
    top.compile(fnn.optimizers.SGD(0.0), "mse")
    gamma, _, mean, _ = body.get_layer("bn").get_weights()
    assert top.fit(x, y, verbose=0, batch_size=50).history["loss"][0] == pytest.approx(
        top.evaluate(x, y), rel=1e-6
    )
    top.compile(fnn.optimizers.SGD(0.1), "mse")
    top.fit(x, y, verbose=0)
    after, _, kept, _ = body.get_layer("bn").get_weights()
    assert (kept == mean).all() and (after != gamma).any()


def test_a_feature_extractor_shares_parameters():
    model, (x, y) = normalized_net("float32"), data()
    extractor = fnn.Model(model.inputs, model.get_layer("h2").output)
    before = extractor.predict(x)
    model.fit(x, y, verbose=0)
    after = extractor.predict(x)
    assert (before != after).any()
    kernel, bias = model.get_layer("head").get_weights()
    assert relative(after @ kernel + bias, model.predict(x)) < 1e-6


def test_weights_move_by_layer_name(tmp_path):
    model, (x, y) = normalized_net("float32"), data()
    model.fit(x, y, epochs=2, verbose=0)
    model.save_weights(tmp_path / "w.fnn")
    inputs = fnn.Input((4,))
    h = layers.Dense(6, use_bias=False, name="h1")(inputs)
    h = layers.Activation("relu", name="h2")(layers.BatchNormalization(name="bn")(h))
    other = fnn.Model(inputs, layers.Dense(7, name="other")(h))
    other.load_weights(tmp_path / "w.fnn", skip_mismatch=True)
    extractors = [fnn.Model(m.inputs, m.get_layer("h2").output) for m in (model, other)]
    assert (extractors[0].predict(x) == extractors[1].predict(x)).all()


# ---- folding ----


def stack_of(*parts, shape=(4,), dtype="float32"):
    model = fnn.Sequential([fnn.Input(shape), *parts], dtype=dtype)
    rng = np.random.default_rng(2)
    for name, parameter in model.parameters.items():
        positive = "variance" in name or "gamma" in name
        parameter.assign(
            rng.uniform(0.5, 2, parameter.shape) if positive else rng.normal(size=parameter.shape)
        )
    return model


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "parts, shape, left",
    [
        (
            lambda: [layers.Dense(5), layers.BatchNormalization(), layers.ReLU(), layers.Dense(2)],
            (4,),
            "mbrmb",
        ),
        (lambda: [layers.Dense(5, use_bias=False), layers.BatchNormalization()], (4,), "mb"),
        (lambda: [layers.Dense(5), layers.BatchNormalization(center=False), layers.ReLU()], (3, 4), "mbr"),
        (lambda: [layers.BatchNormalization(), layers.Dense(2)], (4,), "mb"),
        (lambda: [layers.Normalization(), layers.Dense(2, activation="tanh")], (4,), "mbt"),
        (lambda: [layers.Rescaling(1 / 255, -0.5), layers.Flatten(), layers.Dense(2)], (3, 4, 1), "rmb"),
        (lambda: [layers.Normalization(1), layers.Flatten(), layers.Dense(2, use_bias=False)], (3, 4), "rmb"),
        (lambda: [layers.Rescaling(0.5), layers.Dense(2, use_bias=False)], (4,), "m"),
        (lambda: [layers.LayerNormalization(), layers.Dense(2)], (4,), "lmb"),
        (
            lambda: [layers.Dense(5), layers.Dropout(0.5), layers.GaussianNoise(0.1), layers.Dense(2)],
            (4,),
            "mbmb",
        ),
        (lambda: [layers.Dense(5), layers.PReLU()], (4,), "mbmrma"),
    ],
)
def test_folding_keeps_predictions_with_fewer_nodes(parts, shape, left, dtype):
    model = stack_of(*parts(), shape=shape, dtype=dtype)
    x = np.random.default_rng(3).normal(size=(9, *shape)).astype(dtype)
    frozen = model.freeze()
    assert relative(frozen(x), model.predict(x)) < (1e-5 if dtype == "float32" else 1e-13)
    assert "".join(node.op[0] for node in frozen.program.nodes) == left


def test_a_plain_net_keeps_its_bits():
    model = stack_of(layers.Dense(5, activation="relu"), layers.Dense(3, activation="softmax"))
    x = np.random.default_rng(3).normal(size=(9, 4)).astype(np.float32)
    assert (model.freeze()(x) == model.predict(x)).all()
    assert [node.op for node in model.freeze().program.nodes] == [node.op for node in model.program.nodes]


def test_large_shifts_are_not_folded():
    x = np.random.default_rng(3).normal(1e4, 1, size=(50, 4)).astype(np.float32)
    normalization = layers.Normalization()
    normalization.adapt(x)
    model = fnn.Sequential([fnn.Input((4,)), normalization, layers.Dense(2)])
    assert relative(model.freeze()(x), model.predict(x)) < 1e-6


def test_what_several_read_is_folded_for_each():
    x = fnn.Input((4,))
    h = layers.Dense(5, name="h")(x)
    n = layers.BatchNormalization(name="n")(h)
    model = fnn.Model(x, [layers.Dense(2)(n), layers.Dense(3)(n), h, n], dtype="float64")
    model.get_layer("n").set_weights([np.arange(1.0, 6), np.ones(5), np.arange(5.0), np.full(5, 0.5)])
    a = np.random.default_rng(0).normal(size=(7, 4))
    frozen = model.freeze()
    for got, want in zip(frozen(a), model.predict(a), strict=True):
        assert relative(got, want) < 1e-13


class Turned(layers.Layer):
    """Scales and shifts in every way that ops have."""

    def build(self, shape):
        self.a = self.add_weight(shape[1:], "ones", name="a")
        self.b = self.add_weight((1,), "ones", name="b")

    def call(self, x):
        return (2.0 - x) * self.a / (self.b * self.b + 1.0) - x * 0.5 + 3.0


FOLDABLE = {
    "dense": lambda h: layers.Dense(3)(h),
    "product": lambda h: layers.Dense(4, use_bias=False)(h),
    "tanh": lambda h: layers.Dense(1, activation="tanh")(h),
    "batch": lambda h: layers.BatchNormalization()(h),
    "bare": lambda h: layers.BatchNormalization(center=False, scale=False)(h),
    "layer": lambda h: layers.LayerNormalization(epsilon=0.1)(h),
    "rescaled": lambda h: layers.Rescaling(-2.0, 1.5)(h),
    "normalized": lambda h: layers.Normalization()(h),
    "by row": lambda h: layers.Normalization(1)(h),
    "all alike": lambda h: layers.Normalization(None)(h),
    "flat": lambda h: layers.Flatten()(h),
    "turned": lambda h: Turned()(h),
    "twice": lambda h: layers.Add()([h, layers.Rescaling(0.3)(h)]),
}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from([(4,), (3, 4), (2, 3, 2)]),
    st.lists(st.sampled_from(sorted(FOLDABLE)), min_size=1, max_size=8),
    st.integers(0, 7),
)
def test_whatever_is_folded_predicts_the_same(shape, parts, also):
    x = fnn.Input(shape)
    made = [x]
    for part in parts:
        made.append(FOLDABLE[part](made[-1]))
    outputs = list({id(t): t for t in (made[-1], made[min(also, len(parts))]) if t is not x}.values())
    model = fnn.Model(x, outputs, dtype="float64")
    rng = np.random.default_rng(len(parts))
    for name, parameter in model.parameters.items():
        positive = "variance" in name or "gamma" in name
        parameter.assign(
            rng.uniform(0.5, 2, parameter.shape) if positive else rng.normal(size=parameter.shape)
        )
    values = rng.normal(size=(5, *shape))
    frozen = model.freeze()
    for got, want in zip(frozen(values), model.predict(values), strict=True):
        assert relative(got, want) < 1e-11
    before = [node.op for node in model.program.nodes if node.outputs]
    after = [node.op for node in frozen.program.nodes]
    assert len(after) <= len(before) and after.count("matmul") <= before.count("matmul")


def test_a_folded_predictor_is_saved_and_loaded(tmp_path):
    model = stack_of(layers.Rescaling(0.1), layers.Dense(5), layers.BatchNormalization(), layers.Dense(2))
    frozen = model.freeze()
    frozen.save(tmp_path / "p.fnn")
    again = fnn.load(tmp_path / "p.fnn")
    x = np.random.default_rng(3).normal(size=(9, 4)).astype(np.float32)
    assert again.program == frozen.program and (again(x) == frozen(x)).all()
