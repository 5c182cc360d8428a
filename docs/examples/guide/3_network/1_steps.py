"""
Steps cannot be trained by their gradient
=========================================

Stacked perceptrons can express XOR. Could they learn it? Gradient descent asks how the loss changes when a weight moves
a little. Behind a step function the answer is almost always: not at all.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import activations, layers

corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
xor = np.array([[0], [1], [1], [0]], "float32")


def net(activation, seed=1):
    fnn.set_seed(seed)
    model = fnn.Sequential([
        fnn.Input((2,)),
        layers.Dense(8, activation=activation, name="hidden"),
        layers.Dense(1, activation="sigmoid", name="out"),
    ])
    model.compile(fnn.optimizers.Adam(0.05), "binary_crossentropy")
    return model


# %%
# The loss seen by one weight
# ---------------------------
#
# Move one weight of the hidden layer and leave the others. With steps the loss is a staircase: flat, so the gradient is
# zero, and where it jumps there is none. With sigmoids it is a smooth curve.

smooth, steps = net("sigmoid"), net("step")
steps.set_weights(smooth.get_weights())
positions = np.linspace(-4, 4, 161)
fig, ax = plt.subplots()
for model, name, colour in ((smooth, "sigmoid", "#2a7f62"), (steps, "step", "#c8553d")):
    weights = model.get_weights()
    weights[1][:] = -0.5  # the biases of the hidden layer
    losses = []
    for position in positions:
        weights[0][0, 0] = position
        model.set_weights(weights)
        losses.append(model.evaluate(corners, xor))
    ax.plot(positions, losses, color=colour, label=name)
ax.set(xlabel="one weight of the hidden layer", ylabel="loss")
ax.legend()
plt.show()

# %%
# The engine agrees: all derivatives of the hidden layer are zero, so no optimizer that follows them moves it.

for name in ("step", "sigmoid"):
    gradient = net(name).gradients(corners, xor)["hidden/kernel"]
    print(f"{name:8} largest derivative in the hidden layer: {abs(gradient).max():.4f}")

# %%
# A gradient that is not quite true
# ---------------------------------
#
# The *straight-through estimator* keeps the step in the forward pass and pretends, in the backward pass, that it was the
# identity. The direction is biased but mostly useful. The usual cure is another activation: a sigmoid is a step with
# its corner rounded, and its derivative is the truth.


def straight_through(x):
    return activations.step(x, straight_through=True)


histories = {}
for name, activation in {
    "step": "step",
    "step, straight-through": straight_through,
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
}.items():
    model = net(activation)
    fit = model.fit(corners, xor, batch_size="full", epochs=400, seed=0, verbose=0)
    histories[name] = fit.history["loss"]
    right = ((model.predict(corners) > 0.5) == xor).sum()
    print(f"{name:24} {right} of 4 corners right, loss {histories[name][-1]:.3f}")

fig, ax = plt.subplots()
for name, losses in histories.items():
    ax.plot(losses, label=name, linestyle="--" if "step" in name else "-")
ax.set(xlabel="epoch", ylabel="loss", yscale="log")
ax.legend(fontsize=9)
plt.show()

# %%
# The activations and their derivatives
# -------------------------------------
#
# A sigmoid's derivative is at most 1/4 and fades on both sides; relu's is 1 over half of the line. The page after next
# shows what that does to deep nets.

x = np.linspace(-4, 4, 401)
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3))
for name in ("step", "sigmoid", "tanh", "relu", "silu"):
    function = getattr(activations, name)
    left.plot(x, function(x), label=name, linewidth=1.6)
    slope = fnn.value_and_grad(lambda v: fnn.ops.sum(function(v)))(x)[1]
    right.plot(x, slope, linewidth=1.6)
left.set(title="activation", ylim=(-1.2, 2))
right.set(title="its derivative", ylim=(-0.2, 1.25))
left.legend(fontsize=9)
plt.show()

# %%
# Try next: other seeds in ``net``. A net of eight relus sometimes fails too, when too many of them start on their flat
# side. How often, and how often with sixteen?
