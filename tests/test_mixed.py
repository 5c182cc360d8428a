"""dtype="mixed_bfloat16": float32 parameters, bfloat16 products."""

import numpy as np
import pytest
from golden.store import Reader

import fastnn as fnn
from fastnn import _core, layers
from fastnn.backends import xp
from fastnn.errors import DtypeError
from fastnn.graph import Program

PRODUCTS = ("matmul", "matmul_nt", "matmul_tn")


@pytest.fixture(scope="module")
def digits():
    x, y = fnn.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(x))
    return x[order] / 16, y[order]


def net(dtype="mixed_bfloat16", seed=0, widths=(96, 48), features=64):
    fnn.utils.set_random_seed(seed)
    hidden = [layers.Dense(w, "relu", name=f"h{i}") for i, w in enumerate(widths)]
    model = fnn.Sequential([fnn.Input((features,)), *hidden, layers.Dense(10, "softmax", name="y")], dtype=dtype)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def products(x, w, dy, isa, threads=1):
    """x w, dy w' and x' dy as the engine computes them in a mixed Program; its session is guarded."""
    rows, (k, n) = len(x), w.shape
    program = Program("mixed_bfloat16")
    ids = program.add_tensor("input", (None, k)), program.add_tensor("param", (k, n)), program.add_tensor("input", (None, n))
    made = [program.add_node("matmul", ids[:2]), program.add_node("matmul_nt", (ids[2], ids[1])),
            program.add_node("matmul_tn", (ids[0], ids[2]))]  # fmt: skip
    copies = [program.add_tensor("input", (None, k))]
    program.add_root("grad", made[1], copies[0])
    program.add_root("grad", made[2], ids[1])
    loss = program.add_node("squared_error", (made[0], program.add_tensor("target", (None, n))))
    program.add_root("loss", loss)
    program.add_root("grad", made[0], program.add_tensor("input", (None, n)))
    program.verify()
    _core.set_threads(threads)
    engine = _core.Engine(program.text(), isa=isa)
    engine.param(ids[1]).write(w)
    session = engine.session("gradients", rows, guard=True)
    for t in program.tensors:
        if t.kind in ("input", "target"):
            session.bind(t.id, {ids[0]: x, ids[2]: dy}.get(t.id, np.zeros((rows, *t.shape[1:]), "float32")))
    session.begin(rows, rows)
    session.run(-1, -1.0, 0.0)
    session.check()
    out = [np.empty((rows, k), "float32"), np.empty((k, n), "float32"), np.empty((rows, n), "float32")]
    for i, a in enumerate(out):
        session.gradient(i, a)
    return out[2], out[0], out[1]


@pytest.fixture
def threads_as_before():
    before = _core.get_threads()
    yield
    _core.set_threads(before)


@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.parametrize("isa", _core.isas())
def test_products_are_those_of_pytorch(isa):
    golden = Reader("bfloat16")
    for case in golden.cases:
        given = [golden.get("given", p) for p in case["given"]]
        exact, rounded = ([golden.get(g, p) for p in case[g]] for g in ("float64", "bfloat16"))
        for made, right, theirs in zip(products(*given, isa), exact, rounded):
            scale = np.abs(right).max()
            np.testing.assert_allclose(made, right, atol=3e-6 * scale)
            np.testing.assert_allclose(xp.round_bfloat16(made), theirs, rtol=2**-7, atol=2**-7 * scale)
        x, w, dy = map(xp.round_bfloat16, given)
        for right, plain in zip(exact, (x @ w.astype(float), dy @ w.T.astype(float), x.T @ dy.astype(float))):
            np.testing.assert_array_equal(plain, right)


@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("rows, k, n", [(1, 2100, 40), (300, 401, 130), (1100, 100, 50), (97, 33, 1030)])
def test_blocks_and_threads(rows, k, n, isa, rng):
    """Sums over several blocks are right, and have the same bits on any number of threads."""
    x, w, dy = (np.float32(rng.normal(size=s)) for s in ((rows, k), (k, n), (rows, n)))
    a, b, d = (xp.round_bfloat16(v).astype(float) for v in (x, w, dy))
    alone = products(x, w, dy, isa)
    for made, right, terms in zip(alone, (a @ b, d @ b.T, a.T @ d), (k, n, rows)):
        np.testing.assert_allclose(made, right, atol=3e-6 * np.sqrt(terms) * np.abs(right).max() / 4)
    for threads in (2, 3):
        for made, right in zip(products(x, w, dy, isa, threads), alone):
            assert made.tobytes() == right.tobytes()


def test_rounding_by_hand():
    x = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, 3.4e38, np.inf, -0.0])
    right = [1, 1, 1 + 2**-6, 1 + 2**-7, -1, np.inf, np.inf, 0]
    assert xp.round_bfloat16(x).tolist() == right
    one = np.ones((1, 1), "float32")
    for value, wanted in list(zip(x, right))[:5]:
        for made in products(one * value, one, one, None)[::2] + products(one, one * value, one, None)[:2]:
            assert made == wanted


def test_gradients_are_those_of_the_rounded_products(digits):
    """Against the oracle in float32, whose sums differ in the last bits; a rounding that flips for it is rare."""
    model = net(widths=(32,))
    x, y = digits[0][:50], digits[1][:50]
    gradients = model.gradients(x, y)
    program = model.program
    values = {id: p.value for id, p in model._stored_params()}
    for t in program.of_kind("input") + program.of_kind("target"):
        values[t.id] = x if t.kind == "input" else y
    known = xp.run(program, values, "gradients", dtype=np.float32)
    plain = net("float32", widths=(32,)).gradients(x, y)
    for root in program.roots_of("grad"):
        name = program.tensors[root.other].name
        if name not in gradients:
            continue
        size = np.abs(known[root.tensor]).max()
        assert np.abs(gradients[name] - known[root.tensor]).mean() < 1e-5 * size
        assert 1e-5 * size < np.abs(gradients[name] - plain[name]).max() < 0.05 * size


def test_accuracy_on_digits_is_that_of_float32(digits):
    x, y = digits
    scores = {"float32": [], "mixed_bfloat16": []}
    for dtype, found in scores.items():
        for seed in range(4):
            model = net(dtype, seed)
            model.fit(x[:1300], y[:1300], epochs=10, batch_size=32, verbose=0)
            found.append(model.evaluate(x[1300:], y[1300:])[1])
    assert np.mean(scores["mixed_bfloat16"]) > np.mean(scores["float32"]) - 0.006
    assert scores["mixed_bfloat16"] != scores["float32"]


@pytest.mark.usefixtures("threads_as_before")
def test_training_has_the_same_bits_on_any_number_of_threads(digits):
    made = []
    for threads in (1, 2, 3):
        _core.set_threads(threads)
        model = net(widths=(300, 200))
        model.fit(digits[0][:600], digits[1][:600], batch_size=200, epochs=2, verbose=0)
        made.append(np.concatenate([w.ravel() for w in model.get_weights()]).tobytes())
    assert made[0] == made[1] == made[2]


def test_saved_loaded_and_trained_on(digits, tmp_path):
    x, y = digits[0][:300], digits[1][:300]
    whole, half = net(), net()
    whole.fit(x, y, epochs=4, verbose=0, shuffle=False)
    half.fit(x, y, epochs=2, verbose=0, shuffle=False)
    half.save(tmp_path / "m")
    again = fnn.load(tmp_path / "m")
    assert again.dtype_policy == "mixed_bfloat16" and again.dtype == "float32"
    assert (again.predict(x) == half.predict(x)).all()
    again.fit(x, y, epochs=2, verbose=0, shuffle=False)
    assert all((a == b).all() for a, b in zip(again.get_weights(), whole.get_weights()))
    assert all(w.dtype == np.float32 for w in again.get_weights())
    again.save_weights(tmp_path / "w")
    plain = net("float32")
    plain.load_weights(tmp_path / "w")
    assert 0 < np.abs(plain.predict(x) - again.predict(x)).max() < 0.05


def test_a_run_resumes_with_the_same_bits(digits, tmp_path):
    x, y = digits[0][:200], digits[1][:200]
    whole = net()
    whole.fit(x, y, epochs=3, verbose=0)
    model, path = net(), tmp_path / "run"
    model.fit(x, y, epochs=2, verbose=0, callbacks=[fnn.callbacks.Checkpoint(path)])
    model = net()
    model.fit(x, y, epochs=3, verbose=0, resume=path, callbacks=[fnn.callbacks.Checkpoint(path)])
    assert all((a == b).all() for a, b in zip(model.get_weights(), whole.get_weights()))


def test_frozen_predictions_have_the_bits_of_the_model(digits):
    x, model = digits[0][:50], net()
    for weights in (None, "bfloat16"):
        assert (model.freeze(weights)(x) == model.predict(x)).all()
    assert "mixed_bfloat16" in repr(model) and "mixed_bfloat16" in repr(model.freeze())


def test_refusals():
    with pytest.raises(DtypeError, match="mixed_bfloat16"):
        fnn.Sequential([fnn.Input((2,)), layers.Dense(1)], dtype="bfloat16")
    with pytest.raises(DtypeError):
        layers.Dense(3, dtype="mixed_bfloat16")
    with pytest.raises(DtypeError):
        fnn.config.set_floatx("mixed_bfloat16")
