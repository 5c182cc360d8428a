"""The file of a training run: what `callbacks.Checkpoint` writes and `fit(resume=...)` reads.

In the container of model files (see `io` and `_safetensors`), of kind "checkpoint":

- tensors by the parameters' names, "optimizer/slot0/..." and "optimizer/iterations": as in a model file;
- tensors "final:<name>": the parameters that `on_train_end` of a callback changed afterwards;
- tensors "sums", "history:<column>" (float64) and "callback:...": sums of the epoch so far, the History,
  and arrays in the states of callbacks;
- metadata "program": the Program that trains, as text;
- metadata "run": JSON of what identifies the run, where it stands, and the states of callbacks and generator.
"""

import contextlib
import errno
import glob
import itertools
import math
import os
import re
import zlib

import numpy as np

from . import io, schedules, seeds
from ._safetensors import parse_json, write_atomically
from ._safetensors import write as write_container
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    FastNNError,
    FileAccessError,
    FileFormatError,
)
from .graph import Program


def state_of(model):
    """(values by (tensor id, slot), iterations) of a model, all of one step; parameters have slot -1."""
    return model._runtime.read([(id, slot) for _, id, slot, _ in io._moments(model)])


def tidy(path):
    """Removes what killed processes left half written beside `path`.

    Raises
    ------
    FileAccessError
        If there is no such folder: not only when the first epoch is over.
    """
    target = os.path.realpath(path)
    if not os.path.isdir(os.path.dirname(target)):
        raise FileAccessError(
            f"cannot write '{path}': there is no folder '{os.path.dirname(target)}'; make it first",
            errno=errno.ENOENT,
            filename=path,
        )
    for name in glob.glob(glob.escape(target) + ".*.tmp"):
        if re.fullmatch(r"\.[0-9a-f]{12}\.tmp", name[len(target) :]):
            with contextlib.suppress(OSError):
                os.unlink(name)


# ---- writing ----


def write(path, trainer, state, finished):
    """Writes the file; leaves it as it is where a weight or moment is not finite."""
    model, (values, iterations) = trainer.model, state
    constants = {id for id, p in model._stored_params() if p.constant}
    if not all(np.isfinite(value).all() for (id, _), value in values.items() if id not in constants):
        return
    tensors = []

    def put(name, array):
        tensors.append((name, array.dtype, array.shape, lambda: array))

    before = {p.name: values[id, -1] for id, p in model._stored_params()}
    for _, p in model._params:
        put(p.name, before[p.name])
    for name, id, slot, _ in io._moments(model):
        put(name, values[id, slot])
    put("optimizer/iterations", np.asarray(iterations, np.int64))
    put("sums", np.asarray(trainer.source.results() if trainer.step else [], np.float64))
    for name, column in trainer.history.history.items():
        put("history:" + name, np.asarray(column, np.float64))
    if finished:
        for p, value in model._values_of_params():
            if not np.array_equal(value, before[p.name]):
                put("final:" + p.name, value)
    callbacks = []
    for keeper in (*trainer.hooks.callbacks, trainer.source):
        given = getattr(keeper, "get_state", lambda: None)()
        name = type(keeper).__name__
        place = f"callback:{len(callbacks)}"
        callbacks.append({"class": name, "state": _pack(given, place, name, put)})
    run = {
        "identity": trainer.identity,
        "parameters": [p.name for _, p in model._params],
        "columns": list(trainer.history.history),
        "epochs": trainer.history.epoch,
        "learning_rate": _pack_rate(model.optimizer.learning_rate),
        "at": [trainer.epoch, trainer.step, trainer.total],
        "ended": finished,
        "stopped": bool(model.stop_training),
        "generator": seeds.get_state(),
        "callbacks": callbacks,
    }
    metadata = {
        "format": io.FORMAT,
        "kind": "checkpoint",
        "producer": io._producer(),
        "program": trainer.program,
        "run": io._dumps(run),
    }
    write_atomically(path, lambda file: write_container(file, tensors, metadata))


def identity(model, source):
    """What two runs must share for one to go on where the other stopped, but for the Program."""
    config = model.optimizer.get_config()
    for argument in ("learning_rate", "name"):
        config.pop(argument, None)
    rate = model.optimizer.learning_rate
    return {
        "optimizer": type(model.optimizer).__name__,
        # A number is part of the state, since callbacks change it.
        "schedule of the learning rate": None if isinstance(rate, float) else _pack_rate(rate),
        **{f"{argument} of the optimizer": value for argument, value in config.items()},
        "batch_size": source.rows,
        "number of samples": source.count,
        "indices": None if source.selected is None else zlib.crc32(source.selected),
        "steps an epoch": source.steps,
        # As it was written before windows came.
        "shuffle": source.shuffle if source.shuffle > 1 else bool(source.shuffle),
        "seed": source.seed,
        "values": list(model._value_names),
        **{
            f"vocabulary of input {name!r}": zlib.crc32(io._dumps(lookup.get_vocabulary()).encode())
            for name, lookup in zip(model._input_names, model._lookups)
            if lookup is not None
        },
    }


def _pack_rate(rate):
    if isinstance(rate, float):
        return rate
    if schedules.registry.holds(rate):
        return schedules.serialize(rate)
    return {"class_name": type(rate).__name__}


def _pack(value, place, owner, put):
    """`value` as JSON: arrays become tensors, and numbers beyond JSON text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else {"number": repr(number)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        put(place, value)
        return {"tensor": place}
    if isinstance(value, (list, tuple)):
        return [_pack(item, f"{place}.{i}", owner, put) for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _pack(item, f"{place}.{key}", owner, put) for key, item in value.items()}}
    raise ArgumentTypeError(
        f"the state of callback {owner} may hold numbers, text, arrays, lists and dicts with text as keys, "
        f"got {type(value).__name__}; give something simpler from get_state"
    )


# ---- reading ----


def read(path, model, source, seed_given):
    """The run that the file holds, None where there is no file.

    Raises
    ------
    FileFormatError
        If the file is damaged or of another kind.
    ArgumentError
        If it is of another run; the message names the first difference.
    """
    path = io._path("resume", path)
    if not os.path.exists(path):
        return None
    with io._open(path) as file:
        label = f"'{path}'"
        reader = io.open_checked(file, label, ("checkpoint",))
        try:
            found = Run(reader, label)
        except (FileFormatError, FileAccessError):
            raise
        except (FastNNError, *io._MALFORMED) as error:
            raise FileFormatError(
                f"{label} describes no valid run ({type(error).__name__}: {error}); it is damaged or foreign"
            ) from error
    found.compare(model, source, seed_given)
    return found


class Run:
    """What a checkpoint holds, all of it in memory."""

    def __init__(self, reader, label):
        self.label = label
        self.program = Program.parse(reader.metadata["program"])
        run = parse_json(reader.metadata["run"], f"the run in {label}")
        tensors = {name: reader.read(name) for name in reader.tensors}
        self.tensors, self.identity = tensors, dict(run["identity"])
        self.names, self.rate = list(run["parameters"]), run["learning_rate"]
        self.weights = [tensors[name] for name in self.names]
        self.columns = {name: _column(tensors["history:" + name]) for name in run["columns"]}
        self.validations = max(
            (len(c) for name, c in self.columns.items() if name.startswith("val_")), default=0
        )
        self.epochs = [int(epoch) for epoch in run["epochs"]]
        self.epoch, self.step, self.total = map(int, run["at"])
        self.ended, self.stopped = bool(run["ended"]), bool(run["stopped"])
        self.generator = {"seed": run["generator"]["seed"], "drawn": run["generator"]["drawn"]}
        self.callbacks = [(entry["class"], _unpack(entry["state"], tensors)) for entry in run["callbacks"]]
        self.iterations, self.seed = int(tensors["optimizer/iterations"]), self.identity["seed"]

    def finished_by(self, epochs):
        """Had the run come to its end, if it is to have so many epochs?"""
        return self.ended and (self.stopped or self.epoch >= epochs)

    def compare(self, model, source, seed_given):
        """Raises ArgumentError that names the first difference from another run."""
        here = parse_json(io._dumps(identity(model, source)), "the settings of fit")  # as the file's went
        if not seed_given:
            here["seed"] = self.seed
        there_layers, there_rest = _anatomy(self.program)
        here_layers, here_rest = _anatomy(model.program)
        self._compare("layers", there_layers, here_layers)
        for name in {**here, **self.identity}:
            self._compare(name, [repr(self.identity.get(name))], [repr(here.get(name))])
        self._compare("losses, metrics or trainable layers", there_rest, here_rest)

    def _compare(self, what, there, here):
        for a, b in itertools.zip_longest(there, here, fillvalue="nothing"):
            if a != b:
                raise ArgumentError(
                    f"{self.label} is of another run: {what}: {a} there, {b} here; go on with what it was "
                    "begun with, or take another file"
                )

    def restore(self, trainer, final=False):
        """Puts everything back; `final`: the weights as `on_train_end` left them."""
        model, engine, history = trainer.model, trainer.engine, trainer.history
        for (_, p), name, value in zip(model._params, self.names, self.weights):
            p.assign(self.tensors.get("final:" + name, value) if final else value)
        own_names = {p.name: name for (_, p), name in zip(model._params, self.names)}
        for name, id, slot, p in io._moments(model):
            engine.write_slot(id, slot, self.tensors[name.removesuffix(p.name) + own_names[p.name]])
        engine.iterations = self.iterations
        if isinstance(self.rate, float) or "config" in self.rate:
            model.optimizer.learning_rate = self.rate
        seeds.set_state(self.generator)
        # The columns may be held already: they are filled, not replaced.
        for name, values in self.columns.items():
            history.history.setdefault(name, [])[:] = values
        history.epoch[:] = self.epochs
        model.stop_training = self.stopped
        trainer.epoch, trainer.step, trainer.total = self.epoch, self.step, self.total
        trainer.sums = self.tensors["sums"].tolist()
        if final:
            return
        states = list(self.callbacks)
        for keeper in (*trainer.hooks.callbacks, trainer.source):
            name = type(keeper).__name__
            place = next((i for i, (kept, _) in enumerate(states) if kept == name), None)
            if place is not None:
                _, state = states.pop(place)
                if state is not None:
                    keeper.set_state(state)


def _column(array):
    return array.tolist() if array.ndim == 1 else list(array)


def _unpack(value, tensors):
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        [(kind, content)] = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "number":
            return float(content)
        return {key: _unpack(item, tensors) for key, item in content.items()}
    return value


def _anatomy(program):
    """(lines of the forward part, lines of the rest) of a Program, without the names that users give."""
    tensors = program.tensors
    outputs = [root.tensor for root in program.roots_of("output")]
    forward = sorted(program.needed(outputs))
    rest = [i for i in range(len(program.nodes)) if i not in set(forward)]

    def node(i):
        n = program.nodes[i]
        return f"{n.op} {n.inputs} {n.attrs}"

    given = [f"{t.kind} {t.type} {t.shape}" for t in tensors if t.kind in ("input", "param")]
    roots = [f"{r.kind} {r.tensor}" for r in program.roots]
    return given + [node(i) for i in forward], [node(i) for i in rest] + roots
