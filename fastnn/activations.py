"""Activations: functions of a symbolic tensor, a program tensor or an array.

A layer takes one by name, as `fastnn.activations.relu`, or with arguments as
`functools.partial(fastnn.activations.leaky_relu, negative_slope=0.1)`. A function of one's own, made of
functions of `fastnn.ops`, is traced and differentiated.
"""

import functools

import numpy as np

from .arguments import check_float
from .errors import ArgumentError, ArgumentTypeError, DtypeError, UnknownNameError
from .graph import Tensor, Value, emit
from .traced import Trace, find

_FUNCTIONS: dict = {}
_ALIASES = {"swish": "silu"}


def _activation(function):
    """Decorator of `function(x, **arguments) -> (op, attrs)`: applies the op to x; None is the identity."""

    @functools.wraps(function)
    def apply(x, *args, **kwargs):
        op, attrs = function(x, *args, **kwargs)
        if isinstance(x, Tensor):
            from .layers import Activation  # layers stand on activations

            chosen = functools.partial(apply, *args, **kwargs) if args or kwargs else apply
            return Activation(get(_keyworded(chosen)))(x)
        if op is None:
            return x
        if isinstance(x, Value):
            return emit(op, x, **attrs)
        from .backends import xp

        return getattr(xp, op)(_as_real(x), **attrs)

    _FUNCTIONS[function.__name__] = apply
    return apply


def _as_real(x):
    x = x if hasattr(x, "__array_namespace__") else np.asarray(x)
    if x.dtype.kind == "f":
        return x
    if x.dtype.kind not in "iub":
        raise DtypeError(f"An activation takes real numbers, got an array of {x.dtype}.")
    return x.astype(np.float64)


def _keyworded(function):
    """A partial with its positional arguments turned into keywords, so that it can be written down."""
    if (
        not isinstance(function, functools.partial)
        or not function.args
        or function.func not in _FUNCTIONS.values()
    ):
        return function
    code = function.func.__wrapped__.__code__
    names = code.co_varnames[1 : code.co_argcount]
    return functools.partial(function.func, **dict(zip(names, function.args)), **function.keywords)


@_activation
def linear(x):
    """x itself."""
    return None, {}


@_activation
def step(x, straight_through=False, clip_value=None):
    """1 where x >= 0, else 0.

    Its gradient is 0, so what stands before it does not learn. With `straight_through` the gradient passes as
    if the function were x itself (Bengio et al., arXiv:1308.3432); with a `clip_value` as if it were x clipped
    to [-clip_value, clip_value], so only where abs(x) <= clip_value (Hubara et al., arXiv:1602.02830, with 1).
    """
    if clip_value is not None:
        clip_value = check_float("step", "clip_value", clip_value, low=0, exclusive=("low",))
        if not straight_through:
            raise ArgumentError(
                f"step: clip_value={clip_value:g} bounds the straight-through gradient, so it needs straight_through=True."
            )
    return "step", {"straight_through": float(bool(straight_through)), "clip_value": clip_value or 0.0}


@_activation
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return "sigmoid", {}


@_activation
def hard_sigmoid(x):
    """min(max(x + 3, 0), 6) / 6."""
    return "hard_sigmoid", {}


@_activation
def tanh(x):
    """The hyperbolic tangent of x."""
    return "tanh", {}


@_activation
def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """max(x, 0), or `negative_slope` * x for negative x. The other arguments of Keras are not supported."""
    if max_value is not None or threshold != 0:
        raise ArgumentError(
            "relu: max_value must be None and threshold 0, "
            f"got max_value={max_value!r}, threshold={threshold!r}."
        )
    slope = check_float("relu", "negative_slope", negative_slope, low=0)
    return ("leaky_relu", {"negative_slope": slope}) if slope else ("relu", {})


@_activation
def leaky_relu(x, negative_slope=0.2):
    """x for x >= 0, `negative_slope` * x below."""
    return "leaky_relu", {"negative_slope": check_float("leaky_relu", "negative_slope", negative_slope)}


@_activation
def elu(x, alpha=1.0):
    """x for x > 0, `alpha` (exp(x) - 1) below (Clevert et al., arXiv:1511.07289)."""
    return "elu", {"alpha": check_float("elu", "alpha", alpha)}


@_activation
def selu(x):
    """scale * elu(x, alpha) with the constants of Klambauer et al., arXiv:1706.02515."""
    return "selu", {}


@_activation
def gelu(x, approximate=False):
    """x * Phi(x), or its approximation by tanh (Hendrycks, Gimpel, arXiv:1606.08415)."""
    return "gelu", {"approximate": float(bool(approximate))}


@_activation
def silu(x):
    """x * sigmoid(x), also called swish."""
    return "silu", {}


@_activation
def mish(x):
    """x * tanh(softplus(x)) (Misra, arXiv:1908.08681)."""
    return "mish", {}


@_activation
def softplus(x):
    """log(1 + exp(x))."""
    return "softplus", {}


@_activation
def softsign(x):
    """x / (1 + abs(x))."""
    return "softsign", {}


@_activation
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) over the last dimension."""
    _last_axis("softmax", x, axis)
    return "softmax", {}


@_activation
def log_softmax(x, axis=-1):
    """x - log(sum(exp(x))) over the last dimension."""
    _last_axis("log_softmax", x, axis)
    return "log_softmax", {}


swish = silu


def _last_axis(name, x, axis):
    rank = getattr(x, "ndim", None)
    if axis != -1 and (rank is None or axis != rank - 1):
        raise ArgumentError(
            f"{name} works over the last dimension, axis=-1, got axis={axis!r}; reshape the tensor."
        )


class TracedActivation:
    """A user's own function of `fastnn.ops` as an activation; it is saved as the Programs that it emitted.

    Parameters
    ----------
    function : str
        The function's name.
    traces : list of dict
        Arguments of a `Trace` for each shape of tensor.
    """

    def __init__(self, function, traces):
        self.__name__, self._function, self._shapes = str(function), None, {}
        self._traces = [Trace(**t) for t in traces]

    @classmethod
    def of(cls, function):
        """Wrap a function of one tensor."""
        made = cls(getattr(function, "__name__", type(function).__name__), [])
        made._function = function
        return made

    def __call__(self, x):
        if isinstance(x, Tensor):
            from .layers import Activation  # layers stand on activations

            return Activation(self)(x)
        symbolic = isinstance(x, Value)
        x = x if symbolic else _as_real(x)
        if self._function is not None:
            if symbolic:
                self._shapes[x.shape] = None
            return self._function(x)
        trace = find(self._traces, f"The activation {self.__name__!r}", [x])
        return (trace.play(x.builder, [x]) if symbolic else trace.run([x]))[0]

    def get_config(self):
        """Return what `get` makes it from again."""
        traces = self._traces
        if self._function is not None:
            traces = [
                Trace.of(lambda builder, xs: self._function(*xs), [(shape, None)]) for shape in self._shapes
            ]
        return {"name": "traced", "function": self.__name__, "traces": [t.get_config() for t in traces]}


def get(identifier):
    """Return the activation for a name, a configuration, a function or None (linear).

    Parameters
    ----------
    identifier : str, dict, callable or None

    Returns
    -------
    callable

    Raises
    ------
    UnknownNameError
        If there is no activation of that name.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, dict):
        arguments = dict(identifier)
        name = arguments.pop("name", None)
        if name == "traced":
            return TracedActivation(**arguments)
        function = get(str(name))
        return functools.partial(function, **arguments) if arguments else function
    if isinstance(identifier, str):
        name = _ALIASES.get(identifier, identifier)
        if name not in _FUNCTIONS:
            raise UnknownNameError.among("activation", identifier, [*_FUNCTIONS, *_ALIASES])
        return _FUNCTIONS[name]
    if callable(identifier):
        function = _keyworded(identifier)
        inner = function.func if isinstance(function, functools.partial) else function
        known = inner in _FUNCTIONS.values() or isinstance(inner, TracedActivation)
        return function if known else TracedActivation.of(function)
    raise ArgumentTypeError(
        f"An activation is given by name or as a function, got {type(identifier).__name__}."
    )


def serialize(activation):
    """Return what `get` makes the activation from again: its name, or a dict of name and arguments."""
    if isinstance(activation, TracedActivation):
        return activation.get_config()
    function, arguments = activation, {}
    if isinstance(activation, functools.partial):
        activation = _keyworded(activation)
        function, arguments = activation.func, dict(activation.keywords)
    name = getattr(function, "__name__", repr(function))
    if _FUNCTIONS.get(name) is not function:
        raise UnknownNameError.among("activation", name, _FUNCTIONS)
    return {"name": name, **arguments} if arguments else name
