"""The model that the page goes on training: moons.fnn."""

import fastnn as fnn
from fastnn import layers

model = fnn.Sequential([fnn.Input((2,)), layers.Dense(8, "tanh"), layers.Dense(8, "tanh"), layers.Dense(1, "sigmoid")])
model.compile(optimizer=fnn.optimizers.Adam(0.01), loss="binary_crossentropy")
model.save("moons.fnn")
