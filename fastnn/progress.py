"""The progress of `fit`, `evaluate` and `predict` on the screen."""

import contextlib
import contextvars
import sys
import time

# The display of all that is shown in this context, where another than `verbose` says.
_taken = contextvars.ContextVar("display", default=None)


def _in_notebook():
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _format(value):
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def _summary(names, values):
    """Names and numbers; metrics that are arrays are too large for a line."""
    return " - ".join(f"{n}: {_format(v)}" for n, v in zip(names, values) if not getattr(v, "ndim", 0))


class Silent:
    """verbose=0."""

    live = False

    def start(self, label, total, unit="sample"):
        pass

    def update(self, done, names, values):
        pass

    def finish(self, names, values):
        pass

    def close(self):
        pass


class Lines(Silent):
    """verbose=2, and a bar's stand-in where the output is redirected: one line an epoch."""

    def start(self, label, total, unit="sample"):
        self._label, self._total, self._unit, self._begun = label, total, unit, time.perf_counter()

    def finish(self, names, values):
        seconds = time.perf_counter() - self._begun
        rate = "" if self._total is None else f"{self._total / max(seconds, 1e-9):,.0f} {self._unit}s/s - "
        shown = f"{self._label} - {seconds:.3g} s - {rate}{_summary(names, values)}"
        print(shown.removesuffix(" - "), flush=True)


class Bar(Lines):
    """verbose=1 on a terminal or in a notebook: a tqdm bar, which gives way to its line when an epoch ends.

    A bar is cut off at the width of the screen; a line shows all values.
    """

    live = True

    def __init__(self):
        from tqdm.auto import tqdm  # only here: its import costs more than fastnn's

        self._tqdm = tqdm
        self._bar = None

    def start(self, label, total, unit="sample"):
        super().start(label, total, unit)
        import shutil

        # tqdm shows nothing on a terminal that does not tell its size; this falls back to 80 by 24.
        size = shutil.get_terminal_size()
        self._bar = self._tqdm(
            total=total,
            desc=label,
            unit=unit,
            unit_scale=True,
            file=sys.stdout,
            leave=False,
            mininterval=0,
            ncols=None if _in_notebook() else size.columns,
            nrows=size.lines,
        )
        self._done = 0

    def update(self, done, names, values):
        if names:
            self._bar.set_postfix_str(_summary(names, values), refresh=False)
        self._bar.update(done - self._done)
        self._done = done

    def finish(self, names, values):
        self.close()
        super().finish(names, values)

    def close(self):
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextlib.contextmanager
def taken_over(display):
    """In this block and thread `make` gives this display."""
    before = _taken.set(display)
    try:
        yield
    finally:
        _taken.reset(before)


def make(verbose):
    """The display for a checked `verbose`: 0, 1, 2 or "auto" (which is 1)."""
    if _taken.get() is not None:
        return _taken.get()
    if verbose == 0:
        return Silent()
    if verbose != 2:
        if _in_notebook() or getattr(sys.stdout, "isatty", bool)():
            return Bar()
    return Lines()
