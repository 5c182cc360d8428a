"""Learning rates that change with the step, in float64.

Formulas, names and defaults are those of Keras 3, or of PyTorch where Keras has no such schedule.

A schedule is called with one step or an array of steps, counted from 0, and returns as many learning rates.
"""

import numpy as np

from .arguments import check_float, check_int
from .errors import ArgumentError, UnknownNameError
from .registry import Configurable, Registry


class LearningRateSchedule(Configurable):
    """Base of schedules. Subclasses define `rates(steps)` on a float64 array, or `__call__(step)` of one step."""

    def __call__(self, step):
        """Return the learning rate of one step as a float, or of an array of steps as a float64 array."""
        rates = self.rates(np.asarray(step, np.float64))
        return float(rates) if np.ndim(step) == 0 else rates

    def rates(self, steps):
        """Return float64 learning rates of the shape of `steps`."""
        if type(self).__call__ is LearningRateSchedule.__call__:
            raise NotImplementedError(f"{type(self).__name__} must define rates(steps) or __call__(step).")
        return np.array([float(self(int(step))) for step in steps.flat], np.float64).reshape(steps.shape)


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


@registry.add
class CosineDecayRestarts(LearningRateSchedule):
    """Half cosines one after the other (Loshchilov, Hutter, arXiv:1608.03983).

    Each goes from its start down to alpha * initial_learning_rate.

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : int
        Above 0; steps of the first period.
    t_mul : float, default 2.0
        At least 1: how many times longer each period is than the one before.
    m_mul : float, default 1.0
        Where each period starts, relative to the one before.
    alpha : float, default 0.0
        The end of every period as a share of initial_learning_rate.
    name : str, optional
    """

    def __init__(
        self, initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name="SGDRDecay"
    ):
        owner = "CosineDecayRestarts"
        self.initial_learning_rate = check_float(owner, "initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = check_float(
            owner, "first_decay_steps", first_decay_steps, low=0, exclusive=("low",)
        )
        self.t_mul = check_float(owner, "t_mul", t_mul, low=1)
        self.m_mul = check_float(owner, "m_mul", m_mul)
        self.alpha = check_float(owner, "alpha", alpha)
        self.name = name

    def rates(self, steps):
        done, longer = steps / self.first_decay_steps, self.t_mul
        if longer == 1:
            period = np.floor(done)
            done = done - period
        else:
            # A whole period may come out of the logarithms a little short.
            period = np.floor(np.log1p(done * (longer - 1)) / np.log(longer) + 1e-9)
            done = (done - (longer**period - 1) / (longer - 1)) / longer**period
        cosine = 0.5 * self.m_mul**period * (1.0 + np.cos(np.pi * done))
        return self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha)


@registry.add
class StepDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate ^ floor(step / decay_steps), PyTorch's ``StepLR``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0; steps at one rate.
    decay_rate : float, default 0.1
    name : str, optional
    """

    def __init__(self, initial_learning_rate, decay_steps, decay_rate=0.1, name="StepDecay"):
        self.initial_learning_rate = check_float("StepDecay", "initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_int("StepDecay", "decay_steps", decay_steps, low=1)
        self.decay_rate = check_float("StepDecay", "decay_rate", decay_rate)
        self.name = name

    def rates(self, steps):
        return self.initial_learning_rate * self.decay_rate ** np.floor(steps / self.decay_steps)


@registry.add
class OneCycle(LearningRateSchedule):
    """Up to a high rate and down to nearly nothing, once (Smith, Topin, arXiv:1708.07120).

    Values are those of ``torch.optim.lr_scheduler.OneCycleLR``; momentum stays as it is.

    Parameters
    ----------
    max_learning_rate : float
    total_steps : int
        Above 0; later steps stay at the end.
    pct_start : float, default 0.3
        Share of the steps on the way up, in [0, 1].
    anneal_strategy : {"cos", "linear"}, default "cos"
        Shape of both ways.
    div_factor : float, default 25.0
        Above 0; the first rate is max_learning_rate / div_factor.
    final_div_factor : float, default 1e4
        Above 0; the last rate is the first one / final_div_factor.
    name : str, optional
    """

    def __init__(
        self,
        max_learning_rate,
        total_steps,
        pct_start=0.3,
        anneal_strategy="cos",
        div_factor=25.0,
        final_div_factor=1e4,
        name="OneCycle",
    ):
        self.max_learning_rate = check_float("OneCycle", "max_learning_rate", max_learning_rate)
        self.total_steps = check_int("OneCycle", "total_steps", total_steps, low=1)
        self.pct_start = check_float("OneCycle", "pct_start", pct_start, low=0, high=1)
        if anneal_strategy not in ("cos", "linear"):
            raise UnknownNameError.among("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.anneal_strategy = anneal_strategy
        self.div_factor = check_float("OneCycle", "div_factor", div_factor, low=0, exclusive=("low",))
        self.final_div_factor = check_float(
            "OneCycle", "final_div_factor", final_div_factor, low=0, exclusive=("low",)
        )
        self.name = name

    def rates(self, steps):
        first, last = self.max_learning_rate / self.div_factor, self.total_steps - 1
        peak = self.pct_start * self.total_steps - 1
        up = self._between(first, self.max_learning_rate, steps / max(peak, 1.0))
        share = (np.minimum(steps, last) - peak) / max(last - peak, 1.0)
        down = self._between(self.max_learning_rate, first / self.final_div_factor, share)
        return np.where(steps < peak, up, down)

    def _between(self, start, end, share):
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2.0 * (1.0 + np.cos(np.pi * share))


@registry.add
class WarmUp(LearningRateSchedule):
    """A straight line up to where another schedule starts, then that schedule from its step 0 on.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
        What follows the warm-up.
    warmup_steps : int
        At least 0; steps of the line.
    initial_learning_rate : float, default 0.0
        Where the line starts.
    name : str, optional
    """

    def __init__(self, learning_rate, warmup_steps, initial_learning_rate=0.0, name="WarmUp"):
        if isinstance(learning_rate, dict):
            learning_rate = deserialize(learning_rate)
        if not isinstance(learning_rate, LearningRateSchedule):
            learning_rate = check_float("WarmUp", "learning_rate", learning_rate)
        self.learning_rate = learning_rate
        self.warmup_steps = check_int("WarmUp", "warmup_steps", warmup_steps, low=0)
        self.initial_learning_rate = check_float("WarmUp", "initial_learning_rate", initial_learning_rate)
        self.name = name

    def rates(self, steps):
        after = self._after(np.maximum(steps - self.warmup_steps, 0.0))
        start, end = self.initial_learning_rate, self._after(np.float64(0))
        rising = start + (end - start) * steps / max(self.warmup_steps, 1)
        return np.where(steps < self.warmup_steps, rising, after)

    def _after(self, steps):
        constant = isinstance(self.learning_rate, float)
        return np.full(steps.shape, self.learning_rate) if constant else self.learning_rate.rates(steps)

    def get_config(self):
        """Return the constructor's arguments as a dict that JSON can hold."""
        config = super().get_config()
        if not isinstance(self.learning_rate, float):
            config["learning_rate"] = serialize(self.learning_rate)
        return config


get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
