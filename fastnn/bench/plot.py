"""The figures of a run as a picture: what a step and a prediction take, net by net; needs matplotlib."""

from ..errors import MissingExtraError
from .nets import NETS

PANELS = (
    ("a training step", lambda run: run.get("training", {}), lambda net: net.flops, "flops of a step"),
    ("a prediction of one sample", lambda run: run.get("inference", {}).get("1", {}),
     lambda net: net.forward_flops(1), "flops of a prediction"),
)
STYLES = {
    "fastnn": ("#c1272d", "o", "-"), "numpy": ("#4d77cf", "s", "-"), "torch": ("#e8862e", "^", "-"),
    "torch.compile": ("#e8862e", "v", "--"), "jax": ("#7b4fa3", "D", "--"), "jax scan": ("#7b4fa3", "d", "-"),
    "sklearn": ("#3a9a5b", "P", "-"), "onnxruntime": ("#5a5a5a", "X", "-"), "limit": ("black", None, ":"),
}  # fmt: skip
LABELS = {"limit": "the machine's limit"}


def draw(axes, rows, size, sides):
    for side in sides:
        measured = [net for net in NETS if side in rows.get(net.name, {})]
        if measured:
            points = sorted((size(net), rows[net.name][side]["median"]) for net in measured)
            color, marker, line = STYLES[side]
            width, order = (2.2, 3) if side == "fastnn" else (1.2, 2)
            axes.plot(*zip(*points), color=color, marker=marker, linestyle=line, linewidth=width, zorder=order,
                      markersize=5, label=LABELS.get(side, side))


def picture(run, path):
    """Draws the training steps and the predictions of one sample that a run measured, in a file by its ending."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.of("a plot of the benchmark", "matplotlib", "plot") from error
    shown = [panel for panel in PANELS if panel[1](run)]
    if not shown:
        return
    # A salt of its own: the same figures give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "fastnn"}):
        figure = Figure(figsize=(5.2 * len(shown), 4.4), layout="constrained")
        all_axes = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (title, rows, size, label) in zip(all_axes, shown):
            draw(axes, rows(run), size, STYLES)
            axes.set(xscale="log", yscale="log", xlabel=label, ylabel="microseconds", title=title)
            axes.grid(alpha=0.25)
        labelled = {label: line for axes in all_axes for line, label in zip(*axes.get_legend_handles_labels())}
        labels = sorted(labelled, key=[LABELS.get(side, side) for side in STYLES].index)
        figure.legend([labelled[label] for label in labels], labels, loc="outside right center", frameon=False)
        machine = run["machine"]
        figure.suptitle(f"{machine['cpu']}, {run['threads']} threads, float32, {run['date']}", fontsize=10)
        figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None)
