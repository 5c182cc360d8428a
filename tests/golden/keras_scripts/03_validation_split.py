import keras
import numpy as np

rng = np.random.RandomState(3)
x = rng.normal(size=(100, 5)).astype("float32")
y = (x.sum(axis=1) + 0.5 * x[:, 0] ** 2 > 0).astype("int32")

model = keras.Sequential()
model.add(keras.layers.Input((5,)))
model.add(keras.layers.Dense(10, activation="elu"))
model.add(keras.layers.Dense(1, activation="sigmoid"))
model.set_weights([0.5 * np.sin(1 + np.arange(w.size)).reshape(w.shape) for w in model.get_weights()])
model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, batch_size=16, epochs=4, validation_split=0.25, shuffle=False, verbose=0)
result = {"history": history.history, "prediction": model.predict(x[:10], verbose=0)}
