"""
A loss and the metric it improves
=================================

A metric says how good a model is; a loss says which way to go. Accuracy is a fine metric and a useless loss: it counts,
so it is flat almost everywhere. The losses below fall where the metric rises, and have a slope.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers, losses, plot

# %%
# Yes or no: binary crossentropy
# ------------------------------
#
# One sample, true answer 1, over the predicted probability. The crossentropy :math:`-\log p` grows without end as the
# net becomes surely wrong; the squared error stops at 1, and accuracy knows two values.

p = np.linspace(0.01, 0.99, 199)[:, None]
true = np.ones_like(p)
fig, ax = plt.subplots()
ax.plot(p, losses.binary_crossentropy(true, p), label="crossentropy", color="#c8553d")
ax.plot(p, losses.mean_squared_error(true, p), label="squared error", color="#2f6690")
ax.plot(p, 1 - fnn.metrics.binary_accuracy(true, p), label="1 - accuracy", color="#6b7280", linestyle="--")
ax.set(xlabel="predicted probability of the true answer", ylabel="value", ylim=(0, 4))
ax.legend()
plt.show()

# %%
# Seen by one weight
# ------------------
#
# Two overlapping clouds on a line, one neuron with a sigmoid, its bias moved by hand. The minimum of the crossentropy lies
# close to where the accuracy is highest, and its slope leads there from everywhere.

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal(-1, 1, 150), rng.normal(1.5, 1, 150)])[:, None]
y = np.repeat([0, 1], 150)[:, None]

neuron = fnn.Sequential([fnn.Input((1,)), layers.Dense(1, activation="sigmoid")])
neuron.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
biases = np.linspace(-6, 6, 97)
values = []
for bias in biases:
    neuron.set_weights([[[2]], [bias]])
    values.append(neuron.evaluate(x, y))
loss, accuracy = np.transpose(values)

fig, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 4.4))
top.plot(biases, loss, color="#c8553d")
top.set_ylabel("crossentropy")
bottom.step(biases, accuracy, color="#2a7f62")
bottom.set(xlabel="bias", ylabel="accuracy")
for ax, best in ((top, loss.argmin()), (bottom, accuracy.argmax())):
    ax.axvline(biases[best], color="#b8bec7", linestyle="--", linewidth=1.5)
plt.show()

# %%
# A number: squared error
# -----------------------
#
# For regression the loss is often its own metric, but which one is a choice. The value that the squared error likes
# best for a set of numbers is their mean, for the absolute error it is their median. One outlier moves only the first.

data = np.array([1.0, 1.3, 1.6, 2.0, 2.2, 9.0])[:, None]
guess = np.linspace(0, 9, 181)
fig, ax = plt.subplots()
for name, function in (("squared error", losses.mean_squared_error), ("absolute error", losses.mean_absolute_error)):
    curve = [function(data, np.full_like(data, g)).mean() for g in guess]
    [line] = ax.plot(guess, np.array(curve) / max(curve), label=name)
    ax.plot(guess[np.argmin(curve)], min(curve) / max(curve), "o", color=line.get_color())
ax.plot(data, np.zeros(6), "k|", markersize=12, clip_on=False)
ax.set(xlabel="one guess for all six numbers (ticks)", ylabel="loss, scaled", ylim=(0, 1))
ax.legend()
plt.show()

# %%
# Improving together
# ------------------
#
# In training, loss and metric move together, not in step: the crossentropy goes on falling while the accuracy stands
# still, because answers that are right become surer.

images, labels = fnn.datasets.load_digits()
fnn.set_seed(0)
model = fnn.Sequential([fnn.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(images / 16, labels, epochs=30, validation_split=0.25, verbose=0)

fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3))
plot.learning_curves(history, "loss", ax=left)
plot.learning_curves(history, "accuracy", ax=right)
plt.show()

# %%
# Try next: make the clouds unequal, 270 zeros and 30 ones. Is accuracy still the metric you want? Compare
# `fastnn.metrics.F1Score` and the ``class_weight`` of `fit <fastnn.Model.fit>`.
