"""Penalties on parameters that are added to the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import ops
from .arguments import check_float
from .errors import ShapeError
from .graph import Value
from .registry import Configurable, Registry
from .traced import Trace

if TYPE_CHECKING:
    from ._typing import Any


class Regularizer(Configurable):
    """Base of regularizers: `l1 * sum(|w|) + l2 * sum(w^2)`.

    A subclass may define `__call__(w)` with functions of `fastnn.ops`, giving one number: it is traced once
    and differentiated. So is a plain function, which may stand wherever a regularizer is expected.
    """

    l1 = l2 = 0.0

    def meet(self, shape):
        """Learn the shape of a parameter that is to be regularized."""

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

    def __call__(self, x) -> Any:
        """Return the penalty of an array as a float."""
        x = np.asarray(x, np.float64)
        return float(self.l1 * np.abs(x).sum() + self.l2 * np.square(x).sum())


registry = Registry("regularizer", Regularizer)


@registry.alias("l1_l2")
class L1L2(Regularizer):
    """`l1 * sum(|w|) + l2 * sum(w^2)`.

    Parameters
    ----------
    l1, l2 : float, default 0.0
        At least 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = check_float("L1L2", "l1", 0.0 if l1 is None else l1, low=0)
        self.l2 = check_float("L1L2", "l2", 0.0 if l2 is None else l2, low=0)


@registry.add
class L1(Regularizer):
    """`l1 * sum(|w|)`.

    Parameters
    ----------
    l1 : float, default 0.01
        At least 0.
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = check_float("L1", "l1", 0.01 if l1 is None else l1, low=0)


@registry.add
class L2(Regularizer):
    """l2 * sum(w^2).

    Parameters
    ----------
    l2 : float, default 0.01
        At least 0.
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = check_float("L2", "l2", 0.01 if l2 is None else l2, low=0)


@registry.add
class L2PerWeight(Regularizer):
    """`l2 * sum(w^2) / s`, s being the sum of the sample weights of a batch: its size where there are none.

    So the loss times s is a sum over samples plus a penalty that no batch size changes, as scikit-learn's MLP
    has it with l2 = alpha / 2 and losses of the reduction "mean_with_sample_weight".

    Parameters
    ----------
    l2 : float, default 0.01
        At least 0.
    """

    traced = True

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = check_float("L2PerWeight", "l2", l2, low=0)

    def trace(self, builder, w):
        weights = builder.program.of_kind("weight")
        if weights:
            total = ops.sum(Value(builder, weights[0].id))
        else:
            total = ops.sum(builder.emit("broadcast", builder.once("full", shape=(), value=1.0), shape=(None,)))
        return self.l2 * ops.sum(ops.square(w)) / total


@registry.add
class TracedRegularizer(Regularizer):
    """A penalty that is a function of `fastnn.ops`; it is saved as the Programs that it emitted.

    Parameters
    ----------
    name : str
        The function's.
    traces : list of dict
        Arguments of a `Trace` for each shape of parameter.
    """

    def __init__(self, name: str | None, traces) -> None:
        self.name, self._function = str(name), None
        self._shapes: list = []
        self._traces = [Trace(**t) for t in traces]

    @classmethod
    def of(cls, function):
        """Wrap a function of a parameter that gives one number."""
        made = cls(getattr(function, "__name__", type(function).__name__), [])
        made._function = function
        return made

    def meet(self, shape):
        """Learn the shape of a parameter, so that it can be saved."""
        if shape not in self._shapes:
            self._shapes.append(shape)

    @property
    def traces(self):
        """list of dict: arguments of a `Trace` for each shape met."""
        if self._function is None:
            return [t.get_config() for t in self._traces]
        return [self._trace_for(shape).get_config() for shape in self._shapes]

    def _trace_for(self, shape):
        from .layers.base import Parameter  # layers stand on regularizers

        w = Parameter("w", shape, None)
        return Trace.of(lambda builder, _: self.trace(builder, builder.param(w)), [], [w])

    def __call__(self, x) -> Any:
        """Return the penalty: of a tensor one of shape (), of an array a float."""
        symbolic = isinstance(x, Value)
        if self._function is not None:
            return self._function(x) if symbolic else float(self._function(np.asarray(x, np.float64)))
        for trace in self._traces:
            if trace.weight_shapes == [x.shape]:
                return trace.play(x.builder, [], [x])[0] if symbolic else float(trace.run([], [x])[0])
        raise ShapeError(
            f"The regularizer {self.name!r} was saved for parameters of shape "
            f"{' or '.join(str(t.weight_shapes[0]) for t in self._traces)}, got {x.shape}."
        )

    def __repr__(self):
        return f"TracedRegularizer({self.name!r})"


l1, l2, l1_l2 = L1, L2, L1L2
deserialize = registry.deserialize


def get(identifier):
    """Return the regularizer for a name, a configuration, a class, an object or a function; None stays None.

    A function of `fastnn.ops` takes a parameter and gives one number.
    """
    if callable(identifier) and not isinstance(identifier, (type, Regularizer)):
        return TracedRegularizer.of(identifier)
    made = registry.get(identifier)
    return made if made is None or registry.holds(made) else TracedRegularizer.of(made)


def serialize(regularizer):
    """Return `{"class_name": ..., "config": ...}`; None stays None."""
    return registry.serialize(regularizer)
