"""`python -m benchmarks.sparse`: a net on a sparse matrix beside the same net on it dense, and scikit-learn's MLP.

20,000 samples of 10,000 features, of which 0.5 % are not 0 (float32 CSR), 64 hidden units (ReLU), one output, Adam,
batches of 200. All sides in turn in one run: an epoch of training, and the prediction of all samples. Needs
`pip install scikit-learn`.
"""

import argparse
import warnings
from pathlib import Path

from . import environment

SAMPLES, FEATURES, DENSITY, HIDDEN, BATCH = 20_000, 10_000, 0.005, 64, 200


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sparse", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = environment.prepare()
    import numpy as np
    import scipy.sparse
    import sklearn
    from sklearn.neural_network import MLPClassifier

    import fastnn as fnn
    from fastnn.bench import environment as machine
    from fastnn.bench import fastnn_net
    from fastnn.bench.report import show
    from fastnn.bench.rounds import clock, interleave, summary

    from .report import path_of, write

    about = machine.about(threads, {"fastnn": fastnn_net})
    about["versions"]["scikit-learn"] = sklearn.__version__
    warnings.simplefilter("ignore")  # an epoch is not meant to converge
    rng = np.random.default_rng(0)
    x = scipy.sparse.random_array((SAMPLES, FEATURES), density=DENSITY, format="csr", rng=rng, dtype=np.float32)
    y = (x @ rng.normal(size=FEATURES) > 0).astype(np.int32)
    dense = x.toarray()

    def net(sparse):
        fnn.set_seed(0)
        inputs = fnn.Input((FEATURES,), sparse=sparse)
        hidden = fnn.layers.Dense(HIDDEN, "relu")(inputs)
        model = fnn.Model(inputs, fnn.layers.Dense(1, "sigmoid")(hidden))
        model.compile("adam", "binary_crossentropy")
        return model

    ours, same = net(True), net(False)
    for model, data in ((ours, x), (same, dense)):
        model.fit(data, y, batch_size=BATCH, seed=0, verbose=0)
    difference = np.abs(ours.predict(x) - same.predict(dense)).max()
    assert difference < 1e-3, difference
    theirs = MLPClassifier((HIDDEN,), batch_size=BATCH, max_iter=1, warm_start=True)
    epoch = {
        "fastnn": lambda: ours.fit(x, y, batch_size=BATCH, verbose=0),
        "fastnn, dense": lambda: same.fit(dense, y, batch_size=BATCH, verbose=0),
        "sklearn": lambda: theirs.fit(x, y),
    }
    predict = {
        "fastnn": lambda: ours.predict(x),
        "fastnn, dense": lambda: same.predict(dense),
        "sklearn": lambda: theirs.predict_proba(x),
    }
    rows = {}
    for what, sides in (("one epoch", epoch), ("prediction of all", predict)):
        for run in sides.values():
            run()
        rows[what] = summary(interleave({n: clock(f) for n, f in sides.items()}, options.rounds), unit=1e-3)
    title = f"{SAMPLES} x {FEATURES} float32, {DENSITY:.1%} not 0, {HIDDEN} hidden units: milliseconds"
    show(title, rows)
    write({**about, title: rows}, path_of("-sparse", options.json))


if __name__ == "__main__":
    main()
