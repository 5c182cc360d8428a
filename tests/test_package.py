"""What is shipped: metadata, versions, instruction sets, threads, data."""

import os
import platform
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, datasets

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run_python(code, **environment):
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, cwd=Path(__file__).parent,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_version():
    assert fnn.__version__ == PROJECT["version"]


def test_name_and_version_stand_once():
    name = PROJECT["name"]
    folders = [path for folder in ("fastnn", "csrc", "docs") for path in (ROOT / folder).rglob("*")]
    for path in [ROOT / "README.md", ROOT / "setup.py", *folders]:
        if path.suffix in {".py", ".pyx", ".pyi", ".md", ".rst", ".c", ".h"}:
            assert name not in path.read_text(encoding="utf-8"), path
    assert (ROOT / "pyproject.toml").read_text().count(name) == 1


def test_dependencies():
    extras = PROJECT["optional-dependencies"]
    assert {re.split("[<>=]", d)[0] for d in PROJECT["dependencies"]} == {"numpy", "tqdm"}
    left_out = {"all", "mpi", "cuda12", "cuda13"}
    listed = [dependency for name, extra in extras.items() if name not in left_out for dependency in extra]
    assert set(extras["all"]) == set(listed)
    assert len(set(extras["all"])) == len(extras["all"])


@pytest.mark.parametrize(
    ("system", "architecture", "tags"),
    [
        ("linux", "x86_64", ["manylinux_x86_64", "musllinux_x86_64"]), ("linux", "aarch64", ["manylinux_aarch64", "musllinux_aarch64"]),
        ("macos", "x86_64", ["macosx_x86_64"]), ("macos", "arm64", ["macosx_arm64"]), ("windows", "AMD64", ["win_amd64"]),
    ],
)  # fmt: skip
def test_cibuildwheel_builds_for_every_platform_and_python(system, architecture, tags):
    pytest.importorskip("cibuildwheel")
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", system, "--archs", architecture]
    result = subprocess.run([*command, ROOT], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and not result.stderr, result.stderr
    made = set(result.stdout.split())
    pythons = [c.rpartition(" ")[2].replace(".", "") for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert {f"cp{python}-{tag}" for python in [*pythons, "314t"] for tag in tags} <= made
    assert all(name.endswith(tuple(tags)) and not name.startswith("cp310-") for name in made)


def test_every_public_module_has_a_page():
    listed = set(re.findall(r"^   fastnn\.(\w+)$", (ROOT / "docs/api.rst").read_text(), re.M))
    modules = {name for name in fnn.__all__ if isinstance(getattr(fnn, name), ModuleType)} - {"keras"}
    assert modules <= listed


def test_typed():
    package = files("fastnn")
    assert (package / "py.typed").is_file() and (package / "_core.pyi").is_file()


def flags_in(makefile, name):
    """The flags of an instruction set, those that it takes from another one in their place."""
    row = re.search(rf"^flags_{name} = (.+)$", makefile, re.M).group(1)
    return re.sub(r"\$\(flags_(\w+)\)", lambda other: " ".join(flags_in(makefile, other.group(1))), row).split()


def test_instruction_sets_agree():
    """setup.py, the Makefile and dispatch.c list the same ones with the same flags."""
    makefile = (ROOT / "csrc/Makefile").read_text()
    dispatch = (ROOT / "csrc/dispatch.c").read_text()
    setup = (ROOT / "setup.py").read_text()
    scope = {}
    exec(re.search(r"^AVX512 = .*?^INSTRUCTION_SETS = .*?^\}", setup, re.M | re.S).group(0), scope)
    families = scope["INSTRUCTION_SETS"]
    lists = [tuple(m.split()) for m in re.findall(r"^ISAS = (.+)$", makefile, re.M)]
    lists.remove(("wasm",))  # no wheel is built for it
    assert [set(isas) for isas in lists] == [set(family) for family in families.values()]
    dispatch = dispatch.replace("AVX512_ISAS(ISA)", re.search(r"#define AVX512_ISAS\(ISA\)( .*?)\n#", dispatch, re.S).group(1), 1)
    in_c = re.findall(r"#define ISAS\(ISA\)(.*?)\n#", dispatch, re.S)
    names_in_c = [set(re.findall(r"ISA\((\w+),", rows)) for rows in in_c]
    names_in_c.remove({"wasm"})
    assert names_in_c == [set(family) for family in families.values()]
    for family in families.values():
        for name, flags in family.items():
            if flags:
                assert flags_in(makefile, name) == flags


AVX2 = {"avx2", "fma"}
AVX512 = {*AVX2, "avx512f", "avx512vl", "avx512dq", "avx512bw"}
NEEDED = {"baseline": set(), "avx2": AVX2, "avx512": AVX512, "avx512bf16": {*AVX512, "avx512_bf16"}}


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="reads Linux's /proc/cpuinfo of x86-64")
def test_instruction_sets_are_those_that_the_system_names():
    has = set(re.search(r"^flags\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M).group(1).split())
    assert _core.built_isas() == [(name, NEEDED[name] <= has) for name, _ in _core.built_isas()]


@pytest.mark.parametrize("isa", _core.isas())
def test_isa_is_forced(isa):
    assert run_python("from fastnn import _core; print(_core.active_isa())", FASTNN_ISA=isa) == isa


def test_an_unknown_isa_is_warned_of():
    code = "import warnings\nwith warnings.catch_warnings(record=True) as caught:\n    import fastnn\nprint(caught[0].message)"
    message = run_python(code, FASTNN_ISA="mmx")
    assert "'mmx'" in message and _core.isas()[0] in message


def test_best_isa_by_default():
    environment = {k: v for k, v in os.environ.items() if k != "FASTNN_ISA"}
    code = "from fastnn import _core; print(_core.active_isa())"
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert output.strip() == _core.isas()[0]


@pytest.mark.parametrize(
    ("text", "threads"), [("3", 3), ("1", 1), ("0", None), ("many", None), ("-1", None), ("", None)]
)
def test_number_of_threads(text, threads):
    usable = min(len(os.sched_getaffinity(0)), 256) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    code = "import fastnn; print(fastnn.get_num_threads())"
    assert run_python(code, FASTNN_NUM_THREADS=text) == str(threads or usable)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork():
    """A child of a process whose pool has run trains with threads of its own, to the same bits."""
    code = """
import os, sys, warnings
import numpy as np, fastnn as fnn
warnings.simplefilter("ignore")  # Python warns of threads in a process that forks
fnn.set_num_threads(2)
def train():
    fnn.set_seed(1)
    model = fnn.Sequential([fnn.Input((64,)), fnn.layers.Dense(256, activation="relu"), fnn.layers.Dense(10)])
    model.compile("adam", "mse")
    x = np.linspace(-1, 1, 512 * 64, dtype="float32").reshape(512, 64)
    model.fit(x, x[:, :10], batch_size=128, epochs=2, verbose=0)
    return model.predict(x, verbose=0).tobytes()
before = train()
child = os.fork()
if child == 0:
    os._exit(0 if train() == before else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), train() == before)
"""
    assert run_python(code) == "0 True"


def test_random_draws_do_not_depend_on_their_number():
    whole, part = np.empty(1000), np.empty(501)
    _core.random(7, 3, "normal", 0.0, 1.0, whole)
    _core.random(7, 3, "normal", 0.0, 1.0, part)
    np.testing.assert_array_equal(part, whole[:501])


@pytest.mark.parametrize("n", [1, 2, 3, 10, 257, 1797])
def test_permutation(n):
    orders = [[_core.permuted(5, epoch, n, i) for i in range(n)] for epoch in range(2)]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert n < 10 or orders[0] != orders[1]


def test_digits():
    x, y = datasets.load_digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32 and x.min() == 0 and x.max() == 16
    assert y.shape == (1797,) and y.dtype == np.int64
    assert Counter(y.tolist()) == dict(enumerate([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]))
    x[:] = 0
    assert datasets.load_digits()[0].any()
    assert (files("fastnn") / "data" / "digits.LICENSE.txt").is_file()


def test_the_clock_shows_its_hour():
    """The hand's direction, read from the pictures by their centre of mass, is the hour's."""
    x, y = datasets.make_clock(500, random_state=1)
    assert x.shape == (500, 256) and x.dtype == y.dtype == np.float32 and 0 <= y.min() and y.max() < 24
    pictures, place = x.reshape(-1, 16, 16), np.arange(16) - 7.5
    right, up = (pictures * place).sum(axis=(1, 2)), (pictures * -place[:, None]).sum(axis=(1, 2))
    turns = np.arctan2(right, up) / (2 * np.pi) - y / 24
    assert np.abs(turns - np.round(turns)).max() * 24 < 0.1
    assert y.std() > 6 and x.max() <= 1 and x.min() >= 0
    again = datasets.make_clock(500, random_state=np.random.default_rng(1), noise=0.1)
    np.testing.assert_array_equal(again[1], y)
    assert 0.09 < (again[0] - x).std() < 0.11
    assert datasets.make_clock(3, size=9)[0].shape == (3, 81)
    with pytest.raises(fnn.errors.ArgumentError, match="size must be at least 2, got 1"):
        datasets.make_clock(size=1)
