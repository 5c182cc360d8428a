"""`python -m benchmarks.data`: what a sample costs, from a thousand to ten million of them mapped from a file.

In the page cache: the same number of steps over parts of one file, in turns. From the disk: the cache is emptied of
the file (posix_fadvise), then an epoch reads it, beside a program that only reads. That stands for a file larger than
memory, which is in no cache when an epoch reaches it; memory itself is not limited. Needs Linux.
"""

import argparse
import gc
import os
import tempfile
import threading
import time
from pathlib import Path

from . import environment

FEATURES, CLASSES, CHUNK = 64, 10, 100_000
BATCH = 32
LIGHT_BATCH = 1024  # of the net without a hidden layer that is fast enough to wait for the disk
WINDOW = 1_000_000
TITLE = "Nanoseconds a sample of 64 float32 (64-64-10, batches of 32), mapped from a file in the page cache"


def write_samples(folder, count):
    """Files x.npy (count, 64) float32 and y.npy (count,) int32, written part by part."""
    import numpy as np

    rng = np.random.default_rng(0)
    teacher = rng.standard_normal((FEATURES, CLASSES), dtype=np.float32)
    paths = folder / "x.npy", folder / "y.npy"
    x = np.lib.format.open_memmap(paths[0], "w+", np.float32, (count, FEATURES))
    y = np.lib.format.open_memmap(paths[1], "w+", np.int32, (count,))
    for at in range(0, count, CHUNK):
        part = rng.standard_normal((min(CHUNK, count - at), FEATURES), dtype=np.float32)
        x[at : at + CHUNK], y[at : at + CHUNK] = part, (part @ teacher).argmax(1)
    x.flush()
    y.flush()
    return paths


def build(*hidden):
    import fastnn as fnn

    dense = [fnn.layers.Dense(units, "relu") for units in hidden]
    model = fnn.Sequential([fnn.Input((FEATURES,)), *dense, fnn.layers.Dense(CLASSES, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def in_cache(x, y, most, rounds):
    """{samples: {shuffle: figures}}: steps of one number from parts of the files, as many as `most` samples make."""
    import numpy as np

    from fastnn.bench.rounds import clock, interleave, summary

    np.add.reduce(x[:: 4096 // x.strides[0]], axis=None)  # each page once: it is mapped now
    np.add.reduce(y, axis=None)
    model, clocks = build(64), {}
    counts = [10**power for power in range(3, len(str(len(x))))]

    def fit(count, shuffle):
        samples = min(count, most)
        model.fit(
            x[:count], y[:count], batch_size=BATCH, epochs=most // samples, shuffle=shuffle, verbose=0,
            steps_per_epoch=-(-samples // BATCH),
        )  # fmt: skip

    kinds = {"shuffled": True, f"windows of {WINDOW:,}": WINDOW, "in order": False}
    for kind, shuffle in kinds.items():
        for count in counts:
            clocks[kind, count] = clock(lambda count=count, shuffle=shuffle: fit(count, shuffle))
    times = interleave(clocks, rounds, 0.0)
    rows = {f"{count:,}": {} for count in counts}
    for kind in kinds:
        own = {count: times[kind, count] for count in counts}
        for count, figures in summary(own, most * 1e-9, first=counts[0]).items():
            rows[f"{count:,}"][kind] = figures
    return rows


def forget(path):
    """Takes a file out of the page cache; nothing may map it."""
    gc.collect()
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def own_memory():
    """Bytes of this process but for the files it maps."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status does not say RssAnon")


class Peak:
    """The most memory of its own that the process has in a block."""

    def __enter__(self):
        self.begun = self.most = own_memory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._stop.wait(0.05):
            self.most = max(self.most, own_memory())

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()


def from_disk(paths, rounds):
    """{side: figures} of MB/s: the disk alone, and epochs of a light net from an empty cache and from a full one."""
    import numpy as np

    from fastnn.bench.rounds import spread

    bytes_read = sum(path.stat().st_size for path in paths)
    rates, peaks = {}, []

    def note(side, seconds):
        rates.setdefault(side, []).append(bytes_read / seconds / 1e6)

    def read():
        buffer = bytearray(8 << 20)
        for path in paths:
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    def epoch(shuffle):
        x, y = (np.load(path, mmap_mode="r") for path in paths)
        with Peak() as peak:
            build().fit(x, y, batch_size=LIGHT_BATCH, shuffle=shuffle, verbose=0)
        peaks.append(peak.most - peak.begun)

    for _ in range(rounds):
        for side, run in {
            "disk": read,
            "windows": lambda: epoch(WINDOW),
            "in order": lambda: epoch(False),
        }.items():
            for path in paths:
                forget(path)
            start = time.perf_counter()
            run()
            note(side, time.perf_counter() - start)
            if side != "disk":
                start = time.perf_counter()
                run()
                note(f"{side}, cached", time.perf_counter() - start)
    row = {side: spread(values) | {"rounds": rounds} for side, values in rates.items()}
    for side in row:
        row[side]["share"] = spread([a / b for a, b in zip(rates[side], rates["disk"])])
    return row, max(peaks)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--quick", action="store_true", help="a million samples and fewer rounds")
    parser.add_argument("--parts", nargs="+", choices=("cache", "disk"), default=("cache", "disk"))
    parser.add_argument("--folder", type=Path, help="where the files are written, 2.6 GB (default: a temporary one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: benchmarks/results/<machine>-data.json")
    options = parser.parse_args()
    threads = environment.prepare()
    from fastnn.bench import environment as machine
    from fastnn.bench import fastnn_net
    from fastnn.bench.report import table

    from .report import path_of, write

    count, rounds = (10**6, 3) if options.quick else (10**7, 5)
    result = machine.about(threads, {"fastnn": fastnn_net})
    result["samples"], result["window"] = count, WINDOW
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        import numpy as np

        paths = write_samples(Path(folder), count)
        if "cache" in options.parts:
            x, y = (np.load(path, mmap_mode="r") for path in paths)
            result["cache"] = rows = in_cache(x, y, count // 20, rounds)
            del x, y
            for kind in next(iter(rows.values())):
                table(f"{TITLE}: {kind}", {name: {
                    "ns": row[kind]["median"], "/ 1,000": row[kind].get("ratio", {"median": 1})["median"]
                } for name, row in rows.items()}, ["ns", "/ 1,000"])  # fmt: skip
        if "disk" in options.parts:
            result["disk"], result["own_memory"] = from_disk(paths, 1 if options.quick else 3)
            table("An epoch of 64-10, batches of 1,024, in MB/s (cache emptied before, unless it says cached)", {
                side: {"MB/s": cell["median"], "share of the disk": cell["share"]["median"]}
                for side, cell in result["disk"].items()
            }, ["MB/s", "share of the disk"])  # fmt: skip
            print(f"\nmemory of its own that an epoch added: {result['own_memory'] / 1e6:.1f} MB")
    write(result, path_of("-data-quick" if options.quick else "-data", options.json))


if __name__ == "__main__":
    main()
