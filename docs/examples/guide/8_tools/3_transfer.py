"""
Transfer learning
=================

What a net has learned about one question can serve another that has few samples. Here a net learns to read digits from a
thousand labelled pictures. Its hidden layers, frozen, then help with a new question about such pictures, for which only a
few answers are known: does the digit contain a closed loop?
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers

images, labels = fnn.datasets.load_digits()
order = np.random.default_rng(0).permutation(len(images))
images, labels = images[order] / 16, labels[order]
loop = np.isin(labels, [0, 6, 8, 9])

# %%
# The first question
# ------------------

fnn.set_seed(0)
x = fnn.Input((64,))
h = layers.Dense(128, activation="relu", name="h1")(x)
h = layers.Dense(64, activation="relu", name="h2")(h)
first = fnn.Model(x, layers.Dense(10, activation="softmax", name="digit")(h))
first.compile("adam", "sparse_categorical_crossentropy")
history = first.fit(images[:1000], labels[:1000], epochs=30, seed=0, verbose=0)
print(f"loss {history.history['loss'][-1]:.3f}")

# %%
# The second
# ----------
#
# A model that ends at ``h2`` shares its layers, and their weights, with the first. Frozen, it is a function that turns a
# picture into 64 numbers; only the new layer on top is trained.


def second(transfer):
    """A net for the new question: on the frozen layers of the first, or from scratch."""
    fnn.set_seed(1)
    if transfer:
        body = fnn.Model(first.input, first.get_layer("h2").output)
        body.trainable = False
    else:
        body = fnn.Sequential([
            fnn.Input((64,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
        ])
    x = fnn.Input((64,))
    model = fnn.Model(x, layers.Dense(1, activation="sigmoid")(body(x)))
    model.compile(fnn.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy"])
    return model


known, unseen = slice(1000, 1300), slice(1300, None)
counts = (10, 20, 40, 80, 160, 300)
fig, ax = plt.subplots()
for name, transfer in (("on frozen layers", True), ("from scratch", False)):
    scores = []
    for count in counts:
        model = second(transfer)
        model.fit(images[known][:count], loop[known][:count], epochs=100, seed=0, verbose=0)
        scores.append(model.evaluate(images[unseen], loop[unseen])[1])
    ax.semilogx(counts, scores, "o-", label=name)
    print(f"{name:16}", " ".join(f"{s:.3f}" for s in scores))
ax.set(xlabel="answers known", ylabel="accuracy on unseen pictures", xticks=counts, xticklabels=counts)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# Frozen layers have no freedom to learn a handful of pictures by heart. With more answers the net from scratch catches up
# and passes: what reading digits did not need is missing from the frozen layers for ever.
#
# Try next: set ``body.trainable = True`` after training, compile again with a rate of 1e-4, and fit on: fine-tuning.
