"""Files that earlier versions wrote: they load for ever, give what they gave, and go on training.

tests/golden/make_files.py adds to them; what stands there is never changed.
"""

import numpy as np
import pytest
from golden import make_files
from golden.store import HERE

import fastnn as fnn
from fastnn import io

FILES = sorted(p for p in (HERE / "files").glob("fastnn-*/*") if p.suffix in (".fnn", ".ckpt"))
# Products of bfloat16 round to 8 bits, and a sum that rounds otherwise may tip a number over.
TOLERANCE = {"trained_mixed_bfloat16.fnn": 1e-2, "run.ckpt": 1e-4}


def stored(path):
    """(inputs, outputs, losses or None) that were written with a file."""
    with np.load(f"{path}.npz", allow_pickle=False) as arrays:
        inputs = {k.partition("|")[2]: arrays[k] for k in arrays if k.startswith("in ")}
        results = [arrays[k] for k in sorted(arrays) if k.startswith("out ")]
        losses = arrays.get("losses")
    return (inputs.popitem()[1] if list(inputs) == [""] else inputs), results, losses


def difference(a, b):
    assert np.shape(a) == np.shape(b)
    return np.abs(np.asarray(a, np.float64) - b).max() / np.abs(b).max()


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_file_of_an_earlier_version_gives_what_it_gave(path):
    inputs, want, losses = stored(path)
    got = make_files.outputs(path, inputs)
    got = got if isinstance(got, (list, tuple)) else [got]
    for a, b in zip(got, want, strict=True):
        assert difference(a, b) <= TOLERANCE.get(path.name, 1e-6)
    if path.name in make_files.TRAINED:
        assert difference(make_files.goes_on(path, inputs), losses) <= 1e-4


def test_there_is_a_file_of_every_kind_that_is_written():
    kinds = set()
    for path in FILES:
        with open(path, "rb") as file:
            reader = io.open_checked(file, path.name, ("model", "weights", "predictor", "checkpoint"))
        kinds.add((reader.metadata["format"], reader.metadata["kind"]))
    assert {kind for form, kind in kinds if form == io.FORMAT} == {"model", "weights", "predictor", "checkpoint"}
    assert sum(p.stat().st_size for p in (HERE / "files").rglob("*") if p.is_file()) < 300_000


def test_a_loaded_layer_of_the_users_own_class_needs_the_class_no_more():
    path = next(p for p in FILES if p.name == "custom.fnn")
    assert type(fnn.load(path).get_layer("scale")).__name__ == "TracedLayer"
