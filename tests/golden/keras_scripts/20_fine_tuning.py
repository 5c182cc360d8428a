import keras
import numpy as np

rng = np.random.RandomState(20)
x = rng.normal(size=(64, 6)).astype("float32")
y = np.abs(x[:, :1])

inputs = keras.Input((6,))
features = keras.layers.Dense(10, activation="relu", name="features")(inputs)
features = keras.layers.Dense(5, activation="relu", name="codes")(features)
outputs = keras.layers.Dense(1, name="head")(features)
model = keras.Model(inputs, outputs)
model.set_weights([0.5 * np.sin(np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.get_layer("features").trainable = False
model.compile(optimizer=keras.optimizers.RMSprop(0.01, centered=True), loss="mse")
history = model.fit(x, y, epochs=4, shuffle=False, verbose=0)
encoder = keras.Model(inputs, model.get_layer("codes").output)
result = {
    "history": history.history,
    "frozen": model.get_layer("features").get_weights()[0],
    "trainable": sum(w.shape[0] for w in model.trainable_weights),
    "codes": encoder.predict(x, verbose=0),
}
