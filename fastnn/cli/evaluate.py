"""`fastnn evaluate`: how well a saved model predicts a table whose target is known."""

import numpy as np

from ..errors import UnknownNameError
from . import tables


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "evaluate",
        help="compare a saved model's predictions with a table's target",
        description="Prints how well a model predicts a column of a table.",
        epilog="example: fastnn evaluate houses.fnn sold.csv --target price",
    )
    parser.add_argument("model", help="a file that fastnn wrote")
    parser.add_argument("data", help="the table (CSV, TSV, Parquet, npy, npz); - is CSV on standard input")
    parser.add_argument("--target", metavar="COLUMN", required=True, help="the column that is predicted")
    tables.add_to(parser)
    parser.set_defaults(run=run)


def run(options):
    from . import report
    from .saved import Saved

    saved = Saved(options.model)
    with tables.opened(options) as table:
        tables.check_known("--target", [options.target], table)
        true, kept = _truth(saved, table, options.target)
        saved.prepare(table, options.target)
        made = np.concatenate([made[kept[first - 1 : first - 1 + len(made)]] for first, made in saved.predictions(table)])
    left_out = len(kept) - len(true)
    print(f"{len(true):,} rows of {table.label}" + (f"; {left_out:,} without a value left out" if left_out else "") + "\n")
    if saved.classes is not None:
        lines = report.classification(saved.classes, true, made, np.bincount(true, minlength=len(saved.classes)))
    else:
        lines = report.regression(true, made[:, 0], true.mean())
    print("\n".join(lines))


def _truth(saved, table, name):
    """What the model should say, and where the table has it."""
    from . import target as targets

    if saved.classes is None:
        table.learn([name], ())
        target = targets.read(table, name, "regression")
        return target.values, target.kept
    table.learn((), [name])
    target = targets.read(table, name, "classification")
    known = {label: i for i, label in enumerate(saved.classes)}
    for label in target.classes:
        if label not in known:
            raise UnknownNameError.among(f"class in column {name!r} of {table.label}:", label, saved.classes)
    return np.array([known[label] for label in target.classes])[target.values], target.kept
