"""Fuzzer of the readers of files other than ONNX's: python -m tests.fuzz_files [arrays csv fnn ...] --files 3000."""

import contextlib
import io
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # for -m, which has the folder above

from fuzzing import NUMBERS, TEXTS, Target, changed, damaged, main, pick

HERE = Path(__file__).parent / "golden"


def _seeds(folder, *names):
    return [(name, (HERE / folder / name).read_bytes()) for name in names]




def predict_one(model):
    """One row of halves through a model with any inputs."""
    values = {"string": "fig", "int32": 0}
    arrays = [np.full((1, *t.shape[1:]), values.get(t.dtype, 0.5)) for t in model.inputs]
    model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)


# ---- Keras and PyTorch ----


def keras(folder):
    """Archives of Keras: the description and the arrays in them, and the archive itself."""
    import fastnn as fnn

    def mutate(rng, seeds):
        name, content = pick(rng, seeds)
        if rng.integers(4) == 0:
            return name, damaged(rng, content)
        out, which = io.BytesIO(), rng.integers(3)
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for member in old.namelist():
                inner = old.read(member)
                if member == "config.json" and which < 2:
                    inner = json.dumps(changed(rng, json.loads(inner))).encode()
                elif member.endswith((".h5", ".txt")) and which > 0:
                    inner = damaged(rng, inner)
                new.writestr(member, inner)
        return name, out.getvalue()

    seeds = _seeds("interop", "chain.keras", "graph.keras", "lookups.keras", "unsupported.keras")
    return Target(seeds, mutate, fnn.from_keras, predict_one)


def hdf5(folder):
    """Models and weights in HDF5."""
    import fastnn as fnn

    model = fnn.from_keras(HERE / "interop" / "chain.keras")

    def read(path):
        if path.name == "chain.h5":
            return fnn.from_keras(path)
        model.load_weights(path)
        return model

    return Target(_seeds("interop", "chain.h5", "chain.weights.h5", "chain_legacy.h5"), _any_bytes, read, predict_one)


def safetensors(folder):
    """Tensors of PyTorch, which go into a model."""
    from test_interop import like_torch

    model = like_torch()

    def read(path):
        model.load_weights(path)
        return model

    def mutate(rng, seeds):
        name, content = pick(rng, seeds)
        if rng.integers(2):
            return name, damaged(rng, content)
        length = int.from_bytes(content[:8], "little")
        header = json.dumps(changed(rng, json.loads(content[8 : 8 + length]))).encode()
        return name, len(header).to_bytes(8, "little") + header + content[8 + length :]

    return Target(_seeds("interop", "torch.safetensors", "torch_bfloat16.safetensors"), mutate, read, predict_one)


# ---- fastnn's own ----

_TABLE = {
    "age": [31.0, None, 44.5, 60.0, 18.25, 27.0], "city": ["Bern", "Oslo", None, "Bern", "Rom", "Oslo"],
    "member": [True, False, True, True, None, False],
}  # fmt: skip


def _with_features():
    """A model that reads a table and tells classes apart, as a file."""
    import fastnn as fnn

    features = fnn.preprocessing.Features.fit(_TABLE)
    model = fnn.Sequential([fnn.Input((features.size,)), fnn.layers.Dense(3, "relu"), fnn.layers.Dense(2, "softmax")])
    model.features, model.class_names = features, ["no", "yes"]
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def fnn(folder):
    """Model files whose parts were changed and sealed again: features, names, descriptions, programs, tensors."""
    from test_io import sealed
    from test_lookup import AGES, CITIES, network

    import fastnn

    made = _with_features()
    seeds = _seeds("files/fastnn-1", *(p.name for p in sorted((HERE / "files/fastnn-1").glob("*.fnn"))))
    seeds += [("features.fnn", fastnn.io.to_bytes(made)), ("frozen_features.fnn", fastnn.io.to_bytes(made.freeze()))] * 4
    made = network(mask_token="Oslo")
    seeds += [("lookups.fnn", fastnn.io.to_bytes(made)), ("frozen_lookups.fnn", fastnn.io.to_bytes(made.freeze()))] * 4

    def mutate(rng, seeds):
        name, content = pick(rng, seeds)
        if rng.integers(20) == 0:
            return name, damaged(rng, content)
        length = int.from_bytes(content[:8], "little")
        header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
        metadata = header["__metadata__"]
        checksum = metadata["checksum"]
        parts = [k for k in ("features", "names", "config", "compile", "report", "program") if k in metadata]
        if not parts or rng.integers(5) == 0:
            header = changed(rng, header)
        else:
            part = pick(rng, [p for p in ("features", "features", "names") if p in metadata] + parts)
            if part == "program":
                metadata[part] = damaged(rng, metadata[part].encode()).decode("utf-8", "replace")
            else:
                metadata[part] = json.dumps(changed(rng, json.loads(metadata[part])))
        if isinstance(header.get("__metadata__"), dict):
            rest = {k: v for k, v in header.pop("__metadata__").items() if k != "checksum"}
            header = {"__metadata__": {"checksum": checksum, **rest}, **header}
        return name, sealed(json.dumps(header, separators=(",", ":")).encode(), body)

    def use(model):
        if getattr(model, "features", None) is not None:
            model.predict(_TABLE) if hasattr(model, "predict") else model(_TABLE)
        elif hasattr(model, "inputs"):
            predict_one(model)
        elif hasattr(model, "_lookups") and len(model._lookups) == 2:
            model([CITIES, AGES])
        fastnn.io.to_bytes(model)

    return Target(seeds, mutate, fastnn.load, use)


def _tables():
    """Texts of tables with numbers, texts, dates, truth values and gaps."""
    rng = np.random.default_rng(0)
    rows = [
        [f"{rng.normal():.3f}", pick(rng, ["Bern", "Oslo", "", '"Rom, Ost"', "ö"]), pick(rng, ["1", "2", "NA", ""]),
         f"2024-0{rng.integers(1, 9)}-1{rng.integers(9)}", pick(rng, ["true", "false"]), pick(rng, ["yes", "no", "maybe"])]
        for _ in range(80)
    ]  # fmt: skip
    head = ["size", "city", "rooms", "day", "new", "y"]
    text = "\n".join(",".join(row) for row in [head, *rows]) + "\n"
    numbers = "\n".join(";".join(r) for r in [["a", "b", "y"], *([f"{x:.4f}" for x in rng.normal(size=3)] for _ in range(60))])
    return [
        ("mixed.csv", text.encode()), ("windows.csv", ("\ufeff" + text.replace("\n", "\r\n")).encode()),
        ("numbers.csv", numbers.encode()), ("tabs.tsv", numbers.replace(";", "\t").encode()),
    ]  # fmt: skip


def _trained(folder, seeds, mutate):
    """A Target of tables, which `fastnn train` learns from, and `predict` and `evaluate` read."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    from fastnn import cli
    from fastnn.errors import FileFormatError

    def run(*arguments):
        out, wrong = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(wrong):
            try:
                code = cli.main([str(a) for a in arguments])
            except SystemExit as end:
                code = end.code
        if code == 2 and wrong.getvalue().startswith("fastnn: "):
            raise FileFormatError(wrong.getvalue())
        assert code == 0, (code, wrong.getvalue())

    def read(path):
        run("train", path, "--target", "y", "--epochs", 1, "--hidden", 4, "--out", folder / "m.fnn")
        return path

    def use(path):
        run("predict", folder / "m.fnn", path)
        run("evaluate", folder / "m.fnn", path, "--target", "y")

    return Target(seeds, mutate, read, use, reserve=4 << 30)


def _any_bytes(rng, seeds):
    name, content = pick(rng, seeds)
    return name, damaged(rng, content, pick(rng, seeds)[1])


def parquet(folder):
    """Tables in Parquet files."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl

    frame = pl.read_csv(io.BytesIO(_tables()[0][1]), try_parse_dates=True)
    seeds = []
    for compression in ("uncompressed", "zstd", "snappy"):
        out = io.BytesIO()
        frame.write_parquet(out, compression=compression)
        seeds.append((f"{compression}.parquet", out.getvalue()))
    return _trained(folder, seeds, _any_bytes)


def arrays(folder):
    """Tables in files of NumPy's."""
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=(60, 3)), "y": rng.integers(0, 2, 60), "city": rng.choice(["Bern", "Oslo"], 60)}
    columns["day"] = np.datetime64("2024-01-01") + rng.integers(0, 99, 60)
    seeds = []
    for name, write in (("stored.npz", np.savez), ("packed.npz", np.savez_compressed)):
        write(out := io.BytesIO(), **columns)
        seeds.append((name, out.getvalue()))

    def mutate(rng, seeds):
        name, content = pick(rng, seeds)
        if rng.integers(4) == 0:
            return name, damaged(rng, content)
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            chosen = pick(rng, old.namelist())
            for member in old.namelist():
                inner = old.read(member)
                if member == chosen:  # most of what can go wrong stands in the header, which is text
                    header, rest, kind = inner[:128], inner[128:], rng.integers(3)
                    if kind == 0:
                        text = header[10:].replace(b"(60,", b"(%d," % pick(rng, NUMBERS))
                        header = header[:10] + text[:117].ljust(117) + b"\n"
                    elif kind == 1:
                        header = damaged(rng, header)
                    else:
                        at = 8 * int(rng.integers(len(rest) // 8))
                        rest = rest[:at] + rng.bytes(8) + rest[at + 8 :]
                    inner = header + rest
                new.writestr(member, inner)
        return name, out.getvalue()

    return _trained(folder, seeds, mutate)


def csv(folder):
    """Tables of text."""

    def mutate(rng, seeds):
        name, content = pick(rng, seeds)
        if rng.integers(4) == 0:
            return name, damaged(rng, content, pick(rng, seeds)[1])
        mark = b"," if b"," in content else b";" if b";" in content else b"\t"
        rows = [line.split(mark) for line in content.split(b"\n")]
        wild = [*(t.encode("utf-8", "replace") for t in TEXTS if t != "\0"), b'"', b'""', b'a"b', b"1e400", b"9" * 400, b"inf", b"0x1p3",
                b"2024-99-99", b"\xff", b"\r", b"1,5", b"-0", str(2**64).encode()]  # fmt: skip
        for _ in range(pick(rng, [1, 2, 3, 10])):
            row, kind = pick(rng, rows), rng.integers(6)
            if not row:
                continue
            at = int(rng.integers(len(row)))
            if kind < 3:
                row[at] = pick(rng, wild)
            elif kind == 3 and rng.integers(4) == 0:
                row[at:at] = [row[at]] * int(pick(rng, [1, 2, 40]))
            elif kind == 4 and rng.integers(4) == 0:
                del row[at]
            else:  # a whole column, or a repeated row
                value, column = pick(rng, wild), at
                for r in rows if rng.integers(2) else rows[1:]:
                    if column < len(r):
                        r[column] = value
        return name, b"\n".join(mark.join(row) for row in rows)

    return _trained(folder, _tables(), mutate)


PREPARE = {
    "arrays": arrays, "csv": csv, "fnn": fnn, "hdf5": hdf5, "keras": keras, "parquet": parquet, "safetensors": safetensors,
}  # fmt: skip

if __name__ == "__main__":
    main(PREPARE)
