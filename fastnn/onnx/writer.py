"""Models as ONNX files."""

import json
import math
import os
from collections import Counter

import numpy as np

from .. import _core
from ..backends import xp
from ..config import version
from ..errors import ArgumentError, ArgumentTypeError, UnknownNameError
from ..graph import trace_calls
from ..structure import unused
from ._library import library
from .emitters import EMITTERS, batch_norm, gemm, label_encoder, layer_norm, outside_inference

# Opset 20 is the first with Gelu; ONNX Runtime reads it since 1.17.
OPSET, IR_VERSION = 20, 9
ML_OPSET = 3  # of ai.onnx.ml, where there are lookups
BATCH = "batch"
MAX_BYTES = 2**31 - 1  # of a protobuf message
# Values of parameters alone are computed when the file is written up to this many elements.
_LARGEST_CONSTANT = 1 << 24


def export(model, filepath, overwrite=True):
    """Write what a model computes outside training to an ONNX file.

    Parameters
    ----------
    model : Model or Predictor
    filepath : str or path
        Ends in ".onnx".
    overwrite : bool, default True
        Whether an existing file may be replaced.

    Raises
    ------
    FileAccessError
        If the file cannot be written; an old one stays as it was.
    UnknownNameError
        For another extension.
    ArgumentError
        If the model does not fit an ONNX file, which holds at most 2 GiB.
    MissingExtraError
        Without the extra `onnx`.
    """
    from .._safetensors import write_atomically
    from ..io import _path

    path = _path("export", filepath)
    extension = os.path.splitext(path)[1].lower()
    if extension != ".onnx":
        raise UnknownNameError.among("extension of exported files", extension, [".onnx"])
    if not overwrite and os.path.exists(path):
        raise ArgumentError(f"'{path}' exists already; pass overwrite=True or another path")
    content = to_onnx(model).SerializeToString()
    write_atomically(path, lambda file: file.write(content))


def to_onnx(model):
    """What a model computes outside training, as an `onnx.ModelProto`.

    Parameters
    ----------
    model : Model or Predictor

    Returns
    -------
    onnx.ModelProto
        Of opset 20 and IR version 9. Inputs and outputs have the model's names; nodes, weights and values
        those of the layers: "h1/Gemm", "h1/kernel". The first dimension is named "batch". The metadata holds
        "layers" (JSON: name and class of each), and "feature_names" and "class_names" (JSON) where the model has
        them. A model's `features` are not part of it: its input are the encoded columns, which "feature_names"
        lists.

    Notes
    -----
    Dropout, noise and augmentation vanish. Kernels of int8 stay in 8 bits in the file and are multiplied in
    float32, while fastnn also rounds the rows that it multiplies with them to 14 bits.
    """
    onnx = library("exporting to ONNX")
    from ..model import Model
    from ..predictor import Predictor, StructuredPredictor

    if isinstance(model, Model):
        writer = _of_model(onnx, model)
    elif isinstance(model, (Predictor, StructuredPredictor)):
        writer = _of_predictor(onnx, model)
    else:
        raise ArgumentTypeError(f"export takes a Model or a Predictor, got {type(model).__name__}")
    return writer.proto(model)


def _of_model(onnx, model):
    builder, known, _ = trace_calls(model.inputs, model.outputs, model.dtype_policy)
    stored = {p.name: value for p, value in model._values_of_params() if not p.constant}
    values = {i: p.value if p.constant else stored[p.name] for p, i in builder.params.items()}
    fixed = {i for p, i in builder.params.items() if not p.trainable}
    outputs = [known[id(t)].id for t in model.outputs]
    writer = Writer(onnx, builder.program, values, fixed, outputs)
    writer.write(model.input_names, model.output_names, model._lookups)
    return writer


def _of_predictor(onnx, predictor):
    program = predictor.program
    values = {t.id: predictor.read(t.id, t.shape) for t in program.of_kind("param")}
    roots = program.roots_of("output")
    writer = Writer(onnx, program, values, set(), [r.tensor for r in roots])
    inputs = program.of_kind("input")
    lookups = getattr(predictor, "_lookups", [None] * len(inputs))
    writer.write([t.name for t in inputs], [r.name for r in roots], lookups)
    return writer


class Writer:
    """Writes the nodes of a Program, one after the other, as a graph of ONNX.

    Attributes
    ----------
    program : Program
    double : bool
        Whether reals are float64.
    """

    def __init__(self, onnx, program, values, fixed, outputs):
        self.onnx, self.program, self.outputs = onnx, program, outputs
        self.double = program.dtype == "float64"
        self._types = {
            "float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE, "bool": onnx.TensorProto.BOOL,
            "int32": onnx.TensorProto.INT32, "int64": onnx.TensorProto.INT64, "int8": onnx.TensorProto.INT8,
            "bfloat16": onnx.TensorProto.BFLOAT16, "string": onnx.TensorProto.STRING,
        }  # fmt: skip
        self.nodes, self.initializers, self.infos = [], {}, {}
        self.constants = dict(values)  # values by tensor id: what depends on parameters alone
        self._fixed = fixed  # ids of parameters that training leaves alone
        self._names, self._taken, self._arrays, self._casts = {}, set(), {}, {}
        self._batch = None
        self._scope, self._shape = "", ()

    # -- the walk --

    def write(self, input_names, output_names, lookups):
        """Write all that the outputs need."""
        self.inputs = []
        for tensor, name, lookup in zip(self.program.of_kind("input"), input_names, lookups):
            self._names[tensor.id] = self._unique(name)
            self.inputs.append(self._names[tensor.id])
            type = self.program.dtype if tensor.type == "csr" else tensor.type  # ONNX has dense rows alone
            if lookup is not None:
                type = "string" if lookup._text else "int64"
                self._scope, self._shape = lookup.name, tensor.shape
                self._names[tensor.id] = label_encoder(self, self.inputs[-1], lookup)
            self._info(self.inputs[-1], type, tensor.shape)
        # Reserved, so that no value inside takes an output's name.
        self.output_names = [self._unique(name) for name in output_names]
        needed = [self.program.nodes[i] for i in self.program.needed(self.outputs)]
        live = [node for node in needed if not self._evaluate(node)]
        plan, absorbed = _Patterns(self, live).find()
        for node in live:
            if node.outputs[0] in absorbed:
                continue
            made = self.program.tensors[node.outputs[0]]
            self._scope, self._shape = made.name or node.op, made.shape
            emitter = plan.get(node.outputs[0]) or EMITTERS.get(node.op)
            if emitter is None:
                raise ArgumentError(
                    f"{made.name!r} holds the op {node.op}, which has no form in ONNX: {outside_inference(node.op)}"
                )
            self._names[made.id] = emitter(self, node)
        self._name_outputs()

    def _evaluate(self, node):
        """Whether the node depends on parameters alone and its value is now known."""
        made = self.program.tensors[node.outputs[0]]
        if made.batched or math.prod(made.shape) > _LARGEST_CONSTANT:
            return False
        if any(i not in self.constants or self.program.tensors[i].type not in ("float32", "float64") for i in node.inputs):
            return False
        attrs = self.program.attrs(node)
        if _core.OPS[node.op].rule in xp.GIVEN:
            attrs["shape"] = made.shape
        if node.op == "in_training":
            attrs["training"] = False
        with np.errstate(all="ignore"):
            value = getattr(xp, node.op)(*(np.float64(self.constants[i]) for i in node.inputs), **attrs)
        self.constants[made.id] = np.asarray(value[0] if isinstance(value, tuple) else value)
        return True

    def _name_outputs(self):
        """Give each output its name; an input, constant or second reader's value is copied."""
        new, taken = {}, set(self.inputs)
        for tensor, name in zip(self.outputs, self.output_names):
            value = self.value(tensor)
            if value in taken or value in self.initializers:
                self._scope, self._shape = name, self.program.tensors[tensor].shape
                value = self.node("Identity", [new.get(value, value)])
            taken.add(value)
            new[value] = name
        for node in self.nodes:
            for field in (node.input, node.output):
                field[:] = [new.get(v, v) for v in field]
        self.infos = {new.get(v, v): info for v, info in self.infos.items()}

    # -- what emitters use --

    def value(self, tensor, weight=False):
        """The name of the value that stands for a tensor of the Program.

        With `weight` a parameter that training leaves alone is an initializer all the same.
        """
        if tensor not in self._names:
            t, array = self.program.tensors[tensor], self.constants[tensor]
            if t.kind == "temp" and array.ndim == 0:
                self._names[tensor] = self.array(array)
            else:
                name = self._unique(t.name if t.kind == "param" else f"{t.name}/constant")
                array = array.astype(self.program.dtype) if array.dtype.kind == "f" else array
                self._store(name, array, t.type, t.kind == "param" and (weight or tensor not in self._fixed))
                self._names[tensor] = name
        return self._names[tensor]

    def shape(self, tensor):
        """The shape of a tensor of the Program."""
        return self.program.tensors[tensor].shape

    def node(self, operator, inputs, type=None, **attributes):
        """Append a node; returns the name of its value, which is also the node's.

        `type` is that of the value where it is not the model's.
        """
        name = self._unique(f"{self._scope}/{operator}")
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def affine(self, x, scale, shift):
        """scale x + shift."""
        x = x if scale == 1 else self.node("Mul", [x, self.number(scale)])
        return x if shift == 0 else self.node("Add", [x, self.number(shift)])

    def cast(self, x, type=None):
        """x in another type, by default the model's."""
        type = type or self.program.dtype
        return self.node("Cast", [x], type=type, to=self._types[type])

    def number(self, value):
        """The name of a scalar of the model's type."""
        return self.array(np.float64(value))

    def integers(self, values):
        """The name of a list of int64."""
        return self.array(np.array(values, np.int64))

    def array(self, value):
        """The name of a constant; reals take the model's type."""
        value = np.asarray(value)
        value = value.astype(self.program.dtype) if value.dtype.kind == "f" else value
        key = value.dtype.str, value.shape, value.tobytes()
        if key not in self._arrays:
            self._arrays[key] = self._unique(_constant_name(value))
            self._store(self._arrays[key], value, value.dtype.name, weight=False)
        return self._arrays[key]

    def batch(self):
        """The name of [number of samples]."""
        if self._batch is None:
            self._batch = self.node("Shape", [self.inputs[0]], type="int64", start=0, end=1)
        return self._batch

    def fits(self, number):
        """Whether a float32 attribute holds the number as the model needs it."""
        return not self.double or float(np.float32(number)) == number

    # -- the graph --

    def _unique(self, name):
        made = unused(name, self._taken)
        self._taken.add(made)
        return made

    def _store(self, name, array, type, weight):
        """Weights are initializers, what training leaves alone is the value of a Constant node."""
        proto = self.onnx.TensorProto(name=name, dims=array.shape, data_type=self._types[type])
        proto.raw_data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        if weight:
            self.initializers[name] = proto
        else:
            self.nodes.append(self.onnx.helper.make_node("Constant", [], [name], name=name, value=proto))

    def _info(self, name, type, shape):
        dims = [BATCH if d is None else d for d in shape]
        self.infos[name] = self.onnx.helper.make_tensor_value_info(name, self._types[type], dims)

    def proto(self, model):
        """The graph as a ModelProto."""
        for name, id in zip(self.output_names, self.outputs):
            self._info(name, self.program.dtype, self.program.tensors[id].shape)
        graph = self.onnx.helper.make_graph(
            self.nodes,
            getattr(model, "name", "predictor"),
            [self.infos[v] for v in self.inputs],
            [self.infos[v] for v in self.output_names],
            list(self.initializers.values()),
        )
        made = self.onnx.helper.make_model(
            graph,
            opset_imports=[
                self.onnx.helper.make_opsetid("", OPSET),
                *(self.onnx.helper.make_opsetid(domain, ML_OPSET) for domain in {n.domain for n in self.nodes} - {""}),
            ],
            ir_version=IR_VERSION,
            producer_name="fastnn",
            producer_version=version(),
        )
        size = made.ByteSize()
        if size > MAX_BYTES:
            raise ArgumentError(f"an ONNX file holds at most {MAX_BYTES:,} bytes, this model needs {size:,}")
        self.onnx.helper.set_model_props(made, _metadata(model))
        return self.onnx.shape_inference.infer_shapes(made, strict_mode=True)


def _constant_name(value):
    if value.dtype.kind == "f" and value.ndim == 0:
        return f"constant/{float(value):g}"
    if value.dtype.kind == "i" and value.size <= 8:
        return f"constant/[{','.join(map(str, value.tolist()))}]"
    return "constant/array"


def _metadata(model):
    layers = getattr(model, "layers", None)
    found = {}
    if layers is not None:
        found["layers"] = json.dumps([{"name": x.name, "class": type(x).__name__} for x in layers])
    known = model._tabular
    names = known.columns if known.features is None else known.features.names_out
    for key, value in (("feature_names", names), ("class_names", known.classes)):
        if value is not None:
            found[key] = json.dumps(list(value))
    return found


class _Patterns:
    """Finds ops that one operator of ONNX computes together."""

    def __init__(self, writer, nodes):
        self.writer, self.program, self.nodes = writer, writer.program, nodes
        self.producer = {i: node for node in writer.program.nodes for i in node.outputs}
        self.readers, self.only = Counter(writer.outputs), {}
        for node in nodes:
            for i in set(node.inputs):
                self.readers[i] += 1
                self.only[i] = node

    def find(self):
        """({output: emitter}, outputs of nodes that are part of another's operator)."""
        plan, absorbed = {}, set()
        for node in self.nodes:
            match = getattr(self, f"_{node.op}", None)
            found = match and match(node)
            if found:
                parts, emitter = found
                plan[parts[-1].outputs[0]] = emitter
                absorbed.update(part.outputs[0] for part in parts[:-1])
        return plan, absorbed

    def _reader(self, node, *ops):
        """The node that alone reads what `node` makes, if it is one of these ops."""
        out = node.outputs[0]
        found = self.only.get(out) if self.readers[out] == 1 else None
        return found if found is not None and found.op in ops else None

    def _vector(self, node, before):
        """The operand beside `before` of one number a feature that parameters alone make; None otherwise."""
        if node is None:
            return None
        out = before.outputs[0]
        others = [i for i in node.inputs if i != out]
        fits = len(others) == 1 and self.program.tensors[others[0]].shape == self.program.tensors[out].shape[-1:]
        return others[0] if fits and others[0] in self.writer.constants else None

    def _matmul(self, node):
        add = self._reader(node, "bias_add")
        if add is None or len(self.program.tensors[node.outputs[0]].shape) != 2:
            return None
        return [node, add], lambda w, last: gemm(w, node, add.inputs[1])

    _matmul_csr = _matmul

    def _relu(self, node):
        """PReLU: relu(x) + min(x, 0) alpha. ONNX Runtime has no PRelu of float64."""
        add = self._reader(node, "add")
        below = add and self.producer.get(next((i for i in add.inputs if i != node.outputs[0]), None))
        if below is None or below.op != "multiply" or self._reader(below, "add") is not add or self.writer.double:
            return None
        least, alpha = self.producer.get(below.inputs[0]), below.inputs[1]
        if least is None or least.op != "minimum" or self._reader(least, "multiply") is None:
            return None
        zero = self.writer.constants.get(least.inputs[1])
        if least.inputs[0] != node.inputs[0] or zero is None or zero.ndim or zero != 0 or alpha not in self.writer.constants:
            return None
        return [least, below, node, add], lambda w, last: w.node("PRelu", [w.value(node.inputs[0]), w.value(alpha)])

    def _scaled_and_shifted(self, node):
        """The nodes from `node` on that multiply with gamma and add beta, with those two."""
        parts, gamma, beta = [node], None, None
        scaled = self._reader(node, "multiply")
        gamma = self._vector(scaled, node)
        parts += [] if gamma is None else [scaled]
        shifted = self._reader(parts[-1], "bias_add")
        beta = self._vector(shifted, parts[-1])
        parts += [] if beta is None else [shifted]
        return parts, gamma, beta

    def _layer_norm(self, node):
        parts, gamma, beta = self._scaled_and_shifted(node)
        return parts, lambda w, last: layer_norm(w, node, gamma, beta)

    def _subtract(self, node):
        """BatchNormalization: x - mean, times rsqrt(variance + epsilon) gamma, plus beta."""
        x, mean = node.inputs
        fits = len(self.program.tensors[x].shape) == 2 and mean in self.writer.constants
        parts, factor, beta = self._scaled_and_shifted(node)
        if not fits or factor is None or self.program.tensors[x].shape[-1:] != self.program.tensors[mean].shape:
            return None
        root, gamma = self.producer.get(factor), None
        if root is not None and root.op == "multiply":
            gamma, root = root.inputs[1], self.producer.get(root.inputs[0])
        sum = self.producer.get(root.inputs[0]) if root is not None and root.op == "rsqrt" else None
        if sum is None or sum.op != "affine" or sum.attrs[0] != 1 or not self.writer.fits(sum.attrs[1]):
            return None
        variance, epsilon = sum.inputs[0], sum.attrs[1]
        return parts, lambda w, last: batch_norm(w, x, mean, variance, epsilon, gamma, beta)
