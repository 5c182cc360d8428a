"""Layers that join several tensors."""

import math

from ..arguments import check_int
from ..errors import ArgumentError, GraphError, ShapeError
from ..graph import MAX_INPUTS, broadcast_shapes, emit
from .base import Layer, registry
from .normalization import unit_length


class _Elementwise(Layer):
    """Joins tensors by `op`, from left to right; shapes broadcast.

    Tensors of fewer dimensions get dimensions of 1 behind the batch, as in Keras.
    """

    op: str

    def call(self, xs):
        self._needs_several(xs)
        rank = max(x.ndim for x in xs)
        laid = [
            x if x.ndim == rank else emit("reshape", x, shape=(None, *(1,) * (rank - x.ndim), *x.shape[1:]))
            for x in xs
        ]
        if broadcast_shapes([x.shape for x in laid]) is None:
            raise ShapeError(
                f"{self._label} expects tensors whose shapes broadcast, "
                f"got {', '.join(str(x.shape) for x in xs)}."
            )
        total = laid[0]
        for x in laid[1:]:
            total = emit(self.op, total, x)
        return total


@registry.add
class Add(_Elementwise):
    """The sum of a list of tensors; shapes broadcast."""

    op = "add"


@registry.add
class Subtract(_Elementwise):
    """The first of two tensors less the second; shapes broadcast."""

    op = "subtract"

    def call(self, xs):
        self._needs_several(xs)
        if len(xs) != 2:
            raise GraphError(f"{self._label} takes a list of two tensors, got {len(xs)}.")
        return super().call(xs)


@registry.add
class Multiply(_Elementwise):
    """The elementwise product of a list of tensors; shapes broadcast."""

    op = "multiply"


@registry.add
class Average(_Elementwise):
    """The elementwise mean of a list of tensors; shapes broadcast."""

    op = "add"

    def call(self, xs):
        total = super().call(xs)
        return emit("affine", total, scale=1 / len(xs), shift=0)


@registry.add
class Maximum(_Elementwise):
    """The elementwise maximum of a list of tensors; shapes broadcast."""

    op = "maximum"


@registry.add
class Minimum(_Elementwise):
    """The elementwise minimum of a list of tensors; shapes broadcast."""

    op = "minimum"


@registry.add
class Dot(Layer):
    """Products of two tensors summed over one axis of each, sample by sample.

    (batch, i..., n) and (batch, n, j...) give (batch, i..., j...) for axes=(-1, 1): the axes that are summed
    over disappear. Two tensors (batch, n) give (batch, 1).

    Parameters
    ----------
    axes : int or tuple of two int
        The axis of both tensors or of each, not the batch.
    normalize : bool, default False
        Bring both to length 1 along their axis before: the sum is then the cosine of their angle.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        pair = axes if isinstance(axes, (list, tuple)) else (axes, axes)
        if len(pair) != 2:
            raise ArgumentError(f"{self._label}: axes must be one or two integers, got {axes!r}.")
        pair = [check_int(self._label, "axes", a) for a in pair]
        self.axes = pair if isinstance(axes, (list, tuple)) else pair[0]
        self.normalize = bool(normalize)
        self._pair = pair
        self.built = True

    def call(self, xs):
        self._needs_several(xs)
        if len(xs) != 2:
            raise GraphError(f"{self._label} takes a list of two tensors, got {len(xs)}.")
        axes = [a + x.ndim if a < 0 else a for a, x in zip(self._pair, xs)]
        sizes = [x.shape[a] if 0 < a < x.ndim else None for a, x in zip(axes, xs)]
        if None in sizes or sizes[0] != sizes[1]:
            raise ShapeError(
                f"{self._label} sums over the axes {self.axes}, which must be of one size and not the batch, "
                f"got {xs[0].shape} and {xs[1].shape}."
            )
        count, rest, laid = sizes[0], (), []
        for i, (x, axis) in enumerate(zip(xs, axes)):
            kept = x.shape[1:axis] + x.shape[axis + 1 :]
            order = [d for d in range(x.ndim) if d != axis] + [axis]
            if order != sorted(order):
                x = emit("transpose", x, perm=sum(d << 3 * i for i, d in enumerate(order)))
            if self.normalize:
                x = unit_length(x, (*x.shape[:-1], 1), 1e-7)
            rows = math.prod(kept)
            laid.append(emit("reshape", x, shape=(None, *((rows, 1) if i == 0 else (1, rows)), count)))
            rest += kept
        products = emit("multiply", *laid)
        total = emit("sum_to", products, shape=(*products.shape[:-1], 1))
        return emit("reshape", total, shape=(None, *(rest or (1,))))

    def get_config(self):
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


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


def subtract(inputs, **kwargs):
    """`Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs, **kwargs):
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def average(inputs, **kwargs):
    """`Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


def maximum(inputs, **kwargs):
    """`Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs, **kwargs):
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


def dot(inputs, axes=-1, **kwargs):
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes, **kwargs)(inputs)


def concatenate(inputs, axis=-1, **kwargs):
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis, **kwargs)(inputs)
