"""
Remedies: penalties, dropout, more pictures, early stopping
===========================================================

Digits that lie anywhere in a larger frame: four hundred to learn from, the others to be judged on. A net knows the four
hundred by heart after a few epochs. Four remedies make that harder, each in its own way.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import callbacks, layers, plot, regularizers

rng = np.random.default_rng(0)
digits, labels = fnn.datasets.load_digits()
order = rng.permutation(len(digits))
digits, labels = digits[order].reshape(-1, 8, 8) / 16, labels[order]
images = np.zeros((len(digits), 12, 12, 1), "float32")
for image, digit, (row, column) in zip(images, digits, rng.integers(0, 5, size=(len(digits), 2))):
    image[row : row + 8, column : column + 8, 0] = digit

x, y = images[:400], labels[:400]
unseen = images[400:], labels[400:]

fig, axes = plt.subplots(1, 6, figsize=(6.4, 1.4))
for ax, image in zip(axes, x):
    ax.imshow(image[:, :, 0], cmap="gray_r")
    ax.set(xticks=[], yticks=[])
plt.show()


def net(*, first=(), dropout=0.0, l2=0.0):
    """Two layers of 128, with whatever makes learning by heart harder."""
    fnn.set_seed(0)

    def dense():
        return layers.Dense(128, activation="relu", kernel_regularizer=regularizers.L2(l2))

    model = fnn.Sequential([
        fnn.Input((12, 12, 1)),
        *first,
        layers.Flatten(),
        dense(),
        layers.Dropout(dropout),
        dense(),
        layers.Dropout(dropout),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# %%
# * An **L2 penalty** adds the squares of the weights to the loss: large weights must pay for themselves.
# * **Dropout** switches off a random half of the neurons in each step, so that none can rely on one other.
# * **Augmentation** shifts each picture a little, differently in each epoch: the net never sees the same twice. It is
#   knowledge put into data: where a digit lies does not matter. Flips would be wrong, a mirrored 2 is no digit.


def shift():
    return layers.RandomTranslation(0.15, 0.15, fill_mode="constant", interpolation="nearest")


remedies = {
    "none": net(),
    "L2": net(l2=5e-3),
    "dropout": net(dropout=0.5),
    "augmentation": net(first=[shift()]),
}
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4))
for name, model in remedies.items():
    history = model.fit(x, y, epochs=150, validation_data=unseen, validation_freq=5, seed=0, verbose=0).history
    left.semilogy(range(1, 151), history["loss"], linewidth=1.3)
    right.plot(range(5, 151, 5), history["val_accuracy"], linewidth=1.5, label=name)
    print(f"{name:22} accuracy on unseen digits {np.mean(history['val_accuracy'][-5:]):.3f}")
left.set(title="training loss", xlabel="epoch")
right.set(title="accuracy, unseen", xlabel="epoch", ylim=(0.4, 1))
right.legend(fontsize=9)
plt.show()

# %%
# Each remedy lets the loss on the samples fall less. Penalties and dropout only make the net less sure of what it knows;
# the shifts tell it something that the four hundred pictures did not, and that is worth much more.
#
# Early stopping
# --------------
#
# The cheapest remedy ends training when the loss on held-out samples has not improved for a while, and takes the weights
# of the best epoch back. The held-out samples must not be those of the final judgement: here they are a quarter of the
# four hundred.

model = net(first=[shift()])
stopping = callbacks.EarlyStopping("val_loss", patience=15, restore_best_weights=True)
history = model.fit(x, y, epochs=300, validation_split=0.25, callbacks=[stopping], seed=0, verbose=0)

ax = plot.learning_curves(history)
ax.axvline(stopping.best_epoch + 1, color="#b8bec7", linewidth=1.5)
ax.set_title("the weights are those of the marked epoch")
plt.show()
print(f"accuracy on unseen digits {model.evaluate(*unseen)[1]:.3f} after {len(history.epoch)} epochs")

# %%
# Try next: look at what augmentation makes. ``fnn.Model(model.input, model.layers[1].output)``, called with
# ``training=True``, gives the shifted pictures. Then shift by 0.4, until digits leave the frame.
