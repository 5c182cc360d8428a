"""`python -m benchmarks.peers`: fastnn beside other libraries on the same work: tables, JSON, a plot."""

import argparse
import json
import subprocess
from pathlib import Path

from .. import environment
from . import PEERS, installed

PARTS = ("training", "inference", "isa")
ROWS = (1, 128, 1024, 4096)


def arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--quick", action="store_true", help="fewer steps and rounds")
    parser.add_argument("--threads", type=int, help="threads for every side (default: all cores)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
                        help="training; inference; isa: fastnn alone on each instruction set but the best")
    parser.add_argument("--nets", nargs="+", metavar="NET", help="some of the nets, by name")
    peers = ("numpy", *PEERS)
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers, metavar="PEER",
                        help="some of " + ", ".join(peers))
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, metavar="N", help="batches to predict")
    parser.add_argument("--environment", type=Path, metavar="FOLDER",
                        help="where the peers are installed (default: below the user's cache folder)")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="default: benchmarks/results/<machine>-peers.json; figures in it that are not "
                             "measured anew stay, and the plot stands beside it")
    return parser, parser.parse_args()


def main():
    parser, options = arguments()
    threads = environment.prepare(options.threads)
    python = installed.python(options.environment)
    # NumPy reads its settings when it is imported, so these wait until they are made.
    from dataclasses import replace

    from fastnn import _core
    from fastnn.bench import environment as machine
    from fastnn.bench import inference, report, training
    from fastnn.bench.nets import choose
    from fastnn.bench.sides import OWN, Side, Sides

    from ..limit import Limit
    from ..report import path_of, write
    from . import summary

    nets = [replace(net, dtype=options.dtype) for net in choose(options.nets, parser)]
    path = path_of("-peers-quick" if options.quick else "-peers", options.json)
    result = json.loads(path.read_text()) if path.exists() else {}
    run = result.setdefault(f"{options.dtype}, {threads} thread{'s' * (threads > 1)}", {})
    limit = Limit(_core.active_isa(), threads)

    wanted = {"fastnn": OWN["fastnn"], "fastnn, new array": "benchmarks.fastnn_fresh"}
    wanted |= {name: module for name, module in OWN.items() if name in options.peers}
    with Sides({name: Side(module, threads) for name, module in wanted.items()}) as sides:
        for name in PEERS:
            if name in options.peers:
                sides[name] = Side(PEERS[name], threads, python)
        about = machine.about(threads, sides)
        versions = run.get("versions", {}) | about.pop("versions")
        run |= about | {"versions": versions}
        run["limit"] = {"gflops": limit.flops(options.dtype) / 1e9, "copy_gbs": limit.copy() / 1e9}
        text = "The machine's limit: {gflops:.4g} GFLOP/s; a copy moves {copy_gbs:.4g} GB/s"
        print(text.format(**run["limit"]), flush=True)
        able = {part: {name: side for name, side in sides.items() if part in side.can()}
                for part in ("training", "inference")}

        def keep(net, row, *keys):
            rows = run
            for key in keys:
                rows = rows.setdefault(key, {})
            rows[net.name] = rows.get(net.name, {}) | row

        for net in nets:
            if "training" in options.only:
                row = training.run(net, able["training"], options.quick, limit)
                report.show_sides(f"{net.name}, a step of {net.batch} ({options.dtype})", row)
                keep(net, row, "training")
            for rows in options.rows if "inference" in options.only else ():
                named = {n: s for n, s in able["inference"].items() if rows == 1 or n != "fastnn, new array"}
                row = inference.run(net, named, options.quick, rows, limit)
                report.show_sides(f"{net.name}, a prediction of {rows} ({options.dtype})", row)
                keep(net, row, "inference", str(rows))
    others = [isa for isa in _core.isas() if isa != _core.active_isa()] if "isa" in options.only else []
    for isa in others:
        with Sides({"fastnn": Side(OWN["fastnn"], threads, FASTNN_ISA=isa)}) as sides:
            for net in nets:
                row = training.run(net, sides, options.quick, Limit(isa, threads))
                report.show_sides(f"{net.name}, a step of {net.batch} ({options.dtype}, {isa})", row)
                keep(net, row, "isa", isa)
    write(result, path)
    summary.write(result, path)
    subprocess.run([python, "-m", "benchmarks.peers.plot", path], cwd=installed.FOLDER, check=True)


if __name__ == "__main__":
    main()
