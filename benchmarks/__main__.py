"""`python -m benchmarks`: fastnn beside NumPy on the same work, in turns, as tables and JSON."""

import argparse
import json
from pathlib import Path

from . import environment

PARTS = ("training", "inference", "kernels", "traced", "import")


def table(title, rows, columns):
    """Prints rows {name: {column: number}} under a title."""
    width = max(map(len, rows)) + 2
    print(f"\n{title}\n{'':{width}}" + "".join(f"{c:>16}" for c in columns))
    for name, row in rows.items():
        cells = (f"{row[c]:>16.4g}" if c in row else f"{'':>16}" for c in columns)
        print(f"{name:{width}}" + "".join(cells), flush=True)


def against(row, key="median"):
    """A row for `table`: each side's number, then how many times slower than fastnn it is."""
    cells = {name: side[key] for name, side in row.items()}
    return cells | {f"{name} / fastnn": side["ratio"] for name, side in row.items() if "ratio" in side}


def show(title, rows, key="median"):
    shown = {name: against(row, key) for name, row in rows.items()}
    columns = list(dict.fromkeys(c for row in shown.values() for c in row))
    table(title, shown, sorted(columns, key=lambda c: "/" in c))


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
    from . import fastnn_net, import_time, inference, numpy_net, training
    from .nets import BY_NAME, NETS

    sides = {"fastnn": fastnn_net, "numpy": numpy_net}
    unknown = set(options.nets or ()) - set(BY_NAME)
    if unknown:
        parser.error(f"unknown net {sorted(unknown)[0]!r}; there are {', '.join(BY_NAME)}")
    nets = [BY_NAME[name] for name in options.nets] if options.nets else NETS
    result = environment.about(threads, sides)
    print(f"{result['machine']['cpu']}, {threads} threads; "
          + ", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    if result["load"] > 0.5:
        print(f"This machine is busy (load {result['load']}): the times below will not repeat.")

    if "training" in options.only:
        rows = {f"{net.name}, {net.batch}": training.run(net, sides, options.quick) for net in nets}
        result["training"] = rows
        show(training.TITLE, rows)
    if "inference" in options.only:
        result["inference"] = {}
        for count in inference.ROWS:
            rows = {net.name: inference.run(net, sides, options.quick, count) for net in nets}
            result["inference"][str(count)] = rows
            show(inference.TITLE.format(rows=count), rows)
    if "kernels" in options.only:
        from . import kernels
        result["kernels"] = kernels.run(options.quick)
        show("Products, GFLOP/s", result["kernels"]["products"], "gflops")
        show("Pointwise ops, nanoseconds an element", result["kernels"]["pointwise"], "ns")
        show("Ops that move memory, GB/s beside a copy", result["kernels"]["bandwidth"], "gbs")
    if "traced" in options.only:
        from . import traced
        result["traced"] = traced.run(options.quick)
        show(traced.TITLE, result["traced"])
    if "import" in options.only:
        result["import"] = import_time.run(5 if options.quick else 15)
        table(f"Import, milliseconds (goal: fastnn adds at most {import_time.GOAL_MS})",
              {"import": result["import"]}, ["numpy", "fastnn", "added"])

    end = "-quick.json" if options.quick else ".json"
    path = options.json or Path(__file__).parent / "results" / (environment.machine() + end)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
