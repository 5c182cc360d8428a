"""Penalties on parameters that are added to the loss."""

import numpy as np

from .arguments import check_float
from .errors import ShapeError
from .graph import Value
from .registry import Configurable, Registry


class Regularizer(Configurable):
    """Base of regularizers: l1 * sum(|w|) + l2 * sum(w^2).

    A subclass may define `__call__(w)` with functions of `fastnn.ops`, giving one number: it is traced once and
    differentiated. So is a plain function, which may stand wherever a regularizer is expected.
    """

    l1 = l2 = 0.0

    @property
    def traced(self):
        """bool: whether `__call__` states the penalty, not l1 and l2."""
        return type(self).__call__ is not Regularizer.__call__

    def trace(self, builder, w):
        """The penalty of a parameter in a Program.

        Parameters
        ----------
        builder : Builder
        w : Value

        Returns
        -------
        Value
            Of shape ().
        """
        with builder:
            made = self(w)
        if not isinstance(made, Value) or made.shape != ():
            seen = f"a tensor of shape {made.shape}" if isinstance(made, Value) else type(made).__name__
            raise ShapeError(f"A regularizer gives one number for a parameter, {self!r} gave {seen}.")
        return made

    def penalty(self):
        """The attributes of the penalty op, or None where there is no penalty."""
        return None if self.traced or not (self.l1 or self.l2) else {"l1": self.l1, "l2": self.l2}

    def __call__(self, x):
        """Return the penalty of an array as a float."""
        x = np.asarray(x, np.float64)
        return float(self.l1 * np.abs(x).sum() + self.l2 * np.square(x).sum())


registry = Registry("regularizer", Regularizer)


@registry.alias("l1_l2")
class L1L2(Regularizer):
    """l1 * sum(|w|) + l2 * sum(w^2).

    Parameters
    ----------
    l1, l2 : float, default 0.0
        At least 0.
    """

    def __init__(self, l1=0.0, l2=0.0):
        self.l1 = check_float("L1L2", "l1", 0.0 if l1 is None else l1, low=0)
        self.l2 = check_float("L1L2", "l2", 0.0 if l2 is None else l2, low=0)


@registry.add
class L1(Regularizer):
    """l1 * sum(|w|).

    Parameters
    ----------
    l1 : float, default 0.01
        At least 0.
    """

    def __init__(self, l1=0.01):
        self.l1 = check_float("L1", "l1", 0.01 if l1 is None else l1, low=0)


@registry.add
class L2(Regularizer):
    """l2 * sum(w^2).

    Parameters
    ----------
    l2 : float, default 0.01
        At least 0.
    """

    def __init__(self, l2=0.01):
        self.l2 = check_float("L2", "l2", 0.01 if l2 is None else l2, low=0)


l1, l2, l1_l2 = L1, L2, L1L2
get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
