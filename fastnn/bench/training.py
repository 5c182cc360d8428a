"""Training: microseconds a step of a whole epoch, shuffling and gathering of batches included."""

from .rounds import interleave, summary
from .sides import SideError

TITLE = "Training, microseconds a step (Adam, a whole shuffled epoch)"
CHECKED_STEPS = 100
TOLERANCE = 1e-4


def check(net, sides, steps):
    """Raises unless all sides reach the same losses in as many steps from the same weights."""
    losses = {name: side.losses(net, steps) for name, side in sides.items()}
    first, *others = losses
    for name in others:
        for mine, theirs in zip(losses[first], losses[name]):
            if not abs(mine - theirs) <= TOLERANCE * max(abs(mine), abs(theirs)):
                raise SideError(f"{net.name}: mean losses of two epochs in {steps} steps differ: "
                                   f"{first} {losses[first]}, {name} {losses[name]}")


def run(net, sides, quick, limit=None):
    """One row of the table: `net` trained by every side, beside the machine's limit where that is given."""
    check(net, sides, 4 if net.large else CHECKED_STEPS)
    steps = net.steps if net.large or not quick else max(net.steps // 5, 2)
    for side in sides.values():
        side.prepare_training(net, steps)
    clocks = dict(sides)
    if limit is not None:
        clocks["limit"] = limit.clock(net.dtype, steps * net.flops)
    rounds = (1 if quick else 3) if net.large else (5 if quick else 9)
    return summary(interleave(clocks, rounds, 0.0 if net.large else 0.1), 1e-6 * steps)
