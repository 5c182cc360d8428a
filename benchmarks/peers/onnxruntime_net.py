"""The nets in ONNX Runtime, for prediction alone."""

import os

import onnxruntime
from onnx import helper, numpy_helper

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh"}


def version():
    return onnxruntime.__version__


def build(net, weights):
    """The net as an ONNX model."""
    nodes, initializers, at = [], [], "x"
    for i, (kernel, bias) in enumerate(zip(weights[0::2], weights[1::2])):
        if i:
            nodes.append(helper.make_node(ACTIVATIONS[net.activation], [at], [f"a{i}"]))
            at = f"a{i}"
        initializers += [numpy_helper.from_array(kernel, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"z{i}"]))
        at = f"z{i}"
    if net.classifies:
        nodes.append(helper.make_node("Softmax", [at], ["y"]))
        at = "y"
    real = helper.np_dtype_to_tensor_dtype(weights[0].dtype)
    x = helper.make_tensor_value_info("x", real, ["n", net.widths[0]])
    y = helper.make_tensor_value_info(at, real, ["n", net.widths[-1]])
    graph = helper.make_graph(nodes, "net", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def predictor(net, weights, rows):
    """A function (rows, features) -> (rows, outputs)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    model = build(net, weights).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    outputs = [session.get_outputs()[0].name]
    return lambda x: session.run(outputs, {"x": x})[0]
