"""`fastnn view`: a model drawn in the browser."""


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "view",
        help="draw a model in the browser, with Netron",
        description="Opens Netron on a model; Ctrl-C ends it.",
        epilog="example: fastnn view houses.fnn",
    )
    parser.add_argument("model", help="a file that fastnn wrote, or an ONNX file")
    parser.set_defaults(run=run)


def run(options):
    from .. import onnx

    onnx.view(options.model)
