"""A Program with its engine: where parameters get their storage, and sessions are lent and run."""

import numpy as np

from . import _core
from .errors import DataError
from .sparse import Rows, wrong

# A run returns to Python this often, so that Ctrl-C is seen in time and a bar moves.
CHUNK_MS = 50.0

# Idle sessions kept for each mode: one for each thread that predicts at a time, within reason.
_KEPT = 16


class Runtime:
    """The engine of one Program, and its sessions.

    Parameters
    ----------
    program : graph.Program
    params : list of (int, Parameter)
        Tensor ids of the Program's parameters. Those without storage get it here.
    """

    def __init__(self, program, params):
        stored = {tensor: p._storage for tensor, p in params if p._storage is not None}
        self.engine = _core.Engine(program.text(), stored)
        for tensor, p in params:
            p.attach(self.engine.param(tensor))
        self._program, self._params, self._idle = program, dict(params), {}

    def read(self, moments=()):
        """Copies of the parameters and of some moments, all of the same step.

        Parameters
        ----------
        moments : iterable of (int, int)
            Tensor id and slot.

        Returns
        -------
        dict of (int, int) to ndarray
            By tensor id and slot; the parameters themselves have the slot -1.
        int
            Updates made by then.
        """
        keys = [(tensor, -1) for tensor in self._params] + list(moments)
        like = {key: self._params[key[0]] for key in keys}
        arrays = {key: np.empty(p.shape, p.dtype) for key, p in like.items()}
        return arrays, self.engine.read([(*key, array) for key, array in arrays.items()])

    def session(self, mode, rows, training=False, exchange=False):
        """A session for batches of up to `rows` samples, lent as a context manager."""
        idle = self._idle.setdefault((mode, training, exchange), [])
        return _Lease(self, idle, mode, rows, training, exchange)

    def _indexed(self, node, tensor):
        """How many things the integers of a tensor tell apart, where the node reads it as indices."""
        tensors, rule = self._program.tensors, _core.OPS[node.op].rule
        if tensor in node.inputs:
            if rule == "ONE_HOT":
                yield tensors[node.outputs[0]].shape[-1]
            elif rule == "EMBED":
                yield tensors[node.inputs[0]].shape[0]
            elif rule == "LOSS_IDX":
                yield tensors[node.inputs[0]].shape[-1]

    def explain(self, error, array, first_row, place):
        """Puts what the user knows the array by, and what it should hold, into a DataError of the engine.

        `array` is what was bound, whose row 0 the user knows as row `first_row` of `place`.
        """
        tensor, value = self._program.tensors[error.tensor], error.value
        where = f"in row {first_row + error.row}{place}"
        kinds = {"input": "input", "target": "target", "weight": "sample_weight of"}
        what = f"{kinds[tensor.kind]} {tensor.name!r}"
        sparse = isinstance(array, Rows)
        bad_index = wrong(array, error.row) if sparse else None
        sample = array.data[slice(*array.indptr[error.row :][:2])] if sparse else array[error.row]
        sample = np.asarray(sample, np.float64)
        if bad_index is not None:
            needed, seen = bad_index
            message = f"{what} needs {needed}, got {seen} {where}; the CSR array was put together wrongly"
        elif tensor.type == "int32":
            nodes = self._program.nodes
            bound = min((n for node in nodes for n in self._indexed(node, tensor.id)), default=None)
            needed = "integers" if bound is None else f"integers from 0 to {bound - 1}"
            message = f"{what} needs {needed}, got {value:g} {where}; check how the labels are encoded"
        elif np.isfinite(sample).all():
            value = float(sample.flat[np.abs(sample).argmax()])
            message = (
                f"{what} needs numbers that {self._program.dtype} can hold, got {value:g} {where}; "
                "scale the data, or make the model with dtype='float64'"
            )
        else:
            message = (
                f"{what} needs finite numbers, got {value} {where}; "
                "clean the data, or pass check_finite=False"
            )
        error.args, error.tensor = (message,), tensor.name
        error.row, error.value = first_row + error.row, value


class _Lease:
    """A session that goes back to the idle ones, with nothing bound, when the block ends."""

    def __init__(self, runtime, idle, mode, rows, training, exchange):
        self._runtime, self._idle, self._bound = runtime, idle, {}
        while True:
            try:
                self._rows, self.session = idle.pop()  # atomic: any thread may ask
            except IndexError:
                self._rows, self.session = rows, runtime.engine.session(
                    mode, rows, training, exchange=exchange
                )
                break
            if self._rows >= rows:
                break
        self.begin, self.run, self.results = self.session.begin, self.session.run, self.session.results
        self.set_results = self.session.set_results

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is DataError and isinstance(error.tensor, int):
            self._runtime.explain(error, *self._bound[error.tensor])
        for tensor in self._bound:
            self.session.bind(tensor, None)
        self.session.select(None)
        if len(self._idle) < _KEPT:
            self._idle.append((self._rows, self.session))

    def bind(self, arrays, first_row=0, place="", rows=None):
        """Binds arrays by tensor id until the block ends; errors name rows as `Runtime.explain` says.

        `rows` (int64) are those that samples stand in, where these are not all.
        """
        for tensor, array in arrays.items():
            self.session.bind(tensor, array)
            self._bound[tensor] = array, first_row, place
        if rows is not None:
            self.session.select(rows)

    def unbind(self, tensor):
        """Binds nothing to a tensor any more."""
        self.session.bind(tensor, None)
        del self._bound[tensor]

    def walk(self, count, batch_size, check_finite, max_steps=-1, seed=0, epoch=0, hook=None):
        """One pass in order that changes nothing; yields the samples done after each chunk.

        A chunk is one batch where there is a `hook`, which is called with each batch's index before it.
        """
        self.begin(count, batch_size, False, check_finite, seed, epoch, 0)
        steps, finished = 0, False
        while not finished and steps != max_steps:
            left = max_steps - steps if max_steps > 0 else -1
            if hook is not None:
                hook(steps)
                left = 1
            done, finished = self.run(left, CHUNK_MS, 0.0)
            steps += done
            yield min(steps * batch_size, count)
