"""A user's typed script: `mypy --strict` passes over it, and an error in an argument is seen. Nothing runs it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import layers, losses, optimizers

fnn.set_seed(0)
x, y = fnn.datasets.load_digits()
inputs = fnn.Input((64,))
hidden = layers.Dense(32, activation="relu", kernel_regularizer="l2", name="h")(inputs)
hidden = layers.Dropout(0.2, seed=1)(layers.BatchNormalization()(hidden))
model = fnn.Model(inputs, layers.Dense(10, activation="softmax")(hidden))
model.compile(
    optimizer=optimizers.Adam(1e-3), loss=losses.SparseCategoricalCrossentropy(from_logits=False), metrics=["accuracy"]
)
stop = fnn.callbacks.EarlyStopping(patience=3)
history = model.fit(x / 16, y, batch_size=32, epochs=2, validation_split=0.1, verbose=0, callbacks=[stop])
last: float = history.history["loss"][-1]
predictor = model.freeze()
row = predictor(x[0] / 16)
model.save("m.fnn")
loaded: fnn.Model = fnn.load("m.fnn")
loaded.summary(print_fn=print)
weights: list[NDArray[Any]] = loaded.get_weights()
print(last, row.argmax(), loaded.count_params(), len(weights))
net = fnn.Sequential([fnn.Input((3,)), layers.Dense(2), layers.LeakyReLU()])
net.add(layers.Dense(1))
net.compile("sgd", "mse")
net.fit(np.ones((4, 3)), np.ones(4), epochs="three")  # type: ignore[arg-type]
