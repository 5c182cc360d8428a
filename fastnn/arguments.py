"""Checks of arguments that many constructors share. Each returns the value in its plain Python type."""

import math
import operator

from .errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError

FLOAT_DTYPES = ("float32", "float64")
# What a model is made of and computes in: float32 parameters and bfloat16 products for the last.
POLICIES = (*FLOAT_DTYPES, "mixed_bfloat16")


def check_float(owner, name, value, low=-math.inf, high=math.inf, exclusive=()):
    """`value` as float, in [low, high] but for the bounds named in `exclusive` ("low", "high")."""
    if isinstance(value, (str, bytes, bool)):
        raise ArgumentTypeError(f"{owner}: {name} must be a number, got {value!r}.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{owner}: {name} must be a number, got {type(value).__name__}.") from None
    inside = low <= number <= high and math.isfinite(number)
    if not inside or ("low" in exclusive and number == low) or ("high" in exclusive and number == high):
        left = "(" if "low" in exclusive else "["
        right = ")" if "high" in exclusive or math.isinf(high) else "]"
        needed = "finite" if math.isinf(low) and math.isinf(high) else f"in {left}{low:g}, {high:g}{right}"
        raise ArgumentError(f"{owner}: {name} must be {needed}, got {value!r}.")
    return number


def check_int(owner, name, value, low=None):
    """`value` as int (anything with `__index__` but bool), at least `low`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(f"{owner}: {name} must be an integer, got {value!r}.") from None
    if low is not None and number < low:
        raise ArgumentError(f"{owner}: {name} must be at least {low}, got {number}.")
    return number


def check_shape(owner, name, shape, max_rank, wildcard=False):
    """`shape` (without the batch) as a tuple of positive ints; `wildcard` lets -1 through."""
    try:
        dims = tuple(shape)
    except TypeError:
        raise ArgumentTypeError(
            f"{owner}: {name} must be a tuple of integers such as (64,), got {shape!r}."
        ) from None
    if len(dims) > max_rank:
        raise ShapeError(f"{owner}: {name} has {len(dims)} dimensions, at most {max_rank} are possible.")
    out = []
    for d in dims:
        if d is None:
            raise ShapeError(
                f"{owner}: {name}={dims} leaves a dimension open; only the batch may vary, so give its size."
            )
        d = check_int(owner, f"every dimension of {name}", d)
        if d < 1 and not (wildcard and d == -1):
            raise ShapeError(f"{owner}: every dimension of {name} must be at least 1, got {dims}.")
        out.append(d)
    return tuple(out)


def check_float_dtype(owner, dtype):
    """The name of a floating dtype that a Program can have: "float32" or "float64"."""
    return _named(owner, dtype, FLOAT_DTYPES)


def check_policy(owner, dtype):
    """The name of what a Program computes in: a floating dtype or "mixed_bfloat16"."""
    return _named(owner, dtype, POLICIES)


def variable_dtype(policy):
    """The type of the parameters and arrays of a model that computes so."""
    return "float32" if policy == "mixed_bfloat16" else policy


def _named(owner, dtype, known):
    name = getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype)
    if name not in known:
        *most, last = map(repr, known)
        raise DtypeError(f"{owner}: dtype must be {', '.join(most)} or {last}, got {dtype!r}.")
    return name
