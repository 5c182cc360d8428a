"""Threads, the default dtype, and what this build is made of."""

from __future__ import annotations

import errno
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import check_float_dtype, check_int, check_policy
from .errors import ArgumentError, FileAccessError

if TYPE_CHECKING:
    from ._typing import Any

MAX_THREADS = 256  # FNN_MAX_THREADS of csrc/fastnn.h

_floatx = "float32"


def floatx() -> str:
    """The dtype of models that are made without `dtype=`: "float32" unless `set_floatx` changed it."""
    return _floatx


def set_floatx(value) -> None:
    """Sets the dtype of models that are made without `dtype=`.

    Parameters
    ----------
    value : {"float32", "float64"}
    """
    global _floatx
    _floatx = check_float_dtype("set_floatx", value)


def check_dtype(value):
    """`value` as what a model computes in; None is the default dtype."""
    return _floatx if value is None else check_policy("Model", value)


def set_num_threads(n: int) -> None:
    """Sets how many threads the engine uses in this process. Results do not depend on it.

    Parameters
    ----------
    n : int
        1 or more; 0 for as many as the process may run on. `FASTNN_NUM_THREADS` sets it at import, and
        ``threadpoolctl.threadpool_limits`` for a while.
    """
    from . import _core

    if check_int("set_num_threads", "n", n, 0) > MAX_THREADS:
        raise ArgumentError(f"set_num_threads: n must be at most {MAX_THREADS}, got {n}.")
    _core.set_threads(n)


def get_num_threads() -> int:
    """The number of threads that the engine uses."""
    from . import _core

    return _core.get_threads()


def get_include() -> str:
    """The folder of `fastnn.h`, the header of libfastnn, with which a program in C or C++ predicts and trains without Python.

    Raises
    ------
    FileAccessError
        It is not there: this installation was built without it.

    See Also
    --------
    get_library : the library itself.
    """
    return str(_part_of_library("include", "fastnn.h").parent)


def get_library() -> str:
    """The path of libfastnn as a static library, of this very build: the same instruction sets, the same bits.

    It needs the mathematical functions of C and threads, nothing else::

        cc -o program program.c -I"$(python -c 'import fastnn; print(fastnn.get_include())')" \\
            "$(python -c 'import fastnn; print(fastnn.get_library())')" -lm -pthread

    Raises
    ------
    FileAccessError
        It is not there: this installation was built without it.

    Notes
    -----
    A shared library, for `pkg-config` and CMake too, is what ``make -C csrc install`` of the sources installs.
    """
    return str(_part_of_library("lib", "fastnn.lib" if sys.platform == "win32" else "libfastnn.a"))


def _part_of_library(folder, name):
    path = Path(__file__).parent / folder / name
    if not path.is_file():
        raise FileAccessError(
            f"this installation of fastnn has no {path}, which a build puts there; install fastnn again, in a checkout: "
            "pip install -e .",
            errno=errno.ENOENT,
            filename=str(path),
        )
    return path


@cache
def version() -> str:
    """The version of the installed distribution that holds this package."""
    from importlib import metadata

    for name in metadata.packages_distributions().get(__package__, ()):
        return metadata.version(name)
    return "unknown"


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """What this build is made of and runs on.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it as a dict.

    Returns
    -------
    dict or None
        "fastnn", "numpy", "python" (versions), "platform", "instruction sets" (those built in, best first:
        {name: whether this CPU runs it}), "active" (the one in use; FASTNN_ISA forces another), "threads".
    """
    import platform

    import numpy as np

    from . import _core

    if mode not in ("stdout", "dicts"):
        raise ArgumentError(f"show_config needs mode 'stdout' or 'dicts', got {mode!r}")
    config = {
        "fastnn": version(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "instruction sets": dict(_core.built_isas()),
        "active": _core.active_isa(),
        "threads": _core.get_threads(),
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        if isinstance(value, dict):
            value = ", ".join(name if runs else f"{name} (not on this CPU)" for name, runs in value.items())
        sys.stdout.write(f"{key + ':':18}{value}\n")
    return None
