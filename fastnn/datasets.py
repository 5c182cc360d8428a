"""Small data sets that come with fastnn, or are made by a formula."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from . import seeds
from .arguments import check_float, check_int

if TYPE_CHECKING:
    from ._typing import Any, NDArray

__all__ = ["load_digits", "make_clock"]


def load_digits() -> tuple[NDArray[Any], NDArray[Any]]:
    """Load 1797 handwritten digits.

    Each is a picture of 8 by 8 pixels; a pixel counts the set points, 0 to 16, of a 4 by 4 block of the
    original bitmap.

    Returns
    -------
    x : ndarray of float32, shape (1797, 64)
        Pixel values 0 to 16, row after row of each picture.
    y : ndarray of int64, shape (1797,)
        The digits, 0 to 9.

    Notes
    -----
    The test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49, under CC BY 4.0; the same samples in the same
    order as scikit-learn's ``load_digits``. The arrays are new in each call.

    Examples
    --------
    >>> from fastnn.datasets import load_digits
    >>> x, y = load_digits()
    >>> x.shape, y.shape
    ((1797, 64), (1797,))
    """
    with (files(__package__) / "data" / "digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["images"].astype(np.float32), arrays["labels"].astype(np.int64)


def make_clock(n_samples=1000, *, size=16, noise=0.0, random_state=None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw pictures of a clock's hand, and the hours that they show.

    The dial has 24 hours, so that one turn of the hand is a day: 0 is at the top, 6 to the right. A pixel at the
    distance d from the hand, a line from the centre to 0.9 of the way to the edge, is exp(-d^2), d in pixels.

    Parameters
    ----------
    n_samples : int, default 1000
    size : int, default 16
        Height and width of a picture in pixels.
    noise : float, default 0
        Standard deviation of what is added to each pixel.
    random_state : int, numpy.random.Generator or None
        Decides hours and noise. None takes a seed that follows from `fastnn.set_seed`, if that was called.

    Returns
    -------
    x : ndarray of float32, shape (n_samples, size * size)
        Pixels, row after row of each picture.
    y : ndarray of float32, shape (n_samples,)
        The hours, drawn evenly from [0, 24).

    Examples
    --------
    An error in hours has to go round the dial, where 23:59 and 0:01 are two minutes apart:

    >>> from fastnn import datasets, ops
    >>> def hours_apart(y_true, y_pred):
    ...     turns = (y_pred - y_true) / 24
    ...     return 24 * ops.abs(turns - ops.floor(turns + 0.5))
    >>> x, y = datasets.make_clock(200, random_state=0)
    >>> x.shape, bool(0 <= y.min() and y.max() < 24)
    ((200, 256), True)
    """
    check_int("make_clock", "n_samples", n_samples, low=1)
    check_int("make_clock", "size", size, low=2)
    check_float("make_clock", "noise", noise, low=0)
    if not isinstance(random_state, np.random.Generator):
        seed = seeds.next_seed() if random_state is None else check_int("make_clock", "random_state", random_state, low=0)
        random_state = np.random.default_rng(seed)
    y = random_state.uniform(0, 24, n_samples).astype(np.float32)
    y[y == 24] = 0  # rounded up
    angle = y * np.float32(np.pi / 12)
    right, up = np.sin(angle)[:, None], np.cos(angle)[:, None]
    place = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    across, above = np.tile(place, size), np.repeat(-place, size)
    along = np.clip(right * across + up * above, 0, np.float32(0.45 * size))  # the hand's nearest point
    x = np.exp(-((across - along * right) ** 2) - (above - along * up) ** 2)
    if noise:
        x += noise * random_state.standard_normal(x.shape, dtype=np.float32)
    return x, y
