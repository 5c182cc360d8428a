"""
What descent needs, and what happens without it
===============================================

Walking against the gradient ends in the best point if the loss has a slope everywhere, has only one valley, if the steps
have the right length, and if this length suits every dimension. Each of the four is broken below on a net small enough
to draw.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import callbacks, layers, ops

rng = np.random.default_rng(0)


def descend(model, x, y, start, rate, loss="mse", epochs=30):
    """The weights after each step of plain gradient descent on all samples, the start first."""
    model.compile(fnn.optimizers.SGD(rate), loss)
    model.set_weights([np.reshape(start, w.shape) for w in model.weights])
    path = [np.ravel(model.get_weights()[0])]
    record = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: path.append(np.ravel(model.get_weights()[0])))
    model.fit(x, y, batch_size="full", epochs=epochs, callbacks=[record], verbose=0)
    return np.array(path)


def slope(activation=None, features=1):
    """A net without bias: one weight a feature."""
    dense = layers.Dense(1, use_bias=False, activation=activation)
    return fnn.Sequential([fnn.Input((features,)), dense], dtype="float64")


def curve(model, x, y, weights, loss="mse"):
    """The loss over the only weight."""
    model.compile("sgd", loss)
    heights = []
    for w in weights:
        model.set_weights([[[w]]])
        heights.append(model.evaluate(x, y))
    return np.array(heights)


x = rng.normal(size=(60, 1))
weights = np.linspace(-1, 4, 201)

# %%
# Differentiability
# -----------------
#
# On noiseless data the absolute error has a kink in its minimum. Its slope does not fade on the way there, so steps of
# one length jump over it for ever; those of the squared error become shorter by themselves.

fig, axes = plt.subplots(1, 2, figsize=(6.4, 3), sharex=True)
for ax, loss, rate in zip(axes, ("mse", "mae"), (0.3, 0.8)):
    model = slope()
    path = descend(model, x, 1.5 * x, start=-0.4, rate=rate, loss=loss, epochs=14)
    ax.plot(weights, curve(model, x, 1.5 * x, weights, loss), color="#b8bec7")
    ax.plot(path, curve(model, x, 1.5 * x, path.ravel(), loss), "o-", color="#c8553d", markersize=4, linewidth=1)
    ax.set(title=loss, xlabel="weight")
axes[0].set_ylabel("loss")
plt.show()

# %%
# A rate that shrinks, such as a schedule of `fastnn.schedules`, heals the kink. Nothing of the kind heals a loss that is
# flat, as that of the step function.
#
# Convexity
# ---------
#
# A neuron with a sine for an activation and the target :math:`\sin 2.5x`: the loss has many valleys, and where one ends
# depends on where one began.

model = slope(ops.sin)
target = np.sin(2.5 * x)
wide = np.linspace(-6, 8, 351)
fig, ax = plt.subplots()
ax.plot(wide, curve(model, x, target, wide), color="#b8bec7")
for start in (-3, -1, 1, 4, 6.5):
    path = descend(model, x, target, start, rate=0.3, epochs=60)
    heights = curve(model, x, target, path.ravel())
    [line] = ax.plot(path, heights, linewidth=1)
    ax.plot(path[0], heights[0], "o", fillstyle="none", color=line.get_color())
    ax.plot(path[-1], heights[-1], "o", color=line.get_color())
ax.set(xlabel="weight", ylabel="loss", title="five starts (rings) and where they end (dots)")
plt.show()

# %%
# The learning rate
# -----------------
#
# Too small and it crawls, too large and each step lands higher on the other side. On a parabola with curvature c the
# border is 2 / c.

model = slope()
curvature = 2 * np.mean(x**2)
fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.8), sharey=True)
for ax, share in zip(axes, (0.03, 0.6, 2.1)):
    path = descend(model, x, 1.5 * x, start=0.3, rate=share / curvature, epochs=8)
    ax.plot(weights, curve(model, x, 1.5 * x, weights), color="#b8bec7")
    ax.plot(path, curve(model, x, 1.5 * x, path.ravel()), "o-", color="#c8553d", markersize=4, linewidth=1)
    ax.set(title=f"{share} / c", xlabel="weight", ylim=(-0.2, 5))
axes[0].set_ylabel("loss")
plt.show()

# %%
# Dimension
# ---------
#
# With two features one rate has to serve two directions. If the numbers of one feature are five times as
# large, its curvature is 25 times as large: the rate that is right for it is 25 times too small for the other. Scaling the
# features makes the valley round again; an optimizer with a rate for each weight, such as Adam, copes with it.

grid = np.linspace(-1, 3, 80)
w1, w2 = np.meshgrid(grid, grid)
fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.3), sharey=True)
for ax, scale, rate in zip(axes, (1, 5), (0.4, 0.036)):
    two = rng.normal(size=(200, 2)) * [1, scale]
    y = two.sum(axis=1, keepdims=True)
    path = descend(slope(features=2), two, y, start=[-0.8, 2.0], rate=rate, epochs=25)
    heights = np.mean((np.tensordot(two, [w1, w2], 1) - y[:, :, None]) ** 2, axis=0)
    ax.contour(w1, w2, heights, levels=np.geomspace(0.02, 60, 12), linewidths=1)
    ax.plot(*path.T, "o-", color="#c8553d", markersize=3, linewidth=1)
    ax.set(title=f"second feature × {scale}", xlabel="first weight", aspect="equal")
axes[0].set_ylabel("second weight")
plt.show()

# %%
# Try next: the second net with a `Normalization <fastnn.layers.Normalization>` layer in front, adapted to ``two``; or
# with `Adam <fastnn.optimizers.Adam>` in place of `SGD <fastnn.optimizers.SGD>`.
