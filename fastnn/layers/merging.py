"""Layers that join several tensors."""

from ..arguments import check_int
from ..errors import ArgumentError, ShapeError
from ..graph import MAX_INPUTS, emit
from .base import Layer, registry


class _Elementwise(Layer):
    """Joins tensors of one shape by `op`, from left to right. Unlike Keras, shapes are not broadcast."""

    op = None

    def call(self, xs):
        self._needs_several(xs)
        shapes = [x.shape for x in xs]
        if any(s != shapes[0] for s in shapes):
            raise ShapeError(
                f"{self._label} expects tensors of one shape, got {', '.join(map(str, shapes))}."
            )
        total = xs[0]
        for x in xs[1:]:
            total = emit(self.op, total, x)
        return total


@registry.add
class Add(_Elementwise):
    """The sum of a list of tensors of one shape."""

    op = "add"


@registry.add
class Multiply(_Elementwise):
    """The elementwise product of a list of tensors of one shape."""

    op = "multiply"


@registry.add
class Concatenate(Layer):
    """A list of tensors laid one after the other along an axis; all other dimensions agree.

    Parameters
    ----------
    axis : int, default -1
        Any but the batch.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = check_int(self._label, "axis", axis)

    def call(self, xs):
        self._needs_several(xs)
        shapes = [x.shape for x in xs]
        rank = len(shapes[0])
        axis = self.axis + rank if self.axis < 0 else self.axis
        if not 0 < axis < rank:
            raise ArgumentError(
                f"{self._label}: axis must name a dimension after the batch of {shapes[0]}, got {self.axis}."
            )
        if any(s[:axis] + s[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for s in shapes):
            raise ShapeError(
                f"{self._label} expects tensors that agree in every dimension but {axis}, "
                f"got {', '.join(map(str, shapes))}."
            )
        while len(xs) > 1:  # an op takes a limited number of inputs
            xs = [emit("concat", *xs[i : i + MAX_INPUTS], axis=axis) for i in range(0, len(xs), MAX_INPUTS)]
        return xs[0]

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


def add(inputs, **kwargs):
    """`Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def multiply(inputs, **kwargs):
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def concatenate(inputs, axis=-1, **kwargs):
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis, **kwargs)(inputs)
