"""The command `fastnn`: a module for each of its commands, which it imports the rest of fastnn in."""

import sys

from ..errors import FastNNError, MissingExtraError
from . import bench, demo, evaluate, export, info, launch, predict, train, view
from .arguments import CannotWriteError, Parser, Version

_COMMANDS = (train, predict, evaluate, info, export, view, launch, bench, demo)


def main(arguments=None):
    """Runs the command line.

    Returns
    -------
    int
        The exit code: 0; 1 where the output cannot be written; 2 for wrong arguments, files or data; 3 where a
        library of an extra is missing; 4 where what `launch` started failed; 130 after Ctrl-C.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # names of columns go to terminals that cannot show them
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except FastNNError as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return 1 if isinstance(error, CannotWriteError) else 3 if isinstance(error, MissingExtraError) else 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; Python would complain about it at exit
        return 1
    except OSError as error:
        print(f"fastnn: cannot write the output: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastnn: stopped", file=sys.stderr)
        return 130


def _parser():
    parser = Parser(
        prog="fastnn",
        description="Neural networks, fast and small.",
        epilog="example: fastnn train houses.csv --target price && fastnn predict houses.fnn new.csv",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in _COMMANDS:
        command.add_to(commands)
    return parser
