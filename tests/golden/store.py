"""Golden values on disk: one .npz of flat arrays, and a .json that says what stands where in them.

Thousands of small arrays would cost more in zip headers than in numbers, so each group ("given",
"float64", ...) is one flat array, and the description holds ``name -> [offset, shape]``.
"""

import json
import math
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


class Writer:
    """Collects arrays into groups and writes ``<name>.npz`` and ``<name>.json``."""

    def __init__(self, **about):
        self.about = about
        self.cases = []
        self.groups = {}

    def put(self, group, array, dtype):
        """Appends an array to a group; returns its ``[offset, shape]``."""
        array = np.asarray(array, dtype)
        chunks, size = self.groups.setdefault(group, [[], 0])
        chunks.append(array.ravel())
        self.groups[group][1] = size + array.size
        return [size, list(array.shape)]

    def add(self, case):
        self.cases.append(case)

    def save(self, name):
        arrays = {group: np.concatenate(chunks) for group, (chunks, _) in self.groups.items()}
        np.savez_compressed(HERE / f"{name}.npz", **arrays)
        head = json.dumps(self.about)[1:-1]
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in self.cases)
        (HERE / f"{name}.json").write_text(f'{{{head},\n"cases": [\n{lines}\n]}}\n')
        size = sum((HERE / f"{name}{end}").stat().st_size for end in (".npz", ".json"))
        print(f"{name}: {len(self.cases)} cases, {size / 1000:.0f} kB")


class Reader:
    """The cases of ``<name>.json`` and their arrays."""

    def __init__(self, name):
        self.about = json.loads((HERE / f"{name}.json").read_text())
        self.cases = self.about.pop("cases")
        with np.load(HERE / f"{name}.npz", allow_pickle=False) as arrays:
            self.groups = {group: arrays[group] for group in arrays.files}

    def get(self, group, where):
        """The array at ``where = [offset, shape]`` of a group."""
        offset, shape = where
        return self.groups[group][offset:offset + math.prod(shape)].reshape(shape)
