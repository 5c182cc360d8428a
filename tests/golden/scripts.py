"""Runs the Keras scripts of keras_scripts/ with either library and flattens what they leave in ``result``."""

from pathlib import Path

import numpy as np

SCRIPTS = sorted((Path(__file__).parent / "keras_scripts").glob("[0-9]*.py"))


def run(path, import_line):
    """The script's ``result`` as {path inside it: float64 array}, with ``import_line`` for its first line."""
    first, rest = path.read_text().split("\n", 1)
    if first != "import keras":
        raise ValueError(f"{path.name} starts with {first!r}, needs 'import keras'")
    scope = {"__name__": path.stem}
    exec(compile(f"{import_line}\n{rest}", str(path), "exec"), scope)
    return dict(flat(scope["result"]))


def flat(value, path=""):
    if isinstance(value, dict):
        for key in value:
            yield from flat(value[key], f"{path}/{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and isinstance(value[0], np.ndarray):
        for i, item in enumerate(value):
            yield from flat(item, f"{path}/{i}")
    else:
        yield path, np.asarray(value, np.float64)
