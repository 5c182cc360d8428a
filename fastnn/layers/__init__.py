"""Layers. Arguments, defaults and names are those of Keras 3."""

from .activations import ELU, LeakyReLU, PReLU, ReLU, Softmax
from .augmentation import MixUp, RandomErasing, RandomFlip, RandomRotation, RandomTranslation, RandomZoom
from .base import Layer, Parameter, deserialize, serialize
from .core import Activation, Dense, Embedding, Input, InputLayer
from .lookup import IntegerLookup, StringLookup
from .merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from .normalization import BatchNormalization, LayerNormalization, UnitNormalization
from .operation import Operation
from .preprocessing import CategoryEncoding, Normalization, Rescaling
from .regularization import AlphaDropout, Dropout, GaussianDropout, GaussianNoise
from .reshaping import Flatten, Reshape
from .traced import TracedLayer

__all__ = [
    "Activation", "Add", "AlphaDropout", "Average", "BatchNormalization", "CategoryEncoding", "Concatenate",
    "Dense", "Dot", "Dropout", "ELU", "Embedding", "Flatten", "GaussianDropout", "GaussianNoise", "Input",
    "InputLayer", "IntegerLookup", "Layer", "LayerNormalization", "LeakyReLU", "Maximum", "Minimum", "MixUp", "Multiply",
    "Normalization", "Operation", "PReLU", "Parameter", "RandomErasing", "RandomFlip", "RandomRotation",
    "RandomTranslation", "RandomZoom", "ReLU", "Rescaling", "Reshape", "Softmax", "StringLookup", "Subtract", "TracedLayer",
    "UnitNormalization", "add", "average", "concatenate", "deserialize", "dot", "maximum", "minimum",
    "multiply", "serialize", "subtract",
]  # fmt: skip
