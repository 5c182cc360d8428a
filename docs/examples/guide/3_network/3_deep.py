"""
Deep nets, and gradients that vanish
====================================

Fully connected nets may have tens of layers of hundreds of neurons. Whether they learn is a question of how the gradient
survives the way back through them.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import explain, layers

images, labels = fnn.datasets.load_digits()
images = images / 16
test = np.arange(len(images)) % 5 == 0


def deep(activation, initializer):
    """Twenty hidden layers of two hundred neurons."""
    fnn.set_seed(0)
    model = fnn.Sequential([fnn.Input((64,))])
    for k in range(1, 21):
        model.add(layers.Dense(200, activation=activation, kernel_initializer=initializer, name=f"h{k}"))
    model.add(layers.Dense(10, activation="softmax", name="out"))
    rate = fnn.schedules.CosineDecay(1e-3, decay_steps=12 * 23)
    model.compile(fnn.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


nets = {"sigmoid": deep("sigmoid", "glorot_uniform"), "relu": deep("relu", "he_normal")}

# %%
# The gradient, layer by layer
# ----------------------------
#
# Before any training: how large is the derivative of the loss with respect to the weights of each layer? On its way back
# it is multiplied by the activation's derivative once a layer. A sigmoid's is at most 1/4, so after twenty layers
# hardly anything is left; relu's is 0 or 1, and with weights of the right size (`he_normal`) the product keeps its size.

fig, ax = plt.subplots()
for name, model in nets.items():
    norms = explain.gradient_norms(model, images[~test], labels[~test])
    ax.semilogy(range(1, 21), [norms[f"h{k}"] for k in range(1, 21)], "o-", label=name)
ax.set(xlabel="hidden layer", ylabel="size of the gradient", xticks=range(2, 21, 2))
ax.legend()
plt.show()

# %%
# What it means for training
# --------------------------
#
# The same data, optimizer and number of epochs.

fig, ax = plt.subplots()
for name, model in nets.items():
    history = model.fit(
        images[~test], labels[~test], batch_size=64, epochs=12,
        validation_data=(images[test], labels[test]), seed=0, verbose=0,
    )
    ax.plot(range(1, 13), history.history["val_accuracy"], "o-", label=name)
    print(f"{name:8} accuracy on unseen digits: {history.history['val_accuracy'][-1]:.3f}")
ax.axhline(0.1, color="#b8bec7", linestyle="--", linewidth=1.5)
ax.text(12, 0.12, "guessing", ha="right", color="#6b7280")
ax.set(xlabel="epoch", ylabel="accuracy on unseen digits", ylim=(0, 1))
ax.legend(loc="center right")
plt.show()

# %%
# Try next: `selu` with `lecun_normal`, a `BatchNormalization` between the sigmoids, or paths around the layers as in
# :doc:`../8_tools/4_functional`.
