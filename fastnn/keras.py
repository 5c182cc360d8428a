"""fastnn under Keras's paths: `from fastnn import keras`, then `keras.layers.Dense` and so on.

Everything here is the object that fastnn has under its own name; nothing is implemented a second time.
"""

import sys
from types import ModuleType

from . import activations, callbacks, config, initializers, layers, losses, metrics, ops, optimizers, regularizers, utils
from .graph import Tensor as KerasTensor
from .io import load_model
from .layers import Input, Layer
from .losses import Loss
from .metrics import Metric
from .model import Model, Sequential
from .optimizers import Optimizer

__all__ = [
    "Input", "KerasTensor", "Layer", "Loss", "Metric", "Model", "Optimizer", "Sequential", "activations", "backend",
    "callbacks", "config", "initializers", "layers", "losses", "metrics", "models", "ops", "optimizers", "regularizers",
    "saving", "utils",
]  # fmt: skip


def _namespace(name, **content):
    module = ModuleType(f"{__name__}.{name}", f"keras.{name}: objects of fastnn under Keras's path.")
    module.__dict__.update(content, __all__=sorted(content))
    return module


models = _namespace("models", Model=Model, Sequential=Sequential, load_model=load_model)
saving = _namespace("saving", load_model=load_model)
backend = _namespace(
    "backend", clear_session=utils.clear_session, floatx=config.floatx, set_floatx=config.set_floatx
)

# So that `from fastnn.keras.layers import Dense` and `import fastnn.keras.layers` find them too.
for _name in (
    "activations",
    "backend",
    "callbacks",
    "config",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "regularizers",
    "saving",
    "utils",
):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]
sys.modules[f"{__name__}.optimizers.schedules"] = optimizers.schedules
