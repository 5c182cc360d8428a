"""ONNX files as plain Python: what is in them is checked here, before anything is made of it."""

import functools
import math
import mmap
import os

import numpy as np

from ..errors import ArgumentTypeError, FileAccessError, FileFormatError, UnsupportedError
from ..graph import MAX_NODES
from ._library import library
from .wire import check_wire

MIN_OPSET, MAX_OPSET = 7, 28
MAX_DIMS = 16  # of a constant; tensors of a model have fewer
MAX_OPERANDS = 4096  # of a node
MAX_ENTRIES = 1 << 18  # of an attribute that is a list
_EXTERNAL = 1  # TensorProto.EXTERNAL

# TensorProto.DataType: NumPy's name, and the field that holds the numbers where they are not raw.
TYPES = {
    1: ("float32", "float_data"), 2: ("uint8", "int32_data"), 3: ("int8", "int32_data"), 4: ("uint16", "int32_data"),
    5: ("int16", "int32_data"), 6: ("int32", "int32_data"), 7: ("int64", "int64_data"), 8: ("string", "string_data"),
    9: ("bool", "int32_data"), 10: ("float16", "int32_data"), 11: ("float64", "double_data"),
    12: ("uint32", "uint64_data"), 13: ("uint64", "uint64_data"), 16: ("bfloat16", "int32_data"),
}  # fmt: skip

_STORED = {
    "float_data": np.float32, "double_data": np.float64, "int32_data": np.int32, "int64_data": np.int64,
    "uint64_data": np.uint64,
}  # fmt: skip


class Node:
    """One node of a graph.

    Attributes
    ----------
    op, domain, name : str
    inputs, outputs : list of str
        Names of values; "" for one that is left out.
    attributes : dict
        Numbers, str, lists of these, and ndarray.
    opset : int
        Of its domain.
    batch : int or None
        The number of samples, where the file fixes it.
    """

    __slots__ = ("op", "domain", "name", "inputs", "outputs", "attributes", "opset", "batch")

    @classmethod
    def made(cls, op, node, inputs):
        """A node with another operator and inputs in the place of one."""
        made = cls()
        made.op, made.domain, made.name, made.opset, made.batch = op, "", node.name, node.opset, node.batch
        made.inputs, made.outputs, made.attributes = inputs, node.outputs, {}
        return made

    @property
    def label(self):
        """str: how errors call it."""
        return f"{self.name or ', '.join(self.outputs)!r} ({self.op})"

    def get(self, attribute, default=None):
        """The value of an attribute."""
        return self.attributes.get(attribute, default)


class Graph:
    """A checked graph: every value has one name and one origin, and nodes stand in the order in which they run.

    Attributes
    ----------
    name, producer : str
    metadata : dict of str to str
    inputs : list of (name, type, shape)
        The shape has None where a size is left open.
    outputs : list of str
    initializers : dict of str to TensorProto
        Read by `array`.
    nodes : list of Node
    """

    def array(self, name):
        """The ndarray of an initializer, read anew at each call."""
        again = name in self._read
        self._read.add(name)
        return self._tensors.array(self.initializers[name], f"the initializer {name!r}", again)


def read(source):
    """The Graph of a path, of bytes or of an `onnx.ModelProto`.

    Raises
    ------
    FileAccessError, FileFormatError, UnsupportedError
    """
    onnx = library("reading ONNX")
    folder = None
    if isinstance(source, onnx.ModelProto):
        proto = source
    elif isinstance(source, (bytes, bytearray, memoryview)):
        proto = _parsed(onnx, memoryview(source), "the content")
    else:
        from ..io import _path

        try:
            path = _path("from_onnx", source)
        except ArgumentTypeError:
            raise ArgumentTypeError(
                f"from_onnx takes the path of an ONNX file, its bytes or an onnx.ModelProto, got {type(source).__name__}"
            ) from None
        folder = os.path.dirname(os.path.abspath(path))
        proto = _of_path(onnx, path)
    return _graph(proto, _Tensors(folder))


def _of_path(onnx, path):
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise FileFormatError(f"'{path}' is empty, not an ONNX file")
            return _parsed(onnx, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), f"'{path}'")
    except OSError as error:
        raise FileAccessError(
            f"cannot read '{path}': {error.strerror or error}", errno=error.errno, filename=path
        ) from error


def _parsed(onnx, content, what):
    from google.protobuf.message import DecodeError

    check_wire(content, what)
    try:
        proto = onnx.ModelProto.FromString(content)
    except (DecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise FileFormatError(f"{what} is no ONNX file, or a damaged one ({error})") from None
    if not proto.HasField("graph"):
        raise FileFormatError(f"{what} is no ONNX file: it holds no graph")
    return proto


# ---- the graph ----


def _graph(proto, tensors):
    graph, found = Graph(), proto.graph
    opsets = {_text(entry.domain): entry.version for entry in proto.opset_import}
    opsets[""] = opsets.get("ai.onnx", opsets.get("", 1))
    if not MIN_OPSET <= opsets[""] <= MAX_OPSET:
        raise UnsupportedError(
            f"the ONNX model uses opset {opsets['']}, from_onnx reads {MIN_OPSET} to {MAX_OPSET}; convert it with "
            "onnx.version_converter, or export it anew"
        )
    if proto.functions:
        raise UnsupportedError(
            f"the ONNX model defines operators of its own, such as {proto.functions[0].name!r}; inline them with "
            "onnx.inliner.inline_local_functions"
        )
    graph.name, graph.producer, graph._tensors = _text(found.name), _text(proto.producer_name), tensors
    graph._read = set()
    graph.metadata = {_text(entry.key): _text(entry.value) for entry in proto.metadata_props}
    graph.initializers = _named(found.initializer, "initializers")
    if found.sparse_initializer:
        raise UnsupportedError("the ONNX model holds sparse initializers, from_onnx reads dense ones alone")
    graph.inputs = [
        (name, *_type_of(info)) for name, info in _named(found.input, "inputs").items() if name not in graph.initializers
    ]
    graph.outputs = list(_named(found.output, "outputs"))
    if len(found.node) > MAX_NODES:
        raise UnsupportedError(f"the ONNX model has {len(found.node):,} nodes, at most {MAX_NODES:,} are possible")
    nodes = [_node(n, opsets, tensors) for n in found.node]
    graph.nodes = _in_order(nodes, {name for name, *_ in graph.inputs} | set(graph.initializers))
    made = {name for node in nodes for name in node.outputs} | {i[0] for i in graph.inputs} | set(graph.initializers)
    for name in graph.outputs:
        if name not in made:
            raise FileFormatError(f"nothing in the ONNX model makes the output {name!r}")
    return graph


def _text(value):
    """A text of the file, which protobuf gives as bytes where it may be none."""
    try:
        return value if isinstance(value, str) else value.decode("utf-8")
    except UnicodeDecodeError:
        raise FileFormatError(f"a name in the ONNX model, {value[:60]!r}, is not UTF-8 text") from None


def _named(protos, what):
    found = {}
    for proto in protos:
        if not _text(proto.name) or proto.name in found:
            raise FileFormatError(f"two {what} of the ONNX model are called {proto.name!r}, or one has no name")
        found[proto.name] = proto
    return found


def _type_of(info):
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedError(f"the input {info.name!r} of the ONNX model is a {kind or 'value without type'}, not a tensor")
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        raise UnsupportedError(f"the input {info.name!r} of the ONNX model has no shape; fastnn needs all sizes but the first")
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    if any(d is not None and d < 0 for d in shape):
        raise FileFormatError(f"the input {info.name!r} of the ONNX model has the shape {shape}")
    if tensor.elem_type not in TYPES:
        raise UnsupportedError(f"the input {info.name!r} of the ONNX model has elements of type {tensor.elem_type}")
    return TYPES[tensor.elem_type][0], shape


def _node(proto, opsets, tensors):
    node = Node()
    node.op, node.name = _text(proto.op_type), _text(proto.name)
    node.domain = "" if proto.domain == "ai.onnx" else _text(proto.domain)
    node.inputs, node.outputs = [_text(n) for n in proto.input], [_text(n) for n in proto.output]
    if len(node.inputs) > MAX_OPERANDS:
        raise UnsupportedError(f"{node.label} has {len(node.inputs):,} inputs, at most {MAX_OPERANDS:,} are possible")
    node.opset = opsets.get(node.domain, 1)
    node.attributes, node.batch = {}, None
    schema = None if node.domain else _schema(node.op, node.opset)
    for a in proto.attribute:
        if _text(a.name) in node.attributes:
            raise FileFormatError(f"{node.label} has the attribute {a.name!r} twice")
        node.attributes[a.name] = _attribute(node, a, tensors)
        known = schema and schema.attributes.get(a.name)
        if schema and (known is None or known.type.value != a.type):
            raise FileFormatError(f"{node.label} has an attribute {a.name!r} of type {a.type}, which {node.op} does not have")
    if schema:
        for name, known in schema.attributes.items():
            if known.required and name not in node.attributes:
                raise FileFormatError(f"{node.label} needs the attribute {name!r}")
        for what, seen, least, most in (
            ("operands", node.inputs, schema.min_input, schema.max_input),
            ("outputs", node.outputs, schema.min_output, schema.max_output),
        ):
            if not least <= len(seen) <= most:
                raise FileFormatError(f"{node.label} has {len(seen)} {what}, needed are {least} to {most}")
    return node


@functools.lru_cache(1024)
def _schema(op, opset):
    """What ONNX says of an operator of its own in this opset; None for one that it does not know."""
    from onnx import defs

    try:
        return defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None


_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}  # by AttributeProto.type


def _attribute(node, proto, tensors):
    if proto.type in (5, 10):
        raise UnsupportedError(
            f"the node {node.label} holds a graph of its own; from_onnx reads operators without control flow"
        )
    if proto.type not in _FIELDS or proto.ref_attr_name:
        raise UnsupportedError(f"the node {node.label} has the attribute {proto.name!r} of a kind that fastnn does not read")
    value = getattr(proto, _FIELDS[proto.type])
    if proto.type > 5 and len(value) > MAX_ENTRIES:
        raise UnsupportedError(
            f"the attribute {proto.name!r} of {node.label} has {len(value):,} entries, at most {MAX_ENTRIES:,} are possible"
        )
    if proto.type == 4:
        return tensors.array(value, f"{proto.name!r} of {node.label}")
    if proto.type == 3:
        return _text(value)
    if proto.type == 8:
        return list(map(_text, value))
    return list(value) if proto.type in (6, 7) else value


def _in_order(nodes, known):
    """The nodes in an order in which they can run; raises where there is none."""
    made_by = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in made_by or name in known:
                raise FileFormatError(f"two parts of the ONNX model make the value {name!r}, one of them {node.label}")
            made_by[name] = node
    waiting, readers = {}, {}
    for node in nodes:
        needed = {name for name in node.inputs if name and name not in known}
        for name in needed:
            if name not in made_by:
                raise FileFormatError(f"{node.label} reads {name!r}, which nothing in the ONNX model makes")
            readers.setdefault(name, []).append(node)
        waiting[id(node)] = len(needed)
    ready = [node for node in nodes if not waiting[id(node)]]
    for node in ready:  # grows while it is walked
        for name in filter(None, node.outputs):
            for reader in readers.get(name, ()):
                waiting[id(reader)] -= 1
                if not waiting[id(reader)]:
                    ready.append(reader)
    if len(ready) < len(nodes):
        stuck = next(node for node in nodes if waiting[id(node)])
        raise FileFormatError(f"the ONNX model has a cycle through {stuck.label}")
    place = {id(node): i for i, node in enumerate(nodes)}
    given = [place[id(node)] for node in ready]
    first = {}
    for i, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            first[name] = i
    sorted_already = all(first.get(name, -1) < i for i, node in enumerate(nodes) for name in node.inputs if name)
    return nodes if sorted_already else [nodes[i] for i in given]


# ---- numbers ----


def is_hollow(shape):
    """Whether a shape without elements has sizes of which a reduction would make many."""
    return 0 in shape and math.prod(d for d in shape if d) > 1 << 20


class _Tensors:
    """Reads TensorProtos; those in other files only within the folder of the model."""

    def __init__(self, folder):
        self.folder, self._left = folder, {}

    def array(self, proto, what, again=False):
        """The ndarray of a TensorProto; bfloat16 as float32."""
        shape = tuple(proto.dims)
        if len(shape) > MAX_DIMS or any(d < 0 for d in shape):
            raise FileFormatError(f"{what} has the shape {shape}, which is no shape of at most {MAX_DIMS} dimensions")
        if proto.data_type not in TYPES or proto.HasField("segment"):
            raise UnsupportedError(f"{what} has elements of type {proto.data_type}, which fastnn does not read")
        name, field = TYPES[proto.data_type]
        count = math.prod(shape)
        if name == "string":
            texts = list(map(_text, proto.string_data))
            return self._shaped(np.array(texts, object), shape, count, what)
        dtype = np.dtype({"bfloat16": "uint16"}.get(name, name)).newbyteorder("<")
        if proto.data_location == _EXTERNAL:
            array = self._external(proto, dtype, count, what, again)
        elif proto.HasField("raw_data"):
            raw = proto.raw_data
            if len(raw) != count * dtype.itemsize:
                raise FileFormatError(
                    f"{what} has the shape {shape}, {count * dtype.itemsize:,} bytes of {name}, but {len(raw):,} are there"
                )
            array = np.frombuffer(raw, dtype)
        else:
            values = getattr(proto, field)
            if len(values) != count:
                raise FileFormatError(f"{what} has the shape {shape}, {count:,} numbers, but {len(values):,} are there")
            array = np.fromiter(values, _STORED[field], count)
            if name in ("float16", "bfloat16"):
                array = array.astype(np.uint16).view(dtype)
            array = array.astype(dtype, copy=False)
        if name == "bool":
            array = array.view(np.uint8) != 0
        if name == "bfloat16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return self._shaped(array.astype(array.dtype.newbyteorder("="), copy=False), shape, count, what)

    @staticmethod
    def _shaped(array, shape, count, what):
        if array.size != count:
            raise FileFormatError(f"{what} has the shape {shape}, {count:,} elements, but {array.size:,} are there")
        if is_hollow(shape):
            raise FileFormatError(f"{what} has the shape {shape}, which holds nothing; such shapes may be small alone")
        return array.reshape(shape)

    def _external(self, proto, dtype, count, what, again):
        where = {_text(entry.key): _text(entry.value) for entry in proto.external_data}
        location = where.get("location", "")
        if self.folder is None:
            raise UnsupportedError(f"{what} lies in another file, {location!r}; pass the path of the ONNX file, not its bytes")
        parts = location.replace("\\", "/").split("/")
        path = os.path.join(self.folder, *parts)
        if not location or "\0" in location or os.path.isabs(location) or ":" in location or ".." in parts:
            raise FileFormatError(f"{what} lies in {location!r}, which is not a file in the folder of the model")
        if os.path.realpath(path) != os.path.join(os.path.realpath(self.folder), *(p for p in parts if p not in ("", "."))):
            raise FileFormatError(f"{what} lies in {location!r}, a symbolic link, which may leave the folder of the model")
        try:
            offset, length = int(where.get("offset", "0")), int(where.get("length", str(count * dtype.itemsize)))
        except ValueError:
            raise FileFormatError(f"{what} has an offset or length that is no number") from None
        if length != count * dtype.itemsize or offset < 0:
            raise FileFormatError(
                f"{what} needs {count * dtype.itemsize:,} bytes, but its entry says {length:,} from {offset:,} on"
            )
        try:
            if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
                raise FileFormatError(f"{what} lies in {location!r}, which is no file")
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                # Tensors that share bytes would take more memory than the files.
                left = self._left.setdefault(os.path.realpath(path), size)
                if offset + length > size or (length > left and not again):
                    raise FileFormatError(
                        f"{what} lies at bytes {offset:,} to {offset + length:,} of {location!r}, which has {size:,}"
                        + (", and other tensors take the same ones" if offset + length <= size else "")
                    )
                self._left[os.path.realpath(path)] -= 0 if again else length
                file.seek(offset)
                return np.frombuffer(file.read(length), dtype)
        except OSError as error:
            raise FileAccessError(
                f"cannot read '{path}': {error.strerror or error}", errno=error.errno, filename=path
            ) from error
