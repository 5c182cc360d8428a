"""The multilayer perceptrons of fastnn.sklearn beside scikit-learn's, and what goes beyond those."""

import importlib.util
import inspect
import pickle
import threading

import numpy as np
import pytest
import sklearn
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn as fnn
from fastnn.errors import ArgumentError, ArgumentTypeError, DataError, DtypeError, NonFiniteLossError, UnknownNameError
from fastnn.sklearn import MLPClassifier, MLPRegressor, search_many

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
at_least_1_7 = pytest.mark.skipif(
    "sample_weight" not in inspect.signature(sklearn.neural_network.MLPClassifier.fit).parameters,
    reason="scikit-learn's MLP takes sample weights from 1.7 on",
)
SMALL = {"max_iter": 8, "random_state": 3, "hidden_layer_sizes": (12,)}


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:230] / 16, y[:230]


def both(cls, x, y, w=None, **arguments):
    """(fastnn's, scikit-learn's), fitted."""
    given = {} if w is None else {"sample_weight": w}
    arguments = SMALL | arguments
    ours = getattr(fnn.sklearn, cls)(**arguments).fit(x, y, **given)
    return ours, getattr(sklearn.neural_network, cls)(**arguments).fit(x, y, **given)


def check_same(ours, theirs, x, tolerance=1e-9):
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)
        assert a.dtype == b.dtype
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=tolerance)
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=tolerance)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=tolerance)


@pytest.mark.parametrize("cls", ["MLPClassifier", "MLPRegressor"])
def test_the_constructor_begins_with_that_of_scikit_learn(cls):
    theirs = inspect.signature(getattr(sklearn.neural_network, cls).__init__).parameters
    ours = inspect.signature(getattr(fnn.sklearn, cls).__init__).parameters
    both = list(ours.values())[: len(theirs)]
    if "loss" in theirs or cls == "MLPClassifier":  # MLPRegressor's loss came with 1.7
        assert both == list(theirs.values())
    assert all(p.kind is p.KEYWORD_ONLY for p in list(ours.values())[len(theirs) :])


@pytest.mark.parametrize(
    "arguments",
    [
        {"shuffle": False},
        {},  # the same order of the samples too
        {"early_stopping": True, "max_iter": 30, "n_iter_no_change": 3},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "activation": "tanh"},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.3, "max_iter": 40, "tol": 1e-2,
         "n_iter_no_change": 2, "activation": "logistic", "hidden_layer_sizes": (9, 7)},
        {"solver": "sgd", "nesterovs_momentum": False, "batch_size": 64, "activation": "identity"},
        {"solver": "lbfgs", "activation": "tanh", "alpha": 0.1},
    ],
)  # fmt: skip
def test_classifier_is_that_of_scikit_learn(arguments, digits):
    x, y = digits
    for labels in (y, y > 4):
        check_same(*both("MLPClassifier", x, labels, **arguments), x)


@at_least_1_7
@pytest.mark.parametrize("arguments", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_sample_weights_are_those_of_scikit_learn(arguments, digits, rng):
    x, y = digits
    w = rng.uniform(0.1, 3, len(y))
    check_same(*both("MLPClassifier", x, y, w, alpha=0.1, **arguments), x)
    check_same(*both("MLPRegressor", x, np.sin(y), w, alpha=0.1, **arguments), x)


def test_several_labels_are_those_of_scikit_learn(digits, rng):
    x, y = digits
    labels = (rng.random((len(y), 4)) < 0.4).astype(int)
    ours, theirs = both("MLPClassifier", x, labels)
    check_same(ours, theirs, x)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-9)


def test_regressor_is_that_of_scikit_learn(digits):
    x, y = digits
    y = np.sin(y) + x[:, 20]
    for target in (y, np.stack([y, y**2, y + 1], axis=1)):
        check_same(*both("MLPRegressor", x, target, alpha=0.1), x)
    check_same(*both("MLPRegressor", x, y, early_stopping=True), x)


@at_least_1_7
def test_poisson_is_that_of_scikit_learn(digits, rng):
    x, _ = digits
    check_same(*both("MLPRegressor", x, rng.poisson(np.exp(x[:, 20])), loss="poisson"), x)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_warning_points_to_the_line_of_the_user(solver, digits):
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="Maximum iterations|lbfgs failed") as caught:
        MLPClassifier(max_iter=2, solver=solver).fit(*digits)
    assert [w.filename for w in caught] == [__file__]


def test_float32_stays_float32(digits):
    x, y = digits
    ours, theirs = both("MLPClassifier", x.astype(np.float32), y)
    check_same(ours, theirs, x.astype(np.float32), 2e-5)
    assert ours.predict_proba(x).dtype == np.float32
    for dtype in ("float32", np.float32):
        assert MLPClassifier(dtype=dtype, **SMALL).fit(x, y).coefs_[0].dtype == np.float32


def test_products_of_bfloat16(digits):
    x, y = digits
    arguments = {"hidden_layer_sizes": (40,), "max_iter": 60, "random_state": 0}
    for data in (x, x.astype(np.float32)):
        model = clone(MLPClassifier(dtype="mixed_bfloat16", **arguments)).fit(data, y)
        assert model.model_.dtype_policy == "mixed_bfloat16" and model.coefs_[0].dtype == np.float32
        exact = MLPClassifier(dtype="float32", **arguments).fit(data, y)
        difference = np.abs(model.predict_proba(x) - exact.predict_proba(x)).max()
        assert 0 < difference < 0.05 and model.score(x, y) == exact.score(x, y)
        model.set_params(warm_start=True, alpha=0.1).fit(data, y)
        assert model.model_.dtype_policy == "mixed_bfloat16"
    regressor = MLPRegressor(dtype="mixed_bfloat16", **arguments).fit(x, y)
    assert regressor.predict(x).dtype == np.float32 and regressor.score(x, y) > 0.2


def test_partial_fit_keeps_the_state_of_the_optimizer(digits):
    x, y = digits
    ours, theirs = (m.MLPClassifier(**SMALL) for m in (fnn.sklearn, sklearn.neural_network))
    for _ in range(3):
        ours.partial_fit(x, y, classes=range(10)), theirs.partial_fit(x, y, classes=range(10))
        check_same(ours, theirs, x)
    continued = pickle.loads(pickle.dumps(ours)).partial_fit(x, y)
    ours.partial_fit(x, y)
    np.testing.assert_array_equal(continued.coefs_[0], ours.coefs_[0])


def test_warm_start_keeps_the_state_of_the_optimizer(digits):
    x, y = digits
    arguments = {"random_state": 0, "shuffle": False, "tol": 0.0, "hidden_layer_sizes": (12,)}
    whole = MLPClassifier(max_iter=8, **arguments).fit(x, y)
    halves = MLPClassifier(max_iter=4, warm_start=True, **arguments).fit(x, y).fit(x, y)
    np.testing.assert_array_equal(halves.coefs_[0], whole.coefs_[0])
    assert halves.loss_curve_ == whole.loss_curve_
    halves.set_params(alpha=1.0).fit(x, y)  # another network, with the weights of the old one
    assert halves.loss_curve_[8] > halves.loss_curve_[7]


def test_warm_start_after_other_arguments(digits):
    x, y = digits
    model = MLPClassifier(warm_start=True, **SMALL).fit(x, y)
    before = model.predict_proba(x)
    for wrong in ({"hidden_layer_sizes": (13,)}, {"hidden_layer_sizes": (12, 12)}, {"normalization": "batch"}):
        with pytest.raises(ArgumentError, match="hidden_layer_sizes or another normalization do not fit"):
            model.set_params(**wrong).fit(x, y)
        model.set_params(hidden_layer_sizes=[12], normalization=None)
        np.testing.assert_array_equal(model.predict_proba(x), before)
        assert model.n_layers_ == 3
    for given in ({"early_stopping": True}, {"early_stopping": False}, {"solver": "lbfgs"}, {"solver": "adam"}):
        model.set_params(**given).fit(x, y)
        assert (model.best_loss_ is None) == model.early_stopping
    assert model.loss_ < -np.log(before[np.arange(len(y)), y]).mean() and len(model.loss_curve_) == 32
    first = MLPClassifier(warm_start=True, solver="lbfgs", **SMALL).fit(x, y)
    assert len(first.set_params(solver="adam").fit(x, y).loss_curve_) == 8


def test_several_labels_by_partial_fit(digits, rng):
    x, y = digits
    labels = np.stack([y % 2, y > 4], axis=1).astype(int)
    model = MLPClassifier(learning_rate_init=0.01, random_state=0)
    for _ in range(60):
        model.partial_fit(x, labels)
    assert model.score(x, labels) > 0.9


@pytest.mark.parametrize(
    "arguments",
    [
        {"activation": ["gelu", fnn.ops.sin], "hidden_layer_sizes": (30, 20)},
        {"loss": "categorical_focal_crossentropy"},
        {"loss": "categorical_hinge", "out_activation": "identity"},
        {"solver": "adamw"},
        {"solver": fnn.optimizers.Lion(1e-3)},
        {"dropout": 0.2, "normalization": "batch"},
        {"dropout": [0.1, 0.3], "normalization": "layer", "hidden_layer_sizes": (40, 20)},
        {"out_activation": "softmax"},
    ],
)
def test_what_scikit_learn_has_not(arguments, digits):
    x, y = digits
    model = clone(MLPClassifier(**{"hidden_layer_sizes": (40,), "max_iter": 60, "random_state": 0} | arguments))
    assert model.fit(x, y).score(x, y) > 0.9
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(x), model.predict(x))
    np.testing.assert_array_equal(clone(model).fit(x, y).predict(x), model.predict(x))
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)


@pytest.mark.parametrize(
    "loss, out_activation",
    [("hinge", "identity"), ("squared_hinge", "tanh"), ("mean_squared_error", "identity"), ("huber", "linear"),
     (fnn.losses.BinaryCrossentropy(from_logits=True), "identity"), ("mean_squared_error", None), ("hinge", None)],
)  # fmt: skip
def test_two_classes_by_one_output(loss, out_activation, digits):
    x, y = digits
    arguments = {"loss": loss, "out_activation": out_activation, "max_iter": 60, "random_state": 0, "learning_rate_init": 0.01}
    assert MLPClassifier(**arguments).fit(x, y > 4).score(x, y > 4) > 0.95
    stopped = MLPClassifier(early_stopping=True, validation_fraction=0.3, **arguments).fit(x, y > 4)
    assert stopped.best_validation_score_ > 0.85
    labels = np.stack([y > 4, y % 2 == 1], axis=1).astype(int)
    assert MLPClassifier(**arguments).fit(x, labels).score(x, labels) > 0.9


def test_class_weight_is_a_weight_of_the_samples(digits):
    x, y = digits
    chosen = MLPClassifier(class_weight={0: 3.0}, **SMALL).fit(x, y > 4)
    given = MLPClassifier(**SMALL).fit(x, y > 4, sample_weight=np.where(y > 4, 1.0, 3.0))
    np.testing.assert_array_equal(chosen.coefs_[0], given.coefs_[0])
    with pytest.raises(ArgumentError, match="class_weight as a dict"):
        MLPClassifier(class_weight="balanced").partial_fit(x, y, classes=range(10))


def test_own_validation_data(digits):
    x, y = digits
    model = MLPClassifier(**SMALL).fit(x[:150], y[:150], validation_data=(x[150:], y[150:]))
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == 8
    assert model.validation_scores_[-1] == model.score(x[150:], y[150:])
    p = model.predict_proba(x[150:])[np.arange(80), y[150:]]
    penalty = 0.5e-4 * sum(np.square(w).sum() for w in model.coefs_) / 80
    np.testing.assert_allclose(model.validation_loss_curve_[-1], penalty - np.log(p).mean())
    stopped = MLPClassifier(max_iter=300, early_stopping=True, n_iter_no_change=3, random_state=0)
    stopped.fit(x[:150], y[:150], validation_data=(x[150:], y[150:]))
    assert stopped.best_validation_score_ == stopped.score(x[150:], y[150:]) and stopped.n_iter_ < 300


def test_callbacks_of_fastnn_and_a_time_limit(digits):
    x, y = digits
    seen = []
    stop = fnn.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
    model = MLPClassifier(callbacks=[stop, fnn.callbacks.EarlyStopping("loss", min_delta=10.0, patience=2)], **SMALL)
    model.fit(x, y)
    assert len(seen) == 8 > 3 or model.n_iter_ == 3
    assert MLPClassifier(callbacks=[stop], **SMALL).fit(x, y).loss_curve_ == seen[-8:]
    quick = MLPClassifier(max_iter=10**6, tol=0, n_iter_no_change=np.inf, max_seconds=0.1).fit(x, y)
    assert 0 < quick.n_iter_ < 10**6


def test_callbacks_of_scikit_learn(digits):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    x, y = digits

    class Third:
        begun = ended = 0

        def setup(self, estimator, context):
            self.subtasks = context.max_subtasks

        def teardown(self, estimator, context):
            self.torn = True

        def on_fit_task_begin(self, estimator, context):
            self.begun += 1

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            self.ended += 1
            self.scores = [fitted_estimator.score(x, y), estimator.model_.predict(x).argmax(1)]
            return self.ended == 3

    third, monitor = Third(), callback.ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(**SMALL).set_callbacks(third, monitor).fit(x, y)
    assert (model.n_iter_, third.subtasks, third.torn, third.begun, third.ended) == (3, 8, True, 4, 4)
    assert third.scores[0] == model.score(x, y) == (third.scores[1] == y).mean()
    assert monitor.get_logs().data[-1]["accuracy"] == model.score(x, y)
    lbfgs = MLPClassifier(solver="lbfgs", **SMALL).set_callbacks(Third()).fit(x, y)
    assert lbfgs.n_iter_ == 3


def test_transform_gives_the_last_hidden_activations(digits):
    pandas = pytest.importorskip("pandas")
    x, y = digits
    ours, theirs = both("MLPClassifier", x, y, activation="tanh")
    np.testing.assert_allclose(ours.transform(x), np.tanh(x @ theirs.coefs_[0] + theirs.intercepts_[0]), atol=1e-9)
    frame = ours.set_output(transform="pandas").transform(x)
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == list(ours.get_feature_names_out())
    assert frame.columns[0] == "mlpclassifier0" and frame.shape[1] == 12
    named = MLPClassifier(**SMALL).fit(pandas.DataFrame(x).add_prefix("pixel"), y)
    assert named.feature_names_in_[3] == "pixel3"
    with pytest.warns(UserWarning, match="feature names"):
        named.predict(x)


def test_a_saved_network_knows_the_names(digits, tmp_path):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("narwhals")
    x, y = digits
    frame, names = pandas.DataFrame(x).add_prefix("pixel"), np.array([f"class {i}" for i in range(10)])
    for labels, classes in ((y, [str(i) for i in range(10)]), (names[y], list(names)), (y > 4, ["False", "True"])):
        model = MLPClassifier(**SMALL).fit(frame, labels)
        model.model_.save(tmp_path / "m.fnn")
        loaded = fnn.load(tmp_path / "m.fnn")
        assert loaded.class_names == classes and loaded.feature_names == list(frame)
        np.testing.assert_array_equal(loaded.predict(frame[frame.columns[::-1]]), loaded.predict(x))
        model.set_params(warm_start=True).fit(frame, labels).partial_fit(frame, labels)
    if importlib.util.find_spec("sklearn.callback") is None:  # scikit-learn 1.9 refuses them itself
        twice = frame.rename(columns={"pixel1": "pixel0"})
        assert MLPRegressor(**SMALL).fit(twice, y).model_.feature_names is None
    several = MLPClassifier(**SMALL).fit(x, np.eye(10, dtype=int)[y])
    assert several.model_.class_names is several.model_.feature_names is None


def test_quantiles_are_found(rng):
    x = rng.uniform(-1, 1, (3000, 1))
    y = x[:, 0] + rng.exponential(size=3000)
    for q in (0.1, 0.8):
        model = MLPRegressor("quantile", (8,), quantile=q, max_iter=60, learning_rate_init=0.01, random_state=0).fit(x, y)
        assert abs((y < model.predict(x)).mean() - q) < 0.03
        assert np.abs(model.predict(x) - x[:, 0] + np.log(1 - q)).mean() < 0.15  # the quantile of the exponential


def test_intervals_cover_as_often_as_theory_says(rng):
    """Given the calibration set, coverage is Beta(k, n + 1 - k); its mean is k / (n + 1)."""
    def draw(n):
        x = rng.normal(size=(n, 2))
        return x, np.sin(x[:, 0]) + np.exp(x[:, 1] / 2) * rng.normal(size=n)

    model = MLPRegressor(hidden_layer_sizes=(8,), max_iter=10, random_state=0).fit(*draw(300))
    n, coverage, rounds = 39, 0.8, 300
    k = 32
    seen = []
    for _ in range(rounds):
        model.calibrate(*draw(n))
        x, y = draw(400)
        lower, upper = model.predict_interval(x, coverage)
        seen.append(((lower <= y) & (y <= upper)).mean())
    mean = k / (n + 1)
    spread = np.sqrt(mean * (1 - mean) / (n + 2) + mean * (1 - mean) / 400)
    assert abs(np.mean(seen) - mean) < 4 * spread / np.sqrt(rounds)
    assert 0.8 * spread < np.std(seen) < 1.25 * spread
    with pytest.raises(ArgumentError, match="needs at least 99 calibration samples, got 39"):
        model.predict_interval(x, 0.99)
    with pytest.raises(sklearn.exceptions.NotFittedError, match="calibrate"):
        model.fit(x, y).predict_interval(x)


def residual(n_features, n_outputs):
    x = fnn.Input((n_features,))
    h = fnn.layers.Dense(16, "tanh")(x)
    h = fnn.layers.Add()([h, fnn.layers.Dense(16, "tanh")(h)])
    return fnn.Model(x, fnn.layers.Dense(n_outputs, "softmax")(h))


def test_any_architecture(digits):
    x, y = digits
    model = clone(MLPClassifier.from_model(residual, max_iter=30, learning_rate_init=0.01, random_state=0)).fit(x, y)
    assert model.score(x, y) > 0.9 and len(model.coefs_) == 3 and model.transform(x).shape == (230, 16)
    again = clone(model).fit(x, y)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(x), model.predict(x))
    fine = MLPClassifier.from_model(model.model_, max_iter=1).fit(x, y)  # from where the other one ended
    assert fine.score(x, y) > 0.9 and fine.model_ is not model.model_
    with pytest.raises(ArgumentError, match=r"must lead from \(None, 64\) to \(None, 1\)"):
        clone(model).set_params(model=model.model_).fit(x, y > 4)
    with pytest.raises(ArgumentError, match="must end in sigmoid"):
        MLPClassifier.from_model(residual).fit(x, y > 4)
    with pytest.raises(ArgumentTypeError, match="a function of"):
        MLPClassifier.from_model(lambda a, b: None).fit(x, y)


def test_weights_are_set_as_a_whole(digits):
    x, y = digits
    model = MLPClassifier(**SMALL).fit(x, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0, 0] = 1.0
    model.predict(x)
    model.coefs_ = [np.zeros_like(w) for w in model.coefs_]
    model.intercepts_ = [np.zeros(12), np.eye(10)[7]]
    assert (model.predict(x) == 7).all()


def test_predict_is_the_same_from_many_threads(digits):
    x, y = digits
    model = MLPClassifier(hidden_layer_sizes=(64, 64), max_iter=3, random_state=0).fit(x, y)
    copy = pickle.loads(pickle.dumps(model))  # nothing is frozen yet
    expected, found, begin = model.predict_proba(x), [], threading.Barrier(8)

    def work(i):
        begin.wait()
        for _ in range(50):
            found.append(np.array_equal(copy.predict_proba(x), expected))
            found.append(np.array_equal(copy.predict(x[i : i + 1]), model.predict(x[i : i + 1])))

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 800 and all(found)


def test_one_row_is_checked_as_many_are(digits):
    x, y = digits
    model = MLPClassifier(**SMALL).fit(x, y)
    for wrong in (np.nan, np.inf):
        row = x[:1].copy()
        model.predict(row)
        row[0, 5] = wrong
        with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
            model.predict(row)
    for bad, message in ((x[0], "Expected 2D array"), (x[:1, :9], "9 features"), (x[:0], "minimum of 1")):
        with pytest.raises(ValueError, match=message):
            model.predict(bad)
    assert np.array_equal(model.predict(x[:1].tolist()), model.predict(np.asfortranarray(x)[:1]))


def test_searches_and_pipelines(digits):
    x, y = digits
    grid = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(8,), (6, 5)]}
    estimator = MLPClassifier(max_iter=5, random_state=0)
    theirs = GridSearchCV(estimator, grid, cv=KFold(3)).fit(x, y).cv_results_
    ours = search_many(estimator, grid, x, y, cv=KFold(3))
    assert list(ours) == list(theirs) and ours["params"] == theirs["params"]
    for name in theirs:
        if name.endswith("_score"):
            np.testing.assert_array_equal(ours[name], theirs[name])
    with pytest.raises(ArgumentError, match=r"candidate 1, fold \d: .*alpha must be"):
        search_many(estimator, {"alpha": [0.0, -1.0]}, x, y, cv=2)
    with pytest.raises(ArgumentTypeError, match="got Pipeline"):
        search_many(make_pipeline(StandardScaler(), estimator), grid, x, y)
    piped = make_pipeline(StandardScaler(), estimator).fit(x, y)
    assert piped[-1].n_iter_ == 5


def test_sample_weights_are_routed(digits):
    x, y = digits
    w = np.where(y > 4, 2.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = MLPClassifier(**SMALL).set_fit_request(sample_weight=True)
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), estimator).fit(x, y, sample_weight=w)
    direct = MLPClassifier(**SMALL).fit(StandardScaler().fit_transform(x), y, sample_weight=w)
    np.testing.assert_array_equal(routed[-1].coefs_[0], direct.coefs_[0])


@pytest.mark.parametrize("arguments", [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"hidden_layer_sizes": ()}])
def test_sparse_data_are_multiplied_as_sparse_and_give_what_dense_data_give(arguments, digits):
    sparse = pytest.importorskip("scipy.sparse")
    x, y = digits
    csr = sparse.csr_array(x)
    dense = MLPClassifier(**SMALL | arguments).fit(x, y)
    other = MLPClassifier(**SMALL | arguments).fit(csr, y)
    assert other.model_.inputs[0].sparse
    other = pickle.loads(pickle.dumps(other))
    np.testing.assert_allclose(other.coefs_[0], dense.coefs_[0], atol=1e-9)
    for data in (x, csr, sparse.csc_matrix(x)):
        for model in (dense, other):
            np.testing.assert_allclose(model.predict_proba(data), dense.predict_proba(x), atol=1e-9)
            np.testing.assert_allclose(model.transform(data), dense.transform(x), atol=1e-9)
    if "solver" not in arguments and "early_stopping" not in arguments:
        for model, data in ((other, x), (dense, csr)):
            model.partial_fit(data, y)
        np.testing.assert_allclose(other.coefs_[0], dense.coefs_[0], atol=1e-9)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"hidden_layer_sizes": (5, 0)}, ArgumentError, "hidden_layer_sizes must be integers > 0"),
        ({"activation": "rellu"}, UnknownNameError, "did you mean"),
        ({"activation": ["relu", "tanh"]}, ArgumentError, "one value for each of 1 hidden layers"),
        ({"solver": "adma"}, UnknownNameError, "did you mean 'adam'"),
        ({"learning_rate": "constnt"}, UnknownNameError, "did you mean 'constant'"),
        ({"loss": "log_los"}, UnknownNameError, "Unknown loss"),
        ({"out_activation": "identity"}, ArgumentError, "needs probabilities, got out_activation='identity'"),
        ({"alpha": -1}, ArgumentError, "alpha must be in"),
        ({"max_iter": 0}, ArgumentError, "max_iter must be at least 1"),
        ({"batch_size": "all"}, ArgumentTypeError, "batch_size must be an integer"),
        ({"shuffle": 1}, ArgumentTypeError, "shuffle must be True or False"),
        ({"dropout": 1.0}, ArgumentError, r"dropout must be in \[0, 1\)"),
        ({"normalization": "group"}, ArgumentError, "normalization must be None, 'batch' or 'layer'"),
        ({"dtype": "float16"}, DtypeError, "dtype must be 'float32'"),
        ({"max_seconds": 0}, ArgumentError, "max_seconds must be in"),
        ({"solver": "lbfgs", "dropout": 0.5}, ArgumentError, "solver='lbfgs' minimises one function"),
        ({"early_stopping": True, "validation_fraction": 0.001}, ValueError, "valid"),
        ({"solver": "sgd", "learning_rate_init": 1e200, "activation": "identity"}, NonFiniteLossError, "learning rate"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, error, message, digits):
    x, y = digits
    with pytest.raises(error, match=message):
        MLPClassifier(**SMALL | arguments).fit(x, np.asarray(y, float) % 3)


def test_data_that_cannot_be_used(digits):
    x, y = digits
    for kwargs, message in (
        ({"validation_data": x}, "a tuple"),
        ({"validation_data": (x, y + 100)}, "classes not in"),
    ):
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            MLPClassifier(**SMALL).fit(x, y, **kwargs)
    with pytest.raises(DataError, match="y >= 0"):
        MLPRegressor("poisson", **SMALL).fit(x, y - 1)
    with pytest.raises(ArgumentError, match="at its first call"):
        MLPClassifier().partial_fit(x, y)
    with pytest.raises(AttributeError):
        MLPClassifier(solver="lbfgs").partial_fit
    with pytest.raises(ArgumentError, match="early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(x, y, classes=range(10))
