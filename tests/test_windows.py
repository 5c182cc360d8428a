"""fit with shuffle=w: samples mixed within windows, for files larger than memory."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, layers


@pytest.fixture
def blobs(rng):
    y = rng.integers(0, 3, 500)
    return (rng.normal(size=(500, 4)) + 2 * np.eye(3, 4)[y]).astype("f"), y


def trained(x, y, epochs=3, **arguments):
    """Loss of each epoch and the weights."""
    fnn.set_seed(1)
    model = fnn.Sequential(
        [fnn.Input((4,)), layers.Dense(16, "relu"), layers.Dropout(0.2), layers.Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=epochs, verbose=0, **{"batch_size": 16, **arguments})
    return [history.history["loss"], *model.get_weights()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_windows_are_an_order_of_their_own(blobs):
    made = {shuffle: trained(*blobs, shuffle=shuffle) for shuffle in (False, True, 40, 200, 500, 10_000)}
    assert same(made[500], made[True]) and same(made[10_000], made[True])
    apart = [False, True, 40, 200]
    assert not any(same(made[a], made[b]) for a in apart for b in apart if a is not b)
    assert same(made[40], trained(*blobs, shuffle=np.int64(40)))
    assert same(made[True], trained(*blobs, shuffle=1)) and same(made[False], trained(*blobs, shuffle=0))


def test_same_bits_for_any_number_of_threads_and_in_calls_of_one_step(blobs):
    class Watch:
        def on_train_batch_end(self, batch, logs):
            pass

    threads, results = fnn.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            fnn.set_num_threads(count)
            results.append(trained(*blobs, shuffle=100, batch_size=250))
    finally:
        fnn.set_num_threads(threads)
    results.append(trained(*blobs, shuffle=100, batch_size=250, callbacks=[Watch()]))
    assert all(same(results[0], other) for other in results[1:])


def test_windows_of_chosen_rows(blobs, rng):
    x, y = blobs
    rows = rng.permutation(500)[:333]
    assert same(trained(x[rows], y[rows], shuffle=64), trained(x, y, shuffle=64, indices=rows))


@pytest.mark.parametrize("shuffle", [40, True, False])
def test_a_run_goes_on_within_a_window(blobs, tmp_path, shuffle):
    path = tmp_path / "run"

    class Cut:
        def on_train_batch_end(self, batch, logs):
            self.seen = getattr(self, "seen", 0) + 1
            if self.seen == 45:  # in the second epoch of 32 steps
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(*blobs, shuffle=shuffle, callbacks=[callbacks.Checkpoint(path, every_steps=7), Cut()])
    assert same(trained(*blobs, shuffle=shuffle, resume=path), trained(*blobs, shuffle=shuffle))
    with pytest.raises(fnn.errors.ArgumentError, match="shuffle"):
        trained(*blobs, epochs=4, shuffle=41, resume=path)


@pytest.mark.parametrize("shuffle, part", [(False, np.s_[:, :4]), (20_000, np.s_[::-1, 4:8])])
def test_files_are_read_where_they_are(tmp_path, rng, shuffle, part):
    """Large enough to be read ahead."""
    x, y = rng.normal(size=(140_000, 64)).astype("f"), rng.integers(0, 3, 140_000)
    np.save(tmp_path / "x.npy", x)
    mapped, rows = np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(10, 130_000)
    for indices in (None, rows):
        arguments = dict(epochs=1, shuffle=shuffle, batch_size=8192, indices=indices)
        assert same(trained(mapped[part], y, **arguments), trained(x[part].copy(), y, **arguments))


@pytest.mark.parametrize("shuffle", ["batch", 2.5, None])
def test_what_is_no_shuffle(blobs, shuffle):
    with pytest.raises(fnn.errors.ArgumentTypeError, match="True, False, the samples of a window"):
        trained(*blobs, shuffle=shuffle)
    with pytest.raises(fnn.errors.ArgumentError, match="at least 0, got -1"):
        trained(*blobs, shuffle=-1)
