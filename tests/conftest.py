"""Fixtures that all tests share."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator that draws the same numbers in every run."""
    return np.random.default_rng(0)
