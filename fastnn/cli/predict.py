"""`fastnn predict`: what a saved model says about the rows of a table."""

import csv
import io
import sys

from . import tables
from .arguments import check_new, writing


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a table with a saved model",
        description="Writes a line for each row of a table, as CSV: the class or the number that the model predicts.",
        epilog="example: fastnn predict houses.fnn new.csv --out prices.csv",
    )
    parser.add_argument("model", help="a file that fastnn wrote")
    parser.add_argument("data", help="the table (CSV, TSV, Parquet, npy, npz); - is CSV on standard input")
    parser.add_argument("--out", metavar="FILE", help="where the CSV is written (standard output)")
    parser.add_argument("--proba", action="store_true", help="the probability of each class too")
    tables.add_to(parser)
    parser.set_defaults(run=run)


def run(options):
    from .._safetensors import write_atomically
    from .saved import Saved

    if options.out is not None:
        check_new(options.out, options.data, options.model)
    saved = Saved(options.model)
    if options.proba:
        saved.needs_classes("--proba")
    with tables.opened(options) as table:
        saved.prepare(table)
        if options.out is None:
            _write(saved, table, options.proba, sys.stdout)
        else:

            def write_to(file):
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                _write(saved, table, options.proba, text)
                text.detach()

            with writing():
                write_atomically(options.out, write_to)
            print(f"{table.rows:,} predictions written to {options.out}", file=sys.stderr)


def _write(saved, table, proba, file):
    lines = csv.writer(file, lineterminator="\n")
    for first, made in saved.predictions(table):
        if first == 1:
            lines.writerow(_head(saved, made.shape[1], proba))
        if saved.classes is None:
            lines.writerows([[_text(v) for v in row] for row in made])
        else:
            labels = (saved.classes[i] for i in made.argmax(1).tolist())
            lines.writerows([label, *map(_text, row)] for label, row in zip(labels, made if proba else made[:, :0]))
    file.flush()


def _text(value):
    """The shortest text that gives the number of the model back."""
    return str(value)


def _head(saved, width, proba):
    if saved.classes is not None:
        return ["prediction", *([f"probability of {name}" for name in saved.classes] if proba else ())]
    return ["prediction"] if width == 1 else [f"prediction {i}" for i in range(width)]
