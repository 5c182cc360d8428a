"""Optimizers: arguments and the update op of each, named and defined as in Keras 3 (Rprop: in PyTorch)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from . import schedules
from .arguments import check_float, check_int
from .errors import ArgumentError, NotCompiledError, UnknownNameError
from .registry import Configurable, Registry, auto_name, constructor_arguments, snake_case
from .schedules import LearningRateSchedule

if TYPE_CHECKING:
    from ._typing import Any, Callable, Mapping

# Arguments of Keras 3 that fastnn does not have, with the values at which they do nothing.
_UNSUPPORTED = {
    "use_ema": (False,), "ema_momentum": (0.99,), "ema_overwrite_frequency": (None,),
    "loss_scale_factor": (None,), "gradient_accumulation_steps": (None,),
}  # fmt: skip


class Optimizer(Configurable):
    """Base of optimizers.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    weight_decay : float, optional
        Before each update w -= learning_rate * weight_decay * w.
    clipnorm : float, optional
        Largest L2 norm of the gradient of one parameter.
    clipvalue : float, optional
        Largest absolute value of an element of a gradient.
    global_clipnorm : float, optional
        Largest L2 norm of all gradients together. Only one of the three can be set.
    name : str, optional

    Attributes
    ----------
    driver : subclass of training.Arrays, or None
        What makes the steps of `fit` where they are more than the update op.
    """

    full_batch = False  # whether `fit` may only be asked for batches of all samples
    driver = None
    _model = None

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float],
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        owner = type(self).__name__
        for argument, value in kwargs.items():
            if argument not in _UNSUPPORTED:
                known = {*constructor_arguments(type(self)), *constructor_arguments(Optimizer)}  # type: ignore[arg-type]
                raise UnknownNameError.among(f"argument of {owner}", argument, known)
            if value not in _UNSUPPORTED[argument]:
                raise ArgumentError(f"{owner}: {argument} is not supported, leave it out (got {value!r}).")
        given = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {k: v for k, v in given.items() if v is not None}
        if len(given) > 1:
            raise ArgumentError(
                f"{owner}: only one of clipnorm, clipvalue and global_clipnorm can be set, got {given}."
            )
        for k, v in given.items():
            given[k] = check_float(owner, k, v, low=0, exclusive=("low",))
        self.clipnorm, self.clipvalue = given.get("clipnorm"), given.get("clipvalue")
        self.global_clipnorm = given.get("global_clipnorm")
        self.learning_rate = learning_rate
        self.weight_decay = (
            None if weight_decay is None else check_float(owner, "weight_decay", weight_decay, low=0)
        )
        self.name = name or auto_name(snake_case(owner))

    def serve(self, model):
        """Become the optimizer of a model that was compiled with it."""
        self._model = weakref.ref(model)

    def apply(self, gradients, model=None):
        """One update of a model's parameters with these gradients: moments and iterations go on, as in `fit`.

        Parameters
        ----------
        gradients : dict of str to array_like
            By parameter name, as `Model.loss_and_gradients` gives them. They are clipped as the optimizer says.
        model : Model, optional
            By default the one last compiled with this optimizer.

        Raises
        ------
        NotCompiledError
            If no model was compiled with it.
        ArgumentError, UnknownNameError, ShapeError, DataError
            Gradients that are missing, of no trainable parameter, of another shape, or not finite; nothing is
            updated then.
        """
        name = type(self).__name__
        if self.driver is not None:
            raise ArgumentError(f"{name} chooses its steps itself and cannot apply gradients; use fit.")
        model = self._model and self._model() if model is None else model
        if model is None:
            raise NotCompiledError(f"{name}.apply needs a model compiled with it: model.compile(optimizer, loss).")
        if model.optimizer is not self:
            raise ArgumentError(f"{name}.apply: {model._label} is compiled with {model.optimizer!r}, not with this.")
        model._apply_gradients(gradients)

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_model"}

    @property
    def learning_rate(self):
        """float or LearningRateSchedule: may be set at any time; the next steps follow it."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        if isinstance(value, dict):
            value = schedules.deserialize(value)
        if not isinstance(value, LearningRateSchedule):
            value = check_float(type(self).__name__, "learning_rate", value, low=0)
        self._learning_rate = value

    def learning_rates(self, first, count):
        """Rates of `count` steps from step `first` (from 0) on: a float if constant, else a float64 array."""
        rate = self._learning_rate
        if isinstance(rate, float):
            return rate
        steps = np.arange(first, first + count, dtype=np.float64)
        return np.ascontiguousarray(np.broadcast_to(rate.rates(steps), count), np.float64)

    def update_op(self):
        """(op, attrs) of the node that updates one parameter."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as a dict that JSON can hold."""
        config = super().get_config()
        if isinstance(self._learning_rate, LearningRateSchedule):
            config["learning_rate"] = schedules.serialize(self._learning_rate)
        return config

    def _decay(self):
        return self.weight_decay or 0.0


registry = Registry("optimizer", Optimizer)


@registry.alias("sgd")
class SGD(Optimizer):
    """w -= lr * g, or with momentum v = momentum * v - lr * g; w += v (Nesterov: w += momentum * v - lr * g).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.01
    momentum : float, default 0.0
        In [0, 1].
    nesterov : bool, default False
    weight_decay, clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name, **kwargs)
        self.momentum = check_float("SGD", "momentum", momentum, low=0, high=1)
        self.nesterov = bool(nesterov)

    def update_op(self):
        return "sgd", {
            "momentum": self.momentum,
            "nesterov": float(self.nesterov),
            "weight_decay": self._decay(),
        }


@registry.alias("rmsprop")
class RMSprop(Optimizer):
    """v = rho * v + (1 - rho) * g^2; w -= lr * g / sqrt(v + epsilon), with optional momentum and centering.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    rho : float, default 0.9
        In [0, 1].
    momentum : float, default 0.0
        In [0, 1].
    epsilon : float, default 1e-7
    centered : bool, default False
        Whether the squared mean gradient is taken off v.
    weight_decay, clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name, **kwargs)
        self.rho = check_float("RMSprop", "rho", rho, low=0, high=1)
        self.momentum = check_float("RMSprop", "momentum", momentum, low=0, high=1)
        self.epsilon = check_float("RMSprop", "epsilon", epsilon, low=0)
        self.centered = bool(centered)

    def update_op(self):
        return "rmsprop", {
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": float(self.centered),
            "weight_decay": self._decay(),
        }


@registry.alias("adam")
class Adam(Optimizer):
    """w -= a * m / (sqrt(v) + epsilon) (Kingma, Ba, arXiv:1412.6980).

    m += (1 - beta_1) (g - m), v += (1 - beta_2) (g^2 - v), and at the t-th update
    a = lr * sqrt(1 - beta_2^t) / (1 - beta_1^t).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-7
    amsgrad : bool, default False
        Whether the largest v so far takes the place of v (Reddi et al., arXiv:1904.09237).
    weight_decay, clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name, **kwargs)
        owner = type(self).__name__
        self.beta_1 = check_float(owner, "beta_1", beta_1, low=0, high=1, exclusive=("high",))
        self.beta_2 = check_float(owner, "beta_2", beta_2, low=0, high=1, exclusive=("high",))
        self.epsilon = check_float(owner, "epsilon", epsilon, low=0)
        self.amsgrad = bool(amsgrad)

    def update_op(self):
        return "adam", {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": float(self.amsgrad),
            "weight_decay": self._decay(),
        }


@registry.alias("adamw")
class AdamW(Adam):
    """`Adam` with weight decay (Loshchilov, Hutter, arXiv:1711.05101).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    weight_decay : float, default 0.004
    beta_1, beta_2, epsilon, amsgrad
        See `Adam`.
    clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        weight_decay = check_float("AdamW", "weight_decay", weight_decay, low=0)
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            name,
            **kwargs,
        )


@registry.add
class Adagrad(Optimizer):
    """s += g^2; w -= lr * g / sqrt(s + epsilon) (Duchi, Hazan, Singer, JMLR 12, 2011).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    initial_accumulator_value : float, default 0.1
        What s starts from, at least 0.
    epsilon : float, default 1e-7
    weight_decay, clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.001,
        initial_accumulator_value=0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name, **kwargs)
        self.initial_accumulator_value = check_float(
            "Adagrad", "initial_accumulator_value", initial_accumulator_value, low=0
        )
        self.epsilon = check_float("Adagrad", "epsilon", epsilon, low=0)

    def update_op(self):
        return "adagrad", {
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
            "weight_decay": self._decay(),
        }


@registry.add
class Adadelta(Optimizer):
    """w -= lr * d with d = g * sqrt((u + epsilon) / (v + epsilon)) (Zeiler, arXiv:1212.5701).

    v = rho * v + (1 - rho) * g^2 goes before, u = rho * u + (1 - rho) * d^2 after. Zeiler's own rate is 1.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    rho : float, default 0.95
        In [0, 1].
    epsilon : float, default 1e-7
    weight_decay, clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name, **kwargs)
        self.rho = check_float("Adadelta", "rho", rho, low=0, high=1)
        self.epsilon = check_float("Adadelta", "epsilon", epsilon, low=0)

    def update_op(self):
        return "adadelta", {"rho": self.rho, "epsilon": self.epsilon, "weight_decay": self._decay()}


@registry.add
class Nadam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, 2016, "Incorporating Nesterov Momentum into Adam").

    With m and v as in `Adam`, a_t = beta_1 * (1 - 0.96^t / 2) and p_t = a_1 ... a_t, the t-th update is
    w -= lr * (a_{t+1} m / (1 - p_{t+1}) + (1 - a_t) g / (1 - p_t)) / (sqrt(v / (1 - beta_2^t)) + epsilon).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-7
    weight_decay, clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name, **kwargs)
        self.beta_1 = check_float("Nadam", "beta_1", beta_1, low=0, high=1, exclusive=("high",))
        self.beta_2 = check_float("Nadam", "beta_2", beta_2, low=0, high=1, exclusive=("high",))
        self.epsilon = check_float("Nadam", "epsilon", epsilon, low=0)

    def update_op(self):
        return "nadam", {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "weight_decay": self._decay(),
        }


@registry.add
class Lion(Optimizer):
    """w -= lr * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g.

    The source is Chen et al., arXiv:2302.06675, who take a rate 3 to 10 times smaller than for Adam.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    beta_1 : float, default 0.9
        In (0, 1].
    beta_2 : float, default 0.99
        In [0, 1].
    weight_decay, clipnorm, clipvalue, global_clipnorm, name
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name, **kwargs)
        self.beta_1 = check_float("Lion", "beta_1", beta_1, low=0, high=1, exclusive=("low",))
        self.beta_2 = check_float("Lion", "beta_2", beta_2, low=0, high=1)

    def update_op(self):
        return "lion", {"beta_1": self.beta_1, "beta_2": self.beta_2, "weight_decay": self._decay()}


@registry.add
class Rprop(Optimizer):
    """w -= d * sign(g) on full batches, each element with its own step d (Riedmiller, Braun, ICNN 1993).

    Where g has the sign of the gradient before, d grows to etas[1] * d; where it has the other one, d shrinks
    to etas[0] * d and the element rests once, as if g were 0. The signs of gradients mean little on a part of
    the samples, so `fit` takes all samples as one batch and refuses any other batch size. Names and defaults
    are those of ``torch.optim.Rprop``.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.01
        The first step d of each element; later values of a schedule change nothing.
    etas : tuple of two float, default (0.5, 1.2)
        The shrinking factor in (0, 1), and the growing one above 1.
    step_sizes : tuple of two float, default (1e-6, 50.0)
        Bounds of d, above 0.
    name : str, optional
    """

    full_batch = True

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 0.01,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50.0),
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name=name)
        low, high = self._pair("etas", etas)
        self.etas = (
            check_float("Rprop", "etas[0]", low, low=0, high=1, exclusive=("low", "high")),
            check_float("Rprop", "etas[1]", high, low=1, exclusive=("low",)),
        )
        low, high = self._pair("step_sizes", step_sizes)
        low = check_float("Rprop", "step_sizes[0]", low, low=0, exclusive=("low",))
        self.step_sizes = (low, check_float("Rprop", "step_sizes[1]", high, low=low))

    @staticmethod
    def _pair(argument, value):
        try:
            low, high = value
        except (TypeError, ValueError):
            raise ArgumentError(f"Rprop: {argument} is a pair of numbers, got {value!r}.") from None
        return low, high

    def update_op(self):
        return "rprop", {
            "eta_minus": self.etas[0],
            "eta_plus": self.etas[1],
            "step_min": self.step_sizes[0],
            "step_max": self.step_sizes[1],
        }


class _SecondOrder(Optimizer):
    """What the optimizers share that choose their steps themselves.

    Attributes
    ----------
    converged : str or None
        Why the last `fit` ended before its epochs were over; None if it did not.
    """

    full_batch = True
    converged = None

    def _tolerances(self, tolerance_grad, tolerance_change):
        owner = type(self).__name__
        self.tolerance_grad = check_float(owner, "tolerance_grad", tolerance_grad, low=0)
        self.tolerance_change = check_float(owner, "tolerance_change", tolerance_change, low=0)


@registry.alias("lbfgs")
class LBFGS(_SecondOrder):
    """Limited-memory BFGS with a strong Wolfe line search (Liu, Nocedal, Mathematical Programming 45, 1989).

    An epoch is one iteration over all samples, whose loss and gradient the line search takes as often as it
    needs. Dropout, augmentation and statistics of the batch would change the function from one evaluation to the
    next and are refused.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 1.0
        The first step that a line search tries, in units of the quasi-Newton step.
    history_size : int, default 10
        Pairs of steps and changes of the gradient that stand for the curvature.
    max_line_search : int, default 25
        Evaluations an iteration.
    tolerance_grad : float, default 1e-7
        Training ends where no element of the gradient is larger.
    tolerance_change : float, default 1e-9
        Training ends where an iteration changes the loss by less than this share of it.
    name : str, optional
    """

    def __init__(
        self,
        learning_rate: float | Mapping[str, Any] | Callable[[int], float] = 1.0,
        history_size=10,
        max_line_search=25,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name=name)
        self.history_size = check_int("LBFGS", "history_size", history_size, 1)
        self.max_line_search = check_int("LBFGS", "max_line_search", max_line_search, 1)
        self._tolerances(tolerance_grad, tolerance_change)

    @property
    def driver(self):
        from .second_order import LBFGSDriver

        return LBFGSDriver


@registry.alias("levenberg_marquardt")
class LevenbergMarquardt(_SecondOrder):
    """Damped Gauss-Newton steps for small regression nets (Levenberg, Quart. Appl. Math. 2, 1944).

    With the residuals r, their Jacobian J, the mean m of the diagonal of J'J and the damping d, a step solves
    (J'J + d m I) s = -J'r; d shrinks after a step that lowers the loss and grows until one does (Hagan, Menhaj,
    IEEE Trans. Neural Networks 5, 1994). An epoch is one such step over all samples. For
    Dense layers, the loss mean_squared_error and L2 penalties; best with dtype="float64".

    Parameters
    ----------
    damping : float, default 1e-3
        At the start.
    damping_increase, damping_decrease : float, default 10.0
        Factors above 1.
    max_damping : float, default 1e10
        Training ends where it is reached.
    tolerance_grad : float, default 1e-7
        Training ends where no element of the gradient is larger.
    tolerance_change : float, default 1e-9
        Training ends where an iteration changes the loss by less than this share of it.
    max_parameters : int, default 4000
        More are refused: time grows with their cube, memory with their square.
    name : str, optional
    """

    def __init__(
        self,
        damping=1e-3,
        damping_increase=10.0,
        damping_decrease=10.0,
        max_damping=1e10,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        max_parameters=4000,
        name: str | None = None,
    ) -> None:
        super().__init__(1.0, name=name)
        owner = "LevenbergMarquardt"
        self.damping = check_float(owner, "damping", damping, low=0, exclusive=("low",))
        for argument, value in (("damping_increase", damping_increase), ("damping_decrease", damping_decrease)):
            setattr(self, argument, check_float(owner, argument, value, low=1, exclusive=("low",)))
        self.max_damping = check_float(owner, "max_damping", max_damping, low=self.damping)
        self.max_parameters = check_int(owner, "max_parameters", max_parameters, 1)
        self._tolerances(tolerance_grad, tolerance_change)

    @property
    def driver(self):
        from .second_order import LevenbergMarquardtDriver

        return LevenbergMarquardtDriver


get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
