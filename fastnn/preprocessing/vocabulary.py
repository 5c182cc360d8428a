"""Vocabularies: the values that a column of categories may have, how often they come, and where each stands."""

from collections import Counter

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, DtypeError
from .tables import is_missing, missing_in, numbers

UNKNOWN, MISSING = -1, -2
_INT64 = range(-(1 << 63), 1 << 63)


class _WrongType(Exception):
    pass


class _Positions(dict):
    """Positions of texts; what is no text is missing or wrong."""

    def __missing__(self, value):
        if isinstance(value, str):
            return UNKNOWN
        if is_missing(value):
            return MISSING
        raise _WrongType


class Counts:
    """How often each value of a column occurs, all text or all numbers.

    Parameters
    ----------
    text : bool
    most : int, optional
        More distinct values are not counted at a time: the rarer half of them is then forgotten.
    """

    def __init__(self, text, most=None):
        self.text, self.most, self.missing = text, most, 0
        self.counts = Counter()

    def add(self, values, *_):
        """Count the values of a column, as `tables` gives it."""
        if values.dtype.kind == "O":
            found = Counter(values.tolist())
            for value in [v for v in found if not isinstance(v, str) and is_missing(v)]:
                self.missing += found.pop(value)
        else:
            absent = missing_in(values)
            self.missing += int(absent.sum())
            distinct, counts = np.unique(values[~absent], return_counts=True)
            found = dict(zip(distinct.tolist(), counts.tolist()))
        self.counts.update(found)
        if self.most is not None and len(self.counts) > self.most:
            self.counts = Counter(dict(self.counts.most_common(self.most // 2)))

    def most_frequent(self, limit=None, ties_down=False):
        """Up to `limit` values, the most frequent first, equal ones in their order or, for `ties_down`, against it."""
        values = sorted(self.counts, reverse=ties_down)
        values = sorted(values, key=lambda v: -self.counts[v])[:limit]
        if self.text:
            return list(map(str, values))
        if all(isinstance(v, (bool, np.bool_)) for v in values):
            return list(map(bool, values))
        whole = all(int(v) == v for v in values)  # integers are floats where some are missing
        return [int(v) if whole else float(v) for v in values]


class Vocabulary:
    """Distinct values, all text or all numbers (truth values count as numbers).

    Parameters
    ----------
    values : list of str, or of int, float or bool

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If they are mixed, repeated or not finite.
    """

    def __init__(self, values):
        self.values = list(values)
        self.text = all(isinstance(v, str) for v in self.values)
        if self.text:
            self._positions = _Positions((str(v), i) for i, v in enumerate(self.values))
            distinct = len(self._positions)
        else:
            for v in self.values:
                if not isinstance(v, (int, float, np.integer, np.floating, np.bool_)) or is_missing(v):
                    raise ArgumentTypeError(f"a vocabulary is all text or all numbers, got {v!r:.80}")
            whole = all(isinstance(v, (int, np.integer, np.bool_)) and int(v) in _INT64 for v in self.values)
            array = np.array(self.values, np.int64 if whole else np.float64)
            if not np.isfinite(array).all():
                raise ArgumentError("a vocabulary needs finite numbers, got an infinite one")
            self._order = np.argsort(array, kind="stable")
            self._sorted = array[self._order]
            distinct = len(array) and 1 + int(np.count_nonzero(self._sorted[1:] != self._sorted[:-1]))
        if distinct != len(self.values):
            raise ArgumentError(f"a vocabulary needs distinct values, got {len(self.values) - distinct} twice")

    def __len__(self):
        return len(self.values)

    def find(self, column, name, start=0):
        """Where each value of a column stands: UNKNOWN and MISSING are below 0.

        Parameters
        ----------
        column : ndarray, shape (n,)
            As `tables` gives it.
        name : str
            Of the column, for errors.
        start : int, default 0
            Its first row, for errors.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        DtypeError
            Where numbers meet a vocabulary of text, or text one of numbers; an empty one is of either kind.
        """
        if not self.values:
            return np.where(missing_in(column), MISSING, UNKNOWN)
        return self._find_text(column, name, start) if self.text else self._find_numbers(column, name, start)

    def _find_text(self, column, name, start):
        if column.dtype.kind == "O":
            try:
                return np.fromiter(map(self._positions.__getitem__, column.tolist()), np.int64, len(column))
            except (_WrongType, TypeError):  # TypeError: it has no hash, as a list
                pass
        elif missing_in(column).all():
            return np.full(len(column), MISSING)
        row, value = next(
            (i, v) for i, v in enumerate(column.tolist()) if not isinstance(v, str) and not is_missing(v)
        )
        raise DtypeError(
            f"column {name!r} needs text, got {value!r:.80} of type {type(value).__name__} in row "
            f"{start + row}; convert the column with .astype(str)"
        )

    def _find_numbers(self, column, name, start):
        if column.dtype.kind in "iub" and column.dtype != np.uint64:
            column, missing = column.astype(np.int64, copy=False), None
        else:
            column = numbers(column, name, start)
            missing = np.isnan(column)
        at = np.searchsorted(self._sorted, column)
        at[at == len(self._sorted)] = 0
        found = np.where(self._sorted[at] == column, self._order[at], UNKNOWN)
        if missing is not None:
            found[missing] = MISSING
        return found
