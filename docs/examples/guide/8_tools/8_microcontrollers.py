"""
On a microcontroller
====================

A microcontroller has some kilobytes of memory, no operating system and no Python. ``export_c`` writes a net for it as one
file of C: the weights as constants, which stay in flash, and a function that computes a sample.

Here is a classifier of handwritten digits that fits into a processor for a few cents.
"""

import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers

fnn.set_seed(0)
X, y = fnn.datasets.load_digits()
X, test = (X / 16).astype("float32"), np.arange(len(X)) % 3 == 0

model = fnn.Sequential(
    [
        fnn.Input((64,), name="pixels"),
        layers.Dense(32, activation="relu", name="h1"),
        layers.BatchNormalization(name="norm"),
        layers.Dense(16, activation="tanh", name="h2"),
        layers.Dense(10, activation="softmax", name="digit"),
    ]
)
model.class_names = [str(digit) for digit in range(10)]
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(X[~test], y[~test], epochs=60, verbose=0)
print(f"accuracy {model.evaluate(X[test], y[test], verbose=0)[1]:.3f}")

# %%
# The header
# ----------
#
# It begins with how to call it and how much memory that takes. Names in it begin with the name of the file.

folder = Path(tempfile.mkdtemp())
model.export_c(folder / "net.h")
text = (folder / "net.h").read_text()
print(text[: text.index("#ifndef")])

# %%
# At its end stands the net, a loop for each layer. Batch normalization has gone into the weights of the layer after it, as by
# ``freeze``. All that is between the layers lies in ``scratch``, which the caller provides: what is not needed at the same time
# shares its place, and the last layer works in the output itself.

print(text[text.index("static inline void net_predict") : text.index("#endif", text.index("static inline void"))])

# %%
# A quarter of the bytes
# ----------------------
#
# ``freeze(weights="int8")`` rounds each weight to one of 255 steps, and its ``export_c`` keeps them so. The products are then
# of integers, which also a processor without floating point is quick at.

small = model.freeze(weights="int8", validation_data=(X[test], y[test]))
print(small.report)
small.export_c(folder / "small.h")

# %%
# It computes the same
# --------------------
#
# Any compiler of C will do; here it is that of this machine. The program reads pictures and writes the ten probabilities of
# each.

PROGRAM = """
#include "NAME.h"
#include <stdio.h>

static NAME_scratch scratch;

int main(void) {
    float x[64], y[10];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        NAME_predict(x, y, &scratch);
        fwrite(y, sizeof y, 1, stdout);
    }
    return 0;
}
"""

for name, frozen in (("net", model.freeze()), ("small", small)):
    (folder / f"{name}.c").write_text(PROGRAM.replace("NAME", name))
    subprocess.run(["cc", "-std=c99", "-O2", f"{name}.c", "-o", name, "-lm"], cwd=folder, check=True)
    made = subprocess.run([folder / name], input=X[test].tobytes(), stdout=subprocess.PIPE, check=True).stdout
    probabilities = np.frombuffer(made, "float32").reshape(-1, 10)
    right = (probabilities.argmax(axis=1) == y[test]).mean()
    print(f"{name}: accuracy {right:.3f}, largest difference to fastnn {np.abs(probabilities - frozen(X[test])).max():.1e}")

# %%
# How small can it be?
# --------------------
#
# The weights are nearly all of it. So the width of the first layer is what to turn: below, each point is a net of another
# width, with the flash that its int8 weights take and how well it reads digits it has never seen.

sizes, scores = [], []
for width in (2, 4, 8, 16, 32, 64):
    fnn.set_seed(0)
    net = fnn.Sequential([fnn.Input((64,)), layers.Dense(width, "relu"), layers.Dense(10, "softmax")])
    net.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    net.fit(X[~test], y[~test], epochs=60, verbose=0)
    report = net.freeze(weights="int8", validation_data=(X[test], y[test])).report
    sizes.append(report.bytes_after)
    scores.append(report.after["accuracy"])

fig, ax = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
ax.plot(sizes, scores, "o-")
ax.set(xlabel="bytes of weights", ylabel="accuracy on unseen digits")
ax.grid(alpha=0.3)
plt.show()

# %%
# On the board
# ------------
#
# For a Cortex-M4 with its floating-point unit, as in many a board, the compiler is
#
# .. code-block:: text
#
#    arm-none-eabi-gcc -std=c99 -O2 -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 ...
#
# Its unit has fused multiply-add, in which the sums are written, so even the bits of dense layers are those of fastnn. A
# smaller processor has none: ``-DNET_FMA(a,b,c)=((a)*(b)+(c))`` is quicker there, and the same up to rounding. With ``-Os`` the
# int8 net above takes 4 kB of flash, code and all, and 320 bytes of memory.
#
# What a header cannot have is refused, with the names of the layers: lookups of text, and layers that look at a whole batch.
