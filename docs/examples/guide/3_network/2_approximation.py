"""
A net approximates any function
===============================

One hidden layer with enough neurons comes as close as one likes to any continuous function on an interval. How many
are enough, and is it better to add neurons or layers?
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import initializers, layers

x = np.linspace(-1, 1, 256)[:, None]
target = np.sin(3 * np.pi * x) * np.exp(-x) / 2 + np.abs(x)


def fitted(width, depth, seed=0):
    """A tanh net after LBFGS, which needs few epochs on data this small."""
    fnn.set_seed(seed)
    spread = {  # steep tanhs whose bends lie all over the interval
        "kernel_initializer": initializers.RandomNormal(stddev=3),
        "bias_initializer": initializers.RandomUniform(-3, 3),
    }
    hidden = [layers.Dense(width, activation="tanh", **(spread if k == 0 else {})) for k in range(depth)]
    model = fnn.Sequential([fnn.Input((1,)), *hidden, layers.Dense(1)], dtype="float64")
    model.compile(fnn.optimizers.LBFGS(), "mse")
    model.fit(x, target, epochs=300, verbose=0)
    return model


# %%
# Width
# -----
#
# Each neuron adds one bend. Two neurons cannot follow the curve, thirty-two can, except at the corner,
# which every smooth function rounds.

fig, axes = plt.subplots(2, 2, sharex=True, sharey=True, figsize=(6.4, 4.4))
for ax, width in zip(axes.flat, (2, 4, 8, 32)):
    ax.plot(x, target, color="#b8bec7", linewidth=4)
    ax.plot(x, fitted(width, 1).predict(x), color="#c8553d", linewidth=1.5)
    ax.set_title(f"{width} neurons")
plt.show()

# %%
# Width and depth
# ---------------
#
# The error over the number of weights, for one, two and three hidden layers. Each point is the best of two starts.

fig, ax = plt.subplots()
for depth, widths in ((1, (2, 4, 8, 16, 32, 64)), (2, (2, 4, 8, 16)), (3, (2, 4, 8, 12))):
    counts, errors = [], []
    for width in widths:
        models = [fitted(width, depth, seed) for seed in range(2)]
        counts.append(models[0].count_params())
        errors.append(min(np.sqrt(np.mean((m.predict(x) - target) ** 2)) for m in models))
    ax.loglog(counts, errors, "o-", label=f"{depth} hidden")
ax.set(xlabel="weights", ylabel="root mean squared error")
ax.legend()
plt.show()

# %%
# The theorem promises that good weights exist, not that descent finds them: a curve that turns up again is training
# that ended too early, not a net that cannot do it. And it speaks of the interval it was given: outside of [-1, 1] the
# net says whatever its neurons happen to say.
#
# Try next: a target with a jump, such as ``np.sign(x)``. Where does the error sit then, and does relu do better?
