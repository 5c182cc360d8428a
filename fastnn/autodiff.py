"""value_and_grad: derivatives of plain functions of arrays."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .arguments import check_int
from .differentiate import differentiate
from .errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError
from .graph import Builder, Value
from .layers.base import Parameter

if TYPE_CHECKING:
    from ._typing import Any, Callable


def value_and_grad(fun, argnums=0) -> Callable[..., tuple[Any, Any]]:
    """A function that returns what `fun` returns, and its gradient.

    Parameters
    ----------
    fun : callable
        Of arrays, made of operators and functions of `fastnn.ops`; gives one number. It is called once for
        each combination of shapes and types, to see what it computes, and runs in C from then on: it cannot
        branch on values, and what else it does happens once.
    argnums : int or sequence of int, default 0
        The arguments to differentiate by.

    Returns
    -------
    callable
        Takes the arguments of `fun`: arrays and numbers, integers being taken as reals. Returns the value, a
        NumPy scalar, and the gradient, an array of the argument's shape, or a tuple of them where `argnums`
        is a sequence. Both are float32 where all floating arrays among the arguments are, else float64.

    Raises
    ------
    ShapeError
        If `fun` gives more than one number.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as fnn
    >>> from fastnn import ops
    >>> value, gradient = fnn.value_and_grad(lambda w: ops.sum(w * w))(np.array([1.0, 2.0]))
    >>> value, gradient
    (np.float64(5.0), array([2., 4.]))
    """
    if not callable(fun):
        raise ArgumentTypeError(f"value_and_grad takes a function, got {type(fun).__name__}.")
    several = isinstance(argnums, (list, tuple))
    numbers = [check_int("value_and_grad", "argnums", n) for n in (argnums if several else [argnums])]
    known: dict = {}
    lock = threading.Lock()

    @functools.wraps(fun)
    def apply(*args, **named):
        if named:
            args = _in_order(fun, args, named)
        arrays = [_array(i, a) for i, a in enumerate(args)]
        if any(not -len(arrays) <= n < len(arrays) for n in numbers):
            raise ArgumentError(
                f"value_and_grad: argnums={argnums!r} names none of the {len(arrays)} arguments."
            )
        real = [a for a, x in zip(arrays, args) if a.dtype.kind == "f" and not isinstance(x, float)]
        dtype = "float32" if real and all(a.itemsize <= 4 for a in real) else "float64"
        key = dtype, *(a.shape for a in arrays)
        with lock:
            if key not in known:
                if len(known) == _KEPT:
                    del known[next(iter(known))]
                known[key] = _Compiled(
                    fun, [a.shape for a in arrays], dtype, [n % len(arrays) for n in numbers]
                )
            value, gradients = known[key](arrays)
        return value, tuple(gradients) if several else gradients[0]

    return apply


def _in_order(fun, args, named):
    try:
        bound = inspect.signature(fun).bind(*args, **named)
    except TypeError as error:
        raise ArgumentTypeError(f"value_and_grad: {error}.") from None
    if bound.kwargs:
        name = next(iter(bound.kwargs))
        raise ArgumentTypeError(f"value_and_grad: {name!r} can be given by name alone; bind it with functools.partial.")
    return bound.args


def _array(i, x):
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ShapeError(f"value_and_grad: argument {i} forms no array ({error}).") from None
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"value_and_grad: argument {i} must hold real numbers, got {array.dtype}.")
    return array


_KEPT = 64  # combinations of shapes and types for which a function is kept ready


class _Compiled:
    """A function for arguments of given shapes, with its engine."""

    def __init__(self, fun, shapes, dtype: str | None, argnums) -> None:
        builder = Builder(dtype)
        args = [builder.param(Parameter(f"argument {i}", s, None, dtype=dtype)) for i, s in enumerate(shapes)]
        with builder:
            made = fun(*args)
        if not isinstance(made, Value) or made.builder is not builder:
            raise ArgumentTypeError(
                f"value_and_grad: the function must give a number made of its arguments, got "
                f"{type(made).__name__}; use functions of fastnn.ops."
            )
        if made.shape != ():
            raise ShapeError(
                f"value_and_grad: the function must give one number, got the shape {made.shape}."
            )
        program = builder.program
        program.add_root("loss", builder.emit("broadcast", made, shape=(None,)).id)
        seed = builder.once("full", shape=(), value=1.0)
        gradients, _ = differentiate(builder, [(made.id, seed.id)], [args[n].id for n in argnums])
        self._index = {
            n: i for i, n in enumerate(dict.fromkeys(n for n in argnums if args[n].id in gradients))
        }
        for n in self._index:
            g = gradients[args[n].id]
            if builder.producer(g) is None:  # a root is a tensor of its own
                g = builder.node("reshape", (g,), None, args[n].shape)
            program.add_root("grad", g, args[n].id)
        program.verify()
        engine = _core.Engine(program.text())
        for parameter, id in builder.params.items():
            if not parameter.name.startswith("argument "):
                engine.param(id).write(parameter.value)
        self._args = [engine.param(arg.id) for arg in args]
        self._session = engine.session("gradients", 1)
        self._argnums, self._dtype = argnums, np.dtype(dtype)

    def __call__(self, arrays) -> Any:
        for stored, array in zip(self._args, arrays):
            stored.write(np.ascontiguousarray(array, self._dtype))
        self._session.begin(1, 1, False, False)
        self._session.run(-1, -1.0, 0.0)
        gradients = []
        for n in self._argnums:
            out = np.zeros(arrays[n].shape, self._dtype)
            if n in self._index:
                self._session.gradient(self._index[n], out)
            gradients.append(out)
        return self._dtype.type(self._session.results()[0]), gradients
