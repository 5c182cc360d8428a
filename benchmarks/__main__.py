"""`python -m benchmarks`: fastnn beside NumPy on the same work, in turns, as tables and JSON."""

import argparse
from pathlib import Path

from . import environment

PARTS = ("training", "inference", "kernels", "traced", "many", "import")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--quick", action="store_true", help="fewer steps and rounds: about two minutes")
    parser.add_argument("--threads", type=int, help="threads for every side (default: all cores)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
                        help=", ".join(PARTS))
    parser.add_argument("--nets", nargs="+", metavar="NET", help="some of the nets, by name")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="default: benchmarks/results/<machine>.json")
    options = parser.parse_args()

    threads = environment.prepare(options.threads)
    # NumPy reads its settings when it is imported, so these wait until they are made.
    from fastnn import _core
    from fastnn.bench import environment as machine
    from fastnn.bench import inference, report, training
    from fastnn.bench.nets import choose
    from fastnn.bench.sides import OWN, Side, Sides

    from . import import_time
    from .limit import Limit
    from .report import path_of, write

    nets, limit = choose(options.nets, parser), Limit(_core.active_isa(), threads)
    with Sides({name: Side(module, threads) for name, module in OWN.items()}) as sides:
        result = machine.about(threads, sides)
        if "training" in options.only:
            rows = {net.name: training.run(net, sides, options.quick, limit) for net in nets}
            result["training"] = rows
            report.show(training.TITLE, rows)
        if "inference" in options.only:
            result["inference"] = {}
            for count in inference.ROWS:
                rows = {net.name: inference.run(net, sides, options.quick, count, limit) for net in nets}
                result["inference"][str(count)] = rows
                report.show(inference.TITLE.format(rows=count), rows)
    if "kernels" in options.only:
        from . import kernels
        result["kernels"] = kernels.run(threads, options.quick)
        kernels.show(result["kernels"], threads)
    if "traced" in options.only:
        from . import traced
        result["traced"] = traced.run(options.quick)
        report.show(traced.TITLE, result["traced"])
    if "many" in options.only:
        from . import many
        result["many"] = many.run(options.quick)
        report.show(many.TITLE, result["many"])
    if "import" in options.only:
        result["import"] = import_time.run(5 if options.quick else 15)
        report.table(f"Import, milliseconds (goal: fastnn adds at most {import_time.GOAL_MS})",
                     {"import": result["import"]}, ["numpy", "fastnn", "added"])
    write(result, path_of("-quick" if options.quick else "", options.json))


if __name__ == "__main__":
    main()
