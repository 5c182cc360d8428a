"""fit on rows of arrays, and many models trained at a time: bitwise what separate fits give."""

import os
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, layers, optimizers


def network(units=8, optimizer=None, dropout=0.0, dtype="float32", features=4, name=None):
    model = fnn.Sequential(
        [
            fnn.Input((features,)),
            layers.Dense(units, "relu"),
            layers.Dropout(dropout),
            layers.Dense(3, "softmax"),
        ],
        dtype=dtype,
        name=name,
    )
    model.compile(optimizer or "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def blobs(rng):
    y = rng.integers(0, 3, 200)
    return (rng.normal(size=(200, 4)) + 2 * np.eye(3, 4)[y]).astype("f"), y


def folds(count, parts, rng):
    """Pairs (training, validation) of shuffled rows."""
    order = rng.permutation(count)
    return [(np.concatenate([order[:a], order[b:]]), order[a:b])
            for a, b in zip(range(0, count, count // parts), range(count // parts, count + 1, count // parts))]


def assert_same(one, other):
    for (model_a, history_a), (model_b, history_b) in zip(one, other, strict=True):
        assert history_a.history == history_b.history and history_a.seed == history_b.seed
        for a, b in zip(model_a.get_weights(), model_b.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


# ---- rows of arrays ----


@pytest.mark.parametrize(
    "make",
    [
        lambda: network(dropout=0.3),
        lambda: network(dtype="float64", optimizer=optimizers.LBFGS()),
        lambda: fnn.Sequential([fnn.Input((4,)), layers.MixUp(0.3), layers.Dense(3)]),
    ],
    ids=["dropout", "lbfgs", "mixup"],
)
def test_rows_give_the_bits_of_a_copy(make, blobs, rng):
    x, y = blobs
    rows, held = rng.permutation(200)[:120], np.arange(150, 190)
    made = []
    for how in ("copy", "rows"):
        fnn.set_seed(3)
        model = make()
        arguments = dict(epochs=3, verbose=0)
        if model.optimizer is None:
            model.compile("sgd", "mse")
            targets = np.eye(3)[y]
        else:
            targets = y
        if how == "copy":
            history = model.fit(
                x[rows], targets[rows], validation_data=(x[held], targets[held]), **arguments
            )
        else:
            history = model.fit(x, targets, indices=(rows, held), **arguments)
        made.append([(model, history)])
    assert_same(*made)
    assert made[0][0][1].params["samples"] == 120


def test_rows_with_weights_and_a_split(blobs, rng):
    x, y = blobs
    weight, mask = rng.uniform(0.5, 2, 200), rng.random(200) < 0.5
    made = []
    for how in ("copy", "rows"):
        fnn.set_seed(4)
        model = network()
        arguments = dict(epochs=3, verbose=0, class_weight={0: 2.0}, validation_split=0.25)
        if how == "copy":
            history = model.fit(x[mask], y[mask], sample_weight=weight[mask], **arguments)
        else:
            history = model.fit(x, y, sample_weight=weight, indices=mask, **arguments)
        made.append([(model, history)])
    assert_same(*made)


def test_the_next_fit_reads_all_rows_again(blobs):
    x, y = blobs
    model, twin = network(optimizer=optimizers.SGD(0.0)), network(optimizer=optimizers.SGD(0.0))
    twin.set_weights(model.get_weights())
    model.fit(x, y, indices=[3, 4], verbose=0)
    assert model.fit(x, y, verbose=0, shuffle=False).history == twin.fit(x, y, verbose=0, shuffle=False).history


def test_bad_data_are_named_by_their_row_in_the_array(blobs):
    x, y = blobs
    x[57, 2] = np.nan
    with pytest.raises(fnn.errors.DataError, match="row 57") as caught:
        network().fit(x, y, indices=[1, 57, 3], verbose=0)
    assert caught.value.row == 57
    with pytest.raises(fnn.errors.DataError, match="row 57"):
        network().fit(x, y, indices=([1, 2, 3], [57]), verbose=0)


@pytest.mark.parametrize(
    "indices, error, words",
    [
        ([0, 200], fnn.errors.ArgumentError, "rows from 0 to 199, got 200"),
        ([-1, 5], fnn.errors.ArgumentError, "rows from 0 to 199, got -1"),
        ([], fnn.errors.ArgumentError, "at least one row"),
        (np.ones(7, bool), fnn.errors.ShapeError, "mask of all 200 samples, got one of 7"),
        ([0.0, 1.0], fnn.errors.DtypeError, "float64"),
        (np.zeros((3, 2), int), fnn.errors.ShapeError, r"\(3, 2\)"),
        (7, fnn.errors.ArgumentTypeError, "int"),
        (([0, 1], [300]), fnn.errors.ArgumentError, r"indices\[1\] needs rows from 0 to 199, got 300"),
    ],
)
def test_rows_that_are_none(indices, error, words, blobs):
    with pytest.raises(error, match=words):
        network().fit(*blobs, indices=indices, verbose=0)


def test_two_sets_to_validate_on(blobs):
    with pytest.raises(fnn.errors.ArgumentError, match="validation_split; leave one out"):
        network().fit(*blobs, indices=([1], [2]), validation_split=0.5, verbose=0)
    with pytest.raises(fnn.errors.ArgumentError, match="leave indices out"):
        network().fit([blobs].__iter__(), indices=[1], verbose=0)


def test_a_run_goes_on_only_with_its_rows(blobs, tmp_path):
    path = tmp_path / "run"
    network().fit(*blobs, indices=[1, 2, 3], verbose=0, callbacks=[callbacks.Checkpoint(path)])
    with pytest.raises(fnn.errors.ArgumentError, match="indices"):
        network().fit(*blobs, indices=[1, 2, 4], epochs=2, verbose=0, resume=path)


# ---- many models ----


def apart(models, x, y, parts, epochs, own, seeds=None):
    """What fit_many promises to equal: each model by itself, on copies of its rows."""
    histories = []
    for i, (model, (train, held)) in enumerate(zip(models, parts)):
        histories.append(
            model.fit(
                x[train], y[train], epochs=epochs, verbose=0, validation_data=(x[held], y[held]),
                callbacks=own(i), seed=seeds and seeds[i],
            )
        )  # fmt: skip
    return list(zip(models, histories))


@pytest.mark.parametrize("seeds", [None, [5, 6, 7, 8, 9, 10]])
def test_many_models_are_bitwise_those_of_separate_fits(blobs, rng, seeds):
    x, y = blobs
    parts = folds(200, 5, rng) + [(np.arange(100), np.arange(100, 200))]

    def models():
        fnn.set_seed(1)
        chosen = [optimizers.SGD(0.1, momentum=0.9), optimizers.Adam(1e-2), optimizers.RMSprop(), "lion",
                  optimizers.Adam(optimizers.schedules.ExponentialDecay(1e-2, 10, 0.9)), "adamw"]
        return [network(8 + i, optimizer, dropout=0.1 * i) for i, optimizer in enumerate(chosen)]

    def own(i):
        return [callbacks.EarlyStopping(patience=1, min_delta=0.02, restore_best_weights=True),
                callbacks.ReduceLROnPlateau(patience=1)] if i % 2 else None

    one = apart(models(), x, y, parts, 12, own, seeds)
    together = models()
    threads = fnn.get_num_threads()
    try:
        fnn.set_num_threads(3)
        histories = fnn.fit_many(
            together, x, y, parts, epochs=12, callbacks=own, seed=seeds, verbose=0
        )
        assert fnn.get_num_threads() == 3
    finally:
        fnn.set_num_threads(threads)
    assert_same(one, list(zip(together, histories)))
    assert len({len(h.epoch) for h in histories}) > 1  # some stopped early


def test_models_of_large_layers(rng):
    """Steps worth several threads, more models than threads, and the last one alone."""
    x, y = rng.normal(size=(600, 256)).astype("f"), rng.normal(size=(600, 256)).astype("f")

    def models():
        fnn.set_seed(2)
        made = [fnn.Sequential([fnn.Input((256,)), layers.Dense(256, "tanh"), layers.Dense(256)]) for _ in range(3)]
        for model in made:
            model.compile("adam", "mse")
        return made

    one = models()
    expected = [model.fit(x, y, batch_size=200, epochs=3, verbose=0) for model in one]
    other = models()
    histories = fnn.fit_many(other, x, y, batch_size=200, epochs=3, verbose=0)
    assert_same(list(zip(one, expected)), list(zip(other, histories)))


def test_models_unbuilt_or_of_several_inputs(blobs):
    x, y = blobs
    unbuilt = [fnn.Sequential([layers.Dense(3, "softmax")]) for _ in range(2)]
    for model in unbuilt:
        model.compile("sgd", "sparse_categorical_crossentropy")
    assert [len(h.epoch) for h in fnn.fit_many(unbuilt, x.tolist(), y.tolist(), epochs=2, verbose=0)] == [2, 2]
    two = []
    for _ in range(2):
        a, b = fnn.Input((4,), name="a"), fnn.Input((1,), name="b")
        two.append(fnn.Model([a, b], layers.Dense(3, "softmax")(layers.Concatenate()([a, b]))))
        two[-1].compile("sgd", "sparse_categorical_crossentropy")
    histories = fnn.fit_many(two, {"a": x, "b": x[:, :1]}, y, [[1, 2, 3], [4, 5]], verbose=0)
    assert [h.params["samples"] for h in histories] == [3, 2]


def test_folds_copy_no_data(rng):
    x, y = rng.normal(size=(20_000, 64)).astype("f"), rng.integers(0, 3, 20_000)
    models = [network(4, features=64) for _ in range(4)]
    parts = folds(20_000, 4, rng)
    fnn.fit_many(models, x[:32], y[:32], verbose=0)
    tracemalloc.start()
    fnn.fit_many(models, x, y, parts, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 4  # the row numbers of two folds, and little else


def test_an_error_says_which_model_and_stops_the_others(blobs):
    x, y = blobs
    models = [network(), network(optimizer=optimizers.SGD(1e30), name="wild"), network()]
    began = [model.get_weights()[0] for model in models]
    with pytest.raises(fnn.errors.NonFiniteLossError, match="model 1, Sequential 'wild': the loss became"):
        fnn.fit_many(models, x, y, epochs=100_000, verbose=0)
    np.testing.assert_array_equal(models[1].get_weights()[0], began[1])
    assert not np.array_equal(models[0].get_weights()[0], began[0])
    assert all(len(model.history.epoch) < 100_000 for model in models if model.history)
    with pytest.warns(RuntimeWarning, match="training ends here"):
        histories = fnn.fit_many(
            models, x, y, epochs=3, verbose=0, callbacks=lambda i: [callbacks.TerminateOnNaN()]
        )
    assert [len(h.epoch) for h in histories] == [3, 0, 3]

    def broken(i):
        return [callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)] if i == 2 else None

    with pytest.raises(ZeroDivisionError) as caught:
        fnn.fit_many([models[0], models[2], network(name="last")], x, y, callbacks=broken, verbose=0)
    assert caught.value.__notes__ == ["in model 2, Sequential 'last'"]


def shared():
    hidden = layers.Dense(3, name="common")
    models = []
    for _ in range(2):
        x = fnn.Input((4,))
        models.append(fnn.Model(x, hidden(x)))
        models[-1].compile("sgd", "sparse_categorical_crossentropy")
    return models


def twice():
    return [network()] * 2


@pytest.mark.parametrize(
    "models, arguments, error, words",
    [
        (shared, {}, fnn.errors.ArgumentError, "models 0 and 1 share the parameter 'common/kernel'"),
        (twice, {}, fnn.errors.ArgumentError, "models 0 and 1 share"),
        (list, {}, fnn.errors.ArgumentError, "at least one model"),
        (lambda: [network(), 7], {}, fnn.errors.ArgumentTypeError, "list of models, got int at 1"),
        (lambda: [fnn.Sequential([layers.Dense(3)])], {}, fnn.errors.NotCompiledError, "compile"),
        (lambda: [network()], {"indices": [[1], [2]]}, fnn.errors.ArgumentError, "each of 1 models, got 2"),
        (lambda: [network()], {"seed": [1, 2]}, fnn.errors.ArgumentError, "seed for each of 1 models, got 2"),
        (lambda: [network()], {"callbacks": [callbacks.TerminateOnNaN()]}, fnn.errors.ArgumentTypeError,
         "function of a model's position"),
        (lambda: [network()], {"sample_weight": [1.0]}, fnn.errors.ShapeError, "^model 0, Sequential 'seq"),
        (lambda: [network()], {"validation_data": iter(())}, fnn.errors.ArgumentTypeError, "arrays as validation_data"),
        (lambda: [network()], {"epochs": "3"}, fnn.errors.ArgumentTypeError, "epochs must be an integer"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_together(models, arguments, error, words, blobs):
    with pytest.raises(error, match=words):
        fnn.fit_many(models(), *blobs, verbose=0, **arguments)


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_line_at_the_end(blobs, capsys, verbose):
    fnn.fit_many([network() for _ in range(3)], *blobs, verbose=verbose)
    out = capsys.readouterr().out
    assert out.startswith("Fit 3 models - ") and "models/s - loss: " in out and out.count("\n") == 1


def test_many_interrupted_keep_what_they_learnt(rng):
    x, y = rng.normal(size=(20_000, 4)).astype("f"), rng.integers(0, 3, 20_000)
    models = [network() for _ in range(2 * fnn.get_num_threads() + 1)]
    began = [model.get_weights()[0] for model in models]

    def interrupt():
        while models[0].history is None or len(models[0].history.epoch) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        fnn.fit_many(models, x, y, epochs=100_000, verbose=0)
    thread.join()
    left = [model.get_weights()[0] for model in models]
    time.sleep(0.1)
    assert not np.array_equal(models[0].get_weights()[0], began[0])
    np.testing.assert_array_equal(models[-1].get_weights()[0], began[-1])
    for model, weights in zip(models, left):  # no thread goes on
        np.testing.assert_array_equal(model.get_weights()[0], weights)
    models[0].fit(x[:64], y[:64], verbose=0)


def test_many_go_on_from_their_checkpoints(blobs, tmp_path):
    x, y = blobs

    def run(epochs, names):
        fnn.set_seed(7)
        models = [network(dropout=0.2) for _ in range(3)]
        histories = fnn.fit_many(
            models, x, y, epochs=epochs, verbose=0,
            callbacks=lambda i: [callbacks.Checkpoint(tmp_path / f"{names}{i}")],
            resume=lambda i: tmp_path / f"{names}{i}",
        )  # fmt: skip
        return list(zip(models, histories)), fnn.seeds.next_seed()

    whole = run(5, "whole")
    run(2, "parts")
    os.remove(tmp_path / "parts1")
    parts = run(5, "parts")
    assert parts[1] == whole[1]
    assert_same(whole[0], parts[0])
