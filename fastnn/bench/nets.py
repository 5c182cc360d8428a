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
    goal: float              # times faster than the fastest peer that training shall be
    learning_rate: float = 1e-3
    epsilon: float = 1e-7
    dtype: str = "float32"

    @classmethod
    def of(cls, fields):
        """The net with these fields, as `dataclasses.asdict` or JSON gives them."""
        return cls(**{**fields, "widths": tuple(fields["widths"])})

    @property
    def classifies(self):
        return self.loss == "sparse_categorical_crossentropy"

    @property
    def large(self):
        """Whether a step takes about a second, so that only few can be checked and timed."""
        return self.flops > 1e10

    @property
    def kernel_sizes(self):
        """Weights of each layer's kernel."""
        return [a * b for a, b in zip(self.widths, self.widths[1:])]

    @property
    def flops(self):
        """Flops of the products of one training step: forward, dW, and dX but for the first layer."""
        return 2 * self.batch * (3 * sum(self.kernel_sizes) - self.kernel_sizes[0])

    def forward_flops(self, rows):
        """Flops of the products of a prediction for `rows` samples."""
        return 2 * rows * sum(self.kernel_sizes)

    @property
    def nbytes(self):
        """Bytes of all weights."""
        return (sum(self.kernel_sizes) + sum(self.widths[1:])) * np.dtype(self.dtype).itemsize

    def data(self, samples):
        """Inputs (samples, features) and targets: classes (samples,) int64, or values (samples, outputs).

        The numbers are drawn in float32, so that nets of both types see the same.
        """
        rng = np.random.default_rng(1)
        features, outputs = self.widths[0], self.widths[-1]
        x = rng.standard_normal((samples, features), dtype=np.float32)
        teacher = rng.standard_normal((features, outputs), dtype=np.float32) / features**0.5
        y = np.tanh(x @ teacher)
        return x.astype(self.dtype), np.argmax(y, axis=1) if self.classifies else y.astype(self.dtype)

    def weights(self):
        """Kernel (in, out) and bias (out,) of each layer in turn; He normal for relu, else Glorot normal."""
        rng = np.random.default_rng(2)
        made = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:]):
            scale = (2 / fan_in if self.activation == "relu" else 2 / (fan_in + fan_out)) ** 0.5
            kernel = rng.standard_normal((fan_in, fan_out), dtype=np.float32) * np.float32(scale)
            made += [kernel.astype(self.dtype), np.zeros(fan_out, self.dtype)]
        return made


CLASSES = "sparse_categorical_crossentropy"
NETS = (
    Net("2-8-8-1", (2, 8, 8, 1), "tanh", "mean_squared_error", batch=10, steps=2000, goal=5),
    Net("64-64-10", (64, 64, 10), "relu", CLASSES, batch=32, steps=1000, goal=4),
    Net("64-(64x20)-10", (64, *[64] * 20, 10), "relu", CLASSES, batch=32, steps=200, goal=3),
    Net("784-128-10", (784, 128, 10), "relu", CLASSES, batch=128, steps=100, goal=1.45),
    Net("784-512-512-10", (784, 512, 512, 10), "relu", CLASSES, batch=128, steps=40, goal=1.25),
    Net("784-1024x3-10", (784, 1024, 1024, 1024, 10), "relu", CLASSES, batch=256, steps=10, goal=1.2),
    Net("4096-4096-4096", (4096, 4096, 4096), "relu", "mean_squared_error", batch=1024, steps=2, goal=1.1),
)


def choose(names, parser):
    """The nets with these names, all if there are none; an unknown one is an error of the command line."""
    known = {net.name: net for net in NETS}
    for name in names or ():
        if name not in known:
            parser.error(f"unknown net {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names or known]
