"""
Text: which chapter is this from?
=================================

Passages of forty words from the reference of Python, which every Python carries with it; the net is to say which chapter
each is from. It sees a *bag of words*: how often each word occurs, not in which order.
"""

import re
from collections import Counter
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import layers, plot

chapters = [
    "assignment", "attribute-access", "comparisons", "debugger", "execmodel",
    "formatstrings", "import", "string-methods", "typesmapping", "typesseq",
]

passages, labels, place = [], [], []
for label, chapter in enumerate(chapters):
    words = re.findall(r"[a-z]{2,}", topics[chapter].lower())
    for start in range(0, len(words) - 39, 40):
        passages.append(words[start : start + 40])
        labels.append(label)
        place.append(start // 40)
labels, place = np.array(labels), np.array(place)
test = place % 3 == 1  # every third passage of each chapter
print(f"{len(passages)} passages, {test.sum()} of them to test on")

# %%
# The bag: one column for each word that the training part uses at least three times. Counts are damped by a logarithm and
# weighted by how few passages a word occurs in, because "the" says nothing.

seen_in = Counter(word for passage, held in zip(passages, test) if not held for word in set(passage))
vocabulary = sorted(word for word, count in seen_in.items() if count >= 3)
column = {word: k for k, word in enumerate(vocabulary)}
bag = np.zeros((len(passages), len(vocabulary)), "float32")
for row, passage in zip(bag, passages):
    for word in passage:
        if word in column:
            row[column[word]] += 1
bag = np.log1p(bag) * np.log((~test).sum() / np.array([seen_in[word] for word in vocabulary]))

# %%
# Hundreds of columns and few passages: the first layer has most of the weights, so it gets most of the dropout.

fnn.set_seed(0)
model = fnn.Sequential([
    fnn.Input((len(vocabulary),)),
    layers.UnitNormalization(),
    layers.Dropout(0.5),
    layers.Dense(64, activation="relu"),
    layers.Dropout(0.3),
    layers.Dense(len(chapters), activation="softmax"),
])
model.compile(fnn.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
weight = {k: 1 / (labels[~test] == k).mean() / len(chapters) for k in range(len(chapters))}
model.fit(bag[~test], labels[~test], epochs=60, class_weight=weight, verbose=0)
accuracy, largest = model.evaluate(bag[test], labels[test])[1], np.bincount(labels[test]).max() / test.sum()
print(f"accuracy {accuracy:.3f}; always the largest chapter would give {largest:.3f}")

# %%
# Chapters about similar things are mixed up most.

guesses = model.predict(bag[test]).argmax(axis=1)
fig, ax = plt.subplots(figsize=(6.4, 5.4))
plot.confusion_matrix(labels[test], guesses, labels=chapters, normalize="true", ax=ax)
ax.tick_params(axis="x", rotation=60)
plt.show()

# %%
# Try next: pairs of words as columns, or an `Embedding <fastnn.layers.Embedding>` in place of the bag.
