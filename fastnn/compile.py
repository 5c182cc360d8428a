"""From a forward Program to one that evaluates, differentiates and trains.

Appends, in this order: targets and weights with their losses and metrics, the backward pass, penalties,
clipping, updates.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np

from . import losses as losses_module
from . import metrics as metrics_module
from . import ops, optimizers
from .arguments import check_float
from .differentiate import differentiate
from .errors import ArgumentError, ProgramError
from .graph import Builder, Value
from .rows import rows_of

# A last activation and the loss that is computed together with it, from the values before the activation.
_FUSED = {("sigmoid", "bce"), ("softmax", "cce"), ("softmax", "scce")}


class CompiledOutput(NamedTuple):
    """What belongs to one output: the tensor ids to bind (None: nothing to bind) and their shapes.

    `target_dtype` is "int32" for labels by index, else the Program's dtype; shapes start with None for the
    batch. `scalar_loss` is the name of a loss that is one number for the batch, and so takes no weights.
    """

    name: str
    tensor: int
    shape: tuple
    target: int | None = None
    target_shape: tuple | None = None
    target_dtype: str | None = None
    weight: int | None = None
    scalar_loss: str | None = None


class CompiledMetric(NamedTuple):
    """A metric and the place of its sums among the results of a pass: a mean's two, or those of a tally."""

    name: str
    metric: object
    place: slice

    def of(self, results):
        """The metric's value, of the results of a pass."""
        return self.metric.value(np.asarray(results[self.place]))


class Compiled(NamedTuple):
    """A Program that trains, with what is needed to bind data to it and to name its results.

    Attributes
    ----------
    program : Program
    params : list of (int, Parameter)
        Those given, and the constants of losses and metrics.
    outputs : list of CompiledOutput
    loss_names : list of str
        One for each loss root: "<output>_loss".
    loss_weights : list of float
        One for each loss root.
    metrics : list of CompiledMetric
        In the order given, the weighted ones of an output last; named as in Keras 3.
    users : dict of str to list
        "loss", "metrics", "weighted_metrics": for each output those of them that are a user's own, as their
        traces, the others as they were given.
    penalties : int
        Number of penalty roots.
    first_penalty : int
        Where their pairs begin among the results of a pass.
    gradients : dict of int to int
        Parameter or input tensor to its index among the grad roots. A tensor that no loss depends on is not
        in it.
    adjoints : pair of dict of int to int
        In training and outside of it, the tensor that holds the gradient by a tensor.
    updates : int
        Number of parameters that training changes.
    """

    program: object
    params: list
    outputs: list
    loss_names: list
    loss_weights: list
    metrics: list
    users: dict
    penalties: int
    first_penalty: int
    gradients: dict
    adjoints: tuple
    updates: int

    @property
    def metric_names(self):
        """list of str"""
        return [m.name for m in self.metrics]


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
    averages = [n for n in program.nodes if not n.outputs]  # what training carries along goes to the end
    program.nodes = [n for n in program.nodes if n.outputs]
    builder = Builder.over(program, params)
    objectives = _Objectives(builder)
    for root, loss, weight, plain, weighted in zip(
        forward.roots,
        _per_output("losses", losses, count),
        _per_output("loss_weights", loss_weights, count),
        _per_output("metrics", metrics, count),
        _per_output("weighted_metrics", weighted_metrics, count),
    ):
        weight = 1.0 if weight is None else check_float("compile", "loss_weights", weight)
        objectives.add(root, loss, weight, plain, weighted)
    builder.separate()

    gradients, views, penalties, updates = {}, ({}, {}), 0, 0
    if objectives.seeds:
        traced = _add_traced_penalties(builder, params)
        views = _differentiate(builder, params, objectives.seeds)
        penalties = traced + _add_penalties(builder, params, views)
        sources = [i for i, p in params if p.trainable] + [t.id for t in program.of_kind("input")]
        gradients = _add_gradients(builder, sources, *views)
        optimizer = optimizers.get(optimizer)
        if optimizer is not None and optimizer.driver is None:
            updates = add_updates(program, params, views[0], optimizer)
    program.nodes.extend(averages)
    program.verify()
    for constant in list(builder.params)[len(params) :]:
        constant.become(program.dtype)
    losses_made = program.roots_of("loss")
    return Compiled(
        program,
        [(i, p) for p, i in builder.params.items()],
        objectives.outputs,
        [r.name for r in losses_made],
        [r.factor for r in losses_made],
        objectives.placed(len(losses_made), penalties),
        objectives.users,
        penalties,
        2 * (len(losses_made) + len(program.roots_of("metric"))),
        gradients,
        views,
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

    def __init__(self, builder):
        self.builder, self.program = builder, builder.program
        self.outputs, self.seeds = [], []
        self.users = {"loss": [], "metrics": [], "weighted_metrics": []}
        self._several = len(self.program.roots) > 1
        self._names, self._made = {}, []
        mixes = (self.program.attrs(node) for node in self.program.nodes if node.op == "mix")
        self._mixes = list({(m["alpha"], m["key"]): m for m in mixes}.values())

    def add(self, root, loss, loss_weight, plain, weighted):
        """Append what belongs to one output; the metrics may be one, a list or None."""
        program = self.program
        shape = program.tensors[root.tensor].shape
        given, loss = loss, losses_module.get(loss)
        rows = [
            (metric, counted)
            for metrics, counted in ((plain, False), (weighted, True))
            for metric in (metrics if isinstance(metrics, (list, tuple)) else [metrics])
            if metric is not None
        ]
        sparse = None if loss is None else loss.sparse
        rows = [(m, metrics_module.resolve(m, shape, sparse), counted) for m, counted in rows]
        users = [loss] * (loss is not None) + [m for _, m, _ in rows]
        target, target_shape, target_dtype = None, None, None
        if users:
            target_shape, target_dtype = self._target_of(root.name, shape, users)
            target = program.add_tensor("target", target_shape, target_dtype, root.name)
        weight = None
        if loss is not None or any(counted for _, _, counted in rows):
            weight = program.add_tensor("weight", (None,), name=root.name)
        prediction, scalar = root.tensor, False
        if loss is not None:
            loss = self._traced(loss, losses_module, target, root.tensor)
            prediction, scalar = self._add_loss(root, loss, loss_weight, target, weight)
        self.users["loss"].append(loss if isinstance(loss, losses_module.TracedLoss) else given)
        kept = {False: [], True: []}
        for given_metric, metric, counted in rows:
            name = self._unique(f"{root.name}_" if self._several else "", metric.name, counted)
            metric = self._traced(metric, metrics_module, target, root.tensor)
            self._add_metric(name, metric, target, prediction, weight if counted else None)
            traced = isinstance(metric, metrics_module.TracedMetric)
            kept[counted].append(metric if traced else given_metric)
        for what, counted in (("metrics", False), ("weighted_metrics", True)):
            self.users[what].append(kept[counted] or None)
        self.outputs.append(
            CompiledOutput(
                root.name,
                root.tensor,
                shape,
                target,
                target_shape,
                target_dtype,
                weight,
                loss.name if scalar else None,
            )
        )

    def placed(self, losses, penalties):
        """The metrics with the places of their sums: results are pairs, then the tallies."""
        means = sum(size is None for _, _, size in self._made)
        pair, tally, found = 2 * losses, 2 * (losses + means + penalties), []
        for name, metric, size in self._made:
            if size is None:
                found.append(CompiledMetric(name, metric, slice(pair, pair + 2)))
                pair += 2
            else:
                found.append(CompiledMetric(name, metric, slice(tally, tally + size)))
                tally += size
        return found

    def _target_of(self, name, shape, users):
        """(shape, type) of the targets that all these take."""
        for user in users:
            user.check_shape(name, shape)
        first = next((u for u in users if u.sparse is not None), None)
        if first is None:  # integer labels or one-hot: the first is what has fewer numbers
            return (shape[:-1], "int32") if shape[-1] > 1 else (shape, self.program.dtype)
        needed = tuple(first.target_shape(shape)), bool(first.sparse)
        for user in users:
            if user.sparse is None or (tuple(user.target_shape(shape)), bool(user.sparse)) == needed:
                continue
            takes = [
                "integer labels" if u.sparse
                else "targets of the output's shape" if tuple(u.target_shape(shape)) == shape
                else f"targets of shape {tuple(u.target_shape(shape))}"
                for u in (first, user)
            ]  # fmt: skip
            raise ArgumentError(
                f"Output {name!r}: {first.name!r} takes {takes[0]}, {user.name!r} takes {takes[1]}; "
                "choose losses and metrics of one kind."
            )
        return needed[0], "int32" if first.sparse else self.program.dtype

    def _traced(self, function, module, target, prediction):
        """A user's own function as its trace; others as they are."""
        traced = module.TracedLoss if module is losses_module else module.TracedMetric
        if module.registry.holds(function) or not function.traceable():
            return function
        target, prediction = self.program.tensors[target], self.program.tensors[prediction]
        type = "int32" if target.type == "int32" else None
        made = traced.of(function, target.shape, type, prediction.shape, self.program.dtype)
        if module is losses_module:
            made.reduction = function.reduction
        return made

    def _add_loss(self, root, loss, loss_weight, target, weight):
        """Append the loss; returns what metrics compare with the target, and whether it is one number."""
        builder, name = self.builder, f"{root.name}_loss"
        builder.scope, loss = name, self._mixed(loss)
        y_true, y_pred = self._mixed_target(loss, target, root.tensor), Value(builder, root.tensor)
        last = builder.producer(root.tensor)
        if last is not None and (last.op, loss.op) in _FUSED:
            source = Value(builder, last.inputs[0])
            y_true = loss.smoothed(y_true, y_pred.shape[-1])
            per_row, known = builder.emit(f"{loss.op}_logits", source, y_true)
            scalar, known = False, known.id
        else:
            made = loss.call(y_true, y_pred)
            per_row, scalar = rows_of(loss, builder, made)
            scalar, known = scalar or getattr(loss, "scalar", False), root.tensor
        if loss.reduction == "mean_with_sample_weight" and not scalar:
            per_row = per_row / ops.mean(Value(builder, weight))
        builder.scope = ""
        self.program.add_root("loss", per_row.id, weight, loss_weight, name)
        self.seeds.append(_LossSeed(per_row.id, weight, loss_weight))
        return known, scalar

    def _mixed(self, loss):
        """The loss that takes mixed targets: no integers."""
        if not self._mixes or not loss.sparse:
            return loss
        if not isinstance(loss, losses_module.SparseCategoricalCrossentropy):
            raise ArgumentError(
                f"MixUp mixes targets, and {loss.name!r} takes integer labels, which cannot be mixed; "
                "use sparse_categorical_crossentropy or one-hot targets."
            )
        return losses_module.CategoricalCrossentropy(loss.from_logits, name=loss.name)

    def _mixed_target(self, loss, target, prediction):
        y_true = Value(self.builder, target)
        if not self._mixes:
            return y_true
        if y_true.dtype == "int32":
            y_true = ops.one_hot(y_true, self.program.tensors[prediction].shape[-1])
        for mix in self._mixes:
            y_true = ops.in_training(self.builder.emit("mix", y_true, **mix), y_true)
        return y_true

    def _add_metric(self, name, metric, target, prediction, weight):
        builder, program = self.builder, self.program
        builder.scope = name
        y_true, y_pred = Value(builder, target), Value(builder, prediction)
        if isinstance(metric, metrics_module.Tally):
            made = metric.sums(y_true, y_pred, None if weight is None else Value(builder, weight))
            program.add_root("tally", made.id, name=name)
            self._made.append((name, metric, math.prod(made.shape)))
        else:
            made, _ = rows_of(metric, builder, metric.call(y_true, y_pred))
            program.add_root("metric", made.id, -1 if weight is None else weight, name=name)
            self._made.append((name, metric, None))
        builder.scope = ""

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


def _differentiate(builder, params, seeds):
    """Append the backward pass for trainable parameters and inputs; returns what `differentiate` does."""
    program = builder.program
    sources = [i for i, p in params if p.trainable]
    sources += [t.id for t in program.of_kind("input") if t.type == program.dtype]
    begin = []
    for s in seeds:
        rows, attrs = program.tensors[s.per_row].shape, {"loss_weight": s.loss_weight}
        begin.append((s.per_row, builder.node("loss_seed", (s.weight,), attrs, rows)))
    for root in program.roots_of("penalty"):
        begin.append((root.tensor, builder.node_once("full", (), {"value": 1.0}, ())))
    return differentiate(builder, begin, sources)


def _add_gradients(builder, sources, training, inference):
    """Append the roots of the gradients; returns {source: its index among them}."""
    index = {}
    for i in sources:
        views = [training.get(i), inference.get(i)]
        if views == [None, None]:
            continue
        if None in views:
            zero = builder.node_once("full", (), {"value": 0.0}, ())
            shape = builder.program.tensors[i].shape
            views = [builder.node_once("broadcast", (zero,), None, shape) if g is None else g for g in views]
        g = views[0] if views[0] == views[1] else builder.node_once("in_training", views)
        index[i] = len(index)
        builder.program.add_root("grad", g, i)
    return index


# ---- penalties, clipping, updates ----


def _add_traced_penalties(builder, params):
    """Append the penalties that are functions of fastnn.ops; returns how many there are."""
    count = 0
    for i, parameter in params:
        regularizer = parameter.regularizer if parameter.trainable else None
        if regularizer is None or not regularizer.traced:
            continue
        builder.separate()
        builder.scope = f"{parameter.name}.penalty"
        value = regularizer.trace(builder, Value(builder, i))
        builder.program.add_root("penalty", value.id)
        count += 1
    builder.separate()
    return count


def _add_penalties(builder, params, views):
    """Append l1 and l2 penalties of trainable parameters and add their gradients; returns their number."""
    program, count = builder.program, 0
    for i, parameter in params:
        attrs = parameter.regularizer.penalty() if parameter.trainable and parameter.regularizer else None
        if attrs is None:
            continue
        name = program.tensors[i].name
        program.add_root("penalty", builder.node("penalty", (i,), attrs, name=f"{name}.penalty"))
        for gradient in views:
            g = gradient.get(i)
            if g is None:  # no loss depends on it, so its gradient is that of the penalty: begin from zeros
                g = builder.node_once("clip_value", (i,), {"clip": 0.0}, name=f"{name}.grad")
            gradient[i] = builder.node_once("penalty_grad", (g, i), attrs, name=f"{name}.grad")
            if views[0] is views[1]:
                break
        count += 1
    return count


def add_updates(program, params, gradient, optimizer):
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
