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


def test_every_place_of_the_room_map_exists():
    root = Path(__file__).parents[1]
    rooms = re.search(r"\| where \|.*?\n\n", README, re.S).group()
    for row in rooms.strip().splitlines()[2:]:
        folder = ""
        for place in re.findall(r"`([^`]+)`", row.split("|")[1]):
            path = place if "/" in place else folder + place
            folder = path[: path.rindex("/") + 1] if not path.endswith("/") else path[: path[:-1].rindex("/") + 1]
            assert (root / path).exists(), path
