"""fit, evaluate and batches: what is learnt, reported and repeated."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastnn as fnn
from fastnn import layers, optimizers


def linear(features=3, units=1, **arguments):
    return fnn.Sequential(
        [fnn.Input((features,)), layers.Dense(units, kernel_initializer="zeros")], **arguments
    )


def classifier(seed=0, dtype="float32", dropout=0.0):
    fnn.set_seed(seed)
    model = fnn.Sequential(
        [fnn.Input((4,)), layers.Dense(16, "relu"), layers.Dropout(dropout), layers.Dense(3, "softmax")],
        dtype=dtype,
    )
    model.compile(optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def blobs(rng):
    y = rng.integers(0, 3, 200)
    return (rng.normal(size=(200, 4)) + 3 * np.eye(3, 4)[y]).astype("f"), y


def test_sgd_follows_the_formula(rng):
    model = linear(dtype="float64")
    model.compile(optimizers.SGD(0.1), "mse", metrics=["mae"])
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 1))
    history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    w, b, losses, errors = np.zeros((3, 1)), np.zeros(1), [], []
    for _ in range(2):
        loss = error = 0.0
        for i in range(0, 10, 4):
            d = x[i : i + 4] @ w + b - y[i : i + 4]
            loss, error = loss + np.sum(d**2), error + np.sum(np.abs(d))
            w = w - 0.1 * 2 * x[i : i + 4].T @ d / len(d)
            b = b - 0.1 * 2 * d.mean(0)
        losses.append(loss / 10)
        errors.append(error / 10)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(history.history["mae"], errors, rtol=1e-12)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-12)
    assert history.epoch == [0, 1] and history.params["steps"] == 3
    assert model.metrics_names == ["loss", "mae"]


def test_it_learns(blobs):
    x, y = blobs
    model = classifier()
    history = model.fit(x, y, epochs=30, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0] / 3
    assert model.evaluate(x, y, return_dict=True)["accuracy"] > 0.9


def test_same_seed_same_bits(blobs):
    x, y = blobs
    runs = []
    for _ in range(2):
        model = classifier(5, dropout=0.3)
        history = model.fit(x, y, epochs=3, verbose=0)
        runs.append((history.seed, history.history, model.get_weights()))
    assert runs[0][:2] == runs[1][:2]
    for a, b in zip(runs[0][2], runs[1][2]):
        np.testing.assert_array_equal(a, b)
    other = classifier(5, dropout=0.3)
    assert other.fit(x, y, epochs=3, verbose=0, seed=1).history != runs[0][1]


def test_same_bits_for_any_number_of_threads(blobs):
    x, y = blobs
    threads, results = fnn.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            fnn.set_num_threads(count)
            model = classifier(1, dropout=0.2)
            model.fit(x, y, epochs=2, batch_size=64, verbose=0)
            results.append(model.get_weights())
    finally:
        fnn.set_num_threads(threads)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_same_bits_however_many_threads_share_short_steps():
    """Epochs long enough for trials of how many do."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32_000, 64), np.float32), rng.integers(0, 10, 32_000)
    threads, results = fnn.get_num_threads(), []
    try:
        for count in (1, 2):
            fnn.set_num_threads(count)
            fnn.set_seed(2)
            model = fnn.Sequential([fnn.Input((64,)), layers.Dense(64, "relu"), layers.Dropout(0.1), layers.Dense(10, "softmax")])
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x, y, epochs=10, batch_size=32, verbose=0, seed=3)
            results.append([*model.get_weights(), model.predict(x, batch_size=32)])
    finally:
        fnn.set_num_threads(threads)
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_epochs_continue_where_they_stopped(blobs):
    x, y = blobs
    whole, parts = classifier(2, dropout=0.2), classifier(2, dropout=0.2)
    whole.fit(x, y, epochs=4, verbose=0, seed=9)
    parts.fit(x, y, epochs=2, verbose=0, seed=9)
    history = parts.fit(x, y, epochs=4, initial_epoch=2, verbose=0, seed=9)
    assert history.epoch == [2, 3]
    for a, b in zip(whole.get_weights(), parts.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_batch_size_full_and_default(blobs):
    x, y = blobs
    model = classifier()
    assert model.fit(x, y, verbose=0).params["batch_size"] == 32
    assert model.fit(x, y, batch_size="full", verbose=0).params["steps"] == 1
    assert model.fit(x, y, steps_per_epoch=2, verbose=0).params["steps"] == 2


def test_sample_and_class_weights(rng):
    x, y = rng.normal(size=(8, 3)), rng.integers(0, 2, 8)
    weight = np.where(y == 1, 3.0, 0.5)
    results = []
    for arguments in (
        {"sample_weight": weight},
        {"class_weight": {0: 0.5, 1: 3.0}},
        {"sample_weight": weight[:, None]},
    ):
        model = linear(dtype="float64")
        model.compile("sgd", fnn.losses.BinaryCrossentropy(from_logits=True), weighted_metrics=["mse"])
        results.append(
            (model.fit(x, y, epochs=3, shuffle=False, verbose=0, **arguments).history, model.get_weights())
        )
    for history, weights in results[1:]:
        assert history == results[0][0]
        np.testing.assert_array_equal(weights[0], results[0][1][0])
    model = linear(dtype="float64")
    model.compile("sgd", "mse", metrics=["mse"], weighted_metrics=["mse"])
    values = model.evaluate(x, y, sample_weight=weight, return_dict=True)
    assert values["loss"] == pytest.approx(np.sum(weight * y) / 8)
    assert values["mse"] == pytest.approx(np.mean(y))
    assert values["weighted_mse"] == pytest.approx(np.sum(weight * y) / np.sum(weight))


def test_validation_split_takes_the_last_samples(rng):
    x, y = rng.normal(size=(10, 3)), rng.normal(size=10)
    histories = []
    for arguments in (
        {"x": x, "y": y, "validation_split": 0.3},
        {"x": x[:7], "y": y[:7], "validation_data": (x[7:], y[7:])},
    ):
        model = linear(dtype="float64")
        model.compile("sgd", "mse")
        histories.append(model.fit(epochs=2, verbose=0, seed=4, **arguments).history)
    assert histories[0] == histories[1] and list(histories[0]) == ["loss", "val_loss"]
    assert (
        len(
            model.fit(
                x, y, epochs=4, verbose=0, validation_data=(x, y, np.ones(10)), validation_freq=2
            ).history["val_loss"]
        )
        == 2
    )


def test_several_outputs(rng):
    x = fnn.Input((3,))
    a, b = (
        layers.Dense(1, name="a", kernel_initializer="zeros")(x),
        layers.Dense(2, name="b", activation="softmax")(x),
    )
    model = fnn.Model(x, {"a": a, "b": b}, dtype="float64")
    model.compile(
        "sgd",
        {"a": "mse", "b": "sparse_categorical_crossentropy"},
        loss_weights={"a": 2.0, "b": 0.5},
        metrics={"a": ["mae"], "b": ["accuracy"]},
    )
    data, y = rng.normal(size=(6, 3)), {"a": rng.normal(size=6), "b": rng.integers(0, 2, (6, 1))}
    values = model.evaluate(data, y, return_dict=True)
    assert list(values) == ["loss", "a_loss", "b_loss", "a_mae", "b_accuracy"] == model.metrics_names
    assert values["a_loss"] == pytest.approx(np.mean(y["a"] ** 2))
    assert values["loss"] == pytest.approx(2 * values["a_loss"] + 0.5 * values["b_loss"])
    assert set(model.fit(data, y, verbose=0).history) == set(values)


def test_learning_rate_schedule(rng):
    x, y = rng.normal(size=(8, 3)), rng.normal(size=8)
    schedule = optimizers.schedules.PiecewiseConstantDecay([2], [0.1, 0.0])
    model = linear(dtype="float64")
    model.compile(optimizers.SGD(schedule), "mse")
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False)
    reached = model.get_weights()
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], reached[0])
    model.optimizer.learning_rate = 0.1
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    assert not np.array_equal(model.get_weights()[0], reached[0])


def test_batches(rng):
    x, y = rng.normal(size=(8, 3)), rng.normal(size=8)
    model, twin = linear(dtype="float64"), linear(dtype="float64")
    for m in (model, twin):
        m.compile(optimizers.SGD(0.1), "mse", metrics=["mae"])
    first = model.train_on_batch(x, y)
    assert first == pytest.approx([np.mean(y**2), np.mean(np.abs(y))])
    twin.fit(x, y, batch_size="full", shuffle=False, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], twin.get_weights()[0])
    assert model.train_on_batch(x, y, return_dict=True)["loss"] < first[0]
    assert model.test_on_batch(x, y) == pytest.approx(model.evaluate(x, y, batch_size=3))
    np.testing.assert_array_equal(model.predict_on_batch(x), model.predict(x))


def test_dropout_is_active_only_in_training():
    model = fnn.Sequential([fnn.Input((50,)), layers.Dropout(0.5)])
    x = np.ones((4, 50), "f")
    np.testing.assert_array_equal(model.predict(x), x)
    assert set(np.unique(model(x, training=True))) == {0.0, 2.0}


def test_callbacks_with_keras_hooks(blobs):
    calls = []

    class Callback:
        def set_model(self, model):
            self.model = model

        def set_params(self, params):
            calls.append(("params", params["epochs"]))

        def on_epoch_begin(self, epoch, logs):
            calls.append(("begin", epoch))

        def on_epoch_end(self, epoch, logs):
            calls.append(("end", epoch, sorted(logs)))
            self.model.stop_training = epoch == 1

        def on_train_end(self, logs):
            calls.append(("done",))

    model = classifier()
    history = model.fit(*blobs, epochs=5, verbose=0, callbacks=[Callback()])
    assert history.epoch == [0, 1]
    assert calls == [
        ("params", 5),
        ("begin", 0),
        ("end", 0, ["accuracy", "loss"]),
        ("begin", 1),
        ("end", 1, ["accuracy", "loss"]),
        ("done",),
    ]


def test_history_prints(blobs):
    history = classifier().fit(*blobs, epochs=30, verbose=0)
    assert "30 epochs" in repr(history) and str(history.seed) in repr(history)
    assert history._repr_html_().count("<tr>") == 1 + 5 + 1 + 10


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_redirected_output_has_a_line_an_epoch(blobs, capsys, verbose):
    classifier().fit(*blobs, epochs=3, verbose=verbose, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert (
        lines[2].startswith("Epoch 3/3 - ")
        and "samples/s - loss: " in lines[2]
        and " - val_accuracy: " in lines[2]
    )


def test_quiet_where_it_should_be(blobs, capsys):
    model = classifier()
    model.fit(*blobs, verbose=0)
    model.evaluate(*blobs)
    model.predict(blobs[0])
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_bar_on_a_terminal(blobs, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    classifier().fit(*blobs, epochs=2, verbose=1)
    out = capsys.readouterr().out
    assert "Epoch 2/2:   0%|" in out and "samples/s - loss: " in out


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_a_terminal_of_no_size_shows_bars_and_whole_lines():
    import pty

    code = (
        "import numpy as np, fastnn as fnn\n"
        "m = fnn.Sequential([fnn.Input((512,)), fnn.layers.Dense(512), fnn.layers.Dense(512)])\n"
        "m.compile('sgd', 'mse', metrics=['mae', 'mse'])\n"
        "x = np.zeros((4000, 512))\n"
        "m.fit(x, x, validation_split=0.2)"
    )
    own, other = pty.openpty()  # 0 columns and 0 rows, as terminals without a screen report
    run = subprocess.Popen([sys.executable, "-c", code], stdin=other, stdout=other, stderr=other)
    os.close(other)
    seen = b""
    with contextlib.suppress(OSError):  # how the end of a pseudo-terminal reads
        while chunk := os.read(own, 4096):
            seen += chunk
    os.close(own)
    assert run.wait() == 0
    assert b"%|" in seen and b"val_mse: 0.0000" in seen


def test_class_weights_leave_the_validation_part_alone(blobs):
    model = classifier()
    history = model.fit(
        *blobs, validation_split=0.25, class_weight={0: 9.0, 1: 3.0}, shuffle=False, verbose=0
    ).history
    x, y = blobs[0][150:], blobs[1][150:]
    np.testing.assert_allclose(
        [history["val_loss"][0], history["val_accuracy"][0]], model.evaluate(x, y), rtol=1e-6
    )


def test_each_of_two_fits_at_once_has_its_own_history(blobs):
    model, found = classifier(), {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: model.fit(*blobs, epochs=n, verbose=0)}))
        for n in (20, 40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: len(history.epoch) for n, history in found.items()} == {20: 20, 40: 40}


def test_one_callback_needs_no_list(blobs):
    class Counter:
        epochs = 0

        def on_epoch_end(self, epoch, logs):
            self.epochs += 1

    counter = Counter()
    classifier().fit(*blobs, epochs=3, callbacks=counter, verbose=0)
    assert counter.epochs == 3


def test_interrupt_leaves_a_usable_model(rng):
    model = fnn.Sequential([fnn.Input((64,)), layers.Dense(256, "relu"), layers.Dense(64)])
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(20000, 64)).astype("f"), np.zeros((20000, 64), "f")
    before = model.get_weights()
    sent = []

    def interrupt():
        time.sleep(0.4)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=10_000, verbose=0)
    late = time.perf_counter() - sent[0]
    thread.join()
    assert late < 1.0  # 0.1 s on a machine of one's own
    assert not np.array_equal(model.get_weights()[0], before[0]) and np.isfinite(model.predict(x[:5])).all()
    model.fit(x[:64], y[:64], verbose=0)


def test_import_is_lean():
    code = "import sys, numpy; before = set(sys.modules); import fastnn; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tqdm", "difflib", "json", "fastnn.io", "fastnn.keras", "fastnn.cli", "fastnn.backends.xp"}
    assert heavy.isdisjoint(run.stdout.split())


def test_weights_read_during_fit_are_of_one_step():
    """Two parameters that every update changes alike are never seen apart."""
    x = fnn.Input((1,))
    model = fnn.Model(x, [layers.Dense(1, use_bias=False, name=name)(x) for name in "ab"])
    model.compile(fnn.optimizers.SGD(1.0), "mae")
    model.set_weights([np.zeros((1, 1))] * 2)
    ones = np.ones((20_000, 1), np.float32)
    far = 1e7 * ones
    seen = set()

    class StopWhenSeen(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = len(seen) > 3

    thread = threading.Thread(
        target=model.fit,
        args=(ones, [far, far]),
        kwargs=dict(batch_size=1, epochs=200, verbose=0, callbacks=[StopWhenSeen()]),
    )
    thread.start()
    while thread.is_alive():
        a, b = model.get_weights()
        assert a == b
        seen.add(a.item())
    thread.join()
    assert len(seen) > 3


def test_a_function_gives_the_order_of_the_samples(rng):
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    orders = [rng.permutation(20), rng.integers(0, 20, 20)]
    rows = np.arange(5, 25)
    model, apart = linear(dtype="float64"), linear(dtype="float64")
    for one in (model, apart):
        one.compile(optimizers.Adam(0.1), "mse")
    model.fit(x, y, batch_size=6, epochs=2, verbose=0, indices=rows, shuffle=lambda epoch: orders[epoch])
    for order in orders:
        apart.fit(x[rows[order]], y[rows[order]], batch_size=6, verbose=0, shuffle=False)
    np.testing.assert_array_equal(model.get_weights()[0], apart.get_weights()[0])
    for wrong, message in (
        (np.arange(29), "positions of 30 samples"),
        (np.arange(30.0), "as integers"),
        (np.arange(1, 31), "from 0 to 29, got 1 to 30"),
    ):
        with pytest.raises(fnn.errors.ArgumentError, match=message):
            model.fit(x, y, verbose=0, shuffle=lambda epoch, wrong=wrong: wrong)
    with pytest.raises(fnn.errors.ArgumentError, match="got an iterable of batches"):
        model.fit(iter([(x, y)]), verbose=0, shuffle=lambda epoch: np.arange(1))
