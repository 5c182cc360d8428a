"""What runs beside training: names, defaults and decisions are those of Keras 3.

Hooks of an epoch cost one Python call each. A callback that has `on_train_batch_begin` or
`on_train_batch_end` makes every step an engine call of its own with its values read back, which adds 10 to
25 microseconds a step (a step of 2-8-8-1 on batches of 10 takes 2, one of 784-512-512-10 on 128 some 4000);
others leave whole epochs to the engine.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np

from .arguments import check_float, check_int
from .errors import ArgumentError, ArgumentTypeError, FileAccessError, MissingExtraError, UnknownNameError
from .schedules import LearningRateSchedule

if TYPE_CHECKING:
    from ._typing import StrPath

__all__ = [
    "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "LambdaCallback", "LearningRateScheduler",
    "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard", "TerminateOnNaN",
]  # fmt: skip


class Callback:
    """Base of callbacks: override what is needed.

    Attributes
    ----------
    model : Model or None
        The one that trains. `model.stop_training = True` ends training after the epoch, or in a batch hook
        after the batch.
    params : dict or None
        "verbose", "epochs", "steps" (batches an epoch), "batch_size", "samples"; the last three are None
        where they are not known.

    Notes
    -----
    `epoch` and `batch` count from 0. `logs` of the end of an epoch hold loss and metrics, and with `val_` in
    front those of the validation data; what a callback adds to them goes into the History. `logs` of the end
    of a batch hold the values of the epoch so far.
    """

    model = params = None

    def set_model(self, model):
        """Called first, with the model."""
        self.model = model

    def set_params(self, params):
        """Called next, with `params`."""
        self.params = params

    def get_state(self):
        """What `Checkpoint` keeps of this callback.

        Returns
        -------
        dict or None
            Of numbers, text, arrays, lists and dicts.
        """
        return None

    def set_state(self, state):
        """Takes back what `get_state` gave; called after `on_train_begin` when a run is resumed."""

    def on_train_begin(self, logs=None):
        """Before the first epoch."""

    def on_train_end(self, logs=None):
        """After the last epoch, with its logs."""

    def on_epoch_begin(self, epoch, logs=None):
        """Before an epoch; not again where a run is resumed in the midst of one."""

    def on_epoch_end(self, epoch, logs=None):
        """After an epoch and its validation."""

    def on_train_batch_begin(self, batch, logs=None):
        """Before a training step."""

    def on_train_batch_end(self, batch, logs=None):
        """After a training step."""

    def on_batch_begin(self, batch, logs=None):
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch, logs=None):
        """Another name of `on_train_batch_end`."""

    def on_test_begin(self, logs=None):
        """Before `evaluate`, and before each validation of `fit`."""

    def on_test_end(self, logs=None):
        """After it, with its values."""

    def on_test_batch_begin(self, batch, logs=None):
        """Before a batch of `evaluate` or of a validation."""

    def on_test_batch_end(self, batch, logs=None):
        """After it, with the values so far."""

    def on_predict_begin(self, logs=None):
        """Before `predict`."""

    def on_predict_end(self, logs=None):
        """After `predict`."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Before a batch of `predict`."""

    def on_predict_batch_end(self, batch, logs=None):
        """After a batch of `predict`."""


# Functions that a callback may have without doing anything in them.
EMPTY = frozenset(hook for name, hook in vars(Callback).items() if name.startswith("on_"))


class LambdaCallback(Callback):
    """Hooks given as functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end, on_train_begin, on_train_end, on_train_batch_begin, on_train_batch_end : \
callable, optional
        Called with what the method of that name gets.
    **kwargs
        Any other hook of `Callback`.
    """

    def __init__(
        self,
        on_epoch_begin=None,
        on_epoch_end=None,
        on_train_begin=None,
        on_train_end=None,
        on_train_batch_begin=None,
        on_train_batch_end=None,
        **kwargs,
    ) -> None:
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        known = [name for name in dir(Callback) if name.startswith("on_")]
        for name, hook in hooks.items():
            if name not in known:
                raise UnknownNameError.among("hook", name, known)
            if hook is None:
                continue
            if not callable(hook):
                raise ArgumentTypeError(
                    f"LambdaCallback: {name} must be callable, got {type(hook).__name__}."
                )
            setattr(self, name, hook)


# ---- callbacks that watch a value ----

# What auto mode takes for better: the ends of names, as Keras's metrics have them.
_HIGHER = (
    "accuracy", "acc", "auc", "precision", "recall", "f1_score", "fbeta_score", "r2_score",
    "cosine_similarity",
    "true_positives", "true_negatives", "precision_at_recall", "recall_at_precision",
    "sensitivity_at_specificity", "specificity_at_sensitivity",
)  # fmt: skip
_LOWER = (
    "loss", "error", "crossentropy", "hinge", "logcosh", "log_cosh", "divergence", "poisson", "mse", "mae",
    "mape", "msle", "rmse", "false_positives", "false_negatives",
)  # fmt: skip


class _Watching(Callback):
    """Remembers the best of a value, which has to get better by more than `min_delta`."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        self._owner = type(self).__name__
        if not isinstance(monitor, str):
            raise ArgumentTypeError(f"{self._owner}: monitor must be the name of a value, got {monitor!r}.")
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(f"{self._owner}: mode must be 'auto', 'min' or 'max', got {mode!r}.")
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(check_float(self._owner, "min_delta", min_delta))
        self.best = None

    def _sign(self):
        """1 where higher is better, -1 where lower is."""
        if self.mode != "auto":
            return 1 if self.mode == "max" else -1
        name = re.sub(r"_\d+$", "", self.monitor)
        for names, sign in ((_HIGHER, 1), (_LOWER, -1)):
            if any(name == end or name.endswith("_" + end) for end in names):
                return sign
        raise ArgumentError(
            f"{self._owner} cannot tell whether a higher or a lower {self.monitor!r} is better; "
            "pass mode='max' or mode='min'."
        )

    def _better(self, value, than):
        if than is None:
            return True
        sign = self._sign()
        return sign * (value - sign * self.min_delta) > sign * than

    def _value(self, logs):
        """The watched value, None with a warning where there is none."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"{self._owner} watches {self.monitor!r}, which this epoch does not have; there are "
                f"{', '.join(logs or ())}",
                RuntimeWarning,
                stacklevel=2,
            )
        return value

    # The rest is for subclasses: what of their attributes a resumed run needs.
    _kept: tuple[str, ...] = ("best",)

    def get_state(self):
        return {name: getattr(self, name) for name in self._kept}

    def set_state(self, state):
        for name in self._kept:
            setattr(self, name, state[name])


class EarlyStopping(_Watching):
    """Ends training when a value has stopped getting better.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Name of the value in the History.
    min_delta : float, default 0
        By how much a value must be better than the best so far to count.
    patience : int, default 0
        Epochs without a better value after which training ends.
    verbose : {0, 1}, default 0
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher is better; "auto" decides by the name.
    baseline : float, optional
        A value that has to be beaten too for `patience` to begin anew.
    restore_best_weights : bool, default False
        Whether the weights become those of the best epoch when training ends, however it ends.
    start_from_epoch : int, default 0
        Epochs before this one do not count.

    Attributes
    ----------
    stopped_epoch : int
        The epoch after which training was ended; 0 if it was not.
    best, best_epoch, wait
        The best value, its epoch, and the epochs since a better one.
    """

    _kept = ("best", "best_epoch", "wait", "stopped_epoch", "best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int | str = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = check_int("EarlyStopping", "patience", patience, low=0)
        self.verbose = verbose
        self.baseline = None if baseline is None else check_float("EarlyStopping", "baseline", baseline)
        self.restore_best_weights = bool(restore_best_weights)
        self.start_from_epoch = check_int("EarlyStopping", "start_from_epoch", start_from_epoch)
        self.on_train_begin()

    def on_train_begin(self, logs=None):
        self.best, self.best_epoch, self.best_weights = None, 0, None
        self.wait = self.stopped_epoch = 0

    def on_epoch_end(self, epoch, logs=None):
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self._better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.verbose and self.stopped_epoch:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Weights are those of the best epoch, {self.best_epoch + 1}")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(_Watching):
    """Multiplies the learning rate by `factor` when a value has stopped getting better.

    Parameters
    ----------
    monitor : str, default "val_loss"
    factor : float, default 0.1
        Below 1.
    patience : int, default 10
        Epochs without a better value after which the rate is reduced.
    verbose : {0, 1}, default 0
    mode : {"auto", "min", "max"}, default "auto"
    min_delta : float, default 0.0001
    cooldown : int, default 0
        Epochs after a reduction that do not count.
    min_lr : float, default 0.0
        The rate goes no lower.

    Notes
    -----
    The History gets a column "learning_rate". The optimizer needs a number as learning rate, not a schedule.
    """

    _kept = ("best", "wait", "cooldown_counter")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int | str = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = check_float("ReduceLROnPlateau", "factor", factor, 0, 1, ("high",))
        self.patience = check_int("ReduceLROnPlateau", "patience", patience, low=0)
        self.cooldown = check_int("ReduceLROnPlateau", "cooldown", cooldown, low=0)
        self.min_lr = check_float("ReduceLROnPlateau", "min_lr", min_lr, low=0)
        self.verbose = verbose
        self.on_train_begin()

    def in_cooldown(self):
        """Whether epochs do not count now."""
        return self.cooldown_counter > 0

    def on_train_begin(self, logs=None):
        self.best, self.wait, self.cooldown_counter = None, 0, 0
        if self.model is not None:
            _rate(self.model.optimizer, "ReduceLROnPlateau")

    def on_epoch_end(self, epoch, logs=None):
        logs, optimizer = {} if logs is None else logs, self.model.optimizer
        logs["learning_rate"] = rate = _rate(optimizer, "ReduceLROnPlateau")
        value = self._value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"Epoch {epoch + 1}: learning rate reduced to {optimizer.learning_rate:g}")


def _rate(optimizer, owner):
    rate = optimizer.learning_rate
    if isinstance(rate, LearningRateSchedule):
        raise ArgumentError(
            f"{owner} sets a number as learning rate, but the optimizer has the schedule {rate!r}; "
            "compile with a number, or leave the callback out"
        )
    return rate


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch.

    Parameters
    ----------
    schedule : callable
        `schedule(epoch, learning_rate)` or `schedule(epoch)`, which gives the new rate as a float.
    verbose : {0, 1}, default 0

    Notes
    -----
    The History gets a column "learning_rate".
    """

    def __init__(self, schedule, verbose: int | str = 0) -> None:
        if not callable(schedule):
            raise ArgumentTypeError(
                f"LearningRateScheduler needs a function (epoch, learning_rate) -> float, "
                f"got {type(schedule).__name__}."
            )
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        rate = _rate(optimizer, "LearningRateScheduler")
        optimizer.learning_rate = self.schedule(epoch, rate) if self._takes_two() else self.schedule(epoch)
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate set to {optimizer.learning_rate:g}")

    def _takes_two(self):
        import inspect

        try:
            inspect.signature(self.schedule).bind(0, 0.0)
        except TypeError:
            return False
        return True

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = _rate(self.model.optimizer, "LearningRateScheduler")


class TerminateOnNaN(Callback):
    """Ends training, without an error, where the loss becomes NaN or infinite.

    Parameters
    ----------
    raise_error : bool, default False
        Raise NonFiniteLossError, as happens without this callback.

    Notes
    -----
    A warning says where it was. The weights are those of the last finite epoch, and that epoch is the last of
    the History. Every step is watched in the engine, at no cost.
    """

    def __init__(self, raise_error=False) -> None:
        self.raise_error = bool(raise_error)


# ---- callbacks that write files ----


class ModelCheckpoint(_Watching):
    """Saves the model, or its weights, while it trains.

    Parameters
    ----------
    filepath : str or path
        May hold fields of `str.format`: "epoch" (from 1), "batch" (from 1, for a `save_freq` in batches) and
        the names of the logs, as in "{epoch:02d}-{val_loss:.2f}.fnn".
    monitor : str, default "val_loss"
        What `save_best_only` compares.
    verbose : {0, 1}, default 0
    save_best_only : bool, default False
    save_weights_only : bool, default False
        Write what `Model.save_weights` writes, rather than `Model.save`.
    mode : {"auto", "min", "max"}, default "auto"
    save_freq : "epoch" or int, default "epoch"
        After each epoch, or after so many batches; the latter makes each step an engine call of its own.
    initial_value_threshold : float, optional
        What the first value has to beat for `save_best_only`.

    Notes
    -----
    For use of the model. A run that is to go on after a crash is kept by `Checkpoint`.
    """

    _kept = ("best", "_batches", "_epoch")

    def __init__(
        self,
        filepath: StrPath,
        monitor: str = "val_loss",
        verbose: int | str = 0,
        save_best_only=False,
        save_weights_only=False,
        mode: str = "auto",
        save_freq="epoch",
        initial_value_threshold=None,
    ) -> None:
        from . import io

        super().__init__(monitor, mode)
        self.filepath = io._checked_path(filepath)
        self.verbose = verbose
        self.save_best_only, self.save_weights_only = bool(save_best_only), bool(save_weights_only)
        self.save_freq = save_freq
        if initial_value_threshold is not None:
            self.best = check_float("ModelCheckpoint", "initial_value_threshold", initial_value_threshold)
        self._batches = self._epoch = 0
        if save_freq != "epoch":
            self.save_freq = check_int("ModelCheckpoint", "save_freq", save_freq, low=1)
            # Only so: a method of the class would cost every user the engine call for each step.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(logs, epoch=epoch + 1)

    def _after_batch(self, batch, logs=None):
        self._batches += 1
        if self._batches % self.save_freq == 0:
            self._save(logs, epoch=self._epoch + 1, batch=batch + 1)

    def _save(self, logs, **fields):
        if self.save_best_only:
            value = self._value(logs)
            if value is not None:
                if not self._better(value, self.best):
                    return
                self.best = value
        try:
            path = self.filepath.format(**fields, **(logs or {}))
        except (KeyError, IndexError, ValueError) as error:
            raise ArgumentError(
                f"ModelCheckpoint cannot fill in the path {self.filepath!r} "
                f"({type(error).__name__}: {error}); "
                f"known are {', '.join([*fields, *(logs or ())])}"
            ) from None
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"Epoch {fields['epoch']}: saved to {path}")


class CSVLogger(Callback):
    """Writes the logs of each epoch as a line of a table.

    Parameters
    ----------
    filename : str or path
    separator : str, default ","
    append : bool, default False
        Go on with an existing file; else it is replaced.

    Notes
    -----
    A resumed run takes lines off that were written after its checkpoint, so that none stands twice.
    """

    def __init__(self, filename: StrPath, separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = os.fspath(filename), separator, bool(append)
        self._file = self._writer = None
        self.on_train_begin()

    def on_train_begin(self, logs=None):
        self._close()
        self._names = None
        self._at = self._size() if self.append else 0

    def _size(self):
        return os.path.getsize(self.filename) if os.path.exists(self.filename) else 0

    def get_state(self):
        return {"names": self._names, "at": self._at}

    def set_state(self, state):
        self._names, self._at = state["names"], state["at"]

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self._file is None:
            self._open(logs)
        self._writer.writerow({"epoch": epoch, **{name: _cell(logs.get(name, "NA")) for name in self._names}})
        self._file.flush()
        self._at = self._size()

    def _open(self, logs):
        import csv

        try:
            at = min(self._at, self._size())
            self._file = open(self.filename, "r+" if at else "w", newline="", encoding="utf-8")  # noqa: SIM115
            if at:
                self._file.seek(at)
                self._file.truncate()
        except OSError as error:
            raise FileAccessError(
                f"cannot write '{self.filename}': {error.strerror or error}; check the path",
                errno=error.errno,
                filename=self.filename,
            ) from error
        if self._names is None:
            self._names = sorted(logs)
            if not any(name.startswith("val_") for name in self._names):
                self._names += ["val_" + name for name in self._names]  # validation may come in a later epoch
        self._writer = csv.DictWriter(self._file, ["epoch", *self._names], delimiter=self.separator)
        if at == 0:
            self._writer.writeheader()

    def on_train_end(self, logs=None):
        self._close()

    def _close(self):
        if self._file is not None:
            self._file.close()
            self._file = self._writer = None


def _cell(value):
    return f'"[{", ".join(map(str, value))}]"' if np.ndim(value) > 0 and not isinstance(value, str) else value


class TensorBoard(Callback):
    """Writes loss, metrics, learning rate and histograms of the weights for TensorBoard.

    Needs the extra "tensorboard" (tensorboardX). Values of an epoch are "epoch_loss" and so on, those of the
    training data in the folder "train", those of the validation data in "validation", as Keras writes them.

    Parameters
    ----------
    log_dir : str or path, default "logs"
    histogram_freq : int, default 0
        Write histograms of the weights every so many epochs; 0 for never.
    write_graph : bool, default True
        Taken for Keras's sake; a graph is not written.
    write_images : False
        Not supported.
    write_steps_per_second : bool, default False
    update_freq : {"epoch", "batch"} or int, default "epoch"
        Also write the values after so many batches; makes each step an engine call of its own.
    profile_batch, embeddings_freq : 0
        Not supported.
    embeddings_metadata : None
        Not supported.

    Raises
    ------
    MissingExtraError
        Without tensorboardX.
    """

    def __init__(
        self,
        log_dir="logs",
        histogram_freq=0,
        write_graph=True,
        write_images=False,
        write_steps_per_second=False,
        update_freq="epoch",
        profile_batch=0,
        embeddings_freq=0,
        embeddings_metadata=None,
    ) -> None:
        unsupported = {
            "write_images": write_images,
            "profile_batch": profile_batch,
            "embeddings_freq": embeddings_freq,
            "embeddings_metadata": embeddings_metadata,
        }
        for name, value in unsupported.items():
            if value:
                raise ArgumentError(f"TensorBoard: {name} is not supported, leave it out (got {value!r}).")
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtraError.of("TensorBoard", "tensorboardX", "tensorboard") from error
        self._make = SummaryWriter
        self._writers: dict = {}
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = check_int("TensorBoard", "histogram_freq", histogram_freq, low=0)
        self.write_graph, self.write_steps_per_second = bool(write_graph), bool(write_steps_per_second)
        self.update_freq = update_freq
        if update_freq != "epoch":
            self._every = (
                1 if update_freq == "batch" else check_int("TensorBoard", "update_freq", update_freq, 1)
            )
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]
        self._steps = 0

    def get_state(self):
        return {"steps": self._steps}

    def set_state(self, state):
        self._steps = state["steps"]

    def on_train_begin(self, logs=None):
        self._close()
        self._steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._begun, self._first = time.perf_counter(), self.model._engine().engine.iterations

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            where = "validation" if name.startswith("val_") else "train"
            if np.ndim(value) == 0:
                self._writer(where).add_scalar("epoch_" + name.removeprefix("val_"), value, epoch)
        iterations = self.model._engine().engine.iterations
        rate = self.model.optimizer.learning_rate
        if not isinstance(rate, float):
            rate = rate(iterations)
        self._writer("train").add_scalar("epoch_learning_rate", rate, epoch)
        if self.write_steps_per_second:
            seconds = time.perf_counter() - self._begun
            self._writer("train").add_scalar(
                "epoch_steps_per_second", (iterations - self._first) / seconds, epoch
            )
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for parameter, values in zip(self.model.weights, self.model.get_weights()):
                self._writer("train").add_histogram(parameter.name + "/histogram", values, epoch)
        for writer in self._writers.values():
            writer.flush()

    def _after_batch(self, batch, logs=None):
        self._steps += 1
        if self._steps % self._every == 0:
            for name, value in (logs or {}).items():
                self._writer("train").add_scalar("batch_" + name, value, self._steps)

    def on_train_end(self, logs=None):
        self._close()

    def _writer(self, where):
        if where not in self._writers:
            self._writers[where] = self._make(os.path.join(self.log_dir, where))
        return self._writers[where]

    def _close(self):
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


class Checkpoint(Callback):
    """Keeps the run in a file, so that `fit(..., resume=filepath)` goes on with it after a crash.

    The file holds weights, moments, learning rate, the place in the epoch, the History so far, the state of
    the other callbacks and of `fastnn.set_seed`. A run that is killed at any moment and resumed ends with
    bitwise the same weights and History as if nothing had happened.

    Parameters
    ----------
    filepath : str or path
        Written beside it, synced to disk and renamed, so there is a whole file at any moment.
    every_steps, every_epochs : int, optional
        Write after so many steps of the run, or epochs.
    every_seconds : float, optional
        Write at the first step boundary after so many seconds since the file was written last.
        After every epoch if none of the three is given.

    Notes
    -----
    Also written when training ends by itself, by `stop_training` or by `max_seconds`; a resumed run that had
    ended returns its History at once. Weights or moments that are not finite never replace a file.

    A callback of one's own joins in by `get_state` and `set_state`.
    """

    def __init__(self, filepath: StrPath, every_steps=None, every_epochs=None, every_seconds=None) -> None:
        from . import io

        self.filepath = io._checked_path(filepath)
        if every_steps is every_epochs is every_seconds is None:
            every_epochs = 1
        self.every_steps = (
            None if every_steps is None else check_int("Checkpoint", "every_steps", every_steps, 1)
        )
        self.every_epochs = (
            None if every_epochs is None else check_int("Checkpoint", "every_epochs", every_epochs, 1)
        )
        self.every_seconds = (
            None
            if every_seconds is None
            else check_float("Checkpoint", "every_seconds", every_seconds, 0, exclusive=("low",))
        )
        self._written_at = time.monotonic()

    def on_train_begin(self, logs=None):
        from . import checkpoint

        checkpoint.tidy(self.filepath)
        self._written_at = time.monotonic()

    def reach(self, total):
        """Steps until the file has to be written, after `total` steps of the run."""
        return 1 << 62 if self.every_steps is None else self.every_steps - total % self.every_steps

    def after_steps(self, trainer):
        """Writes the file if it is time to."""
        late = self.every_seconds is not None and time.monotonic() - self._written_at >= self.every_seconds
        if late or (self.every_steps is not None and trainer.total % self.every_steps == 0):
            self._write(trainer, self.state_of(trainer.model))

    def after_epoch(self, trainer):
        """Writes the file if it is time to."""
        if self.every_epochs is not None and trainer.epoch % self.every_epochs == 0:
            self._write(trainer, self.state_of(trainer.model))

    def at_end(self, trainer, before, finished):
        """Writes the file that says how training ended; `before` is the state before `on_train_end`."""
        self._write(trainer, before, finished)

    def state_of(self, model):
        """Weights, moments and iterations."""
        from . import checkpoint

        return checkpoint.state_of(model)

    def _write(self, trainer, state, finished=False):
        from . import checkpoint

        checkpoint.write(self.filepath, trainer, state, finished)
        self._written_at = time.monotonic()
