"""The programs of csrc/examples: each is built against what the package carries, and gives what Python gives."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import layers, optimizers

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "csrc" / "examples"
CC = shlex.split(os.environ.get("CC", "cc"))
STRICT = ["-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which(CC[0]), reason="needs Linux and a C compiler"
)


def run(*command, fails=False, **options):
    """What a command prints; or what it complains about, where it has to fail."""
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **options)
    assert (result.returncode == 1) if fails else (result.returncode == 0), f"{command}\n{result.stdout}{result.stderr}"
    return result.stderr if fails else result.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A function that gives the program of a source file, and builds it the first time."""
    folder = tmp_path_factory.mktemp("programs")

    def built(source):
        program = folder / source.replace(".", "_")
        compiler = ["c++", "-std=c++11"] if source.endswith(".cpp") else [*CC, "-std=c11"]
        if not shutil.which(compiler[0]):
            pytest.skip(f"needs {compiler[0]}")
        if not program.exists():
            library = [f"-I{fnn.get_include()}", fnn.get_library(), "-lm", "-pthread"]
            run(*compiler, *STRICT, "-o", program, EXAMPLES / source, *library)
        return program

    return built


def net(*widths, last=None, **settings):
    """A compiled net of tanh layers, trained by Adam unless `settings` say otherwise."""
    fnn.set_seed(1)
    model = fnn.Sequential([fnn.Input((widths[0],)), *[layers.Dense(n, activation="tanh") for n in widths[1:-1]],
                            layers.Dense(widths[-1], activation=last)])  # fmt: skip
    model.compile(**({"optimizer": optimizers.Adam(3e-3), "loss": "mse"} | settings))
    return model


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """The file of a model with names of classes, its inputs (n, 4), and what Python says of them."""
    x = normal(40, 4)
    model = net(4, 16, 3, last="softmax", loss="sparse_categorical_crossentropy")
    model.class_names = ["setosa", "versicolor", "virginica"]
    model.fit(x, np.arange(40) % 3, epochs=3, verbose=0)
    path = tmp_path_factory.mktemp("iris") / "iris.fnn"
    model.save(path)
    return path, x, model.predict(x)


def rows_printed(text):
    """The numbers (n, outputs) and the names at the ends of the lines."""
    lines = [line.split() for line in text.splitlines()]
    return np.array([line[:-1] for line in lines], np.float32), [line[-1] for line in lines]


def as_text(x):
    return "\n".join(" ".join(f"{value:.9g}" for value in row) for row in x)


def check_predictions(program, iris):
    path, x, y = iris
    values, names = rows_printed(run(program, path, input=as_text(x)))
    assert np.array_equal(values, y)
    assert names == [["setosa", "versicolor", "virginica"][k] for k in y.argmax(axis=1)]


def test_first(build, iris):
    path, _, _ = iris
    values, names = zip(*(line.split()[::-1] for line in run(build("first.c"), cwd=path.parent).splitlines()))
    assert np.array_equal(np.array(values, np.float32), fnn.load(path).predict(np.array([[5.1, 3.5, 1.4, 0.2]], np.float32))[0])
    assert names == ("setosa", "versicolor", "virginica")


@pytest.mark.parametrize("source", ["predict.c", "predict.cpp"])
def test_predict(build, iris, source):
    check_predictions(build(source), iris)


@pytest.mark.parametrize("source", ["predict.c", "predict.cpp"])
def test_predict_names_what_it_cannot_open(build, tmp_path, source):
    other = tmp_path / "other.fnn"
    other.write_bytes(b"no model at all")
    assert f"'{other}' is not a fastnn model file" in run(build(source), other, input="", fails=True)
    assert "nowhere.fnn" in run(build(source), tmp_path / "nowhere.fnn", input="", fails=True)


@pytest.mark.parametrize(("source", "lines"), [("first.c", 20), ("predict.c", 40)])
def test_it_takes_few_lines(source, lines):
    assert len((EXAMPLES / source).read_text().splitlines()) <= lines


def test_the_page_says_of_each_function_which_threads_may_call_it():
    declared = re.findall(r"^FNN_API .*?\b(fnn_\w+)\(", (ROOT / "csrc/fastnn.h").read_text(), re.M)
    page = (ROOT / "docs/embedding.rst").read_text()
    table = page[page.index("\nThreads\n") : page.index("\nMemory\n")]
    named = re.findall(r"``(fnn_\w+)``", table[table.index("list-table") : table.index("\nA second thread")])
    assert sorted(named) == sorted(declared)


def test_cpp_errors_say_what_is_wrong(build, iris):
    assert "rows of 4 numbers, got an array of 3" in run(build("predict.cpp"), iris[0], input="1 2 3", fails=True)


@pytest.mark.parametrize("optimizer", [optimizers.Adam(3e-3), optimizers.SGD(0.02, momentum=0.9)], ids=["adam", "sgd"])
@pytest.mark.parametrize("classes", [True, False])
def test_train_goes_on_as_python_does(build, tmp_path, optimizer, classes):
    x, n = normal(203, 6), 203
    y = np.arange(n) % 3 if classes else np.sin(x[:, :2])
    kind = {"last": "softmax", "loss": "sparse_categorical_crossentropy"} if classes else {}
    model = net(6, 16, 3 if classes else 2, **kind, optimizer=optimizer)
    model.fit(x, y, epochs=2, batch_size=32, seed=3, verbose=0)
    before, after = tmp_path / "before.fnn", tmp_path / "after.fnn"
    model.save(before)
    x.tofile(tmp_path / "x.raw")
    y.astype("i4" if classes else "f4").tofile(tmp_path / "y.raw")
    text = run(build("train.c"), before, tmp_path / "x.raw", tmp_path / "y.raw", 5, 32, 7, after)
    losses = [float(value) for value in re.findall(r"loss (\S+)", text)]

    history = model.fit(x, y, epochs=5, batch_size=32, seed=7, verbose=0)
    assert losses == pytest.approx(history.history["loss"], abs=1e-6)
    trained = fnn.load(after)
    for name, parameter in model.parameters.items():
        assert np.array_equal(parameter.value, trained.parameters[name].value), name
    # Moments and the count of updates came back too: both go on alike.
    for one in (model, trained):
        one.fit(x, y, epochs=2, batch_size=32, seed=8, verbose=0)
    for name, parameter in model.parameters.items():
        assert np.array_equal(parameter.value, trained.parameters[name].value), name


def test_train_refuses_a_model_that_only_predicts(build, tmp_path):
    net(2, 1).freeze().save(tmp_path / "m.fnn")
    normal(4, 2).tofile(tmp_path / "x.raw")
    arguments = [tmp_path / "m.fnn", tmp_path / "x.raw", tmp_path / "x.raw", 1, 1, 1, tmp_path / "t.fnn"]
    assert "compile it before it is saved" in run(build("train.c"), *arguments, fails=True)
    assert not (tmp_path / "t.fnn").exists()


@pytest.mark.parametrize("history", [0, 64])
def test_realtime_filters_what_python_filters(build, tmp_path, history):
    model = net(history + 64, 32, 64)
    model.save(tmp_path / "amp.fnn")
    signal = normal(64 * 300)
    signal.tofile(tmp_path / "in.raw")
    text = run(build("realtime.c"), tmp_path / "amp.fnn", tmp_path / "in.raw", tmp_path / "out.raw")
    median, rare, worst = map(float, re.findall(r"([\d.]+) us(?:,|$)", text.strip())[-3:])
    assert text.startswith("300 blocks of 64 samples") and 0 < median <= rare <= worst
    padded = np.concatenate([np.zeros(history, np.float32), signal])
    windows = np.stack([padded[i * 64 : i * 64 + history + 64] for i in range(300)])
    assert np.array_equal(np.fromfile(tmp_path / "out.raw", np.float32), model.predict(windows).ravel())


def test_server_answers_alike_on_any_number_of_threads(build, tmp_path):
    model = net(16, 32, 32, 3)
    model.save(tmp_path / "m.fnn")
    x = normal(5000, 16)
    x.tofile(tmp_path / "x.raw")
    expected = model.predict(x)
    for threads in (1, 4):
        text = run(build("server.c"), tmp_path / "m.fnn", tmp_path / "x.raw", tmp_path / "y.raw", threads)
        assert re.fullmatch(rf"5000 requests on {threads} threads: [1-9]\d+ requests/s\n", text)
        assert np.array_equal(np.fromfile(tmp_path / "y.raw", np.float32).reshape(-1, 3), expected)


CPP = """
#include "fastnn.hpp"
#include <cassert>
#include <iostream>
#include <type_traits>

static_assert(!std::is_copy_constructible<fastnn::model>::value, "");
static_assert(!std::is_copy_constructible<fastnn::session<float>>::value, "");
static_assert(std::is_nothrow_move_constructible<fastnn::model>::value, "");

template <class Function> void throws(Function function) {
    try { function(); } catch (const fastnn::error &e) { std::cout << e.detail.status << " " << e.what() << "\\n"; return; }
    assert(!"an exception");
}

int main(int, char **argv) {
    fastnn::model first(argv[1]);
    const std::vector<unsigned char> bytes = first.save_memory();
    fastnn::model model(bytes.data(), bytes.size());
    const std::vector<float> x = {1, 2, 3, 4, 5, 6}, y = {1, 0, -1, 3, 2, 1};
    fastnn::session<float> train(model, 2, FNN_TRAIN);
    for (int i = 0; i < 3; i++) train.train_epoch(x, y, 5, static_cast<std::uint64_t>(i), model.learning_rate());
    assert(model.iterations() == 6);
    std::vector<float> kernel = model.parameter<float>(model.parameters()[0]);
    fastnn::model moved(std::move(model));
    fastnn::session<float> one(moved, 1), many(moved, 7);
    assert(one.predict(x) == many.predict(x) && one.predict(x) != fastnn::session<float>(first, 1).predict(x));
    first.set_parameter(first.parameters()[0], kernel);
    assert(first.parameter<float>(first.parameters()[0]) == kernel);
    moved.save(argv[2]);
    throws([&] { train.train_batch(x, std::vector<float>{1, 2}, 0.1); });
    throws([&] { train.train_batch(x, std::vector<std::int32_t>{1, 2, 3}, 0.1); });
    throws([&] { fastnn::session<double>(moved, 1); });
    throws([&] { one.predict({1, 2, 3}); });
    throws([&] { fastnn::model("/nowhere/m.fnn"); });
    throws([&] { first.set_parameter(first.parameters()[0], std::vector<float>{1}); });
    return 0;
}
"""


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_cpp_wrapper(tmp_path):
    model = net(2, 8, 2)
    model.save(tmp_path / "m.fnn")
    (tmp_path / "main.cpp").write_text(CPP)
    library = [f"-I{EXAMPLES}", f"-I{fnn.get_include()}", fnn.get_library(), "-lm", "-pthread"]
    run("c++", "-std=c++11", *STRICT, "-Wconversion", "-o", tmp_path / "main", tmp_path / "main.cpp", *library)
    told = run(tmp_path / "main", tmp_path / "m.fnn", tmp_path / "trained.fnn").splitlines()
    expected = ["as many rows", "another type", "another type", "rows of 2 numbers, got an array of 3", "/nowhere/m.fnn",
                "parameter of 16"]  # fmt: skip
    assert len(told) == len(expected) and all(words in line for words, line in zip(expected, told)), told
    x, y = np.arange(1, 7, dtype=np.float32).reshape(3, 2), np.array([[1, 0], [-1, 3], [2, 1]], np.float32)
    model.fit(x, y, epochs=3, batch_size=2, seed=5, verbose=0)
    trained = fnn.load(tmp_path / "trained.fnn")
    assert all(np.array_equal(p.value, trained.parameters[name].value) for name, p in model.parameters.items())


@pytest.mark.skipif(not shutil.which("cargo"), reason="needs cargo")
def test_rust(iris, tmp_path):
    project = shutil.copytree(EXAMPLES / "rust", tmp_path / "rust", ignore=shutil.ignore_patterns("target"))
    environment = os.environ | {"FASTNN_LIB": str(Path(fnn.get_library()).parent), "RUSTFLAGS": "-D warnings"}
    run("cargo", "build", "--offline", "--quiet", cwd=project, env=environment)
    program = project / "target/debug/predict"
    check_predictions(program, iris)
    assert "rows of 4" in run(program, iris[0], input="1 2 3", fails=True)


def test_the_benchmark_measures(tmp_path, monkeypatch):
    from fastnn.bench.nets import Net

    monkeypatch.syspath_prepend(ROOT)
    benchmark = importlib.import_module("benchmarks.embedding.__main__")
    program, folder = tmp_path / "program", ROOT / "benchmarks" / "embedding"
    library = [f"-I{fnn.get_include()}", fnn.get_library(), "-lm", "-pthread"]
    run(*CC, *benchmark.FLAGS, "-o", program, folder / "harness.c", folder / "fastnn_side.c", *library)
    net_of = Net("4-8-3", (4, 8, 3), "relu", "mean_squared_error", batch=1, steps=1, goal=1)
    row = benchmark.measured(net_of, {"fastnn": lambda path, net: benchmark.Side(program, path, net)}, 3, tmp_path)
    assert 0 < row["latency"]["fastnn"]["median"] < 1e3 and 0 < row["threads"]["fastnn"]["median"] < 1e3
    figures = row["fastnn"]
    assert 0 < figures["p50"] <= figures["p99.9"] <= figures["worst"] and 0 < figures["memory MB"] < 50
    with benchmark.Side(program, tmp_path / "4-8-3.fnn", net_of) as side:
        x = ((np.arange(4) % 7 - 3) / 3).astype(np.float32)
        assert np.array_equal(np.array(side.ask("output"), np.float32), fnn.load(tmp_path / "4-8-3.fnn")(x))
