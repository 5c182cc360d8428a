"""Curves as text: what training and validation did, in a terminal."""

import math

_UNICODE = {"train": "·", "held out": "●", "bar": "│", "corner": "└", "line": "─", "best": "▲"}
_ASCII = {"train": ".", "held out": "o", "bar": "|", "corner": "+", "line": "-", "best": "^"}


def draw(history, best=None, width=79, height=10, encoding="utf-8"):
    """The lines of a plot of "loss" and "val_loss" against the epoch.

    Parameters
    ----------
    history : dict of str to list of float
    best : int, optional
        The epoch to mark, counted from 0.
    width, height : int
        In characters; the height is that of the area within.
    encoding : str
        Of the output: where it has no signs of their own for the curves, letters stand for them.
    """
    signs = _UNICODE
    try:
        "".join(signs.values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        signs = _ASCII
    curves = {"train": history.get("loss", []), "held out": history.get("val_loss", [])}
    curves = {name: values for name, values in curves.items() if values}
    found = [v for values in curves.values() for v in values if math.isfinite(v)]
    epochs = max(map(len, curves.values()), default=0)
    if epochs < 2 or not found:
        return []
    low, high = min(found), max(found)
    logarithmic = low > 0 and high / low > 20
    place = math.log if logarithmic else float
    labels = [f"{v:.3g}" for v in (high, low)]
    margin = max(map(len, labels)) + 1
    columns = min(width - margin - 1, max(epochs, 20))
    span = place(high) - place(low) or 1.0
    rows = [[" "] * columns for _ in range(height)]

    def column_of(epoch):
        return round(epoch * (columns - 1) / (epochs - 1))

    for name, values in curves.items():
        for epoch, value in enumerate(values):
            if math.isfinite(value):
                row = round((place(high) - place(value)) / span * (height - 1))
                rows[row][column_of(epoch)] = signs[name]
    shown = {0: labels[0], height - 1: labels[1]}
    scale = ", logarithmic" if logarithmic else ""
    key = "   ".join(f"{signs[name]} {name}" for name in curves)
    lines = [f"Loss{scale}    {key}"]
    lines += [f"{shown.get(i, ''):>{margin - 1}} {signs['bar']}{''.join(row)}".rstrip() for i, row in enumerate(rows)]
    lines.append(" " * margin + signs["corner"] + signs["line"] * columns)
    foot = [" "] * (columns + 1)
    if best is not None:
        foot[column_of(best) + 1] = signs["best"]
    lines.append((" " * margin + "".join(foot)).rstrip())
    ends = f"epoch 1{epochs:>{max(columns - 7, 1)}}"
    lines.append(" " * (margin + 1) + ends)
    if best is None:
        lines.pop(-2)
    return lines
