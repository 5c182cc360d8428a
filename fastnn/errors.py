"""Typed errors, each derived from `FastNNError` and from the built-in that Python code would expect.

A message says the value seen, the value needed and, where there is one, a way out.
"""


def _rebuild(cls, args, state):
    error = cls(*args)
    error.__dict__.update(state)
    return error


class FastNNError(Exception):
    """Base of every error that fastnn raises on purpose."""

    def __reduce__(self):
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class ArgumentError(FastNNError, ValueError):
    """An argument has a value outside its range, or a combination of arguments makes no sense."""


class ArgumentTypeError(FastNNError, TypeError):
    """An argument has a type that it cannot have."""


class ShapeError(FastNNError, ValueError):
    """An array or symbolic tensor does not have the shape that is needed."""


class DtypeError(FastNNError, TypeError):
    """An array has elements that cannot be used as numbers of the type that is needed."""


class DataError(FastNNError, ValueError):
    """A value in the data cannot be used: NaN, infinity, a label out of range.

    Attributes
    ----------
    tensor : str or int or None
        The input, target or weight that holds the value.
    row : int or None
        Its row (sample) in the array.
    value : float or None
        The value itself.
    """

    def __init__(self, message, *, tensor=None, row=None, value=None):
        super().__init__(message)
        self.tensor, self.row, self.value = tensor, row, value


class UnknownNameError(FastNNError, ValueError, KeyError):
    """A name or key that is not known; the message lists the nearest known ones.

    Attributes
    ----------
    name : str
    nearest : tuple of str
    """

    def __init__(self, message, *, name=None, nearest=()):
        super().__init__(message)
        self.name, self.nearest = name, tuple(nearest)

    __str__ = Exception.__str__  # KeyError's would quote the message

    @classmethod
    def among(cls, kind, name, known):
        """The error for `name`, a `kind` (such as "loss") that is not one of `known`."""
        import difflib  # only when something already went wrong

        known = sorted({str(k) for k in known})
        nearest = tuple(difflib.get_close_matches(str(name), known, n=3, cutoff=0.5))
        hint = (
            f"did you mean {' or '.join(map(repr, nearest))}?"
            if nearest
            else f"known are {', '.join(known)}."
        )
        return cls(f"Unknown {kind} {str(name)!r}; {hint}", name=str(name), nearest=nearest)


class UnsupportedError(FastNNError, ValueError):
    """A model of another framework holds what fastnn does not have, or the other way round.

    Attributes
    ----------
    missing : tuple of str
        Every part that has no counterpart, each with its place.
    """

    def __init__(self, message, *, missing=()):
        super().__init__(message)
        self.missing = tuple(missing)

    @classmethod
    def of(cls, what, missing, hint):
        """The error for `what`, which holds the parts that are `missing` in the other place."""
        listed = "".join(f"\n  {part}" for part in missing)
        return cls(f"{what}:{listed}\n{hint}", missing=missing)


class GraphError(FastNNError, ValueError):
    """The layers are not connected to each other as a model needs."""


class NotOneCallError(GraphError, AttributeError):
    """A layer has no `input` or `output` of its own: it was never called, or several times."""


class ProgramError(FastNNError, ValueError):
    """A Program that does not parse or does not verify."""


class NotCompiledError(FastNNError, RuntimeError):
    """The model needs `compile` before this call."""


class NotFittedError(FastNNError, ValueError, AttributeError):
    """The estimator needs `fit`, or weights set by hand, before this call."""


class ConvergenceWarning(FastNNError, UserWarning):
    """Training ended at its last epoch with the data not learned."""


class NonFiniteLossError(FastNNError, ArithmeticError):
    """The loss became NaN or infinite while training; the weights are those of the last finite epoch.

    Attributes
    ----------
    step, epoch : int or None
        Where it happened, both counted from 0.
    """

    def __init__(self, message, *, step=None, epoch=None):
        super().__init__(message)
        self.step, self.epoch = step, epoch


class FileFormatError(FastNNError, ValueError):
    """A file that is not a fastnn file, is damaged, or goes beyond the stated limits."""


class FileAccessError(FastNNError, OSError):
    """A file that cannot be read or written. `errno` and `filename` are those of OSError."""

    def __init__(self, message, *, errno=None, filename=None):
        super().__init__(message)
        self.errno, self.filename = errno, filename

    def __str__(self):
        return str(self.args[0])

    def __reduce__(self):
        return _access_error, (type(self), self.args[0], self.errno, self.filename)


def _access_error(cls, message, errno, filename):
    return cls(message, errno=errno, filename=filename)


class OutOfMemoryError(FastNNError, MemoryError):
    """Memory ran out; the model is as it was before the call."""


class MissingExtraError(FastNNError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""

    @classmethod
    def of(cls, what, library, extra):
        """The error for `what`, which needs a library of an extra."""
        return cls(
            f"{what} needs {library}, which the extra {extra!r} brings; in a checkout: pip install '.[{extra}]'"
        )


class DeviceError(FastNNError, RuntimeError):
    """A device that does not exist here or failed."""
