"""What the optimizers' ops do to one parameter, as mathematics.

`UPDATES` has for each op the letters of its moments and a function of (parameter, gradient, moments before, moments
after, learning rate, number of this update, attributes) to the new parameter, all of them expressions.
"""

import math

from .expressions import Call, Cases, Comparison


def _decayed(w, rate, weight_decay):
    return w - rate * weight_decay * w if weight_decay else w


def _sgd(w, g, old, new, rate, step, momentum, nesterov, weight_decay):
    w = _decayed(w, rate, weight_decay)
    if not momentum:
        return w - rate * g
    return w + momentum * new[0] - rate * g if nesterov else w + new[0]


def _rmsprop(w, g, old, new, rate, step, rho, momentum, epsilon, centered, weight_decay):
    w = _decayed(w, rate, weight_decay)
    if len(new) > 1:
        return w - new[1]
    return w - rate * g / Call("sqrt", new[0] + epsilon)


def _adam(w, g, old, new, rate, step, beta_1, beta_2, epsilon, amsgrad, weight_decay):
    size = rate * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return _decayed(w, rate, weight_decay) - size * new[0] / (Call("sqrt", new[-1]) + epsilon)


def _adagrad(w, g, old, new, rate, step, initial_accumulator_value, epsilon, weight_decay):
    spread = initial_accumulator_value + new[0] + epsilon
    return _decayed(w, rate, weight_decay) - rate * g / Call("sqrt", spread)


def _adadelta(w, g, old, new, rate, step, rho, epsilon, weight_decay):
    size = Call("sqrt", (old[1] + epsilon) / (new[0] + epsilon))
    return _decayed(w, rate, weight_decay) - rate * (size * g)


def _nadam(w, g, old, new, rate, step, beta_1, beta_2, epsilon, weight_decay):
    momenta = [beta_1 * (1 - 0.5 * 0.96**t) for t in range(1, step + 2)]
    ahead, now = momenta[-1] / (1 - math.prod(momenta)), (1 - momenta[-2]) / (1 - math.prod(momenta[:-1]))
    spread = Call("sqrt", new[1] / (1 - beta_2**step)) + epsilon
    return _decayed(w, rate, weight_decay) - rate * ((ahead * new[0] + now * g) / spread)


def _lion(w, g, old, new, rate, step, beta_1, beta_2, weight_decay):
    return _decayed(w, rate, weight_decay) - rate * Call("sign", beta_1 * old[0] + (1 - beta_1) * g)


def _rprop(w, g, old, new, rate, step, eta_minus, eta_plus, step_min, step_max):
    """Where the gradient changed its sign, it was set to 0 and the parameter stays."""
    return Cases((w, Comparison(new[0], "=", 0)), otherwise=w - new[1] * Call("sign", g))


def _moving_average(w, value, old, new, rate, step, momentum):
    return momentum * w + (1 - momentum) * value


UPDATES = {
    "sgd": (("velocity",), _sgd),
    "rmsprop": (("v", "m", "a"), _rmsprop),
    "adam": (("m", "v", "v̂"), _adam),
    "adagrad": (("v",), _adagrad),
    "adadelta": (("v", "s"), _adadelta),
    "nadam": (("m", "v"), _nadam),
    "lion": (("m",), _lion),
    "rprop": (("g", "step"), _rprop),
    "moving_average": ((), _moving_average),
}
