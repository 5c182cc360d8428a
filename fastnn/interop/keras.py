"""Models of Keras, in and out.

A file is a description in JSON and arrays in HDF5; the layers are looked up in fastnn's own table, and nothing
that a file names is imported or run. A live model is read through its `get_config` and `get_weights`.
"""

import contextlib
import io as _io
import os
import warnings
import zipfile

import numpy as np

from .. import activations, io, losses, metrics, ops, optimizers, schedules
from .. import initializers as fastnn_initializers
from .. import regularizers as fastnn_regularizers
from .._safetensors import parse_json
from ..errors import ArgumentTypeError, FastNNError, FileFormatError, MissingExtraError, UnknownNameError, UnsupportedError
from ..graph import calls_between
from ..layers import Input, Operation
from ..layers.base import registry
from ..layers.lookup import Lookup
from ..model import Model, Sequential
from ..registry import constructor_arguments, snake_case
from . import hdf5, weights

# ---- the table of layers ----

# Layers of fastnn that Keras has not, and why. All others have the class name and the arguments of Keras's.
NOT_IN_KERAS = {
    "MixUp": "Keras's takes a dict of images and labels, outside of a model",
    "Operation": "functions of keras.ops stand for those that Keras has",
    "StoredProgram": "it is a Program without layers",
    "TracedLayer": "it was made by a class of the user's own",
}

# Layers of Keras that are another class of fastnn, with its arguments.
_ALIASES = {"Identity": ("Activation", {"activation": "linear"})}

_CONTAINERS = ("Sequential", "Functional", "Model")

# Arguments that say nothing where another one is not set, or about what fastnn does not choose.
_IDLE = {
    "ema_momentum", "lora_alpha", "name", "optional", "ragged", "renorm_momentum", "build_input_shape", "batch_size",
    "oov_method", "vocabulary_size",
}  # fmt: skip

# Layers of Keras that may stand as an activation, and the activation of fastnn.
_KERAS_2 = {"alpha": "negative_slope"}  # arguments under the names that they had
_LAYERS_AS_ACTIVATIONS = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "Softmax": "softmax"}

_DTYPES = {
    "float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64", "int8": "int32",
    "int16": "int32", "int32": "int32", "int64": "int32", "uint8": "int32", "uint16": "int32", "uint32": "int32",
    "uint64": "int32", "bool": "int32", "string": "string",
}  # fmt: skip

MAX_CONFIG = 64 << 20  # bytes of JSON
MAX_VOCABULARY = 64 << 20  # bytes of text
MAX_NESTING = 32  # models in models


def layer_class(name):
    """The class of fastnn for a layer of Keras, or None."""
    if name in NOT_IN_KERAS or name in _CONTAINERS:
        return None
    try:
        return registry.find(name)
    except UnknownNameError:
        return None


# ---- values ----


class _Unknown(Exception):
    """A value of a configuration that fastnn cannot express."""


def _value(value):
    """A value of a configuration in plain Python and NumPy."""
    if isinstance(value, (list, tuple)):
        return [_value(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    if kind == "__tuple__":
        return tuple(_value(v) for v in value["items"])
    if kind == "__numpy__" or kind == "__tensor__":
        return np.asarray(_value(value["config"]["value"]))
    if kind == "__slice__":
        return slice(*(_value(value["config"][k]) for k in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    raise _Unknown(f"a {kind or 'value'} that is not known")


def _object(table, value):
    """An initializer, regularizer, loss, optimizer, ... of fastnn for Keras's description."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict) and isinstance(value.get("class_name"), str):
        name, config = value["class_name"], value.get("config")
        if name == "function" and isinstance(config, str):
            return config
        if isinstance(config, dict):
            cls = table.find(name)
            return cls(**_arguments(cls, config))
    raise _Unknown(f"{value!r}")


def _arguments(cls, config, more=()):
    """The arguments of a class of fastnn for those of Keras's."""
    known = {*constructor_arguments(cls), *more}
    found = {}
    for key, value in config.items():
        if key not in known and _KERAS_2.get(key) in known:
            key = _KERAS_2[key]
        if key == "learning_rate" and isinstance(value, dict):
            found[key] = _object(schedules.registry, value)
        elif key == "dtype":
            continue
        elif key in known:
            found[key] = _value(value)
        elif value not in (None, False) and key not in _IDLE:
            raise _Unknown(f"the argument {key}={value!r}")
    return found


def _activation(value):
    if isinstance(value, dict):
        name, config = value.get("class_name"), value.get("config")
        if name == "function" and isinstance(config, str):
            value = config
        elif name == "Activation" and isinstance(config, dict):
            return _activation(config.get("activation"))
        elif name in _LAYERS_AS_ACTIVATIONS and isinstance(config, dict):
            given = {k: _value(v) for k, v in config.items() if k not in ("name", "trainable", "dtype")}
            value = {"name": _LAYERS_AS_ACTIVATIONS[name], **given}
        else:
            raise _Unknown(f"the activation {name or 'that is a Python function'}")
    elif value is not None and not isinstance(value, str):
        raise _Unknown("an activation that is a Python function")
    return activations.get(value)


def _policy(value):
    """The name of a dtype or of a dtype policy."""
    if isinstance(value, dict):
        if value.get("class_name") not in ("DTypePolicy", "Policy"):
            raise _Unknown(f"the dtype policy {value.get('class_name')}")
        value = value.get("config", {}).get("name")
    if value not in ("float32", "float64", "mixed_bfloat16"):
        raise _Unknown(f"the dtype {value!r}")
    return value


# ---- in ----


class _Reader:
    """Makes a model of fastnn of Keras's description.

    Attributes
    ----------
    placed : list of weights.Placed
        The layers with weights, after `build`.
    """

    def __init__(self, description, label, vocabulary_of):
        self._label, self._vocabulary_of = label, vocabulary_of
        self._missing, self._policies = [], {}
        self._layers = {}  # made layers by the id of their description
        self._shared = {}
        self._names = set()
        self._description = description
        self._places = []

    def build(self):
        """The model, its weights as they are drawn."""
        self._survey(self._description, "", 0)
        if len(self._policies) > 1:
            self._missing.append(f"several dtypes: {', '.join(sorted(self._policies))}")
        if self._missing:
            raise UnsupportedError.of(
                f"{self._label} holds what fastnn does not have",
                self._missing,
                "Put layers of fastnn in their place, or cut the model before them.",
            )
        self._dtype = next(iter(self._policies), None)
        return self._container(self._description, "", ())

    @property
    def placed(self):
        """list of weights.Placed."""
        return [
            weights.Placed(path, names, layer.weights) for path, names, layer in self._places if layer.weights
        ]

    # -- the layers --

    def _survey(self, entry, prefix, depth):
        """Makes the layers of a container, and lists everything that fastnn does not have."""
        if depth > MAX_NESTING:
            raise FileFormatError(f"{self._label} nests models deeper than {MAX_NESTING}; it is damaged or foreign")
        config = entry["config"]
        if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
            raise UnsupportedError.of(
                f"{self._label} holds what fastnn does not have",
                [f"{prefix}{entry.get('name', '')} ({entry['class_name']}): a model by a class of its own"],
                "Only Sequential and Functional models say what they are made of.",
            )
        for layer in config["layers"]:
            name = self._name_of(layer)
            where = f"{prefix}{name} ({layer['class_name']})"
            shared = layer.get("shared_object_id")
            if shared is not None and shared in self._shared:
                self._layers[id(layer)] = self._layers[id(self._shared[shared])]
                continue
            if shared is not None:
                self._shared[shared] = layer
            try:
                self._survey_one(layer, name, prefix, depth)
            except _Unknown as error:
                self._missing.append(f"{where}: {error}")
            except FastNNError as error:
                if isinstance(error, (FileFormatError, UnsupportedError)):
                    raise
                self._missing.append(f"{where}: {error}")

    @staticmethod
    def _name_of(layer):
        return str(layer.get("name") or layer["config"].get("name"))

    def _survey_one(self, layer, name, prefix, depth):
        kind, config = layer["class_name"], layer["config"]
        if kind in _CONTAINERS:
            self._layers[id(layer)] = None  # made where its place is known
            return self._survey(layer, f"{prefix}{name}/", depth + 1)
        if kind == "InputLayer":
            if config.get("dtype") not in _DTYPES:
                raise _Unknown(f"inputs of dtype {config.get('dtype')!r}")
            if config.get("ragged"):
                raise _Unknown("inputs that are ragged")
            return None
        if _is_operation(layer):
            if snake_case(kind) not in ops.TRACED:
                raise _Unknown("no function of fastnn.ops")
            self._layers[id(layer)] = self._free_name(name, prefix)
            return None
        if kind in _ALIASES:
            kind, more = _ALIASES[kind]
            config = {**config, **more}
        cls = layer_class(kind)
        if cls is None:
            raise _Unknown("no layer of fastnn")
        if "dtype" in config and not issubclass(cls, Lookup):
            self._policies.setdefault(_policy(config["dtype"]), name)
        plain = {k: v for k, v in config.items() if k not in ("batch_input_shape", "batch_shape")}
        given = {k: v for k, v in plain.items() if k.endswith(("_initializer", "_regularizer", "activation"))}
        arguments = _arguments(cls, {k: v for k, v in plain.items() if k not in given}, ("name", "trainable"))
        for key, value in given.items():
            if key == "activation":
                arguments[key] = _activation(value)
            elif key in constructor_arguments(cls):
                table = fastnn_initializers if key.endswith("_initializer") else fastnn_regularizers
                arguments[key] = _object(table.registry, value)
            elif value is not None:
                raise _Unknown(f"the argument {key}={value!r}")
        arguments["name"] = self._free_name(name, prefix)
        self._layers[id(layer)] = cls(**arguments)
        return None

    def _free_name(self, name, prefix):
        """A layer's name as fastnn takes it, with its model's before it where two models hold the same."""
        name = _legal(name)
        if name in self._names:
            name = _legal(prefix) + name
        candidate, i = name, 0
        while candidate in self._names:
            i += 1
            candidate = f"{name}_{i}"
        self._names.add(candidate)
        return candidate

    # -- the connections --

    def _container(self, entry, path, names):
        config = entry["config"]
        made = self._sequential if entry["class_name"] == "Sequential" else self._functional
        common = {"name": _legal(str(config.get("name") or "model")), "trainable": config.get("trainable", True) is not False}
        return made(entry, config, path, names, common)

    def _made(self, layers, path, names):
        """The layers of a container in order: pairs of description and layer; None for inputs and functions."""
        classes = ["" if _is_operation(layer) else layer["class_name"] for layer in layers]
        groups = iter(weights.group_names(c for c in classes if c))
        for layer, kind in zip(layers, classes):
            if not kind:
                yield layer, None
                continue
            place = (f"{path}layers/{next(groups)}", (*names, self._name_of(layer)))
            shared = layer.get("shared_object_id")
            first = self._shared.get(shared, layer)
            if kind in _CONTAINERS and self._layers[id(first)] is None:
                self._layers[id(first)] = self._container(first, place[0] + "/", place[1])
            made = self._layers.get(id(first))
            if made is not None and not isinstance(made, Model) and all(made is not p[2] for p in self._places):
                self._places.append((*place, made))
                if isinstance(made, Lookup) and not made.get_vocabulary(False):
                    made._take_adapted(self._vocabulary_of(*place))
            yield layer, made

    def _input(self, layer, readers):
        """The Input of an InputLayer, of integers where that is what its readers take."""
        config = layer["config"]
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        dtype = _DTYPES[config.get("dtype")]
        if dtype != "int32" and readers and all(getattr(r, "input_dtype", None) == "int32" for r in readers):
            dtype = "int32"
        return Input(
            tuple(shape)[1:],
            dtype=dtype if dtype in ("int32", "string") else None,
            name=_legal(self._name_of(layer)),
            sparse=config.get("sparse") is True,
        )

    def _sequential(self, entry, config, path, names, common):
        layers = list(self._made(config["layers"], path, names))
        stack = [made for layer, made in layers if layer["class_name"] != "InputLayer"]
        if layers and layers[0][0]["class_name"] == "InputLayer":
            stack.insert(0, self._input(layers[0][0], stack[:1]))
        else:
            first = layers[0][0]["config"] if layers else {}
            shape = first.get("batch_input_shape") or first.get("batch_shape") or config.get("build_input_shape")
            shape = shape or entry.get("build_config", {}).get("input_shape")
            if shape and not isinstance(stack[0], Model):
                stack.insert(0, Input(tuple(shape)[1:], dtype=stack[0].input_dtype))
        return Sequential(stack, dtype=self._dtype, **common)

    def _functional(self, entry, config, path, names, common):
        made = {self._name_of(layer): (layer, layer_made) for layer, layer_made in self._made(config["layers"], path, names)}
        calls = {name: [_call_of(node) for node in layer.get("inbound_nodes") or ()] for name, (layer, _) in made.items()}
        keras_2 = any(isinstance(node, list) for layer, _ in made.values() for node in layer.get("inbound_nodes") or ())
        later = _counted_from_one(calls, config["output_layers"]) if keras_2 else ()
        # (layer, node) -> what it is called with
        nodes = {(name, i): call for name, own in calls.items() for i, call in enumerate(own, name in later)}
        readers = {}
        for (name, _), (arguments, _) in nodes.items():
            for reference in _references(arguments):
                readers.setdefault(reference[0], []).append(made[name][1])
        tensors = {}
        for name, (layer, _) in made.items():
            if layer["class_name"] == "InputLayer":
                tensors[name, 0] = [self._input(layer, readers.get(name))]
        self._connect(made, nodes, tensors)

        def wired(structure, output=False):
            if isinstance(structure, dict):
                return {k: wired(v, output) for k, v in structure.items()}
            if len(structure) == 3 and isinstance(structure[0], str):
                name, node, index = structure
                shifted = output and not keras_2 and made[name][0]["class_name"] in ("Functional", "Model")
                return tensors[name, max(node - 1, 0) if shifted else node][index]
            return [wired(v, output) for v in structure]

        inputs, outputs = wired(config["input_layers"]), wired(config["output_layers"], True)
        if "module" not in entry:  # the older form, which lists single tensors too
            inputs, outputs = (
                s[0] if isinstance(s, list) and len(s) == 1 else s for s in (inputs, outputs)
            )
        return Model(inputs, outputs, dtype=self._dtype, **common)

    def _connect(self, made, nodes, tensors):
        """Calls the layers, each as soon as what it reads is there."""
        waiting, ready = {}, []
        for key, (arguments, _) in nodes.items():
            name, i = key
            needed = {(r[0], r[1]) for r in _references(arguments)} | ({(name, i - 1)} & nodes.keys())
            needed -= tensors.keys()
            for other in needed:
                if other not in nodes:
                    raise FileFormatError(f"{self._label} lets {name!r} read {other[0]!r}, which gives nothing")
            if needed:
                waiting[key] = needed
            else:
                ready.append(key)
        followers = {}
        for key, needed in waiting.items():
            for other in needed:
                followers.setdefault(other, []).append(key)
        while ready:
            key = ready.pop()
            arguments, keywords = nodes[key]
            layer, layer_made = made[key[0]]
            result = self._call(layer, layer_made, _filled(arguments, tensors), _filled(keywords, tensors))
            tensors[key] = list(result.values()) if isinstance(result, dict) else (
                list(result) if isinstance(result, (list, tuple)) else [result]
            )
            for other in followers.get(key, ()):
                waiting[other].discard(key)
                if not waiting[other]:
                    del waiting[other]
                    ready.append(other)
        if waiting:
            raise FileFormatError(f"{self._label} connects {next(iter(waiting))[0]!r} in a circle")

    def _call(self, layer, made, arguments, keywords):
        name = self._name_of(layer)
        if made is None:
            return self._operate(layer, name, arguments, keywords)
        # Keras's models say themselves whether they train, whatever layers that augment write down.
        training = False if keywords.pop("training", None) is False else None
        given = {k: v for k, v in keywords.items() if v is not None}
        if given:
            self._refuse(f"{name} ({layer['class_name']}): called with {', '.join(given)}")
        return made(*arguments, training=training)

    def _operate(self, layer, name, arguments, keywords):
        kind = layer["class_name"]
        if kind == "GetItem":
            x, index = arguments
            arguments = [x, tuple(index) if isinstance(index, list) else index]
        config = {k: _value(v) for k, v in layer["config"].items() if k not in ("name", "dtype")}
        keywords = {k: v for k, v in keywords.items() if v is not None}
        try:
            return Operation.apply(snake_case(kind), arguments, config | keywords, self._layers[id(layer)])
        except TypeError as error:
            if isinstance(error, FastNNError):
                raise
            self._refuse(f"{name} ({kind}): {error}")

    def _refuse(self, what):
        raise UnsupportedError.of(
            f"{self._label} holds what fastnn does not have", [what], "Leave it out of the model."
        )


def _is_operation(layer):
    """Whether an entry is a function of keras.ops: it has no `trainable`, as layers have."""
    if layer["class_name"] in (*_CONTAINERS, "InputLayer"):
        return False
    module = layer.get("module")
    return ".ops." in module if isinstance(module, str) else "trainable" not in layer["config"]


def _call_of(node):
    """(arguments, keywords) of a node, in the form of Keras 3 or of Keras 2."""
    if isinstance(node, dict):
        return _with_references(node["args"]), _with_references(node["kwargs"])
    read = [_Reference(entry[:3]) for entry in node]
    keywords = node[0][3] if len(node[0]) > 3 else {}
    return [read if len(read) > 1 else read[0]], _with_references(keywords)


def _counted_from_one(calls, outputs):
    """Names of the models whose calls Keras 2 counts from 1, as 0 is the one that made them."""
    last = {}
    for name, node, _ in (*_references([arguments for own in calls.values() for arguments, _ in own]), *_ends(outputs)):
        last[name] = max(last.get(name, 0), node)
    return {name for name, node in last.items() if node == len(calls.get(name, ())) > 0}


def _ends(structure):
    """The tensors that are a model's outputs."""
    if isinstance(structure, list) and len(structure) == 3 and isinstance(structure[0], str):
        yield _Reference(structure)
    elif isinstance(structure, (list, dict)):
        for inner in structure.values() if isinstance(structure, dict) else structure:
            yield from _ends(inner)


class _Reference(tuple):
    """(layer, node, tensor) that a call reads."""

    def __new__(cls, entry):
        name, node, index = entry
        if not isinstance(name, str) or type(node) is not int or type(index) is not int or min(node, index) < 0:
            raise ValueError(f"{entry!r} is no tensor")
        return super().__new__(cls, (name, node, index))


def _with_references(value):
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return _Reference(value["config"]["keras_history"])
        if "class_name" in value:
            return _value(value)
        return {k: _with_references(v) for k, v in value.items()}
    return [_with_references(v) for v in value] if isinstance(value, (list, tuple)) else value


def _references(value):
    if isinstance(value, _Reference):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _references(inner)


def _filled(value, tensors):
    if isinstance(value, _Reference):
        return tensors[value[0], value[1]][value[2]]
    if isinstance(value, dict):
        return {k: _filled(v, tensors) for k, v in value.items()}
    return [_filled(v, tensors) for v in value] if isinstance(value, list) else value


def _legal(name):
    """A name of Keras as a name of fastnn."""
    return "".join(c if c.isprintable() and c != "/" else "_" for c in name) or "layer"


# ---- compile settings ----


def _compile(model, settings):
    """Compiles as Keras's settings say, or says why not."""
    if not settings:
        return
    try:
        chosen = {
            "optimizer": _object(optimizers.registry, settings["optimizer"]),
            "loss": _structure(losses.registry, settings.get("loss")),
            "loss_weights": _value(settings.get("loss_weights")),
            "metrics": _structure(metrics.registry, settings.get("metrics")),
            "weighted_metrics": _structure(metrics.registry, settings.get("weighted_metrics")),
        }
        model.compile(**chosen)
    except (_Unknown, FastNNError, *io._MALFORMED) as error:
        warnings.warn(
            f"the compile settings of the Keras model were left out ({error}); call compile before fit",
            UserWarning,
            stacklevel=3,
        )


def _structure(table, value):
    if isinstance(value, (list, tuple)):
        return [_structure(table, v) for v in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {k: _structure(table, v) for k, v in value.items()}
    return _object(table, value)


# ---- sources ----


def from_keras(source):
    """A model with the architecture, the weights and the names of a Keras model, giving the same predictions.

    Parameters
    ----------
    source : str, path or keras.Model
        A ``.keras`` file, an ``.h5`` file of a whole model, or a live Sequential or Functional model. Files need
        the extra `keras` (h5py), not Keras itself.

    Returns
    -------
    Model or Sequential
        Layers keep their names; those of several nested models with the same are called ``model_layer``. It is
        compiled as the Keras model was where fastnn has the optimizer, losses and metrics, else a warning says
        why not. The optimizer starts afresh.

    Raises
    ------
    UnsupportedError
        If it holds layers or arguments that fastnn does not have; the message lists all of them.
    FileFormatError, FileAccessError
        If the file is damaged, of another kind, or cannot be read.
    MissingExtraError
        If h5py is not installed.

    Notes
    -----
    Lambda layers and other Python code in a file are never run: they count as layers that fastnn does not have.
    Integers of any size become int32, half precision becomes float32. What Keras does not write down, such as the
    `delta` of its Huber loss, gets its default.
    """
    if not isinstance(source, (str, bytes, os.PathLike)):
        return _from_live(source)
    with io._open(source) as file:
        label = f"'{source}'"
        start = file.read(4)
        file.seek(0)
        if start == b"\x89HDF":
            return _from_h5(file, label)
        if start == b"PK\x03\x04":
            return _from_zip(file, label)
    raise FileFormatError(
        f"{label} is neither a .keras archive nor an HDF5 file; fastnn.load reads fastnn's own files"
    )


def _no_vocabulary(path, names):
    return []


def _model_of(description, label, settings, pairs_for, vocabulary_of=_no_vocabulary):
    """The model of a description; `pairs_for(placed)` gives its weights.

    `vocabulary_of(path, names)` gives the tokens of a lookup that was adapted.
    """
    try:
        reader = _Reader(description, label, vocabulary_of)
        model = reader.build()
    except (FastNNError, MissingExtraError):
        raise
    except (_Unknown, *io._MALFORMED) as error:
        raise FileFormatError(
            f"the description in {label} is malformed ({type(error).__name__}: {error}); it is damaged or foreign"
        ) from error
    if model.built:
        weights.assign(pairs_for(reader.placed))
        _compile(model, settings)
    return model


def _from_live(model):
    missing = [name for name in ("get_config", "get_weights", "layers") if not hasattr(model, name)]
    if missing:
        raise ArgumentTypeError(
            f"from_keras takes a path or a Keras model, got {type(model).__name__} without {missing[0]}"
        )
    label = f"the Keras model {getattr(model, 'name', '')!r}"
    try:
        config = model.get_config()
        settings = model.get_compile_config() if getattr(model, "compiled", False) else None
    except (NotImplementedError, AttributeError, TypeError, ValueError) as error:
        message = f"{label} does not say what it is made of ({error}); only Sequential and Functional do"
        raise UnsupportedError(message) from error

    def layer_at(names):
        found = model
        for name in names:
            found = found.get_layer(name)
        return found

    def pairs_for(placed):
        pairs = []
        for layer in placed:
            found = layer_at(layer.names)
            arrays = found.get_weights()
            if [a.shape for a in arrays] != layer.shapes:
                raise UnsupportedError(
                    f"{label} has weights of shapes {[a.shape for a in arrays]} in {layer.name!r}, fastnn's has {layer.shapes}"
                )
            pairs += [(w, lambda a=a: np.asarray(a)) for w, a in zip(layer.weights, arrays)]
        return pairs

    description = {"class_name": type(model).__name__, "config": config, "module": "keras", "name": model.name}
    if description["class_name"] not in _CONTAINERS:
        raise UnsupportedError.of(
            f"{label} holds what fastnn does not have",
            [f"{model.name} ({description['class_name']}): a model by a class of its own"],
            "Only Sequential and Functional models say what they are made of.",
        )
    return _model_of(
        description, label, settings, pairs_for,
        lambda path, names: list(layer_at(names).get_vocabulary(include_special_tokens=False)),
    )  # fmt: skip


def _checked_description(description, label):
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise FileFormatError(f"{label} describes no model; it is damaged or foreign")
    if description.get("class_name") not in _CONTAINERS:
        raise UnsupportedError.of(
            f"{label} holds what fastnn does not have",
            [f"{description['config'].get('name', 'the model')} ({description.get('class_name')}): no model of fastnn"],
            "Only Sequential and Functional models say what they are made of.",
        )
    return description


def _from_h5(file, label):
    with hdf5.opened(file, label) as archive:
        description = archive.json("model_config")
        if description is None:
            raise FileFormatError(f"{label} holds weights and no model; make the model, then model.load_weights(path)")
        settings = archive.json("training_config")
        if isinstance(settings, dict):
            settings = {**settings, "optimizer": settings.get("optimizer_config")}
        return _model_of(
            _checked_description(description, label),
            label,
            settings,
            lambda placed: weights.from_archive(archive, placed, label),
        )


def _from_zip(file, label):
    description = _checked_description(
        parse_json(_member(file, label, "config.json", MAX_CONFIG).decode(errors="replace"), f"config.json in {label}"), label
    )

    def vocabulary_of(path, names):
        name = f"assets/{path}/vocabulary.txt"
        try:
            text = _member(file, label, name, MAX_VOCABULARY)
        except FileFormatError as error:
            raise FileFormatError(f"{label} lacks the vocabulary of {names[-1]!r} ({error})") from None
        try:
            return text.decode().splitlines()
        except UnicodeDecodeError:
            raise FileFormatError(f"{label} holds {name}, which is no text in UTF-8; it is damaged or foreign") from None

    with weights_in(file, label) as archive:
        return _model_of(
            description,
            label,
            description.get("compile_config"),
            lambda placed: weights.from_archive(archive, placed, label),
            vocabulary_of,
        )


@contextlib.contextmanager
def weights_in(file, label):
    """The `hdf5.Archive` of a ``.keras`` file."""
    content = _member(file, label, "model.weights.h5", None)
    with hdf5.opened(_io.BytesIO(content), f"model.weights.h5 in {label}") as archive:
        yield archive


def _member(file, label, name, most):
    """The bytes of a file in a zip archive; nothing is unpacked to the disk."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.getinfo(name)
            least = most if most is not None else (1 << 20) + hdf5.MAX_EXPANSION * found.compress_size
            if found.file_size > min(least, (1 << 20) + hdf5.MAX_EXPANSION * found.compress_size):
                raise FileFormatError(
                    f"{label} announces {found.file_size} bytes of {name} in {found.compress_size}, which is refused; "
                    "it is damaged or foreign"
                )
            with archive.open(found) as member:
                content = member.read(found.file_size + 1)
    except FastNNError:
        raise
    except KeyError:
        raise FileFormatError(f"{label} is a zip archive without {name}, so it is none of Keras's") from None
    except Exception as error:  # zipfile and the decompressors raise many kinds
        raise FileFormatError(
            f"{label} is no zip archive that can be read ({type(error).__name__}: {error}); it is damaged or foreign"
        ) from error
    return content


# ---- out ----


def to_keras(model):
    """See `Model.to_keras`."""
    try:
        import keras
    except ImportError as error:
        raise MissingExtraError(
            f"to_keras needs Keras 3 and one of its backends ({error}): pip install keras torch"
        ) from None
    model._needs_built("to_keras")
    return _Writer(keras, model).write(model)


class _Writer:
    def __init__(self, keras, model):
        self._keras, self._dtype = keras, model.dtype_policy
        self._sparse = keras.config.backend() in ("tensorflow", "jax")  # the others have dense tensors alone
        self._made, self._missing, self._fresh = {}, [], []

    def write(self, model):
        made = self._model(model)
        if self._missing:
            raise UnsupportedError.of(
                f"Keras does not have what {model._label} holds", list(dict.fromkeys(self._missing)), "Leave it out."
            )
        for layer, own in self._fresh:
            own.set_weights(layer.get_weights())
        return made

    def _model(self, model):
        keras = self._keras
        inputs = [
            keras.Input(t.shape[1:], dtype=self._dtype_of(t, lookup), name=n, sparse=t.sparse and self._sparse)
            for t, n, lookup in zip(model._inputs, model._input_names, model._lookups)
        ]
        if isinstance(model, Sequential):
            layers = [self._layer(layer) for layer in model.layers]
            if self._missing:
                return None
            return keras.Sequential([*inputs, *layers], name=model.name)
        tensors = {id(t): made for t, made in zip(model._inputs, inputs)}
        for call in calls_between(model._inputs, model._outputs):
            read = [tensors.get(id(t)) for t in call.inputs]
            result = self._call(call, read)
            result = list(result) if isinstance(result, (list, tuple)) else [result]
            tensors.update((id(t), made) for t, made in zip(call.outputs, result))
        if self._missing:
            return None
        outputs = [tensors[id(t)] for t in model._outputs]
        names = (model._input_names, model._output_names)
        given = [
            io._structure({"keys": n} if isinstance(f, list) else io._form_text(f), items)
            for f, n, items in zip((model._input_form, model._output_form), names, (inputs, outputs))
        ]
        return keras.Model(*given, name=model.name)

    def _dtype_of(self, tensor, lookup):
        if tensor.dtype in ("int32", "string"):
            return "int64" if tensor.dtype == "int32" and lookup is not None else tensor.dtype
        return "float32" if self._dtype == "mixed_bfloat16" else self._dtype

    def _call(self, call, read):
        layer = call.layer
        if isinstance(layer, Operation):
            return self._operation(layer, read)
        made = self._layer(layer)
        if made is None or any(r is None for r in read):
            return [None] * len(call.outputs)
        keywords = {} if call.training is None else {"training": call.training}
        if isinstance(layer, Model) and isinstance(layer._input_form, list):
            return made(dict(zip(layer._input_form, read)), **keywords)
        return made(read if call.listed else read[0], **keywords)

    def _operation(self, layer, read):
        from ..layers.operation import _restored

        function = getattr(self._keras.ops, layer.function, None)
        if function is None:
            self._missing.append(f"{layer.name}: the function ops.{layer.function}")
        if function is None or any(r is None for r in read):
            return None
        arguments = [_restored(a, read) for a in layer.arguments]
        made = function(*arguments, **{k: _restored(a, read) for k, a in layer.keywords.items()})
        first = made[0] if isinstance(made, (list, tuple)) else made
        first._keras_history.operation.name = layer.name  # functions take no name
        return made

    def _layer(self, layer):
        if layer not in self._made:
            try:
                self._made[layer] = self._model(layer) if isinstance(layer, Model) else self._plain(layer)
            except _Unknown as error:
                self._made[layer] = None
                self._missing.append(f"{layer.name} ({type(layer).__name__}): {error}")
        return self._made[layer]

    def _plain(self, layer):
        kind = type(layer).__name__
        if not registry.holds(layer) or kind in NOT_IN_KERAS:
            raise _Unknown(NOT_IN_KERAS.get(kind, NOT_IN_KERAS["TracedLayer"]))
        config = {**layer.get_config(), "dtype": self._dtype, "name": layer.name.replace(".", "_")}
        if "activation" in config:
            config["activation"] = self._activation(config["activation"])
        if isinstance(layer, Lookup):
            del config["adapted"]
            try:
                made = getattr(self._keras.layers, kind)(**config)
            except ImportError as error:
                raise MissingExtraError(f"to_keras needs TensorFlow for {layer._label} ({error})") from None
            return made
        made = getattr(self._keras.layers, kind)(**config)
        if layer.weights:
            self._fresh.append((layer, made))
        return made

    def _activation(self, value):
        if isinstance(value, str):
            if hasattr(self._keras.activations, value):
                return value
            raise _Unknown(f"the activation {value!r}")
        arguments = dict(value)
        name = arguments.pop("name")
        for kind, own in _LAYERS_AS_ACTIVATIONS.items():
            if own == name:
                return getattr(self._keras.layers, kind)(**arguments)
        raise _Unknown(f"the activation {name!r} with arguments")
