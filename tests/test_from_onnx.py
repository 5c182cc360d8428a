"""Models read from ONNX files."""

import functools
import json
import os

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


# ---- ONNX's own tests of operators ----


@pytest.fixture(scope="module")
def cases():
    from onnx_backend import node_cases

    return node_cases()


@pytest.mark.parametrize("how", ["model", "folded"])
def test_nodes_of_onnx(cases, how):
    """Each case gives ONNX's numbers or is named in the table; one that is named fails."""
    from onnx_backend import Prepared, fault, folded

    with open(os.path.join(os.path.dirname(__file__), "golden", "onnx_nodes.json")) as file:
        table = json.load(file)
    skipped = {name: reason for reason, names in table[how].items() for name in names}
    faults = {}
    for name, (proto, data, rtol, atol) in cases.items():
        run = Prepared(proto).run if how == "model" else functools.partial(folded, proto)
        faults[name] = fault(run, data, max(rtol, 1e-4), atol)
    passed = {name for name, found in faults.items() if found is None}
    assert len(passed) > 450
    if onnx.__version__ == table["onnx"]:
        assert {name: found for name, found in faults.items() if found and name not in skipped} == {}
        assert not passed & set(skipped)
        assert set(skipped) <= set(cases)
    else:  # other versions have other cases
        wrong = {name for name, found in faults.items() if found and found.startswith("wrong")}
        assert wrong <= set(skipped)
