"""Every op as a plain array function, and an interpreter of Programs made of them: the oracle of the engine.

The functions take NumPy arrays, or arrays of any library with NumPy's functions behind `__array_namespace__`,
and are written for clarity: one formula, whole arrays, the type of the inputs. Each is named like its op and
takes the op's inputs, then its attributes; where the inputs do not tell the output's shape, `shape` comes last.
"rows" are all leading dimensions together.
"""

import math

import numpy as np

from .. import _core
from ..errors import ArgumentError
from ..graph import GIVEN, permutation

CLIP = (
    1e-7  # Keras 3's epsilon: probabilities are kept within [CLIP, 1 - CLIP] before their logarithm is taken
)
SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al., arXiv:1706.02515
SELU_SCALE = 1.0507009873554804934193349852946


def _xp(x):
    return x.__array_namespace__() if hasattr(x, "__array_namespace__") else np


# ---- activations ----


def step(x, straight_through, clip_value):
    return (x >= 0).astype(x.dtype)


def step_grad(dy, x, straight_through, clip_value):
    reach = (clip_value or math.inf) if straight_through else -1
    return _xp(dy).where(abs(x) <= reach, dy, 0)


def sigmoid(x):
    xp = _xp(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_grad(dy, y):
    return dy * y * (1 - y)


def hard_sigmoid(x):
    return _xp(x).clip(x / 6 + 0.5, 0, 1)


def hard_sigmoid_grad(dy, y):
    return _xp(dy).where((y > 0) & (y < 1), dy / 6, 0)


def tanh(x):
    return _xp(x).tanh(x)


def tanh_grad(dy, y):
    return dy * (1 - y * y)


def relu(x):
    return _xp(x).maximum(x, 0)


def relu_grad(dy, y):
    return _xp(dy).where(y > 0, dy, 0)


def leaky_relu(x, negative_slope):
    return _xp(x).where(x >= 0, x, negative_slope * x)


def leaky_relu_grad(dy, x, negative_slope):
    return _xp(dy).where(x >= 0, dy, negative_slope * dy)


def elu(x, alpha):
    xp = _xp(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


def elu_grad(dy, x, alpha):
    xp = _xp(dy)
    return xp.where(x > 0, dy, dy * alpha * xp.exp(xp.minimum(x, 0)))


def selu(x):
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_grad(dy, y):
    return _xp(dy).where(y > 0, SELU_SCALE * dy, dy * (y + SELU_SCALE * SELU_ALPHA))


_erfc = np.vectorize(math.erfc, otypes=[np.float64])  # 1 + erf(z) = erfc(-z), without the cancellation


def _gelu_gate(x):
    """(1 + tanh(u)) / 2 of the approximation, as sigmoid(2 u), and the derivative of 2 u."""
    c = 2 * math.sqrt(2 / math.pi)
    return sigmoid(c * (x + 0.044715 * x**3)), c * (1 + 3 * 0.044715 * x**2)


def gelu(x, approximate):
    if approximate:
        return x * _gelu_gate(x)[0]
    return (0.5 * x * _erfc(-x / math.sqrt(2))).astype(x.dtype)


def gelu_grad(dy, x, approximate):
    if approximate:
        gate, slope = _gelu_gate(x)
        return dy * (gate + x * gate * (1 - gate) * slope)
    density = _xp(x).exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return (dy * (0.5 * _erfc(-x / math.sqrt(2)) + x * density)).astype(x.dtype)


def silu(x):
    return x * sigmoid(x)


def silu_grad(dy, x):
    s = sigmoid(x)
    return dy * s * (1 + x * (1 - s))


def softplus(x):
    xp = _xp(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def softplus_grad(dy, x):
    return dy * sigmoid(x)


def mish(x):
    return x * _xp(x).tanh(softplus(x))


def mish_grad(dy, x):
    t = _xp(x).tanh(softplus(x))
    return dy * (t + x * (1 - t * t) * sigmoid(x))


def softsign(x):
    return x / (1 + _xp(x).abs(x))


def softsign_grad(dy, y):
    return dy * (1 - _xp(y).abs(y)) ** 2


def softmax(x):
    xp = _xp(x)
    e = xp.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_grad(dy, y):
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def log_softmax(x):
    xp = _xp(x)
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def log_softmax_grad(dy, y):
    return dy - _xp(y).exp(y) * dy.sum(axis=-1, keepdims=True)


# ---- products, sums over rows ----


def matmul(x, w):
    return x @ w


def matmul_csr(x, w):
    """x: `sparse.Rows`."""
    return matmul(x.dense(w.dtype), w)


def matmul_csr_tn(x, dy):
    return matmul_tn(x.dense(dy.dtype), dy)


def matmul_int8(x, w, scale):
    """x (w scale) with the rows of x rounded to integers of 14 bits and a sign.

    q = round(x 2^(14 - e)) with 2^(e - 1) <= max |x| < 2^e of the row, e >= -112. Sums over 1024 of k are
    exact; they are added in the type of x, in ascending order, and multiplied by (2^(e - 14) scale).
    """
    xp = _xp(x)
    largest = xp.abs(x).max(axis=-1, keepdims=True)
    step = xp.ldexp(xp.ones_like(largest), xp.maximum(xp.frexp(largest)[1], -112) - 14)
    finite = xp.isfinite(largest)
    q = xp.where(finite, xp.rint(x / step), 0).astype(np.float64)
    total = xp.zeros((*x.shape[:-1], w.shape[1]), x.dtype)
    for k in range(0, len(w), 1024):
        total = total + (q[..., k : k + 1024] @ w[k : k + 1024]).astype(x.dtype)
    return xp.where(finite, total * (step * scale), math.nan).astype(x.dtype)


def round_bfloat16(x):
    """x rounded to the nearest bfloat16, ties to even, in its own type."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    up = (bits + (0x7FFF + (bits >> 16 & 1))) & 0xFFFF0000
    return np.where(np.isnan(x), np.float32(math.nan), up.view(np.float32)).astype(np.asarray(x).dtype)


def matmul_nt(dy, w):
    return dy @ w.T


def matmul_tn(x, dy):
    return x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])


def bias_add(x, b):
    return x + b


def sum_rows(x):
    return x.reshape(-1, x.shape[-1]).sum(axis=0)


def mean_rows(x):
    return x.reshape(-1, x.shape[-1]).mean(axis=0)


def mean_rows_grad(d, shape):
    return _xp(d).broadcast_to(d / math.prod(shape[:-1]), shape)


# ---- elementwise ----


def add(a, b):
    return a + b


def subtract(a, b):
    return a - b


def multiply(a, b):
    return a * b


def divide(a, b):
    return a / b


def power(a, b):
    return a**b


def maximum(a, b):
    return _xp(a).maximum(a, b)


def minimum(a, b):
    return _xp(a).minimum(a, b)


def less(a, b):
    return (a < b).astype(a.dtype)


def less_equal(a, b):
    return (a <= b).astype(a.dtype)


def equal(a, b):
    return (a == b).astype(a.dtype)


def where(condition, a, b):
    return _xp(a).where(condition != 0, a, b)


def affine(x, scale, shift):
    return scale * x + shift


def abs(x):
    return _xp(x).abs(x)


def sign(x):
    return _xp(x).sign(x)


def square(x):
    return x * x


def sqrt(x):
    return _xp(x).sqrt(x)


def rsqrt(x):
    return 1 / _xp(x).sqrt(x)


def exp(x):
    return _xp(x).exp(x)


def expm1(x):
    return _xp(x).expm1(x)


def log(x):
    return _xp(x).log(x)


def log1p(x):
    return _xp(x).log1p(x)


_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x):
    return _erf(x).astype(x.dtype)


def sin(x):
    return _xp(x).sin(x)


def cos(x):
    return _xp(x).cos(x)


def floor(x):
    return _xp(x).floor(x)


# ---- reductions, shapes ----


def _reduced(x, shape):
    """The axes along which `shape`, of x's rank, has 1 in place of more."""
    return tuple(i for i, (d, s) in enumerate(zip(x.shape, shape)) if s != d)


def sum_to(x, shape):
    return x.sum(axis=_reduced(x, shape), keepdims=True)


def max_to(x, shape):
    return x.max(axis=_reduced(x, shape), keepdims=True)


def argmax(x, shape):
    return x.argmax(axis=-1).reshape(shape).astype(x.dtype)


def broadcast(x, shape):
    return _xp(x).broadcast_to(x, shape)


def concat(*xs, axis):
    return _xp(xs[0]).concatenate(xs, axis=int(axis))


def _part(axis, start, size):
    """The index that takes `size` elements from `start` on along an axis."""
    return (np.s_[:],) * int(axis) + (np.s_[int(start) : int(start) + size],)


def slice(x, axis, start, shape):
    return x[_part(axis, start, shape[int(axis)])]


def pad(x, axis, start, shape):
    whole = _xp(x).zeros(shape, x.dtype)
    whole[_part(axis, start, x.shape[int(axis)])] = x
    return whole


def reshape(x, shape):
    return x.reshape(shape)


def transpose(x, perm):
    return x.transpose(permutation(perm, x.ndim))


def full(value, shape):
    return np.full(shape, value)


def one_hot(index, shape):
    return (index[..., None] == _xp(index).arange(shape[-1])).astype(np.float64)


def to_real(x):
    return x.astype(np.float64)


def in_training(trained, otherwise, training):
    return trained if training else otherwise


# ---- dropout, draws ----


def philox(counter, key):
    """Philox 4x32-10 (Salmon et al., SC 2011): four words of 32 bits for each counter.

    Parameters
    ----------
    counter : sequence of four uint64 arrays of one shape, values below 2**32
    key : tuple of two int, values below 2**32

    Returns
    -------
    list of four uint64 arrays
    """
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def _draws(block, samples, key, seed, epoch):
    """Words of the counters (block, sample, epoch, key): uint64 of shape (len(samples), len(block), 4)."""
    s = np.asarray(samples, np.uint64)[:, None]
    block = np.asarray(block, np.uint64)[None, :]
    shape = np.broadcast_shapes(s.shape, block.shape)
    counter = (
        block,
        s & np.uint64(0xFFFFFFFF),
        np.full(shape, epoch & 0xFFFFFFFF, np.uint64),
        np.uint64(int(key)) | ((s >> np.uint64(32)) << np.uint64(16)) & np.uint64(0xFFFFFFFF),
    )
    words = philox([np.broadcast_to(c, shape) for c in counter], (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
    return np.stack(words, axis=-1)


def _element_draws(shape, key, seed, epoch, samples):
    """One word for each element of a batch of that shape, uint64."""
    samples = np.arange(shape[0]) if samples is None else samples
    elements = math.prod(shape[1:])
    words = _draws(np.arange((elements + 3) // 4), samples, key, seed, epoch)
    return words.reshape(len(samples), -1)[:, :elements].reshape(shape)


def dropout_mask(samples, elements, rate, key, seed, epoch):
    """Return which elements are kept, bool of shape (len(samples), elements); `samples` are global."""
    words = _element_draws((len(samples), elements), key, seed, epoch, samples)
    return (words >> np.uint64(8)) * 2.0**-24 >= rate


def dropout(x, rate, key, seed=0, epoch=0, samples=None):
    samples = np.arange(len(x)) if samples is None else samples
    kept = dropout_mask(samples, math.prod(x.shape[1:]), rate, key, seed, epoch)
    return _xp(x).where(_xp(x).asarray(kept).reshape(x.shape), x / (1 - rate), 0)


def random_uniform(low, high, key, shape, seed=0, epoch=0, samples=None):
    return low + (high - low) * (_element_draws(shape, key, seed, epoch, samples) * 2.0**-32)


def random_normal(mean, stddev, key, shape, seed=0, epoch=0, samples=None):
    from statistics import NormalDist  # costly to import

    p = (_element_draws(shape, key, seed, epoch, samples) + 0.5) * 2.0**-32
    return mean + stddev * np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])(p)


# ---- normalisation ----


def layer_norm(x, epsilon):
    d = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / _xp(x).sqrt((d * d).mean(axis=-1, keepdims=True) + epsilon)
    return d * scale, scale


def layer_norm_grad(dy, y, scale):
    return scale * (dy - dy.mean(axis=-1, keepdims=True) - y * (dy * y).mean(axis=-1, keepdims=True))


def batch_moments(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows.mean(axis=0), rows.var(axis=0)


def batch_moments_grad(d_mean, d_variance, x, mean):
    return (d_mean + 2 * d_variance * (x - mean)) / math.prod(x.shape[:-1])


# ---- tables ----


def embedding(table, index):
    return table[index]


def embedding_grad(dy, index, shape):
    one_hot = index.reshape(-1, 1) == _xp(dy).arange(shape[0])
    return one_hot.T.astype(dy.dtype) @ dy.reshape(-1, shape[1])


# ---- pictures, mixed samples ----


def _filled(i, size, fill_mode):
    """The index that i stands for, -1 for the constant."""
    inside = (i >= 0) & (i < size)
    reflected = np.where(i % (2 * size) < size, i % (2 * size), 2 * size - 1 - i % (2 * size))
    return (np.where(inside, i, -1), np.clip(i, 0, size - 1), reflected, i % size)[int(fill_mode)]


def _taps(x, m, fill_mode, nearest):
    """The pixels that each output pixel is made of: (rows, columns, weights), index -1 for the constant."""
    _, h, w, _ = x.shape
    row, col = np.arange(h)[:, None], np.arange(w)[None, :]
    m = m[:, :, None, None]
    at = (m[:, 0] * row + m[:, 1] * col + m[:, 2], m[:, 3] * row + m[:, 4] * col + m[:, 5])
    if nearest:
        r, c = (np.rint(v).astype(np.int64) for v in at)
        return [(_filled(r, h, fill_mode), _filled(c, w, fill_mode), np.ones(r.shape))]
    low = [np.floor(v).astype(np.int64) for v in at]
    part = [v - f for v, f in zip(at, low)]
    return [
        (
            _filled(low[0] + i, h, fill_mode),
            _filled(low[1] + j, w, fill_mode),
            (part[0] if i else 1 - part[0]) * (part[1] if j else 1 - part[1]),
        )
        for i in (0, 1)
        for j in (0, 1)
    ]


def warp(x, m, fill_mode, fill_value, nearest):
    sample = np.arange(len(x))[:, None, None]
    out = np.zeros_like(x)
    for row, col, weight in _taps(x, m, fill_mode, nearest):
        value = np.where(((row < 0) | (col < 0))[..., None], fill_value, x[sample, row, col])
        out += weight[..., None] * value
    return out


def warp_grad(dy, m, fill_mode, fill_value, nearest):
    sample = np.arange(len(dy))[:, None, None]
    dx = np.zeros_like(dy)
    for row, col, weight in _taps(dy, m, fill_mode, nearest):
        weight = np.where((row < 0) | (col < 0), 0, weight)
        np.add.at(dx, (np.broadcast_to(sample, row.shape), row, col), weight[..., None] * dy)
    return dx


def _beta_draw(alpha, sample, key, seed, epoch):
    """One number from Beta(alpha, alpha): Johnk's method for alpha <= 1, Cheng's algorithm BB above."""
    for attempt in range(1 << 32):
        w = [int(v) for v in _draws([attempt], [sample], key, seed, epoch)[0, 0]]
        u, v = (((w[i + 1] << 32 | w[i]) >> 12) * 2.0**-52 + 2.0**-53 for i in (0, 2))
        if alpha <= 1:
            a, b = math.log(u) / alpha, math.log(v) / alpha
            total = max(a, b) + math.log1p(math.exp(-math.fabs(a - b)))
            if total <= 0:
                return math.exp(a - total)
        else:
            z = math.log(u / (1 - u)) / math.sqrt(alpha)
            odds = alpha * math.exp(z)
            least = (alpha + math.sqrt(alpha)) * z - math.log(4)
            if least + 2 * alpha * math.log(2 * alpha / (alpha + odds)) >= math.log(u * u * v):
                return odds / (alpha + odds)


def mix(x, alpha, key, seed=0, epoch=0, samples=None):
    samples = np.arange(len(x)) if samples is None else samples
    share = np.ones(len(x))
    for row in range(len(x) // 2):
        pair = [row, len(x) - 1 - row]
        share[pair] = _beta_draw(alpha, min(samples[i] for i in pair), key, seed, epoch)
    share = share.reshape(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * x[::-1]


mix_grad = mix


# ---- losses: one value per row ----


def squared_error(p, t):
    return ((p - t) ** 2).mean(axis=-1)


def squared_error_grad(seed, p, t):
    return seed[..., None] * 2 * (p - t) / p.shape[-1]


def absolute_error(p, t):
    return _xp(p).abs(p - t).mean(axis=-1)


def absolute_error_grad(seed, p, t):
    return seed[..., None] * _xp(p).sign(p - t) / p.shape[-1]


def huber(p, t, delta):
    xp = _xp(p)
    e = xp.abs(p - t)
    return xp.where(e <= delta, e * e / 2, delta * e - delta * delta / 2).mean(axis=-1)


def huber_grad(seed, p, t, delta):
    return seed[..., None] * _xp(p).clip(p - t, -delta, delta) / p.shape[-1]


def _clipped(p):
    """p within [CLIP, 1 - CLIP], and where it was inside."""
    return _xp(p).clip(p, CLIP, 1 - CLIP), (p >= CLIP) & (p <= 1 - CLIP)


def bce(p, t):
    xp = _xp(p)
    q, _ = _clipped(p)
    return -(t * xp.log(q) + (1 - t) * xp.log(1 - q)).mean(axis=-1)


def bce_grad(seed, p, t):
    q, inside = _clipped(p)
    return seed[..., None] * inside * (q - t) / (q * (1 - q)) / p.shape[-1]


def bce_logits(x, t):
    return (softplus(x) - t * x).mean(axis=-1), sigmoid(x)


def bce_logits_grad(seed, p, t):
    return seed[..., None] * (p - t) / p.shape[-1]


def cce(p, t):
    q, _ = _clipped(p / p.sum(axis=-1, keepdims=True))
    return -(t * _xp(p).log(q)).sum(axis=-1)


def cce_grad(seed, p, t):
    total = p.sum(axis=-1, keepdims=True)
    share = p / total
    q, inside = _clipped(share)
    dq = -(inside * t / q)
    return seed[..., None] * (dq - (dq * share).sum(axis=-1, keepdims=True)) / total


def cce_logits(x, t):
    return -(t * log_softmax(x)).sum(axis=-1), softmax(x)


def cce_logits_grad(seed, p, t):
    return seed[..., None] * (p * t.sum(axis=-1, keepdims=True) - t)


def _one_hot(t, p):
    return (t[..., None] == _xp(p).arange(p.shape[-1])).astype(p.dtype)


def scce(p, t):
    return cce(p, _one_hot(t, p))


def scce_grad(seed, p, t):
    return cce_grad(seed, p, _one_hot(t, p))


def scce_logits(x, t):
    return cce_logits(x, _one_hot(t, x))


def scce_logits_grad(seed, p, t):
    return cce_logits_grad(seed, p, _one_hot(t, p))


def loss_seed(weight, loss_weight, shape):
    xp = _xp(weight)
    rows = math.prod(shape[1:])
    seed = loss_weight * weight / (shape[0] * rows)
    return xp.broadcast_to(seed.reshape(-1, *[1] * (len(shape) - 1)), shape)


# ---- metrics: one value per row ----


def binary_accuracy(p, t, threshold):
    return ((p > threshold) == t).mean(axis=-1)


def categorical_accuracy(p, t):
    return (p.argmax(axis=-1) == t.argmax(axis=-1)).astype(p.dtype)


def sparse_categorical_accuracy(p, t):
    return (p.argmax(axis=-1) == t).astype(p.dtype)


# ---- parameters: penalties, clipping, updates ----


def penalty(w, l1, l2):
    return l1 * _xp(w).abs(w).sum() + l2 * (w * w).sum()


def penalty_grad(g, w, l1, l2):
    return g + l1 * _xp(w).sign(w) + 2 * l2 * w


def clip_value(g, clip):
    return _xp(g).clip(g, -clip, clip)


def sum_squares(g):
    return (g * g).sum()


def clip_norm(g, s, clip):
    return g * clip / max(s**0.5, clip)


def sgd(w, g, slots, lr, iteration, momentum, nesterov, weight_decay):
    """Return (new w, new slots); so do the other optimizers. Slot: velocity, where there is momentum."""
    w = w - lr * weight_decay * w
    if momentum == 0:
        return w - lr * g, []
    v = momentum * slots[0] - lr * g
    return (w + momentum * v - lr * g if nesterov else w + v), [v]


def rmsprop(w, g, slots, lr, iteration, rho, momentum, epsilon, centered, weight_decay):
    """Slots: mean square, velocity, mean gradient."""
    w = w - lr * weight_decay * w
    v = rho * slots[0] + (1 - rho) * g * g
    m = slots[1] if len(slots) > 1 else 0 * w
    a = slots[2] if len(slots) > 2 else 0 * w
    spread = v
    if centered:
        a = rho * a + (1 - rho) * g
        spread = v - a * a
    increment = lr * g / _xp(w).sqrt(spread + epsilon)
    m = momentum * m + increment
    return w - m, [v, m, a][: len(slots)]


def adam(w, g, slots, lr, iteration, beta_1, beta_2, epsilon, amsgrad, weight_decay):
    """Slots: m, v, largest v."""
    w = w - lr * weight_decay * w
    m = slots[0] + (g - slots[0]) * (1 - beta_1)
    v = slots[1] + (g * g - slots[1]) * (1 - beta_2)
    rate = lr * math.sqrt(1 - beta_2**iteration) / (1 - beta_1**iteration)
    if not amsgrad:
        return w - m * rate / (_xp(w).sqrt(v) + epsilon), [m, v]
    largest = _xp(w).maximum(slots[2], v)
    return w - m * rate / (_xp(w).sqrt(largest) + epsilon), [m, v, largest]


def adagrad(w, g, slots, lr, iteration, initial_accumulator_value, epsilon, weight_decay):
    """Slot: sum of squares, without the initial value."""
    w = w - lr * weight_decay * w
    v = slots[0] + g * g
    return w - lr * g / _xp(w).sqrt(initial_accumulator_value + v + epsilon), [v]


def adadelta(w, g, slots, lr, iteration, rho, epsilon, weight_decay):
    """Slots: mean square of the gradients, mean square of the steps."""
    w = w - lr * weight_decay * w
    v = rho * slots[0] + (1 - rho) * g * g
    step = _xp(w).sqrt((slots[1] + epsilon) / (v + epsilon)) * g
    return w - lr * step, [v, rho * slots[1] + (1 - rho) * step * step]


def nadam(w, g, slots, lr, iteration, beta_1, beta_2, epsilon, weight_decay):
    """Slots: m, v."""
    momenta = [beta_1 * (1 - 0.5 * 0.96**t) for t in range(1, iteration + 2)]
    now, then = momenta[-2:]
    w = w - lr * weight_decay * w
    m = slots[0] + (g - slots[0]) * (1 - beta_1)
    v = slots[1] + (g * g - slots[1]) * (1 - beta_2)
    m_hat = then * m / (1 - math.prod(momenta)) + (1 - now) * g / (1 - math.prod(momenta[:-1]))
    return w - lr * m_hat / (_xp(w).sqrt(v / (1 - beta_2**iteration)) + epsilon), [m, v]


def lion(w, g, slots, lr, iteration, beta_1, beta_2, weight_decay):
    """Slot: m."""
    w = w - lr * weight_decay * w
    direction = _xp(w).sign(beta_1 * slots[0] + (1 - beta_1) * g)
    return w - lr * direction, [beta_2 * slots[0] + (1 - beta_2) * g]


def rprop(w, g, slots, lr, iteration, eta_minus, eta_plus, step_min, step_max):
    """Slots: last gradient, 0 after a change of its sign; step, 0 before the first gradient that is not 0."""
    xp = _xp(w)
    last, size = slots
    size = xp.where((size == 0) & (g != 0), min(max(lr, step_min), step_max), size)
    agree = xp.sign(g) * xp.sign(last)
    changed = xp.clip(xp.where(agree > 0, eta_plus, eta_minus) * size, step_min, step_max)
    size = xp.where(agree == 0, size, changed)
    g = xp.where(agree < 0, 0, g)
    return w - xp.sign(g) * size, [g, size]


def moving_average(w, value, slots, lr, iteration, momentum):
    return momentum * w + (1 - momentum) * value, []


_SLOTS = {"adagrad": 1, "adadelta": 2, "nadam": 2, "lion": 1, "rprop": 2, "moving_average": 0}


def slot_count(op, attrs):
    """How many moments an optimizer op keeps with these attributes."""
    if op == "sgd":
        return int(attrs["momentum"] != 0)
    if op == "rmsprop":
        return 3 if attrs["centered"] else 2 if attrs["momentum"] else 1
    if op == "adam":
        return 3 if attrs["amsgrad"] else 2
    return _SLOTS[op]


# ---- running a Program ----


def run(
    program,
    values,
    mode="train",
    *,
    training=None,
    lr=0.01,
    iteration=1,
    slots=None,
    seed=0,
    epoch=0,
    samples=None,
    dtype=np.float64,
):
    """Run a Program on one batch.

    Parameters
    ----------
    program : Program
    values : dict of int to array
        Inputs, targets and parameters by tensor id, and weights (all ones where they are missing).
    mode : {"predict", "evaluate", "train", "gradients"}
        Which roots to run for; "train" also runs the updates.
    training : bool, optional
        Whether dropout is active and in_training takes its first input; by default in mode "train" only.
    lr : float
    iteration : int
        Number of this update, from 1.
    slots : dict of int to list of array, optional
        Moments by parameter; changed in place, begun with zeros.
    seed, epoch : int
        With `samples`, the key of dropout and of the random ops.
    samples : sequence of int, optional
        Global indices of the batch's samples; 0, 1, ... by default.
    dtype : dtype, default float64
        Type to compute in.

    Returns
    -------
    dict of int to array
        Every tensor that was given or computed; in mode "train" with the parameters after the update.
    """
    training = mode == "train" if training is None else training
    types = {"int32": np.int64}
    known = {
        i: v if program.tensors[i].type == "csr" else np.asarray(v, types.get(program.tensors[i].type, dtype))
        for i, v in values.items()
    }
    given = 1 if samples is None else len(samples)
    count = next((len(v) for i, v in known.items() if program.tensors[i].batched), given)
    draw = {"seed": seed, "epoch": epoch, "samples": np.arange(count) if samples is None else samples}
    for t in program.of_kind("weight"):
        known.setdefault(t.id, np.ones(count, dtype))
    kinds = {
        "predict": ("output",),
        "evaluate": ("output", "loss", "metric", "penalty", "tally"),
        "gradients": ("loss", "penalty", "grad"),
        "train": ("output", "loss", "metric", "penalty", "tally", "grad"),
    }[mode]
    program = resolved(program, training)
    wanted = [r.tensor for r in program.roots if r.kind in kinds]
    updates = [n for n in program.nodes if _core.OPS[n.op].rule == "UPDATE"] if mode == "train" else []
    wanted += [i for n in updates for i in n.inputs]
    for index in program.needed(wanted):
        node = program.nodes[index]
        attrs = program.attrs(node)
        for i in node.inputs:
            if i not in known:
                t = program.tensors[i]
                raise ArgumentError(
                    f"run needs a value for the {t.kind} {t.name!r}, tensor {i} of shape {t.shape}."
                )
        ins = [known[i] for i in node.inputs]
        if program.policy == "mixed_bfloat16" and node.op in ("matmul", "matmul_nt", "matmul_tn"):
            ins = [round_bfloat16(i) for i in ins]
        if _core.OPS[node.op].rule in GIVEN:
            shape = program.tensors[node.outputs[0]].shape
            attrs["shape"] = tuple(count if d is None else d for d in shape)
        if "key" in attrs:
            attrs |= draw
        if node.op == "in_training":
            attrs["training"] = training
        if node.op == "dropout" and not training:
            made = ins[0]
        else:
            made = globals()[node.op](*ins, **attrs)
        made = made if isinstance(made, tuple) else (made,)
        known.update((i, np.asarray(m, dtype)) for i, m in zip(node.outputs, made))
    for node in updates:
        attrs, (w, g) = program.attrs(node), node.inputs
        moments = [] if slots is None else slots.get(w, [])
        moments = moments or [np.zeros_like(known[w]) for _ in range(slot_count(node.op, attrs))]
        known[w], moments = globals()[node.op](known[w], known[g], moments, lr, iteration, **attrs)
        if slots is not None:
            slots[w] = moments
    return known


def resolved(program, training):
    """The Program with in_training's other input out of the way, so that nothing needs it."""
    program = program.copy()
    program.nodes = [
        n._replace(inputs=(n.inputs[not training],) * 2) if n.op == "in_training" else n
        for n in program.nodes
    ]
    return program


def total_loss(program, known):
    """Return the loss of the batch that `run` computed: weighted losses and penalties together, a float."""
    total = sum(float(known[r.tensor]) for r in program.roots_of("penalty"))
    for r in program.roots_of("loss"):
        rows = known[r.tensor]
        weight = known[r.other] if r.other >= 0 else np.ones(len(rows))
        total += r.factor * float((weight * rows.reshape(len(rows), -1).mean(axis=1)).sum()) / len(rows)
    return total
