"""Layers that make training harder so that a network generalises."""

from ..arguments import check_float, check_int
from ..errors import ArgumentError
from ..graph import emit
from ..seeds import mix
from .base import Layer, registry


@registry.add
class Dropout(Layer):
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

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = check_float(self._label, "rate", rate, low=0, high=1, exclusive=("high",))
        if noise_shape is not None:
            raise ArgumentError(f"{self._label}: noise_shape is not supported, got {noise_shape!r}.")
        self.noise_shape = None
        self.seed = None if seed is None else check_int(self._label, "seed", seed, low=0)
        self.built = True

    def call(self, x):
        self._needs_one(x)
        if self.rate == 0:
            return x
        # Keys of 16 bits: the lower half counts the unseeded nodes, the upper half belongs to seeds.
        key = x.builder.random_key() if self.seed is None else 0x8000 | (mix(self.seed) & 0x7FFF)
        return emit("dropout", x, rate=self.rate, key=key)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "noise_shape": None, "seed": self.seed}
