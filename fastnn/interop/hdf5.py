"""Weights in HDF5 files, as Keras writes them.

Nothing outside the file is followed: soft and external links, virtual datasets, external storage and filters
that HDF5 would load as plug-ins are refused, and no array is read before its shape has been compared with the
one that is needed.
"""

import contextlib
import os
import re
import struct

import numpy as np

from .._safetensors import parse_json
from ..errors import FastNNError, FileFormatError, MissingExtraError, OutOfMemoryError

MAX_DEPTH = 64
MAX_ENTRIES = 1 << 20
# What deflated numbers may grow to beside their bytes in the file; constant arrays deflate to a thousandth.
MAX_EXPANSION = 1100

_FOREIGN_ERRORS = (
    OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, SystemError,
)  # fmt: skip


def import_h5py():
    """The library that reads HDF5."""
    try:
        import h5py
    except ImportError:
        raise MissingExtraError.of("Reading files of Keras", "h5py", "keras") from None
    return h5py


@contextlib.contextmanager
def opened(file, label):
    """An `Archive` of a binary file; whatever HDF5 finds wrong with it becomes a FileFormatError."""
    h5py = import_h5py()
    _check_heaps(file, label)
    try:
        with h5py.File(file, "r") as root:
            yield Archive(root, label)
    except FastNNError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{label} needs more memory than there is") from error
    except _FOREIGN_ERRORS as error:
        raise FileFormatError(
            f"{label} is no HDF5 file that can be read ({type(error).__name__}: {error}); it is damaged or foreign"
        ) from error


_CHUNK = 1 << 24
_HEAP = b"GCOL\1\0\0\0"
# The type of texts of any length, in ASCII or UTF-8, as attributes have it.
_TEXT_TYPES = (b"\x19\1\0\0\x10\0\0\0", b"\x19\1\1\0\x10\0\0\0")


def _check_heaps(file, label):
    """Raises for texts that HDF5's library would walk through for ever, or reserve gigabytes for.

    Texts stand in global heaps, whose objects are (index, references, reserved, size), then the data; index 0 is
    the free rest, header and all (HDF5 File Format Specification, III.E), and the library does not step over one
    of size 0. A text is read from (length, address of the heap, index), and the library reserves the length first.
    """
    start = file.read(16)
    widths = start[13:15] if start[8:9] in (b"\0", b"\1") else start[9:11]  # of addresses and of lengths
    if widths != b"\x08\x08":
        raise FileFormatError(f"{label} is no HDF5 file with addresses of 8 bytes; it is damaged or foreign")
    size = file.seek(0, os.SEEK_END)
    for at in _places(file, _HEAP):
        _check_heap(file, at, label)
    left = size  # texts of two attributes do not overlap
    for pattern in _TEXT_TYPES:
        for at in _places(file, pattern):
            file.seek(at + 24)  # behind the type: its shape, of version 1, then the texts
            shape = file.read(8)
            if len(shape) < 8 or shape[0] != 1 or shape[1] > 1:
                continue
            count = int.from_bytes(file.read(8), "little") if shape[1] else 1
            file.seek(8 if shape[1] and shape[2] else 0, os.SEEK_CUR)  # its largest shape
            texts = file.read(16 * min(count, size))
            left -= len(texts)
            if left < 0:
                raise FileFormatError(f"{label} has texts that overlap; it is damaged or foreign")
            for length, _, _ in struct.iter_unpack("<IQI", texts[: len(texts) // 16 * 16]):
                if length > size:
                    raise FileFormatError(
                        f"{label} announces a text of {length} bytes in a file of {size}; it is damaged or foreign"
                    )
    file.seek(0)


def _places(file, pattern):
    """Where a pattern of 8 bytes stands in a file."""
    at, found = 0, []
    while True:
        file.seek(at)
        chunk = file.read(_CHUNK)
        place = chunk.find(pattern)
        while place >= 0:
            found.append(at + place)
            place = chunk.find(pattern, place + 1)
        if len(chunk) < _CHUNK:
            return found
        at += _CHUNK - 7


def _check_heap(file, at, label):
    file.seek(at + 8)
    size = int.from_bytes(file.read(8), "little")
    heap = file.read(min(size, _CHUNK) - 16) if size > 16 else b""
    pos = 0
    while pos + 16 <= len(heap):
        index, _, _, held = struct.unpack_from("<HHIQ", heap, pos)
        step = held if index == 0 else 16 + (held + 7) // 8 * 8
        if step < 16 or step > len(heap) - pos:
            raise FileFormatError(f"{label} has texts that overlap or have no end; it is damaged or foreign")
        pos += step


class Entry:
    """The weights of one layer in a file.

    Attributes
    ----------
    path : str
        Where they stand.
    name : str or None
        The layer's name, where the file tells it.
    shapes : list of tuple
        In the order of the layer's weights.
    """

    def __init__(self, path, name, datasets, archive):
        self.path, self.name, self._datasets, self._archive = path, name, datasets, archive
        self.shapes = [d.shape for d in datasets]

    def read(self, index):
        """The array, which the caller knows to have a shape that is needed."""
        return self._archive.read(self._datasets[index])


class Archive:
    """Checked access to an open HDF5 file."""

    def __init__(self, root, label):
        self.root, self._label = root, label
        self._h5py = import_h5py()

    def _fail(self, what):
        raise FileFormatError(f"{self._label} {what}; it is damaged or foreign")

    def _member(self, group, name, kind):
        if group.get(name, getclass=True, getlink=True) is not self._h5py.HardLink:
            self._fail(f"holds a link at {group.name}/{name} in place of the thing itself, which is not followed")
        found = group[name]
        if not isinstance(found, kind):
            self._fail(f"holds no {kind.__name__.lower()} at {group.name}/{name}")
        return found

    def group(self, path):
        """The group at a path from the root."""
        at = self.root
        for name in path.split("/"):
            at = self._member(at, name, self._h5py.Group)
        return at

    def dataset(self, group, path):
        """The dataset at a path from a group."""
        *groups, name = path.split("/")
        for part in groups:
            group = self._member(group, part, self._h5py.Group)
        found = self._member(group, name, self._h5py.Dataset)
        if found.is_virtual or found.external:
            self._fail(f"keeps the array {found.name} outside of itself, which is not followed")
        if found.dtype.kind not in "fiub" or found.shape is None:
            self._fail(f"holds no numbers at {found.name}")
        filters = found._filters
        if not set(filters) <= {"gzip", "shuffle", "fletcher32", "lzf"}:
            self._fail(f"keeps the array {found.name} in an unknown compression")
        return found

    def read(self, dataset):
        """The array of a dataset, unless it grows beyond what its bytes in the file can hold."""
        stored = dataset.id.get_storage_size()
        if dataset.size * dataset.dtype.itemsize > (MAX_EXPANSION if dataset.chunks else 1) * stored:
            self._fail(f"announces {dataset.shape} numbers at {dataset.name} and holds {stored} bytes of them")
        return np.asarray(dataset[()])

    def text(self, group, name):
        """A text attribute, or None."""
        if name not in group.attrs:
            return None
        value = group.attrs[name]
        value = value.decode() if isinstance(value, bytes) else value
        return value if isinstance(value, str) else self._fail(f"has no text as the attribute {name!r}")

    def json(self, name):
        """An attribute of the root that holds JSON, or None."""
        text = self.text(self.root, name)
        return None if text is None else parse_json(text, f"the attribute {name!r} of {self._label}")

    def _texts(self, group, name):
        """A list of texts in attributes, which long lists are spread over."""
        if name in group.attrs:
            found = [group.attrs[name]]
        else:
            found = []
            while f"{name}{len(found)}" in group.attrs:
                found.append(group.attrs[f"{name}{len(found)}"])
        values = [v.decode() if isinstance(v, bytes) else v for part in found for v in np.atleast_1d(part).tolist()]
        if not all(isinstance(v, str) for v in values):
            self._fail(f"has no list of names as the attribute {name!r}")
        return values

    # -- the two layouts --

    def legacy(self):
        """Whether the weights stand as in files of Keras 2, and of ``.h5`` files of Keras 3."""
        return "model_weights" in self.root or self._names_layers(self.root)

    @staticmethod
    def _names_layers(group):
        return any(name in group.attrs for name in ("layer_names", "layer_names0"))

    def layers(self):
        """list of Entry: every layer with weights, in the order of the file."""
        return self._legacy_layers() if self.legacy() else self._layers()

    def _legacy_layers(self):
        top = self._member(self.root, "model_weights", self._h5py.Group) if "model_weights" in self.root else self.root
        entries = []
        for name in self._texts(top, "layer_names"):
            group = self._member_path(top, name)
            datasets = [self.dataset(group, w) for w in self._texts(group, "weight_names")]
            if datasets:
                entries.append(Entry(name, name, datasets, self))
        return entries

    def _member_path(self, group, path):
        for part in path.split("/"):
            group = self._member(group, part, self._h5py.Group)
        return group

    def _layers(self):
        """The layout of Keras 3: the numbered arrays of a layer in a group "vars"."""
        entries, left = [], MAX_ENTRIES
        stack = [("", self.root, 0)]
        while stack:
            path, group, depth = stack.pop()
            left -= len(group)
            if depth > MAX_DEPTH or left < 0:
                self._fail("is nested too deeply or holds too many groups")
            inner = []
            for name in group:
                if name == "vars":
                    held = self._member(group, name, self._h5py.Group)
                    datasets = [self.dataset(held, str(i)) for i in range(len(held))]
                    if datasets:
                        entries.append(Entry(path, self.text(held, "name"), datasets, self))
                elif name != "seed_generator" and not (depth == 0 and name == "optimizer"):
                    inner.append((f"{path}/{name}" if path else name, name))
            for place, name in sorted(inner, key=lambda pair: natural(pair[1]), reverse=True):
                stack.append((place, self._member(group, name, self._h5py.Group), depth + 1))
        return entries


def natural(name):
    """A key that sorts numbers in names by their value: "dense_2" before "dense_10"."""
    parts = re.split(r"(\d+)", name)
    return [(int(p), "") if i % 2 and len(p) < 20 else (-1, p) for i, p in enumerate(parts)]
