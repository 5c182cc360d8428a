"""explain_step: hand-worked examples, every layer, activation, loss and optimizer, and how it is written."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from test_layers import CONTRACTS
from test_layers_more import EVERY
from test_losses_metrics import OWN, given, of_kind, own_data
from test_losses_metrics import net as own_net

import fastnn as fnn
from fastnn import _core, activations, graph, layers, losses, ops, optimizers
from fastnn.errors import (
    ArgumentError,
    DataError,
    NotCompiledError,
    ShapeError,
    UnknownNameError,
)
from fastnn.explanation.formulas import FORMULAS
from fastnn.explanation.updates import UPDATES
from fastnn.io import StoredProgram
from fastnn.layers.base import registry


@pytest.fixture(autouse=True)
def fresh_names():
    fnn.reset_names()


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def check(model, x, y, training=False, **settings):
    """Gradients are the engine's, and the arithmetic of every line gives the number that stands behind it."""
    fnn.set_seed(7)
    expected = model.gradients(x, y, training=training)
    fnn.set_seed(7)
    made = model.explain_step(x, y, training=training, **settings)
    assert list(made.gradients) == list(expected)
    for name, gradient in expected.items():
        assert made.gradients[name].shape == gradient.shape
        close(made.gradients[name], gradient)
    for step in made.steps:
        for index in list(np.ndindex(*step.value.shape))[:: 1 + step.value.size // 20]:
            line = step.line(*index)
            assert line.expr.compute() == pytest.approx(line.value, rel=1e-10, abs=1e-12, nan_ok=True), (
                step,
                index,
            )
        number = step.number
        assert all(n < number and number in made.steps[n - 1].used_by for n in step.uses)
    assert str(made).count("\n") > len(made.steps)
    return made


def compiled(inputs, output, loss="mse", optimizer="sgd"):
    model = fnn.Model(inputs, output, dtype="float64")
    model.compile(optimizer, loss)
    return model


def headed(layer, shapes, features=2):
    """A net with Dense before and behind a layer, so that gradients pass through it, and one sample for it."""
    rng = np.random.default_rng(0)
    dtype = layer.input_dtype
    integer = dtype is not None
    xs = [layers.Input(s, dtype=dtype) for s in shapes]
    hs = [
        layers.Dense(s[-1], name=f"before{i}")(x) if s and not integer else x
        for i, (x, s) in enumerate(zip(xs, shapes))
    ]
    h = layers.Flatten()(layer(hs if len(hs) > 1 else hs[0]))
    model = compiled(xs, layers.Dense(features, name="behind")(h))
    x = [rng.integers(0, 3, (1, *s)) if integer else rng.normal(size=(1, *s)) for s in shapes]
    if dtype == "string":
        x = [np.array(["a", "b", "c"])[part] for part in x]
    return model, x if len(x) > 1 else x[0], rng.normal(size=(1, features))


MORE = [
    (lambda: layers.Embedding(5, 3), [(4,)]),
    (lambda: layers.CategoryEncoding(5, "multi_hot"), [(4,)]),
    (lambda: layers.IntegerLookup(vocabulary=[2, 0], output_mode="one_hot"), [(4,)]),
    (lambda: layers.StringLookup(vocabulary=["b", "a"], mask_token="c", output_mode="count"), [(4,)]),
    (lambda: layers.Average(), [(3,), (3,)]),
    (lambda: layers.Maximum(), [(3,), (3,)]),
    (lambda: layers.Minimum(), [(3,), (3,)]),
    (lambda: layers.Subtract(), [(3,), (3,)]),
    (lambda: layers.Dot(axes=1, normalize=True), [(3,), (3,)]),
    (lambda: layers.BatchNormalization(), [(2, 3)]),
]
ROWS = [(make, shapes) for make, shapes, *_ in CONTRACTS] + [(make, [shape]) for make, shape in EVERY] + MORE


@pytest.mark.parametrize("make, shapes", ROWS)
def test_every_layer(make, shapes):
    model, x, y = headed(make(), shapes)
    check(model, x, y)
    if any(graph.changes_in_training(node) for node in model.program.nodes):
        check(model, x, y, training=True)


def test_every_layer_of_the_registry_has_a_row():
    met = {type(make()) for make, _ in ROWS}
    apart = {layers.InputLayer, layers.Operation, layers.TracedLayer, StoredProgram}  # see the next test
    assert set(registry._classes.values()) - met - apart == set()


class Bent(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], shape[-1]), name="kernel")
        self.turn = self.add_weight((shape[-1], shape[-1]), name="kernel_back")

    def call(self, x):
        return ops.tanh(x @ self.kernel) @ ops.transpose(self.turn)


def test_operators_loaded_layers_and_nested_models(tmp_path):
    x = layers.Input((3,), name="x")
    inner = fnn.Model(x, layers.Dense(3, "tanh", name="inner")(x) * 2.0 + x, name="nested")
    a, b = layers.Input((3,), name="a"), layers.Input((3,), name="b")
    shared = layers.Dense(3, name="shared")
    h = Bent(name="bent")(inner(shared(a)) - shared(b))
    model = fnn.Model([a, b], {"one": layers.Dense(1, "sigmoid", name="p")(h), "two": h}, dtype="float64")
    model.compile("sgd", {"one": "bce", "two": "mse"}, loss_weights={"one": 0.5, "two": 2.0})
    data = [[[0.3, -1.0, 0.2]], [[1.0, 0.5, -0.1]]], {"one": [[1.0]], "two": [[0.1, 0.2, 0.3]]}
    made = check(model, *data)
    assert "L = 0.5 · ℓ₁ + 2 · ℓ₂" in str(made)
    assert [step.symbol for step in made.of_layer("nested")] == []  # its layers speak for themselves
    assert made.of_layer("inner")[0].formula == "z₂ = A₂ r₁ + b₂"
    model.save(tmp_path / "m.fnn")
    again = check(fnn.load(tmp_path / "m.fnn"), *data)
    assert [s.formula for s in again.steps] == [s.formula for s in made.steps]
    stored = StoredProgram(inner.program.text(), dtype="float64")
    x = layers.Input((3,))
    check(compiled(x, stored(x)), data[0][0], data[1]["two"])


def test_a_layer_called_twice_is_two_layers():
    x = layers.Input((2,))
    twice = layers.Dense(2, "tanh", name="twice")
    made = check(compiled(x, twice(twice(x))), [[0.5, -1.0]], [[0.2, 0.1]])
    assert [s.symbol for s in made.steps if s.part == "forward"] == ["z₁", "r₁", "z₂", "r₂"]
    [kernel] = [s for s in made.steps if s.part == "backward" and s.parameter == "twice/kernel"]
    assert kernel.formula == ("∂L/∂A₁ = ∂L/∂z₁ · ∂z₁/∂A₁ + ∂L/∂z₂ · ∂z₂/∂A₁ = ∂L/∂z₂ r₁ᵀ + ∂L/∂z₁ r₀ᵀ")


# What no layer emits, as an activation of one's own.
FUNCTIONS = [
    lambda x: ops.sin(x) * ops.cos(x),
    lambda x: (
        activations.step(x, straight_through=True, clip_value=1.0)
        + activations.step(x, straight_through=True)
    ),
    lambda x: ops.erf(x) + ops.floor(x),
    lambda x: ops.abs(x) ** x,
    lambda x: ops.sqrt(ops.abs(x)) / ops.exp(x),
    lambda x: ops.expm1(x) - ops.log1p(ops.abs(x)),
    lambda x: ops.where(x <= 0.5, ops.sign(x), ops.log(ops.abs(x))),
    lambda x: ops.where(ops.equal(x, 0.0), x, ops.square(x)) - ops.max(x, axis=-1, keepdims=True),
    lambda x: x - ops.cast(ops.argmax(x, axis=-1, keepdims=True), "float64") / 3,
    lambda x: x - ops.mean(x),
    lambda x: ops.transpose(ops.stack([x, 2 * x], axis=1), (0, 2, 1))[:, :, 1] @ np.arange(9.0).reshape(3, 3),
]


@pytest.mark.parametrize("activation", [*sorted(activations._FUNCTIONS), *FUNCTIONS])
def test_every_activation(activation):
    x = layers.Input((2,))
    hidden = layers.Dense(3, activation, name="hidden")(x)
    model = compiled(x, layers.Dense(2, kernel_regularizer="l1_l2", name="out")(hidden))
    model.set_weights([w + 0.1 for w in model.get_weights()])
    check(model, [[0.6, -1.3]], [[0.2, 0.4]])
    check(model, [[-7.0, 6.0]], [[0.2, 0.4]])


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
@pytest.mark.parametrize("case", of_kind("loss"))
def test_every_loss(case, activation):
    y_true, y_pred = (a[:1] for a in given(case))
    x = layers.Input((3,))
    model = compiled(
        x, layers.Dense(y_pred.shape[1], activation)(x), getattr(losses, case["class"])(**case["config"])
    )
    check(model, [[0.3, -0.2, 0.5]], y_true)
    check(model, [[30.0, -20.0, 50.0]], y_true)


@pytest.mark.parametrize("name", OWN)
def test_losses_of_ones_own(name):
    x, y = own_data(name, 1)
    check(own_net(loss=OWN[name][0]), x, y)


def test_every_loss_has_a_case_and_every_op_a_formula():
    cases = {getattr(losses, row.values[0]["class"]) for row in of_kind("loss")}
    apart = {losses.TracedLoss}  # what one's own become
    assert set(losses.registry._classes.values()) - cases - apart == set()
    # Between layouts, in predictors, as metrics: no gradient passes through these. Sparse products are shown dense.
    never = {"pack", "unpack", "matmul_int8", "matmul_csr", "matmul_csr_tn"} | {op for op in _core.OPS if op.endswith("_accuracy")}
    assert set(FORMULAS) | set(UPDATES) == set(_core.OPS) - never


OPTIMIZERS = [
    optimizers.SGD(0.1), optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1), optimizers.SGD(0.1, 0.9, nesterov=True),
    optimizers.RMSprop(0.01), optimizers.RMSprop(0.01, momentum=0.5, centered=True), optimizers.Adam(0.01),
    optimizers.Adam(0.01, amsgrad=True, clipnorm=0.01), optimizers.AdamW(0.01), optimizers.Adagrad(0.01),
    optimizers.Adadelta(0.1), optimizers.Nadam(0.01), optimizers.Lion(0.01, clipvalue=0.1), optimizers.Rprop(0.01),
    optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 1, 0.5), global_clipnorm=0.01),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_update_is_the_one_that_training_makes(optimizer):
    x = layers.Input((2,))
    hidden = layers.BatchNormalization()(layers.Dense(3, "tanh")(x))
    model = compiled(
        x, layers.Dense(2)(hidden), optimizer=optimizers.deserialize(optimizers.serialize(optimizer))
    )
    a, b = np.array([[0.5, -1.0], [2.0, 0.3]]), np.array([[1.0, 0.0], [0.2, 0.1]])
    for _ in range(2):
        model.train_on_batch(a, b)
    before = model.get_weights()
    made = check(model, a[:1], b[:1], training=True)
    assert all(map(np.array_equal, before, model.get_weights()))
    model.train_on_batch(a[:1], b[:1])
    after = {step.parameter: step for step in made.steps if step.part == "update" and step.parameter}
    assert len(after) == 8  # two kernels and biases, gamma and beta, two running statistics
    for p in model.weights:
        value = after[p.name].value
        np.testing.assert_allclose(
            value.T if p.name.endswith("kernel") else value, p.value, rtol=1e-12, atol=1e-14
        )


def test_optimizers_are_all_met():
    assert {type(o) for o in OPTIMIZERS} >= {
        c for c in optimizers.registry._classes.values() if c.driver is None
    }


# ---- by hand ----


def two_two_two():
    """The 2-2-2 net that M. Mazur works through in "A Step by Step Backpropagation Example" (2015)."""
    model = fnn.Sequential(
        [fnn.Input((2,)), layers.Dense(2, "sigmoid", name="hidden"), layers.Dense(2, "sigmoid", name="out")],
        name="net", dtype="float64",
    )  # fmt: skip
    model.set_weights(
        [[[0.15, 0.25], [0.20, 0.30]], [0.35, 0.35], [[0.40, 0.50], [0.45, 0.55]], [0.60, 0.60]]
    )
    model.compile(optimizers.SGD(0.5), "mse")
    return model, [[0.05, 0.10]], [[0.01, 0.99]]


def test_a_sigmoid_net_worked_through_by_hand():
    """His error, the sum of (target - out)² / 2 over two outputs, is the mean squared error of two."""
    model, x, y = two_two_two()
    made = check(model, x, y)
    value = {step.symbol: step.value for step in made.steps if step.part != "update"}

    def f(v):
        return 1 / (1 + math.exp(-v))

    net_h = [0.15 * 0.05 + 0.20 * 0.10 + 0.35, 0.25 * 0.05 + 0.30 * 0.10 + 0.35]
    h1, h2 = f(net_h[0]), f(net_h[1])
    net_o = [0.40 * h1 + 0.45 * h2 + 0.60, 0.50 * h1 + 0.55 * h2 + 0.60]
    o1, o2 = f(net_o[0]), f(net_o[1])
    error = (0.01 - o1) ** 2 / 2 + (0.99 - o2) ** 2 / 2
    d1, d2 = -(0.01 - o1) * o1 * (1 - o1), -(0.99 - o2) * o2 * (1 - o2)
    e1, e2 = 0.40 * d1 + 0.50 * d2, 0.45 * d1 + 0.55 * d2
    g1, g2 = e1 * h1 * (1 - h1), e2 * h2 * (1 - h2)
    expected = {
        "z₁": net_h, "r₁": [h1, h2], "z₂": net_o, "r₂": [o1, o2], "L": error,
        "∂L/∂r₂": [-(0.01 - o1), -(0.99 - o2)], "∂L/∂z₂": [d1, d2], "∂L/∂b₂": [d1, d2],
        "∂L/∂A₂": [[d1 * h1, d1 * h2], [d2 * h1, d2 * h2]], "∂L/∂r₁": [e1, e2], "∂L/∂z₁": [g1, g2],
        "∂L/∂b₁": [g1, g2], "∂L/∂A₁": [[g1 * 0.05, g1 * 0.10], [g2 * 0.05, g2 * 0.10]],
    }  # fmt: skip
    assert list(value) == [*list(expected)[:7], "∂L/∂b₂", "∂L/∂A₂", "∂L/∂r₁", "∂L/∂z₁", "∂L/∂b₁", "∂L/∂A₁"]
    for symbol, number in expected.items():
        close(value[symbol], number)
    # The digits that he prints.
    for printed, number in (
        (0.593269992, h1), (0.596884378, h2), (0.75136507, o1), (0.772928465, o2), (0.298371109, made.loss),
        (0.082167041, value["∂L/∂A₂"][0, 0]), (0.036350306, value["∂L/∂r₁"][0]), (0.000438568, value["∂L/∂A₁"][0, 0]),
    ):  # fmt: skip
        assert number == pytest.approx(printed, abs=2e-9)
    new = {step.symbol: step.value for step in made.steps if step.part == "update"}
    printed = [[0.35891648, 0.408666186], [0.511301270, 0.561370121]]
    np.testing.assert_allclose(new["A₂"], printed, atol=5e-9)
    np.testing.assert_allclose(new["A₁"], [[0.149780716, 0.19956143], [0.24975114, 0.29950229]], atol=5e-9)


def test_what_it_prints():
    model, x, y = two_two_two()
    made = model.explain_step(x, y)
    for line in (
        "  (1)  z₁ = A₁ r₀ + b₁\n         z₁[0] = 0.15·0.05 + 0.2·0.1 + 0.35 = 0.3775\n",
        "  (2)  r₁ = σ(z₁) = 1 / (1 + e^(-z₁))\n         r₁[0] = 1 / (1 + e^(-0.3775)) = 0.5933\n",
        "  (5)  L = mean((r₂ - y)²)\n         L = ((0.7514 - 0.01)² + (0.7729 - 0.99)²) / 2 = 0.2984\n",
        "  (7)  ∂L/∂z₂ = ∂L/∂r₂ · ∂r₂/∂z₂ = ∂L/∂r₂ ⊙ r₂ ⊙ (1 - r₂)   ↺ computed once, used in (8), (9), (10)\n",
        "         ∂L/∂z₂[1] = -0.2171·0.7729·(1 - 0.7729) = -0.2171·0.1755 = -0.0381\n",
        "  (10) ∂L/∂r₁ = ∂L/∂z₂ · ∂z₂/∂r₁ = A₂ᵀ ∂L/∂z₂\n",
        "         ∂L/∂A₁[0,1] = 0.008771·0.1 = 0.0008771\n",
        "         A₂[0,0] ← 0.4 - 0.5·0.08217 = 0.3589\n",
    ):
        assert line in str(made)
    assert [s.number for s in made.steps if s.reused] == [7, 11]
    step = made.steps[6]
    assert (step.symbol, step.layer, step.part, step.uses, step.used_by) == (
        "∂L/∂z₂",
        "out",
        "backward",
        (4, 6),
        (8, 9, 10),
    )
    assert step.numbers[0] == "∂L/∂z₂[0] = 0.7414·0.7514·(1 - 0.7514) = 0.7414·0.1868 = 0.1385"
    assert step.result == step.value.tolist() and made.steps[8].parameter == "out/kernel"
    assert made.given[4].name == "out/kernel, transposed"
    assert step.element(1) == step.numbers[1]
    assert step.element(1, form="mathml") == step.written("mathml")[1][1]
    latex = r"\frac{\partial L}{\partial z_{2}[0]} = 0.7414 \cdot 0.7514 \cdot"
    assert step.element(0, form="latex").startswith(latex)
    with pytest.raises(UnknownNameError, match="'latex'"):
        step.written("tex")


def test_softmax_and_crossentropy_by_hand():
    """Logits ln 2, 0, 0 have the probabilities 1/2, 1/4, 1/4."""
    x = layers.Input((1,))
    model = compiled(x, layers.Dense(3, "softmax")(x), "sparse_categorical_crossentropy")
    model.set_weights([[[math.log(2) / 2, 0.0, 0.0]], [0.0, 0.0, 0.0]])
    made = check(model, [[2.0]], [1])
    value = {step.symbol: step.value for step in made.steps}
    close(value["r₁"], [1 / 2, 1 / 4, 1 / 4])
    close(made.loss, math.log(4))
    close(value["∂L/∂z₁"], [1 / 2, -3 / 4, 1 / 4])
    close(value["∂L/∂A₁"], [[1.0], [-1.5], [0.5]])
    assert "L = -ln(r₁[y])\n         L = -ln(0.25) = 1.386" in str(made)
    assert "∂L/∂z₁ = r₁ - one-hot(y)" in str(made)


def test_a_relu_net_with_a_penalty_by_hand():
    """One sample, whole numbers: z = (1, -1), r = (1, 0), out = 3, error (3 - 1)² = 4, penalty 21 / 2."""
    x = layers.Input((2,))
    hidden = layers.Dense(2, "relu", kernel_regularizer=fnn.regularizers.L2(0.5), name="hidden")(x)
    model = compiled(x, layers.Dense(1, name="out")(hidden), optimizer=optimizers.SGD(0.5))
    model.set_weights([[[2.0, 4.0], [-1.0, -5.0 + 4.0]], [2.0, -7.0 + 4.0], [[3.0], [-2.0]], [0.0]])
    made = check(model, [[1.0, 3.0]], [[1.0]])
    value = {step.symbol: step.value for step in made.steps if step.part != "update"}
    # z = (2 - 3 + 2, 4 - 3 - 3 + 1) and so on, worked on paper
    close(value["z₁"], [2 * 1 - 1 * 3 + 2, 4 * 1 - 1 * 3 - 3])
    close(value["r₁"], [1, 0])
    close(value["r₂"], [3])
    close(value["ℓ"], 4)
    close(value["Ω"], (4 + 16 + 1 + 1) / 2)
    close(value["L"], 15)
    close(value["∂L/∂r₂"], [4])
    close(value["∂L/∂A₂"], [[4, 0]])
    close(value["∂L/∂r₁"], [12, -8])
    close(value["∂L/∂z₁"], [12, 0])
    close(value["∂L/∂A₁"], [[12 * 1 + 2, 12 * 3 - 1], [0 + 4, 0 - 1]])
    new = {step.symbol: step.value for step in made.steps if step.part == "update"}
    close(new["A₁"], [[2 - 7, -1 - 17.5], [4 - 2, -1 + 0.5]])


# ---- how it is written ----


class _Well(HTMLParser):
    """Checks that tags nest, and that MathML's elements have as many children as they need."""

    needs = {"mfrac": 2, "msub": 2, "msup": 2, "msqrt": 1}

    def __init__(self):
        super().__init__()
        self.open, self.count = [], 0

    def handle_starttag(self, tag, attrs):
        if self.open:
            self.open[-1][1] += 1
        self.open.append([tag, 0])
        self.count += tag == "math"
        assert not {name for name, _ in attrs} & {"src", "href"}

    def handle_startendtag(self, tag, attrs):
        self.open[-1][1] += 1

    def handle_endtag(self, tag):
        last, children = self.open.pop()
        assert tag == last and children == self.needs.get(tag, children)


def written():
    """Explanations that hold every construct: cases, draws, roots, long sums, tensors of rank 3, exponents."""
    yield two_two_two()[0].explain_step(*two_two_two()[1:])
    x = layers.Input((2, 20))
    h = layers.Dense(3, "gelu", kernel_regularizer="l1_l2", name="h_1")(layers.GaussianNoise(0.1)(x))
    h = layers.LeakyReLU()(layers.LayerNormalization()(layers.Dropout(0.5)(h)))
    model = compiled(x, layers.Dense(2, "softmax")(h), "huber", optimizers.Adam(1e-9, clipnorm=1.0))
    yield model.explain_step(np.full((1, 2, 20), -1e-7), [[[0.0, 1.0], [1.0, 0.0]]], training=True)


def test_html_is_well_formed_and_loads_nothing():
    for made in written():
        html = made.html()
        assert html == made._repr_html_() and html.isascii()
        parser = _Well()
        parser.feed(html)
        assert not parser.open and parser.count > len(made.steps)
        assert "http" not in html and "url(" not in html and "<script" not in html


def test_latex_is_balanced():
    for made in written():
        latex = made.latex()
        assert latex.isascii()
        depth = 0
        for at, c in enumerate(latex):
            if c in "{}" and latex[at - 1] != "\\":
                depth += 1 if c == "{" else -1
            assert depth >= 0
        assert depth == 0
        for pair in ((r"\\left\b", r"\\right\b"), (r"\\begin\{", r"\\end\{")):
            one, other = (len(re.findall(word, latex)) for word in pair)
            assert one == other > 0
        rows = re.sub(r"\\begin\{(cases|pmatrix)\}.*?\\end\{\1\}", "", latex).split("\\\\\n")
        assert all(row.replace("\\&", "").count("&") == 1 for row in rows)
        assert made._repr_latex_().startswith("$$\\begin{aligned}")


def test_large_nets_are_abbreviated_and_any_element_can_be_asked_for():
    x = layers.Input((300,))
    model = compiled(x, layers.Dense(1)(layers.Dense(50, "tanh", kernel_regularizer="l2", name="wide")(x)))
    made = model.explain_step(np.linspace(0, 1, 300)[None], [[1.0]])
    assert len(str(made)) < 10_000
    assert "50 × 300 numbers from" in str(made) and "and 47 more: [" in str(made)
    [step] = [s for s in made.of_layer("wide") if s.symbol == "z₁"]
    line = step.line(49)
    assert line.value == step.value[49] and len(line.expr.children) == 301
    for index in ((50,), (-1,), (0, 0), ()):
        with pytest.raises(ArgumentError, match=r"z₁ has the shape \(50,\), got the index"):
            step.line(*index)
    assert len(str(model.explain_step(np.ones((1, 300)), [[1.0]], max_elements=400))) > 100_000


def test_precision():
    model, x, y = two_two_two()
    assert "= 0.298371109\n" in str(model.explain_step(x, y, precision=9))
    assert "= 0.3\n" in str(model.explain_step(x, y, precision=1))


def test_a_float32_model_is_explained_in_float64():
    model = own_net("float32", loss="mse")
    x, y = own_data("smooth_l1", 1)
    made = model.explain_step(x, y)
    for name, gradient in model.gradients(x, y).items():
        assert made.gradients[name].dtype == np.float64
        np.testing.assert_allclose(made.gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_explained():
    model, x, y = two_two_two()
    with pytest.raises(
        ShapeError, match=r"Sequential 'net' is explained on one sample, got 3; pass x\[:1\] and y\[:1\]"
    ):
        model.explain_step(x * 3, y * 3)
    with pytest.raises(ShapeError, match="'input_layer.*'"):
        model.explain_step([[1.0, 2.0, 3.0]], y)
    with pytest.raises(DataError, match="finite"):
        model.explain_step([[float("nan"), 1.0]], y)
    with pytest.raises(ArgumentError, match="precision must be at least 1, got 0"):
        model.explain_step(x, y, precision=0)
    with pytest.raises(ArgumentError, match="max_elements must be at least 4, got 3"):
        model.explain_step(x, y, max_elements=3)
    model.compile("sgd")
    with pytest.raises(NotCompiledError, match="without a loss, which explain_step needs"):
        model.explain_step(x, y)
    with pytest.raises(NotCompiledError, match="before explain_step"):
        fnn.Sequential([fnn.Input((2,)), layers.Dense(1)]).explain_step(x, y)


def test_optimizers_that_choose_their_steps_have_no_update():
    model, x, y = two_two_two()
    model.compile(optimizers.LBFGS(), "mse")
    assert {step.part for step in check(model, x, y).steps} == {"forward", "loss", "backward"}
