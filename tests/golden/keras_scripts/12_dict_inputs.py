import keras
import numpy as np

rng = np.random.RandomState(12)
data = {
    "age": rng.uniform(size=(40, 1)).astype("float32"),
    "tests": rng.normal(size=(40, 5)).astype("float32"),
}
y = (data["tests"][:, 0] + data["age"][:, 0] > 0.4).astype("float32").reshape(-1, 1)

inputs = {"age": keras.Input((1,), name="age"), "tests": keras.Input((5,), name="tests")}
x = keras.layers.Concatenate()([inputs["age"], inputs["tests"]])
x = keras.layers.Dense(7, activation="relu")(x)
model = keras.Model(inputs=inputs, outputs=keras.layers.Dense(1, activation="sigmoid")(x))
model.set_weights([0.6 * np.cos(np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile("adam", "binary_crossentropy", metrics=["binary_accuracy"])
history = model.fit(data, y, batch_size=10, epochs=3, shuffle=False, verbose=0)
result = {"history": history.history, "prediction": model.predict(data, verbose=0)}
