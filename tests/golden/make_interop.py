"""Makes interop.npz, interop.json and the folder interop: files of Keras 3 and PyTorch, and what they predict.

    pip install keras==3.15.1 torch==2.13.0 h5py safetensors && python tests/golden/make_interop.py
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from collections import OrderedDict

import h5py
import keras
import numpy as np
import safetensors.torch
import torch
from keras import layers
from keras.src.legacy.saving import legacy_h5_format
from store import HERE, Writer
from torch import nn

FOLDER = HERE / "interop"


def chain():
    """A Sequential of one input, compiled."""
    model = keras.Sequential(
        [
            keras.Input((5,), name="features"),
            layers.Dense(6, activation=layers.LeakyReLU(negative_slope=0.1), kernel_regularizer="l2", name="hidden"),
            layers.BatchNormalization(momentum=0.9, name="norm"),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(6, activation="gelu", name="second"),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="chain",
    )
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0), keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"]
    )
    return model


def graph():
    """Inputs by name, integers, a model called twice, layers of every family, functions, two outputs."""
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    word = keras.Input((3,), dtype="int32", name="word")
    kind = keras.Input((1,), name="kind")
    inner = keras.Input((4,), name="inner")
    tower = keras.Model(inner, layers.ELU(alpha=0.5, name="elu")(layers.Dense(4, name="inside")(inner)), name="tower")
    normal = layers.Normalization(name="normal")
    normal.adapt(np.arange(12, dtype=np.float32).reshape(3, 4) ** 2)
    a, b = tower(normal(left)), tower(right)
    rows = layers.Reshape((2, 2), name="rows")(layers.Subtract(name="less")([a, b]))
    rows = layers.LayerNormalization(name="layer_norm")(layers.PReLU(shared_axes=[1], name="alphas")(rows))
    picked = rows[:, 1] * 2.0
    words = layers.Flatten(name="flat")(layers.Embedding(7, 2, name="vectors")(word))
    hot = layers.CategoryEncoding(4, output_mode="one_hot", name="hot")(kind)
    joined = layers.Concatenate(name="joined")([
        layers.Maximum(name="most")([a, b]), layers.Rescaling([1.0, 2.0], offset=0.5, name="scaled")(picked), words, hot,
        layers.Dot(axes=1, normalize=True, name="cosine")([a, b]),
    ])  # fmt: skip
    first = layers.Dense(2, name="first")(layers.GaussianNoise(0.1, name="noise")(joined))
    second = layers.Activation("tanh", name="second")(layers.Identity(name="same")(keras.ops.exp(-first)))
    return keras.Model({"left": left, "right": right, "word": word, "kind": kind}, {"first": first, "second": second})


def unsupported():
    """Layers and arguments that fastnn does not have."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 1), name="picture"),
            layers.Conv2D(2, 3, name="conv"),
            layers.Lambda(lambda x: x, name="code"),
            layers.Flatten(name="flat"),
            layers.Dense(3, kernel_constraint="non_neg", name="positive"),
            layers.ReLU(max_value=6.0, name="capped"),
        ]
    )


def randomized(model, rng):
    """Weights of the size that trained ones have, running statistics too."""
    for w in model.weights:
        high = w.path.endswith(("variance", "gamma"))
        if "normal/" not in w.path:
            w.assign(rng.uniform(0.5, 1.5, w.shape) if high else rng.normal(0, 0.5, w.shape))
    return model


def keras_cases(out, rng):
    model = randomized(chain(), rng)
    x = np.asarray(rng.normal(size=(8, 5)), np.float32)
    want = [model.predict(x, verbose=0)]
    model.save(FOLDER / "chain.keras")
    model.save(FOLDER / "chain.h5")
    model.save_weights(FOLDER / "chain.weights.h5")
    with h5py.File(FOLDER / "chain_legacy.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    case(out, "chain", {"x": x}, want, files=["chain.keras", "chain.h5"],
         weights=["chain.keras", "chain.h5", "chain.weights.h5", "chain_legacy.h5"])  # fmt: skip

    model = randomized(graph(), rng)
    x = {"left": rng.normal(size=(7, 4)), "right": rng.normal(size=(7, 4)), "word": rng.integers(0, 7, (7, 3)),
         "kind": rng.integers(0, 4, (7, 1))}  # fmt: skip
    x = {k: np.asarray(v, np.float32 if v.dtype == float else np.int32) for k, v in x.items()}
    want = model.predict(x, verbose=0)
    model.save(FOLDER / "graph.keras")
    case(out, "graph", x, [want["first"], want["second"]], files=["graph.keras"], weights=["graph.keras"])
    unsupported().save(FOLDER / "unsupported.keras")


def torch_chain():
    net = nn.Sequential(OrderedDict(
        encoder=nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.LeakyReLU(0.1), nn.Dropout(0.2)),
        second=nn.Linear(6, 6),
        act=nn.GELU(),
        rows=nn.Unflatten(1, (2, 3)),
        norm=nn.LayerNorm(3),
        alphas=nn.PReLU(2),
        flat=nn.Flatten(),
        out=nn.Linear(6, 3, bias=False),
        chances=nn.LogSoftmax(dim=-1),
    ))  # fmt: skip
    torch.manual_seed(0)
    with torch.no_grad():
        for name, t in net.state_dict().items():
            if t.dtype.is_floating_point:
                t.uniform_(0.5, 1.5) if name.endswith(("var", "1.weight")) else t.normal_(0, 0.5)
    return net.eval()


def torch_cases(out, rng):
    net = torch_chain()
    x = np.asarray(rng.normal(size=(8, 5)), np.float32)
    want = net(torch.tensor(x)).detach().numpy()
    safetensors.torch.save_file(net.state_dict(), FOLDER / "torch.safetensors")
    halves = {k: t.bfloat16() if t.dtype.is_floating_point else t for k, t in net.state_dict().items()}
    safetensors.torch.save_file(halves, FOLDER / "torch_bfloat16.safetensors")
    case(out, "torch", {"x": x}, [want], files=[], weights=["torch.safetensors", "torch_bfloat16.safetensors"])


def case(out, name, inputs, want, files, weights):
    out.add({
        "name": name, "files": files, "weights": weights,
        "inputs": {k: [out.put(str(v.dtype), v, v.dtype), str(v.dtype)] for k, v in inputs.items()},
        "expected": [out.put("float32", a, np.float32) for a in want],
    })  # fmt: skip


def main():
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    out = Writer(keras=keras.__version__, torch=torch.__version__.split("+")[0])
    keras_cases(out, rng)
    torch_cases(out, rng)
    out.save("interop")


if __name__ == "__main__":
    main()
