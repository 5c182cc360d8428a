"""What losses and metrics share: functions of targets and predictions with one value per row.

They are built in, a user's own function or class, or the trace of one, which is how a user's own is saved.
"""

import math

import numpy as np

from . import ops
from .errors import ArgumentTypeError, DataError, DtypeError, FastNNError, ProgramError, ShapeError
from .graph import Value
from .registry import Configurable
from .traced import Trace

EPSILON = 1e-7  # Keras 3's epsilon: what stands for zero in a divisor or logarithm


class RowFunction(Configurable):
    """What losses and metrics share: a function of targets and predictions with one value per row.

    Attributes
    ----------
    name : str
    sparse : bool or None
        Whether targets are integer labels, one per row, in place of values of the prediction's shape; None
        where either will do.
    """

    op: str | None = None  # the registry's op that computes the values, where there is one
    arguments: tuple[str, ...] = ()
    sparse: bool | None = False
    from_logits = False
    least = 1  # features that a prediction needs at least

    def row_op(self):
        """(op, attrs) of the node that computes the values."""
        return f"{self.op}_logits" if self.from_logits else self.op, {
            a: getattr(self, a) for a in self.arguments
        }

    def target_shape(self, output_shape):
        """The shape of targets for an output's shape; both start with None for the batch."""
        return tuple(output_shape[:-1] if self.sparse else output_shape)

    def traceable(self):
        """Whether one's own subclass is described by its `call` alone."""
        return True

    def check_shape(self, output, shape):
        """Raise ShapeError where the output of this name cannot be taken for its shape."""
        least = max(self.least, 2 if self.sparse else 1)
        if len(shape) < 2 or shape[-1] < least:
            needed = f"(batch, classes) with at least {least} classes" if least > 1 else "(batch, features)"
            raise ShapeError(
                f"{self.name!r} needs predictions of shape {needed}, but output {output!r} has shape {shape}."
            )

    def call(self, y_true, y_pred):
        """Return one value per row.

        Parameters
        ----------
        y_true : array_like or symbolic tensor
            Of the prediction's shape, or integer labels of shape (...,) or (..., 1) where the function is
            sparse.
        y_pred : array_like or symbolic tensor, shape (..., features)

        Returns
        -------
        ndarray or symbolic tensor, shape (...)

        Raises
        ------
        ShapeError, DtypeError, DataError

        Notes
        -----
        A class of one's own overrides this method with a function of `fastnn.ops`.
        """
        return self.values(*self.operands(y_true, y_pred))

    def operands(self, y_true, y_pred):
        """Targets and predictions as `values` takes them: arrays checked, converted and aligned."""
        if isinstance(y_pred, Value):
            integer = isinstance(y_true, Value) and y_true.dtype == "int32"
            return (ops.cast(y_true, y_pred.dtype) if integer and self.sparse is False else y_true), y_pred
        y_pred = _real(self.name, "y_pred", y_pred)
        least = max(self.least, 2 if self.sparse else 1)
        if y_pred.ndim == 0 or y_pred.shape[-1] < least:
            raise ShapeError(f"{self.name} needs predictions of shape (rows, features), got {y_pred.shape}.")
        batch, row = (y_pred.shape[:1], y_pred.shape[1:]) if y_pred.ndim > 1 else ((), y_pred.shape)
        self.check_shape("y_pred", (None, *row))
        sparse = self.sparse
        if sparse is None:
            sparse = np.shape(y_true) != y_pred.shape and y_pred.shape[-1] > 1
        if sparse:
            return self._labels(y_true, y_pred), y_pred
        shape = batch + tuple(self.target_shape((None, *row))[1:])
        return _aligned(self.name, y_true, shape, y_pred.shape), y_pred

    def values(self, y_true, y_pred):
        """`call` on operands that fit."""
        if self.op is None:
            raise ArgumentTypeError(
                f"{type(self).__name__} needs a method call(y_true, y_pred) that returns one value per row; "
                "fastnn itself puts batches together."
            )
        op, attrs = self.row_op()
        y_true = self.smoothed(y_true, y_pred.shape[-1])
        if isinstance(y_pred, Value):
            out = y_pred.builder.emit(op, y_pred, y_true, **attrs)
        else:
            from .backends import xp

            out = getattr(xp, op)(y_pred, y_true, **attrs)
        return out[0] if isinstance(out, tuple) else out

    def smoothed(self, y_true, features):
        """The targets that the op reads."""
        return y_true

    def _labels(self, y_true, y_pred):
        y_true = _real(self.name, "y_true", y_true)
        labels = np.asarray(y_true).astype(np.int64)
        if labels.shape == (*y_pred.shape[:-1], 1):
            labels, y_true = labels[..., 0], y_true[..., 0]
        if labels.shape != y_pred.shape[:-1]:
            raise ShapeError(f"{self.name} needs labels of shape {y_pred.shape[:-1]}, got {labels.shape}.")
        wrong = (labels < 0) | (labels >= y_pred.shape[-1]) | (labels != y_true)
        if wrong.any():
            row = tuple(int(i) for i in np.argwhere(wrong)[0])
            value = float(y_true[row])
            raise DataError(
                f"{self.name} needs integer labels in [0, {y_pred.shape[-1]}), got {value:g} in row {row}.",
                tensor="y_true",
                row=row[0] if row else 0,
                value=value,
            )
        return labels

    def _mean(self, y_true, y_pred, sample_weight):
        """(sum of weight * value, number of rows, sum of weights)."""
        values = np.asarray(self.call(*self.operands(y_true, y_pred)), np.float64)
        weights = np.ones_like(values)
        if sample_weight is not None:
            given = np.asarray(_real(self.name, "sample_weight", sample_weight), np.float64)
            if given.shape[:1] != values.shape[:1] and given.ndim:
                raise ShapeError(
                    f"{self.name} needs one sample weight for each of {values.shape[:1]}, got {given.shape}."
                )
            if given.ndim == values.ndim + 1 and given.shape[-1] == 1:
                given = given[..., 0]
            weights = np.broadcast_to(
                given.reshape(given.shape + (1,) * (values.ndim - given.ndim)), values.shape
            )
        return float((values * weights).sum()), values.size, float(weights.sum())


def _real(name, what, array):
    array = array if hasattr(array, "__array_namespace__") else np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{name} needs real numbers as {what}, got an array of {array.dtype}.")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _aligned(name, y_true, shape, predicted):
    """Targets of this shape; a last dimension of 1 may be left out or stand in excess."""
    y_true = _real(name, "y_true", y_true)
    if y_true.shape != shape and y_true.size == math.prod(shape):
        longer, shorter = sorted((y_true.shape, shape), key=len, reverse=True)
        if longer == (*shorter, 1):
            y_true = y_true.reshape(shape)
    if y_true.shape != shape:
        whose = "the prediction's shape" if shape == predicted else "shape"
        raise ShapeError(f"{name} needs targets of {whose} {shape}, got {y_true.shape}.")
    return y_true


class WrappedRows:
    """Mixed into a loss or metric: its values are those of a function `fn(y_true, y_pred, **arguments)`.

    The function may carry `sparse = True` for integer labels as targets, and `target_shape` for targets of
    another shape than the output's: a tuple without the batch, or a function of the output's shape.
    """

    def wrap(self, fn, arguments):
        if not callable(fn):
            raise ArgumentTypeError(
                f"{type(self).__name__} needs a function of (y_true, y_pred), got {type(fn).__name__}."
            )
        self.fn, self.fn_arguments, self.sparse = fn, arguments, bool(getattr(fn, "sparse", False))

    def target_shape(self, output_shape):
        given = getattr(self.fn, "target_shape", None)
        if given is None:
            return super().target_shape(output_shape)
        return tuple(given(output_shape)) if callable(given) else (None, *given)

    def call(self, y_true, y_pred):
        return self.fn(*self.operands(y_true, y_pred), **self.fn_arguments)


class TracedRows:
    """Mixed into a loss or metric: what a user's own function emits for one shape.

    So it is saved, and runs again without the function.
    """

    def restore(self, program, constants, sparse, scalar):
        self.program, self.constants = program, constants
        self.sparse, self.scalar = bool(sparse), bool(scalar)
        self._trace = Trace(program, constants)
        if len(self._trace.shapes) != 2 or self._trace.weight_shapes or len(self._trace.program.roots) != 1:
            raise ProgramError(f"{self.name!r} is no Program that makes one tensor of y_true and y_pred.")

    @classmethod
    def of(cls, function, target, target_type, prediction, dtype):
        """The trace of a loss or metric for a target and a prediction of these shapes."""
        scalar = False

        def emit(builder, values):
            nonlocal scalar
            try:
                made, scalar = rows_of(function, builder, function.call(*values))
            except FastNNError as error:
                if error.args and repr(function.name) not in str(error.args[0]):
                    error.args = (f"{function.name!r}: {error.args[0]}", *error.args[1:])
                raise
            return made

        trace = Trace.of(emit, [(target, target_type), (prediction, None)], dtype=dtype).get_config()
        return cls(trace["program"], trace["constants"], function.name, function.sparse, scalar)

    def target_shape(self, output_shape):
        return self._trace.shapes[0]

    def check_shape(self, output, shape):
        if shape != self._trace.shapes[1]:
            raise ShapeError(
                f"{self.name!r} was saved for predictions of shape {self._trace.shapes[1]}, "
                f"but output {output!r} has shape {shape}."
            )

    def call(self, y_true, y_pred):
        if isinstance(y_pred, Value):
            [made] = self._trace.play(y_pred.builder, [y_true, y_pred])
        else:
            [made] = self._trace.run(self.operands(y_true, y_pred))
        return made


def rows_of(function, builder, made):
    """(one value per row, whether it is one number for the whole batch) of what a function returned."""
    what = f"{function.name!r} must return one value per row, made of y_true and y_pred"
    if not isinstance(made, Value) or made.builder is not builder:
        raise ArgumentTypeError(f"{what}, got {type(made).__name__}; use functions of fastnn.ops.")
    if made.dtype == "int32":
        made = ops.cast(made, builder.program.dtype)
    if made.shape == ():
        return builder.emit("broadcast", made, shape=(None,)), True
    if not made.batched:
        raise ShapeError(f"{what}, shape (batch, ...), or one number, got the shape {made.shape}.")
    return made, False


def object_of(identifier, functions, wrapper):
    """What a registry finds or keeps: the class of one of these functions, or another function wrapped."""
    if callable(identifier) and not isinstance(identifier, (type, RowFunction)):
        try:
            return functions[identifier]
        except (KeyError, TypeError):
            return wrapper(identifier)
    return identifier
