"""From an estimator's arguments to a compiled model."""

import copy
import threading

import numpy as np

from .. import activations, layers, losses, ops, optimizers, regularizers, seeds
from ..arguments import check_float
from ..errors import ArgumentError, ArgumentTypeError
from ..model import Model

_ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "exp": ops.exp}
_NORMALIZATIONS = {"batch": layers.BatchNormalization, "layer": layers.LayerNormalization}
_REDUCTION = "mean_with_sample_weight"
_seeding = threading.Lock()


class HalfSquaredError(losses.Loss):
    """scikit-learn's: half the mean over the outputs, with the gradient of half their sum."""

    def call(self, y_true, y_pred):
        square = ops.square(y_true - y_pred)
        total = 0.5 * ops.sum(square, axis=-1)
        return ops.stop_gradient(0.5 * ops.mean(square, axis=-1) - total) + total


class HalfPoissonDeviance(losses.Loss):
    """sum(y log(y / p) - y + p) over the outputs; 0 log 0 is 0."""

    def call(self, y_true, y_pred):
        known = ops.where(y_true > 0.0, y_true, 1.0)
        return ops.sum(y_true * (ops.log(known) - ops.log(y_pred)) - y_true + y_pred, axis=-1)


# ---- arguments ----


def hidden_layer_sizes(estimator):
    """list of int"""
    given = estimator.hidden_layer_sizes
    sizes = list(given) if hasattr(given, "__iter__") else [given]
    for size in sizes:
        if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
            raise ArgumentError(
                f"{type(estimator).__name__}: hidden_layer_sizes must be integers > 0, got {given!r}"
            )
    return [int(size) for size in sizes]


def per_layer(estimator, name, count, alone):
    """One value of an argument for each hidden layer; what is `alone` stands for all of them."""
    given = getattr(estimator, name)
    if alone(given):
        return [given] * count
    try:
        values = list(given)
    except TypeError:
        raise ArgumentTypeError(
            f"{type(estimator).__name__}: {name} must be one value or a list of one for each hidden layer, got {given!r}"
        ) from None
    if len(values) != count:
        raise ArgumentError(
            f"{type(estimator).__name__}: {name} must hold one value for each of {count} hidden layers, got {given!r}"
        )
    return values


def hidden_activations(estimator, count):
    """The activation of each hidden layer, as it was given."""
    return per_layer(estimator, "activation", count, lambda a: isinstance(a, (str, dict)) or callable(a))


def activation_of(given):
    """fastnn's activation for one of scikit-learn's names, or for what fastnn takes."""
    if isinstance(given, str):
        given = _ACTIVATIONS.get(given, given)
    return activations.get(given)


def dropout_rates(estimator, count):
    """list of float"""
    rates = per_layer(estimator, "dropout", count, lambda r: isinstance(r, (int, float)))
    return [
        check_float(type(estimator).__name__, "dropout", rate, low=0, high=1, exclusive=("high",)) for rate in rates
    ]


def optimizer_of(estimator):
    """The optimizer that `solver` asks for."""
    solver, rate = estimator.solver, estimator.learning_rate_init
    if solver == "adam":
        return optimizers.Adam(rate, estimator.beta_1, estimator.beta_2, estimator.epsilon)
    if solver in ("sgd", "lbfgs"):  # SciPy makes the steps of the latter
        return optimizers.SGD(rate, estimator.momentum, estimator.nesterovs_momentum)
    if isinstance(solver, str):
        made = optimizers.get(solver)
        if "learning_rate" in made.get_config():
            made.learning_rate = rate
        return made
    return optimizers.deserialize(optimizers.serialize(optimizers.get(solver)))


def loss_of(estimator, n_outputs, binary):
    """(loss, its weight) that `loss` asks for; `binary` for outputs that are decided each by itself."""
    loss = estimator.loss
    if loss == "log_loss":
        if binary:
            return losses.BinaryCrossentropy(reduction=_REDUCTION), float(n_outputs)
        return losses.SparseCategoricalCrossentropy(reduction=_REDUCTION), 1.0
    if loss == "squared_error":
        if n_outputs == 1:
            return losses.MeanSquaredError(reduction=_REDUCTION), 0.5
        return HalfSquaredError(reduction=_REDUCTION), 1.0
    if loss == "poisson":
        return HalfPoissonDeviance(reduction=_REDUCTION), 1.0
    if loss == "quantile":
        return losses.Quantile(estimator.quantile, reduction=_REDUCTION), 1.0
    made = copy.copy(losses.get(loss))
    if made is None:
        raise ArgumentTypeError(f"{type(estimator).__name__} needs a loss, got None")
    made.reduction = _REDUCTION
    return made, 1.0


# ---- models ----


def build(estimator, n_features, n_outputs, out_activation, dtype, random, sparse):
    """A model that is not compiled, with first weights drawn as scikit-learn draws them.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    n_features, n_outputs : int
    out_activation : str or callable
        scikit-learn's name or fastnn's activation.
    dtype : str
    random : numpy.random.RandomState
    sparse : bool
        Whether the data are sparse rows, which the first layer multiplies as such; dense ones are read too.
    """
    sizes = hidden_layer_sizes(estimator)
    chosen = hidden_activations(estimator, len(sizes))
    rates = dropout_rates(estimator, len(sizes))
    alpha = estimator.alpha
    penalty = regularizers.L2PerWeight(alpha / 2) if alpha else None
    norm = estimator.normalization
    if norm is not None and norm not in _NORMALIZATIONS:
        raise ArgumentError(
            f"{type(estimator).__name__}: normalization must be None, 'batch' or 'layer', got {norm!r}"
        )
    x = made = layers.Input((n_features,), name="input", sparse=sparse)
    for i, (size, activation, rate) in enumerate(zip(sizes, chosen, rates), 1):
        activation = activation_of(activation)
        at_once = activation if norm is None else None
        made = layers.Dense(size, at_once, kernel_regularizer=penalty, name=f"hidden_{i}")(made)
        if norm is not None:
            made = _NORMALIZATIONS[norm](name=f"normalization_{i}")(made)
            made = layers.Activation(activation, name=f"activation_{i}")(made)
        if rate:
            made = layers.Dropout(rate, name=f"dropout_{i}")(made)
    last = layers.Dense(n_outputs, activation_of(out_activation), kernel_regularizer=penalty, name="output")
    model = Model(x, last(made), dtype=dtype)
    factors = [2.0 if a == "logistic" else 6.0 for a in chosen]
    factors.append(factors[-1] if factors else 2.0 if estimator.activation == "logistic" else 6.0)
    for layer, factor in zip(dense_layers(model), factors):
        fan_in, fan_out = layer.kernel.shape
        bound = np.sqrt(factor / (fan_in + fan_out))
        layer.kernel.assign(random.uniform(-bound, bound, (fan_in, fan_out)))
        layer.bias.assign(random.uniform(-bound, bound, fan_out))
    return model


def build_from(given, n_features, n_outputs, random):
    """A model of the user's own: a copy of the one given, or what a function of the sizes returns."""
    if isinstance(given, Model):
        model = copy.deepcopy(given)
    else:
        with _seeding:  # the sequence of seeds belongs to the process
            state = seeds.get_state()
            seeds.set_seed(int(random.randint(np.iinfo(np.int32).max)))
            try:
                model = given(n_features, n_outputs)
                if isinstance(model, Model) and model.built:
                    model.get_weights()  # drawn here
            finally:
                seeds.set_state(state)
    if not isinstance(model, Model) or not model.built:
        raise ArgumentTypeError(
            f"model must be a built fastnn.Model, or a function of (n_features, n_outputs) that returns one, got "
            f"{given if model is None else model!r}; begin with fastnn.Input"
        )
    if model.input_shape != (None, n_features) or model.output_shape != (None, n_outputs):
        raise ArgumentError(
            f"the model must lead from (None, {n_features}) to (None, {n_outputs}) for these data, got "
            f"{model.input_shape} to {model.output_shape}"
        )
    return model


def dense_layers(model):
    """list of Dense: in their order."""
    return [layer for layer in model.layers if isinstance(layer, layers.Dense)]


def hidden_model(model):
    """The model that ends where the last layer with parameters begins."""
    [tensor] = model.outputs
    while tensor.call.inputs:
        layer, [tensor, *others] = tensor.call.layer, tensor.call.inputs
        if others:
            raise ArgumentError(f"transform needs a model that ends in one chain of layers, got {layer.name!r}")
        if layer.weights:
            break
    else:
        raise ArgumentError("transform needs a model with a layer that has parameters")
    if len(tensor.shape) != 2:
        tensor = layers.Flatten()(tensor)
    return Model(model.inputs, tensor, dtype=model.dtype_policy)


def last_activation(model):
    """scikit-learn's name for what gives the outputs, or that of the op."""
    [root] = model._forward.roots
    op = next(node.op for node in model._forward.nodes if root.tensor in node.outputs)
    return {"softmax": "softmax", "sigmoid": "logistic", "exp": "exp", "relu": "relu", "tanh": "tanh"}.get(op, "identity")
