"""The nets in plain NumPy, written by hand for speed: vectorised, in place, buffers allocated once.

Parameters, gradients and moments each lie in one flat buffer, so Adam is a dozen calls for the net and
not for each parameter; it walks them in blocks that stay in the cache. Products and bias gradients are BLAS
calls.
"""

import numpy as np

BLOCK = 1 << 15  # elements: the five buffers that Adam touches take 640 KiB


def version():
    return np.__version__


class _Layers:
    """Forward pass of a stack of dense layers over buffers for a fixed number of rows."""

    def __init__(self, net, weights, rows):
        self.net = net
        self.w, self.b = weights[0::2], weights[1::2]
        self.out = [np.empty((rows, width), net.dtype) for width in net.widths[1:]]
        self.row = np.empty((rows, 1), net.dtype)
        self.zero = self.row.dtype.type(0)

    def logits(self, x):
        """Forward up to the last layer's sums, in self.out[-1]."""
        last = len(self.w) - 1
        for i, (w, b, out) in enumerate(zip(self.w, self.b, self.out)):
            np.dot(x, w, out=out)
            np.add(out, b, out=out)
            if i < last:
                if self.net.activation == "relu":
                    np.maximum(out, self.zero, out=out)
                else:
                    np.tanh(out, out=out)
            x = out
        return x

    def softmax(self, a):
        """In place; leaves the sum of the shifted exponentials in self.row."""
        np.maximum.reduce(a, axis=1, keepdims=True, out=self.row)
        np.subtract(a, self.row, out=a)
        np.exp(a, out=a)
        np.add.reduce(a, axis=1, keepdims=True, out=self.row)
        np.divide(a, self.row, out=a)
        return a

    def predict(self, x):
        a = self.logits(x)
        return self.softmax(a) if self.net.classifies else a


class Trainer:
    """Trains a net by Adam with Keras's constants; every side of the comparison has these methods."""

    def __init__(self, net, weights):
        size = sum(w.size for w in weights)
        self.flat, self.gradient, self.m, self.v = np.zeros((4, size), net.dtype)
        self.scratch = np.empty(min(BLOCK, size), net.dtype)
        self.real = self.flat.dtype.type
        self.w, self.g = [], []
        start = 0
        for w in weights:
            for flat, views in ((self.flat, self.w), (self.gradient, self.g)):
                views.append(flat[start:start + w.size].reshape(w.shape))
            self.w[-1][...] = w
            start += w.size
        self.net = net
        self.layers = _Layers(net, self.w, net.batch)
        self.x = np.empty((net.batch, net.widths[0]), net.dtype)
        self.d = [np.empty_like(out) for out in self.layers.out]
        self.mask = [np.empty(out.shape, bool) for out in self.layers.out]
        self.ones = np.ones(net.batch, net.dtype)
        self.index = np.arange(net.batch)
        self.rng = np.random.default_rng(0)
        self.iteration = 0

    def steps(self, x, y):
        """One epoch in the order of the samples; returns the mean loss."""
        batch, total = self.net.batch, 0.0
        for start in range(0, len(x), batch):
            total += self.step(x[start:start + batch], y[start:start + batch])
        return total * batch / len(x)

    def epoch(self, x, y):
        """One epoch in shuffled order; returns the mean loss."""
        batch, total = self.net.batch, 0.0
        order = self.rng.permutation(len(x))
        for start in range(0, len(x), batch):
            rows = order[start:start + batch]
            x.take(rows, axis=0, out=self.x, mode="clip")  # clip writes straight to out
            total += self.step(self.x, y.take(rows, axis=0))
        return total * batch / len(x)

    def step(self, x, y):
        """Forward, backward and update on one batch; returns its mean loss before the update."""
        layers, out = self.layers, self.layers.out
        a, d = layers.logits(x), self.d[-1]
        if self.net.classifies:
            layers.softmax(a)
            loss = -float(np.log(a[self.index, y]).mean())
            a[self.index, y] -= 1
            np.multiply(a, self.real(1 / len(x)), out=d)
        else:
            np.subtract(a, y, out=d)
            loss = float(np.dot(d.ravel(), d.ravel())) / d.size
            np.multiply(d, self.real(2 / d.size), out=d)
        for i in range(len(out) - 1, -1, -1):
            below = out[i - 1] if i else x
            np.dot(below.T, d, out=self.g[2 * i])
            np.dot(self.ones, d, out=self.g[2 * i + 1])
            if i:
                previous, mask = self.d[i - 1], self.mask[i - 1]
                np.dot(d, self.w[2 * i].T, out=previous)
                if self.net.activation == "relu":
                    np.greater(below, layers.zero, out=mask)
                    np.multiply(previous, mask, out=previous)
                else:
                    np.multiply(below, below, out=below)
                    np.subtract(self.real(1), below, out=below)
                    np.multiply(previous, below, out=previous)
                d = previous
        self.update()
        return loss

    def update(self):
        beta_1, beta_2, epsilon = 0.9, 0.999, self.real(self.net.epsilon)
        self.iteration += 1
        t = self.iteration
        rate = self.real(self.net.learning_rate * (1 - beta_2**t) ** 0.5 / (1 - beta_1**t))
        new_1, new_2 = self.real(1 - beta_1), self.real(1 - beta_2)
        for start in range(0, self.flat.size, BLOCK):
            part = slice(start, start + BLOCK)
            w, g, m, v = self.flat[part], self.gradient[part], self.m[part], self.v[part]
            s = self.scratch[:w.size]
            np.subtract(g, m, out=s)
            np.multiply(s, new_1, out=s)
            np.add(m, s, out=m)
            np.multiply(g, g, out=s)
            np.subtract(s, v, out=s)
            np.multiply(s, new_2, out=s)
            np.add(v, s, out=v)
            np.sqrt(v, out=s)
            np.add(s, epsilon, out=s)
            np.divide(m, s, out=s)
            np.multiply(s, rate, out=s)
            np.subtract(w, s, out=w)


def predictor(net, weights, rows):
    """A function (rows, features) -> (rows, outputs) that reuses its buffers."""
    return _Layers(net, weights, rows).predict
