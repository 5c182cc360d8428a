"""From a forward Program to one that evaluates, differentiates and trains.

Appends, in this order: targets and weights with their losses and metrics, the backward pass, penalties,
clipping, updates. The differentiator knows ops only: a unary op with `needs` X or Y in the op table has an op
`<name>_grad`; the others state their derivative below in terms of other ops.
"""

import warnings
from typing import NamedTuple

from . import _core, optimizers
from . import losses as losses_module
from . import metrics as metrics_module
from .arguments import check_float
from .errors import ArgumentError, ProgramError, ShapeError

# A last activation and the loss that is computed together with it, from the values before the activation.
_FUSED = {("sigmoid", "bce"), ("softmax", "cce"), ("softmax", "scce")}


class CompiledOutput(NamedTuple):
    """What belongs to one output: the tensor ids to bind (None: nothing to bind) and their shapes.

    `target_dtype` is "int32" for labels by index, else the Program's dtype; shapes start with None for the
    batch.
    """

    name: str
    tensor: int
    shape: tuple
    target: int | None = None
    target_shape: tuple | None = None
    target_dtype: str | None = None
    weight: int | None = None


class Compiled(NamedTuple):
    """A Program that trains, with what is needed to bind data to it and to name its results.

    Attributes
    ----------
    program : Program
    params : list of (int, Parameter)
    outputs : list of CompiledOutput
    loss_names : list of str
        One for each loss root: "<output>_loss".
    loss_weights : list of float
        One for each loss root.
    metric_names : list of str
        One for each metric root, as Keras 3 names them.
    penalties : int
        Number of penalty roots.
    gradients : dict of int to int
        Parameter or input tensor to its index among the grad roots. A tensor that no loss depends on is not
        in it.
    updates : int
        Number of parameters that training changes.
    """

    program: object
    params: list
    outputs: list
    loss_names: list
    loss_weights: list
    metric_names: list
    penalties: int
    gradients: dict
    updates: int


def compile_program(
    forward, params, losses=None, metrics=None, weighted_metrics=None, loss_weights=None, optimizer=None
):
    """Append losses, metrics, backward pass and updates to a forward Program.

    Parameters
    ----------
    forward : Program
        As `graph.trace` made it; it is not changed.
    params : list of (int, Parameter)
    losses : sequence, optional
        For each output a loss (name, configuration or object) or None.
    metrics, weighted_metrics : sequence, optional
        For each output None, a metric or a list of metrics; the second kind counts the sample weights.
    loss_weights : sequence of float, optional
        For each output its weight in the total loss, 1 by default.
    optimizer : str or Optimizer, optional
        Without one there are no update nodes.

    Returns
    -------
    Compiled

    Raises
    ------
    ShapeError
        If a loss or metric cannot take an output of this shape.
    ArgumentError
        If the arguments do not fit the outputs or each other.
    """
    if any(r.kind != "output" for r in forward.roots):
        raise ProgramError("compile_program starts from a Program that has no roots but outputs.")
    program, count = forward.copy(), len(forward.roots)
    objectives = _Objectives(program)
    for root, loss, weight, plain, weighted in zip(
        forward.roots,
        _per_output("losses", losses, count),
        _per_output("loss_weights", loss_weights, count),
        _per_output("metrics", metrics, count),
        _per_output("weighted_metrics", weighted_metrics, count),
    ):
        weight = 1.0 if weight is None else check_float("compile", "loss_weights", weight)
        objectives.add(root, losses_module.get(loss), weight, plain, weighted)

    gradients, penalties, updates = {}, 0, 0
    if objectives.seeds:
        gradient = _differentiate(program, list(program.nodes), params, objectives.seeds)
        penalties = _add_penalties(program, params, gradient)
        sources = [i for i, p in params if p.trainable] + [t.id for t in program.of_kind("input")]
        for i in sources:
            if i in gradient:
                gradients[i] = len(gradients)
                program.add_root("grad", gradient[i], i)
        if optimizer is not None:
            updates = _add_updates(program, params, gradient, optimizers.get(optimizer))
    program.verify()
    losses_made = program.roots_of("loss")
    return Compiled(
        program,
        list(params),
        objectives.outputs,
        [r.name for r in losses_made],
        [r.factor for r in losses_made],
        [r.name for r in program.roots_of("metric")],
        penalties,
        gradients,
        updates,
    )


def _per_output(what, values, count):
    if values is None:
        return [None] * count
    values = list(values)
    if len(values) != count:
        raise ArgumentError(
            f"compile: {what} needs one entry for each of the {count} outputs, got {len(values)}."
        )
    return values


# ---- losses and metrics ----


class _Objectives:
    """Appends targets, losses and metrics of one output after the other."""

    def __init__(self, program):
        self.program = program
        self.outputs = []
        self.seeds = []
        self._several = len(program.roots) > 1
        self._producer = {o: node for node in program.nodes for o in node.outputs}
        self._names = {}

    def add(self, root, loss, loss_weight, plain, weighted):
        program = self.program
        shape = program.tensors[root.tensor].shape
        sparse = None if loss is None else loss.sparse
        rows = [(m, False) for m in self._metrics(plain, shape, sparse)]
        rows += [(m, True) for m in self._metrics(weighted, shape, sparse)]
        users = [loss] * (loss is not None) + [m for m, _ in rows]
        if not users:
            self.outputs.append(CompiledOutput(root.name, root.tensor, shape))
            return
        self._check(root.name, shape, users)
        target = program.add_tensor(
            "target",
            shape[:-1] if users[0].sparse else shape,
            "int32" if users[0].sparse else program.dtype,
            root.name,
        )
        weight = None
        if loss is not None or any(counted for _, counted in rows):
            weight = program.add_tensor("weight", (None,), name=root.name)
        prediction = root.tensor
        if loss is not None:
            prediction = self._add_loss(root, loss, loss_weight, target, weight)
        for metric, counted in rows:
            name = self._unique(f"{root.name}_" if self._several else "", metric.name, counted)
            op, attrs = metric.row_op()
            made = program.add_node(op, (prediction, target), attrs, name=name)
            per_row = made[0] if isinstance(made, tuple) else made
            program.add_root("metric", per_row, weight if counted else -1, name=name)
        bound = program.tensors[target]
        self.outputs.append(
            CompiledOutput(root.name, root.tensor, shape, target, bound.shape, bound.type, weight)
        )

    def _metrics(self, given, shape, sparse):
        if given is None:
            return []
        given = given if isinstance(given, (list, tuple)) else [given]
        return [metrics_module.resolve(m, shape, sparse) for m in given if m is not None]

    def _check(self, name, shape, users):
        for user in users:
            least = 2 if user.sparse else 1
            if len(shape) < 2 or shape[-1] < least:
                needed = "(batch, classes) with at least 2 classes" if user.sparse else "(batch, features)"
                raise ShapeError(
                    f"{user.name!r} needs predictions of shape {needed}, "
                    f"but output {name!r} has shape {shape}."
                )
            if user.sparse != users[0].sparse:
                kinds = {True: "integer labels", False: "targets of the output's shape"}
                raise ArgumentError(
                    f"Output {name!r}: {users[0].name!r} takes {kinds[users[0].sparse]}, {user.name!r} takes "
                    f"{kinds[user.sparse]}; choose losses and metrics of one kind."
                )

    def _add_loss(self, root, loss, loss_weight, target, weight):
        """Append the loss; returns the tensor that metrics compare with the target."""
        program = self.program
        (op, attrs), source, prediction = loss.row_op(), root.tensor, root.tensor
        last = self._producer.get(root.tensor)
        fused = last is not None and (last.op, op) in _FUSED
        if fused:
            op, source = f"{op}_logits", last.inputs[0]
        made = program.add_node(op, (source, target), attrs, name=f"{root.name}_loss")
        per_row, known = made if isinstance(made, tuple) else (made, source)
        program.add_root("loss", per_row, weight, loss_weight, f"{root.name}_loss")
        self.seeds.append(_LossSeed(per_row, weight, loss_weight))
        return known if fused else prediction

    def _unique(self, prefix, name, weighted):
        """A name that no metric has yet, found as Keras 3 does."""
        full = f"{prefix}{name}"
        if weighted and full in self._names:
            full = f"{prefix}weighted_{name}"
        count = self._names.get(full, 0)
        self._names[full] = count + 1
        return f"{full}_{count}" if count else full


class _LossSeed(NamedTuple):
    """Where the backward pass starts: at the values of a loss, one per row."""

    per_row: int
    weight: int
    loss_weight: float


# ---- the backward pass ----


def _differentiate(program, nodes, params, seeds):
    """Append the backward pass of `nodes`; returns {trainable parameter or input: its gradient}."""
    sources = {i for i, p in params if p.trainable}
    sources.update(t.id for t in program.of_kind("input") if t.type == program.dtype)
    reached = set(sources)
    for node in nodes:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)

    gradient = {}

    def accumulate(tensor, g):
        if tensor in gradient:
            g = program.add_node("add", (gradient[tensor], g), name=_grad_name(program, tensor))
        gradient[tensor] = g

    for s in seeds:
        if s.per_row in reached:
            rows = program.tensors[s.per_row].shape
            seed = program.add_node("loss_seed", (s.weight,), {"loss_weight": s.loss_weight}, rows)
            accumulate(s.per_row, seed)

    for node in reversed(nodes):
        dy = gradient.get(node.outputs[0])
        if dy is None:
            continue
        backward = _BACKWARD.get(node.op) or (_loss if _core.OPS[node.op].rule in _LOSSES else _unary)
        for tensor, emit in backward(program, node, dy):
            if tensor in reached:
                accumulate(tensor, emit(_grad_name(program, tensor)))
    return {i: gradient[i] for i in sources if i in gradient}


def _grad_name(program, tensor):
    name = program.tensors[tensor].name
    return f"{name}.grad" if name else ""


# Each rule yields (input, function that appends the gradient by that input and returns it); the function is
# called only for inputs that need it.


def _unary(program, node, dy):
    needs = _core.OPS[node.op].needs
    if needs == "NONE":
        raise ProgramError(f"{node.op} has no derivative.")
    known = node.inputs[0] if needs == "X" else node.outputs[0]
    attrs = program.attrs(node)
    yield node.inputs[0], lambda name: program.add_node(f"{node.op}_grad", (dy, known), attrs, name=name)


def _matmul(program, node, dy):
    x, w = node.inputs
    yield w, lambda name: program.add_node("matmul_tn", (x, dy), name=name)
    yield x, lambda name: program.add_node("matmul_nt", (dy, w), name=name)


def _bias_add(program, node, dy):
    x, b = node.inputs
    yield b, lambda name: program.add_node("sum_rows", (dy,), name=name)
    yield x, lambda name: dy


def _add(program, node, dy):
    for x in node.inputs:
        yield x, lambda name: dy


def _multiply(program, node, dy):
    a, b = node.inputs
    yield a, lambda name: program.add_node("multiply", (dy, b), name=name)
    yield b, lambda name: program.add_node("multiply", (dy, a), name=name)


def _concat(program, node, dy):
    axis, start = int(node.attrs[0]), 0
    for x in node.inputs:
        shape = program.tensors[x].shape
        attrs = {"axis": axis, "start": start}
        yield x, lambda name, attrs=attrs, shape=shape: program.add_node("slice", (dy,), attrs, shape, name)
        start += shape[axis]


def _reshape(program, node, dy):
    x = node.inputs[0]
    yield x, lambda name: program.add_node("reshape", (dy,), shape=program.tensors[x].shape, name=name)


def _dropout(program, node, dy):
    attrs = program.attrs(node)  # the mask is a function of the attributes, so the same op masks the gradient
    yield node.inputs[0], lambda name: program.add_node("dropout", (dy,), attrs, name=name)


def _loss(program, node, dy):
    x, target = node.inputs
    known = node.outputs[-1] if len(node.outputs) == 2 else x
    attrs = program.attrs(node)
    yield x, lambda name: program.add_node(f"{node.op}_grad", (dy, known, target), attrs, name=name)


_LOSSES = ("LOSS", "LOSS_IDX")
_BACKWARD = {
    "matmul": _matmul, "bias_add": _bias_add, "add": _add, "multiply": _multiply, "concat": _concat,
    "reshape": _reshape, "dropout": _dropout,
}  # fmt: skip


# ---- penalties, clipping, updates ----


def _add_penalties(program, params, gradient):
    """Append the penalties of trainable parameters and add their gradients; returns how many there are."""
    count = 0
    for i, parameter in params:
        attrs = parameter.regularizer.penalty() if parameter.trainable and parameter.regularizer else None
        if attrs is None:
            continue
        name = program.tensors[i].name
        program.add_root("penalty", program.add_node("penalty", (i,), attrs, name=f"{name}.penalty"))
        g = gradient.get(i)
        if g is None:  # no loss depends on it, so its gradient is that of the penalty alone: begin from zeros
            g = program.add_node("clip_value", (i,), {"clip": 0.0}, name=f"{name}.grad")
        gradient[i] = program.add_node("penalty_grad", (g, i), attrs, name=f"{name}.grad")
        count += 1
    return count


def _add_updates(program, params, gradient, optimizer):
    """Append clipping and one update for each parameter that has a gradient; returns how many."""
    trained = [(i, p, gradient[i]) for i, p in params if p.trainable and i in gradient]
    left = [p.name for i, p in params if p.trainable and i not in gradient]
    if left:
        warnings.warn(
            f"The loss does not depend on {', '.join(left)}; training leaves them as they are. If that is "
            "not meant, check that every output has a loss.",
            stacklevel=5,  # the caller of Model.compile
        )
    clipped = {}
    if optimizer.clipvalue is not None:
        for i, p, g in trained:
            clipped[i] = program.add_node(
                "clip_value", (g,), {"clip": optimizer.clipvalue}, name=f"{p.name}.clipped"
            )
    elif optimizer.clipnorm is not None or (optimizer.global_clipnorm is not None and trained):
        squares = {i: program.add_node("sum_squares", (g,), name=f"{p.name}.norm2") for i, p, g in trained}
        clip = optimizer.clipnorm
        if clip is None:
            clip, total = optimizer.global_clipnorm, None
            for s in squares.values():
                total = s if total is None else program.add_node("add", (total, s), name="norm2")
            squares = dict.fromkeys(squares, total)
        for i, p, g in trained:
            clipped[i] = program.add_node(
                "clip_norm", (g, squares[i]), {"clip": clip}, name=f"{p.name}.clipped"
            )
    op, attrs = optimizer.update_op()
    for i, _, g in trained:
        program.add_node(op, (i, clipped.get(i, g)), attrs)
    return len(trained)
