"""Model files: the same bits back, other readers, damage, and what is refused."""

import copy
import errno
import hashlib
import io as stream
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn as fnn
from fastnn import _safetensors, io, layers, optimizers
from fastnn.errors import (
    ArgumentError,
    ArgumentTypeError,
    FastNNError,
    FileAccessError,
    FileFormatError,
    GraphError,
    ShapeError,
    UnknownNameError,
)


def small(dtype="float32"):
    x = fnn.Input((3,), name="x")
    h = layers.Dense(4, "relu", kernel_regularizer="l2", name="h")(x)
    model = fnn.Model(
        x,
        layers.Dense(2, "softmax", name="y")(layers.Dropout(0.2, name="drop")(h)),
        dtype=dtype,
        name="small",
    )
    schedule = optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    model.compile(
        optimizers.Adam(schedule, clipnorm=1.0),
        fnn.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    return model


@pytest.fixture
def batch(rng):
    return rng.normal(size=(20, 3)), rng.integers(0, 2, 20)


def same_weights(a, b):
    for p, q in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_with_the_same_bits(tmp_path, batch, dtype):
    model = small(dtype)
    model.fit(*batch, epochs=2, verbose=0)
    model.train_on_batch(*batch)
    model.save(tmp_path / "m.fnn")
    twin = fnn.load(tmp_path / "m.fnn")
    same_weights(model, twin)
    assert twin.name == "small" and twin.dtype == dtype and twin.program == model.program
    np.testing.assert_array_equal(model.predict(batch[0]), twin.predict(batch[0]))
    assert model.train_on_batch(*batch) == twin.train_on_batch(*batch)
    a, b = (m.fit(*batch, epochs=3, initial_epoch=2, verbose=0, seed=7) for m in (model, twin))
    assert a.history == b.history
    same_weights(model, twin)


def test_without_optimizer(tmp_path, batch):
    model = small()
    model.fit(*batch, verbose=0)
    model.save(tmp_path / "m", include_optimizer=False)
    twin = fnn.load(tmp_path / "m")
    same_weights(model, twin)
    with pytest.raises(RuntimeError):
        twin.fit(*batch)
    model.save(tmp_path / "m")
    assert io.load_model(tmp_path / "m", compile=False).optimizer is None


def test_copies_are_files(batch):
    model = small()
    model.fit(*batch, verbose=0)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.evaluate(*batch) == model.evaluate(*batch)
        twin.set_weights([w * 0 for w in twin.get_weights()])
    assert any(w.any() for w in model.get_weights())
    frozen = pickle.loads(pickle.dumps(model.freeze()))
    np.testing.assert_array_equal(frozen(batch[0]), model.predict(batch[0]))


def test_spawned_processes_take_models(batch, tmp_path):
    model = small()
    code = (
        "import pickle, sys, numpy as np; m = pickle.load(open(sys.argv[1], 'rb'));"
        "print(float(m.predict(np.ones((1, 3)))[0, 0]).hex())"
    )
    (tmp_path / "p").write_bytes(pickle.dumps(model))
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "p"], capture_output=True, text=True, check=True
    ).stdout
    assert float.fromhex(out) == model.predict(np.ones((1, 3)))[0, 0]


def test_every_layer_and_structure(tmp_path, rng):
    a, b = fnn.Input((2, 3), name="a"), fnn.Input((6,), name="b")
    h = layers.Reshape((6,))(a)
    h = layers.Add()([h, b])
    inner = fnn.Sequential(
        [layers.Dense(6, "gelu", bias_initializer=fnn.initializers.Constant(0.5)), layers.ELU()], name="inner"
    )
    h = layers.Multiply()([inner(h), inner(b)])
    h = layers.Concatenate()([h, layers.Flatten()(a), layers.Activation("tanh")(b)])
    h = layers.LeakyReLU()(layers.Dense(5, use_bias=False)(layers.ReLU()(layers.Dropout(0.1, seed=3)(h))))
    model = fnn.Model({"a": a, "b": b}, {"p": layers.Softmax()(h), "h": h})
    model.compile("sgd", {"h": "huber", "p": None}, metrics={"p": ["categorical_accuracy"]})
    model.save(tmp_path / "m")
    twin = fnn.load(tmp_path / "m")
    x = {"a": rng.normal(size=(4, 2, 3)), "b": rng.normal(size=(4, 6))}
    for key, value in model.predict(x).items():
        np.testing.assert_array_equal(twin.predict(x)[key], value)
    assert twin.program == model.program and twin.metrics_names == model.metrics_names


def test_other_tools_read_the_weights(tmp_path, batch):
    safetensors = pytest.importorskip("safetensors.numpy")
    model = small()
    model.fit(*batch, verbose=0)
    model.save(tmp_path / "m.fnn")
    tensors = safetensors.load_file(tmp_path / "m.fnn")
    for name, p in model.parameters.items():
        np.testing.assert_array_equal(tensors[name], p.value)
    assert tensors["optimizer/iterations"] == 1
    assert tensors["optimizer/slot1/h/kernel"].shape == (3, 4)


def test_layers_of_unknown_classes_live_on(tmp_path, batch):
    model = small()
    content = io.to_bytes(model)
    other = resealed(
        content,
        lambda h: h["__metadata__"].update(
            config=h["__metadata__"]["config"].replace('"class_name":"Dense"', '"class_name":"MyDense"')
        ),
    )
    (tmp_path / "m").write_bytes(other)
    twin = fnn.load(tmp_path / "m")
    same_weights(model, twin)
    np.testing.assert_array_equal(twin.predict(batch[0]), model.predict(batch[0]))
    a, b = (m.fit(*batch, epochs=3, verbose=0, seed=1).history for m in (model, twin))
    assert a == b
    twin.save(tmp_path / "again")
    np.testing.assert_array_equal(fnn.load(tmp_path / "again").predict(batch[0]), model.predict(batch[0]))


def test_predictors(tmp_path, rng):
    x = rng.normal(size=(5, 3))
    model = small()
    frozen = model.freeze()
    frozen.save(tmp_path / "p")
    twin = fnn.load(tmp_path / "p")
    assert isinstance(twin, fnn.Predictor)
    np.testing.assert_array_equal(twin(x), frozen(x))
    a, b = fnn.Input((2,), name="a"), fnn.Input((2,), name="b")
    several = fnn.Model([a, b], {"sum": layers.Add()([a, b])}).freeze()
    several.save(tmp_path / "q")
    pair = [x[:, :2], x[:, 1:]]
    np.testing.assert_array_equal(fnn.load(tmp_path / "q")(pair)["sum"], several(pair)["sum"])


def test_weights_by_name(tmp_path):
    model, twin = small(), small()
    model.save_weights(tmp_path / "w")
    twin.load_weights(tmp_path / "w")
    same_weights(model, twin)
    with pytest.raises(FileFormatError, match="load_weights"):
        fnn.load(tmp_path / "w")
    model.save(tmp_path / "m")
    twin.load_weights(tmp_path / "m")
    wider = fnn.Sequential([fnn.Input((3,)), layers.Dense(5, name="h"), layers.Dense(2, name="z")])
    before = wider.get_weights()
    with pytest.raises(ShapeError):
        wider.load_weights(tmp_path / "w")
    fitting = fnn.Sequential([fnn.Input((3,)), layers.Dense(4, name="h"), layers.Dense(2, name="z")])
    with pytest.raises(UnknownNameError):
        fitting.load_weights(tmp_path / "w")
    fitting.load_weights(tmp_path / "w", skip_mismatch=True)
    np.testing.assert_array_equal(
        fitting.get_layer("h").get_weights()[0], model.get_layer("h").get_weights()[0]
    )
    for a, b in zip(before, wider.get_weights()):
        np.testing.assert_array_equal(a, b)


# ---- writing safely ----


def test_other_extensions_are_refused(tmp_path):
    for name in ("m.keras", "m.h5", "m.HDF5", "m.onnx", "m.pt", "m.pth"):
        with pytest.raises(ArgumentError, match="of another format; use .*fnn"):
            small().save(tmp_path / name)
    with pytest.raises(ArgumentTypeError):
        small().save(3)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="needs a FIFO")
def test_only_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(FileAccessError, match="folder or device") as caught:
            small().save(path)
        assert caught.value.errno and caught.value.filename == str(path)
    assert os.listdir(tmp_path) == ["pipe"]


def test_paths(tmp_path):
    with pytest.raises(FileAccessError) as caught:
        small().save(tmp_path / "missing" / "m")
    assert caught.value.errno == errno.ENOENT and caught.value.filename == str(tmp_path / "missing" / "m")
    small().save(os.fsencode(tmp_path / "bytes"))
    assert fnn.load(os.fsencode(tmp_path / "bytes")).built
    for call in (small().save, small().save_weights, small().load_weights, fnn.load):
        for path in ("a\0b", ""):
            with pytest.raises(ArgumentError, match="path"):
                call(path)
        with pytest.raises(ArgumentTypeError, match="path"):
            call(stream.BytesIO())


def test_failed_writes_leave_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    small().save(path)
    old = path.read_bytes()
    with pytest.raises(ArgumentError):
        small().save(path, overwrite=False)
    with pytest.raises(FileAccessError):
        small().save(tmp_path / "missing" / "m")
    with pytest.raises(FileAccessError):
        small().save(tmp_path)

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(FileAccessError, match="space"):
                small().save(path)
        assert os.listdir(tmp_path) == ["m"] and path.read_bytes() == old


def test_links_and_modes_survive(tmp_path):
    small().save(tmp_path / "m")
    os.chmod(tmp_path / "m", 0o640)
    os.symlink("m", tmp_path / "link")
    small().save(tmp_path / "link")
    assert os.path.islink(tmp_path / "link") and os.stat(tmp_path / "m").st_mode & 0o777 == 0o640


def test_unbuilt_models_are_refused(tmp_path):
    with pytest.raises(GraphError):
        fnn.Sequential([layers.Dense(2)]).save(tmp_path / "m")


# ---- reading what should not be read ----


def tiny():
    model = fnn.Sequential([fnn.Input((1,), name="i"), layers.Dense(1, name="d")], name="t")
    model.compile("sgd", "mse")
    return model


def refused(content):
    with pytest.raises(FileFormatError):
        io._read(stream.BytesIO(content), "the test's file")


def resealed(content, change):
    """The file with a changed header and a checksum that is right again."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    return sealed(json.dumps(header, separators=(",", ":")).encode(), content[8 + length :])


def sealed(header, body):
    at = _safetensors._DIGITS_AT - 8
    header = header[:at] + b"0" * 64 + header[at + 64 :]
    blank = len(header).to_bytes(8, "little") + header + body
    digits = hashlib.sha256(blank).hexdigest().encode()
    return blank[: 8 + at] + digits + blank[8 + at + 64 :]


def test_every_flipped_byte_and_every_truncation_is_noticed():
    content = io.to_bytes(tiny())
    for i in range(len(content)):
        for bit in (1, 128):
            damaged = bytearray(content)
            damaged[i] ^= bit
            refused(bytes(damaged))
    for length in range(0, len(content), 7):
        refused(content[:length])
    refused(content + b"\0")


def test_foreign_files(tmp_path):
    for content in (
        b"",
        b"\x89HDF\r\n\x1a\n" + b"0" * 99,
        b"PK\x03\x04" + b"0" * 99,
        pickle.dumps([1]),
        b"{}",
        b"\xff" * 200,
    ):
        (tmp_path / "f").write_bytes(content)
        with pytest.raises(FileFormatError):
            fnn.load(tmp_path / "f")
    with pytest.raises(FileAccessError):
        fnn.load(tmp_path / "none")
    with pytest.raises(FileAccessError):
        fnn.load(tmp_path)
    for path in (None, 0):
        with pytest.raises(ArgumentTypeError):
            fnn.load(path)
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({"a": np.zeros(2)}, tmp_path / "s")
    with pytest.raises(FileFormatError, match="safetensors file of another program"):
        fnn.load(tmp_path / "s")


def entry(header):
    return header["d/kernel"]


HOSTILE = {
    "newer format": lambda h: h["__metadata__"].update(format="fastnn 99"),
    "foreign format": lambda h: h["__metadata__"].update(format="other"),
    "unknown kind": lambda h: h["__metadata__"].update(kind="x"),
    "no config": lambda h: h["__metadata__"].pop("config"),
    "no program": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace("Dense", "X"), program="x"
    ),
    "config is no JSON": lambda h: h["__metadata__"].update(config="{"),
    "config is deep": lambda h: h["__metadata__"].update(config="[" * 100_000 + "]" * 100_000),
    "config is a list": lambda h: h["__metadata__"].update(config="[]"),
    "config is empty": lambda h: h["__metadata__"].update(config='{"layers":[]}'),
    "config with NaN": lambda h: h["__metadata__"].update(config='{"layers":NaN}'),
    "config twice": lambda h: h["__metadata__"].update(config='{"layers":[],"layers":[]}'),
    "negative units": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace('"units":1', '"units":-1')
    ),
    "huge units": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace('"units":1', '"units":1' + "0" * 11)
    ),
    "absurd units": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace('"units":1', '"units":1' + "0" * 40)
    ),
    "endless units": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace('"units":1', '"units":1' + "0" * 9999)
    ),
    "layer index": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace('"layers":[0]', '"layers":[9]')
    ),
    "layer of itself": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace('"layers":[0]', '"layers":[1]')
    ),
    "layer from the end": lambda h: h["__metadata__"].update(
        config=h["__metadata__"]["config"].replace('"layers":[0]', '"layers":[-1]')
    ),
    "unknown optimizer": lambda h: h["__metadata__"].update(
        compile=h["__metadata__"]["compile"].replace("SGD", "os.system")
    ),
    "unknown loss": lambda h: h["__metadata__"].update(
        compile=h["__metadata__"]["compile"].replace("mse", "eval")
    ),
    "compile is a list": lambda h: h["__metadata__"].update(compile="[]"),
    "compile with more": lambda h: h["__metadata__"].update(compile='{"run_eagerly":1}'),
    "metadata of numbers": lambda h: h["__metadata__"].update(kind=1),
    "no such dtype": lambda h: entry(h).update(dtype="BF16"),
    "dtype is a list": lambda h: entry(h).update(dtype=[]),
    "another dtype": lambda h: entry(h).update(dtype="I32"),
    "negative size": lambda h: entry(h).update(shape=[-1, -1]),
    "size true": lambda h: entry(h).update(shape=[True, 1]),
    "huge shape": lambda h: entry(h).update(shape=[2**62, 2**62]),
    "many dimensions": lambda h: entry(h).update(shape=[1] * 9),
    "float offsets": lambda h: entry(h).update(data_offsets=[0.0, 4.0]),
    "offsets overlap": lambda h: entry(h).update(data_offsets=h["d/bias"]["data_offsets"]),
    "offsets beyond": lambda h: entry(h).update(data_offsets=[10**9, 10**9 + 4]),
    "one offset": lambda h: entry(h).update(data_offsets=[0]),
    "more keys": lambda h: entry(h).update(more=1),
    "entry is a list": lambda h: h.update({"d/kernel": []}),
    "parameter missing": lambda h: h.update({"e/kernel": h.pop("d/kernel")}),
    "long name": lambda h: h.update({"n" * 5000: h.pop("d/kernel")}),
    "iterations missing": lambda h: h.update({"e": h.pop("optimizer/iterations")}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_well_sealed_nonsense(change):
    refused(resealed(io.to_bytes(tiny()), change))


@pytest.mark.parametrize(
    "form", [[], {"input": None, "output": None}, {"input": None, "output": None, "inputs": []},
             {"input": ["a", "b"], "output": None, "inputs": ["x"]}, {"input": None, "output": 3, "inputs": ["x"]}]
)  # fmt: skip
def test_a_predictor_that_does_not_say_how_it_is_called_is_refused(form):
    refused(resealed(io.to_bytes(tiny().freeze()), lambda h: h["__metadata__"].update(config=json.dumps(form))))


def test_resealing_alone_changes_nothing():
    content = io.to_bytes(tiny())
    assert io._read(stream.BytesIO(resealed(content, lambda h: None)), "x").name == "t"


def test_header_lengths_that_begin_like_other_formats():
    for magic, _, _ in _safetensors._FOREIGN:
        length = int.from_bytes(magic, "little")
        if length % 8 or length > 1 << 16:
            continue
        file = stream.BytesIO()
        used = len(_safetensors._PREFIX) + 64 + len('"},"k":""')
        _safetensors.write(file, [], {"k": "x" * (length - used - 8)})
        assert file.getvalue()[:8] == length.to_bytes(8, "little")
        _safetensors.Reader(file, "x")


def test_duplicate_tensors():
    content = io.to_bytes(tiny())
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip().replace(b'"d/bias"', b'"d/kernel"')
    refused(sealed(header, content[8 + length :]))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=3))
def test_mutated_and_sealed_headers_never_crash(changes):
    content = io.to_bytes(tiny())
    length = int.from_bytes(content[:8], "little")
    header = bytearray(content[8 : 8 + length])
    first = _safetensors._DIGITS_AT + 56  # behind the checksum
    for where, value in changes:
        header[first + int(where * (length - 1 - first))] = value
    try:
        io._read(stream.BytesIO(sealed(bytes(header), content[8 + length :])), "x")
    except FastNNError:
        pass


def places(value):
    """(container, key) of everything in nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


JUNK = st.sampled_from([None, True, -1, 2**70, 1.5, "", "x", "\ud800", "\n", [], {}, [["a"]], {"a": 1}])


@pytest.mark.filterwarnings("ignore:The loss does not depend")
@given(st.sampled_from(["config", "compile"]), st.floats(0, 1, exclude_max=True), JUNK)
def test_descriptions_of_the_wrong_form_are_typed_errors(part, where, junk):
    def change(header):
        description = json.loads(header["__metadata__"][part])
        found = list(places(description))
        container, key = found[int(where * len(found))]
        container[key] = junk
        header["__metadata__"][part] = json.dumps(description)

    try:
        io._read(stream.BytesIO(resealed(io.to_bytes(tiny()), change)), "x")
    except FastNNError:
        pass
