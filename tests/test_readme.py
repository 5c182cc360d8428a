"""The README's example runs as it is printed."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_twenty_lines(tmp_path):
    [example] = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(example.strip().splitlines()) <= 22
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    accuracy, guess = run.stdout.splitlines()
    assert float(accuracy.removeprefix("accuracy on unseen digits: ")) > 0.95
    assert guess == "the first of them is a 0 and was labelled 0"
    assert (tmp_path / "digits.fnn").is_file()


def test_the_other_examples(tmp_path):
    """Each runs on its own data, in the order in which they stand."""
    examples = re.findall(r"```py\n(.*?)```", README, re.S)
    assert len(examples) == 2
    data = """
import numpy as np, fastnn as fnn
rng = np.random.default_rng(0)
X, W = rng.normal(size=(40, 4)), rng.normal(size=(4, 3))
"""
    rest = """
x, y = X, X.sum(axis=1, keepdims=True)
assert np.allclose(gradient, X.T @ (1 - np.tanh(X @ W) ** 2)) and np.isclose(value, np.tanh(X @ W).sum())
"""
    run = subprocess.run(
        [sys.executable, "-c", data + examples[0] + rest + examples[1].replace("epochs=1000", "epochs=3, verbose=0")],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "run.ckpt").is_file()


def test_every_place_of_the_room_map_exists():
    root = Path(__file__).parents[1]
    rooms = re.search(r"\| where \|.*?\n\n", README, re.S).group()
    for row in rooms.strip().splitlines()[2:]:
        folder = ""
        for place in re.findall(r"`([^`]+)`", row.split("|")[1]):
            path = place if "/" in place else folder + place
            folder = path[: path.rindex("/") + 1] if not path.endswith("/") else path[: path[:-1].rindex("/") + 1]
            assert (root / path).exists(), path
