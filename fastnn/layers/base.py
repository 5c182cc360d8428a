"""Layer and Parameter: what every layer is made of."""

from __future__ import annotations

import functools
import inspect
import math
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

from .. import initializers, regularizers
from ..arguments import check_float_dtype, check_shape
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    DtypeError,
    FastNNError,
    GraphError,
    NotOneCallError,
    ShapeError,
    UnknownNameError,
)
from ..graph import (
    MAX_RANK,
    Arithmetic,
    Builder,
    LayerCall,
    Tensor,
    TrainingMode,
    Value,
    current_builder,
)
from ..registry import Registry, auto_name, snake_case

if TYPE_CHECKING:
    from .._typing import Any, NDArray


class Parameter(Arithmetic):
    """An array that a layer owns and training changes.

    In a layer's `call`, operators and the functions of `fastnn.ops` take it like a tensor.

    Until a model runs, it holds its initial value, drawn when first asked for. Then the engine's store holds
    it.

    Attributes
    ----------
    name : str
        Layer and role: "dense/kernel".
    shape : tuple of int
    dtype : str
        "float32" or "float64": that of the model.
    initializer, regularizer : Initializer, Regularizer or None
    trainable : bool
        Whether training updates it.
    """

    constant = False  # whether it is an array that a traced function uses, not a weight

    def __init__(
        self,
        name: str | None,
        shape,
        initializer,
        regularizer=None,
        trainable: bool = True,
        dtype: str | None = "float32",
    ) -> None:
        self.name, self.shape, self.dtype = name, tuple(shape), dtype
        self.initializer, self.regularizer, self.trainable = initializer, regularizer, bool(trainable)
        self._initial = None
        self._assigned = False
        self._storage = None

    @property
    def size(self):
        """int: number of elements."""
        return math.prod(self.shape)

    @property
    def value(self):
        """ndarray: a read-only row-major copy."""
        if self._storage is not None:
            out = np.empty(self.shape, self.dtype)
            self._storage.read(out)
        else:
            out = self._first_value().copy()
        out.flags.writeable = False
        return out

    def numpy(self):
        """Return `value`."""
        return self.value

    def __array__(self, dtype=None, copy=None):
        if current_builder() is not None:
            raise ArgumentTypeError(f"{self!r} has no value while a function is traced; use fastnn.ops on it.")
        return self.value if dtype is None else self.value.astype(dtype, copy=False)

    def assign(self, array):
        """Overwrite the value.

        Parameters
        ----------
        array : array_like
            Of the parameter's shape; converted to its dtype.

        Raises
        ------
        ShapeError
            If the shape differs.
        DtypeError
            If the array does not hold numbers.
        """
        array = np.array(self.fitting(array), self.dtype, order="C")
        if self._storage is not None:
            self._storage.write(array)
        else:
            self._initial, self._assigned = array, True

    def fitting(self, array):
        """`array` as an ndarray that `assign` takes; raises as it does."""
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise ShapeError(
                f"Parameter {self.name!r} has shape {self.shape}, got lists that form no array ({error})."
            ) from error
        if array.dtype.kind not in "fiub":
            raise DtypeError(f"Parameter {self.name!r} takes real numbers, got an array of {array.dtype}.")
        if array.shape != self.shape:
            raise ShapeError(
                f"Parameter {self.name!r} has shape {self.shape}, got an array of shape {array.shape}."
            )
        return array

    def attach(self, storage):
        """Hand the value over to an engine's store, which holds it from now on."""
        if self._storage is None:
            storage.write(self._first_value())
            self._storage, self._initial = storage, None

    def become(self, dtype):
        """Take the dtype of the model that is being made of it.

        Raises
        ------
        DtypeError
            If a model of another dtype holds the parameter already.
        """
        if dtype == self.dtype:
            return
        if self._storage is not None:
            raise DtypeError(
                f"Parameter {self.name!r} belongs to a model of {self.dtype} and cannot be part of one of "
                f"{dtype}; make that one with dtype={self.dtype!r}, or build new layers and copy the weights."
            )
        self.dtype = dtype
        self._initial = self._initial.astype(dtype) if self._assigned else None

    def _first_value(self):
        if self._initial is None:
            array = np.asarray(self.initializer(self.shape, self.dtype))
            if array.shape != self.shape:
                raise ShapeError(
                    f"The initializer of {self.name!r} must give shape {self.shape}, gave {array.shape}."
                )
            self._initial = np.array(array, self.dtype, order="C")
        return self._initial

    def __repr__(self):
        frozen = "" if self.trainable else ", not trainable"
        return f"<Parameter {self.name!r} {self.shape} {self.dtype}{frozen}>"


class Constant(Parameter):
    """An array that a traced function uses: a parameter of the engine, but none of a layer or model."""

    constant = True

    def __init__(self, name: str | None, array) -> None:
        super().__init__(name, array.shape, None, trainable=False, dtype="float64")
        self.exact = self._initial = array

    def become(self, dtype):
        """Take the dtype of the model that uses it."""
        self.dtype, self._initial = dtype, self.exact.astype(dtype)


class Layer:
    """A piece of a network: declares parameters once and emits nodes at every call.

    Subclasses define `build(shape)` where they have parameters, and `call(x)`, made of operators, functions
    of `fastnn.ops` and other layers, which may be attributes, alone or in lists. `call` is traced: it runs
    once to say what C is to compute. A model is saved with the trace, and needs the class no more when it is
    loaded.

    Parameters
    ----------
    name : str, optional
        By default the class name in snake case, counted up: dense, dense_1, ...
    trainable : bool, default True
        Whether training updates the layer's parameters.
    dtype : {"float32", "float64"}, optional
        Type of the parameters before a model gives them its own.
    input_shape : tuple of int, optional
        Of one sample: spares a Sequential that begins with this layer its `Input`.
    input_dim : int, optional
        The same as ``input_shape=(input_dim,)``.

    Attributes
    ----------
    built : bool
        Whether the parameters exist.
    """

    # The dtype of the Input that a Sequential makes in front of the layer.
    input_dtype: str | None = None

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
        input_shape: Any = None,
        input_dim: int | None = None,
        **kwargs,
    ) -> None:
        for argument in kwargs:
            parameters = {**inspect.signature(type(self)).parameters, **inspect.signature(Layer).parameters}
            known = [name for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
            raise UnknownNameError.among(f"argument of {type(self).__name__}", argument, known)
        named = isinstance(name, str) and name and name.isprintable() and "/" not in name
        if name is not None and not named:
            raise ArgumentError(
                f"{type(self).__name__}: name must be printable text without '/', got {name!r}."
            )
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.dtype = None if dtype is None else check_float_dtype(self._label, dtype)
        self.built = False
        self._first_shape = input_shape if input_dim is None else (input_dim,)
        self._trainable = bool(trainable)
        self._weights: list = []
        self._declared: list = []
        self._calls: list = []

    @property
    def _label(self):
        return f"{type(self).__name__} {self.name!r}"

    # -- what subclasses define --

    def build(self, shape) -> None:
        """Declare the parameters for inputs of `shape` (a list of shapes where the layer takes a list)."""

    def call(self, x):
        """Emit the nodes of one call.

        Parameters
        ----------
        x : Value or list of Value

        Returns
        -------
        Value or list of Value
        """
        raise GraphError(f"{self._label} does not define call.")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned."""
        return cls(**config)

    # -- parameters --

    def add_weight(
        self, shape=(), initializer="glorot_uniform", regularizer=None, trainable=True, name=None, dtype=None
    ):
        """Declare a parameter.

        Parameters
        ----------
        shape : tuple of int
        initializer : str or Initializer, default "glorot_uniform"
            None means the default.
        regularizer : str or Regularizer, optional
        trainable : bool, default True
        name : str, optional
            Its role in the layer, such as "kernel"; by default "weight", "weight_1", ...
        dtype : {"float32", "float64"}, optional

        Returns
        -------
        Parameter
        """
        self._check_made()
        role = name or ("weight" if not self._weights else f"weight_{len(self._weights)}")
        path = "/".join(layer.name for layer in [*(o for o in _stack() if o is not self), self])
        if any(w.name == f"{path}/{role}" for w in self._weights):
            raise ArgumentError(f"{self._label} declares the weight {role!r} twice.")
        parameter = Parameter(
            f"{path}/{role}",
            check_shape(self._label, f"the shape of {role!r}", shape, MAX_RANK),
            initializers.get("glorot_uniform" if initializer is None else initializer),
            regularizers.get(regularizer),
            trainable and self._trainable,
            check_float_dtype(self._label, dtype or self.dtype or "float32"),
        )
        if parameter.regularizer is not None:
            parameter.regularizer.meet(parameter.shape)
        self._weights.append(parameter)
        self._declared.append(bool(trainable))
        return parameter

    def sublayers(self):
        """list of Layer: those that are attributes, alone or in lists, tuples and dicts."""
        found = {}
        for name, value in vars(self).items():
            if name != "_calls":
                found.update((id(layer), layer) for layer in _layers_in(value))
        return list(found.values())

    @property
    def weights(self):
        """list of Parameter: all, in the order of Keras: trainable ones, the others, those of sublayers."""
        own = sorted(zip(self._weights, self._declared), key=lambda pair: not pair[1])
        found = dict.fromkeys(w for w, _ in own)
        for layer in self.sublayers():
            found.update(dict.fromkeys(layer.weights))
        return list(found)

    @property
    def trainable_weights(self):
        """list of Parameter: those that training updates."""
        return [w for w in self.weights if w.trainable]

    @property
    def non_trainable_weights(self):
        """list of Parameter: those that training leaves alone."""
        return [w for w in self.weights if not w.trainable]

    @property
    def variables(self):
        """list of Parameter: `weights`."""
        return self.weights

    @property
    def trainable_variables(self):
        """list of Parameter: `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self):
        """list of Parameter: `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def trainable(self):
        """bool: whether training updates the layer's parameters; counts at the next `compile`."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        for parameter, declared in zip(self._weights, self._declared):
            parameter.trainable = declared and self._trainable
        for layer in self.sublayers():
            layer.trainable = value

    def count_params(self) -> int:
        """int: number of elements of all parameters."""
        if not self.built:
            raise GraphError(f"{self._label} has no parameters yet: call it on a tensor first.")
        return sum(w.size for w in self.weights)

    def get_weights(self) -> list[NDArray[Any]]:
        """list of ndarray: the values of `weights`."""
        return [w.value for w in self.weights]

    def set_weights(self, weights) -> None:
        """Overwrite the values of `weights`.

        Parameters
        ----------
        weights : sequence of array_like
            As many as `weights`, of the same shapes. All are checked before any is written.
        """
        own = self.weights
        if not hasattr(weights, "__len__"):
            raise ArgumentTypeError(
                f"{self._label} needs a list of {len(own)} arrays, got {type(weights).__name__}."
            )
        if len(weights) != len(own):
            raise ShapeError(f"{self._label} has {len(own)} weights, got {len(weights)} arrays.")
        checked = [parameter.fitting(array) for parameter, array in zip(own, weights)]
        for parameter, array in zip(own, checked):
            parameter.assign(array)

    # -- calls --

    def __call__(self, *inputs, training=None, **named) -> Any:
        """Call the layer on symbolic tensors.

        Parameters
        ----------
        *inputs : Tensor
            One tensor, or one list of tensors for layers that join several. Where `call` has several arguments
            without default, as many tensors.
        **named : Tensor
            Those of the tensors that are given by the names of `call`'s arguments.
        training : {None, False}
            False for a layer that acts as it does outside training even while the model trains: no dropout,
            and running statistics in place of the batch's.

        Returns
        -------
        Tensor or list of Tensor

        Raises
        ------
        ShapeError
            If the layer cannot take inputs of these shapes.
        """
        self._check_made()
        if named:
            inputs = self._in_order(inputs, named)
        listed = len(inputs) > 1 or (len(inputs) == 1 and isinstance(inputs[0], (list, tuple)))
        tensors = tuple(inputs[0] if len(inputs) == 1 and listed else inputs)
        if not tensors:
            raise GraphError(f"{self._label} is called on at least one tensor.")
        for t in tensors:
            if not isinstance(t, (Tensor, Value)):
                raise ArgumentTypeError(
                    f"{self._label} is called on symbolic tensors such as fastnn.Input makes, "
                    f"got {type(t).__name__}; give arrays to a Model."
                )
        taken = _tensor_arguments(type(self))  # type: ignore[arg-type]
        if len(taken) > 1 and len(tensors) != len(taken):
            raise GraphError(f"{self._label} takes {len(taken)} tensors, {', '.join(taken)}; got {len(tensors)}.")
        if isinstance(training, TrainingMode):
            training = None
        if training not in (None, False):
            raise ArgumentError(
                f"{self._label}: training must be False or left out, got {training!r}; fit trains, and "
                "model(x, training=True) shows what it computes."
            )
        shapes = [t.shape for t in tensors]
        self.ensure_built(shapes if listed else shapes[0])
        self._check_read_raw(tensors)
        if isinstance(tensors[0], Value):  # inside another layer's call
            return self.trace_call(tensors[0].builder, list(tensors) if listed else tensors[0], training)
        builder = Builder(self.dtype or "float32")
        values = [builder.input(t.shape, t.program_type, t.name) for t in tensors]
        made = self.trace_call(builder, values if listed else values[0], training)
        several = isinstance(made, (list, tuple))
        call = LayerCall(self, tensors, listed, [], training)
        for i, value in enumerate(made if several else [made]):
            sparse = value.dtype == "csr"  # an input that is handed on
            dtype = builder.program.dtype if sparse else value.dtype
            call.outputs.append(Tensor(value.shape, dtype, self._tensor_name(i), call, i, sparse))
        self._calls.append(call)
        return list(call.outputs) if several else call.outputs[0]

    def trace_call(self, builder, x, training=None):
        """`call` on the Values of a builder; what it emits, and its errors, are named after the layer."""
        outer = builder.scope, builder.training
        builder.scope = self.name
        builder.training = outer[1] if training is None else training
        _stack().append(self)
        try:
            with builder:
                xs = x if len(_tensor_arguments(type(self))) > 1 else (x,)
                made = self.call(*xs, **({"training": TrainingMode()} if _takes_training(type(self)) else {}))
        except FastNNError as error:
            message = str(error.args[0]) if error.args else ""
            if repr(self.name) not in message:
                error.args = (f"{self._label}: {message}", *error.args[1:])
            raise
        finally:
            builder.scope, builder.training = outer
            _stack().pop()
        for value in made if isinstance(made, (list, tuple)) else [made]:
            if not isinstance(value, Value) or value.builder is not builder or not value.batched:
                shape = f" of shape {value.shape}" if isinstance(value, Value) else ""
                raise GraphError(
                    f"{self._label}: call must return a tensor with the batch as first dimension, or a list "
                    f"of such, got {type(value).__name__}{shape}."
                )
        return made

    def _lookups_for(self, count):
        """For each of `count` tensors that the layer is called on the Lookup that reads it, None for numbers."""
        return [None] * count

    def _check_read_raw(self, tensors):
        """Raises where text would meet another layer than a lookup, or a lookup what is no Input."""
        for t, lookup in zip(tensors, self._lookups_for(len(tensors))):
            if lookup is None and t.dtype == "string":
                raise DtypeError(
                    f"{self._label} reads numbers, got the text of {t.name!r}; put a StringLookup between them."
                )
            if lookup is not None and (isinstance(t, Value) or t.call.inputs):
                seen = f"the output of {t.call.layer.name!r}" if isinstance(t, Tensor) else "a tensor within another layer"
                raise GraphError(
                    f"{lookup._label} reads an Input of the model, where its values are looked up, got {seen}; call it on "
                    f"Input(..., dtype={lookup.input_dtype!r}) and hand on what it returns."
                )
            if lookup is not None and lookup.input_dtype != t.dtype:
                raise DtypeError(
                    f"{lookup._label} reads Input(..., dtype={lookup.input_dtype!r}), got {t.name!r} of {t.dtype}."
                )

    def _check_made(self):
        if "_calls" not in vars(self):
            cls = type(self).__name__
            raise GraphError(f"{cls}.__init__ must call super().__init__() before the layer is used.")

    def _in_order(self, inputs, named):
        """The tensors of a call, those given by name after the others."""
        rest = _tensor_arguments(type(self))[len(inputs) :]
        for name in named:
            if name not in rest:
                raise ArgumentTypeError(
                    f"{self._label} is called on tensors, got the argument {name!r}; `call`'s arguments without default "
                    "are its tensors, and settings belong to the constructor."
                )
        return (*inputs, *(named[name] for name in rest if name in named))

    def _tensor_name(self, index):
        call = f"_{len(self._calls)}" if self._calls else ""
        return f"{self.name}{call}" if index == 0 else f"{self.name}{call}:{index}"

    def ensure_built(self, shape):
        """Declare the parameters if that has not happened yet."""
        if self.built:
            return
        _stack().append(self)
        try:
            self.build(shape)
        finally:
            _stack().pop()
        self.built = True

    def _only_call(self, what):
        if len(self._calls) != 1:
            raise NotOneCallError(
                f"{self._label} has been called {len(self._calls)} times; its {what} is defined for one call."
            )
        return self._calls[0]

    @property
    def input(self):
        """Tensor or list of Tensor: what the layer was called on, if it was called once."""
        call = self._only_call("input")
        return list(call.inputs) if call.listed else call.inputs[0]

    @property
    def output(self):
        """Tensor or list of Tensor: what the layer returned, if it was called once."""
        outputs = self._only_call("output").outputs
        return outputs[0] if len(outputs) == 1 else list(outputs)

    # -- errors that layers share --

    def _refuse(self, **arguments):
        """Raises for arguments of Keras that fastnn does not support and that are set."""
        for name, value in arguments.items():
            if value is not None and value is not False:
                raise ArgumentError(f"{self._label}: {name} is not supported, got {value!r}; leave it out.")

    def _needs_rank(self, least, shape):
        if len(shape) < least:
            raise ShapeError(
                f"{self._label} expects inputs of at least {least} dimensions with the batch, got {shape}."
            )

    def _needs_one(self, shape):
        if isinstance(shape, list):
            raise GraphError(
                f"{self._label} takes one tensor, got a list of {len(shape)}; join them with Concatenate."
            )

    def _needs_integers(self, x):
        if x.dtype != "int32":
            raise DtypeError(
                f"{self._label} expects integers, got a tensor of {x.dtype}; make it with "
                "Input(..., dtype='int32')."
            )

    def _needs_several(self, shapes):
        if not isinstance(shapes, list):
            seen = getattr(shapes, "shape", shapes)
            raise GraphError(f"{self._label} takes a list of tensors, got one of shape {seen}.")

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


_tracing: ContextVar = ContextVar("tracing")


def _stack():
    """The layers that are being built or called in this thread, the outermost first."""
    layers = _tracing.get(None)
    if layers is None:
        layers = []
        _tracing.set(layers)
    return layers


def _layers_in(value):
    if isinstance(value, Layer):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _layers_in(item)
    elif isinstance(value, dict):
        yield from _layers_in(list(value.values()))


@functools.cache
def _tensor_arguments(cls):
    """The arguments of a class's `call` that have no default: a list of tensors is one argument."""
    parameters = list(inspect.signature(cls.call).parameters.values())[1:]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(p.name for p in positional if p.default is p.empty and p.name != "training")


@functools.cache
def _takes_training(cls):
    return "training" in inspect.signature(cls.call).parameters


registry = Registry("layer", Layer)


def serialize(layer):
    """Return `{"class_name": ..., "config": ...}` of a layer."""
    return registry.serialize(layer)


def deserialize(config):
    """Make the layer that `serialize` described. Only layers of fastnn are known; nothing is imported."""
    return registry.deserialize(config)
