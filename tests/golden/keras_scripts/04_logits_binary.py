import keras
import numpy as np

rng = np.random.RandomState(4)
x = rng.normal(size=(64, 6)).astype("float32")
y = (x[:, :2] > 0.1).astype("float32")

model = keras.Sequential([
    keras.layers.Input(shape=(6,)),
    keras.layers.Dense(9, activation="selu"),
    keras.layers.Dense(2),
])
model.set_weights([0.3 * np.cos(3 * np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile(
    optimizer=keras.optimizers.RMSprop(learning_rate=0.005, rho=0.8, momentum=0.5),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
)
history = model.fit(x, y, epochs=5, shuffle=False, verbose=0)
result = {"history": history.history, "logits": model.predict(x, verbose=0)}
