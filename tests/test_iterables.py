"""fit, evaluate and predict on iterables of batches, and on arrays that are mapped from a file."""

import threading
import tracemalloc

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, errors, layers, optimizers


def make(dropout=0.0, optimizer=None, dtype="float32", **settings):
    fnn.set_seed(0)
    model = fnn.Sequential(
        [fnn.Input((4,)), layers.Dense(8, "relu"), layers.Dropout(dropout), layers.Dense(3, "softmax")],
        dtype=dtype,
    )
    model.compile(
        optimizer or optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **settings,
    )
    return model


@pytest.fixture
def data(rng):
    y = rng.integers(0, 3, 90)
    return (rng.normal(size=(90, 4)) + 2 * np.eye(3, 4)[y]).astype("f"), y


class Indexed:
    """Batches by index, as Keras's PyDataset."""

    def __init__(self, *arrays, size=30):
        self.arrays, self.size, self.ends, self.order = arrays, size, 0, []

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError(i)
        self.order.append(i)
        return tuple(a[i * self.size : (i + 1) * self.size] for a in self.arrays)

    def on_epoch_end(self):
        self.ends += 1


class Again:
    """Batches that can only be walked, but again and again."""

    def __init__(self, *arrays, size=30):
        self.batches = Indexed(*arrays, size=size)

    def __iter__(self):
        return (self.batches[i] for i in range(len(self.batches)))


def generator(*arrays, size=30):
    return iter(Again(*arrays, size=size))


def weights(model):
    return [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize("kind", [Indexed, Again])
def test_as_on_arrays(data, kind):
    """The same batches in the same order give the same bits, values included."""
    on_arrays, on_batches = make(), make()
    expected = on_arrays.fit(*data, batch_size=30, epochs=4, shuffle=False, verbose=0, validation_data=data)
    history = on_batches.fit(kind(*data), epochs=4, shuffle=False, verbose=0, validation_data=kind(*data))
    assert weights(on_batches) == weights(on_arrays)
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=1e-12)
    assert on_batches.evaluate(kind(*data)) == pytest.approx(on_arrays.evaluate(*data), rel=1e-12)
    np.testing.assert_array_equal(on_batches.predict(kind(*data)), on_arrays.predict(data[0]))


def test_generators_need_to_know_where_an_epoch_ends(data):
    model = make()
    with pytest.raises(
        errors.ArgumentTypeError, match="generator can be read only once; pass steps_per_epoch"
    ):
        model.fit(generator(*data), epochs=2)
    with pytest.raises(errors.ArgumentTypeError, match="pass validation_steps"):
        model.fit(*data, epochs=2, validation_data=generator(*data))
    assert model.fit(generator(*data), verbose=0).history.keys() == {"loss", "accuracy"}

    def endless():
        while True:
            yield from generator(*data)

    taken = make()
    history = taken.fit(
        endless(), epochs=6, steps_per_epoch=2, verbose=0, validation_data=endless(), validation_steps=3
    )
    assert len(history.history["val_loss"]) == 6 and history.params["steps"] == 2
    whole = make()
    whole.fit(*data, batch_size=30, epochs=4, shuffle=False, verbose=0)
    assert weights(taken) == weights(whole)  # twelve batches in all, one after the other
    assert taken.evaluate(endless(), steps=3) == pytest.approx(whole.evaluate(*data), rel=1e-12)
    assert taken.predict(endless(), steps=2).shape == (60, 3)


def test_an_epoch_goes_on_where_the_last_one_stopped(data):
    for kind in (Indexed, Again):
        model, whole = make(), make()
        model.fit(kind(*data), epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
        whole.fit(*data, batch_size=30, epochs=2, shuffle=False, verbose=0)
        assert weights(model) == weights(whole)


def test_a_generator_that_runs_out(data):
    model = make()
    with pytest.raises(errors.ArgumentError, match="x gave no batches; .* spent"):
        model.fit(generator(*data), epochs=3, steps_per_epoch=3, verbose=0)
    assert len(model.history.epoch) == 1
    with pytest.raises(errors.ArgumentError, match="at least one batch"):
        model.predict(iter(()))
    with pytest.raises(errors.ArgumentError, match="at least one batch"):
        model.fit(Indexed(data[0][:0], data[1][:0]))


def test_batches_by_index_are_shuffled_by_the_seed(data):
    orders = []
    for seed in (1, 1, 2):
        batches = Indexed(*data, size=5)
        make().fit(batches, epochs=2, seed=seed, verbose=0)
        orders.append(batches.order)
        assert batches.ends == 2
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0][:18]) == list(range(18)) and orders[0][:18] != orders[0][18:]


def test_batches_of_all_sizes(data):
    """Values are means over the samples, however they are cut."""
    cuts = [0, 3, 50, 51, 90]
    batches = [tuple(a[i:j] for a in data) for i, j in zip(cuts, cuts[1:])]
    model = make(dtype="float64", weighted_metrics=["accuracy"])
    assert model.evaluate(iter(batches)) == pytest.approx(model.evaluate(*data), rel=1e-12)
    weighed = [(x, y, np.where(y == 1, 3.0, 0.5)) if len(x) > 5 else (x, y) for x, y in batches]
    weight = np.concatenate([b[2] if len(b) == 3 else np.ones(len(b[0])) for b in weighed])
    assert model.evaluate(iter(weighed)) == pytest.approx(
        model.evaluate(*data, sample_weight=weight), rel=1e-12
    )
    history = model.fit(iter(batches), verbose=0).history
    assert np.isfinite(history["loss"][0])
    np.testing.assert_array_equal(model.predict(x for x, _ in batches), model.predict(data[0]))


def test_weights_of_classes(data):
    given = {0: 0.5, 2: 3.0}
    on_arrays, on_batches = make(), make()
    on_arrays.fit(*data, batch_size=30, shuffle=False, verbose=0, class_weight=given)
    on_batches.fit(generator(*data), verbose=0, class_weight=given)
    assert weights(on_batches) == weights(on_arrays)


def test_dropout_is_keyed_by_update_and_row(data):
    runs = [make(0.5) for _ in range(3)]
    for model, seed in zip(runs, (1, 1, 2)):
        model.fit(Indexed(*data), epochs=2, shuffle=False, seed=seed, verbose=0)
    assert weights(runs[0]) == weights(runs[1]) != weights(runs[2])
    still, means = make(0.5, optimizers.SGD(0.0)), []
    look = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: means.append(logs["loss"]))
    still.fit(iter([data] * 4), verbose=0, callbacks=look)
    assert np.ptp(means) > 1e-3  # the same batch, and another mask each time
    parts = make(0.5)
    for first in (0, 1):
        parts.fit(Indexed(*data), initial_epoch=first, epochs=first + 1, shuffle=False, seed=1, verbose=0)
    assert weights(parts) == weights(runs[0])


def test_several_inputs_and_outputs_by_name(rng):
    a, b = fnn.Input((2,), name="a"), fnn.Input((3,), name="b")
    joined = layers.Concatenate()([a, b])
    model = fnn.Model(
        {"a": a, "b": b}, {"u": layers.Dense(1, name="u")(joined), "v": layers.Dense(2, name="v")(joined)}
    )
    model.compile("sgd", "mse")
    x = {"a": rng.normal(size=(20, 2)), "b": rng.normal(size=(20, 3))}
    y = {"u": rng.normal(size=20), "v": rng.normal(size=(20, 2))}

    def batches():
        for i in (0, 10):
            yield {k: v[i : i + 10] for k, v in x.items()}, {k: v[i : i + 10] for k, v in y.items()}

    assert model.evaluate(batches()) == pytest.approx(model.evaluate(x, y), rel=1e-6)
    model.fit(batches(), verbose=0)
    made, expected = model.predict(batches()), model.predict(x)
    assert made.keys() == expected.keys()
    for name in made:
        np.testing.assert_array_equal(made[name], expected[name])


def test_a_sequential_that_learns_its_shape_from_the_first_batch(data):
    for kind in (Indexed, Again, generator):
        model = fnn.Sequential([layers.Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(kind(*data), verbose=0)
        assert model.input_shape == (None, 4) and model._engine().engine.iterations == 3


# ---- errors ----


def test_errors_of_the_iterable_come_out_of_fit(data):
    def breaks():
        yield data[0][:30], data[1][:30]
        raise OSError("the disk is gone")

    for call in (make().fit, make().evaluate, make().predict):
        with pytest.raises(OSError, match="the disk is gone") as caught:
            call(breaks())
        frames = [entry.name for entry in caught.traceback]
        assert "breaks" in frames
        assert "batch 1 of this pass" in caught.value.__notes__[0]
    assert not [t for t in threading.enumerate() if t.name == "fastnn-feed"]


def test_batches_that_do_not_fit(data):
    x, y = data

    def bad(*batch):
        yield x[:30], y[:30]
        yield batch

    with pytest.raises(errors.ShapeError, match="needs shape") as caught:
        make().fit(bad(x[:30, :3], y[:30]))
    assert "batch 1 of this pass" in caught.value.__notes__[0]
    with pytest.raises(errors.ArgumentError, match="got a tuple of 4"):
        make().fit(bad(x, y, y, y))
    with pytest.raises(errors.DataError, match="in row 7 of batch 1") as caught:
        make().fit(bad(x[:30], np.where(np.arange(30) == 7, 5, 0)))
    assert caught.value.row == 7
    with pytest.raises(errors.ArgumentTypeError, match="needs targets"):
        make().fit(iter([(x, None)]))
    with pytest.raises(errors.NonFiniteLossError, match="step 1 ") as caught:
        make(optimizer=optimizers.SGD(1e38)).fit(Indexed(x, y), epochs=3, shuffle=False, verbose=0)
    assert (caught.value.epoch, caught.value.step) == (0, 1)


@pytest.mark.parametrize("argument", ["y", "sample_weight", "batch_size", "validation_split"])
def test_what_an_iterable_brings_itself(data, argument):
    value = {"batch_size": 30, "validation_split": 0.5}.get(argument, data[1])
    with pytest.raises(errors.ArgumentError, match=f"takes {argument} from x"):
        make().fit(generator(*data), **{argument: value})


def test_full_batch_optimizers_refuse_batches(data):
    with pytest.raises(errors.ArgumentError, match="Rprop needs all samples in one batch"):
        make(optimizer=optimizers.Rprop()).fit(generator(*data))


def test_an_end_in_the_midst_stops_the_thread(data):
    model, read = make(), []

    def endless():
        while True:
            read.append(1)
            yield data

    stop = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", batch == 4)
    )
    model.fit(endless(), verbose=0, callbacks=stop)
    assert not [t for t in threading.enumerate() if t.name == "fastnn-feed"]
    assert 5 <= len(read) <= 5 + 6  # no more than a few are read ahead


def test_batches_are_read_while_the_engine_trains(data):
    third = threading.Event()

    def batches():
        yield data
        yield data
        third.set()
        yield data

    ahead = []
    look = callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: ahead.append(third.wait(10)))
    make().fit(batches(), verbose=0, callbacks=look)
    assert ahead[0]  # before the first step was made


# ---- memory ----


def test_memory_does_not_grow_with_the_number_of_batches():
    def batches(count):
        for _ in range(count):
            yield np.ones((100, 100), "f"), np.zeros(100, np.int64)

    model = fnn.Sequential([fnn.Input((100,)), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(batches(5), verbose=0)
    peaks = []
    for count in (20, 400):
        tracemalloc.start()
        model.fit(batches(count), verbose=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    batch = 100 * 100 * 4 + 100 * 8
    assert max(peaks) < 15 * batch  # of 20 and of 400: how far ahead the thread is varies by a few batches


def test_arrays_mapped_from_a_file(tmp_path):
    """100 MB of data are trained on with little memory of one's own."""
    path = tmp_path / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", np.float32, (100_000, 250))
    for i in range(0, len(x), 10_000):
        x[i : i + 10_000] = np.arange(10_000, dtype=np.float32)[:, None] % 7 / 7
    x.flush()
    y = np.arange(100_000) % 10_000 % 7
    model = fnn.Sequential([fnn.Input((250,)), layers.Dense(8, "relu"), layers.Dense(7, "softmax")])
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    mapped = np.load(path, mmap_mode="r")
    tracemalloc.start()
    losses = model.fit(mapped, y, batch_size=500, epochs=2, validation_split=0.1, verbose=0).history["loss"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert losses[1] < losses[0] < 2.0 and peak < 4_000_000
