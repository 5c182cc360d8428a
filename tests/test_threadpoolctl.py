"""The limits of threadpoolctl hold for fastnn's thread pool."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("threadpoolctl")

CHECK = """
from fastnn import _core
fastnn.set_num_threads(2)
[ours] = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "fastnn"]
assert os.path.samefile(ours["filepath"], _core.__file__), ours
assert ours["num_threads"] == 2 and ours["version"] == fastnn.__version__, ours
with threadpoolctl.threadpool_limits(1):
    assert fastnn.get_num_threads() == 1
    with threadpoolctl.threadpool_limits(3, user_api="fastnn"):
        assert fastnn.get_num_threads() == 3
    assert fastnn.get_num_threads() == 1
assert fastnn.get_num_threads() == 2
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    assert fastnn.get_num_threads() == 2
with threadpoolctl.threadpool_limits(100_000, user_api="fastnn"):
    assert fastnn.get_num_threads() == 256
"""


def run(code):
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize("order", ["fastnn, threadpoolctl", "threadpoolctl, fastnn"])
def test_limits(order):
    run(f"import os, {order}\n{CHECK}")


def test_it_is_not_imported():
    run("import sys, fastnn; assert 'threadpoolctl' not in sys.modules")


def test_without_it():
    """Where it is not installed, importing it fails as ever."""
    run("""
import sys, fastnn
sys.path[:] = []
try:
    import threadpoolctl
except ModuleNotFoundError as error:
    assert error.name == "threadpoolctl"
else:
    raise AssertionError
""")
