"""The fastest peer beside fastnn, net by net: what the README and the documentation show of a result file."""

import csv

from fastnn.bench.nets import NETS


def main_run(runs):
    """The run of a result file that is shown: float32, on the most threads; {} if there is none."""
    return max((run for name, run in runs.items() if name.startswith("float32")),
               key=lambda run: run["threads"], default={})


def fastest(row):
    """The name of the fastest peer in a row of sides."""
    return min((side for side in row if side != "limit" and not side.startswith("fastnn")),
               key=lambda side: row[side]["ratio"]["median"], default=None)


def rounded(value):
    """Two or three digits: figures repeat no better."""
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
    by_rows = sorted(inference.items(), key=lambda item: int(item[0]))
    return {
        "training": [["net, batch", *head]] + [
            _line(f"{net.name}, {net.batch}", training[net.name], f"{net.goal:g}")
            for net in NETS if fastest(training.get(net.name, {}))
        ],
        "inference": [["net, batch", *head]] + [
            _line(f"{net.name}, {rows}", row[net.name], "1")
            for rows, row in by_rows for net in NETS if fastest(row.get(net.name, {}))
        ],
    }  # fmt: skip


def markdown(run):
    """The README's table: a training step and one prediction, each beside the fastest peer."""
    def cells(row):
        peer = fastest(row)
        if peer is None:
            return ["", "", ""]
        theirs = f"{peer} {rounded(row[peer]['median'])}"
        return [rounded(row["fastnn"]["median"]), theirs, f"{row[peer]['ratio']['median']:.2g}"]

    lines = [
        ["net, batch", "a step", "fastest peer", "times faster", "goal",
         "one prediction", "fastest peer", "times faster"],
        ["---", *["---:"] * 7],
    ]  # fmt: skip
    for net in NETS:
        training, inference = (run.get(part, {}) for part in ("training", "inference"))
        lines.append([f"{net.name}, {net.batch}", *cells(training.get(net.name, {})), f"{net.goal:g}",
                      *cells(inference.get("1", {}).get(net.name, {}))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(runs, path):
    """Writes each table beside the result file, as CSV, and prints the README's."""
    run = main_run(runs)
    for name, lines in tables(run).items():
        with path.with_name(f"{path.stem}-{name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    print(f"\n{markdown(run)}")
