"""
Tables: a forecast with its uncertainty
=======================================

Ten measurements of 442 people with diabetes, and how far the disease went on within a year. The table is small and noisy,
so a number alone says little: the net also says how sure it is.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV

import fastnn as fnn
from fastnn import callbacks, layers, regularizers

table = load_diabetes(scaled=False)
order = np.random.default_rng(0).permutation(len(table.data))
x, y = table.data[order], table.target[order]
stop, test = slice(0, 80), slice(80, 180)
train = slice(180, None)

# %%
# Two outputs a person: a mean :math:`m` and the logarithm :math:`s` of a variance. The Gaussian likelihood is the loss of
# both: it asks for good means, and for a variance as large as the errors are. The first layer scales the columns, as
# measured on the training part; targets are in units of hundred.

fnn.set_seed(0)
scaling = layers.Normalization()
scaling.adapt(x[train])
model = fnn.Sequential([
    fnn.Input((10,)),
    scaling,
    layers.Dense(32, activation="silu", kernel_regularizer=regularizers.L2(1e-2)),
    layers.Dropout(0.2),
    layers.Dense(2),
])
model.compile(fnn.optimizers.Adam(3e-3), fnn.losses.GaussianNegativeLogLikelihood())
stopping = callbacks.EarlyStopping("val_loss", patience=30, restore_best_weights=True)
target = y[:, None] / 100
model.fit(
    x[train], target[train], epochs=300, validation_data=(x[stop], target[stop]), callbacks=[stopping], verbose=0
)
mean, log_variance = 100 * model.predict(x[test])[:, 0], model.predict(x[test])[:, 1]
spread = 100 * np.exp(log_variance / 2)

# %%
# Beside a linear model. On a table like this the net is no better at the number; what it adds is the bar.

ridge = RidgeCV(np.logspace(-3, 3, 13)).fit((x[train] - x[train].mean(0)) / x[train].std(0), y[train])
linear = ridge.predict((x[test] - x[train].mean(0)) / x[train].std(0))
for name, guess in (("net", mean), ("linear model", linear), ("mean of all", np.full(100, y[train].mean()))):
    print(f"{name:13} mean absolute error {np.abs(guess - y[test]).mean():.1f}")
inside = np.mean(np.abs(mean - y[test]) < spread)
print(f"within one standard deviation: {inside:.0%} of the people (68% would be right)")

# %%
# Where the net expects to be wrong it is: sorted by the spread it states, the errors grow with it.

by_mean = np.argsort(mean)
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.3))
net = dict(fmt=".", color="#2f6690", elinewidth=0.7, markersize=4, label="net")
left.errorbar(np.arange(100), mean[by_mean], spread[by_mean], **net)
left.plot(np.arange(100), y[test][by_mean], ".", color="#c8553d", markersize=4, label="truth")
left.set(xlabel="people, by the net's mean", ylabel="progression")
left.legend()
groups = np.array_split(np.argsort(spread), 4)
right.bar(range(4), [np.abs(mean - y[test])[g].mean() for g in groups], color="#b8bec7")
stated = [np.sqrt(2 / np.pi) * spread[g].mean() for g in groups]
right.plot(range(4), stated, "o-", color="#2f6690", label="as the net states it")
right.set(xlabel="quarters, by stated spread", ylabel="mean absolute error")
right.set(xticks=range(4), xticklabels=["surest", "", "", "least"])
right.legend(fontsize=9)
plt.show()

# %%
# Try next: ``fnn.losses.Quantile`` in place of the likelihood, for intervals that need not be symmetric.
