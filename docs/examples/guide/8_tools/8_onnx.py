"""
To ONNX and back
================

ONNX is the file format in which most frameworks exchange networks. fastnn writes it, so that a net runs where there is no
fastnn, and reads it, so that a net from elsewhere can be trained further. Both need the extra ``onnx``.

Here is a classifier of handwritten digits, trained on the digits from 0 to 4 alone.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import fastnn as fnn
from fastnn import layers

fnn.set_seed(0)
X, y = fnn.datasets.load_digits()
X, test, low = (X / 16).astype("float32"), np.arange(len(X)) % 3 == 0, y < 5

model = fnn.Sequential(
    [
        fnn.Input((64,), name="pixels"),
        layers.Dense(64, activation="relu", name="h1"),
        layers.BatchNormalization(name="norm"),
        layers.Dropout(0.2, name="dropout"),
        layers.Dense(10, activation="softmax", name="digit"),
    ]
)
model.class_names = [str(digit) for digit in range(10)]
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(X[~test & low], y[~test & low], epochs=20, verbose=0)
print(f"accuracy on 0 to 4: {model.evaluate(X[test & low], y[test & low], verbose=0)[1]:.3f}")

# %%
# Out
# ---
#
# ``export`` writes what the net computes outside training: dropout is gone, and batch normalization is one operator with the
# running mean and variance.

path = Path(tempfile.mkdtemp()) / "digits.onnx"
model.export(path)

session = onnxruntime.InferenceSession(path)
[theirs] = session.run(None, {"pixels": X[test]})
ours = model.predict(X[test], verbose=0)
print(f"{path.stat().st_size:,} bytes; largest difference to ONNX Runtime {np.abs(ours - theirs).max():.1e}")

# %%
# Nodes are named by layer and operator, weights as in ``model.parameters``. The metadata has the layers and the names of
# classes and features.

graph = onnx.load(path)
for node in graph.graph.node:
    print(f"{node.name:24} reads {', '.join(node.input)}")
for entry in graph.metadata_props:
    print(f"{entry.key}: {entry.value}")

# %%
# ``fastnn view digits.onnx``, or ``fnn.onnx.view(model)``, draws the graph in `Netron <https://netron.app>`_, where that is
# installed (``pip install netron``): a box for each operator with the sizes of its weights, and a shape at each arrow. A click
# on a box shows the layer's name and the numbers themselves, one on an input the names of the classes.
#
# Back
# ----
#
# ``from_onnx`` gives a model that can be trained. A product and its bias become a Dense layer, with the activation after it;
# what fastnn has no layer for becomes one made of ``fastnn.ops``.

back = fnn.from_onnx(path)
back.summary()
print(f"largest difference {np.abs(back.predict(X[test], verbose=0) - ours).max():.1e}, classes {back.class_names}")

# %%
# It knows nothing yet of the digits from 5 to 9. Now it learns them too, from where it stands; the file has no dropout, and the
# loss is chosen anew.

back.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
print(f"accuracy on all before {back.evaluate(X[test], y[test], verbose=0)[1]:.3f}")
history = back.fit(X[~test], y[~test], epochs=20, verbose=0)
print(f"accuracy on all after  {back.evaluate(X[test], y[test], verbose=0)[1]:.3f}")

# %%
# From PyTorch and scikit-learn
# -----------------------------
#
# A network of any architecture comes over as long as its operators are among those that ``from_onnx`` lists:
#
# .. code-block:: python
#
#    torch.onnx.export(net, (x,), "net.onnx", dynamo=True, external_data=False)
#    model = fnn.from_onnx("net.onnx")
#
#    onnx_model = skl2onnx.to_onnx(classifier, X[:1], options={"zipmap": False})   # a fitted MLPClassifier
#    model = fnn.from_onnx(onnx_model, outputs=["probabilities"])                  # the other output are labels
#
# The first dimension of an input is the batch. What would mix samples, and operators that fastnn does not have, are listed in
# an ``UnsupportedError``, each with the name of its node. A file from somewhere else cannot do harm: nothing in it is run,
# paths to other files may not leave its folder, and damaged files end in a ``FileFormatError``.
