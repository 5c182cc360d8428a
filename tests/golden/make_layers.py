"""Makes layers.npz and layers.json: layers and nets of them, computed by Keras 3.

    pip install keras==3.15.1 torch==2.13.0 && python tests/golden/make_layers.py

Of every case: the outputs in inference and in training mode, the gradients of the mean squared error in both,
by the trainable weights and by the inputs that are no integers, and of the nets ten steps of training.
Pictures are moved by amounts whose bounds are equal, so that nothing is left to chance; Keras computes where
their pixels come from in float32 whatever ``floatx`` says.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import torch
from make_keras import exact_float64
from store import Writer

STEPS = 10


def case(name, layers, *inputs, join=None, vocabulary=None, adapt=False, steps=False, given_weights=True):
    return {
        "name": name, "layers": layers, "inputs": inputs, "join": join, "vocabulary": vocabulary,
        "adapt": adapt, "steps": steps, "given_weights": given_weights,
    }  # fmt: skip


NORM = {"mean": [0.5, -1.0, 2.0], "variance": [4.0, 0.25, 0.0]}
CASES = [
    case("BatchNormalization", [["BatchNormalization", {}]], (5,)),
    case("BatchNormalization of pictures", [["BatchNormalization", {"momentum": 0.9}]], (2, 3, 4)),
    case("BatchNormalization bare", [["BatchNormalization", {"center": False, "scale": False}]], (5,)),
    case("BatchNormalization epsilon", [["BatchNormalization", {"epsilon": 0.1, "center": False}]], (5,)),
    case("BatchNormalization frozen", [["BatchNormalization", {"trainable": False}]], (5,)),
    case("LayerNormalization", [["LayerNormalization", {}]], (5,)),
    case("LayerNormalization wide", [["LayerNormalization", {"epsilon": 0.1, "scale": False}]], (3, 37)),
    case("LayerNormalization bare", [["LayerNormalization", {"center": False, "scale": False}]], (5,)),
    case("UnitNormalization", [["UnitNormalization", {}]], (2, 5)),
    case("UnitNormalization axes", [["UnitNormalization", {"axis": [1, 2]}]], (2, 5)),
    case("PReLU", [["PReLU", {}]], (3, 4)),
    case("PReLU shared", [["PReLU", {"shared_axes": [1, 2]}]], (3, 4, 2)),
    case("Embedding", [["Embedding", {"input_dim": 7, "output_dim": 5}]], (4,), vocabulary=7),
    case("Embedding of one", [["Embedding", {"input_dim": 7, "output_dim": 20}]], (), vocabulary=7),
    case("Normalization", [["Normalization", {}]], (3,), adapt=True, given_weights=False),
    case("Normalization of pictures", [["Normalization", {"axis": -1}]], (4, 2, 3), adapt=True,
         given_weights=False),
    case("Normalization axes", [["Normalization", {"axis": [1, 3]}]], (4, 2, 3), adapt=True,
         given_weights=False),
    case("Normalization axis 1", [["Normalization", {"axis": 1}]], (4, 2), adapt=True,
         given_weights=False),
    case("Normalization of all", [["Normalization", {"axis": None}]], (4, 2), adapt=True,
         given_weights=False),
    case("Normalization inverted", [["Normalization", {"invert": True}]], (3,), adapt=True,
         given_weights=False),
    case("Normalization given", [["Normalization", NORM]], (2, 3)),
    case("Normalization given a number", [["Normalization", {"mean": 3.0, "variance": 2.0}]], (3,)),
    case("Rescaling", [["Rescaling", {"scale": 1 / 127.5, "offset": -1}]], (2, 3)),
    case("Rescaling by channel", [["Rescaling", {"scale": [0.5, 2.0, -1.0], "offset": 0.25}]], (2, 3)),
    case("CategoryEncoding multi_hot", [["CategoryEncoding", {"num_tokens": 6}]], (4,), vocabulary=6),
    case("CategoryEncoding count", [["CategoryEncoding", {"num_tokens": 6, "output_mode": "count"}]], (4,),
         vocabulary=6),
    case("CategoryEncoding one_hot", [["CategoryEncoding", {"num_tokens": 6, "output_mode": "one_hot"}]],
         (4,), vocabulary=6),
    case("CategoryEncoding one_hot of none",
         [["CategoryEncoding", {"num_tokens": 6, "output_mode": "one_hot"}]], (), vocabulary=6),
    case("CategoryEncoding one_hot of one",
         [["CategoryEncoding", {"num_tokens": 6, "output_mode": "one_hot"}]], (1,), vocabulary=6),
    case("Add broadcast", [], (3,), (2, 3), (2, 1), join=["Add", {}]),
    case("Subtract", [], (2, 3), (1, 3), join=["Subtract", {}]),
    case("Multiply broadcast", [], (2, 1), (1, 3), join=["Multiply", {}]),
    case("Average", [], (4,), (4,), (1,), join=["Average", {}]),
    case("Maximum", [], (4,), (4,), join=["Maximum", {}]),
    case("Minimum", [], (3,), (2, 3), join=["Minimum", {}]),
    case("Dot", [], (4,), (4,), join=["Dot", {"axes": 1}]),
    case("Dot of matrices", [], (3, 4), (4, 2), join=["Dot", {"axes": [2, 1]}]),
    case("Dot normalized", [], (3, 4), (5, 4), join=["Dot", {"axes": -1, "normalize": True}]),
]
SHIFTS = {"height_factor": (0.25, 0.25), "width_factor": (-0.4, -0.4)}
for mode in ("reflect", "constant", "nearest", "wrap"):
    for kind, amounts in (("RandomTranslation", SHIFTS), ("RandomRotation", {"factor": (0.1, 0.1)}),
                          ("RandomZoom", {"height_factor": (0.3, 0.3), "width_factor": (-0.4, -0.4)})):
        config = {**amounts, "fill_mode": mode, "fill_value": 0.5}
        CASES.append(case(f"{kind} {mode}", [[kind, config]], (7, 6, 2)))
CASES += [
    case("RandomTranslation far",
         [["RandomTranslation", {"height_factor": (1, 1), "width_factor": (-1, -1)}]], (5, 4, 1)),
    case("RandomRotation back", [["RandomRotation", {"factor": (-0.3, -0.3)}]], (4, 9, 1)),
    case("RandomRotation nearest", [["RandomRotation", {"factor": (0.07, 0.07), "interpolation": "nearest"}]],
         (6, 7, 3)),
    case("RandomZoom in proportion", [["RandomZoom", {"height_factor": (0.5, 0.5)}]], (5, 8, 1)),
    case("net of BatchNormalization",
         [["Dense", {"units": 8, "use_bias": False}], ["BatchNormalization", {"momentum": 0.8}],
          ["Activation", {"activation": "relu"}], ["Dense", {"units": 6, "use_bias": False}],
          ["BatchNormalization", {}],
          ["Activation", {"activation": "tanh"}], ["Dense", {"units": 3}]], (6,), steps=True),
    case("net of BatchNormalization on inputs",
         [["BatchNormalization", {}], ["Dense", {"units": 8, "activation": "tanh"}], ["Dense", {"units": 3}]],
         (6,), steps=True),
    case("net of LayerNormalization",
         [["Dense", {"units": 8}], ["LayerNormalization", {}], ["Activation", {"activation": "gelu"}],
          ["Dense", {"units": 3}]], (6,), steps=True),
    case("net of PReLU", [["Dense", {"units": 8}], ["PReLU", {}], ["Dense", {"units": 3}]], (6,), steps=True),
    case("net of Embedding",
         [["Embedding", {"input_dim": 9, "output_dim": 4}], ["Flatten", {}],
          ["Dense", {"units": 6, "activation": "tanh"}], ["Dense", {"units": 2}]], (5,), vocabulary=9,
         steps=True),
]  # fmt: skip


def build(case):
    layers = [getattr(keras.layers, kind)(**config) for kind, config in case["layers"]]
    inputs = [keras.Input(shape, dtype="int32" if case["vocabulary"] else None) for shape in case["inputs"]]
    y = inputs[0]
    if case["join"]:
        kind, config = case["join"]
        config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        y = getattr(keras.layers, kind)(**config)(inputs)
    for layer in layers:
        y = layer(y)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], y), layers


def measured(model, xs, target, training):
    """Output, gradients by the trainable weights and gradients by the real inputs; changes no statistics."""
    kept = [w.numpy() for w in model.weights]
    given = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in xs]
    for w in model.trainable_weights:
        w.value.grad = None
    y = model(given if len(given) > 1 else given[0], training=training)
    loss = ((y - torch.tensor(target)) ** 2).mean()
    if loss.requires_grad:
        loss.backward()
    by_weights = [w.value.grad.numpy() for w in model.trainable_weights]
    by_inputs = [x.grad.numpy() for x in given if x.requires_grad]
    model.set_weights(kept)
    return y.detach().numpy(), by_weights, by_inputs


def add(out, case):
    rng = np.random.default_rng(len(case["name"]))
    if case["vocabulary"]:
        xs = [rng.integers(0, case["vocabulary"], size=(6, *case["inputs"][0])).astype(np.int32)]
    else:
        count = 2 if len(case["inputs"][0]) == 3 else 6
        xs = [np.asarray(rng.normal(0.5, 1.5, size=(count, *s)), np.float32) for s in case["inputs"]]
    described = {k: case[k] for k in ("name", "layers", "join", "vocabulary", "adapt", "steps")}
    described["inputs"] = [out.put("given", x, np.float32) for x in xs]
    weights = target = None
    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)
        keras.backend.clear_session()
        cast = [x if case["vocabulary"] else x.astype(dtype) for x in xs]
        model, layers = build(case)
        if case["adapt"]:
            layers[0].adapt(cast[0])
        if weights is None:
            weights = [
                np.asarray(rng.uniform(0.5, 1.5, size=w.shape) if "variance" in w.path or "gamma" in w.path
                           else rng.normal(0, 0.5, size=w.shape), np.float32)
                for w in model.weights
            ]  # fmt: skip
            target = np.asarray(rng.normal(size=model(cast if len(cast) > 1 else cast[0]).shape), np.float32)
            described["target"] = out.put("given", target, np.float32)
            described["weights"] = [out.put("given", w, np.float32) for w in weights]
        if case["given_weights"]:
            model.set_weights([w.astype(dtype) for w in weights])
        else:
            described["adapted"] = [out.put(dtype, w.numpy(), dtype) for w in model.weights]
        want = described.setdefault("expected", {})
        for mode, training in (("inference", False), ("training", True)):
            y, by_weights, by_inputs = measured(model, cast, target.astype(dtype), training)
            want[mode] = out.put(dtype, y, dtype)
            want[f"{mode} by weights"] = [out.put(dtype, g, dtype) for g in by_weights]
            want[f"{mode} by inputs"] = [out.put(dtype, g, dtype) for g in by_inputs]
        if case["steps"]:
            model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mean_squared_error")
            history = model.fit(
                cast[0], target.astype(dtype), batch_size=6, epochs=STEPS, shuffle=False, verbose=0
            )
            want["losses"] = out.put(dtype, history.history["loss"], dtype)
            want["after"] = [out.put(dtype, w, dtype) for w in model.get_weights()]
    out.add(described)


def main():
    torch.set_num_threads(1)
    out = Writer(keras=keras.__version__, torch=torch.__version__.split("+")[0])
    exact_float64()
    for described in CASES:
        add(out, described)
    out.save("layers")


if __name__ == "__main__":
    main()
