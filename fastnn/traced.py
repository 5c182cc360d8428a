"""What a user's own function emits, kept as a Program: saved, and run again without the function."""

import binascii

import numpy as np

from .errors import GraphError, ProgramError, ShapeError
from .graph import Builder, Program, Value


class Trace:
    """What a function emits for inputs of given shapes.

    Parameters
    ----------
    program : str
        Text of a Program of the function's inputs; its first parameters are weights, the others constants.
        Its roots are what the function returns: outputs, or tallies where they have no batch.
    constants : list of dict
        What `pack` made of each constant.
    listed : bool, default False
        Whether the function takes a list of tensors.
    """

    def __init__(self, program, constants, listed=False):
        self.program, self.listed = Program.parse(program), bool(listed)
        params = self.program.of_kind("param")
        first = len(params) - len(constants)
        if first < 0 or not self.program.roots:
            raise ProgramError(
                f"A traced function of {len(constants)} constants has {len(params)} parameters."
            )
        self._inputs = self.program.of_kind("input")
        self._weights = params[:first]
        self._constants = [(t.id, unpack(c).astype(np.float64)) for t, c in zip(params[first:], constants)]
        if any(c.shape != t.shape for t, (_, c) in zip(params[first:], self._constants)):
            raise ProgramError("A traced function has constants of other shapes than its Program says.")

    @classmethod
    def of(cls, function, inputs, weights=(), listed=False, dtype="float32"):
        """Trace `function(builder, values)`; `inputs` are pairs of shape and type, None for the dtype."""
        builder = Builder(dtype)
        values = [builder.input(shape, type) for shape, type in inputs]
        for parameter in weights:
            builder.param(parameter)
        with builder:
            made = function(builder, values)
        taken = set()
        for value in made if isinstance(made, (list, tuple)) else [made]:
            if builder.producer(value.id) is None or value.id in taken:  # a root is a tensor of its own
                value = builder.emit("reshape", value, shape=value.shape)
            taken.add(value.id)
            builder.program.add_root("output" if value.batched else "tally", value.id)
        builder.finish()
        constants = [p for p in builder.params if p not in set(weights)]
        for p in constants:
            if not p.constant:
                raise GraphError(
                    f"The parameter {p.name!r} is used by a function or layer that it does not belong to, "
                    "which a file cannot express; share the whole layer: call it twice."
                )
        return cls(builder.program.text(), [_pack_reals(p.exact) for p in constants], listed)

    def get_config(self):
        """Return the constructor's arguments as a dict that JSON can hold."""
        constants = [_pack_reals(array) for _, array in self._constants]
        return {"program": self.program.text(), "constants": constants, "listed": self.listed}

    @property
    def shapes(self):
        """list of tuple: of the inputs."""
        return [t.shape for t in self._inputs]

    @property
    def weight_shapes(self):
        """list of tuple: of the weights."""
        return [t.shape for t in self._weights]

    def fits(self, values, listed=False):
        """Whether it was made for inputs like these."""
        wanted = [shape[1:] for shape in self.shapes]
        return self.listed == listed and [tuple(v.shape[1:]) for v in values] == wanted

    def play(self, builder, values, weights=()):
        """Emit it for Values of a builder and weights, Values or Parameters; returns a list of Values."""
        given = zip((*self._inputs, *self._weights), (*values, *weights), strict=True)
        given = {t.id: v for t, v in given} | {i: builder.constant(array) for i, array in self._constants}
        parameters = {i: p for i, p in given.items() if not isinstance(p, Value)}
        return builder.inline(
            self.program, {i: v for i, v in given.items() if i not in parameters}, parameters
        )

    def run(self, values, weights=()):
        """The function of arrays."""
        from .backends import xp

        known = dict(self._constants)
        known.update(
            (t.id, v) for t, v in zip((*self._inputs, *self._weights), (*values, *weights), strict=True)
        )
        made = xp.run(self.program, known, "evaluate")
        return [made[r.tensor] for r in self.program.roots]


def pack(array):
    """An array of numbers as what JSON can hold: its dtype, shape and row-major elements in base64."""
    array = np.asarray(array)
    array = np.array(array, array.dtype.newbyteorder("<"), order="C")
    data = binascii.b2a_base64(array.tobytes(), newline=False).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def unpack(packed):
    """The array that `pack` described."""
    try:
        dtype = np.dtype(packed["dtype"])
        data = binascii.a2b_base64(packed["data"], strict_mode=True)
        if dtype.kind in "fiub":
            return np.frombuffer(data, dtype).reshape([int(d) for d in packed["shape"]])
    except (KeyError, TypeError, ValueError) as error:
        raise ProgramError(f"An array is badly described ({type(error).__name__}: {error}).") from error
    raise ProgramError(f"An array holds numbers, got the dtype {dtype}.")


def _pack_reals(array):
    """`pack` of a float64 array, as float32 where that is exact."""
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    return pack(single if np.array_equal(single, array, equal_nan=True) else array)


def find(traces, owner, values, listed=False):
    """The trace that was made for inputs like these."""
    for trace in traces:
        if trace.fits(values, listed):
            return trace
    raise ShapeError(
        f"{owner} was saved for inputs of shape {' or '.join(str(t.shapes) for t in traces)}, "
        f"got {[v.shape for v in values]}; only the function itself can be traced for others."
    )
