"""Every op as mathematics: the rule for whole tensors, and the arithmetic of one element.

`FORMULAS` has a row for each op of the op table that can stand between a network's inputs and its gradients.
The functions take the place where an op is used, an object with

ins : list of operands: `whole()` is an operand's expression, `at(index)` that of its element, `shape` its shape,
    `batched` whether that begins with the batch, `flipped` whether its name stands for the transpose
attrs : dict of the node's attributes
shape : tuple, of the output
out(i) : operand that stands for the node's output i
made(index) : number of an element of the node's first output
training : bool

Indices and shapes have the batch, of one sample, in front where the tensor has it.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..backends import xp
from ..graph import permutation
from .expressions import (
    Call,
    Cases,
    Comparison,
    Drawn,
    Item,
    Leaf,
    MatrixProduct,
    Negative,
    Number,
    Power,
    Sum,
    Symbol,
    to_expr,
)


class Formula(NamedTuple):
    """`whole(site)` is the rule, `element(site, index)` the arithmetic; `name` is put before the rule.

    `simple` says that an element is made of few elements of the inputs.
    """

    whole: Callable
    element: Callable
    name: str = ""
    simple: bool = False


# ---- elementwise ----


def _exp(x):
    return Call("exp", x)


def _ln(x):
    return Call("ln", x)


def _mapped(function, name=""):
    """The row of an elementwise op: `function(*operands, **attrs)` of expressions."""

    def element(site, index):
        return to_expr(function(*(_repeated(x, index) for x in site.ins), **site.attrs))

    return Formula(lambda s: to_expr(function(*(x.whole() for x in s.ins), **s.attrs)), element, name, True)


def _repeated(x, index):
    """The element of an operand that NumPy's broadcasting puts at an index."""
    own = index[len(index) - len(x.shape) :]
    return x.at(tuple(i if d != 1 else 0 for i, d in zip(own, x.shape)))


def _positive(x):
    return Comparison(x, ">", 0)


def _at_least_0(x):
    return Comparison(x, "≥", 0)


def _step_grad(dy, x, straight_through, clip_value):
    if not straight_through:
        return dy * 0
    if not clip_value:
        return dy
    return dy * Cases((1, Comparison(Call("abs", x), "≤", clip_value)), otherwise=0)


def _gate(x):
    """(gate, derivative of its argument) of GELU's approximation."""
    c = 2 * math.sqrt(2 / math.pi)
    return Call("σ", c * (x + 0.044715 * x**3)), c * (1 + 3 * 0.044715 * x**2)


def _gelu(x, approximate):
    return x * (_gate(x)[0] if approximate else (1 + Call("erf", x / Call("sqrt", 2))) / 2)


def _gelu_grad(dy, x, approximate):
    if approximate:
        gate, slope = _gate(x)
        return dy * (gate + x * gate * (1 - gate) * slope)
    density = _exp(Negative(x**2) / 2) / Call("sqrt", 2 * Leaf(Symbol("π"), number=math.pi))
    return dy * ((1 + Call("erf", x / Call("sqrt", 2))) / 2 + x * density)


def _softplus(x):
    """ln(1 + e^x), where e^x is a number at all."""
    if isinstance(x, Leaf) and x.number is not None and x.number > 30:
        return x + _exp(-x)
    return _ln(1 + _exp(x))


def _mish_grad(dy, x):
    t = Call("tanh", _softplus(x))
    return dy * (t + x * (1 - t**2) * Call("σ", x))


def _silu_grad(dy, x):
    s = Call("σ", x)
    return dy * (s * (1 + x * (1 - s)))


def _clip(x, low, high):
    return Call("max", low, Call("min", high, x))


_ELEMENTWISE = {
    "step": _mapped(lambda x, straight_through, clip_value: Cases((1, _at_least_0(x)), otherwise=0), "step"),
    "step_grad": _mapped(_step_grad),
    "sigmoid": _mapped(lambda x: 1 / (1 + _exp(-x)), "σ"),
    "sigmoid_grad": _mapped(lambda dy, y: dy * (y * (1 - y))),
    "hard_sigmoid": _mapped(lambda x: _clip(x / 6 + 0.5, 0, 1), "hard_sigmoid"),
    "hard_sigmoid_grad": _mapped(
        lambda dy, y: (
            dy * Cases((0, Comparison(y, "≤", 0)), (0, Comparison(y, "≥", 1)), otherwise=Number(1) / 6)
        )
    ),
    "tanh": _mapped(lambda x: Call("tanh", x)),
    "tanh_grad": _mapped(lambda dy, y: dy * (1 - y**2)),
    "relu": _mapped(lambda x: Call("max", 0, x), "relu"),
    "relu_grad": _mapped(lambda dy, y: dy * Cases((1, _positive(y)), otherwise=0)),
    "leaky_relu": _mapped(
        lambda x, negative_slope: Cases((x, _at_least_0(x)), otherwise=negative_slope * x), "leaky_relu"
    ),
    "leaky_relu_grad": _mapped(
        lambda dy, x, negative_slope: dy * Cases((1, _at_least_0(x)), otherwise=negative_slope)
    ),
    "elu": _mapped(lambda x, alpha: Cases((x, _positive(x)), otherwise=alpha * (_exp(x) - 1)), "elu"),
    "elu_grad": _mapped(lambda dy, x, alpha: dy * Cases((1, _positive(x)), otherwise=alpha * _exp(x))),
    "selu": _mapped(
        lambda x: Cases(
            (xp.SELU_SCALE * x, _positive(x)), otherwise=xp.SELU_SCALE * xp.SELU_ALPHA * (_exp(x) - 1)
        ),
        "selu",
    ),
    "selu_grad": _mapped(
        lambda dy, y: dy * Cases((xp.SELU_SCALE, _positive(y)), otherwise=y + xp.SELU_SCALE * xp.SELU_ALPHA)
    ),
    "gelu": _mapped(_gelu, "gelu"),
    "gelu_grad": _mapped(_gelu_grad),
    "silu": _mapped(lambda x: x * Call("σ", x), "silu"),
    "silu_grad": _mapped(_silu_grad),
    "mish": _mapped(lambda x: x * Call("tanh", _softplus(x)), "mish"),
    "mish_grad": _mapped(_mish_grad),
    "softplus": _mapped(_softplus, "softplus"),
    "softplus_grad": _mapped(lambda dy, x: dy * Call("σ", x)),
    "softsign": _mapped(lambda x: x / (1 + Call("abs", x)), "softsign"),
    "softsign_grad": _mapped(lambda dy, y: dy * (1 - Call("abs", y)) ** 2),
    "bias_add": _mapped(lambda x, b: x + b),
    "add": _mapped(lambda a, b: a + b),
    "subtract": _mapped(lambda a, b: a - b),
    "multiply": _mapped(lambda a, b: a * b),
    "divide": _mapped(lambda a, b: a / b),
    "power": _mapped(lambda a, b: a**b),
    "maximum": _mapped(lambda a, b: Call("max", a, b)),
    "minimum": _mapped(lambda a, b: Call("min", a, b)),
    "less": _mapped(lambda a, b: Cases((1, Comparison(a, "<", b)), otherwise=0)),
    "less_equal": _mapped(lambda a, b: Cases((1, Comparison(a, "≤", b)), otherwise=0)),
    "equal": _mapped(lambda a, b: Cases((1, Comparison(a, "=", b)), otherwise=0)),
    "where": _mapped(lambda c, a, b: Cases((a, _holds(c)), otherwise=b)),
    "affine": _mapped(lambda x, scale, shift: _affine(x, scale, shift)),
    "abs": _mapped(lambda x: Call("abs", x)),
    "sign": _mapped(lambda x: Call("sign", x)),
    "square": _mapped(lambda x: x**2),
    "sqrt": _mapped(lambda x: Call("sqrt", x)),
    "rsqrt": _mapped(lambda x: 1 / Call("sqrt", x)),
    "exp": _mapped(_exp),
    "expm1": _mapped(lambda x: _exp(x) - 1),
    "log": _mapped(_ln),
    "log1p": _mapped(lambda x: _ln(1 + x)),
    "erf": _mapped(lambda x: Call("erf", x)),
    "sin": _mapped(lambda x: Call("sin", x)),
    "cos": _mapped(lambda x: Call("cos", x)),
    "floor": _mapped(lambda x: Call("floor", x)),
    "in_training": _mapped(lambda x, same: x),
    "to_real": _mapped(lambda x: x),
    "penalty_grad": _mapped(lambda g, w, l1, l2: _penalized(g, w, l1, l2)),
    "clip_value": _mapped(lambda g, clip: _clip(g, -clip, clip)),
    "clip_norm": _mapped(lambda g, s, clip: g * (clip / Call("max", Call("sqrt", s), clip))),
}


def _holds(c):
    """What makes a comparison 1, and any other number different from 0."""
    if isinstance(c, Cases) and len(c.pairs) == 1 and isinstance(c.pairs[0][1], Comparison):
        [(one, condition)], zero = c.pairs, c.otherwise
        if isinstance(one, Number) and isinstance(zero, Number) and (one.number, zero.number) == (1, 0):
            return condition
    return Comparison(c, "≠", 0)


def _affine(x, scale, shift):
    scaled = x if scale == 1 else -x if scale == -1 else scale * x
    if shift == 0:
        return scaled
    return shift - x if scale == -1 else scaled + shift if shift > 0 else scaled - -shift


def _penalized(g, w, l1, l2):
    terms = [g, *([l1 * Call("sign", w)] if l1 else []), *([2 * l2 * w] if l2 else [])]
    return Sum(terms)


# ---- products, sums over rows ----


def _before(shape):
    """The indices of all rows of a tensor."""
    return np.ndindex(*shape[:-1])


def _total(terms):
    terms = list(terms)
    return terms[0] if len(terms) == 1 else Sum(terms) if terms else Number(0)


def _matmul(site, index):
    x, w = site.ins
    return _total(w.at((k, index[-1])) * x.at((*index[:-1], k)) for k in range(x.shape[-1]))


def _matmul_nt(site, index):
    dy, w = site.ins
    return _total(w.at((index[-1], j)) * dy.at((*index[:-1], j)) for j in range(dy.shape[-1]))


def _matmul_tn(site, index):
    x, dy = site.ins
    k, j = index
    return _total(dy.at((*row, j)) * x.at((*row, k)) for row in _before(x.shape))


def _product_with(w, x, gradient):
    """w stands for the matrix A of z = A x where it is flipped, else for the kernel of z = x w."""
    matrix = w.whole()
    if getattr(getattr(matrix, "symbol", None), "flipped", False):
        return MatrixProduct(matrix, x.whole(), "left" if gradient else "")
    return MatrixProduct(x.whole(), matrix, "right" if gradient else "")


def _by_kernel(site):
    x, dy = (i.whole() for i in site.ins)
    if site.out(0).flipped:
        return MatrixProduct(dy, x, "right")
    return MatrixProduct(x, dy, "left")


def _rows(shape):
    return math.prod(shape[:-1])


def _over_rows(whole_name, divided):
    """sum or mean over all rows: (..., n) -> (n)."""

    def whole(site):
        x, rows = site.ins[0].whole(), _rows(site.ins[0].shape)
        return x if rows == 1 else Call(f"{whole_name} over positions", x)

    def element(site, index):
        x = site.ins[0]
        made = _total(x.at((*row, *index)) for row in _before(x.shape))
        rows = _rows(x.shape)
        return made / rows if divided and rows > 1 else made

    return Formula(whole, element)


def _moments_gradient(operands, rows):
    dm, dv, x, mean = operands
    made = dm + 2 * dv * (x - mean)
    return made / rows if rows > 1 else made


def _element_moments_gradient(site, index):
    dm, dv, x, mean = (_repeated(i, index) for i in site.ins)
    return _moments_gradient((dm, dv, x, mean), _rows(site.shape))


def _variance(site, index):
    x, mean = site.ins[0], site.out(0).at(index)
    made = _total((x.at((*row, *index)) - mean) ** 2 for row in _before(x.shape))
    return made / _rows(x.shape) if _rows(x.shape) > 1 else made


def _spread_over_rows(site, index):
    rows = _rows(site.shape)
    d = site.ins[0].at(index[-1:])
    return d / rows if rows > 1 else d


_PRODUCTS = {
    "matmul": Formula(lambda s: _product_with(s.ins[1], s.ins[0], False), _matmul),
    "matmul_nt": Formula(lambda s: _product_with(s.ins[1], s.ins[0], True), _matmul_nt),
    "matmul_tn": Formula(_by_kernel, _matmul_tn),
    "sum_rows": _over_rows("sum", False),
    "mean_rows": _over_rows("mean", True),
    "mean_rows_grad": Formula(lambda s: s.ins[0].whole() / _rows(s.shape), _spread_over_rows),
    "batch_moments": (
        (0, _over_rows("mean", True)),
        (
            1,
            Formula(
                lambda s: (
                    Call("mean over positions", (s.ins[0].whole() - s.out(0).whole()) ** 2)
                    if _rows(s.ins[0].shape) > 1
                    else (s.ins[0].whole() - s.out(0).whole()) ** 2
                ),
                _variance,
            ),
        ),
    ),
    "batch_moments_grad": Formula(
        lambda s: _moments_gradient([i.whole() for i in s.ins], _rows(s.shape)), _element_moments_gradient
    ),
}


# ---- over the last dimension ----


def _row(x, index):
    """The elements of an operand along the last dimension at an index of the leading ones."""
    return [x.at((*index, k)) for k in range(x.shape[-1])]


def _exponents(row):
    """The logarithms that a softmax may take the exponential of: moved by the largest where e^x is no number."""
    numbers = [x.number for x in row]
    return [x - max(numbers) for x in row] if max(map(abs, numbers)) > 500 else row


def _softmax(site, index):
    row = _exponents(_row(site.ins[0], index[:-1]))
    return _exp(row[index[-1]]) / _total(map(_exp, row))


def _log_softmax(site, index):
    row = _exponents(_row(site.ins[0], index[:-1]))
    return row[index[-1]] - _ln(_total(map(_exp, row)))


def _whole_softmax(site):
    x = site.ins[0].whole()
    return _exp(x) / Call("sum", _exp(x))


def _softmax_grad(site, index):
    dys, ys = (_row(i, index[:-1]) for i in site.ins)
    return ys[index[-1]] * (dys[index[-1]] - _total(d * y for d, y in zip(dys, ys)))


def _log_softmax_grad(site, index):
    dys, y = _row(site.ins[0], index[:-1]), site.ins[1].at(index)
    return dys[index[-1]] - _exp(y) * _total(dys)


def _layer_norm(site, index):
    row = _row(site.ins[0], index[:-1])
    return (row[index[-1]] - _total(row) / len(row)) * site.out(1).at((*index[:-1], 0))


def _inverse_deviation(site, index):
    row = _row(site.ins[0], index[:-1])
    mean = Leaf(Symbol("mean"), None, (_total(row) / len(row)).compute())
    variance = _total((x - mean) ** 2 for x in row) / len(row)
    return 1 / Call("sqrt", variance + site.attrs["epsilon"])


def _layer_norm_grad(site, index):
    dys, ys = (_row(i, index[:-1]) for i in site.ins[:2])
    here, n = index[-1], len(ys)
    scale = site.ins[2].at((*index[:-1], 0))
    return scale * (dys[here] - _total(dys) / n - ys[here] * (_total(d * y for d, y in zip(dys, ys)) / n))


def _whole_layer_norm_grad(site):
    dy, y, s = (i.whole() for i in site.ins)
    return s * (dy - Call("mean", dy) - y * Call("mean", dy * y))


_OVER_FEATURES = {
    "softmax": Formula(_whole_softmax, _softmax, "softmax"),
    "softmax_grad": Formula(
        lambda s: s.ins[1].whole() * (s.ins[0].whole() - Call("sum", s.ins[0].whole() * s.ins[1].whole())),
        _softmax_grad,
    ),
    "log_softmax": Formula(
        lambda s: s.ins[0].whole() - _ln(Call("sum", _exp(s.ins[0].whole()))), _log_softmax, "log_softmax"
    ),
    "log_softmax_grad": Formula(
        lambda s: s.ins[0].whole() - _exp(s.ins[1].whole()) * Call("sum", s.ins[0].whole()), _log_softmax_grad
    ),
    "layer_norm": (
        (
            1,
            Formula(
                lambda s: 1 / Call("sqrt", Call("variance", s.ins[0].whole()) + s.attrs["epsilon"]),
                _inverse_deviation,
            ),
        ),
        (
            0,
            Formula(
                lambda s: (s.ins[0].whole() - Call("mean", s.ins[0].whole())) * s.out(1).whole(), _layer_norm
            ),
        ),
    ),
    "layer_norm_grad": Formula(_whole_layer_norm_grad, _layer_norm_grad),
}


# ---- reductions, shapes, tables ----


def _among(x, index):
    """The elements of an operand that were reduced to an element at `index`, where sizes became 1."""
    ranges = ([i] if s != 1 else range(d) for i, d, s in zip(index, x.shape, x.reduced))
    return (x.at(at) for at in itertools.product(*ranges))


class _Reduced:
    """An operand with the shape that it is reduced to."""

    def __init__(self, x, shape):
        self.at, self.shape, self.reduced = x.at, x.shape, shape


def _reduction(whole_name, combine):
    return Formula(
        lambda s: Call(whole_name, s.ins[0].whole()),
        lambda s, index: combine(list(_among(_Reduced(s.ins[0], s.shape), index))),
    )


def _moved(whole_name, source):
    """An op that only moves elements: `source(site, index)` is (operand, index) or None for a zero."""

    def element(site, index):
        found = source(site, index)
        return Number(0) if found is None else site.ins[found[0]].at(found[1])

    def whole(site):
        args = [i.whole() for i in site.ins]
        return args[0] if isinstance(args[0], Number) else Call(whole_name, *args)

    return Formula(whole, element, simple=True)


def _whole_slice(site):
    """x[start:stop] along the axis that is cut; the batch is not counted."""
    axis, start = int(site.attrs["axis"]), int(site.attrs["start"])
    part = f"{':,' * (axis - site.ins[0].batched)}{start}:{start + site.shape[axis]}"
    return Item(site.ins[0].whole(), Leaf(Symbol(part)))


def _concat(site, index):
    axis, start = int(site.attrs["axis"]), 0
    for number, x in enumerate(site.ins):
        if index[axis] < start + x.shape[axis]:
            return number, (*index[:axis], index[axis] - start, *index[axis + 1 :])
        start += x.shape[axis]


def _shifted(site, index, sign):
    axis, start = int(site.attrs["axis"]), int(site.attrs["start"])
    at = index[axis] + sign * start
    if 0 <= at < site.ins[0].shape[axis]:
        return 0, (*index[:axis], at, *index[axis + 1 :])
    return None


def _reshape(site, index):
    flat = np.ravel_multi_index(index, site.shape) if index else 0
    return 0, tuple(map(int, np.unravel_index(flat, site.ins[0].shape)))


def _transpose(site, index):
    perm = permutation(site.attrs["perm"], len(index))
    at = [0] * len(index)
    for i, p in zip(index, perm):
        at[p] = i
    return 0, tuple(at)


def _embedding(site, index):
    row = int(site.ins[1].at(index[:-1]).number)
    return site.ins[0].at((row, index[-1]))


def _embedding_grad(site, index):
    dy, where = site.ins
    rows = [at for at in np.ndindex(*where.shape) if int(where.at(at).number) == index[0]]
    return _total(dy.at((*at, index[1])) for at in rows)


def _one_hot(site, index):
    return Cases((1, Comparison(site.ins[0].at(index[:-1]), "=", index[-1])), otherwise=0)


_SHAPES = {
    "sum_to": _reduction("sum", _total),
    "max_to": _reduction(
        "max", lambda elements: elements[0] if len(elements) == 1 else Call("max", *elements)
    ),
    "argmax": _reduction("argmax", lambda elements: Call("argmax", *elements)),
    "broadcast": Formula(
        lambda s: s.ins[0].whole(), lambda s, index: _repeated(s.ins[0], index), simple=True
    ),
    "concat": _moved("concatenate", _concat),
    "slice": _moved("part", lambda s, index: _shifted(s, index, 1))._replace(whole=_whole_slice),
    "pad": _moved("padded", lambda s, index: _shifted(s, index, -1)),
    "reshape": _moved("reshape", _reshape),
    "transpose": _moved("transpose", _transpose),
    "full": Formula(
        lambda s: Number(s.attrs["value"]), lambda s, index: Number(s.attrs["value"]), simple=True
    ),
    "embedding": Formula(lambda s: Item(s.ins[0].whole(), s.ins[1].whole()), _embedding, simple=True),
    "embedding_grad": Formula(
        lambda s: Call("sum by row", s.ins[0].whole(), s.ins[1].whole()), _embedding_grad
    ),
    "one_hot": Formula(lambda s: Call("one-hot", s.ins[0].whole()), _one_hot, simple=True),
}


# ---- draws, pictures ----


def _dropout(site, index):
    x = site.ins[0].at(index)
    if not site.training:
        return x
    return x / (1 - site.attrs["rate"]) if site.made(index) else x * 0


def _whole_dropout(site):
    x = site.ins[0].whole()
    return Call("dropped", x / (1 - site.attrs["rate"])) if site.training else x


def _draw(name, *attrs):
    def args(site):
        return [site.attrs[a] for a in attrs]

    return Formula(
        lambda s: Drawn(name, args(s)), lambda s, index: Drawn(name, args(s), s.made(index)), simple=True
    )


def _taps(site):
    moves = np.array([[site.ins[1].at((0, k)).number for k in range(6)]])
    return xp._taps(np.empty(site.shape), moves, site.attrs["fill_mode"], site.attrs["nearest"])


def _warp(site, index):
    _, r, c, channel = index
    terms = []
    for row, col, weight in _taps(site):
        at, share = (int(row[0, r, c]), int(col[0, r, c])), float(weight[0, r, c])
        if share:
            inside = min(at) >= 0
            pixel = site.ins[0].at((0, *at, channel)) if inside else Number(site.attrs["fill_value"])
            terms.append(pixel if share == 1 else share * pixel)
    return _total(terms)


def _warp_grad(site, index):
    _, r, c, channel = index
    terms = []
    for row, col, weight in _taps(site):
        for at in np.argwhere((row == r) & (col == c) & (weight != 0)):
            share = float(weight[tuple(at)])
            pixel = site.ins[0].at((*map(int, at), channel))
            terms.append(pixel if share == 1 else share * pixel)
    return _total(terms)


_DRAWS = {
    "dropout": Formula(_whole_dropout, _dropout, simple=True),
    "random_uniform": _draw("uniform", "low", "high"),
    "random_normal": _draw("normal", "mean", "stddev"),
    "warp": Formula(lambda s: Call("warp", *(i.whole() for i in s.ins)), _warp),
    "warp_grad": Formula(lambda s: Call("warp back", *(i.whole() for i in s.ins)), _warp_grad),
    # One sample has only itself for a partner, so its share is 1.
    **dict.fromkeys(("mix", "mix_grad"), _mapped(lambda x, **draw: x)),
}


# ---- losses: one value a row ----


def _mean_of(function):
    """A loss that is the mean of `function(p, t, **attrs)` over the features."""

    def whole(site):
        p, t = (i.whole() for i in site.ins)
        made = function(p, t, **site.attrs)
        return Call("mean", made) if p.is_tensor else made

    def element(site, index):
        pairs = list(zip(*(_row(i, index) for i in site.ins)))
        made = _total(function(p, t, **site.attrs) for p, t in pairs)
        return made / len(pairs) if len(pairs) > 1 else made

    return Formula(whole, element)


def _slope_of(function):
    """The gradient of such a loss: seed times `function(p, t, **attrs)` over the number of features."""

    def made(seed, p, t, features, attrs):
        slope = to_expr(function(p, t, **attrs))
        return seed * (slope / features if features > 1 else slope)

    def element(site, index):
        seed, p, t = site.ins
        return made(seed.at(index[:-1]), p.at(index), t.at(index), p.shape[-1], site.attrs)

    return Formula(lambda s: made(*(i.whole() for i in s.ins), s.ins[1].shape[-1], s.attrs), element)


def _huber(p, t, delta):
    e = Call("abs", p - t)
    return Cases(((p - t) ** 2 / 2, Comparison(e, "≤", delta)), otherwise=delta * e - delta**2 / 2)


def _kept(p):
    """A probability within [CLIP, 1 - CLIP]."""
    if isinstance(p, Leaf) and p.number is None:
        return p
    number = p.compute()
    return p if xp.CLIP <= number <= 1 - xp.CLIP else Number(min(max(number, xp.CLIP), 1 - xp.CLIP))


def _inside(p):
    return xp.CLIP <= p.compute() <= 1 - xp.CLIP


def _bce(p, t):
    q = _kept(p)
    return Negative(t * _ln(q) + (1 - t) * _ln(1 - q))


def _bce_slope(p, t):
    if isinstance(p, Leaf) and p.number is not None and not _inside(p):
        return Number(0)
    return (p - t) / (p * (1 - p))


_SATURATED = 1e-5  # nearer than this to 0 or 1, a probability says less than the value that it was made of


def _bce_logits(site, index):
    terms = []
    for x, t, p in zip(*(_row(i, index) for i in (*site.ins, site.out(1)))):
        if _SATURATED < p.number < 1 - _SATURATED:
            terms.append(_bce(p, t))
        else:
            terms.append(_softplus(x) - t * x)
    made = _total(terms)
    return made / len(terms) if len(terms) > 1 else made


def _whole_bce_logits(site):
    p, t = site.out(1).whole(), site.ins[1].whole()
    return Call("mean", _bce(p, t)) if p.is_tensor else _bce(p, t)


def _label(site, index):
    return int(site.ins[-1].at(index).number)


def _log_of(site, index, k):
    """ln p[k] of a softmax, from the values before it where p is too small to tell."""
    p = site.out(1).at((*index, k))
    if p.number > _SATURATED:
        return _ln(p)
    row = _exponents(_row(site.ins[0], index))
    return row[k] - _ln(_total(map(_exp, row)))


def _cce_logits(site, index):
    t = _row(site.ins[1], index)
    return Negative(_total(t[k] * _log_of(site, index, k) for k in range(len(t))))


def _cce_logits_grad(site, index):
    seed, p, t = site.ins
    total = _total(_row(t, index[:-1]))
    one = math.isclose(total.compute(), 1, rel_tol=1e-14)
    return seed.at(index[:-1]) * ((p.at(index) if one else p.at(index) * total) - t.at(index))


def _scce_logits_grad(site, index):
    seed, p = site.ins[0].at(index[:-1]), site.ins[1].at(index)
    return seed * (p - 1 if _label(site, index[:-1]) == index[-1] else p)


def _shares(p, index):
    """The predictions at an index divided by their sum, which is left out where it is 1, and the sum."""
    row = _row(p, index)
    total = _total(row)
    return [x / total for x in row], total


def _cce(site, index):
    shares, _ = _shares(site.ins[0], index)
    t = _row(site.ins[1], index)
    return Negative(_total(t * _ln(_kept(q)) for t, q in zip(t, shares)))


def _scce(site, index):
    shares, _ = _shares(site.ins[0], index)
    return Negative(_ln(_kept(shares[_label(site, index)])))


def _share_gradient(seed, shares, total, ts, here):
    """The gradient of -sum(t ln(p / sum p)) by one p; what is clipped has none."""
    counted = [(t, q) for t, q in zip(ts, shares) if _inside(q)]
    back = _total(t / q * q for t, q in counted)
    own = back - ts[here] / shares[here] if _inside(shares[here]) else back
    return seed * (own / total)


def _cce_grad(site, index):
    seed, p, t = site.ins
    shares, total = _shares(p, index[:-1])
    return _share_gradient(seed.at(index[:-1]), shares, total, _row(t, index[:-1]), index[-1])


def _scce_grad(site, index):
    seed, p, _ = site.ins
    shares, total = _shares(p, index[:-1])
    label = _label(site, index[:-1])
    ts = [Number(k == label) for k in range(len(shares))]
    return _share_gradient(seed.at(index[:-1]), shares, total, ts, index[-1])


def _whole_share(p):
    return p / Call("sum", p)


def _whole_cce_grad(site):
    seed, p, t = (i.whole() for i in site.ins)
    return seed * ((Call("sum", t) - t / _whole_share(p)) / Call("sum", p))


def _whole_scce_grad(site):
    seed, p, t = (i.whole() for i in site.ins)
    return seed * ((1 - Call("one-hot", t) / _whole_share(p)) / Call("sum", p))


def _seed(site):
    rows = math.prod(site.shape)
    factor = Number(site.attrs["loss_weight"])
    return factor / rows if rows > 1 else factor


def _probability(name):
    """The second output of a loss that is computed from the values before the activation."""
    formula = {"σ": _ELEMENTWISE["sigmoid"], "softmax": _OVER_FEATURES["softmax"]}[name]
    first = lambda site: _First(site)  # noqa: E731
    return Formula(lambda s: formula.whole(first(s)), lambda s, index: formula.element(first(s), index), name)


class _First:
    """A call site with the first of its inputs alone."""

    attrs: dict = {}

    def __init__(self, site):
        self.ins, self.shape = site.ins[:1], site.ins[0].shape


_LOSSES = {
    "squared_error": _mean_of(lambda p, t: (p - t) ** 2),
    "squared_error_grad": _slope_of(lambda p, t: 2 * (p - t)),
    "absolute_error": _mean_of(lambda p, t: Call("abs", p - t)),
    "absolute_error_grad": _slope_of(lambda p, t: Call("sign", p - t)),
    "huber": _mean_of(_huber),
    "huber_grad": _slope_of(lambda p, t, delta: _clip(p - t, -delta, delta)),
    "bce": _mean_of(_bce),
    "bce_grad": _slope_of(_bce_slope),
    "bce_logits": ((1, _probability("σ")), (0, Formula(_whole_bce_logits, _bce_logits))),
    "bce_logits_grad": _slope_of(lambda p, t: p - t),
    "cce": Formula(
        lambda s: Negative(Call("sum", s.ins[1].whole() * _ln(_whole_share(s.ins[0].whole())))), _cce
    ),
    "cce_grad": Formula(_whole_cce_grad, _cce_grad),
    "cce_logits": (
        (1, _probability("softmax")),
        (0, Formula(lambda s: Negative(Call("sum", s.ins[1].whole() * _ln(s.out(1).whole()))), _cce_logits)),
    ),
    "cce_logits_grad": Formula(
        lambda s: s.ins[0].whole() * (s.ins[1].whole() - s.ins[2].whole()), _cce_logits_grad
    ),
    "scce": Formula(lambda s: Negative(_ln(Item(_whole_share(s.ins[0].whole()), s.ins[1].whole()))), _scce),
    "scce_grad": Formula(_whole_scce_grad, _scce_grad),
    "scce_logits": (
        (1, _probability("softmax")),
        (
            0,
            Formula(
                lambda s: Negative(_ln(Item(s.out(1).whole(), s.ins[1].whole()))),
                lambda s, index: Negative(_log_of(s, index, _label(s, index))),
            ),
        ),
    ),
    "scce_logits_grad": Formula(
        lambda s: s.ins[0].whole() * (s.ins[1].whole() - Call("one-hot", s.ins[2].whole())), _scce_logits_grad
    ),
    "loss_seed": Formula(_seed, lambda s, index: _seed(s)),
}


# ---- parameters ----


def _penalty(site, sum_of):
    l1, l2 = site.attrs["l1"], site.attrs["l2"]
    parts = [l1 * sum_of(lambda w: Call("abs", w))] if l1 else []
    parts += [l2 * sum_of(lambda w: Power(w, Number(2)))] if l2 else []
    return _total(parts)


def _all(x):
    return [x.at(at) for at in np.ndindex(*x.shape)]


_PARAMETERS = {
    "penalty": Formula(
        lambda s: _penalty(s, lambda f: Call("sum", f(s.ins[0].whole()))),
        lambda s, index: _penalty(s, lambda f: _total(map(f, _all(s.ins[0])))),
    ),
    "sum_squares": Formula(
        lambda s: Call("sum", s.ins[0].whole() ** 2),
        lambda s, index: _total(g**2 for g in _all(s.ins[0])),
    ),
}

FORMULAS = {
    **_ELEMENTWISE, **_PRODUCTS, **_OVER_FEATURES, **_SHAPES, **_DRAWS, **_LOSSES, **_PARAMETERS,
}  # fmt: skip


def formulas_of(op):
    """Pairs of output number and Formula of an op, in the order in which they are read."""
    row = FORMULAS[op]
    return ((0, row),) if isinstance(row, Formula) else row
