"""What `fit` returns."""


def _text(value):
    """A number to four places, or the shape of a metric that is an array."""
    return f"array {value.shape}" if getattr(value, "ndim", 0) else f"{value:.4g}"


class History:
    """Loss and metrics of each epoch of one call of `Model.fit`.

    Attributes
    ----------
    history : dict of str to list
        One value an epoch, a float or for some metrics an array, under each of "loss", the metrics' names,
        and the same with `val_` in front where there is validation data; also what callbacks add to the logs,
        such as "learning_rate".
    epoch : list of int
        Epoch indices, counted from 0.
    params : dict
        What `fit` was called with: "epochs", "steps" (per epoch), "batch_size", "samples", "verbose".
    seed : int
        The seed of shuffling and dropout: `fit(..., seed=history.seed)` on equal weights repeats the run.
    """

    def __init__(self, params, seed):
        self.history = {}
        self.epoch = []
        self.params = params
        self.seed = seed

    def __repr__(self):
        count = len(self.epoch)
        last = "".join(f", {name}={_text(values[-1])}" for name, values in self.history.items() if values)
        return f"<History of {count} epoch{'' if count == 1 else 's'}{last}, seed={self.seed}>"

    def _repr_html_(self):
        names = list(self.history)
        shown = list(range(len(self.epoch)))
        if len(shown) > 20:
            shown = [*shown[:5], None, *shown[-10:]]
        rows = []
        for i in shown:
            if i is None:
                cells = "<td>…</td>" * (len(names) + 1)
            else:
                cells = f"<td>{self.epoch[i] + 1}</td>"
                cells += "".join(f"<td>{_text(self.history[name][i])}</td>" for name in names)
            rows.append(f"<tr>{cells}</tr>")
        from html import escape

        head = "".join(f"<th>{escape(name)}</th>" for name in ("epoch", *names))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
