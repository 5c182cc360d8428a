"""Every mistake gets its typed error that says value seen, value needed and a hint, and nothing is lost."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import errors, layers, optimizers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    FastNNError,
    NonFiniteLossError,
    ShapeError,
    UnknownNameError,
)


def model(loss="mse", **arguments):
    made = fnn.Sequential([fnn.Input((3,), name="x"), layers.Dense(2, name="out")])
    made.compile("sgd", loss, **arguments)
    return made


X, Y = np.ones((6, 3)), np.zeros((6, 2))


def test_every_error_is_also_a_builtin():
    for cls in vars(errors).values():
        if isinstance(cls, type) and cls is not FastNNError:
            assert issubclass(cls, FastNNError) and len(cls.__mro__) > 4, cls


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: model("mean_squared_eror"), UnknownNameError, "mean_squared_error"),
        (lambda: model(metrics=["acuracy"]), UnknownNameError, "accuracy"),
        (
            lambda: fnn.Sequential([fnn.Input((3,)), layers.Dense(1)]).compile("adan"),
            UnknownNameError,
            "adam",
        ),
        (
            lambda: fnn.Sequential([fnn.Input((3,)), layers.Dense(1)]).compile(None),
            ArgumentTypeError,
            "optimizer",
        ),
        (lambda: layers.Dense(3, activation="rela"), UnknownNameError, "relu"),
        (lambda: model({"outt": "mse"}), UnknownNameError, "out"),
        (lambda: model(["mse", "mse"]), ArgumentError, "1 "),
        (lambda: model().fit(X, Y, epochs=-1), ArgumentError, "-1"),
        (lambda: model().fit(X, Y, epochs=1.5), ArgumentTypeError, "1.5"),
        (lambda: model().fit(X, Y, batch_size=0), ArgumentError, "0"),
        (lambda: model().fit(X, Y, batch_size="all"), ArgumentError, "full"),
        (lambda: model().fit(X, Y, verbose=3), ArgumentError, "3"),
        (lambda: model().fit(X, Y, validation_split=1.5), ArgumentError, "1.5"),
        (lambda: model().fit(X[:1], Y[:1], validation_split=0.5), ArgumentError, "samples"),
        (lambda: model().fit(X, Y, validation_data=X), ArgumentTypeError, "tuple"),
        (lambda: model().fit(X, Y, validation_data=(X, Y[:3])), ShapeError, "3"),
        (lambda: model().fit(X, Y, seed=-1), ArgumentError, "-1"),
        (lambda: model().fit(X, Y, sample_weight={"outt": np.ones(6)}), UnknownNameError, "out"),
        (lambda: model().fit(X, Y, class_weight=[1, 2]), ArgumentTypeError, "dict"),
        (lambda: model().fit(X, Y, class_weight={7: 1.0}), ArgumentError, "7"),
        (lambda: model().fit(X[:, :2], Y), ShapeError, "3"),
        (lambda: model().fit(X, Y[:4]), ShapeError, "6"),
        (lambda: model().fit(X, {"o": Y}), ArgumentError, "out"),
        (lambda: model().gradients(X), ArgumentTypeError, "targets"),
        (lambda: fnn.set_num_threads(-1), ArgumentError, "-1"),
        (lambda: fnn.set_num_threads("2"), ArgumentTypeError, "2"),
        (lambda: fnn.config.set_floatx("float16"), errors.DtypeError, "float16"),
        (lambda: fnn.show_config("json"), ArgumentError, "json"),
        (lambda: fnn.Sequential([3]), ArgumentTypeError, "int"),
        (lambda: fnn.Sequential().pop(), ArgumentError, "no layers"),
        (lambda: fnn.Model(X, fnn.Input((3,))), ArgumentTypeError, "ndarray"),
        (lambda: fnn.Model(fnn.Input((3,)), [None]), ArgumentTypeError, "NoneType"),
        (lambda: layers.Dense(3, actvation="relu"), UnknownNameError, "activation"),
        (lambda: layers.Dense(3, name="\ud800"), ArgumentError, "printable"),
        (lambda: layers.Concatenate()(fnn.Input((3,))), errors.GraphError, "(None, 3)"),
        (lambda: model().parameters["out/kernl"], UnknownNameError, "out/kernel"),
        (lambda: model().parameters["out/kernl"], KeyError, "'out/kernel'?"),
        (lambda: model().set_weights(None), ArgumentTypeError, "NoneType"),
        (lambda: model().parameters["out/bias"].assign([[1], [1, 2]]), ShapeError, "(2,)"),
        (lambda: model(metrics=["acuracy"]), UnknownNameError, "'accuracy'"),
        (lambda: model().compile({"class_name": "SGD", "config": 3}), ArgumentTypeError, "3"),
        (lambda: model().fit(X, Y, callbacks=3), ArgumentTypeError, "int"),
        (lambda: model().fit(X, Y, validation_freq=0), ArgumentError, "0"),
        (lambda: model().fit(X, Y, class_weight={0: "a"}), ArgumentTypeError, "'a'"),
        (lambda: model().fit(X, Y, sample_weight=np.ones((6, 2))), ShapeError, "each sample one number"),
        (lambda: model().fit(X, Y[:, :1]), ShapeError, "class indices"),
        (lambda: model().fit(X[:, :2], Y), ShapeError, "input 'x' of Sequential"),
        (lambda: optimizers.SGD(-1), ArgumentError, "[0, inf)"),
        (lambda: optimizers.Adam(clipnrm=1), UnknownNameError, "did you mean 'clipnorm'"),
        (lambda: model(metrics=["confusion_matrix"]), ArgumentError, "'num_classes'): give ConfusionMatrix(...)"),
        (lambda: model(metrics=["acuracy"]), UnknownNameError, "did you mean 'accuracy' or 'binary_accuracy'"),
        (lambda: fnn.utils.to_categorical([-1]), ArgumentError, "at least 0"),
        (lambda: model().predict(np.broadcast_to(np.float32(0), (10**14, 3))), MemoryError, "fewer"),
    ],
)
def test_mistakes(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    assert isinstance(caught.value, FastNNError)


def test_failed_compile_keeps_the_old_settings():
    made = model()
    with pytest.raises(UnknownNameError):
        made.compile("adam", "nothing")
    assert isinstance(made.optimizer, optimizers.SGD)
    made.fit(X, Y, verbose=0)


@pytest.mark.parametrize("batch_size", [2, "full"])
def test_loss_that_turns_non_finite(batch_size):
    made = fnn.Sequential([fnn.Input((3,)), layers.Dense(2), layers.Dense(2)])
    made.compile(optimizers.SGD(1e12), "mse", metrics=["mae"])
    x = np.random.default_rng(0).normal(size=(6, 3))
    with pytest.raises(NonFiniteLossError, match="epoch") as caught:
        made.fit(x, Y, epochs=50, batch_size=batch_size, verbose=0, seed=0)
    error = caught.value
    assert error.epoch >= 0 and error.step >= 0
    assert pickle.loads(pickle.dumps(error)).epoch == error.epoch
    assert np.isfinite(made.evaluate(x, Y)[0])
    assert len(made.history.epoch) == error.epoch
    made.compile(optimizers.SGD(0.0), "mse")
    made.fit(x, Y, verbose=0)


def test_non_finite_batch_leaves_the_weights():
    made = model()
    before = made.get_weights()
    with pytest.raises(NonFiniteLossError):
        made.train_on_batch(X, np.full((6, 2), 1e30))
    np.testing.assert_array_equal(made.get_weights()[0], before[0])


def test_weights_are_checked_before_any_is_written():
    made = model()
    before = made.get_weights()
    with pytest.raises(errors.DtypeError):
        made.set_weights([np.ones((3, 2)), ["a", "b"]])
    np.testing.assert_array_equal(made.get_weights()[0], before[0])


def test_data_errors_say_the_users_own_row_and_value():
    made = model("sparse_categorical_crossentropy")
    x, y = np.ones((6, 3)), np.array([0, 1, 0, 1, 0, 7])
    with pytest.raises(errors.DataError, match="got 7 in row 5;") as caught:
        made.fit(x, y, validation_split=0.5, verbose=0)
    assert caught.value.row == 5
    with pytest.raises(errors.DataError, match="got 7 in row 5 of validation_data;"):
        made.fit(x, y * 0, validation_data=(x, y), verbose=0)
    x[2, 1] = -1e300
    with pytest.raises(errors.DataError, match=r"float32 can hold, got -1e\+300 in row 2;") as caught:
        made.predict(x)
    assert caught.value.value == -1e300


def test_data_errors_go_back_to_the_epochs_begin():
    made = model()
    before = made.get_weights()
    y = Y.copy()
    y[5] = np.nan
    with pytest.raises(errors.DataError, match=r"target 'out'.*row 5"):
        made.fit(X, y, batch_size=1, shuffle=False, verbose=0)
    np.testing.assert_array_equal(made.get_weights()[0], before[0])


@pytest.mark.parametrize(
    "given",
    ["text", None, {"a": 1}, [[1, 2, 3], [4]], np.ones(3, complex), np.array(["a", "b", "c"]), np.ones(3, object), np.ones(4),
     np.ones((2, 4)), np.ones((2, 2, 3)), np.ones(()), np.array(["2024-01-01"] * 3, "M8[D]")],
)  # fmt: skip
def test_predictor_inputs(given):
    predictor = fnn.Sequential([fnn.Input((3,)), fnn.layers.Dense(2)]).freeze()
    with pytest.raises(fnn.FastNNError, match="the input of the predictor"):
        predictor(given)
    assert predictor([1, 2, 3]).shape == (2,)  # still works


@pytest.mark.parametrize(
    "out",
    [np.empty((2, 2), np.float32)[:, 1], np.empty(2), np.empty(3, np.float32), np.empty((1, 2), np.float32), [0.0, 0.0], b"12345678",
     np.broadcast_to(np.float32(0), 2)],
)  # fmt: skip
def test_predictor_outputs(out):
    predictor = fnn.Sequential([fnn.Input((3,)), fnn.layers.Dense(2)]).freeze()
    with pytest.raises(fnn.FastNNError, match="out must be"):
        predictor(np.ones(3, np.float32), out=out)


def test_a_source_folder_that_is_not_built_says_so(tmp_path):
    sources = Path(fnn.__file__).parent
    shutil.copytree(sources, tmp_path / "fastnn", ignore=shutil.ignore_patterns("_core*.so", "_core*.pyd", "__pycache__"))
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fastnn"], capture_output=True, text=True
    )
    assert run.returncode == 1 and "pip install -e ." in run.stderr


def test_a_layer_without_one_call_has_no_input():
    layer = layers.Dense(2)
    assert not hasattr(layer, "input") and getattr(layer, "output", None) is None
    layer(fnn.Input((3,)))
    assert layer.input.shape == (None, 3) and hasattr(layer, "output")
    layer(fnn.Input((3,)))
    with pytest.raises(errors.GraphError, match="called 2 times"):
        layer.output
