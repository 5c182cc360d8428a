"""Multilayer perceptrons as estimators, with the arguments and the arithmetic of scikit-learn's."""

import contextlib
import math
import time
import warnings

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    is_classifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import losses
from ..arguments import check_float, check_int, check_policy, variable_dtype
from ..errors import ArgumentError, ArgumentTypeError, DataError, UnknownNameError
from ..predictor import Predictor
from . import network

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    _CALLER = 5  # frames from where warnings are given to who called fit
except ImportError:  # before scikit-learn 1.9
    _CALLER = 4

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Estimators of this scikit-learn take no callbacks."""

        def _init_callback_context(self, **_):
            return None

    def with_callbacks(method):
        return method


_REALS = (np.float64, np.float32)
_PROBABILITIES = ("logistic", "softmax", "sigmoid")
_SCHEDULES = ("constant", "invscaling", "adaptive")
# What makes another network, or another optimizer: warm starts begin with fresh moments where it changed.
_SHAPING = (
    "activation", "alpha", "beta_1", "beta_2", "dropout", "epsilon", "learning_rate_init", "loss", "momentum",
    "nesterovs_momentum", "normalization", "out_activation", "quantile", "solver",
)  # fmt: skip


class _MLP(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What classifier and regressor share."""

    # ---- fitting ----

    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Train on data.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)
        y : array_like, shape (n,) or (n, n_outputs)
        sample_weight : array_like, shape (n,), optional
        validation_data : (X, y) or (X, y, sample_weight), optional
            Scored after each epoch: `validation_scores_` and `validation_loss_curve_`. With `early_stopping` it
            takes the place of the part of X that is held out.

        Returns
        -------
        self

        Raises
        ------
        ArgumentError, UnknownNameError
            For arguments of the constructor that cannot be used.
        NonFiniteLossError
            If the loss becomes NaN or infinite; the weights are those of the last finite epoch.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _partial_fit(self, X, y, sample_weight):
        if self.early_stopping:
            raise ArgumentError(f"{type(self).__name__}: partial_fit does not support early_stopping=True")
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _fit(self, X, y, sample_weight, validation_data, incremental):
        self._check_arguments()
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        policy = self._policy()
        accepted = _REALS if policy is None else np.dtype(variable_dtype(policy))
        if not first:
            accepted = np.dtype(self.model_.dtype)
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, y_numeric=not is_classifier(self), dtype=accepted,
            reset=first,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        context = self._init_callback_context(max_subtasks=1 if incremental else self.max_iter)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        metadata = None if weights is None else {"sample_weight": weights}
        labels, targets = y, self._encoded(y, fresh=first and not incremental)
        if context is not None:
            context.call_on_fit_task_begin(estimator=self, X=X, y=labels, metadata=metadata)
        class_weight = getattr(self, "class_weight", None)
        if class_weight is not None:
            if incremental and class_weight == "balanced":
                raise ArgumentError("partial_fit cannot balance classes it has not seen: pass class_weight as a dict")
            by_class = compute_sample_weight(class_weight, labels)
            weights = by_class if weights is None else weights * by_class
        self._forget()
        self.__dict__.pop("calibration_", None)
        self._random_state = check_random_state(self.random_state)
        if first:
            self._start(policy or str(X.dtype), sparse=hasattr(X, "toarray"))
        elif self._shape != self._shaping():
            self._reshape()
        X = self._readable(X)
        if self.model is not None:
            X = X.astype(self.model_.dtype, copy=False)
        if self.solver == "lbfgs":
            self._minimise(X, targets, weights, context, labels, metadata)
        else:
            self._descend(X, targets, weights, validation_data, incremental, context, labels, metadata)
        if context is not None:
            context.call_on_fit_task_end(
                estimator=self, X=X, y=labels, metadata=metadata, reconstruction_attributes=self._attributes
            )
        return self

    def _attributes(self):
        """What makes a copy of this estimator predict as it does now."""
        import copy

        return {"model_": copy.deepcopy(self.model_)}

    def _check_arguments(self):
        owner = type(self).__name__
        known = {"learning_rate": _SCHEDULES}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise UnknownNameError.among(f"{name} of {owner}", getattr(self, name), values)
        for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping", "progress_bar"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise ArgumentTypeError(f"{owner}: {name} must be True or False, got {getattr(self, name)!r}")
        for name in ("max_iter", "max_fun"):
            check_int(owner, name, getattr(self, name), 1)
        if self.n_iter_no_change != np.inf:
            check_int(owner, "n_iter_no_change", self.n_iter_no_change, 1)
        if self.batch_size != "auto":
            check_int(owner, "batch_size", self.batch_size, 1)
        check_float(owner, "learning_rate_init", self.learning_rate_init, low=0, exclusive=("low",))
        check_float(owner, "epsilon", self.epsilon, low=0, exclusive=("low",))
        for name in ("alpha", "power_t", "tol"):
            check_float(owner, name, getattr(self, name), low=0)
        check_float(owner, "momentum", self.momentum, low=0, high=1)
        for name in ("validation_fraction", "beta_1", "beta_2"):
            check_float(owner, name, getattr(self, name), low=0, high=1, exclusive=("high",))
        if self.max_seconds is not None:
            check_float(owner, "max_seconds", self.max_seconds, low=0, exclusive=("low",))
        self._policy()
        sizes = network.hidden_layer_sizes(self)
        for activation in network.hidden_activations(self, len(sizes)):
            network.activation_of(activation)
        rates = network.dropout_rates(self, len(sizes))
        if self.solver == "lbfgs" and (any(rates) or self.normalization == "batch" or self.callbacks):
            raise ArgumentError(
                f"{owner}: solver='lbfgs' minimises one function of all samples; dropout, normalization='batch' and "
                "callbacks need solver 'adam', 'sgd' or another optimizer"
            )

    def _policy(self):
        """The name of `dtype`, or None where the data decide."""
        return None if self.dtype is None else check_policy(type(self).__name__, self.dtype)

    def _stochastic(self):
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    def _shaping(self):
        sizes = None if self.model is not None else network.hidden_layer_sizes(self)
        return {name: getattr(self, name, None) for name in _SHAPING} | {"hidden_layer_sizes": sizes}

    def _start(self, dtype, sparse):
        """A fresh network, and what training counts from the start."""
        for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_", "best_loss_", "best_validation_score_"):
            self.__dict__.pop(name, None)
        self.t_ = self.n_iter_ = 0
        self.n_outputs_ = self._outputs_needed()
        self._build(dtype, sparse)

    def _watch(self):
        """What tells when to stop: the loss or a score, each from its own start."""
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_, self.validation_scores_ = [], [] if self.early_stopping else None
        elif self.early_stopping == (self.best_loss_ is None):
            return
        self._stale = 0
        self.best_loss_, self.best_validation_score_ = (None, -np.inf) if self.early_stopping else (np.inf, None)

    def _build(self, dtype, sparse):
        if self.model is None:
            out = self._out_activation()
            sizes = self.n_features_in_, self.n_outputs_
            model = network.build(self, *sizes, out, dtype, self._random_state, sparse)
            self.out_activation_ = out if isinstance(out, str) else getattr(out, "__name__", repr(out))
        else:
            model = network.build_from(self.model, self.n_features_in_, self.n_outputs_, self._random_state)
            self.out_activation_ = network.last_activation(model)
            self._check_outputs()
        self.n_layers_ = 1 + len(network.dense_layers(model))
        loss, weight = network.loss_of(self, self.n_outputs_, self._binary())
        model.compile(network.optimizer_of(self), loss, loss_weights=weight)
        with contextlib.suppress(ArgumentError):  # names that stand twice, say
            if model.feature_names is None:
                model.feature_names = list(getattr(self, "feature_names_in_", ())) or None
            if model.class_names is None:
                model.class_names = self._class_names()
        self.model_, self._shape = model, self._shaping()

    def _class_names(self):
        """Names of the classes for the model's file, or None."""

    def _reshape(self):
        """A network for changed arguments with the weights of the old one."""
        before, old = dict(self.__dict__), self.model_
        weights = old.get_weights()
        self._build(old.dtype_policy, old.inputs[0].sparse)
        if [w.shape for w in weights] != [p.shape for p in self.model_.weights]:
            self.__dict__.update(before)
            raise ArgumentError(
                f"{type(self).__name__} with warm_start or partial_fit goes on with its weights, which other "
                "hidden_layer_sizes or another normalization do not fit; fit with warm_start=False"
            )
        self.model_.set_weights(weights)

    def _check_outputs(self):
        """Refuses a model whose outputs the loss cannot take."""

    def _held_out(self, count, targets):
        """(rows to train on, rows to validate on), drawn as scikit-learn draws them."""
        stratify = is_classifier(self) and self.n_outputs_ == 1
        splitter = (StratifiedShuffleSplit if stratify else ShuffleSplit)(
            test_size=self.validation_fraction, random_state=self._random_state
        )
        train, held = next(splitter.split(np.empty(count), targets[:, 0] if stratify else None))
        if len(held) < 2:
            raise ArgumentError(
                f"The validation set is too small: {len(held)} of {count} samples. Increase 'validation_fraction' or "
                "the size of your dataset."
            )
        return train, held

    def _descend(self, X, targets, weights, validation_data, incremental, context, labels, metadata):
        self._watch()
        count, rows, given, held = len(targets), None, None, None
        if validation_data is not None:
            given = held = self._validation(validation_data)
        elif self.early_stopping:
            rows, chosen = self._held_out(count, targets)
            held = X[chosen], targets[chosen], None if weights is None else weights[chosen]
            count = len(rows)
        batch = min(200, count) if self.batch_size == "auto" else self.batch_size
        if batch > count:
            warnings.warn(f"Got `batch_size` larger than the {count} samples. It is going to be clipped.", stacklevel=_CALLER)
            batch = count
        if self.model_.optimizer.full_batch:
            batch = count
        run = _Run(self, count, held, given is not None, incremental, context, X, labels, metadata)
        user = self.callbacks or ()
        user = list(user) if isinstance(user, (list, tuple)) else [user]
        draws = self.normalization is not None or self.model is not None or np.any(self.dropout)
        seed = int(self._random_state.randint(np.iinfo(np.int32).max)) if draws else 0
        history = None
        try:
            history = self.model_.fit(
                X, targets, batch_size=int(batch), epochs=1 if incremental else self.max_iter, verbose=0,
                callbacks=[run, *user], validation_data=given, validation_batch_size="full", indices=rows,
                sample_weight=weights, shuffle=run.order if self.shuffle else False, seed=seed, check_finite=False,
                max_seconds=self.max_seconds,
            )  # fmt: skip
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=_CALLER)
        finally:
            run.close()
        if history is not None and run.epochs == 0 and history.history["loss"]:
            self.loss_ = history.history["loss"][-1]  # the time was over within the first epoch
        if run.best is not None:
            self.model_.set_weights(run.best)
        if run.unfinished:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=_CALLER,
            )

    def _validation(self, given):
        if not isinstance(given, (list, tuple)) or len(given) not in (2, 3):
            raise ArgumentTypeError(
                f"validation_data needs a tuple (X, y) or (X, y, sample_weight), got {type(given).__name__}"
            )
        X, y, *weights = given
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, y_numeric=not is_classifier(self),
            dtype=np.dtype(self.model_.dtype), reset=False,
        )  # fmt: skip
        weights = None if not weights or weights[0] is None else _check_sample_weight(weights[0], X)
        return self._readable(X), self._encoded(y, fresh=False), weights

    def _minimise(self, X, targets, weights, context, labels, metadata):
        """L-BFGS by SciPy, as scikit-learn has it."""
        from scipy.optimize import minimize

        model = self.model_
        trained = [p for p in model.weights if p.trainable]
        until = None if self.max_seconds is None else time.monotonic() + self.max_seconds

        def place(flat):
            at = 0
            for p in trained:
                p.assign(flat[at : at + p.size].reshape(p.shape))
                at += p.size

        def value(flat):
            place(flat)
            loss, gradients = model.loss_and_gradients(X, targets, weights, training=False, check_finite=False)
            return loss, np.concatenate([gradients[p.name].ravel() for p in trained]).astype(np.float64)

        def after(intermediate_result):
            stop = until is not None and time.monotonic() >= until
            if context is not None and getattr(self, "_skl_callbacks", None):
                place(intermediate_result.x)
                step = context.subcontext(task_name="iteration")
                step.call_on_fit_task_begin(estimator=self, X=X, y=labels, metadata=metadata)
                stop |= step.call_on_fit_task_end(
                    estimator=self, X=X, y=labels, metadata=metadata, reconstruction_attributes=self._attributes
                )
            if self.verbose:
                print(f"Iteration, loss = {intermediate_result.fun:.8f}")
            if stop:
                raise StopIteration

        start = np.concatenate([np.asarray(p.numpy(), np.float64).ravel() for p in trained])
        result = minimize(
            value, start, method="L-BFGS-B", jac=True, callback=after,
            options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
        )  # fmt: skip
        place(result.x)
        self.n_iter_, self.loss_ = min(result.nit, self.max_iter), float(result.fun)
        if result.status == 1:
            warnings.warn(
                f"lbfgs failed to converge after {result.nit} iterations: {result.message} Increase max_iter or "
                "max_fun, or scale the data.",
                ConvergenceWarning,
                stacklevel=_CALLER,
            )

    # ---- weights ----

    @property
    def coefs_(self):
        """list of ndarray: the kernels of the Dense layers; setting it sets them."""
        return [_read_only(layer.kernel) for layer in network.dense_layers(self._fitted_model())]

    @coefs_.setter
    def coefs_(self, values):
        self._assign("kernel", values)

    @property
    def intercepts_(self):
        """list of ndarray: the biases of the Dense layers; setting it sets them."""
        found = [layer.bias for layer in network.dense_layers(self._fitted_model())]
        return [_read_only(bias) for bias in found if bias is not None]

    @intercepts_.setter
    def intercepts_(self, values):
        self._assign("bias", values)

    def _fitted_model(self):
        try:
            return self.__dict__["model_"]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no weights before fit") from None

    def _assign(self, which, values):
        found = [getattr(layer, which) for layer in network.dense_layers(self._fitted_model())]
        for parameter, value in zip(found, values, strict=True):
            parameter.assign(value)
        self._forget()

    # ---- prediction ----

    def _forward(self, X):
        """Outputs (n, n_outputs); arrays that need no conversion skip scikit-learn's validation."""
        frozen = self.__dict__.get("_frozen")
        if frozen is not None and frozen.plain is not None and type(X) is np.ndarray and X.ndim == 2:
            predict = frozen.plain
            if X.dtype == predict.dtype and X.shape[1] == self.n_features_in_ and X.shape[0] and math.isfinite(X.sum()):
                return predict(X)
        check_is_fitted(self)
        return self._outputs(self._validated(X))

    def _validated(self, X):
        return validate_data(self, X, accept_sparse="csr", dtype=np.dtype(self.model_.dtype), reset=False, order="C")

    def _outputs(self, X):
        """`_forward` of data that are validated."""
        frozen = self._snapshots()
        if frozen.outputs is None:
            frozen.outputs = self.model_.freeze()
            if not hasattr(self, "feature_names_in_"):  # whose absence in X is to be noted
                frozen.plain = frozen.outputs if isinstance(frozen.outputs, Predictor) else None
        return frozen.outputs(self._readable(X))

    def _readable(self, X):
        """Validated data as the network reads them: sparse rows where it first saw such."""
        return X.toarray() if hasattr(X, "toarray") and not self.model_.inputs[0].sparse else X

    def _snapshots(self):
        frozen = self.__dict__.get("_frozen")
        if frozen is None:
            frozen = self._frozen = _Frozen()
        return frozen

    def _forget(self):
        """What was frozen is no longer what the model is."""
        self._frozen = _Frozen()

    def transform(self, X):
        """The activations of the last hidden layer.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)

        Returns
        -------
        ndarray, shape (n, n_hidden)
        """
        check_is_fitted(self)
        X = self._readable(self._validated(X))
        if self.n_layers_ == 2 and self.model is None:
            return X.toarray() if hasattr(X, "toarray") else X
        frozen = self._snapshots()
        if frozen.hidden is None:
            frozen.hidden = network.hidden_model(self.model_).freeze()
        return frozen.hidden(X)

    @property
    def _n_features_out(self):
        if self.n_layers_ == 2 and self.model is None:
            return self.n_features_in_
        return network.hidden_model(self.model_).output_shape[1]

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_frozen"}

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @classmethod
    def from_model(cls, model, **params):
        """An estimator of any architecture.

        Parameters
        ----------
        model : Model or callable
            A model that leads from (None, n_features) to (None, n_outputs), or a function
            ``model(n_features, n_outputs)`` that makes one. A model given is copied by each `fit`, which begins
            with its weights; a function is called by each `fit`, with seeds that follow from `random_state`. A
            classifier's model ends in softmax for more than two classes, else in one sigmoid for each output.
        **params
            Arguments of the constructor. Layers, activations, penalties and dropout are the model's own.
        """
        return cls(model=model, **params)


class _Frozen:
    """Predictors of the weights as they are, made when first asked for; threads may make one twice.

    Attributes
    ----------
    outputs, hidden : Predictor or None
        Of the network, and of all of it but its last layer.
    plain : Predictor or None
        `outputs`, where arrays without column names may come as they are.
    """

    __slots__ = ("hidden", "outputs", "plain")

    def __init__(self):
        self.outputs = self.hidden = self.plain = None


class _Run:
    """What happens between the epochs of one fit: scikit-learn's rules, as a callback of fastnn."""

    def __init__(self, estimator, count, held, with_loss, incremental, context, X, labels, metadata):
        self.estimator, self.incremental = estimator, incremental
        self.at, self.held, self.with_loss = np.arange(count), held, with_loss
        self.epochs, self.best, self.bar, self.unfinished = 0, None, None, False
        self.context = context if getattr(estimator, "_skl_callbacks", None) else None
        self.told = {"estimator": estimator, "X": X, "y": labels, "metadata": metadata}
        estimator.n_iter_ = 0
        if held is not None and estimator.validation_scores_ is None:
            estimator.validation_scores_ = []
        if with_loss and not hasattr(estimator, "validation_loss_curve_"):
            estimator.validation_loss_curve_ = []
        if estimator.progress_bar:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=1 if incremental else estimator.max_iter, desc=type(estimator).__name__, unit="epoch")

    def set_model(self, model):
        self.model = model

    def order(self, epoch):
        self.at = self.at[self.estimator._random_state.permutation(len(self.at))]
        return self.at

    def on_epoch_begin(self, epoch, logs=None):
        if self.context is not None:
            self.task = self.context.subcontext(task_name="epoch")
            self.task.call_on_fit_task_begin(**self.told)

    def on_epoch_end(self, epoch, logs):
        e = self.estimator
        self.epochs += 1
        e.n_iter_ += 1
        e.t_ += len(self.at)
        e.loss_ = logs["loss"]
        e.loss_curve_.append(e.loss_)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        improved = self.look(logs)
        e._stale = 0 if improved else e._stale + 1
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{e.loss_:.4g}", refresh=False)
            self.bar.update()
        if e.solver == "sgd" and e.learning_rate == "invscaling":
            self.model.optimizer.learning_rate = e.learning_rate_init / (e.t_ + 1) ** e.power_t
        stop = e._stale > e.n_iter_no_change and self.end()
        if self.context is not None:
            stop |= bool(self.task.call_on_fit_task_end(**self.told, reconstruction_attributes=e._attributes))
        if stop:
            self.model.stop_training = True
        self.unfinished = not stop and e.n_iter_ == e.max_iter and not self.incremental

    def look(self, logs):
        """Scores what there is; returns whether it was better than before by `tol`."""
        e = self.estimator
        if self.held is not None:
            score = e._score(*self.held)
            e.validation_scores_.append(score)
            if self.with_loss:
                e.validation_loss_curve_.append(logs["val_loss"])
        if e.early_stopping:
            if e.verbose:
                print(f"Validation score: {score:f}")
            best = e.best_validation_score_
            if score > best:
                e.best_validation_score_, self.best = score, self.model.get_weights()
            return not score < best + e.tol
        best = e.best_loss_
        e.best_loss_ = min(best, e.loss_)
        return not e.loss_ > best - e.tol

    def end(self):
        """After too many epochs without a better one: whether training ends, or goes on with a smaller rate."""
        e, optimizer = self.estimator, self.model.optimizer
        what = "Validation score" if e.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
        adaptive = e.solver == "sgd" and e.learning_rate == "adaptive"
        stop = not adaptive or optimizer.learning_rate <= 1e-6
        if not stop:
            optimizer.learning_rate = optimizer.learning_rate / 5.0
            e._stale = 0
        if e.verbose:
            small = " Learning rate too small." if adaptive else ""
            print(message, f"{small} Stopping." if stop else f" Setting learning rate to {optimizer.learning_rate:f}", sep="")
        return stop

    def close(self):
        if self.bar is not None:
            self.bar.close()


def _read_only(parameter):
    """A copy that cannot be written to, as writing to it would change nothing."""
    array = np.array(parameter.numpy())
    array.flags.writeable = False
    return array


class MLPClassifier(ClassifierMixin, _MLP):
    """scikit-learn's ``MLPClassifier``, trained by fastnn, with more choices behind its arguments.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int or int, default (100,)
    activation : str or callable, or list of one for each hidden layer, default "relu"
        "identity", "logistic", "tanh", "relu", or any of `fastnn.activations`.
    solver : {"adam", "sgd", "lbfgs"}, str or Optimizer, default "adam"
        Any other name is one of `fastnn.optimizers` and takes `learning_rate_init`; an Optimizer brings its own
        rate. "lbfgs" is SciPy's.
    alpha : float, default 0.0001
        Of the penalty ``alpha / 2 * sum(w^2)`` on the kernels, divided by the sum of the sample weights of a batch.
    batch_size : int or "auto", default "auto"
        "auto" is min(200, n).
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Of the solver "sgd".
    learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose
        As in scikit-learn. The same `random_state` gives the same first weights, the same held-out samples and
        the same order of the samples as there.
    warm_start : bool, default False
        `fit` goes on from the weights, and also from the optimizer's moments and rate.
    momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon
        As in scikit-learn.
    n_iter_no_change : int or inf, default 10
    max_fun : int, default 15000
    loss : str, Loss or callable, default "log_loss"
        Or any of `fastnn.losses`.
    out_activation : str or callable, optional
        By default "softmax" for more than two classes, else "logistic". "softmax" gives two classes two outputs,
        "identity" suits losses such as "hinge", whose one output for two classes is compared with 0; that of other
        losses is compared with 1/2, and with 0 where they take logits.
    class_weight : dict or "balanced", optional
        Weights of the samples of each class, times the sample weights.
    dropout : float or list of float, default 0.0
        The rate behind each hidden layer.
    normalization : {None, "batch", "layer"}, default None
        Between each hidden layer and its activation.
    callbacks : list, optional
        Of `fastnn.callbacks`, or objects with some of their methods. Callbacks of scikit-learn 1.9 are given to
        `set_callbacks`.
    progress_bar : bool, default False
    max_seconds : float, optional
        Training ends after the first step that is over by then.
    dtype : {None, "float32", "float64", "mixed_bfloat16"}, default None
        What to compute in. By default that of X, as in scikit-learn: float32 for float32, else float64. float32 is
        about twice as fast; mixed_bfloat16, which rounds what is multiplied, faster for wide layers on CPUs with
        AVX512-BF16.
    model : Model or callable, optional
        See `from_model`; the arguments that describe layers have no effect then.

    Attributes
    ----------
    classes_ : ndarray
    model_ : Model
        The network, which can be saved, exported and trained on as any other; it knows the names of features and
        classes.
    coefs_, intercepts_ : list of ndarray
        Kernels and biases of the Dense layers; set the whole list to change them.
    loss_, best_loss_, loss_curve_
        As in scikit-learn.
    validation_scores_, best_validation_score_
        As in scikit-learn; the scores also of `validation_data`.
    validation_loss_curve_ : list of float
        The loss on `validation_data` after each epoch.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), activation="tanh", max_iter=300, tol=0, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        loss="log_loss",
        class_weight=None,
        out_activation=None,
        dropout=0.0,
        normalization=None,
        callbacks=None,
        progress_bar=False,
        max_seconds=None,
        dtype=None,
        model=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.class_weight = class_weight
        self.out_activation = out_activation
        self.dropout = dropout
        self.normalization = normalization
        self.callbacks = callbacks
        self.progress_bar = progress_bar
        self.max_seconds = max_seconds
        self.dtype = dtype
        self.model = model

    @available_if(lambda self: self._stochastic())
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """One epoch over the data, from where the last one ended.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)
        y : array_like, shape (n,), or (n, n_labels) of 0 and 1
        sample_weight : array_like, shape (n,), optional
        classes : array_like, optional
            All classes, at the first call; for labels of several columns it may be left out.

        Returns
        -------
        self
        """
        if not hasattr(self, "classes_"):
            if type_of_target(y).startswith("multilabel"):
                self.classes_, self._multilabel = np.arange(np.shape(y)[1]), True
            elif classes is None:
                raise ArgumentError("partial_fit needs all classes at its first call: partial_fit(X, y, classes=...)")
            else:
                self.classes_, self._multilabel = np.unique(classes), False
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ArgumentError(f"partial_fit: the classes are {self.classes_} since the first call, got {classes!r}")
        return self._partial_fit(X, y, sample_weight)

    def _encoded(self, y, fresh):
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            check_classification_targets(y)
            raise ArgumentError("Multioutput target data is not supported: several labels a sample are columns of 0 and 1")
        multilabel = kind == "multilabel-indicator"
        found, indices = (np.arange(y.shape[1]), None) if multilabel else np.unique(y, return_inverse=True)
        if fresh and not (self.warm_start and hasattr(self, "model_")):
            self.classes_, self._multilabel = found, multilabel
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ArgumentError(f"y must be of the kind first seen, with the classes {self.classes_}, got {kind}")
        if multilabel:
            y = y.toarray() if hasattr(y, "toarray") else y
            return np.ascontiguousarray(y, self._target_type())
        if not np.isin(found, self.classes_).all():
            raise ArgumentError(f"`y` has classes not in `self.classes_`: {found} are not all among {self.classes_}")
        indices = np.searchsorted(self.classes_, found)[indices]
        if self._binary_classes():
            return np.ascontiguousarray(indices[:, None], self._target_type())
        loss, _ = network.loss_of(self, len(self.classes_), False)
        if loss.sparse or loss.sparse is None:
            return indices.astype(np.int32)
        return np.eye(len(self.classes_), dtype=self._target_type())[indices]

    def _target_type(self):
        policy = self._policy()
        return np.dtype("float64" if policy is None else variable_dtype(policy))

    def _binary_classes(self):
        """Is there one output for two classes?"""
        return not self._multilabel and len(self.classes_) <= 2 and self.out_activation != "softmax"

    def _binary(self):
        return self._multilabel or self._binary_classes()

    def _outputs_needed(self):
        return 1 if self._binary_classes() else len(self.classes_)

    def _class_names(self):
        return None if self._multilabel else [str(name) for name in self.classes_]

    def _out_activation(self):
        given = self.out_activation
        if given is None:
            return "logistic" if self._binary() else "softmax"
        if self.loss == "log_loss" and isinstance(given, str) and given not in _PROBABILITIES:
            raise ArgumentError(
                f"MLPClassifier: loss='log_loss' needs probabilities, got out_activation={given!r}; give another loss, "
                "such as fastnn.losses.BinaryCrossentropy(from_logits=True)"
            )
        return given

    def _check_outputs(self):
        needed = "logistic" if self._binary() else "softmax"
        if self.loss == "log_loss" and self.out_activation_ != needed:
            raise ArgumentError(
                f"the model must end in {'sigmoid' if needed == 'logistic' else needed} for the classes "
                f"{self.classes_}, got {self.out_activation_}; or give another loss"
            )

    def _threshold(self):
        """Where an output's answer turns: half way between the targets 0 and 1, or -1 and 1, or of the logits."""
        if self.out_activation_ in _PROBABILITIES:
            return 0.5
        loss, _ = network.loss_of(self, len(self.classes_), True)
        signed = isinstance(loss, (losses.Hinge, losses.SquaredHinge)) or getattr(loss, "from_logits", False)
        return 0.0 if signed else 0.5

    def _score(self, X, targets, weights):
        """The accuracy on encoded targets."""
        out = self.model_.predict(X, batch_size="full", check_finite=False)
        if not np.isfinite(out).all():
            return np.nan
        if self._binary():
            right = ((out > self._threshold()) == (targets > 0.5)).all(axis=1)
        else:
            right = out.argmax(axis=1) == (targets if targets.ndim == 1 else targets.argmax(axis=1))
        return float(np.average(right, weights=weights))

    def predict(self, X):
        """The classes.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)

        Returns
        -------
        ndarray, shape (n,), or (n, n_labels) of 0 and 1
        """
        out = self._forward(X)
        if self._multilabel:
            return (out > self._threshold()).astype(int)
        if self._binary_classes():
            chosen = (out[:, 0] > self._threshold()).view(np.int8)
            return self.classes_.take(chosen, mode="clip")
        return self.classes_.take(out.argmax(axis=1))

    @available_if(lambda self: self.out_activation is None or self.out_activation in _PROBABILITIES)
    def predict_proba(self, X):
        """The probability of each class.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)

        Returns
        -------
        ndarray, shape (n, n_classes)
        """
        out = self._forward(X)
        if not self._binary_classes():
            return out
        return np.hstack([1 - out, out]) if len(self.classes_) == 2 else np.ones_like(out)

    @available_if(lambda self: self.out_activation is None or self.out_activation in _PROBABILITIES)
    def predict_log_proba(self, X):
        """The logarithm of the probability of each class.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)

        Returns
        -------
        ndarray, shape (n, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _MLP):
    """scikit-learn's ``MLPRegressor``, trained by fastnn, with quantiles, intervals and more choices.

    Parameters
    ----------
    loss : str, Loss or callable, default "squared_error"
        "squared_error" and "poisson" are scikit-learn's; "quantile" predicts the `quantile` of y given X; or any of
        `fastnn.losses`.
    hidden_layer_sizes : sequence of int or int, default (100,)
    activation : str or callable, or list of one for each hidden layer, default "relu"
        "identity", "logistic", "tanh", "relu", or any of `fastnn.activations`.
    solver : {"adam", "sgd", "lbfgs"}, str or Optimizer, default "adam"
        Any other name is one of `fastnn.optimizers` and takes `learning_rate_init`; an Optimizer brings its own
        rate. "lbfgs" is SciPy's.
    alpha : float, default 0.0001
        Of the penalty ``alpha / 2 * sum(w^2)`` on the kernels, divided by the sum of the sample weights of a batch.
    batch_size : int or "auto", default "auto"
        "auto" is min(200, n).
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Of the solver "sgd".
    learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose
        As in scikit-learn. The same `random_state` gives the same first weights, the same held-out samples and
        the same order of the samples as there.
    warm_start : bool, default False
        `fit` goes on from the weights, and also from the optimizer's moments and rate.
    momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon
        As in scikit-learn.
    n_iter_no_change : int or inf, default 10
    max_fun : int, default 15000
    quantile : float, default 0.5
        In (0, 1), for loss="quantile".
    out_activation : str or callable, optional
        By default "exp" for the loss "poisson", else "identity".
    dropout : float or list of float, default 0.0
        The rate behind each hidden layer.
    normalization : {None, "batch", "layer"}, default None
        Between each hidden layer and its activation.
    callbacks : list, optional
        Of `fastnn.callbacks`, or objects with some of their methods. Callbacks of scikit-learn 1.9 are given to
        `set_callbacks`.
    progress_bar : bool, default False
    max_seconds : float, optional
        Training ends after the first step that is over by then.
    dtype : {None, "float32", "float64", "mixed_bfloat16"}, default None
        What to compute in. By default that of X, as in scikit-learn: float32 for float32, else float64. float32 is
        about twice as fast; mixed_bfloat16, which rounds what is multiplied, faster for wide layers on CPUs with
        AVX512-BF16.
    model : Model or callable, optional
        See `from_model`; the arguments that describe layers have no effect then.

    Attributes
    ----------
    model_ : Model
        The network, which can be saved, exported and trained on as any other; it knows the names of features.
    coefs_, intercepts_ : list of ndarray
        Kernels and biases of the Dense layers; set the whole list to change them.
    loss_, best_loss_, loss_curve_
        As in scikit-learn.
    validation_scores_, best_validation_score_
        As in scikit-learn; the scores also of `validation_data`.
    validation_loss_curve_ : list of float
        The loss on `validation_data` after each epoch.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    calibration_ : ndarray, shape (n, n_outputs)
        The absolute errors that `calibrate` found, each column from the smallest on.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", solver="lbfgs", random_state=0)
    >>> bool(model.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.99)
    True
    """

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        quantile=0.5,
        out_activation=None,
        dropout=0.0,
        normalization=None,
        callbacks=None,
        progress_bar=False,
        max_seconds=None,
        dtype=None,
        model=None,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.quantile = quantile
        self.out_activation = out_activation
        self.dropout = dropout
        self.normalization = normalization
        self.callbacks = callbacks
        self.progress_bar = progress_bar
        self.max_seconds = max_seconds
        self.dtype = dtype
        self.model = model

    @available_if(lambda self: self._stochastic())
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over the data, from where the last one ended.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)
        y : array_like, shape (n,) or (n, n_outputs)
        sample_weight : array_like, shape (n,), optional

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def _encoded(self, y, fresh):
        y = y[:, None] if y.ndim == 1 else y
        if fresh or not hasattr(self, "_width"):
            self._width = y.shape[1]
        elif y.shape[1] != self._width:
            raise ArgumentError(f"y must have {self._width} columns as before, got {y.shape[1]}")
        if self.loss == "poisson" and (y < 0).any():
            raise DataError("loss='poisson' needs y >= 0", tensor="y", row=int(np.argwhere(y < 0)[0, 0]))
        return np.ascontiguousarray(y, np.float32 if y.dtype == np.float32 else np.float64)

    def _binary(self):
        return False

    def _outputs_needed(self):
        return self._width

    def _out_activation(self):
        if self.out_activation is not None:
            return self.out_activation
        return "exp" if self.loss == "poisson" else "identity"

    def _score(self, X, targets, weights):
        """R^2."""
        out = self.model_.predict(X, batch_size="full", check_finite=False)
        return r2_score(targets, out, sample_weight=weights) if np.isfinite(out).all() else np.nan

    def predict(self, X):
        """The outputs.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)

        Returns
        -------
        ndarray, shape (n,) or (n, n_outputs)
        """
        out = self._forward(X)
        return out[:, 0] if out.shape[1] == 1 else out

    def calibrate(self, X, y):
        """Learn from samples of their own, never trained on, how far predictions are off; see `predict_interval`.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)
        y : array_like, shape (n,) or (n, n_outputs)

        Returns
        -------
        self
        """
        check_is_fitted(self)
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, y_numeric=True, dtype=np.dtype(self.model_.dtype),
            reset=False,
        )  # fmt: skip
        y = self._encoded(y, fresh=False)
        self.calibration_ = np.sort(np.abs(y - self._outputs(X)), axis=0)
        return self

    def predict_interval(self, X, coverage=0.9):
        """Intervals that hold the true value with at least this probability, whatever the network has learned.

        Split conformal prediction (Lei et al., JASA 113, 2018): with n calibration samples the interval is the
        prediction plus and minus the k-th smallest of their absolute errors, k = ceil((n + 1) coverage). If they
        and the new sample are exchangeable, it holds the true value with a probability of at least `coverage`, and
        of k / (n + 1) where errors have no ties.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)
        coverage : float, default 0.9
            In (0, 1); for each output by itself.

        Returns
        -------
        lower, upper : ndarray, shape (n,) or (n, n_outputs)

        Raises
        ------
        NotFittedError
            Without `calibrate` after the last `fit`.
        ArgumentError
            If there are too few calibration samples for this coverage.
        """
        check_is_fitted(self, "calibration_", msg="predict_interval needs calibrate(X, y) on data of its own first")
        coverage = check_float("predict_interval", "coverage", coverage, low=0, high=1, exclusive=("low", "high"))
        n = len(self.calibration_)
        k = math.ceil((n + 1) * coverage - 1e-9)
        if k > n:
            raise ArgumentError(
                f"a coverage of {coverage:g} needs at least {math.ceil(coverage / (1 - coverage) - 1e-9)} calibration "
                f"samples, got {n}"
            )
        out = self._forward(X)
        width = self.calibration_[k - 1]
        lower, upper = out - width, out + width
        return (lower[:, 0], upper[:, 0]) if out.shape[1] == 1 else (lower, upper)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
