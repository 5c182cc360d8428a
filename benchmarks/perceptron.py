"""`python -m benchmarks.perceptron`: an epoch of the perceptron beside scikit-learn's, on the same dense float32 data.

20,000 samples of 100 normal features, classes by a plane with a tenth of them wrong, so that no epoch is without
mistakes; shuffled. An epoch's time is the difference of fits of two lengths, divided by the epochs between them,
so that what a fit costs once is not in it; that is shown beside it. Needs `pip install scikit-learn`.
"""

import argparse
import warnings
from pathlib import Path

from . import environment

SAMPLES, FEATURES, EPOCHS = 20_000, 100, (2, 22)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perceptron", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = environment.prepare()
    import numpy as np
    import sklearn
    from sklearn.linear_model import Perceptron

    import fastnn as fnn
    from fastnn.bench import environment as machine
    from fastnn.bench import fastnn_net
    from fastnn.bench.report import show
    from fastnn.bench.rounds import clock, interleave, summary

    from .report import path_of, write

    about = machine.about(threads, {"fastnn": fastnn_net})
    about["versions"]["scikit-learn"] = sklearn.__version__
    warnings.simplefilter("ignore")  # neither side converges, on purpose
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, FEATURES)).astype(np.float32)
    y = (x @ rng.normal(size=FEATURES) > 0) ^ (rng.random(SAMPLES) < 0.1)

    def fit(cls, epochs):
        return lambda: cls(max_iter=epochs, tol=None).fit(x, y)

    sides = {"fastnn": fnn.Perceptron, "sklearn": Perceptron}
    for name, cls in sides.items():
        model = fit(cls, EPOCHS[1])()
        accuracy = (model.predict(x) == y).mean()
        assert accuracy > 0.7, (name, accuracy)
    short, long = EPOCHS
    clocks = {(name, epochs): clock(fit(cls, epochs)) for name, cls in sides.items() for epochs in EPOCHS}
    seconds = interleave(clocks, options.rounds)
    epoch = {n: [(b - a) / (long - short) for a, b in zip(seconds[n, short], seconds[n, long])] for n in sides}
    rows = {
        "one epoch": summary(epoch, unit=1e-3),
        f"fit, {long} epochs": summary({n: seconds[n, long] for n in sides}, unit=1e-3),
    }
    title = f"Perceptron, {SAMPLES} x {FEATURES} float32: milliseconds"
    show(title, rows)
    write({**about, title: rows}, path_of("-perceptron", options.json))


if __name__ == "__main__":
    main()
