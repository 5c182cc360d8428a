"""
Looking inside
==============

Why did the net say 3? `fastnn.explain` answers in pictures: which pixels the answer hangs on, and what its neurons look
for.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import explain, layers, plot

images, labels = fnn.datasets.load_digits()
images = images / 16
test = np.arange(len(images)) % 5 == 0

fnn.set_seed(0)
model = fnn.Sequential([
    fnn.Input((64,)),
    layers.Dense(64, activation="relu", name="h1"),
    layers.Dense(32, activation="relu", name="h2"),
    layers.Dense(10, activation="softmax", name="digit"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images[~test], labels[~test], epochs=40, verbose=0)
print(f"accuracy on unseen digits: {model.evaluate(images[test], labels[test])[1]:.3f}")

# %%
# What it consists of
# -------------------

model.summary()

# %%
# Which pixels?
# -------------
#
# *Saliency* is the gradient of the answer: which pixels would change it if they changed a little. *Integrated gradients*
# follow the gradient all the way from an empty picture, so that the shares of all pixels add up to the answer (as
# closely as the steps of the sum allow).
# *Relevance* hands the answer back layer by layer. Red speaks for the digit, blue against it.

chosen = [np.flatnonzero(test & (labels == digit))[0] for digit in (0, 3, 7)]
x, digits = images[chosen], labels[chosen]
logits = fnn.Model(model.input, layers.Dense(10, name="logits")(model.get_layer("h2").output))
logits.get_layer("logits").set_weights(model.get_layer("digit").get_weights())
maps = {
    "saliency": explain.saliency(logits, x, target=digits, abs=False),
    "integrated\ngradients": explain.integrated_gradients(logits, x, target=digits),
    "relevance": explain.relevance(logits, x, target=digits),
}

fig, axes = plt.subplots(3, 4, figsize=(6.4, 5))
for row, picture in enumerate(x):
    axes[row, 0].imshow(picture.reshape(8, 8), cmap="gray_r")
    for column, (name, values) in enumerate(maps.items(), 1):
        limit = abs(values[row]).max()
        axes[row, column].imshow(values[row].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[0, column].set_title(name, fontsize=11)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

shares = maps["integrated\ngradients"].sum(axis=1)
answer = logits.predict(x)[range(3), digits] - logits.predict(np.zeros((1, 64)))[0, digits]
print("sum of the shares:   ", shares.round(3))
print("answer minus baseline:", answer.round(3))

# %%
# What do neurons look for?
# -------------------------
#
# The weights of the first layer are templates, as in :doc:`../1_neuron/2_pattern`:

fig, ax = plt.subplots(figsize=(5.2, 5.2))
plot.filters(model, "h1", count=36, ax=ax)
plt.show()

# %%
# For deeper ones: start from noise and climb to the picture that excites a neuron most, here those of the last layer.

excited = [explain.maximize(model, "digit", neuron=digit, l2=0.5, bounds=(0, 1), seed=0) for digit in range(10)]
fig, axes = plt.subplots(2, 5, figsize=(6.4, 3))
for digit, (ax, picture) in enumerate(zip(axes.flat, excited)):
    ax.imshow(picture.reshape(8, 8), cmap="gray_r")
    ax.set(xticks=[], yticks=[], title=digit)
plt.show()

# %%
# What the layers make of the digits
# ----------------------------------
#
# The outputs of a layer for all unseen digits, turned to the two directions in which they differ most. From layer to layer
# the classes part.

fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.6))
for ax, name in zip(axes, (None, "h1", "h2")):
    values = images[test] if name is None else explain.activations(model, images[test], name)
    centred = values - values.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    ax.scatter(*(centred @ directions.T).T, c=labels[test], cmap="tab10", s=6)
    ax.set(xticks=[], yticks=[], title=name or "pixels")
plt.show()

# %%
# Try next: explain a picture that the net gets wrong, once for its guess and once for the truth.
