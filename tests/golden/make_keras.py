"""Makes keras.npz and keras.json: optimizers, schedules, initializers and whole scripts, computed by Keras 3.

    pip install keras==3.15.1 torch==2.13.0 && python tests/golden/make_keras.py

Ten full-batch steps of each optimizer start from the same weights in both precisions; the scripts run as they
stand, in float32, and what they leave in ``result`` is kept as float32. Whatever ``floatx`` says, Keras
rounds float64 results to float32 on its torch backend, and constants on its TensorFlow
backend; `exact_float64` takes that rounding out.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import torch
from keras.src.backend.common import dtypes
from scripts import SCRIPTS, run
from store import Writer

OPTIMIZERS = [  # class, arguments
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.05}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.05}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.2}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.03}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.2}),
    ("RMSprop", {"learning_rate": 0.01}),
    ("RMSprop", {"learning_rate": 0.01, "rho": 0.7, "epsilon": 1e-4}),
    ("RMSprop", {"learning_rate": 0.01, "momentum": 0.8}),
    ("RMSprop", {"learning_rate": 0.01, "centered": True}),
    ("RMSprop", {"learning_rate": 0.01, "centered": True, "momentum": 0.8, "weight_decay": 0.01}),
    ("RMSprop", {"learning_rate": 0.01, "clipnorm": 0.2}),
    ("Adam", {"learning_rate": 0.02}),
    ("Adam", {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}),
    ("Adam", {"learning_rate": 0.3, "beta_2": 0.5, "amsgrad": True}),
    ("Adam", {"learning_rate": 0.02, "weight_decay": 0.05}),
    ("Adam", {"learning_rate": 0.02, "clipvalue": 0.03}),
    ("Adam", {"learning_rate": 0.02, "global_clipnorm": 0.2}),
    ("AdamW", {"learning_rate": 0.02}),
    ("AdamW", {"learning_rate": 0.02, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"learning_rate": 0.02, "clipnorm": 0.2}),
]
SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.7}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.7,
                          "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5,
                          "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [3, 7], "values": [0.1, 0.05, 0.2]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 6,
                         "end_learning_rate": 0.01, "power": 2.0}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4,
                         "end_learning_rate": 0.02, "cycle": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 8, "alpha": 0.1}),
    ("CosineDecay", {"initial_learning_rate": 0.02, "decay_steps": 6,
                     "warmup_target": 0.1, "warmup_steps": 3}),
]
INITIALIZERS = [
    ("Zeros", {}),
    ("Ones", {}),
    ("Constant", {"value": 0.25}),
    ("RandomUniform", {}),
    ("RandomUniform", {"minval": -0.5, "maxval": 2.0}),
    ("RandomNormal", {}),
    ("RandomNormal", {"mean": 1.0, "stddev": 0.5}),
    ("TruncatedNormal", {"mean": 1.0, "stddev": 0.5}),
    ("GlorotUniform", {}),
    ("GlorotNormal", {}),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
    ("Orthogonal", {"gain": 1.5}),
]
STEPS = 10


def exact_float64():
    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64")


def problem():
    """Inputs, targets and starting weights of the 6-8-3 net that every optimizer trains."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6))
    y = np.tanh(x[:, :3] - 0.5 * x[:, 3:])
    weights = [rng.normal(size=shape) * 0.4 for shape in ((6, 8), (8,), (8, 3), (3,))]
    return [np.asarray(a, np.float32) for a in (x, y, *weights)]


def ten_steps(optimizer, given):
    """Loss of each step, and the weights after the last."""
    x, y, *weights = given
    keras.backend.clear_session()
    layers = keras.layers
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(3)])
    model.set_weights(weights)
    model.compile(optimizer=optimizer, loss="mean_squared_error")
    history = model.fit(x, y, batch_size=len(x), epochs=STEPS, shuffle=False, verbose=0)
    return history.history["loss"], model.get_weights()


def build(kind, config, schedule=None):
    config = dict(config)
    if schedule:
        config["learning_rate"] = getattr(keras.optimizers.schedules, schedule[0])(**schedule[1])
    return getattr(keras.optimizers, kind)(**config)


def optimizer_cases(out):
    given = problem()
    where = [out.put("given", a, np.float32) for a in given]
    trained = [(kind, config, None) for kind, config in OPTIMIZERS]
    trained += [("SGD", {}, schedule) for schedule in SCHEDULES]
    for kind, config, schedule in trained:
        case = {"kind": "optimizer", "class": kind, "config": config, "schedule": schedule, "given": where}
        for dtype in ("float64", "float32"):
            keras.config.set_floatx(dtype)
            losses, weights = ten_steps(build(kind, config, schedule), [a.astype(dtype) for a in given])
            case["losses"] = out.put(dtype, losses, dtype)
            case["weights"] = [out.put(dtype, w, dtype) for w in weights]
        out.add(case)


def schedule_cases(out):
    keras.config.set_floatx("float64")
    for kind, config in SCHEDULES:
        schedule = getattr(keras.optimizers.schedules, kind)(**config)
        rates = [float(schedule(torch.tensor(step))) for step in range(20)]
        out.add({"kind": "schedule", "class": kind, "config": config,
                 "rates": out.put("float64", rates, np.float64)})


def initializer_cases(out):
    """Mean, deviation, smallest and largest value of a large draw, for kernels of two shapes."""
    keras.config.set_floatx("float64")
    for kind, config in INITIALIZERS:
        for shape in ((300, 200), (50, 400)):
            more = {"seed": 0} if kind not in ("Zeros", "Ones", "Constant") else {}
            draw = getattr(keras.initializers, kind)(**config, **more)(shape)
            w = keras.ops.convert_to_numpy(draw)
            values = [w.mean(), w.std(), w.min(), w.max()]
            out.add({"kind": "initializer", "class": kind, "config": config, "shape": shape,
                     "statistics": out.put("float64", values, np.float64)})


def script_cases(out):
    keras.config.set_floatx("float32")
    for path in SCRIPTS:
        keras.backend.clear_session()
        result = run(path, "import keras")
        where = {key: out.put("scripts", value, np.float32) for key, value in result.items()}
        out.add({"kind": "script", "name": path.stem, "result": where})


def main():
    torch.set_num_threads(1)
    out = Writer(keras=keras.__version__, torch=torch.__version__.split("+")[0])
    exact_float64()
    optimizer_cases(out)
    schedule_cases(out)
    initializer_cases(out)
    script_cases(out)
    out.save("keras")


if __name__ == "__main__":
    main()
