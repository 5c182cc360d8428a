"""Many small nets: `fnn.fit_many` beside one `fit` after the other."""

import numpy as np

import fastnn as fnn
from fastnn.bench import fastnn_net
from fastnn.bench.nets import NETS
from fastnn.bench.rounds import clock, interleave, summary

TITLE = "64 nets by fit_many, milliseconds for all (10 epochs of 1,800 samples each, on all or on folds)"
MODELS, EPOCHS, SAMPLES = 64, 10, 1800
CHOSEN = ("2-8-8-1", "64-64-10", "784-128-10")


def check(together, apart):
    """Raises unless both sides hold the same weights."""
    for one, other in zip(together, apart):
        for a, b in zip(one.get_weights(), other.get_weights()):
            if not np.array_equal(a, b):
                raise RuntimeError("fit_many and separate fits give different weights")


def run(quick):
    """Rows of the table."""
    rows = {}
    for net in (net for net in NETS if net.name in (CHOSEN[:2] if quick else CHOSEN)):
        x, y = net.data(SAMPLES)
        order = np.random.default_rng(3).permutation(SAMPLES)
        folds = [np.delete(order, np.s_[i % 8 * 225 : (i % 8 + 1) * 225]) for i in range(MODELS)]
        for what, indices in (("", None), (", folds", folds)):
            together, apart = ([fastnn_net.build(net, net.weights()) for _ in range(MODELS)] for _ in range(2))
            arguments = dict(batch_size=net.batch, epochs=EPOCHS, seed=0, verbose=0)

            def many():
                fnn.fit_many(together, x, y, indices, **arguments)

            def in_turn():
                for i, model in enumerate(apart):
                    chosen = slice(None) if indices is None else indices[i]
                    model.fit(x[chosen], y[chosen], **arguments)

            many()
            in_turn()
            check(together, apart)
            seconds = interleave({"fastnn": clock(many), "one by one": clock(in_turn)}, 3 if quick else 7, 0.0)
            rows[net.name + what] = summary(seconds, 1e-3)
    return rows
