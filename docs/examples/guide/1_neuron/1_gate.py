"""
A neuron weighs what it is told
===============================

A neuron multiplies each input by a weight, adds a bias, and passes the sum through an activation:

.. math:: y = \\varphi(\\omega \\cdot x + b)

With the step function for :math:`\\varphi` it answers yes or no: a logic gate whose inputs count for more or less.
"""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers


def neuron(weights, bias):
    """One neuron with the step function, its weights set by hand."""
    model = fnn.Sequential([fnn.Input((len(weights),)), layers.Dense(1, activation="step")])
    model.set_weights([np.reshape(weights, (-1, 1)), [bias]])
    return model


# %%
# Gates
# -----
#
# The step gives 1 from zero upwards. AND needs both inputs to get there, OR needs one, and a negative weight makes
# NOT. A majority of three is the same sum with another bias.

gates = {
    "AND": neuron([1, 1], -1.5),
    "OR": neuron([1, 1], -0.5),
    "NOT": neuron([-1], 0.5),
    "majority of 3": neuron([1, 1, 1], -1.5),
}
for name, gate in gates.items():
    inputs = np.array(list(product([0, 1], repeat=gate.input_shape[1])))
    answers = gate.predict(inputs).ravel().astype(int)
    print(f"{name:13}", "  ".join(f"{''.join(map(str, x))}->{y}" for x, y in zip(inputs, answers)))

# %%
# In the plane of the inputs, the weights point across a line and the bias moves it: on one side the neuron says 1,
# on the other 0. Between AND and OR only the bias differs.

grid = np.stack(np.meshgrid(np.linspace(-0.5, 1.5, 200), np.linspace(-0.5, 1.5, 200)), axis=-1)
corners = np.array(list(product([0, 1], repeat=2)))
fig, axes = plt.subplots(1, 2, sharey=True, figsize=(6.4, 3.3))
for ax, name in zip(axes, ("AND", "OR")):
    says = gates[name].predict(grid.reshape(-1, 2)).reshape(200, 200)
    ax.contourf(grid[..., 0], grid[..., 1], says, levels=[-0.5, 0.5, 1.5], colors=["#dbe4ee", "#f6c667"])
    ax.scatter(*corners.T, c=gates[name].predict(corners).ravel(), cmap="gray_r", edgecolors="k", s=70, zorder=2)
    ax.set(title=name, xlabel="first input", aspect="equal", xticks=[0, 1], yticks=[0, 1])
axes[0].set_ylabel("second input")
plt.show()

# %%
# Would I take this job?
# ----------------------
#
# Inputs need not count the same. Here good colleagues matter most, a long way to work speaks against the job, and the
# bias is how hard I am to please.

reasons = ["pays well", "good colleagues", "something to learn", "long commute"]
weights = [2, 3, 2, -2]
me = neuron(weights, bias=-3.5)

offers = np.array(list(product([0, 1], repeat=4)))
sums = offers @ weights - 3.5
taken = me.predict(offers).ravel() == 1
order = np.argsort(sums, kind="stable")

fig, (left, right) = plt.subplots(1, 2, sharey=True, width_ratios=[1, 2], figsize=(6.4, 4.2))
left.imshow(offers[order], aspect="auto", cmap="Greys", vmax=1.6, origin="lower")
left.set_xticks(range(4), reasons, rotation=60, ha="right")
left.set(yticks=[], ylabel="all sixteen offers")
right.barh(range(16), sums[order], color=np.where(taken[order], "#2a7f62", "#b8bec7"))
right.axvline(0, color="k", linewidth=1)
right.set(xlabel="weighted sum + bias", title="taken (green) from zero upwards")
plt.show()

# %%
# Try next: which bias makes you take a job for good colleagues alone? Which weights make the commute a veto, so that no
# offer with it is taken? Both questions have more than one answer; to choose among them from examples is to learn.
