"""`fastnn train`: a network for a table of one's own."""

import contextlib
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, FileAccessError, NonFiniteLossError, UnknownNameError
from . import tables
from .arguments import CannotWriteError, check_new, fraction, natural, positive, positive_number, widths

_EPOCHS, _PATIENCE = 200, 10
_LOSSES = {
    "classification": ("sparse_categorical_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy"),
    "regression": ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh"),
}
_SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "crossentropy": "sparse_categorical_crossentropy"}
_WINDOW_BYTES = 1 << 28  # of the samples that are mixed with each other where they come from a file
_CHUNK = 1 << 16  # rows that are predicted at a time


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "train",
        help="train a network on a table (CSV, TSV, Parquet, npy, npz)",
        description="Trains a network on a table and saves it with all that it needs to read such tables.",
        epilog="example: fastnn train houses.csv --target price --hidden 64,64 --out houses.fnn",
    )
    parser.add_argument("data", help="the table; - is CSV on standard input")
    parser.add_argument("--target", metavar="COLUMN", help="what to predict (npz: y)")
    parser.add_argument("--out", metavar="FILE", help="the model (the table's name with the ending .fnn)")
    parser.add_argument("--task", choices=("classification", "regression"), help="overrules the guess")
    columns = parser.add_argument_group("columns")
    for name, what in (
        ("drop", "leave it out"), ("category", "its numbers are categories"),
        ("number", "it holds numbers, whatever it looks like; of dates their seconds"),
    ):  # fmt: skip
        columns.add_argument(f"--{name}", metavar="COLUMN", action="append", default=[], help=f"{what}; repeatable")
    tables.add_to(parser)
    net = parser.add_argument_group("network and training")
    net.add_argument("--hidden", metavar="N,N", type=widths, default=[64, 64],
                     help="sizes of the hidden layers, or none (64,64)")  # fmt: skip
    net.add_argument("--activation", metavar="NAME", default="relu", help="of the hidden layers (relu)")
    net.add_argument("--dropout", metavar="RATE", type=fraction, default=0.0, help="after each of them (0)")
    net.add_argument("--loss", metavar="NAME", help="by default the crossentropy or the mean squared error")
    net.add_argument("--optimizer", metavar="NAME", default="adam", help="(adam)")
    net.add_argument("--learning-rate", metavar="R", type=positive_number, help="(the optimizer's own)")
    net.add_argument("--batch-size", metavar="N", type=positive, help="(32 to 512, by the number of rows)")
    net.add_argument("--epochs", metavar="N", type=positive, default=_EPOCHS, help=f"at most ({_EPOCHS})")
    net.add_argument("--valid", metavar="SHARE", type=fraction, default=0.2,
                     help="of the rows is held out, to stop in time and for the report (0.2)")  # fmt: skip
    net.add_argument("--patience", metavar="N", type=natural, default=_PATIENCE,
                     help=f"epochs without a better held-out loss before it stops ({_PATIENCE})")  # fmt: skip
    net.add_argument("--max-seconds", metavar="S", type=positive_number, help="training ends after this time")
    net.add_argument("--seed", metavar="N", type=natural, default=0, help="of all that is random (0)")
    parser.set_defaults(run=run)


def run(options):
    from .. import io, set_seed
    from . import curves, prepare
    from . import target as targets

    begun = time.perf_counter()
    out = options.out or _default_name(options.data)
    check_new(out, options.data)
    io._checked_path(out)
    optimizer = _checked_settings(options)
    set_seed(options.seed)
    with tables.opened(options) as table, contextlib.ExitStack() as stack:
        name = _target_name(options, table)
        table.learn(options.number, {*options.category, *([name] if options.task == "classification" else [])})
        columns = prepare.choose(table, name, options.drop, options.category, options.number)
        target = targets.read(table, name, options.task)
        loss = _loss(options.loss, target.task)
        training, held = targets.split(target, options.valid, np.random.default_rng(options.seed))
        if not len(training) or (options.valid and not len(held)):
            raise DataError(
                f"{table.label} has {len(target.values)} rows with a target, too few to hold out {options.valid:g} of them; "
                "pass --valid 0"
            )
        _print_target(target, columns, options)
        features = prepare.fit_features(table, columns, target.kept, training)
        x, mapped = prepare.encode(table, features, target.kept, stack)
        y = _Scale(target, training)
        model = _build(options, features.size, target)
        model.compile(optimizer, loss, metrics=_metrics(target))
        print(
            f"{len(training):,} rows to train on, {len(held):,} held out; "
            f"{len(columns.names)} columns, {features.size} inputs.\n"
            f"Network {_shape(model, options)}, {model.count_params():,} parameters.",
            flush=True,
        )
        outcome = _train(model, x, y.learned(loss), (training, held), mapped, options)
        y.undo(model, loss)
        print()
        for line in curves.draw(outcome.history, outcome.best, encoding=sys.stdout.encoding):
            print(line)
        print(f"\n{outcome.text}")
        rows = held if len(held) else training
        print("\nHeld out:" if len(held) else "\nOn the rows trained on; none were held out:")
        for line in _scores(model, x, rows, target, training):
            print(line)
        model.features, model.class_names = features, target.classes
        _save(model, out)
        print(f"\nSaved to {out} after {time.perf_counter() - begun:.1f} s. Next: fastnn predict {out} {options.data}")
    return 130 if outcome.interrupted else 0


# ---- what is asked for ----


def _default_name(data):
    if data == "-":
        return "model.fnn"
    return os.path.splitext(os.path.basename(data))[0] + ".fnn"


def _checked_settings(options):
    """The optimizer; raises for names that nothing has, before anything is read."""
    from .. import activations, optimizers

    activations.get(options.activation)
    optimizer = optimizers.get(options.optimizer)
    if options.learning_rate is not None:
        optimizer.learning_rate = options.learning_rate
    if options.loss is not None:
        _loss(options.loss, options.task)
    return optimizer


def _loss(name, task):
    if name is None:
        return _LOSSES[task][0]
    name = _SHORT.get(name, name)
    known = [*_LOSSES["classification"], *_LOSSES["regression"]] if task is None else _LOSSES[task]
    if name not in known:
        raise UnknownNameError.among(f"loss for {task}" if task else "loss", name, known)
    return name


def _target_name(options, table):
    if options.target is not None:
        tables.check_known("--target", [options.target], table)
        return options.target
    if "y" in table.names and isinstance(table, tables.Arrays):
        return "y"
    raise UnknownNameError(f"--target is needed: the column of {table.label} to predict; it has {_listed(table.names)}")


def _listed(names, limit=12):
    shown = ", ".join(map(repr, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _print_target(target, columns, options):
    guess = "as asked for" if options.task else f"since {target.reason} (--task overrules)"
    print(f"Target {target.name!r}: {target.task}, {guess}.")
    for name, why in columns.left_out:
        print(f"Left out: column {name!r}, {why}.")
    if target.left_out:
        print(f"Left out: {target.left_out:,} of {len(target.kept):,} rows, without a value of {target.name!r}.")


# ---- the network ----


def _build(options, size, target):
    from .. import Input, Sequential, layers

    stack = [Input((size,))]
    for units in options.hidden:
        stack.append(layers.Dense(units, activation=options.activation))
        if options.dropout:
            stack.append(layers.Dropout(options.dropout))
    if target.classes:
        stack.append(layers.Dense(len(target.classes), activation="softmax"))
    else:
        stack.append(layers.Dense(1))
    return Sequential(stack)


def _metrics(target):
    return ["accuracy" if target.classes else "mean_absolute_error"]


def _shape(model, options):
    widths = [model.input_shape[1], *options.hidden, model.output_shape[1]]
    return "-".join(map(str, widths)) + (f" {options.activation}" if options.hidden else "")


class _Scale:
    """The target as it is learned: numbers as deviations from their mean, in units of their standard deviation."""

    def __init__(self, target, training):
        self.target = target
        if not target.classes:
            values = target.values[training]
            self.mean, self.deviation = values.mean(), values.std() or 1.0

    def learned(self, loss):
        """What the network is trained on."""
        values = self.target.values
        if not self.target.classes:
            return ((values - self.mean) / self.deviation).astype(np.float32)
        if loss.startswith("sparse"):
            return values
        return np.eye(len(self.target.classes), dtype=np.float32)[values]

    def undo(self, model, loss):
        """The last layer gives the target's own units; training can go on in them."""
        if not self.target.classes:
            kernel, bias = (p.value for p in model.layers[-1].weights)
            weights = model.get_weights()[:-2]
            model.set_weights([*weights, kernel * self.deviation, bias * self.deviation + self.mean])
            model.compile(model.optimizer, loss, metrics=_metrics(self.target))


# ---- training ----


@dataclass
class _Outcome:
    """What training did: its `history`, the `best` epoch (counted from 0) or None, `text` that says so."""

    history: dict
    best: int | None
    text: str
    interrupted: bool


class _Progress:
    """A callback: a bar of epochs on a terminal."""

    def __init__(self, epochs):
        from tqdm import tqdm

        self.bar = tqdm(total=epochs, unit="epoch", desc="training", leave=False, disable=None)

    def on_epoch_end(self, epoch, logs):
        shown = {"loss": "loss", "val_loss": "held out"}
        text = ", ".join(f"{name} {logs[key]:.4g}" for key, name in shown.items() if key in logs)
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update()


def _batch_size(count):
    """A power of two from 32 to 512: some hundred steps an epoch or more."""
    return int(min(512, max(32, 2 ** np.floor(np.log2(max(count, 1) / 100)))))


def _train(model, x, y, rows, mapped, options):
    """Trains on the first of two lists of rows, and stops by the second."""
    from ..callbacks import EarlyStopping, TerminateOnNaN

    training, held = rows
    early = EarlyStopping("val_loss" if len(held) else "loss", patience=options.patience, restore_best_weights=True)
    progress = _Progress(options.epochs)
    batch = options.batch_size or (None if model.optimizer.full_batch else _batch_size(len(training)))
    window = max(batch or 1, _WINDOW_BYTES // (4 * x.shape[1]))
    interrupted, begun = False, time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            model.fit(
                x, y, batch_size=batch, epochs=options.epochs, verbose=0, indices=rows if len(held) else None,
                callbacks=[early, TerminateOnNaN(raise_error=False), progress], shuffle=window if mapped else True,
                max_seconds=options.max_seconds,
            )  # fmt: skip
    except KeyboardInterrupt:
        interrupted = True
        early.on_train_end()
    finally:
        progress.bar.close()
    history, seconds = model.history.history, time.perf_counter() - begun
    if early.best_weights is None and caught:
        raise NonFiniteLossError(
            f"the loss became infinite or NaN in the first epoch; lower --learning-rate (it is "
            f"{model.optimizer.learning_rate:g}), or look for extreme values in the table"
        )
    best = early.best_epoch if early.best_weights is not None else None
    made = len(history["loss"])
    why = (
        "Stopped by Ctrl-C" if interrupted else "The loss became infinite or NaN" if caught
        else "No better loss" if early.stopped_epoch else "Out of time" if made < options.epochs else "All epochs made"
    )  # fmt: skip
    kept = "those of now" if best is None else f"those of epoch {best + 1}"
    text = f"{why} after {made} epoch{'s' * (made != 1)}, {seconds:.1f} s; the weights are {kept}."
    return _Outcome(history, best, text, interrupted)


def _scores(model, x, rows, target, training):
    from . import report

    made = np.concatenate([model.predict(x[rows[at : at + _CHUNK]]) for at in range(0, len(rows), _CHUNK)])
    true = target.values[rows]
    if target.classes:
        shares = np.bincount(target.values[training], minlength=len(target.classes))
        return report.classification(target.classes, true, made, shares)
    return report.regression(true, made[:, 0], target.values[training].mean())


def _save(model, out):
    """Saves the model, in the folder of temporary files if need be: training is not lost."""
    try:
        model.save(out)
    except FileAccessError as error:
        handle, rescue = tempfile.mkstemp(suffix=".fnn", prefix="fastnn-")
        os.close(handle)
        try:
            model.save(rescue)
        except FileAccessError:
            os.unlink(rescue)
            raise CannotWriteError(str(error)) from error
        raise CannotWriteError(f"{error}; the model was saved to {rescue}") from error
