"""Result files."""

import json
from pathlib import Path

from fastnn.bench import environment

RESULTS = Path(__file__).parent / "results"


def path_of(ending, given=None):
    """Where a result of this machine stands, unless the user names another file."""
    return given or RESULTS / f"{environment.machine()}{ending}.json"


def write(result, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path}")
