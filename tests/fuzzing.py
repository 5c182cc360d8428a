"""Damaged files, and readers of them in processes of their own, where a crash, a hang or a flood of memory is seen.

A `Target` says what is read. Case i of a seed is the same file in every run: the files that it starts from as
they are, then mutated ones.
"""

import argparse
import copy
import faulthandler
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

MIB = 1 << 20
MEMORY = 64 * MIB  # beyond the size of the file
SECONDS = 1.0
HANG = 20.0
_WARM = 40  # the first files of a process are read twice and measured once


@dataclass
class Target:
    """What is fuzzed.

    Attributes
    ----------
    seeds : list of (str, bytes)
        Names and contents of the files that mutations start from.
    mutate : callable
        (generator, seeds) to the (name, content) of a damaged file.
    read : callable
        Reads a path within the limits of memory and time, or raises one of fastnn's errors.
    use : callable or None
        Gets what `read` gave; may need memory, and end in one of fastnn's errors.
    reserve : int
        Bytes of address space that libraries take and do not use.
    """

    seeds: list
    mutate: object
    read: object
    use: object = None
    reserve: int = 0


# ---- mutations ----

_WORDS = [bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f", b"\x80\x80\x80\x80\x10", b"\xff" * 4, bytes(4)]
NUMBERS = [0, 1, -1, 2, 3, 7, 8, 127, 255, 256, 65535, 10**6, 2**31 - 1, -(2**31), 2**32, 2**40, 2**62, 2**63 - 1, -(2**63)]
REALS = [0.0, -0.0, 1e-45, 1e38, -1e38, 1e308, float("nan"), float("inf"), -float("inf"), 0.5, 7.25]
TEXTS = ["", "x", "\n", "\0", "ö" * 9, "a" * 5000, "../x", "/etc/passwd", "\ud800", "nan", "-1", "1e999", "__class__"]


def pick(rng, items):
    """One of the items."""
    return items[int(rng.integers(len(items)))]


def damaged(rng, content, other=b""):
    """Bytes with some flipped, overwritten, cut out, doubled, or taken from another file."""
    made = bytearray(content)
    for _ in range(pick(rng, [1, 1, 1, 2, 3, 6])):
        if not made:
            break
        at, kind = int(rng.integers(len(made))), rng.integers(8)
        size = int(min(len(made) - at, 2 ** rng.integers(0, 9)))
        if kind == 0:
            made[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            made[at] = int(rng.integers(256))
        elif kind == 2:
            word = pick(rng, _WORDS)
            made[at : at + len(word)] = word
        elif kind == 3:
            del made[at : at + size]
        elif kind == 4:
            made[at:at] = made[at : at + size] * int(pick(rng, [1, 2, 50]))
        elif kind == 5 and other:
            start = int(rng.integers(len(other)))
            made[at : at + size] = other[start : start + size]
        elif kind == 6 and rng.integers(4) == 0:
            del made[at:]
        else:
            made[at : at + size] = rng.bytes(size)
    return bytes(made)


def places(value):
    """(container, key) of everything in nested JSON."""
    found, stack = [], [value]
    while stack:
        at = stack.pop()
        keys = list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        for key in keys:
            found.append((at, key))
            stack.append(at[key])
    return found


def changed(rng, value):
    """JSON with some values replaced, removed, exchanged or repeated."""
    value = copy.deepcopy(value)
    for _ in range(pick(rng, [1, 1, 1, 2, 4])):
        found = places(value)
        if not found:
            break
        (container, key), (there, name) = pick(rng, found), pick(rng, found)
        kind = rng.integers(7)
        if kind == 0:
            container[key] = pick(rng, [None, True, [], {}, [[]], {"a": 1}, [1, 2, 3], *TEXTS, *NUMBERS, *REALS])
        elif kind == 1:
            del container[key]
        elif kind == 2:
            container[key] = copy.deepcopy(there[name])
        elif kind == 3 and isinstance(container, list):
            container[key:key] = [copy.deepcopy(container[key]) for _ in range(int(pick(rng, [1, 2, 50])))]
        elif kind == 4 and isinstance(container, dict) and isinstance(key, str):
            container[pick(rng, [name, *TEXTS]) if isinstance(name, str) else pick(rng, TEXTS)] = container.pop(key)
        elif kind == 5:
            for _ in range(int(pick(rng, [1, 3, 200]))):
                container[key] = [container[key]]
        elif type(container[key]) in (int, float):
            container[key] = container[key] + pick(rng, [-1, 1]) if rng.integers(2) else pick(rng, NUMBERS + REALS)
        elif isinstance(container[key], str):
            text = container[key].encode("utf-8", "surrogatepass")
            container[key] = damaged(rng, text or b"x").decode("utf-8", "replace")
    return value


# ---- one process ----


def _memory(name):
    """A value of /proc/self/status in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def _measured(call, limit):
    """(result, error, seconds, bytes): of the processor, and by which the memory grew at its peak."""
    import resource  # not on Windows, where the functions above are of use

    before = _memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    result = error = None
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + limit, hard))
    begun = time.process_time()
    try:
        result = call()
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # libraries in Rust have errors that are no Exception
        error = raised
    seconds = time.process_time() - begun
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return result, error, seconds, _memory("VmHWM") - before


def _judge(error):
    """(outcome, what is wrong or None) of an error."""
    from fastnn.errors import FastNNError

    if isinstance(error, MemoryError):
        return "failure", f"needs more than the size of the file and {MEMORY // MIB} MiB\n{_trace(error)}"
    if isinstance(error, FastNNError):
        return type(error).__name__, None
    return "failure", f"no error of fastnn's\n{_trace(error)}"


def _trace(error):
    return "".join(traceback.format_exception(error)[-8:])[-3000:]


def _run(target, path, size, most):
    """(outcome, what is wrong or None, seconds, memory beyond the file's size)."""
    from fastnn.errors import FastNNError

    limit = size + MEMORY + target.reserve
    result, error, seconds, memory = _measured(lambda: target.read(path), limit)
    if seconds > most:  # once more: the machine may have been busy
        _, _, again, _ = _measured(lambda: target.read(path), limit)
        seconds = min(seconds, again)
    memory -= size
    if error is not None:
        outcome, wrong = _judge(error)
        error = error.with_traceback(None)
    elif target.use is None:
        outcome, wrong = "read", None
    else:
        _, error, _, _ = _measured(lambda: target.use(result), 1 << 30)
        outcome, wrong = "read", None
        if isinstance(error, FastNNError):
            outcome = f"read, then {type(error).__name__}"
        elif error is not None:
            outcome, wrong = "failure", f"no error of fastnn's in use\n{_trace(error)}"
    if wrong is None and seconds > most:
        outcome, wrong = "failure", f"takes {seconds:.2f} s"
    if wrong is None and memory > MEMORY:
        outcome, wrong = "failure", f"takes {memory / MIB:.1f} MiB beyond its size"
    return outcome, wrong, seconds, memory


def _work(pipe, prepare, seed, cases, folder, keep, seconds, hang):
    """Sends (index, name, size) before each case, and what became of it after."""
    warnings.simplefilter("ignore")
    os.chdir(folder)
    target = prepare(Path(folder))
    for number, index in enumerate(cases):
        if index < len(target.seeds):
            name, content = target.seeds[index]
        else:
            rng = np.random.default_rng((seed, index))
            name, content = target.mutate(rng, target.seeds)
        path = Path(folder, name)
        path.write_bytes(content)
        pipe.send((index, name, len(content)))
        faulthandler.dump_traceback_later(hang, exit=True)
        if number < _WARM:  # what is imported and kept stays outside of what is measured
            _measured(lambda: target.read(path), len(content) + MEMORY + target.reserve)
            begun = _memory("VmRSS")
        outcome, wrong, took, memory = _run(target, path, len(content), seconds)
        if wrong and keep is not None:
            _keep(path, keep, index)
        pipe.send((outcome, wrong, took, memory, _memory("VmRSS") - begun))
        faulthandler.cancel_dump_traceback_later()
    pipe.send(None)


def _keep(path, keep, index):
    os.makedirs(keep, exist_ok=True)
    shutil.copyfile(path, os.path.join(keep, f"{index}-{path.name}"))


# ---- all of them ----


@dataclass
class Report:
    """What became of the files.

    Attributes
    ----------
    outcomes : Counter
        By "read" and the names of errors.
    failures : list of (int, str)
        Cases and what is wrong.
    seconds, memory, growth : float, int, int
        The most that a file took, in seconds of the processor and bytes beyond its size, and that a process grew by.
    """

    outcomes: Counter = field(default_factory=Counter)
    failures: list = field(default_factory=list)
    seconds: float = 0.0
    memory: int = 0
    growth: int = 0

    def __str__(self):
        parts = ", ".join(f"{count} {name}" for name, count in self.outcomes.most_common())
        return (
            f"{self.outcomes.total()} files: {parts}; at most {self.seconds:.2f} s a file, {self.memory / MIB:.1f} MiB beyond "
            f"its size, {self.growth / MIB:.1f} MiB kept by a process; {len(self.failures)} failures"
        )


class _Process:
    """A process that reads every `step`-th file from `start` on, and another one after its end."""

    def __init__(self, prepare, seed, cases, keep, limits):
        self._prepare, self._seed, self._limits = prepare, seed, limits
        self._keep = None if keep is None else os.path.abspath(keep)  # of the process, which works elsewhere
        self._start(cases)

    def _start(self, cases):
        self.cases, self.now, self.folder = cases, None, tempfile.mkdtemp(prefix="fuzz-")
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_work, args=(other, self._prepare, self._seed, cases, self.folder, self._keep, *self._limits)
        )
        self.process.start()
        other.close()

    def receive(self, report):
        """Takes one message; False when all is done."""
        try:
            message = self.pipe.recv()
        except EOFError:
            return self._ended(report)
        if message is None:
            self.process.join()
            shutil.rmtree(self.folder)
            return False
        if self.now is None:
            self.now = message
            return True
        outcome, wrong, seconds, memory, growth = message
        report.outcomes[outcome] += 1
        report.seconds, report.memory = max(report.seconds, seconds), max(report.memory, memory)
        report.growth = max(report.growth, growth)
        if wrong:
            self._failed(report, wrong)
        self.now = None
        return True

    def _ended(self, report):
        self.process.join()
        code = self.process.exitcode
        if self.now is None:
            raise RuntimeError(f"a process that fuzzes ended with {code} outside of a case")
        report.outcomes["failure"] += 1
        if self._keep is not None:
            _keep(Path(self.folder, self.now[1]), self._keep, self.now[0])
        self._failed(report, f"takes more than {self._limits[1]} s" if code == 1 else f"crashes the process: exit code {code}")
        rest = self.cases[self.cases.index(self.now[0]) + 1 :]
        shutil.rmtree(self.folder)
        if not rest:
            return False
        self._start(rest)
        return True

    def _failed(self, report, wrong):
        index, name, _ = self.now
        if self._keep is not None:
            print(f"case {index}, {self._keep}/{index}-{Path(name).name}: {wrong}", flush=True)
        report.failures.append((index, wrong))


def fuzz(prepare, files, seed=0, processes=1, keep=None, progress=0, seconds=SECONDS, hang=HANG):
    """Reads mutated files in processes.

    Parameters
    ----------
    prepare : callable
        Gets a folder and gives the `Target`; of a module, so that a process finds it.
    files : int
    keep : path or None
        The folder for files that fail.
    progress : int
        Prints a line after so many files; 0: none.
    seconds : float
        Of the processor, in which a file must be read.
    hang : float
        Seconds of the clock after which a process is ended.

    Returns
    -------
    Report
    """
    report = Report()
    running = [_Process(prepare, seed, range(i, files, processes), keep, (seconds, hang)) for i in range(min(processes, files))]
    shown = progress
    while running:
        by_pipe = {p.pipe: p for p in running}
        for pipe in wait(by_pipe):
            if not by_pipe[pipe].receive(report):
                running.remove(by_pipe[pipe])
        if progress and report.outcomes.total() >= shown:
            print(report, flush=True)
            shown += progress
    return report


def main(prepares, arguments=None):
    """The command line of a fuzzer: `prepares` holds functions that give a `Target`, by name."""
    parser = argparse.ArgumentParser(description="Reads mutated files; the exit code is 1 if one fails.")
    parser.add_argument("what", nargs="*", default=list(prepares), help=f"of {', '.join(prepares)} (all)")
    parser.add_argument("--files", type=int, default=1000, help="of each kind (1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", default="fuzz-failures", help="folder for files that fail (fuzz-failures)")
    options = parser.parse_args(arguments)
    failed = False
    for what in options.what:
        report = fuzz(
            prepares[what], options.files, options.seed, options.processes, options.keep, max(options.files // 10, 1)
        )
        print(f"{what}, seed {options.seed}: {report}", flush=True)
        failed |= bool(report.failures)
    sys.exit(failed)
