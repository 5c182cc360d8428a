"""Which weight of a foreign source belongs to which parameter.

Everything is found, compared and read before any parameter changes: a source fits as a whole or leaves the
model as it was.
"""

import os
import zipfile

import numpy as np

from .. import model as models
from .._safetensors import ForeignReader
from ..errors import ArgumentError, ArgumentTypeError, FileFormatError, ShapeError
from ..registry import snake_case
from . import hdf5

_ROWS = 24  # of two lists side by side


# ---- parameters of layers ----


class Placed:
    """A layer with weights and its place: the path of Keras's files, and the names that lead to it."""

    def __init__(self, path, names, weights):
        self.path, self.names, self.weights = path, names, weights

    @property
    def name(self):
        """str: the layer's own name."""
        return self.names[-1]

    @property
    def shapes(self):
        """list of tuple: of the weights."""
        return [w.shape for w in self.weights]


def class_in_keras(layer):
    """The class name under which Keras files a layer."""
    if isinstance(layer, models.Model):
        return "Sequential" if isinstance(layer, models.Sequential) else "Functional"
    return type(layer).__name__


def group_names(classes):
    """The names of Keras's groups for layers of these classes: dense, dense_1, ..."""
    counts = {}
    for name in map(snake_case, classes):
        count = counts.get(name, 0)
        counts[name] = count + 1
        yield f"{name}_{count}" if count else name


def placed_layers(model, path="", names=()):
    """list of Placed: the layers with weights in the order of Keras's files, each once."""
    found, seen = [], set()

    def walk(model, path, names):
        for layer, group in zip(model.layers, group_names(map(class_in_keras, model.layers))):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            inner = (f"{path}layers/{group}", (*names, layer.name))
            if isinstance(layer, models.Model):
                walk(layer, inner[0] + "/", inner[1])
            elif layer.weights:
                found.append(Placed(*inner, layer.weights))

    walk(model, path, names)
    return found


def _top_layers(placed):
    """The same as the older files of Keras have it: nested models as one, trainable weights first."""
    tops = {}
    for layer in placed:
        tops.setdefault(layer.names[0], []).append(layer)
    found = []
    for name, inner in tops.items():
        weights = [w for layer in inner for w in layer.weights]
        if len(inner) > 1 or len(inner[0].names) > 1:
            weights.sort(key=lambda w: not w.trainable)
        found.append(Placed(name, (name,), weights))
    return found


# ---- errors ----


def side_by_side(heading, own, given):
    """Two lists of (name, text) as two columns, the second where nothing fits the first."""
    left, right = ([f"{name} {text}" for name, text in rows] for rows in (own, given))
    count = max(len(left), len(right))
    left += [""] * (count - len(left))
    right += [""] * (count - len(right))
    width = max([len(row) for row in left[:_ROWS]] + [len("the model")])
    rows = [f"  {a:<{width}} | {b}".rstrip() for a, b in zip(left, right)]
    more = [f"  ... and {count - _ROWS} more"] if count > _ROWS else []
    return "\n".join([heading, f"  {'the model':<{width}} | the source", *rows[:_ROWS], *more])


def _listed(entries):
    return [(getattr(e, "name", None) or e.path, " ".join(map(str, e.shapes))) for e in entries]


def assign(pairs):
    """Writes arrays into parameters after all of them have been read; `pairs` holds (Parameter, read)."""
    arrays = [(parameter, parameter.fitting(read())) for parameter, read in pairs]
    for parameter, array in arrays:
        parameter.assign(array)


# ---- Keras's files ----


def from_archive(archive, placed, label, skip_mismatch=False):
    """Pairs of Parameter and a function that reads it, from a Keras file for `placed` layers.

    By name where the names of the file's layers are those of the model's; else by Keras's own rule: by class and
    count in files of Keras 3, by order in older ones.
    """
    entries = archive.layers()
    if archive.legacy():
        placed = _top_layers(placed)
    named = {e.name: e for e in entries if e.name is not None}
    names = [layer.name for layer in placed]
    if len(named) == len(entries) == len(set(names)) and set(named) == set(names):
        found = [named[name] for name in names]
    elif archive.legacy():
        found = entries
    else:
        by_path = {e.path: e for e in entries}
        found = [by_path.pop(layer.path, None) for layer in placed]
        found = [] if by_path else found
    if not skip_mismatch and (
        len(found) != len(placed)
        or any(e is None or e.shapes != layer.shapes for e, layer in zip(found, placed))
    ):
        raise ShapeError(
            side_by_side(
                f"{label} does not hold the weights of this model; pass skip_mismatch=True to take those of layers "
                "that fit:",
                _listed(placed),
                _listed(entries),
            )
        )
    return [
        (weight, lambda e=entry, i=i: e.read(i))
        for entry, layer in zip(found, placed)
        if entry is not None and entry.shapes == layer.shapes
        for i, weight in enumerate(layer.weights)
    ]


# ---- tensors by name ----

_IGNORED = ("num_batches_tracked",)  # counts of PyTorch's, which no fastnn layer has

# The weights of fastnn's layers under PyTorch's names; a kernel is transposed there.
ROLES = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var", "embeddings": "weight", "alpha": "weight",
}  # fmt: skip


class _Tensors:
    """Tensors of one layer in PyTorch's naming: what stands behind the last dot by role."""

    def __init__(self, path):
        self.path, self.roles = path, {}

    @property
    def shapes(self):
        return [f"{role} {shape}" for role, (shape, _) in self.roles.items()]


class _Own:
    """A layer of the model: its parameters by PyTorch's role, or by name where PyTorch has no such layer."""

    def __init__(self, placed):
        self.name, self.weights = placed.name, placed.weights
        own = [w.name.rpartition("/")[2] for w in placed.weights]
        roles = [ROLES.get(role, role) for role in own]
        if len(set(roles)) < len(roles):  # a layer of the user's own
            roles = own
        self.roles = {
            role: (w, _shape_in_torch(name, w.shape)) for role, name, w in zip(roles, own, placed.weights)
        }
        self.shapes = [f"{role} {shape}" for role, (_, shape) in self.roles.items()]

    def fits(self, source):
        """Whether tensors of a source have the same roles and shapes."""
        if source.roles.keys() != self.roles.keys():
            return False
        return all(self.roles[role][1] == shape for role, (shape, _) in source.roles.items())

    def pairs(self, source):
        for role, (parameter, _) in self.roles.items():
            read = source.roles[role][1]
            kernel = parameter.name.endswith("/kernel") and len(parameter.shape) == 2
            yield parameter, lambda p=parameter, r=read, k=kernel: (r().T if k else r().reshape(p.shape))


def _shape_in_torch(role, shape):
    if role == "kernel":
        return shape[::-1]
    return tuple(d for d in shape if d != 1) or (1,) if role == "alpha" else tuple(shape)


def from_tensors(model, tensors, label, ordered, skip_mismatch=False):
    """Pairs of Parameter and a function that reads it.

    Parameters
    ----------
    tensors : dict of str to (shape, read)
    ordered : bool
        Whether the order of the tensors is that of the layers.
    """
    parameters = model.parameters
    if set(tensors) == set(parameters) or (skip_mismatch and set(tensors) & set(parameters)):
        return _by_own_names(parameters, tensors, label, skip_mismatch)
    sources = {}
    for name, entry in tensors.items():
        path, _, role = name.rpartition(".")
        if role not in _IGNORED:
            sources.setdefault(path, _Tensors(path)).roles[role] = entry
    own = [_Own(placed) for placed in placed_layers(model)]
    names = [layer.name for layer in own]
    found = {name: sources[name] for name in names if name in sources}
    rest = [layer for layer in own if layer.name not in found]
    left = [source for path, source in sources.items() if path not in found]
    if skip_mismatch:
        return [
            pair
            for layer in own
            if layer.name in found and layer.fits(found[layer.name])
            for pair in layer.pairs(found[layer.name])
        ]
    if len(rest) == len(left):
        found |= dict(zip((layer.name for layer in rest), _in_order(rest, left, own, sources, label, ordered)))
    if len(rest) != len(left) or not all(layer.fits(found[layer.name]) for layer in own):
        raise ShapeError(
            side_by_side(
                f"{label} does not fit this model, neither by names nor by order and shape (PyTorch's Linear keeps "
                "its kernel transposed, as (out, in)):",
                _listed(own),
                _listed(sources.values()),
            )
        )
    return [pair for layer in own for pair in layer.pairs(found[layer.name])]


def _by_own_names(parameters, tensors, label, skip_mismatch):
    pairs = []
    for name, p in parameters.items():
        shape, read = tensors.get(name, (None, None))
        if shape == p.shape:
            pairs.append((p, read))
        elif not skip_mismatch:
            raise ShapeError(
                f"{label} holds {name!r} of shape {shape}, the model needs {p.shape}; "
                "pass skip_mismatch=True to leave it"
            )
    return pairs


def _in_order(rest, left, own, sources, label, ordered):
    """`left` in the order of the layers `rest`.

    A source whose order says nothing (safetensors sorts by name) must tell its layers apart by their shapes, or
    name them by numbers.
    """
    if ordered or len(left) < 2:
        return left
    by_shape = [[source for source in left if layer.fits(source)] for layer in rest]
    if all(len(fitting) == 1 for fitting in by_shape) and len({id(f[0]) for f in by_shape}) == len(rest):
        return [fitting[0] for fitting in by_shape]
    if len({_without_numbers(source.path) for source in left}) == 1:
        return sorted(left, key=lambda source: hdf5.natural(source.path))
    raise ArgumentError(
        side_by_side(
            f"{label} does not say which of its tensors of one shape belong where: its order is that of the alphabet. "
            "Give the layers of the model its names, or load a state_dict, which is in the order of the layers:",
            _listed(own),
            _listed(sources.values()),
        )
    )


def _without_numbers(path):
    return "".join(c for c in path if not c.isdigit())


# ---- sources ----


def array_of(tensor):
    """A tensor of PyTorch, or anything that NumPy reads, as an array."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) in ("torch.bfloat16", "torch.float16"):
            tensor = tensor.float()
        return tensor.numpy()
    return np.asarray(tensor)


def from_mapping(model, mapping, skip_mismatch):
    """Pairs for a `state_dict`, or a mapping of arrays by name."""
    tensors = {}
    for name, tensor in mapping.items():
        if not isinstance(name, str) or not hasattr(tensor, "shape"):
            raise ArgumentTypeError(
                "load_weights takes a mapping of names to arrays, such as a state_dict, "
                f"got {name!r}: {type(tensor).__name__}"
            )
        tensors[name] = (tuple(tensor.shape), lambda t=tensor: array_of(t))
    return from_tensors(model, tensors, "the mapping", True, skip_mismatch)


def load_foreign(model, file, path, skip_mismatch):
    """Reads weights that other programs wrote into a model; False for a file that is none of theirs."""
    label = f"'{path}'"
    start = file.read(16)
    file.seek(0)
    if start.startswith(b"\x89HDF"):
        with hdf5.opened(file, label) as archive:
            assign(from_archive(archive, placed_layers(model), label, skip_mismatch))
        return True
    if start.startswith(b"PK\x03\x04") and _is_keras(file):
        from . import keras

        with keras.weights_in(file, label) as archive:
            assign(from_archive(archive, placed_layers(model), label, skip_mismatch))
        return True
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or start.startswith(b"PK\x03\x04"):
        stem = os.path.splitext(path)[0]
        raise FileFormatError(
            f"{label} is a pickle, as torch.save writes it, and would run code of its own; convert it where you trust "
            f"it:\n  import torch, safetensors.torch; safetensors.torch.save_file(torch.load({path!r}, "
            f"map_location='cpu', weights_only=True), {stem + '.safetensors'!r})"
        )
    if start[8:9] == b"{":
        reader = ForeignReader(file, label)
        tensors = {
            name: (shape, lambda n=name: reader.read(n)) for name, (_, shape, _) in reader.tensors.items()
        }
        assign(from_tensors(model, tensors, label, False, skip_mismatch))
        return True
    return False


def _is_keras(file):
    try:
        with zipfile.ZipFile(file) as archive:
            return "config.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    finally:
        file.seek(0)
