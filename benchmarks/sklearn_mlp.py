"""`python -m benchmarks.sklearn_mlp`: fastnn.sklearn.MLPClassifier beside scikit-learn's, with the same arguments.

Digits, breast cancer and a table of 50,000 rows, standardised. scikit-learn's fit with early stopping gives the
validation score to reach; each side is timed from the start of `fit` to the epoch in which it has it. In float64 both
sides walk through the same weights, in float32 fastnn's own. Then one call of `predict` with one row. Needs
`pip install scikit-learn`.
"""

import argparse
import time
import warnings
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
    parser.add_argument("--data", choices=NETS, nargs="*", default=list(NETS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = environment.prepare()
    import numpy as np
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
    fits, predictions, scores = {}, {}, {}
    for name in options.data:
        x, y = data(name)
        for sizes in NETS[name]:
            arguments = {
                "hidden_layer_sizes": sizes, "random_state": 0, "early_stopping": True,
                "max_iter": EPOCHS_OF_TABLE if len(x) == SAMPLES else EPOCHS,
            }  # fmt: skip
            makers = {
                "fastnn": lambda: fastnn.sklearn.MLPClassifier(**arguments),
                "sklearn": lambda: MLPClassifier(**arguments),
                "fastnn float32": lambda: fastnn.sklearn.MLPClassifier(dtype="float32", **arguments),
            }
            fitted = {side: make().fit(x, y) for side, make in makers.items()}
            target = fitted["sklearn"].best_validation_score_
            assert np.isclose(fitted["fastnn"].best_validation_score_, target), (name, sizes, target)
            epochs = {side: reached(model.validation_scores_, target) for side, model in fitted.items()}
            assert epochs["fastnn"] == epochs["sklearn"]
            clocks = {side: to_score(make, epochs[side], x, y) for side, make in makers.items()}
            label = f"{name}, {'-'.join(map(str, sizes))}"
            fits[label] = summary(interleave(clocks, options.rounds, least=0.0), unit=1e-3)
            scores[label] = {"score": target, "epochs": epochs}
            row, single = x[:1].copy(), x[:1].astype(np.float32)
            calls = {
                side: clock(lambda m=model, r=single if "32" in side else row: m.predict(r)) for side, model in fitted.items()
            }
            predictions[label] = summary(interleave(calls, options.rounds), unit=1e-6)
    title, other = "MLPClassifier, milliseconds to scikit-learn's best validation score", "predict of one row, microseconds"
    show(title, fits)
    show(other, predictions)
    write({**about, title: fits, "validation": scores, other: predictions}, path_of("-sklearn-mlp", options.json))


def reached(scores, target):
    """The number of epochs after which a score is first as good; or its best, where that is less by under 1 %."""
    best = min(target, max(scores))
    assert best > target - 0.01, (best, target)
    return 1 + next(i for i, score in enumerate(scores) if score >= best)


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
