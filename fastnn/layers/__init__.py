"""Layers. Arguments, defaults and names are those of Keras 3."""

from .activations import ELU, LeakyReLU, ReLU, Softmax
from .base import Layer, Parameter, deserialize, serialize
from .core import Activation, Dense, Input, InputLayer
from .merging import Add, Concatenate, Multiply, add, concatenate, multiply
from .regularization import Dropout
from .reshaping import Flatten, Reshape

__all__ = [
    "Activation", "Add", "Concatenate", "Dense", "Dropout", "ELU", "Flatten", "Input", "InputLayer", "Layer",
    "LeakyReLU", "Multiply", "Parameter", "ReLU", "Reshape", "Softmax", "add", "concatenate", "deserialize",
    "multiply", "serialize",
]  # fmt: skip
