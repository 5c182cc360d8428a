"""`from fastnn import keras`: Keras's paths lead to fastnn's objects."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import fastnn as fnn
from fastnn import keras


def test_paths_are_the_same_objects():
    from fastnn.keras.layers import Dense
    from fastnn.keras.optimizers.schedules import ExponentialDecay

    from fastnn.keras import layers, models, utils

    assert layers is fnn.layers and Dense is fnn.layers.Dense
    assert (
        models.Model is keras.Model is fnn.Model and models.Sequential is keras.Sequential is fnn.Sequential
    )
    assert models.load_model is keras.models.load_model
    assert utils.set_random_seed is fnn.set_seed and utils.to_categorical is fnn.utils.to_categorical
    assert keras.losses is fnn.losses and keras.Input is fnn.Input
    assert ExponentialDecay is fnn.schedules.ExponentialDecay
    assert keras.losses.BinaryCrossentropy(from_logits=True).from_logits


def test_import_statements_in_a_fresh_process():
    code = (
        "import fastnn.keras.layers as a, fastnn.keras.models; from fastnn.keras.regularizers import L2;"
        "import fastnn.keras.optimizers.schedules; import fastnn; assert a is fastnn.layers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Arguments of Keras 3 in Keras's order.
ORDERS = {
    "fit": "x y batch_size epochs verbose callbacks validation_split validation_data shuffle class_weight "
    "sample_weight "
    "initial_epoch steps_per_epoch validation_steps validation_batch_size validation_freq",
    "evaluate": "x y batch_size verbose sample_weight steps callbacks return_dict",
    "predict": "x batch_size verbose steps callbacks",
    "compile": "optimizer loss loss_weights metrics weighted_metrics run_eagerly steps_per_execution "
    "jit_compile "
    "auto_scale_loss",
    "train_on_batch": "x y sample_weight class_weight return_dict",
    "test_on_batch": "x y sample_weight return_dict",
    "predict_on_batch": "x",
    "save": "filepath overwrite",
    "load_weights": "filepath skip_mismatch",
}


@pytest.mark.parametrize("method", ORDERS)
def test_argument_order(method):
    names = ORDERS[method].split()
    assert list(inspect.signature(getattr(fnn.Model, method)).parameters)[1 : len(names) + 1] == names


def test_a_keras_script(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(shape=(4,)),
            keras.layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4)),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=0.01),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    labels = np.arange(30) % 3
    x = np.eye(4)[labels] + 0.01 * np.arange(30)[:, None]
    history = model.fit(x, keras.utils.to_categorical(labels, 3), epochs=40, batch_size=8, verbose=0)
    assert history.history["accuracy"][-1] > 0.8
    model.save(tmp_path / "model.fnn")
    loaded = keras.models.load_model(tmp_path / "model.fnn")
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


def test_shapes_of_inputs_given_to_the_first_layer():
    for arguments in ({"input_shape": (4,)}, {"input_dim": 4}):
        model = keras.Sequential([keras.layers.Dense(3, **arguments), keras.layers.Dense(2)])
        assert model.built and model.input_shape == (None, 4)


def test_functions_that_join():
    a, b = keras.Input((4,)), keras.Input((4,))
    joined = keras.layers.concatenate([keras.layers.add([a, b]), keras.layers.multiply([a, b])], name="join")
    x, y = np.full((1, 4), 2.0), np.full((1, 4), 3.0)
    np.testing.assert_array_equal(keras.Model([a, b], joined)([x, y]), [[5] * 4 + [6] * 4])
    assert joined.call.layer.name == "join"


def test_default_dtype():
    keras.backend.set_floatx("float64")
    try:
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        assert model.dtype == "float64" and model.predict(np.zeros((1, 2))).dtype == np.float64
    finally:
        keras.backend.set_floatx("float32")
    assert keras.config.floatx() == "float32"
