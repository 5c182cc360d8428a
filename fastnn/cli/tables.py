"""Tables in files, read a part at a time: CSV and TSV, Parquet, npy and npz.

A table has `names`, `rows` (None until known) and `parts(names)`, which yields pairs of the number of the first row, counted
from 1, and a part: a polars frame, or a dict of columns for arrays.
"""

import codecs
import contextlib
import csv
import itertools
import os
import shutil
import sys
import tempfile

import numpy as np

from ..errors import (
    ArgumentError,
    DataError,
    FileAccessError,
    FileFormatError,
    MissingExtraError,
    UnknownNameError,
)

ROWS = 20_000  # of a part
_SLICE = 1 << 17  # rows of a part of a Parquet file, whose own parts are read whole
_BLOCK = 1 << 22  # bytes of a file that are looked at together
_HEAD = 1 << 16  # bytes that show what a file is
_SEPARATORS = ",;\t|"
MISSING = ("", "?", "-", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# Dates as ISO 8601 writes them, with or without the time of day and its distance from UTC.
_DATE = r"^(\d{4}-\d\d-\d\d)(?:[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{1,9})?))?(?:Z|([+-]\d\d):?(\d\d))?)?$"
# Of the texts in a column, how many must be numbers, or dates, for the others to be mistakes and not categories.
_NUMBERS_FROM = 0.95


def add_to(parser):
    """The arguments that say how to read a table."""
    group = parser.add_argument_group("reading the table")
    group.add_argument("--separator", metavar="C", help="between the fields of a text file (found out: , ; | or tab)")
    group.add_argument("--decimal", metavar="C", choices=(".", ","), default=".", help="decimal point (.)")
    group.add_argument("--missing", metavar="TEXT", action="append", default=[],
                       help="what stands for a missing number, beside nothing, ?, -, NA, NaN, null and None; repeatable")
    group.add_argument("--no-header", action="store_true",
                       help="the text file has no names of columns: they are x0, x1 ...")


@contextlib.contextmanager
def opened(options):
    """The table that the arguments `data`, `separator`, ... of a command name; "-" is CSV on standard input."""
    text = {"separator": options.separator, "decimal": options.decimal, "missing": options.missing,
            "header": not options.no_header}  # fmt: skip
    if options.data == "-":
        # Read more than once: so it becomes a file first.
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "standard input")
            with open(path, "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            yield Text(path, "standard input", **text)
        return
    path, ending = options.data, os.path.splitext(options.data)[1].lower()
    label = f"'{path}'"
    _check_readable(path, label)
    if ending in _KINDS:
        if options.separator or options.missing or options.decimal != "." or options.no_header:
            raise ArgumentError(
                f"{label} is no text file, so that --separator, --decimal, --missing and --no-header say nothing"
            )
        yield _KINDS[ending](path, label)
    else:
        yield Text(path, label, **text)


def _check_readable(path, label):
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise FileAccessError(
            f"cannot read {label}: {error.strerror or error}; check the path", errno=error.errno, filename=path
        ) from error
    if empty:
        raise FileFormatError(f"{label} is empty; a table needs a row of names and rows of values")


def _polars(what):
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError.of(what, "polars", "data") from error
    return polars


def check_known(what, names, table):
    """Raises unless the table has all columns in `names`, which `what` asks for."""
    for name in names:
        if name not in table.names:
            raise UnknownNameError.among(f"column of {table.label} for {what}:", name, table.names)


class Table:
    """What is common to tables: `path` is read, `label` names it in errors."""

    def __init__(self, path, label):
        self.path, self.label, self.rows, self.names = path, label, None, None
        self.fixed = False  # a model says which columns are read, and as what

    def check_distinct(self):
        seen = set()
        for name in self.names:
            if name in seen:
                raise FileFormatError(f"{self.label} has two columns named {name!r}; rename one")
            seen.add(name)

    def sample(self, names):
        """The first part."""
        for _, part in self.parts(names):
            return part
        raise FileFormatError(f"{self.label} has names of columns, but no rows")

    def learn(self, numbers, categories):
        """Decides the kinds of columns from the sample, where that is not given by the file's own types."""

    def expect(self, numbers, truths, dates):
        """The kinds of columns are given, by a model that knows them."""
        self.fixed = True


# ---- text ----


class Text(Table):
    """A file of lines and separated fields."""

    def __init__(self, path, label, separator=None, decimal=".", missing=(), header=True):
        super().__init__(path, label)
        self._polars = _polars(f"reading {label}")
        self._decimal, self._missing, self._asked = decimal, [*MISSING, *missing], list(missing)
        self._numbers, self._truths, self._dates = set(), set(), set()
        first = self._read_head()
        self._separator = separator or _guess_separator(first, label, path)
        if len(self._separator) != 1 or not self._separator.isascii() or self._separator in '"\n\r':
            raise ArgumentError(f"--separator needs one character such as ';', got {self._separator!r}")
        with self._records() as records:
            first = next(records, None)
        if first is None:
            raise FileFormatError(f"{label} holds nothing but blank lines")
        self._header = header
        self.names = first if header else [f"x{i}" for i in range(len(first))]
        if header and all(map(_is_number, first)):
            raise FileFormatError(
                f"{label} has numbers in its first row, where names of columns are needed ({first[0]}, ...); "
                "write names above them, or pass --no-header"
            )
        self.check_distinct()
        # polars takes rows that are short silently, so it reads files alone that have none
        self._blocks = self._even_blocks() if len(self.names) > 1 else None

    def _read_head(self):
        with open(self.path, "rb") as file:
            head = file.read(_HEAD)
        for mark, name in ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16")):
            if head.startswith(mark):
                raise FileFormatError(
                    f"{self.label} is written in {name}, needed is UTF-8; convert it, for example with "
                    f"iconv -f {name} -t UTF-8"
                )
        if b"\0" in head:
            raise FileFormatError(
                f"{self.label} is no text (byte {head.index(0)} is 0); tables are CSV, TSV, .parquet, .npy or .npz"
            )
        return head

    def _even_blocks(self):
        """Beginning, end and number of lines of blocks of whole lines, if each has all fields; None if any has not.

        Counts separators and ends of lines outside of quotes, and looks for text that is no UTF-8. Quotes within
        fields are nothing that polars reads as the csv module does.
        """
        separators = lines = 0
        inside, last = np.uint8(0), b"\n"
        beside = np.frombuffer(f'"\r\n{self._separator}'.encode(), np.uint8)  # what may stand outside of a quote
        decoder = codecs.getincrementaldecoder("utf-8")()
        with open(self.path, "rb") as file:
            at = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
            file.seek(at)
            ends = [(at, 0)]
            while block := file.read(_BLOCK):
                try:
                    decoder.decode(block)
                except UnicodeDecodeError:
                    return None
                array = np.frombuffer(block, np.uint8)
                marks = array == ord('"')
                quoted = np.cumsum(marks, dtype=np.uint8) + inside & 1
                if marks.any() or last == b'"':
                    before = np.frombuffer(last + block[:-1], np.uint8)
                    # The first of a pair, and what follows on the second one.
                    first, after = marks & (quoted == 1), (before == ord('"')) & (quoted ^ marks == 0)
                    if not np.isin(np.concatenate([before[first], array[after]]), beside).all():
                        return None
                inside, last = quoted[-1], block[-1:]
                outside = quoted == 0
                separators += np.count_nonzero(outside & (array == ord(self._separator)))
                newlines = np.flatnonzero(outside & (array == ord("\n")))
                lines += len(newlines)
                if len(newlines):
                    ends.append((at + int(newlines[-1]) + 1, lines))
                at += len(block)
        if last != b"\n":
            lines += 1
            ends.append((at, lines))
        if inside or separators != lines * (len(self.names) - 1):
            return None
        return [(start, end, after - before) for (start, before), (end, after) in itertools.pairwise(ends)]

    @contextlib.contextmanager
    def _records(self):
        """The lines as lists of fields, blank ones left out; errors name the place."""
        with open(self.path, encoding="utf-8-sig", newline="") as file:
            yield self._checked(csv.reader(file, delimiter=self._separator, strict=True))

    def _checked(self, reader):
        count = None
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError:
                raise self._wrong_encoding() from None
            except csv.Error as error:
                raise FileFormatError(f"{self.label}, line {reader.line_num}: {error}") from None
            if not fields:
                continue
            count = count or len(fields)
            if len(fields) != count:
                more = len(fields) > count
                names = self.names or fields
                where = f"after column {names[-1] if more else names[len(fields) - 1]!r}"
                raise FileFormatError(
                    f"{self.label}, line {reader.line_num}: {len(fields)} fields, {count} are needed; it "
                    f"{'goes on' if more else 'ends'} {where}"
                )
            yield fields

    def _wrong_encoding(self):
        names = self.names
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8", "replace").strip("\ufeff\r\n")
                names = names or [field.strip('"') for field in text.split(self._separator) if text]
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    at = len(line[: error.start].decode().split(self._separator)) - 1
                    column = f", column {names[at]!r}" if at < len(names) else ""
                    return FileFormatError(
                        f"{self.label}, line {number}{column}: byte {line[error.start]:#04x} is no UTF-8; convert the "
                        "file, for example with iconv -f WINDOWS-1252 -t UTF-8"
                    )
        return FileFormatError(f"{self.label} is no UTF-8")

    def parts(self, names=None):
        names = self.names if names is None else list(names)
        first = 1
        for frame in self._frames(names):
            yield first, self._typed(frame, first)
            first += len(frame)
        if self.rows not in (None, first - 1):
            raise FileFormatError(
                f"{self.label} had {self.rows:,} rows and has {first - 1:,} now: it changed, or its quotes are not in pairs"
            )
        self.rows = first - 1

    def _frames(self, names):
        """Frames of text."""
        pl, done = self._polars, 0
        if self._blocks is not None:
            header = self._header
            with open(self.path, "rb") as file:
                for start, end, lines in self._blocks:
                    file.seek(start)
                    frame = self._parsed(file.read(end - start), names, header)
                    if frame is None or len(frame) != lines - header:
                        break
                    yield frame
                    done, header = done + len(frame), False
                else:
                    return
        chosen = [self.names.index(name) for name in names]
        with self._records() as records:
            next(itertools.islice(records, done + self._header, done + self._header), None)
            for rows in iter(lambda: list(itertools.islice(records, ROWS)), []):
                columns = list(zip(*rows))
                frame = {name: [v or None for v in columns[i]] for name, i in zip(names, chosen)}
                yield pl.DataFrame(frame, schema=dict.fromkeys(names, pl.String))

    def _parsed(self, block, names, header):
        """The frame of a block; None where polars cannot read it, as with quotes within fields."""
        chosen = sorted(map(self.names.index, names))
        try:
            frame = self._polars.read_csv(
                block, has_header=header, separator=self._separator, infer_schema=False, columns=chosen
            )
        except self._polars.exceptions.PolarsError:
            return None
        frame.columns = [self.names[i] for i in chosen]
        return frame.select(names)

    def _first(self, names):
        for frame in self._frames(names):
            if len(frame):
                return frame
        raise FileFormatError(f"{self.label} has names of columns, but no rows")

    def sample(self, names):
        return self._typed(self._first(names)[:ROWS], 1)

    # -- kinds --

    def learn(self, numbers, categories):
        """Decides from the first rows which columns hold numbers, truth values and dates.

        Parameters
        ----------
        numbers : collection of str
            Columns that are read as numbers, whatever they hold; all others are looked at.
        categories : collection of str
            Columns of which no number is wrong: they are numbers only where all texts are.
        """
        self._numbers, self._truths, self._dates = set(numbers), set(), set()
        for name, texts in self._first(self.names).to_dict().items():
            texts = texts.drop_nulls()
            known = texts.filter(~texts.str.strip_chars().is_in(self._missing))
            if not len(known):
                self._numbers.add(name)
            elif known.is_in(list(_TRUTH)).all():
                self._truths.add(name)
            elif name not in categories and self._as_dates(known).null_count() <= (1 - _NUMBERS_FROM) * len(known):
                self._dates.add(name)
                self._numbers.discard(name)
            elif name not in self._numbers:
                share = 1 - self._as_numbers(known).null_count() / len(known)
                if share == 1 or (share >= _NUMBERS_FROM and name not in categories):
                    self._numbers.add(name)
                elif self._decimal == "." and known.str.contains(r"^\s*[+-]?\d+,\d+\s*$").mean() >= _NUMBERS_FROM:
                    raise FileFormatError(
                        f"{self.label}, column {name!r} has decimal commas, as in {known[0]!r}; pass --decimal ,"
                    )

    def expect(self, numbers, truths, dates):
        super().expect(numbers, truths, dates)
        self._numbers, self._truths, self._dates = (set(kind) & set(self.names) for kind in (numbers, truths, dates))

    def _as_dates(self, texts):
        """Dates, in UTC, of texts; null where they are none."""
        pl = self._polars
        part = texts.str.strip_chars().str.extract_groups(_DATE).struct
        day = part.field("1").str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
        hours, minutes, seconds = (part.field(i).cast(pl.Float64).fill_null(0) for i in ("2", "3", "4"))
        ahead = part.field("5").cast(pl.Float64).fill_null(0)
        sign = part.field("5").str.starts_with("-").fill_null(False).cast(pl.Float64) * -2 + 1
        minutes = minutes - 60 * ahead - sign * part.field("6").cast(pl.Float64).fill_null(0)
        return day + ((3600 * hours + 60 * minutes + seconds) * 1e6).round().cast(pl.Int64).cast(pl.Duration("us"))

    def _as_numbers(self, texts):
        """Numbers of texts, null where they are none."""
        texts = texts.str.strip_chars()
        if self._decimal == ",":
            texts = texts.str.replace(",", ".", literal=True)
        return texts.cast(self._polars.Float64, strict=False)

    def _typed(self, frame, first):
        pl, columns = self._polars, []
        for name in frame.columns:
            texts = frame[name]
            if name in self._numbers:
                columns.append(self._number_column(texts, name, first))
            elif name in self._truths:
                made = texts.replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)
                wrong = made.is_null() & ~texts.fill_null("").str.strip_chars().is_in(self._missing)
                self._refuse(wrong, texts, name, first, "neither true nor false")
                columns.append(made)
            elif name in self._dates:
                made = self._as_dates(texts)
                wrong = made.is_null() & ~texts.fill_null("").str.strip_chars().is_in(self._missing)
                self._refuse(wrong, texts, name, first, "no date such as 2024-12-31")
                columns.append(made.alias(name))
        return frame.with_columns(columns)

    def _number_column(self, texts, name, first):
        if self._asked:  # a number may stand for a missing one, such as -999
            pl, missing = self._polars, texts.str.strip_chars().is_in(self._asked)
            texts = pl.select(pl.when(~missing).then(texts).alias(name)).to_series()
        made = texts.cast(self._polars.Float64, strict=False)
        if made.null_count() > texts.null_count():  # most columns need no more than that
            made = self._as_numbers(texts)
            wrong = made.is_null() & ~texts.fill_null("").str.strip_chars().is_in(self._missing)
            self._refuse(wrong, texts, name, first, "no number")
        self._refuse(made.is_infinite().fill_null(False), texts, name, first, "not finite")
        return made

    def _refuse(self, wrong, texts, name, first, what):
        at = wrong.arg_max() if wrong.any() else None
        if at is not None:
            value = f"{texts[at]!r:.60}"
            ways = f"--missing {value}" if self.fixed else f"--missing {value}, --category {name} or --drop {name}"
            raise DataError(
                f"{self.label}, row {first + at} (without the header), column {name!r}: {value} is {what}; "
                f"correct it, or pass {ways}",
                tensor=name,
                row=first + at,
            )


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _guess_separator(head, label, path):
    """The separator of which the first lines have equally many, and the most."""
    if os.path.splitext(path)[1].lower() in (".tsv", ".tab"):
        return "\t"
    lines = head.decode("utf-8", "replace").splitlines()
    lines = lines[: -1 if len(head) == _HEAD else None][:50]
    best, most = ",", (False, 0)
    for separator in _SEPARATORS:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        if counts:
            rank = (min(counts) == max(counts), counts[0])
            if counts[0] > 1 and rank > most:
                best, most = separator, rank
    return best


# ---- Parquet ----


class Parquet(Table):
    """A Parquet file."""

    def __init__(self, path, label):
        super().__init__(path, label)
        self._polars = pl = _polars(f"reading {label}")
        self._scan = pl.scan_parquet(path)
        with self._errors():
            self.schema = self._scan.collect_schema()
        self.names = self.schema.names()

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except (self._polars.exceptions.PolarsError, self._polars.exceptions.PanicException, OSError) as error:
            what = (str(error).splitlines() or [type(error).__name__])[0]
            raise FileFormatError(f"{self.label} is no sound Parquet file: {what}") from error

    def parts(self, names=None):
        names = self.names if names is None else list(names)
        with self._errors():
            self.rows = self._scan.select(self._polars.len()).collect().item()
        for start in range(0, self.rows, _SLICE):
            with self._errors():
                frame = self._scan.select(names).slice(start, _SLICE).collect()
            for name, dtype in frame.schema.items():
                if dtype.is_float():
                    self._check_finite(frame[name], name, start + 1)
            yield start + 1, frame

    def _check_finite(self, column, name, first):
        infinite = column.is_infinite().fill_null(False)
        if infinite.any():
            at = infinite.arg_max()
            raise DataError(
                f"{self.label}, row {first + at}, column {name!r}: {column[at]} is not finite; put null in its place"
                + ("" if self.fixed else f", or pass --drop {name}"),
                tensor=name,
                row=first + at,
            )


# ---- arrays ----


class Arrays(Table):
    """An npy file of rows, whose columns are x0, x1 ...; or an npz file of columns, or of rows and targets."""

    def __init__(self, path, label):
        super().__init__(path, label)
        try:
            with open(path, "rb") as file:
                zipped = file.read(2) == b"PK"
            loaded = np.load(path, mmap_mode=None if zipped else "r", allow_pickle=False)
            arrays = {name: loaded[name] for name in loaded.files} if zipped else {"x": loaded}
        except (ValueError, OSError, EOFError, KeyError, csv.Error) as error:
            raise FileFormatError(f"{label} is no sound file of arrays: {error}") from error
        except Exception as error:  # zipfile and zlib have errors of their own
            raise FileFormatError(f"{label} is damaged: {error}") from error
        self._columns = {}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise FileFormatError(f"{label} is damaged: its member {name!r} is no array")
        grids = [name for name, array in arrays.items() if array.ndim == 2 and array.shape[1] > 1]
        if len(grids) > 1:
            raise FileFormatError(
                f"{label} holds the arrays {', '.join(grids)}, all of several columns; one of them is a table"
            )
        for name, array in arrays.items():
            self._add(name, array)
        lengths = {name: len(column) for name, column in self._columns.items()}
        self.rows, self.names = next(iter(lengths.values()), 0), list(lengths)
        for name, length in lengths.items():
            if length != self.rows:
                raise FileFormatError(
                    f"{label} holds {self.rows} rows of {self.names[0]!r} and {length} of {name!r}"
                )
        if not self.rows:
            raise FileFormatError(f"{label} has no rows")

    def _add(self, name, array):
        if array.dtype.kind not in "fiubUM":
            raise FileFormatError(f"{self.label}: array {name!r} needs numbers, text or dates, got {array.dtype}")
        if array.ndim == 2 and array.shape[1] > 1:
            self._columns |= {f"x{i}": array[:, i] for i in range(array.shape[1])}
        elif array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
            self._columns[name] = array.reshape(len(array))
        else:
            raise FileFormatError(
                f"{self.label}: array {name!r} needs shape (rows,) or (rows, columns), got {array.shape}"
            )

    def parts(self, names=None):
        names = self.names if names is None else list(names)
        for at in range(0, self.rows, ROWS):
            part = {name: np.asarray(self._columns[name][at : at + ROWS]) for name in names}
            part = {name: column.astype(object) if column.dtype.kind == "U" else column for name, column in part.items()}
            for name, column in part.items():
                if column.dtype.kind == "f" and np.isinf(column).any():
                    row = at + 1 + int(np.isinf(column).argmax())
                    raise DataError(
                        f"{self.label}, row {row}, column {name!r}: {column[row - 1 - at]} is not finite; put NaN in its "
                        "place" + ("" if self.fixed else f", or pass --drop {name}"),
                        tensor=name,
                        row=row,
                    )
            yield at + 1, part


_KINDS = {".parquet": Parquet, ".pq": Parquet, ".npy": Arrays, ".npz": Arrays}
