"""The sides of a comparison: each in a process of its own, so that no side's threads disturb another's.

A side is a module with ``version()`` and one or both of ``Trainer(net, weights)``, with methods ``steps`` and
``epoch`` as in numpy_net.py, and ``predictor(net, weights, rows)``. Its process is ``python -m
fastnn.bench.sides MODULE THREADS``: each line that it reads is a JSON list, a method of `Work` and its arguments,
each line that it writes the answer as JSON.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from ..errors import FastNNError
from . import environment
from .rounds import clock

FOLDER = Path(__file__).parents[2]  # that of the package, and in a checkout that of benchmarks/
OWN = {"fastnn": "fastnn.bench.fastnn_net", "numpy": "fastnn.bench.numpy_net"}
SHOWN_ROWS = 4  # predictions that are sent for comparison

# Adam turns the last bit of a gradient near zero into a whole step: at a larger rate the losses of the deep
# nets drift apart even between runs of one side whose starting weights differ by a rounding error.
CHECKED_RATE = 1e-5
CHECKED_EPSILON = 1e-12  # PyTorch adds it to another denominator than the others: see that none notices


class SideError(FastNNError, RuntimeError):
    """A side could not do its part, or does not compute what the others do."""


class Work:
    """What a side's process does on request; `seconds` times what was prepared last."""

    def __init__(self, module):
        self.module = module

    def version(self):
        return self.module.version()

    def can(self):
        """The parts of a comparison that the side takes part in."""
        return [part for part, name in (("training", "Trainer"), ("inference", "predictor"))
                if hasattr(self.module, name)]

    def losses(self, net, steps):
        """Mean losses of two epochs of together `steps` steps, in the order of the samples."""
        net = replace(net, learning_rate=CHECKED_RATE, epsilon=CHECKED_EPSILON)
        x, y = net.data(net.batch * steps // 2)
        trainer = self.module.Trainer(net, net.weights())
        return [float(trainer.steps(x, y)) for _ in range(2)]

    def prepare_training(self, net, steps):
        """Next, `seconds` times shuffled epochs of `steps` steps."""
        x, y = net.data(net.batch * steps)
        trainer = self.module.Trainer(net, net.weights())
        self.seconds = clock(lambda: trainer.epoch(x, y))

    def prepare_inference(self, net, rows):
        """Next, `seconds` times predictions of `rows` samples, the first of which are returned."""
        x, _ = net.data(rows)
        predict = self.module.predictor(net, net.weights(), rows)
        self.seconds = clock(lambda: predict(x))
        return [[float(value) for value in row] for row in predict(x)[:SHOWN_ROWS]]


class Side:
    """A side's process, with the methods of `Work`; a side is also the clock of what was prepared in it."""

    def __init__(self, module, threads, python=sys.executable, **variables):
        command = [str(python), "-m", "fastnn.bench.sides", module, str(threads)]
        env = environment.variables(threads) | variables
        self.process = subprocess.Popen(command, cwd=FOLDER, env=env, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.module = module

    def ask(self, method, *arguments):
        try:
            self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it says why on standard error
        answer = self.process.stdout.readline()
        if not answer:
            raise SideError(f"the process of {self.module} ended with status {self.process.wait()}")
        return json.loads(answer)

    def version(self):
        return self.ask("version")

    def can(self):
        return self.ask("can")

    def losses(self, net, steps):
        return self.ask("losses", asdict(net), steps)

    def prepare_training(self, net, steps):
        self.ask("prepare_training", asdict(net), steps)

    def prepare_inference(self, net, rows):
        return self.ask("prepare_inference", asdict(net), rows)

    def __call__(self, repeats):
        return self.ask("seconds", repeats)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Sides(dict):
    """The sides by name; their processes end with the `with` statement."""

    def __enter__(self):
        return self

    def __exit__(self, error, *rest):
        for side in self.values():
            if error is not None:
                side.process.kill()  # it may be in the midst of a second's work
            side.close()


def main():
    module, threads = sys.argv[1:]
    environment.pin(int(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this process ends it
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    from .nets import Net

    work = Work(importlib.import_module(module))
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        arguments = [Net.of(a) if isinstance(a, dict) else a for a in arguments]
        print(json.dumps(getattr(work, method)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
