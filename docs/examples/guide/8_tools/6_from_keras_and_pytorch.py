"""
From Keras and PyTorch, and back
================================

A net that was trained elsewhere predicts and trains on in fastnn, with the same numbers to 1e-5, and goes back again.
"""

import numpy as np

import fastnn as fnn
from fastnn import layers

# %%
# Whole models
# ------------
#
# .. code-block:: python
#
#    model = fnn.from_keras("model.keras")   # or an .h5 file, or a live keras.Model
#    model = fnn.from_torch(net)             # a live torch.nn.Sequential, its Sequentials nested or not
#
# A ``.keras`` file is read by h5py (the extra ``keras``); Keras itself is not needed, and nothing in the file is run. Names of
# layers stay, and so do the optimizer, losses and metrics where fastnn has them. What fastnn does not have is listed, every
# layer and argument at once, in an ``UnsupportedError``. PyTorch says what a network computes only while it runs, unless it is
# a ``Sequential``: for other modules, build the network with fastnn and pass their ``state_dict`` to ``model.load_weights``.
#
# .. code-block:: python
#
#    net = model.to_torch()          # a torch.nn.Sequential, or a torch.fx.GraphModule where the net is no chain
#    theirs = model.to_keras()       # a live Keras model
#
# Both carry the weights, can be trained there, and come back.
#
# Weights alone
# -------------
#
# ``load_weights`` reads what an existing model fits: ``.weights.h5``, ``.h5`` and ``.keras`` of Keras, safetensors files, and
# any mapping of names to arrays, such as a ``state_dict``. PyTorch keeps the kernel of a linear layer as (out, in); it is
# transposed on the way. Here are arrays as a ``state_dict`` of ``Sequential(Linear(3, 4), ReLU(), Linear(4, 2))`` holds them.

rng = np.random.default_rng(0)
state = {
    "0.weight": rng.normal(size=(4, 3)), "0.bias": rng.normal(size=4),
    "2.weight": rng.normal(size=(2, 4)), "2.bias": rng.normal(size=2),
}  # fmt: skip

model = fnn.Sequential([fnn.Input((3,)), layers.Dense(4, activation="relu", name="hidden"), layers.Dense(2, name="out")])
model.load_weights(state)

x = rng.normal(size=(5, 3))
by_hand = np.maximum(x @ state["0.weight"].T + state["0.bias"], 0) @ state["2.weight"].T + state["2.bias"]
print(f"largest difference {np.abs(model.predict(x, verbose=0) - by_hand).max():.1e}")

# %%
# Names come first: a layer named ``0`` would have taken ``0.weight``, whatever the order. Where they differ, as here, the
# modules go to the layers in order, if every shape fits. If one does not, nothing is changed, and the error sets the two lists
# side by side.

smaller = fnn.Sequential([fnn.Input((3,)), layers.Dense(4, name="hidden")])
try:
    smaller.load_weights(state)
except fnn.errors.ShapeError as error:
    print(error)

# %%
# A safetensors file keeps its names in the order of the alphabet, which says nothing about the net. Layers of the same shapes
# must then be named as in the model, or by numbers alone. Files that end in ``.pt`` are pickles, which may run code of their
# own when they are opened: they are refused, with the line that converts them.
