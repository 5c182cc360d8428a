"""Frozen networks with kernels of fewer bits, and bfloat16 products, against arithmetic by hand and the oracle."""

import pickle

import numpy as np
import pytest

import fastnn as fnn
from fastnn import layers, narrow
from fastnn.backends import xp
from fastnn.errors import ArgumentError, DtypeError, NotCompiledError, UnknownNameError
from fastnn.graph import Program

FORMS = ("int8", "bfloat16")


@pytest.fixture(scope="module")
def digits():
    x, y = fnn.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(x))
    return x[order] / 16, y[order]


@pytest.fixture(scope="module")
def trained(digits):
    fnn.utils.set_random_seed(0)
    model = fnn.Sequential([
        fnn.Input((64,)), layers.Dense(64, "relu"), layers.BatchNormalization(), layers.Dense(48, "tanh"),
        layers.Dense(10, "softmax"),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(digits[0][:1000], digits[1][:1000], epochs=12, verbose=0)
    return model


def oracle(predictor, x):
    """What plain NumPy makes of a frozen network."""
    program = predictor.program
    values = {t.id: predictor.read(t.id, t.shape) for t in program.of_kind("param")}
    for t in program.of_kind("param"):
        if t.type == "bfloat16":
            values[t.id] = (values[t.id].astype(np.uint32) << 16).view(np.float32)
    values[program.of_kind("input")[0].id] = x
    return xp.run(program, values, "predict", dtype=np.float32)[program.roots_of("output")[0].tensor]


def test_a_kernel_in_int8_by_hand():
    q, scale = narrow.quantized(np.float32([[1, 0, -3], [-127, 0, 1.5], [0.5, 0, 6], [2.5, 0, np.nan]]))
    assert q[:, :2].tolist() == [[1, 0], [-127, 0], [0, 0], [2, 0]] and q.dtype == np.int8
    assert scale[:2].tolist() == [1, 0] and np.isnan(scale[2])
    q, scale = narrow.quantized(np.float32([[254], [3], [-1]]))
    assert q.tolist() == [[127], [2], [0]] and scale.tolist() == [2]  # 1.5 and -0.5 are ties


@pytest.mark.parametrize("weights", FORMS)
@pytest.mark.parametrize("rows", [1, 7, 700])
def test_outputs_are_those_of_the_oracle(trained, digits, weights, rows):
    frozen, x = trained.freeze(weights), digits[0][:rows]
    np.testing.assert_allclose(frozen(x), oracle(frozen, x), atol=2e-3 if weights == "bfloat16" else 2e-5)
    assert (frozen(x[rows // 2]) == frozen(x)[rows // 2]).all()


def test_int8_has_the_bytes_and_accuracy_promised(trained, digits):
    report = trained.freeze("int8", validation_data=digits).report
    assert report.bytes_after < 0.33 * report.bytes_before
    assert abs(report.after["accuracy"] - report.before["accuracy"]) <= 0.002
    assert report.samples == len(digits[0]) and 0 < report.mean_change < report.largest_change < 0.1


@pytest.mark.parametrize("weights", FORMS)
def test_the_report_is_what_the_outputs_say(trained, digits, weights):
    x, y = digits[0][1000:], digits[1][1000:]
    frozen, plain = trained.freeze(weights, (x, y)), trained.freeze()
    report = frozen.report
    assert report.largest_change == np.abs(frozen(x).astype(float) - plain(x)).max()
    for predictor, scores in ((plain, report.before), (frozen, report.after)):
        p = predictor(x)
        assert scores["accuracy"] == pytest.approx((p.argmax(1) == y).mean())
        assert scores["loss"] == pytest.approx(-np.log(p[np.arange(len(y)), y]).mean(), rel=1e-4)
    assert f"{report.after['accuracy']:.4f}" in repr(frozen) and plain.report is None
    lines = []
    frozen.summary(print_fn=lines.append)
    assert any("accuracy" in line and f"{report.before['accuracy']:.4f}" in line for line in lines[1:])
    assert any("dense" in line and weights in line for line in lines)


@pytest.mark.parametrize("weights", FORMS)
def test_saved_and_pickled(trained, digits, weights, tmp_path):
    frozen = trained.freeze(weights, validation_data=digits[0])
    frozen.save(tmp_path / "p")
    assert trained.save(tmp_path / "m") is None
    assert (tmp_path / "p").stat().st_size < (tmp_path / "m").stat().st_size / 2
    for twin in (fnn.load(tmp_path / "p"), pickle.loads(pickle.dumps(frozen))):
        assert (twin(digits[0]) == frozen(digits[0])).all() and twin.report == frozen.report


def test_several_outputs_are_compared_together(rng):
    a, b = fnn.Input((5,), name="a"), fnn.Input((4,), name="b")
    p, q = layers.Dense(3, name="p")(a), layers.Dense(2, name="q")(layers.Concatenate()([a, b]))
    model = fnn.Model([a, b], {"p": p, "q": q})
    model.compile("sgd", {"p": "mse", "q": "mae"}, metrics={"q": ["mse"]})
    x = {"a": rng.normal(size=(30, 5)), "b": rng.normal(size=(30, 4))}
    y = {"p": rng.normal(size=(30, 3)), "q": rng.normal(size=(30, 2))}
    report = model.freeze("int8", validation_data=(x, y)).report
    wanted = model.evaluate(x, y, return_dict=True)
    assert report.before == pytest.approx(wanted) and report.after == pytest.approx(wanted, rel=0.05)
    assert report.after != report.before


def test_a_kernel_that_something_else_reads_stays_as_it_is(rng):
    program = Program()
    index, table = program.add_tensor("input", (None,), "int32"), program.add_tensor("param", (5, 4), name="table")
    kernel = program.add_tensor("param", (4, 5), name="kernel")
    embedded = program.add_node("embedding", (table, index))
    once = program.add_node("matmul", (embedded, kernel))
    program.add_root("output", program.add_node("matmul", (once, table)))
    values = {table: np.float32(rng.normal(size=(5, 4))), kernel: np.float32(rng.normal(size=(4, 5)))}
    for weights in FORMS:
        made, _ = narrow.narrowed(program, values, weights)
        assert {t.name: t.type for t in made.of_kind("param")}["table"] == "float32"
        assert {t.name: t.type for t in made.of_kind("param")}["kernel"] == weights


def test_refusals(trained, digits):
    with pytest.raises(UnknownNameError, match="int8"):
        trained.freeze("int4")
    double = fnn.Sequential([fnn.Input((3,)), layers.Dense(2)], dtype="float64")
    with pytest.raises(DtypeError, match="float32"):
        double.freeze("int8")
    fresh = fnn.Sequential([fnn.Input((64,)), layers.Dense(10)])
    with pytest.raises(NotCompiledError, match="compile"):
        fresh.freeze("int8", validation_data=digits)
    assert fresh.freeze("int8", validation_data=digits[0]).report.before == {}
    with pytest.raises(ArgumentError, match="weights"):
        fresh.freeze(validation_data=digits)
