"""
The gradient points where it is steepest
========================================

A net with two weights is a landscape: each pair of weights has a height, the loss. From where one stands, which small
step goes down most?
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers

rng = np.random.default_rng(0)
x = rng.normal(0.7, 1, size=(100, 1))
y = 1.5 * x - 1 + rng.normal(scale=0.3, size=(100, 1))

model = fnn.Sequential([fnn.Input((1,)), layers.Dense(1, name="line")], dtype="float64")
model.compile("sgd", "mse")


def loss(weight, bias):
    model.set_weights([[[weight]], [bias]])
    return model.evaluate(x, y)


# %%
# All directions tried
# --------------------
#
# Stand at weight 0, bias 1, take a step of length 0.01 in each of 72 directions, and ask the engine for the loss there.

here = np.array([0.0, 1.0])
height = loss(*here)
gradients = model.gradients(x, y)
gradient = np.array([gradients["line/kernel"].item(), gradients["line/bias"].item()])

angles = np.linspace(0, 2 * np.pi, 73)
directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
rise = np.array([loss(*(here + 0.01 * d)) - height for d in directions]) / 0.01

fig, ax = plt.subplots()
ax.plot(np.degrees(angles), rise, ".", color="#2f6690", label="tried")
ax.plot(np.degrees(angles), directions @ gradient, color="#c8553d", linewidth=1.2, label="gradient · direction")
uphill = np.degrees(np.arctan2(gradient[1], gradient[0])) % 360
ax.axvline(uphill, color="#b8bec7", linestyle="--")
ax.axvline((uphill + 180) % 360, color="#b8bec7", linestyle=":")
ax.set(xlabel="direction of the step, degrees", ylabel="rise per length", xticks=range(0, 361, 90))
ax.legend()
plt.show()

# %%
# The rise in a direction :math:`d` of length 1 is the dot product :math:`\nabla L \cdot d = |\nabla L| \cos \alpha`,
# where :math:`\alpha` is the angle between the two. The cosine is largest at 0: along the gradient (dashed) the
# loss rises fastest, against it (dotted) it falls fastest, and across it nothing changes.

best = directions[rise.argmin()]
print("steepest descent tried:", best.round(2))
print("minus the gradient:    ", (-gradient / np.linalg.norm(gradient)).round(2))

# %%
# On the map
# ----------
#
# Lines of equal loss are crossed at right angles. Minus the gradient is the best direction *here*; it points at the
# minimum only where the lines are circles. So descent takes a short step and asks again.

weights, biases = np.linspace(-1, 4, 60), np.linspace(-3.5, 1.5, 60)
surface = np.array([[loss(w, b) for w in weights] for b in biases])
fig, ax = plt.subplots(figsize=(5.2, 4.6))
ax.contour(weights, biases, surface, levels=np.geomspace(0.1, 20, 12), cmap="viridis", linewidths=1)
ax.plot(*here, "o", color="#c8553d")
ax.quiver(*here, *-gradient, color="#c8553d", angles="xy", scale_units="xy", scale=4)
model.set_weights([[[0]], [1]])
path = [here]
record = fnn.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: path.append(np.concatenate([w.ravel() for w in model.get_weights()]))
)
model.compile(fnn.optimizers.SGD(0.15), "mse")
model.fit(x, y, batch_size="full", epochs=25, callbacks=[record], verbose=0)
ax.plot(*np.transpose(path), "o-", color="#1d3557", markersize=3, linewidth=1)
ax.set(xlabel="weight", ylabel="bias", aspect="equal", title="descent in steps of 0.15 gradients")
plt.show()

# %%
# Try next: multiply ``x`` by 3 before training. The lines of equal loss become long ellipses; how does the path change?
