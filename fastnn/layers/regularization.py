"""Layers that make training harder so that a network generalises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..arguments import check_float, check_int
from ..graph import emit
from ..seeds import mix
from .base import Layer, registry

if TYPE_CHECKING:
    from .._typing import Any


class RandomLayer(Layer):
    """A layer that draws random numbers in training.

    The draws follow from the seed of `fit`, the epoch, the sample and the element, so they do not depend on
    batches or threads.

    Parameters
    ----------
    seed : int, optional
        Chooses a stream of random numbers under the seed of `fit`: layers of one seed share their draws. By
        default every call in a model has a stream of its own.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.seed = None if seed is None else check_int(self._label, "seed", seed, low=0)

    def _key(self, x, stream=0):
        """The key of a random node; `stream` sets the nodes of one call apart from each other."""
        if self.seed is None:
            return x.builder.random_key()
        # Keys of 16 bits: the lower half counts the unseeded nodes, the upper half belongs to seeds.
        return 0x8000 | (mix(self.seed) + stream) & 0x7FFF

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


class _Dropping(RandomLayer):
    """Changes single elements with the probability `rate`."""

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs) -> None:
        super().__init__(seed=seed, **kwargs)
        self.rate = check_float(self._label, "rate", rate, low=0, high=1, exclusive=("high",))
        self._refuse(noise_shape=noise_shape)
        self.noise_shape = None
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "noise_shape": None}


@registry.add
class Dropout(_Dropping):
    """In training sets elements to 0 with probability `rate` and scales the others by 1 / (1 - rate).

    Otherwise the identity (Srivastava et al., 2014).

    The mask follows from the seed of `fit`, the epoch, the sample and the element, so it does not depend on
    batches or threads.

    Parameters
    ----------
    rate : float
        In [0, 1).
    noise_shape : None
        Not supported.
    seed : int, optional
        Chooses a stream of random numbers under the seed of `fit`: layers of one seed share their masks. By
        default every call in a model has a stream of its own.
    name, trainable, dtype
        See `Layer`.
    """

    def call(self, x):
        self._needs_one(x)
        return x if self.rate == 0 else emit("dropout", x, rate=self.rate, key=self._key(x))


@registry.add
class GaussianNoise(RandomLayer):
    """In training adds normal noise of mean 0; otherwise the identity.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, in [0, 1]; scale inputs before where they are larger.
    seed : int, optional
        As in `Dropout`.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs) -> None:
        super().__init__(seed=seed, **kwargs)
        self.stddev = check_float(self._label, "stddev", stddev, low=0, high=1)
        self.built = True

    def call(self, x):
        self._needs_one(x)
        if self.stddev == 0:
            return x
        noise = x.builder.emit("random_normal", shape=x.shape, mean=0, stddev=self.stddev, key=self._key(x))
        return emit("in_training", emit("add", x, noise), x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev}


@registry.add
class GaussianDropout(RandomLayer):
    """In training multiplies by normal noise of mean 1 and standard deviation sqrt(rate / (1 - rate)).

    Otherwise the identity (Srivastava et al., 2014).

    Parameters
    ----------
    rate : float
        In [0, 1): as that of a `Dropout` of the same strength.
    seed : int, optional
        As in `Dropout`.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs) -> None:
        super().__init__(seed=seed, **kwargs)
        self.rate = check_float(self._label, "rate", rate, low=0, high=1, exclusive=("high",))
        self.built = True

    def call(self, x):
        self._needs_one(x)
        if self.rate == 0:
            return x
        stddev = math.sqrt(self.rate / (1 - self.rate))
        noise = x.builder.emit("random_normal", shape=x.shape, mean=1, stddev=stddev, key=self._key(x))
        return emit("in_training", emit("multiply", x, noise), x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


@registry.add
class AlphaDropout(_Dropping):
    """Dropout for `selu` (Klambauer et al., arXiv:1706.02515): keeps mean and variance.

    In training an element becomes p = -scale alpha, the value that selu saturates at, with probability
    `rate`; then all become a x + b with a = ((1 - rate) (1 + rate p^2))^(-1/2) and b = -a p rate. Otherwise
    the identity.

    Parameters
    ----------
    rate : float
        In [0, 1).
    noise_shape : None
        Not supported.
    seed : int, optional
        As in `Dropout`.
    name, trainable, dtype
        See `Layer`.
    """

    def call(self, x):
        self._needs_one(x)
        if self.rate == 0:
            return x
        from ..backends import xp  # not needed at import

        builder, dropped = x.builder, -xp.SELU_SCALE * xp.SELU_ALPHA
        a = ((1 - self.rate) * (1 + self.rate * dropped**2)) ** -0.5
        draw = builder.emit("random_uniform", shape=x.shape, low=0, high=1, key=self._key(x))
        drop = emit("less", draw, builder.emit("full", value=self.rate, shape=()))
        y = emit("where", drop, builder.emit("full", value=dropped, shape=()), x)
        return emit("in_training", emit("affine", y, scale=a, shift=-a * dropped * self.rate), x)
