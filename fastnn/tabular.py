"""How a model reads tables: features, names of columns and classes."""

import numpy as np

from . import data
from .errors import ArgumentError, ArgumentTypeError, DataError, FileFormatError, ShapeError


def is_table(x):
    """Whether `x` is a data frame, or an array whose fields have names."""
    if isinstance(x, np.ndarray):
        return x.dtype.names is not None
    if x is None or isinstance(x, (list, tuple, dict)):
        return False
    from .preprocessing.tables import is_frame

    return is_frame(x)


class Tabular:
    """What is known of the columns that a model's inputs are made of, and of its classes.

    Attributes
    ----------
    features : Features or None
    columns : list of str or None
        Names of the columns of the one input where there are no features.
    classes : list of str or None
    """

    __slots__ = ("features", "columns", "classes")

    def __init__(self, features=None, columns=None, classes=None):
        self.features, self.columns, self.classes = features, columns, classes

    @property
    def feature_names(self):
        """list of str or None: names of the columns that a table needs."""
        names = self.columns if self.features is None else self.features.names_in
        return None if names is None else list(names)

    @property
    def class_names(self):
        """list of str or None: names of the classes."""
        return None if self.classes is None else list(self.classes)

    # -- setting --

    def check(self, owner, inputs, outputs):
        """Raise unless all of it fits inputs and outputs of these shapes, without the batch."""
        if self.features is not None:
            _check_width(owner, f"its features give {self.features.size} numbers", self.features.size, inputs)
        if self.columns is not None:
            _check_width(owner, f"it has {len(self.columns)} feature_names", len(self.columns), inputs)
        if self.classes is not None:
            sizes, count = [shape[-1] if shape else 1 for shape in outputs], len(self.classes)
            if len(sizes) != 1 or not (sizes[0] == count or (sizes[0] == 1 and count == 2)):
                raise ShapeError(
                    f"{owner} has outputs of {sizes} numbers, got {count} class_names; one name for each number "
                    "of the one output, or two for an output of one number"
                )

    # -- inputs --

    def width(self, x):
        """The number of features of data that no input is made for yet; None for what is no table."""
        if self.features is not None:
            return self.features.size
        if is_table(x):
            from .preprocessing.tables import table_of

            return table_of(x).width
        if self._by_column(x, ()):
            return len(self.columns)
        return None

    def _by_column(self, x, names):
        """Whether `x` is a dict of columns, and not one of inputs."""
        if self.columns is None or not isinstance(x, dict) or set(x) == set(names):
            return False
        return not set(self.columns).isdisjoint(x)

    def read(self, x, names, shapes, dtype, what, raw=False):
        """What stands for the inputs in `x`: arrays by name or alone, for tables; else `x` itself.

        Parameters
        ----------
        x : object
        names : list of str
            Of the inputs.
        shapes : list of tuple
            Theirs, without the batch.
        dtype : str
            Of the features that are made.
        what : str
            How errors name `x`.
        raw : bool, default False
            Whether columns side by side are left as they are, for a lookup.
        """
        if self.features is not None:
            if isinstance(x, (list, tuple)) and len(x) == 1 and not isinstance(x[0], (list, tuple)):
                x = x[0]
            return self.features.transform(x, dtype)
        table = is_table(x)
        if not table and not self._by_column(x, names):
            return x
        from .preprocessing.tables import table_of

        x = table_of(x, what)
        if table and (len(names) > 1 or (shapes[0] in ((), (1,)) and names[0] in x.names)):
            return _by_input(x, names, shapes, what)
        return matrix(x, self.columns, what, raw)

    def one_row(self, x):
        """`x` as a table of one row where it is such a row, of raw columns in order; else None."""
        if self.features is None or isinstance(x, dict) or is_table(x):
            return None
        return [x] if np.ndim(x) == 1 else None

    def record(self, x, names, shapes):
        """Keep the names of a frame's columns, where the one input is made of them and none are known."""
        if self.features is None and self.columns is None and len(names) == 1 and is_table(x):
            from .preprocessing.tables import table_of

            found = table_of(x).names
            if shapes[0] == (len(found),) and not (len(found) == 1 and found == names):
                self.columns = found

    # -- targets --

    def labels(self, y, what):
        """Class indices of labels; what holds numbers is left as it is."""
        from .preprocessing.tables import _array, is_frame, table_of
        from .preprocessing.vocabulary import Vocabulary

        if is_frame(y):
            table = table_of(y, what)
            if table.width != 1:
                raise ShapeError(f"{what} needs one column of labels, got {table.width}")
            column = table.column(0)
        else:
            array = y if isinstance(y, np.ndarray) else None
            if array is not None and array.dtype.kind in "fiub":
                return y
            column = _array(y, what)
        if column.dtype.kind in "UT":
            column = column.astype(object)
        if column.dtype.kind != "O" or not any(isinstance(v, str) for v in column.tolist()):
            return y
        found = Vocabulary(self.classes).find(column, what)
        if (found < 0).any():
            row = int((found < 0).argmax())
            raise DataError(
                f"{what} holds {column[row]!r:.80} in row {row}, which is none of the class_names "
                f"{_listed(self.classes)}",
                tensor=what, row=row,
            )  # fmt: skip
        return found

    # -- files --

    def metadata(self):
        """What of it stands in a file: texts by name."""
        made = {}
        if self.features is not None:
            made["features"] = _dumps(self.features.get_config())
        names = {"features": self.columns, "classes": self.classes}
        if any(names.values()):
            made["names"] = _dumps({key: value for key, value in names.items() if value is not None})
        return made

    @classmethod
    def from_metadata(cls, metadata, parse, label):
        """What `metadata` wrote; `parse` reads JSON."""
        features, names = None, {}
        if "features" in metadata:
            from .preprocessing import Features

            features = Features.from_config(parse(metadata["features"], f"the features in {label}"))
        if "names" in metadata:
            names = parse(metadata["names"], f"the names in {label}")
            if not isinstance(names, dict) or not set(names) <= {"features", "classes"}:
                raise FileFormatError(f"{label} has malformed names; it is damaged or foreign")
        return cls(
            features,
            check_names("feature_names", names.get("features")),
            check_names("class_names", names.get("classes")),
        )


def _check_width(owner, what, width, inputs):
    if inputs != [(width,)]:
        seen = ", ".join(map(data.shape_text, inputs))
        raise ShapeError(f"{owner} needs inputs of shape {seen}, but {what}; make it with Input(({width},))")


def check_names(what, names):
    """`names` as a list of distinct str, or None."""
    if names is None:
        return None
    if isinstance(names, str) or not hasattr(names, "__len__"):
        raise ArgumentTypeError(f"{what} needs a list of names, got {names!r:.80}")
    names = list(names)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"{what} needs names that are text, got {name!r:.80}")
    if len(set(names)) != len(names) or not names:
        raise ArgumentError(f"{what} needs distinct names, at least one, got {_listed(names)}")
    return [str(name) for name in names]


def matrix(table, columns, what, raw=False):
    """The columns of a table of numbers side by side: all, or those of these names; as they are for `raw`."""
    from .preprocessing.tables import numbers

    names = table.names if columns is None else columns
    places = _places(table, names, what)
    made = [table.column(at) for at in places]
    if raw:
        return np.stack([c.astype(object) for c in made], axis=1)
    single = all(c.dtype.kind in "fiub" and np.can_cast(c.dtype, np.float32) for c in made)
    out = np.empty((table.rows, len(names)), np.float32 if single else np.float64)
    for i, column in enumerate(made):
        out[:, i] = column if column.dtype.kind in "fiub" else numbers(column, names[i])
    return out


def _by_input(table, names, shapes, what):
    """The columns of a table by the names of inputs, each of one number a sample."""
    wide = [name for name, shape in zip(names, shapes) if shape not in ((), (1,))]
    if wide:
        raise ShapeError(
            f"{what} needs an array for the inputs {_listed(wide)}, which are of several numbers a sample; pass a "
            "dict of arrays in place of a data frame"
        )
    places = _places(table, names, what)
    return {name: table.column(at) for name, at in zip(names, places)}


def _places(table, names, what):
    found = {name: i for i, name in enumerate(table.names)}
    missing = [name for name in names if name not in found]
    if missing:
        raise ArgumentError(
            f"{what} lacks the columns {_listed(missing)}; it has {_listed(table.names)}"
        )
    return [found[name] for name in names]


def _listed(names, limit=12):
    shown = ", ".join(map(repr, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _dumps(value):
    import json

    return json.dumps(value, separators=(",", ":"), allow_nan=False)
