"""What `import fastnn` costs beside `import numpy`, each in fresh interpreters."""

import statistics
import subprocess
import sys

SOURCE = "import time; t = time.perf_counter(); import {0}; print(time.perf_counter() - t)"
GOAL_MS = 15  # beyond numpy's own import


def milliseconds(module):
    command = [sys.executable, "-c", SOURCE.format(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return 1e3 * float(done.stdout)


def run(rounds=15):
    """Median milliseconds to import numpy and fastnn, and what fastnn adds."""
    times = {"numpy": [], "fastnn": []}
    milliseconds("fastnn")  # byte-compiles what is not yet
    for _ in range(rounds):
        for module in times:
            times[module].append(milliseconds(module))
    added = statistics.median(b - a for a, b in zip(times["numpy"], times["fastnn"]))
    return {**{module: statistics.median(values) for module, values in times.items()}, "added": added}
