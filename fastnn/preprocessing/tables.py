"""Tables at the boundary: data frames, dicts of columns and arrays as named columns of NumPy arrays.

A column read from a table has one dimension and is of numbers (NaN where a value is missing), truth values,
datetime64, or objects: text, numbers, and None, NaN or pandas.NA where a value is missing.
"""

import decimal

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, DataError, DtypeError, MissingExtraError, ShapeError

_NUMBERS = (int, float, np.integer, np.floating, np.bool_, decimal.Decimal)


def is_frame(x):
    """Whether `x` is a data frame: pandas, polars, pyarrow and whatever else narwhals reads."""
    return hasattr(x, "__dataframe__") or (
        (hasattr(x, "__arrow_c_stream__") or hasattr(x, "__narwhals_dataframe__"))
        and (hasattr(x, "columns") or hasattr(x, "column_names"))  # last: a lazy frame warns where it is asked
    )


def is_series(x):
    """Whether `x` is a column of a data frame."""
    return not isinstance(x, np.ndarray) and hasattr(x, "to_numpy") and not is_frame(x)


def table_of(x, what="the table"):
    """A view of a frame, dict of columns, structured or two-dimensional array as a table.

    Returns
    -------
    Frame, Columns or Grid
        With `names` (None for arrays), `width`, `rows` and `column(i, start, stop)`.
    """
    if isinstance(x, (Frame, Columns, Grid)):
        return x
    if isinstance(x, dict):
        return Columns(x, what)
    if is_frame(x):
        return Frame(x, what)
    if isinstance(x, np.ndarray) and x.dtype.names:
        return Columns({name: x[name] for name in x.dtype.names}, what)
    return Grid(x, what)


def _narwhals(what):
    try:
        import narwhals
    except ImportError:
        raise MissingExtraError.of(what, "narwhals", "data") from None
    return narwhals


class Frame:
    """A data frame."""

    def __init__(self, x, what):
        nw = _narwhals(f"{what}, a {type(x).__name__},")
        try:
            self._frame = nw.from_native(x, eager_only=True)
        except TypeError:
            raise ArgumentTypeError(
                f"{what} needs a data frame in memory, got {type(x).__module__}.{type(x).__name__}; "
                "collect it, or pass a dict of columns"
            ) from None
        except nw.exceptions.NarwhalsError as error:
            raise ArgumentError(f"{what} cannot be read as a data frame: {error}") from error
        self.names = [str(name) for name in self._frame.columns]
        self.rows, self.width = self._frame.shape
        _check_distinct(self.names, what)

    def part(self, start, stop):
        """The table of these rows."""
        made = object.__new__(Frame)
        made._frame, made.names, made.width = self._frame[start:stop], self.names, self.width
        made.rows = len(made._frame)
        return made

    def column(self, i):
        return read_series(self._frame[:, i], self.names[i])


class Columns:
    """A dict of columns."""

    def __init__(self, columns, what):
        self.names = list(columns)
        for name in self.names:
            if not isinstance(name, str):
                raise ArgumentTypeError(f"{what} needs names of columns as keys, got {name!r}")
        self._columns = {name: _array(values, name) for name, values in columns.items()}
        self.width = len(self.names)
        lengths = {name: len(values) for name, values in self._columns.items()}
        self.rows = next(iter(lengths.values()), 0)
        for name, length in lengths.items():
            if length != self.rows:
                raise ShapeError(
                    f"{what} needs columns of one length, got {self.rows} rows of {self.names[0]!r} and "
                    f"{length} of {name!r}"
                )

    def part(self, start, stop):
        """The table of these rows."""
        made = object.__new__(Columns)
        made._columns = {name: values[start:stop] for name, values in self._columns.items()}
        made.names, made.width, made.rows = self.names, self.width, max(min(stop, self.rows) - start, 0)
        return made

    def column(self, i):
        values = self._columns[self.names[i]]
        return _plain(values if isinstance(values, np.ndarray) else values[:], self.names[i])


class Grid:
    """An array of rows whose columns have no names."""

    names = None

    def __init__(self, x, what):
        if isinstance(x, np.ndarray):
            array = filled(x)
        elif isinstance(x, (list, tuple)):
            array = np.array(x, dtype=object)
        elif hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            array = np.from_dlpack(x)
        else:
            array = np.asarray(x)
        if array.ndim != 2:
            raise ShapeError(
                f"{what} needs a data frame, a dict of columns or rows of shape (n, columns), got "
                f"{type(x).__name__} of shape {array.shape}"
            )
        self._array = array
        self.rows, self.width = array.shape

    def part(self, start, stop):
        """The table of these rows."""
        return Grid(self._array[start:stop], "")

    def column(self, i):
        return _plain(self._array[:, i], f"x{i}")


def _check_distinct(names, what):
    seen = set()
    for name in names:
        if name in seen:
            raise ArgumentError(f"{what} has two columns named {name!r}; rename one")
        seen.add(name)


def _array(values, name):
    """A column of a dict as something with a length that can be sliced."""
    if is_series(values):
        return read_series(values, name)
    if isinstance(values, (list, tuple)):
        made = np.empty(len(values), object)
        made[:] = values
        return made
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise ArgumentTypeError(
            f"column {name!r} needs a sequence of values, got {values!r:.80}; for one row put it in a list"
        )
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        values = np.from_dlpack(values)
    array = np.asarray(filled(values))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ShapeError(f"column {name!r} needs shape (n,), got {array.shape}")
    return array


def filled(array):
    """`array`, with None or NaN where it is a masked array and masked."""
    if not isinstance(array, np.ma.MaskedArray):
        return array
    if array.dtype.kind == "f":
        return array.filled(np.nan)
    made = array.data.astype(object)
    made[np.ma.getmaskarray(array)] = None
    return made


def _plain(array, name):
    """A column as one of the kinds that this module gives."""
    kind = array.dtype.kind
    if kind in "fiubOM" and array.dtype.names is None:
        return array
    if kind in "UT":
        return array.astype(object)
    hints = {
        "S": "decode the bytes: .astype(str)",
        "m": "durations are numbers of some unit: divide them by numpy.timedelta64(1, 's')",
        "c": "pass real and imaginary parts as separate columns",
    }
    raise DtypeError(
        f"column {name!r} needs numbers, text or truth values, got {array.dtype}; "
        f"{hints.get(kind, 'leave it out')}"
    )


def read_series(series, name):
    """A column of a frame as one of the kinds that this module gives."""
    nw = _narwhals(f"column {name!r}, a {type(series).__name__},")
    try:
        series = nw.from_native(series, series_only=True)
    except TypeError:
        return _plain(_array(np.asarray(series), name), name)
    dtype = series.dtype
    if dtype == nw.Datetime or dtype == nw.Date:
        missing = series.is_null().to_numpy()
        stamps = series.dt.timestamp("us").fill_null(0).to_numpy().astype("int64").view("datetime64[us]")
        if missing.any():
            stamps = stamps.copy()
            stamps[missing] = np.datetime64("NaT")
        return stamps
    if dtype.is_decimal():
        series = series.cast(nw.Float64)
    elif dtype.is_temporal() or dtype.is_nested() or dtype == nw.Binary:
        hint = "give .dt.total_seconds()" if dtype == nw.Duration else "make columns of numbers or text of it"
        raise DtypeError(f"column {name!r} needs numbers, text or truth values, got {dtype}; {hint}")
    array = series.to_numpy()
    return _plain(array, name) if array.dtype != object else array


# ---- what a column holds ----


def is_missing(value):
    """Whether an object stands for a missing value: None, NaN, pandas.NA or NaT."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    if isinstance(value, decimal.Decimal):
        return value.is_nan()
    return type(value).__name__ in ("NAType", "NaTType")


def missing_in(values):
    """Where a column has no value: a mask."""
    kind = values.dtype.kind
    if kind == "f":
        return np.isnan(values)
    if kind == "M":
        return np.isnat(values)
    if kind == "O":
        return np.fromiter(map(is_missing, values.tolist()), bool, len(values))
    return np.zeros(len(values), bool)


def kind_of(values, name, start=0):
    """What a column holds: "number", "text", "bool", "date", or None where all is missing.

    Raises
    ------
    DtypeError
        Where it holds text beside numbers, or neither.
    """
    kind = values.dtype.kind
    if kind == "b":
        return "bool"
    if kind == "M":
        return None if np.isnat(values).all() else "date"
    if kind != "O":
        return None if kind == "f" and np.isnan(values).all() else "number"
    found = {}
    for cls in set(map(type, values.tolist())):
        if issubclass(cls, str):
            found["text"] = cls
        elif issubclass(cls, (bool, np.bool_)):
            found["bool"] = cls
        elif issubclass(cls, _NUMBERS):
            if not issubclass(cls, (float, np.floating)) or not all(
                is_missing(v) for v in values.tolist() if type(v) is cls
            ):
                found["number"] = cls
        elif cls is not type(None) and cls.__name__ not in ("NAType", "NaTType"):
            found[cls.__name__] = cls
    if set(found) <= {"number", "bool"}:
        return None if not found else "number" if "number" in found else "bool"
    if set(found) == {"text"}:
        return "text"
    wanted = str if "text" in found else _NUMBERS
    odd, value = next(
        (i, v) for i, v in enumerate(values.tolist()) if not isinstance(v, wanted) and not is_missing(v)
    )
    beside = " beside text" if "text" in found else ""
    raise DtypeError(
        f"column {name!r} needs values of one kind, got {value!r:.80} of type {type(value).__name__}{beside} in "
        f"row {start + odd}; convert the column, for example with .astype(str)"
    )


def numbers(values, name, start=0):
    """A column as float64, NaN where a value is missing.

    Raises
    ------
    DtypeError
        Where it holds anything else than numbers; the message names the first row.
    DataError
        Where a number is infinite.
    """
    kind = values.dtype.kind
    if kind in "fiub":
        made = values.astype(np.float64, copy=False)
    elif kind == "O":
        made = np.empty(len(values))
        for i, value in enumerate(values.tolist()):
            if isinstance(value, _NUMBERS):
                made[i] = value
            elif is_missing(value):
                made[i] = np.nan
            else:
                raise DtypeError(
                    f"column {name!r} needs numbers, got {value!r:.80} in row {start + i}; convert the column "
                    "to numbers, or fit the features with it as a category"
                )
    elif np.isnat(values).all():
        made = np.full(len(values), np.nan)
    else:
        at = int(np.flatnonzero(~np.isnat(values))[0])
        raise DtypeError(f"column {name!r} needs numbers, got the date {values[at]} in row {start + at}")
    infinite = np.isinf(made)
    if infinite.any():
        row = int(infinite.argmax())
        raise DataError(
            f"column {name!r} needs finite numbers, got {made[row]} in row {start + row}; replace it, by None "
            "or NaN where the value is unknown",
            tensor=name, row=start + row, value=float(made[row]),
        )  # fmt: skip
    return made


def seconds(values, name, start=0):
    """A column of dates as seconds since the beginning of 1970, NaN where a value is missing."""
    kind = values.dtype.kind
    if kind == "O" and kind_of(values, name, start) is None:
        return np.full(len(values), np.nan)
    if kind != "M":
        if kind == "f" and np.isnan(values).all():
            return values
        row = int(np.flatnonzero(~missing_in(values))[0]) if len(values) else 0
        raise DtypeError(
            f"column {name!r} needs dates, got {values[row]!r:.80} in row {start + row}; convert the column, for example "
            "with .astype('datetime64[us]')"
        )
    made = values.astype("datetime64[us]").astype(np.int64) / 1e6
    made[np.isnat(values)] = np.nan
    return made
