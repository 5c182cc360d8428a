"""
Reading a clock: two stages, or one net from the pixels
=======================================================

Pictures of a clock's hand, 16 × 16 pixels, and the hour it shows, drawn by a formula: `fastnn.datasets.make_clock`. The
hand goes round once in 24 hours. One can first turn a picture into a few numbers and learn from those, or let one net find
its own way from the pixels to the hour.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

import fastnn as fnn
from fastnn import datasets, layers

train, train_hours = datasets.make_clock(500, noise=0.15, random_state=0)
test, test_hours = datasets.make_clock(1000, noise=0.15, random_state=1)

fig, axes = plt.subplots(1, 5, figsize=(6.4, 1.7))
for ax, picture, hour in zip(axes, train, train_hours):
    ax.imshow(picture.reshape(16, 16), cmap="gray_r")
    ax.set(xticks=[], yticks=[], title=f"{int(hour)}:{int(hour % 1 * 60):02d}")
plt.show()

# %%
# The error is circular
# ---------------------
#
# 23:59 and 0:01 are two minutes apart, not a day. An error that does not know this punishes good answers, and a model that
# answers with one number must jump where the day ends. So the net answers with a point on the circle,
# :math:`(\sin, \cos)` of the angle, and the hour is read from it.


def error(answers, hours):
    """Hours between answer and truth, the short way round."""
    apart = np.abs(answers - hours) % 24
    return np.minimum(apart, 24 - apart)


def point(hours):
    return np.stack([np.sin(2 * np.pi * hours / 24), np.cos(2 * np.pi * hours / 24)], axis=1)


def hour(points):
    return np.arctan2(points[:, 0], points[:, 1]) * 24 / (2 * np.pi) % 24


# %%
# Two stages
# ----------
#
# First a representation: the main components of the pictures, or a quantity that a person would think of, the angle of the
# dark pixels' centre of mass. Then a model of its own on top: a support vector machine or a tree.


def centre(pictures):
    """The angle of the centre of mass, as an hour."""
    right, up = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(1, -1, 16))
    return hour(np.stack([pictures @ right.ravel(), pictures @ up.ravel()], axis=1))[:, None]


answers = {}
pca = PCA(8, random_state=0).fit(train)
for name, make in (
    ("SVM", lambda: make_pipeline(StandardScaler(), SVR(C=100, epsilon=0.1))),
    ("tree", lambda: DecisionTreeRegressor(min_samples_leaf=3, random_state=0)),
):
    answers[f"PCA, {name}"] = make().fit(pca.transform(train), train_hours).predict(pca.transform(test))
    answers[f"angle, {name}"] = make().fit(centre(train), train_hours).predict(centre(test))

# %%
# One net, end to end
# -------------------

fnn.set_seed(0)
net = fnn.Sequential([
    fnn.Input((256,)),
    layers.GaussianNoise(0.3),
    layers.Dense(64, activation="relu"),
    layers.Dense(32, activation="relu"),
    layers.Dense(2),
])
net.compile(fnn.optimizers.Adam(fnn.schedules.CosineDecay(3e-3, 150 * 16)), "mse")
net.fit(train, point(train_hours), epochs=150, verbose=0)
answers["net, from pixels"] = hour(net.predict(test))

for name, answer in answers.items():
    apart = error(answer, test_hours)
    print(f"{name:17} mean error {60 * apart.mean():5.1f} minutes, worst {60 * apart.max():4.0f}")

# %%
# Where the errors lie: the two-stage models are worst round midnight, where the hours they were taught jump from 24 to 0.
# Given points on the circle as targets, they would not be.

fig, axes = plt.subplots(len(answers), 1, figsize=(6.4, 6), sharex=True, sharey=True)
for ax, (name, answer) in zip(axes, answers.items()):
    ax.plot(test_hours, 60 * error(answer, test_hours), ".", color="#2f6690", markersize=4)
    ax.text(0.5, 0.86, name, transform=ax.transAxes, ha="center", va="top", bbox={"facecolor": "w", "edgecolor": "none"})
axes[2].set_ylabel("error in minutes")
axes[-1].set(xlabel="hour", xticks=range(0, 25, 4), ylim=(0, 400))
plt.show()

# %%
# Two stages are easy to look into, and good when the right quantity is known. End to end nobody needs to know it, but the
# net needs pictures enough to find it.
#
# Try next: train the SVM on the two numbers of ``point`` (``sklearn.multioutput``), and take 100 pictures in place of 500.
