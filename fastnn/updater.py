"""One update with gradients that are given, for training by hand."""

import numpy as np

from . import _core
from .compile import add_updates
from .errors import ArgumentError, ArgumentTypeError, DataError, UnknownNameError
from .graph import Program


class Updater:
    """The updates of a compiled model alone, as a Program whose gradients are parameters to be written.

    Parameters
    ----------
    model : Model
        Its parameters and moments are shared.
    """

    def __init__(self, model):
        self._main, self._optimizer = model._engine().engine, model.optimizer
        program = Program(model.dtype)
        trained = [p for i, p in model._stored_params() if p.trainable and i in model._compiled.gradients]
        params = [(program.add_tensor("param", p.shape, name=p.name), p) for p in trained]
        gradient = {i: program.add_tensor("param", p.shape, name=f"{p.name}.grad") for i, p in params}
        add_updates(program, params, gradient, self._optimizer)
        program.verify()
        self._engine = _core.Engine(program.text(), {i: p._storage for i, p in params})
        self._engine.share_moments(self._main)
        self._given = {p.name: (p, self._engine.param(gradient[i])) for i, p in params}
        self._session = self._engine.session("train", 1)

    def apply(self, gradients, names):
        """One update; `names` are those of all trainable parameters."""
        if not isinstance(gradients, dict):
            raise ArgumentTypeError(
                f"apply takes gradients by parameter name, as loss_and_gradients gives them, got "
                f"{type(gradients).__name__}."
            )
        for name in gradients:
            if name not in names:
                raise UnknownNameError.among("trainable parameter", name, names)
        missing = [name for name in self._given if name not in gradients]
        if missing:
            raise ArgumentError(
                f"apply needs a gradient for each of {list(self._given)}, got none for {missing}; freeze "
                "layers by layer.trainable = False before compile."
            )
        arrays = {}
        for name, (parameter, _) in self._given.items():
            arrays[name] = np.array(parameter.fitting(gradients[name]), parameter.dtype, order="C")
            if not np.isfinite(arrays[name]).all():
                raise DataError(
                    f"The gradient of {name!r} holds NaN or infinity; nothing was updated: lower the "
                    "learning rate or scale the data.",
                    tensor=name,
                )
        for name, (_, storage) in self._given.items():
            storage.write(arrays[name])
        step = self._main.iterations
        self._engine.iterations = step
        self._session.begin(1, 1, False, False)
        self._session.run(1, -1.0, self._optimizer.learning_rates(step, 1))
        self._main.iterations = self._engine.iterations
