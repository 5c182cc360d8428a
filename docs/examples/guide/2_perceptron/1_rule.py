"""
The perceptron learns from its mistakes
=======================================

A perceptron is a neuron with the step function, :math:`f(x) = 1` if :math:`\\theta \\cdot x - b \\ge 0`, else 0. Its rule
looks at one sample at a time. Where the answer is right, nothing happens; where it is wrong, the weights move by the
sample, towards it or away:

.. math:: \\theta \\leftarrow \\theta + \\alpha \\, (y - \\tilde y) \\, x
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.svm import SVC

import fastnn as fnn
from fastnn import plot

rng = np.random.default_rng(3)
x = np.concatenate([rng.normal([1.2, 0.6], [0.4, 0.7], (40, 2)), rng.normal([2.8, 1.6], [0.4, 0.7], (40, 2))])
y = np.repeat([0, 1], 40)
order = rng.permutation(80)
x, y = x[order], y[order]


def border(model, at):
    """The second coordinate of the line where the answer changes."""
    return -(model.coef_[0, 0] * at + model.intercept_[0]) / model.coef_[0, 1]


# %%
# Epoch by epoch
# --------------
#
# `partial_fit <fastnn.Perceptron.partial_fit>` sees all samples once. The line is dragged about by each mistake; once an
# epoch passes without one, it stays for ever.

perceptron = fnn.Perceptron(random_state=0)
at = np.array([-1, 5])
view = {"xlim": (0, 4), "ylim": (-1.2, 3.6)}
fig, ax = plt.subplots(figsize=(5.6, 4.2))
ax.scatter(*x.T, c=y, cmap="coolwarm", s=18)
for epoch in range(1, 20):
    perceptron.partial_fit(x, y, classes=[0, 1])
    mistakes = perceptron.mistakes_[-1, 0]
    ax.plot(at, border(perceptron, at), color="k", alpha=min(1, 0.12 * epoch), linewidth=1)
    print(f"epoch {epoch}: {mistakes} mistakes")
    if mistakes == 0:
        break
ax.set(**view, title="the line after each epoch, later ones darker")
plt.show()

# %%
# A bound on all mistakes
# -----------------------
#
# If a line separates the classes with a margin γ, and no sample is longer than R, the rule makes at most
# :math:`(R/\gamma)^2` mistakes, however many samples there are: each mistake turns the weights towards the separating ones
# more than it can make them longer. A linear support vector machine finds the line with the largest margin; the
# perceptron takes the first one that fits.

svm = SVC(kernel="linear", C=1e6).fit(x, y)
perceptron = fnn.Perceptron(random_state=0).fit(x, y)

extended = np.c_[x, np.ones(80)]  # b as the weight of a constant 1
theta = np.r_[svm.coef_[0], svm.intercept_]
margin = np.min(np.abs(extended @ theta)) / np.linalg.norm(theta)
bound = (np.linalg.norm(extended, axis=1).max() / margin) ** 2
print(f"mistakes made: {perceptron.mistakes_.sum()}, bound: {bound:.0f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), sharey=True)
for ax, model, name in ((left, perceptron, "perceptron"), (right, svm, "linear SVM")):
    ax.scatter(*x.T, c=y, cmap="coolwarm", s=12)
    ax.plot(at, border(model, at), "k", linewidth=1.5)
    ax.set(**view, title=name)
distance = 1 / np.linalg.norm(svm.coef_)
shift = distance * np.hypot(1, svm.coef_[0, 0] / svm.coef_[0, 1])
right.plot(at, border(svm, at) + shift, "k--", at, border(svm, at) - shift, "k--", linewidth=1)
plt.show()

# %%
# Both are right about all samples here. On new ones the line in the middle is the better guess.
#
# Where no line fits
# ------------------
#
# With classes that overlap the rule never comes to rest: there is always a mistake, and after it another line. The class
# says so.

mixed = x + rng.normal(scale=0.9, size=x.shape)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    restless = fnn.Perceptron(max_iter=60, random_state=0).fit(mixed, y)
print(caught[0].message)

fig, ax = plt.subplots()
ax.plot(range(1, 61), restless.mistakes_[:, 0], label="overlapping classes")
ax.plot(range(1, perceptron.n_iter_ + 1), perceptron.mistakes_[:, 0], "o-", label="separable classes")
ax.set(xlabel="epoch", ylabel="mistakes")
ax.legend()
plt.show()

# %%
# The last line it had is as good as any other that it came by:

plot.decision_boundary(restless, mixed, y)
plt.show()

# %%
# Ten digits
# ----------
#
# More than two classes are learned one against the rest, and the weights of each are a template that the data have drawn.

images, labels = fnn.datasets.load_digits()
images = images / 16
test = np.arange(len(images)) % 5 == 0
digits = fnn.Perceptron(max_iter=30, tol=1e-3).fit(images[~test], labels[~test])
print(f"accuracy on unseen digits: {digits.score(images[test], labels[test]):.3f}")

fig, axes = plt.subplots(2, 5, figsize=(6.4, 2.9))
for digit, ax in enumerate(axes.flat):
    template = digits.coef_[digit].reshape(8, 8)
    ax.imshow(template, cmap="RdBu_r", vmin=-abs(template).max(), vmax=abs(template).max())
    ax.set(xticks=[], yticks=[], title=digit)
plt.show()

# %%
# Try next: ``Perceptron(eta0=100)``. From weights of zero, does the rate change anything?
