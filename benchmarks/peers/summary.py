"""The fastest peer beside fastnn, net by net: what the README and the documentation show of a result file."""

import csv

from ..nets import NETS


def main_run(runs):
    """The run of a result file that is shown: float32, on the most threads; {} if there is none."""
    return max((run for name, run in runs.items() if name.startswith("float32")),
               key=lambda run: run["threads"], default={})


def fastest(row):
    """The name of the fastest peer in a row of sides."""
    return min((side for side in row if side != "limit" and not side.startswith("fastnn")),
               key=lambda side: row[side]["ratio"]["median"], default=None)


def rounded(value):
    """Two or three digits, as far as figures repeat."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}" if value < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def _line(name, row, goal):
    peer = fastest(row)
    own = row["fastnn"]["median"]
    return [name, rounded(own), peer, rounded(row[peer]["median"]), f"{row[peer]['ratio']['median']:.2f}", goal,
            f"{100 * row['limit']['median'] / own:.1f}"]


def tables(run):
    """{"training" and "inference": lines of text, the first of them the head}."""
    head = ["fastnn, µs", "fastest peer", "its µs", "times faster", "goal", "% of the limit"]
    training, inference = run.get("training", {}), run.get("inference", {})
    return {
        "training": [["net, batch", *head]] + [
            _line(f"{net.name}, {net.batch}", training[net.name], f"{net.goal:g}")
            for net in NETS if fastest(training.get(net.name, {}))
        ],
        "inference": [["net, batch", *head]] + [
            _line(f"{net.name}, {rows}", row[net.name], "1")
            for rows, row in sorted(inference.items(), key=lambda item: int(item[0])) for net in NETS if fastest(row.get(net.name, {}))
        ],
    }  # fmt: skip


def write(runs, path):
    """Writes each table beside the result file, as CSV, and prints it as Markdown."""
    for name, lines in tables(main_run(runs)).items():
        with path.with_name(f"{path.stem}-{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(lines)
        rule = ["---", "---:", "---", *["---:"] * 4]
        print("\n" + "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]]))
