"""fastnn train, predict and evaluate on tables in files: what is read, what is learned, what is refused."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

import fastnn as fnn
from fastnn import cli, errors
from fastnn.cli import curves, prepare, tables, target

pl = pytest.importorskip("polars")

QUICK = ["--epochs", "2"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(count=60, seed=0):
    """Records of a number, a text, a number with missing values, and a class that follows from them."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        a, b, c = rng.normal(), rng.choice(["x", "y", "z, z"]), rng.normal()
        made.append([f"{a:.3f}", b, "" if rng.random() < 0.1 else f"{c:.3f}", "yes" if a > 0 else "no"])
    return made


def write(name, records, head=("a", "b", "c", "y"), separator=",", end="\n", encoding="utf-8"):
    def field(text):
        return f'"{text}"' if separator in text else text

    lines = [separator.join(map(field, record)) for record in ([head] if head else []) + records]
    with open(name, "w", encoding=encoding, newline="") as file:
        file.write(end.join(lines) + end)
    return name


def read(path, names=None, **settings):
    table = tables.Text(path, f"'{path}'", **settings)
    table.learn((), ())
    return table, pl.concat([part for _, part in table.parts(names)])


def run(*arguments):
    return cli.main([str(a) for a in arguments])


# ---- reading ----


@pytest.mark.parametrize(
    "settings",
    [{}, {"separator": ";"}, {"separator": "\t"}, {"separator": "|"}, {"end": "\r\n"}, {"encoding": "utf-8-sig"}],
)
def test_texts_of_any_dialect_give_the_same_table(settings):
    whole = read(write("plain.csv", rows()))[1]
    assert whole.dtypes == [pl.Float64, pl.String, pl.Float64, pl.String] and whole["c"].null_count() > 0
    assert whole.equals(read(write("other.csv", rows(), **settings))[1])
    assert whole.equals(pl.read_csv("plain.csv"))  # what fnn.load(...).predict(frame) will see


@pytest.mark.parametrize("block", [7, 1 << 22])
@pytest.mark.parametrize("mark", ['x"y', '"x"y', 'x"', '"x', '"x""y"'])
def test_quotes_within_fields_are_the_same_for_any_columns(monkeypatch, mark, block):
    monkeypatch.setattr(tables, "_BLOCK", block)
    path = write("t.csv", [[a, mark, y] for a, _, _, y in rows(6)], head=('"a"', "b", "y"), encoding="utf-8-sig")
    if mark.startswith('"x') and not mark.endswith('"'):
        with pytest.raises(errors.FileFormatError, match="line [23]: ',' expected after"):
            read(path)
        return
    assert [len(read(path, names)[1]) for names in (["a"], ["b"], ["y"], ["a", "b", "y"])] == [6] * 4
    assert read(path, ["b"])[1]["b"].to_list() == [mark if mark[0] == "x" else 'x"y'] * 6


def test_a_table_that_changes_while_it_is_read_is_noticed():
    table, _ = read(write("t.csv", rows(9)))
    write("t.csv", rows(8))
    with pytest.raises(errors.FileFormatError, match="had 9 rows and has 8 now"):
        list(table.parts(["a"]))


@pytest.mark.parametrize("block", [97, 1 << 10, 1 << 22])
def test_blocks_cut_no_line_and_no_letter(monkeypatch, block):
    path = write("t.csv", [[a, "ö\nß" if b == "x" else b, c, y] for a, b, c, y in rows(200)], head=("å", "b", "c", "y"))
    content = Path(path).read_text(encoding="utf-8").replace("ö\nß", '"ö\nß"')
    Path(path).write_text(content, encoding="utf-8", newline="")
    monkeypatch.setattr(tables, "_BLOCK", block)
    table, found = read(path)
    assert table.rows == 200 and found.equals(pl.read_csv(path))
    assert all(len(part) <= 200 * block // 1000 + 200 for _, part in table.parts(["å"]))


def test_blank_lines_are_no_rows_and_quotes_within_fields_are_text():
    clean = read(write("clean.csv", rows()))[1]
    text = Path("clean.csv").read_text().replace("\n", "\n\n") + "\n"
    Path("blank.csv").write_text(text)
    assert read("blank.csv")[1].equals(clean)
    write("inch.csv", [[a, '5" disk', c, y] for a, _, c, y in rows()])
    assert read("inch.csv")[1]["b"].to_list() == ['5" disk'] * 60


def test_numbers_with_decimal_commas_spaces_and_marks_of_missing_ones():
    write("t.csv", [[" 1,5 ", "x", "?"], ["-2,25", "y", "none"], ["NA", "z", "3"]] * 10, head=("a", "b", "c"), separator=";")
    table = tables.Text("t.csv", "'t.csv'", decimal=",", missing=["none"])
    table.learn((), ())
    [(first, part)] = table.parts()
    assert first == 1 and part["a"].to_list()[:3] == [1.5, -2.25, None] and part["c"].to_list()[:3] == [None, None, 3.0]


def test_a_number_may_stand_for_a_missing_one():
    write("t.csv", [["-999" if i % 7 == 0 else "inf" if i == 5 else f"{i}", " -999 ", "-9"] for i in range(60)], head=("a", "b", "c"))
    table = tables.Text("t.csv", "'t.csv'", missing=["-999", "inf"])
    table.learn((), ())
    [(_, part)] = table.parts(["a", "c"])
    assert part["a"].to_list() == [None if i % 7 == 0 or i == 5 else i for i in range(60)]
    assert part["c"].to_list() == [-9] * 60


def test_the_same_table_from_every_kind_of_file():
    iris = load_iris()
    names = ["a", "b", "c", "d"]
    frame = pl.DataFrame(iris.data, schema=names).with_columns(y=pl.Series(iris.target))
    frame.write_csv("t.csv")
    frame.write_csv("t.tsv", separator="\t")
    frame.write_parquet("t.parquet")
    np.savez("t.npz", **{n: frame[n].to_numpy() for n in frame.columns})
    np.savez("xy.npz", x=iris.data, y=iris.target)
    np.save("t.npy", frame.to_numpy())
    made = {}
    for path, name in [("t.csv", "y"), ("t.tsv", "y"), ("t.parquet", "y"), ("t.npz", "y"), ("xy.npz", None), ("t.npy", "x4")]:
        assert run("train", path, *(["--target", name] if name else []), *QUICK, "--out", "m.fnn") == 0
        model = fnn.load("m.fnn")
        assert model.class_names == ["0", "1", "2"]
        made[path] = model.get_weights()
    for weights in made.values():
        for one, other in zip(weights, made["t.csv"]):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_text_in_arrays_is_text():
    frame = pl.DataFrame([r[:2] + r[3:] for r in rows()], schema=["a", "b", "y"], orient="row").with_columns(pl.col("a").cast(float))
    frame.write_parquet("t.parquet")
    np.savez("t.npz", **{n: frame[n].to_numpy().astype(str if frame[n].dtype == pl.String else float) for n in frame.columns})
    made = []
    for path in ("t.parquet", "t.npz"):
        assert run("train", path, "--target", "y", *QUICK, "--out", "m.fnn") == 0
        made.append(fnn.load("m.fnn"))
    assert made[0].features.get_config() == made[1].features.get_config()
    for one, other in zip(*(m.get_weights() for m in made)):
        np.testing.assert_array_equal(one, other)


DATES = {
    "2024-02-29": 1709164800, " 2024-02-29 ": 1709164800, "2024-02-29T13:05": 1709211900, "1969-12-31 23:59:59.25": -0.75,
    "2024-02-29 13:05:10Z": 1709211910, "2024-02-29T13:05:10.5+02:30": 1709202910.5, "2024-02-29T13:05-0130": 1709217300,
    "0001-01-01": -62135596800, "": None, "NA": None,
}  # fmt: skip


def test_dates_in_texts_are_dates():
    write("t.csv", [[text, text] for text in DATES] * 2, head=("day", "kept"))
    table = tables.Text("t.csv", "'t.csv'")
    table.learn(["day"], ["kept"])
    frame = pl.concat([part for _, part in table.parts()])
    assert frame.dtypes == [pl.Datetime("us"), pl.String]
    assert (frame["day"].dt.timestamp("us") / 1e6).to_list() == list(DATES.values()) * 2


@pytest.mark.parametrize("text", ["2024-02-30", "2024-2-1", "24-02-01", "2024-02-01 24:00", "2024-02-01x", "2024", "01.02.2024"])
def test_what_is_no_date(text):
    write("t.csv", [["2024-01-01", "1"]] * 30 + [[text, "1"]], head=("day", "y"))
    with pytest.raises(fnn.errors.DataError, match=r"row 31 .*column 'day': .* is no date such as 2024-12-31; .*--category day"):
        read("t.csv")
    write("t.csv", [["2024-01-01", "1"], [text, "1"]], head=("day", "y"))
    assert read("t.csv")[1].dtypes[0] == pl.String


def test_dates_of_a_text_file_are_left_out_or_seconds_as_those_of_parquet(capsys):
    rng = np.random.default_rng(0)
    days = np.datetime64("2024-01-01") + rng.integers(0, 90, 80)
    frame = pl.DataFrame({"day": days, "a": rng.normal(size=80), "y": rng.normal(size=80) + (days - days.min()).astype(int)})
    frame.write_csv("t.csv")
    frame.write_parquet("t.parquet")
    said, made = {}, {}
    for path in ("t.csv", "t.parquet"):
        assert run("train", path, "--target", "y", *QUICK, "--out", "m.fnn") == 0
        assert "Left out: column 'day', it holds dates (--number day makes seconds of them)." in capsys.readouterr().out
        assert fnn.load("m.fnn").feature_names == ["a"]
        assert run("train", path, "--target", "y", *QUICK, "--number", "day", "--out", "m.fnn") == 0
        capsys.readouterr()
        for other in ("t.csv", "t.parquet"):
            assert run("predict", "m.fnn", other) == run("evaluate", "m.fnn", other, "--target", "y") == 0
            said[path, other] = capsys.readouterr().out.replace(other, "")
        made[path] = fnn.load("m.fnn").predict(frame)
    assert len(set(said.values())) == 1
    np.testing.assert_array_equal(made["t.csv"], made["t.parquet"])
    with pytest.raises(fnn.errors.DtypeError, match="column 'day' needs dates, got '2024.*datetime64"):
        fnn.load("m.fnn").predict(frame.with_columns(pl.col("day").cast(pl.String)))
    assert run("train", "t.csv", "--target", "y", *QUICK, "--category", "day", "--out", "m.fnn") == 0
    assert fnn.load("m.fnn").features.size > 30
    assert run("train", "t.csv", "--target", "day") == 2 and "'day' holds dates" in capsys.readouterr().err


def test_dates_that_may_be_read_in_two_ways_are_left_out(capsys):
    write("t.csv", [[f"{1 + i % 9:02d}.0{1 + i % 7}.2024", f"{i % 4}", f"{i}.5"] for i in range(60)], head=("day", "a", "y"))
    assert run("train", "t.csv", "--target", "y", *QUICK, "--out", "m.fnn") == 0
    assert "'day', it holds dates such as 01.01.2024; written as 2024-12-31, --number day makes" in capsys.readouterr().out


# ---- what is learned ----


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["a", "b"] * 30, "classification", ["a", "b"]),
        (["true", "false"] * 30, "classification", ["False", "True"]),
        ([3, 1, 2] * 20, "classification", ["1", "2", "3"]),
        ([0, 1] * 5, "classification", ["0", "1"]),
        (range(60), "regression", None),
        ([0.5, 1.5] * 30, "regression", None),
    ],
)
def test_the_task_follows_from_the_target(values, task, classes):
    write("t.csv", [["1", str(v)] for v in values], head=("a", "y"))
    table, _ = read("t.csv")
    found = target.read(table, "y")
    assert (found.task, found.classes) == (task, classes)
    if classes:
        assert [classes[i] for i in found.values[:3]] == [str(v).replace("true", "True").replace("false", "False") for v in
                                                          list(values)[:3]]  # fmt: skip


def test_a_part_of_each_class_is_held_out():
    write("t.csv", [["1", label] for label in ["a"] * 50 + ["b"] * 10 + [""] * 4], head=("k", "y"))
    found = target.read(read("t.csv")[0], "y")
    training, held = target.split(found, 0.2, np.random.default_rng(0))
    assert found.left_out == 4 and sorted([*training, *held]) == list(range(60))
    np.testing.assert_array_equal(np.bincount(found.values[held]), [10, 2])


def test_classes_are_learned_saved_and_predicted(capsys):
    iris = load_iris()
    frame = pl.DataFrame(dict(zip(iris.feature_names, iris.data.T)) | {"species": iris.target_names[iris.target].tolist()})
    frame.with_row_index("").write_csv("iris.csv")
    assert run("train", "iris.csv", "--target", "species", "--seed", 1) == 0
    out = capsys.readouterr().out
    assert "classification, since it holds text" in out and "column '', it has no name" in out and "30 held out" in out
    assert max(map(len, out.splitlines())) <= 110 and "always 'setosa'" in out and "versicolor" in out
    accuracy = float(out.split("accuracy")[1].split()[0])
    assert accuracy >= 0.9
    assert run("info", "iris.fnn") == 0
    out = capsys.readouterr().out
    assert "Columns: sepal length (cm), " in out and "Classes: setosa, versicolor, virginica" in out
    model = fnn.load("iris.fnn")
    assert model.class_names == ["setosa", "versicolor", "virginica"]
    probabilities = model.predict(frame)
    assert run("predict", "iris.fnn", "iris.csv", "--proba", "--out", "p.csv") == 0
    written = pl.read_csv("p.csv")
    assert written.columns == ["prediction", *(f"probability of {n}" for n in model.class_names)]
    np.testing.assert_allclose(written.drop("prediction").to_numpy(), probabilities, rtol=1e-5, atol=1e-9)
    assert written["prediction"].to_list() == [model.class_names[i] for i in probabilities.argmax(1)]
    capsys.readouterr()
    assert run("evaluate", "iris.fnn", "iris.csv", "--target", "species") == 0
    right = np.mean(written["prediction"].to_numpy() == frame["species"].to_numpy())
    assert float(capsys.readouterr().out.split("accuracy")[1].split()[0]) == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh"])
def test_numbers_are_predicted_in_their_own_units(capsys, loss):
    x, y = load_diabetes(return_X_y=True)
    frame = pl.DataFrame(x, schema=[f"v{i}" for i in range(10)]).with_columns(y=pl.Series(y * 1000 + 5e5))
    frame.write_csv("d.csv")
    assert run("train", "d.csv", "--target", "y", "--loss", loss) == 0
    assert float(capsys.readouterr().out.split("R2")[1].split()[0]) > 0.35
    predicted = fnn.load("d.fnn").predict(frame)[:, 0]
    residual = np.square(frame["y"].to_numpy() - predicted).sum()
    assert 1 - residual / np.square(y * 1000 - (y * 1000).mean()).sum() > 0.4
    assert run("evaluate", "d.fnn", "d.csv", "--target", "y") == 0
    assert "always the mean" in capsys.readouterr().out


def test_rows_without_a_target_and_useless_columns_are_left_out_and_named(capsys):
    records = [[str(i), f"name {i}", *record] for i, record in enumerate(rows())]
    for record in records[:3]:
        record[-1] = ""
    write("t.csv", records, head=("id", "name", "a", "b", "c", "y"))
    assert run("train", "t.csv", "--target", "y", *QUICK) == 0
    out = capsys.readouterr().out
    assert "3 of 60 rows, without a value of 'y'" in out and "'id', it counts the rows" in out
    assert "'name', 60 distinct texts" in out
    assert fnn.load("t.fnn").features.names_in == ["a", "b", "c"]
    assert run("train", "t.csv", "--target", "y", *QUICK, "--number", "id", "--category", "name", "--drop", "a") == 0
    assert fnn.load("t.fnn").features.names_in == ["id", "name", "b", "c"]


def test_the_rows_held_out_take_no_part_in_the_features():
    write("t.csv", [["1", str(i), "u"] for i in range(99)] + [["1000", "0", "v"]], head=("a", "y", "b"))
    table, _ = read("t.csv")
    columns = prepare.choose(table, "y")
    whole, part = np.arange(100), np.arange(99)
    kept = np.ones(100, bool)
    assert prepare.fit_features(table, columns, kept, whole).size > 0
    with pytest.raises(fnn.FastNNError, match="'t.csv'"):
        prepare.fit_features(table, columns, kept, part)  # constant there: nothing to learn from


def test_numbers_beyond_the_limit_lie_in_a_file_with_the_same_bits():
    write("t.csv", rows())
    table, _ = read("t.csv")
    columns, kept = prepare.choose(table, "y"), np.arange(60) % 7 > 0
    features = prepare.fit_features(table, columns, kept, np.arange(kept.sum()))
    with contextlib.ExitStack() as stack:
        held, mapped = prepare.encode(table, features, kept, stack)
        other, other_mapped = prepare.encode(table, features, kept, stack, limit=100)
        assert (mapped, other_mapped) == (False, True) and isinstance(other, np.memmap)
        np.testing.assert_array_equal(held, other)
        np.testing.assert_array_equal(held, features.transform(pl.read_csv("t.csv").filter(kept)))


def test_training_settings(capsys):
    write("t.csv", rows())
    settings = ["--hidden", "5,3", "--activation", "tanh", "--dropout", "0.1", "--optimizer", "sgd", "--learning-rate", "0.05",
                "--batch-size", "7", "--patience", "1", "--valid", "0.5", "--loss", "categorical_focal_crossentropy"]  # fmt: skip
    assert run("train", "t.csv", "--target", "y", *QUICK, *settings) == 0
    model = fnn.load("t.fnn")
    assert [layer.units for layer in model.layers if hasattr(layer, "units")] == [5, 3, 2]
    assert model.optimizer.learning_rate == 0.05 and "30 to train on, 30 held out" in capsys.readouterr().out.replace(" rows", "")
    assert run("train", "t.csv", "--target", "y", "--valid", "0", "--hidden", "none", "--max-seconds", "0.05") == 0
    assert "none were held out" in capsys.readouterr().out and len(fnn.load("t.fnn").layers) == 1


def test_a_seed_gives_the_same_file():
    write("t.csv", rows())
    for out in ("one.fnn", "two.fnn"):
        fnn.reset_names()
        assert run("train", "t.csv", "--target", "y", *QUICK, "--out", out) == 0
    assert Path("one.fnn").read_bytes() == Path("two.fnn").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_keeps_the_best_so_far():
    write("t.csv", rows(400))
    command = [sys.executable, "-m", "fastnn", "train", "t.csv", "--target", "y", "--epochs", "1000000", "--patience", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not process.stdout.readline().startswith("Network"):
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.4)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Stopped by Ctrl-C" in out and "Traceback" not in errors
    assert fnn.load("t.fnn").predict(pl.read_csv("t.csv")).shape == (400, 2)


# Where Netron is not installed.
NETRON = '''
import time

def serve(name, content, browse):
    assert name == "m.onnx" and len(content) > 100 and browse
    print(f"Serving '{name}' at http://localhost:1", flush=True)

def wait():
    try:
        while True:
            time.sleep(0.1)
    except KeyboardInterrupt:
        print("Stopping http://localhost:1")
'''


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_view_ends_with_ctrl_c(tmp_path):
    pytest.importorskip("onnx")
    fnn.Sequential([fnn.Input((3,)), fnn.layers.Dense(2)]).save("m.fnn")
    stub = importlib.util.find_spec("netron") is None
    if stub:
        (tmp_path / "netron.py").write_text(NETRON)
    environment = {**os.environ, "BROWSER": "true", "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(tmp_path)])}
    command = [sys.executable, "-u", "-m", "fastnn", "view", "m.fnn"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        address, printed = None, ""
        while address is None and (line := process.stdout.readline()):
            printed += line
            address = re.search(r"http://localhost:\d+", line)
        assert address, printed
        if not stub:
            with urllib.request.urlopen(address.group(), timeout=20) as page:
                assert b"Netron" in page.read()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.4)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    finally:
        watchdog.cancel()
        process.kill()
    assert process.returncode == 0 and out.splitlines() == [f"Stopping {address.group()}"], out


# ---- what is refused ----


def _changed(row, record):
    made = rows()
    made[row] = record
    return made


BAD_FILES = {
    "a text among numbers": (_changed(40, ["oops", "x", "1", "no"]), "row 41.*column 'a': 'oops' is no number"),
    "an infinite number": (_changed(40, ["inf", "x", "1", "no"]), "row 41.*column 'a': 'inf' is not finite"),
    "a short row": (_changed(40, ["1", "x", "no"]), "line 42: 3 fields, 4 are needed; it ends after column 'c'"),
    "a long row": (_changed(40, ["1", "x", "1", "2", "no"]), "line 42: 5 fields, 4 are needed"),
    "one class": ([[*r[:3], "no"] for r in rows()], "column 'y' holds only 'no'"),
    "a class for each row": ([[*r[:3], f"c{i}"] for i, r in enumerate(rows())], "60 distinct values in 60 rows"),
    "no target at all": ([[*r[:3], ""] for r in rows()], "column 'y' has no values"),
    "no rows": ([], "no rows"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_tables_are_refused_with_their_place(what, capsys):
    records, message = BAD_FILES[what]
    write("t.csv", records)
    _refused(capsys, 2, ["train", "t.csv", "--target", "y"], "'t.csv'.*" + message)


BAD_BYTES = {
    "e.csv": (b"", "is empty"),
    "l.csv": (b"\n\n", "nothing but blank lines"),
    "d.csv": (b"a,a,y\n1,2,3\n", "two columns named 'a'"),
    "n.csv": (b"1,2,3\n4,5,6\n", "numbers in its first row"),
    "c.csv": (b"a;y\n" + b"1,5;u\n2,5;v\n" * 9, "decimal commas, as in '1,5'; pass --decimal ,"),
    "u.csv": ("a,y\n1,2\n".encode("utf-16"), "written in UTF-16"),
    "v.csv": (b"a\rb,\xe9\n1,2\n", "line 1, column .*byte 0xe9 is no UTF-8"),
    "w.csv": (b"a,y\n1,2\n3,\xe9\n", "line 3, column 'y': byte 0xe9 is no UTF-8"),
    "b.csv": (bytes(range(256)), "is no text"),
    "q.csv": (b'a,y\n1,"2\n3,4\n', "line 3: unexpected end of data"),
    "p.parquet": (b"PAR1 but not really PAR1", "no sound Parquet file"),
    "z.npz": (b"PK\3\4 but not really", "damaged"),
    "a.npy": (b"\x93NUMPY but not really", "no sound file of arrays"),
}


def test_members_of_archives_that_are_no_arrays_are_refused(capsys):
    np.savez("t.npz", x=np.ones((9, 2)), y=np.arange(9))
    with zipfile.ZipFile("t.npz", "a") as archive:
        archive.writestr("z.npy", b"no array")
    _refused(capsys, 2, ["train", "t.npz"], "'t.npz' is damaged: its member 'z' is no array")


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bad_bytes_are_refused(name, capsys):
    content, message = BAD_BYTES[name]
    Path(name).write_bytes(content)
    _refused(capsys, 2, ["train", name, "--target", "y"], f"'{name}'.*{message}")


def _refused(capsys, code, arguments, message):
    capsys.readouterr()
    try:
        assert run(*arguments) == code
    except SystemExit as left:
        assert left.code == code
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1 and errors.startswith("fastnn"), errors
    assert re.search(message, errors), errors


BAD_ARGUMENTS = [
    (2, ["none.csv", "--target", "y"], "cannot read 'none.csv'"),
    (2, [".", "--target", "y"], "cannot read '.'"),
    (2, ["t.csv"], "--target is needed.*'a', 'b', 'c', 'y'"),
    (2, ["t.csv", "--target", "z"], "for --target: 'z'; known are a, b, c, y"),
    (2, ["t.csv", "--target", "y", "--drop", "z"], "for --drop: 'z'"),
    (2, ["t.csv", "--target", "y", "--drop", "y"], "--drop y names the target"),
    (2, ["t.csv", "--target", "y", "--number", "a", "--category", "a"], "column 'a' is given by two"),
    (2, ["t.csv", "--target", "y", "--number", "b"], "row 1.*column 'b': '.*' is no number"),
    (2, ["t.csv", "--target", "y", "--task", "regression"], "holds text such as 'no'"),
    (2, ["t.csv", "--target", "y", "--task", "both"], "invalid choice"),
    (2, ["t.csv", "--target", "y", "--hidden", "8,x"], "needs sizes of layers"),
    (2, ["t.csv", "--target", "y", "--activation", "rel"], "did you mean 'relu'"),
    (2, ["t.csv", "--target", "y", "--optimizer", "adm"], "did you mean 'adam'"),
    (2, ["t.csv", "--target", "y", "--loss", "none"], "Unknown loss 'none'"),
    (2, ["t.csv", "--target", "y", "--loss", "mse"], "Unknown loss for classification"),
    (2, ["t.csv", "--target", "y", "--valid", "1"], "below 1, got '1'"),
    (2, ["t.csv", "--target", "y", "--dropout", "-1"], "at least 0"),
    (2, ["t.csv", "--target", "y", "--epochs", "0"], "at least 1, got '0'"),
    (2, ["t.csv", "--target", "y", "--batch-size", "x"], "at least 1, got 'x'"),
    (2, ["t.csv", "--target", "y", "--learning-rate", "0"], "above 0, got '0'"),
    (2, ["t.csv", "--target", "y", "--learning-rate", "1e30"], "lower --learning-rate"),
    (2, ["t.csv", "--target", "y", "--max-seconds", "nan"], "above 0, got 'nan'"),
    (2, ["t.csv", "--target", "y", "--separator", "::"], "--separator needs one character"),
    (2, ["t.npy", "--separator", ";"], "is no text file"),
    (2, ["t.csv", "--target", "y", "--out", "m.keras"], "extension '.keras'"),
    (1, ["t.csv", "--target", "y", "--out", "none/m.fnn"], "there is no folder"),
    (1, ["t.csv", "--target", "y", "--out", "t.csv"], "it is what is read"),
    (1, ["t.csv", "--target", "y", "--out", "."], "a folder or device is there"),
]


@pytest.mark.parametrize(("code", "arguments", "message"), BAD_ARGUMENTS)
def test_wrong_arguments_of_train(capsys, code, arguments, message):
    write("t.csv", rows())
    np.save("t.npy", np.eye(3))
    before = Path("t.csv").read_text()
    _refused(capsys, code, ["train", *arguments], message)
    assert Path("t.csv").read_text() == before


def test_wrong_arguments_of_the_others(capsys):
    write("t.csv", rows())
    write("other.csv", [["1", "2"]] * 3, head=("p", "q"))
    assert run("train", "t.csv", "--target", "y", *QUICK) == 0
    plain = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1)])
    plain.save("plain.fnn")
    assert run("predict", "plain.fnn", "other.csv", "--out", "p.csv") == 0
    np.testing.assert_allclose(pl.read_csv("p.csv")["prediction"], plain.predict(np.array([[1, 2]] * 3))[:, 0], rtol=1e-6)
    for code, arguments, message in [
        (2, ["predict", "none.fnn", "t.csv"], "cannot read 'none.fnn'"),
        (2, ["predict", "t.csv", "t.csv"], "not a fastnn model file"),
        (2, ["predict", "t.fnn", "other.csv"], "for the model 't.fnn': 'a'; known are p, q"),
        (2, ["predict", "plain.fnn", "t.csv"], "'t.csv'.*'b': '.*' is no number; correct it, or pass --missing '[^-]*'$"),
        (2, ["predict", "plain.fnn", "other.csv", "--proba"], "no names of classes"),
        (1, ["predict", "t.fnn", "t.csv", "--out", "t.fnn"], "it is what is read"),
        (2, ["evaluate", "t.fnn", "t.csv"], "required: --target"),
        (2, ["evaluate", "t.fnn", "t.csv", "--target", "q"], "for --target: 'q'"),
        (2, ["evaluate", "t.fnn", "t.csv", "--target", "b"], "class in column 'b' of 't.csv': '.*'; known are no, yes"),
        (2, ["bench", "--nets", "none"], "Unknown net 'none'"),
        (1, ["bench", "--plot", "none/p.svg"], "there is no folder"),
    ]:
        _refused(capsys, code, arguments, message)


def test_a_missing_library_has_a_code_of_its_own(capsys, monkeypatch):
    write("t.csv", rows())
    monkeypatch.setitem(sys.modules, "polars", None)
    _refused(capsys, 3, ["train", "t.csv", "--target", "y"], "polars, which the extra 'data' brings")


def test_models_made_in_python(capsys):
    """One probability of two classes, and columns by name without features."""
    model = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1, "sigmoid")])
    model.feature_names, model.class_names = ["p", "q"], ["low", "high"]
    model.save("m.fnn")
    write("t.csv", [["3", "k", "1"], ["-2", "k", "5"]], head=("q", "note", "p"))
    assert run("predict", "m.fnn", "t.csv", "--proba", "--out", "p.csv") == 0
    high = model.predict(np.array([[1.0, 3.0], [5.0, -2.0]]))[:, 0]
    made = pl.read_csv("p.csv")
    np.testing.assert_allclose(made["probability of high"], high, rtol=1e-5)
    np.testing.assert_allclose(made["probability of low"], 1 - high, rtol=1e-5)
    assert made["prediction"].to_list() == [["low", "high"][int(p > 0.5)] for p in high]


def test_predictions_of_standard_input(tmp_path):
    write("t.csv", rows())
    assert run("train", "t.csv", "--target", "y", *QUICK) == 0
    made = subprocess.run([sys.executable, "-m", "fastnn", "predict", "t.fnn", "-"], input=Path("t.csv").read_text(),
                          capture_output=True, text=True)  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert len(made.stdout.splitlines()) == 61 and set(made.stdout.splitlines()[1:]) <= {"yes", "no"}


# ---- how it looks ----


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "info", "export", "view", "launch", "bench", "demo"])
def test_help_has_an_example_and_the_codes(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run(command, "--help")
    out = capsys.readouterr().out
    assert f"example: fastnn {command}" in out and "exit codes: 0 done" in out


def test_curves_fit_any_terminal():
    history = {"loss": [1 / (i + 1) for i in range(300)], "val_loss": [1.1 / (i + 1) for i in range(300)]}
    lines = curves.draw(history, best=299)
    assert "●" in "".join(lines) and max(map(len, lines)) <= 80 and lines[-1].endswith("300")
    plain = curves.draw(history, best=10, encoding="ascii")
    assert "".join(plain).isascii() and "o held out" in plain[0] and "^" in plain[-2]
    assert curves.draw({"loss": [1.0]}) == [] and curves.draw({"loss": [float("nan")] * 3}) == []
    assert len(curves.draw({"loss": [2.0, float("inf"), 1.0, 1.0]})) == 13


def test_a_model_of_several_inputs_reads_columns_by_their_names(capsys):
    write("t.csv", rows())
    a, b = fnn.Input((1,), name="a"), fnn.Input((1,), dtype="string", name="b")
    lookup = fnn.layers.StringLookup(vocabulary=["x", "y"], output_mode="one_hot")
    joined = fnn.layers.Concatenate()([a, lookup(b)])
    model = fnn.Model([a, b], fnn.layers.Dense(1)(joined))
    frame = pl.read_csv("t.csv")
    want = model.predict(frame)
    for saved in (model, model.freeze()):
        saved.save("m.fnn")
        assert run("predict", "m.fnn", "t.csv", "--out", "p.csv") == 0
        np.testing.assert_allclose(pl.read_csv("p.csv")["prediction"].to_numpy(), want[:, 0], rtol=1e-5)
    capsys.readouterr()
    assert run("predict", "m.fnn", write("short.csv", [["1", "2"]], head=("a", "c"))) == 2
    assert "Unknown column of 'short.csv' for the model 'm.fnn': 'b'" in capsys.readouterr().err
    assert run("predict", "m.fnn", write("text.csv", [["x", "x"]], head=("a", "b"))) == 2
    assert "column 'a': 'x' is no number" in capsys.readouterr().err
    wide = fnn.Input((2,), name="a")
    fnn.Model([wide, b], fnn.layers.Concatenate()([wide, lookup(b)])).save("m.fnn")
    assert run("predict", "m.fnn", "t.csv") == 2 and "needs shape (None, 2), got (60,)" in capsys.readouterr().err


def test_predictors_read_tables(capsys):
    write("t.csv", rows())
    assert run("train", "t.csv", "--target", "y", *QUICK, "--out", "m.fnn") == 0
    fnn.load("m.fnn").freeze().save("p.fnn")
    capsys.readouterr()
    said = []
    for file in ("m.fnn", "p.fnn"):
        assert run("predict", file, "t.csv") == 0 and run("evaluate", file, "t.csv", "--target", "y") == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
