"""Fair timing: all sides take turns, so that a machine that slows down does so for all of them."""

import statistics
import time


# A BLAS keeps its threads spinning for some 30 ms after a call; the next side would have to share the cores with them.
SETTLE = 0.1


def interleave(sides, rounds, least=0.05):
    """Times functions in turns.

    Parameters
    ----------
    sides : dict of str to callable
    rounds : int
        Turns of each; one more is thrown away first.
    least : float
        Seconds that a turn should take at least: short functions are called as often as that needs.

    Returns
    -------
    dict of str to list of float
        Seconds a call, one for each round.
    """
    repeats = {}
    for name, function in sides.items():
        time.sleep(SETTLE)
        function()
        start = time.perf_counter()
        function()
        repeats[name] = max(1, round(least / max(time.perf_counter() - start, 1e-7)))
    seconds = {name: [] for name in sides}
    for _ in range(rounds):
        for name, function in sides.items():
            turns = range(repeats[name])
            time.sleep(SETTLE)
            if len(turns) > 1:
                function()
            start = time.perf_counter()
            for _ in turns:
                function()
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    return seconds


def summary(seconds, unit=1.0, first="fastnn"):
    """Median and best time of each side in `unit` seconds; the median of each round's ratio to `first`."""
    row = {}
    for name, times in seconds.items():
        median, best = statistics.median(times) / unit, min(times) / unit
        row[name] = {"median": median, "best": best, "rounds": len(times)}
        if name != first:
            row[name]["ratio"] = statistics.median(t / own for t, own in zip(times, seconds[first]))
    return row
