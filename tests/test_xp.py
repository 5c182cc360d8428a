"""The plain array functions of all ops: formulas, and derivatives by finite differences."""

import math

import numpy as np
import pytest
from gradcheck import assert_close, numeric_gradient

from fastnn import _core
from fastnn.backends import xp
from fastnn.graph import Program

ATTRS = {
    "straight_through": 0.0, "clip_value": 0.0, "negative_slope": 0.2, "alpha": 1.3, "approximate": 0.0, "delta": 0.7,
    "threshold": 0.5,
}  # fmt: skip
UNARY = [(n, {a: ATTRS[a] for a in op.attrs}) for n, op in sorted(_core.OPS.items()) if op.needs != "NONE"]
UNARY.append(("gelu", {"approximate": 1.0}))
DENSE_LOSSES = sorted(n for n, op in _core.OPS.items() if op.rule == "LOSS" and f"{n}_grad" in _core.OPS)
INDEX_LOSSES = sorted(n for n, op in _core.OPS.items() if op.rule == "LOSS_IDX" and f"{n}_grad" in _core.OPS)


def attributes(op):
    return {a: ATTRS[a] for a in _core.OPS[op].attrs}


@pytest.mark.parametrize("op", sorted(_core.OPS))
def test_every_op_has_a_function(op):
    assert callable(getattr(xp, op, None))


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (2, 3, 4)])
@pytest.mark.parametrize("op, attrs", UNARY)
def test_gradient_of_activation(op, attrs, shape):
    rng = np.random.default_rng(7)
    x, dy = rng.normal(0, 2, shape), rng.normal(size=shape)
    function = getattr(xp, op)
    known = x if _core.OPS[op].needs == "X" else function(x, **attrs)
    expected = numeric_gradient(lambda: float((function(x, **attrs) * dy).sum()), x)
    got = getattr(xp, f"{op}_grad")(dy, known, **attrs)
    if not expected.any():
        assert np.abs(got).max() <= 1e-10
    else:
        assert_close(got, expected)


@pytest.mark.parametrize("attrs, expected", [((0, 0), [0, 0, 0, 0]), ((1, 0), [3, 4, 5, 6]), ((1, 1), [3, 4, 5, 0])])
def test_straight_through_passes_the_gradient(attrs, expected):
    x = np.array([-1.0, 0.0, 0.5, 2.0])
    assert xp.step(x, *attrs).tolist() == [0, 1, 1, 1]
    assert xp.step_grad(np.array([3.0, 4.0, 5.0, 6.0]), x, *attrs).tolist() == expected


@pytest.mark.parametrize(
    "op, reference",
    [
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x))),
        ("tanh", math.tanh),
        ("hard_sigmoid", lambda x: min(max(x + 3, 0), 6) / 6),
        ("elu", lambda x: x if x > 0 else 1.3 * math.expm1(x)),
        ("gelu", lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2))),
        ("silu", lambda x: x / (1 + math.exp(-x))),
        ("softplus", lambda x: math.log1p(math.exp(x))),
        ("mish", lambda x: x * math.tanh(math.log1p(math.exp(x)))),
        ("softsign", lambda x: x / (1 + abs(x))),
    ],
)
def test_activation_by_its_formula(op, reference):
    x = np.linspace(-6, 6, 49)
    assert_close(getattr(xp, op)(x, **attributes(op)), [reference(v) for v in x.tolist()], 1e-14)


@pytest.mark.parametrize(
    "op", ["sigmoid", "softplus", "softmax", "log_softmax", "tanh", "elu", "mish", "silu"]
)
def test_no_overflow_far_out(op):
    x = np.array([[-1e4, -50.0, 0.0, 50.0, 1e4]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isfinite(getattr(xp, op)(x, **attributes(op))).all()


def loss_inputs(op, shape, rng):
    p = rng.normal(size=shape)
    if op in ("bce", "cce", "scce"):
        p = rng.uniform(0.05, 0.95, shape)
    if _core.OPS[op].rule == "LOSS_IDX":
        return p, rng.integers(0, shape[-1], shape[:-1])
    return p, (
        rng.uniform(0, 1, shape)
        if op in ("bce", "bce_logits", "cce", "cce_logits")
        else rng.normal(size=shape)
    )


@pytest.mark.parametrize("shape", [(1, 2), (4, 10), (3, 2, 5)])
@pytest.mark.parametrize("op", DENSE_LOSSES + INDEX_LOSSES)
def test_gradient_of_loss(op, shape):
    rng = np.random.default_rng(3)
    p, t = loss_inputs(op, shape, rng)
    seed = rng.normal(size=shape[:-1])
    attrs = attributes(op)

    def value():
        out = getattr(xp, op)(p, t, **attrs)
        return float(((out[0] if isinstance(out, tuple) else out) * seed).sum())

    out = getattr(xp, op)(p, t, **attrs)
    known = out[1] if isinstance(out, tuple) else p
    assert_close(getattr(xp, f"{op}_grad")(seed, known, t, **attrs), numeric_gradient(value, p))


def test_logits_losses_agree_with_those_on_probabilities():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(6, 5)), np.eye(5)[rng.integers(0, 5, 6)]
    loss, p = xp.cce_logits(x, t)
    assert_close(loss, xp.cce(p, t), 1e-12)
    assert_close(xp.scce_logits(x, t.argmax(1))[0], loss, 1e-12)
    loss, p = xp.bce_logits(x, t)
    assert_close(loss, xp.bce(p, t), 1e-6)


def test_saturated_probabilities_have_no_gradient():
    p = np.array([[0.0, 1.0]])
    assert xp.bce_grad(np.ones(1), p, np.array([[1.0, 0.0]])).tolist() == [[0.0, 0.0]]
    assert np.isfinite(xp.bce(p, np.array([[1.0, 0.0]]))).all()


def test_metrics():
    p = np.array([[0.2, 0.8], [0.6, 0.6]])
    assert xp.binary_accuracy(p, np.array([[0.0, 1.0], [1.0, 0.0]]), 0.5).tolist() == [1.0, 0.5]
    assert xp.categorical_accuracy(p, np.array([[0.0, 1.0], [0.0, 1.0]])).tolist() == [1.0, 0.0]
    assert xp.sparse_categorical_accuracy(p, np.array([1, 0])).tolist() == [1.0, 1.0]


def test_loss_seed_is_the_gradient_of_the_mean():
    seed = xp.loss_seed(np.array([1.0, 3.0]), 2.0, (2, 4))
    assert seed.tolist() == [[0.25] * 4, [0.75] * 4]


# Known answers published with Random123 (Salmon et al., SC 2011) for Philox 4x32-10.
@pytest.mark.parametrize(
    "counter, key, expected",
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    words = xp.philox([np.array([c], np.uint64) for c in counter], tuple(key))
    assert [int(w[0]) for w in words] == expected


def test_dropout_mask_depends_on_samples_not_on_batches():
    whole = xp.dropout_mask(np.arange(20), 13, 0.3, 2, seed=5, epoch=1)
    assert (xp.dropout_mask([7, 3], 13, 0.3, 2, seed=5, epoch=1) == whole[[7, 3]]).all()
    for other in (dict(key=3), dict(seed=6), dict(epoch=2)):
        arguments = dict(rate=0.3, key=2, seed=5, epoch=1) | other
        assert (xp.dropout_mask(np.arange(20), 13, **arguments) != whole).any()
    big = xp.dropout_mask(np.array([7, 7 + (1 << 32)]), 64, 0.5, 2, seed=5, epoch=1)
    assert (big[0] != big[1]).any()


def test_dropout_keeps_the_mean():
    x = np.ones((2000, 50))
    y = xp.dropout(x, 0.25, 0.0, seed=1)
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert abs(y.mean() - 1) < 0.01


def test_clip_norm():
    g = np.array([3.0, 4.0])
    assert_close(xp.clip_norm(g, xp.sum_squares(g), 1.0), [0.6, 0.8], 1e-15)
    assert xp.clip_norm(g, xp.sum_squares(g), 10.0).tolist() == g.tolist()


@pytest.mark.parametrize("l1, l2", [(0.1, 0.0), (0.0, 0.2), (0.1, 0.2)])
def test_gradient_of_penalty(l1, l2):
    w = np.random.default_rng(0).normal(size=(3, 4))
    expected = numeric_gradient(lambda: float(xp.penalty(w, l1, l2)), w)
    assert_close(xp.penalty_grad(np.zeros_like(w), w, l1, l2), expected)


@pytest.mark.parametrize(
    "op, inputs, expected",
    [
        ("less", ([1.0, 2.0, math.nan], [2.0, 2.0, 1.0]), [1, 0, 0]),
        ("less_equal", ([1.0, 2.0, math.nan], [2.0, 2.0, 1.0]), [1, 1, 0]),
        ("equal", ([1.0, 2.0, math.nan], [2.0, 2.0, math.nan]), [0, 1, 0]),
        ("where", ([0.0, -0.5, math.nan], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), [4, 2, 3]),
        ("maximum", ([1.0, math.nan, 0.0], [2.0, 0.0, math.nan]), [2, math.nan, math.nan]),
        ("minimum", ([1.0, math.nan, 0.0], [2.0, 0.0, math.nan]), [1, math.nan, math.nan]),
        ("power", ([2.0, 4.0, 0.0], [3.0, -0.5, 0.0]), [8, 0.5, 1]),
        ("divide", ([3.0, -1.0], [2.0, 4.0]), [1.5, -0.25]),
        ("rsqrt", ([4.0, 0.25],), [0.5, 2]),
        ("erf", ([0.0, -math.inf],), [0, -1]),
        ("sign", ([-3.0, 0.0, math.nan],), [-1, 0, math.nan]),
        ("floor", ([-0.5, 2.5],), [-1, 2]),
    ],
)
def test_elementwise_by_hand(op, inputs, expected):
    np.testing.assert_array_equal(getattr(xp, op)(*map(np.array, inputs)), expected)


def test_shapes_by_hand():
    x = np.arange(6.0).reshape(2, 3)
    assert xp.sum_to(x, (2, 1)).tolist() == [[3], [12]]
    assert xp.sum_to(x, (1, 3)).tolist() == [[3, 5, 7]]
    assert xp.max_to(-x, (1, 1)).tolist() == [[0]]
    assert xp.argmax(np.array([[1.0, 5.0, 5.0], [math.nan, 9.0, math.nan]]), (2, 1)).tolist() == [[1], [0]]
    assert xp.broadcast(np.array([1.0, 2.0]), (2, 2)).tolist() == [[1, 2], [1, 2]]
    assert xp.pad(x, 1, 1, (2, 5)).tolist() == [[0, 0, 1, 2, 0], [0, 3, 4, 5, 0]]
    assert xp.slice(x, 1, 1, (2, 2)).tolist() == [[1, 2], [4, 5]]
    assert xp.transpose(x, 1 | 0 << 3).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert xp.one_hot(np.array([2, 0]), (2, 3)).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert xp.mean_rows(x[None]).tolist() == [1.5, 2.5, 3.5]
    assert xp.mean_rows_grad(np.array([6.0, 12.0]), (3, 1, 2)).tolist() == [[[2, 4]]] * 3


def test_run_takes_one_side_of_in_training():
    program = Program("float64")
    x = program.add_tensor("input", (None, 2))
    w = program.add_tensor("param", (2,))
    program.add_root("output", program.add_node("in_training", (program.add_node("multiply", (x, w)), x)))
    program.verify()
    given = np.arange(4.0).reshape(2, 2)
    out = program.roots[0].tensor
    assert xp.run(program, {x: given}, "predict")[out].tolist() == given.tolist()
    known = xp.run(program, {x: given, w: np.array([3.0, 5.0])}, "predict", training=True)
    assert known[out].tolist() == [[0, 5], [6, 15]]


def test_run_computes_tallies_from_constants():
    program = Program("float64")
    x = program.add_tensor("input", (None, 3))
    half = program.add_node("full", (), {"value": 0.5}, (3,))
    tally = program.add_node("sum_rows", (program.add_node("less", (x, half)),))
    program.add_root("tally", tally)
    program.verify()
    given = np.array([[0.0, 1.0, 0.2], [0.1, 2.0, 0.7]])
    assert xp.run(program, {x: given}, "evaluate")[tally].tolist() == [2, 0, 1]
    assert tally not in xp.run(program, {x: given}, "gradients")


def test_run_stops_at_what_a_mode_needs():
    program = Program("float64")
    x = program.add_tensor("input", (None, 2))
    w = program.add_tensor("param", (2, 3))
    y = program.add_node("matmul", (x, w))
    program.add_root("output", y)
    extra = program.add_node("tanh", (y,))
    program.verify()
    known = xp.run(program, {x: np.ones((4, 2)), w: np.ones((2, 3))}, "predict")
    assert known[y].shape == (4, 3) and extra not in known
