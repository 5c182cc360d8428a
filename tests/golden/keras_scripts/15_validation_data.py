import keras
import numpy as np

rng = np.random.RandomState(15)
x = rng.normal(size=(70, 6)).astype("float32")
y = x[:, 0] ** 2 - x[:, 1]
xv, yv = x[50:], y[50:]

model = keras.Sequential([
    keras.Input((6,)),
    keras.layers.Dense(10, activation="hard_sigmoid"),
    keras.layers.Dense(1),
])
model.set_weights([0.7 * np.sin(np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile(optimizer=keras.optimizers.Adam(0.02, beta_1=0.8, epsilon=1e-5),
              loss=keras.losses.Huber(delta=0.7), metrics=["mae", "mse"])
history = model.fit(x[:50], y[:50], batch_size=16, epochs=5,
                    validation_data=(xv, yv), shuffle=False, verbose=0)
result = {"history": history.history, "scores": model.evaluate(xv, yv, batch_size=7, verbose=0)}
