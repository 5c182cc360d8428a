"""The peers' own environment: a venv below the user's cache folder with the versions of requirements.txt."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FOLDER = Path(__file__).parent.parent.parent


def default_folder():
    """One folder for each set of versions and each Python."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:8]
    return cache / "fastnn-benchmarks" / f"peers-{key}"


def python(folder=None):
    """The environment's interpreter; makes the environment where `folder` has none of these versions."""
    folder = Path(folder or default_folder()).absolute()
    path = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != REQUIREMENTS.read_bytes():
        print(f"Installing the peers in {folder}", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([path, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        stamp.write_bytes(REQUIREMENTS.read_bytes())
    return path
