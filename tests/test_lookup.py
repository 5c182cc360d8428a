"""StringLookup and IntegerLookup: positions as Keras gives them, in models, from arrays of every kind, in files."""

import copy
import json
import pickle

import numpy as np
import pytest
from golden.store import HERE
from test_io import resealed

import fastnn as fnn
from fastnn import io, layers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    DtypeError,
    FastNNError,
    FileFormatError,
    GraphError,
    NotFittedError,
    ShapeError,
    UnknownNameError,
    UnsupportedError,
)

GOLDEN = json.loads((HERE / "lookups.json").read_text(encoding="utf-8"))
CITIES = ["Bern", "Oslo", "Rome", "Bern", "Bern", "Oslo"]
AGES = [31, 54, 8, 47, 31, 31]


def made_of(case):
    """The layer of a case, adapted."""
    layer = getattr(layers, case["layer"])(**case["config"])
    if case["data"] is not None:
        layer.adapt(np.array(case["data"]))
    return layer


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['layer']} {case['config']}")
def test_vocabulary_and_positions_are_those_of_keras(case):
    layer = made_of(case)
    twin = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    for one in (layer, twin):
        assert one.get_vocabulary() == case["vocabulary"]
        assert one.vocabulary_size() == len(case["vocabulary"])
        made = one(np.array(case["asked"]))
        np.testing.assert_array_equal(made, case["made"])
    assert layer(case["asked"]).tolist() == case["made"]
    if layer.invert:
        return
    asked = np.array(case["asked"])
    x = fnn.Input(asked.shape[1:], dtype=layer.input_dtype, name="x")
    model = fnn.Model(x, layer(x))
    np.testing.assert_array_equal(model.predict(asked), case["made"])
    np.testing.assert_array_equal(model.freeze()(asked), case["made"])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(asked), case["made"])


@pytest.mark.parametrize("oov", ["[UNK]", None])
def test_a_vocabulary_may_hold_the_token_for_unknown_values(oov):
    layer = layers.StringLookup(vocabulary=["[UNK]", "[UNK]", "a"] if oov else ["[UNK]", "a"], oov_token=oov)
    twin = layers.StringLookup.from_config(layer.get_config())
    for one in (layer, twin):
        assert one.get_vocabulary() == [oov, "[UNK]", "a"]
        assert one(["a", "[UNK]", "b"]).tolist() == [2, 1, 0]


def network(**settings):
    """A model of a city and an age, its lookups adapted."""
    city, age = fnn.Input((1,), dtype="string", name="city"), fnn.Input((1,), dtype="int64", name="age")
    cities, ages = layers.StringLookup(name="cities", **settings), layers.IntegerLookup(name="ages", output_mode="one_hot")
    cities.adapt(CITIES)
    ages.adapt(AGES)
    vectors = layers.Embedding(cities.vocabulary_size() + 1, 3, name="vectors")
    h = layers.Concatenate()([layers.Flatten()(vectors(cities(city))), ages(age)])
    model = fnn.Model([city, age], layers.Dense(1, name="out")(h))
    model.compile(fnn.optimizers.Adam(0.05), "mse")
    return model


def target():
    return np.array([c == "Bern" for c in CITIES]) + np.array(AGES) / 50


def test_a_model_of_lookups_learns(tmp_path):
    fnn.set_seed(1)
    model = network()
    y = target()
    assert model.fit({"city": CITIES, "age": AGES}, y, epochs=200, verbose=0).history["loss"][-1] < 1e-3
    want = model.predict([CITIES, AGES])
    np.testing.assert_allclose(want[:, 0], y, atol=0.1)
    assert model.evaluate([CITIES, AGES], y) == model.test_on_batch([CITIES, AGES], y)
    np.testing.assert_array_equal(model([CITIES, AGES]), want)
    assert set(model.gradients([CITIES, AGES], y)) == set(model.parameters)
    model.train_on_batch([CITIES, AGES], y)
    want = model.predict([CITIES, AGES])
    model.save(tmp_path / "m.fnn")
    predict_one = model.freeze()
    predict_one.save(tmp_path / "p.fnn")
    for twin in (fnn.load(tmp_path / "m.fnn"), copy.deepcopy(model), predict_one, fnn.load(tmp_path / "p.fnn")):
        run = getattr(twin, "predict", twin)
        np.testing.assert_array_equal(run([CITIES, AGES]), want)
    np.testing.assert_array_equal(predict_one({"city": ["Rome"], "age": [8]}), want[2])
    again = fnn.load(tmp_path / "m.fnn")
    assert again.fit([CITIES, AGES], y, seed=0, verbose=0).history == model.fit([CITIES, AGES], y, seed=0, verbose=0).history
    again.get_layer("cities").adapt([*CITIES, "Paris"])  # as before it was saved
    fresh = fnn.Model.from_config(json.loads(json.dumps(model.get_config())))
    assert fresh.get_layer("cities").get_vocabulary() == ["[UNK]", "Bern", "Oslo", "Rome"]


def test_a_predictor_keeps_the_vocabulary_that_it_was_frozen_with():
    model = network()
    predict, want = model.freeze(), model.predict([CITIES, AGES])
    model.get_layer("cities").adapt(["Rome", "Rome", "Bern"])
    np.testing.assert_array_equal(predict([CITIES, AGES]), want)
    assert not np.array_equal(model.predict([CITIES, AGES]), want)


def kinds():
    yield "lists", CITIES, AGES
    yield "rows", [[c] for c in CITIES], [[a] for a in AGES]
    yield "U", np.array(CITIES), np.array(AGES)
    yield "object", np.array(CITIES, object)[:, None], np.array(AGES, object)
    yield "floats", np.array(CITIES), np.array(AGES, np.float32)
    if hasattr(np.dtypes, "StringDType"):
        yield "StringDType", np.array(CITIES, np.dtypes.StringDType()), np.array(AGES, np.int16)


@pytest.mark.parametrize("kind, cities, ages", list(kinds()), ids=lambda v: v if isinstance(v, str) else "")
def test_text_and_integers_of_every_kind(kind, cities, ages):
    model = network()
    want = model.predict({"city": CITIES, "age": AGES})
    np.testing.assert_array_equal(model.predict({"city": cities, "age": ages}), want)
    np.testing.assert_array_equal(model.freeze()([cities, ages]), want)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library):
    pytest.importorskip("narwhals")
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"age": AGES, "more": AGES, "city": CITIES})
    model, y = network(), target()
    want = model.predict([CITIES, AGES])
    for x in (frame, {"city": frame["city"], "age": frame["age"]}):
        np.testing.assert_array_equal(model.predict(x), want)
        np.testing.assert_array_equal(model.freeze()(x), want)
    if library == "pandas":
        np.testing.assert_array_equal(model.predict(frame.astype({"city": "category", "age": "Int64"})), want)
    model.fit(frame, y, validation_data=(frame, y), verbose=0)
    lookup = layers.StringLookup()
    lookup.adapt(frame["city"])
    assert lookup.get_vocabulary() == ["[UNK]", "Bern", "Oslo", "Rome"]
    x = fnn.Input((2,), dtype="string")
    several = fnn.Model(x, lookup(x))
    pair = frames.DataFrame({"from": ["Bern", "Oslo"], "to": ["Rome", None]})
    assert several.predict(pair).tolist() == several.freeze()(pair).tolist() == [[1, 3], [2, 0]]


def test_arrays_whose_fields_have_names():
    rows = np.array(list(zip(CITIES, AGES)), [("city", "U9"), ("age", "i4")])
    model = network()
    want = model.predict([CITIES, AGES])
    for run in (model.predict, model.freeze()):
        np.testing.assert_array_equal(run(rows), want)
    model.fit(rows, target(), verbose=0)
    plain = fnn.Sequential([layers.Dense(1)])
    plain.compile("sgd", "mse")
    numbers = np.array([(1.0, 2.0), (3.0, 4.0)], [("a", "f4"), ("b", "f8")])
    plain.fit(numbers, [1.0, 2.0], verbose=0)
    assert plain.feature_names == ["a", "b"]
    np.testing.assert_array_equal(plain.predict(numbers[["b", "a"]]), plain.predict([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize("none", [None, np.nan])
def test_missing_values_are_masked_or_unknown(none):
    for cls, value in ((layers.StringLookup, "a"), (layers.IntegerLookup, 5)):
        mask = "" if value == "a" else 0
        data = np.array([value, none, mask, value], object)
        unknown, masked, hot = cls(), cls(mask_token=mask), cls(mask_token=mask, output_mode="one_hot")
        for layer in (unknown, masked, hot):
            layer.adapt(data)
        assert unknown.get_vocabulary(False) == [value, mask] and masked.get_vocabulary(False) == [value]
        assert unknown(data).tolist() == [1, 0, 2, 1]
        assert masked(data).tolist() == [2, 0, 0, 2]
        assert hot(data).tolist() == [[0, 1], [0, 0], [0, 0], [0, 1]]
        x = fnn.Input((1,), dtype=hot.input_dtype)
        assert fnn.Model(x, hot(x)).predict(data).tolist() == hot(data).tolist()
        with pytest.raises(DataError, match="holds .* in row 1, which is none of the 1 tokens"):
            cls(num_oov_indices=0, vocabulary=[value])(data)
        several = cls(num_oov_indices=5, vocabulary=[value])
        assert several(data)[0] == 5 and 0 <= several(data)[1] < 5


def test_masked_arrays_have_missing_values():
    text, codes = np.ma.array(["a", "b", "a"], mask=[0, 1, 0]), np.ma.array([5, 7, 5], mask=[0, 1, 0])
    for cls, data in ((layers.StringLookup, text), (layers.IntegerLookup, codes)):
        lookup = cls()
        lookup.adapt(data)
        assert lookup.get_vocabulary(False) == [data[0]] and lookup(data).tolist() == [1, 0, 1]


def test_batches_of_an_iterable_and_of_adapt():
    model, y = network(), target()
    batches = [({"city": CITIES[i : i + 2], "age": AGES[i : i + 2]}, y[i : i + 2]) for i in (0, 2, 4)]

    class Sequence:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return batches[i]

    model.fit(Sequence(), epochs=2, verbose=0)
    np.testing.assert_array_equal(model.predict(Sequence()), model.predict([CITIES, AGES]))
    lookup = layers.StringLookup()
    lookup.adapt(iter([["b", "a"], np.array([["b"], ["c"]])]))
    assert lookup.get_vocabulary() == ["[UNK]", "b", "c", "a"]
    lookup.adapt((["x"] for _ in iter(int, 1)), steps=2)
    assert lookup.get_vocabulary() == ["[UNK]", "x"]


def test_a_sequential_begins_with_a_lookup(tmp_path):
    fnn.set_seed(0)
    model = fnn.Sequential([layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot"), layers.Dense(1)])
    model.compile("sgd", "mse")
    words = [["a", "b"], ["b", "b"], ["c", "a"]]
    model.fit(words, [1, 2, 3], verbose=0)
    assert model.input_shape == (None, 2) and model.inputs[0].dtype == "string"
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(fnn.load(tmp_path / "m").predict(words), model.predict(words))
    outer = fnn.Sequential([model, layers.Dense(1)])
    assert outer.predict(words).shape == (3, 1)


def test_fit_many_reads_text():
    models = [network(), network()]
    histories = fnn.fit_many(models, {"city": CITIES, "age": AGES}, target(), [[0, 1, 2], [3, 4, 5]], verbose=0)
    assert len(histories) == 2
    words = fnn.Sequential([layers.StringLookup(vocabulary=["Bern"], output_mode="one_hot"), layers.Dense(1)])
    words.compile("sgd", "mse")
    fnn.fit_many([words], np.array(CITIES), target(), verbose=0)


def test_a_run_goes_on_with_its_own_vocabulary_alone(tmp_path):
    def fit(model, epochs):
        keep = [fnn.callbacks.Checkpoint(tmp_path / "run")]
        return model.fit([CITIES, AGES], target(), epochs=epochs, seed=1, callbacks=keep, resume=tmp_path / "run", verbose=0)

    fnn.set_seed(0)
    whole = network()
    other, start = network(), whole.get_weights()
    for model in (whole, other):
        model.set_weights(start)
    whole.fit([CITIES, AGES], target(), epochs=4, seed=1, verbose=0)
    fit(other, 2)
    again = network()
    fit(again, 4)
    for a, b in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again.get_layer("cities").adapt(["Oslo", "Oslo", "Bern", "Rome"])
    with pytest.raises(ArgumentError, match="vocabulary of input 'city'"):
        fit(again, 6)


# ---- wrong arguments ----


def string(**settings):
    return layers.StringLookup(name="s", **settings)


def integer(**settings):
    return layers.IntegerLookup(name="i", **settings)


VOCABULARY = ["a", "b"]
WRONG = [
    (lambda: string(max_tokens=1), ArgumentError, "max_tokens must be at least 2, got 1"),
    (lambda: string(max_tokens="many"), ArgumentTypeError, "max_tokens must be an integer"),
    (lambda: string(num_oov_indices=-1), ArgumentError, "num_oov_indices must be at least 0"),
    (lambda: string(num_oov_indices=1 << 40), ArgumentError, "num_oov_indices must be at most"),
    (lambda: string(mask_token=3), ArgumentTypeError, "mask_token must be text, got 3"),
    (lambda: string(oov_token=3), ArgumentTypeError, "oov_token must be text, got 3"),
    (lambda: integer(mask_token="a"), ArgumentTypeError, "mask_token must be an integer"),
    (lambda: integer(oov_token=1 << 63), ArgumentError, "oov_token must be of 64 bits"),
    (lambda: string(vocabulary="words.txt"), ArgumentTypeError, r"list of tokens.*splitlines\(\)"),
    (lambda: string(vocabulary=3), ArgumentTypeError, "vocabulary must be a list of tokens"),
    (lambda: string(vocabulary=["a", 3]), ArgumentTypeError, "vocabulary must be text, got 3"),
    (lambda: string(vocabulary=["a", None]), ArgumentTypeError, "vocabulary must be text, got None"),
    (lambda: string(vocabulary=[]), ArgumentError, "vocabulary must hold a token"),
    (lambda: string(vocabulary=["[UNK]"]), ArgumentError, "vocabulary must hold a token"),
    (lambda: string(vocabulary=["a", "b", "a"]), ArgumentError, "distinct values, got 1 twice"),
    (lambda: string(vocabulary=["a", ""], mask_token=""), ArgumentError, "the mask_token '' stands in the vocabulary at 1"),
    (lambda: string(vocabulary=["a", "?"], oov_token="?", invert=True), ArgumentError, "the oov_token '.' stands"),
    (lambda: string(vocabulary=VOCABULARY, max_tokens=2), ArgumentError, "max_tokens=2 must hold the vocabulary of 3"),
    (lambda: integer(vocabulary=[1.5]), ArgumentTypeError, "vocabulary must be an integer"),
    (lambda: integer(vocabulary=["1"]), ArgumentTypeError, "vocabulary must be an integer"),
    (lambda: string(output_mode="tf_idf"), ArgumentError, "output_mode must be one of .*, got 'tf_idf'"),
    (lambda: string(output_mode=["int"]), ArgumentError, "output_mode must be one of"),
    (lambda: string(output_mode="one_hot", invert=True), ArgumentError, "invert goes with output_mode='int'"),
    (lambda: string(pad_to_max_tokens=True), ArgumentError, "pad_to_max_tokens needs max_tokens"),
    (lambda: string(sparse=True), ArgumentError, "sparse is not supported"),
    (lambda: string(idf_weights=[1.0]), ArgumentError, "idf_weights is not supported"),
    (lambda: string(encoding="latin-1"), ArgumentError, "encoding must be 'utf-8'"),
    (lambda: integer(vocabulary_dtype="int32"), ArgumentError, "vocabulary_dtype must be 'int64'"),
    (lambda: integer(oov_method="farmhash"), ArgumentError, "oov_method must be 'floormod'"),
    (lambda: string(maxtokens=3), UnknownNameError, "max_tokens"),
    (lambda: string(vocabulary=VOCABULARY).adapt(["a"]), ArgumentError, "was given a vocabulary, so it does not adapt"),
    (lambda: string().adapt([]), ArgumentError, "adapt needs at least one token"),
    (lambda: string().adapt([None, None]), ArgumentError, "adapt needs at least one token"),
    (lambda: string().adapt(["a", 3]), DtypeError, "values of one kind, got 3 of type int beside text in row 1"),
    (lambda: string().adapt([["a"], ["b", "c"]]), FastNNError, "list"),
    (lambda: string().adapt([1, 2]), DtypeError, "needs text for StringLookup 's', got number"),
    (lambda: string().adapt([b"a"]), DtypeError, "bytes"),
    (lambda: string().adapt(np.array([b"a"])), DtypeError, "decode the bytes"),
    (lambda: string().adapt("a"), ShapeError, "got the single value 'a'; put it in a list"),
    (lambda: string().adapt({"a": ["b"]}), ArgumentTypeError, "needs one column, got dict"),
    (lambda: string().adapt(["a"], steps=0), ArgumentError, "steps must be at least 1"),
    (lambda: integer().adapt(["a"]), DtypeError, "needs integers for IntegerLookup 'i', got text"),
    (lambda: integer().adapt([1.0, 2.5]), DtypeError, "needs integers for IntegerLookup 'i', got 2.5 in row 1"),
    (lambda: integer().adapt([1.0, np.inf]), DataError, "inf in row 1"),
    (lambda: string()(["a"]), NotFittedError, "needs a vocabulary to look values up; call adapt"),
    (lambda: string(invert=True)([1]), NotFittedError, "needs a vocabulary"),
    (lambda: string(invert=True, vocabulary=VOCABULARY)([0.5]), DtypeError, "inverts integers"),
    (lambda: string(invert=True, vocabulary=VOCABULARY, oov_token=None)([0]), ArgumentError, "needs an oov_token"),
    (lambda: string(vocabulary=VOCABULARY)(np.array(["2020-01-01"], "M8[D]")), DtypeError, "needs text .*, got datetime64"),
    (lambda: string(vocabulary=VOCABULARY, num_oov_indices=0)([["a"], ["z"]]), DataError, "holds 'z' in row 1, which is none"),
    (lambda: string()(fnn.Input((1,))), DtypeError, r"reads Input\(..., dtype='string'\), got .* of float32"),
    (lambda: integer()(fnn.Input((1,), dtype="string")), DtypeError, r"reads Input\(..., dtype='int32'\), got .* of string"),
    (lambda: integer()(fnn.Input((1,))), DtypeError, r"reads Input\(..., dtype='int32'\), got .* of float32"),
    (lambda: string(output_mode="one_hot")(fnn.Input((1,), dtype="string")), NotFittedError, "before it is called"),
    (lambda: string(invert=True, vocabulary=VOCABULARY)(fnn.Input((1,), dtype="int32")), GraphError, "no model can go on with"),
    (lambda: layers.Dense(1)(fnn.Input((1,), dtype="string")), DtypeError, "got the text of .*; put a StringLookup between"),
    (lambda: fnn.Input((1,), dtype="string") + 1, DtypeError, "put a StringLookup between"),
    (lambda: fnn.Input((1,), dtype="string", sparse=True), ArgumentError, "a sparse input has rows of real numbers"),
    (lambda: string(vocabulary=VOCABULARY)(string_input(), string_input()), GraphError, "takes one tensor"),
]  # fmt: skip


def string_input():
    return fnn.Input((1,), dtype="string")


@pytest.mark.parametrize("call, error, message", WRONG)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_input_has_one_lookup():
    x = fnn.Input((1,), dtype="int64", name="x")
    lookup = integer(vocabulary=[1])
    for other in (layers.Embedding(3, 2), layers.Rescaling(1), layers.IntegerLookup(vocabulary=[2], output_mode="one_hot")):
        h = [layers.Flatten()(layers.Embedding(3, 2)(lookup(x))), layers.Flatten()(other(x))]
        with pytest.raises(GraphError, match="'x' is read by the layers .*one lookup or none; give each an Input"):
            fnn.Model(x, layers.Concatenate()(h))
    twice = layers.Concatenate()([layers.Flatten()(layers.Embedding(3, 2)(lookup(x))) for _ in range(2)])
    assert fnn.Model(x, twice).predict([1, 5]).shape == (2, 4)


def test_a_lookup_reads_an_input_and_nothing_else():
    text, codes = fnn.Input((1,), dtype="string"), fnn.Input((1,), dtype="int64")
    with pytest.raises(GraphError, match="reads an Input of the model, .*, got the output of 's'"):
        integer(vocabulary=[1])(string(vocabulary=VOCABULARY)(text))
    with pytest.raises(DtypeError, match="text"):
        fnn.Model(text, text)
    inner = fnn.Model(codes, layers.Embedding(3, 2)(integer(vocabulary=[1])(codes)))

    class Own(layers.Layer):
        def __init__(self, part):
            super().__init__()
            self.part = part

        def call(self, x):
            return self.part(x)

    for part in (integer(vocabulary=[1], output_mode="one_hot"), inner):
        with pytest.raises(GraphError, match="got a tensor within another layer"):
            Own(part)(fnn.Input((1,), dtype="int64"))
    with pytest.raises(GraphError, match="reads an Input of the model"):
        inner(string(vocabulary=VOCABULARY)(fnn.Input((1,), dtype="string")))
    outer = fnn.Input((1,), dtype="int64")
    assert fnn.Model(outer, layers.Flatten()(inner(outer))).predict([1, 7]).shape == (2, 2)
    with pytest.raises(DtypeError, match="text, which have no derivative|holds text"):
        fnn.explain.saliency(network(), [CITIES, AGES])


def test_rows_of_a_model_keep_their_size():
    lookup = string(output_mode="one_hot")
    lookup.adapt(VOCABULARY)
    x = fnn.Input((1,), dtype="string")
    model = fnn.Model(x, layers.Dense(1)(lookup(x)))
    lookup.adapt(["c", "d"])
    assert model.predict(["c"]).shape == (1, 1)
    with pytest.raises(ArgumentError, match="makes rows of 3 numbers .* for 4; adapt it before it is called"):
        lookup.adapt(["a", "b", "c"])
    assert lookup.get_vocabulary(False) == ["d", "c"]
    late = string()
    embedded = fnn.Sequential([fnn.Input((1,), dtype="string"), late, layers.Embedding(2, 1), layers.Flatten()])
    with pytest.raises(NotFittedError, match="'s' needs a vocabulary"):
        embedded.predict(["a"])
    late.adapt(["a", "b"])
    with pytest.raises(DataError, match="integers from 0 to 1, got 2 in row 0"):
        embedded.predict(["a"])


@pytest.mark.parametrize(
    "x, error, message",
    [
        ([[1, 2], AGES[:2]], DtypeError, "input 'city' .*needs text"),
        ([["Bern", 2], AGES[:2]], DtypeError, "got 2 of type int beside text in row 1"),
        ([["Bern"], ["x"]], DtypeError, "input 'age' .*needs integers"),
        ([["Bern", "Oslo"], [1]], ShapeError, "as many samples"),
        ([[["Bern", "Oslo"]], [1]], ShapeError, r"needs shape \(None, 1\), got \(1, 2\)"),
        ([[], []], ShapeError, "at least one sample"),
        ({"city": "Bern", "age": [1]}, ShapeError, "single value 'Bern'"),
        ({"city": ["Bern"]}, ArgumentError, "missing: \\['age'\\]"),
    ],
)
def test_wrong_data(x, error, message):
    model = network()
    before = model.get_weights()
    for run in (model.predict, model.freeze(), lambda x: model.fit(x, [1.0], verbose=0)):
        with pytest.raises(error, match=message.replace("input 'age' .*", "").replace("input 'city' .*", "")):
            run(x)
    assert all(map(np.array_equal, before, model.get_weights()))


# ---- files ----

HOSTILE = {
    "twice": ('"vocabulary":["Bern","Oslo","Rome"]', '"vocabulary":["Bern","Bern","Rome"]'),
    "numbers": ('"vocabulary":["Bern","Oslo","Rome"]', '"vocabulary":["Bern",1,"Rome"]'),
    "nested": ('"vocabulary":["Bern","Oslo","Rome"]', '"vocabulary":[["Bern"],"Rome"]'),
    "a path": ('"vocabulary":["Bern","Oslo","Rome"]', '"vocabulary":"/etc/passwd"'),
    "a dict": ('"vocabulary":["Bern","Oslo","Rome"]', '"vocabulary":{"Bern":1}'),
    "none of a row": ('"vocabulary":[31,54,47,8]', '"vocabulary":null'),
    "others of a row": ('"vocabulary":[31,54,47,8]', '"vocabulary":[31]'),
    "text of integers": ('"vocabulary":[31,54,47,8]', '"vocabulary":["31","54","47","8"]'),
    "floats of integers": ('"vocabulary":[31,54,47,8]', '"vocabulary":[31,8.5,54]'),
    "huge integers": ('"vocabulary":[31,54,47,8]', '"vocabulary":[31,54,47,1' + "0" * 400 + "]"),
    "a huge row": (
        '"invert":false,"output_mode":"one_hot","pad_to_max_tokens":false',
        '"invert":false,"output_mode":"one_hot","pad_to_max_tokens":true',
    ),
    "many unknown": ('"num_oov_indices":1', '"num_oov_indices":1' + "0" * 12),
    "unknown mode": ('"output_mode":"int"', '"output_mode":{}'),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("frozen", [False, True])
def test_hostile_files(what, frozen, tmp_path):
    model = network()
    content = io.to_bytes(model.freeze() if frozen else model)
    old, new = HOSTILE[what]

    def change(header):
        config = header["__metadata__"]["config"]
        assert old in config
        config = config.replace(old, new)
        if what == "a huge row":
            config = config.replace('"max_tokens":null', '"max_tokens":1' + "0" * 12)
        header["__metadata__"]["config"] = config

    (tmp_path / "m").write_bytes(resealed(content, change))
    if frozen and what in ("others of a row", "none of a row", "a huge row"):
        # A predictor's Program says the size of rows: a vocabulary that fits is another one.
        loaded = fnn.load(tmp_path / "m")
        try:
            assert loaded([CITIES, AGES]).shape == (6, 1)
        except FastNNError:
            assert what == "none of a row"
        return
    with pytest.raises(FileFormatError):
        fnn.load(tmp_path / "m")


def test_hostile_lookups_of_a_predictor(tmp_path):
    content = io.to_bytes(network().freeze())
    for lookups in ([], [None], 3, "x", [None, None, None], [{"class_name": "Dense", "config": {"units": 1}}, None], [{}, {}]):

        def change(header, lookups=lookups):
            config = json.loads(header["__metadata__"]["config"])
            config["lookups"] = lookups
            header["__metadata__"]["config"] = json.dumps(config)

        (tmp_path / "p").write_bytes(resealed(content, change))
        with pytest.raises(FileFormatError):
            fnn.load(tmp_path / "p")


def test_a_large_vocabulary(tmp_path):
    words = [f"w{i}" for i in range(200_000)]
    model = fnn.Sequential([fnn.Input((1,), dtype="string"), layers.StringLookup(vocabulary=words), layers.Embedding(200_001, 1)])
    model.save(tmp_path / "m")
    again = fnn.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(words[-5:]), model.predict(words[-5:]))


# ---- other frameworks ----


def test_a_file_of_keras():
    pytest.importorskip("h5py")
    model = fnn.from_keras(HERE / "interop" / "lookups.keras")
    case = GOLDEN["file"]
    np.testing.assert_allclose(model.predict(case["inputs"]), case["expected"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.freeze()(case["inputs"]), case["expected"], rtol=1e-5, atol=1e-5)
    lookup = model.get_layer("tower").get_layer("fruit_lookup")
    assert lookup.get_vocabulary() == ["", "[UNK]", "fig", "plum", "apple", "Äpfel", "zebra", "kiwi", "date"]
    lookup.adapt(["fig"])  # as in Keras, where its vocabulary was not given
    with pytest.raises(ArgumentError, match="was given a vocabulary"):
        model.get_layer("size_lookup").adapt(["S"])


def test_hostile_files_of_keras(tmp_path):
    pytest.importorskip("h5py")
    import zipfile

    place = "assets/layers/functional/layers/string_lookup/vocabulary.txt"
    contents = {
        None: "lacks the vocabulary", b"\xff\xfe": "no text in UTF-8", b"\n[UNK]\na\na": "distinct values",
        b"": "must hold a token", b"a\n" * (33 << 20): "lacks the vocabulary .* refused",
    }  # fmt: skip
    for content, message in contents.items():
        source = zipfile.ZipFile(HERE / "interop" / "lookups.keras")
        with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as target:
            assert place in source.namelist()
            for name in source.namelist():
                if name != place:
                    target.writestr(name, source.read(name))
                elif content is not None:
                    target.writestr(name, content)
        with pytest.raises(FastNNError, match=message):
            fnn.from_keras(tmp_path / "m.keras")


def test_to_keras_and_back(tmp_path):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    model = fnn.from_keras(HERE / "interop" / "lookups.keras")
    theirs = model.to_keras()
    case = GOLDEN["file"]
    given = [np.array(case["inputs"][name]) for name in model.input_names]
    made = theirs([keras.ops.convert_to_tensor(g if g.ndim > 1 else g[:, None]) for g in given])
    np.testing.assert_allclose(np.asarray(made), case["expected"], rtol=1e-5, atol=1e-5)
    again = fnn.from_keras(theirs)
    np.testing.assert_allclose(again.predict(case["inputs"]), case["expected"], rtol=1e-5, atol=1e-5)


def test_onnx_runtime_looks_up_the_same(tmp_path):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = network(mask_token="Oslo")
    x = {"city": np.array([["Bern"], ["Oslo"], ["Rome"], ["zebra"]], object), "age": np.array([[31], [8], [0], [-1]])}
    want = model.predict(x)
    for source in (model, model.freeze()):
        proto = fnn.onnx.to_onnx(source)
        onnx.checker.check_model(proto, full_check=True)
        session = runtime.InferenceSession(proto.SerializeToString())
        assert [(i.name, i.type) for i in session.get_inputs()] == [("city", "tensor(string)"), ("age", "tensor(int64)")]
        np.testing.assert_allclose(session.run(None, x)[0], want, rtol=1e-5)
    several = fnn.Sequential([fnn.Input((1,), dtype="string"), string(vocabulary=["a"], num_oov_indices=2), layers.Embedding(3, 2)])
    with pytest.raises(ArgumentError, match="'s' has num_oov_indices=2, which has no form in ONNX"):
        fnn.onnx.to_onnx(several)


def test_pytorch_takes_what_is_behind_the_lookups():
    torch = pytest.importorskip("torch")
    model = network()
    with pytest.raises(UnsupportedError, match=r"cities \(StringLookup\): PyTorch has no lookups; .*lookup.output"):
        model.to_torch()
    cities, ages = model.get_layer("cities"), model.get_layer("ages")
    behind = fnn.Model([cities.output, ages.output], model.output)
    made = behind.to_torch()(torch.tensor(cities(CITIES)[:, None]), torch.tensor(ages([[a] for a in AGES])))
    np.testing.assert_allclose(made.detach().numpy(), model.predict([CITIES, AGES]), rtol=1e-5, atol=1e-6)
