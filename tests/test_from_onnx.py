"""Models read from ONNX files."""

import numpy as np
import pytest
from conftest import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import random_model

import fastnn as fnn

onnx = pytest.importorskip("onnx")

TOLERANCE = {"float32": 4e-6, "float64": 1e-12}


def assert_same(model, back, arrays):
    predicted = [m.predict(arrays, verbose=0) for m in (model, back)]
    for want, got in zip(*(p if isinstance(p, list) else [p] for p in predicted), strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype
        assert np.abs(got - want).max(initial=0) <= TOLERANCE[model.dtype] * (np.abs(want).max(initial=0) or 1)


@settings(max_examples=max(EXAMPLES // 4, 5))
@given(st.integers(0, 2**32))
def test_what_is_written_is_read_back(seed):
    model, arrays = random_model(np.random.default_rng(seed))
    assert_same(model, fnn.from_onnx(fnn.onnx.to_onnx(model)), arrays)
