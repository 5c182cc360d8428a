"""The settings that NumPy reads when it is imported, for benchmarks in this process."""

import runpy
from pathlib import Path

# fastnn imports NumPy, so its module is run by its path here.
_path = Path(__file__).parent.parent / "fastnn" / "bench" / "environment.py"
prepare = runpy.run_path(str(_path))["prepare"]
