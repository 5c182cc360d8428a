"""Fixtures that all tests share."""

import os

import numpy as np
import pytest

# Interpreters that tests start import the installed package, not the sources of the folder they are started in.
os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture
def rng():
    """A generator that draws the same numbers in every run."""
    return np.random.default_rng(0)
