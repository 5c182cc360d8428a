"""
XOR takes three perceptrons
===========================

A perceptron draws one straight line. "One or the other, but not both" cannot be cut by one: the two yes lie on one
diagonal of the square and the two no on the other. Stacked, three perceptrons do it.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers

corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
xor = np.array([0, 1, 1, 0])

# %%
# One fails
# ---------
#
# No search is needed to see that: adding the two yes conditions :math:`w_2 + b \ge 0` and :math:`w_1 + b \ge 0`
# gives :math:`w_1 + w_2 + 2b \ge 0`, while the two no conditions say :math:`b < 0` and :math:`w_1 + w_2 + b < 0`, whose
# sum is :math:`w_1 + w_2 + 2b < 0`. A search over many lines agrees: three of four is the best there is.

w1, w2, b = np.meshgrid(*[np.linspace(-2, 2, 41)] * 3)
lines = layers.Dense(w1.size, activation="step")
one = fnn.Sequential([fnn.Input((2,)), lines])
one.set_weights([np.stack([w1.ravel(), w2.ravel()]), b.ravel()])
right = (one.predict(corners) == xor[:, None]).sum(axis=0)
for count in range(5):
    print(f"{count} corners right: {(right == count).sum():6} of {right.size} lines")

# %%
# Three solve it
# --------------
#
# The first layer asks two questions, OR and AND; the second says yes to the first without the second.

stack = fnn.Sequential([
    fnn.Input((2,)),
    layers.Dense(2, activation="step", name="or_and"),
    layers.Dense(1, activation="step", name="first_without_second"),
])
stack.set_weights([
    [[1, 1], [1, 1]], [-0.5, -1.5],
    [[1], [-1]], [-0.5],
])
print(stack.predict(corners).ravel())

# %%
# What the hidden layer does is move the corners: in its plane (0,1) and (1,0) fall on one point, and one line is enough.

hidden = fnn.Model(stack.input, stack.get_layer("or_and").output)
axis = np.linspace(-0.5, 1.5, 200)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

fig, (left, middle) = plt.subplots(1, 2, figsize=(6.4, 3.4), sharey=True)
left.contourf(axis, axis, stack.predict(grid).reshape(200, 200), levels=[-0.5, 0.5, 1.5], colors=["#dbe4ee", "#f6c667"])
left.scatter(*corners.T, c=xor, cmap="gray_r", edgecolors="k", s=70)
left.set(title="inputs", xlabel="first", ylabel="second", xticks=[0, 1], yticks=[0, 1], aspect="equal")
second = fnn.Sequential([fnn.Input((2,)), layers.Dense(1, activation="step")])
second.set_weights(stack.get_layer("first_without_second").get_weights())
middle.contourf(axis, axis, second.predict(grid).reshape(200, 200), levels=[-0.5, 0.5, 1.5], colors=["#dbe4ee", "#f6c667"])
middle.scatter(*hidden.predict(corners).T, c=xor, cmap="gray_r", edgecolors="k", s=70)
middle.set(title="hidden layer", xlabel="OR", ylabel="AND", xticks=[0, 1], aspect="equal")
plt.show()

# %%
# Try next: XOR of three inputs, "an odd number of them is on". How many neurons does the hidden layer need?
# Setting weights by hand ends soon after; the next page asks what stands in the way of learning them.
