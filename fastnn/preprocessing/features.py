"""Features: how the columns of a table become the numbers that a network reads."""

import numpy as np

from ..arguments import check_float_dtype
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from .steps import Column, Hot, Steps, Union, check_size
from .tables import numbers, table_of

_CHUNK_VALUES = 1 << 20  # numbers that are worked on at a time
_MAX_CHUNK = 1 << 16  # rows, where they are short


class Features:
    """The columns of a table as the numbers that a network reads, described by plain data.

    `Features.fit` finds them for a table; `Features.from_sklearn` takes them from fitted transformers. A model
    whose `features` are set takes the raw table in `fit`, `predict` and `freeze()`, and its file holds them.

    Parameters
    ----------
    columns : list of str, or int
        Names of the columns that a table has, or their number where they go by position.
    steps : list of dict
        What is done to them, as `get_config` returns it.

    Attributes
    ----------
    names_in : list of str
        Names of the columns, in order; "x0", "x1", ... where they go by position.
    names_out : list of str
        Names of the features.
    size : int
        Number of features.
    """

    def __init__(self, columns, steps):
        self.named = isinstance(columns, (list, tuple))
        if self.named:
            if not all(isinstance(name, str) for name in columns):
                raise ArgumentTypeError(f"Features: columns must be names, got {list(columns)!r:.80}")
            self.names_in = list(columns)
            if len(set(columns)) != len(columns):
                raise ArgumentError("Features: columns must have distinct names")
        else:
            if type(columns) is not int or not 0 < columns <= 1 << 20:
                raise ArgumentTypeError(
                    f"Features: columns must be a list of names or their number, got {columns!r:.80}"
                )
            self.names_in = [f"x{i}" for i in range(columns)]
        check_size(self.names_in)
        self._steps = Steps(steps)
        self.names_out = list(self._steps.names(self.names_in))
        self.size = len(self.names_out)
        if not self.size:
            raise ArgumentError("Features: the steps leave no features")
        first = self._steps.steps[0] if self._steps.steps else None
        self._read = first.read() if isinstance(first, Union) else list(range(len(self.names_in)))

    # -- making --

    @classmethod
    def fit(cls, table, kinds=None, *, max_categories=100):
        """The features of a table, found by looking at it.

        Parameters
        ----------
        table : data frame, dict of columns, array of shape (n, columns), or an iterable of such
            An iterable is read once, one table at a time: they are rows of one large table.
        kinds : dict of str to {"number", "category", "drop"}, optional
            What columns are, by name, in place of the guess.
        max_categories : int, default 100
            At most so many categories of a column, the most frequent ones, get features of their own.

        Returns
        -------
        Features

        Raises
        ------
        DtypeError
            For a column of dates, or of values of several kinds.
        DataError
            For an infinite number.
        ArgumentError
            If there are no rows, or no column is left.

        Notes
        -----
        A column of numbers is standardised: (x - mean) / deviation, where mean and deviation are those of the
        values that are there. Missing ones are replaced by the median, and another feature says where they were,
        if any were missing here.

        A column of text, categories or truth values becomes one feature for each category, by frequency, 1
        where the row has it and 0 elsewhere; one for all other values, "other"; and one for missing values, if
        any were missing here ("other" has them else).

        Columns that are constant or all missing are left out. Dates are refused by default: take the parts that
        matter as numbers, or name the column a "number" to have its seconds since 1970.

        The median is exact for a table. Over an iterable it is exact for up to 131,072 values of a column, and
        beyond that the median of so many drawn evenly from all: then half of the values lie below it to within
        some 0.3 %.

        Examples
        --------
        >>> from fastnn.preprocessing import Features
        >>> table = {"age": [31, None, 54, 47], "city": ["Bern", "Oslo", None, "Bern"]}
        >>> features = Features.fit(table)
        >>> features.names_out
        ['age', 'missingindicator_age', 'city_Bern', 'city_Oslo', 'city_other', 'city_missing']
        >>> features.transform({"city": ["Rome"], "age": [47]}).astype(float).round(2).tolist()
        [[0.31, 0.0, 0.0, 0.0, 1.0, 0.0]]
        """
        from .fitting import fit

        return fit(cls, table, kinds, max_categories)

    @classmethod
    def from_sklearn(cls, fitted):
        """The same features as a fitted transformer of scikit-learn gives, as plain data.

        Parameters
        ----------
        fitted : object
            A StandardScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, SimpleImputer, or a ColumnTransformer
            or Pipeline of these.

        Returns
        -------
        Features

        Raises
        ------
        ArgumentTypeError
            For any other class.
        NotFittedError
            If it is not fitted.
        ArgumentError
            For what plain data cannot say, such as a column chosen by a function of its own.
        """
        from .from_sklearn import convert

        return convert(cls, fitted)

    def get_config(self):
        """The features as a dict that JSON can hold; see `from_config`."""
        return {
            "columns": self.names_in if self.named else len(self.names_in),
            "steps": self._steps.get_config(),
        }

    @classmethod
    def from_config(cls, config):
        """The features that `get_config` described."""
        if not isinstance(config, dict) or set(config) != {"columns", "steps"}:
            raise ArgumentTypeError(
                f"Features are described by a dict of 'columns' and 'steps', got {config!r:.80}"
            )
        return cls(**config)

    # -- use --

    def transform(self, table, dtype="float32"):
        """The features of a table's rows.

        Parameters
        ----------
        table : data frame, dict of columns, or array_like of shape (n, columns)
            Columns are found by name, in any order, and others are left alone; those of an array by position.
        dtype : {"float32", "float64"}, default "float32"
            Of the result; in between all is float64.

        Returns
        -------
        ndarray, shape (n, size)

        Raises
        ------
        ArgumentError
            If columns are missing.
        DtypeError
            If a column holds values of another kind than it was fitted on; the message names the first.
        DataError
            If a number is infinite, or a category unknown where that was to be an error.
        """
        dtype = check_float_dtype("Features.transform", dtype)
        table = table_of(table)
        where = self._positions(table)
        made = np.empty((table.rows, self.size), dtype)
        length = max(1, min(_MAX_CHUNK, _CHUNK_VALUES // max(self.size, len(where))))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, table.rows, length):
                part = table.part(start, start + length)
                columns = [None] * len(self.names_in)
                for i, at in where.items():
                    columns[i] = Column(part.column(at), self.names_in[i])
                self._write(made[start : start + part.rows], self._steps.apply(columns, start), start)
        return made

    @staticmethod
    def _write(out, columns, start):
        at = 0
        for column in columns:
            if isinstance(column, Hot):
                width = len(column.names)
                out[:, at : at + width] = 0
                rows = np.flatnonzero(column.slots >= 0)
                out[rows, at + column.slots[rows]] = 1
            else:
                width = 1
                out[:, at] = numbers(*column, start)
            at += width

    def _positions(self, table):
        """Where in a table each column stands that is read."""
        if table.names is None or not self.named:
            if table.width != len(self.names_in):
                raise ShapeError(
                    f"the features are of {len(self.names_in)} columns, {_listed(self.names_in)}, got a table of "
                    f"{table.width}; pass the columns by name"
                )
            return {i: i for i in self._read}
        found = {name: i for i, name in enumerate(table.names)}
        missing = [self.names_in[i] for i in self._read if self.names_in[i] not in found]
        if missing:
            raise ArgumentError(
                f"the table lacks the columns {_listed(missing)}; it has {_listed(table.names)}"
            )
        return {i: found[self.names_in[i]] for i in self._read}

    def __repr__(self):
        return f"<Features: {len(self.names_in)} columns -> {self.size} features>"


def _listed(names, limit=12):
    shown = ", ".join(map(repr, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
