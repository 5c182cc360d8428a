"""Weights in HDF5 files, as Keras writes them.

Nothing outside the file is followed: soft and external links, virtual datasets, external storage and filters
that HDF5 would load as plug-ins are refused, and no array is read before its shape has been compared with the
one that is needed. HDF5's library reserves what a file announces before it looks whether that is there, so what
is announced is looked up here first, by the HDF5 File Format Specification.
"""

import contextlib
import math
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
# Bytes of a chunk that may be larger than its array: HDF5 guesses chunks of up to 1 MiB.
SPARE_CHUNK = 1 << 20

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
            yield Archive(root, label, file)
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


def _damaged(label, what):
    raise FileFormatError(f"{label} {what}; it is damaged or foreign")


def _check_heaps(file, label):
    """Raises for texts that HDF5's library would walk through for ever.

    Texts stand in global heaps, whose objects are (index, references, reserved, size), then the data; index 0 is
    the free rest, header and all (III.E), and the library does not step over one of size 0.
    """
    start = file.read(16)
    widths = start[13:15] if start[8:9] in (b"\0", b"\1") else start[9:11]  # of addresses and of lengths
    if widths != b"\x08\x08":
        _damaged(label, "is no HDF5 file with addresses of 8 bytes")
    for at in _places(file, _HEAP):
        _check_heap(file, at, label)
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
            _damaged(label, "has texts that overlap or have no end")
        pos += step


# ---- what object headers say of attributes ----

_CONTINUED, _ATTRIBUTE, _SHARED = 0x10, 0x0C, 2


def _messages(file, at):
    """(kind, flags, body) of every message of the object header at an address (IV.A.1)."""
    file.seek(at)
    start = file.read(40)
    modern = start[:4] == b"OHDR"
    if modern:
        flags = start[5]
        place = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        blocks = [(at + place + width, int.from_bytes(start[place : place + width], "little"))]
        head = 6 if flags & 4 else 4  # with the order of creation
    else:
        blocks, head = [(at + 16, int.from_bytes(start[8:12], "little"))], 8
    seen, left = set(), file.seek(0, os.SEEK_END)
    while blocks:
        place, size = blocks.pop()
        left -= size
        if place in seen or left < 0:
            return
        seen.add(place)
        file.seek(place)
        block, pos = file.read(size), 0
        while pos + head <= len(block):
            kind, length, flags = struct.unpack_from("<BHB" if modern else "<HHB", block, pos)
            body = block[pos + head : pos + head + length]
            pos += head + length
            if kind == _CONTINUED and len(body) >= 16:
                place, size = struct.unpack_from("<QQ", body)
                blocks.append((place + 4, size - 8) if modern and size >= 8 else (place, size))  # "OCHK", its sum
            yield kind, flags, body


def _value_of(body):
    """(name, bytes of the value) of an attribute message (IV.A.2.m), or None."""
    if len(body) < 8 or not 1 <= body[0] <= 3:
        return None
    sizes = struct.unpack_from("<HHH", body, 2)
    step = 8 if body[0] == 1 else 1  # what the parts are padded to
    at = 9 if body[0] == 3 else 8
    name = body[at : at + sizes[0]].split(b"\0")[0]
    return name, body[at + sum(-(-size // step) * step for size in sizes) :]


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

    def __init__(self, root, label, file):
        self.root, self._label, self._file = root, label, file
        self._h5py = import_h5py()
        self._size = file.seek(0, os.SEEK_END)
        if root.userblock_size:
            self._fail("begins with something else")

    def _fail(self, what):
        _damaged(self._label, what)

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
        stored, chunk = dataset.id.get_storage_size(), dataset.chunks
        if chunk and (math.prod(chunk) - dataset.size) * dataset.dtype.itemsize > SPARE_CHUNK:
            self._fail(f"keeps the {dataset.shape} numbers at {dataset.name} in pieces of {chunk}")
        if dataset.size * dataset.dtype.itemsize > (MAX_EXPANSION if chunk else 1) * stored:
            self._fail(f"announces {dataset.shape} numbers at {dataset.name} and holds {stored} bytes of them")
        return np.asarray(dataset[()])

    def _attribute(self, group, name):
        """The value of an attribute of texts, which are not longer than the file."""
        kind = group.attrs.get_id(name)
        count = math.prod(kind.shape)
        if count == 0:  # an empty list has the type of numbers
            return []
        text = self._h5py.check_string_dtype(kind.dtype)
        if text is None:
            self._fail(f"has no texts as the attribute {name!r} of {group.name}")
        if text.length is not None:
            if count * text.length > self._size:
                self._fail(f"announces {count} texts of {text.length} bytes as the attribute {name!r} of {group.name}")
            return group.attrs[name]
        found, left = False, self._size
        for kind, flags, body in _messages(self._file, self._h5py.h5o.get_info(group.id).addr):
            value = _value_of(body) if kind == _ATTRIBUTE and not flags & _SHARED else None
            if value is None or value[0] != name.encode():
                continue
            found = True
            references = value[1][: 16 * count]  # each a length, the address of a heap, an index
            if len(references) < 16 * count:
                self._fail(f"is cut off in the attribute {name!r} of {group.name}")
            for length, _, _ in struct.iter_unpack("<IQI", references):
                left -= length
                if left < 0:
                    self._fail(f"announces a text of {length} bytes in a file of {self._size}")
        if not found:
            self._fail(f"keeps the attribute {name!r} of {group.name} apart, in a way that Keras does not write")
        return group.attrs[name]

    def text(self, group, name):
        """A text attribute, or None."""
        if name not in group.attrs:
            return None
        value = self._attribute(group, name)
        value = value.decode() if isinstance(value, bytes) else value
        return value if isinstance(value, str) else self._fail(f"has no text as the attribute {name!r}")

    def json(self, name):
        """An attribute of the root that holds JSON, or None."""
        text = self.text(self.root, name)
        return None if text is None else parse_json(text, f"the attribute {name!r} of {self._label}")

    def _texts(self, group, name):
        """A list of texts in attributes, which long lists are spread over."""
        if name in group.attrs:
            found = [self._attribute(group, name)]
        else:
            found = []
            while f"{name}{len(found)}" in group.attrs:
                found.append(self._attribute(group, f"{name}{len(found)}"))
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
                elif name != "seed_generator" and not (depth == 0 and name in ("optimizer", "metrics")):
                    inner.append((f"{path}/{name}" if path else name, name))
            for place, name in sorted(inner, key=lambda pair: natural(pair[1]), reverse=True):
                stack.append((place, self._member(group, name, self._h5py.Group), depth + 1))
        return entries


def natural(name):
    """A key that sorts numbers in names by their value: "dense_2" before "dense_10"."""
    parts = re.split(r"(\d+)", name)
    return [(int(p), "") if i % 2 and len(p) < 20 else (-1, p) for i, p in enumerate(parts)]
