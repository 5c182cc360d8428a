"""The backward pass: derivatives of ops, stated in other ops.

The differentiator knows ops only. A unary op with `needs` X or Y in the op table has an op `<name>_grad`;
every other op has a rule below. Gradients of elementwise ops may stay narrow: of size 1 where all elements
along a dimension have the same gradient, as after a sum; they are spread out where an op needs the whole
shape.
"""

import math

from . import _core
from .errors import ProgramError


def differentiate(builder, seeds, sources, nodes=None):
    """Append the backward pass of nodes in a builder's Program.

    Where a node `in_training` makes training and inference differ, there are two backward passes, which share
    what they have in common.

    Parameters
    ----------
    builder : Builder
    seeds : sequence of (int, int)
        Tensors, and the gradients by them that the pass begins with.
    sources : sequence of int
        Tensors whose gradients are wanted.
    nodes : list of Node, optional
        Those that it goes back through, in the Program's order; all by default.

    Returns
    -------
    training, inference : dict of int to int
        The gradient by each tensor between the sources and the seeds, narrow where it may be, and in full shape
        by the sources themselves; the same dict if nothing differs.
    """
    if nodes is None:
        nodes = [n for n in builder.program.nodes if n.outputs]
    training = _View(builder, nodes, 0, sources).run(seeds)
    if not any(n.op == "in_training" and n.inputs[0] != n.inputs[1] for n in nodes):
        return training, training
    return training, _View(builder, nodes, 1, sources).run(seeds)


class _View:
    """The backward pass of training (0) or of inference (1)."""

    def __init__(self, builder, nodes, which, sources):
        self.builder, self.program, self.nodes, self.which = builder, builder.program, nodes, which
        self.sources = sources
        self.reached = set(sources)
        for node in nodes:
            if self.reached.intersection(node.inputs):
                self.reached.update(node.outputs)
        self.gradient = {}

    def run(self, seeds):
        for tensor, seed in seeds:
            if tensor in self.reached:
                self.accumulate(tensor, seed)
        for node in reversed(self.nodes):
            gradients = [self.gradient.get(o) for o in node.outputs]
            if all(g is None for g in gradients):
                continue
            rule = _RULES.get(node.op)
            if node.op not in _NARROW:
                gradients = [None if g is None else self.whole(g, o) for g, o in zip(gradients, node.outputs)]
            if rule is None:
                rule = _loss if _core.OPS[node.op].rule in ("LOSS", "LOSS_IDX") else _unary
            for tensor, emit in rule(self, node, *gradients):
                if tensor in self.reached:
                    self.accumulate(tensor, emit(self.name_of(tensor)))
        whole = {i: self.whole(self.gradient[i], i) for i in self.sources if i in self.gradient}
        return self.gradient | whole

    def accumulate(self, tensor, g):
        if tensor in self.gradient:
            g = self("add", self.gradient[tensor], g, name=self.name_of(tensor))
        self.gradient[tensor] = g

    # -- emitting --

    def __call__(self, op, *ids, shape=None, name="", **attrs):
        return self.builder.node_once(op, ids, attrs, shape, name)

    def shape(self, id):
        return self.program.tensors[id].shape

    def name_of(self, tensor):
        name = self.program.tensors[tensor].name
        return f"{name}.grad" if name else ""

    def scaled(self, x, scale, shift=0.0, name=""):
        """scale x + shift; one node where x is such a sum already."""
        node = self.builder.producer(x)
        if node is not None and node.op == "affine":
            [x], (inner_scale, inner_shift) = node.inputs, node.attrs
            scale, shift = scale * inner_scale, scale * inner_shift + shift
        if scale == 1 and shift == 0:
            return x
        return self("affine", x, scale=float(scale), shift=float(shift), name=name)

    def full(self, value, shape=()):
        return self("full", shape=shape, value=float(value))

    def reshaped(self, x, shape, name=""):
        return x if self.shape(x) == tuple(shape) else self("reshape", x, shape=tuple(shape), name=name)

    def whole(self, g, tensor):
        """A gradient in the full shape of its tensor."""
        shape = self.shape(tensor)
        if self.shape(g) == shape:
            return g
        return self("broadcast", g, shape=shape, name=self.name_of(tensor))

    def to(self, g, x, y, name=""):
        """The gradient by `x`, which an elementwise op repeated to the shape of `y`, from the one by `y`.

        Sums over what was repeated; `g` may be narrow itself.
        """
        at, target, full = self.shape(g), self.shape(x), self.shape(y)
        lead = len(full) - len(target)
        padded = (1,) * lead + target
        # Where x and g both have size 1, the sum over the repeats is a product.
        count = math.prod(n for n, a, t in zip(full, at, padded) if a == 1 and t == 1 and n not in (1, None))
        if count != 1:
            g = self.scaled(g, count, name=name)
        if at == target:
            return g
        if not (at and at[0] is None) or (target and target[0] is None):
            kept = tuple(1 if t == 1 else a for a, t in zip(at, padded))
            return self.reshaped(
                g if kept == at else self("sum_to", g, shape=kept, name=name), kept[lead:], name
            )
        if at[-1:] != target and len(at) >= 2:
            kept = (None, *(1 if t == 1 else a for a, t in zip(at[1:], padded[1:])))
            g = g if kept == at else self("sum_to", g, shape=kept)
        if len(at) == 1 or at[-1:] != target:
            g = self.reshaped(g, (None, math.prod(self.shape(g)[1:])))
        rows = self("sum_rows", g, name=name)
        return self.reshaped(rows, tuple(1 if t == 1 else a for a, t in zip(at[lead:], target)), name)


# Each rule yields (input, function that appends the gradient by that input and returns it); the function is
# called only for inputs that need it.


def _unary(v, node, dy):
    needs = _core.OPS[node.op].needs
    if needs == "NONE":
        raise ProgramError(f"{node.op} has no derivative.")
    known = node.inputs[0] if needs == "X" else node.outputs[0]
    attrs = v.program.attrs(node)
    yield node.inputs[0], lambda name: v(f"{node.op}_grad", dy, known, name=name, **attrs)


def _loss(v, node, dy, *unused):
    x, target = node.inputs
    known = node.outputs[-1] if len(node.outputs) == 2 else x
    if f"{node.op}_grad" not in _core.OPS:
        raise ProgramError(f"{node.op} has no derivative.")
    attrs = v.program.attrs(node)
    yield x, lambda name: v(f"{node.op}_grad", dy, known, target, name=name, **attrs)


def _constant(v, node, *dy):
    return ()


# ---- products ----


def _matmul(v, node, dy):
    x, w = node.inputs
    yield w, lambda name: v("matmul_tn", x, dy, name=name)
    yield x, lambda name: v("matmul_nt", dy, w, name=name)


def _matmul_csr(v, node, dy):
    x, w = node.inputs
    yield w, lambda name: v("matmul_csr_tn", x, dy, name=name)


def _matmul_nt(v, node, dy):
    x, w = node.inputs
    yield w, lambda name: v("matmul_tn", dy, x, name=name)
    yield x, lambda name: v("matmul", dy, w, name=name)


def _bias_add(v, node, dy):
    x, b = node.inputs
    yield b, lambda name: v("sum_rows", dy, name=name)
    yield x, lambda name: dy


# ---- elementwise ----


def _repeated(v, node, x, g, name):
    return v.to(g, x, node.outputs[0], name)


def _add(v, node, dy):
    for x in node.inputs:
        yield x, lambda name, x=x: _repeated(v, node, x, dy, name)


def _subtract(v, node, dy):
    a, b = node.inputs
    yield a, lambda name: _repeated(v, node, a, dy, name)
    yield b, lambda name: v.scaled(_repeated(v, node, b, dy, ""), -1, name=name)


def _multiply(v, node, dy):
    a, b = node.inputs
    yield a, lambda name: _repeated(v, node, a, v("multiply", dy, b, name=name), name)
    yield b, lambda name: _repeated(v, node, b, v("multiply", dy, a, name=name), name)


def _divide(v, node, dy):
    a, b = node.inputs
    yield a, lambda name: _repeated(v, node, a, v("divide", dy, b, name=name), name)

    def by_divisor(name):
        g = v("multiply", v("divide", dy, b), node.outputs[0])
        return v.scaled(_repeated(v, node, b, g, ""), -1, name=name)

    yield b, by_divisor


def _power(v, node, dy):
    a, b = node.inputs
    y = node.outputs[0]

    def by_base(name):
        producer = v.builder.producer(b)
        if producer is not None and producer.op == "full":
            exponent = producer.attrs[0]
            slope = v.scaled(v("power", a, v.full(exponent - 1)), exponent)
        else:
            slope = v("multiply", v("power", a, v.scaled(b, 1, -1)), b)
        return _repeated(v, node, a, v("multiply", dy, slope, name=name), name)

    def by_exponent(name):
        logarithm = v("where", v("less", v.full(0), a), v("log", a), v.full(0))
        slope = v("multiply", y, logarithm)
        return _repeated(v, node, b, v("multiply", dy, slope, name=name), name)

    yield a, by_base
    yield b, by_exponent


def _larger(v, node, dy):
    """maximum and minimum: the first input has the gradient where it is taken, and where both are equal."""
    a, b = node.inputs
    order = (a, b) if node.op == "maximum" else (b, a)
    yield a, lambda name: _repeated(v, node, a, v("where", v("less", *order), v.full(0), dy, name=name), name)
    yield b, lambda name: _repeated(v, node, b, v("where", v("less", *order), dy, v.full(0), name=name), name)


def _where(v, node, dy):
    c, a, b = node.inputs
    yield a, lambda name: _repeated(v, node, a, v("where", c, dy, v.full(0), name=name), name)
    yield b, lambda name: _repeated(v, node, b, v("where", c, v.full(0), dy, name=name), name)


def _slope(make):
    """The rule of a unary op from what its gradient is multiplied by: `make(v, x, y)`."""

    def rule(v, node, dy):
        [x], [y] = node.inputs, node.outputs
        yield x, lambda name: v("multiply", dy, make(v, x, y), name=name)

    return rule


def _affine(v, node, dy):
    yield node.inputs[0], lambda name: v.scaled(dy, node.attrs[0], name=name)


def _log(v, node, dy):
    yield node.inputs[0], lambda name: v("divide", dy, node.inputs[0], name=name)


def _log1p(v, node, dy):
    yield node.inputs[0], lambda name: v("divide", dy, v.scaled(node.inputs[0], 1, 1), name=name)


def _sqrt(v, node, dy):
    yield node.inputs[0], lambda name: v("divide", v.scaled(dy, 0.5), node.outputs[0], name=name)


def _rsqrt_slope(v, x, y):
    return v.scaled(v("multiply", y, v("square", y)), -0.5)


def _erf_slope(v, x, y):
    return v.scaled(v("exp", v.scaled(v("square", x), -1)), 2 / math.sqrt(math.pi))


# ---- reductions and moments ----


def _sum_to(v, node, dy):
    yield node.inputs[0], lambda name: dy


def _max_to(v, node, dy):
    [x], [y] = node.inputs, node.outputs

    def emit(name):
        largest = v("equal", x, y)
        share = v("divide", dy, v("sum_to", largest, shape=v.shape(y)))
        return v("multiply", largest, share, name=name)

    yield x, emit


def _broadcast(v, node, dy):
    yield node.inputs[0], lambda name: _repeated(v, node, node.inputs[0], dy, name)


def _sum_rows(v, node, dy):
    x = node.inputs[0]
    yield x, lambda name: v("broadcast", dy, shape=v.shape(x), name=name)


def _mean_rows(v, node, dy):
    x = node.inputs[0]
    yield x, lambda name: v("mean_rows_grad", dy, shape=v.shape(x), name=name)


def _batch_moments(v, node, dmean, dvariance):
    [x], (mean, _) = node.inputs, node.outputs

    def emit(name):
        by_both = (v.full(0, v.shape(mean)) if g is None else g for g in (dmean, dvariance))
        return v("batch_moments_grad", *by_both, x, mean, name=name)

    yield x, emit


def _layer_norm(v, node, dy, dr):
    if dr is not None:
        raise ProgramError("The second output of layer_norm has no derivative.")
    yield node.inputs[0], lambda name: v("layer_norm_grad", dy, *node.outputs, name=name)


# ---- shapes ----


def _concat(v, node, dy):
    axis, start = int(node.attrs[0]), 0
    for x in node.inputs:
        shape = v.shape(x)
        yield x, lambda name, s=start, shape=shape: v("slice", dy, shape=shape, axis=axis, start=s, name=name)
        start += shape[axis]


def _slice(v, node, dy):
    x, (axis, start) = node.inputs[0], node.attrs
    yield x, lambda name: v("pad", dy, shape=v.shape(x), axis=axis, start=start, name=name)


def _pad(v, node, dy):
    x, (axis, start) = node.inputs[0], node.attrs
    yield x, lambda name: v("slice", dy, shape=v.shape(x), axis=axis, start=start, name=name)


def _reshape(v, node, dy):
    x = node.inputs[0]
    yield x, lambda name: v("reshape", dy, shape=v.shape(x), name=name)


def _transpose(v, node, dy):
    x, code = node.inputs[0], int(node.attrs[0])
    back = sum(i << 3 * ((code >> 3 * i) & 7) for i in range(len(v.shape(x))))
    yield x, lambda name: v("transpose", dy, perm=back, name=name)


# ---- the others ----


def _embedding(v, node, dy):
    table, index = node.inputs
    yield table, lambda name: v("embedding_grad", dy, index, shape=v.shape(table), name=name)


def _in_training(v, node, dy):
    if node.inputs[0] != node.inputs[1]:  # of a tensor and itself: fastnn.ops.stop_gradient
        yield node.inputs[v.which], lambda name: dy


def _dropout(v, node, dy):
    attrs = v.program.attrs(
        node
    )  # the mask is a function of the attributes, so the same op masks the gradient
    yield node.inputs[0], lambda name: v("dropout", dy, name=name, **attrs)


def _mix(v, node, dy):
    yield node.inputs[0], lambda name: v("mix_grad", dy, name=name, **v.program.attrs(node))


def _warp(v, node, dy):
    x, m = node.inputs
    yield x, lambda name: v("warp_grad", dy, m, name=name, **v.program.attrs(node))


_RULES = {
    "matmul": _matmul, "matmul_csr": _matmul_csr, "matmul_nt": _matmul_nt, "bias_add": _bias_add,
    "add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "power": _power,
    "maximum": _larger, "minimum": _larger, "where": _where, "affine": _affine,
    "abs": _slope(lambda v, x, y: v("sign", x)), "square": _slope(lambda v, x, y: v.scaled(x, 2)),
    "sqrt": _sqrt, "rsqrt": _slope(_rsqrt_slope), "exp": _slope(lambda v, x, y: y),
    "expm1": _slope(lambda v, x, y: v.scaled(y, 1, 1)), "log": _log, "log1p": _log1p,
    "erf": _slope(_erf_slope),
    "sin": _slope(lambda v, x, y: v("cos", x)), "cos": _slope(lambda v, x, y: v.scaled(v("sin", x), -1)),
    "sum_to": _sum_to, "max_to": _max_to, "broadcast": _broadcast, "sum_rows": _sum_rows,
    "mean_rows": _mean_rows, "batch_moments": _batch_moments, "layer_norm": _layer_norm,
    "concat": _concat, "slice": _slice, "pad": _pad, "reshape": _reshape, "transpose": _transpose,
    "embedding": _embedding, "in_training": _in_training, "dropout": _dropout, "mix": _mix, "warp": _warp,
    **dict.fromkeys(("less", "less_equal", "equal", "sign", "floor", "argmax"), _constant),
}  # fmt: skip
# Ops whose rules are elementwise in the gradient and may take a narrow one.
_NARROW = (
    "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where", "affine", "abs",
    "square", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "erf", "sin", "cos", "sum_to", "max_to",
    "broadcast",
)  # fmt: skip
