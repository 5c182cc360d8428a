"""Callbacks: what they are told, what they decide (as Keras's do), and what they write."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, errors, layers, optimizers

GOLDEN = json.loads((Path(__file__).parent / "golden" / "callbacks.json").read_text())["cases"]


def make(optimizer="sgd", **settings):
    fnn.set_seed(0)
    model = fnn.Sequential([fnn.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(1)])
    model.compile(optimizer, "mse", metrics=["mae"], **settings)
    return model


@pytest.fixture
def data(rng):
    return rng.normal(size=(50, 4)).astype("f"), rng.normal(size=50).astype("f")


# ---- decisions ----


class Told:
    """A model as callbacks see it, whose weights are the number of the epoch."""

    stop_training, epoch = False, -1

    def __init__(self):
        self.optimizer = optimizers.SGD(0.01)

    def get_weights(self):
        return self.epoch

    def set_weights(self, epoch):
        self.epoch = epoch


@pytest.mark.parametrize("through_a_file", [False, True])
@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['class']}{case['arguments']}")
def test_decisions_are_keras_s(case, through_a_file):
    def one():
        callback = getattr(callbacks, case["class"])(**case["arguments"])
        callback.set_model(model)
        callback.on_train_begin()
        return callback

    model, rates = Told(), []
    callback = one()
    for epoch, value in enumerate(map(float, case["values"])):
        model.epoch = epoch
        callback.on_epoch_end(epoch, {"val_loss": value})
        rates.append(model.optimizer.learning_rate)
        if through_a_file:
            state = callback.get_state()
            callback = one()
            callback.set_state(state)
        if model.stop_training:
            break
    callback.on_train_end()
    assert rates == case["rates"]
    assert getattr(callback, "stopped_epoch", 0) == case["stopped"]
    assert (len(rates), model.epoch) == (case["epochs"], case["weights_of"])


@pytest.mark.parametrize(
    "name, higher",
    [
        ("loss", False), ("val_loss", False), ("a_loss", False), ("val_mae", False),
        ("mean_squared_error", False),
        ("accuracy", True), ("val_sparse_categorical_accuracy", True), ("val_auc_1", True),
        ("f1_score", True),
        ("val_a_precision", True), ("val_binary_crossentropy", False),
    ],
)  # fmt: skip
def test_auto_mode(name, higher):
    stops = callbacks.EarlyStopping(name)
    stops.set_model(Told())
    stops.on_epoch_end(0, {name: 0.5})
    stops.on_epoch_end(1, {name: 0.6})
    assert stops.model.stop_training != higher


def test_a_name_that_auto_mode_does_not_know():
    stops = callbacks.EarlyStopping("speed")
    stops.on_epoch_end(0, {"speed": 1.0})
    with pytest.raises(errors.ArgumentError, match="pass mode='max' or mode='min'"):
        stops.on_epoch_end(1, {"speed": 1.0})


def test_a_value_that_is_not_there(data):
    for watching in (callbacks.EarlyStopping(), callbacks.ReduceLROnPlateau()):
        with pytest.warns(RuntimeWarning, match="watches 'val_loss', .* there are loss, mae"):
            make().fit(*data, verbose=0, callbacks=watching)


def test_early_stopping_on_digits():
    """A net that is large for few samples overfits; the weights kept are those that validated best."""
    x, y = fnn.datasets.load_digits()
    x, y, held_out = x[:300] / 16.0, y[:300], (x[300:900] / 16.0, y[300:900])
    fnn.set_seed(1)
    model = fnn.Sequential([fnn.Input((64,)), layers.Dense(128, "relu"), layers.Dense(10, "softmax")])
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    stops = callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    history = model.fit(x, y, epochs=200, validation_data=held_out, callbacks=stops, verbose=0).history
    losses = history["val_loss"]
    assert len(losses) < 200 and len(losses) - 1 - stops.best_epoch == 5
    assert stops.best_epoch == int(np.argmin(losses)) and stops.stopped_epoch == len(losses) - 1
    assert model.evaluate(*held_out)[0] == pytest.approx(min(losses), rel=1e-6)
    assert history["loss"][-1] < history["loss"][stops.best_epoch]


# ---- learning rates ----


def test_learning_rates_are_set_and_kept_in_the_history(data):
    model = make(optimizers.SGD(0.1))
    hooks = [
        callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        callbacks.LearningRateScheduler(float),
    ]
    history = model.fit(*data, epochs=3, verbose=0, callbacks=hooks[0]).history
    assert history["learning_rate"] == [0.05, 0.025, 0.0125]
    assert model.fit(*data, epochs=3, verbose=0, callbacks=hooks[1]).history["learning_rate"] == [
        0.0,
        1.0,
        2.0,
    ]
    model = make(optimizers.SGD(1.0))
    flat = callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=1e9)
    history = model.fit(*data, epochs=4, verbose=0, callbacks=flat).history
    np.testing.assert_allclose(history["learning_rate"], [1.0, 1.0, 0.1, 0.01])


def test_rates_follow_in_the_steps(data):
    """The rate that a callback sets is what the epoch is trained with."""
    by_callback, by_hand = make(optimizers.SGD(0.1)), make(optimizers.SGD(0.1))
    schedule = callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    by_callback.fit(*data, epochs=3, seed=0, verbose=0, callbacks=schedule)
    for epoch in range(3):
        by_hand.optimizer.learning_rate = 0.1 / (epoch + 1)
        by_hand.fit(*data, initial_epoch=epoch, epochs=epoch + 1, seed=0, verbose=0)
    np.testing.assert_array_equal(by_callback.get_weights()[0], by_hand.get_weights()[0])


def test_schedules_belong_to_the_optimizer_alone(data):
    model = make(optimizers.SGD(optimizers.schedules.CosineDecay(0.1, 10)))
    for hook in (callbacks.ReduceLROnPlateau("loss"), callbacks.LearningRateScheduler(lambda epoch: 0.1)):
        with pytest.raises(errors.ArgumentError, match="has the schedule CosineDecay"):
            model.fit(*data, verbose=0, callbacks=hook)


def test_initial_epoch_goes_on_with_a_schedule(data):
    def fresh():
        return make(optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)))

    whole, parts = fresh(), fresh()
    whole.fit(*data, epochs=4, seed=0, verbose=0)
    for first in range(4):
        parts.fit(*data, initial_epoch=first, epochs=first + 1, seed=0, verbose=0)
    np.testing.assert_array_equal(whole.get_weights()[0], parts.get_weights()[0])


# ---- hooks ----


class Noting(callbacks.Callback):
    def __init__(self):
        self.notes = []


def _note(name):
    return lambda self, *arguments, **named: self.notes.append((name, *arguments))


for _name in callbacks.EMPTY:
    setattr(Noting, _name.__name__, _note(_name.__name__))


def test_all_hooks_in_order(data):
    hook = Noting()
    model = make()
    history = model.fit(
        *data, batch_size=30, verbose=0, callbacks=hook, validation_data=data, validation_batch_size=40
    )
    assert hook.model is model and hook.params["steps"] == 2 and hook.params["samples"] == 50
    names = ["on_train_begin", "on_epoch_begin"]
    for batch in (0, 1):
        names += [("on_train_batch_begin", batch), ("on_train_batch_end", batch)]
    names += ["on_test_begin"]
    for batch in (0, 1):
        names += [("on_test_batch_begin", batch), ("on_test_batch_end", batch)]
    names += ["on_test_end", "on_epoch_end", "on_train_end"]
    seen = [note[:2] if "batch" in note[0] else note[0] for note in hook.notes]
    assert seen == names
    logs = {(note[0], *note[1:-1]): note[-1] for note in hook.notes}
    last = {name: values[0] for name, values in history.history.items()}
    assert logs["on_epoch_end", 0] == last == logs[("on_train_end",)]
    assert logs["on_train_batch_end", 1] == {name: last[name] for name in ("loss", "mae")}
    assert logs["on_test_end",] == {name: last["val_" + name] for name in ("loss", "mae")}
    assert logs["on_test_batch_end", 1] == logs["on_test_end",] != logs["on_test_batch_end", 0]
    hook.notes.clear()
    outputs = model.predict(data[0], batch_size=30, callbacks=hook)
    assert [note[0] for note in hook.notes] == [
        "on_predict_begin", *["on_predict_batch_begin", "on_predict_batch_end"] * 2, "on_predict_end",
    ]  # fmt: skip
    np.testing.assert_array_equal(hook.notes[4][-1]["outputs"], outputs[30:])


def test_batch_hooks_change_nothing(data):
    plain, watched = make(), make()
    a = plain.fit(*data, epochs=3, batch_size=7, seed=1, verbose=0)
    b = watched.fit(*data, epochs=3, batch_size=7, seed=1, verbose=0, callbacks=Noting())
    assert a.history == b.history
    np.testing.assert_array_equal(plain.get_weights()[0], watched.get_weights()[0])


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_batch_end"])
def test_stop_in_the_midst_of_an_epoch(data, hook):
    model, seen = make(), []

    def stop(batch, logs):
        seen.append(logs)
        model.stop_training = batch == 2

    history = model.fit(
        *data, epochs=5, batch_size=10, verbose=0, callbacks=callbacks.LambdaCallback(**{hook: stop})
    )
    assert len(seen) == 3 and history.epoch == [0]
    assert history.history == {name: [value] for name, value in seen[-1].items()}


def test_hooks_that_nothing_overrides_leave_the_epoch_to_the_engine(data, tmp_path, monkeypatch):
    """The engine is called as often with callbacks of epochs as without any."""
    from fastnn import training

    calls, run = [], training.Arrays.run
    monkeypatch.setattr(training.Arrays, "run", lambda self, *a: calls.append(a) or run(self, *a))
    hooks = [
        callbacks.Callback(), callbacks.EarlyStopping("loss"), callbacks.TerminateOnNaN(),
        callbacks.CSVLogger(tmp_path / "log.csv"), callbacks.Checkpoint(tmp_path / "run.ckpt"),
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
    ]  # fmt: skip
    make().fit(*data, batch_size=1, verbose=0, callbacks=hooks)
    assert len(calls) < 10
    make().fit(*data, batch_size=1, verbose=0, callbacks=Noting())
    assert len(calls) >= 50


def test_what_is_no_callback(data):
    with pytest.raises(errors.ArgumentTypeError, match="got int"):
        make().fit(*data, callbacks=[3])
    with pytest.raises(errors.ArgumentTypeError, match="on_epoch_end must be callable"):
        callbacks.LambdaCallback(on_epoch_end=3)
    with pytest.raises(errors.UnknownNameError, match="did you mean .on_epoch_end."):
        callbacks.LambdaCallback(on_epoch_edn=print)


@pytest.mark.parametrize(
    "cls, arguments",
    [
        ("EarlyStopping", {"mode": "best"}), ("EarlyStopping", {"patience": -1}),
        ("EarlyStopping", {"monitor": 3}),
        ("ReduceLROnPlateau", {"factor": 1.0}), ("LearningRateScheduler", {"schedule": 0.1}),
        ("ModelCheckpoint", {"filepath": "a.keras"}), ("ModelCheckpoint", {"filepath": "a", "save_freq": 0}),
    ],
)  # fmt: skip
def test_wrong_arguments(cls, arguments):
    with pytest.raises((errors.ArgumentError, errors.ArgumentTypeError)):
        getattr(callbacks, cls)(**arguments)


def test_keras_finds_them():
    from fastnn.keras.callbacks import EarlyStopping

    assert EarlyStopping is callbacks.EarlyStopping and fnn.keras.callbacks is callbacks is fnn.callbacks


# ---- not finite ----


def test_terminate_on_nan_ends_without_an_error(data):
    hook = Noting()
    model = make(optimizers.SGD(1e30))
    with pytest.warns(RuntimeWarning, match="training ends here: the loss became NaN or infinite in epoch"):
        history = model.fit(*data, epochs=9, verbose=0, callbacks=[callbacks.TerminateOnNaN(), hook])
    assert model.stop_training and len(history.epoch) < 9 and hook.notes[-1][0] == "on_train_end"
    assert np.isfinite(model.predict(data[0])).all()
    for hooks in (None, callbacks.TerminateOnNaN(raise_error=True)):
        with pytest.raises(errors.NonFiniteLossError):
            make(optimizers.SGD(1e30)).fit(*data, epochs=9, verbose=0, callbacks=hooks)


# ---- files ----


def test_model_checkpoint_keeps_the_best(data, tmp_path):
    model = make(optimizers.SGD(0.05))
    best = callbacks.ModelCheckpoint(tmp_path / "best.fnn", save_best_only=True)
    each = callbacks.ModelCheckpoint(
        str(tmp_path / "new" / "{epoch:02d}-{val_loss:.3f}.fnn"), save_weights_only=True, verbose=0
    )
    history = model.fit(
        *data, epochs=6, validation_split=0.2, verbose=0, seed=0, callbacks=[best, each]
    ).history
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [f"{i + 1:02d}-{value:.3f}.fnn" for i, value in enumerate(history["val_loss"])]
    loaded = fnn.load(tmp_path / "best.fnn")
    lowest = int(np.argmin(history["val_loss"]))
    assert loaded.evaluate(data[0][40:], data[1][40:])[0] == pytest.approx(
        history["val_loss"][lowest], rel=1e-5
    )
    loaded.load_weights(tmp_path / "new" / names[-1])
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_model_checkpoint_by_batches_and_thresholds(data, tmp_path):
    by_batch = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.fnn", save_freq=4)
    make().fit(*data, epochs=2, batch_size=10, verbose=0, callbacks=by_batch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-4.fnn", "2-3.fnn"]
    low = callbacks.ModelCheckpoint(
        tmp_path / "low", "loss", save_best_only=True, initial_value_threshold=0.0
    )
    make().fit(*data, verbose=0, callbacks=low)
    assert not (tmp_path / "low").exists()
    with pytest.raises(errors.ArgumentError, match="cannot fill in the path .* known are epoch, loss, mae"):
        make().fit(*data, verbose=0, callbacks=callbacks.ModelCheckpoint(tmp_path / "{val_loss}"))


def test_csv_logger(data, tmp_path):
    path = tmp_path / "log.csv"
    history = make().fit(
        *data, epochs=3, verbose=0, validation_data=data, callbacks=callbacks.CSVLogger(path)
    )
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row.pop("epoch")) for row in rows] == [0, 1, 2]
    assert {name: [float(row[name]) for row in rows] for name in rows[0]} == history.history
    first = path.read_text()
    make().fit(
        *data, epochs=3, verbose=0, validation_data=data, callbacks=callbacks.CSVLogger(path, append=True)
    )
    lines = path.read_text().splitlines()
    assert len(lines) == 7 and path.read_text().startswith(first)
    make().fit(*data, epochs=2, verbose=0, callbacks=callbacks.CSVLogger(path, separator=";"))
    assert path.read_text().splitlines()[0] == "epoch;loss;mae;val_loss;val_mae"
    assert path.read_text().splitlines()[1].endswith(";NA;NA")
    with pytest.raises(errors.FileAccessError):
        make().fit(*data, verbose=0, callbacks=callbacks.CSVLogger(tmp_path / "none" / "log.csv"))


def test_tensorboard_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(errors.MissingExtraError, match=r"extra 'tensorboard'"):
        callbacks.TensorBoard()


def test_tensorboard(data, tmp_path, monkeypatch):
    """What is written through tensorboardX's interface; its files are its own affair."""
    written = {}

    class Writer:
        def __init__(self, folder):
            self.folder = Path(folder).name

        def add_scalar(self, tag, value, step):
            written.setdefault((self.folder, tag), []).append((step, value))

        def add_histogram(self, tag, values, step):
            written.setdefault((self.folder, tag), []).append((step, values.shape))

        def flush(self):
            pass

        def close(self):
            written["closed"] = True

    module = type(sys)("tensorboardX")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    board = callbacks.TensorBoard(tmp_path, histogram_freq=2, update_freq=2, write_steps_per_second=True)
    model = make(optimizers.SGD(0.1))
    history = model.fit(
        *data, epochs=3, batch_size=25, verbose=0, validation_data=data, callbacks=board
    ).history
    for name, values in history.items():
        folder = "validation" if name.startswith("val_") else "train"
        assert written[folder, "epoch_" + name.removeprefix("val_")] == list(enumerate(values))
    assert written["train", "epoch_learning_rate"] == [(0, 0.1), (1, 0.1), (2, 0.1)]
    assert written["train", "batch_loss"] == list(zip((2, 4, 6), history["loss"]))
    assert [step for step, _ in written["train", f"{model.weights[0].name}/histogram"]] == [0, 2]
    assert written["closed"] and len(written["train", "epoch_steps_per_second"]) == 3
    with pytest.raises(errors.ArgumentError, match="profile_batch"):
        callbacks.TensorBoard(profile_batch=2)


def test_tensorboard_files(data, tmp_path):
    pytest.importorskip("tensorboardX")
    make().fit(*data, verbose=0, validation_data=data, callbacks=callbacks.TensorBoard(tmp_path))
    assert all(list((tmp_path / part).glob("events.*")) for part in ("train", "validation"))
