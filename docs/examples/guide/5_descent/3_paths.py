"""
Paths of descent: batches, rates, optimizers
============================================

`fastnn.plot.descent` draws the loss of a model over two of its weights, and the paths that `fit <fastnn.Model.fit>` takes
on it. The points are the weights after every update, as the engine made them.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers, optimizers, plot

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 2)) * [1, 3]  # the second feature counts for more
y = x @ [[1.0], [0.5]] + rng.normal(scale=0.8, size=(200, 1))

model = fnn.Sequential([fnn.Input((2,)), layers.Dense(1, use_bias=False)])
model.compile(optimizers.SGD(0.03), "mse")
view = {"start": (-1.5, 1.5), "limits": ((-2, 2), (-1, 2))}

# %%
# All samples, some, or one
# -------------------------
#
# * *Batch* descent (``batch_size="full"``) takes the gradient of all samples: a smooth path, one step an epoch.
# * *Stochastic* descent (``batch_size=1``) steps after every sample: two hundred steps an epoch, each a guess. It arrives
#   sooner and then dances round the minimum.
# * *Mini-batches* lie between, and are what one uses: less noise than one sample, more steps than all.

plot.descent(model, x, y, epochs=12, runs={
    "batch": {"batch_size": "full"},
    "mini-batch of 20": {"batch_size": 20},
}, **view)
plt.show()

# %%
# One epoch of stochastic descent alone, with a smaller rate, since the noise of single samples is large:

plot.descent(model, x, y, epochs=1, runs={
    "stochastic": {"batch_size": 1, "optimizer": optimizers.SGD(0.004)},
}, **view)
plt.show()

# %%
# Too small, right, too large
# ---------------------------
#
# Twenty steps each on all samples. The small rate gets nowhere. The large one jumps from side to side in the steep direction,
# and a little more of it would climb.

plot.descent(model, x, y, epochs=20, runs={
    f"rate {rate}": {"batch_size": "full", "optimizer": optimizers.SGD(rate)} for rate in (0.003, 0.05, 0.1)
}, **view)
plt.show()

# %%
# Momentum, and a rate for each weight
# ------------------------------------
#
# *Momentum* adds up past gradients: sideways they cancel, along the valley they agree. *Nesterov*'s variant looks at the
# gradient a step ahead. *RMSprop* and *Adam* divide each weight's step by the size of its past gradients, so that flat
# and steep directions are walked alike.

plot.descent(model, x, y, epochs=60, runs={
    "momentum": {"batch_size": "full", "optimizer": optimizers.SGD(0.02, momentum=0.8)},
    "Nesterov": {"batch_size": "full", "optimizer": optimizers.SGD(0.02, momentum=0.8, nesterov=True)},
    "RMSprop": {"batch_size": "full", "optimizer": optimizers.RMSprop(0.05)},
    "Adam": {"batch_size": "full", "optimizer": optimizers.Adam(0.1)},
}, **view)
plt.show()

# %%
# Try next: `Lion <fastnn.optimizers.Lion>`, whose steps have all one length, and a schedule such as
# `CosineDecay <fastnn.schedules.CosineDecay>`, which lets any of them come to rest.
