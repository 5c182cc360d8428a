"""The parser that all commands share, the types of their arguments, and how commands fail."""

import argparse
import contextlib
import math
import os

from ..errors import FastNNError, FileAccessError

CODES = """exit codes: 0 done, 1 the output cannot be written, 2 wrong arguments or files,
3 a library is missing that an extra brings, 4 what was launched failed, 130 stopped by Ctrl-C"""


class CannotWriteError(FastNNError):
    """The output cannot be written."""


@contextlib.contextmanager
def writing():
    """In this block a file that cannot be accessed is one that cannot be written."""
    try:
        yield
    except FileAccessError as error:
        raise CannotWriteError(str(error)) from error


class Parser(argparse.ArgumentParser):
    """One line on standard error for a wrong argument."""

    def __init__(self, **settings):
        epilog = settings.pop("epilog", None)
        super().__init__(
            **settings,
            epilog=CODES if epilog is None else f"{epilog}\n\n{CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; try '{self.prog} --help'\n")


class Version(argparse.Action):
    """Prints the version when asked: finding it takes time that no other call need pay."""

    def __call__(self, parser, namespace, values, option_string=None):
        from ..config import version

        print(f"fastnn {version()}")
        parser.exit()


def natural(text):
    """An integer of at least 0."""
    value = int(text) if text.isdecimal() else 0
    if not text.isdecimal() or value > 2**63:
        raise argparse.ArgumentTypeError(f"needs an integer of at least 0, got {text!r}")
    return value


def positive(text):
    """An integer of at least 1."""
    if not text.isdecimal() or not 1 <= int(text) <= 2**31:
        raise argparse.ArgumentTypeError(f"needs an integer of at least 1, got {text!r}")
    return int(text)


def positive_number(text):
    """A finite number above 0."""
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"needs a number above 0, got {text!r}")
    return value


def fraction(text):
    """A number of at least 0 and below 1."""
    value = _float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"needs a number of at least 0 and below 1, got {text!r}")
    return value


def _float(text):
    try:
        return float(text)
    except ValueError:
        return math.nan


def widths(text):
    """Sizes of layers: "64,64", or "none"."""
    if text == "none":
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= 1 << 20 for part in parts):
        raise argparse.ArgumentTypeError(f"needs sizes of layers such as 64,64, or none, got {text!r}")
    return [int(part) for part in parts]


def check_new(path, *read):
    """Raises where a file cannot be written to `path`, before the work is done; `read` are files to keep."""
    for other in read:
        if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise CannotWriteError(f"cannot write '{path}': it is what is read; choose another path")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise CannotWriteError(f"cannot write '{path}': there is no folder '{folder}'")
    odd = os.path.exists(path) and not os.path.isfile(path)
    if odd or not os.access(folder, os.W_OK):
        what = "a folder or device is there" if odd else f"'{folder}' may not be written to"
        raise CannotWriteError(f"cannot write '{path}': {what}")
