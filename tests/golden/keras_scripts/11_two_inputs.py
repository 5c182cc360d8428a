import keras
import numpy as np

rng = np.random.RandomState(11)
a = rng.normal(size=(56, 4)).astype("float32")
b = rng.normal(size=(56, 3)).astype("float32")
y = a[:, :1] * b[:, :1]

left = keras.Input(shape=(4,), name="left")
right = keras.Input(shape=(3,), name="right")
u = keras.layers.Dense(6, activation="tanh", name="u")(left)
v = keras.layers.Dense(6, activation="tanh", name="v")(right)
joined = keras.layers.Concatenate(name="joined")([u, v, keras.layers.Multiply(name="product")([u, v])])
model = keras.Model([left, right], keras.layers.Dense(1, name="out")(joined))
for i, name in enumerate(["u", "v", "out"]):
    layer = model.get_layer(name)
    layer.set_weights([0.5 * np.sin(np.arange(w.size) + i).reshape(w.shape) for w in layer.get_weights()])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
history = model.fit([a, b], y, batch_size=8, epochs=3, shuffle=False, verbose=0)
result = {"history": history.history, "prediction": model.predict([a, b], verbose=0)}
