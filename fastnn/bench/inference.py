"""Prediction: microseconds a call, for one sample and for many."""

from .rounds import interleave, summary
from .sides import SideError

TITLE = "Prediction, microseconds a call, batch {rows}"
ROWS = (1, 1024)
TOLERANCE = 1e-4  # of the largest output


def check(net, outputs):
    """Raises unless all sides predict the same; `outputs` are rows of numbers by side."""
    first, *others = outputs
    flat = {name: [value for row in rows for value in row] for name, rows in outputs.items()}
    largest = max(map(abs, flat[first]))
    for name in others:
        if not all(abs(a - b) <= TOLERANCE * largest for a, b in zip(flat[first], flat[name], strict=True)):
            raise SideError(f"{net.name}: predictions of {first} and {name} differ")


def run(net, sides, quick, rows, limit=None):
    """One row of the table: `rows` samples predicted by every side, beside the machine's limit where that is given."""
    check(net, {name: side.prepare_inference(net, rows) for name, side in sides.items()})
    clocks = dict(sides)
    if limit is not None:
        clocks["limit"] = limit.clock(net.dtype, net.forward_flops(rows), net.nbytes)
    return summary(interleave(clocks, 3 if net.large and quick else 7, 0.02 if quick else 0.1), 1e-6)
