"""Helpers around arrays and random numbers, under Keras's names."""

from .data import to_categorical
from .registry import reset_names as clear_session
from .seeds import set_seed as set_random_seed

__all__ = ["clear_session", "set_random_seed", "to_categorical"]
