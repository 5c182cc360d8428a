import keras
import numpy as np

x = np.linspace(-4, 4, 36).reshape(9, 4).astype("float32")
names = ["linear", "sigmoid", "hard_sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu",
         "mish", "softplus", "softsign", "softmax", "log_softmax"]
result = {}
for name in names:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, activation=name)])
    kernel, bias = model.get_weights()
    model.set_weights([np.cos(np.arange(20)).reshape(kernel.shape), np.linspace(-0.5, 0.5, 5)])
    result[name] = model.predict(x, verbose=0)
