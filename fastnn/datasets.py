"""Small data sets that come with fastnn."""

from importlib.resources import files

import numpy as np

__all__ = ["load_digits"]


def load_digits():
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
