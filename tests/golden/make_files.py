"""Adds to tests/golden/files what the fastnn at hand writes: a file of every kind, with inputs and what it gives.

    python tests/golden/make_files.py

Files that stand there already are left as they are, for good: they are the promise that what a version of
fastnn wrote loads in every later one. A new kind of content gets a new name here; a new format gets a new
folder.
"""

import shutil
from pathlib import Path

import numpy as np

import fastnn as fnn
from fastnn import callbacks, io, layers, ops, optimizers, schedules

FOLDER = Path(__file__).parent / "files" / io.FORMAT.replace(" ", "-")


class Scale(layers.Layer):
    """A layer of the user's own, which a file keeps as what it emitted."""

    def build(self, shape):
        self.g = self.add_weight(shape[-1:], "ones", name="g")

    def call(self, x):
        return x * self.g + ops.mean(ops.square(x), axis=-1, keepdims=True)


def absolute_error(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def data(rng, *shape):
    return np.asarray(rng.normal(size=shape), np.float32)


def chain(dtype=None):
    return fnn.Sequential(
        [
            fnn.Input((5,), name="features"),
            layers.Dense(8, kernel_regularizer="l2", name="first"),
            layers.BatchNormalization(momentum=0.9, name="norm"),
            layers.Activation({"name": "leaky_relu", "negative_slope": 0.1}, name="leaky"),
            layers.Dropout(0.2, seed=3, name="drop"),
            layers.Dense(6, activation="gelu", name="second"),
            layers.LayerNormalization(name="layer_norm"),
            layers.PReLU(name="p_re_lu"),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        dtype=dtype,
    )


def pictures():
    return fnn.Sequential(
        [
            fnn.Input((4, 4, 2), dtype="int32", name="picture"),
            layers.Rescaling(1 / 127.5, -1.0, name="rescaled"),
            layers.RandomFlip("horizontal", name="flip"),
            layers.RandomTranslation(0.1, 0.1, name="move"),
            layers.Flatten(name="flat"),
            layers.Reshape((8, 4), name="rows"),
            layers.UnitNormalization(name="unit"),
            layers.GaussianNoise(0.1, name="noise"),
            layers.Flatten(name="flat_again"),
            layers.Dense(2, activation="tanh", name="out"),
        ]
    )


def graph():
    """Several inputs by name, of numbers and integers, a nested model called twice, operations, two outputs."""
    left, right = fnn.Input((4,), name="left"), fnn.Input((4,), name="right")
    word, kind = fnn.Input((3,), dtype="int32", name="word"), fnn.Input((1,), dtype="int32", name="kind")
    tower = fnn.Sequential(
        [fnn.Input((4,), name="tower_in"), layers.Dense(5, activation="selu", name="tower_dense")], name="tower"
    )
    normal = layers.Normalization(name="normal")
    normal.adapt(np.arange(12, dtype=np.float32).reshape(3, 4))
    a, b = tower(normal(left)), tower(right)
    both = layers.Concatenate(name="both")([a, b, layers.Multiply(name="product")([a, b])])
    words = layers.Flatten(name="flat_words")(layers.Embedding(7, 2, name="vectors")(word))
    kinds = layers.CategoryEncoding(4, output_mode="one_hot", name="hot")(kind)
    joined = layers.Concatenate(name="joined")([both, words, kinds])
    first = layers.Dense(2, name="first")(layers.Dropout(0.1, name="drop")(joined))
    inputs = {"left": left, "right": right, "word": word, "kind": kind}
    return fnn.Model(inputs, [first, ops.tanh(first) + 0.5])


def custom():
    return fnn.Sequential(
        [fnn.Input((4,), name="x"), layers.Dense(6, activation=lambda x: x * ops.sigmoid(x), name="hidden"),
         Scale(name="scale"), layers.Dense(1, name="y")]
    )  # fmt: skip


def make(folder):
    """What stands in a folder: {name: inputs}; every file is written there."""
    rng = np.random.default_rng(7)
    x, y = data(rng, 40, 5), rng.integers(0, 3, size=40)
    given = {}

    def put(name, write, inputs):
        write(folder / name)
        given[name] = inputs

    fnn.set_seed(1)
    rate = schedules.CosineDecay(0.05, 30)
    model = chain()
    model.compile(optimizers.AdamW(rate, clipnorm=1.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    put("trained.fnn", model.save, x)
    put("weights.fnn", model.save_weights, x)
    put("frozen.fnn", model.freeze().save, x)
    put("frozen_int8.fnn", model.freeze(weights="int8", validation_data=(x, y)).save, x)
    put("frozen_bfloat16.fnn", model.freeze(weights="bfloat16").save, x)
    model.fit(
        x, y, epochs=3, batch_size=8, verbose=0, seed=5, callbacks=[callbacks.Checkpoint(folder / "run.ckpt")]
    )
    given["run.ckpt"] = x

    double = chain("float64")
    double.compile(optimizers.SGD(0.1, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy")
    double.fit(x, y, epochs=2, verbose=0)
    put("trained_float64.fnn", double.save, x)
    put("trained_mixed_bfloat16.fnn", chain("mixed_bfloat16").save, x)

    whole = graph()
    inputs = {"left": data(rng, 9, 4), "right": data(rng, 9, 4), "word": rng.integers(0, 7, size=(9, 3)),
              "kind": rng.integers(0, 4, size=(9, 1))}  # fmt: skip
    whole.compile("rmsprop", ["mse", None], loss_weights=[2.0, 1.0])
    whole.fit(inputs, [data(rng, 9, 2), data(rng, 9, 2)], epochs=2, verbose=0)
    put("graph.fnn", whole.save, inputs)
    put("pictures.fnn", pictures().save, rng.integers(0, 256, size=(6, 4, 4, 2)))

    own = custom()
    own.compile("adam", absolute_error)
    own.fit(x[:, :4], x[:, 4:], epochs=2, verbose=0)
    put("custom.fnn", own.save, x[:, :4])
    return given


def outputs(path, inputs):
    """What a file gives for inputs; weights go into the model of trained.fnn, as a
    checkpoint does, whose run goes on for two epochs."""
    model = fnn.load(path if path.name not in ("weights.fnn", "run.ckpt") else path.parent / "trained.fnn")
    if path.name == "weights.fnn":
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        model.load_weights(path)
    if path.name == "run.ckpt":
        y = np.random.default_rng(2).integers(0, 3, size=len(inputs))
        model.fit(inputs, y, epochs=5, batch_size=8, verbose=0, seed=5, resume=path)
    return model(inputs) if isinstance(model, fnn.Predictor) else model.predict(inputs, verbose=0)


def goes_on(path, inputs):
    """The losses of three more epochs of a compiled model on targets that follow from the inputs."""
    model = fnn.load(path)
    x = inputs if isinstance(inputs, dict) else {"x": inputs}
    count = len(next(iter(x.values())))
    rng = np.random.default_rng(3)
    if str(model._settings["loss"]).startswith("sparse"):
        y = rng.integers(0, 3, size=count)
    else:
        y = [data(rng, count, *shape[1:]) for shape in np.atleast_2d(model.output_shape)]
        y = y if len(y) > 1 else y[0]
    return model.fit(inputs, y, epochs=3, batch_size=8, verbose=0, seed=9, shuffle=False).history["loss"]


TRAINED = ("trained.fnn", "trained_float64.fnn", "graph.fnn", "custom.fnn")


def flat(name, inputs):
    """Arrays by key, as an .npz holds them."""
    return {f"{name}|{key}": a for key, a in inputs.items()} if isinstance(inputs, dict) else {name: inputs}


def main():
    scratch = FOLDER / "new"
    scratch.mkdir(parents=True)
    try:
        made = make(scratch)
        for name, inputs in made.items():
            if (FOLDER / name).exists():
                print(f"{name}: stands already")
                continue
            shutil.copy(scratch / name, FOLDER / name)
            results = outputs(FOLDER / name, inputs)
            results = results if isinstance(results, (list, tuple)) else [results]
            arrays = {f"in {key}": a for key, a in flat("x", inputs).items()}
            arrays |= {f"out {i}": np.asarray(a) for i, a in enumerate(results)}
            if name in TRAINED:
                arrays["losses"] = np.asarray(goes_on(FOLDER / name, inputs))
            np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
            print(f"{name}: {(FOLDER / name).stat().st_size} bytes")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
