"""Layers of a user's own class, after loading: what their `call` emitted, without the class."""

import contextlib

import numpy as np

from .. import initializers, regularizers
from ..errors import ProgramError
from ..traced import Trace, find
from .base import Layer, Parameter, registry


@registry.add
class TracedLayer(Layer):
    """What a layer of another class emitted, as Programs; how such layers are saved.

    Parameters
    ----------
    class_name : str
        That of the layer, for reading.
    traces : list of dict
        Arguments of a `Trace` for each kind of inputs that the layer was called on.
    parameters : list of dict
        Name, shape, initializer, regularizer of each weight, and whether it was declared as trainable.
    frozen : list of dict, optional
        The `traces` of the layer with ``trainable = False``, where they differ: BatchNormalization acts
        otherwise then.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, class_name, traces, parameters, frozen=(), **kwargs):
        super().__init__(**kwargs)
        self.class_name = str(class_name)
        self._traces, self._frozen = [Trace(**t) for t in traces], [Trace(**t) for t in frozen]
        for p in parameters:
            initializer = initializers.get(p["initializer"]) or _zeros
            trainable = bool(p["trainable"])
            self._weights.append(
                Parameter(
                    p["name"], p["shape"], initializer, regularizers.get(p["regularizer"]),
                    trainable and self._trainable, self.dtype or "float32",
                )
            )  # fmt: skip
            self._declared.append(trainable)
        shapes = [w.shape for w in self._weights]
        if any(t.weight_shapes != shapes for t in self._traces + self._frozen):
            raise ProgramError(f"{self._label} has weights of shapes {shapes}, its Program has others.")
        self.built = True

    @classmethod
    def of(cls, layer):
        """What a layer has emitted in its calls so far."""
        if isinstance(layer, TracedLayer):
            return layer
        weights, traces = layer.weights, _traces_of(layer)
        with _all_trainable(layer, not layer.trainable):
            frozen = _traces_of(layer)
        if not layer.trainable:
            traces, frozen = frozen, traces
        traces, frozen = [t.get_config() for t in traces], [t.get_config() for t in frozen]
        declared = _declared(layer)
        return cls(
            type(layer).__name__,
            traces,
            [_described(w, declared[w]) for w in weights],
            [] if frozen == traces else frozen,
            name=layer.name,
            trainable=layer.trainable,
            dtype=layer.dtype,
        )

    def call(self, x):
        """Emits the nodes that were traced."""
        listed = isinstance(x, (list, tuple))
        values = list(x) if listed else [x]
        traces = self._traces if self.trainable else self._frozen or self._traces
        trace = find(traces, self._label, values, listed)
        made = trace.play(values[0].builder, values, self._weights)
        return made[0] if len(made) == 1 else made

    def get_config(self):
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {
            **super().get_config(),
            "class_name": self.class_name,
            "traces": [t.get_config() for t in self._traces],
            "parameters": [_described(*pair) for pair in zip(self._weights, self._declared)],
            "frozen": [t.get_config() for t in self._frozen],
        }


def _traces_of(layer):
    """A Trace for each kind of inputs that the layer was called on."""
    traces = []
    for call in layer._calls:
        if not any(t.fits(call.inputs, call.listed) for t in traces):
            traces.append(
                Trace.of(
                    lambda builder, xs, call=call: layer.trace_call(builder, xs if call.listed else xs[0]),
                    [(t.shape, t.program_type) for t in call.inputs],
                    layer.weights,
                    call.listed,
                )
            )
    return traces


@contextlib.contextmanager
def _all_trainable(layer, flag):
    """The layer and those in it act as if `trainable` had been set, until the block ends."""
    inner = [layer]
    for one in inner:
        inner += [sub for sub in one.sublayers() if sub not in inner]
    before = [one._trainable for one in inner]
    try:
        for one in inner:
            one._trainable = flag
        yield
    finally:
        for one, was in zip(inner, before):
            one._trainable = was


def _described(w, declared):
    return {
        "name": w.name,
        "shape": list(w.shape),
        "initializer": initializers.serialize(w.initializer),
        "regularizer": regularizers.serialize(w.regularizer),
        "trainable": declared,
    }


def _zeros(shape, dtype):
    return np.zeros(shape, dtype)


def _declared(layer):
    """{weight: whether it was declared as trainable} of a layer and its sublayers."""
    found = dict(zip(layer._weights, layer._declared))
    for inner in layer.sublayers():
        found = _declared(inner) | found
    return found
