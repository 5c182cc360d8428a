"""Some hundred mutated files of each kind for each reader; the fuzzers beside this file read as many as one likes."""

import ctypes
import os
import sys
import time

import fuzz_files
import numpy as np
import pytest
from fuzzing import MIB, Target, fuzz

from fastnn.errors import FileFormatError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")

KINDS = ["fine", "crash", "typed", "exit", "hang", "slow", "flood", "large", "untyped", "fine"]


def _wrong(path):
    """A reader with every fault that a fuzzer is there for."""
    kind = path.read_bytes()
    if kind == b"crash":
        ctypes.string_at(0)
    elif kind == b"exit":
        os._exit(3)
    elif kind == b"hang":
        time.sleep(60)
    elif kind == b"slow":
        begun = time.process_time()
        while time.process_time() < begun + 0.3:
            pass
    elif kind == b"flood":
        assert [np.ones(5 * MIB) for _ in range(2)]
    elif kind == b"large":
        assert [np.ones(3 * MIB) for _ in range(2)]
    elif kind == b"untyped":
        raise KeyError("x")
    elif kind == b"typed":
        raise FileFormatError("x")


def faults(folder):
    return Target([(kind, kind.encode()) for kind in KINDS], None, _wrong)


def test_the_fuzzer_sees_every_fault(tmp_path):
    report = fuzz(faults, len(KINDS), keep=tmp_path, seconds=0.2, hang=5)
    found = {KINDS[index]: wrong for index, wrong in report.failures}
    assert list(found) == ["crash", "exit", "hang", "slow", "flood", "untyped"]
    assert "exit code -11" in found["crash"] and "exit code 3" in found["exit"] and "more than 5 s" in found["hang"]
    assert found["slow"].startswith("takes 0.3") and "KeyError" in found["untyped"]
    # Memory that is refused, or, where the process had some addresses to spare, memory that was taken.
    assert "64 MiB" in found["flood"] or "MiB beyond" in found["flood"], found["flood"]
    assert report.outcomes == {"read": 3, "FileFormatError": 1, "failure": 6}
    assert 47 * MIB < report.memory < 64 * MIB, report.memory
    assert (tmp_path / "1-crash").read_bytes() == b"crash" and (tmp_path / "8-untyped").exists()


@pytest.mark.parametrize("what", fuzz_files.PREPARE)
def test_files_end_in_typed_errors(what, tmp_path):
    pytest.importorskip({"arrays": "polars", "csv": "polars", "parquet": "polars", "hdf5": "h5py", "keras": "h5py", "safetensors": "h5py"}.get(what, "numpy"))
    report = fuzz(fuzz_files.PREPARE[what], 150, keep=tmp_path, seconds=3)  # machines of tests may be slow
    assert not report.failures and report.outcomes["FileFormatError"] > 20 and report.outcomes["read"] > 5, str(report)
