"""Model files.

One file holds a model, in the container of safetensors (see `_safetensors`), so other tools read the weights:

- tensors "dense/kernel", "dense/bias", ...: the parameters by name, row-major, kernels as (in, out);
- tensors "optimizer/slot0/dense/kernel", ...: the optimizer's moments of each parameter that is trained;
- tensors "constant/0", ...: arrays that functions of the user's own use;
- "optimizer/iterations" (int64): updates made; "generator/batch_seed" (uint64): what keys `train_on_batch`;
- metadata "checksum": SHA-256 of the file with these 64 digits as "0"; it stands first;
- metadata "format": "fastnn 1"; "kind": "model", "weights", "predictor" or "checkpoint" (see `checkpoint`);
  "producer": who wrote it;
- metadata "program": the Program that runs, as text; after `compile` also backward pass and updates;
- metadata "config": JSON that describes the layers and their connections;
- metadata "report": JSON of what a predictor's weights of fewer bits cost (see `narrow.Report`);
- metadata "compile": JSON of the compile settings, where the optimizer is included;
- metadata "features": JSON of what makes the input of a table, as `preprocessing.Features.get_config` gives it:
  {"columns": names, or their number, "steps": [{"kind": name in `preprocessing.steps`, **arguments}]};
- metadata "names": JSON {"features": names of the input's columns, "classes": names of the output's numbers},
  each where it is known.

Limits: header 100 MiB, 2^20 tensors, names of 1024 bytes, 8 dimensions, 2^40 elements a tensor.
Reading takes the memory of the parameters and of one tensor. Files are written beside their target, synced
and renamed. Nothing that a file names is imported or called: layers, losses and optimizers are looked up in
fastnn's own tables, and layers, activations and regularizers of the user's own live on as what they emitted;
a layer that is in no table, as the nodes of the model's Program.

A file that any version of fastnn wrote loads in every later one, with the same predictions, and goes on
training: tests/golden/files keeps one of every kind of each format, and tests/test_files.py reads them.
"""

from __future__ import annotations

import functools
import io as _io
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from . import _core, losses, metrics, optimizers, regularizers
from . import model as models
from ._safetensors import Reader, is_own, parse_json, write, write_atomically
from .config import version
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    FastNNError,
    FileAccessError,
    FileFormatError,
    GraphError,
    OutOfMemoryError,
    ShapeError,
    UnknownNameError,
)
from .graph import Program, calls_between
from .layers.base import Layer, Parameter, registry
from .layers.core import Input
from .layers.traced import TracedLayer
from .rows import TracedRows
from .tabular import Tabular

if TYPE_CHECKING:
    from ._typing import Any, StrPath
    from .model import Model

FORMAT = "fastnn 1"

# What to do with a file of a kind that does not fit, if not `fastnn.load`.
_KINDS = {
    "weights": "use model.load_weights(path) on a model",
    "checkpoint": "pass it to model.fit(..., resume=path)",
}

# Beginnings of the names of tensors that are none of a model's weights.
_NO_WEIGHTS = ("constant/", "generator/", "optimizer/")

_FOREIGN_EXTENSIONS = (".keras", ".h5", ".hdf5", ".onnx", ".pt", ".pth")


# ---- paths ----


def _path(what, filepath):
    try:
        path = os.fsdecode(filepath)
    except TypeError:
        raise ArgumentTypeError(
            f"{what} needs a path, got {type(filepath).__name__}; for example 'model.fnn'"
        ) from None
    if "\0" in path or not path:
        raise ArgumentError(f"{what} needs a path, got {path!r}; for example 'model.fnn'")
    return path


def _checked_path(filepath, overwrite=True):
    path = _path("save", filepath)
    extension = os.path.splitext(path)[1].lower()
    if extension in _FOREIGN_EXTENSIONS:
        raise ArgumentError(
            f"save writes fastnn's own files, got the extension {extension!r} of another format; use '.fnn'"
        )
    if not overwrite and os.path.exists(path):
        raise ArgumentError(f"'{path}' exists already; pass overwrite=True or another path")
    return path


def _open(filepath):
    path = _path("load", filepath)
    try:
        return open(path, "rb")
    except OSError as error:
        raise FileAccessError(
            f"cannot read '{path}': {error.strerror or error}; check the path",
            errno=error.errno,
            filename=path,
        ) from error


@functools.cache
def _producer():
    return f"fastnn {version()}"


# ---- writing ----


def save(model, filepath: StrPath, overwrite: bool = True, include_optimizer: bool = True) -> None:
    """See `Model.save`."""
    path = _checked_path(filepath, overwrite)
    tensors, metadata = _model_content(model, include_optimizer)
    write_atomically(path, lambda file: write(file, tensors, metadata))


def save_weights(model, filepath: StrPath, overwrite: bool = True) -> None:
    """See `Model.save_weights`."""
    path = _checked_path(filepath, overwrite)
    model._needs_built("saving weights")
    metadata = {"format": FORMAT, "kind": "weights", "producer": _producer()}
    write_atomically(path, lambda file: write(file, _parameters(model), metadata))


def save_predictor(predictor, filepath, overwrite=True):
    """See `Predictor.save`."""
    path = _checked_path(filepath, overwrite)
    tensors, metadata = _predictor_content(predictor)
    write_atomically(path, lambda file: write(file, tensors, metadata))


def to_bytes(obj):
    """The file of a Model or Predictor as bytes."""
    file = _io.BytesIO()
    write(file, *(_model_content(obj, True) if isinstance(obj, models.Model) else _predictor_content(obj)))
    return file.getvalue()


def _parameters(model):
    return [(p.name, p.dtype, p.shape, lambda v=v: v) for p, v in model._values_of_params()]


def _model_content(model, include_optimizer):
    model._needs_built("saving it")
    metadata = {
        "format": FORMAT,
        "kind": "model",
        "producer": _producer(),
        "program": model.program.text(),
        "config": _dumps(describe(model)),
        **model._tabular.metadata(),
    }
    if not include_optimizer or model._settings is None:
        return _parameters(model), metadata
    metadata["compile"] = _dumps({key: _plain(value) for key, value in _settings(model).items()})
    if model._runtime is None:
        tensors, iterations = _parameters(model), 0
    else:
        moments = _moments(model)
        values, iterations = model._runtime.read((id, slot) for _, id, slot, _ in moments)
        entries = [(p.name, id, -1, p) for id, p in model._stored_params()] + moments
        tensors = [(name, p.dtype, p.shape, lambda v=values[id, slot]: v) for name, id, slot, p in entries]
    tensors.append(("optimizer/iterations", np.int64, (), lambda: np.int64(iterations)))
    if model._batch_seed is not None:
        tensors.append(("generator/batch_seed", np.uint64, (), lambda: np.uint64(model._batch_seed)))
    return tensors, metadata


def _predictor_content(predictor):
    metadata = {
        "format": FORMAT,
        "kind": "predictor",
        "producer": _producer(),
        "program": predictor.program.text(),
        "config": _dumps(predictor.form),
        **predictor._tabular.metadata(),
    }
    if predictor.report is not None:
        metadata["report"] = _dumps(predictor.report._asdict())
    tensors = [
        (t.name, t.stored, t.shape, lambda t=t: predictor.read(t.id, t.shape))
        for t in predictor.program.of_kind("param")
    ]
    return tensors, metadata


def _moments(model):
    """(name, tensor id, slot, parameter) of every optimizer moment."""
    parameters = dict(model._params)
    updated = [n.inputs[0] for n in model.program.nodes if not n.outputs and n.op != "moving_average"]
    return [
        (f"optimizer/slot{slot}/{parameters[id].name}", id, slot, parameters[id])
        for slot in range(model._runtime.engine.slots)
        for id in updated
    ]


def _dumps(value):
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _settings(model):
    """The compile settings, with the traces of losses and metrics that are the user's own."""
    traced = {
        what: entries
        for what, entries in model._compiled.users.items()
        if any(isinstance(f, TracedRows) for e in entries for f in (e if isinstance(e, list) else [e]))
    }
    return model._settings | traced


def _plain(value):
    """Compile settings as JSON."""
    if isinstance(value, optimizers.Optimizer):
        try:
            return optimizers.serialize(value)
        except UnknownNameError as error:
            raise ArgumentError(f"{error} A file cannot hold it: save with include_optimizer=False.") from None
    for table in (losses, metrics):
        if isinstance(value, table.registry.base) and table.registry.holds(value):
            return table.serialize(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (str, int, float)):
        return value
    name = getattr(value, "__name__", None)
    if name is not None and getattr(value, "__module__", "").startswith(__package__):
        return name
    raise ArgumentError(
        f"the compile setting {value!r} cannot be saved; save with include_optimizer=False, or compile with "
        "a name or object of fastnn, or with a function or class of your own that its `call` alone describes"
    )


# ---- describing and rebuilding layers ----


def describe(model):
    """The layers of a model and how they are connected, as a dict that JSON can hold.

    Returns
    -------
    dict
        "layers": every layer once, nested models after the layers that they are made of; the last one is the
        model. A layer is {"class_name", "config"}. The config of a Model lists its "inputs" ({"shape",
        "dtype", "name"}, and "sparse" where that is true), its "calls" ({"layer": index,
        "inputs": tensor numbers, "listed": bool}) and its "outputs" (tensor numbers); the
        inputs come first in the numbers, then what each call returns. That of a Sequential lists layer indices.
    """
    table, index = [], {}

    def add(layer):
        if layer not in index:
            entry = _describe_graph(layer, add) if isinstance(layer, models.Model) else _describe_layer(layer)
            index[layer] = len(table)
            table.append(entry)
        return index[layer]

    add(model)
    _check_owners(index)
    return {"layers": table}


def _describe_layer(layer):
    if not registry.holds(layer) or any(not w.name.startswith(f"{layer.name}/") for w in layer.weights):
        layer = TracedLayer.of(layer)  # a class of the user's, or a part of a layer of one
    return {"class_name": type(layer).__name__, "config": layer.get_config()}


def _check_owners(layers):
    owners = {}
    for layer in layers:
        for w in [] if isinstance(layer, models.Model) else layer.weights:
            other = owners.setdefault(w, layer)
            if other is not layer:
                raise GraphError(
                    f"The layers {other.name!r} and {layer.name!r} share the parameter {w.name!r}, which a "
                    "file cannot express; share the whole layer: call it twice."
                )


def _describe_graph(model, add):
    model._needs_built("describing it")
    config = {"name": model.name, "dtype": model.dtype_policy, "trainable": model.trainable}
    inputs = [
        {"shape": list(t.shape[1:]), "dtype": t.dtype, "name": t.name} | ({"sparse": True} if t.sparse else {})
        for t in model._inputs
    ]
    if isinstance(model, models.Sequential):
        return {
            "class_name": "Sequential",
            "config": {**config, "inputs": inputs, "layers": [add(layer) for layer in model._layers]},
        }
    number = {id(t): i for i, t in enumerate(model._inputs)}
    calls = []
    for call in calls_between(model._inputs, model._outputs):
        calls.append(
            {"layer": add(call.layer), "inputs": [number[id(t)] for t in call.inputs], "listed": call.listed}
        )
        if call.training is False:
            calls[-1]["training"] = False
        for tensor in call.outputs:
            number[id(tensor)] = len(number)
    return {
        "class_name": "Model",
        "config": {
            **config,
            "inputs": inputs,
            "input_form": _form_text(model._input_form),
            "calls": calls,
            "outputs": [number[id(t)] for t in model._outputs],
            "output_form": _form_text(model._output_form),
        },
    }


def _form_text(form):
    return {None: None, list: "list", tuple: "tuple"}[form] if not isinstance(form, list) else {"keys": form}


def _structure(form, items):
    if form is None:
        return items[0]
    if isinstance(form, dict):
        return dict(zip(form["keys"], items, strict=True))
    return {"list": list, "tuple": tuple}[form](items)


def rebuild(description):
    """The model that `describe` described, with fresh weights.

    Raises
    ------
    UnknownNameError
        If it needs a layer that fastnn does not have.
    FileFormatError
        If it describes no model.
    """
    try:
        made = []
        for entry in description["layers"]:
            made.append(_rebuild_layer(entry["class_name"], entry["config"], made))
        model = made[-1]
    except FastNNError:
        raise
    except _MALFORMED as error:
        raise FileFormatError(
            f"the description of the layers is malformed ({type(error).__name__}: {error}); "
            "it is damaged or foreign"
        ) from error
    if not isinstance(model, models.Model):
        raise FileFormatError("the description of the layers holds no model; it is damaged or foreign")
    return model


# What reading structures of the wrong form raises.
_MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


def _rebuild_layer(name, config, made):
    if name not in ("Model", "Sequential"):
        return registry.find(name).from_config(config)
    common = {"name": config["name"], "dtype": config["dtype"], "trainable": config["trainable"]}
    inputs = [
        Input(tuple(entry["shape"]), dtype=entry["dtype"], name=entry["name"], sparse=entry.get("sparse", False))
        for entry in config["inputs"]
    ]
    if name == "Sequential":
        return models.Sequential([*inputs, *(made[_natural(i)] for i in config["layers"])], **common)
    tensors = list(inputs)
    for call in config["calls"]:
        read = [tensors[_natural(i)] for i in call["inputs"]]
        layer = made[_natural(call["layer"])]
        given = layer(read if call["listed"] else read[0], training=call.get("training"))
        tensors.extend(given if isinstance(given, list) else [given])
    outputs = [tensors[_natural(i)] for i in config["outputs"]]
    return models.Model(
        _structure(config["input_form"], inputs), _structure(config["output_form"], outputs), **common
    )


def _natural(value):
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no index")
    return value


class StoredProgram(Layer):
    """The forward part of a Program as one layer: how layers of a file live on whose class is not known here.

    Parameters
    ----------
    text : str
        The Program's text. Parameters keep their names; those with an update are trainable.
    name, trainable, dtype
        As in Layer.
    """

    def __init__(self, text, name: str | None = None, trainable: bool = True, dtype: str | None = None) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self._program = Program.parse(text)
        program = self._program
        averages = [node for node in program.nodes if node.op == "moving_average"]
        averaged = {node.inputs[0] for node in averages}
        updated = {node.inputs[0] for node in program.nodes if not node.outputs} - averaged
        self._forward = Program(program.policy)
        self._forward.tensors, self._forward.roots = program.tensors, program.roots_of("output")
        wanted = [root.tensor for root in self._forward.roots] + [node.inputs[1] for node in averages]
        self._forward.nodes = [program.nodes[i] for i in program.needed(wanted)] + averages
        penalties = {
            node.inputs[0]: regularizers.L1L2(*node.attrs) for node in program.nodes if node.op == "penalty"
        }
        self._by_id = {}
        for t in program.of_kind("param"):
            declared = t.id in updated if updated else t.id not in averaged
            parameter = Parameter(
                t.name, t.shape, _zeros, penalties.get(t.id), declared and trainable, program.dtype
            )
            self._by_id[t.id] = parameter
            self._weights.append(parameter)
            self._declared.append(declared)
        self._text = text

    def call(self, x):
        """Emits the nodes that the outputs need."""
        values = list(x) if isinstance(x, (list, tuple)) else [x]
        known = dict(zip((t.id for t in self._program.of_kind("input")), values, strict=True))
        made = values[0].builder.inline(self._forward, known, self._by_id)
        return made[0] if len(made) == 1 else made

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {**super().get_config(), "text": self._text}


def _zeros(shape, dtype):
    return np.zeros(shape, dtype)


registry.add(StoredProgram)


def _model_of(program_text):
    layer = StoredProgram(program_text, name="program")
    program = layer._program
    inputs = [
        Input(t.shape[1:], dtype="int32" if t.type == "int32" else None, name=t.name or None, sparse=t.type == "csr")
        for t in program.of_kind("input")
    ]
    made = layer(inputs if len(inputs) > 1 else inputs[0])
    names = [root.name for root in program.roots_of("output")]
    return models.Model(
        inputs if len(inputs) > 1 else inputs[0],
        dict(zip(names, made)) if len(names) > 1 else made,
        dtype=program.policy,
    )


# ---- reading ----


def load(filepath: StrPath) -> Model:
    """Read what `Model.save` or `Predictor.save` wrote, whatever the file's extension.

    Parameters
    ----------
    filepath : str or path

    Returns
    -------
    Model or Predictor
        With its weights; a Model saved with `include_optimizer` goes on training where it stood.

    Raises
    ------
    FileAccessError
        If the file cannot be read.
    FileFormatError
        If it is damaged, truncated, beyond the limits, or of another kind.
    """
    with _open(filepath) as file:
        return _read(file, f"'{filepath}'")


def load_model(filepath, custom_objects=None, compile=True):
    """Read a model as `load` does; without its compile settings for `compile=False`.

    Parameters
    ----------
    filepath : str or path
    custom_objects : dict, optional
        Not needed: layers that are not fastnn's own run from the Program in the file.
    compile : bool, default True

    Returns
    -------
    Model
    """
    with _open(filepath) as file:
        return _read(file, f"'{filepath}'", compile)


def from_bytes(content):
    """The Model or Predictor that `to_bytes` wrote."""
    return _read(_io.BytesIO(content), "the pickled model")


def open_checked(file, label, kinds=("model", "weights", "predictor")):
    """A Reader of a fastnn file of one of these kinds."""
    reader = Reader(file, label)
    written = reader.metadata.get("format", "")
    if written != FORMAT:
        if written.startswith("fastnn "):
            raise FileFormatError(
                f"{label} has the format {written!r}, this version reads {FORMAT!r}; update fastnn"
            )
        raise FileFormatError(f"{label} has the format {written!r}, needed is {FORMAT!r}; it is foreign")
    kind = reader.metadata.get("kind")
    if kind not in kinds:
        hint = _KINDS.get(kind, "load it with fastnn.load")
        raise FileFormatError(f"{label} holds {kind!r}, needed is one of {list(kinds)}; {hint}")
    return reader


def _read(file, label, compile=True):
    reader = open_checked(file, label, ("model", "predictor"))
    try:
        counted = reader.tensors.get("optimizer/iterations", (None, None))[:2] == (np.dtype("<i8"), ())
        reader.check(_core.check_file, int(reader.read("optimizer/iterations")) if counted else 0)
        if reader.metadata["kind"] == "predictor":
            return _read_predictor(reader, label)
        return _read_model(reader, label, compile)
    except (FileFormatError, FileAccessError, OutOfMemoryError):
        raise
    except (FastNNError, *_MALFORMED) as error:
        raise FileFormatError(
            f"{label} describes no valid model ({type(error).__name__}: {error}); it is damaged or foreign"
        ) from error


def _read_model(reader, label, compile):
    description = parse_json(reader.metadata["config"], f"the layers' description in {label}")
    try:
        model = rebuild(description)
    except UnknownNameError:
        model = _model_of(reader.metadata["program"])
    model._needs_built("loading it")
    _check_parameters(reader, label, {p.name: p for _, p in model._params})
    for _, p in model._params:
        p.assign(reader.read(p.name))
    model._describe(Tabular.from_metadata(reader.metadata, parse_json, label))
    if not compile or "compile" not in reader.metadata:
        return model
    settings = parse_json(reader.metadata["compile"], f"the compile settings in {label}")
    if not isinstance(settings, dict) or not set(settings) <= set(_SETTINGS):
        raise FileFormatError(f"{label} has malformed compile settings; it is damaged or foreign")
    model.compile(**settings)
    if "generator/batch_seed" in reader.tensors:
        model._batch_seed = int(_scalar(reader, label, "generator/batch_seed", "<u8"))
    iterations = int(_scalar(reader, label, "optimizer/iterations", "<i8"))
    if iterations < 0:
        raise FileFormatError(f"{label} counts {iterations} updates; it is damaged or foreign")
    if iterations or any(name.startswith("optimizer/slot") for name in reader.tensors):
        engine = model._engine().engine
        moments = _moments(model)
        _check_parameters(reader, label, {name: p for name, _, _, p in moments})
        for name, id, slot, _ in moments:
            engine.write_slot(id, slot, reader.read(name))
        engine.iterations = iterations
    return model


_SETTINGS = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")


def _check_parameters(reader, label, parameters):
    """All tensors must be there, of the right type and shape, before anything of their size is allocated."""
    for name, p in parameters.items():
        found = reader.tensors.get(name)
        if found is None:
            raise FileFormatError(f"{label} lacks the tensor {name!r}; it is damaged or foreign")
        if found[0] != np.dtype(p.dtype) or found[1] != p.shape:
            raise FileFormatError(
                f"{label} holds {name!r} as {found[0]} {found[1]}, the model needs {p.dtype} {p.shape}; "
                "it is damaged or foreign"
            )


def _scalar(reader, label, name, dtype):
    found = reader.tensors.get(name)
    if found is None or found[0] != np.dtype(dtype) or found[1] != ():
        raise FileFormatError(f"{label} lacks the number {name!r}; it is damaged or foreign")
    return reader.read(name)[()]


def _read_predictor(reader, label):
    from .narrow import Report
    from .predictor import Predictor

    program = Program.parse(reader.metadata["program"])
    form = parse_json(reader.metadata["config"], f"the predictor's description in {label}")
    _check_form(form, len(program.of_kind("input")), len(program.roots_of("output")), label)
    tensors = program.of_kind("param")
    _check_parameters(
        reader, label, {t.name: Parameter(t.name, t.shape, None, dtype=t.stored) for t in tensors}
    )
    tabular = Tabular.from_metadata(reader.metadata, parse_json, label)
    made = Predictor.from_program(program, form, lambda t: reader.read(t.name), tabular)
    if "report" in reader.metadata:
        made.report = Report(**parse_json(reader.metadata["report"], f"the report in {label}"))
    return made


def _check_form(form, inputs, outputs, label):
    """Raises unless a predictor's description says how so many inputs and outputs are given."""

    def names(value, count):
        return isinstance(value, list) and len(value) == count and all(isinstance(name, str) for name in value)

    def fits(value, count):
        return count == 1 if value is None else value in ("list", "tuple") or names(value, count)

    if not (
        isinstance(form, dict) and {"input", "output", "inputs"} <= set(form) and names(form["inputs"], inputs)
        and fits(form["input"], inputs) and fits(form["output"], outputs)
    ):  # fmt: skip
        raise FileFormatError(f"{label} does not say how its inputs and outputs are given; it is damaged or foreign")


def load_weights(model, filepath: StrPath, skip_mismatch: bool = False) -> None:
    """See `Model.load_weights`."""
    model._needs_built("loading weights")
    if isinstance(filepath, Mapping):
        from .interop import weights

        weights.assign(weights.from_mapping(model, filepath, skip_mismatch))
        return
    with _open(filepath) as file:
        label = f"'{filepath}'"
        start = file.read(64)
        file.seek(0)
        if not is_own(start):
            from .interop import weights

            if weights.load_foreign(model, file, os.fsdecode(filepath), skip_mismatch):
                return
        reader = open_checked(file, label)
        stored = {name for name in reader.tensors if not name.startswith(_NO_WEIGHTS)}
        own = model.parameters
        fitting = [name for name in own if name in stored and reader.tensors[name][1] == own[name].shape]
        if not skip_mismatch:
            for name, p in own.items():
                if name not in stored:
                    raise UnknownNameError.among(f"parameter of {label}", name, stored)
                if reader.tensors[name][1] != p.shape:
                    raise ShapeError(
                        f"{label} holds {name!r} of shape {reader.tensors[name][1]}, the model "
                        f"needs {p.shape}; "
                        "pass skip_mismatch=True to leave it"
                    )
            surplus = sorted(stored - set(own))
            if surplus:
                raise UnknownNameError.among(f"parameter of the model, which {label} holds,", surplus[0], own)
        for name in fitting:
            own[name].assign(reader.read(name))


def info(filepath):
    """What a file holds, as text: kind, producer, sizes, and a model's summary."""
    with _open(filepath) as file:
        label = f"'{filepath}'"
        reader = open_checked(file, label)
        parameters = {
            name: entry
            for name, entry in reader.tensors.items()
            if not name.startswith(_NO_WEIGHTS)
        }
        metadata = reader.metadata
        lines = [
            f"{label}: a {metadata['kind']} file ({FORMAT}), written by {metadata.get('producer', 'an unknown version')}"
        ]
        if reader.metadata["kind"] == "model":
            model = _read(file, label)
            lines.extend(model._summary_lines())
            if model.optimizer is not None:
                lines.append(
                    f"Compiled: {model._settings['optimizer']!r}, loss {_plain(model._settings['loss'])!r}, "
                    f"{model._engine().engine.iterations} updates made"
                )
            for what, names in (("Columns", model.feature_names), ("Classes", model.class_names)):
                if names is not None:
                    lines.append(f"{what}: {', '.join(names)}")
        else:
            lines.extend(f"{name}: {dtype} {shape}" for name, (dtype, shape, _) in parameters.items())
    return "\n".join(lines)
