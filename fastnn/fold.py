"""Folding: a forward Program for prediction with less left to compute.

What training alone needs goes: updates, dropout, the first input of `in_training`. What depends on parameters
alone is computed once. Scales and shifts by feature next to a product, as of BatchNormalization after it or
Normalization before it, go into its kernel and bias:

    (x W + b) s + t = x (W s) + (b s + t),    (x s + t) W + b = x (s W) + (t W + b)
"""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from . import _core
from .backends import xp
from .graph import Program

# A shift t before a product is folded up to this size: x (s W) + t W cancels where x s is near -t, and loses
# about log2 |t| bits in doing so.
_LARGEST_SHIFT = 64.0
# Constants are not computed beyond this many elements.
_LARGEST_CONSTANT = 1 << 24


class _Step(NamedTuple):
    """A node that scales, shifts or reshapes one tensor; `constant` is its other operand, if it has one."""

    node: object
    constant: int | None = None


class _Pending(NamedTuple):
    """A tensor that is not emitted yet: base s + t, or (base W) s + t where there is a kernel W.

    base: id in the new Program; kernel: id of a constant; shift: what W has been moved by already, id of a
    constant, or None; s, t: float64, broadcast to a sample, shift included; steps: from base, or base W plus
    shift, to the tensor.
    """

    base: int
    kernel: int | None = None
    shift: int | None = None
    s: np.ndarray = np.ones(())
    t: np.ndarray = np.zeros(())
    steps: tuple = ()
    name: str = ""


def fold(program, values):
    """A Program that predicts what `program` predicts, within rounding.

    Parameters
    ----------
    program : Program
        With outputs as its only roots; it is not changed.
    values : dict of int to ndarray
        The value of each parameter by tensor id.

    Returns
    -------
    program : Program
        Where nothing could be folded, its nodes and parameters are the given ones, so results have the same
        bits.
    values : dict of int to ndarray
        Of its parameters.
    """
    with np.errstate(all="ignore"):  # what is not finite here would not be in the engine
        return _Folder(program, values).run()


class _Folder:
    def __init__(self, program, values):
        self.old, self.new, self.values = program, Program(program.policy), {}
        # Where a predictor has one tensor for two.
        self.same = {}
        for node in program.nodes:
            if node.op in ("dropout", "in_training"):
                self.same[node.outputs[0]] = node.inputs[-1]
        self.constants = {i: np.asarray(v) for i, v in values.items()}
        self.names = {i: program.tensors[i].name for i in values}
        self.taken_names = set()
        self.pending, self.made = {}, {}  # by old id

    def run(self):
        old, new = self.old, self.new
        for t in old.of_kind("input"):
            self.made[t.id] = new.add_tensor("input", t.shape, t.type, t.name)
        roots = [(r, self._source(r.tensor)) for r in old.roots_of("output")]
        nodes = self._needed({i for _, i in roots})
        read = [i for _, i in roots]
        for node in nodes:
            read += {self._source(i) for i in node.inputs}
        self.readers = Counter(read)
        for node in nodes:
            self._visit(node)
        taken = {t.id for t in new.of_kind("input")}
        for root, i in roots:
            id = self._tensor(i)
            if id in taken:  # every output has a tensor of its own
                id = new.add_node("reshape", (id,), shape=new.tensors[id].shape, name=root.name)
            taken.add(id)
            new.add_root("output", id, name=root.name)
        new.verify()
        return new, self.values

    def _source(self, i):
        while i in self.same:
            i = self.same[i]
        return i

    def _needed(self, wanted):
        found = []
        for node in reversed(self.old.nodes):
            if wanted.intersection(node.outputs):
                wanted.update(self._source(i) for i in node.inputs)
                found.append(node)
        return found[::-1]

    # -- one node --

    def _visit(self, node):
        ins, out = [self._source(i) for i in node.inputs], self.old.tensors[node.outputs[0]]
        fixed = not out.batched and all(i in self.constants for i in ins)
        if fixed and math.prod(out.shape) <= _LARGEST_CONSTANT:
            self._evaluate(node, ins)
            return
        pending = self._pending_of(node, ins) if out.batched else None
        if pending is None:
            self._emit(node, [self._tensor(i) for i in ins])
            return
        self.pending[out.id] = pending
        if self.readers[out.id] > 1:  # what several read is computed once
            self._tensor(out.id)

    def _evaluate(self, node, ins):
        attrs = self.old.attrs(node)
        if _core.OPS[node.op].rule in xp.GIVEN:
            attrs["shape"] = self.old.tensors[node.outputs[0]].shape
        made = getattr(xp, node.op)(*(self._exact(i) for i in ins), **attrs)
        for i, value in zip(node.outputs, made if isinstance(made, tuple) else (made,)):
            self.constants[i] = np.asarray(value, np.float64)
            self.names[i] = f"{self.old.tensors[node.outputs[0]].name}/constant"

    def _exact(self, i):
        return np.asarray(self.constants[i], np.float64)

    def _open(self, i):
        """What the tensor is pending on, None where it is emitted."""
        return None if i in self.made else self.pending.get(i)

    def _pending_of(self, node, ins):
        """The product, or the scaled and shifted tensor, that a node makes; None for other nodes."""
        out = self.old.tensors[node.outputs[0]]
        if node.op == "matmul":
            return self._product(*ins, out.name) if ins[1] in self.constants else None
        if node.op == "reshape":
            before = self._open(ins[0])
            if before is None or before.kernel is not None:
                return None
            sample = self.old.tensors[ins[0]].shape[1:]
            s, t = (
                a if a.ndim == 0 else np.broadcast_to(a, sample).reshape(out.shape[1:])
                for a in (before.s, before.t)
            )
            return before._replace(s=s, t=t, steps=(*before.steps, _Step(node)))
        found = self._scale_and_shift(node, ins)
        if found is None:
            return None
        x, constant, s, t = found
        before = self._open(x) or _Pending(self._tensor(x), name=out.name)
        steps = (*before.steps, _Step(node, constant))
        return before._replace(s=before.s * s, t=before.t * s + t, steps=steps)

    def _product(self, x, kernel, name):
        before = self._open(x)
        if before is not None and before.kernel is None:
            s, t = _by_feature(before.s), _by_feature(before.t)
            if s is not None and t is not None and np.abs(t).max() <= _LARGEST_SHIFT:
                w, base, shape = self._exact(kernel), before.base, self.old.tensors[x].shape
                shift = np.broadcast_to(t, len(w)) @ w
                if self.new.tensors[base].shape != shape:
                    base = self.new.add_node("reshape", (base,), shape=shape, name=name)
                return _Pending(
                    base,
                    self._constant(np.broadcast_to(s, len(w))[:, None] * w, self.names[kernel]),
                    self._constant(shift, _sibling(self.names[kernel], "bias")) if shift.any() else None,
                    t=shift,
                    name=name,
                )
        return _Pending(self._tensor(x), kernel, name=name)

    def _scale_and_shift(self, node, ins):
        """(x, constant operand or None, s, t) of a node that is x s + t, None for other nodes."""
        one, zero = np.ones(()), np.zeros(())
        if node.op == "affine":
            return ins[0], None, *map(np.float64, node.attrs)
        if node.op not in ("add", "bias_add", "subtract", "multiply", "divide"):
            return None
        swapped = ins[0] in self.constants
        x, c = ins[::-1] if swapped else ins
        if c not in self.constants or self.old.tensors[x].shape != self.old.tensors[node.outputs[0]].shape:
            return None
        value = self._exact(c)
        if node.op in ("add", "bias_add"):
            return x, c, one, value
        if node.op == "subtract":
            return (x, c, -one, value) if swapped else (x, c, one, -value)
        if node.op == "multiply":
            return x, c, value, zero
        return (x, c, 1 / value, zero) if value.all() and not swapped else None

    # -- emitting --

    def _constant(self, value, name):
        """A constant that the old Program does not have."""
        i = -1 - len(self.constants)
        self.constants[i], self.names[i] = value, name
        return i

    def _tensor(self, i):
        """The tensor of the new Program that stands for an old one."""
        if i not in self.made:
            self.made[i] = self._parameter(i) if i in self.constants else self._finish(self.pending[i])
        return self.made[i]

    def _parameter(self, i):
        value = np.asarray(self.constants[i], self.new.dtype, order="C")
        name, count = self.names[i], 0
        while name in self.taken_names:
            count += 1
            name = f"{self.names[i]}_{count}"
        self.taken_names.add(name)
        id = self.new.add_tensor("param", value.shape, name=name)
        self.values[id] = value
        return id

    def _finish(self, p):
        """Emit what is pending; a product takes up its steps where that saves some."""
        kernel, shift, steps, id = p.kernel, p.shift, p.steps, p.base
        if kernel is not None:
            s, t = _by_feature(p.s), _by_feature(p.t)
            dense = shift is None and len(steps) == 1 and steps[0].node.op == "bias_add"
            if steps and not dense and s is not None and t is not None:
                w = self._exact(kernel)
                kernel = self._constant(w * s, self.names[kernel]) if (s != 1).any() else kernel
                bias = np.broadcast_to(t, w.shape[1:])
                shift = self._constant(bias, _sibling(self.names[kernel], "bias")) if t.any() else None
                steps = ()
            id = self.new.add_node("matmul", (id, self._tensor(kernel)), name=p.name)
            if shift is not None:
                id = self.new.add_node("bias_add", (id, self._tensor(shift)), name=p.name)
        for node, constant in steps:
            swapped = constant is not None and self._source(node.inputs[0]) == constant
            ids = [id] if constant is None else [id, self._tensor(constant)][:: -1 if swapped else 1]
            [id] = self._add(node, ids)
        return id

    def _emit(self, node, ids):
        self.made.update(zip(node.outputs, self._add(node, ids)))

    def _add(self, node, ids):
        out = self.old.tensors[node.outputs[0]]
        shape = out.shape if _core.OPS[node.op].rule in xp.GIVEN else None
        made = self.new.add_node(node.op, ids, self.old.attrs(node), shape, out.name)
        return made if isinstance(made, tuple) else (made,)


def _by_feature(a):
    """`a`, which broadcasts to a sample, as (features,) or (1,); None where other dimensions count."""
    return a.reshape(-1) if a.size == (a.shape[-1] if a.ndim else 1) else None


def _sibling(name, role):
    """The name of another parameter of the layer that a parameter belongs to."""
    return f"{name.rpartition('/')[0]}/{role}"
