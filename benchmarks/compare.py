"""What became slower from one result file to another by more than the noise of repeated runs.

    python benchmarks/compare.py old.json new.json

Where a row has the machine's limit beside fastnn, fastnn's share of it is compared, so that a machine that was
slower as a whole is no news; else its time. A figure's noise is the range between the quartiles of its rounds;
slower is what lost more than the noise of both files together, and more than `--margin`. The exit status is 1
if anything did.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Figure:
    """Times, or with a limit times in units of it, and their quartiles."""

    median: float
    low: float
    high: float
    relative: bool

    @property
    def noise(self):
        return (self.high - self.low) / self.median


def figures(node, path=()):
    """{path: Figure} of all rows {"fastnn": ..., other sides} below a node of a result file."""
    own = node.get("fastnn")
    if isinstance(own, dict) and "median" in own:
        share = node.get("limit", {}).get("ratio")
        if share:
            yield path, Figure(1 / share["median"], 1 / share["high"], 1 / share["low"], True)
        else:
            yield path, Figure(own["median"], own["low"], own["high"], False)
        return
    for name, child in node.items():
        if isinstance(child, dict):
            yield from figures(child, (*path, name))


def slower(old, new, margin):
    """[(path, times slower, noise)] of the figures that both have in the same unit, the worst first."""
    found = []
    for path in old.keys() & new.keys():
        before, after = old[path], new[path]
        times, noise = after.median / before.median, max(before.noise + after.noise, margin)
        if before.relative == after.relative and times > 1 + noise:
            found.append((path, times, noise))
    return sorted(found, key=lambda item: -item[1])


def main():
    parser = argparse.ArgumentParser(prog="benchmarks/compare.py", description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--margin", type=float, default=0.05, help="least loss that counts (default: 0.05)")
    options = parser.parse_args()
    old, new = (dict(figures(json.loads(path.read_text()))) for path in (options.old, options.new))
    common = old.keys() & new.keys()
    if not common:
        parser.error(f"{options.old} and {options.new} have no figures in common")
    found = slower(old, new, options.margin)
    for path, times, noise in found:
        print(f"{' / '.join(path)}: {times:.2f} times slower (noise {100 * noise:.0f} %)")
    print(f"{len(found)} of {len(common)} figures became slower")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
