"""The nets in JAX, one jitted call a step, whose buffers are given away to the next."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)  # each net's weights decide its type


def version():
    return jax.__version__


def forward(net, weights, x):
    """The last layer's sums."""
    for i in range(0, len(weights), 2):
        x = x @ weights[i] + weights[i + 1]
        if i + 2 < len(weights):
            x = jax.nn.relu(x) if net.activation == "relu" else jnp.tanh(x)
    return x


def loss(net, weights, x, y):
    """The batch's mean loss."""
    out = forward(net, weights, x)
    if net.classifies:
        return -jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1).mean()
    return jnp.square(out - y).mean()


def step(net, state, x, y):
    """(weights, m, v, iteration, sum of the losses) after a step of Adam with Keras's constants."""
    weights, m, v, t, total = state
    value, gradient = jax.value_and_grad(partial(loss, net))(weights, x, y)
    t = t + 1
    rate = net.learning_rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    m = [a + 0.1 * (g - a) for a, g in zip(m, gradient)]
    v = [b + 0.001 * (g * g - b) for b, g in zip(v, gradient)]
    weights = [w - rate * a / (jnp.sqrt(b) + net.epsilon) for w, a, b in zip(weights, m, v)]
    return weights, m, v, t, total + value


def start(net, weights):
    """The state before the first step."""
    m, v = ([jnp.zeros_like(w) for w in weights] for _ in range(2))
    return [jnp.array(w) for w in weights], m, v, jnp.zeros((), net.dtype), jnp.zeros((), net.dtype)


class Trainer:
    """Trains a net by Adam with Keras's constants."""

    def __init__(self, net, weights):
        self.net = net
        self.state = start(net, weights)
        self.step = jax.jit(partial(step, net), donate_argnums=0)
        self.rng = np.random.default_rng(0)

    def steps(self, x, y):
        """One epoch in the order of the samples; returns the mean loss."""
        return self._fit(x, y, np.arange(len(x)), lambda a, rows: a[rows[0]:rows[-1] + 1])

    def epoch(self, x, y):
        """One epoch in shuffled order; returns the mean loss."""
        return self._fit(x, y, self.rng.permutation(len(x)), lambda a, rows: a.take(rows, axis=0))

    def _fit(self, x, y, order, take):
        batch = self.net.batch
        self.state = *self.state[:-1], jnp.zeros((), self.net.dtype)
        for start in range(0, len(order), batch):
            rows = order[start:start + batch]
            self.state = self.step(self.state, take(x, rows), take(y, rows))
        return float(self.state[-1]) * batch / len(order)


def predictor(net, weights, rows):
    """A function (rows, features) -> (rows, outputs)."""
    weights = [jnp.array(w) for w in weights]

    @jax.jit
    def predict(weights, x):
        out = forward(net, weights, x)
        return jax.nn.softmax(out) if net.classifies else out

    return lambda x: np.asarray(predict(weights, x))
