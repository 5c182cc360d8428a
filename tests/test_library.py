"""libfastnn as other programs get it: built and installed by make, found by pkg-config and CMake, and as the wheel carries it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import config

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ABI = re.match(r"0\.\d+|[1-9]\d*", VERSION).group(0)
CC = shlex.split(os.environ.get("CC", "cc"))

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("make") or not shutil.which(CC[0]), reason="needs Linux, make and a C compiler"
)

PROGRAM = r"""
#include <fastnn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    fnn_model *model = NULL;
    fnn_session *session = NULL;
    fnn_error error;
    float x[4] = {1, -2, 3, 0.5f}, y[3] = {0, 0, 0};
    int status = fnn_open(argc > 1 ? argv[1] : "", &model, &error);
    if (status == FNN_OK) status = fnn_session_create(model, FNN_PREDICT, 1, 0, &session, &error);
    if (status == FNN_OK) status = fnn_predict(session, x, y, 1);
    if (status == FNN_OK) printf("%s %s %.9g %.9g %.9g\n", fnn_version(), fnn_isa(), (double)y[0], (double)y[1], (double)y[2]);
    else printf("%s\n", error.text);
    fnn_session_free(session);
    fnn_model_free(model);
    return status;
}
"""


def run(*command, **options):
    """What a command prints."""
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout.strip()


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def make(*arguments):
    return run("make", "-s", "-C", ROOT / "csrc", f"-j{os.cpu_count()}", *arguments)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The folder that make builds in: outside of the sources, which stay as they are."""
    folder = tmp_path_factory.mktemp("build")
    make(f"BUILD={folder}")
    return folder


@pytest.fixture(scope="module")
def prefix(build, tmp_path_factory):
    """Where the library is installed, below a folder to which it was moved afterwards."""
    staged = tmp_path_factory.mktemp("staged")
    make("install", f"BUILD={build}", "PREFIX=/opt/fastnn", "LIBDIR=/opt/fastnn/lib/here", f"DESTDIR={staged}")
    return (staged / "opt").rename(staged / "moved") / "fastnn"


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.c"
    path.write_text(PROGRAM)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model's file, and what the program prints of it: the bits that Python gets."""
    fnn.set_seed(0)
    model = fnn.Sequential([fnn.Input((4,)), fnn.layers.Dense(5, "tanh"), fnn.layers.Dense(3, "softmax")])
    path = tmp_path_factory.mktemp("saved") / "net.fnn"
    model.save(path)
    y = model.predict(np.array([[1, -2, 3, 0.5]], "float32"), verbose=0)[0]
    return path, f"{VERSION} {fnn.show_config('dicts')['active']} " + " ".join(f"{value:.9g}" for value in y.tolist())


def public():
    """The functions of the public header."""
    header = (ROOT / "csrc/fastnn.h").read_text()
    return set(re.findall(r"\b(fnn_\w+)\(", re.sub(r"/\*.*?\*/", "", " ".join(re.findall(r"FNN_API [^;]*;", header)), flags=re.S)))


def defined(library, *options):
    """The symbols that a library defines for others."""
    lines = run("nm", "-P", "--defined-only", *options, library).splitlines()
    return {line.split()[0] for line in lines if len(line.split()) > 2}


def test_the_shared_library_exports_the_header_alone(build):
    assert defined(build / "libfastnn.so", "-D") == public()
    assert {"fnn_version", "fnn_isa"} <= public()


@pytest.mark.parametrize("of", ["make", "wheel"])
def test_the_static_library_takes_no_other_names(build, of):
    names = defined(build / "libfastnn.a" if of == "make" else fnn.get_library(), "-g")
    assert public() <= names
    assert not [name for name in names if not name.startswith("fnn_")]


def test_version(build):
    real = build / f"libfastnn.so.{VERSION}"
    links = [build / f"libfastnn.so.{ABI}", build / "libfastnn.so"]
    assert real.is_file() and not real.is_symlink()
    assert [link.readlink() for link in links] == [Path(real.name)] * 2
    assert re.search(r"\(SONAME\).*\[(.*)\]", run("readelf", "-d", real)).group(1) == links[0].name


@pytest.mark.skipif(not shutil.which("strip"), reason="needs strip")
def test_size(build, tmp_path):
    run("strip", "-o", tmp_path / "stripped", build / "libfastnn.so")
    assert (tmp_path / "stripped").stat().st_size < 1_900_000


def test_install_and_uninstall(build, tmp_path):
    install = [f"BUILD={build}", "PREFIX=/usr", f"DESTDIR={tmp_path}"]
    make("install", *install)
    assert files_below(tmp_path / "usr") == {
        "include/fastnn.h", "lib/libfastnn.a", "lib/libfastnn.so", f"lib/libfastnn.so.{ABI}", f"lib/libfastnn.so.{VERSION}",
        "lib/pkgconfig/fastnn.pc", "lib/cmake/fastnn/fastnnConfig.cmake", "lib/cmake/fastnn/fastnnConfigVersion.cmake",
    }  # fmt: skip
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pc", ".cmake") and "@" in path.read_text()]
    (tmp_path / "usr/lib/other").touch()
    make("uninstall", *install)
    assert files_below(tmp_path) == {"usr/lib/other"}


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="needs pkg-config")
def test_pkg_config(prefix, program, saved, tmp_path):
    environment = os.environ | {"PKG_CONFIG_PATH": str(prefix / "lib/here/pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", "fastnn", env=environment).split()
    assert run("pkg-config", "--modversion", "fastnn", env=environment) == VERSION
    run(*CC, "-o", tmp_path / "program", program, *flags)
    environment["LD_LIBRARY_PATH"] = str(prefix / "lib/here")
    assert run(tmp_path / "program", saved[0], env=environment) == saved[1]
    static = run("pkg-config", "--static", "--cflags", "--libs", "fastnn", env=environment).split()
    run(*CC, "-o", tmp_path / "static", program, *["-l:libfastnn.a" if flag == "-lfastnn" else flag for flag in static])
    assert run(tmp_path / "static", saved[0]) == saved[1]


CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(program C)
find_package(fastnn {version} REQUIRED)
foreach(kind fastnn fastnn_static)
  add_executable(with_${{kind}} program.c)
  target_link_libraries(with_${{kind}} PRIVATE fastnn::${{kind}})
endforeach()
"""


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs CMake")
def test_cmake(prefix, program, saved, tmp_path):
    def configure(version):
        (tmp_path / "CMakeLists.txt").write_text(CMAKE.format(version=version))
        command = ["cmake", "-S", tmp_path, "-B", tmp_path / f"of{version}", f"-Dfastnn_DIR={prefix}/lib/here/cmake/fastnn"]
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60)

    for version in ("99", f"{VERSION}.1"):
        result = configure(version)
        assert result.returncode != 0 and f"version: {VERSION}" in result.stderr
    for version in ("", VERSION, ABI):
        result = configure(version)
        assert result.returncode == 0, result.stderr
    run("cmake", "--build", tmp_path / f"of{ABI}")
    for kind in ("fastnn", "fastnn_static"):
        assert run(tmp_path / f"of{ABI}" / f"with_{kind}", saved[0]) == saved[1]
    assert f"libfastnn.so.{ABI}" in run("readelf", "-d", tmp_path / f"of{ABI}/with_fastnn")
    assert "fastnn" not in run("readelf", "-d", tmp_path / f"of{ABI}/with_fastnn_static")


def test_what_the_wheel_carries(program, saved, tmp_path):
    run(*CC, "-o", tmp_path / "program", program, f"-I{fnn.get_include()}", fnn.get_library(), "-lm", "-pthread")
    assert run(tmp_path / "program", saved[0]) == saved[1]
    assert Path(fnn.get_include(), "fastnn.h").read_bytes() == (ROOT / "csrc/fastnn.h").read_bytes()


def test_a_library_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "__file__", str(tmp_path / "config.py"))
    for function in (fnn.get_include, fnn.get_library):
        with pytest.raises(fnn.errors.FileAccessError, match=rf"{tmp_path}.*install fastnn again") as caught:
            function()
        assert str(tmp_path) in caught.value.filename


STANDARDS = [("cc", "c99"), ("cc", "c11"), ("c++", "c++11"), ("c++", "c++20"), ("clang", "c99"), ("clang++", "c++11")]


@pytest.mark.parametrize(("compiler", "standard"), STANDARDS)
def test_the_header_is_of_every_standard(compiler, standard, tmp_path):
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    source = tmp_path / ("program.cc" if "++" in compiler else "program.c")
    source.write_text(PROGRAM)
    strict = ["-Wall", "-Wextra", "-Wconversion", "-pedantic-errors", "-Werror"]
    run(compiler, f"-std={standard}", *strict, f"-I{ROOT / 'csrc'}", "-fsyntax-only", source)
