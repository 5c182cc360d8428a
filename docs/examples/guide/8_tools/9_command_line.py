"""
From the command line
=====================

A table in a file needs no program: ``fastnn train`` finds out what its columns are, trains a network on them and saves it;
``fastnn predict`` and ``fastnn evaluate`` use it. They read CSV and TSV, Parquet, npy and npz, part by part, so that a table
may be larger than memory. They need the extra ``data``.

Here is a table with numbers, categories and gaps: what cars of several makes were sold for.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import fastnn as fnn

folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
count = 3000
make = rng.choice(["Aster", "Borealis", "Cirrus"], count)
years, kilometres = rng.integers(0, 20, count), rng.gamma(3, 30_000, count).round()
new = np.array([18_000.0, 31_000.0, 24_000.0])[np.unique(make, return_inverse=True)[1]]
price = new * 0.88**years * np.exp(-kilometres / 400_000) * rng.normal(1, 0.06, count)
unknown = rng.random(count) < 0.1
cars = pl.DataFrame({
    "make": make,
    "years": years,
    "kilometres": [None if gap else k for gap, k in zip(unknown, kilometres)],
    "price": price.round(),
})
cars.head(2500).write_csv(folder / "cars.csv")
cars.tail(500).write_csv(folder / "sold_later.csv")


def shell(line):
    """Runs a command as a terminal in that folder does, and prints what it says."""
    print("$", line)
    command = [sys.executable, "-X", "utf8", "-m", *line.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")
    print(done.stdout + done.stderr)


# %%
# Training
# --------
#
# One column is to be predicted. It holds many numbers, so this is a regression; with text, true and false, or few whole
# numbers it would be a classification. ``--task`` says otherwise, as ``--category``, ``--number`` and ``--drop`` do for the
# other columns.

shell("fastnn train cars.csv --target price --seed 1")

# %%
# A fifth of the rows, drawn at random, was held out. Training stopped when their loss got no better, and the weights are those
# of the best epoch. The report compares the predictions for these rows with always saying the mean.
#
# Ctrl-C ends training as well, and saves the best weights so far. ``fastnn train --help`` lists the settings of the network
# and of the training.
#
# Using the model
# ---------------
#
# How good are predictions for cars that it has never seen?

shell("fastnn evaluate cars.fnn sold_later.csv --target price")

# %%
# Or predict them. A column that is not needed, like the price, is left alone; without ``--out`` the predictions go to the
# terminal. Of a model that tells classes apart, ``--proba`` gives the probabilities too.

shell("fastnn predict cars.fnn sold_later.csv --out prices.csv")
print(pl.read_csv(folder / "prices.csv").head(3))

# %%
# The file is an ordinary model that takes the raw table, in pandas or polars.

model = fnn.load(folder / "cars.fnn")
print(model.predict(cars.tail(500))[:3])

# %%
# Mistakes
# --------
#
# What is wrong with a table is told by file, row and column, and by an exit code: 0 done, 1 the output cannot be written,
# 2 wrong arguments or files, 3 a library is missing that an extra brings, 130 stopped by Ctrl-C.

lines = (folder / "cars.csv").read_text()
(folder / "broken.csv").write_text(lines.replace("\nAster,", "\nAster,about ", 1))
shell("fastnn train broken.csv --target price")

# %%
# Try next: ``fastnn bench --plot speed.svg`` measures this machine beside NumPy.
