"""Learning rates that change with the step. Formulas, names and defaults are those of Keras 3, in float64.

A schedule is called with one step or an array of steps, counted from 0, and returns as many learning rates.
"""

import numpy as np

from .arguments import check_float, check_int
from .errors import ArgumentError
from .registry import Configurable, Registry


class LearningRateSchedule(Configurable):
    """Base of schedules. Subclasses define `rates(steps)` on a float64 array."""

    def __call__(self, step):
        """Return the learning rate of one step as a float, or of an array of steps as a float64 array."""
        rates = self.rates(np.asarray(step, np.float64))
        return float(rates) if np.ndim(step) == 0 else rates

    def rates(self, steps):
        """Return float64 learning rates of the shape of `steps`."""
        raise NotImplementedError


registry = Registry("learning-rate schedule", LearningRateSchedule)


class _RateDecay(LearningRateSchedule):
    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name=None):
        owner = type(self).__name__
        self.initial_learning_rate = check_float(owner, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_float(owner, "decay_steps", decay_steps, low=0, exclusive=("low",))
        self.decay_rate = check_float(owner, "decay_rate", decay_rate)
        self.staircase, self.name = bool(staircase), name or owner


@registry.add
class ExponentialDecay(_RateDecay):
    """initial_learning_rate * decay_rate ^ (step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0.
    decay_rate : float
    staircase : bool, default False
        Whether step / decay_steps is rounded down.
    name : str, optional
    """

    def rates(self, steps):
        p = steps / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (np.floor(p) if self.staircase else p)


@registry.add
class InverseTimeDecay(_RateDecay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0.
    decay_rate : float
    staircase : bool, default False
        Whether step / decay_steps is rounded down.
    name : str, optional
    """

    def rates(self, steps):
        p = steps / self.decay_steps
        return self.initial_learning_rate / (1.0 + self.decay_rate * (np.floor(p) if self.staircase else p))


@registry.add
class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] up to and with step boundaries[i], the last value beyond.

    Parameters
    ----------
    boundaries : sequence of float
        Strictly increasing steps, at least one.
    values : sequence of float
        One more than there are boundaries.
    name : str, optional
    """

    def __init__(self, boundaries, values, name="PiecewiseConstant"):
        self.boundaries = [check_float("PiecewiseConstantDecay", "boundaries", b) for b in boundaries]
        self.values = [check_float("PiecewiseConstantDecay", "values", v) for v in values]
        if not self.boundaries or len(self.values) != len(self.boundaries) + 1:
            raise ArgumentError(
                "PiecewiseConstantDecay needs at least one boundary and one more value, "
                f"got {len(self.boundaries)} boundaries and {len(self.values)} values."
            )
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:])):
            raise ArgumentError(f"PiecewiseConstantDecay: boundaries must increase, got {self.boundaries}.")
        self.name = name

    def rates(self, steps):
        return np.asarray(self.values)[np.searchsorted(self.boundaries, steps, side="left")]


@registry.add
class PolynomialDecay(LearningRateSchedule):
    """(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps) ^ power + end_learning_rate.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0; later steps stay at the end.
    end_learning_rate : float, default 0.0001
    power : float, default 1.0
    cycle : bool, default False
        Whether, beyond decay_steps, the smallest multiple of it that has not passed takes its place.
    name : str, optional
    """

    def __init__(
        self,
        initial_learning_rate,
        decay_steps,
        end_learning_rate=0.0001,
        power=1.0,
        cycle=False,
        name="PolynomialDecay",
    ):
        self.initial_learning_rate = check_float(
            "PolynomialDecay", "initial_learning_rate", initial_learning_rate
        )
        self.decay_steps = check_float(
            "PolynomialDecay", "decay_steps", decay_steps, low=0, exclusive=("low",)
        )
        self.end_learning_rate = check_float("PolynomialDecay", "end_learning_rate", end_learning_rate)
        self.power = check_float("PolynomialDecay", "power", power)
        self.cycle, self.name = bool(cycle), name

    def rates(self, steps):
        length = self.decay_steps
        if self.cycle:
            length = length * np.maximum(np.ceil(steps / length), 1.0)
        else:
            steps = np.minimum(steps, length)
        return (self.initial_learning_rate - self.end_learning_rate) * (
            1.0 - steps / length
        ) ** self.power + self.end_learning_rate


@registry.add
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the start down to alpha times it (Loshchilov, Hutter, arXiv:1608.03983).

    An optional linear warm-up goes before it.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0; steps of the decay, the warm-up not counted.
    alpha : float, default 0.0
        The end of the decay as a share of where it starts.
    name : str, optional
    warmup_target : float, optional
        Where the warm-up ends and the decay starts; None means no warm-up.
    warmup_steps : int, default 0
    """

    def __init__(
        self,
        initial_learning_rate,
        decay_steps,
        alpha=0.0,
        name="CosineDecay",
        warmup_target=None,
        warmup_steps=0,
    ):
        self.initial_learning_rate = check_float(
            "CosineDecay", "initial_learning_rate", initial_learning_rate
        )
        self.decay_steps = check_float("CosineDecay", "decay_steps", decay_steps, low=0, exclusive=("low",))
        self.alpha = check_float("CosineDecay", "alpha", alpha)
        self.name = name
        self.warmup_target = (
            None if warmup_target is None else check_float("CosineDecay", "warmup_target", warmup_target)
        )
        self.warmup_steps = check_int("CosineDecay", "warmup_steps", warmup_steps, low=0)

    def rates(self, steps):
        if self.warmup_target is None:
            return self.initial_learning_rate * self._share(steps)
        warm = self.warmup_steps
        decayed = self.warmup_target * self._share(steps - warm)
        rising = self.initial_learning_rate + (self.warmup_target - self.initial_learning_rate) * steps / max(
            warm, 1
        )
        return np.where(steps < warm, rising, decayed)

    def _share(self, steps):
        done = np.minimum(steps, self.decay_steps) / self.decay_steps
        return (1.0 - self.alpha) * 0.5 * (1.0 + np.cos(np.pi * done)) + self.alpha


get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
