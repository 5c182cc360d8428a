"""Features of tables: fitted here or taken from scikit-learn, stored as plain data, read by models."""

import decimal
import json
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fastnn as fnn
from fastnn import layers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    DtypeError,
    FastNNError,
    FileFormatError,
    NotFittedError,
    ShapeError,
    UnknownNameError,
)
from fastnn.preprocessing import Features

TABLE = {
    "age": [31, None, 54, 47, 22, 68],
    "city": ["Bern", "Oslo", None, "Bern", "Rome", "Oslo"],
    "member": [True, False, None, True, True, False],
    "same": [1, 1, 1, 1, 1, 1],
    "empty": [None] * 6,
}
LABELS = ["yes", "no", "yes", "no", "no", "yes"]


def _frames():
    found = {"dict": dict}
    try:
        import pandas

        found |= {
            "pandas": pandas.DataFrame,
            "nullable pandas": lambda d: pandas.DataFrame(d).convert_dtypes(),
            "categorical pandas": lambda d: pandas.DataFrame(d).astype({"city": "category"}),
        }
    except ImportError:
        pass
    try:
        import polars

        found |= {
            "polars": polars.DataFrame,
            "polars enum": lambda d: polars.DataFrame(d).cast({"city": polars.Enum(["Bern", "Oslo", "Rome", "X"])}),
            "polars decimal": lambda d: polars.DataFrame(d).cast({"age": polars.Decimal(10, 2)}),
        }
    except ImportError:
        pass
    try:
        import pyarrow

        found["pyarrow"] = pyarrow.table
    except ImportError:
        pass
    return found


FRAMES = _frames()
needs_frames = pytest.mark.skipif("polars" not in FRAMES, reason="narwhals or polars is not installed")


def _round_trip(features):
    return Features.from_config(json.loads(json.dumps(features.get_config(), allow_nan=False)))


# ---- fit ----


def test_numbers_are_standardised_categories_counted_and_missing_ones_told():
    features = Features.fit(TABLE)
    assert features.names_in == list(TABLE)
    assert features.names_out == [
        "age", "missingindicator_age", "city_Bern", "city_Oslo", "city_Rome", "city_other", "city_missing",
        "member_True", "member_False", "member_other", "member_missing",
    ]  # fmt: skip
    ages = np.array([31, 54, 47, 22, 68.0])
    made = features.transform(TABLE, "float64")
    expected = (np.array([31, np.median(ages), 54, 47, 22, 68]) - ages.mean()) / ages.std()
    np.testing.assert_allclose(made[:, 0], expected, rtol=1e-14)
    np.testing.assert_array_equal(made[:, 1], [0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(made[:, 2:7].argmax(1), [0, 1, 4, 0, 2, 1])
    np.testing.assert_array_equal(made[:, 7:].argmax(1), [0, 1, 3, 0, 0, 1])
    assert (made[:, 2:7].sum(1) == 1).all()
    assert features.transform({"age": [1.5], "city": ["Paris"], "member": [None]})[0, 5] == 1


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_of_frame_gives_the_same_features(kind):
    table = FRAMES[kind](TABLE)
    expected = Features.fit(TABLE)
    features = Features.fit(table)
    assert features.names_out == expected.names_out
    for other in FRAMES.values():
        np.testing.assert_array_equal(features.transform(other(TABLE)), expected.transform(TABLE))
    model = fnn.Sequential([fnn.Input((expected.size,)), layers.Dense(1)])
    model.features = features
    np.testing.assert_array_equal(model.predict(table), model.predict(TABLE))


def test_tables_come_in_pieces():
    random = np.random.default_rng(0)
    x = random.normal(5, 3, 5000)
    x[::17] = np.nan
    words = np.array(["a", "b", "c", "d"], object)[random.integers(0, 4, 5000)]
    whole = {"x": x, "word": words}
    pieces = ({k: v[i : i + 700] for k, v in whole.items()} for i in range(0, 5000, 700))
    one, many = Features.fit(whole), Features.fit(pieces)
    assert one.names_out == many.names_out
    np.testing.assert_allclose(one.transform(whole), many.transform(whole), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(one.transform(whole)[:, 0].mean(), 0, atol=0.01)
    long = np.random.default_rng(1).permutation(400_000).astype(float)
    long[:4] = np.nan
    fill = Features.fit({"x": part} for part in np.array_split(long, 9)).get_config()
    fill = fill["steps"][0]["parts"][0]["steps"][0]["fill"][0]
    assert fill != np.nanmedian(long) and abs(fill / 400_000 - 0.5) < 0.005  # a sample's, of 131,072


def test_text_after_numbers_is_told_by_row():
    with pytest.raises(DtypeError, match="'a' needs numbers, got 'x' in row 4"):
        Features.fit([{"a": [1, 2, 3]}, {"a": [4, "x"]}])
    with pytest.raises(DtypeError, match="'a' held text above row 1, got number"):
        Features.fit([{"a": ["x"]}, {"a": [4]}])
    with pytest.raises(ArgumentError, match="begins with row 1 lacks the columns"):
        Features.fit([{"a": [1]}, {"b": [4]}])


def test_kinds_override_the_guess():
    table = {"zip": [3000, 8000, 3000, 1200], "id": [1, 2, 3, 4], "x": [0.5, 1, 2, 3]}
    features = Features.fit(table, {"zip": "category", "id": "drop"})
    assert features.names_out == ["x", "zip_3000", "zip_1200", "zip_8000", "zip_other"]
    # Integers are floats where values are missing, and columns that are not read may be absent.
    np.testing.assert_array_equal(
        features.transform({"zip": [8000.0, np.nan], "x": [0.5, 1]})[:, 1:], [[0, 0, 1, 0], [0, 0, 0, 1]]
    )
    with pytest.raises(UnknownNameError, match="'Zip'; did you mean 'zip'"):
        Features.fit(table, {"Zip": "category"})
    with pytest.raises(UnknownNameError, match="kind of column 'zip' 'categories'; did you mean 'category'"):
        Features.fit(table, {"zip": "categories"})
    limited = Features.fit({"c": list("aaabbcdd")}, max_categories=2)
    assert limited.names_out == ["c_a", "c_b", "c_other"]


def test_dates_are_refused_unless_they_are_asked_for_as_numbers():
    days = np.array(["2020-01-01", "2020-01-03", "NaT"], "datetime64[D]")
    with pytest.raises(DtypeError, match="'day' holds dates, got 2020-01-01.* in row 0; pass what matters as numbers"):
        Features.fit({"day": days})
    features = Features.fit({"day": days}, {"day": "number"})
    np.testing.assert_array_equal(features.transform({"day": days}), [[-1, 0], [1, 0], [0, 1]])
    with pytest.raises(DtypeError, match="'day' needs dates, got"):
        features.transform({"day": [1.0]})


def test_numbers_of_all_types_and_arrays_by_position():
    column = [decimal.Decimal("1.5"), np.float32(2), 3, None, True, np.int8(4)]
    made = Features.fit({"x": column}).transform({"x": column}, "float64")
    np.testing.assert_allclose(made[:, 0] * np.std([1.5, 2, 3, 1, 4]) + 2.3, [1.5, 2, 3, 2, 1, 4], rtol=1e-12)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    features = Features.fit(x)
    assert features.names_in == ["x0", "x1", "x2"] and not features.named
    np.testing.assert_allclose(features.transform(x), (x - x.mean(0)) / x.std(0), atol=1e-5)
    with pytest.raises(ShapeError, match="3 columns.*got a table of 2"):
        features.transform(x[:, :2])


@pytest.mark.parametrize(
    "table, error, says",
    [
        ({}, ArgumentError, "at least one row"),
        ({"a": []}, ArgumentError, "at least one row"),
        ([], ArgumentError, "empty iterable"),
        ("abc", ArgumentTypeError, "got str"),
        (3, ArgumentTypeError, "got int"),
        ({"a": [1, 1], "b": [None, None]}, ArgumentError, "nothing to learn from"),
        ({"a": [1.0, np.inf]}, DataError, "'a' needs finite numbers, got inf in row 1"),
        ({"a": ["x", 2]}, DtypeError, "got 2 of type int beside text in row 1"),
        ({"a": [1, {}]}, DtypeError, "got {} of type dict in row 1"),
        ({"a": [1, 2], "b": [1]}, ShapeError, "2 rows of 'a' and 1 of 'b'"),
        ({"a": 1}, ArgumentTypeError, "'a' needs a sequence"),
        ({"a": "xy"}, ArgumentTypeError, "'a' needs a sequence"),
        ({1: [1, 2]}, ArgumentTypeError, "names of columns as keys, got 1"),
        ({"a": np.zeros((2, 2))}, ShapeError, r"'a' needs shape \(n,\), got \(2, 2\)"),
        ({"a": np.array([1j, 2])}, DtypeError, "real and imaginary"),
        ({"a": np.array([b"x", b"y"])}, DtypeError, "decode the bytes"),
        (np.zeros((2, 2, 2)), ShapeError, r"shape \(2, 2, 2\)"),
    ],
)
def test_wrong_tables_are_refused(table, error, says):
    with pytest.raises(error, match=says):
        Features.fit(table)


def test_wrong_columns_are_refused_by_name_and_row():
    features = Features.fit(TABLE)
    with pytest.raises(ArgumentError, match="lacks the columns 'age', 'member'; it has 'city'"):
        features.transform({"city": ["Bern"]})
    good = {"age": [1, 2], "city": ["Bern", "Oslo"], "member": [True, False]}
    with pytest.raises(DtypeError, match="'age' needs numbers, got 'old' in row 1"):
        features.transform(good | {"age": [1, "old"]})
    with pytest.raises(DtypeError, match="'city' needs text, got 5 of type int in row 1"):
        features.transform(good | {"city": ["Bern", 5]})
    with pytest.raises(DtypeError, match="'city' needs text, got 1 of type int in row 0"):
        features.transform(good | {"city": np.arange(1, 3)})
    with pytest.raises(DtypeError, match="'member' needs numbers, got 'yes' in row 0"):
        features.transform(good | {"member": ["yes", None]})


# ---- scikit-learn ----


def _columns(draw, rows):
    number = st.one_of(st.floats(-1e3, 1e3, allow_subnormal=False), st.just(np.nan), st.integers(-3, 3).map(float))
    text = st.sampled_from(["a", "b", "c", "dd", ""])
    return (
        np.array(draw(st.lists(number, min_size=2 * rows, max_size=2 * rows))).reshape(rows, 2),
        np.array(draw(st.lists(text, min_size=2 * rows, max_size=2 * rows)), object).reshape(rows, 2),
    )


@st.composite
def _fitted(draw):
    """A transformer, what it is fitted on and what it transforms."""
    pytest.importorskip("sklearn")
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers, texts = _columns(draw, draw(st.integers(2, 8)))
    new_numbers, new_texts = _columns(draw, draw(st.integers(1, 5)))

    def one_hot():
        limits = draw(
            st.sampled_from([{}, {"min_frequency": 2}, {"max_categories": 2}, {"min_frequency": 2, "max_categories": 3}])
        )
        unknown = draw(st.sampled_from(["ignore", "infrequent_if_exist"]))
        return OneHotEncoder(
            drop=draw(st.sampled_from([None, "first", "if_binary"])), handle_unknown=unknown, sparse_output=False, **limits
        )

    def imputer():
        if draw(st.booleans()):
            return SimpleImputer(
                strategy="constant", fill_value=draw(st.sampled_from([0, -1.5])), add_indicator=draw(st.booleans())
            )
        return SimpleImputer(
            strategy=draw(st.sampled_from(["mean", "median", "most_frequent"])),
            add_indicator=draw(st.booleans()),
            keep_empty_features=draw(st.booleans()),
        )

    scaler = draw(
        st.sampled_from(
            [
                StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), MinMaxScaler(),
                MinMaxScaler((-1, 2), clip=True),
            ]
        )
    )  # fmt: skip
    encoder = draw(
        st.sampled_from(
            [
                one_hot(), OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                make_pipeline(one_hot(), StandardScaler()),
                make_pipeline(SimpleImputer(missing_values="", strategy="constant", fill_value="a"), one_hot()),
            ]
        )
    )  # fmt: skip
    numeric = draw(st.sampled_from([scaler, imputer(), make_pipeline(imputer(), scaler), one_hot()]))
    whole = ColumnTransformer(
        [("n", numeric, draw(st.sampled_from([[0, 1], [1], [1, 0]]))), ("t", encoder, slice(2, 4))],
        remainder=draw(st.sampled_from(["drop", "passthrough"])),
        verbose_feature_names_out=draw(st.booleans()),
        sparse_threshold=0,
    )
    table = np.concatenate([numbers.astype(object), texts], axis=1)
    new = np.concatenate([new_numbers.astype(object), new_texts], axis=1)
    return whole, table, new


@given(_fitted())
def test_transformers_of_scikit_learn_give_the_same_numbers(case):
    transformer, table, new = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            transformer.fit(table)
        except ValueError:  # of columns that the steps before leave out
            assume(False)
        features = Features.from_sklearn(transformer)
        for x in (table, new):
            expected = transformer.transform(x).astype(np.float64)
            for f in (features, _round_trip(features)):
                np.testing.assert_allclose(f.transform(x, "float64"), expected, rtol=1e-12, atol=1e-12)
        if transformer.verbose_feature_names_out:
            assert features.names_out == list(transformer.get_feature_names_out())


def test_what_is_masked_in_a_masked_array_is_missing():
    mask = [False, True, False]
    values = {"a": [1.0, 2.0, 3.0], "b": [1, 2, 3], "c": ["x", "y", "z"]}
    table = {name: np.ma.array(column, mask=mask) for name, column in values.items()}
    plain = {"a": [1.0, None, 3.0], "b": [1, None, 3], "c": ["x", None, "z"]}
    features = Features.fit(table)
    assert features.get_config() == Features.fit(plain).get_config()
    np.testing.assert_array_equal(features.transform(table), features.transform(plain))
    rows = np.ma.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]], mask=[[0, 1], [0, 0], [1, 0]])
    assert Features.fit(rows).get_config() == Features.fit(rows.filled(np.nan)).get_config()


def test_a_lazy_frame_is_to_be_collected():
    frame = pytest.importorskip("polars").DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    model = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ArgumentTypeError, match="got LazyFrame; collect it"):
            model.predict(frame.lazy())


def test_an_encoder_that_was_fitted_on_missing_values_alone_takes_numbers_and_text():
    pytest.importorskip("sklearn")
    from sklearn.preprocessing import OneHotEncoder

    fitted = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(np.array([[np.nan], [np.nan]], object))
    new = np.array([[0.0], ["a"], [np.nan]], object)
    np.testing.assert_array_equal(Features.from_sklearn(fitted).transform(new), fitted.transform(new))


@needs_frames
def test_a_column_transformer_by_names_reads_any_frame():
    pytest.importorskip("sklearn")
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = FRAMES["polars"](TABLE)
    numeric = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    fitted = make_column_transformer(
        (numeric, ["same", "age"]), (OneHotEncoder(drop="first", sparse_output=False), ["city"])
    ).fit(frame)
    features = Features.from_sklearn(fitted)
    assert features.names_in == list(TABLE)
    expected = np.asarray(fitted.transform(frame), np.float32)
    np.testing.assert_allclose(features.transform(frame), expected, rtol=1e-6)
    np.testing.assert_allclose(features.transform({k: TABLE[k] for k in ("city", "age", "same")}), expected, rtol=1e-6)
    with pytest.raises(DataError, match="'city' holds 'Paris' in row 1, which is none of the 3 categories"):
        features.transform({"age": [1, 2], "same": [1, 1], "city": ["Bern", "Paris"]})


def test_what_scikit_learn_has_besides_is_refused_by_name():
    pytest.importorskip("sklearn")
    from sklearn.compose import make_column_transformer
    from sklearn.impute import KNNImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PowerTransformer, StandardScaler

    x = np.random.default_rng(0).normal(size=(9, 2))
    for other in (PowerTransformer(), KNNImputer(), FunctionTransformer(np.abs)):
        for made in (other, make_pipeline(StandardScaler(), other), make_column_transformer((other, [0, 1]))):
            with pytest.raises(ArgumentTypeError, match=f"takes StandardScaler, .* got .*{type(other).__name__}"):
                Features.from_sklearn(made.fit(x))
    with pytest.raises(NotFittedError, match="fitted StandardScaler"):
        Features.from_sklearn(StandardScaler())

    class StandardScaler2(StandardScaler):
        pass

    with pytest.raises(ArgumentTypeError, match="StandardScaler2"):
        Features.from_sklearn(StandardScaler2().fit(x))
    both = np.array([["a"], [None], [float("nan")]], object)
    with pytest.raises(ArgumentError, match="both are a missing value"):
        Features.from_sklearn(OneHotEncoder().fit(both))


# ---- models ----


def _model(**how):
    model = fnn.Sequential([layers.Dense(8, "relu"), layers.Dense(2, "softmax")], **how)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_a_model_takes_the_raw_table_everywhere(tmp_path):
    model = _model()
    model.features, model.class_names = Features.fit(TABLE), ["no", "yes"]
    model.fit(TABLE, LABELS, epochs=2, verbose=0, validation_data=(TABLE, LABELS))
    x, y = model.features.transform(TABLE), np.array([label == "yes" for label in LABELS])
    plain = _model()
    plain.build((None, x.shape[1]))
    plain.set_weights(model.get_weights())
    expected = plain.predict(x)
    np.testing.assert_array_equal(model.predict(TABLE), expected)
    np.testing.assert_array_equal(model({**TABLE, "more": [0] * 6}), expected)
    assert model.evaluate(TABLE, LABELS) == plain.evaluate(x, y)
    np.testing.assert_array_equal(
        next(iter(model.gradients(TABLE, LABELS).values())),
        next(iter(plain.gradients(x, y).values())),
    )
    assert model.train_on_batch(TABLE, np.array(LABELS)) == plain.train_on_batch(x, y)
    assert model.feature_names == list(TABLE) and model.class_names == ["no", "yes"]
    expected = model.predict(TABLE)
    frozen = model.freeze(weights="int8", validation_data=(TABLE, LABELS))
    assert frozen.report.samples == 6
    predictor = model.freeze()
    np.testing.assert_allclose(predictor(TABLE), expected, rtol=1e-5)
    np.testing.assert_allclose(predictor([31, "Bern", True, 1, None]), expected[0], rtol=1e-5)
    model.save(tmp_path / "m.fnn")
    model.freeze().save(tmp_path / "p.fnn")
    for loaded in (fnn.load(tmp_path / "m.fnn"), fnn.load(tmp_path / "p.fnn")):
        made = loaded.predict(TABLE) if hasattr(loaded, "predict") else loaded(TABLE)
        np.testing.assert_allclose(made, expected, rtol=1e-5)
        assert loaded.feature_names == list(TABLE) and loaded.class_names == ["no", "yes"]


def test_features_and_names_that_do_not_fit_a_model_are_refused():
    model = _model()
    model.build((None, 3))
    with pytest.raises(ShapeError, match=r"\(None, 3\), but its features give 11"):
        model.features = Features.fit(TABLE)
    with pytest.raises(ArgumentTypeError, match="must be a fastnn.preprocessing.Features, got dict"):
        model.features = {}
    with pytest.raises(ShapeError, match="it has 2 feature_names"):
        model.feature_names = ["a", "b"]
    with pytest.raises(ShapeError, match="3 class_names"):
        model.class_names = ["a", "b", "c"]
    for wrong, error in (("ab", ArgumentTypeError), ([1, 2], ArgumentTypeError), (["a", "a"], ArgumentError)):
        with pytest.raises(error, match="class_names"):
            model.class_names = wrong
    assert model.features is model.feature_names is model.class_names is None
    late = _model()
    late.features = Features.fit(TABLE)
    with pytest.raises(ArgumentError, match="has features"):
        late.feature_names = ["a"]
    with pytest.raises(ShapeError, match="features give 11"):
        late.add(layers.Dense(1))
        late.build((None, 3))


def test_unknown_labels_are_refused_by_row():
    model = _model()
    model.class_names = ["no", "yes"]
    x = np.zeros((3, 2), "float32")
    model.fit(x, ["no", "yes", "no"], verbose=0)
    with pytest.raises(DataError, match=r"'maybe' in row 1, which is none of the class_names 'no', 'yes'"):
        model.fit(x, ["no", "maybe", "no"], verbose=0)
    with pytest.raises(DataError, match="None in row 2"):
        model.evaluate(x, ["no", "yes", None])
    model.fit(x, [0, 1, 0], verbose=0)


@needs_frames
@pytest.mark.parametrize("kind", [k for k in FRAMES if k in ("pandas", "polars", "pyarrow")])
def test_columns_of_frames_of_numbers_are_found_by_name(kind, tmp_path):
    random = np.random.default_rng(0)
    table = {name: random.normal(size=20) for name in "abc"}
    table["c"] = random.integers(0, 9, 20)
    make = FRAMES[kind]
    model = fnn.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(make(table), make({"y": table["a"]}), verbose=0)
    assert model.feature_names == ["a", "b", "c"]
    expected = model.predict(np.stack(list(table.values()), axis=1))
    turned = {name: table[name] for name in "cab"} | {"d": ["text"] * 20}
    np.testing.assert_array_equal(model.predict(make(turned)), expected)
    np.testing.assert_array_equal(model.predict(turned), expected)
    np.testing.assert_allclose(model.freeze()(make(turned)), expected, rtol=1e-5)
    model.save(tmp_path / "m.fnn")
    np.testing.assert_array_equal(fnn.load(tmp_path / "m.fnn").predict(make(turned)), expected)
    with pytest.raises(ArgumentError, match="lacks the columns 'b'"):
        model.predict(make({"a": table["a"], "c": table["c"]}))
    with pytest.raises(DtypeError, match="'b' needs numbers, got 'text' in row 0"):
        model.predict(make(table | {"b": ["text"] * 20}))


@needs_frames
def test_a_frame_is_a_dict_of_inputs_of_one_number():
    a, b = fnn.Input((1,), name="a"), fnn.Input((1,), dtype="int32", name="b")
    h = layers.Concatenate()([a, layers.Flatten()(layers.Embedding(4, 2)(b))])
    model = fnn.Model([a, b], layers.Dense(1)(h))
    table = {"b": np.array([0, 3, 1]), "a": np.array([0.5, 1, 2])}
    expected = model.predict([table["a"], table["b"]])
    for kind in ("dict", "polars"):
        np.testing.assert_array_equal(model.predict(FRAMES[kind](table)), expected)
    wide = fnn.Input((2,), name="w")
    both = fnn.Model([a, wide], layers.Dense(1)(layers.Concatenate()([a, wide])))
    with pytest.raises(ShapeError, match="an array for the inputs 'w'"):
        both.predict(FRAMES["polars"](table))


# ---- files ----

_STEP = {"kind": "standardize", "mean": [0.0], "scale": [1.0]}
_CATEGORY = {"categories": ["a"], "slots": [0], "labels": ["a"], "unknown": -1, "missing": -1}


@pytest.mark.parametrize(
    "config",
    [
        None, [], {}, {"columns": 1}, {"columns": 0, "steps": []}, {"columns": -1, "steps": []},
        {"columns": True, "steps": []}, {"columns": 1 << 40, "steps": []}, {"columns": [1], "steps": []},
        {"columns": ["a", "a"], "steps": []}, {"columns": [], "steps": []}, {"columns": 1, "steps": {}},
        {"columns": 1, "steps": [1]}, {"columns": 1, "steps": [{"kind": "os.system"}]},
        {"columns": 1, "steps": [{"kind": "standardize", "mean": ["x"]}]},
        {"columns": 1, "steps": [{"kind": "standardize", "mean": [float("inf")]}]},
        {"columns": 1, "steps": [{"kind": "standardize", "mean": 1.0}]},
        {"columns": 2, "steps": [_STEP]},
        {"columns": 1, "steps": [{**_STEP, "more": 1}]},
        {"columns": 1, "steps": [{"kind": "impute", "fill": [None]}]},
        {"columns": 1, "steps": [{"kind": "impute", "fill": [0.0], "indicators": [1]}]},
        {"columns": 1, "steps": [{"kind": "impute", "fill": [[0.0]]}]},
        {"columns": 1, "steps": [{"kind": "affine", "scale": [1.0], "offset": []}]},
        {"columns": 1, "steps": [{"kind": "one_hot", "columns": [{**_CATEGORY, "slots": [1]}]}]},
        {"columns": 1, "steps": [{"kind": "one_hot", "columns": [{**_CATEGORY, "slots": []}]}]},
        {"columns": 1, "steps": [{"kind": "one_hot", "columns": [{**_CATEGORY, "unknown": -2}]}]},
        {"columns": 1, "steps": [{"kind": "one_hot", "columns": [{**_CATEGORY, "categories": [{}]}]}]},
        {"columns": 1, "steps": [{"kind": "one_hot", "columns": [{"categories": ["a"]}]}]},
        {"columns": 1, "steps": [{"kind": "one_hot", "columns": [
            {**_CATEGORY, "categories": ["a", "a"], "slots": [0, 0]}]}]},
        {"columns": 1, "steps": [{"kind": "one_hot", "columns": [
            {**_CATEGORY, "categories": ["a", 1], "slots": [0, 0]}]}]},
        {"columns": 1, "steps": [{"kind": "ordinal", "columns": [
            {"categories": ["a"], "codes": ["b"], "unknown": None, "missing": None}]}]},
        {"columns": 1, "steps": [{"kind": "union", "parts": [{"take": [1], "steps": []}]}]},
        {"columns": 1, "steps": [{"kind": "union", "parts": [{"take": [-1], "steps": []}]}]},
        {"columns": 1, "steps": [{"kind": "union", "parts": [{"take": [0], "steps": [], "prefix": 1}]}]},
        {"columns": 1 << 19, "steps": [{"kind": "union", "parts": [
            {"take": list(range(1 << 19)), "steps": [], "prefix": "x" * 1000}]}]},
    ],
)  # fmt: skip
def test_malformed_features_are_refused(config, tmp_path):
    with pytest.raises((FastNNError, TypeError, KeyError)):
        Features.from_config(config)
    model = fnn.Sequential([fnn.Input((1,)), layers.Dense(1)])
    model.features = Features(1, [_STEP])
    whole = json.dumps(model.features.get_config(), separators=(",", ":"))
    _write_with(model, tmp_path / "m.fnn", {"features": json.dumps(config)}, whole)
    with pytest.raises(FileFormatError, match="damaged or foreign"):
        fnn.load(tmp_path / "m.fnn")


def _write_with(model, path, metadata, replaced):
    """The model's file with other metadata, its checksum in order."""
    from fastnn import io

    tensors, found = io._model_content(model, True)
    assert replaced in found.values()
    with open(path, "wb") as file:
        io.write(file, tensors, found | metadata)


def test_malformed_names_are_refused(tmp_path):
    model = fnn.Sequential([fnn.Input((2,)), layers.Dense(1)])
    model.feature_names = ["a", "b"]
    text = json.dumps({"features": ["a", "b"]}, separators=(",", ":"))
    for names in ([], {"x": []}, {"features": "ab"}, {"features": [1, 2]}, {"features": ["a"]}, {"classes": ["a"] * 2}):
        _write_with(model, tmp_path / "m.fnn", {"names": json.dumps(names)}, text)
        with pytest.raises(FileFormatError, match="damaged or foreign"):
            fnn.load(tmp_path / "m.fnn")


@given(st.binary(max_size=40), st.integers(0, 400))
def test_damaged_features_give_typed_errors(noise, at):
    text = json.dumps(Features.fit(TABLE).get_config()).encode()
    damaged = (text[:at] + noise + text[at + len(noise) :]).decode("utf-8", "replace")
    try:
        config = json.loads(damaged)
    except ValueError:
        return
    try:
        Features.from_config(config)
    except FastNNError:
        pass


@pytest.mark.parametrize("change", [
    lambda steps: steps[0]["parts"][0].pop("take"), lambda steps: steps[0].pop("parts"), lambda steps: steps[0].update(more=1),
    lambda steps: steps[0]["parts"][0]["steps"][0].pop("fill"), lambda steps: steps[0]["parts"][1]["steps"][0]["columns"][0].pop("slots"),
    lambda steps: steps[0]["parts"][1]["steps"][0]["columns"][0].update(more=1),
])  # fmt: skip
def test_descriptions_that_lack_something_are_refused(change):
    config = json.loads(json.dumps(Features.fit(TABLE).get_config()))
    change(config["steps"])
    with pytest.raises(ArgumentTypeError, match="described by|a part is a dict"):
        Features.from_config(config)
