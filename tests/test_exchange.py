"""Steps that stop between backward pass and update, where sessions add up their sums over rows."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import layers, ops, optimizers
from fastnn.errors import ArgumentError, DataError, NonFiniteLossError

N, ROWS = 101, 16  # the last batch has 5 samples
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 20)).astype("float32"), RNG.integers(0, 5, N)
WEIGHTS = RNG.uniform(0.5, 2, N)


class Scale(layers.Layer):
    def build(self, shape):
        self.g = self.add_weight(shape=shape[-1:], initializer="ones", name="g")

    def call(self, x):
        return x * ops.exp(self.g)


def plain(dtype):
    return fnn.Sequential(
        [
            fnn.Input((20,)),
            layers.Dense(37, "relu", kernel_regularizer="l2"),
            layers.Dropout(0.3),
            layers.Dense(64, "tanh"),
            layers.Dense(5, "softmax"),
        ],
        dtype=dtype,
    )


def odd(dtype):
    """Layers used twice, norms, a layer and a penalty of one's own, noise."""
    x, twice = fnn.Input((20,)), layers.Dense(20, "silu")
    h = layers.LayerNormalization()(twice(Scale()(twice(x))))
    h = layers.GaussianNoise(0.1)(layers.PReLU()(h))
    own = layers.Dense(9, kernel_regularizer=lambda w: 0.01 * ops.sum(ops.abs(w)))
    return fnn.Model(x, layers.Dense(5, "softmax")(layers.Concatenate()([own(h), x])), dtype=dtype)


def steps(make, optimizer, dtype, parts, shuffle=1):
    """The weights and results of one epoch, and those of an ordinary session; all copies of the weights agree."""
    models = []
    for _ in range(parts + 1):
        fnn.set_seed(1)
        models.append(make(dtype))
        metrics, weighted = ["accuracy"], [fnn.metrics.SparseTopKCategoricalAccuracy(2)]
        models[-1].compile(
            optimizer(), "sparse_categorical_crossentropy", metrics=metrics, weighted_metrics=weighted
        )
    sessions = []
    for k, model in enumerate(models):
        session = model._engine().engine.session("train", ROWS, guard=True, exchange=k > 0)
        for tensor, array in model._bind_batch(X, Y, WEIGHTS)[0].items():
            session.bind(tensor, array)
        if k > 0:
            session.share(k - 1, parts)
        session.begin(N, ROWS, shuffle, True, 7, 0, 0)
        sessions.append(session)
    rates = np.geomspace(1e-3, 1e-2, 7)
    reference, *shares = sessions
    assert reference.run(-1, -1.0, rates) == (7, True)
    buffers = [np.frombuffer(s.exchange(), models[0].dtype) for s in shares]
    done = 0
    for s in shares:
        assert s.run(-1, -1.0, rates) == (0, False)
    while shares[0].pending:
        total = sum(b.copy() for b in buffers)
        for b in buffers:
            b[:] = total
        [(made, finished)] = {s.run(-1, -1.0, rates[done:]) for s in shares}
        done += made
    assert (done, finished) == (7, True)
    for s in sessions:
        s.check()
    mine = models[1].get_weights()
    for other in models[2:]:
        assert all(np.array_equal(a, b) for a, b in zip(mine, other.get_weights()))
    sums = np.sum([s.results() for s in shares], axis=0)
    return mine, models[0].get_weights(), sums, np.array(reference.results())


OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(),
    "sgd": lambda: optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=0.01),
    "clipnorm": lambda: optimizers.RMSprop(global_clipnorm=0.1),
    "clipvalue": lambda: optimizers.Nadam(clipvalue=0.01),
}


@pytest.mark.parametrize("make", [plain, odd])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
def test_one_share_gives_the_bits_of_a_step_without_an_exchange(make, optimizer, dtype):
    mine, reference, sums, all_sums = steps(make, OPTIMIZERS[optimizer], dtype, 1)
    assert all(np.array_equal(a, b) for a, b in zip(mine, reference))
    assert np.array_equal(sums, all_sums)


@pytest.mark.parametrize("parts", [2, 3, 7, 20])  # of 7 some get no row of the last batch, of 20 of any
@pytest.mark.parametrize("shuffle", [0, 1, 32])
@pytest.mark.parametrize("make", [plain, odd])
def test_shares_give_the_weights_of_whole_batches(make, parts, shuffle):
    mine, reference, sums, all_sums = steps(make, OPTIMIZERS["sgd"], "float64", parts, shuffle)
    for a, b in zip(mine, reference):
        assert np.abs(a - b).max() <= 1e-12 * np.abs(b).max()
    assert np.allclose(sums, all_sums, rtol=1e-12, atol=0)


@pytest.mark.parametrize("parts", [2, 4])
def test_shares_in_float32_differ_by_rounding(parts):
    mine, reference, _, _ = steps(plain, OPTIMIZERS["sgd"], "float32", parts)
    for a, b in zip(mine, reference):
        assert np.abs(a - b).max() <= 1e-6 * np.abs(b).max()


def test_a_table_of_embeddings_is_exchanged():
    ids = RNG.integers(0, 50, (N, 3)).astype("int32")
    found = []
    for parts in (0, 2):
        models, sessions = [], []
        for k in range(max(parts, 1)):
            fnn.set_seed(1)
            table = layers.Embedding(50, 8)
            model = fnn.Sequential([fnn.Input((3,), dtype="int32"), table, layers.Flatten(), layers.Dense(5, "softmax")])
            model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
            session = model._engine().engine.session("train", ROWS, exchange=parts > 0)
            for tensor, array in model._bind_batch(ids, Y, None)[0].items():
                session.bind(tensor, array)
            session.share(k, max(parts, 1))
            session.begin(N, ROWS)
            session.run(-1, -1.0, 0.1)
            models.append(model)
            sessions.append(session)
        while sessions[0].pending:
            buffers = [np.frombuffer(s.exchange(), "float32") for s in sessions]
            total = sum(b.copy() for b in buffers)
            for s, b in zip(sessions, buffers):
                b[:] = total
                s.run(-1, -1.0, 0.1)
        found.append(models[0].get_weights())
    for a, b in zip(*found):
        assert np.abs(a - b).max() <= 1e-6 * np.abs(b).max()


def session_of(model, x=X):
    session = model._engine().engine.session("train", ROWS, exchange=True)
    for tensor, array in model._bind_batch(x, Y, None)[0].items():
        session.bind(tensor, array)
    session.begin(N, ROWS)
    return session


def compiled():
    model = plain("float32")
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


def test_nothing_changes_before_the_exchange():
    model = compiled()
    before, session = model.get_weights(), session_of(model)
    session.run(-1, -1.0, 0.1)
    assert session.pending
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    assert model._runtime.engine.iterations == 0
    assert session.run(1, -1.0, 0.1) == (1, False)
    assert not session.pending
    assert model._runtime.engine.iterations == 1
    session.begin(N, ROWS)  # a step that waits is given up
    session.run(1, -1.0, 0.1)
    session.begin(N, ROWS)
    assert not session.pending


def test_a_loss_that_is_not_finite_anywhere_ends_all():
    model = compiled()
    session = session_of(model)
    session.run(-1, -1.0, 0.1)
    notes = np.frombuffer(session.exchange(), "float32")[-3:]
    assert notes.tolist() == [0, 0, 0]
    notes[0] = 1  # as another says
    before = model.get_weights()
    with pytest.raises(NonFiniteLossError) as info:
        session.run(-1, -1.0, 0.1)
    assert info.value.step == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    model.set_weights([np.full_like(w, 1e38) for w in before])
    session.begin(N, ROWS, check_finite=False)
    session.run(-1, -1.0, 0.1)
    assert notes[0] == 1


def test_bad_data_are_found_before_the_exchange():
    bad = X.copy()
    bad[3, 2] = np.nan
    session = session_of(compiled(), bad)
    with pytest.raises(DataError):
        session.run(-1, -1.0, 0.1)
    assert not session.pending


@pytest.mark.parametrize(
    "layer, op",
    [(layers.BatchNormalization(name="norm"), "batch_moments"), (layers.MixUp(0.2, name="mix"), "mix")],
)
def test_what_needs_a_whole_batch_is_named(layer, op):
    model = fnn.Sequential([fnn.Input((20,)), layers.Dense(5), layer, layers.Dense(5, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ArgumentError, match=f"'(norm|mix).*', made by {op}, needs all rows of a batch"):
        model._engine().engine.session("train", ROWS, exchange=True)


def test_a_loss_of_the_whole_batch_is_named():
    model = fnn.Sequential([fnn.Input((20,)), layers.Dense(1)])
    model.compile("sgd", lambda y, p: ops.square(ops.mean(y - p)))
    with pytest.raises(ArgumentError, match="made by mean_rows, needs all rows of a batch"):
        model._engine().engine.session("train", ROWS, exchange=True)


def test_wrong_shares_are_refused():
    session = session_of(compiled())
    for part, parts in ((-1, 2), (2, 2), (0, 0)):
        with pytest.raises(ArgumentError, match="of each batch"):
            session.share(part, parts)
    ordinary = compiled()._engine().engine.session("train", ROWS)
    with pytest.raises(ArgumentError, match="FNN_EXCHANGE"):
        ordinary.share(0, 2)
    with pytest.raises(ArgumentError, match="exchange=True"):
        memoryview(ordinary.exchange())
