"""Model and Sequential: making, calling, nesting, weights, gradients, freezing."""

import threading

import numpy as np
import pytest

import fastnn as fnn
from fastnn import layers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DeviceError,
    GraphError,
    NotCompiledError,
    ShapeError,
    UnknownNameError,
)


def dense(x, layer):
    kernel, bias = layer.get_weights()
    return np.asarray(x, kernel.dtype) @ kernel + bias


def test_functional_model_is_the_composition_of_its_layers(rng):
    x = fnn.Input((3,), name="x")
    first = layers.Dense(5, activation="tanh", name="first")
    last = layers.Dense(2, name="last")
    model = fnn.Model(x, last(layers.Concatenate()([x, first(x)])), dtype="float64")
    a = rng.normal(size=(7, 3))
    expected = dense(np.concatenate([a, np.tanh(dense(a, first))], 1), last)
    np.testing.assert_allclose(model.predict(a), expected, rtol=1e-12)
    np.testing.assert_array_equal(model(a), model.predict(a, batch_size=2))
    assert model.input_shape == (None, 3) and model.output_shape == (None, 2)
    assert [layer.name for layer in model.layers] == ["x", "first", model.layers[2].name, "last"]
    assert list(model.parameters) == ["first/kernel", "first/bias", "last/kernel", "last/bias"]
    assert model.get_layer("last") is last and model.get_layer(index=1) is first
    assert model.count_params() == sum(w.size for w in model.get_weights()) == 3 * 5 + 5 + 8 * 2 + 2


def test_one_sample_gives_the_bits_of_a_batch(rng):
    model = fnn.Sequential([fnn.Input((9,)), layers.Dense(33, "gelu"), layers.Dense(4, "softmax")])
    x = rng.normal(size=(300, 9))
    together = model.predict(x)
    np.testing.assert_array_equal(
        np.concatenate([model.predict(x[i : i + 1]) for i in range(40)]), together[:40]
    )
    np.testing.assert_array_equal(model.predict(x, batch_size=7), together)
    np.testing.assert_array_equal(model.predict(x, batch_size=7, steps=2), together[:14])


def test_several_inputs_and_outputs_by_list_and_by_name(rng):
    a, b = fnn.Input((2,), name="a"), fnn.Input((3,), name="b")
    h = layers.Concatenate()([a, b])
    p, q = layers.Dense(1, name="p")(h), layers.Dense(4, name="q", activation="softmax")(h)
    listed = fnn.Model([a, b], [p, q])
    named = fnn.Model({"one": a, "two": b}, {"first": p, "second": q})
    x = rng.normal(size=(5, 2)), rng.normal(size=(5, 3))
    out = listed.predict(list(x))
    assert isinstance(out, list) and [o.shape for o in out] == [(5, 1), (5, 4)]
    by_name = named.predict({"two": x[1], "one": x[0]})
    assert list(by_name) == ["first", "second"]
    np.testing.assert_array_equal(by_name["second"], out[1])
    np.testing.assert_array_equal(listed.predict({"a": x[0], "b": x[1]})[0], out[0])
    assert named.input_names == ["one", "two"] and named.output_names == ["first", "second"]


def test_shared_layers_and_nested_models_share_parameters(rng):
    shared = layers.Dense(4, name="shared")
    inner = fnn.Sequential([fnn.Input((4,)), layers.Dense(4, "tanh", name="inner_dense")], name="inner")
    x = fnn.Input((4,))
    model = fnn.Model(x, inner(shared(inner(shared(x)))))
    assert list(model.parameters) == [
        "shared/kernel",
        "shared/bias",
        "inner_dense/kernel",
        "inner_dense/bias",
    ]
    a = rng.normal(size=(3, 4)).astype("f")
    before = inner.predict(a)
    model.compile("sgd", "mse")
    model.fit(a, a, epochs=2, verbose=0)
    assert not np.array_equal(inner.predict(a), before)
    step = lambda v: inner.predict(dense(v, shared))  # noqa: E731
    np.testing.assert_allclose(model.predict(a), step(step(a)), rtol=1e-5, atol=1e-6)


def test_feature_extractor_shares_weights_and_follows_the_dtype(rng):
    model = fnn.Sequential(
        [fnn.Input((4,)), layers.Dense(3, "relu", name="h"), layers.Dense(1)], dtype="float64"
    )
    x = rng.normal(size=(6, 4))
    model.predict(x)
    body = fnn.Model(model.inputs, model.get_layer("h").output)
    assert body.dtype == "float64"
    model.get_layer("h").kernel.assign(np.zeros((4, 3)))
    assert not body.predict(x).any()


def test_sequential_waits_for_its_input_shape(rng):
    model = fnn.Sequential([layers.Dense(3), layers.Dense(1)])
    assert "not built" in repr(model) and model.weights == []
    model.compile("sgd", "mse")
    with pytest.raises(GraphError):
        model.get_config()
    model.fit(rng.normal(size=(8, 5)), rng.normal(size=8), verbose=0)
    assert model.input_shape == (None, 5)
    model.add(layers.Dense(2))
    assert model.output_shape == (None, 2)
    last = model.pop()
    assert last.units == 2 and model.output_shape == (None, 1)
    with pytest.raises(ShapeError):
        model.add(layers.Reshape((7,)))
    assert len(model.layers) == 2 and model.predict(np.zeros((2, 5))).shape == (2, 1)


def test_weights_round_trip_and_are_copies():
    model = fnn.Sequential([fnn.Input((3,)), layers.Dense(2)])
    weights = [np.full((3, 2), 2.0), np.arange(2.0)]
    model.set_weights(weights)
    np.testing.assert_array_equal(model.predict(np.ones((1, 3))), [[6, 7]])
    kernel = model.parameters[next(iter(model.parameters))].value
    with pytest.raises(ValueError):
        kernel[0, 0] = 1
    with pytest.raises(ShapeError):
        model.set_weights([np.zeros((3, 2)), np.zeros(3)])
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])


def test_gradients_match_finite_differences(rng):
    x = fnn.Input((3,))
    h = layers.Dense(4, "tanh", kernel_regularizer=fnn.regularizers.L2(0.1))(x)
    model = fnn.Model(x, layers.Dense(2)(h), dtype="float64")
    model.compile("sgd", "mse")
    a, y, w = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.uniform(size=5)
    gradients, by_input = model.gradients(a, y, sample_weight=w, with_inputs=True)
    assert list(gradients) == list(model.parameters)
    loss = lambda: model.evaluate(a, y, sample_weight=w)  # noqa: E731
    step = 1e-6
    for name, p in model.parameters.items():
        value = p.value
        expected = np.zeros(p.shape)
        for i in np.ndindex(p.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[i] += sign * step
                p.assign(moved)
                ends.append(loss())
            expected[i] = (ends[0] - ends[1]) / (2 * step)
        p.assign(value)
        assert np.max(np.abs(gradients[name] - expected)) <= 1e-6 * np.max(np.abs(expected))
    moved = a.copy()
    moved[2, 1] += step
    ends = model.evaluate(moved, y, sample_weight=w), loss()
    assert (ends[0] - ends[1]) / step == pytest.approx(by_input[2, 1], rel=1e-4)


def test_frozen_and_disconnected_parameters_in_gradients(rng):
    x = fnn.Input((3,))
    a, b = layers.Dense(2, name="a"), layers.Dense(1, name="b")
    model = fnn.Model(x, [a(x), b(x)])
    model.get_layer("a").trainable = False
    model.compile("sgd", {"a": "mse", "b": "mse"})
    data = rng.normal(size=(4, 3))
    assert list(model.gradients(data, [np.zeros((4, 2)), np.zeros((4, 1))])) == ["b/kernel", "b/bias"]
    before = a.get_weights()
    model.fit(data, [np.zeros((4, 2)), np.zeros((4, 1))], verbose=0)
    np.testing.assert_array_equal(before[0], a.get_weights()[0])
    with pytest.warns(UserWarning):
        a.trainable = True
        model.compile("sgd", {"b": "mse"})
    assert not model.gradients(data, {"b": np.zeros(4)})["a/kernel"].any()


def test_predictor_is_a_snapshot(rng):
    model = fnn.Sequential([fnn.Input((4,)), layers.Dense(8, "relu"), layers.Dense(3)])
    x = rng.normal(size=(6, 4)).astype("f")
    frozen = model.freeze()
    before = model.predict(x)
    np.testing.assert_array_equal(frozen(x), before)
    np.testing.assert_array_equal(frozen(x[0]), before[0])
    out = np.empty((6, 3), "f")
    assert frozen(x, out=out) is out
    model.set_weights([w + 1 for w in model.get_weights()])
    np.testing.assert_array_equal(frozen(x), before)
    with pytest.raises(ShapeError):
        frozen(x[:, :2])


def test_predictor_of_several_inputs(rng):
    a, b = fnn.Input((2,), name="a"), fnn.Input((2,), name="b")
    model = fnn.Model({"a": a, "b": b}, [layers.Add()([a, b]), layers.Multiply()([a, b])])
    frozen = model.freeze()
    x = {"a": rng.normal(size=(300, 2)), "b": rng.normal(size=(300, 2))}
    for mine, its in zip(frozen(x), model.predict(x), strict=True):
        np.testing.assert_array_equal(mine, its)
    out = [np.empty((300, 2), "f"), np.empty((300, 2), "f")]
    assert frozen(x, out=out)[1] is out[1]
    for wrong in (np.empty((2, 300), "f").T, np.empty((300, 2)), [[0.0]]):
        with pytest.raises(ArgumentTypeError):
            frozen(x, out=[out[0], wrong])
    with pytest.raises(ShapeError):
        frozen(x, out=[out[0], np.empty((299, 2), "f")])


def test_many_threads_predict_while_one_trains(rng):
    model = fnn.Sequential([fnn.Input((16,)), layers.Dense(32, "relu"), layers.Dense(4)])
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(512, 16)).astype("f"), np.zeros((512, 4), "f")
    frozen, reference = model.freeze(), model.predict(x)
    failures = []

    def predict():
        for _ in range(10):
            if not np.array_equal(frozen(x), reference) or not np.isfinite(model.predict(x)).all():
                failures.append(1)

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    model.fit(x, y, epochs=5, verbose=0)
    for thread in threads:
        thread.join()
    assert not failures


def test_what_models_print(capsys):
    model = fnn.Sequential([fnn.Input((3,)), layers.Dense(2, name="only")], name="small")
    model.summary()
    text = capsys.readouterr().out
    assert "only (Dense)" in text and "Total params: 8" in text
    lines = []
    model.summary(print_fn=lines.append)
    assert lines[0] + "\n" == text
    assert "(None, 3) -> (None, 2), 8 parameters" in repr(model)
    assert "<table>" in model._repr_html_() and str(model.program).startswith("<Program float32")


def test_config_round_trip(rng):
    x = fnn.Input((4,), name="x")
    inner = fnn.Model(x, layers.Dense(4, "relu", name="d")(x), name="inner")
    z = fnn.Input((4,), name="z")
    model = fnn.Model({"z": z}, {"out": layers.Add()([inner(z), inner(inner(z))])})
    twin = fnn.Model.from_config(model.get_config())
    twin.set_weights(model.get_weights())
    a = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(twin.predict({"z": a})["out"], model.predict({"z": a})["out"])
    assert twin.get_config() == model.get_config()


def test_unfit_arguments():
    x = fnn.Input((3,))
    with pytest.raises(DeviceError):
        fnn.Model(x, layers.Dense(1)(x), device="gpu")
    with pytest.raises(TypeError):
        fnn.Model(x, layers.Dense(1)(x), dtype="int8")
    with pytest.raises(ArgumentError):
        fnn.Model(x)
    with pytest.raises(GraphError, match="Input"):
        fnn.Model(fnn.Input((3,)), layers.Dense(1)(x))
    model = fnn.Model(x, layers.Dense(1, name="hidden")(x))
    with pytest.raises(UnknownNameError, match="hidden"):
        model.get_layer("hiden")
    with pytest.raises(NotCompiledError):
        model.fit(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(NotCompiledError):
        model.evaluate(np.zeros((2, 3)), np.zeros(2))
    same = layers.Dense(2, name="same")
    with pytest.raises((GraphError, ArgumentError), match="same"):
        fnn.Sequential([fnn.Input((3,)), same, layers.Dense(2, name="same")])
