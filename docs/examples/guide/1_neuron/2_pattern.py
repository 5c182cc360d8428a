"""
A neuron as a pattern detector
==============================

The dot product :math:`\\omega \\cdot x` is large where :math:`x` has what :math:`\\omega` asks for and lacks what it
forbids. A neuron is therefore a template that is held against its input. Here it looks for a vertical stroke in
handwritten digits of 8 × 8 pixels.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers

images, labels = fnn.datasets.load_digits()
images = images / 16

# %%
# The template asks for ink in the two middle columns and for paper beside them. Its weights sum to zero, so an evenly
# grey picture gives nothing: only the pattern counts, not the amount of ink.

template = np.zeros((8, 8), "float32")
template[:, 3:5] = 1
template[:, [1, 2, 5, 6]] = -0.5

neuron = fnn.Sequential([fnn.Input((64,)), layers.Dense(1)])
neuron.set_weights([template.reshape(64, 1), [0]])
response = neuron.predict(images).ravel()

# %%
# The pictures it answers to most strongly, and most weakly:

order = np.argsort(response)
fig = plt.figure(figsize=(6.4, 2.9))
grid = fig.add_gridspec(2, 6, width_ratios=[2, 1, 1, 1, 1, 1])
ax = fig.add_subplot(grid[:, 0])
ax.imshow(template.reshape(8, 8), cmap="RdBu_r", vmin=-1, vmax=1)
ax.set(title="template", xticks=[], yticks=[])
for row, (name, chosen) in enumerate((("most", order[::-1]), ("least", order))):
    for column in range(5):
        ax = fig.add_subplot(grid[row, column + 1])
        ax.imshow(images[chosen[column]].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=f"{response[chosen[column]]:.1f}")
        if column == 0:
            ax.set_ylabel(name)
plt.show()

# %%
# Over all digits the response is highest for ones, which are little else than such a stroke. With a bias and the step
# function the neuron becomes a detector: it says "one" where the response passes a threshold.

threshold = 8.5
fig, ax = plt.subplots()
parts = ax.boxplot([response[labels == d] for d in range(10)], tick_labels=range(10), showfliers=False)
ax.axhline(threshold, color="#c8553d", linestyle="--", linewidth=1.5)
ax.set(xlabel="digit", ylabel="dot product with the template", title=f"threshold {threshold}")
plt.show()

says_one = response >= threshold
found = (says_one & (labels == 1)).sum() / (labels == 1).sum()
right = (says_one & (labels == 1)).sum() / says_one.sum()
print(f"of the ones it finds {found:.0%}; of what it calls a one {right:.0%} is one")

# %%
# A template drawn by hand is a guess. Try another one: shift the stroke, tilt it, or average all pictures of a digit
# and subtract the mean of the others. The next chapter lets the data draw it.
