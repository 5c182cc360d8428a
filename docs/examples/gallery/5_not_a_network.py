"""
When not to use a network
=========================

A net is one model among others. On a table with few rows a linear model or a forest is often as good, and
asks for fewer decisions. Score and cost over the number of samples, for three kinds of truth:

* a weighted sum of the features, with noise;
* a smooth function with products of features;
* thresholds: what counts is on which side of a border a feature lies.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor, StackingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn as fnn
from fastnn import callbacks, layers

rng = np.random.default_rng(0)


def weighted_sum(x):
    return x @ [3, -2, 1.5, 1, -1, 0, 0, 0, 0, 0]


def smooth(x):
    return 3 * np.sin(2 * x[:, 0]) + 2 * x[:, 1] * x[:, 2] + x[:, 3] ** 2 + x[:, 4]


def thresholds(x):
    return 3 * (x[:, 0] > 0.5) + 2 * (x[:, 1] > 0) * (x[:, 2] > 0) - 2 * (x[:, 3] < -0.7) + (x[:, 4] > 1)


# %%
# Four candidates
# ---------------
#
# None of them is tuned: this is what one gets in the first minute. *Stacking* fits a linear model on the out-of-fold
# predictions of the linear model and the forest.


def linear():
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 2, 5)))


def forest():
    return RandomForestRegressor(30, random_state=0)


def stacking():
    return StackingRegressor([("linear", linear()), ("forest", forest())], cv=3)


class Net:
    """A net behind ``fit`` and ``predict``: two layers of 64, early stopping."""

    def fit(self, x, y):
        fnn.set_seed(0)
        scaling = layers.Normalization()
        scaling.adapt(x)
        self.model = fnn.Sequential([
            fnn.Input((x.shape[1],)),
            scaling,
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(1),
        ])
        self.model.compile(fnn.optimizers.Adam(3e-3), "mse")
        stopping = callbacks.EarlyStopping("val_loss", patience=20, restore_best_weights=True)
        self.model.fit(x, y, epochs=300, validation_split=0.2, callbacks=[stopping], verbose=0)
        return self

    def predict(self, x):
        return self.model.predict(x).ravel()


# %%
# Score and cost
# --------------

makers = {"linear": linear, "forest": forest, "stacking": stacking, "net": Net}
counts = (30, 100, 300, 1500)
scores, seconds = {}, {}
for truth in (weighted_sum, smooth, thresholds):
    x, noise = rng.normal(size=(5000, 10)), rng.normal(size=5000)
    y = truth(x) + noise
    for count in counts:
        for name, make in makers.items():
            began = time.perf_counter()
            model = make().fit(x[:count], y[:count])
            seconds[truth, count, name] = time.perf_counter() - began
            error = np.mean((model.predict(x[4000:]) - truth(x[4000:])) ** 2)
            scores[truth, count, name] = 1 - error / np.var(truth(x[4000:]))

fig, axes = plt.subplots(2, 2, figsize=(6.4, 5.4), sharex=True)
for ax, truth in zip(axes.flat, (weighted_sum, smooth, thresholds)):
    for name in makers:
        ax.semilogx(counts, [scores[truth, count, name] for count in counts], "o-", markersize=4, label=name)
    ax.set(title=truth.__name__.replace("_", " "), ylim=(0, 1.02))
for name in makers:
    cost = [np.mean([seconds[truth, count, name] for truth in (weighted_sum, smooth, thresholds)]) for count in counts]
    axes[1, 1].loglog(counts, cost, "o-", markersize=4)
axes[1, 1].set(title="seconds to fit", xlabel="samples")
axes[1, 0].set(xlabel="samples", ylabel="R² on the truth")
axes[0, 0].set_ylabel("R² on the truth")
axes[0, 0].legend(fontsize=9, loc="lower right")
plt.show()

# %%
# How to read it
# --------------
#
# * If the truth is a weighted sum, nothing beats the model that says so, and thirty samples are enough for it.
# * Forests cut along the axes, as thresholds do: from a few hundred samples on they are the better start there.
# * Stacking is near the better of its two parts in each picture, at several times the cost of both.
# * The net is last with few samples. It is quick to fit, but its widths, rates and stopping wait to be tuned.
# * It pays where the truth is smooth and not a sum, and samples are many; and, beyond this picture, where features are
#   pixels or words, several outputs hang together, or gradients are needed.
#
# So begin with a linear model, then a forest. They are the score a net has to beat, and often the one it does not.
#
# Try next: twenty more columns of noise. Which of the four minds most?
