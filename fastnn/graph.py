"""Symbolic tensors, the Program they become, and the way from one to the other.

A user calls layers on symbolic `Tensor` objects; each call is kept. `trace` walks these calls from a model's
outputs back to its inputs and has every layer emit nodes into a `Program`: a flat, verified list of tensors
and nodes whose batch size stays open. Its text is all that the C library needs to run it. The ops a node may
use stand in one table, `_core.OPS`.
"""

import math
import re
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

import numpy as np

from . import _core
from .arguments import FLOAT_DTYPES, POLICIES, check_policy, variable_dtype
from .errors import ArgumentTypeError, GraphError, ProgramError

# Limits of csrc/fastnn.h and csrc/internal.h.
MAX_RANK = 8
MAX_INPUTS = 16
MAX_TENSORS = MAX_NODES = 65535
MAX_NAME = 512
MAX_ELEMENTS = 1 << 40
MAX_TALLIED = 1 << 24

KINDS = ("input", "target", "weight", "param", "temp")
TYPES = (*FLOAT_DTYPES, "int32", "int8", "bfloat16", "csr")
ROOTS = ("output", "loss", "metric", "penalty", "grad", "tally")


# ---- Program ----


class ProgramTensor(NamedTuple):
    """One tensor of a Program: `shape` starts with None where it is batched, and is () for a scalar."""

    id: int
    kind: str
    type: str
    shape: tuple
    name: str = ""

    @property
    def batched(self):
        return bool(self.shape) and self.shape[0] is None

    @property
    def stored(self):
        """NumPy's name of the type that its values have: bfloat16 goes as the bits that it has."""
        return "uint16" if self.type == "bfloat16" else self.type

    @property
    def nbytes(self):
        """Bytes that a parameter's values take."""
        return math.prod(self.shape) * np.dtype(self.stored).itemsize


class Node(NamedTuple):
    """One op with the ids it reads and writes; `attrs` are floats in the order of the op's row."""

    op: str
    inputs: tuple
    outputs: tuple
    attrs: tuple = ()


class Root(NamedTuple):
    """What a session may be asked for.

    `other` is the weight tensor of a loss or metric (-1: none), or the tensor that a gradient belongs to;
    `factor` the weight of a loss in the total.
    """

    kind: str
    tensor: int
    other: int = -1
    factor: float = 1.0
    name: str = ""


class Program:
    """A list of tensors and nodes that runs front to back, and the roots that it is run for.

    Parameters
    ----------
    dtype : {"float32", "float64", "mixed_bfloat16"}
        Type of every tensor but int32 ones, and the kernels of a frozen network, which may be int8 or, in a
        mixed Program, bfloat16. An input of type csr has sparse rows of it. A mixed one is float32, but
        `matmul`, `matmul_nt` and `matmul_tn` round their operands to bfloat16.

    Attributes
    ----------
    policy : str
        The `dtype` given.
    dtype : str
        "float32" or "float64".
    tensors : list of ProgramTensor
        `tensors[i].id == i`.
    nodes : list of Node
    roots : list of Root
    """

    def __init__(self, dtype="float32"):
        self.policy = check_policy("Program", dtype)
        self.dtype = variable_dtype(self.policy)
        self.tensors, self.nodes, self.roots = [], [], []

    def __eq__(self, other):
        if not isinstance(other, Program):
            return NotImplemented
        return (self.policy, self.tensors, self.nodes, self.roots) == (
            other.policy,
            other.tensors,
            other.nodes,
            other.roots,
        )

    __hash__ = None  # type: ignore[assignment]

    def copy(self):
        """A Program that can grow without changing this one."""
        twin = Program(self.policy)
        twin.tensors, twin.nodes, twin.roots = list(self.tensors), list(self.nodes), list(self.roots)
        return twin

    # -- building --

    def add_tensor(self, kind, shape, type=None, name=""):
        """Append a tensor and return its id. `type` defaults to the Program's dtype."""
        tensor = ProgramTensor(len(self.tensors), kind, type or self.dtype, tuple(shape), str(name))
        _check_tensor(self, tensor)
        self.tensors.append(tensor)
        return tensor.id

    def add_node(self, op, inputs, attrs=None, shape=None, name=""):
        """Append a node and the tensors it writes; shapes follow from the op's rule.

        Parameters
        ----------
        op : str
            A name of the op table.
        inputs : sequence of int
            Tensor ids.
        attrs : dict, optional
            One number for each attribute name of the op.
        shape : tuple, optional
            Shape of the output, for ops whose inputs do not tell it (slice, reshape, sum_to, full, ...).
        name : str, optional
            Name of the first output, for reading.

        Returns
        -------
        int or tuple of int
            The id of the output; a tuple for two; None for updates.

        Raises
        ------
        ProgramError
            Unknown op or attribute, or shapes that do not fit.
        """
        info = _op(op)
        attrs = attrs or {}
        if set(attrs) != set(info.attrs):
            raise ProgramError(f"{op} takes the attributes {list(info.attrs)}, got {sorted(attrs)}.")
        values = tuple(float(attrs[a]) for a in info.attrs)
        read = [self._readable(op, i) for i in inputs]
        shapes = _output_shapes(info, read, values, None if shape is None else tuple(shape))
        outputs = tuple(self.add_tensor("temp", s, name=name if i == 0 else "") for i, s in enumerate(shapes))
        self.nodes.append(Node(op, tuple(int(i) for i in inputs), outputs, values))
        return outputs[0] if len(outputs) == 1 else outputs or None

    def add_root(self, kind, tensor, other=-1, factor=1.0, name=""):
        """Append a root; see `Root`."""
        root = Root(kind, int(tensor), int(other), float(factor), str(name))
        _check_root(self, root)
        self.roots.append(root)

    def _readable(self, op, i):
        if not 0 <= i < len(self.tensors):
            raise ProgramError(f"{op} reads tensor {i}, but there are {len(self.tensors)} tensors.")
        return self.tensors[i]

    # -- looking --

    def of_kind(self, kind):
        """The tensors of one kind, in order."""
        return [t for t in self.tensors if t.kind == kind]

    def roots_of(self, kind):
        """The roots of one kind, in order."""
        return [r for r in self.roots if r.kind == kind]

    def attrs(self, node):
        """The attributes of a node as {name: value}."""
        return dict(zip(_core.OPS[node.op].attrs, node.attrs))

    def needed(self, roots):
        """Indices of the nodes that the tensors `roots` depend on, ascending; never updates."""
        wanted, found = set(roots), []
        for i in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[i]
            if wanted.intersection(node.outputs):
                wanted.update(node.inputs)
                found.append(i)
        return found[::-1]

    # -- checking --

    def verify(self):
        """Check everything that the C library checks: ids, kinds, order, shapes, roots.

        Raises
        ------
        ProgramError
            What is wrong and where.
        """
        if max(len(self.tensors), len(self.roots)) > MAX_TENSORS or len(self.nodes) > MAX_NODES:
            raise ProgramError(
                f"{len(self.tensors)} tensors, {len(self.nodes)} nodes and {len(self.roots)} roots; "
                f"at most {MAX_TENSORS}, {MAX_NODES} and {MAX_TENSORS} are possible."
            )
        for i, tensor in enumerate(self.tensors):
            if tensor.id != i:
                raise ProgramError(f"Tensor {i} carries the id {tensor.id}.")
            _check_tensor(self, tensor)
        written, updated, updating = set(), set(), False
        for i, node in enumerate(self.nodes):
            where = f"Node {i} ({node.op})"
            info = _op(node.op)
            if len(node.attrs) != len(info.attrs) or not all(math.isfinite(a) for a in node.attrs):
                raise ProgramError(f"{where} needs {len(info.attrs)} finite attributes, got {node.attrs}.")
            read = [self._readable(where, t) for t in node.inputs]
            for t in read:
                if t.kind == "temp" and t.id not in written:
                    raise ProgramError(f"{where} reads tensor {t.id} before it is written.")
                if t.id in updated:
                    raise ProgramError(f"{where} reads tensor {t.id} after its update.")
            if len(node.outputs) != info.outputs:
                raise ProgramError(f"{where} has {info.outputs} outputs, got {len(node.outputs)}.")
            own = [self._readable(where, t) for t in node.outputs]
            given = own[0].shape if own and info.rule in GIVEN else None
            if [t.shape for t in own] != _output_shapes(info, read, node.attrs, given):
                raise ProgramError(
                    f"{where}: the outputs' shapes {[t.shape for t in own]} do not follow from its inputs."
                )
            for t in own:
                if t.kind != "temp" or t.type != self.dtype or t.id in written:
                    raise ProgramError(
                        f"{where} cannot write tensor {t.id}: a temp has exactly one node that writes it."
                    )
                written.add(t.id)
            if info.rule == "UPDATE":
                updating = True
                updated.add(node.inputs[0])
            elif updating:
                raise ProgramError(f"{where} stands after an update; updates come last.")
        for t in self.tensors:
            if t.kind == "temp" and t.id not in written:
                raise ProgramError(f"Tensor {t.id} is a temp that no node writes.")
        for root in self.roots:
            _check_root(self, root)
        tallied = sum(math.prod(self.tensors[r.tensor].shape) for r in self.roots_of("tally"))
        if tallied > MAX_TALLIED:
            raise ProgramError(f"The tallies have {tallied} elements; at most {MAX_TALLIED} are possible.")

    # -- text --

    def text(self):
        """The Program in the text form that `parse` and the C library read."""
        lines = ["fastnn-program 1", f"dtype {self.policy}"]
        for t in self.tensors:
            lines.append(_join("tensor", t.id, t.kind, t.type, _shape_text(t.shape), t.name))
        for n in self.nodes:
            lines.append(
                _join(
                    "node",
                    n.op,
                    _list_text(n.inputs),
                    _list_text(n.outputs),
                    _list_text(map(float.hex, n.attrs)),
                )
            )
        for r in self.roots:
            if r.kind in ("loss", "metric"):
                lines.append(_join("root", r.kind, r.tensor, r.other, r.factor.hex(), r.name))
            elif r.kind in ("output", "tally"):
                lines.append(_join("root", r.kind, r.tensor, r.name))
            elif r.kind == "grad":
                lines.append(_join("root", r.kind, r.tensor, r.other))
            else:
                lines.append(_join("root", r.kind, r.tensor))
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text):
        """Read a Program from its text and verify it.

        Raises
        ------
        ProgramError
            With the line that is wrong.
        """
        if not text.endswith("\n"):
            raise ProgramError("A Program's last line ends with a newline.")
        lines = text.split("\n")[:-1]
        if len(lines) < 2 or lines[0] != "fastnn-program 1":
            raise ProgramError(f"A Program starts with the line 'fastnn-program 1', got {lines[0][:40]!r}.")
        dtype = re.fullmatch(rf"dtype ({'|'.join(POLICIES)})", lines[1])
        if not dtype:
            raise ProgramError(f"Line 2 gives the dtype, one of {', '.join(POLICIES)}, got {lines[1][:40]!r}.")
        program = cls(dtype[1])
        for number, line in enumerate(lines[2:], start=3):
            for pattern, read, into in _line_forms():  # noqa: B007
                match = pattern.fullmatch(line)
                if match:
                    break
            else:
                raise ProgramError(f"Line {number} of the Program does not parse: {line[:80]!r}.")
            try:
                getattr(program, into).append(read(match))
            except OverflowError:
                raise ProgramError(f"Line {number} of the Program has a number that is too large.") from None
        program.verify()
        return program

    def __repr__(self):
        counts = f"{len(self.tensors)} tensors, {len(self.nodes)} nodes, {len(self.roots)} roots"
        return f"<Program {self.policy}: {counts}>"

    def __str__(self):
        lines = [f"{self!r}; B stands for the samples of a batch"]
        for t in self.tensors:
            if t.kind != "temp":
                lines.append(
                    f"  %{t.id:<4} {t.kind:<7} {_readable_shape(t.shape):<16} {t.type:<8} {t.name}".rstrip()
                )
        part = None
        for n in self.nodes:
            before, part = part, self._part_of(n, part)
            if part != before:
                lines.append(f"{part}:")
            attrs = "".join(f" {k}={v:g}" for k, v in self.attrs(n).items())
            left = ", ".join(f"%{o}" for o in n.outputs)
            right = f"{n.op} {', '.join(map(self._operand_text, n.inputs))}{attrs}"
            made = self.tensors[n.outputs[0]] if n.outputs else None
            note = f"{_readable_shape(made.shape)}  {made.name}" if made else ""
            lines.append(f"  {left + ' = ' if left else '':<12}{right:<48}  {note}".rstrip())
        lines.append("results:")
        for r in self.roots:
            other = (
                f" of {self._operand_text(r.other)}" if r.kind == "grad"
                else f" weighted by {self._operand_text(r.other)}" if r.other >= 0 else ""
            )  # fmt: skip
            lines.append(f"  {r.kind:<8} %{r.tensor}{other}  {r.name}".rstrip())
        return "\n".join(lines)

    def _operand_text(self, i):
        """A tensor's number, and the name of what no node writes."""
        t = self.tensors[i]
        if t.kind == "temp" or not t.name:
            return f"%{i}"
        return f"%{i}:{t.name}" + (f".{t.kind}" if t.kind in ("target", "weight") else "")

    def _part_of(self, node, before):
        """The heading that a node is printed under, from the one of the node before."""
        if not node.outputs:
            return "updates"
        if before == "backward" or node.op == "loss_seed":
            return "backward"
        return "forward"


@cache
def _line_forms():
    """(pattern, reader, list it goes to) of each kind of line; made when a text is first read."""
    whole = r"(?:0|[1-9]\d{0,12})"
    ids = rf"-|{whole}(?:,{whole})*"
    real = r"-?0x[01](?:\.[0-9a-f]{1,13})?p[+-]\d{1,4}"
    kinds, types = "|".join(KINDS), "|".join(TYPES)
    forms = (
        (
            rf"tensor ({whole}) ({kinds}) ({types}) (-|(?:B|{whole})(?:,{whole})*)(?: (.*))?",
            _read_tensor,
            "tensors",
        ),
        (rf"node (\w+) ({ids}) ({ids}) (-|{real}(?:,{real})*)", _read_node, "nodes"),
        (rf"root (loss|metric) ({whole}) (-1|{whole}) ({real})(?: (.*))?", _read_weighted_root, "roots"),
        (
            rf"root (?:(output|tally) ({whole})(?: (.*))?|(penalty) ({whole})|(grad) ({whole}) ({whole}))",
            _read_root,
            "roots",
        ),
    )
    return tuple((re.compile(p, re.ASCII | re.DOTALL), read, into) for p, read, into in forms)


def _join(*words):
    return " ".join(str(w) for w in words if w != "")


def _shape_text(shape):
    return ",".join("B" if d is None else str(d) for d in shape) or "-"


def _list_text(items):
    return ",".join(map(str, items)) or "-"


def _readable_shape(shape):
    return f"({', '.join('B' if d is None else str(d) for d in shape)})"


def _ids(text):
    return () if text == "-" else tuple(map(int, text.split(",")))


def _read_tensor(m):
    shape = () if m[4] == "-" else tuple(None if d == "B" else int(d) for d in m[4].split(","))
    return ProgramTensor(int(m[1]), m[2], m[3], shape, m[5] or "")


def _read_node(m):
    attrs = () if m[4] == "-" else tuple(map(float.fromhex, m[4].split(",")))
    return Node(m[1], _ids(m[2]), _ids(m[3]), attrs)


def _read_weighted_root(m):
    return Root(m[1], int(m[2]), int(m[3]), float.fromhex(m[4]), m[5] or "")


def _read_root(m):
    if m[1]:
        return Root(m[1], int(m[2]), name=m[3] or "")
    return Root("penalty", int(m[5])) if m[4] else Root("grad", int(m[7]), int(m[8]))


def _op(name):
    info = _core.OPS.get(name)
    if info is None:
        raise ProgramError(f"There is no op {name!r}.")
    return info


def _check_tensor(program, t):
    wrong = _wrong_of(program, t)
    if wrong is not None:
        raise ProgramError(f"Tensor {t.id} ({t.kind} {t.name!r}){wrong}")


def _wrong_of(program, t):
    """What is wrong with a tensor, or None."""
    kind, type, shape, name = t.kind, t.type, t.shape, t.name
    if kind not in KINDS or (type != program.dtype and not _other_type_fits(program, t)):
        return f": a {type} {kind} cannot stand in a Program of {program.policy}."
    if "\n" in name or (4 * len(name) > MAX_NAME and len(name.encode("utf-8", "surrogatepass")) > MAX_NAME):
        return f": a name is one line of at most {MAX_NAME} bytes."
    batched = t.batched
    fixed, elements = shape[1:] if batched else shape, 1
    for d in fixed:
        elements = elements * d if isinstance(d, int) and d > 0 else MAX_ELEMENTS + 1
    if elements > MAX_ELEMENTS or len(shape) > MAX_RANK:
        return f": {shape} is no shape of at most {MAX_RANK} dimensions and 2**40 elements."
    if kind == "temp":
        return None
    if kind in ("input", "target", "weight") and not batched:
        return f" needs a batch dimension, got {shape}."
    if kind == "param" and batched:
        return f" has no batch dimension, got {shape}."
    if kind == "weight" and len(shape) != 1:
        return f" has one number a sample, got {shape}."
    return None


def _other_type_fits(program, t):
    """Whether a tensor may have a type that is not the Program's."""
    if t.type == "int32":
        return t.kind in ("input", "target")
    if t.type == "csr":
        return t.kind == "input" and len(t.shape) == 2
    stored = {"float32": ("int8",), "mixed_bfloat16": ("int8", "bfloat16")}.get(program.policy, ())
    return t.type in stored and t.kind == "param" and len(t.shape) == 2


def _check_root(program, r):
    if (
        r.kind not in ROOTS
        or not 0 <= r.tensor < len(program.tensors)
        or not -1 <= r.other < len(program.tensors)
    ):
        raise ProgramError(f"{r} names no tensor of the Program.")
    t = program.tensors[r.tensor]
    other = program.tensors[r.other] if r.other >= 0 else None
    if "\n" in r.name or not math.isfinite(r.factor) or t.type in ("int32", "csr"):
        good = False
    elif r.kind == "output":
        good = t.batched and t.kind == "temp"
    elif r.kind in ("loss", "metric"):
        good = t.batched and (other is None or other.kind == "weight")
    elif r.kind == "penalty":
        good = t.kind == "temp" and t.shape == ()
    elif r.kind == "tally":
        good = t.kind == "temp" and not t.batched
    else:
        good = (
            other is not None
            and (other.kind == "param" or (other.kind == "input" and other.type == program.dtype))
            and t.kind == "temp"
            and t.shape == other.shape
        )
    if not good:
        raise ProgramError(f"{r}: tensor {r.tensor} of shape {t.shape} cannot be this root.")


# ---- shape rules: (inputs, attrs, given output shape) -> output shapes, None where they do not fit ----


def broadcast_shapes(shapes):
    """The shape of an elementwise op's output, None where the inputs do not fit.

    Dimensions are aligned from the last, as in NumPy; all tensors with a batch have the same rank, which
    those without stay below.
    """
    batched = [s for s in shapes if s and s[0] is None]
    rank = max(map(len, shapes))
    if any(len(s) != rank for s in batched) or (
        batched and any(len(s) == rank for s in shapes if not s or s[0] is not None)
    ):
        return None
    out = []
    for dims in zip(*((1,) * (rank - len(s)) + s for s in shapes)):
        sizes = {d for d in dims if d != 1}
        if len(sizes) > 1:
            return None
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def _is_batched(shape):
    return bool(shape) and shape[0] is None


def _rule_same(info, ins, attrs, given):
    shape, op = ins[0].shape, info.name
    if any(t.shape != shape for t in ins):
        return None
    if "softmax" in op and (not ins[0].batched or len(shape) < 2):
        return None
    if op == "dropout" and not (ins[0].batched and 0 <= attrs[0] < 1 and attrs[1] in range(65536)):
        return None
    if op in ("mix", "mix_grad") and not (ins[0].batched and 0 < attrs[0] and attrs[1] in range(65536)):
        return None
    if op in ("penalty_grad", "clip_value") and ins[0].batched:
        return None
    return [shape]


def _rule_map(info, ins, attrs, given):
    shape = broadcast_shapes([t.shape for t in ins])
    return None if shape is None else [shape]


def _rule_matmul(info, ins, attrs, given):
    x, w = ins[0].shape, ins[1].shape
    contracted, kept = (1, 0) if info.rule == "MATMUL_NT" else (0, 1)
    fits = len(x) >= 2 and not ins[1].batched and len(w) == 2 and x[-1] == w[contracted]
    return [(*x[:-1], w[kept])] if fits else None


def _rule_matmul_int8(info, ins, attrs, given):
    shapes = _rule_matmul(info, ins, attrs, given)
    return shapes if shapes and ins[2].shape == shapes[0][-1:] else None


def _rule_matmul_tn(info, ins, attrs, given):
    x, dy = ins[0].shape, ins[1].shape
    fits = len(x) >= 2 and len(dy) >= 2 and x[:-1] == dy[:-1]
    return [(x[-1], dy[-1])] if fits else None


def _rule_bias(info, ins, attrs, given):
    x, b = ins[0].shape, ins[1].shape
    return [x] if ins[0].batched and len(x) >= 2 and b == (x[-1],) else None


def _rule_sum_rows(info, ins, attrs, given):
    x = ins[0].shape
    return [(x[-1],)] if ins[0].batched and len(x) >= 2 else None


def _rule_reduce(info, ins, attrs, given):
    x = ins[0].shape
    if given is None or len(given) != len(x) or (ins[0].batched and not _is_batched(given)):
        return None
    if info.name == "argmax":
        return [given] if len(x) > ins[0].batched and given == (*x[:-1], 1) else None
    return [given] if all(g in (d, 1) for g, d in zip(given, x)) else None


def _rule_broadcast(info, ins, attrs, given):
    x = ins[0].shape
    if given is None or (ins[0].batched and not _is_batched(given)):
        return None
    return [given] if len(x) <= len(given) and broadcast_shapes([x, given]) == given else None


def _rule_spread(info, ins, attrs, given):
    fits = _is_batched(given) and len(given) >= 2 and ins[0].shape == (given[-1],)
    return [given] if fits else None


def _rule_moments(info, ins, attrs, given):
    x = ins[0].shape
    return [(x[-1],)] * 2 if ins[0].batched and len(x) >= 2 else None


def _rule_moments_grad(info, ins, attrs, given):
    dmean, dvar, x, mean = (t.shape for t in ins)
    fits = ins[2].batched and len(x) >= 2 and dmean == dvar == mean == (x[-1],)
    return [x] if fits else None


def _rule_norm(info, ins, attrs, given):
    x = ins[0].shape
    return [x, (*x[:-1], 1)] if ins[0].batched and len(x) >= 2 and attrs[0] >= 0 else None


def _rule_norm_grad(info, ins, attrs, given):
    dy, y, r = (t.shape for t in ins)
    return [y] if ins[1].batched and len(y) >= 2 and dy == y and r == (*y[:-1], 1) else None


def _axis_of(x, attr):
    """The axis an attribute names, None where that is no whole number, the batch, or beyond the rank."""
    axis = int(attr)
    return axis if axis == attr and x.batched <= axis < len(x.shape) else None


def _rule_concat(info, ins, attrs, given):
    shapes, axis = [t.shape for t in ins], _axis_of(ins[0], attrs[0])
    first = shapes[0]
    if axis is None or any(
        len(s) != len(first) or s[:axis] + s[axis + 1 :] != first[:axis] + first[axis + 1 :] for s in shapes
    ):
        return None
    return [(*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])]


def _rule_slice(info, ins, attrs, given):
    """Also pad, whose output is what slice would cut its input from."""
    x, axis, start = ins[0].shape, _axis_of(ins[0], attrs[0]), int(attrs[1])
    if axis is None or start != attrs[1] or start < 0 or len(given or ()) != len(x):
        return None
    whole, part = (given, x) if info.rule == "PAD" else (x, given)
    fits = (
        whole[:axis] == part[:axis]
        and whole[axis + 1 :] == part[axis + 1 :]
        and start + part[axis] <= whole[axis]
    )
    return [given] if fits else None


def _rule_reshape(info, ins, attrs, given):
    x = ins[0].shape
    if given is None or ins[0].batched != _is_batched(given):
        return None
    skip = ins[0].batched
    return [given] if math.prod(x[skip:]) == math.prod(given[skip:]) else None


def permutation(code, rank):
    """The input dimension of each output dimension that transpose's attribute stands for."""
    return tuple((int(code) >> 3 * i) & 7 for i in range(rank))


def _rule_transpose(info, ins, attrs, given):
    x = ins[0].shape
    if not 0 <= attrs[0] < 1 << 3 * MAX_RANK or int(attrs[0]) != attrs[0] or int(attrs[0]) >> 3 * len(x):
        return None
    perm = permutation(attrs[0], len(x))
    if sorted(perm) != list(range(len(x))) or (ins[0].batched and perm[0] != 0):
        return None
    return [tuple(x[i] for i in perm)]


def _rule_full(info, ins, attrs, given):
    return None if given is None or _is_batched(given) else [given]


def _rule_embed(info, ins, attrs, given):
    table, index = ins[0].shape, ins[1].shape
    fits = not ins[0].batched and len(table) == 2 and ins[1].batched and len(index) < MAX_RANK
    return [(*index, table[1])] if fits else None


def _rule_embed_grad(info, ins, attrs, given):
    dy, index = ins[0].shape, ins[1].shape
    fits = ins[1].batched and dy[:-1] == index and len(given or ()) == 2 and not _is_batched(given)
    return [given] if fits and given[1] == dy[-1] else None


def _rule_one_hot(info, ins, attrs, given):
    index = ins[0].shape
    return [given] if ins[0].batched and given is not None and given[:-1] == index else None


def _rule_to_real(info, ins, attrs, given):
    return [ins[0].shape]


def _rule_random(info, ins, attrs, given):
    fits = _is_batched(given) and attrs[-1] in range(65536)
    if info.name == "random_uniform":
        fits = fits and attrs[0] <= attrs[1]
    elif fits:
        fits = attrs[1] >= 0
    return [given] if fits else None


def _rule_warp(info, ins, attrs, given):
    x, m = ins[0].shape, ins[1].shape
    fits = ins[0].batched and len(x) == 4 and m == (None, 6) and attrs[0] in range(4)
    return [x] if fits else None


def _rule_loss(info, ins, attrs, given):
    p, t = ins[0].shape, ins[1].shape
    fits = ins[0].batched and len(p) >= 2 and t == (p[:-1] if info.rule == "LOSS_IDX" else p)
    return [p[:-1], p][: info.outputs] if fits else None


def _rule_loss_grad(info, ins, attrs, given):
    seed, p, t = (i.shape for i in ins)
    fits = (
        ins[1].batched
        and len(p) >= 2
        and seed == p[:-1]
        and t == (p[:-1] if info.rule == "LOSS_IDX_GRAD" else p)
    )
    return [p] if fits else None


def _rule_seed(info, ins, attrs, given):
    return [given] if ins[0].shape == (None,) and _is_batched(given) else None


def _rule_scalar(info, ins, attrs, given):
    return None if ins[0].batched else [()]


def _rule_clip(info, ins, attrs, given):
    return None if ins[0].batched or ins[1].shape != () else [ins[0].shape]


def _rule_update(info, ins, attrs, given):
    return [] if ins[0].kind == "param" and ins[0].shape == ins[1].shape and ins[0].id != ins[1].id else None


_RULES = {
    "SAME": _rule_same, "MAP": _rule_map, "MATMUL": _rule_matmul, "MATMUL_INT8": _rule_matmul_int8,
    "MATMUL_NT": _rule_matmul, "MATMUL_TN": _rule_matmul_tn, "MATMUL_CSR": _rule_matmul,
    "MATMUL_CSR_TN": _rule_matmul_tn, "BIAS": _rule_bias, "SUM_ROWS": _rule_sum_rows, "REDUCE": _rule_reduce,
    "BROADCAST": _rule_broadcast, "SPREAD": _rule_spread, "MOMENTS": _rule_moments,
    "MOMENTS_GRAD": _rule_moments_grad, "NORM": _rule_norm, "NORM_GRAD": _rule_norm_grad,
    "CONCAT": _rule_concat,
    "SLICE": _rule_slice, "PAD": _rule_slice, "RESHAPE": _rule_reshape, "TRANSPOSE": _rule_transpose,
    "FULL": _rule_full, "EMBED": _rule_embed, "EMBED_GRAD": _rule_embed_grad, "ONE_HOT": _rule_one_hot,
    "TO_REAL": _rule_to_real, "RANDOM": _rule_random, "WARP": _rule_warp, "LOSS": _rule_loss,
    "LOSS_IDX": _rule_loss, "LOSS_GRAD": _rule_loss_grad, "LOSS_IDX_GRAD": _rule_loss_grad,
    "SEED": _rule_seed,
    "SCALAR": _rule_scalar, "CLIP": _rule_clip, "UPDATE": _rule_update,
}  # fmt: skip
# Rules that take the output's shape from the node.
GIVEN = (
    "REDUCE", "BROADCAST", "SPREAD", "SLICE", "PAD", "RESHAPE", "FULL", "EMBED_GRAD", "ONE_HOT", "RANDOM",
    "SEED",
)  # fmt: skip
# Which input is int32. The others are real, but for the kernels of products.
_INDEX = {"LOSS_IDX": 1, "LOSS_IDX_GRAD": 2, "EMBED": 1, "EMBED_GRAD": 1, "ONE_HOT": 0, "TO_REAL": 0}


# Their first input is csr, and no other op reads one.
_SPARSE = ("MATMUL_CSR", "MATMUL_CSR_TN")


def _type_fits(rule, i, type):
    if i == 0 and rule in _SPARSE:
        return type == "csr"
    if i == _INDEX.get(rule):
        return type == "int32"
    if i == 1 and rule in ("MATMUL", "MATMUL_INT8"):
        return type == "int8" if rule == "MATMUL_INT8" else type in (*FLOAT_DTYPES, "bfloat16")
    return type in FLOAT_DTYPES


def _output_shapes(info, ins, attrs, given):
    count = len(ins)
    if not (1 <= count <= MAX_INPUTS if info.inputs < 0 else count == info.inputs):
        needed = info.inputs if info.inputs >= 0 else f"1 to {MAX_INPUTS}"
        raise ProgramError(f"{info.name} takes {needed} inputs, got {count}.")
    for i, t in enumerate(ins):
        if not _type_fits(info.rule, i, t.type):
            raise ProgramError(f"{info.name} cannot read tensor {t.id} of type {t.type}.")
    shapes = _RULES[info.rule](info, ins, attrs, given)
    if shapes is None:
        raise ProgramError(
            f"{info.name} does not fit the shapes {', '.join(_readable_shape(t.shape) for t in ins)}"
            + (f" and the output's shape {_readable_shape(given)}" if given is not None else "")
            + (f" and the attributes {attrs}." if attrs else ".")
        )
    return shapes


# ---- emitting ----


def _operator(name, swapped=False):
    def apply(self, other):
        from . import ops  # its functions stand on this module

        if not ops.is_operand(other):
            return NotImplemented
        function = getattr(ops, name)
        return function(other, self) if swapped else function(self, other)

    return apply


def _unary_operator(name):
    def apply(self):
        from . import ops

        return getattr(ops, name)(self)

    return apply


class Arithmetic:
    """Operators, each the function of `fastnn.ops` of that name; NumPy's functions are led there too."""

    __slots__ = ()

    __add__, __radd__ = _operator("add"), _operator("add", True)
    __sub__, __rsub__ = _operator("subtract"), _operator("subtract", True)
    __mul__, __rmul__ = _operator("multiply"), _operator("multiply", True)
    __truediv__, __rtruediv__ = _operator("divide"), _operator("divide", True)
    __pow__, __rpow__ = _operator("power"), _operator("power", True)
    __matmul__, __rmatmul__ = _operator("matmul"), _operator("matmul", True)
    __lt__, __le__, __gt__, __ge__ = map(_operator, ("less", "less_equal", "greater", "greater_equal"))
    __neg__, __abs__ = _unary_operator("negative"), _unary_operator("abs")
    __and__, __rand__ = _operator("logical_and"), _operator("logical_and", True)
    __or__, __ror__ = _operator("logical_or"), _operator("logical_or", True)
    __xor__, __rxor__ = _operator("logical_xor"), _operator("logical_xor", True)
    __invert__ = _unary_operator("logical_not")

    def __getitem__(self, key):
        from . import ops

        return ops.get_item(self, key)

    def __setitem__(self, key, value):
        raise ArgumentTypeError(
            f"{self!r} cannot be changed in place: use ops.where(condition, a, b) or ops.concatenate, and for "
            "parameters assign(array)."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from . import ops

        return ops.from_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        from . import ops

        return ops.from_function(function, args, kwargs)


class Value(Arithmetic):
    """A tensor of the Program that is being built: what a layer's `call` receives and returns."""

    __slots__ = ("builder", "id")

    def __init__(self, builder, id):
        self.builder, self.id = builder, id

    @property
    def shape(self):
        """tuple: None for the batch, then the sizes."""
        return self.builder.program.tensors[self.id].shape

    @property
    def dtype(self):
        return self.builder.program.tensors[self.id].type

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def batched(self):
        """bool: whether the first dimension is the batch."""
        return self.builder.program.tensors[self.id].batched

    def __repr__(self):
        return f"<Value %{self.id} {_readable_shape(self.shape)} {self.dtype}>"

    __eq__, __ne__ = _operator("equal"), _operator("not_equal")
    __hash__ = object.__hash__

    def _no_value(self, *args, **kwargs):
        raise ArgumentTypeError(
            f"{self!r} has no value yet: a traced function runs once and cannot branch or loop on values. "
            "Use ops.where(condition, a, b) for a choice by element, and ops.in_training(a, b) for one by "
            "mode."
        )

    __array__ = __bool__ = __float__ = __int__ = __index__ = _no_value

    def __len__(self):
        if not self.shape or self.batched:
            self._no_value()
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))


_building = ContextVar("building", default=())  # of each thread, the innermost last


def current_builder():
    """The Builder of the function that is being traced in this thread, None outside of one."""
    stack = _building.get()
    return stack[-1] if stack else None


class Builder:
    """Builds a Program while layers emit into it: knows which tensor stands for which parameter.

    As a context manager it is the one that functions emit into which are given parameters and numbers alone.

    Attributes
    ----------
    program : Program
    params : dict of Parameter to int
        Tensor ids, in the order in which the parameters were first asked for.
    scope : str
        Name given to the tensors that are emitted now.
    training : bool or None
        False where layers are emitted as they are outside training, also while the model trains.
    """

    def __init__(self, dtype="float32"):
        self.program, self.params, self.scope, self.training = Program(dtype), {}, "", None
        self._random_nodes = 0
        self._once, self._constants, self._averages = {}, {}, {}
        self._producer = {}

    @classmethod
    def over(cls, program, params):
        """A Builder that goes on with a Program; `params` are pairs of tensor id and Parameter."""
        builder = cls(program.dtype)
        builder.program, builder.params = program, {p: i for i, p in params}
        for node in program.nodes:
            builder._producer.update(dict.fromkeys(node.outputs, node))
            key = program.attrs(node).get("key", -1)
            if key < _SEEDED:
                builder._random_nodes = max(builder._random_nodes, int(key) + 1)
        return builder

    def __enter__(self):
        _building.set((*_building.get(), self))
        return self

    def __exit__(self, *error):
        _building.set(_building.get()[:-1])

    def input(self, shape, type=None, name=""):
        return Value(self, self.program.add_tensor("input", shape, type, name))

    def param(self, parameter):
        """The tensor of a parameter; made at its first use, shared by all later ones."""
        if parameter not in self.params:
            self.params[parameter] = self.program.add_tensor("param", parameter.shape, name=parameter.name)
        return Value(self, self.params[parameter])

    def constant(self, array):
        """The tensor of an array that a traced function uses: a parameter that never changes."""
        from .layers.base import Constant  # layers stand on this module

        array = np.asarray(array)
        if array.dtype.kind not in "fiub":
            raise ArgumentTypeError(f"A traced function takes real numbers, got an array of {array.dtype}.")
        array = np.ascontiguousarray(array, np.float64)
        key = array.shape, array.tobytes()
        if key not in self._constants:
            count = sum(p.constant for p in self.params)
            self._constants[key] = Constant(f"constant/{count}", array)
            self._constants[key].become(self.program.dtype)
        return self.param(self._constants[key])

    def random_key(self):
        """A number that sets a random node apart from the others of the Program (less than 2**15)."""
        if self._random_nodes == _SEEDED:
            raise GraphError("A model has at most 32768 random layers.")
        self._random_nodes += 1
        return self._random_nodes - 1

    def emit(self, op, *inputs, shape=None, **attrs):
        """Append a node; see the function `emit`."""
        if self.training is False and op in ("in_training", "dropout"):
            return inputs[-1] if isinstance(inputs[-1], Value) else self.param(inputs[-1])
        ids = [(i if isinstance(i, Value) else self.param(i)).id for i in inputs]
        out = self.node(op, ids, attrs, shape, self.scope)
        return tuple(Value(self, o) for o in out) if isinstance(out, tuple) else Value(self, out)

    def node(self, op, ids, attrs=None, shape=None, name=""):
        """`Program.add_node`."""
        for i in ids:
            t = self.program.tensors[i]
            if t.type == "csr" and _op(op).rule not in _SPARSE:
                raise GraphError(
                    f"{self.scope!r} cannot read the sparse input {t.name!r} by {op}: only products do; begin with "
                    "a Dense layer."
                )
        out = self.program.add_node(op, ids, attrs, shape, name)
        node = self.program.nodes[-1]
        self._producer.update(dict.fromkeys(node.outputs, node))
        return out

    def node_once(self, op, ids, attrs=None, shape=None, name=""):
        """`node`, or what an equal earlier call gave: an op is a function of its inputs and attributes."""
        key = op, tuple(ids), tuple(sorted((attrs or {}).items())), shape and tuple(shape)
        if key not in self._once:
            self._once[key] = self.node(op, ids, attrs, shape, name)
        return self._once[key]

    def once(self, op, *inputs, shape=None, **attrs):
        """`emit`, or what an equal earlier call gave."""
        if self.training is False and op == "in_training" and inputs[0].id != inputs[1].id:
            return inputs[1]
        ids = [(i if isinstance(i, Value) else self.param(i)).id for i in inputs]
        out = self.node_once(op, ids, attrs, shape, self.scope)
        return tuple(Value(self, o) for o in out) if isinstance(out, tuple) else Value(self, out)

    def producer(self, id):
        """The node that writes a tensor, None for inputs and parameters."""
        return self._producer.get(id)

    def on_train(self, parameter, value, momentum):
        """Let each training step set `parameter` to momentum * parameter + (1 - momentum) * value.

        Parameters
        ----------
        parameter : Parameter
            Not trainable.
        value : Value
            Of the parameter's shape, without a batch.
        momentum : float
            In [0, 1].
        """
        if self.training is False:
            return
        w = self.param(parameter).id
        if w in self._averages:  # called before in this Program: both steps as one
            first, m = self._averages[w]
            both = m * momentum
            if both < 1:
                a = momentum * (1 - m) / (1 - both)
                value = self.once("add", self.once("affine", Value(self, first), scale=a, shift=0.0),
                                  self.once("affine", value, scale=1 - a, shift=0.0))  # fmt: skip
            momentum = both
        self._averages[w] = value.id, momentum

    def finish(self):
        """Append what `on_train` asked for; updates come last in a Program."""
        for w, (value, momentum) in self._averages.items():
            self.node("moving_average", (w, value), {"momentum": momentum})
        self._averages = {}

    def separate(self):
        """Share nothing with what was emitted so far: a layer's nodes are then the same in every model."""
        self._once = {}

    def inline(self, program, known, parameters):
        """Emit the nodes of another Program.

        Parameters
        ----------
        program : Program
            Whose roots are outputs or tallies.
        known : dict of int to Value
            What stands for its inputs, targets and weights.
        parameters : dict of int to Parameter
            What stands for its parameters.

        Returns
        -------
        list of Value
            One for each root.
        """
        known = dict(known)
        known.update((i, self.param(p)) for i, p in parameters.items())
        first_key = self._random_nodes
        inference = self.training is False
        wanted = _nodes_outside_training(program) if inference else ()
        for node in program.nodes:
            attrs = program.attrs(node)
            if attrs.get("key", _SEEDED) < _SEEDED:
                attrs["key"] += first_key
                self._random_nodes = max(self._random_nodes, int(attrs["key"]) + 1)
            if inference and node not in wanted:
                continue
            if inference and changes_in_training(node):
                known[node.outputs[0]] = known[node.inputs[-1]]
                continue
            ids = [known[i].id for i in node.inputs]
            if not node.outputs:
                self.on_train(parameters[node.inputs[0]], known[node.inputs[1]], *node.attrs)
                continue
            made = self.node(node.op, ids, attrs, program.tensors[node.outputs[0]].shape, self.scope)
            for i, id in zip(node.outputs, made if isinstance(made, tuple) else (made,)):
                known[i] = Value(self, id)
        return [known[r.tensor] for r in program.roots]


def changes_in_training(node):
    """Whether a node gives its last input outside training; in_training(x, x) stops gradients."""
    return node.op == "dropout" or (node.op == "in_training" and node.inputs[0] != node.inputs[1])


def _nodes_outside_training(program):
    """The nodes of a Program that its roots need outside training."""
    needed, nodes = {r.tensor for r in program.roots}, set()
    for node in reversed(program.nodes):
        if not needed.isdisjoint(node.outputs):
            nodes.add(node)
            needed.update(node.inputs[-1:] if changes_in_training(node) else node.inputs)
    return nodes


# Keys of random nodes have 16 bits: the lower half counts the nodes, the upper half belongs to seeds.
_SEEDED = 1 << 15


def emit(op, *inputs, shape=None, **attrs):
    """Append a node to the Program that the first `Value` among the inputs belongs to.

    Parameters
    ----------
    op : str
        A name of the op table.
    *inputs : Value or Parameter
    shape : tuple, optional
        For ops whose inputs do not tell the output's shape.
    **attrs : float

    Returns
    -------
    Value or tuple of Value
    """
    for i in inputs:
        if isinstance(i, Value):
            return i.builder.emit(op, *inputs, shape=shape, **attrs)
    raise ArgumentTypeError(
        f"{op} needs a tensor of the model, got {', '.join(type(i).__name__ for i in inputs)}."
    )


def product_of(x):
    """The op of a product whose first factor is the Value `x`."""
    return "matmul_csr" if x.dtype == "csr" else "matmul"


# ---- symbolic tensors ----


class Tensor(Arithmetic):
    """A symbolic tensor: it has a shape and a type but no values. Layers are called on it.

    Operators and the functions of `fastnn.ops` work on it as on arrays and give symbolic tensors.

    Attributes
    ----------
    shape : tuple
        None for the batch, then the sizes: (None, 64).
    dtype : str
    name : str
    call : LayerCall
        The call that made it; `index` says which of its outputs it is.
    sparse : bool
        Whether it stands for sparse rows.
    """

    __slots__ = ("shape", "dtype", "name", "call", "index", "sparse")

    def __init__(self, shape, dtype, name, call=None, index=0, sparse=False):
        self.shape, self.dtype, self.name, self.call, self.index = tuple(shape), dtype, name, call, index
        self.sparse = sparse

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def program_type(self):
        """Its type in a Program, None for the Program's own."""
        return "csr" if self.sparse else "int32" if self.dtype in ("int32", "string") else None

    def __repr__(self):
        sparse = " sparse" if self.sparse else ""
        return f"<Tensor {self.name} shape={self.shape} dtype={self.dtype}{sparse}>"

    def _no_values(self, *args, **kwargs):
        raise ArgumentTypeError(
            f"{self!r} is symbolic and has no values: call layers on it, make a Model, and give the arrays "
            "to the Model."
        )

    __array__ = __bool__ = __float__ = __int__ = __len__ = __iter__ = _no_values
    __eq__, __ne__ = _operator("equal"), _operator("not_equal")
    __hash__ = object.__hash__


class LayerCall:
    """One call of a layer.

    `listed` says whether the layer was given a list, `training` is False where it was called to act as it
    does outside training, else None.
    """

    __slots__ = ("layer", "inputs", "listed", "outputs", "training")

    def __init__(self, layer, inputs, listed, outputs, training=None):
        self.layer, self.inputs, self.listed, self.outputs = layer, inputs, listed, outputs
        self.training = training


class TrainingMode:
    """What a layer's `call` is given as `training`: to be handed on to other layers, not to branch on."""

    def __bool__(self):
        raise ArgumentTypeError(
            "training has no value yet: a layer is traced once for both modes. Use ops.in_training(a, b), "
            "which is a in training and b otherwise."
        )

    __eq__ = __ne__ = __bool__  # type: ignore[assignment]
    __hash__ = object.__hash__


def calls_between(inputs, outputs):
    """The layer calls that lead from `inputs` to `outputs`, each after those it depends on.

    Parameters
    ----------
    inputs, outputs : sequence of Tensor
        An input may be any symbolic tensor; the walk stops there.

    Returns
    -------
    list of LayerCall

    Raises
    ------
    GraphError
        If an output needs an `Input` that is not given, or a given one leads to no output.
    """
    inputs, outputs = _symbolic("inputs", inputs), _symbolic("outputs", outputs)
    if not outputs:
        raise GraphError("A model needs at least one output.")
    given = {id(t) for t in inputs}
    if len(given) != len(inputs):
        raise GraphError(f"The same tensor stands twice among the inputs {[t.name for t in inputs]}.")
    order, done, used = [], set(), set()
    for output in outputs:
        stack = [(output, None, False)]
        while stack:
            tensor, reader, left = stack.pop()
            if id(tensor) in given:
                used.add(id(tensor))
                continue
            call = tensor.call
            if left:
                if id(call) not in done:
                    done.add(id(call))
                    order.append(call)
            elif id(call) not in done:
                if not call.inputs:
                    needs = f"Layer {reader.layer.name!r} needs" if reader else "An output is"
                    raise GraphError(
                        f"{needs} the Input {tensor.name!r} of shape {tensor.shape}, which is not among the "
                        f"model's inputs {[t.name for t in inputs]}; add it to them."
                    )
                stack.append((tensor, reader, True))
                stack.extend((t, call, False) for t in reversed(call.inputs))
    for t in inputs:
        if id(t) not in used:
            raise GraphError(
                f"The input {t.name!r} leads to none of the outputs {[o.name for o in outputs]}; "
                "leave it out."
            )
    return order


def layers_between(inputs, outputs):
    """The distinct layers of a graph, in the order of Keras 3.

    By depth (the longest way to an output), deepest first; within a depth in the order in which a walk back
    from the outputs meets them.
    """
    calls = calls_between(inputs, outputs)
    given = {id(t) for t in inputs}
    met = {}
    stack = list(outputs)[::-1]
    seen = set()
    while stack:
        tensor = stack.pop()
        if id(tensor.call) in seen:
            continue
        seen.add(id(tensor.call))
        met.setdefault(tensor.call.layer, len(met))
        if id(tensor) not in given:
            stack.extend(reversed(tensor.call.inputs))
    call_depth, depth = {}, {}
    for call in reversed(calls):
        d = max(call_depth.get(id(call), 0), depth.get(call.layer, 0))
        call_depth[id(call)] = depth[call.layer] = d
        for t in call.inputs:
            if id(t) in given:
                layer = t.call.layer
                if not t.call.inputs:
                    depth[layer] = max(depth.get(layer, 0), d + 1)
            else:
                call_depth[id(t.call)] = max(call_depth.get(id(t.call), 0), d + 1)
    for t in inputs:
        if not t.call.inputs:
            depth.setdefault(t.call.layer, 0)
    return sorted(depth, key=lambda layer: (-depth[layer], met[layer]))


def replay(inputs, outputs, values):
    """Run the layers between `inputs` and `outputs` on Values: how a model acts as a layer of another model.

    Parameters
    ----------
    inputs, outputs : sequence of Tensor
    values : sequence of Value
        What stands for the inputs.

    Returns
    -------
    list of Value
        One for each output.
    """
    known = {id(t): v for t, v in zip(inputs, values, strict=True)}
    for _ in replay_calls(inputs, outputs, known):
        pass
    return [known[id(t)] for t in outputs]


def replay_calls(inputs, outputs, known):
    """`replay` one call after the other: yields each LayerCall after its nodes were emitted.

    `known` maps the id() of each input to its Value, and gets those of all tensors that the calls return.
    """
    builder = known[id(inputs[0])].builder
    for call in calls_between(inputs, outputs):
        builder.separate()
        read = [known[id(t)] for t in call.inputs]
        made = call.layer.trace_call(builder, read if call.listed else read[0], call.training)
        for tensor, value in zip(
            call.outputs, made if isinstance(made, (list, tuple)) else [made], strict=True
        ):
            known[id(tensor)] = value
        yield call
    builder.separate()


def trace_calls(inputs, outputs, dtype):
    """The layers between `inputs` and `outputs` as they act outside training, with what each call emitted.

    Returns
    -------
    builder : Builder
        Whose Program has the inputs first and no roots.
    known : dict of int to Value
        By the id() of each symbolic tensor.
    calls : list of (LayerCall, slice)
        In order, each with the Program's nodes that it emitted.
    """
    builder = Builder(dtype)
    builder.training = False
    known = {id(t): builder.input(t.shape, t.program_type, t.name) for t in inputs}
    calls, first = [], 0
    for call in replay_calls(inputs, outputs, known):
        calls.append((call, slice(first, len(builder.program.nodes))))
        first = len(builder.program.nodes)
    return builder, known, calls


def trace(inputs, outputs, dtype="float32", output_names=None):
    """Turn a graph of layers into a Program.

    Parameters
    ----------
    inputs, outputs : sequence of Tensor
    dtype : {"float32", "float64", "mixed_bfloat16"}
        What the Program computes in, and so the type of the parameters in it from now on.
    output_names : sequence of str, optional
        Names of the output roots; by default those of the layers that make the outputs.

    Returns
    -------
    program : Program
        With one output root for each output, each a tensor of its own.
    params : list of (int, Parameter)
        Tensor id and parameter, in the order of the layers and, within a layer, of its weights.

    Raises
    ------
    GraphError
        If the layers are not connected as the inputs and outputs say.
    """
    inputs, outputs = _symbolic("inputs", inputs), _symbolic("outputs", outputs)
    layers = layers_between(inputs, outputs)
    builder = Builder(dtype)
    values = [builder.input(t.shape, t.program_type, t.name) for t in inputs]
    for layer in layers:
        for parameter in layer.weights:
            builder.param(parameter)
    made = replay(inputs, outputs, values)
    program = builder.program
    names = output_names or [t.call.layer.name for t in outputs]
    taken = {v.id for v in values}
    for name, value in zip(names, made, strict=True):
        builder.scope = name
        if value.dtype == "int32":
            value = builder.emit("to_real", value)
        if value.id in taken:  # an input, or the same tensor twice: every output has its own memory
            value = builder.emit("reshape", value, shape=value.shape)
        taken.add(value.id)
        program.add_root("output", value.id, name=name)
    builder.finish()
    for parameter in builder.params:
        parameter.become(program.dtype)
    return program, [(i, p) for p, i in builder.params.items()]


def _symbolic(what, tensors):
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for t in tensors:
        if not isinstance(t, Tensor):
            raise GraphError(
                f"The {what} of a model are symbolic tensors such as fastnn.Input makes, "
                f"got {type(t).__name__}."
            )
    return tensors
