"""The nets in JAX, a whole epoch as one jitted `lax.scan`, which gathers the batches of a shuffled order."""

import jax
import jax.numpy as jnp
import numpy as np

from .jax_net import start, step, version

__all__ = ["Trainer", "version"]


class Trainer:
    """Trains a net by Adam with Keras's constants."""

    def __init__(self, net, weights):
        self.net = net
        self.state = start(net, weights)
        self.rng = np.random.default_rng(0)
        self.data = {}

        def scan(state, x, y, order):
            return jax.lax.scan(lambda s, rows: (step(net, s, x[rows], y[rows]), None), state, order)[0]

        self.scan = jax.jit(scan, donate_argnums=0)

    def steps(self, x, y):
        """One epoch in the order of the samples; returns the mean loss."""
        return self._fit(x, y, np.arange(len(x)))

    def epoch(self, x, y):
        """One epoch in shuffled order; returns the mean loss."""
        return self._fit(x, y, self.rng.permutation(len(x)))

    def _fit(self, x, y, order):
        x, y = self._on_device(x), self._on_device(y)
        order = order.reshape(-1, self.net.batch).astype(np.int32)
        self.state = self.scan((*self.state[:-1], jnp.zeros((), self.net.dtype)), x, y, order)
        return float(self.state[-1]) / len(order)

    def _on_device(self, array):
        """The array as JAX has it, moved at its first epoch only."""
        if id(array) not in self.data:
            self.data[id(array)] = array, jax.device_put(array)
        return self.data[id(array)][1]
