"""ONNX files that are damaged or hostile: what `from_onnx` says of them."""

import os
import sys

import numpy as np
import pytest

import fastnn as fnn
from fastnn.errors import FileFormatError, UnsupportedError

onnx = pytest.importorskip("onnx")
import fuzz_onnx  # noqa: E402 - it needs onnx
from fuzzing import fuzz  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402


def refused(tmp_path, content, kind, match):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(kind, match=match) as caught:
        fnn.from_onnx(path)
    assert caught.value.__traceback__ is not None
    path.write_bytes(b"")  # nothing holds the file any more


def relu(**more):
    return fuzz_onnx._model([helper.make_node("Relu", ["x"], ["y"])], [], ("batch", 3), **more)


def test_damage_is_found_while_the_file_is_mapped(tmp_path):
    content = relu().SerializeToString()
    refused(tmp_path, content[:-1], FileFormatError, "makes no sense at byte")
    refused(tmp_path, content + b"\xff" * 12, FileFormatError, "makes no sense at byte")


@pytest.mark.parametrize("place", ["graph", "op", "name", "value", "metadata"])
def test_names_that_are_no_text(tmp_path, place):
    proto = relu()
    node = proto.graph.node[0]
    node.name, proto.graph.name = "node", "graph"
    proto.metadata_props.add(key="class_names", value="metadata")
    text = {"graph": b"graph", "op": b"Relu", "name": b"node", "value": b"\x01y", "metadata": b"metadata"}[place]
    content = proto.SerializeToString()
    assert text in content
    refused(tmp_path, content.replace(text, text[:-1] + b"\xff"), FileFormatError, r"is not UTF-8 text|\\xff")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_data_in_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "weights.bin")
    refused(tmp_path, fuzz_onnx._outside("weights.bin").SerializeToString(), FileFormatError, "which is no file")
    (tmp_path / "folder").mkdir()
    refused(tmp_path, fuzz_onnx._outside("folder").SerializeToString(), FileFormatError, "which is no file")


def test_nodes_of_very_many_operands_are_refused(tmp_path):
    refused(tmp_path, fuzz_onnx._chain("Sum", 1, more=["x"] * 5000), UnsupportedError, "has 5,001 inputs, at most 4,096")


def test_very_many_nodes_are_refused(tmp_path):
    refused(tmp_path, fuzz_onnx._many(1, b"", 70_000), UnsupportedError, "has 70,001 nodes, at most 65,535")


def test_attributes_of_very_many_entries_are_refused(tmp_path):
    content = fuzz_onnx._with_attribute(onnx.AttributeProto.FLOATS, 7, bytes(4 * 300_000))
    refused(tmp_path, content, UnsupportedError, "has 300,000 entries")


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT32", "INT64", "UINT64", "BOOL"])
@pytest.mark.parametrize("raw", [False, True])
def test_numbers_of_every_type_are_read_from_either_field(kind, raw):
    kind, numbers = getattr(TensorProto, kind), [0, 1, 3]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    array = np.array(numbers).astype(dtype)
    w = helper.make_tensor("w", kind, [3], array.tobytes() if raw else array, raw=raw)
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "c"], ["y"])]
    model = fnn.from_onnx(fuzz_onnx._model(nodes, [w], ("batch", 3)))
    np.testing.assert_array_equal(model.predict(np.zeros((2, 3), np.float32), verbose=0), np.tile(array.astype("float32"), (2, 1)))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
@pytest.mark.parametrize("prepare,files", [(fuzz_onnx.sample, 300), (fuzz_onnx.bulky, 22)])
def test_mutated_and_bulky_files_end_in_typed_errors(prepare, files, tmp_path):
    report = fuzz(prepare, files, keep=tmp_path, seconds=3)  # machines of tests may be slow
    assert not report.failures and report.outcomes["read"] > 5 and len(report.outcomes) > 2, str(report)
