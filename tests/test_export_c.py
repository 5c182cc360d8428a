"""C headers: random models of every layer compiled and run, here and on an emulated Cortex-M4."""

import shutil
import subprocess

import numpy as np
import pytest
from c_headers import ARM_GCC, ARM_GCC_SMALL, ARM_RUN, GCC, PLAIN, as_list, check, distance, has_arm, outputs_of
from conftest import EXAMPLES
from random_models import ACTIVATIONS, Centered, random_model

import fastnn as fnn
from fastnn import _core, c_functions, c_header, errors, layers, ops
from fastnn.onnx.emitters import outside_inference

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
needs_arm = pytest.mark.skipif(not has_arm(), reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm")

# Ops of predictions that a header cannot hold; `fold` leaves none of the last two.
ABSENT = {*c_header.BY_BATCH, "full", "in_training"}


def dense(sizes, activation="tanh", last="softmax", **kwargs):
    """A chain of Dense layers with weights of some size in all of them."""
    chain = [layers.Dense(n, activation) for n in sizes[1:-1]] + [layers.Dense(sizes[-1], last)]
    model = fnn.Sequential([fnn.Input(sizes[:1]), *chain], **kwargs)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def header(model, tmp_path, **kwargs):
    model.export_c(tmp_path / "net.h", **kwargs)
    return (tmp_path / "net.h").read_text()


def compiles(folder, source, command=GCC, name="t.c"):
    (folder / name).write_text(source)
    subprocess.run([*command, *PLAIN, "-c", name, "-o", "t.o"], cwd=folder, check=True)


def test_every_op_has_c_or_a_reason():
    for op in _core.OPS:
        assert (c_header.supported(op) or op in ABSENT) != bool(outside_inference(op)), op


@pytest.mark.parametrize("seed", range(min(max(EXAMPLES // 10, 5), 20)))
def test_random_models(seed, tmp_path):
    model, arrays = random_model(np.random.default_rng(seed))
    try:
        frozen, ours, its = check(model, arrays, tmp_path)
    except errors.UnsupportedError as error:
        assert all("reads all rows of a batch" in part for part in error.missing)
        return
    assert frozen <= 1e-6
    assert ours <= 2 * its + 1e-6  # as near to what float64 gives as the frozen model is


@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_narrow_weights_give_the_same_bits(activation, weights, tmp_path, rng):
    model = dense((2100, 40, 17, 5), activation, "tanh")
    x = rng.normal(size=(8, 2100)).astype("float32") * 10.0 ** rng.integers(-6, 6, (8, 1))
    halves = rng.integers(-(2**15), 2**15, (4, 2100)) / 2**15  # between two of the numbers that they are rounded to
    x = np.concatenate([x, np.zeros((1, 2100)), halves, halves / 2**7]).astype("float32")
    predictor = model.freeze(weights)
    [got] = outputs_of(predictor, tmp_path, [x])
    want = predictor(x)
    if weights == "int8" or _core.active_isa() != "avx512bf16":
        assert (got.view("uint32") == want.view("uint32")).all()
    assert distance([got], [want]) <= 1e-6
    text = (tmp_path / "net.h").read_text()
    assert f"static const {'int8_t' if weights == 'int8' else 'uint16_t'} net_dense" in text.replace(predictor.program.tensors[1].name, "")


def test_a_mixed_model_rounds_as_the_engine_does(tmp_path, rng):
    model = dense((33, 20, 4), dtype="mixed_bfloat16")
    assert check(model, [rng.normal(size=(9, 33)).astype("float32")], tmp_path)[0] <= 1e-6


FUNCTIONS = [*ACTIVATIONS, "step", "gelu_tanh", "erf", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "floor", "sign"]
SPECIAL = [0.0, 1.0, 0.625, 40.0, 88.73, 87.34, 104.0, 1e-30, 3e38, 1e-3, np.inf]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_the_bits_of_the_engine(name, tmp_path, rng):
    """But for sums, whose order there depends on the instruction set."""
    sums = "softmax" in name
    wide = rng.normal(size=200) * 10.0 ** rng.integers(-8, 8, 200)
    x = np.concatenate([rng.normal(size=200), [] if sums else [*SPECIAL, *np.negative(SPECIAL), np.nan, *wide]])
    x, t = x.astype("float32"), fnn.Input((len(x),))
    activation = {"name": "gelu", "approximate": True} if name == "gelu_tanh" else name
    made = layers.Activation(activation)(t) if name in FUNCTIONS[: len(ACTIVATIONS) + 2] else getattr(ops, name)(t)
    predictor = fnn.Model(t, made).freeze()
    [got], want = outputs_of(predictor, tmp_path, [x[None]]), predictor(x[None])
    same = (got.view("uint32") == want.view("uint32")) | (np.isnan(got) & np.isnan(want))
    assert distance([got], [want]) <= 1e-6 if sums else same.all(), (x[~same[0]], got[~same], want[~same])


def test_long_sums_are_as_near_as_short_ones(tmp_path, rng):
    t = fnn.Input((3, 5000))
    one = layers.Concatenate()([layers.Softmax()(t), layers.LayerNormalization()(t), layers.Activation("log_softmax")(t)])
    model = fnn.Model(t, [one, ops.mean(t, axis=-1, keepdims=True), ops.sum(t, axis=(1, 2), keepdims=True)])
    assert check(model, [rng.random((2, 3, 5000)).astype("float32")], tmp_path)[0] <= 5e-7


def test_inputs_outputs_and_integers(tmp_path, rng):
    a, b = fnn.Input((3, 4), name="a b"), fnn.Input((2,), dtype="int32", name="word")
    joined = layers.Concatenate()([layers.Flatten()(a), layers.Flatten()(layers.Embedding(7, 5)(b))])
    model = fnn.Model([a, b], {"one": layers.Dense(3, "relu")(joined), "a-b": a * 2.0, "flat": layers.Flatten()(a)})
    arrays = [rng.normal(size=(6, 3, 4)).astype("float32"), rng.integers(0, 7, (6, 2)).astype("int32")]
    predictor = model.freeze()
    got, want = outputs_of(predictor, tmp_path, arrays), as_list(predictor(arrays))
    assert distance(got, want) <= 1e-6 and [g.shape for g in got] == [w.shape for w in want]
    text = (tmp_path / "net.h").read_text()
    assert "net_predict(const float *x_a_b, const int32_t *x_word, float *y_one, float *y_a_b, float *y_flat, net_scratch" in text.replace("\n" + " " * 30, " ")
    assert "#define NET_INPUTS_A_B 12 " in text and "#define NET_OUTPUTS_ONE 3 " in text
    for index in (-1, 7):  # refused before anything is read or written
        with pytest.raises(subprocess.CalledProcessError, match="status 1"):
            outputs_of(predictor, tmp_path, [arrays[0][:1], np.array([[0, index]], "int32")])


def test_memory_is_shared_by_what_is_not_needed_at_the_same_time(tmp_path, rng):
    x = rng.normal(size=(3, 64)).astype("float32")
    deep = dense((64,) * 20)
    assert check(deep, [x], tmp_path)[0] <= 1e-6
    text = header(deep, tmp_path)
    assert "float values[128];" in text and "scratch: 512 bytes" in text
    assert "float values[1];" in header(dense((4, 3)), tmp_path)  # softmax in its own output
    h = t = fnn.Input((64,))
    for _ in range(4):  # each is needed until the next but one
        h = layers.Dense(64, "tanh")(layers.Add()([layers.Dense(64, "gelu")(h), h]))
    assert check(fnn.Model(t, [h, layers.Multiply()([h, h])]), [x], tmp_path)[0] <= 1e-6


def test_memory_and_arithmetic_under_sanitizers(tmp_path):
    sanitized = [*GCC, "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=float-divide-by-zero"]
    for seed in (0, 5, 9, 14, 25, 26):
        model, arrays = random_model(np.random.default_rng(seed))
        assert check(model, arrays, tmp_path, compiler=sanitized)[0] <= 1e-6
    model = dense((1500, 30, 5))
    assert check(model, [np.ones((2, 1500), "float32")], tmp_path, "int8", compiler=sanitized)[0] <= 1e-6


def test_languages_levels_and_two_headers_in_one_file(tmp_path, rng):
    dense((5, 4, 3), "gelu").export_c(tmp_path / "a.h")
    dense((5, 4, 3), "mish").freeze("int8").export_c(tmp_path / "my-2nd.net.hpp")
    both = '#include "a.h"\n#include "my-2nd.net.hpp"\n#include "a.h"\nint main(void) {{ return sizeof(a_scratch) == sizeof(my_2nd_net_scratch){}; }}\n'
    for at, standard in enumerate(["-std=c99", "-std=c11", "-std=gnu17"]):
        compiles(tmp_path, both.format(""), [*GCC, standard, f"-O{at + 1}"])
    if shutil.which("g++"):
        compiles(tmp_path, both.format(""), ["g++", "-std=c++11", *GCC[3:]], "t.cpp")
    if shutil.which("clang"):
        compiles(tmp_path, both.format(""), ["clang", *GCC[1:]])
    x = rng.normal(size=(4, 5)).astype("float32")
    predictor = dense((5, 4, 3), "gelu").freeze()
    contracted = ["gcc", "-std=gnu11", "-O3", "-ffp-contract=fast", *(["-march=native"] if "avx" in _core.active_isa() else [])]
    assert distance(outputs_of(predictor, tmp_path, [x], contracted), [predictor(x)]) <= 1e-6


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_it_is_c_plus_plus(tmp_path):
    compiler = ["g++", "-x", "c++", "-std=c++11", *GCC[2:]]
    for seed in (0, 7, 15):
        assert check(*random_model(np.random.default_rng(seed)), tmp_path, compiler=compiler)[0] <= 1e-6


def test_names_that_c_does_not_have(tmp_path):
    x = fnn.Input((3,), name="x * ??%")
    h = layers.Dense(2, "relu", name="* #error ??) \\")(x)
    h = layers.Dense(2, "tanh", name="int")(layers.Dense(2, "tanh", name="2nd")(h))
    model = fnn.Model(x, layers.Dense(2, name="größe")(h), name="n")
    model.class_names, model.feature_names = ['"quoted" \\ ??/', "für"], ["net_a", "@fma(1)", "%d\n"]
    text = header(model, tmp_path)
    program = (
        '#include "net.h"\n#include <stdio.h>\nint main(void) {\n'
        "    for (int i = 0; i < 3; i++) printf(\"%s|\", net_feature_names[i]);\n"
        "    for (int i = 0; i < 2; i++) printf(\"%s|\", net_class_names[i]);\n    return 0;\n}\n"
    )  # fmt: skip
    (tmp_path / "t.c").write_text(program)
    subprocess.run([*GCC, "t.c", "-o", "t", "-lm"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "t"], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert out.split("|")[:-1] == [*model.feature_names, *model.class_names]
    assert header(model, tmp_path) == text and text.isascii()


def test_weights_read_back_exactly(rng):
    values = np.concatenate([rng.normal(size=500) * 10.0 ** rng.integers(-40, 38, 500), [0.0, 1.0, -2.0, 3.4028235e38, 1e-45]])
    for real, dtype in (("float", np.float32), ("double", np.float64)):
        given = values.astype(dtype)
        texts = c_functions.numbers(given, real)
        assert (np.array([dtype(t.rstrip("f")) for t in texts]) == given).all()
        assert texts == [c_functions.number(v, real) for v in given]
    assert c_functions.numbers(np.array([np.nan, np.inf, -np.inf, 1.0], "float32")) == ["NAN", "INFINITY", "-INFINITY", "1.0f"]


def test_frozen_files_and_the_command_line(tmp_path, capsys, rng):
    from fastnn.cli import main

    model = dense((6, 5, 3))
    model.freeze("int8").save(tmp_path / "small.fnn")
    model.save(tmp_path / "net.fnn")
    assert main(["export", str(tmp_path / "small.fnn"), str(tmp_path / "net.h")]) == 0
    assert (tmp_path / "net.h").read_text() == header(model.freeze("int8"), tmp_path)
    assert main(["export", str(tmp_path / "net.fnn"), str(tmp_path / "net.h")]) == 0
    assert (tmp_path / "net.h").read_text() == header(model, tmp_path)
    assert "Written to" in capsys.readouterr().out


def test_wrong_arguments(tmp_path):
    model = dense((3, 2))
    with pytest.raises(errors.UnknownNameError, match="extension of C headers '.c'; did you mean '.h'"):
        model.export_c(tmp_path / "net.c")
    with pytest.raises(errors.ArgumentError, match="a letter, then letters, digits and _; got '2nd'"):
        model.export_c(tmp_path / "net.h", name="2nd")
    with pytest.raises(errors.ArgumentTypeError, match="name that is text, got 3"):
        model.export_c(tmp_path / "net.h", name=3)
    with pytest.raises(errors.ArgumentTypeError, match="needs a path, got int"):
        model.export_c(3)
    with pytest.raises(errors.FileAccessError):
        model.export_c(tmp_path / "missing" / "net.h")
    model.export_c(tmp_path / "net.h", name="other")
    assert "other_predict(" in (tmp_path / "net.h").read_text()
    with pytest.raises(errors.ArgumentError, match="exists already"):
        model.export_c(tmp_path / "net.h", overwrite=False)


def test_what_c_cannot_have_is_named(tmp_path):
    x = fnn.Input((3,))
    mean = fnn.Model(x, layers.Dense(2)(Centered()(x)))
    with pytest.raises(errors.UnsupportedError, match=r"(?s)one sample at a time.*mean_rows, which reads all rows.*without these layers"):
        mean.export_c(tmp_path / "net.h")
    text = fnn.Input((1,), dtype="string", name="kind")
    found = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(text)
    lookup = fnn.Model(text, layers.Dense(2)(found))
    with pytest.raises(errors.UnsupportedError, match=r"(?s)looks up text or integers.*input 'kind'.*behind the lookups"):
        lookup.export_c(tmp_path / "net.h")
    assert not (tmp_path / "net.h").exists()


def test_sparse_inputs_are_dense_rows(tmp_path, rng):
    model = fnn.Sequential([fnn.Input((30,), sparse=True), layers.Dense(4, "relu"), layers.Dense(2)])
    x = (rng.random((5, 30)) < 0.2).astype("float32")
    [got] = outputs_of(model.freeze(), tmp_path, [x])
    assert distance([got], [model.predict(x, verbose=0)]) <= 1e-6


@needs_arm
@pytest.mark.parametrize("weights", [None, "int8", "bfloat16"])
def test_on_an_emulated_cortex_m4(weights, tmp_path, rng):
    machine = {"compiler": ARM_GCC, "run": ARM_RUN}
    model = dense((64, 32, 16, 10))
    assert check(model, [rng.normal(size=(5, 64)).astype("float32")], tmp_path, weights, **machine)[0] <= 1e-6
    if weights is None:
        for seed in range(6):
            assert check(*random_model(np.random.default_rng(seed)), tmp_path, **machine)[0] <= 1e-6


@needs_arm
@pytest.mark.parametrize("weights", [None, "int8"])
def test_without_a_floating_point_unit(weights, tmp_path, rng):
    x = rng.normal(size=(5, 64)).astype("float32")
    assert check(dense((64, 32, 10), "relu"), [x], tmp_path, weights, ARM_GCC_SMALL, ARM_RUN)[0] <= 1e-6


