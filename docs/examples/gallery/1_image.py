"""
Pictures: reading handwritten digits
====================================

1,797 pictures of 8 × 8 pixels, ten classes. Few pictures and a net with many weights: random shifts make more of them,
dropout keeps the net from learning them by heart, and early stopping ends training at the right time.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import callbacks, layers, plot

fnn.set_seed(0)
images, labels = fnn.datasets.load_digits()
images = images.reshape(-1, 8, 8, 1)
part = np.arange(len(images)) % 5  # part 0 to test on, part 1 to decide when to stop
train, stop, test = part > 1, part == 1, part == 0

# %%
# The net scales, shifts and trains in one piece, so that a saved model takes pictures as they come. Shifting is
# active in training only, and every epoch draws new shifts.

model = fnn.Sequential([
    fnn.Input((8, 8, 1)),
    layers.Rescaling(1 / 16),
    layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
    layers.Flatten(),
    layers.Dense(256, activation="relu"),
    layers.BatchNormalization(),
    layers.Dropout(0.4),
    layers.Dense(128, activation="relu"),
    layers.Dropout(0.4),
    layers.Dense(10, activation="softmax"),
])
schedule = fnn.schedules.CosineDecay(2e-3, decay_steps=60 * 34)
model.compile(fnn.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
stopping = callbacks.EarlyStopping("val_loss", patience=15, restore_best_weights=True)
history = model.fit(
    images[train], labels[train], epochs=60, validation_data=(images[stop], labels[stop]),
    callbacks=[stopping], verbose=0,
)
loss, accuracy = model.evaluate(images[test], labels[test])
print(f"accuracy on pictures it has not seen: {accuracy:.3f}")

# %%
# Where it is wrong
# -----------------
#
# The confusion matrix counts guesses (columns) for each digit (rows).

guesses = model.predict(images[test]).argmax(axis=1)
plot.confusion_matrix(labels[test], guesses)
plt.show()

# %%
# The mistakes themselves; some of them a person would make too.

wrong = np.flatnonzero(guesses != labels[test])[:6]
fig, axes = plt.subplots(1, len(wrong), figsize=(6.4, 1.7))
for ax, i in zip(axes, wrong):
    ax.imshow(images[test][i, :, :, 0], cmap="gray_r")
    ax.set(xticks=[], yticks=[], title=f"{labels[test][i]} as {guesses[i]}")
plt.show()

# %%
# Try next: leave out the shifts, or the dropout, and watch the gap between ``history.history["loss"]`` and
# ``"val_loss"`` grow.
