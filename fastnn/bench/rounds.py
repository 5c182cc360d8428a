"""Fair timing: all sides take turns, so that a machine that slows down does so for all of them."""

import statistics
import time

# Seconds. A BLAS keeps its threads spinning for some 30 ms after a call, on cores that the next side needs.
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


def interleave(clocks, rounds, least=0.05, settle=SETTLE):
    """Times sides in turns.

    Parameters
    ----------
    clocks : dict of str to callable
        As `clock` makes them.
    rounds : int
        Turns of each; two single calls are thrown away first.
    least : float
        Seconds that a turn should take at least: short functions are called as often as that needs.
    settle : float
        Seconds of rest before each turn.

    Returns
    -------
    dict of str to list of float
        Seconds a call, one for each round.
    """
    repeats = {}
    for name, seconds in clocks.items():
        time.sleep(settle)
        seconds(1)
        repeats[name] = max(1, round(least / max(seconds(1), 1e-7)))
    times = {name: [] for name in clocks}
    for _ in range(rounds):
        for name, seconds in clocks.items():
            time.sleep(settle)
            times[name].append(seconds(repeats[name]) / repeats[name])
    return times


def summary(times, unit=1.0, first="fastnn"):
    """Each side's times in units of `unit` seconds, and the spread of the rounds' ratios to the side `first`."""
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
