"""Random models made of every layer and of every function of fastnn.ops, for tests of file formats."""

import numpy as np

import fastnn as fnn
from fastnn import layers, ops

ACTIVATIONS = ["linear", "sigmoid", "hard_sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus",
               "softsign", "softmax", "log_softmax"]  # fmt: skip


def _weighted(layer, tensor, rng):
    """The layer called on a tensor, its weights drawn."""
    made = layer(tensor)
    for w in layer.weights:
        low = 0.5 if w.name.endswith(("variance", "gamma", "count")) else -1.0
        w.assign(rng.uniform(low, 1.0, w.shape))
    return made


def _sizes(tensor):
    return int(np.prod(tensor.shape[1:]))


def _normalization(t, rng):
    return _weighted(layers.Normalization(axis=[None, -1][rng.integers(2)], invert=bool(rng.integers(2))), t, rng)


def _dot(t, rng):
    return layers.Dot(axes=-1, normalize=bool(rng.integers(2)))([t, layers.Activation("tanh")(t)])


def _pair(cls):
    return lambda t, rng: cls()([t, layers.Activation(rng.choice(ACTIVATIONS))(t)])


def _picture(make):
    """A layer on pictures: the tensor as one of a single channel."""
    return lambda t, rng: make()(layers.Reshape((_sizes(t), 1, 1))(t))


def _nested(t, rng):
    x = fnn.Input(t.shape[1:])
    return fnn.Model(x, layers.Dense(3, "tanh")(x))(t)


def _own(t, rng):
    class Own(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape[-1:], "ones", name="w")

        def call(self, x):
            return ops.in_training(x, x * self.w + np.linspace(0, 1, x.shape[-1]))

    stored = fnn.Model(x := fnn.Input(t.shape[1:]), _weighted(Own(), x, rng))
    return _unlike(fnn.io.from_bytes(fnn.io.to_bytes(stored)).layers[-1])(t)


class Centered(layers.Layer):
    """Reads all rows of a batch at once."""

    def call(self, x):
        return x - ops.mean(x, axis=0) + ops.sum(x, axis=(0, -1), keepdims=True) * 0.01 + ops.zeros_like(x)


def _unlike(layer):
    """The layer with a name that no other model's has."""
    layer.name = fnn.registry.auto_name("own")
    for w in layer.weights:
        w.name = f"{layer.name}/{w.name.rpartition('/')[2]}"
    return layer


# Layers of reals, by class; each gets a tensor and a generator.
LAYERS = {
    "Activation": lambda t, rng: layers.Activation(rng.choice(ACTIVATIONS))(t),
    "Add": _pair(layers.Add), "Average": _pair(layers.Average), "Maximum": _pair(layers.Maximum),
    "Minimum": _pair(layers.Minimum), "Multiply": _pair(layers.Multiply), "Subtract": _pair(layers.Subtract),
    "Concatenate": lambda t, rng: layers.Concatenate(axis=rng.integers(1, t.ndim))([t, t, layers.Activation("tanh")(t)]),
    "Dot": _dot,
    "Dense": lambda t, rng: _weighted(
        layers.Dense(int(rng.integers(1, 20)), rng.choice(ACTIVATIONS), use_bias=bool(rng.integers(2))), t, rng),
    "AlphaDropout": lambda t, rng: layers.AlphaDropout(0.3)(t), "Dropout": lambda t, rng: layers.Dropout(0.3)(t),
    "GaussianDropout": lambda t, rng: layers.GaussianDropout(0.3)(t),
    "GaussianNoise": lambda t, rng: layers.GaussianNoise(0.3)(t),
    "BatchNormalization": lambda t, rng: _weighted(
        layers.BatchNormalization(center=bool(rng.integers(2)), scale=bool(rng.integers(2))), t, rng),
    "LayerNormalization": lambda t, rng: _weighted(
        layers.LayerNormalization(epsilon=0.1, center=bool(rng.integers(2)), scale=bool(rng.integers(2))), t, rng),
    "UnitNormalization": lambda t, rng: layers.UnitNormalization(axis=rng.integers(1, t.ndim))(t),
    "Normalization": _normalization,
    "Rescaling": lambda t, rng: layers.Rescaling([0.5, rng.normal(size=t.shape[-1])][rng.integers(2)], 0.1)(t),
    "ELU": lambda t, rng: layers.ELU(0.7)(t), "LeakyReLU": lambda t, rng: layers.LeakyReLU(0.1)(t),
    "ReLU": lambda t, rng: layers.ReLU(negative_slope=[0.0, 0.3][rng.integers(2)])(t),
    "Softmax": lambda t, rng: layers.Softmax()(t), "PReLU": lambda t, rng: _weighted(layers.PReLU(), t, rng),
    "Flatten": lambda t, rng: layers.Flatten()(t),
    "Reshape": lambda t, rng: layers.Reshape([(-1, 1), (1, -1), (_sizes(t),)][rng.integers(3)])(t),
    "MixUp": lambda t, rng: layers.MixUp(0.3)(t),
    "RandomErasing": _picture(layers.RandomErasing), "RandomFlip": _picture(layers.RandomFlip),
    "RandomRotation": _picture(lambda: layers.RandomRotation(0.1)),
    "RandomTranslation": _picture(lambda: layers.RandomTranslation(0.1, 0.1)),
    "RandomZoom": _picture(lambda: layers.RandomZoom(0.1)),
    "Model": _nested, "TracedLayer": _own, "Centered": lambda t, rng: Centered()(t),
}  # fmt: skip

# Layers of integers below 5.
INTEGER_LAYERS = {
    "CategoryEncoding": lambda t, rng: layers.CategoryEncoding(5, ["multi_hot", "one_hot", "count"][rng.integers(3)])(t),
    "Embedding": lambda t, rng: _weighted(layers.Embedding(5, int(rng.integers(1, 6))), t, rng),
}

# Continuous functions of fastnn.ops.
FUNCTIONS = {
    "add": lambda x: ops.add(x, np.linspace(0, 1, x.shape[-1])), "subtract": lambda x: ops.subtract(1.5, x),
    "multiply": lambda x: ops.multiply(x, ops.tanh(x)), "divide": lambda x: ops.divide(x, ops.abs(x) + 1),
    "true_divide": lambda x: ops.true_divide(x, 3), "power": lambda x: ops.power(ops.abs(x) + 0.5, ops.tanh(x)),
    "negative": ops.negative, "abs": ops.abs, "absolute": ops.absolute, "square": ops.square,
    "sqrt": lambda x: ops.sqrt(ops.square(x) + 0.1), "rsqrt": lambda x: ops.rsqrt(ops.square(x) + 0.1),
    "reciprocal": lambda x: ops.reciprocal(ops.abs(x) + 1), "exp": lambda x: ops.exp(ops.tanh(x)),
    "expm1": lambda x: ops.expm1(ops.tanh(x)), "log": lambda x: ops.log(ops.abs(x) + 0.5),
    "log1p": lambda x: ops.log1p(ops.abs(x)), "sin": lambda x: ops.sin(ops.tanh(x)), "cos": lambda x: ops.cos(ops.tanh(x)),
    "erf": ops.erf, "maximum": lambda x: ops.maximum(x, 0.3), "minimum": lambda x: ops.minimum(x, 0.3),
    "clip": lambda x: ops.clip(x, -0.4, 0.5), "where": lambda x: ops.where(x > 0, x, 0.0),
    "sum": lambda x: ops.sum(x, axis=-1, keepdims=True), "mean": lambda x: x - ops.mean(x, axis=-1, keepdims=True),
    "max": lambda x: ops.max(x, axis=-1, keepdims=True), "min": lambda x: ops.min(x, axis=-1, keepdims=True),
    "prod": lambda x: ops.prod(ops.tanh(x), axis=-1, keepdims=True), "var": lambda x: ops.var(x, axis=-1, keepdims=True),
    "std": lambda x: ops.sqrt(ops.square(ops.std(x, axis=-1, keepdims=True)) + 0.1),
    "logsumexp": lambda x: ops.logsumexp(x, axis=-1, keepdims=True), "norm": lambda x: ops.norm(x, axis=-1, keepdims=True),
    "reshape": lambda x: ops.reshape(x, (-1, 1, *x.shape[1:])) if x.ndim < 4 else x * 2,
    "expand_dims": lambda x: ops.expand_dims(x, -1) if x.ndim < 4 else x * 2,
    "squeeze": lambda x: ops.squeeze(ops.expand_dims(x, -1), -1),
    "transpose": lambda x: ops.transpose(x, (0, *range(x.ndim - 1, 0, -1))), "swapaxes": lambda x: ops.swapaxes(x, 1, -1),
    "concatenate": lambda x: ops.concatenate([x, -x], axis=-1), "stack": lambda x: ops.stack([x, -x], axis=1) if x.ndim < 4 else -x,
    "get_item": lambda x: x[..., :1], "slice": lambda x: ops.slice(x, (0,) * x.ndim, (None,) * (x.ndim - 1) + (1,)),
    "split": lambda x: ops.split(x, x.shape[-1], axis=-1)[-1], "broadcast_to": lambda x: ops.broadcast_to(x[..., :1], x.shape),
    "zeros_like": lambda x: x + ops.zeros_like(x), "ones_like": lambda x: x + ops.ones_like(x),
    "matmul": lambda x: ops.matmul(x, np.eye(x.shape[-1], 3)), "dot": lambda x: ops.dot(x, ops.transpose(np.eye(2, x.shape[-1]))),
    "relu": ops.relu, "sigmoid": ops.sigmoid, "tanh": ops.tanh, "hard_sigmoid": ops.hard_sigmoid, "leaky_relu": ops.leaky_relu,
    "elu": ops.elu, "selu": ops.selu, "gelu": ops.gelu, "silu": ops.silu, "mish": ops.mish, "softplus": ops.softplus,
    "softsign": ops.softsign, "softmax": lambda x: ops.softmax(x, axis=1), "log_softmax": ops.log_softmax,
    "take": lambda x: ops.take(x, [0, -1, 0], axis=-1), "convert_to_tensor": lambda x: ops.convert_to_tensor(x) * 2,
    "stop_gradient": lambda x: ops.stop_gradient(x) * 2, "in_training": lambda x: ops.in_training(x, x * 2),
}  # fmt: skip

# Functions that jump: only of inputs, which both sides have to the last bit.
JUMPS = {
    "sign": ops.sign, "floor": ops.floor, "ceil": ops.ceil, "argmax": lambda x: ops.argmax(x, axis=-1, keepdims=True),
    "less": lambda x: ops.less(x, 0.2), "less_equal": lambda x: ops.less_equal(x, 0.2), "greater": lambda x: ops.greater(x, 0.2),
    "greater_equal": lambda x: ops.greater_equal(x, 0.2), "equal": lambda x: ops.equal(x, ops.floor(x)),
    "not_equal": lambda x: ops.not_equal(x, 0.0), "logical_and": lambda x: ops.logical_and(x > 0, x < 1),
    "logical_or": lambda x: ops.logical_or(x, x < 1), "logical_xor": lambda x: ops.logical_xor(x > 0, x < 1),
    "logical_not": lambda x: ops.logical_not(x > 0), "cast": lambda x: ops.cast(x, "int32") + ops.cast(x, "bool"),
    "one_hot": lambda x: ops.one_hot(ops.argmax(x, axis=-1), x.shape[-1]), "step": lambda x: layers.Activation("step")(x),
}  # fmt: skip


def random_model(rng, dtype=None):
    """A model, and arrays for it."""
    dtype = dtype or ["float32", "float64"][rng.integers(2)]
    rank = int(rng.integers(1, 3))
    shape = tuple(int(s) for s in rng.integers(1, 7, rank))
    inputs = [fnn.Input(shape)]
    integers = bool(rng.integers(3) == 0)
    known, exact = [inputs[0]], [inputs[0]]
    if integers:
        inputs.append(fnn.Input((int(rng.integers(1, 4)),), dtype="int32"))
        known.append(INTEGER_LAYERS[rng.choice(list(INTEGER_LAYERS))](inputs[1], rng))
    for _ in range(rng.integers(1, 7)):
        t = known[rng.integers(len(known))]
        kind = rng.integers(10)
        if kind == 0:
            made = JUMPS[rng.choice(list(JUMPS))](exact[0])
        elif kind < 4:
            made = FUNCTIONS[rng.choice(list(FUNCTIONS))](t)
        else:
            made = LAYERS[rng.choice(list(LAYERS))](t, rng)
        if made.ndim <= 5 and _sizes(made) <= 2000:
            known.append(made)
    outputs = [known[-1]] + [layers.Flatten()(t) for t in known[: len(inputs)]]
    model = fnn.Model(inputs, outputs, dtype=dtype)
    rows = int(rng.integers(1, 20))
    arrays = [rng.normal(size=(rows, *shape)).astype(dtype)]
    if integers:
        arrays.append(rng.integers(0, 5, (rows, *inputs[1].shape[1:])).astype("int32"))
    return model, arrays
