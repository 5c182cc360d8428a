"""Tables of raw data become features: what a column of numbers, text or truth values means, as plain data."""

from .features import Features

__all__ = ["Features"]
