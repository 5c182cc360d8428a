"""Python and libfastnn agree on which files are models: thousands of mutated ones, which the fuzzer of csrc makes and opens."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import warnings
from collections import Counter
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

# What Python alone reads.
PARTS = {
    "config": "the layers' description, or how a predictor's inputs are given", "compile": "the compile settings",
    "report": "what narrow weights cost", "features": "what makes the input of a table",
}  # fmt: skip


def metadata_of(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length], strict=False)["__metadata__"]


def only_pythons(metadata, error, whole):
    """Which part that libfastnn does not read Python may refuse a file for; None: there is no such excuse."""
    for part in PARTS:
        if metadata.get(part) not in [seed.get(part) for seed in whole]:
            return part
    same = ("kind", "program", *PARTS)
    if any(all(metadata.get(key) == seed.get(key) for key in same) for seed in whole):
        return None
    # Whole parts of several files, or another program: Python makes a model's program from its description.
    if metadata["kind"] == "model" or re.search("how its inputs and outputs are given|features give|names of", error):
        return "parts that do not belong together"
    return None


def test_the_limits_are_those_of_the_header():
    header = (CSRC / "fastnn.h").read_text()

    def limit(name):
        value, shift = re.search(rf"#define FNN_MAX_{name} \(?(?:\(\w+\))?(\d+)(?: << (\d+))?", header).groups()
        return int(value) << int(shift or 0)

    assert {
        "HEADER": _safetensors.MAX_HEADER, "FILE_TENSORS": _safetensors.MAX_TENSORS, "FILE_NAME": _safetensors.MAX_NAME,
        "DIMS": _safetensors.MAX_NDIM, "ELEMENTS": _safetensors.MAX_ELEMENTS, "NAME": graph.MAX_NAME,
        "TENSORS": graph.MAX_TENSORS, "NODES": graph.MAX_NODES,
    }.items() <= {name: limit(name) for name in re.findall(r"#define FNN_MAX_(\w+)", header)}.items()  # fmt: skip
    assert graph.MAX_RANK == limit("DIMS") and graph.MAX_ELEMENTS == limit("ELEMENTS")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    fuzz_corpus.main(folder)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def cases(tmp_path_factory, corpus):
    """(status of fnn_open_memory, content) of mutated files."""
    program = tmp_path_factory.mktemp("fuzz") / "fuzz_file"
    source = [CSRC / "tests" / "fuzz_file.c", fnn.get_library()]
    subprocess.run([*libfastnn.CC, "-std=gnu11", "-O1", "-o", program, *source, "-pthread", "-lm"], check=True)
    command = [program, "--show", "--files", str(FILES), "--seed", "7", *corpus]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    found, at = [], 0
    while at < len(shown):
        status, size = struct.unpack_from("=II", shown, at)
        found.append((status, shown[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


def test_both_read_the_same_files(cases, corpus):
    assert len(cases) == FILES
    whole = [metadata_of(path.read_bytes()) for path in corpus]
    agreed, only_c, wrong = Counter(), Counter(), []
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
            wrong.append(f"{number}: C refuses it with status {status}, Python reads it")
        elif part := only_pythons(metadata_of(content), error, whole):
            only_c[part] += 1
        else:
            wrong.append(f"{number}: C reads it, Python says: {error}")
    assert not wrong, "\n".join(wrong[:20])
    assert agreed[True] > FILES / 6 and agreed[False] > FILES / 2 and only_c.total() < FILES / 50, (agreed, only_c)
