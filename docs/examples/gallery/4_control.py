"""
Control: balancing a pole
=========================

A cart on a rail, a pole on the cart; a push to the left or to the right, fifty times a second. The net learns to keep the
pole up from nothing but trying: it plays many rounds, and learns to do again what it did in the best of them
(the cross-entropy method).
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers

# %%
# The physics
# -----------
#
# Position, speed, angle and angular speed of many carts at once, moved on by the equations of motion (Barto, Sutton and
# Anderson, 1983) in steps of 0.02 s. A round is over when the pole leans more than 12 degrees, the cart is 2.4 m from
# the middle, or 200 steps have passed.

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, STEP = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02


def moved(state, right):
    """The states (n, 4) one step after pushes to the right (n,) of bool."""
    x, speed, angle, turning = state.T
    push = np.where(right, FORCE, -FORCE)
    sine, cosine, total = np.sin(angle), np.cos(angle), CART + POLE
    pulled = (push + POLE * HALF_LENGTH * turning**2 * sine) / total
    angular = (GRAVITY * sine - cosine * pulled) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / total))
    linear = pulled - POLE * HALF_LENGTH * angular * cosine / total
    return np.stack([x + STEP * speed, speed + STEP * linear, angle + STEP * turning, turning + STEP * angular], axis=1)


# %%
# Playing and learning
# --------------------
#
# The net gives the probability of a push to the right. While it learns it draws its pushes by that probability, so rounds
# differ; the pushes of the best fifth of the rounds become its training data.

rng = np.random.default_rng(0)
fnn.set_seed(0)
scale = [1.0, 1.0, 0.1, 1.0]  # usual sizes of the four numbers
policy = fnn.Sequential([
    fnn.Input((4,)),
    layers.Rescaling(1 / np.array(scale)),
    layers.Dense(32, activation="tanh"),
    layers.Dense(1, activation="sigmoid"),
])
policy.compile(fnn.optimizers.Adam(0.01), "binary_crossentropy")


def play(rounds, choose, limit=200):
    """States (limit, rounds, 4), pushes (limit, rounds) and how many steps each round lasted."""
    state = rng.uniform(-0.05, 0.05, size=(rounds, 4))
    up, states, pushes = np.ones(rounds, bool), [], []
    lasted = np.zeros(rounds, int)
    for _ in range(limit):
        right = choose(policy.predict(state).ravel())
        states.append(state)
        pushes.append(right)
        lasted += up
        state = moved(state, right)
        up &= (abs(state[:, 0]) < 2.4) & (abs(state[:, 2]) < np.radians(12))
        state[~up] = 0  # over: parked, and not counted
        if not up.any():
            break
    return np.array(states), np.array(pushes), lasted


def drawn(probability):
    return rng.random(len(probability)) < probability


mean_lengths, best_lengths = [], []
for generation in range(15):
    states, pushes, lasted = play(60, drawn)
    mean_lengths.append(lasted.mean())
    elite = np.argsort(lasted)[-12:]
    best_lengths.append(lasted[elite].mean())
    playing = np.arange(len(states))[:, None] < lasted[elite]
    policy.fit(states[:, elite][playing], pushes[:, elite][playing], epochs=8, verbose=0)

fig, ax = plt.subplots()
ax.plot(best_lengths, "o-", label="best fifth")
ax.plot(mean_lengths, "o-", label="all rounds")
ax.set(xlabel="generation", ylabel="steps the pole stays up", ylim=(0, 210))
ax.legend()
plt.show()

# %%
# What it learned
# ---------------
#
# Without drawing, always the likelier push, and for a minute in place of four seconds:

states, pushes, lasted = play(20, lambda probability: probability > 0.5, limit=3000)
print(f"{(lasted == 3000).sum()} of 20 poles stay up for a minute; the shortest time is {lasted.min() / 50:.1f} s")

fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2))
left.plot(np.arange(300) / 50, np.degrees(states[:300, 0, 2]), color="#2f6690", linewidth=1)
left.set(xlabel="seconds", ylabel="angle in degrees")
angle, turning = np.meshgrid(np.radians(np.linspace(-12, 12, 80)), np.linspace(-1.5, 1.5, 80))
still = np.zeros_like(angle)
answer = policy.predict(np.stack([still, still, angle, turning], axis=-1).reshape(-1, 4)).reshape(80, 80)
picture = right.contourf(np.degrees(angle), turning, answer, levels=np.linspace(0, 1, 11), cmap="RdBu")
fig.colorbar(picture, ax=right, label="pushes right")
right.set(xlabel="angle in degrees", ylabel="angular speed")
plt.show()

# %%
# The map is what a person would do: push towards the side that the pole falls to.
#
# Try next: let the cart start off the middle, or give the net two pushes to choose from and a third, none.
