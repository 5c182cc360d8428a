"""`fastnn bench`: this machine, beside NumPy on the same nets."""

from pathlib import Path

from .arguments import check_new, positive, writing

# The largest net takes a minute by itself.
_NETS = ("2-8-8-1", "64-64-10", "64-(64x20)-10", "784-128-10", "784-512-512-10", "784-1024x3-10")
_ROWS = (1, 1024)


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "bench",
        help="measure this machine beside NumPy",
        description=(
            "Trains the same nets with fastnn and with NumPy written by hand, and predicts with them, in turns: each in "
            "a process\nof its own, from the same weights, on the same data. First both are checked to compute the same."
        ),
        epilog="example: fastnn bench --nets 64-64-10 784-128-10 --plot speed.svg",
    )
    parser.add_argument("--nets", nargs="+", metavar="NET", default=_NETS,
                        help=f"some of {', '.join(_NETS)} and 4096-4096-4096, which is left out by default")  # fmt: skip
    parser.add_argument("--threads", type=positive, help="for both sides (all cores)")
    parser.add_argument("--long", action="store_true", help="more steps and rounds: some minutes in place of one")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture, by its ending .svg, .png or .pdf (extra plot)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.set_defaults(run=run)


def run(options):
    from ..bench import environment, inference, report, training
    from ..bench.nets import NETS
    from ..bench.sides import OWN, Side, Sides
    from ..errors import UnknownNameError

    known = {net.name: net for net in NETS}
    for name in options.nets:
        if name not in known:
            raise UnknownNameError.among("net", name, known)
    for path in filter(None, (options.plot, options.json)):
        check_new(path)
    if options.plot:
        _check_picture(options.plot)
    threads, nets = options.threads or environment.available_cores(), [known[name] for name in options.nets]
    with Sides({name: Side(module, threads) for name, module in OWN.items()}) as sides:
        result = environment.about(threads, sides)
        result["training"] = rows = {net.name: training.run(net, sides, not options.long) for net in nets}
        report.show(training.TITLE, rows)
        result["inference"] = {}
        for count in _ROWS:
            rows = {net.name: inference.run(net, sides, not options.long, count) for net in nets}
            result["inference"][str(count)] = rows
            report.show(inference.TITLE.format(rows=count), rows)
    _write(result, options)


def _check_picture(path):
    from ..errors import ArgumentError, MissingExtraError

    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise MissingExtraError.of("--plot", "matplotlib", "plot") from error
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ArgumentError(f"--plot needs a name that ends in one of {', '.join(sorted(known))}, got '{path}'")


def _write(result, options):
    import json

    from .._safetensors import write_atomically

    if options.json:
        text = json.dumps(result, indent=1) + "\n"
        with writing():
            write_atomically(options.json, lambda file: file.write(text.encode()))
        print(f"\nWritten to {options.json}")
    if options.plot:
        from ..bench.plot import picture

        picture(result, options.plot)
        print(f"\nDrawn in {options.plot}")
