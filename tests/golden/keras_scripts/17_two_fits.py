import keras
import numpy as np

rng = np.random.RandomState(17)
x = rng.normal(size=(32, 4)).astype("float32")
y = x @ np.array([[1.0], [2.0], [-1.0], [0.5]], dtype="float32")

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
model.set_weights([0.4 * np.sin(np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.05, amsgrad=True), loss="mse")
first = model.fit(x, y, epochs=3, shuffle=False, verbose=0)
model.optimizer.learning_rate = 0.01
second = model.fit(x, y, epochs=6, initial_epoch=3, shuffle=False, verbose=0)
kernel = model.layers[-1].get_weights()[0]
result = {
    "first": first.history, "second": second.history, "epoch": second.epoch, "kernel": kernel,
    "learning_rate": float(model.optimizer.learning_rate),
}
