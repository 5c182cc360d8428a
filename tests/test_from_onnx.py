"""Models read from ONNX files."""

import functools
import json
import os
import re

import numpy as np
import pytest
from conftest import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import random_model

import fastnn as fnn
from fastnn import errors, layers, ops

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from fastnn.onnx import wire  # noqa: E402
from fastnn.onnx.operators import OPERATORS  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
TOLERANCE = {"float32": 4e-6, "float64": 1e-12}


def assert_same(model, back, arrays):
    predicted = [m.predict(arrays, verbose=0) for m in (model, back)]
    for want, got in zip(*(p if isinstance(p, list) else [p] for p in predicted), strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype
        assert np.abs(got - want).max(initial=0) <= TOLERANCE[model.dtype] * (np.abs(want).max(initial=0) or 1)


# ---- there and back ----


@settings(max_examples=max(EXAMPLES // 4, 5))
@given(st.integers(0, 2**32))
def test_what_is_written_is_read_back(seed):
    model, arrays = random_model(np.random.default_rng(seed))
    assert_same(model, fnn.from_onnx(fnn.onnx.to_onnx(model)), arrays)


def classifier():
    x = fnn.Input((8,), name="x")
    h = layers.Dense(16, "relu", name="h1")(x)
    h = layers.LayerNormalization(name="ln")(layers.BatchNormalization(epsilon=2**-10, name="bn")(h))
    h = layers.PReLU(name="prelu")(layers.Dense(6, "silu", use_bias=False, name="h2")(h))
    return fnn.Model(x, layers.Dense(3, "softmax", name="out")(h), name="classes")


def test_names_shapes_and_metadata_come_back(tmp_path):
    model = classifier()
    model.class_names, model.feature_names = ["a", "b", "c"], list("abcdefgh")
    model.export(tmp_path / "m.onnx")
    back = fnn.from_onnx(tmp_path / "m.onnx")
    assert [(x.name, type(x)) for x in back.layers] == [(x.name, type(x)) for x in model.layers]
    assert {n: p.shape for n, p in back.parameters.items()} == {n: p.shape for n, p in model.parameters.items()}
    assert [p.trainable for p in back.weights] == [p.trainable for p in model.weights]
    assert back.class_names == ["a", "b", "c"] and back.feature_names == list("abcdefgh") and back.name == "classes"
    assert back.get_layer("h1").activation is fnn.activations.relu and back.input_names == ["x"] and back.output_names == ["out"]
    assert back.get_layer("bn").epsilon == 2**-10


class Own(layers.Layer):
    """A user's own layer, with weights that no layer of fastnn has."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones", name="scale")
        self.mix = self.add_weight(shape=(shape[-1], shape[-1]), initializer="glorot_uniform", name="mix")
        self.power = self.add_weight(shape=(), initializer="ones", name="power")

    def call(self, x):
        return ops.tanh(x * self.scale - ops.mean(x, axis=0)) @ ops.transpose(self.mix) * self.power


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["classifier", "own", "embedding", "shared"])
def test_training_goes_on_as_the_original_does(rng, kind, dtype):
    x = rng.normal(size=(40, 8))
    y = rng.integers(0, 3, 40)
    if kind == "classifier":
        t = fnn.Input((8,))
        model = fnn.Model(t, classifier()(t), dtype=dtype)
    elif kind == "own":
        model = fnn.Sequential([fnn.Input((8,)), layers.Dense(5, "tanh"), Own(), layers.Dense(3, "softmax")], dtype=dtype)
    elif kind == "embedding":
        x = rng.integers(0, 7, (40, 4))
        made = [fnn.Input((4,), dtype="int32"), layers.Embedding(7, 3), layers.Dense(3), layers.Flatten(), layers.Dense(3, "softmax")]
        model = fnn.Sequential(made, dtype=dtype)
    else:
        t, shared = fnn.Input((8,)), layers.Dense(8, "tanh", name="twice")
        model = fnn.Model(t, layers.Dense(3, "softmax")(shared(shared(t))), dtype=dtype)
    back = fnn.from_onnx(fnn.onnx.to_onnx(model))
    assert_same(model, back, [x])
    assert len(back.trainable_weights) == len(model.trainable_weights)
    losses = []
    for m in (model, back):
        m.compile(optimizer=fnn.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
        losses.append([m.train_on_batch(x, y) for _ in range(20)])
    assert np.allclose(*losses, rtol=1e-4 if dtype == "float32" else 1e-9) and losses[1][-1] < losses[1][0]
    for name, p in model.parameters.items():
        if name in back.parameters:
            assert np.allclose(back.parameters[name].value, p.value, atol=1e-4 if dtype == "float32" else 1e-10), name


def test_a_model_that_was_read_is_saved_and_loaded(rng, tmp_path):
    model = fnn.Sequential([fnn.Input((8,)), layers.Dense(5, "tanh"), Own(), layers.Dense(3)])
    back = fnn.from_onnx(fnn.onnx.to_onnx(model))
    back.save(tmp_path / "m.fnn")
    assert_same(back, fnn.load(tmp_path / "m.fnn"), [rng.normal(size=(6, 8)).astype("float32")])
    assert_same(back, fnn.from_onnx(fnn.onnx.to_onnx(back)), [rng.normal(size=(6, 8)).astype("float32")])


@pytest.mark.parametrize("weights", [None, "bfloat16", "int8"])
def test_frozen_models(rng, weights):
    model = fnn.Sequential([fnn.Input((40,)), layers.Dense(30, "tanh"), layers.Dense(4)])
    frozen, x = model.freeze(weights), rng.normal(size=(9, 40)).astype("float32")
    back = fnn.from_onnx(fnn.onnx.to_onnx(frozen))
    difference = np.abs(back.predict(x, verbose=0) - frozen(x)).max()
    assert difference <= {None: 1e-6, "bfloat16": 2e-2, "int8": 2e-3}[weights] * np.abs(frozen(x)).max()


def test_lookups(rng):
    words, numbers = fnn.Input((3,), dtype="string", name="words"), fnn.Input((1,), dtype="int64", name="numbers")
    known = layers.StringLookup(vocabulary=["b", "a", "ü"], mask_token="", name="known")(words)
    codes = layers.IntegerLookup(vocabulary=[7, -2], output_mode="one_hot", name="codes")(numbers)
    vectors = layers.Flatten()(layers.Embedding(5, 2, name="vectors")(known))
    model = fnn.Model([words, numbers], layers.Dense(2, name="out")(layers.Concatenate()([vectors, codes])))
    back = fnn.from_onnx(fnn.onnx.to_onnx(model))
    arrays = [np.array([["a", "", "x"], ["ü", "b", "b"]], object), np.array([[7], [3]])]
    assert_same(model, back, arrays)
    assert type(back.get_layer("known")).__name__ == "StringLookup" and len(back.trainable_weights) == 3


# ---- files of others ----


def graph(nodes, initializers=(), inputs=(("x", TensorProto.FLOAT, ["batch", 4]),), outputs=("y",), opset=20, **kwargs):
    """A ModelProto of nodes, each (operator, inputs, outputs, attributes)."""
    made = [helper.make_node(n[0], n[1].split(",") if n[1] else [], n[2].split(","), **(n[3] if len(n) > 3 else {})) for n in nodes]
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in dict(initializers).items()]
    whole = helper.make_graph(
        made, "g", [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs], tensors,
    )  # fmt: skip
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], **kwargs)


W, B = np.arange(12, dtype="float32").reshape(4, 3), np.float32([1, 2, 3])


def kinds(proto, **arguments):
    return [type(layer).__name__ for layer in fnn.from_onnx(proto, **arguments).layers][1:]


def test_products_become_dense_layers_with_the_activation_after_them():
    assert kinds(graph([("Gemm", "x,w,b", "h"), ("Relu", "h", "y")], {"w": W, "b": B})) == ["Dense"]
    assert kinds(graph([("Gemm", "x,w,b", "y", {"transB": 1})], {"w": W.T, "b": B})) == ["Dense"]
    assert kinds(graph([("MatMul", "x,w", "h"), ("Add", "b,h", "g"), ("Elu", "g", "y", {"alpha": 0.5})], {"w": W, "b": B})) == ["Dense"]
    assert kinds(graph([("MatMul", "x,w", "h"), ("Add", "h,b", "y"), ("Relu", "h", "z")], {"w": W, "b": B}, outputs=["y", "z"])) == [
        "Dense", "Nodes", "Activation",
    ]  # fmt: skip
    model = fnn.from_onnx(graph([("Gemm", "x,w,b", "y", {"alpha": 2.0, "beta": 0.5})], {"w": W, "b": B}))
    assert np.allclose(model.predict(np.ones((1, 4), "float32"), verbose=0), 2 * W.sum(0) + 0.5 * B) and len(model.weights) == 2


def test_nodes_that_read_one_weight_in_different_places(rng):
    w = rng.normal(size=(4, 4)).astype("float32")
    nodes = [("Sub", "x,v", "a"), ("Sub", "v,x", "b"), ("Transpose", "w", "t"), ("MatMul", "x,w", "c"), ("MatMul", "x,t", "d"),
             ("Gemm", "x,w", "e", {"transB": 1}), ("Sub", "a,v", "f"), ("Sum", "x,v,x", "g"), ("MatMul", "a,w", "h")]  # fmt: skip
    model = fnn.from_onnx(graph(nodes, {"w": w, "v": w[0]}, outputs=list("abcdefgh")))
    x, v = rng.normal(size=(3, 4)).astype("float32"), w[0]
    wanted = [x - v, v - x, x @ w, x @ w.T, x @ w.T, x - v - v, x + v + x, (x - v) @ w]
    for got, want in zip(model.predict(x, verbose=0), wanted, strict=True):
        assert np.allclose(got, want, atol=1e-6)
    held = sorted(w.shape for w in model.trainable_weights)
    assert held == [(4,)] * 3 + [(4, 4)] * 3  # the two Sub of x and v are one layer, and so are the two MatMul with w


def test_old_forms_of_operators(rng):
    x = rng.normal(size=(3, 4)).astype("float32")
    old = [("Unsqueeze", "x", "a", {"axes": [1]}), ("ReduceSum", "a", "b", {"axes": [1], "keepdims": 0}),
           ("Clip", "b", "c", {"min": -0.5, "max": 0.5}), ("Slice", "c", "d", {"starts": [1], "ends": [3], "axes": [1]}),
           ("Softmax", "d", "y")]  # fmt: skip
    new = [("Unsqueeze", "x,one", "a"), ("ReduceSum", "a,one", "b", {"keepdims": 0}), ("Clip", "b,low,high", "c"),
           ("Slice", "c,one,three,one", "d"), ("Softmax", "d", "y", {"axis": 1})]  # fmt: skip
    constants = {"one": [1], "three": [3], "low": np.float32(-0.5), "high": np.float32(0.5)}
    pair = [fnn.from_onnx(graph(old, opset=9)), fnn.from_onnx(graph(new, constants, opset=20))]
    e = np.exp(np.clip(x, -0.5, 0.5)[:, 1:3])
    for model in pair:
        assert np.allclose(model.predict(x, verbose=0), e / e.sum(1, keepdims=True), atol=1e-6)


def test_a_batch_of_fixed_size_stays_open(rng):
    nodes = [("Reshape", "x,s", "h"), ("Flatten", "h", "y")]
    model = fnn.from_onnx(graph(nodes, {"s": [2, 2, 2]}, inputs=[("x", TensorProto.FLOAT, [2, 4])]))
    assert model.predict(rng.normal(size=(7, 4)), verbose=0).shape == (7, 4)


def test_some_outputs_of_a_graph_are_read():
    proto = graph([("Relu", "x", "h"), ("Hann", "h", "y"), ("Tanh", "h", "z")], outputs=["y", "z"])
    assert kinds(proto, outputs=["z"]) == ["Activation", "Activation"]
    with pytest.raises(errors.UnsupportedError, match=r"'y' \(Hann\).*\n.*its outputs are 'y', 'z'. fastnn has Abs, Add,") as caught:
        fnn.from_onnx(proto)
    assert caught.value.missing == ("'y' (Hann): no operator of fastnn",)
    with pytest.raises(errors.ArgumentError, match="no value 'q'; its outputs are"):
        fnn.from_onnx(proto, outputs=["q"])


def test_files_that_other_programs_wrote():
    """What PyTorch's two exporters and skl2onnx wrote; golden/make_onnx.py made them."""
    with np.load(os.path.join(GOLDEN, "onnx.npz")) as stored:
        names = sorted({key.partition("/")[0] for key in stored})
        assert len(names) >= 8
        for name in names:
            model = fnn.from_onnx(stored[f"{name}/file"].tobytes(), outputs=json.loads(str(stored[f"{name}/outputs"])) or None)
            given = [stored[key] for key in sorted(stored) if key.startswith(f"{name}/x")]
            made = model.predict(given, verbose=0)
            for i, got in enumerate(made if isinstance(made, list) else [made]):
                want = stored[f"{name}/y{i}"]
                assert got.shape == want.shape and np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), name
            expected = str(stored[f"{name}/layers"])
            assert " ".join(f"{x.name}:{type(x).__name__}" for x in model.layers) == expected, name


# ---- ONNX's own tests of operators ----


@pytest.fixture(scope="module")
def cases():
    from onnx_backend import node_cases

    return node_cases()


@pytest.mark.parametrize("how", ["model", "folded"])
def test_nodes_of_onnx(request, how):
    """Each case gives ONNX's numbers or is named in the table; one that is named fails."""
    from onnx_backend import Prepared, fault, folded

    with open(os.path.join(GOLDEN, "onnx_nodes.json")) as file:
        table = json.load(file)
    version, known = ([int(n) for n in re.findall(r"\d+", v)[:2]] for v in (onnx.__version__, table["onnx"]))
    if version < known:
        pytest.skip(f"the cases are those of onnx {table['onnx']}")
    skipped = {name: reason for reason, names in table[how].items() for name in names}
    faults, cases = {}, request.getfixturevalue("cases")
    for name, (proto, data, rtol, atol) in cases.items():
        run = Prepared(proto).run if how == "model" else functools.partial(folded, proto)
        faults[name] = fault(run, data, max(rtol, 1e-4), atol)
    passed = {name for name, found in faults.items() if found is None}
    assert len(passed) > 450
    if version == known:
        assert {name: found for name, found in faults.items() if found and name not in skipped} == {}
        assert not passed & set(skipped)
        assert set(skipped) <= set(cases)
    else:  # newer versions have other cases
        wrong = {name for name, found in faults.items() if found and found.startswith("wrong")}
        assert wrong <= set(skipped)


def test_the_documentation_lists_the_operators():
    for operator in OPERATORS:
        assert re.search(rf"\b{operator}\b", fnn.from_onnx.__doc__), operator


# ---- damaged and hostile files ----


def int64(*values):
    return np.array(values, np.int64)


BAD = {
    "an unknown operator": (graph([("Hann", "x", "y")]), "'y' \\(Hann\\): no operator of fastnn"),
    "another domain": (
        graph([("Relu", "x", "y", {"domain": "com.example"})]), "'y' \\(Relu\\): no operator of fastnn"),
    "a cycle": (graph([("Add", "x,z", "y"), ("Relu", "y", "z")]), "a cycle through 'y' \\(Add\\)"),
    "a missing operand": (graph([("Add", "x,z", "y")]), "'y' \\(Add\\) reads 'z', which nothing"),
    "a missing output": (graph([("Relu", "x", "z")]), "nothing in the ONNX model makes the output 'y'"),
    "a value made twice": (graph([("Relu", "x", "y"), ("Abs", "x", "y")]), "two parts of the ONNX model make the value 'y'"),
    "an input made again": (graph([("Relu", "x", "x"), ("Abs", "x", "y")]), "make the value 'x'"),
    "two inputs of a name": (
        graph([("Relu", "x", "y")], inputs=[("x", 1, ["b", 4])] * 2), "two inputs of the ONNX model are called 'x'"),
    "no shape": (graph([("Relu", "x", "y")], inputs=[("x", 1, None)]), "'x' of the ONNX model has no shape"),
    "open sizes": (graph([("Relu", "x", "y")], inputs=[("x", 1, ["b", "n"])]), "needs all sizes but the first"),
    "a huge input": (graph([("Relu", "x", "y")], inputs=[("x", 1, ["b", 2**62, 2**62])]), "no shape of at most 8 dimensions"),
    "an old opset": (graph([("Relu", "x", "y")], opset=5), "uses opset 5, from_onnx reads 7 to"),
    "a new opset": (graph([("Relu", "x", "y")], opset=99), "uses opset 99"),
    "a subgraph": (
        graph([("If", "c", "y", {"then_branch": graph([("Relu", "x", "y")]).graph, "else_branch": graph([("Abs", "x", "y")]).graph})],
              {"c": np.array(True)}), "'y' \\(If\\) holds a graph of its own"),
    "a huge constant": (
        graph([("ConstantOfShape", "s", "c"), ("Add", "x,c", "y")], {"s": int64(2**40, 2**40)}), "too large to be computed"),
    "a huge expansion": (
        graph([("ConstantOfShape", "t", "c"), ("Expand", "c,s", "d"), ("Add", "x,d", "y")],
              {"t": int64(1), "s": int64(2**40, 1)}), "too large to be computed"),
    "a huge repetition": (
        graph([("Constant", "", "c", {"value": numpy_helper.from_array(np.float32([[1]]))}), ("Tile", "c,s", "d"), ("Add", "x,d", "y")],
              {"s": int64(2**40, 4)}), "too large to be computed"),
    "huge sums": (
        graph([("Constant", "", "c0", {"value": numpy_helper.from_array(np.ones((64, 4), np.float32))})]
              + [("Concat", f"c{i},c{i}", f"c{i + 1}", {"axis": 0}) for i in range(40)] + [("Add", "x,c40", "y")]),
        "too large to be computed"),
    "many steps": (
        graph([("Add", f"{'w' if i == 0 else f'c{i}'},w", f"c{i + 1}") for i in range(400)] + [("Add", "x,c400", "y")], {"w": B[:1]}),
        "too many nodes work on numbers"),
    "no operands": (graph([("Relu", "", "y")]), "\\(Relu\\)"),
    "too many operands": (graph([("Relu", "x,x", "y")]), "\\(Relu\\)"),
    "an attribute of another type": (graph([("Elu", "x", "y", {"alpha": "a"})]), "'y' \\(Elu\\) has an attribute 'alpha' of type 3"),
    "an axis beyond": (graph([("Softmax", "x", "y", {"axis": 7})]), "works over axis 7 of 2 dimensions"),
    "text": (graph([("Cast", "x", "y", {"to": 1})], inputs=[("x", TensorProto.STRING, ["b", 4])]), "is text"),
    "samples joined": (graph([("Concat", "x,x", "y", {"axis": 0})]), "would join samples"),
    "samples mixed": (graph([("Transpose", "x", "y")]), "axis 0 of \\(B, 4\\) is the batch and stays first"),
    "a constant as output": (graph([("Relu", "w", "y")], {"w": W}), "is not one of each sample"),
    "dropout while it trains": (graph([("BatchNormalization", "x,a,a,a,a", "y", {"training_mode": 1})], {"a": W[:, 0]}), "training_mode"),
    "kernels of other sizes": (graph([("Gemm", "x,w,b", "y")], {"w": W[:3], "b": B}), "multiplies 4 features"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_refused(name):
    proto, message = BAD[name]
    for source in (proto, proto.SerializeToString()):
        with pytest.raises((errors.UnsupportedError, errors.FileFormatError), match=message):
            fnn.from_onnx(source)


def test_wrong_arguments(tmp_path, monkeypatch):
    with pytest.raises(errors.ArgumentTypeError, match="takes the path of an ONNX file, its bytes or an onnx.ModelProto, got int"):
        fnn.from_onnx(3)
    with pytest.raises(errors.FileAccessError, match="cannot read"):
        fnn.from_onnx(tmp_path / "missing.onnx")
    with pytest.raises(errors.FileAccessError):
        fnn.from_onnx(tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("weights and so on")
    with pytest.raises(errors.FileFormatError, match="is empty"):
        fnn.from_onnx(tmp_path / "empty.onnx")
    with pytest.raises(errors.FileFormatError, match="no ONNX file"):
        fnn.from_onnx(tmp_path / "text.onnx")
    with pytest.raises(errors.FileFormatError, match="no ONNX file"):
        fnn.from_onnx(b"")
    with pytest.raises(errors.ArgumentError, match="outputs must be a list of names, got 'y'"):
        fnn.from_onnx(graph([("Relu", "x", "y")]), outputs="y")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(errors.MissingExtraError, match="reading ONNX needs onnx"):
        fnn.from_onnx(tmp_path / "text.onnx")


def test_numbers_that_do_not_fit_their_shape():
    proto = graph([("Gemm", "x,w,b", "y")], {"w": W, "b": B})
    proto.graph.initializer[0].dims[0] = 2**33
    with pytest.raises(errors.FileFormatError, match="the initializer 'w' has the shape \\(8589934592, 3\\).* but 48 are there"):
        fnn.from_onnx(proto)
    proto.graph.initializer[0].dims[0] = -4
    with pytest.raises(errors.FileFormatError, match="no shape of at most"):
        fnn.from_onnx(proto)
    proto.graph.initializer[0].dims[0], proto.graph.initializer[0].data_type = 4, 17
    with pytest.raises(errors.UnsupportedError, match="elements of type"):
        fnn.from_onnx(proto)


def external(folder, location, **entries):
    """The path of a model whose kernel lies in another file."""
    proto = graph([("Gemm", "x,w,b", "y")], {"w": W, "b": B})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path = folder / "models" / "m.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return path


def test_numbers_in_other_files(tmp_path):
    path = external(tmp_path, "w.bin", offset=8)
    (path.parent / "w.bin").write_bytes(b"x" * 8 + W.tobytes())
    model = fnn.from_onnx(path)
    assert np.allclose(model.predict(np.eye(4, dtype="float32"), verbose=0), W + B)
    with pytest.raises(errors.UnsupportedError, match="lies in another file, 'w.bin'; pass the path"):
        fnn.from_onnx(path.read_bytes())
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (path.parent / "link.bin").symlink_to(tmp_path / "w.bin")
    (path.parent / "inner").mkdir()
    (path.parent / "up").symlink_to(tmp_path)
    for location in ("../w.bin", str(tmp_path / "w.bin"), "inner/../../w.bin", "link.bin", "up/w.bin", "", "C:\\w.bin", "a\0b"):
        with pytest.raises(errors.FileFormatError, match="'w' lies in"):
            fnn.from_onnx(external(tmp_path, location))
    with pytest.raises(errors.FileAccessError):
        fnn.from_onnx(external(tmp_path, "missing.bin"))
    for entries in ({"offset": 16}, {"offset": -8}, {"length": 8}, {"length": 2**62}, {"offset": "x"}, {"offset": 2**70}):
        with pytest.raises(errors.FileFormatError, match="'w'"):
            fnn.from_onnx(external(tmp_path, "w.bin", **entries))


def test_large_numbers_in_another_file(tmp_path, rng):
    kernel = rng.normal(size=(600, 600)).astype("float32")
    nodes = [("Gemm", "x,w,b", "h", {"transB": 1}), ("Gemm", "h,w,b", "y", {"transB": 1})]
    proto = graph(nodes, {"w": kernel, "b": kernel[0]}, inputs=[("x", TensorProto.FLOAT, ["batch", 600])])
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    x = rng.normal(size=(3, 600)).astype("float32")
    want = (x @ kernel.T + kernel[0]) @ kernel.T + kernel[0]
    model = fnn.from_onnx(tmp_path / "m.onnx")
    assert np.abs(model.predict(x, verbose=0) - want).max() <= 1e-5 * np.abs(want).max()
    assert len(model.weights) == 2 and model.get_layer("gemm").count_params() == 600 * 601
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    again = proto.graph.initializer.add()
    again.CopyFrom(proto.graph.initializer[0])
    again.name = "w2"
    proto.graph.node[1].input[1] = "w2"
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(errors.FileFormatError, match="other tensors take the same ones"):
        fnn.from_onnx(tmp_path / "m.onnx")


def test_files_that_unfold_are_refused_before_they_are_read(monkeypatch):
    many = b"\x0a\x00" * (1 << 18)  # empty nodes
    with pytest.raises(errors.FileFormatError, match="more than 131,072 parts"):
        fnn.from_onnx(b"\x3a" + _varint(len(many)) + many)
    monkeypatch.setattr(wire, "MAX_PACKED", 100)
    proto = graph([("Gemm", "x,w,b", "y")], {"w": W, "b": B})
    proto.graph.initializer[1].CopyFrom(helper.make_tensor("b", TensorProto.INT64, [300], [0] * 300))
    with pytest.raises(errors.FileFormatError, match="100 bytes of integers"):
        fnn.from_onnx(proto.SerializeToString())


def _varint(number):
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


@settings(max_examples=EXAMPLES)
@given(st.integers(0, 2**32))
def test_damaged_files_end_in_an_error(seed):
    rng = np.random.default_rng(seed)
    model, _ = random_model(rng)
    content = bytearray(fnn.onnx.to_onnx(model).SerializeToString())
    for _ in range(rng.integers(1, 5)):
        at = rng.integers(len(content))
        if rng.integers(3):
            content[at] = rng.integers(256)
        else:
            del content[at : at + rng.integers(1, 9)]
    try:
        fnn.from_onnx(bytes(content))
    except (errors.FileFormatError, errors.UnsupportedError):
        pass
