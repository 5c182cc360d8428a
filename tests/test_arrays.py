"""What counts as an array: any layout, byte order, dtype and protocol gives what the plain array gives."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import data, layers
from fastnn.errors import ArgumentError, ArgumentTypeError, DataError, DtypeError, ShapeError


@pytest.fixture(scope="module")
def model():
    model = fnn.Sequential([fnn.Input((4,)), layers.Dense(3, "tanh"), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def x(rng):
    return rng.integers(0, 100, (9, 4))


@pytest.mark.parametrize(
    "dtype",
    [
        "?",
        "i1",
        "u1",
        "i2",
        "u2",
        "i4",
        "u4",
        "i8",
        "u8",
        "f2",
        "f4",
        "f8",
        ">f4",
        ">f8",
        ">i4",
        ">u2",
        ">f2",
    ],
)
def test_dtypes_and_byte_orders(model, x, dtype):
    given = x.astype(dtype)
    np.testing.assert_array_equal(model.predict(given), model.predict(given.astype("f4")))


def test_layouts(model, x):
    expected = model.predict(x.astype("f"))
    x = x.astype("f")
    wide = np.zeros((18, 12), "f")
    wide[::2, ::3] = x
    for given in (np.asfortranarray(x), wide[::2, ::3], x[::-1].copy()[::-1], x[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(model.predict(given), expected)
    np.testing.assert_array_equal(
        model.predict(np.broadcast_to(x[:1], (9, 4))), np.repeat(expected[:1], 9, 0)
    )
    x.flags.writeable = False
    np.testing.assert_array_equal(model.predict(x), expected)
    unaligned = np.frombuffer(b"x" + x.tobytes(), np.uint8)[1:].view("f").reshape(x.shape)
    np.testing.assert_array_equal(model.predict(unaligned), expected)


def test_memory_mapped(model, x, tmp_path):
    np.save(tmp_path / "x.npy", x.astype("f"))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(model.predict(mapped), model.predict(x))
    model.fit(mapped, np.zeros((9, 2)), verbose=0)


def test_nothing_is_copied(x):
    for given in (x, x[::2], np.asfortranarray(x), x.astype(">f4")):
        assert np.shares_memory(data.as_array(given, "x"), given)


class Interface:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class OnlyDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_protocols(model, x):
    expected = model.predict(x.astype("f8"))
    x = x.astype("f8")
    for given in (x.tolist(), tuple(map(tuple, x)), memoryview(x), Interface(x), OnlyDLPack(x), list(x)):
        np.testing.assert_array_equal(model.predict(given), expected)
    assert np.shares_memory(data.as_array(OnlyDLPack(x), "x"), x)


def test_frames(model, x):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=list("abcd"))
    np.testing.assert_array_equal(model.predict(frame), model.predict(x))
    model.fit(frame, frame[["a", "b"]], verbose=0)
    with pytest.raises(DtypeError):
        model.predict(frame.assign(a="text"))


def test_torch_tensors(model, x):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(x, dtype=torch.float32)
    np.testing.assert_array_equal(model.predict(tensor), model.predict(x))
    with pytest.raises(ArgumentTypeError):
        model.predict(tensor.requires_grad_())


def test_rank_one_for_one_feature(rng):
    model = fnn.Sequential([fnn.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = rng.normal(size=5)
    np.testing.assert_array_equal(model.predict(x), model.predict(x[:, None]))
    assert model.evaluate(x, x) == model.evaluate(x[:, None], x[:, None])


@pytest.mark.parametrize(
    "x, error",
    [
        (np.zeros((2, 5)), ShapeError),
        (np.zeros(4), ShapeError),
        (np.zeros((2, 4, 1)), ShapeError),
        (np.zeros((0, 4)), ShapeError),
        (3.0, ShapeError),
        ([[1, 2, 3, 4], [1]], ShapeError),
        (np.zeros((2, 4), object), DtypeError),
        ([["a"] * 4], DtypeError),
        (np.zeros((2, 4), complex), DtypeError),
        (np.zeros((2, 4), "M8[s]"), DtypeError),
        (np.zeros((2, 4), "V4"), DtypeError),
        (None, ArgumentTypeError),
        (np.ma.masked_array(np.zeros((2, 4)), np.eye(2, 4)), ArgumentTypeError),
        ({"wrong": np.zeros((2, 4))}, ArgumentError),
        (object(), ArgumentTypeError),
        ((i for i in range(3)), ShapeError),  # an iterable of batches, none of which is one
        (len, ArgumentTypeError),
    ],
)
def test_what_is_no_batch(model, x, error):
    with pytest.raises(error):
        model.predict(x)


def test_targets(model, rng):
    x = rng.normal(size=(6, 4))
    for y, error in (
        (np.zeros((6, 3)), ShapeError),
        (np.zeros(6), ShapeError),
        (np.zeros((5, 2)), ShapeError),
        (None, ArgumentTypeError),
        (np.zeros((6, 2), object), DtypeError),
    ):
        with pytest.raises(error):
            model.evaluate(x, y)
    with pytest.raises(ShapeError):
        model.evaluate(x, np.zeros((6, 2)), sample_weight=np.ones(5))
    with pytest.raises(ShapeError):
        model.evaluate(x, np.zeros((6, 2)), sample_weight=np.ones((6, 2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_not_finite(model, rng, bad, dtype):
    x, y = rng.normal(size=(40, 4)).astype(dtype), np.zeros((40, 2), dtype)
    x[35, 2] = bad
    before = model.get_weights()
    for call in (
        lambda: model.predict(x),
        lambda: model.evaluate(x, y),
        lambda: model.fit(x, y, verbose=0),
        lambda: model.gradients(x, y),
        lambda: model.train_on_batch(x, y),
    ):
        with pytest.raises(DataError, match="row 35") as caught:
            call()
        assert caught.value.row == 35 and isinstance(caught.value.tensor, str)
        assert not np.isfinite(caught.value.value)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert np.isnan(model.predict(x, check_finite=False)[35]).all() == np.isnan(bad)
    with pytest.raises(DataError, match="target"):
        model.evaluate(np.zeros((40, 4)), np.full((40, 2), bad))
    with pytest.raises(DataError, match="sample_weight"):
        model.evaluate(np.zeros((40, 4)), y, sample_weight=np.full(40, bad))


@pytest.mark.parametrize("label", [-1, 3, 0.5, np.nan, 2.0**40])
def test_labels(rng, label):
    model = fnn.Sequential([fnn.Input((4,)), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    y = np.array([0, 1.0, 2, label, 0])
    with pytest.raises(DataError, match="integers from 0 to 2.* row 3") as caught:
        model.fit(rng.normal(size=(5, 4)), y, verbose=0)
    assert caught.value.row == 3
    with pytest.raises(ShapeError, match="one-hot"):
        model.fit(np.zeros((5, 4)), np.zeros((5, 3)), verbose=0)


def test_to_categorical():
    np.testing.assert_array_equal(fnn.utils.to_categorical([[1], [0]], 3), [[0, 1, 0], [1, 0, 0]])
    assert fnn.utils.to_categorical(np.zeros((2, 3), int)).shape == (2, 3, 1)
    with pytest.raises(ArgumentError):
        fnn.utils.to_categorical([3], 3)
    with pytest.raises(DtypeError):
        fnn.utils.to_categorical([0.5])


@pytest.mark.parametrize("features", [250, 256])
def test_rows_that_are_read_where_they_stand(rng, features):
    """Contiguous rows of the model's dtype need no copy; rows a power of two apart and odd addresses do."""
    x = rng.normal(size=(600, features)).astype("f")
    model = fnn.Sequential([fnn.Input((features,)), layers.Dense(3, "tanh"), layers.Dense(2)])
    model.compile("sgd", "mse")
    frozen, shuffled = model.freeze(), rng.permutation(600)
    expected = model.predict(x.astype("f8"))
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view("f4").reshape(x.shape)
    assert odd.ctypes.data % 4 != 0
    for given in (x, odd):
        np.testing.assert_array_equal(model.predict(given), expected)
        np.testing.assert_array_equal(frozen(given), expected)
        np.testing.assert_array_equal(frozen(given[shuffled]), expected[shuffled])
    x[307, 11] = np.nan
    with pytest.raises(DataError, match="307"):
        model.predict(x)
    with pytest.raises(DataError, match="307"):
        model.evaluate(x, expected, verbose=0)
    x[307, 11] = 0
    assert np.isfinite(model.predict(x)).all()


class Foreign:
    """An array of another library: nothing but the two methods of the array API standard."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **how):
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __array_namespace__(self):
        return Library


class Library:
    @staticmethod
    def from_dlpack(array):
        return Foreign(np.from_dlpack(array))


def _as_torch(array):
    return pytest.importorskip("torch").from_numpy(array)


def _values(array):
    return array.array if isinstance(array, Foreign) else np.asarray(array)


@pytest.mark.parametrize("make", [Foreign, _as_torch])
def test_the_callers_kind_of_array_comes_back(make):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    given, kind = make(x), type(make(x))
    plain = fnn.Sequential([fnn.Input((3,)), fnn.layers.Dense(2)])
    a, b = fnn.Input((3,), name="a"), fnn.Input((3,), name="b")
    several = fnn.Model([a, b], [fnn.layers.Dense(1)(fnn.layers.Add()([a, b])), fnn.layers.Dense(2)(a)])
    for call in (plain.predict, plain, plain.freeze()):
        made = call(given)
        assert type(made) is kind
        np.testing.assert_array_equal(_values(made), call(x))
        assert type(call(x)) is type(call(x[::-1])) is type(call(x.tolist())) is np.ndarray
    for call in (several.predict, several.freeze()):
        made = call([given, given])
        assert type(made) is list and all(type(m) is kind for m in made)
        for m, expected in zip(made, call([x, x])):
            np.testing.assert_array_equal(_values(m), expected)
    out = np.empty((5, 2), "float32")
    assert plain.freeze()(given, out=out) is out
