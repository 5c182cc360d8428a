"""`fastnn info`: this build, or what a file holds."""


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "info",
        help="version and configuration, or what a model file holds",
        epilog="example: fastnn info model.fnn",
    )
    parser.add_argument("file", nargs="?", help="a file that fastnn wrote")
    parser.set_defaults(run=run)


def run(options):
    if options.file is None:
        from ..config import show_config

        show_config()
    else:
        from .. import io

        print(io.info(options.file))
