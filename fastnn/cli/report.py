"""How good predictions are, as text."""

import numpy as np

_CONFUSED = 10  # classes up to which the table of confusions fits a screen
_LISTED = 20
_WIDTH = 12


def short(text, width=_WIDTH):
    """A label that fits a column."""
    text = "".join(c if c.isprintable() else "?" for c in str(text))
    return text if len(text) <= width else text[: width - 2] + ".."


def number(value):
    """A score to four digits."""
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def confusion(true, guessed, classes):
    """Counts, shape (classes, classes): rows are the true class, columns the guess."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (true, guessed), 1)
    return counts


def confusion_lines(counts, names):
    """A table of counts, with points for zero."""
    width = max(5, *(len(short(n, 8)) + 1 for n in names), len(str(counts.max())) + 1)
    first = max(len(short(n)) for n in names)
    lines = [" " * first + "".join(f"{short(n, 8):>{width}}" for n in names)]
    lines += [
        f"{short(name):>{first}}" + "".join(f"{count or '.':>{width}}" for count in row)
        for name, row in zip(names, counts)
    ]
    return lines


def classification(names, true, probabilities, shares):
    """The lines for classes.

    Parameters
    ----------
    names : list of str
    true : ndarray of int, shape (n,)
    probabilities : ndarray, shape (n, classes)
    shares : ndarray, shape (classes,)
        How frequent the classes are; guessing the most frequent one is what the model is compared with.
    """
    guessed = probabilities.argmax(1)
    usual = int(shares.argmax())
    picked = np.maximum(probabilities[np.arange(len(true)), true], 1e-15)
    always = np.maximum(shares / shares.sum(), 1e-15)
    rows = [
        ("accuracy", np.mean(guessed == true), np.mean(true == usual)),
        ("crossentropy", -np.mean(np.log(picked)), -np.mean(np.log(always[true]))),
    ]
    lines = _beside(rows, f"always {short(names[usual], 20)!r}")
    counts = confusion(true, guessed, len(names))
    if len(names) <= _LISTED:
        lines += ["", *_per_class(counts, names)]
    if len(names) <= _CONFUSED:
        lines += ["", "Confusions (rows: true class, columns: guess)", *confusion_lines(counts, names)]
    return lines


def _per_class(counts, names):
    hits = counts.diagonal()
    with np.errstate(invalid="ignore"):
        precision, recall = hits / counts.sum(0), hits / counts.sum(1)
    first = max(5, *(len(short(n, 30)) for n in names))
    lines = [f"{'class':<{first}}{'rows':>10}{'precision':>11}{'recall':>9}{'F1':>9}"]
    for i, name in enumerate(names):
        f1 = 2 * hits[i] / max(counts[i].sum() + counts[:, i].sum(), 1)
        cells = (precision[i], recall[i])
        shown = "".join(f"{'-' if np.isnan(v) else f'{v:.3f}':>{w}}" for v, w in zip(cells, (11, 9)))
        lines.append(f"{short(name, 30):<{first}}{counts[i].sum():>10,}{shown}{f1:>9.3f}")
    return lines


def regression(true, predicted, mean):
    """The lines for numbers, beside always predicting `mean`."""
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    total = np.sum((true - true.mean()) ** 2)
    rows = []
    for what in ("R2", "mean absolute error", "root mean squared error"):
        both = []
        for error in (true - predicted, true - mean):
            if what == "R2":
                both.append(1 - np.sum(error**2) / total if total else np.nan)
            else:
                both.append(np.mean(np.abs(error)) if "absolute" in what else np.sqrt(np.mean(error**2)))
        rows.append((what, *both))
    return _beside(rows, "always the mean")


def _beside(rows, other):
    first = max(len(row[0]) for row in rows) + 2
    width = max(14, len(other) + 2)
    lines = [f"{'':<{first}}{'the model':>14}{other:>{width}}"]
    return lines + [f"{what:<{first}}{number(own):>14}{number(base):>{width}}" for what, own, base in rows]
