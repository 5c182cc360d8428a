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
# The *straight-through estimator* keeps the step in the forward pass and pretends in the backward pass that it was the
# identity, or the identity as far as ``clip_value`` from zero. The direction is biased, but it is one. The usual cure is
# another activation: a sigmoid is a step with its corner rounded, and its derivative is the truth.
#
# Digits, two hidden layers of 64. With plain steps only the last layer learns, on what two random layers give it.

images, labels = fnn.datasets.load_digits()
images = images / 8 - 1
test = np.arange(len(images)) % 5 == 0

candidates = {
    "step": "step",
    "step, straight-through": lambda x: activations.step(x, straight_through=True),
    "the same, clipped": lambda x: activations.step(x, straight_through=True, clip_value=1),
    "sigmoid": "sigmoid",
    "relu": "relu",
}
fig, ax = plt.subplots()
for name, activation in candidates.items():
    fnn.set_seed(1)
    model = fnn.Sequential([
        fnn.Input((64,)),
        layers.Dense(64, activation=activation),
        layers.Dense(64, activation=activation),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile(fnn.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    seen = model.fit(
        images[~test], labels[~test], epochs=30, validation_data=(images[test], labels[test]), seed=0, verbose=0
    ).history["val_accuracy"]
    ax.plot(range(1, 31), seen, "--" if activation == "step" else "-", label=name)
    print(f"{name:24} accuracy on unseen digits {seen[-1]:.3f}")
ax.set(xlabel="epoch", ylabel="accuracy on unseen digits", ylim=(0, 1))
ax.legend(loc="lower right")
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
# Try next: train ``net("relu")`` on the four corners from twenty seeds. Some fail, because too many of the eight relus
# start on their flat side. How many fail with sixteen?
