"""Random architectures: what the engine predicts is what a walk over the layers in plain NumPy gives, and neither a file, nor
the batch a sample stands in, nor the number of threads changes a bit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn as fnn
from fastnn import layers

ACTIVATIONS = ["linear", "sigmoid", "hard_sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus",
               "softsign", "softmax", "log_softmax", "step"]  # fmt: skip


def activate(name, x):
    """The activations' textbook definitions."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    erf = np.vectorize(math.erf)
    return {
        "linear": lambda: x, "sigmoid": lambda: 1 / (1 + np.exp(-x)), "hard_sigmoid": lambda: np.clip(x / 6 + 0.5, 0, 1),
        "tanh": lambda: np.tanh(x), "relu": lambda: np.maximum(x, 0), "leaky_relu": lambda: np.where(x > 0, x, 0.2 * x),
        "elu": lambda: np.where(x > 0, x, np.expm1(x)),
        "selu": lambda: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
        "gelu": lambda: x * 0.5 * (1 + erf(x / np.sqrt(2))), "silu": lambda: x / (1 + np.exp(-x)),
        "mish": lambda: x * np.tanh(np.log1p(np.exp(x))), "softplus": lambda: np.log1p(np.exp(x)),
        "softsign": lambda: x / (1 + np.abs(x)), "softmax": lambda: e / e.sum(axis=-1, keepdims=True),
        "log_softmax": lambda: np.log(e / e.sum(axis=-1, keepdims=True)), "step": lambda: (x >= 0) * 1.0,
    }[name]()  # fmt: skip


@st.composite
def networks(draw):
    """A model, and a function of its inputs that walks the same layers in NumPy."""
    dtype = draw(st.sampled_from(["float32", "float64"]))
    rank = draw(st.integers(1, 2))
    shapes = [tuple(draw(st.lists(st.integers(1, 9), min_size=rank, max_size=rank))) for _ in range(draw(st.integers(1, 2)))]
    inputs = [fnn.Input(s) for s in shapes]
    # each entry: symbolic tensor, function from the list of input arrays to its value
    known = [(t, lambda arrays, i=i: arrays[i]) for i, t in enumerate(inputs)]
    for _ in range(draw(st.integers(1, 6))):
        tensor, value = known[draw(st.integers(0, len(known) - 1))]
        kind = draw(st.sampled_from(["dense", "activation", "dropout", "flatten", "reshape", "join", "concatenate"]))
        same = [(t, v) for t, v in known if t.shape == tensor.shape]
        if kind == "dense":
            units, name = draw(st.integers(1, 40)), draw(st.sampled_from(ACTIVATIONS[:-1]))
            layer = layers.Dense(units, activation=name, use_bias=draw(st.booleans()), bias_initializer="random_normal")
            made = layer(tensor)

            def result(arrays, layer=layer, value=value, name=name):
                z = value(arrays) @ layer.kernel.value.astype(float)
                return activate(name, z + layer.bias.value if layer.use_bias else z)

        elif kind == "activation":
            name = draw(st.sampled_from(ACTIVATIONS[:-1]))
            made = layers.Activation(name)(tensor)
            result = lambda arrays, value=value, name=name: activate(name, value(arrays))  # noqa: E731
        elif kind == "dropout":
            made, result = layers.Dropout(0.4)(tensor), value
        elif kind == "flatten":
            made = layers.Flatten()(tensor)
            result = lambda arrays, value=value: value(arrays).reshape(len(arrays[0]), -1)  # noqa: E731
        elif kind == "reshape":
            made = layers.Reshape((-1, 1))(tensor)
            result = lambda arrays, value=value: value(arrays).reshape(len(arrays[0]), -1, 1)  # noqa: E731
        elif kind == "join":
            other, theirs = same[draw(st.integers(0, len(same) - 1))]
            adds = draw(st.booleans())
            made = (layers.Add() if adds else layers.Multiply())([tensor, other])
            result = lambda arrays, a=value, b=theirs, adds=adds: a(arrays) + b(arrays) if adds else a(arrays) * b(arrays)  # noqa: E731
        else:
            other, theirs = same[draw(st.integers(0, len(same) - 1))]
            made = layers.Concatenate()([tensor, other])
            result = lambda arrays, a=value, b=theirs: np.concatenate([a(arrays), b(arrays)], axis=-1)  # noqa: E731
        known.append((made, result))
    # Every input has to lead somewhere: the outputs are the last tensor and, where it needs it, each input passed on.
    outputs = [known[-1]] + [(layers.Flatten()(t), lambda arrays, i=i: arrays[i].reshape(len(arrays[i]), -1)) for i, t in enumerate(inputs)]
    model = fnn.Model(inputs, [t for t, _ in outputs], dtype=dtype)
    rows = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    arrays = [rng.normal(size=(rows, *s)).astype(dtype) for s in shapes]
    return model, arrays, [v for _, v in outputs], dtype


def predict(model, arrays, **options):
    return model.predict(arrays, verbose=0, **options)


@given(networks())
def test_predict_is_a_walk_in_numpy(network):
    model, arrays, walks, dtype = network
    for made, walk in zip(predict(model, arrays), walks):
        expected = walk([a.astype(float) for a in arrays])
        assert made.shape == expected.shape and made.dtype == dtype
        scale = np.abs(expected).max(initial=1)
        assert np.abs(made - expected).max() <= (2e-4 if dtype == "float32" else 1e-11) * scale


@given(networks())
def test_a_file_changes_no_bit(network):
    model, arrays, _, _ = network
    stored = fnn.io.from_bytes(fnn.io.to_bytes(model))
    for a, b in zip(predict(model, arrays), predict(stored, arrays)):
        assert a.tobytes() == b.tobytes()


@given(networks(), st.integers(1, 8))
def test_neither_batches_nor_threads_change_a_bit(network, batch_size):
    model, arrays, _, _ = network
    whole = predict(model, arrays)
    for a, b in zip(predict(model, arrays, batch_size=batch_size), whole):
        assert a.tobytes() == b.tobytes()
    row = len(arrays[0]) // 2
    for a, b in zip(predict(model, [x[row : row + 1] for x in arrays]), whole):
        assert a.tobytes() == b[row : row + 1].tobytes()


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_gives_the_same_bits_for_any_number_of_threads(dtype, threads):
    """Wide enough that phases really are shared."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 120)), rng.integers(0, 7, 300)

    def train():
        fnn.set_seed(5)
        t = fnn.Input((120,))
        h = layers.Dense(150, activation="gelu", kernel_regularizer="l2")(t)
        h = layers.Dropout(0.3)(h)
        h = layers.Concatenate()([h, layers.Dense(33, activation="tanh")(t)])
        model = fnn.Model(t, layers.Dense(7, activation="softmax")(h), dtype=dtype)
        model.compile(optimizer=fnn.optimizers.Adam(0.01, clipnorm=1.0), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=97, epochs=3, verbose=0, sample_weight=rng.random(300) * 0 + 1.5)
        return history.history, [w.tobytes() for w in model.get_weights()]

    before = fnn.get_num_threads()
    try:
        fnn.set_num_threads(1)
        alone = train()
        fnn.set_num_threads(threads)
        assert train() == alone
    finally:
        fnn.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 5, 16])
def test_few_rows_through_wide_layers_give_the_bits_of_many(rows):
    """Products of few rows are shared by columns, so every thread reads what the others wrote."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 250)).astype("float32"), rng.integers(0, 7, rows)
    fnn.set_seed(5)
    t = fnn.Input((250,))
    a = layers.Dense(900, activation="relu")(t)
    b = layers.Dense(900, activation="tanh", use_bias=False)(a)
    h = layers.LayerNormalization()(layers.Add()([a, b]))
    model = fnn.Model(t, layers.Dense(7, activation="softmax")(layers.Dense(701, activation="relu")(h)))
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    want, start, frozen = model.predict(x)[:rows], model.get_weights(), model.freeze()

    def train():
        model.set_weights(start)
        model.fit(x[:rows], y, batch_size=rows, epochs=2, shuffle=False, verbose=0)
        return [w.tobytes() for w in model.get_weights()]

    before, trained = fnn.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            fnn.set_num_threads(threads)
            model.set_weights(start)
            for _ in range(20):
                assert model.predict(x[:rows]).tobytes() == want.tobytes()
                assert frozen(x[:rows]).tobytes() == want.tobytes()
            trained.append(train())
    finally:
        fnn.set_num_threads(before)
    assert trained[1] == trained[0] and trained[2] == trained[0]
