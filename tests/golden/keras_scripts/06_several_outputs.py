import keras
import numpy as np

rng = np.random.RandomState(6)
x = rng.normal(size=(80, 6)).astype("float32")
price = x[:, :1] + x[:, 1:2]
kind = np.argmax(x[:, 2:5], axis=1)

inputs = keras.Input((6,), name="house")
trunk = keras.layers.Dense(12, activation="relu", name="trunk")(inputs)
outputs = {
    "price": keras.layers.Dense(1, name="price")(trunk),
    "kind": keras.layers.Dense(3, activation="softmax", name="kind")(trunk),
}
model = keras.Model(inputs, outputs)
for i, name in enumerate(["trunk", "price", "kind"]):
    layer = model.get_layer(name)
    layer.set_weights([0.4 * np.cos(np.arange(w.size) + i).reshape(w.shape) for w in layer.get_weights()])
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss={"price": "mse", "kind": "sparse_categorical_crossentropy"},
    loss_weights={"price": 0.5, "kind": 1.0},
    metrics={"kind": ["accuracy"], "price": ["mae"]},
)
history = model.fit(x, {"price": price, "kind": kind}, epochs=3, shuffle=False, verbose=0)
scores = model.evaluate(x, {"price": price, "kind": kind}, return_dict=True, verbose=0)
result = {"history": history.history, "scores": scores, "prediction": model.predict(x[:5], verbose=0)}
