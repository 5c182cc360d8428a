"""L-BFGS and Levenberg-Marquardt: minima known in closed form, the same bits for any threads and after a resume, refusals."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, errors, layers, losses, optimizers, regularizers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = X @ RNG.normal(size=(4, 2)) + 0.3 * RNG.normal(size=(90, 2)) + [1.0, -2.0]
CURVE = np.sin(2 * X[:, :1]) + 0.5 * X[:, 1:2] ** 2


def linear(optimizer, dtype="float64", loss="mse", units=2, regularizer=None):
    fnn.set_seed(3)
    model = fnn.Sequential([fnn.Input((4,)), layers.Dense(units, kernel_regularizer=regularizer)], dtype=dtype)
    model.compile(optimizer, loss)
    return model


def curved(optimizer, dtype="float64", **settings):
    fnn.set_seed(5)
    model = fnn.Sequential(
        [fnn.Input((4,)), layers.Dense(8, activation="tanh"), layers.Dense(6, activation="sigmoid"), layers.Dense(1)], dtype=dtype
    )
    model.compile(optimizer, **{"loss": "mse", **settings})
    return model


def least_squares(weights=None, decay=0.0):
    """Kernel and bias that minimise the weighted mean squared error plus decay * sum(kernel^2)."""
    a = np.hstack([X, np.ones((90, 1))])
    w = np.ones(90) if weights is None else weights
    left = a.T @ (w[:, None] * a) / (90 * 2) + decay * np.diag([1.0] * 4 + [0.0])
    return np.linalg.solve(left, a.T @ (w[:, None] * Y) / (90 * 2))


ALL = [optimizers.LBFGS, optimizers.LevenbergMarquardt]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_least_squares(make, decay, weighted):
    weights = RNG.uniform(0.2, 2, 90) if weighted else None
    model = linear(make(tolerance_grad=1e-10, tolerance_change=0.0), regularizer=regularizers.L2(decay) if decay else None)
    history = model.fit(X, Y, epochs=200, sample_weight=weights, verbose=0)
    kernel, bias = model.get_weights()
    assert np.allclose(np.vstack([kernel, bias]), least_squares(weights, decay), atol=1e-8)
    assert len(history.epoch) < 60 and model.optimizer.converged
    assert history.history["loss"] == sorted(history.history["loss"], reverse=True)


def test_one_gauss_newton_step_solves_a_linear_problem():
    model = linear(optimizers.LevenbergMarquardt(damping=1e-12))
    model.fit(X, Y, epochs=1, verbose=0)
    assert np.allclose(np.vstack(model.get_weights()), least_squares(), atol=1e-9)


def test_lbfgs_minimises_a_crossentropy():
    """Newton's method on the same logistic regression, by hand."""
    y = (Y[:, :1] + 0.8 * RNG.normal(size=(90, 1)) > 1).astype(float)
    model = linear(optimizers.LBFGS(tolerance_change=0.0, tolerance_grad=1e-10), loss=losses.BinaryCrossentropy(from_logits=True), units=1)
    model.fit(X, y, epochs=300, verbose=0)
    a, w = np.hstack([X, np.ones((90, 1))]), np.zeros((5, 1))
    for _ in range(30):
        p = 1 / (1 + np.exp(-a @ w))
        w -= np.linalg.solve(a.T @ (p * (1 - p) * a), a.T @ (p - y))
    assert np.allclose(np.vstack(model.get_weights()), w, atol=1e-7)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_curved_fit_gets_far(make, dtype):
    """From a mean square of 1.1 to a thousandth, which takes Adam thousands of epochs."""
    model = curved(make(), dtype, metrics=["mae"])
    history = model.fit(X, CURVE, epochs=200, verbose=0, validation_split=0.1)
    loss = history.history["loss"]
    assert loss[-1] < 1.5e-3 and loss[0] > 0.3 and all(b <= a for a, b in zip(loss, loss[1:]))
    assert set(history.history) == {"loss", "mae", "val_loss", "val_mae"}


def test_levenberg_marquardt_takes_the_step_of_its_normal_equations():
    """The Jacobian by central differences of `predict`."""
    optimizer = optimizers.LevenbergMarquardt(damping=0.5)
    model = curved(optimizer)
    start, e = model.get_weights(), 1e-6
    flat = np.concatenate([w.ravel() for w in start])

    def predict(x):
        at, shaped = 0, []
        for w in start:
            shaped.append(x[at : at + w.size].reshape(w.shape))
            at += w.size
        model.set_weights(shaped)
        return model.predict(X)[:, 0]

    jacobian = np.stack([(predict(flat + e * u) - predict(flat - e * u)) / (2 * e) for u in np.eye(len(flat))], axis=1)
    square = jacobian.T @ jacobian
    step = np.linalg.solve(square + 0.5 * square.diagonal().mean() * np.eye(len(flat)), -jacobian.T @ (predict(flat) - CURVE[:, 0]))
    predict(flat)
    model.fit(X, CURVE, epochs=1, verbose=0)
    moved = np.concatenate([w.ravel() for w in model.get_weights()]) - flat
    assert np.allclose(moved, step, atol=1e-6 * np.abs(step).max())


@pytest.mark.parametrize("make", ALL)
def test_the_same_bits_for_any_number_of_threads(make):
    before = fnn.get_num_threads()
    found = []
    big = RNG.normal(size=(3000, 4))
    try:
        for threads in (1, 2):
            fnn.set_num_threads(threads)
            model = curved(make())
            model.fit(big, np.sin(big[:, :1]), epochs=4, verbose=0)
            found.append(model.get_weights())
    finally:
        fnn.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*found))


@pytest.mark.parametrize("make", ALL)
def test_a_resumed_run_ends_with_the_same_bits(make, tmp_path):
    class Crash(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 9:
                raise RuntimeError("crash")

    whole = curved(make(tolerance_change=0.0))
    expected = whole.fit(X, CURVE, epochs=20, seed=1, verbose=0)
    path = tmp_path / "run.ckpt"
    with pytest.raises(RuntimeError, match="crash"):
        curved(make(tolerance_change=0.0)).fit(
            X, CURVE, epochs=20, seed=1, verbose=0, callbacks=[Crash(), callbacks.Checkpoint(path, every_epochs=4)]
        )
    model = curved(make(tolerance_change=0.0))
    history = model.fit(X, CURVE, epochs=20, seed=1, verbose=0, resume=path)
    assert history.history == expected.history
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), model.get_weights()))


def test_weights_set_between_two_fits_are_where_it_goes_on():
    model = linear(optimizers.LBFGS())
    model.fit(X, Y, epochs=3, verbose=0)
    model.set_weights([np.zeros((4, 2)), np.zeros(2)])
    history = model.fit(X, Y, epochs=1, verbose=0)
    assert np.isclose(history.history["loss"][0], (Y**2).mean())


def test_files_keep_the_optimizer(tmp_path):
    model = curved(optimizers.LBFGS(history_size=4))
    model.fit(X, CURVE, epochs=2, verbose=0)
    model.save(tmp_path / "m.fnn")
    loaded = fnn.load(tmp_path / "m.fnn")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.fit(X, CURVE, epochs=1, verbose=0).history["loss"][0] < 1


@pytest.mark.parametrize("make", ALL)
def test_a_loss_that_is_not_finite_changes_nothing(make):
    model = curved(make())
    model.set_weights([np.full_like(w, 1e200) for w in model.get_weights()])
    with pytest.raises(errors.NonFiniteLossError):
        model.fit(X, CURVE, epochs=2, verbose=0)
    assert all((w == 1e200).all() for w in model.get_weights())


@pytest.mark.parametrize("make", ALL)
def test_refusals(make):
    model = curved(make())
    for call, kind, text in [
        (lambda: model.fit(X, CURVE, batch_size=10, verbose=0), errors.ArgumentError, "needs all 90 samples"),
        (lambda: model.fit(iter([(X, CURVE)]), steps_per_epoch=1, verbose=0), errors.ArgumentError, "pass arrays"),
        (lambda: model.train_on_batch(X, CURVE), errors.ArgumentError, "use fit"),
        (lambda: model.optimizer.apply({}), errors.ArgumentError, "use fit"),
        (lambda: model.fit(np.where(X == X.max(), np.nan, X), CURVE, verbose=0), errors.DataError, "finite numbers"),
        (lambda: make(tolerance_grad=-1), errors.ArgumentError, "tolerance_grad"),
    ]:
        with pytest.raises(kind, match=text):
            call()
    noisy = fnn.Sequential([fnn.Input((4,)), layers.Dropout(0.5), layers.Dense(1)])
    noisy.compile(make(), "mse")
    with pytest.raises(errors.ArgumentError, match="stays the same"):
        noisy.fit(X, CURVE, verbose=0)


def test_what_levenberg_marquardt_cannot_solve():
    with pytest.raises(errors.ArgumentError, match="mean_squared_error.*LBFGS"):
        curved(optimizers.LevenbergMarquardt(), loss="mae").fit(X, CURVE, verbose=0)
    with pytest.raises(errors.ArgumentError, match="at most 20, got"):
        curved(optimizers.LevenbergMarquardt(max_parameters=20)).fit(X, CURVE, verbose=0)
    with pytest.raises(errors.ArgumentError, match="must be L2"):
        linear(optimizers.LevenbergMarquardt(), regularizer="l1").fit(X, Y, verbose=0)
    x, shared = fnn.Input((4,)), layers.Dense(4)
    model = fnn.Model(x, layers.Dense(2)(shared(shared(x))))
    model.compile(optimizers.LevenbergMarquardt(), "mse")
    with pytest.raises(errors.ArgumentError, match="used once"):
        model.fit(X, Y, verbose=0)
