"""Sparse CSR inputs: what they give against the same data dense, the bits that they keep, and what is refused."""

import json
import types
import zipfile

import hypothesis.strategies as st
import numpy as np
import pytest
from golden.store import HERE
from hypothesis import given

import fastnn as fnn
from fastnn import layers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    DtypeError,
    FastNNError,
    GraphError,
    ShapeError,
)  # fmt: skip
from fastnn.sparse import Rows


class Csr:
    """What SciPy's csr_array has, as far as it is read."""

    format = "csr"

    def __init__(self, data, indices, indptr, shape):
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, shape

    def tocsr(self):
        return self

    def toarray(self):
        return Rows(self.data, self.indices, self.indptr, self.shape).dense()


def drawn(rng, rows, cols, values=6, dtype=np.float32, index=np.int32):
    """Rows of up to `values` values, in no order, some in one column; the second row is empty."""
    counts = rng.integers(0, values + 1, rows)
    counts[1:2] = 0
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(index)
    data = rng.integers(-3, 4, indptr[-1]) if np.dtype(dtype).kind in "iub" else rng.normal(size=indptr[-1])
    return Csr(data.astype(dtype), rng.integers(0, cols, indptr[-1]).astype(index), indptr, (rows, cols))


def net(features, sparse, dtype="float32", units=24, outputs=3):
    fnn.set_seed(5)
    x = fnn.Input((features,), sparse=sparse, name="x")
    h = layers.Dense(units, "relu", kernel_regularizer="l2")(x)
    model = fnn.Model(x, layers.Dense(outputs, "softmax")(h), dtype=dtype)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def close(a, b, dtype="float32"):
    np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "float32" else 1e-10, atol=2e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_agrees_with_dense(rng, dtype):
    x, y = drawn(rng, 90, 70, dtype=dtype), rng.integers(0, 3, 90)
    dense, made = x.toarray().astype(dtype), []
    for model, data in ((net(70, True, dtype), x), (net(70, False, dtype), dense)):
        fnn.set_seed(1)
        values = [model.predict(data), *model.gradients(data, y).values()]
        history = model.fit(data, y, batch_size=16, epochs=2, validation_split=0.2, verbose=0)
        values += [history.history[name] for name in sorted(history.history)]
        history = model.fit(data, y, epochs=2, indices=np.arange(0, 90, 3), verbose=0)
        values += [history.history["loss"], model.evaluate(data, y, verbose=0), model(data)]
        values += [model.train_on_batch(data, y), *model.get_weights(), model.freeze()(data)]
        made.append(values)
    for a, b in zip(*made, strict=True):
        close(a, b, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "int32", "uint64", "bool", ">f4", "float16"])
@pytest.mark.parametrize("index", [np.int32, np.int64, np.int16])
def test_types(rng, dtype, index):
    x = drawn(rng, 20, 15, dtype=dtype, index=index)
    plain = Csr(x.data.astype("float32"), x.indices.astype("int64"), x.indptr.astype("int64"), x.shape)
    model = net(15, True)
    assert model.predict(x).tobytes() == model.predict(plain).tobytes()
    close(model.predict(x), model.predict(plain.toarray()))


def test_scipy(rng):
    scipy = pytest.importorskip("scipy.sparse")
    dense = rng.normal(size=(30, 12)) * (rng.random((30, 12)) < 0.2)
    model = net(12, True)
    for make in (scipy.csr_array, scipy.csr_matrix):
        close(model.predict(make(dense)), model.predict(dense))
    with pytest.raises(ArgumentTypeError, match=r"tocsr\(\)"):
        model.predict(scipy.csc_array(dense))


@given(st.data())
def test_random_models(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rows, cols, units = (data.draw(st.integers(1, n)) for n in (40, 60, 70))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    index = data.draw(st.sampled_from([np.int32, np.int64]))
    x, y = drawn(rng, rows, cols, data.draw(st.integers(0, 9)), dtype, index), rng.integers(0, 3, rows)
    sparse, dense = net(cols, True, dtype, units), net(cols, False, dtype, units)
    batch = data.draw(st.integers(1, rows))
    for a, b in zip(sparse.gradients(x, y).values(), dense.gradients(x.toarray(), y).values(), strict=True):
        close(a, b, dtype)
    whole = sparse.predict(x, batch_size=batch)
    close(whole, dense.predict(x.toarray()), dtype)
    at = data.draw(st.integers(0, rows - 1))
    alone = Csr(x.data, x.indices, x.indptr[at : at + 2], (1, cols))
    assert sparse.predict(alone).tobytes() == whole[at : at + 1].tobytes()


def test_threads_shuffling_and_many_keep_the_bits(rng):
    x, y = drawn(rng, 400, 900, 60), rng.integers(0, 3, 400)
    found, before = [], fnn.get_num_threads()
    try:
        for threads in (1, 2, 3):
            fnn.set_num_threads(threads)
            model = net(900, True, units=100)
            model.fit(x, y, batch_size=128, epochs=2, seed=3, verbose=0)
            found.append(b"".join(w.tobytes() for w in model.get_weights()))
    finally:
        fnn.set_num_threads(before)
    model = net(900, True, units=100)
    fnn.fit_many([model], x, y, batch_size=128, epochs=2, seed=[3], verbose=0)
    found.append(b"".join(w.tobytes() for w in model.get_weights()))
    assert len(set(found)) == 1


def test_batches_of_an_iterable(rng):
    x, y = drawn(rng, 40, 30), rng.integers(0, 3, 40)

    class Parts:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return Csr(x.data, x.indices, x.indptr[10 * i : 10 * i + 11], (10, 30)), y[10 * i : 10 * i + 10]

    one, other = net(30, True), net(30, True)
    one.fit(Parts(), epochs=2, shuffle=False, verbose=0)
    other.fit(x, y, batch_size=10, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_sequential_begins_with_what_it_is_given(rng):
    x, y = drawn(rng, 20, 9), rng.integers(0, 2, 20)
    model = fnn.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert model.inputs[0].sparse and model.input_shape == (None, 9)
    close(model.freeze()(x), model.predict(x))


def test_saved_and_looked_at(rng, tmp_path):
    x, y = drawn(rng, 20, 9), rng.integers(0, 3, 20)
    model = net(9, True)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.fnn")
    loaded = fnn.load(tmp_path / "m.fnn")
    assert loaded.inputs[0].sparse and loaded.predict(x).tobytes() == model.predict(x).tobytes()
    model.freeze().save(tmp_path / "p.fnn")
    assert fnn.load(tmp_path / "p.fnn")(x).tobytes() == model.freeze()(x).tobytes()
    model.summary(print_fn=lambda line: None)
    one = Csr(x.data, x.indices, x.indptr[:2], (1, 9))
    found = model.explain_step(one, y[:1]).gradients
    for name, g in model.gradients(one, y[:1]).items():
        close(found[name], g)


def test_a_layer_of_ones_own(rng):
    class Scores(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight((shape[-1], 2), name="w")

        def call(self, x):
            return fnn.ops.tanh(x @ self.w)

    x = drawn(rng, 20, 9)
    inputs = fnn.Input((9,), sparse=True)
    model = fnn.Model(inputs, Scores()(inputs))
    close(model.predict(x), np.tanh(x.toarray() @ model.get_weights()[0]))


@pytest.mark.parametrize(
    "layer",
    [layers.Flatten(), layers.Dropout(0.5), layers.BatchNormalization(), layers.Activation("relu"),
     layers.Rescaling(2.0), layers.Reshape((3, 3))],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_only_products_read_it(layer):
    x = fnn.Input((9,), sparse=True, name="words")
    with pytest.raises(GraphError, match=f"'{layer.name}'.*'words'"):
        fnn.Model(x, layer(x))


def test_wrong_inputs():
    with pytest.raises(ArgumentError, match="rows of real numbers"):
        fnn.Input((3, 3), sparse=True)
    with pytest.raises(ArgumentError, match="int32"):
        fnn.Input((3,), dtype="int32", sparse=True)


def wrong_arrays():
    def csr(data=(1.0, 2.0), indices=(0, 2), indptr=(0, 1, 2), shape=(2, 3), data_type="float32", index_type="int32"):
        return Csr(np.array(data, data_type), np.array(indices, index_type), np.array(indptr, "int32"), shape)

    other = csr()
    other.format = "csc"
    return {
        "another format": (other, ArgumentTypeError, "tocsr"),
        "features": (csr(shape=(2, 4)), ShapeError, r"\(None, 3\), got \(2, 4\)"),
        "column": (csr(indices=(0, 3)), DataError, "from 0 to 2, got 3 in row 1"),
        "negative column": (csr(indices=(-1, 0)), DataError, "got -1 in row 0"),
        "falling pointers": (csr(indptr=(0, 2, 1)), DataError, "got 2 and 1 in row 1"),
        "pointer beyond": (csr(indptr=(0, 1, 9)), DataError, "at most 2, got 1 and 9 in row 1"),
        "negative pointer": (csr(indptr=(-1, 1, 2)), DataError, "got -1 and 1 in row 0"),
        "nan": (csr(data=(1, np.nan)), DataError, "got nan in row 1"),
        "too large": (csr(data=(1, 1e300), data_type="float64"), DataError, "1e.300"),
        "few pointers": (csr(indptr=(0, 1)), ShapeError, "3 row pointers"),
        "few indices": (csr(indices=(0,)), ShapeError, "1 indices and 2 values"),
        "text": (csr(data=("a", "b"), data_type="U1"), DtypeError, "real numbers"),
        "indices of reals": (csr(index_type="float64"), DtypeError, "needs integers"),
        "no rows": (csr(data=(), indices=(), indptr=(0,), shape=(0, 3)), ShapeError, "at least one sample"),
        "dense of rank 1": (np.ones(3), ShapeError, r"shape \(n, features\)"),
        "dense nan": (np.array([[1, 0, 0], [0, np.nan, 0.0]]), DataError, "got nan in row 1"),
        "None": (None, ArgumentTypeError, "got None"),
    }


@pytest.mark.parametrize("case", wrong_arrays())
def test_wrong_arrays(case):
    x, error, message = wrong_arrays()[case]
    with pytest.raises(error, match=message):
        net(3, True).fit(x, np.zeros(2 if case != "no rows" else 0, int), verbose=0)


def test_nan_where_it_is_allowed():
    x = Csr(np.array([1, np.nan], "float32"), np.array([0, 2]), np.array([0, 1, 2]), (2, 3))
    found = np.isnan(net(3, True).predict(x, check_finite=False))
    assert not found[0].any() and found[1].all()


def test_sparse_arrays_where_dense_ones_are_needed(rng):
    x = drawn(rng, 5, 3)
    with pytest.raises(ArgumentTypeError, match=r"toarray\(\).*sparse=True"):
        net(3, False).predict(x)
    with pytest.raises(ArgumentTypeError, match="dense array"):
        net(3, True).fit(x, drawn(rng, 5, 1), verbose=0)


# ---- elsewhere ----


def test_onnx_has_dense_rows(rng):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model, x = net(9, True), drawn(rng, 6, 9)
    for source in (model, model.freeze()):
        session = runtime.InferenceSession(fnn.onnx.to_onnx(source).SerializeToString())
        [made] = session.run(None, {"x": x.toarray().astype("float32")})
        np.testing.assert_allclose(made, model.predict(x), rtol=1e-5, atol=1e-6)


def test_pytorch_takes_dense_rows_and_sparse_ones(rng):
    torch = pytest.importorskip("torch")
    model, x = net(9, True), drawn(rng, 6, 9)
    module = model.to_torch()
    dense = torch.tensor(x.toarray(), dtype=torch.float32)
    for rows in (dense, dense.to_sparse_csr()):
        np.testing.assert_allclose(module(rows).detach().numpy(), model.predict(x), rtol=1e-5, atol=1e-6)


def test_to_keras_and_back(rng):
    keras = pytest.importorskip("keras")
    model, x = net(9, True), drawn(rng, 6, 9)
    theirs = model.to_keras()
    sparse = keras.config.backend() in ("tensorflow", "jax")
    assert theirs.inputs[0].sparse == sparse
    made = np.asarray(theirs.predict(x.toarray().astype("float32"), verbose=0))
    np.testing.assert_allclose(made, model.predict(x), rtol=1e-5, atol=1e-6)
    again = fnn.from_keras(theirs)
    assert again.inputs[0].sparse == sparse
    np.testing.assert_allclose(again.predict(x if sparse else x.toarray()), model.predict(x), rtol=1e-5, atol=1e-6)


def test_a_file_of_keras_with_a_sparse_input(rng, tmp_path):
    pytest.importorskip("h5py")
    source = zipfile.ZipFile(HERE / "interop" / "chain.keras")

    def with_sparse(shape):
        config = json.loads(source.read("config.json"))
        config["config"]["layers"][0]["config"].update(sparse=True, batch_shape=[None, *shape])
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as target:
            for name in source.namelist():
                target.writestr(name, json.dumps(config) if name == "config.json" else source.read(name))
        return fnn.from_keras(tmp_path / "m.keras")

    model, x = with_sparse([5]), drawn(rng, 6, 5)
    assert model.inputs[0].sparse
    dense = fnn.from_keras(HERE / "interop" / "chain.keras")
    np.testing.assert_allclose(model.predict(x), dense.predict(x.toarray()), rtol=1e-5, atol=1e-6)
    with pytest.raises(FastNNError, match="a sparse input has rows of real numbers"):
        with_sparse([2, 5])


def test_no_gradient_by_it(rng):
    with pytest.raises(DtypeError, match="sparse"):
        fnn.explain.saliency(net(9, True), drawn(rng, 4, 9))


def test_a_program_file_cannot_read_it_otherwise():
    from fastnn.errors import ProgramError
    from fastnn.graph import Program

    text = "fastnn-program 1\ndtype float32\ntensor 0 input csr B,3 x\ntensor 1 temp float32 B,3\nnode relu 0 1 -\n"
    with pytest.raises(ProgramError, match="type csr"):
        Program.parse(text)
    from fastnn import _core

    with pytest.raises(ProgramError):
        _core.Engine(text)


def test_what_is_recognised():
    from fastnn.sparse import is_sparse

    assert not any(map(is_sparse, (np.ones(2), [1], memoryview(b"ab"), "csr", types.SimpleNamespace(format="csr"))))
