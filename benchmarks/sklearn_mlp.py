"""`python -m benchmarks.sklearn_mlp`: fastnn.sklearn.MLPClassifier beside scikit-learn's, with the same arguments.

Digits, breast cancer and a table of 50,000 rows, standardised. scikit-learn's fit with early stopping gives the
validation score to reach; each side is timed from the start of `fit` to the epoch in which it has it. In float64 both
sides walk through the same weights, in float32 nearly so. Then one call of `predict` with one row. A net is timed in as
many rounds as `--seconds` allow, at least three, so that all of it takes some minutes. Needs `pip install scikit-learn`.

Where other processes use the cores, `--threads 1` gives ratios that repeat: a BLAS whose threads wait for each other on
cores that are taken becomes tens of times slower, which says nothing about it.
"""

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

from . import environment

NETS = {"digits": [(100,), (256, 256), (512, 512)], "breast cancer": [(100,), (256,)],
        "50,000 x 40": [(100,), (256, 256), (512, 512)]}  # fmt: skip
SAMPLES, FEATURES, CLASSES, EPOCHS = 50_000, 40, 5, 200
EPOCHS_OF_TABLE = 6


def data(name):
    """X (n, features) float64 and y (n,)."""
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
    elif name == "breast cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
    else:
        x, y = datasets.make_classification(
            SAMPLES, FEATURES, n_informative=20, n_redundant=10, n_classes=CLASSES, n_clusters_per_class=3, random_state=0
        )
    return StandardScaler().fit_transform(x), y


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sklearn_mlp", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="of the rounds of fits of each net")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--data", choices=NETS, nargs="*", default=list(NETS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = environment.prepare(options.threads)
    import sklearn
    from sklearn.neural_network import MLPClassifier

    import fastnn.sklearn
    from fastnn.bench import environment as machine
    from fastnn.bench import fastnn_net
    from fastnn.bench.report import show
    from fastnn.bench.rounds import clock, interleave, summary

    from .report import path_of, write

    about = machine.about(threads, {"fastnn": fastnn_net})
    about["versions"]["scikit-learn"] = sklearn.__version__
    warnings.simplefilter("ignore")  # of fits that end at their last epoch
    result, reached_by = {}, {}
    for name in options.data:
        for dtype in ("float64", "float32"):
            titles = [f"MLPClassifier, {dtype}: milliseconds to scikit-learn's best validation score",
                      f"MLPClassifier, {dtype}: predict of one row, microseconds"]  # fmt: skip
            fits, predictions = (result.setdefault(title, {}) for title in titles)
            x, y = data(name)
            x = x.astype(dtype)
            for sizes in NETS[name]:
                arguments = {
                    "hidden_layer_sizes": sizes, "random_state": 0, "early_stopping": True,
                    "max_iter": EPOCHS_OF_TABLE if len(x) == SAMPLES else EPOCHS,
                }  # fmt: skip
                makers = {
                    "fastnn": lambda: fastnn.sklearn.MLPClassifier(**arguments),
                    "sklearn": lambda: MLPClassifier(**arguments),
                }
                fitted = {side: make().fit(x, y) for side, make in makers.items()}
                target = fitted["sklearn"].best_validation_score_
                epochs = {side: reached(model.validation_scores_, target) for side, model in fitted.items()}
                assert dtype == "float32" or epochs["fastnn"] == epochs["sklearn"], (name, sizes, epochs)
                clocks = {side: to_score(make, epochs[side], x, y) for side, make in makers.items()}
                label = f"{name}, {'-'.join(map(str, sizes))}"
                fits[label] = summary(turns(clocks, options.rounds, options.seconds), unit=1e-3)
                reached_by[f"{label}, {dtype}"] = {"score": target, "epochs": epochs}
                row = x[:1].copy()
                calls = {side: clock(partial(model.predict, row)) for side, model in fitted.items()}
                predictions[label] = summary(interleave(calls, options.rounds), unit=1e-6)
    for title, rows in result.items():
        show(title, rows)
    write({**about, **result, "validation": reached_by}, path_of("-sklearn-mlp", options.json))


def reached(scores, target):
    """The number of epochs after which a score is first as good; or its best, where that is less by under 1 %."""
    best = min(target, max(scores))
    assert best > target - 0.01, (best, target)
    return 1 + next(i for i, score in enumerate(scores) if score >= best)


def turns(clocks, rounds, seconds):
    """`interleave` of sides that have run before, with no more rounds than there is time for, but for three."""
    from fastnn.bench.rounds import SETTLE

    times, until = {name: [] for name in clocks}, time.perf_counter() + seconds
    for done in range(rounds):
        if done >= 3 and time.perf_counter() > until:
            break
        for name, clock in clocks.items():
            time.sleep(SETTLE)
            times[name].append(clock(1))
    return times


def to_score(make, epochs, x, y):
    """A clock of a fit that ends with the epoch that is known to reach the score."""

    def seconds(repeats):
        models = [make().set_params(max_iter=epochs, n_iter_no_change=epochs) for _ in range(repeats)]
        start = time.perf_counter()
        for model in models:
            model.fit(x, y)
        return time.perf_counter() - start

    return seconds


if __name__ == "__main__":
    main()
