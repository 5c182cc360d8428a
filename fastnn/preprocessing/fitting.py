"""Features of a table found by looking at it: what its columns are, and what becomes of their values."""

from itertools import chain

import numpy as np

from ..arguments import check_int
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, UnknownNameError
from .tables import is_frame, is_series, kind_of, missing_in, numbers, seconds, table_of
from .vocabulary import Counts

_SAMPLE = 1 << 17  # values of a column that the median over an iterable is found from
_CHUNK = 1 << 16  # rows looked at in one go
_MOST = 1 << 20  # distinct categories that are counted at a time

_KINDS = ("number", "category", "drop")


class _Numbers:
    """Moments of a column, and a sample of it for the median."""

    def __init__(self, dates, sampled):
        self.dates, self.sampled = dates, sampled
        self.count = self.missing = 0
        self.mean = self.squares = 0.0
        self.low, self.high = np.inf, -np.inf
        self.sample, self._random = np.empty(0), np.random.default_rng(0)

    def add(self, values, name, start):
        x = seconds(values, name, start) if self.dates else numbers(values, name, start)
        absent = np.isnan(x)
        x = x[~absent]
        self.missing += int(absent.sum())
        if not len(x):
            return
        if self.sampled:
            self._draw(x)
        # Chan et al., 1983
        mean, n = x.mean(), len(x)
        step, total = mean - self.mean, self.count + n
        self.squares += ((x - mean) ** 2).sum() + step * step * (self.count * n / total)
        self.mean += step * (n / total)
        self.count = total
        self.low, self.high = min(self.low, x.min()), max(self.high, x.max())

    def _draw(self, x):
        """Vitter's algorithm R, 1985: each value seen so far stands in the sample with the same probability."""
        room = _SAMPLE - len(self.sample)
        first, x = x[:room], x[room:]
        self.sample = np.concatenate([self.sample, first])
        if len(x):
            seen = self.count + len(first) + np.arange(1, len(x) + 1)
            at = (self._random.random(len(x)) * seen).astype(np.int64)
            kept = at < _SAMPLE
            self.sample[at[kept]] = x[kept]

    @property
    def constant(self):
        return not self.low < self.high

    @property
    def scale(self):
        return float(np.sqrt(self.squares / self.count)) or 1.0


def _tables(given):
    """(tables, whether they come one after the other)."""
    plain = isinstance(given, (dict, np.ndarray)) or is_frame(given) or hasattr(given, "__array__")
    if plain or hasattr(given, "__dlpack__"):
        return [table_of(given)], False
    if isinstance(given, str) or not hasattr(given, "__iter__") or is_series(given):
        raise ArgumentTypeError(
            f"Features.fit needs a data frame, a dict of columns, rows of shape (n, columns) or an iterable of "
            f"such, got {type(given).__name__}"
        )
    if isinstance(given, (list, tuple)) and given and isinstance(given[0], (list, tuple)):
        return [table_of(given)], False
    return (table_of(part) for part in given), True


def fit(cls, given, kinds, max_categories):
    """See `Features.fit`."""
    max_categories = check_int("Features.fit", "max_categories", max_categories, 1)
    tables, sampled = _tables(given)
    tables = iter(tables)
    first = next(tables, None)
    if first is None:
        raise ArgumentError("Features.fit needs at least one table, got an empty iterable")
    names = first.names or [f"x{i}" for i in range(first.width)]
    kinds = _checked_kinds(kinds, names)
    seen = [None] * len(names)  # what is gathered of each column; None until it has a value
    missing = [0] * len(names)
    start = 0
    for table in chain([first], tables):
        where = _where(table, first, names, start)
        for begin in range(0, table.rows, _CHUNK):
            part = table.part(begin, begin + _CHUNK)
            for i, name in enumerate(names):
                if kinds.get(name) == "drop":
                    continue
                values = part.column(where[i])
                if seen[i] is None:
                    seen[i] = _begin(values, name, start + begin, kinds.get(name), sampled)
                if seen[i] is None:
                    missing[i] += part.rows
                else:
                    _check_kind(seen[i], values, name, start + begin)
                    seen[i].add(values, name, start + begin)
        start += table.rows
    if not start:
        raise ArgumentError("Features.fit needs at least one row, got an empty table")
    found = {}
    for i, column in enumerate(seen):
        if column is not None:
            column.missing += missing[i]
            found[i] = column
    return cls(names if first.names is not None else len(names), _steps(first, names, found, max_categories))


def _checked_kinds(kinds, names):
    if kinds is not None and not isinstance(kinds, dict):
        raise ArgumentTypeError(
            f"Features.fit: kinds must be a dict of column to kind, got {type(kinds).__name__}; "
            "for example {'zip': 'category'}"
        )
    for name, kind in (kinds or {}).items():
        if name not in names:
            raise UnknownNameError.among("column in kinds", name, names)
        if kind not in _KINDS:
            raise UnknownNameError.among(f"kind of column {name!r}", kind, _KINDS)
    return kinds or {}


def _where(table, first, names, start):
    """Where each column stands in a table."""
    if first.names is None or table.names is None:
        if table.width != len(names):
            raise ArgumentError(
                f"Features.fit: the table that begins with row {start} has {table.width} columns, the first has "
                f"{len(names)}"
            )
        return range(len(names))
    found = {name: i for i, name in enumerate(table.names)}
    lacking = [name for name in names if name not in found]
    if lacking:
        raise ArgumentError(f"Features.fit: the table that begins with row {start} lacks the columns {lacking}")
    return [found[name] for name in names]


def _begin(values, name, start, asked, sampled):
    kind = kind_of(values, name, start)
    if kind is None:
        return None
    if kind == "date" and asked != "number":
        at = int(np.flatnonzero(~missing_in(values))[0])
        raise DtypeError(
            f"column {name!r} holds dates, got {values[at]} in row {start + at}; pass what matters as numbers, "
            f"such as month or age, or kinds={{{name!r}: 'number'}} for seconds since 1970, or 'drop'"
        )
    if asked == "category" or (asked is None and kind in ("text", "bool")):
        return Counts(kind == "text", _MOST)
    return _Numbers(kind == "date", sampled)


def _check_kind(column, values, name, start):
    """Raises where text comes after numbers, or numbers after text."""
    if not isinstance(column, Counts):
        return  # `numbers` and `seconds` say so themselves
    kind = kind_of(values, name, start)
    if kind is not None and (kind == "text") != column.text:
        held = "text" if column.text else "numbers"
        raise DtypeError(
            f"column {name!r} held {held} above row {start}, got {kind} there; convert the whole column, for "
            "example with .astype(str)"
        )


def _steps(table, names, found, max_categories):
    """The steps for what was found; `table` is asked for exact medians where it is the only one."""
    numeric, dates, categories = [], [], []
    for i, column in found.items():
        if isinstance(column, Counts):
            if len(column.counts) > 1 or column.missing:
                categories.append(i)
        elif not column.constant or column.missing:
            (dates if column.dates else numeric).append(i)
    parts = []
    for take, before in ((numeric, []), (dates, [{"kind": "seconds"}])):
        if take:
            columns = [(found[i], _median(table, i, names[i], found[i])) for i in take]
            parts.append({"take": take, "steps": [*before, *_number_steps(columns)]})
    if categories:
        columns = [_one_hot(found[i], max_categories) for i in categories]
        parts.append({"take": categories, "steps": [{"kind": "one_hot", "columns": columns}]})
    if not parts:
        raise ArgumentError(
            f"Features.fit found nothing to learn from in the columns {names}: all are constant, empty or dropped"
        )
    return [{"kind": "union", "parts": parts}]


def _median(table, i, name, column):
    if column.constant or not column.missing:
        return column.mean  # which nothing is asked for, or only where nothing was missing
    if column.sampled:
        return float(np.median(column.sample))
    values = table.column(i)
    x = seconds(values, name) if column.dates else numbers(values, name)
    return float(np.nanmedian(x))


def _number_steps(columns):
    """Median, indicator, standardisation. Constant columns leave their indicator alone."""
    kept = [(column, median) for column, median in columns if not column.constant]
    flagged = [i for i, (column, _) in enumerate(columns) if column.missing]
    fill = [None if column.constant else float(median) for column, median in columns]
    steps = [{"kind": "impute", "fill": fill, "indicators": flagged, "missing": None}]
    mean = [float(column.mean) for column, _ in kept] + [0.0] * len(flagged)
    scale = [column.scale for column, _ in kept] + [1.0] * len(flagged)
    return [*steps, {"kind": "standardize", "mean": mean, "scale": scale}]


def _one_hot(column, limit):
    values = column.most_frequent(limit)
    labels = [*map(str, values), "other", *(["missing"] if column.missing else [])]
    other = len(values)
    return {
        "categories": values,
        "slots": list(range(len(values))),
        "labels": labels,
        "unknown": other,
        "missing": other + 1 if column.missing else other,
    }
