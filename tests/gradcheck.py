"""Finite differences, shared by the tests of derivatives."""

import numpy as np


def numeric_gradient(function, array, step=1e-5):
    """Central differences of a scalar function by every element of a float64 array, which stays as it was."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        below = function()
        array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def assert_close(actual, expected, tolerance=1e-6):
    """max|a - b| / max|b| within the tolerance (absolute where b is all zero)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = np.abs(expected).max(initial=0.0) or 1.0
    error = np.abs(actual - expected).max(initial=0.0) / scale
    assert error <= tolerance, f"relative error {error:.2e}"
