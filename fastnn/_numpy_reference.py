"""The demo's network in plain NumPy, as a yardstick: float32, vectorised, every buffer allocated once."""

import numpy as np


class NumpyMLP:
    """relu layers with dropout, softmax and cross-entropy, trained by Adam.

    Parameters
    ----------
    weights : list of ndarray
        Kernel (in, out) and bias (out) of each layer in turn; copied.
    rate : float
        Dropout after each hidden layer.
    batch_size : int
    learning_rate, beta_1, beta_2, epsilon : float
        As in `fastnn.optimizers.Adam`.
    """

    def __init__(self, weights, rate, batch_size, learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
        self._w = [np.array(w, np.float32) for w in weights]
        self._g = [np.empty_like(w) for w in self._w]
        self._m = [np.zeros_like(w) for w in self._w]
        self._v = [np.zeros_like(w) for w in self._w]
        self._t = [np.empty_like(w) for w in self._w]
        widths = [b.size for b in self._w[1::2]]
        self._a = [np.empty((batch_size, n), np.float32) for n in widths]
        self._d = [np.empty((batch_size, n), np.float32) for n in widths]
        self._mask = [np.empty((batch_size, n), np.float32) for n in widths[:-1]]
        self._x = np.empty((batch_size, self._w[0].shape[0]), np.float32)
        self._rate, self._batch = rate, batch_size
        self._adam = learning_rate, beta_1, beta_2, epsilon
        self._step = 0

    def epoch(self, x, y, rng):
        """One shuffled epoch on x (n, features) float32, y (n) class indices; returns the mean loss."""
        order = rng.permutation(len(x))
        total = 0.0
        for start in range(0, len(x), self._batch):
            rows = order[start : start + self._batch]
            total += self._train(np.take(x, rows, axis=0, out=self._x[: len(rows)]), y[rows], rng)
        return total / len(x)

    def _train(self, x, y, rng):
        n, layers = len(x), len(self._a)
        keep = np.float32(1 - self._rate)
        below = [x]
        for i in range(layers):
            a = self._a[i][:n]
            np.matmul(below[-1], self._w[2 * i], out=a)
            a += self._w[2 * i + 1]
            if i < layers - 1:
                mask = self._mask[i][:n]
                np.maximum(a, 0, out=a)
                rng.random(out=mask, dtype=np.float32)
                np.less(mask, keep, out=mask)
                mask /= keep
                a *= mask
            below.append(a)
        a -= a.max(axis=1, keepdims=True)
        index = np.arange(n)
        picked = a[index, y]
        np.exp(a, out=a)
        total = a.sum(axis=1, keepdims=True)
        loss = float(np.sum(np.log(total[:, 0]) - picked))

        d = self._d[-1][:n]
        np.divide(a, total, out=d)
        d[index, y] -= 1
        d /= n
        for i in reversed(range(layers)):
            np.matmul(below[i].T, d, out=self._g[2 * i])
            np.sum(d, axis=0, out=self._g[2 * i + 1])
            if i:
                previous = self._d[i - 1][:n]
                np.matmul(d, self._w[2 * i].T, out=previous)
                previous *= self._mask[i - 1][:n]
                previous *= below[i] > 0
                d = previous
        self._update()
        return loss

    def _update(self):
        rate, beta_1, beta_2, epsilon = self._adam
        self._step += 1
        rate *= np.sqrt(1 - beta_2**self._step) / (1 - beta_1**self._step)
        for w, g, m, v, t in zip(self._w, self._g, self._m, self._v, self._t):
            np.subtract(g, m, out=t)
            t *= 1 - beta_1
            m += t
            np.multiply(g, g, out=t)
            t -= v
            t *= 1 - beta_2
            v += t
            np.sqrt(v, out=t)
            t += epsilon
            np.divide(m, t, out=t)
            t *= rate
            w -= t
