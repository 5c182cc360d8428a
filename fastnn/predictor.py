"""Predictors: frozen networks for the fastest calls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import _core, data
from ._engine import Runtime
from .errors import ArgumentTypeError, ShapeError
from .layers.base import registry
from .layers.lookup import Lookup
from .structure import shape_like

if TYPE_CHECKING:
    from ._typing import Any, Callable, StrPath
    from .graph import Program

_ROWS = 256  # samples at a time


class Predictor(_core.Predictor):
    """A snapshot of a network and its weights with nothing left to decide per call; `Model.freeze` makes it.

    `predictor(x, out=None)` takes one sample (features,) or several (n, features) and returns a new array or
    fills `out`. Contiguous arrays of the model's dtype are read in place; others are converted first. Any
    number of threads may call it. Inputs are not looked through for NaN and infinities.

    Attributes
    ----------
    program : Program
        The forward part.
    report : narrow.Report or None
        What weights of fewer bits save and cost.
    """

    program: Program
    report = None
    _tabular: Any

    @staticmethod
    def of(model, weights=None, validation_data=None):
        """A Predictor of a built Model, folded; a `StructuredPredictor` for several inputs or outputs.

        See `Model.freeze`.
        """
        form = {
            "input": _plain(model._input_form),
            "output": _plain(model._output_form),
            "inputs": model.input_names,
        }
        if any(model._lookups):
            form["lookups"] = [registry.serialize(lookup) for lookup in model._lookups]
        from .fold import fold  # needed here only

        read, _ = model._engine().read()
        program, values = fold(model._forward, {id: read[id, -1] for id, _ in model._params})
        made = Predictor.from_program(program, form, lambda tensor: values[tensor.id], model._tabular)
        if weights is None:
            return made
        from . import narrow

        program, values = narrow.narrowed(program, values, weights)
        narrower = Predictor.from_program(program, form, lambda tensor: values[tensor.id], model._tabular)
        narrower.report = narrow.compare(model, made, narrower, weights, validation_data)
        return narrower

    @staticmethod
    def from_program(program, form, value_of, tabular):
        """A Predictor of a forward Program; `value_of(tensor)` gives the value of each parameter."""
        import copy  # needed here only

        runtime = Runtime(program, [])
        engine = runtime.engine
        for tensor in program.of_kind("param"):
            engine.param(tensor.id).write(value_of(tensor))
        inputs, outputs = program.of_kind("input"), program.roots_of("output")
        tabular.check(
            "the predictor",
            [t.shape[1:] for t in inputs],
            [program.tensors[root.tensor].shape[1:] for root in outputs],
        )
        lookups = _lookups(form.get("lookups"), len(inputs))
        alone = len(inputs) == len(outputs) == 1 and form["input"] is None and form["output"] is None
        if alone and inputs[0].type == program.dtype and tabular.features is None:
            out = program.tensors[outputs[0].tensor]
            made = Predictor(engine, inputs[0].id, out.id, inputs[0].shape[1:], out.shape[1:])
        else:
            made = StructuredPredictor(runtime, program, form, lookups)
        made.program, made.form, made._tabular = program, form, copy.copy(tabular)
        return made

    @property
    def feature_names(self):
        """list of str or None: names of the columns that a table needs."""
        return self._tabular.feature_names

    @property
    def class_names(self):
        """list of str or None: names of the classes, in the order of the output's numbers."""
        return self._tabular.class_names

    def convert(self, x):
        """A contiguous array of the predictor's type and shape of anything that can be made into one."""
        what = "the input of the predictor"
        x = self._tabular.read(x, self.form["inputs"], [self.features], self.dtype, what)
        array = data.as_array(x, what)
        if array.shape not in (self.features, (len(array), *self.features)):
            raise ShapeError(
                f"{what} needs one sample of shape {self.features} or several of shape "
                f"(n, {', '.join(map(str, self.features))}), got {array.shape}"
            )
        return np.ascontiguousarray(array, self.dtype)

    returned = staticmethod(data.like)

    def read(self, tensor, shape):
        """The value of the parameter with this tensor id."""
        out = np.empty(shape, self.program.tensors[tensor].stored)
        self.engine.param(tensor).read(out)
        return out

    def summary(self, print_fn: Callable[[str], object] | None = None) -> None:
        """Prints the parameters with their types and bytes, and the report of weights of fewer bits.

        Parameters
        ----------
        print_fn : callable, optional
            Takes each line in place of `print`.
        """
        put = print_fn or print
        put(repr(self))
        for t in self.program.of_kind("param"):
            put(f"  {t.name:<40} {t.type:<9} {t.shape!s:<16} {t.nbytes:>12,} bytes")
        if self.report is not None:
            for line in str(self.report).split("\n"):
                put(line)

    def save(self, filepath: StrPath, overwrite: bool = True) -> None:
        """Write it to a file that `fastnn.load` reads.

        Raises
        ------
        FileAccessError
            If the file cannot be written; an old one stays as it was.
        """
        from . import io

        io.save_predictor(self, filepath, overwrite)

    def export_c(self, filepath: StrPath, name: str | None = None, overwrite: bool = True) -> None:
        """Write it as a C header for microcontrollers; see `Model.export_c`.

        Kernels of int8 or bfloat16 stay so in the header, and are computed with as here.
        """
        from . import c_header

        c_header.export_c(self, filepath, name, overwrite)

    def __reduce__(self):
        from . import io

        return io.from_bytes, (io.to_bytes(self),)

    def __repr__(self):
        inputs = [t.shape[1:] for t in self.program.of_kind("input")]
        outputs = [self.program.tensors[root.tensor].shape[1:] for root in self.program.roots_of("output")]
        size = sum(math.prod(t.shape) for t in self.program.of_kind("param"))
        ends = f"{_text(inputs)} -> {_text(outputs)}"
        cost = "" if self.report is None else f", {self.report.line()}"
        return f"<{type(self).__name__}: {ends}, {size:,} parameters, {self.program.policy}{cost}>"


class StructuredPredictor:
    """A Predictor of several inputs or outputs, given and returned as the model's are, or of integers."""

    program: Program
    report = None
    _tabular: Any
    feature_names, class_names = Predictor.feature_names, Predictor.class_names
    read, save, export_c, summary, __reduce__, __repr__ = (
        Predictor.read,
        Predictor.save,
        Predictor.export_c,
        Predictor.summary,
        Predictor.__reduce__,
        Predictor.__repr__,
    )

    def __init__(self, runtime, program, form, lookups) -> None:
        self.engine, self._runtime = runtime.engine, runtime
        self._inputs, self._lookups = program.of_kind("input"), lookups
        self._outputs = [program.tensors[root.tensor] for root in program.roots_of("output")]
        self._names, self._form = form["inputs"], _form(form["output"])

    def __call__(self, x, out=None) -> Any:
        """Outputs for one sample or several.

        Parameters
        ----------
        x : array_like, or list or dict of them, of a sample's shape or (n, ...)
        out : list of ndarray, optional
            Contiguous arrays of the model's dtype to fill: (n, ...), n being 1 for one sample.

        Returns
        -------
        ndarray, or list or dict of ndarray
        """
        given, single = [], []
        what, shapes = "the input of the predictor", [t.shape[1:] for t in self._inputs]
        one_row = self._tabular.one_row(x)
        if one_row is not None:
            x = one_row
        table = self._tabular.read(x, self._names, shapes, self.engine.dtype, what, self._lookups[0] is not None)
        for name, tensor, lookup, array in zip(
            self._names, self._inputs, self._lookups, data.by_name(table, self._names, what)
        ):
            what = f"input {name!r} of the predictor"
            if lookup is not None:
                array = lookup._positions(array, what)
            else:
                array = (data.as_rows if tensor.type == "csr" else data.as_array)(array, what)
            lone = array.shape == tensor.shape[1:]
            single.append(lone or one_row is not None)
            given.append((what, data.fit_input(array[None] if lone else array, tensor.shape[1:], what)))
        count = data.common_length(given)
        if out is None:
            made = [np.empty((count, *t.shape[1:]), self.engine.dtype) for t in self._outputs]
        else:
            made = self._checked(out, count)
        with self._runtime.session("predict", _ROWS) as session:
            session.bind({t.id: array for t, (_, array) in zip(self._inputs, given)})
            session.bind({t.id: array for t, array in zip(self._outputs, made)})
            for _ in session.walk(count, min(count, _ROWS), False):
                pass
        made = shape_like(self._form, [a[0] for a in made] if all(single) and out is None else made)
        return made if out is not None else data.like(x, made)

    def _checked(self, out, count):
        needed = [(count, *t.shape[1:]) for t in self._outputs]
        arrays = data.by_name(out, [str(i) for i in range(len(needed))], "out")
        for array, shape in zip(arrays, needed):
            if not (
                isinstance(array, np.ndarray) and array.dtype == self.engine.dtype and array.flags.carray
            ):
                raise ArgumentTypeError(
                    f"out needs contiguous, writable {self.engine.dtype} arrays, got "
                    f"{getattr(array, 'dtype', type(array).__name__)}; make them with numpy.empty"
                )
            if array.shape != shape:
                raise ShapeError(
                    f"out needs arrays of shapes {_text(needed)}, got {array.shape}; use numpy.empty"
                )
        return arrays


def _lookups(described, count):
    """The lookups that were serialized, one or None for each input."""
    if described is None:
        return [None] * count
    made = [registry.deserialize(entry) for entry in described]
    if len(made) != count or not all(layer is None or isinstance(layer, Lookup) for layer in made):
        raise ArgumentTypeError(f"the predictor needs a lookup or None for each of {count} inputs, got {made!r:.80}")
    return made


def _plain(form):
    return {list: "list", tuple: "tuple"}.get(form, form) if not isinstance(form, list) else form


def _form(plain):
    return {"list": list, "tuple": tuple}.get(plain) if not isinstance(plain, list) else plain


def _text(shapes):
    return ", ".join(map(str, shapes))
