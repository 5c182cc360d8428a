"""
Stop and go on
==============

A long run should survive a power cut. The callback `Checkpoint <fastnn.callbacks.Checkpoint>` writes the run to a file,
and ``fit(resume=...)`` goes on at the step where the file was written, to the same bits as if nothing had happened.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import callbacks, layers, plot

images, labels = fnn.datasets.load_digits()
images = images / 16


def net():
    fnn.set_seed(0)
    model = fnn.Sequential([
        fnn.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# %%
# An accident
# -----------
#
# The first run stops in its twelfth epoch. The second starts in a fresh model, reads the file, and does the rest.


class Accident(callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 11:
            raise OSError("the power went out")


file = Path(tempfile.mkdtemp()) / "run.ckpt"
checkpoint = callbacks.Checkpoint(file, every_steps=100)
first = net()
try:
    first.fit(images, labels, epochs=30, callbacks=[checkpoint, Accident()], resume=file, seed=7, verbose=0)
except OSError as error:
    print(f"stopped: {error}, after epoch {len(first.history.epoch)}")

second = net()
resumed = second.fit(
    images, labels, epochs=30, callbacks=[callbacks.Checkpoint(file, every_steps=100)], resume=file, seed=7, verbose=0
)

# %%
# Beside a run without an accident: every weight has the same bits, in spite of dropout, shuffling and Adam's memory.

whole = net()
history = whole.fit(images, labels, epochs=30, seed=7, verbose=0)
same = all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), second.get_weights()))
print("bitwise the same weights:", same)

ax = plot.learning_curves({"in one go": history, "resumed": resumed, "before the accident": first.history})
for line, width in zip(ax.lines, (6, 3, 1)):
    line.set(linewidth=width, marker="")
ax.legend()
plt.show()

# %%
# Try next: a run that ends by the clock, ``fit(max_seconds=...)``, and goes on tomorrow with the same line.
