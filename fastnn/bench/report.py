"""Figures as tables on the terminal."""


def table(title, rows, columns):
    """Prints rows {name: {column: number}} under a title."""
    width = max(map(len, rows)) + 2
    print(f"\n{title}\n{'':{width}}" + "".join(f"{c:>18}" for c in columns))
    for name, row in rows.items():
        cells = (f"{row[c]:>18.4g}" if c in row else f"{'':>18}" for c in columns)
        print(f"{name:{width}}" + "".join(cells), flush=True)


def show(title, rows):
    """Rows {name: {side: figures}}: each side's median, then how many times slower than fastnn it is."""
    shown = {}
    for name, row in rows.items():
        shown[name] = {side: cell["median"] for side, cell in row.items()}
        for side, cell in row.items():
            if "ratio" in cell:
                shown[name][f"{side} / fastnn"] = cell["ratio"]["median"]
    columns = list(dict.fromkeys(c for row in shown.values() for c in row))
    table(title, shown, sorted(columns, key=lambda c: "/" in c))


def show_sides(title, row, unit="µs"):
    """One row {side: figures} as a table of its own, with each side's share of the machine's limit."""
    shown = {}
    for side, cell in row.items():
        shown[side] = {unit: cell["median"], "best": cell["best"]}
        if "limit" in row:
            shown[side]["% of the limit"] = 100 * row["limit"]["median"] / cell["median"]
        if "ratio" in cell:
            shown[side]["/ fastnn"] = cell["ratio"]["median"]
    table(title, shown, [unit, "best", "% of the limit", "/ fastnn"])
