"""How many threads the sides of a comparison use, and what a result file says about the machine.

Of the standard library alone: benchmarks/environment.py runs it before NumPy may be imported.
"""

import datetime
import os
import platform
import re
import sys
from pathlib import Path

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS")
# Overrides of OpenBLAS's own choice of kernels and blocking, which slow a current NumPy down.
BLAS_OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def available_cores():
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def variables(threads):
    """The environment of a process that computes on so many threads."""
    kept = {name: value for name, value in os.environ.items() if name not in BLAS_OVERRIDES}
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads))


def prepare(threads=None):
    """Gives this process and those that it starts so many threads (all cores by default); returns the number."""
    if "numpy" in sys.modules:
        raise RuntimeError("environment.prepare() must run before NumPy is imported")
    threads = threads or available_cores()
    made = variables(threads)
    os.environ.clear()
    os.environ.update(made)
    return threads


def cpu():
    """The processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def machine():
    """A short name for this machine, fit for a file name: processor and cores."""
    name = re.sub(r"\(r\)|\(tm\)|\bcpu\b|@.*|\d+-core processor", " ", cpu().lower())
    return "-".join(re.findall(r"[a-z0-9.]+", name)) + f"-{available_cores()}-cores"


def load():
    """Processes that ran or waited over the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def pin(threads):
    """Keeps this process to as many cores: some libraries count cores and take no other setting."""
    if threads < available_cores() and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def about(threads, sides):
    """What every result file starts with, and prints it; `sides` have a method `version`."""
    system = f"{platform.system()} {platform.machine()}"
    made = {
        "machine": {"cpu": cpu(), "cores": available_cores(), "system": system},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load": round(load(), 2),
        "threads": threads,
        "versions": {"python": platform.python_version(), **{k: s.version() for k, s in sides.items()}},
    }
    print(f"{made['machine']['cpu']}, {threads} threads; "
          + ", ".join(f"{name} {version}" for name, version in made["versions"].items()))
    if made["load"] > 0.5:
        print(f"This machine is busy (load {made['load']}): the times below will not repeat.")
    return made
