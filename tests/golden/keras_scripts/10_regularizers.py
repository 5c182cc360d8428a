import keras
import numpy as np

rng = np.random.RandomState(10)
x = rng.normal(size=(64, 20)).astype("float32")
y = x[:, :3].sum(axis=1, keepdims=True)

model = keras.Sequential([
    keras.Input((20,)),
    keras.layers.Dense(8, activation="silu", kernel_regularizer=keras.regularizers.L2(1e-3)),
    keras.layers.Dense(8, activation="silu", kernel_regularizer=keras.regularizers.L1L2(l1=1e-4, l2=1e-3)),
    keras.layers.Dense(1, kernel_regularizer="l1", bias_regularizer=keras.regularizers.L1(0.01)),
])
model.set_weights([0.25 * np.cos(np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile(optimizer=keras.optimizers.SGD(0.02), loss="mean_squared_error", metrics=["mean_squared_error"])
history = model.fit(x, y, epochs=5, shuffle=False, verbose=0)
scores = model.evaluate(x, y, verbose=0)
result = {"history": history.history, "scores": scores, "weights": model.get_weights()}
