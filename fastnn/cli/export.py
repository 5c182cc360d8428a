"""`fastnn export`: a saved model as an ONNX file."""

from .arguments import check_new, writing


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "export",
        help="write a saved model as ONNX",
        description="Writes a model in the format of ONNX, which other libraries run.",
        epilog="example: fastnn export houses.fnn houses.onnx",
    )
    parser.add_argument("model", help="a file that fastnn wrote")
    parser.add_argument("out", help="the file to write, with the ending .onnx")
    parser.set_defaults(run=run)


def run(options):
    from .. import load

    check_new(options.out, options.model)
    model = load(options.model)
    with writing():
        model.export(options.out)
    print(f"Written to {options.out}")
