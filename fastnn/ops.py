"""Functions of tensors, with the names and arguments of `keras.ops`.

They work on four kinds of things: on symbolic tensors of the functional API, where each call becomes a layer;
inside a layer's `call`, a loss, metric, activation or regularizer on the tensors that fastnn hands over,
where they add nodes to the Program that C runs and that is differentiated; on parameters and numbers beside
these; and on arrays alone, where NumPy computes at once.

The first dimension of a tensor in a model is the batch, and `axis` counts it as 0, as on arrays. Sums and
means over it are possible; functions that have no value until the whole batch is known, such as a maximum
over it, raise a ShapeError. Where a condition or an index would be an array of another type, tensors hold
reals: a comparison gives 1.0 or 0.0.
"""

import builtins
import functools
import math
import numbers

import numpy as np

from .arguments import check_int
from .errors import ArgumentError, ArgumentTypeError, DtypeError, GraphError, ShapeError
from .graph import MAX_INPUTS, MAX_RANK, Tensor, Value, broadcast_shapes, current_builder, product_of
from .layers.base import Parameter

# Functions of tensors are added at the end.
__all__ = ["arange", "full", "ndim", "ones", "shape", "zeros"]
TRACED: list[str] = []  # names of the functions that become nodes


# ---- which of the four kinds ----


def is_operand(x):
    """Whether operators take `x` beside a tensor: a tensor, parameter, number, array or list of these."""
    return _is_number(x) or isinstance(x, (Value, Tensor, Parameter, np.ndarray, list, tuple))


def _is_number(x):
    return isinstance(x, (numbers.Real, np.bool_)) or (isinstance(x, np.ndarray) and x.ndim == 0)


def _leaves(x):
    if isinstance(x, (list, tuple)):
        for item in x:
            yield from _leaves(item)
    else:
        yield x


def _plain(x):
    """`x` as NumPy takes it."""
    if isinstance(x, Parameter):
        return x.value
    if isinstance(x, (list, tuple)):
        return type(x)(map(_plain, x))
    return x


def _op(eager):
    """Decorator of a function of Values: arrays alone go to `eager`, Tensors become a layer."""

    def decorate(traced):
        @functools.wraps(traced)
        def apply(*args, **kwargs):
            kinds = {type(leaf) for leaf in _leaves([args, list(kwargs.values())])}
            if Value in kinds:
                return traced(*args, **kwargs)
            if Tensor in kinds:
                from .layers.operation import Operation  # layers stand on functions

                return Operation.apply(traced.__name__, args, kwargs)
            if Parameter in kinds and current_builder() is not None:
                return traced(*args, **kwargs)
            return eager(*_plain(args), **{k: _plain(v) for k, v in kwargs.items()})

        TRACED.append(traced.__name__)
        return apply

    return decorate


def _oracle(name):
    """The array function of that name in backends/xp.py."""

    def eager(x, *args, **kwargs):
        from .backends import xp

        x = np.asarray(x)
        return getattr(xp, name)(x if x.dtype.kind == "f" else x.astype(np.float64), *args, **kwargs)

    return eager


def from_ufunc(ufunc, method, inputs, kwargs):
    """What a ufunc of NumPy does with a symbolic tensor or a parameter among its inputs."""
    if not _symbolic(inputs, kwargs):
        return getattr(ufunc, method)(*_plain(inputs), **{k: _plain(v) for k, v in kwargs.items()})
    name = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
    if method != "__call__" or kwargs or name not in TRACED:
        raise ArgumentTypeError(
            f"np.{ufunc.__name__} cannot work on symbolic tensors; use a function of fastnn.ops."
        )
    return globals()[name](*inputs)


def from_function(function, args, kwargs):
    """What another function of NumPy does with a symbolic tensor or a parameter among its arguments."""
    if not _symbolic(args, kwargs):
        return function(*_plain(args), **{k: _plain(v) for k, v in kwargs.items()})
    name = function.__name__
    if name not in __all__:
        raise ArgumentTypeError(f"np.{name} cannot work on symbolic tensors; use a function of fastnn.ops.")
    return globals()[name](*args, **kwargs)


def _symbolic(args, kwargs):
    """Whether arguments stand for what has no value yet; a parameter has one outside of a trace."""
    kinds = {type(leaf) for leaf in _leaves([args, list(kwargs.values())])}
    return bool(kinds & {Value, Tensor}) or current_builder() is not None


_UFUNCS = {
    "absolute": "abs", "true_divide": "divide", "fabs": "abs", "bitwise_and": "logical_and",
    "bitwise_or": "logical_or", "bitwise_xor": "logical_xor", "invert": "logical_not",
}  # fmt: skip


# ---- helpers of the traced half ----


def _builder_of(*xs):
    found = next((x.builder for x in _leaves(xs) if isinstance(x, Value)), None)
    return current_builder() if found is None else found


def _lift(*xs):
    """Every argument as a Value of reals."""
    builder = _builder_of(*xs)
    return [_value(builder, x) for x in xs]


def _value(builder, x):
    if isinstance(x, Value):
        if x.builder is not builder:
            raise GraphError(
                f"{x!r} belongs to another function's trace; do not keep tensors from one call to the next."
            )
        return builder.once("to_real", x) if x.dtype == "int32" else x
    if isinstance(x, Parameter):
        return builder.param(x)
    if _is_number(x):
        x = float(x)
        if math.isfinite(x):
            return builder.once("full", shape=(), value=x)
        return builder.constant(np.float64(x))
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ArgumentTypeError(f"A tensor, array or number is needed, got {x!r} ({error}).") from None
    return builder.constant(array)


def _shapes_text(values):
    shown = ("(" + ", ".join("B" if d is None else str(d) for d in v.shape) + ")" for v in values)
    return ", ".join(shown)


def _aligned(name, values):
    """Values whose shapes broadcast by the rule of the ops: those without a batch have fewer dimensions."""
    batched = [v for v in values if v.batched]
    if batched:
        rank = builtins.max(v.ndim for v in batched)
        values = [_drop_leading(v, rank - 1) for v in values]
    if broadcast_shapes([v.shape for v in values]) is None:
        hint = ""
        if len({v.ndim for v in batched}) > 1:
            hint = "; tensors with a batch (B) need equally many dimensions: use keepdims=True or "
            hint += "ops.expand_dims"
        raise ShapeError(f"ops.{name} cannot combine the shapes {_shapes_text(values)}{hint}.")
    return values


def _drop_leading(v, rank):
    """A tensor without batch brought to at most `rank` dimensions where the ones before have size 1."""
    if v.batched or v.ndim <= rank or any(d != 1 for d in v.shape[: v.ndim - rank]):
        return v
    return _reshaped(v, v.shape[v.ndim - rank :])


def _reshaped(v, shape):
    return v if v.shape == tuple(shape) else v.builder.once("reshape", v, shape=tuple(shape))


def _map(op, name, *xs, **attrs):
    values = _aligned(name, _lift(*xs))
    return values[0].builder.once(op, *values, **attrs)


def _affine(x, scale, shift):
    """scale x + shift; one node where x is such a sum already."""
    [x] = _lift(x)
    node = x.builder.producer(x.id)
    if node is not None and node.op == "affine":
        inner_scale, inner_shift = node.attrs
        x, scale, shift = Value(x.builder, node.inputs[0]), scale * inner_scale, scale * inner_shift + shift
    if scale == 1 and shift == 0:
        return x
    return x.builder.once("affine", x, scale=float(scale), shift=float(shift))


def _finite_number(x):
    return _is_number(x) and math.isfinite(float(x))


def _axis(name, axis, rank):
    number = check_int(f"ops.{name}", "axis", axis)
    if not -rank <= number < rank:
        raise ArgumentError(f"ops.{name}: axis must be in [{-rank}, {rank}), got {axis}.")
    return number % rank


def _axes(name, axis, rank):
    if axis is None:
        return tuple(range(rank))
    axes = tuple(_axis(name, a, rank) for a in (axis if isinstance(axis, (list, tuple)) else (axis,)))
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"ops.{name}: axis={axis} names one axis twice.")
    return axes


def _not_over_batch(name, x, axes):
    if x.batched and 0 in axes:
        others = tuple(range(1, x.ndim))
        raise ShapeError(
            f"ops.{name} cannot work over axis 0 of {_shapes_text([x])}, the batch, whose values depend on "
            f"how samples are put into batches; use axis={others or 'that of a sample'}."
        )


# ---- elementwise ----


@_op(np.add)
def add(x1, x2):
    """x1 + x2, elementwise with broadcasting."""
    if _finite_number(x2):
        return _affine(x1, 1.0, float(x2))
    if _finite_number(x1):
        return _affine(x2, 1.0, float(x1))
    a, b = _lift(x1, x2)
    if b.batched and not a.batched:
        a, b = b, a
    b = _drop_leading(b, 1)
    if a.batched and a.ndim >= 2 and b.shape == a.shape[-1:]:
        return a.builder.once("bias_add", a, b)
    return _map("add", "add", a, b)


@_op(np.subtract)
def subtract(x1, x2):
    """x1 - x2, elementwise with broadcasting."""
    if _finite_number(x2):
        return _affine(x1, 1.0, -float(x2))
    if _finite_number(x1):
        return _affine(x2, -1.0, float(x1))
    return _map("subtract", "subtract", x1, x2)


@_op(np.multiply)
def multiply(x1, x2):
    """x1 * x2, elementwise with broadcasting."""
    if _finite_number(x2):
        return _affine(x1, float(x2), 0.0)
    if _finite_number(x1):
        return _affine(x2, float(x1), 0.0)
    a, b = _lift(x1, x2)
    return square(a) if a.id == b.id else _map("multiply", "multiply", a, b)


@_op(np.divide)
def divide(x1, x2):
    """x1 / x2, elementwise with broadcasting."""
    if _finite_number(x2) and float(x2) != 0 and math.isfinite(1 / float(x2)):
        return _affine(x1, 1 / float(x2), 0.0)
    return _map("divide", "divide", x1, x2)


@_op(np.true_divide)
def true_divide(x1, x2):
    """`divide`."""
    return divide(x1, x2)


@_op(lambda x1, x2: np.power(np.asarray(x1) if np.asarray(x1).dtype.kind == "f" else np.float64(x1), x2))
def power(x1, x2):
    """x1 to the power x2, elementwise with broadcasting."""
    if _is_number(x2):
        exponent = float(x2)
        if exponent == 1:
            return _lift(x1)[0]
        if exponent in _POWERS:
            return _POWERS[exponent](x1)
    return _map("power", "power", x1, x2)


_POWERS = {
    -2.0: lambda x: divide(1.0, square(x)),
    -1.0: lambda x: divide(1.0, x),
    -0.5: lambda x: rsqrt(x),
    0.0: lambda x: ones_like(x),
    0.5: lambda x: sqrt(x),
    2.0: lambda x: square(x),
    3.0: lambda x: multiply(x, square(x)),
    4.0: lambda x: square(square(x)),
}


@_op(np.negative)
def negative(x):
    """-x."""
    return _affine(x, -1.0, 0.0)


@_op(np.abs)
def abs(x):
    """`|x|`; its derivative at 0 is 0."""
    return _map("abs", "abs", x)


@_op(np.abs)
def absolute(x):
    """`abs`."""
    return _map("abs", "absolute", x)


@_op(np.sign)
def sign(x):
    """-1, 0 or 1."""
    return _map("sign", "sign", x)


@_op(np.square)
def square(x):
    """x * x."""
    return _map("square", "square", x)


@_op(np.sqrt)
def sqrt(x):
    """The square root of x."""
    return _map("sqrt", "sqrt", x)


@_op(lambda x: 1 / np.sqrt(x))
def rsqrt(x):
    """1 / sqrt(x)."""
    return _map("rsqrt", "rsqrt", x)


@_op(np.reciprocal)
def reciprocal(x):
    """1 / x."""
    return divide(1.0, x)


@_op(np.exp)
def exp(x):
    """e to the power x."""
    return _map("exp", "exp", x)


@_op(np.expm1)
def expm1(x):
    """exp(x) - 1, exact for small x."""
    return _map("expm1", "expm1", x)


@_op(np.log)
def log(x):
    """The natural logarithm of x."""
    return _map("log", "log", x)


@_op(np.log1p)
def log1p(x):
    """log(1 + x), exact for small x."""
    return _map("log1p", "log1p", x)


@_op(np.sin)
def sin(x):
    """The sine of x."""
    return _map("sin", "sin", x)


@_op(np.cos)
def cos(x):
    """The cosine of x."""
    return _map("cos", "cos", x)


@_op(np.vectorize(math.erf, otypes=[np.float64]))
def erf(x):
    """The error function of x."""
    return _map("erf", "erf", x)


@_op(np.floor)
def floor(x):
    """The largest integer not above x."""
    return _map("floor", "floor", x)


@_op(np.ceil)
def ceil(x):
    """The smallest integer not below x."""
    return negative(floor(negative(x)))


@_op(np.maximum)
def maximum(x1, x2):
    """The larger of both, elementwise with broadcasting; the derivative of equal ones goes to x1."""
    return _map("maximum", "maximum", x1, x2)


@_op(np.minimum)
def minimum(x1, x2):
    """The smaller of both, elementwise with broadcasting; the derivative of equal ones goes to x1."""
    return _map("minimum", "minimum", x1, x2)


@_op(np.clip)
def clip(x, x_min, x_max):
    """x within [x_min, x_max]."""
    return minimum(maximum(x, x_min), x_max)


# ---- comparisons ----


@_op(np.less)
def less(x1, x2):
    """1.0 where x1 < x2, else 0.0; on arrays bool."""
    return _map("less", "less", x1, x2)


@_op(np.less_equal)
def less_equal(x1, x2):
    """1.0 where x1 <= x2, else 0.0; on arrays bool."""
    return _map("less_equal", "less_equal", x1, x2)


@_op(np.greater)
def greater(x1, x2):
    """1.0 where x1 > x2, else 0.0; on arrays bool."""
    return _map("less", "greater", x2, x1)


@_op(np.greater_equal)
def greater_equal(x1, x2):
    """1.0 where x1 >= x2, else 0.0; on arrays bool."""
    return _map("less_equal", "greater_equal", x2, x1)


@_op(np.equal)
def equal(x1, x2):
    """1.0 where x1 == x2, else 0.0; on arrays bool."""
    return _map("equal", "equal", x1, x2)


@_op(np.not_equal)
def not_equal(x1, x2):
    """1.0 where x1 != x2, else 0.0; on arrays bool."""
    return logical_not(_map("equal", "not_equal", x1, x2))


_TRUTHS = ("less", "less_equal", "equal")


def _truth(x):
    """x as 1.0 or 0.0; itself where a comparison made it."""
    [x] = _lift(x)
    node = x.builder.producer(x.id)
    if node is not None and node.op == "affine" and node.attrs == (-1.0, 1.0):
        node = x.builder.producer(node.inputs[0])
    return x if node is not None and node.op in _TRUTHS else not_equal(x, 0.0)


@_op(np.logical_and)
def logical_and(x1, x2):
    """1.0 where both are not 0, else 0.0; on arrays bool."""
    builder = _builder_of(x1, x2)
    return multiply(_truth(_value(builder, x1)), _truth(_value(builder, x2)))


@_op(np.logical_or)
def logical_or(x1, x2):
    """1.0 where one of both is not 0, else 0.0; on arrays bool."""
    builder = _builder_of(x1, x2)
    return maximum(_truth(_value(builder, x1)), _truth(_value(builder, x2)))


@_op(np.logical_xor)
def logical_xor(x1, x2):
    """1.0 where one of both is 0 and the other is not, else 0.0; on arrays bool."""
    builder = _builder_of(x1, x2)
    return not_equal(_truth(_value(builder, x1)), _truth(_value(builder, x2)))


@_op(np.logical_not)
def logical_not(x):
    """1.0 where x is 0, else 0.0; on arrays bool."""
    [x] = _lift(x)
    node = x.builder.producer(x.id)
    if node is not None and node.op in _TRUTHS:
        return _affine(x, -1.0, 1.0)
    return equal(x, 0.0)


@_op(np.where)
def where(condition, x1, x2):
    """x1 where the condition is not 0, else x2; elementwise with broadcasting."""
    return _map("where", "where", condition, x1, x2)


# ---- reductions ----


def _reduced(op, name, x, axes, keepdims):
    """The op over axes of a sample."""
    kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    made = x if kept == x.shape else x.builder.once(op, x, shape=kept)
    return made if keepdims else _reshaped(made, [d for i, d in enumerate(kept) if i not in axes])


def _over_batch(op, x, axes, keepdims):
    """sum_rows or mean_rows over the batch, and sums over the other axes."""
    inner = _reduced("sum_to", "sum", x, [a for a in axes if a], True)
    sizes = inner.shape[1:]
    flat = _reshaped(inner, (None, math.prod(sizes)))
    made = x.builder.once(op, flat)
    if keepdims:
        return _reshaped(made, (1, *sizes))
    return _reshaped(made, [d for i, d in enumerate(sizes, 1) if i not in axes])


@_op(np.sum)
def sum(x, axis=None, keepdims=False):
    """The sum over `axis`, all axes by default.

    Parameters
    ----------
    x : tensor
    axis : int or sequence of int, optional
        May hold the batch; the result then has none.
    keepdims : bool, default False
        Whether summed dimensions stay, with size 1.
    """
    [x] = _lift(x)
    axes = _axes("sum", axis, x.ndim)
    if x.batched and 0 in axes:
        return _over_batch("sum_rows", x, axes, keepdims)
    return _reduced("sum_to", "sum", x, axes, keepdims)


@_op(np.mean)
def mean(x, axis=None, keepdims=False):
    """The mean over `axis`, all axes by default; arguments as in `sum`."""
    [x] = _lift(x)
    axes = _axes("mean", axis, x.ndim)
    over_batch = x.batched and 0 in axes
    count = math.prod(x.shape[a] for a in axes if not (over_batch and a == 0))
    if over_batch:
        return _affine(_over_batch("mean_rows", x, axes, keepdims), 1 / count, 0.0)
    return _affine(_reduced("sum_to", "mean", x, axes, keepdims), 1 / count, 0.0)


@_op(np.max)
def max(x, axis=None, keepdims=False):
    """The maximum over `axis`, all axes by default; equal maxima share the derivative.

    Raises
    ------
    ShapeError
        If `axis` holds the batch.
    """
    [x] = _lift(x)
    axes = _axes("max", axis, x.ndim)
    _not_over_batch("max", x, axes)
    return _reduced("max_to", "max", x, axes, keepdims)


@_op(np.min)
def min(x, axis=None, keepdims=False):
    """The minimum over `axis`, all axes by default; see `max`."""
    [x] = _lift(x)
    axes = _axes("min", axis, x.ndim)
    _not_over_batch("min", x, axes)
    return negative(_reduced("max_to", "min", negative(x), axes, keepdims))


amax, amin = max, min  # as NumPy names them


@_op(np.prod)
def prod(x, axis=None, keepdims=False):
    """The product over `axis`, all axes by default.

    Raises
    ------
    ShapeError
        If `axis` holds the batch.
    """
    [x] = _lift(x)
    axes = _axes("prod", axis, x.ndim)
    _not_over_batch("prod", x, axes)
    for a in axes:
        while x.shape[a] > 1:
            half = x.shape[a] // 2
            both = multiply(_cut(x, a, 0, half), _cut(x, a, half, 2 * half))
            x = concatenate([both, _cut(x, a, 2 * half, x.shape[a])], a) if x.shape[a] % 2 else both
    return x if keepdims else _reshaped(x, [d for i, d in enumerate(x.shape) if i not in axes])


@_op(np.var)
def var(x, axis=None, keepdims=False):
    """The variance over `axis`, all axes by default: mean((x - mean(x))^2)."""
    [x] = _lift(x)
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


@_op(np.std)
def std(x, axis=None, keepdims=False):
    """The standard deviation over `axis`, all axes by default: sqrt(var(x))."""
    return sqrt(var(x, axis, keepdims))


@_op(lambda x, axis=None, keepdims=False: np.argmax(x, axis=axis, keepdims=keepdims))
def argmax(x, axis=None, keepdims=False):
    """The index of the first maximum along `axis`, as a real; on arrays as an integer.

    Parameters
    ----------
    x : tensor
    axis : int, optional
        By default the index in the flattened x, which then has no batch.
    keepdims : bool, default False
    """
    [x] = _lift(x)
    rank = x.ndim
    if axis is None:
        _not_over_batch("argmax", x, tuple(range(rank)))
        made = x.builder.once("argmax", _reshaped(x, (math.prod(x.shape),)), shape=(1,))
        return _reshaped(made, (1,) * rank if keepdims else ())
    axis = _axis("argmax", axis, rank)
    _not_over_batch("argmax", x, (axis,))
    x = swapaxes(x, axis, -1)
    made = swapaxes(x.builder.once("argmax", x, shape=(*x.shape[:-1], 1)), axis, -1)
    return made if keepdims else _reshaped(made, made.shape[:axis] + made.shape[axis + 1 :])


def _eager_logsumexp(x, axis=None, keepdims=False):
    top = np.max(x, axis=axis, keepdims=True)
    made = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return made if keepdims else np.squeeze(made, axis=tuple(range(made.ndim)) if axis is None else axis)


@_op(_eager_logsumexp)
def logsumexp(x, axis=None, keepdims=False):
    """log(sum(exp(x))) over `axis`, without overflow.

    Raises
    ------
    ShapeError
        If `axis` holds the batch.
    """
    [x] = _lift(x)
    axes = _axes("logsumexp", axis, x.ndim)
    _not_over_batch("logsumexp", x, axes)
    top = stop_gradient(max(x, axes, True))
    made = add(log(sum(exp(subtract(x, top)), axes, True)), top)
    return made if keepdims else _reshaped(made, [d for i, d in enumerate(x.shape) if i not in axes])


def _eager_norm(x, ord=None, axis=None, keepdims=False):
    x = np.asarray(x)
    if ord in (None, 2):
        return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))
    return (np.sum if ord == 1 else np.max)(np.abs(x), axis=axis, keepdims=keepdims)


def _check_ord(function):
    @functools.wraps(function)
    def apply(x, ord=None, axis=None, keepdims=False):
        vector = axis is not None and not isinstance(axis, (list, tuple))
        if ord not in (None, 1, 2, math.inf) or (ord is not None and not vector and np.ndim(x) != 1):
            raise ArgumentError(
                f"ops.norm knows the norms 1, 2 and inf of vectors, got ord={ord!r} and axis={axis!r}."
            )
        return function(x, ord, axis, keepdims)

    return apply


@_op(_check_ord(_eager_norm))
@_check_ord
def norm(x, ord=None, axis=None, keepdims=False):
    """The length of vectors along `axis`, of all elements together by default; its derivative at 0 is 0.

    Parameters
    ----------
    x : tensor
    ord : {None, 1, 2, inf}
        None and 2: `sqrt(sum(x^2))`; 1: `sum(|x|)`; inf: `max(|x|)`.
    axis : int or sequence of int, optional
    keepdims : bool, default False
    """
    if ord in (None, 2):
        squared = sum(square(x), axis, keepdims)
        nonzero = greater(squared, 0.0)
        return where(nonzero, sqrt(where(nonzero, squared, 1.0)), 0.0)
    return (sum if ord == 1 else max)(abs(x), axis, keepdims)


# ---- shapes ----


def shape(x):
    """tuple: the shape; None for the batch."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def ndim(x):
    """int: the number of dimensions."""
    return len(shape(x))


@_op(lambda x, newshape: np.reshape(x, [-1 if d is None else d for d in _dims(newshape)]))
def reshape(x, newshape):
    """The elements of x, row-major, in another shape.

    Parameters
    ----------
    x : tensor
    newshape : int or sequence of int
        One dimension may be -1 and is found from the others. Of a tensor with a batch it begins with None or
        -1, which stand for the batch.
    """
    [x] = _lift(x)
    dims = list(_dims(newshape))
    if x.batched:
        if not dims or dims[0] not in (None, -1):
            raise ShapeError(
                f"ops.reshape: the new shape of {_shapes_text([x])} begins with None, the batch, "
                f"got {tuple(dims)}."
            )
        dims[0] = None
    inner = dims[1:] if x.batched else dims
    size = math.prod(x.shape[1:] if x.batched else x.shape)
    known = math.prod(d for d in inner if d not in (None, -1))
    wild = [i for i, d in enumerate(inner) if d in (None, -1)]
    if len(wild) > 1 or (size % known if wild else size != known):
        raise ShapeError(f"ops.reshape cannot give {_shapes_text([x])} the shape {tuple(dims)}.")
    for i in wild:
        inner[i] = size // known
    return _reshaped(x, [None, *inner] if x.batched else inner)


def _dims(shape):
    return (shape,) if isinstance(shape, numbers.Integral) else tuple(shape)


@_op(np.expand_dims)
def expand_dims(x, axis):
    """x with a new dimension of size 1 at `axis`."""
    [x] = _lift(x)
    dims = list(x.shape)
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    for a in sorted(_axis("expand_dims", a, x.ndim + len(axes)) for a in axes):
        dims.insert(a, 1)
    if x.batched and dims[0] is not None:
        raise ShapeError(f"ops.expand_dims: axis 0 of {_shapes_text([x])} is the batch and stays first.")
    if len(dims) > MAX_RANK:
        raise ShapeError(f"ops.expand_dims: a tensor has at most {MAX_RANK} dimensions, got {len(dims)}.")
    return _reshaped(x, dims)


@_op(np.squeeze)
def squeeze(x, axis=None):
    """x without dimensions of size 1: those at `axis`, all by default."""
    [x] = _lift(x)
    axes = [i for i, d in enumerate(x.shape) if d == 1] if axis is None else _axes("squeeze", axis, x.ndim)
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeError(f"ops.squeeze: {_shapes_text([x])} has another size than 1 at axis {axis}.")
    return _reshaped(x, [d for i, d in enumerate(x.shape) if i not in axes])


@_op(np.transpose)
def transpose(x, axes=None):
    """x with its dimensions in the order `axes`, reversed by default; a batch stays first."""
    [x] = _lift(x)
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(axes)
    order = tuple(_axis("transpose", a, x.ndim) for a in order)
    if sorted(order) != list(range(x.ndim)):
        raise ArgumentError(
            f"ops.transpose: axes must name each axis of {_shapes_text([x])} once, got {axes}."
        )
    if x.batched and order[0] != 0:
        raise ShapeError(
            f"ops.transpose: axis 0 of {_shapes_text([x])} is the batch and stays first, got the axes "
            f"{order}."
        )
    if order == tuple(range(x.ndim)):
        return x
    code = builtins.sum(a << 3 * i for i, a in enumerate(order))
    return x.builder.once("transpose", x, perm=float(code))


@_op(np.swapaxes)
def swapaxes(x, axis1, axis2):
    """x with two of its dimensions exchanged."""
    [x] = _lift(x)
    order = list(range(x.ndim))
    a, b = _axis("swapaxes", axis1, x.ndim), _axis("swapaxes", axis2, x.ndim)
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


@_op(lambda xs, axis=0: np.concatenate(xs, axis=axis))
def concatenate(xs, axis=0):
    """Tensors laid one after the other along `axis`; all other dimensions agree."""
    xs = _with_one_batch("concatenate", xs)
    first = xs[0].shape
    axis = _axis("concatenate", axis, len(first))
    rest = [x.shape[:axis] + x.shape[axis + 1 :] for x in xs]
    if any(r != rest[0] or len(x.shape) != len(first) for x, r in zip(xs, rest)):
        raise ShapeError(f"ops.concatenate cannot join {_shapes_text(xs)} along axis {axis}.")
    _not_over_batch("concatenate", xs[0], (axis,))
    while len(xs) > 1:
        groups = [xs[i : i + MAX_INPUTS] for i in range(0, len(xs), MAX_INPUTS)]
        xs = [g[0] if len(g) == 1 else g[0].builder.once("concat", *g, axis=float(axis)) for g in groups]
    return xs[0]


def _with_one_batch(name, xs):
    """The tensors of a list; where one has a batch, those with a first dimension of 1 are repeated for it."""
    if not isinstance(xs, (list, tuple)) or not xs:
        raise ArgumentTypeError(f"ops.{name} takes a list of tensors, got {type(xs).__name__}.")
    xs = _lift(*xs)
    if not any(x.batched for x in xs):
        return xs
    return [
        x if x.batched or x.ndim == 0 or x.shape[0] != 1 else broadcast_to(x, (None, *x.shape[1:]))
        for x in xs
    ]


@_op(lambda x, axis=0: np.stack(x, axis=axis))
def stack(x, axis=0):
    """Tensors of one shape laid side by side along a new dimension at `axis`."""
    if not isinstance(x, (list, tuple)) or not x:
        raise ArgumentTypeError(f"ops.stack takes a list of tensors, got {type(x).__name__}.")
    values = _lift(*x)
    return concatenate([expand_dims(v, axis) for v in values], _axis("stack", axis, values[0].ndim + 1))


def _cut(x, axis, start, stop):
    if (start, stop) == (0, x.shape[axis]):
        return x
    cut = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
    return x.builder.once("slice", x, shape=cut, axis=float(axis), start=float(start))


@_op(lambda x, key: np.asarray(x)[key])
def get_item(x, key):
    """x[key] for integers, slices of step 1, None and Ellipsis; the batch is taken whole."""
    [x] = _lift(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    given = builtins.sum(k is not None and k is not Ellipsis for k in keys)
    if given > x.ndim or builtins.sum(k is Ellipsis for k in keys) > 1:
        raise ShapeError(f"{_shapes_text([x])} has {x.ndim} dimensions, got the index {key!r}.")
    if not any(k is Ellipsis for k in keys):
        keys.append(Ellipsis)
    at = next(i for i, k in enumerate(keys) if k is Ellipsis)
    keys[at : at + 1] = [builtins.slice(None)] * (x.ndim - given)
    dims, axis = [], 0
    for k in keys:
        if k is None:
            dims.append(1)
            continue
        size = x.shape[axis]
        if isinstance(k, builtins.slice) and size is None:
            if k != builtins.slice(None):
                raise ShapeError(f"{_shapes_text([x])}: the batch is taken whole, got the index {key!r}.")
            dims.append(None)
        elif isinstance(k, builtins.slice):
            start, stop, step = k.indices(size)
            if step != 1 or stop <= start:
                raise ShapeError(
                    f"{_shapes_text([x])}: a slice needs step 1 and at least one element, got {k} at axis "
                    f"{axis}."
                )
            x = _cut(x, axis, start, stop)
            dims.append(stop - start)
        elif isinstance(k, numbers.Integral) and not isinstance(k, bool):
            if size is None or not -size <= k < size:
                what = "the batch is taken whole" if size is None else f"axis {axis} has the size {size}"
                raise ShapeError(f"{_shapes_text([x])}: {what}, got the index {int(k)}.")
            x = _cut(x, axis, k % size, k % size + 1)
        else:
            raise ArgumentTypeError(
                f"{_shapes_text([x])} takes integers, slices, None and ... as index, got {k!r}; "
                "use ops.take or ops.where."
            )
        axis += 1
    return _reshaped(x, dims)


def _eager_slice(inputs, start_indices, shape):
    return np.asarray(inputs)[_slices(np.shape(inputs), start_indices, shape)]


def _slices(whole, start_indices, shape):
    """The index that `slice` stands for."""
    starts, sizes = _dims(start_indices), _dims(shape)
    if not len(whole) == len(starts) == len(sizes):
        raise ArgumentError(
            f"ops.slice takes one start and one size for each of {len(whole)} dimensions, got {starts} and {sizes}."
        )
    made = []
    for axis, (full, start, size) in enumerate(zip(whole, starts, sizes)):
        start = check_int("ops.slice", "start_indices", start, low=0)
        if size in (None, -1):
            made.append(builtins.slice(start or None, None))
            continue
        size = check_int("ops.slice", "shape", size, low=1)
        if full is not None and start + size > full:
            raise ShapeError(f"ops.slice: axis {axis} has the size {full}, got the start {start} and the size {size}.")
        made.append(builtins.slice(start, start + size))
    return tuple(made)


@_op(_eager_slice)
def slice(inputs, start_indices, shape):
    """A part of `inputs`; the batch is taken whole.

    Parameters
    ----------
    inputs : tensor
    start_indices : sequence of int
        Where the part begins, one for each dimension.
    shape : sequence of int
        Its sizes; None and -1 stand for all that follows.
    """
    [x] = _lift(inputs)
    return get_item(x, _slices(x.shape, start_indices, shape))


@_op(np.split)
def split(x, indices_or_sections, axis=0):
    """The parts of x along `axis`: so many equal ones, or those that begin at the indices given."""
    [x] = _lift(x)
    axis = _axis("split", axis, x.ndim)
    _not_over_batch("split", x, (axis,))
    size = x.shape[axis]
    if isinstance(indices_or_sections, numbers.Integral):
        if indices_or_sections < 1 or size % indices_or_sections:
            raise ShapeError(f"ops.split: {size} cannot be cut into {indices_or_sections} equal parts.")
        step = size // indices_or_sections
        bounds = [*range(0, size, step), size]
    else:
        bounds = [0, *indices_or_sections, size]
        if any(b <= a for a, b in zip(bounds, bounds[1:])):
            raise ShapeError(f"ops.split: indices must rise within (0, {size}), got {indices_or_sections}.")
    return [_cut(x, axis, a, b) for a, b in zip(bounds, bounds[1:])]


@_op(np.broadcast_to)
def broadcast_to(x, shape):
    """x repeated to a larger shape; None stands for the batch."""
    [x] = _lift(x)
    dims = tuple(shape)
    if dims and dims[0] is None:
        x = _drop_leading(x, len(dims) - 1)
    if x.shape == dims:
        return x
    if x.ndim > len(dims) or broadcast_shapes([x.shape, dims]) != dims:
        raise ShapeError(f"ops.broadcast_to cannot repeat {_shapes_text([x])} to {dims}.")
    return x.builder.once("broadcast", x, shape=dims)


def _like(x, value):
    [x] = _lift(x)
    full = x.builder.once("full", shape=() if x.batched else x.shape, value=value)
    return broadcast_to(full, x.shape)


@_op(np.zeros_like)
def zeros_like(x):
    """Zeros in the shape of x."""
    return _like(x, 0.0)


@_op(np.ones_like)
def ones_like(x):
    """Ones in the shape of x."""
    return _like(x, 1.0)


# ---- products ----


@_op(np.matmul)
def matmul(x1, x2):
    """The matrix product over the last dimension of x1 and the last but one of x2, with NumPy's rules.

    A product with a matrix without batch, such as a kernel, runs at full speed; one of two tensors with a
    batch, or with more dimensions on the right, is made of elementwise products and sums.
    """
    a, b = _lift(x1, x2)
    if a.ndim == 0 or b.ndim == 0 or (a.batched and a.ndim == 1) or (b.batched and b.ndim == 1):
        raise ShapeError(f"ops.matmul needs vectors or matrices, got {_shapes_text([a, b])}.")
    if b.ndim == 1:
        return squeeze(matmul(a, _reshaped(b, (*b.shape, 1))), -1)
    if a.ndim == 1:
        return squeeze(matmul(_reshaped(a, (1, *a.shape)), b), -2)
    if a.shape[-1] != b.shape[-2] or (a.shape[-1] is None):
        raise ShapeError(f"ops.matmul cannot multiply {_shapes_text([a, b])}.")
    if b.ndim == 2:
        node = b.builder.producer(b.id)
        if node is not None and node.op == "transpose" and a.dtype != "csr":
            return b.builder.once("matmul_nt", a, Value(b.builder, node.inputs[0]))
        return b.builder.once(product_of(a), a, b)
    if (
        a.ndim == 2 and not a.batched
    ):  # (m, k) (..., k, n) = ((..., n, k) (k, m)) with both last axes exchanged
        return swapaxes(matmul(swapaxes(b, -1, -2), transpose(a)), -1, -2)
    if builtins.max(a.ndim, b.ndim) + 1 > MAX_RANK:
        raise ShapeError(f"ops.matmul has at most {MAX_RANK - 1} dimensions, got {_shapes_text([a, b])}.")
    return sum(multiply(expand_dims(a, -1), expand_dims(b, -3)), -2)


@_op(np.dot)
def dot(x1, x2):
    """`matmul` of vectors and matrices, or a product with a number."""
    a, b = _lift(x1, x2)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    if b.ndim > 2:
        raise ShapeError(f"ops.dot takes a vector or matrix on the right, got {_shapes_text([a, b])}.")
    return matmul(a, b)


# ---- activations ----


def _activation(name, x, **attrs):
    [x] = _lift(x)
    return x.builder.once(name, x, **attrs)


@_op(_oracle("relu"))
def relu(x):
    """max(x, 0)."""
    return _activation("relu", x)


@_op(_oracle("sigmoid"))
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return _activation("sigmoid", x)


@_op(np.tanh)
def tanh(x):
    """The hyperbolic tangent of x."""
    return _activation("tanh", x)


@_op(_oracle("hard_sigmoid"))
def hard_sigmoid(x):
    """min(max(x + 3, 0), 6) / 6."""
    return _activation("hard_sigmoid", x)


@_op(lambda x, negative_slope=0.2: _oracle("leaky_relu")(x, negative_slope))
def leaky_relu(x, negative_slope=0.2):
    """x for x >= 0, `negative_slope` * x below."""
    return _activation("leaky_relu", x, negative_slope=float(negative_slope))


@_op(lambda x, alpha=1.0: _oracle("elu")(x, alpha))
def elu(x, alpha=1.0):
    """x for x > 0, `alpha` (exp(x) - 1) below."""
    return _activation("elu", x, alpha=float(alpha))


@_op(_oracle("selu"))
def selu(x):
    """scale * elu(x, alpha) with the constants of Klambauer et al., arXiv:1706.02515."""
    return _activation("selu", x)


@_op(lambda x, approximate=True: _oracle("gelu")(x, approximate))
def gelu(x, approximate=True):
    """x * Phi(x), by default its approximation by tanh (Hendrycks, Gimpel, arXiv:1606.08415)."""
    return _activation("gelu", x, approximate=float(bool(approximate)))


@_op(_oracle("silu"))
def silu(x):
    """x * sigmoid(x)."""
    return _activation("silu", x)


@_op(_oracle("mish"))
def mish(x):
    """x * tanh(softplus(x))."""
    return _activation("mish", x)


@_op(_oracle("softplus"))
def softplus(x):
    """log(1 + exp(x))."""
    return _activation("softplus", x)


@_op(_oracle("softsign"))
def softsign(x):
    """`x / (1 + |x|)`."""
    return _activation("softsign", x)


def _along_last(name, x, axis):
    """softmax or log_softmax along an axis of a tensor with or without a batch."""
    [x] = _lift(x)
    axis = _axis(name, axis, x.ndim)
    _not_over_batch(name, x, (axis,))
    if x.batched:
        return swapaxes(x.builder.once(name, swapaxes(x, axis, -1)), axis, -1)
    shifted = subtract(x, stop_gradient(max(x, axis, True)))
    total = sum(exp(shifted), axis, True)
    return divide(exp(shifted), total) if name == "softmax" else subtract(shifted, log(total))


def _eager_softmax(x, axis=-1):
    return np.exp(x - _eager_logsumexp(x, axis, True))


@_op(_eager_softmax)
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) over `axis`, which is not the batch."""
    return _along_last("softmax", x, axis)


@_op(lambda x, axis=-1: x - _eager_logsumexp(x, axis, True))
def log_softmax(x, axis=-1):
    """x - logsumexp(x) over `axis`, which is not the batch."""
    return _along_last("log_softmax", x, axis)


# ---- integers and types ----


def _eager_one_hot(x, num_classes, axis=-1, dtype=None):
    made = (np.asarray(x)[..., None] == np.arange(num_classes)).astype(dtype or np.float64)
    return made if axis == -1 else np.moveaxis(made, -1, axis)


@_op(_eager_one_hot)
def one_hot(x, num_classes, axis=-1, dtype=None):
    """1.0 at the index that x holds, along a new last dimension (or one at `axis`) of `num_classes`.

    `dtype` is that of the result for arrays.
    """
    num_classes = check_int("ops.one_hot", "num_classes", num_classes, low=1)
    if isinstance(x, Value) and x.dtype == "int32":
        made = x.builder.once("one_hot", x, shape=(*x.shape, num_classes))
    else:
        made = equal(expand_dims(x, -1), np.arange(num_classes))
    axis = _axis("one_hot", axis, made.ndim)
    order = list(range(made.ndim - 1))
    order.insert(axis, made.ndim - 1)
    return transpose(made, order)


@_op(lambda x, indices, axis=None: np.take(x, indices, axis=axis))
def take(x, indices, axis=None):
    """The parts of x along `axis` that the indices name.

    Parameters
    ----------
    x : tensor
    indices : int, sequence of int, or tensor of integers
        A tensor takes rows of a table: x then has two dimensions and no batch, and `axis` is 0.
    axis : int, optional
        By default x is flattened.
    """
    if isinstance(indices, Value):
        [table] = [_value(indices.builder, x)]
        if indices.dtype != "int32":
            raise DtypeError("ops.take needs integer indices, such as those of Input(shape, dtype='int32').")
        if table.batched or table.ndim != 2 or axis != 0:
            raise ShapeError(
                "ops.take by a tensor takes rows, axis=0, of a table of two dimensions, got "
                f"{_shapes_text([table])} and axis={axis}."
            )
        return table.builder.once("embedding", table, indices)
    [x] = _lift(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = _axis("take", axis, x.ndim)
    _not_over_batch("take", x, (axis,))
    size, wanted = x.shape[axis], np.asarray(indices)
    if wanted.dtype.kind not in "iu" or wanted.size == 0 or (wanted < -size).any() or (wanted >= size).any():
        raise ArgumentError(f"ops.take: indices must be integers in [{-size}, {size}), got {indices!r}.")
    parts = [_cut(x, axis, int(i) % size, int(i) % size + 1) for i in wanted.flat]
    return _reshaped(concatenate(parts, axis), (*x.shape[:axis], *wanted.shape, *x.shape[axis + 1 :]))


def _eager_cast(x, dtype):
    return np.asarray(x).astype(_dtype_name(dtype))


def _dtype_name(dtype):
    return getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype)


@_op(_eager_cast)
def cast(x, dtype):
    """x in another type; on tensors, which hold reals, as far as the values show it.

    Parameters
    ----------
    x : tensor
    dtype : str or dtype
        A floating type changes nothing on tensors, an integer type cuts fractions off, "bool" gives 1.0 where
        x is not 0.
    """
    try:
        kind = np.dtype(_dtype_name(dtype)).kind
    except TypeError:
        raise DtypeError(f"ops.cast: {dtype!r} is no dtype.") from None
    [x] = _lift(x)
    if kind == "b":
        return _truth(x)
    if kind in "iu":
        return multiply(sign(x), floor(abs(x)))
    if kind != "f":
        raise DtypeError(f"ops.cast: tensors hold real numbers, got the dtype {dtype!r}.")
    return x


@_op(lambda x, dtype=None: np.asarray(x, dtype))
def convert_to_tensor(x, dtype=None):
    """x as a tensor."""
    return _lift(x)[0] if dtype is None else cast(x, dtype)


# ---- arrays that functions of tensors use ----


def zeros(shape, dtype="float64"):
    """An array of zeros."""
    return np.zeros(shape, _dtype_name(dtype))


def ones(shape, dtype="float64"):
    """An array of ones."""
    return np.ones(shape, _dtype_name(dtype))


def full(shape, fill_value, dtype=None):
    """An array of one value."""
    return np.full(shape, fill_value, None if dtype is None else _dtype_name(dtype))


def arange(start, stop=None, step=1, dtype=None):
    """An array of numbers from `start` up to but not including `stop`; of one argument from 0."""
    start, stop = (0, start) if stop is None else (start, stop)
    return np.arange(start, stop, step, None if dtype is None else _dtype_name(dtype))


# ---- gradients and modes ----


@_op(lambda x: x)
def stop_gradient(x):
    """x, through which no gradient passes."""
    [x] = _lift(x)
    return x.builder.once("in_training", x, x)


@_op(lambda x1, x2: x2)
def in_training(x1, x2):
    """x1 while training, else x2; of one shape. The other one is not computed.

    Parameters
    ----------
    x1, x2 : tensor
    """
    a, b = _lift(x1, x2)
    if a.shape != b.shape:
        whole = broadcast_shapes([v.shape for v in _aligned("in_training", [a, b])])
        a, b = broadcast_to(a, whole), broadcast_to(b, whole)
    return a if a.id == b.id else a.builder.once("in_training", a, b)


__all__ += [*TRACED, "amax", "amin"]  # noqa: PLE0604
