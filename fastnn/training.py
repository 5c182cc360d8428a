"""The loop over epochs behind `Model.fit`."""

from . import progress
from ._engine import CHUNK_MS
from .arguments import check_int
from .errors import ArgumentError, ArgumentTypeError, DataError, NonFiniteLossError

# Learning rates of a schedule are worked out for so many steps at a time.
_SCHEDULE_STEPS = 1 << 16


class Trainer:
    """The loop over epochs: one engine call for each, or one every CHUNK_MS where epochs are long."""

    def __init__(self, model, history, engine, session, count, rows, steps, shuffle, check_finite):
        self.model, self.history, self.engine, self.session = model, history, engine, session
        self.count, self.rows, self.steps = count, rows, steps
        self.shuffle, self.check_finite = shuffle, check_finite
        self.seen = min(steps * rows, count)
        self.validate = self.validates = None

    def run(self, initial_epoch, epochs, show, callbacks):
        """Trains and fills the History."""
        model, history = self.model, self.history
        self.initial_epoch = initial_epoch
        names, logs = model._value_names, history.history
        for name in names:
            logs[name] = []
        if self.validate is not None:
            for name in names:
                logs["val_" + name] = []
        columns = [logs[name] for name in names]
        model.stop_training = False
        notify(callbacks, "set_model", model)
        notify(callbacks, "set_params", history.params)
        notify(callbacks, "on_train_begin", {})
        latest = {}
        silent = type(show) is progress.Silent
        try:
            for epoch in range(initial_epoch, epochs):
                if callbacks:
                    notify(callbacks, "on_epoch_begin", epoch, {})
                if not silent:
                    show.start(f"Epoch {epoch + 1}/{epochs}", self.seen)
                values = self.epoch(epoch, show)
                history.epoch.append(epoch)
                for column, value in zip(columns, values):
                    column.append(value)
                if not silent or callbacks or self.validate is not None:
                    latest = self.end_epoch(epoch, show, names, values, logs)
                if callbacks:
                    notify(callbacks, "on_epoch_end", epoch, latest)
                    if model.stop_training:
                        break
        finally:
            show.close()
        notify(callbacks, "on_train_end", latest)

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

    def epoch(self, epoch, show):
        """Trains one epoch; returns the values of its loss and metrics."""
        engine, session, steps = self.engine, self.session, self.steps
        optimizer = self.model.optimizer
        engine.snapshot()
        left = steps
        try:
            session.begin(self.count, self.rows, self.shuffle, self.check_finite, self.history.seed, epoch, 0)
            while True:
                rates = optimizer.learning_rates(engine.iterations, min(left, _SCHEDULE_STEPS))
                done, finished = session.run(left, CHUNK_MS, rates)
                left -= done
                if finished or left == 0:
                    break
                if show.live:
                    seen = (steps - left) * self.rows
                    show.update(seen, self.model._value_names, self.model._values(session.results(), seen))
        except DataError:
            engine.restore()
            raise
        except NonFiniteLossError as error:
            engine.restore()
            kept = epoch
            if error.step == 0 and epoch > self.initial_epoch:
                engine.restore()  # the weights that this epoch began with are what gave the loss
                kept -= 1
            raise NonFiniteLossError(
                f"the loss became NaN or infinite in epoch {epoch}, step {error.step} (both counted from 0); "
                f"the weights are those that epoch {kept} began with: lower the learning rate, set clipnorm, "
                "or scale the data",
                step=error.step,
                epoch=epoch,
            ) from None
        return self.model._values(session.results(), self.seen)


def validation_epochs(freq):
    """Whether to validate after epoch e, counted from 1."""
    if isinstance(freq, (list, tuple, set, range)):
        return freq.__contains__
    freq = check_int("fit", "validation_freq", freq, 1)
    return lambda epoch: epoch % freq == 0


def notify(callbacks, method, *arguments):
    """Calls a method on each callback that has it."""
    for callback in callbacks:
        hook = getattr(callback, method, None)
        if hook is not None:
            hook(*arguments)


_HOOKS = {"set_model", "set_params"} | {
    f"on_{what}_{when}" for what in ("train", "epoch", "test", "predict") for when in ("begin", "end")
}


def check_callbacks(what, callbacks):
    """`callbacks` as a tuple: None, one callback, or a list or tuple of them."""
    if callbacks is None:
        return ()
    callbacks = tuple(callbacks) if isinstance(callbacks, (list, tuple)) else (callbacks,)
    for callback in callbacks:
        if not any(hasattr(callback, hook) for hook in _HOOKS):
            raise ArgumentTypeError(
                f"{what} needs callbacks with methods such as on_epoch_end, got {type(callback).__name__}"
            )
    return callbacks


def check_verbose(what, verbose):
    """Raises unless `verbose` is one of Keras's values."""
    if verbose not in ("auto", 0, 1, 2):
        raise ArgumentError(f"{what} needs verbose 'auto', 0, 1 or 2, got {verbose!r}")
