"""fastnn.value_and_grad: values, gradients, types, how often a function is traced."""

import threading

import numpy as np
import pytest
from gradcheck import assert_close, numeric_gradient

import fastnn as fnn
from fastnn import ops
from fastnn.errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(7, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=4)


def net(x, w, b):
    return ops.sum(ops.tanh(x @ w + b) ** 2) / 7 + 0.1 * ops.norm(w)


def by_hand(x, w, b):
    return (np.tanh(x @ w + b) ** 2).sum() / 7 + 0.1 * np.sqrt((w**2).sum())


def test_the_example_of_the_documentation():
    value, gradient = fnn.value_and_grad(lambda w: ops.sum(w * w))(np.array([1.0, 2.0]))
    assert value == 5.0 and np.array_equal(gradient, [2.0, 4.0])


def test_gradients_are_those_of_differences():
    value, gradients = fnn.value_and_grad(net, argnums=(0, 1, -1, 1))(X, W, B)
    assert type(value) is np.float64 and value == pytest.approx(by_hand(X, W, B), rel=1e-12)
    assert len(gradients) == 4 and np.array_equal(gradients[1], gradients[3])
    for i, gradient in enumerate(gradients[:3]):
        moved = [a.copy() for a in (X, W, B)]
        assert_close(gradient, numeric_gradient(lambda moved=moved: by_hand(*moved), moved[i]))


def test_a_function_is_traced_once_for_shapes_and_types():
    calls = []

    def counted(x, scale):
        calls.append(x.shape)
        return ops.mean(x * x) * scale

    function = fnn.value_and_grad(counted)
    for k in range(3):
        value, gradient = function(X + k, 2)
        assert value == pytest.approx(2 * ((X + k) ** 2).mean(), rel=1e-12)
        assert_close(gradient, 4 * (X + k) / X.size, 1e-12)
    assert calls == [(7, 3)]
    value, gradient = function(X[:2].astype(np.float32), 0.5)
    assert type(value) is np.float32 and gradient.dtype == np.float32
    function(X[:2], 0.5)
    assert calls == [(7, 3), (2, 3), (2, 3)]


def test_any_order_of_memory_and_type_of_number_is_taken():
    expected, gradient = fnn.value_and_grad(net, 1)(X, W, B)
    strided = np.asfortranarray(W.repeat(2, axis=1))[:, ::2]
    value, other = fnn.value_and_grad(net, 1)(X, strided, B)
    assert value == expected and np.array_equal(other, gradient)
    value, gradient = fnn.value_and_grad(lambda a, b: a**2 + b)(3, True)
    assert (value, gradient) == (10.0, 6.0) and gradient.shape == ()


def test_an_argument_may_not_matter_or_be_the_result():
    value, (first, second) = fnn.value_and_grad(lambda a, b: a * 1.0, (0, 1))(2.0, B)
    assert value == 2 and first == 1 and np.array_equal(second, np.zeros(4))


def test_infinities_and_nan_come_out_as_they_are():
    value, gradient = fnn.value_and_grad(lambda w: ops.sum(ops.log(w)))(np.array([0.0, 1.0]))
    assert value == -np.inf and np.array_equal(gradient, [np.inf, 1.0])
    assert np.isnan(fnn.value_and_grad(ops.sum)(np.array([np.nan]))[0])


def test_threads_may_share_a_function():
    function = fnn.value_and_grad(lambda w: ops.sum(w * w))
    found = {}

    def work(k):
        found[k] = [function(np.full(50, k + i / 10))[0] for i in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, values in found.items():
        assert_close(values, [50 * (k + i / 10) ** 2 for i in range(20)], 1e-12)


@pytest.mark.parametrize(
    ("function", "args", "argnums", "error", "match"),
    [
        (lambda w: w * 2, (B,), 0, ShapeError, r"must give one number, got the shape \(4,\)"),
        (lambda w: 3.0, (B,), 0, ArgumentTypeError, "must give a number made of its arguments, got float"),
        (lambda w: ops.sum(w) if w[0] > 0 else -ops.sum(w), (B,), 0, ArgumentTypeError, "ops.where"),
        (ops.sum, (B,), 1, ArgumentError, "argnums=1 names none of the 1 arguments"),
        (ops.sum, (B,), 0.5, ArgumentTypeError, "argnums must be an integer, got 0.5"),
        (ops.sum, (["a"],), 0, DtypeError, "argument 0 must hold real numbers, got <U1"),
        (ops.sum, ([[1], [1, 2]],), 0, ShapeError, "argument 0 forms no array"),
        (3, (B,), 0, ArgumentTypeError, "takes a function, got int"),
    ],
)
def test_errors(function, args, argnums, error, match):
    with pytest.raises(error, match=match):
        fnn.value_and_grad(function, argnums)(*args)


def test_arguments_by_name():
    function = fnn.value_and_grad(lambda x, w, *, k=2.0: k * ops.sum(x * w), argnums=1)
    value, gradient = function(w=3 * B, x=B)
    assert_close(value, 6 * (B**2).sum(), 1e-12)
    assert_close(gradient, 2 * B, 1e-12)
    with pytest.raises(ArgumentTypeError, match="got an unexpected keyword argument 'v'"):
        function(B, B, v=B)
    with pytest.raises(ArgumentTypeError, match="'k' can be given by name alone"):
        function(B, B, k=3.0)


def test_only_the_last_shapes_are_kept():
    seen = []
    function = fnn.value_and_grad(lambda w: seen.append(w.shape) or ops.sum(w * w))
    for size in [*range(1, 66), 65, 1]:
        assert_close(function(np.ones(size))[1], np.full(size, 2.0))
    assert [s[0] for s in seen] == [*range(1, 66), 1]


def test_the_length_of_nothing_has_no_slope():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    value, gradient = fnn.value_and_grad(lambda x: ops.sum(ops.norm(x, axis=-1)))(x)
    assert value == 5.0
    np.testing.assert_allclose(gradient, [[0.6, 0.8], [0, 0]], rtol=1e-15)
