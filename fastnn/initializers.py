"""How parameters begin. Names, formulas and defaults are those of Keras 3.

Random draws come from the counter-based generator of the engine in float64 and are rounded to the parameter's
dtype, so a seed gives the same values everywhere (`Orthogonal` goes through NumPy's QR decomposition and
agrees to rounding).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .arguments import check_float, check_int
from .errors import ArgumentError, ArgumentTypeError, ShapeError
from .registry import Configurable, Registry
from .seeds import next_seed

if TYPE_CHECKING:
    from ._typing import Any

# Standard deviation of a standard normal variable restricted to [-2, 2].
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Configurable):
    """Base of initializers: `initializer(shape, dtype)` returns an array."""

    def __call__(self, shape, dtype="float32") -> Any:
        raise NotImplementedError

    def clone(self):
        """A new initializer with the same arguments; without a given seed it draws other values."""
        return type(self).from_config(self.get_config())


class RandomInitializer(Initializer):
    """Base of initializers that draw. The same object gives the same values for the same shape."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = None if seed is None else check_int(type(self).__name__, "seed", seed, low=0)
        self._drawn_seed = next_seed() if self.seed is None else self.seed & ((1 << 64) - 1)

    def _draw(self, distribution, a, b, shape, dtype):
        out = np.empty(math.prod(shape), np.float64)
        _core.random(self._drawn_seed, 0, distribution, a, b, out)
        return out.reshape(shape).astype(dtype, copy=False)


registry = Registry("initializer", Initializer)


@registry.alias("zero")
class Zeros(Initializer):
    """All 0."""

    def __init__(self) -> None:
        pass

    def __call__(self, shape, dtype="float32") -> Any:
        return np.zeros(shape, dtype)


@registry.alias("one")
class Ones(Initializer):
    """All 1."""

    def __init__(self) -> None:
        pass

    def __call__(self, shape, dtype="float32") -> Any:
        return np.ones(shape, dtype)


@registry.add
class Constant(Initializer):
    """All `value`.

    Parameters
    ----------
    value : float, default 0.0
    """

    def __init__(self, value=0.0) -> None:
        self.value = check_float("Constant", "value", value)

    def __call__(self, shape, dtype="float32") -> Any:
        return np.full(shape, self.value, dtype)


@registry.alias("uniform")
class RandomUniform(RandomInitializer):
    """Uniform in [minval, maxval).

    Parameters
    ----------
    minval, maxval : float, default -0.05 and 0.05
    seed : int, optional
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval = check_float("RandomUniform", "minval", minval)
        self.maxval = check_float("RandomUniform", "maxval", maxval, low=self.minval)
        super().__init__(seed)

    def __call__(self, shape, dtype="float32") -> Any:
        return self._draw("uniform", self.minval, self.maxval, shape, dtype)


@registry.alias("normal")
class RandomNormal(RandomInitializer):
    """Normal with `mean` and standard deviation `stddev`.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05
    seed : int, optional
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = check_float("RandomNormal", "mean", mean)
        self.stddev = check_float("RandomNormal", "stddev", stddev, low=0)
        super().__init__(seed)

    def __call__(self, shape, dtype="float32") -> Any:
        return self._draw("normal", self.mean, self.stddev, shape, dtype)


@registry.add
class TruncatedNormal(RandomInitializer):
    """Normal, redrawn beyond two standard deviations from the mean.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05
        Of the distribution before it is cut.
    seed : int, optional
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = check_float("TruncatedNormal", "mean", mean)
        self.stddev = check_float("TruncatedNormal", "stddev", stddev, low=0)
        super().__init__(seed)

    def __call__(self, shape, dtype="float32") -> Any:
        return self._draw("truncated_normal", self.mean, self.stddev, shape, dtype)


def _fans(shape):
    """(fan_in, fan_out) of a parameter: its last two dimensions times the size of the others."""
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


@registry.add
class VarianceScaling(RandomInitializer):
    """Variance scale / n, where n is the fan in, the fan out or their mean.

    Parameters
    ----------
    scale : float, default 1.0
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        "normal" means "truncated_normal".
    seed : int, optional
    """

    def __init__(
        self,
        scale=1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        self.scale = check_float("VarianceScaling", "scale", scale, low=0, exclusive=("low",))
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ArgumentError(
                f"VarianceScaling: mode must be 'fan_in', 'fan_out' or 'fan_avg', got {mode!r}."
            )
        distribution = "truncated_normal" if distribution == "normal" else distribution
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ArgumentError(
                "VarianceScaling: distribution must be 'truncated_normal', 'untruncated_normal' or "
                f"'uniform', got {distribution!r}."
            )
        self.mode, self.distribution = mode, distribution
        super().__init__(seed)

    def __call__(self, shape, dtype="float32") -> Any:
        fan_in, fan_out = _fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return self._draw("uniform", -limit, limit, shape, dtype)
        if self.distribution == "untruncated_normal":
            return self._draw("normal", 0.0, math.sqrt(variance), shape, dtype)
        return self._draw("truncated_normal", 0.0, math.sqrt(variance) / _TRUNCATED_STDDEV, shape, dtype)


@registry.add
class GlorotUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio, 2010). `seed` : int."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


@registry.add
class GlorotNormal(VarianceScaling):
    """Truncated normal of deviation sqrt(2 / (fan_in + fan_out)) (Glorot, Bengio, 2010). `seed` : int."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


@registry.add
class HeUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / fan_in) (He et al., arXiv:1502.01852). `seed` : int."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


@registry.add
class HeNormal(VarianceScaling):
    """Truncated normal of deviation sqrt(2 / fan_in) (He et al., arXiv:1502.01852). `seed` : int."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


@registry.add
class LecunUniform(VarianceScaling):
    """Uniform in +-sqrt(3 / fan_in) (LeCun et al., 1998). `seed` : int."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


@registry.add
class LecunNormal(VarianceScaling):
    """Truncated normal of deviation sqrt(1 / fan_in) (LeCun et al., 1998). `seed` : int."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


@registry.add
class Orthogonal(RandomInitializer):
    """Orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al., arXiv:1312.6120).

    Parameters
    ----------
    gain : float, default 1.0
    seed : int, optional
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = check_float("Orthogonal", "gain", gain)
        super().__init__(seed)

    def __call__(self, shape, dtype="float32") -> Any:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal makes parameters of at least 2 dimensions, got {tuple(shape)}.")
        rows, cols = math.prod(shape[:-1]), shape[-1]
        a = self._draw("normal", 0.0, 1.0, (max(rows, cols), min(rows, cols)), np.float64)
        q, r = np.linalg.qr(a)
        q = q * np.sign(np.diag(r))
        return (self.gain * (q.T if rows < cols else q)).reshape(shape).astype(dtype)


zeros, ones, constant, orthogonal = Zeros, Ones, Constant, Orthogonal
random_uniform, random_normal, truncated_normal, variance_scaling = (
    RandomUniform,
    RandomNormal,
    TruncatedNormal,
    VarianceScaling,
)
glorot_uniform, glorot_normal, he_uniform, he_normal = GlorotUniform, GlorotNormal, HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
deserialize = registry.deserialize


def serialize(initializer):
    """Return `{"class_name": ..., "config": ...}`; None for one's own and arrays, which are not written."""
    return registry.serialize(initializer) if registry.holds(initializer) else None


def get(identifier):
    """Return the initializer for a name, a configuration, a class, an object or an array of values.

    Any other callable is taken as a function of (shape, dtype). An array is copied into the parameter and
    must have its shape.
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        values = np.array(identifier)
        return lambda shape, dtype="float32": values.astype(dtype)
    if identifier is None or isinstance(identifier, (str, dict, Initializer, type)):
        return registry.get(identifier)
    if callable(identifier):
        return identifier
    raise ArgumentTypeError(
        f"An initializer is given by name, object, function or array, got {type(identifier).__name__}."
    )
