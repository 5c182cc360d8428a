"""Models from ONNX files, to be trained further."""

import json
import math
import re
from collections import Counter

import numpy as np

from ..errors import (
    ArgumentError,
    FastNNError,
    FileAccessError,
    FileFormatError,
    GraphError,
    OutOfMemoryError,
    ProgramError,
    UnsupportedError,
)
from ..graph import MAX_RANK, Builder, Tensor, Value
from ..layers import (
    Activation,
    BatchNormalization,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    IntegerLookup,
    Layer,
    LayerNormalization,
    Operation,
    PReLU,
    Reshape,
    StringLookup,
)
from ..model import Model
from ..registry import snake_case
from . import files
from .operators import BATCH, COMPARISONS, DOMAINS, FUNCTIONS, OPERATORS, activation_of, cast_to

FOLDED_BYTES = 16 << 20  # of constants that are computed when the file is read, beside twice the file's own
MAX_NAME = 120
_HELD_BYTES = 1 << 20
MAX_STEPS = 1 << 14  # of nodes that layers have beside their own, all together
_REALS = (1, 10, 11, 16)  # of TensorProto.DataType
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def from_onnx(source, outputs=None):
    """A trainable model of an ONNX file, giving the same predictions.

    Parameters
    ----------
    source : str, path, bytes or onnx.ModelProto
        Of opset 7 or later. The first dimension of each input is the batch, whatever size the file gives it; the
        others are known.
    outputs : list of str, optional
        Values of the graph to compute, by default its outputs. What they do not need is not read.

    Returns
    -------
    Model
        Not compiled. Inputs have the names of the file, and those that no output needs are left out; layers have
        those of its nodes: "h1/Gemm" becomes the layer "h1". A Gemm, or MatMul and Add, is a Dense, with the
        activation after it; BatchNormalization, LayerNormalization, Gather from a table, PRelu and Dropout are the
        layers that they are, and other nodes layers made of `fastnn.ops`. Initializers of real numbers are trainable
        parameters, constants stay as they are; numbers without dimension are constants, unless fastnn wrote the
        file. float64 where the file is. `feature_names` and `class_names` are those of the file's metadata.

    Raises
    ------
    UnsupportedError
        If an operator, or the way in which it is used, is not among what fastnn has; the message lists all such
        nodes that can be told.
    FileFormatError
        If the file is damaged, contradicts itself or points outside of its folder.
    FileAccessError
        If a file cannot be read.
    MissingExtraError
        Without the extra `onnx`.

    Notes
    -----
    Operators that are read: {operators}.

    An initializer that different nodes use becomes a parameter of each. BatchNormalization has a momentum of 0.99
    in training, whatever the file says.
    """
    return Reader(files.read(source), outputs).model()


if from_onnx.__doc__:  # python -OO leaves none
    from_onnx.__doc__ = from_onnx.__doc__.replace("{operators}", ", ".join(sorted(OPERATORS)))


# ---- what a name of the graph stands for, beside Tensors of the model and arrays ----


class Weight:
    """An array of the file that training changes.

    A large one that `load` gives is read anew where it is needed, so that few are in memory at a time. `name` is that of
    the initializer, `source` what the graph calls this form of it.
    """

    def __init__(self, name, array, load=None, source=None):
        self.source = source or name
        self.name, self.shape, self.ndim, self.size, self.nbytes = name, array.shape, array.ndim, array.size, array.nbytes
        self._load = load if load is not None and array.nbytes > _HELD_BYTES else lambda: array

    @property
    def array(self):
        return self._load()

    def release(self):
        """Forget the numbers, once all layers have them."""
        self._load = None

    @property
    def role(self):
        """str: the last part of the name."""
        return re.split(r"[./]", self.name)[-1]


class Step:
    """A node and its operands; what it makes is computed within a layer.

    Attributes
    ----------
    shapes : list of tuple
        Of what it makes; None for the batch.
    """

    def __init__(self, node, operator, operands, dtype):
        self.node, self.operator, self.operands = node, operator, operands
        self.order = _ordered(self)
        leaves = [o for step in self.order for o in step.operands]
        self.tensors = list({id(o): o for o in leaves if isinstance(o, Tensor)}.values())
        self.weights = list({id(o): o for o in leaves if isinstance(o, Weight)}.values())
        self.shapes = [v.shape for v in self._traced(dtype)]

    def _traced(self, dtype):
        builder = Builder(dtype)
        tensors = [builder.input(t.shape, t.program_type) for t in self.tensors]
        weights = [Value(builder, builder.program.add_tensor("param", w.shape)) for w in self.weights]
        with builder:
            return self.play(builder, tensors, weights)

    def play(self, builder, tensors, weights):
        """Emit it; returns the list of what it makes."""
        known = {id(o): v for o, v in zip((*self.tensors, *self.weights), (*tensors, *weights), strict=True)}
        for step in self.order:
            operands = [known.get(id(o), o) if not isinstance(o, Part) else known[id(o.step)][o.index] for o in step.operands]
            made = step.operator.function(step.node, *operands)
            made = list(made) if isinstance(made, (list, tuple)) else [made]
            known[id(step)] = [v if isinstance(v, Value) else builder.constant(np.asarray(v)) for v in made]
        return known[id(self)]


def _ordered(last):
    """The steps that one needs, itself last."""
    steps = {}
    for operand in last.operands:
        if isinstance(operand, Part):
            steps.update((id(step), step) for step in operand.step.order)
    return [*steps.values(), last]


class Part:
    """One of the things that a Step makes, which is no tensor of the model as it has no batch."""

    def __init__(self, step, index):
        self.step, self.index = step, index

    @property
    def shape(self):
        return self.step.shapes[self.index]


class Nodes(Layer):
    """Nodes of an ONNX graph that no other layer stands for; its file holds what they emit."""

    def __init__(self, step, **kwargs):
        super().__init__(**kwargs)
        self._step, self._roles = step, {}

    def build(self, shape):
        taken = set()
        for weight in self._step.weights:
            role, count = weight.role, 1
            while role in taken:
                role, count = f"{weight.role}_{count}", count + 1
            taken.add(role)
            self.add_weight(weight.shape, "zeros", name=role).assign(weight.array)

    def call(self, xs):
        """Emits the nodes."""
        builder = xs[0].builder
        made = self._step.play(builder, xs, [builder.param(p) for p in self._weights])
        return made[0] if len(made) == 1 else made


# ---- the walk ----


class Reader:
    """Makes the layers of a Graph.

    Attributes
    ----------
    values : dict of str to Tensor, ndarray, Weight or Part
        What the names of the graph stand for.
    types : dict of str to str
        NumPy's names of the types that the graph gives them.
    """

    def __init__(self, graph, outputs=None):
        self.graph = graph
        self.outputs = graph.outputs if outputs is None else self._chosen(outputs)
        self.nodes = self._with_swish(self._needed())
        self._check_operators()
        self.values, self.types = {}, {}
        self._shared, self._names, self._counts = {}, set(), {}
        self._own = graph.producer == "fastnn"
        self.readers = {}
        for node in self.nodes:
            for name in filter(None, node.inputs):
                self.readers.setdefault(name, []).append(node)
        self._done, self._between = set(), {}
        sizes = [i[2][0] for i in graph.inputs if i[2]]
        self.batch = sizes[0] if sizes and all(s == sizes[0] for s in sizes) else None
        for node in self.nodes:
            node.batch = self.batch
        self.dtype = self._dtype()
        self._budget, self._steps = FOLDED_BYTES, 0

    def _chosen(self, outputs):
        made = {name for node in self.graph.nodes for name in node.outputs} | {i[0] for i in self.graph.inputs}
        if isinstance(outputs, str) or not hasattr(outputs, "__iter__"):
            raise ArgumentError(f"from_onnx: outputs must be a list of names, got {outputs!r:.60}")
        outputs = list(outputs)
        for name in outputs:
            if name not in made:
                raise ArgumentError(f"the ONNX model has no value {name!r:.60}; its outputs are {self.graph.outputs}")
        if not outputs or len(set(outputs)) < len(outputs):
            raise ArgumentError(f"from_onnx: outputs must be different names, at least one, got {outputs}")
        return outputs

    def _needed(self):
        wanted, found = set(self.outputs), []
        for node in reversed(self.graph.nodes):
            if wanted.intersection(filter(None, node.outputs)):
                wanted.update(node.inputs)
                found.append(node)
        self._wanted = wanted
        return found[::-1]

    def _with_swish(self, nodes):
        """The nodes, with x sigmoid(x) as one: files of all opsets but the newest write it as two."""
        readers = Counter(name for node in nodes for name in node.inputs)
        gates = {node.outputs[0]: node for node in nodes if node.op == "Sigmoid" and len(node.inputs) == len(node.outputs) == 1}
        merged, dropped = {}, set()
        for node in nodes:
            for gate, x in (node.inputs, node.inputs[::-1]) if node.op == "Mul" and len(node.inputs) == 2 else ():
                found = gates.get(gate)
                if found and found.inputs == [x] and readers[gate] == 1 and gate not in self.outputs:
                    merged[id(node)] = files.Node.made("Swish", node, [x])
                    dropped.add(id(found))
        return [merged.get(id(node), node) for node in nodes if id(node) not in dropped]

    def _check_operators(self):
        missing = [
            f"{node.label}: no operator of fastnn"
            for node in self.nodes
            if node.op not in OPERATORS or node.domain != DOMAINS.get(node.op, "")
        ]
        if missing:
            shown = [*missing[:20], f"and {len(missing) - 20} more"] if len(missing) > 20 else missing
            raise UnsupportedError.of(
                "the ONNX model holds operators that fastnn does not have",
                shown,
                f"Read a part of it with outputs=[...]; its outputs are {self._shown_outputs()}. fastnn has "
                f"{', '.join(sorted(OPERATORS))}.",
            )

    def _shown_outputs(self):
        return ", ".join(map(repr, self.graph.outputs[:8]))

    def _dtype(self):
        """float64 where the reals of inputs, or of weights where no input is real, are."""
        kinds = {type for name, type, _ in self.graph.inputs if name in self._wanted}
        if not kinds & {"float16", "float32", "float64"}:
            kinds = {files.TYPES.get(p.data_type, ("",))[0] for n, p in self.graph.initializers.items() if n in self._wanted}
        return "float64" if "float64" in kinds and "float32" not in kinds else "float32"

    def model(self):
        """The Model of the graph."""
        inputs = self._inputs()
        self.run()
        made = []
        for name in self.outputs:
            value = self.value(name)
            if not isinstance(value, Tensor):
                raise UnsupportedError(
                    f"the output {name!r} of the ONNX model is not one of each sample, so it is no output of a fastnn model"
                )
            made.append(value)
        reached = _reached(made)
        inputs = [t for t in inputs if id(t) in reached]
        one = made[0] if len(made) == 1 else made
        try:
            model = Model(inputs[0] if len(inputs) == 1 else inputs, one, name=self._model_name(), dtype=self.dtype)
        except (GraphError, ProgramError) as error:
            raise UnsupportedError(f"the graph of the ONNX model is none of a fastnn model: {error}") from error
        for value in self.values.values():
            if isinstance(value, Weight):
                value.release()
        self._describe(model)
        return model

    def _model_name(self):
        name = self.graph.name
        return name if name and name.isprintable() and "/" not in name and len(name) <= 128 and self._own else None

    def _describe(self, model):
        for key in ("feature_names", "class_names"):
            if key in self.graph.metadata:
                try:
                    setattr(model, key, json.loads(self.graph.metadata[key]))
                except (FastNNError, ValueError, RecursionError) as error:
                    if self._own:
                        raise FileFormatError(f"the ONNX model's {key} do not fit it ({error})") from None

    def _inputs(self):
        made = []
        for name, type, shape in self.graph.inputs:
            if type == "string" and any(node.op != "LabelEncoder" for node in self.readers.get(name, ())):
                raise UnsupportedError(f"the input {name!r} of the ONNX model is text; encode it before the model")
            if not shape:
                raise UnsupportedError(f"the input {name!r} of the ONNX model is a single number, without samples")
            if None in shape[1:] or 0 in shape[1:]:
                raise UnsupportedError(
                    f"the input {name!r} of the ONNX model has the shape {shape}; fastnn needs all sizes but the first"
                )
            if len(shape) > MAX_RANK:
                raise UnsupportedError(f"the input {name!r} of the ONNX model has more than {MAX_RANK} dimensions")
            kind = "int32" if type in _INTEGERS else "string" if type == "string" else None
            tensor = Input(shape[1:], dtype=kind, name=self.name(name))
            self.values[name], self.types[name] = tensor, type
            made.append(tensor)
        return made

    def run(self):
        """Read all nodes."""
        for node in self.nodes:
            if id(node) in self._done:
                continue
            try:
                self._read(node)
            except (UnsupportedError, FileFormatError, FileAccessError, OutOfMemoryError):
                raise
            except FastNNError as error:
                raise UnsupportedError.of(
                    "the ONNX model uses an operator in a way that fastnn cannot",
                    [f"{node.label}: {str(error).removeprefix(node.label).strip()}"],
                    "Leave it out, or read another part of the model with outputs=[...].",
                ) from error
            except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
                raise FileFormatError(
                    f"the node {node.label} of the ONNX model does not fit its operands ({type(error).__name__}: {error})"
                ) from error

    def value(self, name):
        """What a name stands for; None for an operand that is left out."""
        if not name:
            return None
        if name not in self.values:
            array = self.graph.array(name)
            self.types[name] = array.dtype.name
            self._budget += 2 * array.nbytes
            trains = array.dtype.kind == "f" and (array.ndim > 0 or self._own)
            self.values[name] = Weight(name, array, lambda: self.graph.array(name)) if trains else array
        return self.values[name]

    def bind(self, node, made, type=None):
        """Say what the outputs of a node stand for."""
        for name, value in zip(node.outputs, made):
            if name:
                self.values[name] = value
                self.types[name] = type or value.dtype.name
        for name in node.outputs[len(made) :]:
            if name in self._wanted:
                raise ArgumentError(f"makes {name!r} too, which fastnn does not have")

    def _read(self, node):
        operator = OPERATORS[node.op]
        operands = [self.value(name) for name in node.inputs]
        while operands and operands[-1] is None:
            operands.pop()
        if node.op in ("Shape", "Size") or (node.op == "CastLike" and len(operands) == 2):
            if node.op == "CastLike":
                operands[1] = np.empty(0, self.types[node.inputs[1]])
            else:
                sized = operands[0]
                operands[0] = np.empty(0) if sized is None else sized if isinstance(sized, Tensor) else _Shaped(sized.shape)
                self.bind(node, [operator.function(node, operands[0])])
                return
        for place in operator.known:
            if place < len(operands):
                operands[place] = self._known(node, place, operands[place])
        given = [o for o in operands if o is not None]
        if any(isinstance(o, (Tensor, Part, Weight)) for o in given):
            type = self._result(node, operator, operands)
            depends = any(isinstance(o, Tensor) or (isinstance(o, Part) and o.step.tensors) for o in given)
            integral = any(
                self.types.get(name) in _INTEGERS for name, o in zip(node.inputs, operands) if isinstance(o, (Tensor, Part))
            )
            if integral and not operator.integers:
                raise ArgumentError("computes with integers that depend on the inputs, which are real numbers in fastnn")
            if not depends and operator.moves and isinstance(operands[0], Weight):
                array = np.asarray(operator.function(node, *(o.array if isinstance(o, Weight) else o for o in operands)))
                if array.dtype.kind == "f":
                    self.bind(node, [Weight(operands[0].name, array, source=node.outputs[0])], type)
                    return
            self._emit(node, operator, operands, type)
        else:
            self.bind(node, self._folded(node, operator, operands))

    def _known(self, node, place, operand):
        if isinstance(operand, Weight):
            return operand.array
        if operand is not None and not isinstance(operand, np.ndarray):
            if node.op == "Gather" and place == 1:
                return operand
            raise ArgumentError(
                f"its operand {node.inputs[place]!r} depends on the model's inputs; fastnn needs it when it reads the file"
            )
        return operand

    def _result(self, node, operator, operands):
        if node.op in ("Cast", "CastLike"):
            return cast_to(node, operands[1] if len(operands) > 1 else None)
        if isinstance(operator.result, int):
            return self.types[node.inputs[operator.result]]
        return operator.result

    def _folded(self, node, operator, operands):
        """What is known when the file is read."""
        given = [o for o in operands if o is not None]
        if node.op not in _OF_SIZES and any(BATCH in o.reshape(-1).tolist() for o in given if o.dtype == object):
            raise ArgumentError("computes with the number of samples")
        if operator.size is not None:
            count = operator.size(node, *operands)
            self._spend(count * max((o.itemsize for o in given), default=8))
        elif not operator.moves and given:
            self._spend(max(o.nbytes for o in given))
        with np.errstate(all="ignore"):
            made = operator.function(node, *operands)
        made = [np.asarray(m) for m in (made if isinstance(made, (list, tuple)) else [made])]
        if isinstance(operator.result, int):
            to = np.asarray(operands[operator.result]).dtype
        else:
            to = None if operator.result == "same" else np.dtype(operator.result)
        made = [m if to is None or m.dtype == object else m.astype(to, copy=False) for m in made]
        made = [m if m.dtype != object or not all(isinstance(v, int) for v in m.flat) else m.astype(np.int64) for m in made]
        if made[0].ndim > files.MAX_DIMS or any(files.is_hollow(m.shape) for m in made):
            raise ArgumentError(f"makes a constant of the shape {made[0].shape}")
        if operator.moves:  # most give another view of the same numbers
            self._spend(sum(m.nbytes for m in made if m.base is None))
        return made

    def _spend(self, nbytes):
        self._budget -= nbytes
        if self._budget < 0:
            raise ArgumentError("the constants that follow from those of the file are too large to be computed when it is read")

    # -- layers --

    def _emit(self, node, operator, operands, type):
        if node.op in ("Identity", "Dropout") and not isinstance(operands[0], Tensor):
            return self.bind(node, [operands[0]], type)
        first = operands[0]
        if all(not isinstance(o, Part) for o in operands):
            make = LAYERS.get(node.op)
            made = make and make(self, node, operands)
            if made is not None:
                return self.bind(made[0], made[1:], type)
            if isinstance(first, Tensor) and first.dtype != "int32":
                activation = activation_of(node, first.ndim)
                if activation is not None:
                    return self.bind(node, [self.call(lambda **kw: Activation(activation, **kw), node, first)], type)
        if node.op not in _SIZED and any(isinstance(o, np.ndarray) and o.dtype == object for o in operands):
            raise ArgumentError("computes with the number of samples")
        function = {**FUNCTIONS, **COMPARISONS}.get(node.op)
        if function and all(isinstance(o, (Tensor, np.ndarray)) for o in operands):
            return self.bind(node, [Operation.apply(function, operands, {}, self.layer_name(node))], type)
        self._steps += max((len(o.step.order) for o in operands if isinstance(o, Part)), default=0)
        if self._steps > MAX_STEPS:
            raise ArgumentError("too many nodes work on numbers that are none of a sample's")
        step = Step(node, operator, operands, self.dtype)
        if not any(shape[:1] == (None,) for shape in step.shapes):
            return self.bind(node, [Part(step, i) for i in range(len(step.shapes))], type)
        for weight in step.weights:
            self._spend(weight.nbytes)
        share = len(step.order) == 1
        made = self.call(lambda **kw: Nodes(step, **kw), node, step.tensors, step.weights, share=share)
        return self.bind(node, made if isinstance(made, list) else [made], type)

    def call(self, make, node, inputs, weights=(), values=(), share=True, more=()):
        """A layer called on a Tensor or a list of them, with the values of its weights.

        `make(name=..., dtype=...)` is the layer; `weights` are what it holds of the file: nodes that read the same in the
        same places and are equal otherwise become one layer that is called several times.
        """
        key = None
        if share and weights:
            tensors = inputs if isinstance(inputs, list) else [inputs]
            places = {id(t): i for i, t in enumerate(tensors)}
            read = [places.get(id(self.values.get(name)), name) for name in node.inputs]
            attributes = sorted((k, v.tobytes() if isinstance(v, np.ndarray) else v) for k, v in node.attributes.items())
            key = str((node.op, read, [w.source for w in weights], attributes, [t.shape for t in tensors], more))
            if key in self._shared:
                return self._shared[key](inputs)
        layer = make(name=self.layer_name(node, weights), dtype=self.dtype)
        made = layer(inputs)
        if values:
            for array in values:
                self._spend(array.nbytes)
            layer.set_weights(values)
        if key:
            self._shared[key] = layer
        return made

    # -- names --

    def name(self, wanted):
        """A name that a layer may have and no other one has."""
        made = _plain_name(wanted) or "node"
        if made in self._names:
            count = self._counts.get(made, 0)
            while f"{made}_{count + 1}" in self._names:
                count += 1
            self._counts[made] = count + 1
            made = f"{made}_{count + 1}"
        self._names.add(made)
        return made

    def layer_name(self, node, weights=()):
        """The name of a node's layer: its scope, else that of its weights."""
        scope, _, last = node.name.strip("/").rpartition("/")
        held = weights[0].name if weights else ""
        scope = scope or held.rpartition("." if "." in held else "/")[0]
        plain = scope or last or snake_case(node.op)
        if scope and _plain_name(scope) in self._names:
            plain = f"{scope}_{snake_case(node.op)}"
        return self.name(plain)

    # -- looking ahead --

    def follower(self, node, *ops):
        """The node that alone reads the reals that `node` makes, if it is one of these operators, and under which name.

        What changes nothing between the two is left out.
        """
        between = []
        while True:
            name = node.outputs[0]
            readers = self.readers.get(name, [])
            if len(readers) != 1 or name in self.outputs or readers[0].inputs.count(name) != 1 or readers[0].domain:
                return None, name
            [node] = readers
            if node.op != "Identity" and (node.op != "Cast" or node.get("to") not in _REALS):
                break
            between.append(node)
        if ops and node.op not in ops:
            return None, name
        self._between[id(node)] = between
        return node, name

    def absorb(self, *nodes):
        """These nodes, and those that `follower` passed on its way to them, are part of another one's layer."""
        for node in nodes:
            self._done.update(map(id, (node, *self._between.get(id(node), ()))))


def _plain_name(text):
    """A text as layers may be called."""
    return "".join(c if c.isprintable() else "_" for c in text.strip("/").replace("/", ".").replace("::", "."))[-MAX_NAME:]


class _Shaped:
    def __init__(self, shape):
        self.shape = shape


# Operators that may meet the number of samples: as a size that a tensor is given, and where lists of sizes are made.
_SIZED = ("Reshape", "Expand", "Slice")
_OF_SIZES = (
    *_SIZED, "Cast", "CastLike", "Concat", "ConstantOfShape", "Equal", "Gather", "Identity", "Split", "Squeeze", "Unsqueeze",
    "Where",
)  # fmt: skip


def _reached(tensors):
    """The ids of all Tensors that these are made from, themselves too."""
    found, left = set(), list(tensors)
    while left:
        tensor = left.pop()
        if id(tensor) not in found:
            found.add(id(tensor))
            left += tensor.call.inputs
    return found


# ---- operators that are layers ----


def _dense(reader, node, x, kernel, bias, last):
    """A Dense of the node `last`, and the activation that follows."""
    after, _ = reader.follower(last)
    activation = None if after is None else activation_of(after, x.ndim)
    after = last if activation is None else after
    reader.absorb(node, last, after)
    held = [w for w in (kernel, bias) if w is not None]
    values = [kernel.array] + ([] if bias is None else [bias.array])
    made = reader.call(
        lambda **kw: Dense(kernel.shape[1], activation, use_bias=bias is not None, **kw),
        node, x, held, values, more=(str(activation),),
    )  # fmt: skip
    return after, made


def _weight_of(value):
    """A Weight, also of a constant, without name."""
    if isinstance(value, Weight):
        return value
    return Weight("", value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else None


def _is_real(x, rank=None):
    return isinstance(x, Tensor) and x.dtype != "int32" and (rank is None or x.ndim == rank)


def _gemm(reader, node, operands):
    x, kernel, bias = (*operands, None)[:3]
    scaled = node.get("alpha", 1.0) != 1 or (bias is not None and node.get("beta", 1.0) != 1)
    if not _is_real(x, 2) or not isinstance(kernel, Weight) or kernel.ndim != 2 or node.get("transA", 0) or scaled:
        return None
    if node.get("transB", 0):
        kernel = Weight(kernel.name, kernel.array.T, lambda stored=kernel: stored.array.T, kernel.source)
    if kernel.shape[0] != x.shape[1]:
        raise ArgumentError(f"multiplies {x.shape[1]} features with a kernel of shape {kernel.shape}")
    bias = None if bias is None else _vector(bias, kernel.shape[1])
    if bias is None and len(operands) > 2 and operands[2] is not None:
        return None
    return _dense(reader, node, x, kernel, bias, node)


def _vector(value, size):
    """A bias of one number a unit, None for another one."""
    weight = _weight_of(value)
    if weight is None or weight.size not in (1, size) or math.prod(weight.shape[-1:]) != weight.size:
        return None
    return Weight(weight.name, np.broadcast_to(weight.array.reshape(-1), (size,)), source=weight.source)


def _matmul(reader, node, operands):
    x, kernel = operands
    if not _is_real(x) or x.ndim < 2 or not isinstance(kernel, Weight) or kernel.ndim != 2:
        return None
    if kernel.shape[0] != x.shape[-1]:
        raise ArgumentError(f"multiplies {x.shape[-1]} features with a kernel of shape {kernel.shape}")
    (add, before), bias = reader.follower(node, "Add"), None
    if add is not None:
        other = next(name for name in add.inputs if name != before)
        if other in reader.values or other in reader.graph.initializers:
            value = reader.value(other)
            fits = isinstance(value, Weight) and value.ndim <= x.ndim and value.size == kernel.shape[1]
            bias = _vector(value, kernel.shape[1]) if fits else None
    return _dense(reader, node, x, kernel, bias, node if bias is None else add)


def _batch_normalization(reader, node, operands):
    if node.get("training_mode", 0):
        raise ArgumentError("has training_mode=1; export the model for inference")
    if len(operands) != 5:
        raise ArgumentError(f"has {len(operands)} operands, needed are 5")
    x, *rest = operands
    scale, bias, mean, variance = (_weight_of(v) for v in rest)
    if not _is_real(x) or None in (scale, bias, mean, variance):
        raise ArgumentError("needs numbers of the file as scale, shift, mean and variance")
    channels = x.shape[1] if x.ndim > 1 else None
    if any(w.shape != (channels,) for w in (scale, bias, mean, variance)):
        shapes = [w.shape for w in (scale, bias, mean, variance)]
        raise ArgumentError(f"normalises {channels} channels with parameters of {shapes}")
    use_scale = isinstance(rest[0], Weight) or not (scale.array == 1).all()
    use_bias = isinstance(rest[1], Weight) or bias.array.any()
    values = [*([scale.array] if use_scale else []), *([bias.array] if use_bias else []), mean.array, variance.array]
    epsilon = float(node.get("epsilon", 1e-5))
    if x.ndim > 2:
        x = Operation.apply("swapaxes", [x, 1, -1], {}, reader.name(f"{node.name or 'batch_normalization'}_in"))
    made = reader.call(
        lambda **kw: BatchNormalization(epsilon=epsilon, center=use_bias, scale=use_scale, **kw),
        node, x, [w for w in (scale, bias, mean, variance) if w.name], values,
    )  # fmt: skip
    if x.ndim > 2:
        made = Operation.apply("swapaxes", [made, 1, -1], {}, reader.name(f"{node.name or 'batch_normalization'}_out"))
    return node, made


def _layer_normalization(reader, node, operands):
    x, scale, bias = (*operands, None, None)[:3]
    if not _is_real(x) or node.get("axis", -1) not in (-1, x.ndim - 1) or reader._wanted.intersection(node.outputs[1:]):
        return None
    features = x.shape[-1:]
    gamma, beta = _weight_of(scale), None if bias is None else _weight_of(bias)
    if gamma is None or gamma.shape != features or (bias is not None and (beta is None or beta.shape != features)):
        return None
    use_scale = isinstance(scale, Weight) or not (gamma.array == 1).all()
    values = [*([gamma.array] if use_scale else []), *([beta.array] if beta is not None else [])]
    epsilon = float(node.get("epsilon", 1e-5))
    made = reader.call(
        lambda **kw: LayerNormalization(epsilon=epsilon, center=beta is not None, scale=use_scale, **kw),
        node, x, [w for w in (gamma, beta) if w is not None and w.name], values,
    )  # fmt: skip
    return node, made


def _gather(reader, node, operands):
    table, indices = operands
    if not isinstance(indices, Tensor):
        return None
    weight = _weight_of(table)
    if weight is None or weight.ndim != 2 or node.get("axis", 0) != 0 or indices.dtype != "int32":
        raise ArgumentError("picks by what depends on the inputs; fastnn picks rows of a table, by integers of an input")
    made = reader.call(
        lambda **kw: Embedding(*weight.shape, **kw), node, indices, [weight], [weight.array]
    )
    return node, made


def _prelu(reader, node, operands):
    x, slope = operands
    alpha = _weight_of(slope)
    if not _is_real(x) or alpha is None or x.ndim < 2:
        return None
    shape = alpha.shape
    shape = shape[1:] if len(shape) == x.ndim and shape[0] == 1 else shape
    if len(shape) >= x.ndim:
        return None
    shape = (1,) * (x.ndim - 1 - len(shape)) + shape
    if any(a not in (1, d) for a, d in zip(shape, x.shape[1:])):
        return None
    shared = [i + 1 for i, (a, d) in enumerate(zip(shape, x.shape[1:])) if a == 1 and d != 1]
    made = reader.call(
        lambda **kw: PReLU(shared_axes=shared or None, **kw), node, x, [alpha], [alpha.array.reshape(shape)]
    )
    return node, made


def _dropout(reader, node, operands):
    x, ratio = (*operands, None)[:2]
    rate = node.get("ratio", 0.5) if ratio is None else ratio.array if isinstance(ratio, Weight) else ratio
    if isinstance(rate, (Tensor, Part)) or np.size(rate) != 1:
        raise ArgumentError("has a ratio that is no single number of the file")
    rate = float(np.reshape(rate, -1)[0])
    if not 0 <= rate < 1:
        raise ArgumentError(f"has the ratio {rate}, not in [0, 1)")
    if rate == 0 or not _is_real(x):
        return node, x
    return node, reader.call(lambda **kw: Dropout(rate, **kw), node, x)


def _identity(reader, node, operands):
    return node, operands[0]


def _flatten(reader, node, operands):
    [x] = operands
    if not _is_real(x) or node.get("axis", 1) not in (1, 1 - x.ndim):
        return None
    return node, reader.call(lambda **kw: Flatten(**kw), node, x)


def _reshape(reader, node, operands):
    x, shape = (*operands, node.attributes.get("shape"))[:2]
    sizes = [] if shape is None else list(np.reshape(np.asarray(shape, object), -1))
    first, rest = sizes[:1], sizes[1:]
    if not _is_real(x) or not (first == [-1] or first in ([0], [BATCH], [reader.batch])) or first == rest[:1] == [-1]:
        return None
    if rest in ([-1], [math.prod(x.shape[1:])]):
        return node, reader.call(lambda **kw: Flatten(**kw), node, x)
    if len(sizes) > MAX_RANK or any(d is BATCH or (d < 1 and d != -1) for d in rest):
        return None
    return node, reader.call(lambda **kw: Reshape(tuple(int(d) for d in sizes[1:]), **kw), node, x)


def _concat(reader, node, operands):
    if not all(map(_is_real, operands)) or len(operands) < 2:
        return None
    axis = node.get("axis", 0)
    if axis % operands[0].ndim == 0:
        raise ArgumentError("would join samples of several tensors")
    return node, reader.call(lambda **kw: Concatenate(axis, **kw), node, list(operands))


def _cast(reader, node, operands):
    x, to = operands[0], cast_to(node, operands[1] if len(operands) > 1 else None)
    if not isinstance(x, Tensor):
        return None
    kinds = [np.dtype(t).kind for t in (reader.types[node.inputs[0]], to)]
    if x.dtype == "int32" and kinds[1] in "iu":
        return node, x
    if x.dtype != "int32" and (kinds[1] == "f" or (kinds[0] in "iub" and kinds[1] in "iu") or kinds == ["b", "b"]):
        return node, x  # reals hold all of them
    return node, Operation.apply("cast", [x, "bool" if kinds[1] == "b" else to], {}, reader.layer_name(node))


def _label_encoder(reader, node, operands):
    [x] = operands
    text = "keys_strings" in node.attributes
    keys, places = node.get("keys_strings" if text else "keys_int64s"), node.get("values_int64s")
    default = node.get("default_int64", -1)
    if not isinstance(x, Tensor) or x.call.inputs or not isinstance(keys, list) or not isinstance(places, list):
        raise ArgumentError("is read where it gives integers for the text or integers of an input")
    at = dict(zip(places, keys))
    masked = at.pop(0, None) if default == 1 else None
    first = default + 1
    if len(keys) != len(places) or default not in (0, 1) or sorted(at) != list(range(first, first + len(at))) or not at:
        raise ArgumentError("has other values than the places of its keys, from 1 or 2 on, and 0 or 1 for all others")
    if (default == 1) != (masked is not None) or len(set(keys)) < len(keys):
        raise ArgumentError("has no key for each place, or one twice")
    make = StringLookup if text else IntegerLookup
    vocabulary = [at[place] for place in sorted(at)]
    oov = {} if masked is None else {"mask_token": masked}
    return node, reader.call(lambda **kw: make(vocabulary=vocabulary, **oov, **kw), node, x)


# Functions of (reader, node, operands) that give the node whose outputs are made and these, or None where a node is
# no such layer.
LAYERS = {
    "BatchNormalization": _batch_normalization, "Cast": _cast, "CastLike": _cast, "Concat": _concat, "Dropout": _dropout,
    "Flatten": _flatten, "Gather": _gather, "Gemm": _gemm, "Identity": _identity, "LabelEncoder": _label_encoder,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul, "PRelu": _prelu, "Reshape": _reshape,
}  # fmt: skip
