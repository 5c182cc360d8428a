import keras
import numpy as np

rng = np.random.RandomState(14)
x = rng.normal(size=(60, 5)).astype("float32")
y = np.sin(x[:, :2])

schedule = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=5, decay_rate=0.8, staircase=True)
optimizer = keras.optimizers.SGD(learning_rate=schedule, momentum=0.8, nesterov=True, clipnorm=0.5)
model = keras.Sequential([
    keras.Input((5,)),
    keras.layers.Dense(12, activation="softsign"),
    keras.layers.Dense(2),
])
model.set_weights([0.4 * np.cos(2 * np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile(optimizer=optimizer, loss=keras.losses.MeanSquaredError(),
              metrics=[keras.metrics.MeanAbsoluteError()])
history = model.fit(x, y, batch_size=12, epochs=4, shuffle=False, verbose=0)
rates = [float(schedule(step)) for step in range(0, 20, 3)]
result = {"history": history.history, "rates": rates, "prediction": model.predict(x, verbose=0)}
