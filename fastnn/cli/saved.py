"""A saved model beside a table: what it reads of it, and what it says."""

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError
from . import tables
from .prepare import blamed_on
from .target import column_of


class Saved:
    """A model from a file.

    Attributes
    ----------
    model : Model or Predictor
    features : Features or None
        What it makes of the columns of a table; without them it reads those of its `feature_names`, or all in their
        order, as numbers.
    classes : list of str or None
        Names of its outputs, where it tells classes apart.
    """

    def __init__(self, path):
        from .. import load

        self.path, self.model = path, load(path)
        self.features = self.model._tabular.features
        self.classes = getattr(self.model, "class_names", None)
        self._names, self._texts = None, set()

    def needs_classes(self, what):
        """Raises where the model tells no classes apart."""
        if self.classes is None:
            raise ArgumentError(f"{what} needs a model that tells classes apart, '{self.path}' has no names of classes")

    def prepare(self, table, target=None):
        """Tells the table what its columns are; `target` is none of the inputs."""
        by_name = self._inputs_by_name() if self.features is None else None
        if by_name is not None:
            self._names = list(by_name)
            self._texts = {name for name, lookup in by_name.items() if lookup is not None and lookup.input_dtype == "string"}
            numbers, truths, dates = set(self._names) - self._texts, set(), set()
        elif self.features is None:
            known = getattr(self.model, "feature_names", None)
            self._names = [name for name in table.names if name != target] if known is None else known
            numbers, truths, dates = set(self._names), set(), set()
        else:
            kinds = kinds_of(self.features.get_config(), self.features.names_in)
            self._names = list(kinds)
            numbers, truths, dates = (
                {n for n, kind in kinds.items() if kind == wanted} for wanted in ("number", "bool", "date")
            )
        tables.check_known(f"the model '{self.path}'", self._names, table)
        table.expect(numbers, truths, dates)

    def _inputs_by_name(self):
        """{input: its Lookup or None} where a column of a table is an input, else None."""
        form = getattr(self.model, "form", None)  # of a Predictor
        names = self.model.input_names if form is None else form["inputs"]
        lookups = getattr(self.model, "_lookups", [None])
        if len(names) == 1 and lookups[0] is None:
            return None
        return dict(zip(names, lookups))

    def predictions(self, table):
        """Pairs of the number of the first row, and what the model says, shape (rows, outputs)."""
        predict = getattr(self.model, "predict", self.model)  # a Predictor is called
        with blamed_on(table):
            for first, part in table.parts(self._names):
                made = predict(self._inputs(part, table, first))
                yield first, self._flat(made)

    def _inputs(self, part, table, first):
        if self.features is not None:
            return part
        columns = [column_of(part, name) for name in self._names]
        for name, column in zip(self._names, columns):
            if column.dtype.kind not in "fiub" and name not in self._texts:
                raise DtypeError(f"{table.label}, column {name!r} needs numbers, as '{self.path}' reads it as such")
        if self._inputs_by_name() is not None:
            return dict(zip(self._names, columns))
        shapes = getattr(self.model, "input_shape", None)
        if shapes is not None and shapes[1:] != (len(columns),):
            raise ShapeError(
                f"'{self.path}' reads {' x '.join(map(str, shapes[1:]))} numbers, {table.label} has {len(columns)} columns"
            )
        return np.column_stack(columns)

    def _flat(self, made):
        if isinstance(made, (dict, list, tuple)):
            raise ArgumentTypeError(f"'{self.path}' has {len(made)} outputs, a table of predictions holds one")
        made = made.reshape(len(made), -1)
        if self.classes is not None and made.shape[1] == 1:  # the probability of the second of two
            return np.hstack([1 - made, made])
        return made


def kinds_of(config, names):
    """{column: "number", "bool", "text" or "date"} of the columns that features read, in order."""
    kinds = {}

    def walk(steps, columns):
        for step in steps:
            if step["kind"] == "union":
                for part in step["parts"]:
                    walk(part["steps"], [columns[i] for i in part["take"]] if columns else columns)
                return
            for i, name in enumerate(columns):
                kinds[name] = max(kinds.get(name, "number"), _kind(step, i), key=_RANK.index)
            if step["kind"] == "impute" and (None in step["fill"] or step["indicators"]):
                columns = [c for c, fill in zip(columns, step["fill"]) if fill is not None]

    walk(config["steps"], list(names))
    return {name: kinds[name] for name in names if name in kinds}


_RANK = ("number", "bool", "text", "date")


def _kind(step, i):
    """What a step says about its column i."""
    if step["kind"] == "impute":
        return "text" if isinstance(step["fill"][i], str) or isinstance(step["missing"], str) else "number"
    if step["kind"] in ("one_hot", "ordinal"):
        categories = step["columns"][i]["categories"]
        if any(isinstance(c, str) for c in categories):
            return "text"
        return "bool" if categories and all(isinstance(c, bool) for c in categories) else "number"
    return "date" if step["kind"] == "seconds" else "number"
