"""
Underfitting and overfitting
============================

A net is judged on samples it has not seen. Too small or trained too little, it misses what is in the data; too large or
trained too long, it learns the noise of its samples too. Both show in curves.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import initializers, layers

rng = np.random.default_rng(0)


def truth(x):
    return np.sin(2 * x) + 0.4 * x


def sample(n):
    x = rng.uniform(-3, 3, size=(n, 1))
    return x, truth(x) + rng.normal(scale=0.4, size=(n, 1))


x, y = sample(40)
unseen = sample(1000)
line = np.linspace(-3, 3, 300)[:, None]


def fitted(width, epochs=2000):
    """A net of two layers and its losses, those on unseen samples every tenth epoch."""
    fnn.set_seed(0)
    spread = {"kernel_initializer": initializers.RandomNormal(stddev=1), "bias_initializer": initializers.RandomUniform(-1, 1)}
    model = fnn.Sequential([
        fnn.Input((1,)),
        layers.Dense(width, activation="tanh", **spread),
        layers.Dense(width, activation="tanh"),
        layers.Dense(1),
    ])
    model.compile(fnn.optimizers.Adam(0.01), "mse")
    history = model.fit(
        x, y, batch_size="full", epochs=epochs, validation_data=unseen, validation_freq=10, seed=0, verbose=0
    )
    return model, history.history


# %%
# Three nets
# ----------
#
# Forty noisy samples of a curve. One neuron a layer is too stiff, four are about right, sixty-four bend to the noise.

fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.8), sharey=True)
for ax, width in zip(axes, (1, 4, 64)):
    model, history = fitted(width)
    ax.plot(line, truth(line), color="#b8bec7", linewidth=4)
    ax.plot(line, model.predict(line), color="#c8553d", linewidth=1.5)
    ax.plot(x, y, "k.", markersize=5)
    ax.set(title=f"{width} a layer", ylim=(-3, 3))
    print(f"{width:2} neurons a layer: loss {history['loss'][-1]:.3f} on its samples, {history['val_loss'][-1]:.3f} on others")
plt.show()

# %%
# Over the epochs
# ---------------
#
# The loss on the samples falls and falls. On unseen ones it falls, turns, and rises: the turn is where learning became
# learning by heart. No net gets below the noise of the data on unseen samples: 0.16 here, the dashed line.

fig, axes = plt.subplots(1, 2, figsize=(6.4, 3), sharey=True)
for ax, width in zip(axes, (1, 64)):
    history = fitted(width)[1]
    ax.loglog(history["loss"], label="its samples")
    ax.loglog(range(10, 2001, 10), history["val_loss"], label="unseen")
    ax.axhline(0.16, color="#b8bec7", linestyle="--", linewidth=1.5)
    ax.set(title=f"{width} a layer", xlabel="epoch", ylim=(0.04, 4))
axes[0].set_ylabel("loss")
axes[0].legend(loc="lower left")
plt.show()

# %%
# Over the size
# -------------
#
# The two ends of the curve have names. Left both losses are high: underfitting; right they part: overfitting.

widths = (1, 2, 4, 8, 16, 32, 64)
ends = [fitted(width)[1] for width in widths]
fig, ax = plt.subplots()
ax.semilogx(widths, [h["loss"][-1] for h in ends], "o-", label="its samples")
ax.semilogx(widths, [h["val_loss"][-1] for h in ends], "o-", label="unseen")
ax.axhline(0.16, color="#b8bec7", linestyle="--", linewidth=1.5)
ax.set(xlabel="neurons a layer", ylabel="loss", ylim=(0, None), xticks=widths, xticklabels=widths)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# Try next: 400 samples in place of 40. More data is the best remedy against overfitting; the next page has others.
