"""
Tables of your own
==================

A table holds numbers in different units, text, truth values and gaps; a network reads numbers of about the same size.
:class:`fastnn.preprocessing.Features` stands in between: it says, as plain data, what becomes of each column. A model that
has features takes the table as it is, and its file holds them.

Tables are data frames of pandas, polars, pyarrow and others (extra ``data``), or dicts of columns, which need nothing.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import fastnn as fnn
from fastnn import layers
from fastnn.preprocessing import Features

fnn.set_seed(0)
rng = np.random.default_rng(0)
count = 4000
age, income = rng.integers(18, 80, count), rng.lognormal(10.5, 0.5, count).round(-2)
plan = rng.choice(["basic", "family", "pro"], count, p=[0.6, 0.3, 0.1])
chance = 1 / (1 + np.exp(0.08 * (age - 45) - 1.5 * (plan == "pro") + 1.2 * (plan == "family") + (income < 30_000)))
stays = np.where(rng.random(count) < chance, "leaves", "stays")
table = pl.DataFrame({
    "age": age,
    "income": [None if gap else value for gap, value in zip(rng.random(count) < 0.15, income)],
    "plan": [None if gap else value for gap, value in zip(rng.random(count) < 0.05, plan)],
})
table.head(5)

# %%
# What becomes of the columns
# ---------------------------
#
# Numbers are standardised; where one is missing the median stands for it, and a feature of its own says so. Text becomes
# one feature for each category, one for categories never seen, and one for a missing value.

train, test = slice(0, 3000), slice(3000, None)
features = Features.fit(table[train])
print(*features.names_out, sep="\n")
features.transform(table.head(3)).round(2)

# %%
# The guess may be overruled: ``Features.fit(table, {"zip": "category", "id": "drop"})``. And what scikit-learn has fitted is
# taken over number by number: ``Features.from_sklearn(column_transformer)``.
#
# A model of raw tables
# ---------------------
#
# The names of the classes are kept too, so labels may be text.

model = fnn.Sequential([layers.Dense(16, "relu"), layers.Dense(2, "softmax")])
model.features, model.class_names = features, ["leaves", "stays"]
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(table[train], stays[train], epochs=15, validation_data=(table[test], stays[test]), verbose=0)
accuracy = model.evaluate(table[test], stays[test], return_dict=True)["accuracy"]
most = max(np.mean(stays[test] == name) for name in model.class_names)
print(f"right on rows it has never seen: {accuracy:.1%}; always the more frequent answer: {most:.1%}")

# %%
# From a file
# -----------
#
# Whoever loads the file needs to know nothing of all this. Columns are found by name, in any order, and others are left
# alone; one that is missing, or holds something else than it did, is an error that names it.

path = Path(tempfile.mkdtemp()) / "leaving.fnn"
model.save(path)
loaded = fnn.load(path)
print(loaded.feature_names, loaded.class_names)
people = {"plan": ["pro", "platinum", None], "age": [30, 30, 70], "income": [41_000, None, 52_000], "name": list("ABC")}
print(loaded.predict(people).round(3))

try:
    loaded.predict({"plan": ["pro"], "age": ["thirty"], "income": [41_000]})
except fnn.FastNNError as error:
    print(error)

# %%
# Vectors for categories
# ----------------------
#
# Where a category shall have a vector that is learnt, or a model has several inputs, the lookup is a layer of the model:
# :class:`fastnn.layers.StringLookup` makes positions of text where a table enters, and an Embedding reads them. A column
# goes to the input of its name. The vocabulary, by frequency, is part of the model's file; what it does not hold has a
# position of its own, and so has what is missing, where there is a ``mask_token``.

plan, years = fnn.Input((1,), dtype="string", name="plan"), fnn.Input((1,), name="age")
lookup = layers.StringLookup(mask_token="")
lookup.adapt(table[train]["plan"])
print(lookup.get_vocabulary())
scaled = layers.Normalization()
scaled.adapt(table[train]["age"].to_numpy()[:, None])
vector = layers.Flatten()(layers.Embedding(lookup.vocabulary_size(), 2, name="plans")(lookup(plan)))
h = layers.Dense(16, "relu")(layers.Concatenate()([vector, scaled(years)]))
embedded = fnn.Model([plan, years], layers.Dense(2, "softmax")(h))
embedded.class_names = model.class_names
embedded.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
embedded.fit(table[train], stays[train], epochs=15, verbose=0)
print(f"right without the income: {embedded.evaluate(table[test], stays[test], return_dict=True)['accuracy']:.1%}")
print(embedded.predict({"plan": ["pro", "platinum", None], "age": [30, 30, 70]}).round(3))

# %%
# What the first model has learnt of age, for each plan:

ages = np.arange(18, 80)
for name in ("basic", "family", "pro"):
    rows = {"age": ages, "plan": [name] * len(ages), "income": [40_000] * len(ages)}
    plt.plot(ages, loaded.predict(rows)[:, 0], label=name)
plt.xlabel("age")
plt.ylabel("chance of leaving")
plt.legend(title="plan")
plt.show()
