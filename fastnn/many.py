"""Many models at a time: each trained by one thread, as many side by side as there are cores."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from . import _core, data, feed, progress, seeds
from .arguments import check_int
from .config import get_num_threads
from .errors import ArgumentError, ArgumentTypeError, FastNNError
from .model import Model
from .training import check_verbose

if TYPE_CHECKING:
    from ._typing import Any
    from .history import History


def fit_many(
    models,
    x=None,
    y=None,
    indices=None,
    *,
    callbacks=None,
    seed: int | None = None,
    resume=None,
    verbose: int | str = "auto",
    **fit_args,
) -> list[History]:
    """Train several models on the same data, spread over the cores.

    Parameters
    ----------
    models : list of Model
        Compiled, of any shapes that take the data; each with parameters and an optimizer of its own.
    x, y
        Arrays as in `Model.fit`, which all models read where they lie.
    indices : list, optional
        For each model what `Model.fit` takes as `indices`: the rows that it trains on, or a pair, rows to train
        on and rows to validate on. `list(KFold(5).split(x))` of scikit-learn is such a list.
    callbacks : callable, optional
        Gives the callbacks of the model at position i: `lambda i: [EarlyStopping(patience=5)]`. They are called
        in the thread that trains the model.
    seed : int or sequence of int, optional
        For all models, or one for each. By default each takes the next one of `fastnn.set_seed`, in their order.
    resume : callable, optional
        Gives the file that the model at position i goes on from, as in `Model.fit`.
    verbose : {"auto", 0, 1, 2}
        0 silent; 1 (and "auto") one bar over all models, or a line at the end where the output is redirected; 2
        a line at the end.
    **fit_args
        More arguments of `Model.fit`, the same for all models.

    Returns
    -------
    list of History
        One for each model, in their order.

    Raises
    ------
    ArgumentError
        If two models share a parameter, or there are not as many `indices` or seeds as models.
    FastNNError
        What `Model.fit` raises; the message begins with the position and the name of the model. The other
        models stop at a step boundary and keep what they learnt, as they do at Ctrl-C. With the callback
        `TerminateOnNaN()` a loss that is not finite ends one model and no other.

    Notes
    -----
    Weights and histories are bitwise those of `models[i].fit(x[indices[i]], y[indices[i]], ...)` one after the
    other. As many models train at a time as `fastnn.get_num_threads()` says, each on one core; the last one
    left has all of them.

    Examples
    --------
    >>> folds = list(KFold(5, shuffle=True).split(x))                         # doctest: +SKIP
    >>> histories = fnn.fit_many([make() for _ in folds], x, y, folds, epochs=20)   # doctest: +SKIP
    >>> np.mean([h.history["val_loss"][-1] for h in histories])               # doctest: +SKIP
    """
    models = _checked(models)
    check_verbose("fit_many", verbose)
    for name, given in (("callbacks", callbacks), ("resume", resume)):
        if given is not None and not callable(given):
            raise ArgumentTypeError(
                f"fit_many needs {name} as a function of a model's position, since each run has its own, got "
                f"{type(given).__name__}; for example {name}=lambda i: ..."
            )
    for name, given in (("x", x), ("validation_data", fit_args.get("validation_data"))):
        if feed.is_iterable_of_batches(given):
            raise ArgumentTypeError(
                f"fit_many needs arrays as {name}, which all models read, got the iterable "
                f"{type(given).__name__}; call fit for each model"
            )
    count = len(models)
    indices = [None] * count if indices is None else _one_each("indices", indices, count)
    if seed is None or hasattr(seed, "__index__"):
        given_seeds = [seed] * count
    else:
        given_seeds = _one_each("seed", seed, count)
    x, y = _read_once(x, "x"), _read_once(y, "y")
    runs = []
    for i, model in enumerate(models):
        # In the order of fits one after the other, since both draw seeds.
        model._needs_compiled("fit_many")
        model._build_for(x)
        run_seed, path = seeds.next_seed(), None if resume is None else resume(i)
        if given_seeds[i] is not None:
            run_seed = check_int("fit_many", "seed", given_seeds[i], 0)
        elif path is not None and os.path.exists(path):
            run_seed = None  # the file holds it
        own = None if callbacks is None else callbacks(i)
        arguments = {"indices": indices[i], "seed": run_seed, "resume": path, "callbacks": own}
        runs.append(Run(i, model, {**fit_args, **arguments, "verbose": verbose}))
    _refuse_shared(models)
    generator = seeds.get_state()
    try:
        side_by_side(runs, x, y, progress.make(verbose))
    finally:
        seeds.set_state(generator)  # a resumed run puts back its own
    return [run.history for run in runs]


def _checked(models):
    models = list(models) if hasattr(models, "__iter__") else [models]
    if not models:
        raise ArgumentError("fit_many needs at least one model, got an empty list")
    for i, model in enumerate(models):
        if not isinstance(model, Model):
            raise ArgumentTypeError(f"fit_many needs a list of models, got {type(model).__name__} at {i}")
    return models


def _one_each(name, values, count):
    if not hasattr(values, "__len__"):
        raise ArgumentTypeError(
            f"fit_many needs {name} as a list of one for each model, got {type(values).__name__}"
        )
    if len(values) != count:
        raise ArgumentError(f"fit_many needs {name} for each of {count} models, got {len(values)}")
    return values


def _read_once(given, what):
    """An array of what would be converted anew for each model."""
    from .preprocessing.tables import is_frame, is_series

    if given is None or isinstance(given, (dict, list, tuple, np.ndarray)) or is_frame(given) or is_series(given):
        return given  # the models know what text in it means
    return data.as_samples(given, what)


def _refuse_shared(models):
    holders = {}
    for i, model in enumerate(models):
        for parameter in model.weights:
            holder = holders.setdefault(id(parameter), i)
            if holder != i or models.index(model) != i:
                raise ArgumentError(
                    f"fit_many: models {holder} and {i} share the parameter {parameter.name!r}, so they cannot "
                    "be trained side by side; make each from layers of its own"
                )


# ---- threads ----


class _Stopped(BaseException):
    """Ends a fit because of what happened elsewhere."""


class Run(progress.Silent):
    """One fit, and its display, which is where a fit looks up every now and then."""

    live = True

    def __init__(self, position, model, arguments) -> None:
        self.position, self.model, self.arguments = position, model, arguments
        epochs, first = (
            check_int("fit_many", name, arguments.get(name, default), 0)
            for name, default in (("epochs", 1), ("initial_epoch", 0))
        )
        self.label = f"model {position}, {getattr(model, '_label', type(model).__name__)}"
        self.epochs = max(1, epochs - first)
        self.done = 0.0  # epochs
        self.loss: float | None = None
        self.history: Any = None

    def train(self, x, y, stop):
        self.stop = stop
        with progress.taken_over(self):
            self.history = self.model.fit(x, y, **self.arguments)
        self.done = self.epochs

    def start(self, label, total, unit="sample"):
        self.look_up()
        self.begun, self.total = int(self.done), total

    def update(self, done, names, values):
        self.look_up()
        self.done = self.begun + done / self.total

    def finish(self, names, values):
        self.done, self.loss = self.begun + 1.0, values[0]

    def look_up(self):
        if self.stop.is_set():
            raise _Stopped


def side_by_side(runs, x, y, show):
    """Trains all; after the first error, or where this thread is interrupted, stops all."""
    waiting, ended, stop, failures = queue.SimpleQueue(), queue.SimpleQueue(), threading.Event(), []
    for run in runs:
        waiting.put(run)

    def work():
        _core.crowd(1)
        try:
            while not stop.is_set():
                run = waiting.get_nowait()
                try:
                    run.train(x, y, stop)
                except _Stopped:
                    return
                except BaseException as error:
                    failures.append((run, error))
                    stop.set()
        except queue.Empty:
            pass
        finally:
            _core.crowd(-1)
            ended.put(None)

    crew = [
        threading.Thread(target=work, name="fastnn-fit", daemon=True)
        for _ in range(min(get_num_threads(), len(runs)))
    ]
    show.start(f"Fit {len(runs)} models", len(runs), "model")
    at_work = 0
    try:
        for thread in crew:
            thread.start()
            at_work += 1
        while at_work:
            # In turns, so that Ctrl-C is seen on every system; by a queue, as an interrupted join counts as done.
            with contextlib.suppress(queue.Empty):
                ended.get(timeout=0.1)
                at_work -= 1
            if show.live:
                show.update(sum(run.done / run.epochs for run in runs), *_mean_loss(runs))
        if not failures:
            show.finish(*_mean_loss(runs))
    finally:
        stop.set()
        show.close()
        # Ctrl-C may come while a thread is started, which is then not counted; one that begins after this does nothing.
        while any(thread.is_alive() for thread in crew):
            time.sleep(0.001)
    if failures:
        run, error = failures[0]
        place = run.label
        if isinstance(error, FastNNError):
            error.args = (f"{place}: {error.args[0]}", *error.args[1:])
        else:
            error.add_note(f"in {place}")
        raise error


def _mean_loss(runs):
    losses = [run.loss for run in runs if run.loss is not None]
    return (("loss",), (sum(losses) / len(losses),)) if losses else ((), ())
