"""How each op of a Program is written in ONNX: one table, `EMITTERS`.

An emitter takes the `Writer`, the node, and returns the name of the value that it made. Operators are those of
opset 20. Their attributes are float32, and ONNX Runtime has no float64 kernels of some, so in a float64 model
these are written out in operators that are exact there.
"""

import math

import numpy as np

from .. import _core
from ..backends.xp import SELU_ALPHA, SELU_SCALE
from ..errors import ArgumentError
from ..graph import permutation

EMITTERS: dict = {}

# Ops that no Program holds outside training, and why; the others have an emitter.
ABSENT = {
    "matmul_tn": "gradients of kernels alone",
    "matmul_csr_tn": "gradients of kernels alone",
    "batch_moments": "BatchNormalization reads its running statistics outside training",
    "loss_seed": "losses alone",
    "random_uniform": "layers draw in training alone",
    "random_normal": "layers draw in training alone",
    "warp": "augmentation, in training alone",
    "mix": "augmentation, in training alone",
    "dropout": "the identity outside training; the writer leaves it out",
    "penalty": "regularizers alone",
    "clip_value": "gradients alone",
    "clip_norm": "gradients alone",
    "sum_squares": "gradients alone",
    "pack": "written by the library, never part of a Program's text",
    "unpack": "written by the library, never part of a Program's text",
}


def outside_inference(op):
    """Why no Program holds the op outside training, None where one may."""
    if op in ABSENT:
        return ABSENT[op]
    rule = _core.OPS[op].rule
    if op.endswith("_grad"):
        return "gradients alone"
    if rule == "UPDATE":
        return "updates alone"
    return "losses and metrics alone" if rule.startswith("LOSS") else None


def _emits(*ops):
    def register(emitter):
        EMITTERS.update(dict.fromkeys(ops, emitter))
        return emitter

    return register


def _plain(op, operator, **attributes):
    """The op is the operator, on the same inputs."""
    EMITTERS[op] = lambda w, node: w.node(operator, [w.value(i) for i in node.inputs], **attributes)


for _op, _operator in {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "bias_add": "Add", "add": "Add", "subtract": "Sub",
    "multiply": "Mul", "divide": "Div", "power": "Pow", "maximum": "Max", "minimum": "Min", "abs": "Abs",
    "sign": "Sign", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "floor": "Floor",
}.items():  # fmt: skip
    _plain(_op, _operator)
_plain("softmax", "Softmax", axis=-1)
_plain("log_softmax", "LogSoftmax", axis=-1)


# ---- activations ----


@_emits("step")
def _step(w, node):
    return w.cast(w.node("GreaterOrEqual", [w.value(node.inputs[0]), w.number(0.0)], type="bool"))


@_emits("hard_sigmoid")
def _hard_sigmoid(w, node):
    x = w.value(node.inputs[0])
    if not w.double:
        return w.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
    return w.node("Clip", [w.affine(x, 1 / 6, 0.5), w.number(0.0), w.number(1.0)])


@_emits("leaky_relu")
def _leaky_relu(w, node):
    [x], [slope] = map(w.value, node.inputs), node.attrs
    if not w.double:
        return w.node("LeakyRelu", [x], alpha=slope)
    return w.node("Where", [_negative(w, x), w.affine(x, slope, 0.0), x])


def _negative(w, x):
    return w.node("Less", [x, w.number(0.0)], type="bool")


@_emits("elu")
def _elu(w, node):
    [x], [alpha] = map(w.value, node.inputs), node.attrs
    return _elu_double(w, x, alpha, 1.0) if w.double else w.node("Elu", [x], alpha=alpha)


@_emits("selu")
def _selu(w, node):
    x = w.value(node.inputs[0])
    return _elu_double(w, x, SELU_ALPHA, SELU_SCALE) if w.double else w.node("Selu", [x])


def _elu_double(w, x, alpha, scale):
    below = w.affine(_expm1_of(w, w.node("Min", [x, w.number(0.0)])), alpha * scale, 0.0)
    return w.node("Where", [_negative(w, x), below, w.affine(x, scale, 0.0)])


@_emits("gelu")
def _gelu(w, node):
    [x], [approximate] = map(w.value, node.inputs), node.attrs
    if not w.double:
        return w.node("Gelu", [x], approximate="tanh" if approximate else "none")
    if approximate:  # x (1 + tanh(u)) / 2 = x sigmoid(2 u)
        cube = w.node("Mul", [x, w.node("Mul", [x, x])])
        gate = w.affine(w.node("Add", [x, w.affine(cube, 0.044715, 0.0)]), 2 * math.sqrt(2 / math.pi), 0.0)
        return w.node("Mul", [x, w.node("Sigmoid", [gate])])
    gate = w.affine(_erf_of(w, w.affine(x, 1 / math.sqrt(2), 0.0)), 0.5, 0.5)
    return w.node("Mul", [x, gate])


@_emits("silu")
def _silu(w, node):
    x = w.value(node.inputs[0])
    return w.node("Mul", [x, w.node("Sigmoid", [x])])


@_emits("softplus")
def _softplus(w, node):
    return _softplus_of(w, w.value(node.inputs[0]))


def _softplus_of(w, x):
    if not w.double:
        return w.node("Softplus", [x])
    decay = w.node("Exp", [w.node("Neg", [w.node("Abs", [x])])])
    return w.node("Add", [w.node("Relu", [x]), _log1p_of(w, decay)])


@_emits("mish")
def _mish(w, node):
    x = w.value(node.inputs[0])
    if not w.double:
        return w.node("Mish", [x])
    return w.node("Mul", [x, w.node("Tanh", [_softplus_of(w, x)])])


@_emits("softsign")
def _softsign(w, node):
    x = w.value(node.inputs[0])
    if not w.double:
        return w.node("Softsign", [x])
    return w.node("Div", [x, w.affine(w.node("Abs", [x]), 1.0, 1.0)])


# ---- elementwise ----


@_emits("square")
def _square(w, node):
    x = w.value(node.inputs[0])
    return w.node("Mul", [x, x])


@_emits("rsqrt")
def _rsqrt(w, node):
    return w.node("Reciprocal", [w.node("Sqrt", [w.value(node.inputs[0])])])


@_emits("expm1")
def _expm1(w, node):
    return _expm1_of(w, w.value(node.inputs[0]))


def _expm1_of(w, x):
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1), exact for small x."""
    half = w.node("Tanh", [w.affine(x, 0.5, 0.0)])
    return w.node("Mul", [half, w.affine(w.node("Exp", [x]), 1.0, 1.0)])


@_emits("log1p")
def _log1p(w, node):
    return _log1p_of(w, w.value(node.inputs[0]))


def _log1p_of(w, x):
    """log(u) + (x - (u - 1)) / u with u = 1 + x as rounded; the second term counts for small x alone."""
    u = w.affine(x, 1.0, 1.0)
    lost = w.node("Div", [w.node("Sub", [x, w.affine(u, 1.0, -1.0)]), u])
    small = w.node("Less", [w.node("Abs", [x]), w.number(0.5)], type="bool")
    return w.node("Add", [w.node("Log", [u]), w.node("Where", [small, lost, w.number(0.0)])])


@_emits("erf")
def _erf(w, node):
    return _erf_of(w, w.value(node.inputs[0]))


def _erf_of(w, x):
    """erf(x) = 2 x / sqrt(pi) times the integral of exp(-(x t)^2) over t in [0, 1], by Gauss and Legendre.

    64 points give it to 1e-15 for |x| <= 6, beyond which erf(x) is 1 in float64.
    """
    if not w.double:
        return w.node("Erf", [x])
    points, weights = np.polynomial.legendre.leggauss(64)
    points, weights = (points + 1) / 2, weights / 2
    x = w.node("Clip", [x, w.number(-6.0), w.number(6.0)])
    squares = w.node("Unsqueeze", [w.node("Mul", [x, x]), w.integers([-1])])
    powers = w.node("Exp", [w.node("Mul", [squares, w.array(-(points**2))])])
    integral = w.node("Squeeze", [w.node("MatMul", [powers, w.array(weights[:, None])]), w.integers([-1])])
    return w.node("Mul", [w.affine(x, 2 / math.sqrt(math.pi), 0.0), integral])


@_emits("affine")
def _affine(w, node):
    return w.affine(w.value(node.inputs[0]), *node.attrs)


@_emits("less", "less_equal", "equal")
def _compare(w, node):
    operator = {"less": "Less", "less_equal": "LessOrEqual", "equal": "Equal"}[node.op]
    return w.cast(w.node(operator, [w.value(i) for i in node.inputs], type="bool"))


@_emits("where")
def _where(w, node):
    condition, a, b = map(w.value, node.inputs)
    return w.node("Where", [w.cast(condition, "bool"), a, b])


@_emits("in_training")
def _in_training(w, node):
    return w.value(node.inputs[1])


# ---- products ----


@_emits("matmul", "matmul_csr")
def _matmul(w, node):
    return w.node("MatMul", _factors(w, node))


def _factors(w, node):
    """The operands of a product; bfloat16 ones rounded as the engine rounds them."""
    x, kernel = map(w.value, node.inputs)
    stored = w.program.tensors[node.inputs[1]].type == "bfloat16"
    if w.program.policy != "mixed_bfloat16" or node.op == "matmul_csr":
        return [x, w.cast(kernel) if stored else kernel]
    return [w.cast(w.cast(x, "bfloat16")), w.cast(kernel if stored else w.cast(kernel, "bfloat16"))]


@_emits("matmul_nt")
def _matmul_nt(w, node):
    x, kernel = _factors(w, node)
    return w.node("MatMul", [x, w.node("Transpose", [kernel], perm=[1, 0])])


@_emits("matmul_int8")
def _matmul_int8(w, node):
    # Not DequantizeLinear: ONNX Runtime takes that in front of a product as leave to round x to 8 bits.
    x, kernel, scale = map(w.value, node.inputs)
    return w.node("MatMul", [x, w.node("Mul", [w.cast(kernel), scale])])


# ---- reductions ----


@_emits("sum_rows", "mean_rows")
def _rows(w, node):
    operator = "ReduceSum" if node.op == "sum_rows" else "ReduceMean"
    axes = list(range(len(w.program.tensors[node.inputs[0]].shape) - 1))
    return w.node(operator, [w.value(node.inputs[0]), w.integers(axes)], keepdims=0)


@_emits("sum_to", "max_to")
def _reduce(w, node):
    operator = "ReduceSum" if node.op == "sum_to" else "ReduceMax"
    before, after = w.shape(node.inputs[0]), w.shape(node.outputs[0])
    axes = [i for i, (d, s) in enumerate(zip(before, after)) if d != s]
    if not axes:
        return w.value(node.inputs[0])
    return w.node(operator, [w.value(node.inputs[0]), w.integers(axes)], keepdims=1)


@_emits("argmax")
def _argmax(w, node):
    return w.cast(w.node("ArgMax", [w.value(node.inputs[0])], type="int64", axis=-1, keepdims=1))


# ---- shapes ----


@_emits("broadcast")
def _broadcast(w, node):
    before, after = w.shape(node.inputs[0]), w.shape(node.outputs[0])
    if after[:1] == (None,) and before[:1] != (None,):
        shape = w.node("Concat", [w.batch(), w.integers(after[1:])], type="int64", axis=0)
    else:
        shape = w.integers([1 if d is None else d for d in after])
    return w.node("Expand", [w.value(node.inputs[0]), shape])


@_emits("concat")
def _concat(w, node):
    return w.node("Concat", [w.value(i) for i in node.inputs], axis=int(node.attrs[0]))


@_emits("slice")
def _slice(w, node):
    axis, start = map(int, node.attrs)
    stop = start + w.shape(node.outputs[0])[axis]
    return w.node("Slice", [w.value(node.inputs[0]), *map(w.integers, ([start], [stop], [axis]))])


@_emits("pad")
def _pad(w, node):
    axis, start = map(int, node.attrs)
    before, after = w.shape(node.inputs[0]), w.shape(node.outputs[0])
    pads = [0] * (2 * len(before))
    pads[axis], pads[axis + len(before)] = start, after[axis] - start - before[axis]
    return w.node("Pad", [w.value(node.inputs[0]), w.integers(pads)])


@_emits("reshape")
def _reshape(w, node):
    shape = w.shape(node.outputs[0])
    if len(shape) == 2 and shape[0] is None and len(w.shape(node.inputs[0])) > 1:
        return w.node("Flatten", [w.value(node.inputs[0])], axis=1)
    return w.node("Reshape", [w.value(node.inputs[0]), w.integers([0 if d is None else d for d in shape])])


@_emits("transpose")
def _transpose(w, node):
    order = permutation(node.attrs[0], len(w.shape(node.inputs[0])))
    return w.node("Transpose", [w.value(node.inputs[0])], perm=list(order))


@_emits("full")
def _full(w, node):
    return w.array(np.full(w.shape(node.outputs[0]), node.attrs[0]))


# ---- integers ----


@_emits("embedding")
def _embedding(w, node):
    return w.node("Gather", [w.value(i) for i in node.inputs], axis=0)


@_emits("one_hot")
def _one_hot(w, node):
    index = w.node("Unsqueeze", [w.value(node.inputs[0]), w.integers([-1])], type="int32")
    classes = w.array(np.arange(w.shape(node.outputs[0])[-1], dtype=np.int32))
    return w.cast(w.node("Equal", [index, classes], type="bool"))


@_emits("to_real")
def _to_real(w, node):
    return w.cast(w.value(node.inputs[0]))


# ---- several ops as one operator: see Writer ----


def gemm(w, product, bias):
    """x kernel + bias of two dimensions."""
    return w.node("Gemm", [*_factors(w, product), w.value(bias)])


def layer_norm(w, node, gamma, beta):
    """layer_norm, and gamma and beta where they are not None."""
    features = w.shape(node.outputs[0])[-1:]
    given = [w.value(node.inputs[0]), w.array(np.ones(features)) if gamma is None else w.value(gamma)]
    if w.fits(node.attrs[0]):
        given += [] if beta is None else [w.value(beta)]
        return w.node("LayerNormalization", given, axis=-1, epsilon=node.attrs[0])
    axis = w.integers([-1])
    centered = w.node("Sub", [given[0], w.node("ReduceMean", [given[0], axis], keepdims=1)])
    variance = w.node("ReduceMean", [w.node("Mul", [centered, centered]), axis], keepdims=1)
    made = w.node("Div", [centered, w.node("Sqrt", [w.affine(variance, 1.0, node.attrs[0])])])
    made = made if gamma is None else w.node("Mul", [made, given[1]])
    return made if beta is None else w.node("Add", [made, w.value(beta)])


@_emits("layer_norm")
def _layer_norm(w, node):
    return layer_norm(w, node, None, None)


def batch_norm(w, x, mean, variance, epsilon, gamma, beta):
    """(x - mean) / sqrt(variance + epsilon) gamma + beta of two dimensions."""
    features = w.shape(mean)
    scale = w.array(np.ones(features)) if gamma is None else w.value(gamma)
    shift = w.array(np.zeros(features)) if beta is None else w.value(beta)
    given = [w.value(x), scale, shift, w.value(mean, weight=True), w.value(variance, weight=True)]
    return w.node("BatchNormalization", given, epsilon=epsilon)


def label_encoder(w, x, lookup):
    """int32 positions of what a lookup reads."""
    if lookup.num_oov_indices != 1:
        raise ArgumentError(
            f"{lookup._label} has num_oov_indices={lookup.num_oov_indices}, which has no form in ONNX; with 1 it has one"
        )
    values, positions = lookup._table()
    kind = "strings" if lookup._text else "int64s"
    found = w.node(
        "LabelEncoder", [x], type="int64", domain="ai.onnx.ml", values_int64s=positions,
        default_int64=lookup._first_oov, **{f"keys_{kind}": values},
    )  # fmt: skip
    return w.cast(found, "int32")
