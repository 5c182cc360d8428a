"""Expressions: what a formula says, apart from how it is written.

One tree serves both: a `Leaf` is a letter, or the element of a tensor with today's number. So a formula put on
letters is the rule, put on elements it is the arithmetic, and `value` computes it.
"""

import math
from typing import NamedTuple

import numpy as np


class Symbol(NamedTuple):
    """A letter or word with a subscript; `flipped` where it stands for the transpose of what is stored."""

    base: str
    sub: str = ""
    flipped: bool = False


class Derivative(NamedTuple):
    """of by by: the symbol of a derivative."""

    of: Symbol
    by: Symbol

    @property
    def flipped(self):
        return self.by.flipped


class Expr:
    """Base of expressions; Python's operators make larger ones."""

    children = ()

    def __add__(self, other):
        return Sum((self, to_expr(other)))

    def __radd__(self, other):
        return Sum((to_expr(other), self))

    def __sub__(self, other):
        return Sum((self, Negative(to_expr(other))))

    def __rsub__(self, other):
        return Sum((to_expr(other), Negative(self)))

    def __mul__(self, other):
        return _times(self, to_expr(other))

    def __rmul__(self, other):
        return _times(to_expr(other), self)

    def __truediv__(self, other):
        return Quotient(self, to_expr(other))

    def __rtruediv__(self, other):
        return Quotient(to_expr(other), self)

    def __pow__(self, other):
        return Power(self, to_expr(other))

    def __neg__(self):
        return Negative(self)

    @property
    def is_tensor(self):
        """Whether it has more than one element."""
        return any(c.is_tensor for c in self.children)

    def leaves(self):
        """Number of letters and constants in it."""
        return sum(c.leaves() for c in self.children) or 1

    def compute(self):
        """Its value in float64; NaN and infinity where the arithmetic gives them."""
        with np.errstate(all="ignore"):
            return float(self._computed())

    def _computed(self):
        return self._value(*(c._computed() for c in self.children))

    def _value(self, *children):
        raise NotImplementedError


def _times(a, b):
    if isinstance(a, Number) and a.number == 1:
        return b
    return a if isinstance(b, Number) and b.number == 1 else Product((a, b))


def to_expr(x):
    """An expression as it is, a number as a `Number`."""
    return x if isinstance(x, Expr) else Number(float(x))


class Number(Expr):
    """A constant of a formula, or a number already computed."""

    def __init__(self, number):
        self.number = float(number)

    def _value(self):
        return self.number


class Leaf(Expr):
    """A tensor by its symbol, or the element at `index` of it, whose value is `number`."""

    def __init__(self, symbol, index=None, number=None, tensor=False):
        self.symbol, self.index, self.number, self._tensor = symbol, index, number, tensor

    @property
    def is_tensor(self):
        return self._tensor

    def _value(self):
        return self.number


class Sum(Expr):
    """Terms added; sums among them are taken apart."""

    def __init__(self, terms):
        self.children = tuple(
            t for term in terms for t in (term.children if isinstance(term, Sum) else (term,))
        )

    def _value(self, *terms):
        return sum(terms)


class Product(Expr):
    """Factors multiplied, element by element where they are tensors."""

    def __init__(self, factors):
        self.children = tuple(factors)

    def _value(self, *factors):
        return math.prod(np.float64(f) for f in factors)


class MatrixProduct(Expr):
    """Two matrices or a matrix and a vector; `flip` says which is transposed: "", "left" or "right"."""

    def __init__(self, left, right, flip=""):
        self.children, self.flip = (left, right), flip


class Negative(Expr):
    def __init__(self, x):
        self.children = (x,)

    def _value(self, x):
        return -x


class Quotient(Expr):
    def __init__(self, a, b):
        self.children = (a, b)

    def _value(self, a, b):
        return np.float64(a) / np.float64(b)


class Power(Expr):
    def __init__(self, a, b):
        self.children = (a, b)

    def _value(self, a, b):
        return np.power(np.float64(a), np.float64(b))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


_FUNCTIONS = {
    "exp": np.exp, "ln": np.log, "sqrt": np.sqrt, "abs": np.abs, "tanh": np.tanh,
    "sin": np.sin, "cos": np.cos, "erf": math.erf, "sign": np.sign, "floor": np.floor, "σ": _sigmoid,
    "max": lambda *xs: max(xs), "min": lambda *xs: min(xs),
    "argmax": lambda *xs: int(np.argmax(xs)),
}  # fmt: skip


class Call(Expr):
    """A function by name; those of `_FUNCTIONS` can be computed.

    mean and sum over all elements are functions of tensors, and so is what has a word for a name ("reshape").
    """

    def __init__(self, name, *args):
        self.name, self.children = name, tuple(map(to_expr, args))

    @property
    def is_tensor(self):
        return self.name not in ("mean", "sum") and super().is_tensor

    def _value(self, *args):
        return _FUNCTIONS[self.name](*map(np.float64, args))


class Item(Expr):
    """Elements of `table` that `index` names."""

    def __init__(self, table, index):
        self.children = (table, index)


class Comparison(Expr):
    """1 where it holds, else 0; `sign` is one of < ≤ = > ≥ ≠."""

    _HOLDS = {
        "<": np.less,
        "≤": np.less_equal,
        "=": np.equal,
        ">": np.greater,
        "≥": np.greater_equal,
        "≠": np.not_equal,
    }

    def __init__(self, a, sign, b):
        self.children, self.sign = (to_expr(a), to_expr(b)), sign

    def _value(self, a, b):
        return self._HOLDS[self.sign](a, b)


class Cases(Expr):
    """The expression of the first condition that holds, else `otherwise`."""

    def __init__(self, *pairs, otherwise):
        self.pairs = tuple((to_expr(e), condition) for e, condition in pairs)
        self.otherwise = to_expr(otherwise)
        self.children = tuple(part for pair in self.pairs for part in pair) + (self.otherwise,)

    def chosen(self):
        """The expression that counts with today's numbers."""
        return next((e for e, condition in self.pairs if condition.compute()), self.otherwise)

    def _computed(self):
        return self.chosen()._computed()


class Drawn(Expr):
    """A random number: `number` is what was drawn."""

    def __init__(self, name, args, number=None):
        self.name, self.children, self.number = name, tuple(map(to_expr, args)), number

    @property
    def is_tensor(self):
        return self.number is None

    def _computed(self):
        return self.number
