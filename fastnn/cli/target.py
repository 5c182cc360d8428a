"""The column that a network shall predict: classes or numbers, and which rows are held out."""

from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError
from ..preprocessing.tables import kind_of, missing_in, numbers, read_series

FEW = 20  # distinct whole numbers are classes, more are quantities
_MOST_CLASSES = 1000


@dataclass
class Target:
    """Values of the target in the rows that have one.

    Attributes
    ----------
    name : str
    task : {"classification", "regression"}
    classes : list of str or None
    values : ndarray, shape (n,)
        int32 indices of classes, or float64.
    kept : ndarray of bool, shape (rows,)
        Where the table has a value.
    reason : str
        Why it is taken for this task.
    """

    name: str
    task: str
    classes: list
    values: np.ndarray = field(repr=False)
    kept: np.ndarray = field(repr=False)
    reason: str

    @property
    def left_out(self):
        """Rows without a value."""
        return len(self.kept) - len(self.values)


def column_of(part, name):
    """A column of a part as numbers, truth values, dates or objects."""
    return part[name] if isinstance(part[name], np.ndarray) else read_series(part[name], name)


class _Labels(dict):
    """Texts in the order in which they came."""

    def __missing__(self, label):
        self[label] = len(self)
        return self[label]


def read(table, name, task=None):
    """The target in the column `name` of a table; `task` overrules the guess."""
    pieces, kept, labels, kind = [], [], _Labels(), None
    for first, part in table.parts([name]):
        values = column_of(part, name)
        there = ~missing_in(values)
        held = kind_of(values, name, first)
        if held == "date":
            raise DataError(
                f"{table.label}, column {name!r} holds dates, which cannot be learned; make numbers of them"
            )
        if held is not None and kind not in (None, held) and "text" in (kind, held):
            raise DataError(f"{table.label}, column {name!r} holds {kind} above row {first} and {held} there")
        kind = held or kind
        values = values[there]
        kept.append(there)
        if held == "text":
            pieces.append(np.fromiter(map(labels.__getitem__, values.tolist()), np.int64, len(values)))
        elif held is not None:
            pieces.append(numbers(values, name, first))
    if not pieces:
        raise DataError(f"{table.label}, column {name!r} has no values: nothing to learn")
    values, kept = np.concatenate(pieces), np.concatenate(kept) if kept else np.empty(0, bool)
    if kind == "text":
        order = sorted(labels)
        rank = np.empty(len(order), np.int32)
        rank[[labels[label] for label in order]] = np.arange(len(order))
        return _classes(table, name, order, rank[values], kept, "it holds text", task)
    return _numbers(table, name, values, kept, kind, task)


def _numbers(table, name, values, kept, kind, task):
    distinct, codes = np.unique(values, return_inverse=True)
    whole = bool((distinct == np.floor(distinct)).all())
    few = len(distinct) <= min(FEW, max(2, len(values) // 10))
    if task == "classification" or (task is None and (kind == "bool" or (whole and few))):
        if kind == "bool":
            reason, labels = "it holds true and false", [str(bool(v)) for v in distinct]
        else:
            labels = [f"{v:.0f}" if whole else repr(float(v)) for v in distinct]
            reason = f"it holds {len(distinct)} distinct {'whole ' if whole else ''}numbers"
        return _classes(table, name, labels, codes.astype(np.int32), kept, reason, task)
    if len(distinct) < 2:
        raise DataError(f"{table.label}, column {name!r} holds only {distinct[0]:g}: nothing to learn")
    what = "whole numbers" if whole else "numbers with fractions"
    reason = f"it holds {len(distinct):,} distinct {what}"
    return Target(name, "regression", None, values, kept, reason)


def _classes(table, name, labels, codes, kept, reason, task):
    if task == "regression":
        raise DataError(f"{table.label}, column {name!r} holds text such as {labels[0]!r:.60}, no numbers to regress on")
    if len(labels) < 2:
        raise DataError(f"{table.label}, column {name!r} holds only {labels[0]!r:.60}: nothing to learn")
    if len(labels) > min(_MOST_CLASSES, len(codes) // 2):
        raise DataError(
            f"{table.label}, column {name!r} holds {len(labels):,} distinct values in {len(codes):,} rows, too many for "
            "classes; pass another --target"
        )
    return Target(name, "classification", labels, codes, kept, reason)


def split(target, fraction, rng):
    """Sorted indices (training, held out) of the target's values: a random part, of each class alike."""
    count = len(target.values)
    held = np.zeros(count, bool)
    if target.task == "classification":
        order = np.lexsort((rng.random(count), target.values))
        sizes = np.bincount(target.values, minlength=len(target.classes))
        starts = np.cumsum(sizes) - sizes
        rank = np.empty(count, np.int64)
        rank[order] = np.arange(count)
        held = rank - starts[target.values] < np.round(sizes * fraction)[target.values]
    else:
        held[rng.permutation(count)[: round(count * fraction)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
