"""The command line, and the NumPy network that the demo is compared with."""

import subprocess
import sys

import numpy as np
import pytest

import fastnn as fnn
from fastnn import cli, layers
from fastnn._numpy_reference import NumpyMLP
from fastnn.cli import demo


def test_demo(capsys):
    assert cli.main(["demo", "--seed", "1", "--epochs", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count("samples/s") == 3 and "Test accuracy: 0." in out and "Confusion matrix" in out
    assert "fastnn " in out and "NumPy " in out


def test_demo_generalises():
    accuracies = []
    for seed in range(10):
        fnn.set_seed(seed)
        x, y, x_test, y_test = demo.demo_data(seed)
        model = demo.demo_model()
        model.fit(x, y, epochs=demo.EPOCHS, verbose=0)
        accuracies.append(model.evaluate(x_test, y_test, return_dict=True)["accuracy"])
    assert np.mean(accuracies) >= 0.97 and min(accuracies) >= 0.96


def test_split_is_a_stratified_third():
    labels = np.repeat(np.arange(10), 30)
    train, test = demo.stratified_split(labels, 0)
    assert sorted([*train, *test]) == list(range(300))
    np.testing.assert_array_equal(np.bincount(labels[test]), np.full(10, 10))
    assert not np.array_equal(test, demo.stratified_split(labels, 1)[1])


def test_info(tmp_path, capsys):
    assert cli.main(["info"]) == 0
    assert "instruction sets:" in capsys.readouterr().out
    model = fnn.Sequential([fnn.Input((2,)), layers.Dense(1, name="only")])
    model.save(tmp_path / "m")
    assert cli.main(["info", str(tmp_path / "m")]) == 0
    assert "only (Dense)" in capsys.readouterr().out
    model.freeze().save(tmp_path / "p")
    assert cli.main(["info", str(tmp_path / "p")]) == 0
    assert "a predictor file" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["demo", "--seed", "-1"], ["demo", "--epochs", "x"], ["info", "/no/file"]]
)
def test_mistakes_take_one_line_and_code_2(arguments):
    run = subprocess.run([sys.executable, "-m", "fastnn", *arguments], capture_output=True, text=True)
    assert run.returncode == 2 and run.stdout == ""
    assert len(run.stderr.splitlines()) == 1 and run.stderr.startswith("fastnn")


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"fastnn {fnn.__version__}\n"


def test_numpy_network_takes_the_same_steps(rng):
    x, y = rng.normal(size=(64, 64)).astype("f"), rng.integers(0, 10, 64)
    model = fnn.Sequential([fnn.Input((64,)), layers.Dense(12, "relu"), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    reference = NumpyMLP(model.get_weights(), 0.0, 64)
    expected = [reference.epoch(x, y, np.random.default_rng(0)) for _ in range(3)]
    found = model.fit(x, y, batch_size=64, epochs=3, verbose=0).history["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
