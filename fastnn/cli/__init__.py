"""The command `fastnn`."""

import sys

from ..errors import FastNNError
from . import demo, info
from .arguments import Parser, Version


def main(arguments=None):
    """Runs the command line; returns the exit code: 0, 2 for wrong arguments or files, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except FastNNError as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; Python would complain about it at exit
        return 1
    except OSError as error:
        print(f"fastnn: cannot write the output: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastnn: stopped", file=sys.stderr)
        return 130
    return 0


def _parser():
    parser = Parser(prog="fastnn", description="Neural networks, fast and small.")
    parser.add_argument("--version", action=Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (demo, info):
        command.add_to(commands)
    return parser
