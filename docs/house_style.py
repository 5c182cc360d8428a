"""How pictures of the guide look: sphinx-gallery calls `apply` before each script."""

import matplotlib

import fastnn


def apply(gallery_conf, fname):
    """A script starts like a fresh interpreter would: style set, layers counted from one."""
    matplotlib.use("agg")
    matplotlib.rcdefaults()
    matplotlib.rcParams.update({
        "figure.figsize": (6.4, 3.6),
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "savefig.bbox": "tight",
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "lines.linewidth": 2,
        "legend.frameon": False,
        "image.cmap": "viridis",
    })  # fmt: skip
    fastnn.reset_names()
