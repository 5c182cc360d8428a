"""What Python saved, libfastnn loads, predicts and trains with the bits of Python, on each instruction set of this processor,
and what it saves, Python trains on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the process of each instruction set

import libfastnn
from fuzz_corpus import OPTIMIZERS
from random_models import random_model

import fastnn as fnn
from fastnn import _core, layers

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which(libfastnn.CC[0]), reason="needs Linux and a C compiler")

MODELS = 30
RATE = 0.01


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def same_weights(mine, theirs):
    """A model of Python's and one of C's."""
    stored = theirs.weights()
    return all(same(w.value, stored[w.name]) for w in mine.weights)


def classifier(optimizer, dtype):
    """Classes, dropout, penalties, statistics and metrics."""
    model = fnn.Sequential(
        [
            fnn.Input((9,)), layers.Dense(40, "gelu", kernel_regularizer="l2"), layers.BatchNormalization(), layers.Dropout(0.3),
            layers.Dense(17, "tanh"), layers.GaussianNoise(0.1), layers.LayerNormalization(), layers.Dense(4, "softmax"),
        ],
        dtype=dtype,
    )  # fmt: skip
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(1)
    return model, [rng.normal(size=(150, 9)).astype(model.inputs[0].dtype)], [rng.integers(0, 4, 150)]


def regression(rng, optimizer):
    """A random model that learns what it is not asked for."""
    model, arrays = random_model(rng)
    rows = 40
    x = [a[rng.integers(0, len(a), rows)] for a in arrays]
    y = [rng.normal(size=(rows, *t.shape[1:])).astype(t.dtype) for t in model.outputs]
    model.compile(optimizer, ["mse"] * len(y), metrics=[["mae"]] + [[]] * (len(y) - 1))
    return model, x, y


def check(library, name, model, x, y):
    """Predictions, two batches, two epochs; then Python goes on where C has been, and C where Python has."""
    x_given, y_given = (a if len(a) > 1 else a[0] for a in (x, y))
    rate = float(model.optimizer.learning_rate) if not callable(model.optimizer.learning_rate) else RATE
    model.train_on_batch(x_given, y_given)
    opened = libfastnn.Model(library, fnn.io.to_bytes(model))
    assert opened.iterations == 1 and same_weights(model, opened), name
    rows = len(x[0])
    batch = rows if isinstance(model.optimizer, fnn.optimizers.Rprop) else 16

    def agree(what, theirs):
        want = model.predict(x_given, verbose=0)
        for a, b in zip(want if isinstance(want, list) else [want], theirs.session(libfastnn.PREDICT, 7).predict(*x), strict=True):
            assert same(a, b), (name, what)

    agree("predictions", opened)
    whole = opened.session(libfastnn.TRAIN, rows)
    for turn in range(2):
        loss = model.train_on_batch(x_given, y_given)
        mine = float(loss[0] if isinstance(loss, (list, tuple)) else loss)
        assert whole.train_batch([*x, *y], rate) == mine, (name, "loss of a batch", turn)
        assert same_weights(model, opened), (name, "a batch", turn)
    parts = opened.session(libfastnn.TRAIN, batch)
    history = model.fit(x_given, y_given, batch_size=batch, epochs=2, seed=5, verbose=0).history
    for epoch in range(2):
        assert parts.train_epoch([*x, *y], 5, epoch, rate) == history["loss"][epoch], (name, "loss of an epoch", epoch)
    assert same_weights(model, opened), (name, "epochs")
    agree("predictions after training", opened)
    back = fnn.io.from_bytes(opened.content())
    assert [w.tobytes() for w in back.get_weights()] == [w.tobytes() for w in model.get_weights()], name
    for m in (back, model):
        m.fit(x_given, y_given, batch_size=batch, epochs=1, seed=6, verbose=0)
    assert [w.tobytes() for w in back.get_weights()] == [w.tobytes() for w in model.get_weights()], (name, "on in Python")
    parts.train_epoch([*x, *y], 6, 0, rate)
    assert same_weights(back, opened), (name, "on in C")


def check_all(path):
    """In the process of an instruction set; how many models were trained."""
    library = libfastnn.Library(path)
    assert library.isa() == _core.active_isa() == os.environ["FASTNN_ISA"]
    trained = 0
    for name, make in OPTIMIZERS.items():
        if name == "nadam":
            make = lambda: fnn.optimizers.Nadam(0.01)  # noqa: E731  without a schedule, which C knows nothing of
        for dtype in ("float32", "float64", "mixed_bfloat16"):
            fnn.set_seed(trained)
            check(library, (name, dtype), *classifier(make(), dtype))
            trained += 1
    rng = np.random.default_rng(0)
    for i in range(MODELS):
        fnn.set_seed(i)
        model, x, y = regression(rng, fnn.optimizers.Adam(0.001))
        if all(node.outputs for node in model.program.nodes):   # the loss depends on no parameter
            continue
        check(library, i, model, x, y)
        trained += 1
    return trained


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return libfastnn.build(tmp_path_factory.mktemp("library"))


@pytest.mark.parametrize("isa", [name for name, runs in _core.built_isas() if runs])
def test_c_gives_the_bits_of_python(library, isa):
    environment = {**os.environ, "FASTNN_ISA": isa}
    done = subprocess.run([sys.executable, __file__, library], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 40


if __name__ == "__main__":
    print(check_all(sys.argv[1]))
