"""Makes keras2.npz, keras2.json and the files keras2.* of the folder interop: files of Keras 2, and what they predict.

    pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0 h5py && python tests/golden/make_keras2.py
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tf_keras as keras
from store import HERE, Writer
from tf_keras import layers

FOLDER = HERE / "interop"


def main():
    rng = np.random.default_rng(0)
    x = layers.Input((5,), name="features")
    twice = layers.Dense(5, activation="tanh", name="twice")
    tower = keras.Sequential([layers.Dense(6, name="inside", input_shape=(5,)), layers.BatchNormalization(name="norm")], name="tower")
    h = layers.LeakyReLU(alpha=0.2, name="leaky")(tower(twice(twice(x))))
    h = layers.Dropout(0.1, name="drop")(layers.PReLU(name="alphas")(layers.LayerNormalization(name="layer_norm")(h)))
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="classes")(h), name="two")
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    for w in model.weights:
        w.assign(rng.uniform(0.5, 1.5, w.shape) if "variance" in w.name or "gamma" in w.name else rng.normal(0, 0.5, w.shape))
    data = np.asarray(rng.normal(size=(8, 5)), np.float32)
    model.evaluate(data, np.eye(3)[np.arange(8) % 3], verbose=0)  # metrics get their counts, which files hold too
    for ending in ("h5", "keras"):
        model.save(FOLDER / f"keras2.{ending}")
    model.save_weights(FOLDER / "keras2.weights.h5")
    model.save_weights(FOLDER / "keras2_legacy.h5", save_format="h5")
    out = Writer(tf_keras=keras.__version__)
    out.add({"x": out.put("float32", data, np.float32), "y": out.put("float32", model.predict(data, verbose=0), np.float32)})
    out.save("keras2")


if __name__ == "__main__":
    main()
