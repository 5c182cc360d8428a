"""The parser that all commands share, and the types of their arguments."""

import argparse


class Parser(argparse.ArgumentParser):
    """One line on standard error for a wrong argument."""

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
