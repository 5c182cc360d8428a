"""ONNX: random models of every layer, as ONNX Runtime runs them."""

import json

import numpy as np
import pytest
from conftest import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import FUNCTIONS, INTEGER_LAYERS, JUMPS, LAYERS, random_model

import fastnn as fnn
from fastnn import _core, errors, io, layers, ops  # noqa: F401 - io has a layer of its own

onnx = pytest.importorskip("onnx")
from fastnn.onnx.emitters import EMITTERS, outside_inference  # noqa: E402

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def run(proto, model, arrays):
    """The outputs that ONNX Runtime computes, each with the one that fastnn predicts."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = session.run(None, dict(zip([i.name for i in session.get_inputs()], arrays)))
    predicted = model.predict(arrays, verbose=0)
    return list(zip(made, predicted if isinstance(predicted, list) else [predicted]))


def assert_same(proto, model, arrays):
    onnx.checker.check_model(proto, full_check=True)
    for got, want in run(proto, model, arrays):
        assert got.shape == want.shape and got.dtype == want.dtype
        scale = np.abs(want).max(initial=0) or 1
        assert np.abs(got - want).max(initial=0) <= TOLERANCE[model.dtype] * scale


def test_every_op_has_an_emitter_or_a_reason():
    for op in _core.OPS:
        assert (op in EMITTERS) != bool(outside_inference(op)), op


def test_the_random_models_are_made_of_everything():
    known = {name for name in layers.base.registry._classes if name[0].isupper()}
    assert known - set(LAYERS) - set(INTEGER_LAYERS) == {
        "InputLayer", "Operation", "StoredProgram", "IntegerLookup", "StringLookup",  # the last two: test_lookup.py
    }  # fmt: skip
    assert set(ops.TRACED) == (set(FUNCTIONS) | set(JUMPS)) - {"step"}


@settings(max_examples=max(EXAMPLES // 10, 5))
@given(st.integers(0, 2**32))
def test_onnx_runtime_computes_what_fastnn_predicts(seed):
    model, arrays = random_model(np.random.default_rng(seed))
    assert_same(fnn.onnx.to_onnx(model), model, arrays)


def classifier():
    x = fnn.Input((8,), name="x")
    h = layers.Dense(16, "relu", name="h1")(x)
    h = layers.LayerNormalization(name="ln")(layers.Dropout(0.3)(layers.BatchNormalization(name="bn")(h)))
    return fnn.Model(x, layers.Dense(3, "softmax", name="out")(h), name="classes")


def test_names_shapes_and_metadata(tmp_path):
    model = classifier()
    model.class_names, model.feature_names = ["a", "b", "c"], list("abcdefgh")
    model.export(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [n.name for n in proto.graph.node] == [
        "h1/Gemm", "h1/Relu", "bn/BatchNormalization", "ln/LayerNormalization", "out/Gemm", "out/Softmax",
    ]  # fmt: skip
    assert [i.name for i in proto.graph.initializer][:2] == ["h1/kernel", "h1/bias"]
    assert [o.name for o in proto.graph.output] == ["out"] and proto.graph.name == "classes"
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in [*proto.graph.input, *proto.graph.value_info, *proto.graph.output]}  # fmt: skip
    assert shapes["x"] == ["batch", 8] and shapes["h1/Gemm"] == ["batch", 16] and shapes["out"] == ["batch", 3]
    assert set(shapes) == {"x", *(n.output[0] for n in proto.graph.node)}
    metadata = {p.key: json.loads(p.value) for p in proto.metadata_props}
    assert metadata["class_names"] == ["a", "b", "c"] and metadata["feature_names"] == list("abcdefgh")
    assert metadata["layers"][1] == {"name": "h1", "class": "Dense"}
    assert (proto.producer_name, proto.opset_import[0].version, proto.ir_version) == ("fastnn", 20, 9)


def test_an_input_as_output_and_names_that_clash(rng):
    x = fnn.Input((3,), name="x")
    model = fnn.Model({"x": x}, {"x": x, "y": x, "z": layers.Activation("relu")(x)})
    proto = fnn.onnx.to_onnx(model)
    array = rng.normal(size=(4, 3)).astype("float32")
    runtime = pytest.importorskip("onnxruntime")
    a, b, c = runtime.InferenceSession(proto.SerializeToString()).run(None, {"x": array})
    assert (a == array).all() and (b == array).all() and (c == np.maximum(array, 0)).all()
    assert [o.name for o in proto.graph.output] == ["x_1", "y", "z"]


@pytest.mark.parametrize("weights", [None, "bfloat16", "int8"])
def test_predictors(rng, weights):
    model = fnn.Sequential([fnn.Input((40,)), layers.Dense(30, "tanh"), layers.Dense(4)])
    x = rng.normal(size=(9, 40)).astype("float32")
    frozen = model.freeze(weights)
    proto = fnn.onnx.to_onnx(frozen)
    onnx.checker.check_model(proto, full_check=True)
    runtime = pytest.importorskip("onnxruntime")
    [got] = runtime.InferenceSession(proto.SerializeToString()).run(None, {proto.graph.input[0].name: x})
    assert np.abs(got - frozen(x)).max() <= (1e-3 if weights == "int8" else 1e-5) * np.abs(got).max()


def test_columns_of_a_table_are_named_as_the_network_reads_them(rng):
    frame = {"size": rng.normal(size=20), "kind": ["a", "b"] * 10}
    features = fnn.preprocessing.Features.fit(frame)
    model = fnn.Sequential([fnn.Input((features.size,)), layers.Dense(2)])
    model.features = features
    metadata = {p.key: json.loads(p.value) for p in fnn.onnx.to_onnx(model).metadata_props}
    assert metadata["feature_names"] == list(model.features.names_out)


def test_mixed_models_round_as_the_engine_does(rng):
    model = fnn.Sequential([fnn.Input((40,)), layers.Dense(30, "tanh"), layers.Dense(4)], dtype="mixed_bfloat16")
    assert_same(fnn.onnx.to_onnx(model), model, [rng.normal(size=(9, 40)).astype("float32")])


def test_wrong_arguments(tmp_path):
    model = classifier()
    with pytest.raises(errors.UnknownNameError, match="extension of exported files '.pb'; known are .onnx"):
        model.export(tmp_path / "m.pb")
    with pytest.raises(errors.ArgumentTypeError, match="needs a path, got int"):
        model.export(3)
    with pytest.raises(errors.ArgumentTypeError, match="export takes a Model or a Predictor, got str"):
        fnn.onnx.to_onnx("m.fnn")
    with pytest.raises(errors.FileAccessError):
        model.export(tmp_path / "missing" / "m.onnx")
    model.export(tmp_path / "m.onnx")
    with pytest.raises(errors.ArgumentError, match="exists already"):
        model.export(tmp_path / "m.onnx", overwrite=False)
