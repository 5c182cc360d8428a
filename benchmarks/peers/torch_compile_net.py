"""The nets in PyTorch as torch_net.py has them, compiled."""

from functools import partial

from . import torch_net
from .torch_net import version

__all__ = ["Trainer", "predictor", "version"]

Trainer = partial(torch_net.Trainer, compiled=True)
predictor = partial(torch_net.predictor, compiled=True)
