"""Fair timing: all sides take turns, so that a machine that slows down does so for all of them."""

import statistics
import time

# A BLAS keeps its threads spinning for some 30 ms after a call; the next side would have to share the cores with them.
SETTLE = 0.1


def clock(function):
    """A function `seconds(repeats)` that calls `function` as often and returns how long that took.

    Where it is called more than once, one more call goes before.
    """

    def seconds(repeats):
        turns = range(repeats)
        if repeats > 1:
            function()
        start = time.perf_counter()
        for _ in turns:
            function()
        return time.perf_counter() - start

    return seconds


def interleave(clocks, rounds, least=0.05):
    """Times sides in turns.

    Parameters
    ----------
    clocks : dict of str to callable
        As `clock` makes them.
    rounds : int
        Turns of each; two single calls are thrown away first.
    least : float
        Seconds that a turn should take at least: short functions are called as often as that needs.

    Returns
    -------
    dict of str to list of float
        Seconds a call, one for each round.
    """
    repeats = {}
    for name, seconds in clocks.items():
        time.sleep(SETTLE)
        seconds(1)
        repeats[name] = max(1, round(least / max(seconds(1), 1e-7)))
    times = {name: [] for name in clocks}
    for _ in range(rounds):
        for name, seconds in clocks.items():
            time.sleep(SETTLE)
            times[name].append(seconds(repeats[name]) / repeats[name])
    return times


def summary(times, unit=1.0, first="fastnn"):
    """Median, best and quartiles of each side's times in `unit` seconds; the same of each round's ratio to `first`."""
    row = {}
    for name, own in times.items():
        row[name] = spread([t / unit for t in own]) | {"best": min(own) / unit, "rounds": len(own)}
        if name != first:
            row[name]["ratio"] = spread([t / one for t, one in zip(own, times[first])])
    return row


def spread(values):
    """Median and quartiles."""
    low, _, high = statistics.quantiles(values, method="inclusive") if len(values) > 1 else 3 * values
    return {"median": statistics.median(values), "low": low, "high": high}
