"""
One step, number by number
==========================

A net is a chain of functions, :math:`r_i = \\sigma_i(A_i r_{i-1} + b_i)`. How much the loss changes with a weight
follows from the chain rule: the derivatives of all functions after the weight, multiplied. Back-propagation multiplies
them from the end, so that each layer takes what the one after it has already worked out.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers, plot

# %%
# A net small enough to follow
# ----------------------------
#
# Two inputs, two hidden sigmoids, one output, weights chosen by hand.

model = fnn.Sequential([
    fnn.Input((2,)),
    layers.Dense(2, activation="sigmoid", name="h"),
    layers.Dense(1, name="out"),
], dtype="float64")
model.set_weights([[[0.5, -1.0], [1.0, 0.5]], [0.0, 0.25], [[1.0], [-2.0]], [0.5]])
model.compile(fnn.optimizers.SGD(0.1), "mse")
x, y = np.array([[1.0, 2.0]]), np.array([[1.0]])

plot.architecture(model, style="neurons")
plt.show()

# %%
# `explain_step <fastnn.Model.explain_step>` writes down what one step computes: forward each :math:`r_i`, then the loss,
# then the factors of the chain rule from the last to the first, and the new weights.

explanation = model.explain_step(x, y)
print(explanation)

# %%
# Marked are the factors that are used again. :math:`\partial L / \partial r_2` is needed for the weights and the
# biases of its layer and for everything before it; without the mark's rule, "once and kept", a net of ten layers would
# work out its last factor ten times.
#
# The same as a page
# ------------------
#
# In a notebook the explanation shows itself like this. ``explanation.latex()`` gives it for a paper.

explanation

# %%
# Is it true?
# -----------
#
# A derivative can be measured: move one weight a little to both sides and see how the loss changes. The engine, which
# computes the same in C without writing it down, agrees with both.

weights = model.get_weights()
engine = model.gradients(x, y)
small = 1e-6
print("weight            measured      engine   by explain_step")
for place, name in enumerate(model.parameters):
    for index in np.ndindex(weights[place].shape):
        loss = []
        for side in (small, -small):
            moved = [w.copy() for w in weights]
            moved[place][index] += side
            model.set_weights(moved)
            loss.append(model.evaluate(x, y))
        measured = (loss[0] - loss[1]) / (2 * small)
        explained = explanation.gradients[name][index]
        print(f"{name + str(list(index)):15} {measured:10.6f} {engine[name][index]:11.6f} {explained:11.6f}")
model.set_weights(weights)

# %%
# Try next: a third layer, or relu in place of sigmoid: which factors become exactly zero, and what does that mean for the
# weights before them? For deep nets see :doc:`../3_network/3_deep`.
