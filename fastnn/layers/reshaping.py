"""Layers that change the shape of a sample."""

import math

from ..arguments import check_shape
from ..errors import ArgumentError, ShapeError
from ..graph import MAX_RANK, emit
from .base import Layer, registry


@registry.add
class Flatten(Layer):
    """(batch, ...) -> (batch, features), row-major; (batch,) -> (batch, 1).

    Parameters
    ----------
    data_format : {None, "channels_last"}
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        if data_format not in (None, "channels_last"):
            raise ArgumentError(f"{self._label}: data_format must be 'channels_last', got {data_format!r}.")
        self.data_format = data_format
        self.built = True

    def call(self, x):
        self._needs_one(x)
        if x.ndim == 2:
            return x
        return emit("reshape", x, shape=(None, math.prod(x.shape[1:])))

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


@registry.add
class Reshape(Layer):
    """`(batch, ...)` -> `(batch, *target_shape)`, row-major.

    Parameters
    ----------
    target_shape : tuple of int
        Without the batch; one dimension may be -1 and is found from the others.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        self.target_shape = check_shape(
            self._label, "target_shape", target_shape, MAX_RANK - 1, wildcard=True
        )
        if self.target_shape.count(-1) > 1:
            raise ShapeError(
                f"{self._label}: only one dimension of target_shape can be -1, got {self.target_shape}."
            )
        self.built = True

    def call(self, x):
        self._needs_one(x)
        size, known = math.prod(x.shape[1:]), math.prod(d for d in self.target_shape if d != -1)
        if size % known if -1 in self.target_shape else size != known:
            raise ShapeError(
                f"{self._label} cannot give samples of {x.shape[1:]} ({size} elements) "
                f"the shape {self.target_shape}."
            )
        shape = (None, *(size // known if d == -1 else d for d in self.target_shape))
        return x if shape == x.shape else emit("reshape", x, shape=shape)

    def get_config(self):
        return {**super().get_config(), "target_shape": list(self.target_shape)}
