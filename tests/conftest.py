"""Fixtures that all tests share."""

import os
import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# FASTNN_EXAMPLES=10000 searches longer, and elsewhere in each run; 200, the usual number, or fewer are the same in every run.
EXAMPLES = int(os.environ.get("FASTNN_EXAMPLES", 200))
settings.register_profile(
    "fastnn", max_examples=EXAMPLES, derandomize=EXAMPLES <= 200, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fastnn")

# Interpreters that tests start import the installed package, not the sources of the folder they are started in.
os.environ["PYTHONSAFEPATH"] = "1"

# A shell lets the jobs in its background ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng():
    """A generator that draws the same numbers in every run."""
    return np.random.default_rng(0)
