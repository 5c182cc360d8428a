"""What PyInstaller asks for, by the entry point `pyinstaller40`: where the hook of this package is."""

from pathlib import Path


def get_hook_dirs():
    return [str(Path(__file__).parent)]
