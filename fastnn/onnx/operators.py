"""The operators of ONNX that `from_onnx` reads: one table, `OPERATORS`.

Each has a function of a node and its operands. It is written with `fastnn.ops`, so of arrays it computes what is known
when the file is read, and of a model's tensors it emits what the engine computes. A list of sizes may hold `BATCH`.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from .. import ops
from ..errors import ArgumentError

MAX_PIECES = 4096  # that one node may cut a tensor into


class _Batch:
    """The number of samples, where a list of sizes has it."""

    __slots__ = ()

    def __repr__(self):
        return "batch"


BATCH = _Batch()


class Operator(NamedTuple):
    """How an operator is read.

    Attributes
    ----------
    function : callable
        `function(node, *operands)`; an operand that is left out is None.
    known : tuple of int
        Places of the operands that must be known when the file is read.
    result : int or str
        The type of what it makes: that of an operand, or a name of NumPy.
    integers : bool
        Whether it takes integers that depend on a model's inputs, which are reals there.
    moves : bool
        Whether it only moves numbers, so that what it makes of a weight is a weight.
    size : callable or None
        `size(node, *arrays)`, the number of elements made, where it may be more than the operands have.
    """

    function: object
    known: tuple = ()
    result: int | str = 0
    integers: bool = False
    moves: bool = False
    size: object = None


OPERATORS: dict[str, Operator] = {}
DOMAINS = {"LabelEncoder": "ai.onnx.ml"}  # where it is not that of ONNX itself


def _reads(*names, **facts):
    def register(function):
        OPERATORS.update(dict.fromkeys(names, Operator(function, **facts)))
        return function

    return register


def _broadcast_size(node, *arrays):
    return math.prod(np.broadcast_shapes(*(np.shape(a) for a in arrays if a is not None)))


# Operators that are one function of fastnn.ops, on the same operands.
FUNCTIONS = {
    "Abs": "abs", "Add": "add", "Ceil": "ceil", "Cos": "cos", "Erf": "erf", "Exp": "exp", "Floor": "floor", "Log": "log",
    "Mish": "mish", "Mul": "multiply", "Neg": "negative", "Pow": "power", "Relu": "relu", "Sigmoid": "sigmoid",
    "Reciprocal": "reciprocal", "Sign": "sign", "Sin": "sin", "Softplus": "softplus", "Softsign": "softsign", "Sqrt": "sqrt",
    "Sub": "subtract", "Tanh": "tanh",
}  # fmt: skip
COMPARISONS = {
    "And": "logical_and", "Equal": "equal", "Greater": "greater", "GreaterOrEqual": "greater_equal", "Less": "less",
    "LessOrEqual": "less_equal", "Not": "logical_not", "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip


def _plain(function):
    return lambda n, *operands: function(*operands)


for _name, _function in FUNCTIONS.items():
    _exact = _name in ("Abs", "Neg", "Sign")
    OPERATORS[_name] = Operator(_plain(getattr(ops, _function)), size=_broadcast_size, integers=_exact)
for _name, _function in COMPARISONS.items():
    OPERATORS[_name] = Operator(_plain(getattr(ops, _function)), result="bool", integers=True, size=_broadcast_size)


def _rank(x):
    return len(ops.shape(x))


def _axis(node, axis, rank):
    if not -rank <= axis < rank:
        raise ArgumentError(f"{node.label} works over axis {axis} of {rank} dimensions")
    return axis % rank


def _whole(node, array, what):
    """An operand of sizes, axes or places as a flat list; None where it is left out."""
    if array is None:
        return None
    array = np.asarray(array)
    if array.dtype.kind not in "iuO" or array.ndim > 1:
        raise ArgumentError(f"{node.label} needs a list of integers as {what}, got {array.dtype} of shape {array.shape}")
    return [d if d is BATCH else int(d) for d in array.reshape(-1)]


def _axes(node, given):
    """Axes from the second operand, or from the attribute of older versions; None for none."""
    axes = _whole(node, given, "axes")
    return axes if axes is not None else node.attributes.get("axes")


# ---- elementwise ----


@_reads("Div", size=_broadcast_size)
def _div(n, a, b):
    if _is_array(a, b) and a.dtype.kind in "iu":
        if (b == 0).any():
            raise ArgumentError(f"{n.label} divides integers by zero")
        return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)) if a.dtype.kind == "i" else a // b
    return ops.divide(a, b)


def _is_array(*xs):
    return all(isinstance(x, (np.ndarray, np.generic)) for x in xs)


OPERATORS["Erf"] = OPERATORS["Erf"]._replace(size=lambda n, x: 8 * x.size)  # slow of arrays


@_reads("Mod", known=(0, 1), size=_broadcast_size)
def _mod(n, a, b):
    if n.get("fmod", 0):
        return np.fmod(a, b)
    if b.dtype.kind in "iu" and (b == 0).any():
        raise ArgumentError(f"{n.label} divides by zero")
    return np.mod(a, b)


@_reads("Max", "Min", "Sum", "Mean", size=_broadcast_size)
def _several(n, *xs):
    function = {"Max": ops.maximum, "Min": ops.minimum}.get(n.op, ops.add)
    total = functools.reduce(function, xs)
    return ops.multiply(total, 1 / len(xs)) if n.op == "Mean" else total


@_reads("Where", result=1, integers=True, size=_broadcast_size)
def _where(n, condition, a, b):
    return ops.where(condition, a, b)


@_reads("Clip")
def _clip(n, x, low=None, high=None):
    low = n.attributes.get("min") if low is None else low
    high = n.attributes.get("max") if high is None else high
    x = x if low is None else ops.maximum(x, low)
    return x if high is None else ops.minimum(x, high)


@_reads("Tan")
def _tan(n, x):
    return ops.divide(ops.sin(x), ops.cos(x))


@_reads("Sinh")
def _sinh(n, x):
    e = ops.expm1(x)  # sinh(x) = (e + e / (e + 1)) / 2 with e = exp(x) - 1
    return ops.multiply(ops.add(e, ops.divide(e, ops.add(e, 1.0))), 0.5)


@_reads("Cosh")
def _cosh(n, x):
    return ops.multiply(ops.add(ops.exp(x), ops.exp(ops.negative(x))), 0.5)


# ---- activations ----


def activation_of(node, rank):
    """The configuration of fastnn's activation that the node is, None where it is none."""
    name = _ACTIVATIONS.get(node.op)
    if name is not None:
        return name
    get = node.get
    if node.op == "LeakyRelu":
        return {"name": "leaky_relu", "negative_slope": float(get("alpha", 0.01))}
    if node.op == "Elu":
        return {"name": "elu", "alpha": float(get("alpha", 1.0))}
    if node.op == "Gelu":
        return {"name": "gelu", "approximate": True} if get("approximate", "none") == "tanh" else "gelu"
    close = {
        "Selu": ("selu", {"alpha": 1.6732632, "gamma": 1.0507010}), "Celu": ("elu", {"alpha": 1.0}),
        "HardSigmoid": ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}), "Swish": ("silu", {"alpha": 1.0}),
    }.get(node.op)  # fmt: skip
    if close:
        defaults = {"HardSigmoid": {"alpha": 0.2}}.get(node.op, {})
        same = all(math.isclose(get(k, float(defaults.get(k, v))), v, rel_tol=1e-6) for k, v in close[1].items())
        return close[0] if same else None
    if node.op in ("Softmax", "LogSoftmax"):
        axis = _axis(node, get("axis", -1 if node.opset >= 13 else 1), rank)
        return {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[node.op] if axis == rank - 1 else None
    return None


_ACTIVATIONS = {
    "Mish": "mish", "Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh",
}  # fmt: skip


@_reads("LeakyRelu")
def _leaky_relu(n, x):
    return ops.leaky_relu(x, float(n.get("alpha", 0.01)))


@_reads("Elu")
def _elu(n, x):
    return ops.elu(x, float(n.get("alpha", 1.0)))


@_reads("Celu")
def _celu(n, x):
    alpha = float(n.get("alpha", 1.0))
    return ops.multiply(ops.elu(ops.divide(x, alpha), 1.0), alpha)


@_reads("Selu")
def _selu(n, x):
    alpha, gamma = n.get("alpha", 1.6732632423543772), n.get("gamma", 1.0507009873554805)
    return ops.multiply(ops.elu(x, float(alpha)), float(gamma))


@_reads("Gelu")
def _gelu(n, x):
    return ops.gelu(x, n.get("approximate", "none") == "tanh")


@_reads("Swish")
def _swish(n, x):
    return ops.multiply(x, ops.sigmoid(ops.multiply(x, float(n.get("alpha", 1.0)))))


@_reads("HardSigmoid")
def _hard_sigmoid(n, x):
    alpha, beta = float(n.get("alpha", 0.2)), float(n.get("beta", 0.5))
    return ops.clip(ops.add(ops.multiply(x, alpha), beta), 0.0, 1.0)


@_reads("HardSwish")
def _hard_swish(n, x):
    return ops.multiply(x, ops.hard_sigmoid(x))


@_reads("ThresholdedRelu")
def _thresholded_relu(n, x):
    return ops.where(ops.greater(x, float(n.get("alpha", 1.0))), x, 0.0)


@_reads("Shrink")
def _shrink(n, x):
    bias, lambd = float(n.get("bias", 0.0)), float(n.get("lambd", 0.5))
    above = ops.where(ops.greater(x, lambd), ops.subtract(x, bias), 0.0)
    return ops.where(ops.less(x, -lambd), ops.add(x, bias), above)


@_reads("PRelu")
def _prelu(n, x, slope):
    return ops.where(ops.less(x, 0.0), ops.multiply(x, slope), x)


@_reads("Softmax", "LogSoftmax")
def _softmax(n, x):
    function = ops.softmax if n.op == "Softmax" else ops.log_softmax
    rank, old = _rank(x), n.opset < 13
    axis = _axis(n, n.get("axis", 1 if old else -1), rank)
    if not old or axis == rank - 1:
        return function(x, axis)
    shape = ops.shape(x)  # of one axis: the given one and those after it
    flat = ops.reshape(x, (*shape[:axis], math.prod(shape[axis:])))
    return ops.reshape(function(flat, -1), shape)


# ---- products ----


def _matmul_size(n, a, b, *rest):
    m = a.shape[:-1] if a.ndim > 1 else ()
    k = b.shape[-1:] if b.ndim > 1 else ()
    return math.prod(np.broadcast_shapes(m[:-1], b.shape[:-2])) * math.prod(m[-1:]) * math.prod(k) * max(a.shape[-1] // 64, 1)


@_reads("MatMul", size=_matmul_size)
def _matmul(n, a, b):
    return ops.matmul(a, b)


def _gemm_size(n, a, b, c=None):
    m, k = a.shape[::-1] if n.get("transA", 0) else a.shape
    return m * (b.shape[0] if n.get("transB", 0) else b.shape[1]) * max(k // 64, 1)


@_reads("Gemm", size=_gemm_size)
def _gemm(n, a, b, c=None):
    if _rank(a) != 2 or _rank(b) != 2:
        raise ArgumentError(f"{n.label} multiplies matrices, got {_rank(a)} and {_rank(b)} dimensions")
    a = ops.transpose(a) if n.get("transA", 0) else a
    b = ops.transpose(b) if n.get("transB", 0) else b
    made = ops.matmul(a, b)
    alpha, beta = float(n.get("alpha", 1.0)), float(n.get("beta", 1.0))
    made = made if alpha == 1 else ops.multiply(made, alpha)
    if c is None or beta == 0:
        return made
    return ops.add(made, c if beta == 1 else ops.multiply(c, beta))


# ---- normalisation ----


@_reads("BatchNormalization")
def _batch_normalization(n, x, scale, bias, mean, variance):
    lay = (-1,) + (1,) * (_rank(x) - 2)
    scale, bias, mean, variance = (ops.reshape(v, lay) for v in (scale, bias, mean, variance))
    y = ops.multiply(ops.subtract(x, mean), ops.rsqrt(ops.add(variance, float(n.get("epsilon", 1e-5)))))
    return ops.add(ops.multiply(y, scale), bias)


def _standardized(x, axes, epsilon):
    """x less its mean, divided by its deviation; the mean; one over the deviation."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    centered = ops.subtract(x, mean)
    factor = ops.rsqrt(ops.add(ops.mean(ops.square(centered), axis=axes, keepdims=True), epsilon))
    return ops.multiply(centered, factor), mean, factor


def _last_axes(n, x):
    return tuple(range(_axis(n, n.get("axis", -1), _rank(x)), _rank(x)))


@_reads("LayerNormalization")
def _layer_normalization(n, x, scale, bias=None):
    y, *moments = _standardized(x, _last_axes(n, x), float(n.get("epsilon", 1e-5)))
    y = ops.multiply(y, scale)
    return [y if bias is None else ops.add(y, bias), *moments][: len(n.outputs)]


@_reads("RMSNormalization")
def _rms_normalization(n, x, scale):
    mean = ops.mean(ops.square(x), axis=_last_axes(n, x), keepdims=True)
    return ops.multiply(ops.multiply(x, ops.rsqrt(ops.add(mean, float(n.get("epsilon", 1e-5))))), scale)


@_reads("InstanceNormalization")
def _instance_normalization(n, x, scale, bias):
    lay = (-1,) + (1,) * (_rank(x) - 2)
    y = _standardized(x, tuple(range(2, _rank(x))), float(n.get("epsilon", 1e-5)))[0]
    return ops.add(ops.multiply(y, ops.reshape(scale, lay)), ops.reshape(bias, lay))


@_reads("GroupNormalization")
def _group_normalization(n, x, scale, bias):
    shape, groups = ops.shape(x), n.get("num_groups", 1)
    if groups < 1 or shape[1] % groups:
        raise ArgumentError(f"{n.label} cannot make {groups} groups of {shape[1]} channels")
    grouped = ops.reshape(x, (shape[0], groups, shape[1] // groups, *shape[2:]))
    y = ops.reshape(_standardized(grouped, tuple(range(2, _rank(x) + 1)), float(n.get("epsilon", 1e-5)))[0], shape)
    if ops.shape(scale)[0] != shape[1]:  # before opset 21 one number for each group
        laid = (groups, shape[1] // groups)
        scale, bias = (ops.reshape(ops.broadcast_to(ops.reshape(v, (groups, 1)), laid), (-1,)) for v in (scale, bias))
    lay = (-1,) + (1,) * (_rank(x) - 2)
    return ops.add(ops.multiply(y, ops.reshape(scale, lay)), ops.reshape(bias, lay))


@_reads("MeanVarianceNormalization")
def _mean_variance_normalization(n, x):
    axes = tuple(n.get("axes", [0, 2, 3]))
    centered = ops.subtract(x, ops.mean(x, axis=axes, keepdims=True))
    return ops.divide(centered, ops.add(ops.sqrt(ops.mean(ops.square(centered), axis=axes, keepdims=True)), 1e-9))


@_reads("LpNormalization")
def _lp_normalization(n, x):
    order = n.get("p", 2)
    if order not in (1, 2):
        raise ArgumentError(f"{n.label} has p={order}, possible are 1 and 2")
    axis = _axis(n, n.get("axis", -1), _rank(x))
    length = ops.norm(x, order, axis, True)
    return ops.where(ops.equal(length, 0.0), 0.0, ops.divide(x, ops.where(ops.equal(length, 0.0), 1.0, length)))


# ---- reductions ----


_REDUCTIONS = {
    "ReduceL1": lambda x, **over: ops.sum(ops.abs(x), **over),
    "ReduceL2": lambda x, **over: ops.norm(x, **over),
    "ReduceLogSum": lambda x, **over: ops.log(ops.sum(x, **over)),
    "ReduceLogSumExp": ops.logsumexp,
    "ReduceMax": ops.max,
    "ReduceMean": ops.mean,
    "ReduceMin": ops.min,
    "ReduceProd": ops.prod,
    "ReduceSum": ops.sum,
    "ReduceSumSquare": lambda x, **over: ops.sum(ops.square(x), **over),
}


@_reads(*_REDUCTIONS, known=(1,))
def _reduce(n, x, axes=None):
    axes, keep = _axes(n, axes), bool(n.get("keepdims", 1))
    if not axes and n.get("noop_with_empty_axes", 0):
        return _REDUCTIONS[n.op](x, axis=(), keepdims=keep)
    axes = tuple(_axis(n, a, _rank(x)) for a in axes) if axes else tuple(range(_rank(x)))
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"{n.label} names an axis twice: {axes}")
    return _REDUCTIONS[n.op](x, axis=axes, keepdims=keep)


@_reads("ArgMax", "ArgMin", result="int64")
def _argmax(n, x):
    if n.get("select_last_index", 0):
        raise ArgumentError(f"{n.label} asks for the last of equal numbers; fastnn finds the first")
    axis = _axis(n, n.get("axis", 0), _rank(x))
    return ops.argmax(x if n.op == "ArgMax" else ops.negative(x), axis, bool(n.get("keepdims", 1)))


# ---- shapes ----


@_reads("Identity", "Dropout", integers=True, moves=True)
def _identity(n, x, *rest):
    return x


@_reads("Flatten", integers=True, moves=True)
def _flatten(n, x):
    shape, axis = ops.shape(x), n.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis <= len(shape):
        raise ArgumentError(f"{n.label} works over axis {axis} of {len(shape)} dimensions")
    if shape[:1] == (None,):
        if axis != 1:
            raise ArgumentError(f"{n.label} would mix samples: axis={axis}, possible is 1")
        return ops.reshape(x, (None, math.prod(shape[1:])))
    return ops.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))


@_reads("Reshape", known=(1,), integers=True, moves=True)
def _reshape(n, x, shape=None):
    sizes = _whole(n, n.attributes.get("shape") if shape is None else shape, "shape")
    if sizes is None:
        raise ArgumentError(f"{n.label} has no shape")
    before = ops.shape(x)
    if not n.get("allowzero", 0):
        if any(d == 0 and i >= len(before) for i, d in enumerate(sizes)):
            raise ArgumentError(f"{n.label} copies a size that {before} does not have: {sizes}")
        sizes = [before[i] if d == 0 else d for i, d in enumerate(sizes)]
    if before[:1] != (None,):
        return ops.reshape(x, tuple(sizes))
    if not sizes or sizes[0] not in (None, -1, BATCH, n.batch):
        raise ArgumentError(f"{n.label} does not keep the samples apart: {_shown(before)} becomes {_shown(sizes)}")
    if any(d is BATCH or d is None for d in sizes[1:]):
        raise ArgumentError(f"{n.label} uses the number of samples as another size: {_shown(sizes)}")
    return ops.reshape(x, (None, *sizes[1:]))


def _shown(shape):
    return "(" + ", ".join("batch" if d is None or d is BATCH else str(d) for d in shape) + ")"


@_reads("Squeeze", known=(1,), integers=True, moves=True)
def _squeeze(n, x, axes=None):
    axes = _axes(n, axes)
    return ops.squeeze(x, None if axes is None else tuple(_axis(n, a, _rank(x)) for a in axes))


@_reads("Unsqueeze", known=(1,), integers=True, moves=True)
def _unsqueeze(n, x, axes=None):
    axes = _axes(n, axes) or []
    rank = _rank(x) + len(axes)
    return ops.expand_dims(x, tuple(_axis(n, a, rank) for a in axes))


@_reads("Transpose", integers=True, moves=True)
def _transpose(n, x):
    rank = _rank(x)
    order = n.get("perm", list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        raise ArgumentError(f"{n.label} has perm={order} for {rank} dimensions")
    return ops.transpose(x, tuple(order))


@_reads("Concat", integers=True, size=lambda n, *xs: sum(x.size for x in xs))
def _concat(n, *xs):
    if "axis" not in n.attributes:
        raise ArgumentError(f"{n.label} has no axis")
    return ops.concatenate(list(xs), _axis(n, n.get("axis", 0), _rank(xs[0])))


@_reads("Split", known=(1,), integers=True)
def _split(n, x, sizes=None):
    axis = _axis(n, n.get("axis", 0), _rank(x))
    length, count = ops.shape(x)[axis], len(n.outputs)
    if length is None:
        raise ArgumentError(f"{n.label} would split the samples")
    sizes = _whole(n, sizes, "split") or n.get("split", [])
    if not sizes:
        step = -(-length // count)
        sizes = [step] * (count - 1) + [length - step * (count - 1)]
    if len(sizes) != count or sum(sizes) != length or min(sizes) < (0 if _is_array(x) else 1):
        raise ArgumentError(f"{n.label} splits {length} into {sizes}, which makes no {count} parts")
    return ops.split(x, np.cumsum(sizes)[:-1].tolist(), axis) if count > 1 else [x]


@_reads("Slice", known=(1, 2, 3, 4), integers=True)
def _slice(n, x, starts=None, ends=None, axes=None, steps=None):
    given = [
        n.attributes.get(name) if value is None else _whole(n, value, name)
        for name, value in (("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps))
    ]
    starts, ends = given[0] or [], given[1] or []
    axes = list(range(len(starts))) if given[2] is None else given[2]
    steps = given[3] or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ArgumentError(f"{n.label} has {len(starts)} starts, {len(ends)} ends, {len(axes)} axes, {len(steps)} steps")
    for start, end, axis, step in zip(starts, ends, axes, steps):
        axis = _axis(n, axis, _rank(x))
        size = ops.shape(x)[axis]
        if step == 0 or start is BATCH or step is BATCH:
            raise ArgumentError(f"{n.label} has the start {start} and the step {step}")
        if size is None:
            if start != 0 or step != 1 or not (end is BATCH or end == n.batch or end >= 2**31 - 1):
                raise ArgumentError(f"{n.label} would take some of the samples: from {start} to {end}")
            continue
        if end is BATCH:
            raise ArgumentError(f"{n.label} takes as many elements as there are samples")
        # A negative end beyond the first element means before it.
        stop = None if step < 0 and end < -size else end
        wanted = range(*slice(start, stop, step).indices(size))
        if _is_array(x):
            x = x[(slice(None),) * axis + (slice(start, stop, step),)]
        elif step == 1 and wanted:
            x = x[(slice(None),) * axis + (slice(wanted.start, wanted.stop),)]
        else:
            x = _taken(n, x, np.array(wanted), axis)
    return x


def _taken(n, x, indices, axis):
    if not 0 < indices.size <= MAX_PIECES:
        raise ArgumentError(f"{n.label} picks {indices.size} parts, possible are 1 to {MAX_PIECES}")
    return ops.take(x, indices, axis)


@_reads("Gather", known=(1,), integers=True, size=lambda n, x, indices: x.size * indices.size)
def _gather(n, x, indices):
    axis = _axis(n, n.get("axis", 0), _rank(x))
    if indices.dtype.kind not in "iu":
        raise ArgumentError(f"{n.label} needs integers as indices, got {indices.dtype}")
    size = ops.shape(x)[axis]
    if size is None:
        raise ArgumentError(f"{n.label} would take some of the samples")
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise ArgumentError(f"{n.label} takes places outside of {size}")
    return np.take(x, indices, axis) if _is_array(x) else _taken(n, x, indices, axis)


def _target_size(n, x, shape):
    sizes = [1 if d is BATCH else d for d in _whole(n, shape, "shape")]
    if any(d < 0 for d in sizes):
        raise ArgumentError(f"{n.label} has the shape {sizes}")
    return max(math.prod(sizes), math.prod(np.broadcast_shapes(np.shape(x), [max(d, 1) for d in sizes])))


@_reads("Expand", known=(1,), integers=True, size=_target_size)
def _expand(n, x, shape):
    target = _whole(n, shape, "shape")
    before = ops.shape(x)
    if len(target) < len(before):
        target = [1] * (len(before) - len(target)) + target
    before = (1,) * (len(target) - len(before)) + before
    sizes = [b if t == 1 else t for b, t in zip(before, target)]
    if ops.shape(x)[:1] == (None,) or BATCH in target:
        if sizes[0] not in (None, BATCH, n.batch) or BATCH in sizes[1:]:
            raise ArgumentError(f"{n.label} does not keep the samples first: {_shown(target)}")
        sizes[0] = before[0] if _is_array(x) else None  # of a constant: broadcast where it is used
    return ops.broadcast_to(x, tuple(sizes))


@_reads("Tile", known=(1,), size=lambda n, x, repeats: x.size * math.prod(max(r, 0) for r in _whole(n, repeats, "repeats")))
def _tile(n, x, repeats):
    repeats = _whole(n, repeats, "repeats")
    if len(repeats) != _rank(x) or BATCH in repeats or min(repeats, default=1) < 0:
        raise ArgumentError(f"{n.label} has the repeats {repeats} for {_rank(x)} dimensions")
    if _is_array(x):
        return np.tile(x, repeats)
    for axis, count in enumerate(repeats):
        if count != 1:
            if not 0 < count <= MAX_PIECES or ops.shape(x)[axis] is None:
                raise ArgumentError(f"{n.label} repeats axis {axis} {count} times")
            x = ops.concatenate([x] * count, axis)
    return x


@_reads("Pad", known=(1, 2, 3), size=lambda n, x, pads=None, *rest: _padded_size(n, x, pads, *rest))
def _pad(n, x, pads=None, value=None, axes=None):
    mode = n.get("mode", "constant")
    if mode != "constant":
        raise ArgumentError(f"{n.label} has mode={mode!r}, possible is 'constant'")
    value = float(n.attributes.get("value", 0.0) if value is None else np.asarray(value).reshape(-1)[0])
    for axis, (before, after) in _pads(n, x, pads, axes).items():
        if before == after == 0:
            continue
        if min(before, after) < 0 and not _is_array(x):
            raise ArgumentError(f"{n.label} has negative pads")
        shape = list(ops.shape(x))
        if shape[axis] is None:
            raise ArgumentError(f"{n.label} would add samples")
        if _is_array(x):
            x = x[(slice(None),) * axis + (slice(max(-before, 0), shape[axis] - max(-after, 0)),)]
            width = [(0, 0)] * x.ndim
            width[axis] = max(before, 0), max(after, 0)
            x = np.pad(x, width, constant_values=value)
            continue
        shape[axis] += before + after
        shifted = ops.subtract(x, value)
        x = ops.add(shifted.builder.once("pad", shifted, axis=float(axis), start=float(before), shape=tuple(shape)), value)
    return x


def _pads(n, x, pads, axes):
    pads = n.get("pads", n.get("paddings", [])) if pads is None else _whole(n, pads, "pads")
    axes = list(range(_rank(x))) if axes is None else [_axis(n, a, _rank(x)) for a in _whole(n, axes, "axes")]
    if len(pads) != 2 * len(axes):
        raise ArgumentError(f"{n.label} has {len(pads)} pads for {len(axes)} axes")
    return {a: (pads[i], pads[i + len(axes)]) for i, a in enumerate(axes)}


def _padded_size(n, x, pads=None, value=None, axes=None):
    sizes = list(x.shape)
    for axis, (before, after) in _pads(n, x, pads, axes).items():
        sizes[axis] += max(before, 0) + max(after, 0)
    return math.prod(sizes)


# ---- constants and types ----


@_reads("Constant", result="same")
def _constant(n):
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        if name in n.attributes:
            return np.array(n.attributes[name], "float32" if "float" in name else "int64")
    value = n.attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise ArgumentError(f"{n.label} holds no numbers")
    return value


@_reads("ConstantOfShape", known=(0,), result="same", size=lambda n, shape: math.prod(max(d, 0) for d in _sizes(n, shape)))
def _constant_of_shape(n, shape):
    value = n.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise ArgumentError(f"{n.label} holds no single number")
    # Of a size for each sample the value is the same, and broadcast where it is used.
    return np.full([1 if d is BATCH else d for d in _sizes(n, shape)], value.reshape(-1)[0])


def _sizes(n, shape):
    sizes = _whole(n, shape, "shape")
    if any(d is not BATCH and d < 0 for d in sizes):
        raise ArgumentError(f"{n.label} has the shape {sizes}")
    return [1 if d is BATCH else d for d in sizes]


def _range_size(n, start, limit, delta):
    if not all(np.size(v) == 1 for v in (start, limit, delta)) or float(delta) == 0:
        raise ArgumentError(f"{n.label} needs three numbers, the last not zero")
    return max(math.ceil((float(limit) - float(start)) / float(delta)), 0)


@_reads("Range", known=(0, 1, 2), size=_range_size)
def _range(n, start, limit, delta):
    return start + np.arange(_range_size(n, start, limit, delta)) * delta


@_reads("Cast", "CastLike", integers=True, moves=True, known=(1,), result="same")
def _cast(n, x, like=None):
    to = cast_to(n, like)
    if _is_array(x):
        if x.dtype == object:
            return x
        with np.errstate(all="ignore"):
            return _rounded(x.astype(to)) if n.get("to", 0) == _BFLOAT16 else x.astype(to)
    return ops.cast(x, to)


_BFLOAT16 = 16  # of TensorProto.DataType


def _rounded(x):
    """float32 rounded to bfloat16, ties to even."""
    bits = x.view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(x), nearest, bits & np.uint32(0xFFFF0000)).view(np.float32)


def cast_to(node, like=None):
    """NumPy's name of the type that a Cast gives."""
    from .files import TYPES

    if like is not None:
        return like.dtype.name
    name = TYPES.get(node.get("to", 0), ("unknown",))[0]
    if name in ("unknown", "string"):
        raise ArgumentError(f"{node.label} casts to the type {node.get('to', 0)}, which fastnn does not have")
    return "float32" if name == "bfloat16" else name  # values are rounded, kept as float32


@_reads("OneHot", known=(1, 2), result=2, integers=True, size=lambda n, i, depth, values: i.size * max(int(np.max(depth)), 1))
def _one_hot(n, indices, depth, values):
    if np.size(depth) != 1 or np.size(values) != 2:
        raise ArgumentError(f"{n.label} needs one depth and two values")
    depth = int(np.reshape(depth, -1)[0])
    off, on = (v.item() for v in np.reshape(values, -1))
    if _is_array(indices):
        indices = np.where(indices < 0, indices + depth, indices)
    hot = ops.one_hot(indices, depth, n.get("axis", -1))
    return ops.add(ops.multiply(hot, on - off), off)


@_reads("LabelEncoder", result="int64", integers=True)
def _label_encoder(n, x):
    raise ArgumentError(f"{n.label} reads what is no input of the model")


@_reads("Shape", "Size", result="int64", integers=True)
def _shape(n, x):
    """Of an array or a Value."""
    shape = [BATCH if d is None else d for d in ops.shape(x)]
    if n.op == "Size":
        if BATCH in shape:
            raise ArgumentError(f"{n.label} counts the elements of all samples")
        return np.array(math.prod(shape), np.int64)
    part = shape[n.get("start", 0) : n.get("end", len(shape))]
    return np.array(part, object if BATCH in part else np.int64)
