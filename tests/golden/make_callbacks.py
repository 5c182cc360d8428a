"""Makes callbacks.json: what Keras's callbacks decide on given values, epoch by epoch.

    pip install keras==3.15.1 torch==2.13.0 && python tests/golden/make_callbacks.py

Each case is one callback that is told the values of an epoch after the other until it stops training. Kept
are, for each epoch, the learning rate afterwards, and at the end the epoch it stopped in, the number of
epochs told, and the epoch whose weights the model has. The optimizer computes with Python floats here.
"""

import json
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

FALLING = [1.0, 0.8, 0.7, 0.71, 0.69, 0.695, 0.6951, 0.699, 0.5, 0.51, 0.52, 0.53, 0.54, 0.55, 0.4, 0.45]
RISING = [0.2, 0.5, 0.5, 0.4, 0.6, 0.61, 0.611, 0.55, 0.7, 0.7, 0.69, 0.68, 0.9, 0.1, 0.2, 0.3]
BROKEN = [1.0, float("nan"), 0.5, float("inf"), float("nan"), 0.49, 0.6, float("nan"), 0.7, 0.8]
CASES = [  # class, arguments, values
    *(("EarlyStopping", arguments, FALLING) for arguments in (
        {}, {"patience": 1}, {"patience": 2}, {"patience": 3, "min_delta": 0.05},
        {"patience": 3, "restore_best_weights": True},
        {"patience": 2, "baseline": 0.6}, {"patience": 5, "baseline": 0.6, "restore_best_weights": True},
        {"patience": 1, "start_from_epoch": 4}, {"patience": 20, "restore_best_weights": True},
        {"min_delta": -0.01},
    )),
    *(("EarlyStopping", {"mode": "max", **arguments}, RISING) for arguments in (
        {}, {"patience": 1}, {"patience": 2, "min_delta": 0.1},
        {"patience": 3, "baseline": 0.65, "restore_best_weights": True},
    )),
    *(("EarlyStopping", arguments, BROKEN) for arguments in (
        {"patience": 1}, {"patience": 3, "restore_best_weights": True},
    )),
    *(("ReduceLROnPlateau", arguments, FALLING) for arguments in (
        {}, {"patience": 1}, {"patience": 2, "factor": 0.5}, {"patience": 1, "cooldown": 2, "factor": 0.3},
        {"patience": 1, "min_lr": 0.004, "factor": 0.5}, {"patience": 2, "min_delta": 0.05}, {"patience": 0},
    )),
    ("ReduceLROnPlateau", {"patience": 1, "mode": "max", "factor": 0.5, "cooldown": 1}, RISING),
    ("ReduceLROnPlateau", {"patience": 1}, BROKEN),
]  # fmt: skip


class Optimizer:
    learning_rate = 0.01


class Model:
    stop_training = False
    epoch = -1

    def __init__(self):
        self.optimizer = Optimizer()

    def get_weights(self):
        return self.epoch

    def set_weights(self, epoch):
        self.epoch = epoch


def decide(name, arguments, values):
    callback, model = getattr(keras.callbacks, name)(**arguments), Model()
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        model.epoch = epoch
        callback.on_epoch_end(epoch, {"val_loss": np.float64(value)})
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    callback.on_train_end()
    return {
        "rates": rates,
        "stopped": getattr(callback, "stopped_epoch", 0),
        "epochs": len(rates),
        "weights_of": model.epoch,
    }


if __name__ == "__main__":
    cases = [
        {
            "class": name,
            "arguments": arguments,
            "values": [repr(v) for v in values],
            **decide(name, arguments, values),
        }
        for name, arguments, values in CASES
    ]
    path = Path(__file__).with_name("callbacks.json")
    path.write_text(json.dumps({"keras": keras.__version__, "cases": cases}, indent=1) + "\n")
