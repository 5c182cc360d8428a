"""fastnn: train and run feed-forward neural networks, fast and small. The API is shaped like Keras 3's."""

from importlib import import_module
from typing import TYPE_CHECKING

try:
    from . import _core  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"fastnn's compiled part cannot be loaded from {__path__[0]} ({error}). In a checkout that was not built in place, "
        "start Python from another folder, or run: pip install -e ."
    ) from error

from . import (
    _threadpoolctl,
    activations,
    config,
    errors,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
    utils,
)
from .config import get_include, get_library, get_num_threads, set_num_threads, show_config
from .errors import FastNNError
from .graph import Program, Tensor
from .history import History
from .layers import Input, Layer, Parameter
from .model import Model, Sequential
from .predictor import Predictor
from .registry import reset_names
from .seeds import set_seed

_threadpoolctl.follow()

__all__ = [
    "FastNNError", "History", "Input", "Layer", "Model", "Parameter", "Perceptron", "Predictor", "Program", "Sequential",
    "Tensor", "activations", "callbacks", "config", "datasets", "distributed", "errors", "explain", "fit_many", "from_keras",
    "from_onnx", "from_torch", "get_include", "get_library", "get_num_threads", "initializers", "keras", "layers", "load",
    "losses", "metrics", "onnx", "ops", "optimizers", "plot", "preprocessing", "regularizers", "reset_names", "schedules",
    "set_num_threads", "set_seed", "show_config", "utils", "value_and_grad",
]  # fmt: skip


# What costs import time that most processes need not pay: found at first use.
_MODULES = ("callbacks", "datasets", "distributed", "explain", "io", "keras", "onnx", "ops", "plot", "preprocessing", "sklearn")
_MODULE_OF = {
    "Perceptron": "perceptron", "fit_many": "many", "from_keras": "interop.keras", "from_onnx": "onnx.reader",
    "from_torch": "interop.torch", "load": "io", "value_and_grad": "autodiff",
}  # fmt: skip

if TYPE_CHECKING:
    from . import callbacks, datasets, distributed, explain, io, keras, onnx, ops, plot, preprocessing, sklearn  # noqa: F401
    from .autodiff import value_and_grad
    from .interop.keras import from_keras
    from .interop.torch import from_torch
    from .io import load
    from .many import fit_many
    from .onnx.reader import from_onnx
    from .perceptron import Perceptron


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    if name == "__version__":
        return config.version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return [*__all__, "__version__"]
