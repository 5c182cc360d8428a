"""fastnn.explain against Captum, finite differences and arithmetic by hand."""

import numpy as np
import pytest
from golden.store import Reader

import fastnn as fnn
from fastnn import errors, explain, layers, ops

CAPTUM = Reader("explain")
CASES = [pytest.param(case, id=case["name"]) for case in CAPTUM.cases]
TOLERANCE = 1e-5


def build(case, dtype="float64"):
    """The net of a case, its weights set."""
    made = {"x": fnn.Input((case["features"],), name="x")}
    for result, kind, sources, config in case["layers"]:
        arguments = [made[s] for s in sources]
        layer = getattr(layers, kind)(**config, name=result)
        made[result] = layer(arguments if len(arguments) > 1 else arguments[0])
    model = fnn.Model(made["x"], made[case["layers"][-1][0]], dtype=dtype)
    for name, weights in case["weights"].items():
        model.get_layer(name).set_weights([CAPTUM.get("given", w) for w in weights])
    return model


def given(case):
    return (CAPTUM.get("given", case["given"][name]) for name in ("x", "baseline"))


def wanted(case):
    return {name: CAPTUM.get("float64", where) for name, where in case["expected"].items()}


def attributions(model, case):
    """What Captum computed for a case, by fastnn."""
    x, baseline = given(case)
    target = case["target"]
    found = {
        "saliency": explain.saliency(model, x, target),
        "gradient": explain.saliency(model, x, target, abs=False),
        "integrated_gradients": explain.integrated_gradients(model, x, target=target),
        "integrated_gradients, baseline": explain.integrated_gradients(
            model, x, baseline, target, n_steps=20, method="riemann_trapezoid"
        ),
    }
    if "relevance" in case["expected"]:
        found["relevance"] = explain.relevance(model, x, target)
        found["relevance, epsilon"] = explain.relevance(model, x, target, CAPTUM.about["epsilon"])
    hidden = explain.activations(model, x)
    return found | {f"activations {name}": a for name, a in hidden.items() if name.startswith("dense")}


def test_there_are_20_nets_and_each_method_is_among_them():
    assert len(CAPTUM.cases) == 20
    counts = [sum("relevance" in case["expected"] for case in CAPTUM.cases)]
    kinds = {kind for case in CAPTUM.cases for _, kind, _, _ in case["layers"]}
    assert counts == [12] and {"Dense", "Add", "Concatenate", "BatchNormalization", "Dropout"} <= kinds


@pytest.mark.parametrize("case", CASES)
def test_attributions_against_captum(case):
    want = wanted(case)
    got = attributions(build(case), case)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def test_gradients_in_single_precision():
    for case in CAPTUM.cases:
        got, want = attributions(build(case, "float32"), case), wanted(case)
        for name in ("saliency", "integrated_gradients"):
            assert got[name].dtype == np.float32
            assert np.abs(got[name] - want[name]).max() <= TOLERANCE * max(1, np.abs(want[name]).max()), name


@pytest.mark.parametrize("case", CASES[12:])
def test_integrated_gradients_are_complete(case):
    """They sum to f(x) - f(baseline): where f is smooth exactly, else as the steps get shorter."""
    model, target = build(case), np.array(case["target"])
    x, baseline = given(case)
    used = {config.get("activation") for _, _, _, config in case["layers"]}
    smooth = not used & {"relu", "elu", "softsign"}
    steps = {"n_steps": 100} if smooth else {"n_steps": 2000, "method": "riemann_middle"}
    got, delta = explain.integrated_gradients(
        model, x, baseline, target, **steps, return_convergence_delta=True
    )
    rows = np.arange(len(x))
    change = model.predict(x)[rows, target] - model.predict(baseline)[0, target]
    assert got.sum(1) == pytest.approx(change, abs=1e-9 if smooth else 2e-3)
    assert delta == pytest.approx(got.sum(1) - change, abs=1e-12)


def test_every_rule_of_the_integral_finds_a_parabola():
    """f(x) = x^2 has the gradient 2x: x sum_i w_i 2 a_i x, in which every rule's error is known."""
    x = fnn.Input((1,))
    model = fnn.Model(x, ops.square(x), dtype="float64")
    for method, factor in [
        ("gausslegendre", 1.0), ("riemann_middle", 1.0), ("riemann_left", 0.9), ("riemann_right", 1.1),
        ("riemann_trapezoid", 0.9),  # as in Captum, its weights sum to (n - 1) / n
    ]:  # fmt: skip
        got = explain.integrated_gradients(model, [[3.0]], n_steps=10, method=method)
        assert got == pytest.approx(9.0 * factor, rel=1e-12), method


def test_batches_beyond_one_run_are_the_same(rng):
    model = fnn.Sequential([fnn.Input((3,)), layers.Dense(4, "tanh", name="h"), layers.Dense(2)])
    x = rng.normal(size=(2500, 3))
    target = rng.integers(0, 2, 2500)
    for method in (explain.saliency, explain.relevance, explain.integrated_gradients):
        whole = method(model, x, target=target)
        assert np.array_equal(whole[2400:], method(model, x[2400:], target=target[2400:]))
    assert np.array_equal(explain.activations(model, x, "h"), explain.activations(model, x)["h"])


def test_several_inputs_keep_their_form(rng):
    a, b = fnn.Input((3,), name="a"), fnn.Input((2, 2), name="b")
    joined = layers.Concatenate()([a, layers.Flatten()(b)])
    y = layers.Dense(2, use_bias=False)(layers.Dense(6, activation="relu", use_bias=False)(joined))
    model = fnn.Model({"a": a, "b": b}, y, dtype="float64")
    x = {"a": rng.normal(size=(5, 3)), "b": rng.normal(size=(5, 2, 2))}
    for method in (explain.saliency, explain.relevance, explain.integrated_gradients):
        got = method(model, x, target=1)
        assert {k: v.shape for k, v in got.items()} == {"a": (5, 3), "b": (5, 2, 2)}
    score = model.predict(x)[:, 1]
    total = sum(v.reshape(5, -1).sum(1) for v in explain.relevance(model, x, 1).values())
    assert total == pytest.approx(score, rel=1e-6)  # without biases all of it arrives
    with_base = explain.integrated_gradients(model, x, {"a": 0.5, "b": np.ones((2, 2))}, 1)
    assert set(with_base) == {"a", "b"}


def test_targets_of_outputs_with_more_dimensions(rng):
    model = fnn.Sequential([fnn.Input((3, 2)), layers.Dense(4)], dtype="float64")
    kernel = model.get_weights()[0]
    x = rng.normal(size=(2, 3, 2))
    got = explain.saliency(model, x, (1, 3), abs=False)
    assert np.array_equal(got[0], got[1])
    assert got[0] == pytest.approx(np.stack([np.zeros(2), kernel[:, 3], np.zeros(2)]))
    each = explain.saliency(model, x, [(1, 3), (0, 2)], abs=False)
    assert np.array_equal(each[0], got[0]) and each[1, 0] == pytest.approx(kernel[:, 2])


def test_relevance_by_hand():
    """z = (3, -1) from x = (1, 2) and kernel ((1, 3), (1, -2)); relu keeps 3; the output is 2 * 3 + 1 = 7."""
    model = fnn.Sequential(
        [fnn.Input((2,)), layers.Dense(2, "relu", use_bias=False), layers.Dense(1)], dtype="float64"
    )
    model.set_weights([[[1, 3], [1, -2]], [[2], [5]], [1]])
    assert explain.relevance(model, [[1, 2]], epsilon=1e-12) == pytest.approx(np.array([[2, 4]]))


def test_relevance_of_a_class_begins_before_the_softmax(rng):
    stack = [fnn.Input((4,)), layers.Dense(5, activation="tanh", name="h"), layers.Dense(3, name="z")]
    plain = fnn.Sequential(stack, dtype="float64")
    ended = fnn.Sequential([*plain.layers, layers.Activation("softmax")], dtype="float64")
    x = rng.normal(size=(6, 4))
    assert np.array_equal(explain.relevance(plain, x, 2), explain.relevance(ended, x, 2))


def test_relevance_goes_with_the_element(rng):
    """PReLU, Maximum and a custom layer of moves: each relevance lands where its element came from."""
    x = fnn.Input((4,))
    y = layers.PReLU(alpha_initializer=fnn.initializers.Constant(0.3))(x)
    model = fnn.Model(x, layers.Flatten()(layers.Reshape((2, 2))(y)), dtype="float64")
    data = rng.normal(size=(3, 4))
    assert explain.relevance(model, data, 1) == pytest.approx(np.eye(4)[1] * model.predict(data))
    a, b = fnn.Input((1,), name="a"), fnn.Input((1,), name="b")
    model = fnn.Model([a, b], layers.Maximum()([a, b]), dtype="float64")
    left, right = explain.relevance(model, [np.array([[2.0], [1.0]]), np.array([[1.0], [5.0]])])
    assert left == pytest.approx(np.array([[2], [0]])) and right == pytest.approx(np.array([[0], [5]]))


@pytest.mark.parametrize("layer", [layers.LayerNormalization(name="ln"), layers.Softmax(name="ln"),
                                   layers.UnitNormalization(name="ln")])  # fmt: skip
def test_relevance_names_the_layer_without_a_rule(layer):
    model = fnn.Sequential([fnn.Input((4,)), layers.Dense(3), layer, layers.Dense(2)])
    with pytest.raises(errors.GraphError, match=r"no rule for \w+ 'ln'.*Dense.*integrated_gradients"):
        explain.relevance(model, np.ones((1, 4)), 0)
    assert explain.integrated_gradients(model, np.ones((1, 4)), target=0).shape == (1, 4)


def test_activations_of_a_layer_called_twice_and_of_one_with_two_outputs(rng):
    class Halves(layers.Layer):
        def call(self, x):
            return [x[:, :2], x[:, 2:]]

    shared, x = layers.Dense(4, name="shared"), fnn.Input((4,), name="x")
    once = shared(x)
    low, high = Halves(name="halves")(shared(once))
    model = fnn.Model(x, layers.Add(name="sum")([low, high]), dtype="float64")
    data = rng.normal(size=(3, 4))
    found = explain.activations(model, data)
    assert list(found) == ["shared", "halves", "sum"]
    kernel, bias = shared.get_weights()
    first = data @ kernel + bias
    assert found["shared"][0] == pytest.approx(first)
    assert found["shared"][1] == pytest.approx(first @ kernel + bias)
    assert np.hstack(found["halves"]) == pytest.approx(found["shared"][1])
    assert np.array_equal(explain.activations(model, data, "sum"), model.predict(data))
    assert np.array_equal(explain.activations(model, data, shared)[0], found["shared"][0])
    assert explain.activations(model, data, "x") == pytest.approx(data)


def test_explanations_rest_dropout_and_leave_the_model_alone(rng):
    model = fnn.Sequential(
        [fnn.Input((3,)), layers.BatchNormalization(), layers.Dropout(0.5), layers.GaussianNoise(1.0),
         layers.Dense(2)]
    )  # fmt: skip
    model.compile("adam", "mse")
    x = rng.normal(size=(8, 3))
    before = model.get_weights()
    first = explain.saliency(model, x, 1)
    assert np.array_equal(first, explain.saliency(model, x, 1))
    assert explain.relevance(model, x, 1).shape == (8, 3)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    model.fit(x, rng.normal(size=(8, 2)), verbose=0)
    assert not np.array_equal(first, explain.saliency(model, x, 1))  # it sees the weights as they are


def test_a_model_within_a_model_is_explained_like_its_layers(rng):
    inner_x, x, z = fnn.Input((4,)), fnn.Input((4,)), fnn.Input((4,))
    first, second, last = layers.Dense(5, "relu"), layers.Dense(4, "tanh"), layers.Dense(2)
    inner = fnn.Model(inner_x, second(first(inner_x)), name="inner")
    nested, flat = fnn.Model(x, last(inner(x))), fnn.Model(z, last(second(first(z))))
    data = rng.normal(size=(6, 4))
    for method in (explain.saliency, explain.relevance, explain.integrated_gradients):
        assert np.array_equal(method(nested, data, target=1), method(flat, data, target=1))
    assert np.array_equal(explain.relevance(nested, data, 1, 0.2), explain.relevance(flat, data, 1, 0.2))
    assert np.array_equal(explain.activations(nested, data, "inner"), inner.predict(data))


@pytest.mark.parametrize("layer", [
    layers.LayerNormalization(), layers.UnitNormalization(), layers.Rescaling(2.0, 1.0), layers.Softmax(),
    layers.Reshape((2, 2)), layers.AlphaDropout(0.3), layers.Activation(lambda x: x * ops.tanh(x)),
], ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_gradients_through_other_layers_against_finite_differences(layer, rng):
    model = fnn.Sequential(
        [fnn.Input((4,)), layer, layers.Flatten(), layers.Dense(3, "softmax")], dtype="float64"
    )
    x, step = rng.normal(size=(5, 4)), 1e-6
    ends = ([model.predict(x + side * step * e)[:, 2] for e in np.eye(4)] for side in (1, -1))
    want = (np.array(next(ends)) - np.array(next(ends))).T / (2 * step)
    assert explain.saliency(model, x, 2, abs=False) == pytest.approx(want, abs=1e-8)


# ---- the input that excites a neuron most ----


def test_maximize_finds_a_linear_neurons_maximum():
    """w x - l2 |x|^2 is largest at w / (2 l2); within bounds w x is at the bound that w points to."""
    model = fnn.Sequential([fnn.Input((4,)), layers.Dense(2, activation="relu", name="h")], dtype="float64")
    w = np.array([0.5, -1.0, 2.0, -0.25])
    model.set_weights([np.stack([w, -w], 1), [0, 0]])
    assert explain.maximize(model, "h", 0, l2=1.0, steps=400) == pytest.approx(w / 2, abs=2e-3)
    corner = explain.maximize(model, "h", 1, bounds=(-1, 2), steps=400)
    assert np.array_equal(corner, np.where(w < 0, 2, -1))


def test_maximize_raises_the_neuron_it_names(rng):
    fnn.set_seed(3)
    model = fnn.Sequential(
        [fnn.Input((5,)), layers.Dense(8, activation="tanh"), layers.Dense(4, activation="softmax")],
        dtype="float64",
    )
    start = rng.normal(size=(3, 5))
    for neuron in range(4):
        found = explain.maximize(model, neuron=neuron, x=start)
        assert (model.predict(found)[:, neuron] > model.predict(start)[:, neuron]).all()
    assert explain.maximize(model, x=start[0]).shape == (5,)
    alone = explain.maximize(model, seed=1)
    assert alone.shape == (5,) and np.array_equal(alone, explain.maximize(model, seed=1))


def test_maximize_says_where_there_is_nothing_to_climb():
    model = fnn.Sequential([fnn.Input((2,)), layers.Dense(2, activation="relu"), layers.Dense(1, name="y")])
    model.set_weights([np.ones((2, 2)), [-9, -9], np.ones((2, 1)), [0]])
    with pytest.raises(errors.ArgumentError, match=r"neuron 0 of layer 'y' does not change.*another x"):
        explain.maximize(model, x=[0.0, 0.0])


# ---- vanishing gradients ----


def deep(activation, initializer):
    stack = [fnn.Input((64,))]
    stack += [
        layers.Dense(200, activation=activation, kernel_initializer=initializer, name=f"h{i}")
        for i in range(20)
    ]
    model = fnn.Sequential([*stack, layers.Dense(10, activation="softmax", name="out")])
    model.compile(fnn.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_gradients_vanish_in_a_deep_sigmoid_net_and_not_in_its_relu_twin():
    fnn.set_seed(0)
    x, y = fnn.datasets.load_digits()
    x, test = x / 16, np.arange(len(x)) % 3 == 0
    sigmoid, relu = deep("sigmoid", "glorot_uniform"), deep("relu", "he_normal")
    norms = explain.gradient_norms(sigmoid, x[:200], y[:200])
    assert list(norms) == [f"h{i}" for i in range(20)] + ["out"]
    by_hand = sigmoid.gradients(x[:200], y[:200])
    assert norms["h7"] ** 2 == pytest.approx(
        sum((by_hand[f"h7/{w}"].astype(float) ** 2).sum() for w in ("kernel", "bias")), rel=1e-5
    )
    assert norms["h0"] < 1e-7 * norms["out"]
    norms = explain.gradient_norms(relu, x[:200], y[:200])
    assert 1e-2 < norms["h0"] / norms["out"] < 1e2
    relu.fit(x[~test], y[~test], epochs=15, verbose=0)
    sigmoid.fit(x[~test], y[~test], epochs=2, verbose=0)
    assert relu.evaluate(x[test], y[test])[1] >= 0.95
    assert sigmoid.evaluate(x[test], y[test])[1] < 0.3


# ---- mistakes ----


def small():
    return fnn.Sequential(
        [fnn.Input((3,), name="x"), layers.Dense(4, "tanh", name="h"), layers.Dense(2, name="y")]
    )


X = np.ones((5, 3))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: explain.saliency(small(), X), errors.ArgumentError, "target is needed, an index below 2"),
        (lambda: explain.saliency(small(), X, 2), errors.ArgumentError, "index below 2, got 2"),
        (lambda: explain.relevance(small(), X, -1), errors.ArgumentError, "index below 2, got -1"),
        (lambda: explain.saliency(small(), X, "y"), errors.ArgumentTypeError, "must be an index below 2"),
        (lambda: explain.saliency(small(), X, 0.5), errors.ArgumentTypeError, "got 0.5"),
        (lambda: explain.saliency(small(), X, [0, 1]), errors.ShapeError, r"each of the 5 samples"),
        (lambda: explain.saliency(small(), X[:, :2], 0), errors.ShapeError, r"needs shape \(None, 3\)"),
        (lambda: explain.saliency(small(), X * np.nan, 0), errors.DataError, "finite.*row 0"),
        (lambda: explain.saliency(small().freeze(), X, 0), errors.ArgumentTypeError, "fastnn.Model"),
        (lambda: explain.activations(small(), X, "g"), errors.UnknownNameError, "layer 'g'.*h"),
        (lambda: explain.activations(small(), X, 1), errors.ArgumentTypeError, "by name or as itself"),
        (lambda: explain.activations(small(), X, layers.Dense(2, name="z")), errors.UnknownNameError, "'z'"),
        (lambda: explain.maximize(small(), "g"), errors.UnknownNameError, "layer 'g'"),
        (lambda: explain.maximize(small(), "h", 4), errors.ArgumentError, "neuron must be an index below 4"),
        (lambda: explain.maximize(small(), x=np.ones(2)), errors.ShapeError, "input 'x'"),
        (lambda: explain.maximize(small(), bounds=(1, 0)), errors.ArgumentError, "bounds must rise"),
        (lambda: explain.maximize(fnn.Sequential([layers.Dense(2)])), errors.GraphError, "input shape"),
        (lambda: explain.relevance(small(), X, 0, epsilon=0), errors.ArgumentError, "epsilon"),
        (lambda: explain.integrated_gradients(small(), X, target=0, method="gauss"), errors.UnknownNameError,
         "gausslegendre"),
        (lambda: explain.integrated_gradients(small(), X, [1, 1], 0), errors.ShapeError, "baseline of 'x'"),
        (lambda: explain.gradient_norms(small(), X, X[:, :2]), errors.NotCompiledError, "compile"),
    ],
)  # fmt: skip
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_model_of_several_outputs_or_of_integers_is_refused_with_a_way_out():
    x = fnn.Input((3,), name="x")
    h = layers.Dense(2, name="a")(x)
    two = fnn.Model(x, [h, layers.Dense(1, name="b")(h)])
    with pytest.raises(errors.ArgumentError, match=r"one output.*'a', 'b'.*model.outputs\[0\]"):
        explain.saliency(two, X, 0)
    assert explain.saliency(fnn.Model(two.input, two.outputs[0]), X, 0).shape == (5, 3)

    words = fnn.Input((4,), dtype="int32", name="words")
    embedding = layers.Embedding(9, 3)
    y = layers.Dense(1)(layers.Flatten()(embedding(words)))
    model = fnn.Model(words, y)
    with pytest.raises(errors.DtypeError, match=r"'words'.*integers.*embedding.output, model.output"):
        explain.saliency(model, np.zeros((2, 4), int))
    vectors = explain.activations(model, np.zeros((2, 4), int), embedding)
    assert explain.saliency(fnn.Model(embedding.output, y), vectors).shape == (2, 4, 3)
