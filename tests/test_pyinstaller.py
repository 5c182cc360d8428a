"""A one-file program made by PyInstaller loads a model and predicts; runs where PyInstaller is installed."""

import subprocess
import sys

import numpy as np
import pytest

import fastnn as fnn

pytest.importorskip("PyInstaller")

PROGRAM = """
import sys
import numpy as np
import fastnn as fnn

model = fnn.load(sys.argv[1])
x = np.load(sys.argv[2])
np.savez(sys.argv[3], whole=model.predict(x), frozen=model.freeze()(x), digits=fnn.datasets.load_digits()[1])
fnn.callbacks.EarlyStopping()
print(fnn.__version__, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.slow
def test_one_file(tmp_path, rng):
    model = fnn.Sequential([fnn.Input((5,)), fnn.layers.Dense(7, activation="gelu"), fnn.layers.Dense(2)])
    model.save(tmp_path / "model.fnn")
    x = rng.normal(size=(11, 5)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "program.py").write_text(PROGRAM)
    build = [sys.executable, "-m", "PyInstaller", "--onefile", "--noconfirm", "--log-level=ERROR", "program.py"]
    subprocess.run(build, cwd=tmp_path, check=True, timeout=600)

    program = tmp_path / "dist" / ("program.exe" if sys.platform == "win32" else "program")
    size = program.stat().st_size
    print(f"{size / 1e6:.1f} MB")
    assert size < 50e6  # 37; with the libraries of extras, where they are installed, it would be 100
    result = subprocess.run(
        [program, "model.fnn", "x.npy", "out.npz"], cwd=tmp_path, env={}, check=True, timeout=120, capture_output=True, text=True
    )
    version, *modules = result.stdout.split()
    assert version == fnn.__version__
    assert not {"matplotlib", "narwhals", "polars", "sklearn", "scipy", "threadpoolctl"} & set(modules)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["whole"], model.predict(x))
        np.testing.assert_array_equal(out["frozen"], model.freeze()(x))
        assert len(out["digits"]) == 1797
