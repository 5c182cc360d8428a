"""The seven nets that every table compares, and their data."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Net:
    """A stack of dense layers.

    Nets whose loss is "sparse_categorical_crossentropy" end in a softmax, the others in a linear layer.
    """

    name: str
    widths: tuple[int, ...]  # features, hidden units ..., outputs
    activation: str          # of the hidden layers
    loss: str
    batch: int
    steps: int               # steps of the epoch that is timed
    learning_rate: float = 1e-3

    @property
    def classifies(self):
        return self.loss == "sparse_categorical_crossentropy"

    @property
    def samples(self):
        return self.batch * self.steps

    @property
    def flops(self):
        """Flops of the products of one training step: forward, dW, and dX but for the first layer."""
        pairs = list(zip(self.widths, self.widths[1:]))
        return 2 * self.batch * (3 * sum(a * b for a, b in pairs) - pairs[0][0] * pairs[0][1])

    def data(self, samples=None):
        """Inputs (samples, features) and targets: classes (samples,) int64, or values (samples, outputs)."""
        rng = np.random.default_rng(1)
        n = samples or self.samples
        features, outputs = self.widths[0], self.widths[-1]
        x = rng.standard_normal((n, features), dtype=np.float32)
        teacher = rng.standard_normal((features, outputs), dtype=np.float32) / features**0.5
        y = np.tanh(x @ teacher)
        return x, np.argmax(y, axis=1) if self.classifies else y

    def weights(self):
        """Kernel (in, out) and bias (out,) of each layer in turn; He normal for relu, else Glorot normal."""
        rng = np.random.default_rng(2)
        made = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:]):
            scale = (2 / fan_in if self.activation == "relu" else 2 / (fan_in + fan_out)) ** 0.5
            made.append((rng.standard_normal((fan_in, fan_out)) * scale).astype(np.float32))
            made.append(np.zeros(fan_out, np.float32))
        return made


CLASSES = "sparse_categorical_crossentropy"
NETS = (
    Net("2-8-8-1", (2, 8, 8, 1), "tanh", "mean_squared_error", batch=10, steps=2000),
    Net("64-64-10", (64, 64, 10), "relu", CLASSES, batch=32, steps=1000),
    Net("64-(64x20)-10", (64, *[64] * 20, 10), "relu", CLASSES, batch=32, steps=200),
    Net("784-128-10", (784, 128, 10), "relu", CLASSES, batch=128, steps=100),
    Net("784-512-512-10", (784, 512, 512, 10), "relu", CLASSES, batch=128, steps=40),
    Net("784-1024x3-10", (784, 1024, 1024, 1024, 10), "relu", CLASSES, batch=256, steps=10),
    Net("4096-4096-4096", (4096, 4096, 4096), "relu", "mean_squared_error", batch=1024, steps=2),
)
BY_NAME = {net.name: net for net in NETS}
