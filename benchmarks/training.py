"""Training: microseconds a step of a whole epoch, shuffling and gathering of batches included."""

from dataclasses import replace

from .rounds import interleave, summary

TITLE = "Training, microseconds a step (float32, Adam, a whole shuffled epoch)"
CHECKED_STEPS = 100
# Adam turns the last bit of a gradient near zero into a whole step: at a larger rate the losses of the deep
# nets drift apart even between runs of one side whose starting weights differ by a rounding error.
CHECKED_RATE = 1e-4
TOLERANCE = 1e-4


def check(net, sides, steps):
    """Raises unless all sides reach the same losses in as many steps from the same weights."""
    net = replace(net, learning_rate=CHECKED_RATE)
    x, y = net.data(net.batch * steps // 2)
    losses = {}
    for name, side in sides.items():
        trainer = side.Trainer(net, net.weights())
        losses[name] = [trainer.steps(x, y) for _ in range(2)]
    first, *others = losses
    for name in others:
        for mine, theirs in zip(losses[first], losses[name]):
            if not abs(mine - theirs) <= TOLERANCE * max(abs(mine), abs(theirs)):
                raise RuntimeError(f"{net.name}: mean losses of two epochs in {steps} steps differ: "
                                   f"{first} {losses[first]}, {name} {losses[name]}")


def run(net, sides, quick):
    """One row of the table: `net` trained by every side."""
    # A net that takes a second a step is checked and timed over few of them.
    large = net.flops > 1e10
    check(net, sides, 4 if large else CHECKED_STEPS)
    steps = net.steps if large or not quick else max(net.steps // 5, 2)
    x, y = net.data(net.batch * steps)
    trainers = {name: side.Trainer(net, net.weights()) for name, side in sides.items()}
    functions = {name: (lambda t=trainer: t.epoch(x, y)) for name, trainer in trainers.items()}
    rounds = (1 if quick else 3) if large else (5 if quick else 9)
    return summary(interleave(functions, rounds, 0.0 if large else 0.1), 1e-6 * steps)
