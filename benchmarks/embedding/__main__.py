"""`python -m benchmarks.embedding`: libfastnn beside ONNX Runtime in programs of C, on the same nets: tables and JSON.

Each library has a process of its own, which is told turn by turn what to measure: predictions of one row on one thread,
one after the other and each by itself; the same on two threads, each with a session; the memory that the library, the
model and a session take. Both predict the same before. Needs a C compiler and, for the other side, `pip install onnx
onnxruntime` and ONNX Runtime's header: `libonnxruntime-dev` of Debian 13 has it, or the folder `include` of its release;
`--headers` or the variable ORT_HEADERS name the folder. It may be older than the library. RTNeural is not among them: no
package index carries it.
"""

import argparse
import csv
import importlib.util
import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from .. import environment

HERE = Path(__file__).parent
NETS = ("2-8-8-1", "64-64-10", "784-512-512-10")
THREADS = 2
# A turn is shorter than what a scheduler gives a process at a time, so that most turns are not interrupted. No side keeps
# threads spinning after a call.
TURN, SETTLE = 0.002, 0.02
HEADERS = Path("/usr/include/onnxruntime")
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
COMPILER = shlex.split(os.environ.get("CC", "cc"))
SHOWN = {"fastnn": "libfastnn", "onnxruntime": "ONNX Runtime"}
COLUMNS = ("latency, µs", "times slower", "p50, µs", "p99.9, µs", "worst, µs", "2 threads, M/s", "memory, MB", "library, MB")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedding", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--headers", type=Path, default=os.environ.get("ORT_HEADERS", HEADERS), metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="default: benchmarks/results/<machine>-embedding.json; the table stands beside it")
    options = parser.parse_args()
    environment.prepare(1)
    # NumPy reads its settings when it is imported, so these wait until they are made.
    from fastnn.bench import environment as machine
    from fastnn.bench import fastnn_net
    from fastnn.bench.nets import choose
    from fastnn.bench.report import show

    from ..report import path_of, write

    result = machine.about(THREADS, {"fastnn": fastnn_net})
    with tempfile.TemporaryDirectory() as folder:
        libraries = {"fastnn": own_library(Path(folder))}
        library = other_library()
        if library is None:
            print("ONNX Runtime is not installed: libfastnn alone is measured")
        elif not (options.headers / "onnxruntime_c_api.h").exists():
            print(f"{options.headers} has no onnxruntime_c_api.h: libfastnn alone is measured; pass --headers")
        else:
            libraries["onnxruntime"] = library
            result["versions"]["onnxruntime"] = library.name.split(".so.", 1)[1]
        makers = {name: builder(name, path, options.headers, Path(folder)) for name, path in libraries.items()}
        sizes = {name: stripped(path, Path(folder)) / 1e6 for name, path in libraries.items()}
        rows = {net.name: measured(net, makers, options.rounds, Path(folder)) for net in choose(NETS, parser)}
    result["library MB"] = sizes
    result["embedding"] = {"latency": {}, "two threads": {}}
    for name, row in rows.items():
        result["embedding"]["latency"][name] = row.pop("latency")
        result["embedding"]["two threads"][name] = row.pop("threads")
    result["each"] = rows
    show("One prediction on one thread, microseconds", result["embedding"]["latency"])
    show(f"One prediction on {THREADS} threads, microseconds of them all", result["embedding"]["two threads"])
    path = path_of("-embedding", options.json)
    write(result, path)
    rows = table(result, sizes)
    with path.with_suffix(".csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    for i, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if i == 0:
            print("| --- | --- |" + " ---: |" * len(COLUMNS))


# ---- programs ----


def own_library(folder):
    """The shared library as make builds it."""
    make = ["make", "-s", "-C", HERE.parents[1] / "csrc", f"-j{os.cpu_count()}", f"BUILD={folder}", folder / "libfastnn.so"]
    subprocess.run(make, check=True)
    return (folder / "libfastnn.so").resolve()


def other_library():
    """The shared library that ONNX Runtime's package carries, or None."""
    found = importlib.util.find_spec("onnxruntime")
    folder = Path(found.origin).parent / "capi" if found else HERE
    return next(iter(sorted(folder.glob("libonnxruntime.so.*"))), None)


def stripped(library, folder):
    """Bytes of a library without its symbols."""
    copy = folder / "stripped"
    shutil.copy(library, copy)
    subprocess.run(["strip", "--strip-unneeded", copy], check=True)
    return copy.stat().st_size


def builder(name, library, headers, folder):
    """A function (model, net) that starts the side's program."""
    below = folder / name
    below.mkdir()
    # Programs look for the name that a library says it has.
    said = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    soname = said.split("soname: [", 1)[1].split("]", 1)[0]
    (below / soname).symlink_to(library)
    program = below / "program"
    sources = [HERE / "harness.c", HERE / f"{name}_side.c"]
    include = HERE.parents[1] / "csrc" if name == "fastnn" else headers
    command = [*COMPILER, *FLAGS, f"-I{include}", "-o", program, *sources, below / soname, f"-Wl,-rpath,{below}", "-pthread"]
    subprocess.run(command, check=True)
    return lambda model, net: Side(program, model, net)


class Side:
    """A program that measures one library, between `with` and its end."""

    def __init__(self, program, model, net):
        self.process = subprocess.Popen(
            [program, model, str(net.widths[0]), str(net.widths[-1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def ask(self, *words):
        """Numbers of the answer."""
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the program ended at {words}")
        return [float(number) for number in answer.split()]


# ---- figures ----


def measured(net, makers, rounds, folder):
    """Figures of all sides on one net."""
    from contextlib import ExitStack

    from fastnn.bench import fastnn_net, inference
    from fastnn.bench.rounds import interleave, summary

    model = fastnn_net.build(net, net.weights())
    paths = {"fastnn": folder / f"{net.name}.fnn", "onnxruntime": folder / f"{net.name}.onnx"}
    model.freeze().save(paths["fastnn"])
    if "onnxruntime" in makers:
        model.export(paths["onnxruntime"])
    with ExitStack() as stack:
        sides = {name: stack.enter_context(make(paths[name], net)) for name, make in makers.items()}
        memory = {name: side.ask("memory") for name, side in sides.items()}
        inference.check(net, {name: [side.ask("output")] for name, side in sides.items()})
        calls = {name: lambda n, side=side: side.ask("calls", n)[0] for name, side in sides.items()}
        latency = interleave(calls, rounds, TURN, SETTLE)
        threads = {name: partial(together, side) for name, side in sides.items()}
        both = interleave(threads, rounds, TURN, SETTLE)
        each = {name: [] for name in sides}
        for _ in range(max(3, rounds // 10)):
            for name, side in sides.items():
                each[name].append(side.ask("each", max(2000, round(0.1 / min(latency[name])))))
    figures = {}
    for name in sides:
        half, rare, worst = zip(*each[name])
        before, own_before, after, own = memory[name]
        figures[name] = {
            "p50": statistics.median(half) * 1e6, "p99.9": statistics.median(rare) * 1e6, "worst": max(worst) * 1e6,
            "memory MB": (after - before) * 1024 / 1e6, "own memory MB": (own - own_before) * 1024 / 1e6,
        }  # fmt: skip
    return {"latency": summary(latency, 1e-6), "threads": summary(both, 1e-6), **figures}


def together(side, calls):
    """Seconds that `calls` predictions take when threads share them."""
    return side.ask("threads", THREADS, max(1, calls // THREADS))[0]


def table(result, sizes):
    """Rows of text of all figures, with a row of titles."""
    rows = [["net", "library", *COLUMNS]]
    for net, row in result["each"].items():
        for name, cell in row.items():
            latency = result["embedding"]["latency"][net][name]
            both = result["embedding"]["two threads"][net][name]
            figures = [latency["median"], cell["p50"], cell["p99.9"], cell["worst"], 1 / both["median"], cell["memory MB"],
                       sizes[name]]  # fmt: skip
            times = f"{latency['ratio']['median']:.3g}" if "ratio" in latency else ""
            rows.append([net, SHOWN[name], f"{figures[0]:.3g}", times, *(f"{figure:.3g}" for figure in figures[1:])])
    return rows


if __name__ == "__main__":
    main()
