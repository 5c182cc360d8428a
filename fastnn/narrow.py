"""Kernels of fewer bits for frozen networks: int8 with a scale for each column, or bfloat16.

Only the kernels of products are narrowed: they are nearly all of the bytes that a prediction reads. Biases,
embedding tables and a kernel that something else reads too stay as they are.
"""

from typing import NamedTuple

import numpy as np

from . import data
from .backends.xp import round_bfloat16
from .errors import DtypeError, NotCompiledError, UnknownNameError
from .graph import Node, Program


class Report(NamedTuple):
    """What weights of fewer bits save and cost; `str` gives a table.

    Attributes
    ----------
    weights : str
        "int8" or "bfloat16".
    bytes_before, bytes_after : int
        Of all parameters.
    samples : int
        Of the validation data; 0 where there was none.
    largest_change, mean_change : float or None
        Of an output, by magnitude.
    before, after : dict of str to float
        The compiled loss, without penalties, and metrics, of the network as it was and as it is frozen.
    """

    weights: str
    bytes_before: int
    bytes_after: int
    samples: int = 0
    largest_change: float | None = None
    mean_change: float | None = None
    before: dict = {}
    after: dict = {}

    def line(self):
        """The report in a few words."""
        changed = [f"{name} {self.before[name]:.4f} -> {self.after[name]:.4f}" for name in self.before]
        if not changed and self.samples:
            changed = [f"outputs change by up to {self.largest_change:.2g}"]
        return "; ".join([f"{self.weights} kernels", *changed])

    def __str__(self):
        megabytes = f"{self.bytes_after / 1e6:.3f} MB of parameters instead of {self.bytes_before / 1e6:.3f}"
        lines = [f"{self.weights} kernels: {megabytes}"]
        if not self.samples:
            return f"{lines[0]}; what that costs was not measured: pass validation_data to freeze"
        lines.append(
            f"on {self.samples:,} samples an output changes by at most {self.largest_change:.3g}, "
            f"by {self.mean_change:.3g} on average"
        )
        if self.before:
            width = max(map(len, self.before))
            lines.append(f"{'':<{width}}  {'before':>10}  {self.weights:>10}  {'change':>10}")
        for name, value in self.before.items():
            after = self.after[name]
            lines.append(f"{name:<{width}}  {value:>10.4f}  {after:>10.4f}  {round(after - value, 4) + 0.0:>+10.4f}")
        return "\n".join(lines)


def narrowed(program, values, weights):
    """A Program with the kernels of its products narrowed, and the values of its parameters.

    Parameters
    ----------
    program : Program
        Of float32 or mixed_bfloat16.
    values : dict of int to ndarray
        Of its parameters by tensor id.
    weights : {"int8", "bfloat16"}

    Raises
    ------
    UnknownNameError, DtypeError
        For other weights, or a Program of float64.
    """
    if weights not in ("int8", "bfloat16"):
        raise UnknownNameError.among("form of weights", weights, ("int8", "bfloat16"))
    if program.dtype != "float32":
        raise DtypeError(
            f"freeze(weights={weights!r}) needs a model of float32, got one of {program.dtype}; make it with "
            "dtype='float32' and copy the weights with set_weights"
        )
    new = Program("mixed_bfloat16" if weights == "bfloat16" else program.policy)
    new.tensors, new.roots, values = list(program.tensors), list(program.roots), dict(values)
    kernels = _kernels(program)
    scales = {}
    for i in kernels:
        new.tensors[i] = new.tensors[i]._replace(type=weights)
        if weights == "bfloat16":
            values[i] = (round_bfloat16(values[i]).view(np.uint32) >> 16).astype(np.uint16)
        else:
            values[i], scale = quantized(values[i])
            scales[i] = new.add_tensor("param", scale.shape, name=f"{program.tensors[i].name}_scale")
            values[scales[i]] = scale
    new.nodes = [
        Node("matmul_int8", (*n.inputs, scales[n.inputs[1]]), n.outputs)
        if n.op == "matmul" and n.inputs[1] in scales
        else n
        for n in program.nodes
    ]
    new.verify()
    return new, values


def _kernels(program):
    """Ids of the parameters that products read as their kernel, and nothing else reads."""
    found = {n.inputs[1] for n in program.nodes if n.op == "matmul"}
    for n in program.nodes:
        found.difference_update(n.inputs[:1] + n.inputs[2:] if n.op == "matmul" else n.inputs)
    return [t.id for t in program.of_kind("param") if t.id in found]


def quantized(w):
    """A kernel (k, n) as int8 in [-127, 127], and the float32 scale (n,) of each column.

    scale = max |w| / 127 over the column, and w / scale is rounded to the nearest integer, ties to even.
    """
    with np.errstate(invalid="ignore"):
        scale = (np.abs(w).max(axis=0) / 127).astype(np.float32)
        steps = np.nan_to_num(np.rint(w / np.where(scale == 0, 1, scale)))
    return np.clip(steps, -127, 127).astype(np.int8), scale


def compare(model, plain, narrow, weights, validation_data):
    """The Report on two Predictors of a model: as it was, and with narrowed kernels."""
    report = Report(weights, _bytes(plain.program), _bytes(narrow.program))
    if validation_data is None:
        return report
    x, y, weight = validation_data, None, None
    if isinstance(validation_data, tuple) and len(validation_data) in (2, 3):
        x, y, weight = (*validation_data, None)[:3]
        if model._compiled is None:
            raise NotCompiledError(
                "freeze compares the compiled loss and metrics on (x, y): call compile first, or pass "
                "validation_data=x to compare the outputs alone"
            )
    names = model.output_names
    before, after = (data.by_name(p(x), names, "the output") for p in (plain, narrow))
    change = [np.abs(a.astype(np.float64) - b) for a, b in zip(before, after)]
    report = report._replace(
        samples=len(before[0]),
        largest_change=float(max(c.max() for c in change)),
        mean_change=float(sum(c.sum() for c in change) / sum(c.size for c in change)),
    )
    if y is None:
        return report
    judge = _judge(model)
    scores = [
        judge.evaluate(dict(zip(names, made)), y, sample_weight=weight, return_dict=True)
        for made in (before, after)
    ]
    return report._replace(before=scores[0], after=scores[1])


def _judge(model):
    """A Model of the outputs alone, with the loss and metrics that `model` was compiled with."""
    from .layers.core import Input
    from .model import Model

    outputs = {name: Input(t.shape[1:], name=name) for name, t in zip(model.output_names, model.outputs)}
    judge = Model(outputs, outputs)
    judge.class_names = model.class_names
    settings = ("loss", "loss_weights", "metrics", "weighted_metrics")
    judge.compile("sgd", **{key: model._settings[key] for key in settings})
    return judge


def _bytes(program):
    return sum(t.nbytes for t in program.of_kind("param"))
