"""The loop over epochs behind `Model.fit`."""

import math
import time
import warnings

from . import data, progress
from ._engine import CHUNK_MS
from .arguments import check_int
from .errors import ArgumentError, ArgumentTypeError, DataError, NonFiniteLossError

# Learning rates of a schedule are worked out for so many steps at a time.
_SCHEDULE_STEPS = 1 << 16


class Arrays:
    """What an epoch over bound arrays runs on: many steps an engine call.

    An optimizer whose `driver` is a subclass of this makes the steps by its own rules, in `run`; with
    `get_state` and `set_state`, as callbacks have them, it keeps more than weights and moments in a
    Checkpoint.

    Parameters
    ----------
    model : Model
    session : lease of a session of mode "train" for batches of `rows`, to which `arrays` are bound
    arrays : dict of int to ndarray
        By tensor id.
    selected : ndarray of int64 or None
        The rows of the arrays that are the `count` samples, where these are not all.
    steps : int
        An epoch.
    seed, check_finite
        As in `fit`.
    shuffle : int or callable
        As `data.shuffle_of` gives it.
    """

    def __init__(self, model, session, arrays, selected, count, rows, steps, seed, shuffle, check_finite):
        self.model, self.session, self.results = model, session, session.results
        self.arrays, self.selected = arrays, selected
        self.count, self.rows, self.steps = count, rows, steps
        self.seed, self.check_finite = seed, check_finite
        self.shuffle, self.own_order = (0, shuffle) if callable(shuffle) else (shuffle, None)
        self.samples = min(steps * rows, count)

    def begin(self, epoch, step, sums, total):
        """Go to a step of an epoch; `sums` are those of the steps before it."""
        if self.own_order is not None:
            order = data.order_of(self.own_order, epoch, self.count)
            self.session.session.select(order if self.selected is None else self.selected[order])
        self.session.begin(self.count, self.rows, self.shuffle, self.check_finite, self.seed, epoch, step)
        if step:
            self.session.set_results(sums)

    def run(self, max_steps, max_ms, rates):
        """Make up to so many steps; returns their number and whether the data ended."""
        return self.session.run(max_steps, max_ms, rates)

    def agree(self, *values):
        """What the process that decides says; see `distributed.Shares`."""
        return values

    def follow(self, changed):
        """Called where callbacks may have changed the weights."""

    def check(self):
        """Called after an epoch, before the callbacks."""

    def seen(self, step):
        """Samples of the first `step` steps."""
        return min(step * self.rows, self.samples)

    def end(self):
        """An epoch ended, or was left."""


class Trainer:
    """The loop over epochs: one engine call for each, or one every CHUNK_MS where epochs are long.

    Parameters
    ----------
    model : Model
    history : History
        Filled in.
    engine : _core.Engine
    source : Arrays or feed.Batches
    hooks : Hooks
    validation : (callable, callable), optional
        What gives the values, and whether it is asked after epoch e, counted from 1.
    max_seconds : float, optional
        Training ends at the first step boundary after this time.

    Attributes
    ----------
    epoch, step : int
        Where training stands: `step` steps of this epoch are made.
    total : int
        Steps made since the run began, wherever that was.
    """

    def __init__(self, model, history, engine, source, hooks, validation=None, max_seconds=None):
        self.model, self.history, self.engine, self.source = model, history, engine, source
        self.hooks = hooks
        self.validate, self.validates = validation or (None, None)
        self.savers = hooks.savers()
        self.until = None if max_seconds is None else time.monotonic() + max_seconds
        self.step = self.total = 0
        self.sums = []

    def run(self, initial_epoch, epochs, show, resumed=None):
        """Trains and fills the History; `resumed` is what a checkpoint holds of the steps before."""
        model, history, hooks = self.model, self.history, self.hooks
        names, logs = model._value_names, history.history
        for name in names:
            logs[name] = []
        if self.validate is not None:
            for name in names:
                logs["val_" + name] = []
        columns = [logs[name] for name in names]
        model.stop_training = False
        self.epoch, self.begun_at = initial_epoch, (initial_epoch, 0)
        if resumed is not None and resumed.finished_by(epochs):
            resumed.restore(self, final=True)
            return
        if self.savers:
            from . import checkpoint

            self.identity, self.program = checkpoint.identity(model, self.source), model.program.text()
        hooks("set_model", model)
        hooks("set_params", history.params)
        hooks("on_train_begin", {})
        if resumed is not None:
            resumed.restore(self)
            self.begun_at = self.epoch, self.step
        self.source.follow(True)
        latest, cut_short, broken = {}, None, False
        silent = type(show) is progress.Silent
        try:
            for epoch in range(self.epoch, epochs):
                if self.source.agree(model.stop_training or self.late())[0]:
                    break
                if hooks and self.step == 0:
                    hooks("on_epoch_begin", epoch, {})
                if not silent:
                    show.start(f"Epoch {epoch + 1}/{epochs}", self.source.samples)
                try:
                    whole, values = self.train(epoch, show)
                except NonFiniteLossError as error:
                    if not self.source.agree(hooks.stop_on_nan())[0]:
                        raise
                    warnings.warn(f"training ends here: {error}", RuntimeWarning, stacklevel=3)
                    model.stop_training = broken = True
                    break
                self.source.check()
                if not whole:
                    cut_short = epoch, values
                    break
                self.epoch, self.step, self.sums = epoch + 1, 0, []
                history.epoch.append(epoch)
                for column, value in zip(columns, values):
                    column.append(value)
                if not silent or hooks or self.validate is not None:
                    latest = self.end_epoch(epoch, show, names, values, logs)
                if hooks:
                    known = set(latest)
                    hooks("on_epoch_end", epoch, latest)
                    for name, value in latest.items():
                        if name not in known:
                            logs.setdefault(name, []).append(value)
                self.source.follow(bool(hooks))
                for saver in self.savers:
                    saver.after_epoch(self)
        finally:
            show.close()
        if not self.savers or broken:
            hooks("on_train_end", latest)
        else:
            before = self.savers[0].state_of(model)
            hooks("on_train_end", latest)
            for saver in self.savers:
                saver.at_end(self, before, model.stop_training or self.epoch >= epochs)
        self.source.follow(bool(hooks))
        if cut_short is not None:
            epoch, values = cut_short
            history.epoch.append(epoch)
            for column, value in zip(columns, values):
                column.append(value)

    def late(self):
        """Is the time over?"""
        return self.until is not None and time.monotonic() >= self.until

    def end_epoch(self, epoch, show, names, values, logs):
        """Validates and shows what an epoch gave; returns it by name."""
        shown, all_values = names, values
        if self.validate is not None and self.validates(epoch + 1):
            extra = self.validate()
            for name, value in zip(names, extra):
                logs["val_" + name].append(value)
            shown, all_values = (*names, *("val_" + name for name in names)), [*values, *extra]
        show.finish(shown, all_values)
        return dict(zip(shown, all_values))

    def train(self, epoch, show):
        """Trains an epoch from `self.step` on; returns whether it ended, and its values so far."""
        engine, source = self.engine, self.source
        engine.snapshot()
        try:
            source.begin(epoch, self.step, self.sums, self.total)
            whole = self.steps_of(show)
        except DataError:
            engine.restore()
            raise
        except NonFiniteLossError as error:
            engine.restore()
            kept, at = epoch, (epoch, error.step)
            if error.step == 0 and at > self.begun_at:
                engine.restore()  # the weights that this epoch began with are what gave the loss
                kept -= 1
            resumed = kept == self.begun_at[0] and self.begun_at[1] > 0
            origin = "of the checkpoint" if resumed else f"that epoch {kept} began with"
            raise NonFiniteLossError(
                f"the loss became NaN or infinite in epoch {epoch}, step {error.step} (both counted from 0); "
                f"the weights are those {origin}: lower the learning rate, set clipnorm, or scale the data",
                step=error.step,
                epoch=epoch,
            ) from None
        finally:
            source.end()
        return whole, self.values()

    def values(self):
        """Loss and metrics of the steps of this epoch so far."""
        return self.model._values(self.source.results(), self.source.seen(self.step))

    def steps_of(self, show):
        """Makes the steps of an epoch; returns whether it ended, be it by `stop_training`."""
        engine, source, hooks, model = self.engine, self.source, self.hooks, self.model
        optimizer, steps = model.optimizer, source.steps
        before, after = hooks.any("on_train_batch_begin"), hooks.any("on_train_batch_end")
        by_batch = before or after
        while steps is None or self.step < steps:
            limit = _SCHEDULE_STEPS if steps is None else min(steps - self.step, _SCHEDULE_STEPS)
            if by_batch:
                limit = 1
            if before:
                hooks("on_train_batch_begin", self.step, {})
            for saver in self.savers:
                limit = min(limit, saver.reach(self.total))
            milliseconds = CHUNK_MS
            if self.until is not None:
                milliseconds = min(CHUNK_MS, max(0.0, 1e3 * (self.until - time.monotonic())))
            limit, by_batch, rate = source.agree(limit, by_batch, constant_rate(optimizer))
            limit = int(limit)
            if not math.isnan(rate) and rate != optimizer.learning_rate:
                optimizer.learning_rate = rate
            rates = optimizer.learning_rates(engine.iterations, limit)
            done, finished = source.run(limit, milliseconds, rates)
            self.step += done
            self.total += done
            if after and done:
                hooks("on_train_batch_end", self.step - 1, dict(zip(model._value_names, self.values())))
            for saver in self.savers:
                saver.after_steps(self)
            if finished:
                break
            stop, late = source.agree(by_batch and model.stop_training, self.late())
            if stop:
                break
            if late:
                return steps is not None and self.step == steps
            if show.live:
                show.update(source.seen(self.step), model._value_names, self.values())
        return True


def constant_rate(optimizer):
    """The learning rate, NaN where it follows a schedule."""
    rate = optimizer.learning_rate
    return rate if isinstance(rate, float) else math.nan


def validation_epochs(freq):
    """Whether to validate after epoch e, counted from 1."""
    if isinstance(freq, (list, tuple, set, range)):
        return freq.__contains__
    freq = check_int("fit", "validation_freq", freq, 1)
    return lambda epoch: epoch % freq == 0


_HOOKS = {"set_model", "set_params"} | {
    f"on_{what}_{when}"
    for what in ("train", "epoch", "test", "predict", "batch", "train_batch", "test_batch", "predict_batch")
    for when in ("begin", "end")
}
_OTHER_NAMES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class Hooks:
    """The callbacks of one call: `hooks("on_epoch_end", epoch, logs)` calls those that have such a method.

    Parameters
    ----------
    what : str
        Who was given them, for messages.
    callbacks : None, one callback, or a list or tuple of them
    """

    def __init__(self, what, callbacks):
        self.callbacks, self._found = (), {}
        if callbacks is None:
            return
        self.callbacks = tuple(callbacks) if isinstance(callbacks, (list, tuple)) else (callbacks,)
        for callback in self.callbacks:
            if not any(hasattr(callback, hook) for hook in _HOOKS):
                raise ArgumentTypeError(
                    f"{what} needs callbacks with methods such as on_epoch_end, got {type(callback).__name__}"
                )

    def __bool__(self):
        return bool(self.callbacks)

    def __call__(self, method, *arguments):
        if self.callbacks:
            for hook in self._methods(method):
                hook(*arguments)

    def any(self, *methods):
        """Does a callback have one of these methods?"""
        return bool(self.callbacks) and any(self._methods(method) for method in methods)

    def savers(self):
        """Those that keep the run itself."""
        if not self.callbacks:
            return []
        from .callbacks import Checkpoint

        return [callback for callback in self.callbacks if isinstance(callback, Checkpoint)]

    def stop_on_nan(self):
        """Does a callback ask for an end without an error where the loss is not finite?"""
        from .callbacks import TerminateOnNaN

        return any(isinstance(c, TerminateOnNaN) and not c.raise_error for c in self.callbacks)

    def _methods(self, method):
        if method not in self._found:
            self._found[method] = [m for m in (_own(c, method) for c in self.callbacks) if m is not None]
        return self._found[method]


def _own(callback, method):
    """The method of that name, None where there is none but an empty one of the base class."""
    from .callbacks import EMPTY

    for name in (method, _OTHER_NAMES.get(method)):
        hook = None if name is None else getattr(callback, name, None)
        if hook is not None and getattr(hook, "__func__", None) not in EMPTY:
            return hook
    return None


def check_verbose(what, verbose):
    """Raises unless `verbose` is one of Keras's values."""
    if verbose not in ("auto", 0, 1, 2):
        raise ArgumentError(f"{what} needs verbose 'auto', 0, 1 or 2, got {verbose!r}")
