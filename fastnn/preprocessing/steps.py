"""Steps that make features of columns: each is plain data and a few lines of NumPy.

A step takes a list of columns and gives a list of columns. `names` says what the columns are called after it,
and is where a step that does not fit its columns is refused; `apply` makes them. Those of scikit-learn's
transformers give the numbers, and the names, that scikit-learn gives.
"""

import inspect
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, DataError, UnknownNameError
from .tables import is_missing, missing_in, numbers, seconds
from .vocabulary import MISSING, UNKNOWN, Vocabulary

MAX_COLUMNS = 1 << 20  # that a step may give
_MAX_TEXT = 1 << 26  # characters of their names together
_MAX_DEPTH = 16  # steps within steps

_NOWHERE = -1  # the slot of a category that sets no column


class Column(NamedTuple):
    """Values of rows, and what errors call them."""

    values: np.ndarray
    name: str


class Hot(NamedTuple):
    """Columns of 0 and 1, of which each row sets the one that `slots` names, or none for -1."""

    slots: np.ndarray
    names: list

    def columns(self):
        """The same as columns."""
        return [Column((self.slots == i).astype(np.float64), name) for i, name in enumerate(self.names)]


def _expanded(columns):
    return [c for column in columns for c in (column.columns() if isinstance(column, Hot) else [column])]


def _value_text(value):
    """A category in a name."""
    return str(value)


def _joined(name, labels):
    if (len(name) + 1) * len(labels) > _MAX_TEXT:
        raise ArgumentError(f"the names of the {len(labels)} features of column {name!r:.80} are too long")
    return [f"{name}_{label}" for label in labels]


# ---- reading plain data ----


def _made(what, function, described):
    """What a function makes of a description, which must have its arguments."""
    known = inspect.signature(function).parameters.values()
    needed = {p.name for p in known if p.default is p.empty}
    if not needed <= set(described) <= {p.name for p in known}:
        raise ArgumentTypeError(f"{what} is described by {sorted(needed)}, got {sorted(described)!r:.200}")
    return function(**described)


def _list(owner, name, value, length=None):
    if not isinstance(value, list):
        raise ArgumentTypeError(f"{owner}: {name} must be a list, got {value!r:.80}")
    if length is not None and len(value) != length:
        raise ArgumentError(f"{owner}: {name} needs {length} entries, one a column, got {len(value)}")
    return value


def _number(owner, name, value, missing=False):
    """`value` as float; None stands for NaN where that may be."""
    if value is None and missing:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < np.inf:
        raise ArgumentTypeError(f"{owner}: {name} must hold finite numbers, got {value!r:.80}")
    return float(value)


def _reals(owner, name, values, missing=False):
    return [_number(owner, name, v, missing) for v in _list(owner, name, values)]


def _index(owner, name, value, count):
    if type(value) is not int or not 0 <= value < count:
        raise ArgumentError(f"{owner}: {name} must be indices below {count}, got {value!r:.80}")
    return value


def _plain(value):
    """NaN as None, which JSON can hold."""
    return None if isinstance(value, float) and value != value else value


class Impute:
    """Puts a value where one is missing; says where that was in columns after all others.

    Parameters
    ----------
    fill : list of float, str or None
        For each column; None leaves the column out.
    indicators : list of int, optional
        The columns that get another one: 1 where the value was missing, else 0.
    missing : str, float or None, default None
        What counts as missing; None for NaN, None, pandas.NA and NaT.
    """

    kind = "impute"

    def __init__(self, fill, indicators=None, missing=None):
        self.fill = [v if v is None or isinstance(v, str) else _number(self.kind, "fill", v)
                     for v in _list(self.kind, "fill", fill)]  # fmt: skip
        indicators = _list(self.kind, "indicators", [] if indicators is None else indicators)
        self.indicators = [_index(self.kind, "indicators", i, len(self.fill)) for i in indicators]
        if not (missing is None or isinstance(missing, str)):
            missing = _number(self.kind, "missing", missing)
        self.missing = missing

    def get_config(self):
        return {"fill": self.fill, "indicators": self.indicators, "missing": self.missing}

    def names(self, names):
        _list(self.kind, "fill", self.fill, len(names))
        kept = [name for name, fill in zip(names, self.fill) if fill is not None]
        return kept + [f"missingindicator_{names[i]}" for i in self.indicators]

    def _mask(self, column, start):
        if self.missing is None:
            return missing_in(column.values)
        if column.values.dtype.kind == "O":
            found = (not is_missing(v) and v == self.missing for v in column.values.tolist())
            return np.fromiter(found, bool, len(column.values))
        if isinstance(self.missing, str):
            return np.zeros(len(column.values), bool)
        return numbers(*column, start) == self.missing

    def apply(self, columns, start):
        made, masks = [], {}
        for i, (column, fill) in enumerate(zip(columns, self.fill)):
            if fill is None and i not in self.indicators:
                continue
            mask = masks[i] = self._mask(column, start)
            if fill is None:
                continue
            values = column.values
            if mask.any():
                if isinstance(fill, str) or (values.dtype.kind == "O" and not self._holds_numbers(values)):
                    values = values.astype(object)
                else:
                    values = numbers(values, column.name, start).copy()
                values[mask] = fill
            made.append(Column(values, column.name))
        flags = (masks[i].astype(np.float64) for i in self.indicators)
        return made + [Column(f, f"missingindicator_{columns[i].name}") for i, f in zip(self.indicators, flags)]

    @staticmethod
    def _holds_numbers(values):
        return not any(isinstance(v, str) for v in values.tolist())


class Standardize:
    """(x - mean) / scale, each of them optional.

    Parameters
    ----------
    mean, scale : list of float, or None
        For each column.
    """

    kind = "standardize"

    def __init__(self, mean=None, scale=None):
        self.mean = None if mean is None else _reals(self.kind, "mean", mean, missing=True)
        self.scale = None if scale is None else _reals(self.kind, "scale", scale, missing=True)

    def get_config(self):
        return {
            what: None if values is None else [_plain(v) for v in values]
            for what, values in (("mean", self.mean), ("scale", self.scale))
        }

    def names(self, names):
        for what in ("mean", "scale"):
            if getattr(self, what) is not None:
                _list(self.kind, what, getattr(self, what), len(names))
        return names

    def apply(self, columns, start):
        made = []
        for i, column in enumerate(columns):
            x = numbers(*column, start)
            if self.mean is not None:
                x = x - self.mean[i]
            if self.scale is not None:
                x = x / self.scale[i]
            made.append(Column(x, column.name))
        return made


class Affine:
    """scale x + offset, kept between `low` and `high` where these are given.

    Parameters
    ----------
    scale, offset : list of float
        For each column.
    low, high : float, optional
    """

    kind = "affine"

    def __init__(self, scale, offset, low=None, high=None):
        self.scale = _reals(self.kind, "scale", scale, missing=True)
        self.offset = _reals(self.kind, "offset", offset, missing=True)
        self.low = None if low is None else _number(self.kind, "low", low)
        self.high = None if high is None else _number(self.kind, "high", high)

    def get_config(self):
        return {
            "scale": [_plain(v) for v in self.scale],
            "offset": [_plain(v) for v in self.offset],
            "low": self.low,
            "high": self.high,
        }

    def names(self, names):
        _list(self.kind, "scale", self.scale, len(names))
        _list(self.kind, "offset", self.offset, len(names))
        return names

    def apply(self, columns, start):
        made = []
        for column, scale, offset in zip(columns, self.scale, self.offset):
            x = numbers(*column, start) * scale + offset
            if self.low is not None or self.high is not None:
                x = np.clip(x, self.low, self.high)
            made.append(Column(x, column.name))
        return made


class Seconds:
    """Dates as seconds since the beginning of 1970."""

    kind = "seconds"

    def get_config(self):
        return {}

    def names(self, names):
        return names

    def apply(self, columns, start):
        return [Column(seconds(*column, start), column.name) for column in columns]


class _Categories:
    """What the two encoders of categories share: for each column a vocabulary and what becomes of each value."""

    def __init__(self, columns):
        self.columns, self._vocabularies = [], []
        for entry in _list(self.kind, "columns", columns):
            if not isinstance(entry, dict):
                raise ArgumentTypeError(f"{self.kind}: a column is described by a dict, got {entry!r:.80}")
            entry = _made(f"{self.kind}: a column", self.checked, entry)
            self.columns.append(entry)
            try:
                self._vocabularies.append(Vocabulary(_list(self.kind, "categories", entry["categories"])))
            except (ArgumentError, ArgumentTypeError) as error:
                raise type(error)(f"{self.kind}: {error}") from None

    def get_config(self):
        return {"columns": self.columns}

    def _places(self, i, column, start):
        """Positions in the vocabulary of column i, which may be told from unknown and missing ones."""
        entry, (values, name) = self.columns[i], column
        found = self._vocabularies[i].find(values, name, start)
        for code, what in ((UNKNOWN, "unknown"), (MISSING, "missing")):
            if entry[what] == "error" and (found == code).any():
                row = int((found == code).argmax())
                value = values[row].item() if isinstance(values[row], np.generic) else values[row]
                raise DataError(
                    f"column {name!r} holds {value!r:.80} in row {start + row}, which is none of the "
                    f"{len(entry['categories'])} categories that the features were fitted on; fit with such "
                    "a value, or let unknown ones be ignored",
                    tensor=name, row=start + row,
                )  # fmt: skip
        return found


class OneHot(_Categories):
    """Categories as columns of 0 and 1.

    Parameters
    ----------
    columns : list of dict
        For each column "categories", a list of text or of numbers; "slots", which of the new columns each
        category sets, -1 for none; "labels", the names of the new columns; "unknown" and "missing", the slot
        of other values and of missing ones, or "error".
    """

    kind = "one_hot"

    def checked(self, categories, slots, labels, unknown, missing):
        labels = [str(label) for label in _list(self.kind, "labels", labels)]
        _list(self.kind, "slots", slots, len(_list(self.kind, "categories", categories)))
        for slot in (*slots, *(s for s in (unknown, missing) if s != "error")):
            if slot != _NOWHERE:
                _index(self.kind, "slots", slot, len(labels))
        return {
            "categories": categories, "slots": slots, "labels": labels, "unknown": unknown, "missing": missing,
        }  # fmt: skip

    def __init__(self, columns):
        super().__init__(columns)
        # UNKNOWN and MISSING, being -1 and -2, find their slots at the end.
        self._slots = [
            np.array([*e["slots"], *(_NOWHERE if e[k] == "error" else e[k] for k in ("missing", "unknown"))])
            for e in self.columns
        ]

    def names(self, names):
        _list(self.kind, "columns", self.columns, len(names))
        return [made for name, e in zip(names, self.columns) for made in _joined(name, e["labels"])]

    def apply(self, columns, start):
        return [
            Hot(self._slots[i][self._places(i, column, start)], _joined(column.name, self.columns[i]["labels"]))
            for i, column in enumerate(columns)
        ]


class Ordinal(_Categories):
    """Categories as numbers.

    Parameters
    ----------
    columns : list of dict
        For each column "categories", a list of text or of numbers; "codes", the number of each; "unknown" and
        "missing", the numbers of other values and of missing ones, None for NaN, or "error".
    """

    kind = "ordinal"

    def checked(self, categories, codes, unknown, missing):
        _list(self.kind, "codes", codes, len(_list(self.kind, "categories", categories)))
        for code in (*codes, *(c for c in (unknown, missing) if c != "error")):
            _number(self.kind, "codes", code, missing=True)
        return {"categories": categories, "codes": codes, "unknown": unknown, "missing": missing}

    def __init__(self, columns):
        super().__init__(columns)
        self._codes = [
            np.array([np.nan if c is None or c == "error" else c
                      for c in (*e["codes"], e["missing"], e["unknown"])], np.float64)
            for e in self.columns
        ]  # fmt: skip

    def names(self, names):
        _list(self.kind, "columns", self.columns, len(names))
        return names

    def apply(self, columns, start):
        return [
            Column(self._codes[i][self._places(i, column, start)], column.name)
            for i, column in enumerate(columns)
        ]


class Union:
    """Parts side by side, each of some of the columns.

    Parameters
    ----------
    parts : list of dict
        "take", the columns by index; "steps", the steps, each {"kind": ..., **what it is made of}; "prefix", what
        stands before the names of the part's features, by default nothing.
    """

    kind = "union"

    def __init__(self, parts, depth=0):
        self.parts = []
        for part in _list(self.kind, "parts", parts):
            if not isinstance(part, dict) or not {"take", "steps"} <= set(part) <= {"take", "steps", "prefix"}:
                raise ArgumentTypeError(
                    f"union: a part is a dict of 'take', 'steps' and 'prefix', got {part!r:.80}"
                )
            prefix = part.get("prefix", "")
            if not isinstance(prefix, str):
                raise ArgumentTypeError(f"union: prefix must be text, got {prefix!r:.80}")
            take = _list(self.kind, "take", part["take"])
            for i in take:
                _index(self.kind, "take", i, MAX_COLUMNS)
            self.parts.append((take, Steps(part["steps"], depth + 1), prefix))

    def get_config(self):
        return {
            "parts": [
                {"take": take, "steps": steps.get_config(), "prefix": prefix}
                for take, steps, prefix in self.parts
            ]
        }

    def names(self, names):
        made = []
        for take, steps, prefix in self.parts:
            for i in take:
                _index(self.kind, "take", i, len(names))
            part = steps.names([names[i] for i in take])
            if len(prefix) * len(part) > _MAX_TEXT:
                raise ArgumentError("union: prefix is too long")
            made += [prefix + name for name in part]
            check_size(made)
        return made

    def apply(self, columns, start):
        return [
            made for take, steps, _ in self.parts for made in steps.apply([columns[i] for i in take], start)
        ]

    def read(self):
        """The columns that it reads."""
        return sorted({i for take, _, _ in self.parts for i in take})


def check_size(names):
    """Raises where a step gives too much."""
    if len(names) > MAX_COLUMNS or sum(map(len, names)) > _MAX_TEXT:
        raise ArgumentError(f"the steps give {len(names)} features, at most {MAX_COLUMNS} are possible")


KINDS = {cls.kind: cls for cls in (Impute, Standardize, Affine, Seconds, OneHot, Ordinal, Union)}


class Steps:
    """Steps one after the other.

    Parameters
    ----------
    described : list of dict
        {"kind": name, **arguments} of each.
    """

    def __init__(self, described, depth=0):
        if depth > _MAX_DEPTH:
            raise ArgumentError(f"steps lie at most {_MAX_DEPTH} deep within each other")
        self.steps = []
        for entry in _list("features", "steps", described):
            if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
                raise ArgumentTypeError(f"a step is a dict with a 'kind', got {entry!r:.80}")
            arguments = dict(entry)
            kind = arguments.pop("kind")
            if kind not in KINDS:
                raise UnknownNameError.among("kind of step", kind, KINDS)
            if kind == Union.kind:
                arguments["depth"] = depth
            self.steps.append(_made(kind, KINDS[kind], arguments))

    def get_config(self):
        return [{"kind": step.kind, **step.get_config()} for step in self.steps]

    def names(self, names):
        for step in self.steps:
            names = step.names(names)
            check_size(names)
        return names

    def apply(self, columns, start):
        """What the steps make of columns; `start` is the row that errors call the first."""
        for step in self.steps:
            columns = step.apply(_expanded(columns), start)
        return columns
