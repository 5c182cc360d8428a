import keras
import numpy as np

rng = np.random.RandomState(18)
x = rng.normal(size=(24, 5, 3)).astype("float32")
y = np.argmax(x, axis=-1)

inputs = keras.Input((5, 3))
h = keras.layers.Dense(8, activation="relu")(inputs)
h = keras.layers.Concatenate(axis=-1)([inputs, h])
model = keras.Model(inputs, keras.layers.Dense(3)(h))
model.set_weights([0.4 * np.sin(2 * np.arange(w.size) + i).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile(optimizer=keras.optimizers.SGD(0.3),
              loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
              metrics=["accuracy"])
history = model.fit(x, y, batch_size=9, epochs=4, shuffle=False, verbose=0)
result = {"history": history.history, "logits": model.predict(x[:3], verbose=0)}
