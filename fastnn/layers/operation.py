"""A function of fastnn.ops as a layer: what a call on symbolic tensors becomes."""

import math

import numpy as np

from ..errors import ArgumentTypeError, UnknownNameError
from ..graph import Tensor
from ..registry import auto_name
from ..traced import pack, unpack
from .base import Layer, registry


@registry.add
class Operation(Layer):
    """One function of `fastnn.ops` with its arguments.

    Parameters
    ----------
    function : str
        A name of `fastnn.ops`.
    arguments : list
        The arguments; tensors are {"tensor": number}, arrays {"array": what `fastnn.traced.pack` makes of
        them}, tuples {"tuple": list}, slices {"slice": [start, stop, step]}, the Ellipsis {"ellipsis": true}.
    keywords : dict
        The arguments given by name, in the same form.
    name, trainable, dtype
        See `Layer`; the name is by default that of the function.
    """

    def __init__(self, function, arguments, keywords=None, name=None, **kwargs):
        from .. import ops

        if function not in ops.TRACED:
            raise UnknownNameError.among("function of fastnn.ops", function, ops.TRACED)
        super().__init__(name=name or auto_name(function), **kwargs)
        self.function, self.arguments, self.keywords = function, arguments, dict(keywords or {})
        self.built = True

    @classmethod
    def apply(cls, function, args, kwargs, name=None):
        """Call the function on symbolic tensors, as a layer of that name."""
        tensors = []
        arguments = [_described(a, tensors) for a in args]
        keywords = {k: _described(a, tensors) for k, a in kwargs.items()}
        return cls(function, arguments, keywords, name)(tensors)

    def call(self, xs):
        """Emits the function's nodes."""
        from .. import ops

        function = getattr(ops, self.function)
        return function(
            *(_restored(a, xs) for a in self.arguments),
            **{k: _restored(a, xs) for k, a in self.keywords.items()},
        )

    def get_config(self):
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {
            **super().get_config(),
            "function": self.function,
            "arguments": self.arguments,
            "keywords": self.keywords,
        }


def _described(x, tensors):
    if isinstance(x, Tensor):
        for i, t in enumerate(tensors):
            if t is x:
                return {"tensor": i}
        tensors.append(x)
        return {"tensor": len(tensors) - 1}
    if x is None or isinstance(x, (bool, str)):
        return x
    if isinstance(x, (np.ndarray, np.generic)) and x.ndim:
        if x.dtype.kind not in "fiub":
            raise ArgumentTypeError(f"A function of fastnn.ops takes real numbers, got an array of {x.dtype}.")
        return {"array": pack(x)}
    if isinstance(x, (int, float, np.ndarray, np.generic)):
        x = x if isinstance(x, (int, float)) else x.item()
        return {"array": pack(x)} if isinstance(x, float) and not math.isfinite(x) else x
    if isinstance(x, (type, np.dtype)):
        return str(np.dtype(x))
    if isinstance(x, list):
        return [_described(item, tensors) for item in x]
    if isinstance(x, tuple):
        return {"tuple": [_described(item, tensors) for item in x]}
    if isinstance(x, slice):
        return {"slice": [_described(item, tensors) for item in (x.start, x.stop, x.step)]}
    if x is Ellipsis:
        return {"ellipsis": True}
    raise ArgumentTypeError(
        f"A function of fastnn.ops on symbolic tensors takes numbers and arrays beside them, got "
        f"{type(x).__name__}; write a Layer to use parameters."
    )


def _restored(x, values):
    if isinstance(x, list):
        return [_restored(item, values) for item in x]
    if not isinstance(x, dict):
        return x
    [(kind, content)] = x.items()
    if kind == "tensor":
        return values[content]
    if kind == "array":
        return unpack(content)
    if kind == "tuple":
        return tuple(_restored(item, values) for item in content)
    return slice(*content) if kind == "slice" else Ellipsis
