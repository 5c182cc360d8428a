"""Models in and out of the Keras and PyTorch that are installed; skipped where they are not.

    pip install keras==3.15.1 torch==2.13.0 && KERAS_BACKEND=torch pytest tests/test_interop_live.py
"""

import os

import numpy as np
import pytest

import fastnn as fnn
from fastnn import errors, layers, ops
from fastnn.interop import torch as torch_tables

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
nn = torch.nn

# name, layers of fastnn with arguments that are no defaults, shapes of the inputs, of integers below
STACKS = [
    ("Activation", [("Activation", {"activation": "gelu"})], [(5,)], None),
    ("AlphaDropout", [("AlphaDropout", {"rate": 0.3})], [(5,)], None),
    ("BatchNormalization", [("BatchNormalization", {"momentum": 0.8, "epsilon": 0.01})], [(5,)], None),
    ("BatchNormalization of rows", [("BatchNormalization", {"scale": False})], [(3, 5)], None),
    ("CategoryEncoding", [("CategoryEncoding", {"num_tokens": 6, "output_mode": "count"})], [(4,)], 6),
    ("CategoryEncoding many", [("CategoryEncoding", {"num_tokens": 6})], [(4,)], 6),
    ("CategoryEncoding one", [("CategoryEncoding", {"num_tokens": 6, "output_mode": "one_hot"})], [(1,)], 6),
    ("CategoryEncoding each", [("CategoryEncoding", {"num_tokens": 6, "output_mode": "one_hot"})], [(3,)], 6),
    ("Dense", [("Dense", {"units": 3, "use_bias": False, "activation": "softmax"})], [(2, 5)], None),
    ("Dropout", [("Dropout", {"rate": 0.3, "seed": 1})], [(5,)], None),
    ("ELU", [("ELU", {"alpha": 0.5})], [(5,)], None),
    ("Embedding", [("Embedding", {"input_dim": 6, "output_dim": 3})], [(4,)], 6),
    ("Flatten", [("Flatten", {})], [(3, 2)], None),
    ("GaussianDropout", [("GaussianDropout", {"rate": 0.3})], [(5,)], None),
    ("GaussianNoise", [("GaussianNoise", {"stddev": 0.3})], [(5,)], None),
    ("LayerNormalization", [("LayerNormalization", {"epsilon": 0.01})], [(2, 5)], None),
    ("LayerNormalization bare", [("LayerNormalization", {"center": False, "scale": False})], [(5,)], None),
    ("LayerNormalization centred", [("LayerNormalization", {"scale": False})], [(5,)], None),
    ("LeakyReLU", [("LeakyReLU", {"negative_slope": 0.2})], [(5,)], None),
    ("Normalization", [("Normalization", {"axis": [1]})], [(3, 2)], None),
    ("Normalization given", [("Normalization", {"mean": [1.0, 2.0], "variance": [4.0, 0.25], "invert": True})], [(3, 2)], None),
    ("PReLU", [("PReLU", {})], [(3, 2)], None),
    ("PReLU shared", [("PReLU", {"shared_axes": [2]})], [(3, 2)], None),
    ("PReLU of all", [("PReLU", {"shared_axes": [1]})], [(3,)], None),
    ("RandomErasing", [("RandomErasing", {"factor": 0.5})], [(4, 4, 1)], None),
    ("RandomFlip", [("RandomFlip", {"mode": "horizontal"})], [(4, 4, 1)], None),
    ("RandomRotation", [("RandomRotation", {"factor": 0.1})], [(4, 4, 1)], None),
    ("RandomTranslation", [("RandomTranslation", {"height_factor": 0.1, "width_factor": 0.2})], [(4, 4, 1)], None),
    ("RandomZoom", [("RandomZoom", {"height_factor": 0.1})], [(4, 4, 1)], None),
    ("ReLU", [("ReLU", {"negative_slope": 0.1})], [(5,)], None),
    ("Rescaling", [("Rescaling", {"scale": [2.0, 3.0], "offset": 1.0})], [(3, 2)], None),
    ("Reshape", [("Reshape", {"target_shape": [3, -1]})], [(2, 6)], None),
    ("Softmax", [("Softmax", {})], [(2, 5)], None),
    ("UnitNormalization", [("UnitNormalization", {"axis": [1, 2]})], [(2, 5)], None),
]  # fmt: skip
JOINS = [("Add", {}), ("Average", {}), ("Maximum", {}), ("Minimum", {}), ("Multiply", {}), ("Subtract", {}),
         ("Concatenate", {"axis": 1}), ("Dot", {"axes": [2, 2], "normalize": True}), ("Dot", {"axes": 1})]  # fmt: skip
STACKS += [(f"{kind} {config}", [(kind, config)], [(3, 4), (3, 4)], None) for kind, config in JOINS]
ACTIVATIONS = ["elu", "gelu", "hard_sigmoid", "leaky_relu", "linear", "log_softmax", "mish", "relu", "selu", "sigmoid",
               "silu", "softmax", "softplus", "softsign", "tanh"]  # fmt: skip
STACKS += [(f"activation {name}", [("Dense", {"units": 4, "activation": name})], [(3,)], None) for name in ACTIVATIONS]


def build(library, stack, shapes, integers):
    """The model in fastnn or Keras, of the same calls."""
    inputs = [library.Input(s, dtype="int32" if integers else None, name=f"in_{i}") for i, s in enumerate(shapes)]
    y = inputs if len(inputs) > 1 else inputs[0]
    for i, (kind, config) in enumerate(stack):
        y = getattr(library.layers, kind)(**config, name=f"layer_{i}")(y)
    return library.Model(inputs if len(inputs) > 1 else inputs[0], y)


def given(shapes, integers, rng):
    if integers:
        return [rng.integers(0, integers, size=(6, *s)).astype(np.int32) for s in shapes]
    return [np.asarray(rng.normal(0.5, 1.5, size=(6, *s)), np.float32) for s in shapes]


def randomize(model, rng):
    """Weights of a trained model's size."""
    model.set_weights([rng.uniform(0.5, 1.5, size=w.shape) for w in model.get_weights()])


def difference(a, b):
    a, b = (list(m.values()) if isinstance(m, dict) else m if isinstance(m, (list, tuple)) else [m] for m in (a, b))
    return max(np.abs(np.asarray(p) - np.asarray(q)).max() for p, q in zip(a, b, strict=True))


def in_torch(model, xs):
    with torch.no_grad():
        made = model(*(torch.tensor(x) for x in xs))
    return [t.numpy() for t in made] if isinstance(made, tuple) else made.numpy()


IDS = [entry[0] for entry in STACKS]


@pytest.mark.parametrize("name,stack,shapes,integers", STACKS, ids=IDS)
def test_keras_and_back(name, stack, shapes, integers, tmp_path, rng):
    theirs = build(keras, stack, shapes, integers)
    randomize(theirs, rng)
    xs = given(shapes, integers, rng)
    x = xs if len(xs) > 1 else xs[0]
    want = theirs.predict(x, verbose=0)
    theirs.save(tmp_path / "m.keras")
    for source in (tmp_path / "m.keras", theirs):
        own = fnn.from_keras(source)
        assert difference(own.predict(x, verbose=0), want) <= 1e-5
        assert [layer.name for layer in own.layers][-1] == "layer_0"
    assert difference(own.to_keras().predict(x, verbose=0), want) <= 1e-5


@pytest.mark.parametrize("name,stack,shapes,integers", STACKS, ids=IDS)
def test_out_to_pytorch(name, stack, shapes, integers, rng):
    own = build(fnn, stack, shapes, integers)
    randomize(own, rng)
    if stack[0][0] in torch_tables.NOT_IN_TORCH:
        with pytest.raises(errors.UnsupportedError, match=f"layer_0 \\({stack[0][0]}\\): PyTorch"):
            own.to_torch()
        return
    xs = given(shapes, integers, rng)
    made = own.to_torch()
    assert difference(in_torch(made, xs), own.predict(xs if len(xs) > 1 else xs[0], verbose=0)) <= 1e-5
    again = own.to_torch()
    again.load_state_dict(made.state_dict())


def test_every_layer_stands_in_the_list():
    listed = {kind for _, stack, _, _ in STACKS for kind, _ in stack}
    elsewhere = {"IntegerLookup", "MixUp", "Operation", "StoredProgram", "StringLookup", "TracedLayer"}
    assert listed | elsewhere == set(torch_tables.LAYERS) | set(torch_tables.NOT_IN_TORCH)


# ---- whole models ----



def test_nested_models_with_the_same_names_inside(rng):
    def inner(name):
        x = keras.Input((4,))
        return keras.Model(x, keras.layers.Dense(4, name="inside")(x), name=name)

    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    left, right = inner("left"), inner("right")
    theirs = keras.Model([a, b], keras.layers.Add()([left(left(a)), right(b)]))
    randomize(theirs, rng)
    xs = given([(4,), (4,)], None, rng)
    own = fnn.from_keras(theirs)
    assert set(own.parameters) == {"inside/kernel", "inside/bias", "right_inside/kernel", "right_inside/bias"}
    assert difference(own.predict(xs, verbose=0), theirs.predict(xs, verbose=0)) <= 1e-5
    assert difference(own.to_keras().predict(xs, verbose=0), theirs.predict(xs, verbose=0)) <= 1e-5
    assert difference(in_torch(own.to_torch(), xs), theirs.predict(xs, verbose=0)) <= 1e-5


def test_a_sequential_of_sequentials_built_by_its_data(rng, tmp_path):
    theirs = keras.Sequential([keras.Sequential([keras.layers.Dense(3)], name="first"), keras.layers.Dense(2)])
    x = given([(5,)], None, rng)[0]
    want = theirs.predict(x, verbose=0)
    theirs.save(tmp_path / "m.keras")
    for source in (theirs, tmp_path / "m.keras"):
        assert difference(fnn.from_keras(source).predict(x, verbose=0), want) <= 1e-5


def test_functions_of_keras_become_functions_of_fastnn(rng):
    x = keras.Input((4,), name="x")
    y = keras.ops.concatenate([keras.ops.abs(x[:, 1:3]) ** 2.0, keras.ops.sum(x, axis=1, keepdims=True) / 3.0], axis=1)
    theirs = keras.Model(x, keras.ops.maximum(y, 0.5) - keras.ops.sigmoid(y))
    a = given([(4,)], None, rng)[0]
    own = fnn.from_keras(theirs)
    assert difference(own.predict(a, verbose=0), theirs.predict(a, verbose=0)) <= 1e-5
    assert difference(own.to_keras().predict(a, verbose=0), theirs.predict(a, verbose=0)) <= 1e-5


def test_functions_of_fastnn_in_pytorch(rng):
    x = fnn.Input((4,), name="x")
    own = fnn.Model(x, ops.tanh(1.0 - x * 2.0) / (ops.square(x) + 1.0))
    a = given([(4,)], None, rng)[0]
    assert difference(in_torch(own.to_torch(), [a]), own.predict(a, verbose=0)) <= 1e-6
    with pytest.raises(errors.UnsupportedError, match="ops.sum"):
        fnn.Model(x, ops.sum(x, axis=1, keepdims=True)).to_torch()


def test_the_settings_of_a_live_model():
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)
    theirs.compile("sgd", loss, metrics=["mae", keras.metrics.BinaryAccuracy(threshold=0.7)])
    own = fnn.from_keras(theirs)
    assert own.optimizer.get_config()["learning_rate"] == pytest.approx(0.01)
    x, y = np.ones((4, 3), np.float32), np.array([[0.0], [1], [1], [0]], np.float32)
    got, want = own.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


def test_models_by_a_class_of_their_own_are_refused():
    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(errors.UnsupportedError):
        fnn.from_keras(Mine())


def test_float64_stays_float64(rng):
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="float64")])
    own = fnn.from_keras(theirs)
    assert own.dtype == "float64" and own.to_keras().layers[0].dtype == "float64"
    net = nn.Sequential(nn.Linear(3, 2)).double()
    assert fnn.from_torch(net).dtype == "float64"
    x = rng.normal(size=(4, 3))
    assert difference(fnn.from_torch(net).predict(x, verbose=0), in_torch(net, [x])) <= 1e-12


# ---- PyTorch in ----

CHAINS = {
    "activations": ([nn.Linear(5, 6), nn.ELU(0.5), nn.GELU("tanh"), nn.Hardsigmoid(), nn.LeakyReLU(0.1), nn.Mish(),
                     nn.PReLU(), nn.ReLU(), nn.SELU(), nn.SiLU(), nn.Sigmoid(), nn.Softplus(), nn.Softsign(), nn.Tanh(),
                     nn.Softmax(1), nn.Identity()], None),
    "normalisation": ([nn.BatchNorm1d(5, momentum=0.2), nn.Linear(5, 4), nn.LayerNorm(4, bias=False),
                       nn.BatchNorm1d(4, affine=False), nn.AlphaDropout(0.1), nn.LogSoftmax(-1)], None),
    "shapes": ([nn.Flatten(), nn.Linear(6, 12, bias=False), nn.Unflatten(1, (2, 3, 2)), nn.PReLU(2), nn.Flatten(),
                nn.Unflatten(-1, (3, 4)), nn.LayerNorm(4), nn.Softmax(dim=2)], (3, 2)),
    "nested": ([nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.ReLU(), nn.Dropout(0.5))), nn.Linear(4, 2)], None),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_pytorch_and_back(name, rng):
    modules, shape = CHAINS[name]
    net = nn.Sequential(*modules)
    with torch.no_grad():
        for t in net.state_dict().values():
            if t.dtype.is_floating_point:
                t.uniform_(0.5, 1.5)
    net.eval()
    x = given([shape or (5,)], None, rng)[0]
    own = fnn.from_torch(net, shape)
    want = in_torch(net, [x])
    assert difference(own.predict(x, verbose=0), want) <= 1e-5
    back = own.to_torch()
    assert list(back.state_dict()) == list(net.state_dict())
    assert difference(in_torch(back, [x]), want) <= 1e-5
    own.set_weights([np.zeros_like(w) for w in own.get_weights()])
    own.load_weights(net.state_dict())
    assert difference(own.predict(x, verbose=0), want) <= 1e-5


def test_an_embedding_reads_integers(rng):
    net = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 2))
    x = rng.integers(0, 7, size=(5, 4))
    assert difference(fnn.from_torch(net, (4,)).predict(x, verbose=0), in_torch(net, [x])) <= 1e-5


def test_every_module_of_the_table_is_tested():
    def kinds(modules):
        for m in modules:
            yield type(m).__name__
            yield from kinds(m.children())

    tested = set(kinds(m for modules, _ in CHAINS.values() for m in modules)) | {"Embedding"}
    assert tested - {"Sequential"} == set(torch_tables.MODULES)


class MyLinear(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


def test_what_fastnn_does_not_have_is_listed_by_path():
    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda *a: None)
    net = nn.Sequential(
        nn.Sequential(nn.Linear(5, 4), nn.Conv1d(1, 1, 1)), MyLinear(4, 4), nn.Softplus(beta=2), nn.Dropout(1.0),
        nn.Softmax(0), nn.BatchNorm1d(4, track_running_stats=False), nn.BatchNorm1d(4, momentum=None),
        nn.Embedding(3, 4, padding_idx=0), nn.Flatten(0), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), hooked,
    )  # fmt: skip
    with pytest.raises(errors.UnsupportedError, match="read it with fastnn.from_onnx, or build the network with fastnn") as caught:
        fnn.from_torch(net)
    assert [m.partition(" ")[0] for m in caught.value.missing] == [
        "0.1", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10",
    ]  # fmt: skip


def test_wrong_arguments_of_from_torch():
    with pytest.raises(errors.ArgumentError, match="input_shape="):
        fnn.from_torch(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(errors.ArgumentTypeError, match="tuple"):
        fnn.from_torch(nn.Sequential(nn.Linear(4, 2)), 4)
    with pytest.raises(errors.ShapeError, match=r"0/kernel.*\(5, 2\).*\(4, 2\)"):
        fnn.from_torch(nn.Sequential(nn.Linear(4, 2)), (5,))
    with pytest.raises(errors.ArgumentError, match="empty"):
        fnn.from_torch(nn.Sequential(), (5,))
    for other in (nn.Linear(4, 2), nn.ModuleList([nn.Linear(4, 2)]), nn.TransformerEncoderLayer(4, 2)):
        with pytest.raises(errors.UnsupportedError, match=f"{type(other).__name__}.*\n.*\n.*load_weights"):
            fnn.from_torch(other)


# ---- PyTorch out ----


def test_a_chain_with_dots_becomes_nested_sequentials_and_others_keep_their_order():
    made = fnn.Sequential([fnn.Input((3,)), layers.Dense(3, name="a.0"), layers.Dense(3, name="b"), layers.Dense(3, name="a.1")])
    assert list(made.to_torch()._modules) == ["a_0", "b", "a_1"]
    made = fnn.Sequential([fnn.Input((3,)), layers.Dense(3, name="a.0"), layers.Dense(3, name="a.x.1"), layers.Dense(3, name="forward")])
    assert list(made.to_torch().state_dict()) == [
        f"{n}.{r}" for n in ("a.0", "a.x.1", "forward_1") for r in ("weight", "bias")
    ]  # fmt: skip


def test_what_comes_out_trains_and_is_saved(tmp_path, rng):
    x = fnn.Input((4,), name="x")
    own = fnn.Model(x, layers.Add()([layers.Dense(4, name="d")(x), x]))
    net = own.to_torch()
    a, y = (torch.tensor(rng.normal(size=(16, 4)), dtype=torch.float32) for _ in range(2))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = ((net(a) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    own.load_weights(net.state_dict())
    assert difference(own.predict(a.numpy(), verbose=0), net(a).detach().numpy()) <= 1e-5
    torch.save(net, tmp_path / "net.pt")
    again = torch.load(tmp_path / "net.pt", weights_only=False)
    assert difference(in_torch(again, [a.numpy()]), in_torch(net, [a.numpy()])) == 0


def test_outputs_by_name_and_frozen_layers(rng):
    x = fnn.Input((4,), name="my input")
    own = fnn.Model({"my input": x}, {"a": layers.Dense(2, trainable=False, name="fixed")(x), "b": layers.Dense(2)(x)})
    net = own.to_torch()
    a = given([(4,)], None, rng)[0]
    got = {k: t.detach().numpy() for k, t in net(torch.tensor(a)).items()}
    assert difference(got, own.predict({"my input": a}, verbose=0)) <= 1e-6
    assert [p.requires_grad for p in net.fixed.parameters()] == [False, False]


def test_layers_of_ones_own_are_named():
    class Scale(layers.Layer):
        def call(self, x):
            return x * 2

    model = fnn.Sequential([fnn.Input((3,)), Scale(name="mine"), layers.Activation("step", name="jump"), layers.MixUp(name="mix")])
    with pytest.raises(errors.UnsupportedError) as caught:
        model.to_torch()
    assert [m.partition(" ")[0] for m in caught.value.missing] == ["mine", "jump", "mix"]
    with pytest.raises(errors.UnsupportedError) as caught:
        model.to_keras()
    assert [m.partition(" ")[0] for m in caught.value.missing] == ["mine", "jump", "mix"]
