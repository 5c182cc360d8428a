"""From a table to one array of numbers: which columns are read, what they hold, and where the numbers lie."""

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, DtypeError, FastNNError
from ..preprocessing import Features
from ..preprocessing.tables import kind_of, missing_in
from . import tables
from .target import column_of

# Of the machine's memory, what the numbers of a table may take; beyond it they go to a temporary file.
_SHARE = 0.4
# Dates of which none says whether the day or the month comes first.
_DATE = re.compile(r"\s*(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./]\d{1,2}[./]\d{1,2})\b")
_IDENTIFIERS_FROM = 20  # rows from which on a column may be said to count or to name them


@dataclass
class Columns:
    """What of a table is read: `names` of columns, their `kinds` where given, and `left_out` with reasons."""

    names: list
    kinds: dict
    left_out: list


def choose(table, target, drop=(), category=(), number=()):
    """The columns that a target is predicted from."""
    for argument, given in (("--drop", drop), ("--category", category), ("--number", number)):
        tables.check_known(argument, given, table)
        if target in given:
            raise ArgumentError(f"{argument} {target} names the target, which is no input")
    both = set(category) & set(number) or set(drop) & {*category, *number}
    if both:
        raise ArgumentError(f"column {min(both)!r} is given by two of --drop, --category and --number")
    asked = {**dict.fromkeys(category, "category"), **dict.fromkeys(number, "number")}
    names, left_out = [name for name in table.names if name != target and name not in drop], []
    for name in list(names):
        why = _useless(table, name) if name not in asked else None
        if why is not None:
            names.remove(name)
            left_out.append((name, why))
    if not names:
        raise ArgumentError(f"{table.label} has no column left to predict {target!r} from")
    return Columns(names, asked, left_out)


def _useless(table, name):
    """Why a column is left out unless it is asked for; None for one that is read."""
    if name == "":
        return "it has no name, as columns have that count the rows"
    try:
        values = column_of(table.sample([name]), name)
        kind = kind_of(values, name)
    except DtypeError as error:
        return str(error).partition(f"column {name!r} ")[2].partition(";")[0] or str(error)
    if kind == "date":
        return f"it holds dates (--number {name} makes seconds of them)"
    values = values[~missing_in(values)]
    if len(values) < _IDENTIFIERS_FROM:
        return None
    if kind == "text":
        if np.mean([_DATE.match(text) is not None for text in values.tolist()]) >= 0.95:
            return (
                f"it holds dates such as {values[0]}; written as 2024-12-31, --number {name} makes seconds of them "
                f"(--category {name} keeps them as they are)"
            )
        distinct = len(set(values.tolist()))
        if distinct > len(values) / 2 and distinct > _IDENTIFIERS_FROM:
            return f"{distinct:,} distinct texts in the first {len(values):,} rows (--category {name} keeps it)"
    elif kind == "number" and (np.diff(values.astype(np.float64)) == 1).all():
        return f"it counts the rows (--number {name} keeps it)"
    return None


@contextlib.contextmanager
def blamed_on(table):
    """In this block errors about the data name the table."""
    try:
        yield
    except FastNNError as error:
        if table.label in str(error) or not error.args:
            raise
        error.args = (f"{table.label}: {error.args[0]}", *error.args[1:])
        raise


def only(part, mask):
    """The rows of a part where the mask is true."""
    if mask.all():
        return part
    if isinstance(part, dict):
        return {name: column[mask] for name, column in part.items()}
    return part.filter(mask)


def fit_features(table, columns, kept, training):
    """The features of the rows to train on, read part by part.

    Parameters
    ----------
    table : Table
    columns : Columns
    kept : ndarray of bool, shape (rows,)
        Rows that have a target.
    training : ndarray of int
        Of those, the ones to train on.
    """
    chosen = np.zeros(len(kept), bool)
    chosen[np.flatnonzero(kept)[training]] = True

    def parts():
        for first, part in table.parts(columns.names):
            mask = chosen[first - 1 : first - 1 + _rows(part)]
            if mask.any():
                yield only(part, mask)

    with blamed_on(table):
        return Features.fit(parts(), columns.kinds)


def _rows(part):
    return len(next(iter(part.values()))) if isinstance(part, dict) else len(part)


def encode(table, features, kept, stack, limit=None):
    """The numbers of all rows that have a target, as one float32 array (n, features.size).

    Parameters
    ----------
    stack : contextlib.ExitStack
        Takes away what is temporary.
    limit : int, optional
        Bytes beyond which they lie in a temporary file that is mapped; a share of the memory by default.

    Returns
    -------
    array : ndarray
    mapped : bool
    """
    shape = int(kept.sum()), features.size
    size = 4 * shape[0] * shape[1]
    mapped = size > (_memory() * _SHARE if limit is None else limit)
    if mapped:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        made = np.lib.format.open_memmap(os.path.join(folder, "x.npy"), "w+", np.float32, shape)
    else:
        made = np.empty(shape, np.float32)
    at = 0
    with blamed_on(table):
        for first, part in table.parts(features.names_in):
            part = only(part, kept[first - 1 : first - 1 + _rows(part)])
            rows = _rows(part)
            made[at : at + rows] = features.transform(part)
            at += rows
    return made, mapped


def _memory():
    """Bytes of the machine's memory; without end where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return np.inf
