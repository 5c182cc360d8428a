"""`fastnn export`: a saved model as an ONNX file or a C header."""

import os

from .arguments import check_new, writing


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "export",
        help="write a saved model as ONNX or C",
        description="Writes a model in the format of ONNX, which other libraries run, or as a C header for microcontrollers.",
        epilog="example: fastnn export houses.fnn houses.onnx",
    )
    parser.add_argument("model", help="a file that fastnn wrote")
    parser.add_argument("out", help="the file to write, with the ending .onnx, or .h for C")
    parser.set_defaults(run=run)


def run(options):
    from .. import load, onnx
    from ..c_header import EXTENSIONS

    check_new(options.out, options.model)
    model = load(options.model)
    with writing():
        if os.path.splitext(options.out)[1].lower() in EXTENSIONS:
            model.export_c(options.out)
        else:
            onnx.export(model, options.out)
    print(f"Written to {options.out}")
