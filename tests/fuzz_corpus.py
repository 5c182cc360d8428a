"""Small model files of every kind, from which `make -C csrc fuzz` starts: python -m tests.fuzz_corpus FOLDER."""

import shutil
import sys
from pathlib import Path

import numpy as np

import fastnn as fnn
from fastnn import io, layers, ops, optimizers

sys.path.insert(0, str(Path(__file__).parent))  # for -m, which has the folder above

GOLDEN = Path(__file__).parent / "golden" / "files"

# One of each, with what lengthens its state.
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipvalue=0.5),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adam": lambda: optimizers.Adam(0.01, clipnorm=1.0),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "nadam": lambda: optimizers.Nadam(fnn.schedules.ExponentialDecay(0.01, 5, 0.5)),
    "lion": lambda: optimizers.Lion(0.001),
    "rprop": lambda: optimizers.Rprop(),
}


def _fitted(model, *arrays, steps=2):
    for _ in range(steps):
        model.train_on_batch(*arrays)
    return model


def chain(optimizer=None, dtype=None):
    """Three classes of three numbers; trained a little where there is an optimizer."""
    fnn.set_seed(1)
    model = fnn.Sequential(
        [fnn.Input((3,), name="x"), layers.Dense(4, "tanh", name="h"), layers.Dense(3, "softmax", name="y")], dtype=dtype
    )
    if optimizer is None:
        return model
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return _fitted(model, np.eye(3), np.arange(3))


def deep(dtype=None):
    """Layers that draw, normalise and penalise."""
    fnn.set_seed(2)
    model = fnn.Sequential(
        [
            fnn.Input((4,)), layers.Dense(5, kernel_regularizer="l2"), layers.BatchNormalization(), layers.PReLU(),
            layers.Dropout(0.3), layers.GaussianNoise(0.1), layers.LayerNormalization(), layers.MixUp(0.3), layers.Dense(2),
        ],
        dtype=dtype,
    )  # fmt: skip
    model.compile("adam", fnn.losses.Huber(0.5), metrics=["mae", "r2_score"])
    return _fitted(model, np.ones((2, 4)), np.zeros((2, 2)))


def graph():
    """Several inputs and outputs, integers, losses of their own, weights of samples."""
    fnn.set_seed(3)
    a, word = fnn.Input((3,), name="a"), fnn.Input((2,), dtype="int32", name="word")
    h = layers.Concatenate()([layers.Dense(3, "gelu")(a), layers.Flatten()(layers.Embedding(5, 2)(word))])
    h = layers.Add()([layers.Dense(3)(h), a])
    model = fnn.Model({"a": a, "word": word}, {"p": layers.Dense(1, "sigmoid", name="p")(h), "q": layers.Dense(2, name="q")(h)})
    model.compile("sgd", {"p": "binary_crossentropy", "q": "mse"}, loss_weights={"p": 1.0, "q": 0.5}, weighted_metrics={"p": ["auc"]})
    return _fitted(model, {"a": np.ones((2, 3)), "word": np.ones((2, 2))}, {"p": np.ones((2, 1)), "q": np.ones((2, 2))})


class _Scale(layers.Layer):
    def build(self, shape):
        self.g = self.add_weight(shape[-1:], "ones", name="g")

    def call(self, x):
        return ops.transpose(ops.reshape(x * self.g + ops.mean(x, axis=-1, keepdims=True), (-1, 2, 2)), (0, 2, 1))[:, :1]


def _loss(y, p):
    return ops.mean(ops.where(ops.abs(y - p) < 1, ops.square(y - p), ops.abs(y - p)), axis=-1)


def own():
    """Layers and losses of the user's own."""
    fnn.set_seed(4)
    model = fnn.Sequential([fnn.Input((4,)), _Scale(), layers.Flatten(), layers.Dense(1)])
    model.compile("adam", _loss)
    return _fitted(model, np.ones((2, 4)), np.ones((2, 1)))


def pictures():
    """Pictures that are moved, turned and erased."""
    fnn.set_seed(5)
    model = fnn.Sequential(
        [
            fnn.Input((2, 3, 1)), layers.Rescaling(0.5), layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomErasing(),
            layers.Flatten(), layers.Dense(2, "relu"),
        ]
    )  # fmt: skip
    model.compile("rmsprop", "mse")
    return _fitted(model, np.ones((2, 2, 3, 1)), np.ones((2, 2)))


def sparse():
    """An input of sparse rows, which only Python gives."""
    fnn.set_seed(6)
    return fnn.Sequential([fnn.Input((6,), sparse=True), layers.Dense(2, "relu")])


def wide(dtype=None):
    """A kernel that fills more than one panel."""
    fnn.set_seed(7)
    return fnn.Sequential([fnn.Input((5,)), layers.Dense(37, "relu"), layers.Dense(1)], dtype=dtype)


def models():
    """Models and predictors by name."""
    from fuzz_files import _with_features
    from test_lookup import network

    made = {f"chain_{name}": chain(make()) for name, make in OPTIMIZERS.items()}
    made |= {f"chain_{dtype}": chain(optimizers.Adam(), dtype) for dtype in ("float64", "mixed_bfloat16")}
    made |= {"untrained": chain(), "deep": deep(), "deep_float64": deep("float64"), "graph": graph(), "own": own()}
    made |= {"pictures": pictures(), "sparse": sparse(), "wide": wide(), "features": _with_features(), "lookups": network()}
    freezable = ("untrained", "deep", "deep_float64", "graph", "own", "pictures", "wide", "features")
    made |= {f"frozen_{name}": made[name].freeze() for name in freezable}
    made |= {f"wide_{bits}": made["wide"].freeze(weights=bits) for bits in ("int8", "bfloat16")}
    return made


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in models().items():
        (folder / f"{name}.fnn").write_bytes(io.to_bytes(made))
    for path in [*GOLDEN.glob("*/*.fnn"), *GOLDEN.glob("*/*.ckpt")]:
        shutil.copyfile(path, folder / f"golden_{path.name}")
    print(f"{len(list(folder.iterdir()))} files, {sum(p.stat().st_size for p in folder.iterdir())} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
