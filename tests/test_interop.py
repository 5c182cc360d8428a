"""Models and weights of Keras and PyTorch, from files that these wrote (tests/golden/make_interop.py)."""

import io as stream
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from golden.store import HERE, Reader

import fastnn as fnn
from fastnn import errors, layers
from fastnn.interop import hdf5, keras, torch, weights
from fastnn.layers.base import registry
from fastnn.model import Model

h5py = pytest.importorskip("h5py")

FOLDER = HERE / "interop"
GOLDEN = Reader("interop")
CASES = {case["name"]: case for case in GOLDEN.cases}


def given(case):
    """(inputs, expected outputs) of a case."""
    inputs = {k: GOLDEN.get(dtype, where) for k, (where, dtype) in CASES[case]["inputs"].items()}
    return (inputs if len(inputs) > 1 else inputs["x"]), [GOLDEN.get("float32", w) for w in CASES[case]["expected"]]


def outputs(model, inputs):
    made = model.predict(inputs, verbose=0)
    return list(made.values()) if isinstance(made, dict) else [made]


def error(model, case):
    """The largest difference between a model's predictions and those of the framework."""
    inputs, want = given(case)
    return max(np.abs(a - b).max() for a, b in zip(outputs(model, inputs), want, strict=True))


def cleared(model):
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    return model


# ---- Keras ----


@pytest.mark.parametrize("file", ["chain.keras", "chain.h5", "graph.keras"])
def test_a_model_of_keras_predicts_the_same(file):
    assert error(fnn.from_keras(FOLDER / file), file.partition(".")[0]) <= 1e-5


def test_names_structure_and_settings_are_kept():
    model = fnn.from_keras(FOLDER / "chain.keras")
    assert type(model) is fnn.Sequential and model.name == "chain"
    assert [layer.name for layer in model.layers] == ["hidden", "norm", "drop", "second", "classes"]
    assert model.get_layer("norm").momentum == 0.9
    assert model.get_layer("hidden").kernel_regularizer.l2 == pytest.approx(0.01)
    assert type(model.optimizer).__name__ == "Adam" and model.optimizer.clipnorm == 1.0
    assert type(model.optimizer.learning_rate).__name__ == "ExponentialDecay"
    assert model.metrics_names == ["loss", "accuracy"]
    x, _ = given("chain")
    history = model.fit(x, np.arange(8) % 3, epochs=30, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_a_graph_keeps_its_shared_model_its_inputs_and_outputs(tmp_path):
    model = fnn.from_keras(FOLDER / "graph.keras")
    assert sorted(model.input_names) == ["kind", "left", "right", "word"]
    assert model.output_names == ["first", "second"]
    tower = model.get_layer("tower")
    assert isinstance(tower, Model) and sum(p.name == "inside/kernel" for p in model.weights) == 1
    model.save(tmp_path / "m.fnn")
    assert error(fnn.load(tmp_path / "m.fnn"), "graph") <= 1e-5


@pytest.mark.parametrize(
    "case,file", [(name, file) for name in ("chain", "graph") for file in CASES[name]["weights"]]
)
def test_weights_of_keras_go_into_a_model(case, file):
    model = cleared(fnn.from_keras(FOLDER / f"{case}.keras"))
    assert error(model, case) > 0.01
    model.load_weights(FOLDER / file)
    assert error(model, case) <= 1e-5


@pytest.mark.filterwarnings("ignore:the compile settings")
def test_files_of_keras_2():
    golden = Reader("keras2")
    x, want = (golden.get("float32", golden.cases[0][name]) for name in "xy")
    for file in ("keras2.h5", "keras2.keras"):
        model = fnn.from_keras(FOLDER / file)
        assert np.abs(model.predict(x, verbose=0) - want).max() <= 1e-5
    for file in ("keras2.h5", "keras2.keras", "keras2.weights.h5", "keras2_legacy.h5"):
        cleared(model).load_weights(FOLDER / file)
        assert np.abs(model.predict(x, verbose=0) - want).max() <= 1e-5


@pytest.mark.parametrize("file", ["chain.weights.h5", "chain_legacy.h5"])
def test_weights_go_by_class_and_order_where_names_differ(file):
    model = fnn.Sequential([
        fnn.Input((5,)), layers.Dense(6, activation={"name": "leaky_relu", "negative_slope": 0.1}),
        layers.BatchNormalization(), layers.Dense(6, activation="gelu"), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.load_weights(FOLDER / file)
    assert error(model, "chain") <= 1e-5


def test_weights_of_another_network_change_nothing():
    model = fnn.Sequential([fnn.Input((5,)), layers.Dense(6, name="hidden"), layers.Dense(4, name="other")])
    before = model.get_weights()
    for file in ("chain.weights.h5", "chain_legacy.h5", "chain.keras", "torch.safetensors"):
        with pytest.raises(errors.ShapeError, match=r"the model +\| the source\n  hidden .*(\(5, 6\)|\(6, 5\))"):
            model.load_weights(FOLDER / file)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    model.load_weights(FOLDER / "chain.weights.h5", skip_mismatch=True)


def test_everything_that_fastnn_does_not_have_is_listed():
    with pytest.raises(errors.UnsupportedError) as caught:
        fnn.from_keras(FOLDER / "unsupported.keras")
    listed = [part.partition(":")[0] for part in caught.value.missing]
    assert listed == ["conv (Conv2D)", "code (Lambda)", "positive (Dense)", "capped (ReLU)"]
    assert "kernel_constraint" in caught.value.missing[2] and "max_value" in caught.value.missing[3]


def test_keras_files_are_read_without_keras(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    assert error(fnn.from_keras(FOLDER / "chain.keras"), "chain") <= 1e-5


def test_the_extra_is_named_where_h5py_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for read in (fnn.from_keras, h5_model().load_weights):
        with pytest.raises(errors.MissingExtraError, match=r"h5py, which the extra 'keras' brings"):
            read(FOLDER / "chain.keras")


def changed(change, file="chain.keras"):
    """A .keras file with another description."""
    out = stream.BytesIO()
    with zipfile.ZipFile(FOLDER / file) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                description = json.loads(content)
                content = json.dumps(change(description) or description)
            new.writestr(name, content)
    return out.getvalue()


def refused(tmp_path, content, kind, match):
    path = tmp_path / "m.keras"
    path.write_bytes(content)
    with pytest.raises(kind, match=match):
        fnn.from_keras(path)


def layer(description, name):
    return next(entry for entry in description["config"]["layers"] if entry["config"]["name"] == name)


def test_settings_that_fastnn_does_not_have_are_left_out_with_a_warning(tmp_path):
    def change(description):
        description["compile_config"]["loss"] = {"class_name": "function", "config": "my_loss"}

    (tmp_path / "m.keras").write_bytes(changed(change))
    with pytest.warns(UserWarning, match="compile settings of the Keras model were left out.*my_loss"):
        model = fnn.from_keras(tmp_path / "m.keras")
    assert model.optimizer is None and error(model, "chain") <= 1e-5


def edit(name, **config):
    def change(description):
        layer(description, name)["config"].update(config)

    return change


WRONG = {
    "units": (edit("second", units="many"), errors.UnsupportedError, "second"),
    "too many units": (edit("second", units=10**9), errors.ShapeError, "does not hold the weights"),
    "units of none": (edit("second", units=-1), errors.UnsupportedError, "units"),
    "activation": (edit("second", activation="no_such"), errors.UnsupportedError, "no_such"),
    "python": (edit("second", activation={"value": ["4wEA", None, None]}), errors.UnsupportedError, "Python"),
    "dtype": (edit("second", dtype="float16"), errors.UnsupportedError, "float16"),
    "two dtypes": (edit("second", dtype="float64"), errors.UnsupportedError, "several dtypes"),
    "initializer": (
        edit("second", kernel_initializer={"class_name": "Mine", "config": {}}), errors.UnsupportedError, "Mine"
    ),
    "constraint": (edit("second", bias_constraint={"class_name": "NonNeg"}), errors.UnsupportedError, "bias_constraint"),
    "class": (lambda d: layer(d, "second").update(class_name="os.system"), errors.UnsupportedError, "os.system"),
    "class of no text": (lambda d: layer(d, "second").update(class_name=[1]), errors.FastNNError, "no layer|malformed"),
    "no config": (lambda d: layer(d, "second").pop("config"), errors.FileFormatError, "malformed|damaged"),
    "no layers": (lambda d: d["config"].update(layers=7), errors.UnsupportedError, "own"),
    "no model": (lambda d: d.update(class_name="Dense"), errors.UnsupportedError, "Dense"),
    "a list": (lambda d: [d], errors.FileFormatError, "describes no model"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_descriptions(tmp_path, name):
    change, kind, match = WRONG[name]
    refused(tmp_path, changed(change), kind, match)


def test_a_circle_of_layers_is_found(tmp_path):
    def change(description):
        node = next(e for e in description["config"]["layers"] if e["name"] == "normal")["inbound_nodes"][0]
        node["args"][0]["config"]["keras_history"] = ["less", 0, 0]

    refused(tmp_path, changed(change, "graph.keras"), errors.FastNNError, "circle|Input")


def nested(depth):
    """A model in a model in a model ..."""
    def change(description):
        inner = description["config"]["layers"]
        for _ in range(depth):
            inner = [{"class_name": "Sequential", "config": {"name": "s", "layers": inner}}]
        description["config"]["layers"] = inner

    return change


def test_nesting_is_bounded(tmp_path):
    refused(tmp_path, changed(nested(200)), errors.FileFormatError, "deeper")


def archive(**members):
    out = stream.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return out.getvalue()


def test_archives_that_are_refused(tmp_path):
    config = zipfile.ZipFile(FOLDER / "chain.keras").read("config.json")
    bomb = archive(config_json=config, model_weights_h5=b"\x89HDF\r\n\x1a\n" + bytes(1 << 20))
    refused(tmp_path, bomb, errors.FileFormatError, "HDF5")
    refused(tmp_path, archive(config_json=b"[" * 100000), errors.FileFormatError, "JSON")
    refused(tmp_path, archive(config_json=b'{"a": NaN}'), errors.FileFormatError, "JSON")
    refused(tmp_path, archive(config_json=bytes(70 << 20)), errors.FileFormatError, "announces")
    refused(tmp_path, archive(other_json=config), errors.FileFormatError, "without config.json")
    refused(tmp_path, archive(config_json=config), errors.FileFormatError, "without model.weights.h5")
    content = (FOLDER / "chain.keras").read_bytes()
    refused(tmp_path, content[: len(content) // 2], errors.FileFormatError, "no zip archive")
    refused(tmp_path, b"GIF89a", errors.FileFormatError, "neither")
    for wrong in (17, None, [1]):
        with pytest.raises(errors.ArgumentTypeError, match="path or a Keras model"):
            fnn.from_keras(wrong)
    with pytest.raises(errors.FileAccessError):
        fnn.from_keras(tmp_path / "missing.keras")


# ---- HDF5 that leads elsewhere ----


def h5_model():
    return fnn.Sequential([fnn.Input((3,)), layers.Dense(2, name="d")])


def written(path, write):
    with h5py.File(path, "w") as file:
        held = file.create_group("layers/dense/vars")
        write(held, path)
        if "1" not in held:
            held["1"] = np.zeros(2, np.float32)
    return path


def external_link(held, path):
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["secret"] = np.ones((3, 2), np.float32)
    held["0"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(held, path):
    held.file["elsewhere"] = np.ones((3, 2), np.float32)
    held["0"] = h5py.SoftLink("/elsewhere")


def virtual(held, path):
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["secret"] = np.ones((3, 2), np.float32)
    layout = h5py.VirtualLayout((3, 2), np.float32)
    layout[:] = h5py.VirtualSource(path.parent / "other.h5", "secret", (3, 2))
    held.create_virtual_dataset("0", layout)


def external_storage(held, path):
    (path.parent / "raw").write_bytes(bytes(24))
    held.create_dataset("0", (3, 2), np.float32, external=[(str(path.parent / "raw"), 0, 24)])


def text(held, path):
    held["0"] = np.array([["a", "b"]] * 3, dtype=h5py.string_dtype())


def group_for_numbers(held, path):
    held.create_group("0")


def unwritten(held, path):
    held.create_dataset("0", (3, 2), np.float32)


def large_pieces(held, path):  # 64 MiB to read, of a file of 70 KB
    held.create_dataset("0", (3, 2), np.float32, maxshape=(None, None), chunks=(4096, 4096), compression="gzip")
    held["0"][:] = 1


def wrong_shape(held, path):
    held["0"] = np.ones((2, 3), np.float32)


HOSTILE = {
    f.__name__: f
    for f in (external_link, soft_link, virtual, external_storage, text, group_for_numbers, unwritten, large_pieces, wrong_shape)
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hdf5_that_leads_elsewhere_is_not_followed(tmp_path, name):
    model = h5_model()
    before = model.get_weights()
    kind = errors.ShapeError if name == "wrong_shape" else errors.FileFormatError
    with pytest.raises(kind):
        model.load_weights(written(tmp_path / "w.weights.h5", HOSTILE[name]))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_the_files_of_that_test_are_read_where_nothing_is_wrong(tmp_path):
    model = h5_model()

    def good(held, path):
        held.create_dataset("0", data=np.ones((3, 2), np.float32), compression="gzip", shuffle=True)

    model.load_weights(written(tmp_path / "w.weights.h5", good))
    assert np.all(model.get_weights()[0] == 1)


def test_texts_that_hdf5_would_read_for_ever_are_found(tmp_path):
    content = bytearray((FOLDER / "chain.weights.h5").read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 24 : heap + 32] = (255).to_bytes(8, "little")  # the first text ends in the free rest
    content[heap + 16 + 16 + 256 : heap + 16 + 16 + 256 + 16] = bytes(16)
    (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(errors.FileFormatError, match="texts that"):
        h5_model().load_weights(tmp_path / "w.h5")


@pytest.mark.parametrize("version", [0x19, 0x29, 0x39, 0x49])
def test_texts_longer_than_the_file_reserve_no_memory(tmp_path, version):
    """Whatever version of the encoding the type of the text has."""

    def named(held, path):
        held["0"] = np.ones((3, 2), np.float32)
        held.attrs["name"] = "d"

    content = bytearray(written(tmp_path / "w.weights.h5", named).read_bytes())
    address = content.index(b"GCOL").to_bytes(8, "little")
    at = next(i for i in range(len(content)) if content[i : i + 8] == address and content[i + 8] == 1)
    content[content.rindex(b"\x19\1", 0, at)] = version
    (tmp_path / "w.weights.h5").write_bytes(content)
    h5_model().load_weights(tmp_path / "w.weights.h5")
    for wrong in (b"\xff" * 8, b"\0\0\0\xe0" + content[at : at + 4]):
        content[at - 4 : at + 4] = wrong
        (tmp_path / "w.weights.h5").write_bytes(content)
        with pytest.raises(errors.FileFormatError, match=r"announces a text of (4294967295|3758096384) bytes"):
            h5_model().load_weights(tmp_path / "w.weights.h5")


def test_texts_of_newer_files_are_read_and_those_kept_apart_refused(tmp_path):
    def newer(count):
        with h5py.File(tmp_path / "w.weights.h5", "w", libver="latest") as file:
            held = file.create_group("layers/dense/vars")
            held["0"], held["1"], held.attrs["name"] = np.ones((3, 2), np.float32), np.zeros(2, np.float32), "d"
            for i in range(count):  # HDF5 moves more than eight to a place of their own
                held.attrs[str(i)] = i
        model = h5_model()
        model.load_weights(tmp_path / "w.weights.h5")
        return model

    assert np.all(newer(4).get_weights()[0] == 1)
    with pytest.raises(errors.FileFormatError, match="'name' of /layers/dense/vars apart"):
        newer(9)


def test_a_circle_of_groups_ends(tmp_path):
    def circle(held, path):
        held["0"] = np.ones((3, 2), np.float32)
        held.file["layers/again"] = held.file["layers"]

    with pytest.raises(errors.FileFormatError, match="nested"):
        h5_model().load_weights(written(tmp_path / "w.weights.h5", circle))


def mutated(content, rng):
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 8))):
        at = int(rng.integers(len(content)))
        kind = rng.integers(4)
        if kind == 0:
            content[at] = rng.integers(256)
        elif kind == 1:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            content[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7])
        else:
            del content[at : at + int(rng.integers(1, 200))]
    return bytes(content)


def fuzz(path, files, count, seed=0):
    """Mutated files end in a typed error or are read; nothing else."""
    rng = np.random.default_rng(seed)
    model = h5_model()
    seen = {"read": 0}
    for i in range(count):
        name = files[i % len(files)]
        path.write_bytes(mutated((FOLDER / name).read_bytes(), rng))
        try:
            if name.endswith(("keras", "chain.h5")):
                fnn.from_keras(path)
            else:
                model.load_weights(path)
            seen["read"] += 1
        except errors.FastNNError as caught:
            seen[type(caught).__name__] = seen.get(type(caught).__name__, 0) + 1
    return seen


FUZZED = ["chain.keras", "chain.h5", "chain.weights.h5", "torch.safetensors", "graph.keras", "chain_legacy.h5"]


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_end_in_typed_errors(tmp_path):
    seen = fuzz(tmp_path / "m", FUZZED, 120)
    assert sum(seen.values()) == 120 and seen.get("FileFormatError", 0) > 20


# ---- PyTorch's tensors ----


def like_torch(names=None):
    """The network of make_interop.torch_chain, its layers with weights named by `names`."""
    names = iter(names or ["encoder.0", "encoder.1", "second", "norm", "alphas", "out"])
    return fnn.Sequential([
        fnn.Input((5,)), layers.Dense(6, name=next(names)),
        layers.BatchNormalization(epsilon=1e-5, name=next(names)),
        layers.LeakyReLU(0.1), layers.Dense(6, activation="gelu", name=next(names)), layers.Reshape((2, 3)),
        layers.LayerNormalization(epsilon=1e-5, name=next(names)), layers.PReLU(shared_axes=[2], name=next(names)),
        layers.Flatten(), layers.Dense(3, use_bias=False, activation="log_softmax", name=next(names)),
    ])  # fmt: skip


def state():
    """The arrays of the file by PyTorch's names, in the order of its state_dict."""
    with open(FOLDER / "torch.safetensors", "rb") as f:
        reader = weights.ForeignReader(f, "the file")
        order = ["encoder.0", "encoder.1", "second", "norm", "alphas", "out"]
        names = sorted(reader.tensors, key=lambda n: (order.index(n.rpartition(".")[0]), n.endswith("bias")))
        return {n: reader.read(n) for n in names}


@pytest.mark.parametrize("file,tolerance", [("torch.safetensors", 1e-5), ("torch_bfloat16.safetensors", 0.05)])
def test_safetensors_of_pytorch_by_names(file, tolerance):
    model = like_torch()
    model.load_weights(FOLDER / file)
    assert error(model, "torch") <= tolerance


def test_safetensors_by_shapes_where_they_tell():
    model = like_torch(["a", "b", "c", "d", "e", "f"])
    model.load_weights(FOLDER / "torch.safetensors")
    assert error(model, "torch") <= 1e-5


def test_a_state_dict_by_order_where_names_differ():
    model = like_torch(["a", "b", "c", "d", "e", "f"])
    model.load_weights({f"module.{k}": a for k, a in state().items()})
    assert error(model, "torch") <= 1e-5


def square(names):
    return fnn.Sequential([fnn.Input((3,)), *(layers.Dense(3, name=n) for n in names)])


def squares(names):
    return {f"{n}.{r}": np.full((3, 3) if r == "weight" else 3, i + 1.0)
            for i, n in enumerate(names) for r in ("weight", "bias")}  # fmt: skip


def safetensors_of(path, tensors):
    """A file as other programs write it, its names sorted."""
    header, data = {}, b""
    for name in sorted(tensors):
        array = np.asarray(tensors[name], "<f4")
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def biases(model):
    return [float(layer.bias.value[0]) for layer in model.layers]


def test_order_in_a_safetensors_file_is_no_order(tmp_path):
    names = ["zebra", "ape"]
    model = square(["first", "second"])
    before = biases(model)
    with pytest.raises(errors.ArgumentError, match=r"alphabet.*\n.*\n  first .* \| ape"):
        model.load_weights(safetensors_of(tmp_path / "s.safetensors", squares(names)))
    assert biases(model) == before
    model.load_weights(squares(names))
    assert biases(model) == [1, 2]
    by_name = square(names)
    by_name.load_weights(tmp_path / "s.safetensors")
    assert biases(by_name) == [1, 2]


def test_numbers_in_names_are_an_order(tmp_path):
    names = [str(i) for i in (0, 2, 4, 6, 8, 10)]
    model = square("abcdef")
    model.load_weights(safetensors_of(tmp_path / "s.safetensors", squares(names)))
    assert biases(model) == [1, 2, 3, 4, 5, 6]


def test_kernels_of_pytorch_are_transposed_and_fastnns_own_are_not():
    kernel = np.arange(9.0).reshape(3, 3)
    model = square(["a"])
    model.load_weights({"a.weight": kernel, "a.bias": np.zeros(3)})
    assert np.array_equal(model.get_weights()[0], kernel.T)
    model.load_weights({"a/kernel": kernel, "a/bias": np.zeros(3)})
    assert np.array_equal(model.get_weights()[0], kernel)


MISFITS = {
    "surplus": lambda s: {**s, "more.weight": np.zeros((3, 3))},
    "lacking": lambda s: {k: v for k, v in s.items() if k != "b.bias"},
    "shape": lambda s: {**s, "b.weight": np.zeros((3, 4))},
    "role": lambda s: {k.replace("b.weight", "b.weird"): v for k, v in s.items()},
    "none": lambda s: {},
}


@pytest.mark.parametrize("name", MISFITS)
def test_tensors_that_do_not_fit_change_nothing(name):
    model = square("ab")
    before = model.get_weights()
    with pytest.raises(errors.ShapeError, match=r"neither by names nor by order and shape"):
        model.load_weights(MISFITS[name](squares("ab")))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_values_that_are_no_arrays_change_nothing():
    model = square("ab")
    before = model.get_weights()
    for wrong in ({**squares("ab"), "b.bias": np.array(["x"] * 3)}, {**squares("ab"), "b.bias": [1, 2, 3]}, {1: np.ones(3)}):
        with pytest.raises(errors.FastNNError):
            model.load_weights(wrong)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_skip_mismatch_takes_what_fits():
    model = square("ab")
    model.load_weights({**squares("ab"), "b.weight": np.zeros((3, 4))}, skip_mismatch=True)
    assert biases(model) == [1, 0]


@pytest.mark.parametrize("start", [b"\x80\x02", b"\x80\x04", b"PK\x03\x04"])
def test_pickles_are_refused_with_the_line_that_converts_them(tmp_path, start):
    path = tmp_path / "m.pt"
    path.write_bytes(start + bytes(100))
    with pytest.raises(errors.FileFormatError) as caught:
        h5_model().load_weights(path)
    line = str(caught.value).splitlines()[-1].strip()
    assert line.startswith("import torch, safetensors.torch; ") and str(tmp_path / "m.safetensors") in line
    compile(line, "line", "exec")


TRUNCATED = [0, 7, 9, 200, 1000]


@pytest.mark.parametrize("size", TRUNCATED)
def test_truncated_safetensors(tmp_path, size):
    path = tmp_path / "m.safetensors"
    path.write_bytes((FOLDER / "torch.safetensors").read_bytes()[:size])
    with pytest.raises(errors.FileFormatError):
        like_torch().load_weights(path)


# ---- tables ----


def test_every_layer_is_in_the_tables_or_named_with_a_reason():
    known = {cls.__name__ for cls in registry._classes.values()} - {"InputLayer"}
    assert set(torch.LAYERS) | set(torch.NOT_IN_TORCH) == known
    assert not set(torch.LAYERS) & set(torch.NOT_IN_TORCH)
    assert set(keras.NOT_IN_KERAS) <= known
    assert all(keras.layer_class(name) for name in known - set(keras.NOT_IN_KERAS))
    assert all(keras.NOT_IN_KERAS.values()) and all(torch.NOT_IN_TORCH.values())


@pytest.mark.parametrize("method,library", [("to_torch", "torch"), ("to_keras", "keras")])
def test_the_install_line_is_named_where_a_framework_is_missing(monkeypatch, method, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(errors.MissingExtraError, match="pip install .*torch"):
        getattr(h5_model(), method)()


def test_what_is_no_sequential_of_pytorch():
    for wrong in (None, 3, h5_model(), [1]):
        with pytest.raises(errors.UnsupportedError, match="torch.nn.Sequential.*\n.*\n.*load_weights"):
            fnn.from_torch(wrong)


def test_nothing_is_imported_with_fastnn():
    code = "import sys, fastnn; assert not [m for m in sys.modules if m.startswith(('fastnn.interop', 'h5py', 'torch'))]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_in_names_sort_by_value():
    names = ["dense_10", "dense_2", "dense", "a", "dense_2b"]
    assert sorted(names, key=hdf5.natural) == ["a", "dense", "dense_2", "dense_2b", "dense_10"]
