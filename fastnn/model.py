"""Model and Sequential: networks that train, evaluate and predict."""

from __future__ import annotations

import contextlib
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from . import data, feed, optimizers, progress, seeds
from ._engine import Runtime
from .arguments import check_float, check_int, variable_dtype
from .compile import compile_program
from .config import check_dtype
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    DeviceError,
    DtypeError,
    GraphError,
    NonFiniteLossError,
    NotCompiledError,
    OutOfMemoryError,
    ShapeError,
    UnknownNameError,
)
from .graph import Tensor, calls_between, layers_between, replay, trace
from .history import History
from .layers.base import Layer
from .layers.core import Input
from .layers.lookup import Lookup, lookups_of, raw_array
from .losses import Loss
from .sparse import Rows
from .structure import any_symbolic, flatten, metrics_per_output, per_output, shape_like, unique
from .tabular import Tabular, check_names
from .training import Arrays, Hooks, Trainer, check_verbose, validation_epochs

if TYPE_CHECKING:
    from ._typing import Any, Callable, Mapping, NDArray, Sequence, StrPath
    from .optimizers import Optimizer
    from .predictor import Predictor, StructuredPredictor

_TRAIN_ROWS = 32  # batch_size=None, as in Keras
_PREDICT_ROWS = 256  # the same where nothing but speed depends on it


def _is_plain(x):
    """Whether `x` is an array without fields, which is read as it is."""
    return type(x) is np.ndarray and x.dtype.names is None


class _ByName(dict):
    """Parameters by name."""

    def __missing__(self, name):
        raise UnknownNameError.among("parameter", name, self)


class Model(Layer):
    """A network from symbolic inputs to outputs.

    Parameters
    ----------
    inputs, outputs : Tensor, or list, tuple or dict of Tensor
        Dict keys name the arrays in `fit` and `predict`; other inputs and outputs are named by their layers.
    name : str, optional
    dtype : {"float32", "float64", "mixed_bfloat16"}, optional
        Type of parameters and arithmetic. "mixed_bfloat16" is float32, but the products of layers and of their
        gradients round both operands to bfloat16 (8 significant bits) and add in float32. CPUs with AVX512-BF16
        have an instruction for it (`fastnn.show_config()` tells); others work at about the speed of float32.
        By default that of parameters which another model holds already, else "float32" (see
        `fastnn.config.set_floatx`).
    device : {"cpu"}, default "cpu"
    trainable : bool, default True

    Attributes
    ----------
    layers : list of Layer
        In the order of the graph.
    parameters : mapping of str to Parameter
        By name, such as "dense/kernel", in the order of `get_weights`.
    inputs, outputs : list of Tensor
    optimizer : Optimizer or None
        Set by `compile`; its `learning_rate` may be changed at any time.
    history : History or None
        Of the last `fit`.
    dtype : str
        Of parameters and outputs: "float32" or "float64".
    dtype_policy : str
        The `dtype` that the model was made with.

    Notes
    -----
    A model is a layer: called on symbolic tensors it becomes part of another model, which shares its
    parameters. Called on arrays it predicts.
    """

    def __init__(
        self,
        inputs=None,
        outputs=None,
        name: str | None = None,
        dtype: str | None = None,
        device="cpu",
        trainable: bool = True,
    ) -> None:
        if inputs is None or outputs is None:
            raise ArgumentError(
                "Model needs inputs and outputs, for example Model(x, y); Sequential takes a list of layers"
            )
        self._prepare(name, dtype, device, trainable)
        self._wire(inputs, outputs)

    # -- making --

    def _prepare(self, name, dtype, device, trainable):
        import threading  # with the first model, not with fastnn

        if device != "cpu":
            raise DeviceError(
                f"{type(self).__name__} runs on device 'cpu', got {device!r}; leave the argument out"
            )
        super().__init__(name=name, trainable=trainable)
        self.dtype_policy = None if dtype is None else check_dtype(dtype)
        self.dtype = variable_dtype(self.dtype_policy)
        self.device = device
        self.optimizer = self.history = None
        self._settings = self._compiled = self._runtime = self._batch_seed = self._updater = None
        self._tabular = Tabular()
        self._lock = threading.Lock()

    def _wire(self, inputs, outputs):
        self._inputs, input_keys, self._input_form = flatten(inputs, "inputs")
        self._outputs, output_keys, self._output_form = flatten(outputs, "outputs")
        for tensor in (*self._inputs, *self._outputs):
            if not isinstance(tensor, Tensor):
                raise ArgumentTypeError(
                    f"{self._label} needs symbolic inputs and outputs, got {type(tensor).__name__}; "
                    "begin with fastnn.Input and call layers on it"
                )
        for tensor in self._outputs:
            if tensor.dtype == "string":
                raise DtypeError(f"{self._label} gives numbers, got the text of {tensor.name!r} as an output")
        self._input_names = input_keys or unique(t.name for t in self._inputs)
        self._output_names = output_keys or unique(t.call.layer.name for t in self._outputs)
        layers = layers_between(self._inputs, self._outputs)
        held = {p.dtype for layer in layers for p in layer.weights if p._storage is not None}
        self.dtype_policy = self.dtype_policy or (held.pop() if len(held) == 1 else check_dtype(None))
        self.dtype = variable_dtype(self.dtype_policy)
        self._layers = layers
        self._lookups = lookups_of(self._inputs, calls_between(self._inputs, self._outputs))
        self._trace()
        names = {}
        for layer in layers:
            if names.setdefault(layer.name, layer) is not layer:
                raise GraphError(
                    f"{self._label} holds two layers named {layer.name!r}; give one another name"
                )
        own = [p for _, p in self._params if not p.constant]
        by_name = _ByName((p.name, p) for p in own)
        if len(by_name) != len(own):
            raise GraphError(
                f"{self._label} holds two parameters of one name among {[p.name for p in own]}; "
                "give the layers of nested models names of their own"
            )
        self._parameters = MappingProxyType(by_name)
        self._compiled = self._runtime = None
        self.built = True
        self._describe(self._tabular)
        if not self._trainable:
            self.trainable = False
        if self._settings is not None:
            self._link()

    def _trace(self):
        """Makes the forward Program."""
        self._forward, self._params = trace(
            self._inputs, self._outputs, self.dtype_policy, self._output_names
        )
        self._input_ids = [t.id for t in self._forward.of_kind("input")]
        self._output_ids = [root.tensor for root in self._forward.roots_of("output")]

    def _needs_built(self, what):
        if not self.built:
            raise GraphError(
                f"{self._label} does not know its input shape yet, so {what} is not possible; "
                "add an Input first or call it on data"
            )

    @property
    def layers(self):
        """list of Layer: in the order of the graph."""
        return list(self._layers)

    @property
    def parameters(self):
        """mapping of str to Parameter: by name, in the order of `get_weights`."""
        self._needs_built("listing parameters")
        return self._parameters

    @property
    def weights(self):
        """list of Parameter: all, in the order of the layers."""
        return list(self._parameters.values()) if self.built else []

    @property
    def trainable(self):
        """bool: setting it sets every layer; a compiled model follows at its next `compile`."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        for layer in self._layers:
            layer.trainable = value

    @property
    def inputs(self):
        """list of Tensor."""
        self._needs_built("listing inputs")
        return list(self._inputs)

    @property
    def outputs(self):
        """list of Tensor."""
        self._needs_built("listing outputs")
        return list(self._outputs)

    @property
    def input(self):
        """Tensor, or list or dict of Tensor: as the model was made."""
        self._needs_built("its input")
        return shape_like(self._input_form, self._inputs)

    @property
    def output(self):
        """Tensor, or list or dict of Tensor: as the model was made."""
        self._needs_built("its output")
        return shape_like(self._output_form, self._outputs)

    @property
    def input_shape(self):
        """tuple, or list of tuple: None for the batch, then the sizes."""
        shapes = [t.shape for t in self.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self):
        """tuple, or list of tuple: None for the batch, then the sizes."""
        shapes = [t.shape for t in self.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def input_names(self):
        """list of str: keys of dict inputs."""
        self._needs_built("listing inputs")
        return list(self._input_names)

    @property
    def output_names(self):
        """list of str: keys of dict targets, losses and metrics."""
        self._needs_built("listing outputs")
        return list(self._output_names)

    @property
    def features(self):
        """Features or None: what makes the input of a raw table, in `fit`, `predict`, `freeze()` and others.

        Set it to a `fastnn.preprocessing.Features`; the model's file holds it.
        """
        return self._tabular.features

    @features.setter
    def features(self, features):
        from .preprocessing import Features

        if features is not None and not isinstance(features, Features):
            raise ArgumentTypeError(
                f"{self._label}: features must be a fastnn.preprocessing.Features, got "
                f"{type(features).__name__}; for example Features.fit(table), or Features.from_sklearn(fitted)"
            )
        self._describe(Tabular(features, None, self._tabular.classes))

    @property
    def feature_names(self):
        """list of str or None: names of the columns that a table needs.

        Those of `features`, or of the first data frame that the model was trained on; may be set where there
        are no features. Columns of a data frame or dict are then found by name, in any order.
        """
        return self._tabular.feature_names

    @feature_names.setter
    def feature_names(self, names):
        if self._tabular.features is not None:
            raise ArgumentError(f"{self._label} has features, which know the names of their columns")
        self._describe(Tabular(None, check_names("feature_names", names), self._tabular.classes))

    @property
    def class_names(self):
        """list of str or None: names of the classes, in the order of the output's numbers.

        Once they are set, targets may be labels: text among these names.
        """
        return self._tabular.class_names

    @class_names.setter
    def class_names(self, names):
        tabular = self._tabular
        self._describe(Tabular(tabular.features, tabular.columns, check_names("class_names", names)))

    def _describe(self, tabular):
        if self.built:
            shapes = ([t.shape[1:] for t in tensors] for tensors in (self._inputs, self._outputs))
            tabular.check(self._label, *shapes)
        self._tabular = tabular

    @property
    def program(self):
        """Program: what the engine runs; after `compile` with losses, backward pass and updates."""
        self._needs_built("its Program")
        return self._forward if self._compiled is None else self._compiled.program

    def get_weights(self) -> list[NDArray[Any]]:
        """list of ndarray: the values of `weights`, all of one step where `fit` runs in another thread."""
        if not self.built:
            return []
        return [value for p, value in self._values_of_params() if p.name in self._parameters]

    def _values_of_params(self):
        """Pairs of Parameter and value, constants included, all of the same step."""
        values, _ = self._engine().read()
        return [(p, values[id, -1]) for id, p in self._stored_params()]

    def _stored_params(self):
        """Pairs of tensor id and Parameter of the engine: the weights, and constants of layers and losses."""
        return self._compiled.params if self._compiled else self._params

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or at that index.

        Raises
        ------
        UnknownNameError, ArgumentError
            If there is none.
        """
        if (name is None) == (index is None):
            raise ArgumentError(f"get_layer needs a name or an index, got name={name!r} and index={index!r}")
        if name is None:
            index = check_int("get_layer", "index", index)
            if not -len(self._layers) <= index < len(self._layers):
                raise ArgumentError(
                    f"get_layer: {self._label} has {len(self._layers)} layers, got index {index}"
                )
            return self._layers[index]
        for layer in self._layers:
            if layer.name == name:
                return layer
        raise UnknownNameError.among("layer", name, [layer.name for layer in self._layers])

    def call(self, x):
        """Emits the nodes of all layers: the model as a layer of another one."""
        values = list(x) if isinstance(x, (list, tuple)) else [x]
        if len(values) != len(self._inputs):
            raise ShapeError(f"{self._label} takes {len(self._inputs)} tensors, got {len(values)}")
        for name, tensor, value in zip(self._input_names, self._inputs, values):
            if tensor.shape != value.shape:
                raise ShapeError(
                    f"{self._label} expects input {name!r} of shape {tensor.shape}, got {value.shape}"
                )
        made = replay(self._inputs, self._outputs, values)
        return made[0] if len(made) == 1 else made

    def _lookups_for(self, count):
        """For each input the Lookup that reads it, None for numbers."""
        return self._lookups

    def __call__(self, *inputs, training=None) -> Any:  # type: ignore[override]
        """On arrays: the outputs, as `predict` gives them. On symbolic tensors: a symbolic tensor.

        Parameters
        ----------
        *inputs : array_like or Tensor, or one list or dict of them
        training : bool, optional
            On arrays, whether dropout is active; not by default. On symbolic tensors see `Layer.__call__`.
        """
        if inputs and any_symbolic(inputs):
            if len(inputs) == 1 and isinstance(inputs[0], dict):
                inputs = (data.by_name(inputs[0], self._input_names, f"the input of {self._label}"),)
            return super().__call__(*inputs, training=training)
        if not inputs:
            raise ArgumentTypeError(f"{self._label} is called on arrays or symbolic tensors, got nothing")
        x = inputs[0] if len(inputs) == 1 else list(inputs)
        return data.like(x, self._run_forward(x, None, True, bool(training)))

    # -- compile --

    def compile(
        self,
        optimizer: str | Mapping[str, Any] | Optimizer = "rmsprop",
        loss=None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose what training minimises and how.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
        loss : str, Loss or callable, or list or dict of them for several outputs
            Dicts go by output name; an output without a loss is not trained on. A function of (y_true, y_pred)
            written with `fastnn.ops` gives one value per row, which are weighted and averaged, or one number
            for the batch, which takes no sample weights.
        loss_weights : float, or list or dict of float, optional
            Factor of each output's loss in the total; 1 by default.
        metrics : list of str, Metric or callable, or list or dict of such lists, optional
            "accuracy" becomes binary, categorical or sparse by the output's shape and the loss.
        weighted_metrics : like metrics, optional
            Metrics that count `sample_weight` and `class_weight`.
        run_eagerly, steps_per_execution, jit_compile, auto_scale_loss
            Taken so that Keras scripts run; they change nothing here, as whole epochs always run compiled.

        Raises
        ------
        UnknownNameError
            A loss, metric or optimizer that does not exist; the message names the nearest.
        ShapeError
            A loss that cannot take the output's shape.
        """
        settings = {
            "optimizer": optimizers.get(optimizer),
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        if settings["optimizer"] is None:
            raise ArgumentTypeError("compile needs an optimizer, got None; for example 'adam'")
        before = self._settings
        self._settings = settings
        if self.built:
            try:
                self._link()
            except BaseException:
                self._settings = before
                raise
        self.optimizer = settings["optimizer"]
        self.optimizer.serve(self)

    def _link(self):
        """Makes the Program that trains out of the forward one and the settings."""
        self._trace()  # what layers emit may depend on whether they are trainable now
        s, names = self._settings, self._output_names
        compiled = compile_program(
            self._forward,
            self._params,
            losses=per_output(s["loss"], names, "loss", (str, Loss, dict, FunctionType)),
            metrics=metrics_per_output(s["metrics"], names, "metrics"),
            weighted_metrics=metrics_per_output(s["weighted_metrics"], names, "weighted_metrics"),
            loss_weights=per_output(s["loss_weights"], names, "loss_weights", (int, float)),
            optimizer=s["optimizer"],
        )
        several = len(compiled.loss_names) > 1
        self._value_names = ("loss", *(compiled.loss_names if several else ()), *compiled.metric_names)
        self._compiled, self._runtime, self._batch_seed = compiled, None, None

    def _needs_compiled(self, what):
        if self._settings is None:
            raise NotCompiledError(
                f"{self._label} needs compile(...) before {what}; for example compile('adam', 'mse')"
            )

    def _needs_loss(self, what):
        self._needs_compiled(what)
        if not self._compiled.loss_names:
            raise NotCompiledError(
                f"{self._label} was compiled without a loss, which {what} needs; "
                "for example compile('adam', 'mse')"
            )

    @property
    def metrics_names(self):
        """list of str: names of what `evaluate` returns, in order."""
        self._needs_compiled("metrics_names")
        self._needs_built("metrics_names")
        return list(self._value_names)

    def _engine(self):
        runtime = self._runtime
        if runtime is None:
            with self._lock:
                if self._runtime is None:
                    self._runtime = Runtime(self.program, self._stored_params())
                runtime = self._runtime
        return runtime

    def _values(self, results, rows):
        """Loss, each output's loss if there are several, and metrics, from sums over `rows` samples."""
        total, losses = self._losses(results, rows)
        values = [total, *losses] if len(losses) > 1 else [total]
        return values + [metric.of(results) for metric in self._compiled.metrics]

    def _losses(self, results, rows):
        """(total loss with penalties, list of the outputs' losses) from sums over `rows` samples."""
        compiled = self._compiled
        losses = [results[2 * i] / rows for i in range(len(compiled.loss_weights))]
        total = 0.0
        for weight, loss in zip(compiled.loss_weights, losses):
            total += weight * loss
        for at in range(compiled.first_penalty, compiled.first_penalty + 2 * compiled.penalties, 2):
            total += results[at] / results[at + 1]
        return total, losses

    # -- arrays --

    def _bind_inputs(self, x):
        """Arrays by input tensor id, and their number of samples."""
        found, labelled = {}, []
        if self._tabular.features is not None or not _is_plain(x):
            shapes = [t.shape[1:] for t in self._inputs]
            what, raw = f"the input of {self._label}", self._lookups[0] is not None
            x = self._tabular.read(x, self._input_names, shapes, self.dtype, what, raw)
        for name, id, tensor, lookup, array in zip(
            self._input_names,
            self._input_ids,
            self._inputs,
            self._lookups,
            data.by_name(x, self._input_names, f"the input of {self._label}"),
        ):
            what = f"input {name!r} of {self._label}"
            found[id] = data.fit_samples(array, tensor, lookup, what)
            labelled.append((what, found[id]))
        return found, data.common_length(labelled)

    def _bind_batch(self, x, y, sample_weight):
        """Arrays by tensor id: inputs, targets and sample weights; and the number of samples."""
        found, count = self._bind_inputs(x)
        if not _is_plain(x):
            self._tabular.record(x, self._input_names, [t.shape[1:] for t in self._inputs])
        outputs = self._compiled.outputs
        names = [o.name for o in outputs]
        wanted = [o for o in outputs if o.target is not None]
        if wanted and y is None:
            raise ArgumentTypeError(
                f"{self._label} needs targets y for {[o.name for o in wanted]}, got None; "
                "pass them as the second argument"
            )
        first = ("the input", next(iter(found.values())))
        if wanted:
            if (
                not isinstance(y, dict)
                and isinstance(y, (list, tuple))
                and len(wanted) == len(y) < len(outputs)
            ):
                names = [o.name for o in wanted]
            elif isinstance(y, dict):
                known, names = names, [o.name for o in wanted]
                y = {k: v for k, v in y.items() if k in names or k not in known}
            elif len(wanted) == 1 and not isinstance(y, (list, tuple)):
                names = [wanted[0].name]
            given = dict(zip(names, data.by_name(y, names, f"the target of {self._label}")))
        for o in wanted:
            what = f"target {o.name!r} of {self._label}"
            array = given[o.name]
            if self._tabular.classes is not None:
                array = self._tabular.labels(array, what)
            array = data.as_array(array, what)
            found[o.target] = data.fit_target(array, o.target_shape[1:], o.target_dtype == "int32", what)
            data.common_length([first, (what, array)])
        self._bind_weights(found, first, sample_weight)
        return found, count

    def _bind_weights(self, found, first, sample_weight):
        outputs = [o for o in self._compiled.outputs if o.weight is not None]
        if sample_weight is None:
            given = {}
        elif isinstance(sample_weight, dict):
            given = dict(sample_weight)
        elif isinstance(sample_weight, (list, tuple)) and len(self._compiled.outputs) > 1:
            names = [o.name for o in self._compiled.outputs]
            given = dict(zip(names, data.by_name(sample_weight, names, "sample_weight")))
        else:
            given = {o.name: sample_weight for o in outputs}
        for name in given:
            if name not in self._output_names:
                raise UnknownNameError.among("output in sample_weight", name, self._output_names)
        for o in outputs:
            if given.get(o.name) is not None:
                what = f"sample_weight of {o.name!r}"
                self._refuse_weights(o, what)
                found[o.weight] = data.fit_weight(data.as_array(given[o.name], what), what)
                data.common_length([first, (what, found[o.weight])])

    def _refuse_weights(self, output, what):
        if output.scalar_loss is not None:
            raise ArgumentError(
                f"{what} cannot be used: the loss {output.scalar_loss!r} is one number for the whole batch; "
                "return one value per sample from it, or leave the weights out"
            )

    def _weigh_classes(self, arrays, class_weight):
        """Multiplies the sample weights among bound `arrays` by those of the classes."""
        if class_weight is None:
            return
        outputs = self._compiled.outputs
        if len(outputs) > 1:
            raise ArgumentError(
                f"class_weight needs a model of one output, got {len(outputs)}; "
                "pass a sample_weight for each output"
            )
        [o] = outputs
        self._refuse_weights(o, f"class_weight for {o.name!r}")
        weights = data.class_weights(class_weight, arrays[o.target], f"target {o.name!r}")
        arrays[o.weight] = weights * arrays.get(o.weight, 1.0)

    def _build_for(self, x):
        """What an unbuilt Sequential does with its first data."""
        self._needs_built("running it")

    def _rows(self, batch_size, default, count):
        if batch_size is None:
            return min(default, count)
        if isinstance(batch_size, str):
            if batch_size != "full":
                raise ArgumentError(f"batch_size needs a positive integer or 'full', got {batch_size!r}")
            return count
        return min(check_int("Model", "batch_size", batch_size, 1), count)

    def _train_rows(self, batch_size, count):
        """Samples of a batch of `fit`; an optimizer that needs all of them takes no less."""
        rows = self._rows(batch_size, count if self.optimizer.full_batch else _TRAIN_ROWS, count)
        if self.optimizer.full_batch and rows < count:
            name = type(self.optimizer).__name__
            raise ArgumentError(
                f"fit: {name} needs all {count} samples in one batch, got batch_size={batch_size!r}; "
                "leave batch_size out"
            )
        return rows

    # -- training --

    def fit(
        self,
        x=None,
        y=None,
        batch_size: int | str | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks=None,
        validation_split: float = 0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | str | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        indices=None,
        seed: int | None = None,
        check_finite: bool = True,
        max_seconds: float | None = None,
        resume=None,
        comm=None,
    ) -> History:
        """Train on arrays, or on an iterable of batches.

        Parameters
        ----------
        x : array_like, shape (n, ...), or list or dict of them; or an iterable
            Inputs. Anything with the buffer protocol, `__array__` or DLPack; it is not copied, and may be
            mapped from a file. An iterable yields batches x, (x,), (x, y) or (x, y, sample_weight) of any
            size; see the notes.
        y : array_like, shape (n, ...), or list or dict of them
            Targets: class indices (n,) for sparse losses, else the output's shape.
        batch_size : int or "full", optional
            Samples a step; 32 by default, the whole set for "full". Optimizers that work on full batches
            (`Optimizer.full_batch`) take the whole set and refuse less.
        epochs : int, default 1
            The epoch to train up to, counted from 0: `epochs - initial_epoch` are run.
        verbose : {"auto", 0, 1, 2}
            0 silent; 1 (and "auto") a progress bar, or a line an epoch where the output is redirected; 2 a
            line an epoch.
        callbacks : list, optional
            See `fastnn.callbacks`; any objects with some of the methods of `Callback`. Setting
            `model.stop_training` ends training after the epoch, in a batch hook after the batch.
        validation_split : float, default 0.0
            Fraction of the samples, the last ones before shuffling, to validate on instead of training.
        validation_data : (x, y) or (x, y, sample_weight), or an iterable of batches, optional
        shuffle : bool, int or callable, default True
            A new order each epoch; it follows from `seed`. A number of samples: a window, for files larger than
            memory; see the notes. A function of the epoch (from 0): gives the order as the positions of the
            samples, of which some may come several times. Of an iterable the order of the batches, where it has
            `__getitem__` and `__len__`.
        class_weight : dict of int to float, optional
            Weight of the samples of each class.
        sample_weight : array_like, shape (n,), or list or dict of them, optional
        initial_epoch : int, default 0
        steps_per_epoch, validation_steps : int, optional
            At most so many batches an epoch or validation. Needed for iterables that never end. Over an
            iterable each epoch goes on where the last one stopped, and a validation starts again.
        validation_batch_size : int, optional
            As large as is fast by default; results do not depend on it.
        validation_freq : int or collection of int, default 1
            Validate every so many epochs, or after the epochs listed (counted from 1).
        indices : array_like of int or bool, or a pair of them, optional
            Rows of x, y and sample_weight to train on, in place of all: the same bits as after x[indices],
            without the copy. A pair, as the splitters of scikit-learn give it: rows to train on, rows to
            validate on.
        seed : int, optional
            Of shuffling and dropout; the next one of `fastnn.set_seed` by default, or a fresh one.
        check_finite : bool, default True
            Refuse NaN and infinities in the data.
        max_seconds : float, optional
            Training ends at the first step boundary after this time. The values of an epoch that is not over
            by then are those of its steps so far; it is neither validated nor told to callbacks.
        resume : str or path, optional
            File of a `callbacks.Checkpoint`: training goes on where it was written, with all that belongs to
            it, as if it had never stopped. A missing file starts afresh. `epochs` counts from the very start;
            a run that had ended gives its History at once, and weights as they were then.
        comm : fastnn.distributed.MPIComm or SelfComm, optional
            Processes that train together, as ``fastnn.distributed.init()`` gives them. Each takes its share of every
            batch of x, which is ``fastnn.distributed.shard(x, y, comm)`` or the same arrays in all of them;
            callbacks and the progress bar are those of rank 0.

        Returns
        -------
        History

        Notes
        -----
        Arrays mapped from a file (`numpy.load(path, mmap_mode="r")`) may be of any size: nothing but the batch is
        held. Where they fit into memory, the default shuffle costs about what it costs in memory. Where they do
        not, it would fetch each sample from the disk by itself: `shuffle=w` mixes samples within windows of w,
        and a window is made of 32 pieces from all over the file, drawn anew in each epoch. So the disk is read in
        pieces of w / 32 samples, the next window while this one is trained on; about two windows should fit into
        memory. Files in order of their classes want large windows.

        An iterable is read by a thread of its own, a few batches ahead, while the engine trains; its errors
        come out of `fit`. Dropout is keyed by the update and the row in the batch, so the same batches give
        the same bits. A resumed run reads an iterable from its start and leaves out the batches that were
        trained on, or goes right to the next one where there are `__getitem__` and `__len__`.

        Raises
        ------
        NotCompiledError
            Without `compile`.
        ShapeError, DtypeError, ArgumentError
            Data that do not fit the model or each other.
        DataError
            A NaN, infinity or label out of range; the message says where. The weights are those of the last
            whole epoch.
        NonFiniteLossError
            The loss became NaN or infinite; the weights are those of the last finite epoch.
        """
        self._needs_compiled("fit")
        if comm is not None or hasattr(x, "comm"):
            from . import distributed

            x, y, sample_weight, comm = distributed.opened(x, y, sample_weight, comm)
            if comm.size == 1:
                comm = None
        given = feed.is_iterable_of_batches(x) and feed.Feed(x, "x")
        self._build_for(feed.split_batch(given.first())[0] if given and not self.built else x)
        self._needs_loss("fit")
        epochs = check_int("fit", "epochs", epochs, 0)
        initial_epoch = check_int("fit", "initial_epoch", initial_epoch, 0)
        check_verbose("fit", verbose)
        hooks = Hooks("fit", callbacks)
        if comm is not None and comm.rank > 0:
            hooks, verbose = Hooks("fit", None), 0
        validates, shuffle = validation_epochs(validation_freq), data.shuffle_of(shuffle)
        if steps_per_epoch is not None:
            steps_per_epoch = check_int("fit", "steps_per_epoch", steps_per_epoch, 1)
        if validation_steps is not None:
            validation_steps = check_int("fit", "validation_steps", validation_steps, 1)
        if max_seconds is not None:
            max_seconds = check_float("fit", "max_seconds", max_seconds, 0, exclusive=("low",))
        runtime = self._engine()
        with contextlib.ExitStack() as stack:
            drawn = seed is None
            seed = 0 if drawn else check_int("fit", "seed", seed, 0) & (1 << 64) - 1
            held_out = None
            if given:
                feed.check_alone("fit", given, y=y, sample_weight=sample_weight, batch_size=batch_size,
                                 validation_split=validation_split or None, indices=indices)
                if self.optimizer.full_batch:
                    raise ArgumentError(
                        f"fit: {type(self.optimizer).__name__} needs all samples in one batch, got an "
                        "iterable of batches; pass arrays"
                    )
                feed.check_walks("fit", given, steps_per_epoch, epochs - initial_epoch, "steps_per_epoch")
                if callable(shuffle):
                    raise ArgumentError("fit takes a function as shuffle for arrays, got an iterable of batches")
                source = stack.enter_context(
                    feed.Batches(
                        runtime, "train", given, self._prepare_batch(class_weight), steps_per_epoch, seed,
                        bool(shuffle), bool(check_finite),
                    )
                )
            else:
                arrays, count = self._bind_batch(x, y, sample_weight)
                selected = held_rows = None
                if indices is not None:
                    selected, held_rows = data.selections(indices, count, "indices")
                    count = len(selected)
                    if held_rows is not None and (validation_split or validation_data is not None):
                        raise ArgumentError(
                            "fit: indices name the rows to validate on, and so does "
                            f"{'validation_split' if validation_split else 'validation_data'}; leave one out"
                        )
                if validation_data is None and validation_split:
                    check_float("fit", "validation_split", validation_split)
                    if selected is not None:
                        [selected], [held_rows] = data.split([selected], validation_split)
                        count = len(selected)
                    else:
                        first, last = data.split(list(arrays.values()), validation_split)
                        first_row = first[0].shape[0]
                        held_out = dict(zip(arrays, last)), count - first_row, first_row, "", None
                        arrays, count = dict(zip(arrays, first)), first_row
                if held_rows is not None:
                    held_out = dict(arrays), len(held_rows), 0, "", held_rows
                self._weigh_classes(arrays, class_weight)
                rows = self._train_rows(batch_size, count)
                steps = -(-count // rows)
                if steps_per_epoch is not None:
                    steps = min(steps, steps_per_epoch)
                make = self.optimizer.driver or Arrays
                if comm is not None:
                    make = distributed.shares_of(comm, self.optimizer)
                rows_here = rows if comm is None else -(-rows // comm.size)
                session = stack.enter_context(runtime.session("train", rows_here, exchange=comm is not None))
                session.bind(arrays, rows=selected)
                source = make(self, session, arrays, selected, count, rows, steps, seed, shuffle, bool(check_finite))
            resumed = None
            if resume is not None:
                from . import checkpoint

                resumed = checkpoint.read(resume, self, source, not drawn)
            if comm is not None:
                distributed.require_same_start(comm, resumed)
            if drawn:
                source.seed = seeds.next_seed() if resumed is None else resumed.seed
            if comm is not None:
                source.seed = distributed.same_seed(comm, source.seed)
                stack.enter_context(source.interruptible())
            params = {
                "verbose": verbose, "epochs": epochs, "steps": source.steps, "batch_size": source.rows,
                "samples": source.count,
            }  # fmt: skip
            history = self.history = History(params, source.seed)
            validation = None
            if validation_data is not None or held_out is not None:
                evaluate = self._validator(
                    stack, runtime, validation_data, held_out, validation_batch_size, validation_steps, hooks,
                    check_finite, epochs - initial_epoch, resumed,
                )  # fmt: skip
                validation = evaluate, validates
            trainer = Trainer(self, history, runtime.engine, source, hooks, validation, max_seconds)
            trainer.run(initial_epoch, epochs, progress.make(verbose), resumed)
            if comm is not None:
                source.check()
        return history

    def _prepare_batch(self, class_weight=None):
        """A function that binds what an iterable yields: (arrays by tensor id, number of samples)."""

        def prepare(batch):
            arrays, count = self._bind_batch(*feed.split_batch(batch))
            self._weigh_classes(arrays, class_weight)
            return arrays, count

        return prepare

    def _validator(
        self, stack, runtime, given, held_out, batch_size, steps, hooks, check_finite, epochs, resumed
    ):
        """A function that gives the values on validation data; its session lives as long as `stack`."""
        if feed.is_iterable_of_batches(given):
            given = feed.Feed(given, "validation_data")
            feed.check_walks("fit", given, steps, epochs, "validation_steps")
            source = stack.enter_context(
                feed.Batches(
                    runtime, "evaluate", given, self._prepare_batch(), steps if given.once else None,
                    check_finite=check_finite,
                )
            )  # fmt: skip
            made = 0 if resumed is None else resumed.validations

            def evaluate():
                nonlocal made
                taken = made * steps if given.once and steps is not None else 0
                made += 1
                return self._evaluate_batches(source, steps, hooks, taken)

        else:
            arrays, count, *where = held_out or (
                *self._bind_validation(given), 0, " of validation_data", None,
            )  # fmt: skip
            rows = self._rows(batch_size, _PREDICT_ROWS, count)
            evaluator = stack.enter_context(runtime.session("evaluate", rows))
            evaluator.bind(arrays, *where)
            limit = -1 if steps is None else steps

            def evaluate():
                return self._evaluate(evaluator, count, rows, limit, check_finite, hooks)

        if not hooks:
            return evaluate

        def with_hooks():
            hooks("on_test_begin", {})
            values = evaluate()
            hooks("on_test_end", dict(zip(self._value_names, values)))
            return values

        return with_hooks

    def _bind_validation(self, validation_data):
        if not isinstance(validation_data, (list, tuple)) or len(validation_data) not in (2, 3):
            raise ArgumentTypeError(
                "validation_data needs a tuple (x, y) or (x, y, sample_weight), or an iterable of "
                f"batches, got {type(validation_data).__name__}"
            )
        x, y, *weight = validation_data
        return self._bind_batch(x, y, weight[0] if weight else None)

    def _evaluate(self, session, count, rows, steps, check_finite, hooks, show=None):
        before, after = self._batch_hooks(hooks, "test")
        for batch, done in enumerate(session.walk(count, rows, check_finite, steps, hook=before)):
            if after is not None:
                after(batch, dict(zip(self._value_names, self._values(session.results(), done))))
            if show is not None and show.live:
                show.update(done, self._value_names, self._values(session.results(), done))
        return self._values(session.results(), done)

    def _evaluate_batches(self, source, steps, hooks, taken=0, show=None):
        before, after = self._batch_hooks(hooks, "test")
        step, values = 0, None
        source.begin(0, 0, (), taken)
        try:
            while step != steps and step != source.steps:
                if before is not None:
                    before(step)
                done, finished = source.run(1, -1.0, 0.0)
                if finished:
                    break
                step += done
                if after is not None or (show is not None and show.live):
                    values = self._values(source.results(), source.seen(step))
                    if after is not None:
                        after(step - 1, dict(zip(self._value_names, values)))
                    if show is not None and show.live:
                        show.update(source.seen(step), self._value_names, values)
            return self._values(source.results(), source.seen(step))
        finally:
            source.end()

    @staticmethod
    def _batch_hooks(hooks, what):
        """(before, after) a batch, for where there are callbacks that want to know; else (None, None)."""
        begin, end = f"on_{what}_batch_begin", f"on_{what}_batch_end"
        if not hooks.any(begin, end):
            return None, None
        return lambda batch: hooks(begin, batch, {}), lambda batch, logs: hooks(end, batch, logs)

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size: int | str | None = None,
        verbose: int | str = "auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict: bool = False,
        *,
        check_finite: bool = True,
    ) -> Any:
        """Loss and metrics on arrays, or on an iterable of batches.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.
        batch_size : int or "full", optional
            As large as is fast by default; the values do not depend on it.
        verbose : {"auto", 0, 1, 2}
            As in `fit`, but "auto" is silent.
        steps : int, optional
            At most so many batches.
        callbacks : list, optional
            See `fastnn.callbacks`; those with `on_test_batch_begin` or `on_test_batch_end` make every batch
            an engine call of its own.
        return_dict : bool, default False
        check_finite : bool, default True
            Refuse NaN and infinities in the data.

        Returns
        -------
        float, list of float or dict
            The loss; with metrics a list in the order of `metrics_names`; a dict by name for `return_dict`.
        """
        self._needs_compiled("evaluate")
        given = feed.is_iterable_of_batches(x) and feed.Feed(x, "x")
        self._build_for(feed.split_batch(given.first())[0] if given and not self.built else x)
        check_verbose("evaluate", verbose)
        hooks = Hooks("evaluate", callbacks)
        if steps is not None:
            steps = check_int("evaluate", "steps", steps, 1)
        runtime, count = self._engine(), None
        with contextlib.ExitStack() as stack:
            if given:
                feed.check_alone("evaluate", given, y=y, sample_weight=sample_weight, batch_size=batch_size)
                source = stack.enter_context(
                    feed.Batches(
                        runtime, "evaluate", given, self._prepare_batch(), steps, check_finite=check_finite
                    )
                )
            else:
                arrays, count = self._bind_batch(x, y, sample_weight)
                rows = self._rows(batch_size, _PREDICT_ROWS, count)
                session = stack.enter_context(runtime.session("evaluate", rows))
                session.bind(arrays)
            show = progress.make(0 if verbose == "auto" else verbose)
            hooks("set_model", self)
            hooks("on_test_begin", {})
            show.start("Evaluate", count)
            try:
                if given:
                    values = self._evaluate_batches(source, steps, hooks, 0, show)
                else:
                    limit = -1 if steps is None else steps
                    values = self._evaluate(session, count, rows, limit, check_finite, hooks, show)
                show.finish(self._value_names, values)
            finally:
                show.close()
        hooks("on_test_end", dict(zip(self._value_names, values)))
        return self._returned(values, return_dict)

    def _returned(self, values, return_dict):
        if return_dict:
            return dict(zip(self._value_names, values))
        return values[0] if len(values) == 1 else values

    def predict(
        self,
        x,
        batch_size: int | str | None = None,
        verbose: int | str = "auto",
        steps=None,
        callbacks=None,
        *,
        check_finite: bool = True,
    ) -> Any:
        """Outputs for arrays, or for the batches of an iterable.

        Parameters
        ----------
        x : array_like, shape (n, ...), or list or dict of them; or an iterable
            Of an iterable's batches, see `fit`, targets and weights are left alone.
        batch_size : int or "full", optional
            As large as is fast by default; the outputs do not depend on it.
        verbose : {"auto", 0, 1, 2}
            As in `fit`, but "auto" is silent.
        steps : int, optional
            At most so many batches.
        callbacks : list, optional
            See `fastnn.callbacks`; those with `on_predict_batch_begin` or `on_predict_batch_end` make every
            batch an engine call of its own.
        check_finite : bool, default True
            Refuse NaN and infinities in `x`.

        Returns
        -------
        ndarray, shape (n, ...), or list or dict of them
            As the model's outputs were given; of the model's dtype. For arrays of another library, such as
            tensors of PyTorch, arrays of that library; for data frames NumPy's.
        """
        check_verbose("predict", verbose)
        hooks = Hooks("predict", callbacks)
        show = progress.make(0 if verbose == "auto" else verbose)
        steps = -1 if steps is None else check_int("predict", "steps", steps, 1)
        hooks("set_model", self)
        hooks("on_predict_begin", {})
        if feed.is_iterable_of_batches(x):
            made = self._predict_batches(feed.Feed(x, "x"), batch_size, check_finite, steps, show, hooks)
        else:
            made = self._run_forward(x, batch_size, check_finite, False, steps, show, hooks)
        hooks("on_predict_end", {})
        return made if type(x) is np.ndarray else data.like(x, made)

    def _predict_batches(self, given, batch_size, check_finite, steps, show, hooks):
        feed.check_alone("predict", given, batch_size=batch_size)
        before, after = self._batch_hooks(hooks, "predict")
        parts, count = [], 0
        show.start("Predict", None)
        batches = feed.ahead(given, steps if steps > 0 else None, lambda batch: feed.split_batch(batch)[0])
        try:
            for i, x in enumerate(batches):
                if before is not None:
                    before(i)
                parts.append(flatten(self._run_forward(x, "full", check_finite, False), "outputs")[0])
                if after is not None:
                    after(i, {"outputs": shape_like(self._output_form, parts[-1])})
                count += len(parts[-1][0])
                show.update(count, (), ())
            show.finish((), ())
        finally:
            batches.close()
            show.close()
        if not parts:
            raise ArgumentError("predict needs at least one batch, got an empty iterable")
        return shape_like(self._output_form, [np.concatenate(part) for part in zip(*parts)])

    def _run_forward(self, x, batch_size, check_finite, training, steps=-1, show=None, hooks=None):
        self._build_for(x)
        arrays, count = self._bind_inputs(x)
        rows = self._rows(batch_size, _PREDICT_ROWS, count)
        if steps * rows > 0 and steps * rows < count:
            count = steps * rows
            arrays = {id: array[:count] for id, array in arrays.items()}
        try:
            made = [np.empty((count, *t.shape[1:]), self.dtype) for t in self._outputs]
        except MemoryError as error:
            raise OutOfMemoryError(
                f"out of memory for the outputs of {count} samples; predict fewer at a time"
            ) from error
        seed = seeds.next_seed() if training else 0
        with self._engine().session("predict", rows, training) as session:
            session.bind(arrays)
            session.bind(dict(zip(self._output_ids, made)))
            if show is None:
                for _ in session.walk(count, rows, check_finite, seed=seed):
                    pass
            else:
                before, after = self._batch_hooks(hooks, "predict")
                show.start("Predict", count)
                try:
                    walk = session.walk(count, rows, check_finite, seed=seed, hook=before)
                    for batch, done in enumerate(walk):
                        if after is not None:
                            part = [array[batch * rows : done] for array in made]
                            after(batch, {"outputs": shape_like(self._output_form, part)})
                        show.update(done, (), ())
                    show.finish((), ())
                finally:
                    show.close()
        return shape_like(self._output_form, made)

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict: bool = False, *, check_finite: bool = True
    ) -> Any:
        """One optimizer step on all samples given.

        Returns
        -------
        float, list of float or dict
            Loss and metrics of the batch before the step, as `evaluate` returns them.

        Notes
        -----
        Dropout is keyed by the step and the row, with a seed that is drawn at the first call.
        """
        self._needs_compiled("train_on_batch")
        self._build_for(x)
        self._needs_loss("train_on_batch")
        if self.optimizer.driver is not None:
            raise ArgumentError(
                f"train_on_batch takes one step on one batch, but {type(self.optimizer).__name__} goes on "
                "from what it learnt of all samples; use fit"
            )
        arrays, count = self._bind_batch(x, y, sample_weight)
        self._weigh_classes(arrays, class_weight)
        if self._batch_seed is None:
            self._batch_seed = seeds.next_seed()
        runtime = self._engine()
        engine = runtime.engine
        step = engine.iterations
        engine.snapshot()
        with runtime.session("train", count) as session:
            session.bind(arrays)
            session.begin(count, count, False, bool(check_finite), self._batch_seed, step, 0)
            try:
                session.run(1, -1.0, self.optimizer.learning_rates(step, 1))
            except NonFiniteLossError:
                engine.restore()
                raise NonFiniteLossError(
                    f"the loss of this batch is NaN or infinite at update {step} (counted from 0); the "
                    "weights are those before it: lower the learning rate, set clipnorm, or scale the "
                    "data",
                    step=step,
                ) from None
            values = self._values(session.results(), count)
        return self._returned(values, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch, as `evaluate` returns them."""
        return self.evaluate(
            x, y, batch_size="full", verbose=0, sample_weight=sample_weight, return_dict=return_dict
        )

    def predict_on_batch(self, x) -> Any:
        """Outputs for one batch, as `predict` returns them."""
        return self.predict(x, batch_size="full", verbose=0)

    def gradients(
        self, x, y=None, sample_weight=None, with_inputs=False, training=False, *, check_finite=True
    ):
        """Gradients of the total loss, penalties included, over all samples as one batch.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.
        with_inputs : bool, default False
            Also return the gradients by the inputs.
        training : bool, default False
            Whether dropout is active.
        check_finite : bool, default True
            Refuse NaN and infinities in the data.

        Returns
        -------
        gradients : dict of str to ndarray
            By parameter name, for the trainable parameters in the order of `get_weights`; zeros where the
            loss does not depend on one.
        by_inputs : ndarray, or list or dict of ndarray
            Only for `with_inputs`: shaped like x; zeros for integer inputs.
        """
        seed = seeds.next_seed() if training else 0
        with self._differentiated("gradients", x, y, sample_weight, training, seed, 0, check_finite) as found:
            _, read, count = found
            gradients = {p.name: read(id, p.shape) for id, p in self._params if p.trainable}
            if not with_inputs:
                return gradients
            by_inputs = [read(id, (count, *t.shape[1:])) for id, t in zip(self._input_ids, self._inputs)]
        return gradients, shape_like(self._input_form, by_inputs)

    def loss_and_gradients(self, x, y=None, sample_weight=None, *, training=True, check_finite=True):
        """The total loss, penalties included, and its gradients, over all samples as one batch.

        With `optimizer.apply(gradients)`, or an update of one's own by `Parameter.assign`, this is a training
        step by hand: the same bits as `train_on_batch` gives.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.
        training : bool, default True
            Whether layers act as in training: dropout, statistics of the batch. Running statistics stay as
            they are; `fit` and `train_on_batch` move them.
        check_finite : bool, default True
            Refuse NaN and infinities in the data.

        Returns
        -------
        loss : float
        gradients : dict of str to ndarray
            As `gradients` returns them.
        """
        if self._batch_seed is None:
            self._batch_seed = seeds.next_seed()
        step = self._engine().engine.iterations if self._compiled else 0
        with self._differentiated(
            "loss_and_gradients", x, y, sample_weight, training, self._batch_seed, step, check_finite
        ) as found:
            loss, read, _ = found
            return loss, {p.name: read(id, p.shape) for id, p in self._params if p.trainable}

    def explain_step(self, x, y=None, *, training=False, precision=4, max_elements=16):
        r"""One forward and backward pass of one sample as numbered arithmetic, to print or show in a notebook.

        Each step names a value, its formula and today's numbers: the outputs r of the layers, the loss, then by
        the chain rule every gradient, with a mark on those that back-propagation computes once and uses again.
        At the end stands what the optimizer makes of it. The model itself does not change.

        Parameters
        ----------
        x, y
            As in `fit`, with one sample: ``x[:1], y[:1]``.
        training : bool, default False
            Whether layers act as in training: dropout, statistics of the batch.
        precision : int, default 4
            Significant digits that are written; the numbers behind them are float64.
        max_elements : int, default 16
            Tensors of more elements, and sums of more terms, are abbreviated. At least 4.

        Returns
        -------
        fastnn.explanation.Explanation
            ``print(explanation)``, ``explanation.html()``, ``explanation.latex()``, and ``explanation.steps``.
            Its `gradients` are those of `gradients`, computed apart from the engine.

        Raises
        ------
        NotCompiledError
            If the model was compiled without a loss, or not at all.
        ShapeError
            If there is more than one sample.
        DataError
            As in `fit`.

        Examples
        --------
        >>> import fastnn as fnn
        >>> model = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1, name="neuron")], dtype="float64")
        >>> model.set_weights([[[0.5], [-1.0]], [0.25]])
        >>> model.compile(fnn.optimizers.SGD(0.1), "mse")
        >>> explanation = model.explain_step([[2.0, 1.0]], [[1.0]])
        >>> for step in explanation.steps:
        ...     print(step.formula, *step.numbers, sep="\n    ")
        r₁ = A₁ r₀ + b₁
            r₁[0] = 0.5·2 - 1·1 + 0.25 = 0.25
        L = (r₁ - y)²
            L = (0.25 - 1)² = 0.5625
        ∂L/∂r₁ = 2 · (r₁ - y)
            ∂L/∂r₁[0] = 2·(0.25 - 1) = 2·(-0.75) = -1.5
        ∂L/∂b₁ = ∂L/∂r₁ · ∂r₁/∂b₁ = ∂L/∂r₁
            ∂L/∂b₁ = [-1.5]
        ∂L/∂A₁ = ∂L/∂r₁ · ∂r₁/∂A₁ = ∂L/∂r₁ r₀ᵀ
            ∂L/∂A₁[0,0] = -1.5·2 = -3
            ∂L/∂A₁[0,1] = -1.5·1 = -1.5
        A₁ ← A₁ - 0.1 · ∂L/∂A₁
            A₁[0,0] ← 0.5 - 0.1·(-3) = 0.8
            A₁[0,1] ← -1 - 0.1·(-1.5) = -0.85
        b₁ ← b₁ - 0.1 · ∂L/∂b₁
            b₁[0] ← 0.25 - 0.1·(-1.5) = 0.4
        """
        from .explanation.build import explain_step

        return explain_step(self, x, y, training, precision, max_elements)

    @contextlib.contextmanager
    def _differentiated(self, what, x, y, sample_weight, training, seed, epoch, check_finite):
        """Runs one batch for its gradients: (loss, function of tensor id and shape, number of samples)."""
        self._needs_compiled(what)
        self._build_for(x)
        self._needs_loss(what)
        arrays, count = self._bind_batch(x, y, sample_weight)
        index = self._compiled.gradients
        with self._engine().session("gradients", count, bool(training)) as session:
            session.bind(arrays)
            session.begin(count, count, False, bool(check_finite), seed, epoch, 0)
            session.run(-1, -1.0, 0.0)

            def read(id, shape):
                out = np.zeros(shape, self.dtype)
                if id in index:
                    session.session.gradient(index[id], out)
                return out

            yield self._losses(session.results(), count)[0], read, count

    def _apply_gradients(self, gradients):
        """See `Optimizer.apply`."""
        from .updater import Updater

        self._needs_compiled("apply")
        self._needs_built("apply")
        self._needs_loss("apply")
        runtime = self._engine()
        if self._updater is None or self._updater[0] is not runtime:
            self._updater = runtime, Updater(self)
        self._updater[1].apply(gradients, [p.name for _, p in self._params if p.trainable])

    def freeze(self, weights=None, validation_data=None) -> Predictor | StructuredPredictor:
        """A Predictor: a snapshot of the network and its weights for the fastest calls.

        Parameters
        ----------
        weights : {None, "int8", "bfloat16"}, optional
            How the kernels of products are kept; None keeps them as they are. One sample through a wide net
            takes as long as its weights take to be read, so fewer bytes are fewer microseconds.

            - "int8": a quarter of the bytes. Each column of a kernel is rounded to 127 steps of its largest
              magnitude on either side of 0, the rows that are multiplied with it to integers of 14 bits; their
              products are summed exactly. The results have the same bits on every machine.
            - "bfloat16": half of the bytes: kernels, and the rows multiplied with them, keep 8 significant
              bits; sums are float32.
        validation_data : (x, y), (x, y, sample_weight) or x, optional
            What to measure the cost of fewer bits on: how the compiled loss and metrics change for x and y,
            and how far the outputs move.

        Returns
        -------
        Predictor
            Later training does not change it. It can be saved, and called from many threads. Its `report`
            says what fewer bits save and cost.

        Raises
        ------
        UnknownNameError, DtypeError
            For other weights, or for weights of fewer bits of a model that is not float32.

        Examples
        --------
        >>> import numpy as np, fastnn as fnn
        >>> x = np.random.default_rng(0).normal(size=(200, 64)).astype("float32")
        >>> y = (x[:, 0] > 0).astype("int32")
        >>> model = fnn.Sequential([fnn.Input((64,)), fnn.layers.Dense(2, "softmax")])
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        >>> predict_one = model.freeze(weights="int8", validation_data=(x, y))
        >>> predict_one.report.samples
        200
        """
        from .predictor import Predictor

        self._needs_built("freeze")
        if weights is None and validation_data is not None:
            raise ArgumentError(
                "freeze measures on validation_data what weights of fewer bits cost; pass weights='int8' or "
                "'bfloat16' too"
            )
        return Predictor.of(self, weights, validation_data)

    # -- files --

    def save(self, filepath: StrPath, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write the model to one file: layers, weights, compile settings and optimizer state.

        Parameters
        ----------
        filepath : str or path
            Any extension but those of other formats; ".fnn" by custom.
        overwrite : bool, default True
            Whether an existing file may be replaced.
        include_optimizer : bool, default True
            Keep the compile settings and the optimizer's state, so that training goes on after `fastnn.load`.

        Raises
        ------
        FileAccessError
            If the file cannot be written; an old one stays as it was.
        ArgumentError
            For the extension of another format.
        """
        from . import io

        io.save(self, filepath, overwrite, include_optimizer)

    def save_weights(self, filepath: StrPath, overwrite: bool = True) -> None:
        """Write the parameters alone, by name, to one file; see `load_weights`."""
        from . import io

        io.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: StrPath, skip_mismatch: bool = False) -> None:
        """Read parameters, all of them or none: from fastnn's files, Keras's, safetensors or a mapping.

        Parameters
        ----------
        filepath : str, path or mapping of str to array_like
            A file of `save_weights` or `save`; weights of Keras (``.weights.h5``, ``.h5``, ``.keras``; extra
            `keras`); a safetensors file; or a mapping of names to arrays or tensors, such as a `state_dict`.
        skip_mismatch : bool, default False
            Leave parameters as they are whose name or shape does not fit, instead of raising.

        Raises
        ------
        FileFormatError
            If the file is damaged or of another kind. Pickles (``.pt``, ``.pth``) are refused; the message holds
            the line that converts them.
        ShapeError, UnknownNameError, ArgumentError
            If names or shapes do not fit, or leave open what belongs where; no parameter is changed then.

        Notes
        -----
        Keras's files go by the names of layers where they are those of this model; else, as in Keras, by class
        and count, and older files by order.

        Tensors go by name where the names are those of `parameters`. In PyTorch's naming, such as "fc.weight",
        they go to the layer named as their module, and the modules that are left to the layers that are left,
        in order; roles and shapes must be the same. "weight" is the transposed kernel of a Dense layer, gamma,
        embeddings or alpha, "bias" is bias or beta, "running_mean" and "running_var" are the moving statistics.
        The order of a `state_dict` counts. A safetensors file has none: layers of the same shapes must then have
        names of their own, or names that differ in numbers alone.
        """
        from . import io

        io.load_weights(self, filepath, skip_mismatch)

    def export(self, filepath: StrPath, overwrite: bool = True) -> None:
        """Write what the network computes outside training, for other runtimes: see `fastnn.onnx.to_onnx`.

        Parameters
        ----------
        filepath : str or path
            Its extension says the format; ".onnx" is known.
        overwrite : bool, default True
            Whether an existing file may be replaced.

        Raises
        ------
        UnknownNameError
            For another extension.
        FileAccessError
            If the file cannot be written; an old one stays as it was.
        MissingExtraError
            Without the extra `onnx`.
        """
        from . import onnx

        self._needs_built("export")
        onnx.export(self, filepath, overwrite)

    def export_c(self, filepath: StrPath, name: str | None = None, overwrite: bool = True) -> None:
        """Write what the network computes outside training as a C header, for microcontrollers.

        The header holds the weights as constant arrays and a function ``net_predict`` of straight-line code for one
        sample; it needs no library but that of C, allocates nothing and keeps no state. It is C99 and C++11, and the
        same model gives the same text. What it computes is what `freeze` gives, in float32 or float64;
        ``model.freeze(weights="int8").export_c(...)`` has int8 kernels and computes as that Predictor does.

        Parameters
        ----------
        filepath : str or path
            Ends in ".h", ".hh" or ".hpp".
        name : str, optional
            What all names in it begin with: by default that of the file, "net" for "net.h".
        overwrite : bool, default True
            Whether an existing file may be replaced.

        Raises
        ------
        UnsupportedError
            If the model holds lookups of text or integers, or layers that read all rows of a batch at once, as by
            ``ops.mean(x, axis=0)``; the message lists all of it.
        UnknownNameError, ArgumentError, ArgumentTypeError
            For another extension, or a name that C cannot have.
        FileAccessError
            If the file cannot be written; an old one stays as it was.

        Notes
        -----
        The memory that a prediction needs is one struct, ``net_scratch``, of the caller: static, or on the stack. The
        header's first comment shows the call; sizes are ``NET_INPUTS`` and ``NET_OUTPUTS``, names of features and
        classes stand in ``net_feature_names`` and ``net_class_names`` where the model has them. A model's `features`
        are not part of it: its input are the encoded columns. Sparse inputs are given as dense rows. Where inputs are
        integers, the function returns 0, or the number of the input in which one is out of range.

        With fused multiply-add, products and activations have the bits that `freeze` gives on such a CPU. Sums of
        softmax, normalization and ``ops.sum`` go in an order of their own, and are equal up to rounding; an int8 or
        bfloat16 product behind such a sum may round a number of its row to the other side.

        Examples
        --------
        >>> import fastnn as fnn, tempfile
        >>> model = fnn.Sequential([fnn.Input((4,)), fnn.layers.Dense(3, "softmax")])
        >>> model.export_c(f"{tempfile.mkdtemp()}/net.h")
        """
        from .c_header import export_c

        self._needs_built("export_c")
        export_c(self.freeze(), filepath, name, overwrite)

    def to_keras(self):
        """The same network as a live Keras model, with the weights and names, not compiled.

        A sparse input is sparse with the backends TensorFlow and JAX, and dense with others.

        Returns
        -------
        keras.Sequential or keras.Model

        Raises
        ------
        MissingExtraError
            If Keras 3 is not installed, or TensorFlow, which its lookups need.
        UnsupportedError
            If it holds what Keras does not have; the message lists all of it.
        """
        from .interop import keras

        return keras.to_keras(self)

    def to_torch(self):
        """The same network as a PyTorch module in evaluation mode, with the weights.

        Where an input is sparse, the module takes dense rows, and also sparse CSR tensors.

        Returns
        -------
        torch.nn.Sequential or torch.fx.GraphModule
            The latter where the network is no chain of modules; both can be trained, moved and saved. Modules are
            named as the layers, a chain of names with dots such as "encoder.0" becomes nested Sequentials.

        Raises
        ------
        MissingExtraError
            If PyTorch is not installed.
        UnsupportedError
            If it holds what PyTorch does not have, such as lookups of text; the message lists all of it.
        """
        from .interop import torch

        return torch.to_torch(self)

    def __reduce__(self):
        from . import io

        return io.from_bytes, (io.to_bytes(self),)

    def get_config(self) -> dict[str, Any]:
        """The layers and how they are connected, as a dict that JSON can hold; see `from_config`."""
        from . import io

        self._needs_built("get_config")
        return io.describe(self)

    @classmethod
    def from_config(cls, config):
        """A model with fresh weights from what `get_config` returned; only fastnn's layers are known."""
        from . import io

        return io.rebuild(config)

    # -- text --

    def summary(self, line_length: int | None = None, print_fn: Callable[[str], object] | None = None) -> None:
        """Print a table of the layers: output shapes, parameters, and operations for one sample.

        Below it stand the memory that the parameters take, and for one sample that of what the layers
        return and the floating-point operations of `predict`: a multiplication and an addition count 2, an
        activation 1 for each element.

        Parameters
        ----------
        line_length : int, optional
            Width of the table.
        print_fn : callable, optional
            Gets the text instead of the screen.
        """
        text = "\n".join(self._summary_lines(line_length))
        (print if print_fn is None else print_fn)(text)

    def plot(self, ax=None, **how):
        """Draw the layers with shapes, parameters, memory and operations; see `fastnn.plot.architecture`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from . import plot

        return plot.architecture(self, ax=ax, **how)

    def _summary_rows(self, flops):
        """Texts of each layer's row; `flops` by layer."""
        rows = [("Layer (type)", "Output shape", "Params", "FLOPs")]
        for layer in self._layers:
            made = [t for call in layer._calls for t in call.outputs]
            shape = str(made[0].shape) if made else "?"
            rows.append(
                (
                    f"{layer.name} ({type(layer).__name__})",
                    shape,
                    f"{sum(p.size for p in layer.weights):,}" if layer.built or made else "?",
                    f"{flops.get(layer, 0):,}" if self.built else "?",
                )
            )
        return rows

    def _costs(self):
        """(operations by layer, numbers that layers return), for one sample; nothing before it is built."""
        from . import costs

        flops, values = {}, 0
        for cost in costs.per_call(self) if self.built else ():
            layer = cost.call.layer
            flops[layer] = flops.get(layer, 0) + cost.flops
            values += cost.values
        return flops, values

    def _summary_lines(self, line_length=None):
        flops, values = self._costs()
        rows = self._summary_rows(flops)
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        others = sum(widths[1:]) + 6
        if line_length is not None:
            length = check_int("summary", "line_length", line_length, 1)
            widths[0] = max(8, min(widths[0], length - others))
        rows = [
            f"{a[: widths[0]]:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in rows
        ]
        yield f'Model: "{self.name}"'
        yield rows[0]
        yield "-" * (widths[0] + others)
        yield from rows[1:]
        yield "-" * (widths[0] + others)
        total = sum(p.size for p in self.weights)
        trainable = sum(p.size for p in self.trainable_weights)
        size = np.dtype(self.dtype or check_dtype(None)).itemsize
        yield f"Total params: {total:,} ({bytes_text(total * size)})"
        yield f"Trainable params: {trainable:,} ({bytes_text(trainable * size)})"
        yield f"Non-trainable params: {total - trainable:,} ({bytes_text((total - trainable) * size)})"
        if self.built:
            memory = bytes_text(values * size)
            yield f"For one sample: {sum(flops.values()):,} FLOPs, {memory} of layer outputs"

    def __repr__(self):
        state = "compiled" if self._settings is not None else "not compiled"
        if not self.built:
            return f"<{type(self).__name__} {self.name!r}: {len(self._layers)} layers, not built, {state}>"
        return (
            f"<{type(self).__name__} {self.name!r}: {self.input_shape} -> {self.output_shape}, "
            f"{sum(p.size for p in self.weights):,} parameters, {self.dtype_policy}, {state}>"
        )

    def _repr_html_(self):
        from html import escape

        head, *rows = self._summary_rows(self._costs()[0])
        head = "".join(f"<th>{cell}</th>" for cell in head)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return (
            f"<p>{escape(repr(self))}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


class Sequential(Model):
    """A model whose layers follow one another.

    Parameters
    ----------
    layers : list of Layer, optional
        Without an `Input` in front, the first data or tensor that it sees gives the input shape.
    name, dtype, device, trainable
        As in Model.
    """

    def __init__(
        self,
        layers=None,
        name: str | None = None,
        dtype: str | None = None,
        device="cpu",
        trainable: bool = True,
    ) -> None:
        self._layers: list = []
        self._made: list = []
        self._source = None
        self._prepare(name, dtype, device, trainable)
        if layers is not None and not isinstance(layers, (list, tuple)):
            raise ArgumentTypeError(f"Sequential takes a list of layers, got {type(layers).__name__}")
        for layer in layers or ():
            self._append(layer)
        self._chain()

    def add(self, layer) -> None:
        """Append a layer, or an `Input` in front. A compiled model keeps its settings, not its moments.

        Raises
        ------
        ArgumentTypeError
            If it is not a layer.
        """
        self._append(layer)
        try:
            self._chain()
        except BaseException:
            self._layers.pop()
            self._chain()
            raise

    def _append(self, layer):
        if isinstance(layer, Layer):
            if any(other.name == layer.name for other in self._layers):
                raise ArgumentError(
                    f"{self._label} has a layer named {layer.name!r} already; give each a name of its own"
                )
            if self._source is None and not self._layers:
                self._source = _input_for(layer)
            self._layers.append(layer)
        elif not isinstance(layer, Tensor):
            raise ArgumentTypeError(
                f"{self._label} is made of layers, got {type(layer).__name__}; for example Dense(10)"
            )
        elif layer.call.inputs:
            raise GraphError(
                f"{self._label} begins with an Input, got the output of layer {layer.call.layer.name!r}"
            )
        elif self._source is not None or self._layers:
            raise GraphError(
                f"{self._label} takes an Input only in front, but has {len(self._layers)} layers already"
            )
        else:
            self._source = layer

    def pop(self) -> None:
        """Take the last layer off and return it."""
        if not self._layers:
            raise ArgumentError(f"{self._label} has no layers to take off")
        layer = self._layers.pop()
        self._chain()
        return layer

    def build(self, shape=None) -> None:
        """Make the parameters for inputs of `shape`, the batch (None) included."""
        if self._source is None and shape is not None:
            self._begin_with(
                Input(tuple(shape)[1:], dtype=self._layers[0].input_dtype if self._layers else None)
            )

    def _begin_with(self, source):
        self._source = source
        try:
            self._chain()
        except BaseException:
            self._source = None
            raise

    def _chain(self):
        """Connects the layers from the source on, where it is known."""
        self.built = False
        self._compiled = self._runtime = None
        del self._made[len(self._layers) :]
        if self._source is None or not self._layers:
            return
        while len(self._made) < len(self._layers):
            self._made.append(self._layers[len(self._made)](self._made[-1] if self._made else self._source))
        layers = self._layers
        self._wire(self._source, self._made[-1])
        self._layers = layers  # without the Input, as in Keras

    def ensure_built(self, shape):
        """Make the parameters if that has not happened yet."""
        if not self.built:
            self.build(shape)
            self._needs_built("calling it")

    def _build_for(self, x):
        if self.built:
            return
        width = self._tabular.width(x) if self._source is None else None
        if width is not None:
            self.build((None, width))
        elif self._source is None and self._layers and x is not None:
            what = f"the input of {self._label}"
            [array] = data.by_name(x, ["x"], what)
            array = (raw_array if isinstance(self._layers[0], Lookup) else data.as_samples)(array, what)
            if isinstance(array, Rows):
                self._begin_with(Input(array.shape[1:], sparse=True))
            else:
                self.build((None, *(array.shape[1:] or (1,))))
        self._needs_built("running it")


def _input_for(layer):
    """The Input that the first layer of a Sequential asks for, None where it takes any."""
    if isinstance(layer, Model) and layer.built and len(layer.inputs) == 1:
        return Input(layer.input_shape[1:], dtype=layer.inputs[0].dtype, sparse=layer.inputs[0].sparse)
    return None if layer._first_shape is None else Input(layer._first_shape, dtype=layer.input_dtype)


def bytes_text(count):
    """A number of bytes with a unit."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
