"""Python and libfastnn agree on which files are models: thousands of mutated ones, which the fuzzer of csrc makes and opens."""

import os
import re
import shutil
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import fuzz_corpus
import libfastnn
import pytest

import fastnn as fnn
from fastnn import _safetensors, graph, io

CSRC = Path(__file__).parents[1] / "csrc"
FILES = int(os.environ.get("FASTNN_EXAMPLES", 200)) * 20

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which(libfastnn.CC[0]) or not CSRC.exists(), reason="needs Linux, a C compiler and csrc"
)

# What Python alone reads, and how it says that this is wrong; of files of either kind.
ONLY_PYTHONS = {
    "the layers' description": r"layers' description|description of the layers|configuration of|Unknown (layer|argument|initializer|act)"
    r"|__init__|from_config|KeyError|the model needs|lacks the tensor|ProgramError: Tensor \d+ carries",
    "the compile settings": r"compile settings|The (loss|metric|optimizer)|Unknown (loss|metric|optimizer)|Adam|SGD|R(MS)?prop|Ada|Lion",
    "how a predictor's inputs are given": r"predictor's description|does not say how its inputs",
    "the report": r"the report|Report",
    "features": r"the features|Unknown kind of step|one_hot|standardize|column|Features|impute|surrogates not allowed",
}


def test_the_limits_are_those_of_the_header():
    header = (CSRC / "fastnn.h").read_text()

    def limit(name):
        value = re.search(rf"#define FNN_MAX_{name} (.+?)( +/\*.*)?\n", header)[1]
        return eval(re.sub(r"\((size_t|int64_t)\)", "", value), {"__builtins__": {}})

    assert {
        "HEADER": _safetensors.MAX_HEADER, "FILE_TENSORS": _safetensors.MAX_TENSORS, "FILE_NAME": _safetensors.MAX_NAME,
        "DIMS": _safetensors.MAX_NDIM, "ELEMENTS": _safetensors.MAX_ELEMENTS, "NAME": graph.MAX_NAME,
        "TENSORS": graph.MAX_TENSORS, "NODES": graph.MAX_NODES,
    }.items() <= {name: limit(name) for name in re.findall(r"#define FNN_MAX_(\w+)", header)}.items()  # fmt: skip
    assert graph.MAX_RANK == limit("DIMS") and graph.MAX_ELEMENTS == limit("ELEMENTS")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """(status of fnn_open_memory, content) of mutated files."""
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz_corpus.main(folder / "corpus")
    program = folder / "fuzz_file"
    source = [CSRC / "tests" / "fuzz_file.c", fnn.get_library()]
    subprocess.run([*libfastnn.CC, "-std=gnu11", "-O1", "-o", program, *source, "-pthread", "-lm"], check=True)
    command = [program, "--show", "--files", str(FILES), "--seed", "7", *sorted((folder / "corpus").iterdir())]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    found, at = [], 0
    while at < len(shown):
        status, size = struct.unpack_from("=II", shown, at)
        found.append((status, shown[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


def test_both_read_the_same_files(cases):
    assert len(cases) == FILES
    agreed, only_c, wrong = {True: 0, False: 0}, dict.fromkeys(ONLY_PYTHONS, 0), []
    warnings.simplefilter("ignore")
    for number, (status, content) in enumerate(cases):
        try:
            io.from_bytes(content)
            error = None
        except fnn.FastNNError as raised:
            error = str(raised)
        if (status == libfastnn.OK) == (error is None):
            agreed[error is None] += 1
        elif error is None:
            wrong.append((number, f"C refuses it with status {status}, Python reads it"))
        else:
            part = next((part for part, pattern in ONLY_PYTHONS.items() if re.search(pattern, error)), None)
            if part is None:
                wrong.append((number, f"C reads it, Python says: {error}"))
            else:
                only_c[part] += 1
    assert not wrong, wrong[:10]
    assert agreed[True] > FILES / 6 and agreed[False] > FILES / 2 and sum(only_c.values()) < FILES / 50, (agreed, only_c)
