import keras
import numpy as np

rng = np.random.RandomState(13)
p, q = rng.normal(size=(2, 44, 6)).astype("float32")
y = (np.sum(p * q, axis=1) > 0).astype("float32")

encoder = keras.Sequential([
    keras.Input((6,)), keras.layers.Dense(8, activation="mish"), keras.layers.Dense(4, activation="tanh"),
], name="encoder")
first, second = keras.Input((6,)), keras.Input((6,))
both = keras.layers.Add()([encoder(first), encoder(second)])
model = keras.Model([first, second], keras.layers.Dense(1, activation="sigmoid", name="same")(both))
encoder.set_weights([0.4 * np.sin(np.arange(w.size)).reshape(w.shape) for w in encoder.get_weights()])
model.get_layer("same").set_weights([np.full((4, 1), 0.3), np.zeros(1)])
model.compile(optimizer=keras.optimizers.SGD(0.1), loss="binary_crossentropy")
history = model.fit([p, q], y, epochs=4, shuffle=False, verbose=0)
code = encoder.predict(p, verbose=0)
result = {"history": history.history, "code": code, "parameters": model.count_params()}
