"""
The functional API
==================

A list of layers is one way through a net. Calling layers on tensors makes any graph without circles: several inputs,
several outputs, layers used twice, paths around others.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers

# %%
# Paths around layers
# -------------------
#
# A block adds its input to what it computes. The gradient has a way around each block, so even twenty sigmoid layers
# pass it on; compare :doc:`../3_network/3_deep`.


def tower(residual, depth=20):
    fnn.set_seed(0)
    x = fnn.Input((64,))
    h = layers.Dense(64, name="h0")(x)
    for k in range(1, depth + 1):
        inner = layers.Dense(64, activation="sigmoid", name=f"h{k}")(h)
        inner = layers.Dense(64, name=f"g{k}", kernel_initializer="zeros")(inner) if residual else inner
        h = layers.Add()([h, inner]) if residual else inner
    model = fnn.Model(x, layers.Dense(10, activation="softmax")(h))
    model.compile(fnn.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


images, labels = fnn.datasets.load_digits()
images = images / 16
test = np.arange(len(images)) % 5 == 0
fig, ax = plt.subplots()
for name, model in (("twenty sigmoid layers", tower(False)), ("with paths around them", tower(True))):
    seen = model.fit(
        images[~test], labels[~test], epochs=12, validation_data=(images[test], labels[test]), seed=0, verbose=0
    ).history["val_accuracy"]
    ax.plot(range(1, 13), seen, "o-", label=name)
ax.set(xlabel="epoch", ylabel="accuracy on unseen digits", ylim=(0, 1))
ax.legend()
plt.show()

# %%
# Two inputs, two outputs, one shared layer
# -----------------------------------------
#
# Two pictures go through the *same* layers. One output says whether they show the same digit, the other what their sum
# is. Inputs, targets and losses are given by name.

left, right = fnn.Input((64,), name="left"), fnn.Input((64,), name="right")
encoder = fnn.Sequential([
    fnn.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(32, activation="relu")
], name="encoder")
a, b = encoder(left), encoder(right)
both = layers.Dense(64, activation="relu")(layers.Concatenate()([layers.Multiply()([a, b]), a, b]))
same = layers.Dense(1, activation="sigmoid", name="same")(both)
total = layers.Dense(1, name="sum")(both)
model = fnn.Model(inputs={"left": left, "right": right}, outputs={"same": same, "sum": total})
model.compile("adam", loss={"same": "binary_crossentropy", "sum": "mse"}, metrics={"same": ["accuracy"], "sum": ["mae"]})

rng = np.random.default_rng(0)


def pairs(part, count):
    """Random pairs, half of them of one digit."""
    i = rng.choice(np.flatnonzero(part), count)
    j = rng.choice(np.flatnonzero(part), count)
    for k in range(0, count, 2):
        j[k] = rng.choice(np.flatnonzero(part & (labels == labels[i[k]])))
    x = {"left": images[i], "right": images[j]}
    return x, {"same": (labels[i] == labels[j])[:, None], "sum": (labels[i] + labels[j])[:, None]}


x, y = pairs(~test, 6000)
model.fit(x, y, epochs=15, seed=0, verbose=0)
x, y = pairs(test, 1000)
for name, value in model.evaluate(x, y, return_dict=True).items():
    print(f"{name:14} {value:.3f}")

# %%
# The picture of the graph names shapes, weights, memory and the operations a sample costs; the shared encoder has its
# weights once and is paid for twice.

fig, ax = plt.subplots(figsize=(6.4, 7))
model.plot(ax=ax)
plt.show()

# %%
# Try next: give the encoder to a third model that only reads digits, and train all of them in turn.
