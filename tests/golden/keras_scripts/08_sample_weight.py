import keras
import numpy as np

rng = np.random.RandomState(8)
x = rng.normal(size=(50, 3)).astype("float32")
y = np.tanh(x @ np.array([[1.0, 0.5], [-1.0, 0.3], [0.2, 2.0]]))
weight = rng.uniform(0.1, 3.0, size=50)

model = keras.Sequential([
    keras.Input((3,)),
    keras.layers.Dense(6, activation="tanh", kernel_initializer=keras.initializers.Constant(0.2)),
    keras.layers.Dense(2, kernel_initializer="ones", bias_initializer=keras.initializers.Constant(-0.1)),
])
model.compile(optimizer=keras.optimizers.SGD(learning_rate=0.05), loss="mae", weighted_metrics=["mse"])
history = model.fit(x, y, batch_size=16, epochs=4, sample_weight=weight, shuffle=False, verbose=0)
weighted = model.evaluate(x, y, sample_weight=weight, verbose=0)
plain = model.evaluate(x, y, verbose=0)
result = {"history": history.history, "weighted": weighted, "plain": plain}
