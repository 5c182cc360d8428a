import keras
import numpy as np

rng = np.random.RandomState(9)
x = rng.uniform(size=(48, 10)).astype("float32")
y = rng.randint(0, 3, size=48)

model = keras.Sequential([
    keras.Input((10,)),
    keras.layers.Dense(16, activation="relu"),
    keras.layers.Dense(3),
])
model.set_weights([0.3 * np.sin(np.arange(w.size) * (i + 1)).reshape(w.shape)
                   for i, w in enumerate(model.get_weights())])
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.02),
              loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
steps = []
for _ in range(3):
    for start in range(0, 48, 12):
        loss, accuracy = model.train_on_batch(x[start:start + 12], y[start:start + 12])
        steps.append([loss, accuracy])
test = model.test_on_batch(x, y, return_dict=True)
result = {"steps": steps, "test": test, "prediction": model.predict_on_batch(x[:4])}
